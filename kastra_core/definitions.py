"""Kinds that resources define: kept in the registry while they are stored.

Which resources define kinds, and which kinds those are, a plugin says (``ResourceKind.defines``). What holds for all
of them is here: of two definitions that want the same kind or the same name within a group the older one has it, the
kind of a plugin is never replaced, and a definition that could not have its kind gets it as soon as it is free.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import Resource, ResourceKey, rfc3339
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import Decoded
from kastra_core.errors import Problem
from kastra_core.protocols.store import Store

if TYPE_CHECKING:
    from kastra_core.informer import Informer

__all__ = ["Definitions", "KindsOfDocuments"]

_log = logging.getLogger(__name__)


@attrs.frozen
class _Definition:
    """What is known of a stored resource, and the kinds that it defines. The resource itself is not kept."""

    key: ResourceKey
    state: tuple[str, int, str | None]
    """What its kinds follow from: uid, generation, whether it is being deleted."""
    version: int
    """resourceVersion of what was read."""
    age: tuple[str, str]
    """Older ones first; the same in every process."""
    kinds: tuple[ResourceKind, ...]


def provider_of(resource: Resource) -> str:
    """What a kind's provider is called that a resource defines: ``CustomResourceDefinition datasources.mastra.ai``."""
    return str(resource.key)


def kinds_of(kind: ResourceKind, resource: Resource) -> tuple[ResourceKind, ...]:
    """The kinds that a resource defines; none when it cannot be read (its own controller says why)."""
    try:
        return tuple(load(kind.defines)(resource))
    except Exception as error:  # what is stored may be older than the plugin: it may stumble over anything
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
        self._gone: dict[ResourceKey, str] = {}
        """Uid of the last definition of a key that is known to be gone: who read it before that comes too late."""
        self._registered: dict[tuple[str, str], tuple[ResourceKind, ResourceKey]] = {}
        self._refused: dict[ResourceKey, str] = {}

    def refusal(self, key: ResourceKey) -> str:
        """Who has what a definition wants ("the plugin agent"), "" when it has its kinds."""
        return self._refused.get(key, "")

    async def load(self) -> bool:
        """Read every definition that is stored; return whether one is new, gone or another one. Raises: StoreError."""
        changed = False
        for kind in self.registry.defining():
            page = await self._store.resources.list(kind.group, kind.kind)
            found = {resource.key for resource in page.items}
            changed = self._drop_others(kind.group_kind, found, int(page.resource_version)) or changed
            for resource in page.items:
                changed = self._learn(kind, resource) or changed
        if changed:
            self._settle()
        return changed

    def learn(self, resources: Iterable[Resource]) -> None:
        """Take note of resources that were written just now; those that define nothing are passed over."""
        changed = False
        for resource in resources:
            kind = self.registry.get(resource.group, resource.kind)
            if kind is not None and kind.defines is not None:
                changed = self._learn(kind, resource) or changed
        if changed:
            self._settle()

    def follow(self, informer: Informer) -> None:
        """Learn from an informer of a kind whose resources define kinds, as long as that runs."""

        def listed() -> None:
            self._keep((informer.group, informer.kind), informer.snapshot(), informer.seen)

        informer.add_handler(self.changed)
        informer.when_listed(listed)

    def changed(self, old: Resource | None, new: Resource | None) -> None:
        """An informer's handler: a definition came, went or is another one now."""
        if new is not None:
            self.learn([new])
        elif old is not None:
            known = self._known.get(old.key)
            if known is not None and known.state[0] == old.metadata.uid and self._forget(old.key):
                self._settle()

    def _learn(self, kind: ResourceKind, resource: Resource) -> bool:
        """Take note of a state; those that are not news, or older than what is known, are passed over."""
        key, meta = resource.key, resource.metadata
        state, version = (meta.uid, meta.generation, meta.deletion_timestamp), int(meta.resource_version or 0)
        before = self._known.get(key)
        if before is not None and (before.state == state or version < before.version):
            return False
        if self._gone.get(key) == meta.uid != "":
            return False
        age = (meta.creation_timestamp, meta.uid)
        self._known[key] = _Definition(key, state, version, age, kinds_of(kind, resource))
        return True

    def _keep(self, group_kind: tuple[str, str], found: Container[ResourceKey], as_of: int) -> None:
        if self._drop_others(group_kind, found, as_of):
            self._settle()

    def _drop_others(self, group_kind: tuple[str, str], found: Container[ResourceKey], as_of: int) -> bool:
        """Forget what is not in a whole list; one that was learned while that was on its way may be newer."""
        gone = [
            key
            for key, known in self._known.items()
            if (key.group, key.kind) == group_kind and key not in found and known.version <= as_of
        ]
        for key in gone:
            self._forget(key)
        return bool(gone)

    def _forget(self, key: ResourceKey) -> bool:
        known = self._known.pop(key, None)
        if known is None:
            return False
        self._gone[key] = known.state[0]
        return True

    def _settle(self) -> None:
        """Register what is wanted now and forget the rest."""
        wanted: dict[tuple[str, str], tuple[ResourceKind, ResourceKey]] = {}
        refused: dict[ResourceKey, str] = {}
        names: dict[tuple[str, str], str] = {}
        for definition in sorted(self._known.values(), key=lambda one: one.age):
            for kind in definition.kinds:
                ours = [(kind.group, name) for name in kind.names]
                taken = self._taken(kind) or next((names[one] for one in ours if one in names), "")
                if kind.group_kind in wanted:
                    taken = str(wanted[kind.group_kind][1])
                if taken:
                    refused[definition.key] = taken
                    continue
                wanted[kind.group_kind] = (kind, definition.key)
                names.update(dict.fromkeys(ours, str(definition.key)))
        self._refused = refused
        for group_kind in [gk for gk in self._registered if gk not in wanted]:
            del self._registered[group_kind]
            self.registry.unregister(*group_kind)
        # A plural may have moved from one kind to another: first all that goes, then all that comes.
        for group_kind, (kind, key) in wanted.items():
            before = self._registered.get(group_kind)
            if before is None or before[0] is not kind:
                for other in self.registry.clashes(kind):
                    if other.group_kind != group_kind:  # it gives the plural up, and comes with another one below
                        self._registered.pop(other.group_kind, None)
                        self.registry.unregister(*other.group_kind)
                self._registered[group_kind] = (kind, key)
                self.registry.replace(kind, provider=str(key))

    def _taken(self, kind: ResourceKind) -> str:
        """The plugin that has ``kind`` or one of its names, "" when no plugin does."""
        for other in self.registry.rivals(kind):
            if other.group_kind not in self._registered:
                return f"the plugin {self.registry.provider_of(other)}"
        return ""


