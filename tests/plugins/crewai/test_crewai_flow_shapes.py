"""What becomes of each form of a flow: steps, inputs, tools, and rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError
from kastra_core.migration import UNKNOWN, MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import MigrationResult
from kastra_core.runtime import registry_of
from kastra_plugin_crewai.flow_migrator import detect_flow
from kastra_plugin_crewai.flow_state import changes_state
from kastra_plugin_crewai.migrator import CrewAiMigrator

_REGISTRY = registry_of(PluginManager())
_ONE = {"start": True, "do": {"call": "expression", "expr": "1"}}


def migrated(methods: JsonObject | str, **top: Any) -> MigrationResult:
    if isinstance(methods, str):
        text = methods
    else:
        text = json.dumps({"schema": "crewai.flow/v1", "name": "Sample", "methods": methods, **top})
    result = CrewAiMigrator().migrate(MemorySource(read_text(text, "f/flow.yaml")))
    assert problems_of_result(result.resources, _REGISTRY) == ()
    return result


def workflow(result: MigrationResult) -> JsonObject:
    spec: JsonObject = result.resources[0]["spec"]
    return spec


def resource(result: MigrationResult, kind: str, name: str) -> JsonObject:
    spec: JsonObject = next(
        one["spec"] for one in result.resources if (one["kind"], one["metadata"]["name"]) == (kind, name)
    )
    return spec


def row(result: MigrationResult, key: str) -> tuple[str, str]:
    return next((one.outcome, one.reason) for one in result.rows if one.key == key)


def expression(expr: str, **more: Any) -> JsonObject:
    return {"do": {"call": "expression", "expr": expr}, **more}


# ------------------------------------------------------------------------------------------------ order


def test_methods_that_follow_each_other_need_no_next() -> None:
    result = migrated({"b": expression("outputs.a", listen="a"), "a": expression("1", start=True)})
    assert workflow(result)["steps"] == [{"id": "a", "set": "{{ 1 }}"}, {"id": "b", "set": "{{ steps.a.output }}"}]


def test_a_router_gets_a_branch_and_ways_end_where_nothing_follows() -> None:
    methods = {
        "a": expression("'x'", start=True, router=True, emit=["x", "y", "z"]),
        "b": expression("2", listen="x"),
        "c": expression("3", listen="y"),
    }
    result = migrated(methods)
    assert workflow(result)["steps"] == [
        {"id": "a", "set": "{{ 'x' }}"},
        {
            "id": "a_route",
            "branch": {
                "cases": [
                    {"when": 'steps.a.output in ["x"]', "name": "x", "next": "b"},
                    {"when": 'steps.a.output in ["y"]', "name": "y", "next": "c"},
                ],
                "default": "END",
            },
        },
        {"id": "b", "set": "{{ 2 }}", "next": "END"},
        {"id": "c", "set": "{{ 3 }}"},
    ]
    assert row(result, "methods.a.emit[2]")[0] == "dropped"


def test_a_way_back_to_an_earlier_method_is_a_next_and_bounds_the_steps() -> None:
    methods = {
        "a": expression("1", start=True),
        "b": expression("outputs.a", listen={"or": ["a", "again"]}),
        "c": expression("'again'", listen="b", router=True),
    }
    spec = workflow(migrated(methods))
    assert spec["steps"][-1]["branch"]["cases"] == [
        {"when": 'steps.c.output in ["again"]', "name": "again", "next": "b"}
    ]
    assert spec["limits"] == {"maxSteps": 400}
    assert workflow(migrated(methods, config={"max_method_calls": 5}))["limits"] == {"maxSteps": 20}


def test_several_starts_run_at_once() -> None:
    result = migrated({"a": expression("1", start=True), "b": expression("2", start=True)})
    assert workflow(result)["steps"] == [
        {
            "id": "a_and_b",
            "parallel": {
                "branches": [
                    {"name": "a", "steps": [{"id": "a", "set": "{{ 1 }}"}]},
                    {"name": "b", "steps": [{"id": "b", "set": "{{ 2 }}"}]},
                ]
            },
        }
    ]


def test_what_is_read_from_outside_of_a_branch_is_published() -> None:
    methods = {
        "a": expression("1", start=True),
        "b": expression("2", start=True),
        "c": expression("outputs.a + outputs.b", listen={"and": ["a", "b"]}),
    }
    steps = workflow(migrated(methods))["steps"]
    assert steps[0]["parallel"]["branches"][0]["steps"] == [{"id": "a", "set": "{{ 1 }}", "output": {"type": "a"}}]
    assert steps[1] == {"id": "c", "set": "{{ data.a + data.b }}"}


def test_a_flow_without_form_as_blocks_keeps_a_list_of_what_is_due() -> None:
    methods = {
        "a": expression("'x'", start=True, router=True),
        "b": expression("1", listen="a"),
        "c": expression("2", listen="x"),
        "d": expression("3", listen={"and": ["b", "c"]}),
    }
    result = migrated(methods)
    spec = workflow(result)
    assert spec["output"] == "{{ data.flow_due.last }}"
    assert [step["id"] for step in spec["steps"]] == [
        *("flow_due_begin", "flow_due_next", "a", "a_done", "a_answered", "b", "b_done", "c", "c_done", "d", "d_done")
    ]
    assert "the router a itself" in row(result, "methods")[1]


def test_a_method_that_nothing_starts_is_left_out() -> None:
    result = migrated({"a": _ONE, "b": expression("2", listen="never"), "c": expression("3", listen="b")})
    assert [step["id"] for step in workflow(result)["steps"]] == ["a"]
    assert row(result, "methods.b")[0] == "dropped"
    assert row(result, "methods.c")[0] == "dropped"


def test_a_start_method_does_not_listen() -> None:
    result = migrated({"a": _ONE, "b": expression("2", start=True, listen="a")})
    assert row(result, "methods.b.listen")[0] == "dropped"


def test_names_that_are_words_of_cel_get_other_ids() -> None:
    methods = {"in": expression("1", start=True), "_x": expression("outputs['in']", listen="in")}
    assert workflow(migrated(methods))["steps"] == [
        {"id": "in_", "set": "{{ 1 }}"},
        {"id": "x", "set": "{{ steps.in_.output }}"},
    ]


# ------------------------------------------------------------------------------------------------ actions


def test_an_expression_without_counterpart_becomes_a_tool_that_somebody_writes() -> None:
    result = migrated({"a": expression("shout(state.x)", start=True)})
    assert workflow(result)["steps"] == [
        {"id": "a", "tool": "sample-a", "arguments": {"state": "{{ workflow.input }}"}}
    ]
    outcome, reason = row(result, "methods.a.do.expr")
    assert outcome == "manual"
    assert "migrated_tools:sample_a" in reason


def test_an_argument_without_counterpart_gets_a_step_before() -> None:
    do = {"call": "tool", "ref": "desk.tools:Find", "with": {"q": "${shout(state.x)}", "n": 3}}
    result = migrated({"a": {"start": True, "do": do}})
    before, step = workflow(result)["steps"]
    assert before["id"] == "a_q"
    assert step == {"id": "a", "tool": "find", "arguments": {"q": "{{ steps.a_q.output }}", "n": 3}}


def test_code_gets_the_state_and_gives_it_back() -> None:
    do = {"call": "code", "ref": "desk.flows:Desk.sort", "with": {"text": "On ${state.x}", "n": 2}}
    result = migrated({"a": {"start": True, "do": do}, "b": expression("state.y + outputs.a", listen="a")})
    steps = workflow(result)["steps"]
    assert steps[1:] == [
        {
            "id": "a_call",
            "tool": "sort",
            "arguments": {"text": "On {{ data.flow_state.state.x }}", "n": 2, "state": "{{ data.flow_state.state }}"},
            "output": {"type": "flow_state"},
        },
        {"id": "a", "set": "{{ steps.a_call.output.output }}"},
        {"id": "b", "set": "{{ data.flow_state.state.y + steps.a.output }}"},
    ]
    tool = resource(result, "Tool", "sort")
    assert tool["inputSchema"]["properties"] == {"text": {"type": "string"}, "n": {"type": "integer"}, "state": {}}
    assert tool["outputSchema"]["required"] == ["output", "state"]
    assert "def sort(*, text: str, n: int, state: Any)" in result.files["migrated_tools.py"]


def test_a_script_gets_what_it_reads() -> None:
    code = "return outputs['a'] + state['x'] + input"
    result = migrated({"a": _ONE, "b": {"listen": "a", "do": {"call": "script", "code": code}}})
    assert workflow(result)["steps"][1] == {
        "id": "b",
        "tool": "sample-b",
        "arguments": {
            "input": "{{ steps.a.output }}",
            "outputs": {"a": "{{ steps.a.output }}"},
            "state": "{{ workflow.input }}",
        },
    }


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("return 1", False),
        ("return state['a']['b']", False),
        ("return state.get('a', []) + state.b", False),
        ("return [x for x in state['rows']]", False),
        ("state['a'] = 1", True),
        ("state.a = 1", True),
        ("state['a'] += 1", True),
        ("del state['a']", True),
        ("state['rows'][0]['n'] = 1", True),
        ("state['rows'].append(1)", True),
        ("state.setdefault('a', 1)", True),
        ("s = state\ns['a'] = 1", True),
        ("change(state)", True),
        ("no python at all (state", True),
        ("no python at all (", False),
    ],
)
def test_whether_a_script_changes_the_state_is_read_from_it(code: str, changes: bool) -> None:
    assert changes_state(code) is changes


def test_a_crew_becomes_a_workflow_of_its_own() -> None:
    crew = {
        "agents": {"w": {"role": "Writer on {topic}", "goal": "g", "backstory": "b"}},
        "tasks": [{"name": "t", "description": "Write on {topic}", "expected_output": "text", "agent": "w"}],
        "inputs": {"topic": "tea", "type": "${state.kind}"},
    }
    do = {"call": "crew", "with": crew, "inputs": {"topic": "${state.topic}"}}
    result = migrated({"a": {"start": True, "do": do}})
    assert workflow(result)["steps"] == [
        {
            "id": "a",
            "workflow": "sample-a",
            "input": {"topic": "{{ workflow.input.topic }}", "type": "{{ workflow.input.kind }}"},
        }
    ]
    assert row(result, "methods.a.do.with.inputs.topic")[0] == "dropped"


def test_an_input_that_looks_like_a_special_form_is_an_expression() -> None:
    crew = {
        "agents": {"w": {"role": "r", "goal": "g", "backstory": "b"}},
        "tasks": [{"description": "{type}", "expected_output": "text", "agent": "w"}],
    }
    do = {"call": "crew", "with": crew, "inputs": {"type": "${state.kind}"}}
    result = migrated({"a": {"start": True, "do": do}})
    assert workflow(result)["steps"][0]["input"] == '{{ {"type": (workflow.input.kind)} }}'


def test_a_crew_in_a_file_is_read_and_one_that_is_not_there_is_a_tool() -> None:
    flow = {
        "schema": "crewai.flow/v1",
        "name": "Sample",
        "methods": {
            "a": {"start": True, "do": {"call": "crew", "from_declaration": "crews/desk", "inputs": {"topic": "tea"}}},
            "b": {"listen": "a", "do": {"call": "crew", "from_declaration": "crews/none", "inputs": {"x": 1}}},
        },
    }
    crew = {
        "agents": {"w": {"role": "r", "goal": "g", "backstory": "b"}},
        "tasks": [{"description": "On {topic}", "expected_output": "text", "agent": "w"}],
    }
    documents = read_text(json.dumps(flow), "f/flow.yaml")
    beside = read_text(json.dumps(crew), "f/crews/desk/crew.jsonc")
    result = CrewAiMigrator().migrate(MemorySource(documents, beside))
    steps = workflow(result)["steps"]
    assert steps[0] == {"id": "a", "workflow": "desk", "input": {"topic": "tea"}}
    assert steps[1] == {"id": "b", "tool": "none-crew", "arguments": {"x": 1}}
    assert row(result, "methods.b.do.from_declaration")[0] == "manual"


def test_the_model_of_an_agent_and_its_settings_are_kept() -> None:
    agent = {
        "role": "r",
        "goal": "g",
        "backstory": "b",
        "llm": "openai/gpt-4o",
        "settings": {"max_iter": 3, "llm": {"model": "anthropic/claude-sonnet-4-5", "temperature": 0.1}},
        "input": "${state.q}",
        "response_format": {"python": "desk.forms.Reply"},
    }
    result = migrated({"a": {"start": True, "do": {"call": "agent", "with": agent}}})
    spec = resource(result, "Agent", "a")
    assert spec["model"] == {
        "provider": "anthropic",
        "name": "claude-sonnet-4-5",
        "parameters": {"temperature": 0.1},
    }
    assert spec["limits"] == {"maxSteps": 3}
    assert row(result, "methods.a.do.with.llm")[0] == "dropped"
    assert row(result, "methods.a.do.with.response_format")[0] == "manual"


def test_an_answer_without_outcomes_is_the_output_of_the_method() -> None:
    methods = {"a": {**_ONE, "human_feedback": {"message": "Fine?"}}, "b": expression("outputs.a.feedback", listen="a")}
    steps = workflow(migrated(methods))["steps"]
    assert [step["id"] for step in steps] == ["a", "a_feedback", "b"]
    assert steps[2]["set"] == "{{ steps.a_feedback.output.feedback }}"


# ------------------------------------------------------------------------------------------------ state


def test_defaults_of_the_state_are_those_of_the_input() -> None:
    result = migrated(
        {"a": expression("state.topic + state.more", start=True)}, state={"type": "dict", "default": {"topic": "tea"}}
    )
    assert workflow(result)["inputSchema"] == {
        "type": "object",
        "properties": {"topic": {"default": "tea"}, "more": {}},
    }


def test_a_class_of_the_state_is_not_imported() -> None:
    state = {"type": "pydantic", "ref": "desk.forms:State", "default": {"n": 1}}
    result = migrated({"a": _ONE}, state=state)
    outcome, reason = row(result, "state.ref")
    assert outcome == "manual"
    assert "never imported" in reason


def test_what_is_no_json_schema_is_left_to_be_written() -> None:
    state = {"type": "json_schema", "json_schema": {"type": "strng"}}
    result = migrated({"a": _ONE}, state=state)
    assert row(result, "state.json_schema")[0] == "manual"


def test_a_flow_may_be_started_without_input() -> None:
    result = migrated({"a": expression("has(state.x)", start=True)})
    assert workflow(result)["inputSchema"]["type"] == ["object", "null"]


# ------------------------------------------------------------------------------------------------ talking


def test_a_flow_that_talks_gets_a_router_and_a_talker() -> None:
    methods = {"handle_order": expression("'sent'", listen="order", description="Asks for an order.")}
    talk = {"system_prompt": "Be kind.", "llm": "openai/gpt-4o", "router": {"prompt": "A shop."}}
    result = migrated(methods, conversational=talk)
    router = resource(result, "Agent", "sample-router")
    assert router["output"]["schema"]["properties"]["intent"]["enum"] == ["order", "converse", "end"]
    assert "- order: Asks for an order." in router["instructions"]
    assert resource(result, "Agent", "sample-converse")["instructions"] == "Be kind."
    cases = workflow(result)["steps"][1]["branch"]["cases"]
    assert [case["next"] for case in cases] == ["handle_order", "converse_turn", "end_conversation"]
    assert row(result, "state")[0] == "defaulted"  # nobody keeps what was said


def test_a_flow_that_only_talks_has_one_step() -> None:
    result = migrated({}, conversational={})
    assert [step["id"] for step in workflow(result)["steps"]] == ["converse_turn"]
    off = migrated({"a": _ONE}, conversational={"enabled": False, "llm": "openai/gpt-4o"})
    assert row(off, "conversational")[0] == "dropped"


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("methods", "top", "path", "words"),
    [
        ({}, {}, "methods", "nothing of the flow would run"),
        ({"a b": _ONE}, {}, "methods.a b", "is no name of a method"),
        ({"a": {"start": True}}, {}, "methods.a", "needs `do`"),
        ({"a": {**_ONE, "router": "yes"}}, {}, "methods.a.router", "expected a boolean"),
        ({"a": {**_ONE, "emit": "x"}}, {}, "methods.a.emit", "expected a list of strings"),
        ({"a": {**_ONE, "human_feedback": {}}}, {}, "methods.a.human_feedback", "needs a message"),
        ({"a": _ONE, "b": expression("1", listen={"xor": ["a"]})}, {}, "methods.b.listen", "{and: [...]}"),
        ({"a": _ONE, "b": expression("1", listen={"and": ["a"], "or": ["a"]})}, {}, "methods.b.listen.or", "beside"),
        ({"a": expression("nope + 1", start=True)}, {}, "methods.a.do.expr", "unknown name 'nope'"),
        ({"a": {"start": True, "do": {"call": "expression", "exp": "1"}}}, {}, "methods.a.do.exp", "unknown field"),
        ({"a": {"start": True, "do": {"call": "crew"}}}, {}, "methods.a.do", "from_declaration or with"),
        (
            {"a": {"start": True, "do": {"call": "script", "code": "1", "language": "js"}}},
            {},
            "methods.a.do.language",
            "python",
        ),
        (
            {"a": {"start": True, "do": {"call": "each", "in": "[1]", "do": []}}},
            {},
            "methods.a.do.do",
            "at least one step",
        ),
        (
            {"a": {"start": True, "do": {"call": "crew", "from_declaration": "../x"}}},
            {},
            "methods.a.do.from_declaration",
            "leads out",
        ),
        (
            {"a": {"start": True, "do": {"call": "agent", "with": {"role": "r", "goal": "g", "input": "x"}}}},
            {},
            "methods.a.do.with",
            "needs 'backstory'",
        ),
        ({"a": _ONE}, {"state": {"type": "json_schema"}}, "state", "needs json_schema"),
        ({"a": _ONE}, {"state": {"type": "dict", "default": 3}}, "state.default", "expected an object"),
        ({"a": _ONE}, {"name": 3}, "name", "expected a string"),
    ],
)
def test_what_crewai_refuses_is_refused_with_its_place(
    methods: JsonObject, top: JsonObject, path: str, words: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        migrated(methods, **top)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in f"{problem.message} {problem.hint}"
    assert problem.line >= 1


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("schema: crewai.flow/v1", 1.0),
        ("schema: crewai.flow/v2\nname: x", 1.0),
        ("name: x\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}", 0.8),
        ("schema: other/v1\nmethods: {a: {start: true, do: {}}}", 0.0),
        ("methods: {a: {get: x}}", 0.0),
        ("[1]", 0.0),
    ],
)
def test_flows_are_told_by_their_schema_or_their_methods(text: str, confidence: float) -> None:
    assert detect_flow(read_text(text, "x.yaml")[0]) == confidence


_CORPUS = Path(__file__).parents[3] / "../shared/corpus/migrators/crewai"


@pytest.mark.skipif(not _CORPUS.is_dir(), reason="the collection of foreign files is not here")
def test_the_flows_of_the_collection_apply() -> None:
    files = [path for path in sorted(_CORPUS.rglob("*.y*ml")) if "crewai.flow/" in path.read_text("utf-8")]
    assert files
    for path in files:
        result = CrewAiMigrator().migrate(MemorySource(read_text(path.read_bytes(), path.name)))
        assert problems_of_result(result.resources, _REGISTRY) == (), path
        assert not [one.key for one in result.rows if one.reason == UNKNOWN], path


# ------------------------------------------------------------------------------------------------ anything


@st.composite
def any_flow(draw: st.DrawFn) -> JsonObject:
    names = [f"m{index}" for index in range(draw(st.integers(1, 6)))]
    labels = ["l1", "l2"]
    event = st.sampled_from([*names, *labels])
    condition = st.recursive(
        event,
        lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda two: {two[0]: two[1]}
        ),
        max_leaves=4,
    )
    read = st.sampled_from(names).map("outputs.{}".format)
    source = st.one_of(
        read,
        st.sampled_from(
            ["state.a", "state.a.b", "state.n == 'x'", "state.n-1", "'l1'", "[1, 2]", "{'k': state.a}", "outputs"]
        ),
        read.map("{}.raw".format),
        read.map("has({})? 'l1' : 'l2'".format),
    )
    action = st.one_of(
        source.map(lambda one: {"call": "expression", "expr": one}),
        source.map(lambda one: {"call": "tool", "ref": "t:T", "with": {"type": f"a ${{{one}}}", "x": [f"${{{one}}}"]}}),
        source.map(lambda one: {"call": "code", "ref": "app:go", "with": {"x": f"${{{one}}}"}}),
        source.map(
            lambda one: {"call": "agent", "with": {"role": "r", "goal": "g", "backstory": "b", "input": f"${{{one}}}"}}
        ),
        st.sampled_from(["return 1", "state['a'] = outputs['m0']"]).map(lambda code: {"call": "script", "code": code}),
        st.tuples(source, source).map(
            lambda two: {
                "call": "each",
                "in": two[0],
                "do": [
                    {"name": "m0", "if": two[1], "action": {"call": "expression", "expr": "item.x"}},
                    {"name": "s", "if": "item", "action": {"call": "expression", "expr": "outputs.m0"}},
                ],
            }
        ),
    )
    methods: JsonObject = {}
    for at, name in enumerate(names):
        method: JsonObject = {"do": draw(action)}
        listen = draw(condition)
        if at == 0 or draw(st.integers(0, 6)) == 0:
            method["start"] = True
        elif f'"{name}"' not in json.dumps(listen):
            method["listen"] = listen
        if draw(st.integers(0, 2)) == 0:
            method["router"] = True
        if draw(st.integers(0, 5)) == 0:
            method["human_feedback"] = {"message": "ok?", **draw(st.sampled_from([{}, {"emit": ["l1", "{{x}}"]}]))}
        methods[name] = method
    state = draw(
        st.sampled_from(
            [
                None,
                {"type": "dict", "default": {"a": "x"}},
                {
                    "type": "json_schema",
                    "json_schema": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}, "n": {"type": "integer"}},
                    },
                },
            ]
        )
    )
    return {"schema": "crewai.flow/v1", "name": "Any", "methods": methods, "state": state}


@settings(max_examples=30, deadline=None)
@given(any_flow())
def test_whatever_a_flow_does_the_result_applies(flow: JsonObject) -> None:
    result = CrewAiMigrator().migrate(MemorySource(read_text(json.dumps(flow), "flow.json")))
    assert problems_of_result(result.resources, _REGISTRY) == ()


def test_the_bound_of_a_flow_leaves_room_for_the_turns_of_its_agents() -> None:
    agent = {"role": "r", "goal": "g", "backstory": "b", "input": "x"}
    crew = {
        "agents": {"one": {"role": "r", "goal": "g", "backstory": "b"}},
        "tasks": [{"description": "d", "expected_output": "e", "agent": "one"}] * 2,
    }
    methods: dict[str, Any] = {"a": {"start": True, "do": {"call": "agent", "with": agent}}}
    assert workflow(migrated(methods, config={"max_method_calls": 2}))["limits"] == {"maxSteps": 2 * 26}
    methods["b"] = {"listen": "a", "do": {"call": "crew", "with": crew}}
    assert workflow(migrated(methods, config={"max_method_calls": 1}))["limits"] == {"maxSteps": 26 + 1 + 2 * 26}
