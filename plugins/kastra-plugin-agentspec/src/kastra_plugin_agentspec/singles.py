"""Nodes that stand alone in a file, as workflows of one step."""

from __future__ import annotations

from kastra_core.migration import Draft, cel_member
from kastra_plugin_agentspec.blocks import Block
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import Value
from kastra_plugin_agentspec.graph import FlowGraph, FlowNode, Source
from kastra_plugin_agentspec.maker import Maker
from kastra_plugin_agentspec.ports import Port, object_schema

__all__ = ["workflow_of_node"]


def workflow_of_node(maker: Maker, component: Component) -> str:
    """Make a workflow that carries out one node, with its inputs and its output. Return what rows call it."""
    if component.type in ("StartNode", "EndNode", "BranchingNode"):
        told = f"a {component.type} makes no resource without its flow"
        component.node.problem(told, "give the file of the flow as well")
        return ""

    def fill(draft: Draft) -> None:
        inputs, outputs = maker.ports.of(component)
        one = FlowNode(component=component, inputs=list(inputs), outputs=list(outputs))
        start = FlowNode(
            component=Component(node=component.node["-"], type="StartNode", id="", name="start"),
            inputs=list(inputs),
            outputs=list(inputs),
        )
        start.exits["next"] = one
        one.sources = {port.title: [Source(start, port, None)] for port in inputs}
        if inputs:
            draft.set("spec.inputSchema", object_schema(inputs))
        listed = component.field("inputs")
        if listed.value:
            listed.mapped(draft.target("spec.inputSchema"))
        starts = {port.title: _start(port) for port in inputs}
        flow = Component(node=component.node["-"], type="Flow", id="", name=component.name)
        draft.set("spec.steps", Block(maker, flow, draft, FlowGraph(start, [start, one]), starts).steps())
        component.node["name"].mapped(draft.target("metadata.name"))

    return maker.resource(component, "Workflow", fill, variant="alone").target()


def _start(port: Port) -> Value:
    return Value(cel_member("workflow.input", port.title), schema=dict(port.schema))
