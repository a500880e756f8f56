"""Whatever is made, applied and deleted in whatever order: what must hold of the stored resources holds."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import ObjectMeta, OwnerReference, Resource, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.memory_store import MemoryStore
from kastra_core.resources import FOREGROUND, ResourceClient

WIDGET = ResourceKind(kind="Widget", plural="widgets")
NAMES = ("a", "b", "c", "d", "e")
names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("make"), names, st.sets(names, max_size=3), st.booleans()),
    st.tuples(st.just("apply"), names, st.sampled_from(("one", "two")), st.integers(0, 2)),
    st.tuples(st.just("status"), names, st.integers(0, 2)),
    st.tuples(st.just("own"), names, st.sets(names, max_size=2)),
    st.tuples(st.just("delete"), names, st.sampled_from(("background", "foreground", "orphan"))),
    st.tuples(st.just("release"), names),
)


class World:
    """The client with a model of each resource: spec by manager, status, and how often spec was edited."""

    def __init__(self) -> None:
        registry = KindRegistry()
        registry.register(WIDGET)
        self.client = ResourceClient(MemoryStore(), registry)
        self.fields: dict[str, dict[str, int]] = {}
        self.status: dict[str, int] = {}
        self.generation: dict[str, int] = {}

    async def get(self, name: str) -> Resource | None:
        return await self.client.get(ResourceKey("mastra.ai", "Widget", "default", name))

    async def all(self) -> list[Resource]:
        return list((await self.client.list(WIDGET)).items)

    async def owners(self, wanted: set[str]) -> tuple[OwnerReference, ...]:
        found = [one for one in await self.all() if one.metadata.name in wanted and not one.metadata.deletion_timestamp]
        return tuple(
            OwnerReference(api_version="mastra.ai/v1", kind="Widget", name=o.metadata.name, uid=o.metadata.uid)
            for o in found
        )

    def born(self, name: str) -> None:
        self.fields[name], self.generation[name] = {}, 1
        self.status.pop(name, None)

    async def make(self, name: str, owners: set[str], held: bool) -> None:
        if await self.get(name) is None:
            meta = ObjectMeta(
                name=name,
                namespace="default",
                owner_references=await self.owners(owners),
                finalizers=("hold",) if held else (),
            )
            await self.client.create(Resource(api_version="mastra.ai/v1", kind="Widget", metadata=meta))
            self.born(name)

    async def apply(self, name: str, manager: str, value: int) -> None:
        before = await self.get(name)
        if before is None:
            self.born(name)
        spec = {manager: value} if value else {}
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
        (done,) = await self.client.apply([self.client.decode(manifest)], manager=manager)
        old = dict(self.fields[name])
        self.fields[name].pop(manager, None)
        self.fields[name].update(spec)
        if before is not None:
            self.generation[name] += old != self.fields[name]
        again = await self.client.apply([self.client.decode(manifest)], manager=manager)
        assert [one.outcome for one in again] == ["unchanged"]
        assert again[0].resource == done.resource

    async def write_status(self, name: str, value: int) -> None:
        resource = await self.get(name)
        if resource is not None:
            await self.client.update_status(resource, {"value": value})
            self.status[name] = value

    async def own(self, name: str, owners: set[str]) -> None:
        resource = await self.get(name)
        if resource is None or resource.metadata.deletion_timestamp:
            return
        had = {owner.uid: owner for owner in resource.metadata.owner_references}
        had.update({owner.uid: owner for owner in await self.owners(owners)})
        await self.client.update(resource.evolve(owner_references=tuple(had.values())))

    async def delete(self, name: str, propagation: str) -> None:
        key = ResourceKey("mastra.ai", "Widget", "default", name)
        await self.client.delete(key, propagation=propagation)

    async def release(self, name: str) -> None:
        resource = await self.get(name)
        if resource is not None and "hold" in resource.metadata.finalizers:
            left = tuple(one for one in resource.metadata.finalizers if one != "hold")
            await self.client.set_finalizers(resource, left)

    async def check(self) -> None:
        there = await self.all()
        uids = {one.metadata.uid for one in there}
        versions = [one.metadata.resource_version for one in there]
        assert len(set(versions)) == len(versions)
        for one in there:
            meta = one.metadata
            assert one.spec == self.fields[meta.name]
            assert one.status.get("value") == self.status.get(meta.name)
            assert meta.generation == self.generation[meta.name]
            assert not meta.deletion_timestamp or meta.finalizers, "deleted, and nothing holds it"
            gone = [owner for owner in meta.owner_references if owner.uid not in uids]
            assert not gone or meta.deletion_timestamp, "its owner is gone, and it is not deleted"
            if meta.finalizers == (FOREGROUND,):
                below = [o for o in there if any(owner.uid == meta.uid for owner in o.metadata.owner_references)]
                assert below, "it waits for dependents that are gone"


@given(st.lists(steps, max_size=14))
@settings(max_examples=150, deadline=None)
def test_any_order_of_writes_leaves_a_sound_store(todo: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        world = World()
        do = {
            "make": world.make, "apply": world.apply, "status": world.write_status, "own": world.own,
            "delete": world.delete, "release": world.release,
        }  # fmt: skip
        for word, *arguments in todo:
            await do[word](*arguments)  # type: ignore[operator]
            await world.check()
        # When nothing is held any more, deleting everything leaves nothing.
        for name in NAMES:
            await world.release(name)
        for name in NAMES:
            await world.delete(name, "background")
            await world.release(name)
        for one in await world.all():
            await world.delete(one.metadata.name, "foreground")
        assert await world.all() == []

    asyncio.run(run())
