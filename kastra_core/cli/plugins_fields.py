"""The fields that manifests of a kind may have, as paths with types: what an upgrade may lose.

A type is written in words of JSON Schema, ``"integer | string"``; an enumeration as its values in JSON,
``'"http" | "python"'``; ``"any"`` allows everything; ``", required"`` ends that of a field that must be there where the
object is that it is in. ``[*]`` in a path stands for the items of a list, ``.*`` for the values of a map, or for fields
of any name.
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

__all__ = ["ANY", "allows", "demands", "fields_of", "holds_field", "is_required", "type_of"]

ANY = "any"
_REQUIRED = ", required"
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
            path = _named("", name)
            paths.add(path, below, ())
            # Whether it may be left out is no matter of its type.
            paths.found[path].discard("null")
            if name in (schema.get("required") or ()):
                paths.needed.add(path)
    if schema.get("additionalProperties") is not False and not paths.found:
        paths.found["*"] = {ANY}
    # What a kind's own defaults fill in need not be written, and nobody can tell what that is.
    needed = paths.needed - paths.optional if kind.default is None else set[str]()
    return {path: _written(types) + _REQUIRED * (path in needed) for path, types in sorted(paths.found.items())}


class _Paths:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self.found: dict[str, set[str]] = {}
        self.needed: set[str] = set()
        """Fields that a form of the object above them requires."""
        self.optional: set[str] = set()
        """Fields that a form of the object above them does not require."""
        self._fields: dict[str, set[str]] = {}
        """Path of an object -> the fields below it that were seen."""

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
        properties: Mapping[str, Any] = form.get("properties") or {}
        for name, below in properties.items():
            self.add(_named(path, name), below, within)
        if properties or _is(form, "object"):
            self._needs(path, properties, form.get("required") or ())
        if _is(form, "object"):
            further = form.get("additionalProperties", True)
            if further is not False:
                self.add(f"{path}.*", further, within)
        if _is(form, "array"):
            items = form.get("items")
            for below in [*(form.get("prefixItems") or ()), *([items] if items not in (None, False) else ())]:
                self.add(f"{path}[*]", below, within)

    def _needs(self, path: str, properties: Iterable[str], required: Iterable[str]) -> None:
        """Note which fields of a form of an object must be there; required is what every form requires."""
        needed = {_named(path, name) for name in required}
        fields = {_named(path, name) for name in properties} | needed
        for field in needed - self.found.keys():
            self.found[field] = {ANY}
        before = self._fields.setdefault(path, fields)
        self.optional |= (fields | before) - needed
        if before is not fields:
            self.optional |= fields - before
            before |= fields
        self.needed |= needed

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


def type_of(written: str) -> str:
    """The type alone, without whether the field must be there."""
    return written.removesuffix(_REQUIRED)


def is_required(written: str) -> bool:
    """Whether a field with this type must be there.

    >>> is_required("integer, required"), is_required('", required"')
    (True, False)
    """
    return written.endswith(_REQUIRED)


def allows(new: str, old: str) -> bool:
    """Whether all that a type allowed another one allows too; whether the field must be there is no matter.

    >>> allows("number | string", "integer"), allows('"a"', '"a" | "b"'), allows("string, required", '"a" | "b"')
    (True, False, True)
    """
    now = set(_TYPES.findall(type_of(new)))
    return ANY in now or all(_is_allowed(one, now) for one in _TYPES.findall(type_of(old)))


def demands(now: Mapping[str, str], was: Mapping[str, str], path: str) -> bool:
    """Whether a field is required that manifests with the fields ``was`` could leave out."""
    if not is_required(now[path]):
        return False
    if path in was:
        return not is_required(was[path])
    above = _above(path)
    # What is inside of something new is asked of nobody who does without it.
    object_was = was.get(above) or (ANY if holds_field(was, above) else "null")
    return not above or not allows("string | number | boolean | array | null", object_was)


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
        if any(type_of(fields.get(one, "")) == ANY for one in (above, f"{above}.*" if above else "*")):
            return True
    return False


def _above(path: str) -> str:
    """The path without its last part.

    >>> _above('spec.a[*]'), _above('spec."a.b"'), _above("spec")
    ('spec.a', 'spec', '')
    """
    found = re.fullmatch(r'(.*?)(?:\[\*\]|\.?(?:"(?:[^"\\]|\\.)*"|[^.\[\]"]+))', path, re.DOTALL)
    return found[1] if found is not None else ""
