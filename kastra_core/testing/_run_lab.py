"""Runs whose store keeps every commit and whose operations are watched, for the suites of runners and operations."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.config import Config
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.state import used_signals
from kastra_core.memory_store import MemoryStore
from kastra_core.plugins import PluginManager
from kastra_core.protocols.runner import OperationContext
from kastra_core.protocols.store import CreateResource, Operation, Store
from kastra_core.registrations import OperationRegistration, ResourceKind
from kastra_core.runtime import RuntimeManager, registry_of

__all__ = [
    "PATIENCE_S",
    "THREAD",
    "Answer",
    "Asked",
    "Commit",
    "Handler",
    "KeepingStore",
    "Operations",
    "RunLab",
    "json_faults",
]

PATIENCE_S = 30.0
"""How long one run of a suite may take."""
THREAD = "conformance"
"""The conversation that the runs of a lab belong to."""
_RUN = "Run"


def json_faults(value: object, path: str = "") -> list[str]:
    """What of a value is no JSON, or would come back from it as something else; empty when all is well.

    >>> json_faults({"a": [1, {2}], "b": float("nan")})
    ['.a[1] is of type set', '.b is nan']
    """
    if value is None or isinstance(value, (str, bool)):
        return []
    where = path or "the value"
    if isinstance(value, int):
        return [] if -(2**63) <= value < 2**64 else [f"{where} is beyond 64 bits"]
    if isinstance(value, float):
        return [] if value - value == 0 else [f"{where} is {value}"]
    if isinstance(value, (list, tuple)):
        return [fault for at, item in enumerate(value) for fault in json_faults(item, f"{path}[{at}]")]
    if isinstance(value, dict):
        keys = [f"{where} has the key {key!r}, which is no text" for key in value if not isinstance(key, str)]
        return keys + [fault for key, item in value.items() for fault in json_faults(item, f"{path}.{key}")]
    return [f"{where} is of type {type(value).__name__}"]


@attrs.frozen
class Commit:
    """What a store committed, and when (unix seconds)."""

    time_s: float
    operations: Sequence[Operation]


class KeepingStore(MemoryStore):
    """A store in memory that keeps what was committed, so that it can be brought back to any moment.

    What a process that is killed leaves is what was committed before; :meth:`RunLab.store_after` makes that store.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.commits: list[Commit] = []
        self.runs: dict[str, Resource] = {}
        """Every Run that was created, by uid."""

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        kept = copy.deepcopy(list(operations))
        results = await super().commit(operations)
        self.commits.append(Commit(self.clock(), kept))
        for operation in kept:
            if isinstance(operation, CreateResource) and operation.resource.kind == _RUN:
                self.runs[operation.resource.metadata.uid] = operation.resource
        return results

    async def aclose(self) -> None:
        """Nothing: it outlives the runtimes that use it."""

    def place(self, uid: str, path: str) -> str:
        """A journal path in any run, told from the run that nobody called: the same in every run of a target."""
        parent = self.runs[uid].spec.get("parent") if uid in self.runs else None
        return self.place(parent["run"], parent["path"] + path) if parent else path


@attrs.frozen
class Asked:
    """An operation that a runner asked for, and what it got."""

    operation: str
    arguments: JsonObject
    result: JsonValue = None
    error: BaseException | None = None
    writes: tuple[Operation, ...] = ()


Handler = Callable[[OperationContext, JsonObject], Awaitable[JsonValue]]
Answer = Callable[[str, str, JsonObject, OperationContext, Handler], Awaitable[JsonValue]]
"""(place, operation, arguments, context, real handler) -> result."""


class Operations:
    """Stands between the runs of a lab and the operations that they ask for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Asked]] = []
        """(place, what) in the order in which they ended."""
        self.answer: Answer = self.really
        self.store: KeepingStore | None = None

    async def really(
        self, place: str, operation: str, arguments: JsonObject, ctx: OperationContext, handler: Handler
    ) -> JsonValue:
        """Have the operation carried out."""
        return await handler(ctx, arguments)

    def watched(self, record: OperationRegistration) -> OperationRegistration:
        """The record with a handler that asks :attr:`answer`."""

        async def handle(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
            assert self.store is not None
            place = self.store.place(ctx.run_id, ctx.path)
            given = copy.deepcopy(arguments)
            try:
                result = await self.answer(place, record.name, arguments, ctx, load(record.handler))
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.asked.append((place, Asked(record.name, given, error=error)))
                raise
            self.asked.append((place, Asked(record.name, given, copy.deepcopy(result), writes=tuple(ctx.writes))))
            return result

        return attrs.evolve(record, handler=handle)


class _Plugins(PluginManager):
    """The installed plugins, with the kind and the operation that a suite is about."""

    def __init__(
        self,
        operations: Operations,
        kinds: Sequence[ResourceKind],
        own: Sequence[OperationRegistration],
        extra: Sequence[tuple[str, Any]],
    ) -> None:
        super().__init__(extra=extra)
        self._kinds, self._own, self._operations = kinds, own, operations
        self._made: dict[str, list[tuple[str, Any]]] = {}

    def records(self, hook: str) -> list[tuple[str, Any]]:
        if hook not in self._made:
            found = super().records(hook)
            if hook == "kastra_resource_kinds":
                found = _with(found, self._kinds, lambda kind: kind.group_kind)
            elif hook == "kastra_operations":
                found = _with(found, self._own, lambda record: record.name)
                found = [(plugin, self._operations.watched(record)) for plugin, record in found]
            self._made[hook] = found
        return self._made[hook]


def _with(found: Sequence[tuple[str, Any]], own: Sequence[Any], name: Callable[[Any], object]) -> list[tuple[str, Any]]:
    """What plugins offer, with a suite's own records in place of those of the same name."""
    names = {name(record) for record in own}
    return [*(item for item in found if name(item[1]) not in names), *(("conformance", record) for record in own)]


