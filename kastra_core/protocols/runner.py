"""Runners make a kind executable; the context is all they touch.

A runner is plain async Python that is replayed from the top after a crash, so between two calls of ``ctx`` it may
not look at the clock, at random numbers, at the environment or at files: all of that goes through the context,
which answers from the journal what happened before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError
from kastra_core.protocols.store import Operation, StoredMessage
from kastra_core.serde import problems_of, structure

__all__ = ["OperationContext", "OperationHandler", "Outcome", "RunContext", "Runner", "SharedState", "arguments_as"]

T = TypeVar("T")


def arguments_as(arguments: JsonObject, cls: type[T]) -> T:
    """Return the arguments of an operation as an attrs class, whose fields are written in camelCase.

    Raises: OperationError with the reason ``InvalidArguments`` and all that does not fit.

    Example:
        async def greet(ctx, arguments):
            given = arguments_as(arguments, GreetArguments)
    """
    try:
        return structure(arguments, cls)
    except Exception as error:  # whatever the types' own constructors raise is about what was given
        problems = problems_of(error)
        raise OperationError("; ".join(map(str, problems)), reason="InvalidArguments") from error


@attrs.frozen(kw_only=True)
class SharedState:
    """The key-value scope that a run shares with those that called it and those that it calls."""

    scope: str
    """Of the store's ``state`` facet."""
    ttl_s: float | None = None
    """How long a value lives after it was written; None = for ever."""
    tools: bool = True
    """Whether models are to get tools for it."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What a runner may return in place of its output, to say how it came to its end."""

    output: JsonValue = None
    reason: str = "Succeeded"
    """CamelCase: ``status.reason`` of the Run."""
    message: str = ""


