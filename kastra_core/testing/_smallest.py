"""The smallest value that a JSON schema takes, as far as it can be made from the schema alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["smallest"]

_DEEPEST = 16
_TEXTS = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_WORD = "sample"


def smallest(schema: Any, *, optional: bool = False) -> Any:
    """Return a value that a schema takes: what is required and no more; with ``optional`` all properties.

    References within the document (``#/$defs/...``) are followed. Patterns and rules that look at several fields are
    beyond it, so the value may be refused all the same.

    >>> smallest({"type": "object", "required": ["size"], "properties": {"size": {"minimum": 3}, "name": {}}})
    {'size': 3}
    """
    return _value(schema, schema, optional, 0)


def _value(schema: Any, root: Any, optional: bool, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _value({**_followed(schema["$ref"], root), **_without(schema, "$ref")}, root, optional, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        choices = [choice for choice in schema.get(key) or () if isinstance(choice, Mapping)]
        if choices:
            # Of null and something the something says more of what the schema is about.
            choice = next((each for each in choices if each.get("type") != "null"), choices[0])
            return _value({**_without(schema, key), **choice}, root, optional, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = _without(schema, "allOf")
        for part in schema["allOf"]:
            merged = {**merged, **(part if isinstance(part, Mapping) else {})}
        return _value(merged, root, optional, depth + 1)
    return _of_type(schema, root, optional, depth)


def _of_type(schema: Mapping[str, Any], root: Any, optional: bool, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = _type_of(schema)
    if kind == "object":
        properties = schema.get("properties") or {}
        names = list(properties) if optional else [n for n in schema.get("required") or () if isinstance(n, str)]
        made = {name: _value(properties.get(name, {}), root, optional, depth + 1) for name in names}
        for number in range(len(made), int(schema.get("minProperties") or 0)):
            inner = schema.get("additionalProperties")
            made[f"{_WORD}{number}"] = _value(inner if isinstance(inner, Mapping) else {}, root, optional, depth + 1)
        return made
    if kind == "array":
        least = int(schema.get("minItems") or 0)
        return [_value(schema.get("items", {}), root, optional, depth + 1) for _ in range(least)]
    if kind in ("integer", "number"):
        return _number(schema, kind)
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    text = _TEXTS.get(str(schema.get("format")), _WORD)
    least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
    text = text if len(text) >= least else text * math.ceil(least / len(text))
    return text[: int(most)] if most is not None else text


def _type_of(schema: Mapping[str, Any]) -> str:
    """The type that its keywords speak of."""
    if schema.keys() & {"properties", "required", "additionalProperties", "minProperties"}:
        return "object"
    if schema.keys() & {"items", "minItems"}:
        return "array"
    return "number" if schema.keys() & {"minimum", "maximum", "exclusiveMinimum", "multipleOf"} else "string"


def _number(schema: Mapping[str, Any], kind: str) -> int | float:
    least: int | float = schema.get("minimum", 0)
    above = schema.get("exclusiveMinimum")
    if isinstance(above, (int, float)) and not isinstance(above, bool):
        least = max(least, above + 1)
    most = schema.get("maximum")
    if most is not None and most < least:
        least = most
    step = schema.get("multipleOf")
    if step:
        least = math.ceil(least / step) * step
    return math.ceil(least) if kind == "integer" else least


def _followed(reference: Any, root: Any) -> Mapping[str, Any]:
    found = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _without(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != name}
