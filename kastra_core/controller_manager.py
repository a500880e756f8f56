"""ControllerManager: informers, queues and workers under all controllers of a runtime."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.meta import Resource, ResourceKey, is_true
from kastra_core.controller_pool import ControllerPool, worth_a_look
from kastra_core.errors import ConflictError, KastraError, PluginLoadError, StoreError
from kastra_core.informer import Informer, ReferenceIndex
from kastra_core.protocols.controller import Reconciler, Request
from kastra_core.registrations import ControllerRegistration

if TYPE_CHECKING:
    from kastra_core.controller import ControllerRuntime

__all__ = ["ControllerManager"]

_log = logging.getLogger(__name__)

_CONFLICT_TRIES = 8


def _matters_to_others(old: Resource | None, new: Resource | None) -> bool:
    """Whether those that refer to a resource should look again: it came, went, or its spec or status changed."""
    if old is None or new is None:
        return True
    before, after = old.metadata, new.metadata
    return (
        before.generation != after.generation
        or before.uid != after.uid
        or before.deletion_timestamp != after.deletion_timestamp
        or old.status != new.status
        or old.extra != new.extra
    )


def _is_settled(resource: Resource) -> bool:
    meta, status = resource.metadata, resource.status
    return not meta.deletion_timestamp and status.get("observedGeneration") == meta.generation and is_true(resource)


class ControllerManager:
    """Runs controllers: a shared informer for each kind, a queue for each controller.

    A resource is looked at by the controllers of its kind when it comes, goes, or changes in more than its status;
    when something that it refers to (``ResourceKind.references``) comes, goes or changes, status included; and when
    something that it owns as controller changes.

    Args:
        runtime: given to each controller's factory.
        registrations: controllers; more may come by :meth:`add`.
    """

    def __init__(self, runtime: ControllerRuntime, registrations: Iterable[ControllerRegistration] = ()) -> None:
        self.runtime = runtime
        self.running = False
        self.index = ReferenceIndex()
        self._pools: dict[tuple[str, str], list[ControllerPool]] = {}
        self._informers: dict[tuple[str, str], Informer] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._activity = 0
        self._resync = True
        for record in registrations:
            self.add(record)

    # ------------------------------------------------------------------------------------------ controllers

    def add(self, record: ControllerRegistration) -> None:
        """Take a controller; it is imported when the first resource of its kind is there.

        Raises: ValueError: its name is taken.
        """
        if any(pool.record.name == record.name for pools in self._pools.values() for pool in pools):
            raise ValueError(f"there is a controller {record.name!r} already")
        pool = self._pool(record)
        group_kind = (record.group, record.kind)
        kind = self.runtime.registry.get(*group_kind)
        self._pools.setdefault(group_kind, []).append(pool)
        if self.running and kind is not None:
            self._follow(kind)
            pool.watch(None)

    def _pool(self, record: ControllerRegistration) -> ControllerPool:
        def known() -> Iterable[Resource]:
            informer = self._informers.get((record.group, record.kind))
            return informer.lister.list() if informer is not None else ()

        pool = ControllerPool(record, self.runtime, known=known, progressed=self.progressed)
        pool.enabled = self.runtime.registry.get(record.group, record.kind) is not None
        return pool

    @property
    def faults(self) -> dict[str, PluginLoadError]:
        """Controllers that could not be made, by name."""
        pools = (pool for pools in self._pools.values() for pool in pools)
        return {pool.record.name: pool.fault for pool in pools if pool.fault is not None}

    def register_controller(
        self, kind: str, controller: Reconciler, *, group: str = MAIN_GROUP, name: str = "", workers: int = 16
    ) -> None:
        """Take a controller that is made already."""
        record = ControllerRegistration(
            name=name or f"{type(controller).__name__}.{kind.lower()}",
            kind=kind,
            group=group,
            factory=lambda runtime: controller,
            workers=workers,
        )
        self.add(record)

    def controllers(self, group: str, kind: str) -> Sequence[Reconciler]:
        """The controllers of a kind that can be made; those that cannot are in ``faults``."""
        out = []
        for pool in self._pools.get((group, kind), ()):
            try:
                out.append(pool.reconciler())
            except PluginLoadError:
                continue  # it is in self.faults
        return out

    def informer(self, group: str, kind: str) -> Informer | None:
        """The informer of a kind while the manager runs; None for kinds that nobody follows."""
        return self._informers.get((group, kind))

    # ------------------------------------------------------------------------------------------ life

    async def start(self, *, resync: bool = True) -> None:
        """Follow the store and reconcile from now on, until :meth:`stop`. Returns before the first list is there.

        ``resync``: look at everything that is stored, also at what was Ready when somebody last looked (the world
        may have changed since); False suits a process that lives for one command.
        """
        if self.running:
            return
        self._resync = resync
        self.running = True
        self._unsubscribe = self.runtime.registry.subscribe(self._kind_changed)
        for kind in self.runtime.registry:
            self._follow(kind)

    async def stop(self, *, grace_s: float = 5.0) -> None:
        """End informers and workers. Reconciles under way have ``grace_s`` seconds to finish, what waits is dropped."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self.running = False
        informers, self._informers = list(self._informers.values()), {}
        await asyncio.gather(*(informer.stop() for informer in informers))
        if self._stopping:
            await asyncio.wait(self._stopping)
        pools = [pool for pools in self._pools.values() for pool in pools]
        await asyncio.gather(*(pool.stop(grace_s) for pool in pools))
        self._pools = {gk: [self._pool(pool.record) for pool in pools] for gk, pools in self._pools.items()}
        self.index = ReferenceIndex()
        self.progressed()

    def _follow(self, kind: ResourceKind) -> None:
        pools = self._pools.get(kind.group_kind)
        # Bookkeeping (runs, events) comes in great numbers and nobody waits for its state but its own controllers.
        if kind.group_kind in self._informers or (kind.ephemeral and not pools):
            return
        # A run pins what it refers to, so later changes of that are none of its business.
        index = ReferenceIndex() if kind.ephemeral else self.index
        informer = Informer(self.runtime.client, kind.group, kind.kind, index=index)
        informer.add_handler(self._changed)
        self._informers[kind.group_kind] = informer
        informer.start()

    def _kind_changed(self, kind: ResourceKind, registered: bool) -> None:
        for pool in self._pools.get(kind.group_kind, ()):
            pool.enabled = registered
        if registered:
            informer = self._informers.get(kind.group_kind)
            if informer is not None:
                informer.kind_changed()
                return
            if not kind.namespaced:  # what refers to it is known now to mean no namespace
                for other in self._informers.values():
                    other.kind_changed()
            self._follow(kind)
            return
        informer = self._informers.pop(kind.group_kind, None)
        if informer is not None:
            task = informer.cancel()
            if task is not None:
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)
            informer.clear()
            self.progressed()

    # ------------------------------------------------------------------------------------------ changes

    def _changed(self, old: Resource | None, new: Resource | None) -> None:
        resource = new if new is not None else old
        if resource is None:
            return
        key = resource.key
        if old is None and not self._resync and _is_settled(resource):
            informer = self._informers.get((key.group, key.kind))
            if informer is not None and not informer.synced.is_set():
                return
        pools = self._pools.get((key.group, key.kind))
        if pools:
            request = Request(key.namespace, key.name)
            for pool in pools:
                if pool.wants(old, new):
                    pool.add(request)
        matters = _matters_to_others(old, new)
        if matters:
            for referrer in self.index.referrers(key):
                if referrer != key:
                    self._enqueue(referrer)
        # An owner cares for labels and annotations of what it made too, and for what was taken away from it.
        if matters or worth_a_look(old, new):
            owners = resource.metadata.owner_references
            if old is not None and old.metadata.owner_references != owners:
                owners = (*old.metadata.owner_references, *owners)
            for owner in owners:
                if owner.controller:
                    self._enqueue_owner(owner.api_version.rpartition("/")[0], owner.kind, key.namespace, owner.name)
        self.progressed()

    def _enqueue(self, key: ResourceKey) -> None:
        request = Request(key.namespace, key.name)
        for pool in self._pools.get((key.group, key.kind), ()):
            pool.add(request)

    def _enqueue_owner(self, group: str, kind: str, namespace: str, name: str) -> None:
        known = self.runtime.registry.get(group, kind)
        if known is not None:
            self._enqueue(known.key(namespace, name))

    # ------------------------------------------------------------------------------------------ waiting

    def progressed(self) -> None:
        """Something happened; those that wait look again."""
        self._activity += 1
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if not self.running:
                raise RuntimeError("the controllers were stopped")
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _busy(self, key: ResourceKey) -> bool:
        pools = self._pools.get((key.group, key.kind))
        if not pools:
            return False
        request = Request(key.namespace, key.name)
        return any(pool.busy(request) for pool in pools)

    def _all_idle(self) -> bool:
        return all(pool.idle for pools in self._pools.values() for pool in pools)

    async def settled(self, keys: Iterable[ResourceKey] | None = None, timeout_s: float = 30.0) -> bool:
        """Wait until every change so far of ``keys`` (None: of everything) has been reconciled.

        What failed counts as reconciled: its condition says why, and it is tried again later.

        Returns:
            False when that took longer than ``timeout_s`` seconds.
        Raises:
            RuntimeError: the manager does not run.
        """
        if not self.running:
            raise RuntimeError("the controllers are not running; start() them, or use reconcile_now()")
        wanted = None if keys is None else tuple(dict.fromkeys(keys))
        try:
            async with asyncio.timeout(timeout_s):
                await self._settle(wanted)
        except TimeoutError:
            return False
        return True

    async def _settle(self, keys: tuple[ResourceKey, ...] | None) -> None:
        before: dict[ResourceKey, int | None] | None = None
        while True:
            if keys is None:
                await self._wait(self._all_idle)
            else:
                for key in keys:
                    if self._busy(key):
                        await self._wait(lambda key=key: not self._busy(key))  # type: ignore[misc]
            mark = self._activity
            versions = await self._versions(keys)
            await self._seen(versions)
            idle = self._all_idle() if keys is None else not any(map(self._busy, keys))
            # Still: either nothing at all happened while the store was read, or nothing to these resources.
            if idle and (self._activity == mark or versions == before):
                return
            before = versions

    async def _versions(self, keys: tuple[ResourceKey, ...] | None) -> dict[ResourceKey, int | None]:
        """resourceVersions of what the store holds now of the kinds that are followed; None: not there."""
        resources = self.runtime.client.store.resources
        if keys is not None:
            followed = [key for key in keys if (key.group, key.kind) in self._informers]
            found = await resources.get_many(followed)
            return {key: _version(found.get(key)) for key in followed}
        out: dict[ResourceKey, int | None] = {}
        for group, kind in tuple(self._informers):
            for resource in (await resources.list(group, kind)).items:
                out[resource.key] = _version(resource)
            informer = self._informers.get((group, kind))
            for key in informer.snapshot() if informer else ():
                out.setdefault(key, None)
        return out

    async def _seen(self, versions: dict[ResourceKey, int | None]) -> None:
        """Wait until the informers know these states, or later ones."""
        for group_kind in {(key.group, key.kind) for key in versions}:
            informer = self._informers.get(group_kind)
            if informer is not None:
                await informer.synced.wait()
        for key, version in versions.items():
            informer = self._informers.get((key.group, key.kind))
            if informer is None:
                continue
            if version is not None:
                if informer.seen < version:
                    await self._wait(lambda i=informer, v=version: i.seen >= v or self._is_off(i))  # type: ignore[misc]
            elif informer.cached(key) is not None:
                # Its removal is on the way, or it is there again already.
                before = informer.cached(key)
                await self._wait(lambda i=informer, k=key, b=before: i.cached(k) is not b)  # type: ignore[misc]

    def _is_off(self, informer: Informer) -> bool:
        """Whether its kind has gone meanwhile: it will see nothing any more."""
        return self.running and self._informers.get((informer.group, informer.kind)) is not informer

    # ------------------------------------------------------------------------------------------ one shot

    async def reconcile_now(self, key: ResourceKey) -> Resource | None:
        """Reconcile one resource here and now, without informers; return it as it is then, None when it is not there.

        Failures that a controller writes into conditions are not raised.

        Raises:
            StoreError: the store cannot be read or written.
            Exception: what a controller raises that reports no conditions.
        """
        await self._reconcile(key)
        return await self.runtime.client.get(key)

    async def reconcile_closure(self, key: ResourceKey) -> Resource | None:
        """Reconcile what a resource refers to, transitively and deepest first, and then itself; return it.

        What is missing is left to the conditions of those that refer to it. Raises as :meth:`reconcile_now`.
        """
        done: set[ResourceKey] = set()
        stack: list[tuple[ResourceKey, bool]] = [(key, False)]
        while stack:
            current, expanded = stack.pop()
            if expanded:
                await self._reconcile(current)
                continue
            if current in done:
                continue
            done.add(current)
            stack.append((current, True))
            stack.extend((target, False) for target in reversed(await self._targets(current)))
        return await self.runtime.client.get(key)

    async def _reconcile(self, key: ResourceKey) -> None:
        for reconciler in self.controllers(key.group, key.kind):
            await self._reconcile_once(reconciler, Request(key.namespace, key.name))

    async def _targets(self, key: ResourceKey) -> Sequence[ResourceKey]:
        kind = self.runtime.registry.get(key.group, key.kind)
        if kind is None or kind.references is None:
            return ()
        resource = await self.runtime.client.get(key)
        if resource is None:
            return ()
        try:
            return [reference.key for reference in self.runtime.registry.references_of(resource)]
        except KastraError:
            return ()  # its controller says so in a condition

    async def _reconcile_once(self, reconciler: Reconciler, request: Request) -> None:
        for attempt in range(1, _CONFLICT_TRIES + 1):
            try:
                await reconciler.reconcile(request)
            except ConflictError:
                if attempt == _CONFLICT_TRIES:
                    raise
                continue
            except Exception as error:
                if isinstance(error, StoreError) or not hasattr(reconciler, "handle_reconcile_failure"):
                    raise
                _log.debug("reconcile of %s: %s", request, error)
            return


def _version(resource: Resource | None) -> int | None:
    return int(resource.metadata.resource_version) if resource is not None else None
