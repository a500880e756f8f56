"""Memory of kagent's agents: what is kept for long, and how a long conversation is made short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kastra_core.migration import Draft, Node
from kastra_plugin_kagent.context import text_to
from kastra_plugin_kagent.things import Thing

if TYPE_CHECKING:
    from kastra_plugin_kagent.kagent_agents import Agents

__all__ = ["migrate_memory"]

_LEAST_TOKENS = 200
"""What memory of type summary needs at least."""


def migrate_memory(agents: Agents, thing: Thing, draft: Draft, places: list[Node]) -> None:
    """``memory`` becomes memory of type vector, ``context.compaction`` of type summary; an agent has one of them."""
    long = next((place["memory"] for place in places if place["memory"].is_map), None)
    if long is not None:
        _long(agents, thing, draft, long)
    for place in places:
        for key, node in place["context"].fields():
            if key != "compaction":
                node.dropped("how a model's context is cached is the provider's affair here")
            elif not node.is_map:
                node.dropped("off")
            elif long is not None:
                node.manual(
                    "an agent has one type of memory, and vector was taken for what it keeps for long; choose "
                    "spec.memory.type summary if short conversations matter more",
                    draft.target("spec.memory"),
                )
            else:
                _compaction(agents, thing, draft, node)
        if place["context"].present and not place["context"].value:
            place["context"].dropped("it is empty")


def _long(agents: Agents, thing: Thing, draft: Draft, node: Node) -> None:
    draft.set("spec.memory", {"type": "vector", "recall": {"scope": "agent"}})
    config = node["modelConfig"]
    parts = agents.model_of(thing, config.text()) if config else None
    if parts is not None:
        config.to(
            draft,
            "spec.memory.recall.embeddings",
            parts.embeddings,
            reason=f"provider and name of {parts.thing.shown}; address and key are those of the configuration",
        )
        parts.thing.users.append(draft.target("spec.memory.recall.embeddings"))
    elif config:
        config.manual(
            f"there is no ModelConfig {config.text()} here: write PROVIDER/NAME; until then the configuration's "
            "defaultEmbeddings are made",
            draft.target("spec.memory.recall.embeddings"),
        )
    node["ttlDays"].dropped("memory is kept until its thread goes: a RetentionPolicy with threads.ttl bounds it")
    for key, one in node.fields():
        if key not in ("modelConfig", "ttlDays"):
            one.dropped("not known to kagent's memory")
    told = "earlier turns of all conversations with the agent are recalled; it writes no notes of its own"
    node["type"].defaulted(told, draft.target("spec.memory"))


def _compaction(agents: Agents, thing: Thing, draft: Draft, node: Node) -> None:
    summarizer = node["summarizer"]
    kind = "summary" if summarizer.present else "buffer"
    draft.set("spec.memory", {"type": kind})
    node["type"].defaulted(
        f"memory of type {kind}: "
        + ("what is old is summarized" if kind == "summary" else "what is old is left out, as nobody summarizes it"),
        draft.target("spec.memory.type"),
    )
    for key, one in node.fields():
        value = one.value if isinstance(one.value, int) and not isinstance(one.value, bool) else 0
        if key == "eventRetentionSize" and value > 0:
            one.to(draft, "spec.memory.maxMessages", reason="an event is about a message")
        elif key == "tokenThreshold" and value >= _LEAST_TOKENS:
            one.to(draft, "spec.memory.maxTokens", reason="bounds what memory adds to a request")
        elif key == "summarizer":
            _summarizer(agents, thing, draft, one)
        elif key in ("compactionInterval", "overlapSize"):
            one.dropped("memory is made short when it is too long, not after so many turns")
        else:
            one.dropped(
                "it bounds nothing" if key in ("eventRetentionSize", "tokenThreshold") else "not known to kagent"
            )


def _summarizer(agents: Agents, thing: Thing, draft: Draft, node: Node) -> None:
    for key, one in node.fields():
        if key == "modelConfig" and one:
            parts = agents.model_of(thing, one.text())
            if parts is not None:
                parts.put(draft, "spec.memory.summary.model")
                one.mapped(draft.target("spec.memory.summary.model"), f"that of {parts.thing.shown}")
            else:
                one.manual(
                    f"there is no ModelConfig {one.text()} here: write spec.memory.summary.model; until then "
                    "the agent's own model summarizes",
                    draft.target("spec.memory.summary.model"),
                )
        elif key == "promptTemplate" and one:
            text_to(one, draft, "spec.memory.summary.instructions")
        else:
            one.dropped("not known to kagent's summarizer")
    if not node["modelConfig"]:
        node["modelConfig"].defaulted("the agent's own model summarizes", draft.target("spec.memory.summary"))
    if not node.value:
        node.mapped(draft.target("spec.memory.type"), "it says that there is a summary")
