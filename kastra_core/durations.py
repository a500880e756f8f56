"""Durations as a manifest writes them: seconds as a number, or text such as ``500ms``, ``30s``, ``10m``, ``1d12h``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.serde import FieldError, converter, type_word

__all__ = ["Duration"]

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AS_TEXT = ("d", "h", "m", "s")
_MOST_S = 36_525 * 86400.0
"""100 years: far beyond any age, and a time so far ahead can still be written."""
_LONGEST = 64
"""Characters; the search below takes quadratic time."""
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)


class Duration(float):
    """Seconds, from 0 to 100 years. Any attrs class that the core's converter reads may have fields of it.

    >>> Duration.read("1d12h")
    129600.0
    >>> Duration(129600).plain
    '1d12h'
    """

    @classmethod
    def read(cls, value: Any) -> Duration:
        """Return what a manifest means.

        Raises:
            FieldError: neither a number >= 0 nor a text of parts with unit ms, s, m, h, d or w; more than 100 years.
        """
        seconds = -1.0
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = _seconds(value)
        elif isinstance(value, str) and len(value) <= _LONGEST:
            parts = _PART.findall(value)
            if parts and "".join(number + unit for number, unit in parts) == value:
                seconds = _seconds(sum(float(number) * _UNITS_S[unit] for number, unit in parts))
        if seconds > _MOST_S:
            raise FieldError("must be at most 36525d (100 years)")
        if seconds >= 0:
            return cls(seconds)
        raise FieldError(
            f"expected seconds (3600) or a duration (500ms, 90s, 10m, 1h30m, 7d, 2w), found {type_word(value)}"
        )

    @classmethod
    def value_schema(cls, own: JsonObject, schema_of: Callable[[Any], JsonObject]) -> JsonObject:
        """The JSON schema of what :meth:`read` takes."""
        return {
            "description": "Seconds, or text with units: 500ms, 90s, 10m, 1h30m, 7d, 2w.",
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": _MOST_S},
                {"type": "string", "pattern": f"^({_PART.pattern})+$", "maxLength": _LONGEST},
            ],
        }

    @property
    def plain(self) -> str | float:
        """As a manifest writes it: text, for parts of a second the number; :meth:`read` returns the same duration."""
        if self <= 0 or not self.is_integer():
            return float(self)
        left, parts = int(self), list[str]()
        for unit in _AS_TEXT:
            count, left = divmod(left, int(_UNITS_S[unit]))
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts)


def _seconds(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int of hundreds of digits
        return math.inf if value > 0 else -1.0


# The class is a float, so the converter would take the hook of floats.
converter().register_structure_hook(Duration, lambda value, _: Duration.read(value))
converter().register_unstructure_hook(Duration, lambda value: value.plain)
