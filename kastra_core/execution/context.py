"""RunContext over the journal: what a runner may touch, recorded by path and answered from the record on replay."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import (
    FencedError,
    KastraError,
    LimitExceededError,
    OperationError,
    RunCancelledError,
    RunError,
)
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import AppendRecord, Operation

if TYPE_CHECKING:
    from kastra_core.execution.runs import RunManager

__all__ = ["Context", "RunState", "RunUsage", "Suspend"]

T = TypeVar("T")

IN_MEMORY_WAIT_S = 2.0
"""A shorter sleep keeps its task; a longer one lets the run leave memory."""


class Suspend(BaseException):
    """Ends the task of a run that waits; not an Exception, so that a runner's handlers let it pass.

    ``wake_at_s``: unix seconds, None = when a signal or a child's end wakes it.
    """

    def __init__(self, wake_at_s: float | None) -> None:
        super().__init__(wake_at_s)
        self.wake_at_s = wake_at_s


@attrs.define
class RunUsage:
    """What a run has used. Children's use is in it."""

    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    def add(self, other: Mapping[str, Any]) -> None:
        """Add the JSON of another usage (``to_json``, or a model's ``{"input_tokens", ...}``)."""
        self.model_calls += other.get("modelCalls", 0)
        self.tool_calls += other.get("toolCalls", 0)
        self.steps += other.get("steps", 0)
        self.input_tokens += other.get("inputTokens", 0) or other.get("input_tokens", 0)
        self.output_tokens += other.get("outputTokens", 0) or other.get("output_tokens", 0)
        if other.get("cost") is not None:
            self.cost = (self.cost or 0.0) + other["cost"]

    def to_json(self) -> JsonObject:
        out: JsonObject = {
            "modelCalls": self.model_calls,
            "toolCalls": self.tool_calls,
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
        }
        if self.steps:
            out["steps"] = self.steps
        if self.cost is not None:
            out["cost"] = round(self.cost, 9)
        return out


class RunState:
    """One run in memory; its contexts (one per branch) share it."""

    __slots__ = (
        "_flush_scheduled",
        "_inflight",
        "_pending",
        "cancelled",
        "deadline_s",
        "epoch",
        "key",
        "limits",
        "listeners",
        "lost",
        "manager",
        "pins",
        "records",
        "remembered",
        "resource",
        "seen_signals",
        "started",
        "uid",
        "usage",
    )

    def __init__(
        self,
        manager: RunManager,
        resource: Resource,
        epoch: int,
        pins: Mapping[ResourceKey, Resource],
        records: dict[str, JsonObject],
    ) -> None:
        self.manager = manager
        self.resource = resource
        self.uid = resource.metadata.uid
        self.key = resource.key
        self.epoch = epoch
        self.pins = pins
        self.records = records
        self.limits: Mapping[str, Any] = resource.spec.get("limits") or {}
        self.usage = RunUsage()
        self.started = {"model": 0, "tool": 0}
        self.listeners: list[Callable[[JsonObject], None]] = []
        self.remembered: list[JsonObject] = []
        self.seen_signals: set[int] = set()
        self.cancelled = False
        self.lost: BaseException | None = None
        self.deadline_s: float | None = None
        self._pending: list[Operation] = []
        self._inflight: asyncio.Task[Any] | None = None
        self._flush_scheduled = False

    # ------------------------------------------------------------------------------------ recording

    def record(self, path: str, record: JsonObject) -> None:
        """Hand a record to the store in this turn of the event loop; :meth:`durable` waits for it."""
        self.records[path] = record
        self._pending.append(AppendRecord(self.uid, path, record, self.epoch))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_scheduled = False
        if self._pending and self._inflight is None:
            self._start_commit()

    def _start_commit(self) -> asyncio.Task[Any]:
        operations, self._pending = self._pending, []
        task = asyncio.get_running_loop().create_task(self.manager.store.commit(operations))
        self._inflight = task
        task.add_done_callback(self._committed)
        return task

    def _committed(self, task: asyncio.Task[Any]) -> None:
        self._inflight = None
        if task.cancelled():
            self.lost = self.lost or FencedError(str(self.key))
            return
        error = task.exception()
        if error is not None:
            self.lost = self.lost or error
        elif self._pending:
            self._start_commit()

    def take_pending(self) -> list[Operation]:
        """What is not handed to the store yet; the caller commits it with the end of the run."""
        pending, self._pending = self._pending, []
        return pending

    async def durable(self) -> None:
        """Wait until all that was recorded is in the store.

        Raises: the store's error; FencedError when another worker has the run.
        """
        while self.lost is None and (self._pending or self._inflight is not None):
            task = self._inflight or self._start_commit()
            await asyncio.wait([task])
        if self.lost is not None:
            raise self.lost

    # ------------------------------------------------------------------------------------ limits

    def _check(self, name: str, used: float) -> None:
        allowed = self.limits.get(name)
        if allowed is not None and used > allowed:
            raise LimitExceededError(name, allowed, used)

    def begin(self, counts_as: str) -> None:
        """Count an operation that starts, or is replayed. Raises: LimitExceededError before one too many."""
        if not counts_as:
            return
        self.started[counts_as] += 1
        if self.limits:
            name = "maxModelCalls" if counts_as == "model" else "maxToolCalls"
            allowed = self.limits.get(name)
            if allowed is not None and self.started[counts_as] > allowed:
                raise LimitExceededError(name, allowed, self.started[counts_as] - 1)
            if counts_as == "model":
                tokens = self.usage.input_tokens + self.usage.output_tokens
                allowed = self.limits.get("maxTokens")
                if allowed is not None and tokens >= allowed:
                    raise LimitExceededError("maxTokens", allowed, tokens)
                allowed = self.limits.get("maxCost")
                if allowed is not None and (self.usage.cost or 0.0) >= allowed:
                    raise LimitExceededError("maxCost", allowed, self.usage.cost or 0.0)

    def count(self, counts_as: str, result: JsonValue) -> None:
        """Add what an operation used, once it ended or was replayed."""
        if counts_as == "model":
            self.usage.model_calls += 1
            if isinstance(result, dict) and isinstance(result.get("usage"), dict):
                self.usage.add(result["usage"])
        elif counts_as == "tool":
            self.usage.tool_calls += 1

    def step(self) -> None:
        self.usage.steps += 1
        allowed = self.limits.get("maxSteps")
        if allowed is not None and self.usage.steps > allowed:
            self.usage.steps -= 1
            raise LimitExceededError("maxSteps", allowed, self.usage.steps)

    # ------------------------------------------------------------------------------------ events

    def emit(self, event: JsonObject) -> None:
        for listener in self.listeners:
            listener(event)


