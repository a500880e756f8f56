"""What every durable operation must keep to: subclass :class:`OperationConformance` in a plugin's test suite."""

from __future__ import annotations

import asyncio
import copy
import inspect
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import KastraError
from kastra_core.execution.replay import replay
from kastra_core.protocols.runner import OperationContext, RunContext, SharedState
from kastra_core.protocols.store import AppendRecord
from kastra_core.registrations import OperationRegistration
from kastra_core.runtime import RuntimeManager
from kastra_core.testing._run_lab import PATIENCE_S, Commit, KeepingStore, RunLab, json_faults

__all__ = ["OperationConformance"]

_NAME = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-zA-Z0-9_-]*")
_COUNTS_AS = ("", "model", "tool", "embedding")
_CALLER = ResourceKind(
    kind="ConformanceCaller",
    plural="conformancecallers",
    group="conformance.kastra.dev",
    references=lambda resource: [Reference(**entry) for entry in resource.spec["uses"]],
    runner=lambda: _Caller(),
)
_TURNS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""Turns of the event loop after which an operation is cancelled, one try each."""
_ODD: tuple[JsonValue, ...] = (None, -1, "", [], {})


class _Caller:
    """Performs the operation that its input names, and returns its result."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> JsonValue:
        return await ctx.perform(input["operation"], input["arguments"])


def _odd_arguments(arguments: Mapping[str, Any]) -> Iterator[JsonObject]:
    """Arguments that a careless caller may give: one of them missing, or of another type; none at all.

    >>> list(_odd_arguments({"a": ""}))
    [{}, {'a': None}, {'a': -1}, {'a': []}, {'a': {}}]
    """
    yield {}
    for name in arguments:
        rest = {key: copy.deepcopy(value) for key, value in arguments.items() if key != name}
        if rest:
            yield dict(rest)
        for value in _ODD:
            if type(value) is not type(arguments[name]):
                yield {**rest, name: copy.deepcopy(value)}


