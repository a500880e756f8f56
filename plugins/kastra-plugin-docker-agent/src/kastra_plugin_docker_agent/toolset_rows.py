"""Rows for the fields of a toolset that say how its tools work, and not which."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.migration import Node
from kastra_plugin_docker_agent.builtins import TOOLSETS
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.seat import Seat

__all__ = ["write_rest"]

_DROPPED: Mapping[str, str] = {
    "defer": "an agent here is offered all its tools from the start",
    "toon": "results are handed over as they are",
    "version": "nothing is installed for a function that you write",
    "safer": "docker-agent ignores it too",
    "allow_private_ips": "which addresses tools may reach is a setting: tools.http.allowPrivate",
}
_MANUAL: Mapping[str, str] = {
    "env": "the functions have to set this environment variable",
    "headers": "the functions have to send this header",
    "config": "the functions have to configure the server with it",
    "shared": "the functions have to keep one list for all agents",
    "path": "the functions have to keep the data in this file",
    "post_edit": "the function has to run this command after it changed such a file",
    "ignore_vcs": "the functions have to pass over what git ignores, unless this is false",
    "sandbox": "the functions have to run commands in a container with these paths only",
    "file_types": "the functions are for these files only",
    "models": "the function has to choose among these models",
    "allow_list": "the functions may reach these directories only",
    "deny_list": "the functions may not reach these directories",
    "allowed_domains": "the function may reach these domains only",
    "blocked_domains": "the function may not reach these domains",
    "sudo_askpass": "the function has to ask the user for the password of sudo",
    "recall": "the functions have to tell the agent when a job is done",
    "allowed_servers": "only these servers may be offered",
    "blocked_servers": "these servers may not be offered",
    "working_dir": "the server has to run in this directory",
    "lifecycle": "the functions have to watch over the server in this way",
    "webhook_config": "the function has to send the message there",
}
_OTHERS: Mapping[str, str] = {
    "api_config": "api",
    "rag_config": "rag",
    "webhook_config": "webhook",
    "timeout": "fetch api openapi",
    "models": "model_picker",
    "remote": "mcp a2a",
    "shell": "script",
}
"""Field -> the types that use it; docker-agent passes over it elsewhere."""


def write_rest(kit: Kit, seat: Seat, node: Node, kind: str, target: str, *, instruction: bool = True) -> None:
    """Write the rows of all fields of a toolset but those that say which tools it has.

    Args:
        kind: its type; a definition under ``mcps`` has type mcp.
        target: what the rows name.
        instruction: whether its instruction holds.
    """
    if instruction:
        seat.note(node["instruction"])
    elif node["instruction"].present:
        dropped(node["instruction"], "what refers to it has an instruction of its own")
    if node["model"]:
        kit.models.also(node["model"], "the model that reads the results of a toolset")
        dropped(node["model"], "one model does all turns of an agent here")
    if node["readonly"].present:
        _readonly(seat, node["readonly"], kind, target)
    for key, child in node.fields():
        if key == "path" and child and kind in ("memory", "tasks"):
            mapped(child, target, "the functions that are to be written name this file")
        elif key in _OTHERS and kind not in _OTHERS[key].split():
            dropped(child, f"of no use to a toolset of type {kind}")
        elif key in _DROPPED:
            dropped(child, _DROPPED[key])
        elif key in _MANUAL:
            kit.by_hand(child, _MANUAL[key], target)


def _readonly(seat: Seat, node: Node, kind: str, target: str) -> None:
    if node.value is not True:
        dropped(node, "tools may change things anyway")
    elif kind not in TOOLSETS:
        manual(node, "only tools that change nothing are meant: take the others out", target)
    elif seat.node["readonly"].value is True:
        dropped(node, "the agent is read-only anyway")
    elif all(function.reads for function in TOOLSETS[kind]):
        dropped(node, "its tools change nothing anyway")
    else:
        mapped(node, target, "only tools that change nothing")
