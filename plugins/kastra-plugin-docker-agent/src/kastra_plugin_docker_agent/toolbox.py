"""The Tools of a run of the migrator: each is made once, however many agents use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, Report

__all__ = ["ANY_TOOL", "FREE", "Toolbox", "place_of"]

FREE: JsonObject = {"type": "object", "additionalProperties": True}
"""Arguments that the file does not describe."""
ANY_TOOL: JsonObject = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "name of the tool"},
        "arguments": {"type": "object", "description": "its arguments", "additionalProperties": True},
    },
    "required": ["tool"],
}
"""Arguments of a Tool that stands for a set of tools which the file does not list."""


def place_of(node: Node) -> str:
    """ "team.yaml:12"."""
    return f"{PurePosixPath(node.document.file.replace(chr(92), '/')).name}:{node.line}"


class Toolbox:
    """Makes Tools, and finds those that were made of the same thing before."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._drafts: dict[object, Draft] = {}
        self._labels: dict[str, object] = {}
        self._begun: dict[tuple[str, str], int] = {}

    def stub(
        self,
        key: object,
        name: str,
        *,
        scope: str,
        description: str,
        schema: Mapping[str, Any],
        origin: str,
    ) -> tuple[Draft, bool]:
        """Return the Tool for a function that somebody has to write, and whether it is new.

        Args:
            key: what tells it from others of its name.
            name: of the source.
            scope: names a second one of the same name.
            origin: where it stood and what it was.
        """
        if key in self._drafts:
            return self._drafts[key], False
        draft = self._drafts[key] = self._begin(name, scope)
        draft.spec["type"] = "python"
        draft.spec["description"] = description
        draft.spec["inputSchema"] = dict(schema)
        function = self.report.stubs.add(draft.name, schema=schema, description=description, origin=origin)
        draft.spec["python"] = {"function": function}
        return draft, True

    def http(self, key: object, name: str, *, scope: str) -> Draft:
        """Return the Tool for an HTTP endpoint, which the caller fills."""
        if key not in self._drafts:
            self._drafts[key] = self._begin(name, scope)
            self._drafts[key].spec["type"] = "http"
        return self._drafts[key]

    def _begin(self, name: str, scope: str) -> Draft:
        """A Tool with a name of its own: a second one of the same name and scope gets a scope with a number."""
        number = self._begun[name, scope] = self._begun.get((name, scope), 0) + 1
        return self.report.draft("Tool", name, scope=scope if number == 1 else f"{scope}-{number}")

    def label(self, wanted: str, identity: object) -> str:
        """A name for a server; another server of the same name gets a number."""
        name, number = wanted, 1
        while self._labels.setdefault(name, identity) != identity:
            number += 1
            name = f"{wanted}-{number}"
        return name
