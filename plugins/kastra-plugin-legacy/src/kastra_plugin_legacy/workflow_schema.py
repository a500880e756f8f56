"""JSON schemas as older workflows write them: lists of fields, maps of fields, or schemas with small faults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Node

__all__ = ["clean_schema", "is_schema", "schema_of_fields", "schema_of_list", "type_of"]

_TYPES = {
    "any": "",
    "arr": "array",
    "array": "array",
    "bool": "boolean",
    "boolean": "boolean",
    "date": "string",
    "datetime": "string",
    "dict": "object",
    "double": "number",
    "float": "number",
    "int": "integer",
    "integer": "integer",
    "json": "",
    "list": "array",
    "long": "integer",
    "map": "object",
    "markdown": "string",
    "null": "null",
    "number": "number",
    "obj": "object",
    "object": "object",
    "str": "string",
    "string": "string",
    "text": "string",
    "unknown": "",
    "url": "string",
}
_MAPS = ("properties", "patternProperties")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_TEXTS = ("title", "description", "format", "$comment")
_FLAGS = ("uniqueItems", "deprecated", "readOnly", "writeOnly")
_DEEPEST = 40


def type_of(word: Any) -> str:
    """The JSON type that a word means, "" for any or an unknown one.

    >>> type_of("int"), type_of("text"), type_of("Customer")
    ('integer', 'string', '')
    """
    return _TYPES.get(word.lower(), "") if isinstance(word, str) else ""


def is_schema(value: Any) -> bool:
    """Whether a map is a JSON schema of an object, and not a map of its fields."""
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("properties"), Mapping) or value.get("type") == "object"


def clean_schema(value: Any, left: list[str], path: str = "", depth: int = 0) -> dict[str, Any]:
    """Return a valid JSON schema; what is none goes to ``left`` in words.

    Args:
        left: gets a word for each keyword that could not be kept.
        path: of the value in the schema.
    """
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        if value not in ({}, None, True):
            left.append(path or "all of it")
        return {}
    out: dict[str, Any] = {}
    for key, inner in value.items():
        at = f"{path}.{key}" if path else str(key)
        kept = _keyword(key, inner, left, at, depth)
        if kept is not None:
            out[kept[0]] = kept[1]
    _with_required(out, value)
    if value.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def _keyword(key: str, inner: Any, left: list[str], at: str, depth: int) -> tuple[str, Any] | None:
    if key == "type":
        return _type(inner, left, at)
    if key in _MAPS and isinstance(inner, Mapping):
        return key, {str(name): clean_schema(one, left, f"{at}.{name}", depth + 1) for name, one in inner.items()}
    if key == "items" or key in ("not", "contains", "propertyNames"):
        return key, inner if isinstance(inner, bool) else clean_schema(inner, left, at, depth + 1)
    if key == "additionalProperties":
        return key, inner if isinstance(inner, bool) else clean_schema(inner, left, at, depth + 1)
    if key in _LISTS and isinstance(inner, list) and inner:
        return key, [clean_schema(one, left, f"{at}[{index}]", depth + 1) for index, one in enumerate(inner)]
    if key == "required" and isinstance(inner, list):
        return key, list(dict.fromkeys(str(name) for name in inner))
    if key in ("required", "nullable", "optional") and isinstance(inner, bool):
        return None
    if key == "enum" and isinstance(inner, list) and inner:
        return key, _unique(inner)
    if key in ("default", "defaultValue"):
        return "default", inner
    if key in ("const", "examples", "example") or key.startswith("x-"):
        return (
            ("examples", [inner])
            if key == "example"
            else (key, inner if key != "examples" or isinstance(inner, list) else [inner])
        )
    if _fits(key, inner):
        return key, inner
    left.append(at)
    return None


def _fits(key: str, inner: Any) -> bool:
    number = isinstance(inner, (int, float)) and not isinstance(inner, bool)
    if key in _COUNTS:
        return type(inner) is int and inner >= 0
    if key in _BOUNDS:
        return number
    if key == "multipleOf":
        return number and inner > 0
    if key in _TEXTS:
        return isinstance(inner, str)
    if key in _FLAGS:
        return isinstance(inner, bool)
    return key == "pattern" and isinstance(inner, str) and _is_pattern(inner)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return "(?P" not in text and "\\Z" not in text and "\\A" not in text


def _type(inner: Any, left: list[str], at: str) -> tuple[str, Any] | None:
    if isinstance(inner, list):
        words = list(dict.fromkeys(filter(None, (type_of(word) for word in inner))))
        if len(words) == len(inner) and words:
            return "type", words
        left.append(at)
        return None
    word = type_of(inner)
    if word:
        return "type", word
    if not (isinstance(inner, str) and inner.lower() in _TYPES):
        left.append(at)
    return None


def _unique(items: list[Any]) -> list[Any]:
    out: list[Any] = []
    for item in items:
        if not any(type(item) is type(one) and item == one for one in out):
            out.append(item)
    return out


def _with_required(out: dict[str, Any], value: Mapping[str, Any]) -> None:
    """``required: true`` of a field as an entry of the object's list."""
    fields = value.get("properties")
    if not isinstance(fields, Mapping):
        return
    given = out.get("required")
    names = list(given) if isinstance(given, list) else []
    for name, inner in fields.items():
        if isinstance(inner, Mapping) and inner.get("required") is True and str(name) not in names:
            names.append(str(name))
    if names:
        out["required"] = names


def schema_of_fields(node: Node, left: list[str]) -> dict[str, Any]:
    """The schema of an object from a map of its fields, each a schema or the name of a type."""
    return clean_schema({"type": "object", "properties": node.value}, left)


def schema_of_list(node: Node, left: list[str]) -> dict[str, Any]:
    """The schema of an object from a list of fields, each with ``name`` and what a schema says."""
    fields: dict[str, Any] = {}
    for item in node.items():
        if isinstance(item.value, str):
            fields[item.value] = {}
        elif item.is_map and item["name"]:
            value = {key: one for key, one in item.value.items() if key not in ("name", "source", "value", "from")}
            fields[item["name"].text()] = value
        else:
            item.problem("expected a field with a name")
    return clean_schema({"type": "object", "properties": fields}, left)
