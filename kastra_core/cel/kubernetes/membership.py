"""Whether values are among others, by CEL's equality: scalars by hash, the rest one by one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from kastra_core.cel.values import Frame, equal

__all__ = ["Membership"]

_PLAIN = (bytes, bool, type(None), datetime, timedelta)


class Membership:
    """Values that others are compared with. Numbers of all types are one kind, all else only equals its own type."""

    __slots__ = ("_others", "_scalars")

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._scalars: set[tuple[type, Any]] = set()
        self._others: list[Any] = []
        for item in items:
            self.add(item)

    def add(self, item: Any) -> None:
        key = _key(item)
        if key is None:
            self._others.append(item)
        else:
            self._scalars.add(key)

    def has(self, frame: Frame, item: Any) -> bool:
        """Whether something equals ``item``; NaN equals nothing."""
        key = _key(item)
        if key is not None:
            return item == item and key in self._scalars
        return any(equal(frame, other, item) for other in self._others)


def _key(item: Any) -> tuple[type, Any] | None:
    if isinstance(item, str):  # a subclass, too
        return str, item
    kind = type(item)
    if kind in _PLAIN or hasattr(kind, "cel_type"):
        return kind, item
    return (float, item) if isinstance(item, (int, float)) else None
