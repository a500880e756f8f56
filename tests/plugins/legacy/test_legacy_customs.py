"""Definitions of kinds, resources of those kinds, and metadata."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_plugin_legacy.structural import structural

DEFINITION = """
apiVersion: mastra/v1
kind: CustomResourceDefinition
metadata: {name: source.mastra.ai, namespace: default}
spec:
  group: mastra.ai
  names: {kind: DataSource, plural: datasources}
  scope: Namespaced
  validation:
    openAPIV3Schema:
      type: object
      properties:
        spec:
          type: object
          required: [url]
          properties:
            url: {type: string}
            password: {type: string, minLength: 4}
            options: {type: object, additionalProperties: true}
            size: {type: [integer, "null"], exclusiveMinimum: 0}
            tags: {type: array, uniqueItems: true, items: {type: string}}
"""
RESOURCE = """
---
apiVersion: mastra/v1
kind: DataSource
metadata: {name: main}
spec: {url: "postgres://me:sesame77@host/db", password: open-sesame, options: {poolSize: 3}}
"""


def test_a_definition_is_named_by_plural_and_group(migrate: Any) -> None:
    migrated = migrate(DEFINITION)
    made = migrated.one("CustomResourceDefinition")
    assert made["metadata"] == {"name": "datasources.mastra.ai"}
    assert made["apiVersion"] == "mastra.ai/v1"
    assert migrated.result.names == {"CustomResourceDefinition/source.mastra.ai": "datasources.mastra.ai"}


def test_a_resource_of_a_defined_kind_is_kept_without_its_secrets(migrate: Any) -> None:
    migrated = migrate(DEFINITION + RESOURCE)
    assert migrated.names() == ["CustomResourceDefinition/datasources.mastra.ai", "DataSource/main"]
    made = migrated.one("DataSource")
    assert made["apiVersion"] == "mastra.ai/v1"
    assert made["spec"]["password"] == "${env.MAIN_PASSWORD}"
    assert made["spec"]["options"] == {"poolSize": 3}
    assert "sesame" not in repr(migrated.result)
    assert migrated.row("spec.password", document=1).outcome == "manual"


def test_a_resource_whose_kind_nobody_defines_is_refused(problems: Any) -> None:
    (problem,) = problems(RESOURCE.removeprefix("\n---"))
    assert problem.message == "nobody defines the kind 'DataSource'"
    assert "CustomResourceDefinition" in problem.hint


def test_a_definition_of_a_kind_of_kastras_own_is_refused(problems: Any) -> None:
    (problem,) = problems(DEFINITION.replace("DataSource", "Tool").replace("datasources", "tools"))
    assert "Kastra's own" in problem.message
    assert problem.path == "spec.names.kind"


def test_schemas_become_structural() -> None:
    schema, lost = structural(
        {
            "type": "object",
            "properties": {
                "a": {"type": ["string", "null"]},
                "b": {"type": ["string", "number"]},
                "c": {"properties": {"d": {"type": "integer", "exclusiveMinimum": 1}}},
                "e": {"type": "object", "patternProperties": {"x": {}}},
                "f": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            },
        }
    )
    assert schema["properties"] == {
        "a": {"type": "string", "nullable": True},
        "b": {"x-kubernetes-preserve-unknown-fields": True},
        "c": {"type": "object", "properties": {"d": {"type": "integer", "exclusiveMinimum": True, "minimum": 1}}},
        "e": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "f": {"type": "array", "items": {"type": "string"}},
    }
    assert [path for path, _ in lost] == [("properties", "e", "patternProperties"), ("properties", "f", "uniqueItems")]


# ----------------------------------------------------------------------------------------------- metadata

HEAD = "apiVersion: mastra/v1\nkind: Agent\nspec: {instructions: x}\nmetadata:\n  name: a\n"


def test_labels_that_are_none_become_annotations(migrate: Any) -> None:
    migrated = migrate(
        HEAD + "  labels: {app: demo, n: 5, team: 厨师, 'a b': c}\n  annotations: {x: 1, y: z}\n  description: D\n"
    )
    assert migrated.one("Agent")["metadata"] == {
        "name": "a",
        "labels": {"app": "demo", "n": "5"},
        "annotations": {"team": "厨师", "a b": "c", "x": "1", "y": "z", "description": "D"},
    }


def test_what_a_store_wrote_is_dropped_and_owners_stay(migrate: Any) -> None:
    owner = "{apiVersion: mastra/v1, kind: System, name: s, uid: u}"
    migrated = migrate(
        HEAD
        + "  uid: u\n  resourceVersion: '5'\n  creationTimestamp: t\n"
        + f"  finalizers: [a/b]\n  ownerReferences: [{owner}]\n"
        "status: {phase: Ready}\n"
    )
    assert migrated.one("Agent")["metadata"] == {
        "name": "a",
        "finalizers": ["a/b"],
        "ownerReferences": [{"apiVersion": "mastra.ai/v1", "kind": "System", "name": "s", "uid": "u"}],
    }
    assert migrated.row("status").outcome == "dropped"
    assert migrated.row("metadata.uid").outcome == "dropped"


@pytest.mark.parametrize("version", ["mastra/v1", "mastra.ai/v1alpha1", "mastra.ai/v1", "v1"])
def test_every_spelling_of_the_version_becomes_that_of_today(migrate: Any, version: str) -> None:
    text = HEAD.replace("apiVersion: mastra/v1", f"apiVersion: {version}").replace("instructions", "systemPrompt")
    assert migrate(text).one("Agent")["apiVersion"] == "mastra.ai/v1"


def test_a_missing_version_is_told(migrate: Any) -> None:
    migrated = migrate(HEAD.removeprefix("apiVersion: mastra/v1\n"))
    assert migrated.one("Agent")["apiVersion"] == "mastra.ai/v1"
    assert migrated.row("apiVersion").outcome == "defaulted"


def test_an_unknown_version_is_refused(problems: Any) -> None:
    (problem,) = problems(HEAD.replace("mastra/v1", "mastra/latest"))
    assert problem.path == "apiVersion"


@pytest.mark.parametrize(("name", "made"), [("my.agent", "my.agent"), ("a-1", "a-1"), ("My Agent", "my-agent")])
def test_a_valid_name_is_kept(migrate: Any, name: str, made: str) -> None:
    assert migrate(HEAD.replace("name: a", f"name: {name}")).one("Agent")["metadata"]["name"] == made
