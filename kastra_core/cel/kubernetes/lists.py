"""Functions of lists: Kubernetes' own and version 3 of cel-go's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from kastra_core.cel.functions import Cost, Function, Overload, Size
from kastra_core.cel.kubernetes.estimates import (
    LIST_COST,
    TEXT_FACTOR,
    UNBOUNDED,
    added,
    multiplied,
    scan,
    steps,
    traversal,
)
from kastra_core.cel.kubernetes.membership import Membership
from kastra_core.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    CelType,
    list_of,
    param,
)
from kastra_core.cel.values import INT_MAX, INT_MIN, UINT_MAX, EvaluationError, Frame, Uint, equal, word_of

__all__ = ["FUNCTIONS"]

_T = param("T")
_LIST = list_of(_T)
_SUMMABLE = (INT, UINT, DOUBLE, DURATION)
_COMPARABLE = (INT, UINT, DOUBLE, BOOL, DURATION, TIMESTAMP, STRING, BYTES)
_LONGEST_DURATION = timedelta(microseconds=INT_MAX // 1000)


def _kind(value: Any) -> object:
    """What may be compared with each other; None: nothing may be compared with it."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, (int, float)):
        return float
    return next((kind for kind in (str, bytes, datetime, timedelta) if isinstance(value, kind)), None)


def _check_comparable(items: list[Any], what: str) -> None:
    if not items:
        return
    first = _kind(items[0])
    for item in items:
        kind = _kind(item)
        if kind is None:
            raise EvaluationError(f"{what}: {word_of(item)} cannot be compared")
        if kind is not first:
            raise EvaluationError(f"{what}: {word_of(items[0])} and {word_of(item)} cannot be compared")


# ------------------------------------------------------------------------------------------------ Kubernetes' own


def _is_sorted(frame: Frame, items: list[Any]) -> bool:
    frame.charge(traversal(items))
    _check_comparable(items, "isSorted")
    return not any(later < earlier for earlier, later in pairwise(items))


def _least(frame: Frame, items: list[Any]) -> Any:
    return _extreme(frame, items, "min", lambda best, item: bool(item < best))


def _most(frame: Frame, items: list[Any]) -> Any:
    return _extreme(frame, items, "max", lambda best, item: bool(item > best))


def _extreme(frame: Frame, items: list[Any], name: str, better: Callable[[Any, Any], bool]) -> Any:
    frame.charge(traversal(items))
    if not items:
        raise EvaluationError(f"{name} of an empty list; add a value to it: ([0] + x).{name}()")
    _check_comparable(items, name)
    best = items[0]
    for item in items:
        if better(best, item):
            best = item
    return best


def _sum(zero: Any) -> Callable[[Frame, list[Any]], Any]:
    def work(frame: Frame, items: list[Any]) -> Any:
        frame.charge(traversal(items))
        if not items:
            return zero
        total, kind = items[0], type(items[0])
        if kind not in (int, Uint, float, timedelta):
            raise EvaluationError(f"sum takes numbers or durations, not {word_of(total)}")
        try:
            for item in items[1:]:
                if type(item) is not kind:
                    raise EvaluationError(f"sum: {word_of(total)} and {word_of(item)} cannot be added")
                total = total + item
        except OverflowError:
            raise EvaluationError("sum: the result is too big") from None
        return _within_bounds(total, kind)

    return work


def _within_bounds(total: Any, kind: type) -> Any:
    if kind is timedelta:
        fits = abs(total) <= _LONGEST_DURATION
    elif kind is Uint:
        fits = total <= UINT_MAX
    else:
        fits = kind is float or INT_MIN <= total <= INT_MAX
    if not fits:
        raise EvaluationError("sum: the result is too big")
    return Uint(total) if kind is Uint else total


def _index_of(frame: Frame, items: list[Any], wanted: Any) -> int:
    frame.charge(traversal(items))
    return next((index for index, item in enumerate(items) if equal(frame, item, wanted)), -1)


def _last_index_of(frame: Frame, items: list[Any], wanted: Any) -> int:
    frame.charge(traversal(items))
    return next((index for index in reversed(range(len(items))) if equal(frame, items[index], wanted)), -1)


# ------------------------------------------------------------------------------------------------ cel-go's


def _charge_new_list(frame: Frame, size: int) -> None:
    frame.charge(size + LIST_COST)


def _charge_pairs(frame: Frame, items: list[Any]) -> None:
    """Every item compared with every other."""
    of_texts = bool(items) and isinstance(items[0], (str, bytes))
    frame.charge(steps(len(items) ** 2, 2 + TEXT_FACTOR if of_texts else 2) + LIST_COST)


def _distinct(frame: Frame, items: list[Any]) -> list[Any]:
    _charge_pairs(frame, items)
    seen = Membership()
    out = []
    for item in items:
        if not seen.has(frame, item):
            seen.add(item)
            out.append(item)
    return out


def _flatten(frame: Frame, items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError(f"flatten({depth}): the depth must not be negative")
    _charge_new_list(frame, len(items))
    out: list[Any] = []
    waiting = [iter(items)]
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, (list, tuple)) and len(waiting) <= depth:
                frame.charge(len(item) + 1)
                waiting.append(iter(item))
                break
            out.append(item)
        else:
            waiting.pop()
    return out


def _range(frame: Frame, count: int) -> list[int]:
    _charge_new_list(frame, max(count, 0))
    return list(range(count))


