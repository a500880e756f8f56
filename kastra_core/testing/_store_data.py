"""The contract of state, threads, blobs and vectors, and of a store's end."""

from __future__ import annotations

import asyncio
import hashlib
import math
from random import Random
from typing import Any

import pytest

from kastra_core.errors import ConflictError, NotFoundError, StoreUnavailableError, VectorLengthError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteThread,
    DropJournal,
    HoldBlob,
    PutBlob,
    ReleaseBlobs,
    SendSignal,
    SetState,
    Store,
)
from kastra_core.testing._store_tools import Cases, ManualClock, Reopen, key_of, make

__all__ = ["DataCases"]


class DataCases(Cases):
    # ------------------------------------------------------------------------------------------------- state

    async def test_state_is_kept_by_scope_and_key(self, store: Store) -> None:
        await store.state.set_value("s", "a", {"n": [1]})
        await store.state.update_values("s", {"b": 2, "c": False})
        await store.state.set_value("other", "a", 9)
        assert await store.state.get_state("s") == {"a": {"n": [1]}, "b": 2, "c": False}
        assert await store.state.get_value("s", "a") == {"n": [1]}
        assert await store.state.get_value("s", "missing") is None
        assert await store.state.get_state("missing") == {}

    async def test_a_value_none_removes_its_key(self, store: Store) -> None:
        assert await store.commit([SetState("s", {"a": 1, "b": 2}), SetState("s", {"a": None, "x": None})]) == [
            None,
            None,
        ]
        assert await store.state.get_state("s") == {"b": 2}

    async def test_a_value_with_ttl_expires(self, store: Store, clock: ManualClock) -> None:
        await store.state.update_values("s", {"a": 1, "b": 1}, ttl_s=10)
        await store.state.set_value("s", "c", 1)
        clock.advance(9)
        assert await store.state.get_state("s") == {"a": 1, "b": 1, "c": 1}
        await store.state.set_value("s", "b", 2)
        clock.advance(2)
        assert await store.state.get_state("s") == {"b": 2, "c": 1}
        assert await store.state.get_value("s", "a") is None
        await store.state.set_value("s", "a", 3)
        assert await store.state.get_value("s", "a") == 3

    # ------------------------------------------------------------------------------------------------- threads

    async def test_messages_are_numbered_from_one(self, store: Store, clock: ManualClock) -> None:
        assert await store.threads.last_seq("default", "t") == 0
        assert await store.commit([AppendMessages("default", "t", [{"n": 1}, {"n": 2}], run="r1")]) == [2]
        clock.advance(5)
        assert await store.commit([AppendMessages("default", "t", [{"n": 3}], expected_seq=2)]) == [3]
        await store.commit([AppendMessages("other", "t", [{"n": 9}])])
        found = await store.threads.messages("default", "t")
        assert [(m.seq, m.message, m.run) for m in found] == [
            (1, {"n": 1}, "r1"),
            (2, {"n": 2}, "r1"),
            (3, {"n": 3}, ""),
        ]
        assert [m.time_s for m in found] == [clock.now_s - 5, clock.now_s - 5, clock.now_s]
        assert await store.threads.last_seq("default", "t") == 3

    async def test_messages_are_cut_at_both_ends(self, store: Store) -> None:
        await store.commit([AppendMessages("default", "t", [{"n": n} for n in range(1, 11)])])

        async def seqs(**arguments: Any) -> list[int]:
            return [m.seq for m in await store.threads.messages("default", "t", **arguments)]

        assert await seqs(up_to=4) == [1, 2, 3, 4]
        assert await seqs(last=3) == [8, 9, 10]
        assert await seqs(up_to=6, last=2) == [5, 6]
        assert await seqs(up_to=0) == await seqs(last=0) == []
        assert await seqs(up_to=99, last=99) == list(range(1, 11))
        assert not await store.threads.messages("default", "missing")

    async def test_an_append_that_expects_another_end_is_a_conflict(self, store: Store) -> None:
        await store.commit([AppendMessages("default", "t", [{"n": 1}], expected_seq=0)])
        for expected in (0, 2):
            with pytest.raises(ConflictError):
                await store.commit([AppendMessages("default", "t", [{"n": 2}], expected_seq=expected)])
        with pytest.raises(ConflictError):
            await store.commit([AppendMessages("default", "missing", [{"n": 2}], expected_seq=1)])
        assert await store.threads.last_seq("default", "t") == 1
        assert [info.thread for info in await store.threads.list()] == ["t"]

    async def test_of_appends_at_once_that_expect_the_same_end_one_wins(self, store: Store) -> None:
        results = await asyncio.gather(
            *(store.commit([AppendMessages("default", "t", [{"n": n}], expected_seq=0)]) for n in range(8)),
            return_exceptions=True,
        )
        assert sum(result == [1] for result in results) == 1

    async def test_threads_are_listed_and_deleted(self, store: Store, clock: ManualClock) -> None:
        made = clock.now_s
        await store.commit([AppendMessages("b", "t1", [{"n": 1}]), AppendMessages("a", "t2", [])])
        clock.advance(1)
        await store.commit([AppendMessages("b", "t1", [{"n": 2}])])
        infos = await store.threads.list()
        assert [(i.namespace, i.thread, i.messages, i.last_seq) for i in infos] == [
            ("a", "t2", 0, 0),
            ("b", "t1", 2, 2),
        ]
        assert (infos[1].created_s, infos[1].updated_s) == (made, made + 1)
        assert [i.thread for i in await store.threads.list("a")] == ["t2"]
        assert await store.commit([DeleteThread("b", "t1"), DeleteThread("b", "t1")]) == [True, False]
        assert not await store.threads.messages("b", "t1")
        assert await store.commit([AppendMessages("b", "t1", [{"n": 3}], expected_seq=0)]) == [1]

    # ------------------------------------------------------------------------------------------------- blobs

    async def test_blobs_are_kept_once_by_digest(self, store: Store) -> None:
        data = bytes(range(256)) * 400
        digest = await store.blobs.put(data)
        assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert await store.commit([PutBlob(data), PutBlob(b"")]) == [digest, f"sha256:{hashlib.sha256().hexdigest()}"]
        assert await store.blobs.get(digest) == data
        assert await store.blobs.get(f"sha256:{hashlib.sha256().hexdigest()}") == b""
        assert await store.blobs.has(digest)
        assert await store.blobs.delete(digest)
        assert not await store.blobs.delete(digest)
        assert not await store.blobs.has(digest)

    async def test_a_blob_stays_as_long_as_somebody_holds_it(self, store: Store) -> None:
        data = b"x" * 5000
        [digest, *_] = await store.commit([PutBlob(data, "r1"), PutBlob(data, "r1"), PutBlob(b"other", "r1")])
        assert await store.commit([HoldBlob(digest, "r2"), HoldBlob(digest, "r2")]) == [None, None]
        assert await store.commit([ReleaseBlobs("r1"), ReleaseBlobs("r1"), ReleaseBlobs("nobody")]) == [2, 0, 0]
        assert await store.blobs.get(digest) == data
        assert not await store.blobs.has(f"sha256:{hashlib.sha256(b'other').hexdigest()}")
        assert await store.commit([ReleaseBlobs("r2")]) == [1]
        assert not await store.blobs.has(digest)

    async def test_a_put_without_holder_stays_until_it_is_taken_back(self, store: Store) -> None:
        digest = await store.blobs.put(b"data")
        await store.commit([HoldBlob(digest, "r"), ReleaseBlobs("r")])
        assert await store.blobs.has(digest)
        await store.commit([HoldBlob(digest, "r")])
        assert await store.blobs.delete(digest)
        assert not await store.blobs.delete(digest)
        assert await store.blobs.get(digest) == b"data"
        await store.commit([ReleaseBlobs("r")])
        assert not await store.blobs.has(digest)
        assert await store.blobs.put(b"data") == digest
        assert await store.blobs.get(digest) == b"data"

    async def test_the_end_of_a_journal_lets_go_of_the_blobs_of_its_run(self, store: Store) -> None:
        [_, mine, both] = await store.commit(
            [ClaimRun("r", key_of("run", kind="Run"), "w"), PutBlob(b"mine", "r"), PutBlob(b"both", "r")]
        )
        await store.commit([HoldBlob(both, "other")])
        await store.commit([DropJournal("r")])
        assert not await store.blobs.has(mine)
        assert await store.blobs.has(both)

    async def test_only_what_is_there_can_be_held_and_a_failed_commit_holds_nothing(self, store: Store) -> None:
        [digest] = await store.commit([PutBlob(b"data", "r1")])
        for missing in (f"sha256:{'0' * 64}", "sha256:xyz", ""):
            with pytest.raises(NotFoundError):
                await store.commit([HoldBlob(digest, "r2"), PutBlob(b"new", "r2"), HoldBlob(missing, "r2")])
        with pytest.raises(NotFoundError):
            await store.commit([ReleaseBlobs("r1"), HoldBlob(digest, "r2")])
        assert await store.blobs.get(digest) == b"data"
        assert await store.commit([ReleaseBlobs("r2"), ReleaseBlobs("r1")]) == [0, 1]
        assert not await store.blobs.has(digest)
        assert not await store.blobs.has(f"sha256:{hashlib.sha256(b'new').hexdigest()}")

    @pytest.mark.parametrize("size", [1_000, 100_000, 3_000_000])
    async def test_large_values_are_kept_whole_wherever_they_stand(self, store: Store, size: int) -> None:
        def value(name: str) -> dict[str, Any]:
            return {"name": name, "text": "é\u0000" + "x" * size}

        run = key_of("run", kind="Run")
        await store.commit([ClaimRun("r", run, "w"), ClaimRun("r2", run, "w")])
        await store.commit(
            [
                AppendRecord("r", "p", value("record"), 1),
                AppendRecord("r2", "p", value("record"), 1),
                SendSignal("r", "s", value("signal")),
                SetState("s", {"k": value("state"), "small": 1}),
                AppendMessages("default", "t", [value("message"), value("message")]),
                CreateResource(make("a", n=value("resource"))),
            ]
        )
        assert await store.commit([AppendRecord("r", "p", {"late": 1}, 1)]) == [value("record")]
        assert [r.record for r in await store.journal.records("r")] == [value("record")]
        assert [s.payload for s in await store.journal.signals("r")] == [value("signal")]
        assert await store.state.get_state("s") == {"k": value("state"), "small": 1}
        assert await store.state.get_value("s", "k") == value("state")
        assert [m.message for m in await store.threads.messages("default", "t")] == [value("message")] * 2
        found = await store.resources.get(key_of("a"))
        assert found is not None
        assert found.spec == {"n": value("resource")}
        await store.state.set_value("s", "k", "now small")
        await store.commit([DropJournal("r"), DeleteThread("default", "t")])
        assert await store.state.get_state("s") == {"k": "now small", "small": 1}
        assert [r.record for r in await store.journal.records("r2")] == [value("record")]
        assert not await store.journal.records("r")

    async def test_a_blob_that_is_not_there_is_not_found(self, store: Store) -> None:
        for digest in (f"sha256:{'0' * 64}", "sha256:xyz", "md5:00", ""):
            with pytest.raises(NotFoundError):
                await store.blobs.get(digest)
            assert not await store.blobs.has(digest)
            assert not await store.blobs.delete(digest)

    # ------------------------------------------------------------------------------------------------- vectors

    async def test_vector_search_agrees_with_brute_force(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        random = Random(7)
        rows = {f"v{n:03}": [random.gauss(0, 1) for _ in range(24)] for n in range(200)}
        await store.vectors.upsert("c", [(name, row, {"odd": int(name[1:]) % 2}) for name, row in rows.items()])
        await store.vectors.upsert("other", [("x", [1.0, 0.0], {})])

        def cosine(a: list[float], b: list[float]) -> float:
            return sum(x * y for x, y in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))

        for _ in range(5):
            wanted = [random.gauss(0, 3) for _ in range(24)]
            for where in (None, {"odd": 1}):
                names = [name for name in rows if not where or int(name[1:]) % 2]
                best = sorted(names, key=lambda name: -cosine(rows[name], wanted))[:10]
                found = await store.vectors.query("c", wanted, where=where)
                assert [match.id for match in found] == best
                for match in found:
                    assert match.score == pytest.approx(cosine(rows[match.id], wanted), abs=1e-5)
                    assert match.metadata == {"odd": int(match.id[1:]) % 2}
        assert len(await store.vectors.query("c", wanted, k=3)) == 3
        assert len(await store.vectors.query("c", wanted, k=1000)) == 200

    async def test_vectors_are_replaced_filtered_and_deleted(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        vectors = store.vectors
        metadata: list[dict[str, Any]] = [{"t": "x", "n": 1}, {"t": "y", "ok": True}, {"t": "x", "l": [1], 'q"': None}]
        await vectors.upsert("c", [(f"v{n}", [1.0, float(n)], data) for n, data in enumerate(metadata)])

        async def ids(**arguments: Any) -> list[str]:
            return sorted(match.id for match in await vectors.query("c", [1.0, 0.0], **arguments))

        assert await ids(where={"t": "x"}) == ["v0", "v2"]
        assert await ids(where={"t": "x", "n": 1}) == ["v0"]
        assert await ids(where={"ok": True}) == ["v1"]
        assert await ids(where={"l": [1]}) == await ids(where={'q"': None}) == ["v2"]
        assert await ids(where={"t": None}) == []
        await vectors.upsert("c", [("v0", [0.0, 1.0], {"t": "z"})])
        [first, *_, last] = await vectors.query("c", [1.0, 0.0])
        assert (first.id, last.id, last.metadata) == ("v1", "v0", {"t": "z"})
        assert await vectors.delete("c", ids=["v0", "missing"]) == 1
        assert await vectors.delete("c", ids=["v1"], where={"t": "x"}) == 0
        assert await vectors.delete("c", where={"t": "x"}) == 1
        assert await ids() == ["v1"]
        assert await vectors.delete("c") == 1
        assert await ids() == []
        assert await vectors.delete("missing") == 0

    async def test_vectors_of_another_length_are_refused(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        vectors = store.vectors
        await vectors.upsert("c", [("a", [1.0, 0.0], {}), ("zero", [0.0, 0.0], {})])
        wrong: list[list[tuple[str, list[float], dict[str, Any]]]] = [
            [("b", [1.0], {})],
            [("b", [1.0, 2.0], {}), ("d", [1.0], {})],
        ]
        for items in wrong:
            with pytest.raises(VectorLengthError, match="length"):
                await vectors.upsert("c", items)
        with pytest.raises(VectorLengthError, match="length"):
            await vectors.query("c", [1.0, 2.0, 3.0])
        assert [(m.id, m.score) for m in await vectors.query("c", [2.0, 0.0])] == [("a", 1.0), ("zero", 0.0)]
        await vectors.delete("c")
        await vectors.upsert("c", [("a", [1.0, 0.0, 0.0], {})])

    # ------------------------------------------------------------------------------------------------- the end

    async def test_closing_twice_is_safe_and_then_writes_are_refused(self, store: Store) -> None:
        await store.commit([CreateResource(make("a"))])
        await store.aclose()
        await store.aclose()
        with pytest.raises(StoreUnavailableError):
            await store.commit([CreateResource(make("b"))])

    async def test_closing_finishes_pending_commits(self, store: Store) -> None:
        pending = [asyncio.ensure_future(store.commit([CreateResource(make(f"n{n}"))])) for n in range(20)]
        await asyncio.sleep(0)
        await store.aclose()
        assert all(len(result) == 1 for result in await asyncio.gather(*pending))

    async def test_everything_is_there_after_reopening(self, store: Store, request: pytest.FixtureRequest) -> None:
        if not self.persistent:
            pytest.skip("this store is not persistent")
        reopen: Reopen = request.getfixturevalue("reopen")
        [made, *_, digest] = await store.commit(
            [
                CreateResource(make("a", owners=("u",), labels={"x": "1"}, n=1)),
                ClaimRun("r", key_of("run", kind="Run"), "w"),
                AppendRecord("r", "p", {"n": 1}, 1),
                SetState("s", {"k": [1]}),
                AppendMessages("default", "t", [{"n": 1}]),
                PutBlob(b"bytes"),
            ]
        )
        lease = await store.leases.acquire("l", "w", 10)
        await store.aclose()
        again = await reopen()
        try:
            assert await again.resources.get(made.key) == made
            assert [r.record for r in await again.journal.records("r")] == [{"n": 1}]
            assert [c.epoch for c in await again.journal.claims()] == [1]
            assert await again.state.get_state("s") == {"k": [1]}
            assert [m.message for m in await again.threads.messages("default", "t")] == [{"n": 1}]
            assert await again.blobs.get(digest) == b"bytes"
            assert await again.leases.get("l") == lease
            [more] = await again.commit([CreateResource(make("b"))])
            assert int(more.metadata.resource_version) > int(made.metadata.resource_version)
            watch = again.resources.watch("", "", since=made.metadata.resource_version)
            assert (await anext(watch)).resource == more
        finally:
            await again.aclose()
