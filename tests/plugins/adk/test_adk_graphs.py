"""Workflow of ADK 2: edges as steps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.adk.conftest import Migrate, Migrated


def _graph(
    migrate: Migrate, edges: str, more: str = "", others: dict[str, str] | None = None, **files: str
) -> Migrated:
    text = f"agent_class: Workflow\nname: flow\n{more}edges:\n{edges}"
    return migrate({"d/flow.yaml": text, **{f"d/{name}.yaml": value for name, value in files.items()}}, others)


def _steps(done: Migrated) -> list[Any]:
    return list(done.spec("Workflow", "flow")["steps"])


def _agent(name: str, text: str = "Do.", more: str = "") -> str:
    return f"name: {name}\nmodel: gemini-2.5-flash\ninstruction: {text!r}\n{more}"


def _calls(name: str, before: str) -> dict[str, Any]:
    return {"id": name, "tool": name, "arguments": {"node_input": f"{{{{ {before} }}}}"}}


def test_a_chain_is_steps_one_after_the_other(migrate: Migrate) -> None:
    done = _graph(migrate, "- [START, my.nodes.clean, b.yaml, my.nodes.save]\n", b=_agent("b"))
    assert _steps(done) == [
        _calls("clean", "workflow.input"),
        {"id": "b", "agent": "b", "input": "{{ steps.clean.output }}"},
        _calls("save", "steps.b.output"),
    ]
    assert done.spec("Tool", "clean")["python"] == {"function": "my.nodes:clean"}
    assert done.outcomes("edges[0][1]") == {"manual", "mapped"}
    assert "plain JSON" in done.reason("edges[0][1]")


def test_routes_are_a_branch_by_what_the_node_answers(migrate: Migrate) -> None:
    done = _graph(
        migrate, "- - START\n  - a.yaml\n  - {yes: my.n.one, 5: my.n.two, default: my.n.three}\n", a=_agent("a")
    )
    assert _steps(done)[1:] == [
        {
            "id": "a_route",
            "branch": {
                "cases": [
                    {"when": 'steps.a.output == "yes"', "next": "one"},
                    {"when": 'steps.a.output == "5"', "next": "two"},
                ],
                "default": "three",
            },
        },
        _calls("one", "steps.a.output") | {"next": "END"},
        _calls("two", "steps.a.output") | {"next": "END"},
        _calls("three", "steps.a.output"),
    ]
    assert "the answer of a is the route" in done.reason("edges")


def test_a_function_says_its_route_as_its_answer_or_as_a_field_of_it(migrate: Migrate) -> None:
    done = _graph(migrate, "- [START, my.n.pick, {x: my.n.one}]\n")
    value = "steps.pick.output"
    when = f'string(type({value}) == map && "route" in {value} ? {value}.route : {value}) == "x"'
    assert _steps(done)[1]["branch"] == {"cases": [{"when": when, "next": "one"}], "default": "END"}
    assert '{"route": ...}' in done.reason("edges[0][1]")


def test_explicit_edges_and_names_of_nodes_that_were_named_before(migrate: Migrate) -> None:
    edges = """\
- [START, my.n.first]
- {from_node: first, to_node: {name: a, model: gemini-2.5-flash, instruction: A.}}
- {from_node: a, to_node: first, route: [again, more]}
- {fromNode: a, toNode: my.n.last, route: __DEFAULT__}
"""
    steps = _steps(_graph(migrate, edges))
    assert [step["id"] for step in steps] == ["first_input", "first", "a", "a_route", "last"]
    assert steps[0] == {"id": "first_input", "set": "{{ input }}"}
    assert steps[3]["branch"] == {
        "cases": [
            {"when": 'steps.a.output == "again"', "next": "first_input"},
            {"when": 'steps.a.output == "more"', "next": "first_input"},
        ],
        "default": "last",
    }


def test_ways_that_meet_at_a_join_are_a_parallel_step_of_its_name(migrate: Migrate) -> None:
    edges = "- [START, [a.yaml, my.n.fast], {agent_class: JoinNode, name: all}, my.n.sum]\n"
    done = _graph(migrate, edges, "max_concurrency: 2\n", a=_agent("a"))
    assert _steps(done) == [
        {
            "id": "all",
            "parallel": {
                "branches": [
                    {"name": "a", "steps": [{"id": "a", "agent": "a", "input": "{{ workflow.input }}"}]},
                    {"name": "fast", "steps": [_calls("fast", "workflow.input")]},
                ],
                "concurrency": 2,
            },
        },
        _calls("sum", "steps.all.output"),
    ]


def test_a_join_names_what_it_gets_by_the_last_node_of_each_way(migrate: Migrate) -> None:
    edges = """\
