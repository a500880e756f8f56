"""How functions of typed dialects are written down, and the checks that many of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.functions import Overload
from kastra_core.cel.types import CelType, list_of, map_of, optional_of, param
from kastra_core.cel.values import INT_MAX, INT_MIN, MOST_TEXT, UINT_MAX, BudgetError, EvaluationError, Frame, Uint

__all__ = [
    "LIST",
    "MAP",
    "OPTIONAL",
    "A",
    "B",
    "Work",
    "charge_text",
    "checked_int",
    "checked_uint",
    "over",
    "plainly",
    "structural",
]

A, B = param("A"), param("B")
LIST, MAP, OPTIONAL = list_of(A), map_of(A, B), optional_of(A)

Work = Callable[..., Any]
"""``work(frame, *values)``"""


def over(result: CelType, *parameters: CelType, work: Work, member: bool = False) -> Overload:
    return Overload(parameters=parameters, result=result, work=work, member=member)


def structural(frame: Frame, *values: Any) -> Any:
    """Of operators that the evaluator does itself: they do not evaluate all operands, or look into places."""
    raise NotImplementedError


def plainly(work: Callable[..., Any]) -> Work:
    return lambda frame, *values: work(*values)


def checked_int(value: int) -> int:
    """Return ``value``.

    Raises:
        EvaluationError: it has more than 64 bits.
    """
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow: the result has more than 64 bits")


def checked_uint(value: int) -> Uint:
    """Return ``value`` as an unsigned integer.

    Raises:
        EvaluationError: it is negative, or has more than 64 bits.
    """
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvaluationError("unsigned integer overflow: the result is negative or has more than 64 bits")


def charge_text(frame: Frame, size: int) -> None:
    """Charge for a text, or bytes, of ``size`` that is made.

    Raises:
        BudgetError
    """
    if size > MOST_TEXT:
        raise BudgetError(f"it makes a text of more than {MOST_TEXT >> 20} million characters")
    frame.charge(size // 10)
