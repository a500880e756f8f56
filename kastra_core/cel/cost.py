"""How many steps an expression may take, before it is run.

:func:`estimate` reckons with the largest values that the types of its variables allow. A rule that is cheap for every
value that can be stored passes; one that is not is refused when it is defined, not when somebody's object meets it.

The arithmetic is that of cel-go (``checker/cost.go``) with Kubernetes' estimates (``pkg/cel/library/cost.go``), because
a rule that one accepts should be accepted by the other. That goes for its oddities, too: a number or an object that a
path leads to has size 0, a key of a map as well, and the size of what a call gives is unknown unless somebody says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Final, TypeAlias

import attrs

from kastra_core.cel.functions import Cost, Overload, Size
from kastra_core.cel.syntax import Node
from kastra_core.cel.types import CelType
from kastra_core.cel.values import Type

__all__ = ["UNBOUNDED", "estimate"]

UNBOUNDED: Final = 2**64 - 1
"""Where sizes and costs stop to grow."""
_MANIFEST_BYTES: Final = 3 * 1024 * 1024
"""The most characters, items or entries of a value whose type sets no bound: of the largest manifest."""

_SELECT: Final = 1
_LIST: Final = 10
_MAP: Final = 30
_TEXT_FACTOR: Final = 0.1
_PATTERN_FACTOR: Final = 0.25

_Path: TypeAlias = tuple[str, ...]
"""How a value is reached: the variable, then fields, ``@items``, ``@keys`` or ``@values``; () for what is computed."""


def estimate(tree: Node, *, root: CelType) -> Cost:
    """Return the least and the most cost of a checked expression, in steps; UNBOUNDED if nobody knows.

    Args:
        tree: of :attr:`Program.tree`.
        root: the type of the variables (of all of them: an old and a new value have one type).
    """
    estimator = _Estimator(root)
    cost = estimator.cost(tree)
    return Cost(cost.least, cost.most, estimator.size(tree))


@attrs.frozen(slots=True)
class _Range:
    """Least and most of a size or a cost."""

    least: int = 0
    most: int = 0

    def __add__(self, other: _Range) -> _Range:
        return _Range(min(self.least + other.least, UNBOUNDED), min(self.most + other.most, UNBOUNDED))

    def __mul__(self, other: _Range) -> _Range:
        return _Range(min(self.least * other.least, UNBOUNDED), min(self.most * other.most, UNBOUNDED))

    def __or__(self, other: _Range) -> _Range:
        return _Range(min(self.least, other.least), max(self.most, other.most))

    def scaled(self, factor: float) -> _Range:
        return _Range(_scaled(self.least, factor), _scaled(self.most, factor))


def _scaled(count: int, factor: float) -> int:
    return min(ceil(count * factor), UNBOUNDED)


_UNKNOWN: Final = _Range(0, UNBOUNDED)
_ONE: Final = _Range(1, 1)
_NOTHING: Final = _Range(UNBOUNDED, 0)
"""What a union starts with."""


@attrs.frozen(slots=True)
class _Entries:
    """Sizes of what is in a list or a map that an expression makes."""

    is_list: bool
    key: _Range
    value: _Range

    def __or__(self, other: _Entries) -> _Entries:
        return _Entries(self.is_list, self.key | other.key, self.value | other.value)


@attrs.frozen(slots=True)
class _Local:
    """A variable of a macro."""

    path: _Path
    size: _Range | None = None
    entries: _Entries | None = None


_FIXED: Final = frozenset({"bool", "double", "int", "uint", "google.protobuf.Timestamp", "google.protobuf.Duration"})
_COMPARISONS: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_TEXTS: Final = frozenset({"string", "bytes"})
_KNOWN: Final = _TEXTS | _FIXED | {"list", "map", "null_type", "dyn", "type"}


class _Estimator:
    def __init__(self, root: CelType) -> None:
        self._root = root
        self._paths: dict[int, _Path] = {}
        self._sizes: dict[int, _Range] = {}
        self._entries: dict[int, _Entries] = {}
        self._locals: dict[str, list[_Local]] = {}
        self._members: dict[int, dict[str, CelType]] = {}

    # ------------------------------------------------------------------------------------------------ cost

    def cost(self, node: Node) -> _Range:
        match node.kind:
            case "const":
                return self._const(node)
            case "ident":
                found = self._local(node)
                self._paths[id(node)] = found.path if found is not None else (node.value,)
                return _Range(_SELECT, _SELECT)
            case "select":
                return self._select(node)
            case "has":
                return self.cost(_operand(node))
            case "call":
                return self._call(node)
            case "list":
                return self._list(node)
            case "map":
                return self._map(node)
        return self._bind(node) if _is_bind(node) else self._fold(node)

    def _const(self, node: Node) -> _Range:
        if isinstance(node.value, Type):  # the name of a type, which counts as a variable
            self._paths[id(node)] = (node.value.name,)
            return _Range(_SELECT, _SELECT)
        # A timestamp or a duration was written as the call of a function.
        return _ONE if isinstance(node.value, (datetime, timedelta)) else _Range()

    def _select(self, node: Node) -> _Range:
        operand = _operand(node)
        cost = self.cost(operand)
        if operand.type is not None and (operand.type.name == "map" or operand.type.members is not None):
            cost += _Range(_SELECT, _SELECT)
        self._paths[id(node)] = (*self._path(operand), node.value)
        return cost

    def _list(self, node: Node) -> _Range:
        cost, items = _Range(_LIST, _LIST), _Range() if not node.items else _NOTHING
        for item in node.items:
            cost += self.cost(item)
            items |= self._size_or_unknown(item)
        self._entries[id(node)] = _Entries(True, _ONE, items)
        return cost

    def _map(self, node: Node) -> _Range:
        cost = _Range(_MAP, _MAP)
        keys = values = _Range() if not node.items else _NOTHING
        for key, value in node.items:
            cost += self.cost(key) + self.cost(value)
            keys |= self._size_or_unknown(key)
            values |= self._size_or_unknown(value)
        self._entries[id(node)] = _Entries(False, keys, values)
        return cost

    def _bind(self, node: Node) -> _Range:
        values, first, _, _, result = node.items
        name = node.names[1]
        cost = self.cost(values) + self.cost(first)
        self._push(name, _Local(self._path(first), self.size_of(first), self._entries_of(first)))
        cost += self.cost(result)
        self._locals[name].pop()
        self._copy(node, result)
        return cost

    def _fold(self, node: Node) -> _Range:
        values, first, condition, step, result = node.items
        cost = self.cost(values) + self.cost(first)
        self._push(node.names[1], _Local(self._path(first), self.size_of(first), self._entries_of(first)))
        names = self._push_items(node, values)
        turn = self.cost(condition) + self.cost(step)
        for name in names:
            self._locals[name].pop()
        cost += self.cost(result)
        self._locals[node.names[1]].pop()
        count = self._size_or_unknown(values)
        if first.kind == "const":
            size = self.size_of(first)
            if size is not None:
                self._sizes[id(node)] = size
        elif first.kind in ("list", "map"):
            self._sizes[id(node)] = count
            entries = self._entries_of(step)
            if entries is not None:
                self._entries[id(node)] = entries
        return cost + count * turn

    def _push_items(self, node: Node, values: Node) -> list[str]:
        entries, path = self._entries_of(values), self._path(values)
        is_list = entries.is_list if entries is not None else values.type is not None and values.type.name == "list"
        key = _Local((*path, "@indices" if is_list else "@keys"), entries.key if entries else None)
        value = _Local((*path, "@items" if is_list else "@values"), entries.value if entries else None)
        if len(node.names) > 2:
            names = {node.names[0]: key, node.names[2]: value}
        else:
            names = {node.names[0]: value if is_list else key}
        for name, local in names.items():
            self._push(name, local)
        return list(names)

    # ------------------------------------------------------------------------------------------------ calls

    def _call(self, node: Node) -> _Range:
        name = node.value
        if name == "dyn" and node.target is None and len(node.items) == 1:
            cost = self.cost(node.items[0])
            self._copy(node, node.items[0])
            return cost + _ONE
        costs = [self.cost(item) for item in node.items]
        cost = self.cost(node.target) if node.target is not None else _Range()
        if name in ("_&&_", "_||_"):
            return _Range(costs[0].least, (costs[0] + costs[1]).most)
        if name == "_?_:_":
            _, yes, no = node.items
            self._sizes[id(node)] = self._size_or_unknown(yes) | self._size_or_unknown(no)
            left, right = self._entries_of(yes), self._entries_of(no)
            if left is not None and right is not None:
                self._entries[id(node)] = left | right
            return cost + costs[0] + (costs[1] | costs[2])
        for each in costs:
            cost += each
        arguments = [node.target, *node.items] if node.target is not None else list(node.items)
        if name == "_[_]":
            self._index(node, arguments[0])
            return cost + _ONE
        work, size = self._work(node, arguments)
        if size is None:
            size = self.size_of(node)
        if size is not None:
            self._sizes[id(node)] = size
        return cost + work

    def _index(self, node: Node, values: Node) -> None:
        entries = self._entries_of(values)
        is_map = values.type is not None and values.type.name == "map"
        self._paths[id(node)] = (*self._path(values), "@values" if is_map else "@items")
        size = entries.value if entries is not None else self.size_of(node)
        if size is not None:
            self._sizes[id(node)] = size

    def _work(self, node: Node, arguments: list[Node]) -> tuple[_Range, _Range | None]:
        """What a call takes without its arguments, and the size of its result; over all that it may mean."""
        if node.value in ("_==_", "_!=_"):
            return self._equality(node, arguments), None
        if node.value == "_+_":
            self._join_entries(node, arguments)
        work, result = _NOTHING, None
        for overload in node.overloads:
            each, size = self._overload_work(node.value, overload, arguments)
            work |= each
            if size is not None:
                result = size if result is None else result | size
        return (work if node.overloads else _ONE), result

    def _equality(self, node: Node, arguments: list[Node]) -> _Range:
        left, right = (each.type for each in arguments)
        if node.value == "_==_" and left is not None and left == right and _is_opaque(left):
            return _ONE
        return self._comparison(arguments)

    def _comparison(self, arguments: list[Node]) -> _Range:
        most = min(self._size_or_unknown(each).most for each in arguments)
        return _Range(1 if most else 0, most).scaled(_TEXT_FACTOR)

    def _join_entries(self, node: Node, arguments: list[Node]) -> None:
        left, right = (self._entries_of(each) for each in arguments)
        if left is not None and right is not None:
            self._entries[id(node)] = left | right

    def _overload_work(self, name: str, overload: Overload, arguments: list[Node]) -> tuple[_Range, _Range | None]:
        if overload.estimate is not None:
            given = overload.estimate(*(self._argument(each) for each in arguments))
            result = None if given.result is None else _Range(given.result.least, given.result.most)
            return _Range(given.least, given.most), result
        first = overload.parameters[0].name if overload.parameters else ""
        if name in _COMPARISONS and first in _TEXTS:
            return self._comparison(arguments), None
        if name == "@in":
            first = overload.parameters[1].name
        # As in Kubernetes, matches(text, pattern) takes one step whatever it is given, unlike text.matches(pattern).
        standard = _STANDARD.get((name, first)) if name != "matches" or overload.member else None
        if standard is None or len(arguments) != len(overload.parameters):
            return _ONE, None
        return standard(*(self._size_or_unknown(each) for each in arguments))

    # ------------------------------------------------------------------------------------------------ sizes

    def size(self, node: Node) -> Size | None:
        """The size of what an expression gives; None: nobody knows."""
        found = self.size_of(node)
        return None if found is None else Size(found.least, found.most)

    def size_of(self, node: Node) -> _Range | None:
        found = self._sizes.get(id(node))
        if found is None:
            found = _size_as_written(node)
        if found is None:
            found = self._size_at(self._path(node))
        if found is None and node.type is not None and _is_fixed(node.type):
            return _ONE
        if found is None and (local := self._local(node)) is not None:
            return local.size
        return found

    def _size_or_unknown(self, node: Node) -> _Range:
        found = self.size_of(node)
        return _UNKNOWN if found is None else found

    def _argument(self, node: Node) -> Size:
        size = self._size_or_unknown(node)
        items = value = None
        if node.type is not None and node.type.name == "list" and node.type.params[0].name in _TEXTS:
            path = self._path(node)
            known = self._size_at((*path, "@items")) if path else None
            items = Size(0, UNBOUNDED) if known is None else Size(known.least, known.most)
        elif node.kind == "const" and type(node.value) is int:
            value = node.value
        return Size(size.least, size.most, items, value)

    def _size_at(self, path: _Path) -> _Range | None:
        """The size of what a path leads to, by its type. The path's head, the variable, does not matter."""
        if not path:
            return None
        reached: CelType | None = self._root
        for step in path[1:]:
            if reached is None:
                return None
            if step in ("@items", "@values"):
                reached = reached.params[-1] if reached.name in ("list", "map") else None
            elif step == "@keys":
                return _Range() if reached.name == "map" else None
            else:
                reached = self._member(reached, step)
        return None if reached is None else _size_of_type(reached)

    def _member(self, type: CelType, key: str) -> CelType | None:
        if type.members is None:
            return None
        members = self._members.get(id(type))
        if members is None:
            members = self._members[id(type)] = {each.key: each.type for each in type.members.values()}
        return members.get(key)

    def _path(self, node: Node) -> _Path:
        local = self._local(node)
        return local.path if local is not None else self._paths.get(id(node), ())

    def _entries_of(self, node: Node) -> _Entries | None:
        found = self._entries.get(id(node))
        if found is None and (local := self._local(node)) is not None:
            return local.entries
        return found

    def _copy(self, node: Node, source: Node) -> None:
        size, entries = self.size_of(source), self._entries_of(source)
        if size is not None:
            self._sizes[id(node)] = size
        if entries is not None:
            self._entries[id(node)] = entries

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    def _local(self, node: Node) -> _Local | None:
        if node.kind != "ident":
            return None
        found = self._locals.get(node.value)
        return found[-1] if found else None


