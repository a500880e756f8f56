"""x-kubernetes-embedded-resource: apiVersion, kind and metadata of objects in objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kastra_plugin_crd.embedded import embedded_problems, prune_metadata
from kastra_plugin_crd.schema import Structural, read_schema

EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u"}


def structural(schema: dict[str, Any]) -> Structural:
    read, problems = read_schema({"type": "object", "properties": schema}, "schema")
    assert problems == []
    return read


def found(resource: Any) -> list[tuple[str, str]]:
    problems = embedded_problems({"a": resource}, structural({"a": EMBEDDED}))
    return [(problem.path, problem.reason.removeprefix("FieldValue")) for problem in problems]


def with_metadata(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}


@pytest.mark.parametrize(
    "resource",
    [
        {"apiVersion": "v1", "kind": "Pod"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"x": 1}},
        with_metadata(),
        with_metadata(name="a.B_c", namespace="default", labels={"a.b/c": "", "d": "e"}, annotations={"A/b": "any €"}),
        with_metadata(ownerReferences=[OWNER, {**OWNER, "controller": True}], finalizers=["a/b", "c"]),
        with_metadata(creationTimestamp=None, deletionTimestamp="2006-01-02T15:04:05Z", generation=3, labels=None),
        "of another type",
    ],
)
def test_right_resource(resource: Any) -> None:
    assert found(resource) == []


@pytest.mark.parametrize(
    ("resource", "problems"),
    [
        ({}, [("a.apiVersion", "Required"), ("a.kind", "Required")]),
        ({"apiVersion": "", "kind": ""}, [("a.apiVersion", "Invalid"), ("a.kind", "Invalid")]),
        ({"apiVersion": 1, "kind": None}, [("a.apiVersion", "Invalid"), ("a.kind", "Invalid")]),
        ({"apiVersion": "a/b/c", "kind": "1x"}, [("a.apiVersion", "Invalid"), ("a.kind", "Invalid")]),
        ({"apiVersion": "v1", "kind": "A.b"}, [("a.kind", "Invalid")]),
        (with_metadata(name=".."), [("a.metadata.name", "Invalid")]),
        (
            with_metadata(name="a/b", generateName="a%"),
            [("a.metadata.generateName", "Invalid"), ("a.metadata.name", "Invalid")],
        ),
        (with_metadata(namespace="A"), [("a.metadata.namespace", "Invalid")]),
        (with_metadata(labels={"#": "#"}), [("a.metadata.labels", "Invalid")] * 2),
        (with_metadata(annotations={"#": "#"}), [("a.metadata.annotations", "Invalid")]),
        (with_metadata(annotations={"a": "x" * 300_000}), [("a.metadata.annotations", "TooLong")]),
        (with_metadata(generation=-1), [("a.metadata.generation", "Invalid")]),
        (with_metadata(finalizers=["a b"]), [("a.metadata.finalizers[0]", "Invalid")]),
        (with_metadata(ownerReferences=[{**OWNER, "uid": ""}]), [("a.metadata.ownerReferences[0].uid", "Invalid")]),
        (
            with_metadata(ownerReferences=[{**OWNER, "controller": True}] * 2),
            [("a.metadata.ownerReferences", "Invalid")],
        ),
        (with_metadata(name=1), [("a.metadata", "Invalid")]),
        (with_metadata(labels={"a": 1}), [("a.metadata", "Invalid")]),
        (with_metadata(finalizers="a"), [("a.metadata", "Invalid")]),
        (with_metadata(ownerReferences=["a"]), [("a.metadata", "Invalid")]),
        (with_metadata(creationTimestamp="yesterday"), [("a.metadata", "Invalid")]),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": []}, [("a.metadata", "Invalid")]),
    ],
)
def test_wrong_resource(resource: Any, problems: list[tuple[str, str]]) -> None:
    assert found(resource) == problems


def test_resources_are_found_in_lists_maps_and_each_other() -> None:
    inner = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"b": EMBEDDED}}
    schema = structural(
        {"l": {"type": "array", "items": inner}, "m": {"type": "object", "additionalProperties": EMBEDDED}}
    )
    problems = embedded_problems({"l": [{"kind": "A", "b": {"kind": "B"}}], "m": {"k": {"kind": "C"}}}, schema)
    assert [problem.path for problem in problems] == ["l[0].apiVersion", "l[0].b.apiVersion", "m.k.apiVersion"]


def test_unknown_metadata_is_dropped() -> None:
    value = {"a": with_metadata(name="x", label={"a": "b"}, creationTimestamp=None), "b": {"metadata": {"any": 1}}}
    before = copy.deepcopy(value)
    schema = structural({"a": EMBEDDED, "b": {"type": "object"}})
    pruned, problems = prune_metadata(value, schema)
    assert pruned == {"a": with_metadata(name="x"), "b": {"metadata": {"any": 1}}}
    assert [str(p) for p in problems] == ["a.metadata.label: unknown field 'label'; did you mean 'labels'?"]
    assert value == before


def test_value_with_known_metadata_is_not_copied() -> None:
    value = {"a": with_metadata(name="x")}
    assert prune_metadata(value, structural({"a": EMBEDDED}))[0] is value
