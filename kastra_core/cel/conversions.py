"""Conversions: ``int(x)``, ``string(x)``, ``timestamp(x)``, ``type(x)`` and their like."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from kastra_core.cel.functions import Function
from kastra_core.cel.overloads import A, charge_text, checked_int, checked_uint, over, plainly
from kastra_core.cel.times import (
    duration_text,
    parse_duration,
    parse_timestamp,
    timestamp_of,
    timestamp_text,
    unix_seconds,
)
from kastra_core.cel.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UINT, CelType
from kastra_core.cel.values import INT_MAX, INT_MIN, UINT_MAX, EvaluationError, Frame, Optional, Type, Uint
from kastra_core.errors import shortened

__all__ = ["CONVERSIONS", "type_name"]

_INTEGER_TEXT = re.compile(r"[+-]?\d+", re.ASCII)
_DOUBLE_TEXT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_MICROSECOND = timedelta(microseconds=1)
_NANOSECONDS = 1000
"""Of a microsecond."""


def _cannot(name: str, value: Any) -> EvaluationError:
    return EvaluationError(f"{name}() cannot read {shortened(str(value), 60)!r}")


def _int_of_text(frame: Frame, text: str) -> int:
    if len(text) > 100 or not _INTEGER_TEXT.fullmatch(text):
        raise _cannot("int", text)
    value = int(text)
    if not INT_MIN <= value <= INT_MAX:
        raise _cannot("int", text)
    return value


def _uint_of_text(frame: Frame, text: str) -> Uint:
    if len(text) > 100 or not (text.isascii() and text.isdigit()) or int(text) > UINT_MAX:
        raise _cannot("uint", text)
    return Uint(text)


def _int_of_double(frame: Frame, value: float) -> int:
    if not INT_MIN < value < INT_MAX:  # also NaN
        raise EvaluationError(f"int() cannot hold {value}: it has more than 64 bits")
    return int(value)


def _uint_of_double(frame: Frame, value: float) -> Uint:
    if not 0 <= value < UINT_MAX:
        raise EvaluationError(f"uint() cannot hold {value}: it is negative or has more than 64 bits")
    return Uint(value)


def _double_of_text(frame: Frame, text: str) -> float:
    if len(text) > 1000 or not _DOUBLE_TEXT.fullmatch(text):
        raise _cannot("double", text)
    value = float(text)
    if math.isinf(value) and "n" not in text.lower():
        raise _cannot("double", text)
    return value


def _bool_of_text(frame: Frame, text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _cannot("bool", text)


def _text_of_bytes(frame: Frame, value: bytes) -> str:
    charge_text(frame, len(value))
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("string() cannot read bytes that are no UTF-8") from None


def _bytes_of_text(frame: Frame, text: str) -> bytes:
    charge_text(frame, len(text))
    return text.encode("utf-8", "surrogatepass")


def _text_of_double(value: float) -> str:
    """As Go's %g: the shortest digits that give the same number, with an exponent from a million on."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    digits, _, power = f"{value!r}".partition("e")
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    exponent = len(whole) - 1 + int(power or "0")
    plain = whole + fraction
    stripped = plain.lstrip("0")
    exponent -= len(plain) - len(stripped)
    stripped = stripped.rstrip("0")
    if not stripped:
        return f"{sign}0"
    if exponent < -4 or exponent >= 6:
        tail = f".{stripped[1:]}" if len(stripped) > 1 else ""
        return f"{sign}{stripped[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{stripped}"
    if len(stripped) <= exponent + 1:
        return f"{sign}{stripped.ljust(exponent + 1, '0')}"
    return f"{sign}{stripped[: exponent + 1]}.{stripped[exponent + 1 :]}"


_TYPES_OF_VALUES: tuple[tuple[Any, str], ...] = (
    (type(None), "null_type"),
    (bool, "bool"),
    (Uint, "uint"),
    (int, "int"),
    (float, "double"),
    (str, "string"),
    (bytes, "bytes"),
    (Mapping, "map"),
    ((list, tuple), "list"),
    (Type, "type"),
    (datetime, "google.protobuf.Timestamp"),
    (timedelta, "google.protobuf.Duration"),
    (Optional, "optional_type"),
)


def type_name(value: Any) -> str:
    """The name of a value's type: what ``type(value)`` gives."""
    own = getattr(type(value), "cel_type", None)
    if own is not None:
        return str(own.name)
    return next(name for kind, name in _TYPES_OF_VALUES if isinstance(value, kind))


def _itself(frame: Frame, value: Any) -> Any:
    return value


def _conversions() -> Iterator[Function]:
    yield Function("type", (over(CelType("type", (A,)), A, work=lambda frame, value: Type(type_name(value))),))
    yield Function("dyn", (over(DYN, A, work=_itself),))
    yield Function("bool", (over(BOOL, BOOL, work=_itself), over(BOOL, STRING, work=_bool_of_text)))
    yield Function("bytes", (over(BYTES, BYTES, work=_itself), over(BYTES, STRING, work=_bytes_of_text)))
    yield Function(
        "int",
        (
            over(INT, INT, work=_itself),
            over(INT, DOUBLE, work=_int_of_double),
            over(INT, DURATION, work=lambda frame, value: (value // _MICROSECOND) * _NANOSECONDS),
            over(INT, STRING, work=_int_of_text),
            over(INT, TIMESTAMP, work=plainly(unix_seconds)),
            over(INT, UINT, work=lambda frame, value: checked_int(int(value))),
        ),
    )
    yield Function(
        "uint",
        (
            over(UINT, UINT, work=_itself),
            over(UINT, DOUBLE, work=_uint_of_double),
            over(UINT, INT, work=lambda frame, value: checked_uint(value)),
            over(UINT, STRING, work=_uint_of_text),
        ),
    )
    yield Function(
        "double",
        (
            over(DOUBLE, DOUBLE, work=_itself),
            over(DOUBLE, INT, work=plainly(float)),
            over(DOUBLE, STRING, work=_double_of_text),
            over(DOUBLE, UINT, work=plainly(float)),
        ),
    )
    yield Function(
        "string",
        (
            over(STRING, STRING, work=_itself),
            over(STRING, BOOL, work=lambda frame, value: "true" if value else "false"),
            over(STRING, BYTES, work=_text_of_bytes),
            over(STRING, DOUBLE, work=plainly(_text_of_double)),
            over(STRING, DURATION, work=plainly(duration_text)),
            over(STRING, INT, work=plainly(str)),
            over(STRING, TIMESTAMP, work=plainly(timestamp_text)),
            over(STRING, UINT, work=lambda frame, value: str(int(value))),
        ),
    )
    yield Function(
        "timestamp",
        (
            over(TIMESTAMP, TIMESTAMP, work=_itself),
            over(TIMESTAMP, INT, work=plainly(timestamp_of)),
            over(TIMESTAMP, STRING, work=plainly(parse_timestamp)),
        ),
    )
    yield Function(
        "duration",
        (over(DURATION, DURATION, work=_itself), over(DURATION, STRING, work=plainly(parse_duration))),
    )


CONVERSIONS: tuple[Function, ...] = tuple(_conversions())
