"""Processes that apply, change and delete definitions are killed at every commit; two do so at the same time.

What is left must be what an undisturbed process leaves. ``KASTRA_CRASH_ROUNDS=N``: so many rounds of kills at random
moments (default 2); with more than 2, every commit is tried before, amid and after it, else in turn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from crash_nursery import DOOMS, KILLED, ROUNDS, Nursery, Place, nursery_of, places
from crd_worker import NAMES, definition, everything, gadget
from kastra_core.api.meta import JsonObject, Resource
from kastra_core.protocols.store import Store


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with nursery_of("crd_worker.py") as made:
        yield made


class Spot(Place):
    """A place with a definition and objects of its kind, or an empty one."""

    async def left(self) -> dict[str, JsonObject]:
        """All that is stored, without uids and times."""

        async def read(store: Store) -> dict[str, JsonObject]:
            found = (await store.resources.list("", "")).items
            return {str(one.key): _essence(one) for one in found if one.kind != "Event"}

        return await self.look(read)  # type: ignore[no-any-return]


def _essence(resource: Resource) -> JsonObject:
    manifest = resource.to_manifest()
    for name in ("uid", "resourceVersion", "creationTimestamp"):
        manifest["metadata"].pop(name)
    status = manifest.get("status", {})
    if "madeOf" in status:
        assert status.pop("madeOf") == resource.metadata.uid, "the status is that of another object"
    for condition in status.get("conditions", ()):
        condition.pop("lastTransitionTime")
    status.get("conditions", []).sort(key=lambda condition: condition["type"])
    return manifest


@pytest.fixture
async def place(nursery: Nursery, tmp_path: Path) -> Callable[[], Spot]:
    """Makes places that are alike: the definition and three objects are there."""
    return await places(nursery, tmp_path, Spot)


STRICT = definition(5, colour={"type": "string", "default": "grey"})
CHANGES: dict[str, dict[str, Any]] = {
    "definition and objects": {"do": "apply", "manifests": everything()},
    "schema": {"do": "apply", "manifests": [STRICT]},
    "storage version": {"do": "apply", "manifests": [definition(storage="v2")]},
    "end": {"do": "delete"},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_is_killed_at_any_commit_ends_as_if_it_had_not_been(
    place: Callable[[], Spot], nursery: Nursery, tmp_path: Path, change: str
) -> None:
    job, count = CHANGES[change], 0

    def fresh() -> Spot:
        nonlocal count
        count += 1
        if change == "definition and objects":
            return Spot(nursery, tmp_path / f"empty{count}", None)
        return place()

    calm = fresh()
    before = await calm.left() if change != "definition and objects" else {}
    assert await calm.begin(**job).end() == 0
    wanted = await calm.left()
    _as_it_should_be(change, before, wanted)
    survived, at = False, 0
    while not survived:
        at += 1
        for when in DOOMS if at < 3 or ROUNDS > 2 else (DOOMS[at % len(DOOMS)],):
            here = fresh()
            code = await here.begin(**job, doom=[at, when]).end()
            if code == 0:
                survived = True  # it has fewer commits than that
            else:
                assert code == KILLED
                # What the user did is in the first commit; the rest is the controllers' work.
                rest = job if at == 1 and when != "after" else {"do": "serve", "until_gone": change == "end"}
                assert await here.begin(**rest).end() == 0
            assert await here.left() == wanted, (at, when)
            if change == "end":
                assert here.keys()["cleaned"] == len(NAMES)
    assert at > 2, "there are more commits than one"


def _as_it_should_be(change: str, before: dict[str, JsonObject], after: dict[str, JsonObject]) -> None:
    if change == "end":
        assert after == {}
        return
    objects = {key: one for key, one in after.items() if one["kind"] == "Gadget"}
    assert len(objects) == len(NAMES)
    ready = [_condition(one, "Ready")["status"] for one in after.values()]
    assert ready == ["True"] * len(after)
    crd = after["CustomResourceDefinition gadgets.acme.example"]
    assert crd["status"]["storedVersions"] == ["v2" if change == "storage version" else "v1"]
    fits = _condition(crd, "ResourcesValid")
    if change == "schema":
        assert fits["message"].startswith("1 of 3 stored resources do not fit the schema: default/small: spec.size")
        assert _condition(objects["Gadget default/small"], "Valid")["status"] == "False"
    else:
        assert fits["status"] == "True"
    for key, one in objects.items():
        assert one["apiVersion"] == ("acme.example/v2" if change == "storage version" else "acme.example/v1")
        assert one["spec"] == before.get(key, one)["spec"]


def _condition(manifest: JsonObject, name: str) -> JsonObject:
    found: JsonObject = next(one for one in manifest["status"]["conditions"] if one["type"] == name)
    return found


async def test_processes_that_are_killed_at_random_moments_leave_no_trace(place: Callable[[], Spot]) -> None:
    for seed in range(ROUNDS):
        chance, here = random.Random(seed), place()
        for job in (CHANGES["schema"], CHANGES["storage version"]):
            for _ in range(chance.randint(1, 3)):
                process = here.begin(**job)
                await asyncio.sleep(chance.uniform(0.0, 0.2))
                await process.kill()
                await process.end()
            assert await here.begin(**job).end() == 0
        _as_it_should_be("storage version", {}, await here.left())
        process = here.begin(**CHANGES["end"])
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        await process.kill()
        await process.end()
        assert await here.begin(**CHANGES["end"]).end() == 0
        assert await here.left() == {}


async def test_two_processes_leave_what_one_leaves_and_no_object_is_lost(nursery: Nursery, tmp_path: Path) -> None:
    calm = Spot(nursery, tmp_path / "calm", None)
    for me in "ab":
        assert await calm.begin("crowd", me=me, count=6).end() == 0
    wanted = await calm.left()
    assert len(wanted) == 13
    for seed in range(ROUNDS):
        here = Spot(nursery, tmp_path / str(seed), None)
        both = [here.begin("crowd", me=me, count=6) for me in "ab"]
        if seed % 2:
            await asyncio.sleep(random.Random(seed).uniform(0.05, 0.3))
            await both[0].kill()
            await both[0].end()
            both[0] = here.begin("crowd", me="a", count=6)
        assert [await process.end() for process in both] == [0, 0]
        assert await here.begin("serve").end() == 0
        found = await here.left()
        if seed % 2:  # what was done twice has been there and back
            assert _without_generations(found) == _without_generations(wanted)
        else:
            assert found == wanted


def _without_generations(value: Any) -> Any:
    if isinstance(value, dict):
        counted = ("generation", "observedGeneration")
        return {name: _without_generations(below) for name, below in value.items() if name not in counted}
    return [_without_generations(below) for below in value] if isinstance(value, list) else value


async def test_a_definition_goes_although_two_processes_see_to_it(place: Callable[[], Spot]) -> None:
    here = place()
    both = [here.begin("delete") for _ in "ab"]
    assert [await process.end() for process in both] == [0, 0]
    assert await here.left() == {}
    assert await here.begin("apply", manifests=everything()).end() == 0
    assert len(await here.left()) == 4
    assert await here.begin("apply", manifests=[gadget("late")]).end() == 0
