"""``kastra schema export``, and the commands about kinds with a kind that only a definition in the store makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.schemas import crd_of
from kastra_plugin_crd.schema import read_schema
from kastra_plugin_crd.structural_rules import structural_problems

Kastra = Callable[..., Any]

DEFINITION = r"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: datasources.data.example}
spec:
  group: data.example
  scope: Namespaced
  names: {kind: DataSource, plural: datasources, shortNames: [ds], categories: [data]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Url, type: string, jsonPath: .spec.url}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: Where data comes from.
        required: [spec]
        properties:
          spec:
            type: object
            required: [url]
            properties:
              url: {type: string, description: Its address., maxLength: 100}
              replicas: {type: integer, minimum: 0, maximum: 5, default: 1}
  - name: v1beta1
    served: true
    storage: false
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
OBJECT: dict[str, Any] = {
    "apiVersion": "data.example/v1",
    "kind": "DataSource",
    "metadata": {"name": "x"},
    "spec": {"url": "https://a.example"},
}
WIDGET: dict[str, Any] = {
    "apiVersion": "acme.example/v1",
    "kind": "Widget",
    "metadata": {"name": "w"},
    "spec": {"size": 1},
}


@pytest.fixture
def sources(kastra: Kastra, project: Path) -> Kastra:
    """A project with a definition and an object of its kind."""
    text = DEFINITION + "---\n" + yaml.safe_dump(OBJECT)
    (project / "d.yaml").write_text(text, encoding="utf-8")
    done = kastra("apply", "-f", "d.yaml", "--no-wait")
    assert done.code == 0, done.err
    return kastra


def fits(schema: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid(manifest)


def test_the_schema_of_one_kind_goes_to_standard_output(kastra: Kastra) -> None:
    schema = orjson.loads(kastra("schema", "export", "widget").out)
    assert schema["title"] == "Widget"
    assert fits(schema, WIDGET)
    assert not fits(schema, {**WIDGET, "spec": {"size": "1"}})


def test_several_kinds_go_there_as_one_schema(kastra: Kastra) -> None:
    schema = orjson.loads(kastra("schema", "export", "wi,agents").out)
    assert fits(schema, WIDGET)
    assert not fits(schema, {**WIDGET, "kind": "Tool"})


def test_a_directory_gets_a_file_for_each_kind_and_one_for_all(kastra: Kastra, project: Path) -> None:
    done = kastra("schema", "export", "--all", "-o", "made/schemas")
    assert done.code == 0
    files = {path.name for path in (project / "made" / "schemas").iterdir()}
    assert {"widgets.acme.example.json", "agents.mastra.ai.json", "kastra.json"} <= files
    assert "runs.mastra.ai.json" not in files
    assert set(done.out.splitlines()) == {f"made/schemas/{name}" for name in files}
    bundle = orjson.loads((project / "made" / "schemas" / "kastra.json").read_bytes())
    assert fits(bundle, WIDGET)
    assert not fits(bundle, {**WIDGET, "spec": {}})


def test_definitions_are_yaml_that_can_be_read(kastra: Kastra, project: Path) -> None:
    crd = yaml.safe_load(kastra("schema", "export", "widget", "--format", "crd").out)
    assert crd["kind"] == "CustomResourceDefinition"
    assert crd["metadata"]["name"] == "widgets.acme.example"
    assert kastra("schema", "export", "--all", "--format=crd", "-o", "crds").code == 0
    files = {path.name for path in (project / "crds").iterdir()}
    assert {"widgets.acme.example.yaml", "agents.mastra.ai.yaml"} <= files
    assert not any(name.startswith("customresourcedefinitions") for name in files)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "name kinds, or give --all"),
        (["--all", "widget"], "not both"),
        (["gizmo"], "gizmo"),
        (["widget", "-o", "d.txt/x"], "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_told(kastra: Kastra, project: Path, args: list[str], told: str) -> None:
    (project / "d.txt").write_text("", encoding="utf-8")
    done = kastra("schema", "export", *args)
    assert done.code == 1
    assert told in done.err


def test_the_definitions_of_all_installed_kinds_are_structural() -> None:
    for kind in registry_of(PluginManager()):
        for version in crd_of(kind)["spec"]["versions"]:
            structural, problems = read_schema(version["schema"]["openAPIV3Schema"], "schema")
            assert [*problems, *structural_problems(structural, "schema")] == [], kind.kind


def test_an_exported_definition_is_accepted_where_the_kind_has_no_plugin(
    kastra: Kastra, plugins: Any, project: Path
) -> None:
    text = kastra("schema", "export", "widget", "--format", "crd").out
    (project / "crd.yaml").write_text(text.replace("acme.example", "copy.example"), encoding="utf-8")
    manifest = {**WIDGET, "apiVersion": "copy.example/v1"}
    (project / "w.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    assert kastra("apply", "-f", "crd.yaml", "-f", "w.yaml", "--no-wait").code == 0
    (project / "w.yaml").write_text(yaml.safe_dump({**manifest, "spec": {"size": "1"}}), encoding="utf-8")
    done = kastra("apply", "-f", "w.yaml", "--no-wait")
    assert done.code == 1
    assert "spec.size" in done.err


# ------------------------------------------------------------------------------------------------ definitions


def test_a_kind_of_the_store_is_exported_in_all_its_versions(sources: Kastra, project: Path) -> None:
    schema = orjson.loads(sources("schema", "export", "ds").out)
    assert schema["description"] == "Where data comes from."
    assert fits(schema, OBJECT)
    assert not fits(schema, {**OBJECT, "spec": {"url": "x", "rul": "y"}})
    assert sources("schema", "export", "data", "-o", "s").code == 0
    old = orjson.loads((project / "s" / "datasources.data.example_v1beta1.json").read_bytes())
    assert fits(old, {**OBJECT, "apiVersion": "data.example/v1beta1", "spec": {"anything": 1}})


def test_another_version_of_a_kind_is_exported_by_its_name(sources: Kastra) -> None:
    schema = orjson.loads(sources("schema", "export", "ds", "--api-version=data.example/v1beta1").out)
    assert fits(schema, {**OBJECT, "apiVersion": "data.example/v1beta1", "spec": {"anything": 1}})
    for args in (["ds", "widget"], ["ds", "--format=crd"], ["ds", "-o", "d"]):
        done = sources("schema", "export", *args, "--api-version=v1beta1")
        assert done.code == 1
        assert "--api-version is for the JSON schema of one kind" in done.err


def test_the_definition_of_a_defined_kind_is_the_one_that_was_applied(sources: Kastra, project: Path) -> None:
    given = yaml.safe_load(DEFINITION)
    out = yaml.safe_load(sources("schema", "export", "ds", "--format=crd").out)
    assert out["spec"]["versions"] == given["spec"]["versions"]
    assert out["metadata"] == given["metadata"]
    assert sources("schema", "export", "ds", "widget", "--format=crd", "-o", "d").code == 0
    assert yaml.safe_load((project / "d" / "datasources.data.example.yaml").read_text(encoding="utf-8")) == out


def test_a_kind_of_the_store_is_explained_with_its_definition(sources: Kastra) -> None:
    assert "datasources" in sources("explain").out
    out = sources("explain", "datasource").out
    assert "VERSION:    data.example/v1 (also data.example/v1beta1)\n" in out
    assert "DEFINITION: CustomResourceDefinition datasources.data.example\n" in out
    field = sources("explain", "datasource.spec.url").out
    assert "FIELD:      spec.url <string> (required)\nLIMITS:     maxLength: 100\n" in field
    assert "DESCRIPTION:\n  Its address.\n" in field
    assert "unknown fields are kept" in sources("explain", "ds.spec", "--api-version=data.example/v1beta1").out


@pytest.mark.parametrize("word", ["ds", "data", "datasources.data.example", "datasources.v1.data.example"])
def test_a_kind_of_the_store_is_listed_with_its_columns(sources: Kastra, word: str) -> None:
    assert [line.split() for line in sources("get", word).out.splitlines()][:2] == [
        ["NAME", "URL"],
        ["x", "https://a.example"],
    ]
    assert "REPLICAS" in sources("get", word, "-o", "wide").out


def test_a_kind_of_the_store_is_scaled_and_its_schema_holds(sources: Kastra) -> None:
    assert sources("scale", "ds/x", "--replicas=3", "--no-wait").out == "datasource.data.example/x scaled\n"
    assert sources("get", "ds", "x", "-o", "jsonpath={.spec.replicas}").out.strip() == "3"
    done = sources("scale", "ds/x", "--replicas=6", "--no-wait")
    assert done.code == 1
    assert "spec.replicas" in done.err
