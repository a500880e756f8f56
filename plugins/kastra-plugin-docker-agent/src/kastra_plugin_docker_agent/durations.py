"""Durations as Go writes them."""

from __future__ import annotations

import re

__all__ = ["seconds_of"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def seconds_of(text: str) -> float | None:
    """Return the seconds of a duration; a plain number is of seconds. None: it is no duration.

    >>> seconds_of("2m30s"), seconds_of("90"), seconds_of("-1s"), seconds_of("soon")
    (150.0, 90.0, -1.0, None)
    """
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text.lstrip("+-") if text[:1] in "+-" else text
    if re.fullmatch(r"\d+", rest):
        return sign * float(rest)
    if not re.fullmatch(f"(?:{_PART.pattern})+", rest):
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(rest))
