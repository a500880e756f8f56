"""CEL's standard operators and functions, and those of optional values, for typed dialects.

Source:
    The overloads and their errors are those of cel-go (``common/stdlib``, ``common/types``, ``cel/library.go``).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kastra_core.cel.functions import Function, Library, Overload, library
from kastra_core.cel.times import (
    checked_duration,
    duration_text,
    in_zone,
    moved,
    parse_duration,
    parse_timestamp,
    timestamp_of,
    timestamp_text,
    unix_seconds,
)
from kastra_core.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    CelType,
    list_of,
    map_of,
    optional_of,
    param,
)
from kastra_core.cel.values import (
    ABSENT,
    INT_MAX,
    INT_MIN,
    MOST_TEXT,
    UINT_MAX,
    BudgetError,
    EvaluationError,
    Frame,
    KeyedList,
    Optional,
    SetList,
    Type,
    Uint,
    element_key,
    equal,
    word_of,
)
from kastra_core.errors import shortened

__all__ = ["STANDARD", "charge_text", "checked_int", "checked_uint", "contains_item", "read_literal", "type_name"]

_A, _B = param("A"), param("B")
_LIST, _MAP = list_of(_A), map_of(_A, _B)
_OPTIONAL = optional_of(_A)
_INTEGER_TEXT = re.compile(r"[+-]?\d+", re.ASCII)
_DOUBLE_TEXT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_TRUE, _FALSE = (
    frozenset(("1", "t", "T", "TRUE", "true", "True")),
    frozenset(("0", "f", "F", "FALSE", "false", "False")),
)
_NANOSECONDS = 1000
_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND, _MILLISECOND = timedelta(microseconds=1), timedelta(milliseconds=1)
_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

_Work = Callable[..., Any]


def _over(result: CelType, *parameters: CelType, work: _Work, member: bool = False) -> Overload:
    return Overload(parameters=parameters, result=result, work=work, member=member)


def _structural(frame: Frame, *values: Any) -> Any:
    """Of operators that the evaluator does itself: they do not evaluate all operands, or look into places."""
    raise NotImplementedError


# ------------------------------------------------------------------------------------------------ numbers


def checked_int(value: int) -> int:
    """Return ``value``.

    Raises:
        EvaluationError: it has more than 64 bits.
    """
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow: the result has more than 64 bits")


def checked_uint(value: int) -> Uint:
    """Return ``value`` as an unsigned integer.

    Raises:
        EvaluationError: it is negative, or has more than 64 bits.
    """
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvaluationError("unsigned integer overflow: the result is negative or has more than 64 bits")


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


def _ints(work: Callable[[int, int], int]) -> _Work:
    return lambda frame, a, b: checked_int(work(a, b))


def _uints(work: Callable[[int, int], int]) -> _Work:
    return lambda frame, a, b: checked_uint(work(int(a), int(b)))


def _plainly(work: Callable[..., Any]) -> _Work:
    return lambda frame, *values: work(*values)


def _double_minus(a: float) -> float:
    return -a


# ------------------------------------------------------------------------------------------------ operators


def charge_text(frame: Frame, size: int) -> None:
    """Charge for a text, or bytes, of ``size`` that is made.

    Raises:
        BudgetError
    """
    if size > MOST_TEXT:
        raise BudgetError(f"it makes a text of more than {MOST_TEXT >> 20} million characters")
    frame.charge(size >> 5)


def _add_texts(frame: Frame, a: Any, b: Any) -> Any:
    charge_text(frame, len(a) + len(b))
    return a + b


def _add_lists(frame: Frame, a: Any, b: Any) -> Any:
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
    if isinstance(a, KeyedList):
        merged = KeyedList(list(a), a.keys)
        places = {a.key_of(item): index for index, item in enumerate(a)}
        for item in b:
            index = places.get(a.key_of(item))
            if index is None:
                merged.append(item)
            else:
                merged[index] = item
        return merged
    return [*a, *b]


def _compared(work: Callable[[Any, Any], bool]) -> _Work:
    return lambda frame, a, b: work(a, b)


def _compared_texts(work: Callable[[Any, Any], bool]) -> _Work:
    def compare(frame: Frame, a: Any, b: Any) -> bool:
        frame.charge(min(len(a), len(b)) >> 8)
        return work(a, b)

    return compare


_NUMBERS = (INT, UINT, DOUBLE)


def _ordering(sign: str, work: Callable[[Any, Any], bool]) -> Function:
    plain, texts = _compared(work), _compared_texts(work)
    overloads = [_over(BOOL, kind, kind, work=plain) for kind in (BOOL, TIMESTAMP, DURATION)]
    overloads += [_over(BOOL, a, b, work=plain) for a in _NUMBERS for b in _NUMBERS]
    overloads += [_over(BOOL, kind, kind, work=texts) for kind in (STRING, BYTES)]
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
    yield Function("_?_:_", (_over(_A, BOOL, _A, _A, work=_structural),))
    for name in ("_&&_", "_||_"):
        yield Function(name, (_over(BOOL, BOOL, BOOL, work=_structural),))
    for name in ("!_", "@not_strictly_false"):
        yield Function(name, (_over(BOOL, BOOL, work=_structural),))
    yield Function("_==_", (_over(BOOL, _A, _A, work=equal),))
    yield Function("_!=_", (_over(BOOL, _A, _A, work=lambda frame, a, b: not equal(frame, a, b)),))
    yield Function(
        "_+_",
        (
            _over(INT, INT, INT, work=_ints(operator.add)),
            _over(STRING, STRING, STRING, work=_add_texts),
            _over(_LIST, _LIST, _LIST, work=_add_lists),
            _over(DOUBLE, DOUBLE, DOUBLE, work=_plainly(operator.add)),
            _over(UINT, UINT, UINT, work=_uints(operator.add)),
            _over(BYTES, BYTES, BYTES, work=_add_texts),
            _over(DURATION, DURATION, DURATION, work=lambda frame, a, b: checked_duration(a + b)),
            _over(TIMESTAMP, TIMESTAMP, DURATION, work=_plainly(moved)),
            _over(TIMESTAMP, DURATION, TIMESTAMP, work=lambda frame, a, b: moved(b, a)),
        ),
    )
    yield Function(
        "_-_",
        (
            _over(INT, INT, INT, work=_ints(operator.sub)),
            _over(DOUBLE, DOUBLE, DOUBLE, work=_plainly(operator.sub)),
            _over(UINT, UINT, UINT, work=_uints(operator.sub)),
            _over(DURATION, DURATION, DURATION, work=lambda frame, a, b: checked_duration(a - b)),
            _over(TIMESTAMP, TIMESTAMP, DURATION, work=lambda frame, a, b: moved(a, -b)),
            _over(DURATION, TIMESTAMP, TIMESTAMP, work=lambda frame, a, b: checked_duration(a - b)),
        ),
    )
    for sign, ints, doubles in (
        ("*", operator.mul, operator.mul),
        ("/", _quotient, _double_quotient),
        ("%", _remainder, None),
    ):
        overloads = [_over(INT, INT, INT, work=_ints(ints)), _over(UINT, UINT, UINT, work=_uints(ints))]
        if doubles is not None:
            overloads.append(_over(DOUBLE, DOUBLE, DOUBLE, work=_plainly(doubles)))
        yield Function(f"_{sign}_", tuple(overloads))
    yield Function(
        "-_",
        (
            _over(INT, INT, work=lambda frame, a: checked_int(-a)),
            _over(DOUBLE, DOUBLE, work=_plainly(_double_minus)),
        ),
    )
    yield _ordering("<", operator.lt)
    yield _ordering("<=", operator.le)
    yield _ordering(">", operator.gt)
    yield _ordering(">=", operator.ge)
    optional_list, optional_map = optional_of(_LIST), optional_of(_MAP)
    yield Function(
        "_[_]",
        (
            _over(_A, _LIST, INT, work=_structural),
            _over(_B, _MAP, _A, work=_structural),
            _over(_OPTIONAL, optional_list, INT, work=_structural),
            _over(optional_of(_B), optional_map, _A, work=_structural),
        ),
    )
    yield Function(
        "_[?_]",
        (
            _over(_OPTIONAL, _LIST, INT, work=_structural),
            _over(_OPTIONAL, optional_list, INT, work=_structural),
            _over(optional_of(_B), _MAP, _A, work=_structural),
            _over(optional_of(_B), optional_map, _A, work=_structural),
        ),
    )
    yield Function("@in", (_over(BOOL, _A, _LIST, work=contains_item), _over(BOOL, _A, _MAP, work=_contains_key)))
    yield Function(
        "cel.@mapInsert",
        (_over(_MAP, _MAP, _A, _B, work=_structural), _over(_MAP, _MAP, _MAP, work=_structural)),
    )


# ------------------------------------------------------------------------------------------------ texts and times


def _searched(work: Callable[[str, str], bool]) -> _Work:
    def search(frame: Frame, text: str, part: str) -> bool:
        frame.charge((len(text) >> 5) + (len(part) >> 5))
        return work(text, part)

    return search


def _matches(frame: Frame, text: str, pattern: str) -> bool:
    frame.charge(1 + ((len(text) + 1) * (len(pattern) + 8) >> 7))
    from kastra_core.cel.kubernetes.regex import compile_pattern

    # Bytes: the library's own way with texts also finds out where each character begins.
    return compile_pattern(pattern).search(text.encode("utf-8", "replace")) is not None


def read_literal(function: str, text: str) -> Any:
    """What a literal argument stands for: a duration or a timestamp; None: nothing else, it may be used as it is.

    Raises:
        EvaluationError: it is no duration, timestamp or regular expression.
    """
    if function == "duration":
        return parse_duration(text)
    if function == "timestamp":
        return parse_timestamp(text)
    if function == "matches":
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
        _over(INT, TIMESTAMP, work=lambda frame, at: part(at.astimezone(UTC)), member=True),
        _over(INT, TIMESTAMP, STRING, work=lambda frame, at, zone: part(in_zone(at, zone)), member=True),
    ]
    unit = _DURATION_PARTS.get(name)
    if unit is not None:
        overloads.append(
            _over(
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
        _over(INT, kind, work=_size, member=member) for kind in (STRING, BYTES, _LIST, _MAP) for member in (False, True)
    ]
    yield Function("size", tuple(sizes))
    for name, work in (
        ("contains", lambda text, part: part in text),
        ("startsWith", str.startswith),
        ("endsWith", str.endswith),
    ):
        yield Function(name, (_over(BOOL, STRING, STRING, work=_searched(work), member=True),))
    yield Function(
        "matches",
        tuple(_over(BOOL, STRING, STRING, work=_matches, member=member) for member in (False, True)),
    )
    for name, part in _TIMESTAMP_PARTS.items():
        yield _part(name, part)


STANDARD: Library = library(_operators(), _conversions(), _functions(), _optionals())
