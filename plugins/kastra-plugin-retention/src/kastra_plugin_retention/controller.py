"""RetentionController: enforces policies, one pass at a time in the whole store, and tells in status what it did."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import attrs

from kastra_core.api.meta import Condition, JsonObject, Resource, ResourceKey, condition_of, rfc3339
from kastra_core.controller import AbstractController, ControllerRuntime, Request, Result, ready_status
from kastra_core.errors import ConflictError, KastraError, StoreError, TerminalError
from kastra_core.serde import typed
from kastra_plugin_retention.enforcement import REMOVED, Outcome, Pass
from kastra_plugin_retention.selection import unix_s
from kastra_plugin_retention.spec import RetentionPolicySpec

__all__ = ["LEASE", "RetentionController"]

_log = logging.getLogger("kastra.retention")

LEASE = "kastra.retention"
"""Who has this lease of the store may remove things; another process looks again later."""
_LEASE_TTL_S = 30.0
_LOOK_AGAIN_S = 60.0
"""A clock may be set, and a laptop may sleep: the time is looked at at least this often."""
_BUSY_AGAIN_S = 5.0
"""While a pass is under way, here or elsewhere, the policy is looked at at least this often."""
_PATIENCE_S = 2.0
"""A reconcile waits so long for the first pass of a policy that was just written, so that its answer tells of it."""
_GRACE_S = 0.25
"""A process that ends lets a pass go on for so long: many short commands get a large backlog done, too."""
_TRIES = 8
_WORDS = ("runs", "events", "threads")


class _StoppedError(Exception):
    """The lease was lost: another process enforces policies now."""


@attrs.define
class _Running:
    generation: int
    task: asyncio.Task[None] = attrs.field(init=False)
    awaited: bool = False
    """A reconcile waits for it and writes the outcome."""


class RetentionController(AbstractController):
    """Enforces each policy when its last pass is older than its interval, or when its spec changed.

    A pass runs beside the reconciles, in a task of its own; a process that ends cuts it off, and the next one goes on.
    """

    kind: ClassVar[str] = "RetentionPolicy"

    def __init__(self, runtime: ControllerRuntime) -> None:
        super().__init__(runtime)
        self._clock: Callable[[], float] = getattr(runtime, "clock", time.time)
        self._holder = f"{platform.node() or 'host'}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._turn = asyncio.Lock()
        self._pass: Pass | None = None
        self._running: dict[str, _Running] = {}
        """By name of the policy."""
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By name of the policy: who reconciles it."""
        self._outcomes: dict[str, Outcome | Exception] = {}
        """What is not written yet, by uid of the policy,"""
        self._told: dict[str, Outcome | None] = {}
        """and what of it the status tells that is about to be written."""
        self._cut_off: dict[str, tuple[str, dict[str, int]]] = {}
        """(name, counts) of what passes removed that did not come to their end, by uid of the policy."""

    # ------------------------------------------------------------------------------------------ reconciling

    async def reconcile(self, request: Request) -> Result:
        policy = await self.runtime.client.get(self._key(request.name))
        if policy is None or policy.metadata.deletion_timestamp:
            self._stop(request.name)
        # The manager's reconcile and that of a pass that ended must not tell one outcome twice.
        async with self._writing[request.name]:
            return await super().reconcile(request)

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        """Raises: TerminalError (Invalid); what made a pass fail."""
        spec = _spec_of(resource)
        uid = resource.metadata.uid
        if uid not in self._outcomes and self._left_s(resource, spec) <= 0:
            running = self._begin(resource)
            if resource.status.get("observedGeneration") != resource.metadata.generation:
                await self._wait_for(running)
        outcome = self._outcomes.get(uid)
        if isinstance(outcome, Exception):
            del self._outcomes[uid]
            raise outcome
        self._told[uid] = outcome
        return self._status(resource, spec, outcome)

    async def update_resource_state(self, resource: Resource, desired: Any, current: Any) -> None:
        """Write the status; an outcome that could not be written for a conflict is told by the next reconcile."""
        uid = resource.metadata.uid
        told, cut_off = self._told.pop(uid, None), self._cut_off.get(uid)
        await super().update_resource_state(resource, desired, current)
        if cut_off is not None and self._cut_off.get(uid) is cut_off:
            del self._cut_off[uid]
        if told is not None and self._outcomes.get(uid) is told:
            del self._outcomes[uid]
        await self._record_failure(resource, desired)
        if told is not None and not told.dry_run:
            before = cut_off[1] if cut_off is not None else {}
            if sum(told.removed.values()) + sum(before.values()) > told.own_events:
                await self._tell(resource, "Normal", REMOVED, _counted(told.removed, before))

    def result_of(self, resource: Resource, desired: Any) -> Result:
        """At the next pass, and every minute before."""
        spec = _spec_of(resource)
        left_s = self._left_s(attrs.evolve(resource, status=desired), spec)
        if left_s <= 0 or resource.metadata.name in self._running:
            return Result(requeue_after_s=min(spec.interval_s, _BUSY_AGAIN_S))
        return Result(requeue_after_s=min(left_s, _LOOK_AGAIN_S))

    async def finished(self) -> None:
        """Wait until no pass is under way in this process."""
        while self._running:
            await asyncio.wait([running.task for running in self._running.values()])

    async def aclose(self) -> None:
        """Cut off what is under way and does not end within 0.25 s."""
        if self._running:
            if self._pass is not None:
                self._pass.hurried = True
            await asyncio.wait([running.task for running in self._running.values()], timeout=_GRACE_S)
        tasks = [self._stop(name) for name in tuple(self._running)]
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        for uid, (name, counts) in tuple(self._cut_off.items()):
            with contextlib.suppress(KastraError):  # only the counts are lost
                policy = await self.runtime.client.get(self._key(name))
                if policy is not None and policy.metadata.uid == uid:
                    removed = _added(policy.status.get("removed"), counts)
                    await self.runtime.client.update_status(policy, {**policy.status, "removed": removed})
                    await self._tell(policy, "Normal", REMOVED, f"{_counted(counts)}; the next pass goes on")
        self._cut_off.clear()

    # ------------------------------------------------------------------------------------------ passes

    def _key(self, name: str) -> ResourceKey:
        return ResourceKey(self.group, self.kind, "", name)

    def _left_s(self, policy: Resource, spec: RetentionPolicySpec) -> float:
        """Seconds until the next pass; <= 0: it is due."""
        last_s = unix_s(policy.status.get("lastRunTime"))
        if last_s is None or _of_last_pass(policy, "generation") != policy.metadata.generation:
            return 0.0
        left_s = last_s + spec.interval_s - self._clock()
        # More than an interval: the clock was set back.
        return left_s if left_s <= spec.interval_s else 0.0

    def _begin(self, policy: Resource) -> _Running:
        name, generation = policy.metadata.name, policy.metadata.generation
        running = self._running.get(name)
        if running is not None:
            if running.generation == generation:
                return running
            self._stop(name)
        running = self._running[name] = _Running(generation)
        running.task = asyncio.create_task(self._carry_out(policy, running), name=f"kastra retention {name}")
        return running

    def _stop(self, name: str) -> asyncio.Task[None] | None:
        running = self._running.pop(name, None)
        if running is None:
            return None
        running.task.cancel()
        return running.task

    async def _wait_for(self, running: _Running) -> None:
        running.awaited = True
        try:
            await asyncio.wait((running.task,), timeout=_PATIENCE_S)
        finally:
            running.awaited = False

    async def _carry_out(self, policy: Resource, running: _Running) -> None:
        name, uid = policy.metadata.name, policy.metadata.uid
        try:
            async with self._turn:
                outcome: Outcome | Exception | None = await self._enforce(policy)
        except _StoppedError:
            outcome = None
        except Exception as error:
            outcome = error
        finally:
            if self._running.get(name) is running:
                del self._running[name]
        if outcome is None:
            return
        self._outcomes[uid] = outcome
        if not running.awaited:
            await self._report(Request("", name))
        if isinstance(outcome, Outcome):
            # The queue still waits as for a pass under way; after a failure, too, which is not tried again at once.
            self.watch(policy)

    async def _enforce(self, policy: Resource) -> Outcome | None:
        """Carry one pass out; None when that is not to be done here and now."""
        leases = self.runtime.store.leases
        if await leases.acquire(LEASE, self._holder, _LEASE_TTL_S) is None:
            return None
        try:
            # Another process may have done it just before.
            now = await self.runtime.client.get(policy.key)
            if now is None or now.metadata.uid != policy.metadata.uid or now.metadata.deletion_timestamp:
                return None
            spec = _spec_of(now)
            if self._left_s(now, spec) > 0:
                return None
            outcome = Outcome(generation=now.metadata.generation, began_s=self._clock(), dry_run=spec.dry_run)
            self._pass = Pass(self.runtime.client, spec, outcome, self._keep_lease())
            try:
                await self._pass.run()
            except BaseException:
                self._note_cut_off(now, outcome)
                raise
            return outcome
        finally:
            self._pass = None
            with contextlib.suppress(StoreError):
                await leases.release(LEASE, self._holder)

    def _note_cut_off(self, policy: Resource, outcome: Outcome) -> None:
        if any(outcome.removed.values()) and not outcome.dry_run:
            uid = policy.metadata.uid
            _, before = self._cut_off.get(uid, ("", {}))
            counts = {word: before.get(word, 0) + outcome.removed.get(word, 0) for word in _WORDS}
            self._cut_off[uid] = (policy.metadata.name, {word: count for word, count in counts.items() if count})

    def _keep_lease(self) -> Callable[[], Any]:
        renewed = time.monotonic()

        async def keep() -> None:
            nonlocal renewed
            if time.monotonic() - renewed < _LEASE_TTL_S / 3:
                return
            renewed = time.monotonic()
            if await self.runtime.store.leases.acquire(LEASE, self._holder, _LEASE_TTL_S) is None:
                raise _StoppedError

        return keep

    async def _report(self, request: Request) -> None:
        """Have the outcome written now: nobody may look at the policy again before this process ends."""
        for _ in range(_TRIES):
            try:
                await self.reconcile(request)
            except ConflictError:
                continue
            except Exception as error:
                _log.warning("RetentionPolicy %s: %s", request.name, error)
            return

    # ------------------------------------------------------------------------------------------ status

    def _status(self, policy: Resource, spec: RetentionPolicySpec, outcome: Outcome | None) -> JsonObject:
        told = f"enforced every {spec.interval_s.plain}"
        ready = Condition(type="Ready", status="True", reason="Valid", message=told)
        if spec.dry_run:
            ready = attrs.evolve(ready, reason="DryRun", message=f"{told}, and nothing is removed (dryRun)")
        _, cut_off = self._cut_off.get(policy.metadata.uid, ("", {}))
        removed = _added(policy.status.get("removed"), cut_off)
        if outcome is None:
            return ready_status(policy, [ready], **({"removed": removed} if cut_off else {}))
        last = {
            "generation": outcome.generation,
            "durationS": outcome.duration_s,
            **({"dryRun": True, "wouldRemove": outcome.removed} if outcome.dry_run else {"removed": outcome.removed}),
            "inUse": outcome.in_use,
            "failed": outcome.failed,
        }
        return ready_status(
            policy,
            [ready, _enforced(outcome)],
            lastRunTime=rfc3339(outcome.began_s),
            nextRunTime=rfc3339(outcome.began_s + spec.interval_s),
            lastRun=last,
            removed=_added(removed, {} if outcome.dry_run else outcome.removed),
            remaining=dict(outcome.remaining),
        )

    async def _record_failure(self, before: Resource, status: JsonObject) -> None:
        """An Event when things turn out to stay that should go, or others than before."""
        now = condition_of(attrs.evolve(before, status=status), "Enforced")
        if now is None or now.get("reason") != "NotRemoved":
            return
        if (condition_of(before, "Enforced") or {}).get("message") == now.get("message"):
            return
        await self._tell(before, "Warning", "NotRemoved", str(now.get("message", "")))

    async def _tell(self, policy: Resource, type: str, reason: str, message: str) -> None:
        """Record an Event."""
        if self.runtime.events is not None:
            waited = self.runtime.events.record(policy, type, reason, message)
            if hasattr(waited, "__await__"):
                await waited


