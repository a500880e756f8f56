"""One pass of a policy: look at everything page by page, and remove what goes in small batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import attrs

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.errors import ConflictError, ExpiredError, NotFoundError, StoreError
from kastra_core.execution.children import RUN_KIND
from kastra_core.protocols.store import AppendMessages, DeleteThread, ThreadInfo
from kastra_core.resources import ResourceClient
from kastra_plugin_retention.relatives import InUse, family_of, is_finished
from kastra_plugin_retention.selection import Rule, Seen, ended_s, judged, last_seen_s, rule_of_runs
from kastra_plugin_retention.spec import RetentionPolicySpec

__all__ = ["EVENT_KIND", "REMOVED", "Outcome", "Pass"]

T = TypeVar("T")

EVENT_KIND = "Event"
REMOVED = "Removed"
"""Reason of the event that tells what a pass removed."""
_PAGE = 128
"""Resources of a page: some 4 ms of the event loop."""
_BATCH = 32
"""Removals under way at once; a store puts their commits into one transaction."""
_LONGEST_REST_S = 0.05
_RESTARTS = 5
"""How often a look that removed nothing is begun again because the store forgot its beginning."""
_MESSAGES = 3
"""Failures that are told with their text."""


@attrs.define(kw_only=True)
class Outcome:
    """What a pass did. Counts are by "runs", "events" and "threads", for those that the policy is about."""

    generation: int
    """Of the policy that was enforced."""
    began_s: float
    """Unix seconds by the runtime's clock."""
    dry_run: bool
    duration_s: float = 0.0
    removed: dict[str, int] = attrs.field(factory=dict)
    """In a dry run: what would go."""
    remaining: dict[str, int] = attrs.field(factory=dict)
    own_events: int = 0
    """How many of the removed events only told of removals by a policy."""
    in_use: int = 0
    """What is old or too much, and stays as long as an unfinished run needs it."""
    failed: int = 0
    """What should have gone and is still there: held by a finalizer, or its removal failed."""
    messages: list[str] = attrs.field(factory=list)
    """About the first of ``failed``."""

    def fail(self, message: str) -> None:
        self.failed += 1
        if len(self.messages) < _MESSAGES:
            self.messages.append(message)


@attrs.frozen
class _Item:
    """As little of a resource as its removal needs."""

    name: str
    uid: str
    version: str


