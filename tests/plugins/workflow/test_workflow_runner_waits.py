"""The runner: sleep, waitForEvent, suspend; runs that wait and go on, and runs that are taken up again elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.api.meta import JsonObject, Resource, rfc3339
from kastra_core.errors import ValidationError
from workflow_stage import Stage, ended, stage, step

__all__ = ["stage"]

YES = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def awaits(*signals: str) -> Any:
    def is_so(run: Resource) -> bool:
        found = sorted(item["signal"] for item in run.status.get("awaiting") or ())
        return run.status["phase"] == "Suspended" and found == sorted(signals)

    return is_so


# ------------------------------------------------------------------------------------------------ sleep


@pytest.mark.parametrize(
    ("sleep", "seconds"),
    [
        ("1h30m", 5400),
        (90, 90),
        ({"duration": "{{ workflow.input.n }}"}, 300),
        ("{{ workflow.input.n }}s", 300),
        ({"until": "{{ workflow.input.at }}"}, 1000),
    ],
)
async def test_a_sleep_takes_its_time_and_passes_its_input_on(stage: Stage, sleep: Any, seconds: float) -> None:
    began = stage.now
    run = await stage.start([step("s", sleep=sleep)], {"n": 300, "at": rfc3339(began + 1000)})
    parked = await stage.parked(run)
    assert parked.status["wakeAtS"] == began + seconds
    stage.move_clock(seconds)
    assert await run.result() == {"n": 300, "at": rfc3339(began + 1000)}


@pytest.mark.parametrize("sleep", [0, "0s", {"until": "2001-01-01T00:00:00+02:00"}])
async def test_no_time_and_an_instant_that_is_past_do_not_wait(stage: Stage, sleep: Any) -> None:
    assert await stage.output([step("s", sleep=sleep)], "in") == "in"


@pytest.mark.parametrize(
    ("sleep", "message"),
    [
        ({"duration": "{{ workflow.input }}"}, "sleep.duration: expected seconds"),
        ({"until": "{{ workflow.input }}"}, "sleep.until: expected an instant with its offset"),
        ({"until": "{{ '2030-01-01T00:00:00' }}"}, "sleep.until: expected an instant with its offset"),
        ({"until": "{{ 5 }}"}, "sleep.until: expected an instant with its offset"),
    ],
)
async def test_what_is_no_time_fails_the_step(stage: Stage, sleep: Any, message: str) -> None:
    phase, reason, said = ended(await stage.run([step("s", sleep=sleep)], "soon"))
    assert (phase, reason) == ("Failed", "ExpressionFailed")
    assert said.startswith(f"step s: {message}")


# ------------------------------------------------------------------------------------------------ events and answers


async def test_an_event_wakes_the_run_and_its_payload_is_the_result(stage: Stage) -> None:
    steps = [step("w", waitForEvent="paid"), step("x", set="{{ [input, steps.w.output.sum] }}")]
    run = await stage.start(steps)
    parked = await stage.parked(run)
    assert parked.status["awaiting"] == [{"signal": "paid", "step": "w"}]
    await stage.runtimes[0].runs.signal(run.key, "paid", {"sum": 5})
    assert await run.result() == [{"sum": 5}, 5]


async def test_an_event_that_came_before_it_was_awaited_is_not_lost(stage: Stage) -> None:
    run = await stage.start([step("a", input={"gate": "g"}), step("w", waitForEvent={"name": "paid"})])
    await stage.entry("g").wait()
    await stage.runtimes[0].runs.signal(run.key, "paid", 1)
    stage.gate("g").set()
    assert await run.result() == 1


async def test_an_event_that_does_not_come_in_time_fails_the_step(stage: Stage) -> None:
    steps = [step("w", waitForEvent={"name": "paid", "timeout": "1h"}, onFailure={"output": "{{ error.reason }}"})]
    run = await stage.start(steps)
    await stage.parked(run)
    stage.move_clock(3600)
    assert await run.result() == "Timeout"


async def test_suspend_waits_for_an_answer_and_says_what_it_asks(stage: Stage) -> None:
    ask = {"message": "Is {{ input.x }} fine?", "schema": YES}
    run = await stage.start([step("review", suspend=ask), step("x", set="{{ input.ok }}")], {"x": 5})
    parked = await stage.parked(run)
    assert parked.status["awaiting"] == [{"signal": "review", "step": "review", "message": "Is 5 fine?", "schema": YES}]
    runs = stage.runtimes[0].runs
    with pytest.raises(ValidationError):
        await runs.resume(run.key, {"ok": "yes"})
    assert await runs.resume(run.key, {"ok": True}) == "review"
    assert await run.result() is True


async def test_an_answer_that_does_not_fit_is_passed_over_within_the_same_time(stage: Stage) -> None:
    wait = {"name": "go", "schema": YES, "timeout": "1h"}
    run = await stage.start([step("a", input={"gate": "g"}), step("w", waitForEvent=wait)])
    runs = stage.runtimes[0].runs
    await stage.entry("g").wait()
    await runs.signal(run.key, "go", "nonsense")
    stage.gate("g").set()
    await stage.parked(run)
    [note] = stage.of_type("note")
    assert (note["step"], note["path"]) == ("w", "w")
    assert note["message"].startswith("what came as 'go' does not fit and is passed over: ")
    stage.move_clock(3000)
    await stage.until(run.key, awaits("go"))
    stage.move_clock(600)
    assert ended(await run.status())[1] == "Timeout"


async def test_after_a_misfit_the_next_that_fits_is_taken(stage: Stage) -> None:
    wait = {"name": "go", "schema": YES}
    run = await stage.start([step("a", input={"gate": "g"}), step("w", waitForEvent=wait)])
    runs = stage.runtimes[0].runs
    await stage.entry("g").wait()
    for payload in ("nonsense", {"ok": 1}, {"ok": False}):
        await runs.signal(run.key, "go", payload)
    stage.gate("g").set()
    assert await run.result() == {"ok": False}


async def test_each_branch_awaits_its_own_answer(stage: Stage) -> None:
    def ask(name: str) -> JsonObject:
        return {
            "name": name,
            "steps": [step(f"review-{name}", suspend={"message": name}), step(f"do-{name}", input={})],
        }

    run = await stage.start([step("fan", parallel=[ask("a"), ask("b"), step("c", set=3)])])
    await stage.parked(run)
    both = ("fan[a]/review-a", "fan[b]/review-b")
    await stage.until(run.key, awaits(*both))
    runs = stage.runtimes[0].runs
    await runs.resume(run.key, "B", signal=both[1])
    await stage.until(run.key, awaits(both[0]))
    assert stage.paths() == ["/all#0[b]/do-b#0"]
    await runs.resume(run.key, "A")
    assert list(await run.result()) == ["a", "b", "c"]


async def test_the_same_question_again_awaits_an_answer_of_its_own(stage: Stage) -> None:
    steps = [step("ask", suspend={"message": "Again?"}), step("b", branch=[{"when": "input", "next": "ask"}])]
    run = await stage.start(steps)
    runs = stage.runtimes[0].runs
    for signal, answer in (("ask", True), ("ask#1", True), ("ask#2", False)):
        await stage.until(run.key, awaits(signal))
        await runs.resume(run.key, answer)
    assert await run.result() is False


async def test_an_answer_to_a_try_that_is_over_is_not_that_of_the_next(stage: Stage) -> None:
    fan = [{"name": "a", "steps": [step("ask", suspend={"message": "Well?"})]}]
    run = await stage.start([step("fan", parallel=fan, timeout="1h", retry={"maxAttempts": 2, "delay": 0})])
    await stage.until(run.key, awaits("fan[a]/ask"))
    stage.move_clock(3600)
    await stage.until(run.key, awaits("fan@2[a]/ask"))
    await stage.runtimes[0].runs.resume(run.key, "yes")
    assert await run.result() == {"a": "yes"}


async def test_the_whole_timeout_counts_while_the_run_waits(stage: Stage) -> None:
    spec = {
        "steps": [step("a", input={}), step("ask", suspend={})],
        "timeout": "1h",
        "onFailure": [step("h", input={"error": "{{ error.reason }}"})],
    }
    run = await stage.start(spec)
    await stage.parked(run)
    stage.move_clock(3600)
    assert ended(await run.status())[:2] == ("Failed", "Timeout")
    assert stage.calls[-1] == ("/h#0", {"error": "Timeout"})


async def test_a_handler_that_waits_finds_what_it_found_after_a_restart(stage: Stage) -> None:
    handler = {"steps": [step("ask", suspend={}), step("h", set="{{ [error.step, error.attempts, input] }}")]}
    steps = [step("a", input={"fail": 9}, retry={"delay": 0}, onFailure=handler)]
    run = await stage.start(steps)
    await stage.until(run.key, awaits("a.onFailure/ask"))
    await stage.runtimes[0].runs.resume(run.key, "answer")
    assert await run.result() == ["a", 3, "answer"]
    assert len(stage.calls) == 3


# ------------------------------------------------------------------------------------------------ restarts

RESTARTED: dict[str, tuple[list[JsonObject], Any, list[str]]] = {
    "loop": (
        [
            step(
                "l",
                loop={
                    "until": "iteration == 3",
                    "steps": [
                        step("x", input={"gate": "{{ iteration == 2 ? 'g' : '' }}", "result": "{{ iteration }}"}),
                        step("y", set="{{ input * 10 }}", output={"type": "y"}),
                    ],
                },
            ),
            step("end", set="{{ [input, data.y] }}"),
        ],
        [30, 30],
        ["/x#0", "/x#1", "/x#2", "/x#2", "/x#3"],
    ),
    "foreach": (
        [
            step(
                "each",
                foreach={
                    "items": [0, 1, 2, 3],
                    "steps": [step("x", input={"gate": "{{ item == 2 ? 'g' : '' }}", "result": "{{ item }}"})],
                },
            )
        ],
        [0, 1, 2, 3],
        ["/all#0[0]/x#0", "/all#0[1]/x#0", "/all#0[2]/x#0", "/all#0[2]/x#0", "/all#0[3]/x#0"],
    ),
    "parallel": (
        [
            step(
                "fan",
                parallel=[
                    {
                        "name": "a",
                        "steps": [step("a1", input={"result": 1}), step("a2", input={"gate": "g", "result": 2})],
                    },
                    {"name": "b", "steps": [step("b1", input={"result": 3}), step("b2", set="{{ input }}")]},
                ],
            ),
            step("end", set="{{ input }}"),
        ],
        {"a": 2, "b": 3},
        ["/all#0[a]/a1#0", "/all#0[a]/a2#0", "/all#0[a]/a2#0", "/all#0[b]/b1#0"],
    ),
    "by hand": (
        [
            step("x", input={"gate": ""}, output="{{ {'n': 0} }}"),
            step("b", branch=[{"when": "!('n' in steps) || steps.n.output.n < 3", "next": "n"}], next="END"),
            step("n", set={"n": "{{ 'n' in steps ? steps.n.output.n + 1 : 1 }}"}, next="again"),
            step("again", input={"gate": "{{ steps.n.output.n == 2 ? 'g' : '' }}", "result": 1}, next="b"),
        ],
        1,
        ["/again#0", "/again#1", "/again#1", "/again#2", "/x#0"],
    ),
    "retry and handler": (
        [
            step(
                "a",
                input={"fail": 9, "result": 0},
                retry={"maxAttempts": 2, "delay": 0},
                onFailure={"steps": [step("h", input={"gate": "g", "result": "{{ error.attempts }}"})]},
            )
        ],
        2,
        ["/a#0", "/a#1", "/h#0", "/h#0"],
    ),
    "timeouts": (
        [
            step(
                "l",
                loop={"until": "true", "steps": [step("x", input={"result": 1}), step("y", input={"gate": "g"})]},
                timeout="1h",
            )
        ],
        {"gate": "g"},
        ["/l.within#0/x#0", "/l.within#0/y#0", "/l.within#0/y#0"],
    ),
}


@pytest.mark.parametrize("name", RESTARTED)
async def test_a_run_goes_on_where_it_was_when_the_runtime_is_opened_again(stage: Stage, name: str) -> None:
    steps, expected, paths = RESTARTED[name]
    first = await stage.on_file()
    run = await stage.start(steps, runtime=first, namespace="default")
    await stage.entry("g").wait()
    # What is recorded at once with it may still be on its way to the file; closing waits for it.
    await first.aclose()
    stage.gate("g").set()
    second = await stage.on_file()
    await second.runs.start()
    status = await second.runs.wait(run.key)
    assert (status["phase"], status.get("output")) == ("Succeeded", expected)
    assert sorted(stage.paths()) == paths, "what had ended is not repeated"
    assert all(len(keys) == 1 for keys in stage.keys.values())


async def test_a_suspended_run_is_answered_in_another_process(stage: Stage) -> None:
    first = await stage.on_file()
    body = [
        step("ask", suspend={"schema": YES}),
        step("do", input={"n": "{{ item }}", "ok": "{{ steps.ask.output.ok }}"}),
    ]
    run = await stage.start([step("each", foreach={"items": [1, 2], "steps": body})], runtime=first)
    await stage.until(run.key, awaits("each[0]/ask"))
    await first.aclose()
    second = await stage.on_file()
    await second.runs.start()
    assert await second.runs.resume(run.key, {"ok": True}) == "each[0]/ask"
    await stage.until(run.key, awaits("each[1]/ask"))
    await second.runs.resume(run.key, {"ok": False})
    status = await second.runs.wait(run.key)
    assert status["output"] == [{"n": 1, "ok": True}, {"n": 2, "ok": False}]
