"""The controller of definitions: what every controller keeps to, and what it does to resources that are others'."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core.api.meta import Resource, ResourceKey, condition_of, is_true
from kastra_core.controller import Request
from kastra_core.protocols.store import CreateResource, UpdateResource
from kastra_core.testing.controller import MiniRuntime
from kastra_plugin_crd.controller import VALID, DefinitionController
from kastra_plugin_crd.hooks import FINALIZER, GROUP, KIND, kastra_resource_kinds

Json = dict[str, Any]

[CRD] = kastra_resource_kinds()
KEY = ResourceKey(GROUP, KIND, "", "gadgets.acme.example")
REQUEST = Request("", KEY.name)


def definition(least: int = 0, storage: str = "v1", **more: Any) -> Json:
    size = {"type": "integer", "minimum": least}
    spec = {"type": "object", "required": ["size"], "properties": {"size": size}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": KIND,
        "metadata": {"name": KEY.name},
        "spec": {
            "group": "acme.example",
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [
                {"name": name, "served": True, "storage": name == storage, "schema": copy.deepcopy(schema)}
                for name in dict.fromkeys(("v1", storage))
            ],
            **more,
        },
    }


def gadget(name: str, size: int = 1) -> Json:
    return {"apiVersion": "acme.example/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": {"size": size}}


def key(name: str) -> ResourceKey:
    return ResourceKey("acme.example", "Gadget", "default", name)


@pytest.fixture
def runtime() -> MiniRuntime:
    return MiniRuntime.of(CRD)


async def reconciled(runtime: MiniRuntime) -> Resource:
    await DefinitionController(runtime).reconcile(REQUEST)
    return await runtime.client.require(KEY)


async def with_status(runtime: MiniRuntime, name: str, **status: Any) -> Resource:
    found = await runtime.client.require(key(name))
    return await runtime.client.update_status(found, {**found.status, **status})


# ------------------------------------------------------------------------------------------ others' status


async def test_the_status_of_another_controller_stays(runtime: MiniRuntime) -> None:
    await runtime.apply([definition(), gadget("a")])
    ready = {"type": "Ready", "status": "True", "reason": "Made", "lastTransitionTime": "2024-01-01T00:00:00Z"}
    before = await with_status(runtime, "a", address="10.0.0.1", conditions=[ready])
    await runtime.apply([definition(least=5)])
    await reconciled(runtime)
    marked = await runtime.client.require(key("a"))
    assert marked.status["conditions"][0] == ready
    assert (condition_of(marked, VALID) or {})["status"] == "False"
    assert {**marked.status, "conditions": [ready]} == before.status
    await runtime.apply([gadget("a", 7)])
    await reconciled(runtime)
    assert (await runtime.client.require(key("a"))).status == before.status


@pytest.mark.parametrize(
    "conditions",
    [
        [{"type": "Valid", "status": "True", "reason": "Checked"}],
        [{"type": "Valid", "status": "False", "reason": "BadAddress"}, {"type": "Ready", "status": "True"}],
        {"Ready": "True"},
        ["Ready"],
    ],
)
async def test_conditions_that_are_anothers_are_left_alone(runtime: MiniRuntime, conditions: Any) -> None:
    await runtime.apply([definition(), gadget("a")])
    before = await with_status(runtime, "a", conditions=conditions)
    for least, fits in ((5, "False"), (0, "True")):
        await runtime.apply([definition(least=least)])
        crd = await reconciled(runtime)
        assert is_true(crd)
        assert (condition_of(crd, "ResourcesValid") or {})["status"] == fits
        assert (await runtime.client.require(key("a"))).status == before.status


async def test_what_others_write_while_resources_are_looked_at_is_kept(
    runtime: MiniRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that is quicker each time but the last: neither its status nor the definition's Ready suffers."""
    await runtime.apply([definition(), gadget("a"), gadget("b")])
    await reconciled(runtime)
    await runtime.apply([definition(least=5)])
    store, commit, rounds = runtime.store, runtime.store.commit, 0

    async def late(operations: Sequence[Any]) -> Any:
        nonlocal rounds
        first = operations[0]
        if isinstance(first, UpdateResource) and first.resource.kind == "Gadget" and rounds < 3:
            rounds += 1
            live = await runtime.client.require(first.resource.key)
            grown = live.evolve(status={**live.status, "round": rounds})
            await commit([UpdateResource(grown, live.metadata.resource_version)])
        return await commit(operations)

    monkeypatch.setattr(store, "commit", late)
    crd = await reconciled(runtime)
    assert rounds == 3
    assert is_true(crd)
    assert (condition_of(crd, "ResourcesValid") or {})["message"].startswith("2 of 2 stored resources")
    found = await runtime.client.require(key("a"))
    assert (found.status["round"], (condition_of(found, VALID) or {})["status"]) == (3, "False")


