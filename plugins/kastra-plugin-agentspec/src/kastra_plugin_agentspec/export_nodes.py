"""What each body of a step becomes: a node, where Agent Spec has one; else a tool that the host has to supply."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_plugin_agentspec.components import REF
from kastra_plugin_agentspec.export_agents import agent_inputs
from kastra_plugin_agentspec.export_blocks import write_branch, write_caught, write_foreach, write_loop, write_parallel
from kastra_plugin_agentspec.export_book import Exported, reference_text
from kastra_plugin_agentspec.export_flows import BODIES, FlowWriter
from kastra_plugin_agentspec.export_models import llm_of
from kastra_plugin_agentspec.export_schema import RESULT, is_title
from kastra_plugin_agentspec.export_tools import stand_in_tool
from kastra_plugin_agentspec.export_values import expressions_in, place_of_text, texts_in, whole_expression

__all__ = ["write_step"]

_CHILDREN = {"agent": "Agent", "workflow": "Workflow", "network": "Network", "tool": "Tool"}


def write_step(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """Write the node of a step, and where it leads."""
    body = next((name for name in BODIES if name in step), "")
    if "onFailure" in step and body not in ("succeed", "branch"):
        write_caught(flow, step)
    elif body == "branch":
        write_branch(flow, step)
    elif body == "parallel":
        write_parallel(flow, step)
    elif body == "foreach":
        write_foreach(flow, step)
    elif body == "loop":
        write_loop(flow, step)
    elif body == "succeed" and flow.outer is None:
        _end(flow, step)
    elif body in _CHILDREN:
        _call(flow, step, body)
    elif body == "suspend":
        _ask(flow, step)
    elif body == "set" and _is_message(flow, step):
        _message(flow, step, "OutputMessageNode", step["set"])
    else:
        _host(flow, step, body)


def _begin(flow: FlowWriter, step: Mapping[str, Any], kind: str, **fields: Any) -> JsonObject:
    node = flow.add(kind, step["id"], **fields)
    if isinstance(step.get("description"), str):
        node["description"] = step["description"]
    flow.step_nodes[step["id"]] = node
    flow.entries[step["id"]] = node["id"]
    return node


def _lead_on(flow: FlowWriter, step: Mapping[str, Any], node: JsonObject) -> None:
    flow.links.append((node["id"], None, flow.follower(step)))


def _end(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    node = _begin(flow, step, "EndNode", branch_name="next")
    flow.ends.append(node)
    value = step["succeed"]
    titles = [port["title"] for port in flow.outputs]
    if isinstance(value, Mapping):
        for title in titles:
            if title in value:
                flow.wire(node, title, value[title])
    else:
        flow.wire(node, titles[0], value)


# ----------------------------------------------------------------------------------------------- calls of resources


def _call(flow: FlowWriter, step: Mapping[str, Any], body: str) -> None:
    kind = _CHILDREN[body]
    found = flow.book.find(step[body], kind, flow.one.namespace)
    reference = flow.book.refer(flow.owner, found) if found is not None else None
    if body == "tool":
        _tool(flow, step, reference, found)
    elif body == "workflow" and reference is not None:
        component = flow.book.components[reference[REF]]
        node = _begin(flow, step, "FlowNode", subflow=reference)
        node["inputs"] = [{"title": port["title"]} for port in component["inputs"]]
        node["outputs"] = copy.deepcopy(component["outputs"])
        _given(flow, step, node)
        _lead_on(flow, step, node)
    elif body == "workflow":
        _tool(flow, step, None, None, {"workflow": step[body]})
    elif body == "network" or reference is None:
        agent: JsonObject = reference if reference is not None else _stand_in_agent(flow, step, body)
        node = _begin(flow, step, "AgentNode", agent=agent)
        component = flow.book.components[reference[REF]] if reference is not None else agent
        node["outputs"] = copy.deepcopy(component["outputs"])
        _lead_on(flow, step, node)
    else:
        _agent(flow, step, reference)


def _stand_in_agent(flow: FlowWriter, step: Mapping[str, Any], body: str) -> JsonObject:
    """An agent in place of a resource that is not exported."""
    text = reference_text(step[body])
    ident = f"{flow.ident}/{step['id']}/agent"
    return {
        "component_type": "Agent",
        "id": ident,
        "name": text or step["id"],
        "metadata": {"kastra": {"reference": text, "as": body}},
        "inputs": [],
        "outputs": [{"title": RESULT, "type": "string"}],
        "llm_config": llm_of(None, ident),
        "system_prompt": "",
    }


def _agent(flow: FlowWriter, step: Mapping[str, Any], reference: JsonObject) -> None:
    """An agent with the prompt of the step: a SpecializedAgent, whose instructions say what is wanted."""
    base = flow.book.components[reference[REF]]
    ident = f"{flow.ident}/{step['id']}"
    node = _begin(flow, step, "AgentNode")
    node["outputs"] = copy.deepcopy(base["outputs"])
    text, values = _prompt(flow, step)
    inputs = [*agent_inputs(text), *copy.deepcopy(base["inputs"])]
    inputs = list({port["title"]: port for port in reversed(inputs)}.values())[::-1]
    node["inputs"] = [{"title": port["title"], "default": ""} for port in inputs]
    parameters: JsonObject = {
        "component_type": "AgentSpecializationParameters",
        "id": f"{ident}/prompt",
        "name": f"prompt of {step['id']}",
        "inputs": agent_inputs(text),
        "outputs": [],
        "additional_instructions": text,
    }
    node["agent"] = {
        "component_type": "SpecializedAgent",
        "id": f"{ident}/agent",
        "name": base["name"],
        "metadata": {"kastra": {"part": "prompt"}},
        "inputs": copy.deepcopy(inputs),
        "outputs": copy.deepcopy(base["outputs"]),
        "agent": reference,
        "agent_specialization_parameters": parameters,
    }
    for title, template in values.items():
        flow.wire(node, title, template)
    _lead_on(flow, step, node)


def _prompt(flow: FlowWriter, step: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """What an agent is asked, with placeholders, and what they stand for."""
    given = step.get("input", _previous(flow, step))
    if given is None:
        return "", {}
    if isinstance(given, Mapping) and given.keys() <= {"type", "from", "description"}:
        source = given.get("from", given.get("type"))
        given = "{{ workflow.input }}" if source == "user-input" else "{{ data }}"
    if not isinstance(given, str):
        import orjson

        given = orjson.dumps(given).decode() if _is_json(given) else ""
    return _placeholders(given)


def _placeholders(text: str) -> tuple[str, dict[str, str]]:
    """A template with names in place of its expressions: the text, and name -> expression in braces."""
    out: list[str] = []
    values: dict[str, str] = {}
    at = 0
    for found in expressions_in(text):
        expression = found[1].strip()
        name = next((held for held, said in values.items() if said == f"{{{{ {expression} }}}}"), "")
        if not name:
            place = place_of_text(expression)
            words = (place.field or place.step or place.root) if place is not None else "value"
            plain = re.sub(r"\W+", "_", words).strip("_") or "value"
            name, number = plain, 1
            while name in values or not is_title(name):
                number += 1
                name = f"{plain}_{number}"
            values[name] = f"{{{{ {expression} }}}}"
        out += [text[at : found.start()], f"{{{{{name}}}}}"]
        at = found.end()
    return "".join([*out, text[at:]]), values


def _previous(flow: FlowWriter, step: Mapping[str, Any]) -> Any:
    """The template of what a step gets that says nothing: the output of the step before it in the list."""
    at = flow.order.index(step["id"])
    if at == 0:
        return "{{ workflow.input }}" if flow.outer is None else None
    return f'{{{{ steps["{flow.order[at - 1]}"].output }}}}'


def _is_json(value: Any) -> bool:
    return isinstance(value, (Mapping, list, int, float, bool))


def _tool(
    flow: FlowWriter,
    step: Mapping[str, Any],
    reference: JsonObject | None,
    found: Exported | None,
    body: JsonObject | None = None,
) -> None:
    """A step with a tool; with ``body`` one that calls what is not exported."""
    node = _begin(flow, step, "ToolNode")
    if reference is not None and found is not None:
        component = flow.book.components[reference[REF]]
        node["tool"] = reference
        node["inputs"] = [
            {key: port[key] for key in ("title", "default") if key in port} for port in component["inputs"]
        ]
        node["outputs"] = copy.deepcopy(component["outputs"])
        _given(flow, step, node)
    else:
        text = reference_text(step.get("tool", step.get("workflow")))
        tool = stand_in_tool(f"{flow.ident}/{step['id']}", text or step["id"], text)
        tool["inputs"] = []
        tool["outputs"] = [{"title": RESULT}]
        if body is not None:
            tool["metadata"]["kastra"] = {"body": body}
        node["tool"] = tool
        node["outputs"] = [{"title": RESULT}]
    _lead_on(flow, step, node)


def _given(flow: FlowWriter, step: Mapping[str, Any], node: JsonObject) -> None:
    """Connect the inputs of a tool or a flow with what the step gives."""
    given = step.get("arguments", step.get("input"))
    if isinstance(given, Mapping):
        for port in node["inputs"]:
            if port["title"] in given:
                flow.wire(node, port["title"], given[port["title"]])
    else:
        for port in node["inputs"] if len(node["inputs"]) == 1 else ():
            flow.wire(node, port["title"], given if given is not None else _previous(flow, step))


# ------------------------------------------------------------------------------------- messages, tools of the host


def _ask(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    held = step["suspend"]
    message = held.get("message") if isinstance(held, Mapping) else None
    _message(flow, step, "InputMessageNode", message if isinstance(message, str) and message else None)


def _message(flow: FlowWriter, step: Mapping[str, Any], kind: str, message: str | None) -> None:
    node = _begin(flow, step, kind)
    if kind == "InputMessageNode":
        node["outputs"] = [{"title": "user_input", "type": "string"}]
    if message is not None:
        text, values = _placeholders(message)
        node["message"] = text
        node["inputs"] = [{**port, "default": ""} for port in agent_inputs(text)]
        for title, template in values.items():
            flow.wire(node, title, template)
    _lead_on(flow, step, node)


def _is_message(flow: FlowWriter, step: Mapping[str, Any]) -> bool:
    """Whether a step only shows a text: nobody uses what it gives."""
    text = step["set"]
    if not isinstance(text, str) or whole_expression(text) is not None or not text.strip():
        return False
    follower = flow.follower(step)
    after = flow.steps.get(follower)
    explicit = after is not None and any(
        key in after for key in ("input", "arguments", "succeed", "set", "suspend", "fail")
    )
    named = re.compile(rf"\b{re.escape(step['id'])}\b")
    others = [held for held in flow.one.spec.get("steps") or () if held is not step]
    used = any(named.search(text) for text in texts_in([*others, flow.one.spec.get("output")]) if "{{" in text)
    conditions = any("when" in str(held) and named.search(str(held)) for held in others)
    return explicit and not used and not conditions


def _host(flow: FlowWriter, step: Mapping[str, Any], body: str) -> None:
    """A step without a form of its own."""
    node = _begin(flow, step, "ToolNode")
    node["outputs"] = [{"title": RESULT}]
    values: dict[str, str] = {}
    held = [step.get(body), step.get("input"), step.get("arguments")]
    for text in texts_in(held):
        for found in expressions_in(text):
            _, names = _placeholders(found[0])
            for name, expression in names.items():
                title = name if name not in values or values[name] == expression else f"{name}_{len(values)}"
                if place_of_text(found[1]) is not None:
                    values[title] = expression
    node["inputs"] = [{"title": title} for title in values]
    node["tool"] = {
        "component_type": "ServerTool",
        "id": f"{flow.ident}/{step['id']}/tool",
        "name": f"{body or 'step'}_{step['id']}",
        "description": f"The step {step['id']} of {flow.one.name}: {body}.",
        "metadata": {"kastra": {"body": {body: copy.deepcopy(step.get(body))} if body else {}}},
        "inputs": [{"title": title} for title in values],
        "outputs": [{"title": RESULT}],
    }
    for title, template in values.items():
        flow.wire(node, title, template)
    _lead_on(flow, step, node)
