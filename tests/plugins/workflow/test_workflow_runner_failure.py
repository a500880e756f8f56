"""The runner: retries, timeouts, handlers, and how a failed workflow says what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kastra_core.api.meta import Resource
from kastra_core.serde import structure
from kastra_plugin_workflow.spec import RetrySpec, StepSpec
from kastra_plugin_workflow.steps_blocks import retry_wait_s
from kastra_plugin_workflow.steps_plan import NEVER_RETRIED, PlannedRetry
from workflow_stage import Stage, ended, stage, step

__all__ = ["stage"]

QUICK = {"delay": 0}


async def test_a_failed_step_is_tried_again_until_it_succeeds(stage: Stage) -> None:
    steps = [step("a", retry={"maxAttempts": 3, **QUICK}, output="{{ result.fail }}")]
    assert await stage.output(steps, {"fail": 2}) == 2
    assert stage.paths() == ["/a#0", "/a#1", "/a#2"], "each try is recorded by itself"
    assert [event["attempt"] for event in stage.of_type("step_started")] == [1, 2, 3]
    assert stage.of_type("step_finished")[0]["attempts"] == 3


async def test_tries_end_at_max_attempts(stage: Stage) -> None:
    status = await stage.run([step("a", retry={"maxAttempts": 2, **QUICK})], {"fail": 9, "reason": "Bad"})
    assert ended(status) == ("Failed", "Bad", "step a: it broke")
    assert len(stage.calls) == 2


@pytest.mark.parametrize(
    ("policy", "tries"),
    [
        ({}, 3),
        ({"on": ["ModelTimeout"]}, 3),
        ({"on": ["Model*"]}, 3),
        ({"on": ["*"]}, 3),
        ({"on": ["Model"]}, 1),
        ({"on": ["Timeout", "*Model"]}, 1),
        ({"except": ["ModelTimeout"]}, 1),
        ({"except": ["*Timeout"]}, 1),
        ({"except": ["Broken"]}, 3),
        ({"on": ["Model*"], "except": ["*T*out"]}, 1),
    ],
)
async def test_on_and_except_choose_reasons(stage: Stage, policy: dict[str, Any], tries: int) -> None:
    await stage.run([step("a", retry={**policy, **QUICK})], {"fail": 9, "reason": "ModelTimeout"})
    assert len(stage.calls) == tries


@pytest.mark.parametrize("reason", sorted(NEVER_RETRIED))
async def test_what_cannot_get_better_is_not_tried_again_even_if_all_is(stage: Stage, reason: str) -> None:
    await stage.run([step("a", retry={"on": ["*"], **QUICK})], {"fail": 9, "reason": reason})
    assert len(stage.calls) == 1


async def test_spec_retry_holds_for_steps_that_do_something_outside_and_say_nothing_themselves(stage: Stage) -> None:
    branches = [step("a", input={"fail": 9}), step("b", input={"fail": 9}, retry={"maxAttempts": 1})]
    spec = {"steps": [step("fan", parallel=branches)], "retry": {"maxAttempts": 4, **QUICK}}
    await stage.run(spec)
    paths = stage.paths()
    assert (sum("/a#" in path for path in paths), sum("/b#" in path for path in paths)) == (4, 1)


async def test_a_step_with_blocks_is_tried_again_as_a_whole(stage: Stage) -> None:
    body = [step("a", input={"n": 1}), step("b", input={"fail": 1, "key": "b"})]
    steps = [step("fan", parallel=[{"name": "x", "steps": body}], retry=QUICK, output="{{ result.x.fail }}")]
    assert await stage.output(steps) == 1
    assert stage.paths() == ["/all#0[x]/a#0", "/all#0[x]/b#0", "/all#1[x]/a#0", "/all#1[x]/b#0"]
    paths = [event["path"] for event in stage.of_type("step_started")]
    assert paths == ["fan", "fan[x]/a", "fan[x]/b", "fan", "fan@2[x]/a", "fan@2[x]/b"]


async def test_a_fail_within_a_block_keeps_the_step_around_it_from_trying_again(stage: Stage) -> None:
    body = [step("a", input={}), step("no", fail={"reason": "Broken", "message": "no"})]
    await stage.run([step("fan", parallel=[{"name": "x", "steps": body}], retry={"on": ["*"], **QUICK})])
    assert len(stage.calls) == 1


async def test_waits_between_tries_grow_to_a_bound_and_survive_in_the_journal(stage: Stage) -> None:
    retry = {"maxAttempts": 5, "delay": "10s", "multiplier": 3, "maxDelay": "1m", "jitter": 0}
    run = await stage.start([step("a", retry=retry)], {"fail": 4})
    for tries, wait_s in enumerate([10.0, 30.0, 60.0, 60.0], start=1):
        parked = await stage.until(run.key, _waits_after(stage, tries))
        assert parked.status["wakeAtS"] == stage.now + wait_s
        stage.move_clock(wait_s)
    assert (await run.status())["phase"] == "Succeeded"
    assert len(stage.calls) == 5


def _waits_after(stage: Stage, tries: int) -> Callable[[Resource], bool]:
    return lambda run: len(stage.calls) == tries and run.status.get("phase") == "Suspended"


async def test_jitter_shortens_a_wait_by_a_part_that_follows_from_the_run(stage: Stage) -> None:
    retry = {"maxAttempts": 4, "delay": 0.004, "multiplier": 1, "jitter": 0.5}
    run = await stage.start([step("a", retry=retry)], {"fail": 3})
    await run.result()
    waits = [event["wait_s"] for event in stage.of_type("step_retry")]
    assert all(0.002 <= wait <= 0.004 for wait in waits)
    assert len(set(waits)) == 3

    spec = structure({"id": "a", "set": 1, "retry": retry}, StepSpec).retry
    assert isinstance(spec, RetrySpec)

    planned = PlannedRetry(spec, None, None)
    assert waits == [retry_wait_s(planned, run.uid, "a", n) for n in (1, 2, 3)]


async def test_a_wait_of_a_huge_multiplier_is_the_longest_one(stage: Stage) -> None:

    planned = PlannedRetry(RetrySpec(multiplier=1e300, jitter=0.0), None, None)
    assert retry_wait_s(planned, "run", "a", 500) == 60.0


# ------------------------------------------------------------------------------------------------ timeout


async def test_timeout_bounds_each_try(stage: Stage) -> None:
    steps = [step("a", input={"gate": "never"}, timeout=0.02, retry={"maxAttempts": 2, **QUICK})]
    phase, reason, message = ended(await stage.run(steps))
    assert (phase, reason) == ("Failed", "Timeout")
    assert message.startswith("step a: ")
    assert stage.paths() == ["/a.within#0/a#0", "/a.within#1/a#0"]


async def test_a_step_that_is_in_time_is_as_one_without_a_timeout(stage: Stage) -> None:
    body = [
        step("x", set="{{ input }}"),
        step("b", branch=[{"when": "true", "steps": [step("y", set=2)]}], timeout="1m"),
    ]
    steps = [
        step("l", loop={"until": "true", "steps": body}, timeout="1m", output={"type": "l"}),
        step("b2", branch=[{"when": "true", "next": "d"}, {"when": "true", "steps": [step("n", set=0)]}], timeout="1m"),
        step("c", fail="it was skipped"),
        step("d", branch=[{"when": "true", "steps": [step("z", set=3, output={"type": "z"})]}], timeout="1m"),
        step("each", foreach={"items": [1, 2], "onError": "skip", "steps": [step("f", fail="x")]}, timeout="1m"),
    ]
    output = "{{ [steps.l.output, data.l, data.z, steps.z.output, size(steps.each.errors)] }}"
    assert await stage.output({"steps": steps, "output": output}, 1) == [2, 2, 3, 3, 2]


async def test_what_a_try_did_that_took_too_long_is_not_seen(stage: Stage) -> None:
    taken = [step("x", set=1, output={"type": "x"}), step("y", input={"gate": "never"})]
    steps = [
        step("b", branch=[{"when": "true", "steps": taken}], timeout=0.02, onFailure={"output": "{{ 'x' in steps }}"}),
        step("c", set="{{ [input, 'x' in data] }}"),
    ]
    assert await stage.output(steps) == [False, False]


async def test_a_failure_in_time_is_not_a_timeout_and_what_was_done_is_seen(stage: Stage) -> None:
    taken = [step("x", set=1), step("y", fail={"reason": "Bad", "message": "no"})]
    handler = {"output": "{{ [error.reason, steps.x.output] }}"}
    steps = [step("b", branch=[{"when": "true", "steps": taken}], timeout="1m", onFailure=handler)]
    assert await stage.output(steps) == ["Bad", 1]


async def test_succeed_within_a_timeout_ends_the_workflow(stage: Stage) -> None:
    loop = {"until": "true", "steps": [step("s", succeed=5)]}
    assert await stage.output({"steps": [step("l", loop=loop, timeout="1m")], "timeout": "1m"}) == 5


async def test_spec_timeout_bounds_the_graph_and_then_the_handler_runs(stage: Stage) -> None:
    spec = {
        "steps": [step("x", set=1), step("a", input={"gate": "never"}, onFailure={"output": "not asked"})],
        "timeout": 0.05,
        "onFailure": [step("h", input="{{ error }}")],
    }
    phase, reason, message = ended(await stage.run(spec))
    assert (phase, reason) == ("Failed", "Timeout")
    assert message == "the workflow was not over after spec.timeout (0.05s)"
    assert stage.calls[-1] == ("/h#0", {"step": "", "reason": "Timeout", "message": message, "attempts": 1})
    assert stage.ended == ["/h#0"]


async def test_a_workflow_that_is_in_time_is_as_one_without_a_timeout(stage: Stage) -> None:
    spec = {"steps": [step("a", set=1)], "timeout": "1m", "output": "{{ steps.a.output + 1 }}"}
    assert await stage.output(spec) == 2
    failing = {"steps": [step("a", set=1), step("b", fail="no")], "timeout": "1m"}
    handled = {**failing, "onFailure": [step("h", succeed="{{ [steps.a.output, error.step] }}")]}
    assert ended(await stage.run(failing)) == ("Failed", "Failed", "step b: no")
    assert await stage.output(handled) == [1, "b"]


# ------------------------------------------------------------------------------------------------ onFailure of a step


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("c", [None, "c"]),
        ({"next": "c", "output": "{{ error.reason }}"}, ["Bad", "c"]),
        ({"output": {"was": "{{ input.reason }}"}}, [{"was": "Bad"}, "b", "c"]),
        ({"steps": [step("h", set="{{ [input.fail, error.attempts] }}")]}, [[9, 1], "b", "c"]),
        ({"steps": [step("h", set=1)], "output": "{{ steps.h.output + 1 }}", "next": "c"}, [2, "c"]),
        ({"next": "END"}, [None]),
    ],
)
async def test_the_forms_of_a_handler(stage: Stage, handler: Any, expected: list[Any]) -> None:
    steps = [
        step("a", input={"fail": 9, "reason": "Bad"}, onFailure=handler),
        step("b", set="b"),
        step("c", set="c"),
    ]
    output = "{{ ['a', 'b', 'c'].filter(id, id in steps).map(id, steps[id].output) }}"
    assert await stage.output({"steps": steps, "output": output}) == expected


async def test_a_handled_failure_is_told_and_its_output_is_the_next_steps_input(stage: Stage) -> None:
    steps = [
        step(
            "a", input={"fail": 9, "reason": "Bad"}, retry={"maxAttempts": 2, **QUICK}, onFailure={"output": "instead"}
        ),
        step("b", set="{{ [input, steps.a.output, steps.a.error] }}"),
    ]
    error = {"step": "a", "reason": "Bad", "message": "it broke", "attempts": 2}
    assert await stage.output(steps) == ["instead", "instead", error]


async def test_the_error_of_a_step_is_forgotten_when_it_succeeds_the_next_time(stage: Stage) -> None:
    steps = [
        step("a", input={"fail": 1, "key": "a"}, onFailure={"output": {}}),
        step("b", branch=[{"when": "has(steps.a.error)", "next": "a"}]),
        step("c", set="{{ has(steps.a.error) }}"),
    ]
    assert await stage.output(steps) is False
    paths = [event["path"] for event in stage.of_type("step_started")]
    assert paths == ["a", "b", "a#1", "b#1", "c"]


async def test_the_output_of_a_handler_is_published_as_that_of_its_step(stage: Stage) -> None:
    steps = [
        step("a", output={"type": "x"}, onFailure={"output": "instead"}),
        step("b", set="{{ input }}", input={"from": "x"}),
    ]
    assert await stage.output(steps, {"fail": 1}) == "instead"


async def test_a_handler_that_fails_fails_the_block(stage: Stage) -> None:
    steps = [step("a", fail="first", onFailure={"steps": [step("h", fail={"reason": "Worse", "message": "second"})]})]
    assert ended(await stage.run(steps)) == ("Failed", "Worse", "step a.onFailure/h: second")
    _, reason, message = ended(await stage.run([step("a", fail="first", onFailure={"output": "{{ input[0] }}"})]))
    assert reason == "ExpressionFailed"
    assert message.startswith("step a: ")


async def test_a_step_around_a_block_answers_for_what_fails_in_it(stage: Stage) -> None:
    inner = [step("deep", fail={"reason": "Bad", "message": "no"})]
    fan = [{"name": "b", "steps": [step("l", loop={"until": "true", "steps": inner})]}]
    steps = [step("fan", parallel=fan, onFailure={"output": "{{ error }}"})]
    assert await stage.output(steps) == {"step": "deep", "reason": "Bad", "message": "no", "attempts": 1}
    assert ended(await stage.run([step("fan", parallel=fan)])) == ("Failed", "Bad", "step fan[b]/l[0]/deep: no")


async def test_a_handler_may_end_the_workflow_as_success(stage: Stage) -> None:
    assert await stage.output([step("a", fail="no", onFailure={"steps": [step("s", succeed=1)]}), step("b")]) == 1


async def test_steps_of_a_handler_stay_in_sight(stage: Stage) -> None:
    handler = {"steps": [step("h", set=7, output={"type": "h"})]}
    steps = [
        step("a", fail="no", onFailure=handler),
        step("b", set="{{ [steps.h.output, data.h, 'error' in steps.a] }}"),
    ]
    assert await stage.output(steps) == [7, 7, True]


# ------------------------------------------------------------------------------------------------ spec.onFailure


async def test_the_handler_of_the_workflow_sees_what_happened_and_the_run_fails_all_the_same(stage: Stage) -> None:
    spec = {
        "steps": [step("a", set=1), step("b", fail={"reason": "Bad", "message": "no"})],
        "onFailure": [step("h1"), step("h2", input={"error": "{{ error }}", "a": "{{ steps.a.output }}"})],
    }
    assert ended(await stage.run(spec, {"asked": 1})) == ("Failed", "Bad", "step b: no")
    error = {"step": "b", "reason": "Bad", "message": "no", "attempts": 1}
    assert stage.calls == [("/h1#0", {"asked": 1}), ("/h2#0", {"error": error, "a": 1})]


async def test_succeed_in_the_handler_of_the_workflow_ends_it_as_success(stage: Stage) -> None:
    spec: dict[str, Any] = {
        "steps": [step("b", fail="no")],
        "onFailure": [step("h", succeed="{{ error.message }}")],
    }
    assert await stage.output(spec) == "no"
    spec["outputSchema"] = {"type": "string", "maxLength": 1}
    phase, reason, _ = ended(await stage.run(spec))
    assert (phase, reason) == ("Failed", "InvalidOutput")


async def test_a_handler_of_the_workflow_that_fails_does_not_hide_the_failure(stage: Stage) -> None:
    spec = {"steps": [step("b", fail="no")], "onFailure": [step("h", fail={"reason": "Worse", "message": "neither"})]}
    message = "step b: no; spec.onFailure failed too: step onFailure/h: neither"
    assert ended(await stage.run(spec)) == ("Failed", "Failed", message)


async def test_an_output_that_does_not_fit_runs_the_handler_and_an_input_does_not(stage: Stage) -> None:
    spec = {
        "steps": [step("a", set="{{ workflow.input }}")],
        "inputSchema": {"type": ["integer", "string"]},
        "outputSchema": {"type": "string"},
        "onFailure": [step("h", input="{{ error }}")],
    }
    assert ended(await stage.run(spec, []))[1] == "InvalidInput"
    assert stage.calls == []
    assert ended(await stage.run(spec, 5))[1] == "InvalidOutput"
    assert stage.calls[0][1]["reason"] == "InvalidOutput"


async def test_limits_and_cancellation_run_no_handler(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.apply(runtime, "Tool", "finder", {})
    handler = {"steps": [step("h", input={})]}
    spec = {
        "steps": [
            step("a", tool="finder"),
            step("b", tool="finder", onFailure=handler, retry=QUICK),
        ],
        "limits": {"maxToolCalls": 1},
        "onFailure": [step("i", input={})],
    }
    assert ended(await stage.run(spec, runtime=runtime))[1] == "LimitExceeded"
    spec = {"steps": [step("a", input={"gate": "g"}, onFailure=handler)], "onFailure": [step("i", input={})]}
    run = await stage.start(spec, runtime=runtime)
    await stage.entry("g").wait()
    await run.cancel()
    assert (await run.status())["phase"] == "Cancelled"
    assert stage.paths() == ["/a#0"]


async def test_workflows_that_call_each_other_in_a_circle_end(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.apply(runtime, "Workflow", "v", {"steps": [step("x", workflow="w", onFailure="END")]})
    steps = [step("fan", parallel=[step("y", workflow="v", onFailure="END"), step("z", set=1)])]
    phase, reason, _ = ended(await stage.run(steps, runtime=runtime, listen=False))
    assert (phase, reason) == ("Failed", "DepthExceeded")
