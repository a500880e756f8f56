"""A run as its starter holds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.errors import RunCancelledError, RunFailedError, UserError
from kastra_core.execution.scheduler import Ticket
from kastra_core.execution.state import RunState
from kastra_core.protocols.runner import SharedState

if TYPE_CHECKING:
    from kastra_core.execution.runs import RunManager

__all__ = ["ActiveRun", "RunHandle", "RunOptions", "RunReply", "raise_unless_succeeded"]


@attrs.frozen(kw_only=True)
class RunOptions:
    """How a run is started. ``model`` ("provider/name") answers in place of the target's own."""

    namespace: str | None = None
    name: str | None = None
    thread: str | None = None
    model: str | None = None
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    priority: int = 0
    require_ready: bool = True
    labels: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    journal: Mapping[str, Any] = attrs.field(factory=dict)
    """Records by path that the run begins with, as if it had made them: those of a run that it goes on from."""
    shared: SharedState | None = None
    """The state that it shares with others."""
    pins: Mapping[ResourceKey, Resource] | None = None
    """What it runs and refers to, in place of what is stored now: the pins of a run that it repeats."""


@attrs.frozen(kw_only=True)
class RunReply:
    """The answer of something that was run."""

    output: JsonValue
    """A text, or JSON."""
    usage: JsonObject
    """modelCalls, toolCalls, inputTokens, outputTokens, steps; cost in USD where known."""
    run: ResourceKey
    """The Run that made it: ``kastra describe run/<name>``."""

    @property
    def text(self) -> str:
        """The output as text; JSON is written out."""
        if isinstance(self.output, str):
            return self.output
        import orjson

        return orjson.dumps(self.output).decode()

    def __str__(self) -> str:
        return self.text


def raise_unless_succeeded(status: JsonObject, run: str) -> None:
    """Raises: RunCancelledError; RunFailedError with the reason of a final status and what there is of an output."""
    if status["phase"] == "Succeeded":
        return
    if status["phase"] == "Cancelled":
        raise RunCancelledError(f"run {run} was cancelled")
    raise RunFailedError(
        status.get("message") or "failed",
        reason=status.get("reason") or "Failed",
        run=run,
        output=status.get("output"),
    )


@attrs.define(eq=False)
class ActiveRun:
    """A run that this process executes or has queued."""

    state: RunState
    kind: ResourceKind
    target: Resource
    ticket: Ticket
    finished: asyncio.Future[JsonObject]
    """Result: the final status, or that of a suspension."""
    task: asyncio.Task[None] | None = None
    begun: bool = False
    ending: bool = False
    """Its end, or its suspension, is being written: it must not be cancelled any more."""


class RunHandle:
    """A run that was started or attached to here."""

    def __init__(self, manager: RunManager, active: ActiveRun) -> None:
        self._manager, self._active = manager, active

    @property
    def uid(self) -> str:
        return self._active.state.uid

    @property
    def key(self) -> ResourceKey:
        return self._active.state.key

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def resource(self) -> Resource:
        """The Run as this process knows it."""
        return self._active.state.resource

    async def status(self) -> JsonObject:
        """Wait for the run's end and return its status: phase, output, usage, reason, message, conditions.

        A suspended run is waited for across its suspensions.
        """
        return await self._manager.wait(self.key, self._active)

    async def result(self) -> JsonValue:
        """Wait for the run's end and return its output.

        Raises: RunFailedError with the reason of its condition; RunCancelledError.
        """
        status = await self.status()
        raise_unless_succeeded(status, self.name)
        return status.get("output")

    async def events(self) -> AsyncIterator[JsonObject]:
        """Events of the run from now on until its end or its suspension; only events of this process."""
        queue: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        listeners = self._active.state.listeners
        listener = queue.put_nowait
        listeners.append(listener)
        finished = self._active.finished
        finished.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            if listener in listeners:
                listeners.remove(listener)

    def listen(self, listener: Callable[[JsonObject], None]) -> None:
        """Call ``listener(event)`` for each event from now on; must not block. One that raises is called no more."""
        self._active.state.listeners.append(listener)

    async def cancel(self) -> None:
        """Ask the run to stop and wait until it did, or was over before. A suspended run is ended too."""
        if not self._manager.cancel_local(self.uid):
            with contextlib.suppress(UserError):  # it is over, or deleted
                await self._manager.cancel(self.key)
        with contextlib.suppress(UserError):
            await self._manager.wait(self.key, self._active)
