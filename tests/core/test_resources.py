"""The pipeline of every write, on a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import ObjectMeta, OwnerReference, Resource, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import AlreadyExistsError, ConflictError, NotFoundError, UserError, ValidationError
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.store import Operation, PutBlob, SetState, UpdateResource
from kastra_core.resources import FOREGROUND, Applied, ResourceClient

WIDGET = ResourceKind(kind="Widget", plural="widgets", list_map_keys={"spec.parts": ("name",)})
REGION = ResourceKind(kind="Region", plural="regions", namespaced=False)


class SlowStore(MemoryStore):
    """Lets other tasks run before each commit, as a database does; ``before_commit`` may write something first."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Sequence[Operation]] = []
        self.before_commit: Any = None

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        await asyncio.sleep(0)
        if self.before_commit is not None:
            hook, self.before_commit = self.before_commit, None
            await hook()
        results = await super().commit(operations)
        self.commits.append(operations)
        return results


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def client(store: SlowStore) -> ResourceClient:
    registry = KindRegistry()
    registry.register(WIDGET)
    registry.register(REGION)
    return ResourceClient(store, registry, clock=lambda: 0.0)


def key(name: str = "w", kind: str = "Widget") -> ResourceKey:
    return ResourceKey("mastra.ai", kind, "" if kind == "Region" else "default", name)


def manifest(name: str = "w", spec: Any = None, kind: str = "Widget", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec or {}}


async def apply(client: ResourceClient, *manifests: dict[str, Any], **options: Any) -> Sequence[Applied]:
    return await client.apply([client.decode(one) for one in manifests], **options)


async def apply_one(client: ResourceClient, *args: Any, manager: str = "kastra", **metadata: Any) -> Applied:
    (done,) = await apply(client, manifest(*args, **metadata), manager=manager)
    return done


async def stored(client: ResourceClient, name: str = "w") -> Resource:
    return await client.require(key(name))


async def made(client: ResourceClient, name: str, *owners: Resource, finalizers: tuple[str, ...] = ()) -> Resource:
    """Create a resource with owners."""
    references = tuple(
        OwnerReference(api_version=o.api_version, kind=o.kind, name=o.metadata.name, uid=o.metadata.uid) for o in owners
    )
    meta = ObjectMeta(name=name, namespace="default", owner_references=references, finalizers=finalizers)
    return await client.create(Resource(api_version="mastra.ai/v1", kind="Widget", metadata=meta))


async def owned(client: ResourceClient, name: str, *owners: Resource) -> Resource:
    """Give an existing resource owners."""
    resource = await stored(client, name)
    references = tuple(
        OwnerReference(api_version=o.api_version, kind=o.kind, name=o.metadata.name, uid=o.metadata.uid) for o in owners
    )
    return await client.update(resource.evolve(owner_references=references))


async def there(client: ResourceClient) -> list[str]:
    return sorted(item.metadata.name for item in (await client.list(WIDGET)).items)


# ------------------------------------------------------------------------------------------ apply


async def test_apply_creates_with_uid_generation_and_time(client: ResourceClient) -> None:
    done = await apply_one(client, "w", {"a": 1}, labels={"app": "k"})
    meta = done.resource.metadata
    assert (done.outcome, meta.generation, meta.creation_timestamp) == ("created", 1, "1970-01-01T00:00:00Z")
    assert meta.uid
    assert meta.resource_version
    assert await stored(client) == done.resource


@pytest.mark.parametrize("metadata", [{}, {"labels": {"app": "k"}, "finalizers": ["a/b"]}])
@pytest.mark.parametrize("spec", [{}, {"a": 1, "parts": [{"name": "x"}], "o": {}}])
async def test_the_same_apply_again_writes_nothing(
    client: ResourceClient, store: SlowStore, spec: Any, metadata: Any
) -> None:
    first = await apply_one(client, "w", spec, **metadata)
    commits = len(store.commits)
    again = await apply_one(client, "w", spec, **metadata)
    assert (again.outcome, again.resource) == ("unchanged", first.resource)
    assert len(store.commits) == commits


