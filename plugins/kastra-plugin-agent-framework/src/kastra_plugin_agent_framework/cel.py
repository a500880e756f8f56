"""Pieces of CEL with what is known of their values, and how they are put together so that blank values do no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from kastra_core.migration import CEL_RESERVED, cel_literal

__all__ = [
    "ANY",
    "BLANK",
    "BOOLEAN",
    "NUMBER",
    "RECORD",
    "TABLE",
    "TEXT",
    "Cel",
    "choose",
    "literal",
    "member",
    "wrapped",
]

TEXT, NUMBER, BOOLEAN, TABLE, RECORD, BLANK, ANY = "text", "number", "boolean", "table", "record", "blank", "any"


@attrs.frozen
class Cel:
    """An expression."""

    text: str
    types: frozenset[str] = frozenset({ANY})
    """What its value can be: TEXT, NUMBER, BOOLEAN, TABLE, RECORD, BLANK (null); ANY says nothing."""
    atom: bool = False
    """A path or a literal: needs no parentheses, and may be written twice."""
    constant: bool = False
    """A literal; ``value`` is it."""
    value: Any = None

    @property
    def may_be_blank(self) -> bool:
        return bool(self.types & {BLANK, ANY})

    def only(self, *types: str) -> bool:
        """Whether it can be nothing else."""
        return self.types <= set(types)

    @property
    def grouped(self) -> str:
        """In parentheses where something may follow."""
        return self.text if self.atom else f"({self.text})"


def literal(value: Any) -> Cel:
    """A JSON scalar as an expression."""
    if value is None:
        return Cel("null", frozenset({BLANK}), True, True, None)
    if isinstance(value, bool):
        return Cel("true" if value else "false", frozenset({BOOLEAN}), True, True, value)
    if isinstance(value, (int, float)):
        return Cel(repr(value), frozenset({NUMBER}), value >= 0, True, value)
    return Cel(cel_literal(str(value)), frozenset({TEXT}), True, True, str(value))


def wrapped(value: Cel, names: Callable[[], str], make: Callable[[Cel], Cel]) -> Cel:
    """What ``make`` makes of a value that it may write several times."""
    if value.atom:
        return make(value)
    name = names()
    inner = make(Cel(name, value.types, True))
    return Cel(f"[dyn({value.text})].map({name}, {inner.text})[0]", inner.types, True)


def choose(condition: str, first: Cel, second: Cel) -> Cel:
    """``condition ? first : second``; CEL wants both to be of one type, so that of others is hidden."""
    types = first.types | second.types
    left, right = first, second
    if not (first.types == second.types and len(types) == 1 and ANY not in types):
        left, right = _untyped(first), _untyped(second)
    return Cel(f"{condition} ? {left.grouped} : {right.grouped}", types)


def _untyped(value: Cel) -> Cel:
    if value.atom and not value.constant:
        return value
    return attrs.evolve(value, text=f"dyn({value.text})", atom=True, constant=False)


def member(of: Cel, names: tuple[str, ...], fresh: Callable[[], str], default: Cel | None = None) -> Cel:
    """A field, and a field of that, and so on: ``default`` (blank) where there is none."""
    default = default or literal(None)

    def guarded(root: Cel) -> Cel:
        conditions: list[str] = []
        place = root.text
        blank = root.may_be_blank
        for name in names:
            if blank:
                conditions.append(f"{place} != null")
            inner = f"{place}.{name}" if _plain(name) else f"{place}[{cel_literal(name)}]"
            conditions.append(f"has({inner})" if _plain(name) else f"{cel_literal(name)} in {place}")
            place, blank = inner, True
        if default.value is not None:
            conditions.append(f"{place} != null")
        return choose(" && ".join(conditions), Cel(place, frozenset({ANY}), True), default)

    return wrapped(of, fresh, guarded)


def _plain(name: str) -> bool:
    return name.isascii() and name.isidentifier() and name not in CEL_RESERVED
