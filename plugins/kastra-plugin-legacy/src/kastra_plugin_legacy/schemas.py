"""JSON schemas of arguments as older formats write them: a schema, its properties alone, or a list of parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Node

__all__ = ["object_schema", "schema_of_parameters"]

_SCHEMA_WORDS = ("$ref", "$schema", "additionalProperties", "allOf", "anyOf", "oneOf", "properties", "type")


def object_schema(node: Node) -> tuple[dict[str, Any] | None, str]:
    """Return (schema of an object, how it was changed or ""); None when nothing like a schema stands there."""
    value = node.value
    if isinstance(value, list):
        schema = schema_of_parameters(value)
        return schema, "a list of parameters, as a JSON schema" if schema is not None else ""
    if not isinstance(value, dict):
        return None, ""
    if not value:
        return {"type": "object"}, "any object"
    if _is_schema(value):
        schema = copy.deepcopy(value)
        if "type" not in schema:
            return {"type": "object", **schema}, "arguments are an object"
        return schema, ""
    return _of_properties(value), "the properties, as a JSON schema"


def _is_schema(value: Mapping[str, Any]) -> bool:
    if isinstance(value.get("properties"), Mapping) and all(
        isinstance(one, Mapping) for one in value["properties"].values()
    ):
        return True
    return isinstance(value.get("type"), (str, list)) or any(
        word in value and not isinstance(value[word], Mapping) for word in _SCHEMA_WORDS
    )


def _of_properties(value: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for name, one in value.items():
        if isinstance(one, Mapping):
            plain = dict(one)
            if plain.pop("required", None) is True:
                required.append(name)
            elif "required" in one and not isinstance(one["required"], bool):
                plain["required"] = one["required"]
            properties[name] = _default(plain)
        elif isinstance(one, str) and one in ("string", "number", "integer", "boolean", "object", "array"):
            properties[name] = {"type": one}
        else:
            properties[name] = {"description": one} if isinstance(one, str) else {}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def _default(schema: dict[str, Any]) -> dict[str, Any]:
    if "defaultValue" in schema and "default" not in schema:
        schema["default"] = schema.pop("defaultValue")
    if schema.get("type") == "any":
        del schema["type"]
    return schema


def schema_of_parameters(value: list[Any]) -> dict[str, Any] | None:
    """Return the schema of a list of ``{name, type, description, required, default}``; None when it is none."""
    properties: dict[str, Any] = {}
    for one in value:
        if isinstance(one, str):
            properties[one] = {}
        elif isinstance(one, Mapping) and isinstance(one.get("name"), str):
            properties[one["name"]] = {key: item for key, item in one.items() if key != "name"}
        else:
            return None
    return _of_properties(properties)
