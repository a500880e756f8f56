"""Functions of texts, and format()."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.cel import DYN, BudgetError, Environment, EvaluationError, Frame, Meter
from kastra_core.cel.kubernetes.formatting import format_text, quoted

_ENVIRONMENT = Environment({})


def value(source: str, **values: Any) -> Any:
    environment = Environment(dict.fromkeys(values, DYN)) if values else _ENVIRONMENT
    return environment.compile(source).evaluate(values, Meter(1_000_000))


@pytest.mark.parametrize(
    "source",
    [
        "'héllo'.charAt(1) == 'é'",
        "'ab'.charAt(2) == ''",
        "'hello mellow'.indexOf('ello') == 1",
        "'hello mellow'.indexOf('ello', 2) == 7",
        "'hello'.indexOf('', 3) == 3",
        "'hello'.indexOf('', 30) == 5",
        "'hello'.indexOf('l', 30) == -1",
        "'ü-ü'.lastIndexOf('ü') == 2",
        "'ü-ü'.lastIndexOf('ü', 1) == 0",
        "'hello'.lastIndexOf('') == 5",
        "'hello'.lastIndexOf('', 2) == 2",
        "'hello'.lastIndexOf('l', 5) == -1",
        "'hello'.lastIndexOf('lo', 3) == 3",
        "'a'.lastIndexOf('abc') == -1",
        "['a', 'b'].join() == 'ab'",
        "['a', 'b', ''].join(', ') == 'a, b, '",
        "[].join('-') == ''",
        "'ÄBc'.lowerAscii() == 'Äbc'",
        "'äbC'.upperAscii() == 'äBC'",
        "'\\u00a0 x\\t\\v'.trim() == 'x'",
        "'\\u200bx'.trim() == '\\u200bx'",
        "'hello'.replace('l', 'LL') == 'heLLLLo'",
        "'hello'.replace('l', 'L', 1) == 'heLlo'",
        "'hello'.replace('l', 'L', 0) == 'hello'",
        "'ab'.replace('', '_') == '_a_b_'",
        "'ab'.replace('', '_', 1) == '_ab'",
        "'a b c'.split(' ') == ['a', 'b', 'c']",
        "'a b c'.split(' ', 2) == ['a', 'b c']",
        "'a b c'.split(' ', 0) == []",
        "'a b'.split(' ', -1) == ['a', 'b']",
        "'äöü'.split('') == ['ä', 'ö', 'ü']",
        "'äöü'.split('', 2) == ['ä', 'öü']",
        "''.split(',') == ['']",
        "''.split('') == []",
        "'tacocat'.substring(4) == 'cat'",
        "'tacocat'.substring(0, 4) == 'taco'",
        "'ab'.substring(2) == ''",
        """strings.quote('a"b\\\\c\\n') == '"a\\\\"b\\\\\\\\c\\\\n"'""",
    ],
)
def test_positions_and_parts(source: str) -> None:
    assert value(source) is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("'ab'.charAt(3)", "index 3 is out of range: the text has 2 characters"),
        ("'ab'.charAt(-1)", "index -1 is out of range"),
        ("'ab'.indexOf('a', -1)", "index -1 is out of range"),
        ("'ab'.lastIndexOf('a', -1)", "index -1 is out of range"),
        ("'ab'.substring(3)", "index 3 is out of range"),
        ("'ab'.substring(0, 3)", "index 3 is out of range"),
        ("'ab'.substring(2, 1)", "the end is before the start"),
        ("x.join()", "one of its items is an integer"),
    ],
)
def test_what_cannot_be_says_why(source: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        value(source, x=["a", 1])


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("%s is %d", ["x", 42], "x is 42"),
        ("100%%", [], "100%"),
        ("%.2f|%.0f|%f", [1234567.891, 2.5, 3.14], "1,234,567.89|2|3.140000"),
        ("%.3e|%e", [1052.0329, 0.00015], "1.052×10⁰³|1.500000×10⁻⁰⁴"),
        ("%.1e", [1e300], "1.0×10³⁰⁰"),
        ("%f %f %f %e", ["NaN", "Infinity", "-Infinity", float("inf")], "NaN ∞ -∞ ∞"),
        ("%.1f %.1f", [-0.0, -0.001], "0.0 -0.0"),
        ("%b %b %b", [5, -5, True], "101 -101 1"),
        ("%x %X %x %X", [255, 255, "hi", b"\xff"], "ff FF 6869 FF"),
        ("%o", [8], "10"),
        ("%s %s %s", [1.0, 1e6, 123456.5], "1 1e+06 123456.5"),
        ("%s %s %s", [1e-4, 1e-5, -2.5e-7], "0.0001 1e-05 -2.5e-07"),
        ("%s %s", [None, True], "null true"),
        ("%s", [[1, 2.5, 'a"b', None, [b"x"]]], '[1, 2.500000, "a\\"b", null, [b"x"]]'),
        ("%s", [{"b": 1, "a": [True]}], '{"a":[true], "b":1}'),
        ("%s", [{2: "x", 10: "y"}], '{10:"y", 2:"x"}'),
        ("%s", [[float("nan"), float("-inf")]], '["NaN", "-Inf"]'),
        ("%s", [datetime(2024, 1, 31, 1, 2, 3, 500_000, UTC)], "2024-01-31T01:02:03.5Z"),
        ("%s %s", [timedelta(minutes=90), timedelta(milliseconds=-1500)], "5400s -1.5s"),
        ("%s", [[timedelta(seconds=1)]], '[duration("1s")]'),
        ("%s", [[datetime(2024, 1, 31, tzinfo=UTC)]], '[timestamp("2024-01-31T00:00:00Z")]'),
    ],
)
def test_format(template: str, values: list[Any], text: str) -> None:
    assert format_text(Frame({}, Meter(10_000)), template, values) == text


def test_format_takes_types_and_unsigned_integers() -> None:
    assert value("'%s %d %x'.format([dyn(type(1)), 7u, 15u])") == "int 7 f"


@pytest.mark.parametrize(
    ("template", "values", "words"),
    [
        ("%s %s", ["x"], "there is no value for '%s', number 2"),
        ("%d", ["x"], "'%d' takes an integer, not a text"),
        ("%d", [True], "'%d' takes an integer, not a boolean"),
        ("%f", [1], "'%f' takes a double, not an integer"),
        ("%b", [1.5], "'%b' takes an integer or a boolean"),
        ("%x", [1.5], "'%x' takes an integer, a text or bytes"),
        ("%o", [True], "'%o' takes an integer"),
        ("%q", ["x"], "there is no clause '%q'"),
        ("x%", ["x"], "the text ends within a clause"),
        ("%.", [1.5], "a number of digits must follow"),
        ("%.9999999999f", [1.5], "at most 100000 digits"),
        ("%s", [b"\xff"], "not UTF-8"),
        ("%s", [[{1.5: 1}]], "a key of a map"),
    ],
)
def test_format_refuses(template: str, values: list[Any], words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        format_text(Frame({}, Meter(10_000)), template, values)


def test_texts_within_lists_are_quoted_as_go_does() -> None:
    assert quoted("é\x00\x7f\x85\u2028\U000e0001") == '"é\\x00\\x7f\\u0085\\u2028\\U000e0001"'


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("x.replace('', x)", {"x": "a" * 10_000}),
        ("x.map(i, y).join()", {"x": [0] * 1000, "y": "a" * 100_000}),
        ("'%s'.format([x])", {"x": [["a" * 1_000_000] * 100] * 100}),
        ("'%.99999f'.format([1.5])", {}),
    ],
)
def test_a_text_is_not_made_when_it_would_be_too_long(source: str, values: dict[str, Any]) -> None:
    environment = Environment(dict.fromkeys(values, DYN))
    with pytest.raises(BudgetError):
        environment.compile(source).evaluate(values, Meter(10_000))


@given(st.text(max_size=20), st.text(min_size=1, max_size=3), st.integers(-1, 5))
def test_parts_of_a_split_join_to_the_text(text: str, separator: str, limit: int) -> None:
    parts = value("x.split(y, z)", x=text, y=separator, z=limit)
    assert len(parts) <= limit or limit < 0
    assert separator.join(parts) == text or limit == 0
