"""Processes that execute runs are killed at every point; what is left must go on as if nothing had happened.

``KASTRA_CRASH_ROUNDS=N``: so many rounds of kills at random moments for each program (default 2).
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from crash_nursery import DOOMS, KILLED, ROUNDS, Nursery, Place, Process, nursery_of, places, until
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.protocols.store import Store

RUN = "the-run"
TARGETS = {"agent": ("agents/solo", "add them up"), "family": ("agents/chief", "add them up")}
PROGRAMS = {name: ("programs/program", name) for name in ("sleep", "pay")}


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with nursery_of("crash_worker.py") as made:
        yield made


class Spot(Place):
    """A place where one program runs."""

    def begin(self, do: str, program: str = "", **more: Any) -> Process:
        run = {**TARGETS, **PROGRAMS}.get(program, ("programs/program", program))
        return super().begin(do, **{"runs": {RUN: run}, "thread": "t", **more})


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Spot]:
    """Makes places that are alike."""
    return await places(nursery, tmp_path, Spot)


async def undisturbed(place: Callable[[], Spot], program: str) -> tuple[dict[str, Any], Counter[str]]:
    calm = place()
    assert await calm.begin("run", program).end() == 0
    assert set(calm.calls().values()) == {1}
    return await calm.outcome(), calm.names()


async def to_the_end(here: Spot, program: str) -> None:
    assert await here.begin("run", program).end() == 0


@pytest.mark.parametrize("program", [*TARGETS, *PROGRAMS])
async def test_a_run_killed_at_any_commit_ends_as_if_it_had_not_been(place: Callable[[], Spot], program: str) -> None:
    calm, names = await undisturbed(place, program)
    assert calm["runs"][-1]["phase"] == "Succeeded"
    survivors: set[str] = set()
    at = 0
    while len(survivors) < len(DOOMS):
        at += 1
        for when in DOOMS:
            if when in survivors:
                continue
            here = place()
            code = await here.begin("run", program, doom=[at, when]).end()
            if code == 0:  # it has fewer commits than that
                survivors.add(when)
            else:
                assert code == KILLED
                await here.after_kill()
                await to_the_end(here, program)
            _same(await here.outcome(), here, calm, names, program)
    assert at > 4, "there are more commits than start and end"


def _same(found: dict[str, Any], here: Spot, calm: dict[str, Any], names: Counter[str], program: str) -> None:
    if program == "pay":
        assert here.names()["pay"] <= 1
        output = found["runs"][0]["output"]
        assert output[1] in ("pay", "OutcomeUnknown")
        assert output[1] == "OutcomeUnknown" or here.names()["pay"] == 1
        found["runs"][0]["output"] = calm["runs"][0]["output"]
    assert found == calm
    assert {name: count for name, count in here.names().items() if name != "pay"}.keys() <= names.keys()


async def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(place: Callable[[], Spot]) -> None:
    """The processes live for a few commits each, at first for hardly more than it takes to claim the runs."""
    calm, names = await undisturbed(place, "family")
    here = place()
    for lives in range(100):
        code = await here.begin("run", "family", doom=[4 + lives // 4, "before"]).end()
        if code == 0:
            break
        assert code == KILLED
        await here.after_kill()
    assert here.killed > 3
    _same(await here.outcome(), here, calm, names, "family")


@pytest.mark.parametrize("program", [*TARGETS, *PROGRAMS])
async def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(
    place: Callable[[], Spot], program: str
) -> None:
    calm, names = await undisturbed(place, program)
    for seed in range(ROUNDS):
        chance, here = random.Random(seed), place()
        for _ in range(chance.randint(1, 4)):
            process = here.begin("run", program)
            await asyncio.sleep(chance.uniform(0.0, 0.25))
            if not await process.kill() or await process.end() == 0:
                break
            await here.after_kill()
        await to_the_end(here, program)
        _same(await here.outcome(), here, calm, names, program)


async def test_a_run_that_was_only_created_is_executed_by_the_next_process(place: Callable[[], Spot]) -> None:
    calm, names = await undisturbed(place, "agent")
    here = place()
    # Its end of the lease is far away: that its process is gone is seen at once.
    assert await here.begin("run", "agent", doom=[1, "after"], lease_ttl_s=3600).end() == KILLED
    assert here.calls() == Counter()
    assert await here.begin("serve").end() == 0
    _same(await here.outcome(), here, calm, names, "agent")


async def test_a_killed_process_loses_no_sleeping_run(place: Callable[[], Spot]) -> None:
    calm, names = await undisturbed(place, "sleep")
    here = place()
    process = here.begin("start", "sleep")
    await until(lambda: _is(here, "Suspended"))
    await process.kill()
    assert await process.end() == KILLED
    await here.after_kill()
    await asyncio.sleep(0.4)
    assert await here.begin("serve").end() == 0
    _same(await here.outcome(), here, calm, names, "sleep")


@pytest.mark.parametrize("killed_first", [True, False])
async def test_a_signal_that_nobody_heard_wakes_the_run_in_the_next_process(
    place: Callable[[], Spot], killed_first: bool
) -> None:
    here = place()
    process = here.begin("start", "signal")
    await until(lambda: _is(here, "Suspended"))
    if killed_first:
        await process.kill()
        assert await process.end() == KILLED
    else:
        await process.kill(signal.SIGSTOP)
    assert await here.begin("signal", payload={"by": "me"}, signal_id="1").end() == 0
    assert await here.begin("signal", payload={"by": "again"}, signal_id="1").end() == 0
    if not killed_first:
        await process.kill()
        assert await process.end() == KILLED
    await here.after_kill()
    assert await here.begin("serve").end() == 0
    [run] = (await here.outcome())["runs"]
    assert run["output"] == ["before", {"by": "me"}, "after"]
    assert here.names() == {"before": 1, "after": 1}


@pytest.mark.parametrize("when", DOOMS)
@pytest.mark.parametrize("at", [1, 2])
async def test_a_process_killed_while_it_takes_a_signalled_run_over_loses_nothing(
    place: Callable[[], Spot], at: int, when: str
) -> None:
    here = place()
    process = here.begin("start", "signal")
    await until(lambda: _is(here, "Suspended"))
    await process.kill()
    await process.end()
    await here.after_kill()
    assert await here.begin("signal", payload=7).end() == 0
    assert await here.begin("serve", doom=[at, when]).end() == KILLED
    await here.after_kill()
    assert await here.begin("serve").end() == 0
    [run] = (await here.outcome())["runs"]
    assert run["output"] == ["before", 7, "after"]


async def test_a_signal_from_another_process_wakes_the_run_at_once(place: Callable[[], Spot]) -> None:
    here = place()
    worker = here.begin("run", "signal")
    await until(lambda: _is(here, "Suspended"))
    waiter = here.begin("wait")
    assert await here.begin("signal", payload="go on").end() == 0
    assert await worker.end() == 0
    assert await waiter.end() == 0
    [run] = (await here.outcome())["runs"]
    assert run["output"] == ["before", "go on", "after"]


async def test_a_run_is_cancelled_from_another_process_and_the_waiting_one_sees_it(
    place: Callable[[], Spot],
) -> None:
    here = place()
    worker = here.begin("run", "long")
    await until(lambda: _called(here, "long"))
    waiter = here.begin("wait")
    assert await here.begin("cancel").end() == 0
    assert await waiter.end() == 0
    assert await worker.end() == 0
    found = await here.outcome()
    assert [run["phase"] for run in found["runs"]] == ["Cancelled"]
    assert found["messages"] == []
    assert here.names() == {"before": 1, "long": 1}


async def test_a_run_whose_process_was_killed_is_cancelled_for_good(place: Callable[[], Spot]) -> None:
    here = place()
    worker = here.begin("run", "long")
    await until(lambda: _called(here, "long"))
    await worker.kill()
    await worker.end()
    assert await here.begin("cancel").end() == 0
    assert await here.begin("serve").end() == 0
    assert [run["phase"] for run in (await here.outcome())["runs"]] == ["Cancelled"]
    assert here.names() == {"before": 1, "long": 1}


async def test_a_cancel_that_its_process_did_not_live_to_see_holds(place: Callable[[], Spot]) -> None:
    here = place()
    worker = here.begin("run", "long")
    await until(lambda: _called(here, "long"))
    await worker.kill(signal.SIGSTOP)
    assert await here.begin("cancel").end() == 0
    await worker.kill()
    await worker.end()
    assert await here.begin("serve").end() == 0
    assert [run["phase"] for run in (await here.outcome())["runs"]] == ["Cancelled"]
    assert here.names() == {"before": 1, "long": 1}


async def test_a_worker_that_slept_past_its_lease_writes_nothing(place: Callable[[], Spot]) -> None:
    """Two workers are alive; the first is stopped in the middle of an operation, and the second takes its run."""
    here = place()
    first = here.begin("run", "long", lease_ttl_s=0.6)
    await until(lambda: _called(here, "long"))
    await first.kill(signal.SIGSTOP)
    second = here.begin("run", "long", lease_ttl_s=0.6)
    assert await second.end() == 0
    before = await here.look(_everything)
    await first.kill(signal.SIGCONT)
    assert await first.end() == 0, "it sees that the run is over"
    assert await here.look(_everything) == before
    assert here.names() == {"before": 1, "long": 2, "after": 1}
    here.killed = 1
    found = await here.outcome()
    assert [run["output"] for run in found["runs"]] == [["before", "long", "after"]]
    assert len(found["messages"]) == 1


async def test_of_two_workers_that_are_awake_one_executes_and_both_see_the_end(place: Callable[[], Spot]) -> None:
    here = place()
    first = here.begin("run", "long", lease_ttl_s=0.6)
    await until(lambda: _called(here, "before"))
    second = here.begin("run", "long", lease_ttl_s=0.6)
    assert await first.end() == 0
    assert await second.end() == 0
    assert set(here.calls().values()) == {1}
    await here.outcome()


async def _everything(store: Store) -> Any:
    runs = (await store.resources.list(MAIN_GROUP, "Run")).items
    return (
        [run.to_manifest() for run in runs],
        [await store.journal.records(run.metadata.uid) for run in runs],
        await store.threads.messages("default", "t"),
    )


async def _is(here: Spot, phase: str) -> bool:
    return await here.phase(RUN) == phase


async def _called(here: Spot, name: str) -> bool:
    return here.names()[name] > 0
