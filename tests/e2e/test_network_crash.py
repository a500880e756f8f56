"""Processes that carry out networks, and agents with a memory, are killed at every commit; what is left must go on as
if nothing had happened: the same answer, usage, journal, thread and shared state.

``KASTRA_CRASH_ROUNDS=N``: so many rounds of kills at random commits (default 2); with 3 and more a process is also
killed before, amid and after each commit, not at one of these moments in rotation.
"""

from __future__ import annotations

import asyncio
import functools
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import attrs
import pytest

from crash_nursery import DOOMS, KILLED, ROUNDS, Nursery, Place, nursery_of, places, until
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource
from kastra_core.protocols.store import Store
from network_worker import SIZE, vector_of

AT_ONCE = 4
"""Places at which something runs at the same time."""
THREAD = "thread/default/t/network/default"
WRITES = {"Agent": "/state_set#0", "Workflow": "/append#0"}
"""Kind -> end of the journal path of the one update of the state that each member makes."""


@attrs.frozen
class Case:
    """A run of a network, and what it must come to."""

    asked: str
    output: str
    log: str
    """What the members appended to the shared state, one after the other."""
    least: int
    """Commits that it has at least."""


CASES = {
    "main": Case(
        "please do all of it",
        "<stamp-done> for stamp",
        "billing tech sales report ",
        40,
    ),
    "nearest": Case("invoices, coins, payment", "<billing-done> log was ''", "billing ", 8),
    "mixed": Case("invoices, coins, payment", "<tech-done> log was ''", "tech ", 8),
}


class Spot(Place):
    """A place where networks run, each in the thread ``t``."""

    def of(self, *names: str) -> Spot:
        """Itself, for runs of these networks."""
        self.runs = {name: (f"networks/{name}", CASES[name].asked) for name in names}
        return self

    async def ran(self, **more: Any) -> int:
        return await self.begin("run", **{"thread": "t", **more}).end()

    async def states(self, *, live: bool = False) -> dict[str, Any]:
        """Values by scope of all states that runs shared; asserts that an update is there if and only if its record
        is (``live``: if, as others go on meanwhile).
        """

        async def read(store: Store) -> dict[str, Any]:
            runs = (await store.resources.list(MAIN_GROUP, "Run")).items
            found: dict[str, Any] = {}
            for run in runs:
                shared = run.spec.get("shared")
                if shared is None:
                    continue
                target = run.spec["target"]
                paths = [line.path for line in await store.journal.records(run.metadata.uid)]
                state = await store.state.get_state(shared["scope"])
                end = WRITES.get(target["kind"])
                if end is not None:
                    recorded = any(path.endswith(end) for path in paths)
                    there = f"by-{target['name']}" in state
                    assert there == recorded or (live and there), (target, paths, state)
                found[_name_of(shared["scope"], runs)] = state
            return found

        states: dict[str, Any] = await self.look(read)
        return states


def _name_of(scope: str, runs: Sequence[Resource]) -> str:
    """A scope without the uid in it, which is another one in each place."""
    for run in runs:
        if scope.endswith(run.metadata.uid):
            return f"run/{run.spec['target']['name']}"
    return scope


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with nursery_of("network_worker.py") as made:
        yield made


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Spot]:
    """Makes places that are alike."""
    return await places(nursery, tmp_path, Spot)


@attrs.frozen
class Calm:
    """What an undisturbed run left behind."""

    outcome: dict[str, Any]
    states: dict[str, Any]
    keys: Counter[str]
    commits: int


async def undisturbed(place: Callable[[], Spot], name: str) -> Calm:
    here = place().of(name)
    assert await here.ran(census=str(here.directory / "census")) == 0
    assert set(here.calls().values()) == {1}
    calm = Calm(await here.outcome(), await here.states(), here.keys(), here.commits())
    case = CASES[name]
    [run] = [run for run in calm.outcome["runs"] if not run["child"]]
    assert (run["output"], run["reason"], run["phase"]) == (case.output, "Completed", "Succeeded")
    assert calm.states[f"{THREAD}/{name}"]["log"] == case.log
    assert [message["role"] for message in calm.outcome["messages"]] == ["user", "assistant"]
    return calm


async def alike(here: Spot, calm: Calm) -> None:
    """Assert that a run that was killed left behind what an undisturbed one did."""
    assert await here.outcome() == calm.outcome
    assert await here.states() == calm.states
    assert here.keys() == calm.keys, "what was carried out again had the same idempotency key"


