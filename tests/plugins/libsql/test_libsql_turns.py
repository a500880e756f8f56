"""The event loop gets its turns while the store works, and the store its turns while the loop is busy."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.api.selectors import LabelSelector
from kastra_core.errors import ConflictError, NotFoundError, SchemaVersionError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteResource,
    DeleteThread,
    DropJournal,
    PutBlob,
    SetState,
    Store,
    UpdateResource,
    UpsertVectors,
    thread_holder,
)
from kastra_plugin_libsql import _database, _resources, _writer
from kastra_plugin_libsql.store import open_store

ROWS = 3000


def resource(name: str, kind: str = "Agent") -> Resource:
    return Resource(
        api_version="mastra.ai/v1", kind=kind, metadata=ObjectMeta(name=name, namespace="d", uid=f"uid-{name}")
    )


class Turns:
    """Counts the turns that another task gets."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        async def count() -> None:
            while True:
                await asyncio.sleep(0)
                self.count += 1

        task = asyncio.ensure_future(count())
        try:
            yield
        finally:
            task.cancel()


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each slice is as short as it can be, whatever the machine's speed."""
    monkeypatch.setattr(_writer, "_SLICE_S", 1e-5)
    monkeypatch.setattr(_resources, "_SLICE_S", 1e-5)
    monkeypatch.setattr(_database, "_SLICE_S", 1e-5)


async def long_run(store: Store) -> None:
    await store.commit([ClaimRun("run", resource("r").key, "worker")])
    await store.commit([AppendRecord("run", f"/step#{n}", {"n": n}, 1) for n in range(ROWS)])


async def long_thread(store: Store) -> None:
    await store.commit([AppendMessages("d", "thread", [{"n": n} for n in range(ROWS)])])


@pytest.mark.parametrize(
    ("fill", "drop", "left"),
    [
        (long_run, DropJournal("run"), lambda store: store.journal.records("run")),
        (long_thread, DeleteThread("d", "thread"), lambda store: store.threads.messages("d", "thread")),
    ],
)
async def test_other_tasks_run_while_a_long_history_is_read_and_removed(
    fill: Callable[[Store], Awaitable[None]],
    drop: Any,
    left: Callable[[Store], Awaitable[list[Any]]],
    tmp_path: Path,
    short_slices: None,
) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await fill(store)
    turns = Turns()
    with turns.counted():
        assert len(await left(store)) == ROWS
    assert turns.count >= ROWS // 256
    turns = Turns()
    with turns.counted():
        await store.commit([drop])
    assert turns.count >= ROWS // 256
    assert await left(store) == []
    await store.aclose()


async def test_a_long_removal_in_a_commit_that_fails_leaves_all_in_place(tmp_path: Path, short_slices: None) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await long_run(store)
    [made] = await store.commit([CreateResource(resource("a"))])
    with pytest.raises(ConflictError):
        await store.commit([DropJournal("run"), UpdateResource(made, expected="1000000")])
    assert len(await store.journal.records("run")) == ROWS
    await store.aclose()


@pytest.mark.parametrize("after", [[], [UpdateResource(resource("missing"))]])
async def test_other_tasks_run_while_all_that_a_thread_holds_is_removed(
    tmp_path: Path, short_slices: None, after: list[Any]
) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    holder = thread_holder("d", "thread")
    await store.commit([SetState(f"{holder}/s", {f"k{n}": n for n in range(ROWS)})])
    await store.commit([SetState(f"{holder}/{n}", {"k": n}) for n in range(ROWS)])
    await store.commit([UpsertVectors("c", [(f"v{n}", [1.0, n], {}) for n in range(ROWS)], holder)])
    await store.commit([PutBlob(f"{n}".encode(), holder) for n in range(ROWS)])
    turns = Turns()
    with turns.counted():
        outcomes = await asyncio.gather(store.commit([DeleteThread("d", "thread"), *after]), return_exceptions=True)
    assert turns.count >= 6 * ROWS // 256  # values and tokens of state, vectors, blobs
    outcome: Any = outcomes[0]
    assert isinstance(outcome, NotFoundError) if after else outcome == [True]
    assert store.vectors is not None
    assert len(await store.vectors.query("c", [1.0, 1.0], k=2 * ROWS)) == (ROWS if after else 0)
    assert len(await store.state.get_state(f"{holder}/s")) == (ROWS if after else 0)
    await store.aclose()


@pytest.mark.parametrize("more", [[], [CreateResource(resource("b"))]])
async def test_a_long_removal_that_is_cancelled_is_done_whole_or_not_at_all(
    more: list[Any], tmp_path: Path, short_slices: None
) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await long_run(store)
    dropping = asyncio.ensure_future(store.commit([DropJournal("run"), *more]))
    beside = asyncio.ensure_future(store.commit([CreateResource(resource("a"))]))
    for _ in range(4):
        await asyncio.sleep(0)
    dropping.cancel()
    await beside
    await asyncio.gather(dropping, return_exceptions=True)
    records = len(await store.journal.records("run"))
    assert records in (0, ROWS)
    assert (await store.resources.get(resource("b").key) is not None) == bool(more and not records)
    await store.aclose()


