"""Functions of quantities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.functions import Function, Overload
from kastra_core.cel.kubernetes.estimates import TEXT_FACTOR, reading, steps
from kastra_core.cel.kubernetes.quantities import MOST_DIGITS, QUANTITY_TYPE, Quantity, is_quantity, parse_quantity
from kastra_core.cel.types import BOOL, DOUBLE, INT, STRING, CelType
from kastra_core.cel.values import EvaluationError, Frame

__all__ = ["FUNCTIONS"]


def _quantity(frame: Frame, text: str) -> Quantity:
    frame.charge(steps(len(text), TEXT_FACTOR))
    return parse_quantity(text)


def _is_quantity(frame: Frame, text: str) -> bool:
    frame.charge(steps(len(text), TEXT_FACTOR))
    return is_quantity(text)


def _sign(frame: Frame, quantity: Quantity) -> int:
    return quantity.sign


def _is_integer(frame: Frame, quantity: Quantity) -> bool:
    return quantity.as_integer() is not None


def _as_integer(frame: Frame, quantity: Quantity) -> int:
    value = quantity.as_integer()
    if value is None:
        raise EvaluationError("asInteger: the quantity is no integer of 64 bits; isInteger() tells")
    return value


def _as_float(frame: Frame, quantity: Quantity) -> float:
    return quantity.as_float()


def _charge(frame: Frame, a: Quantity, b: Quantity) -> None:
    """For arithmetic with many digits: those of both, and zeros until they are aligned."""
    zeros = min(abs(a.exponent - b.exponent), MOST_DIGITS)
    frame.charge((a.digits.bit_length() + b.digits.bit_length() + 3 * zeros) >> 8)


def _add(frame: Frame, a: Quantity, b: Quantity) -> Quantity:
    _charge(frame, a, b)
    return a.plus(b)


def _add_integer(frame: Frame, a: Quantity, b: int) -> Quantity:
    return _add(frame, a, Quantity(int(b)))


def _sub(frame: Frame, a: Quantity, b: Quantity) -> Quantity:
    return _add(frame, a, b.negated())


def _sub_integer(frame: Frame, a: Quantity, b: int) -> Quantity:
    return _add(frame, a, Quantity(-int(b)))


def _is_greater(frame: Frame, a: Quantity, b: Quantity) -> bool:
    return _compare(frame, a, b) > 0


def _is_less(frame: Frame, a: Quantity, b: Quantity) -> bool:
    return _compare(frame, a, b) < 0


def _compare(frame: Frame, a: Quantity, b: Quantity) -> int:
    _charge(frame, a, b)
    return a.compare(b)


def _method(result: CelType, work: Callable[..., Any], *others: CelType) -> Overload:
    return Overload(parameters=(QUANTITY_TYPE, *others), result=result, work=work, member=True)


FUNCTIONS = (
    Function("quantity", (Overload(parameters=(STRING,), result=QUANTITY_TYPE, work=_quantity, estimate=reading()),)),
    Function("isQuantity", (Overload(parameters=(STRING,), result=BOOL, work=_is_quantity, estimate=reading()),)),
    # No method: Kubernetes has it as sign(q) only.
    Function("sign", (Overload(parameters=(QUANTITY_TYPE,), result=INT, work=_sign),)),
    Function("isInteger", (_method(BOOL, _is_integer),)),
    Function("asInteger", (_method(INT, _as_integer),)),
    Function("asApproximateFloat", (_method(DOUBLE, _as_float),)),
    Function("add", (_method(QUANTITY_TYPE, _add, QUANTITY_TYPE), _method(QUANTITY_TYPE, _add_integer, INT))),
    Function("sub", (_method(QUANTITY_TYPE, _sub, QUANTITY_TYPE), _method(QUANTITY_TYPE, _sub_integer, INT))),
    Function("isGreaterThan", (_method(BOOL, _is_greater, QUANTITY_TYPE),)),
    Function("isLessThan", (_method(BOOL, _is_less, QUANTITY_TYPE),)),
    Function("compareTo", (_method(INT, _compare, QUANTITY_TYPE),)),
)
