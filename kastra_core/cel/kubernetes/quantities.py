"""Kubernetes' quantities: decimal numbers, exact, with suffixes (``100m``, ``1.5Gi``, ``1e3``).

A quantity is held in one of two forms, and :meth:`Quantity.as_integer` only works on the first: a *short* one, whose
digits are an integer of 64 bits, or a *long* one, to which parsing and arithmetic turn when a value does not fit, has a
binary suffix with a fraction or is finer than nano.

Source:
    ``k8s.io/apimachinery/pkg/api/resource``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import log10
from typing import ClassVar, Final

from kastra_core.cel.types import CelType, opaque
from kastra_core.cel.values import INT_MAX, INT_MIN, BudgetError, EvaluationError
from kastra_core.errors import shortened

__all__ = ["MOST_DIGITS", "QUANTITY_TYPE", "Quantity", "is_quantity", "parse_quantity"]

QUANTITY_TYPE = opaque("kubernetes.Quantity")

# Possessive, so that no text takes quadratic time.
_FORM = re.compile(r"([+-]?+)0*+([0-9]*+)(?:\.([0-9]*+))?+([eEinumkKMGTP]*+[+-]?+[0-9]*+)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_DIGIT = re.compile("[0-9]", re.ASCII)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO: Final = -9
_PRIME: Final = 2**61 - 1
_DIGITS_OF_A_BIT: Final = log10(2)
_SHORT_DIGITS: Final = 18
"""Digits that surely fit an integer of 64 bits."""
MOST_DIGITS: Final = 4_000
"""Digits of a value that is computed with: integers of more take long to read."""


class Quantity:
    """``digits * 10**exponent``."""

    __slots__ = ("digits", "exponent", "is_long")
    cel_type: ClassVar[CelType] = QUANTITY_TYPE

    def __init__(self, digits: int, exponent: int = 0, *, is_long: bool = False) -> None:
        self.digits, self.exponent, self.is_long = digits, exponent, is_long

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.compare(other) == 0

    def __hash__(self) -> int:
        # As Python hashes numbers: by the remainder of a prime number, which is the same for 1e3 and 1000e0.
        return self.digits % _PRIME * pow(10, self.exponent, _PRIME) % _PRIME

    def __repr__(self) -> str:
        return f"Quantity({self.digits}, {self.exponent}{', is_long=True' if self.is_long else ''})"

    @property
    def sign(self) -> int:
        return (self.digits > 0) - (self.digits < 0)

    def compare(self, other: Quantity) -> int:
        """Return -1, 0 or 1: less, equal, greater."""
        if self.sign != other.sign or not self.sign:
            return (self.sign > other.sign) - (self.sign < other.sign)
        # Not 10**(difference): an exponent may have ten digits.
        mine, theirs = self._magnitude(), other._magnitude()
        if abs(mine - theirs) > 1:
            return self.sign if mine > theirs else -self.sign
        a, b, _ = _aligned(self, other)
        return (a > b) - (a < b)

    def _magnitude(self) -> int:
        """Where the first digit stands, 0 for ones; it may be one too high."""
        return int(self.digits.bit_length() * _DIGITS_OF_A_BIT) + self.exponent

    def as_integer(self) -> int | None:
        """Return the value; None: it has a fraction, needs more than 64 bits or is held in the long form."""
        if self.is_long or self.exponent < 0:
            return None
        if not self.digits:
            return 0
        if self.exponent > _SHORT_DIGITS:
            return None
        value = self.digits * 10**self.exponent
        return value if INT_MIN <= value <= INT_MAX else None

    def as_float(self) -> float:
        """Return the nearest double, nearly; infinity if it is too big."""
        try:
            base = float(self.digits)
        except OverflowError:
            base = float("inf") if self.digits > 0 else float("-inf")
        return base if self.exponent == 0 else base * _power_of_ten(self.exponent)

    def plus(self, other: Quantity) -> Quantity:
        """Return the sum.

        Raises:
            BudgetError: it has too many digits.
        """
        if not (self.is_long or other.is_long):
            if not other.digits:
                return self
            if not self.digits:
                return other
        a, b, exponent = _aligned(self, other)
        total = a + b
        short = all(INT_MIN <= value <= INT_MAX for value in (a, b, total))
        return Quantity(total, exponent, is_long=self.is_long or other.is_long or not short)

    def negated(self) -> Quantity:
        return Quantity(-self.digits, self.exponent, is_long=self.is_long)


def _aligned(a: Quantity, b: Quantity) -> tuple[int, int, int]:
    """Digits of both at one exponent, and this."""
    exponent = min(a.exponent, b.exponent)
    for value in (a, b):
        if value.digits and value.exponent - exponent > MOST_DIGITS:
            raise BudgetError(f"the quantities are too far apart: more than {MOST_DIGITS} digits")
    first, second = (0 if not q.digits else q.digits * _ten_to(q.exponent - exponent) for q in (a, b))
    return first, second, exponent


@lru_cache(maxsize=16)
def _ten_to(exponent: int) -> int:
    return int(10**exponent)


def _power_of_ten(exponent: int) -> float:
    """10**exponent as Go's ``math.Pow10`` has it: the product of two doubles."""
    if exponent > 308:
        return float("inf")
    if exponent < -323:
        return 0.0
    high, low = divmod(abs(exponent), 32)
    if exponent >= 0:
        return float(f"1e{32 * high}") * float(f"1e{low}")
    return float(f"1e-{32 * high}") / float(f"1e{low}")


