"""Processes that carry out workflows are killed at every commit; what is left must go on as if nothing had happened.

``KASTRA_CRASH_ROUNDS=N``: so many rounds of kills at random commits (default 2); with 3 and more a process is also
killed before, amid and after each commit, not at one of these moments in rotation.
"""

from __future__ import annotations

import asyncio
import functools
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from crash_nursery import DOOMS, KILLED, ROUNDS, Nursery, Place, nursery_of, places, until
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.protocols.store import Store

AT_ONCE = 4
"""Places at which something runs at the same time: the workflows mostly wait."""


@attrs.frozen
class Case:
    """A workflow, and what it must come to."""

    input: Any
    output: Any = None
    reason: str = "Succeeded"
    timed: Mapping[str, int] = attrs.field(factory=dict)
    """What may or may not have been begun when its time was over, as that without a process counts; how often."""
    raced: bool = False
    """What is cancelled may have got more or less far; it leaves no more operations behind than without kills."""
    least: int = 5
    """Commits that it has at least."""


CASES = {
    "linear": Case({"word": "done"}, {"sum": 12, "leaf": 12, "doubled": 6, "last": "done 12"}),
    "branches": Case({"size": 3}, {"ticks": 3, "size": 8, "all": {"one": "one", "three": "three"}}),
    "wait-all": Case(
        None,
        {
            "troubled": {"why": "Sour", "step": "bad"},
            "found": {"plain": "plain", "called": 10, "slept": "after-nap"},
            "napped": "after-nap",
        },
    ),
    "cancel-all": Case(None, "mended Broke of break, 12", raced=True),
    "cancel-first": Case(None, "Broke", raced=True),
    "items": Case(
        {"numbers": [1, 2, 3]},
        {
            "squares": [2, 4, 6],
            "some": ["14, says the helper"] * 2,
            "errors": [{"index": 1, "reason": "Moody", "message": "try1 is not in the mood"}],
            "all": "stop1 is not in the mood",
        },
        raced=True,
    ),
    "loops": Case(
        None, {"while": 8, "until": 4, "stopped": 1, "failed": "LoopLimit", "inner": ["inner1-1", "inner2-1"]}
    ),
    "waits": Case(
        None,
        {
            "early": {"came": "first"},
            "came": {"from": "outside"},
            "given": {"approved": True},
            "both": {"asked": "after-too", "slept": "after-nap", "called": "leaf-after"},
            "late": "Timeout",
            "unanswered": "Timeout",
            "each": [7, 8],
        },
    ),
    "tries": Case(
        None,
        {
            "flaky": "flaky",
            "hopeless": "Hopeless after 2",
            "slow": "Timeout after 2",
            "tool": "Timeout",
            "child": "Timeout",
            "agent": "Timeout",
            "bad": "LeafBroke after 2",
            "block": "Timeout",
            "last": ["again-a", "again-b"],
        },
        timed={
            "slow-op": 2,
            "stuck": 2,
            "chat": 1,
            "stuck-begin": 2,
            "stuck-stay": 2,
            "in-block": 1,
            "stay-in-block": 1,
        },
    ),
    "whole-timeout": Case(None, None, "Timeout", timed={"begin": 1, "hang-op": 1, "stuck-begin": 1, "stuck-stay": 1}),
    "fails": Case(None, None, "GaveUp"),
    "rescued": Case(None, {"instead": "LeafBroke"}),
    "early-success": Case(None, {"won": "b"}, raced=True),
}


class Spot(Place):
    """A place where workflows run."""

    def of(self, *names: str) -> Spot:
        """Itself, for runs of these workflows."""
        self.runs = {name: (f"workflows/{name}", CASES[name].input if name in CASES else None) for name in names}
        return self

    async def ran(self, **more: Any) -> int:
        return await self.begin("run", **more).end()


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with nursery_of("workflow_worker.py") as made:
        yield made


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Spot]:
    """Makes places that are alike."""
    return await places(nursery, tmp_path, Spot)


@attrs.frozen
class Calm:
    """What an undisturbed run left behind."""

    outcome: dict[str, Any]
    keys: Counter[str]
    commits: int


async def undisturbed(place: Callable[[], Spot], name: str) -> Calm:
    here = place().of(name)
    assert await here.ran(census=str(here.directory / "census")) == 0
    assert set(here.calls().values()) == {1}
    assert here.keys() == here.names()
    calm = Calm(await here.outcome(), here.keys(), here.commits())
    case = CASES[name]
    [run] = [run for run in calm.outcome["runs"] if not run["child"]]
    assert (run["output"], run["reason"]) == (case.output, case.reason)
    assert run["phase"] == ("Succeeded" if case.reason == "Succeeded" else "Failed")
    assert not [done for done in calm.keys if done.startswith(("not-reached", "never", "nothing"))]
    return calm


async def alike(here: Spot, name: str, calm: Calm) -> None:
    """Assert that a run that was killed left behind what an undisturbed one did."""
    case, found, expected = CASES[name], await here.outcome(), calm.outcome
    keys = Counter({name: count for name, count in here.keys().items() if name not in case.timed})
    assert keys == calm.keys - Counter(case.timed), "what was carried out again had the same idempotency key"
    assert here.keys() - keys <= Counter(case.timed)
    if case.timed or case.raced:
        found, expected = _certain(found, case), _certain(expected, case)
    assert found == expected


