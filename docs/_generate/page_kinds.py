"""The kinds of the core and of the first-party plugins: a page for each, with every field of a manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence

from _generate.first_party import plugins, registry
from _generate.kind_fields import KindField, fields_of_kind, rows_of
from _generate.markdown import inline, table
from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.plugins import BUILTIN
from kastra_core.schemas import json_schema

__all__ = ["kinds_pages"]

_MADE_BY_THE_RUNTIME = "The runtime makes these resources itself; a manifest of this kind is refused."


def kinds_pages() -> dict[str, str]:
    """Path below docs/reference -> text."""
    kinds = sorted(registry(), key=lambda kind: kind.kind)
    pages = {f"kinds/{kind.kind.lower()}.md": _page(kind) for kind in kinds}
    return {"kinds.md": _index(kinds), **pages}


def _index(kinds: Sequence[ResourceKind]) -> str:
    links = [f"- [{kind.kind}](kinds/{kind.kind.lower()}.md): {inline(kind.description)}" for kind in kinds]
    rows = [
        [
            f"`{kind.kind}`",
            f"`{kind.api_version}`",
            f"`{kind.plural}`",
            ", ".join(f"`{name}`" for name in kind.short_names),
            "namespaced" if kind.namespaced else "cluster",
            "yes" if kind.executable else "",
            _plugin(kind),
        ]
        for kind in kinds
    ]
    return "\n\n".join(
        [
            "# Kinds",
            "Made from the schemas of the kinds by `docs/generate.py`. `kastra explain KIND.FIELD` shows the same, and "
            "the kinds of other plugins and of your own definitions, too.",
            "\n".join(links),
            table(["kind", "apiVersion", "plural", "short", "scope", "can be run", "plugin"], rows),
            "## What every manifest has",
            "`apiVersion`, `kind`, `metadata` and `spec`. [Resources](../guide/resources.md) tells what they mean; "
            "`status` is written by controllers and ignored in a manifest.",
            table(["field", "type", "default", "meaning"], [_row(field) for field in _metadata()]),
        ]
    )


def _plugin(kind: ResourceKind) -> str:
    provider = next(
        plugin for plugin, record in plugins().records("kastra_resource_kinds") if record.group_kind == kind.group_kind
    )
    if provider == BUILTIN:
        return BUILTIN
    return f"[{provider}](../../plugins/kastra-plugin-{provider}/README.md)"


def _metadata() -> list[KindField]:
    properties = json_schema(registry().resolve("agents"))["properties"]
    writable = {key: sub for key, sub in properties["metadata"]["properties"].items() if not sub.get("readOnly")}
    whole = {**properties["metadata"], "properties": writable}
    return rows_of({"type": "object", "properties": {"metadata": whole}, "required": ["metadata"]})


def _page(kind: ResourceKind) -> str:
    served = [version for version in kind.served_versions if version != kind.api_version]
    names = dict.fromkeys((kind.plural, kind.singular, *kind.short_names))
    facts = [
        ["apiVersion", f"`{kind.api_version}`"],
        ["read as well", ", ".join(f"`{version}`" for version in served)],
        ["names", ", ".join(f"`{name}`" for name in names)],
        ["scope", "namespaced" if kind.namespaced else "cluster"],
        ["can be run", f"`kastra run {kind.singular}/NAME`" if kind.executable else ""],
        ["can be scaled", "`kastra scale`" if kind.scale else ""],
        ["plugin", _plugin(kind).replace("](../../", "](../../../")],
        ["controllers", ", ".join(f"`{name}`" for name in _controllers(kind))],
    ]
    out = [
        f"# {kind.kind}",
        inline(kind.description),
        table(["", ""], [fact for fact in facts if fact[1]]),
        "Made from its schema by `docs/generate.py`.",
    ]
    out += ["## Fields", *_fields(kind)]
    if kind.list_map_keys:
        keys = [[f"`{path}`", ", ".join(f"`{key}`" for key in keys)] for path, keys in kind.list_map_keys.items()]
        out += [
            "## Lists that apply merges item by item",
            "All other lists are one value: the last apply replaces them.",
            table(["list", "items are known by"], keys),
        ]
    if kind.printer_columns:
        out += ["## Columns", "Of `kastra get`; those of `-o wide` come last.", _columns(kind.printer_columns)]
    return "\n\n".join(filter(None, out))


def _controllers(kind: ResourceKind) -> list[str]:
    records = plugins().records("kastra_controllers")
    return [record.name for _, record in records if (record.group, record.kind) == kind.group_kind]


def _fields(kind: ResourceKind) -> list[str]:
    if kind.ephemeral:
        return [_MADE_BY_THE_RUNTIME]
    rows = [_row(field) for field in fields_of_kind(kind, once=True)]
    return [
        "Beside [what every manifest has](../kinds.md#what-every-manifest-has). `[]` in a path stands for each item "
        "of a list, `*` for each key of a map.",
        table(["field", "type", "default", "meaning"], rows),
    ]


def _row(field: KindField) -> list[str]:
    default = f"`{json.dumps(field.default, ensure_ascii=False)}`" if field.default is not None else ""
    more = [f"Fields as in {', '.join(f'`{path}`' for path in field.as_paths)}."] if field.as_paths else []
    more += [f"Limits: {', '.join(field.limits)}."] if field.limits else []
    text = " ".join(filter(None, [field.description, *more]))
    return [
        f"`{field.path}`",
        inline(field.type.replace(" | ", ", ")),
        "required" if field.required else default,
        inline(text),
    ]


def _columns(columns: Sequence[PrinterColumn]) -> str:
    rows: list[Sequence[str]] = []
    for column in sorted(columns, key=lambda column: column.priority > 0):
        wide = " (wide)" if column.priority else ""
        rows.append([f"{inline(column.name)}{wide}", f"`{column.json_path}`", column.type, inline(column.description)])
    return table(["column", "path", "type", "meaning"], rows)
