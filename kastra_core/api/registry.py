"""The kinds that are known now, by every spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import MAIN_GROUP, GroupVersionKind, ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.errors import AmbiguousKindError, PluginConflictError, UnknownKindError

if TYPE_CHECKING:
    from kastra_core.api.references import Reference

__all__ = ["OLD_API_VERSIONS", "KindRegistry"]

OLD_API_VERSIONS = {"mastra/v1": "mastra.ai/v1", "mastra.ai/v1alpha1": "mastra.ai/v1"}
"""Old spellings of the main group's apiVersion, read as the new one when a kind does not serve the old itself."""


class KindRegistry:
    """Finds kinds by group and kind, by plural, singular or short name, with or without the group.

    Kinds may come and go while the runtime lives; ``subscribe`` tells of it.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], ResourceKind] = {}
        self._providers: dict[tuple[str, str], str] = {}
        self._spellings: dict[str, list[tuple[str, str]]] = {}
        self._aliases: dict[tuple[str, str], tuple[str, str]] = {}
        """(apiVersion of another group, kind) -> group and kind that it is read as."""
        self._listeners: list[Callable[[ResourceKind, bool], None]] = []

    def register(self, kind: ResourceKind, *, provider: str = "kastra_core") -> None:
        """Add a kind.

        Raises:
            PluginConflictError: the group and kind, or its plural within the group, is taken by another.
        """
        other = self.clash(kind)
        if other is not None:
            raise PluginConflictError("kind", f"{kind.kind}.{kind.group}", self._providers[other.group_kind], provider)
        self._add(kind, provider)
        self._tell(kind, registered=True)

    def replace(self, kind: ResourceKind, *, provider: str) -> None:
        """Put ``kind`` where the kind of the same group and name is; listeners are told that it is registered.

        Raises:
            PluginConflictError: its plural is taken by another; nothing changes.
        """
        before = self._kinds.get(kind.group_kind)
        for other in self.clashes(kind):
            if other is not before:
                holder = self._providers[other.group_kind]
                raise PluginConflictError("kind", f"{kind.kind}.{kind.group}", holder, provider)
        if before is not None:
            self._drop(before)
        self._add(kind, provider)
        self._tell(kind, registered=True)

    def clash(self, kind: ResourceKind) -> ResourceKind | None:
        """The registered kind that has ``kind``'s group and name, or its plural within the group; None: it may come."""
        return next(iter(self.clashes(kind)), None)

    def clashes(self, kind: ResourceKind) -> list[ResourceKind]:
        """All that :meth:`clash` finds: the kind of the same name first."""
        found = [kind.group_kind] if kind.group_kind in self._kinds else []
        found += [
            gk
            for gk in self._spellings.get(kind.plural, ())
            if self._kinds[gk].qualified_plural == kind.qualified_plural
        ]
        found += filter(None, [self._aliases.get((kind.api_version, kind.kind))])
        return [self._kinds[group_kind] for group_kind in dict.fromkeys(found)]

    def rivals(self, kind: ResourceKind) -> list[ResourceKind]:
        """The registered kinds that :meth:`clash` names or that have one of ``kind``'s other names (singular, short
        names) within the group; a kind of the same name is among them."""
        found = {clash.group_kind: clash for clash in self.clashes(kind)}
        for name in kind.names:
            for group_kind in self._spellings.get(name, ()):
                if group_kind[0] == kind.group:
                    found[group_kind] = self._kinds[group_kind]
        return list(found.values())

    def _add(self, kind: ResourceKind, provider: str) -> None:
        self._kinds[kind.group_kind] = kind
        self._providers[kind.group_kind] = provider
        for name in dict.fromkeys(kind.names):
            self._spellings.setdefault(name, []).append(kind.group_kind)
        for version in kind.conversions:
            if "/" in version:
                self._aliases.setdefault((version, kind.kind), kind.group_kind)

    def _drop(self, kind: ResourceKind) -> None:
        del self._kinds[kind.group_kind]
        del self._providers[kind.group_kind]
        for name in dict.fromkeys(kind.names):
            left = [gk for gk in self._spellings[name] if gk != kind.group_kind]
            if left:
                self._spellings[name] = left
            else:
                del self._spellings[name]
        for key in [key for key, target in self._aliases.items() if target == kind.group_kind]:
            del self._aliases[key]

    def _tell(self, kind: ResourceKind, *, registered: bool) -> None:
        for listener in tuple(self._listeners):
            listener(kind, registered)

    def overlay(self) -> KindRegistry:
        """A registry of the same kinds, to which others can be added without anybody else knowing."""
        copy = KindRegistry()
        copy._kinds, copy._providers, copy._aliases = dict(self._kinds), dict(self._providers), dict(self._aliases)
        copy._spellings = {name: list(found) for name, found in self._spellings.items()}
        return copy

    def unregister(self, group: str, kind: str) -> None:
        """Forget a kind; what is stored of it stays."""
        gone = self._kinds.get((group, kind))
        if gone is None:
            return
        self._drop(gone)
        self._tell(gone, registered=False)

    def subscribe(self, listener: Callable[[ResourceKind, bool], None]) -> Callable[[], None]:
        """Call ``listener(kind, registered)`` at each change; returns the function that ends it."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def get(self, group: str, kind: str) -> ResourceKind | None:
        """The kind, None when it is not known."""
        return self._kinds.get((group, kind))

    def for_manifest(self, api_version: str, kind: str) -> tuple[ResourceKind, str | None]:
        """Return the kind of a manifest, and the version that it is in (None when it is the kind's own): a key of its
        ``structures`` or ``conversions``, or an old spelling that differs in nothing else.

        Raises:
            UnknownKindError: no such kind, or not in that version.
        """
        group, _, version = api_version.rpartition("/")
        found = self._kinds.get((group, kind))
        if found is not None and version == found.version:
            return found, None
        if found is not None and (version in found.structures or version in found.conversions):
            return found, version
        alias = self._aliases.get((api_version, kind))
        if alias is not None:
            return self._kinds[alias], api_version
        renamed = OLD_API_VERSIONS.get(api_version)
        if renamed is not None:
            group, _, version = renamed.rpartition("/")
            found = self._kinds.get((group, kind))
            if found is not None and version == found.version:
                return found, api_version.rpartition("/")[2]
            if found is not None and version in found.conversions:
                return found, version
        known = [k.kind for k in self._kinds.values()]
        if found is not None:
            raise UnknownKindError(f"{kind} of {api_version} (served: {', '.join(found.served_versions)})")
        raise UnknownKindError(kind, known)

    def of_manifest(self, manifest: Mapping[str, Any]) -> ResourceKind | None:
        """The kind of a manifest that nobody has checked yet; None when nobody knows it: decoding says so."""
        api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
        if not (isinstance(api_version, str) and isinstance(kind, str)):
            return None
        try:
            return self.for_manifest(api_version, kind)[0]
        except UnknownKindError:
            return None

    def resolve(self, spelling: str) -> ResourceKind:
        """Return the kind that a user names: ``agents``, ``agent``, ``ag``, ``Agent``, ``agents.mastra.ai``.

        A short spelling in several groups means the main group when it is there.

        Raises:
            UnknownKindError, AmbiguousKindError
        """
        wanted = spelling.lower()
        hits = self._spellings.get(wanted, ())
        if not hits and "." in wanted:
            name, _, group = wanted.partition(".")
            hits = [gk for gk in self._spellings.get(name, ()) if gk[0] == group]
            version, _, rest = group.partition(".")
            if not hits and rest:  # datasources.v1.mastra.ai, as kubectl takes it
                served = [gk for gk in self._spellings.get(name, ()) if gk[0] == rest]
                hits = [gk for gk in served if f"{rest}/{version}" in self._kinds[gk].served_versions]
        if len(hits) > 1:
            main = [gk for gk in hits if gk[0] == MAIN_GROUP]
            if len(main) != 1:
                raise AmbiguousKindError(spelling, [self._kinds[gk].qualified_plural for gk in hits])
            hits = main
        if not hits:
            raise UnknownKindError(spelling, sorted(self._spellings))
        return self._kinds[hits[0]]

    def lookup(self, spelling: str) -> tuple[str, str] | None:
        """(group, kind) of a spelling or None; fit for :func:`~kastra_core.api.references.parse_reference`."""
        try:
            return self.resolve(spelling).group_kind
        except (UnknownKindError, AmbiguousKindError):
            return None

    def references_of(self, resource: Resource) -> tuple[Reference, ...]:
        """What a resource refers to, by the rules of its kind. One to a cluster-scoped kind has no namespace.

        Raises: KastraError: the resource cannot be read so (it was stored by other rules).
        """
        kind = self._kinds.get((resource.group, resource.kind))
        if kind is None or kind.references is None:
            return ()
        return tuple(self._scoped(reference) for reference in kind.references_of(resource))

    def _scoped(self, reference: Reference) -> Reference:
        target = self._kinds.get((reference.group, reference.kind))
        if target is None or target.namespaced or not reference.namespace:
            return reference
        return attrs.evolve(reference, namespace="")

    def defining(self) -> list[ResourceKind]:
        """The kinds whose resources define kinds."""
        return [kind for kind in self if kind.defines is not None]

    def in_category(self, category: str) -> list[ResourceKind]:
        """The kinds that ``kastra get CATEGORY`` shows."""
        return [kind for kind in self if category in kind.categories and not kind.ephemeral]

    def provider_of(self, kind: ResourceKind) -> str:
        """Name of the plugin or definition that offers a kind, "" when nobody said."""
        return self._providers.get(kind.group_kind, "")

    def of_key(self, key: ResourceKey) -> ResourceKind:
        """The kind of a resource. Raises: UnknownKindError."""
        found = self._kinds.get((key.group, key.kind))
        if found is None:
            raise UnknownKindError(key.kind, [k.kind for k in self._kinds.values()])
        return found

    def gvks(self) -> list[GroupVersionKind]:
        """All kinds in their own version, the main group first."""
        return [kind.gvk for kind in self]

    def __iter__(self) -> Iterator[ResourceKind]:
        return iter(sorted(self._kinds.values(), key=lambda kind: (kind.group != MAIN_GROUP, kind.group, kind.kind)))

    def __len__(self) -> int:
        return len(self._kinds)
