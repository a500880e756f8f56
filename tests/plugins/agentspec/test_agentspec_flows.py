"""Flows as workflows: order, data, each type of node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def one_node(build: Any, node: Any, inputs: Any = (), outputs: Any = (), flow: str = "f") -> Any:
    """start -> node -> end, with edges for all inputs, and for outputs of the names of the flow's."""
    name = node["name"]
    data = [f"start.{port['title']} -> {name}.{port['title']}" for port in inputs]
    data += [f"{name}.{port['title']} -> end.{port['title']}" for port in outputs]
    nodes = [node, build.ends("end", *outputs)]
    return build.flow(flow, nodes, [f"start -> {name}", f"{name} -> end"], data, inputs=inputs, outputs=outputs)


def test_an_llm_node_asks_an_agent_that_is_the_model(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    node = build.node(
        "LlmNode", "Sum up", llm_config=build.llm, prompt_template="Sum up {{ article }} in {x} {{no braces"
    )
    found = moved(one_node(build, {**node, "inputs": [text("article")]}, [text("article")], [text("generated_text")]))
    assert found.spec("Workflow") == {
        "inputSchema": {"type": "object", "properties": {"article": {"type": "string"}}, "required": ["article"]},
        "outputSchema": {
            "type": "object",
            "properties": {"generated_text": {"type": "string"}},
            "required": ["generated_text"],
        },
        "steps": [
            {
                "id": "sum_up",
                "name": "Sum up",
                "agent": "small",
                "input": 'Sum up {{ workflow.input.article }} in {x} {{ "{{" }}no braces',
            },
            {"id": "end", "succeed": {"generated_text": "{{ steps.sum_up.output }}"}},
        ],
    }
    assert found.spec("Agent") == {"model": {"provider": "openai", "name": "gpt-4o-mini"}}


def test_several_outputs_of_an_llm_node_are_structured(moved: Callable[..., Any], build: Any) -> None:
    outputs = [build.text("name"), {"title": "legs", "type": "integer"}]
    node = build.node("LlmNode", "animal", llm_config=build.llm, prompt_template="An animal.", outputs=outputs)
    found = moved(one_node(build, node, (), outputs))
    assert found.spec("Agent", "animal")["output"]["schema"]["required"] == ["name", "legs"]
    assert found.step("end")["succeed"]["legs"] == "{{ steps.animal.output.legs }}"


def test_the_inputs_of_an_agent_are_said_in_its_prompt(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    agent = build.agent("expert", system_prompt="You know {{topic}}.", inputs=[text("topic")], outputs=[text("answer")])
    node = build.node("AgentNode", "ask", agent=agent, inputs=[text("topic")], outputs=[text("answer")])
    found = moved(one_node(build, node, [text("topic")], [text("answer")]))
    assert found.step("ask") == {"id": "ask", "agent": "expert", "input": "topic: {{ workflow.input.topic }}"}
    assert found.step("end")["succeed"] == {"answer": "{{ steps.ask.output.answer }}"}
    assert found.spec("Agent")["instructions"] == "You know {{topic}}."
    assert found.rows("agent.inputs")[0].outcome != "manual"


def test_an_agent_without_inputs_sees_what_was_said(moved: Callable[..., Any], build: Any) -> None:
    nodes = [
        build.node("InputMessageNode", "greet", message="Hello, what is it?"),
        build.node("OutputMessageNode", "wait", message="I look it up."),
        build.node("AgentNode", "talk", agent=build.agent("helper")),
        build.ends("end"),
    ]
    found = moved(build.flow("f", nodes, ["start -> greet", "greet -> wait", "wait -> talk", "talk -> end"]))
    assert found.step("greet")["suspend"] == {"message": "Hello, what is it?", "schema": {"type": "string"}}
    assert found.step("talk")["input"].split("\n") == [
        "Assistant: Hello, what is it?",
        "User: {{ steps.greet.output }}",
        "Assistant: {{ steps.wait.output }}",
    ]
    assert found.step("end") == {"id": "end", "succeed": "{{ steps.wait.output }}"}


def test_what_is_said_right_before_a_question_without_words_is_the_question(
    moved: Callable[..., Any], build: Any, round_trip: Callable[..., Any]
) -> None:
    nodes = [
        build.node("OutputMessageNode", "say", message="Which one?"),
        build.node("InputMessageNode", "ask", message=None),
        build.node("InputMessageNode", "again"),
        build.ends("end"),
    ]
    found = moved(build.flow("f", nodes, ["start -> say", "say -> ask", "ask -> again", "again -> end"]))
    assert found.step("say") == {"id": "say", "set": "Which one?"}
    assert found.step("ask")["suspend"] == {"message": "{{ steps.say.output }}", "schema": {"type": "string"}}
    assert found.step("again")["suspend"] == {"schema": {"type": "string"}}
    assert "question of the step" in found.row("message", "mapped").reason
    assert [
        row for row in found.result.rows if row.key.endswith(("branches", "branch_name")) and row.outcome != "defaulted"
    ] == []
    round_trip(found.result.resources)


def test_an_agent_that_chooses_a_branch_answers_with_it(moved: Callable[..., Any], build: Any) -> None:
    nodes = [
        build.node("AgentNode", "judge", agent=build.agent("judge"), branches=["good", "bad"]),
        build.ends("yes", branch="yes"),
        build.ends("no", branch="no"),
    ]
    found = moved(build.flow("f", nodes, ["start -> judge", "judge[good] -> yes", "judge[bad] -> no"]))
    schema = found.spec("Agent")["output"]["schema"]
    assert schema["properties"]["branch"]["enum"] == ["good", "bad"]
    assert found.step("judge_way")["branch"]["cases"][1] == {
        "name": "bad",
        "when": 'steps.judge.output.branch == "bad"',
        "next": "no",
    }
    assert found.step("yes")["succeed"] == {"branch_name": "yes"}


def test_teams_remote_agents_and_flows_are_asked_by_agent_nodes(moved: Callable[..., Any], build: Any) -> None:
    team = build.node("ManagerWorkers", "team", group_manager=build.agent("boss"), workers=[build.agent("worker")])
    far = build.node("A2AAgent", "far", agent_url="https://x.org", connection_config={"timeout": 1})
    a, b = [build.text("a")], [build.text("b")]
    inner = one_node(build, build.tool_node("t", a, b), a, b, "inner")
    nodes = [
        build.node("AgentNode", "team_node", agent=team),
        build.node("AgentNode", "far_node", agent=far),
        build.node("AgentNode", "flow_node", agent=inner),
        build.ends("end", build.text("b")),
    ]
    control = ["start -> team_node", "team_node -> far_node", "far_node -> flow_node", "flow_node -> end"]
    data = ["start.a -> flow_node.a", "flow_node.b -> end.b"]
    found = moved(build.flow("f", nodes, control, data, inputs=[build.text("a")], outputs=[build.text("b")]))
    assert found.step("team_node", "f")["network"] == "team"
    assert found.step("far_node", "f") == {"id": "far_node", "tool": "far", "arguments": {"message": "far_node"}}
    assert found.step("flow_node", "f") == {
        "id": "flow_node",
        "workflow": "inner",
        "input": {"a": "{{ workflow.input.a }}"},
    }


def test_a_tool_with_several_outputs_gives_an_object(moved: Callable[..., Any], build: Any) -> None:
    outputs = [build.text("a"), build.text("b")]
    found = moved(one_node(build, build.tool_node("t", (), outputs), (), outputs))
    assert found.step("t") == {"id": "t", "tool": "t-tool", "arguments": {}}
    assert found.step("end")["succeed"] == {"a": "{{ steps.t.output.a }}", "b": "{{ steps.t.output.b }}"}


def test_an_api_node_is_a_request(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    node = build.node(
        "ApiNode",
        "get",
        url="https://x.org/{{id}}",
        http_method="GET",
        inputs=[text("id")],
        outputs=[text("price"), text("unit")],
    )
    found = moved(one_node(build, node, [text("id")], [text("price"), text("unit")]))
    assert found.spec("Tool")["http"] == {"url": "https://x.org/{id}", "method": "GET"}
    assert found.step("end")["succeed"]["price"] == "{{ steps.get.output.price }}"


def test_a_node_of_a_plug_in_is_a_function_to_write(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    node = build.node("RegexNode", "regex", inputs=[text("x")], outputs=[text("y")], pattern="a+")
    found = moved(one_node(build, node, [text("x")], [text("y")]))
    assert found.step("regex") == {"id": "regex", "tool": "regex", "arguments": {"x": "{{ workflow.input.x }}"}}
    assert "RegexNode.pattern" in found.row("pattern", "manual").reason


# ------------------------------------------------------------------------------------------------------------ branches


def branching(build: Any, mapping: Any, control: Any, port: Any, **more: Any) -> Any:
    nodes = [build.node("BranchingNode", "way", mapping=mapping, inputs=[port]), build.ends("a"), build.ends("b")]
    return build.flow(
        "f", nodes, ["start -> way", *control], ["start.x -> way." + port["title"]], inputs=[{**port, "title": "x"}]
    )


def test_a_branching_node_compares_texts(moved: Callable[..., Any], build: Any) -> None:
    control = ["way[one] -> a", "way[default] -> b"]
    found = moved(branching(build, {"x": "one", "y": "one"}, control, build.text("key")))
    assert found.step("way")["branch"] == {
        "cases": [{"name": "one", "when": 'workflow.input.x in ["x", "y"]', "next": "a"}],
        "default": "b",
    }


def test_a_value_without_branch_fails_where_no_edge_is_for_it(moved: Callable[..., Any], build: Any) -> None:
    port = {"title": "flag", "type": "boolean"}
    found = moved(branching(build, {"true": "one", "false": "two"}, ["way[one] -> a", "way[two] -> b"], port))
    branch = found.step("way")["branch"]
    assert branch["cases"][0]["when"] == 'string(workflow.input.x) == "true"'
    assert branch["default"]["steps"][0]["fail"] == "no branch of way is meant for this value"
    half = moved(branching(build, {"yes": "one", "no": "two"}, ["way[one] -> a", "way[default] -> b"], port))
    assert "no edge leads on from branch two" in half.step("way")["branch"]["cases"][1]["steps"][0]["fail"]
    assert "its input is no text" in half.row("mapping", "manual").reason


def test_an_edge_may_name_the_value_in_place_of_the_branch(moved: Callable[..., Any], build: Any) -> None:
    found = moved(branching(build, {"yes": "Yes"}, ["way[yes] -> a", "way -> b"], build.text("key")))
    assert found.step("way")["branch"]["cases"][0]["next"] == "a"
    assert found.step("way")["branch"]["default"] == "b"


def test_a_flow_that_ends_on_several_branches_says_on_which(moved: Callable[..., Any], build: Any) -> None:
    inner = branching(build, {"x": "one"}, ["way[one] -> a", "way[default] -> b"], build.text("key"))
    for end, branch in (("f/a", "GOOD"), ("f/b", "BAD")):
        inner["$referenced_components"][end]["branch_name"] = branch
    node = build.node("FlowNode", "call", subflow={**inner, "name": "inner"}, inputs=[build.text("x")])
    nodes = [node, build.tool_node("good"), build.ends("end")]
    control = ["start -> call", "call[GOOD] -> good", "call[BAD] -> end", "good -> end"]
    found = moved(build.flow("outer", nodes, control, ["start.x -> call.x"], inputs=[build.text("x")]))
    assert found.step("a", "inner")["succeed"] == {"branch_name": "GOOD"}
    assert [case["when"] for case in found.step("call_way", "outer")["branch"]["cases"]] == [
        'steps.call.output.branch_name == "BAD"',
        'steps.call.output.branch_name == "GOOD"',
    ]


# ----------------------------------------------------------------------------------------------------------- data edges


def test_the_last_of_several_sources_counts(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    nodes = [
        build.node("BranchingNode", "way", mapping={"x": "long"}, inputs=[text("key")]),
        build.tool_node("extra", [text("v")], [text("v")]),
        build.tool_node("use", [text("v", default="none")], [text("r")]),
        build.ends("end", text("r")),
    ]
    control = ["start -> way", "way[long] -> extra", "way[default] -> use", "extra -> use", "use -> end"]
    data = ["start.x -> way.key", "start.x -> extra.v", "extra.v -> use.v", "use.r -> end.r"]
    flow = build.flow("f", nodes, control, data, inputs=[text("x")], outputs=[text("r")])
    found = moved(flow)
    assert found.step("use")["arguments"] == {"v": '{{ has(steps.extra) ? steps.extra.output : "none" }}'}
    both = build.flow("f", nodes, control, [*data, "start.x -> use.v"], inputs=[text("x")], outputs=[text("r")])
    assert moved(both).step("use")["arguments"] == {
        "v": "{{ has(steps.extra) ? steps.extra.output : workflow.input.x }}"
    }


def test_sources_that_take_turns_in_a_loop_publish(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    nodes = [
        build.tool_node("left", [text("v")], [text("v")]),
        build.tool_node("right", [text("v")], [text("v")]),
        build.node("BranchingNode", "way", mapping={"again": "again"}, inputs=[text("key")]),
        build.ends("end", text("v")),
    ]
    control = ["start -> left", "left -> right", "right -> way", "way[again] -> left", "way[default] -> end"]
    data = [
        "start.x -> left.v",
        "right.v -> left.v",
        "left.v -> right.v",
        "right.v -> way.key",
        "left.v -> end.v",
        "right.v -> end.v",
    ]
    found = moved(build.flow("f", nodes, control, data, inputs=[text("x")], outputs=[text("v")]))
    assert found.step("left")["arguments"] == {"v": "{{ has(steps.right) ? steps.right.output : workflow.input.x }}"}
    assert found.step("left_to_end_v") == {
        "id": "left_to_end_v",
        "set": "{{ steps.left.output }}",
        "output": {"type": "end_v"},
    }
    assert found.step("end")["succeed"] == {"v": "{{ has(data.end_v) ? data.end_v : null }}"}


def test_without_data_edges_names_connect(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    nodes = [build.tool_node("t", [text("x")], [text("y")]), build.ends("end", text("y"))]
    flow = build.flow("f", nodes, ["start -> t", "t -> end"], None, inputs=[text("x")], outputs=[text("y")])
    found = moved(flow)
    assert found.step("t")["arguments"] == {"x": "{{ workflow.input.x }}"}
    assert found.step("end")["succeed"] == {"y": "{{ steps.t.output }}"}


@pytest.mark.parametrize(
    ("have", "want", "expression"),
    [
        ("integer", "string", "string(workflow.input.x)"),
        ("boolean", "integer", "(workflow.input.x ? 1 : 0)"),
        ("number", "boolean", "(workflow.input.x != 0)"),
        ("number", "integer", "int(workflow.input.x)"),
        ("integer", "number", "workflow.input.x"),
    ],
)
def test_values_are_converted_as_the_format_has_it(
    moved: Callable[..., Any], build: Any, have: str, want: str, expression: str
) -> None:
    nodes = [build.tool_node("t", [{"title": "v", "type": want}]), build.ends("end")]
    flow = build.flow("f", nodes, ["start -> t", "t -> end"], ["start.x -> t.v"], inputs=[{"title": "x", "type": have}])
    assert moved(flow).step("t")["arguments"] == {"v": f"{{{{ {expression} }}}}"}


def test_what_does_not_fit_or_is_not_connected_is_told(moved: Callable[..., Any], build: Any) -> None:
    nodes = [build.tool_node("t", [{"title": "v", "type": "integer"}]), build.ends("end", build.text("r"))]
    flow = build.flow(
        "f", nodes, ["start -> t", "t -> end"], ["start.x -> t.v"], inputs=[build.text("x")], outputs=[build.text("r")]
    )
    found = moved(flow)
    assert "does not fit" in found.row("data_flow_connections[0]", "manual").reason
    assert any("v: nothing is connected to it" in row.reason for row in found.result.rows)
    assert found.step("t")["arguments"] == {}
    assert found.step("end")["succeed"] == {}


# ------------------------------------------------------------------------------------------------------- maps, parallel


def mapped(build: Any, kind: str = "MapNode", reducers: Any = None) -> Any:
    number = {"title": "n", "type": "number"}
    given = [number, build.text("unit")]
    inner = one_node(build, build.tool_node("double", given, [number]), given, [number], "inner")
    inputs = [{"title": "iterated_n", "type": "array", "items": {"type": "number"}}, build.text("iterated_unit")]
    out = {"title": "collected_n", "type": "array", "items": {"type": "number"}}
    out = out if reducers in (None, {"n": "append"}) else {"title": "collected_n", "type": "number"}
    node = build.node(kind, "each", subflow=inner, inputs=inputs, outputs=[out], reducers=reducers)
    result = {**out, "title": "r"}
    return build.flow(
        "outer",
        [node, build.ends("end", result)],
        ["start -> each", "each -> end"],
        ["start.ns -> each.iterated_n", "start.unit -> each.iterated_unit", "each.collected_n -> end.r"],
        inputs=[{"title": "ns", "type": "array", "items": {"type": "number"}}, build.text("unit")],
        outputs=[result],
    )


def test_a_map_node_is_foreach(moved: Callable[..., Any], build: Any) -> None:
    found = moved(mapped(build))
    assert found.step("each", "outer")["foreach"] == {
        "items": "{{ workflow.input.ns }}",
        "steps": [
            {
                "id": "each_item",
                "workflow": "inner",
                "input": {"n": "{{ item }}", "unit": "{{ workflow.input.unit }}"},
            }
        ],
    }
    assert found.step("end", "outer")["succeed"] == {"r": "{{ steps.each.output.map(i, i.n) }}"}
    assert moved(mapped(build, "ParallelMapNode")).step("each", "outer")["foreach"]["concurrency"] == 8


@pytest.mark.parametrize(
    ("method", "expression"),
    [
        ("sum", "steps.each_sum_n.output"),
        ("average", "(steps.each_sum_n.output / double(size(steps.each.output)))"),
        ("max", "steps.each.output.map(i, i.n).filter(x, steps.each.output.map(i, i.n).all(y, x >= y))[0]"),
        ("min", "steps.each.output.map(i, i.n).filter(x, steps.each.output.map(i, i.n).all(y, x <= y))[0]"),
    ],
)
def test_reducers_become_expressions(moved: Callable[..., Any], build: Any, method: str, expression: str) -> None:
    found = moved(mapped(build, reducers={"n": method}))
    assert found.step("end", "outer")["succeed"] == {"r": f"{{{{ {expression} }}}}"}


def test_flows_side_by_side_are_branches_of_parallel(moved: Callable[..., Any], build: Any) -> None:
    def inner(name: str) -> Any:
        x, out = [build.text("x")], [build.text(name)]
        return one_node(build, build.tool_node(f"{name}-t", x, out), x, out, f"{name} flow")

    node = build.node("ParallelFlowNode", "both", subflows=[inner("a"), inner("b")])
    outputs = [build.text("a"), build.text("b")]
    found = moved(one_node(build, node, [build.text("x")], outputs))
    assert [branch["name"] for branch in found.step("both", "f")["parallel"]["branches"]] == ["a-flow", "b-flow"]
    assert found.step("end", "f")["succeed"]["b"] == '{{ steps.both.output["b-flow"].b }}'


def test_a_caught_failure_goes_on_with_defaults(moved: Callable[..., Any], build: Any) -> None:
    out = build.text("r", default="none")
    inner = one_node(build, build.tool_node("risky", (), [out]), (), [out], "inner")
    node = build.node("CatchExceptionNode", "catch", subflow=inner)
    nodes = [node, build.ends("fine", out), build.ends("failed", out)]
    control = ["start -> catch", "catch[next] -> fine", "catch[caught_exception_branch] -> failed"]
    data = ["catch.r -> fine.r", "catch.caught_exception_info -> failed.r"]
    found = moved(build.flow("outer", nodes, control, data, outputs=[out]))
    assert found.step("catch", "outer") == {
        "id": "catch",
        "workflow": "inner",
        "input": {},
        "output": {"r": "{{ result.r }}", "caught_exception_info": None},
        "onFailure": {"output": {"r": "none", "caught_exception_info": "{{ error.message }}"}, "next": "failed"},
    }


def test_a_node_alone_is_a_workflow_of_one_step(moved: Callable[..., Any], build: Any) -> None:
    text = build.text
    found = moved(build.node("LlmNode", "say", llm_config=build.llm, prompt_template="On {{x}}", inputs=[text("x")]))
    assert found.spec("Workflow")["steps"] == [{"id": "say", "agent": "small", "input": "On {{ workflow.input.x }}"}]


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("nodes", "control", "told"),
    [
        ([], ["start -> start"], "no edge leads to the StartNode"),
        (["end"], [], "one edge must lead on from the StartNode"),
        (["t"], ["start -> t"], "a flow needs an EndNode"),
        (["t", "end"], ["start -> t"], "no edge leads to the EndNode 'end'"),
        (["end", "t"], ["start -> end", "end -> t"], "no edge leads on from an EndNode"),
        (
            ["t", "way", "end"],
            ["start -> way", "way[none] -> t", "t -> end"],
            "has no branch 'none'; it has: one, default",
        ),
    ],
)
def test_a_wrong_graph_is_refused(refused: Callable[..., Any], build: Any, nodes: Any, control: Any, told: str) -> None:
    known = {
        "end": build.ends("end"),
        "t": build.tool_node("t"),
        "way": build.node("BranchingNode", "way", mapping={"x": "one"}, inputs=[build.text("k", default="x")]),
    }
    problems = refused(build.flow("f", [known[name] for name in nodes], control))
    assert any(told in problem.message for problem in problems), problems
    assert all(problem.file == "main.json" for problem in problems)


def test_wrong_data_edges_are_refused(refused: Callable[..., Any], build: Any) -> None:
    nodes = [build.tool_node("t", [build.text("v")]), build.ends("end")]
    problems = refused(
        build.flow("f", nodes, ["start -> t", "t -> end"], ["start.x -> t.nothing"], inputs=[build.text("x")])
    )
    assert "has no input 'nothing'; it has: 'v'" in problems[0].message
    problems = refused(build.flow("f", nodes, ["start -> t", "t -> end"], ["start.y -> t.v"], inputs=[build.text("x")]))
    assert "has no output 'y'" in problems[0].message


def test_a_second_edge_from_a_branch_is_left_out(moved: Callable[..., Any], build: Any) -> None:
    nodes = [build.tool_node("t"), build.tool_node("lost"), build.ends("end")]
    found = moved(build.flow("f", nodes, ["start -> t", "t -> lost", "t -> end"]))
    assert [step["id"] for step in found.spec("Workflow")["steps"]] == ["t", "end"]
    assert "a second edge" in found.row("control_flow_connections[1]", "manual").reason
