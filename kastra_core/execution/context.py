"""RunContext over the journal: what a runner may touch, recorded by path and answered from the record on replay."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import (
    FencedError,
    KastraError,
    LimitExceededError,
    OperationError,
    RunCancelledError,
    RunFailedError,
)
from kastra_core.execution.state import RunState, used_signals
from kastra_core.protocols.runner import OperationContext, RunContext

__all__ = ["FATAL_REASONS", "Context", "Suspend"]

T = TypeVar("T")

FATAL_REASONS = frozenset({"DepthExceeded"})
"""A child that ends so ends its parent too: as an answer to a model it would only be tried again."""

IN_MEMORY_WAIT_S = 2.0
"""A shorter sleep keeps its task; a longer one lets the run leave memory."""


class Suspend(BaseException):
    """Ends the task of a run that waits; not an Exception, so that a runner's handlers let it pass.

    ``wake_at_s``: unix seconds, None = when a signal or a child's end wakes it.
    """

    def __init__(self, wake_at_s: float | None) -> None:
        super().__init__(wake_at_s)
        self.wake_at_s = wake_at_s


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
        if record is not None:
            state.replay(counts_as, record)
            return _outcome(record)
        state.check()
        state.begin(counts_as)
        await state.durable()
        if at_most_once:
            await self._started_once(path, counts_as)
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
            given = state.record_result(path, result, ms=round((time.perf_counter() - began) * 1000))
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if isinstance(error, asyncio.CancelledError) and _cancelling():
                raise
            failure = _as_operation_error(error, operation)
            took = round((time.perf_counter() - began) * 1000)
            state.count(counts_as, None)
            state.record(path, {"e": _error_json(failure), "ms": took})
            raise failure from error
        state.count(counts_as, given)
        return given

    async def _started_once(self, path: str, counts_as: str) -> None:
        state = self._state
        marker = f"{path}!"
        if marker in state.records:
            failure = OperationError(
                "it was under way when the process ended and may have had its effect; it is not repeated",
                reason="OutcomeUnknown",
            )
            state.count(counts_as, None)
            state.record(path, {"e": _error_json(failure)})
            raise failure
        state.record(marker, {})
        await state.durable()

    async def call(self, reference: Reference, input: JsonValue, *, name: str = "", thread: str | None = None) -> Any:
        state = self._state
        path = self._path(name or f"{reference.kind.lower()}:{reference.name}")
        record = state.records.get(path)
        if record is not None:
            state.add_child(record.get("u") or {})
            return _outcome(record)
        state.check()
        await state.durable()
        status = await state.manager.children.run(state, path, reference, input, thread)
        usage = status.get("usage") or {}
        state.add_child(usage)
        if status.get("phase") == "Succeeded":
            return state.record_result(path, status.get("output"), u=usage)
        failure = OperationError(
            f"{reference}: {status.get('message') or status.get('phase')}", reason=status.get("reason") or "ChildFailed"
        )
        error = _error_json(failure)
        if failure.reason in FATAL_REASONS:
            error["fatal"] = True
        state.record(path, {"e": error, "u": usage})
        raise _error_of(error)

    async def gather(
        self, branches: Mapping[str, Callable[[RunContext], Awaitable[T]]], *, concurrency: int | None = None
    ) -> dict[str, T | BaseException]:
        group = self._path("all")
        if not branches:
            return {}
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
                await _ended(tasks)
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
            state.check()
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
        state.check()
        limit = state.records.get(f"{path}!")
        if limit is None and timeout_s is not None:
            limit = {"until": state.manager.clock() + timeout_s}
            state.record(f"{path}!", limit)
        await state.durable()
        signals = await state.manager.store.journal.signals(state.uid)
        # Looked at after the read: another branch may have taken one meanwhile.
        used = used_signals(state.records.values())
        for found in signals:
            if found.name == signal and found.seq not in used:
                state.record(path, {"r": found.payload, "sig": found.seq})
                return found.payload
        if limit is not None and limit["until"] <= state.manager.clock():
            failure = OperationError(f"no signal {signal!r} came in time", reason="Timeout")
            state.record(path, {"e": _error_json(failure)})
            raise failure
        state.waits.add(signal)
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
    raise _error_of(error)


def _error_of(error: JsonObject) -> OperationError | RunFailedError:
    if error.get("fatal"):
        return RunFailedError(error["message"], reason=error["reason"])
    return OperationError(
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
    try:
        orjson.dumps(out)
    except TypeError:
        # What an error carries is anybody's; it must not keep the record from being stored.
        out.pop("details", None)
        out["message"] = error.message.encode("utf-8", "backslashreplace").decode()
    return out


def _as_operation_error(error: BaseException, operation: str) -> OperationError:
    if isinstance(error, OperationError):
        return error
    if isinstance(error, KastraError):
        return OperationError(str(error), reason=error.reason, retryable=bool(getattr(error, "retryable", False)))
    return OperationError(
        f"operation {operation} failed: {type(error).__name__}: {error}",
        reason="OperationBug",
        details={"type": type(error).__name__},
    )


def _cancelling() -> bool:
    """Whether the task is really being cancelled; a library may let an inner CancelledError escape."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for tasks that were cancelled, however often the waiting itself is cancelled."""
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            continue
