"""How the parts of a legacy source find each other, and how missing functions become tools to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import attrs

from kastra_core.migration import Node

__all__ = ["Found", "Lookup", "RunnableKind"]

RunnableKind = Literal["Agent", "Tool", "Workflow", "Network"]


@attrs.frozen(kw_only=True)
class Found:
    """What a reference of the source means in the result."""

    kind: RunnableKind
    """A reference such as ``Tool/x`` may mean another kind than was asked for."""
    name: str
    """Name of the resource in the result."""
    namespace: str
    reference: str
    """Text for a manifest that expects the kind that was asked for: ``name``, ``ns/name``, with ``tools/`` before it
    where the kind is another one."""
    exists: bool
    """Whether this migration makes the resource; False: the reference waits until somebody applies one."""
    schema: Mapping[str, Any] | None = None
    """Of a tool: the JSON schema of its arguments, where the source says it."""
    note: str = ""
    """For the reason of the row: "'Old Name' is named old-name", "no Tool of this name is migrated"; else ""."""


class Lookup(Protocol):
    """Finds what one resource of the source refers to; knows that resource's namespace and file."""

    def find(self, kind: RunnableKind, reference: object) -> Found | None:
        """What ``name``, ``ns/name``, ``ns.name``, ``Kind/name`` or an object with name, ref or namespace means.

        A tool with several functions has become a Tool for each: ``{"name": "tasks", "function": "createTask"}`` finds
        it. ``"tasks"`` alone finds the Tool that takes ``function`` (its name) and ``arguments`` (an object).

        None when it is no reference at all (empty, a list, a number, an object without a name, the path of a file).
        """
        ...

    def tool_stub(
        self,
        name: str,
        node: Node,
        *,
        what: str,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
    ) -> Found:
        """Make a Tool (type python) whose function somebody has to write, and say so in a row of ``node``.

        Where a tool with a stub was made of the same name with the same ``what`` and schema, that one is returned.

        Args:
            name: of the function in the source.
            node: where it stands; gets a manual row which names the Tool and the place of the function.
            what: what stands there, for people ("inline JavaScript of step 'format'", "function 'format'").
            schema: JSON schema of the arguments, an object; None: it takes whatever it is given.
        """
        ...
