"""CEL's standard operators and functions, and those of optional values, for typed dialects.

Source:
    The overloads and their errors are those of cel-go (``common/stdlib``, ``common/types``, ``cel/library.go``).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kastra_core.cel.conversions import CONVERSIONS
from kastra_core.cel.functions import Function, Library, library
from kastra_core.cel.optionals import OPTIONALS
from kastra_core.cel.overloads import (
    LIST,
    MAP,
    OPTIONAL,
    A,
    B,
    Work,
    charge_text,
    checked_int,
    checked_uint,
    over,
    plainly,
    structural,
)
from kastra_core.cel.times import checked_duration, in_zone, moved, parse_duration, parse_timestamp
from kastra_core.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, optional_of
from kastra_core.cel.values import (
    INT_MIN,
    EvaluationError,
    Frame,
    KeyedList,
    SetList,
    charge_comparison,
    element_key,
    equal,
    word_of,
)

__all__ = ["STANDARD", "contains_item", "read_literal"]

_MICROSECOND, _MILLISECOND = timedelta(microseconds=1), timedelta(milliseconds=1)
_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


# ------------------------------------------------------------------------------------------------ numbers


def _quotient(a: int, b: int) -> int:
    if b == 0:
        raise EvaluationError("division by zero")
    out = abs(a) // abs(b)
    return out if (a < 0) == (b < 0) else -out


def _remainder(a: int, b: int) -> int:
    if b == 0:
        raise EvaluationError("modulus by zero")
    out = abs(a) % abs(b)
    if a == INT_MIN and b == -1:  # as in Go, which divides first
        raise EvaluationError("integer overflow: the result has more than 64 bits")
    return -out if a < 0 else out


def _double_quotient(a: float, b: float) -> float:
    if b:
        return a / b
    if not a or a != a:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _ints(work: Callable[[int, int], int]) -> Work:
    return lambda frame, a, b: checked_int(work(a, b))


def _uints(work: Callable[[int, int], int]) -> Work:
    return lambda frame, a, b: checked_uint(work(int(a), int(b)))


def _double_minus(a: float) -> float:
    return -a


# ------------------------------------------------------------------------------------------------ operators


def _add_texts(frame: Frame, a: Any, b: Any) -> Any:
    charge_text(frame, len(a) + len(b))
    return a + b


def _add_lists(frame: Frame, a: Any, b: Any) -> Any:
    if not isinstance(a, (SetList, KeyedList)):
        frame.charge((len(a) + len(b)) >> 2)
        return [*a, *b]
    frame.charge(len(a) + len(b))
    if isinstance(a, SetList):
        known = {element_key(item) for item in a}
        out = SetList(a)
        for item in b:
            key = element_key(item)
            if key not in known:
                known.add(key)
                out.append(item)
        return out
    merged = KeyedList(list(a), a.keys)
    places = {a.key_of(item): index for index, item in enumerate(a)}
    for item in b:
        index = places.get(a.key_of(item))
        if index is None:
            merged.append(item)
        else:
            merged[index] = item
    return merged


def _compared(work: Callable[[Any, Any], bool]) -> Work:
    return lambda frame, a, b: work(a, b)


def _compared_doubles(work: Callable[[Any, Any], bool]) -> Work:
    def compare(frame: Frame, a: Any, b: Any) -> bool:
        # As in cel-go: beyond 53 bits an integer is compared as the nearest double.
        first, second = float(a), float(b)
        if first != first or second != second:
            raise EvaluationError("NaN comes neither before nor after a number")
        return work(first, second)

    return compare


def _compared_texts(work: Callable[[Any, Any], bool]) -> Work:
    def compare(frame: Frame, a: Any, b: Any) -> bool:
        charge_comparison(frame, a, b)
        return work(a, b)

    return compare


_NUMBERS = (INT, UINT, DOUBLE)


def _ordering(sign: str, work: Callable[[Any, Any], bool]) -> Function:
    plain, texts = _compared(work), _compared_texts(work)
    overloads = [over(BOOL, kind, kind, work=plain) for kind in (BOOL, TIMESTAMP, DURATION)]
    overloads += [
        over(BOOL, a, b, work=_compared_doubles(work) if DOUBLE in (a, b) else plain)
        for a in _NUMBERS
        for b in _NUMBERS
    ]
    overloads += [over(BOOL, kind, kind, work=texts) for kind in (STRING, BYTES)]
    return Function(f"_{sign}_", tuple(overloads))


def contains_item(frame: Frame, item: Any, items: Any) -> bool:
    """Whether ``items`` has an item that equals ``item``."""
    frame.charge(len(items))
    return any(equal(frame, item, other) for other in items)


def _contains_key(frame: Frame, key: Any, values: Mapping[Any, Any]) -> bool:
    try:
        return key in values
    except TypeError:
        raise EvaluationError(f"{word_of(key)} is no key of a map") from None


def _operators() -> Iterator[Function]:
    yield Function("_?_:_", (over(A, BOOL, A, A, work=structural),))
    for name in ("_&&_", "_||_"):
        yield Function(name, (over(BOOL, BOOL, BOOL, work=structural),))
    for name in ("!_", "@not_strictly_false"):
        yield Function(name, (over(BOOL, BOOL, work=structural),))
    yield Function("_==_", (over(BOOL, A, A, work=equal),))
    yield Function("_!=_", (over(BOOL, A, A, work=lambda frame, a, b: not equal(frame, a, b)),))
    yield Function(
        "_+_",
        (
            over(INT, INT, INT, work=_ints(operator.add)),
            over(STRING, STRING, STRING, work=_add_texts),
            over(LIST, LIST, LIST, work=_add_lists),
            over(DOUBLE, DOUBLE, DOUBLE, work=plainly(operator.add)),
            over(UINT, UINT, UINT, work=_uints(operator.add)),
            over(BYTES, BYTES, BYTES, work=_add_texts),
            over(DURATION, DURATION, DURATION, work=lambda frame, a, b: checked_duration(a + b)),
            over(TIMESTAMP, TIMESTAMP, DURATION, work=plainly(moved)),
            over(TIMESTAMP, DURATION, TIMESTAMP, work=lambda frame, a, b: moved(b, a)),
        ),
    )
    yield Function(
        "_-_",
        (
            over(INT, INT, INT, work=_ints(operator.sub)),
            over(DOUBLE, DOUBLE, DOUBLE, work=plainly(operator.sub)),
            over(UINT, UINT, UINT, work=_uints(operator.sub)),
            over(DURATION, DURATION, DURATION, work=lambda frame, a, b: checked_duration(a - b)),
            over(TIMESTAMP, TIMESTAMP, DURATION, work=lambda frame, a, b: moved(a, -b)),
            over(DURATION, TIMESTAMP, TIMESTAMP, work=lambda frame, a, b: checked_duration(a - b)),
        ),
    )
    for sign, ints, doubles in (
        ("*", operator.mul, operator.mul),
        ("/", _quotient, _double_quotient),
        ("%", _remainder, None),
    ):
        overloads = [over(INT, INT, INT, work=_ints(ints)), over(UINT, UINT, UINT, work=_uints(ints))]
        if doubles is not None:
            overloads.append(over(DOUBLE, DOUBLE, DOUBLE, work=plainly(doubles)))
        yield Function(f"_{sign}_", tuple(overloads))
    yield Function(
        "-_",
        (
            over(INT, INT, work=lambda frame, a: checked_int(-a)),
            over(DOUBLE, DOUBLE, work=plainly(_double_minus)),
        ),
    )
    yield _ordering("<", operator.lt)
    yield _ordering("<=", operator.le)
    yield _ordering(">", operator.gt)
    yield _ordering(">=", operator.ge)
    optional_list, optional_map = optional_of(LIST), optional_of(MAP)
    yield Function(
        "_[_]",
        (
            over(A, LIST, INT, work=structural),
            over(B, MAP, A, work=structural),
            over(OPTIONAL, optional_list, INT, work=structural),
            over(optional_of(B), optional_map, A, work=structural),
        ),
    )
    yield Function(
        "_[?_]",
        (
            over(OPTIONAL, LIST, INT, work=structural),
            over(OPTIONAL, optional_list, INT, work=structural),
            over(optional_of(B), MAP, A, work=structural),
            over(optional_of(B), optional_map, A, work=structural),
        ),
    )
    yield Function("@in", (over(BOOL, A, LIST, work=contains_item), over(BOOL, A, MAP, work=_contains_key)))
    yield Function(
        "cel.@mapInsert",
        (over(MAP, MAP, A, B, work=structural), over(MAP, MAP, MAP, work=structural)),
    )


# ------------------------------------------------------------------------------------------------ texts and times


# Charges are those of cel-go, in whole steps, beside the one of a call.


def _contains(frame: Frame, text: str, part: str) -> bool:
    frame.charge((len(text) // 10) * (1 + len(part) // 10))
    return part in text


def _at_end(work: Callable[[str, str], bool]) -> Work:
    def look(frame: Frame, text: str, part: str) -> bool:
        frame.charge(len(text) // 10)
        return work(text, part)

    return look


def _matches(frame: Frame, text: str, pattern: str) -> bool:
    from kastra_core.cel.kubernetes.regex import is_match

    return is_match(frame, text, pattern)


_PATTERN_FUNCTIONS = frozenset({"matches", "find", "findAll"})


def read_literal(function: str, text: str) -> Any:
    """What a literal argument stands for: a duration or a timestamp; None: nothing else, it may be used as it is.

    Raises:
        EvaluationError: it is no duration, timestamp or regular expression.
    """
    if function == "duration":
        return parse_duration(text)
    if function == "timestamp":
        return parse_timestamp(text)
    if function in _PATTERN_FUNCTIONS:
        from kastra_core.cel.kubernetes.regex import compile_pattern

        compile_pattern(text)
    return None


_TIMESTAMP_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDate": lambda at: at.day,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}
_DURATION_PARTS = {
    "getHours": _HOUR,
    "getMinutes": _MINUTE,
    "getSeconds": _SECOND,
    "getMilliseconds": _MILLISECOND,
}


def _part(name: str, part: Callable[[datetime], int]) -> Function:
    overloads = [
        over(INT, TIMESTAMP, work=lambda frame, at: part(at.astimezone(UTC)), member=True),
        over(INT, TIMESTAMP, STRING, work=lambda frame, at, zone: part(in_zone(at, zone)), member=True),
    ]
    unit = _DURATION_PARTS.get(name)
    if unit is not None:
        overloads.append(
            over(
                INT,
                DURATION,
                work=lambda frame, length: _quotient(length // _MICROSECOND, unit // _MICROSECOND),
                member=True,
            )
        )
    return Function(name, tuple(overloads))


def _size(frame: Frame, value: Any) -> int:
    return len(value)


def _functions() -> Iterator[Function]:
    sizes = [
        over(INT, kind, work=_size, member=member) for kind in (STRING, BYTES, LIST, MAP) for member in (False, True)
    ]
    yield Function("size", tuple(sizes))
    for name, work in (
        ("contains", _contains),
        ("startsWith", _at_end(str.startswith)),
        ("endsWith", _at_end(str.endswith)),
    ):
        yield Function(name, (over(BOOL, STRING, STRING, work=work, member=True),))
    yield Function(
        "matches",
        tuple(over(BOOL, STRING, STRING, work=_matches, member=member) for member in (False, True)),
    )
    for name, part in _TIMESTAMP_PARTS.items():
        yield _part(name, part)


STANDARD: Library = library(_operators(), CONVERSIONS, _functions(), OPTIONALS)
