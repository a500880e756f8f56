"""The fields that manifests of a kind may have, as paths with types: what an upgrade may lose.

A type is written in words of JSON Schema, ``"integer | string"``; an enumeration as its values in JSON,
``'"http" | "python"'``; ``"any"`` allows everything. ``[*]`` in a path stands for the items of a list, ``.*`` for the
values of a map, or for fields of any name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.openapi import to_json_schema
from kastra_core.schemas import json_schema

__all__ = ["ANY", "allows", "fields_of", "holds_field"]

ANY = "any"
_HEAD = ("apiVersion", "kind", "metadata", "status")
_DEEPEST = 24
"""Levels of fields; a schema may go on for ever."""
_TYPES = re.compile(r'"(?:[^"\\]|\\.)*"|[^|\s]+')


def fields_of(kind: ResourceKind, *, version: str = "") -> dict[str, str]:
    """Path -> type of the fields of manifests of a kind, without apiVersion, kind, metadata and status.

    Args:
        version: one of ``kind.structures``; default: the kind's own.
    Raises:
        Exception: what the import of the plugin's own classes raises.
    """
    structure = kind.structures[version] if version and version != kind.version else kind.structure
    if structure is not None:
        schema = to_json_schema(load(structure).schema, embedded=True)
    elif kind.spec_type is not None:
        # The schema of a kind with defaults of its own says nothing of fields, as they may fill in what is required.
        schema = json_schema(attrs.evolve(kind, default=None))
    else:
        return {"spec": "object", "spec.*": ANY}
    paths = _Paths(schema.get("$defs") or {})
    for name, below in (schema.get("properties") or {}).items():
        if name not in _HEAD:
            paths.add(_named("", name), below, ())
            # Whether it may be left out is no matter of its type.
            paths.found[_named("", name)].discard("null")
    if schema.get("additionalProperties") is not False and not paths.found:
        paths.found["*"] = {ANY}
    return {path: _written(types) for path, types in sorted(paths.found.items())}


class _Paths:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self.found: dict[str, set[str]] = {}

    def add(self, path: str, schema: Any, within: tuple[str, ...]) -> None:
        """Note the type at a path and what is below it; ``within``: the definitions that it is inside of."""
        forms, within = self._forms(schema, within)
        types = self.found.setdefault(path, set())
        for form in forms:
            types |= _types_of(form)
        if len(re.findall(r"[.\[]", path)) >= _DEEPEST:
            return
        for form in forms:
            if isinstance(form, Mapping):
                self._below(path, form, within)

    def _below(self, path: str, form: Mapping[str, Any], within: tuple[str, ...]) -> None:
        for name, below in (form.get("properties") or {}).items():
            self.add(_named(path, name), below, within)
        if _is(form, "object"):
            further = form.get("additionalProperties", True)
            if further is not False:
                self.add(f"{path}.*", further, within)
        if _is(form, "array"):
            items = form.get("items")
            for below in [*(form.get("prefixItems") or ()), *([items] if items not in (None, False) else ())]:
                self.add(f"{path}[*]", below, within)

    def _forms(self, schema: Any, within: tuple[str, ...]) -> tuple[list[Any], tuple[str, ...]]:
        """What a schema may be, its alternatives one by one; a definition inside itself is an object and no more."""
        if not isinstance(schema, Mapping):
            return [schema], within
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            if name in within:
                return [{"type": "object", "additionalProperties": False}], within
            return self._forms(self._definitions.get(name, {}), (*within, name))
        out: list[Any] = []
        inside = within
        for part in [*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())]:
            forms, deeper = self._forms(part, within)
            out += forms
            inside = (*inside, *(name for name in deeper if name not in inside))
        own = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        # What stands beside the alternatives says the type, and they only which fields go together.
        return ([own] if not out or "type" in own or "properties" in own or "enum" in own else out), inside


def _is(form: Mapping[str, Any], word: str) -> bool:
    kinds = form.get("type")
    return kinds == word or (isinstance(kinds, list) and word in kinds)


def _named(path: str, name: str) -> str:
    plain = name if re.fullmatch(r"[\w$-]+", name) else _literal(name)
    return f"{path}.{plain}" if path else plain


def _types_of(form: Any) -> set[str]:
    if not isinstance(form, Mapping):
        return {ANY} if form is not False else set()
    values: Iterable[Any] | None = form.get("enum")
    if values is None and "const" in form:
        values = [form["const"]]
    if values is not None:
        return {_literal(value) for value in values}
    kinds = form.get("type")
    if isinstance(kinds, str):
        return {kinds}
    if isinstance(kinds, Sequence) and kinds:
        return {str(kind) for kind in kinds}
    return {"object"} if form.get("properties") else {ANY}


def _literal(value: Any) -> str:
    import orjson

    if isinstance(value, (list, dict)):
        return "array" if isinstance(value, list) else "object"
    return orjson.dumps(value).decode()


def _written(types: set[str]) -> str:
    return ANY if ANY in types else " | ".join(sorted(types))


# ------------------------------------------------------------------------------------------------ comparing


def allows(new: str, old: str) -> bool:
    """Whether all that a type allowed another one allows too.

    >>> allows("number | string", "integer"), allows('"a"', '"a" | "b"'), allows("string", '"a" | "b"')
    (True, False, True)
    """
    now = set(_TYPES.findall(new))
    return ANY in now or all(_is_allowed(one, now) for one in _TYPES.findall(old))


def _is_allowed(one: str, now: set[str]) -> bool:
    if one in now or (one == "integer" and "number" in now):
        return True
    if one.startswith('"'):
        return "string" in now
    if one in ("true", "false"):
        return "boolean" in now
    if re.fullmatch(r"-?\d+", one):
        return bool(now & {"integer", "number"})
    return bool(re.fullmatch(r"-?\d.*", one)) and "number" in now


def holds_field(fields: Mapping[str, str], path: str) -> bool:
    """Whether manifests may have a field: it is there by name, or by the wildcard of a field above it."""
    if path in fields:
        return True
    above = path
    while above:
        above = _above(above)
        if fields.get(above) == ANY or fields.get(f"{above}.*" if above else "*") == ANY:
            return True
    return False


def _above(path: str) -> str:
    """The path without its last part.

    >>> _above('spec.a[*]'), _above('spec."a.b"'), _above("spec")
    ('spec.a', 'spec', '')
    """
    found = re.fullmatch(r'(.*?)(?:\[\*\]|\.?(?:"(?:[^"\\]|\\.)*"|[^.\[\]"]+))', path, re.DOTALL)
    return found[1] if found is not None else ""
