"""A run in memory: its journal, its pending records, what it has used and may use."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.errors import (
    LimitExceededError,
    OperationError,
    RunCancelledError,
    RunFailedError,
    StoreError,
    UserError,
    VectorLengthError,
)
from kastra_core.protocols.runner import SharedState
from kastra_core.protocols.store import AppendRecord, Operation, Signal

if TYPE_CHECKING:
    from kastra_core.execution.runs import RunManager

__all__ = [
    "REFUSAL_PATH",
    "RunState",
    "RunUsage",
    "copy_of",
    "error_of",
    "is_refusal",
    "outcome_of",
    "shared_of",
    "uid_of_child",
    "used_signals",
    "without_writes",
]

REFUSAL_PATH = "/refused!"
"""Journal path at which a run says that the store refused what it wanted to be written."""

log = logging.getLogger("kastra.runs")


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

    def count(self, counts_as: str, result: JsonValue) -> None:
        """Add one operation (``OperationRegistration.counts_as``) and what its result says that it used."""
        if counts_as == "tool":
            self.tool_calls += 1
        elif counts_as:
            if counts_as == "model":
                self.model_calls += 1
            if isinstance(result, dict) and isinstance(result.get("usage"), dict):
                self.add(result["usage"])

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


@attrs.frozen
class Used:
    """What a child run had used when it left memory, as its caller counted it."""

    usage: JsonObject
    model: int
    """Model calls that were begun."""
    tool: int


_NOTHING = Used({}, 0, 0)


class RunState:
    """One run in memory; its contexts (one per branch) share it.

    What it uses is counted at once in it and in every run above it that is in memory here, so that runs that go on at
    the same time share the limits of who called them to the unit. What a child had used is recorded when its call
    ends; until then ``below`` knows how much of it is counted.
    """

    __slots__ = (
        "_committing",
        "_ended",
        "_flush_scheduled",
        "_flusher",
        "_heard",
        "_inbox",
        "_pending",
        "_reading",
        "_recalled",
        "_taken",
        "_waiters",
        "above",
        "at_end",
        "below",
        "called",
        "calls",
        "cancelled",
        "deadline_s",
        "epoch",
        "key",
        "limits",
        "listeners",
        "lost",
        "manager",
        "news",
        "parked",
        "pins",
        "records",
        "refused",
        "remembered",
        "resource",
        "started",
        "steps",
        "steps_of",
        "steps_of_all",
        "uid",
        "usage",
        "waits",
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
        self.steps_of_all: bool = resource.spec.get("stepsOfAll", False)
        """Somebody set ``maxSteps``: it bounds the steps of this run and of those that it calls together."""
        self.above: RunState | None = None
        """The run that called it, while both are in memory here."""
        self.below: dict[str, RunState | Used] = {}
        """uid of a child whose call is not over -> it, or what of it is counted here."""
        self.usage = RunUsage()
        self.started = {"model": 0, "tool": 0}
        """Operations that were begun, those of children that are over included."""
        self.steps = 0
        """Steps of this run without those of its children."""
        self.listeners: list[Callable[[JsonObject], None]] = []
        self.remembered: dict[str, Sequence[JsonObject]] = {}
        """Messages for the thread by the path of the branch that gave them."""
        self.at_end: dict[str, Sequence[Operation]] = {}
        """What else the commit of a successful end takes along, by the same."""
        self.steps_of: dict[str, int] = {}
        """Steps by the path of a branch that is not over: begun again in this process it does not count them again."""
        self.waits: dict[str, tuple[str, JsonObject | None]] = {}
        """Journal path of what waits -> (name of the signal, what to show of it or None)."""
        self.calls: dict[str, str] = {}
        """Journal path -> uid of the child runs that are not over."""
        self.news = 0
        """How many times it was told of signals while it was executed here."""
        self.parked: dict[str, asyncio.Future[bool]] = {}
        """Scope of a branch that waits while others work -> what lets it look again."""
        self._heard: dict[str, int] = {}
        """Name of a signal -> ``news`` when one came last; "" = when any may have come."""
        self._ended: set[str] = set()
        """uids of the children whose calls were ended: what they used is in the record that says so."""
        self._inbox: dict[str, deque[Signal]] | None = None
        """Signals by name, None = to be read anew; those that were taken are skipped."""
        self._reading = asyncio.Lock()
        self._taken: set[int] = set()
        self.called = False
        """It has called, or looked for, a child run."""
        self.cancelled = False
        self.lost: BaseException | None = None
        """Why this process can write nothing more of the run; the run itself is not over."""
        self.refused: Exception | None = None
        """What an operation wanted to be written cannot be stored: the run fails with it."""
        self.deadline_s: float | None = None
        """Unix seconds at which timeoutS ends it."""
        self._pending: list[Operation] = []
        self._recalled = False
        self._committing = False
        self._waiters: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._flush_scheduled = False
        for record in records.values():
            self._count_recorded(record)

    def _count_recorded(self, record: JsonObject) -> None:
        """Count what a record of the journal says was used; so a replay need not be complete, nor be the first."""
        counts_as = record.get("c")
        if counts_as is not None:
            if counts_as in self.started:
                self.started[counts_as] += 1
            self.usage.count(counts_as, record.get("r"))
        usage = record.get("u")
        if usage:
            self._add(usage, usage.get("modelCalls", 0), usage.get("toolCalls", 0))
        signal = record.get("sig")
        if signal is not None:
            self._taken.add(signal)
        steps = record.get("s")
        if steps:
            self.steps += steps
            self.usage.steps += steps

    # ------------------------------------------------------------------------------------ recording

    def record(self, path: str, record: JsonObject, writes: Sequence[Operation] = ()) -> None:
        """Hand a record to the store in this turn of the event loop; :meth:`durable` waits for it.

        ``writes`` are committed with it.
        """
        self.records[path] = record
        self._pending.append(AppendRecord(self.uid, path, record, self.epoch, tuple(writes)))
        self._schedule_flush()

    def record_result(
        self, path: str, result: JsonValue, writes: Sequence[Operation] = (), **more: JsonValue
    ) -> JsonValue:
        """Record a result and return it as the journal will give it back; ``writes`` are committed with it.

        The copy matters: what the runner does to the result must not reach the record, and what it sees must not
        depend on whether it is replayed.

        Raises: TypeError when it is not JSON.
        """
        body = orjson.dumps(result)
        self.record(path, {"r": result, **more}, writes)
        return orjson.loads(body)

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_scheduled = False
        if self._pending and not self._committing and self.lost is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        # Until this task has its turn, one that waits may have begun a commit; two at once would each be taken for all.
        if self._pending and not self._committing and self.lost is None:
            await self._commit()

    async def _commit(self) -> None:
        """Hand what is pending to the store. In the task of who waits for it: alone it costs no turn of the loop."""
        operations, self._pending = self._pending, []
        self._committing = True
        try:
            await self.manager.commit(operations)
        except asyncio.CancelledError:
            # Done or not: records and signals may be handed over twice, the first one holds.
            self._pending[:0] = operations
            raise
        except Exception as error:
            if is_refusal(error):
                self.refuse(error, operations)
                error = StoreError(f"the store refused what is to be written with a record: {error}")
            self.lost = self.lost or error
        except BaseException as error:
            self.lost = self.lost or error
        finally:
            self._over()

    def _over(self) -> None:
        """A commit is over, well or not."""
        self._committing = False
        if self._pending:
            self._schedule_flush()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _commit_under_way(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    @asynccontextmanager
    async def handing_over(self) -> AsyncIterator[list[Operation]]:
        """What is pending, for a commit that the caller makes inside the block together with what else it has.

        Raises: as :meth:`durable`.
        """
        while self._committing:
            await self._commit_under_way()
        if any(isinstance(operation, AppendRecord) and operation.writes for operation in self._pending):
            await self.durable()  # so that nobody takes their refusal for one of the caller's own
        if self.lost is not None:
            raise self.lost
        if not self._pending:
            yield []  # of branches that begin at once, one takes along what all have recorded; none waits for another
            return
        operations, self._pending = self._pending, []
        self._committing = True
        try:
            yield operations
        except BaseException:
            # Done or not: records and signals may be handed over twice, the first one holds.
            self._pending[:0] = operations
            raise
        finally:
            self._over()

    def refuse(self, error: Exception, operations: Iterable[Operation]) -> None:
        """The store will not take operations, ever: those that are no more than records go with the end of the run."""
        self._pending[:0] = without_writes(operations)
        self.refused = self.refused or error

    def take_refusal(self) -> Exception | None:
        """What ends the run, when the store refused what it wrote; from here on it can be written again."""
        refused, self.refused = self.refused, None
        if refused is not None:
            self.lost = None
        return refused

    def take_pending(self) -> list[Operation]:
        """What is not handed to the store yet; the caller commits it with the end of the run."""
        pending, self._pending = self._pending, []
        return pending

    async def settle(self) -> None:
        """Wait for a commit under way; what is not handed over yet stays for :meth:`take_pending`."""
        while self._committing:
            await self._commit_under_way()

    async def durable(self) -> None:
        """Wait until all that was recorded is in the store.

        Raises: the store's error; FencedError when another worker has the run.
        """
        while self.lost is None:
            if self._committing:
                await self._commit_under_way()
            elif self._pending:
                await self._commit()
            else:
                return
        raise self.lost

    def lose(self, error: BaseException) -> None:
        """What the run needs to know could not be read: it goes no further here, whatever its runner makes of it."""
        self.lost = self.lost or error

    # ------------------------------------------------------------------------------------ limits

    def check(self) -> None:
        """Raises: RunCancelledError, LimitExceededError (timeoutS): for a runner or handler that swallowed its end."""
        if self.cancelled:
            raise RunCancelledError(f"run {self.key.name} was cancelled")
        if self.deadline_s is not None and self.manager.clock() >= self.deadline_s:
            allowed = float(self.limits["timeoutS"])
            raise LimitExceededError("timeoutS", allowed, allowed)

    def begin(self, counts_as: str) -> None:
        """Count an operation that starts. Raises: LimitExceededError before one too many, here or in a run above."""
        if not counts_as:
            return
        run: RunState | None = self
        while run is not None:
            if run.limits:
                run._may_begin(counts_as)
            run = run.above
        if counts_as != "embedding":
            run = self
            while run is not None:
                run.started[counts_as] += 1
                run = run.above

    def _may_begin(self, counts_as: str) -> None:
        limits = self.limits
        if counts_as != "embedding":
            name = "maxModelCalls" if counts_as == "model" else "maxToolCalls"
            allowed = limits.get(name)
            if allowed is not None and self.started[counts_as] >= allowed:
                raise LimitExceededError(name, allowed, self.started[counts_as])
        if counts_as != "tool":
            allowed = limits.get("maxTokens")
            if allowed is not None and self.usage.input_tokens + self.usage.output_tokens >= allowed:
                raise LimitExceededError("maxTokens", allowed, self.usage.input_tokens + self.usage.output_tokens)
            allowed = limits.get("maxCost")
            if allowed is not None and (self.usage.cost or 0.0) >= allowed:
                raise LimitExceededError("maxCost", allowed, self.usage.cost or 0.0)

    def count(self, counts_as: str, result: JsonValue) -> None:
        """Add what an operation used, once it ended."""
        run: RunState | None = self
        while run is not None:
            run.usage.count(counts_as, result)
            run = run.above

    def _add(self, usage: JsonObject, model: int, tool: int) -> None:
        """Add what was used below, here and above."""
        run: RunState | None = self
        while run is not None:
            run.usage.add(usage)
            run.started["model"] += model
            run.started["tool"] += tool
            run = run.above

    def _used(self) -> Used:
        return Used(self.usage.to_json(), self.started["model"], self.started["tool"])

    def attach(self, child: RunState) -> None:
        """Count what a child run uses here from now on, and what it used before."""
        if child.above is self or child.uid in self._ended:
            return
        known = self.below.get(child.uid)
        counted = known._used() if isinstance(known, RunState) else known
        self.below[child.uid] = child
        now = child._used()
        self._count_up(now, counted or _NOTHING)
        child.above = self

    def learn(self, uid: str, usage: JsonObject) -> None:
        """Count what a child run had used that is not in memory here, as its status says."""
        known = self.below.get(uid, _NOTHING)
        if isinstance(known, Used):
            now = self.below[uid] = Used(usage, usage.get("modelCalls", 0), usage.get("toolCalls", 0))
            self._count_up(now, known)

    def _count_up(self, now: Used, counted: Used) -> None:
        """Add what is used ``now`` less what was counted already."""
        if now != counted:
            more = {name: now.usage.get(name, 0) - counted.usage.get(name, 0) for name in now.usage | counted.usage}
            self._add(more, now.model - counted.model, now.tool - counted.tool)

    def detach(self) -> None:
        """It leaves memory: the run above keeps what it has counted, not all its journal."""
        above, self.above = self.above, None
        if above is not None and above.below.get(self.uid) is self:
            above.below[self.uid] = self._used()

    def add_child(self, uid: str, usage: JsonObject) -> None:
        """The call of a child run is over, which used so much in all."""
        self._count_up(Used(usage, usage.get("modelCalls", 0), usage.get("toolCalls", 0)), self._let_go(uid))

    def _let_go(self, uid: str) -> Used:
        """Count nothing of a child any more; return what of it is counted."""
        child = self.below.pop(uid, _NOTHING)
        if isinstance(child, Used):
            return child
        if child.above is self:
            child.above = None
        return child._used()

    def used(self) -> Mapping[str, float]:
        """What has been used of each limit that children share."""
        usage = self.usage
        used: dict[str, float] = {
            "maxModelCalls": self.started["model"],
            "maxToolCalls": self.started["tool"],
            "maxTokens": usage.input_tokens + usage.output_tokens,
            "maxCost": usage.cost or 0.0,
        }
        if self.steps_of_all:
            used["maxSteps"] = usage.steps
        return used

    def exhausted(self, message: str) -> LimitExceededError | None:
        """The limit that ended a child, when it is one of this run or of those above and nothing of it is left.

        ``message`` is what the child said; it may have had less of its own of a limit of another name.
        """
        run: RunState | None = self
        while run is not None:
            for name, used in run.used().items() if run.limits else ():
                allowed = run.limits.get(name)
                if allowed is not None and used >= allowed and f"the limit {name}=" in message:
                    return LimitExceededError(name, allowed, used)
            run = run.above
        return None

    def step(self) -> None:
        """Count a step. Raises: LimitExceededError before one too many, here or in a run above."""
        run: RunState | None = self
        while run is not None:
            allowed = run.limits.get("maxSteps")
            if allowed is not None:
                if run.steps_of_all:
                    if run.usage.steps >= allowed:
                        raise LimitExceededError("maxSteps", allowed, run.usage.steps)
                elif run is self and self.steps >= allowed:
                    raise LimitExceededError("maxSteps", allowed, self.steps)
            run = run.above
        self.steps += 1
        run = self
        while run is not None:
            run.usage.steps += 1
            run = run.above

    # ------------------------------------------------------------------------------------ branches

    async def recall(self) -> None:
        """Learn of the runs that this run called in an earlier process and whose calls are not over.

        Before branches are ended: one of them need not have come to its call again, and what it called must not be
        left behind.
        """
        if self.epoch > 1 and not self._recalled:
            try:
                children = await self.manager.children.of(self.resource)
            except StoreError as error:
                self.lose(error)
                raise
            self.know(children)
            self._recalled = True

    def know(self, children: Iterable[tuple[str, Resource]]) -> None:
        """Count what the children used whose calls are not over: (journal path of the call, Run)."""
        for path, child in children:
            uid = child.metadata.uid
            if path in self.records or uid in self._ended:
                continue
            self.calls.setdefault(path, uid)
            active = self.manager.find(uid)
            if active is not None:
                self.attach(active.state)
            else:
                self.learn(uid, child.status.get("usage") or {})

    def end_branches(self, path: str, record: JsonObject, *, below: Callable[[str], bool]) -> None:
        """Record that branches were ended before they were done, and cancel the runs that they called.

        Args:
            path: where to record it.
            record: what; the steps of the branches are added, and what the runs that they called had used.
            below: whether a journal path is one of those branches or lies in one.
        """
        steps = sum(self.steps_of.pop(scope) for scope in [s for s in self.steps_of if below(s)])
        if steps:
            record["s"] = steps
        spent = RunUsage()
        for call in [call for call in self.calls if below(call)]:
            uid = self.calls.pop(call)
            self._ended.add(uid)  # it may wake once more before it is told
            self._pending.append(self.manager.cancelling(uid))
            spent.add(self._let_go(uid).usage)
        if spent != RunUsage():
            record["u"] = spent.to_json()
        for wait in [wait for wait in self.waits if below(wait)]:
            del self.waits[wait]
        for kept in (self.remembered, self.at_end):
            for place in [place for place in kept if below(place)]:
                del kept[place]
        self.record(path, record)

    def forget_steps(self, path: str) -> None:
        """A group of branches is over and will not be begun again in this process."""
        for scope in [scope for scope in self.steps_of if scope.startswith(path)]:
            del self.steps_of[scope]

    def tell(self, name: str = "") -> None:
        """A signal came ("": perhaps some did): branches that wait for it look again."""
        self.news += 1
        self._heard[name] = self.news
        self._inbox = None
        if not self.parked:
            return
        for path, (wanted, _) in tuple(self.waits.items()):
            if not name or wanted == name:
                at = path.rfind("/")
                while at > 0:
                    waiter = self.parked.get(path[:at])
                    if waiter is not None and not waiter.done():
                        waiter.set_result(True)
                    at = path.rfind("/", 0, at)

    def missed(self, scope: str, news: int) -> bool:
        """Whether a signal that the branch of a scope waits for came since ``news``."""
        if self.news == news:
            return False
        if self._heard.get("", 0) > news:
            return True
        inside = f"{scope}/"
        return any(self._heard.get(name, 0) > news for path, (name, _) in self.waits.items() if path.startswith(inside))

    async def take_signal(self, name: str) -> Signal | None:
        """The oldest signal of a name that no branch has taken: the caller's, who is to record it at once.

        Raises: StoreError.
        """
        inbox = self._inbox
        if inbox is None:
            # Many branches that begin to wait read once.
            async with self._reading:
                inbox = self._inbox
                if inbox is None:
                    news, inbox = self.news, {}
                    try:
                        signals = await self.manager.store.journal.signals(self.uid)
                    except StoreError as error:
                        self.lose(error)
                        raise
                    for signal in signals:
                        inbox.setdefault(signal.name, deque()).append(signal)
                    if news == self.news:
                        self._inbox = inbox
        queue = inbox.get(name)
        while queue:
            signal = queue.popleft()
            if signal.seq not in self._taken:
                self._taken.add(signal.seq)
                return signal
        return None

    @property
    def waits_for(self) -> list[str]:
        """Names of the signals that it waits for."""
        return sorted({name for name, _ in self.waits.values()})

    @property
    def awaiting(self) -> list[JsonObject]:
        """What to show of them; ends of child runs are left out."""
        return [{"signal": name, **details} for name, details in self.waits.values() if details is not None]

    # ------------------------------------------------------------------------------------ events

    def emit(self, event: JsonObject) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:
                log.exception("run %s: a listener failed; it gets no further events", self.key)
                if listener in self.listeners:
                    self.listeners.remove(listener)


def copy_of(value: JsonValue) -> JsonValue:
    """A copy of JSON: what is done to it must not reach who reads the value again."""
    return orjson.loads(orjson.dumps(value)) if isinstance(value, (dict, list, tuple)) else value


def outcome_of(record: JsonObject) -> JsonValue:
    """A copy of the result that a record holds: what is done to it must not reach who reads the record again.

    Raises: what :func:`error_of` makes of its error.
    """
    error = record.get("e")
    if error is None:
        return copy_of(record.get("r"))
    raise error_of(error)


def error_of(error: JsonObject) -> OperationError | RunFailedError | LimitExceededError:
    """The error that a record holds, as it was raised when it was recorded."""
    if error.get("limit"):
        return LimitExceededError(*error["limit"])
    if error.get("fatal"):
        return RunFailedError(error["message"], reason=error["reason"])
    return OperationError(
        error["message"],
        reason=error["reason"],
        retryable=error.get("retryable", False),
        details=error.get("details"),
    )


def is_refusal(error: BaseException) -> bool:
    """Whether a store that works says no to what it was given, and would say so again."""
    return isinstance(error, (UserError, VectorLengthError, TypeError, ValueError))


def without_writes(operations: Iterable[Operation]) -> list[Operation]:
    """Operations without the records that want something to be written with them."""
    return [each for each in operations if not (isinstance(each, AppendRecord) and each.writes)]


def shared_of(run: Resource) -> SharedState | None:
    """The state that a run shares with others, as its spec says."""
    shared = run.spec.get("shared")
    if not isinstance(shared, dict):
        return None
    return SharedState(scope=shared["scope"], ttl_s=shared.get("ttlS"), tools=shared.get("tools", True))


def uid_of_child(uid: str, path: str) -> str:
    """uid of the run that a run calls at a journal path: whoever replays the call finds the same one."""
    return str(uuid.uuid5(uuid.UUID(uid), path))


def used_signals(records: Iterable[Any]) -> set[int]:
    """Sequence numbers of the signals that a journal says were taken."""
    return {record["sig"] for record in records if "sig" in record}
