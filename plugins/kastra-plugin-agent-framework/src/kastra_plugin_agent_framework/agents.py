"""Prompt agents: instructions, model, output."""

from __future__ import annotations

import json
import re

from kastra_core.migration import Draft, Node, model_name, model_parameters, provider_name
from kastra_plugin_agent_framework.agent_tools import agent_tools
from kastra_plugin_agent_framework.context import Agent, Context
from kastra_plugin_agent_framework.powerfx import Literal, PowerFxError, parse
from kastra_plugin_agent_framework.schemas import object_schema

__all__ = ["annotate", "env_variable", "known_text", "migrate_agent", "secret"]

_ENV = re.compile(r"\s*=\s*Env\.([A-Za-z_]\w*)\s*", re.IGNORECASE)


def env_variable(node: Node) -> str:
    """The environment variable that ``=Env.X`` names, else ""."""
    found = _ENV.fullmatch(node.value) if isinstance(node.value, str) else None
    return found[1] if found else ""


def known_text(node: Node, draft: Draft) -> str:
    """A text; of a formula what it always gives. Another formula gets a row, and is kept as it is."""
    text = node.text()
    if not text.lstrip().startswith("="):
        return text
    try:
        tree, _ = parse(text.strip()[1:])
    except PowerFxError:
        return text
    if isinstance(tree, Literal):
        return str(tree.value)
    node.manual("a formula that is known only when it runs: write its value", draft)
    return text


def secret(node: Node, draft: Draft, path: str, *words: str) -> None:
    """A key by reference."""
    variable = env_variable(node)
    if variable:
        draft.set(path, {"valueFrom": {"env": variable}})
        node.mapped(draft.target(path), f"environment variable {variable}")
    else:
        node.secret(draft, path, *words)


def annotate(node: Node, draft: Draft, key: str) -> None:
    """Keep a text, a list or an object as an annotation."""
    if not node:
        node.dropped("null: as if it were not there")
        return
    value = node.value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = ", ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip("-._")[:63] or "note"
    node.to(draft, ["metadata", "annotations", name], text.strip())


def migrate_agent(context: Context, root: Node, name: str, scope: str = "") -> Agent:
    """Make an Agent of a definition.

    Args:
        name: of the source, where the definition has none.
        scope: what the name is unique in.
    """
    source = root["name"].text() or root["id"].text() or name or root["displayName"].text()
    draft = context.report.draft("Agent", source, scope=scope or root.document.file)
    root["kind"].mapped(draft, "what the definition is")
    root["id"].mapped(draft.target("metadata.name")) if not root["name"] else annotate(root["id"], draft, "id")
    root["name"].mapped(draft.target("metadata.name"))
    if root["displayName"]:
        annotate(root["displayName"], draft, "displayName")
    for key, node in root["metadata"].fields():
        annotate(node, draft, key)
    root["metadata"].mapped(draft.target("metadata.annotations"), whole=False)
    if root["description"]:
        root["description"].to(draft, "spec.description", known_text(root["description"], draft))
    root["description"].mapped(draft.target(), "null: as if it were not there")
    _instructions(root, draft)
    _model(root["model"], draft)
    agent_tools(context, root["tools"], draft)
    agent = Agent(draft.name, _output(root["outputSchema"], draft))
    inputs = root["inputSchema"]
    if inputs and (inputs["properties"].value or inputs.is_list):
        inputs.dropped(
            "an agent takes a text or messages; what calls it hands the values over in the prompt", draft.target()
        )
    inputs.dropped("no inputs", draft.target())
    template = root["template"]
    if template:
        if "{{" in root["instructions"].text():
            template.manual("instructions are sent as they are: hand the values over in the prompt", draft)
        else:
            template.dropped("the instructions have no placeholders", draft.target())
    template.dropped("null: as if it were not there", draft.target())
    for key in ("type", "version", "schemaVersion", "$schema"):
        root[key].dropped("which schema the file follows", draft.target())
    return agent


def _instructions(root: Node, draft: Draft) -> None:
    parts = []
    for key in ("instructions", "additionalInstructions"):
        node = root[key]
        text = known_text(node, draft).strip() if node else ""
        if text:
            parts.append(text)
        if env_variable(node):
            continue
        node.mapped(draft.target("spec.instructions"), "" if key == "instructions" else "after the instructions")
    if parts:
        draft.set("spec.instructions", "\n\n".join(parts))


