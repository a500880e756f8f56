"""What a plugin offers, part by part, and which part a suite of it has tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.plugins import PluginInfo
from kastra_core.registrations import CommandRegistration, OperationRegistration

__all__ = ["POINTS", "Part", "parts_of", "point_of", "tested_part"]

POINTS: Mapping[str, str] = {
    "plugin": "plugin.PluginConformance",
    "kind": "kind.KindConformance",
    "controller": "controller.ControllerConformance",
    "runner": "runner.RunnerConformance",
    "store": "store.StoreConformance",
    "store admin": "store_admin.StoreAdminConformance",
    "model provider": "model.ModelProviderConformance",
    "migrator": "migrator.MigratorConformance",
    "exporter": "exporter.ExporterConformance",
    "operation": "operation.OperationConformance",
    "command": "command.CommandConformance",
}
"""Extension point -> module and class of its suite in ``kastra_core.testing``."""
_POINT_OF = {suite.partition(".")[2]: point for point, suite in POINTS.items()}


_HOOKS = (
    ("kastra_controllers", "controller", "", ""),
    ("kastra_stores", "store", "store admin", "admin"),
    ("kastra_model_providers", "model provider", "", ""),
    ("kastra_migrators", "migrator", "exporter", "exporter"),
    ("kastra_operations", "operation", "", ""),
    ("kastra_commands", "command", "", ""),
)
"""(hook, extension point, a second one and the field of the record that says whether it is offered)."""


@attrs.frozen(kw_only=True)
class Part:
    """Something that a plugin offers and that a suite can test."""

    point: str
    name: str
    record: Any = attrs.field(eq=False, repr=False)


def parts_of(info: PluginInfo) -> list[Part]:
    """All parts of a plugin, in the order of its hooks; a kind that can be run is two, and so is a store."""
    return list(_parts(info.records))


def _parts(records: Mapping[str, Sequence[Any]]) -> Iterator[Part]:
    for kind in records.get("kastra_resource_kinds", ()):
        yield Part(point="kind", name=_kind_name(kind), record=kind)
        if kind.runner is not None:
            yield Part(point="runner", name=_kind_name(kind), record=kind)
    for hook, point, second, field in _HOOKS:
        for record in records.get(hook, ()):
            yield Part(point=point, name=record.name, record=record)
            if field and getattr(record, field) is not None:
                yield Part(point=second, name=record.name, record=record)


def _kind_name(kind: ResourceKind) -> str:
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def point_of(suite: type) -> tuple[str, str]:
    """(extension point, name of the suite) of a test class; the point is "" when its suite is none of the core's."""
    for base in suite.__mro__:
        if base.__module__.startswith("kastra_core.testing.") and base.__name__ in _POINT_OF:
            return _POINT_OF[base.__name__], base.__name__
    others = [base.__name__ for base in suite.__mro__ if base.__name__.endswith("Conformance")]
    return "", others[0] if others else suite.__name__


def tested_part(point: str, values: Mapping[str, Any], parts: Sequence[Part]) -> tuple[str, str, bool]:
    """(point, name, is a part of the plugin) of what a suite has tested, as its fixtures tell.

    Args:
        point: of the suite; "" for a suite that is none of the core's.
        values: what its fixtures gave, by name.
        parts: of the plugin.
    """
    name, known = _named(point, values)
    if name:
        point = point or known
        return point, name, any((part.point, part.name) == (point, name) for part in parts)
    candidates = [part for part in parts if part.point == point]
    fitting = [part for part in candidates if _FITS.get(point, _any)(part.record, values)]
    if len(fitting) == 1 or (fitting and point in ("store", "store admin", "model provider")):
        return point, ", ".join(part.name for part in fitting), True
    # Its fixtures did not come so far; of one part there is no doubt which is meant.
    if not fitting and not values and len(candidates) == 1:
        return point, candidates[0].name, True
    return point, ", ".join(part.name for part in fitting), bool(fitting)


def _named(point: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """(name, point) where a fixture gives the record itself."""
    if point in ("kind", "runner"):
        kind = values.get("kind")
        return (_kind_name(kind), point) if isinstance(kind, ResourceKind) else ("", "")
    if point in ("operation", "command", ""):
        for word, cls in (("operation", OperationRegistration), ("command", CommandRegistration)):
            record = values.get(word)
            if isinstance(record, cls):
                return record.name, word
    return "", ""


def _any(record: Any, values: Mapping[str, Any]) -> bool:
    return True


def _controller_fits(record: Any, values: Mapping[str, Any]) -> bool:
    manifest, made = values.get("manifest"), values.get("make_controller")
    factory = load(record.factory)
    if made is factory:
        return True
    if isinstance(made, type) and isinstance(factory, type):
        return False
    if not isinstance(manifest, Mapping):
        return False
    group = str(manifest.get("apiVersion")).rpartition("/")[0]
    return (group, manifest.get("kind")) == (record.group, record.kind)


def _made_by(field: str, fixture: str) -> Callable[[Any, Mapping[str, Any]], bool]:
    """Whether what a fixture gave is of the type that the factory in a field of the record makes."""

    def fits(record: Any, values: Mapping[str, Any]) -> bool:
        return fixture in values and type(values[fixture]) is type(load(getattr(record, field))())

    return fits


def _provider_fits(record: Any, values: Mapping[str, Any]) -> bool:
    factory = load(record.factory)
    return "provider" in values and (not isinstance(factory, type) or type(values["provider"]) is factory)


_FITS: Mapping[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "controller": _controller_fits,
    "migrator": _made_by("factory", "migrator"),
    "exporter": _made_by("exporter", "exporter"),
    "model provider": _provider_fits,
    "store": lambda record, values: "store" in values or "reopen" in values,
    "store admin": lambda record, values: "admin" in values,
}
