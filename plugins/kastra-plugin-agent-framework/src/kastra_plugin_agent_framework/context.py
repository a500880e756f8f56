"""What the files of one migration share: agents by name, tools by what they call, functions that are offered."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import attrs

from kastra_core.migration import Draft, Node, Report
from kastra_core.migration.names import dns_name

__all__ = ["FUNCTIONS", "Agent", "Context"]

FUNCTIONS = "powerfx_functions"
"""Module of the functions that are offered with what is migrated."""


@attrs.define
class Agent:
    """An agent that a workflow can call."""

    name: str
    """Of the resource."""
    structured: bool | None
    """Whether its answer is an object; None: it is not known."""
    tool: bool = False
    """It is a container, so a tool stands for it."""


class Context:
    """Shared by all documents of one migration."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.agents: dict[str, Agent] = {}
        """By the name of the source."""
        self.files: dict[tuple[str, int], list[Agent]] = {}
        """Agents of documents that were made already."""
        self.tools: dict[str, Draft] = {}
        """By kind and name of the source."""

    def agent(self, name: str) -> Agent:
        """An agent by its name in the source; one that is defined nowhere gets the name that it should have."""
        known = self.agents.get(name)
        if known is None:
            folded = {key.lower(): agent for key, agent in self.agents.items()}
            known = folded.get(name.lower()) or Agent(self.report.names.give("Agent", name), None)
            self.agents[name] = known
        return known

    def function(self, function: str) -> str:
        """The Tool for one of the offered functions. Return its name."""
        key = f"{FUNCTIONS}:{function}"
        if key not in self.tools:
            draft = self.report.draft("Tool", f"powerfx-{dns_name(function)}")
            draft.spec["type"] = "python"
            draft.spec["python"] = {"function": key}
            draft.spec["idempotent"] = function not in ("guid", "now", "today")
            self.tools[key] = draft
            self.report.files[f"{FUNCTIONS}.py"] = (
                resources.files("kastra_plugin_agent_framework").joinpath(f"{FUNCTIONS}.py").read_text("utf-8")
            )
            allow = self.report.config.setdefault("tools", {}).setdefault("python", {}).setdefault("allow", [])
            if FUNCTIONS not in allow:
                allow.append(FUNCTIONS)
        return self.tools[key].name

    def stub(
        self,
        node: Node,
        name: str,
        *,
        what: str,
        todo: str,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Draft:
        """The Tool with a stub for a function; the same one for the same key.

        Args:
            node: where it stands, for the row.
            what: what it was there ("MCP tool").
            todo: what to write.
            key: says which tools are one; default: its name.
        """
        key = key or f"stub:{name}"
        draft = self.tools.get(key)
        if draft is None:
            draft = self.report.draft("Tool", name, scope=node.document.file)
            draft.spec["type"] = "python"
            if description:
                draft.spec["description"] = description
            if schema is not None:
                draft.spec["inputSchema"] = dict(schema)
            origin = f"{node.document.file}:{node.line}, {what} {name!r}"
            target = self.report.stubs.add(name, schema=schema, description=description, origin=origin)
            draft.spec["python"] = {"function": target}
            self.tools[key] = draft
        function = str(draft.spec["python"]["function"]).partition(":")[2]
        node.manual(f"{what}: {todo} (function {function} in migrated_tools.py)", draft)
        return draft
