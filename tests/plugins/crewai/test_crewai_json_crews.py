"""Crews in one file, with agents inside or beside them, become resources."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import MigrationResult, SourceDocument
from kastra_core.runtime import registry_of
from kastra_plugin_crewai.json_crews import detect_json_crew
from kastra_plugin_crewai.migrator import CrewAiMigrator

_REGISTRY = registry_of(PluginManager())
_SCOUT = {"role": "Scout", "goal": "Find {topic}", "backstory": "Curious"}
_FIND = {"name": "find", "description": "Find {topic}", "expected_output": "facts", "agent": "scout"}
_TELL = {"name": "tell", "description": "Tell it", "expected_output": "text", "agent": "scout"}


def documents(files: JsonObject) -> list[SourceDocument]:
    texts = {path: value if isinstance(value, str) else json.dumps(value) for path, value in files.items()}
    return [document for path, text in texts.items() for document in read_text(text, path)]


def migrated(files: JsonObject, others: JsonObject | None = None) -> MigrationResult:
    result = CrewAiMigrator().migrate(MemorySource(documents(files), documents(others or {})))
    assert problems_of_result(result.resources, _REGISTRY) == ()
    return result


def inline(*tasks: JsonObject, **top: Any) -> JsonObject:
    return {"agents": {"scout": _SCOUT}, "tasks": list(tasks) or [_FIND], **top}


def spec(result: MigrationResult, kind: str, name: str = "") -> JsonObject:
    found: JsonObject = next(
        one["spec"] for one in result.resources if one["kind"] == kind and name in ("", one["metadata"]["name"])
    )
    return found


def outcome(result: MigrationResult, key: str) -> str:
    return next(row.outcome for row in result.rows if row.key == key)


def names(result: MigrationResult) -> list[str]:
    return [f"{one['kind']}/{one['metadata']['name']}" for one in result.resources]


def test_comments_and_trailing_commas_are_read() -> None:
    text = """{
      // who
      "agents": {"scout": {"role": "Scout", "goal": "g", "backstory": "http://x // y",}},
      /* what */
      "tasks": [{"description": "Find", "expected_output": "facts", "agent": "scout"},],
    }"""
    result = migrated({"desk/crew.jsonc": text})
    assert names(result) == ["Agent/scout", "Workflow/desk"]
    assert "http://x // y" in spec(result, "Agent")["instructions"]


def test_agents_beside_the_crew_are_read_once() -> None:
    crew = {"agents": ["scout"], "tasks": [_FIND]}
    alone = migrated({"desk/crew.json": crew}, {"desk/agents/scout.jsonc": _SCOUT})
    both = migrated({"desk/agents/scout.jsonc": _SCOUT, "desk/crew.json": crew})
    assert names(alone) == names(both) == ["Agent/scout", "Workflow/desk"]


def test_an_agent_file_alone_becomes_an_agent() -> None:
    result = migrated({"desk/agents/scout.jsonc": _SCOUT})
    assert names(result) == ["Agent/scout"]


def test_an_agent_that_no_crew_names_is_not_lost() -> None:
    crew = {"agents": ["scout"], "tasks": [_FIND]}
    files = {"d/crew.json": crew, "d/agents/scout.json": _SCOUT, "d/agents/spare.json": {**_SCOUT, "role": "Spare"}}
    assert names(migrated(files)) == ["Agent/scout", "Workflow/d", "Agent/spare"]


def test_a_file_of_one_agent_beside_another_crew_belongs_to_its_own() -> None:
    crew = {"agents": ["scout"], "tasks": [_FIND]}
    files = {
        "a/crew.json": crew,
        "a/agents/scout.json": _SCOUT,
        "b/crew.json": crew,
        "b/agents/scout.json": {**_SCOUT, "role": "Other"},
    }
    result = migrated(files)
    assert [name for name in names(result) if name.startswith("Agent")] == ["Agent/scout", "Agent/b-scout"]


@pytest.mark.parametrize(
    "agents",
    [
        {"scout": _SCOUT},
        [{"name": "scout", **_SCOUT}],
        [{"scout": _SCOUT}],
    ],
)
def test_agents_may_stand_in_the_crew(agents: Any) -> None:
    result = migrated({"x/crew.yaml": {"agents": agents, "tasks": [_FIND], "name": "Desk"}})
    assert names(result) == ["Agent/scout", "Workflow/desk"]


def test_tasks_may_be_an_object_by_name() -> None:
    tasks = {"find": {key: value for key, value in _FIND.items() if key != "name"}}
    result = migrated({"x.yaml": {"agents": {"scout": _SCOUT}, "tasks": tasks}})
    assert [step["id"] for step in spec(result, "Workflow")["steps"]] == ["find"]


def test_settings_win_over_the_keys_beside_them() -> None:
    agent = {**_SCOUT, "llm": "openai/gpt-4o", "settings": {"llm": "anthropic/claude-sonnet-4-5", "max_iter": 4}}
    result = migrated({"x/crew.json": {"agents": {"scout": agent}, "tasks": [_FIND]}})
    assert spec(result, "Agent")["model"]["provider"] == "anthropic"
    assert spec(result, "Agent")["limits"] == {"maxSteps": 4}
    assert outcome(result, "agents.scout.llm") == "dropped"
    assert outcome(result, "agents.scout.settings.llm") == "mapped"


def test_tools_are_named_in_four_ways_and_each_is_one_tool() -> None:
    tools = [
        "SerperDevTool",
        "crewai_tools:SerperDevTool",
        "custom:maps",
        "desk.tools:Atlas",
        {"tool_type": "desk.tools.Clock", "name": "clock", "description": "Tells the time.", "zone": "UTC"},
        "",
    ]
    agent = {**_SCOUT, "tools": tools}
    result = migrated({"x/crew.json": {"agents": {"scout": agent}, "tasks": [_FIND]}})
    assert spec(result, "Agent")["tools"] == ["serper-dev-tool", "maps", "atlas", "clock"]
    assert spec(result, "Tool", "clock")["description"] == "Tells the time."
    reason = next(row.reason for row in result.rows if row.key == "agents.scout.tools[2]")
    assert "tools/maps.py" in reason


@pytest.mark.parametrize("kind", ["ConditionalTask", "conditional", "crewai.tasks.conditional_task.ConditionalTask"])
def test_a_conditional_task_is_done_when_a_tool_says_so(kind: str) -> None:
    task = {**_TELL, "type": kind, "condition": {"python": "desk.rules.enough"}}
    result = migrated({"x/crew.json": inline(_FIND, task)})
    steps = spec(result, "Workflow")["steps"]
    assert [step["id"] for step in steps] == ["find", "tell_condition", "tell"]
    assert steps[1]["arguments"] == {"output": "{{ steps.find.output }}"}
    case = steps[2]["branch"]["cases"][0]
    assert case["when"] == "steps.tell_condition.output == true"
    assert case["steps"][0]["agent"] == "scout"
    assert outcome(result, "tasks[1].condition") == "manual"
    assert "def tell_condition(*, output: Any)" in result.files["migrated_tools.py"]


def test_a_conditional_task_that_a_person_looks_at_is_left_to_be_written() -> None:
    task = {**_TELL, "type": "ConditionalTask", "condition": {"python": "desk.rules.enough"}, "human_input": True}
    result = migrated({"x/crew.json": inline(_FIND, task)})
    assert outcome(result, "tasks[1].type") == "manual"


def test_references_to_python_are_never_imported() -> None:
    agent = {**_SCOUT, "step_callback": {"python": "os.system"}, "llm": {"python": "desk.models.best"}}
    task = {**_FIND, "output_pydantic": {"python": "desk.forms.Facts"}, "guardrails": [{"python": "desk.rules.fine"}]}
    top = {"before_kickoff_callbacks": [{"python": "desk.hooks.begin"}]}
    result = migrated({"x/crew.json": {"agents": {"scout": agent}, "tasks": [task], **top}})
    for key in ("agents.scout.step_callback", "agents.scout.llm", "tasks[0].output_pydantic", "tasks[0].guardrails"):
        assert outcome(result, key) == "manual", key
    assert outcome(result, "before_kickoff_callbacks") == "manual"


def test_a_hierarchical_crew_becomes_a_network_under_its_manager() -> None:
    crew = {"agents": ["scout"], "tasks": [_FIND], "process": "hierarchical", "manager_agent": "boss"}
    boss = {"role": "Boss", "goal": "Lead", "backstory": "Calm", "llm": "openai/gpt-4o"}
    result = migrated({"d/crew.json": crew}, {"d/agents/scout.json": _SCOUT, "d/agents/boss.json": boss})
    network = spec(result, "Network")
    assert network["agents"] == ["scout"]
    assert network["router"]["model"]["name"] == "gpt-4o"
    assert spec(result, "Workflow")["steps"][0]["network"] == "d"


def test_inputs_are_defaults() -> None:
    result = migrated({"x/crew.json": inline(inputs={"topic": "tea", "unused": 3})})
    properties = spec(result, "Workflow")["inputSchema"]["properties"]
    assert properties["topic"]["default"] == "tea"
    assert properties["unused"]["default"] == 3


@pytest.mark.parametrize(
    ("crew", "path", "words"),
    [
        ({"agents": ["scout"], "tasks": [_FIND]}, "agents[0]", "no file for the agent 'scout'"),
        ({"agents": ["../scout"], "tasks": [_FIND]}, "agents[0]", "is no name of an agent"),
        ({"agents": [], "tasks": [_FIND]}, "agents", "needs agents"),
        ({"agents": "scout", "tasks": [_FIND]}, "agents", "expected a list"),
        ({"agents": {"scout": _SCOUT}, "tasks": []}, "tasks", "at least one task"),
        ({"agents": {"scout": 3}, "tasks": [_FIND]}, "agents.scout", "expected an object"),
        (inline({**_FIND, "agent": "scot"}), "tasks[0].agent", "did you mean 'scout'?"),
        (inline({**_FIND, "context": ["tell"]}, _TELL), "tasks[0].context[0]", "no task before this one"),
        (inline({"description": "x", "agent": "scout"}), "tasks[0]", "needs 'expected_output'"),
        (inline({**_FIND, "type": "Chore"}), "tasks[0].type", "unknown type 'Chore'"),
        (inline({**_FIND, "type": "ConditionalTask"}), "tasks[0].type", "cannot be conditional"),
        (inline({**_FIND, "callback": {"python": "here"}}), "tasks[0].callback", "module.name"),
        (inline(manager_agent="boss"), "manager_agent", "no agent 'boss'"),
        ({"agents": {"scout": {"role": "r", "goal": "g"}}, "tasks": [_FIND]}, "agents.scout", "needs 'backstory'"),
        ({"agents": {"scout": {**_SCOUT, "tools": "x"}}, "tasks": [_FIND]}, "agents.scout.tools", "expected a list"),
        (
            {"agents": {"scout": {**_SCOUT, "tools": ["custom:../x"]}}, "tasks": [_FIND]},
            "agents.scout.tools[0]",
            "custom:NAME",
        ),
        ({"agents": {"scout": {**_SCOUT, "settings": 1}}, "tasks": [_FIND]}, "agents.scout.settings", "an object"),
    ],
)
def test_what_crewai_refuses_is_refused_with_its_place(crew: JsonObject, path: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        migrated({"x/crew.json": crew})
    told = {problem.path: f"{problem.message} {problem.hint}" for problem in caught.value.problems}
    assert path in told
    assert words in told[path]


@pytest.mark.parametrize(
    ("file", "data", "confidence"),
    [
        ("d/crew.jsonc", inline(), 0.95),
        ("d/team.yaml", inline(), 0.9),
        ("d/crew.json", {"agents": ["a"]}, 0.7),
        ("d/agents/a.jsonc", _SCOUT, 0.9),
        ("d/agents/a.jsonc", {"from_repository": "x"}, 0.6),
        ("d/agents.yaml", {"scout": _SCOUT}, 0.0),
        ("d/tasks.yaml", {"find": _FIND}, 0.0),
        ("d/a.yaml", {"agents": {"a": {}}, "tasks": {"build": {"cmd": "make"}}}, 0.0),
    ],
)
def test_crews_and_agents_are_told_by_their_form(file: str, data: JsonObject, confidence: float) -> None:
    assert detect_json_crew(read_text(json.dumps(data), file)[0]) == confidence
