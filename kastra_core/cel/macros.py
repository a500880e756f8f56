"""Macros: what calls such as ``list.all(x, x > 0)`` stand for, and what a fold was written as.

Source:
    cel-go: ``parser/macro.go``, ``cel/library.go`` (optional values), ``ext/comprehensions.go``, ``ext/lists.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from kastra_core.cel.syntax import FaultError, Node

__all__ = ["Loop", "expanded", "loop_of"]

_RESULT, _SORTED, _UNUSED = "@result", "@sorted", "#unused"


def expanded(node: Node, *, typed: bool) -> Node:
    """Return what a call stands for if it is one of a macro, or the call itself.

    Args:
        typed: whether the macros of two variables and of optional values are known.
    Raises:
        FaultError: a variable is no simple name, or two are the same; ``has`` is not asked for a field.
    """
    if node.target is None:
        return _has(node) if node.value == "has" and len(node.items) == 1 else node
    expand = (_TYPED_MACROS if typed else _MACROS).get((node.value, len(node.items)))
    return node if expand is None else expand(node)


def _has(node: Node) -> Node:
    field = node.items[0]
    if field.kind != "select":
        raise FaultError("has() asks for a field, as in has(x.y); for a key of a map there is 'key' in x", field.offset)
    return Node("has", node.offset, field.value, field.target)


def _variable(node: Node, index: int) -> str:
    item = node.items[index]
    if item.kind != "ident" or item.value.startswith("@"):
        raise FaultError(
            f"argument {index + 1} of {node.value!r} must be a simple name: that of a variable", item.offset
        )
    return str(item.value)


def _variables(node: Node) -> tuple[str, ...]:
    """Names of a fold: one variable and the accumulator, or two around it."""
    first = _variable(node, 0)
    if (node.value, len(node.items)) in _MACROS or (node.value == "existsOne" and len(node.items) == 2):
        return first, _RESULT
    second = _variable(node, 1)
    if first == second:
        raise FaultError(f"both variables of {node.value!r} are called {first!r}", node.items[1].offset)
    return first, _RESULT, second


def _ident(node: Node, name: str) -> Node:
    return Node("ident", node.offset, name)


def _const(node: Node, value: Any) -> Node:
    return Node("const", node.offset, value)


def _call(node: Node, name: str, *items: Node) -> Node:
    return Node("call", node.offset, name, items=items)


def _fold(node: Node, names: tuple[str, ...], first: Node, going: Node, step: Node, result: Node | None = None) -> Node:
    parts = (node.target, first, going, step, result or _ident(node, _RESULT))
    return Node("fold", node.offset, items=parts, names=names)


def _all(node: Node) -> Node:
    going = _call(node, "@not_strictly_false", _ident(node, _RESULT))
    step = _call(node, "_&&_", _ident(node, _RESULT), node.items[-1])
    return _fold(node, _variables(node), _const(node, True), going, step)


def _exists(node: Node) -> Node:
    going = _call(node, "@not_strictly_false", _call(node, "!_", _ident(node, _RESULT)))
    step = _call(node, "_||_", _ident(node, _RESULT), node.items[-1])
    return _fold(node, _variables(node), _const(node, False), going, step)


def _exists_one(node: Node) -> Node:
    more = _call(node, "_+_", _ident(node, _RESULT), _const(node, 1))
    step = _call(node, "_?_:_", node.items[-1], more, _ident(node, _RESULT))
    result = _call(node, "_==_", _ident(node, _RESULT), _const(node, 1))
    return _fold(node, _variables(node), _const(node, 0), _const(node, True), step, result)


def _added(node: Node, item: Node) -> Node:
    return _call(node, "_+_", _ident(node, _RESULT), Node("list", node.offset, items=(item,)))


def _building(node: Node, start: str, step: Node, test: Node | None) -> Node:
    """The fold that makes a ``start``, a list or a map, of the items for which ``test`` holds."""
    if test is not None:
        step = _call(node, "_?_:_", test, step, _ident(node, _RESULT))
    return _fold(node, _variables(node), Node(start, node.offset), _const(node, True), step)


def _map(node: Node) -> Node:
    return _building(node, "list", _added(node, node.items[-1]), node.items[1] if len(node.items) > 2 else None)


def _filter(node: Node) -> Node:
    return _building(node, "list", _added(node, _ident(node, _variable(node, 0))), node.items[1])


def _transform_list(node: Node) -> Node:
    return _building(node, "list", _added(node, node.items[-1]), node.items[2] if len(node.items) > 3 else None)


def _transform_map(node: Node) -> Node:
    added = (_ident(node, _variable(node, 0)), node.items[-1])
    step = _call(node, "cel.@mapInsert", _ident(node, _RESULT), *added)
    return _building(node, "map", step, node.items[2] if len(node.items) > 3 else None)


def _transform_entries(node: Node) -> Node:
    step = _call(node, "cel.@mapInsert", _ident(node, _RESULT), node.items[-1])
    return _building(node, "map", step, node.items[2] if len(node.items) > 3 else None)


def _bound(node: Node, name: str, value: Node, body: Node) -> Node:
    """``body`` with a name for ``value``: a fold over nothing, of which the result counts."""
    parts = (Node("list", node.offset), value, _const(node, False), _ident(node, name), body)
    return Node("fold", node.offset, items=parts, names=(_UNUSED, name))


def _sort_by(node: Node) -> Node:
    """``list.sortBy(item, key)``: the list, bound to a name, sorted by what the key makes of it."""
    assert node.target is not None
    mapped = Node("call", node.offset, "map", _ident(node, _SORTED), node.items)
    keys = _building(mapped, "list", _added(node, node.items[1]), None)
    body = Node("call", node.offset, "@sortByAssociatedKeys", _ident(node, _SORTED), (keys,))
    return _bound(node, _SORTED, node.target, body)


def _opt_map(node: Node) -> Node:
    """``optional.optMap(value, expression)``: an optional of what the expression makes of a value that is there."""
    return _if_there(node, _call(node, "optional.of", _with_value(node)))


def _opt_flat_map(node: Node) -> Node:
    return _if_there(node, _with_value(node))


def _with_value(node: Node) -> Node:
    value = Node("call", node.offset, "value", node.target)
    return _bound(node, _variable(node, 0), value, node.items[1])


def _if_there(node: Node, then: Node) -> Node:
    there = Node("call", node.offset, "hasValue", node.target)
    return _call(node, "_?_:_", there, then, _call(node, "optional.none"))


_Macros = Mapping[tuple[str, int], Callable[[Node], Node]]
"""(name, count of arguments) of a method -> what it stands for."""
_MACROS: Final[_Macros] = {
    ("all", 2): _all,
    ("exists", 2): _exists,
    ("exists_one", 2): _exists_one,
    ("map", 2): _map,
    ("map", 3): _map,
    ("filter", 2): _filter,
}
_TYPED_MACROS: Final[_Macros] = {
    **_MACROS,
    ("existsOne", 2): _exists_one,
    ("all", 3): _all,
    ("exists", 3): _exists,
    ("exists_one", 3): _exists_one,
    ("existsOne", 3): _exists_one,
    ("transformList", 3): _transform_list,
    ("transformList", 4): _transform_list,
    ("transformMap", 3): _transform_map,
    ("transformMap", 4): _transform_map,
    ("transformMapEntry", 3): _transform_entries,
    ("transformMapEntry", 4): _transform_entries,
    ("optMap", 2): _opt_map,
    ("optFlatMap", 2): _opt_flat_map,
    ("sortBy", 2): _sort_by,
}


# ------------------------------------------------------------------------------------------------ folds


@attrs.frozen
class Loop:
    """What a fold does: ``all``, ``exists``, ``one``, ``list`` (map, filter, transformList), ``map``, or ``bind``."""

    kind: str
    body: Node
    """Condition; the item, or the value, that is added; what is evaluated with the bound name."""
    test: Node | None = None
    """Only of items for which this is true something is added."""
    key: Node | None = None
    """map: key of what is added; None: the body is a map whose entries are added."""


def loop_of(node: Node) -> Loop | None:
    """Return what a fold does when it is one of the well-known macros, else None."""
    accumulator = node.names[1]
    source, first, going, step, result = node.items
    if source.kind == "list" and not source.items and going.kind == "const" and going.value is False:
        return Loop("bind", result)
    if _is(result, accumulator) and first.kind == "const" and isinstance(first.value, bool) and going.kind == "call":
        operator = "_&&_" if first.value else "_||_"
        if step.kind == "call" and step.value == operator and _is(step.items[0], accumulator):
            return Loop("all" if first.value else "exists", step.items[1])
        return None
    if going.kind != "const" or going.value is not True:
        return None
    test = None
    if step.kind == "call" and step.value == "_?_:_" and _is(step.items[2], accumulator):
        test, step = step.items[0], step.items[1]
    if first.kind == "const" and first.value == 0 and test is not None and result.kind == "call":
        return Loop("one", test)
    if step.kind != "call" or not step.items or not _is(step.items[0], accumulator) or not _is(result, accumulator):
        return None
    added = step.items[1:]
    if first.kind == "list" and step.value == "_+_" and added[0].kind == "list" and len(added[0].items) == 1:
        return None if first.items or added[0].optional else Loop("list", added[0].items[0], test)
    if first.kind == "map" and step.value == "cel.@mapInsert":
        return Loop("map", added[-1], test, added[0] if len(added) == 2 else None)
    return None


def _is(node: Any, name: str) -> bool:
    return bool(node.kind == "ident" and node.value == name)
