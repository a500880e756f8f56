"""Resources that may not refer to each other in a circle, with kinds of this test's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.circles import circles
from kastra_core.api.kind import Embedded, ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import Decoded
from kastra_core.errors import ValidationError
from kastra_core.includes import decode_documents
from kastra_core.manifests import parse
from kastra_core.memory_store import MemoryStore
from kastra_core.resources import ResourceClient

GROUP = "acme.example"


def _references(resource: Resource) -> list[Reference]:
    return [
        Reference(kind=kind, group=GROUP, namespace="default", name=name, path=f"spec.{field}[{index}]")
        for field, kind in (("rings", "Ring"), ("others", "Other"))
        for index, name in enumerate(resource.spec.get(field, []))
    ]


def _embedded(resource: Resource) -> list[Embedded]:
    return [
        Embedded(
            path=f"spec.inside[{index}]",
            manifest={"apiVersion": f"{GROUP}/v1", "kind": "Ring", "metadata": {"name": name}, "spec": {"rings": refs}},
        )
        for index, (name, refs) in enumerate(resource.spec.get("inside", {}).items())
    ]


RING = ResourceKind(kind="Ring", plural="rings", group=GROUP, references=_references, acyclic=True)
OTHER = ResourceKind(kind="Other", plural="others", group=GROUP, references=_references, embedded=_embedded)


@pytest.fixture
def client() -> ResourceClient:
    registry = KindRegistry()
    registry.register(RING)
    registry.register(OTHER)
    return ResourceClient(MemoryStore(), registry)


def one(client: ResourceClient, name: str, *rings: str, kind: str = "Ring", **spec: Any) -> Decoded:
    return client.decode(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {**({"rings": list(rings)} if rings else {}), **spec},
        }
    )


async def refused(client: ResourceClient, *items: Decoded) -> Sequence[tuple[str, str, str]]:
    before = (await client.store.resources.list("", "")).items
    for dry_run in (True, False):
        with pytest.raises(ValidationError) as caught:
            await client.apply(items, dry_run=dry_run)
    assert (await client.store.resources.list("", "")).items == before, "something was written"
    return [(problem.resource, problem.path, problem.message) for problem in caught.value.problems]


async def test_a_resource_that_refers_to_itself_is_refused(client: ResourceClient) -> None:
    (found,) = await refused(client, one(client, "a", "b", "a"))
    assert found == ("Ring default/a", "spec.rings[1]", "Ring default/a would refer to itself")


async def test_a_circle_within_an_apply_is_spelled_out_once_and_nothing_is_written(client: ResourceClient) -> None:
    items = [one(client, "free"), one(client, "a", "b"), one(client, "b", "free", "c"), one(client, "c", "a")]
    (found,) = await refused(client, *items)
    way = "Ring default/a -> Ring default/b -> Ring default/c -> Ring default/a"
    assert found == ("Ring default/a", "spec.rings[0]", f"a circle of references: {way}")


async def test_a_circle_through_what_is_stored_is_refused(client: ResourceClient) -> None:
    await client.apply([one(client, "b", "c"), one(client, "c", "a")])
    (found,) = await refused(client, one(client, "a", "b"))
    assert found[2].endswith("Ring default/a -> Ring default/b -> Ring default/c -> Ring default/a")
    await client.apply([one(client, "c"), one(client, "a", "b")])  # mended in the same apply


async def test_a_field_that_stays_because_another_set_it_closes_a_circle(client: ResourceClient) -> None:
    await client.apply([one(client, "a", "b")], manager="first")
    with pytest.raises(ValidationError, match="circle"):
        await client.apply([one(client, "a", label="x"), one(client, "b", "a")], manager="second")


async def test_what_is_missing_and_other_kinds_close_no_circle(client: ResourceClient) -> None:
    ring, other = one(client, "a", "missing", others=["o"]), one(client, "o", "a", kind="Other")
    assert [item.outcome for item in await client.apply([ring, other])] == ["created", "created"]


async def test_a_circle_that_is_stored_already_holds_nobody_else_up(client: ResourceClient) -> None:
    applied = await client.apply([one(client, "a", "b"), one(client, "b", "x")])
    await client.update(applied[1].resource.evolve(spec={"rings": ["a"]}))
    await client.apply([one(client, "user", "a")])
    await client.apply([one(client, "b")])
    await client.apply([one(client, "a", "b")])


async def test_a_circle_of_what_is_inside_a_resource_is_told_with_the_path_in_it(client: ResourceClient) -> None:
    await client.apply([one(client, "c", "a")])
    outer = one(client, "o", kind="Other", inside={"a": ["b"], "b": ["c"]})
    (found,) = await refused(client, outer)
    assert found[:2] == ("Other default/o", "spec.inside[0].spec.rings[0]")


def test_a_circle_within_files_is_found_without_a_store(client: ResourceClient) -> None:
    text = "\n---\n".join(
        f"apiVersion: acme.example/v1\nkind: Ring\nmetadata: {{name: {name}}}\nspec:\n  rings:\n  - {other}"
        for name, other in (("a", "b"), ("b", "a"), ("c", "gone"))
    )
    with pytest.raises(ValidationError) as caught:
        decode_documents(client.registry, parse(text, "rings.yaml"))
    (problem,) = caught.value.problems
    assert str(problem).startswith("rings.yaml:6:5: Ring default/a: spec.rings[0]: a circle of references: ")


def test_a_circle_of_what_is_inside_is_placed_in_the_file_of_the_whole(client: ResourceClient) -> None:
    text = "apiVersion: acme.example/v1\nkind: Other\nmetadata: {name: o}\nspec:\n  inside:\n    a: [b]\n    b: [a]\n"
    with pytest.raises(ValidationError) as caught:
        decode_documents(client.registry, parse(text, "whole.yaml"))
    (problem,) = caught.value.problems
    assert str(problem).startswith("whole.yaml:5:3: Other default/o: spec.inside[0].spec.rings[0]: a circle of ref")


def _key(number: int) -> ResourceKey:
    return ResourceKey(GROUP, "Ring", "default", str(number))


def _reaches(edges: Mapping[int, set[int]], start: int) -> bool:
    """Whether a resource leads back to itself, told the plain way."""
    seen: set[int] = set()
    todo = list(edges.get(start, ()))
    while todo:
        current = todo.pop()
        if current == start:
            return True
        if current not in seen:
            seen.add(current)
            todo.extend(edges.get(current, ()))
    return False


@given(
    st.dictionaries(st.integers(0, 6), st.sets(st.integers(0, 6), max_size=3), max_size=7), st.sets(st.integers(0, 6))
)
def test_a_circle_is_told_exactly_when_a_start_leads_back_to_itself(
    edges: dict[int, set[int]], starts: set[int]
) -> None:
    def references(key: ResourceKey) -> list[Reference]:
        targets = sorted(edges.get(int(key.name), ()))
        return [Reference(kind="Ring", group=GROUP, namespace="default", name=str(n)) for n in targets]

    found = circles(map(_key, sorted(starts)), references)
    on_circle = {start for start in starts if _reaches(edges, start)}
    assert bool(found) == bool(on_circle)
    assert {int(key.name) for key, _ in found} <= on_circle
    for start in on_circle:  # its own, or one that was told before
        assert any(f"default/{start}" in problem.message for _, problem in found)


def test_what_leads_to_no_circle_is_looked_at_once() -> None:
    looked: list[ResourceKey] = []

    def references(key: ResourceKey) -> list[Reference]:
        looked.append(key)
        targets = range(int(key.name) + 1, 60)
        return [Reference(kind="Ring", group=GROUP, namespace="default", name=str(n)) for n in targets]

    assert circles(map(_key, range(60)), references) == []
    assert looked == [_key(number) for number in range(60)]
