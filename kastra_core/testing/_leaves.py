"""Leaves of JSON documents: finding them and giving them other values."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Path", "another", "leaves_of", "with_value"]

Path = tuple[str | int, ...]


def leaves_of(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All leaves of a document and where they are; an empty object or list is a leaf.

    >>> list(leaves_of({"a": [1, {}]}))
    [(('a', 0), 1), (('a', 1), {})]
    """
    below: list[tuple[Any, Any]] = []
    if isinstance(data, Mapping):
        below = list(data.items())
    elif isinstance(data, list):
        below = list(enumerate(data))
    for key, item in below:
        yield from leaves_of(item, (*path, key))
    if not below and path:
        yield path, data


def another(value: Any) -> Any:
    """Another value of the same type: of a boolean, a number or a text."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, (int, float)) else f"{value}x"


def with_value(data: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy of a document with another value at a path."""
    out = copy.deepcopy(data)
    place = out
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return out
