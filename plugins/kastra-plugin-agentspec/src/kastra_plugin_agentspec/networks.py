"""ManagerWorkers and Swarm as Network resources."""

from __future__ import annotations

from kastra_core.migration import Draft, Node
from kastra_plugin_agentspec.agents import agent_of, missing_agent, remote_agent
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.maker import Maker, nothing
from kastra_plugin_agentspec.models import put_model
from kastra_plugin_agentspec.tools import tool_of
from kastra_plugin_agentspec.vocabulary import AGENTS, REMOTE_AGENTS

__all__ = ["member_of", "network_of"]

_MANAGER = "the router decides as the manager would, and is told that the manager itself has the last word"
_FIRST = "the router decides with the model of the first agent, which answers what nobody else fits"
_HANDOFF = {
    "never": "Agents do not hand the conversation over: the agent that was asked first words the answer.",
    "optional": "",
    "always": "An agent that is chosen takes the conversation over and answers the user itself.",
}
_PORTS = "a network takes the message of a user and gives an answer"


def network_of(maker: Maker, component: Component, owner: str = "") -> Draft:
    """The Network that a ManagerWorkers or a Swarm becomes."""
    fill = _fill_manager if component.type == "ManagerWorkers" else _fill_swarm
    return maker.resource(component, "Network", lambda draft: fill(maker, component, draft), owner=owner)


def member_of(maker: Maker, component: Component, owner: str = "") -> tuple[str, str]:
    """(list of a network, name) of what an agentic component becomes."""
    if component.missing:
        return "tools", missing_agent(maker, component, owner)
    kept = component.kept
    if isinstance(kept.get("reference"), str):
        return str(kept.get("as") or "agents"), kept["reference"]
    if component.type in AGENTS:
        return "agents", agent_of(maker, component, owner).name
    if component.type == "Flow":
        from kastra_plugin_agentspec.flows import workflow_of

        return "workflows", workflow_of(maker, component, owner).name
    if component.type in ("ManagerWorkers", "Swarm"):
        return "networks", network_of(maker, component, owner).name
    return "tools", remote_agent(maker, component, owner).name


def _member(maker: Maker, node: Node, draft: Draft) -> tuple[str, str]:
    """Make the agentic component at a node a member of a draft."""
    component = maker.library.component(node, "agent")
    if component is None:
        return "", ""
    if component.node.path != node.path:
        maker.refer(node, draft)
    kept = component.kept
    if kept.get("router") or kept.get("members") or kept.get("reference"):
        maker.marks(component, draft)
        for name, item in component.node.fields():
            if name not in ("component_type", "id", "metadata", "tools", "llm_config", "system_prompt") and not nothing(
                item
            ):
                item.dropped("a part of the network")
    if kept.get("router"):
        return "router", ""
    if kept.get("members"):
        _tool_members(maker, component, draft)
        return "tools", ""
    listed, name = member_of(maker, component, draft.name)
    members = draft.spec.setdefault(listed, [])
    if name not in members:
        members.append(name)
    return listed, name


def _tool_members(maker: Maker, component: Component, draft: Draft) -> None:
    """The tools of an agent that an export made of a network's members."""
    for item in component.node["tools"].items():
        found = maker.library.component(item, "tool")
        if found is not None:
            kept = found.kept.get("reference")
            name = kept if isinstance(kept, str) else tool_of(maker, item, draft, draft.name)
            draft.spec.setdefault("tools", []).append(name)


def _router(maker: Maker, node: Node, draft: Draft) -> None:
    """The model of the agent at a node becomes the router's."""
    component = maker.library.component(node, "agent")
    while component is not None and component.type == "SpecializedAgent":
        component = maker.library.component(component.node["agent"], "agent")
    if component is None or component.missing or component.type in REMOTE_AGENTS:
        told = "the first one has no model of its own: the configuration's defaultModel chooses"
        node.defaulted(told, draft.target("spec.router.model"))
        return
    if component.type == "Agent":
        llm = component.field("llm_config")
        put_model(maker, llm[0] if llm.is_list and len(llm.items()) == 1 else llm, draft, "spec.router.model")
    else:
        first = component.node.first("group_manager", "first_agent")
        if first and component.type != "Flow":
            _router(maker, first, draft)


