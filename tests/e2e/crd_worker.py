"""The definition, its kind's controller and the work of the processes that ``test_crd_crash.py`` kills.

``crash_process`` says how they die.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import types
from pathlib import Path
from typing import Any

from crash_process import Doom, World, note, open_runtime, serve_world
from kastra_core import RuntimeManager, hookimpl
from kastra_core.api.meta import Condition, Resource, ResourceKey
from kastra_core.controller import AbstractController, ready_status
from kastra_core.errors import KastraError
from kastra_core.registrations import ControllerRegistration

Json = dict[str, Any]

DEFINITION = ResourceKey("apiextensions.k8s.io", "CustomResourceDefinition", "", "gadgets.acme.example")
NAMES = ("one", "two", "small")


def gadget(name: str, size: int = 9, **spec: Any) -> Json:
    return {
        "apiVersion": "acme.example/v1",
        "kind": "Gadget",
        "metadata": {"name": name, "labels": {"app": "crash"}},
        "spec": {"size": size, "parts": [{"name": "a"}], **spec},
    }


def definition(least: int = 1, storage: str = "v1", **properties: Any) -> Json:
    part = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 1}},
    }
    parts = {
        "type": "array",
        "items": part,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    size = {"type": "integer", "minimum": least}
    spec = {"type": "object", "required": ["size"], "properties": {"size": size, "parts": parts, **properties}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    versions = [
        {"name": name, "served": True, "storage": name == storage, "schema": schema}
        for name in dict.fromkeys(("v1", storage))
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION.name},
        "spec": {
            "group": "acme.example",
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": versions,
        },
    }


def everything() -> list[Json]:
    return [*(gadget(name, 1 if name == "small" else 9) for name in NAMES), definition()]


class GadgetController(AbstractController):
    """A third party's: writes status of its own, and notes in the world what it made and cleaned up."""

    kind, group, finalizer = "Gadget", "acme.example", "acme.example/note"

    async def get_desired_state(self, resource: Resource) -> Json:
        note("made", resource.metadata.name)
        ready = Condition(type="Ready", status="True", reason="Made")
        return ready_status(resource, [ready], madeOf=resource.metadata.uid)

    async def cleanup_resource(self, resource: Resource) -> None:
        await asyncio.sleep(0)
        note("cleaned", resource.metadata.name)


def plugin() -> types.ModuleType:
    module = types.ModuleType("crd_crash_plugin")

    @hookimpl
    def kastra_controllers() -> list[ControllerRegistration]:
        return [ControllerRegistration(name="gadget", kind="Gadget", group="acme.example", factory=GadgetController)]

    module.kastra_controllers = kastra_controllers  # type: ignore[attr-defined]
    return module


WORLD = World(
    plugins=("crd", "libsql"),
    plugin=plugin,
    modules=(),
    manifests=everything,
    imports=(
        "kastra_plugin_libsql.store",
        "kastra_plugin_crd.controller",
        "kastra_plugin_crd.structure",
        "jsonschema_rs",
    ),
)


async def _gone(runtime: RuntimeManager) -> None:
    """Wait until the definition is gone, by whichever process."""
    events = runtime.client.watch(None)
    while await runtime.client.get(DEFINITION) is not None:
        await anext(events)


async def _crowd(runtime: RuntimeManager, job: Json) -> None:
    """Apply the definition and objects of one's own, one by one, and change both."""
    me = job["me"]
    for number in range(job["count"]):
        if number % 4 == 0:
            await _stubborn(runtime, [definition(colour={"type": "string", "default": "grey"})])
        await _stubborn(runtime, [gadget(f"{me}{number}", number + 1)])
        if number % 3 == 0:
            await _stubborn(runtime, [gadget(f"{me}{number}", number + 1, colour="red")])


async def _stubborn(runtime: RuntimeManager, manifests: list[Json]) -> None:
    """As a user who does it again: the definition of the other process may have just come."""
    for attempt in range(20):
        try:
            await runtime.apply(manifests, wait=False)
        except KastraError:
            if attempt == 19:
                raise
            await asyncio.sleep(0.01)
        else:
            return


async def work(job: Json, world: World) -> None:
    """apply, delete: what a user does, until it is done. crowd: with another process at the same time.
    serve: only have controllers at work until there is nothing to do (``until_gone``: until the definition is gone)."""
    runtime = await open_runtime(job, world)
    if doom := job.get("doom"):
        runtime.store.commit = Doom(runtime.store, *doom).commit  # type: ignore[method-assign]
    doing = job["do"]
    try:
        await runtime.start_controllers()
        if doing in ("prepare", "apply"):
            report = await runtime.apply(job["manifests"] if doing == "apply" else world.manifests())
            assert report.settled
        elif doing == "delete":
            await runtime.client.delete(DEFINITION)
            await _gone(runtime)
        elif doing == "crowd":
            await _crowd(runtime, job)
        elif job.get("until_gone"):
            await _gone(runtime)
        assert await runtime.controllers.settled()
    finally:
        await runtime.aclose()


def main() -> None:
    serve_world(WORLD, work)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("crd_worker").main()
