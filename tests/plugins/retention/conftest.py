"""A store with runs, events and threads as old as a test wants them, and the controller that enforces policies."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import ObjectMeta, OwnerReference, Resource, ResourceKey, rfc3339
from kastra_core.builtin import EVENT, RUN
from kastra_core.controller import Request, Result
from kastra_core.errors import ConflictError, StoreUnavailableError
from kastra_core.memory_store import MemoryStore
from kastra_core.plugins import PluginManager
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    Operation,
    PutBlob,
    ReleaseRun,
    SendSignal,
    Store,
)
from kastra_core.testing.controller import MiniRuntime
from kastra_plugin_libsql.store import open_store
from kastra_plugin_retention.controller import RetentionController

FINISHED = ("Succeeded", "Failed", "Cancelled")


class Clock:
    """Unix seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def _policy_kind() -> ResourceKind:
    for _, record in PluginManager().records("kastra_resource_kinds"):
        if record.kind == "RetentionPolicy":
            assert isinstance(record, ResourceKind)
            return record
    raise AssertionError("no plugin offers RetentionPolicy")


@attrs.define(slots=False)
class ClockedRuntime(MiniRuntime):
    """A MiniRuntime with the clock that a real one has."""

    clock: Callable[[], float] = attrs.field(kw_only=True, factory=Clock)


class World:
    """Everything of one process; ``again`` is another process on the same store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.clock, self.store = clock, store
        mini = MiniRuntime.of(_policy_kind(), RUN, EVENT, store=store)
        self.runtime = ClockedRuntime(store=store, registry=mini.registry, client=mini.client, clock=clock)
        self.client = self.runtime.client
        self.controller = RetentionController(self.runtime)

    def again(self) -> World:
        return World(self.store, self.clock)

    async def policy(self, name: str = "default", **spec: Any) -> Resource:
        """Apply a policy; it is not enforced yet."""
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "RetentionPolicy", "metadata": {"name": name}, "spec": spec}
        [resource] = await self.runtime.apply([manifest])
        return resource

    async def reconcile(self, name: str = "default") -> Result:
        """Reconcile a policy and wait for the pass that this began."""
        while True:
            try:
                result = await self.controller.reconcile(Request("", name))
            except ConflictError:
                continue  # as the manager does
            await self.controller.finished()
            return result

    async def enforce(self, name: str = "default", **spec: Any) -> dict[str, Any]:
        """Apply a policy, enforce it, and return its status."""
        await self.policy(name, **spec)
        await self.reconcile(name)
        return await self.status(name)

    async def status(self, name: str = "default") -> dict[str, Any]:
        policy = await self.client.require(ResourceKey("mastra.ai", "RetentionPolicy", "", name))
        return policy.status

    async def run(
        self,
        name: str,
        phase: str = "Succeeded",
        *,
        age_s: float = 0.0,
        namespace: str = "default",
        parent: Resource | None = None,
        labels: dict[str, str] | None = None,
        thread: str = "",
        finalizers: tuple[str, ...] = (),
        blob: bytes = b"",
    ) -> Resource:
        """A run with a journal and a signal as the engine leaves it; ``age_s``: since it ended."""
        uid = str(uuid.uuid4())
        spec: dict[str, Any] = {"target": {"group": "mastra.ai", "kind": "Agent", "namespace": namespace, "name": "a"}}
        owners: tuple[OwnerReference, ...] = ()
        if thread:
            spec["thread"] = thread
        if parent is not None:
            spec["parent"] = {"run": parent.metadata.uid, "path": "/x", "depth": 1}
            owners = (
                OwnerReference(
                    api_version="mastra.ai/v1", kind="Run", name=parent.metadata.name, uid=parent.metadata.uid
                ),
            )
        over = phase in FINISHED
        ended = {"finishedAt": rfc3339(self.clock() - age_s)} if over else {}
        meta = ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid,
            generation=1,
            labels=labels or {},
            finalizers=finalizers,
            owner_references=owners,
            creation_timestamp=rfc3339(self.clock() - age_s - 5),
        )
        resource = Resource(
            api_version="mastra.ai/v1", kind="Run", metadata=meta, spec=spec, status={"phase": phase, **ended}
        )
        operations: list[Operation] = [
            CreateResource(resource),
            ClaimRun(uid, resource.key, "worker/1"),
            AppendRecord(uid, "/x", {"r": name}, 1),
            SendSignal(uid, "go", {"x": 1}),
        ]
        if blob:
            operations.append(PutBlob(blob, uid))
        if over:
            operations.append(ReleaseRun(uid, 1))
        return (await self.store.commit(operations))[0]  # type: ignore[no-any-return]

    async def event(self, name: str, *, age_s: float = 0.0, namespace: str = "default") -> Resource:
        at = rfc3339(self.clock() - age_s)
        spec = {"type": "Normal", "reason": "R", "object": "x/y", "message": "m", "count": 1, "lastTimestamp": at}
        meta = ObjectMeta(name=name, namespace=namespace, uid=str(uuid.uuid4()), generation=1, creation_timestamp=at)
        resource = Resource(api_version="mastra.ai/v1", kind="Event", metadata=meta, spec=spec)
        return (await self.store.commit([CreateResource(resource)]))[0]  # type: ignore[no-any-return]

    async def thread(self, name: str, *, age_s: float = 0.0, namespace: str = "default", messages: int = 1) -> None:
        """A thread that was written to last ``age_s`` ago; the store's clock is put back for it."""
        self.clock.advance(-age_s)
        many = tuple({"role": "user", "n": number} for number in range(messages))
        await self.store.commit([AppendMessages(namespace, name, many)])
        self.clock.advance(age_s)

    async def names(self, kind: str = "Run", namespace: str | None = None) -> list[str]:
        """Names of what is there, in order."""
        page = await self.store.resources.list("mastra.ai", kind, namespace=namespace)
        return [item.metadata.name for item in page.items]

    async def threads(self, namespace: str | None = None) -> list[str]:
        return [info.thread for info in await self.store.threads.list(namespace)]


@pytest.fixture
def world_of() -> Callable[[Store, Clock], World]:
    return World


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_world() -> Callable[[], World]:
    """``new_world()``: an empty one in memory."""

    def make() -> World:
        clock = Clock()
        return World(MemoryStore(clock=clock), clock)

    return make


@pytest.fixture(params=["memory", "libsql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[World]:
    """An empty one, in memory and on a file."""
    store: Store = MemoryStore(clock=clock)
    if request.param == "libsql":
        store = await open_store(f"file:{tmp_path}/kastra.db", {"clock": clock, "durability": "relaxed"})
    world = World(store, clock)
    yield world
    with suppress(StoreUnavailableError):  # a test may have closed it
        await world.controller.aclose()
    await store.aclose()
