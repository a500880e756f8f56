"""The runner: branch, parallel, foreach, loop, and what is in sight where."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from workflow_stage import Stage, ended, stage, step

__all__ = ["stage"]


def case(when: str, goal: Any, name: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {"when": when, "next" if isinstance(goal, str) else "steps": goal}
    return {**out, "name": name} if name else out


# ------------------------------------------------------------------------------------------------ branch


@pytest.mark.parametrize(("n", "expected"), [(1, "small"), (50, "middle, then big"), (500, "big"), (5000, "huge")])
async def test_a_branch_takes_the_first_case_that_is_true(stage: Stage, n: int, expected: str) -> None:
    route = {
        "cases": [
            case("input < 10", "small"),
            case("input < 100", [step("middle", set="middle, then ")]),
            case("workflow.input < 1000", [step("none", set="")]),
        ],
        "default": "huge",
    }
    steps = [
        step("route", branch=route, next="big"),
        step("small", set="small", next="END"),
        step("big", set="{{ input + 'big' }}", next="END"),
        step("huge", set="huge"),
    ]
    assert await stage.output(steps, n) == expected


async def test_a_branch_without_a_true_case_gives_its_input(stage: Stage) -> None:
    assert await stage.output([step("b", branch=[case("false", [step("x", set=1)])])], "in") == "in"
    default = {"cases": [case("false", "END")], "default": {"steps": [step("d", set="{{ input + '!' }}")]}}
    assert await stage.output([step("b", branch=default), step("c", set="{{ steps.d.output }}")], "in") == "in!"


async def test_a_jump_out_of_a_branch_keeps_its_input_as_the_steps_output(stage: Stage) -> None:
    steps = [step("b", branch=[case("true", "d")]), step("c", set="c"), step("d", set="{{ input + 'd' }}")]
    assert await stage.output(steps, "in ") == "in d"
    assert await stage.output([step("b", branch=[case("true", "END")]), step("c", set="c")], "in") == "in"


async def test_mode_all_runs_each_true_case_at_once(stage: Stage) -> None:
    cases = [
        case("input > 1", [step("a", operation="test.do", input={"gate": "a", "result": "A"})], "first"),
        case("input > 1000", [step("never", set=0)]),
        case("input > 2", [step("c", operation="test.do", input={"gate": "c", "result": "C"})]),
    ]
    run = await stage.start([step("b", branch={"mode": "all", "cases": cases, "default": {"steps": [step("d")]}})], 3)
    await asyncio.gather(stage.entry("a").wait(), stage.entry("c").wait())
    stage.gate("a").set()
    stage.gate("c").set()
    assert await run.result() == {"first": "A", "2": "C"}
    assert sorted(stage.paths()) == ["/all#0[2]/c#0", "/all#0[first]/a#0"]


async def test_mode_all_without_a_true_case(stage: Stage) -> None:
    none = {"mode": "all", "cases": [case("false", [step("x", set=1)])]}
    assert await stage.output([step("b", branch=none)], "in") == "in"
    default = {**none, "default": {"steps": [step("d", set="{{ workflow.input }}")]}}
    assert await stage.output([step("b", branch=default)], "in") == {"default": "in"}


async def test_mode_all_fails_with_the_first_failed_case_after_all_have_ended(stage: Stage) -> None:
    cases = [
        case("true", [step("a", input={"gate": "a", "fail": 1, "reason": "First"})]),
        case("true", [step("b", input={"fail": 1, "reason": "Second"})]),
        case("true", [step("c", input={})]),
    ]
    run = await stage.start([step("all", branch={"mode": "all", "cases": cases})])
    await stage.entry("a").wait()
    stage.gate("a").set()
    assert ended(await run.status()) == ("Failed", "First", "step all[0]/a: it broke")
    assert len(stage.ended) == 1


async def test_a_condition_that_is_no_boolean_fails_the_branch(stage: Stage) -> None:
    phase, reason, message = ended(await stage.run([step("b", branch=[case("workflow.input", "END")])], "yes"))
    assert (phase, reason) == ("Failed", "ExpressionFailed")
    assert message.startswith("step b: ")


async def test_steps_of_a_taken_case_stay_in_sight_and_those_of_mode_all_do_not(stage: Stage) -> None:
    taken = [step("b", branch=[case("true", [step("x", set=1, output={"type": "x"}), step("y", set=2)])])]
    assert await stage.output([*taken, step("c", set="{{ [steps.x.output, steps.y.output, data.x] }}")]) == [1, 2, 1]
    beside = [step("b", branch={"mode": "all", "cases": [case("true", [step("x", set=1, output={"type": "x"})])]})]
    assert await stage.output([*beside, step("c", set="{{ ['x' in steps, data.x] }}")]) == [False, 1]


# ------------------------------------------------------------------------------------------------ parallel


async def test_parallel_gives_an_object_of_the_branches_outputs(stage: Stage) -> None:
    branches = [
        {"name": "two", "steps": [step("a", set="{{ input }}"), step("b", set="{{ input + steps.a.output }}")]},
        step("one", set="{{ workflow.input }}"),
    ]
    assert await stage.output([step("fan", parallel=branches)], 2) == {"two": 4, "one": 2}


async def test_branches_run_at_once_but_no_more_than_concurrency(stage: Stage) -> None:
    branches = [step(name, input={"gate": name}) for name in "abc"]
    run = await stage.start([step("fan", parallel={"branches": branches, "concurrency": 2})])
    await asyncio.gather(stage.entry("a").wait(), stage.entry("b").wait())
    assert "c" not in stage.entered
    stage.gate("b").set()
    await stage.entry("c").wait()
    stage.gate("a").set()
    stage.gate("c").set()
    assert list(await run.result()) == ["a", "b", "c"]


async def test_parallel_waits_for_all_branches_before_it_fails_with_the_first_of_the_list(stage: Stage) -> None:
    branches = [
        step("a", input={"gate": "a"}),
        step("b", input={"gate": "b", "fail": 1, "reason": "Late"}),
        step("c", input={"fail": 1, "reason": "Soon"}),
    ]
    run = await stage.start([step("fan", parallel=branches)])
    await asyncio.gather(stage.entry("a").wait(), stage.entry("b").wait())
    stage.gate("b").set()
    stage.gate("a").set()
    assert ended(await run.status()) == ("Failed", "Late", "step fan[b]/b: it broke")
    assert stage.ended == ["/all#0[a]/a#0"]


async def test_on_failure_cancel_ends_the_other_branches(stage: Stage) -> None:
    branches = [step("a", input={"gate": "a"}), step("b", input={"gate": "b", "fail": 1, "reason": "Bad"})]
    run = await stage.start([step("fan", parallel={"branches": branches, "onFailure": "cancel"})])
    await asyncio.gather(stage.entry("a").wait(), stage.entry("b").wait())
    stage.gate("b").set()
    assert ended(await run.status()) == ("Failed", "Bad", "step fan[b]/b: it broke")
    assert stage.ended == []


async def test_succeed_in_a_branch_cancels_what_runs_beside_it(stage: Stage) -> None:
    branches = [
        step("a", input={"gate": "a"}),
        {"name": "b", "steps": [step("w", input={"gate": "b"}), step("s", succeed={"early": True})]},
    ]
    run = await stage.start([step("fan", parallel=branches), step("after")])
    await asyncio.gather(stage.entry("a").wait(), stage.entry("b").wait())
    stage.gate("b").set()
    assert await run.result() == {"early": True}
    assert stage.ended == ["/all#0[b]/w#0"]


async def test_what_branches_publish_is_in_sight_after_the_step_in_their_order(stage: Stage) -> None:
    branches = [
        step("a", input={"gate": "a", "result": 1}, output={"type": "x"}),
        {
            "name": "b",
            "steps": [step("b1", set=2, output={"type": "x"}), step("b2", set="{{ data.x }}", output={"type": "b"})],
        },
    ]
    look = step("look", set="{{ [data.x, data.b, 'a' in steps] }}")
    run = await stage.start([step("zero", set=0, output={"type": "x"}), step("fan", parallel=branches), look])
    await stage.entry("a").wait()
    stage.gate("a").set()
    assert await run.result() == [2, 2, False]


async def test_a_parallel_step_that_failed_publishes_nothing(stage: Stage) -> None:
    branches = [step("a", set=1, output={"type": "x"}), step("b", fail="no")]
    steps = [
        step("zero", set=0, output={"type": "x"}),
        step("fan", parallel=branches, onFailure={"output": "{{ data.x }}"}),
    ]
    assert await stage.output(steps) == 0


# ------------------------------------------------------------------------------------------------ foreach


async def test_foreach_keeps_the_order_of_the_items_whatever_their_speed(stage: Stage) -> None:
    body = [step("work", input={"gate": "{{ item }}", "result": "{{ [item, index] }}"})]
    run = await stage.start([step("each", foreach={"items": ["a", "b", "c"], "concurrency": 3, "steps": body})])
    await asyncio.gather(*(stage.entry(name).wait() for name in "abc"))
    for name in "cab":
        stage.gate(name).set()
    assert await run.result() == [["a", 0], ["b", 1], ["c", 2]]


async def test_foreach_takes_one_item_at_a_time_unless_it_says_otherwise(stage: Stage) -> None:
    body = [step("first"), step("second")]
    await stage.output([step("each", foreach={"items": "{{ workflow.input }}", "steps": body})], [{"n": 1}, {"n": 2}])
    assert stage.calls == [
        ("/all#0[0]/first#0", {"n": 1}),
        ("/all#0[0]/second#0", {"n": 1}),
        ("/all#0[1]/first#0", {"n": 2}),
        ("/all#0[1]/second#0", {"n": 2}),
    ]


async def test_foreach_may_name_its_item(stage: Stage) -> None:
    inner = {"items": "{{ row }}", "as": "cell", "steps": [step("x", set="{{ [row_index, cell_index, cell] }}")]}
    outer = {"items": [[5], [6, 7]], "as": "row", "steps": [step("cells", foreach=inner)]}
    assert await stage.output([step("rows", foreach=outer)]) == [[[0, 0, 5]], [[1, 0, 6], [1, 1, 7]]]


async def test_foreach_of_nothing_is_an_empty_list_and_of_no_list_a_failure(stage: Stage) -> None:
    steps = [step("each", foreach={"items": "{{ workflow.input }}", "steps": [step("x")]})]
    assert await stage.output(steps, []) == []
    status = await stage.run(steps, {"a": 1})
    assert ended(status) == (
        "Failed",
        "ExpressionFailed",
        "step each: foreach.items must give a list, it gives an object",
    )


async def test_the_first_failed_item_ends_the_others(stage: Stage) -> None:
    body = [step("x", input="{{ item }}")]
    items: list[Any] = [{"gate": "a"}, {"gate": "b", "fail": 1, "reason": "Bad"}, {"gate": "c"}]
    run = await stage.start([step("each", foreach={"items": items, "concurrency": 2, "steps": body})])
    await asyncio.gather(stage.entry("a").wait(), stage.entry("b").wait())
    stage.gate("b").set()
    assert ended(await run.status()) == ("Failed", "Bad", "step each[1]/x: it broke")
    assert stage.ended == []
    assert "c" not in stage.entered


async def test_failed_items_are_left_out_and_told_on_demand(stage: Stage) -> None:
    body = [step("x", input="{{ item }}", output={"type": "last", "value": "{{ result.n }}"})]
    items: list[Any] = [{"n": 0}, {"fail": 1, "reason": "Bad", "message": "no good"}, {"n": 2}, {"fail": 1}]
    steps = [step("each", foreach={"items": items, "onError": "skip", "steps": body})]
    output = {"out": "{{ steps.each.output }}", "errors": "{{ steps.each.errors }}", "last": "{{ data.last }}"}
    assert await stage.output({"steps": steps, "output": output}) == {
        "out": [0, 2],
        "errors": [
            {"index": 1, "reason": "Bad", "message": "no good"},
            {"index": 3, "reason": "Broken", "message": "it broke"},
        ],
        "last": 2,
    }


async def test_succeed_in_an_item_ends_the_workflow(stage: Stage) -> None:
    body = [step("b", branch=[case("item == 2", [step("s", succeed="{{ item }}")])]), step("x", input={})]
    assert await stage.output([step("each", foreach={"items": [1, 2, 3], "onError": "skip", "steps": body})]) == 2
    assert stage.paths() == ["/all#0[0]/x#0"]


# ------------------------------------------------------------------------------------------------ loop


async def test_while_is_tested_before_each_pass(stage: Stage) -> None:
    loop = {"while": "output < 10 && iteration < 9", "steps": [step("x", set="{{ input + iteration + 1 }}")]}
    assert await stage.output([step("l", loop=loop)], 1) == 11
    assert await stage.output([step("l", loop=loop)], 10) == 10


async def test_until_is_tested_after_each_pass(stage: Stage) -> None:
    body = [step("x", set="{{ input * 2 }}")]
    assert await stage.output([step("l", loop={"until": "output >= 10", "steps": body})], 3) == 12
    assert await stage.output([step("l", loop={"until": "iteration == 1", "steps": body})], 100) == 400
    assert await stage.output([step("l", loop={"until": "output > input", "steps": body})], 100) == 200


@pytest.mark.parametrize("condition", [{"while": "true"}, {"until": "false"}])
async def test_the_bound_of_a_loop_fails_it_or_ends_it(stage: Stage, condition: dict[str, Any]) -> None:
    loop = {**condition, "maxIterations": 3, "steps": [step("x", set="{{ input + 1 }}")]}
    status = await stage.run([step("l", loop=loop)], 0)
    assert ended(status) == ("Failed", "LoopLimit", "step l: the loop is not over after 3 passes (maxIterations)")
    assert await stage.output([step("l", loop={**loop, "onLimit": "stop"})], 0) == 3


async def test_passes_see_the_steps_of_the_pass_before_and_the_outside_sees_none(stage: Stage) -> None:
    body = [
        step("seen", set="{{ 'done' in steps ? steps.done.output : 'nothing' }}"),
        step("done", set="{{ iteration }}", output={"type": "pass"}),
    ]
    loop = {"until": "iteration == 2", "steps": [*body, step("say", set="{{ steps.seen.output }}")]}
    steps = [step("l", loop=loop), step("after", set="{{ [input, 'done' in steps, data['pass']] }}")]
    assert await stage.output(steps) == [1, False, 2]


async def test_operations_of_a_loop_are_numbered_through(stage: Stage) -> None:
    await stage.output([step("l", loop={"until": "iteration == 2", "steps": [step("x", input={})]})])
    assert stage.paths() == ["/x#0", "/x#1", "/x#2"]


async def test_blocks_within_blocks(stage: Stage) -> None:
    inner = {"until": "iteration == 1", "steps": [step("n", set="{{ [item, iteration, index] }}")]}
    each = {"items": "{{ input }}", "concurrency": 2, "steps": [step("l", loop=inner), step("o", set="{{ input }}")]}
    fan = [
        step("each", foreach=each),
        {"name": "other", "steps": [step("k", branch=[case("true", [step("m", set=0)])])]},
    ]
    assert await stage.output([step("fan", parallel=fan)], ["a", "b"]) == {
        "each": [["a", 1, 0], ["b", 1, 1]],
        "other": 0,
    }


async def test_ten_thousand_steps_do_not_recurse(stage: Stage) -> None:
    n = 10_000
    by_hand = [step("a", set="{{ input + 1 }}"), step("b", branch=[case(f"input < {n // 2}", "a")])]
    loop = {"while": f"iteration < {n}", "maxIterations": n, "steps": [step("x", set=1)]}
    each = {"items": "{{ workflow.input }}", "steps": [step("x", set=1)]}
    for steps, given, expected in (
        (by_hand, 0, n // 2),
        ([step("l", loop=loop)], 0, 1),
        ([step("each", foreach=each)], list(range(n)), [1] * n),
    ):
        spec = {"steps": steps, "limits": {"maxSteps": 30_000}}
        assert await stage.output(spec, given, listen=False) == expected
