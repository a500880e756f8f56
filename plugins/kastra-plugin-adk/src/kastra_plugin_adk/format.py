"""What the agent configuration of ADK looks like: classes, fields, and files that are something else.

Source: the packages google.adk.agents and google.adk.workflow of google-adk 1.14 to 2.13, and the loaders of its forms
for Java and Go, which read the same YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kastra_core.migration import Node
from kastra_core.protocols.migrator import SourceDocument

__all__ = [
    "AGENT_FIELDS",
    "CALLBACKS",
    "COMPOSITES",
    "CUSTOM",
    "NODE_FIELDS",
    "class_of",
    "confidence",
    "field",
    "is_identifier",
    "not_an_agent",
    "snake",
]

CUSTOM = "custom"
"""A class of somebody's own."""
COMPOSITES = ("SequentialAgent", "ParallelAgent", "LoopAgent")
"""Agents whose sub-agents run in a fixed order."""
_CLASSES = ("LlmAgent", *COMPOSITES, "Workflow", "FunctionNode", "JoinNode", "ToolNode")
_SAME = {"Agent": "LlmAgent", "_ToolNode": "ToolNode"}
_OTHERS = ("BaseAgent", "RemoteA2aAgent", "LangGraphAgent", "LanggraphAgent", "ManagedAgent", "GraphAgent", "Node")
"""Classes of ADK, released or proposed, that have no form here."""
_OWN_PACKAGES = ("google.adk.", "com.google.adk.")

CALLBACKS = (
    "before_agent_callbacks",
    "after_agent_callbacks",
    "before_model_callbacks",
    "after_model_callbacks",
    "on_model_error_callbacks",
    "before_tool_callbacks",
    "after_tool_callbacks",
    "on_tool_error_callbacks",
)
NODE_FIELDS = (
    "agent_class",
    "name",
    "description",
    "sub_agents",
    "before_agent_callbacks",
    "after_agent_callbacks",
    "input_schema",
    "output_schema",
    "state_schema",
    "retry_config",
    "timeout",
    "rerun_on_resume",
    "wait_for_output",
)
"""Of every class."""
AGENT_FIELDS = (
    *NODE_FIELDS,
    *CALLBACKS,
    "model",
    "instruction",
    "global_instruction",
    "static_instruction",
    "disallow_transfer_to_parent",
    "disallow_transfer_to_peers",
    "output_key",
    "include_contents",
    "tools",
    "generate_content_config",
    "planner",
    "code_executor",
    "mode",
    "parallel_worker",
)
"""Of an LlmAgent; with ``_code`` at its end a field names Python."""
_MARKS = frozenset(AGENT_FIELDS) - {
    "name",
    "description",
    "model",
    "instruction",
    "tools",
    "mode",
    "timeout",
    "input_schema",
    "output_schema",
}
"""Fields that hardly any other format has."""


def snake(key: str) -> str:
    """Return a key as the Python form writes it.

    >>> snake("subAgents"), snake("sub_agents")
    ('sub_agents', 'sub_agents')
    """
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()


def field(node: Node, key: str) -> Node:
    """The field of an object, in snake case or, as the JavaScript form allows, in camel case."""
    camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), key)
    return node[camel] if node[camel].present and not node[key].present else node[key]


def class_of(text: str) -> str:
    """Return what an ``agent_class`` means: a class of ADK that has a form here, CUSTOM, or "" for what is no class.

    >>> class_of("google.adk.agents.llm_agent.LlmAgent"), class_of("shop.agents.Cart"), class_of("Nonsense")
    ('LlmAgent', 'custom', '')
    """
    text = text.strip()
    if not text:
        return "LlmAgent"
    own = text.startswith(_OWN_PACKAGES)
    last = text.rpartition(".")[2]
    last = _SAME.get(last, last)
    if last in _CLASSES and (own or "." not in text):
        return last
    if "." in text.strip(".") or last in _OTHERS:
        return CUSTOM
    return ""


def is_identifier(text: str) -> bool:
    """Whether a text is what ADK takes as the key of a state: a name, or app:, user:, temp: and a name."""
    head, colon, tail = text.partition(":")
    return (tail.isidentifier() and head in ("app", "user", "temp")) if colon else text.isidentifier()


def confidence(document: SourceDocument) -> float:
    """How sure it is that a document is of ADK, 0 to 1."""
    data = document.data
    if not_an_agent(data):
        return 0.9
    if not isinstance(data, Mapping) or "apiVersion" in data or "kind" in data:
        return 0.0
    keys = {snake(key) for key in data}
    named = "agents/config_schemas/AgentConfig.json" in document.text
    cls = data.get("agent_class", data.get("agentClass"))
    if cls is not None:
        known = isinstance(cls, str) and class_of(cls)
        return 0.97 if named or (known and "name" in keys) else 0.6
    if named:
        return 0.97
    if not {"name", "instruction"} <= keys:
        return 0.55 if "instruction" in keys and len(_MARKS & keys) > 1 else 0.0
    if _MARKS & keys or _has_tools(data.get("tools")):
        return 0.93
    return 0.6 if keys <= set(AGENT_FIELDS) else 0.3


def _has_tools(tools: Any) -> bool:
    return isinstance(tools, list) and any(
        isinstance(tool, Mapping) and "name" in tool and set(tool) <= {"name", "args"} for tool in tools
    )


def not_an_agent(data: Any) -> str:
    """Say what a file of ADK is that configures no agent; "" for all else."""
    if isinstance(data, list):
        first = data[0] if data else None
        if not isinstance(first, Mapping):
            return ""
        if "query" in first and {"reference", "expected_tool_use"} & first.keys():
            return "this is a list of test cases for `adk eval`, and no configuration of an agent"
        if {"name", "data", "initial_session"} <= first.keys():
            return "this is an evaluation set of `adk eval`, and no configuration of an agent"
        return ""
    if not isinstance(data, Mapping):
        return ""
    if "eval_set_id" in data or "eval_cases" in data:
        return "this is an evaluation set of `adk eval`, and no configuration of an agent"
    criteria = data.get("criteria")
    if isinstance(criteria, Mapping) and any(str(key).endswith(("_score", "_v1", "_v2", "_match")) for key in criteria):
        return "these are the criteria of `adk eval`, and no configuration of an agent"
    services = data.get("services")
    if isinstance(services, list) and any(
        isinstance(one, Mapping) and {"scheme", "class"} <= one.keys() for one in services
    ):
        return "this registers services of the `adk` command, and is no configuration of an agent"
    if "state" in data and isinstance(data.get("queries"), list) and len(data) == 2:
        return "this is the input of a replay (`adk run --replay`), and no configuration of an agent"
    tools, sources = data.get("tools"), data.get("sources")
    if isinstance(tools, Mapping) and isinstance(sources, Mapping) and "instruction" not in data:
        kinds = [one for one in (*tools.values(), *sources.values()) if isinstance(one, Mapping) and "kind" in one]
        if kinds and len(kinds) == len(tools) + len(sources):
            return "this configures a server of MCP Toolbox for Databases, and no agent"
    if {"app_name", "user_id", "events"} <= {snake(str(key)) for key in data}:
        return "this is a saved session, and no configuration of an agent"
    return ""
