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
from kastra_core.errors import KastraError, OperationError, PluginError, StoreError, UserError
from kastra_core.execution.branches import Deadline, ExpiredError, Group, Suspend, cancelling
from kastra_core.execution.state import RunState, error_of, outcome_of, shared_of, uid_of_child
from kastra_core.protocols.runner import OperationContext, RunContext, SharedState
from kastra_core.protocols.store import Operation, StoredMessage

__all__ = ["FATAL_REASONS", "Context", "Suspend"]

T = TypeVar("T")

FATAL_REASONS = frozenset({"DepthExceeded"})
"""A child that ends so ends its parent too: as an answer to a model it would only be tried again."""

IN_MEMORY_WAIT_S = 2.0
"""A shorter sleep keeps its task; a longer one lets the run leave memory."""


class Context:
    """RunContext of one branch; see ``protocols.runner.RunContext`` for what each method promises."""

    __slots__ = ("_counts", "_deadline", "_scope", "_state", "_steps")

    def __init__(self, state: RunState, scope: str = "", deadline: Deadline | None = None) -> None:
        self._state, self._scope, self._deadline = state, scope, deadline
        self._counts: dict[str, int] = {}
        self._steps = 0

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

    @property
    def shared(self) -> SharedState | None:
        return shared_of(self._state.resource)

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
        record = state.records.get(path)
        if record is not None:
            return outcome_of(record)
        self._check()
        try:
            counts_as, handler = state.manager.operation(operation)
        except OperationError as unknown:
            # Recorded, as what the runner does about it must be the same when the plugin is there again.
            state.record(path, {"e": _error_json(unknown)})
            raise
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
            shared=self.shared,
        )
        began = time.perf_counter()
        try:
            result = await handler(context, arguments)
            took = round((time.perf_counter() - began) * 1000)
            if counts_as:
                given = state.record_result(path, result, context.writes, ms=took, c=counts_as)
            else:
                given = state.record_result(path, result, context.writes, ms=took)
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if isinstance(error, asyncio.CancelledError) and cancelling():
                raise
            failure = _as_operation_error(error, operation)
            took = round((time.perf_counter() - began) * 1000)
            state.count(counts_as, None)
            failed: JsonObject = {"e": _error_json(failure), "ms": took}
            state.record(path, {**failed, "c": counts_as} if counts_as else failed)
            raise failure from error
        if counts_as:
            state.count(counts_as, given)
        return given

    def _check(self) -> None:
        """Before anything new begins. Raises: RunCancelledError, LimitExceededError, ExpiredError."""
        self._state.check()
        if self._deadline is not None:
            self._deadline.check(self._state.manager.clock())

    async def _started_once(self, path: str, counts_as: str) -> None:
        state = self._state
        marker = f"{path}!"
        if marker in state.records:
            failure = OperationError(
                "it was under way when the process ended and may have had its effect; it is not repeated",
                reason="OutcomeUnknown",
            )
            state.count(counts_as, None)
            failed: JsonObject = {"e": _error_json(failure)}
            state.record(path, {**failed, "c": counts_as} if counts_as else failed)
            raise failure
        state.record(marker, {})
        await state.durable()

    async def call(
        self,
        reference: Reference,
        input: JsonValue,
        *,
        name: str = "",
        thread: str | None = None,
        shared: SharedState | None = None,
    ) -> Any:
        state = self._state
        path = self._path(name or f"{reference.kind.lower()}:{reference.name}")
        record = state.records.get(path)
        if record is not None:
            return outcome_of(record)
        self._check()
        uid = state.calls[path] = uid_of_child(state.uid, path)
        try:
            status = await state.manager.children.run(state, path, uid, reference, input, thread, shared or self.shared)
        except StoreError as error:
            state.lose(error)
            raise
        except (UserError, PluginError) as error:
            if state.manager.closing:
                raise asyncio.CancelledError from error  # the run goes on elsewhere or later, and so does this call
            # It could not even be started, which the runner may answer as it answers any other failure.
            state.calls.pop(path, None)
            failure = _as_operation_error(error, str(reference))
            state.record(path, {"e": _error_json(failure)})
            raise failure from error
        state.calls.pop(path, None)
        state.waits.pop(path, None)
        usage = status.get("usage") or {}
        state.add_child(uid, usage)
        if status.get("phase") == "Succeeded":
            return state.record_result(path, status.get("output"), u=usage)
        message = str(status.get("message") or status.get("phase"))
        if not message.startswith(f"{reference}: "):  # of runs that call the same in a circle it is said once
            message = f"{reference}: {message}"
        failure = OperationError(message, reason=status.get("reason") or "ChildFailed")
        told = _error_json(failure)
        if failure.reason in FATAL_REASONS:
            told["fatal"] = True
        exhausted = state.exhausted(message) if failure.reason == "LimitExceeded" else None
        if exhausted is not None:
            # The child had what was left of this run's limit: nothing here may go on either.
            told["limit"] = [exhausted.limit, exhausted.allowed, exhausted.used]
        state.record(path, {"e": told, "u": usage})
        raise error_of(told)

    async def gather(
        self,
        branches: Mapping[str, Callable[[RunContext], Awaitable[T]]],
        *,
        concurrency: int | None = None,
        stop_on: Callable[[BaseException], bool] | None = None,
    ) -> dict[str, T | BaseException]:
        group = self._path("all")
        if not branches:
            return {}
        record = self._state.records.get(group)
        if record is not None:
            branches = {record["by"]: branches[record["by"]]}
            stop_on = None
        made = Group(
            self._state, group, branches, lambda scope, end: Context(self._state, scope, end), self._deadline, stop_on
        )
        out = await made.run(concurrency)
        if not self._scope:
            self._state.forget_steps(group)
        return out

    async def within(self, seconds: float, body: Callable[[RunContext], Awaitable[T]], *, name: str = "within") -> T:
        state = self._state
        path = self._path(name)
        record = state.records.get(path)
        if record is not None:
            raise error_of(record["e"])
        marker = state.records.get(f"{path}!")
        if marker is None:
            self._check()
            marker = {"until": state.manager.clock() + seconds}
            state.record(f"{path}!", marker)
        deadline = Deadline(marker["until"], self._deadline)
        left_s = deadline.until_s - state.manager.clock()
        # What is late already is replayed first: its time was over before something new could begin, or it was not.
        limit = deadline.limit = asyncio.timeout(left_s if left_s > 0 else None)
        try:
            async with limit:
                out = await body(Context(state, path, deadline))
            if not self._scope:
                state.forget_steps(path)
            return out
        except TimeoutError:
            if not limit.expired():
                raise
        except ExpiredError as expired:
            if expired.deadline is not deadline:
                raise
        except Suspend as wait:
            if deadline.until_s > state.manager.clock():
                wake_at_s = wait.wake_at_s
                raise Suspend(deadline.until_s if wake_at_s is None else min(wake_at_s, deadline.until_s)) from None
        failure = OperationError(f"it was not done within {seconds:g} s", reason="Timeout", retryable=True)
        inside = f"{path}/"
        await state.recall()
        state.end_branches(path, {"e": _error_json(failure)}, below=lambda p: p == path or p.startswith(inside))
        raise failure

    async def sleep(self, seconds: float, *, name: str = "sleep") -> None:
        state = self._state
        path = self._path(name)
        record = state.records.get(path)
        if record is None:
            self._check()
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

    async def wait_signal(
        self, signal: str, *, timeout_s: float | None = None, name: str = "", details: JsonObject | None = None
    ) -> JsonValue:
        state = self._state
        path = self._path(name or f"signal:{signal}")
        record = state.records.get(path)
        if record is not None:
            return outcome_of(record)
        self._check()
        limit = state.records.get(f"{path}!")
        if limit is None and timeout_s is not None:
            limit = {"until": state.manager.clock() + timeout_s}
            state.record(f"{path}!", limit)
        await state.durable()
        found = await state.take_signal(signal)
        if found is not None:
            state.waits.pop(path, None)
            return state.record_result(path, found.payload, sig=found.seq)
        if limit is not None and limit["until"] <= state.manager.clock():
            failure = OperationError(f"no signal {signal!r} came within {timeout_s or 0:g} s", reason="Timeout")
            state.waits.pop(path, None)
            state.record(path, {"e": _error_json(failure)})
            raise failure
        state.waits[path] = (signal, details or {})
        raise Suspend(limit["until"] if limit else None)

    def step(self) -> None:
        if self._scope:
            # A branch may be begun again in this process; its steps were counted then.
            self._steps += 1
            steps_of = self._state.steps_of
            if self._steps <= steps_of.get(self._scope, 0):
                return
            self._state.step()
            steps_of[self._scope] = self._steps
        else:
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

    async def history(self, *, last: int | None = None, after: int = 0) -> Sequence[StoredMessage]:
        state = self._state
        thread = self.thread
        if not thread:
            return ()
        up_to = state.resource.spec.get("threadAfter", 0)
        if after >= up_to:
            return ()
        return await state.manager.store.threads.messages(
            state.key.namespace, thread, up_to=up_to, last=last, after=after
        )

    async def remember(self, messages: Sequence[JsonObject]) -> None:
        # By path: a branch may be begun again in this process.
        self._state.remembered[self._path("remember!")] = messages

    def at_end(self, *operations: Operation) -> None:
        self._state.at_end[self._path("end!")] = operations


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
