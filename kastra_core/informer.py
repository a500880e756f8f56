"""Informer: a cache of all resources of one kind that follows the store, and tells its handlers what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.selectors import LabelSelector
from kastra_core.errors import ExpiredError
from kastra_core.workqueue import backoff_s

if TYPE_CHECKING:
    from kastra_core.resources import ResourceClient

__all__ = ["ChangeHandler", "Informer", "Lister", "ReferenceIndex"]

_log = logging.getLogger(__name__)

ChangeHandler: TypeAlias = Callable[[Resource | None, Resource | None], None]
"""``handler(old, new)``: added when old is None, deleted when new is None. Plain, quick, and must not raise."""

# A burst from a store that never suspends gives way to other tasks after so many events.
_EVENTS_PER_TURN = 500


class ReferenceIndex:
    """Who refers to what, over all kinds whose informers share the index."""

    def __init__(self) -> None:
        # dicts as ordered sets: referrers come in the order in which they came to refer
        self._referrers: dict[ResourceKey, dict[ResourceKey, None]] = {}
        self._targets: dict[ResourceKey, tuple[ResourceKey, ...]] = {}

    def referrers(self, target: ResourceKey) -> Sequence[ResourceKey]:
        """Keys of the resources that refer to ``target``, whether or not it exists."""
        found = self._referrers.get(target)
        return tuple(found) if found else ()

    def targets(self, referrer: ResourceKey) -> Sequence[ResourceKey]:
        """Keys of what a resource refers to."""
        return self._targets.get(referrer, ())

    def set(self, referrer: ResourceKey, targets: Iterable[ResourceKey]) -> None:
        """Replace what ``referrer`` refers to; nothing = forget it."""
        new = tuple(dict.fromkeys(targets))
        old = self._targets.get(referrer, ())
        if new == old:
            return
        for target in old:
            if target not in new:
                referrers = self._referrers[target]
                del referrers[referrer]
                if not referrers:
                    del self._referrers[target]
        for target in new:
            self._referrers.setdefault(target, {})[referrer] = None
        if new:
            self._targets[referrer] = new
        else:
            del self._targets[referrer]


class Lister:
    """Reads an informer's cache: no I/O, perhaps a moment old."""

    def __init__(self, cache: dict[ResourceKey, Resource], kind: Callable[[], tuple[str, str]]) -> None:
        self._cache, self._kind = cache, kind

    def get(self, namespace: str, name: str) -> Resource | None:
        return self._cache.get(ResourceKey(*self._kind(), namespace, name))

    def list(self, *, namespace: str | None = None, labels: LabelSelector | None = None) -> Sequence[Resource]:
        """Resources in order of namespace and name; ``namespace`` None = all."""
        found = [
            resource
            for resource in self._cache.values()
            if (namespace is None or resource.metadata.namespace == namespace)
            and (labels is None or labels.matches(resource.metadata.labels))
        ]
        return sorted(found, key=lambda resource: (resource.metadata.namespace, resource.metadata.name))

    def __len__(self) -> int:
        return len(self._cache)


