"""The contract of runs: claims, fencing, journal, signals, leases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kastra_core.errors import FencedError
from kastra_core.protocols.store import (
    AppendRecord,
    Claim,
    ClaimRun,
    CreateResource,
    DropJournal,
    ReleaseRun,
    SendSignal,
    Store,
)
from kastra_core.testing._store_tools import Cases, ManualClock, key_of, make

__all__ = ["RunCases"]

RUN = key_of("run", kind="Run")


def claim(run: str = "r", holder: str = "w1", expected: int = 0, wake_at_s: float | None = None) -> ClaimRun:
    return ClaimRun(run, RUN, holder, expected, wake_at_s)


class RunCases(Cases):
    # ------------------------------------------------------------------------------------------------- claims

    async def test_a_claim_counts_epochs_from_one(self, store: Store) -> None:
        assert await store.journal.claim("r") is None
        assert await store.commit([claim()]) == [1]
        assert await store.commit([claim(holder="w2", expected=1, wake_at_s=5.5)]) == [2]
        assert await store.journal.claim("r") == Claim("r", RUN, "w2", 2, 5.5)

    async def test_a_claim_that_expects_another_epoch_is_fenced(self, store: Store) -> None:
        with pytest.raises(FencedError):
            await store.commit([claim(expected=1)])
        await store.commit([claim()])
        for expected in (0, 2):
            with pytest.raises(FencedError):
                await store.commit([claim(holder="w2", expected=expected)])
        found = await store.journal.claim("r")
        assert found is not None
        assert found.holder == "w1"

    async def test_of_workers_that_claim_at_once_one_wins(self, store: Store) -> None:
        results = await asyncio.gather(
            *(store.commit([claim(holder=f"w{n}")]) for n in range(10)), return_exceptions=True
        )
        assert sum(result == [1] for result in results) == 1
        assert sum(isinstance(result, FencedError) for result in results) == 9

    async def test_claims_are_those_of_unfinished_runs(self, store: Store) -> None:
        await store.commit([claim("r1"), claim("r2"), claim("r3")])
        await store.commit([ReleaseRun("r1", 1), ReleaseRun("r2", 1, finished=False, wake_at_s=7.0)])
        found = {c.run: c for c in await store.journal.claims()}
        assert found == {"r2": Claim("r2", RUN, "", 1, 7.0), "r3": Claim("r3", RUN, "w1", 1, None)}

    async def test_a_claim_that_was_released_is_claimed_with_its_epoch(self, store: Store) -> None:
        await store.commit([claim(), ReleaseRun("r", 1, finished=False)])
        with pytest.raises(FencedError):
            await store.commit([claim()])
        assert await store.commit([claim(holder="w2", expected=1)]) == [2]

    async def test_releasing_with_another_epoch_is_fenced(self, store: Store) -> None:
        await store.commit([claim(), claim(holder="w2", expected=1)])
        for operation in (ReleaseRun("r", 1), ReleaseRun("r", 3), ReleaseRun("unknown", 1)):
            with pytest.raises(FencedError):
                await store.commit([operation])
        assert await store.journal.claim("r") == Claim("r", RUN, "w2", 2, None)

    async def test_epochs_go_on_after_a_finished_claim(self, store: Store) -> None:
        await store.commit([claim(), ReleaseRun("r", 1)])
        assert await store.journal.claim("r") is None
        assert await store.commit([claim(holder="w2")]) == [2]
        with pytest.raises(FencedError):
            await store.commit([AppendRecord("r", "p", 1, 1)])

    # ------------------------------------------------------------------------------------------------- records

    async def test_records_come_back_in_order(self, store: Store, clock: ManualClock) -> None:
        await store.commit([claim()])
        values: list[Any] = [None, {"b": [1, "x"]}, 3.5, "text", [], False]
        for n, value in enumerate(values):
            clock.advance(1)
            assert await store.commit([AppendRecord("r", f"p{9 - n}", value, 1)]) == [None]
        records = await store.journal.records("r")
        assert [record.record for record in records] == values
        assert [record.path for record in records] == [f"p{9 - n}" for n in range(6)]
        assert [record.time_s for record in records] == [clock.now_s - 5 + n for n in range(6)]
        seqs = [record.seq for record in records]
        assert seqs == sorted(set(seqs))
        assert await store.journal.records("unknown") in ([], ())

    async def test_the_first_record_of_a_path_stays(self, store: Store) -> None:
        await store.commit([claim(), claim("other")])
        assert await store.commit([AppendRecord("r", "p", {"n": 1}, 1)]) == [None]
        assert await store.commit([AppendRecord("r", "p", {"n": 2}, 1)]) == [{"n": 1}]
        assert await store.commit([AppendRecord("other", "p", {"n": 3}, 1)]) == [None]
        assert [record.record for record in await store.journal.records("r")] == [{"n": 1}]

    async def test_a_record_of_another_epoch_is_fenced(self, store: Store) -> None:
        with pytest.raises(FencedError):
            await store.commit([AppendRecord("r", "p", 1, 1)])
        await store.commit([claim(), claim(holder="w2", expected=1)])
        for epoch in (0, 1, 3):
            with pytest.raises(FencedError):
                await store.commit([AppendRecord("r", "p", 1, epoch)])
        await store.commit([AppendRecord("r", "p", 2, 2), ReleaseRun("r", 2)])
        with pytest.raises(FencedError):
            await store.commit([AppendRecord("r", "q", 1, 2)])
        assert [record.record for record in await store.journal.records("r")] == [2]

    async def test_a_fenced_worker_writes_nothing_else_of_its_commit(self, store: Store) -> None:
        await store.commit([claim(), claim(holder="w2", expected=1)])
        with pytest.raises(FencedError):
            await store.commit([CreateResource(make("a")), AppendRecord("r", "p", 1, 1)])
        assert await store.resources.get(key_of("a")) is None

    async def test_dropping_a_journal_removes_records_signals_and_claim(self, store: Store) -> None:
        await store.commit([claim(), AppendRecord("r", "p", 1, 1), SendSignal("r", "go"), claim("kept")])
        await store.commit([AppendRecord("kept", "p", 1, 1), SendSignal("kept", "go")])
        assert await store.commit([DropJournal("r"), DropJournal("unknown")]) == [None, None]
        assert not await store.journal.records("r")
        assert not await store.journal.signals("r")
        assert [c.run for c in await store.journal.claims()] == ["kept"]
        assert len(await store.journal.records("kept")) == len(await store.journal.signals("kept")) == 1
        with pytest.raises(FencedError):
            await store.commit([AppendRecord("r", "p", 1, 1)])

    async def test_records_of_many_runs_at_once_stay_apart(self, store: Store) -> None:
        async def run(uid: str) -> None:
            [epoch] = await store.commit([claim(uid)])
            for n in range(10):
                await store.commit([AppendRecord(uid, f"step#{n}", {"of": uid, "n": n}, epoch)])
            await store.commit([ReleaseRun(uid, epoch)])

        uids = [f"run-{n}" for n in range(12)]
        await asyncio.gather(*map(run, uids))
        for uid in uids:
            assert [r.record for r in await store.journal.records(uid)] == [{"of": uid, "n": n} for n in range(10)]
        assert not await store.journal.claims()

    # ------------------------------------------------------------------------------------------------- signals

    async def test_a_signal_may_come_before_the_run(self, store: Store) -> None:
        assert await store.commit([SendSignal("r", "go", {"n": 1})]) == [True]
        assert await store.journal.claim("r") is None
        assert await store.commit([claim()]) == [1]
        [signal] = await store.journal.signals("r")
        assert (signal.run, signal.name, signal.payload, signal.signal_id) == ("r", "go", {"n": 1}, "")

    async def test_a_repeated_signal_is_kept_once(self, store: Store) -> None:
        sends = [SendSignal("r", "go", n, "id1") for n in range(2)] + [SendSignal("other", "go", 2, "id1")]
        assert [(await store.commit([send]))[0] for send in sends] == [True, False, True]
        assert await store.commit([SendSignal("r", "go", 3), SendSignal("r", "go", 4)]) == [True, True]
        signals = await store.journal.signals("r")
        assert [signal.payload for signal in signals] == [0, 3, 4]
        seqs = [signal.seq for signal in (*signals, *await store.journal.signals("other"))]
        assert len(set(seqs)) == 4
        assert [signal.seq for signal in signals] == sorted(signal.seq for signal in signals)

    # ------------------------------------------------------------------------------------------------- leases

    async def test_a_lease_excludes_others_until_it_expires(self, store: Store, clock: ManualClock) -> None:
        lease = await store.leases.acquire("l", "w1", 10, {"pid": 1})
        assert lease is not None
        assert (lease.name, lease.holder, lease.expires_at_s, lease.data) == ("l", "w1", clock.now_s + 10, {"pid": 1})
        assert await store.leases.get("l") == lease
        assert await store.leases.acquire("l", "w2", 10) is None
        clock.advance(10.5)
        assert await store.leases.get("l") == lease
        taken = await store.leases.acquire("l", "w2", 10)
        assert taken is not None
        assert taken.holder == "w2"
        assert taken.epoch > lease.epoch
        assert taken.data == {}
        assert await store.leases.acquire("l", "w1", 10) is None

    async def test_renewing_a_lease_keeps_epoch_and_data(self, store: Store, clock: ManualClock) -> None:
        lease = await store.leases.acquire("l", "w1", 10, {"pid": 1})
        clock.advance(9)
        renewed = await store.leases.acquire("l", "w1", 10)
        assert lease is not None
        assert renewed is not None
        assert (renewed.epoch, renewed.data, renewed.expires_at_s) == (lease.epoch, {"pid": 1}, clock.now_s + 10)
        changed = await store.leases.acquire("l", "w1", 10, {"pid": 2})
        assert changed is not None
        assert changed.data == {"pid": 2}

    async def test_a_lease_that_was_released_is_free_and_its_epoch_grows(self, store: Store) -> None:
        lease = await store.leases.acquire("l", "w1", 10)
        assert not await store.leases.release("l", "w2")
        assert await store.leases.release("l", "w1")
        assert not await store.leases.release("l", "w1")
        assert await store.leases.get("l") is None
        again = await store.leases.acquire("l", "w2", 10)
        assert lease is not None
        assert again is not None
        assert again.epoch > lease.epoch

    async def test_of_holders_that_acquire_at_once_one_wins(self, store: Store) -> None:
        leases = await asyncio.gather(*(store.leases.acquire("l", f"w{n}", 10) for n in range(10)))
        assert sum(lease is not None for lease in leases) == 1

    async def test_leases_are_listed_by_prefix(self, store: Store) -> None:
        for name in ("worker/b", "worker/a", "worker%", "other"):
            await store.leases.acquire(name, "w", 10)
        assert [lease.name for lease in await store.leases.list("worker/")] == ["worker/a", "worker/b"]
        assert len(await store.leases.list()) == 4
