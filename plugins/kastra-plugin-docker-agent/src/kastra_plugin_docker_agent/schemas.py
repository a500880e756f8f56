"""JSON Schemas of arguments as people write them in docker-agent files, mended where they are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.api.meta import JsonObject

__all__ = ["arguments_schema", "mended"]

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_MEANT = {
    "any": "",
    "bool": "boolean",
    "date": "string",
    "dict": "object",
    "float": "number",
    "int": "integer",
    "list": "array",
    "map": "object",
    "str": "string",
    "text": "string",
}


def arguments_schema(properties: Mapping[str, Any], required: Sequence[str], default_type: str = "") -> JsonObject:
    """Return the schema of a tool's arguments.

    Args:
        properties: name -> schema, or a text that describes it.
        required: names; those of no property are left out.
        default_type: of a property that has none.
    """
    out: JsonObject = {"type": "object", "properties": {}}
    needed = list(dict.fromkeys(required))
    for name, schema in properties.items():
        if isinstance(schema, Mapping) and schema.get("required") is True and name not in needed:
            needed.append(name)
        own = mended(schema) if isinstance(schema, Mapping) else {"description": str(schema)} if schema else {}
        if default_type and not own.keys() & {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}:
            own = {"type": default_type, **own}
        out["properties"][name] = own
    needed = [name for name in needed if name in properties]
    if needed:
        out["required"] = needed
    return out


def mended(schema: Mapping[str, Any]) -> JsonObject:
    """Return a schema without the slips that make it none: types of other languages, ``required: true``.

    >>> mended({"type": "int", "required": True})
    {'type': 'integer'}
    """
    out: JsonObject = {}
    for key, value in schema.items():
        if key == "type":
            words = [_word(word) for word in (value if isinstance(value, list) else [value])]
            kept = [word for word in words if word]
            if kept:
                out[key] = kept if isinstance(value, list) else kept[0]
        elif key == "required":
            if isinstance(value, list) and all(isinstance(name, str) for name in value):
                out[key] = list(dict.fromkeys(value))
        elif key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, Mapping):
            out[key] = {name: mended(item) if isinstance(item, Mapping) else {} for name, item in value.items()}
        elif key in ("items", "additionalProperties", "not") and isinstance(value, Mapping):
            out[key] = mended(value)
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            out[key] = [mended(item) for item in value if isinstance(item, Mapping)]
        elif key == "description":
            out[key] = value if isinstance(value, str) else str(value)
        else:
            out[key] = value
    return out


def _word(word: Any) -> str:
    text = str(word).lower()
    return text if text in _TYPES else _MEANT.get(text, "")
