"""What expressions give: CEL's standard functions and macros, as typed dialects have them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kastra_core.cel import (
    ABSENT,
    DYN,
    INT,
    STRING,
    Environment,
    EvaluationError,
    Meter,
    Optional,
    Uint,
    equal,
    list_of,
    map_of,
)
from kastra_core.cel.values import Frame

VARIABLES = {
    "d": DYN,
    "i": INT,
    "s": STRING,
    "ints": list_of(INT),
    "labels": map_of(STRING, STRING),
}
VALUES: dict[str, Any] = {
    "d": {"a": {"b": [1, 2.5, "x", None]}, "n": None},
    "i": 7,
    "s": "häuser",
    "ints": [3, 1, 2],
    "labels": {"app": "web", "tier": "front"},
}
ENVIRONMENT = Environment(VARIABLES)


def value_of(source: str) -> Any:
    return ENVIRONMENT.compile(source).evaluate(VALUES, Meter(1_000_000))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and equal(Frame({}, Meter(10_000)), a, b)


INT_MIN, INT_MAX = -(2**63), 2**63 - 1

GIVES: list[tuple[str, Any]] = [
    # numbers
    ("7 / 2", 3),
    ("-7 / 2", -3),
    ("-7 % 3", -1),
    ("7 % -3", 1),
    ("7u / 2u", Uint(3)),
    ("2u + 3u", Uint(5)),
    ("1.0 / 0.0", math.inf),
    ("-1.0 / 0.0", -math.inf),
    ("1.0 / -0.0", -math.inf),
    ("0.0 / 0.0", math.nan),
    ("0.0 / 0.0 == 0.0 / 0.0", False),
    ("-9223372036854775808", INT_MIN),
    ("9223372036854775807", INT_MAX),
    ("18446744073709551615u", Uint(2**64 - 1)),
    ("0x1F", 31),
    ("1 < 1.5", True),
    ("2u > 1", True),
    ("1 <= 1u", True),
    ("9007199254740993 > 9007199254740992.0", False),
    ("9007199254740993u > 9007199254740992", True),
    ("-1 < 1u", True),
    ("dyn(1) == 1.0", True),
    ("dyn(1u) == 1", True),
    ("dyn('1') == 1", False),
    ("dyn(true) == 1", False),
    ("dyn(null) == 0", False),
    ("-(-3)", 3),
    ("-i", -7),
    # texts and bytes
    ("'a' + 'b'", "ab"),
    ("b'a' + b'\\xff'", b"a\xff"),
    ("size(s)", 6),
    ("s.size()", 6),
    ("size(b'\\xc3\\xa4')", 2),
    ("s.contains('us')", True),
    ("s.startsWith('hä')", True),
    ("s.endsWith('')", True),
    ("'abc' < 'abd'", True),
    ("b'a' < b'b'", True),
    ("false < true", True),
    ("'abc'.matches('^a.c$')", True),
    ("matches('xabcx', 'b')", True),
    ("'a\\nb'.matches('a.b')", False),
    ("'Straße'.matches('^\\\\p{L}+$')", True),
    ("r'\\d' == '\\\\d'", True),
    ("'''a\n\"b\"'''", 'a\n"b"'),
    ("'\\u00e4\\n\\x41'", "ä\nA"),
    # conversions
    ("int('-42')", -42),
    ("int(2.9)", 2),
    ("int(-2.9)", -2),
    ("int(3u)", 3),
    ("int(timestamp('1970-01-01T00:01:00.9Z'))", 60),
    ("int(timestamp('1969-12-31T23:59:59.5Z'))", -1),
    ("int(duration('2s'))", 2_000_000_000),
    ("uint('7')", Uint(7)),
    ("uint(7.9)", Uint(7)),
    ("double('1e3')", 1000.0),
    ("double('-Inf')", -math.inf),
    ("double(3)", 3.0),
    ("string(1.0)", "1"),
    ("string(0.1)", "0.1"),
    ("string(1e100)", "1e+100"),
    ("string(123456.5)", "123456.5"),
    ("string(1234567.0)", "1.234567e+06"),
    ("string(0.00001)", "1e-05"),
    ("string(-2.5)", "-2.5"),
    ("string(true)", "true"),
    ("string(b'abc')", "abc"),
    ("string(12u)", "12"),
    ("string(duration('1h1.5s'))", "3601.5s"),
    ("string(timestamp('2024-05-31T12:00:00.120+02:00'))", "2024-05-31T12:00:00.12+02:00"),
    ("bytes('ä')", "ä".encode()),
    ("bool('True')", True),
    ("bool('0')", False),
    ("type(1) == int", True),
    ("type(1u) == uint", True),
    ("type('a') == string", True),
    ("type([1]) == list", True),
    ("type({}) == map", True),
    ("type(null) == null_type", True),
    ("type(1) == type(2)", True),
    ("type(type(1)) == type", True),
    ("type(timestamp(0)) == google.protobuf.Timestamp", True),
    ("type(optional.none()) == optional_type", True),
    ("type(dyn(1.5)) == double", True),
    # lists and maps
    ("[1, 2] + [3]", [1, 2, 3]),
    ("[1, 2, 3][1]", 2),
    ("[[1], []] == [[1], []]", True),
    ("[1, 2] == [2, 1]", False),
    ("2 in ints", True),
    ("9 in ints", False),
    ("'app' in labels", True),
    ("'web' in labels", False),
    ("s in ['x', 'häuser']", True),
    ("1.0 in [dyn(1)]", True),
    ("{'a': 1}['a']", 1),
    ("{1: 'x'}[1]", "x"),
    ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", True),
    ("{true: 1}[true]", 1),
    ("dyn({1: 'x'})[1.0]", "x"),
    ("labels.app", "web"),
    ("labels['tier']", "front"),
    ("has(labels.app)", True),
    ("has(labels.none)", False),
    ("size(labels)", 2),
    ("d.a.b[2]", "x"),
    ("has(d.a.c)", False),
    ("has(d.n)", True),
    ("d.n == null", True),
    ("d.a.b[1] > 2", True),
    # macros
    ("ints.all(x, x > 0)", True),
    ("ints.exists(x, x > 2)", True),
    ("ints.exists_one(x, x > 2)", True),
    ("ints.existsOne(x, x > 0)", False),
    ("ints.map(x, x * 2)", [6, 2, 4]),
    ("ints.map(x, x > 1, x * 2)", [6, 4]),
    ("ints.filter(x, x > 1)", [3, 2]),
    ("labels.all(k, k != '')", True),
    ("labels.map(k, labels[k])", ["web", "front"]),
    ("labels.exists(k, v, k == 'tier' && v == 'front')", True),
    ("ints.all(n, x, n < 3 && x > 0)", True),
    ("ints.existsOne(n, x, n + 1 == x)", False),
    ("ints.exists_one(n, x, n == 1 && x == 1)", True),
    ("ints.transformList(n, x, n * 10 + x)", [3, 11, 22]),
    ("ints.transformList(n, x, x > 1, n * 10 + x)", [3, 22]),
    ("ints.transformMap(n, x, x > 1, x)", {0: 3, 2: 2}),
    ("labels.transformMap(k, v, v + '!')", {"app": "web!", "tier": "front!"}),
    ("labels.transformMapEntry(k, v, {v: k})", {"web": "app", "front": "tier"}),
    ("labels.transformMapEntry(k, v, k == 'app', {v: k})", {"web": "app"}),
    ("[[1, 2], [3]].map(x, x.map(y, y + 1))", [[2, 3], [4]]),
    ("ints.map(x, [4].map(x, x + 1) + [x])", [[5, 3], [5, 1], [5, 2]]),
    ("ints.sortBy(x, -x)", [3, 2, 1]),
    ("ints.map(x, [x, 1]).sortBy(x, x[0]).map(x, x.sortBy(y, y))", [[1, 1], [1, 2], [1, 3]]),
    ("[].all(x, x)", True),
    ("[].exists(x, x)", False),
    # errors that do not matter
    ("1 / 0 > 0 || true", True),
    ("true || 1 / 0 > 0", True),
    ("false && 1 / 0 > 0", False),
    ("1 / 0 > 0 && false", False),
    ("[1, 0].exists(x, 2 / x == 2)", True),
    ("[0, 1].exists(x, 2 / x == 2)", True),
    ("[0, 1].all(x, 2 / x == 9)", False),
    ("true ? 1 : 1 / 0", 1),
    # times
    ("timestamp('2024-02-29T10:20:30Z').getFullYear()", 2024),
    ("timestamp('2024-02-29T10:20:30Z').getMonth()", 1),
    ("timestamp('2024-02-29T10:20:30Z').getDate()", 29),
    ("timestamp('2024-02-29T10:20:30Z').getDayOfMonth()", 28),
    ("timestamp('2024-02-29T10:20:30Z').getDayOfYear()", 59),
    ("timestamp('2024-03-03T10:20:30Z').getDayOfWeek()", 0),
    ("timestamp('2024-02-29T10:20:30.456Z').getMilliseconds()", 456),
    ("timestamp('2024-02-29T10:20:30Z').getHours('+02:30')", 12),
    ("timestamp('2024-02-29T10:20:30Z').getMinutes('-02:30')", 50),
    ("timestamp('2024-07-01T22:30:00Z').getDate('Europe/Berlin')", 2),
    ("timestamp('2024-07-01T22:30:00+02:00').getHours()", 20),
    ("timestamp('2024-01-01T00:00:00Z') == timestamp('2024-01-01T01:00:00+01:00')", True),
    ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')", True),
    ("timestamp(0) + duration('1m')", datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
    ("duration('1m') + timestamp(0)", datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
    ("timestamp(60) - duration('1m') == timestamp(0)", True),
    ("timestamp(0) < timestamp(1)", True),
    ("duration('1h30m')", timedelta(minutes=90)),
    ("duration('-1.5s')", timedelta(seconds=-1.5)),
    ("duration('.5h')", timedelta(minutes=30)),
    ("duration('1us') > duration('0')", True),
    ("duration('90s').getMinutes()", 1),
    ("duration('-90s').getMinutes()", -1),
    ("duration('1.5s').getMilliseconds()", 1500),
    ("duration('25h').getHours()", 25),
    ("duration('1h') - duration('1m') == duration('59m')", True),
    # optional values
    ("labels.?app", Optional("web")),
    ("labels.?none", ABSENT),
    ("labels.?none.orValue('x')", "x"),
    ("labels[?'app'].value()", "web"),
    ("ints[?1]", Optional(1)),
    ("ints[?9]", ABSENT),
    ("ints[?9].hasValue()", False),
    ("ints[?9].or(ints[?0]).value()", 3),
    ("d.?a.?b[0]", Optional(1)),
    ("d.?x.?b[0]", ABSENT),
    ("d.?a.b[9]", ABSENT),
    ("has(d.?a.b)", True),
    ("optional.of(1)", Optional(1)),
    ("optional.of(1) == optional.of(1)", True),
    ("optional.of(1) == optional.none()", False),
    ("optional.ofNonZeroValue('')", ABSENT),
    ("optional.ofNonZeroValue(3)", Optional(3)),
    ("[?labels.?app, ?labels.?none, 'x']", ["web", "x"]),
    ("{?'a': labels.?app, ?'b': labels.?none}", {"a": "web"}),
    ("labels.?app.optMap(v, v + '!').orValue('')", "web!"),
    ("labels.?none.optMap(v, v + '!').hasValue()", False),
    ("labels.?app.optFlatMap(v, labels[?v])", ABSENT),
    ("[optional.of(1), optional.none()].unwrapOpt()", [1]),
    ("optional.unwrap([optional.of(1), optional.none()])", [1]),
    ("ints.first()", Optional(3)),
    ("[].last().hasValue()", False),
    ("labels.?app.orValue(string(1 / 0))", "web"),
    # a member is not a variable
    ("{'s': 1}.s", 1),
]


@pytest.mark.parametrize(("source", "expected"), GIVES, ids=[source for source, _ in GIVES])
def test_an_expression_gives(source: str, expected: Any) -> None:
    found = value_of(source)
    assert same(found, expected), found


FAILS: list[tuple[str, str]] = [
    ("9223372036854775807 + 1", "integer overflow"),
    ("-9223372036854775808 - 1", "integer overflow"),
    ("9223372036854775807 * 2", "integer overflow"),
    ("-(-9223372036854775808)", "integer overflow"),
    ("-9223372036854775808 / -1", "integer overflow"),
    ("0u - 1u", "unsigned integer overflow"),
    ("1 / 0", "division by zero"),
    ("1 % 0", "modulus by zero"),
    ("ints[3]", "it has no [3]"),
    ("ints[-1]", "it has no [-1]"),
    ("labels['none']", "labels has no field 'none'"),
    ("labels.ap", "did you mean 'app'?"),
    ("0.0 / 0.0 < 1.0", "NaN comes neither before nor after"),
    ("int('x')", "cannot read 'x'"),
    ("int('9223372036854775808')", "cannot read"),
    ("int(1e19)", "more than 64 bits"),
    ("int(0.0 / 0.0)", "more than 64 bits"),
    ("uint(-1)", "unsigned integer overflow"),
    ("uint('-1')", "cannot read"),
    ("double('x')", "cannot read"),
    ("double('1e999')", "cannot read"),
    ("bool('yes')", "cannot read"),
    ("string(b'\\xff')", "no UTF-8"),
    ("timestamp(s)", "no timestamp"),
    ("duration(s)", "no duration"),
    ("timestamp(253402300800)", "after the year 9999"),
    ("timestamp('9999-12-31T23:59:59Z') + duration('1h')", "after the year 9999"),
    ("timestamp(0).getHours('Nowhere/City')", "no time zone 'Nowhere/City'"),
    ("timestamp(0).getHours('+25:00')", "no offset of a time zone"),
    ("timestamp('9000-01-01T00:00:00Z') - timestamp(0)", "longer than 292 years"),
    ("optional.none().value()", "absent"),
    ("ints.exists_one(x, 1 / (x - 1) > 0)", "division by zero"),
    ("ints.all(x, 1 / (x - 1) != 9)", "division by zero"),
    ("ints.exists(x, 1 / (x - 1) == 9)", "division by zero"),
    ("ints.map(x, 1 / (x - 1))", "division by zero"),
    ("{'a': 1, 'a': 2}", "twice"),
    ("ints.transformMapEntry(i, x, {'k': x})", "twice"),
    ("dyn(1) + dyn('a')", "'+' does not take an integer and a text"),
    ("dyn(1) < dyn('a')", "'<' does not take"),
    ("dyn('a').startsWith(dyn(1))", "'startsWith' does not take"),
    ("d.a.b.c", "it has no field 'c'"),
    ("d.a.b[2].c", "it has no field 'c'"),
    ("dyn(1) || false", "takes booleans"),
    ("dyn(1) ? 1 : 2", "needs a boolean"),
    ("!dyn(1)", "takes a boolean"),
    ("1 in dyn('abc')", "'in' looks into a list or a map"),
    ("size(dyn(1))", "'size' takes"),
    ("s.matches(s + '(')", "no regular expression"),
]


@pytest.mark.parametrize(("source", "words"), FAILS, ids=[source for source, _ in FAILS])
def test_an_expression_has_no_value(source: str, words: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value_of(source)
    assert words in str(caught.value)


def test_what_is_given_is_not_changed() -> None:
    values = {"ints": [3, 1], "labels": {}, "d": 1, "i": 1, "s": ""}
    found = ENVIRONMENT.compile("ints.map(i, i + 1) + ints").evaluate(values, Meter(1000))
    assert found == [4, 2, 3, 1]
    assert values == {"ints": [3, 1], "labels": {}, "d": 1, "i": 1, "s": ""}


def test_a_program_says_which_variables_it_uses() -> None:
    names = ENVIRONMENT.compile("ints.all(x, x > i) && labels.exists(k, v, k == v) || type(s) == string").names
    assert names == {"ints", "i", "labels", "s"}


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="'i' has no value here"):
        ENVIRONMENT.compile("i > 0").evaluate({}, Meter(100))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{'a': dyn(null)}.?a.?b.hasValue()", False),
        ("{'a': dyn(1)}.?a.b.hasValue()", False),
        ("{'a': dyn(null)}.?a[?0].hasValue()", False),
        ("dyn(null).?a.hasValue()", False),
        ("has({'a': dyn('text')}.a.b)", False),
    ],
)
def test_what_has_no_fields_lacks_every_field(source: str, expected: bool) -> None:
    assert Environment({}).compile(source).evaluate({}, Meter(1000)) is expected


@pytest.mark.parametrize("source", ["dyn(null).a", "dyn([1]).?a", "has(dyn([1]).a)", "dyn(1)[0]"])
def test_to_read_such_a_field_is_an_error(source: str) -> None:
    with pytest.raises(EvaluationError):
        Environment({}).compile(source).evaluate({}, Meter(1000))
