"""Kinds that stored resources define: known at once, everywhere, and forgotten with their definitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kastra_core import RuntimeManager, hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Condition, Resource, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.config import Config
from kastra_core.controller import AbstractController, ready_status
from kastra_core.definitions import Definitions, KindsOfDocuments
from kastra_core.errors import UnknownKindError, ValidationError
from kastra_core.includes import decode_manifests
from kastra_core.manifests import parse
from kastra_core.memory_store import MemoryStore
from kastra_core.plugins import PluginManager
from kastra_core.protocols.store import DeleteResource
from kastra_core.registrations import ControllerRegistration
from kastra_core.resources import ResourceClient


def kinds_of(resource: Resource) -> Iterable[ResourceKind]:
    spec = resource.spec
    if spec.get("broken"):
        raise ValueError("nobody can read this")
    closed = "its definition is being deleted" if resource.metadata.deletion_timestamp else ""
    short = tuple(spec.get("shortNames", ()))
    yield ResourceKind(
        kind=spec["kind"], plural=spec["plural"], short_names=short, group="things.example", closed=closed
    )


SHAPE = ResourceKind(kind="Shape", plural="shapes", group="shapes.example", namespaced=False, defines=kinds_of)
PLUGIN_THING = ResourceKind(kind="Taken", plural="takens", group="things.example")


class ThingController(AbstractController):
    kind, group = "Thing", "things.example"

    async def get_desired_state(self, resource: Resource) -> dict[str, Any]:
        return ready_status(resource, [Condition(type="Ready", status="True", reason="Valid")])


class Plugin:
    __name__ = "shapes"

    @hookimpl
    def kastra_resource_kinds(self) -> Iterable[ResourceKind]:
        yield SHAPE
        yield PLUGIN_THING

    @hookimpl
    def kastra_controllers(self) -> Iterable[ControllerRegistration]:
        yield ControllerRegistration(name="thing", kind="Thing", group="things.example", factory=ThingController)


def shape(name: str, kind: str, plural: str = "", **spec: Any) -> dict[str, Any]:
    spec = {"kind": kind, "plural": plural or f"{kind.lower()}s", **spec}
    return {"apiVersion": "shapes.example/v1", "kind": "Shape", "metadata": {"name": name}, "spec": spec}


def thing(name: str, kind: str = "Thing") -> dict[str, Any]:
    return {"apiVersion": "things.example/v1", "kind": kind, "metadata": {"name": name}, "spec": {"x": 1}}


def registry() -> KindRegistry:
    found = KindRegistry()
    found.register(SHAPE, provider="shapes")
    found.register(PLUGIN_THING, provider="shapes")
    return found


def stored(name: str, kind: str, *, at: int, generation: int = 1, **spec: Any) -> Resource:
    manifest = shape(name, kind, **spec)
    manifest["metadata"] |= {"uid": name, "generation": generation, "creationTimestamp": f"2024-01-01T00:00:{at:02}Z"}
    return Resource.from_manifest(manifest)


# ------------------------------------------------------------------------------------------ the registry


def test_kinds_come_change_and_go_with_their_definitions() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    told: list[tuple[str, bool]] = []
    kinds.subscribe(lambda kind, registered: told.append((kind.plural, registered)))
    first = stored("a", "Thing", at=1)
    definitions.learn([first])
    assert kinds.resolve("things").kind == "Thing"
    assert kinds.provider_of(kinds.resolve("thing")) == "Shape a"
    second = stored("a", "Thing", plural="thingies", at=1, generation=2)
    definitions.changed(first, second)
    assert kinds.lookup("things") is None
    assert kinds.resolve("thingies").kind == "Thing"
    definitions.changed(second, None)
    assert kinds.lookup("thingies") is None
    assert told == [("things", True), ("thingies", True), ("thingies", False)]


def test_a_change_of_status_is_no_change_of_the_kind() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    one = stored("a", "Thing", at=1)
    definitions.learn([one])
    before = kinds.resolve("things")
    definitions.changed(one, one.evolve(status={"phase": "Ready"}))
    assert kinds.resolve("things") is before


def test_the_older_definition_has_the_kind_and_the_younger_gets_it_when_it_is_free() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    old, young = stored("old", "Thing", at=1), stored("young", "Thing", plural="others", at=2)
    definitions.learn([young])
    definitions.learn([old])
    assert kinds.provider_of(kinds.resolve("things")) == "Shape old"
    assert (definitions.refusal(young.key), definitions.refusal(old.key)) == ("Shape old", "")
    definitions.changed(old, None)
    assert kinds.provider_of(kinds.resolve("others")) == "Shape young"
    assert definitions.refusal(young.key) == ""


def test_a_plural_is_taken_too() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    definitions.learn([stored("a", "Thing", plural="same", at=1), stored("b", "Other", plural="same", at=2)])
    assert [kind.kind for kind in kinds if kind.plural == "same"] == ["Thing"]


def test_a_short_name_is_taken_too() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    one, two = stored("a", "Thing", shortNames=["t"], at=1), stored("b", "Other", shortNames=["t"], at=2)
    definitions.learn([one, two])
    assert kinds.resolve("t").kind == "Thing"
    assert definitions.refusal(two.key) == "Shape a"
    definitions.changed(one, stored("a", "Thing", at=1, generation=2))
    assert kinds.resolve("t").kind == "Other"


@pytest.mark.parametrize(
    "spec",
    [{"kind": "Taken"}, {"kind": "Fresh", "plural": "takens"}, {"kind": "Fresh", "shortNames": ["other", "taken"]}],
)
def test_no_definition_takes_the_kind_of_a_plugin(spec: Mapping[str, Any]) -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    one = stored("a", at=1, **spec)
    definitions.learn([one])
    assert kinds.resolve("takens") is PLUGIN_THING
    assert definitions.refusal(one.key) == "the plugin shapes"


def test_a_definition_that_cannot_be_read_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    definitions.learn([stored("bad", "Bad", at=1, broken=True), stored("good", "Thing", at=2)])
    assert kinds.resolve("things").kind == "Thing"
    assert "Shape bad defines no kind: nobody can read this" in caplog.text


def test_two_definitions_may_swap_their_plurals() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    definitions.learn([stored("a", "Thing", plural="ones", at=1), stored("b", "Other", plural="twos", at=2)])
    definitions.learn(
        [
            stored("a", "Thing", plural="twos", at=1, generation=2),
            stored("b", "Other", plural="ones", at=2, generation=2),
        ]
    )
    assert (kinds.resolve("twos").kind, kinds.resolve("ones").kind) == ("Thing", "Other")


# ------------------------------------------------------------------------------------------ news that come late


def version(resource: Resource, number: int) -> Resource:
    return resource.evolve(resource_version=str(number))


def test_a_state_that_is_older_than_what_is_known_changes_nothing() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    old = version(stored("a", "Thing", plural="olds", at=1), 3)
    definitions.changed(None, version(stored("a", "Thing", plural="news", at=1, generation=2), 5))
    definitions.learn([old])
    assert (kinds.lookup("olds"), kinds.resolve("news").kind) == (None, "Thing")


def test_a_definition_that_is_gone_does_not_come_back_with_old_news() -> None:
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    one = version(stored("a", "Thing", at=1), 3)
    definitions.learn([one])
    definitions.changed(one, None)
    definitions.learn([one])
    assert kinds.lookup("things") is None
    definitions.learn([version(stored("a", "Thing", at=2).evolve(uid="another"), 9)])
    assert kinds.resolve("things").kind == "Thing"


def test_the_end_of_a_definition_does_not_take_its_successor_along() -> None:
    """This process made it again at once, and hears of the end of the one before after that."""
    kinds = registry()
    definitions = Definitions(kinds, MemoryStore())
    one = version(stored("a", "Thing", at=1), 3)
    again = version(stored("a", "Thing", at=2).evolve(uid="again"), 5)
    definitions.learn([one])
    definitions.learn([again])
    definitions.changed(one, None)
    assert kinds.resolve("things").kind == "Thing"
    definitions.changed(None, again)
    assert kinds.resolve("things").kind == "Thing"
    definitions.changed(again, None)
    assert kinds.lookup("things") is None


async def test_a_list_that_was_under_way_does_not_undo_what_was_learned_meanwhile() -> None:
    kinds, store = registry(), MemoryStore()
    definitions = Definitions(kinds, store)
    client = ResourceClient(store, kinds)
    first = await client.create(Resource.from_manifest(shape("first", "First")))
    page = await store.resources.list(SHAPE.group, SHAPE.kind)
    second = await client.create(Resource.from_manifest(shape("second", "Second")))

    class Slow:
        async def list(self, *_: Any) -> Any:
            definitions.changed(None, second)
            definitions.changed(first, None)
            return page

    definitions.changed(None, first)
    definitions._store = SimpleNamespace(resources=Slow())
    assert await definitions.load() is False
    assert (kinds.lookup("firsts"), kinds.resolve("seconds").kind) == (None, "Second")
    definitions._store = store
    assert await definitions.load() is False
    await store.commit([DeleteResource(second.key)])
    assert await definitions.load() is True
    assert kinds.lookup("seconds") is None


# ------------------------------------------------------------------------------------------ one apply


def test_documents_define_kinds_and_use_them_in_any_order() -> None:
    kinds = registry()
    decoded = decode_manifests(kinds, [thing("x"), shape("a", "Thing"), thing("y")])
    assert [str(item.resource.key) for item in decoded] == ["Thing default/x", "Shape a", "Thing default/y"]
    assert kinds.lookup("things") is None, "decoding alone registers nothing"


@pytest.mark.parametrize(
    ("manifests", "words"),
    [
        ([shape("a", "Taken")], "the kind Taken of the group things.example is taken by the plugin shapes"),
        ([shape("a", "Fresh", "takens")], "the name takens.things.example is taken by the plugin shapes"),
        ([shape("a", "Thing"), shape("b", "Thing")], "is taken by Shape a"),
    ],
)
def test_a_definition_that_clashes_is_refused(manifests: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        decode_manifests(registry(), manifests)


def test_a_definition_may_be_applied_again_and_changed() -> None:
    kinds = registry()
    Definitions(kinds, MemoryStore()).learn([stored("a", "Thing", at=1)])
    known = KindsOfDocuments(kinds)
    (decoded,) = decode_manifests(kinds, [shape("a", "Thing", "thingies")])
    assert known.learn(decoded) == []
    assert known.registry.resolve("thingies").kind == "Thing"


def test_a_kind_that_a_definition_does_not_define_any_more_cannot_be_used_beside_it() -> None:
    kinds = registry()
    Definitions(kinds, MemoryStore()).learn([stored("a", "Thing", at=1)])
    with pytest.raises(ValidationError, match="no plugin or definition offers the kind 'Thing'"):
        decode_manifests(kinds, [shape("a", "Other"), thing("x")])


def test_a_definition_cannot_take_the_plural_of_another_by_a_change() -> None:
    kinds = registry()
    Definitions(kinds, MemoryStore()).learn([stored("a", "Thing", at=1), stored("b", "Other", at=2)])
    with pytest.raises(ValidationError, match=r"the name others\.things\.example is taken by Shape b"):
        decode_manifests(kinds, [shape("a", "Thing", "others")])


def test_a_manifest_does_not_stop_the_end_of_its_definition() -> None:
    """Else what is made of the kind would be written, and go with the definition a moment later."""
    kinds = registry()
    ending = stored("a", "Thing", at=1).evolve(deletion_timestamp="2024-01-02T00:00:00Z")
    Definitions(kinds, MemoryStore()).learn([ending])
    decode_manifests(kinds, [shape("a", "Thing")])
    [decoded, _] = decode_manifests(kinds, [thing("x"), shape("a", "Thing")])
    assert decoded.kind.closed == "its definition is being deleted"


async def test_definitions_are_written_before_what_is_of_their_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large apply is several commits; whatever ends it, nothing is stored that is of no kind."""
    kinds = registry()
    client = ResourceClient(MemoryStore(), kinds)
    items = decode_manifests(kinds, [*(thing(f"x{number}") for number in range(600)), shape("a", "Thing")])
    commit, written = client.store.commit, []

    async def seen(operations: Any) -> Any:
        written.append([operation.resource.kind for operation in operations])
        return await commit(operations)

    monkeypatch.setattr(client.store, "commit", seen)
    applied = await client.apply(items)
    assert [len(chunk) for chunk in written] == [500, 101]
    assert written[0][0] == "Shape"
    assert [one.resource.key for one in applied] == [item.resource.key for item in items]


