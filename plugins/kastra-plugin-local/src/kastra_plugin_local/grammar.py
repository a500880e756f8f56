"""JSON schemas for constrained answers: bounded, so that a small model comes to an end, and compact.

A grammar makes the JSON valid, not right. llguidance ignores what it does not support, and the runtime drops a
grammar that does not compile without a word; so every constrained answer is checked against the schema afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from kastra_core.protocols.model import ToolDefinition

__all__ = ["answer_schema", "bounded", "calls_schema", "grammar_of", "problem_with", "with_refs_under"]

MAX_STRING_CHARS = 1000
MAX_ARRAY_ITEMS = 32

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)


def _each(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a copy of a schema with ``change`` applied to it and to all schemas in it, innermost first."""
    if not isinstance(schema, Mapping):
        return schema  # true and false are schemas too
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, Mapping):
            out[key] = {name: _each(inner, change) for name, inner in value.items()}
        elif key in _LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            out[key] = [_each(inner, change) for inner in value]
        elif key in _SINGLE:
            out[key] = _each(value, change)
        else:
            out[key] = value
    return change(out)


def _has_type(schema: Mapping[str, Any], name: str) -> bool:
    kind = schema.get("type")
    return kind == name or (isinstance(kind, Sequence) and not isinstance(kind, str) and name in kind)


def bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with an upper bound on every string and array, and no properties beside the named ones."""

    def change(part: dict[str, Any]) -> dict[str, Any]:
        fixed = "const" in part or "enum" in part
        if _has_type(part, "string") and not fixed and not {"pattern", "format"} & part.keys():
            part.setdefault("maxLength", max(MAX_STRING_CHARS, part.get("minLength", 0)))
        if _has_type(part, "array") and not fixed:
            part.setdefault("maxItems", max(MAX_ARRAY_ITEMS, part.get("minItems", 0)))
        closed = {"additionalProperties", "unevaluatedProperties", "patternProperties", "allOf", "$ref"}
        if part.get("properties") and not closed & part.keys():
            part["additionalProperties"] = False
        return part

    out: dict[str, Any] = _each(schema, change)
    return out


def with_refs_under(schema: Mapping[str, Any], pointer: str) -> dict[str, Any]:
    """Return the schema as it must read when it is moved from the root to ``pointer`` ("#/$defs/t0")."""

    def change(part: dict[str, Any]) -> dict[str, Any]:
        ref = part.get("$ref")
        if isinstance(ref, str) and ref.startswith("#") and (ref == "#" or ref.startswith("#/")):
            part["$ref"] = pointer + ref[1:]
        for key in ("$id", "$schema"):
            part.pop(key, None)
        return part

    out: dict[str, Any] = _each(schema, change)
    return out


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def calls_schema(tools: Sequence[ToolDefinition], answer: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a schema for one call of one of ``tools``, or for ``{"answer": ...}`` when ``answer`` is given."""
    choices: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for index, tool in enumerate(tools):
        pointer = f"#/$defs/t{index}"
        definitions[f"t{index}"] = with_refs_under(tool.parameters, pointer)
        choices.append(_object({"name": {"const": tool.name}, "arguments": {"$ref": pointer}}))
    if answer is not None:
        definitions["answer"] = with_refs_under(answer, "#/$defs/answer")
        choices.append(_object({"answer": {"$ref": "#/$defs/answer"}}))
    return {"anyOf": choices, "$defs": definitions}


def answer_schema() -> dict[str, Any]:
    """Return the schema of a free answer: some text."""
    return {"type": "string", "minLength": 1, "maxLength": 2 * MAX_STRING_CHARS}


def grammar_of(schema: Mapping[str, Any]) -> str:
    """Return an llguidance grammar for JSON without spaces that fits the schema (half the tokens of spaced JSON)."""
    options = {
        "whitespace_flexible": False,
        "item_separator": ",",
        "key_separator": ":",
        "coerce_one_of": True,
        "lenient": True,
    }
    return "%llguidance {}\nstart: %json " + orjson.dumps({**bounded(schema), "x-guidance": options}).decode()


def problem_with(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return why a value does not fit a schema, or None when it does.

    Raises:
        ValueError: the schema itself is wrong, or refers to another document (nothing is fetched).
    """
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
    except jsonschema_rs.ValidationError as err:
        place = "/".join(str(step) for step in err.instance_path)
        raise ValueError(f"{place}: {err.message}" if place else err.message) from err
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as err:
        place = "/".join(str(step) for step in err.instance_path)
        return f"{place}: {err.message}" if place else str(err.message)
    return None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema")
