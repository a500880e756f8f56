"""Macros that the parser leaves as calls, and what a fold was written as."""

from __future__ import annotations

from typing import Any

import attrs

from kastra_core.cel.syntax import FaultError, Node

__all__ = ["Loop", "expanded", "loop_of"]

_RESULT, _SORTED = "@result", "@sorted"
_TWO = frozenset({"all", "exists", "existsOne", "exists_one", "transformList", "transformMap", "transformMapEntry"})


def expanded(node: Node) -> Node:
    """Return the fold of a call such as ``list.all(index, item, condition)``, or the call itself.

    Raises:
        FaultError: a variable is no simple name, or both are the same.
    """
    name, count = node.value, len(node.items)
    if name == "sortBy" and count == 2:
        return _sorting(node)
    if name == "existsOne" and count == 2:
        return _counting(node, node.items[1], (_variable(node, 0), _RESULT))
    if name not in _TWO or (count != 3 and not (count == 4 and name.startswith("transform"))):
        return node
    first, second = _variable(node, 0), _variable(node, 1)
    if first == second:
        raise FaultError(f"both variables of {name!r} are called {first!r}")
    names = (first, _RESULT, second)
    body = node.items[-1]
    if name == "all":
        return _quantifier(node, body, names, "_&&_")
    if name == "exists":
        return _quantifier(node, body, names, "_||_")
    if name.startswith("exists"):
        return _counting(node, body, names)
    accumulator = _ident(node, _RESULT)
    if name == "transformList":
        start = Node("list", node.id)
        step = _call(node, "_+_", accumulator, Node("list", node.id, items=(body,)))
    else:
        start = Node("map", node.id)
        added = (body,) if name == "transformMapEntry" else (_ident(node, first), body)
        step = _call(node, "cel.@mapInsert", accumulator, *added)
    if count == 4:
        step = _call(node, "_?_:_", node.items[2], step, _ident(node, _RESULT))
    parts = (node.target, start, Node("const", node.id, True), step, _ident(node, _RESULT))
    return Node("fold", node.id, items=parts, names=names)


def _variable(node: Node, index: int) -> str:
    item = node.items[index]
    if item.kind != "ident" or item.value.startswith("@"):
        raise FaultError(f"argument {index + 1} of {node.value!r} must be a simple name: that of a variable")
    return str(item.value)


def _ident(node: Node, name: str) -> Node:
    return Node("ident", node.id, name)


def _call(node: Node, name: str, *items: Node) -> Node:
    return Node("call", node.id, name, items=items)


def _quantifier(node: Node, body: Node, names: tuple[str, ...], operator: str) -> Node:
    going = _ident(node, _RESULT) if operator == "_&&_" else _call(node, "!_", _ident(node, _RESULT))
    parts = (
        node.target,
        Node("const", node.id, operator == "_&&_"),
        _call(node, "@not_strictly_false", going),
        _call(node, operator, _ident(node, _RESULT), body),
        _ident(node, _RESULT),
    )
    return Node("fold", node.id, items=parts, names=names)


def _counting(node: Node, body: Node, names: tuple[str, ...]) -> Node:
    more = _call(node, "_+_", _ident(node, _RESULT), Node("const", node.id, 1))
    parts = (
        node.target,
        Node("const", node.id, 0),
        Node("const", node.id, True),
        _call(node, "_?_:_", body, more, _ident(node, _RESULT)),
        _call(node, "_==_", _ident(node, _RESULT), Node("const", node.id, 1)),
    )
    return Node("fold", node.id, items=parts, names=names)


def _sorting(node: Node) -> Node:
    """``list.sortBy(item, key)``: the list, bound to a name, sorted by what the key makes of it."""
    added = _call(node, "_+_", _ident(node, _RESULT), Node("list", node.id, items=(node.items[1],)))
    parts = (_ident(node, _SORTED), Node("list", node.id), Node("const", node.id, True), added, _ident(node, _RESULT))
    keys = Node("fold", node.id, items=parts, names=(_variable(node, 0), _RESULT))
    body = Node("call", node.id, "@sortByAssociatedKeys", target=_ident(node, _SORTED), items=(keys,))
    empty, never = Node("list", node.id), Node("const", node.id, False)
    bound = (empty, node.target, never, _ident(node, _SORTED), body)
    return Node("fold", node.id, items=bound, names=("#unused", _SORTED))


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
