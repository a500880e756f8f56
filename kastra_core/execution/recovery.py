"""What keeps runs going across suspensions and dead processes: the lease, timers, signals, and taking runs over."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.errors import ConflictError, FencedError, KastraError, NotFoundError, StoreError
from kastra_core.execution.children import CANCEL_SIGNAL
from kastra_core.execution.run_status import FINISHED, running_status
from kastra_core.execution.state import RunState, used_signals
from kastra_core.execution.worker import Worker
from kastra_core.protocols.store import Claim, ClaimRun, Lease, Operation, ReleaseRun, Signal, UpdateResource

if TYPE_CHECKING:
    from kastra_core.execution.runs import RunManager

__all__ = ["Recovery"]

log = logging.getLogger("kastra.runs")

_AT_ONCE = 64
"""Runs that are taken over at once; their commits share transactions."""
_AGAIN_S = 1.0
_AGAIN_AT_MOST_S = 60.0
"""A run that was lost to a failing store is taken again after 1, 2, 4 ... 60 s."""
_FORGET_LEASE_S = 3600.0
"""The lease of a worker that ended without giving it back is removed after this long, when it has no runs."""


class Recovery:
    """Takes over runs for a manager.

    Args:
        manager: executes what is taken.
        worker: holds the runs of this process.
    """

    def __init__(self, manager: RunManager, worker: Worker) -> None:
        self._manager, self._store, self.worker = manager, manager.store, worker
        self.tasks: list[asyncio.Task[None]] = []
        self.resumed: list[ResourceKey] = []
        self.busy: set[str] = set()
        """uids of runs that are just being started or taken: this worker has their claim, no task has them yet."""
        self._timers: list[tuple[float, str]] = []
        self._instants: dict[str, float] = {}
        """The instant at which a run is to be woken; another one in ``_timers`` is void."""
        self._unheard: set[str] = set()
        """uids of runs that got a signal which nobody here could act upon."""
        self._cancels: set[str] = set()
        """Those of ``busy`` that are to be cancelled as soon as they have a task."""
        self._lost: dict[str, tuple[float, int]] = {}
        """(monotonic seconds before which it is not tried, times) by uid."""
        self._foreign: set[str] = set()
        self._wake = asyncio.Event()
        self._others = True
        self._look_at_s = 0.0
        self._look_at = 0.0

    # ------------------------------------------------------------------------------------ life

    async def begin(self, *, others: bool) -> None:
        """Take the lease and begin to watch; ``others``: take over what other workers left too, from time to time."""
        self._others = others
        await self._renew()
        signals = self._store.journal.watch_signals()
        self._plan_look()
        for loop in (self._keep_lease(), self._watch(signals), self._keep_house()):
            self.tasks.append(asyncio.create_task(loop))

    async def begin_recovery(self) -> None:
        """Take over what is there now."""
        await self._forget_leases()
        await self.recover(news=True)

    async def stop(self) -> None:
        """End the loops; the lease stays until :meth:`release`."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def look_again(self) -> None:
        """Look at the timers now."""
        self._wake.set()

    async def _renew(self) -> None:
        await self.worker.renew()

    async def _keep_lease(self) -> None:
        """In a task of its own: taking over many runs may last longer than a lease."""
        while True:
            await asyncio.sleep(self.worker.renew_every_s)
            try:
                await self._renew()
            except StoreError as error:
                log.warning("the lease of %s could not be renewed: %s", self.worker.id, error)

    def _plan_look(self) -> None:
        self._look_at_s = self._manager.clock() + self.worker.renew_every_s
        self._look_at = time.monotonic() + self.worker.renew_every_s

    async def _keep_house(self) -> None:
        """Wake what sleeps; look for runs without a worker from time to time."""
        while True:
            until = min(self._look_at_s, self._timers[0][0]) if self._timers else self._look_at_s
            # At most so long: the clock may be set back.
            wait_s = min(max(0.0, until - self._manager.clock()), self.worker.renew_every_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if self._manager.clock() >= self._look_at_s or time.monotonic() >= self._look_at:
                    self._plan_look()
                    await self._renew()
                    await self.recover()
                await self._fire_timers()
            except StoreError as error:
                log.warning("runs: the store did not answer: %s", error)
            except Exception:
                log.exception("runs: looking for runs without a worker failed")

    async def _forget_leases(self) -> None:
        now = self._manager.clock()
        old = [x for x in await self._store.leases.list("worker/") if x.expires_at_s < now - _FORGET_LEASE_S]
        if old:
            holders = {claim.holder for claim in await self._store.journal.claims()}
            for lease in old:
                if lease.name not in holders:
                    await self._store.leases.release(lease.name, lease.holder)

    # ------------------------------------------------------------------------------------ timers

    def sleep_until(self, uid: str, wake_at_s: float) -> None:
        """Take a suspended run at an instant."""
        if self._instants.get(uid) != wake_at_s:
            self._instants[uid] = wake_at_s
            heapq.heappush(self._timers, (wake_at_s, uid))
            self._wake.set()

    async def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self._manager.clock():
            wake_at_s, uid = heapq.heappop(self._timers)
            if self._instants.get(uid) != wake_at_s:
                continue
            del self._instants[uid]
            try:
                claim = await self._store.journal.claim(uid)
                if claim is None or claim.holder or claim.wake_at_s is None:
                    continue
                if claim.wake_at_s > self._manager.clock():
                    self.sleep_until(uid, claim.wake_at_s)
                else:
                    await self.take(claim)
            except StoreError:
                self.sleep_until(uid, self._manager.clock() + _AGAIN_S)
                raise

    # ------------------------------------------------------------------------------------ signals

    async def _watch(self, signals: AsyncIterator[Signal]) -> None:
        while True:
            try:
                async for signal in signals:
                    await self._hear(signal)
                return  # the store was closed
            except Exception as error:
                log.warning("runs: the watch of signals broke and is begun anew: %s", error)
            await asyncio.sleep(_AGAIN_S)
            with contextlib.suppress(StoreError):
                signals = self._store.journal.watch_signals()
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Act upon signals that came while nobody watched."""
        for uid in self._manager.uids():
            if any(signal.name == CANCEL_SIGNAL for signal in await self._store.journal.signals(uid)):
                self._manager.cancel_local(uid)
            elif (active := self._manager.find(uid)) is not None:
                active.state.tell()
        await self.recover(news=True)

    async def _hear(self, signal: Signal) -> None:
        uid = signal.run
        try:
            if signal.name == CANCEL_SIGNAL:
                if uid in self.busy:
                    self._cancels.add(uid)
                    return
                if self._manager.cancel_local(uid):
                    return
            elif uid in self.busy:
                return  # it looks for itself, once more after it was suspended
            elif (active := self._manager.find(uid)) is not None:
                active.state.tell(signal.name)
                return
            claim = await self._store.journal.claim(uid)
            if claim is None:
                return
            if claim.holder:
                self._unheard.add(uid)  # its worker may end before it looks
            elif signal.name == CANCEL_SIGNAL or await self._concerns(claim, signal.name):
                await self.take(claim)
        except StoreError as error:
            log.warning("runs: signal %s of run %s is looked at again later: %s", signal.name, uid, error)
            self._unheard.add(uid)
        except Exception:
            log.exception("runs: signal %s of run %s", signal.name, uid)

    async def _concerns(self, claim: Claim, name: str) -> bool:
        run = await self._store.resources.get(claim.key)
        waits_for = run.status.get("waitsFor") if run is not None else None
        return waits_for is None or name in waits_for

    async def look_for_news(self, state: RunState) -> None:
        """Take a run that was just suspended when its signal came before it had been released."""
        try:
            claim = await self._store.journal.claim(state.uid)
            if claim is not None and not claim.holder and await self._has_news(claim, state):
                await self.take(claim)
        except StoreError as error:
            log.warning("run %s: its signals are looked at again later: %s", state.key, error)
            self._unheard.add(state.uid)

    async def _has_news(self, claim: Claim, state: RunState | None = None) -> bool:
        """Whether a suspended run has a signal that it waits for and has not taken, or is to be cancelled."""
        signals = await self._store.journal.signals(claim.run)
        if not signals:
            return False
        if any(signal.name == CANCEL_SIGNAL for signal in signals):
            return True
        if state is not None:
            waits_for: Any = state.waits_for
        else:
            run = await self._store.resources.get(claim.key)
            waits_for = (run.status.get("waitsFor") if run is not None else None) or ()
        wanted = [signal.seq for signal in signals if signal.name in waits_for]
        if not wanted:
            return False
        if state is not None:
            used = used_signals(state.records.values())
        else:
            used = used_signals(line.record for line in await self._store.journal.records(claim.run))
        return any(seq not in used for seq in wanted)

    # ------------------------------------------------------------------------------------ taking over

    async def recover(self, *, news: bool = False) -> list[ResourceKey]:
        """Take the unfinished runs that no live worker has; return them.

        ``news``: look at the signals of all suspended runs, not only of those that are known to have got some.
        """
        claims = await self._store.journal.claims()
        self._foreign &= {claim.run for claim in claims}
        if not claims:
            self._unheard.clear()
            return []
        leases = {lease.name: lease for lease in await self._store.leases.list("worker/")}
        due = [claim for claim in claims if await self._is_due(claim, leases, news)]
        taken: list[ResourceKey] = []
        for at in range(0, len(due), _AT_ONCE):
            part = due[at : at + _AT_ONCE]
            if len(part) == 1:
                results = [await self._try(part[0])]
            else:
                results = await asyncio.gather(*(self._try(claim) for claim in part))
            taken.extend(claim.key for claim, done in zip(part, results) if done)
        self.resumed += taken
        return taken

    async def _try(self, claim: Claim) -> bool:
        try:
            return await self.take(claim)
        except StoreError as error:
            log.warning("%s could not be taken over yet: %s", claim.key, error)
        except Exception:
            log.exception("%s could not be taken over", claim.key)
        return False

    async def _is_due(self, claim: Claim, leases: dict[str, Lease], news: bool) -> bool:
        uid, now = claim.run, self._manager.clock()
        if uid in self.busy or self._manager.find(uid) is not None:
            return False
        if claim.holder == self.worker.id:
            # Lost to a failing store, or cut off in the middle of its start.
            return time.monotonic() >= self._lost.get(uid, (0.0, 0))[0]
        if not self._others and uid not in self._unheard:
            return False
        if claim.holder:
            return not self.worker.alive(leases.get(claim.holder), now)
        if claim.wake_at_s is not None:
            if claim.wake_at_s <= now:
                return True
            self.sleep_until(uid, claim.wake_at_s)
        if not news and uid not in self._unheard:
            return False
        found = await self._has_news(claim)
        if found:
            self._unheard.add(uid)  # until it is taken: that may fail
        else:
            self._unheard.discard(uid)
        return found

    def lost(self, uid: str) -> None:
        """The store failed while a run was executed here: take it again later."""
        times = self._lost.get(uid, (0.0, 0))[1] + 1
        wait_s = min(_AGAIN_AT_MOST_S, _AGAIN_S * 2 ** (times - 1))
        self._lost[uid] = (time.monotonic() + wait_s, times)
        self._unheard.add(uid)  # it may be suspended all the same, and its signals came while it was here

    def over(self, uid: str) -> None:
        """Forget what is known of a run."""
        self._lost.pop(uid, None)
        self._instants.pop(uid, None)
        self._unheard.discard(uid)

    async def take(self, claim: Claim) -> bool:
        """Claim a run and go on with it, or end it when it is cancelled. False: another worker has it, or nobody can.

        Raises: StoreError.
        """
        uid = claim.run
        if self._manager.closing or uid in self.busy or self._manager.find(uid) is not None:
            return False
        self.busy.add(uid)
        try:
            return await self._take(claim)
        except FencedError:
            return False
        finally:
            self.busy.discard(uid)
            if uid in self._cancels:
                self._cancels.discard(uid)
                self._manager.cancel_local(uid)

    async def _take(self, claim: Claim) -> bool:
        run = await self._store.resources.get(claim.key)
        if run is None or run.metadata.uid != claim.run or run.status.get("phase") in FINISHED:
            await self._store.commit([ReleaseRun(claim.run, claim.epoch)])
            return False
        if not self._can_run(run) and not await self._is_cancelled(claim.run):
            if claim.run not in self._foreign:
                self._foreign.add(claim.run)
                log.warning("%s is left to another worker: %s", claim.key, await self._why_not(run))
            return False
        claimed = await self._claim(run, claim)
        if claimed is None:
            return False
        run, epoch = claimed
        try:
            if await self._is_cancelled(claim.run):
                await self._manager.end_unstarted(run, epoch, "Cancelled", "Cancelled", "the run was cancelled")
                return False
            state = await self._load(run, epoch)
        except FencedError:
            raise  # another worker has it by now; that is no failure of the store
        except StoreError as error:
            log.warning("%s could not be read, it is tried again: %s", claim.key, error)
            self.lost(claim.run)
            return False
        except Exception as error:
            log.exception("%s cannot go on", claim.key)
            reason = error.reason if isinstance(error, KastraError) else "Unreadable"
            await self._manager.end_unstarted(run, epoch, "Failed", reason, str(error) or type(error).__name__)
            return False
        if self._manager.closing:
            await self._store.commit([ReleaseRun(claim.run, epoch, finished=False, wake_at_s=0.0)])
            return False
        self._instants.pop(claim.run, None)
        self._unheard.discard(claim.run)
        self._manager.admit(state)
        return True

    async def _claim(self, run: Resource, claim: Claim) -> tuple[Resource, int] | None:
        """Claim the run and show that it is Running here, in one commit; None when it is gone or in motion."""
        for _ in range(3):
            status = running_status(self._manager.clock(), self.worker.id, run.status)
            operations: list[Operation] = [
                ClaimRun(claim.run, claim.key, self.worker.id, expected_epoch=claim.epoch),
                UpdateResource(attrs.evolve(run, status=status), run.metadata.resource_version),
            ]
            try:
                epoch, updated = await self._store.commit(operations)
            except (ConflictError, NotFoundError):
                # Its labels were changed, or it was deleted.
                again = await self._store.resources.get(claim.key)
                if again is None or again.metadata.uid != claim.run:
                    return None
                run = again
            else:
                return updated, epoch
        return None

    def _can_run(self, run: Resource) -> bool:
        target = run.spec.get("target")
        if not isinstance(target, dict):
            return True  # it is ended with what is wrong with it
        kind = self._manager.runtime.registry.get(str(target.get("group")), str(target.get("kind")))
        return kind is not None and kind.executable

    async def _why_not(self, run: Resource) -> str:
        """Why this process cannot run the target of a run."""
        target = run.spec["target"]
        runtime = self._manager.runtime
        missing = (await runtime.missing_kinds()).get((str(target.get("group")), str(target.get("kind"))))
        if missing is not None and missing.plugin:
            return f"{missing}; {missing.remedy}"
        return f"no installed plugin runs {target.get('kind')}.{target.get('group')}"

    async def _is_cancelled(self, uid: str) -> bool:
        return any(signal.name == CANCEL_SIGNAL for signal in await self._store.journal.signals(uid))

    async def _load(self, run: Resource, epoch: int) -> RunState:
        pins = await self._manager.pins.load(run.spec["pinned"])
        records: dict[str, Any] = {
            line.path: line.record for line in await self._store.journal.records(run.metadata.uid)
        }
        return RunState(self._manager, run, epoch, pins, records)

    async def release(self, states: Sequence[RunState]) -> None:
        """Give runs that are not over to whoever wants them, with what they recorded; then the lease."""
        for state in states:
            await state.settle()
            # What follows from records that could not be written is not written either.
            operations: list[Operation] = [] if state.lost is not None else state.take_pending()
            operations.append(ReleaseRun(state.uid, state.epoch, finished=False, wake_at_s=0.0))
            if state.cancelled:
                operations.append(self._manager.cancelling(state.uid))
            try:
                await self._store.commit(operations)
            except FencedError:
                continue
            except Exception as error:
                log.warning("%s could not be handed over; it is taken over when the lease ends: %s", state.key, error)
        with contextlib.suppress(StoreError):
            await self.worker.release()
