"""Objects of a store whose apiVersion is an old one, rewritten by the migrators that know it: ``kastra store migrate``.

All objects are written in one commit, each on the condition that it is still as it was read: all of them or none.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, ManagedFields, OwnerReference, Resource, ResourceKey
from kastra_core.api.registry import OLD_API_VERSIONS, KindRegistry
from kastra_core.decoding import Decoded
from kastra_core.errors import Problem
from kastra_core.includes import decode_manifests
from kastra_core.manifests import dump
from kastra_core.migration.engine import Migration, migrate
from kastra_core.migration.reading import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationSource, Migrator, SourceDocument
from kastra_core.protocols.store import CreateResource, DeleteResource, Operation, Store, UpdateResource
from kastra_core.resources import EVERYTHING

__all__ = ["Rewrite", "StoredPlan", "plan_stored"]

_MANAGER = "kastra"
_SET_BY_KASTRA = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields")


@attrs.frozen(kw_only=True)
class Rewrite:
    """One object: as it is and as it will be. ``old`` None: it is made."""

    old: Resource | None
    new: Resource


@attrs.frozen(kw_only=True)
class StoredPlan:
    """What would be written."""

    found: int
    """Objects of old versions."""
    rewrites: Sequence[Rewrite]
    migration: Migration | None
    """The report; None: there is no such object."""
    refused: Sequence[Problem]
    """Why objects stay as they are; ``file`` names the object."""

    def operations(self) -> list[Operation]:
        """The commit: an object that was written meanwhile fails it (ConflictError)."""
        out: list[Operation] = []
        for one in self.rewrites:
            if one.old is None:
                out.append(CreateResource(one.new))
                continue
            meta = one.old.metadata
            if one.old.key == one.new.key:
                out.append(UpdateResource(one.new, meta.resource_version))
            else:
                out += [DeleteResource(one.old.key, meta.uid, meta.resource_version), CreateResource(one.new)]
        return out


class _Objects:
    """Stored objects as files: each is one that was given by name."""

    def __init__(self, documents: Mapping[str, Sequence[SourceDocument]]) -> None:
        self._documents = documents
        self.files = list(documents)
        self.given = set(documents)
        self.left_out: list[str] = []
        self.problems: dict[str, tuple[Problem, ...]] = {}

    def documents_of(self, file: str) -> Sequence[SourceDocument]:
        return self._documents[file]

    def of(self, documents: Sequence[SourceDocument]) -> MigrationSource:
        return MemorySource(documents)


async def plan_stored(
    store: Store, migrators: Mapping[str, tuple[Migrator, Sequence[str]]], registry: KindRegistry
) -> StoredPlan:
    """Read the objects of old versions and let the migrators make new ones; nothing is written.

    Args:
        store: where they are.
        migrators: name -> (migrator, the apiVersions that it brings up to date).
        registry: the kinds that the new ones may have.
    """
    versions = {version: name for name, (_, known) in migrators.items() for version in known}
    stored = (await store.resources.list("", "")).items
    old = {_label(one): one for one in stored if one.api_version in versions and not _is_served(registry, one)}
    if not old:
        return StoredPlan(found=0, rewrites=(), migration=None, refused=())
    # Definitions go along: what they define is known to a migrator by them alone.
    along = {_label(one): one for one in stored if _label(one) not in old and _defines(registry, one)}
    documents = {label: read_text(dump([_manifest(one)]), label) for label, one in {**along, **old}.items()}
    result = migrate(_Objects(documents), {name: one for name, (one, _) in migrators.items()}, registry)
    passed = {one.key for one in along.values()}
    rewrites, refused = _rewrites(result, registry, old, {one.key: one for one in stored}, passed)
    return StoredPlan(found=len(old), rewrites=rewrites, migration=result, refused=[*result.refused, *refused])


def _rewrites(
    result: Migration,
    registry: KindRegistry,
    old: Mapping[str, Resource],
    stored: Mapping[ResourceKey, Resource],
    passed: Container[ResourceKey],
) -> tuple[list[Rewrite], list[Problem]]:
    by_name = {(one.kind, one.metadata.namespace, one.metadata.name): one for one in old.values()}
    out: list[Rewrite] = []
    refused: list[Problem] = []
    for decoded in decode_manifests(registry, result.resources):
        wanted = decoded.resource
        if wanted.key in passed:
            continue
        held = by_name.pop((wanted.kind, wanted.metadata.namespace, wanted.metadata.name), None)
        there = stored.get(wanted.key)
        if held is None and there is not None:
            if there.spec != wanted.spec:
                told = f"{wanted.key} is needed and there is another one of that name"
                refused.append(Problem(told, file=str(wanted.key), hint="delete or rename that one"))
        elif there is not None and held is not None and there.key != held.key:
            told = f"there is a {wanted.key} of {there.api_version} too"
            refused.append(Problem(told, file=_label(held), hint="delete the one that is not wanted"))
        else:
            out.append(Rewrite(old=held, new=_renewed(decoded, held, registry)))
    silent = {problem.file for problem in result.refused}
    for held in by_name.values():
        if _label(held) not in silent:
            told = "nothing was made of it under its own name"
            refused.append(Problem(told, file=_label(held), hint="kastra export it, then `kastra migrate` the file"))
    return out, refused


def _renewed(decoded: Decoded, held: Resource | None, registry: KindRegistry) -> Resource:
    """The new object with what the runtime knows of the old one."""
    new = decoded.filled or decoded.resource
    managed = (ManagedFields(manager=_MANAGER, fields=EVERYTHING),)
    finalizers = (*new.metadata.finalizers, *decoded.kind.finalizers)
    if held is None:
        return new.evolve(
            uid=str(uuid.uuid4()),
            generation=1,
            creation_timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            managed_fields=managed,
            finalizers=tuple(dict.fromkeys(finalizers)),
        )
    meta = held.metadata
    return new.evolve(
        uid=meta.uid,
        resource_version="",
        generation=meta.generation + (new.spec != held.spec),
        creation_timestamp=meta.creation_timestamp,
        deletion_timestamp=meta.deletion_timestamp,
        managed_fields=managed,
        finalizers=tuple(dict.fromkeys((*meta.finalizers, *finalizers))),
        owner_references=tuple(_owner(one) for one in meta.owner_references),
        status=held.status,
    )


def _owner(owner: OwnerReference) -> OwnerReference:
    return attrs.evolve(owner, api_version=OLD_API_VERSIONS.get(owner.api_version, owner.api_version))


def _is_served(registry: KindRegistry, resource: Resource) -> bool:
    kind: ResourceKind | None = registry.get(resource.group, resource.kind)
    return kind is not None and kind.version == resource.version


def _defines(registry: KindRegistry, resource: Resource) -> bool:
    kind = registry.get(resource.group, resource.kind)
    return kind is not None and kind.defines is not None


def _manifest(resource: Resource) -> JsonObject:
    manifest = resource.to_manifest()
    manifest.pop("status", None)
    for name in (*_SET_BY_KASTRA, "ownerReferences", "finalizers"):
        manifest["metadata"].pop(name, None)
    return manifest


def _label(resource: Resource) -> str:
    return f"{resource.key} ({resource.api_version})"
