"""Large payloads leave their row, and blobs go with their last holder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from kastra_core.errors import AlreadyExistsError, NotFoundError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteThread,
    DropJournal,
    HoldBlob,
    Operation,
    PutBlob,
    ReleaseBlobs,
    SendSignal,
    SetState,
)
from kastra_core.testing.store import ManualClock
from kastra_plugin_libsql.store import LibsqlStore, open_store
from libsql_content import (
    INLINE_BYTES,
    NOBODY,
    Content,
    contents,
    digest_of,
    fill,
    key,
    problems_of,
    resource,
    rows,
    told,
)

BIG = {"v": "x" * 1000}
BODY = orjson.dumps(BIG)
RUN = ClaimRun("run", key("run", "Run"), "worker/a")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[LibsqlStore]:
    store: Any = await open_store(f"file:{tmp_path}/k.db", {"inline_bytes": INLINE_BYTES, "clock": clock})
    yield store
    await store.aclose()
    assert await problems_of(tmp_path / "k.db") == ()


def column(store: LibsqlStore, sql: str) -> list[bytes]:
    return [bytes(value) for (value,) in store._db.rows(sql)]


def blobs(store: LibsqlStore) -> list[bytes]:
    return column(store, "SELECT data FROM blobs ORDER BY id")


WRITES: dict[str, tuple[Operation, str, Operation]] = {
    "a record": (AppendRecord("run", "p", BIG, 1), "SELECT record FROM journal", DropJournal("run")),
    "a signal": (SendSignal("run", "s", BIG), "SELECT payload FROM signals", DropJournal("run")),
    "a message": (AppendMessages("ns", "t", [BIG]), "SELECT message FROM messages", DeleteThread("ns", "t")),
    "a value": (SetState("s", {"k": BIG}), "SELECT value FROM state", SetState("s", {"k": None})),
}


@pytest.mark.parametrize("what", WRITES)
async def test_a_large_payload_leaves_its_row_and_goes_with_it(store: LibsqlStore, what: str) -> None:
    write, sql, remove = WRITES[what]
    await store.commit([RUN, write])
    [marker] = column(store, sql)
    assert (marker[:1], len(marker)) == (b"\0", 33)
    assert blobs(store) == [BODY]
    assert await store.blobs.get(digest_of(BODY)) == BODY
    await store.commit([remove])
    assert blobs(store) == []
    assert store._db.rows("SELECT * FROM holds") == []


async def test_reads_give_large_payloads_back(store: LibsqlStore) -> None:
    await store.commit([RUN, *(write for write, _, _ in WRITES.values())])
    assert [record.record for record in await store.journal.records("run")] == [BIG]
    assert [signal.payload for signal in await store.journal.signals("run")] == [BIG]
    assert [message.message for message in await store.threads.messages("ns", "t")] == [BIG]
    assert await store.state.get_state("s") == {"k": BIG}
    assert await store.state.get_value("s", "k") == BIG
    assert len(blobs(store)) == 1  # they are the same bytes


async def test_watches_give_large_payloads_also_to_other_stores(store: LibsqlStore, tmp_path: Path) -> None:
    other = await open_store(f"file:{tmp_path}/k.db", {})
    watches = [s.journal.watch_signals() for s in (store, other)]
    states = [s.state.watch_state("s") for s in (store, other)]
    await store.commit([SendSignal("run", "s", BIG), SetState("s", {"k": BIG})])
    for watch in watches:
        assert (await asyncio.wait_for(anext(watch), 10)).payload == BIG
    for state in states:
        assert await asyncio.wait_for(anext(state), 10) == {"k": BIG}
    await other.aclose()


@pytest.mark.parametrize(("size", "moved"), [(INLINE_BYTES, False), (INLINE_BYTES + 1, True)])
async def test_the_option_says_from_where_on_a_payload_is_large(store: LibsqlStore, size: int, moved: bool) -> None:
    value = "x" * (size - 2)  # and two quotes
    await store.state.set_value("s", "k", value)
    assert (column(store, "SELECT value FROM state")[0][:1] == b"\0") is moved
    assert await store.state.get_value("s", "k") == value


async def test_a_payload_whose_row_is_not_inserted_is_not_kept(store: LibsqlStore) -> None:
    await store.commit([RUN, AppendRecord("run", "p", 1, 1), SendSignal("run", "s", 1, "id")])
    assert await store.commit([AppendRecord("run", "p", BIG, 1), SendSignal("run", "s", BIG, "id")]) == [1, False]
    await store.commit([CreateResource(resource("a"))])
    with pytest.raises(AlreadyExistsError):
        await store.commit([SetState("s", {"k": BIG}), PutBlob(b"x"), CreateResource(resource("a"))])
    assert blobs(store) == []


async def test_the_first_large_record_is_what_a_second_one_gets(store: LibsqlStore) -> None:
    await store.commit([RUN, AppendRecord("run", "p", BIG, 1)])
    assert await store.commit([AppendRecord("run", "p", "other", 1)]) == [BIG]


async def test_a_value_that_changes_lets_its_former_payload_go(store: LibsqlStore, clock: ManualClock) -> None:
    for value in (BIG, {"v": "y" * 1000}, {"v": "y" * 1000}, "small"):
        await store.state.set_value("s", "k", value)
        assert await store.state.get_value("s", "k") == value
        assert blobs(store) == ([] if value == "small" else [orjson.dumps(value)])
    await store.state.set_value("s", "k", BIG, ttl_s=10)
    clock.advance(20)
    await store.state.set_value("s", "other", 1)
    assert blobs(store) == []


async def test_a_row_of_the_same_number_later_holds_nothing_of_the_first(store: LibsqlStore) -> None:
    for value in (BIG, {"v": "y" * 1000}):
        await store.commit([RUN, AppendRecord("run", "p", value, 1)])
        assert [record.record for record in await store.journal.records("run")] == [value]
        await store.commit([DropJournal("run")])
    assert blobs(store) == []


# ------------------------------------------------------------------------------------------ holders


async def test_a_blob_stays_until_its_last_holder_lets_go(store: LibsqlStore) -> None:
    digest = digest_of(b"x")
    await store.commit(
        [PutBlob(b"x", "a"), PutBlob(b"x", "a"), HoldBlob(digest, "b"), PutBlob(b"x"), PutBlob(b"y", "a")]
    )
    assert await store.commit([ReleaseBlobs("a"), ReleaseBlobs("a")]) == [2, 0]
    assert blobs(store) == [b"x"]
    assert await store.blobs.delete(digest)
    assert not await store.blobs.delete(digest)
    assert await store.blobs.has(digest)
    assert await store.commit([ReleaseBlobs("b")]) == [1]
    assert not await store.blobs.has(digest)


async def test_dropping_a_journal_lets_go_also_of_a_run_that_never_began(store: LibsqlStore) -> None:
    await store.commit([PutBlob(b"x", "run"), PutBlob(b"y", "other")])
    await store.commit([DropJournal("run")])
    assert blobs(store) == [b"y"]


@pytest.mark.parametrize("digest", [digest_of(b"x"), "sha256:zz", "md5:00", ""])
async def test_what_is_not_there_cannot_be_held(store: LibsqlStore, digest: str) -> None:
    with pytest.raises(NotFoundError, match="blob"):
        await store.commit([HoldBlob(digest, "a")])


async def test_a_holder_is_never_taken_for_a_row(store: LibsqlStore) -> None:
    await store.commit([RUN, AppendRecord("run", "p", BIG, 1), PutBlob(b"x", NOBODY)])
    assert await store.commit([ReleaseBlobs(NOBODY)]) == [1]
    assert [record.record for record in await store.journal.records("run")] == [BIG]


async def test_old_leases_and_answers_are_swept(store: LibsqlStore, clock: ManualClock, tmp_path: Path) -> None:
    await store.leases.acquire("old", "a", 10)
    rows(tmp_path / "k.db", f"INSERT INTO commits VALUES (x'01', {clock()}, '[]')")
    clock.advance(50_000)
    await store.leases.acquire("young", "a", 10)
    clock.advance(50_000)

    def step(tx: Any) -> None:
        tx.sweep_leases()
        tx.sweep_commits()

    await store._writer.submit([step])
    assert [lease.name for lease in await store.leases.list()] == ["young"]
    assert store._db.rows("SELECT * FROM commits") == []


# ------------------------------------------------------------------------------------------ any content


@given(content=contents)
@settings(max_examples=60, deadline=None)
def test_any_content_reads_the_same_wherever_its_payloads_lie(content: Content) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as place:
            found = []
            for size in (1, INLINE_BYTES, 1_000_000):
                path = Path(place, f"{size}.db")
                store = await open_store(f"file:{path}", {"inline_bytes": size, "durability": "relaxed"})
                await fill(store, content)
                found.append(await told(store))
                await store.aclose()
                assert await problems_of(path) == ()
            assert found[0] == found[1] == found[2]

    asyncio.run(run())