def _spec_of(policy: Resource) -> RetentionPolicySpec:
    try:
        return typed(policy.spec, RetentionPolicySpec)
    except Exception as error:
        # It was stored by another version.
        raise TerminalError(
            f"spec cannot be read: {error}", reason="Invalid", remedy="apply the policy again"
        ) from error


def _enforced(outcome: Outcome) -> Condition:
    if outcome.dry_run:
        what = _counted(outcome.removed)
        status: Literal["True", "False"] = "False" if what else "True"
        return Condition(type="Enforced", status=status, reason="DryRun", message=f"{what or 'nothing'} would go")
    if outcome.failed:
        more = outcome.failed - len(outcome.messages)
        told = "; ".join(outcome.messages) + (f"; and {more} more" if more else "")
        return Condition(type="Enforced", status="False", reason="NotRemoved", message=told)
    what = _counted(outcome.removed)
    told = f"removed {what}" if what else "nothing had to go"
    return Condition(type="Enforced", status="True", reason="Removed", message=told)


def _counted(*counts: Mapping[str, int]) -> str:
    """The sums in words, without those that are 0: "400 runs, 1 thread"."""
    sums = ((word, sum(count.get(word, 0) for count in counts)) for word in _WORDS)
    return ", ".join(f"{number:,} {word if number != 1 else word[:-1]}" for word, number in sums if number)


def _added(before: object, now: Mapping[str, int]) -> JsonObject:
    """Counts of all passes."""
    old = before if isinstance(before, Mapping) else {}
    out = {word: int(old.get(word, 0)) + now.get(word, 0) for word in _WORDS if word in old or word in now}
    return {**out, "total": sum(out.values())}


def _of_last_pass(policy: Resource, name: str) -> Any:
    last = policy.status.get("lastRun")
    return last.get(name) if isinstance(last, Mapping) else None
