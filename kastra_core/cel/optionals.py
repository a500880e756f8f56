"""Functions of optional values: ``optional.of(x)``, ``x.orValue(y)``; ``list.first()``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kastra_core.cel.functions import Function
from kastra_core.cel.overloads import LIST, OPTIONAL, A, Work, over, plainly, structural
from kastra_core.cel.types import BOOL, list_of
from kastra_core.cel.values import ABSENT, EvaluationError, Frame, Optional

__all__ = ["OPTIONALS"]

_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)


def _value(frame: Frame, optional: Optional) -> Any:
    if optional.present:
        return optional.value
    raise EvaluationError("an optional value is absent; orValue(x) gives another one")


def _unless_zero(frame: Frame, value: Any) -> Optional:
    zero = (
        value is None
        or value == _ZERO_TIME
        or (isinstance(value, (bool, int, float, str, bytes, list, tuple, Mapping, timedelta)) and not value)
    )
    return ABSENT if zero else Optional(value)


def _end(index: int) -> Work:
    return lambda frame, items: Optional(items[index]) if items else ABSENT


def _unwrapped(frame: Frame, items: Iterable[Optional]) -> list[Any]:
    found = list(items)
    frame.charge(len(found))
    return [item.value for item in found if item.present]


def _optionals() -> Iterator[Function]:
    yield Function("optional.of", (over(OPTIONAL, A, work=plainly(Optional)),))
    yield Function("optional.ofNonZeroValue", (over(OPTIONAL, A, work=_unless_zero),))
    yield Function("optional.none", (over(OPTIONAL, work=lambda frame: ABSENT),))
    yield Function("optional.unwrap", (over(LIST, list_of(OPTIONAL), work=_unwrapped),))
    yield Function("unwrapOpt", (over(LIST, list_of(OPTIONAL), work=_unwrapped, member=True),))
    yield Function("value", (over(A, OPTIONAL, work=_value, member=True),))
    yield Function("hasValue", (over(BOOL, OPTIONAL, work=lambda frame, value: value.present, member=True),))
    yield Function("or", (over(OPTIONAL, OPTIONAL, OPTIONAL, work=structural, member=True),))
    yield Function("orValue", (over(A, OPTIONAL, A, work=structural, member=True),))
    yield Function("first", (over(OPTIONAL, LIST, work=_end(0), member=True),))
    yield Function("last", (over(OPTIONAL, LIST, work=_end(-1), member=True),))


OPTIONALS: tuple[Function, ...] = tuple(_optionals())
