"""Where the kinds of stored resources come from: kept in the store, so that it can be told when their plugin is gone.

A kind is known as long as a plugin or a definition offers it; what is stored of it stays longer. The commit that writes
resources of a kind also notes who offers it, in the state scope :data:`SCOPE`. What has no plugin any more is
*orphaned*: it is kept, read, listed and deleted as it is stored, and works again when the plugin is back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.plugins import BUILTIN, PluginInfo, PluginManager
from kastra_core.protocols.store import SetState, Store

__all__ = ["SCOPE", "MissingKind", "Origins", "missing_kinds"]

SCOPE = "kastra/kinds"
"""State scope: "Kind.group" -> plugin, distribution, version, definition, plural, singular, shortNames, namespaced."""


@attrs.frozen(kw_only=True)
class MissingKind:
    """A kind that has resources in the store and that nobody offers now."""

    group: str
    kind: str
    count: int
    """Resources that are stored."""
    plural: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool | None = None
    """None: the store does not know."""
    plugin: str = ""
    """Name of the plugin that offered it last, "" when the store does not know."""
    distribution: str = ""
    version: str = ""
    """Version of the plugin's distribution that offered it."""
    definition: str = ""
    """The kind of the resource that defined it (CustomResourceDefinition); the plugin is that one's then."""
    reason: str = "unknown"
    """not installed, blocked, quarantined, no longer offered, or unknown."""
    remedy: str = ""
    """What brings it back, one line."""

    @property
    def plugin_name(self) -> str:
        """What people call the plugin: "kastra-plugin-acme 0.1.0", "plugin acme", "" when the store does not know."""
        if self.distribution:
            return f"{self.distribution} {self.version}".strip()
        return f"plugin {self.plugin}" if self.plugin else ""

    def __str__(self) -> str:
        name = f"{self.kind}.{self.group}" if self.group else self.kind
        if not self.plugin:
            return f"no installed plugin offers {name}, and the store does not know which one did"
        by = f" (a {self.definition} defined it)" if self.definition else ""
        why = "no longer offers it" if self.reason == "no longer offered" else f"is {self.reason}"
        return f"{name} is of {self.plugin_name}{by}, which {why}"


class Origins:
    """Notes who offers the kinds of what is written.

    Args:
        store: in which it is kept.
        registry: knows the kinds, and by whom they are.
        plugins: know their distributions.
    """

    def __init__(self, store: Store, registry: KindRegistry, plugins: PluginManager) -> None:
        self._store, self._registry, self._plugins = store, registry, plugins
        self._kept: JsonObject | None = None

    async def writes(self, kinds: Iterable[ResourceKind]) -> list[SetState]:
        """What a commit of resources of these kinds must say beside them: nothing when the store knows it already."""
        wanted = {_name(*kind.group_kind): origin for kind in kinds if (origin := self._origin(kind)) is not None}
        if not wanted:
            return []
        if self._kept is None:
            self._kept = dict(await self._store.state.get_state(SCOPE))
        new = {name: origin for name, origin in wanted.items() if self._kept.get(name) != origin}
        return [SetState(SCOPE, new)] if new else []

    def written(self, writes: Iterable[SetState]) -> None:
        """The commit that took what :meth:`writes` gave is done."""
        for write in writes:
            self._kept = {**(self._kept or {}), **write.values}

    def _origin(self, kind: ResourceKind) -> JsonObject | None:
        provider = self._registry.provider_of(kind)
        infos = self._plugins.load()
        definition = ""
        if provider not in infos:  # a stored resource defines it, or one that the same commit writes
            by = provider.partition(" ")[0]
            makers = [one for one in self._registry.defining() if one.kind == by or not by]
            definition = makers[0].kind if makers else ""
            provider = self._registry.provider_of(makers[0]) if makers else ""
        info = infos.get(provider)
        if info is None or (info.name == BUILTIN and not definition):
            return None
        return {
            "plugin": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "definition": definition,
            "plural": kind.plural,
            "singular": kind.singular,
            "shortNames": list(kind.short_names),
            "namespaced": kind.namespaced,
        }


async def missing_kinds(
    store: Store, registry: KindRegistry, plugins: PluginManager
) -> dict[tuple[str, str], MissingKind]:
    """The kinds that have resources in the store and that nobody offers now, by (group, kind) in that order.

    Args:
        registry: the kinds that are known now, with those that the store defines.
    Raises: StoreError.
    """
    counts = await store.resources.counts()
    missing = sorted(gk for gk, count in counts.items() if count and registry.get(*gk) is None)
    if not missing:
        return {}
    kept = await store.state.get_state(SCOPE)
    infos = plugins.load()
    out = {}
    for group, kind in missing:
        origin: Any = kept.get(_name(group, kind))
        known = origin if isinstance(origin, dict) else {}
        out[group, kind] = _missing(group, kind, counts[group, kind], known, infos)
    return out


def _missing(group: str, kind: str, count: int, origin: JsonObject, infos: dict[str, PluginInfo]) -> MissingKind:
    plugin, distribution = str(origin.get("plugin", "")), str(origin.get("distribution", ""))
    version, definition = str(origin.get("version", "")), str(origin.get("definition", ""))
    info = infos.get(plugin)
    if info is not None and distribution and _normal(info.distribution) != _normal(distribution):
        info = None  # another distribution has a plugin of that name
    if not plugin:
        reason, remedy = "unknown", f"install the plugin that offers {_name(group, kind)}"
    elif info is None:
        what = f"pip install {distribution}" if distribution else f"install plugin {plugin}"
        reason, remedy = "not installed", f"{what} brings it back"
    elif info.state == "blocked":
        reason, remedy = "blocked", f"take {plugin} from plugins.block, KASTRA_PLUGINS_BLOCK or --no-plugin"
    elif info.state == "quarantined":
        reason, remedy = "quarantined", f"`kastra plugins show {plugin}` says why"
    elif definition:
        reason, remedy = "no longer offered", f"apply the {definition} that defines it again"
    else:
        now = f"{info.version} is installed" if info.version != version else "it offers something else now"
        if info.conflicts:
            now = "it clashes with another plugin"
        reason, remedy = "no longer offered", f"{now}: `kastra plugins show {plugin}`"
        if distribution and version and info.version != version:
            remedy += f"; pip install {distribution}=={version} brings it back"
    namespaced = origin.get("namespaced")
    return MissingKind(
        group=group,
        kind=kind,
        count=count,
        plural=str(origin.get("plural") or f"{kind.lower()}s"),
        singular=str(origin.get("singular") or kind.lower()),
        short_names=tuple(str(name) for name in origin.get("shortNames") or ()),
        namespaced=namespaced if isinstance(namespaced, bool) else None,
        plugin=plugin,
        distribution=distribution,
        version=version,
        definition=definition,
        reason=reason,
        remedy=remedy,
    )


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _name(group: str, kind: str) -> str:
    return f"{kind}.{group}" if group else kind