class RunContext(Protocol):
    """A run as its runner sees it. All methods but ``emit`` and the properties are recorded in the journal."""

    @property
    def run_id(self) -> str:
        """uid of the Run."""
        ...

    @property
    def namespace(self) -> str: ...

    @property
    def thread(self) -> str | None:
        """The conversation that this run belongs to."""
        ...

    @property
    def spec(self) -> JsonObject:
        """The Run's spec (``model``: an override, ``input``, ``limits`` ...)."""
        ...

    @property
    def streaming(self) -> bool:
        """Somebody listens to the events of this run."""
        ...

    @property
    def shared(self) -> SharedState | None:
        """The state that this run shares with others, as its caller said."""
        ...

    def pinned(self, reference: Reference) -> Resource | None:
        """A resource as it was when the run started: its target and what that refers to, transitively."""
        ...

    async def perform(
        self,
        operation: str,
        arguments: JsonObject,
        *,
        name: str = "",
        at_most_once: bool = False,
    ) -> JsonValue:
        """Carry out a named operation once and return its JSON result.

        Args:
            operation: a name that a plugin offers by ``kastra_operations`` ("model.chat").
            arguments: JSON.
            name: step of the journal path; default the operation's name. The n-th use of a name in a branch
                gets ``#n``.
            at_most_once: record the start too; when a crash left the outcome unknown, fail instead of repeating.
        Raises:
            OperationError: it failed for good; recorded, and raised again on replay.
            LimitExceededError: a limit of the run does not allow it.
            RunCancelledError: the run was cancelled.
        """
        ...

    async def call(
        self,
        reference: Reference,
        input: JsonValue,
        *,
        name: str = "",
        thread: str | None = None,
        shared: SharedState | None = None,
    ) -> Any:
        """Run another executable resource as a child run and return its output.

        What this run pinned is run as it was pinned, whatever was applied since. It shares the state that this run
        shares, or ``shared``.

        Raises:
            OperationError: the child ended without an output, or could not be started; recorded.
        """
        ...

    async def gather(
        self,
        branches: Mapping[str, Callable[[RunContext], Awaitable[T]]],
        *,
        concurrency: int | None = None,
        stop_on: Callable[[BaseException], bool] | None = None,
    ) -> dict[str, T | BaseException]:
        """Run branches at once, each with a context of its own path; wait for all.

        A branch that raises puts its error in the result; cancellation and limits end them all. A branch that waits
        (a sleep, a signal, a child) while others work may be begun again from its start, answered from the records:
        it must not change what outlives it before it returns.

        Args:
            branches: by a name that is unique here.
            concurrency: so many at once; None = all.
            stop_on: an error for which it is true ends the other branches, and the calls that they made; the result
                then has that branch only. Which branch it was is recorded, so a replay decides the same.
        """
        ...

    async def within(self, seconds: float, body: Callable[[RunContext], Awaitable[T]], *, name: str = "within") -> T:
        """Run a branch with a deadline that survives a restart; waiting and time without a process count.

        When the time is over what is under way in the branch is cancelled, child runs included.

        Raises: OperationError with reason Timeout, recorded; what the branch raises.
        """
        ...

    async def sleep(self, seconds: float, *, name: str = "sleep") -> None:
        """Wait until an instant that is recorded; it survives a restart, and a long one costs no task."""
        ...

    async def wait_signal(
        self, signal: str, *, timeout_s: float | None = None, name: str = "", details: JsonObject | None = None
    ) -> JsonValue:
        """Wait for a signal (human approval, an event) and return its payload; a wait costs no task.

        Args:
            signal: its name.
            timeout_s: None = for ever.
            name: step of the journal path.
            details: shown with the name in ``status.awaiting`` of the suspended Run: ``message``, ``schema`` ...
        Raises: OperationError with reason Timeout.
        """
        ...

    def step(self) -> None:
        """Count one step of the runner (a turn of an agent's loop, a step of a workflow) against ``maxSteps``.

        Raises: LimitExceededError.
        """
        ...

    async def emit(self, event: JsonObject) -> None:
        """Show an event to whoever listens now; ``type`` says what it is. Not recorded, not replayed."""
        ...

    async def now(self) -> float:
        """Unix seconds, recorded."""
        ...

    async def uuid(self) -> str:
        """A fresh uuid, recorded."""
        ...

    async def history(self, *, last: int | None = None, after: int = 0) -> Sequence[StoredMessage]:
        """Messages that the thread held when this run started, oldest first; empty without a thread.

        Args:
            last: only so many, the newest ones.
            after: only those with a higher ``seq``.
        """
        ...

    async def remember(self, messages: Sequence[JsonObject]) -> None:
        """Append messages to the thread, atomically with the end of the run; nothing when the run fails."""
        ...

    def at_end(self, *operations: Operation) -> None:
        """Have the store carry out operations in the commit of the run's end; none when the run fails."""
        ...


@runtime_checkable
class Runner(Protocol):
    """Executes resources of one kind."""

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue | Outcome:
        """Return the output as JSON, or an :class:`Outcome`.

        ``target`` is the pinned resource. Raises RunError or OperationError to fail with a reason.
        """
        ...


@attrs.frozen(kw_only=True)
class OperationContext:
    """What the handler of an operation gets beside its arguments."""

    run_id: str
    namespace: str
    path: str
    """Journal path of this operation."""
    idempotency_key: str
    """hex sha256 of run id and path: the same when the operation is repeated after a crash."""
    streaming: bool
    emit: Callable[[JsonObject], Awaitable[None]]
    pinned: Callable[[Reference], Resource | None]
    runtime: Any
    """The RuntimeManager."""
    shared: SharedState | None = None
    """The state that the run shares with others."""
    writes: list[Operation] = attrs.field(factory=list)

    def write(self, *operations: Operation) -> None:
        """Have the store carry out operations in the commit that records the result: with it, or not at all."""
        self.writes.extend(operations)


OperationHandler = Callable[[OperationContext, JsonObject], Awaitable[JsonValue]]
"""Raises OperationError (recorded) or any KastraError (recorded by its reason); what else it raises is a bug and is
recorded too."""
