"""Values of CEL that Python has no type for, their equality, and what one evaluation may spend.

All else is plain Python: None, bool, int, float, str, bytes, list, dict, an aware ``datetime``, ``timedelta``. A type
of a library is a class with a class attribute ``cel_type``, its :class:`~kastra_core.cel.types.CelType`, and ``==``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

__all__ = [
    "ABSENT",
    "INT_MAX",
    "INT_MIN",
    "MOST_TEXT",
    "SHORT",
    "UINT_MAX",
    "BudgetError",
    "EvaluationError",
    "Frame",
    "KeyedList",
    "Meter",
    "Optional",
    "SetList",
    "Type",
    "Uint",
    "charge_comparison",
    "element_key",
    "equal",
    "word_of",
]

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1
MOST_TEXT = 32 * 1024 * 1024
"""Characters of a text, or bytes, that an expression makes."""


class EvaluationError(Exception):
    """An expression has no value; the message says why."""


class BudgetError(EvaluationError):
    """It takes too long, or gets too big: `||` does not hide it."""


class Meter:
    """Steps that may still be taken; one for all expressions that share a budget.

    A step takes 0.05 to 1 us.
    """

    __slots__ = ("advice", "left", "limit")

    def __init__(self, limit: int, advice: str = "") -> None:
        """``advice`` ends the message of the BudgetError: what to do instead."""
        self.limit, self.left, self.advice = limit, limit, advice

    def charge(self, count: int) -> None:
        """Take ``count`` steps.

        Raises:
            BudgetError: there are not so many left.
        """
        self.left -= count
        if self.left < 0:
            raise BudgetError(f"it takes too many steps{'; ' if self.advice else ''}{self.advice}")


class Frame:
    """What one evaluation knows: variables, and how much it may still do."""

    __slots__ = ("charge", "meter", "names")

    def __init__(self, names: dict[str, Any], meter: Meter) -> None:
        self.names, self.meter = names, meter
        self.charge: Callable[[int], None] = meter.charge


class Uint(int):
    """An unsigned integer of 64 bits; arithmetic on it gives a plain int."""

    __slots__ = ()


class Type:
    """A type as a value: ``type(x) == int``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Type({self.name!r})"


class Optional:
    """A value that may be absent: ``a.?b``. ``Optional(x)`` holds x, :data:`ABSENT` nothing."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any, present: bool = True) -> None:
        self.value, self.present = value, present

    def __repr__(self) -> str:
        return f"Optional({self.value!r})" if self.present else "ABSENT"


ABSENT = Optional(None, False)


class SetList(list[Any]):
    """A list of a schema with ``x-kubernetes-list-type: set``: order does not matter to ``==``."""

    __slots__ = ()


class KeyedList(list[Any]):
    """A list with ``x-kubernetes-list-type: map``; ``keys`` are the JSON names of what tells its items apart."""

    __slots__ = ("keys",)

    def __init__(self, items: list[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> tuple[Any, ...]:
        return tuple(element_key(item.get(key)) if isinstance(item, dict) else None for key in self.keys)


def element_key(value: Any) -> Any:
    """What stands for a scalar in a set of Python: types stay apart, as 1 and true.

    Raises:
        EvaluationError: a list or a map.
    """
    if isinstance(value, (list, tuple, Mapping)):
        raise EvaluationError(f"a list that is a set holds scalars, not {word_of(value)}")
    return (bool, value) if isinstance(value, bool) else value


def word_of(value: Any) -> str:
    """What a reader calls the type of a value: ``a text``, ``a list of 3 items``."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "a boolean"
    if isinstance(value, int):
        return "an unsigned integer" if isinstance(value, Uint) else "an integer"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)} item{'' if len(value) == 1 else 's'}"
    if isinstance(value, datetime):
        return "a timestamp"
    if isinstance(value, timedelta):
        return "a duration"
    if isinstance(value, Optional):
        return "an optional value"
    if hasattr(type(value), "cel_type"):
        return f"a value of type {type(value).cel_type}"
    return "a type" if isinstance(value, Type) else "bytes"


_NUMBERS = (int, float, Uint)
SHORT = 16
"""Characters up to which a comparison of texts takes one step, that of the call."""


def charge_comparison(frame: Frame, a: Any, b: Any) -> None:
    """Charge for a comparison of texts or bytes: a step for ten characters of the shorter one, as in Kubernetes."""
    if len(a) > SHORT and len(b) > SHORT:
        frame.charge(min(len(a), len(b)) // 10)


def equal(frame: Frame, a: Any, b: Any) -> bool:
    """CEL's equality: of numbers by value, of all else only within one type. Charges ``frame`` for long values."""
    kind, other = type(a), type(b)
    if kind is str or isinstance(a, str) or isinstance(b, str):
        if not (isinstance(a, str) and isinstance(b, str)):
            return False
        charge_comparison(frame, a, b)
        return a == b
    if kind in _NUMBERS and other in _NUMBERS:
        return bool(a == b)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and _equal_lists(frame, a, b)
    if isinstance(a, Mapping):
        if not isinstance(b, Mapping) or len(a) != len(b):
            return False
        frame.charge(len(a))
        return all(key in b and equal(frame, value, b[key]) for key, value in a.items())
    if isinstance(a, Type) or isinstance(b, Type):
        return isinstance(a, Type) and isinstance(b, Type) and a.name == b.name
    if isinstance(a, Optional) or isinstance(b, Optional):
        if not (isinstance(a, Optional) and isinstance(b, Optional)) or a.present != b.present:
            return False
        return not a.present or equal(frame, a.value, b.value)
    if kind is bytes and other is bytes:
        charge_comparison(frame, a, b)
    return kind is other and bool(a == b)


def _equal_lists(frame: Frame, a: Any, b: Any) -> bool:
    if not isinstance(a, (SetList, KeyedList)):
        frame.charge(len(a) >> 1)
        return all(equal(frame, x, y) for x, y in zip(a, b, strict=True))
    frame.charge(2 * len(a))
    if isinstance(a, SetList):
        return {element_key(item) for item in a} == {element_key(item) for item in b}
    mine = {a.key_of(item): item for item in a}
    theirs = {a.key_of(item): item for item in b}
    return mine.keys() == theirs.keys() and all(equal(frame, mine[key], item) for key, item in theirs.items())
