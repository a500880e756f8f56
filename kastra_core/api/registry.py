"""The kinds that are known now, by every spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kastra_core.api.kind import MAIN_GROUP, GroupVersionKind, ResourceKind
from kastra_core.api.meta import ResourceKey
from kastra_core.errors import AmbiguousKindError, PluginConflictError, UnknownKindError

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
        self._listeners: list[Callable[[ResourceKind, bool], None]] = []

    def register(self, kind: ResourceKind, *, provider: str = "kastra_core") -> None:
        """Add a kind.

        Raises:
            PluginConflictError: the group and kind, or its plural within the group, is taken by another.
        """
        for other in self._kinds.values():
            if other.group_kind == kind.group_kind or other.qualified_plural == kind.qualified_plural:
                first = self._providers[other.group_kind]
                raise PluginConflictError("kind", f"{kind.kind}.{kind.group}", first, provider)
        self._kinds[kind.group_kind] = kind
        self._providers[kind.group_kind] = provider
        for name in dict.fromkeys(kind.names):
            self._spellings.setdefault(name, []).append(kind.group_kind)
        for listener in tuple(self._listeners):
            listener(kind, True)

    def unregister(self, group: str, kind: str) -> None:
        """Forget a kind; what is stored of it stays."""
        gone = self._kinds.pop((group, kind), None)
        if gone is None:
            return
        self._providers.pop(gone.group_kind, None)
        for name in dict.fromkeys(gone.names):
            left = [gk for gk in self._spellings.get(name, ()) if gk != gone.group_kind]
            if left:
                self._spellings[name] = left
            else:
                self._spellings.pop(name, None)
        for listener in tuple(self._listeners):
            listener(gone, False)

    def subscribe(self, listener: Callable[[ResourceKind, bool], None]) -> Callable[[], None]:
        """Call ``listener(kind, registered)`` at each change; returns the function that ends it."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def get(self, group: str, kind: str) -> ResourceKind | None:
        return self._kinds.get((group, kind))

    def for_manifest(self, api_version: str, kind: str) -> tuple[ResourceKind, str | None]:
        """Return the kind of a manifest, and the version to convert from (None when it is the kind's own).

        Raises:
            UnknownKindError: no such kind, or not in that version.
        """
        group, _, version = api_version.rpartition("/")
        found = self._kinds.get((group, kind))
        if found is not None and version == found.version:
            return found, None
        if found is not None and version in found.conversions:
            return found, version
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
            served = ", ".join(f"{found.group}/{v}" for v in (found.version, *found.conversions))
            raise UnknownKindError(f"{kind} of {api_version} (served: {served})")
        raise UnknownKindError(kind, known)

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

    def in_category(self, category: str) -> list[ResourceKind]:
        return [kind for kind in self if category in kind.categories and not kind.ephemeral]

    def provider_of(self, kind: ResourceKind) -> str:
        return self._providers.get(kind.group_kind, "")

    def of_key(self, key: ResourceKey) -> ResourceKind:
        found = self._kinds.get((key.group, key.kind))
        if found is None:
            raise UnknownKindError(key.kind, [k.kind for k in self._kinds.values()])
        return found

    def gvks(self) -> list[GroupVersionKind]:
        return [kind.gvk for kind in self]

    def __iter__(self) -> Iterator[ResourceKind]:
        return iter(sorted(self._kinds.values(), key=lambda kind: (kind.group != MAIN_GROUP, kind.group, kind.kind)))

    def __len__(self) -> int:
        return len(self._kinds)
