"""Watch histories under load are linear and complete: two stores, one file, fast and slow watchers, a short history."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.errors import ExpiredError, NotFoundError
from kastra_core.protocols.store import CreateResource, DeleteResource, UpdateResource
from kastra_plugin_libsql.store import LibsqlStore, open_file


def resource(name: str) -> Resource:
    return Resource(api_version="t/v1", kind="Thing", metadata=ObjectMeta(name=name, uid=name))


async def follow(store: LibsqlStore, random: Random, slow: bool) -> dict[str, Resource]:
    """Keep a copy by list and watch, as an informer does, until the resource "end" is seen."""
    while True:
        page = await store.resources.list("t", "Thing")
        copy = {item.metadata.name: item for item in page.items}
        version = int(page.resource_version)
        watch = store.resources.watch("t", "Thing", since=page.resource_version)
        try:
            while "end" not in copy:
                event = await anext(watch)
                version += 1
                assert int(event.resource.metadata.resource_version) == version
                name = event.resource.metadata.name
                assert (event.type == "ADDED") == (name not in copy)
                if event.type == "DELETED":
                    assert copy.pop(name).spec == event.resource.spec
                else:
                    copy[name] = event.resource
                if slow and random.random() < 0.01:
                    await asyncio.sleep(0.03)
        except ExpiredError:
            continue
        return copy


async def write(store: LibsqlStore, random: Random, prefix: str) -> None:
    own: dict[str, Resource] = {}
    for n in range(300):
        name = f"{prefix}-{random.randrange(6)}"
        if name not in own:
            [own[name]] = await store.commit([CreateResource(resource(name))])
        elif random.random() < 0.3:
            await store.commit([DeleteResource(own.pop(name).key)])
        elif random.random() < 0.2:
            with pytest.raises(NotFoundError):
                await store.commit([UpdateResource(own[name]), DeleteResource(resource("missing").key)])
        else:
            [own[name]] = await store.commit([UpdateResource(own[name].evolve(spec={"n": n}))])
        if random.random() < 0.02:
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("durability", ["full", "relaxed"])
async def test_every_watcher_sees_every_event_in_order_or_learns_that_it_cannot(
    durability: str, tmp_path: Path
) -> None:
    random = Random(11)
    options = {"history_events": 200, "durability": durability}
    stores = [await open_file(f"file:{tmp_path}/k.db", options) for _ in range(2)]
    following = [asyncio.ensure_future(follow(store, random, slow)) for store in stores for slow in (False, True)]
    await asyncio.gather(*(write(store, random, f"w{at}{n}") for at, store in enumerate(stores) for n in range(3)))
    await stores[0].commit([CreateResource(resource("end"))])
    copies = await asyncio.wait_for(asyncio.gather(*following), 60)
    truth = {item.metadata.name: item for item in (await stores[1].resources.list("t", "Thing")).items}
    assert all(copy == truth for copy in copies)
    for store in stores:
        await store.aclose()
