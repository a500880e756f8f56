"""RunContext over records alone: what has one is answered from it, what has none ends the branch."""

from __future__ import annotations

import heapq
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import KastraError, LimitExceededError
from kastra_core.execution.pins import Pins
from kastra_core.execution.state import RunUsage, error_of, outcome_of, shared_of
from kastra_core.protocols.runner import RunContext, SharedState
from kastra_core.protocols.store import Operation, Record, StoredMessage

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["FrontierError", "Replay", "ReplayContext", "ReplayError", "StopError", "TraceEntry"]

T = TypeVar("T")


class ReplayError(KastraError):
    """A run cannot be told from its journal: its kind is not installed, or what is stored of it is damaged."""


@attrs.frozen
class TraceEntry:
    """Something that happened, in a branch of the run.

    Beside the events of the runner there are of the replay itself
    ``{"type": "operation", "operation", "path", "ms", "ok", "error"?, "usage"?}``,
    ``{"type": "call", "path", "reference", "ok", "error"?, "usage"}`` and
    ``{"type": "wait", "for": "sleep" | "signal", "path", "over", "until"?, "signal"?, "error"?, "details"?}``;
    ``path`` is that of the journal.
    """

    time_s: float
    """Unix seconds: the end of what was recorded last before it in its branch.
    What took ``ms`` began so much earlier."""
    event: JsonObject
    branch: str = ""
    """Journal scope of the branch, "" = that of the run; a branch inside it begins with it and a slash."""


class FrontierError(BaseException):
    """Ends a branch at the first thing that has no record; not an Exception, so that a runner lets it pass."""


class StopError(BaseException):
    """Ends a branch at the event that the caller wanted to stop at."""


class Replay:
    """What the branches of a replay share."""

    def __init__(
        self,
        runtime: RuntimeManager,
        run: Resource,
        pins: Pins,
        records: Sequence[Record],
        stop: Callable[[JsonObject], bool] | None,
    ) -> None:
        self.runtime, self.run, self.pins, self.stop = runtime, run, pins, stop
        self.records = {line.path: line for line in records}
        self.entries: list[TraceEntry] = []
        self.used: set[str] = set()
        self.fault: ReplayError | None = None
        self.steps = 0
        limits = run.spec.get("limits") or {}
        self.max_steps: float | None = limits.get("maxSteps") if isinstance(limits, Mapping) else None
        self.steps_of_all = run.spec.get("stepsOfAll") is True

    def find(self, path: str) -> tuple[JsonObject, float] | None:
        """A record and the unix seconds of its recording. Raises: ReplayError when it is no record of a runtime."""
        line = self.records.get(path)
        if line is None:
            return None
        record = line.record
        if not isinstance(record, dict):
            self.damaged(path, f"it is {type(record).__name__}, not an object")
        error = record.get("e")
        if error is not None and not (
            isinstance(error, dict) and isinstance(error.get("reason"), str) and isinstance(error.get("message"), str)
        ):
            self.damaged(path, "its error has no reason and message")
        return record, line.time_s

    def damaged(self, path: str, why: str) -> NoReturn:
        """Raises: ReplayError, which the whole replay will end with, whatever the runner makes of it."""
        self.fault = self.fault or ReplayError(f"{self.run.key}: the record {path} of its journal is damaged: {why}")
        raise self.fault

    def until(self, path: str, record: JsonObject) -> float:
        until_s = record.get("until")
        if not isinstance(until_s, (int, float)) or isinstance(until_s, bool):
            self.damaged(path, "it does not say until when it waits")
        return float(until_s)


