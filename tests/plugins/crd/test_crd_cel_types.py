"""A schema as CEL types: which there are, how big their values can get, how JSON is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.meta import JsonObject
from kastra_core.cel import CelType, EvaluationError
from kastra_plugin_crd.cel_types import MAX_MANIFEST_BYTES, Declarations, escape, type_of
from kastra_plugin_crd.schema import Structural, read_schema

TEXT = {"type": "string"}


def structural(schema: JsonObject) -> Structural:
    return read_schema(schema, "")[0]


def typed(schema: JsonObject, *, root: bool = False) -> CelType:
    found = type_of(structural(schema), "self", root=root)
    assert found is not None
    return found


def members(schema: JsonObject, *, root: bool = False) -> dict[str, str]:
    found = typed(schema, root=root).members
    assert found is not None
    return {name: str(member.type) for name, member in found.items()}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "uuid"}, "string"),
        ({"type": "string", "format": "byte"}, "bytes"),
        ({"type": "string", "format": "date"}, "google.protobuf.Timestamp"),
        ({"type": "string", "format": "date-time"}, "google.protobuf.Timestamp"),
        ({"type": "string", "format": "duration"}, "google.protobuf.Duration"),
        ({"type": "integer", "format": "int32"}, "int"),
        ({"type": "number"}, "double"),
        ({"type": "boolean"}, "bool"),
        ({"x-kubernetes-int-or-string": True}, "dyn"),
        ({"type": "array", "items": TEXT}, "list(string)"),
        ({"type": "object", "additionalProperties": {"type": "array", "items": TEXT}}, "map(string, list(string))"),
        ({"type": "object", "properties": {"a": TEXT}}, "self"),
        ({"type": "array", "items": {"type": "object"}}, "list(self.@idx)"),
    ],
)
def test_each_schema_has_the_type_of_kubernetes(schema: JsonObject, expected: str) -> None:
    assert str(typed(schema)) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
        {"type": "object", "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True}},
    ],
)
def test_what_is_kept_without_a_schema_has_no_type(schema: JsonObject) -> None:
    assert type_of(structural(schema), "self") is None
    assert members({"type": "object", "properties": {"a": schema, "b": TEXT}}) == {"b": "string"}


def test_an_object_that_keeps_unknown_fields_shows_the_known_ones() -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": TEXT}}
    assert members(schema) == {"a": "string"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("_a", "_a"),
        ("a.b-c/d", "a__dot__b__dash__c__slash__d"),
        ("a__b", "a__underscores__b"),
        ("a___b", "a__underscores___b"),
        ("namespace", "__namespace__"),
        ("int", "int"),
        ("/a", "__slash__a"),
        ("1a", None),
        ("a b", None),
        ("ä", None),
        ("", None),
        ("$ref", None),
    ],
)
def test_names_that_cel_cannot_write_are_escaped(name: str, expected: str | None) -> None:
    assert escape(name) == expected


@given(st.lists(st.text(alphabet="ab_.-/", min_size=1), unique=True))
def test_different_names_stay_different(names: list[str]) -> None:
    assert len({escape(name) for name in names}) == len(names)


def test_a_property_that_cel_cannot_write_is_no_member() -> None:
    properties = {"$ref": TEXT, "x-y": TEXT}
    assert members({"type": "object", "properties": properties}) == {"x__dash__y": "string"}


def test_a_reserved_word_is_a_member_escaped_and_as_it_is() -> None:
    assert members({"type": "object", "properties": {"if": TEXT}}) == {"__if__": "string", "if": "string"}


def test_a_resource_has_type_and_names_though_its_schema_is_silent() -> None:
    found = typed({"type": "object", "properties": {"spec": TEXT, "metadata": {"type": "object"}}}, root=True)
    assert found.members is not None
    assert set(found.members) == {"spec", "apiVersion", "kind", "metadata"}
    metadata = found.members["metadata"].type.members
    assert metadata is not None
    assert {name: member.type.most for name, member in metadata.items()} == {"name": 4 * 253, "generateName": 4 * 252}


def test_a_shorter_name_of_the_schema_counts() -> None:
    name = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}}
    found = typed({"type": "object", "properties": {"metadata": name}}, root=True)
    assert found.members is not None
    metadata = found.members["metadata"].type.members
    assert metadata is not None
    assert metadata["name"].type.most == 4 * 63


def test_an_embedded_resource_has_type_and_names_too() -> None:
    schema = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    found = typed({"type": "array", "items": schema}).params[0]
    assert found.members is not None
    assert set(found.members) == {"apiVersion", "kind", "metadata"}


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        (TEXT, MAX_MANIFEST_BYTES - 2),
        (TEXT | {"maxLength": 10}, 40),
        (TEXT | {"enum": ["a", "bcd", "é"]}, 3),
        (TEXT | {"enum": ["a"], "maxLength": 10}, 40),
        (TEXT | {"format": "byte", "maxLength": 10}, 10),
        (TEXT | {"format": "date"}, 12),
        (TEXT | {"format": "date-time", "maxLength": 10}, 32),
        ({"x-kubernetes-int-or-string": True, "maxLength": 10}, 40),
        ({"x-kubernetes-int-or-string": True}, MAX_MANIFEST_BYTES - 2),
        ({"type": "array", "items": TEXT, "maxItems": 7}, 7),
        ({"type": "array", "items": {"type": "integer"}}, (MAX_MANIFEST_BYTES - 2) // 2),
        ({"type": "array", "items": TEXT}, (MAX_MANIFEST_BYTES - 2) // 3),
        ({"type": "array", "items": TEXT | {"format": "date-time"}}, (MAX_MANIFEST_BYTES - 2) // 22),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, (MAX_MANIFEST_BYTES - 2) // 10),
        ({"type": "object", "additionalProperties": TEXT, "maxProperties": 3}, 3),
    ],
)
def test_each_type_knows_how_big_its_values_can_get(schema: JsonObject, most: int) -> None:
    assert typed(schema).most == most


def test_what_must_be_there_makes_items_longer_and_lists_shorter() -> None:
    item = {
        "type": "object",
        "required": ["key", "size", "filled"],
        "properties": {
            "key": TEXT,
            "size": {"type": "integer"},
            "filled": {"type": "integer", "default": 1},
            "free": TEXT,
        },
    }
    # {"key":"","size":0} less what Kubernetes does not count
    least = 2 + (3 + 2 + 4) + (4 + 1 + 4)
    found = Declarations().of(structural(item), "self")
    assert found is not None
    assert found.least_bytes == least
    assert typed({"type": "array", "items": item}).most == (MAX_MANIFEST_BYTES - 2) // (least + 1)


def test_lists_know_what_tells_their_items_apart() -> None:
    items = {"type": "object", "properties": {"name": TEXT}}
    schema = {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    found = typed(schema)
    assert (found.list_type, found.list_keys) == ("map", ("name",))
    assert typed({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}).list_type == "set"


# ------------------------------------------------------------------------------------------------ reading JSON


def read(schema: JsonObject, value: Any) -> Any:
    convert = typed(schema).convert
    return value if convert is None else convert(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29T12:30:00Z", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
        ("2024-02-29T12:30:00.123456789Z", datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=UTC)),
        ("2024-02-29T12:30:00+02:00", datetime(2024, 2, 29, 10, 30, tzinfo=UTC)),
        ("2024-02-29T12:30:00", datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_date_time_is_read_as_a_timestamp(text: str, expected: datetime) -> None:
    assert read(TEXT | {"format": "date-time"}, text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("-1m", -60),
        ("0", 0),
        ("1µs", 1e-6),
        ("2 days", 172800),
        ("1 week 1 hour", 608400),
        ("10 MINUTES", 600),
        ("3 milliseconds", 0.003),
        ("1h2m3s4ms", 3723.004),
    ],
)
def test_a_duration_is_read_as_go_and_people_write_it(text: str, seconds: float) -> None:
    assert read(TEXT | {"format": "duration"}, text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("date", "2024-02-30"),
        ("date", "2024-2-3"),
        ("date-time", "2024-02-29"),
        ("date-time", "2024-02-29 12:30:00Z"),
        ("date-time", "2024-02-29T25:30:00Z"),
        ("date-time", "9999-12-31T23:59:59-23:00"),
        ("duration", "soon"),
        ("duration", ""),
        ("duration", "9" * 30 + "h"),
        ("byte", "%%%"),
        ("byte", "abc"),
    ],
)
def test_a_text_that_is_none_has_no_value(format_: str, text: str) -> None:
    with pytest.raises(EvaluationError):
        read(TEXT | {"format": format_}, text)


def test_base64_is_read_in_both_alphabets() -> None:
    schema = TEXT | {"format": "byte"}
    assert read(schema, "+/8=") == read(schema, "-_8=") == b"\xfb\xff"


def test_numbers_are_read_as_the_schema_says() -> None:
    assert [type(read({"type": "number"}, value)) for value in (1, 1.5)] == [float, float]
    assert [type(read({"type": "integer"}, value)) for value in (1, 1.0)] == [int, int]
    assert read({"type": "integer"}, 1.5) == 1.5
    with pytest.raises(EvaluationError, match="too large"):
        read({"type": "number"}, 10**400)


@pytest.mark.parametrize("format_", ["byte", "date", "date-time", "duration"])
def test_null_stays_null(format_: str) -> None:
    assert read(TEXT | {"format": format_, "nullable": True}, None) is None
