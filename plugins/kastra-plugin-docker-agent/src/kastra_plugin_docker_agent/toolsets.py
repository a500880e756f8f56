"""Toolsets of an agent as Tools."""

from __future__ import annotations

import json

from kastra_core.migration import Node
from kastra_plugin_docker_agent.builtins import TOOLSETS, Function
from kastra_plugin_docker_agent.http_api import fill_http, why_not_http
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.schemas import arguments_schema
from kastra_plugin_docker_agent.seat import Seat
from kastra_plugin_docker_agent.servers import add_a2a, add_mcp, add_openapi, add_other
from kastra_plugin_docker_agent.toolbox import place_of
from kastra_plugin_docker_agent.toolset_rows import write_rest

__all__ = ["add_builtin", "add_rag", "add_toolset"]


def add_toolset(kit: Kit, seat: Seat, node: Node) -> None:
    """Give an agent what a toolset brings, and write the rows of the toolset."""
    kind = node["type"].text()
    if kind == "mcp":
        add_mcp(kit, seat, node)
    elif kind == "script":
        _add_scripts(kit, seat, node)
    elif kind == "api":
        _add_api(kit, seat, node)
    elif kind == "openapi":
        add_openapi(kit, seat, node)
    elif kind == "a2a":
        add_a2a(kit, seat, node)
    elif kind == "rag":
        own = node["rag_config"]
        add_rag(
            kit, seat, own if own else kit.root["rag"][node["ref"].text()], node["ref"].text() or "rag", node["type"]
        )
        mapped(node["ref"], seat.draft.target("spec.tools"), "the entry of rag")
    elif kind == "background_agents":
        _add_background(kit, seat, node)
    elif kind in TOOLSETS:
        add_builtin(kit, seat, node, kind)
    else:
        add_other(kit, seat, node, kind)
    if kind != "api" or node["api_config"]["endpoint"].text():
        write_rest(kit, seat, node, kind, seat.draft.target("spec.tools"))


# ------------------------------------------------------------------------------------------------ built-in ones


def add_builtin(kit: Kit, seat: Seat, node: Node, kind: str, *, said: Node | None = None) -> None:
    """Give an agent the functions of a built-in toolset.

    Args:
        node: the toolset, or the field of an agent that stood for it in version 0.
        said: what asks for it; default: ``type``.
    """
    functions = TOOLSETS[kind]
    chosen = kit.filtered(seat, node, [function.name for function in functions], kind)
    if seat.node["readonly"].value is True or node["readonly"].value is True:
        chosen = [function.name for function in functions if function.reads and function.name in chosen]
    label, path = f"docker-agent's {kind} tools", node["path"].text()
    if kind == "lsp":
        words = [node["command"].text(), *(item.text() for item in node["args"].items())]
        label = f"the language server `{' '.join(words)}`"
    made: list[str] = []
    for function in functions:
        if function.name not in chosen:
            continue
        tool = kit.stub(
            seat,
            (*_key(node, kind), function.name),
            function.name,
            scope=kind,
            description=_described(function, node),
            schema=function.schema(),
            origin=f"{place_of(node)}, {function.name} of {label}" + (f" in {path}" if path else ""),
            made=made,
        )
        if tool is not None and kind == "fetch" and node["timeout"]:
            node["timeout"].to(tool, "spec.timeout", f"{int(node['timeout'].number() or 0)}s")
    where = f", which keep their data in {path}" if path and kind in ("memory", "tasks") else ""
    kit.told(seat, said if said is not None else node["type"], made, f"docker-agent's {kind} tools{where}")
    if kind == "lsp":
        for name in ("command", "args"):
            manual(node[name], "the functions have to ask this language server", seat.draft.target("spec.tools"))


def _described(function: Function, node: Node) -> str:
    models = ", ".join(item.text() for item in node["models"].items())
    return f"{function.description} Models: {models}." if models else function.description


