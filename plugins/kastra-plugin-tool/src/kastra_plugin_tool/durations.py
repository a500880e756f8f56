"""Durations as a manifest writes them: seconds as a number, or text such as ``30s``, ``2m``, ``1m30s``."""

from __future__ import annotations

import math
import re
from typing import Any

from kastra_core.serde import FieldError, type_word

__all__ = ["Duration"]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 64
"""Characters; the search below takes quadratic time."""
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


class Duration(float):
    """Seconds, >= 0.

    >>> Duration.read("1m30s")
    90.0
    """

    @classmethod
    def read(cls, value: Any) -> Duration:
        """Return what a manifest means.

        Raises:
            FieldError: neither a number >= 0 nor a text of parts with unit ms, s, m or h.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if math.isfinite(value) and value >= 0:
                return cls(value)
        elif isinstance(value, str) and len(value) <= _LONGEST:
            parts = _PART.findall(value)
            if parts and "".join(number + unit for number, unit in parts) == value:
                return cls(sum(float(number) * _UNITS_S[unit] for number, unit in parts))
        raise FieldError(
            f"expected seconds (30) or a duration (500ms, 30s, 2m, 1h30m), found {type_word(value)}",
        )
