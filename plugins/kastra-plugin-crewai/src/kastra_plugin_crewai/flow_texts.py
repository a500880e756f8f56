"""Texts of flows with ``${...}`` in them as templates of workflows, and values as CEL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kastra_core.cel.hints import TEXT_LITERAL
from kastra_core.migration import cel_literal, escape_braces
from kastra_plugin_crewai.flow_expressions import (
    InvalidExpressionError,
    NoCounterpartError,
    Scope,
    translate,
)

__all__ = ["sources", "template", "text_of"]

_SCAN = re.compile(rf"(?P<text>{TEXT_LITERAL})|(?P<comment>//[^\n]*)|[{{}}]", re.DOTALL)


def _segments(text: str) -> Iterator[tuple[str, str | None]]:
    """(text, the expression after it); the last one without an expression."""
    at = 0
    while (start := text.find("${", at)) != -1:
        end = _close(text, start + 2)
        source = text[start + 2 : end].strip()
        if not source:
            raise InvalidExpressionError("an expression ${} is empty")
        yield text[at:start], source
        at = end + 1
    yield text[at:], None


def _close(text: str, at: int) -> int:
    depth = 1
    while (found := _SCAN.search(text, at)) is not None:
        at = found.end()
        if found["text"] or found["comment"]:
            continue
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.start()
    raise InvalidExpressionError("an expression ${...} is not closed")


def sources(value: Any) -> Iterator[str]:
    """The expressions in the texts of a JSON value; none of a text that cannot be read."""
    if isinstance(value, str):
        try:
            yield from (source for _, source in _segments(value) if source is not None)
        except InvalidExpressionError:
            return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from sources(item)
    elif isinstance(value, list):
        for item in value:
            yield from sources(item)


def text_of(text: str, scope: Scope) -> str:
    """Return a template of a workflow for a text with ``${...}``.

    Blanks around a single expression are left out, as CrewAI does, so that its value keeps its type.

    Raises:
        InvalidExpressionError, NoCounterpartError
    """
    parts = list(_segments(text))
    if len(parts) == 2 and not parts[0][0].strip() and not parts[1][0].strip():
        return f"{{{{ {translate(str(parts[0][1]), scope)} }}}}"
    out = ""
    for literal, source in parts:
        out += escape_braces(literal)
        if source is None:
            continue
        if out.endswith("$"):
            out = f'{out[:-1]}{{{{ "$" }}}}'
        out += f"{{{{ {translate(source, scope)} }}}}"
    return out


def template(value: Any, scope: Scope) -> Any:
    """Return a template of a workflow for JSON whose texts may hold ``${...}``.

    Raises:
        InvalidExpressionError, NoCounterpartError
    """
    if isinstance(value, str):
        return text_of(value, scope)
    if isinstance(value, list):
        return [template(item, scope) for item in value]
    if isinstance(value, Mapping):
        if any("{{" in key for key in value):
            return f"{{{{ {_as_cel(value, scope)} }}}}"
        return {key: template(item, scope) for key, item in value.items()}
    return value


def _as_cel(value: Any, scope: Scope) -> str:
    """CEL of a template, for objects whose keys no template can write."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{cel_literal(key)}: {_as_cel(item, scope)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_as_cel(item, scope) for item in value) + "]"
    if not isinstance(value, str):
        return cel_literal(value)
    parts = list(_segments(value))
    if len(parts) == 2 and not parts[0][0].strip() and not parts[1][0].strip():
        return f"({translate(str(parts[0][1]), scope)})"
    if len(parts) == 1:
        return cel_literal(value)
    raise NoCounterpartError("a text with values among fields whose names have braces")