async def test_generation_counts_edits_of_spec_alone(client: ResourceClient) -> None:
    await apply_one(client, "w", {"a": 1})
    labelled = (await apply_one(client, "w", {"a": 1}, labels={"x": "y"})).resource
    assert labelled.metadata.generation == 1
    annotated = await client.update(labelled.evolve(annotations={"x": "y"}))
    assert annotated.metadata.generation == 1
    with_status = await client.update_status(annotated, {"phase": "Ready"})
    assert with_status.metadata.generation == 1
    assert (await client.update(with_status.evolve(spec={"a": 2}))).metadata.generation == 2
    assert (await apply_one(client, "w", {"a": 3}, labels={"x": "y"})).resource.metadata.generation == 3


async def test_true_in_place_of_1_is_an_edit(client: ResourceClient) -> None:
    await apply_one(client, "w", {"a": 1})
    done = await apply_one(client, "w", {"a": True})
    assert (done.outcome, done.resource.spec["a"], done.resource.metadata.generation) == ("configured", True, 2)
    assert (await client.update(done.resource.evolve(spec={"a": 1}))).spec["a"] is not True


async def test_apply_leaves_status_and_unmanaged_fields(client: ResourceClient) -> None:
    resource = (await apply_one(client, "w", {"a": 1})).resource
    resource = await client.update_status(resource, {"phase": "Ready"})
    await client.update(resource.evolve(annotations={"by": "hand"}))
    done = (await apply_one(client, "w", {"a": 2})).resource
    assert (done.status, done.metadata.annotations) == ({"phase": "Ready"}, {"by": "hand"})


async def test_apply_removes_what_its_manager_leaves_out(client: ResourceClient) -> None:
    await apply_one(client, "w", {"a": 1, "b": 2}, labels={"x": "1", "y": "2"})
    done = (await apply_one(client, "w", {"b": 2}, labels={"y": "2"})).resource
    assert (done.spec, done.metadata.labels) == ({"b": 2}, {"y": "2"})


@pytest.mark.parametrize("metadata", [{}, {"finalizers": ["mine/f"]}, {"labels": {"app": "k"}}])
async def test_apply_keeps_finalizers_and_owners_that_controllers_added(
    client: ResourceClient, metadata: dict[str, Any]
) -> None:
    owner = await made(client, "owner")
    resource = (await apply_one(client, "w", {"a": 1}, **metadata)).resource
    own = resource.metadata.finalizers
    resource = await client.set_finalizers(resource, (*own, "controller/f"))
    resource = await owned(client, "w", owner)
    assert (await apply_one(client, "w", {"a": 1}, **metadata)).outcome == "unchanged"
    done = (await apply_one(client, "w", {"a": 2}, **metadata)).resource.metadata
    assert done.finalizers == (*own, "controller/f")
    assert done.owner_references == resource.metadata.owner_references
    bare = (await apply_one(client, "w", {"a": 2})).resource.metadata
    assert bare.finalizers == ("controller/f",)


async def test_two_managers_that_apply_in_turn_come_to_rest(client: ResourceClient) -> None:
    await apply_one(client, "w", {"parts": [{"name": "x"}]}, manager="one")
    await apply_one(client, "w", {"parts": [{"name": "y"}]}, manager="two", labels={"by": "two"})
    assert (await apply_one(client, "w", {"parts": [{"name": "x"}]}, manager="one")).outcome == "unchanged"
    assert (await stored(client)).spec == {"parts": [{"name": "x"}, {"name": "y"}]}


