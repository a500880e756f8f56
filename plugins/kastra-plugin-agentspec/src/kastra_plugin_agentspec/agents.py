"""Agents of all types as Agent resources, and agents that run elsewhere as Tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.maker import Maker, nothing
from kastra_plugin_agentspec.models import put_model
from kastra_plugin_agentspec.ports import Port, object_schema
from kastra_plugin_agentspec.tools import confirm, missing_tool, stand_in, tool_of, tools_of_box

__all__ = ["CHOICE", "agent_of", "answers_in_text", "bare_agent", "missing_agent", "remote_agent"]

CHOICE = "branch"
"""Field of an agent's answer that says on which branch a flow goes on."""
_HANDED = "no values are put into instructions: the steps of the workflow hand them over in their input"
_PROMPT = "no values are put into instructions: say them in the message ({names}), as the steps of a workflow here do"
_CACHE = "summaries are kept with the thread"
_ASKS = "an agent answers and waits for the next message; in a workflow it answers once"
_TOOL_FIELDS = ("tools", "toolboxes")


def agent_of(
    maker: Maker, component: Component, owner: str = "", branches: Sequence[str] = (), *, in_flow: bool = False
) -> Draft:
    """The Agent that an Agent or SpecializedAgent becomes.

    Args:
        owner: name of what uses it, for telling agents of one name apart.
        branches: of an AgentNode whose agent chooses one of them.
        in_flow: a step of a workflow asks it.
    """
    fill = _fill_special if component.type == "SpecializedAgent" else _fill

    def all_of_it(draft: Draft) -> None:
        fill(maker, component, draft, in_flow)
        if branches:
            _choose(draft, branches)

    variant = f"chooses {' '.join(branches)}" if branches else ""
    name = f"{component.name} {owner}" if branches else ""
    return maker.resource(component, "Agent", all_of_it, variant=variant, name=name, owner=owner)


def _fill(maker: Maker, component: Component, draft: Draft, in_flow: bool) -> None:
    maker.common(component, draft)
    _put_agent(maker, component, draft)
    inputs, outputs = maker.ports.of(component)
    _inputs(component, draft, inputs, in_flow)
    _outputs(component, draft, outputs)


def _put_agent(maker: Maker, component: Component, draft: Draft) -> None:
    node = component.node
    prompt = component.field("system_prompt")
    if not prompt.present:
        node.problem(f"{component} lacks system_prompt")
    if prompt.value in (None, ""):
        nothing(prompt)
    else:
        prompt.to(draft, "spec.instructions", prompt.text())
    llm = component.field("llm_config")
    put_model(maker, llm[0] if llm.is_list and len(llm.items()) == 1 else llm, draft)
    _tools(maker, node, draft)
    human = node["human_in_the_loop"]
    if not nothing(human):
        human.boolean()
        human.dropped(_ASKS)
    _transforms(maker, node["transforms"], draft)


def _tools(maker: Maker, node: Node, draft: Draft, *fields: str) -> None:
    names: list[str] = list(draft.get("spec.tools", []))
    for field in fields or _TOOL_FIELDS:
        listed = node[field]
        if nothing(listed):
            continue
        listed.list()
        for item in listed.items():
            if field == "toolboxes":
                names.extend(tools_of_box(maker, item, draft, draft.name))
            else:
                names.append(_one_tool(maker, item, draft))
    names = list(dict.fromkeys(name for name in names if name))
    if names:
        draft.set("spec.tools", names)


def _one_tool(maker: Maker, item: Node, draft: Draft) -> str:
    """A tool of an agent; drafts of the format have flows and agents there as well."""
    found = maker.library.component(item, "tool")
    if found is None:
        return ""
    if found.type in ("Agent", "SpecializedAgent") and not found.missing:
        maker.refer(item, draft)
        return f"agents/{agent_of(maker, found, draft.name).name}"
    if found.type == "Flow" and not found.missing:
        from kastra_plugin_agentspec.flows import workflow_of

        maker.refer(item, draft)
        return f"workflows/{workflow_of(maker, found, draft.name).name}"
    if found.kept.get("reference"):
        maker.marks(found, draft)
        maker.quiet(found, "name", "description", "inputs", "outputs", reason="stands for another resource")
        confirm(found.node["requires_confirmation"], draft)
        return str(found.kept["reference"])
    return tool_of(maker, item, draft, draft.name)


def _inputs(component: Component, draft: Draft, inputs: Sequence[Port], in_flow: bool) -> None:
    listed = component.field("inputs")
    if nothing(listed) or not inputs:
        return
    if in_flow:
        listed.dropped(_HANDED)
        return
    names = ", ".join(f'"{port.title}: ..."' for port in inputs)
    listed.manual(_PROMPT.format(names=names), draft.target("spec.instructions"))


def _outputs(component: Component, draft: Draft, outputs: Sequence[Port]) -> None:
    listed = component.field("outputs")
    if answers_in_text(component, outputs):
        listed.dropped("an agent answers with a text")
        return
    if outputs:
        draft.set("spec.output.schema", object_schema(outputs))
    if not nothing(listed):
        listed.mapped(draft.target("spec.output.schema"))


def answers_in_text(component: Component, outputs: Sequence[Port]) -> bool:
    """Whether the only output of an agent is the text of its answer, as exports write it for flows."""
    return bool(component.kept.get("text")) and len(outputs) == 1 and outputs[0].type == "string"


