"""The syntax tree of a CEL expression, as the parser of cel-expr-python makes it.

That library shows a parsed expression only in its serialized form (``cel.expr.ParsedExpr``); what is read here are the
fields of ``google/api/expr/v1alpha1/syntax.proto``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import attrs

from kastra_core.cel.dialect import JSON_DIALECT, Dialect
from kastra_core.cel.functions import Overload
from kastra_core.cel.hints import hint_for_function, hint_for_syntax
from kastra_core.cel.types import CelType
from kastra_core.cel.values import Uint

__all__ = ["CelSyntaxError", "Node", "check", "offsets", "parse"]

_LONGEST = 100_000
"""Characters of an expression; the parser's own limit, and that of cel-go."""
_MESSAGE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_EXPECTING = re.compile(r"(?:mismatched|extraneous) input '(.*)' expecting ", re.DOTALL)
_NO_WAY = re.compile(r"no viable alternative at input '(.*)'", re.DOTALL)
_TOKEN = re.compile(r"token recognition error at: '(.*)'", re.DOTALL)
_OVERLOAD = re.compile(r"found no matching overload for '(.*?)' applied to '\((.*?)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '(.*?)'")
_OPERATOR = re.compile(r"_?([-+*/%<>=!&|?:]+|\[)_?\]?_?:?_?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MIXING = frozenset({"_+_", "_-_", "_*_", "_/_", "_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_", "_?_:_"})
"""Operators that take integers and doubles together here; the library takes them so only where it knows no types."""
_DEEP = "it is nested too deeply, or has more than about 30 operators in a row"


class CelSyntaxError(Exception):
    """An expression cannot be used; line and column count from 1, (1, 1) where no place is known."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message, line, column)
        self.message, self.line, self.column = message, line, column

    def __str__(self) -> str:
        return self.message


@attrs.define(slots=True, eq=False)
class Node:
    """A node. ``kind`` says what the other fields hold."""

    kind: str
    """const, ident, select, has, call, list, map or fold (what a macro such as ``map`` becomes)."""
    id: int = 0
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


def parse(source: str, dialect: Dialect = JSON_DIALECT) -> tuple[Node, bytes]:
    """Return the tree, and what :func:`offsets` reads.

    Raises:
        CelSyntaxError
    """
    _look_at_characters(source)
    if len(source) > _LONGEST:
        raise CelSyntaxError(f"it has {len(source)} characters, more than {_LONGEST}")
    try:
        data = _environment((), dialect.optionals, dialect.bindings).compile(source, disable_check=True).serialize()
    except RuntimeError as error:
        raise _readable(str(error), source, dialect) from error
    parsed = dict(_fields(_only(data, 2)))
    return _Reader(dialect.typed, parsed[3], source).node(parsed[2]), parsed[3]


def _look_at_characters(source: str) -> None:
    """The library takes UTF-8, to the first NUL."""
    for offset, character in enumerate(source):
        if character == "\x00" or "\ud800" <= character <= "\udfff":
            raise CelSyntaxError(f"the character {character!r} cannot stand here", *place_at(source, offset))


def place_at(source: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, from 1."""
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)


def offsets(info: bytes) -> dict[int, int]:
    """Id of a node -> its offset in the source, in characters."""
    found: dict[int, int] = {}
    for number, entry in _fields(info):
        if number == 4:
            pair = dict(_fields(entry))
            found[pair.get(1, 0)] = pair.get(2, 0)
    return found


def check(source: str, names: tuple[str, ...], dialect: Dialect = JSON_DIALECT) -> str:
    """Return the type of the value, as far as it is known ("bool", "list", "dyn"), with ``names`` declared.

    It is the parser's own checker; for dialects that have no types.

    Raises:
        CelSyntaxError
    """
    try:
        kind = _environment(names, dialect.optionals, dialect.bindings).compile(source).return_type()
    except RuntimeError as error:
        if _only_mixes_numbers(str(error)):
            return "dyn"
        raise _readable(str(error), source, dialect) from error
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
def _environment(names: tuple[str, ...], optionals: bool, bindings: bool) -> Any:
    from cel_expr_python import cel

    extensions: list[Any] = []
    if optionals:
        from cel_expr_python.ext import ext_optional

        extensions.append(ext_optional.ExtOptional())
    if bindings:
        from cel_expr_python.ext import ext_bindings

        extensions.append(ext_bindings.ExtBindings())
    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=extensions)


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


