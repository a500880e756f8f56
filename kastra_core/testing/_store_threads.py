"""The contract of threads in pages, of what hangs on a thread, and of scopes that are cleared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.errors import AlreadyExistsError, VectorLengthError
from kastra_core.protocols.store import (
    AppendMessages,
    ClearState,
    CreateResource,
    DeleteThread,
    HoldBlob,
    Operation,
    PutBlob,
    SetState,
    Store,
    ThreadInfo,
    UpsertVectors,
    thread_holder,
)
from kastra_core.testing._store_tools import Cases, ManualClock, Reopen, make, take

__all__ = ["ThreadCases"]

_HOLDER = thread_holder("default", "t")


def _vectors(collection: str, *names: str, holder: str = "", length: int = 2) -> UpsertVectors:
    return UpsertVectors(collection, [(name, [1.0] * length, {"n": name}) for name in names], holder)


async def _ids(store: Store, collection: str, length: int = 2) -> list[str]:
    assert store.vectors is not None
    return [match.id for match in await store.vectors.query(collection, [1.0] * length, k=100)]


class ThreadCases(Cases):
    # ------------------------------------------------------------------------------------------------- pages

    async def test_messages_are_read_after_a_number(self, store: Store) -> None:
        await store.commit([AppendMessages("default", "t", [{"n": n} for n in range(1, 11)])])

        async def seqs(**arguments: Any) -> list[int]:
            return [m.seq for m in await store.threads.messages("default", "t", **arguments)]

        assert await seqs(after=7) == [8, 9, 10]
        assert await seqs(after=3, up_to=6) == [4, 5, 6]
        assert await seqs(after=3, last=2) == [9, 10]
        assert await seqs(after=3, up_to=6, last=2) == [5, 6]
        assert await seqs(after=3, up_to=5, last=9) == [4, 5]
        assert await seqs(after=10) == await seqs(after=99) == await seqs(after=6, up_to=6) == []
        assert await seqs(after=0, last=1) == await seqs(after=-5, last=1) == [10]
        assert await seqs(after=2**40) == []
        assert not await store.threads.messages("default", "missing", after=1)

    async def test_threads_are_listed_in_pages(self, store: Store) -> None:
        names = [(space, f"t{n}") for space in ("a", "b", "b-c") for n in range(3)]
        await store.commit([AppendMessages(*name, [{"n": 1}]) for name in reversed(names)])

        async def listed(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
            return [(i.namespace, i.thread) for i in await store.threads.list(*arguments, **options)]

        found: list[tuple[str, str]] = []
        while page := await listed(limit=2, after=found[-1] if found else ("", "")):
            assert len(page) == min(2, len(names) - len(found))
            found += page
        assert found == names
        assert await listed(limit=99) == await listed() == await listed(after=("a", "")) == names
        assert await listed("b", limit=2) == [("b", "t0"), ("b", "t1")]
        assert await listed("b", limit=2, after=("b", "t1")) == [("b", "t2")]
        assert await listed("b", after=("a", "t9")) == names[3:6]
        assert await listed("b", after=("b-c", "t0")) == await listed(after=("z", "")) == []
        assert await listed(after=("b", "t1"), limit=2) == [("b", "t2"), ("b-c", "t0")]

    # ------------------------------------------------------------------------------------------------- state

    async def test_a_scope_is_cleared_with_those_below_it(self, store: Store) -> None:
        below = ["a_%", "a_%/b", "a_%/b/c", "a_%/"]
        others = ["a", "a_%0", "a_%.", "axy", "axy/b", "b/a_%", "A_%/b", "a_%é"]
        await store.commit([SetState(scope, {"k": 1, "l": "x" * 100_000}) for scope in (*below, *others)])
        assert await store.commit([ClearState("a_%"), ClearState("missing")]) == [None, None]
        for scope in below:
            assert await store.state.get_state(scope) == {}
            assert await store.state.get_value(scope, "k") is None
        for scope in others:
            assert set(await store.state.get_state(scope)) == {"k", "l"}
        await store.commit([SetState("a_%/b", {"new": 1})])
        assert await store.state.get_state("a_%/b") == {"new": 1}

    async def test_clearing_is_undone_with_its_commit(self, store: Store) -> None:
        await store.commit([SetState("a/b", {"k": 1}), CreateResource(make("a"))])
        with pytest.raises(AlreadyExistsError):
            await store.commit([ClearState("a"), SetState("a/b", {"l": 2}), CreateResource(make("a"))])
        assert await store.state.get_state("a/b") == {"k": 1}
        await store.commit([ClearState("a"), SetState("a/b", {"l": 2})])
        assert await store.state.get_state("a/b") == {"l": 2}

    async def test_who_watches_a_scope_sees_that_it_was_cleared(self, store: Store) -> None:
        await store.commit([SetState("a", {"k": 1}), SetState("a/b", {"k": 1}), SetState("a0", {"k": 1})])
        above, below, beside = (store.state.watch_state(scope) for scope in ("a", "a/b", "a0"))
        waiting = asyncio.ensure_future(take(beside, 1))
        await asyncio.sleep(0)
        await store.commit([ClearState("a")])
        assert await take(above, 1) == [{}]
        assert await take(below, 1) == [{}]
        await store.commit([SetState("a/b", {"k": 1}), SetState("a0", {"k": 2})])
        assert await take(below, 1) == [{"k": 1}]
        assert await waiting == [{"k": 2}]

    async def test_a_ttl_runs_on_while_the_store_is_closed(
        self, store: Store, clock: ManualClock, request: pytest.FixtureRequest
    ) -> None:
        if not self.persistent:
            pytest.skip("this store is not persistent")
        reopen: Reopen = request.getfixturevalue("reopen")
        await store.commit(
            [SetState("s", {"a": 1}, ttl_s=10), SetState("s", {"b": 2}, ttl_s=20), SetState("s", {"c": 3})]
        )
        clock.advance(5)
        await store.commit([SetState("s", {"b": 2}, ttl_s=20)])  # counts from this write
        await store.aclose()
        for seconds, keys in ((4, "abc"), (1, "bc"), (14, "bc"), (1, "c")):
            clock.advance(seconds)
            again = await reopen()
            try:
                assert "".join(sorted(await again.state.get_state("s"))) == keys
                assert [key for key in "abc" if await again.state.get_value("s", key) is not None] == list(keys)
            finally:
                await again.aclose()

    # ------------------------------------------------------------------------------------------------- holders

    async def test_vectors_are_committed_with_the_rest_or_not_at_all(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        message = AppendMessages("default", "t", [{"n": 1}])
        assert await store.commit([message, _vectors("c", "a", "b"), UpsertVectors("empty", [])]) == [1, None, None]
        with pytest.raises(VectorLengthError, match="holds vectors of length 2, found one of length 3") as caught:
            await store.commit([message, _vectors("new", "x"), _vectors("c", "a", length=3)])
        assert caught.value.reason == "VectorLength"
        with pytest.raises(VectorLengthError):
            await store.commit([message, UpsertVectors("new", [("x", [1.0], {}), ("y", [1.0, 2.0], {})])])
        with pytest.raises(AlreadyExistsError):
            await store.commit(
                [
                    UpsertVectors("c", [("a", [0.0, 1.0], {"changed": 1})], _HOLDER),
                    _vectors("new", "x"),
                    CreateResource(make("r")),
                    CreateResource(make("r")),
                ]
            )
        assert await store.threads.last_seq("default", "t") == 1
        assert await _ids(store, "new") == await _ids(store, "empty") == []
        assert {match.id: match.metadata for match in await store.vectors.query("c", [1.0, 1.0])} == {
            "a": {"n": "a"},
            "b": {"n": "b"},
        }
        await store.commit([_vectors("new", "x", length=5), DeleteThread("default", "t")])  # no length was remembered
        assert await _ids(store, "c") == ["a", "b"]  # the failed write made the thread no holder

    async def test_the_last_write_says_who_holds_a_vector(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        await store.commit([_vectors("c", "a", "b", "c", holder=_HOLDER), _vectors("c", "d")])
        await store.commit([_vectors("c", "a", holder="other"), _vectors("c", "d", holder=_HOLDER)])
        await store.vectors.upsert("c", [("b", [1.0, 1.0], {})])
        await store.vectors.delete("c", ["c"])
        await store.commit([_vectors("c", "c")])
        await store.commit([DeleteThread("default", "t")])
        assert await _ids(store, "c") == ["a", "b", "c"]

    async def test_a_search_among_what_a_holder_holds_finds_nothing_else(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        vectors = store.vectors
        mine: list[tuple[str, list[float], JsonObject]] = [
            (f"m{n:03}", [float(n), 1.0], {"odd": n % 2, "text": f'{n % 3} "ä"'}) for n in range(200)
        ]
        await store.commit(
            [
                UpsertVectors("c", mine, _HOLDER),
                UpsertVectors("c", [("theirs", [1.0, 0.0], {"odd": 1, "text": '1 "ä"'})], "other"),
                UpsertVectors("c", [("nobody's", [1.0, 0.0], {"odd": 1})]),
                UpsertVectors("d", [("m001", [1.0, 0.0], {"odd": 1})], _HOLDER),
            ]
        )

        async def found(collection: str = "c", **options: Any) -> list[str]:
            return [match.id for match in await vectors.query(collection, [1.0, 0.0], **options)]

        assert await found(k=2) == ["nobody's", "theirs"]
        assert await found(k=2, holder=_HOLDER) == ["m199", "m198"]
        assert await found(k=2, holder=_HOLDER, where={"odd": 0}) == ["m198", "m196"]
        assert await found(k=2, holder=_HOLDER, where={"text": '1 "ä"'}) == ["m199", "m196"]
        assert await found(k=2, holder=_HOLDER, where={"odd": 1, "text": '1 "ä"'}) == ["m199", "m193"]
        assert len(await found(k=999, holder=_HOLDER)) == 200
        assert await found("d", holder=_HOLDER) == ["m001"]
        assert await found(holder="other") == ["theirs"]
        assert await found(holder="other", where={"odd": 0}) == []
        assert await found(holder="") == ["nobody's"]
        assert await found(holder="unknown") == await found("none", holder=_HOLDER) == []
        with pytest.raises(VectorLengthError):
            await vectors.query("c", [1.0], holder="unknown")
        await store.commit([UpsertVectors("c", [mine[199], ("theirs", [1.0, 0.1], {})], "other")])  # it moved
        assert await found(k=1, holder=_HOLDER) == ["m198"]
        assert await found(holder="other") == ["m199", "theirs"]
        assert await vectors.delete("c", ["m198", "theirs", "nobody's"], holder=_HOLDER) == 1
        assert await vectors.delete("c", holder="other", where={"odd": 1}) == 1
        assert await vectors.delete("c", holder="unknown") == 0
        assert await vectors.delete("c", holder="") == 1
        assert await vectors.delete("c", where={"odd": 0}, holder=_HOLDER) == 99
        assert await found(k=1, holder=_HOLDER) == ["m197"]
        await store.commit([DeleteThread("default", "t")])
        assert await found(holder=_HOLDER) == await found("d", holder=_HOLDER) == []
        assert await found() == ["theirs"]
        await store.commit([UpsertVectors("c", mine, _HOLDER)])
        assert await vectors.delete("c", holder=_HOLDER) == 200
        assert await found() == ["theirs"]

    async def test_a_field_is_no_match_where_it_lies_deeper(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        deeper: JsonObject = {"a": "y", "in": {"a": "x"}}
        items: list[tuple[str, list[float], JsonObject]] = [(f"d{n}", [1.0, 0.0], deeper) for n in range(20)]
        items += [
            ("x", [0.0, 1.0], {"a": "x"}),
            ("quoted", [1.0, 0.0], {"a": '"a":"x"'}),
            ("more", [1.0, 0.0], {"a": "xx"}),
        ]
        await store.vectors.upsert("c", items)
        assert [m.id for m in await store.vectors.query("c", [1.0, 0.0], k=3, where={"a": "x"})] == ["x"]
        assert [m.id for m in await store.vectors.query("c", [1.0, 0.0], k=3, where={"a": '"a":"x"'})] == ["quoted"]
        assert await store.vectors.delete("c", where={"a": "x"}) == 1

    async def test_a_thread_takes_all_that_it_holds_with_it(self, store: Store) -> None:
        other = thread_holder("default", "t2")
        [_, digest, both, *_] = await store.commit(
            [
                AppendMessages("default", "t", [{"n": "x" * 300_000}, {"n": 1}]),
                PutBlob(b"mine", _HOLDER),
                PutBlob(b"both", _HOLDER),
                SetState(_HOLDER, {"k": 1}),
                SetState(f"{_HOLDER}/agent/default/a/summary", {"k": "x" * 300_000}, ttl_s=5),
                SetState(f"{other}/agent/default/a/summary", {"k": 1}),
                SetState("agent/default/a/working", {"k": 1}),
                AppendMessages("default", "t2", [{"n": "x" * 300_000}]),
            ]
        )
        await store.commit([HoldBlob(both, other)])
        if store.vectors is not None:
            await store.commit([_vectors("c", *(f"m{n:03}" for n in range(300)), holder=_HOLDER)])
            await store.commit([_vectors("c", "other", holder=other), _vectors("own", "m", holder=_HOLDER)])
        watch = store.state.watch_state(f"{_HOLDER}/agent/default/a/summary")
        with pytest.raises(AlreadyExistsError):
            await store.commit([DeleteThread("default", "t"), CreateResource(make("a")), CreateResource(make("a"))])
        assert await store.threads.last_seq("default", "t") == 2
        assert await store.blobs.has(digest)
        if store.vectors is not None:
            assert len(await store.vectors.query("c", [1.0, 1.0], k=400)) == 301
        assert await store.commit([DeleteThread("default", "t")]) == [True]
        assert await take(watch, 1) == [{}]
        assert not await store.threads.messages("default", "t")
        assert [info.thread for info in await store.threads.list()] == ["t2"]
        assert await store.state.get_state(_HOLDER) == {}
        assert [await store.blobs.has(blob) for blob in (digest, both)] == [False, True]
        assert await store.state.get_state(f"{other}/agent/default/a/summary") == {"k": 1}
        assert await store.state.get_state("agent/default/a/working") == {"k": 1}
        assert [m.message for m in await store.threads.messages("default", "t2")] == [{"n": "x" * 300_000}]
        if store.vectors is not None:
            assert await _ids(store, "c") == ["other"]
            await store.commit([_vectors("own", "m", length=3)])  # nothing is left of it, not even its length

    async def test_names_of_threads_do_not_reach_into_each_other(self, store: Store) -> None:
        names = ["t", "t/u", "t%", "t%2Fu", "t_"]
        await store.commit([SetState(f"{thread_holder('default', name)}/x", {"n": name}) for name in names])
        assert await store.commit([DeleteThread("default", "t")] * 2) == [True, False]
        left = [await store.state.get_state(f"{thread_holder('default', name)}/x") for name in names]
        assert left == [{}, *({"n": name} for name in names[1:])]

    async def test_a_thread_begins_with_the_first_value_of_its_state(self, store: Store, clock: ManualClock) -> None:
        quoted = f"{thread_holder('default', 'a/ü %')}/network/default/n"
        others = [
            "thread",
            "thread/default",
            "thread/default/",
            "thread/default//x",
            "thread/default/%zz",
            "threads/a/b",
        ]
        await store.commit([SetState(scope, {"k": 1}) for scope in others])
        await store.commit([SetState(quoted, {"k": None}), SetState(_HOLDER, {})])
        await store.commit([ClearState(_HOLDER)])
        assert await store.threads.list() == []
        with pytest.raises(AlreadyExistsError):
            await store.commit([SetState(quoted, {"k": 1}), CreateResource(make("a")), CreateResource(make("a"))])
        assert await store.threads.list() == []

        began = clock()
        await store.commit([SetState(quoted, {"k": 1, "l": None}), SetState(_HOLDER, {"k": 1}, ttl_s=5)])
        clock.advance(10)
        await store.state.set_value(quoted, "k", 2)
        empty = [ThreadInfo("default", name, 0, 0, began, began) for name in ("a/ü %", "t")]
        assert await store.threads.list() == empty, "those that are there stay as they were"
        assert await store.threads.last_seq("default", "t") == 0
        assert not await store.threads.messages("default", "t")
        assert await store.commit([AppendMessages("default", "t", [{"n": 1}], expected_seq=0)]) == [1]
        assert await store.threads.list() == [empty[0], ThreadInfo("default", "t", 1, 1, began, began + 10)]
        assert await store.commit([DeleteThread("default", "a/ü %")]) == [True]
        assert await store.state.get_state(quoted) == {}

    async def test_a_thread_begins_with_the_first_vector_that_it_holds(self, store: Store) -> None:
        if store.vectors is None:
            pytest.skip("this store has no vectors")
        await store.commit([_vectors("c", "a"), _vectors("c", "b", holder="run"), UpsertVectors("c", [], _HOLDER)])
        assert await store.threads.list() == []
        await store.commit([_vectors("c", "c", holder=_HOLDER)])
        assert [(info.thread, info.messages) for info in await store.threads.list()] == [("t", 0)]
        assert await store.commit([DeleteThread("default", "t")]) == [True]
        assert await _ids(store, "c") == ["a", "b"]

    async def test_a_thread_that_is_made_again_starts_empty(self, store: Store) -> None:
        operations: list[Operation] = [
            AppendMessages("default", "t", [{"n": 1}], expected_seq=0),
            SetState(f"{_HOLDER}/x", {"k": 1}),
        ]
        if store.vectors is not None:
            operations.append(_vectors("c", "a", holder=_HOLDER))
        await store.commit([*operations, DeleteThread("default", "t"), operations[0]])
        assert [m.seq for m in await store.threads.messages("default", "t")] == [1]
        assert await store.state.get_state(f"{_HOLDER}/x") == {}
        if store.vectors is not None:
            assert await _ids(store, "c") == []

    async def test_what_a_thread_holds_is_known_after_reopening(
        self, store: Store, request: pytest.FixtureRequest
    ) -> None:
        if not self.persistent or store.vectors is None:
            pytest.skip("this store is not persistent, or has no vectors")
        reopen: Reopen = request.getfixturevalue("reopen")
        [digest, *_] = await store.commit(
            [PutBlob(b"x", _HOLDER), _vectors("c", "a", holder=_HOLDER), _vectors("c", "b")]
        )
        await store.aclose()
        again = await reopen()
        try:
            await again.commit([DeleteThread("default", "t")])
            assert await _ids(again, "c") == ["b"]
            assert not await again.blobs.has(digest)
        finally:
            await again.aclose()