async def test_a_field_conflict_names_field_and_manager_and_writes_nothing(client: ResourceClient) -> None:
    before = await apply_one(client, "w", {"a": 1}, manager="one")
    with pytest.raises(ConflictError, match=r"Widget default/w: other managers own spec\.a \(set by one\)"):
        await apply(client, manifest("other"), manifest("w", {"a": 2}), manager="two")
    assert await stored(client) == before.resource
    assert await there(client) == ["w"]
    (forced,) = await apply(client, manifest("w", {"a": 2}), manager="two", force=True)
    assert forced.resource.spec == {"a": 2}
    with pytest.raises(ConflictError, match="set by two"):
        await apply_one(client, "w", {"a": 1}, manager="one")


async def test_dry_run_tells_and_writes_nothing(client: ResourceClient, store: SlowStore) -> None:
    await apply_one(client, "w", {"a": 1})
    await apply_one(client, "same", {"a": 1})
    commits = len(store.commits)
    done = await apply(client, manifest("w", {"a": 2}), manifest("new"), manifest("same", {"a": 1}), dry_run=True)
    assert [one.outcome for one in done] == ["configured", "created", "unchanged"]
    assert done[0].resource.spec == {"a": 2}
    assert done[0].before is not None
    assert done[0].before.spec == {"a": 1}
    assert len(store.commits) == commits
    assert await there(client) == ["same", "w"]


async def test_twins_in_one_apply_are_refused_and_nothing_is_written(client: ResourceClient) -> None:
    with pytest.raises(ValidationError, match="Widget default/w is there twice"):
        await apply(client, manifest("a"), manifest("w", {"a": 1}), manifest("w", {"a": 2}))
    assert await there(client) == []


async def test_a_large_apply_is_written_in_chunks(client: ResourceClient, store: SlowStore) -> None:
    done = await apply(client, *(manifest(f"w-{number}", {"n": number}) for number in range(1200)))
    assert [len(operations) for operations in store.commits] == [500, 500, 200]
    assert [one.resource.spec["n"] for one in done] == list(range(1200))
    assert len(await there(client)) == 1200
    again = await apply(client, *(manifest(f"w-{n}", {"n": 0 if n == 700 else n}) for n in range(1200)))
    assert [at for at, one in enumerate(again) if one.outcome != "unchanged"] == [700]
    assert len(store.commits) == 4


async def test_a_write_of_another_in_the_middle_of_a_chunk_is_merged(client: ResourceClient, store: SlowStore) -> None:
    names = [f"w-{number}" for number in range(20)]
    await apply(client, *(manifest(name, {"a": 1}) for name in names))

    async def meanwhile() -> None:
        resource = await stored(client, "w-7")
        await client.update(resource.evolve(spec={**resource.spec, "by": "hand"}))
        await client.delete(key("w-9"))
        await made(client, "late")

    store.before_commit = meanwhile
    done = await apply(client, *(manifest(name, {"a": 2}) for name in [*names, "late"]))
    assert all(one.resource.spec["a"] == 2 for one in done)
    assert (await stored(client, "w-7")).spec == {"a": 2, "by": "hand"}
    assert [one.outcome for one in done][9] == "created"
    assert [one.outcome for one in done][20] == "configured"


async def test_apply_gives_up_when_others_always_come_first(client: ResourceClient, store: SlowStore) -> None:
    await apply_one(client, "w", {"a": 0})

    async def meanwhile() -> None:
        resource = await stored(client)
        changed = resource.evolve(annotations={"by": resource.metadata.resource_version})
        await MemoryStore.commit(store, [UpdateResource(changed)])
        store.before_commit = meanwhile

    store.before_commit = meanwhile
    with pytest.raises(ConflictError):
        await apply_one(client, "w", {"a": 1})
    assert (await stored(client)).spec == {"a": 0}


async def test_concurrent_applies_lose_nothing(client: ResourceClient) -> None:
    await apply_one(client, "w")
    await asyncio.gather(
        *(apply_one(client, "w", {f"f{n}": n}, manager=f"m{n}") for n in range(6)),
        *(apply_one(client, f"new-{n % 2}", {f"f{n}": n}, manager=f"m{n}") for n in range(6)),
    )
    assert (await stored(client)).spec == {f"f{n}": n for n in range(6)}
    assert (await stored(client, "new-1")).spec == {"f1": 1, "f3": 3, "f5": 5}