def _ports(maker: Maker, component: Component) -> None:
    maker.quiet(component, "inputs", "outputs", reason=_PORTS)


def _fill_manager(maker: Maker, component: Component, draft: Draft) -> None:
    node = component.node
    maker.common(component, draft)
    _ports(maker, component)
    manager, workers = node["group_manager"], node["workers"]
    if not manager:
        node.problem(f"{component} lacks group_manager")
    if not workers.items():
        (workers if workers.present else node).problem(f"{component} has no workers: an Agent would do")
    if not manager:
        return
    listed, name = _member(maker, manager, draft)
    for item in workers.items():
        found = maker.library.component(item, "agent")
        one = maker.library.component(manager, "agent")
        if found is not None and one is not None and found.place == one.place:
            item.problem("the manager is among its own workers")
            continue
        _member(maker, item, draft)
    if not listed:
        return
    _router(maker, manager, draft)
    base = maker.library.component(manager, "agent")
    if base is not None and base.type == "Agent":
        prompt = base.field("system_prompt")
        if prompt.is_text and prompt.value:
            prompt.to(draft, "spec.router.instructions", prompt.text(), reason=_MANAGER)
    if not name:
        return
    told = draft.get("spec.router.instructions", "").rstrip("\n")
    draft.set("spec.router.instructions", f"{told}\n\n{_last_word(name)}".strip())
    draft.set("spec.router.fallback", name)
    manager.defaulted(_MANAGER, draft.target("spec.router.fallback"))


def _last_word(name: str) -> str:
    """Workers report to the manager, and the manager answers the user."""
    return (
        f"The member {name} is you, with your tools. It has the last word: when other members have answered, "
        f"choose {name} with done true, to answer the user from what they found."
    )


def _fill_swarm(maker: Maker, component: Component, draft: Draft) -> None:
    node = component.node
    maker.common(component, draft)
    _ports(maker, component)
    first, pairs = node["first_agent"], node["relationships"]
    if not first:
        node.problem(f"{component} lacks first_agent")
        return
    if not pairs.items():
        (pairs if pairs.present else node).problem(f"{component} has no relationships: an Agent would do")
    _, name = _member(maker, first, draft)
    allowed: dict[str, list[str]] = {}
    for pair in pairs.items():
        if len(pair.items()) != 2:
            pair.problem("expected a list of two agents: who hands over, and to whom")
            continue
        giver, taker = (_member(maker, one, draft)[1] for one in pair.items())
        if taker not in allowed.setdefault(giver, []):
            allowed[giver].append(taker)
    if not name:
        return
    _router(maker, first, draft)
    draft.set("spec.router.fallback", name)
    first.defaulted(_FIRST, draft.target("spec.router.fallback"))
    lines = [f"Begin with {name}."]
    lines += [f"After {giver} may come: {', '.join(takers)}." for giver, takers in allowed.items()]
    more = _handoff(node["handoff"], draft)
    draft.set("spec.router.instructions", "\n".join([*lines, *([more] if more else [])]))
    if pairs.items():
        pairs.mapped(
            draft.target("spec.router.instructions"), "the router is told who may come after whom", whole=False
        )


def _handoff(node: Node, draft: Draft) -> str:
    if nothing(node):
        return ""
    word = (
        {True: "optional", False: "never"}.get(node.value, node.value) if isinstance(node.value, bool) else node.value
    )
    if word not in _HANDOFF:
        node.problem(f"expected one of {', '.join(_HANDOFF)}, true, false, found {node.value!r}")
        return ""
    node.mapped(draft.target("spec.router.instructions"), "told to the router in words")
    return _HANDOFF[word]
