"""What becomes of a System: its resources, its conditions, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core import RuntimeManager
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, OwnerReference, condition_of
from kastra_core.controller import failed_status
from kastra_core.protocols.controller import Request
from kastra_core.protocols.store import UpdateResource
from kastra_core.testing.controller import MiniRuntime
from kastra_plugin_agent.hooks import kastra_resource_kinds as agent_kinds
from kastra_plugin_system.controller import SystemController
from kastra_plugin_system.hooks import kastra_resource_kinds as system_kinds
from kastra_plugin_system.rules import LABEL
from kastra_plugin_workflow.hooks import kastra_resource_kinds as workflow_kinds


async def test_each_resource_is_made_with_owner_label_and_field_manager(runtime: RuntimeManager, systems: Any) -> None:
    entry = {**systems.agent("a"), "labels": {"tier": "front"}, "annotations": {"note": "说明"}}
    system = await systems.apply(runtime, agents=[entry])
    agent = await runtime.client.require(systems.key("Agent", "a"))
    assert agent.metadata.labels == {"tier": "front", LABEL: "shop"}
    assert agent.metadata.annotations == {"note": "说明"}
    (owner,) = agent.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("System", "shop", system.metadata.uid, True)
    assert [fields.manager for fields in agent.metadata.managed_fields] == ["system/shop"]


async def test_an_apply_returns_when_all_are_ready(runtime: RuntimeManager, systems: Any) -> None:
    system = await systems.apply(
        runtime,
        workflows=[systems.flow("w", "a")],
        agents=[systems.agent("a"), systems.agent("b")],
        resources=[
            {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "c"}, "spec": {"model": "fake/m"}}
        ],
    )
    assert systems.condition(system) == ("True", "Ready")
    assert systems.condition(system, "ResourcesApplied") == ("True", "Applied")
    assert system.status["summary"] == "4/4"
    assert system.status["resources"][0] == {"kind": "Agent", "name": "a", "ready": True, "reason": "Ready"}
    assert system.status["observedGeneration"] == system.metadata.generation
    events = (await runtime.client.list(runtime.registry.resolve("events"))).items
    assert [event.spec for event in events if event.spec["type"] != "Normal"] == []


async def test_it_is_not_ready_for_the_reason_of_the_first_that_is_not(runtime: RuntimeManager, systems: Any) -> None:
    bad = systems.agent("a", model={"provider": "fake", "name": "absent"})
    system = await systems.apply(runtime, agents=[systems.agent("b"), bad], workflows=[systems.flow("w", "a")])
    assert systems.condition(system) == ("False", "ModelMissingKey")
    message = (condition_of(system, "Ready") or {})["message"]
    assert "Agent default/a: ModelMissingKey: fake/absent: no key; set one" in message
    assert "not ready are also Workflow default/w (ModelMissingKey)" in message
    assert systems.reasons(system) == {"b": "Ready", "a": "ModelMissingKey", "w": "ModelMissingKey"}
    assert system.status["summary"] == "1/3"
    system = await systems.apply(
        runtime, agents=[systems.agent("b"), systems.agent("a")], workflows=[systems.flow("w", "a")]
    )
    assert systems.condition(system) == ("True", "Ready")


async def test_an_entry_that_is_taken_out_is_deleted_and_a_renamed_one_is_made_anew(
    runtime: RuntimeManager, systems: Any
) -> None:
    await systems.apply(runtime, agents=[systems.agent("a"), systems.agent("b"), systems.agent("c")])
    system = await systems.apply(runtime, agents=[systems.agent("a"), systems.agent("d")])
    assert systems.reasons(system) == {"a": "Ready", "d": "Ready"}
    there = [name for name in "abcd" if await systems.get(runtime, "Agent", name) is not None]
    assert there == ["a", "d"]
    await systems.apply(runtime)
    assert await systems.get(runtime, "Agent", "a") is None


async def test_an_edit_reaches_the_resource_and_only_that(runtime: RuntimeManager, systems: Any) -> None:
    await systems.apply(runtime, agents=[systems.agent("a", "one"), systems.agent("b", "two")])
    before = await systems.get(runtime, "Agent", "b")
    await systems.apply(runtime, agents=[systems.agent("a", "three"), systems.agent("b", "two")])
    after = await systems.get(runtime, "Agent", "a")
    assert (after.spec["instructions"], after.metadata.generation) == ("three", 2)
    assert await systems.get(runtime, "Agent", "b") == before


async def test_a_resource_that_somebody_deleted_is_made_again(runtime: RuntimeManager, systems: Any) -> None:
    await systems.apply(runtime, agents=[systems.agent("a")])
    first = await systems.get(runtime, "Agent", "a")
    await runtime.client.delete(first.key)
    system = await systems.settled(runtime)
    again = await systems.get(runtime, "Agent", "a")
    assert again.metadata.uid != first.metadata.uid
    assert again.spec == first.spec
    assert systems.condition(system) == ("True", "Ready")


async def test_what_the_system_says_is_restored_and_what_others_add_stays(
    runtime: RuntimeManager, systems: Any
) -> None:
    await systems.apply(runtime, agents=[systems.agent("a", "mine")])
    live = await systems.get(runtime, "Agent", "a")
    edit = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "a"}}
    spec = {"instructions": "yours", "model": live.spec["model"], "description": "kept"}
    await runtime.apply([{**edit, "spec": spec}], manager="kastra", force=True)
    await systems.settled(runtime)
    after = await systems.get(runtime, "Agent", "a")
    assert (after.spec["instructions"], after.spec["description"]) == ("mine", "kept")


async def test_a_resource_that_is_there_already_is_not_touched_and_the_rest_is_made(
    runtime: RuntimeManager, systems: Any
) -> None:
    foreign = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {"model": "fake/m"}}
    await runtime.apply([foreign])
    before = await systems.get(runtime, "Agent", "a")
    system = await systems.apply(runtime, agents=[systems.agent("a"), systems.agent("b")])
    assert await systems.get(runtime, "Agent", "a") == before
    assert await systems.get(runtime, "Agent", "b") is not None
    assert systems.condition(system, "ResourcesApplied") == ("False", "Conflict")
    message = (condition_of(system, "ResourcesApplied") or {})["message"]
    assert message.startswith("Agent default/a: it is there already and does not belong to this System; ")
    assert systems.condition(system) == ("False", "Conflict")
    assert system.status["summary"] == "1/2"
    await runtime.client.delete(before.key)  # the name is free: the System notices
    system = await systems.settled(runtime)
    assert systems.condition(system) == ("True", "Ready")
    assert (await systems.get(runtime, "Agent", "a")).metadata.labels == {LABEL: "shop"}


async def test_of_two_systems_that_want_a_name_the_first_keeps_it(runtime: RuntimeManager, systems: Any) -> None:
    await systems.apply(runtime, "one", agents=[systems.agent("a", "first")])
    second = await systems.apply(runtime, "two", agents=[systems.agent("a", "second")])
    assert systems.condition(second, "ResourcesApplied") == ("False", "Conflict")
    assert "it belongs to System one" in (condition_of(second, "ResourcesApplied") or {})["message"]
    assert (await systems.get(runtime, "Agent", "a")).spec["instructions"] == "first"
    await systems.apply(runtime, "one")
    second = await systems.settled(runtime, "two")
    assert systems.condition(second) == ("True", "Ready")
    assert (await systems.get(runtime, "Agent", "a")).spec["instructions"] == "second"


async def test_systems_that_want_a_name_at_the_same_moment_do_not_share_it(
    runtime: RuntimeManager, systems: Any
) -> None:
    await asyncio.gather(
        *(systems.apply(runtime, name, agents=[systems.agent("a", name)]) for name in ("one", "two", "three"))
    )
    agent = await systems.get(runtime, "Agent", "a")
    (owner,) = agent.metadata.owner_references
    assert owner.name == agent.spec["instructions"]
    states = [systems.condition(await systems.settled(runtime, name)) for name in ("one", "two", "three")]
    assert sorted(states) == [("False", "Conflict"), ("False", "Conflict"), ("True", "Ready")]


@pytest.mark.parametrize("propagation", ["background", "foreground"])
async def test_deleting_it_deletes_all_that_it_owns(runtime: RuntimeManager, systems: Any, propagation: str) -> None:
    system = await systems.apply(
        runtime, agents=[systems.agent("a"), systems.agent("b")], workflows=[systems.flow("w", "a")]
    )
    await runtime.client.delete(system.key, propagation=propagation)
    assert await runtime.controllers.settled(None, 20)
    for kind, name in (("System", "shop"), ("Agent", "a"), ("Agent", "b"), ("Workflow", "w")):
        assert await systems.get(runtime, kind, name) is None


async def test_what_was_orphaned_is_taken_back_by_a_system_of_the_name(runtime: RuntimeManager, systems: Any) -> None:
    system = await systems.apply(runtime, agents=[systems.agent("a", "old")])
    await runtime.client.delete(system.key, propagation="orphan")
    assert await runtime.controllers.settled(None, 20)
    orphan = await systems.get(runtime, "Agent", "a")
    assert orphan.metadata.owner_references == ()
    again = await systems.apply(runtime, agents=[systems.agent("a", "new")])
    assert systems.condition(again) == ("True", "Ready")
    agent = await systems.get(runtime, "Agent", "a")
    assert agent.metadata.uid == orphan.metadata.uid
    assert [owner.uid for owner in agent.metadata.owner_references] == [again.metadata.uid]
    assert agent.spec["instructions"] == "new"


async def test_what_a_user_gave_the_system_as_owner_is_not_pruned(runtime: RuntimeManager, systems: Any) -> None:
    system = await systems.apply(runtime, agents=[systems.agent("a")])
    owner = OwnerReference(
        api_version="mastra.ai/v1", kind="System", name="shop", uid=system.metadata.uid, controller=True
    )
    mine = {"name": "mine", "ownerReferences": [owner.to_manifest()]}
    await runtime.apply(
        [{"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": mine, "spec": {"model": "fake/m"}}]
    )
    await systems.apply(runtime, agents=[systems.agent("b")])
    assert await systems.get(runtime, "Agent", "mine") is not None
    assert await systems.get(runtime, "Agent", "a") is None


async def test_a_child_that_others_refer_to_is_pruned_and_they_say_what_is_missing(
    runtime: RuntimeManager, systems: Any
) -> None:
    await systems.apply(runtime, agents=[systems.agent("a")])
    flow = systems.flow("outside", "a")
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "outside"}, "spec": flow["spec"]}
    await runtime.apply([manifest])
    await systems.apply(runtime)
    assert await runtime.controllers.settled(None, 20)
    outside = await systems.get(runtime, "Workflow", "outside")
    assert systems.condition(outside) == ("False", "AgentNotFound")


async def test_a_system_in_a_system_is_ready_when_the_inner_one_is(runtime: RuntimeManager, systems: Any) -> None:
    bad = systems.agent("a", model="fake/absent")
    inner = systems.manifest("inner", agents=[bad])
    outer = await systems.apply(runtime, "outer", resources=[inner], workflows=[systems.flow("w", "a")])
    assert systems.condition(outer)[1] == "ModelMissingKey"
    inner = systems.manifest("inner", agents=[systems.agent("a")])
    outer = await systems.apply(runtime, "outer", resources=[inner], workflows=[systems.flow("w", "a")])
    assert systems.condition(outer) == ("True", "Ready")
    await runtime.client.delete(outer.key)
    assert await systems.get(runtime, "Agent", "a") is None


async def test_what_is_made_while_the_system_is_deleted_does_not_stay(systems: Any) -> None:
    runtime = MiniRuntime.of(*system_kinds(), *agent_kinds())
    (system,) = await runtime.apply([systems.manifest(agents=[systems.agent("a")])])
    controller = SystemController(runtime)
    original = runtime.client.apply

    async def apply(*args: Any, **options: Any) -> Any:
        await runtime.client.delete(system.key)
        return await original(*args, **options)

    runtime.client.apply = apply  # type: ignore[method-assign]
    await controller.reconcile(Request("default", "shop"))
    assert (await runtime.store.resources.list("", "")).items == ()


async def test_what_was_orphaned_meanwhile_is_not_deleted(systems: Any) -> None:
    runtime = MiniRuntime.of(*system_kinds(), *agent_kinds())
    (system,) = await runtime.apply([systems.manifest(agents=[systems.agent("a")])])
    controller = SystemController(runtime)
    await controller.reconcile(Request("default", "shop"))
    original = runtime.client.apply

    async def apply(*args: Any, **options: Any) -> Any:
        await runtime.client.delete(system.key, propagation="orphan")
        return await original(*args, **options)

    runtime.client.apply = apply  # type: ignore[method-assign]
    await controller.reconcile(Request("default", "shop"))
    agent = await runtime.client.require(systems.key("Agent", "a"))
    assert agent.metadata.owner_references == ()


async def test_what_is_orphaned_while_it_is_taken_back_stays_without_owner(systems: Any, monkeypatch: Any) -> None:
    runtime = MiniRuntime.of(*system_kinds(), *agent_kinds())
    (system,) = await runtime.apply([systems.manifest(agents=[systems.agent("a")])])
    controller = SystemController(runtime)
    await controller.reconcile(Request("default", "shop"))
    agent = await runtime.client.require(systems.key("Agent", "a"))
    await runtime.client.update(agent.evolve(owner_references=()))
    kind: Any = type(runtime.store)
    commit = kind.commit

    async def the_deletion_comes_first(store: Any, operations: list[Any]) -> Any:
        if any(isinstance(one, UpdateResource) and one.resource.metadata.owner_references for one in operations):
            monkeypatch.setattr(kind, "commit", commit)
            await runtime.client.delete(system.key, propagation="orphan")
        return await commit(store, operations)

    monkeypatch.setattr(kind, "commit", the_deletion_comes_first)
    await controller.reconcile(Request("default", "shop"))
    left = await runtime.client.require(agent.key)
    assert (left.metadata.uid, left.metadata.owner_references) == (agent.metadata.uid, ())


def _left_over(systems: Any, name: str, *, uid: str = "dead", more: Sequence[OwnerReference] = ()) -> JsonObject:
    """An Agent of a System that was deleted."""
    owner = OwnerReference(api_version="mastra.ai/v1", kind="System", name="shop", uid=uid, controller=True)
    owners = [one.to_manifest() for one in (owner, *more)]
    metadata = {"name": name, "labels": {LABEL: "shop"}, "ownerReferences": owners}
    return {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": metadata, "spec": {"model": "fake/m"}}


async def test_what_a_killed_process_made_for_a_deleted_system_is_collected_at_the_next_start(
    stage: Any, systems: Any, tmp_path: Any
) -> None:
    url = f"file:{tmp_path}/k.db"
    first = await stage.runtime(url)
    other = OwnerReference(api_version="mastra.ai/v1", kind="Agent", name="b", uid="alive")
    await first.apply([_left_over(systems, "a"), _left_over(systems, "kept", more=[other])], wait=False)
    await first.aclose()
    second = await stage.runtime(url, controllers=True)
    assert await second.controllers.settled(None, 20)
    assert await systems.get(second, "Agent", "a") is None
    assert await systems.get(second, "Agent", "kept") is not None, "another owner holds it"


async def test_what_an_earlier_system_of_the_name_left_goes_and_is_made_anew(
    runtime: RuntimeManager, systems: Any
) -> None:
    await runtime.controllers.stop()
    await runtime.apply([_left_over(systems, "a"), _left_over(systems, "b")], wait=False)
    left = await systems.get(runtime, "Agent", "a")
    await runtime.apply([systems.manifest(agents=[systems.agent("a")])], wait=False)
    await runtime.controllers.start()
    system = await systems.settled(runtime)
    assert systems.condition(system) == ("True", "Ready")
    assert (await systems.get(runtime, "Agent", "a")).metadata.uid != left.metadata.uid
    assert await systems.get(runtime, "Agent", "b") is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"labels": {}}, id="label"),
        pytest.param({"annotations": {"note": "other"}}, id="annotation"),
        pytest.param({"owner_references": ()}, id="owner"),
        pytest.param({"labels": {}, "annotations": {}, "owner_references": ()}, id="all"),
    ],
)
async def test_label_annotation_and_owner_that_somebody_took_off_are_set_back(
    runtime: RuntimeManager, systems: Any, change: dict[str, Any]
) -> None:
    system = await systems.apply(runtime, agents=[{**systems.agent("a"), "annotations": {"note": "ours"}}])
    agent = await systems.get(runtime, "Agent", "a")
    await runtime.client.update(agent.evolve(**change))
    await systems.settled(runtime)
    meta = (await systems.get(runtime, "Agent", "a")).metadata
    assert (meta.labels, meta.annotations) == ({LABEL: "shop"}, {"note": "ours"})
    assert [owner.uid for owner in meta.owner_references] == [system.metadata.uid]


async def test_while_a_resource_was_not_looked_at_yet_the_system_warns_of_nothing(systems: Any) -> None:
    runtime = MiniRuntime.of(*system_kinds(), *agent_kinds(), *workflow_kinds())
    (system,) = await runtime.apply([systems.manifest(agents=[systems.agent("a")], workflows=[systems.flow("w", "a")])])
    controller = SystemController(runtime)
    await controller.reconcile(Request("default", "shop"))
    flow = await runtime.client.require(systems.key("Workflow", "w"))
    told = failed_status(flow, "AgentNotReady", "Agent default/a was not reconciled yet", terminal=False)
    await runtime.client.update_status(flow, told)
    await controller.reconcile(Request("default", "shop"))
    after = condition_of(await runtime.client.require(system.key), "Ready")
    assert after is not None
    assert (after["status"], after["reason"]) == ("Unknown", "Pending")


async def test_a_kind_that_is_gone_makes_one_resource_wrong_and_no_other(systems: Any) -> None:
    runtime = MiniRuntime.of(*system_kinds(), *agent_kinds(), *workflow_kinds())
    (system,) = await runtime.apply([systems.manifest(agents=[systems.agent("a")], workflows=[systems.flow("w", "a")])])
    controller = SystemController(runtime)
    await controller.reconcile(Request("default", "shop"))
    runtime.registry.unregister("mastra.ai", "Workflow")
    await controller.reconcile(Request("default", "shop"))
    after = await runtime.client.require(system.key)
    assert systems.condition(after, "ResourcesApplied") == ("False", "Invalid")
    assert systems.reasons(after) == {"a": "Pending", "w": "Invalid"}
    assert await runtime.store.resources.get(systems.key("Workflow", "w")) is not None, "it was pruned"


async def test_a_kind_without_controller_counts_as_ready(runtime: RuntimeManager, systems: Any) -> None:
    runtime.registry.register(ResourceKind(kind="Memo", plural="memos", group="acme.example"))
    memo = {"apiVersion": "acme.example/v1", "kind": "Memo", "metadata": {"name": "m"}, "spec": {"any": "thing"}}
    system = await systems.apply(runtime, resources=[memo])
    assert systems.condition(system) == ("True", "Ready")


async def test_another_process_that_opens_the_store_changes_nothing(stage: Any, systems: Any, tmp_path: Any) -> None:
    url = f"file:{tmp_path}/k.db"
    first = await stage.runtime(url)
    await systems.apply(first, agents=[systems.agent("a")], workflows=[systems.flow("w", "a")])
    await first.aclose()
    second = await stage.runtime(url, controllers=True)
    before = (await second.store.resources.list("", "")).items
    assert await second.controllers.settled(None, 20)
    assert (await second.store.resources.list("", "")).items == before


async def test_a_resource_that_is_held_in_its_deletion_is_made_again_when_it_is_gone(
    runtime: RuntimeManager, systems: Any
) -> None:
    held = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "a", "finalizers": ["x.example/held"]}}
    spec = {"resources": [{**held, "spec": {"model": "fake/m"}}]}
    await systems.apply(runtime, **spec)
    first = await systems.get(runtime, "Agent", "a")
    await runtime.client.delete(first.key)
    system = await systems.settled(runtime)
    assert systems.condition(system, "ResourcesApplied") == ("False", "Terminating")
    assert systems.reasons(system) == {"a": "Terminating"}
    await runtime.client.set_finalizers(await runtime.client.require(first.key), ())
    system = await systems.settled(runtime)
    assert systems.condition(system) == ("True", "Ready")
    assert (await systems.get(runtime, "Agent", "a")).metadata.uid != first.metadata.uid


async def test_what_becomes_unready_later_shows_in_the_system_at_once(
    stage: Any, runtime: RuntimeManager, systems: Any
) -> None:
    await systems.apply(runtime, agents=[systems.agent("a", tools=["t"])])
    tool = {"apiVersion": "mastra.ai/v1", "kind": "Tool", "metadata": {"name": "t"}}
    system = await systems.settled(runtime)
    assert systems.condition(system) == ("False", "ToolNotFound")
    await runtime.apply([{**tool, "spec": {"type": "python", "python": {"function": "json:loads"}}}])
    system = await systems.settled(runtime)
    assert systems.reasons(system)["a"] != "ToolNotFound"
