"""What holds whatever happens at once: cancelled tasks, failing neighbours, other stores, maintenance, other loops."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.errors import ExpiredError, FencedError, NotFoundError, StoreError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteThread,
    DropJournal,
    Operation,
    PutBlob,
    SendSignal,
    SetState,
    UpdateResource,
)
from kastra_plugin_libsql import _database, _resources, _writer
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import LibsqlStore, open_store

LARGE, OTHER = {"a": "x" * 100}, {"b": "y" * 100}


def resource(name: str, kind: str = "Agent") -> Resource:
    return Resource(
        api_version="mastra.ai/v1", kind=kind, metadata=ObjectMeta(name=name, namespace="d", uid=f"uid-{name}")
    )


async def opened(path: Path, **options: Any) -> LibsqlStore:
    store = await open_store(f"file:{path}/k.db", options)
    assert isinstance(store, LibsqlStore)
    return store


async def sound(path: Path) -> None:
    report = await open_admin(f"file:{path}/k.db", {}).check()
    assert report.problems == ()


def row_of(store: LibsqlStore, sql: str) -> Any:
    [row] = store._db.rows(sql)
    return row


# --------------------------------------------------------------------------------------------- commits


async def test_whole_commits_in_one_order_for_all_watchers_whoever_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, slice_s in ((1, 0.002), (2, 1e-5), (3, 1e-5)):
        for module in (_writer, _resources, _database):
            monkeypatch.setattr(module, "_SLICE_S", slice_s)
        path = tmp_path / str(seed)
        path.mkdir()
        await cancelled_and_failing_commits(path, random.Random(seed))


async def cancelled_and_failing_commits(path: Path, dice: random.Random) -> None:
    stores = [await opened(path, inline_bytes=50) for _ in range(2)]
    seen: list[list[tuple[int, str]]] = [[] for _ in range(4)]
    heard: list[list[str]] = [[], []]
    acknowledged: dict[str, int] = {}
    failed: set[str] = set()

    async def watch(store: LibsqlStore, into: list[tuple[int, str]]) -> None:
        async for event in store.resources.watch("", "", since="0"):
            meta = event.resource.metadata
            into.append((int(meta.resource_version), meta.name))

    async def listen(store: LibsqlStore, into: list[str]) -> None:
        async for signal in store.journal.watch_signals():
            into.append(signal.signal_id)  # noqa: PERF401 - others look at it while it grows

    async def work(n: int) -> None:
        store, how = dice.choice(stores), dice.random()
        name, run = f"r{n}", f"run{n}"
        value = {"v": str(n % 7) * 100}
        operations: list[Operation] = [CreateResource(resource(name))]
        if how < 0.9:
            operations.append(ClaimRun(run, resource(name).key, "worker"))
            records = 600 if how > 0.8 else dice.randrange(1, 30)
            operations += [AppendRecord(run, f"/{at}", value, 1) for at in range(records)]
            operations.append(SendSignal("inbox", "news", value, name))
            operations.append(AppendMessages("d", f"t{n % 3}", [value, {"n": n}]))
            operations.append(SetState("s", {f"k{n % 5}": value}, dice.choice([None, 0.05])))
            operations.append(PutBlob(bytes([n % 7]) * 80, run))
        if 0.8 < how < 0.9:
            operations.append(DropJournal(run))
        if how < 0.15:
            operations.append(UpdateResource(resource("nothing"), "99999"))
        await asyncio.sleep(dice.random() * 0.1)
        task = asyncio.ensure_future(store.commit(operations))
        if dice.random() < 0.4:
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            [made, *_] = await task
        except asyncio.CancelledError:
            return
        except NotFoundError:
            failed.add(name)
        else:
            acknowledged[name] = int(made.metadata.resource_version)
            assert await store.resources.get(resource(name).key) is not None
        assert (name in failed) == (how < 0.15)

    tasks = [asyncio.ensure_future(watch(stores[at % 2], into)) for at, into in enumerate(seen)]
    tasks += [asyncio.ensure_future(listen(store, into)) for store, into in zip(stores, heard)]
    await asyncio.sleep(0)
    await asyncio.gather(*(work(n) for n in range(120)))
    await stores[0].commit([CreateResource(resource("last")), SendSignal("inbox", "news", None, "last")])
    async with asyncio.timeout(10):
        while not all(into[-1:] == ["last"] for into in heard) or not all(s and s[-1][1] == "last" for s in seen):
            await asyncio.sleep(0.005)
    found = (await stores[1].resources.list("", "")).items
    present = {r.metadata.name: int(r.metadata.resource_version) for r in found}
    assert {name: present.get(name) for name in acknowledged} == acknowledged
    assert not failed & present.keys()
    assert all(events == seen[0] for events in seen)
    assert [rv for rv, _ in seen[0]] == list(range(1, len(seen[0]) + 1))
    assert {name for _, name in seen[0]} == set(present)
    signals = [signal.signal_id for signal in await stores[0].journal.signals("inbox")]
    assert heard == [signals, signals]
    assert set(signals) <= set(present)  # each commit is there whole or not at all
    for store in stores:
        await store.aclose()
    await asyncio.gather(*tasks)
    await sound(path)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda store: store.leases.acquire("lease", "me", float("nan")),
        lambda store: store.commit([CreateResource(resource("c")), AppendMessages("d", cast("Any", b"no text"), [{}])]),
    ],
)
async def test_what_the_tables_refuse_fails_nobody_else(
    wrong: Callable[[LibsqlStore], Awaitable[Any]], tmp_path: Path
) -> None:
    store = await opened(tmp_path)
    await asyncio.gather(*(store.state.set_value("s", "k", n) for n in range(4)))  # from now on they share
    first, error, last = await asyncio.gather(
        store.commit([CreateResource(resource("a"))]),
        wrong(store),
        store.commit([CreateResource(resource("b"))]),
        return_exceptions=True,
    )
    assert isinstance(error, StoreError)
    assert "ConstraintError" in str(error)
    assert not isinstance(first, BaseException)
    assert not isinstance(last, BaseException)
    assert await store.resources.counts() == {("mastra.ai", "Agent"): 2}
    await store.aclose()
    await sound(tmp_path)


async def test_a_lease_whose_data_is_damaged_is_not_renewed_by_the_call_that_fails(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.leases.acquire("lease", "me", 60.0, {"a": 1})
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("UPDATE leases SET data = x'ff', expires = expires - 1")
    before = row_of(store, "SELECT expires, data FROM leases")
    with pytest.raises(StoreError, match="damaged"):
        await store.leases.acquire("lease", "me", 60.0)
    assert row_of(store, "SELECT expires, data FROM leases") == before
    other.close()
    await store.aclose()


async def test_the_loop_goes_on_when_very_many_values_expire_at_once(tmp_path: Path) -> None:
    now_s = 1000.0
    store = await opened(tmp_path, clock=lambda: now_s, inline_bytes=20)
    await store.state.update_values("old", {f"k{n}": n for n in range(10_000)}, ttl_s=1.0)
    await store.state.update_values("old", {f"l{n}": {**LARGE, "n": n} for n in range(200)}, ttl_s=1.0)
    now_s += 10.0
    await store.state.set_value("new", "a", 1)
    [left] = row_of(store, "SELECT count(*) FROM state")
    assert 9_000 < left < 10_200  # some went, by no means all
    assert await store.state.get_state("old") == {}
    for _ in range(60):
        await store.state.set_value("new", "a", LARGE)
    assert row_of(store, "SELECT (SELECT count(*) FROM state), (SELECT count(*) FROM blobs)") == (1, 1)
    # Who writes many that expire removes more than that.
    for _ in range(4):
        now_s += 10.0
        await store.state.update_values("new", {f"k{now_s}-{n}": n for n in range(2000)}, ttl_s=1.0)
    assert row_of(store, "SELECT count(*) FROM state") == (2001,)
    await store.aclose()
    await sound(tmp_path)


async def test_large_values_that_rows_share_go_with_the_last_row_also_within_one_commit(tmp_path: Path) -> None:
    store = await opened(tmp_path, inline_bytes=20)

    def blobs() -> int:
        return int(row_of(store, "SELECT count(*) FROM blobs")[0])

    changes: list[tuple[Any, Any]] = [(LARGE, LARGE), (LARGE, OTHER), (LARGE, 1), (1, LARGE), (LARGE, None)]
    for first, second in changes:
        await store.state.set_value("s", "k", first)
        await store.state.set_value("s", "k", second)
        assert await store.state.get_value("s", "k") == second
        again = SetState("s", {"k": first, "l": first}), SetState("s", {"k": second}), SetState("s", {"l": None})
        await store.commit(again)
        assert await store.state.get_value("s", "k") == second
        await store.state.set_value("s", "k", None)
        assert blobs() == 0
    shared: list[Operation] = [
        AppendMessages("d", "t", [LARGE, LARGE]),
        SetState("s", {"k": LARGE}),
        SendSignal("run", "n", LARGE),
    ]
    await store.commit([*shared, DeleteThread("d", "t"), SetState("s", {"k": OTHER}), DropJournal("run")])
    assert blobs() == 1
    await store.commit([SetState("s", {"k": None}), AppendMessages("d", "t", [OTHER])])
    with pytest.raises(NotFoundError):
        await store.commit([DeleteThread("d", "t"), PutBlob(b"new", "run"), UpdateResource(resource("none"))])
    assert [line.message for line in await store.threads.messages("d", "t")] == [OTHER]
    assert blobs() == 1
    await store.aclose()
    await sound(tmp_path)


# --------------------------------------------------------------------------------------------- watches


async def test_a_look_that_failed_is_made_up_for_without_loss_or_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await opened(tmp_path), await opened(tmp_path)
    watches = [store.resources.watch("", ""), store.resources.watch("mastra.ai", "Agent")]
    await other.commit([CreateResource(resource("one"))])

    def broken() -> None:
        raise StoreError("the disk failed")

    with monkeypatch.context() as patch:
        # The first watch needs no kind's name, the second does.
        patch.setattr(store._db, "_load_kinds", broken)
        for watch in watches:
            with pytest.raises(StoreError, match="the disk failed"):
                await asyncio.wait_for(anext(watch), 1)
    for watch in watches:
        assert (await asyncio.wait_for(anext(watch), 1)).resource.metadata.name == "one"
    await other.commit([CreateResource(resource("two"))])
    for watch in watches:
        assert (await asyncio.wait_for(anext(watch), 1)).resource.metadata.name == "two"
    await store.aclose()
    await other.aclose()


async def test_watches_and_commits_end_with_an_error_when_the_horizon_is_damaged(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.commit([CreateResource(resource("a"))])
    waiting = asyncio.ensure_future(anext(store.resources.watch("", "")))
    await asyncio.sleep(0)
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("DELETE FROM meta WHERE key = 'horizon'")
    other.close()
    with pytest.raises(StoreError, match="damaged"):
        await asyncio.wait_for(waiting, 2)
    with pytest.raises(StoreError, match="damaged"):
        await asyncio.wait_for(store.commit([CreateResource(resource("b"))]), 2)
    await store.aclose()


async def test_a_failure_in_telling_the_watchers_leaves_the_writer_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(tmp_path)
    watch = store.resources.watch("", "")

    def fail(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(store._hub, "_offer", fail)
        for in_thread_s in (0.0, 0.1):
            store._writer._commit_s = in_thread_s
            await asyncio.wait_for(store.commit([CreateResource(resource(f"a{in_thread_s}"))]), 2)
    await asyncio.wait_for(store.commit([CreateResource(resource("b"))]), 2)
    assert [(await anext(watch)).resource.metadata.name for _ in range(3)] == ["a0.0", "a0.1", "b"]
    await store.aclose()


# --------------------------------------------------------------------------------------------- other connections


async def test_the_writer_notices_every_change_by_others_and_none_of_its_own(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.commit([CreateResource(resource("a"))])
    writer = store._writer._connection
    assert writer is not None

    def version() -> int:
        [[found]] = writer.execute("PRAGMA data_version")
        return int(found)

    seen = [version()]
    for sql in (
        "BEGIN IMMEDIATE; DELETE FROM log; ROLLBACK",
        "BEGIN IMMEDIATE; SAVEPOINT a; DELETE FROM log; ROLLBACK TO a; RELEASE a; COMMIT",
    ):
        writer.execute(sql)
        seen.append(version())
    await store.commit([CreateResource(resource("b"))])
    writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    seen.append(version())
    assert len(set(seen)) == 1
    other, copy = apsw.Connection(str(tmp_path / "k.db")), apsw.Connection(str(tmp_path / "copy.db"))
    with copy.backup("main", other, "main") as backup:
        backup.step(-1)

    def put_back() -> None:
        with other.backup("main", copy, "main") as backup:
            backup.step(-1)

    changes: list[Callable[[], object]] = [
        lambda: other.execute("UPDATE meta SET value = value + 1 WHERE key = 'lease_epoch'"),
        lambda: other.execute("PRAGMA user_version = 2"),
        lambda: other.execute("VACUUM"),
        put_back,
    ]
    for change in changes:
        change()
        seen.append(version())
    assert len(set(seen)) == 1 + len(changes)
    other.close()
    copy.close()
    await store.aclose()


async def test_writers_and_watchers_live_through_restores_and_compactions(tmp_path: Path) -> None:
    stores = [await opened(tmp_path, history_events=50) for _ in range(2)]
    await stores[0].commit([CreateResource(resource("base")), CreateResource(resource("tool", "Tool"))])
    admin = open_admin(f"file:{tmp_path}/k.db", {"history_events": 50})
    await admin.backup(tmp_path / "backup")
    seen: list[list[tuple[int, str]]] = [[], []]
    acknowledged: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def watch(at: int) -> None:
        since = None
        while not done.is_set():
            try:
                async for event in stores[at].resources.watch("", "", since=since):
                    meta = event.resource.metadata
                    seen[at].append((int(meta.resource_version), meta.name))
            except ExpiredError:
                since = (await stores[at].resources.list("", "")).resource_version

    async def write(at: int, task: int) -> None:
        n = 0
        while not done.is_set():
            n += 1
            kind = ("Agent", "Tool", f"K{n % 5}")[n % 3]  # some kinds are new since the backup
            [made] = await stores[at].commit([CreateResource(resource(f"r{at}-{task}-{n}", kind))])
            acknowledged.append((int(made.metadata.resource_version), made.metadata.name))
            await asyncio.sleep(0.0005)

    watchers = [asyncio.ensure_future(watch(at)) for at in range(2)]
    writers = [asyncio.ensure_future(write(at, task)) for at in range(2) for task in range(3)]
    restored = 0
    for job in ("restore", "compact", "restore", "compact"):
        before = len(acknowledged)
        async with asyncio.timeout(10):
            while len(acknowledged) < before + 200:
                await asyncio.sleep(0.005)
        if job == "compact":
            await admin.compact()
        else:
            await admin.restore(tmp_path / "backup", force=True)
            restored = len(acknowledged)
    done.set()
    await asyncio.gather(*writers)
    names = {r.metadata.name for r in (await stores[0].resources.list("", "")).items}
    assert sum((await stores[1].resources.counts()).values()) == len(names)
    for store in stores:
        await store.aclose()
    await asyncio.gather(*watchers)
    versions = dict(acknowledged)
    assert len(versions) == len(acknowledged)  # no version is ever given twice
    assert {name for _, name in acknowledged[restored:]} <= names
    for events in seen:
        numbers = [rv for rv, _ in events]
        assert numbers == sorted(set(numbers))
        assert all(versions.get(rv, name) == name for rv, name in events)
    await sound(tmp_path)


async def test_who_works_on_a_run_begun_since_the_backup_is_fenced_when_it_is_begun_anew(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.commit([CreateResource(resource("a"))])
    admin = open_admin(f"file:{tmp_path}/k.db", {})
    await admin.backup(tmp_path / "backup")
    claim = ClaimRun("child", resource("child", "Run").key, "worker")
    [epoch] = await store.commit([claim])
    await admin.restore(tmp_path / "backup", force=True)
    [again] = await store.commit([claim])
    assert again > epoch
    with pytest.raises(FencedError):
        await store.commit([AppendRecord("child", "/late", 1, epoch)])
    await store.aclose()
    await sound(tmp_path)


async def test_the_write_ahead_log_stays_small_while_many_programs_write_little_beside_one_that_reads(
    tmp_path: Path,
) -> None:
    reader = await opened(tmp_path)
    for _ in range(20):
        store = await opened(tmp_path)
        for n in range(20):
            await store.state.set_value("s", f"k{n}", os.urandom(30_000).hex())
        await store.aclose()
    assert (tmp_path / "k.db-wal").stat().st_size < 10_000_000  # 24 MB were written
    await reader.aclose()
    await sound(tmp_path)


async def test_what_is_gone_is_not_taken_for_what_has_its_number_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await opened(tmp_path), await opened(tmp_path)

    async def fill(name: str) -> None:
        record = AppendRecord(name, "/a", {"of": name}, 1)
        message = AppendMessages("d", name, [{"of": name}])
        await other.commit([ClaimRun(name, resource(name, "Run").key, "worker"), record, message])
        await other.vectors.upsert(name, [(name, [1.0, 0.0], {})])

    await fill("old")

    async def exchange() -> None:
        await other.commit([DropJournal("old"), DeleteThread("d", "old")])
        await other.vectors.delete("old")
        await fill("new")

    def exchanged_before(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def late(*given: Any) -> Any:
            await exchange()
            return await real(*given)

        return late

    reads: list[tuple[Any, str, Callable[[], Awaitable[Any]]]] = [
        (store._db, "each", lambda: store.journal.records("old")),
        (store._db, "each", lambda: store.threads.messages("d", "old")),
        (store.vectors._worker, "call", lambda: store.vectors.query("old", [1.0, 0.0])),
    ]
    for owner, method, read in reads:
        assert len(await read()) == 1
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, exchanged_before(getattr(owner, method)))
            assert await read() == []
        await other.commit([DropJournal("new"), DeleteThread("d", "new")])
        await other.vectors.delete("new")
        await fill("old")
    await store.aclose()
    await other.aclose()


async def test_a_wrong_count_of_resources_is_found(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.commit([CreateResource(resource("a")), CreateResource(resource("b", "Tool"))])
    await store.aclose()
    await sound(tmp_path)
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("UPDATE counts SET resources = 7 WHERE kind = 2")
    other.close()
    report = await open_admin(f"file:{tmp_path}/k.db", {}).check()
    assert report.problems == ("the count of the resources of kind number 2 is wrong",)


# --------------------------------------------------------------------------------------------- the end of things


async def test_whoever_closes_waits_until_the_store_is_closed_and_the_last_commit_is_kept(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("BEGIN IMMEDIATE")
    last = asyncio.ensure_future(store.commit([CreateResource(resource("last"))]))
    await asyncio.sleep(0.01)
    closing = [asyncio.ensure_future(store.aclose()) for _ in range(3)]
    await asyncio.sleep(0.05)
    closing.pop(0).cancel()
    assert not any(task.done() for task in closing)
    other.execute("COMMIT")
    await asyncio.wait_for(asyncio.gather(last, *closing), 5)
    with pytest.raises(StoreError, match="closed"):
        await store.commit([CreateResource(resource("late"))])
    other.close()
    again = await opened(tmp_path)
    assert await again.resources.counts() == {("mastra.ai", "Agent"): 1}
    await again.aclose()


def test_a_store_goes_on_in_a_second_loop_after_the_first_was_closed_in_the_middle(tmp_path: Path) -> None:
    async def begin() -> LibsqlStore:
        store = await opened(tmp_path)
        await store.commit([CreateResource(resource("before"))])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(store.resources.watch("", "")), 0.01)
        return store

    async def give_up(store: LibsqlStore) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.commit([CreateResource(resource("given-up"))]), 0.05)

    async def go_on(store: LibsqlStore) -> None:
        await asyncio.wait_for(store.commit([CreateResource(resource("after"))]), 5)
        watch = store.resources.watch("", "")
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        second = await opened(tmp_path)
        await second.commit([CreateResource(resource("seen"))])
        assert (await asyncio.wait_for(waiting, 5)).resource.metadata.name == "seen"
        await second.aclose()

    store = asyncio.run(begin())
    other = apsw.Connection(str(tmp_path / "k.db"))
    for last in (go_on, lambda store: asyncio.wait_for(store.aclose(), 5)):
        other.execute("BEGIN IMMEDIATE")
        asyncio.run(give_up(store))
        other.execute("COMMIT")
        asyncio.run(last(store))
    other.close()
    asyncio.run(sound(tmp_path))
