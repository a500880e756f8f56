"""How values of a manifest are read wherever they are read: forms of input and output, defaults, times."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from kastra_core.api.meta import JsonValue
from kastra_core.durations import Duration

__all__ = ["USER_INPUT", "duration_text", "input_form", "instant_of", "output_form", "place_text", "with_defaults"]

USER_INPUT = "user-input"
"""In place of a published name: the workflow's input."""


def input_form(value: Any, published: Collection[str]) -> str | None:
    """The published name (or ``user-input``) that an ``input`` stands for; "": it only describes; None: a template."""
    if not isinstance(value, Mapping) or not value or not value.keys() <= {"type", "from", "description"}:
        return None
    source, kind = value.get("from"), value.get("type")
    if isinstance(source, str):
        return source
    if isinstance(kind, str) and "from" not in value:
        return kind if kind == USER_INPUT or kind in published else ""
    return None


def output_form(value: Any) -> Mapping[str, Any] | None:
    """An ``output`` that says what is published or checked; None when it is a template."""
    if not isinstance(value, Mapping) or not value.keys() <= {"type", "schema", "value", "description"}:
        return None
    return value if isinstance(value.get("type"), str) or isinstance(value.get("schema"), Mapping) else None


def with_defaults(schema: Mapping[str, Any], value: JsonValue) -> JsonValue:
    """``value`` with the defaults of the schema's top-level properties; null counts as an object without any."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not (value is None or isinstance(value, dict)):
        return value
    given = value or {}
    missing = {
        name: inner["default"]
        for name, inner in properties.items()
        if name not in given and isinstance(inner, Mapping) and "default" in inner
    }
    return {**given, **missing} if missing else value


def place_text(place: Iterable[str | int], base: str = "") -> str:
    """How a place below ``base`` is written.

    >>> place_text(("items", 2, "price"), "spec.input"), place_text(("items", 2))
    ('spec.input.items[2].price', 'items[2]')
    """
    for part in place:
        base += f"[{part}]" if isinstance(part, int) else f".{part}" if base else str(part)
    return base


def instant_of(text: Any) -> float | None:
    """Unix seconds of an RFC 3339 text, None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo is not None else None


def duration_text(duration: Duration) -> str:
    """A duration for people.

    >>> [duration_text(Duration.read(value)) for value in ("90m", "250ms")]
    ['1h30m', '0.25s']
    """
    plain = duration.plain
    return plain if isinstance(plain, str) else f"{plain:g}s"
