"""``spec.memory`` of an Agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from kastra_plugin_agent.model_spec import ModelSpec

__all__ = ["WORKING_MEMORY_TOOL", "MemorySpec", "RecallSpec", "SummarySpec", "WorkingMemorySpec"]

WORKING_MEMORY_TOOL = "working_memory_update"
"""The tool by which a model changes the working memory."""


@attrs.frozen(kw_only=True)
class SummarySpec:
    """How memory of type summary condenses what falls out of the buffer."""

    model: ModelSpec | None = None
    """Default: the model that answers."""
    max_tokens: int = 500
    """Bound of the summary, by the estimate of :mod:`kastra_plugin_agent.tokens`."""
    instructions: str = ""
    """In place of the built-in ones: what to keep, in which language, in which form."""


@attrs.frozen(kw_only=True)
class RecallSpec:
    """What memory of type vector looks for, and where."""

    scope: Literal["thread", "agent", "namespace"] = "thread"
    """thread: this conversation. agent: all conversations with this agent. namespace: all of the namespace."""
    top_k: int = 5
    """Turns recalled at most."""
    min_score: float = 0.0
    """Cosine similarity below which nothing is recalled, -1 to 1. What is near differs between embedding models."""
    embeddings: str | None = None
    """``provider/name``; default: the configuration's ``defaultEmbeddings``, else a provider without account."""


@attrs.frozen(kw_only=True)
class WorkingMemorySpec:
    """An object that the agent keeps up to date itself, and always sees."""

    enabled: bool = True
    """False: the agent neither sees nor changes it; what it holds stays."""
    scope: Literal["thread", "agent"] = "thread"
    """thread: one for each conversation. agent: one for all conversations with this agent."""
    schema: Mapping[str, Any] | None = None
    """JSON schema (type object) of it. ``required`` at its top is not enforced: keys come one after another."""
    template: str = ""
    """What to keep in it, in words; shown to the model with it."""
    max_bytes: int = 4096
    """Bound of its JSON text."""


@attrs.frozen(kw_only=True)
class MemorySpec:
    """What the agent knows of earlier turns."""

    enabled: bool = True
    """False: the thread is neither read nor written, and there is no working memory."""
    type: Literal["buffer", "summary", "vector"] = "buffer"
    """buffer: the last messages. summary: and a summary of those before. vector: and earlier turns that are near in
    meaning to the question."""
    max_messages: int = 40
    """The last so many messages of the thread, cut at the beginning of a turn."""
    max_tokens: int | None = None
    """Bound of all that memory adds to a request, by the estimate of :mod:`kastra_plugin_agent.tokens`."""
    summary: SummarySpec = attrs.field(factory=SummarySpec)
    """Of type summary only."""
    recall: RecallSpec = attrs.field(factory=RecallSpec)
    """Of type vector only."""
    working_memory: WorkingMemorySpec | None = None
    """An object that the agent keeps itself, beside any type; without it there is none."""

    @property
    def works(self) -> WorkingMemorySpec | None:
        """The working memory, None when it is off."""
        working = self.working_memory
        return working if self.enabled and working is not None and working.enabled else None
