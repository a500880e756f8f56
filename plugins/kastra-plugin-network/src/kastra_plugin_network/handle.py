"""What ``runtime.get_network()`` returns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.execution.handle import RunReply, raise_unless_succeeded
from kastra_core.runtime import ResourceHandle

if TYPE_CHECKING:
    from kastra_plugin_network.state import NetworkState

__all__ = ["NetworkHandle", "NetworkReply"]

_MEMBER = "/member:"


@attrs.frozen(kw_only=True)
class NetworkReply(RunReply):
    """A network's answer: a text, or the JSON that the last member gave. The usage of members is in its own."""

    reason: str
    """Completed."""
    members: tuple[str, ...]
    """Those that were called, in order."""


class NetworkHandle(ResourceHandle):
    """A network by name; nothing is read until it is used.

    Example:
        network = runtime.get_network("default.customer-support")
        reply = await network.generate("My bill is wrong, can you help?", thread="case-1")
        async for event in network.stream("And the one before?", thread="case-1"):
            if event["type"] == "text":
                print(event["text"], end="")
        await network.state.set_value("tier", "gold", thread="case-1")
    """

    @cached_property
    def state(self) -> NetworkState:
        """The network's shared state."""
        from kastra_plugin_network.state import NetworkStateStore

        return NetworkStateStore(self.runtime).of(self.reference)

    async def generate(self, input: JsonValue, *, thread: str | None = None, **options: Any) -> NetworkReply:
        """Ask and wait for the whole answer.

        Args:
            input: a text, or what NetworkRunner takes.
            thread: the conversation to go on with; it is made when missing. None: no history.
            options: fields of RunOptions (model, limits, priority ...).
        Raises: NotFoundError, NotReadyError, RunCancelledError; RunFailedError with reason MaxSteps, NoCandidate,
            MemberFailed ..., ``output`` is the last answer where there is one.
        """
        run = await self.runtime.start_run(self.reference, input, thread=thread, **options)
        status = await run.status()
        raise_unless_succeeded(status, run.name)
        return NetworkReply(
            output=status.get("output"),
            usage=status.get("usage") or {},
            run=run.key,
            reason=status.get("reason") or "",
            members=await self._members(run.uid),
        )

    async def stream(self, input: JsonValue, *, thread: str | None = None, **options: Any) -> AsyncIterator[JsonObject]:
        """Ask and yield events as they come; the last is ``completed`` {output, usage, run, reason, members}.

        Events: ``decision`` {step, router, chosen, candidates, input, reason, done}, ``step_started``,
        ``step_finished``, and those of members with ``member``, its name ("sales/billing" within a network):
        ``text`` {text, member}, ``tool_call``, ``tool_result``, ``note`` ... ``child`` is one of what a member called.
        While a member waits (for a person, a signal) nothing comes.
        Leaving the loop early cancels the run. Raises: as :meth:`generate`.
        """
        async with aclosing(self.runtime.stream_run(self.reference, input, thread=thread, **options)) as events:
            async for event in events:
                if event["type"] != "ended":
                    shown = _flat(event)
                    if shown is not None:
                        yield shown
                    continue
                status = event["status"]
                raise_unless_succeeded(status, event["run"])
                yield {
                    "type": "completed",
                    "output": status.get("output"),
                    "usage": status.get("usage") or {},
                    "run": event["run"],
                    "reason": status.get("reason") or "",
                    "members": list(await self._members(event["uid"])),
                }

    async def _members(self, uid: str) -> tuple[str, ...]:
        """The members that a run called, as its journal tells; one that was called twice is there twice."""
        records = await self.runtime.store.journal.records(uid)
        return tuple(
            name
            for record in records
            if record.path.startswith(_MEMBER) and not record.path.endswith("!")
            if (name := _member_of(record.path)) is not None
        )


def _member_of(path: str) -> str | None:
    """The member that a journal path is a call of, None when it is none."""
    if not path.startswith(_MEMBER):
        return None
    name, hash_, _ = path.removeprefix(_MEMBER).rpartition("#")
    return name if hash_ else None


def _flat(event: JsonObject) -> JsonObject | None:
    """An event as the network's caller sees it; None: nothing of interest."""
    names: list[str] = []
    while event["type"] == "child":
        name = _member_of(str(event.get("path")))
        if name is None:
            break
        names.append(name)
        event = event["event"]
    if not names:
        return {**event, "member": ""} if event["type"] == "text" else event
    return None if event["type"] in ("finished", "started", "suspended") else {**event, "member": "/".join(names)}
