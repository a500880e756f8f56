"""Python beside a configuration: read as a syntax tree, never run."""

from __future__ import annotations

from tests.plugins.adk.conftest import Migrate

_ROOT = "name: root\nmodel: gemini-2.5-flash\ninstruction: Lead.\n"
_AGENTS = '''\
from google.adk.tools import google_search as search
raise SystemExit("this must never run")

MODEL = "gemini-2.5-" + "pro"


def count(text: str, tool_context: ToolContext) -> int:
    """Count words.

    More of it.
    """


class Answer(BaseModel):
    kind: Literal["a", "b"] = Field(description="Which " "one")
    notes: list[str]
    part: Optional["Part"] = None
    score: float | None = Field(default=None)


class Part(Base):
    size: int = 3


class Base(BaseModel):
    name: str


writer = Agent(
    name="writer",
    model=MODEL,
    description="Writes.",
    instruction="Write in " + "verse.",
    output_schema=Answer,
    tools=[count, ask, search, make_tool()],
    before_model_callback=guard,
    generate_content_config=make_config(),
)
ask = LongRunningFunctionTool(func=count)
pair = SequentialAgent(name="pair", sub_agents=[writer, reader])
reader = LlmAgent(name="reader", instruction="Read.")
samples = ExampleTool(examples=[Example(input=Content(parts=[Part(text="Hi")]), output=[Content(text="Hello")])])
robot = Robot(name="robot")
'''


def test_an_agent_of_python_is_an_agent_as_far_as_it_stands_there(migrate: Migrate) -> None:
    done = migrate({"shop/a.yaml": f"{_ROOT}sub_agents: [{{code: shop.agents.writer}}]\n"}, {"shop/agents.py": _AGENTS})
    spec = done.spec("Agent", "writer")
    assert spec["model"] == {"provider": "gemini", "name": "gemini-2.5-pro"}
    assert spec["instructions"] == "Write in verse."
    assert spec["tools"] == [{"name": "count"}, {"name": "google_search", "ref": "google-search"}]
    assert {row.outcome for row in done.rows("writer.tools")} == {"manual", "defaulted"}
    assert spec["output"]["schema"] == {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "b"], "description": "Which one"},
            "notes": {"type": "array", "items": {"type": "string"}},
            "part": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
                        "required": ["name"],
                    },
                    {"type": "null"},
                ]
            },
            "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["kind", "notes"],
    }
    assert done.spec("Network", "root")["agents"] == ["root", "writer"]
    assert {row.outcome for row in done.rows("writer.generate_content_config")} == {"manual"}
    assert {row.outcome for row in done.rows("writer.before_model_callback")} == {"manual"}
    assert "its parameter with ADK's context must go" in done.reason("writer.tools[0].name")


def test_agents_of_python_may_have_sub_agents(migrate: Migrate) -> None:
    done = migrate({"shop/a.yaml": f"{_ROOT}sub_agents: [{{code: shop.agents.pair}}]\n"}, {"shop/agents.py": _AGENTS})
    assert [step["id"] for step in done.spec("Workflow", "pair")["steps"]] == ["writer", "reader"]


def test_an_object_of_another_class_is_a_stub(migrate: Migrate) -> None:
    done = migrate({"shop/a.yaml": f"{_ROOT}sub_agents: [{{code: shop.agents.robot}}]\n"}, {"shop/agents.py": _AGENTS})
    assert done.spec("Network", "root")["tools"] == ["robot"]


def test_a_file_may_lie_beside_the_directory_and_in_a_package(migrate: Migrate) -> None:
    text = f"{_ROOT}sub_agents: [{{code: lib.agents.reader}}]\n"
    assert migrate({"shop/a.yaml": text}, {"lib/agents.py": _AGENTS}).names("Agent") == ["root", "reader"]
    assert migrate({"shop/a.yaml": text}, {"lib/agents/__init__.py": _AGENTS}).names("Agent") == ["root", "reader"]


def test_python_that_is_broken_or_missing_leaves_a_name(migrate: Migrate) -> None:
    text = f"{_ROOT}sub_agents: [{{code: shop.agents.reader}}]\n"
    for others in ({"shop/agents.py": "def ("}, {"shop/agents.py": "reader = 5"}, {}):
        assert migrate({"shop/a.yaml": text}, others).names("Tool") == ["reader"]


def test_examples_in_python_are_a_part_of_the_instructions(migrate: Migrate) -> None:
    done = migrate({"shop/a.yaml": f"{_ROOT}tools: [shop.agents.samples]\n"}, {"shop/agents.py": _AGENTS})
    assert done.spec("Agent", "root")["instructions"] == "Lead.\n\nExample:\nuser: Hi\nanswer: Hello"


def test_a_schema_with_what_cannot_be_told_is_left_to_people(migrate: Migrate) -> None:
    done = migrate(
        {"shop/a.yaml": f"{_ROOT}output_schema_code: .agents.Odd\n"},
        {"shop/agents.py": "class Odd(BaseModel):\n    x: Matrix\n"},
    )
    assert "output" not in done.spec("Agent", "root")
    assert done.outcomes("output_schema_code") == {"manual"}


def test_a_class_that_contains_itself_is_left_to_people(migrate: Migrate) -> None:
    done = migrate(
        {"shop/a.yaml": f"{_ROOT}output_schema_code: .agents.Tree\n"},
        {"shop/agents.py": "class Tree(BaseModel):\n    below: list['Tree']\n"},
    )
    assert "output" not in done.spec("Agent", "root")