class KindsOfDocuments:
    """The kinds that are known while documents are decoded: those of a registry, and those that the documents define.

    Args:
        registry: is not changed.
    """

    def __init__(self, registry: KindRegistry) -> None:
        self.registry = self._base = registry
        self._wrong: set[tuple[str, str]] = set()

    def refused(self, manifest: Mapping[str, Any]) -> None:
        """Take note of a manifest that is wrong, which may be why a kind is not known."""
        kind = self._base.of_manifest(manifest)
        if kind is None or kind.defines is None:
            return
        try:
            made = tuple(load(kind.defines)(Resource.from_manifest(manifest)))
        except Exception:  # it is wrong: what it was to define cannot be read either
            return
        self._wrong.update(one.group_kind for one in made)

    def is_of_a_wrong_one(self, manifest: Mapping[str, Any]) -> bool:
        """Whether a manifest is of a kind that is unknown only because its definition is wrong, which was told."""
        group_kind = (str(manifest.get("apiVersion")).rpartition("/")[0], str(manifest.get("kind")))
        return group_kind in self._wrong and self.registry.get(*group_kind) is None

    def defines(self, manifest: Mapping[str, Any]) -> bool:
        """Whether a manifest is of a kind whose resources define kinds; such manifests are decoded first."""
        kind = self._base.of_manifest(manifest)
        return kind is not None and kind.defines is not None

    def learn(self, decoded: Decoded) -> list[Problem]:
        """Add the kinds that a decoded manifest defines; return what is in their way."""
        if decoded.kind.defines is None:
            return []
        if self.registry is self._base:
            self.registry = self._base.overlay()
        resource = decoded.filled or decoded.resource
        provider = provider_of(resource)
        problems = []
        before = [kind for kind in self.registry if self.registry.provider_of(kind) == provider]
        for kind in before:
            self.registry.unregister(*kind.group_kind)
        for kind in self._kinds_with(decoded, resource, before):
            other = next(iter(self.registry.rivals(kind)), None)
            if other is not None:
                holder = self.registry.provider_of(other)
                if not holder.startswith(f"{resource.kind} "):
                    holder = f"the plugin {holder}"
                what = f"the kind {kind.kind} of the group {kind.group}"
                if other.group_kind != kind.group_kind:
                    name = next((name for name in kind.names if name in other.names), kind.plural)
                    what = f"the name {name}.{kind.group}"
                hint = "choose another group or other names"
                problems.append(Problem(f"{what} is taken by {holder}", "spec", hint=hint, reason="FieldValueInvalid"))
            else:
                self.registry.register(kind, provider=provider)
        return problems

    @staticmethod
    def _kinds_with(decoded: Decoded, resource: Resource, before: Iterable[ResourceKind]) -> Iterable[ResourceKind]:
        """The kinds that a manifest defines. One whose stored definition is being deleted stays closed: a manifest does
        not stop the deletion, and what is made of the kind would go with it."""
        made = kinds_of(decoded.kind, resource)
        closed = {kind.group_kind: kind.closed for kind in before if kind.closed}
        if not closed:
            return made
        ending = kinds_of(decoded.kind, resource.evolve(deletion_timestamp=rfc3339()))
        return [
            end if end.closed and end.closed == closed.get(end.group_kind) else kind for kind, end in zip(made, ending)
        ]
