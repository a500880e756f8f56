"""Processes that execute runs are killed at every point; what is left must go on as if nothing had happened.

``KASTRA_CRASH_ROUNDS=N``: so many rounds of kills at random moments for each program (default 2).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.protocols.store import Store
from kastra_plugin_libsql.store import open_store

RUN = ResourceKey(MAIN_GROUP, "Run", "default", "the-run")
KILLED = -signal.SIGKILL
ROUNDS = int(os.environ.get("KASTRA_CRASH_ROUNDS", "2"))
DOOMS = ("before", "amid", "after")
TARGETS = {"agent": ("agents/solo", "add them up"), "family": ("agents/chief", "add them up")}
PROGRAMS = {name: ("programs/program", name) for name in ("sleep", "pay")}


class Process:
    """A process of the worker module."""

    def __init__(self, pid: asyncio.Future[int], code: asyncio.Future[int]) -> None:
        self._pid, self._code = pid, code

    async def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(await self._pid, number)

    async def end(self) -> int:
        """The exit code; negative: the signal that ended it."""
        async with asyncio.timeout(60):
            return await self._code


class Nursery:
    """The process that forks the workers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._jobs: dict[int, tuple[asyncio.Future[int], asyncio.Future[int]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            news = json.loads(line)
            pid, code = self._jobs[news["job"]]
            if "pid" in news:
                pid.set_result(news["pid"])
            else:
                code.set_result(news["code"])

    def begin(self, job: dict[str, Any]) -> Process:
        assert self._process.stdin is not None
        loop, number = asyncio.get_running_loop(), next(self._numbers)
        self._jobs[number] = loop.create_future(), loop.create_future()
        self._process.stdin.write(json.dumps({**job, "id": number}).encode() + b"\n")
        return Process(*self._jobs[number])

    async def aclose(self) -> None:
        for pid, code in self._jobs.values():
            if pid.done() and not code.done():
                os.kill(pid.result(), signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        self._reader.cancel()


class Place:
    """A database file with the resources of the test, and the log of what operations did to the world."""

    def __init__(self, nursery: Nursery, directory: Path, prepared: bytes | None) -> None:
        directory.mkdir(parents=True)
        self.nursery, self.directory, self.log = nursery, directory, directory / "log"
        self.url = f"file:{directory / 'kastra.db'}"
        self.killed = 0
        self.after_commit: Counter[str] = Counter()
        """By idempotency key of what was recorded: how often it had been carried out by then."""
        if prepared is not None:
            (directory / "kastra.db").write_bytes(prepared)

    def begin(self, do: str, program: str = "", **more: Any) -> Process:
        target, given = {**TARGETS, **PROGRAMS}.get(program, ("programs/program", program))
        place = {"project": str(self.directory), "store": self.url, "log": str(self.log)}
        return self.nursery.begin({"do": do, "target": target, "input": given, **place, **more})

    def calls(self) -> Counter[str]:
        """Executions by idempotency key."""
        if not self.log.exists():
            return Counter()
        return Counter(line.split()[1] for line in self.log.read_text(encoding="utf-8").splitlines())

    def names(self) -> Counter[str]:
        if not self.log.exists():
            return Counter()
        return Counter(line.split()[0] for line in self.log.read_text(encoding="utf-8").splitlines())

    async def look(self, reading: Callable[[Store], Awaitable[Any]]) -> Any:
        store = await open_store(self.url, {})
        try:
            return await reading(store)
        finally:
            await store.aclose()

    async def after_kill(self) -> None:
        """Remember what is recorded now: nothing of that may be carried out again."""
        self.killed += 1
        calls = self.calls()

        async def recorded(store: Store) -> None:
            for run in (await store.resources.list(MAIN_GROUP, "Run")).items:
                uid = run.metadata.uid
                for line in await store.journal.records(uid):
                    key = hashlib.sha256(f"{uid}{line.path}".encode()).hexdigest()
                    self.after_commit.setdefault(key, calls[key])

        await self.look(recorded)

    async def phase(self) -> str:
        async def read(store: Store) -> str:
            run = await store.resources.get(RUN)
            return str(run.status.get("phase")) if run is not None else ""

        return str(await self.look(read))

    async def outcome(self) -> dict[str, Any]:
        """What a run leaves behind, without uids and times; asserts what must hold however often it was killed."""
        calls = self.calls()

        async def read(store: Store) -> dict[str, Any]:
            assert await store.journal.claims() == []
            assert not [lease for lease in await store.leases.list("worker/") if _alive(lease.data["pid"])]
            runs = (await store.resources.list(MAIN_GROUP, "Run")).items
            messages = await store.threads.messages("default", "t")
            return {
                "runs": sorted([_essence(run) for run in runs], key=str),
                "messages": [stored.message for stored in messages],
                "paths": sorted([line.path for run in runs for line in await store.journal.records(run.metadata.uid)]),
            }

        found: dict[str, Any] = await self.look(read)
        for key, count in self.after_commit.items():
            assert calls[key] == count, "an operation whose result was recorded was carried out again"
        assert all(count <= 1 + self.killed for count in calls.values())
        return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _essence(run: Resource) -> dict[str, Any]:
    status, spec = run.status, run.spec
    kept = {name: status.get(name) for name in ("phase", "output", "reason", "message", "usage")}
    return {**kept, "target": spec["target"]["name"], "child": "parent" in spec}


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    worker = Path(__file__).with_name("crash_worker.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, worker, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    made = Nursery(process)
    yield made
    await made.aclose()


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Place]:
    """Makes places that are alike."""
    first = Place(nursery, tmp_path / "first", None)
    assert await first.begin("prepare").end() == 0
    prepared = (first.directory / "kastra.db").read_bytes()
    numbers = itertools.count()
    return lambda: Place(nursery, tmp_path / str(next(numbers)), prepared)


async def undisturbed(place: Callable[[], Place], program: str) -> tuple[dict[str, Any], Counter[str]]:
    calm = place()
    assert await calm.begin("run", program).end() == 0
    assert set(calm.calls().values()) == {1}
    return await calm.outcome(), calm.names()


async def to_the_end(here: Place, program: str) -> None:
    assert await here.begin("run", program).end() == 0


@pytest.mark.parametrize("program", [*TARGETS, *PROGRAMS])
async def test_a_run_killed_at_any_commit_ends_as_if_it_had_not_been(place: Callable[[], Place], program: str) -> None:
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


def _same(found: dict[str, Any], here: Place, calm: dict[str, Any], names: Counter[str], program: str) -> None:
    if program == "pay":
        assert here.names()["pay"] <= 1
        output = found["runs"][0]["output"]
        assert output[1] in ("pay", "OutcomeUnknown")
        assert output[1] == "OutcomeUnknown" or here.names()["pay"] == 1
        found["runs"][0]["output"] = calm["runs"][0]["output"]
    assert found == calm
    assert {name: count for name, count in here.names().items() if name != "pay"}.keys() <= names.keys()


async def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(place: Callable[[], Place]) -> None:
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
    place: Callable[[], Place], program: str
) -> None:
    calm, names = await undisturbed(place, program)
    for seed in range(ROUNDS):
        chance, here = random.Random(seed), place()
        for _ in range(chance.randint(1, 4)):
            process = here.begin("run", program)
            await asyncio.sleep(chance.uniform(0.0, 0.25))
            try:
                await process.kill()
            except ProcessLookupError:
                break
            if await process.end() == 0:
                break
            await here.after_kill()
        await to_the_end(here, program)
        _same(await here.outcome(), here, calm, names, program)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_run_that_was_only_created_is_executed_by_the_next_process(place: Callable[[], Place]) -> None:
    calm, names = await undisturbed(place, "agent")
    here = place()
    # Its end of the lease is far away: that its process is gone is seen at once.
    assert await here.begin("run", "agent", doom=[1, "after"], lease_ttl_s=3600).end() == KILLED
    assert here.calls() == Counter()
    assert await here.begin("serve").end() == 0
    _same(await here.outcome(), here, calm, names, "agent")


async def test_a_killed_process_loses_no_sleeping_run(place: Callable[[], Place]) -> None:
    calm, names = await undisturbed(place, "sleep")
    here = place()
    process = here.begin("start", "sleep")
    await _until(lambda: _is(here, "Suspended"))
    await process.kill()
    assert await process.end() == KILLED
    await here.after_kill()
    await asyncio.sleep(0.4)
    assert await here.begin("serve").end() == 0
    _same(await here.outcome(), here, calm, names, "sleep")


@pytest.mark.parametrize("killed_first", [True, False])
async def test_a_signal_that_nobody_heard_wakes_the_run_in_the_next_process(
    place: Callable[[], Place], killed_first: bool
) -> None:
    here = place()
    process = here.begin("start", "signal")
    await _until(lambda: _is(here, "Suspended"))
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
    place: Callable[[], Place], at: int, when: str
) -> None:
    here = place()
    process = here.begin("start", "signal")
    await _until(lambda: _is(here, "Suspended"))
    await process.kill()
    await process.end()
    await here.after_kill()
    assert await here.begin("signal", payload=7).end() == 0
    assert await here.begin("serve", doom=[at, when]).end() == KILLED
    await here.after_kill()
    assert await here.begin("serve").end() == 0
    [run] = (await here.outcome())["runs"]
    assert run["output"] == ["before", 7, "after"]


async def test_a_signal_from_another_process_wakes_the_run_at_once(place: Callable[[], Place]) -> None:
    here = place()
    worker = here.begin("run", "signal")
    await _until(lambda: _is(here, "Suspended"))
    waiter = here.begin("wait")
    assert await here.begin("signal", payload="go on").end() == 0
    assert await worker.end() == 0
    assert await waiter.end() == 0
    [run] = (await here.outcome())["runs"]
    assert run["output"] == ["before", "go on", "after"]


async def test_a_run_is_cancelled_from_another_process_and_the_waiting_one_sees_it(
    place: Callable[[], Place],
) -> None:
    here = place()
    worker = here.begin("run", "long")
    await _until(lambda: _called(here, "long"))
    waiter = here.begin("wait")
    assert await here.begin("cancel").end() == 0
    assert await waiter.end() == 0
    assert await worker.end() == 0
    found = await here.outcome()
    assert [run["phase"] for run in found["runs"]] == ["Cancelled"]
    assert found["messages"] == []
    assert here.names() == {"before": 1, "long": 1}


async def test_a_run_whose_process_was_killed_is_cancelled_for_good(place: Callable[[], Place]) -> None:
    here = place()
    worker = here.begin("run", "long")
    await _until(lambda: _called(here, "long"))
    await worker.kill()
    await worker.end()
    assert await here.begin("cancel").end() == 0
    assert await here.begin("serve").end() == 0
    assert [run["phase"] for run in (await here.outcome())["runs"]] == ["Cancelled"]
    assert here.names() == {"before": 1, "long": 1}


async def test_a_cancel_that_its_process_did_not_live_to_see_holds(place: Callable[[], Place]) -> None:
    here = place()
    worker = here.begin("run", "long")
    await _until(lambda: _called(here, "long"))
    await worker.kill(signal.SIGSTOP)
    assert await here.begin("cancel").end() == 0
    await worker.kill()
    await worker.end()
    assert await here.begin("serve").end() == 0
    assert [run["phase"] for run in (await here.outcome())["runs"]] == ["Cancelled"]
    assert here.names() == {"before": 1, "long": 1}


async def test_a_worker_that_slept_past_its_lease_writes_nothing(place: Callable[[], Place]) -> None:
    """Two workers are alive; the first is stopped in the middle of an operation, and the second takes its run."""
    here = place()
    first = here.begin("run", "long", lease_ttl_s=0.6)
    await _until(lambda: _called(here, "long"))
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


async def test_of_two_workers_that_are_awake_one_executes_and_both_see_the_end(place: Callable[[], Place]) -> None:
    here = place()
    first = here.begin("run", "long", lease_ttl_s=0.6)
    await _until(lambda: _called(here, "before"))
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


async def _is(here: Place, phase: str) -> bool:
    return await here.phase() == phase


async def _called(here: Place, name: str) -> bool:
    return here.names()[name] > 0
