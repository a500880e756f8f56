"""A schema as the core uses it: prune, default, validate."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest

from kastra_core.api.kind import Structure
from kastra_plugin_crd.structure import SchemaStructure

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}


def structure(spec: dict[str, Any] | None = None, **root: Any) -> SchemaStructure:
    properties = {} if spec is None else {"spec": {"type": "object", **spec}}
    return SchemaStructure({"type": "object", "properties": properties, **root}, kind="Thing")


def manifest(spec: Any = ..., **more: Any) -> dict[str, Any]:
    out = {"apiVersion": "acme.example/v1", "kind": "Thing", "metadata": {"name": "thing"}, **more}
    return out if spec is ... else {**out, "spec": spec}


def told(found: Any) -> list[str]:
    return [str(problem) for problem in found]


def test_it_is_a_structure() -> None:
    one: Structure = structure()
    assert one.schema["type"] == "object"


def test_a_manifest_is_pruned_filled_and_checked() -> None:
    one = structure({"properties": {"a": {**WHOLE, "default": 5, "maximum": 9}, "b": TEXT}})
    given = manifest({"b": "x", "c": 1}, other=1)
    before = copy.deepcopy(given)
    pruned, dropped = one.prune(given)
    assert pruned == manifest({"b": "x"})
    assert [problem.path for problem in dropped] == ["other", "spec.c"]
    filled = one.default(pruned)
    assert filled == manifest({"b": "x", "a": 5})
    assert one.validate(filled) == []
    assert told(one.validate(manifest({"a": 10}))) == ["spec.a: expected at most 9, found 10"]
    assert given == before


def test_unknown_metadata_of_an_embedded_resource_is_dropped() -> None:
    pod = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    one = structure({"properties": {"pod": pod}})
    given = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "lables": {}}}
    pruned, dropped = one.prune(manifest({"pod": given, "x": 1}))
    assert pruned["spec"]["pod"]["metadata"] == {"name": "a"}
    assert [problem.path for problem in dropped] == ["spec.x", "spec.pod.metadata.lables"]
    assert told(one.validate(manifest({"pod": {"kind": "Pod"}}))) == ["spec.pod.apiVersion: required field is missing"]


RULES = {"x-kubernetes-validations": [{"rule": "self.a < self.b", "message": "a must be less than b"}]}


def test_rules_are_checked() -> None:
    one = structure({"properties": {"a": WHOLE, "b": WHOLE}, "required": ["a", "b"], **RULES})
    assert one.validate(manifest({"a": 1, "b": 2})) == []
    (problem,) = one.validate(manifest({"a": 2, "b": 1}))
    assert (problem.path, problem.message, problem.reason) == ("spec", "a must be less than b", "FieldValueInvalid")


@pytest.mark.parametrize(
    ("spec", "checked"),
    [
        ({"a": 2, "b": 1, "c": "x"}, True),  # c does not match its pattern: no reason to leave the rules out
        ({"a": 2}, False),
        ({"a": 2, "b": "x"}, False),
        ({"a": 2, "b": 1, "d": "x"}, False),
        ({"a": 2, "b": 1, "e": "xx"}, False),
        ({"a": 2, "b": 1, "f": ["", ""]}, False),
    ],
)
def test_rules_are_left_out_where_they_could_stumble(spec: dict[str, Any], checked: bool) -> None:
    more = {
        "c": {**TEXT, "pattern": "^y"},
        "d": {**TEXT, "enum": ["y"]},
        "e": {**TEXT, "maxLength": 1},
        "f": {"type": "array", "items": TEXT, "maxItems": 1},
    }
    one = structure({"properties": {"a": WHOLE, "b": WHOLE, **more}, "required": ["a", "b"], **RULES})
    problems = one.validate(manifest(spec))
    assert len(problems) == 2
    assert (problems[-1].path == "spec") is checked
    if not checked:
        assert (problems[-1].path, problems[-1].reason) == ("", "FieldValueInvalid")
        assert "rules were not checked" in problems[-1].message


def test_without_rules_nothing_is_said_of_them() -> None:
    assert told(structure({"required": ["a"]}).validate(manifest({}))) == ["spec.a: required field is missing"]


def test_transition_rules_see_what_is_stored() -> None:
    rule = {"rule": "self >= oldSelf", "message": "it may only grow"}
    one = structure({"properties": {"a": {**WHOLE, "x-kubernetes-validations": [rule]}}})
    assert one.validate(manifest({"a": 1})) == []
    assert one.validate(manifest({"a": 1}), manifest({"a": 1})) == []
    assert told(one.validate(manifest({"a": 1}), manifest({"a": 2}))) == ["spec.a: it may only grow"]


def test_what_was_wrong_before_is_forgiven_where_it_does_not_change() -> None:
    names = {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT}
    one = structure({"properties": {"a": {**TEXT, "maxLength": 1}, "b": WHOLE, "names": names}})
    stored = manifest({"a": "long", "b": 1, "names": ["x", "x"]})
    assert len(one.validate(stored)) == 2
    assert one.validate(manifest({"a": "long", "b": 2, "names": ["x", "x", "y", "y"]}), stored) == []
    assert len(one.validate(manifest({"a": "longer"}), stored)) == 1


def test_an_empty_spec_of_a_stored_object_may_stand_for_none() -> None:
    optional = structure({"required": ["a"]})
    assert len(optional.validate(manifest({}))) == 1
    assert optional.validate(manifest()) == []
    assert optional.validate_stored(manifest({})) == []
    assert optional.validate(manifest({}), manifest({})) == []
    needed = structure({"required": ["a"]}, required=["spec"])
    assert told(needed.validate_stored(manifest({}))) == ["spec.a: required field is missing"]


def test_references_and_map_lists_are_those_of_the_schema() -> None:
    listed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    item = {"type": "object", "properties": {"k": {**TEXT, "x-kastra-reference": {"kind": "Secret"}}}}
    one = structure({"properties": {"l": {**listed, "items": item}}})
    assert one.list_map_keys() == {"spec.l": ("k",)}
    assert told(one.validate(manifest({"l": [{"k": "a/b/c/d"}]})))[0].startswith("spec.l[0].k: it refers to no Secret")


def test_nothing_is_read_before_it_is_needed() -> None:
    program = """
import sys
from kastra_plugin_crd.structure import SchemaStructure
one = SchemaStructure({"type": "object", "properties": {"a": {"type": "string"}}}, kind="Thing")
heavy = {"jsonschema_rs", "re2", "kastra_core.cel", "asyncio"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
one.validate({"a": "x"})
assert not {"re2", "kastra_core.cel", "asyncio"} & sys.modules.keys(), "loaded for a schema that needs none of it"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
