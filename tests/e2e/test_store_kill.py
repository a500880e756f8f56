"""Processes that write are killed; power fails: what was acknowledged is there, and nothing is there by half.

``KASTRA_KILL_ROUNDS=N``: so many rounds of kills (default 15), and more power cuts. ``KASTRA_KILL_SEED=N``: other plans
(default 1). A failure names the seed and the plan of its round; which commit the kill meets is left to the machine.

What can be claimed of a power cut, on a disk that keeps what it said it has synced, and tears no 512 bytes: the file
is sound and holds exactly the first n commits. With ``durability=full`` n counts all that were acknowledged; with
``relaxed`` the last ones may be missing, back to the last checkpoint.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from kastra_core.api.meta import Resource
from kastra_core.errors import ExpiredError
from kastra_core.protocols.store import CreateResource, Store
from kastra_plugin_libsql.store import open_store
from store_load import GROUP, KIND, Script, digest_of, key, named
from store_nursery import KILLED, Nursery, Worker, nursery
from store_soundness import check_soundness

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes by SIGKILL, and forks them")

ROUNDS = int(os.environ.get("KASTRA_KILL_ROUNDS", "15"))
SEED = int(os.environ.get("KASTRA_KILL_SEED", "1"))
A_FILE = 5
"""Rounds on one file."""
SMALL, LARGE = 20, 100_000
"""Events that are kept."""


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Nursery]:
    async with nursery(tmp_path / "logs") as found:
        yield found


# ---------------------------------------------------------------------------------------------- kill -9


@attrs.frozen(kw_only=True)
class Plan:
    """One round: who writes, who is killed, and when."""

    seed: str
    processes: int
    victims: int
    tasks: int
    durability: str
    history_events: int
    lines: int
    """Acknowledgements of the first process before the kill,"""
    more_s: float
    """and this long after them."""
    checkpoints: bool
    observed: bool
    """A store of this process is open all the time."""

    @classmethod
    def of(cls, seed: str) -> Plan:
        random = Random(seed)
        processes = random.randint(1, 3)
        return cls(
            seed=seed,
            processes=processes,
            victims=random.randint(1, processes),
            tasks=random.choice((1, 4, 8)),
            durability=random.choice(("full", "relaxed")),
            history_events=random.choice((SMALL, LARGE)),
            lines=random.choice((0, 1, 10, 100, 300)),
            more_s=random.choice((0.0, random.uniform(0.0, 0.05))),
            checkpoints=random.random() < 0.6,
            observed=random.random() < 0.5,
        )


def acknowledged(worker: Worker) -> tuple[dict[str, int], int]:
    """How many commits of each script returned, and the highest resourceVersion they gave."""
    counts: dict[str, int] = {}
    highest = 0
    for line in worker.said():
        name, count, version = line.split()
        counts[name] = int(count)
        highest = max(highest, int(version))
    return counts, highest


async def compare(store: Store, path: Path, name: str, count: int, *, exactly: bool) -> dict[str, Any]:
    """What the store holds of a script: ``count`` commits, or one more, which nobody had acknowledged yet."""
    found = await Script(name).found(store, path)
    script = Script(name)
    script.skip(count)
    if found != script.state() and not exactly:
        script.next()
    assert found == script.state(), f"{name} after {count} acknowledged commits"
    return found


async def replay(store: Store, before: list[Resource], since: str, *, complete: bool) -> None:
    """List + watch = list: the events after ``since`` lead from the former list to the present one."""
    page = await store.resources.list(GROUP, KIND)
    copy = {item.key: item for item in before}
    at = int(since)
    watch = store.resources.watch("", "", since=since)
    try:
        while at < int(page.resource_version):
            event = await asyncio.wait_for(anext(watch), 20)
            at += 1
            assert event.resource.metadata.resource_version == str(at)
            assert (event.type == "ADDED") == (event.resource.key not in copy)
            copy[event.resource.key] = event.resource
            if event.type == "DELETED":
                del copy[event.resource.key]
    except ExpiredError:
        assert not complete
        return
    assert copy == {item.key: item for item in page.items}


async def play(plan: Plan, workers: Nursery, path: Path) -> dict[str, dict[str, Any]]:
    """One round. Returns what is now in the file by script."""
    url, options = f"file:{path}", {"durability": plan.durability, "history_events": plan.history_events}
    observer = await open_store(url, options)
    before = await observer.resources.list(GROUP, KIND)
    following = observer.resources.watch(GROUP, KIND, since=before.resource_version)
    if not plan.observed:
        await observer.aclose()
    started = [
        workers.begin(
            "load",
            url=url,
            options=options,
            scripts=[f"{plan.seed}.{at}.{task}" for task in range(plan.tasks)],
            **({"checkpoints": at} if plan.checkpoints else {}),
        )
        for at in range(plan.processes)
    ]
    victims, others = started[: plan.victims], started[plan.victims :]
    await victims[0].says(plan.lines) if plan.lines else await victims[0].started()
    await asyncio.sleep(plan.more_s)
    for victim in victims:
        victim.signal(signal.SIGKILL)
    assert [await victim.end() for victim in victims] == [KILLED] * len(victims)
    for other in others:  # they do not notice
        await other.says(len(other.said()) + 20)
        other.signal(signal.SIGTERM)
    assert [await other.end() for other in others] == [0] * len(others)

    check_soundness(path)
    store = await open_store(url, options)
    contents: dict[str, dict[str, Any]] = {}
    highest = int(before.resource_version)
    for worker in started:
        counts, version = acknowledged(worker)
        highest = max(highest, version)
        for name, count in counts.items():
            contents[name] = await compare(store, path, name, count, exactly=worker in others)
    await replay(store, list(before.items), before.resource_version, complete=plan.history_events == LARGE)
    last = named("after", plan.seed)
    [made] = await store.commit([CreateResource(last)])
    assert int(made.metadata.resource_version) > highest
    if plan.observed:
        assert await observer.resources.get(key("after", plan.seed)) == made
        try:
            async with asyncio.timeout(20):
                event = await anext(following)
                while event.resource.key != made.key:
                    event = await anext(following)
        except ExpiredError:
            assert plan.history_events == SMALL
        await observer.aclose()
    await store.aclose()
    return contents


@pytest.mark.parametrize("first", range(0, ROUNDS, A_FILE))
async def test_what_was_acknowledged_survives_kill_9_and_nothing_is_there_by_half(
    first: int, workers: Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "k.db"
    contents: dict[str, dict[str, Any]] = {}
    for number in range(first, min(first + A_FILE, ROUNDS)):
        plan = Plan.of(f"{SEED}-{number}")
        try:
            contents.update(await play(plan, workers, path))
        except BaseException as error:
            error.add_note(f"KASTRA_KILL_SEED={SEED}, round {number}: {plan}")
            raise
    store = await open_store(f"file:{path}", {})
    for name, expected in contents.items():
        assert await Script(name).found(store, path) == expected, f"{name} was written in an earlier round"
    await store.aclose()


@pytest.mark.parametrize("alone", [True, False])
async def test_a_kill_while_a_file_is_made_leaves_one_that_the_next_can_use(
    alone: bool, workers: Nursery, tmp_path: Path
) -> None:
    random = Random(f"{SEED}-{alone}")
    met: set[bool] = set()
    for number in range(max(20, ROUNDS)):
        path = tmp_path / f"{number}" / "k.db"
        wait_s = random.uniform(0.0, 0.03)
        victim = workers.begin("open_and_write", url=f"file:{path}", name="victim")
        others = [] if alone else [workers.begin("open_and_write", url=f"file:{path}", name=f"o{n}") for n in range(2)]
        await victim.started()
        await asyncio.sleep(wait_s)
        victim.signal(signal.SIGKILL)
        await victim.end()
        assert [await other.end() for other in others] == [0] * len(others), (number, wait_s)
        store = await open_store(f"file:{path}", {})
        state = await store.state.get_state("opened")
        said = {line for worker in (victim, *others) for line in worker.said()}
        assert said <= set(state) <= {*said, "victim"}, (number, wait_s)
        met.add("victim" in said)
        await store.state.set_value("opened", "after", 1)
        await store.aclose()
        check_soundness(path)
        assert sorted(file.name for file in path.parent.iterdir()) == ["k.db"]
    assert False in met, "no kill met the opening"


# ---------------------------------------------------------------------------------------------- power cuts


class Disk:
    """The files as they may be after a power cut: what was synced, and of each write since then all, a part or nothing.

    This is the disk that SQLite is made for: a write that was synced stays; others may be lost in any order, and a
    lost one leaves what was there before (zeros in a part that was not there).
    """

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self._since: dict[str, list[tuple[Any, ...]]] = {}

    def do(self, entry: tuple[Any, ...]) -> None:
        doing, name = entry[0], entry[1]
        if not name:  # a temporary file
            return
        if doing == "delete":
            self.synced.pop(name, None)
            self._since.pop(name, None)
        elif doing == "sync":
            content = self.synced.setdefault(name, bytearray())
            for change in self._since.pop(name, ()):
                _change(content, change)
        else:
            self._since.setdefault(name, []).append(entry)

    def after_power_cut(self, random: Random) -> Iterator[tuple[str, bytes]]:
        how = random.choice(("nothing", "prefix", "any", "all"))
        for name in {*self.synced, *self._since}:
            content = bytearray(self.synced.get(name, b""))
            changes = self._since.get(name, [])
            kept = {"nothing": 0, "prefix": random.randint(0, len(changes))}.get(how, len(changes))
            for change in changes[:kept]:
                fate = random.random() if how == "any" else 1.0
                if fate > 0.3:
                    _change(content, change)
                elif fate > 0.2 and change[0] == "write":  # torn: whole sectors of it
                    _change(content, (*change[:3], change[3][: random.randrange(len(change[3])) // 512 * 512]))
            if name in self.synced or content:
                yield name, bytes(content)


def _change(content: bytearray, change: tuple[Any, ...]) -> None:
    if change[0] == "truncate":
        del content[change[2] :]
        return
    _, _, offset, data = change
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


@pytest.mark.parametrize("tasks", [1, 6])
@pytest.mark.parametrize("durability", ["full", "relaxed"])
async def test_a_power_cut_leaves_the_first_n_commits_and_at_full_all_acknowledged_ones(
    durability: str, tasks: int, workers: Nursery, tmp_path: Path
) -> None:
    seed = f"{SEED}-power-{durability}-{tasks}"
    random = Random(seed)
    commits, pages = 150, random.choice((30, 200))
    worker = workers.begin(
        "record",
        url=f"file:{tmp_path}/k.db",
        options={"durability": durability, "history_events": 40},
        script=seed,
        commits=commits,
        tasks=tasks,
        checkpoint_pages=pages,
        disk=str(tmp_path / "disk"),
    )
    assert await worker.end() == 0
    log: list[tuple[Any, ...]] = pickle.loads((tmp_path / "disk").read_bytes())
    script = Script(seed, plain=True)
    states = {digest_of(script.state()): 0}
    for number in range(1, commits + 2 * tasks):
        script.next()
        states[digest_of(script.state())] = number  # of equal ones the last

    opened = log.index(("open",))
    cuts = random.sample(range(opened, len(log)), min(len(log) - opened, max(40, 5 * ROUNDS)))
    cuts = sorted(cuts + random.sample(range(opened), 8))  # and some while the file is made
    disk, done, at = Disk(), 0, 0
    lost = 0
    for cut in cuts:
        for entry in log[at:cut]:
            if entry[0] == "commit":
                done = max(done, entry[1])
            elif entry[0] != "open":
                disk.do(entry)
        at = cut
        place = tmp_path / f"cut-{cut}"
        place.mkdir()
        for name, content in disk.after_power_cut(random):
            (place / name).write_bytes(content)
        try:
            store = await open_store(f"file:{place}/k.db", {})
            found = digest_of(await Script(seed, plain=True).found(store, place / "k.db"))
            assert found in states, "this is the state after no number of commits"
            number = states[found]
            if durability == "full":
                assert number >= done, "an acknowledged commit is lost"
            lost += number < done
            await store.commit([CreateResource(named("after", "cut"))])
            await store.aclose()
            check_soundness(place / "k.db")
        except BaseException as error:
            error.add_note(
                f"KASTRA_KILL_SEED={SEED}: {seed}, checkpoints after {pages} pages, cut at {cut} of {len(log)}"
            )
            raise
        shutil.rmtree(place)
    if durability == "relaxed":
        assert lost, "no cut was one where relaxed differs from full"
