"""Starting a run: everything that it needs is fixed and stored in one commit, with the claim of this worker."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue, ObjectMeta, OwnerReference, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import AlreadyExistsError, KastraError, NotFoundError, NotReadyError, UserError, ValidationError
from kastra_core.execution.children import RUN_KIND
from kastra_core.execution.handle import ActiveRun, RunOptions
from kastra_core.execution.pins import Pins
from kastra_core.execution.run_spec import Parent, limits_of, run_spec
from kastra_core.execution.run_status import running_status
from kastra_core.execution.state import RunState
from kastra_core.metadata import is_name, label_problems
from kastra_core.protocols.store import (
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteResource,
    DropJournal,
    HoldBlob,
    Operation,
    PutBlob,
    ReleaseRun,
    thread_holder,
)

if TYPE_CHECKING:
    from kastra_core.execution.runs import RunManager

__all__ = ["Starter", "key_of_target"]


class Starter:
    """Starts the runs of a manager."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    async def begin(
        self,
        reference: Reference,
        input: JsonValue,
        options: RunOptions,
        listener: Callable[[JsonObject], None] | None,
        parent: Parent | None,
    ) -> ActiveRun:
        """As ``RunManager.start_run``, also for children; the manager must have been started."""
        manager = self._manager
        kind = manager.runtime.registry.of_key(reference.key)
        if not kind.executable:
            able = ", ".join(k.plural for k in manager.runtime.registry if k.executable) or "none"
            raise UserError(f"a resource of kind {kind.kind} cannot be run; kinds that can: {able}")
        _check_names(options)
        target, pinned = await self._target(kind, kind.key(reference.namespace, reference.name), options, parent)
        digest, data, pins = pinned
        namespace = options.namespace or target.metadata.namespace or "default"
        config = manager.runtime.config
        limits, of_all = limits_of(target, kind, config.limits, options.limits, parent)
        model = options.model or config.model
        default_model = None if model else config.default_model or manager.runtime.models.keyless_model
        spec = run_spec(
            target,
            input,
            options,
            digest=digest,
            limits=limits,
            steps_of_all=of_all,
            model=model,
            default_model=default_model,
        )
        owners: tuple[OwnerReference, ...] = ()
        if parent is not None:
            spec["parent"] = {"run": parent.state.uid, "path": parent.path, "depth": parent.depth}
            if manager.pins.refers(digest, pins, target.key, key_of_target(parent.state.resource)):
                # They call each other: the parent would keep the slot that the child waits for.
                spec["parent"]["circle"] = True
            above = parent.state.resource
            served = _conversation_of(above)
            if served:
                spec["parent"]["thread"] = served
            owners = (
                OwnerReference(
                    api_version=above.api_version,
                    kind=RUN_KIND,
                    name=above.metadata.name,
                    uid=parent.state.uid,
                    controller=True,
                ),
            )
        if options.thread:
            spec["threadAfter"] = await manager.store.threads.last_seq(namespace, options.thread)
        uid = parent.uid if parent is not None else str(uuid.uuid4())
        name = options.name or f"{target.metadata.name[:220].rstrip('-.')}-{uid.replace('-', '')[:8]}"
        meta = ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid,
            labels=options.labels,
            annotations=options.annotations,
            owner_references=owners,
        )
        # What another run used is not used again.
        journal = {path: _unpaid(record) for path, record in options.journal.items()}
        run = manager.runtime.client.stamp(
            Resource(api_version=f"{MAIN_GROUP}/v1", kind=RUN_KIND, metadata=meta, spec=spec)
        )
        run = attrs.evolve(run, status=running_status(manager.clock(), manager.worker.id))
        busy = manager.recovery.busy
        busy.add(uid)
        try:
            try:
                if parent is not None:
                    async with parent.state.handing_over() as before:
                        results = await self._create(run, digest, data, journal, before)
                else:
                    results = await self._create(run, digest, data, journal)
            except AlreadyExistsError:
                if options.name:
                    raise
                # Eight digits of the uid are short enough to type and, with many runs, to clash.
                run = run.evolve(name=f"{name[:-8]}{uid.replace('-', '')}")
                results = await self._create(run, digest, data, journal)
            if manager.closing:
                await manager.store.commit([ReleaseRun(uid, results[1], finished=False, wake_at_s=0.0)])
                raise UserError(f"the runtime was closed; {run.key} goes on when it is opened again")
            manager.pins.kept(digest, pins)
            state = RunState(manager, results[0], results[1], pins, journal)
            if listener is not None:
                state.listeners.append(listener)
            return manager.admit(state)
        except asyncio.CancelledError:
            # The commit may have been done or be under way. Nobody has a handle of the run: it is taken back.
            await self._take_back(run, parent)
            raise
        finally:
            busy.discard(uid)

    async def _target(
        self, kind: ResourceKind, key: ResourceKey, options: RunOptions, parent: Parent | None
    ) -> tuple[Resource, tuple[str, bytes, Pins]]:
        """The resource to run, and what the run is to pin.

        What the caller pinned is run as it was then; whether it is Ready can be told only while it has not changed.

        Raises: NotFoundError, NotReadyError.
        """
        board, client = self._manager.pins, self._manager.runtime.client
        given = parent.state.pins if parent is not None else options.pins
        target = given.get(key) if given is not None else None
        if given is None or target is None:
            target = await client.require(key)
            if options.require_ready:
                target = await self._ready(target, kind, options.model)
            return target, await board.pin(target)
        if options.require_ready:
            stored = await client.get(key)
            same = (target.metadata.uid, target.metadata.generation)
            if stored is not None and (stored.metadata.uid, stored.metadata.generation) == same:
                await self._ready(stored, kind, options.model)
        if parent is not None:
            return target, (parent.state.resource.spec["pinned"], b"", given)
        return target, board.again(given)

    async def _create(
        self, run: Resource, digest: str, data: bytes, journal: Mapping[str, Any], before: Sequence[Operation] = ()
    ) -> list[Any]:
        """Results of the run's creation and of its claim; ``before`` is committed with them."""
        uid = run.metadata.uid
        operations: list[Operation] = [CreateResource(run), ClaimRun(uid, run.key, self._manager.worker.id)]
        # A child's commit may be repeated: its uid and its name follow from its parent. Others get new ones.
        commit = self._manager.commit if run.spec.get("parent") else self._manager.store.commit
        # A run that nobody had before is claimed in epoch 1.
        operations += [AppendRecord(uid, path, record, 1) for path, record in journal.items()]
        if not data or self._manager.pins.was_kept(digest):
            try:
                results = await commit([*operations, HoldBlob(digest, uid), *before])
                return results[:2]
            except NotFoundError:
                if not data:  # its parent holds them too
                    raise
        return (await commit([*operations, PutBlob(data, uid), *before]))[:2]

    async def _take_back(self, run: Resource, parent: Parent | None) -> None:
        operations: list[Operation] = [DropJournal(run.metadata.uid), DeleteResource(run.key, uid=run.metadata.uid)]
        if parent is not None:
            if self._manager.closing:
                return  # its parent goes on elsewhere and finds it
            # A child's uid follows from its parent: another worker may have the parent, and this child, by now.
            operations.insert(0, AppendRecord(parent.state.uid, f"{parent.path}!", {}, parent.state.epoch))
        with contextlib.suppress(KastraError):
            await self._manager.store.commit(operations)

    async def _ready(self, target: Resource, kind: ResourceKind, model: str | None) -> Resource:
        """The target when it is Ready, reconciled now if it is not.

        With a model override the target's own model need not be available: conditions that a kind marks with the
        reason prefix ``Model`` do not hold it up.
        """
        ready = _ready_condition(target)
        if ready is not None and ready["status"] == "True":
            return target
        await self._manager.runtime.controllers.reconcile_closure(target.key)
        target = await self._manager.runtime.client.require(target.key)
        ready = _ready_condition(target)
        if ready is None or ready["status"] == "True":
            return target
        if model and str(ready.get("reason", "")).startswith("Model"):
            return target
        raise NotReadyError(str(target.key), ready.get("reason") or "NotReady", ready.get("message") or "")


