"""A definition from its first apply to its end: kinds, versions, changes of schema, deletion."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kastra_core import RuntimeManager, hookimpl
from kastra_core.api.meta import Condition, Resource, ResourceKey, condition_of, is_true
from kastra_core.api.selectors import FieldSelector, LabelSelector
from kastra_core.config import Config
from kastra_core.controller import AbstractController, ready_status
from kastra_core.errors import ConflictError, UnknownKindError, ValidationError
from kastra_core.manifests import parse
from kastra_core.plugins import PluginManager
from kastra_core.protocols.store import CreateResource
from kastra_core.registrations import ControllerRegistration

Json = dict[str, Any]

DEFINITION = ResourceKey("apiextensions.k8s.io", "CustomResourceDefinition", "", "gadgets.acme.example")
SPEC: Json = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "colour": {"type": "string", "default": "grey"},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 1}},
            },
        },
        "uses": {"type": "string", "x-kastra-reference": {"kind": "Gadget", "group": "acme.example"}},
    },
    "x-kubernetes-validations": [
        {"rule": "self.size >= oldSelf.size", "message": "a gadget does not shrink", "reason": "FieldValueForbidden"},
        {"rule": "self.colour != 'pink' || self.size > 2", "message": "pink ones are big", "fieldPath": ".colour"},
    ],
}


def definition(spec: Json | None = None, *versions: Json, **more: Any) -> Json:
    own = version("v1", SPEC if spec is None else spec, storage=True)
    names = {"kind": "Gadget", "plural": "gadgets", "shortNames": ["gg"], "categories": ["toys"]}
    whole = {"group": "acme.example", "names": names, "scope": "Namespaced", "versions": [own, *versions], **more}
    metadata = {"name": DEFINITION.name}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": whole,
    }


def version(name: str, spec: Json, **more: Any) -> Json:
    schema = {"type": "object", "properties": {"spec": copy.deepcopy(spec)}}
    return {"name": name, "served": True, "storage": False, "schema": {"openAPIV3Schema": schema}, **more}


def gadget(name: str = "g", api: str = "acme.example/v1", labels: Json | None = None, **spec: Any) -> Json:
    metadata: Json = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": api, "kind": "Gadget", "metadata": metadata, "spec": spec}


def key(name: str = "g") -> ResourceKey:
    return ResourceKey("acme.example", "Gadget", "default", name)


class GadgetController(AbstractController):
    """Ready at once; keeps a note of each gadget outside of the store, which its finalizer takes away."""

    kind, group, finalizer = "Gadget", "acme.example", "acme.example/note"
    notes: set[str] = set()  # noqa: RUF012 - shared with the tests on purpose
    held = False

    async def get_desired_state(self, resource: Resource) -> Json:
        self.notes.add(resource.metadata.name)
        return ready_status(resource, [Condition(type="Ready", status="True", reason="Noted")])

    async def cleanup_resource(self, resource: Resource) -> None:
        if type(self).held:
            raise RuntimeError("not yet")
        self.notes.discard(resource.metadata.name)


class Gadgets:
    __name__ = "gadgets"

    @hookimpl
    def kastra_controllers(self) -> Iterable[ControllerRegistration]:
        yield ControllerRegistration(name="gadget", kind="Gadget", group="acme.example", factory=GadgetController)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[RuntimeManager]:
    GadgetController.notes.clear()
    GadgetController.held = False
    async with await opened(tmp_path, Gadgets()) as found:
        yield found


async def opened(path: Path, *extra: Any, **options: Any) -> RuntimeManager:
    url = f"file:{path}/k.db"
    plugins = PluginManager(extra=[(one.__name__, one) for one in extra])
    return await RuntimeManager.open(url, config=Config(project=path, store=url), plugins=plugins, **options)


async def until(runtime: RuntimeManager, wanted: ResourceKey, holds: Callable[[Resource | None], bool]) -> None:
    events = runtime.client.watch(None)
    while not holds(await runtime.client.get(wanted)):
        await anext(events)


def conditions(resource: Resource) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in resource.status["conditions"]}


# ------------------------------------------------------------------------------------------ a kind


async def test_a_definition_is_established_and_its_kind_works_everywhere(runtime: RuntimeManager) -> None:
    report = await runtime.apply([gadget(size=1, labels={"app": "k"}), definition()])
    assert report.settled
    assert report.not_ready == []
    crd = await runtime.client.require(DEFINITION)
    assert conditions(crd) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
        "ResourcesValid": ("True", "AllValid"),
        "Ready": ("True", "Established"),
    }
    assert crd.status["acceptedNames"] == {
        "kind": "Gadget",
        "listKind": "GadgetList",
        "plural": "gadgets",
        "singular": "gadget",
        "shortNames": ["gg"],
        "categories": ["toys"],
    }
    assert crd.status["storedVersions"] == ["v1"]
    found = await runtime.get_gadget("g").resource()
    assert found.spec == {"size": 1, "colour": "grey"}
    assert is_true(found)
    assert GadgetController.notes == {"g"}
    for spelling in ("gadgets", "gadget", "gg", "Gadget", "gadgets.acme.example", "gadgets.v1.acme.example"):
        kind = runtime.registry.resolve(spelling)
        assert str(runtime.reference(f"{spelling}/g").key) == "Gadget default/g"
    assert runtime.registry.in_category("toys") == [kind]
    assert runtime.registry.provider_of(kind) == "CustomResourceDefinition gadgets.acme.example"
    listed = await runtime.client.list(
        kind, labels=LabelSelector.parse("app=k"), fields=FieldSelector.parse("spec.size=1")
    )
    assert [item.metadata.name for item in listed.items] == ["g"]


async def test_a_definition_is_known_again_after_a_restart(tmp_path: Path) -> None:
    async with await opened(tmp_path) as first:
        await first.apply([definition(), gadget(size=1)])
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing goes on"
    async with await opened(tmp_path, controllers=False) as second:
        assert (await second.get_gadget("g").resource()).spec["size"] == 1
        with pytest.raises(ValidationError, match=r"spec\.size"):
            await second.apply([gadget("h", size=0)])


@pytest.mark.parametrize(
    ("spec", "path", "reason"),
    [
        ({}, "spec.size", "FieldValueRequired"),
        ({"size": "1"}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": 0}, "spec.size", "FieldValueInvalid"),
        ({"size": 1, "parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]", "FieldValueDuplicate"),
        ({"size": 1, "colour": "pink"}, "spec.colour", "FieldValueInvalid"),
    ],
)
async def test_what_does_not_fit_is_refused_at_its_field(
    runtime: RuntimeManager, spec: Json, path: str, reason: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        await runtime.apply([definition(), gadget(**spec)])
    first, *rest = [(problem.path, problem.reason) for problem in caught.value.problems]
    assert first == (path, reason)
    assert all(path == "" for path, _ in rest), "at most that rules were not checked"
    assert await runtime.client.get(DEFINITION) is None, "nothing of a refused apply is written"


async def test_a_rule_between_old_and_new_holds(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget(size=5)])
    with pytest.raises(ValidationError) as caught:
        await runtime.apply([gadget(size=4)])
    (problem,) = caught.value.problems
    assert (problem.path, problem.message, problem.reason) == (
        "spec",
        "a gadget does not shrink",
        "FieldValueForbidden",
    )


async def test_items_of_a_map_list_have_managers_of_their_own(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget(size=1, parts=[{"name": "a"}])])
    await runtime.apply([gadget(size=1, parts=[{"name": "b", "count": 2}])], manager="other")
    assert (await runtime.client.require(key())).spec["parts"] == [{"name": "a", "count": 1}, {"name": "b", "count": 2}]
    with pytest.raises(ConflictError):
        await runtime.apply([gadget(size=1, parts=[{"name": "b", "count": 3}])])


async def test_a_default_of_an_item_of_a_map_list_is_nobodys(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget(size=1, parts=[{"name": "a"}])])
    other = await runtime.apply([gadget(size=1, parts=[{"name": "a", "count": 5}])], manager="other")
    assert other.items[0].resource.spec["parts"] == [{"name": "a", "count": 5}]
    again = await runtime.apply([gadget(size=1, parts=[{"name": "a"}])])
    assert (again.items[0].outcome, again.items[0].resource.spec["parts"][0]["count"]) == ("unchanged", 5)


async def test_what_is_found_out_at_the_merge_is_told_at_its_place(runtime: RuntimeManager) -> None:
    text = """\