def _operand(node: Node) -> Node:
    if node.target is None:
        raise ValueError(f"a node of kind {node.kind} has no operand")
    return node.target


def _is_bind(node: Node) -> bool:
    values, _, condition, _, _ = node.items
    return values.kind == "list" and not values.items and condition.kind == "const" and condition.value is False


def _is_fixed(type: CelType) -> bool:
    """Whether all values of a type have size 1."""
    return _is_fixed(type.params[0]) if type.name == "optional_type" else type.name in _FIXED


def _is_opaque(type: CelType) -> bool:
    """Whether it is a type of a library, whose values are compared in one step."""
    return type.name not in _KNOWN and type.name != "optional_type" and type.members is None


def _size_of_type(type: CelType) -> _Range | None:
    if type.most is not None:
        return _Range(0, type.most)
    if type.name == "dyn":
        return None
    return _Range(0, _MANIFEST_BYTES if type.name in ("string", "bytes", "list", "map") else 0)


def _size_as_written(node: Node) -> _Range | None:
    if node.kind in ("list", "map"):
        return _Range(len(node.items), len(node.items))
    if node.kind != "const" or isinstance(node.value, Type):
        return None
    size = len(node.value) if isinstance(node.value, (str, bytes)) else 1
    return _Range(size, size)


# ---------------------------------------------------------------------------------------- the standard functions

