"""JSON Schema: is it one, and does a value fit. The only importer of the schema library."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue

__all__ = ["misfits", "schema_fault"]

_MAX_MESSAGE = 300
_MAX_MISFITS = 20


def schema_fault(schema: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what is wrong with a schema as (path below it, message), None when it is a valid JSON Schema.

    References to other documents are wrong: nothing is ever fetched for them.
    """
    try:
        _validator(orjson.dumps(schema))
    except jsonschema_rs.ValidationError as error:
        return _path(error.instance_path), _cut(error.message)
    except ValueError as error:
        return "", _cut(str(error))
    return None


def misfits(schema: JsonObject, value: JsonValue, *, whole: str = "") -> list[str]:
    """Return why ``value`` does not fit ``schema``, one line for each place; empty when it does.

    ``whole`` names the value itself where a line is about all of it.
    """
    lines = []
    for error in _validator(orjson.dumps(schema)).iter_errors(value):
        lines.append(_line(error, whole))
        if len(lines) == _MAX_MISFITS:
            lines.append("and more")
            break
    return lines


def _line(error: jsonschema_rs.ValidationError, whole: str) -> str:
    place = _path(error.instance_path)
    detail = error.kind.as_dict()
    if error.kind.name == "required":
        missing = str(detail["property"])
        return f"{place}.{missing}: is required" if place else f"{missing}: is required"
    if error.kind.name == "additionalProperties":
        known = ", ".join(repr(name) for name in detail["unexpected"])
        text = f"unknown: {known}"
    else:
        text = _cut(error.message)
    place = place or whole
    return f"{place}: {text}" if place else text


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    return jsonschema_rs.validator_for(orjson.loads(schema), retriever=_refuse)


def _refuse(uri: str) -> Any:
    raise ValueError("a schema may refer to itself only ('#/...')")


def _path(parts: Any) -> str:
    out = ""
    for part in parts:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