def key_of_target(run: Resource) -> ResourceKey:
    """What a Run runs."""
    target = run.spec["target"]
    return ResourceKey(target["group"], target["kind"], target["namespace"], target["name"])


def _unpaid(record: Any) -> Any:
    if not isinstance(record, Mapping):
        return record
    return {key: value for key, value in record.items() if key not in ("c", "u", "s", "sig")}


def _ready_condition(resource: Resource) -> Mapping[str, Any] | None:
    for condition in resource.status.get("conditions") or ():
        if condition.get("type") == "Ready":
            observed = condition.get("observedGeneration") or resource.metadata.generation
            return condition if observed >= resource.metadata.generation else None
    return None


def _conversation_of(run: Resource) -> str | None:
    """Holder of the thread that a run goes on with, by itself or for one that called it."""
    thread = run.spec.get("thread")
    if thread:
        return thread_holder(run.metadata.namespace, thread)
    found: str | None = (run.spec.get("parent") or {}).get("thread")
    return found


def _check_names(options: RunOptions) -> None:
    """Raises: UserError for a name, a thread or (ValidationError) labels that cannot be had or shown."""
    if options.name and not is_name(options.name):
        raise UserError(
            f"{options.name[:60]!r} is no valid name of a run; use lower case letters, digits, '-' and '.', at most 253"
        )
    wrong = label_problems(dict(options.labels)) if options.labels else []
    if wrong:
        raise ValidationError(wrong)
    if options.thread and (len(options.thread) > 512 or not options.thread.isprintable()):
        raise UserError(f"{options.thread[:60]!r} is no valid name of a thread; use at most 512 printable characters")