def _certain(outcome: dict[str, Any], case: Case) -> dict[str, Any]:
    """What does not depend on how far that came which was cancelled."""
    runs = [{**run, "usage": None} for run in outcome["runs"]]
    if case.timed:
        runs = [run for run in runs if run["phase"] != "Cancelled"]
    return {"runs": sorted(runs, key=str), "messages": outcome["messages"]}


async def _all(work: list[Callable[[], Awaitable[None]]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(piece: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await piece()

    async with asyncio.TaskGroup() as group:
        for piece in work:
            group.create_task(one(piece))


@pytest.mark.parametrize("name", CASES)
async def test_a_workflow_killed_at_any_commit_ends_as_if_it_had_not_been(place: Callable[[], Spot], name: str) -> None:
    calm = await undisturbed(place, name)
    assert calm.commits >= CASES[name].least
    shift = sorted(CASES).index(name)

    async def kill(at: int, when: str) -> None:
        here = place().of(name)
        code = await here.ran(doom=[at, when])
        if code != 0:  # else it had fewer commits than that: they depend on what fell together
            assert code == KILLED
            await here.after_kill()
            assert await here.ran() == 0
        await alike(here, name, calm)

    moments = [
        (at, when)
        for at in range(1, calm.commits + 1)
        for number, when in enumerate(DOOMS)
        if ROUNDS > 2 or number == (at + shift) % len(DOOMS)
    ]
    await _all([functools.partial(kill, at, when) for at, when in moments])


@pytest.mark.parametrize("name", ["linear", "cancel-all", "waits", "tries"])
async def test_a_workflow_killed_again_and_again_ends_as_if_it_had_not_been(
    place: Callable[[], Spot], name: str
) -> None:
    """The processes live for a few commits each, at first for hardly more than it takes to claim the runs."""
    calm = await undisturbed(place, name)
    here = place().of(name)
    for lives in range(100):
        code = await here.ran(doom=[4 + lives // 3, DOOMS[lives % len(DOOMS)]])
        if code == 0:
            break
        assert code == KILLED
        await here.after_kill()
    assert here.killed > 3
    await alike(here, name, calm)


async def test_runs_of_a_killed_process_go_on_in_another_one_that_lives(place: Callable[[], Spot]) -> None:
    """Two processes, all workflows at once; now the one is killed, now the other."""
    calm = place().of(*CASES)
    assert await calm.ran(census=str(calm.directory / "census")) == 0
    expected = _tops(await calm.outcome())
    assert {name: run["reason"] for name, run in expected.items()} == {name: CASES[name].reason for name in CASES}
    for seed in range(ROUNDS):
        here = place().of(*CASES)
        await here.relay(random.Random(seed), calm.commits(), lease_ttl_s=0.9)
        assert _tops(await here.outcome()) == expected
        assert here.keys() <= calm.keys() | sum((Counter(case.timed) for case in CASES.values()), Counter())


def _tops(outcome: dict[str, Any]) -> dict[str, Any]:
    """The runs that are no children, by workflow, without what depends on how far that came which was cancelled."""
    return {run["target"]: {**run, "usage": None} for run in outcome["runs"] if not run["child"]}


async def test_a_live_process_takes_over_what_a_killed_one_left_without_being_told(place: Callable[[], Spot]) -> None:
    here = place().of("long")
    first = here.begin("run", lease_ttl_s=3600)
    second = here.begin("serve", lease_ttl_s=0.9)
    await until(lambda: _called(here, "leaf-long"))
    await first.kill()
    assert await first.end() == KILLED
    await here.after_kill()
    assert await second.end() == 0
    assert {run["phase"] for run in (await here.outcome())["runs"]} == {"Succeeded"}
    assert here.names() == {"before": 1, "long": 2, "leaf-long": 2, "quick": 1, "after": 1}


async def test_a_process_that_slept_past_its_lease_writes_nothing_of_its_workflows(place: Callable[[], Spot]) -> None:
    """The first is stopped in the middle of two operations, one of a child; the second takes both runs."""
    here = place().of("long")
    first = here.begin("run", lease_ttl_s=0.6)
    await until(lambda: _called(here, "long", "leaf-long"))
    await here.stop(first)
    second = here.begin("serve", lease_ttl_s=0.6)
    assert await second.end() == 0
    before = await here.look(_everything)
    await first.kill(signal.SIGCONT)
    assert await first.end() == 0, "it sees that the runs are over"
    assert await here.look(_everything) == before
    here.killed = 1
    found = await here.outcome()
    [run] = [run for run in found["runs"] if not run["child"]]
    assert run["output"] == {"long": "long", "long-child": 10}
    assert here.names() == {"before": 1, "long": 2, "leaf-long": 2, "quick": 1, "after": 1}


async def _everything(store: Store) -> Any:
    runs = (await store.resources.list(MAIN_GROUP, "Run")).items
    return [run.to_manifest() for run in runs], [await store.journal.records(run.metadata.uid) for run in runs]


async def _called(here: Spot, *names: str) -> bool:
    return set(names) <= here.names().keys()
