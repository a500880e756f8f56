"""Schemas of definitions as structural ones: what Kastra's definitions do not know is taken out, and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["structural"]

_WORDS = {
    *("additionalProperties", "allOf", "anyOf", "default", "description", "enum", "example", "externalDocs", "format"),
    *(
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
    ),
    *("exclusiveMaximum", "exclusiveMinimum", "multipleOf", "not", "nullable", "oneOf", "pattern", "properties"),
    *("required", "title", "type", "uniqueItems"),
}
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
Path = tuple[str | int, ...]


def structural(schema: Any, path: Path = ()) -> tuple[Any, list[tuple[Path, str]]]:
    """Return (schema, what was taken out or changed: path and reason).

    >>> structural({"type": ["string", "null"]})[0]
    {'type': 'string', 'nullable': True}
    """
    lost: list[tuple[Path, str]] = []
    if not isinstance(schema, Mapping):
        return schema, lost
    out: dict[str, Any] = {}
    for key, value in schema.items():
        here = (*path, key)
        if key == "properties" and isinstance(value, Mapping):
            out[key] = {}
            for name, one in value.items():
                out[key][name], more = structural(one, (*here, name))
                lost += more
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            out[key], more = structural(value, here)
            lost += more
        elif key == "type":
            _type(value, out, here, lost)
        elif key in ("exclusiveMinimum", "exclusiveMaximum") and not isinstance(value, bool):
            out[key] = True
            out["minimum" if key == "exclusiveMinimum" else "maximum"] = value
        elif key == "uniqueItems" and value is True:
            lost.append((here, "a definition has no uniqueItems: x-kubernetes-list-type set does it for plain values"))
        elif key in _WORDS or key.startswith("x-"):
            out[key] = value
        else:
            lost.append((here, f"definitions have no {key}: express it as a rule (x-kubernetes-validations)"))
    if "type" not in out and "x-kubernetes-preserve-unknown-fields" not in out:
        if "properties" in out:
            out["type"] = "object"
        elif "items" in out:
            out["type"] = "array"
        elif not out.get("x-kubernetes-int-or-string"):
            out["x-kubernetes-preserve-unknown-fields"] = True
    if out.get("additionalProperties") is False:
        del out["additionalProperties"]  # what a structural schema does not name is dropped anyway
    if out.get("additionalProperties") is True and "properties" in out:
        del out["additionalProperties"]
        out["x-kubernetes-preserve-unknown-fields"] = True
    if (
        out.get("type") == "object"
        and path
        and not any(
            key in out for key in ("properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields")
        )
    ):
        out["x-kubernetes-preserve-unknown-fields"] = True
    return out, lost


def _type(value: Any, out: dict[str, Any], here: Path, lost: list[tuple[Path, str]]) -> None:
    words = value if isinstance(value, list) else [value]
    plain = [word for word in words if word in _TYPES]
    if len(plain) == 1:
        out["type"] = plain[0]
        if "null" in words:
            out["nullable"] = True
        return
    if not plain:
        lost.append((here, f"definitions have no type {value!r}: any value is taken"))
    out["x-kubernetes-preserve-unknown-fields"] = True
