"""The runner's events: what a listener, and a replay over the journal, learn of a run."""

from __future__ import annotations

from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.execution.replay import replay
from workflow_stage import Stage, stage, step

__all__ = ["stage"]


def brief(events: list[JsonObject]) -> list[Any]:
    out: list[Any] = []
    for event in events:
        if event["type"] == "step_started":
            out.append(("+", event["path"], event["why"]))
        elif event["type"] == "step_finished":
            out.append(("-", event["path"], event["phase"]))
        elif event["type"] == "step_retry":
            out.append(("retry", event["path"], event["attempt"], event["reason"]))
        elif event["type"] == "decision":
            out.append((event["kind"], event["path"], event["chosen"]))
    return out


async def test_a_step_tells_all_about_itself(stage: Stage) -> None:
    await stage.output([step("a", name="The first", input={"x": "{{ workflow.input }}"}, output="{{ result.x }}")], 5)
    assert stage.of_type("step_started", "step_finished") == [
        {
            "type": "step_started",
            "step": "a",
            "path": "a",
            "body": "operation",
            "name": "The first",
            "input": {"x": 5},
            "why": "the workflow begins with it",
            "attempt": 1,
        },
        {"type": "step_finished", "step": "a", "path": "a", "phase": "Succeeded", "output": 5, "attempts": 1},
    ]


async def test_why_each_step_is_carried_out(stage: Stage) -> None:
    steps = [
        step("a", set=0, next="c"),
        step("b", branch=[{"when": "input > 0", "next": "END"}, {"when": "input == 0", "name": "zero", "next": "d"}]),
        step("c", set="{{ input }}"),
        step("d", input={"fail": 1}, onFailure="e"),
        step("x", branch=[{"when": "true", "next": "b"}], next="END"),
        step("e", set=0, next="END"),
    ]
    await stage.output({"steps": [*steps[1:2], *steps[:1], *steps[2:]], "initialStep": "a"})
    assert brief(stage.events) == [
        ("+", "a", "spec.initialStep names it"),
        ("-", "a", "Succeeded"),
        ("+", "c", "a names it as next"),
        ("-", "c", "Succeeded"),
        ("+", "d", "it comes after c"),
        ("-", "d", "Failed"),
        ("onFailure", "d", "e"),
        ("+", "e", "d failed, and its onFailure goes on with it"),
        ("-", "e", "Succeeded"),
    ]
    await stage.output([step("a", set=0), *steps[1:2], step("d", set=0)])
    assert brief(stage.events)[2:] == [
        ("+", "b", "it comes after a"),
        ("branch", "b", "zero"),
        ("-", "b", "Succeeded"),
        ("+", "d", "b chose it"),
        ("-", "d", "Succeeded"),
    ]


async def test_a_branch_tells_what_each_case_was(stage: Stage) -> None:
    cases: list[Any] = [
        {"when": "input < 1", "next": "END"},
        {"name": "one", "when": "input == 1", "steps": [step("x", set="one")]},
        {"when": "input < 9", "next": "END"},
    ]
    await stage.output([step("b", branch=cases)], 1)
    [decision] = stage.of_type("decision")
    assert decision == {
        "type": "decision",
        "step": "b",
        "path": "b",
        "kind": "branch",
        "chosen": "one",
        "candidates": [
            {"name": "0", "when": "input < 1", "value": False},
            {"name": "one", "when": "input == 1", "value": True},
            {"name": "2", "when": "input < 9", "value": None},
        ],
    }
    assert ("+", "b[one]/x", "case one of b is true and begins with it") in brief(stage.events)
    await stage.output([step("b", branch={"cases": cases, "default": {"steps": [step("y", set=0)]}})], 10)
    assert brief(stage.events)[1:3] == [
        ("branch", "b", "default"),
        ("+", "b[default]/y", "no case of b is true, and its default begins with it"),
    ]


async def test_blocks_are_a_stack_of_their_steps(stage: Stage) -> None:
    loop = step("l", loop={"while": "iteration < 2", "steps": [step("x", set="{{ iteration }}")]})
    each = step("each", foreach={"items": [7], "steps": [loop]})
    await stage.output([step("fan", parallel=[{"name": "p", "steps": [each]}])])
    assert brief(stage.events) == [
        ("+", "fan", "the workflow begins with it"),
        ("parallel", "fan", "p"),
        ("+", "fan[p]/each", "branch p of fan begins with it"),
        ("foreach", "fan[p]/each", "1 item"),
        ("+", "fan[p]/each[0]/l", "item 0 of each begins with it"),
        ("loop", "fan[p]/each[0]/l", "pass 1"),
        ("+", "fan[p]/each[0]/l[0]/x", "pass 1 of l begins with it"),
        ("-", "fan[p]/each[0]/l[0]/x", "Succeeded"),
        ("loop", "fan[p]/each[0]/l", "pass 2"),
        ("+", "fan[p]/each[0]/l[1]/x", "pass 2 of l begins with it"),
        ("-", "fan[p]/each[0]/l[1]/x", "Succeeded"),
        ("loop", "fan[p]/each[0]/l", "end"),
        ("-", "fan[p]/each[0]/l", "Succeeded"),
        ("-", "fan[p]/each", "Succeeded"),
        ("-", "fan", "Succeeded"),
    ]
    [pass_] = [event for event in stage.of_type("decision") if event["chosen"] == "end"]
    assert pass_["candidates"] == [{"name": "while", "when": "iteration < 2", "value": False}]


