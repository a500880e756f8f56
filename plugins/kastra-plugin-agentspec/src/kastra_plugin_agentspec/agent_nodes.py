"""AgentNode: a step that asks an agent, a network, a workflow or an agent that runs elsewhere."""

from __future__ import annotations

from typing import Any

from kastra_core.migration import cel_member
from kastra_plugin_agentspec.agents import CHOICE, agent_of, answers_in_text, missing_agent, remote_agent
from kastra_plugin_agentspec.blocks import BRANCH, Block, end_branches_of
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import Value, step_output
from kastra_plugin_agentspec.flows import workflow_of
from kastra_plugin_agentspec.graph import NEXT, FlowNode
from kastra_plugin_agentspec.maker import nothing
from kastra_plugin_agentspec.networks import network_of
from kastra_plugin_agentspec.ports import object_schema
from kastra_plugin_agentspec.vocabulary import AGENTS, REMOTE_AGENTS

__all__ = ["put_agent_node"]

_SAID = "an agent here sees what the step hands over, not the conversation of the flow: its messages are handed over"


def put_agent_node(block: Block, one: FlowNode) -> None:
    """Add the step of an AgentNode to a block."""
    block.common(one)
    field = one.node["agent"]
    field = field[0] if field.is_list and len(field.items()) == 1 else field
    if not field:
        one.node.problem(f"{one.component} lacks an agent")
        return
    found = block.maker.library.component(field, "agent")
    if found is None:
        return
    if found.node.path != field.path and not found.missing:
        block.say(field, one, "agent")
    owner = block.draft.name
    if found.missing:
        _call(block, one, missing_agent(block.maker, found, owner))
    elif found.kept.get("reference"):
        _referred(block, one, found)
    elif found.type in AGENTS:
        _agent(block, one, found)
    elif found.type == "Flow":
        _flow(block, one, found)
    elif found.type in ("ManagerWorkers", "Swarm"):
        _fields(block, one)
        step = block.add(one, {"network": network_of(block.maker, found, owner).name})
        step["input"] = _message(block, one) or found.name
        block.leave(one, step)
    elif found.type in REMOTE_AGENTS:
        _call(block, one, remote_agent(block.maker, found, owner).name)
    else:
        told = f"{found.type} is of a plug-in, of which only the name is known here"
        from kastra_plugin_agentspec.tools import stand_in

        _call(block, one, stand_in(block.maker, found, told, schema=object_schema(one.inputs), owner=owner).name)


def _agent(block: Block, one: FlowNode, found: Component) -> None:
    if found.type == "SpecializedAgent" and found.kept.get("part"):
        _with_prompt(block, one, found)
        return
    given = one.node["branches"].value
    branches = [text for text in given if isinstance(text, str)] if isinstance(given, list) else []
    chooses = len(branches) > 1 or (branches not in ([], [NEXT]))
    owner = f"{block.draft.name} {one.component.name}" if chooses else block.draft.name
    draft = agent_of(block.maker, found, owner, branches if chooses else (), in_flow=True)
    if not answers_in_text(found, block.maker.ports.of(found)[1]):
        _fields(block, one)
    step = block.add(one, {"agent": draft.name}, input=_message(block, one))
    if chooses:
        listed = one.node["branches"]
        listed.mapped(draft.target("spec.output.schema"), "the agent chooses one of them")
        block.choose(one, step, cel_member(step_output(step["id"]), CHOICE), branches)
    else:
        block.leave(one, step)


