"""``find`` and ``findAll``: regular expressions as RE2, which never backtracks, reads them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kastra_core.cel.functions import Cost, Function, Overload, Size
from kastra_core.cel.kubernetes.estimates import PATTERN_FACTOR, TEXT_FACTOR, pattern_cost, steps
from kastra_core.cel.types import INT, STRING, list_of
from kastra_core.cel.values import EvaluationError, Frame
from kastra_core.errors import shortened

__all__ = ["FUNCTIONS", "compile_pattern", "is_match"]

_MOST_MEMORY = 8 << 20
"""Bytes for one pattern: RE2's own default."""
_PATTERNS = 128
_LONGEST = 50_000
"""Characters of a pattern; RE2 takes seconds for much longer ones."""


_COST_OF_TOO_BIG = 50_000
"""Steps to find that a pattern is too big: RE2 takes up to 0.3 s."""


class _Attempt:
    """What came of compiling a pattern: the pattern or a problem, and steps that nobody has been charged for yet."""

    __slots__ = ("compiled", "problem", "size", "uncharged")

    def __init__(self, compiled: Any = None, problem: str = "", uncharged: int = 0) -> None:
        self.compiled, self.problem, self.uncharged = compiled, problem, uncharged
        self.size: int = compiled.programsize if compiled is not None else 0
        """Instructions: each may be looked at for each character, when RE2 runs short of memory."""


def compile_pattern(pattern: str, frame: Frame | None = None) -> Any:
    """Return ``pattern`` as re2 compiled it; the last 128 are kept. Its ``search`` takes text or UTF-8.

    Args:
        frame: charged if it had to be compiled now.

    Raises:
        EvaluationError: it is no regular expression, or too big a one.
    """
    return _attempt(frame, pattern).compiled


def _attempt(frame: Frame | None, pattern: str) -> _Attempt:
    attempt = _compiled(pattern)
    if frame is not None and attempt.uncharged:
        frame.charge(attempt.uncharged)
        if attempt.compiled is not None:
            attempt.uncharged = 0
    if attempt.problem:
        raise EvaluationError(attempt.problem)
    return attempt


@lru_cache(maxsize=_PATTERNS)
def _compiled(pattern: str) -> _Attempt:
    import re2

    options = re2.Options()
    options.max_mem = _MOST_MEMORY
    options.log_errors = False
    shown = repr(shortened(pattern, 80))
    if len(pattern) > _LONGEST:
        return _Attempt(problem=f"{shown} is too long for a regular expression: more than {_LONGEST} characters")
    if _matches_bytes(pattern):
        return _Attempt(problem=f"{shown} is no regular expression: there is no \\C, a single byte")
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        problem = f"{shown} is no regular expression: {shortened(reason, 200)}"
        return _Attempt(problem=problem, uncharged=_COST_OF_TOO_BIG if "too large" in reason else 0)
    except UnicodeEncodeError:
        return _Attempt(problem=f"{shown} is no regular expression: it is no UTF-8")
    return _Attempt(compiled, uncharged=compiled.programsize >> 2)


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


def _charged(frame: Frame, text: str, pattern: str) -> Any:
    """The compiled pattern, charged for with a search of ``text``."""
    frame.charge(steps(len(text) + 1, TEXT_FACTOR) * steps(len(pattern), PATTERN_FACTOR))
    attempt = _attempt(frame, pattern)
    # Only counts where a short pattern makes a big program, as a{1000} does.
    frame.charge(len(text) * attempt.size >> 12)
    return attempt.compiled


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate is no character


def is_match(frame: Frame, text: str, pattern: str) -> bool:
    """Whether ``pattern`` matches somewhere in ``text``."""
    # Bytes: the library's own way with texts also finds out where each character begins.
    return _charged(frame, text, pattern).search(_utf8(text)) is not None


def _find(frame: Frame, text: str, pattern: str) -> str:
    found = _charged(frame, text, pattern).search(_utf8(text))
    return found.group().decode() if found else ""


def _find_all(frame: Frame, text: str, pattern: str, limit: int = -1) -> list[str]:
    compiled = _charged(frame, text, pattern)
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
            frame.charge(2 + ((len(data) - position) >> 10))
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
