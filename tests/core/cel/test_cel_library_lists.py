"""Functions of lists, and lists as sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.cel import DYN, BudgetError, CelSyntaxError, Environment, EvaluationError, Frame, Meter, Uint, library
from kastra_core.cel.kubernetes import LIBRARY, lists
from kastra_core.cel.kubernetes.addresses import parse_ip
from kastra_core.cel.kubernetes.membership import Membership

_ENVIRONMENT = Environment({})


def value(source: str, **values: Any) -> Any:
    environment = Environment(dict.fromkeys(values, DYN)) if values else _ENVIRONMENT
    return environment.compile(source).evaluate(values, Meter(1_000_000))


def call(name: str, *values: Any) -> Any:
    overload = next(each for each in library(lists.FUNCTIONS)[name].overloads if len(each.parameters) == len(values))
    return overload.work(Frame({}, Meter(1_000_000)), *values)


@pytest.mark.parametrize(
    "source",
    [
        "[1, 2, 2].isSorted()",
        "![2.0, 1.0].isSorted()",
        "['a', 'b'].isSorted() && [].isSorted()",
        "[false, true].isSorted() && [b'a', b'b'].isSorted()",
        "[1, 3].sum() == 4 && [1u, 2u].sum() == 3u && [0.5, 0.25].sum() == 0.75",
        "[duration('1m'), duration('1s')].sum() == duration('61s')",
        "[].sum() == 0",
        "[3, 1].min() == 1 && ['b', 'a'].max() == 'b'",
        "[timestamp('2024-01-01T00:00:00Z'), timestamp('2023-01-01T00:00:00Z')].max().getFullYear() == 2024",
        "([0] + []).min() == 0",
        "[1, 2, 2].indexOf(2) == 1 && [1, 2, 2].lastIndexOf(2) == 2 && [1].indexOf(5) == -1",
        "[[1], [2]].indexOf([2]) == 1",
        "[1, 2, 2, 1].distinct() == [1, 2]",
        "[{'a': 1}, {'a': 1}, {'a': 2}].distinct().size() == 2",
        "[[1, 2], [], [3]].flatten() == [1, 2, 3]",
        "x.flatten(2) == y && x.flatten(0) == x",
        "lists.range(3) == [0, 1, 2] && lists.range(-1) == []",
        "[1, 2, 3].reverse() == [3, 2, 1]",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [1].slice(1, 1) == []",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b'] && [].sort() == []",
        "sets.contains([1, 2], [2, 2]) && sets.contains([1], []) && !sets.contains([1], [2])",
        "sets.equivalent([1, 2, 2], [2, 1]) && !sets.equivalent([1], [1, 2])",
        "sets.intersects([[1], [2]], [[2], [3]]) && !sets.intersects([1], []) && !sets.intersects(['a'], ['b'])",
        "sets.contains([dyn(1), dyn(2u)], [dyn(2.0)])",
        "!sets.contains([dyn(1)], [dyn('1')]) && !sets.contains([dyn(1)], [dyn(true)])",
    ],
)
def test_lists_and_sets(source: str) -> None:
    assert value(source, x=[1, [2, [3, [4]]]], y=[1, 2, 3, [4]]) is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("[].min()", "min of an empty list"),
        ("[].max()", "max of an empty list"),
        ("[9223372036854775807, 1].sum()", "too big"),
        ("[18446744073709551615u, 1u].sum()", "too big"),
        ("[1, 2].slice(-1, 1)", "must not be negative"),
        ("[1, 2].slice(2, 1)", "the end is before the start"),
        ("[1, 2].slice(0, 3)", "the list has 2 items"),
        ("[dyn(1)].flatten(-1)", "must not be negative"),
        ("x.sort()", "more than one type"),
        ("x.sum()", "an integer and a number cannot be added"),
        ("y.max()", "an integer and a text cannot be compared"),
        ("z.isSorted()", "cannot be compared"),
    ],
)
def test_what_cannot_be_says_why(source: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        value(source, x=[1, 2.5], y=[1, "a"], z=[{}, {}])


@pytest.mark.parametrize("source", ["'abc'.reverse()", "[1].includes(1)", "[[1]].sort()", "[{}].sum()", "[true].sum()"])
def test_what_kubernetes_does_not_have_is_no_expression(source: str) -> None:
    with pytest.raises(CelSyntaxError):
        value(source)


def test_sums_keep_their_type() -> None:
    assert type(value("[1u, 2u].sum()")) is Uint
    assert type(value("[1.0].sum()")) is float
    assert value("[duration('1s')].sum()") == timedelta(seconds=1)


def test_nan_is_no_duplicate_of_itself() -> None:
    nan = float("nan")
    assert len(call("distinct", [nan, nan])) == 2
    assert call("indexOf", [nan], nan) == -1


def test_lists_are_not_changed() -> None:
    items = [3, 1, 2]
    for source in ("x.sort()", "x.reverse()", "x.slice(0, 3)", "x.distinct()", "x.flatten(1)"):
        assert value(source, x=items) is not items
    assert items == [3, 1, 2]


def test_items_are_sorted_by_keys() -> None:
    assert call("@sortByAssociatedKeys", ["a", "b", "c"], [2, 3, 1]) == ["c", "a", "b"]


@pytest.mark.parametrize("source", ["lists.range(100000000)", "x.distinct()", "x.sort()", "sets.equivalent(x, x)"])
def test_work_that_grows_is_charged_before_it_is_done(source: str) -> None:
    environment = Environment({"x": DYN})
    with pytest.raises(BudgetError):
        environment.compile(source).evaluate({"x": list(range(10_000))}, Meter(1_000_000))


_SCALARS = st.one_of(st.integers(-3, 3), st.sampled_from([0.0, 1.0, 2.5]), st.text("ab", max_size=2), st.booleans())
_VALUES = st.one_of(_SCALARS, st.lists(st.integers(0, 2), max_size=2), st.none())


@given(st.lists(_VALUES, max_size=8))
def test_distinct_keeps_the_first_of_each(items: list[Any]) -> None:
    expected: list[Any] = []
    for item in items:
        if not any((isinstance(item, bool) is isinstance(seen, bool)) and item == seen for seen in expected):
            expected.append(item)
    found = call("distinct", items)
    assert list(map(repr, found)) == list(map(repr, expected))


@given(st.lists(st.integers(-5, 5)), st.lists(st.integers(-5, 5)))
def test_sets_are_those_of_python(a: list[int], b: list[int]) -> None:
    assert value("sets.contains(a, b)", a=a, b=b) == (set(a) >= set(b))
    assert value("sets.equivalent(a, b)", a=a, b=b) == (set(a) == set(b))
    assert value("sets.intersects(a, b)", a=a, b=b) == bool(set(a) & set(b))


@given(st.one_of(st.lists(st.integers()), st.lists(st.text()), st.lists(st.binary()), st.lists(st.booleans())))
def test_a_sorted_list_is_sorted(items: list[Any]) -> None:
    found = call("sort", items)
    assert found == sorted(items)
    assert call("isSorted", found)
    assert not found or (call("min", items), call("max", items)) == (found[0], found[-1])


def test_membership_knows_times_and_values_of_libraries() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    members = Membership([now, parse_ip("::1"), None, [1]])
    frame = Frame({}, Meter(100))
    assert all(members.has(frame, item) for item in (now, parse_ip("0:0::1"), None, [1.0]))
    assert not any(members.has(frame, item) for item in (timedelta(0), "::1", False, [2]))


def test_functions_of_one_name_share_it() -> None:
    assert {str(each.parameters[0]) for each in LIBRARY["indexOf"].overloads} == {"string", "list(T)"}
    assert {str(each.parameters[0]) for each in LIBRARY["string"].overloads} == {"net.IP", "net.CIDR"}
