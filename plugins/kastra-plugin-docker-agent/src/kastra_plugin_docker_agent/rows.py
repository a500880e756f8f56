"""Rows for keys that may be missing: then there is none."""

from __future__ import annotations

from kastra_core.migration import Draft, Node

__all__ = ["dropped", "manual", "mapped", "nulls"]


def mapped(node: Node, target: str | Draft, reason: str = "") -> None:
    """Say where a value went, if it is there."""
    if node:
        node.mapped(target, reason)


def dropped(node: Node, reason: str) -> None:
    """Say why nothing is made of a value, if it is there."""
    if node:
        node.dropped(reason)


def manual(node: Node, reason: str, target: str | Draft = "") -> None:
    """Say what somebody has to do about a value, if it is there."""
    if node:
        node.manual(reason, target)


def nulls(node: Node) -> None:
    """Write the rows of all that is null: it is as if it were not there."""
    if node.present and node.value is None:
        node.dropped("null: as if it were not there")
    for child in [*(child for _, child in node.fields()), *node.items()]:
        nulls(child)
