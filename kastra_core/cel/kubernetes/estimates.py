"""What calls cost: known sizes to steps when an expression is written, and steps to charge when it runs.

Source:
    The factors and shapes of ``k8s.io/apiserver/pkg/cel/library/cost.go`` and ``cel-go/ext``: a step is one simple
    operation, reading a text takes a tenth of a step per character, a regular expression a quarter per character of
    it for each of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

from kastra_core.cel.functions import Cost, Size
from kastra_core.cel.values import MOST_TEXT, BudgetError, Frame

__all__ = [
    "LIST_COST",
    "PATTERN_FACTOR",
    "TEXT_FACTOR",
    "UNBOUNDED",
    "added",
    "charge_text",
    "fixed",
    "multiplied",
    "pattern_cost",
    "reading",
    "reading_argument",
    "scan",
    "steps",
    "traversal",
]

TEXT_FACTOR = 0.1
PATTERN_FACTOR = 0.25
LIST_COST = 10
"""Steps to make a list, whatever it holds."""
UNBOUNDED = 2**64 - 1
"""Where sizes and costs stop to grow."""


def steps(count: int, factor: float) -> int:
    """Return ``count * factor``, rounded up, at most UNBOUNDED."""
    if count >= UNBOUNDED:
        return UNBOUNDED if factor else 0
    return min(ceil(count * factor), UNBOUNDED)


def scan(size: Size, factor: float = TEXT_FACTOR) -> Size:
    """Return least and most steps for all of ``size``."""
    return Size(steps(size.least, factor), steps(size.most, factor))


def added(*sizes: Size) -> Size:
    return Size(
        min(sum(size.least for size in sizes), UNBOUNDED),
        min(sum(size.most for size in sizes), UNBOUNDED),
    )


def multiplied(a: Size, b: Size) -> Size:
    return Size(min(a.least * b.least, UNBOUNDED), min(a.most * b.most, UNBOUNDED))


def reading(factor: float = TEXT_FACTOR, *, keeps_size: bool = False) -> Callable[..., Cost]:
    """Return the estimate of a function that reads its receiver or first argument once.

    ``keeps_size``: what comes out is as long.
    """

    def estimate(text: Size, *others: Size) -> Cost:
        cost = scan(text, factor)
        return Cost(cost.least, cost.most, text if keeps_size else None)

    return estimate


def fixed(least: int, most: int) -> Callable[..., Cost]:
    """Return the estimate of a function that takes so many steps, whatever it is given."""
    cost = Cost(least, most)
    return lambda *sizes: cost


def reading_argument(least: int, most: int) -> Callable[..., Cost]:
    """Return the estimate of a method that reads its argument, a text, and takes ``least`` to ``most`` steps more."""

    def estimate(receiver: Size, text: Size) -> Cost:
        cost = added(scan(text), Size(least, most))
        return Cost(cost.least, cost.most)

    return estimate


def pattern_cost(text: Size, pattern: Size) -> Size:
    """Steps to look for ``pattern``, a regular expression, in ``text``; an empty text is not free."""
    return multiplied(scan(added(text, Size(1, 1))), scan(pattern, PATTERN_FACTOR))


def charge_text(frame: Frame, size: int, before: int = 0) -> None:
    """Charge for making a text of ``size`` characters, a part of one that already has ``before``.

    Raises:
        BudgetError: it is too long, or there are no steps left.
    """
    if before + size > MOST_TEXT:
        raise BudgetError(f"it makes a text of more than {MOST_TEXT >> 20} million characters")
    frame.charge(size >> 6)


def traversal(items: Iterable[Any]) -> int:
    """Steps to look at everything in ``items``, however deep: at least one for each."""
    total = 0
    waiting = [iter(items)]
    while waiting:
        for item in waiting[-1]:
            total += 1
            if isinstance(item, (str, bytes)):
                total += len(item) // 10
            elif isinstance(item, dict):
                waiting.append(iter((*item.keys(), *item.values())))
                break
            elif isinstance(item, (list, tuple)):
                waiting.append(iter(item))
                break
        else:
            waiting.pop()
    return total
