"""ToolNode, ApiNode, and nodes of types that nobody here knows: steps that call a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.migration import cel_member
from kastra_plugin_agentspec.blocks import Block
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import Value, step_output
from kastra_plugin_agentspec.graph import FlowNode
from kastra_plugin_agentspec.http_tools import fill_http
from kastra_plugin_agentspec.maker import nothing
from kastra_plugin_agentspec.ports import object_schema, schema_of
from kastra_plugin_agentspec.tools import missing_tool, stand_in, tool_of

__all__ = ["put_missing", "put_request", "put_tool", "put_unknown"]


def put_tool(block: Block, one: FlowNode) -> None:
    block.common(one)
    node = one.node["tool"]
    if not node:
        one.node.problem(f"{one.component} lacks a tool")
        return
    found = block.maker.library.component(node, "tool")
    kept = found.kept if found is not None else {}
    if found is not None and "body" in kept:
        _kept_body(block, one, found)
        return
    reference = kept.get("reference")
    name = str(reference) if reference else tool_of(block.maker, node, block.draft, block.draft.name)
    if reference and found is not None:
        block.maker.marks(found, block.draft)
        block.maker.quiet(found, "name", "description", "inputs", "outputs", reason="stands for another resource")
    _outputs(block, one)
    step = block.add(one, {"tool": name}, arguments=block.templates(one))
    block.leave(one, step)


def _kept_body(block: Block, one: FlowNode, tool: Component) -> None:
    """A step that has no form in Agent Spec: an export wrote it as a tool of the host and noted what it is."""
    block.maker.marks(tool, block.draft)
    for field in ("name", "description", "inputs", "outputs", "requires_confirmation"):
        if not nothing(tool.field(field)):
            tool.field(field).dropped("a step of the workflow")
    body = tool.kept.get("body")
    step = block.add(one, {str(key): value for key, value in body.items()} if isinstance(body, Mapping) else {})
    if len(one.exits) > 1:
        block.choose(one, step, step_output(step["id"]), list(one.exits))
    else:
        block.leave(one, step)


def _outputs(block: Block, one: FlowNode) -> None:
    """Where the outputs of a tool are: of one the whole result, of several its fields."""
    if len(one.outputs) > 1:
        for port in one.outputs:
            text = cel_member(step_output(block.id_of(one)), port.title)
            block.values[id(one), port.title] = Value(text, schema=dict(port.schema))


def put_request(block: Block, one: FlowNode) -> None:
    maker, component = block.maker, one.component

    def fill(draft: Any) -> None:
        maker.common(component, draft)
        fill_http(maker, component, draft, one.inputs)

    tool = maker.resource(component, "Tool", fill, owner=block.draft.name)
    block.say(component.node["name"], one, "id")
    maker.quiet(component, "branches", reason="follow from the edges")
    whole = len(one.outputs) == 1 and (one.outputs[0].title == "response" or not one.outputs[0].schema.get("type"))
    for port in one.outputs if not whole else ():
        text = cel_member(step_output(block.id_of(one)), port.title)
        block.values[id(one), port.title] = Value(text, schema=dict(port.schema))
    step = block.add(one, {"tool": tool.name}, arguments=block.templates(one))
    block.leave(one, step)


def put_unknown(block: Block, one: FlowNode) -> None:
    """A node of a type that nobody here knows becomes a function to be written."""
    component = one.component
    result = schema_of(one.outputs)
    told = f"{component.type} is of a plug-in, of which only the name is known here"
    tool = stand_in(
        block.maker, component, told, schema=object_schema(one.inputs), result=result, owner=block.draft.name
    )
    block.say(component.node["name"], one, "id")
    _by_function(block, one, tool.name)


def put_missing(block: Block, one: FlowNode) -> None:
    _by_function(block, one, missing_tool(block.maker, one.component, "node", block.draft.name))


def _by_function(block: Block, one: FlowNode, tool: str) -> None:
    _outputs(block, one)
    step = block.add(one, {"tool": tool}, arguments=block.templates(one))
    if len(one.exits) < 2:
        block.leave(one, step)
        return
    told = (
        f"it has several branches: have the function answer {{branch: ...}} beside the outputs ({', '.join(one.exits)})"
    )
    one.node.manual(told, block.draft.target("spec.steps"))
    for port in one.outputs:
        text = cel_member(step_output(block.id_of(one)), port.title)
        block.values[id(one), port.title] = Value(text, schema=dict(port.schema))
    block.choose(one, step, cel_member(step_output(step["id"]), "branch"), list(one.exits))
