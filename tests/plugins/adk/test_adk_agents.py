"""LlmAgent: its fields, its model, its team."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import read_text
from kastra_plugin_adk.migrator import AdkMigrator
from tests.plugins.adk.conftest import Migrate, Migrated


def _one(migrate: Migrate, more: str, **files: str) -> Migrated:
    text = f"name: a\nmodel: gemini-2.5-flash\ninstruction: Do.\n{more}"
    return migrate({"shop/a.yaml": text, **{f"shop/{name}.yaml": value for name, value in files.items()}})


def test_the_least_agent(migrate: Migrate) -> None:
    done = migrate({"a.yaml": "name: helper\ninstruction: Help.\n"})
    assert list(done.result.resources) == [
        {
            "apiVersion": "mastra.ai/v1",
            "kind": "Agent",
            "metadata": {"name": "helper"},
            "spec": {"instructions": "Help."},
        }
    ]
    assert done.outcomes("model") == {"defaulted"}


@pytest.mark.parametrize(
    "cls", ["LlmAgent", "Agent", "google.adk.agents.LlmAgent", "google.adk.agents.llm_agent.LlmAgent", '""']
)
def test_every_spelling_of_the_class_is_an_agent(migrate: Migrate, cls: str) -> None:
    done = migrate({"a.yaml": f"agent_class: {cls}\nname: helper\ninstruction: Help.\n"})
    assert done.names("Agent") == ["helper"]


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("gemini-2.5-flash", {"provider": "gemini", "name": "gemini-2.5-flash"}),
        ("openai/gpt-4o", {"provider": "openai", "name": "gpt-4o"}),
        ("claude-sonnet-4@20250514", {"provider": "anthropic", "name": "claude-sonnet-4@20250514"}),
        (
            "projects/p/locations/l/endpoints/1",
            {"provider": "vertex_ai", "name": "projects/p/locations/l/endpoints/1"},
        ),
        ("apigee/gemini-2.5-pro", {"provider": "gemini", "name": "gemini-2.5-pro"}),
    ],
)
def test_a_model_by_its_name(migrate: Migrate, text: str, model: dict[str, Any]) -> None:
    assert migrate({"a.yaml": f"name: a\nmodel: {text}\ninstruction: A.\n"}).spec("Agent", "a")["model"] == model


def test_settings_of_the_model_have_the_names_that_all_providers_share(migrate: Migrate) -> None:
    settings = """generate_content_config:
  temperature: 0.1
  topP: 0.9
  top_k: 5
  max_output_tokens: 100
  seed: 3
  stopSequences: [x]
  safety_settings: [{category: HARM_CATEGORY_HARASSMENT, threshold: "OFF"}]
  candidate_count: 1
  labels: null
"""
    done = _one(migrate, settings)
    assert done.spec("Agent", "a")["model"]["parameters"] == {
        "temperature": 0.1,
        "topP": 0.9,
        "top_k": 5,
        "maxTokens": 100,
        "seed": 3,
        "stop": ["x"],
        "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    }
    assert done.outcomes("generate_content_config.candidate_count") == {"dropped"}


def test_settings_without_a_model_are_left_to_whoever_names_one(migrate: Migrate) -> None:
    done = migrate({"a.yaml": "name: a\ninstruction: A.\ngenerate_content_config: {temperature: 1}\n"})
    assert "model" not in done.spec("Agent", "a")
    assert done.outcomes("generate_content_config.temperature") == {"manual"}


@pytest.mark.parametrize("key", ["tools", "system_instruction", "response_schema", "responseJsonSchema"])
def test_settings_that_adk_refuses_are_refused(migrate: Migrate, key: str) -> None:
    with pytest.raises(ManifestError, match=rf"{key} is not allowed in generate_content_config"):
        _one(migrate, f"generate_content_config: {{{key}: x}}\n")


def test_a_lite_llm_object_is_a_model_and_its_key_a_reference(migrate: Migrate) -> None:
    done = migrate(
        {
            "a.yaml": """name: a
instruction: A.
model_code:
  name: google.adk.models.lite_llm.LiteLlm
  args:
    - {name: model, value: openai/gpt-4o}
    - {name: api_base, value: "https://llm.example.com"}
    - {name: api_key, value: sk-abcdefghijklmnopqrstuv}
    - {name: max_tokens, value: 9}