apiVersion: acme.example/v1
kind: Gadget
metadata: {name: g}
spec:
  size: 4
"""
    await runtime.apply([definition(), gadget(size=5)])
    with pytest.raises(ValidationError) as caught:
        await runtime.apply_documents(parse(text, "g.yaml"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.path) == ("g.yaml", 4, "spec")


async def test_a_resource_without_spec_does_not_get_one_by_another_change(runtime: RuntimeManager) -> None:
    """Its defaults are for those that have a spec."""
    bare = gadget(labels={"a": "1"})
    del bare["spec"]
    made = (await runtime.apply([definition(), bare])).items[1].resource
    assert made.spec == {}
    bare["metadata"]["labels"] = {"a": "2"}
    again = (await runtime.apply([bare])).items[0]
    assert (again.outcome, again.resource.spec) == ("configured", {})
    assert (await runtime.apply([bare])).items[0].outcome == "unchanged"


async def test_a_default_that_comes_back_in_place_of_a_field_is_a_change_of_the_field_alone(
    runtime: RuntimeManager,
) -> None:
    await runtime.apply([definition(), gadget(size=1, colour="red")])
    back = (await runtime.apply([gadget(size=1)])).items[0]
    assert (back.outcome, back.resource.spec) == ("configured", {"size": 1, "colour": "grey"})
    null = (await runtime.apply([gadget(size=1, colour=None)])).items[0]
    assert (null.outcome, null.resource.spec) == ("unchanged", {"size": 1, "colour": "grey"})


@pytest.mark.parametrize("whole", [False, True], ids=["with other defaults", "without"])
async def test_a_default_that_comes_later_is_filled_in_at_the_next_apply(runtime: RuntimeManager, whole: bool) -> None:
    given = gadget(size=1, colour="red") if whole else gadget(size=1)
    made = (await runtime.apply([definition(), given])).items[-1].resource
    later = copy.deepcopy(SPEC)
    later["properties"]["colour"]["default"] = "blue"
    later["properties"]["mode"] = {"type": "string", "default": "slow"}
    await runtime.apply([definition(later)])
    assert (await runtime.client.require(key())).spec == made.spec
    [again] = (await runtime.apply([given])).items
    # What was filled in before stays: nobody knows of it that it was a default.
    assert (again.outcome, again.resource.spec) == ("configured", {**made.spec, "mode": "slow"})
    assert (await runtime.apply([given])).items[0].outcome == "unchanged"


async def test_status_is_never_held_up_by_the_schema(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget(size=1)])
    strict = copy.deepcopy(SPEC)
    strict["properties"]["size"]["minimum"] = 5
    await runtime.apply([definition(strict)])
    unfit = await runtime.client.require(key())
    written = await runtime.client.update_status(unfit, {**unfit.status, "seen": 7})
    assert written.status["seen"] == 7
    named = await runtime.client.set_finalizers(written, (*written.metadata.finalizers, "acme.example/more"))
    assert (await runtime.client.update(named.evolve(labels={"a": "b"}))).metadata.labels == {"a": "b"}


async def test_what_refers_to_a_cluster_scoped_kind_is_told_of_it_whenever_that_is_defined(
    runtime: RuntimeManager,
) -> None:
    spec = copy.deepcopy(SPEC)
    spec["properties"]["uses"]["x-kastra-reference"] = {"kind": "Zone", "group": "acme.example"}
    await runtime.apply([definition(spec), gadget(size=1, uses="z")])
    zones = definition({"type": "object"}, names={"kind": "Zone", "plural": "zones"}, scope="Cluster")
    zones["metadata"]["name"] = "zones.acme.example"
    await runtime.apply([zones])
    zone = ResourceKey("acme.example", "Zone", "", "z")
    assert runtime.controllers.index.referrers(zone) == (key(),)


async def test_dependents_of_a_resource_go_with_it_whatever_kind_they_are_of(runtime: RuntimeManager) -> None:
    zones = definition({"type": "object"}, names={"kind": "Zone", "plural": "zones"}, scope="Cluster")
    zones["metadata"]["name"] = "zones.acme.example"
    zone = {**gadget("z"), "kind": "Zone", "spec": {}}
    await runtime.apply([definition(), zones, zone])
    owner = await runtime.client.require(ResourceKey("acme.example", "Zone", "", "z"))
    made = gadget("child", size=1)
    made["metadata"]["ownerReferences"] = [
        {"apiVersion": "acme.example/v1", "kind": "Zone", "name": "z", "uid": owner.metadata.uid, "controller": True}
    ]
    await runtime.apply([made])
    await runtime.client.delete(owner.key, propagation="foreground")
    await until(runtime, owner.key, lambda found: found is None)
    assert await runtime.client.get(key("child")) is None


async def test_a_reference_has_its_referrer_looked_at_again(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget("user", size=1, uses="used")])
    (reference,) = runtime.registry.references_of(await runtime.client.require(key("user")))
    assert (str(reference.key), reference.path) == ("Gadget default/used", "spec.uses")
    assert runtime.controllers.index.referrers(key("used")) == (key("user"),)


# ------------------------------------------------------------------------------------------ changes


async def test_what_no_longer_fits_says_so_and_is_as_it_was_and_heals(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget("small", size=1), gadget("big", size=9)])
    before = await runtime.client.require(key("small"))
    strict = copy.deepcopy(SPEC)
    strict["properties"]["size"]["minimum"] = 5
    report = await runtime.apply([definition(strict)])
    crd = report.items[0].resource
    assert conditions(crd)["ResourcesValid"] == ("False", "SchemaChanged")
    told = (condition_of(crd, "ResourcesValid") or {})["message"]
    assert told.startswith("1 of 2 stored resources do not fit the schema: default/small: spec.size: ")
    small = await runtime.client.require(key("small"))
    assert (small.spec, small.metadata.generation) == (before.spec, before.metadata.generation)
    assert conditions(small) == {"Ready": ("True", "Noted"), "Valid": ("False", "SchemaChanged")}
    assert "Valid" not in conditions(await runtime.client.require(key("big")))
    await runtime.apply([gadget("small", size=6)])
    await until(runtime, DEFINITION, lambda crd: crd is not None and is_true(crd, "ResourcesValid"))
    assert conditions(await runtime.client.require(key("small"))) == {"Ready": ("True", "Noted")}


async def test_what_was_checked_by_the_schema_of_before_and_written_after_is_found(
    runtime: RuntimeManager, tmp_path: Path
) -> None:
    """Two processes: one changes the schema between the check and the write of the other."""
    await runtime.apply([definition()])
    async with await opened(tmp_path, controllers=False) as other:
        checked = [other.client.decode(gadget("late", size=1)), other.client.decode(gadget("fits", size=9))]
        strict = copy.deepcopy(SPEC)
        strict["properties"]["size"]["minimum"] = 5
        await runtime.apply([definition(strict)])
        assert is_true(await runtime.client.require(DEFINITION), "ResourcesValid")
        await other.apply_decoded(checked, wait=False)
    await until(runtime, key("late"), lambda late: late is not None and condition_of(late, "Valid") is not None)
    await until(runtime, DEFINITION, lambda crd: crd is not None and not is_true(crd, "ResourcesValid"))
    await runtime.controllers.settled()
    assert conditions(await runtime.client.require(key("fits"))) == {"Ready": ("True", "Noted")}


async def test_a_resource_that_does_not_fit_can_still_be_deleted_and_reconciled(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget(size=1)])
    strict = copy.deepcopy(SPEC)
    strict["required"].append("colour2")
    strict["properties"]["colour2"] = {"type": "string"}
    await runtime.apply([definition(strict)])
    await runtime.get_gadget("g").delete()
    await until(runtime, key(), lambda found: found is None)
    assert GadgetController.notes == set()
    await until(runtime, DEFINITION, lambda crd: crd is not None and is_true(crd, "ResourcesValid"))


async def test_manifests_of_every_served_version_are_read_and_checked_as_theirs(runtime: RuntimeManager) -> None:
    old = {"type": "object", "properties": {"length": {"type": "integer", "maximum": 3}}}
    new = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    gone = version("v1alpha1", old, served=False)
    warned = version("v1beta1", old, deprecated=True, deprecationWarning="use v1")
    await runtime.apply([definition(new, gone, warned)])
    report = await runtime.apply([gadget("old", "acme.example/v1beta1", length=3)])
    (item,) = report.items
    assert (item.resource.api_version, item.resource.spec) == ("acme.example/v1", {"length": 3})
    assert any("use v1" in note for note in item.notes)
    with pytest.raises(ValidationError, match=r"spec\.length"):
        await runtime.apply([gadget("old", "acme.example/v1beta1", length=4)])
    with pytest.raises(ValidationError, match=r"kind Gadget in 'acme\.example/v1alpha1'"):
        await runtime.apply([gadget("old", "acme.example/v1alpha1", length=1)])


async def test_a_resource_made_in_another_version_has_the_defaults_of_the_stored_one_too(
    runtime: RuntimeManager,
) -> None:
    old = {"type": "object", "properties": {"length": {"type": "integer", "default": 3}}}
    new = {"type": "object", "properties": {**old["properties"], "depth": {"type": "integer", "default": 4}}}  # type: ignore[dict-item]
    await runtime.apply([definition(new, version("v1beta1", old))])
    made = (await runtime.apply([gadget("a", "acme.example/v1beta1")])).items[0]
    assert made.resource.spec == {"length": 3, "depth": 4}
    again = (await runtime.apply([gadget("a", "acme.example/v1beta1", length=3)])).items[0].resource
    assert (again.spec, again.metadata.generation) == (made.resource.spec, 1)


async def test_a_new_storage_version_takes_over_what_is_stored(runtime: RuntimeManager) -> None:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await runtime.apply([definition(anything), gadget("a", size=1)])
    changed = definition(anything, version("v2", anything, storage=True))
    changed["spec"]["versions"][0]["storage"] = False
    await runtime.apply([changed])
    moved = await runtime.client.require(key("a"))
    assert (moved.api_version, moved.spec) == ("acme.example/v2", {"size": 1})
    assert (await runtime.client.require(DEFINITION)).status["storedVersions"] == ["v2"]
    only = definition(anything)
    only["spec"]["versions"] = [changed["spec"]["versions"][1]]
    assert (await runtime.apply([only])).items[0].outcome == "configured"


async def test_a_version_that_is_stored_may_not_vanish(tmp_path: Path) -> None:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    async with await opened(tmp_path) as runtime:
        await runtime.apply([definition(anything), gadget("a", size=1)])
        renamed = definition(anything)
        renamed["spec"]["versions"][0]["name"] = "v2"
        with pytest.raises(ValidationError) as caught:
            await runtime.apply([renamed])
        assert caught.value.problems[0].path == "status.storedVersions[0]"


async def test_a_plugins_kind_cannot_be_defined(runtime: RuntimeManager) -> None:
    agents = definition(group="mastra.ai", names={"kind": "Agent", "plural": "agents"})
    agents["metadata"]["name"] = "agents.mastra.ai"
    with pytest.raises(ValidationError, match=r"the kind Agent of the group mastra\.ai is taken by the plugin agent"):
        await runtime.apply([agents])


# ------------------------------------------------------------------------------------------ the end


async def test_deleting_a_definition_deletes_its_resources_after_their_finalizers(runtime: RuntimeManager) -> None:
    await runtime.apply([definition(), gadget("a", size=1), gadget("b", size=2)])
    GadgetController.held = True
    await runtime.client.delete(DEFINITION)
    await until(
        runtime,
        DEFINITION,
        lambda crd: crd is not None and (condition_of(crd, "Terminating") or {}).get("status") == "True",
    )
    assert [str(one) for one in (await runtime.client.require(key("a"))).metadata.finalizers] == ["acme.example/note"]
    with pytest.raises(ValidationError, match="is being deleted"):
        await runtime.apply([gadget("c", size=1)])
    GadgetController.held = False
    runtime.controllers.controllers("acme.example", "Gadget")[0].watch(None)  # type: ignore[attr-defined]
    await until(runtime, DEFINITION, lambda crd: crd is None)
    assert GadgetController.notes == set()
    await runtime.controllers.settled()
    with pytest.raises(UnknownKindError):
        runtime.registry.resolve("gadgets")


async def test_a_definition_that_no_controller_has_seen_takes_its_resources_along_too(tmp_path: Path) -> None:
    async with await opened(tmp_path, controllers=False) as quiet:
        await quiet.apply([definition(), gadget(size=1)], wait=False)
        await quiet.client.delete(DEFINITION)
        assert await quiet.client.get(DEFINITION) is not None
    async with await opened(tmp_path) as runtime:
        await until(runtime, DEFINITION, lambda crd: crd is None)
        assert await runtime.client.get(key()) is None


async def test_a_definition_that_ends_takes_no_new_resources_along(tmp_path: Path) -> None:
    """Applied once more while it goes: nothing is made that would vanish with it."""
    async with await opened(tmp_path, controllers=False) as quiet:
        await quiet.apply([definition()], wait=False)
        await quiet.client.delete(DEFINITION)
        with pytest.raises(ValidationError, match="is being deleted"):
            await quiet.apply([gadget(size=1), definition()], wait=False)
        assert await quiet.client.get(key()) is None


async def test_a_definition_has_a_handle_by_its_name(runtime: RuntimeManager) -> None:
    await runtime.apply([definition()])
    assert (await runtime.get_customresourcedefinition(DEFINITION.name).resource()).key == DEFINITION
    with pytest.raises(AttributeError, match=r"no plugin or definition offers get_widget\(\); there are .*get_gadget"):
        runtime.get_widget("x")


async def test_a_definition_may_come_again(runtime: RuntimeManager) -> None:
    for _ in range(2):
        report = await runtime.apply([definition(), gadget(size=1)])
        assert [item.outcome for item in report.items] == ["created", "created"]
        await runtime.client.delete(DEFINITION)
        await until(runtime, DEFINITION, lambda crd: crd is None)


async def test_the_younger_of_two_definitions_waits_and_says_so(tmp_path: Path) -> None:
    other = definition(names={"kind": "Gadget", "plural": "gizmos"})
    other["metadata"]["name"] = "gizmos.acme.example"
    async with await opened(tmp_path, controllers=False) as first:
        # Both are checked before either is written, as two processes may do at the same moment.
        young = first.client.decode(other).resource
        await first.apply([definition()], wait=False)
        young = first.client.stamp(young).evolve(creation_timestamp="2999-01-01T00:00:00Z")
        await first.store.commit([CreateResource(young)])
    async with await opened(tmp_path) as runtime:
        await runtime.controllers.settled()
        assert runtime.registry.resolve("gadgets").kind == "Gadget"
        late = ResourceKey(DEFINITION.group, DEFINITION.kind, "", "gizmos.acme.example")
        assert conditions(await runtime.client.require(late))["NamesAccepted"] == ("False", "NameConflict")
        await runtime.client.delete(DEFINITION)
        await until(runtime, late, lambda crd: crd is not None and is_true(crd, "Established"))
        assert runtime.registry.resolve("gizmos").kind == "Gadget"
