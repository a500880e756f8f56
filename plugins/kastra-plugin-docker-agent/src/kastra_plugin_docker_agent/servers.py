"""Toolsets whose functions somebody else serves: MCP, OpenAPI, A2A, and types of later versions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from kastra_core.api.meta import JsonObject
from kastra_core.errors import nearest
from kastra_core.migration import Node
from kastra_plugin_docker_agent.builtins import SETS, TOOLSETS
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.seat import Seat
from kastra_plugin_docker_agent.toolbox import ANY_TOOL, FREE, place_of
from kastra_plugin_docker_agent.toolset_rows import write_rest

__all__ = ["add_a2a", "add_mcp", "add_openapi", "add_other"]

_RUNNERS = (
    "bash",
    "bun",
    "bunx",
    "deno",
    "docker",
    "go",
    "node",
    "npm",
    "npx",
    "pipx",
    "pnpm",
    "podman",
    "python",
    "python3",
    "sh",
    "uv",
    "uvx",
    "yarn",
)
"""Programs that start the one that their arguments name."""
_RUN_WORDS = ("dlx", "exec", "mcp", "run", "start", "tool", "x")
_LEFT_OUT = "a secret in the open was left out: keep it in an environment variable"
_SOURCES = ("command", "args", "remote", "ref")
_MESSAGE: JsonObject = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "what to ask the agent"}},
    "required": ["message"],
}


def add_mcp(kit: Kit, seat: Seat, node: Node) -> None:
    """Tools of an MCP server; one that ``mcps`` defines is filled up from there."""
    ref = node["ref"].text()
    definition = kit.root["mcps"][ref] if ref and not ref.startswith("docker:") else None

    def first(key: str) -> Node:
        own = node[key]
        return own if definition is None or (own and own.value) else definition[key]

    server = ref if definition is None else definition["ref"].text()
    command, args, url = first("command").text(), first("args").list(), first("remote")["url"].text()
    identity = (server, command, json.dumps(args), url)
    words, url = " ".join([command, *_without_secrets(kit, args)]).strip(), _without_secrets_in(kit, url)
    if server:
        what = f"the MCP server {server.removeprefix('docker:')} of Docker's catalogue"
    else:
        what = f"the MCP server `{words}`" if command else f"the MCP server at {url}"
    label, by_name = (ref, False) if definition is not None else _label(node, server, command, args, url)
    label = kit.toolbox.label(label, identity)
    target = seat.draft.target("spec.tools")
    _add_set(kit, seat, node, first("tools"), ("mcp", *identity), label, what)
    for part in (node, definition):
        if part is not None:
            for key in _SOURCES:
                if not (part is node and key == "ref" and definition is not None):
                    _source_rows(kit, part[key], what, target)
    if by_name and not first("tools").list():
        mapped(node["name"], target, "names the tool")
    else:
        dropped(node["name"], "it is a prefix of the names of the server's tools")
    if definition is not None:
        mapped(node["ref"], target, f"the entry {ref!r} of mcps")
        dropped(definition["name"], "it is a prefix of the names of the server's tools")
        write_rest(kit, seat, definition, "mcp", target, instruction=not node["instruction"].text())


def _source_rows(kit: Kit, node: Node, what: str, target: str) -> None:
    """command, args, remote or ref: they are in the text of the stub."""
    if not node:
        return
    if not node.is_map:
        if "REMOVED" in what and node.is_list:
            manual(node, _LEFT_OUT, target)
        else:
            mapped(node, target, f"the function that calls {what} names it")
        return
    for key, child in node.fields():
        if key == "headers":
            kit.by_hand(child, "the function has to send this header", target)
        elif key == "oauth":
            kit.by_hand(child, "the function has to log in with it", target)
        elif key == "transport_type":
            manual(child, f"the function has to speak {child.text()}", target)
        elif key == "url":
            _url_row(child, what, target)
        else:
            manual(child, f"the function has to call {what} in this way", target)


def _url_row(node: Node, what: str, target: str) -> None:
    if "REMOVED" in what:
        manual(node, _LEFT_OUT, target)
    else:
        mapped(node, target, f"the function that calls {what} names it")


def _add_set(
    kit: Kit,
    seat: Seat,
    node: Node,
    named: Node,
    key: tuple[object, ...],
    label: str,
    what: str,
    schema: JsonObject = FREE,
    whole: JsonObject = ANY_TOOL,
    more: str = "",
) -> None:
    """Tools that are named, or one for all of them.

    Args:
        more: said after the functions that are to be written.
    """
    made: list[str] = []
    for item in named.items():
        name = item.text()
        kit.stub(
            seat,
            (*key, name),
            name,
            scope=label,
            description=f"{name} of {label}.",
            schema=schema,
            origin=f"{place_of(node)}, tool {name} of {what}",
            made=made,
        )
        kit.chosen(seat, item)
    if not named.items():
        kit.stub(
            seat,
            key,
            label,
            scope=kit.scope,
            description=f"Calls a tool of {label}." if whole is ANY_TOOL else f"Asks {label}.",
            schema=whole,
            origin=f"{place_of(node)}, {what}",
            made=made,
        )
    kit.told(seat, node["type"], made, f"tools of {what}" if whole is ANY_TOOL else what, more)


def add_openapi(kit: Kit, seat: Seat, node: Node) -> None:
    """Operations of a service: one Tool, as its description is not read."""
    url = node["url"].text()
    what = f"the service that {_without_secrets_in(kit, url)} describes"
    label = kit.toolbox.label(_host(url) or "openapi", ("openapi", url))
    more = "; or write a Tool of type http for each operation"
    _add_set(kit, seat, node, node["tools"], ("openapi", url), label, what, more=more)
    target = seat.draft.target("spec.tools")
    _url_row(node["url"], what, target)
    kit.by_hand(node["timeout"], "the function has to give up after so many seconds", target)


def add_a2a(kit: Kit, seat: Seat, node: Node) -> None:
    """An agent elsewhere: one Tool, as its card is not read."""
    url = node["url"].text()
    what = f"the A2A agent at {_without_secrets_in(kit, url)}"
    target = seat.draft.target("spec.tools")
    label = kit.toolbox.label(node["name"].text() or _host(url) or "a2a-agent", ("a2a", url))
    _add_set(kit, seat, node, node["tools"], ("a2a", url), label, what, _MESSAGE, _MESSAGE)
    _url_row(node["url"], what, target)
    if node["tools"].list():
        dropped(node["name"], "it is a prefix of the names of its tools")
    else:
        mapped(node["name"], target, "names the tool")
    kit.by_hand(node["remote"]["headers"], "the function has to send this header", target)


def add_other(kit: Kit, seat: Seat, node: Node, kind: str) -> None:
    """A type of a later version, or none at all."""
    target = seat.draft.target("spec.tools")
    if not kind:
        told = "a toolset without type, which docker-agent leaves out too: no tools were made"
        manual(node["type"] if node["type"].present else node, told, target)
        return
    known = (*TOOLSETS, *SETS, "mcp", "script", "api", "openapi", "a2a", "rag")
    near = None if kind in SETS else nearest(kind, known)
    if near:
        told = f"no type of docker-agent, which leaves the toolset out too: no tools were made; did you mean {near!r}?"
        manual(node["type"], told, target)
        return
    what = f"docker-agent's {kind} tools" + (f" ({SETS[kind]})" if kind in SETS else "")
    _add_set(kit, seat, node, node["tools"], ("set", kind, json.dumps(node.value, sort_keys=True)), kind, what)


# ------------------------------------------------------------------------------------------------ names and secrets


def _host(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return "" if "$" in host else host


def _label(node: Node, server: str, command: str, args: Sequence[object], url: str) -> tuple[str, bool]:
    """A name for an MCP server, and whether it is the one that the file gives.

    Else it is the package that a runner starts, the program, or the host.
    """
    if node["name"].text():
        return node["name"].text(), True
    if server:
        return server.removeprefix("docker:").rpartition("/")[2] or "mcp-server", False
    if not command:
        return _host(url) or "mcp-server", False
    program = re.split(r"[/\\]", command)[-1]
    if program in _RUNNERS:
        served = [str(word).partition("=")[2] for word in args if str(word).startswith("--servers=")]
        if program == "docker" and served and re.fullmatch(r"[\w.-]+", served[0]):
            return served[0], False
        for word in map(str, args):
            if word.startswith("-") or word in _RUN_WORDS or "=" in word or "$" in word:
                continue
            name = re.sub(r"(?<=.)@.*$", "", re.split(r"[/\\]", word)[-1]).split(":")[0]
            name = re.sub(r"\.(py|js|ts|sh|go)$", "", name)
            if re.search(r"[A-Za-z]{2}", name):
                return name, False
    return program or "mcp-server", False


def _without_secrets(kit: Kit, words: Sequence[object]) -> list[str]:
    """A command line without secrets: ``--token X``, ``--token=X``, ``-e TOKEN=X``."""
    out: list[str] = []
    before = ""
    for word in map(str, words):
        name, equals, value = word.partition("=")
        if equals and kit.hide(name.lstrip("-"), value):
            out.append(f"{name}=REMOVED")
        elif before.startswith("-") and not word.startswith("-") and kit.hide(before.lstrip("-"), word):
            out.append("REMOVED")
        else:
            out.append(word)
        before = word
    return out


def _without_secrets_in(kit: Kit, url: str) -> str:
    """An address without secrets in its query."""

    def clean(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}=REMOVED" if kit.hide(found[2], found[3]) else found[0]

    return re.sub(r"([?&])([^=&]+)=([^&#]*)", clean, url)
