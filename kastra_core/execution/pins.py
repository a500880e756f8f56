"""What a run pins: its target and all that it refers to, as they were when it started, kept once by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson

from kastra_core.api.meta import JsonObject, ObjectMeta, Resource, ResourceKey
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import NotFoundError
from kastra_core.protocols.store import Store

__all__ = ["PinBoard", "Pins"]

Pins = Mapping[ResourceKey, Resource]


class PinBoard:
    """Makes and reads pins; remembers what it made, so that the same target costs two look-ups.

    Args:
        store: where resources and blobs are.
        registry: says what refers to what.
    """

    def __init__(self, store: Store, registry: KindRegistry) -> None:
        self._store, self._registry = store, registry
        self._made: dict[tuple[tuple[str, str], ...], tuple[str, bytes, Pins]] = {}
        self._kept: dict[str, Pins] = {}
        self._references: dict[tuple[str, str], tuple[ResourceKey, ...]] = {}
        self._reach: dict[tuple[str, ResourceKey], set[ResourceKey]] = {}

    async def closure(self, target: Resource) -> list[Resource]:
        """The target and all that it refers to and that exists, transitively, target first."""
        found = {target.key: target}
        level = [target]
        while level:
            wanted: list[ResourceKey] = []
            for resource in level:
                wanted.extend(key for key in self._referred(resource) if key not in found)
            if not wanted:
                break
            got = await self._store.resources.get_many(list(dict.fromkeys(wanted)))
            level = [resource for key, resource in got.items() if key not in found]
            found.update(got)
        return list(found.values())

    def _referred(self, resource: Resource) -> tuple[ResourceKey, ...]:
        """What a stored resource refers to; asked once for each version, as a large one takes time to answer."""
        kind = self._registry.get(resource.group, resource.kind)
        if kind is None or kind.references is None:
            return ()  # most have none: no entry for them
        version = (resource.metadata.uid, resource.metadata.resource_version)
        keys = self._references.get(version)
        if keys is None:
            if len(self._references) > 1000:
                self._references.clear()
            keys = self._references[version] = tuple(
                dict.fromkeys(r.key for r in self._registry.references_of(resource))
            )
        return keys

    async def pin(self, target: Resource) -> tuple[str, bytes, Pins]:
        """Return (digest, bytes to keep, pins)."""
        resources = await self.closure(target)
        versions = tuple((r.metadata.uid, r.metadata.resource_version) for r in resources)
        made = self._made.get(versions)
        if made is None:
            if len(self._made) > 1000:
                self._made.clear()
            made = self._made[versions] = self.again({resource.key: self._snapshot(resource) for resource in resources})
        return made

    @staticmethod
    def again(pins: Pins) -> tuple[str, bytes, Pins]:
        """As :meth:`pin`, with what was pinned before."""
        # Fields keep their order: a text that is made of them must be the same after a restart.
        data = orjson.dumps([r.to_manifest() for r in pins.values()])
        return "sha256:" + hashlib.sha256(data).hexdigest(), data, pins

    def refers(self, digest: str, pins: Pins, source: ResourceKey, target: ResourceKey) -> bool:
        """Whether, of what is pinned, the source is the target or refers to it, directly or by others."""
        found = self._reach.get((digest, source))
        if found is None:
            found, level = {source}, [source]
            while level:
                resource = pins.get(level.pop())
                if resource is None:
                    continue
                more = {reference.key for reference in self._registry.references_of(resource)} - found
                found |= more
                level += more
            if len(self._reach) > 1000:
                self._reach.clear()
            self._reach[(digest, source)] = found
        return target in found

    def was_kept(self, digest: str) -> bool:
        """Whether the store had the bytes when last seen; with the last run that held them they go."""
        return digest in self._kept

    def kept(self, digest: str, pins: Pins) -> None:
        """Say that the bytes of a digest are in the store now."""
        if len(self._kept) > 1000:
            self._kept.clear()
        self._kept[digest] = pins

    async def load(self, digest: str) -> Pins:
        """The pins of a digest. Raises: NotFoundError when the store has lost them."""
        pins = self._kept.get(digest)
        if pins is None:
            try:
                data = await self._store.blobs.get(digest)
            except NotFoundError as error:
                raise NotFoundError(f"the pinned resources {digest} of this run") from error
            resources = [Resource.from_manifest(manifest) for manifest in orjson.loads(data)]
            pins = {resource.key: resource for resource in resources}
            self.kept(digest, pins)
        return pins

    def _snapshot(self, resource: Resource) -> Resource:
        kind = self._registry.get(resource.group, resource.kind)
        names = kind.pinned_status if kind else ()
        status: JsonObject = {name: resource.status[name] for name in names if name in resource.status}
        meta = resource.metadata
        slim = ObjectMeta(
            name=meta.name, namespace=meta.namespace, labels=meta.labels, uid=meta.uid, generation=meta.generation
        )
        return Resource(
            api_version=resource.api_version,
            kind=resource.kind,
            metadata=slim,
            spec=resource.spec,
            status=status,
            extra=resource.extra,
        )