_Estimate: TypeAlias = Callable[..., tuple[_Range, _Range | None]]


def _reading(argument: int) -> _Estimate:
    def work(*sizes: _Range) -> tuple[_Range, _Range | None]:
        return sizes[argument].scaled(_TEXT_FACTOR), None

    return work


def _concatenation(left: _Range, right: _Range) -> tuple[_Range, _Range | None]:
    size = left + right
    return size.scaled(_TEXT_FACTOR), size


def _list_concatenation(left: _Range, right: _Range) -> tuple[_Range, _Range | None]:
    return _ONE, left + right


def _search(text: _Range, part: _Range) -> tuple[_Range, _Range | None]:
    return text.scaled(_TEXT_FACTOR) * part.scaled(_TEXT_FACTOR), None


def _match(text: _Range, pattern: _Range) -> tuple[_Range, _Range | None]:
    # An empty text is not free.
    return (text + _ONE).scaled(_TEXT_FACTOR) * pattern.scaled(_PATTERN_FACTOR), None


def _membership(_: _Range, values: _Range) -> tuple[_Range, _Range | None]:
    return values.scaled(1), None


def _encoding(text: _Range) -> tuple[_Range, _Range | None]:
    return text.scaled(_TEXT_FACTOR), _Range(text.least, min(text.most * 4, UNBOUNDED))


def _decoding(data: _Range) -> tuple[_Range, _Range | None]:
    return data.scaled(_TEXT_FACTOR), _Range(data.least // 4, data.most)


_STANDARD: Final[Mapping[tuple[str, str], _Estimate]] = {
    ("_+_", "string"): _concatenation,
    ("_+_", "bytes"): _concatenation,
    ("_+_", "list"): _list_concatenation,
    ("@in", "list"): _membership,
    ("startsWith", "string"): _reading(1),
    ("endsWith", "string"): _reading(1),
    ("contains", "string"): _search,
    ("matches", "string"): _match,
    ("bytes", "string"): _encoding,
    ("string", "bytes"): _decoding,
}
"""(function, type of its first argument, or of what @in looks into) -> estimate, where an overload brings none."""
