"""Tools of agents."""

from __future__ import annotations

from kastra_core.migration import Draft, Node, is_secret_key
from kastra_plugin_agent_framework.context import Context
from kastra_plugin_agent_framework.schemas import object_schema

__all__ = ["agent_tools", "is_toolbox", "migrate_toolbox"]

_HOSTED = {
    "code_interpreter": "run the code, or call a service that does",
    "custom": "the program that ran the agent offers it; write it",
    "file_search": "search the files",
    "foundry_toolbox": "call the toolbox",
    "image_generation": "make the image",
    "openapi": "call the service of the specification, or write a Tool of type http for each of its operations",
    "web_search": "search the web",
}
_KINDS = ("function", "mcp", *_HOSTED)


def is_toolbox(data: object) -> bool:
    """Whether a document is a list of tools that several agents share."""
    if not isinstance(data, dict) or "kind" in data or not data.keys() <= {"name", "description", "tools", "skills"}:
        return False
    tools = data.get("tools")
    kinds = [one.get("type", one.get("kind")) if isinstance(one, dict) else None for one in tools or ()]
    return isinstance(tools, list) and bool(kinds) and all(kind in _KINDS for kind in kinds)


def migrate_toolbox(context: Context, root: Node) -> None:
    """Make Tools of a toolbox."""
    names: list[str] = []
    for one in root["tools"].items():
        kind = (one["kind"] if one["kind"] else one["type"]).text().lower()
        names += _mcp(context, one) if kind == "mcp" else [_tool(context, one, kind)]
    for key in ("name", "description"):
        root[key].dropped("a toolbox is its tools here", f"Tool default/{names[0]}")
    root["tools"].mapped(f"Tool default/{names[0]}", whole=False)
    root["skills"].manual("skills are texts that the service holds: put them into the agents' instructions") if root[
        "skills"
    ] else None


def agent_tools(context: Context, node: Node, draft: Draft) -> None:
    """Make Tools of what an agent may call, and name them in it."""
    names: list[str] = []
    listed = node.items() or [one for _, one in node.fields()]
    for one in listed:
        if not one.is_map:
            one.problem("expected a tool (an object with kind)")
            continue
        kind = (one["kind"] if one["kind"] else one["type"]).text().lower()
        if not kind:
            one.problem("a tool needs a kind", hint=", ".join(_KINDS))
            continue
        for name in _mcp(context, one) if kind == "mcp" else [_tool(context, one, kind)]:
            if name not in names:
                names.append(name)
    if names:
        draft.spec["tools"] = names
    node.mapped(draft.target("spec.tools"), whole=not listed)


def _tool(context: Context, one: Node, kind: str) -> str:
    name = one["name"].text() or (one.name if not one.name.isdigit() else "") or kind
    schema = None
    if one["parameters"]:
        schema = object_schema(one["parameters"])
    description = one["description"].text()
    what = f"{kind.replace('_', ' ')} tool" if kind != "function" else "function"
    todo = _HOSTED.get(kind, "the program that ran the agent offers it; write it, or call it here")
    tool = context.stub(
        one["name"] if one["name"] else one["kind"] if one["kind"] else one["type"],
        name,
        what=what,
        todo=todo,
        description=description,
        schema=schema,
        key=f"function:{name}" if kind in ("function", "custom") else f"{kind}:{name}:{description}",
    )
    if kind not in ("function", "custom"):
        one["kind"].mapped(tool, "what the tool is")
    else:
        one["kind"].dropped("what it does is in its function", tool.target())
    one["type"].mapped(tool, "what the tool is")
    if tool.spec.get("description") == description and description:
        one["description"].mapped(tool.target("spec.description"))
    one["description"].dropped("another use of the same tool describes it", tool.target())
    if schema is not None and tool.spec.get("inputSchema") == schema:
        one["parameters"].mapped(tool.target("spec.inputSchema"))
    elif schema is not None and "inputSchema" not in tool.spec:
        one["parameters"].to(tool, "spec.inputSchema", schema)
    one["parameters"].manual("another use of the same tool has other parameters", tool) if one["parameters"] else None
    one["bindings"].dropped(
        "names the function of the program that ran the agent; the stub stands for it", tool.target()
    )
    one["require_approval"].dropped("tools of an agent are called without asking", tool.target())
    one["strict"].dropped("arguments are always checked against the schema", tool.target())
    _rest(context, one, tool)
    return tool.name


def _mcp(context: Context, one: Node) -> list[str]:
    server = one["serverName"].text() or one["name"].text() or one["server_label"].text() or "mcp"
    address = one.first("url", "serverUrl", "server_url")
    where = address.text() or server
    description = one["description"].text() or one["serverDescription"].text()
    allowed = one["allowedTools"]
    names = [node.text() for node in allowed.items()]
    made = []
    for at, name in enumerate(names or [""]):
        node = allowed[at] if names else one["kind"] if one["kind"] else one["type"]
        what = f"tool {name} of the MCP server" if name else "MCP server"
        tool = context.stub(
            node,
            f"{server}-{name}" if name else server,
            what=what,
            todo=f"call {name or 'its tools'} at {where}",
            description=f"{name} of {server}. {description}".strip() if name else description or f"Tools of {server}.",
            schema=None
            if name
            else {
                "type": "object",
                "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}},
                "required": ["tool"],
            },
            key=f"mcp:{where}:{name}",
        )
        made.append(tool)
    first = made[0]
    for key in ("name", "serverName", "server_label", "serverDescription", "description"):
        text = one[key].text()
        if text and (text in str(first.spec.get("description", "")) or (server == text and not names)):
            one[key].mapped(first, "in the name or the description of the tool")
        one[key].dropped("the tool has another name", first.target())
    address.dropped("where the function has to call; it stands in the row of the tool", first.target())
    if names:
        one["kind"].dropped("what it calls is in its function", first.target())
    mode = one["approvalMode"] if one["approvalMode"].present else one["require_approval"]
    word = (mode["kind"] if mode.is_map else mode).text().lower()
    if mode and word not in ("", "never"):
        mode.manual(
            "approval is not asked before a tool of an agent is called: ask in the function, or in a workflow", first
        )
    mode.dropped("tools are called without asking", first.target())
    one["require_approval"].dropped("tools are called without asking", first.target())
    one["connection"].manual("take the connection into account in the function", first) if one["connection"] else None
    _rest(context, one, first)
    return [tool.name for tool in made]


def _rest(context: Context, one: Node, tool: Draft) -> None:
    """What else a tool says is for whoever writes its function."""
    told = {"name", "kind", "type", "description", "parameters", "bindings", "strict", "allowedTools", "approvalMode"}
    told |= {"require_approval", "url", "serverUrl", "server_url", "serverName", "serverDescription", "server_label"}
    for key, node in one.fields():
        if key in told:
            continue
        if not node.value:
            node.dropped("empty: as if it were not there", tool.target())
            continue
        for name, inner in node.fields():
            if is_secret_key(name) and inner.is_text and not inner.text().startswith("="):
                context.report.hide(inner.text())
        node.manual(f"take {key} into account in the function", tool)
