"""Flow as Workflow: one block of steps in which edges are ``next`` and ``branch``, and data edges are templates."""

from __future__ import annotations

from collections.abc import Sequence

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, cel_member
from kastra_plugin_agentspec.blocks import BRANCH, Block, end_branches_of
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import Value
from kastra_plugin_agentspec.graph import FlowGraph
from kastra_plugin_agentspec.graph_reading import read_graph
from kastra_plugin_agentspec.maker import Maker, nothing
from kastra_plugin_agentspec.ports import Port, object_schema

__all__ = ["workflow_of"]


def workflow_of(maker: Maker, component: Component, owner: str = "") -> Draft:
    """The Workflow that a Flow becomes."""

    def fill(draft: Draft) -> None:
        maker.common(component, draft)
        graph = read_graph(maker, component, draft)
        if graph is not None:
            _fill(maker, component, draft, graph)

    return maker.resource(component, "Workflow", fill, owner=owner)


def _fill(maker: Maker, component: Component, draft: Draft, graph: FlowGraph) -> None:
    inputs, outputs = maker.ports.of(component)
    if inputs:
        draft.set("spec.inputSchema", object_schema(inputs))
    listed = component.field("inputs")
    if not nothing(listed):
        listed.mapped(draft.target("spec.inputSchema"))
    if outputs:
        draft.set("spec.outputSchema", _output_schema(maker, component, outputs))
    listed = component.field("outputs")
    if not nothing(listed):
        listed.mapped(draft.target("spec.outputSchema"))
    starts = {port.title: Value(cel_member("workflow.input", port.title), schema=dict(port.schema)) for port in inputs}
    block = Block(maker, component, draft, graph, starts)
    draft.set("spec.steps", block.steps())
    required = draft.get("spec.outputSchema.required", [])
    if block.loose.intersection(required):
        left = [title for title in required if title not in block.loose]
        draft.set("spec.outputSchema.required", left)


def _output_schema(maker: Maker, component: Component, outputs: Sequence[Port]) -> JsonObject:
    schema = object_schema(outputs)
    branches = end_branches_of(maker, component)
    if len(branches) > 1:
        schema["properties"][BRANCH] = {"enum": branches}
    return schema
