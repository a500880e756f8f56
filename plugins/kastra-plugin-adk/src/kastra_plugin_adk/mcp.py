"""Servers of MCP as the toolsets of ADK name them: what can be shown, and what must not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from kastra_core.migration import Node, env_name, env_reference, is_secret_key, looks_like_token
from kastra_plugin_adk.format import snake

__all__ = ["SERVERS", "Server", "server_of"]

SERVERS = ("MCPToolset", "McpToolset", "MCPTool", "McpTool", "RemoteMcpServer")
"""Names of the toolsets."""
_CONNECTIONS = (
    "stdio_server_params",
    "stdio_connection_params",
    "sse_server_params",
    "sse_connection_params",
    "streamable_http_connection_params",
    "http_connection_params",
    "connection_params",
)


@attrs.define
class Server:
    """A server and the tools that were chosen of it."""

    title: str
    """A name for all of its tools."""
    told: str
    """How to reach it, without secrets."""
    key: str
    tools: list[tuple[str, Node | None]] = attrs.field(factory=list)
    """(name that the model sees, what says it)."""
    shown: list[Node] = attrs.field(factory=list)
    by_hand: list[tuple[Node, str]] = attrs.field(factory=list)
    dropped: list[tuple[Node, str]] = attrs.field(factory=list)
    secrets: list[str] = attrs.field(factory=list)


def server_of(kind: str, arguments: Mapping[str, Node], node: Node) -> Server:
    """Read the arguments of a toolset; what is wrong is told to the nodes."""
    plain = {snake(key): value for key, value in arguments.items()}
    connections = [(key, plain[key]) for key in _CONNECTIONS if plain.get(key)]
    server = Server(title="mcp", told="", key="")
    if kind == "RemoteMcpServer":
        _connection(plain, server)
    elif len(connections) > 1:
        names = ", ".join(key for key, _ in connections)
        node.problem(f"{names} are both there, expected exactly one", "a toolset has one connection")
    elif connections:
        _connection({snake(key): value for key, value in _flat(connections[0][1])}, server)
    server.told = server.told or "that the source does not name"
    prefix = plain.get("tool_name_prefix")
    chosen = plain.get("tool_filter") or plain.get("allowed_tools")
    before = f"{prefix.text()}_" if prefix is not None and prefix.is_text and prefix.value else ""
    if chosen is not None:
        chosen.list()
        server.tools = [(f"{before}{item.text()}", item) for item in chosen.items() if item.text()]
    _say_rest(plain, server, bool(server.tools))
    server.key = f"{kind} {[(key, value.value) for key, value in sorted(plain.items()) if key != 'tool_filter']!r}"
    return server


def _flat(connection: Node) -> Iterator[tuple[str, Node]]:
    """Fields of a connection; those of ``server_params`` inside count as its own."""
    for key, node in connection.fields():
        if snake(key) == "server_params" and node.is_map:
            yield from node.fields()
        else:
            yield key, node


def _connection(fields: Mapping[str, Node], server: Server) -> None:
    command, args, url = fields.get("command"), fields.get("args"), fields.get("url")
    if command is not None and command.is_text:
        words = [command.text(), *_arguments(args, server)]
        server.told = f"`{' '.join(words)}`"
        server.shown.append(command)
        server.title = _title_of_command(words)
    elif url is not None and url.is_text:
        address = re.sub(r"[?#].*", "", url.text())
        endpoint = fields.get("sse_endpoint")
        if endpoint is not None and endpoint.is_text:
            address = address.rstrip("/") + endpoint.text()
            server.shown.append(endpoint)
        server.told = address
        server.shown.append(url)
        host = re.sub(r"^\w+://|[/:].*", "", address).removeprefix("www.")
        server.title = host or "mcp"
    for key, node in fields.items():
        if key in ("command", "args", "url", "sse_endpoint") or not node.present:
            continue
        if key in ("env", "headers"):
            _secrets(node, server, "environment of the server" if key == "env" else "header")
        elif key in ("timeout", "sse_read_timeout", "terminate_on_close", "encoding", "encoding_error_handler"):
            server.dropped.append((node, "belongs to the connection; spec.timeout of a Tool bounds a call"))
        elif key == "cwd":
            server.by_hand.append((node, "start the server in this directory"))


def _arguments(args: Node | None, server: Server) -> list[str]:
    """The arguments of a command, without what follows a flag for a secret."""
    words: list[str] = []
    secret = False
    for item in args.items() if args is not None else ():
        text = item.text()
        flag, equals, value = text.partition("=")
        if secret or looks_like_token(text) or (equals and value and is_secret_key(flag.lstrip("-"))):
            hidden = value if equals and not secret else text
            name = env_reference(hidden) or env_name(
                "mcp", flag.lstrip("-") if equals else words[-1] if words else "key"
            )
            words.append(f"{flag}=${name}" if equals and not secret else f"${name}")
            if not env_reference(hidden):
                server.secrets.append(hidden)
            server.by_hand.append((item, f"give it by the environment variable {name}; its value was left out"))
        else:
            words.append(text)
            server.shown.append(item)
        secret = text.startswith("-") and not equals and is_secret_key(text.lstrip("-"))
    return words


def _title_of_command(words: list[str]) -> str:
    """A name by the package that a command starts: npx -y @acme/mcp-files /data -> mcp-files."""
    for word in words[1:]:
        if re.fullmatch(r"@?[A-Za-z][\w.@-]*(/[A-Za-z][\w.@-]*)?", word) and word not in (
            "run",
            "tool",
            "exec",
            "start",
        ):
            return re.sub(r"@[^@/]*$", "", word.rpartition("/")[2]) or "mcp"
    return re.sub(r".*[/\\]", "", words[0]) or "mcp"


def _secrets(node: Node, server: Server, what: str) -> None:
    for key, item in node.fields():
        text = item.value if isinstance(item.value, str) else ""
        name = env_reference(text)
        if name:
            told = f"{what}: it is in the environment variable {name}"
        elif text and (is_secret_key(key) or looks_like_token(text) or re.search(r"(?i)bearer |authorization", text)):
            server.secrets.append(text)
            told = f"{what}: left out, as it may be a secret in the open; put it into the variable {env_name(key)}"
        else:
            told = f"{what}: set it where the server is called"
        server.by_hand.append((item, told))


def _say_rest(plain: Mapping[str, Node], server: Server, named: bool) -> None:
    for key, node in plain.items():
        if key in _CONNECTIONS or key in ("tool_filter", "allowed_tools", "url", "headers", "command", "args", "env"):
            continue
        if key == "tool_name_prefix":
            if named:
                server.shown.append(node)
            else:
                server.by_hand.append((node, "the names of the server's tools begin with it"))
        elif key in ("auth_scheme", "auth_credential", "credential_key"):
            server.secrets.extend(_texts_of_secrets(node))
            server.by_hand.append((node, "sign in where the server is called; secrets come from the environment"))
        elif key in ("name", "use_mcp_resources", "tool_list_cache_ttl_seconds", "errlog"):
            server.dropped.append((node, "belongs to the client of the server"))
        else:
            server.by_hand.append((node, "the toolset was made with this"))


def _texts_of_secrets(node: Node) -> Iterator[str]:
    todo = [node]
    while todo:
        one = todo.pop()
        below = [child for _, child in one.fields()] or one.items()
        todo.extend(below)
        if one.is_text and is_secret_key(one.name):
            yield one.text()