class OperationConformance:
    """Override the fixtures ``operation`` and ``arguments``; ``invalid``, ``manifests`` and others where it needs them.

    Needs pytest-asyncio with ``asyncio_mode = "auto"``. The operation is called as a run calls it, in a runtime with
    all installed plugins and a store in memory.

    Example:
        class TestGreet(OperationConformance):
            @pytest.fixture
            def operation(self):
                return OperationRegistration(name="acme.greet", handler="kastra_plugin_acme.operations:greet")

            @pytest.fixture
            def arguments(self):
                return {"name": "Ada"}

            @pytest.fixture
            def invalid(self):
                return [{}, {"name": 5}]
    """

    @pytest.fixture
    def operation(self) -> OperationRegistration:
        """The operation as its hook yields it."""
        raise NotImplementedError("override the fixture 'operation'")

    @pytest.fixture
    def arguments(self) -> JsonObject:
        """Arguments with which it ends well."""
        raise NotImplementedError("override the fixture 'arguments'")

    @pytest.fixture
    def invalid(self) -> Sequence[JsonObject]:
        """Arguments that it must refuse, by an OperationError or another KastraError."""
        return ()

    @pytest.fixture
    def manifests(self) -> Sequence[JsonObject]:
        """Resources that are there, and that the calling run has pinned (``ctx.pinned``)."""
        return ()

    @pytest.fixture
    def plugins(self) -> Sequence[tuple[str, Any]]:
        """Plugins beside the installed ones, as (name, module or object with hooks): a fake model provider, say."""
        return ()

    @pytest.fixture
    def shared(self) -> SharedState | None:
        """The state that the calling run shares (``ctx.shared``)."""
        return None

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """The directory of the project; files that are needed go there, ``.kastra/config.yaml`` among them."""
        return tmp_path

    @pytest.fixture
    async def lab(
        self, project: Path, operation: OperationRegistration, plugins: Sequence[tuple[str, Any]]
    ) -> AsyncIterator[RunLab]:
        made = RunLab(project, kinds=[_CALLER], operations=[operation], plugins=plugins)
        yield made
        await made.aclose()

    @pytest.fixture
    async def runtime(self, lab: RunLab, manifests: Sequence[JsonObject]) -> RuntimeManager:
        """The runtime that the operation is called in, with ``manifests`` in its store."""
        store, _ = await lab.stage(manifests)
        return lab.runtime(store)

    @pytest.fixture
    async def context(
        self, runtime: RuntimeManager, manifests: Sequence[JsonObject], shared: SharedState | None
    ) -> OperationContext:
        """What the operation gets beside its arguments: nobody listens to what it emits."""
        pins = {resource.key: resource for resource in (await runtime.store.resources.list("", "")).items}

        async def emit(_: JsonObject) -> None: ...

        return OperationContext(
            run_id="00000000-0000-4000-8000-000000000000",
            namespace="default",
            path="/conformance#0",
            idempotency_key="0" * 64,
            streaming=False,
            emit=emit,
            pinned=lambda reference: pins.get(reference.key),
            runtime=runtime,
            shared=shared,
        )

    async def call(self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject) -> Any:
        """Call the handler as a run does, with what it writes apart from that of other calls."""
        async with asyncio.timeout(PATIENCE_S):
            return await load(operation.handler)(attrs.evolve(context, writes=[]), copy.deepcopy(arguments))

    # -------------------------------------------------------------------------------------- the record

    def test_its_name_says_area_and_verb(self, operation: OperationRegistration) -> None:
        assert _NAME.fullmatch(operation.name), f"{operation.name!r} is not written as in 'tool.invoke'"
        assert operation.counts_as in _COUNTS_AS, f"counts_as is {operation.counts_as!r}, not one of {_COUNTS_AS}"

    def test_its_handler_is_an_async_function_of_a_context_and_arguments(
        self, operation: OperationRegistration
    ) -> None:
        handler = load(operation.handler)
        called = handler if inspect.isroutine(handler) else type(handler).__call__
        assert inspect.iscoroutinefunction(called), f"{handler!r} is no async function"
        inspect.signature(handler).bind(object(), {})

    # -------------------------------------------------------------------------------------- a call

    async def test_its_result_is_json(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> None:
        assert json_faults(await self.call(operation, context, arguments)) == [], "the journal could not keep it"

    async def test_the_same_call_again_ends_well_again(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> None:
        # A crash before the record is durable repeats it, with the same idempotency key.
        await self.call(operation, context, arguments)
        assert json_faults(await self.call(operation, context, arguments)) == []

    async def test_calls_at_the_same_time_all_end_well(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> None:
        contexts = [
            attrs.evolve(context, path=f"/conformance#{number}", idempotency_key=f"{number:064x}")
            for number in range(4)
        ]
        results = await asyncio.gather(*(self.call(operation, each, arguments) for each in contexts))
        assert [fault for result in results for fault in json_faults(result)] == []

    async def test_it_leaves_its_arguments_as_they_are(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> None:
        before = copy.deepcopy(arguments)
        async with asyncio.timeout(PATIENCE_S):
            await load(operation.handler)(context, arguments)
        assert arguments == before, "the arguments are the runner's; copy what is to be changed"

    async def test_what_it_used_is_counted(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> None:
        result = await self.call(operation, context, arguments)
        usage = result.get("usage") if isinstance(result, dict) else None
        if operation.counts_as in ("model", "embedding") and usage is not None:
            wrong = [name for name, value in usage.items() if value is not None and not _is_amount(value)]
            assert wrong == [], "what is no number of 0 and above cannot be counted"

    async def test_what_it_shows_are_events_with_a_type(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> None:
        events: list[JsonObject] = []

        async def emit(event: JsonObject) -> None:
            events.append(event)

        result = await self.call(operation, attrs.evolve(context, streaming=True, emit=emit), arguments)
        assert json_faults(result) == []
        for event in events:
            assert json_faults(event) == []
            assert isinstance(event.get("type"), str), f"the event {event} does not say of which type it is"

    # -------------------------------------------------------------------------------------- arguments

    async def test_arguments_that_it_cannot_use_are_refused_and_are_no_bug(
        self,
        operation: OperationRegistration,
        context: OperationContext,
        arguments: JsonObject,
        invalid: Sequence[JsonObject],
    ) -> None:
        for given in invalid:
            assert await self.refusal(operation, context, given), f"it takes {given}"
        for given in _odd_arguments(arguments):
            await self.refusal(operation, context, given)

    async def refusal(
        self, operation: OperationRegistration, context: OperationContext, arguments: JsonObject
    ) -> KastraError | None:
        """The error with which arguments are refused, None when they are taken.

        Raises: AssertionError: it ends in a bug.
        """
        try:
            result = await self.call(operation, context, arguments)
        except KastraError as error:
            if str(error).strip():
                return error
            raise AssertionError(f"given {arguments} it fails and does not say why") from error
        except Exception as error:
            raise AssertionError(
                f"given {arguments} it ends with {type(error).__name__}: {error}; raise an OperationError that says "
                "what is wrong and how to mend it"
            ) from error
        assert json_faults(result) == [], f"given {arguments}"
        return None

    # -------------------------------------------------------------------------------------- what it leaves behind

    async def test_it_writes_with_its_record_or_not_at_all(
        self,
        operation: OperationRegistration,
        runtime: RuntimeManager,
        context: OperationContext,
        arguments: JsonObject,
    ) -> None:
        before = len(_kept(runtime).commits)
        await self.call(operation, context, arguments)
        written = [each for commit in _kept(runtime).commits[before:] for each in commit.operations]
        assert written == [], "it wrote to the store itself; hand what is to be written to ctx.write"

    async def test_when_cancelled_it_ends_and_leaves_nothing(
        self,
        operation: OperationRegistration,
        runtime: RuntimeManager,
        context: OperationContext,
        arguments: JsonObject,
    ) -> None:
        await self.call(operation, context, arguments)  # what is made at the first use stays
        others = asyncio.all_tasks()
        before = len(_kept(runtime).commits)
        for turns in _TURNS:
            task = asyncio.ensure_future(self.call(operation, context, arguments))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.cancel():
                break  # it was over by then
            done, _ = await asyncio.wait([task], timeout=PATIENCE_S / 3)
            assert done, f"cancelled after {turns} turns of the event loop it goes on all the same"
            assert task.cancelled(), f"cancelled after {turns} turns of the event loop it swallowed the CancelledError"
        left = [task for task in asyncio.all_tasks() - others if not task.done()]
        if left:
            _, left_set = await asyncio.wait(left, timeout=1)
            left = list(left_set)
        assert left == [], "tasks that it began go on after it was cancelled"
        assert len(_kept(runtime).commits) == before, "it wrote to the store after it was cancelled"
        assert json_faults(await self.call(operation, context, arguments)) == [], "it cannot be called any more"

    # -------------------------------------------------------------------------------------- in a run

    async def test_a_run_records_it_once_and_tells_the_same_ever_after(
        self,
        lab: RunLab,
        operation: OperationRegistration,
        arguments: JsonObject,
        manifests: Sequence[JsonObject],
        shared: SharedState | None,
    ) -> None:
        store, runtime, caller = await self._caller(lab, manifests)
        asks = {"operation": operation.name, "arguments": arguments}
        key = await lab.start(runtime, caller, asks, shared=shared)
        run = await lab.follow(runtime, key)
        assert run.status["phase"] == "Succeeded", f"{run.status.get('reason')}: {run.status.get('message')}"
        [(_, asked)] = lab.operations.asked
        assert run.status.get("output") == orjson.loads(orjson.dumps(asked.result)), "the journal gives back another"
        if operation.counts_as == "model":
            assert run.status["usage"]["modelCalls"] == 1
        if operation.counts_as == "tool":
            assert run.status["usage"]["toolCalls"] == 1
        trace = await replay(runtime, run)
        assert (trace.end, trace.output) == ("finished", run.status.get("output"))

        # A process that is killed when it was recorded, and before the run ended: another one goes on.
        recorded = next(at for at, commit in enumerate(store.commits, 1) if _records(commit, run.metadata.uid))
        lab.operations.asked.clear()
        after = lab.runtime(await lab.store_after(store.commits[:recorded]))
        await after.runs.start()
        again = await lab.follow(after, key)
        assert lab.operations.asked == [], "it was carried out twice"
        assert (again.status["phase"], again.status.get("output")) == ("Succeeded", run.status.get("output"))

    @staticmethod
    async def _caller(lab: RunLab, manifests: Sequence[JsonObject]) -> tuple[KeepingStore, RuntimeManager, Reference]:
        """A staged store with ``manifests``, a runtime on it, and what runs there and refers to all of them."""
        store, uses = await lab.stage(manifests)
        entries = [{"kind": r.kind, "namespace": r.namespace, "name": r.name, "group": r.group} for r in uses]
        caller = {
            "apiVersion": "conformance.kastra.dev/v1",
            "kind": _CALLER.kind,
            "metadata": {"name": "caller"},
            "spec": {"uses": entries},
        }
        _, [reference] = await lab.stage([caller], store)
        return store, lab.runtime(store), reference


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _kept(runtime: RuntimeManager) -> KeepingStore:
    assert isinstance(runtime.store, KeepingStore)
    return runtime.store


def _records(commit: Commit, uid: str) -> bool:
    return any(isinstance(operation, AppendRecord) and operation.run == uid for operation in commit.operations)