class _Reader:
    """Reads nodes. ``typed``: uint, bytes and what else is CEL's but not JSON's may occur."""

    def __init__(self, typed: bool, info: bytes, source: str) -> None:
        self._typed, self._info, self._source = typed, info, source
        self._readers: dict[int, Any] = {
            3: self._const,
            4: _ident,
            5: self._select,
            6: self._call,
            7: self._list,
            8: self._map,
            9: self._fold,
        }

    def node(self, data: bytes) -> Node:
        ident, body = 0, (0, b"")
        for number, value in _fields(data):
            if number == 2:
                ident = value
            else:
                body = (number, value)
        number, inner = body
        try:
            node: Node = self._readers[number](inner)
            node.id = ident
            if node.target is not None and node.kind == "call" and self._typed and 2 <= len(node.items) <= 4:
                from kastra_core.cel.macros import expanded

                node = expanded(node)
        except FaultError as fault:
            place = place_at(self._source, offsets(self._info).get(ident, 0)) if self._typed else ()
            raise CelSyntaxError(fault.message, *place) from None
        return node

    def _const(self, data: bytes) -> Node:
        for number, value in _fields(data):
            if number == 2:
                return Node("const", value=bool(value))
            if number == 3:
                return Node("const", value=value - (1 << 64) if value >= 1 << 63 else value)
            if number == 4:
                if not self._typed:
                    raise FaultError("JSON has no unsigned integers; write the number without 'u'")
                return Node("const", value=Uint(value))
            if number == 5:
                return Node("const", value=struct.unpack("<d", value)[0])
            if number == 6:
                return Node("const", value=value.decode())
            if number == 7:
                return Node("const", value=bytes(value))
        return Node("const")

    def _select(self, data: bytes) -> Node:
        fields = dict(_fields(data))
        name = fields[2].decode()
        if self._typed and not _NAME.fullmatch(name):
            raise FaultError(f"{name!r} is no name of CEL, and names in backticks are not known")
        return Node("has" if fields.get(3) else "select", value=name, target=self.node(fields[1]))

    def _call(self, data: bytes) -> Node:
        target, name, items = None, "", []
        for number, value in _fields(data):
            if number == 1:
                target = self.node(value)
            elif number == 2:
                name = value.decode()
            else:
                items.append(self.node(value))
        return Node("call", value=name, target=target, items=tuple(items))

    def _list(self, data: bytes) -> Node:
        items, optional = [], b""
        for number, value in _fields(data):
            if number == 1:
                items.append(self.node(value))
            else:
                optional = value
        return Node("list", items=tuple(items), optional=frozenset(_varints(optional)))

    def _map(self, data: bytes) -> Node:
        pairs: list[tuple[Node, Node]] = []
        optional: list[int] = []
        for number, value in _fields(data):
            if number == 1:
                name = value.decode()
                if self._typed:
                    raise FaultError(f"there is no type {name!r} of which a value can be made")
                raise FaultError(f"'{name}{{...}}' is no JSON; write an object as {{'key': value}}")
            entry = dict(_fields(value))
            if entry.get(5):
                optional.append(len(pairs))
            pairs.append((self.node(entry[3]), self.node(entry[4])))
        return Node("map", items=tuple(pairs), optional=frozenset(optional))

    def _fold(self, data: bytes) -> Node:
        fields = dict(_fields(data))
        if fields.get(8):
            raise FaultError("macros with two variables are not known")
        parts = tuple(self.node(fields[number]) for number in (2, 4, 5, 6, 7))
        return Node("fold", items=parts, names=(fields[1].decode(), fields[3].decode()))


class FaultError(Exception):
    """What is wrong with the node that is being read."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _ident(data: bytes) -> Node:
    return Node("ident", value=_only(data, 1).decode().removeprefix("."))


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


# ------------------------------------------------------------------------------------------------ messages


def _readable(text: str, source: str, dialect: Dialect) -> CelSyntaxError:
    found = _MESSAGE.search(text)
    # A fault without a place has -1, or that as an unsigned number.
    if found is None or not 1 <= int(found[1]) <= source.count("\n") + 1:
        if "ecursion" in text:
            return CelSyntaxError(_DEEP + dialect.deep_hint)
        first = (found[3] if found else text.partition("\n")[0]).removesuffix("[INVALID_ARGUMENT]").strip()
        return CelSyntaxError(first.partition(": ")[2] or first)
    line, column, message = int(found[1]), max(1, int(found[2])), found[3].removesuffix(" [INVALID_ARGUMENT]")
    return CelSyntaxError(_words(message.removeprefix("Syntax error: "), source, dialect), line, column)


def _words(message: str, source: str, dialect: Dialect) -> str:
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
        return f"{function_text(found[1])} does not take ({found[2]})"
    if found := _UNDECLARED.match(message):
        return f"there is no function {found[1]!r}{hint_for_function(found[1], dialect.function_hint)}"
    return message


def function_text(name: str) -> str:
    """How a message writes a function: an operator as its sign.

    >>> function_text("_+_"), function_text("size")
    ("'+'", "'size'")
    """
    found = _OPERATOR.fullmatch(name)
    return f"'{name}'" if found is None else f"'{'[]' if found[1] == '[' else found[1]}'"
