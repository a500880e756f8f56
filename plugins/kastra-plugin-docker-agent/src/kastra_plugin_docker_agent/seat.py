"""An agent in the making: its draft, its tools, and what is added to its instructions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

from kastra_core.migration import Draft, Node
from kastra_plugin_docker_agent.rows import dropped, mapped

__all__ = ["Seat"]

_NOT_FOR_MODELS = re.compile(r"[^a-zA-Z0-9_-]")


@attrs.define
class Seat:
    """One agent of a document."""

    name: str
    """In the source."""
    node: Node
    draft: Draft
    allows: Callable[[str], bool]
    """Whether permissions let the agent call a tool of this name."""
    tools: dict[str, Any] = attrs.field(factory=dict)
    """Name that the model sees -> entry of spec.tools."""
    notes: list[str] = attrs.field(factory=list)
    """Texts after the instructions."""

    def give(self, name: str, tool: Draft) -> bool:
        """Let the agent call a Tool by the name of the source. Return False when a permission denies it."""
        if not self.allows(name):
            return False
        seen = shown = _NOT_FOR_MODELS.sub("_", name)[:64] or "tool"
        number = 1
        while shown in self.tools and self.tools[shown]["ref"] != tool.name:
            number += 1
            shown = f"{seen[:60]}_{number}"
        self.tools.setdefault(shown, {"name": shown, "ref": tool.name})
        return True

    def call(self, name: str, reference: str, description: str = "") -> None:
        """Let the agent call another agent as a tool."""
        entry = {"name": name, "ref": reference}
        if description:
            entry["description"] = description
        self.tools.setdefault(name, entry)

    def note(self, node: Node) -> None:
        """Add a text to the instructions, as docker-agent shows it to the model."""
        text = node.text().replace("{ORIGINAL_INSTRUCTIONS}", "").strip()
        if not text:
            if node:
                dropped(node, "no text of its own")
            return
        if text not in self.notes:
            self.notes.append(text)
        told = "added to the instructions"
        if "{ORIGINAL_INSTRUCTIONS}" in node.text():
            told += "; what docker-agent itself says of these tools is not"
        mapped(node, self.draft.target("spec.instructions"), told)

    def close(self) -> None:
        """Write tools and instructions into the draft."""
        texts = [str(self.draft.get("spec.instructions", "")), *self.notes]
        if self.notes:
            self.draft.set("spec.instructions", "\n\n".join(text.rstrip("\n") for text in texts if text) + "\n")
        if self.tools:
            entries = self.tools.values()
            self.draft.spec["tools"] = [
                entry["ref"] if set(entry) == {"name", "ref"} and entry["name"] == entry["ref"] else entry
                for entry in entries
            ]