async def test_applying_away_the_last_finalizer_of_a_deleted_resource_frees_it(client: ResourceClient) -> None:
    await apply_one(client, "w", {"a": 1}, finalizers=["x/y"])
    await client.delete(key())
    await apply_one(client, "w", {"a": 1})
    assert await client.get(key()) is None


async def test_extra_top_level_fields_are_merged_too(client: ResourceClient) -> None:
    (first,) = await apply(client, {**manifest(), "data": {"a": 1, "b": 2}})
    (second,) = await apply(client, {**manifest(), "data": {"a": 1}})
    assert (first.resource.metadata.generation, second.resource.metadata.generation) == (1, 2)
    assert second.resource.extra == {"data": {"a": 1}}


# ------------------------------------------------------------------------------------------ create, update, status


async def test_create_refuses_what_is_there(client: ResourceClient) -> None:
    await made(client, "w")
    with pytest.raises(AlreadyExistsError, match="Widget default/w already exists"):
        await made(client, "w")


async def test_update_with_an_old_resource_version_is_a_conflict(client: ResourceClient) -> None:
    old = await made(client, "w")
    new = await client.update(old.evolve(spec={"a": 1}))
    with pytest.raises(ConflictError):
        await client.update(old.evolve(spec={"a": 2}))
    assert (await client.update(old.evolve(spec={"a": 3}, resource_version=""))).spec == {"a": 3}
    assert new.metadata.resource_version != old.metadata.resource_version


async def test_update_does_not_write_status_and_a_no_op_writes_nothing(
    client: ResourceClient, store: SlowStore
) -> None:
    resource = await client.update_status(await made(client, "w"), {"phase": "Ready"})
    commits = len(store.commits)
    assert (await client.update(resource.evolve(status={"phase": "Broken"}))).status == {"phase": "Ready"}
    assert await client.update_status(resource, {"phase": "Ready"}) is resource
    assert len(store.commits) == commits


async def test_update_of_a_missing_resource_names_the_nearest(client: ResourceClient) -> None:
    missing = (await made(client, "widget-one")).evolve(name="widget-two")
    with pytest.raises(NotFoundError, match="did you mean 'Widget default/widget-one'"):
        await client.update(missing)


@pytest.mark.parametrize("what", ["Run default/nosuch", "plugin nosuch", "nosuch"])
def test_a_name_is_not_near_another_because_of_their_kind_and_namespace(what: str) -> None:
    place = what.removesuffix("nosuch")
    assert str(NotFoundError(what, [place + "k5"])) == f"{what} not found"
    assert str(NotFoundError(what, [place + "k5", place + "no-such"])).endswith(f"did you mean '{place}no-such'?")


async def test_update_status_changes_nothing_else(client: ResourceClient) -> None:
    before = (await apply_one(client, "w", {"a": 1}, labels={"x": "y"})).resource
    after = await client.update_status(before, {"phase": "Ready"})
    assert after.evolve(status={}, resource_version=before.metadata.resource_version) == before
    with pytest.raises(ConflictError):
        await client.update_status(before, {"phase": "Old"})


async def test_of_many_who_count_with_optimistic_concurrency_nobody_is_lost(client: ResourceClient) -> None:
    await apply_one(client, "w", {"count": 0})
    conflicts = 0

    async def count() -> None:
        nonlocal conflicts
        while True:
            resource = await stored(client)
            await asyncio.sleep(0)
            try:
                await client.update(resource.evolve(spec={"count": resource.spec["count"] + 1}))
            except ConflictError:
                conflicts += 1
            else:
                return

    await asyncio.gather(*(count() for _ in range(20)))
    resource = await stored(client)
    assert (resource.spec["count"], resource.metadata.generation) == (20, 21)
    assert conflicts


