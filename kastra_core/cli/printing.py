"""Resources as tables, YAML, JSON, names and JSONPath."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.api.meta import JsonObject, Resource, condition_of
from kastra_core.cli.common import style
from kastra_core.cli.jsonpath import compile_path, render
from kastra_core.cli.tables import age, format_table, terminal_width
from kastra_core.errors import UserError

__all__ = [
    "NONE",
    "as_data",
    "cell",
    "columns_of",
    "header_of",
    "kind_name",
    "not_ready",
    "render_data",
    "row_of",
    "table",
]

NONE = "<none>"

_DEFAULT_COLUMNS = (
    PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
    PrinterColumn(name="REASON", json_path='.status.conditions[?(@.type=="Ready")].reason'),
    PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
)
"""Of kinds that declare none."""

_COLOURS = {
    "True": "green",
    "False": "red",
    "Ready": "green",
    "Failed": "red",
    "Succeeded": "green",
    "Unknown": "yellow",
}


def kind_name(kind: ResourceKind, name: str) -> str:
    """``agent.mastra.ai/recipe-assistant``, as kubectl names a resource."""
    return f"{kind.singular}.{kind.group}/{name}" if kind.group else f"{kind.singular}/{name}"


def columns_of(kind: ResourceKind, *, wide: bool = False) -> Sequence[PrinterColumn]:
    """The columns between NAME and the labels."""
    columns = kind.printer_columns or _DEFAULT_COLUMNS
    return [column for column in columns if wide or column.priority == 0]


def cell(column: PrinterColumn, manifest: Mapping[str, Any], now_s: float) -> str:
    """What a column shows of a manifest; ``<none>`` when its path leads nowhere, or to what its type does not have."""
    try:
        found = compile_path(column.json_path)(manifest)
    except UserError:  # a definition may have a path that cannot be read; the others are shown all the same
        return NONE
    if not found or found == [None]:
        return _awaits(manifest.get("status") or {}) if column.name == "REASON" else NONE
    if column.type == "date":
        return _age(found[0], now_s)
    if column.type == "seconds":
        return ",".join(_text(round(v, 2) if isinstance(v, float) else v) + "s" for v in found)
    if column.type in _TYPES:
        return _TYPES[column.type](found[0])
    return ",".join(_text(value) for value in found)


def _age(value: Any, now_s: float) -> str:
    if not isinstance(value, str):
        return NONE
    shown = age(value, now_s)
    return shown if shown != "<unknown>" else "<invalid>"


def _integer(value: Any) -> str:
    return str(int(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else NONE


def _number(value: Any) -> str:
    return _text(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else NONE


def _boolean(value: Any) -> str:
    return _text(value) if isinstance(value, bool) else NONE


_TYPES: Mapping[str, Callable[[Any], str]] = {"integer": _integer, "number": _number, "boolean": _boolean}
"""Types of columns that show nothing but values of their type, as in Kubernetes."""


def _awaits(status: Mapping[str, Any]) -> str:
    """The reason why a run is suspended: the signals that it awaits, or that it sleeps."""
    if status.get("phase") != "Suspended":
        return NONE
    signals = [str(item.get("signal")) for item in status.get("awaiting") or () if isinstance(item, Mapping)]
    return ",".join(signals) or ("Sleeping" if status.get("wakeAtS") is not None else NONE)


def _text(value: Any) -> str:
    """A value as kubectl prints it in a cell: lists and objects as JSON."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, dict)):
        import orjson

        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else NONE
    return NONE if value is None else str(value)


def header_of(columns: Sequence[PrinterColumn], *, namespace: bool, labels: bool) -> list[str]:
    """The header of a table."""
    names = [column.name.upper() for column in columns]
    return [*(["NAMESPACE"] if namespace else []), "NAME", *names, *(["LABELS"] if labels else [])]


def row_of(
    resource: Resource,
    columns: Sequence[PrinterColumn],
    now_s: float,
    *,
    namespace: bool = False,
    labels: bool = False,
    name: str = "",
) -> list[str]:
    """A line of a table; ``name``: instead of the resource's own."""
    meta = resource.metadata
    manifest = resource.to_manifest()
    out = [meta.namespace or NONE] if namespace else []
    out.append(name or meta.name)
    out.extend(cell(column, manifest, now_s) for column in columns)
    if labels:
        out.append(",".join(f"{key}={value}" for key, value in sorted(meta.labels.items())) or NONE)
    return out


def table(
    kind: ResourceKind,
    resources: Iterable[Resource],
    now_s: float,
    *,
    wide: bool = False,
    namespace: bool = False,
    labels: bool = False,
    headers: bool = True,
    qualified: bool = False,
) -> str:
    """Return resources of one kind as a table.

    Args:
        now_s: unix seconds, for ages.
        wide: columns of lower priority too.
        namespace: begin with NAMESPACE.
        labels: end with LABELS.
        headers: begin with the names of the columns.
        qualified: names with the kind before them.
    """
    columns = columns_of(kind, wide=wide)
    rows = [
        row_of(
            resource,
            columns,
            now_s,
            namespace=namespace,
            labels=labels,
            name=kind_name(kind, resource.metadata.name) if qualified else "",
        )
        for resource in resources
    ]
    header = header_of(columns, namespace=namespace, labels=labels)
    shown = [header, *rows] if headers else rows
    return format_table(
        shown, limit=0 if wide else terminal_width(), keep=2 if namespace else 1, paint=_painter(header)
    )


def _painter(header: Sequence[str]) -> Any:
    coloured = {number for number, name in enumerate(header) if name in ("READY", "PHASE", "STATUS", "STATE")}
    if not coloured:
        return None

    def paint(number: int, text: str) -> str:
        colour = _COLOURS.get(text) if number in coloured else None
        return style(text, fg=colour) if colour else text

    return paint


# ------------------------------------------------------------------------------------------------ objects


def as_data(resources: Sequence[Resource], *, single: bool, managed_fields: bool = False) -> JsonObject:
    """What ``-o yaml|json|jsonpath`` show: the manifest of a single resource, else a ``List``."""
    items = [_manifest(resource, managed_fields) for resource in resources]
    return items[0] if single and len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}


def _manifest(resource: Resource, managed_fields: bool) -> JsonObject:
    manifest = resource.to_manifest()
    if not managed_fields:
        manifest["metadata"].pop("managedFields", None)
    return manifest


def render_data(data: Any, output: str) -> str:
    """JSON data as ``yaml``, ``json`` or ``jsonpath=EXPR``."""
    if output == "json":
        import orjson

        return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"
    if output == "yaml":
        from kastra_core.manifests import dump

        return dump([data])
    return render(output.removeprefix("jsonpath="), data)


def not_ready(resource: Resource) -> str:
    """`` (not ready: Reason: message)`` when the Ready condition is there and not True, else ""."""
    ready = condition_of(resource, "Ready")
    if ready is None or ready.get("status") == "True":
        return ""
    message = " ".join(str(ready.get("message") or "").split())
    return f" (not ready: {ready.get('reason')}{f': {message}' if message else ''})"