def _key(node: Node, kind: str) -> tuple[object, ...]:
    """What tells a built-in toolset from another one with the same functions."""
    if kind in ("memory", "tasks"):
        return kind, node["path"].text()
    if kind == "fetch":
        return kind, node["timeout"].text()
    if kind == "lsp":
        return kind, node["command"].text(), json.dumps(node["args"].value)
    if kind == "model_picker":
        return kind, json.dumps(node["models"].value)
    return (kind,)


def _add_background(kit: Kit, seat: Seat, node: Node) -> None:
    """Sub-agents as tools, which an agent may call side by side."""
    agents = dict(kit.root["agents"].fields())
    names = [item.text() for item in seat.node["sub_agents"].items() if item.text() in agents]
    names = [name for name in dict.fromkeys(names) if name != seat.name]
    for name in names:
        reference = kit.report.names.give("Agent", name, scope=kit.scope)
        seat.call(name, f"agents/{reference}", agents[name]["description"].text())
    if names:
        told = "the sub-agents are tools of the agent, which may call several at once; it waits for all of them"
        mapped(node["type"], seat.draft.target("spec.tools"), told)
    else:
        dropped(node["type"], "the agent has no sub-agents to start")


# ------------------------------------------------------------------------------------------------ scripts and HTTP


def _add_scripts(kit: Kit, seat: Seat, node: Node) -> None:
    made: list[str] = []
    names = [name for name, _ in node["shell"].fields()]
    chosen = kit.filtered(seat, node, names, "script")
    for name, script in node["shell"].fields():
        if name in chosen:
            _add_script(kit, seat, name, script, made)
        else:
            dropped(script, "not in the list of tools, or denied by permissions")
    if names:
        mapped(node["type"], seat.draft.target("spec.tools"), "a Tool for each of its commands")
    else:
        told = "a toolset of type script without shell, which docker-agent leaves out too: no tools were made"
        manual(node["type"], told, seat.draft)


def _add_script(kit: Kit, seat: Seat, name: str, script: Node, made: list[str]) -> None:
    command, required, properties = script["cmd"].text(), script["required"], script["args"].mapping()
    needed = [item.text() for item in required.items()] if required.present else list(properties)
    tool = kit.stub(
        seat,
        ("script", kit.scope, name, json.dumps(script.value, sort_keys=True)),
        name,
        scope=kit.scope,
        description=script["description"].text().strip() or f"Runs {command}",
        schema=arguments_schema(properties, needed, "string"),
        origin=f"{place_of(script)}, shell command `{command}`",
        made=made,
    )
    if tool is None:
        return
    mapped(script["description"], tool.target("spec.description"))
    for argument, part in script["args"].fields():
        mapped(part, tool.target(f"spec.inputSchema.properties.{argument}"))
    for item in required.items():
        if item.text() in properties:
            mapped(item, tool.target("spec.inputSchema.required"))
        else:
            dropped(item, "there is no such argument")
    if properties and not required.present:
        told = "all arguments, as the file does not say which may be missing"
        required.defaulted(told, tool.target("spec.inputSchema.required"))
    function = kit.function(tool)
    manual(script["cmd"], f"{function} has to run this command with its arguments as environment variables", tool)
    kit.by_hand(script["working_dir"], f"{function} has to run in this directory", tool.target())
    kit.by_hand(script["env"], f"{function} has to set this environment variable", tool.target())


def _add_api(kit: Kit, seat: Seat, node: Node) -> None:
    config = node["api_config"]
    name = config["name"].text() or "api"
    if not config["endpoint"].text():
        told = "a toolset of type api without api_config.endpoint, which docker-agent leaves out too: no tool was made"
        manual(node, told, seat.draft)
        return
    if not kit.filtered(seat, node, [name], "api"):
        for part in (config, node["type"], node["timeout"]):
            if part.present:
                dropped(part, "not in the list of tools, or denied by permissions")
        return
    key = ("api", kit.scope, json.dumps(config.value, sort_keys=True), node["timeout"].text())
    why = why_not_http(config)
    if why:
        _add_request(kit, seat, node, key, name, why)
    else:
        tool = kit.toolbox.http(key, name, scope=kit.scope)
        seat.give(name, tool)
        fill_http(kit, tool, config, node["timeout"])
        mapped(node["type"], seat.draft.target("spec.tools"), "a Tool of type http")
    if config["name"].text():
        mapped(config["name"], seat.draft.target("spec.tools"))
    else:
        config["name"].defaulted("the tool has no name in the file", seat.draft.target("spec.tools"))


