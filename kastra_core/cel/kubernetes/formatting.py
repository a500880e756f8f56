"""``"...".format([...])``: version 2 of cel-go's strings, in its one locale, en-US."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite, isinf, isnan
from typing import Any

from kastra_core.cel.kubernetes.estimates import charge_text
from kastra_core.cel.times import duration_text, timestamp_text
from kastra_core.cel.values import BudgetError, EvaluationError, Frame, Type, word_of

__all__ = ["ESCAPES", "format_text", "quoted"]

_CLAUSE = re.compile(r"%(?:%|(?:\.([0-9]*))?(.?))", re.DOTALL)
_DEFAULT_PRECISION = 6
_MOST_PRECISION = 100_000
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_WORDS_FOR_DOUBLES = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_NESTING = 100


def format_text(frame: Frame, template: str, values: list[Any]) -> str:
    """Return ``template`` with its clauses (``%s %d %.2f %e %b %x %X %o``, ``%%``) filled in from ``values``.

    Raises:
        EvaluationError: a clause that there is not, too few values, or one that its clause does not take.
    """
    out: list[str] = []
    size, position, used = len(template), 0, 0
    for found in _CLAUSE.finditer(template):
        out.append(template[position : found.start()])
        position = found.end()
        if found[0] == "%%":
            out.append("%")
            continue
        if used >= len(values):
            raise EvaluationError(f"format: there is no value for {found[0]!r}, number {used + 1} of the clauses")
        out.append(_clause(frame, found[2], found[1], values[used]))
        used += 1
        charge_text(frame, len(out[-1]), size)
        size += len(out[-1])
    out.append(template[position:])
    return "".join(out)


def _clause(frame: Frame, verb: str, precision: str | None, value: Any) -> str:
    if precision == "":
        raise EvaluationError("format: a number of digits must follow '%.', as in '%.2f'")
    digits = _DEFAULT_PRECISION if precision is None else _number(precision)
    if verb in ("f", "e"):
        frame.charge(digits >> 3)
        return _double(verb, digits, value)
    if verb == "s":
        return _text(frame, value, 0)
    if verb == "d":
        if _is_integer(value):
            return str(int(value))
        raise _refused("%d", "an integer", value)
    if verb == "b":
        if isinstance(value, int):
            return format(int(value), "b")
        raise _refused("%b", "an integer or a boolean", value)
    if verb == "o":
        if _is_integer(value):
            return format(int(value), "o")
        raise _refused("%o", "an integer", value)
    if verb in ("x", "X"):
        return _hexadecimal(frame, verb, value)
    if not verb:
        raise EvaluationError("format: the text ends within a clause; write '%%' for a percent sign")
    raise EvaluationError(f"format: there is no clause '%{verb}'; there are %s %d %f %e %b %x %X %o and %%")


def _number(digits: str) -> int:
    if len(digits.lstrip("0")) > 6 or int(digits) > _MOST_PRECISION:
        raise BudgetError(f"format: at most {_MOST_PRECISION} digits after the point")
    return int(digits)


def _refused(clause: str, wanted: str, value: Any) -> EvaluationError:
    return EvaluationError(f"format: '{clause}' takes {wanted}, not {word_of(value)}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ------------------------------------------------------------------------------------------------ numbers


def _double(verb: str, digits: int, value: Any) -> str:
    if isinstance(value, str) and value in _WORDS_FOR_DOUBLES:
        value = _WORDS_FOR_DOUBLES[value]
    if not isinstance(value, float):
        raise _refused(f"%{verb}", "a double", value)
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        value = 0.0  # without its sign
    if verb == "f":
        return f"{value:,.{digits}f}"
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}×10{exponent.lstrip('+').translate(_SUPERSCRIPT)}"


def _hexadecimal(frame: Frame, verb: str, value: Any) -> str:
    if _is_integer(value):
        return format(int(value), verb)
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    if not isinstance(value, bytes):
        raise _refused(f"%{verb}", "an integer, a text or bytes", value)
    charge_text(frame, 2 * len(value))
    return value.hex() if verb == "x" else value.hex().upper()


# ------------------------------------------------------------------------------------------------ %s


def _text(frame: Frame, value: Any, depth: int) -> str:
    """What ``%s`` writes."""
    if isinstance(value, (list, tuple)):
        return _list_text(frame, value, depth)
    if isinstance(value, Mapping):
        return _map_text(frame, value, depth)
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _short_double(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("format: these bytes are not UTF-8") from None
    if isinstance(value, datetime):
        return timestamp_text(value.astimezone(UTC))
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, Type):
        return value.name
    raise _refused("%s", "texts, numbers, booleans, bytes, times, types, lists and maps", value)


def _short_double(value: float) -> str:
    """The fewest digits that tell it apart, as Go's ``%g``: ``1e+06`` and ``1e-05``, but ``100000`` and ``0.0001``."""
    if not isfinite(value):
        return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    shortest = Decimal(repr(value)).normalize()
    if -4 <= shortest.adjusted() < 6:
        return format(shortest, "f")
    mantissa = shortest.scaleb(-shortest.adjusted())
    return f"{mantissa:f}e{shortest.adjusted():+03d}"


def _nested(frame: Frame, value: Any, depth: int) -> str:
    """What ``%s`` writes for ``value`` within a list or map: as CEL would be written."""
    if depth > _NESTING:
        raise BudgetError("format: lists and maps are nested too deep")
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes):
        return f"b{quoted(_text(frame, value, depth))}"
    if isinstance(value, float):
        return f"{value:.6f}" if isfinite(value) else f'"{_short_double(value)}"'
    if isinstance(value, datetime):
        return f'timestamp("{timestamp_text(value.astimezone(UTC))}")'
    if isinstance(value, timedelta):
        return f'duration("{duration_text(value)}")'
    return _text(frame, value, depth)


def _list_text(frame: Frame, items: Any, depth: int) -> str:
    frame.charge(2 * len(items))
    out = []
    size = 2
    for item in items:
        out.append(_nested(frame, item, depth + 1))
        charge_text(frame, len(out[-1]) + 2, size)
        size += len(out[-1]) + 2
    return f"[{', '.join(out)}]"


def _map_text(frame: Frame, entries: Mapping[Any, Any], depth: int) -> str:
    frame.charge(len(entries))
    out = []
    size = 2
    for key, value in entries.items():
        if not isinstance(key, (str, int)):
            raise EvaluationError(f"format: a key of a map is a text, an integer or a boolean, not {word_of(key)}")
        out.append((_nested(frame, key, depth + 1), _nested(frame, value, depth + 1)))
        grown = len(out[-1][0]) + len(out[-1][1]) + 3
        charge_text(frame, grown, size)
        size += grown
    out.sort(key=lambda entry: entry[0])
    return "{" + ", ".join(f"{key}:{value}" for key, value in out) + "}"


def quoted(text: str) -> str:
    """Return ``text`` in double quotes with escapes for what cannot be printed, as Go's ``%q``."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xD800 <= code < 0xE000:  # no character by itself
        return "\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
