"""RunManager: starts, executes, resumes, cancels and finishes runs."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, ObjectMeta, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import (
    AlreadyExistsError,
    ConflictError,
    FencedError,
    KastraError,
    NotFoundError,
    NotReadyError,
    OperationError,
    RunError,
    StoreError,
    TerminalError,
    UserError,
    nearest,
)
from kastra_core.execution.context import Context, RunState, Suspend
from kastra_core.execution.handle import ActiveRun, RunHandle, RunOptions
from kastra_core.execution.pins import PinBoard
from kastra_core.execution.run_status import FINISHED, final_status, running_status, suspended_status
from kastra_core.execution.scheduler import Scheduler, Ticket
from kastra_core.execution.worker import RENEW_EVERY_S, Worker
from kastra_core.protocols.runner import OperationHandler
from kastra_core.protocols.store import (
    AppendMessages,
    Claim,
    ClaimRun,
    CreateResource,
    DropJournal,
    Operation,
    PutBlob,
    ReleaseRun,
    SendSignal,
    Store,
    UpdateResource,
)

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["CANCEL_SIGNAL", "RUN_KIND", "RunHandle", "RunManager", "RunOptions"]

log = logging.getLogger("kastra.runs")

RUN_KIND = "Run"
CANCEL_SIGNAL = "kastra.cancel"
DEFAULT_LIMITS: Mapping[str, Any] = {"maxSteps": 25}
"""What holds when neither the target, the configuration nor the caller says otherwise."""
LIMIT_NAMES = ("maxSteps", "maxModelCalls", "maxToolCalls", "maxTokens", "maxCost", "timeoutS")


class RunManager:
    """All runs of one process on one store.

    Args:
        runtime: for plugins, client, models and configuration.
        limit: runs at once.
        clock: unix seconds.
    """

    def __init__(self, runtime: RuntimeManager, *, limit: int = 256, clock: Callable[[], float] = time.time) -> None:
        self.runtime = runtime
        self.store: Store = runtime.store
        self.clock = clock
        self.scheduler = Scheduler(limit)
        self.worker = Worker(self.store)
        self.pins = PinBoard(self.store, runtime.registry)
        self._active: dict[str, ActiveRun] = {}
        self._operations: dict[str, tuple[str, OperationHandler]] = {}
        self._runners: dict[tuple[str, str], Any] = {}
        self._timers: list[tuple[float, str]] = []
        self._background: list[asyncio.Task[None]] = []
        self._started = False
        self._wake = asyncio.Event()
        self._closing = False
        self.resumed: list[ResourceKey] = []
        """Runs that this process took over from a worker that is gone."""
        runtime.client.on_delete(MAIN_GROUP, RUN_KIND, lambda run: (DropJournal(run.metadata.uid),))

    # ------------------------------------------------------------------------------------ life

    async def start(self, *, recover: bool = True) -> None:
        """Take the worker's lease, watch for signals, and take over what dead workers left. Safe to call twice."""
        if self._started:
            return
        self._started = True
        await self.worker.renew()
        signals = self.store.journal.watch_signals()
        self._background.append(asyncio.create_task(self._watch_signals(signals)))
        self._background.append(asyncio.create_task(self._housekeeping(recover)))
        if recover:
            await self.recover()

    async def aclose(self, *, hand_over: bool = True) -> None:
        """Stop; runs under way are given up, so that another worker, or this one later, goes on with them."""
        self._closing = True
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background.clear()
        for active in list(self._active.values()):
            self.scheduler.cancel(active.ticket)
            if active.task is not None and not active.ending:
                active.task.cancel()
        await asyncio.gather(*(a.task for a in self._active.values() if a.task is not None), return_exceptions=True)
        if hand_over:
            for active in list(self._active.values()):
                with contextlib.suppress(StoreError):
                    state = active.state
                    await self.store.commit(
                        [*state.take_pending(), ReleaseRun(state.uid, state.epoch, finished=False, wake_at_s=0.0)]
                    )
        for active in self._active.values():
            if not active.finished.done():
                active.finished.cancel()
        self._active.clear()
        with contextlib.suppress(StoreError):
            await self.worker.release()

    async def _housekeeping(self, recover: bool) -> None:
        """Renew the lease, look for orphans, wake what sleeps."""
        renew_at = self.clock() + RENEW_EVERY_S
        while True:
            until = min(renew_at, self._timers[0][0]) if self._timers else renew_at
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - self.clock())):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if self.clock() >= renew_at:
                    renew_at = self.clock() + RENEW_EVERY_S
                    await self.worker.renew()
                    if recover:
                        await self.recover()
                await self._fire_timers()
            except StoreError as error:
                log.warning("runs: the store did not answer: %s", error)

    async def _fire_timers(self) -> None:
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            _, uid = heapq.heappop(self._timers)
            claim = await self.store.journal.claim(uid)
            if claim is not None and not claim.holder:
                await self._take(claim)

    async def _watch_signals(self, signals: AsyncIterator[Any]) -> None:
        async for signal in signals:
            active = self._active.get(signal.run)
            if signal.name == CANCEL_SIGNAL and active is not None:
                self.cancel_local(signal.run)
            elif active is None:
                claim = await self.store.journal.claim(signal.run)
                if claim is not None and not claim.holder:
                    await self._take(claim)

    # ------------------------------------------------------------------------------------ recovery

    async def recover(self) -> list[ResourceKey]:
        """Claim the unfinished runs that no live worker has; return them."""
        claims = await self.store.journal.claims()
        if not claims:
            return []
        leases = {lease.name: lease for lease in await self.store.leases.list("worker/")}
        now = self.clock()
        taken: list[ResourceKey] = []
        for claim in claims:
            if claim.run in self._active:
                continue
            if claim.holder:
                if self.worker.alive(leases.get(claim.holder), now):
                    continue
            elif claim.wake_at_s is None or claim.wake_at_s > now:
                if claim.wake_at_s is not None and not any(uid == claim.run for _, uid in self._timers):
                    self._sleep_until(claim.run, claim.wake_at_s)
                continue
            if await self._take(claim):
                taken.append(claim.key)
                self.resumed.append(claim.key)
        return taken

    def look_again(self) -> None:
        """Look at the timers now; for a clock that was moved."""
        self._wake.set()

    def _sleep_until(self, uid: str, wake_at_s: float) -> None:
        heapq.heappush(self._timers, (wake_at_s, uid))
        self._wake.set()

    async def _take(self, claim: Claim) -> bool:
        """Claim a run and go on with it."""
        if self._closing:
            return False
        operation = ClaimRun(claim.run, claim.key, self.worker.id, expected_epoch=claim.epoch)
        try:
            [epoch] = await self.store.commit([operation])
        except FencedError:
            return False
        run = await self.store.resources.get(claim.key)
        if run is None or run.metadata.uid != claim.run or run.status.get("phase") in FINISHED:
            await self.store.commit([ReleaseRun(claim.run, epoch)])
            return False
        try:
            await self._resume(run, epoch)
        except KastraError as error:
            await self._fail_unstarted(run, epoch, error)
            return False
        return True

    async def _resume(self, run: Resource, epoch: int) -> ActiveRun:
        pins = await self.pins.load(run.spec["pinned"])
        target = run.spec["target"]
        key = ResourceKey(target["group"], target["kind"], target["namespace"], target["name"])
        kind = self.runtime.registry.of_key(key)
        if not kind.executable:
            raise UserError(f"kind {kind.kind} cannot be run by the installed plugins")
        lines = await self.store.journal.records(run.metadata.uid)
        records = {line.path: line.record for line in lines}
        state = RunState(self, run, epoch, pins, records)
        for line in await self.store.journal.signals(run.metadata.uid):
            if line.name == CANCEL_SIGNAL:
                state.cancelled = True
        return self._admit(state, kind, pins[key])

    async def _fail_unstarted(self, run: Resource, epoch: int, error: KastraError) -> None:
        status = final_status(run, self.clock(), "Failed", reason=error.reason, message=str(error))
        await self.store.commit(
            [
                UpdateResource(attrs.evolve(run, status=status), run.metadata.resource_version),
                ReleaseRun(run.metadata.uid, epoch),
            ]
        )

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
        if not self._started:
            await self.start()
        return RunHandle(self, await self._start(reference, input, options, listener, None))

    async def _start(
        self,
        reference: Reference,
        input: JsonValue,
        options: RunOptions,
        listener: Callable[[JsonObject], None] | None,
        parent: JsonObject | None,
    ) -> ActiveRun:
        kind = self.runtime.registry.of_key(reference.key)
        if not kind.executable:
            able = ", ".join(k.plural for k in self.runtime.registry if k.executable) or "none"
            raise UserError(f"a resource of kind {kind.kind} cannot be run; kinds that can: {able}")
        target = await self.runtime.client.require(kind.key(reference.namespace, reference.name))
        if options.require_ready:
            target = await self._ready(target, kind, options.model)
        digest, data, pins = await self.pins.pin(target)
        namespace = options.namespace or target.metadata.namespace or "default"
        spec = self._run_spec(reference, target, input, options, digest, parent)
        if options.thread:
            spec["threadAfter"] = await self.store.threads.last_seq(namespace, options.thread)
        uid = parent["child"] if parent is not None else str(uuid.uuid4())
        name = options.name or f"{target.metadata.name[:240]}-{uid.replace('-', '')[:8]}"
        ticket = self._ticket(kind, target, namespace, options.priority, child=parent is not None)
        meta = ObjectMeta(name=name, namespace=namespace, uid=uid, labels=options.labels)
        run = self.runtime.client.stamp(
            Resource(api_version=f"{MAIN_GROUP}/v1", kind=RUN_KIND, metadata=meta, spec=spec)
        )
        run = attrs.evolve(run, status=running_status(self.clock(), self.worker.id))
        operations: list[Operation] = [CreateResource(run), ClaimRun(uid, run.key, self.worker.id)]
        if data is not None:
            operations.append(PutBlob(data))
        results = await self.store.commit(operations)
        self.pins.kept(digest, pins)
        run = results[0]
        state = RunState(self, run, results[1], pins, {})
        if listener is not None:
            state.listeners.append(listener)
        return self._admit(state, kind, pins[target.key], ticket)

    async def _ready(self, target: Resource, kind: ResourceKind, model: str | None) -> Resource:
        """The target when it is Ready, reconciled now if it is not.

        With a model override the target's own model need not be available: conditions that a kind marks with the
        reason prefix ``Model`` do not hold it up.
        """
        ready = _ready_condition(target)
        if ready is not None and ready["status"] == "True":
            return target
        await self.runtime.controllers.reconcile_closure(target.key)
        target = await self.runtime.client.require(target.key)
        ready = _ready_condition(target)
        if ready is None or ready["status"] == "True":
            return target
        if model and str(ready.get("reason", "")).startswith("Model"):
            return target
        raise NotReadyError(str(target.key), ready.get("reason") or "NotReady", ready.get("message") or "")

    def _run_spec(
        self,
        reference: Reference,
        target: Resource,
        input: JsonValue,
        options: RunOptions,
        digest: str,
        parent: JsonObject | None,
    ) -> JsonObject:
        limits = {
            **DEFAULT_LIMITS,
            **self.runtime.config.limits,
            **(target.spec.get("limits") or {}),
            **options.limits,
        }
        for name in limits:
            if name not in LIMIT_NAMES:
                near = nearest(name, LIMIT_NAMES)
                hint = f"did you mean {near!r}?" if near else f"limits are {', '.join(LIMIT_NAMES)}"
                raise UserError(f"unknown limit {name!r}; {hint}")
        spec: JsonObject = {
            "target": {
                "group": reference.group,
                "kind": reference.kind,
                "namespace": target.metadata.namespace,
                "name": target.metadata.name,
            },
            "pinned": digest,
        }
        if input is not None:
            spec["input"] = input
        if options.thread:
            spec["thread"] = options.thread
        model = options.model or self.runtime.config.model
        if model:
            spec["model"] = model
        else:
            default = self.runtime.config.default_model or self._keyless
            if default:
                spec["defaultModel"] = default
        spec["limits"] = limits
        if options.priority:
            spec["priority"] = options.priority
        if parent is not None:
            spec["parent"] = {"run": parent["run"], "path": parent["path"]}
        return spec

    @cached_property
    def _keyless(self) -> str | None:
        """The model of a provider that needs no account, for targets that name none."""
        provider = self.runtime.models.keyless()
        return f"{provider}/auto" if provider else None

    def _ticket(self, kind: ResourceKind, target: Resource, namespace: str, priority: int, *, child: bool) -> Ticket:
        scaling = target.spec.get("scaling") or {}
        return Ticket(
            namespace=namespace,
            target=target.key,
            start=_nothing,
            priority=priority,
            maximum=scaling.get("maxReplicas"),
            minimum=scaling.get("minReplicas") or 0,
            counted=not child,
        )

    def _admit(self, state: RunState, kind: ResourceKind, target: Resource, ticket: Ticket | None = None) -> ActiveRun:
        spec = state.resource.spec
        if ticket is None:
            ticket = self._ticket(kind, target, state.key.namespace, spec.get("priority", 0), child="parent" in spec)
        active = ActiveRun(state, kind, target, ticket, asyncio.get_running_loop().create_future())
        self._active[state.uid] = active
        ticket.start = lambda: self._begin(active)
        self.scheduler.submit(ticket)
        return active

    def _begin(self, active: ActiveRun) -> None:
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
        bus = self.runtime.bus
        bus.publish("run.started", {"resource": state.resource})
        phase, output, reason, message = "Failed", None, "", ""
        timeout_s = state.limits.get("timeoutS")
        try:
            if state.cancelled:
                raise asyncio.CancelledError
            run = self._runner(active.kind).run(Context(state), active.target, state.resource.spec.get("input"))
            if timeout_s is None:
                output = await run
            else:
                began = state.resource.status.get("startedAtS") or self.clock()
                async with asyncio.timeout(max(0.0, began + float(timeout_s) - self.clock())):
                    output = await run
            phase, reason = "Succeeded", "Succeeded"
        except Suspend as wait:
            await self._suspend(active, wait.wake_at_s)
            return
        except asyncio.CancelledError:
            if self._closing or (not state.cancelled and state.lost is None):
                # This process ends: the run stays unfinished and goes on elsewhere or later.
                return
            phase, reason, message = "Cancelled", "Cancelled", "the run was cancelled"
        except TimeoutError:
            reason, message = "LimitExceeded", f"the limit timeoutS={timeout_s:g} is reached"
        except (FencedError, StoreError) as error:
            state.lost = state.lost or error
        except (RunError, TerminalError, KastraError) as error:
            reason, message = error.reason, str(error)
        except Exception as error:
            log.exception("run %s: the runner of %s failed", state.key, active.kind.kind)
            reason, message = "RunnerBug", f"{type(error).__name__}: {error}"
        await self._finish(active, phase, output, reason, message)

    async def _finish(self, active: ActiveRun, phase: str, output: JsonValue, reason: str, message: str) -> None:
        state = active.state
        active.ending = True
        status: JsonObject = {}
        try:
            if state.lost is None:
                await self._settle_pending(state)
            if state.lost is None:
                status = await self._write_end(state, phase, output, reason, message)
        except (FencedError, NotFoundError) as error:
            state.lost = error
        except StoreError as error:
            state.lost = error
            log.warning("run %s: its end could not be stored: %s", state.key, error)
        self._active.pop(state.uid, None)
        self.scheduler.done(active.ticket)
        if state.lost is not None:
            status = {"phase": "Failed", "reason": _reason_of(state.lost), "message": str(state.lost)}
        event = {"type": "finished", "phase": status["phase"], "reason": status.get("reason", "")}
        state.emit(event)
        if not active.finished.done():
            active.finished.set_result(status)
        self.runtime.bus.publish("run.finished", {"resource": state.resource, "status": status})
        parent = state.resource.spec.get("parent")
        if parent is not None and parent["run"] not in self._active:
            await self._wake_parent(parent["run"])

    async def _settle_pending(self, state: RunState) -> None:
        """Wait for commits under way; what is not handed over yet goes with the end of the run."""
        while state._inflight is not None:
            await asyncio.wait([state._inflight])

    async def _write_end(self, state: RunState, phase: str, output: JsonValue, reason: str, message: str) -> JsonObject:
        run = state.resource
        operations: list[Operation] = state.take_pending()
        if phase == "Succeeded" and state.remembered:
            operations.append(
                AppendMessages(state.key.namespace, run.spec["thread"], tuple(state.remembered), run=state.uid)
            )
        for _ in range(5):
            status = final_status(
                run, self.clock(), phase, output=output, reason=reason, message=message, usage=state.usage.to_json()
            )
            update = UpdateResource(attrs.evolve(run, status=status), run.metadata.resource_version)
            try:
                results = await self.store.commit([*operations, update, ReleaseRun(state.uid, state.epoch)])
            except ConflictError:
                # Somebody changed labels or the like of the Run; its status is ours.
                again = await self.store.resources.get(state.key)
                if again is None or again.metadata.uid != state.uid:
                    raise FencedError(str(state.key)) from None
                run = again
                continue
            state.resource = results[len(operations)]
            return status
        raise ConflictError(str(state.key))

    async def _suspend(self, active: ActiveRun, wake_at_s: float | None) -> None:
        state = active.state
        active.ending = True
        try:
            await state.durable()
            run = await self.store.resources.get(state.key)
            if run is None:
                raise FencedError(str(state.key))
            status = suspended_status(run, self.clock(), wake_at_s)
            await self.store.commit(
                [
                    UpdateResource(attrs.evolve(run, status=status), run.metadata.resource_version),
                    ReleaseRun(state.uid, state.epoch, finished=False, wake_at_s=wake_at_s),
                ]
            )
        except (StoreError, ConflictError) as error:
            state.lost = error
            await self._finish(active, "Failed", None, "", "")
            return
        self._active.pop(state.uid, None)
        self.scheduler.done(active.ticket)
        state.emit({"type": "suspended", "wake_at_s": wake_at_s})
        if not active.finished.done():
            active.finished.set_result(status)
        if wake_at_s is not None:
            self._sleep_until(state.uid, wake_at_s)
        if state.cancelled:
            # It was cancelled while its suspension was being written.
            await self.store.commit([SendSignal(state.uid, CANCEL_SIGNAL, None, "cancel")])
        # A signal may have come between the last look and the release.
        used = {record["sig"] for record in state.records.values() if "sig" in record}
        waiting = [s for s in await self.store.journal.signals(state.uid) if s.seq not in used]
        if any(signal.name == CANCEL_SIGNAL for signal in waiting) or (waiting and self._signalled(state, waiting)):
            claim = await self.store.journal.claim(state.uid)
            if claim is not None and not claim.holder:
                await self._take(claim)

    @staticmethod
    def _signalled(state: RunState, waiting: Sequence[Any]) -> bool:
        """Whether a signal is new since the run looked: anything that it has not seen may be what it waits for."""
        return any(signal.seq not in state.seen_signals for signal in waiting)

    # ------------------------------------------------------------------------------------ children

    async def start_child(
        self, parent: RunState, path: str, reference: Reference, input: JsonValue, thread: str | None
    ) -> ResourceKey:
        """Start, or after a crash find again, the child run of a path; its uid follows from the path."""
        uid = str(uuid.uuid5(uuid.UUID(parent.uid), path))
        namespace = parent.key.namespace
        name = f"{parent.key.name[:200]}-{uid.replace('-', '')[:8]}"
        key = ResourceKey(MAIN_GROUP, RUN_KIND, namespace, name)
        if uid in self._active or await self.store.resources.get(key) is not None:
            return key
        options = RunOptions(
            namespace=namespace,
            name=name,
            thread=thread,
            model=parent.resource.spec.get("model"),
            limits=_left(parent),
            priority=parent.resource.spec.get("priority", 0),
        )
        with contextlib.suppress(AlreadyExistsError):
            await self._start(reference, input, options, None, {"run": parent.uid, "path": path, "child": uid})
        return key

    async def wait_child(self, key: ResourceKey) -> JsonObject:
        """The final status of a child.

        Raises: Suspend while the child is suspended, so that its parent costs nothing either.
        """
        run = await self.store.resources.get(key)
        if run is None:
            raise OperationError(f"child run {key.name} is gone", reason="ChildDeleted")
        active = self._active.get(run.metadata.uid)
        if active is not None:
            status = await asyncio.shield(active.finished)
            if status.get("phase") in FINISHED:
                return status
            raise Suspend(None)
        if run.status.get("phase") in FINISHED:
            return run.status
        claim = await self.store.journal.claim(run.metadata.uid)
        if claim is None:
            raise OperationError(f"child run {key.name} is gone", reason="ChildDeleted")
        raise Suspend(None)

    async def _wake_parent(self, uid: str) -> None:
        claim = await self.store.journal.claim(uid)
        if claim is not None and not claim.holder:
            await self._take(claim)

    # ------------------------------------------------------------------------------------ cancelling and waiting

    def cancel_local(self, uid: str) -> bool:
        """Cancel a run of this process; False when it is not here."""
        active = self._active.get(uid)
        if active is None:
            return False
        active.state.cancelled = True
        if active.ending or (active.task is not None and not active.begun):
            # A task that is cancelled before its first step would never write the end; it sees the flag itself.
            return True
        if active.task is not None:
            active.task.cancel()
        else:
            self.scheduler.cancel(active.ticket)
            active.task = asyncio.get_running_loop().create_task(self._execute(active))
        return True

    async def cancel(self, key: ResourceKey) -> None:
        """Cancel a run wherever it is executed. Raises: NotFoundError; UserError when it is over."""
        run = await self.runtime.client.require(key)
        if run.status.get("phase") in FINISHED:
            raise UserError(f"{key} is over already ({run.status.get('phase')})")
        if self.cancel_local(run.metadata.uid):
            return
        await self.store.commit([SendSignal(run.metadata.uid, CANCEL_SIGNAL, None, "cancel")])
        claim = await self.store.journal.claim(run.metadata.uid)
        # Nobody has it, or one who is gone and will not see the signal: it is ended here.
        if claim is not None and not (claim.holder and await self._is_alive(claim.holder)):
            await self._take(claim)

    async def _is_alive(self, holder: str) -> bool:
        return self.worker.alive(await self.store.leases.get(holder), self.clock())

    async def signal(self, key: ResourceKey, name: str, payload: JsonValue = None, *, signal_id: str = "") -> bool:
        """Send a signal to a run. Returns False when ``signal_id`` was sent before."""
        run = await self.runtime.client.require(key)
        if run.status.get("phase") in FINISHED:
            raise UserError(f"{key} is over already ({run.status.get('phase')})")
        [fresh] = await self.store.commit([SendSignal(run.metadata.uid, name, payload, signal_id)])
        return bool(fresh)

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

    def attach(self, key: ResourceKey) -> RunHandle | None:
        """A handle of a run that this process executes."""
        for active in self._active.values():
            if active.state.key == key:
                return RunHandle(self, active)
        return None

    @property
    def active(self) -> list[ResourceKey]:
        return [active.state.key for active in self._active.values()]


def _nothing() -> None:
    """Placeholder of a ticket that is not admitted yet."""


def _ready_condition(resource: Resource) -> Mapping[str, Any] | None:
    for condition in resource.status.get("conditions") or ():
        if condition.get("type") == "Ready":
            observed = condition.get("observedGeneration") or resource.metadata.generation
            return condition if observed >= resource.metadata.generation else None
    return None


def _reason_of(error: BaseException) -> str:
    return error.reason if isinstance(error, KastraError) else "StoreFailed"


def _left(parent: RunState) -> JsonObject:
    """What a child may still use of its parent's limits."""
    left: JsonObject = {}
    used = {
        "maxModelCalls": parent.usage.model_calls,
        "maxToolCalls": parent.usage.tool_calls,
        "maxTokens": parent.usage.input_tokens + parent.usage.output_tokens,
        "maxCost": parent.usage.cost or 0.0,
    }
    for name, value in used.items():
        if name in parent.limits:
            left[name] = max(0, parent.limits[name] - value)
    return left
