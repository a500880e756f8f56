"""What an agent remembers: what of it goes into a request, and what of a turn is kept.

Event: ``memory`` {message, messages, of, shortened?, summary? {upTo, made}, recalled? [{thread, run, score}]}: what a
request was given of the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.errors import LimitExceededError, OperationError
from kastra_core.protocols.model_input import text_of
from kastra_core.protocols.runner import RunContext
from kastra_core.protocols.store import StoredMessage, thread_holder
from kastra_plugin_agent import memory_recall, memory_summary, working
from kastra_plugin_agent.memory_buffer import Buffer, asks, buffered
from kastra_plugin_agent.memory_spec import WORKING_MEMORY_TOOL, MemorySpec
from kastra_plugin_agent.model_spec import ModelSpec
from kastra_plugin_agent.own_tools import OwnTool
from kastra_plugin_agent.tokens import MESSAGE_TOKENS, estimate_text

__all__ = ["Memory", "Remembered"]

LONGEST_TURN_ROWS = 1000
"""Messages read in addition when the last turn alone is longer than the buffer."""


@attrs.frozen
class Remembered:
    """What memory adds to the requests of a run."""

    notes: tuple[str, ...] = ()
    """Texts for the system message, those that change least first."""
    messages: tuple[JsonObject, ...] = ()
    """Of the thread, to be put before the question."""
    tools: Mapping[str, OwnTool] = attrs.field(factory=dict)


class Memory:
    """The memory of one pinned agent."""

    def __init__(self, spec: MemorySpec, agent: Resource) -> None:
        self.spec = spec
        self.agent = f"{agent.metadata.namespace}/{agent.metadata.name}"
        works = spec.works
        self.outlives_threads = (works is not None and works.scope == "agent") or (
            spec.type == "vector" and spec.recall.scope != "thread"
        )
        """There is something to remember in a run without a thread."""
        self._calls = 2 if agent.spec.get("tools") or works is not None else 1
        """Calls of a model that an answer needs at least."""

    async def remembered(self, ctx: RunContext, turn: Sequence[JsonObject], model: ModelSpec) -> Remembered:
        """Return what is known when a turn begins; what fails is told by a note and left out.

        Args:
            turn: the messages that begin it.
            model: who writes summaries.
        """
        budget = _Budget(self.spec.max_tokens)
        tools = await self._working(ctx, budget)
        rows = await self._rows(ctx)
        told: JsonObject = {}
        if self.spec.type == "summary" and rows:
            buffer = await self._summary(ctx, budget, rows, model, told)
        elif self.spec.type == "vector":
            buffer = await self._vector(ctx, budget, rows, _question(turn), told)
        else:
            buffer = self._buffer(rows, budget.left)
        if rows or told:
            await ctx.emit(_event(rows, buffer, told))
        return Remembered(tuple(budget.notes), buffer.messages, tools)

    async def keep(self, ctx: RunContext, turn: Sequence[JsonObject], answer: str) -> None:
        """Keep a turn that ended well, in the commit of the run's end."""
        await ctx.remember(turn)
        if self.spec.type != "vector":
            return
        try:
            await memory_recall.index(ctx, self.spec, _question(turn), answer, agent=self.agent)
        except (OperationError, LimitExceededError) as error:
            # What used up the limit was the answer, which is there.
            await _tell(ctx, f"this turn is kept but cannot be recalled by meaning ({error.reason}: {error})")

    async def _working(self, ctx: RunContext, budget: _Budget) -> Mapping[str, OwnTool]:
        works = self.spec.works
        if works is None or (works.scope == "thread" and not ctx.thread):
            return {}
        above = f"{self._place(ctx)}/" if works.scope == "thread" else ""
        scope = f"{above}agent/{self.agent}/working"
        values = await ctx.perform("state.get", {"scope": scope}, name="working_memory")
        budget.add(working.note(works, values, budget.room))
        return {WORKING_MEMORY_TOOL: working.working_tool(works, scope, working.bytes_allowed(works, budget.whole))}

    async def _summary(
        self, ctx: RunContext, budget: _Budget, rows: Sequence[StoredMessage], model: ModelSpec, told: JsonObject
    ) -> Buffer:
        spec, buffer = self.spec, self._buffer(rows, budget.left)
        if self._holds_all(rows, buffer):
            return buffer
        share = spec.summary.max_tokens if budget.left is None else min(spec.summary.max_tokens, budget.left // 2)
        frame = estimate_text(memory_summary.note("")) + MESSAGE_TOKENS
        made = await memory_summary.summarised(
            ctx,
            spec,
            rows,
            scope=f"{self._place(ctx)}/agent/{self.agent}/summary",
            max_tokens=None if budget.left is None else budget.left - share,
            summary_tokens=max(0, share - frame),
            # A model that was chosen for this run is there because the manifest's may not be.
            model=model if ctx.spec.get("model") else spec.summary.model or model,
            calls=self._calls,
        )
        if made.failure:
            await _tell(ctx, f"the last messages are used, those before could not be summarised ({made.failure})")
        if made.text:
            budget.add(memory_summary.note(made.text))
            told["summary"] = {"upTo": made.up_to, "made": made.made}
        return made.buffer

    async def _vector(
        self, ctx: RunContext, budget: _Budget, rows: Sequence[StoredMessage], question: str, told: JsonObject
    ) -> Buffer:
        spec, buffer = self.spec, self._buffer(rows, budget.left)
        within_thread = spec.recall.scope == "thread"
        if not question.strip() or (within_thread and (not rows or self._holds_all(rows, buffer))):
            return buffer
        share = None if budget.left is None else budget.left // 3
        fewer = buffer if share is None or budget.left is None else self._buffer(rows, budget.left - share)
        try:
            turns = await memory_recall.recalled(
                ctx,
                spec,
                question,
                agent=self.agent,
                exclude=sorted({row.run for row in rows[fewer.start :]}),
                max_tokens=None if share is None else max(0, share - MESSAGE_TOKENS),
            )
        except OperationError as error:
            await _tell(ctx, f"the last messages are used, nothing was recalled ({error.reason}: {error.message})")
            turns = []
        if not turns:
            return buffer
        budget.add(memory_recall.note(turns))
        told["recalled"] = [{name: turn[name] for name in ("thread", "run", "score")} for turn in turns]
        return fewer

    def _buffer(self, rows: Sequence[StoredMessage], max_tokens: int | None) -> Buffer:
        return buffered(rows, max_messages=self.spec.max_messages, max_tokens=max_tokens)

    @staticmethod
    def _holds_all(rows: Sequence[StoredMessage], buffer: Buffer) -> bool:
        """No turn that the thread holds is missing in the buffer."""
        return rows[0].seq <= 1 and not buffer.shortened and not asks(rows[: buffer.start])

    async def _rows(self, ctx: RunContext) -> Sequence[StoredMessage]:
        """The newest messages of the thread: as many as the buffer may hold, or the last turn when that is more."""
        if not ctx.thread:
            return ()
        rows = await ctx.history(last=self.spec.max_messages)
        if not rows or rows[0].seq <= 1 or asks(rows):
            return rows
        rows = await ctx.history(last=self.spec.max_messages + LONGEST_TURN_ROWS)
        first = next((at for at in range(len(rows) - 1, -1, -1) if rows[at].message["role"] == "user"), 0)
        return rows[first:]

    @staticmethod
    def _place(ctx: RunContext) -> str:
        """The state scope of the thread."""
        return thread_holder(ctx.namespace, str(ctx.thread))


class _Budget:
    """What memory may still add to a request."""

    def __init__(self, max_tokens: int | None) -> None:
        self.whole = self.left = max_tokens
        self.notes: list[str] = []

    @property
    def room(self) -> int | None:
        """Tokens that a note may have."""
        return None if self.left is None else max(0, self.left - MESSAGE_TOKENS)

    def add(self, note: str) -> None:
        """Take a note that fits: it is made so, as what cuts it off would cut its end mark."""
        self.notes.append(note)
        if self.left is not None:
            self.left = max(0, self.left - estimate_text(note) - MESSAGE_TOKENS)


def _event(rows: Sequence[StoredMessage], buffer: Buffer, told: JsonObject) -> JsonObject:
    """What is told of what a request was given."""
    shown, held = len(buffer.messages), rows[-1].seq if rows else 0
    words = [f"{shown} of {held} messages" + (", shortened" if buffer.shortened else "")] if rows else []
    if summary := told.get("summary"):
        words.append(f"a summary of those up to {summary['upTo']}" + (", made now" if summary["made"] else ""))
    if recalled := told.get("recalled"):
        found = ", ".join(f"{turn['thread']} {turn['score']:.2f}" for turn in recalled)
        words.append(f"{len(recalled)} recalled ({found})")
    event = {"type": "memory", "message": "; ".join(words), "messages": shown, "of": held, **told}
    if buffer.shortened:
        event["shortened"] = True
    return event


async def _tell(ctx: RunContext, message: str) -> None:
    await ctx.emit({"type": "note", "message": f"memory: {message}"})


def _question(turn: Sequence[JsonObject]) -> str:
    """What the user said last, "" when that is nothing."""
    return next((text_of(message) for message in reversed(turn) if message["role"] == "user"), "")