def _choose(draft: Draft, branches: Sequence[str]) -> None:
    """Have the agent say on which branch the flow goes on."""
    schema: JsonObject = draft.get("spec.output.schema") or {"type": "object", "properties": {}}
    properties = schema.setdefault("properties", {})
    if not properties:
        properties["answer"] = {"type": "string"}
    properties[CHOICE] = {"enum": list(branches), "description": "How to go on."}
    schema["required"] = [*schema.get("required", []), CHOICE]
    draft.set("spec.output.schema", schema)


def _transforms(maker: Maker, listed: Node, draft: Draft) -> None:
    if nothing(listed):
        return
    listed.list()
    for item in listed.items():
        found = maker.library.component(item, "transform")
        if found is None:
            continue
        if found.missing:
            item.manual(f"the transform {found.id!r} is not in these files", draft.target("spec.memory"))
        elif found.type == "ConversationSummarizationTransform":
            _summary(maker, found, draft)
        else:
            told = "single messages are not shortened; spec.memory.maxTokens bounds what the model is told of a thread"
            found.node.manual(told, draft.target("spec.memory"))
        if found.node.path != item.path:
            item.mapped(draft.target("spec.memory"))


def _summary(maker: Maker, component: Component, draft: Draft) -> None:
    node = component.node
    maker.marks(component, draft)
    maker.quiet(component, "name", "description", reason="a part of the agent")
    draft.set("spec.memory.type", "summary")
    if node["llm"]:
        put_model(maker, node["llm"], draft, "spec.memory.summary.model")
    if node["summarization_instructions"]:
        node["summarization_instructions"].to(draft, "spec.memory.summary.instructions")
    kept = node["min_num_messages"]
    if kept:
        kept.to(draft, "spec.memory.maxMessages", reason="so many of the last messages stay as they are")
    told = "what is before the last spec.memory.maxMessages messages is summarised"
    maker.quiet(component, "max_num_messages", "max_num_characters", reason=told)
    maker.quiet(component, "summarized_conversation_template", reason="the model is told that it is a summary")
    maker.quiet(component, "max_cache_size", "max_cache_lifetime", "cache_collection_name", reason=_CACHE)
    maker.quiet(component, "datastore", reason=_CACHE)


def _fill_special(maker: Maker, component: Component, draft: Draft, in_flow: bool) -> None:
    """A SpecializedAgent is the agent with more instructions and tools: one Agent."""
    node = component.node
    maker.common(component, draft)
    base = maker.library.component(node["agent"], "Agent")
    more = node["agent_specialization_parameters"]
    added = maker.library.component(more, "AgentSpecializationParameters", "AgentSpecializationParameters")
    inputs, outputs = maker.ports.of(component)
    for wanted, found in (("Agent", base), ("AgentSpecializationParameters", added)):
        if found is not None and not found.missing and found.type != wanted:
            found.node.problem(f"expected an {wanted}, found {found}")
            return
    if base is not None and base.missing:
        node["agent"].manual(f"the agent {base.id!r} is not in these files: write its fields into {draft.name}", draft)
    elif base is not None:
        maker.refer(node["agent"], draft)
        maker.marks(base, draft)
        base.node["name"].dropped(f"one agent of both: {draft.name}")
        described = base.node["description"]
        if not nothing(described):
            if draft.get("spec.description"):
                described.dropped("the specialized agent has its own")
            else:
                described.to(draft, "spec.description", described.text())
        _put_agent(maker, base, draft)
        for field in ("inputs", "outputs"):
            if not nothing(base.field(field)):
                base.field(field).dropped("declared again by the specialized agent")
    if added is not None and not added.missing:
        _add(maker, added, draft)
    _inputs(component, draft, inputs, in_flow)
    _outputs(component, draft, outputs)


def _add(maker: Maker, added: Component, draft: Draft) -> None:
    maker.marks(added, draft)
    maker.quiet(added, "name", "description", reason="a part of the specialized agent")
    maker.quiet(added, "inputs", "outputs", reason="declared again by the specialized agent")
    text = added.node["additional_instructions"]
    if not nothing(text):
        before = draft.get("spec.instructions", "")
        both = f"{before.rstrip()}\n\n{text.text()}" if before else text.text()
        text.to(draft, "spec.instructions", both, reason="added to those of the agent")
    _tools(maker, added.node, draft, "additional_tools")
    if not nothing(added.node["human_in_the_loop"]):
        added.node["human_in_the_loop"].dropped(_ASKS)


def bare_agent(
    maker: Maker, llm: Component, owner: str = "", schema: JsonObject | None = None, name: str = ""
) -> Draft:
    """An Agent that is a model and nothing else; with ``schema`` its answers are JSON.

    Args:
        name: of an agent with a schema.
    """

    def fill(draft: Draft) -> None:
        put_model(maker, llm.node, draft, named=schema is None)
        if schema is not None:
            draft.set("spec.output.schema", schema)

    variant = "" if schema is None else f"{name} {_digest(schema)}"
    return maker.resource(llm, "Agent", fill, variant=f"model {variant}", name=name, owner=owner)


def _digest(value: Any) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def remote_agent(maker: Maker, component: Component, owner: str = "") -> Draft:
    """A Tool that asks an agent which runs elsewhere."""
    inputs, outputs = maker.ports.of(component)
    ports = [*inputs, *([] if inputs else [Port(title="message", schema={"type": "string"})])]
    for _, item in component.node["connection_config"]["headers"].fields():
        if item.is_text:
            maker.report.hide(item.text())
    told = "an agent that runs elsewhere is called by a function"
    result = object_schema(outputs) if outputs else None
    return stand_in(maker, component, told, schema=object_schema(ports), result=result, owner=owner)


def missing_agent(maker: Maker, component: Component, owner: str = "") -> str:
    """A Tool in place of an agent that is in none of the files."""
    return missing_tool(maker, component, "agent", owner)
