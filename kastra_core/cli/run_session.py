"""Carrying a run to its end from a terminal: events, suspension, Ctrl-C, and runs taken over from dead processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kastra_core.api.meta import JsonObject, Resource, ResourceKey, rfc3339
from kastra_core.cli.run_screen import ErrorLines
from kastra_core.cli.run_target import option_n, short_name
from kastra_core.cli.run_waking import can_run, is_due, key_of_caller, unfinished_called
from kastra_core.errors import UserError
from kastra_core.execution.run_status import FINISHED

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["INTERRUPTED", "Interrupts", "RunSession", "failure_of"]

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""
_SETTLED_S = 0.05
"""How long a handle may need to notice that its run is over."""
_LOOK_S = 0.2
"""Between two looks at runs that another one waits for."""
_NOT_OVER = "the run is not over"
"""In the message of a run that goes on and that this process cannot follow: the store failed."""
_PATIENCE_S = 60.0
"""A run that awaits an answer until an instant later than this is not waited for."""


class Listener(Protocol):
    """Shows events of a run."""

    def event(self, event: JsonObject) -> None: ...


class _Outlook(NamedTuple):
    """What a suspended run waits for."""

    awaiting: list[JsonObject]
    """Signals that somebody is to send."""
    wake_at_s: float | None
    """Unix seconds of the first instant at which a clock wakes it, or a run that it called."""
    busy: bool
    """A run that it called is at work, or about to be."""


class Interrupts:
    """While it is entered, the first Ctrl-C calls ``first`` in the event loop, the second ends the process."""

    def __init__(self, first: Callable[[], None]) -> None:
        self.count = 0
        self._first = first
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(ValueError):  # not in the main thread: then nobody presses Ctrl-C here
            self._before = signal.signal(signal.SIGINT, self._hit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After the first Ctrl-C the second has its meaning to the end: a tool's thread may hold up the process.
        if self._before is not None and not self.count:
            signal.signal(signal.SIGINT, self._before)

    def _hit(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            # Unfinished runs stay in the store and go on with the next worker.
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                os.write(2, b"interrupted again: left at once\n")
            os._exit(INTERRUPTED)
        self._loop.call_soon_threadsafe(self._first)


class RunSession:
    """Runs that one command waits for.

    Args:
        runtime: opened without controllers.
        listener: shows the events of the runs in ``follow``; None: the model need not stream.
        lines: where to tell what happens.
        cancels: Ctrl-C cancels what is followed; otherwise it is handed back to go on later.
    """

    def __init__(
        self, runtime: RuntimeManager, listener: Listener | None, lines: ErrorLines, *, cancels: bool = True
    ) -> None:
        self.runtime, self.lines, self._cancels = runtime, lines, cancels
        self._listener = listener
        self._followed: set[ResourceKey] = set()
        self._told = 0
        self._left: set[ResourceKey] = set()
        """Runs that another process had at the beginning; others that are taken over were suspended."""
        self._ran: set[str] = set()
        """uids of the runs that went on here."""
        self._ended: list[Resource] = []
        """Runs that another run called and that ended here; who called them may still have to be woken."""
        self._main: asyncio.Task[Any] | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self.interrupts = Interrupts(self._interrupted)
        # A run that wakes from a suspension is executed anew; the bus tells before its first event.
        runtime.bus.subscribe("run.started", self._started)
        runtime.bus.subscribe("run.finished", self._finished)

    @property
    def interrupted(self) -> bool:
        return self.interrupts.count > 0

    async def begin(self, *, recover: bool = True) -> None:
        """Become a worker and tell which runs were taken over from dead ones."""
        self._main = asyncio.current_task()
        self._left = {claim.key for claim in await self.runtime.store.journal.claims() if claim.holder}
        await self.runtime.runs.start(recover=recover)
        self.runtime.tend()
        self._tell_resumed()

    def follow(self, key: ResourceKey) -> None:
        """Show the events of a run from now on; call it before the event loop goes on, to miss none."""
        self._followed.add(key)

    async def wait(self, key: ResourceKey) -> JsonObject:
        """The final status of a followed run, or that of its suspension when it waits for somebody.

        ``awaiting`` of a suspension also has what runs await that it called, with their name as ``run``. While a
        clock wakes it soon, or a run that it called is at work, it is waited for.
        """
        runs = self.runtime.runs
        handle = runs.attach(key)
        end = asyncio.create_task(runs.wait(key) if handle is None else handle.status())
        try:
            told: object = None
            while True:
                await runs.drain([key])
                done, _ = await asyncio.wait({end}, timeout=_SETTLED_S)
                self._tell_resumed()
                if done:
                    return end.result()
                run = await self.runtime.client.require(key)
                if runs.attach(key) is not None:
                    continue
                if run.status.get("phase") != "Suspended":
                    await asyncio.wait({end}, timeout=_LOOK_S)  # another process has it, or it is being taken here
                    continue
                if await self._goes_on(run):
                    continue
                outlook = await self._outlook(run)
                if outlook.busy:
                    await asyncio.wait({end}, timeout=_LOOK_S)
                    continue
                now_s = runs.clock()
                wake_at_s = outlook.wake_at_s
                if wake_at_s is None or (outlook.awaiting and wake_at_s > now_s + _PATIENCE_S):
                    status = dict(run.status)
                    if outlook.awaiting:
                        status["awaiting"] = outlook.awaiting
                    return status
                if told != wake_at_s:
                    told = wake_at_s
                    self._tell_wait(key, outlook)
                await asyncio.wait({end}, timeout=max(_SETTLED_S, wake_at_s - now_s))
        finally:
            end.cancel()
            if self._cancelling is not None:
                await asyncio.wait({self._cancelling})
            self._followed.discard(key)

    def _tell_wait(self, key: ResourceKey, outlook: _Outlook) -> None:
        assert outlook.wake_at_s is not None
        self.lines.say(f"run/{key.name} is suspended until {rfc3339(outlook.wake_at_s)}", cut=False)
        self._tell_awaited(key, outlook.awaiting)

    def _tell_awaited(self, key: ResourceKey, awaiting: Sequence[JsonObject]) -> None:
        from kastra_core.cli.run_awaiting import awaiting_lines

        for item in awaiting:
            for line in awaiting_lines(key.name, item, option_n(self.runtime, key.namespace)):
                self.lines.say(line, cut=False)

    async def _outlook(self, run: Resource, *, called: bool = False) -> _Outlook:
        """What a suspended run waits for, that of the runs that it called included."""
        status, meta = run.status, run.metadata
        wakes = [status["wakeAtS"]] if status.get("wakeAtS") is not None else []
        awaiting = [{**item, "run": meta.name} if called else dict(item) for item in status.get("awaiting") or ()]
        busy = False
        for child in await unfinished_called(self.runtime, run):
            if child.status.get("phase") != "Suspended" or await self._goes_on(child):
                busy = True
                continue
            inner = await self._outlook(child, called=True)
            awaiting += inner.awaiting
            busy = busy or inner.busy
            wakes += [inner.wake_at_s] if inner.wake_at_s is not None else []
        return _Outlook(awaiting, min(wakes, default=None), busy)

    async def _goes_on(self, run: Resource) -> bool:
        """Whether a suspended run does not wait any more; it is taken when what it waits for is there.

        The watch of signals would take it too, but in its own time.
        """
        claim = await self.runtime.store.journal.claim(run.metadata.uid)
        if claim is None:
            now = await self.runtime.client.get(run.key)
            return now is None or now.status.get("phase") in FINISHED
        if claim.holder:
            return True
        if not await is_due(self.runtime, run, claim) or not can_run(self.runtime, run):
            return False
        await self.runtime.runs.recovery.take(claim)
        return True

    async def wait_above(self, key: ResourceKey) -> None:
        """Wait for the runs above one that is over, each to its end or until it waits for somebody.

        Those that another worker has are left to it.
        """
        run = await self.runtime.client.get(key)
        while run is not None and run.status.get("phase") in FINISHED:
            caller = await self._caller_of(run)
            if caller is None:
                return
            over = caller.status.get("phase") in FINISHED
            goes_on = not over and await self._wake_caller(caller)
            if goes_on:
                self.lines.say(
                    f"waiting for run/{caller.metadata.name} to end, which called it (Ctrl-C hands back)", cut=False
                )
            elif not (over or caller.metadata.uid in self._ran):
                return  # it waits for something else, or another worker has it
            if goes_on or caller.metadata.uid in self._ran:  # it may have gone on, and stopped, before this look
                await self._wait_for_caller(caller.key)
            run = await self.runtime.client.get(caller.key)

    async def _wait_for_caller(self, key: ResourceKey) -> None:
        try:
            status = await self.wait(key)
        except asyncio.CancelledError:
            here = option_n(self.runtime, key.namespace)
            self.lines.say(f"handed back run/{key.name}: `kastra run resume run/{key.name}{here}` goes on", cut=False)
            raise
        if status.get("phase") != "Suspended":
            self.lines.say(f"run/{key.name}: {status.get('phase')}")
            return
        self.lines.say(f"run/{key.name} is suspended")
        self._tell_awaited(key, status.get("awaiting") or ())

    async def _caller_of(self, run: Resource) -> Resource | None:
        key = key_of_caller(run)
        caller = await self.runtime.client.get(key) if key is not None else None
        return caller if caller is not None and caller.metadata.uid == run.spec["parent"]["run"] else None

    async def _wake_caller(self, caller: Resource) -> bool:
        """Let a run go on that one called that is over by now; whether it does so in this process."""
        runs, uid = self.runtime.runs, caller.metadata.uid
        while runs.find(uid) is None:
            claim = await self.runtime.store.journal.claim(uid)
            run = await self.runtime.client.get(caller.key)
            if claim is None or run is None:
                return False
            if claim.holder == runs.worker.id:
                if uid not in runs.recovery.busy and runs.find(uid) is None:
                    return False  # the store fails: it is taken again later
                await asyncio.sleep(_SETTLED_S)  # it is just being taken
                continue
            if claim.holder:
                if runs.worker.alive(await self.runtime.store.leases.get(claim.holder), runs.clock()):
                    return False
            elif not await is_due(self.runtime, run, claim):
                return False
            if not can_run(self.runtime, run):
                return False
            if not await runs.recovery.take(claim):
                await asyncio.sleep(_SETTLED_S)  # another worker was quicker, or it is taken here already
        return True

    async def drain_resumed(self) -> None:
        """Wait for the other runs that this process took over; Ctrl-C hands them back."""
        runs = self.runtime.runs
        self._tell_resumed()
        others = [key for key in runs.active if not await self._is_called(key)]
        if not others:
            await self._drain()  # what a cancelled run had called ends with it
            return
        names = ", ".join(f"run/{key.name}" for key in others)
        self.lines.say(f"waiting for {names} to end (Ctrl-C hands back)", cut=False)
        try:
            await self._drain()
        except asyncio.CancelledError:
            left = ", ".join(f"run/{key.name}" for key in runs.active)
            self.lines.say(f"handed back {left}: `kastra run resume` goes on", cut=False)
            raise
        for key in others:
            run = await self.runtime.client.get(key)
            if run is not None:
                self.lines.say(f"run/{key.name}: {run.status.get('phase')}")

    async def _drain(self) -> None:
        """Wait until nothing goes on here, and nobody waits for what ended here."""
        while True:
            await self.runtime.runs.drain()
            ended, self._ended = self._ended, []
            woken = False
            for run in ended:
                caller = await self._caller_of(run)
                if caller is not None and caller.status.get("phase") not in FINISHED:
                    woken = await self._wake_caller(caller) or woken
            if not (woken or self._ended):
                return

    async def _is_called(self, key: ResourceKey) -> bool:
        """Whether another run called this one."""
        run = await self.runtime.client.get(key)
        return run is not None and "parent" in run.spec

    def _tell_resumed(self) -> None:
        resumed = self.runtime.runs.resumed
        for key in resumed[self._told :]:
            self.lines.say(f"resuming run/{key.name}{' (its process ended)' if key in self._left else ''}")
        self._told = len(resumed)

    def _started(self, message: Mapping[str, Any]) -> None:
        key = message["resource"].key
        self._ran.add(message["resource"].metadata.uid)
        if key in self._followed and self._listener is not None:
            handle = self.runtime.runs.attach(key)
            if handle is not None:
                handle.listen(self._listener.event)

    def _finished(self, message: Mapping[str, Any]) -> None:
        if "parent" in message["resource"].spec:
            self._ended.append(message["resource"])

    def _interrupted(self) -> None:
        """The first Ctrl-C."""
        if not (self._followed and self._cancels):
            if self._main is not None:
                self._main.cancel()
            return
        names = ", ".join(f"run/{key.name}" for key in self._followed)
        self.lines.must_say(f"\ncancelling {names} (Ctrl-C again leaves at once)")
        self._cancelling = asyncio.create_task(self._cancel_all())

    async def _cancel_all(self) -> None:
        for key in self._followed:
            with contextlib.suppress(UserError):  # it is over
                await self.runtime.runs.cancel(key)


def failure_of(runtime: RuntimeManager, key: ResourceKey, status: Mapping[str, Any]) -> str:
    """What to tell about a run that ended without an answer: the fact, and what to do."""
    reason, name = str(status.get("reason") or "Failed"), short_name(key.kind, key.name)
    message = str(status.get("message") or "it failed")
    namespace = option_n(runtime, key.namespace)
    if _NOT_OVER in message:  # another try would be a second run beside it
        return (
            f"error: lost sight of {name} ({reason}): {message}\n"
            f"`kastra run attach {name}{namespace}` follows it, `kastra run resume {name}{namespace}` goes on with it"
        )
    text = f"error: {name} ended without an answer ({reason}): {message}"
    if reason == "LimitExceeded":
        text += "; raise spec.limits of its target, or pass --limit NAME=VALUE"
    if status.get("output") is not None:
        text += f"; `kastra get {name}{namespace} -o jsonpath={{.status.output}}` prints how far it came"
    if reason == "InvalidInput":  # another try with the same input is of no use
        return (
            f"{text}\nwords are a text; `--set KEY=VALUE` and `--input JSON` make an object; "
            f"`kastra logs {name}{namespace}` shows what happened"
        )
    return (
        f"{text}\n`kastra logs {name}{namespace}` shows what happened, `kastra run retry {name}{namespace}` tries again"
    )
