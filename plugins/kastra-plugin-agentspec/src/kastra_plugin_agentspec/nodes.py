"""What each type of node becomes in the steps of a workflow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from kastra_core.migration import cel_member
from kastra_core.serde import type_word
from kastra_plugin_agentspec.agent_nodes import put_agent_node
from kastra_plugin_agentspec.agents import bare_agent
from kastra_plugin_agentspec.blocks import BRANCH, Block, end_branches_of
from kastra_plugin_agentspec.branch_nodes import put_branching
from kastra_plugin_agentspec.expressions import Value, step_output, template
from kastra_plugin_agentspec.flow_nodes import put_catch, put_flow, put_flows, put_map_node
from kastra_plugin_agentspec.graph import CAUGHT_BRANCH, NEXT, FlowNode
from kastra_plugin_agentspec.maker import EMPTY, nothing
from kastra_plugin_agentspec.ports import object_schema
from kastra_plugin_agentspec.tool_nodes import put_missing, put_request, put_tool, put_unknown

__all__ = ["put_node"]


def put_node(block: Block, one: FlowNode) -> None:
    """Add the steps of a node to a block."""
    kept = one.component.kept
    if one.component.missing:
        put_missing(block, one)
    elif "aux" in kept or "block" in kept:
        block.maker.marks(one.component, block.draft)
    elif "wraps" in kept:
        _caught(block, one)
    elif isinstance(kept.get("body"), Mapping) and isinstance(kept.get("blocks"), list):
        _holder(block, one)
    else:
        _put(block, one)


def _holder(block: Block, one: FlowNode) -> None:
    """A step with blocks in it, as an export wrote it."""
    block.common(one)
    kept = one.component.kept
    step = block.add(one, copy.deepcopy(dict(kept["body"])))
    prefix = "iterated_" if one.type in ("MapNode", "ParallelMapNode") else ""
    for at, path in enumerate(kept["blocks"]):
        several = one.type == "ParallelFlowNode"
        steps = block.block_of(one, prefix, "subflows" if several else "subflow", at if several else -1)
        _set(step, path, steps)
    block.leave(one, step)


def _caught(block: Block, one: FlowNode) -> None:
    """A step that goes on after a failure, as an export wrote it: the step is within."""
    block.common(one)
    found = block.block_of(one)
    if not found:
        return
    step = {**found[0], "id": block.id_of(one)}
    block.done.append(step)
    caught = one.exits.get(CAUGHT_BRANCH)
    left = {branch: target for branch, target in one.exits.items() if branch != CAUGHT_BRANCH}
    block.leave(one, step, next(iter(left), ""))
    if caught is not None:
        step["onFailure"] = {"next": caught}


def _set(step: Any, path: Any, steps: list[dict[str, Any]]) -> None:
    """Put the steps of a block in its place; a place that holds an object takes a single one."""
    place = step
    for part in path[:-1] if isinstance(path, list) else ():
        if not _has(place, part):
            return
        place = place[part]
    if isinstance(path, list) and path and _has(place, path[-1]):
        single = isinstance(place[path[-1]], dict)
        place[path[-1]] = steps[0] if single and steps else steps


def _has(place: Any, part: Any) -> bool:
    if isinstance(place, dict):
        return isinstance(part, str) and part in place
    return isinstance(place, list) and isinstance(part, int) and -1 < part < len(place)


def _put(block: Block, one: FlowNode) -> None:
    _PUT.get(one.type, put_unknown)(block, one)


def _start(block: Block, one: FlowNode) -> None:
    block.maker.marks(one.component, block.draft)
    for field in ("name", "description", "inputs", "outputs", "branches"):
        listed = one.component.field(field)
        if field == "branches" and listed.value == [NEXT]:
            listed.defaulted(EMPTY)
        elif not nothing(listed):
            listed.dropped("a workflow begins without a step; its inputs are declared by the flow")


def _end(block: Block, one: FlowNode) -> None:
    block.common(one)
    branch = one.node["branch_name"]
    branches = end_branches_of(block.maker, block.flow)
    if block.part:
        if not nothing(branch):
            branch.dropped("a block ends in one way")
        return
    _, outputs = block.maker.ports.of(block.flow)
    out: dict[str, Any] = {}
    for port in outputs:
        own = next((held for held in one.inputs if held.title == port.title), None)
        if own is None:
            out[port.title] = port.default
            continue
        value, chosen = block.given(one, own), own if own.has_default else port
        if value.text or chosen.has_default:
            out[port.title] = template(value, chosen.default, has_default=chosen.has_default)
        else:
            block.lacks(one, own)
            block.loose.add(port.title)
    if len(branches) > 1:
        out[BRANCH] = branch.text() or "next"
        block.say(branch, one, f"succeed.{BRANCH}", "which way a workflow that calls this one goes on")
    elif branch.value == NEXT:
        branch.defaulted(EMPTY)
    elif not nothing(branch):
        branch.dropped("the only branch on which the flow ends")
    body: Any = out
    if not out:
        message = _last_message(block, one)
        body = f"{{{{ {step_output(block.id_of(message))} }}}}" if message is not None else {}
    block.add(one, {"succeed": body})


def _last_message(block: Block, one: FlowNode) -> FlowNode | None:
    """What was said last before a node, on every way to it."""
    before = [
        node for node in block.graph.order if node.type == "OutputMessageNode" and block.graph.always_before(node, one)
    ]
    return before[-1] if before else None


def _llm(block: Block, one: FlowNode) -> None:
    node = one.node
    block.common(one)
    field = one.component.field("llm_config")
    if not field:
        node.problem(f"{one.component} lacks llm_config")
        return
    field = field[0] if field.is_list and len(field.items()) == 1 else field
    llm = block.maker.library.component(field, "LLM configuration")
    text = one.component.field("prompt_template")
    if not text.is_text:
        (text if text.present else node).problem(f"expected prompt_template, a text, found {type_word(text.value)}")
        return
    if llm is None:
        return
    outputs = one.outputs
    is_text = len(outputs) == 1 and outputs[0].type == "string"
    schema = None if is_text else object_schema(outputs)
    agent = bare_agent(block.maker, llm, block.draft.name, schema, f"{one.component.name}" if schema else "")
    if llm.missing or llm.node.path != field.path:
        block.maker.refer(field, agent) if not llm.missing else None
    if schema is not None:
        one.component.field("outputs").mapped(agent.target("spec.output.schema"))
        for port in outputs:
            block.values[id(one), port.title] = Value(
                cel_member(step_output(block.id_of(one)), port.title), schema=dict(port.schema)
            )
    block.say(text, one, "input")
    step = block.add(one, {"agent": agent.name}, input=block.text(one, text.text()))
    block.leave(one, step)


def _ask(block: Block, one: FlowNode) -> None:
    block.common(one)
    message = one.node["message"]
    body: dict[str, Any] = {"schema": {"type": "string"}}
    if not nothing(message):
        block.say(message, one, "suspend.message")
        body = {"message": block.text(one, message.text()), **body}
    elif said := _said_right_before(block, one):
        # Of several the one that was said last: each publishes what it says.
        text = step_output(block.id_of(said[0])) if len(said) == 1 else cel_member("data", block.question_of(one))
        body = {"message": f"{{{{ {text} }}}}", **body}
    step = block.add(one, {"suspend": body})
    block.leave(one, step)


def _said_right_before(block: Block, one: FlowNode) -> list[FlowNode]:
    """The messages that a person is to answer: those that lead to a node, when nothing else does."""
    before = [node for node in block.graph.order if any(follower is one for follower in node.exits.values())]
    return before if all(node.type == "OutputMessageNode" for node in before) else []


def _tell(block: Block, one: FlowNode) -> None:
    block.common(one)
    message = one.node["message"]
    if not message:
        one.node.problem(f"{one.component} lacks a message")
    step = block.add(one, {"set": block.text(one, message.text())})
    told = "shown among the steps of the run"
    for follower in one.exits.values():
        if follower.type == "InputMessageNode" and not follower.node["message"].value:
            said = _said_right_before(block, follower)
            if said:
                told = f"{told}, and the question of the step that suspends next"
            if len(said) > 1:
                value = f"{{{{ {step_output(block.id_of(one))} }}}}"
                step = block.further(one, "asks", {"set": value, "output": {"type": block.question_of(follower)}})
    block.say(message, one, "set", told)
    block.leave(one, step)


_PUT: Mapping[str, Callable[[Block, FlowNode], None]] = {
    "AgentNode": put_agent_node,
    "ApiNode": put_request,
    "BranchingNode": put_branching,
    "CatchExceptionNode": put_catch,
    "EndNode": _end,
    "FlowNode": put_flow,
    "InputMessageNode": _ask,
    "LlmNode": _llm,
    "MapNode": put_map_node,
    "OutputMessageNode": _tell,
    "ParallelFlowNode": put_flows,
    "ParallelMapNode": put_map_node,
    "StartNode": _start,
    "ToolNode": put_tool,
}
