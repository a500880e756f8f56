"""What the parts of the store's conformance suite share."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

import pytest

from kastra_core.api.meta import ObjectMeta, OwnerReference, Resource, ResourceKey
from kastra_core.protocols.store import Store

__all__ = ["GROUP", "KIND", "Cases", "ManualClock", "Reopen", "key_of", "make", "take"]

T = TypeVar("T")
GROUP, KIND = "test.kastra.dev", "Thing"
_PATIENCE_S = 20.0
Reopen: TypeAlias = Callable[[], Awaitable[Store]]


class ManualClock:
    """Unix seconds that pass only when told."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class Cases:
    """Flags and fixtures of the suite."""

    persistent: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    history: ClassVar[int | None] = 100

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Hand it to the store as its clock."""
        return ManualClock()

    @pytest.fixture
    async def store(self, clock: ManualClock) -> Store:
        raise NotImplementedError("give a fixture `store`: an empty store that uses the fixture `clock`")

    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("give a fixture `reopen`: an async function that opens the same data once more")


def key_of(name: str, namespace: str = "default", kind: str = KIND) -> ResourceKey:
    return ResourceKey(GROUP, kind, namespace, name)


def make(
    name: str,
    namespace: str = "default",
    *,
    kind: str = KIND,
    owners: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    group: str = GROUP,
    uid: str = "",
    **spec: Any,
) -> Resource:
    """A new resource, with an own uid when none is given."""
    references = tuple(OwnerReference(api_version="v1", kind="Owner", name="o", uid=owner) for owner in owners)
    meta = ObjectMeta(
        name=name,
        namespace=namespace,
        uid=uid or uuid.uuid4().hex,
        generation=1,
        labels=labels or {},
        owner_references=references,
    )
    return Resource(
        api_version=f"{group}/v1" if group else "v1", kind=kind, metadata=meta, spec=spec, status=status or {}
    )


async def take(iterator: AsyncIterator[T], count: int) -> list[T]:
    """The next ``count`` items; a failure when they do not come."""

    async def collect() -> list[T]:
        return [await anext(iterator) for _ in range(count)]

    return await asyncio.wait_for(collect(), _PATIENCE_S)
