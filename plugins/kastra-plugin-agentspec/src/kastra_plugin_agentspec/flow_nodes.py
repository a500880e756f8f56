"""Nodes with flows in them: FlowNode, CatchExceptionNode, MapNode, ParallelMapNode, ParallelFlowNode."""

from __future__ import annotations

from kastra_core.migration import Node, cel_member
from kastra_plugin_agentspec.blocks import BRANCH, Block, end_branches_of
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import Value, step_output
from kastra_plugin_agentspec.flows import workflow_of
from kastra_plugin_agentspec.graph import CAUGHT_BRANCH, FlowNode
from kastra_plugin_agentspec.maps import put_map, put_side_by_side
from kastra_plugin_agentspec.ports import CAUGHT
from kastra_plugin_agentspec.tools import missing_tool

__all__ = ["put_catch", "put_flow", "put_flows", "put_map_node"]


def _subflow(block: Block, one: FlowNode) -> tuple[Component | None, str]:
    """The flow of a node, and what its workflow is called."""
    node = one.node["subflow"]
    if not node:
        one.node.problem(f"{one.component} lacks a subflow")
        return None, ""
    found = block.maker.library.component(node, "Flow")
    if found is None:
        return None, ""
    if found.missing:
        return found, missing_tool(block.maker, found, "flow", block.draft.name)
    if found.type != "Flow":
        node.problem(f"expected a Flow, found {found}")
        return None, ""
    if found.node.path != node.path:
        block.say(node, one, "workflow")
    kept = found.kept.get("reference")
    return found, str(kept) if kept else workflow_of(block.maker, found, block.draft.name).name


def put_flow(block: Block, one: FlowNode) -> None:
    block.common(one)
    found, name = _subflow(block, one)
    if found is None:
        return
    _flow_outputs(block, one, found)
    body = {"tool": name, "arguments": block.templates(one)} if found.missing else {"workflow": name}
    step = block.add(one, body)
    if not found.missing:
        step["input"] = block.templates(one)
    branches = [] if found.missing else end_branches_of(block.maker, found)
    if len(branches) > 1:
        block.choose(one, step, cel_member(step_output(step["id"]), BRANCH), branches)
    else:
        block.leave(one, step)


def _flow_outputs(block: Block, one: FlowNode, found: Component) -> None:
    for port in one.outputs:
        text = cel_member(step_output(block.id_of(one)), port.title)
        block.values[id(one), port.title] = Value(text, schema=dict(port.schema))


def put_catch(block: Block, one: FlowNode) -> None:
    block.common(one)
    found, name = _subflow(block, one)
    if found is None:
        return
    _flow_outputs(block, one, found)
    result = {
        port.title: f"{{{{ {cel_member('result', port.title)} }}}}" for port in one.outputs if port.title != CAUGHT
    }
    branches = [] if found.missing else end_branches_of(block.maker, found)
    if len(branches) > 1:
        result[BRANCH] = f"{{{{ {cel_member('result', BRANCH)} }}}}"
    body = {"tool": name, "arguments": block.templates(one)} if found.missing else {"workflow": name}
    step = block.add(one, body)
    if not found.missing:
        step["input"] = block.templates(one)
    step["output"] = {**result, CAUGHT: None}
    caught = one.exits.get(CAUGHT_BRANCH)
    defaults = {port.title: port.default for port in one.outputs if port.title != CAUGHT}
    if caught is not None:
        step["onFailure"] = {"output": {**defaults, CAUGHT: "{{ error.message }}"}, "next": caught}
        for port in one.outputs:
            if port.node is not None and port.title != CAUGHT and port.has_default:
                block.say(port.node["default"], one, "onFailure.output")
    else:
        told = "no edge leads on from caught_exception_branch, so a failure is one of the workflow"
        block.say(one.node["component_type"], one, "onFailure", told, outcome="manual")
    if caught is not None and block.publishes(one):
        step["onFailure"].pop("next")
        failed = f"{cel_member(step_output(step['id']), CAUGHT)} != null"
        block.publish(one, step)
        rest = one.exits.get(branches[0]) if branches else None
        block.further(
            one,
            "way",
            {"branch": {"cases": [{"name": "caught", "when": failed, "next": caught}], "default": rest or caught}},
        )
    elif len(branches) > 1:
        block.choose(one, step, cel_member(step_output(step["id"]), BRANCH), branches)
    else:
        left = {branch: target for branch, target in one.exits.items() if branch != CAUGHT_BRANCH}
        block.leave(one, step, next(iter(left), ""))


def put_map_node(block: Block, one: FlowNode) -> None:
    block.common(one)
    found, name = _part_or_subflow(block, one, one.node["subflow"])
    if found is not None:
        put_map(block, one, found, name)


def put_flows(block: Block, one: FlowNode) -> None:
    block.common(one)
    flows = []
    for item in one.node["subflows"].items():
        found = block.maker.library.component(item, "Flow")
        if found is None:
            continue
        if found.missing:
            flows.append((found, missing_tool(block.maker, found, "flow", block.draft.name)))
            continue
        if found.type != "Flow":
            item.problem(f"expected a Flow, found {found}")
            continue
        if found.node.path != item.path:
            block.say(item, one, "parallel")
        kept = found.kept.get("part")
        flows.append((found, "" if kept else workflow_of(block.maker, found, block.draft.name).name))
    if not flows:
        (one.node["subflows"] if one.node["subflows"].present else one.node).problem(f"{one.component} has no flows")
        return
    put_side_by_side(block, one, flows)


def _part_or_subflow(block: Block, one: FlowNode, node: Node) -> tuple[Component | None, str]:
    found = block.maker.library.component(node, "Flow") if node else None
    if found is not None and found.kept.get("part"):
        return found, ""
    return _subflow(block, one)
