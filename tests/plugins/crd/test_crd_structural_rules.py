"""What Kubernetes demands of schemas. Every case is a rule of kube-apiserver: what it refuses, and where."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import Problem
from kastra_plugin_crd.schema import read_schema
from kastra_plugin_crd.structural_rules import root_problems, structural_problems

INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}
EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True}


def problems(schema: Any) -> list[Problem]:
    structural, wrong = read_schema(schema, "s")
    assert wrong == []
    return structural_problems(structural, "s")


def facts(schema: Any) -> list[tuple[str, str]]:
    found = problems(schema)
    assert all(problem.message for problem in found)
    return sorted((problem.path, problem.reason.removeprefix("FieldValue")) for problem in found)


def field(schema: Any, **more: Any) -> list[tuple[str, str]]:
    """What is wrong with the schema of the field spec; paths begin at that schema."""
    cut = len("s.properties.spec.")
    return [(path[cut:], reason) for path, reason in facts({"type": "object", "properties": {"spec": schema}, **more})]


# ------------------------------------------------------------------------------------------------------ accepted


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^\p{Greek}+\z"},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "additionalProperties": False},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        PRESERVE,
        {"type": "object", **PRESERVE},
        {"type": "array", "items": PRESERVE},
        {"x-kubernetes-int-or-string": True},
        {"x-kubernetes-int-or-string": True, "anyOf": INT_OR_STRING, "pattern": "^a"},
        {"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": INT_OR_STRING}, {"maxLength": 3}]},
        {**EMBEDDED, **PRESERVE},
        {**EMBEDDED, "properties": {"spec": {"type": "object"}, "metadata": {"type": "object"}}},
        {"type": "object", "properties": {"metadata": {"type": "string"}}},
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
            "x-kubernetes-list-type": "set",
        },
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}},
            "x-kubernetes-list-type": "set",
        },
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name", "port"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}},
            },
        },
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"minLength": 1}}}],
            "not": {"required": ["a", "b"]},
        },
        # Only clauses of the root must restrict fields that there are.
        {"type": "object", "anyOf": [{"properties": {"a": {"minLength": 1}}}]},
    ],
)
def test_a_structural_schema_is_accepted(schema: dict[str, Any]) -> None:
    assert field(schema) == []


# ----------------------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, ("type", "Required")),
        ({"description": "any"}, ("type", "Required")),
        ({"type": "array"}, ("items", "Required")),
        ({"type": "array", "items": {}}, ("items.type", "Required")),
        ({"type": "object", "additionalProperties": {}}, ("additionalProperties.type", "Required")),
        ({"type": "object", "properties": {"a": {}}}, ("properties.a.type", "Required")),
        (
            {"x-kubernetes-int-or-string": True, **PRESERVE},
            ("x-kubernetes-preserve-unknown-fields", "Invalid"),
        ),
        ({"type": "string", "pattern": "(?=a)"}, ("pattern", "Invalid")),
        ({"type": "string", "pattern": r"(a)\1"}, ("pattern", "Invalid")),
        ({"type": "string", "pattern": "["}, ("pattern", "Invalid")),
        ({"type": "string", "allOf": [{"pattern": "("}]}, ("allOf[0].pattern", "Invalid")),
        ({**EMBEDDED}, ("properties", "Required")),
        (
            {**EMBEDDED, **PRESERVE, "additionalProperties": {"type": "string"}},
            ("additionalProperties", "Forbidden"),
        ),
        (
            {**EMBEDDED, **PRESERVE, "properties": {"kind": {"type": "integer"}}},
            ("properties.kind.type", "Invalid"),
        ),
        (
            {**EMBEDDED, **PRESERVE, "properties": {"apiVersion": {"type": "object"}}},
            ("properties.apiVersion.type", "Invalid"),
        ),
        (
            {**EMBEDDED, **PRESERVE, "properties": {"metadata": {"type": "array", "items": {"type": "string"}}}},
            ("properties.metadata.type", "Invalid"),
        ),
    ],
)
def test_what_makes_a_field_not_structural(schema: dict[str, Any], expected: tuple[str, str]) -> None:
    assert field(schema) == [expected]


def test_an_embedded_resource_is_an_object() -> None:
    assert field({"x-kubernetes-embedded-resource": True, **PRESERVE}) == [("type", "Required")]
    assert field({"type": "string", "x-kubernetes-embedded-resource": True, **PRESERVE}) == [("type", "Invalid")]


def test_an_embedded_resource_is_no_int_or_string() -> None:
    schema = {**EMBEDDED, "properties": {"a": {"type": "string"}}, "x-kubernetes-int-or-string": True}
    assert field(schema) == [("x-kubernetes-embedded-resource", "Invalid")]


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({}, [("s.type", "Required")]),
        ({"type": "array", "items": {"type": "string"}}, [("s.type", "Invalid")]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, [("s.additionalProperties", "Forbidden")]),
        ({"type": "object", "nullable": True}, [("s.nullable", "Forbidden")]),
        ({"type": "object", "properties": {"kind": {"type": "integer"}}}, [("s.properties.kind.type", "Invalid")]),
        (
            {"type": "object", "properties": {"metadata": {"type": "string"}}},
            [("s.properties.metadata.type", "Invalid")],
        ),
    ],
)
def test_what_a_root_may_not_be(root: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert facts(root) == expected


@pytest.mark.parametrize("names", [["name"], ["generateName"], ["name", "generateName"], []])
def test_the_roots_metadata_may_restrict_names(names: list[str]) -> None:
    metadata = {"type": "object", "properties": {name: {"type": "string", "maxLength": 5} for name in names}}
    assert facts({"type": "object", "properties": {"metadata": metadata}}) == []


@pytest.mark.parametrize(
    "more",
    [
        {"properties": {"labels": {"type": "object"}}},
        {"properties": {"name": {"type": "string"}, "labels": {"type": "object"}}},
        {"description": "d"},
        {"title": "t"},
        {"externalDocs": {"url": "x"}},
        {"required": ["name"]},
        {"nullable": True},
        {"maxProperties": 3},
        PRESERVE,
        {"x-kubernetes-map-type": "atomic"},
        {"x-kubernetes-validations": [{"rule": "self.name != 'a'"}]},
    ],
)
def test_the_roots_metadata_may_restrict_nothing_else(more: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"metadata": {"type": "object", **more}}}
    assert ("s.properties.metadata", "Forbidden") in facts(schema)


# ------------------------------------------------------------------------------------------------------- clauses


@pytest.mark.parametrize("junctor", ["allOf", "anyOf", "oneOf", "not"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("type", "object"),
        ("default", 1),
        ("title", "t"),
        ("description", "d"),
        ("nullable", True),
        ("additionalProperties", True),
        ("additionalProperties", {"type": "string"}),
        ("x-kubernetes-preserve-unknown-fields", True),
        ("x-kubernetes-embedded-resource", True),
        ("x-kubernetes-int-or-string", True),
        ("x-kubernetes-list-map-keys", ["a"]),
        ("x-kubernetes-list-type", "atomic"),
        ("x-kubernetes-map-type", "atomic"),
        ("x-kubernetes-validations", [{"rule": "true"}]),
    ],
)
def test_a_clause_only_restricts(junctor: str, key: str, value: Any) -> None:
    schema = {"type": "object", junctor: {key: value} if junctor == "not" else [{key: value}]}
    where = junctor if junctor == "not" else f"{junctor}[0]"
    assert field(schema) == [(f"{where}.{key}", "Forbidden")]


def test_clauses_are_looked_at_to_any_depth() -> None:
    inner = {"not": {"properties": {"a": {"items": {"oneOf": [{"type": "string"}]}}}}}
    assert field({"type": "object", "allOf": [inner]}) == [
        ("allOf[0].not.properties.a.items.oneOf[0].type", "Forbidden")
    ]


def test_no_clause_speaks_of_metadata() -> None:
    schema = {"type": "object", "anyOf": [{"properties": {"metadata": {"minProperties": 1}}}]}
    assert field(schema) == [("anyOf[0].properties.metadata", "Forbidden")]


@pytest.mark.parametrize(
    "schema",
    [
        {"x-kubernetes-int-or-string": True, "anyOf": list(reversed(INT_OR_STRING))},
        {"x-kubernetes-int-or-string": True, "anyOf": [*INT_OR_STRING, {"maxLength": 1}]},
        {"x-kubernetes-int-or-string": True, "oneOf": INT_OR_STRING},
        {"x-kubernetes-int-or-string": True, "allOf": [{"maxLength": 3}, {"anyOf": INT_OR_STRING}]},
    ],
)
def test_types_of_int_or_string_have_one_form_only(schema: dict[str, Any]) -> None:
    found = field(schema)
    assert len(found) == 2
    assert all(path.endswith(".type") and reason == "Forbidden" for path, reason in found)


def test_a_clause_of_the_root_restricts_fields_that_there_are() -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "allOf": [{"properties": {"spec": {"properties": {"a": {"minLength": 1}, "b": {"minLength": 1}}}}}],
        "not": {"properties": {"extra": {"items": {"minimum": 1}}}},
    }
    assert facts(schema) == [
        ("s.properties.extra", "Required"),
        ("s.properties.spec.properties.b", "Required"),
    ]


def test_a_clause_of_the_root_restricts_items_of_lists_only() -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "string"}},
        "anyOf": [{"properties": {"spec": {"items": {"minLength": 1}}}}],
    }
    assert facts(schema) == [("s.properties.spec.items", "Required")]


# ----------------------------------------------------------------------------------------- rules for all schemas


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "text"}, [("type", "NotSupported")]),
        ({"type": "null"}, [("type", "Forbidden"), ("type", "NotSupported")]),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, [("uniqueItems", "Forbidden")]),
        (
            {"type": "array", "items": {"type": "string"}, "anyOf": [{"uniqueItems": True}]},
            [("anyOf[0].uniqueItems", "Forbidden")],
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            [("additionalProperties", "Forbidden")],
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
            [("additionalProperties", "Forbidden")],
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"a": {"minLength": 1}}, "additionalProperties": False}]},
            [("anyOf[0].additionalProperties", "Forbidden")],
        ),
        ({"type": "string", "x-kubernetes-map-type": "atomic"}, [("type", "Invalid")]),
        ({**PRESERVE, "x-kubernetes-map-type": "atomic"}, [("type", "Required")]),
        ({"type": "object", "x-kubernetes-list-type": "atomic"}, [("type", "Invalid")]),
        ({**PRESERVE, "x-kubernetes-list-type": "atomic"}, [("type", "Required")]),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"},
            [("items.x-kubernetes-map-type", "Invalid")],
        ),
        (
            {
                "type": "array",
                "items": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "x-kubernetes-list-type": "set",
            },
            [("items.x-kubernetes-list-type", "Invalid")],
        ),
        (
            {"type": "array", "items": {"type": "string", "nullable": True}, "x-kubernetes-list-type": "set"},
            [("items.nullable", "Forbidden")],
        ),
    ],
)
def test_what_no_schema_may_say(schema: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert field(schema) == expected


def map_list(keys: list[str], items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": keys,
        "items": {"type": "object", **items},
        **more,
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            map_list([], {"properties": {"a": {"type": "string"}}}),
            [("x-kubernetes-list-map-keys", "Required")],
        ),
        (map_list(["a"], {}), [("x-kubernetes-list-map-keys", "Invalid")]),
        (
            map_list(["a", "a"], {"properties": {"a": {"type": "string"}}, "required": ["a"]}),
            [("x-kubernetes-list-map-keys", "Invalid")],
        ),
        (
            map_list(["a"], {"properties": {"a": {"type": "string"}}}),
            [("items.properties.a.default", "Required")],
        ),
        (
            map_list(["a"], {"properties": {"a": {"type": "object"}}, "required": ["a"]}),
            [("items.properties.a.type", "Invalid")],
        ),
        (
            map_list(["a"], {"properties": {"a": {"type": "string", "nullable": True}}, "required": ["a"]}),
            [("items.properties.a.nullable", "Forbidden")],
        ),
        (
            map_list(["a"], {"properties": {"a": {"type": "string"}}, "required": ["a"], "nullable": True}),
            [("items.nullable", "Forbidden")],
        ),
        (map_list(["a"], {"type": "string"}), [("items.type", "Invalid")]),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["a"]},
            [("x-kubernetes-list-type", "Required")],
        ),
        (
            {
                "type": "array",
                "items": {"type": "string"},
                "x-kubernetes-list-type": "set",
                "x-kubernetes-list-map-keys": ["a"],
            },
            [("x-kubernetes-list-type", "Invalid")],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]},
            [("items", "Required"), ("items", "Required")],
        ),
    ],
)
def test_what_a_list_of_type_map_needs(schema: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert field(schema) == expected


def test_all_problems_come_at_once() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {"type": "array"}, "c": {"type": "text"}}}
    assert len(field(schema)) == 3


# ------------------------------------------------------------------------------------------------------ defaults


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "default": ""},
        {"type": "integer", "default": 0, "minimum": 0},
        {"type": "object", "default": {}},
        {"type": "object", "default": {"a": "x"}, "properties": {"a": {"type": "string"}}},
        {"type": "object", "default": {"b": 1}, **PRESERVE},
        {"type": "array", "items": {"type": "string"}, "default": ["a"]},
        {"x-kubernetes-int-or-string": True, "default": "50%"},
        {"type": "string", "nullable": True, "default": None},
        {**EMBEDDED, **PRESERVE, "default": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}},
        {**EMBEDDED, **PRESERVE, "properties": {"kind": {"type": "string", "default": "Pod"}}},
        {
            **EMBEDDED,
            **PRESERVE,
            "properties": {
                "metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "a-b"}}}
            },
        },
        {"type": "string", "default": "abc", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]},
    ],
)
def test_a_default_that_fits_is_accepted(schema: dict[str, Any]) -> None:
    assert field(schema) == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "default": 1}, ("default", "TypeInvalid")),
        ({"type": "integer", "minimum": 1, "default": 0}, ("default", "Invalid")),
        ({"type": "string", "enum": ["a"], "default": "b"}, ("default", "NotSupported")),
        ({"type": "object", "default": {"x": 1}}, ("default", "Invalid")),
        (
            {"type": "object", "default": {"a": 1}, "properties": {"a": {"type": "string"}}},
            ("default.a", "TypeInvalid"),
        ),
        (
            {
                "type": "object",
                "default": {},
                "properties": {"a": {"type": "string", "default": "x"}},
                "required": ["a"],
            },
            ("default.a", "Required"),
        ),
        ({"type": "array", "items": {"type": "string", "default": 1}}, ("items.default", "TypeInvalid")),
        (
            {**EMBEDDED, **PRESERVE, "default": {"apiVersion": "v1", "kind": 1}},
            ("default.kind", "Invalid"),
        ),
        (
            {
                **EMBEDDED,
                **PRESERVE,
                "properties": {
                    "metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "a/b"}}}
                },
            },
            ("properties.metadata.properties.name.default", "Invalid"),
        ),
        (
            {
                **EMBEDDED,
                **PRESERVE,
                "properties": {
                    "metadata": {
                        "type": "object",
                        "properties": {
                            "labels": {"type": "object", "additionalProperties": {"type": "string", "default": "x"}}
                        },
                    }
                },
            },
            ("properties.metadata.properties.labels.additionalProperties.default", "Forbidden"),
        ),
        (
            {"type": "string", "default": "b", "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]},
            ("default", "Invalid"),
        ),
    ],
)
def test_a_default_that_does_not_fit_is_refused(schema: dict[str, Any], expected: tuple[str, str]) -> None:
    assert field(schema) == [expected]


@pytest.mark.parametrize("name", ["apiVersion", "kind"])
def test_the_roots_type_has_no_default(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string", "default": "a"}}}
    assert facts(schema) == [(f"s.properties.{name}.default", "Forbidden")]


def test_the_roots_metadata_has_no_default() -> None:
    metadata = {"type": "object", "properties": {"name": {"type": "string", "default": "a"}}}
    schema = {"type": "object", "properties": {"metadata": metadata}}
    assert facts(schema) == [("s.properties.metadata.properties.name.default", "Forbidden")]


def test_metadata_of_an_embedded_resource_embeds_no_other() -> None:
    metadata = {"type": "object", "properties": {"x": {**EMBEDDED, **PRESERVE}}}
    schema = {**EMBEDDED, **PRESERVE, "properties": {"metadata": metadata}}
    assert field(schema) == [("properties.metadata.properties.x.x-kubernetes-embedded-resource", "Forbidden")]


# --------------------------------------------------------------------------------------------------------- rules


def test_a_rule_that_does_not_compile_is_told() -> None:
    assert field({"type": "string", "x-kubernetes-validations": [{"rule": "self >"}]}) == [
        ("x-kubernetes-validations[0].rule", "Invalid")
    ]


def test_rules_are_not_compiled_while_the_schema_is_not_structural() -> None:
    schema = {"type": "array", "x-kubernetes-validations": [{"rule": "self >"}]}
    assert field(schema) == [("items", "Required")]


def test_rules_are_not_compiled_above_what_is_wrong_with_a_schema() -> None:
    wrong = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    bad_rule = {"x-kubernetes-validations": [{"rule": "self >"}]}
    assert field({"type": "object", "properties": {"tags": wrong}, **bad_rule}) == [
        ("properties.tags.uniqueItems", "Forbidden")
    ]
    beside = {"type": "object", "properties": {"tags": wrong, "size": {"type": "integer", **bad_rule}}}
    assert field(beside) == [
        ("properties.size.x-kubernetes-validations[0].rule", "Invalid"),
        ("properties.tags.uniqueItems", "Forbidden"),
    ]
    assert facts({"type": "object", "nullable": True, **bad_rule}) == [
        ("s.nullable", "Forbidden"),
        ("s.x-kubernetes-validations[0].rule", "Invalid"),
    ]


# ------------------------------------------------------------------------------------------- status is apart


@pytest.mark.parametrize("more", [{}, {"required": ["spec"]}, {"description": "d"}, PRESERVE, {"minLength": 1}])
def test_a_root_with_status_apart_may_say_this(more: dict[str, Any]) -> None:
    structural, _ = read_schema({"type": "object", **more}, "s")
    assert root_problems(structural, "s") == []


@pytest.mark.parametrize(
    "more",
    [
        {"anyOf": [{"required": ["spec"]}]},
        {"oneOf": [{"required": ["spec"]}]},
        {"allOf": [{"required": ["spec"]}]},
        {"not": {"required": ["spec"]}},
        {"maxProperties": 5},
        {"enum": [{}]},
        {"default": {}},
        {"x-kubernetes-map-type": "atomic"},
    ],
)
def test_a_root_with_status_apart_may_not_say_this(more: dict[str, Any]) -> None:
    structural, _ = read_schema({"type": "object", **more}, "s")
    assert [(problem.path, problem.reason) for problem in root_problems(structural, "s")] == [
        ("s", "FieldValueInvalid")
    ]


def test_a_root_with_status_apart_is_an_object() -> None:
    structural, _ = read_schema({"type": "array"}, "s")
    assert [problem.path for problem in root_problems(structural, "s")] == ["s.type"]


def test_that_a_root_needs_a_type_is_told_once() -> None:
    structural, _ = read_schema({"properties": {}}, "s")
    assert root_problems(structural, "s") == []
    assert facts({"properties": {}}) == [("s.type", "Required")]


def test_unknown_fields_of_a_default_are_named_but_for_those_in_metadata() -> None:
    inner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "unknown": 1}, "unknown": 1}
    schema = {
        "type": "object",
        "properties": {"embedded": {**EMBEDDED, "properties": {"something": {"type": "string"}}}},
        "default": {"embedded": inner, "unknown": 1},
    }
    [problem] = problems({"type": "object", "properties": {"spec": schema}})
    assert problem.path == "s.properties.spec.default"
    assert problem.message == "has unknown fields: embedded.unknown, unknown"


def test_a_default_is_looked_at_as_a_new_value_and_as_one_that_stays() -> None:
    rule = {"rule": "oldSelf.hasValue() && self == oldSelf.value()", "optionalOldSelf": True, "message": "m"}
    assert field({"type": "string", "default": "a", "x-kubernetes-validations": [rule]}) == [("default", "Invalid")]


def test_the_work_for_rules_of_defaults_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(20):
        rules = [{"rule": "true"}]
        schema = {"type": "object", "default": {}, "x-kubernetes-validations": rules, "properties": {"a": schema}}
    assert field(schema) == []
    monkeypatch.setattr("kastra_plugin_crd.default_rules._MAX_WORK", 50)
    [(path, reason)] = field(schema)
    assert (path.endswith("default"), reason) == (True, "Invalid")
