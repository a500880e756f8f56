"""Functions of texts: version 2 of cel-go's strings. Positions count characters, not bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.functions import Cost, Function, Overload, Size
from kastra_core.cel.kubernetes import formatting
from kastra_core.cel.kubernetes.estimates import (
    TEXT_FACTOR,
    UNBOUNDED,
    added,
    charge_text,
    multiplied,
    reading,
    scan,
    steps,
)
from kastra_core.cel.types import DYN, INT, STRING, CelType, list_of
from kastra_core.cel.values import EvaluationError, Frame, word_of

__all__ = ["FUNCTIONS"]

# Go's unicode.IsSpace; Python's str.strip takes more (U+001C to U+001F).
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code + 32: code for code in _LOWER}
_QUOTED = str.maketrans(formatting.ESCAPES | {chr(code): "\ufffd" for code in range(0xD800, 0xE000)})


def _read(frame: Frame, text: str, factor: float = TEXT_FACTOR) -> None:
    frame.charge(steps(len(text), factor))


def _out_of_range(index: int, text: str) -> EvaluationError:
    return EvaluationError(f"index {index} is out of range: the text has {len(text)} characters")


def _char_at(frame: Frame, text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise _out_of_range(index, text)
    return text[index : index + 1]


def _index_of(frame: Frame, text: str, part: str, start: int = 0) -> int:
    _read(frame, text)
    if start < 0:
        raise EvaluationError(f"index {start} is out of range: it must not be negative")
    if not part:
        return min(start, len(text))
    return text.find(part, start)


def _last_index_of(frame: Frame, text: str, part: str, start: int | None = None) -> int:
    _read(frame, text)
    if start is None:
        return text.rfind(part)
    if start < 0:
        raise EvaluationError(f"index {start} is out of range: it must not be negative")
    if not part:
        return min(start, len(text))
    return -1 if start >= len(text) else text.rfind(part, 0, start + len(part))


def _lower(frame: Frame, text: str) -> str:
    _read(frame, text)
    return text.translate(_LOWER)


def _upper(frame: Frame, text: str) -> str:
    _read(frame, text)
    return text.translate(_UPPER)


def _trim(frame: Frame, text: str) -> str:
    _read(frame, text)
    return text.strip(_SPACE)


def _quote(frame: Frame, text: str) -> str:
    _read(frame, text)
    return f'"{text.translate(_QUOTED)}"'


def _replace(frame: Frame, text: str, old: str, new: str, limit: int = -1) -> str:
    _read(frame, text, 2 * TEXT_FACTOR)
    found = text.count(old)
    if limit >= 0:
        found = min(found, limit)
    charge_text(frame, len(text) + found * (len(new) - len(old)))
    return text.replace(old, new, found)


def _split(frame: Frame, text: str, separator: str, limit: int = -1) -> list[str]:
    _read(frame, text, 2 * TEXT_FACTOR)
    if limit == 0:
        return []
    if separator:
        return text.split(separator, limit - 1 if limit > 0 else -1)
    frame.charge(len(text) >> 2)
    if limit < 0 or limit >= len(text):
        return list(text)
    return [*text[: limit - 1], text[limit - 1 :]]


def _substring(frame: Frame, text: str, start: int, end: int | None = None) -> str:
    _read(frame, text)
    end = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise _out_of_range(start, text)
    if not 0 <= end <= len(text):
        raise _out_of_range(end, text)
    if start > end:
        raise EvaluationError(f"substring({start}, {end}): the end is before the start")
    return text[start:end]


def _join(frame: Frame, parts: list[Any], separator: str = "") -> str:
    frame.charge(len(parts))
    for part in parts:
        if not isinstance(part, str):
            raise EvaluationError(f"join takes a list of texts; one of its items is {word_of(part)}")
    size = sum(map(len, parts)) + len(separator) * max(len(parts) - 1, 0)
    frame.charge(steps(size, 2 * TEXT_FACTOR))
    charge_text(frame, size)
    return separator.join(parts)


def _format(frame: Frame, template: str, values: list[Any]) -> str:
    _read(frame, template)
    return formatting.format_text(frame, template, values)


# ------------------------------------------------------------------------------------------------ estimates


def _replacing(text: Size, old: Size, new: Size, limit: Size | None = None) -> Cost:
    cost = scan(text, 2 * TEXT_FACTOR)
    size = Size(_shortest(text.least, old.most, new.least), _longest(text.most, old.least, new.most))
    return Cost(cost.least, cost.most, size)


def _longest(text: int, old: int, new: int) -> int:
    """Size of a text in which the shortest parts are replaced by the longest, as often as can be."""
    if old == 0:  # every character is surrounded
        return min((text + 1) * new + text, UNBOUNDED)
    return text if new <= old else min(-(-text // old) * new, UNBOUNDED)


def _shortest(text: int, old: int, new: int) -> int:
    if old == 0:
        return min((text + 1) * new + text, UNBOUNDED)
    return text if old <= new else min(-(-text // old) * new, UNBOUNDED)


def _splitting(text: Size, separator: Size, limit: Size | None = None) -> Cost:
    cost = scan(text, 2 * TEXT_FACTOR)
    wanted = limit.value if limit else None
    most = text.most if wanted is None or wanted < 0 else wanted  # else at most one item for each character
    return Cost(cost.least, cost.most, Size(0, most))


def _joining(parts: Size, separator: Size | None = None) -> Cost:
    size = multiplied(parts, parts.items or Size(0, UNBOUNDED))
    if separator is not None:
        between = Size(max(parts.least - 1, 0), max(parts.most - 1, 0))
        size = added(size, multiplied(separator, between))
    cost = scan(size)
    return Cost(cost.least, cost.most, size)


def _formatting(template: Size, values: Size) -> Cost:
    cost = scan(template)
    return Cost(cost.least, cost.most)


def _quoting(text: Size) -> Cost:
    cost = scan(text)
    return Cost(cost.least, cost.most, Size(text.least + 2, min(2 * text.most + 2, UNBOUNDED)))


def _method(
    result: CelType, work: Callable[..., Any], *parameters: CelType, estimate: Callable[..., Cost] | None = None
) -> Overload:
    return Overload(parameters=parameters, result=result, work=work, member=True, estimate=estimate)


FUNCTIONS = (
    Function("charAt", (_method(STRING, _char_at, STRING, INT),)),
    Function(
        "indexOf",
        (
            _method(INT, _index_of, STRING, STRING, estimate=reading()),
            _method(INT, _index_of, STRING, STRING, INT, estimate=reading()),
        ),
    ),
    Function(
        "lastIndexOf",
        (
            _method(INT, _last_index_of, STRING, STRING, estimate=reading()),
            _method(INT, _last_index_of, STRING, STRING, INT, estimate=reading()),
        ),
    ),
    Function(
        "join",
        (
            _method(STRING, _join, list_of(STRING), estimate=_joining),
            _method(STRING, _join, list_of(STRING), STRING, estimate=_joining),
        ),
    ),
    Function("lowerAscii", (_method(STRING, _lower, STRING, estimate=reading(keeps_size=True)),)),
    Function("upperAscii", (_method(STRING, _upper, STRING, estimate=reading(keeps_size=True)),)),
    Function("trim", (_method(STRING, _trim, STRING, estimate=reading(keeps_size=True)),)),
    Function("strings.quote", (Overload(parameters=(STRING,), result=STRING, work=_quote, estimate=_quoting),)),
    Function(
        "replace",
        (
            _method(STRING, _replace, STRING, STRING, STRING, estimate=_replacing),
            _method(STRING, _replace, STRING, STRING, STRING, INT, estimate=_replacing),
        ),
    ),
    Function(
        "split",
        (
            _method(list_of(STRING), _split, STRING, STRING, estimate=_splitting),
            _method(list_of(STRING), _split, STRING, STRING, INT, estimate=_splitting),
        ),
    ),
    Function(
        "substring",
        (
            _method(STRING, _substring, STRING, INT, estimate=reading(keeps_size=True)),
            _method(STRING, _substring, STRING, INT, INT, estimate=reading(keeps_size=True)),
        ),
    ),
    Function("format", (_method(STRING, _format, STRING, list_of(DYN), estimate=_formatting),)),
)
