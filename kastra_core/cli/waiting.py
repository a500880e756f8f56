"""Waiting until resources are as one wants them: the state now, then changes as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.errors import ExpiredError

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["wait_until"]


async def wait_until(
    runtime: RuntimeManager,
    keys: Collection[ResourceKey],
    holds: Callable[[ResourceKey, Resource | None], bool],
    *,
    timeout_s: float,
) -> dict[ResourceKey, Resource | None]:
    """Wait until ``holds(key, resource)`` was true once for each key; return the last state of those left over.

    Args:
        holds: the resource is None when it is not there.
        timeout_s: how long, >= 0; 0 looks once.
    """
    left: dict[ResourceKey, Resource | None] = dict.fromkeys(keys)

    def look(key: ResourceKey, resource: Resource | None) -> None:
        if key not in left:
            return
        if holds(key, resource):
            del left[key]
        else:
            left[key] = resource

    async def look_at_all() -> None:
        found = await runtime.store.resources.get_many(list(left))
        for key in list(left):
            look(key, found.get(key))

    try:
        async with asyncio.timeout(timeout_s or None):
            while left:
                events = runtime.client.watch(None)  # from this moment on, so nothing is missed in between
                await look_at_all()
                if not left or not timeout_s:
                    break
                try:
                    async for event in events:
                        look(event.resource.key, None if event.type == "DELETED" else event.resource)
                        if not left:
                            break
                except ExpiredError:
                    continue
    except TimeoutError:
        await look_at_all()
    return left
