"""From a manifest to a validated resource, or to all that is wrong with it."""

# ruff: noqa: E501 - tables of cases read better in long lines
from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import OwnerReference, Resource
from kastra_core.api.registry import KindRegistry
from kastra_core.builtin import EVENT, RUN
from kastra_core.decoding import Decoded, decode
from kastra_core.errors import Problem, ValidationError

Json = dict[str, Any]


@attrs.frozen(kw_only=True)
class WidgetSpec:
    size: int = 1
    label: str = ""
    extra: Any = None


def no_thirteen(resource: Resource) -> Iterable[Problem]:
    if resource.spec.get("size") == 13:
        yield Problem("13 brings bad luck", "spec.size", hint="take 12")


def with_label(manifest: Json) -> Json:
    return {**manifest, "spec": {"label": "none", **manifest.get("spec", {})}}


def from_v0(manifest: Json) -> Json:
    return {**manifest, "spec": {"size": manifest["spec"]["sizes"][0]}}


class BagStructure:
    """Takes an object ``data``, with a field ``size``, 1 when it is not given, and a list of objects that have one."""

    schema: Json = {"type": "object", "properties": {"data": {"type": "object"}}}  # noqa: RUF012 - nobody writes it

    def prune(self, given: Json) -> tuple[Json, list[Problem]]:
        dropped = [Problem("unknown field 'odd'", "odd")] if "odd" in given else []
        return {key: value for key, value in given.items() if key != "odd"}, dropped

    def default(self, given: Json) -> Json:
        data = given.get("data")
        if not isinstance(data, dict):
            return given
        items = [{"size": 1, **item} for item in data.get("items", ())]
        return {**given, "data": {"size": 1, **data, **({"items": items} if items else {})}}

    def validate(self, given: Json, old: Json | None = None) -> list[Problem]:
        if not isinstance(given.get("data"), dict):
            return [Problem("expected an object", "data")]
        shrunk = old is not None and given["data"]["size"] < old["data"]["size"]
        return [Problem("a bag does not shrink", "data.size")] if shrunk else []


WIDGET = ResourceKind(kind="Widget", plural="widgets", spec_type=WidgetSpec, validate=no_thirteen)
CLUSTER = ResourceKind(kind="Region", plural="regions", namespaced=False)
LABELLED = ResourceKind(
    kind="Labelled", plural="labelled", version="v1", spec_type=WidgetSpec, default=with_label, conversions={"v0": from_v0}
)  # fmt: skip
BAG = ResourceKind(kind="Bag", plural="bags", group="acme.example", structure=BagStructure())


def registry() -> KindRegistry:
    found = KindRegistry()
    for kind in (WIDGET, CLUSTER, LABELLED, BAG):
        found.register(kind)
    return found


REGISTRY = registry()


def manifest(spec: Any = None, kind: str = "Widget", api: str = "mastra.ai/v1", **metadata: Any) -> Json:
    out = {"apiVersion": api, "kind": kind, "metadata": {"name": "w", **metadata}}
    return out if spec is None else {**out, "spec": spec}


def good(data: Any, **options: Any) -> Decoded:
    before = copy.deepcopy(data)
    found = decode(REGISTRY, data, **options)
    assert data == before, "decode changed the manifest"
    return found


