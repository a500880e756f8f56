"""Servers of tools in kagent: RemoteMCPServer, MCPServer, ToolServer, and a Service that speaks MCP."""

from __future__ import annotations

from kastra_core.migration import Node, env_reference, is_secret_key
from kastra_plugin_kagent.context import Context, duration, shown_command
from kastra_plugin_kagent.things import Thing
from kastra_plugin_kagent.tools import Server, ToolMaker, function_of

__all__ = ["SERVER_KINDS", "header_rows", "migrate_server", "server_kinds"]

SERVER_KINDS = ("RemoteMCPServer", "MCPServer", "ToolServer")
_DROPPED = {
    "allowedNamespaces": "agents of all namespaces may call a tool here",
    "apiGroup": "it follows from the kind",
    "protocol": "how the server is spoken to is the affair of the functions that stand for its tools",
    "sseReadTimeout": "there is one time-out for a call: spec.timeout",
    "stdioTransport": "how the server is spoken to is the affair of the functions that stand for its tools",
    "terminateOnClose": "how the server is spoken to is the affair of the functions that stand for its tools",
    "transportType": "how the server is spoken to is the affair of the functions that stand for its tools",
    "type": "the key beside it says the same",
}


def server_kinds(word: str) -> tuple[str, ...]:
    """Kinds of objects that a tool's ``kind`` may mean; without one all."""
    return (word,) if word in SERVER_KINDS else SERVER_KINDS


def migrate_server(ctx: Context, maker: ToolMaker, thing: Thing) -> None:
    """Rows for a server's object; a Tool for all of it when no agent names one of its tools."""
    server = maker.server(thing.name, "MCP server", thing, thing)
    spec = thing.node["spec"]
    spec.mapping()
    if not server.tools:
        maker.of_server(server, "", spec if spec else thing.node)
    first = next(iter(server.tools.values()))
    thing.node["kind"].dropped("it only says which kind of server it is")
    ctx.envelope(thing, first, whole=False)
    told = f"let {function_of(first)} call it"
    for key, node in spec.fields():
        if key == "description":
            for draft in server.tools.values():
                node.mapped(draft.target("spec.description"), "beside the name of the tool")
        elif key == "config":
            for way, config in node.fields():
                if config.is_map:
                    _connection(ctx, server, config, told)
                else:
                    config.dropped("the key beside it says the same" if way == "type" else "not known to kagent")
        elif key in ("deployment", "httpTransport"):
            _deployment(ctx, server, node, told)
        elif key not in ("url", "timeout", "headersFrom", "tls") and key not in _DROPPED:
            node.dropped("not known to kagent's servers of tools")
    _connection(ctx, server, spec, told, only=("url", "timeout", "headersFrom", "tls", *_DROPPED))
    if thing.kind == "RemoteMCPServer" and not spec["url"]:
        spec.problem("expected url, the address of the server", "write url: https://...")


def _connection(ctx: Context, server: Server, node: Node, told: str, only: tuple[str, ...] = ()) -> None:
    """How a server is reached: at an address, or by starting a program."""
    for key, one in node.fields():
        if only and key not in only:
            continue
        if key == "url":
            one.manual(f"the server is at {_shown(one)}: {told}", server.target)
        elif key in ("timeout", "readTimeoutSeconds"):
            _timeout(server, one)
        elif key == "headersFrom":
            header_rows(ctx, server.holder, one, told)
        elif key == "headers":
            _texts(ctx, one, f"send this header with each call: {told}")
        elif key == "tls":
            _tls(one)
        elif key == "command":
            command = shown_command(one.text(), node["args"].value if node["args"].is_list else [])
            one.manual(f"the server is started with `{command}`: {told}", server.target)
        elif key == "args":
            one.manual("arguments of the command", server.target)
        elif key in ("env", "envFrom"):
            if one.is_map:
                _texts(ctx, one, "set it for the server")
            else:
                header_rows(ctx, server.holder, one, "set it for the server")
        else:
            one.dropped(_DROPPED.get(key, "not known to kagent's servers of tools"))


def _deployment(ctx: Context, server: Server, node: Node, told: str) -> None:
    """The pod that kagent makes for a server."""
    for key, one in node.fields():
        if key == "cmd":
            command = shown_command(one.text(), node["args"].value if node["args"].is_list else [])
            one.manual(f"the server is started with `{command}`: {told}", server.target)
        elif key == "args":
            one.manual("arguments of the command", server.target)
        elif key == "image":
            one.manual(f"the server is in the image {_shown(one)}: run it yourself", server.target)
        elif key in ("env", "secretRefs", "configMapRefs"):
            if one.is_map:
                _texts(ctx, one, "set it for the server")
            else:
                one.manual("set it for the server")
        elif key in ("port", "path", "targetPort"):
            one.manual(f"the server listens there when it runs in a pod: {told}", server.target)
        else:
            one.dropped("about the server's pod; Kastra starts no pods")
    if not node.value:
        node.dropped("it is empty")


def _timeout(server: Server, node: Node) -> None:
    value = duration(node.value)
    if value is None:
        node.dropped("no duration that is more than nothing; the usual one holds")
        return
    for draft in server.tools.values():
        node.to(draft, "spec.timeout", value)


def _texts(ctx: Context, node: Node, told: str) -> None:
    for name, one in node.fields():
        reference = env_reference(one.text()) if one.is_text else ""
        if not reference and one.is_text and is_secret_key(name):
            ctx.report.hide(one.text())
            one.manual(f"a secret in the open was left out; {told}")
        else:
            one.manual(f"{told} (environment variable {reference})" if reference else told)
    if not node.value:
        node.dropped("it is empty")


def _tls(node: Node) -> None:
    for _, one in node.fields():
        one.manual("let the functions that call the server trust its certificate")
    if not node.value:
        node.dropped("it is empty")


def header_rows(ctx: Context, near: Thing, node: Node, told: str) -> None:
    """Headers or variables whose values are texts, or keys of ConfigMaps and Secrets."""
    for item in node.items():
        name, value, source = item["name"].text(), item["value"], item["valueFrom"]
        if value.present and source.present:
            item.problem("expected one of value and valueFrom, found both", "remove one of the two")
        if source:
            secret = source["type"].text("Secret") == "Secret"
            where, key = source["name"].text(), source["key"].text()
            if secret:
                variable = ctx.secret(near, where, key)
                item.manual(f"{name}: {ctx.told_secret(near, where, key, variable)}; {told} with it")
            else:
                text = ctx.config_text(near, where, key)
                item.manual(f"{name} is {key!r} of the ConfigMap {where}; {told} with it")
                if text is not None:
                    text.manual(f"it is sent as {name}: {told} with it")
        elif is_secret_key(name) and value.is_text and not env_reference(value.text()):
            ctx.report.hide(value.text())
            item.manual(f"{name}: a secret in the open was left out; {told} with it")
        else:
            item.manual(f"{name}: {told} with it")
    if not node.value:
        node.dropped("it is empty")


def _shown(node: Node) -> str:
    text = node.text()
    return text if len(text) < 200 else f"{text[:200]}..."