"""
        }
    )
    assert done.spec("Agent", "a")["model"] == {
        "provider": "openai",
        "name": "gpt-4o",
        "apiBase": "https://llm.example.com",
        "apiKey": {"valueFrom": {"env": "OPENAI_API_KEY"}},
        "parameters": {"maxTokens": 9},
    }
    assert "sk-abc" not in str(done.result)


def test_a_model_object_that_cannot_be_read_is_left_to_people(migrate: Migrate) -> None:
    done = migrate({"a.yaml": "name: a\ninstruction: A.\nmodel_code: {name: my.models.big}\n"})
    assert "model" not in done.spec("Agent", "a")
    assert done.outcomes("model_code") == {"manual"}


def test_the_model_is_inherited_through_what_lies_between(migrate: Migrate) -> None:
    done = migrate(
        {
            "a.yaml": "name: a\nmodel: gemini-2.5-pro\ninstruction: A.\nsub_agents: [{config_path: b.yaml}]\n",
            "b.yaml": "agent_class: SequentialAgent\nname: b\nsub_agents: [{config_path: c.yaml}]\n",
            "c.yaml": "name: c\ninstruction: C.\n",
        }
    )
    assert done.spec("Agent", "c")["model"] == {"provider": "gemini", "name": "gemini-2.5-pro"}
    assert "inherited from a" in done.reason("model", "c.yaml")
    assert done.spec("Network", "a")["workflows"] == ["b"]
    assert done.spec("Workflow", "b")["steps"] == [{"id": "c", "agent": "c"}]


def test_instructions_are_those_of_the_root_the_static_ones_and_its_own(migrate: Migrate) -> None:
    done = migrate(
        {
            "a.yaml": "name: a\nmodel: gemini-2.5-pro\nglobal_instruction: Root.\ninstruction: A.\n"
            "sub_agents: [{config_path: b.yaml}]\n",
            "b.yaml": "name: b\nglobal_instruction: Lost.\nstatic_instruction: [One., {text: Two.}]\ninstruction: B.\n",
        }
    )
    assert done.spec("Agent", "a")["instructions"] == "Root.\n\nA."
    assert done.spec("Agent", "b")["instructions"] == "Root.\n\nOne.\nTwo.\n\nB."
    assert done.outcomes("global_instruction", "b.yaml") == {"dropped"}


def test_a_static_instruction_with_files_says_what_is_lost(migrate: Migrate) -> None:
    more = "static_instruction: {parts: [{text: Read.}, {file_data: {file_uri: 'gs://a/b'}}]}\n"
    done = _one(migrate, more)
    assert done.spec("Agent", "a")["instructions"] == "Read.\n\nDo."
    assert done.outcomes("static_instruction") == {"mapped", "manual"}


def test_placeholders_of_an_agent_alone_stay_and_somebody_is_told(migrate: Migrate) -> None:
    done = migrate({"a.yaml": "name: a\nmodel: gemini-2.5-pro\ninstruction: On {topic}, {note?}.\n"})
    assert done.spec("Agent", "a")["instructions"] == "On {topic}, {note?}."
    assert done.outcomes("instruction") == {"mapped", "manual"}
    assert "{topic}" in done.reason("instruction")


def test_schemas_in_the_file_are_the_agents_output(migrate: Migrate) -> None:
    done = _one(
        migrate, "output_schema: {type: OBJECT, properties: {n: {type: INTEGER}}}\ninput_schema: {type: STRING}\n"
    )
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert done.spec("Agent", "a")["output"] == {"schema": schema}
    assert done.outcomes("input_schema") == {"dropped"}


def test_a_schema_of_python_that_is_not_there_is_left_to_people(migrate: Migrate) -> None:
    done = _one(migrate, "output_schema: {name: my.schemas.Answer}\n")
    assert "output" not in done.spec("Agent", "a")
    assert done.outcomes("output_schema.name") == {"manual"}


def test_an_agent_without_memory_of_the_conversation(migrate: Migrate) -> None:
    assert _one(migrate, "include_contents: none\n").spec("Agent", "a")["memory"] == {"enabled": False}
    assert _one(migrate, "include_contents: NONE\n").spec("Agent", "a")["memory"] == {"enabled": False}
    assert "memory" not in _one(migrate, "include_contents: default\n").spec("Agent", "a")


def test_callbacks_are_work_for_people_one_row_each(migrate: Migrate) -> None:
    done = _one(migrate, "before_tool_callbacks: [{name: a.b}, {name: c.d}]\nafter_agent_callback: e.f\n")
    assert [row.outcome for row in done.result.rows if "callback" in row.key] == ["manual"] * 3
    assert "functions of the tools" in done.reason("before_tool_callbacks[1]")


def test_a_misspelt_field_is_told_with_what_may_have_been_meant(migrate: Migrate) -> None:
    assert "did it mean instruction?" in _one(migrate, "instructions: More.\n").reason("instructions")


def test_fields_in_camel_case_are_read_too(migrate: Migrate) -> None:
    done = _one(
        migrate,
        "outputKey: x\nincludeContents: none\nsubAgents: [{configPath: b.yaml}]\n",
        b="name: b\ninstruction: B.\n",
    )
    assert done.spec("Network", "a")["agents"] == ["a", "b"]
    assert done.spec("Agent", "a")["memory"] == {"enabled": False}


def test_a_team_is_a_network_with_the_lead_as_router_and_fallback(migrate: Migrate) -> None:
    done = _one(
        migrate,
        "description: Leads.\ndisallow_transfer_to_peers: false\n"
        "sub_agents: [{config_path: b.yaml}, {config_path: c.yaml}, {code: my.agents.other}]\n",
        b="agent_class: ParallelAgent\nname: b\nsub_agents: []\n",
        c="name: c\ninstruction: C.\nsub_agents: [{config_path: d.yaml}]\n",
        d="name: d\ninstruction: D.\n",
    )
    assert done.spec("Network", "a") == {
        "description": "Leads.",
        "agents": ["a"],
        "workflows": ["b"],
        "networks": ["c"],
        "tools": ["other"],
        "router": {
            "model": {"provider": "gemini", "name": "gemini-2.5-flash"},
            "instructions": "Do.",
            "fallback": "a",
        },
    }
    assert done.spec("Network", "c")["agents"] == ["c", "d"]
    assert done.outcomes("sub_agents[2].code") == {"mapped", "manual"}


def test_agents_of_one_name_in_two_directories_get_names_of_their_own(migrate: Migrate) -> None:
    done = migrate({"one/a.yaml": "name: root\ninstruction: A.\n", "two/b.yaml": "name: root\ninstruction: B.\n"})
    assert done.names("Agent") == ["root", "two-root"]
    assert done.result.names == {"Agent/root (two)": "two-root"}


def test_a_file_that_others_name_is_migrated_once(migrate: Migrate) -> None:
    done = migrate(
        {
            "b.yaml": "name: b\ninstruction: B.\n",
            "a.yaml": "name: a\ninstruction: A.\nsub_agents: [{config_path: ./b.yaml}]\n",
            "c.yaml": "name: c\ninstruction: C.\ntools: [{name: AgentTool, args: {agent: {config_path: b.yaml}}}]\n",
        }
    )
    assert done.names("Agent") == ["b", "a", "c"]
    assert done.spec("Agent", "c")["tools"] == [{"name": "b", "ref": "agents/b"}]


def test_a_custom_class_is_a_tool_to_write_and_its_fields_are_kept_in_mind(migrate: Migrate) -> None:
    done = migrate(
        {
            "a.yaml": "agent_class: shop.agents.Robot\nname: robot\ndescription: Moves.\nspeed: 3\n"
            "arms: {left: true}\nsub_agents: [{config_path: b.yaml}]\n",
            "b.yaml": "name: b\ninstruction: B.\n",
        }
    )
    assert done.spec("Tool", "robot") == {
        "type": "python",
        "description": "Moves.",
        "inputSchema": {
            "type": "object",
            "properties": {"request": {"type": "string", "description": "What to do, in full sentences."}},
            "required": ["request"],
        },
        "python": {"function": "migrated_tools:robot"},
    }
    assert done.outcomes("speed") == done.outcomes("arms") == done.outcomes("agent_class") == {"manual"}
    assert "call Agent b" in done.reason("sub_agents[0]")
    assert done.result.config == {"tools": {"python": {"allow": ["migrated_tools"]}}}


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("name: a\ninstruction: A.\ntools: [{name: google_search}]\n", 0.9, 1),
        ("name: a\ninstruction: A.\noutput_key: b\n", 0.9, 1),
        ("name: a\nmodel: m\ndescription: D.\ninstruction: A.\n", 0.5, 0.8),
        ("agent_class: LoopAgent\nname: a\n", 0.9, 1),
        ("agent_class: my.Own\nname: a\n", 0.9, 1),
        ("# $schema=https://x/adk/agents/config_schemas/AgentConfig.json\nfoo: 1\n", 0.9, 1),
        ("eval_set_id: a\neval_cases: []\n", 0.8, 1),
        ("name: a\ndescription: b\n", 0, 0),
        ("name: a\ninstruction: A.\nsteps: []\n", 0, 0.4),
        ("apiVersion: v1\nkind: Agent\nname: a\ninstruction: A.\n", 0, 0),
        ("agents: {root: {model: openai/x, instruction: A.}}\n", 0, 0),
        ("services: {web: {image: nginx}}\n", 0, 0),
    ],
)
def test_how_sure_it_is_of_a_document(text: str, least: float, most: float) -> None:
    (document,) = read_text(text, "a.yaml")
    assert least <= AdkMigrator().detect(document) <= most


def test_references_may_be_plain_paths_and_windows_paths(migrate: Migrate) -> None:
    done = _one(
        migrate,
        "sub_agents: ['parts\\b.yaml', parts/c.yaml]\n",
        **{"parts/b": "name: b\ninstruction: B.\n", "parts/c": "name: c\ninstruction: C.\n"},
    )
    assert done.spec("Network", "a")["agents"] == ["a", "b", "c"]


def test_it_is_told_once_that_turns_have_another_limit_here(migrate: Migrate) -> None:
    tools = "tools: [{name: google_search}]\n"
    done = _one(migrate, f"{tools}sub_agents: [{{config_path: b.yaml}}]\n", b=f"name: b\ninstruction: B.\n{tools}")
    (row,) = [row for row in done.result.rows if row.key == "tools" and row.outcome == "defaulted"]
    assert "25 turns" in row.reason
    assert "defaulted" not in _one(migrate, "").outcomes("tools")
