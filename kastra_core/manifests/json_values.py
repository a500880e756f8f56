"""JSON values of a text, with their places; strict about what a manifest cannot hold."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["JsonTroubleError", "lone_surrogate", "read_values", "with_characters", "without_pairs"]

_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(r"\\u[dD][89abAB-fF][0-9a-fA-F]{2}")


class JsonTroubleError(Exception):
    """The JSON parses, but something in it needs a place: (message, hint, pattern of what to show)."""


def read_values(text: str) -> list[tuple[Any, int, int]]:
    """Return (value, start, end) of each JSON value in ``text``; several may follow each other.

    Raises:
        json.JSONDecodeError: the text is no JSON.
        JsonTroubleError: it is, but a key appears twice or a number has no place in a manifest.
        RecursionError: it is nested too deep.
    """
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_constant
    )
    found: list[tuple[Any, int, int]] = []
    at = _skip_space(text, 0)
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        found.append((value, at, end))
        at = _skip_space(text, end)
    return found


def without_pairs(text: str) -> str:
    """JSON writes a character beyond U+FFFF as two escapes, which YAML does not know; same length, for places."""
    return _PAIR.sub("\\\\u0020\\\\u0020", text) if "\\u" in text else text


def with_characters(text: str) -> str:
    """JSON writes a character beyond U+FFFF as two escapes; return ``text`` with one escape each, as YAML has it."""
    return _PAIR.sub(lambda pair: f"\\U{ord(json.loads(chr(34) + pair[0] + chr(34))):08X}", text)


def lone_surrogate(text: str) -> int | None:
    """Return the offset of an escaped surrogate without partner, or None."""
    if "\\u" not in text:
        return None
    # An escaped backslash before u is text.
    plain = _PAIR.sub("            ", text.replace("\\\\", "  "))
    found = _SURROGATE.search(plain)
    return found.start() if found else None


_SPACE = re.compile(r"[ \t\r\n]*")


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise JsonTroubleError("a key appears twice", "", "")
    return out


def _integer(text: str) -> int:
    if len(text) > 18 and (len(text) > 21 or not -(2**63) <= int(text) < 2**64):
        raise JsonTroubleError(f"the integer {text[:40]} needs more than 64 bits", "", "")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise JsonTroubleError(f"the number {text[:40]} is too large", "", "")
    return value


def _constant(text: str) -> None:
    message = f"{text} has no place in a manifest (JSON has finite numbers only)"
    raise JsonTroubleError(message, "put it in quotes if it is meant as text", rf"(?<=[:\[,\s]){re.escape(text)}")