- [START, my.n.a, my.n.b, {agent_class: JoinNode, name: all}]
- [START, my.n.c, all]
"""
    (step,) = _steps(_graph(migrate, edges))
    assert [branch["name"] for branch in step["parallel"]["branches"]] == ["b", "c"]


def test_ways_that_meet_without_a_join_go_on_each_by_itself(migrate: Migrate) -> None:
    done = _graph(migrate, "- [START, [my.n.a, my.n.b], my.n.c]\n")
    (step,) = _steps(done)
    branches = {branch["name"]: [one["id"] for one in branch["steps"]] for branch in step["parallel"]["branches"]}
    assert step["id"] == "start_all"
    assert branches == {"a": ["a", "c_input", "c"], "b": ["b", "c_input_2", "c_2"]}


def test_always_and_by_route_at_once(migrate: Migrate) -> None:
    done = _graph(migrate, "- [START, my.n.a, my.n.log]\n- [a, {x: my.n.b}]\n")
    _, step = _steps(done)
    names = [branch["name"] for branch in step["parallel"]["branches"]]
    assert names == ["log", "a_route"]
    assert [one["id"] for one in step["parallel"]["branches"][1]["steps"]] == ["a_route", "b"]


def test_a_way_back_out_of_a_branch_cannot_be_and_is_told(migrate: Migrate) -> None:
    done = _graph(migrate, "- [START, my.n.a, [my.n.b, my.n.c]]\n- [b, {again: a}]\n")
    assert "a step cannot lead out of a branch" in done.reason("edges")
    assert done.outcomes("edges") == {"manual"}


def test_a_composite_in_a_graph_becomes_steps_of_it(migrate: Migrate) -> None:
    done = _graph(
        migrate,
        "- [START, pipe.yaml, my.n.end]\n",
        pipe="agent_class: SequentialAgent\nname: pipe\nsub_agents: [{config_path: a.yaml}, {config_path: b.yaml}]\n",
        a=_agent("a", more="output_key: text\n"),
        b=_agent("b", "Mend {text}."),
    )
    assert done.names("Workflow") == ["flow"]
    assert _steps(done) == [
        {"id": "a", "agent": "a", "input": "{{ workflow.input }}", "output": {"type": "text"}},
        {"id": "b", "agent": "b", "input": '{{ workflow.input }}\n\ntext:\n{{ data["text"] }}'},
        _calls("end", "steps.b.output"),
    ]


def test_a_workflow_and_a_team_in_a_graph_are_called(migrate: Migrate) -> None:
    done = _graph(
        migrate,
        "- [START, inner.yaml, lead.yaml]\n",
        inner="agent_class: Workflow\nname: inner\nedges: [[START, my.n.a]]\n",
        lead=_agent("lead", more="sub_agents: [{config_path: b.yaml}]\n"),
        b=_agent("b"),
    )
    assert _steps(done) == [
        {"id": "inner", "workflow": "inner", "input": "{{ workflow.input }}"},
        {"id": "lead", "network": "lead", "input": "{{ steps.inner.output }}"},
    ]


_NODES = '''\
def clean(node_input: str):
    return Event(output=node_input, state={"topic": node_input})

def mark(ctx, topic: str, tone: str = "dry", node_input=None):
    """Mark it."""
    ctx.state["mark"] = 1
    return topic

reader = Agent(name="reader", model="gemini-2.5-pro", instruction="Read {mark}.")
'''


def test_functions_that_can_be_read_say_what_they_take_and_what_they_write(migrate: Migrate) -> None:
    edges = "- [START, .nodes.clean, .nodes.mark, d.nodes.reader]\n"
    done = _graph(migrate, edges, others={"d/nodes.py": _NODES})
    assert _steps(done) == [
        _calls("clean", "workflow.input"),
        {"id": "clean_topic", "set": "{{ steps.clean.output.topic }}", "output": {"type": "topic"}},
        {"id": "clean_end", "set": "{{ steps.clean.output }}"},
        {
            "id": "mark",
            "tool": "mark",
            "arguments": {"topic": '{{ data["topic"] }}', "node_input": "{{ steps.clean.output }}"},
        },
        {"id": "mark_mark", "set": "{{ steps.mark.output.mark }}", "output": {"type": "mark"}},
        {"id": "mark_end", "set": "{{ steps.mark.output }}"},
        {
            "id": "reader",
            "agent": "reader",
            "input": '{{ steps.mark.output }}\n\nmark:\n{{ "mark" in data ? data["mark"] : "" }}',
        },
    ]
    assert "with topic as fields in place of state" in done.reason("edges[0][1]")


def test_nodes_that_are_described_in_files_of_their_own(migrate: Migrate) -> None:
    done = _graph(
        migrate,
        "- [START, f.yaml, t.yaml, registered]\n",
        f="agent_class: FunctionNode\nname: f\ndescription: Makes f.\nfunc_code: my.n.make\n"
        "retry_config: {initial_delay: 2, jitter: 3}\ntimeout: 5\nrerun_on_resume: true\n",
        t="agent_class: ToolNode\nname: t\ntool_code: my_tool\nargs: {x: 1}\n",
    )
    first, second, third = _steps(done)
    assert first == _calls("f", "workflow.input") | {
        "tool": "make",
        "timeout": 5,
        "retry": {"maxAttempts": 5, "delay": 2, "jitter": 1.0},
    }
    assert second == {"id": "t", "tool": "my-tool", "arguments": "{{ steps.f.output }}"}
    assert third == _calls("registered", "steps.t.output")
    assert done.outcomes("args", "t.yaml") == {"manual"}
    assert done.spec("Tool", "registered")["python"] == {"function": "migrated_tools:registered"}


def test_a_worker_runs_once_for_each_item(migrate: Migrate) -> None:
    edges = "- [START, {name: a, model: gemini-2.5-flash, instruction: A., parallel_worker: true}]\n"
    assert _steps(_graph(migrate, edges)) == [
        {
            "id": "a_each",
            "foreach": {
                "items": "{{ workflow.input }}",
                "concurrency": 10,
                "steps": [{"id": "a", "agent": "a", "input": "{{ item }}"}],
            },
        }
    ]


def test_a_function_node_alone_is_its_tool(migrate: Migrate) -> None:
    done = migrate({"f.yaml": "agent_class: FunctionNode\nname: f\nfunc_code: my.n.make\n"})
    assert done.names("Tool") == ["make"]


def test_a_graph_without_edges_does_nothing(migrate: Migrate) -> None:
    done = migrate({"f.yaml": "agent_class: Workflow\nname: flow\nmax_concurrncy: 3\n"})
    assert _steps(done) == [{"id": "nothing", "set": None}]
    assert "did it mean" not in done.reason("max_concurrncy") or "max_concurrency" in done.reason("max_concurrncy")


def test_the_schemas_of_a_graph_are_those_of_the_workflow(migrate: Migrate) -> None:
    more = "input_schema: {type: object, properties: {rules: {type: string}}}\noutput_schema: {type: string}\n"
    done = _graph(migrate, "- [START, a.yaml]\n", more, a=_agent("a", "By {rules} and {mood}."))
    spec = done.spec("Workflow", "flow")
    assert spec["inputSchema"] == {"type": "object", "properties": {"rules": {"type": "string"}}}
    assert spec["outputSchema"] == {"type": "string"}
    assert spec["steps"][0]["input"].endswith("rules:\n{{ workflow.input.rules }}")
    assert "mood" in done.reason("edges")


@pytest.mark.parametrize("keys", ["name", "code", "description"])
def test_a_route_may_be_called_like_a_field(migrate: Migrate, keys: str) -> None:
    inner = "{agent_class: LlmAgent, name: b, model: gemini-2.5-flash, instruction: B.}"
    done = _graph(migrate, f"- [START, a.yaml, {{{keys}: {inner}}}]\n", a=_agent("a"))
    assert _steps(done)[1]["branch"]["cases"][0]["when"] == f'steps.a.output == "{keys}"'
