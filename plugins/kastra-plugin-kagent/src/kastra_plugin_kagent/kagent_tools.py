"""Tools of kagent's agents: servers of tools, other agents, built-in tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kastra_core.migration import Draft, Node
from kastra_plugin_kagent.kagent_servers import header_rows, server_kinds
from kastra_plugin_kagent.things import Thing
from kastra_plugin_kagent.tools import Server, add_reference, add_tool, function_of

if TYPE_CHECKING:
    from kastra_plugin_kagent.kagent_agents import Agents

__all__ = ["migrate_tools", "tool_names"]

_APPROVAL = (
    "nobody is asked before a tool is called here: write the function so that it asks, or call the tool in a workflow "
    "after a step with `suspend`"
)
_TYPES = {"mcpserver": "mcpServer", "agent": "agent", "builtin": "builtin", "inline": "inline"}


def tool_names(tools: Node) -> list[str]:
    """Names of all tools of servers, as prompts list them."""
    found = [name for item in tools.items() for name in item["mcpServer"]["toolNames"].items()]
    found += [name for item in tools.items() for name in item["mcp"]["tools"].items()]
    return [node.value for node in found if isinstance(node.value, str)]


def migrate_tools(agents: Agents, thing: Thing, draft: Draft, tools: Node) -> None:
    """Give the agent its tools."""
    if not tools.is_list:
        tools.list()
        return
    for item in tools.items():
        word = item["type"].text().lower()
        item["type"].dropped("the key beside it says the same")
        kind = next((key for key in ("mcpServer", "mcp", "agent", "builtin") if item[key].is_map), "")
        if not kind and item["provider"].is_text:  # the oldest form of a built-in tool
            _builtin(agents, thing, draft, item, item["provider"])
            continue
        if word and word not in _TYPES:
            item["type"].problem(f"expected one of McpServer, Agent, found string {item['type'].text()!r}")
        elif not kind or (word and kind != "mcp" and _TYPES[word] != kind):
            wanted = _TYPES.get(word, "mcpServer or agent")
            item.problem(f"expected {wanted}, an object that says which tool it is")
        elif kind == "mcpServer":
            _server(agents, thing, draft, item["mcpServer"])
        elif kind == "mcp":
            _bound(agents, thing, draft, item["mcp"])
        elif kind == "agent":
            _agent(agents, thing, draft, item["agent"])
        else:
            _builtin(agents, thing, draft, item["builtin"], item["builtin"]["name"])
        for key, node in item.fields():
            if key == "headersFrom":
                header_rows(agents.ctx, thing, node, "send it with each call of these tools")
            elif key == "isolateSessions":
                node.dropped(
                    "every call of an agent begins a conversation of its own here"
                    if node.value is True
                    else "every call of an agent begins a conversation of its own here: there is no shared one"
                )
            elif key not in ("agent", "builtin", "mcp", "mcpServer", "type"):
                node.dropped("not known to kagent's tools")


def _server(agents: Agents, thing: Thing, draft: Draft, node: Node) -> None:
    named = node.first("name", "toolServer")
    if not named.text().rpartition("/")[2]:
        node.problem("expected name, the server that has the tools")
        return
    space, slash, name = named.text().rpartition("/")
    namespace = node["namespace"].text() or (space if slash else thing.namespace)
    server = _find_server(agents, thing, name, namespace, node["kind"].text())
    names = node["toolNames"]
    if names.items():
        for item in names.items():
            if item.text():
                _add(agents, draft, server, item.text(), item, server.thing is None)
    else:
        names.dropped("it is empty")
        _add(agents, draft, server, "", named, server.thing is None)
    if names.items():
        _tell_server(named, server, draft)
    node["namespace"].mapped(server.target)
    for key, one in node.fields():
        if key == "requireApproval":
            for item in one.items():
                if names.is_list and item.value not in names.value:
                    item.problem(f"{item.text()!r} is not among toolNames", "add it there, or remove it here")
                item.manual(_APPROVAL, server.target)
            if not one.value:
                one.dropped("it is empty")
        elif key == "allowedHeaders":
            one.dropped("a run has no headers of a caller that could be passed on")
        elif key in ("apiGroup", "kind"):
            one.dropped("it only says which kind of server it is")
        elif key not in ("name", "toolServer", "toolNames", "namespace"):
            one.dropped("not known to kagent's tools")


def _find_server(agents: Agents, thing: Thing, name: str, namespace: str, kind: str) -> Server:
    things = agents.ctx.things
    if kind == "Service":
        service = things.find_core("Service", name, namespace, thing)
        if service is not None:
            agents.ctx.used.add(id(service))
        return agents.maker.server(name, "MCP server", None, thing, namespace)
    found = things.find(server_kinds(kind), name, namespace, thing) or things.find(
        server_kinds(""), name, namespace, thing
    )
    return agents.maker.server(name, "MCP server", found, thing, namespace)


def _add(agents: Agents, draft: Draft, server: Server, tool: str, node: Node, missing: bool) -> None:
    made = agents.maker.of_server(server, tool, node)
    entry = add_tool(agents.ctx, draft, made, name=tool)
    told = f"write {function_of(made)}: it stands for " + (f"the tool {tool}" if tool else "all tools")
    told += f" of the MCP server {server.name}" + (", whose object is not here" if missing else "")
    node.manual(told if entry is not None else f"listed twice; {told}", made)


def _tell_server(node: Node, server: Server, draft: Draft) -> None:
    if server.thing is None:
        node.manual("its object is not here: the functions for its tools have to know where it is", server.target)
    else:
        node.mapped(server.target, f"its tools, of {server.thing.shown}")


def _bound(agents: Agents, thing: Thing, draft: Draft, node: Node) -> None:
    """v1alpha3: {server: {kind, name}, tools}."""
    named = node["server"]["name"]
    if not named:
        node.problem("expected server.name, the server that has the tools")
        return
    server = _find_server(agents, thing, named.text(), thing.namespace, node["server"]["kind"].text())
    for item in node["tools"].items():
        _add(agents, draft, server, item.text(), item, server.thing is None)
    if not node["tools"].items():
        node["tools"].dropped("it is empty")
        _add(agents, draft, server, "", named, server.thing is None)
    else:
        _tell_server(named, server, draft)
    node["server"]["kind"].dropped("it only says which kind of server it is")


def _agent(agents: Agents, thing: Thing, draft: Draft, node: Node) -> None:
    named = node["templateRef"]["name"] if node["templateRef"] else node.first("name", "ref")
    if not named.text().rpartition("/")[2]:
        node.problem("expected name, the agent that is called")
        return
    space, slash, name = named.text().rpartition("/")
    namespace = node["namespace"].text() or (space if slash else thing.namespace)
    kinds = ("AgentTemplate",) if node["templateRef"] else ("Agent", "SandboxAgent")
    found = agents.ctx.things.find(kinds, name, namespace, thing)
    called = agents.drafts.get(id(found)) if found is not None else None
    alias = node["name"].text() if node["templateRef"] else ""
    if called is not None:
        kind = "agents" if called.kind == "Agent" else ""
        entry = add_tool(agents.ctx, draft, called, kind=kind, name=alias or name)
        target = draft.target("spec.tools")
        named.mapped(target, "" if kind else "an agent in a container is called as a tool")
        node["namespace"].mapped(target)
    else:
        other = namespace != thing.namespace and namespace
        reference = f"agents/{namespace}/{name}" if other else f"agents/{name}"
        entry = add_reference(draft, reference, name, alias)
        named.manual(
            f"there is no agent {name} here: migrate its file too; until then the agent is not ready",
            draft.target("spec.tools"),
        )
        node["namespace"].mapped(draft.target("spec.tools"))
    for key, one in node.fields():
        if key == "description" and entry is not None and one:
            tools = draft.spec["tools"]
            at = int(entry[-1])
            tools[at] = (
                tools[at] if isinstance(tools[at], dict) else {"name": tools[at].rpartition("/")[2], "ref": tools[at]}
            )
            one.to(draft, (*entry, "description"))
        elif key == "name" and node["templateRef"] and one:
            one.mapped(draft.target("spec.tools"), "what the model sees")
        elif key == "isolation":
            one.dropped("every agent runs by itself here")
        elif key in ("apiGroup", "kind"):
            one.dropped("it only says that it is an agent")
        elif key not in ("name", "ref", "namespace", "templateRef"):
            one.dropped("not known to kagent's tools")


def _builtin(agents: Agents, thing: Thing, draft: Draft, node: Node, named: Node) -> None:
    full = named.text()
    if not full:
        node.problem("expected name, the built-in tool")
        return
    name = full.rpartition(".")[2]
    made = agents.maker.named(
        thing, name, named, what="built-in tool of kagent", description=f"{full}, a built-in tool of kagent."
    )
    entry = add_tool(agents.ctx, draft, made, name=name)
    told = f"a built-in tool of kagent: write {function_of(made)}"
    named.manual(told if entry is not None else f"listed twice; {told}", made)
    for key, one in node.fields():
        if key == "config":
            one.manual(f"settings of the tool: let {function_of(made)} keep to them", made)
        elif key != named.name:
            one.dropped("not known to kagent's tools")
