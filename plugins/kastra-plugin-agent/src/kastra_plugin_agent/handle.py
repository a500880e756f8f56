"""What ``runtime.get_agent()`` returns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.execution.handle import RunReply, raise_unless_succeeded
from kastra_core.runtime import ResourceHandle

__all__ = ["AgentHandle", "AgentReply"]


class AgentReply(RunReply):
    """An agent's answer: the text, or the JSON of a structured output."""


class AgentHandle(ResourceHandle):
    """An agent by name; nothing is read until it is used.

    Example:
        agent = runtime.get_agent("cooking.recipe-assistant")
        reply = await agent.generate("What can I cook with eggs?", thread="dinner")
        async for event in agent.stream("And with rice?", thread="dinner"):
            if event["type"] == "text":
                print(event["text"], end="")
    """

    async def generate(self, input: JsonValue, *, thread: str | None = None, **options: Any) -> AgentReply:
        """Ask and wait for the whole answer.

        Args:
            input: a text, or what AgentRunner takes.
            thread: the conversation to go on with; it is made when missing. None: no history.
            options: fields of RunOptions (model, limits, priority ...).
        Raises: NotFoundError, NotReadyError, RunFailedError.
        """
        run = await self.runtime.start_run(self.reference, input, thread=thread, **options)
        output = await run.result()
        return AgentReply(output=output, usage=(await run.status()).get("usage") or {}, run=run.key)

    async def stream(self, input: JsonValue, *, thread: str | None = None, **options: Any) -> AsyncIterator[JsonObject]:
        """Ask and yield events as they come; the last is ``completed`` {output, usage, run}.

        Events: ``text`` {text}, ``tool_call``, ``tool_result``, ``model_retry``, ``note``, ``memory`` (see
        :mod:`kastra_plugin_agent.memory`). Leaving the loop early cancels the run. Raises: as :meth:`generate`.
        """
        async with aclosing(self.runtime.stream_run(self.reference, input, thread=thread, **options)) as events:
            async for event in events:
                if event["type"] != "ended":
                    yield event
                    continue
                status, run = event["status"], event["run"]
                raise_unless_succeeded(status, run)
                usage = status.get("usage") or {}
                yield {"type": "completed", "output": status.get("output"), "usage": usage, "run": run}