# ------------------------------------------------------------------------------------------ a runtime


async def open_runtime(url: str, **options: Any) -> RuntimeManager:
    plugins = PluginManager(extra=[("shapes", Plugin())])
    return await RuntimeManager.open(url, config=Config(project=Path(), store=url), plugins=plugins, **options)


async def test_a_kind_can_be_used_at_once_by_every_name(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    async with await open_runtime(url) as runtime:
        report = await runtime.apply([thing("x"), shape("a", "Thing")])
        assert report.settled
        assert [item.outcome for item in report.items] == ["created", "created"]
        found = await runtime.get_thing("x").resource()
        assert (found.spec, found.status["phase"]) == ({"x": 1}, "Ready")
        assert str(runtime.reference("things/x").key) == "Thing default/x"
    async with await open_runtime(url, controllers=False) as runtime:
        assert (await runtime.get_thing("x").resource()).spec == {"x": 1}
        assert (await runtime.apply([thing("y")], wait=False)).items[0].outcome == "created"


async def test_what_another_process_defines_is_known_here(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    async with await open_runtime(url) as here, await open_runtime(url, controllers=False) as quiet:
        async with await open_runtime(url, controllers=False) as there:
            await there.apply([shape("a", "Thing"), thing("x")], wait=False)
        assert (await quiet.apply([thing("y")], wait=False)).items[0].outcome == "created"
        key = ResourceKey("things.example", "Thing", "default", "x")
        events = here.client.watch(None)
        while (await here.client.require(key)).status.get("phase") != "Ready":
            await anext(events)
        assert here.get_thing("x")


async def test_what_controllers_have_not_told_yet_is_found_in_the_store(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    async with await open_runtime(url) as here:
        informer = here.controllers.informer(*SHAPE.group_kind)
        assert informer is not None
        await informer.stop()
        async with await open_runtime(url, controllers=False) as there:
            await there.apply([shape("a", "Thing")], wait=False)
        assert (await here.apply([thing("x")], wait=False)).items[0].outcome == "created"
        with pytest.raises(ValidationError, match="offers the kind 'Other'"):
            await here.apply([thing("y", "Other")], wait=False)


async def test_what_went_before_controllers_began_is_forgotten_when_they_do(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    async with await open_runtime(url, controllers=False) as here:
        await here.apply([shape("a", "Thing"), shape("b", "Other")], wait=False)
        async with await open_runtime(url, controllers=False) as there:
            await there.client.delete(ResourceKey("shapes.example", "Shape", "", "a"))
        assert here.registry.lookup("things"), "nobody has told yet"
        await here.start_controllers()
        assert await here.controllers.settled()
        assert here.registry.lookup("things") is None
        assert here.registry.lookup("others")


async def test_nobody_waits_for_a_kind_that_has_gone(tmp_path: Path) -> None:
    """A definition is deleted while somebody waits until what he applied has settled."""
    async with await open_runtime(f"file:{tmp_path}/k.db") as runtime:
        await runtime.apply([shape("a", "Thing"), thing("x")])
        manager, key = runtime.controllers, ResourceKey("things.example", "Thing", "default", "x")
        for broken in ("synced", "seen"):
            informer = manager.informer("things.example", "Thing")
            assert informer is not None
            await informer.stop()
            if broken == "synced":
                informer.synced.clear()
            else:
                informer.seen = -1
            waiting = asyncio.create_task(manager.settled([key], timeout_s=20))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            kind = runtime.registry.resolve("things")
            runtime.registry.unregister(*kind.group_kind)
            assert await asyncio.wait_for(waiting, 5)
            runtime.registry.register(kind, provider="again")
            assert await manager.settled()


async def test_a_kind_whose_definition_is_gone_is_unknown(tmp_path: Path) -> None:
    async with await open_runtime(f"file:{tmp_path}/k.db") as runtime:
        await runtime.apply([shape("a", "Thing"), thing("x")])
        await runtime.client.delete(ResourceKey("shapes.example", "Shape", "", "a"))
        await runtime.controllers.settled()
        with pytest.raises(UnknownKindError):
            runtime.registry.resolve("things")
        with pytest.raises(ValidationError, match="no plugin or definition offers the kind 'Thing'"):
            await runtime.apply([thing("y")])


async def test_documents_tell_clashes_with_their_place() -> None:
    client = ResourceClient(MemoryStore(), registry())
    text = "apiVersion: shapes.example/v1\nkind: Shape\nmetadata: {name: a}\nspec: {kind: Taken, plural: takens}\n"
    from kastra_core.includes import decode_documents

    with pytest.raises(ValidationError) as caught:
        decode_documents(client.registry, parse(text, "a.yaml"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.resource) == ("a.yaml", 4, "Shape a")