async def test_updates_without_a_resource_version_are_tried_again(client: ResourceClient) -> None:
    base = (await made(client, "w")).evolve(resource_version="")
    await asyncio.gather(*(client.update(base.evolve(spec={"by": n})) for n in range(5)))
    assert (await stored(client)).metadata.generation == 6


# ------------------------------------------------------------------------------------------ finalizers


async def test_a_finalizer_holds_a_deletion_back_until_it_is_gone(client: ResourceClient) -> None:
    await made(client, "w", finalizers=("a", "b"))
    marked = await client.delete(key())
    assert marked is not None
    assert marked.metadata.deletion_timestamp == "1970-01-01T00:00:00Z"
    assert (await client.delete(key())) == marked  # a second delete changes nothing
    left = await client.set_finalizers(marked, ("b",))
    assert await there(client) == ["w"]
    await client.set_finalizers(left, ())
    assert await there(client) == []


async def test_an_update_that_takes_the_last_finalizer_away_frees_the_resource(client: ResourceClient) -> None:
    await made(client, "w", finalizers=("a",))
    marked = await client.delete(key())
    assert marked is not None
    await client.update(marked.evolve(finalizers=()))
    assert await there(client) == []


async def test_finalizers_are_written_on_the_state_that_was_read(client: ResourceClient) -> None:
    resource = await made(client, "w")
    await client.update_status(resource, {"phase": "Ready"})
    with pytest.raises(ConflictError):
        await client.set_finalizers(resource, ("a",))


# ------------------------------------------------------------------------------------------ deletion


async def test_deleting_what_is_not_there_gives_none(client: ResourceClient) -> None:
    assert await client.delete(key()) is None


async def test_a_delete_may_name_uid_and_resource_version(client: ResourceClient) -> None:
    resource = await made(client, "w")
    for wrong in ({"uid": "other"}, {"resource_version": "999"}):
        with pytest.raises(ConflictError):
            await client.delete(key(), **wrong)
    meta = resource.metadata
    assert await client.delete(key(), uid=meta.uid, resource_version=meta.resource_version) == resource


async def test_an_unknown_propagation_is_an_error(client: ResourceClient) -> None:
    await made(client, "w")
    with pytest.raises(UserError, match="'forground' is none of background, foreground, orphan"):
        await client.delete(key(), propagation="forground")
    assert await there(client) == ["w"]


@pytest.mark.parametrize("propagation", ["background", "foreground"])
async def test_a_chain_of_dependents_goes_with_its_owner(client: ResourceClient, propagation: str) -> None:
    a = await made(client, "a")
    b = await made(client, "b", a)
    await made(client, "c", b)
    await made(client, "stranger")
    await client.delete(key("a"), propagation=propagation)
    assert await there(client) == ["stranger"]


async def test_a_background_deletion_is_one_commit(client: ResourceClient, store: SlowStore) -> None:
    a = await made(client, "a")
    for number in range(3):
        await made(client, f"b{number}", await made(client, f"m{number}", a))
    commits = len(store.commits)
    await client.delete(key("a"))
    assert len(store.commits) == commits + 1


async def test_orphans_stay_without_the_owner(client: ResourceClient) -> None:
    a, other = await made(client, "a"), await made(client, "other")
    b = await made(client, "b", a, other)
    await made(client, "c", b)
    await client.delete(key("a"), propagation="orphan")
    assert await there(client) == ["b", "c", "other"]
    assert [owner.name for owner in (await stored(client, "b")).metadata.owner_references] == ["other"]


async def test_a_resource_that_owns_itself_can_be_orphaned_away(client: ResourceClient) -> None:
    a = await made(client, "a")
    await made(client, "b", a)
    itself = OwnerReference(api_version=a.api_version, kind=a.kind, name="a", uid=a.metadata.uid)
    await client.update((await stored(client, "a")).evolve(owner_references=(itself,)))
    await client.delete(key("a"), propagation="orphan")
    assert await there(client) == ["b"]


