"""Events: short records of what happened to a resource, counted instead of repeated."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey, rfc3339
from kastra_core.errors import AlreadyExistsError, ConflictError, NotFoundError, StoreError
from kastra_core.resources import ResourceClient

__all__ = ["EventRecorder"]

log = logging.getLogger("kastra.events")


class EventRecorder:
    """Writes Event resources; the same event of the same resource is one Event with a count.

    Losing an event is never an error: a store that does not answer is logged and no more.
    """

    def __init__(self, client: ResourceClient, *, clock: Callable[[], float]) -> None:
        self._client, self._clock = client, clock

    async def record(self, resource: Resource, type: str, reason: str, message: str) -> None:
        """Record an event.

        Args:
            resource: whom it is about.
            type: "Normal" or "Warning".
            reason: CamelCase word.
            message: one sentence.
        """
        meta = resource.metadata
        digest = hashlib.sha256(f"{resource.kind}\0{meta.uid}\0{type}\0{reason}\0{message}".encode()).hexdigest()
        name = f"{meta.name[:200]}.{digest[:12]}"
        namespace = meta.namespace or "default"
        now = rfc3339(self._clock())
        key = ResourceKey(MAIN_GROUP, "Event", namespace, name)
        try:
            old = await self._client.get(key)
            if old is not None:
                spec = {**old.spec, "count": old.spec.get("count", 1) + 1, "lastTimestamp": now}
                await self._client.update(old.evolve(spec=spec))
                return
            spec = {
                "type": type,
                "reason": reason,
                "object": f"{resource.kind.lower()}/{meta.name}",
                "involvedObject": {"group": resource.group, "kind": resource.kind, "name": meta.name, "uid": meta.uid},
                "message": message,
                "count": 1,
                "firstTimestamp": now,
                "lastTimestamp": now,
            }
            await self._client.create(
                Resource(
                    api_version=f"{MAIN_GROUP}/v1",
                    kind="Event",
                    metadata=ObjectMeta(name=name, namespace=namespace),
                    spec=spec,
                )
            )
        except (ConflictError, AlreadyExistsError, NotFoundError):
            # Another process counted or removed it at the same moment.
            log.debug("event %s of %s was recorded elsewhere", reason, resource.key)
        except StoreError as error:
            log.warning("event %s of %s could not be stored: %s", reason, resource.key, error)
