"""SystemController: makes a System's resources, keeps them so, and says how they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import attrs

from kastra_core.api.kind import Embedded
from kastra_core.api.meta import Condition, JsonObject, OwnerReference, Resource, ResourceKey, condition_of
from kastra_core.api.references import Reference
from kastra_core.api.selectors import LabelSelector, Requirement
from kastra_core.controller import AbstractController, ready_status
from kastra_core.errors import ConflictError, NotFoundError, UserError, ValidationError
from kastra_core.protocols.controller import Request, Result
from kastra_core.protocols.store import UpdateResource
from kastra_core.resources import Decoded
from kastra_plugin_system.rules import LABEL, members

__all__ = ["SystemController", "manager_of"]

_PENDING = "Pending"
"""Reason of a resource whose controller has not looked at it yet: a moment later it says more."""
_MOST_TOLD = 10
"""Resources that a message names."""
_TRIES = 8
"""How often resources are taken back again after another writer came first."""


def manager_of(system: Resource) -> str:
    """The manager of the fields that a System sets."""
    return f"system/{system.metadata.name}"


@attrs.frozen
class _Fault:
    """Why a resource of a System is not as the System says."""

    reason: str
    text: str


_ORPHANED = _Fault(_PENDING, "it was this System's and has no owner; it is taken back")


class _NotOursError(UserError):
    """A resource that is there does not belong to the System."""

    def __init__(self, fault: _Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class SystemController(AbstractController):
    """Conditions: ``ResourcesApplied``, ``Ready``.

    A resource is the System's when the System is its controlling owner. One that was orphaned is taken back, which its
    managed fields tell; no other is ever touched.
    """

    kind = "System"

    async def reconcile(self, request: Request) -> Result:
        await self._collect(request)
        return await super().reconcile(request)

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        wanted = [reference for _, reference in members(resource)]
        decoded, faults = self._decoded(resource)
        await self._apply(resource, decoded, faults)
        await self._adopt(resource, [key for key, fault in faults.items() if fault is _ORPHANED])
        await self._prune(resource, {reference.key for reference in wanted})
        await self._take_back(resource)
        now = await self.runtime.store.resources.get_many([reference.key for reference in wanted])
        return self._status(resource, wanted, now, faults)

    # ------------------------------------------------------------------------------------------ applying

    def _decoded(self, system: Resource) -> tuple[Sequence[Decoded], dict[ResourceKey, _Fault]]:
        """What is inside, decoded with the kinds that are known now; they may be others than when it was applied."""
        found: list[Decoded] = []
        faults: dict[ResourceKey, _Fault] = {}
        for one, reference in members(system):
            try:
                found.append(self.runtime.client.decode(self._owned(system, one), namespace=system.metadata.namespace))
            except ValidationError as error:
                told = "; ".join(str(problem.at(path=one.outer(problem.path))) for problem in error.problems[:3])
                faults[reference.key] = _Fault("Invalid", told)
        return found, faults

    @staticmethod
    def _owned(system: Resource, one: Embedded) -> JsonObject:
        metadata = dict(one.manifest["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: system.metadata.name}
        metadata["ownerReferences"] = [_owner(system).to_manifest()]
        return {**one.manifest, "metadata": metadata}

    async def _apply(self, system: Resource, wanted: Sequence[Decoded], faults: dict[ResourceKey, _Fault]) -> None:
        """Apply what is free or the System's own; the others get a fault."""
        try:
            await self._write(system, wanted)
        except UserError:
            # One is in the way of all: each by itself, so that the others are there.
            for one in wanted:
                try:
                    await self._write(system, [one])
                except _NotOursError as error:
                    faults[one.resource.key] = error.fault
                except ValidationError as error:
                    faults[one.resource.key] = _Fault("Invalid", str(error))

    async def _write(self, system: Resource, items: Sequence[Decoded]) -> None:
        def guard(live: Resource) -> None:
            fault = _foreign(system, live)
            if fault is not None:
                raise _NotOursError(fault)

        # What the System says of its own resources holds, as with every controller.
        await self.runtime.client.apply(items, manager=manager_of(system), force=True, guard=guard)

    async def _adopt(self, system: Resource, keys: Sequence[ResourceKey]) -> None:
        """Own what was the System's and has no owner now.

        In one commit with the System as it was read: what a deletion leaves without owner at this moment stays so.

        Raises: ConflictError: the System was written, mostly by this, and is to be looked at again.
        """
        client, version = self.runtime.client, system.metadata.resource_version
        for _ in range(_TRIES if keys else 0):
            operations = [UpdateResource(system, version)]
            for child in (await self.runtime.store.resources.get_many(keys)).values():
                meta = child.metadata
                if _foreign(system, child) is _ORPHANED:
                    owned = child.evolve(owner_references=(*meta.owner_references, _owner(system)))
                    operations.append(UpdateResource(owned, meta.resource_version))
            with suppress(ConflictError, NotFoundError):
                await self.runtime.store.commit(operations)
            live = await client.get(system.key)
            if live is None:
                return
            if live.metadata.resource_version != version:
                raise ConflictError(str(system.key), "it was written while it took resources back")

    async def _prune(self, system: Resource, named: Iterable[ResourceKey]) -> None:
        """Delete what the System made and names no more."""
        for child in await self._owned_by(system):
            if child.key not in named and not child.metadata.deletion_timestamp and _made_by(system, child):
                await self.runtime.client.delete(child.key, uid=child.metadata.uid)

    async def _take_back(self, system: Resource) -> None:
        """Delete what was made for a System that was deleted at the same moment."""
        live = await self.runtime.client.get(system.key)
        if live is not None and live.metadata.uid == system.metadata.uid and not live.metadata.deletion_timestamp:
            return
        for child in await self._owned_by(system):
            if _made_by(system, child) and all(o.uid == system.metadata.uid for o in child.metadata.owner_references):
                await self.runtime.client.delete(child.key, uid=child.metadata.uid)

    async def _collect(self, request: Request) -> None:
        """Delete what a System of the name that is gone still owns: a process that was killed could not take it back.

        Every change of such a resource, and every start of controllers, leads here: the owner's name is looked at.
        """
        client, key = self.runtime.client, ResourceKey(self.group, self.kind, *request)
        system = await client.get(key)
        if system is not None and system.status:
            return
        ours = LabelSelector((Requirement(LABEL, "in", frozenset({request.name})),))
        found = await self.runtime.store.resources.list("", "", namespace=request.namespace, labels=ours)
        # Looked up after the list: whoever owns something of it and is not there now is gone for good.
        system = await client.get(key)
        for child in found.items:
            owners = child.metadata.owner_references
            if (
                len(owners) == 1
                and (owners[0].kind, owners[0].name, owners[0].controller) == (self.kind, request.name, True)
                and (system is None or owners[0].uid != system.metadata.uid)
                and not child.metadata.deletion_timestamp
            ):
                await client.delete(child.key, uid=child.metadata.uid)

    async def _owned_by(self, system: Resource) -> Sequence[Resource]:
        found = await self.runtime.store.resources.list("", "", owner_uid=system.metadata.uid)
        return found.items

    # ------------------------------------------------------------------------------------------ status

    def _status(
        self,
        system: Resource,
        wanted: Sequence[Reference],
        now: dict[ResourceKey, Resource],
        faults: dict[ResourceKey, _Fault],
    ) -> JsonObject:
        rows = []
        unready: list[tuple[ResourceKey, _Fault]] = []
        for reference in wanted:
            key = reference.key
            fault = faults.get(key) or self._unready(now.get(key))
            rows.append({"kind": key.kind, "name": key.name, "ready": fault is None, "reason": "Ready"})
            if fault is not None:
                rows[-1]["reason"] = fault.reason
                unready.append((key, fault))
        applied = Condition(type="ResourcesApplied", status="True", reason="Applied")
        if faults:
            reasons = [fault.reason for fault in faults.values()]
            reason = "Conflict" if "Conflict" in reasons else reasons[0]
            text = _joined(f"{key}: {fault.text}" for key, fault in faults.items())
            applied = Condition(type="ResourcesApplied", status="False", reason=reason, message=text)
        ready = Condition(type="Ready", status="True", reason="Ready")
        if unready:
            ready = _not_ready(unready)
        return ready_status(system, [ready, applied], resources=rows, summary=f"{len(rows) - len(unready)}/{len(rows)}")

    def _unready(self, found: Resource | None) -> _Fault | None:
        if found is None:
            return _Fault("NotFound", "it is not there")
        if found.metadata.deletion_timestamp:
            return _Fault("Terminating", "it is being deleted, and made again when it is gone")
        ready = condition_of(found, "Ready")
        generation = found.metadata.generation
        if ready is None or (ready.get("observedGeneration") or generation) < generation:
            return _Fault(_PENDING, "it was not reconciled yet") if self._is_reconciled(found) else None
        if ready.get("status") == "True":
            return None
        reason, message = str(ready.get("reason")), ready.get("message")
        return _Fault(reason, f"{reason}: {message}" if message else reason)

    def _is_reconciled(self, found: Resource) -> bool:
        """Whether anybody will ever say that a resource is Ready."""
        plugins: Any = getattr(self.runtime, "plugins", None)
        if plugins is None:
            return True
        if any((one.group, one.kind) == (found.group, found.kind) for _, one in plugins.records("kastra_controllers")):
            return True
        controllers: Any = getattr(self.runtime, "controllers", None)
        return bool(controllers is not None and controllers.controllers(found.group, found.kind))