async def test_an_orphaning_deletion_is_one_commit(client: ResourceClient, store: SlowStore) -> None:
    a = await made(client, "a")
    for number in range(3):
        await made(client, f"b{number}", a)
    commits = len(store.commits)
    await client.delete(key("a"), propagation="orphan")
    assert len(store.commits) == commits + 1


@pytest.mark.parametrize("propagation", ["background", "foreground"])
async def test_a_dependent_goes_with_its_last_owner(client: ResourceClient, propagation: str) -> None:
    a, b = await made(client, "a"), await made(client, "b")
    await made(client, "c", a, b)
    await client.delete(key("a"), propagation=propagation)
    assert await there(client) == ["b", "c"]
    assert [owner.name for owner in (await stored(client, "c")).metadata.owner_references] == ["b"]
    await client.delete(key("b"), propagation=propagation)
    assert await there(client) == []


@pytest.mark.parametrize("propagation", ["background", "foreground"])
async def test_a_diamond_of_owners_goes_whole(client: ResourceClient, propagation: str) -> None:
    top = await made(client, "top")
    left, right = await made(client, "left", top), await made(client, "right", top)
    await made(client, "below", await made(client, "bottom", left, right, top))
    await client.delete(key("top"), propagation=propagation)
    assert await there(client) == []


@pytest.mark.parametrize("propagation", ["background", "foreground"])
@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_circle_of_owners_goes_whole(client: ResourceClient, propagation: str, size: int) -> None:
    ring = [await made(client, f"r{number}") for number in range(size)]
    for number, resource in enumerate(ring):
        await owned(client, f"r{(number + 1) % size}", resource)
    await made(client, "pendant", ring[-1])
    await client.delete(key("r0"), propagation=propagation)
    assert await there(client) == []


async def test_a_circle_with_a_finalizer_waits_for_it(client: ResourceClient) -> None:
    a = await made(client, "a")
    b = await made(client, "b", a, finalizers=("x",))
    await owned(client, "a", b)
    await client.delete(key("a"), propagation="foreground")
    assert await there(client) == ["a", "b"]
    b = await stored(client, "b")
    await client.set_finalizers(b, tuple(name for name in b.metadata.finalizers if name != "x"))
    await client.delete(key("a"), propagation="foreground")
    assert await there(client) == []


async def test_in_the_background_a_dependent_with_a_finalizer_is_marked(client: ResourceClient) -> None:
    a = await made(client, "a")
    await made(client, "b", a, finalizers=("x",))
    await client.delete(key("a"))
    b = await stored(client, "b")
    assert b.metadata.deletion_timestamp
    await client.set_finalizers(b, ())
    assert await there(client) == []


async def test_in_the_foreground_an_owner_waits_for_its_dependents(client: ResourceClient) -> None:
    a = await made(client, "a", finalizers=("own",))
    await made(client, "b", await made(client, "m", a), finalizers=("x",))
    await client.delete(key("a"), propagation="foreground")
    assert await there(client) == ["a", "b", "m"]
    assert (await stored(client, "a")).metadata.finalizers == ("own", FOREGROUND)
    await client.set_finalizers(await stored(client, "b"), ())
    assert await there(client) == ["a"]
    assert (await stored(client, "a")).metadata.finalizers == ("own",)
    await client.set_finalizers(await stored(client, "a"), ())
    assert await there(client) == []


async def test_an_apply_does_not_let_an_owner_go_that_waits_for_its_dependents(client: ResourceClient) -> None:
    owner = (await apply_one(client, "a", {"x": 1}, finalizers=["own"])).resource
    await made(client, "b", owner, finalizers=("x",))
    await client.delete(key("a"), propagation="foreground")
    for spec in ({"x": 1}, {"x": 2}):
        assert FOREGROUND in (await apply_one(client, "a", spec, finalizers=["own"])).resource.metadata.finalizers
    assert (await apply_one(client, "a", {"x": 2})).resource.metadata.finalizers == (FOREGROUND,)
    await client.set_finalizers(await stored(client, "b"), ())
    assert await there(client) == []


