"""Lists as sets: order and repetition do not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.functions import Cost, Function, Overload, Size
from kastra_core.cel.kubernetes.estimates import UNBOUNDED, multiplied
from kastra_core.cel.kubernetes.membership import Membership
from kastra_core.cel.types import BOOL, list_of, param
from kastra_core.cel.values import Frame

__all__ = ["FUNCTIONS"]

_LIST = list_of(param("T"))


def _contains(frame: Frame, items: list[Any], wanted: list[Any]) -> bool:
    members = Membership(items)
    return all(members.has(frame, item) for item in wanted)


def _equivalent(frame: Frame, a: list[Any], b: list[Any]) -> bool:
    return _contains(frame, a, b) and _contains(frame, b, a)


def _intersects(frame: Frame, a: list[Any], b: list[Any]) -> bool:
    members = Membership(b)
    return any(members.has(frame, item) for item in a)


def _function(name: str, work: Callable[[Frame, list[Any], list[Any]], bool], rounds: int) -> Function:
    """``rounds``: how often each item of one list is compared with each of the other."""

    def charged(frame: Frame, a: list[Any], b: list[Any]) -> bool:
        frame.charge(max(rounds * len(a) * len(b), len(a), len(b)))
        return work(frame, a, b)

    def estimate(a: Size, b: Size) -> Cost:
        pairs = multiplied(a, b)
        return Cost(min(rounds * pairs.least + 1, UNBOUNDED), min(rounds * pairs.most + 1, UNBOUNDED))

    return Function(
        f"sets.{name}", (Overload(parameters=(_LIST, _LIST), result=BOOL, work=charged, estimate=estimate),)
    )


FUNCTIONS = (
    _function("contains", _contains, 1),
    _function("equivalent", _equivalent, 2),
    _function("intersects", _intersects, 1),
)
