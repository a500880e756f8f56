"""Child runs: started once whatever happens, waited for without a task, and never left behind by their parent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import AlreadyExistsError, OperationError, RunFailedError
from kastra_core.execution.branches import Suspend
from kastra_core.execution.handle import RunOptions
from kastra_core.execution.run_spec import Parent
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.state import RunState
from kastra_core.protocols.runner import SharedState
from kastra_core.protocols.store import ClearState, DropJournal, Operation, SendSignal

if TYPE_CHECKING:
    from kastra_core.execution.runs import RunManager

__all__ = ["CANCEL_SIGNAL", "MAX_DEPTH", "RUN_KIND", "Children", "child_signal", "deletion", "end_of_child", "forward"]

RUN_KIND = "Run"
CANCEL_SIGNAL = "kastra.cancel"
MAX_DEPTH = 16
"""A run at this depth may call no other: agents that call each other in a circle end here."""


def child_signal(uid: str) -> str:
    """Name of the signal that a child sends to its parent in the commit of its end: no wake-up can be lost."""
    return f"kastra.child/{uid}"


def end_of_child(run: Resource) -> list[Operation]:
    """What tells a run's parent that it is over; nothing without a parent."""
    parent = run.spec.get("parent")
    if not isinstance(parent, dict):
        return []
    uid = run.metadata.uid
    return [SendSignal(str(parent.get("run")), child_signal(uid), None, uid)]


def deletion(run: Resource) -> list[Operation]:
    """What else the removal of a Run takes: a parent that waits for it learns that it is gone."""
    over = run.status.get("phase") in FINISHED
    uid = run.metadata.uid
    return [DropJournal(uid), ClearState(f"run/{uid}"), *([] if over else end_of_child(run))]


class Children:
    """Calls of other runs by the runs of a manager."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    async def run(
        self,
        parent: RunState,
        path: str,
        uid: str,
        reference: Reference,
        input: JsonValue,
        thread: str | None,
        shared: SharedState | None = None,
    ) -> JsonObject:
        """The final status of the child of a path, which is started unless it was before.

        Raises: Suspend while the child is suspended or elsewhere, so that its parent costs nothing either;
            RunFailedError (DepthExceeded).
        """
        depth = ((parent.resource.spec.get("parent") or {}).get("depth") or 0) + 1
        if depth > MAX_DEPTH:
            message = f"{reference.key} would be run {depth} runs deep, at most {MAX_DEPTH} are allowed"
            raise RunFailedError(f"{message}; do these resources call each other in a circle?", reason="DepthExceeded")
        # All descendants bear the name of the run that nobody called.
        above = parent.key.name.rpartition("-")[0] if depth > 1 else parent.key.name
        name = f"{above[:200].rstrip('-.')}-{uid.replace('-', '')[:12]}"
        key = ResourceKey(MAIN_GROUP, RUN_KIND, parent.key.namespace, name)
        parent.called = True
        # The commit that begins it takes along what its parent has recorded so far.
        if self._manager.find(uid) is None:
            found = await self._manager.store.resources.get(key)
            if found is None and parent.epoch > 1 and await self._was_deleted(parent, uid):
                return _gone(key)
            if found is None:
                options = RunOptions(
                    namespace=key.namespace,
                    name=name,
                    thread=thread,
                    model=parent.resource.spec.get("model"),
                    priority=parent.resource.spec.get("priority", 0),
                    shared=shared,
                )
                with contextlib.suppress(AlreadyExistsError):  # a worker that lost the parent was quicker
                    caller = Parent(state=parent, path=path, uid=uid, depth=depth)
                    await self._manager.starter.begin(reference, input, options, None, caller)
        return await self._wait(parent, path, key, uid)

    async def _was_deleted(self, parent: RunState, uid: str) -> bool:
        signals = await self._manager.store.journal.signals(parent.uid)
        return any(signal.name == child_signal(uid) for signal in signals)

    async def _wait(self, parent: RunState, path: str, key: ResourceKey, uid: str) -> JsonObject:
        active = self._manager.find(uid)
        if active is not None:
            parent.attach(active.state)  # it may have been here before its parent was
            await asyncio.wait([active.finished])
            if not active.finished.cancelled() and active.state.lost is None:
                status = active.finished.result()
                if status.get("phase") in FINISHED:
                    return status
        run = await self._manager.store.resources.get(key)
        if run is None:
            return _gone(key)
        if run.metadata.uid != uid:
            raise OperationError(f"the name {key.name} of the child run is taken by another run", reason="NameTaken")
        if run.status.get("phase") in FINISHED:
            return run.status
        parent.learn(uid, run.status.get("usage") or {})
        parent.waits[path] = (child_signal(uid), None)
        raise Suspend(None)

    async def at_end(self, run: Resource, phase: str, state: RunState | None = None) -> list[Operation]:
        """What the commit of a run's end takes along: news for its parent, and the cancelling of its children.

        ``state``, of a run that was executed here, learns what those had used.
        """
        operations = end_of_child(run)
        if phase == "Succeeded" or not (state is None or state.called or state.epoch > 1):
            return operations
        children = await self.of(run)
        if state is not None:
            state.know(children)
        operations += [
            SendSignal(child.metadata.uid, CANCEL_SIGNAL, None, "cancel")
            for _, child in children
            if child.status.get("phase") not in FINISHED
        ]
        return operations

    async def of(self, run: Resource) -> list[tuple[str, Resource]]:
        """(path of the call, Run) of the runs that a run called."""
        meta = run.metadata
        found = await self._manager.store.resources.list(
            MAIN_GROUP, RUN_KIND, namespace=meta.namespace, owner_uid=meta.uid
        )
        return [(str((child.spec.get("parent") or {}).get("path")), child) for child in found.items]


def forward(parent: RunState, child: RunState) -> Callable[[JsonObject], None]:
    """A listener that shows a child's events to whoever listens to its parent."""
    path, name = child.resource.spec["parent"]["path"], child.key.name
    return lambda event: parent.emit({"type": "child", "path": path, "run": name, "event": event})


def _gone(key: ResourceKey) -> JsonObject:
    return {"phase": "Failed", "reason": "ChildDeleted", "message": f"the child run {key.name} was deleted"}
