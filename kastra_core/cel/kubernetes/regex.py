"""``find`` and ``findAll``: regular expressions as RE2, which never backtracks, reads them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kastra_core.cel.functions import Cost, Function, Overload, Size
from kastra_core.cel.kubernetes.estimates import PATTERN_FACTOR, TEXT_FACTOR, pattern_cost, steps
from kastra_core.cel.types import INT, STRING, list_of
from kastra_core.cel.values import EvaluationError, Frame
from kastra_core.errors import shortened

__all__ = ["FUNCTIONS", "compile_pattern"]

_MOST_MEMORY = 8 << 20
"""Bytes for one pattern: RE2's own default."""
_PATTERNS = 256


@lru_cache(maxsize=_PATTERNS)
def compile_pattern(pattern: str) -> Any:
    """Return ``pattern`` as re2 compiled it; the last 256 are kept.

    Raises:
        EvaluationError: it is no regular expression, or too big a one.
    """
    import re2

    options = re2.Options()
    options.max_mem = _MOST_MEMORY
    options.log_errors = False
    shown = repr(shortened(pattern, 80))
    if _matches_bytes(pattern):
        raise EvaluationError(f"{shown} is no regular expression: there is no \\C, a single byte")
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise EvaluationError(f"{shown} is no regular expression: {shortened(reason, 200)}") from None
    except UnicodeEncodeError:
        raise EvaluationError(f"{shown} is no regular expression: it is no UTF-8") from None


def _matches_bytes(pattern: str) -> bool:
    """Whether it has RE2's ``\\C``, which Go does not know and which could cut characters in two."""
    position = pattern.find("\\")
    while position >= 0:
        following = pattern[position + 1 : position + 2]
        if following == "C":
            return True
        end = pattern.find("\\E", position + 2) if following == "Q" else position
        if end < 0:
            return False
        position = pattern.find("\\", end + 2)
    return False


def _charge(frame: Frame, text: str, pattern: str) -> None:
    frame.charge(steps(len(text) + 1, TEXT_FACTOR) * steps(len(pattern), PATTERN_FACTOR))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate is no character


def _find(frame: Frame, text: str, pattern: str) -> str:
    _charge(frame, text, pattern)
    found = compile_pattern(pattern).search(_utf8(text))
    return found.group().decode() if found else ""


def _find_all(frame: Frame, text: str, pattern: str, limit: int = -1) -> list[str]:
    _charge(frame, text, pattern)
    compiled = compile_pattern(pattern)
    out: list[str] = []
    data = _utf8(text)
    position, last_end = 0, -1
    while position <= len(data) and (limit < 0 or len(out) < limit):
        found = compiled.search(data, position)
        if found is None:
            break
        start, end = found.span()
        # An empty match right after another one does not count.
        if end > start or start != last_end:
            out.append(data[start:end].decode())
            # A search may have to look at all that is left, whatever it finds; that takes about 1 ns per byte.
            frame.charge(1 + ((len(data) - position) >> 10))
        last_end = end
        position = end if end > start else end + _width(data, end)
    return out


def _width(data: bytes, position: int) -> int:
    """Bytes of the character that begins at ``position``."""
    first = data[position] if position < len(data) else 0
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _estimate(text: Size, pattern: Size, limit: Size | None = None) -> Cost:
    cost = pattern_cost(text, pattern)
    return Cost(cost.least, cost.most, Size(0, text.most))


FUNCTIONS = (
    Function(
        "find",
        (Overload(parameters=(STRING, STRING), result=STRING, work=_find, member=True, estimate=_estimate),),
    ),
    Function(
        "findAll",
        (
            Overload(
                parameters=(STRING, STRING), result=list_of(STRING), work=_find_all, member=True, estimate=_estimate
            ),
            Overload(
                parameters=(STRING, STRING, INT),
                result=list_of(STRING),
                work=_find_all,
                member=True,
                estimate=_estimate,
            ),
        ),
    ),
)