async def test_an_owner_in_the_foreground_is_freed_although_its_status_is_written_meanwhile(
    client: ResourceClient, store: SlowStore
) -> None:
    a = await made(client, "a")
    await made(client, "b", a, finalizers=("x",))
    await client.delete(key("a"), propagation="foreground")
    b = await stored(client, "b")

    async def at_the_removal_of_b() -> None:
        store.before_commit = at_the_removal_of_a

    async def at_the_removal_of_a() -> None:
        await client.update_status(await stored(client, "a"), {"phase": "Terminating"})

    store.before_commit = at_the_removal_of_b
    await client.set_finalizers(b, ())
    assert await there(client) == []


async def test_a_dependent_that_changes_meanwhile_does_not_stop_a_deletion(
    client: ResourceClient, store: SlowStore
) -> None:
    a = await made(client, "a")
    b = await made(client, "b", a)

    async def meanwhile() -> None:
        await client.update_status(b, {"phase": "Ready"})
        await made(client, "late", a)

    store.before_commit = meanwhile
    await client.delete(key("a"))
    assert "a" not in await there(client)
    assert "b" not in await there(client)


async def test_a_cluster_scoped_owner_in_the_foreground_goes_after_its_namespaced_dependent(
    client: ResourceClient,
) -> None:
    (region,) = await apply(client, manifest("r", kind="Region"))
    await made(client, "w", region.resource, finalizers=("x",))
    await client.delete(key("r", "Region"), propagation="foreground")
    assert await client.get(key("r", "Region")) is not None
    await client.set_finalizers(await stored(client), ())
    assert await client.get(key("r", "Region")) is None


async def test_operations_of_a_kind_are_in_the_commit_that_removes(store: SlowStore) -> None:
    def more(resource: Resource) -> list[Operation]:
        return [SetState(scope="gone", values={resource.metadata.name: True}), PutBlob(b"x")]

    registry = KindRegistry()
    registry.register(attrs.evolve(WIDGET, deletion=more))
    client = ResourceClient(store, registry)
    a = await made(client, "a", finalizers=("f",))
    await made(client, "b", a)
    await client.delete(key("a"))
    assert await store.state.get_state("gone") == {}
    await client.set_finalizers(await stored(client, "a"), ())
    assert await store.state.get_state("gone") == {"a": True, "b": True}


# ------------------------------------------------------------------------------------------ reading


async def test_require_names_the_nearest(client: ResourceClient) -> None:
    await made(client, "recipe-finder")
    with pytest.raises(NotFoundError, match="did you mean 'Widget default/recipe-finder'"):
        await client.require(key("recipe-findr"))


async def test_a_watch_tells_every_write_in_order(client: ResourceClient) -> None:
    events = client.watch(WIDGET)
    await apply_one(client, "w", {"a": 1})
    await apply_one(client, "w", {"a": 1})
    resource = (await apply_one(client, "w", {"a": 2})).resource
    await client.update_status(resource, {"phase": "Ready"})
    await client.delete(key())
    seen = [await anext(events) for _ in range(4)]
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    versions = [int(event.resource.metadata.resource_version) for event in seen]
    assert versions == sorted(set(versions))


async def test_a_list_ignores_the_namespace_of_a_cluster_scoped_kind(client: ResourceClient) -> None:
    await apply(client, manifest("r", kind="Region"), manifest("w"))
    assert [item.metadata.name for item in (await client.list(REGION, namespace="any")).items] == ["r"]
    assert (await client.list(WIDGET, namespace="any")).items == ()


def test_applied_is_data() -> None:
    resource = Resource(api_version="mastra.ai/v1", kind="Widget", metadata=ObjectMeta(name="w"))
    assert attrs.evolve(Applied(resource, "created"), outcome="unchanged").before is None
