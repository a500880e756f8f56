"""ResourceClient: every read and every write of resources goes through here.

A write is decoded and validated (:mod:`kastra_core.decoding`), compared with what is stored and committed with the
stored resourceVersion as its condition. See ``docs/design/architecture.md`` for the order and the reasons.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, MutableSequence, Sequence
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind, Structure
from kastra_core.api.lazy import load
from kastra_core.api.merge import FieldSet, Merged, field_set, merge, same_json
from kastra_core.api.meta import JsonObject, ManagedFields, OwnerReference, Resource, ResourceKey, rfc3339
from kastra_core.api.references import Reference
from kastra_core.api.registry import KindRegistry
from kastra_core.api.selectors import FieldSelector, LabelSelector
from kastra_core.decoding import Decoded, decode, fill, without_status
from kastra_core.errors import AlreadyExistsError, ConflictError, NotFoundError, Problem, UserError, ValidationError
from kastra_core.origins import Origins
from kastra_core.protocols.store import (
    CreateResource,
    DeleteResource,
    Operation,
    ResourceList,
    SetState,
    Store,
    UpdateResource,
    WatchEvent,
)

__all__ = ["FOREGROUND", "Applied", "Decoded", "ResourceClient"]

FOREGROUND = "foregroundDeletion"
"""Finalizer of a resource that waits for its dependents to go first."""

EVERYTHING: FieldSet = {"*": {}}
"""Short form of "all fields that the resource has now": what most resources need, a third of their size saved."""
_CHUNK = 500
"""Resources per commit of a large apply: bounds how long other writers wait."""
_TRIES = 8
"""How often a write is merged again after another writer came first."""
_PROPAGATIONS = ("background", "foreground", "orphan")


@attrs.frozen
class Applied:
    """What an apply did. ``outcome`` is created, configured or unchanged; ``before`` the stored state until then."""

    resource: Resource
    outcome: str
    notes: tuple[str, ...] = ()
    before: Resource | None = None


class ResourceClient:
    """Reads and writes resources of the kinds in ``registry`` in ``store``.

    Args:
        store: where they are.
        registry: the kinds; writes of other kinds are refused, reads are not.
        clock: unix seconds, for timestamps.
        origins: notes who offers the kinds of what is written; None: nobody does.
    """

    def __init__(
        self,
        store: Store,
        registry: KindRegistry,
        *,
        clock: Callable[[], float] = time.time,
        origins: Origins | None = None,
    ) -> None:
        self.store, self.registry, self._clock, self._origins = store, registry, clock, origins

    # ------------------------------------------------------------------------------------------ reading

    async def get(self, key: ResourceKey) -> Resource | None:
        """The resource, or None."""
        return await self.store.resources.get(key)

    async def require(self, key: ResourceKey) -> Resource:
        """The resource. Raises: NotFoundError with the nearest name."""
        found = await self.get(key)
        if found is not None:
            return found
        beside = await self.store.resources.list(key.group, key.kind, namespace=key.namespace, limit=1000)
        raise NotFoundError(str(key), [str(item.key) for item in beside.items])

    async def list(
        self,
        kind: ResourceKind,
        *,
        namespace: str | None = None,
        labels: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        owner_uid: str | None = None,
        limit: int = 0,
        continue_token: str = "",
    ) -> ResourceList:
        """Resources of a kind; ``namespace`` None = all."""
        return await self.store.resources.list(
            kind.group,
            kind.kind,
            namespace=namespace if kind.namespaced else None,
            labels=labels,
            fields=fields,
            owner_uid=owner_uid,
            limit=limit,
            continue_token=continue_token,
        )

    def watch(
        self, kind: ResourceKind | None, *, namespace: str | None = None, since: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Events of a kind (None = of all) after ``since``; see ``ResourceFacet.watch``."""
        group, name = (kind.group, kind.kind) if kind else ("", "")
        if kind is not None and not kind.namespaced:
            namespace = None
        return self.store.resources.watch(group, name, namespace=namespace, since=since)

    def decode(self, manifest: Mapping[str, Any], *, namespace: str = "default") -> Decoded:
        """Return the resource that a manifest describes, validated; see :func:`kastra_core.decoding.decode`."""
        return decode(self.registry, manifest, namespace=namespace)

    # ------------------------------------------------------------------------------------------ apply

    async def apply(
        self,
        items: Sequence[Decoded],
        *,
        manager: str = "kastra",
        force: bool = False,
        dry_run: bool = False,
        guard: Callable[[Resource], None] | None = None,
    ) -> Sequence[Applied]:
        """Apply resources field by field (see ``api.merge``); results in order.

        Args:
            manager: whose fields these are.
            force: take over fields that another manager set.
            dry_run: compare, write nothing.
            guard: is given each stored resource that would be applied to, as it is when it is written, and raises to
                refuse.

        Raises:
            ValidationError: two items name one resource, one is of a closed kind and not being deleted, or a kind that
                may not would refer to itself in a circle; nothing is written.
            ConflictError: a field belongs to another manager (``force`` takes it); nothing after it is written.
        """
        self._refuse_twins(items)
        await self.refuse_closed(items)
        await self._refuse_circles(items, manager, force)
        # What defines kinds comes first: whatever ends this, nothing is left behind that is of no kind.
        order = sorted(range(len(items)), key=lambda index: items[index].kind.defines is None)
        out: dict[int, Applied] = {}
        for start in range(0, len(items), _CHUNK):
            chunk = order[start : start + _CHUNK]
            done = await self._apply_chunk([items[index] for index in chunk], manager, force, dry_run, guard)
            out.update(zip(chunk, done))
        return [out[index] for index in range(len(items))]

    @staticmethod
    def _refuse_twins(items: Sequence[Decoded]) -> None:
        seen: set[ResourceKey] = set()
        twins = []
        for item in items:
            for one, outer in item.all():
                key = one.resource.key
                if key in seen:
                    path = outer("metadata.name")
                    twins.append(Problem(f"{key} is there twice", path, resource=str(item.resource.key)))
                seen.add(key)
        if twins:
            raise ValidationError(twins)

    async def refuse_closed(self, items: Sequence[Decoded]) -> None:
        """Of a closed kind only what is being deleted may be applied: to take off a finalizer that holds it.

        Raises: ValidationError.
        """
        closed = [item for item in items if item.kind.closed]
        stored = await self.store.resources.get_many([item.resource.key for item in closed]) if closed else {}
        problems = []
        for item in closed:
            live = stored.get(item.resource.key)
            if live is None or not live.metadata.deletion_timestamp:
                kind = item.kind
                problem = Problem(
                    f"no {kind.kind} can be made now: {kind.closed}", "kind", resource=str(item.resource.key)
                )
                problems.append(item.place(problem) if item.place is not None else problem)
        if problems:
            raise ValidationError(problems)

    async def _refuse_circles(self, items: Sequence[Decoded], manager: str, force: bool) -> None:
        """Of what is applied, with what is inside it and what is stored. Writers at the same moment may still make one.

        Raises: ValidationError.
        """
        wanted = {
            one.resource.key: (item, outer, one) for item in items for one, outer in item.all() if one.kind.acyclic
        }
        if not wanted:
            return
        from kastra_core.api.circles import circles, own_references

        lives = await self.store.resources.get_many(list(wanted))
        edges: dict[ResourceKey, Sequence[Reference]] = {}
        for key, (item, _, one) in wanted.items():
            resource = one.resource
            if one is item:  # what others set in it stays, so their references count too
                resource = self._plan(one, lives.get(key), manager=manager, force=force, now="").resource
            edges[key] = own_references(one.kind, resource)
        while new := {reference.key for found in edges.values() for reference in found} - edges.keys():
            stored = await self.store.resources.get_many(list(new))
            for key in new:
                there = stored.get(key)
                edges[key] = own_references(self.registry.of_key(key), there) if there is not None else ()
        problems = []
        for key, problem in circles(wanted, edges.__getitem__):
            item, outer, _ = wanted[key]
            problems.append(problem.at(path=outer(problem.path), resource=str(item.resource.key)))
        if problems:
            raise ValidationError(problems)

    async def _apply_chunk(
        self,
        items: Sequence[Decoded],
        manager: str,
        force: bool,
        dry_run: bool,
        guard: Callable[[Resource], None] | None,
    ) -> Sequence[Applied]:
        for attempt in range(_TRIES):
            lives = await self.store.resources.get_many([item.resource.key for item in items])
            if guard is not None:
                for live in lives.values():
                    guard(live)
            now = rfc3339(self._clock())
            plans = [
                self._plan(item, lives.get(item.resource.key), manager=manager, force=force, now=now) for item in items
            ]
            operations: MutableSequence[Operation] = []
            for plan in plans:
                if plan.outcome == "created":
                    operations.append(CreateResource(plan.resource))
                elif plan.outcome == "configured" and plan.before is not None:
                    operations.append(UpdateResource(plan.resource, plan.before.metadata.resource_version))
            if dry_run:
                return plans
            origins = await self._noted(item.kind for item in items)
            operations += origins  # behind the others: their results are counted
            if not operations:
                return plans
            try:
                written = iter(await self.store.commit(operations))
            except (ConflictError, AlreadyExistsError, NotFoundError):
                if attempt == _TRIES - 1:
                    raise
                continue
            self._note(origins)
            done = [
                plan if plan.outcome == "unchanged" else attrs.evolve(plan, resource=next(written)) for plan in plans
            ]
            for plan in done:
                if plan.outcome == "configured":
                    await self._free(plan.resource)
            return done
        raise AssertionError("unreachable")

    def _plan(self, item: Decoded, live: Resource | None, *, manager: str, force: bool, now: str) -> Applied:
        wanted = item.resource
        if live is None:
            owned = EVERYTHING
            if item.filled is not None or item.kind.finalizers:  # what nobody wrote is nobody's
                owned = field_set(_tree(wanted), item.kind.list_map_keys)
            created = (item.filled or wanted).evolve(
                uid=_new_uid(),
                generation=1,
                creation_timestamp=now,
                managed_fields=(ManagedFields(manager=manager, fields=owned),),
                finalizers=tuple(dict.fromkeys((*wanted.metadata.finalizers, *item.kind.finalizers))),
            )
            return Applied(created, "created", item.notes)
        before, after = _tree(live), _tree(wanted)
        if (
            item.filled is None  # else a default may be new
            and live.metadata.managed_fields == (ManagedFields(manager=manager, fields=EVERYTHING),)
            and same_json(before, after)
        ):
            return Applied(live, "unchanged", item.notes, live)
        list_keys = item.kind.list_map_keys
        managed = {m.manager: m.fields for m in _spelled_out(live, list_keys)}
        merged = merge(
            before,
            after,
            manager=manager,
            managed=managed,
            list_keys=list_keys,
            force=force,
        )
        if merged.conflicts:
            what = ", ".join(f"{path} (set by {other})" for path, other in merged.conflicts)
            raise ConflictError(str(wanted.key), f"other managers own {what}; --force-conflicts takes the fields over")
        new = self._merged(live, merged, manager, managed, item)
        if new is live:
            return Applied(live, "unchanged", item.notes, live)
        self._check_update(item.kind, new, live, item.structure, item.place)
        return Applied(new, "configured", item.notes, live)

    @staticmethod
    def _check_update(
        kind: ResourceKind,
        new: Resource,
        live: Resource,
        structure: Structure | None = None,
        place: Callable[[Problem], Problem] | None = None,
    ) -> None:
        """Look at what a write makes of a stored resource, which no manifest has shown whole.

        Raises: ValidationError.
        """
        problems: MutableSequence[Problem] = []
        if kind.structure is not None and not new.metadata.deletion_timestamp:
            found = (structure or load(kind.structure)).validate(without_status(new), without_status(live))
            problems.extend(found)
        if kind.validate_update is not None:
            problems.extend(load(kind.validate_update)(new, live))
        if problems:
            told = [problem.at(resource=str(live.key)) for problem in problems]
            raise ValidationError([place(problem) for problem in told] if place is not None else told)

    @staticmethod
    def _merged(
        live: Resource,
        merged: Merged,
        manager: str,
        managed: Mapping[str, FieldSet],
        item: Decoded,
    ) -> Resource:
        tree = merged.tree
        meta = tree["metadata"]
        owners = {name: fields for name, fields in merged.others.items() if fields}
        owners[manager] = merged.fields
        api_version = item.resource.api_version
        if item.filled is None and not merged.changed and owners == managed and api_version == live.api_version:
            return live
        new = live.evolve(
            api_version=api_version,
            spec=tree.get("spec", {}),
            extra={key: value for key, value in tree.items() if key not in ("metadata", "spec")},
            labels=meta.get("labels", {}),
            annotations=meta.get("annotations", {}),
            finalizers=tuple(meta.get("finalizers", ())),
            owner_references=tuple(
                OwnerReference.from_manifest(o) for (o,) in meta.get("ownerReferences", {}).values()
            ),
        )
        has_spec = bool(new.spec or live.spec)
        new = fill(item.kind, new, item.structure)
        if not has_spec:  # no spec is stored as an empty one, and does not become one with defaults by another change
            new = new.evolve(spec={})
        after = _tree(new)
        if owners == managed and api_version == live.api_version and same_json(after, _tree(live)):
            return live  # what went came back as a default
        if len(owners) == 1 and merged.fields == field_set(after, item.kind.list_map_keys):
            owners = {manager: EVERYTHING}
        edited = not (same_json(new.spec, live.spec) and same_json(new.extra, live.extra))
        return new.evolve(
            generation=live.metadata.generation + (1 if edited else 0),
            managed_fields=tuple(ManagedFields(manager=name, fields=fields) for name, fields in owners.items()),
        )

    # ------------------------------------------------------------------------------------------ other writes

    async def create(self, resource: Resource) -> Resource:
        """Create a resource as it is given; uid, generation and timestamp are set here.

        Raises: AlreadyExistsError.
        """
        operations: list[Operation] = [CreateResource(self.stamp(resource))]
        kind = self.registry.get(resource.group, resource.kind)
        origins = await self._noted([kind] if kind is not None else [])
        created: Resource = (await self.store.commit([*operations, *origins]))[0]
        self._note(origins)
        return created

    async def _noted(self, kinds: Iterable[ResourceKind]) -> Sequence[SetState]:
        """What a commit says beside resources of these kinds: who offers them."""
        return await self._origins.writes(kinds) if self._origins is not None else ()

    def _note(self, written: Sequence[SetState]) -> None:
        if self._origins is not None:
            self._origins.written(written)

    def stamp(self, resource: Resource) -> Resource:
        """Return the resource with what a new one gets: uid, generation 1, creationTimestamp."""
        return resource.evolve(
            uid=resource.metadata.uid or _new_uid(),
            generation=1,
            creation_timestamp=rfc3339(self._clock()),
        )

    async def update(self, resource: Resource) -> Resource:
        """Replace spec and the user's metadata; status stays as it is stored.

        Raises: NotFoundError; ConflictError when ``resource_version`` is set and not the stored one.
        """
        for attempt in range(_TRIES):
            live = await self.require(resource.key)
            wanted = resource.metadata.resource_version
            if wanted and wanted != live.metadata.resource_version:
                raise ConflictError(str(resource.key))
            meta, old = resource.metadata, live.metadata
            edited = not (same_json(resource.spec, live.spec) and same_json(resource.extra, live.extra))
            new = live.evolve(
                spec=resource.spec,
                extra=resource.extra,
                labels=meta.labels,
                annotations=meta.annotations,
                finalizers=meta.finalizers,
                owner_references=meta.owner_references,
                generation=old.generation + (1 if edited else 0),
            )
            if new != live:
                new = new.evolve(managed_fields=self._spelled_out(live))
            if new == live:  # the generation differs when they are equal to Python but not the same JSON
                return live
            kind = self.registry.get(live.group, live.kind)
            if edited and kind is not None and kind.structure is not None:
                new = fill(kind, new)
            if edited and kind is not None:
                self._check_update(kind, new, live)
            try:
                if old.deletion_timestamp and not new.metadata.finalizers:
                    await self._remove(new, expected=old.resource_version)
                    return new
                return (await self.store.commit([UpdateResource(new, old.resource_version)]))[0]  # type: ignore[no-any-return]
            except (ConflictError, NotFoundError):
                if wanted or attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def update_status(self, resource: Resource, status: JsonObject) -> Resource:
        """Write status and nothing else, based on ``resource`` as it was read.

        Raises: ConflictError when it was written meanwhile; NotFoundError.
        """
        if same_json(status, resource.status):
            return resource
        new = attrs.evolve(resource, status=status)
        return (await self.store.commit([UpdateResource(new, resource.metadata.resource_version)]))[0]  # type: ignore[no-any-return]

    async def set_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource:
        """Write the finalizers, based on ``resource`` as it was read; the last one of a deleted resource frees it."""
        new = resource.evolve(finalizers=finalizers, managed_fields=self._spelled_out(resource))
        if resource.metadata.deletion_timestamp and not finalizers:
            await self._remove(new, expected=resource.metadata.resource_version)
            return new
        return (await self.store.commit([UpdateResource(new, resource.metadata.resource_version)]))[0]  # type: ignore[no-any-return]

    def _spelled_out(self, resource: Resource) -> tuple[ManagedFields, ...]:
        kind = self.registry.get(resource.group, resource.kind)
        return _spelled_out(resource, kind.list_map_keys if kind else {})

    # ------------------------------------------------------------------------------------------ deletion

    async def delete(
        self,
        key: ResourceKey,
        *,
        propagation: str = "background",
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Resource | None:
        """Delete a resource; return its last state, or None when it was not there.

        With finalizers it is only marked (``deletionTimestamp``) until they are gone. ``propagation``:
        background (dependents go with it), foreground (dependents go first), orphan (dependents stay, without owner).
        A dependent that has another owner loses this one and stays.

        Raises: ConflictError when ``uid`` or ``resource_version`` differs; UserError for another propagation.
        """
        if propagation not in _PROPAGATIONS:
            raise UserError(f"propagation {propagation!r} is none of {', '.join(_PROPAGATIONS)}")
        return await self._delete_key(key, propagation, uid, resource_version, set())

    async def _delete_key(
        self, key: ResourceKey, propagation: str, uid: str | None, resource_version: str | None, under_way: set[str]
    ) -> Resource | None:
        """``under_way``: uids of owners in foreground deletion, against walking in circles."""
        for attempt in range(_TRIES):
            live = await self.get(key)
            if live is None:
                return None
            meta = live.metadata
            if (uid and meta.uid != uid) or (resource_version and meta.resource_version != resource_version):
                raise ConflictError(str(key), "it is not the one that was meant (uid or resourceVersion differs)")
            try:
                return await self._delete(live, propagation, under_way)
            except (ConflictError, NotFoundError):
                under_way.discard(meta.uid)
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _delete(self, live: Resource, propagation: str, under_way: set[str]) -> Resource:
        meta = live.metadata
        finalizers = meta.finalizers
        leaving: Sequence[Operation] | None = None
        if propagation == "orphan":
            children = await self._dependents(live)
            leaving = [_disowned(child, {meta.uid}) for child in children if child.key != live.key]
        elif propagation == "foreground" and await self._dependents(live):
            finalizers = tuple(dict.fromkeys((*finalizers, FOREGROUND)))
        if not finalizers:
            await self._remove(live, expected=meta.resource_version, leaving=leaving)
            return live
        if not meta.deletion_timestamp or finalizers != meta.finalizers or leaving:
            marked = live.evolve(
                deletion_timestamp=meta.deletion_timestamp or rfc3339(self._clock()),
                finalizers=finalizers,
                managed_fields=self._spelled_out(live),
            )
            live = (await self.store.commit([UpdateResource(marked, meta.resource_version), *(leaving or ())]))[0]
        if FOREGROUND in finalizers and meta.uid not in under_way:
            under_way.add(meta.uid)
            for child in await self._dependents(live):
                if all(owner.uid == meta.uid for owner in child.metadata.owner_references):
                    await self._delete_key(child.key, "foreground", child.metadata.uid, None, under_way)
                elif child.metadata.uid not in under_way:
                    await self.store.commit([_disowned(child, {meta.uid})])
            await self._finish_foreground(live.key)
        return live

    async def _finish_foreground(self, key: ResourceKey) -> None:
        """Let an owner go that nothing but its dependents held, and those are gone."""
        for attempt in range(_TRIES):
            owner = await self.get(key)
            if owner is None or FOREGROUND not in owner.metadata.finalizers or await self._is_held(owner):
                return
            left = tuple(name for name in owner.metadata.finalizers if name != FOREGROUND)
            try:
                await self.set_finalizers(owner, left)
            except (ConflictError, NotFoundError):
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    async def _is_held(self, owner: Resource) -> bool:
        """Whether something below an owner has to go first; what waits in a circle for the owner itself does not."""
        seen = {owner.metadata.uid}
        stack = list(await self._dependents(owner))
        while stack:
            child = stack.pop()
            meta = child.metadata
            if meta.uid in seen:
                continue
            if not meta.deletion_timestamp or meta.finalizers != (FOREGROUND,):
                return True
            seen.add(meta.uid)
            stack.extend(await self._dependents(child))
        return False

    async def _dependents(self, owner: Resource) -> tuple[Resource, ...]:
        return (await self.store.resources.list("", "", owner_uid=owner.metadata.uid)).items

    async def _free(self, resource: Resource) -> None:
        """Remove a deleted resource whose last finalizer was just taken away."""
        meta = resource.metadata
        if meta.deletion_timestamp and not meta.finalizers:
            await self._remove(resource, expected=meta.resource_version)

    async def _remove(self, resource: Resource, *, expected: str, leaving: Sequence[Operation] | None = None) -> None:
        """Remove a resource and, in the same commit, what it alone owns; what has finalizers is marked.

        ``leaving``: instead of that, the writes that let its dependents go. In one commit, or a controller of the owner
        would take them back between the two.
        """
        gone: dict[str, tuple[Resource, str]] = {resource.metadata.uid: (resource, expected)}
        staying: dict[str, Resource] = {}
        queue = [resource]
        for current in queue:
            for child in () if leaving is not None else await self._dependents(current):
                meta = child.metadata
                if meta.uid in gone:
                    continue
                if meta.finalizers or any(owner.uid not in gone for owner in meta.owner_references):
                    # Looked at again when another of its owners is in the queue.
                    staying[meta.uid] = child
                    continue
                staying.pop(meta.uid, None)
                gone[meta.uid] = (child, meta.resource_version)
                queue.append(child)
        operations: MutableSequence[Operation] = [*(leaving or ())]
        owners: MutableSequence[ResourceKey] = []
        for current, version in gone.values():
            operations.append(DeleteResource(current.key, current.metadata.uid, version))
            owners.extend(self._owner_keys(current))
        # Dependents first: what one leaves for its owner goes with the owner.
        for current, _ in reversed(gone.values()):
            kind = self.registry.get(current.group, current.kind)
            if kind is not None and kind.deletion is not None:
                operations.extend(load(kind.deletion)(current))
        for child in staying.values():
            meta = child.metadata
            if any(owner.uid not in gone for owner in meta.owner_references):
                operations.append(_disowned(child, gone))
            elif not meta.deletion_timestamp:
                marked = child.evolve(deletion_timestamp=rfc3339(self._clock()))
                operations.append(UpdateResource(marked, meta.resource_version))
        await self.store.commit(operations)
        for key in dict.fromkeys(owners):
            await self._finish_foreground(key)

    def _owner_keys(self, resource: Resource) -> Iterable[ResourceKey]:
        for owner in resource.metadata.owner_references:
            group = owner.api_version.rpartition("/")[0]
            kind = self.registry.get(group, owner.kind)
            if kind is None or kind.namespaced:
                yield ResourceKey(group, owner.kind, resource.metadata.namespace, owner.name)
            if kind is None or not kind.namespaced:  # of a kind that nobody offers nobody knows which
                yield ResourceKey(group, owner.kind, "", owner.name)


# ---------------------------------------------------------------------------------------------- helpers


def _spelled_out(resource: Resource, list_keys: Mapping[str, tuple[str, ...]]) -> tuple[ManagedFields, ...]:
    """Who owns what, without the short form."""
    managed = resource.metadata.managed_fields
    if not any(m.fields == EVERYTHING for m in managed):
        return managed
    whole = field_set(_tree(resource), list_keys)
    return tuple(attrs.evolve(m, fields=whole) if m.fields == EVERYTHING else m for m in managed)


def _new_uid() -> str:
    import uuid  # reads need none

    return str(uuid.uuid4())


def _tree(resource: Resource) -> dict[str, Any]:
    """The part of a resource that users own.

    Finalizers and owners are sets, each entry with managers of its own: they are objects here, so that an apply keeps
    what controllers added. An owner is in a list to be one leaf.
    """
    meta = resource.metadata
    owned: dict[str, Any] = {}
    if meta.labels:
        owned["labels"] = dict(meta.labels)
    if meta.annotations:
        owned["annotations"] = dict(meta.annotations)
    if meta.finalizers:
        owned["finalizers"] = dict.fromkeys(meta.finalizers, True)
    if meta.owner_references:
        owned["ownerReferences"] = {owner.uid: [owner.to_manifest()] for owner in meta.owner_references}
    tree: dict[str, Any] = {"metadata": owned, "spec": resource.spec}
    if resource.extra:
        tree.update(resource.extra)
    return tree


def _disowned(child: Resource, gone: Container[str]) -> UpdateResource:
    """The write that takes owners away from a dependent."""
    left = tuple(owner for owner in child.metadata.owner_references if owner.uid not in gone)
    return UpdateResource(child.evolve(owner_references=left), child.metadata.resource_version)
