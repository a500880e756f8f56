"""The fields of a kind as rows, from the JSON schema of its manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.schemas import json_schema

__all__ = ["KindField", "fields_of_kind", "rows_of"]

_LIMITS = {
    "minLength": "length >= {}",
    "maxLength": "length <= {}",
    "pattern": "pattern `{}`",
    "minimum": ">= {}",
    "maximum": "<= {}",
    "exclusiveMinimum": "> {}",
    "exclusiveMaximum": "< {}",
    "minItems": "items >= {}",
    "maxItems": "items <= {}",
    "minProperties": "entries >= {}",
    "maxProperties": "entries <= {}",
    "format": "format {}",
}
_HEAD = ("apiVersion", "kind", "metadata", "status")
"""The same in every kind."""


@attrs.frozen(kw_only=True)
class KindField:
    """A field of a manifest. ``[]`` in a path is any item of a list, ``.*`` any key of a map."""

    path: str
    type: str
    """"string", "list of objects", "one of a | b"."""
    required: bool
    default: Any
    """JSON, None when there is none."""
    description: str
    limits: tuple[str, ...]
    as_paths: tuple[str, ...] = ()
    """Where the fields below are told, when they are those of another field."""

    @property
    def deprecated(self) -> bool:
        return self.description.startswith("Deprecated")


def fields_of_kind(kind: ResourceKind, *, version: str = "", once: bool = False) -> list[KindField]:
    """The fields beside apiVersion, kind, metadata and status, in the order of the schema.

    Args:
        version: one of ``kind.structures``; default: the kind's own.
        once: tell the fields of an object that several fields hold at the first of them only; else at all of them,
            but not again within itself.
    """
    schema = json_schema(kind, version=version)
    own = {name: sub for name, sub in schema["properties"].items() if name not in _HEAD}
    return rows_of({**schema, "properties": own}, once=once)


def rows_of(schema: Mapping[str, Any], *, once: bool = False) -> list[KindField]:
    """The fields of a JSON schema of an object; ``once`` as for :func:`fields_of_kind`."""
    rows: dict[str, KindField] = {}
    for row in _Walk(schema.get("$defs", {}), once).properties(schema, "", {}):
        rows.setdefault(row.path, row)
    return list(rows.values())


class _Walk:
    """``told`` below is: name of a definition -> the path where its fields are told."""

    def __init__(self, defs: Mapping[str, Any], once: bool) -> None:
        self._defs, self._once = defs, once

    def properties(self, schema: Mapping[str, Any], path: str, told: dict[str, str]) -> Iterator[KindField]:
        required = schema.get("required", ())
        for name, sub in schema.get("properties", {}).items():
            yield from self._field(sub, f"{path}.{name}" if path else name, name in required, told)

    def _field(self, schema: Mapping[str, Any], path: str, required: bool, told: dict[str, str]) -> Iterator[KindField]:
        _, whole = self._resolved(schema)
        parts = list(self._objects(schema, path))
        elsewhere = dict.fromkeys(told[name] for name, _, _ in parts if name in told)
        yield KindField(
            path=path,
            type=self.words(schema),
            required=required,
            default=whole.get("default"),
            description=" ".join(str(whole.get("description") or "").split()),
            limits=tuple(self._limits(whole)),
            as_paths=tuple(elsewhere),
        )
        told = told if self._once else dict(told)
        told.update({name: at for name, at, _ in parts if name and name not in told})
        for name, at, one in parts:
            if not name or told[name] == at:
                yield from self.properties(one, at, told)

    def _objects(
        self, schema: Mapping[str, Any], path: str, name: str = ""
    ) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """The objects that a field may hold, in lists and maps too: name of the definition, path, schema."""
        inner, whole = self._resolved(schema)
        name = inner or name
        parts = self._alternatives(whole)
        if parts != [whole]:
            for part in parts:
                yield from self._objects(part, path)
            return
        if whole.get("properties"):
            yield name, path, whole
        items, values = whole.get("items"), whole.get("additionalProperties")
        if isinstance(items, Mapping):
            yield from self._objects(items, f"{path}[]")
        if isinstance(values, Mapping):
            yield from self._objects(values, f"{path}.*")

    def _resolved(self, schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The name of the definition that a schema refers to, and its schema with what the reference adds; no null."""
        name = ""
        whole: dict[str, Any] = dict(schema)
        parts = [part for part in whole.get("anyOf", ()) if part != {"type": "null"}]
        if len(parts) == 1 and not whole.get("properties"):
            whole.pop("anyOf")
            whole = {**parts[0], **whole}
        while "$ref" in whole:
            name = str(whole.pop("$ref")).removeprefix("#/$defs/")
            whole = {**self._defs[name], **whole}
        return name, whole

    def _alternatives(self, whole: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The schemas of which one holds; the schema itself when its alternatives only say what is required."""
        parts = [part for part in whole.get("anyOf", ()) if part != {"type": "null"}]
        return parts if parts and not whole.get("properties") else [whole]

    def words(self, schema: Mapping[str, Any], *, many: bool = False) -> str:
        """A type in plain words."""
        _, whole = self._resolved(schema)
        plural = "s" if many else ""
        if "const" in whole:
            return f"always {json.dumps(whole['const'], ensure_ascii=False)}"
        if "enum" in whole:
            values = [value for value in whole["enum"] if value is not None]
            return f"always {values[0]}" if len(values) == 1 else "one of " + " | ".join(map(str, values))
        parts = self._alternatives(whole)
        if parts != [whole]:
            return " or ".join(dict.fromkeys(self.words(part, many=many) for part in parts))
        kinds = whole.get("type", "anything")
        kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
        return " or ".join(self._word(kind, whole, plural) for kind in kinds)

    def _word(self, kind: str, whole: Mapping[str, Any], plural: str) -> str:
        if kind == "array":
            return f"list{plural} of {self.words(whole.get('items') or {}, many=True)}"
        values = whole.get("additionalProperties")
        if kind == "object" and not whole.get("properties") and isinstance(values, Mapping):
            return f"map{plural} of {self.words(values, many=True)}"
        return kind if kind == "anything" else f"{kind}{plural}"

    @staticmethod
    def _limits(whole: Mapping[str, Any]) -> Iterator[str]:
        if whole.get("minProperties") == whole.get("maxProperties") == 1:
            yield "exactly one entry"
            whole = {key: value for key, value in whole.items() if key not in ("minProperties", "maxProperties")}
        for word, text in _LIMITS.items():
            if word in whole:
                yield text.format(whole[word])
        for rule in whole.get("x-kubernetes-validations", ()):
            yield " ".join(str(rule.get("message") or rule.get("rule") or "").split())
        needed = _needed(whole.get("anyOf") or whole.get("oneOf") or ())
        if needed:
            yield f"{'exactly' if 'oneOf' in whole else 'at least'} one of {', '.join(needed)}"


def _needed(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each alternative requires, when all of them require something."""
    names = [" and ".join(part.get("required", ())) for part in parts]
    return names if all(names) else []