def _with_prompt(block: Block, one: FlowNode, found: Component) -> None:
    """An agent with the prompt of a step, as an export writes it."""
    library = block.maker.library
    base = library.component(found.node["agent"], "agent")
    added = library.component(found.node["agent_specialization_parameters"], "AgentSpecializationParameters")
    if base is None or added is None:
        return
    block.maker.marks(found, block.draft)
    block.maker.marks(added, block.draft)
    for component in (found, added):
        block.maker.quiet(component, "name", "description", "inputs", "outputs", reason="a part of the step")
    text = added.node["additional_instructions"]
    block.say(text, one, "input")
    body: dict[str, Any]
    if base.missing:
        body = {"agent": base.id}
    elif base.kept.get("reference"):
        body = {"agent": base.kept["reference"]}
    else:
        block.maker.refer(found.node["agent"], block.draft)
        body = {"agent": agent_of(block.maker, base, block.draft.name, in_flow=True).name}
        if not answers_in_text(base, block.maker.ports.of(base)[1]):
            _fields(block, one)
    step = block.add(one, body, input=block.text(one, text.text()))
    block.leave(one, step)


def _referred(block: Block, one: FlowNode, found: Component) -> None:
    """Stands for a resource that was not exported with the workflow."""
    block.maker.marks(found, block.draft)
    for name, item in found.node.fields():
        if name not in ("component_type", "id", "metadata", "agentspec_version") and not nothing(item):
            item.dropped("stands for another resource")
    body = {str(found.kept.get("as") or "agent"): found.kept["reference"]}
    step = block.add(one, body, input=_message(block, one))
    block.leave(one, step)


def _flow(block: Block, one: FlowNode, found: Component) -> None:
    _fields(block, one)
    step = block.add(one, {"workflow": workflow_of(block.maker, found, block.draft.name).name})
    step["input"] = block.templates(one)
    branches = end_branches_of(block.maker, found)
    if len(branches) > 1 and len(one.exits) > 1:
        block.choose(one, step, cel_member(step_output(step["id"]), BRANCH), branches)
    else:
        block.leave(one, step)


def _call(block: Block, one: FlowNode, tool: str) -> None:
    """A step that calls the Tool in place of an agent that runs elsewhere."""
    if len(one.outputs) > 1:
        _fields(block, one)
    arguments = block.templates(one)
    if not one.inputs:
        arguments = {"message": _message(block, one) or one.component.name}
    block.leave(one, block.add(one, {"tool": tool}, arguments=arguments))


def _fields(block: Block, one: FlowNode) -> None:
    for port in one.outputs:
        text = cel_member(step_output(block.id_of(one)), port.title)
        block.values[id(one), port.title] = Value(text, schema=dict(port.schema))


def _message(block: Block, one: FlowNode) -> Any:
    """What an agent is told: its inputs by name; without inputs what was said before in the flow."""
    if one.inputs:
        named = [f"{port.title}: {{{{{port.title}}}}}" for port in one.inputs if _known(block, one, port)]
        return block.text(one, "\n".join(named))
    lines = _conversation(block, one)
    if lines:
        one.node["agent"].manual(_SAID, block.draft.target("spec.steps")) if len(lines) > 1 else None
        return "\n".join(lines)
    first = not block.maker.ports.of(block.flow)[0] and not block.part
    return {"type": "user-input"} if first and len(block.done) == 0 else None


def _known(block: Block, one: FlowNode, port: Any) -> bool:
    known = bool(block.given(one, port).text) or port.has_default
    if not known:
        block.lacks(one, port)
    return known


def _conversation(block: Block, one: FlowNode) -> list[str]:
    """The messages that were said on every way to a node, in order."""
    lines = []
    for other in block.graph.order:
        if not block.graph.always_before(other, one):
            continue
        if other.type == "OutputMessageNode":
            lines.append(f"Assistant: {{{{ {step_output(block.id_of(other))} }}}}")
        elif other.type == "InputMessageNode":
            asked = other.node["message"]
            if asked.is_text and asked.value:
                lines.append(f"Assistant: {block.text(other, asked.text())}")
            lines.append(f"User: {{{{ {step_output(block.id_of(other))} }}}}")
    if len(lines) == 1 and lines[0].startswith("User: "):
        return [lines[0].removeprefix("User: ")]
    return lines
