"""What an unquoted YAML scalar means: the reading of Kubernetes' tools, as JSON values.

Booleans are true/false, yes/no, on/off in the usual cases, but not y/n. ``017`` and ``0o17`` are octal. Dates, times,
``12:30:00`` and ``=`` stay text. What JSON cannot hold (infinities, not-a-number, integers beyond 64 bits) is
:class:`Refused`.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["MERGE", "Refused", "read_plain"]


class Refused:
    """A scalar that has no JSON value: why, and how to mend it."""

    __slots__ = ("hint", "message")

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint


MERGE: Final = object()
"""The meaning of an unquoted ``<<`` as a key."""

_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), (None,)),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), (True,)),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), (False,)),
    "<<": MERGE,
}
_FIRST: Final = frozenset(["", *"~nNtTyYoOfF<", *"0123456789+-."])
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?0[0-9]*\.[0-9]*")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_LEAST, _MOST = -(2**63), 2**64 - 1
_QUOTE = "put it in quotes if it is meant as text"

_seen: dict[str, Any] = {}


def read_plain(text: str) -> Any:
    """Return None for text, a tuple of one JSON value, :data:`MERGE`, or :class:`Refused`.

    >>> read_plain("0x1f"), read_plain("yes"), read_plain("2024-05-01")
    ((31,), (True,), None)
    """
    if text[:1] not in _FIRST:
        return None
    try:
        return _seen[text]
    except KeyError:
        meaning = _meaning(text)
        if len(_seen) > 4096:
            _seen.clear()
        if len(text) < 64:
            _seen[text] = meaning
        return meaning


def _meaning(text: str) -> Any:
    word = _WORDS.get(text)
    if word is not None:
        return word
    first = text[0]
    if not ("0" <= first <= "9" or first in "+-."):
        return None
    digits = text.replace("_", "") if "_" in text and text.lstrip("+-.")[:1] != "_" else text
    if found := _INTEGER.fullmatch(digits):
        return _integer(text, found)
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            return Refused(f"the number {text if len(text) <= 40 else f'{text[:37]}...'} is too large", _QUOTE)
        return (value,)
    if _NOT_FINITE.fullmatch(text):
        return Refused(f"{text} has no place in a manifest (JSON has finite numbers only)", _QUOTE)
    return None


def _integer(text: str, found: re.Match[str]) -> Any:
    base = found.lastgroup or "dec"
    digits = found[base]
    # 64 bits are at most 64 digits; longer ones are refused before Python's own limit on their conversion.
    value = int(digits, _BASES[base]) if len(digits.lstrip("0")) <= 64 else _MOST + 1
    if found["sign"] == "-":
        value = -value
    if not _LEAST <= value <= _MOST:
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        return Refused(f"the integer {shown} needs more than 64 bits", _QUOTE)
    return (value,)
