"""Tools that are no Python function and no address yet: MCP servers, built-in tools, agents in containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import STUB_MODULE, Draft, Node
from kastra_plugin_kagent.context import Context
from kastra_plugin_kagent.things import Thing

__all__ = ["TOOLSET_SCHEMA", "Server", "ToolMaker", "a2a_tool", "add_reference", "add_tool", "function_of"]

TOOLSET_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "Name of the server's tool to call."},
        "arguments": {"type": "object", "description": "Arguments of that tool."},
    },
    "required": ["tool"],
}
"""Of a Tool that stands for a whole server whose tools nobody names."""
A2A_TIMEOUT = "5m"
"""For an agent behind an address, which calls models before it answers."""


@attrs.define(eq=False)
class Server:
    """A server of tools, as agents refer to it; its object may be missing."""

    name: str
    what: str
    """"MCP server"."""
    thing: Thing | None
    holder: Thing
    """The object itself, else the first that refers to it: it gives place and namespace."""
    description: str = ""
    tools: dict[str, Draft] = attrs.field(factory=dict)
    """Name of a tool -> Tool; "" is the whole server."""

    @property
    def target(self) -> str:
        """For rows: the first of its tools."""
        return next(iter(self.tools.values())).target() if self.tools else ""


class ToolMaker:
    """Makes each Tool once, whoever asks for it."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.servers: dict[tuple[str, str, str], Server] = {}
        self._named: dict[tuple[str, str], Draft] = {}

    def server(self, name: str, what: str, thing: Thing | None, asking: Thing, namespace: str = "") -> Server:
        """The server of a name.

        Args:
            thing: its object, None when it is not there.
            asking: who refers to it; the object itself when nobody does.
            namespace: where it is said to be, when its object is not there.
        """
        key = (f"#{id(thing)}", "", "") if thing is not None else (what, namespace or asking.namespace, name)
        found = self.servers.get(key)
        if found is None:
            holder = thing if thing is not None else attrs.evolve(asking, namespace=namespace or asking.namespace)
            told = thing.node["spec"]["description"].value if thing is not None else ""
            description = " ".join(told.split()) if isinstance(told, str) else ""
            found = self.servers[key] = Server(name, what, thing, holder, description)
        return found

    def of_server(self, server: Server, tool: str, node: Node) -> Draft:
        """The Tool for one tool of a server; tool "": one for all of them."""
        found = server.tools.get(tool)
        if found is not None:
            return found
        name = tool or server.name
        draft = self.ctx.draft("Tool", server.holder, name, word=server.name if tool else server.what)
        about = f" {server.description}" if server.description else ""
        if tool:
            description, schema = f"{tool} of the {server.what} {server.name}.{about}", None
            origin = f"{node.document.file}:{node.line}, tool {tool} of the {server.what} {server.name}"
            label = f"{server.name} {tool}"
        else:
            description = f"The tools of the {server.what} {server.name}.{about}"
            schema, label = TOOLSET_SCHEMA, server.name
            origin = f"{node.document.file}:{node.line}, {server.what} {server.name}"
        self._stub(draft, label, description, schema, origin)
        server.tools[tool] = draft
        return draft

    def named(
        self,
        thing: Thing,
        name: str,
        node: Node,
        *,
        what: str,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
    ) -> Draft:
        """A Tool that somebody has to write, one for all who name it in the same namespace."""
        key = (thing.namespace, name)
        if key not in self._named:
            draft = self.ctx.draft("Tool", thing, name, word="tool")
            told = description or f"{name}, {what}."
            self._stub(draft, name, told, schema, f"{node.document.file}:{node.line}, {what} {name}")
            self._named[key] = draft
        return self._named[key]

    def stub(
        self, draft: Draft, thing: Thing, *, description: str, schema: Mapping[str, Any] | None, origin: str
    ) -> str:
        """Make a draft a Tool that somebody has to write. Return the function."""
        return self._stub(draft, thing.name, description, schema, f"{thing.place}, {origin}")

    def _stub(self, draft: Draft, label: str, description: str, schema: Mapping[str, Any] | None, origin: str) -> str:
        function = self.ctx.report.stubs.add(label, schema=schema, description=description, origin=origin)
        draft.set("spec.type", "python")
        draft.set("spec.description", description)
        if schema is not None:
            draft.set("spec.inputSchema", dict(schema))
        draft.set("spec.python", {"function": function})
        return function


def function_of(draft: Draft) -> str:
    """The function that a stub's Tool names, for reasons: "get_weather of migrated_tools.py"."""
    module, _, function = str(draft.get("spec.python.function", f"{STUB_MODULE}:")).partition(":")
    return f"{function} of {module}.py"


def add_tool(
    ctx: Context, agent: Draft, tool: Draft, *, kind: str = "", name: str = ""
) -> tuple[str | int, ...] | None:
    """Let an agent call a tool. Return the path of the entry; None when it has it already.

    Args:
        kind: "agents" for an agent that is called as a tool.
        name: what the model sees, when not the name of the resource.
    """
    return add_reference(agent, ctx.reference(kind, tool, agent.namespace), tool.name, name)


def add_reference(agent: Draft, reference: str, last: str, name: str = "") -> tuple[str | int, ...] | None:
    """As :func:`add_tool`, for a resource that may not be there. ``last`` is its name."""
    tools = agent.spec.setdefault("tools", [])
    if any((entry["ref"] if isinstance(entry, dict) else entry) == reference for entry in tools):
        return None
    have = {_visible(_seen(entry)) for entry in tools}
    wanted = [name or last, last, *(f"{(name or last)[:58]}_{number}" for number in range(2, len(tools) + 3))]
    seen = next(one for one in wanted if _visible(one) not in have)
    tools.append(reference if seen == last else {"name": seen, "ref": reference})
    return ("spec", "tools", len(tools) - 1)


def _seen(entry: Any) -> str:
    return str(entry["name"]) if isinstance(entry, dict) else str(entry).rpartition("/")[2]


def _visible(name: str) -> str:
    """The spelling that models see, in which two names may not be the same."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name)[:64]


def a2a_tool(draft: Draft, *, url: str, description: str) -> None:
    """Make a draft a Tool that sends a text to an agent by the A2A protocol (JSON-RPC, ``message/send``)."""
    draft.set("spec.type", "http")
    if description:
        draft.set("spec.description", description)
    draft.set("spec.timeout", A2A_TIMEOUT)
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "What the agent is asked."}},
        "required": ["text"],
    }
    draft.set("spec.inputSchema", schema)
    message = {"kind": "message", "messageId": "kastra", "role": "user", "parts": [{"kind": "text", "text": "{text}"}]}
    body = {"jsonrpc": "2.0", "id": "1", "method": "message/send", "params": {"message": message}}
    draft.set("spec.http", {"url": url, "method": "POST", "body": body})