class ReplayContext:
    """RunContext of one branch.

    Args:
        time_s: unix seconds at which it began.
        limit_s: unix seconds at which it ended, or now: no sleep that is longer was over.
        counts: its steps count against the limit; those of branches that were ended are in a record.
    """

    __slots__ = ("_counts", "_ended", "_limit_s", "_names", "_scope", "_state", "time_s")

    def __init__(self, state: Replay, scope: str, time_s: float, limit_s: float, *, counts: bool = True) -> None:
        self._state, self._scope, self.time_s, self._limit_s, self._counts = state, scope, time_s, limit_s, counts
        self._names: dict[str, int] = {}
        self._ended: BaseException | None = None

    # ------------------------------------------------------------------------------------ of the replay

    def go_on(self) -> None:
        """Raise what ended this branch, for a runner that swallowed it."""
        if self._ended is not None:
            raise self._ended

    def _end(self, error: BaseException) -> NoReturn:
        self._ended = self._ended or error
        raise self._ended

    def _path(self, name: str) -> str:
        self.go_on()
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{self._scope}/{name}#{count}"

    def _tell(self, event: JsonObject, time_s: float | None = None) -> None:
        self._state.entries.append(TraceEntry(self.time_s if time_s is None else time_s, event, self._scope))

    def _passed(self, path: str, time_s: float) -> None:
        self._state.used.add(path)
        self.time_s = max(self.time_s, time_s)

    def _inside(self, scope: str, *, limit_s: float = math.inf, counts: bool = True) -> ReplayContext:
        return ReplayContext(
            self._state, scope, self.time_s, min(self._limit_s, limit_s), counts=self._counts and counts
        )

    # ------------------------------------------------------------------------------------ of the run

    @property
    def run_id(self) -> str:
        return self._state.run.metadata.uid

    @property
    def namespace(self) -> str:
        return self._state.run.metadata.namespace

    @property
    def thread(self) -> str | None:
        return self._state.run.spec.get("thread")

    @property
    def spec(self) -> JsonObject:
        return self._state.run.spec

    @property
    def streaming(self) -> bool:
        return True

    @property
    def shared(self) -> SharedState | None:
        return shared_of(self._state.run)

    def pinned(self, reference: Reference) -> Resource | None:
        return self._state.pins.get(reference.key)

    async def perform(
        self, operation: str, arguments: JsonObject, *, name: str = "", at_most_once: bool = False
    ) -> JsonValue:
        state = self._state
        path = self._path(name or operation)
        found = state.find(path)
        if found is None:
            self._end(FrontierError())
        record, time_s = found
        self._passed(path, time_s)
        error = record.get("e")
        event: JsonObject = {"type": "operation", "operation": operation, "path": path, "ms": record.get("ms")}
        event["ok"] = error is None
        if error is not None:
            event["error"] = {"reason": error["reason"], "message": error["message"]}
        usage = _usage_of(record.get("c"), record.get("r"))
        if usage:
            event["usage"] = usage
        self._tell(event)
        return outcome_of(record)

    async def call(
        self,
        reference: Reference,
        input: JsonValue,
        *,
        name: str = "",
        thread: str | None = None,
        shared: SharedState | None = None,
    ) -> Any:
        path = self._path(name or f"{reference.kind.lower()}:{reference.name}")
        found = self._state.find(path)
        if found is None:
            self._end(FrontierError())
        record, time_s = found
        self._passed(path, time_s)
        error = record.get("e")
        event: JsonObject = {"type": "call", "path": path, "reference": str(reference), "ok": error is None}
        if error is not None:
            event["error"] = {"reason": error["reason"], "message": error["message"]}
        event["usage"] = record.get("u") or {}
        self._count_below(record)
        self._tell(event)
        return outcome_of(record)

    async def gather(
        self,
        branches: Mapping[str, Callable[[RunContext], Awaitable[T]]],
        *,
        concurrency: int | None = None,
        stop_on: Callable[[BaseException], bool] | None = None,
    ) -> dict[str, T | BaseException]:
        state, group = self._state, self._path("all")
        if not branches:
            return {}
        found = state.find(group)
        if found is not None:
            return await self._stopped_gather(group, *found, branches)
        out: dict[str, T | BaseException] = {}
        ended: list[BaseException] = []
        time_s = self.time_s
        free_s = [time_s] * min(concurrency or len(branches), len(branches))
        for name, branch in branches.items():
            # A branch keeps its place while it is under way; without a free one no further has begun.
            if not free_s:
                break
            inner = self._inside(f"{group}[{name}]")
            inner.time_s = heapq.heappop(free_s)
            try:
                out[name] = await branch(inner)
                inner.go_on()
            except (FrontierError, StopError) as error:
                ended.append(error)
                time_s = max(time_s, inner.time_s)
                continue
            except LimitExceededError:
                raise
            except Exception as error:
                out[name] = error
                if stop_on is not None and len(branches) > 1 and stop_on(error):
                    # It ends the others, and which one did so first would be recorded.
                    ended.append(FrontierError())
            time_s = max(time_s, inner.time_s)
            heapq.heappush(free_s, inner.time_s)
        if ended:
            self._end(next((error for error in ended if isinstance(error, StopError)), ended[0]))
        self.time_s = time_s
        return out

    async def _stopped_gather(
        self,
        group: str,
        record: JsonObject,
        time_s: float,
        branches: Mapping[str, Callable[[RunContext], Awaitable[T]]],
    ) -> dict[str, T | BaseException]:
        """A gather that one branch ended: that one, then what the others had done by then."""
        state, by = self._state, record.get("by")
        if not isinstance(by, str):
            state.damaged(group, "it does not say which branch ended the others")
        branch = branches.get(by)
        if branch is None:
            # The branches are others now, so nothing of what follows is known.
            self._end(FrontierError())
        inner = self._inside(f"{group}[{by}]")
        result: T | BaseException
        own: BaseException | None = None
        try:
            result = await branch(inner)
            inner.go_on()
        except (FrontierError, StopError) as error:
            own = error
        except LimitExceededError:
            raise
        except Exception as error:
            result = error
        others = {name: other for name, other in branches.items() if name != by}
        stopped = own
        for name, other in others.items():
            found = await self._show(self._inside(f"{group}[{name}]", limit_s=time_s, counts=False), other)
            stopped = stopped or found
        if stopped is not None:
            self._end(stopped)
        self._count_ended(record)
        self._passed(group, time_s)
        return {by: result}

    async def _show(self, inner: ReplayContext, body: Callable[[RunContext], Awaitable[Any]]) -> StopError | None:
        """Replay a branch that was ended before it was done as far as it went; return the stop that it met, or None."""
        try:
            await body(inner)
            inner.go_on()
        except StopError as stop:
            return stop
        except (FrontierError, Exception):
            # What it came to had no consequences: it was ended.
            return None
        return None

    def _count_ended(self, record: JsonObject) -> None:
        steps = record.get("s")
        if self._counts and isinstance(steps, int):
            self._state.steps += steps
        self._count_below(record)

    def _count_below(self, record: JsonObject) -> None:
        used = record.get("u")
        if self._state.steps_of_all and self._counts and isinstance(used, Mapping):
            self._state.steps += used.get("steps") or 0

    async def within(self, seconds: float, body: Callable[[RunContext], Awaitable[T]], *, name: str = "within") -> T:
        state, path = self._state, self._path(name)
        found = state.find(path)
        if found is None:
            inner = self._inside(path)
            try:
                out = await body(inner)
                inner.go_on()
            except (FrontierError, StopError) as error:
                self._end(error)
            finally:
                self.time_s = inner.time_s
            return out
        record, time_s = found
        marker = state.find(f"{path}!")
        until_s = state.until(f"{path}!", marker[0]) if marker is not None else time_s
        stopped = await self._show(self._inside(path, limit_s=min(until_s, time_s), counts=False), body)
        if stopped is not None:
            self._end(stopped)
        self._count_ended(record)
        self._passed(path, time_s)
        if record.get("e") is None:
            state.damaged(path, "it is no end of a branch whose time was over")
        raise error_of(record["e"])

    async def sleep(self, seconds: float, *, name: str = "sleep") -> None:
        state, path = self._state, self._path(name)
        found = state.find(path)
        if found is None:
            self._end(FrontierError())
        record, time_s = found
        until_s = state.until(path, record)
        over = until_s <= self._limit_s
        self._passed(path, time_s)
        self._tell({"type": "wait", "for": "sleep", "path": path, "until": until_s, "over": over})
        if not over:
            self._end(FrontierError())
        self.time_s = max(self.time_s, until_s)

    async def wait_signal(
        self, signal: str, *, timeout_s: float | None = None, name: str = "", details: JsonObject | None = None
    ) -> JsonValue:
        state, path = self._state, self._path(name or f"signal:{signal}")
        found = state.find(path)
        event: JsonObject = {"type": "wait", "for": "signal", "path": path, "signal": signal, "over": found is not None}
        if details:
            event["details"] = details
        if found is None:
            marker = state.find(f"{path}!")
            if marker is not None:
                event["until"] = state.until(f"{path}!", marker[0])
            self._tell(event)
            self._end(FrontierError())
        record, time_s = found
        error = record.get("e")
        if error is not None:
            event["error"] = {"reason": error["reason"], "message": error["message"]}
        self._passed(path, time_s)
        self._tell(event)
        return outcome_of(record)

    def step(self) -> None:
        self.go_on()
        state = self._state
        if not self._counts:
            return
        allowed = state.max_steps
        if allowed is not None and state.steps >= allowed:
            raise LimitExceededError("maxSteps", allowed, state.steps)
        state.steps += 1

    async def emit(self, event: JsonObject) -> None:
        if isinstance(self._ended, StopError):
            return
        self._tell(event)
        if self._ended is None and self._state.stop is not None and self._state.stop(event):
            self._end(StopError())

    async def now(self) -> float:
        path = self._path("now")
        found = self._state.find(path)
        if found is None:
            self._end(FrontierError())
        record, time_s = found
        if not isinstance(record.get("r"), (int, float)):
            self._state.damaged(path, "it is no time")
        self._passed(path, time_s)
        return float(record["r"])

    async def uuid(self) -> str:
        return str(uuid.uuid5(uuid.UUID(self.run_id), self._path("uuid")))

    async def history(self, *, last: int | None = None, after: int = 0) -> Sequence[StoredMessage]:
        state, thread = self._state, self.thread
        if not thread:
            return ()
        up_to = state.run.spec.get("threadAfter", 0)
        return await state.runtime.store.threads.messages(self.namespace, thread, up_to=up_to, last=last, after=after)

    async def remember(self, messages: Sequence[JsonObject]) -> None:
        """Nothing is written."""

    def at_end(self, *operations: Operation) -> None:
        """Nothing is written."""


def _usage_of(counts_as: object, result: JsonValue) -> JsonObject | None:
    """What an operation used, as a run's usage says it; None when it does not count."""
    if counts_as not in ("model", "tool"):
        return None
    usage = RunUsage()
    usage.count(str(counts_as), result)
    return usage.to_json()
