"""The JSON-Schema part: what fits, and what is told of what does not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kastra_plugin_crd.schema import Structural, read_schema
from kastra_plugin_crd.validation import Validator

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}


def structural(schema: dict[str, Any]) -> Structural:
    read, problems = read_schema(schema, "schema")
    assert problems == []
    return read


def objects(*required: str, **properties: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "object", "properties": properties}
    return {**out, "required": list(required)} if required else out


def lists(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def told(schema: dict[str, Any], value: Any, old: Any = ...) -> list[str]:
    return [
        f"{problem.reason.removeprefix('FieldValue')} {problem}"
        for problem in Validator(structural(schema)).problems(value, "", old)
    ]


def at(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    problems = Validator(structural(schema)).problems(value)
    return [(problem.path, problem.reason.removeprefix("FieldValue")) for problem in problems]


FITTING: list[tuple[dict[str, Any], Any]] = [
    (TEXT, ""),
    (WHOLE, 2**63 - 1),
    (WHOLE, 1.0),
    ({"type": "number"}, 1),
    ({"type": "number"}, 2**70),
    ({"type": "boolean"}, False),
    (objects(a=TEXT), {"b": 1}),
    (lists(TEXT), []),
    ({**TEXT, "nullable": True}, None),
    ({**TEXT, "nullable": True, "enum": ["a", None]}, None),
    ({"x-kubernetes-int-or-string": True}, 1),
    ({"x-kubernetes-int-or-string": True, "pattern": "^a", "maximum": 3}, "ab"),
    ({"x-kubernetes-int-or-string": True, "pattern": "^a", "maximum": 3}, 3),
    ({"x-kubernetes-int-or-string": True, "anyOf": [WHOLE, TEXT]}, "25%"),
    ({"x-kubernetes-preserve-unknown-fields": True}, None),
    ({"x-kubernetes-preserve-unknown-fields": True, "not": {"required": ["a"]}}, None),
    ({**WHOLE, "minimum": 1, "exclusiveMinimum": False}, 1),
    ({**WHOLE, "format": "int32"}, 2**31 - 1),
    ({**WHOLE, "format": "date"}, 5),
    ({**TEXT, "format": "unheard-of"}, "x"),
    ({**TEXT, "format": "int32"}, "x"),
    ({**TEXT, "pattern": "b"}, "abc"),
    ({**TEXT, "pattern": r"^\p{Greek}+$"}, "αβγ"),
    ({**TEXT, "pattern": r"\bfoo\b"}, "a foo b"),
    ({**TEXT, "maxLength": 2}, "äö"),
    ({"type": "number", "multipleOf": 0.1}, 0.3),
    ({"type": "number", "format": "double"}, 1e300),
    ({"type": "number", "format": "float"}, 3.4e38),
    ({"type": "string", "enum": ["a", "b"]}, "b"),
    ({"type": "number", "enum": [1]}, 1.0),
]


@pytest.mark.parametrize(("schema", "value"), FITTING)
def test_value_fits(schema: dict[str, Any], value: Any) -> None:
    assert told(schema, value) == []


REFUSED: list[tuple[dict[str, Any], Any, list[str]]] = [
    (objects(a=TEXT), {"a": 5}, ["TypeInvalid a: expected a string, found integer 5; put it in quotes"]),
    (objects(a=TEXT), {"a": None}, ["TypeInvalid a: expected a string, found null"]),
    (objects(a=WHOLE), {"a": True}, ["TypeInvalid a: expected an integer, found boolean true"]),
    (objects(a=WHOLE), {"a": 1.5}, ["TypeInvalid a: expected an integer, found number 1.5"]),
    (
        objects(a={"type": "number"}),
        {"a": "1"},
        ["TypeInvalid a: expected a number, found string '1'; take the quotes off"],
    ),
    (objects(a=lists(TEXT)), {"a": {}}, ["TypeInvalid a: expected a list, found an object"]),
    (
        objects(a={"x-kubernetes-int-or-string": True}),
        {"a": 1.5},
        ["TypeInvalid a: expected an integer or a string, found number 1.5"],
    ),
    (objects(a=lists(objects("b", b=TEXT))), {"a": [{}]}, ["Required a[0].b: required field is missing"]),
    (objects("a", "b"), {"a": 1}, ["Required b: required field is missing"]),
    (
        objects(a={**TEXT, "enum": ["GET", "POST"]}),
        {"a": "GETT"},
        ["NotSupported a: expected one of GET, POST, found string 'GETT'; did you mean 'GET'?"],
    ),
    (objects(a={**TEXT, "enum": ["GET"]}), {"a": "x"}, ["NotSupported a: expected GET, found string 'x'"]),
    (objects(a={**TEXT, "maxLength": 2}), {"a": "abc"}, ["TooLong a: expected at most 2 characters, found 3"]),
    (objects(a={**TEXT, "minLength": 1}), {"a": ""}, ["Invalid a: expected at least 1 character, found 0"]),
    (objects(a=lists(TEXT, maxItems=1)), {"a": ["", ""]}, ["TooMany a: expected at most 1 item, found 2"]),
    (objects(a=lists(TEXT, minItems=2)), {"a": [""]}, ["Invalid a: expected at least 2 items, found 1"]),
    (
        objects(a={"type": "object", "additionalProperties": TEXT, "maxProperties": 1}),
        {"a": {"x": "", "y": ""}},
        ["TooMany a: expected at most 1 field, found 2"],
    ),
    (
        objects(a={**TEXT, "pattern": "^a"}),
        {"a": "b"},
        ["Invalid a: expected a text that matches ^a, found string 'b'"],
    ),
    (
        objects(a={**TEXT, "format": "date-time"}),
        {"a": "now"},
        ["TypeInvalid a: expected a time such as \"2006-01-02T15:04:05Z\", found string 'now'"],
    ),
    (objects(a={**WHOLE, "minimum": 1}), {"a": 0}, ["Invalid a: expected at least 1, found 0"]),
    (
        objects(a={**WHOLE, "minimum": 1, "exclusiveMinimum": True}),
        {"a": 1},
        ["Invalid a: expected more than 1, found 1"],
    ),
    (objects(a={**WHOLE, "maximum": 1}), {"a": 2}, ["Invalid a: expected at most 1, found 2"]),
    (objects(a={**WHOLE, "multipleOf": 2}), {"a": 3}, ["Invalid a: expected a multiple of 2, found 3"]),
    (
        objects(a={**WHOLE, "format": "int32"}),
        {"a": 2**31},
        ["Invalid a: expected an integer of 32 bits, found 2147483648"],
    ),
    (
        objects(a={"type": "number", "multipleOf": 1}),
        {"a": 1e300},  # no float of that size is exact
        ["Invalid a: expected a multiple of 1, found 1e+300"],
    ),
    (
        objects(a={"type": "number", "format": "float"}),
        {"a": -3.5e38},
        ["Invalid a: expected a number of 32 bits, found -3.5e+38"],
    ),
    (
        objects(a=WHOLE),
        {"a": 2**63},
        ["TypeInvalid a: expected an integer of at most 64 bits, found integer 9223372036854775808"],
    ),
    (
        objects(a={**TEXT, "minLength": 9, "pattern": "^a"}),
        {"a": "b"},
        ["Invalid a: expected at least 9 characters, found 1"],
    ),
]


@pytest.mark.parametrize(("schema", "value", "problems"), REFUSED)
def test_value_is_refused(schema: dict[str, Any], value: Any, problems: list[str]) -> None:
    assert told(schema, value) == problems


def test_all_problems_are_told_in_the_order_of_the_value() -> None:
    schema = objects("z", b=TEXT, a=objects(c=WHOLE), l=lists(TEXT))
    assert at(schema, {"l": ["x", 1, 2], "b": 1, "a": {"c": "x"}}) == [
        ("l[1]", "TypeInvalid"),
        ("l[2]", "TypeInvalid"),
        ("b", "TypeInvalid"),
        ("a.c", "TypeInvalid"),
        ("z", "Required"),
    ]


def test_value_of_the_wrong_type_is_only_told_its_choices_besides() -> None:
    assert at(objects(a={**TEXT, "minLength": 3}), {"a": 5}) == [("a", "TypeInvalid")]
    both = [("a", "TypeInvalid"), ("a", "NotSupported")]
    assert at(objects(a={**TEXT, "enum": ["x"], "minLength": 3}), {"a": 5}) == both


# --------------------------------------------------------------------------------------------------------- clauses


def with_clauses(**clauses: Any) -> dict[str, Any]:
    return objects(a={**objects(x=TEXT, y=TEXT, z=objects(v=WHOLE)), **clauses})


def test_any_of_tells_what_to_give() -> None:
    schema = with_clauses(anyOf=[{"required": ["x"]}, {"required": ["y"]}])
    assert told(schema, {"a": {"y": ""}}) == []
    assert told(schema, {"a": {}}) == [
        "Invalid a: fits none of 2 alternatives (anyOf); give one of x, y",
        "Required a.x: required field is missing",
    ]


def test_one_of_allows_one_only() -> None:
    schema = with_clauses(oneOf=[{"required": ["x"]}, {"required": ["y"]}])
    assert told(schema, {"a": {"x": "", "y": ""}}) == [
        "Invalid a: expected to fit exactly one of 2 alternatives, fits 1, 2 (oneOf); give only one of x, y"
    ]


def test_failures_of_the_clause_that_got_furthest_are_told() -> None:
    clauses = [{"required": ["x"]}, {"properties": {"z": {"properties": {"v": {"maximum": 1}}, "required": ["v"]}}}]
    assert at(with_clauses(anyOf=clauses), {"a": {"z": {"v": 2}}}) == [("a", "Invalid"), ("a.z.v", "Invalid")]


def test_failures_of_all_of_are_told_where_they_are() -> None:
    clauses = [{"required": ["x"]}, {"properties": {"z": {"properties": {"v": {"maximum": 1}}}}}]
    assert at(with_clauses(allOf=clauses), {"a": {"z": {"v": 2}}}) == [("a.x", "Required"), ("a.z.v", "Invalid")]


def test_not_tells_what_may_not_be_given() -> None:
    assert told(with_clauses(**{"not": {"required": ["x"]}}), {"a": {"x": ""}}) == [
        "Invalid a: 'x' may not be given here (not)"
    ]
    both = {"not": {"required": ["x", "y"]}}
    assert told(with_clauses(**both), {"a": {"x": "", "y": ""}}) == [
        "Invalid a: 'x' and 'y' may not be given here together (not)"
    ]
    assert told(objects(a={**TEXT, "not": {"pattern": "a"}}), {"a": "a"}) == [
        "Invalid a: fits what its schema rules out (not)"
    ]


# --------------------------------------------------------------------------------------------------------- updates


def test_what_does_not_change_is_forgiven() -> None:
    schema = objects("c", a={**TEXT, "maxLength": 1}, b=WHOLE)
    old = {"a": "long", "b": 1, "c": ""}
    assert told(schema, {"a": "long", "b": 2, "c": ""}, old) == []
    assert told(schema, {"a": "longer", "b": 1, "c": ""}, old) == ["TooLong a: expected at most 1 character, found 6"]
    assert told(schema, {"a": "long", "b": 1}, old) == ["Required c: required field is missing"]


def test_items_of_map_lists_are_told_apart_by_their_keys() -> None:
    item = objects(k=TEXT, v={**WHOLE, "maximum": 1})
    listed = lists(item, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]})
    old = {"a": [{"k": "x", "v": 5}]}
    assert told(objects(a=listed), {"a": [{"k": "n", "v": 1}, {"k": "x", "v": 5}]}, old) == []
    assert told(objects(a=listed), {"a": [{"k": "n", "v": 5}]}, old) == ["Invalid a[0].v: expected at most 1, found 5"]
    plain = objects(a=lists(item))
    assert told(plain, old, old) == []
    assert told(plain, {"a": [{"k": "x", "v": 5}, {}]}, old) == ["Invalid a[0].v: expected at most 1, found 5"]


def test_apiversion_is_never_forgiven() -> None:
    schema = objects(apiVersion={**TEXT, "enum": ["v1"]}, a=WHOLE)
    assert len(told(schema, {"apiVersion": "v2", "a": 1}, {"apiVersion": "v2", "a": 2})) == 1


# --------------------------------------------------------------------------------------------------- hostile values


def in_time(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    started = time.perf_counter()
    found = at(schema, value)
    assert time.perf_counter() - started < 5
    return found


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", r"^(.*a){12}$", r"\b(a+)+\b$", "(?i)^(a|aa)+$"])
def test_pattern_never_backtracks(pattern: str) -> None:
    assert in_time(objects(a={**TEXT, "pattern": pattern}), {"a": "a" * 1_000_000 + "!"}) == [("a", "Invalid")]


def test_huge_text_is_not_shown_whole() -> None:
    (problem,) = told(objects(a={**TEXT, "enum": ["x"]}), {"a": "y" * 1_000_000})
    assert len(problem) < 200


def test_huge_enum_is_not_shown_whole() -> None:
    (problem,) = told(objects(a={**TEXT, "enum": [f"choice {n}" for n in range(20_000)]}), {"a": "choice"})
    assert len(problem) < 1000


def test_hundred_thousand_wrong_items_are_a_thousand_problems() -> None:
    assert len(in_time(objects(a=lists(TEXT)), {"a": list(range(100_000))})) == 1000


def test_deep_values_and_schemas() -> None:
    schema: dict[str, Any] = {**objects("b"), "nullable": True}
    value: dict[str, Any] = {}
    for _ in range(90):
        schema = {**objects("a", a=schema), "nullable": True, "anyOf": [{"required": ["a"]}]}
        value = {"a": value}
    assert in_time(schema, value) == [(".".join("a" * 90) + ".b", "Required")]


def test_half_of_a_surrogate_pair_is_no_crash() -> None:
    assert at(objects(a={**TEXT, "pattern": "a"}), {"a": "\ud800"}) == [("a", "Invalid")]
    assert at(objects(a=TEXT), {"a": "\ud800"}) == []


@pytest.mark.parametrize(
    ("kind", "text", "hinted"),
    [
        ("integer", "4", True),
        ("number", "4", True),
        ("number", "-4.5", True),
        ("boolean", "true", True),
        ("integer", "4.5", False),
        ("boolean", "yes", False),
        ("integer", "four", False),
    ],
)
def test_a_text_that_would_fit_without_quotes_is_told_so(kind: str, text: str, hinted: bool) -> None:
    (problem,) = Validator(structural({"type": kind})).problems(text, "spec.x")
    assert problem.hint == ("take the quotes off" if hinted else "")