class Informer:
    """Lists a kind, then watches it, for as long as it runs.

    When the store has forgotten the history that the watch needs (ExpiredError), and after any error, it lists
    again, after a wait that doubles with each failure in a row, and tells handlers only what differs from the cache.

    Args:
        client: reads and watches.
        group, kind: must be in ``client.registry`` when the informer starts.
        index: where references are kept; share one between informers to ask for referrers of every kind.
        base_s, cap_s: seconds, first and longest wait after errors.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        client: ResourceClient,
        group: str,
        kind: str,
        *,
        index: ReferenceIndex | None = None,
        base_s: float = 0.05,
        cap_s: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.group, self.kind = group, kind
        self.index = index if index is not None else ReferenceIndex()
        self.synced = asyncio.Event()
        """Set once the first list is in the cache and handlers know it."""
        self.relists = 0
        """How often it had to begin again."""
        self.seen = -1
        """All writes to this kind up to this resourceVersion are in the cache, and handlers know them."""
        self.error: Exception | None = None
        """Why it cannot follow the store just now, None while it does."""
        self._client, self._base_s, self._cap_s, self._sleep = client, base_s, cap_s, sleep
        self._cache: dict[ResourceKey, Resource] = {}
        self.lister = Lister(self._cache, lambda: (group, kind))
        self._handlers: list[ChangeHandler] = []
        self._listed: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._events = 0

    def add_handler(self, handler: ChangeHandler) -> Callable[[], None]:
        """Tell ``handler`` of each change, beginning with what is in the cache as added; returns what ends it."""
        for resource in tuple(self._cache.values()):
            self._call(handler, None, resource)
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    def when_listed(self, told: Callable[[], None]) -> None:
        """Call ``told`` whenever the cache holds all that is stored, as of ``seen``: for one who knows of resources
        from elsewhere, of whose end the informer does not tell because it has never seen them."""
        self._listed.append(told)
        if self.synced.is_set():
            told()

    def kind_changed(self) -> None:
        """The kind is described in another way now: read again what its resources refer to."""
        for key, resource in tuple(self._cache.items()):
            self.index.set(key, self._references(resource))

    def cached(self, key: ResourceKey) -> Resource | None:
        """The last known state of a resource of this kind."""
        return self._cache.get(key)

    def snapshot(self) -> dict[ResourceKey, Resource]:
        """A copy of the cache."""
        return dict(self._cache)

    def start(self) -> None:
        """Begin to follow the store, in a task of its own.

        Raises:
            UnknownKindError: the registry does not know the kind.
        """
        if self._task is not None:
            return
        kind = self._client.registry.of_key(ResourceKey(self.group, self.kind, "", ""))
        self._task = asyncio.create_task(self._run(kind), name=f"kastra informer {self.kind}.{self.group}")

    async def stop(self) -> None:
        """Stop following; the cache stays as it is."""
        task = self.cancel()
        if task is not None:
            await asyncio.wait((task,))

    def cancel(self) -> asyncio.Task[None] | None:
        """Stop following as soon as the event loop gets to it; returns the task that then ends."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        return task

    def clear(self) -> None:
        """Empty the cache; handlers are told that everything was deleted (the kind is gone). Nobody waits for more."""
        for key in tuple(self._cache):
            self._set(key, None)
        self.synced.set()

    # ------------------------------------------------------------------------------------------ list and watch

    async def _run(self, kind: ResourceKind) -> None:
        failures = 0
        while True:
            try:
                await self._watch(kind, await self._list(kind))
                raise ConnectionError("the store ended the watch")
            except Exception as error:
                if self._events:
                    failures, self._events = 0, 0
                self.error = error
                self.relists += 1
                failures += 1
                expired = isinstance(error, ExpiredError)
                first = failures == 1
                _log.log(
                    logging.WARNING if first and not expired else logging.DEBUG,
                    "informer of %s: %s; listing again",
                    self.kind,
                    error,
                )
                if expired and first:
                    continue  # the list is the cure; wait only when it does not help
            await self._sleep(backoff_s(failures, base_s=self._base_s, cap_s=self._cap_s, jitter=0.1))

    async def _list(self, kind: ResourceKind) -> str:
        page = await self._client.list(kind)
        items, since = list(page.items), page.resource_version
        while page.continue_token:
            page = await self._client.list(kind, continue_token=page.continue_token)
            items.extend(page.items)
        listed = {resource.key: resource for resource in items}
        for key in [key for key in self._cache if key not in listed]:
            self._set(key, None)
        for key, resource in listed.items():
            self._set(key, resource)
        self.seen = max(self.seen, int(since))
        self.synced.set()
        for told in self._listed:
            told()
        return since

    async def _watch(self, kind: ResourceKind, since: str) -> None:
        self.error, self._events = None, 0
        events = self._client.watch(kind, since=since)
        try:
            async for event in events:
                resource = event.resource
                self.seen = int(resource.metadata.resource_version)
                self._set(resource.key, None if event.type == "DELETED" else resource)
                self._events += 1
                if self._events % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    # ------------------------------------------------------------------------------------------ cache

    def _set(self, key: ResourceKey, new: Resource | None) -> None:
        old = self._cache.get(key)
        if new is None:
            if old is None:
                return
            del self._cache[key]
            self.index.set(key, ())
        else:
            if old is not None and old.metadata.resource_version == new.metadata.resource_version:
                return
            self._cache[key] = new
            if old is None or _may_refer_otherwise(old, new):
                self.index.set(key, self._references(new))
        for handler in self._handlers:
            self._call(handler, old, new)

    def _references(self, resource: Resource) -> Iterable[ResourceKey]:
        try:
            return [reference.key for reference in self._client.registry.references_of(resource)]
        except Exception as error:
            # What is stored may be older than the rules; its controller says so in a condition.
            _log.debug("%s: references cannot be read: %s", resource.key, error)
            return ()

    def _call(self, handler: ChangeHandler, old: Resource | None, new: Resource | None) -> None:
        try:
            handler(old, new)
        except Exception:
            _log.exception("a handler of the informer of %s failed", self.kind)


def _may_refer_otherwise(old: Resource, new: Resource) -> bool:
    before, after = old.metadata, new.metadata
    return (
        before.generation != after.generation
        or before.uid != after.uid
        or before.annotations != after.annotations
        or before.labels != after.labels
        or old.extra != new.extra
    )
