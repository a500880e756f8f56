"""One controller at work: its queue and its workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kastra_core.api.lazy import load
from kastra_core.api.meta import Resource
from kastra_core.errors import ConflictError, KastraError, PluginLoadError, TerminalError
from kastra_core.protocols.controller import Reconciler, Request, Result
from kastra_core.registrations import ControllerRegistration
from kastra_core.workqueue import QueueShutDown, WorkQueue

if TYPE_CHECKING:
    from kastra_core.controller import ControllerRuntime

__all__ = ["ControllerPool", "worth_a_look"]

_log = logging.getLogger(__name__)

_TURN_S = 0.01
"""A worker whose reconciles never suspend gives way to other tasks after so long."""
_CAP_S = 60.0
"""Longest wait between tries: somebody who mended the world should not wait longer to see it heal."""
_CONFLICT_TRIES = 8
"""Conflicts in a row after which a resource counts as one that failed."""


def worth_a_look(old: Resource | None, new: Resource | None) -> bool:
    """Whether a resource changed in more than its status."""
    if old is None or new is None:
        return True
    before, after = old.metadata, new.metadata
    return (
        before.generation != after.generation
        or before.uid != after.uid
        or before.deletion_timestamp != after.deletion_timestamp
        or before.finalizers != after.finalizers
        or before.labels != after.labels
        or before.annotations != after.annotations
        or before.owner_references != after.owner_references
    )


class ControllerPool:
    """One controller with its queue and its workers, which are started when there is work for them."""

    def __init__(
        self,
        record: ControllerRegistration,
        runtime: ControllerRuntime,
        *,
        known: Callable[[], Iterable[Resource]],
        progressed: Callable[[], None],
    ) -> None:
        self.record = record
        self.queue: WorkQueue[Request] = WorkQueue(cap_s=_CAP_S)
        self.retrying: set[Request] = set()
        """Whose last try ended in a conflict: not reconciled yet."""
        self.enabled = True
        """False while its kind is not registered."""
        self.fault: PluginLoadError | None = None
        """Why the controller could not be made."""
        self._runtime, self._known, self._progressed = runtime, known, progressed
        self._reconciler: Reconciler | None = None
        self._workers: set[asyncio.Task[None]] = set()

    def reconciler(self) -> Reconciler:
        """Raises: PluginLoadError when the controller cannot be made; it is asked to only once."""
        if self._reconciler is None:
            if self.fault is not None:
                raise self.fault
            try:
                made = load(self.record.factory)(self._runtime)
                if not callable(getattr(made, "reconcile", None)):
                    raise TypeError(f"{made!r} has no method reconcile(request)")
            except (Exception, SystemExit) as error:
                what = f"{type(error).__name__}: {error}"
                self.fault = PluginLoadError(self.record.name, "making the controller", what)
                _log.error("controller %r is off: %s", self.record.name, what)
                raise self.fault from error
            self._reconciler = made
            if hasattr(made, "attach"):
                made.attach(self.watch)
        return self._reconciler

    def wants(self, old: Resource | None, new: Resource | None) -> bool:
        check = getattr(self._reconciler, "should_reconcile", None)
        if check is None:  # not made yet: its first look has to come from somewhere
            return worth_a_look(old, new)
        try:
            return bool(check(old, new))
        except Exception:
            _log.exception("should_reconcile of controller %r failed", self.record.name)
            return True

    def add(self, request: Request) -> None:
        if not self.enabled or self.fault is not None:
            return
        queue = self.queue
        nobody_waits = not queue.waiting_workers
        queue.add(request)
        if nobody_waits and len(self._workers) < self.record.workers and len(queue):
            task = asyncio.create_task(self._work(), name=f"kastra controller {self.record.name}")
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    def busy(self, request: Request) -> bool:
        return self.queue.holds(request) or request in self.retrying

    @property
    def idle(self) -> bool:
        return self.queue.idle and not self.retrying

    async def stop(self, grace_s: float) -> None:
        self.queue.shut_down(discard=True)
        if self._workers:
            await asyncio.wait(self._workers, timeout=grace_s)
        left = tuple(self._workers)
        for worker in left:
            worker.cancel()
        if left:
            await asyncio.wait(left)
        close = getattr(self._reconciler, "aclose", None)
        if close is not None:
            try:
                await close()
            except Exception:
                _log.exception("closing controller %r failed", self.record.name)

    def watch(self, resource: Resource | None) -> None:
        """Have a resource, or all that are known, looked at."""
        for found in self._known() if resource is None else (resource,):
            self.add(Request(found.metadata.namespace, found.metadata.name))

    async def _work(self) -> None:
        queue = self.queue
        turn_ends = time.monotonic() + _TURN_S
        while True:
            try:
                waits = not len(queue)
                request = await queue.get()
            except QueueShutDown:
                return
            if waits:
                turn_ends = time.monotonic() + _TURN_S
            try:
                await self._one(request)
            finally:
                queue.done(request)
                self._progressed()
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + _TURN_S

    async def _one(self, request: Request) -> None:
        queue = self.queue
        try:
            result = await self.reconciler().reconcile(request)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something inside was cancelled, not this worker.
            _log.warning("controller %r: the reconcile of %s was cancelled", self.record.name, request)
            queue.add_rate_limited(request)
        except ConflictError as error:
            if queue.num_requeues(request) < _CONFLICT_TRIES:
                self.retrying.add(request)
                queue.add_rate_limited(request)
                return
            self._log_failure(request, error)
            queue.add_rate_limited(request)
        except TerminalError as error:
            self._log_failure(request, error)
            queue.forget(request)
        except Exception as error:
            if error is self.fault:
                return  # nobody to reconcile; it was logged once
            self._log_failure(request, error)
            queue.add_rate_limited(request)
        else:
            queue.forget(request)
            wait_s = result.requeue_after_s if isinstance(result, Result) else None
            if wait_s is not None:
                queue.add_after(request, wait_s)
        if self.retrying:
            self.retrying.discard(request)

    def _log_failure(self, request: Request, error: Exception) -> None:
        first = self.queue.num_requeues(request) == 0
        _log.log(
            logging.WARNING if first else logging.DEBUG,
            "controller %r: %s %s: %s",
            self.record.name,
            self.record.kind,
            request,
            error,
            exc_info=error if first and not isinstance(error, KastraError) else None,
        )
