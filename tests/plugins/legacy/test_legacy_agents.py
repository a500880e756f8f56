"""Agents of older formats: every field, every form of tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

TOOL = """
apiVersion: mastra/v1
kind: Tool
metadata: {name: %s}
spec: {id: %s, description: d, execute: ./x.js}
---
"""
HEAD = "apiVersion: mastra/v1\nkind: Agent\nmetadata: {name: helper}\n"


def test_instructions_and_both_system_prompts_are_joined(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, _ = agent(
        """
instructions: "One. "
systemPrompt: Two.
model: {provider: openai, name: gpt-x, systemPrompt: Three.}
"""
    )
    assert spec == {
        "instructions": "One.\n\nTwo.\n\nThree.",
        "model": {"provider": "openai", "name": "gpt-x"},
    }


def test_a_single_prompt_stays_as_it_is_written(agent: Callable[[str], tuple[Any, Any]]) -> None:
    assert agent("systemPrompt: |\n  Help {topic}.\n")[0]["instructions"] == "Help {topic}.\n"


def test_the_name_for_people_describes_an_agent_that_has_no_description(
    agent: Callable[[str], tuple[Any, Any]],
) -> None:
    assert agent("name: 厨师助手\ninstructions: x")[0]["description"] == "厨师助手"
    spec, migrated = agent("name: Chef\ndescription: Cooks\ninstructions: x")
    assert spec["description"] == "Cooks"
    assert migrated.row("spec.name").outcome == "dropped"


def test_answer_and_turn_bounds_go_to_model_and_limits(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, _ = agent("instructions: x\nmodel: {provider: openai, name: m}\nmaxTokens: 20\nmaxTurns: 4\ntimeout: 30")
    assert spec["model"]["maxTokens"] == 20
    assert spec["limits"] == {"maxSteps": 4, "timeoutS": 30}


def test_a_bound_of_answers_without_a_model_is_manual(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, migrated = agent("instructions: x\nmaxTokens: 20")
    assert "model" not in spec
    assert migrated.row("spec.maxTokens").outcome == "manual"
    assert migrated.row("spec.model").outcome == "defaulted"


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ("memory: true", {"enabled": True}),
        ("memory: {enabled: false, type: ephemeral}", {"enabled": False}),
        ("memory: {enabled: true, type: vector, config: {ttl: 5}}", {"enabled": True, "type": "vector"}),
        ("memory: {type: conversation, config: {maxItems: 10}}", {"type": "buffer", "maxMessages": 10}),
        ("memorySettings: {enabled: true, messageWindow: 8}", {"enabled": True, "maxMessages": 8}),
        ("memory: postgres", None),
    ],
)
def test_memory(agent: Callable[[str], tuple[Any, Any]], memory: str, expected: Any) -> None:
    assert agent(f"instructions: x\n{memory}")[0].get("memory") == expected


def test_an_output_schema_becomes_structured_output(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, migrated = agent(
        "instructions: x\noutputSchema: {type: object, properties: {a: {type: string}}}\ninputSchema: {a: 1}"
    )
    assert spec["output"] == {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    assert migrated.row("spec.inputSchema").outcome == "dropped"


@pytest.mark.parametrize("field", ["voice", "features", "logging", "type", "id"])
def test_what_kastra_has_no_place_for_is_dropped_with_a_reason(
    agent: Callable[[str], tuple[Any, Any]], field: str
) -> None:
    row = agent(f"instructions: x\n{field}: {{a: 1}}")[1].row(f"spec.{field}")
    assert row.outcome == "dropped"
    assert "not known" not in row.reason


def test_an_unknown_field_is_told_to_be_unknown(agent: Callable[[str], tuple[Any, Any]]) -> None:
    assert "not known to this format" in agent("instructions: x\nmood: good")[1].row("spec.mood").reason


# --------------------------------------------------------------------------------------------------- tools


def test_tools_of_a_map_keep_their_aliases(migrate: Any) -> None:
    migrated = migrate(
        TOOL % ("find", "find")
        + HEAD
        + "spec: {instructions: x, tools: {search: find, other: kitchen.oven, oven: ns/oven}}"
    )
    assert migrated.spec("Agent")["tools"] == {"search": "find", "other": "kitchen.oven", "oven": "ns/oven"}
    assert migrated.names() == ["Tool/find", "Agent/helper"]


def test_a_tool_that_nobody_migrates_is_waited_for(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, migrated = agent("instructions: x\ntools: [search]")
    assert spec["tools"] == ["search"]
    assert "waits" in migrated.row("spec.tools[0]").reason
    assert migrated.names() == ["Agent/helper"]


def test_a_tool_is_found_by_its_id_and_by_a_name_that_had_to_change(migrate: Any) -> None:
    migrated = migrate(TOOL % ("Find_It", "finder") + HEAD + "spec: {instructions: x, tools: [finder, Find_It]}")
    assert migrated.spec("Agent")["tools"] == [
        {"name": "finder", "ref": "find-it"},
        {"name": "Find_It", "ref": "find-it"},
    ]
    assert migrated.result.names == {"Tool/Find_It": "find-it"}


def test_a_tool_described_where_it_is_used_becomes_a_tool_to_write(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, migrated = agent(
        """
