"""Recognises the older formats by their shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.protocols.migrator import SourceDocument
from kastra_plugin_legacy.items import API_VERSIONS, KINDS
from kastra_plugin_legacy.native import is_native

__all__ = ["ROOT_MAPS", "confidence", "is_root", "is_run_input", "is_settings"]

ROOT_MAPS = ("agents", "tools", "workflows", "networks")
"""Maps of a root file."""
_SETTINGS = {"providers", "memory", "logging", "storage", "plugins", "namespace", "version", "runtime"}
_FOREIGN_MARKS = {
    *(
        "models",
        "toolsets",
        "mcps",
        "rag",
        "metadata",
        "component_type",
        "agentspec_version",
        "agent_class",
        "sub_agents",
    ),
    *("services", "crew", "tasks", "flow", "trigger", "kind"),
}
"""Keys of other systems' files at the top: docker-agent, Agent Spec, ADK, Compose, CrewAI."""
_OLD_GROUP = re.compile(r"mastra/v[0-9]+((alpha|beta)[0-9]+)?|mastra\.ai/v[0-9]+(alpha|beta)[0-9]+")
_MARKS: Mapping[str, set[str]] = {
    "Agent": {
        *("systemPrompt", "maxTurns", "maxTokens", "memorySettings", "features", "logging", "voice", "id", "name"),
        *("outputSchema", "inputSchema"),
    },
    "Tool": {"execute", "implementation", "functions", "id", "parameters", "endpoint", "function", "source"},
    "Workflow": {"id", "inputs", "outputs", "input", "maxRuntime", "retryPolicy"},
    "Network": {"coordinator", "routing", "id", "name", "maxTurns", "maxTokens"},
}
"""Fields of a spec that no manifest of today has."""
_INPUT_FOLDERS = ("inputs", "input")


def confidence(document: SourceDocument) -> float:
    """How sure it is that a document is of an older Kastra format, 0 to 1; of a manifest of today 0.3."""
    data = document.data
    if isinstance(data, list):
        return 0.95 * max((_object(one, document) for one in data), default=0.0)
    if isinstance(data, Mapping) and data.get("kind") == "List" and isinstance(data.get("items"), list):
        return 0.95 * max((_object(one, document) for one in data["items"]), default=0.0)
    return _object(data, document)


def _object(data: Any, document: SourceDocument) -> float:
    if not isinstance(data, Mapping):
        return 0.0
    kind, version = data.get("kind"), data.get("apiVersion")
    if kind == "MastraPod":
        return 0.98
    if isinstance(kind, str):
        return _resource(kind, version, data, document)
    if isinstance(version, str) and _OLD_GROUP.fullmatch(version):
        return 0.6  # a resource without kind is broken, and ours to say so
    if is_root(data):
        return 0.85 if "version" in data else 0.7
    if is_settings(data):
        return 0.5
    return 0.25 if is_run_input(document) else 0.0


def _resource(kind: str, version: Any, data: Mapping[str, Any], document: SourceDocument) -> float:
    if version is not None and not isinstance(version, str):
        return 0.0
    known = kind in KINDS
    if version is None:
        shaped = isinstance(data.get("spec"), Mapping) and isinstance(data.get("metadata"), Mapping)
        return 0.6 if known and shaped else 0.0
    if _OLD_GROUP.fullmatch(version):
        # Definitions of today may bear the first version of all.
        return 0.97
    if version == "mastra.ai/v1":
        if is_native(kind, data.get("spec")):
            return 0.3
        spec = data.get("spec")
        marked = isinstance(spec, Mapping) and bool(_MARKS.get(kind, set()) & set(spec))
        return 0.95 if marked or kind in ("LLM", "CustomResourceDefinition") else 0.6
    if version == "v1":
        return 0.6 if known and isinstance(data.get("spec"), Mapping) else 0.0
    if API_VERSIONS.fullmatch(version):
        return 0.6
    if version.startswith(("mastra/", "mastra.ai/")):
        return 0.5
    defined = "CustomResourceDefinition" in document.text and f"kind: {kind}" in document.text
    return 0.5 if defined and "mastra" in document.text and kind != "CustomResourceDefinition" else 0.0


def is_root(data: Mapping[str, Any]) -> bool:
    """Whether it is a root file: a map of agents, each with its body, and maps of tools and workflows beside it."""
    maps = [data[name] for name in ROOT_MAPS if isinstance(data.get(name), Mapping)]
    if not maps or set(data) & _FOREIGN_MARKS:
        return False
    agents = data.get("agents")
    if isinstance(agents, Mapping) and agents:
        return any(_is_agent(one) for one in agents.values())
    return any(_is_body(one) for group in maps for one in group.values())


def _is_agent(body: Any) -> bool:
    if not isinstance(body, Mapping) or {"instruction", "toolsets", "sub_agents", "role", "goal", "backstory"} & set(
        body
    ):
        return False
    return "instructions" in body or "systemPrompt" in body or isinstance(body.get("model"), Mapping)


def _is_body(body: Any) -> bool:
    return isinstance(body, Mapping) and bool({"execute", "steps", "initialStep", "coordinator"} & set(body))


def is_settings(data: Mapping[str, Any]) -> bool:
    """Whether it is a settings file of the older command line: providers, memory and logging, no resources."""
    providers = data.get("providers")
    if not isinstance(providers, Mapping) or not set(data) <= _SETTINGS:
        return False
    return all(isinstance(one, Mapping) for one in providers.values()) and bool({"memory", "logging"} & set(data))


def is_run_input(document: SourceDocument) -> bool:
    """Whether it is the input of a run: plain values in a directory of inputs."""
    data = document.data
    folder = document.file.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
    return (
        isinstance(data, Mapping)
        and bool(data)
        and folder in _INPUT_FOLDERS
        and all(isinstance(value, (str, int, float, bool)) for value in data.values())
    )
