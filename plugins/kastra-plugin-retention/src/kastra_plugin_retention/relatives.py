"""What unfinished runs still need: runs above and below them, and their threads."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.execution.children import RUN_KIND, child_signal
from kastra_core.execution.run_status import FINISHED
from kastra_core.protocols.store import Store

__all__ = ["Family", "InUse", "family_of", "is_finished"]

_CLAIMS_AT_ONCE = 500


def is_finished(run: Resource) -> bool:
    return run.status.get("phase") in FINISHED


class InUse:
    """What unfinished runs name, as far as it was noted."""

    def __init__(self) -> None:
        self.threads: set[tuple[str, str]] = set()
        """(namespace, thread)."""
        self._runs: set[str] = set()
        self._signals: set[str] = set()

    def note(self, run: Resource) -> None:
        """Take an unfinished run into account."""
        thread, parent, waits_for = run.spec.get("thread"), run.spec.get("parent"), run.status.get("waitsFor")
        if thread:
            self.threads.add((run.metadata.namespace, str(thread)))
        if isinstance(parent, Mapping):
            self._runs.add(str(parent.get("run")))
        if isinstance(waits_for, list):
            self._signals.update(str(name) for name in waits_for)

    async def note_claimed(self, store: Store) -> None:
        """Take every run into account that a worker has or is to have; the cost grows with them, not with history."""
        keys = [claim.key for claim in await store.journal.claims()]
        for start in range(0, len(keys), _CLAIMS_AT_ONCE):
            found = await store.resources.get_many(keys[start : start + _CLAIMS_AT_ONCE])
            for run in found.values():
                if not is_finished(run):
                    self.note(run)

    def has_run(self, uid: str) -> bool:
        """Whether an unfinished run names the run ``uid``."""
        return uid in self._runs or child_signal(uid) in self._signals


class Family:
    """What goes with a run, or why it has to stay (``held_by``, "" = it may go)."""

    def __init__(self, held_by: str, below: tuple[Resource, ...] = ()) -> None:
        self.held_by, self.below = held_by, below


async def family_of(store: Store, run: Resource) -> Family:
    """Look at the runs that called a run, and at all that it owns, as they are now.

    A run above that is not over takes the results of its children from their Runs; one below would go with it.
    """
    if await store.journal.claim(run.metadata.uid) is not None:
        return Family("a worker still has it")
    above = await _unfinished_above(store, run)
    if above:
        return Family(f"{above} called it and is not over")
    below: dict[str, Resource] = {run.metadata.uid: run}
    queue = [run]
    for current in queue:
        for child in (await store.resources.list("", "", owner_uid=current.metadata.uid)).items:
            if child.metadata.uid in below:
                continue
            if _is_run(child) and not is_finished(child):
                return Family(f"it called {child.key}, which is not over")
            below[child.metadata.uid] = child
            queue.append(child)
    return Family("", tuple(queue[1:]))


async def _unfinished_above(store: Store, run: Resource) -> str:
    seen = {run.metadata.uid}
    queue = [run]
    for current in queue:
        parent = current.spec.get("parent")
        uid = str(parent.get("run")) if isinstance(parent, Mapping) else ""
        if uid and uid not in seen:
            claim = await store.journal.claim(uid)
            if claim is not None:
                return str(claim.key)
        for owner in current.metadata.owner_references:
            if owner.uid in seen or owner.kind != RUN_KIND or owner.api_version.rpartition("/")[0] != MAIN_GROUP:
                continue
            seen.add(owner.uid)
            found = await store.resources.get(ResourceKey(MAIN_GROUP, RUN_KIND, current.metadata.namespace, owner.name))
            if found is None or found.metadata.uid != owner.uid:
                continue
            if not is_finished(found):
                return str(found.key)
            queue.append(found)
    return ""


def _is_run(resource: Resource) -> bool:
    return resource.kind == RUN_KIND and resource.group == MAIN_GROUP