async def test_tries_and_handlers(stage: Stage) -> None:
    handler = {"steps": [step("h", set=1)]}
    retry = {"maxAttempts": 2, "delay": 0}
    steps = [step("a", input={"fail": 2, "reason": "Bad"}, retry=retry, onFailure=handler), step("b", fail="no")]
    spec = {"steps": steps, "onFailure": [step("z", set=0)]}
    await stage.run(spec)
    assert brief(stage.events) == [
        ("+", "a", "the workflow begins with it"),
        ("retry", "a", 1, "Bad"),
        ("+", "a", "try 2 of 2, as the one before failed (Bad)"),
        ("-", "a", "Failed"),
        ("onFailure", "a", "onFailure"),
        ("+", "a.onFailure/h", "a failed, and its onFailure begins with it"),
        ("-", "a.onFailure/h", "Succeeded"),
        ("+", "b", "a failed, and its onFailure goes on with it"),
        ("-", "b", "Failed"),
        ("+", "onFailure/z", "the workflow failed, and spec.onFailure begins with it"),
        ("-", "onFailure/z", "Succeeded"),
    ]
    finished = stage.of_type("step_finished")[0]
    assert finished["error"] == {"step": "a", "reason": "Bad", "message": "it broke", "attempts": 2}
    assert finished["attempts"] == 2


async def test_a_step_whose_input_has_no_value_is_told_all_the_same(stage: Stage) -> None:
    await stage.run([step("a"), step("b", input="{{ steps.a.output.x }}", set=1)])
    assert [(event["path"], event.get("input")) for event in stage.of_type("step_started")] == [
        ("a", None),
        ("b", None),
    ]
    assert brief(stage.events)[-1] == ("-", "b", "Failed")


async def test_paths_are_unique_in_a_run(stage: Stage) -> None:
    once = "iteration == 0 && steps.c.output == 0 && !('e' in steps)"
    body = [
        step("x", set="{{ input }}"),
        step("c", branch=[{"when": "input > 0", "steps": [step("y", set=0)]}], next="d"),
        step("d", branch=[{"when": once, "next": "e"}], next="END"),
        step("e", set=1, next="x"),
    ]
    each = {"items": [1, 2], "concurrency": 2, "steps": [step("l", loop={"until": "iteration == 2", "steps": body})]}
    await stage.output([step("each", foreach=each)])
    paths = [event["path"] for event in stage.of_type("step_started")]
    assert len(set(paths)) == len(paths)
    assert "each[1]/l[0]/x#1" in paths


async def test_a_replay_over_the_journal_tells_the_same(stage: Stage) -> None:
    handler = {"steps": [step("h", set=1)]}
    loop = step("l", loop={"until": "iteration == 1", "steps": [step("x", input={"n": "{{ iteration }}"})]})
    spec = {
        "steps": [
            step("a", input={"fail": 2}, retry={"maxAttempts": 2, "delay": 0}, onFailure=handler),
            step("fan", parallel=[{"name": "p", "steps": [loop]}], timeout="1m"),
            step("b", branch=[{"when": "input.p.n == 2", "next": "END"}, {"when": "input.p.n == 1", "next": "c"}]),
            step("c", foreach={"items": [1, 2], "onError": "skip", "steps": [step("f", fail="{{ item }}")]}),
        ],
        "output": "{{ steps.c.errors }}",
    }
    run = await stage.start(spec)
    output = await run.result()
    trace = await replay(stage.runtimes[0], await stage.runtimes[0].client.require(run.key))
    assert (trace.end, trace.output) == ("finished", output)
    types = ("step_started", "step_finished", "step_retry", "decision")
    assert [entry.event for entry in trace.entries if entry.event["type"] in types] == stage.of_type(*types)


async def test_nothing_is_told_when_nobody_listens(stage: Stage) -> None:
    await stage.output([step("a", set=1)], listen=False)
    assert stage.events == []