def _output(node: Node, draft: Draft) -> bool:
    if not node or not (node["properties"].value or node.is_list):
        node.dropped("no outputs", draft.target())
        return False
    draft.set("spec.output.schema", object_schema(node))
    place = draft.target("spec.output.schema")
    for key, one in node.fields():
        if key in ("properties", "required", "additionalProperties"):
            one.mapped(place)
        elif key in ("strict", "examples", "kind", "type", "name", "description"):
            one.dropped("answers are always checked against the schema", place)
    node.mapped(place, whole=node.is_list)
    return True


def _model(node: Node, draft: Draft) -> None:
    if node.is_text:
        node_id, connection, options, provider = node, node["connection"], node["options"], node["provider"]
    else:
        node_id, connection, options, provider = node["id"], node["connection"], node["options"], node["provider"]
    if not node_id:
        node_id.defaulted("no model is named: the configuration's defaultModel answers", draft.target("spec.model"))
        for one in (provider, connection):
            if one:
                one.manual("no model is named: write spec.model", draft.target("spec.model"))
        if options:
            options.manual("no model is named, so these have no place: write them as spec.model.parameters", draft)
        node["apiType"].dropped("no model is named", draft.target())
        node.dropped("no model is named", draft.target()) if node.present and not node.value else None
        return
    variable = env_variable(node_id)
    named = model_name(variable or known_text(node_id, draft))
    guessed, text = named[0], named[1]
    if provider:
        provider.to(draft, "spec.model.provider", provider_name(provider.text().partition(".")[0]))
        if "/" in node_id.text() and not variable:
            text = node_id.text()
    elif connection["endpoint"] and named[2] and connection["kind"].text().lower() in ("remote", "foundry"):
        draft.set("spec.model.provider", "azure")
        provider.defaulted("the model is one of an Azure project", draft.target("spec.model.provider"))
    else:
        draft.set("spec.model.provider", guessed)
        if named[2]:
            provider.defaulted("guessed from the model's name", draft.target("spec.model.provider"))
    draft.set("spec.model.name", text)
    if variable:
        node_id.manual(
            f"write the model that the environment variable {variable} names", draft.target("spec.model.name")
        )
    else:
        node_id.mapped(draft.target("spec.model.name"))
    node["apiType"].dropped("the provider's plugin knows which of its interfaces to use", draft.target("spec.model"))
    _connection(connection, draft)
    _options(options, draft)
    node.mapped(draft.target("spec.model"), whole=False)


def _connection(node: Node, draft: Draft) -> None:
    place = draft.target("spec.model")
    node["kind"].dropped("what the connection has says it", place)
    key = node["apiKey"] if node["apiKey"] else node["key"]
    if key:
        secret(key, draft, "spec.model.apiKey", str(draft.spec["model"]["provider"]), "API_KEY")
    endpoint = node["endpoint"]
    variable = env_variable(endpoint)
    if variable:
        endpoint.manual(
            f"write the address that the environment variable {variable} holds as apiBase, or leave it to the provider",
            draft.target("spec.model.apiBase"),
        )
    elif endpoint:
        endpoint.to(draft, "spec.model.apiBase")
    for name in ("name", "target"):
        if node[name]:
            node[name].manual("a connection of the project: write its address and key", place)
    for name in ("authenticationMode", "usageDescription", "authority"):
        node[name].dropped("how the provider's plugin logs in is its own affair", place)
    node.mapped(place, whole=False)


_OPTIONS = {
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "topK": "top_k",
    "allowMultipleToolCalls": "parallel_tool_calls",
    "additionalProperties": "",
}


def _options(node: Node, draft: Draft) -> None:
    place = draft.target("spec.model.parameters")
    for key, one in node.fields():
        if one.value is None:
            one.dropped("null: as if it were not there", place)
        elif key == "additionalProperties" and one.is_map:
            for name, inner in one.fields():
                inner.to(draft, ["spec", "model", "parameters", name])
            one.mapped(place, whole=False)
        elif key in ("chatToolMode", "toolMode"):
            mode = one.text().lower()
            known = {"auto": "auto", "none": "none", "required": "required", "requireany": "required"}.get(mode)
            if known:
                one.to(draft, "spec.toolChoice", known)
            else:
                one.manual(f"{one.text()!r}: write spec.toolChoice", draft.target("spec.toolChoice"))
        else:
            name = _OPTIONS.get(key) or next(iter(model_parameters({key: 0})))
            one.to(draft, ["spec", "model", "parameters", name])
    node.mapped(place, whole=False)
