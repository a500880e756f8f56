"""Old forms, the fields of each version, and what is refused."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.errors import ManifestError, Problem
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult, SourceDocument
from kastra_plugin_docker_agent.durations import seconds_of
from kastra_plugin_docker_agent.migrator import DockerAgentMigrator


def migrated(text: str) -> MigrationResult:
    return DockerAgentMigrator().migrate(MemorySource(read_text(text, "team.yaml")))


def refused(text: str) -> list[Problem]:
    with pytest.raises(ManifestError) as caught:
        migrated(text)
    return list(caught.value.problems)


def one_agent(version: int | str, body: str, more: str = "") -> str:
    return f"version: '{version}'\n{more}agents:\n  root:\n    model: openai/x\n    instruction: Go.\n{body}"


def spec_of(result: MigrationResult) -> Any:
    return next(one["spec"] for one in result.resources if one["kind"] == "Agent")


@pytest.mark.parametrize("version", ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "15"])
def test_every_version_gives_an_agent(version: str) -> None:
    assert spec_of(migrated(one_agent(version, ""))) == {
        "instructions": "Go.",
        "model": {"provider": "openai", "name": "x"},
    }


def test_a_number_is_a_version_too() -> None:
    assert spec_of(migrated("version: 1\nagents: {root: {model: a/b}}\n"))["model"]["name"] == "b"


def test_the_fields_of_version_0_become_tools_told_of_at_their_keys() -> None:
    result = migrated(
        one_agent(0, "    todo: {shared: true}\n    think: true\n    memory: {path: m.db}\n").replace("openai/x", "m")
        + "models: {m: {type: openai, model: gpt-x}}\n"
    )
    names = [entry if isinstance(entry, str) else entry["name"] for entry in spec_of(result)["tools"]]
    assert names[:5] == ["create_todo", "create_todos", "update_todos", "list_todos", "think"]
    assert "add_memory" in names
    told = {row.key for row in result.rows if row.outcome == "manual"}
    assert {"agents.root.todo.shared", "agents.root.think", "agents.root.memory.path"} <= told
    assert spec_of(result)["model"] == {"provider": "openai", "name": "gpt-x"}


@pytest.mark.parametrize("field", ["todo: false", "think: false", "memory: {}"])
def test_what_version_0_switches_off_brings_no_tools(field: str) -> None:
    assert "tools" not in spec_of(migrated(one_agent(0, f"    {field}\n")))


@pytest.mark.parametrize(
    ("version", "body", "path", "words"),
    [
        (6, "    think: true\n", "agents.root.think", "it was known up to version 0"),
        ("10", "    todo: true\n", "agents.root.todo", "it was known up to version 0"),
        (1, "    handoffs: [root]\n", "agents.root.handoffs", "it is known from version 2 on"),
        (3, "    fallback: {models: [a/b]}\n", "agents.root.fallback", "it is known from version 4 on"),
        (5, "    favourite: 1\n", "agents.root.favourite", "does not know the field 'favourite'"),
        (10, "    instructions: x\n", "agents.root.instructions", "did you mean 'instruction'?"),
        (2, "    toolsets: {type: think}\n", "agents.root.toolsets", "expected a list, found"),
        (2, "    add_date: 'yes'\n", "agents.root.add_date", "expected true or false, found"),
        (2, "    max_iterations: many\n", "agents.root.max_iterations", "expected an integer, found"),
        (2, "    toolsets: [{type: memory}]\n", "agents.root.toolsets[0]", "needs a path in version 2"),
        (
            2,
            "    toolsets: [{type: think, shared: true}]\n",
            "agents.root.toolsets[0].shared",
            "goes with type 'todo' only",
        ),
        (2, "    toolsets: [{type: mcp}]\n", "agents.root.toolsets[0]", "needs command, remote or ref"),
        (3, "    toolsets: [{type: mcp, ref: hub}]\n", "agents.root.toolsets[0].ref", "only docker:NAME is one"),
        (6, "    toolsets: [{type: mcp, ref: hub}]\n", "agents.root.toolsets[0].ref", "no MCP definition 'hub'"),
        (
            1,
            "    toolsets: [{type: think, env_file: x}]\n",
            "agents.root.toolsets[0].env_file",
            "not supported any more",
        ),
        (
            4,
            "    toolsets: [{type: shell, sandbox: {image: x}}]\n",
            "agents.root.toolsets[0].sandbox",
            "at least one path",
        ),
        (5, "    toolsets: [{type: openapi}]\n", "agents.root.toolsets[0]", "needs a url"),
        (6, "    toolsets: [{type: model_picker}]\n", "agents.root.toolsets[0]", "needs models"),
        (2, "    sub_agents: [rooot]\n", "agents.root.sub_agents[0]", "did you mean 'root'?"),
        (4, "    fallback: {retries: -2}\n", "agents.root.fallback.retries", "expected -1 or more"),
        (4, "    fallback: {cooldown: soon}\n", "agents.root.fallback.cooldown", "is no duration"),
        (3, "    hooks: {pre_tool_use: [{hooks: []}]}\n", "agents.root.hooks.pre_tool_use[0]", "at least one hook"),
        (
            3,
            "    hooks: {session_end: [{type: model}]}\n",
            "agents.root.hooks.session_end[0].type",
            "expected type command",
        ),
        (3, "    hooks: {session_end: [{type: command}]}\n", "agents.root.hooks.session_end[0]", "needs a command"),
        (5, "    skills: [somewhere]\n", "agents.root.skills[0]", "is no source of skills"),
        (2, "    commands: {x: 5}\n", "agents.root.commands.x", "neither a text nor an object"),
    ],
)
def test_what_docker_agent_refuses_is_refused_with_place_and_reason(
    version: int | str, body: str, path: str, words: str
) -> None:
    (problem,) = refused(one_agent(version, body))
    assert problem.path == path
    assert words in f"{problem.message}; {problem.hint}"
    assert (problem.file, problem.line) == ("team.yaml", 6)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("providers: {gate: {token_key: A}}\n", "providers.gate"),
        ("providers: {gate: {base_url: 'https://x', api_type: grpc}}\n", "providers.gate.api_type"),
        ("providers: {'a/b': {base_url: 'https://x'}}\n", "providers.a/b"),
        ("mcps: {x: {ref: other}}\n", "mcps.x.ref"),
        ("mcps: {x: {command: a, ref: 'docker:b'}}\n", "mcps.x"),
        (
            "models: {m: {provider: openai, model: x, routing: [{model: nobody, examples: []}]}}\n",
            "models.m.routing[0].model",
        ),
    ],
)
def test_what_is_wrong_beside_the_agents_is_refused(more: str, path: str) -> None:
    assert [problem.path for problem in refused(one_agent(6, "", more))] == [path]


def test_a_version_that_nobody_knows_is_refused() -> None:
    (problem,) = refused(one_agent("99", ""))
    assert "no configuration version '99'" in problem.message


def test_what_is_no_object_is_refused() -> None:
    (problem,) = refused("- agents\n")
    assert problem.message.startswith("expected an object with agents, found ")


def test_a_field_of_a_coming_version_is_told_of_and_not_refused() -> None:
    (row,) = [row for row in migrated(one_agent(10, "    zebra: {a: 1}\n")).rows if row.key == "agents.root.zebra"]
    assert row.outcome == "manual"


def test_limits_memory_and_output_go_to_their_fields() -> None:
    result = migrated(
        one_agent(
            2,
            "    max_iterations: 7\n    num_history_items: 5\n"
            "    structured_output: {name: out, schema: {type: object, properties: {n: {type: int}}}}\n",
        )
    )
    made = spec_of(result)
    assert made["limits"] == {"maxSteps": 7}
    assert made["memory"] == {"maxMessages": 5}
    assert made["output"] == {
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "title": "out"},
    }


def test_of_several_budgets_the_lowest_holds() -> None:
    more = "budgets: {a: {max_tokens: 10, max_time: 1m}, b: {max_tokens: 5, max_cost: 0.5}}\n"
    made = spec_of(migrated(one_agent(15, "    budgets: [a, b]\n", more)))
    assert made["limits"] == {"maxTokens": 5, "timeoutS": 60, "maxCost": 0.5}


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h2m3s", 3723.0), ("1.5m", 90.0), ("250ms", 0.25), ("", None), ("1 m", None), ("-2s", -2.0)]
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == (pytest.approx(seconds) if seconds is not None else None)


_BASE = read_text(
    one_agent(
        6,
        "    toolsets:\n      - {type: shell, tools: [shell], env: {A: b}}\n"
        "      - {type: mcp, remote: {url: 'https://x', headers: {a: b}}}\n"
        "    sub_agents: [b]\n    commands: {x: y}\n    skills: [local]\n    fallback: {models: [a/b], cooldown: 1m}\n"
        "  b: {model: m, structured_output: {name: n, schema: {type: object}}}\n",
        "models: {m: {provider: p, model: x, temperature: 1, thinking_budget: 5}}\nmetadata: {author: a}\n",
    ),
    "team.yaml",
)[0]
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, 0, -1, 1.5, "", "x", "a/b", "a,b", "${env.X}", [], {}, True, [1], ["x"], {"a": 1}, [{}]]
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, item in inner for place in _places(item, (*path, key))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {key: _replaced(item, path[1:], new) if key == path[0] else item for key, item in value.items()}
    return [_replaced(item, path[1:], new) if at == path[0] else item for at, item in enumerate(value)]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_places(_BASE.data)), _VALUES)
def test_a_file_with_anything_anywhere_is_migrated_or_refused(path: tuple[Any, ...], value: Any) -> None:
    document: SourceDocument = attrs.evolve(_BASE, data=_replaced(_BASE.data, path, value))
    problems: tuple[Problem, ...] = ()
    resources: Any = ()
    try:
        resources = DockerAgentMigrator().migrate(MemorySource([document])).resources
    except ManifestError as error:
        problems = error.problems
    assert resources or problems
    assert all(problem.message and problem.file for problem in problems)
