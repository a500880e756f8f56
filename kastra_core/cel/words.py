"""What an error says about a value that does not have what an expression asks it for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kastra_core.cel.hints import SIZE_FIELDS, suggestion
from kastra_core.cel.values import EvaluationError, word_of
from kastra_core.errors import shortened

__all__ = ["MissingError", "Words", "missing", "names_text", "near_text"]

_SHOWN_NAMES = 10

Words = Callable[[str, Any, "str | int"], "str | None"]
"""``words(where, value, part)``: a dialect's own words for a part that is missing, None: the usual ones."""


class MissingError(EvaluationError):
    """A value lacks what it is asked for.

    The words take a while to find, and `||` often hides it: so they are found when they are asked for.
    """

    def __init__(self, where: str, value: Any, part: str | int, words: Words | None) -> None:
        super().__init__(where, part)
        self.where, self.part = where, part
        """What was asked, as an expression writes it; the field or the index."""
        self._value, self._words = value, words
        self._message = ""

    def __str__(self) -> str:
        if not self._message:
            own = self._words(self.where, self._value, self.part) if self._words is not None else None
            self._message = own or _message(self.where, self._value, self.part)
        return self._message


def missing(where: str, value: Any, part: str | int, words: Words | None = None) -> MissingError:
    """The error for ``part`` that ``value``, written ``where``, does not have."""
    return MissingError(where, value, part, words)


def _message(where: str, value: Any, part: str | int) -> str:
    if isinstance(value, Mapping) and isinstance(part, str):
        have = f"it has: {names_text(value)}" if value else "it is empty"
        return f"{where} has no field {shortened(part, 80)!r}{near_text(part, value)}; {have}"
    if isinstance(value, (list, tuple)):
        if isinstance(part, int):
            return f"{where} is {word_of(value)}, it has no [{part}]"
        hint = f"size({where}) says how many" if part in SIZE_FIELDS else f"an item is {where}[0]"
        return f"{where} is {word_of(value)}, it has no field {shortened(part, 80)!r}; {hint}"
    what = f"[{part}]" if isinstance(part, int) else f"field {shortened(part, 80)!r}"
    hint = f"; size({where}) is its length" if isinstance(value, str) and part in SIZE_FIELDS else ""
    return f"{where} is {word_of(value)}, it has no {what}{hint}"


def near_text(part: str, value: Mapping[str, Any]) -> str:
    """``; did you mean 'x'?`` with a name of ``value``, or nothing."""
    hint = suggestion(part, [str(name) for name in list(value)[:200]])
    return f"; {hint}" if hint else ""


def names_text(value: Mapping[str, Any]) -> str:
    """The first names of ``value``, and how many more there are."""
    names = [shortened(str(name), 60) for name in list(value)[:_SHOWN_NAMES]]
    return ", ".join(names) + (f" and {len(value) - len(names)} more" if len(value) > len(names) else "")