async def test_a_resource_that_goes_while_it_is_looked_at_is_no_failure(
    runtime: MiniRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runtime.apply([definition(), gadget("a"), gadget("b", 9)])
    await runtime.apply([definition(least=5)])
    commit = runtime.store.commit

    async def late(operations: Sequence[Any]) -> Any:
        if operations[0].resource.key == key("a"):
            monkeypatch.undo()
            await runtime.client.delete(key("a"))
        return await commit(operations)

    monkeypatch.setattr(runtime.store, "commit", late)
    crd = await reconciled(runtime)
    assert is_true(crd, "ResourcesValid")
    assert await runtime.client.get(key("a")) is None


async def test_the_definition_says_nothing_new_when_nothing_is_new(runtime: MiniRuntime) -> None:
    await runtime.apply([definition(least=5), gadget("a", 9)])
    first = await reconciled(runtime)
    await with_status(runtime, "a", rounds=1)
    assert await reconciled(runtime) == first


# ------------------------------------------------------------------------------------------ who comes late


async def test_a_resource_in_an_earlier_storage_version_that_comes_late_is_moved(runtime: MiniRuntime) -> None:
    """As a process writes it that has not heard of the new version."""
    await runtime.apply([definition(), gadget("a")])
    await reconciled(runtime)
    await runtime.apply([definition(storage="v2")])
    await runtime.controllers.start()
    try:
        runtime.controllers.register_controller(KIND, DefinitionController(runtime), group=GROUP)
        assert await runtime.controllers.settled()
        old = (await runtime.client.require(key("a"))).evolve(api_version="acme.example/v1", uid="late")
        late = old.evolve(name="late", resource_version="", status={"made": True})
        await runtime.store.commit([CreateResource(late)])
        async with asyncio.timeout(10):
            events = runtime.client.watch(None)
            while (found := await runtime.client.require(key("late"))).api_version != "acme.example/v2":
                await anext(events)
        assert found.status == {"made": True}
    finally:
        await runtime.controllers.stop()


# ------------------------------------------------------------------------------------------ older rules


def unreadable() -> Resource:
    """As an older plugin may have stored it."""
    manifest = definition()
    del manifest["spec"]["versions"][0]["schema"]
    manifest["metadata"]["finalizers"] = [FINALIZER]
    return Resource.from_manifest(manifest)


async def test_a_stored_definition_that_cannot_be_read_says_so_and_can_be_mended(runtime: MiniRuntime) -> None:
    made = await runtime.client.create(unreadable())
    runtime.definitions.learn([made])
    crd = await reconciled(runtime)
    ready = condition_of(crd, "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert "it cannot be read: KeyError: 'schema'" in ready["message"]
    await runtime.apply([definition()])
    assert is_true(await reconciled(runtime))


async def test_a_stored_definition_that_cannot_be_read_can_be_deleted(runtime: MiniRuntime) -> None:
    await runtime.client.create(unreadable())
    await runtime.client.delete(KEY)
    await DefinitionController(runtime).reconcile(REQUEST)
    assert await runtime.client.get(KEY) is None


# ------------------------------------------------------------------------------------------ no spec


async def test_a_resource_without_spec_fits_where_none_is_required(runtime: MiniRuntime) -> None:
    await runtime.apply([definition()])
    bare = {"apiVersion": "acme.example/v1", "kind": "Gadget", "metadata": {"name": "bare"}}
    await runtime.apply([bare])
    assert is_true(await reconciled(runtime), "ResourcesValid")
    assert condition_of(await runtime.client.require(key("bare")), VALID) is None