class Pass:
    """One enforcement of a policy.

    Args:
        client: reads, and removes resources by its ordinary ``delete``.
        spec: what goes.
        outcome: is filled while the pass goes on.
        between: called between two batches; a raise ends the pass there.
    """

    def __init__(
        self,
        client: ResourceClient,
        spec: RetentionPolicySpec,
        outcome: Outcome,
        between: Callable[[], Awaitable[None]],
    ) -> None:
        self._client, self._store, self._spec, self._outcome = client, client.store, spec, outcome
        self._between = between
        self.hurried = False
        """Do not rest between batches any more."""
        self._now_s = outcome.began_s
        self._in_use = InUse()
        self._knows_use = False
        self._counted: set[int] = set()
        """resourceVersions of what was counted in a dry run, or as kept: it may come by again for another rule."""
        self._gone: set[str] = set()
        """uids of what the present batch removed."""
        self._gone_seen = 0
        """How many of those that this look has seen are gone."""
        self._place = ("", "")
        """Namespace and name up to which this look has come."""

    async def run(self) -> None:
        """Enforce the policy.

        Raises: StoreError; what ``between`` raises.
        """
        began = time.monotonic()
        spec = self._spec
        await self._in_use.note_claimed(self._store)
        if spec.runs:
            await self._runs([rule_of_runs(rule) for rule in spec.runs])
        if spec.threads is not None:
            await self._threads(Rule.of(spec.threads))
        if spec.events is not None:
            await self._events(Rule.of(spec.events))
        self._outcome.duration_s = round(time.monotonic() - began, 3)

    # ------------------------------------------------------------------------------------------ runs and events

    async def _runs(self, rules: Sequence[Rule[_Item]]) -> None:
        def consider(run: Resource) -> Iterable[Seen[_Item]]:
            if not is_finished(run):
                self._in_use.note(run)
                return ()
            about = [rule for rule in rules if rule.covers(run)]
            at_s = ended_s(run) if about else None
            return judged(about, _seen(run, at_s), self._now_s) if at_s is not None else ()

        await self._look("runs", RUN_KIND, rules, consider, self._remove_run)
        self._knows_use = True

    async def _events(self, rule: Rule[_Item]) -> None:
        def consider(event: Resource) -> Iterable[Seen[_Item]]:
            at_s = last_seen_s(event)
            return judged([rule], _seen(event, at_s), self._now_s) if at_s is not None else ()

        await self._look("events", EVENT_KIND, [rule], consider, self._remove_event)

    async def _look(
        self,
        word: str,
        kind: str,
        rules: Sequence[Rule[_Item]],
        consider: Callable[[Resource], Iterable[Seen[_Item]]],
        remove: Callable[[Seen[_Item]], Awaitable[int]],
    ) -> None:
        """Look at every resource of a kind and remove what ``consider`` names, as soon as a batch is full."""
        removed, restarts = 0, 0
        self._outcome.removed[word] = 0
        while True:
            before, seen, due = removed, 0, list[Seen[_Item]]()
            self._place, self._gone_seen = ("", ""), 0
            for rule in rules:
                rule.forget()
            try:
                async for page in self._pages(kind):
                    for resource in page:
                        due.extend(consider(resource))
                    seen += len(page)
                    last = page[-1].metadata
                    self._place = (last.namespace, last.name)
                    while len(due) >= _BATCH:
                        removed += await self._batch(word, due[:_BATCH], remove)
                        del due[:_BATCH]
                    await self._between()
                    await asyncio.sleep(0)
                removed += await self._batch(word, due, remove)
            except ExpiredError:
                # So much was written meanwhile, often by this pass itself; what it removed needs no second look.
                restarts = restarts + 1 if removed == before else 0
                if restarts > _RESTARTS:
                    raise
                continue
            self._outcome.remaining[word] = seen - self._gone_seen
            return

    async def _pages(self, kind: str) -> AsyncIterator[Sequence[Resource]]:
        """Resources by namespace and name, never an empty page."""
        for namespace in sorted(self._spec.namespaces) if self._spec.namespaces is not None else (None,):
            token = ""
            while True:
                page = await self._store.resources.list(
                    MAIN_GROUP, kind, namespace=namespace, limit=_PAGE, continue_token=token
                )
                if page.items:
                    yield page.items
                token = page.continue_token
                if not token:
                    break

    async def _batch(self, word: str, batch: Sequence[T], remove: Callable[[T], Awaitable[int]]) -> int:
        """Remove these; return how many are gone. Rests afterwards, so that a long pass leaves half of the loop."""
        if not batch:
            return 0
        began = time.monotonic()
        self._gone.clear()
        under_way = asyncio.gather(*map(remove, batch), return_exceptions=True)
        cut_off: asyncio.CancelledError | None = None
        try:
            await asyncio.shield(under_way)
        except asyncio.CancelledError as error:
            # What is under way is done in a moment, and must be counted.
            cut_off = error
            await asyncio.wait((under_way,))
        results = under_way.result()
        count = sum(result for result in results if isinstance(result, int))
        self._outcome.removed[word] += count
        if cut_off is not None:
            raise cut_off
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await self._between()
        if not self._spec.dry_run and not self.hurried:
            await asyncio.sleep(min(time.monotonic() - began, _LONGEST_REST_S))
        return count

    async def _remove_run(self, seen: Seen[_Item]) -> int:
        run = await self._as_it_was(RUN_KIND, seen)
        if run is None:
            return 0
        family = await family_of(self._store, run)
        if family.held_by or self._in_use.has_run(run.metadata.uid):
            self._kept(run)
            return 0
        if self._spec.dry_run:
            return self._would_go(run, family.below)
        if not await self._delete(run, seen):
            return 0
        here = await self._store.resources.get_many([child.key for child in family.below])
        gone = [run]
        for child in family.below:
            now = here.get(child.key)
            if now is None or now.metadata.uid != child.metadata.uid:
                gone.append(child)
        count = 0
        for resource in gone:
            meta = resource.metadata
            if resource.kind != RUN_KIND or meta.uid in self._gone:
                continue
            self._gone.add(meta.uid)
            count += 1
            if (meta.namespace, meta.name) <= self._place:
                self._gone_seen += 1
        return count

    async def _remove_event(self, seen: Seen[_Item]) -> int:
        event = await self._as_it_was(EVENT_KIND, seen)
        if event is None:
            return 0
        if self._spec.dry_run:
            return self._would_go(event)
        if not await self._delete(event, seen):
            return 0
        self._gone_seen += 1
        self._outcome.own_events += _tells_of_a_removal(event)
        return 1

    async def _as_it_was(self, kind: str, seen: Seen[_Item]) -> Resource | None:
        """The resource, unless it went or was written since it was looked at: then it is for the next pass."""
        resource = await self._store.resources.get(ResourceKey(MAIN_GROUP, kind, seen.namespace, seen.what.name))
        if resource is None or resource.metadata.uid != seen.what.uid:
            return None
        if resource.metadata.resource_version != seen.what.version:
            return None
        if resource.metadata.deletion_timestamp:
            self._held(resource)
            return None
        return resource

    async def _delete(self, resource: Resource, seen: Seen[_Item]) -> bool:
        """Whether the resource is gone now."""
        try:
            last = await self._client.delete(resource.key, uid=seen.what.uid, resource_version=seen.what.version)
        except (ConflictError, NotFoundError):
            return False  # somebody wrote it, or was quicker
        except StoreError:
            raise
        except Exception as error:
            self._outcome.fail(f"{resource.key}: {error}")
            return False
        if last is None:
            return False
        if last.metadata.deletion_timestamp:
            self._held(last)
            return False
        return True

    def _held(self, resource: Resource) -> None:
        version = int(resource.metadata.resource_version)
        if version not in self._counted:
            self._counted.add(version)
            names = ", ".join(resource.metadata.finalizers)
            self._outcome.fail(
                f"{resource.key} is held by the finalizer {names}" if names else f"{resource.key} is held"
            )

    def _kept(self, resource: Resource) -> None:
        version = int(resource.metadata.resource_version)
        if version not in self._counted:
            self._counted.add(version)
            self._outcome.in_use += 1

    def _would_go(self, resource: Resource, below: Sequence[Resource] = ()) -> int:
        count = 0
        for one in (resource, *below):
            version = int(one.metadata.resource_version)
            if one.kind == resource.kind and version not in self._counted:
                self._counted.add(version)
                count += 1
        return count

    # ------------------------------------------------------------------------------------------ threads

    async def _threads(self, rule: Rule[ThreadInfo]) -> None:
        infos: list[ThreadInfo] = []
        self._outcome.removed["threads"] = 0
        for namespace in self._spec.namespaces if self._spec.namespaces is not None else (None,):
            infos.extend(await self._store.threads.list(namespace))
            await asyncio.sleep(0)
        due: list[ThreadInfo] = []
        for order, info in enumerate(infos):
            due.extend(
                out.what for out in judged([rule], Seen(info.updated_s, order, info.namespace, info), self._now_s)
            )
            if order % 1000 == 999:
                await asyncio.sleep(0)
        if due and not self._knows_use:
            async for page in self._pages(RUN_KIND):
                for run in page:
                    if not is_finished(run):
                        self._in_use.note(run)
                await self._between()
                await asyncio.sleep(0)
        removed = 0
        for start in range(0, len(due), _BATCH):
            # Runs that began since the last look. One that begins after this begins its thread anew.
            await self._in_use.note_claimed(self._store)
            removed += await self._batch("threads", due[start : start + _BATCH], self._remove_thread)
        self._outcome.remaining["threads"] = len(infos) - (0 if self._spec.dry_run else removed)

    async def _remove_thread(self, info: ThreadInfo) -> int:
        if (info.namespace, info.thread) in self._in_use.threads:
            self._outcome.in_use += 1
            return 0
        if self._spec.dry_run:
            return 1
        # The empty append writes nothing; it makes the whole commit fail when somebody wrote to the thread since.
        unchanged = AppendMessages(info.namespace, info.thread, (), expected_seq=info.last_seq)
        try:
            _, was_there = await self._store.commit([unchanged, DeleteThread(info.namespace, info.thread)])
        except ConflictError:
            return 0
        except StoreError:
            raise
        except Exception as error:
            self._outcome.fail(f"thread {info.namespace}/{info.thread}: {error}")
            return 0
        return 1 if was_there else 0


def _tells_of_a_removal(event: Resource) -> bool:
    about = event.spec.get("involvedObject")
    kind = about.get("kind") if isinstance(about, Mapping) else ""
    return event.spec.get("reason") == REMOVED and kind == "RetentionPolicy"


def _seen(resource: Resource, at_s: float) -> Seen[_Item]:
    meta = resource.metadata
    return Seen(at_s, int(meta.resource_version), meta.namespace, _Item(meta.name, meta.uid, meta.resource_version))
