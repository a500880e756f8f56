"""The syntax tree of a CEL expression, and what is said of an expression that has none."""

from __future__ import annotations

import re
from typing import Any

import attrs

from kastra_core.cel.functions import Overload
from kastra_core.cel.types import CelType

__all__ = ["CelSyntaxError", "FaultError", "Node", "function_text", "place_at"]

_OPERATOR = re.compile(r"_?([-+*/%<>=!&|?:]+|\[)_?\]?_?:?_?")


class CelSyntaxError(Exception):
    """An expression cannot be used; line and column count from 1, (1, 1) where no place is known."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message, line, column)
        self.message, self.line, self.column = message, line, column

    def __str__(self) -> str:
        return self.message


class FaultError(Exception):
    """What is wrong at an offset of a source, in characters; :class:`CelSyntaxError` to whoever compiles it."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.message, self.offset = message, offset

    def in_source(self, source: str) -> CelSyntaxError:
        return CelSyntaxError(self.message, *place_at(source, self.offset))


@attrs.define(slots=True, eq=False)
class Node:
    """A node. ``kind`` says what the other fields hold."""

    kind: str
    """const, ident, select, has, call, list, map or fold (what a macro such as ``map`` becomes)."""
    offset: int = 0
    """In the source, in characters: of an operator, of a bracket that opens, of the point before a field."""
    value: Any = None
    """const: the value. ident: the name. select, has: the field; once checked, its name in JSON. call: the function;
    once checked, with its namespace ("sets.contains"), ``target`` being None then."""
    target: Node | None = None
    """select, has: operand; call: the receiver, None for a global function."""
    items: tuple[Any, ...] = ()
    """call: arguments; list: items; map: (key, value) pairs;
    fold: range, accumulator's first value, condition, step, result."""
    names: tuple[str, ...] = ("", "")
    """fold: variable of the item (of a map: the key), variable of the accumulator; of a macro with two variables the
    first one (index or key), the accumulator, the second one (item or value)."""
    optional: frozenset[int] = frozenset()
    """list, map: numbers of the items that are left out when they are absent: ``[?x]``."""
    type: CelType | None = None
    """Of the value, once checked."""
    overloads: tuple[Overload, ...] = ()
    """call, once checked: what it may mean; more than one where a type is only known when values are there."""


def place_at(source: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, from 1."""
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)


def function_text(name: str) -> str:
    """How a message writes a function: an operator as its sign.

    >>> function_text("_+_"), function_text("@in"), function_text("size")
    ("'+'", "'in'", "'size'")
    """
    found = _OPERATOR.fullmatch(name)
    return f"'{name.removeprefix('@')}'" if found is None else f"'{'[]' if found[1] == '[' else found[1]}'"
