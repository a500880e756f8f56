"""x-kastra-reference: which fields name other resources."""

from __future__ import annotations

from typing import Any

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_plugin_crd.references import References, references_of
from kastra_plugin_crd.schema import Structural, read_schema

NAMED = {"type": "string", "x-kastra-reference": {"kind": "Secret"}}
AGENT = {"type": "object", "x-kastra-reference": {"kind": "Agent", "group": "mastra.ai"}}


def structural(**spec: Any) -> Structural:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    read, problems = read_schema(schema, "schema")
    assert problems == []
    return read


def resource(**spec: Any) -> Resource:
    metadata = ObjectMeta(name="thing", namespace="cooking")
    return Resource(api_version="acme.example/v1", kind="Thing", metadata=metadata, spec=spec)


def found(schema: Structural, **spec: Any) -> list[tuple[str, str]]:
    return [(one.path, f"{one.group} {one}") for one in references_of(schema)(resource(**spec))]


def test_texts_and_objects_name_resources() -> None:
    schema = structural(secret=NAMED, agent=AGENT)
    assert found(schema, secret="s", agent={"name": "a", "namespace": "other", "port": 5}) == [
        ("spec.secret", "acme.example Secret cooking/s"),
        ("spec.agent", "mastra.ai Agent other/a"),
    ]


def test_texts_may_name_the_namespace() -> None:
    assert found(structural(secret=NAMED), secret="other/s") == [("spec.secret", "acme.example Secret other/s")]


def test_references_are_found_in_lists_and_maps() -> None:
    several = {"type": "array", "items": {"type": "object", "properties": {"to": NAMED}}}
    by_name = {"type": "object", "additionalProperties": AGENT}
    assert found(structural(l=several, m=by_name), l=[{}, {"to": "s"}], m={"k": {"name": "a"}}) == [
        ("spec.l[1].to", "acme.example Secret cooking/s"),
        ("spec.m.k", "mastra.ai Agent cooking/a"),
    ]


def test_what_is_empty_or_of_another_type_refers_to_nothing() -> None:
    assert found(structural(secret=NAMED, agent=AGENT), secret="", agent={"port": 1}) == []
    assert found(structural(secret=NAMED, agent=AGENT), secret=5, agent=None) == []


def test_what_cannot_be_read_is_left_out_and_told() -> None:
    schema = structural(secret=NAMED, agent=AGENT)
    assert found(schema, secret="a/b/c/d", agent={"name": 5}) == []
    problems = References(schema).problems({"spec": {"secret": "a/b/c/d", "agent": {"name": 5}}})
    assert [problem.path for problem in problems] == ["spec.secret", "spec.agent"]
    assert str(problems[0]).startswith("spec.secret: it refers to no Secret: it has more than two slashes")
    assert problems[0].reason == "FieldValueInvalid"
