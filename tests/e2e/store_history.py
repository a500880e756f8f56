"""What the processes of ``test_store_histories`` do: write by a plan and note each answer, watch and note what is seen.

All tasks write to the same few names, so they meet: creates that come too late, updates of what was deleted, and
updates that expect the same version.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from kastra_core.api.meta import Resource
from kastra_core.errors import AlreadyExistsError, ConflictError, ExpiredError, NotFoundError
from kastra_core.protocols.store import CreateResource, DeleteResource, SendSignal, Store, UpdateResource
from store_load import GROUP, KIND, key, named

__all__ = ["END", "NAMESPACES", "SCOPE", "follow", "follow_signals", "follow_state", "write"]

END = "end"
"""The last resource, the last signal, the last key of the scope."""
NAMESPACES = ("x", "y")
SCOPE = "shared"


def _noted(resource: Resource) -> list[Any]:
    meta = resource.metadata
    return [meta.namespace, meta.name, int(meta.resource_version), resource.spec["by"]]


def _place(number: int) -> tuple[str, str]:
    return NAMESPACES[number % 2], f"n{number // 2}"


async def write(store: Store, process: str, task: int, steps: list[list[Any]]) -> list[dict[str, Any]]:
    """Carry out the steps of one task. A note for each: what was done, and the events or the error that came of it."""
    log: list[dict[str, Any]] = []
    for number, (doing, *arguments) in enumerate(steps):
        by = f"{process}.{task}.{number}"
        note: dict[str, Any] = {"doing": doing, "by": by, "events": []}
        log.append(note)
        if doing == "pause":
            await asyncio.sleep(arguments[0] / 1000)
            continue
        if doing == "signal":
            assert await store.commit([SendSignal(f"run{arguments[0]}", "go", by)]) == [True]
            continue
        if doing == "state":
            await store.state.set_value(SCOPE, f"{process}.{task}", number)
            continue
        place = note["place"] = _place(arguments[0])
        try:
            note["events"] = [[kind, *_noted(found)] for kind, found in await _change(store, note, doing, place, by)]
        except (AlreadyExistsError, ConflictError, NotFoundError) as error:
            note["error"] = type(error).__name__
    return log


async def _change(
    store: Store, note: dict[str, Any], doing: str, place: tuple[str, str], by: str
) -> list[tuple[str, Resource]]:
    if doing == "create":
        [made] = await store.commit([CreateResource(named(*place, by=by))])
        return [("ADDED", made)]
    if doing == "update":
        [made] = await store.commit([UpdateResource(named(*place, by=by))])
        return [("MODIFIED", made)]
    if doing == "delete":
        [gone] = await store.commit([DeleteResource(key(*place))])
        return [("DELETED", gone)]
    if doing == "many":  # several events in one commit, and one that is gone before anybody can see it
        name = f"{by}-brief"
        made, changed, gone, other = await store.commit(
            [
                CreateResource(named("x", name, by=by)),
                UpdateResource(named("x", name, by=f"{by}+")),
                DeleteResource(key("x", name)),
                CreateResource(named("y", f"{by}-stays", by=by)),
            ]
        )
        return [("ADDED", made), ("MODIFIED", changed), ("DELETED", gone), ("ADDED", other)]
    assert doing == "cas"
    found = await store.resources.get(key(*place))
    if found is None:
        return []
    note["expected"] = int(found.metadata.resource_version)
    await asyncio.sleep(0)  # others get in between
    [made] = await store.commit([UpdateResource(named(*place, by=by), found.metadata.resource_version)])
    return [("MODIFIED", made)]


async def follow(store: Store, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Keep up by list and watch until the end, as an informer does. A part for each list and what came after it."""
    namespace = plan["namespace"]
    if plan["join_ms"]:
        await asyncio.sleep(plan["join_ms"] / 1000)
    parts: list[dict[str, Any]] = []
    since: str | None = "0"  # the file is new: all there will be
    listed: list[list[Any]] = []
    if plan["join_ms"]:
        since, listed = await _list(store, namespace)
    while True:
        assert since is not None
        part: dict[str, Any] = {"version": int(since), "list": listed, "events": [], "expired": False}
        parts.append(part)
        if any(found[1] == END for found in listed):
            return parts
        watch = store.resources.watch(GROUP, KIND, namespace=namespace, since=since)
        try:
            async for event in watch:
                part["events"].append([event.type, *_noted(event.resource)])
                if event.resource.metadata.name == END:
                    return parts
                if plan["slow_ms"]:
                    await asyncio.sleep(plan["slow_ms"] / 1000)
        except ExpiredError:
            part["expired"] = True
            since, listed = await _list(store, namespace)


async def _list(store: Store, namespace: str | None) -> tuple[str, list[list[Any]]]:
    page = await store.resources.list(GROUP, KIND, namespace=namespace)
    return page.resource_version, [_noted(item) for item in page.items]


async def follow_signals(store: Store) -> list[list[Any]]:
    """All signals from now to the last."""
    watch: AsyncIterator[Any] = store.journal.watch_signals()
    seen: list[list[Any]] = []
    async for signal in watch:
        seen.append([signal.seq, signal.run, signal.payload])
        if signal.name == END:
            break
    return seen


async def follow_state(store: Store) -> list[dict[str, Any]]:
    """The states of the scope that were seen, from now to the last."""
    watch = store.state.watch_state(SCOPE)
    seen: list[dict[str, Any]] = []
    async for state in watch:
        seen.append(state)
        if END in state:
            break
    return seen
