"""Agents as Agent, networks as ManagerWorkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_plugin_agentspec.export_book import Book, Exported, reference_text
from kastra_plugin_agentspec.export_models import llm_of
from kastra_plugin_agentspec.export_schema import RESULT, portable, properties_of
from kastra_plugin_agentspec.export_tools import stand_in_tool
from kastra_plugin_agentspec.ports import placeholders

__all__ = ["agent_inputs", "write_agent", "write_network"]

_LISTS = {"agents": "Agent", "workflows": "Workflow", "networks": "Network", "tools": "Tool"}
_KEPT_MESSAGES = 40
"""Messages that an agent's memory holds by default, kastra-plugin-agent."""
TEXT: JsonObject = {"title": RESULT, "type": "string", "description": "The answer."}
"""Output of an agent whose answer is a text, where a flow needs one."""


def write_agent(book: Book, one: Exported) -> JsonObject:
    """The component of an Agent."""
    spec = one.spec
    instructions = spec.get("instructions")
    text = instructions if isinstance(instructions, str) else ""
    out = one.base("Agent")
    out["inputs"] = agent_inputs(text)
    out["outputs"] = _outputs(spec.get("output"))
    if not out["outputs"] and one.key in book.answers:
        out["outputs"] = [dict(TEXT)]
        out["metadata"]["kastra"]["text"] = True
    out["llm_config"] = llm_of(spec.get("model"), one.id)
    out["system_prompt"] = text
    out["tools"] = _tools(book, one, spec.get("tools"))
    out["toolboxes"] = []
    out["human_in_the_loop"] = True
    out["transforms"] = _transforms(one, spec)
    return out


def agent_inputs(text: str) -> list[JsonObject]:
    """What the placeholders of a text make an agent ask for."""
    return [{"title": name, "type": "string", "default": ""} for name in placeholders(text)]


def _outputs(output: Any) -> list[JsonObject]:
    schema = output.get("schema") if isinstance(output, Mapping) else None
    if not isinstance(schema, Mapping):
        return []
    return properties_of(schema) or [{"title": RESULT, **portable(schema)}]


def _tools(book: Book, one: Exported, tools: Any) -> list[JsonObject]:
    """References to tools; other kinds of resources, and tools that are not exported, have stand-ins."""
    if isinstance(tools, Mapping):
        listed = [(str(alias), item) for alias, item in tools.items()]
    else:
        listed = [("", item) for item in tools] if isinstance(tools, list) else []
    out: list[JsonObject] = []
    for alias, item in listed:
        named = {"name": alias, **item} if isinstance(item, Mapping) and alias and not reference_text(item) else item
        found = book.find(named, "Tool", one.namespace)
        reference = book.refer(one.id, found) if found is not None else None
        if reference is None:
            shown = alias or (item.get("name") if isinstance(item, Mapping) else "") or reference_text(named)
            described = item.get("description") if isinstance(item, Mapping) else ""
            text = reference_text(named) or str(shown)
            reference = stand_in_tool(one.id, str(shown), text, described if isinstance(described, str) else "")
        if reference not in out and all(held.get("id") != reference.get("id", "-") for held in out):
            out.append(reference)
    return out


def _transforms(one: Exported, spec: Mapping[str, Any]) -> list[JsonObject]:
    memory = spec.get("memory")
    if not isinstance(memory, Mapping) or memory.get("type") != "summary" or memory.get("enabled") is False:
        return []
    held = memory.get("summary")
    summary: Mapping[str, Any] = held if isinstance(held, Mapping) else {}
    given = memory.get("maxMessages", _KEPT_MESSAGES)
    kept = given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else _KEPT_MESSAGES
    out: JsonObject = {
        "component_type": "ConversationSummarizationTransform",
        "id": f"{one.id}/summary",
        "name": "summary",
        "llm": llm_of(summary.get("model") or spec.get("model"), one.id, "summary/model"),
        "max_num_messages": 2 * kept,
        "min_num_messages": kept,
    }
    if isinstance(summary.get("instructions"), str) and summary["instructions"]:
        out["summarization_instructions"] = summary["instructions"]
    return [out]


# ---------------------------------------------------------------------------------------------------------- networks


def write_network(book: Book, one: Exported) -> JsonObject:
    """The component of a Network: its router is the manager, its members are the workers."""
    spec = one.spec
    held = spec.get("router")
    router: Mapping[str, Any] = held if isinstance(held, Mapping) else {}
    text = router.get("instructions")
    text = text if isinstance(text, str) else ""
    manager = _agent(f"{one.id}/router", f"{one.name} router", text, router.get("model"), {"router": True})
    workers: list[JsonObject] = []
    tools: list[JsonObject] = []
    for field, kind in _LISTS.items():
        listed = spec.get(field)
        for item in listed if isinstance(listed, list) else ():
            member = _member(book, one, field, kind, item)
            target = tools if field == "tools" else workers
            if member not in target:
                target.append(member)
    if tools or not workers:
        # Only agentic components can be workers: an agent holds the tools.
        holder = _agent(f"{one.id}/tools", f"{one.name} tools", "", router.get("model"), {"members": "tools"})
        workers.append({**holder, "tools": tools})
    out = one.base("ManagerWorkers")
    return {**out, "inputs": [], "outputs": [], "group_manager": manager, "workers": workers}


def _agent(ident: str, name: str, text: str, model: Any, kept: JsonObject) -> JsonObject:
    """An agent that stands for a part of a resource."""
    return {
        "component_type": "Agent",
        "id": ident,
        "name": name,
        "metadata": {"kastra": kept},
        "inputs": agent_inputs(text),
        "outputs": [],
        "llm_config": llm_of(model, ident),
        "system_prompt": text,
        "tools": [],
        "toolboxes": [],
        "human_in_the_loop": True,
        "transforms": [],
    }


def _member(book: Book, one: Exported, field: str, kind: str, item: Any) -> JsonObject:
    found = book.find(item, kind, one.namespace, kinds=_LISTS.values())
    fits = found is not None and (found.kind == "Tool") == (field == "tools")
    reference = book.refer(one.id, found) if found is not None and fits else None
    if reference is not None:
        return reference
    text = reference_text(item)
    if field == "tools":
        return stand_in_tool(one.id, text, text)
    return _agent(f"{one.id}/{field}/{text}", text, "", None, {"reference": text, "as": field})
