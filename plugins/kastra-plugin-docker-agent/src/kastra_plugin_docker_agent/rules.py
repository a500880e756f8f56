"""What docker-agent refuses beyond unknown fields and wrong types, with the version that refuses it.

Source: docker/docker-agent pkg/config, validate.go of each version and config.go (0d76412).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kastra_core.errors import nearest
from kastra_core.migration import Node
from kastra_plugin_docker_agent.durations import seconds_of
from kastra_plugin_docker_agent.models import Models
from kastra_plugin_docker_agent.shapes import NEW

__all__ = ["check_rules", "is_external"]

_ONLY: Mapping[str, tuple[tuple[int, int, str], ...]] = {
    "shell": ((1, NEW, "script"),),
    "path": ((2, 4, "memory"), (5, NEW, "memory tasks")),
    "post_edit": ((2, 6, "filesystem"), (NEW, NEW, "filesystem file")),
    "ignore_vcs": ((2, NEW, "filesystem"),),
    "env": ((2, 6, "shell script mcp lsp"), (NEW, NEW, "shell script mcp lsp background_jobs")),
    "sandbox": ((3, 5, "shell"),),
    "file_types": ((6, NEW, "lsp"),),
    "models": ((6, NEW, "model_picker"),),
    "shared": ((2, NEW, "todo"),),
    "version": ((6, NEW, "mcp lsp"),),
    "command": ((2, NEW, "mcp lsp"),),
    "args": ((2, NEW, "mcp lsp"),),
    "ref": ((2, 6, "mcp"), (NEW, NEW, "mcp rag")),
    "remote": ((2, 2, "mcp"), (3, NEW, "mcp a2a")),
    "headers": ((5, 6, "openapi a2a"), (NEW, NEW, "openapi a2a fetch")),
    "config": ((2, NEW, "mcp"),),
    "url": ((3, 4, "a2a"), (5, 6, "a2a openapi"), (NEW, NEW, "a2a openapi open_url")),
    "name": ((3, 6, "mcp a2a"), (NEW, NEW, "mcp a2a rag")),
}
"""Field of a toolset -> (first version, last version, types that may have it)."""

_REFERENCE = re.compile(r"[a-zA-Z0-9][\w.\-]*(?::\d+)?(?:/[a-z0-9][\w.\-]*)+(?::[\w.\-]+)?(?:@sha256:[0-9a-f]{64})?")


def is_external(name: str) -> bool:
    """Whether a name of an agent is an address or an image instead.

    >>> is_external("agentcatalog/pirate"), is_external("https://example.com/a.yaml"), is_external("writer")
    (True, True, False)
    """
    return name.startswith(("http://", "https://")) or _REFERENCE.fullmatch(name) is not None


def check_rules(root: Node, version: int, models: Models) -> None:
    """Write a problem for each rule that a document breaks, whose fields have been checked."""
    if not list(root["agents"].fields()):
        root["agents"].problem("expected at least one agent", "write agents: {root: {model: ..., instruction: ...}}")
    _old_environment(root, version)
    for name, provider in root["providers"].fields():
        _provider(name, provider)
    for name, definition in root["mcps"].fields():
        _definition(name, definition, version)
    for _, definition in root["toolsets"].fields():
        _toolset(definition, version, root)
    names = [name for name, _ in root["agents"].fields()]
    for _, agent in root["agents"].fields():
        models.check(agent["model"])
        for toolset in agent["toolsets"].items():
            _toolset(toolset, version, root)
        for key, word in (("sub_agents", "sub-agent"), ("handoffs", "agent for a handoff")):
            for item in agent[key].items():
                _member(item, names, word, version)
        _member(agent["force_handoff"], names, "agent for a handoff", version)
        _fallback(agent["fallback"])
        _hooks(agent["hooks"], version)
        _skills(agent["skills"], version)
        _commands(agent["commands"], version)
    for _, model in root["models"].fields():
        for rule in model["routing"].items():
            models.check(rule["model"])
    for _, source in root["rag"].fields():
        for strategy in source["strategies"].items():
            if strategy["model"] and not strategy["model"].is_text:
                strategy["model"].problem("expected the name of a model")
            models.check(strategy["model"])


def _old_environment(root: Node, version: int) -> None:
    if version > 1:
        return
    hint = "docker-agent reads the environment of the process; leave it out"
    nodes = [root["env"], *(model["env"] for _, model in root["models"].fields())]
    for _, agent in root["agents"].fields():
        nodes += [toolset["env_file"] for toolset in agent["toolsets"].items()]
    for node in nodes:
        if node and node.value:
            node.problem(f"{node.name!r} is not supported any more", hint)


def _provider(name: str, node: Node) -> None:
    if not name.strip() or name.strip() != name or "/" in name:
        node.problem(f"{name!r} is no name for a provider", "it may hold no '/' and no blanks around it")
    api_type = node["api_type"].text()
    if api_type not in ("", "openai_chatcompletions", "openai_responses"):
        hint = "it is openai_chatcompletions or openai_responses"
        node["api_type"].problem(f"{api_type!r} is no API type", hint)
    if not node["base_url"].text() and not node["provider"].text():
        node.problem(f"the provider {name!r} has no base_url", "write base_url: https://...")


def _definition(name: str, node: Node, version: int) -> None:
    """An entry of mcps, which is a toolset of type mcp."""
    ref = node["ref"].text()
    if ref and not ref.startswith("docker:"):
        hint = "a definition names an image of the catalogue: docker:NAME"
        node["ref"].problem(f"the MCP definition {name!r} refers to {ref!r}", hint)
    _attributes(node, "mcp", version)
    _one_source(node)


def _toolset(node: Node, version: int, root: Node) -> None:
    if not node.is_map:
        return
    kind = node["type"].text()
    if version >= 1:
        _attributes(node, kind, version)
    if kind == "mcp":
        _one_source(node)
        _reference(node["ref"], version, root)
    elif kind == "memory" and 2 <= version <= 5 and not node["path"].text():
        node.problem(f"a toolset of type memory needs a path in version {version}", "write path: memory.db")
    elif kind == "a2a" and version >= 3 and not node["url"].text():
        node.problem("a toolset of type a2a needs a url", "write url: https://...")
    elif kind == "lsp" and version >= 2 and not node["command"].text():
        node.problem("a toolset of type lsp needs a command", "write command: gopls")
    elif kind == "openapi" and version >= 5 and not node["url"].text():
        node.problem("a toolset of type openapi needs a url", "write url: https://.../openapi.json")
    elif kind == "model_picker" and version >= 6 and not node["models"].list():
        node.problem("a toolset of type model_picker needs models", "write models: [provider/model]")
    if kind == "shell" and node["sandbox"] and not node["sandbox"]["paths"].list():
        node["sandbox"].problem("a sandbox needs at least one path", "write paths: [.]")


def _attributes(node: Node, kind: str, version: int) -> None:
    for key, child in node.fields():
        value = child.value
        if key == "remote" and isinstance(value, dict):
            value = {name: item for name, item in value.items() if item}
            if version >= 3 and kind == "a2a" and set(value) - {"headers"}:
                child.problem("of 'remote' a toolset of type a2a may have only headers", "write url beside type")
                continue
        if not value and not (key in ("ignore_vcs", "config") and value is not None):
            continue
        for first, last, types in _ONLY.get(key, ()):
            if first <= version <= last and kind not in types.split():
                allowed = " or ".join(repr(one) for one in types.split())
                child.problem(f"{key!r} goes with type {allowed} only, not with {kind!r}", "leave it out")


def _one_source(node: Node) -> None:
    given = [key for key in ("command", "ref") if node[key].text()]
    if node["remote"]["url"].text():
        given.append("remote")
    if not given:
        node.problem(
            "an MCP toolset needs command, remote or ref", "write command: ..., remote: {url: ...} or ref: ..."
        )
    elif len(given) > 1:
        node.problem(f"an MCP toolset has only one of command, remote and ref, found {' and '.join(given)}")


def _reference(ref: Node, version: int, root: Node) -> None:
    text = ref.text()
    if not text or text.startswith("docker:"):
        return
    known = [name for name, _ in root["mcps"].fields()]
    if version < 6:
        ref.problem(f"{text!r} is no reference to an MCP server", "only docker:NAME is one")
    elif text not in known:
        near = nearest(text, known)
        hint = f"did you mean {near!r}?" if near else f"defined: {', '.join(known) or 'none'}; or write docker:NAME"
        ref.problem(f"there is no MCP definition {text!r} under mcps", hint)


def _member(node: Node, names: list[str], word: str, version: int) -> None:
    name = node.text()
    if not name or name in names or is_external(name):
        return
    own, colon, reference = name.partition(":")
    if version >= NEW and colon and own and is_external(reference):
        return
    near = nearest(name, names)
    hint = f"did you mean {near!r}?" if near else f"agents are {', '.join(names)}"
    node.problem(f"there is no {word} {name!r}", hint)


def _fallback(node: Node) -> None:
    retries = node["retries"].number()
    if retries is not None and retries < -1:
        node["retries"].problem(f"expected -1 or more, found {retries:g}", "-1: no retries, 0: the default")
    cooldown = node["cooldown"].text()
    seconds = seconds_of(cooldown) if cooldown else 0
    if seconds is None:
        node["cooldown"].problem(f"{cooldown!r} is no duration", "for example 30s, 1m or 2m30s")
    elif seconds < 0:
        node["cooldown"].problem(f"expected 0 or more, found {cooldown!r}")


def _hooks(node: Node, version: int) -> None:
    for event, child in node.fields():
        for item in child.items():
            if event in ("pre_tool_use", "post_tool_use", "permission_request", "tool_response_transform"):
                if not item["hooks"].list():
                    item.problem("expected at least one hook", "write hooks: [{type: command, command: ...}]")
                hooks = item["hooks"].items()
            else:
                hooks = [item]
            for hook in hooks:
                _hook(hook, version)


def _hook(hook: Node, version: int) -> None:
    kind = hook["type"].text()
    known = ("command",) if version < NEW else ("command", "builtin", "model")
    if kind not in known:
        found = repr(kind) if kind else "none"
        (hook["type"] if kind else hook).problem(f"expected type {' or '.join(known)}, found {found}")
    elif kind == "model":
        for key in ("model", "prompt"):
            if not hook[key].text():
                hook.problem(f"a hook of type model needs {key!r}")
    elif not hook["command"].text():
        hook.problem(f"a hook of type {kind} needs a command")


def _skills(node: Node, version: int) -> None:
    if not node or isinstance(node.value, bool):
        return
    if not node.is_list or version < 5:
        node.problem("expected true, false" + (" or a list of sources" if version >= 5 else ""))
        return
    for item in node.items():
        known = item.text().startswith(("http://", "https://")) or item.value == "local" if item.is_text else False
        if not known and version < NEW:
            item.problem(f"{item.value!r} is no source of skills", "a source is 'local' or an http or https address")


def _commands(node: Node, version: int) -> None:
    for name, child in [*node.fields(), *(pair for item in node.items() for pair in item.fields())]:
        if child.is_text:
            continue
        if not child.is_map:
            child.problem(f"the command {name!r} is neither a text nor an object", "write what the agent is to be told")
            continue
        keys = ("instruction", "description") if version < NEW else ("instruction", "description", "agent", "url")
        if not any(child[key].is_text and child[key].value for key in keys):
            child.problem(f"the command {name!r} needs an instruction or a description")
