"""What a function of CEL is to the checker, the evaluator and the cost estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from kastra_core.cel.types import CelType

__all__ = ["Cost", "Function", "Library", "Overload", "Size", "library"]


@attrs.frozen
class Size:
    """Least and most characters, items or entries that a value can have; (1, 1) for what has no size."""

    least: int = 1
    most: int = 1
    items: Size | None = None
    """Of a list of texts or bytes: the size of each."""
    value: int | None = None
    """An integer that is written in the expression; None: it is not known before it runs."""


@attrs.frozen
class Cost:
    """Least and most cost, in units of one simple step; ``result`` is the size of what comes out, None: as its type."""

    least: int
    most: int
    result: Size | None = None


@attrs.frozen(kw_only=True)
class Overload:
    """One way to call a function."""

    parameters: tuple[CelType, ...]
    """The receiver first, when ``member``."""
    result: CelType
    work: Callable[..., Any]
    """``work(frame, *values)``; charges ``frame`` for what grows with its input. Raises: EvaluationError."""
    member: bool = False
    """Called as ``x.name(y)``; otherwise as ``name(x, y)``."""
    estimate: Callable[..., Cost] | None = None
    """``estimate(*sizes)`` of receiver and arguments; None: one step."""


@attrs.frozen
class Function:
    name: str
    overloads: tuple[Overload, ...]


Library = Mapping[str, Function]
"""Functions by name. A name with dots ("sets.contains", "optional.of") is called as if its head were a variable."""


def library(*parts: Iterable[Function] | Library) -> Library:
    """Return one library of several; functions of the same name join their overloads."""
    out: dict[str, Function] = {}
    for part in parts:
        for function in part.values() if isinstance(part, Mapping) else part:
            before = out[function.name].overloads if function.name in out else ()
            out[function.name] = Function(function.name, (*before, *function.overloads))
    return out
