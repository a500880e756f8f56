"""What is asked of literals beyond their types, once a whole tree is checked.

Source:
    The validators of cel-go that Kubernetes turns on: ``ValidateHomogeneousAggregateLiterals`` and that of its strings
    library for ``format``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kastra_core.cel.syntax import Node
from kastra_core.cel.types import DYN, CelType

__all__ = ["format_fault", "mixed_fault", "mixed_text"]

_CLAUSE = re.compile(r"%(?:%|(?:\.([0-9]*))?(.?))", re.DOTALL)
_NUMBERS = frozenset({"int", "uint", "dyn"})
_TAKES = {
    "d": _NUMBERS,
    "o": _NUMBERS,
    "b": _NUMBERS | {"bool"},
    "x": _NUMBERS | {"string", "bytes"},
    "X": _NUMBERS | {"string", "bytes"},
    "f": frozenset({"double", "string", "dyn"}),
    "e": frozenset({"double", "string", "dyn"}),
    "s": frozenset(
        {
            *("list", "map", "int", "uint", "double", "bool", "string", "bytes", "type", "null_type", "dyn"),
            *("google.protobuf.Timestamp", "google.protobuf.Duration"),
        }
    ),
}


def mixed_text(what: str, before: str, found: str) -> str:
    return f"{what} are of one type: this is {found}, before it is {before}; format alone takes a list of many types"


def mixed_fault(node: Node, text_of: Callable[[CelType], str]) -> tuple[Node, str] | None:
    """The first part of a list or map that is of another type than those before, and what is said of it."""
    rows: list[tuple[str, list[tuple[Any, bool]]]]
    if node.kind == "list":
        rows = [("items of a list", [(item, at in node.optional) for at, item in enumerate(node.items)])]
    else:
        rows = [
            ("keys of a map", [(key, False) for key, _ in node.items]),
            ("values of a map", [(value, at in node.optional) for at, (_, value) in enumerate(node.items)]),
        ]
    for what, items in rows:
        first: CelType | None = None
        for item, optional in items:
            kind = item.type.params[0] if optional and item.type.params else item.type
            if first is None:
                first = kind
            elif kind != first:
                return item, mixed_text(what, text_of(first), text_of(kind))
    return None


def format_fault(node: Node, text_of: Callable[[CelType], str]) -> tuple[Node, str] | None:
    """What is wrong with ``"text with %s".format([values])`` when both are literals."""
    template, values = node.target, node.items[0]
    if template is None or template.kind != "const" or not isinstance(template.value, str) or values.kind != "list":
        return None
    used = 0
    for found in _CLAUSE.finditer(template.value):
        if found[0] == "%%":
            continue
        if found[2] not in _TAKES or found[1] == "":
            return template, f"format: there is no clause {found[0]!r}; there are %s %d %f %.2f %e %b %o %x %X and %%"
        if used >= len(values.items):
            return node, f"format: there is no value for {found[0]!r}, number {used + 1} of the clauses"
        fault = _unfit(values.items[used], found[2])
        if fault is not None:
            return fault, f"format: {found[0]!r} does not take {text_of(fault.type or DYN)}"
        used += 1
    if used < len(values.items):
        return node, f"format: it has {used} clauses and {len(values.items)} values"
    return None


def _unfit(value: Node, verb: str) -> Node | None:
    if (value.type or DYN).name not in _TAKES[verb]:
        return value
    if verb != "s" or value.kind not in ("list", "map"):
        return None
    parts = value.items if value.kind == "list" else tuple(part for pair in value.items for part in pair)
    return next((fault for part in parts if (fault := _unfit(part, "s")) is not None), None)
