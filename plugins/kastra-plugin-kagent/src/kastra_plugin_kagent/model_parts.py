"""A model configuration as parts of ``spec.model``, to be put into each resource that uses it."""

from __future__ import annotations

from typing import Any

import attrs

from kastra_core.migration import Draft, Node
from kastra_plugin_kagent.context import Context, duration, number
from kastra_plugin_kagent.things import Thing

__all__ = ["ModelParts", "keep_unused"]

KEPT = "no agent of the migration uses this model: an agent without instructions keeps it"


@attrs.frozen
class _Part:
    path: tuple[str, ...]
    value: Any
    nodes: tuple[Node, ...]
    reason: str
    manual: bool


@attrs.define(eq=False)
class ModelParts:
    """What one model configuration says.

    Args:
        thing: its object.
        provider: name of the provider here.
    """

    thing: Thing
    provider: str = ""
    name: str = ""
    parts: list[_Part] = attrs.field(factory=list)
    users: list[Draft] = attrs.field(factory=list)

    def add(
        self, path: str | tuple[str, ...], value: Any, *nodes: Node, reason: str = "", manual: bool = False
    ) -> None:
        """A field of ``spec.model`` and where it is from.

        Args:
            path: "name", "parameters.topP", or a sequence for keys with dots.
            manual: somebody has to do what ``reason`` says.
        """
        keys = tuple(path.split(".")) if isinstance(path, str) else path
        self.parts.append(_Part(keys, value, tuple(node for node in nodes if node.present), reason, manual))

    def parameter(self, name: str, node: Node, *, reason: str = "") -> None:
        """A parameter; numbers that are written as text become numbers."""
        if node:
            value = number(node.value)
            told = reason or ("written as text in the source" if value is not node.value else "")
            self.add(("parameters", name), value, node, reason=told)

    def seconds(self, node: Node) -> None:
        """A time-out of one answer, in seconds."""
        if node.present:
            value = number(node.value)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
                self.add("timeoutS", value, node)
            else:
                node.dropped("no time in seconds")

    @property
    def embeddings(self) -> str:
        """``provider/name``, for places that take no more."""
        return f"{self.provider}/{self.name}"

    def put(self, draft: Draft, at: str = "spec.model") -> None:
        """Put all parts into a draft, with their rows."""
        self.users.append(draft)
        base = tuple(at.split("."))
        for part in self.parts:
            path = (*base, *part.path)
            if not part.nodes:
                draft.set(path, part.value)
            for node in part.nodes:
                if part.manual:
                    draft.set(path, part.value)
                    if len(self.users) == 1:  # it has to be done once, however many use the model
                        node.manual(part.reason, draft.target(".".join(path)))
                else:
                    node.to(draft, path, part.value, reason=part.reason)
        self.thing.users.append(draft.target(at))


def keep_unused(ctx: Context, parts: ModelParts) -> Draft:
    """An agent for a model that nobody uses, so that it is not lost. Return it."""
    thing = parts.thing
    name = thing.name if thing.name.endswith("model") else f"{thing.name}-model"
    draft = ctx.draft("Agent", thing, name, word="model")
    draft.set("spec.description", f"Answers with the model {parts.provider}/{parts.name}.")
    parts.put(draft)
    thing.node["metadata"]["name"].defaulted(KEPT, draft)
    return draft


def timeout_of(draft: Draft, node: Node, path: str = "spec.timeout") -> None:
    """A time-out of a tool or workflow, as Go writes it."""
    if not node.present:
        return
    value = duration(node.value)
    if value is None:
        node.dropped("no duration that is more than nothing; the usual one holds")
    else:
        node.to(draft, path, value)
