"""Migrated flows are carried out, on the store in memory, and do what the flow says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.execution.runs import RunHandle
from kastra_core.migration import MemorySource, read_text
from kastra_plugin_agentspec.migrator import AgentSpecMigrator
from migrated_stage import MigratedStage


class Stage(MigratedStage):
    provider = "openai"

    async def start(self, flow: JsonObject, input: Any = None) -> RunHandle:
        """Migrate a flow, apply what came of it and start its workflow."""
        document = read_text(json.dumps({"agentspec_version": "26.2.0", **flow}), "flow.json")
        result = AgentSpecMigrator().migrate(MemorySource(document))
        runtime = await self.open()
        for manifest in result.resources:
            applied = await runtime.apply_resource(manifest, wait=False)
            if manifest["kind"] == "Tool":
                ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}
                await runtime.client.update_status(applied.resource, {"conditions": [ready]})
        return await runtime.start_run(f"workflow/{flow['name']}", input, require_ready=False)

    async def run(self, flow: JsonObject, input: Any = None) -> Any:
        """The output of a flow that comes to its end."""
        return await (await self.start(flow, input)).result()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    found = Stage(tmp_path)
    yield found
    if found.runtime is not None:
        await found.runtime.aclose()
    await found.store.aclose()


NUMBER: JsonObject = {"title": "n", "type": "number"}
LIST: JsonObject = {"type": "array", "items": {"type": "number"}}


async def test_a_loop_goes_back_until_its_branch_ends_it(stage: Stage, build: Any) -> None:
    text = build.text
    nodes = [
        build.tool_node("write", [text("topic"), text("before", default="nothing")], [text("draft")]),
        build.tool_node("judge", [text("draft")], [text("verdict")]),
        build.node("BranchingNode", "way", mapping={"good": "done"}, inputs=[text("verdict")]),
        build.ends("end", text("draft")),
    ]
    control = ["start -> write", "write -> judge", "judge -> way", "way[done] -> end", "way[default] -> write"]
    data = [
        *("start.topic -> write.topic", "write.draft -> write.before", "write.draft -> judge.draft"),
        *("judge.verdict -> way.verdict", "write.draft -> end.draft"),
    ]
    flow = build.flow("essay", nodes, control, data, inputs=[text("topic")], outputs=[text("draft")])
    stage.functions["write-tool"] = lambda topic, before: f"{topic}({before})"
    stage.functions["judge-tool"] = lambda draft: "good" if draft.count("(") == 3 else "bad"
    assert await stage.run(flow, {"topic": "x"}) == {"draft": "x(x(x(nothing)))"}


async def test_a_step_with_a_hyphen_in_its_id_may_not_have_run(stage: Stage, build: Any) -> None:
    text = build.text
    nodes = [
        build.node("BranchingNode", "way", mapping={"x": "long"}, inputs=[text("key")]),
        build.tool_node("an-extra", (), [text("v")]),
        build.ends("end", text("v", default="none")),
    ]
    control = ["start -> way", "way[long] -> an-extra", "way[default] -> end", "an-extra -> end"]
    data = ["start.x -> way.key", "an-extra.v -> end.v"]
    flow = build.flow("hyphen", nodes, control, data, inputs=[text("x")], outputs=[text("v", default="none")])
    stage.functions["an-extra-tool"] = lambda: "more"
    assert await stage.run(flow, {"x": "x"}) == {"v": "more"}
    assert await stage.run(flow, {"x": "y"}) == {"v": "none"}


async def test_who_gave_a_value_last_counts_in_a_loop(stage: Stage, build: Any) -> None:
    text = build.text
    nodes = [
        build.tool_node("turn", (), [text("whose")]),
        build.node("BranchingNode", "way", mapping={"left": "left", "right": "right"}, inputs=[text("whose")]),
        build.tool_node("left", (), [text("v")]),
        build.tool_node("right", (), [text("v")]),
        build.ends("end", text("v")),
    ]
    control = [
        *("start -> turn", "turn -> way", "way[left] -> left", "way[right] -> right", "way[default] -> end"),
        *("left -> turn", "right -> turn"),
    ]
    data = ["turn.whose -> way.whose", "left.v -> end.v", "right.v -> end.v"]
    flow = build.flow("turns", nodes, control, data, outputs=[text("v")])
    turns = iter(["right", "left", "right", "left", "stop"])
    stage.functions |= {"turn-tool": lambda: next(turns), "left-tool": lambda: "L", "right-tool": lambda: "R"}
    assert await stage.run(flow) == {"v": "L"}


@pytest.mark.parametrize(
    ("method", "given", "result"),
    [
        ("append", [1, 2, 3], [2, 4, 6]),
        ("append", [], []),
        ("sum", [1, 2, 3], 12),
        ("sum", [], 0),
        ("average", [1, 2], 3),
        ("max", [3, 9, 5], 18),
        ("min", [3, 9, 5], 6),
    ],
)
async def test_maps_collect_as_their_reducers_say(
    stage: Stage, build: Any, method: str, given: list[int], result: Any
) -> None:
    double = build.tool_node("double", [NUMBER], [NUMBER])
    inner = build.flow(
        "inner",
        [double, build.ends("end", NUMBER)],
        ["start -> double", "double -> end"],
        ["start.n -> double.n", "double.n -> end.n"],
        inputs=[NUMBER],
        outputs=[NUMBER],
    )
    collected = {**(LIST if method == "append" else {"type": "number"}), "title": "collected_n"}
    kind = "MapNode" if method == "append" else "ParallelMapNode"
    node = build.node(
        kind,
        "each",
        subflow=inner,
        inputs=[{**LIST, "title": "iterated_n"}],
        outputs=[collected],
        reducers={"n": method},
    )
    end = build.ends("end", {**collected, "title": "r"})
    flow = build.flow(
        "outer",
        [node, end],
        ["start -> each", "each -> end"],
        ["start.ns -> each.iterated_n", "each.collected_n -> end.r"],
        inputs=[{**LIST, "title": "ns"}],
        outputs=[{**collected, "title": "r"}],
    )
    stage.functions["double-tool"] = lambda n: 2 * n
    assert await stage.run(flow, {"ns": given}) == {"r": result}


async def test_two_lists_are_gone_through_together(stage: Stage, build: Any) -> None:
    two = [NUMBER, {**NUMBER, "title": "m"}]
    inner = build.flow(
        "inner",
        [build.tool_node("add", two, [NUMBER]), build.ends("end", NUMBER)],
        ["start -> add", "add -> end"],
        ["start.n -> add.n", "start.m -> add.m", "add.n -> end.n"],
        inputs=two,
        outputs=[NUMBER],
    )
    node = build.node("MapNode", "each", subflow=inner)
    lists = [{**LIST, "title": "left"}, {**LIST, "title": "right"}]
    result = {**LIST, "title": "r"}
    flow = build.flow(
        "outer",
        [node, build.ends("end", result)],
        ["start -> each", "each -> end"],
        ["start.left -> each.iterated_n", "start.right -> each.iterated_m", "each.collected_n -> end.r"],
        inputs=lists,
        outputs=[result],
    )
    stage.functions["add-tool"] = lambda n, m: n + m
    assert await stage.run(flow, {"left": [1, 2], "right": [10, 20]}) == {"r": [11, 22]}


async def test_a_caught_failure_takes_its_branch_and_success_the_other(stage: Stage, build: Any) -> None:
    out = build.text("r", default="none")
    inner = build.flow(
        "inner",
        [build.tool_node("risky", [build.text("x")], [out]), build.ends("end", out)],
        ["start -> risky", "risky -> end"],
        ["start.x -> risky.x", "risky.r -> end.r"],
        inputs=[build.text("x")],
        outputs=[out],
    )
    nodes = [
        build.node("CatchExceptionNode", "catch", subflow=inner),
        build.ends("fine", out),
        build.ends("failed", out),
    ]
    control = ["start -> catch", "catch -> fine", "catch[caught_exception_branch] -> failed"]
    data = ["start.x -> catch.x", "catch.r -> fine.r", "catch.caught_exception_info -> failed.r"]
    flow = build.flow("outer", nodes, control, data, inputs=[build.text("x")], outputs=[out])

    def risky(x: str) -> str:
        if x == "bad":
            raise ValueError("broken")
        return x

    stage.functions["risky-tool"] = risky
    assert await stage.run(flow, {"x": "good"}) == {"r": "good"}
    found = await stage.run(flow, {"x": "bad"})
    assert "broken" in found["r"]


async def test_a_conversation_asks_and_hands_its_words_to_the_agent(stage: Stage, build: Any) -> None:
    nodes = [
        build.node("InputMessageNode", "ask", message="What is it?"),
        build.node("AgentNode", "talk", agent=build.agent("helper")),
        build.ends("end"),
    ]
    run = await stage.start(build.flow("chat", nodes, ["start -> ask", "ask -> talk", "talk -> end"]))
    async for _ in run.events():
        pass
    assert stage.runtime is not None
    parked = await stage.runtime.client.require(run.key)
    assert parked.status["awaiting"][0]["message"] == "What is it?"
    await stage.runtime.runs.resume(run.key, "My parcel.")
    await run.result()
    asked = stage.model.requests[-1]
    assert asked.messages[-1].text == "Assistant: What is it?\nUser: My parcel."


async def test_of_several_messages_before_a_question_the_last_one_is_asked(stage: Stage, build: Any) -> None:
    nodes = [
        build.node("OutputMessageNode", "hello", message="Which id?"),
        build.node("InputMessageNode", "ask", outputs=[build.text("id")]),
        build.node("BranchingNode", "check", mapping={"7": "known"}, inputs=[build.text("value")]),
        build.node("OutputMessageNode", "unknown", message="Not known. Another one?"),
        build.ends("end"),
    ]
    control = ["start -> hello", "hello -> ask", "ask -> check", "check[known] -> end", "check[default] -> unknown"]
    run = await stage.start(build.flow("chat", nodes, [*control, "unknown -> ask"], ["ask.id -> check.value"]))
    assert stage.runtime is not None
    asked = []
    for answer in ("5", "7"):
        async for _ in run.events():
            pass
        parked = await stage.runtime.client.require(run.key)
        asked.append(parked.status["awaiting"][0]["message"])
        await stage.runtime.runs.resume(run.key, answer)
    await run.result()
    assert asked == ["Which id?", "Not known. Another one?"]


async def test_the_branch_on_which_a_flow_ended_leads_on(stage: Stage, build: Any) -> None:
    text = build.text
    way = build.node("BranchingNode", "way", mapping={"a": "one"}, inputs=[text("k")])
    ends = [build.ends("good", branch="GOOD"), build.ends("bad", branch="BAD")]
    inner = build.flow(
        "inner",
        [way, *ends],
        ["start -> way", "way[one] -> good", "way[default] -> bad"],
        ["start.k -> way.k"],
        inputs=[text("k")],
    )
    nodes = [
        build.node("FlowNode", "call", subflow=inner),
        build.tool_node("cheer", (), [text("r")]),
        build.ends("end", text("r", default="-")),
    ]
    control = ["start -> call", "call[GOOD] -> cheer", "call[BAD] -> end", "cheer -> end"]
    flow = build.flow(
        "outer",
        nodes,
        control,
        ["start.k -> call.k", "cheer.r -> end.r"],
        inputs=[text("k")],
        outputs=[text("r", default="-")],
    )
    stage.functions["cheer-tool"] = lambda: "hurray"
    assert await stage.run(flow, {"k": "a"}) == {"r": "hurray"}
    assert await stage.run(flow, {"k": "z"}) == {"r": "-"}


async def test_flows_side_by_side_give_all_their_outputs(stage: Stage, build: Any) -> None:
    def inner(name: str) -> Any:
        out = build.text(name)
        return build.flow(
            f"{name}-flow",
            [build.tool_node(name, (), [out]), build.ends("end", out)],
            [f"start -> {name}", f"{name} -> end"],
            [f"{name}.{name} -> end.{name}"],
            outputs=[out],
        )

    outputs = [build.text("a"), build.text("b")]
    node = build.node("ParallelFlowNode", "both", subflows=[inner("a"), inner("b")])
    flow = build.flow(
        "outer", [node, build.ends("end", *outputs)], ["start -> both", "both -> end"], None, outputs=outputs
    )
    stage.functions |= {"a-tool": lambda: "A", "b-tool": lambda: "B"}
    assert await stage.run(flow) == {"a": "A", "b": "B"}