instructions: x
tools:
  - {name: web-search, type: function, config: {description: Searches}}
  - type: function
    function: {name: getWeather, description: Weather, parameters: {type: object, properties: {city: {type: string}}}}
  - {name: clock, description: Time, parameters: {type: object, properties: {}}}
"""
    )
    assert spec["tools"] == ["web-search", {"name": "getWeather", "ref": "get-weather"}, "clock"]
    tool = migrated.spec("Tool", "get-weather")
    assert tool == {
        "type": "python",
        "description": "Weather",
        "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}},
        "python": {"function": "migrated_tools:get_weather"},
    }
    assert migrated.row("spec.tools[1]").outcome == "manual"
    assert "def get_weather(*, city: str | None = None) -> Any:" in migrated.result.files["migrated_tools.py"]


def test_two_agents_that_describe_the_same_tool_share_it(migrate: Any) -> None:
    fields = "spec: {instructions: x, tools: [{name: search, type: function}]}\n"
    migrated = migrate(HEAD + fields + "---\n" + HEAD.replace("helper", "second") + fields)
    assert migrated.names() == ["Tool/search", "Agent/helper", "Agent/second"]


def test_functions_of_a_tool_are_tools_each(migrate: Any) -> None:
    tool = """
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: tasks}
spec: {type: function, functions: [{name: createTask}, {name: listTasks}]}
---
"""
    migrated = migrate(
        tool + HEAD + "spec: {instructions: x, tools: [{name: tasks, type: function, functions: [listTasks]}]}"
    )
    assert migrated.spec("Agent")["tools"] == [{"name": "listTasks", "ref": "tasks-list-tasks"}]
    migrated = migrate(tool + HEAD + "spec: {instructions: x, tools: [tasks]}")
    assert migrated.spec("Agent")["tools"] == [
        {"name": "createTask", "ref": "tasks-create-task"},
        {"name": "listTasks", "ref": "tasks-list-tasks"},
    ]


def test_functions_of_a_tool_that_is_elsewhere_become_tools_to_write(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, migrated = agent("instructions: x\ntools: [{name: tasks, type: function, functions: [add, list]}]")
    assert spec["tools"] == [{"name": "add", "ref": "tasks-add"}, {"name": "list", "ref": "tasks-list"}]
    assert migrated.names() == ["Tool/tasks-add", "Tool/tasks-list", "Agent/helper"]


def test_an_alias_that_no_model_could_be_told_is_made_one(agent: Callable[[str], tuple[Any, Any]]) -> None:
    assert agent("instructions: x\ntools: {get weather: weather}")[0]["tools"] == {"get_weather": "weather"}


def test_a_reference_by_refname_keeps_its_namespace(agent: Callable[[str], tuple[Any, Any]]) -> None:
    spec, _ = agent("instructions: x\ntools: [{name: ticket, refName: support.ticket-tool}]")
    assert spec["tools"] == [{"name": "ticket", "ref": "support/ticket-tool"}]


def test_another_kind_as_a_tool(migrate: Any) -> None:
    other = HEAD.replace("helper", "translator") + "spec: {instructions: y}\n---\n"
    migrated = migrate(other + HEAD + "spec: {instructions: x, tools: [Agent/translator]}")
    assert migrated.spec("Agent", "helper")["tools"] == ["Agent/translator"]


def test_an_agent_without_fields_is_refused(problems: Any) -> None:
    (problem,) = problems(HEAD + "spec: {}")
    assert problem.path == "spec"
    assert problem.line == 4


def test_a_function_that_two_agents_call_is_to_be_written_once(migrate: Any) -> None:
    use = "spec: {instructions: x, tools: [{name: tasks, type: function, functions: [add]}]}\n"
    migrated = migrate(HEAD + use + "---\n" + HEAD.replace("helper", "second") + use)
    rows = [row for row in migrated.result.rows if row.key == "spec.tools[0].functions[0]"]
    assert [row.outcome for row in rows] == ["manual", "mapped"]
    assert len([one for one in migrated.result.resources if one["kind"] == "Tool"]) == 1