def is_quantity(text: str) -> bool:
    return _parts(text) is not None


def _parts(text: str) -> tuple[bool, str, str | None, str, int] | None:
    """Sign, digits before and after the point, suffix, and its exponent: of two, or of ten for a decimal suffix."""
    found = _FORM.fullmatch(text)
    if not text or found is None:
        return None
    sign, whole, fraction, suffix = found.groups()
    if suffix in _DECIMAL:
        exponent = _DECIMAL[suffix]
    elif suffix in _BINARY:
        exponent = _BINARY[suffix]
    else:
        written = _EXPONENT.fullmatch(suffix)
        digits = written[1].lstrip("+-").lstrip("0") if written else ""
        if written is None or len(digits) > 19:
            return None
        value = int(f"{'-' if written[1].startswith('-') else ''}{digits or '0'}")
        if not INT_MIN <= value <= INT_MAX:
            return None
        exponent = (value + 2**31) % 2**32 - 2**31  # Kubernetes keeps 32 bits
    if (suffix in ("Pi", "Ei") or (suffix not in _BINARY and exponent < _NANO)) and not _DIGIT.search(
        text, 0, found.start(4)
    ):
        return None  # elsewhere a number without a digit, "Mi" or "+", is 0
    return sign == "-", whole, fraction, suffix, exponent


def parse_quantity(text: str) -> Quantity:
    """Return the quantity that ``text`` writes; what is finer than nano is rounded away from zero.

    Raises:
        EvaluationError: it writes none.
        BudgetError: it has thousands of digits.
    """
    parts = _parts(text)
    if parts is None:
        raise EvaluationError(
            f"{shortened(text, 80)!r} is no quantity; write a number with a suffix or without: 100m, 1.5, 2Gi, 1e3"
        )
    negative, whole, fraction, suffix, exponent = parts
    whole, after, binary = whole or "0", fraction or "", suffix in _BINARY
    quantity = _short(whole, after, exponent, binary) or _long(whole, after, exponent, binary)
    return quantity.negated() if negative else quantity


def _short(whole: str, after: str, exponent: int, binary: bool) -> Quantity | None:
    """The value in the short form, if Kubernetes would hold it so."""
    if binary:
        # Three decimal digits for ten binary ones, as Kubernetes reckons, in single precision.
        if after or 15 - len(whole) - int(exponent * 3 / 10) - 1 < 0:
            return None
        value = int(whole) << exponent
        return Quantity(value) if value <= INT_MAX else None
    if len(whole) + len(after) > _SHORT_DIGITS or exponent - len(after) < _NANO:
        return None
    return Quantity(int(whole + after), exponent - len(after))


def _long(whole: str, after: str, exponent: int, binary: bool) -> Quantity:
    places = -len(after) + (0 if binary else exponent)
    size = len(whole) + len(after)
    if size + max(places - _NANO, 0) > MOST_DIGITS:
        raise BudgetError(f"the quantity has more than {MOST_DIGITS} digits")
    digits = int(whole + after) << (exponent if binary else 0)
    if not digits:
        return Quantity(0, places, is_long=True)
    if places >= _NANO:
        digits *= 10 ** (places - _NANO)
    elif _NANO - places > size:
        digits = 1  # less than a nano
    else:
        digits = -(-digits // 10 ** (_NANO - places))
    if binary and digits > INT_MAX * 10**-_NANO:
        return Quantity(INT_MAX, is_long=True)
    return Quantity(digits, _NANO, is_long=True)
