"""Field paths to offsets in a text, by its YAML nodes."""

from __future__ import annotations

import re
from typing import Any

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

__all__ = ["find"]

_ITEM = re.compile(r"\[(\d+)\]\.?")


def find(root: Any, path: str, *, key: bool = False) -> int:
    """Return the offset of the field at ``path`` from the document's start, or of its nearest existing ancestor.

    A key may hold dots and brackets: the longest key that fits is taken.
    """
    node, place, complete = root, root, True
    while path:
        step = _step(node, path)
        if step is None:
            complete = False
            break
        place, node, path = step
    origin: int = root.start_mark.index
    # An empty value has no place of its own, and a block begins a line later than its key.
    wanted = node if complete and not key and isinstance(node, ScalarNode) and node.value else place
    return int(wanted.start_mark.index) - origin


def _step(node: Any, path: str) -> tuple[Any, Any, str] | None:
    """Return (where the field is named, its value, the rest of the path)."""
    if isinstance(node, SequenceNode):
        found = _ITEM.match(path)
        if found is None or int(found[1]) >= len(node.value):
            return None
        item = node.value[int(found[1])]
        return item, item, path[found.end() :]
    if not isinstance(node, MappingNode):
        return None
    best: tuple[Any, Any, str] | None = None
    for key_node, value in node.value:
        key = key_node.value
        if isinstance(key, str) and path.startswith(key):
            rest = path[len(key) :]
            if (not rest or rest[0] in ".[") and (best is None or len(key) > len(best[0].value)):
                best = (key_node, value, rest.removeprefix("."))
    if best is None:
        for key_node, value in node.value:
            if key_node.value == "<<":
                for source in value.value if isinstance(value, SequenceNode) else [value]:
                    best = best or _step(source, path)
    return best
