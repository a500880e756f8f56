"""Manifests inside a resource, with kinds of this test's own."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kastra_core.api.kind import Embedded, ResourceKind
from kastra_core.api.meta import Resource
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import Problem, ValidationError
from kastra_core.memory_store import MemoryStore
from kastra_core.resources import ResourceClient


@attrs.frozen(kw_only=True)
class NoteSpec:
    text: str
    size: int = 0


def _embedded(resource: Resource) -> list[Embedded]:
    places = {"metadata": "", "metadata.name": "name", "kind": "", "apiVersion": ""}
    out = []
    for index, entry in enumerate(resource.spec.get("notes", [])):
        manifest = {"apiVersion": "acme.example/v1", "kind": "Note", "metadata": {"name": entry["name"]}}
        out.append(Embedded(path=f"spec.notes[{index}]", manifest={**manifest, "spec": entry["spec"]}, places=places))
    for index, manifest in enumerate(resource.spec.get("whole", [])):
        out.append(Embedded(path=f"spec.whole[{index}]", manifest=manifest))
    return out


def _no_zero(resource: Resource) -> list[Problem]:
    return [Problem("zero", "spec.zero")] if resource.spec.get("zero") else []


BOX = ResourceKind(kind="Box", plural="boxes", group="acme.example", embedded=_embedded, validate=_no_zero)
NOTE = ResourceKind(kind="Note", plural="notes", group="acme.example", spec_type=NoteSpec)
CITY = ResourceKind(kind="City", plural="cities", group="acme.example", namespaced=False)


@pytest.fixture
def registry() -> KindRegistry:
    found = KindRegistry()
    for kind in (BOX, NOTE, CITY):
        found.register(kind)
    return found


def manifest(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "acme.example/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def box(*notes: tuple[str, dict[str, Any]], whole: list[Any] | None = None, **spec: Any) -> dict[str, Any]:
    entries = [{"name": name, "spec": inner} for name, inner in notes]
    return manifest("Box", "b", {"notes": entries, "whole": whole or [], **spec}, namespace="attic")


def problems(registry: KindRegistry, given: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        decode(registry, given)
    assert {problem.resource for problem in caught.value.problems} == {"Box attic/b"}
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_what_is_inside_is_decoded_in_the_namespace_of_the_resource(registry: KindRegistry) -> None:
    whole = [manifest("Box", "inner", {"notes": [{"name": "deep", "spec": {"text": "x"}}]})]
    decoded = decode(registry, box(("a", {"text": "x"}), whole=whole))
    keys = [str(one.resource.key) for one, _ in decoded.all()]
    assert keys == ["Box attic/b", "Note attic/a", "Box attic/inner", "Note attic/deep"]
    paths = [outer("spec.text") for _, outer in decoded.all()]
    assert paths == [
        "spec.text",
        "spec.notes[0].spec.text",
        "spec.whole[0].spec.text",
        "spec.whole[0].spec.notes[0].spec.text",
    ]


def test_problems_inside_bear_the_path_in_the_resource_and_come_with_its_own(registry: KindRegistry) -> None:
    given = box(("a", {"text": 1}), ("B", {"txt": "x"}), whole=[manifest("Note", "c", {"text": 2})], zero=True)
    found = problems(registry, given)
    assert [path for path, _ in found] == [
        "spec.zero",
        "spec.notes[0].spec.text",
        "spec.notes[1].name",
        "spec.notes[1].spec.text",
        "spec.notes[1].spec.txt",
        "spec.whole[0].spec.text",
    ]


def test_a_kind_that_nobody_offers_is_told_at_the_entry(registry: KindRegistry) -> None:
    registry.unregister("acme.example", "Note")
    ((path, message),) = problems(registry, box(("a", {"text": "x"})))
    assert (path, message) == ("spec.notes[0]", "no plugin or definition offers the kind 'Note'")
    ((path, message),) = problems(registry, box(whole=[{"kind": "Unheard", "apiVersion": "acme.example/v1"}]))
    assert (path, message) == ("spec.whole[0].kind", "no plugin or definition offers the kind 'Unheard'")


def test_what_lives_elsewhere_cannot_be_inside(registry: KindRegistry) -> None:
    elsewhere = manifest("Note", "a", {"text": "x"}, namespace="cellar")
    here = manifest("Note", "b", {"text": "x"}, namespace="attic")
    found = problems(registry, box(whole=[elsewhere, here, manifest("City", "c", {})]))
    assert [path for path, _ in found] == ["spec.whole[0].metadata.namespace", "spec.whole[2].kind"]
    assert "'cellar'" in found[0][1]
    assert "cluster-scoped" in found[1][1]


def test_a_name_inside_is_there_once_and_is_not_the_resource_itself(registry: KindRegistry) -> None:
    nested = manifest("Box", "inner", {"notes": [{"name": "a", "spec": {"text": "x"}}]})
    found = problems(
        registry, box(("a", {"text": "x"}), ("a", {"text": "y"}), whole=[nested, manifest("Box", "b", {})])
    )
    assert found == [
        ("spec.notes[1].name", "Note attic/a is there twice"),
        ("spec.whole[0].spec.notes[0].name", "Note attic/a is there twice"),
        ("spec.whole[1].metadata.name", "Box attic/b would be inside itself"),
    ]


def test_notes_of_what_is_inside_are_passed_on(registry: KindRegistry) -> None:
    inner = {**manifest("Note", "c", {"text": "x"}), "status": {"phase": "Ready"}}
    assert decode(registry, box(whole=[inner])).notes == ("spec.whole[0]: status is ignored: controllers write it",)


@pytest.mark.parametrize("twin", ["Note", "Box"])
async def test_an_apply_refuses_a_resource_that_is_given_and_inside_another(registry: KindRegistry, twin: str) -> None:
    client = ResourceClient(MemoryStore(), registry)
    first = client.decode(box(("a", {"text": "x"})))
    if twin == "Note":
        second = client.decode(manifest("Note", "a", {"text": "x"}, namespace="attic"))
    else:
        second = client.decode({**box(("a", {"text": "x"})), "metadata": {"name": "other", "namespace": "attic"}})
    with pytest.raises(ValidationError, match="Note attic/a is there twice"):
        await client.apply([first, second])
    assert await client.get(first.resource.key) is None


@pytest.mark.parametrize(
    ("path", "outer"),
    [
        ("", "spec.a[0]"),
        ("metadata.name", "spec.a[0].name"),
        ("metadata.name.x", "spec.a[0].name.x"),
        ("metadata.names", "spec.a[0].names"),
        ("metadata[1]", "spec.a[0][1]"),
        ("spec.text", "spec.a[0].spec.text"),
        ("extra", "spec.a[0].extra"),
        ("list[2].x", "spec.a[0].what[2].x"),
    ],
)
def test_the_path_in_the_resource_is_that_of_the_longest_place_that_fits(path: str, outer: str) -> None:
    places = {"metadata": "", "metadata.name": "name", "list": "what"}
    assert Embedded(path="spec.a[0]", manifest={}, places=places).outer(path) == outer