async def _all(work: list[Callable[[], Awaitable[None]]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(piece: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await piece()

    async with asyncio.TaskGroup() as group:
        for piece in work:
            group.create_task(one(piece))


def _moments(commits: int, shift: int) -> list[tuple[int, str]]:
    return [
        (at, when)
        for at in range(1, commits + 1)
        for number, when in enumerate(DOOMS)
        if ROUNDS > 2 or number == (at + shift) % len(DOOMS)
    ]


@pytest.mark.parametrize("name", CASES)
async def test_a_network_killed_at_any_commit_ends_as_if_it_had_not_been(place: Callable[[], Spot], name: str) -> None:
    calm = await undisturbed(place, name)
    assert calm.commits >= CASES[name].least

    async def kill(at: int, when: str) -> None:
        here = place().of(name)
        code = await here.ran(doom=[at, when])
        if code != 0:  # else it had fewer commits than that: they depend on what fell together
            assert code == KILLED
            await here.after_kill()
            await here.states()
            assert await here.ran() == 0
        await alike(here, calm)

    await _all([functools.partial(kill, at, when) for at, when in _moments(calm.commits, sorted(CASES).index(name))])


async def test_a_network_killed_again_and_again_ends_as_if_it_had_not_been(place: Callable[[], Spot]) -> None:
    """The processes live for a few commits each."""
    calm = await undisturbed(place, "main")
    here = place().of("main")
    for lives in range(100):
        code = await here.ran(doom=[5 + lives // 3, DOOMS[lives % len(DOOMS)]])
        if code == 0:
            break
        assert code == KILLED
        await here.after_kill()
        await here.states()
    assert here.killed > 3
    await alike(here, calm)


async def test_networks_of_a_killed_process_go_on_in_another_one_that_lives(place: Callable[[], Spot]) -> None:
    """Two processes share the store; now the one is killed, now the other."""
    calm = place().of(*CASES)
    assert await calm.ran(thread=None, census=str(calm.directory / "census")) == 0
    outcome, states = _without_vectors(await calm.outcome()), await calm.states()
    for seed in range(ROUNDS):
        here = place().of(*CASES)
        look = functools.partial(here.states, live=True)
        await here.relay(random.Random(seed), calm.commits(), look, lease_ttl_s=0.9)
        assert _without_vectors(await here.outcome()) == outcome
        assert await here.states() == states
        assert here.keys() == calm.keys()


async def test_a_process_that_slept_past_its_lease_writes_nothing_to_the_state(place: Callable[[], Spot]) -> None:
    """The first is stopped while a member is at work, before it writes; the second takes the run and finishes it."""
    here = place()
    here.runs = {"slowly": ("networks/slowly", "take your time")}
    first = here.begin("run", thread="t", lease_ttl_s=0.6)

    async def at_work() -> bool:
        """It has nothing to record until its tool ends."""
        if not here.names()["slow"]:
            return False
        _, records, _ = await here.look(_everything)
        return any(line.path.endswith("/state_get#0") for lines in records for line in lines)

    await until(at_work)
    await here.stop(first)
    assert await here.begin("serve", thread="t", lease_ttl_s=0.6).end() == 0
    before = await here.look(_everything)
    await first.kill(signal.SIGCONT)
    assert await first.end() == 0, "it sees that the run is over"
    assert await here.look(_everything) == before
    assert await here.states() == {f"{THREAD}/slowly": {"log": "sloth ", "by-sloth": ANY}}
    here.killed = 1
    [run] = [run for run in (await here.outcome())["runs"] if not run["child"]]
    assert (run["output"], run["reason"]) == ("<sloth-done> log was ''", "Completed")
    assert here.names()["slow"] == 2
    assert here.keys()["slow"] == 1


async def _everything(store: Store) -> Any:
    runs = (await store.resources.list(MAIN_GROUP, "Run")).items
    records = [await store.journal.records(run.metadata.uid) for run in runs]
    return [run.to_manifest() for run in runs], records, await store.threads.messages("default", "t")


def _without_vectors(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without what embeddings used: a process makes the vectors of descriptions once, for whichever run comes first."""
    for run in outcome["runs"]:
        if run["target"] in ("nearest", "mixed"):
            run["usage"] = {**run["usage"], "inputTokens": None, "cost": None}
    outcome["runs"].sort(key=str)
    return outcome


# ---------------------------------------------------------------------------------------------- memory

TURNS = (
    "my dog is called rex",
    "my cat likes fish",
    "the car is red",
    "what does my cat like",
)
COLLECTION = f"memory/script/e/{SIZE}"


class Talk(Spot):
    """A place where an agent is asked something in the thread ``t``."""

    async def kept(self) -> dict[str, Any]:
        """All that the thread holds, without uids and times; asserts that what is written together is so."""

        async def read(store: Store) -> dict[str, Any]:
            runs = (await store.resources.list(MAIN_GROUP, "Run")).items
            names = {run.metadata.uid: run.metadata.name for run in runs}
            messages = await store.threads.messages("default", "t")
            assert store.vectors is not None
            vectors = []
            for match in await store.vectors.query(COLLECTION, vector_of(TURNS[-1]), k=100):
                uid, _, role = match.id.partition("/")
                about = {key: value for key, value in match.metadata.items() if key != "timeS"}
                vectors.append([names[uid], role, round(match.score, 5), about])
            states = {scope.rpartition("/")[2]: await store.state.get_state(scope) for scope in self.scopes()}
            done = {
                names[run.metadata.uid]: [line.path for line in await store.journal.records(run.metadata.uid)]
                for run in runs
            }
            assert {f"turn-{TURNS.index(said)}" for said in states.get("working", {}).values()} == {
                name for name, paths in done.items() if any(path.endswith("/working_memory_update#0") for path in paths)
            }
            assert ("summary" in states) == any("/summary_set#0" in paths for paths in done.values())
            said = {names[stored.run] for stored in messages}
            assert said == {run.metadata.name for run in runs if run.status.get("phase") == "Succeeded"}
            assert not vectors or {name for name, *_ in vectors} == said
            return {
                "messages": [(names[stored.run], stored.seq, stored.message) for stored in messages],
                "vectors": sorted(vectors, key=str),
                "states": states,
            }

        kept: dict[str, Any] = await self.look(read)
        return kept

    def scopes(self) -> set[str]:
        """All scopes of the state facet."""
        with closing(sqlite3.connect(self.directory / "kastra.db")) as connection:
            return {scope for (scope,) in connection.execute("SELECT DISTINCT scope FROM state")}


@attrs.frozen
class Turn:
    """A turn of a conversation, to be taken again and again from the same file."""

    nursery: Nursery
    directory: Path
    kind: str
    number: int
    before: bytes

    def place(self, label: str) -> Talk:
        here = Talk(self.nursery, self.directory / f"{self.number}-{label}", self.before)
        here.runs = {f"turn-{self.number}": (f"agents/friend-{self.kind}", TURNS[self.number])}
        return here

    async def kill(self, calm: Calm, at: int, when: str) -> None:
        """Take it in a process that dies, and in another one; assert that all is as if it had not."""
        here = self.place(f"{at}-{when}")
        code = await here.ran(doom=[at, when])
        if code != 0:
            assert code == KILLED
            await here.after_kill()
            await here.kept()
            assert await here.ran() == 0
        assert await here.outcome() == calm.outcome
        assert await here.kept() == calm.states
        assert here.keys() == calm.keys


@pytest.mark.parametrize("kind", ["vector", "summary"])
async def test_the_memory_of_an_agent_killed_at_any_commit_of_any_turn_is_what_it_would_be(
    nursery: Nursery, place: Callable[[], Spot], tmp_path: Path, kind: str
) -> None:
    file = (place().directory / "kastra.db").read_bytes()
    kept: dict[str, Any] = {}
    for number in range(len(TURNS)):
        turn = Turn(nursery, tmp_path / "talk", kind, number, file)
        here = turn.place("calm")
        assert await here.ran(census=str(here.directory / "census")) == 0
        calm = Calm(await here.outcome(), await here.kept(), here.keys(), here.commits())
        await _all([functools.partial(turn.kill, calm, at, when) for at, when in _moments(calm.commits, number)])
        file, kept = (here.directory / "kastra.db").read_bytes(), calm.states

    assert len(kept["messages"]) == 4 * len(TURNS)
    assert kept["states"]["working"].keys() == {text.split()[-1] for text in TURNS}
    last = kept["messages"][-1][2]["parts"][0]["content"]
    if kind == "vector":
        assert len(kept["vectors"]) == 2 * len(TURNS)
        assert "recalled" in last
    else:
        assert kept["states"]["summary"]["text"].startswith("condensed")
        assert "conversation_summary" in last
