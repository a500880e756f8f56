"""The syntax tree of a CEL expression, as the library's own parser makes it.

The library shows a parsed expression only in its serialized form (``cel.expr.ParsedExpr``); what is read here are the
fields of ``google/api/expr/v1alpha1/syntax.proto``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import attrs

from kastra_plugin_workflow.cel_hints import hint_for_function, hint_for_syntax

__all__ = ["CelSyntaxError", "Node", "check", "offsets", "parse"]

_MESSAGE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_EXPECTING = re.compile(r"(?:mismatched|extraneous) input '(.*)' expecting ", re.DOTALL)
_NO_WAY = re.compile(r"no viable alternative at input '(.*)'", re.DOTALL)
_TOKEN = re.compile(r"token recognition error at: '(.*)'", re.DOTALL)
_OVERLOAD = re.compile(r"found no matching overload for '(.*?)' applied to '\((.*?)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '(.*?)'")
_OPERATOR = re.compile(r"_?([-+*/%<>=!&|?:]+|\[)_?\]?_?:?_?")
_MIXING = frozenset({"_+_", "_-_", "_*_", "_/_", "_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_", "_?_:_"})
"""Operators that take integers and doubles together here; the library takes them so only where it knows no types."""
_DEEP = "it is nested too deeply, or has more than about 30 operators in a row"
_DEEP_HINT = "; use parentheses to make groups, or compute a part in a step with `set`"


class CelSyntaxError(Exception):
    """The library refuses an expression; line and column count from 1, (1, 1) where it names none."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message, line, column)
        self.message, self.line, self.column = message, line, column


@attrs.define(slots=True)
class Node:
    """A node. ``kind`` says what the other fields hold."""

    kind: str
    """const, ident, select, has, call, list, map or fold (what a macro such as ``map`` becomes)."""
    id: int = 0
    value: Any = None
    """const: the value; uint and bytes are refused. ident: the name. select, has: the field. call: the function."""
    target: Node | None = None
    """select, has: operand; call: the receiver, None for a global function."""
    items: tuple[Any, ...] = ()
    """call: arguments; list: items; map: (key, value) pairs;
    fold: range, accumulator's first value, condition, step, result."""
    names: tuple[str, str] = ("", "")
    """fold: variable of the item, variable of the accumulator."""


def parse(source: str) -> tuple[Node, bytes]:
    """Return the tree, and what :func:`offsets` reads.

    Raises:
        CelSyntaxError
    """
    _look_at_characters(source)
    try:
        data = _environment(()).compile(source, disable_check=True).serialize()
    except RuntimeError as error:
        raise _readable(str(error), source) from error
    parsed = dict(_fields(_only(data, 2)))
    return _node(parsed[2]), parsed[3]


def _look_at_characters(source: str) -> None:
    """The library takes UTF-8, to the first NUL."""
    for offset, character in enumerate(source):
        if character == "\x00" or "\ud800" <= character <= "\udfff":
            line = source.count("\n", 0, offset) + 1
            column = offset - source.rfind("\n", 0, offset)
            raise CelSyntaxError(f"the character {character!r} cannot stand here", line, column)


def offsets(info: bytes) -> dict[int, int]:
    """Id of a node -> its offset in the source, in characters."""
    found: dict[int, int] = {}
    for number, entry in _fields(info):
        if number == 4:
            pair = dict(_fields(entry))
            found[pair.get(1, 0)] = pair.get(2, 0)
    return found


def check(source: str, names: tuple[str, ...]) -> str:
    """Return the type of the value, as far as it is known ("bool", "list", "dyn"), with ``names`` declared.

    Raises:
        CelSyntaxError
    """
    try:
        kind = _environment(names).compile(source).return_type()
    except RuntimeError as error:
        if _only_mixes_numbers(str(error)):
            return "dyn"
        raise _readable(str(error), source) from error
    return str(kind.name()).partition("<")[0].lower()


def _only_mixes_numbers(text: str) -> bool:
    """Whether all that is wrong is that an operator gets integers and doubles."""
    messages = [found[3] for found in _MESSAGE.finditer(text)]
    return bool(messages) and all(
        (found := _OVERLOAD.match(message)) is not None
        and found[1] in _MIXING
        and set(found[2].removeprefix("bool, ").split(", ")) == {"int", "double"}
        for message in messages
    )


@lru_cache(maxsize=256)
def _environment(names: tuple[str, ...]) -> Any:
    from cel_expr_python import cel

    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))


