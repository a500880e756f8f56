"""Expressions of workflows for what data edges carry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import CEL_RESERVED, cel_literal, cel_member, escape_braces, rewrite
from kastra_plugin_agentspec.ports import PLACEHOLDER, Port

__all__ = [
    "Value",
    "chosen",
    "converted",
    "place_of",
    "prompt",
    "step_output",
    "template",
    "was_carried_out",
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBERS = ("integer", "number")


@attrs.frozen
class Value:
    """A value in expressions."""

    text: str
    """CEL, to be put into braces."""
    guard: str = ""
    """CEL that is true where there is such a value; "" where there always is."""
    schema: JsonObject = attrs.field(factory=dict, eq=False)


def step_output(step: str) -> str:
    """The output of a step."""
    return f"{cel_member('steps', step)}.output"


def was_carried_out(step: str) -> str:
    """Whether a step has an output.

    >>> was_carried_out("load"), was_carried_out("load-it")
    ('has(steps.load)', '"load-it" in steps')
    """
    plain = _NAME.fullmatch(step) is not None and step not in CEL_RESERVED
    return f"has(steps.{step})" if plain else f"{cel_literal(step)} in steps"


def template(value: Value, default: Any = None, *, has_default: bool = False) -> Any:
    """A template that gives a value, the default where there is none."""
    if not value.text:
        return _literal_template(default) if has_default else None
    return f"{{{{ {chosen(value, default)} }}}}"


def chosen(value: Value, default: Any = None) -> str:
    """An expression that gives a value, the default where there is none."""
    return f"{value.guard} ? {value.text} : {cel_literal(default)}" if value.guard else value.text


def _literal_template(value: Any) -> Any:
    if isinstance(value, str):
        return escape_braces(value)
    if isinstance(value, dict):
        return {key: _literal_template(item) for key, item in value.items()}
    return [_literal_template(item) for item in value] if isinstance(value, list) else value


def place_of(values: Sequence[Value]) -> Value:
    """The first value that there is, of several."""
    if not values:
        return Value("")
    out = values[-1]
    for value in reversed(values[:-1]):
        text = f"{value.guard} ? {value.text} : {_group(out.text)}"
        guard = f"({value.guard} || {out.guard})" if out.guard and value.guard else ""
        out = value if not value.guard else Value(text if not guard else f"({text})", guard, value.schema)
    return out


def _group(text: str) -> str:
    return f"({text})" if " ? " in text and not text.startswith("(") else text


def converted(value: Value, wanted: Port) -> Value:
    """A value as the type of the input that it is connected to: numbers, booleans and texts are converted."""
    have, want = value.schema.get("type"), wanted.type
    if not value.text or not isinstance(have, str) or have == want:
        return value
    inner = _group(value.text) if " ? " not in value.text else f"({value.text})"
    if want == "string" and have in ("boolean", *_NUMBERS):
        return attrs.evolve(value, text=f"string({inner})")
    if want in _NUMBERS and have == "boolean":
        return attrs.evolve(value, text=f"({inner} ? 1 : 0)")
    if want == "boolean" and have in _NUMBERS:
        return attrs.evolve(value, text=f"({inner} != 0)")
    if want == "integer" and have == "number":
        return attrs.evolve(value, text=f"int({inner})")
    return value


def prompt(text: str, values: dict[str, Any]) -> str:
    """A text with placeholders as a template.

    Args:
        values: name -> expression; a name that is not there stays as text.
    """
    return rewrite(text, PLACEHOLDER, lambda found: values.get(found[1]))