def _reverse(frame: Frame, items: list[Any]) -> list[Any]:
    _charge_new_list(frame, len(items))
    return list(reversed(items))


def _slice(frame: Frame, items: list[Any], start: int, end: int) -> list[Any]:
    shown = f"slice({start}, {end})"
    if start < 0 or end < 0:
        raise EvaluationError(f"{shown}: an index must not be negative")
    if start > end:
        raise EvaluationError(f"{shown}: the end is before the start")
    if end > len(items):
        raise EvaluationError(f"{shown}: the list has {len(items)} item{'' if len(items) == 1 else 's'}")
    _charge_new_list(frame, end - start)
    return list(items[start:end])


def _sort(frame: Frame, items: list[Any]) -> list[Any]:
    return _sort_by_keys(frame, items, items)


def _sort_by_keys(frame: Frame, items: list[Any], keys: list[Any]) -> list[Any]:
    """``items`` in the order of ``keys``, one for each."""
    if len(items) != len(keys):
        raise EvaluationError(f"sort: {len(items)} items and {len(keys)} keys")
    _charge_pairs(frame, keys)
    _check_comparable(keys, "sort")
    if any(type(key) is not type(keys[0]) for key in keys):
        raise EvaluationError("sort: the items have more than one type")
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


# ------------------------------------------------------------------------------------------------ estimates


def _looking(items: Size, *others: Size) -> Cost:
    """One look at each item; at each character, too, where the items are texts."""
    each = scan(items.items) if items.items else Size(0, 0)
    cost = multiplied(items, added(Size(1, 1), each))
    return Cost(cost.least, cost.most)


def _looking_at_texts(texts: Size) -> Cost:
    cost = multiplied(texts, added(Size(1, 1), scan(texts.items or Size(0, UNBOUNDED))))
    return Cost(cost.least, cost.most)


def _making(size: Size, factor: float = 1) -> Cost:
    cost = added(scan(size, factor), Size(1 + LIST_COST, 1 + LIST_COST))
    return Cost(cost.least, cost.most, size)


def _flattening(items: Size, depth: Size | None = None) -> Cost:
    if depth is None:
        return _making(items)
    levels = depth.value
    return _making(items, UNBOUNDED if levels is None else max(levels, 0))


def _comparing_pairs(factor: float) -> Callable[..., Cost]:
    def estimate(items: Size, keys: Size | None = None) -> Cost:
        size = items if keys is None else keys
        return _making(multiplied(size, size), factor)

    return estimate


def _ranging(count: Size) -> Cost:
    wanted = count.value
    size = UNBOUNDED if wanted is None else max(wanted, 0)
    return _making(Size(size, size))


def _slicing(items: Size, start: Size, end: Size) -> Cost:
    first, last = start.value, end.value
    size = max((items.most if last is None else max(last, 0)) - max(first or 0, 0), 0)
    return _making(Size(size, size))


# ------------------------------------------------------------------------------------------------ the functions


def _method(result: CelType, work: Callable[..., Any], *parameters: CelType, estimate: Callable[..., Cost]) -> Overload:
    return Overload(parameters=parameters, result=result, work=work, member=True, estimate=estimate)


def _sort_estimate(item: CelType) -> Callable[..., Cost]:
    return _comparing_pairs(2 + TEXT_FACTOR if item in (STRING, BYTES) else 2)


def _look_estimate(item: CelType) -> Callable[..., Cost]:
    return _looking_at_texts if item in (STRING, BYTES) else _looking


_ZEROS = {INT: 0, UINT: Uint(0), DOUBLE: 0.0, DURATION: timedelta()}

FUNCTIONS = (
    Function("isSorted", tuple(_method(BOOL, _is_sorted, list_of(T), estimate=_look_estimate(T)) for T in _COMPARABLE)),
    Function("sum", tuple(_method(T, _sum(_ZEROS[T]), list_of(T), estimate=_looking) for T in _SUMMABLE)),
    Function("min", tuple(_method(T, _least, list_of(T), estimate=_look_estimate(T)) for T in _COMPARABLE)),
    Function("max", tuple(_method(T, _most, list_of(T), estimate=_look_estimate(T)) for T in _COMPARABLE)),
    Function("indexOf", (_method(INT, _index_of, _LIST, _T, estimate=_looking),)),
    Function("lastIndexOf", (_method(INT, _last_index_of, _LIST, _T, estimate=_looking),)),
    Function("distinct", (_method(_LIST, _distinct, _LIST, estimate=_comparing_pairs(2)),)),
    Function(
        "flatten",
        (
            _method(_LIST, _flatten, list_of(_LIST), estimate=_flattening),
            _method(list_of(DYN), _flatten, list_of(DYN), INT, estimate=_flattening),
        ),
    ),
    Function("lists.range", (Overload(parameters=(INT,), result=list_of(INT), work=_range, estimate=_ranging),)),
    Function("reverse", (_method(_LIST, _reverse, _LIST, estimate=_making),)),
    Function("slice", (_method(_LIST, _slice, _LIST, INT, INT, estimate=_slicing),)),
    Function("sort", tuple(_method(list_of(T), _sort, list_of(T), estimate=_sort_estimate(T)) for T in _COMPARABLE)),
    # What the macro sortBy(item, key) becomes; nobody can write the name.
    Function(
        "@sortByAssociatedKeys",
        tuple(_method(_LIST, _sort_by_keys, _LIST, list_of(T), estimate=_sort_estimate(T)) for T in _COMPARABLE),
    ),
)
