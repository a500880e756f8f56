"""The parts of a legacy source: one item for each thing that becomes a resource or a setting."""

from __future__ import annotations

import re
from typing import Any

import attrs

from kastra_core.migration import Draft, Node

__all__ = [
    "API_VERSIONS",
    "KINDS",
    "RUNNABLE",
    "VOLATILE",
    "Item",
    "is_kind_spelling",
    "kind_of_spelling",
    "same_content",
]

RUNNABLE = ("Agent", "Tool", "Workflow", "Network")
"""Kinds that can be run and referred to."""
KINDS = (*RUNNABLE, "LLM", "System", "CustomResourceDefinition", "MastraPod")
"""Kinds of the older format."""
API_VERSIONS = re.compile(r"(mastra|mastra\.ai)/v[0-9]+((alpha|beta)[0-9]+)?|v1")
"""Spellings of the API version that were in use."""
VOLATILE = (
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Fields of metadata that a store writes."""


def kind_of_spelling(text: str) -> str:
    """Return the kind that ``agents``, ``agent`` or ``Agent`` names, "" for no runnable kind.

    >>> kind_of_spelling("tools"), kind_of_spelling("support")
    ('Tool', '')
    """
    low = text.lower()
    return next((kind for kind in (*RUNNABLE, "LLM") if low in (kind.lower(), f"{kind.lower()}s")), "")


def is_kind_spelling(text: str) -> bool:
    """Whether a reference ``text/name`` would be read as one of a kind."""
    return bool(kind_of_spelling(text))


@attrs.define(eq=False, kw_only=True)
class Item:
    """One thing of the source, found in the first pass and filled in the second."""

    kind: str
    node: Node
    """The whole of it; of a root file's entry its body."""
    spec: Node
    """What the kind's own fields stand in."""
    source_name: str
    namespace: str
    """As the source says, made valid; "" where it says nothing."""
    api_version: str = ""
    metadata: Node | None = None
    """None where the source has no metadata of its own (root files, inline members)."""
    name_node: Node | None = None
    """Where the name stands, when not in metadata."""
    inline: bool = False
    """It stands in a pod, a root file or a System: such a thing is never a manifest of today."""
    native: bool = False
    """It is a manifest of today already: its spec is taken as it is."""
    system: Item | None = None
    """The System that holds it."""
    name: str = ""
    """Of the resource in the result."""
    draft: Draft | None = None
    twin: Item | None = None
    """The item that says the same already."""
    aliases: tuple[str, ...] = ()
    """Other words by which the source may refer to it: its id, the name for people."""
    functions: dict[str, str] = attrs.field(factory=dict)
    """Of a Tool with several functions: function -> name of its Tool in the result."""
    schema: dict[str, Any] | None = None
    """Of a Tool: the JSON schema of its arguments."""

    @property
    def file(self) -> str:
        return self.node.document.file

    @property
    def place(self) -> str:
        """File and line, for reasons."""
        return f"{self.file}:{self.node.line}"

    @property
    def effective_namespace(self) -> str:
        return self.namespace or "default"


def same_content(first: Item, second: Item) -> bool:
    """Whether two items say the same, but for what a store writes and for the spelling of the API version."""
    return _content(first) == _content(second)


def _content(item: Item) -> tuple[Any, ...]:
    metadata = item.metadata.value if item.metadata is not None else None
    plain = dict(metadata) if isinstance(metadata, dict) else {}
    for key in (*VOLATILE, "namespace"):
        plain.pop(key, None)
    return item.kind, item.effective_namespace, item.source_name, plain, item.spec.value
