"""What makes a definition right, what may become of it, and the kind that it defines."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.kind import PrinterColumn, Scale
from kastra_core.api.lazy import load
from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.errors import Problem
from kastra_plugin_crd.definition import by_priority, kinds_of, read_definition, validate, validate_update
from kastra_plugin_crd.meta_schema import SCHEMA, STRUCTURE
from kastra_plugin_crd.schema import read_schema
from kastra_plugin_crd.structural_rules import structural_problems

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus" / "crds"


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "description": "Where data comes from.",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "url": {"type": "string"},
                    "replicas": {"type": "integer"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "tables": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {"name": {"type": "string"}},
                        },
                    },
                    "tool": {"type": "string", "x-kastra-reference": {"kind": "Tool", "group": "mastra.ai"}},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **more}


def manifest(*, name: str = "", annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    whole = {
        "group": "data.example.com",
        "names": {"kind": "DataSource", "plural": "datasources"},
        "scope": "Namespaced",
        "versions": [version()],
        **spec,
    }
    if not name:
        name = f"{whole['names'].get('plural')}.{whole['group']}"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


def definition(**given: Any) -> Resource:
    return Resource.from_manifest(STRUCTURE.default(manifest(**given)))


def facts(problems: list[Problem]) -> list[tuple[str, str]]:
    assert all(problem.message for problem in problems)
    return [(problem.path, problem.reason.removeprefix("FieldValue")) for problem in problems]


def wrong(**given: Any) -> list[tuple[str, str]]:
    return facts(list(validate(definition(**given))))


# ------------------------------------------------------------------------------------------------ names and group


def names(**more: Any) -> dict[str, Any]:
    return {"kind": "DataSource", "plural": "datasources", **more}


def test_a_plain_definition_is_right() -> None:
    assert wrong() == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"name": "sources.data.example.com"}, [("metadata.name", "Invalid")]),
        ({"group": "example", "name": "datasources.example"}, [("spec.group", "Invalid")]),
        ({"group": "Data.example.com"}, [("spec.group", "Invalid")]),
        ({"group": f"a.{'b' * 300}"}, [("spec.group", "Invalid")]),
        ({"group": "", "name": "datasources."}, [("spec.group", "Required")]),
        ({"scope": None}, [("spec.scope", "Required")]),
        ({"scope": "namespaced"}, [("spec.scope", "NotSupported")]),
        ({"names": {"kind": "DataSource"}, "name": ".data.example.com"}, [("spec.names.plural", "Required")]),
        ({"names": {"plural": "datasources"}}, [("spec.names.kind", "Required")]),
        ({"names": names(plural="dataSources")}, [("spec.names.plural", "Invalid")]),
        ({"names": names(plural="1sources")}, [("spec.names.plural", "Invalid")]),
        ({"names": names(singular="Source")}, [("spec.names.singular", "Invalid")]),
        ({"names": names(kind="Data Source", singular="a", listKind="A")}, [("spec.names.kind", "Invalid")]),
        ({"names": names(listKind="Data_List")}, [("spec.names.listKind", "Invalid")]),
        ({"names": names(listKind="DataSource")}, [("spec.names.listKind", "Invalid")]),
        ({"names": names(shortNames=["ds", "D", "a.b"])},
         [("spec.names.shortNames[1]", "Invalid"), ("spec.names.shortNames[2]", "Invalid")]),
        ({"names": names(categories=["all", ""])}, [("spec.names.categories[1]", "Invalid")]),
        ({"preserveUnknownFields": True}, [("spec.preserveUnknownFields", "Invalid")]),
    ],
)  # fmt: skip
def test_names_group_and_scope_have_their_rules(given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert wrong(**given) == expected


@pytest.mark.parametrize("group", ["k8s.io", "batch.k8s.io", "kubernetes.io", "a.kubernetes.io"])
def test_groups_of_kubernetes_need_an_approval(group: str) -> None:
    path = "metadata.annotations.api-approved.kubernetes.io"
    assert wrong(group=group) == [(path, "Required")]
    for value, expected in (
        ("yes", [(path, "Invalid")]),
        ("http://", [(path, "Invalid")]),
        ("unapproved, only a test", []),
        ("https://github.com/kubernetes/enhancements/pull/1", []),
    ):
        assert wrong(group=group, annotations={"api-approved.kubernetes.io": value}) == expected


def test_other_groups_need_none() -> None:
    assert wrong(group="gateway.networking.x-k8s.io") == []
    assert wrong(group="mastra.ai") == []


# ---------------------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], [("spec.versions", "Invalid")]),
        ([version(storage=False)], [("spec.versions", "Invalid")]),
        ([version(), version("v2")], [("spec.versions", "Invalid")]),
        ([version(), version(storage=False)], [("spec.versions", "Invalid")]),
        ([version("V1")], [("spec.versions[0].name", "Invalid")]),
        ([version("")], [("spec.versions[0].name", "Invalid")]),
        ([version(schema=None)], [("spec.versions[0].schema.openAPIV3Schema", "Required")]),
        ([version(schema={})], [("spec.versions[0].schema.openAPIV3Schema", "Required")]),
        ([version(deprecationWarning="x")], [("spec.versions[0].deprecationWarning", "Invalid")]),
        ([version(deprecated=True, deprecationWarning="")], [("spec.versions[0].deprecationWarning", "Invalid")]),
        ([version(deprecated=True, deprecationWarning="ä" * 200)],
         [("spec.versions[0].deprecationWarning", "Invalid")]),
        ([version(deprecated=True, deprecationWarning="a\nb")], [("spec.versions[0].deprecationWarning", "Invalid")]),
        ([version(deprecated=True, deprecationWarning="use v2 (很快)")], []),
        ([version(served=False)], []),
    ],
)  # fmt: skip
def test_versions_have_their_rules(versions: list[Any], expected: list[tuple[str, str]]) -> None:
    assert wrong(versions=versions) == expected


def test_problems_of_a_schema_are_told_where_they_stand() -> None:
    bad = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {}}}}}}
    assert wrong(versions=[version(), version("v2", storage=False, schema=bad)]) == [
        ("spec.versions[1].schema.openAPIV3Schema.properties.spec.properties.a.type", "Required")
    ]
    assert wrong(versions=[version(schema={"openAPIV3Schema": {"type": "object", "$ref": "#/x"}})]) == [
        ("spec.versions[0].schema.openAPIV3Schema.$ref", "Forbidden")
    ]


def test_with_status_apart_the_root_may_not_say_everything() -> None:
    schema = {"openAPIV3Schema": {"type": "object", "anyOf": [{"required": ["spec"]}]}}
    assert wrong(versions=[version(schema=schema)]) == []
    assert wrong(versions=[version(schema=schema, subresources={"status": {}})]) == [
        ("spec.versions[0].schema.openAPIV3Schema", "Invalid")
    ]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}, []),
        ({}, [("specReplicasPath", "Required"), ("statusReplicasPath", "Required")]),
        (
            {"specReplicasPath": ".status.a", "statusReplicasPath": ".spec.a", "labelSelectorPath": ".metadata.labels"},
            [("specReplicasPath", "Invalid"), ("statusReplicasPath", "Invalid"), ("labelSelectorPath", "Invalid")],
        ),
        ({"specReplicasPath": "spec.a", "statusReplicasPath": ".status."}, [("specReplicasPath", "Invalid")]),
    ],
)
def test_paths_of_scale_have_their_rules(scale: dict[str, str], expected: list[tuple[str, str]]) -> None:
    found = wrong(versions=[version(subresources={"scale": scale})])
    assert found == [(f"spec.versions[0].subresources.scale.{path}", reason) for path, reason in expected]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"name": "a", "type": "date", "jsonPath": ".metadata.creationTimestamp", "format": "date-time"}, []),
        ({}, [("name", "Required"), ("type", "Required"), ("jsonPath", "Required")]),
        ({"name": "a", "type": "seconds", "jsonPath": ".a"}, [("type", "Invalid")]),
        ({"name": "a", "type": "string", "format": "uuid", "jsonPath": ".a"}, [("format", "Invalid")]),
        ({"name": "a", "type": "string", "jsonPath": "spec.a"}, [("jsonPath", "Invalid")]),
        ({"name": "a", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"A\")].status"}, []),
    ],
)  # fmt: skip
def test_columns_have_their_rules(column: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = wrong(versions=[version(additionalPrinterColumns=[column])])
    assert found == [(f"spec.versions[0].additionalPrinterColumns[0].{path}", reason) for path, reason in expected]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([".spec.url", ".spec.replicas", ".spec.labels.any"], []),
        ([""], [("[0].jsonPath", "Required")]),
        (["spec.url"], [("[0].jsonPath", "Invalid")]),
        ([".spec.nothing"], [("[0].jsonPath", "Invalid")]),
        ([".spec['url']"], [("[0].jsonPath", "Invalid")]),
        ([".spec.tables"], [("[0].jsonPath", "Invalid")]),
        ([".spec.url", ".spec.url"], [("[1].jsonPath", "Duplicate")]),
        ([f".spec.labels.l{i}" for i in range(9)], [("", "TooMany")]),
    ],
)
def test_selectable_fields_have_their_rules(paths: list[str], expected: list[tuple[str, str]]) -> None:
    found = wrong(versions=[version(selectableFields=[{"jsonPath": path} for path in paths])])
    assert found == [(f"spec.versions[0].selectableFields{path}", reason) for path, reason in expected]


@pytest.mark.parametrize(
    ("conversion", "expected"),
    [
        ({"strategy": "None"}, []),
        ({}, [("spec.conversion.strategy", "Required")]),
        ({"strategy": "Magic"}, [("spec.conversion.strategy", "NotSupported")]),
        (
            {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}},
            [("spec.conversion.strategy", "NotSupported")],
        ),
        (
            {"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}},
            [("spec.conversion.webhook.conversionReviewVersions", "Forbidden")],
        ),
    ],
)
def test_conversion_has_its_rules(conversion: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert wrong(conversion=conversion) == expected


def test_a_webhook_is_refused_with_what_to_do() -> None:
    [problem] = validate(definition(conversion={"strategy": "Webhook"}))
    assert "webhook" in problem.message
    assert "None" in problem.hint


def test_all_problems_come_at_once() -> None:
    assert len(wrong(scope=None, group="x", names={"kind": "A", "plural": "B"}, versions=[version("V")])) >= 4


def test_a_definition_of_ten_megabytes_is_refused_quickly() -> None:
    big = version(schema={"openAPIV3Schema": {"type": "object", "description": "x" * 10_000_000}})
    resource = definition(versions=[big])
    start = time.perf_counter()
    assert facts(list(validate(resource))) == [("spec", "TooLong")]
    assert time.perf_counter() - start < 1


def test_problems_of_a_hopeless_definition_are_counted_out() -> None:
    schema = {"type": "object", "properties": {f"p{i}": {} for i in range(5_000)}}
    assert len(wrong(versions=[version(schema={"openAPIV3Schema": schema})])) == 101


# ------------------------------------------------------------------------------------------------------ updates


def stored(**given: Any) -> Resource:
    status = {
        "conditions": [{"type": "Established", "status": "True", "reason": "InitialNamesAccepted"}],
        "storedVersions": ["v1"],
    }
    return definition(**given).evolve(status=status)


def change(**given: Any) -> list[tuple[str, str]]:
    return facts(list(validate_update(definition(name="x", **given), stored())))


def test_a_schema_may_change() -> None:
    assert change(versions=[version(), version("v2", storage=False)]) == []
    assert change(versions=[version(storage=False), version("v2")]) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"scope": "Cluster"}, ("spec.scope", "Invalid")),
        ({"group": "other.example.com"}, ("spec.group", "Invalid")),
        ({"names": names(kind="Source")}, ("spec.names.kind", "Invalid")),
        ({"names": names(plural="sources")}, ("spec.names.plural", "Invalid")),
        ({"versions": [version("v2")]}, ("status.storedVersions[0]", "Invalid")),
    ],
)
def test_what_objects_are_stored_under_may_not_change(given: dict[str, Any], expected: tuple[str, str]) -> None:
    assert change(**given) == [expected]


def test_short_names_may_change() -> None:
    assert change(names=names(shortNames=["ds"], categories=["all"], singular="source", listKind="Sources")) == []


def test_before_it_is_established_the_kind_may_still_change() -> None:
    before = definition()
    assert list(validate_update(definition(names=names(kind="Source"), scope="Cluster"), before)) == []


# --------------------------------------------------------------------------------------------------- the kind


def test_the_kind_has_what_the_definition_says() -> None:
    columns = [
        {"name": "Url", "type": "string", "jsonPath": ".spec.url", "priority": 1, "description": "where"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    [kind] = kinds_of(
        definition(
            names=names(shortNames=["ds"], categories=["data"]),
            versions=[version(additionalPrinterColumns=columns, subresources={"scale": scale, "status": {}})],
        )
    )
    assert (kind.kind, kind.plural, kind.singular) == ("DataSource", "datasources", "datasource")
    assert (kind.group, kind.version, kind.namespaced) == ("data.example.com", "v1", True)
    assert (kind.short_names, kind.categories, kind.description) == (("ds",), ("data",), "Where data comes from.")
    assert kind.printer_columns == (
        PrinterColumn(name="URL", json_path=".spec.url", priority=1, description="where"),
        PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
    )
    assert kind.scale == Scale(spec_replicas_path=".spec.replicas", status_replicas_path=".status.replicas")
    assert (kind.closed, kind.warnings, dict(kind.structures)) == ("", {}, {})


@pytest.mark.parametrize(
    ("spec", "right"),
    [
        ({}, True),
        ({"pool": None}, True),
        ({"pool": {}}, True),
        ({"pool": {"size": 0}}, True),
        ({"pool": {"size": 2**31 - 1}}, True),
        ({"pool": {"size": -1}}, False),
        ({"pool": {"size": 2**31}}, False),
        ({"pool": {"size": 1.5}}, False),
        ({"pool": {"size": True}}, False),
        ({"pool": {"size": "3"}}, False),
        ({"pool": {"size": None}}, False),
        ({"pool": 3}, False),
    ],
)
def test_a_number_of_replicas_is_one_whatever_the_schema_says(spec: dict[str, Any], right: bool) -> None:
    scale = {"specReplicasPath": ".spec.pool.size", "statusReplicasPath": ".status.size"}
    [kind] = kinds_of(definition(versions=[version(subresources={"scale": scale})]))
    assert kind.validate is not None
    resource = Resource(api_version=kind.api_version, kind=kind.kind, metadata=ObjectMeta(name="a"), spec=spec)
    found = [(problem.path, problem.reason) for problem in load(kind.validate)(resource)]
    assert found == ([] if right else [("spec.pool.size", "FieldValueInvalid")])


def test_a_kind_without_columns_shows_its_age() -> None:
    [kind] = kinds_of(definition())
    assert [(column.name, column.type) for column in kind.printer_columns] == [("AGE", "date")]


def test_a_kind_may_stand_in_no_namespace() -> None:
    [kind] = kinds_of(definition(scope="Cluster"))
    assert not kind.namespaced


def test_each_served_version_has_its_own_structure() -> None:
    [kind] = kinds_of(
        definition(
            versions=[
                version("v1beta1", storage=False, deprecated=True),
                version("v1alpha1", storage=False, served=False),
                version("v1alpha2", storage=False, deprecated=True, deprecationWarning="gone soon"),
                version("v1"),
            ]
        )
    )
    assert kind.version == "v1"
    assert set(kind.structures) == {"v1beta1", "v1alpha2"}
    assert set(kind.served_versions) == {f"data.example.com/{v}" for v in ("v1", "v1beta1", "v1alpha2")}
    assert kind.warnings == {"v1beta1": "deprecated; use data.example.com/v1", "v1alpha2": "gone soon"}


def test_a_storage_version_that_is_not_served_is_not_the_kinds() -> None:
    [kind] = kinds_of(
        definition(
            versions=[version("v1", served=False), version("v2beta1", storage=False), version("v2", storage=False)]
        )
    )
    assert kind.version == "v2"
    assert set(kind.served_versions) == {"data.example.com/v2", "data.example.com/v2beta1"}


def test_a_kind_without_served_versions_is_closed() -> None:
    [kind] = kinds_of(definition(versions=[version(served=False)]))
    assert "serves no version" in kind.closed


def test_a_kind_whose_definition_is_being_deleted_is_closed() -> None:
    [kind] = kinds_of(definition().evolve(deletion_timestamp="2026-01-01T00:00:00Z"))
    name = "datasources.data.example.com"
    assert kind.closed == f"its definition {name} is being deleted (`kastra delete crd {name}` waits for that)"


def test_lists_of_type_map_are_merged_by_their_keys() -> None:
    [kind] = kinds_of(definition())
    assert dict(kind.list_map_keys) == {"spec.tables": ("name",)}
    assert len(kind.list_map_keys) == 1


def test_references_come_from_the_schema() -> None:
    [kind] = kinds_of(definition())
    source = Resource.from_manifest(
        {
            "apiVersion": "data.example.com/v1",
            "kind": "DataSource",
            "metadata": {"name": "a", "namespace": "n"},
            "spec": {"tool": "finder"},
        }
    )
    assert [str(reference) for reference in kind.references_of(source)] == ["Tool n/finder"]


def test_the_structure_is_that_of_the_schema() -> None:
    [kind] = kinds_of(definition())
    structure = load(kind.structure)
    pruned, dropped = structure.prune({"apiVersion": "data.example.com/v1", "spec": {"url": "a", "ulr": "b"}})
    assert pruned["spec"] == {"url": "a"}
    assert [problem.path for problem in dropped] == ["spec.ulr"]


def test_a_kind_is_made_without_reading_its_schema() -> None:
    resource = definition(versions=[version(schema={"openAPIV3Schema": {"type": "object", "properties": 5}})])
    [kind] = kinds_of(resource)
    assert kind.kind == "DataSource"


def test_two_hundred_definitions_become_kinds_at_once() -> None:
    columns = [{"name": f"c{i}", "type": "string", "jsonPath": f".spec.c{i}"} for i in range(5)]
    resources = [definition(versions=[version(additionalPrinterColumns=columns)]) for _ in range(200)]
    kinds_of(resources[0])
    start = time.perf_counter()
    for resource in resources:
        kinds_of(resource)
    assert time.perf_counter() - start < 0.1


def test_making_a_kind_imports_nothing_heavy() -> None:
    code = (
        "import sys, json; from kastra_core.api.meta import Resource\n"
        "from kastra_plugin_crd.definition import kinds_of\n"
        "kinds_of(Resource.from_manifest(json.loads(sys.stdin.read())))\n"
        "heavy = {'jsonschema_rs', 're2', 'cel_expr_python', 'cattrs', 'asyncio', 'kastra_core.cel'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(manifest()), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_versions_are_sorted_as_in_kubernetes() -> None:
    expected = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert sorted(set(expected), key=by_priority) == expected


def test_a_definition_is_read_with_its_defaults() -> None:
    read = read_definition(manifest()["spec"])
    assert (read.names.singular, read.names.list_kind) == ("datasource", "DataSourceList")
    assert read.storage is read.versions[0]


# ------------------------------------------------------------------------------------------------- its own schema


def test_the_schema_of_definitions_is_structural() -> None:
    structural, problems = read_schema(SCHEMA, "s")
    assert problems == []
    assert structural_problems(structural, "s") == []


def test_every_field_of_a_definition_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
        if not schema.get("description") and not path.endswith("[]"):
            yield path
        for name, below in schema.get("properties", {}).items():
            yield from undescribed(below, f"{path}.{name}")
        if "items" in schema:
            yield from undescribed(schema["items"], f"{path}[]")

    assert list(undescribed(SCHEMA, "")) == []


def test_unknown_fields_of_a_definition_are_dropped_and_told() -> None:
    given = manifest(colour="red", versions=[version(serve=True)])
    given["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-order"] = 1
    before = copy.deepcopy(given)
    pruned, dropped = STRUCTURE.prune(given)
    assert sorted(problem.path for problem in dropped) == [
        "spec.colour",
        "spec.versions[0].schema.openAPIV3Schema.x-order",
        "spec.versions[0].serve",
    ]
    assert pruned == manifest()
    assert given == before


def test_what_follows_from_other_names_is_filled_in() -> None:
    given = manifest()
    filled = STRUCTURE.default(given)
    assert filled["spec"]["names"] == names(singular="datasource", listKind="DataSourceList")
    assert filled["spec"]["conversion"] == {"strategy": "None"}
    assert given == manifest()
    assert STRUCTURE.default(filled) == filled


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"versions": {}}, "spec.versions"),
        ({"versions": [1]}, "spec.versions[0]"),
        ({"versions": [version(served="yes")]}, "spec.versions[0].served"),
        ({"names": names(shortNames="ds")}, "spec.names.shortNames"),
        ({"group": 5, "name": "x"}, "spec.group"),
        ({"versions": [version(schema={"openAPIV3Schema": []})]}, "spec.versions[0].schema.openAPIV3Schema"),
    ],
)
def test_fields_of_a_definition_have_types(given: dict[str, Any], path: str) -> None:
    filled = STRUCTURE.default(STRUCTURE.prune(manifest(**given))[0])
    assert facts(list(STRUCTURE.validate(filled))) == [(path, "TypeInvalid")]


# ------------------------------------------------------------------------------------------------------ the corpus


def corpus() -> list[Path]:
    if not CORPUS.is_dir():
        return []
    # The largest ones say nothing here that the others do not.
    return sorted(path for path in CORPUS.glob("*/crd/*.yaml") if path.stat().st_size < 60_000)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")
def test_real_definitions_have_the_verdict_of_an_apiserver() -> None:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    expected = json.loads((CORPUS / "expected.json").read_text("utf-8"))
    differing: dict[str, Any] = {}
    for path in corpus():
        known = expected[str(path.relative_to(CORPUS))]
        [document] = [one for one in yaml.load_all(path.read_text("utf-8"), loader) if one]
        document.pop("status", None)
        pruned, dropped = STRUCTURE.prune(json.loads(json.dumps(document, default=str)))
        filled = STRUCTURE.default(pruned)
        found = facts([*STRUCTURE.validate(filled), *validate(Resource.from_manifest(filled))])
        causes = [(field, reason.removeprefix("FieldValue")) for reason, field, *_ in known.get("causes", ())]
        if found != causes or len(dropped) != known["warnings"]:
            differing[path.name] = (found, causes, dropped)
    assert differing == {}
