"""Definitions in Kastra's first form, and in Kubernetes' older one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kastra_core.api.lazy import load
from kastra_core.api.meta import Resource
from kastra_core.errors import ValidationError
from kastra_plugin_crd.definition import kinds_of, validate
from kastra_plugin_crd.meta_schema import STRUCTURE
from kastra_plugin_crd.short_form import to_v1

MISSION = """
apiVersion: mastra.ai/v1alpha1
kind: CustomResourceDefinition
metadata:
  name: datasources.mastra.ai
spec:
  group: mastra.ai
  names:
    kind: DataSource
    plural: datasources
  scope: Namespaced
  validation:
    openAPIV3Schema:
      type: object
      properties:
        # 属性定义
"""
URL: dict[str, Any] = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}


def first_form(schema: Any = ..., **spec: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(MISSION)
    if schema is ...:
        pass
    elif schema is None:
        del manifest["spec"]["validation"]
    else:
        manifest["spec"]["validation"]["openAPIV3Schema"] = schema
    manifest["spec"].update(spec)
    return manifest


def converted(manifest: dict[str, Any]) -> dict[str, Any]:
    """The definition as it is stored; every one that is accepted is right."""
    before = copy.deepcopy(manifest)
    out = STRUCTURE.default(STRUCTURE.prune(to_v1(manifest))[0])
    assert manifest == before
    assert list(STRUCTURE.validate(out)) == []
    assert list(validate(Resource.from_manifest(out))) == []
    return out


def schema_of(manifest: dict[str, Any], index: int = 0) -> Any:
    return converted(manifest)["spec"]["versions"][index]["schema"]["openAPIV3Schema"]


def refused(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        to_v1(manifest)
    return [(problem.path, problem.reason.removeprefix("FieldValue")) for problem in caught.value.problems]


def test_the_mission_s_definition_is_one_of_kubernetes() -> None:
    assert converted(first_form()) == {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "datasources.mastra.ai"},
        "spec": {
            "group": "mastra.ai",
            "names": {
                "kind": "DataSource",
                "plural": "datasources",
                "singular": "datasource",
                "listKind": "DataSourceList",
            },
            "scope": "Namespaced",
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            ],
        },
    }


def test_its_objects_keep_every_field() -> None:
    [kind] = kinds_of(Resource.from_manifest(converted(first_form())))
    source = {"apiVersion": "mastra.ai/v1", "kind": "DataSource", "metadata": {"name": "a"}, "spec": {"url": "x"}}
    structure = load(kind.structure)
    assert structure.prune(source) == (source, [])
    assert list(structure.validate(structure.default(source))) == []


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}, {"properties": None}]
)
def test_a_schema_without_properties_keeps_every_field(schema: Any) -> None:
    found = schema_of(first_form(schema))
    assert found["type"] == "object"
    assert found["x-kubernetes-preserve-unknown-fields"] is True


def test_properties_with_spec_are_those_of_the_whole_object() -> None:
    schema = {"type": "object", "properties": {"spec": URL, "status": {"type": "object"}, "data": {"type": "string"}}}
    assert schema_of(first_form(schema)) == schema


def test_properties_of_spec_may_be_written_right_there() -> None:
    assert schema_of(first_form({**URL, "description": "A source."})) == {
        "type": "object",
        "description": "A source.",
        "properties": {"spec": URL},
        "required": ["spec"],
    }


def test_without_required_fields_spec_may_be_left_out() -> None:
    schema = {"type": "object", "properties": {"url": {"type": "string"}}}
    assert schema_of(first_form(schema)) == {"type": "object", "properties": {"spec": schema}}


def test_a_mixture_of_both_is_refused_with_what_to_do() -> None:
    schema = {"type": "object", "properties": {"url": {"type": "string"}, "metadata": {"type": "object"}}}
    assert refused(first_form(schema)) == [("spec.validation.openAPIV3Schema.properties", "Invalid")]
    with pytest.raises(ValidationError, match=r"properties\.spec\.properties"):
        to_v1(first_form(schema))


def test_problems_are_told_where_they_were_written() -> None:
    path = "spec.validation.openAPIV3Schema"
    assert refused(first_form({"type": "object", "properties": {"url": {}}})) == [
        (f"{path}.properties.url.type", "Required")
    ]
    assert refused(first_form({"type": "object", "properties": {"spec": {"type": "array"}}})) == [
        (f"{path}.properties.spec.items", "Required")
    ]
    assert refused(first_form(additionalPrinterColumns=[{"name": "a", "type": "string"}])) == [
        ("spec.additionalPrinterColumns[0].jsonPath", "Required")
    ]
    assert refused(first_form(version="V")) == [("spec.version", "Invalid")]


def test_problems_of_names_are_told_with_those_of_the_schema() -> None:
    found = refused(first_form({"type": "object", "properties": {"url": {}}}, group="x"))
    assert {path for path, _ in found} == {
        "spec.group",
        "metadata.name",
        "spec.validation.openAPIV3Schema.properties.url.type",
    }


def test_wrong_types_are_told() -> None:
    assert refused(first_form(names="DataSource")) == [("spec.names", "TypeInvalid")]
    assert refused(first_form(versions="v1")) == [("spec.versions", "TypeInvalid")]
    assert refused(first_form([])) == [("spec.validation.openAPIV3Schema", "TypeInvalid")]


@pytest.mark.parametrize("spec", [None, [], "x"])
def test_a_spec_that_is_none_is_left_to_others(spec: Any) -> None:
    assert to_v1({"apiVersion": "mastra.ai/v1", "kind": "CustomResourceDefinition", "spec": spec})["spec"] == spec


def test_the_version_may_be_named() -> None:
    [version] = converted(first_form(version="v1alpha1"))["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)


def test_the_scope_may_be_left_out() -> None:
    manifest = first_form()
    del manifest["spec"]["scope"]
    assert converted(manifest)["spec"]["scope"] == "Namespaced"


def test_what_is_said_once_holds_for_all_versions() -> None:
    manifest = first_form(
        URL,
        version="v1",
        versions=[{"name": "v1", "served": True, "storage": True}, {"name": "v1beta1", "storage": False}],
        subresources={"status": {}},
        additionalPrinterColumns=[{"name": "Url", "type": "string", "JSONPath": ".spec.url"}],
    )
    one, other = converted(manifest)["spec"]["versions"]
    assert one["additionalPrinterColumns"] == [{"name": "Url", "type": "string", "jsonPath": ".spec.url"}]
    assert {**one, "name": "v1beta1", "storage": False} == other


def test_a_problem_of_all_versions_is_told_once() -> None:
    versions = [{"name": "v1", "storage": True}, {"name": "v2", "storage": False}]
    assert refused(first_form({"type": "object", "properties": {"a": {}}}, versions=versions)) == [
        ("spec.validation.openAPIV3Schema.properties.a.type", "Required")
    ]


def test_each_version_may_have_its_own_schema() -> None:
    versions = [
        {"name": "v1", "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": URL}}}},
        {"name": "v2", "storage": False, "schema": {"openAPIV3Schema": URL}},
    ]
    manifest = first_form(None, versions=versions)
    assert schema_of(manifest, 0)["properties"] == {"spec": URL}
    assert schema_of(manifest, 1)["properties"] == {"spec": URL}
    versions[1]["schema"] = {"openAPIV3Schema": {"type": "object", "properties": {"url": {}}}}
    assert refused(manifest) == [("spec.versions[1].schema.openAPIV3Schema.properties.url.type", "Required")]


def test_nothing_is_said_twice() -> None:
    versions = [{"name": "v1", "storage": True, "schema": {"openAPIV3Schema": URL}}]
    assert refused(first_form(URL, versions=versions)) == [("spec.validation", "Forbidden")]
    assert refused(first_form(version="v2", versions=[{"name": "v1"}])) == [("spec.version", "Invalid")]


def test_fields_are_kept_where_the_older_form_says_so() -> None:
    schema = schema_of(first_form({"type": "object", "properties": {"spec": URL}}, preserveUnknownFields=True))
    assert schema["x-kubernetes-preserve-unknown-fields"] is True
    assert "x-kubernetes-preserve-unknown-fields" not in schema_of(first_form(URL, preserveUnknownFields=False))


def test_a_webhook_of_the_older_form_is_refused() -> None:
    conversion = {"strategy": "Webhook", "webhookClientConfig": {}, "conversionReviewVersions": ["v1"]}
    assert refused(first_form(URL, conversion=conversion)) == [("spec.conversion.strategy", "NotSupported")]


def test_kubernetes_form_may_bear_kastra_s_group() -> None:
    manifest = converted(first_form({"type": "object", "properties": {"spec": URL}}))
    again = converted({**manifest, "apiVersion": "mastra.ai/v1"})
    assert again == manifest


def test_the_mission_s_text_is_that_of_the_specification() -> None:
    spec = Path(__file__).parents[3].parent / "shared" / "spec" / "mission.zh.md"
    if not spec.is_file():
        pytest.skip("the specification is not here")
    assert MISSION.strip() in spec.read_text("utf-8")
