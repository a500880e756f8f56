"""CEL's operators and functions on JSON as it is.

Two things are other than in CEL, because JSON has one kind of number: integers and doubles mix in arithmetic (the
result is a double), and a division of doubles by zero is an error as that of integers is. An integer may have any
size; what is computed has 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from kastra_core.cel.overloads import checked_int
from kastra_core.cel.times import duration_text
from kastra_core.cel.values import (
    MOST_TEXT,
    BudgetError,
    EvaluationError,
    Frame,
    Type,
    equal,
    word_of,
)
from kastra_core.cel.words import Words, missing

__all__ = ["BINARY", "UNARY", "by_library", "index_of", "json_of", "key_of", "text_of"]

_MOST_RESULT = 64 * 1024 * 1024
"""Bytes, about, of a result; a value that it holds several times counts each time."""


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is int or kind is float


def json_of(value: Any) -> Any:
    """Return the JSON of a result: a timestamp as RFC 3339, a duration as "90s", bytes as base64.

    Raises:
        EvaluationError: it is not JSON: NaN, infinity, a type, keys that are no texts; it is too big.
    """
    return _json(value, [_MOST_RESULT])


def _json(value: Any, left: list[int]) -> Any:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is int:
        return value
    if kind is str:
        left[0] -= len(value)
    elif kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise EvaluationError(f"the result is {value}, which JSON cannot hold")
        return value
    elif isinstance(value, (list, tuple)):
        left[0] -= 8 * len(value)
        _within(left)
        return [_json(item, left) for item in value]
    elif isinstance(value, Mapping):
        left[0] -= 16 * len(value)
        _within(left)
        out = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise EvaluationError(f"the result has the key {key}; keys of a JSON object are texts")
            out[key] = _json(item, left)
        return out
    else:
        return text_of(value)
    _within(left)
    return value


def _within(left: list[int]) -> None:
    if left[0] < 0:
        raise BudgetError(f"the result has more than {_MOST_RESULT >> 20} MiB")


def text_of(value: Any) -> str:
    """The JSON text of a timestamp, a duration or bytes."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, (bytes, bytearray)):
        from base64 import b64encode

        return b64encode(value).decode()
    if isinstance(value, str):
        return str(value)
    raise EvaluationError(f"the result is {word_of(value)}, which is no JSON")


# ------------------------------------------------------------------------------------------------ the library's part


def by_library(shape: str, values: tuple[Any, ...]) -> Any:
    """Evaluate ``shape`` (``{0}.matches({1})``) with scalar values.

    Raises:
        EvaluationError
    """
    names, data = [], {}
    for index, value in enumerate(values):
        name = f"a{index}"
        if isinstance(value, (Type, list, tuple, Mapping)):
            raise EvaluationError(f"{_readable_shape(shape)} does not take {word_of(value)}")
        if isinstance(value, str) and "\x00" in value:
            raise EvaluationError(f"{_readable_shape(shape)} does not take a text with a NUL character")
        if isinstance(value, (datetime, timedelta)):
            name = f"{'timestamp' if isinstance(value, datetime) else 'duration'}({name})"
            value = text_of(value)
        names.append(name)
        data[f"a{index}"] = value
    from cel_expr_python import cel

    try:
        result = _compiled(shape.format(*names), len(values)).eval(data=data)
    except (RuntimeError, UnicodeError) as error:  # a lone surrogate
        raise EvaluationError(f"{_readable_shape(shape)}: {error}") from error
    kind = result.type()
    if kind == cel.Type.ERROR:
        message = str(result.value())
        if "No matching overloads" in message:
            raise EvaluationError(f"{_readable_shape(shape)} does not take {' and '.join(map(word_of, values))}")
        raise EvaluationError(message.partition(": ")[2] or message)
    if kind == cel.Type.UINT:
        raise EvaluationError("JSON has no unsigned integers; use int()")
    value = result.plain_value()
    return Type(value.name().lower()) if kind == cel.Type.TYPE else value


def _readable_shape(shape: str) -> str:
    return shape.split("(")[0].replace("{0}.", "").replace("{0}", "").replace("{1}", "").strip() or shape


@lru_cache(maxsize=512)
def _compiled(source: str, count: int) -> Any:
    from cel_expr_python import cel

    environment = cel.NewEnv(variables={f"a{index}": cel.Type.DYN for index in range(count)})
    try:
        return environment.compile(source)
    except RuntimeError as error:
        raise EvaluationError(str(error).partition("\n")[0]) from error


# ------------------------------------------------------------------------------------------------ operators


def _no_overload(operator: str, a: Any, b: Any) -> EvaluationError:
    hint = ""
    if operator == "+" and isinstance(a, str) != isinstance(b, str):
        hint = "; string(x) makes a text of a number"
    return EvaluationError(f"{operator!r} does not take {word_of(a)} and {word_of(b)}{hint}")


def _rich(value: Any) -> bool:
    return isinstance(value, (datetime, timedelta, bytes, bytearray))


