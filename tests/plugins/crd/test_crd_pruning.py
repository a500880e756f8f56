"""Unknown fields: which are dropped, what is told of them, and what is left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kastra_plugin_crd.pruning import Pruner, prune
from kastra_plugin_crd.schema import Structural, read_schema

KEPT = {"x-kubernetes-preserve-unknown-fields": True}
TEXT = {"type": "string"}


def structural(schema: dict[str, Any]) -> Structural:
    read, problems = read_schema(schema, "schema")
    assert problems == []
    return read


def spec_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def list_of(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


CASES: list[tuple[str, dict[str, Any], Any, Any, list[str]]] = [
    ("nothing is unknown", spec_of(a=TEXT), {"a": "x"}, {"a": "x"}, []),
    ("a field", spec_of(a=TEXT), {"a": "x", "b": {"c": 1}}, {"a": "x"}, ["b"]),
    ("a field inside", spec_of(a=spec_of(b=TEXT)), {"a": {"b": "x", "c": 1}}, {"a": {"b": "x"}}, ["a.c"]),
    (
        "fields of items",
        spec_of(a=list_of(spec_of(b=TEXT))),
        {"a": [{"b": "x"}, {"b": "y", "c": 1}]},
        {"a": [{"b": "x"}, {"b": "y"}]},
        ["a[1].c"],
    ),
    (
        "fields of values of a map",
        spec_of(a={"type": "object", "additionalProperties": spec_of(b=TEXT)}),
        {"a": {"k": {"b": "x", "c": 1}}},
        {"a": {"k": {"b": "x"}}},
        ["a.k.c"],
    ),
    (
        "a map whose values are not described keeps its keys, but nothing inside its values",
        spec_of(a={"type": "object", "additionalProperties": True}),
        {"a": {"k": 1, "l": {"b": "x"}, "m": [{"c": 1}]}},
        {"a": {"k": 1, "l": {}, "m": [{}]}},
        ["a.l.b", "a.m[0].c"],
    ),
    ("an object without properties", spec_of(a={"type": "object"}), {"a": {"b": 1}}, {"a": {}}, ["a.b"]),
    ("preserved fields", spec_of(a=KEPT), {"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1}]}}, []),
    (
        "known fields of a preserved object are pruned by their own schemas",
        spec_of(a={**KEPT, "type": "object", "properties": {"b": spec_of(c=TEXT)}}),
        {"a": {"other": {"deep": 1}, "b": {"c": "x", "d": 1}}},
        {"a": {"other": {"deep": 1}, "b": {"c": "x"}}},
        ["a.b.d"],
    ),
    (
        "items of a preserved list are preserved",
        spec_of(a={**KEPT, "type": "array", "items": spec_of(b=spec_of())}),
        {"a": [{"x": 1, "b": {"y": 1}}]},
        {"a": [{"x": 1, "b": {}}]},
        ["a[0].b.y"],
    ),
    (
        "an embedded resource keeps what names it",
        spec_of(a={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": spec_of()}}),
        {"a": {"apiVersion": "v1", "kind": "Pod", "metadata": {"x": 1}, "spec": {"y": 1}, "z": 1}},
        {"a": {"apiVersion": "v1", "kind": "Pod", "metadata": {"x": 1}, "spec": {}}},
        ["a.spec.y", "a.z"],
    ),
    ("an object where a text belongs", spec_of(a=TEXT), {"a": {"b": 1}}, {"a": {}}, ["a.b"]),
    ("a list where an object belongs", spec_of(a=spec_of()), {"a": [{"b": 1}]}, {"a": [{}]}, ["a[0].b"]),
    ("a list where a text belongs", spec_of(a=TEXT), {"a": [{"b": 1}, [], 2]}, {"a": [{}, [], 2]}, ["a[0].b"]),
    ("null", spec_of(a=spec_of(b=TEXT)), {"a": None}, {"a": None}, []),
]


@pytest.mark.parametrize(
    ("schema", "value", "kept", "dropped"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_pruning(schema: dict[str, Any], value: Any, kept: Any, dropped: list[str]) -> None:
    before = copy.deepcopy(value)
    for found, problems in (prune(value, structural(schema)), Pruner(structural(schema)).prune(value)):
        assert found == kept
        assert [problem.path for problem in problems] == dropped
    assert value == before


def test_value_without_unknown_fields_is_not_copied() -> None:
    value = {"a": [{"b": "x"}]}
    assert prune(value, structural(spec_of(a=list_of(spec_of(b=TEXT)))))[0] is value


def test_what_is_unchanged_is_shared() -> None:
    value = {"a": {"b": "x"}, "c": 1}
    assert prune(value, structural(spec_of(a=spec_of(b=TEXT))))[0]["a"] is value["a"]


def test_whole_resource_keeps_what_names_it() -> None:
    value = {"apiVersion": "v1", "kind": "Thing", "metadata": {"any": 1}, "spec": {}, "other": 1}
    schema = structural(spec_of(spec=spec_of(), metadata=spec_of(name=TEXT)))
    found, problems = Pruner(schema, root=True).prune(value)
    assert found == {"apiVersion": "v1", "kind": "Thing", "metadata": {"any": 1}, "spec": {}}
    assert [str(problem) for problem in problems] == ["other: unknown field 'other'; known fields: metadata, spec"]


def test_what_names_a_resource_is_dropped_silently_where_no_resource_is() -> None:
    assert prune({"kind": "Thing", "a": {"kind": 1}}, structural(spec_of(a=spec_of())))[0] == {"a": {}}
    assert [p.path for p in prune({"kind": "x", "a": {"kind": 1}}, structural(spec_of(a=spec_of())))[1]] == ["a.kind"]


def test_path_of_the_value_comes_first() -> None:
    assert prune({"b": 1}, structural(spec_of(a=TEXT)), "spec.rules[0]")[1][0].path == "spec.rules[0].b"


def test_field_that_was_meant_is_named() -> None:
    (problem,) = prune({"replica": 1}, structural(spec_of(replicas={"type": "integer"}, name=TEXT)))[1]
    assert (problem.message, problem.hint) == ("unknown field 'replica'", "did you mean 'replicas'?")
    assert problem.reason == "FieldValueForbidden"


def test_without_a_near_name_the_known_ones_are_told() -> None:
    (problem,) = prune({"zzz": 1}, structural(spec_of(replicas={"type": "integer"}, name=TEXT)))[1]
    assert problem.hint == "known fields: name, replicas"


def test_hundred_thousand_unknown_fields_take_no_time() -> None:
    value = {f"field{n}": {"x": n} for n in range(100_000)}
    found, problems = prune(value, structural(spec_of(**{f"known{n}": TEXT for n in range(200)})))
    assert found == {}
    assert len(problems) == 100_000