class Context:
    """RunContext of one branch; see ``protocols.runner.RunContext`` for what each method promises."""

    __slots__ = ("_counts", "_scope", "_state")

    def __init__(self, state: RunState, scope: str = "") -> None:
        self._state, self._scope = state, scope
        self._counts: dict[str, int] = {}

    @property
    def run_id(self) -> str:
        return self._state.uid

    @property
    def namespace(self) -> str:
        return self._state.key.namespace

    @property
    def thread(self) -> str | None:
        return self._state.resource.spec.get("thread")

    @property
    def spec(self) -> JsonObject:
        return self._state.resource.spec

    @property
    def streaming(self) -> bool:
        return bool(self._state.listeners)

    def pinned(self, reference: Reference) -> Resource | None:
        return self._state.pins.get(reference.key)

    def _path(self, name: str) -> str:
        count = self._counts.get(name, 0)
        self._counts[name] = count + 1
        return f"{self._scope}/{name}#{count}"

    async def perform(
        self, operation: str, arguments: JsonObject, *, name: str = "", at_most_once: bool = False
    ) -> JsonValue:
        state = self._state
        path = self._path(name or operation)
        counts_as, handler = state.manager.operation(operation)
        record = state.records.get(path)
        state.begin(counts_as)
        if record is not None:
            state.count(counts_as, record.get("r"))
            return _outcome(record)
        await state.durable()
        if at_most_once:
            await self._started_once(path)
        context = OperationContext(
            run_id=state.uid,
            namespace=state.key.namespace,
            path=path,
            idempotency_key=hashlib.sha256(f"{state.uid}{path}".encode()).hexdigest(),
            streaming=bool(state.listeners),
            emit=self.emit,
            pinned=self.pinned,
            runtime=state.manager.runtime,
        )
        began = time.perf_counter()
        try:
            result = await handler(context, arguments)
        except Exception as error:
            failure = _as_operation_error(error, operation)
            took = round((time.perf_counter() - began) * 1000)
            state.count(counts_as, None)
            state.record(path, {"e": _error_json(failure), "ms": took})
            raise failure from error
        state.count(counts_as, result)
        state.record(path, {"r": result, "ms": round((time.perf_counter() - began) * 1000)})
        return result

    async def _started_once(self, path: str) -> None:
        state = self._state
        marker = f"{path}!"
        if marker in state.records:
            failure = OperationError(
                "it was under way when the process ended and may have had its effect; it is not repeated",
                reason="OutcomeUnknown",
            )
            state.record(path, {"e": _error_json(failure)})
            raise failure
        state.record(marker, {})
        await state.durable()

    async def call(self, reference: Reference, input: JsonValue, *, name: str = "", thread: str | None = None) -> Any:
        state = self._state
        path = self._path(name or f"{reference.kind.lower()}:{reference.name}")
        record = state.records.get(path)
        if record is not None:
            state.usage.add(record.get("u") or {})
            return _outcome(record)
        await state.durable()
        child = await state.manager.start_child(state, path, reference, input, thread)
        status = await state.manager.wait_child(child)
        usage = status.get("usage") or {}
        state.usage.add(usage)
        if status.get("phase") == "Succeeded":
            state.record(path, {"r": status.get("output"), "u": usage})
            return status.get("output")
        failure = OperationError(
            f"{reference}: {status.get('message') or status.get('phase')}", reason=status.get("reason") or "ChildFailed"
        )
        state.record(path, {"e": _error_json(failure), "u": usage})
        raise failure

    async def gather(
        self, branches: Mapping[str, Callable[[RunContext], Awaitable[T]]], *, concurrency: int | None = None
    ) -> dict[str, T | BaseException]:
        group = self._path("all")
        gate = asyncio.Semaphore(concurrency) if concurrency and concurrency < len(branches) else None
        out: dict[str, T | BaseException] = {}
        fatal: list[BaseException] = []
        tasks: list[asyncio.Task[None]] = []

        async def one(name: str, branch: Callable[[RunContext], Awaitable[T]]) -> None:
            try:
                if gate is None:
                    out[name] = await branch(Context(self._state, f"{group}[{name}]"))
                else:
                    async with gate:
                        out[name] = await branch(Context(self._state, f"{group}[{name}]"))
            except (LimitExceededError, RunCancelledError, FencedError) as error:
                fatal.append(error)
                for task in tasks:
                    task.cancel()
            except (Exception, Suspend) as error:
                out[name] = error

        if len(branches) == 1:
            await one(*next(iter(branches.items())))
        else:
            tasks.extend(asyncio.create_task(one(name, branch)) for name, branch in branches.items())
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                raise
        if fatal:
            raise fatal[0]
        waits = [found for found in out.values() if isinstance(found, Suspend)]
        if waits:
            instants = [wait.wake_at_s for wait in waits if wait.wake_at_s is not None]
            raise Suspend(min(instants) if instants else None)
        return {name: out[name] for name in branches}

    async def sleep(self, seconds: float, *, name: str = "sleep") -> None:
        state = self._state
        path = self._path(name)
        record = state.records.get(path)
        if record is None:
            record = {"until": state.manager.clock() + seconds}
            state.record(path, record)
            await state.durable()
        await self._wait_until(record["until"])

    async def _wait_until(self, instant_s: float) -> None:
        left = instant_s - self._state.manager.clock()
        if left > IN_MEMORY_WAIT_S:
            raise Suspend(instant_s)
        if left > 0:
            await asyncio.sleep(left)

    async def wait_signal(self, signal: str, *, timeout_s: float | None = None, name: str = "") -> JsonValue:
        state = self._state
        path = self._path(name or f"signal:{signal}")
        record = state.records.get(path)
        if record is not None:
            return _outcome(record)
        limit = state.records.get(f"{path}!")
        if limit is None and timeout_s is not None:
            limit = {"until": state.manager.clock() + timeout_s}
            state.record(f"{path}!", limit)
        await state.durable()
        used = {done["sig"] for done in state.records.values() if "sig" in done}
        for found in await state.manager.store.journal.signals(state.uid):
            state.seen_signals.add(found.seq)
            if found.name == signal and found.seq not in used:
                state.record(path, {"r": found.payload, "sig": found.seq})
                return found.payload
        if limit is not None and limit["until"] <= state.manager.clock():
            failure = OperationError(f"no signal {signal!r} came in time", reason="Timeout")
            state.record(path, {"e": _error_json(failure)})
            raise failure
        raise Suspend(limit["until"] if limit else None)

    def step(self) -> None:
        self._state.step()

    async def emit(self, event: JsonObject) -> None:
        self._state.emit(event)

    async def now(self) -> float:
        path = self._path("now")
        record = self._state.records.get(path)
        if record is None:
            record = {"r": self._state.manager.clock()}
            self._state.record(path, record)
        return float(record["r"])

    async def uuid(self) -> str:
        # Derived, so it needs no record: the same path of the same run always gives the same.
        return str(uuid.uuid5(uuid.UUID(self._state.uid), self._path("uuid")))

    async def history(self) -> Sequence[JsonObject]:
        state = self._state
        thread = self.thread
        if not thread:
            return ()
        stored = await state.manager.store.threads.messages(
            state.key.namespace, thread, up_to=state.resource.spec.get("threadAfter", 0)
        )
        return [item.message for item in stored]

    async def remember(self, messages: Sequence[JsonObject]) -> None:
        self._state.remembered.extend(messages)


def _outcome(record: JsonObject) -> JsonValue:
    error = record.get("e")
    if error is None:
        return record.get("r")
    raise OperationError(
        error["message"],
        reason=error["reason"],
        retryable=error.get("retryable", False),
        details=error.get("details"),
    )


def _error_json(error: OperationError) -> JsonObject:
    out: JsonObject = {"reason": error.reason, "message": error.message}
    if error.retryable:
        out["retryable"] = True
    if error.details:
        out["details"] = error.details
    return out


def _as_operation_error(error: Exception, operation: str) -> OperationError:
    if isinstance(error, OperationError):
        return error
    if isinstance(error, RunError):
        raise error
    if isinstance(error, KastraError):
        return OperationError(str(error), reason=error.reason, retryable=bool(getattr(error, "retryable", False)))
    return OperationError(
        f"operation {operation} failed: {type(error).__name__}: {error}",
        reason="OperationBug",
        details={"type": type(error).__name__},
    )
