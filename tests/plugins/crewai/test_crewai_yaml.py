"""agents.yaml and tasks.yaml, together and alone."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_plugin_crewai.migrator import CrewAiMigrator

AGENTS = """\
researcher:
  role: "{topic} researcher"
  goal: find facts
  backstory: >
    You read
    carefully.
writer: {role: writer, goal: tell it, backstory: plain words}
"""
DESIGN = "a game in which somebody round eats small things and is hunted by ghosts until the maze is empty"
TASKS = """\
research_task:
  description: >
    Look into {topic}.
  expected_output: ten bullets
writing_task:
  description: Write it up for {{ audience }}
  expected_output: a page
"""


def test_an_agent_has_role_goal_and_backstory_as_its_instructions(moved: Any) -> None:
    found = moved({"news/config/agents.yaml": AGENTS})
    assert found.spec("Agent", "researcher") == {
        "instructions": "You are {topic} researcher.\n\nYour goal: find facts\n\nBackground: You read carefully.",
        "description": "{topic} researcher: find facts",
    }
    assert found.names("Workflow") == []
    assert found.outcome("researcher.llm") == {"defaulted"}


def test_tasks_become_steps_that_get_what_was_before_them(moved: Any) -> None:
    found = moved({"news/config/agents.yaml": AGENTS, "news/config/tasks.yaml": TASKS})
    assert found.names("Workflow") == ["news"]
    assert found.spec("Workflow") == {
        "steps": [
            {
                "id": "research_task",
                "agent": "researcher",
                "input": "Look into {{ workflow.input.topic }}.\n\nExpected output: ten bullets\n\n"
                "What the names in braces in your instructions stand for:\n- topic: {{ workflow.input.topic }}",
            },
            {
                "id": "writing_task",
                "agent": "writer",
                "input": "Write it up for {{ workflow.input.audience }}\n\nExpected output: a page\n\n"
                "Context:\n\n{{ steps.research_task.output }}",
            },
        ],
        "inputSchema": {
            "type": "object",
            "properties": {
                "topic": {"description": "For research_task, researcher."},
                "audience": {"description": "For writing_task."},
            },
            "required": ["topic", "audience"],
        },
    }


def test_who_does_a_task_that_names_nobody_is_said_to_be_chosen(moved: Any) -> None:
    found = moved({"config/agents.yaml": AGENTS, "config/tasks.yaml": TASKS})
    assert found.outcome("research_task.agent") == {"defaulted"}
    assert "the one at the same place" in found.reason("research_task.agent")
    assert found.outcome("process") == {"defaulted"}


def test_with_other_numbers_of_agents_and_tasks_the_nearest_words_decide(moved: Any) -> None:
    tasks = "writing: {description: Write, expected_output: a page}\n" + TASKS
    found = moved({"config/agents.yaml": AGENTS, "config/tasks.yaml": tasks})
    assert [step["agent"] for step in found.steps] == ["writer", "researcher", "writer"]
    assert "words are nearest" in found.reason("writing.agent")


def test_the_other_file_of_a_pair_is_read_when_one_is_given(moved: Any) -> None:
    alone = moved({"config/tasks.yaml": TASKS}, others={"config/agents.yaml": AGENTS})
    assert alone.names("Agent") == ["researcher", "writer"]
    assert {row.file for row in alone.result.rows} == {"config/tasks.yaml", "config/agents.yaml"}


def test_an_agent_that_no_file_has_is_made_and_is_to_be_written(moved: Any) -> None:
    tasks = "go: {description: Go, expected_output: gone, agent: runner}\n"
    found = moved({"config/tasks.yaml": tasks})
    assert found.spec("Agent", "runner")["instructions"] == "You are runner."
    assert {"manual", "mapped"} <= found.outcome("go.agent")
    assert "write the instructions" in found.reason("go.agent")


def test_a_name_that_is_nearly_right_is_told(moved: Any) -> None:
    tasks = "go: {description: Go, expected_output: gone, agent: writr}\n"
    found = moved({"config/agents.yaml": AGENTS, "config/tasks.yaml": tasks})
    assert "did you mean 'writer'" in found.reason("go.agent")


def test_tasks_without_any_agent_get_one(moved: Any) -> None:
    found = moved({"config/tasks.yaml": TASKS})
    assert found.names("Agent") == ["crew-agent"]
    assert {step["agent"] for step in found.steps} == {"crew-agent"}


def test_a_task_waits_for_those_whose_outputs_it_gets(moved: Any) -> None:
    tasks = (
        "last: {description: End, expected_output: all, agent: writer, context: [first]}\n"
        "first: {description: Begin, expected_output: some, agent: writer}\n"
        "alone: {description: Other, expected_output: other, agent: writer, context: []}\n"
    )
    found = moved({"config/agents.yaml": AGENTS, "config/tasks.yaml": tasks})
    assert [step["id"] for step in found.steps] == ["first", "last", "alone"]
    assert found.steps[1]["input"].endswith("Context:\n\n{{ steps.first.output }}")
    assert "Context" not in found.steps[2]["input"]


def test_keys_of_an_agent_become_limits_and_a_model(moved: Any) -> None:
    text = (
        "scout:\n  role: scout\n  goal: find\n  backstory: reads\n  llm: gpt-4o-mini\n  max_iter: 7\n"
        "  max_execution_time: 60\n  max_tokens: 500\n  verbose: true\n  max_rpm: 3\n  multimodal: true\n  made_up: 1\n"
    )
    found = moved({"config/agents.yaml": text})
    spec = found.spec("Agent")
    assert spec["model"] == {"provider": "openai", "name": "gpt-4o-mini", "parameters": {"maxTokens": 500}}
    assert spec["limits"] == {"maxSteps": 7, "timeoutS": 60}
    assert "guessed" in found.reason("scout.llm")
    assert found.outcome("scout.verbose") == found.outcome("scout.max_rpm") == {"dropped"}
    assert found.outcome("scout.multimodal") == {"manual"}
    assert "not known" in found.reason("scout.made_up")


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("llm: ollama/llama3", {"provider": "ollama", "name": "llama3"}),
        (
            "llm: {model: anthropic/claude-sonnet-4-0, temperature: 0.2, max_tokens: 9, base_url: http://h/v1,"
            " api_key: '${MY_KEY}', timeout: 30, stream: true}",
            {
                "provider": "anthropic",
                "name": "claude-sonnet-4-0",
                "apiBase": "http://h/v1",
                "apiKey": {"valueFrom": {"env": "MY_KEY"}},
                "timeoutS": 30,
                "parameters": {"temperature": 0.2, "maxTokens": 9},
            },
        ),
    ],
)
def test_a_model_is_a_text_or_an_object(moved: Any, text: str, model: dict[str, Any]) -> None:
    found = moved({"config/agents.yaml": f"a: {{role: a, goal: b, backstory: c, {text}}}"})
    assert found.spec("Agent")["model"] == model


def test_a_key_in_the_open_appears_nowhere(moved: Any) -> None:
    text = "a: {role: a, goal: b, backstory: c, llm: {model: openai/gpt-4o, api_key: sk-very-secret-0123456789}}"
    found = moved({"config/agents.yaml": text})
    assert found.spec("Agent")["model"]["apiKey"] == {"valueFrom": {"env": "OPENAI_API_KEY"}}
    assert found.outcome("a.llm.api_key") == {"manual"}
    assert "very-secret" not in str(found.result)


def test_a_word_in_place_of_a_key_is_not_taken_out_of_names(moved: Any) -> None:
    text = "ollama: {role: a, goal: b, backstory: c, llm: {model: ollama/llama3, api_key: ollama}}"
    found = moved({"config/agents.yaml": text})
    assert found.names("Agent") == ["ollama"]
    assert found.spec("Agent")["model"]["provider"] == "ollama"
    assert found.outcome("ollama.llm.api_key") == {"manual"}


def test_tools_by_name_become_one_stub_each(moved: Any) -> None:
    text = (
        "a: {role: a, goal: b, backstory: c, tools: [SerperDevTool, look_up]}\n"
        "b: {role: a, goal: b, backstory: c, tools: [SerperDevTool]}\n"
    )
    found = moved({"config/agents.yaml": text})
    assert found.names("Tool") == ["serper-dev-tool", "look-up"]
    assert found.spec("Agent", "a")["tools"] == ["serper-dev-tool", "look-up"]
    assert found.spec("Tool", "serper-dev-tool")["inputSchema"]["required"] == ["search_query"]
    assert found.spec("Tool", "look-up")["python"] == {"function": "migrated_tools:look_up"}
    assert found.outcome("a.tools[0]") == found.outcome("a.tools[1]") == {"manual"}
    assert found.outcome("b.tools[0]") == {"mapped"}  # its function is told of once
    assert "def look_up(" in found.result.files["migrated_tools.py"]
    assert found.result.config == {"tools": {"python": {"allow": ["migrated_tools"]}}}


def test_servers_and_apps_become_tools_that_stand_for_all_of_theirs(moved: Any) -> None:
    text = "a: {role: a, goal: b, backstory: c, mcps: ['https://mcp.example.org/x?key=1'], apps: [gmail]}"
    found = moved({"config/agents.yaml": text})
    assert found.names("Tool") == ["mcp-mcp-example-org-x", "app-gmail"]
    assert found.spec("Tool", "app-gmail")["inputSchema"]["required"] == ["tool"]


def test_texts_for_runs_are_refused_when_they_are_given_alone() -> None:
    document = read_text(f"pacman: {DESIGN}\nsnake: a game with a snake\n", "game/config/design.yaml")
    assert 0 < CrewAiMigrator().detect(document[0]) < 0.3
    with pytest.raises(ManifestError, match="texts that a program hands to its crew"):
        CrewAiMigrator().migrate(MemorySource(document))


def test_texts_for_runs_beside_a_crew_are_told_of(moved: Any) -> None:
    found = moved({"config/agents.yaml": AGENTS, "config/design.yaml": f"pacman: {DESIGN}\n"})
    assert found.outcome("pacman") == {"dropped"}
    assert "as the input" in found.reason("pacman")


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("agents.yaml", "a: {role: [x], goal: b, backstory: c}", "expected a string, found"),
        ("agents.yaml", "a: {role: x, goal: b, backstory: c}\nb: {role: x, goal: b}\nc: 5", "expected an object"),
        ("agents.yaml", "a: {role: x, goal: b, backstory: c, llm: [x]}", "name of a model"),
        ("agents.yaml", "a: {role: x, goal: b, backstory: c, tools: 5}", "expected a list"),
        ("tasks.yaml", "a: {expected_output: b, agent: x}", "a task needs a description"),
        ("tasks.yaml", "a: {description: b, expected_output: b, context: [c]}", "no task has the name 'c'"),
        ("tasks.yaml", "a: {description: b, expected_output: b, context: a}", "expected a list of names"),
        ("tasks.yaml", "a: {description: b, expected_output: b, async_execution: maybe}", "expected a boolean"),
        (
            "tasks.yaml",
            "a: {description: b, expected_output: b, context: [b]}\n"
            "b: {description: b, expected_output: b, context: [a]}",
            "wait for each other",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(file: str, text: str, told: str) -> None:
    documents = read_text(text, f"config/{file}")
    assert CrewAiMigrator().detect(documents[0]) > 0.4
    with pytest.raises(ManifestError, match=told) as caught:
        CrewAiMigrator().migrate(MemorySource(documents))
    assert all(problem.file == f"config/{file}" and problem.line for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("services: {web: {image: nginx}}", "compose.yaml"),
        ("name: x\ndescription: y\n", "config/app.yml"),
        ("properties: {a: {type: string, description: b}}", "schema.yaml"),
        ("a: {description: text, type: string}\nb: {description: text, type: string}", "vars.yaml"),
        ("agents: {root: {model: openai/gpt-4o, description: d, instruction: i}}", "agent.yaml"),
    ],
)
def test_other_formats_are_not_taken_for_crews(text: str, file: str) -> None:
    assert CrewAiMigrator().detect(read_text(text, file)[0]) < 0.3


@pytest.mark.parametrize("name", ["agents.yaml", "whatever.yml", "people.json"])
def test_agents_are_known_by_what_they_say(name: str) -> None:
    text = '{"a": {"role": "r", "goal": "g", "backstory": "b"}}'
    assert CrewAiMigrator().detect(read_text(text, name)[0]) >= 0.9


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("writer: {role: Writer, goal: Write., backstory: Long.}\n", 0.9, 1.0),
        ("writer: {role: Writer}\neditor: {llm: gpt-4o}\n", 0.8, 0.8),
        ("agents: {writer: {instructions: Write., model: gpt-4o}}\n", 0.0, 0.45),
    ],
)
def test_the_name_of_a_file_alone_makes_no_crew(text: str, least: float, most: float) -> None:
    assert least <= CrewAiMigrator().detect(read_text(text, "config/agents.yaml")[0]) <= most
