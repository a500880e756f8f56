"""RunManager: starts, executes, suspends, cancels and finishes runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import (
    ConflictError,
    FencedError,
    KastraError,
    NotFoundError,
    OperationError,
    RunCancelledError,
    StoreError,
    UserError,
    ValidationError,
    nearest,
)
from kastra_core.execution.branches import Suspend
from kastra_core.execution.children import CANCEL_SIGNAL, RUN_KIND, Children, forward
from kastra_core.execution.context import Context
from kastra_core.execution.handle import ActiveRun, RunHandle, RunOptions
from kastra_core.execution.pins import PinBoard
from kastra_core.execution.recovery import Recovery
from kastra_core.execution.run_status import (
    FINISHED,
    final_status,
    pending_status,
    running_status,
    suspended_status,
)
from kastra_core.execution.scheduler import Scheduler, Ticket
from kastra_core.execution.starting import Starter, key_of_target
from kastra_core.execution.state import REFUSAL_PATH, RunState, is_refusal, without_writes
from kastra_core.execution.worker import LEASE_TTL_S, Worker
from kastra_core.protocols.runner import OperationHandler, Outcome
from kastra_core.protocols.store import (
    AppendMessages,
    Operation,
    ReleaseRun,
    SendSignal,
    Store,
    UpdateResource,
)

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["CANCEL_SIGNAL", "RUN_KIND", "RunHandle", "RunManager", "RunOptions"]

log = logging.getLogger("kastra.runs")

_RETRY_S = (0.05, 0.25, 1.0)
"""Waits before a commit of a run is tried again. Repeating is safe: records and ends are fenced, the first one wins."""
_TRIES = 5


@attrs.frozen
class _End:
    """How a run ends."""

    phase: str
    output: JsonValue = None
    reason: str = ""
    message: str = ""


class RunManager:
    """All runs of one process on one store.

    Args:
        runtime: for plugins, client, models and configuration.
        limit: runs at once.
        clock: unix seconds.
        lease_ttl_s: how long this process may be silent until others take its runs over.
    """

    def __init__(
        self,
        runtime: RuntimeManager,
        *,
        limit: int = 256,
        clock: Callable[[], float] = time.time,
        lease_ttl_s: float = LEASE_TTL_S,
    ) -> None:
        self.runtime = runtime
        self.store: Store = runtime.store
        self.clock = clock
        self.scheduler = Scheduler(limit)
        self.worker = Worker(self.store, lease_ttl_s=lease_ttl_s)
        self.recovery = Recovery(self, self.worker)
        self.starter = Starter(self)
        self.children = Children(self)
        self.pins = PinBoard(self.store, runtime.registry)
        self.closing = False
        self._active: dict[str, ActiveRun] = {}
        self._listening: dict[str, list[Callable[[JsonObject], None]]] = {}
        """Who listened to a run that is suspended: it may go on here."""
        self._operations: dict[str, tuple[str, OperationHandler]] = {}
        self._runners: dict[tuple[str, str], Any] = {}
        self._started = False
        self._starting = asyncio.Lock()

    # ------------------------------------------------------------------------------------ life

    async def start(self, *, recover: bool = True) -> None:
        """Take the worker's lease, watch for signals, and take over what dead workers left. Safe to call twice.

        Raises: StoreError; it may be called again then.
        """
        if self.closing:
            raise UserError("the runtime is closed; open it again")
        async with self._starting:
            if self._started:
                return
            try:
                await self.recovery.begin(others=recover)
                if self.closing:
                    raise UserError("the runtime was closed meanwhile")
            except BaseException:
                await self.recovery.stop()
                raise
            # From here on runs may be started; those that are taken over may do so themselves.
            self._started = True
        if recover:
            await self.recovery.begin_recovery()

    async def aclose(self, *, hand_over: bool = True) -> None:
        """Stop; runs under way are given up, so that another worker, or this one later, goes on with them."""
        self.closing = True
        await self.recovery.stop()
        for active in list(self._active.values()):
            self.scheduler.cancel(active.ticket)
            if active.task is not None and not active.ending:
                active.task.cancel()
        tasks = [active.task for active in self._active.values() if active.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        left, self._active = list(self._active.values()), {}
        if hand_over:
            await self.recovery.release([active.state for active in left])
        for active in left:
            if not active.finished.done():
                active.finished.cancel()

    async def recover(self) -> list[ResourceKey]:
        """Claim the unfinished runs that no live worker has; return them."""
        return await self.recovery.recover(news=True)

    @property
    def resumed(self) -> list[ResourceKey]:
        """Runs that this process took over from a worker that is gone."""
        return self.recovery.resumed

    def look_again(self) -> None:
        """Look at the timers now; for a clock that was moved."""
        self.recovery.look_again()

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        """Commit operations of a run; a store that does not answer is asked again for some 1.3 s.

        Raises: as the store; at once what it would say again.
        """
        for wait_s in _RETRY_S:
            try:
                return await self.store.commit(operations)
            except StoreError as error:
                if self.closing or isinstance(error, FencedError) or is_refusal(error):
                    raise
                log.warning("a commit failed and is tried again: %s", error)
                await asyncio.sleep(wait_s)
        return await self.store.commit(operations)

    # ------------------------------------------------------------------------------------ starting

    async def start_run(
        self,
        reference: Reference,
        input: JsonValue = None,
        options: RunOptions | None = None,
        *,
        listener: Callable[[JsonObject], None] | None = None,
    ) -> RunHandle:
        """Create a Run of an executable resource and begin it; it is durable when this returns.

        Args:
            reference: what to run.
            input: JSON; what it means is the kind's.
            options: see RunOptions.
            listener: gets the run's events from the first on.
        Raises:
            NotFoundError, NotReadyError, UserError (kind cannot be run), AlreadyExistsError (name is taken).
        """
        options = options or RunOptions()
        if not self._started or self.closing:
            await self.start()
        active = await self.starter.begin(reference, input, options, listener, None)
        if active.ticket.state == "queued":
            await self._tell(active, pending_status(active.state.resource.status, self.clock()))
            if active.begun:
                # It was admitted while that was being written.
                await self._tell_running(active)
        return RunHandle(self, active)

    async def _tell(self, active: ActiveRun, status: JsonObject) -> None:
        """Write a phase that only informs: what comes in between wins, and a failure is left to the run's end."""
        run = active.state.resource
        update = UpdateResource(attrs.evolve(run, status=status), run.metadata.resource_version)
        with contextlib.suppress(StoreError, ConflictError, NotFoundError):
            [written] = await self.store.commit([update])
            if active.state.resource is run:
                active.state.resource = written

    async def _tell_running(self, active: ActiveRun) -> None:
        if active.state.resource.status.get("phase") == "Pending" and not active.ending:
            await self._tell(active, running_status(self.clock(), self.worker.id))

    def admit(self, state: RunState) -> ActiveRun:
        """Execute a claimed run as soon as the limits allow. Raises: KeyError when its target is not pinned."""
        spec = state.resource.spec
        key = key_of_target(state.resource)
        kind, target = self.runtime.registry.of_key(key), state.pins[key]
        parent = spec.get("parent") or {}
        scaling = target.spec.get("scaling") or {}
        ticket = Ticket(
            namespace=state.key.namespace,
            target=key,
            start=_nothing,
            priority=spec.get("priority", 0),
            maximum=None if parent.get("circle") else scaling.get("maxReplicas"),
            minimum=scaling.get("minReplicas") or 0,
            counted=not parent,
        )
        active = ActiveRun(state, kind, target, ticket, asyncio.get_running_loop().create_future())
        self._active[state.uid] = active
        above = self._active.get(str(parent.get("run")))
        if above is not None:
            above.state.attach(state)
        kept = self._listening.pop(state.uid, None)
        if kept is not None:
            state.listeners = kept  # those of a child still lead to who listens to its caller
        elif above is not None and above.state.listeners:
            state.listeners.append(forward(above.state, state))
        ticket.start = lambda: self._begin(active)
        self.scheduler.submit(ticket)
        return active

    def _begin(self, active: ActiveRun) -> None:
        if not self.closing:
            active.task = asyncio.get_running_loop().create_task(self._execute(active))

    # ------------------------------------------------------------------------------------ executing

    def operation(self, name: str) -> tuple[str, OperationHandler]:
        """(counts_as, handler) of a named operation. Raises: OperationError when no plugin offers it."""
        found = self._operations.get(name)
        if found is not None:
            return found
        known = []
        for _, record in self.runtime.plugins.records("kastra_operations"):
            known.append(record.name)
            if record.name == name:
                self._operations[name] = (record.counts_as, load(record.handler))
                return self._operations[name]
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"offered: {', '.join(sorted(known)) or 'none'}"
        raise OperationError(f"no plugin offers the operation {name!r}; {hint}", reason="UnknownOperation")

    def _runner(self, kind: ResourceKind) -> Any:
        runner = self._runners.get(kind.group_kind)
        if runner is None:
            runner = self._runners[kind.group_kind] = load(kind.runner)()
        return runner

    async def _execute(self, active: ActiveRun) -> None:
        active.begun = True
        state = active.state
        try:
            await self._tell_running(active)
            end = await self._run(active)
            if end is None:
                self._give_up(active)
            elif isinstance(end, Suspend):
                await self._suspend(active, end.wake_at_s)
            else:
                await self._finish(active, end)
        except asyncio.CancelledError:
            self._give_up(active)
            raise
        except Exception as error:
            log.exception("run %s: its end could not be written", state.key)
            state.lost = state.lost or error
            self._leave_lost(active)

    async def _run(self, active: ActiveRun) -> _End | Suspend | None:
        """Execute the runner; None when this process ends, so that the run goes on elsewhere or later."""
        state = active.state
        self.runtime.bus.publish("run.started", {"resource": state.resource})
        allowed_s = state.limits.get("timeoutS")
        limit = asyncio.timeout(None)
        if allowed_s is not None:
            began_s = state.resource.status.get("startedAtS") or self.clock()
            state.deadline_s = began_s + float(allowed_s)
            limit = asyncio.timeout(max(0.0, state.deadline_s - self.clock()))
        try:
            if state.cancelled:
                raise RunCancelledError("")
            run = self._runner(active.kind).run(Context(state), active.target, state.resource.spec.get("input"))
            if allowed_s is None:
                return _succeeded(await run)
            async with limit:
                return _succeeded(await run)
        except Suspend as wait:
            if state.deadline_s is not None and state.deadline_s <= self.clock():
                return self._too_late(state)  # what it would wait for comes after its end
            return wait
        except (asyncio.CancelledError, RunCancelledError) as error:
            if self.closing:
                return None
            if state.cancelled:
                return _End("Cancelled", None, "Cancelled", "the run was cancelled")
            if isinstance(error, RunCancelledError):
                return _End("Failed", None, error.reason, str(error))
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return None
            return _End("Failed", None, "RunnerBug", f"the runner of {active.kind.kind} cancelled itself")
        except StoreError as error:
            state.lost = state.lost or error
            return _End("Failed")
        except KastraError as error:
            return _End("Failed", getattr(error, "output", None), error.reason, str(error))
        except (Exception, SystemExit) as error:
            if limit.expired() and isinstance(error, TimeoutError):
                return self._too_late(state)
            log.exception("run %s: the runner of %s failed", state.key, active.kind.kind)
            return _End("Failed", None, "RunnerBug", f"{type(error).__name__}: {error}")

    @staticmethod
    def _too_late(state: RunState) -> _End:
        allowed_s = float(state.limits["timeoutS"])
        return _End("Failed", None, "LimitExceeded", f"the limit timeoutS={allowed_s:g} is reached")

    async def _finish(self, active: ActiveRun, end: _End) -> None:
        state = active.state
        active.ending = True
        await state.settle()
        refused = state.take_refusal()
        if refused is not None:
            what = "what an operation wanted to be written with its result was refused"
            end = _refused(state, end, refused, what)
        if state.lost is None:
            try:
                status = await self._write_end(state, end)
            except (StoreError, NotFoundError, ConflictError) as error:
                state.lost = error
        if state.lost is not None:
            self._leave_lost(active)
            return
        self.recovery.over(state.uid)
        self._leave(active, status, {"type": "finished", "phase": status["phase"], "reason": status.get("reason", "")})
        self.runtime.bus.publish("run.finished", {"resource": state.resource, "status": status})

    async def _write_end(self, state: RunState, end: _End) -> JsonObject:
        run = state.resource
        operations: list[Operation] = state.take_pending()
        told = await self.children.at_end(run, end.phase, state)
        release = ReleaseRun(state.uid, state.epoch)
        messages: list[Operation] = []
        if end.phase == "Succeeded":
            messages = [operation for kept in state.at_end.values() for operation in kept]
        if end.phase == "Succeeded" and state.remembered:
            thread = str(run.spec.get("thread"))
            said = tuple(message for part in state.remembered.values() for message in part)
            messages.append(AppendMessages(state.key.namespace, thread, said, run=state.uid))
        usage = state.usage.to_json()
        try:
            return await self._write(
                state, lambda r: self._ended(r, end, usage), [*operations, *told, *messages], release
            )
        except Exception as error:
            if not is_refusal(error):
                raise
            what = "what the run wanted to be written with its end was refused"
            if isinstance(error, TypeError):
                what = "what the runner gave back cannot be kept as JSON"
            failed = _refused(state, end, error, what)
        if end.phase == "Succeeded":  # its children are to be told that it failed
            told = await self.children.at_end(run, failed.phase, state)
        operations = [*without_writes(operations), *state.take_pending(), *told]
        return await self._write(state, lambda r: self._ended(r, failed, usage), operations, release)

    def _ended(self, run: Resource, end: _End, usage: JsonObject | None) -> JsonObject:
        return final_status(
            run, self.clock(), end.phase, output=end.output, reason=end.reason, message=end.message, usage=usage
        )

    async def _write(
        self,
        state: RunState,
        status_of: Callable[[Resource], JsonObject],
        operations: Sequence[Operation],
        release: ReleaseRun,
    ) -> JsonObject:
        """Commit operations, a new status and the release of the claim; return the status."""
        run = state.resource
        for _ in range(_TRIES):
            status = status_of(run)
            update = UpdateResource(attrs.evolve(run, status=status), run.metadata.resource_version)
            try:
                results = await self.commit([*operations, update, release])
            except Exception as error:
                if not (isinstance(error, FencedError) or is_refusal(error)):
                    raise
                again = await self.store.resources.get(state.key)
                if again is None or again.metadata.uid != state.uid:
                    raise FencedError(str(state.key)) from None
                if again.status == status:
                    # A commit that was reported as failed had been done all the same.
                    state.resource = again
                    return status
                changed = again.metadata.resource_version != run.metadata.resource_version
                if not (changed and isinstance(error, ConflictError)):
                    raise
                # Somebody changed labels or the like of the Run; its status is ours.
                run = again
                continue
            state.resource = results[len(operations)]
            return status
        raise StoreError(f"{state.key} is changed by others faster than this worker can write its status")

    async def end_unstarted(self, run: Resource, epoch: int, phase: str, reason: str, message: str) -> None:
        """End a claimed run that is not executed any more. Raises: StoreError."""
        state = RunState(self, run, epoch, {}, {})
        end = _End(phase, None, reason, message)
        operations = await self.children.at_end(run, phase)
        usage = run.status.get("usage")
        try:
            status = await self._write(
                state, lambda r: self._ended(r, end, usage), operations, ReleaseRun(state.uid, epoch)
            )
        except (ConflictError, NotFoundError) as error:
            log.warning("%s could not be ended: %s", run.key, error)
            return
        self._listening.pop(state.uid, None)
        self.recovery.over(state.uid)
        self.runtime.bus.publish("run.finished", {"resource": state.resource, "status": status})

    async def _suspend(self, active: ActiveRun, wake_at_s: float | None) -> None:
        state = active.state
        active.ending = True
        if state.deadline_s is not None:
            wake_at_s = state.deadline_s if wake_at_s is None else min(wake_at_s, state.deadline_s)
        await state.settle()
        if state.lost is None:
            waits_for, awaiting, usage = state.waits_for, state.awaiting, state.usage.to_json()
            release = ReleaseRun(state.uid, state.epoch, finished=False, wake_at_s=wake_at_s)
            pending = state.take_pending()
            try:
                status = await self._write(
                    state,
                    lambda run: suspended_status(run, self.clock(), wake_at_s, waits_for, awaiting, usage),
                    pending,
                    release,
                )
            except Exception as error:
                if is_refusal(error):
                    state.refuse(error, pending)
                elif isinstance(error, StoreError):
                    state.lost = error
                else:
                    raise
        if state.refused is not None:
            await self._finish(active, _End("Failed"))
            return
        if state.lost is not None:
            self._leave_lost(active)
            return
        if state.listeners:
            self._listening[state.uid] = state.listeners
        self._leave(active, status, {"type": "suspended", "wake_at_s": wake_at_s})
        self.runtime.bus.publish("run.suspended", {"resource": state.resource, "status": status})
        if wake_at_s is not None:
            self.recovery.sleep_until(state.uid, wake_at_s)
        if state.cancelled:
            # It was cancelled while its suspension was being written.
            with contextlib.suppress(StoreError):  # whoever cancelled it has most likely sent it
                await self.commit([self.cancelling(state.uid)])
        # A signal may have come between the last look and the release.
        await self.recovery.look_for_news(state)

    def _leave(self, active: ActiveRun, status: JsonObject, event: JsonObject) -> None:
        state = active.state
        if self._active.get(state.uid) is active:
            del self._active[state.uid]
        state.detach()
        self.scheduler.done(active.ticket)
        state.emit(event)
        if not active.finished.done():
            active.finished.set_result(status)

    def _leave_lost(self, active: ActiveRun) -> None:
        """The store does not take anything more of this run from here; whoever waits for it is told so."""
        state = active.state
        error = state.lost
        reason = error.reason if isinstance(error, KastraError) else "StoreFailed"
        status: JsonObject = {"phase": "Failed", "reason": reason, "message": str(error)}
        if not isinstance(error, FencedError):
            log.warning("run %s is not over but cannot go on now: %s", state.key, error)
            status["message"] += "; the run is not over, it goes on when the store answers"
            self.recovery.lost(state.uid)
        self._leave(active, status, {"type": "finished", "phase": "Failed", "reason": reason})
        self.runtime.bus.publish("run.finished", {"resource": state.resource, "status": status})

    def _give_up(self, active: ActiveRun) -> None:
        """The task was cancelled from outside; when the process goes on after all, the run is taken anew."""
        if self.closing:
            return  # aclose hands it over
        if self._active.get(active.state.uid) is active:
            del self._active[active.state.uid]
        active.state.detach()
        asyncio.get_running_loop().call_soon(self.scheduler.done, active.ticket)
        if not active.finished.done():
            active.finished.cancel()

    # ------------------------------------------------------------------------------------ cancelling and waiting

    @staticmethod
    def cancelling(uid: str) -> SendSignal:
        """The operation that asks a run to stop; asking twice is asking once."""
        return SendSignal(uid, CANCEL_SIGNAL, None, "cancel")

    def cancel_local(self, uid: str) -> bool:
        """Cancel a run of this process; False when it is not here."""
        active = self._active.get(uid)
        if active is None:
            return False
        again, active.state.cancelled = active.state.cancelled, True
        if again or active.ending or (active.task is not None and not active.begun):
            # A task that is cancelled before its first step would never write the end; it sees the flag itself.
            return True
        if active.task is not None:
            active.task.cancel()
        else:
            self.scheduler.cancel(active.ticket)
            active.task = asyncio.get_running_loop().create_task(self._execute(active))
        return True

    async def cancel(self, key: ResourceKey) -> None:
        """Cancel a run wherever it is executed, and its children. When this returns, no crash can make it go on.

        Raises: NotFoundError; UserError when it is over.
        """
        run = await self._unfinished(key)
        uid = run.metadata.uid
        await self.commit([self.cancelling(uid)])
        if self.cancel_local(uid):
            return
        claim = await self.store.journal.claim(uid)
        # Nobody has it, or one who is gone and will not see the signal: it is ended here.
        if claim is not None and not (claim.holder and await self._is_alive(claim.holder)):
            await self.recovery.take(claim)

    async def _is_alive(self, holder: str) -> bool:
        return self.worker.alive(await self.store.leases.get(holder), self.clock())

    async def _unfinished(self, key: ResourceKey) -> Resource:
        run = await self.runtime.client.require(key)
        if run.status.get("phase") in FINISHED:
            raise UserError(f"{key} is over already ({run.status.get('phase')})")
        return run

    async def signal(self, key: ResourceKey, name: str, payload: JsonValue = None, *, signal_id: str = "") -> bool:
        """Send a signal to a run. Returns False when ``signal_id`` was sent before.

        Raises: NotFoundError; UserError: it is over; ValidationError: the kind of its target refuses the payload.
        """
        run = await self._unfinished(key)
        self._check_signal(run, name, payload)
        [fresh] = await self.commit([SendSignal(run.metadata.uid, name, payload, signal_id)])
        return bool(fresh)

    async def resume(self, key: ResourceKey, payload: JsonValue = None, *, signal: str = "") -> str:
        """Send a suspended run what it awaits; return the name of the signal.

        Args:
            payload: JSON; a kind may check it (a workflow's step: against its schema).
            signal: needed when it awaits several.
        Raises:
            NotFoundError; ValidationError: the payload is refused, nothing was sent; UserError: the run is over, awaits
                nothing, or several.
        """
        run = await self._unfinished(key)
        if not signal:
            awaiting = [str(item["signal"]) for item in run.status.get("awaiting") or ()]
            if len(awaiting) != 1:
                what = f"awaits {', '.join(awaiting)}; say which" if awaiting else "awaits no signal now"
                raise UserError(f"{key} {what} ({run.status.get('phase')})")
            signal = awaiting[0]
        await self.signal(key, signal, payload)
        return signal

    def _check_signal(self, run: Resource, name: str, payload: JsonValue) -> None:
        target = run.spec.get("target")
        kind = self.runtime.registry.get(str(target.get("group")), str(target.get("kind"))) if target else None
        if kind is None or kind.check_signal is None:
            return
        problems = list(load(kind.check_signal)(run, name, payload))
        if problems:
            raise ValidationError(problems)

    async def wait(self, key: ResourceKey, active: ActiveRun | None = None) -> JsonObject:
        """The final status of a run, executed here or elsewhere."""
        if active is not None:
            status = await asyncio.shield(active.finished)
            if status.get("phase") in FINISHED:
                return status
        run_kind = self.runtime.registry.get(MAIN_GROUP, RUN_KIND)
        assert run_kind is not None
        events = self.runtime.client.watch(run_kind, namespace=key.namespace)
        try:
            run = await self.runtime.client.require(key)
            if run.status.get("phase") in FINISHED:
                return run.status
            async for event in events:
                if event.resource.key == key:
                    if event.type == "DELETED":
                        raise NotFoundError(str(key))
                    if event.resource.status.get("phase") in FINISHED:
                        return event.resource.status
        finally:
            if active is not None:
                self._listening.pop(active.state.uid, None)
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()
        raise NotFoundError(str(key))

    async def drain(self, keys: Sequence[ResourceKey] | None = None) -> None:
        """Wait until the runs of this process (or those of ``keys``) are over or suspended."""
        wanted = None if keys is None else set(keys)
        while True:
            waits = [a.finished for a in self._active.values() if wanted is None or a.state.key in wanted]
            if not waits:
                return
            await asyncio.wait(waits)

    def find(self, uid: str) -> ActiveRun | None:
        """A run that this process executes or has queued."""
        return self._active.get(uid)

    def uids(self) -> list[str]:
        """uids of the runs that this process executes or has queued."""
        return list(self._active)

    def attach(self, key: ResourceKey) -> RunHandle | None:
        """A handle of a run that this process executes."""
        for active in self._active.values():
            if active.state.key == key:
                return RunHandle(self, active)
        return None

    @property
    def active(self) -> list[ResourceKey]:
        return [active.state.key for active in self._active.values()]


def _refused(state: RunState, end: _End, error: Exception, what: str) -> _End:
    """The end of a run of which the store does not take something; why it failed or was cancelled stays."""
    message = f"{what}: {error}".encode("utf-8", "backslashreplace").decode()
    if end.phase != "Succeeded" and end.reason:
        said = end.message.encode("utf-8", "backslashreplace").decode()
        return _End(end.phase, None, end.reason, f"{said}; {message}")
    reason = error.reason if isinstance(error, KastraError) else "RunnerBug"
    # So that a replay, which writes nothing, ends as the run did.
    state.record(REFUSAL_PATH, {"e": {"reason": reason, "message": message}})
    return _End("Failed", None, reason, message)


def _succeeded(output: JsonValue | Outcome) -> _End:
    if isinstance(output, Outcome):
        return _End("Succeeded", output.output, output.reason, output.message)
    return _End("Succeeded", output, "Succeeded")


def _nothing() -> None:
    """Placeholder of a ticket that is not admitted yet."""
