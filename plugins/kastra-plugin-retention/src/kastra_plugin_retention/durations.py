"""Durations as a manifest writes them: seconds as a number, or text such as ``30s``, ``10m``, ``7d``, ``1d12h``."""

from __future__ import annotations

import math
import re
from typing import Any

from kastra_core.serde import FieldError, converter, type_word

__all__ = ["Duration"]

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST = 64
"""Characters; the search below takes quadratic time."""
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


class Duration(float):
    """Seconds, >= 0.

    >>> Duration.read("1d12h")
    129600.0
    """

    @classmethod
    def read(cls, value: Any) -> Duration:
        """Return what a manifest means.

        Raises:
            FieldError: neither a number >= 0 nor a text of parts with unit s, m, h, d or w.
        """
        seconds = -1.0
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = _finite(value)
        elif isinstance(value, str) and len(value) <= _LONGEST:
            parts = _PART.findall(value)
            if parts and "".join(number + unit for number, unit in parts) == value:
                seconds = _finite(sum(float(number) * _UNITS_S[unit] for number, unit in parts))
        if seconds >= 0:
            return cls(seconds)
        raise FieldError(f"expected seconds (3600) or a duration (90s, 10m, 12h, 7d, 2w), found {type_word(value)}")


def _finite(value: float) -> float:
    try:
        seconds = float(value)
    except OverflowError:
        return -1.0
    return seconds if math.isfinite(seconds) else -1.0


# The class is a float, so the converter would take the hook of floats.
converter().register_structure_hook(Duration, lambda value, _: Duration.read(value))
converter().register_unstructure_hook(Duration, float)