def _add_request(kit: Kit, seat: Seat, node: Node, key: object, name: str, why: str) -> None:
    """A request that no http Tool can make."""
    config = node["api_config"]
    method, endpoint = config["method"].text() or "GET", config["endpoint"].text()
    made: list[str] = []
    tool = kit.stub(
        seat,
        key,
        name,
        scope=kit.scope,
        description=config["instruction"].text().strip() or f"Calls {name}.",
        schema=arguments_schema(config["args"].mapping(), [item.text() for item in config["required"].items()]),
        origin=f"{place_of(config)}, request {method} {endpoint}",
        made=made,
    )
    if tool is None:
        return
    function = kit.function(tool)
    kit.told(seat, node["type"], made, f"this request, as {why}")
    mapped(config["instruction"], tool.target("spec.description"))
    for argument, part in config["args"].fields():
        mapped(part, tool.target(f"spec.inputSchema.properties.{argument}"))
    for item in config["required"].items():
        if item.text() in config["args"].mapping():
            mapped(item, tool.target("spec.inputSchema.required"))
        else:
            dropped(item, "there is no such argument")
    for part in (config["endpoint"], config["method"], config["output_schema"]):
        if part.present:
            manual(part, f"{function} has to do it: {why}", tool)
    kit.by_hand(config["headers"], f"{function} has to send this header", tool.target())
    if node["timeout"]:
        node["timeout"].to(tool, "spec.timeout", f"{int(node['timeout'].number() or 0)}s")


# ------------------------------------------------------------------------------------------------ documents


def add_rag(kit: Kit, seat: Seat, source: Node, name: str, said: Node) -> None:
    """Give an agent the tool that searches documents.

    Args:
        source: the entry of ``rag``.
        name: of the entry.
        said: where the agent asks for it.
    """
    if not source.present:
        manual(said, f"there is no entry {name!r} under rag; docker-agent leaves it out too", seat.draft)
        return
    shown = source["tool"]["name"].text() or source["name"].text() or name
    about = source["tool"]["description"] if source["tool"]["description"] else source["description"]
    documents = ", ".join(item.text() for item in source["docs"].items())
    made: list[str] = []
    tool = kit.stub(
        seat,
        ("rag", kit.scope, name, json.dumps(source.value, sort_keys=True)),
        shown,
        scope=kit.scope,
        description=about.text().strip() or f"Searches the documents of {name}.",
        schema={
            "type": "object",
            "properties": {"query": {"type": "string", "description": "what to look for"}},
            "required": ["query"],
        },
        origin=f"{place_of(source)}, search in {documents or 'documents'}",
        made=made,
    )
    if tool is None:
        dropped(said, "permissions deny it")
        return
    function = kit.function(tool)
    kit.told(seat, said, made, f"a search in the documents of {name}")
    target = tool.target()
    if source["tool"]["name"]:
        mapped(source["tool"]["name"], seat.draft.target("spec.tools"))
        if source["name"].present:
            dropped(source["name"], "tool.name is what the model sees")
    elif source["name"]:
        mapped(source["name"], seat.draft.target("spec.tools"))
    if about:
        mapped(about, tool.target("spec.description"))
    for part in (source["tool"]["instruction"], source["instruction"]):
        seat.note(part)
    for key in ("docs", "strategies", "results", "respect_vcs", "tools", "defer"):
        if source[key].present:
            manual(source[key], f"{function} has to search these documents in this way", target)
    for strategy in source["strategies"].items():
        for key in ("model", "chat_model", "embedding_model"):
            kit.models.also(strategy[key], "a model for the search in documents")
    reranking = source["results"]["reranking"]["model"]
    kit.models.also(reranking, "a model for the search in documents")
