"""What calls are estimated to cost, and what they are charged."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import pytest

from kastra_core.cel import Cost, EvaluationError, Frame, Meter, Overload, Size
from kastra_core.cel.kubernetes import LIBRARY
from kastra_core.cel.kubernetes.estimates import UNBOUNDED, traversal
from kastra_core.cel.values import INT_MAX


@attrs.frozen
class Known(Size):
    items: Size | None = None
    value: int | None = None


def overload(name: str, *types: str) -> Overload:
    return next(each for each in LIBRARY[name].overloads if tuple(map(str, each.parameters)) == types)


def cost(name: str, types: str, *sizes: Size) -> Cost:
    estimate = overload(name, *types.split(", ")).estimate
    assert estimate is not None
    return estimate(*sizes)


def fixed(size: int) -> Size:
    return Size(size, size)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cost("lowerAscii", "string", Size(0, 25)), Cost(0, 3, Size(0, 25))),
        (cost("split", "string, string", Size(5, 16), fixed(1)), Cost(1, 4, Size(0, 16))),
        (cost("split", "string, string, int", fixed(16), fixed(1), Known(value=2)), Cost(4, 4, Size(0, 2))),
        (cost("split", "string, string, int", fixed(16), fixed(1), Known(value=-1)), Cost(4, 4, Size(0, 16))),
        (cost("replace", "string, string, string", fixed(10), fixed(2), fixed(3)), Cost(2, 2, Size(10, 15))),
        (cost("replace", "string, string, string", fixed(10), fixed(0), fixed(3)), Cost(2, 2, Size(43, 43))),
        (cost("replace", "string, string, string", fixed(10), fixed(2), fixed(1)), Cost(2, 2, Size(5, 10))),
        (cost("join", "list(string), string", Known(2, 3, Size(0, 10)), fixed(2)), Cost(1, 4, Size(2, 34))),
        (cost("join", "list(string)", fixed(3)), Cost(0, UNBOUNDED, Size(0, UNBOUNDED))),
        (cost("strings.quote", "string", fixed(10)), Cost(1, 1, Size(12, 22))),
        (cost("sum", "list(int)", Size(0, 7)), Cost(0, 7)),
        (cost("max", "list(string)", Known(1, 5, Size(0, 20))), Cost(1, 15)),
        (cost("max", "list(string)", Size(1, 5)), Cost(1, UNBOUNDED)),
        (cost("distinct", "list(T)", Size(0, 10)), Cost(11, 211, Size(0, 100))),
        (cost("sort", "list(string)", fixed(10)), Cost(221, 221, Size(100, 100))),
        (cost("reverse", "list(T)", Size(2, 4)), Cost(13, 15, Size(2, 4))),
        (cost("slice", "list(T), int, int", fixed(9), Known(value=2), Known(value=5)), Cost(14, 14, fixed(3))),
        (cost("slice", "list(T), int, int", Size(0, 9), Size(), Size()), Cost(20, 20, fixed(9))),
        (cost("lists.range", "int", Known(value=4)), Cost(15, 15, fixed(4))),
        (cost("lists.range", "int", Size()).most, UNBOUNDED),
        (cost("flatten", "list(dyn), int", fixed(4), Known(value=3)), Cost(23, 23, fixed(4))),
        (cost("sets.equivalent", "list(T), list(T)", Size(0, 3), fixed(4)), Cost(1, 25)),
        (cost("find", "string, string", Size(0, 9), fixed(10)), Cost(3, 3, Size(0, 9))),
        (cost("ip.isCanonical", "string", fixed(12)), Cost(3, 3)),
        (cost("containsIP", "net.CIDR, net.IP", Size(), Size()), Cost(1, 4)),
        (cost("containsCIDR", "net.CIDR, string", Size(), fixed(12)), Cost(5, 9)),
        (cost("url", "string", fixed(30)), Cost(3, 3, fixed(30))),
        (cost("validate", "kubernetes.NamedFormat, string", Size(), Size(0, 63)), Cost(0, 224)),
    ],
)
def test_estimates_are_those_of_kubernetes(found: Any, expected: Any) -> None:
    assert found == expected


def test_no_estimate_ends_above_the_bound_or_below_itself() -> None:
    for size in (Size(0, 0), Size(0, UNBOUNDED), Size(UNBOUNDED, UNBOUNDED), Size(3, 10**12)):
        for function in LIBRARY.values():
            for each in function.overloads:
                if each.estimate is not None:
                    found = each.estimate(*[size] * len(each.parameters))
                    assert 0 <= found.least <= found.most <= UNBOUNDED, function.name
                    assert found.result is None or found.result.most <= UNBOUNDED, function.name


_SAMPLES: dict[str, Any] = {
    "string": "1.2.3" * 2_000,
    "int": 3,
    "bool": True,
    "list(T)": ["x" * 10] * 1_000,
    "list(string)": ["x" * 10] * 1_000,
    "list(int)": list(range(1_000)),
    "T": "y",
}


@pytest.mark.parametrize(
    ("name", "types"),
    [
        (name, types)
        for name, function in sorted(LIBRARY.items())
        for types in [tuple(map(str, each.parameters)) for each in function.overloads]
        if set(types) <= _SAMPLES.keys() and ({"string", "list(T)", "list(string)", "list(int)"} & set(types))
        if name not in ("charAt", "format.named", "slice")
    ],
)
def test_what_grows_with_its_input_is_charged(name: str, types: tuple[str, ...]) -> None:
    meter = Meter(INT_MAX)
    with suppress(EvaluationError):
        overload(name, *types).work(Frame({}, meter), *(_SAMPLES[each] for each in types))
    assert INT_MAX - meter.left >= 1_000


def test_a_traversal_counts_what_is_within() -> None:
    assert traversal([]) == 0
    assert traversal([1, None, "a" * 25, b"x"]) == 6
    assert traversal([[1, [2]], {"a": 3}]) == 7
