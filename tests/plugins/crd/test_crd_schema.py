"""read_schema: what a schema says, and what is wrong with how it says it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.errors import Problem
from kastra_plugin_crd.schema import MAX_BYTES, MAX_DEPTH, MAX_NODES, UNSET, Rule, Structural, known_part, read_schema


def facts(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.path, problem.reason.removeprefix("FieldValue")) for problem in problems]


def read(schema: Any) -> Structural:
    structural, problems = read_schema(schema, "s")
    assert problems == []
    return structural


def wrong(schema: Any) -> list[tuple[str, str]]:
    return facts(read_schema(schema, "s")[1])


def test_the_tree_has_what_the_schema_says() -> None:
    root = read(
        {
            "type": "object",
            "description": "a source",
            "properties": {
                "labels": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "x-kubernetes-map-type": "atomic",
                },
                "any": {"x-kubernetes-preserve-unknown-fields": True},
                "port": {"x-kubernetes-int-or-string": True, "default": 0},
                "hosts": {
                    "type": "array",
                    "items": {"type": "object", "x-kubernetes-embedded-resource": True, "nullable": True},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["kind", "name"],
                },
            },
        }
    )
    assert (root.type, root.description, list(root.properties)) == (
        "object",
        "a source",
        ["labels", "any", "port", "hosts"],
    )
    labels, anything, port, hosts = root.properties.values()
    assert isinstance(labels.additional, Structural)
    assert (labels.additional.type, labels.map_type) == ("string", "atomic")
    assert (anything.preserve_unknown, anything.type, anything.default) == (True, "", UNSET)
    assert (port.int_or_string, port.default) == (True, 0)
    assert (hosts.list_type, hosts.list_keys) == ("map", ("kind", "name"))
    assert hosts.items is not None
    assert (hosts.items.embedded_resource, hosts.items.nullable) == (True, True)


def test_validations_are_kept_as_given_without_those_that_say_nothing() -> None:
    given = {"minLength": 0, "pattern": "^a", "enum": ["a", None], "allOf": [{"maxLength": 3, "format": ""}], "not": {}}
    nothing = {
        "format": "",
        "required": [],
        "anyOf": [],
        "uniqueItems": False,
        "maximum": None,
        "exclusiveMinimum": False,
    }
    assert read({"type": "string", **given, **nothing}).values == {**given, "allOf": [{"maxLength": 3}]}


def test_a_clause_keeps_what_it_may_not_have() -> None:
    clause = {"type": "object", "default": {}, "properties": {"a": {"nullable": True}}, "additionalProperties": False}
    assert read({"type": "object", "anyOf": [clause]}).values["anyOf"] == [clause]


def test_rules_are_read() -> None:
    rule = {
        "rule": "self >= oldSelf", "message": "m", "messageExpression": "'x'", "reason": "FieldValueForbidden",
        "fieldPath": ".a", "optionalOldSelf": True,
    }  # fmt: skip
    assert read({"x-kubernetes-validations": [rule, {"rule": "true"}]}).rules == (
        Rule(
            rule="self >= oldSelf",
            message="m",
            message_expression="'x'",
            reason="FieldValueForbidden",
            field_path=".a",
            optional_old_self=True,
        ),
        Rule(rule="true"),
    )


def test_null_is_as_if_it_were_not_there() -> None:
    root = read({"type": "object", "default": None, "items": None, "additionalProperties": None, "properties": None})
    assert (root.default, root.items, root.additional, dict(root.properties)) == (UNSET, None, None, {})


def test_a_property_of_null_is_an_empty_schema() -> None:
    assert read({"type": "object", "properties": {"a": None}}).properties["a"].type == ""


def test_keywords_that_nobody_knows_are_no_problem() -> None:
    assert read({"type": "string", "x-order": 1, "readOnly": True, "minlength": "x"}).values == {}


def test_a_reference_names_a_kind_and_perhaps_a_group() -> None:
    root = read(
        {
            "type": "object",
            "properties": {
                "tool": {"type": "string", "x-kastra-reference": {"kind": "Tool"}},
                "source": {"type": "object", "x-kastra-reference": {"kind": "Source", "group": "a.example.com"}},
            },
        }
    )
    assert root.properties["tool"].reference == ("Tool", "")
    assert root.properties["source"].reference == ("Source", "a.example.com")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (5, ("s", "TypeInvalid")),
        ({"type": 5}, ("s.type", "TypeInvalid")),
        ({"type": ["string", "null"]}, ("s.type", "TypeInvalid")),
        ({"nullable": "yes"}, ("s.nullable", "TypeInvalid")),
        ({"properties": ["a"]}, ("s.properties", "TypeInvalid")),
        ({"properties": {"a": "string"}}, ("s.properties.a", "TypeInvalid")),
        ({"items": True}, ("s.items", "TypeInvalid")),
        ({"items": [{"type": "string"}]}, ("s.items", "Forbidden")),
        ({"additionalProperties": "string"}, ("s.additionalProperties", "TypeInvalid")),
        ({"required": True}, ("s.required", "TypeInvalid")),
        ({"required": ["a", 1]}, ("s.required[1]", "TypeInvalid")),
        ({"enum": "a"}, ("s.enum", "TypeInvalid")),
        ({"minimum": "1"}, ("s.minimum", "TypeInvalid")),
        ({"minimum": True}, ("s.minimum", "TypeInvalid")),
        ({"maxLength": 1.5}, ("s.maxLength", "TypeInvalid")),
        ({"exclusiveMaximum": 3}, ("s.exclusiveMaximum", "TypeInvalid")),
        ({"pattern": 1}, ("s.pattern", "TypeInvalid")),
        ({"allOf": {}}, ("s.allOf", "TypeInvalid")),
        ({"anyOf": [1]}, ("s.anyOf[0]", "TypeInvalid")),
        ({"not": {"oneOf": [{"minItems": "1"}]}}, ("s.not.oneOf[0].minItems", "TypeInvalid")),
        ({"$ref": "#/x"}, ("s.$ref", "Forbidden")),
        ({"id": "x"}, ("s.id", "Forbidden")),
        ({"definitions": {"a": {}}}, ("s.definitions", "Forbidden")),
        ({"patternProperties": {"a": {}}}, ("s.patternProperties", "Forbidden")),
        ({"dependencies": {}}, ("s.dependencies", "Forbidden")),
        ({"additionalItems": False}, ("s.additionalItems", "Forbidden")),
        ({"anyOf": [{"$ref": "#/x"}]}, ("s.anyOf[0].$ref", "Forbidden")),
        ({"x-kubernetes-preserve-unknown-fields": False}, ("s.x-kubernetes-preserve-unknown-fields", "Invalid")),
        ({"x-kubernetes-preserve-unknown-fields": 1}, ("s.x-kubernetes-preserve-unknown-fields", "TypeInvalid")),
        ({"x-kubernetes-list-type": "bag"}, ("s.x-kubernetes-list-type", "NotSupported")),
        ({"x-kubernetes-list-type": ""}, ("s.x-kubernetes-list-type", "NotSupported")),
        ({"x-kubernetes-map-type": "loose"}, ("s.x-kubernetes-map-type", "NotSupported")),
        ({"x-kubernetes-list-map-keys": "name"}, ("s.x-kubernetes-list-map-keys", "TypeInvalid")),
        ({"x-kubernetes-validations": {}}, ("s.x-kubernetes-validations", "TypeInvalid")),
        ({"x-kubernetes-validations": ["a"]}, ("s.x-kubernetes-validations[0]", "TypeInvalid")),
        ({"x-kubernetes-validations": [{"rule": 1}]}, ("s.x-kubernetes-validations[0].rule", "TypeInvalid")),
        (
            {"x-kubernetes-validations": [{"rule": "a", "reason": "Nope"}]},
            ("s.x-kubernetes-validations[0].reason", "NotSupported"),
        ),
        (
            {"x-kubernetes-validations": [{"rule": "a", "optionalOldSelf": "x"}]},
            ("s.x-kubernetes-validations[0].optionalOldSelf", "TypeInvalid"),
        ),
        ({"type": "string", "x-kastra-reference": "Tool"}, ("s.x-kastra-reference", "TypeInvalid")),
        ({"type": "string", "x-kastra-reference": {}}, ("s.x-kastra-reference.kind", "Required")),
        ({"type": "string", "x-kastra-reference": {"kind": 1}}, ("s.x-kastra-reference.kind", "TypeInvalid")),
        ({"type": "array", "x-kastra-reference": {"kind": "Tool"}}, ("s.x-kastra-reference", "Invalid")),
        (
            {"type": "string", "x-kastra-reference": {"kind": "Tool", "name": "x"}},
            ("s.x-kastra-reference.name", "Invalid"),
        ),
    ],
)  # fmt: skip
def test_a_keyword_that_is_wrong_is_told_where_it_stands(schema: Any, expected: tuple[str, str]) -> None:
    assert wrong(schema) == [expected]


def test_all_problems_come_at_once() -> None:
    assert len(wrong({"type": 1, "properties": {"a": {"type": 2}, "b": {"items": 3}}})) == 3


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels - 1):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_schemas_may_nest_to_the_bound_and_no_deeper() -> None:
    read(nested(MAX_DEPTH))
    assert [reason for _, reason in wrong(nested(MAX_DEPTH + 1))] == ["Invalid"]


@pytest.mark.parametrize("levels", [200, 5_000])
def test_a_deeply_nested_schema_is_refused(levels: int) -> None:
    [problem] = read_schema(nested(levels), "s")[1]
    assert "nested" in problem.message


@pytest.mark.parametrize("key", ["not", "items", "additionalProperties"])
def test_every_way_to_nest_is_bounded(key: str) -> None:
    schema: dict[str, Any] = {}
    for _ in range(150):
        schema = {key: schema}
    assert "nested" in read_schema(schema, "s")[1][0].message


def test_a_schema_of_ten_megabytes_is_refused_quickly() -> None:
    schema = {"type": "object", "description": "x" * 10_000_000}
    start = time.perf_counter()
    [problem] = read_schema(schema, "s")[1]
    assert time.perf_counter() - start < 1
    assert (problem.path, problem.reason) == ("s", "FieldValueTooLong")
    assert "9.5 MiB" in problem.message


def test_a_schema_of_too_many_schemas_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_NODES == 50_000
    monkeypatch.setattr("kastra_plugin_crd.schema.MAX_NODES", 100)
    assert wrong({"properties": {f"p{i}": {} for i in range(99)}}) == []
    [problem] = read_schema({"properties": {f"p{i}": {} for i in range(100)}}, "s")[1]
    assert (problem.reason, "100" in problem.message) == ("FieldValueTooMany", True)


def test_problems_are_counted_out() -> None:
    assert len(wrong({"properties": {f"p{i}": {"type": 1} for i in range(10_000)}})) < 200


def test_unknown_keywords_are_dropped_and_told() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "x-order": 1,
        "properties": {"a": {"type": "string", "minLenght": 1}, "b": {"type": "string"}},
        "anyOf": [{"foo": 1}],
    }
    kept, notes = known_part(schema, "s")
    assert kept == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{}],
    }
    assert [note.path for note in notes] == ["s.x-order", "s.properties.a.minLenght", "s.anyOf[0].foo"]
    assert "minLength" in notes[1].hint
    assert schema["x-order"] == 1


def test_a_schema_without_unknown_keywords_is_not_copied() -> None:
    schema = {"type": "object", "properties": {"x-mine": {"type": "string", "default": {"x-mine": 1}}}}
    assert known_part(schema, "s") == (schema, [])
    assert known_part(schema, "s")[0] is schema


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "properties", "items", "allOf", "not", "required", "additionalProperties", "default", "enum",
             "x-kubernetes-validations", "x-kubernetes-list-map-keys", "x-kastra-reference", "$ref", "a"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_no_json_breaks_the_reader(schema: Any) -> None:
    structural, problems = read_schema(schema, "s")
    assert isinstance(structural, Structural)
    assert all(problem.path.startswith("s") and problem.reason for problem in problems)
    known_part(schema, "s")


def test_the_bounds_are_above_what_an_apiserver_takes() -> None:
    assert MAX_BYTES == 3 * 1024 * 1024