def problems(data: Any, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        decode(REGISTRY, data, **options)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def only(data: Any) -> Problem:
    with pytest.raises(ValidationError) as caught:
        decode(REGISTRY, data)
    (problem,) = caught.value.problems
    return problem


# ------------------------------------------------------------------------------------------ what is good


def test_a_manifest_becomes_a_resource_with_its_kind() -> None:
    found = good(
        manifest(
            {"size": 2},
            namespace="n",
            labels={"app": "k", "acme.example/x": ""},
            annotations={"anything": "goes: here"},
            finalizers=["acme.example/f", "acme.example/f"],
            ownerReferences=[{"apiVersion": "mastra.ai/v1", "kind": "Widget", "name": "o", "uid": "u", "controller": True}],
        )
    )  # fmt: skip
    meta = found.resource.metadata
    assert str(found.resource.key) == "Widget n/w"
    assert (found.kind, found.notes, found.resource.spec) == (WIDGET, (), {"size": 2})
    assert (meta.labels, meta.annotations) == ({"app": "k", "acme.example/x": ""}, {"anything": "goes: here"})
    assert meta.finalizers == ("acme.example/f",)
    assert meta.owner_references == (
        OwnerReference(api_version="mastra.ai/v1", kind="Widget", name="o", uid="u", controller=True),
    )


def test_tuples_of_a_program_are_lists() -> None:
    assert good(manifest({"extra": (1, (2,))})).resource.spec == {"extra": [1, [2]]}


@pytest.mark.parametrize("namespace", [None, ""])
def test_a_missing_namespace_is_the_callers(namespace: str | None) -> None:
    assert good(manifest(namespace=namespace), namespace="mine").resource.metadata.namespace == "mine"


def test_a_cluster_scoped_resource_has_no_namespace() -> None:
    assert good(manifest(kind="Region"), namespace="mine").resource.metadata.namespace == ""
    assert problems(manifest(kind="Region", namespace="n")) == [
        ("metadata.namespace", "Region is cluster-scoped and has no namespace")
    ]


@pytest.mark.parametrize("spec", [None, {}])
def test_an_empty_spec_is_an_empty_object(spec: Any) -> None:
    assert good({**manifest(), "spec": spec}).resource.spec == {}


@pytest.mark.parametrize("api", ["mastra/v1", "mastra.ai/v1alpha1"])
def test_old_api_versions_are_read_as_the_new_with_a_note(api: str) -> None:
    found = good(manifest({"size": 2}, api=api))
    assert found.resource.api_version == "mastra.ai/v1"
    assert found.notes == (f"apiVersion {api} is an old spelling of mastra.ai/v1",)


def test_an_older_version_is_converted_then_defaulted() -> None:
    found = good(manifest({"sizes": [7]}, kind="Labelled", api="mastra.ai/v0"))
    assert found.resource.spec == {"size": 7}
    assert found.filled == found.resource.evolve(spec={"size": 7, "label": "none"})
    assert found.resource.api_version == "mastra.ai/v1"


def test_defaults_that_change_nothing_are_none() -> None:
    assert good(manifest({"label": "own"}, kind="Labelled")).filled is None


def test_status_is_ignored_with_a_note() -> None:
    found = good({**manifest(), "status": {"phase": "Ready"}})
    assert found.resource.status == {}
    assert found.notes == ("status is ignored: controllers write it",)


def test_metadata_that_kastra_sets_is_ignored_with_a_note() -> None:
    found = good(manifest(uid="u", resourceVersion="5", generation=3, creationTimestamp="2024-01-01T00:00:00Z"))
    meta = found.resource.metadata
    assert (meta.uid, meta.resource_version, meta.generation, meta.creation_timestamp) == ("", "", 0, "")
    assert found.notes == (
        "metadata.creationTimestamp, metadata.generation, metadata.resourceVersion, metadata.uid ignored: Kastra sets it",
    )  # fmt: skip


def bag(**fields: Any) -> Json:
    return {**manifest(kind="Bag", api="acme.example/v1"), **fields}


def test_a_kind_that_a_schema_describes_keeps_other_top_level_fields() -> None:
    assert good(bag(data={"k": 1})).resource.extra == {"data": {"k": 1}}
    assert problems(bag()) == [("data", "expected an object")]


def test_defaults_of_a_schema_are_beside_what_is_written_but_within_lists() -> None:
    found = good(bag(data={"k": 1, "items": [{}, {"size": 2}]}))
    assert found.resource.extra == {"data": {"k": 1, "items": [{"size": 1}, {"size": 2}]}}
    assert found.filled is not None
    assert found.filled.extra == {"data": {"size": 1, "k": 1, "items": [{"size": 1}, {"size": 2}]}}
    assert good(bag(data={"size": 1})).filled is None


def test_fields_that_a_schema_does_not_know_are_dropped_with_a_note_or_refused_or_dropped() -> None:
    odd = bag(data={}, odd=1)
    found = good(odd)
    assert (found.resource.extra, found.notes) == ({"data": {}}, ("odd: unknown field 'odd' (dropped)",))
    assert problems(odd, unknown_fields="strict") == [("odd", "unknown field 'odd'")]
    for how, told in (("warn", ["odd"]), ("strict", []), ("ignore", [])):
        with pytest.raises(ValidationError) as caught:
            decode(REGISTRY, bag(odd=1), unknown_fields=how)
        assert [problem.path for problem in caught.value.dropped] == told
    assert good(odd, unknown_fields="ignore").notes == ()
    placed = good(odd, place=lambda problem: problem.at(file="a.yaml", line=7))
    assert placed.notes == ("a.yaml:7: odd: unknown field 'odd' (dropped)",)


def test_status_is_no_matter_of_a_schema() -> None:
    found = good(bag(data={}, status={"phase": "Ready"}))
    assert (found.resource.status, found.notes) == ({}, ("status is ignored: controllers write it",))


class OldBagStructure(BagStructure):
    """The same with the field ``content`` in place of ``data``."""

    def validate(self, given: Json, old: Json | None = None) -> list[Problem]:
        return [] if "content" in given else [Problem("expected an object", "content")]


def test_a_manifest_of_another_version_is_checked_as_that_and_then_converted() -> None:
    kind = ResourceKind(
        kind="Bag",
        plural="bags",
        version="v2",
        group="acme.example",
        structure=BagStructure(),
        structures={"v1": OldBagStructure()},
        conversions={
            "v1": lambda given: {("data" if key == "content" else key): value for key, value in given.items()},
            "old.example/v1": lambda given: {**given, "data": given["stuff"]},
        },
        warnings={"v1": "deprecated, use v2"},
    )
    kinds = KindRegistry()
    kinds.register(kind)
    found = decode(kinds, bag(content={"k": 1}))
    assert (found.resource.api_version, found.resource.extra) == ("acme.example/v2", {"data": {"k": 1}})
    assert found.notes == ("apiVersion acme.example/v1: deprecated, use v2",)
    with pytest.raises(ValidationError, match="content: expected an object"):
        decode(kinds, bag(data={}))
    found = decode(kinds, {**bag(stuff={"k": 1}), "apiVersion": "old.example/v1"})
    assert (found.resource.api_version, found.resource.extra["data"]) == ("acme.example/v2", {"k": 1})
    assert found.notes == ("apiVersion old.example/v1 is read as acme.example/v2",)
    assert kind.served_versions == ("acme.example/v2", "acme.example/v1", "old.example/v1")


def test_a_later_change_of_the_manifest_does_not_reach_the_resource() -> None:
    data = manifest({"size": 2, "extra": {"a": [1]}}, labels={"app": "k"})
    found = decode(REGISTRY, data).resource
    data["spec"]["extra"]["a"].append(2)
    data["metadata"]["labels"]["app"] = "z"
    assert (found.spec, found.metadata.labels) == ({"size": 2, "extra": {"a": [1]}}, {"app": "k"})


def test_a_manifest_that_was_changed_is_checked_again() -> None:
    data = manifest({"size": 2})
    decode(REGISTRY, data)
    data["spec"]["size"] = "big"
    assert problems(data) == [("spec.size", "expected an integer, found string 'big'")]


# ------------------------------------------------------------------------------------------ what is wrong

WRONG: list[tuple[Any, list[str]]] = [
    ([], [""]), (None, [""]), ("x", [""]), ({}, ["apiVersion", "kind"]),
    ({"apiVersion": 1, "kind": ""}, ["apiVersion", "kind"]), ({"apiVersion": "mastra.ai/v1"}, ["kind"]),
    (manifest(api="mastra.ai/v9"), ["apiVersion"]), (manifest(api="mastra.io/v1"), ["apiVersion"]),
    (manifest(kind="Wigdet"), ["kind"]),
    ({"apiVersion": "mastra.ai/v1", "kind": "Widget"}, ["metadata"]),
    ({**manifest(), "metadata": []}, ["metadata"]), ({**manifest(), "metadata": {}}, ["metadata.name"]),
    (manifest(name=""), ["metadata.name"]), (manifest(name=5), ["metadata.name"]),
    (manifest(name="Big"), ["metadata.name"]), (manifest(name="-a"), ["metadata.name"]),
    (manifest(name="a-"), ["metadata.name"]), (manifest(name="a..b"), ["metadata.name"]),
    (manifest(name="a_b"), ["metadata.name"]), (manifest(name="a/b"), ["metadata.name"]),
    (manifest(name="a\n"), ["metadata.name"]), (manifest(name="a" * 254), ["metadata.name"]),
    (manifest(namespace=5), ["metadata.namespace"]), (manifest(namespace="a.b"), ["metadata.namespace"]),
    (manifest(namespace="a" * 64), ["metadata.namespace"]), (manifest(namespace="Big"), ["metadata.namespace"]),
    (manifest(lables={}), ["metadata.lables"]), (manifest(zz=1, aa=1), ["metadata.aa", "metadata.zz"]),
    (manifest(labels=[]), ["metadata.labels"]), (manifest(labels=""), ["metadata.labels"]),
    (manifest(labels={"a": 1}), ["metadata.labels.a"]), (manifest(labels={"a": None}), ["metadata.labels.a"]),
    (manifest(labels={"-a": "x"}), ["metadata.labels.-a"]), (manifest(labels={"": "x"}), ["metadata.labels."]),
    (manifest(labels={"/a": "x"}), ["metadata.labels./a"]), (manifest(labels={"B/a": "x"}), ["metadata.labels.B/a"]),
    (manifest(labels={"a/b/c": "x"}), ["metadata.labels.a/b/c"]), (manifest(labels={"a": "x y"}), ["metadata.labels.a"]),
    (manifest(labels={"a": "x" * 64}), ["metadata.labels.a"]),
    (manifest(annotations={"a": True}), ["metadata.annotations.a"]), (manifest(annotations="x"), ["metadata.annotations"]),
    (manifest(finalizers="x"), ["metadata.finalizers"]), (manifest(finalizers=[""]), ["metadata.finalizers"]),
    (manifest(finalizers={}), ["metadata.finalizers"]), (manifest(finalizers=[1]), ["metadata.finalizers"]),
    (manifest(ownerReferences={}), ["metadata.ownerReferences"]),
    (manifest(ownerReferences=[{}, 5]), ["metadata.ownerReferences[0]", "metadata.ownerReferences[1]"]),
    (manifest(ownerReferences=[{"apiVersion": 1, "kind": "K", "name": "n", "uid": "u"}]), ["metadata.ownerReferences[0]"]),
    (manifest(ownerReferences=[{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": "yes"}]),
     ["metadata.ownerReferences[0]"]),
    (manifest([]), ["spec"]), (manifest("x"), ["spec"]), (manifest(5), ["spec"]), (manifest(False), ["spec"]),
    (manifest({"size": "x", "siez": 1}), ["spec.size", "spec.siez"]), (manifest({"size": 13}), ["spec.size"]),
    ({**manifest(), "sepc": {}}, ["sepc"]), ({**manifest({"size": "x"}), "data": {}}, ["data", "spec.size"]),
    (manifest({"size": "x"}, name="Big", labels={"a": 1}), ["metadata.name", "metadata.labels.a", "spec.size"]),
    (manifest({"sizes": []}, kind="Labelled", api="mastra.ai/v0"), [""]),
    (manifest({"extra": 2**70}), ["spec.extra"]), (manifest({"extra": {1: 2}}), ["spec.extra.1"]),
    (manifest({"extra": [{"a": {1, 2}}]}), ["spec.extra[0].a"]),
    (manifest({"extra": [float("inf"), {"b": float("nan")}]}), ["spec.extra[0]", "spec.extra[1].b"]), ({**manifest(), 5: 1}, ["5"]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "paths"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_named_by_its_path(data: Any, paths: list[str]) -> None:
    assert [path for path, _ in problems(data)] == paths


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (manifest(kind="Wigdet"), "did you mean 'Widget'?"), (manifest(api="mastra.io/v1"), "did you mean 'mastra.ai/v1'?"),
        (manifest(api="other/v7"), "served: mastra.ai/v1"), (manifest(lables={}), "did you mean 'labels'?"),
        (manifest(kind="Labelled", api="none/v7"), "served: mastra.ai/v0, mastra.ai/v1"),
        ({**manifest(), "sepc": {}}, "did you mean 'spec'?"), (manifest({"siez": 1}), "did you mean 'size'?"),
        (manifest(annotations={"a": True}), "put it in quotes"), (manifest({"size": 13}), "take 12"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_a_problem_says_how_to_mend_it(data: Any, hint: str) -> None:
    assert only(data).hint == hint


def test_every_problem_says_which_resource() -> None:
    with pytest.raises(ValidationError) as caught:
        decode(REGISTRY, manifest({"size": "x"}, namespace="n", lables={}))
    assert [problem.resource for problem in caught.value.problems] == ["Widget n/w"] * 2
    assert only(manifest({"size": 13})).resource == "Widget default/w"
    assert only({**manifest(), "metadata": None}).resource == "Widget"


def test_rules_of_the_kind_are_asked_only_when_the_structure_is_right() -> None:
    assert problems({**manifest({"size": 13}), "sepc": 1}) == [("sepc", "unknown field 'sepc'")]


def test_nesting_without_end_is_a_problem() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested deeper than" in problems(manifest({"extra": deep}))[0][1]
    while deep:  # take it apart: the interpreter's own way of freeing it is recursive
        deep = deep[0]


# ------------------------------------------------------------------------------------------ any JSON

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
words = st.sampled_from(
    ["mastra.ai/v1", "mastra/v1", "mastra.ai/v0", "acme.example/v1", "Widget", "Region", "Labelled", "Bag", "w", "n"]
)
keys = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "status",
        "data",
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "uid",
        "size",
        "sizes",
        "label",
        "extra",
        "x",
    ]
)
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
nearly = st.fixed_dictionaries(
    {"apiVersion": words, "kind": words, "metadata": st.fixed_dictionaries({"name": st.just("w")}, optional={
        "namespace": anything, "labels": anything, "annotations": anything, "finalizers": anything,
        "ownerReferences": anything, "uid": anything})},
    optional={"spec": anything, "status": anything, "data": anything},
)  # fmt: skip


@given(anything | nearly)
def test_any_json_is_a_resource_or_a_validation_error(data: Any) -> None:
    try:
        found = decode(REGISTRY, data)
    except ValidationError as error:
        found_problems = error.problems
    else:
        again = decode(REGISTRY, found.resource.to_manifest())
        assert (again.resource, again.notes) == (found.resource, ())
        return
    assert found_problems
    assert all(problem.message for problem in found_problems)


@pytest.mark.parametrize("kind", [RUN, EVENT])
def test_what_the_runtime_makes_no_manifest_makes(kind: ResourceKind) -> None:
    registry = KindRegistry()
    registry.register(kind)
    with pytest.raises(ValidationError, match=rf"kind: the runtime makes resources of the kind {kind.kind}"):
        decode(registry, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "r"}})