def _add(frame: Frame, a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int:
        return checked_int(a + b)
    if isinstance(a, str) and isinstance(b, str):
        size = len(a) + len(b)
        if size > MOST_TEXT:
            raise BudgetError(f"it makes a text of more than {MOST_TEXT >> 20} million characters")
        frame.charge(size >> 6)
        return a + b
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        frame.charge(len(a) + len(b))
        return [*a, *b]
    return _arithmetic("+", a, b)


def _arithmetic(operator: str, a: Any, b: Any) -> Any:
    if _is_number(a) and _is_number(b):
        try:
            if type(a) is int and type(b) is int:
                return checked_int(_INTEGER[operator](a, b))
            return float(_DOUBLE[operator](a, b))
        except ZeroDivisionError:
            raise EvaluationError("division by zero" if operator == "/" else "modulus by zero") from None
        except OverflowError:
            raise EvaluationError("a number is too big") from None
    if _rich(a) or _rich(b):
        return by_library(f"{{0}} {operator} {{1}}", (a, b))
    raise _no_overload(operator, a, b)


def _divide(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _modulo_of_double(a: float, b: float) -> float:
    raise EvaluationError("'%' takes integers only")


_INTEGER: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": lambda a, b: a - b * _divide(a, b),
}
_DOUBLE: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": _modulo_of_double,
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _compare(operator: str, a: Any, b: Any) -> bool:
    if _is_number(a) and _is_number(b):
        return _ORDER[operator](a, b)
    if isinstance(a, str) and isinstance(b, str):
        return _ORDER[operator](a, b)
    if isinstance(a, bool) and isinstance(b, bool):
        return _ORDER[operator](a, b)
    if _rich(a) or _rich(b):
        return bool(by_library(f"{{0}} {operator} {{1}}", (a, b)))
    raise _no_overload(operator, a, b)


def _in(frame: Frame, a: Any, b: Any) -> bool:
    if isinstance(b, (list, tuple)):
        frame.charge(len(b))
        return any(equal(frame, a, item) for item in b)
    if isinstance(b, Mapping):
        return not (type(a) is float and not a.is_integer()) and key_of(a) in b
    hint = "; text.contains(part) looks into a text" if isinstance(b, str) else ""
    raise EvaluationError(f"'in' looks into a list or an object, not into {word_of(b)}{hint}")


def key_of(value: Any) -> Any:
    """A key as objects hold it. JSON has texts only; literals may have integers."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        raise EvaluationError("a boolean is no key of an object; use 'x ? a : b'")
    raise EvaluationError(f"{word_of(value)} is no key of an object")


def index_of(where: str, value: Any, key: Any, words: Words | None = None) -> Any:
    """``value[key]``; ``where`` is how the value is written, ``words`` those of a dialect for what is missing.

    Raises:
        EvaluationError
    """
    if isinstance(value, (list, tuple)):
        if type(key) is float and key.is_integer():
            key = int(key)
        if type(key) is not int:
            if isinstance(key, str):
                raise missing(where, value, key, words)
            raise EvaluationError(f"{where} is {word_of(value)}; an index is an integer, not {word_of(key)}")
        if 0 <= key < len(value):
            return value[key]
        raise missing(where, value, key, words)
    if isinstance(value, Mapping):
        plain = key_of(key)
        if plain in value:
            return value[plain]
        raise (
            missing(where, value, plain, words)
            if isinstance(plain, str)
            else EvaluationError(f"{where} has no key {plain}")
        )
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        raise missing(where, value, key, words)
    raise EvaluationError(f"{where} is {word_of(value)}; it has no items")


def _size(value: Any) -> int:
    if isinstance(value, (str, list, tuple, Mapping, bytes, bytearray)):
        return len(value)
    raise EvaluationError(f"'size' takes a text, a list or an object, not {word_of(value)}")


def _string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**1000 else _too_long()
    if value is None or isinstance(value, (list, tuple, Mapping, Type)):
        raise EvaluationError(f"'string' does not take {word_of(value)}")
    return by_library("string({0})", (value,))


def _too_long() -> str:
    raise EvaluationError("an integer of more than 1000 digits")


def _type(value: Any) -> Type:
    names = (
        (type(None), "null_type"),
        (bool, "bool"),
        (int, "int"),
        (float, "double"),
        (str, "string"),
        (Mapping, "map"),
    )
    for kind, name in (*names, ((list, tuple), "list"), (Type, "type"), ((bytes, bytearray), "bytes")):
        if isinstance(value, kind):
            return Type(name)
    return Type("google.protobuf.Timestamp" if isinstance(value, datetime) else "google.protobuf.Duration")


def _texts(name: str, work: Callable[[str, str], bool]) -> Callable[[Frame, Any, Any], bool]:
    def call(frame: Frame, a: Any, b: Any) -> bool:
        if isinstance(a, str) and isinstance(b, str):
            frame.charge(len(a) >> 8)
            return work(a, b)
        raise EvaluationError(f"{name!r} takes texts, not {word_of(a)} and {word_of(b)}")

    return call


def _matches(frame: Frame, a: Any, b: Any) -> bool:
    if not (isinstance(a, str) and isinstance(b, str)):
        raise EvaluationError(f"'matches' takes texts, not {word_of(a)} and {word_of(b)}")
    from kastra_core.cel.kubernetes.regex import is_match

    return is_match(frame, a, b)


UNARY: dict[str, Callable[[Any], Any]] = {
    "size": _size,
    "string": _string,
    "type": _type,
    "dyn": lambda value: value,
}
BINARY: dict[str, Callable[[Frame, Any, Any], Any]] = {
    "_+_": _add,
    "_==_": equal,
    "_!=_": lambda frame, a, b: not equal(frame, a, b),
    "@in": _in,
    "contains": _texts("contains", lambda a, b: b in a),
    "startsWith": _texts("startsWith", lambda a, b: a.startswith(b)),
    "endsWith": _texts("endsWith", lambda a, b: a.endswith(b)),
    "matches": _matches,
}


def _plain_operator(work: Callable[[str, Any, Any], Any], sign: str) -> Callable[[Frame, Any, Any], Any]:
    return lambda frame, a, b: work(sign, a, b)


for _sign in ("-", "*", "/", "%"):
    BINARY[f"_{_sign}_"] = _plain_operator(_arithmetic, _sign)
for _sign in _ORDER:
    BINARY[f"_{_sign}_"] = _plain_operator(_compare, _sign)