async def test_other_tasks_run_while_vectors_are_written_and_removed(tmp_path: Path, short_slices: None) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    assert store.vectors is not None
    turns = Turns()
    with turns.counted():
        await store.vectors.upsert("c", [(f"v{n}", [float(n), 1.0], {"odd": n % 2}) for n in range(ROWS)])
    assert turns.count >= ROWS // 256
    turns = Turns()
    with turns.counted():
        assert await store.vectors.delete("c", where={"odd": 1}) == ROWS // 2
    assert turns.count >= ROWS // 2 // 256
    assert await store.vectors.delete("c", ["v0", "v1", "v2", "v2"]) == 2
    assert await store.vectors.delete("c") == ROWS // 2 - 2
    await store.aclose()


async def test_other_tasks_run_while_a_selector_finds_nothing_among_many(tmp_path: Path, short_slices: None) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await store.commit([CreateResource(resource(f"a{n:05}")) for n in range(10_000)])
    turns = Turns()
    with turns.counted():
        found = await store.resources.list("mastra.ai", "Agent", labels=LabelSelector.parse("no=body"))
    assert found.items == ()
    assert turns.count >= 3  # one row of 512 comes back at random: about 20
    await store.aclose()


async def test_a_task_that_only_commits_leaves_the_others_their_turns(tmp_path: Path, short_slices: None) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {"durability": "relaxed"})
    turns = Turns()
    with turns.counted():
        for n in range(200):
            await store.commit([CreateResource(resource(f"a{n}"))])
    assert turns.count >= 20
    await store.aclose()


async def test_tasks_that_commit_at_the_same_time_share_a_transaction(tmp_path: Path) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await store.commit([CreateResource(resource("first"))])
    with apsw.Connection(str(tmp_path / "k.db")) as other:
        groups: Counter[int] = Counter()

        async def task(n: int) -> None:
            for at in range(20):
                await store.commit([CreateResource(resource(f"a{n}-{at}"))])
                [[version]] = other.execute("PRAGMA data_version")
                groups[version] += 1

        await asyncio.gather(*(task(n) for n in range(20)))
    other.close()
    assert len(groups) < 100, groups
    await store.aclose()


async def test_a_busy_loop_does_not_keep_commits_from_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns of 50 us: at each the interpreter lock is free for a shorter time than a thread needs to wake up."""
    monkeypatch.setattr(_writer, "_QUICK_S", 0.0)  # a disk so slow that the thread waits for it
    monkeypatch.setattr(_writer, "_MAYBE_QUICK_S", 0.0)
    store = await open_store(f"file:{tmp_path}/k.db", {})
    busy = True

    async def turns() -> None:
        while busy:
            end = time.perf_counter() + 5e-5
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    task = asyncio.ensure_future(turns())
    began = time.monotonic()
    for group in range(60):
        await asyncio.gather(*(store.commit([CreateResource(resource(f"a{group}-{n}"))]) for n in range(8)))
    took = time.monotonic() - began
    busy = False
    await task
    await store.aclose()
    assert took < 5  # some 0.2 s; when the thread has to fight for the lock, ten and more


async def test_counts_follow_what_is_made_and_removed(tmp_path: Path) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await store.commit([CreateResource(resource(f"{kind}{n}", kind)) for kind in ("A", "B") for n in range(5)])
    with pytest.raises(ConflictError):
        await store.commit([CreateResource(resource("A9", "A")), DeleteResource(resource("B1", "B").key, uid="other")])
    await store.commit([DeleteResource(resource(f"B{n}", "B").key) for n in range(5)])
    await store.commit([DeleteResource(resource("A1", "A").key)])
    assert await store.resources.counts() == {("mastra.ai", "A"): 4}
    await store.aclose()


async def test_a_store_stops_writing_when_another_program_changed_the_schema(tmp_path: Path) -> None:
    store = await open_store(f"file:{tmp_path}/k.db", {})
    await store.commit([CreateResource(resource("a"))])
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaVersionError, match="99"):
        await store.commit([CreateResource(resource("b"))])
    with pytest.raises(SchemaVersionError, match="99"):
        await store.commit([CreateResource(resource("b"))])
    assert await store.resources.get(resource("b").key) is None
    other.close()
    await store.aclose()


async def test_what_another_store_wrote_between_is_numbered_on(tmp_path: Path) -> None:
    one = await open_store(f"file:{tmp_path}/k.db", {})
    two = await open_store(f"file:{tmp_path}/k.db", {})
    versions = []
    for n in range(40):
        [made] = await (one, two)[n % 3 == 0].commit([CreateResource(resource(f"a{n}"))])
        versions.append(int(made.metadata.resource_version or 0))
    assert versions == list(range(1, 41))
    await one.aclose()
    await two.aclose()


async def test_leases_of_long_ago_and_answers_of_commits_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_writer, "_SWEEP_S", -1.0)
    now = 1_000_000.0
    store = await open_store(f"file:{tmp_path}/k.db", {"clock": lambda: now})
    await store.leases.acquire("old", "me", 10.0)
    now += 90_000.0
    await store.leases.acquire("new", "me", 10.0)
    assert [lease.name for lease in await store.leases.list()] == ["new"]
    await store.aclose()