# ------------------------------------------------------------------------------------------------ protocol buffers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at, end = 0, len(data)
    while at < end:
        tag = data[at]  # no message here has a field beyond 15
        at += 1
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 1:
            yield number, data[at : at + 8]
            at += 8
        else:
            size, at = _varint(data, at)
            yield number, data[at : at + size]
            at += size


def _only(data: bytes, wanted: int) -> bytes:
    return next((value for number, value in _fields(data) if number == wanted), b"")


def _node(data: bytes) -> Node:
    ident, body = 0, (0, b"")
    for number, value in _fields(data):
        if number == 2:
            ident = value
        else:
            body = (number, value)
    number, inner = body
    node: Node = _READERS[number](inner)
    node.id = ident
    return node


def _const(data: bytes) -> Node:
    for number, value in _fields(data):
        if number == 2:
            return Node("const", value=bool(value))
        if number == 3:
            return Node("const", value=value - (1 << 64) if value >= 1 << 63 else value)
        if number == 4:
            raise CelSyntaxError("JSON has no unsigned integers; write the number without 'u'")
        if number == 5:
            return Node("const", value=struct.unpack("<d", value)[0])
        if number == 6:
            return Node("const", value=value.decode())
        if number == 7:
            return Node("const", value=bytes(value))
    return Node("const")


def _ident(data: bytes) -> Node:
    return Node("ident", value=_only(data, 1).decode().removeprefix("."))


def _select(data: bytes) -> Node:
    fields = dict(_fields(data))
    return Node("has" if fields.get(3) else "select", value=fields[2].decode(), target=_node(fields[1]))


def _call(data: bytes) -> Node:
    target, name, items = None, "", []
    for number, value in _fields(data):
        if number == 1:
            target = _node(value)
        elif number == 2:
            name = value.decode()
        else:
            items.append(_node(value))
    return Node("call", value=name, target=target, items=tuple(items))


def _list(data: bytes) -> Node:
    return Node("list", items=tuple(_node(value) for number, value in _fields(data) if number == 1))


def _map(data: bytes) -> Node:
    pairs = []
    for number, value in _fields(data):
        if number == 1:
            raise CelSyntaxError(f"'{value.decode()}{{...}}' is no JSON; write an object as {{'key': value}}")
        entry = dict(_fields(value))
        pairs.append((_node(entry[3]), _node(entry[4])))
    return Node("map", items=tuple(pairs))


def _fold(data: bytes) -> Node:
    fields = dict(_fields(data))
    if fields.get(8):
        raise CelSyntaxError("macros with two variables are not known")
    parts = tuple(_node(fields[number]) for number in (2, 4, 5, 6, 7))
    return Node("fold", items=parts, names=(fields[1].decode(), fields[3].decode()))


_READERS: dict[int, Any] = {3: _const, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _map, 9: _fold}


# ------------------------------------------------------------------------------------------------ messages


def _readable(text: str, source: str) -> CelSyntaxError:
    found = _MESSAGE.search(text)
    # A fault without a place has -1, or that as an unsigned number.
    if found is None or not 1 <= int(found[1]) <= source.count("\n") + 1:
        if "ecursion" in text:
            return CelSyntaxError(_DEEP + _DEEP_HINT)
        first = (found[3] if found else text.partition("\n")[0]).removesuffix("[INVALID_ARGUMENT]").strip()
        return CelSyntaxError(first.partition(": ")[2] or first)
    line, column, message = int(found[1]), max(1, int(found[2])), found[3].removesuffix(" [INVALID_ARGUMENT]")
    return CelSyntaxError(_words(message.removeprefix("Syntax error: "), source), line, column)


def _words(message: str, source: str) -> str:
    for pattern in (_EXPECTING, _NO_WAY):
        if found := pattern.match(message):
            token = found[1]
            if "<EOF>" in token:
                return f"the expression ends too early{hint_for_syntax(source)}"
            return f"{token.strip()[:40]!r} does not fit here{hint_for_syntax(source)}"
    if found := _TOKEN.match(message):
        token = found[1]
        if token.startswith(("'", '"')):
            return "a text is not closed"
        return f"{token.strip()[:40]!r} does not fit here{hint_for_syntax(source)}"
    if found := _OVERLOAD.match(message):
        return f"{_function(found[1])} does not take ({found[2]})"
    if found := _UNDECLARED.match(message):
        return f"there is no function {found[1]!r}{hint_for_function(found[1])}"
    return message


def _function(name: str) -> str:
    found = _OPERATOR.fullmatch(name)
    return f"'{name}'" if found is None else f"'{'[]' if found[1] == '[' else found[1]}'"