class RunLab:
    """Runtimes that come and go on one store.

    Args:
        project: an empty directory.
        kinds, operations: what the suite is about; they win over those that are installed.
        plugins: further plugins, (name, module or object).
        signals: payload by name of a signal that a run waits for.
    """

    def __init__(
        self,
        project: Path,
        *,
        kinds: Sequence[ResourceKind] = (),
        operations: Sequence[OperationRegistration] = (),
        plugins: Sequence[tuple[str, Any]] = (),
        signals: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self.now_s = 1_700_000_000.0
        self.operations = Operations()
        self.signals = dict(signals or {})
        self._config = Config.load(project, env={"KASTRA_CONFIG_HOME": str(project / "config")})
        self.plugins: PluginManager = _Plugins(self.operations, kinds, operations, plugins)
        self._runtimes: list[RuntimeManager] = []

    def clock(self) -> float:
        """Unix seconds; they pass only while a run sleeps."""
        return self.now_s

    async def store_after(self, commits: Sequence[Commit]) -> KeepingStore:
        """The store that these commits make, without the leases of who made them; it is the time of the last one."""
        store = KeepingStore(clock=self.clock)
        for commit in commits:
            self.now_s = commit.time_s
            await store.commit(commit.operations)
        return store

    def runtime(self, store: KeepingStore) -> RuntimeManager:
        """A process that works on a store."""
        runtime = RuntimeManager(
            store=store,
            config=self._config,
            plugins=self.plugins,
            registry=registry_of(self.plugins),
            clock=self.clock,
        )
        self.operations.store = store
        self._runtimes.append(runtime)
        return runtime

    async def stage(
        self, manifests: Sequence[Mapping[str, Any]], store: KeepingStore | None = None
    ) -> tuple[KeepingStore, list[Reference]]:
        """A store in which resources have been applied and looked at by their controllers; and references to them.

        ``store``: what is staged further, None = a new one.
        """
        store = KeepingStore(clock=self.clock) if store is None else store
        runtime = self.runtime(store)
        report = await runtime.apply(list(manifests), timeout_s=PATIENCE_S) if manifests else None
        await self.close(runtime)
        keys = [item.resource.key for item in report.items] if report else []
        return store, [Reference(kind=k.kind, namespace=k.namespace, name=k.name, group=k.group) for k in keys]

    async def start(
        self, runtime: RuntimeManager, target: Reference, input: JsonValue, *, thread: str = THREAD, **options: Any
    ) -> ResourceKey:
        """Start a run within a conversation; return the key of the Run. ``options``: further fields of RunOptions."""
        run = await runtime.start_run(target, copy.deepcopy(input), thread=thread, require_ready=False, **options)
        return run.key

    async def follow(self, runtime: RuntimeManager, key: ResourceKey) -> Resource:
        """Wait until a run is over, and give it and those that it calls what they wait for; return the Run.

        Raises: AssertionError: it waits for something that it will never get, or is not over in time.
        """
        events = runtime.store.resources.watch(MAIN_GROUP, _RUN)
        try:
            async with asyncio.timeout(PATIENCE_S):
                for run in (await runtime.store.resources.list(MAIN_GROUP, _RUN)).items:
                    await self._wake(runtime, run)
                run = await runtime.client.require(key)
                while run.status.get("phase") not in FINISHED:
                    event = await anext(events)
                    await self._wake(runtime, event.resource)
                    run = event.resource if event.resource.key == key else run
        except TimeoutError:
            raise AssertionError(f"the run is not over after {PATIENCE_S:g} s: {run.status}") from None
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # a MemoryStore's watch has it
        await runtime.runs.drain()
        return run

    async def _wake(self, runtime: RuntimeManager, run: Resource) -> None:
        status = run.status
        if status.get("phase") != "Suspended":
            return
        current = await runtime.store.resources.get(run.key)
        if current is None or current.metadata.resource_version != run.metadata.resource_version:
            return  # it went on meanwhile
        wanted = [str(item["signal"]) for item in status.get("awaiting") or ()]
        given = [name for name in dict.fromkeys(wanted) if name in self.signals]
        for name in given:
            if not await _has_untaken(runtime.store, run.metadata.uid, name):
                await runtime.runs.signal(run.key, name, copy.deepcopy(self.signals[name]))
        if given:
            return
        if status.get("wakeAtS") is not None:
            self.now_s = max(self.now_s, float(status["wakeAtS"]))
            runtime.runs.look_again()
        elif wanted:
            raise AssertionError(
                f"the run waits for the signal {wanted[0]!r}; say in the fixture `signals` what it gets"
            )

    async def messages(self, store: KeepingStore, namespace: str) -> list[JsonObject]:
        """What the conversation of the runs holds."""
        return [stored.message for stored in await store.threads.messages(namespace, THREAD)]

    async def close(self, runtime: RuntimeManager) -> None:
        """End a process."""
        self._runtimes.remove(runtime)
        await runtime.aclose()

    async def aclose(self) -> None:
        """End all processes."""
        for runtime in list(self._runtimes):
            await self.close(runtime)


async def _has_untaken(store: Store, uid: str, name: str) -> bool:
    taken = used_signals(line.record for line in await store.journal.records(uid))
    return any(signal.name == name and signal.seq not in taken for signal in await store.journal.signals(uid))
