"""Values of a schema: converted where they are read, lists that are sets or maps, fields that are null."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.cel import (
    BYTES,
    DOUBLE,
    INT,
    STRING,
    CelType,
    Environment,
    EvaluationError,
    Member,
    Meter,
    list_of,
    map_of,
    object_of,
)
from kastra_core.cel.times import parse_duration, parse_timestamp

SINCE = CelType("google.protobuf.Timestamp", convert=parse_timestamp)
LENGTH = CelType("google.protobuf.Duration", convert=parse_duration)
RATIO = CelType("double", convert=float)
ENTRY = object_of(
    "spec.entries",
    {"k": Member("k", STRING), "n": Member("n", INT), "v": Member("v", STRING), "since": Member("since", SINCE)},
)
SELF = object_of(
    "spec",
    {
        "since": Member("since", SINCE),
        "times": Member("times", list_of(SINCE)),
        "lengths": Member("lengths", map_of(STRING, LENGTH)),
        "ratios": Member("ratios", list_of(RATIO)),
        "data": Member("data", CelType("bytes", convert=str.encode)),
        "wide": Member("wide", CelType("bytes", convert=lambda text: text.encode("utf-16-le"))),
        "tags": Member("tags", list_of(STRING, list_type="set")),
        "entries": Member("entries", list_of(ENTRY, list_type="map", list_keys=("k", "n"))),
        "plain": Member("plain", list_of(STRING)),
        "note": Member("note", STRING),
        "maybe": Member("maybe", map_of(STRING, STRING)),
    },
)
ENVIRONMENT = Environment({"self": SELF, "oldSelf": SELF})
NOON, ONE = "2024-05-31T12:00:00Z", "2024-05-31T13:00:00Z"
ALSO_NOON = "2024-05-31T14:00:00+02:00"


def value_of(source: str, value: Any, old: Any = None) -> Any:
    return ENVIRONMENT.compile(source).evaluate({"self": value, "oldSelf": old}, Meter(100_000))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("self.since.getHours() == 12", {"since": NOON}),
        ("self.since < timestamp('2024-05-31T13:00:00Z')", {"since": NOON}),
        ("self.times[1] > self.times[0]", {"times": [NOON, ONE]}),
        ("self.times.all(t, t.getHours() > 11)", {"times": [NOON, ONE]}),
        ("self.times.map(t, t.getHours()) == [12, 13]", {"times": [NOON, ONE]}),
        ("self.times.filter(t, t.getHours() > 12)[0].getHours() == 13", {"times": [NOON, ONE]}),
        ("self.times.filter(t, true).map(t, t)[0].getHours() == 12", {"times": [NOON]}),
        ("self.times.exists(n, t, n == 1 && t.getHours() == 13)", {"times": [NOON, ONE]}),
        (f"timestamp('{ALSO_NOON}') in self.times", {"times": [ONE, NOON]}),
        (f"self.times == [timestamp('{ALSO_NOON}')]", {"times": [NOON]}),
        (f"[timestamp('{ALSO_NOON}')] + self.times == self.times + self.times", {"times": [NOON]}),
        ("self.lengths['a'] == duration('60s')", {"lengths": {"a": "1m"}}),
        ("self.lengths.a.getSeconds() == 60", {"lengths": {"a": "1m"}}),
        ("self.lengths.all(k, v, v > duration('1s'))", {"lengths": {"a": "1m"}}),
        ("self.lengths.transformMap(k, v, v + v)['a'] == duration('2m')", {"lengths": {"a": "1m"}}),
        ("self.?lengths.?a.orValue(duration('0')) == duration('60s')", {"lengths": {"a": "1m"}}),
        ("self.?since.optMap(t, t.getHours()).orValue(0) == 12", {"since": NOON}),
        ("self.?times[?0].value().getHours() == 12", {"times": [NOON]}),
        ("self.ratios[0] + 0.5 == 1.5 && type(self.ratios[0]) == double", {"ratios": [1]}),
        ("self.ratios.exists(r, type(r) == double)", {"ratios": [1]}),
        ("self.data == b'abc' && size(self.data) == 3", {"data": "abc"}),
        ("size(self.wide) == 4", {"wide": "ab"}),
        ("size(self.times) == 2 && self.times.size() == 2", {"times": [NOON, ONE]}),
        ("self.entries[0].since.getHours() == 12", {"entries": [{"k": "a", "n": 1, "since": NOON}]}),
        ("self.entries.filter(e, e.n == 1)[0].since.getHours() == 12", {"entries": [{"n": 1, "since": NOON}]}),
        ("(has(self.note) ? self.times : [])[0].getHours() == 12", {"note": "", "times": [NOON]}),
    ],
)
def test_what_is_read_is_converted_once(source: str, value: Any) -> None:
    assert value_of(source, value) is True


@pytest.mark.parametrize(
    ("source", "value", "old", "expected"),
    [
        ("self.tags == oldSelf.tags", {"tags": ["a", "b"]}, {"tags": ["b", "a"]}, True),
        ("self.tags == oldSelf.tags", {"tags": ["a", "b"]}, {"tags": ["b", "c"]}, False),
        ("self.tags == oldSelf.tags", {"tags": ["a", "b"]}, {"tags": ["b"]}, False),
        ("self.tags == ['b', 'a']", {"tags": ["a", "b"]}, None, True),
        ("['b', 'a'] == self.tags", {"tags": ["a", "b"]}, None, False),
        ("self.tags + ['b', 'c'] == ['a', 'b', 'c']", {"tags": ["a", "b"]}, None, True),
        ("size(self.tags + ['b', 'c'])", {"tags": ["a", "b"]}, None, 3),
        ("self.plain == oldSelf.plain", {"plain": ["a", "b"]}, {"plain": ["b", "a"]}, False),
        (
            "self.entries == oldSelf.entries",
            {"entries": [{"k": "a", "n": 1, "v": "x"}, {"k": "b", "n": 1}]},
            {"entries": [{"k": "b", "n": 1}, {"k": "a", "n": 1, "v": "x"}]},
            True,
        ),
        ("self.entries == oldSelf.entries", {"entries": [{"k": "a", "v": "x"}]}, {"entries": [{"k": "a"}]}, False),
        (
            "self.entries == oldSelf.entries",
            {"entries": [{"k": "a", "since": NOON}]},
            {"entries": [{"k": "a", "since": ALSO_NOON}]},
            True,
        ),
        (
            "(self.entries + oldSelf.entries).map(e, e.k + e.v)",
            {"entries": [{"k": "a", "n": 1, "v": "1"}, {"k": "b", "n": 1, "v": "1"}]},
            {"entries": [{"k": "c", "n": 1, "v": "2"}, {"k": "a", "n": 1, "v": "2"}]},
            ["a2", "b1", "c2"],
        ),
        ("self == oldSelf", {"tags": ["a", "b"], "note": "x"}, {"tags": ["b", "a"], "note": "x"}, True),
        ("self == oldSelf", {"tags": ["a"], "note": "x"}, {"tags": ["a"]}, False),
    ],
)
def test_lists_are_compared_and_joined_by_their_kind(source: str, value: Any, old: Any, expected: Any) -> None:
    assert value_of(source, value, old) == expected


def test_a_field_that_is_null_is_absent_and_a_key_that_is_null_is_there() -> None:
    value = {"note": None, "maybe": {"a": None}}
    assert value_of("has(self.note)", value) is False
    assert value_of("self.?note.hasValue()", value) is False
    assert value_of("has(self.maybe.a)", value) is True
    with pytest.raises(EvaluationError, match="self has no field 'note'"):
        value_of("self.note == ''", value)


def test_data_of_another_type_are_an_error_not_a_crash() -> None:
    for source in ("self.note.startsWith('a')", "self.plain[0].size() == 1", "self.times[0].getHours() == 1"):
        with pytest.raises(EvaluationError):
            value_of(source, {"note": 3, "plain": {"x": 1}, "times": [3]})


def test_nothing_else_is_converted() -> None:
    asked: list[str] = []

    def convert(text: str) -> str:
        asked.append(text)
        return text

    kind = object_of("o", {"a": Member("a", CelType("string", convert=convert)), "b": Member("b", BYTES)})
    outer = object_of("self", {"items": Member("items", list_of(kind)), "x": Member("x", DOUBLE)})
    program = Environment({"self": outer}).compile("self.items[1].a == 'y' && size(self.items) == 3")
    items = [{"a": "x"}, {"a": "y"}, {"a": "z"}]
    assert program.evaluate({"self": {"items": items}}, Meter(1000)) is True
    assert asked == ["y"]
