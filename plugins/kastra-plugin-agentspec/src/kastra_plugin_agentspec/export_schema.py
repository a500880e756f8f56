"""JSON schemas as properties of components, as far as readers of Agent Spec take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject

__all__ = ["is_title", "portable", "properties_of", "result_of"]

_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_NOT_IN_TITLES = re.compile(r"[.,{} \n'\"]")
_PLAIN = (
    "description",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
RESULT = "output"
"""Title of a result that is one value."""


def is_title(text: Any) -> bool:
    """Whether a property may have this title."""
    return isinstance(text, str) and bool(text) and _NOT_IN_TITLES.search(text) is None


def portable(schema: Any) -> JsonObject:
    """What of a schema readers of Agent Spec take: types, items, properties, bounds; no combinations, no references.

    >>> portable({"type": "string", "oneOf": []}), portable({"$ref": "#/x"})
    ({'type': 'string'}, {})
    """
    if not isinstance(schema, Mapping):
        return {}
    out: JsonObject = {}
    kind = schema.get("type")
    if kind in _TYPES:
        out["type"] = kind
    elif isinstance(kind, list) and kind and all(one in _TYPES for one in kind):
        out["type"] = list(kind)
    out |= {key: schema[key] for key in _PLAIN if key in schema and _is_sound(key, schema[key])}
    if out.get("type") == "array":
        out["items"] = portable(schema.get("items"))
    if out.get("type") == "object":
        held = schema.get("properties")
        if isinstance(held, Mapping) and all(isinstance(name, str) for name in held):
            out["properties"] = {name: portable(one) for name, one in held.items()}
        more = schema.get("additionalProperties")
        if isinstance(more, bool):
            out["additionalProperties"] = more
        elif isinstance(more, Mapping):
            out["additionalProperties"] = portable(more)
        needed = schema.get("required")
        if isinstance(needed, list) and all(isinstance(one, str) for one in needed) and len(set(needed)) == len(needed):
            out["required"] = list(needed)
    if "default" in schema and _fits(schema["default"], out):
        out["default"] = schema["default"]
    return out


def _is_sound(key: str, value: Any) -> bool:
    if key in ("description", "format", "pattern"):
        return isinstance(value, str)
    if key == "enum":
        return isinstance(value, list)
    if key in ("minimum", "maximum"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a default is surely of the type of its schema."""
    kind = schema.get("type")
    if kind is None:
        return True
    if isinstance(kind, list):
        return any(_fits(value, {**schema, "type": one}) for one in kind)
    if kind == "array":
        return isinstance(value, list) and all(_fits(item, schema.get("items", {})) for item in value)
    if kind == "object":
        properties = schema.get("properties", {})
        return isinstance(value, dict) and all(
            name in value and _fits(value[name], properties[name]) for name in properties
        )
    types: Any = {"string": str, "boolean": (int, float), "integer": (int, float), "number": (int, float)}.get(kind)
    return value is None if kind == "null" else types is not None and isinstance(value, types)


def properties_of(schema: Any) -> list[JsonObject]:
    """The properties of an object's schema, each with its name as title; none where it has none that may be titles."""
    held = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(held, Mapping) or not all(is_title(name) for name in held):
        return []
    return [{"title": name, **portable(one)} for name, one in held.items()]


def result_of(schema: Any) -> list[JsonObject]:
    """A result as outputs: the fields of an object that has several, else one value."""
    found = properties_of(schema)
    return found if len(found) > 1 else [{"title": RESULT, **portable(schema)}]
