"""Kinds that a schema describes: defaults after the merge, which is validated once more; finalizers from the start."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ConflictError, Problem, ValidationError
from kastra_core.memory_store import MemoryStore
from kastra_core.resources import Applied, ResourceClient

Json = dict[str, Any]


class BoxStructure:
    """spec.size (1 when not given; never less than before), spec.colour (not with spec.image), spec.items[].count (1),
    spec.rows[].b (0)."""

    schema: Json = {"type": "object"}  # noqa: RUF012 - nobody writes it

    def prune(self, given: Json) -> tuple[Json, list[Problem]]:
        spec = {key: value for key, value in given["spec"].items() if key != "odd"}
        return {**given, "spec": spec}, []

    def default(self, given: Json) -> Json:
        out = copy.deepcopy(given)
        spec = out.setdefault("spec", {})
        spec.setdefault("size", 1)
        for item in spec.get("items", ()):
            item.setdefault("count", 1)
        for row in spec.get("rows", ()):
            row.setdefault("b", 0)
        return out

    def validate(self, given: Json, old: Json | None = None) -> list[Problem]:
        spec = given.get("spec", {})
        out = []
        if old is not None and spec["size"] < old["spec"]["size"]:
            out.append(Problem("a box does not shrink", "spec.size", reason="FieldValueForbidden"))
        if "colour" in spec and "image" in spec:
            out.append(Problem("colour or image, not both", "spec"))
        return out


def final(new: Resource, old: Resource) -> list[Problem]:
    return [Problem("it is sealed", "spec")] if old.spec.get("sealed") else []


BOX = ResourceKind(
    kind="Box",
    plural="boxes",
    group="acme.example",
    structure=BoxStructure(),
    validate_update=final,
    finalizers=("acme.example/box",),
    list_map_keys={"spec.items": ("name",)},
)
KEY = ResourceKey("acme.example", "Box", "default", "b")


@pytest.fixture
def client() -> ResourceClient:
    return new_client()


def new_client() -> ResourceClient:
    registry = KindRegistry()
    registry.register(BOX)
    return ResourceClient(MemoryStore(), registry)


async def apply(client: ResourceClient, spec: Json, manager: str = "kastra", **options: Any) -> Applied:
    manifest = {"apiVersion": "acme.example/v1", "kind": "Box", "metadata": {"name": "b"}, "spec": spec}
    return (await client.apply([client.decode(manifest)], manager=manager, **options))[0]


async def test_a_new_resource_has_the_defaults_and_the_finalizers_of_its_kind(client: ResourceClient) -> None:
    made = (await apply(client, {"items": [{"name": "a"}], "odd": 1})).resource
    assert made.spec == {"size": 1, "items": [{"name": "a", "count": 1}]}
    assert made.metadata.finalizers == ("acme.example/box",)


async def test_the_same_apply_again_is_unchanged(client: ResourceClient) -> None:
    spec = {"items": [{"name": "a"}], "colour": "red"}
    first = await apply(client, spec)
    again = await apply(client, spec)
    assert (first.outcome, again.outcome) == ("created", "unchanged")
    assert again.resource == first.resource


async def test_a_default_belongs_to_nobody(client: ResourceClient) -> None:
    await apply(client, {"colour": "red"})
    other = await apply(client, {"size": 5}, manager="controller")
    assert (other.outcome, other.resource.spec) == ("configured", {"colour": "red", "size": 5})
    again = await apply(client, {"colour": "red"})
    assert (again.outcome, again.resource.spec) == ("unchanged", {"colour": "red", "size": 5})


async def test_a_field_that_is_left_out_again_goes_back_to_its_default(client: ResourceClient) -> None:
    await apply(client, {"size": 1, "colour": "red"})
    gone = await apply(client, {"colour": "red"})
    assert gone.resource.spec == {"colour": "red", "size": 1}
    assert (await apply(client, {"colour": "red"})).outcome == "unchanged"
    taken = await apply(client, {"size": 7}, manager="other")
    assert taken.resource.spec["size"] == 7


async def test_a_default_in_an_item_of_a_map_list_belongs_to_nobody_either(client: ResourceClient) -> None:
    await apply(client, {"items": [{"name": "a"}]})
    other = await apply(client, {"items": [{"name": "a"}]}, manager="other")
    assert other.resource.spec["items"] == [{"name": "a", "count": 1}]
    third = await apply(client, {"items": [{"name": "a", "count": 2}]}, manager="third")
    assert third.resource.spec["items"] == [{"name": "a", "count": 2}]
    assert (await apply(client, {"items": [{"name": "a"}]})).outcome == "unchanged"
    with pytest.raises(ConflictError):
        await apply(client, {"items": [{"name": "a", "count": 3}]})
    assert (await apply(client, {"items": [{"name": "a"}]}, manager="third")).resource.spec["items"] == [
        {"name": "a", "count": 1}
    ]


async def test_two_managers_with_the_same_list_are_of_one_mind_whatever_its_defaults(client: ResourceClient) -> None:
    await apply(client, {"rows": [{"a": 1}]})
    other = await apply(client, {"rows": [{"a": 1}]}, manager="other")
    assert other.resource.spec["rows"] == [{"a": 1, "b": 0}]
    with pytest.raises(ConflictError):
        await apply(client, {"rows": [{"a": 1, "b": 1}]}, manager="third")


async def test_what_a_merge_makes_is_validated_whole_and_nothing_is_written(client: ResourceClient) -> None:
    before = (await apply(client, {"colour": "red"})).resource
    with pytest.raises(ValidationError, match="Box default/b: spec: colour or image, not both"):
        await apply(client, {"image": "i.png"}, manager="other")
    assert await client.get(KEY) == before


async def test_rules_between_old_and_new_hold_for_apply_dry_runs_and_updates(client: ResourceClient) -> None:
    live = (await apply(client, {"size": 5})).resource
    for dry_run in (True, False):
        with pytest.raises(ValidationError) as caught:
            await apply(client, {"size": 4}, dry_run=dry_run)
        assert caught.value.problems[0].reason == "FieldValueForbidden"
    with pytest.raises(ValidationError, match="does not shrink"):
        await client.update(live.evolve(spec={"size": 3}))
    assert (await client.update(live.evolve(spec={"size": 6}))).spec == {"size": 6}


async def test_an_update_gets_defaults_too(client: ResourceClient) -> None:
    live = (await apply(client, {"colour": "red"})).resource
    assert (await client.update(live.evolve(spec={"colour": "blue"}))).spec == {"colour": "blue", "size": 1}


async def test_what_may_not_change_may_not_change(client: ResourceClient) -> None:
    await apply(client, {"sealed": True})
    with pytest.raises(ValidationError, match="it is sealed"):
        await apply(client, {"sealed": True, "colour": "red"})
    assert (await apply(client, {"sealed": True})).outcome == "unchanged"


async def test_a_rule_does_not_hold_a_deletion_up(client: ResourceClient) -> None:
    live = (await apply(client, {"sealed": True})).resource
    await client.delete(live.key)
    marked = await client.require(live.key)
    await client.set_finalizers(marked, ())
    assert await client.get(live.key) is None


_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.just(1),
        "colour": st.sampled_from(["red", "blue"]),
        "deep": st.dictionaries(st.sampled_from("ab"), st.integers(0, 1), max_size=2),
        "items": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("xy")}, optional={"count": st.integers(1, 2)}),
            max_size=2,
            unique_by=lambda item: item["name"],
        ),
    },
)


@given(st.lists(_SPECS, min_size=1, max_size=4))
async def test_one_manager_gets_what_its_last_manifest_says_with_defaults_and_then_rests(specs: list[Json]) -> None:
    client = new_client()
    for spec in specs:
        found = await apply(client, spec)
        whole = BoxStructure().default({"spec": spec})["spec"]
        assert found.resource.spec == whole
        assert (await apply(client, spec)).outcome == "unchanged"


async def test_of_a_closed_kind_only_what_is_being_deleted_may_be_applied(client: ResourceClient) -> None:
    live = (await apply(client, {"colour": "red"})).resource
    closed = attrs.evolve(BOX, closed="its definition goes")
    client.registry.replace(closed, provider="somebody")
    for name in ("b", "c"):
        manifest = {
            "apiVersion": "acme.example/v1",
            "kind": "Box",
            "metadata": {"name": name},
            "spec": {"colour": "red"},
        }
        with pytest.raises(ValidationError, match="no Box can be made now: its definition goes"):
            await client.apply([client.decode(manifest)])
    await client.delete(live.key)
    assert (await apply(client, {"colour": "blue"})).outcome == "configured"
