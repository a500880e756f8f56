"""Kinds that resources define: kept in the registry while they are stored.

Which resources define kinds, and which kinds those are, a plugin says (``ResourceKind.defines``). What holds for all
of them is here: of two definitions that want the same kind or the same name within a group the older one has it, the
kind of a plugin is never replaced, and a definition that could not have its kind gets it as soon as it is free.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import Decoded
from kastra_core.errors import KastraError, Problem, UnknownKindError
from kastra_core.protocols.store import Store

__all__ = ["Definitions", "KindsOfDocuments"]

_log = logging.getLogger(__name__)


@attrs.frozen
class _Definition:
    """A stored resource with the kinds that it defines."""

    resource: Resource
    kinds: tuple[ResourceKind, ...]

    @property
    def provider(self) -> str:
        return provider_of(self.resource)

    @property
    def age(self) -> tuple[str, str]:
        """Older ones first; the same in every process."""
        meta = self.resource.metadata
        return (meta.creation_timestamp, meta.uid)


def provider_of(resource: Resource) -> str:
    """What a kind's provider is called that a resource defines: ``CustomResourceDefinition datasources.mastra.ai``."""
    return str(resource.key)


def kinds_of(kind: ResourceKind, resource: Resource) -> tuple[ResourceKind, ...]:
    """The kinds that a resource defines; none when it cannot be read (its own controller says why)."""
    try:
        return tuple(load(kind.defines)(resource))
    except (KastraError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s defines no kind: %s", resource.key, error)
        return ()


class Definitions:
    """The kinds that stored resources define, in ``registry``.

    Args:
        registry: has the plugins' kinds; those of definitions are added and taken away here.
        store: where the definitions are.
    """

    def __init__(self, registry: KindRegistry, store: Store) -> None:
        self.registry, self._store = registry, store
        self._known: dict[ResourceKey, _Definition] = {}
        self._registered: dict[tuple[str, str], tuple[ResourceKind, ResourceKey]] = {}
        self._refused: dict[ResourceKey, str] = {}

    def refusal(self, key: ResourceKey) -> str:
        """Who has what a definition wants ("the plugin agent"), "" when it has its kinds."""
        return self._refused.get(key, "")

    async def load(self) -> None:
        """Read every definition that is stored. Raises: StoreError."""
        for kind in [kind for kind in self.registry if kind.defines is not None]:
            stored = (await self._store.resources.list(kind.group, kind.kind)).items
            found = {resource.key for resource in stored}
            for key in [key for key in self._known if (key.group, key.kind) == kind.group_kind and key not in found]:
                del self._known[key]
            for resource in stored:
                self._learn(kind, resource)
        self._settle()

    def learn(self, resources: Iterable[Resource]) -> None:
        """Take note of resources that were written just now; those that define nothing are passed over."""
        changed = False
        for resource in resources:
            kind = self.registry.get(resource.group, resource.kind)
            if kind is not None and kind.defines is not None:
                changed = self._learn(kind, resource) or changed
        if changed:
            self._settle()

    def changed(self, old: Resource | None, new: Resource | None) -> None:
        """An informer's handler: a definition came, went or is another one now."""
        if new is not None:
            self.learn([new])
        elif old is not None and self._known.pop(old.key, None) is not None:
            self._settle()

    def _learn(self, kind: ResourceKind, resource: Resource) -> bool:
        before = self._known.get(resource.key)
        if before is not None and not _differs(before.resource, resource):
            return False
        self._known[resource.key] = _Definition(resource, kinds_of(kind, resource))
        return True

    def _settle(self) -> None:
        """Register what is wanted now and forget the rest."""
        wanted: dict[tuple[str, str], tuple[ResourceKind, ResourceKey]] = {}
        refused: dict[ResourceKey, str] = {}
        plurals: dict[str, str] = {}
        for definition in sorted(self._known.values(), key=lambda one: one.age):
            for kind in definition.kinds:
                taken = self._taken(kind) or plurals.get(kind.qualified_plural, "")
                if kind.group_kind in wanted:
                    taken = str(wanted[kind.group_kind][1])
                if taken:
                    refused[definition.resource.key] = taken
                    continue
                wanted[kind.group_kind] = (kind, definition.resource.key)
                plurals[kind.qualified_plural] = definition.provider
        self._refused = refused
        for group_kind in [gk for gk in self._registered if gk not in wanted]:
            del self._registered[group_kind]
            self.registry.unregister(*group_kind)
        # A plural may have moved from one kind to another: first all that goes, then all that comes.
        for group_kind, (kind, key) in wanted.items():
            before = self._registered.get(group_kind)
            if before is None or before[0] is not kind:
                self._registered[group_kind] = (kind, key)
                self.registry.replace(kind, provider=str(key))

    def _taken(self, kind: ResourceKind) -> str:
        """The plugin that has ``kind``, "" when no plugin does."""
        other = self.registry.clash(kind)
        if other is None or other.group_kind in self._registered:
            return ""
        return f"the plugin {self.registry.provider_of(other)}"


def _differs(old: Resource, new: Resource) -> bool:
    before, after = old.metadata, new.metadata
    return (
        before.uid != after.uid
        or before.generation != after.generation
        or before.deletion_timestamp != after.deletion_timestamp
    )


class KindsOfDocuments:
    """The kinds that are known while documents are decoded: those of a registry, and those that the documents define.

    Args:
        registry: is not changed.
    """

    def __init__(self, registry: KindRegistry) -> None:
        self.registry = self._base = registry

    def defines(self, manifest: Mapping[str, Any]) -> bool:
        """Whether a manifest is of a kind whose resources define kinds; such manifests are decoded first."""
        try:
            kind, _ = self._base.for_manifest(str(manifest.get("apiVersion")), str(manifest.get("kind")))
        except UnknownKindError:
            return False
        return kind.defines is not None

    def learn(self, decoded: Decoded) -> list[Problem]:
        """Add the kinds that a decoded manifest defines; return what is in their way."""
        if decoded.kind.defines is None:
            return []
        if self.registry is self._base:
            self.registry = self._base.overlay()
        resource = decoded.filled or decoded.resource
        provider = provider_of(resource)
        problems = []
        for kind in kinds_of(decoded.kind, resource):
            other = self.registry.clash(kind)
            if other is not None and self.registry.provider_of(other) != provider:
                holder = self.registry.provider_of(other)
                if not holder.startswith(f"{resource.kind} "):
                    holder = f"the plugin {holder}"
                what = f"the kind {kind.kind} of the group {kind.group}"
                if other.group_kind != kind.group_kind:
                    what = f"the name {kind.qualified_plural}"
                hint = "choose another group or other names"
                problems.append(Problem(f"{what} is taken by {holder}", hint=hint, reason="FieldValueInvalid"))
            else:
                if other is not None:
                    self.registry.unregister(*other.group_kind)
                self.registry.replace(kind, provider=provider)
        return problems