def _not_ready(unready: Sequence[tuple[ResourceKey, _Fault]]) -> Condition:
    """The first with all that it says: what is wrong with it is often what is wrong with the others."""
    # What refers to a resource that nobody looked at yet is not Ready either, and no news a moment later.
    pending = any(fault.reason == _PENDING for _, fault in unready)
    (key, first), *others = unready
    text = f"{key}: {first.text}"
    if others:
        text = f"{text}; not ready are also {_joined((f'{key} ({fault.reason})' for key, fault in others), ', ')}"
    return Condition(type="Ready", status="Unknown" if pending else "False", reason=first.reason, message=text)


def _foreign(system: Resource, live: Resource) -> _Fault | None:
    """Why a resource that is there is not to be written; None: it is the System's."""
    if live.metadata.deletion_timestamp:
        return _Fault("Terminating", "it is being deleted, and made again when it is gone")
    owner = next((owner for owner in live.metadata.owner_references if owner.controller), None)
    if owner is not None and owner.uid == system.metadata.uid:
        return None
    if owner is not None:
        told = f"it belongs to {owner.kind} {owner.name}; take it out of one of the two, or rename it"
        return _Fault("Conflict", told)
    if _made_by(system, live):
        return _ORPHANED
    hint = "rename it here, or delete that one (its spec is not lost: kastra export)"
    return _Fault("Conflict", f"it is there already and does not belong to this System; {hint}")


def _owner(system: Resource) -> OwnerReference:
    return OwnerReference(
        api_version=system.api_version,
        kind=system.kind,
        name=system.metadata.name,
        uid=system.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def _made_by(system: Resource, resource: Resource) -> bool:
    return any(fields.manager == manager_of(system) for fields in resource.metadata.managed_fields)


def _joined(texts: Iterable[str], between: str = "; ") -> str:
    told = list(texts)
    more = [f"and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    return between.join([*told[:_MOST_TOLD], *more])
