"""The contract of writes that are committed with a journal record, and only with it."""

from __future__ import annotations

import asyncio

import pytest

from kastra_core.errors import AlreadyExistsError, ConflictError, FencedError, NotFoundError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DropJournal,
    HoldBlob,
    Operation,
    PutBlob,
    ReleaseRun,
    SendSignal,
    SetState,
    Store,
    UpdateResource,
)
from kastra_core.testing._store_tools import GROUP, KIND, Cases, key_of, make, take

__all__ = ["EffectCases"]

_LARGE = "large " * 50_000


def _claim(run: str = "r") -> ClaimRun:
    return ClaimRun(run, key_of(run, kind="Run"), "w")


def _append(*writes: Operation, path: str = "p", record: object = 1, epoch: int = 1) -> AppendRecord:
    return AppendRecord("r", path, record, epoch, writes)


async def _said(store: Store) -> list[object]:
    return [message.message["n"] for message in await store.threads.messages("default", "t")]


class EffectCases(Cases):
    async def test_the_writes_of_a_record_are_carried_out_with_it(self, store: Store) -> None:
        await store.commit([_claim()])
        watch = store.resources.watch(GROUP, KIND)
        signals = store.journal.watch_signals()
        states = store.state.watch_state("s")
        writes = (
            CreateResource(make("a", n=1)),
            SetState("s", {"k": _LARGE}),
            AppendMessages("default", "t", [{"n": 1}, {"n": _LARGE}]),
            SendSignal("other", "go", {"n": 1}),
            PutBlob(b"bytes", "r"),
            AppendRecord("r", "q", {"nested": True}, 1),
        )
        assert await store.commit([_append(*writes), SetState("s", {"after": 1})]) == [None, None]
        assert {r.path: r.record for r in await store.journal.records("r")} == {"p": 1, "q": {"nested": True}}
        assert await store.state.get_state("s") == {"k": _LARGE, "after": 1}
        assert await _said(store) == [1, _LARGE]
        assert [(await take(watch, 1))[0].resource.spec, (await take(signals, 1))[0].payload] == [{"n": 1}, {"n": 1}]
        assert await take(states, 1) == [{"k": _LARGE, "after": 1}]
        await store.commit([DropJournal("r")])
        assert not await store.journal.records("r")

    @pytest.mark.parametrize("record", [{"n": 1}, None, _LARGE])
    async def test_a_record_that_was_there_before_carries_out_no_writes(self, store: Store, record: object) -> None:
        def append(n: int) -> AppendRecord:
            return _append(AppendMessages("default", "t", [{"n": n}]), SetState("s", {"n": n}), record=record)

        await store.commit([_claim()])
        assert await store.commit([append(1)]) == [None]
        for n in (2, 3):
            assert await store.commit([append(n)]) == [record]
        assert await store.commit([append(4), append(5), SetState("s", {"m": 1})]) == [record, record, None]
        assert await _said(store) == [1]
        assert await store.state.get_state("s") == {"n": 1, "m": 1}

    async def test_of_two_records_of_one_path_in_one_commit_the_first_writes(self, store: Store) -> None:
        await store.commit([_claim()])
        results = await store.commit([_append(SetState("s", {"n": n}), record=n) for n in (1, 2, 3)])
        assert results == [None, 1, 1]
        assert await store.state.get_state("s") == {"n": 1}

    async def test_of_many_at_once_one_writes(self, store: Store) -> None:
        await store.commit([_claim()])
        appends = [_append(AppendMessages("default", "t", [{"n": n}]), record=n) for n in range(6)]
        results = [result for [result] in await asyncio.gather(*(store.commit([append]) for append in appends))]
        [winner] = [n for n, result in enumerate(results) if result is None]
        assert [result for result in results if result is not None] == [winner] * 5
        assert await _said(store) == [winner]

    @pytest.mark.parametrize("alone", [True, False])
    async def test_a_write_that_fails_undoes_the_record_and_the_whole_commit(self, store: Store, alone: bool) -> None:
        [there, _] = await store.commit([CreateResource(make("a")), _claim()])
        failing: list[tuple[Operation, type[Exception]]] = [
            (CreateResource(make("a")), AlreadyExistsError),
            (UpdateResource(there, "wrong"), ConflictError),
            (AppendMessages("default", "t", [{"n": 9}], expected_seq=7), ConflictError),
            (HoldBlob(f"sha256:{'0' * 64}", "r"), NotFoundError),
            (AppendRecord("r", "q", 1, 9), FencedError),
            (ReleaseRun("r", 9), FencedError),
        ]
        before: list[Operation] = [] if alone else [SetState("s", {"first": 1}), CreateResource(make("c"))]
        for number, (failure, error) in enumerate(failing):
            writes = (SetState("s", {"n": number}), CreateResource(make("b")), AppendMessages("default", "u", [{}]))
            with pytest.raises(error):
                await store.commit([*before, _append(*writes, failure, SetState("s", {"never": 1}))])
        assert not await store.journal.records("r")
        assert await store.state.get_state("s") == {}
        assert await store.threads.list() == []
        assert [r.metadata.name for r in (await store.resources.list(GROUP, KIND)).items] == ["a"]
        # The numbers that were taken are free again, and the run's claim is as it was.
        [_, made] = await store.commit([_append(SetState("s", {"n": 1})), CreateResource(make("d"))])
        assert int(made.metadata.resource_version) == int(there.metadata.resource_version) + 1

    async def test_a_failure_is_that_of_its_own_commit_only(self, store: Store) -> None:
        await store.commit([CreateResource(make("a")), _claim()])
        results = await asyncio.gather(
            store.commit([_append(SetState("s", {"x": 1}), path="x")]),
            store.commit([_append(SetState("s", {"y": 1}), CreateResource(make("a")), path="y")]),
            store.commit([_append(SetState("s", {"z": 1}), path="z")]),
            return_exceptions=True,
        )
        assert results[0] == results[2] == [None]
        assert isinstance(results[1], AlreadyExistsError)
        assert await store.state.get_state("s") == {"x": 1, "z": 1}
        assert [r.path for r in await store.journal.records("r")] == ["x", "z"]

    async def test_a_worker_that_is_fenced_writes_nothing(self, store: Store) -> None:
        await store.commit([_claim()])
        await store.commit([ClaimRun("r", key_of("r", kind="Run"), "other", expected_epoch=1)])
        with pytest.raises(FencedError):
            await store.commit([_append(SetState("s", {"n": 1}))])
        assert await store.state.get_state("s") == {}
        # A record that is there does not help it either.
        await store.commit([_append(epoch=2)])
        with pytest.raises(FencedError):
            await store.commit([_append(SetState("s", {"n": 1}))])

    async def test_writes_within_writes_are_refused(self, store: Store) -> None:
        await store.commit([_claim()])
        inner = _append(SetState("s", {"n": 1}), path="q")
        with pytest.raises(ValueError, match="record p of run r: a record among its writes"):
            await store.commit([SetState("s", {"m": 1}), _append(inner)])
        assert await store.state.get_state("s") == {}
        assert not await store.journal.records("r")

    async def test_after_its_journal_was_dropped_a_record_writes_again(self, store: Store) -> None:
        for n in (1, 2):
            await store.commit([_claim()])
            assert await store.commit([_append(AppendMessages("default", "t", [{"n": n}]))]) == [None]
            await store.commit([DropJournal("r")])
        assert await _said(store) == [1, 2]
