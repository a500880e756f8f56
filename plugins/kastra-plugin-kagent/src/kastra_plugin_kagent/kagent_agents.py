"""kagent's agents: Agent (v1alpha1, v1alpha2), SandboxAgent, AgentTemplate."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kastra_core.migration import Draft, Node
from kastra_plugin_kagent.context import Context
from kastra_plugin_kagent.kagent_memory import migrate_memory
from kastra_plugin_kagent.kagent_prompts import migrate_prompt
from kastra_plugin_kagent.kagent_tools import migrate_tools, tool_names
from kastra_plugin_kagent.model_parts import ModelParts
from kastra_plugin_kagent.pods import env_rows, migrate_container, pod_rows
from kastra_plugin_kagent.things import Thing
from kastra_plugin_kagent.tools import ToolMaker

__all__ = ["AGENT_KINDS", "Agents", "is_container"]

AGENT_KINDS = ("Agent", "SandboxAgent", "AgentTemplate")
_DEFAULT_MODEL = "default-model-config"
"""What kagent takes where an agent names no model."""
_RUNTIME_CALLS = "kagent's runtime stops a run after 500 calls of models"
"""The default of ADK, which kagent runs its agents with."""
_CARD = "about the agent's A2A card and its place in kagent's pages"
_DROPPED = {
    "allowedNamespaces": "agents of all namespaces may call it here",
    "documentationUrl": _CARD,
    "executeCodeBlocks": "off, as here",
    "framework": "kagent's runtime; here it is Kastra",
    "iconUrl": _CARD,
    "imageRegistry": "about the agent's pod; Kastra starts no pods",
    "provider": _CARD,
    "runtime": "kagent's runtime; here it is Kastra",
    "shareTools": "conversations are shared by nobody here",
    "stream": "who asks says whether the answer is streamed",
    "substrate": "about the agent's pod; Kastra starts no pods",
    "version": _CARD,
}
_PARTS = ("declarative", "byo", "config", "card")
_HANDLED = frozenset(
    {
        "a2aConfig",
        "context",
        "deployment",
        "description",
        "env",
        "memory",
        "modelConfig",
        "modelConfigName",
        "modelConfigRef",
        "plugins",
        "promptTemplate",
        "sandbox",
        "skills",
        "systemMessage",
        "systemMessageFrom",
        "systemPrompt",
        "systemPromptFrom",
        "tools",
        "type",
    }
)


def is_container(thing: Thing) -> bool:
    """Whether an agent is an image of its own ("bring your own")."""
    spec = thing.node["spec"]
    word = spec["type"].value
    return word == "BYO" or (word is None and bool(spec["byo"]) and not spec["declarative"])


@attrs.define(eq=False)
class Agents:
    """Migrates agents.

    Args:
        models: gives the model of a ModelConfig's name.
    """

    ctx: Context
    maker: ToolMaker
    models: Callable[[str, str, Thing], ModelParts | None]
    drafts: dict[int, Draft] = attrs.field(factory=dict)
    """Id of an object -> what it becomes."""
    turns_told: set[str] = attrs.field(factory=set)
    """Files with a row for the number of turns."""

    def begin(self) -> None:
        """Give all agents their names, so that they can refer to each other."""
        for thing in self.ctx.things.own(*AGENT_KINDS):
            self.drafts[id(thing)] = self.ctx.draft("Tool" if is_container(thing) else "Agent", thing)

    def migrate(self, thing: Thing) -> None:
        """Fill what an agent becomes."""
        draft = self.drafts[id(thing)]
        spec = thing.node["spec"]
        if not spec.is_map:
            thing.node.problem("expected spec, an object")
            return
        self.ctx.envelope(thing, draft)
        word = spec["type"].text("Declarative")
        if word not in ("Declarative", "BYO"):
            spec["type"].problem(f"expected one of Declarative, BYO, found string {word!r}")
        spec["type"].mapped(draft)
        if is_container(thing):
            migrate_container(self.ctx, thing, draft, spec, _DROPPED)
            return
        _must_say_something(thing, spec)
        places = [spec, *(spec[part] for part in _PARTS if spec[part].is_map)]
        for part in _PARTS:
            if spec[part].present and not spec[part].value:
                spec[part].dropped("it is empty")
        self._description(thing, draft, places)
        names = [name for place in places for name in tool_names(place["tools"])]
        for place in places:
            migrate_prompt(self.ctx, thing, draft, place, places, names)
        self._model(thing, draft, spec, places)
        for place in places:
            if place["tools"].value:
                migrate_tools(self, thing, draft, place["tools"])
            elif place["tools"].present:
                place["tools"].dropped("the agent has no tools")
            self._rest(thing, draft, place, spec)
        self._tell_turns(draft, places)
        migrate_memory(self, thing, draft, places)

    # ------------------------------------------------------------------------------------------------ parts

    def _tell_turns(self, draft: Draft, places: list[Node]) -> None:
        """One row a file for all agents that may need many turns: kagent has no field for their number."""
        file = places[0].document.file
        if not draft.spec.get("tools") or file in self.turns_told:
            return
        self.turns_told.add(file)
        tools = next(place["tools"] for place in places if place["tools"].value)
        told = f"{_RUNTIME_CALLS}; here an agent stops after 25 turns unless spec.limits.maxSteps says more"
        # Not whole: what stands below the key and is known to nobody still gets its row.
        self.ctx.report.cover(tools, "defaulted", told, draft.target("spec.limits"), whole=False)

    def _model(self, thing: Thing, draft: Draft, spec: Node, places: list[Node]) -> None:
        nodes = [
            place[key] for place in places for key in ("modelConfig", "modelConfigRef", "modelConfigName") if place[key]
        ]
        node = nodes[0] if nodes else spec["modelConfig"]
        named = node["name"] if node.is_map else node
        name = named.text(_DEFAULT_MODEL)
        parts = self.model_of(thing, name)
        if parts is not None:
            parts.put(draft)
            if nodes:
                named.mapped(draft.target("spec.model"), f"that of {parts.thing.shown}", whole=True)
        elif nodes and name != _DEFAULT_MODEL:
            named.manual(
                f"there is no ModelConfig {name} here: migrate its file together with this one, or write spec.model; "
                "until then the configuration's defaultModel answers",
                draft.target("spec.model"),
            )
        else:
            named.defaulted(
                "the cluster's default; here the configuration's defaultModel answers", draft.target("spec.model")
            )
        for place in places:
            if parts is not None:
                place["temperature"].to(draft, "spec.model.parameters.temperature")
            elif place["temperature"]:
                told = "write it into spec.model.parameters.temperature together with the model"
                place["temperature"].manual(told, draft)

    def model_of(self, thing: Thing, name: str) -> ModelParts | None:
        """The model of "name" or "namespace/name"."""
        namespace, slash, last = name.rpartition("/")
        return self.models(last, namespace if slash else thing.namespace, thing)

    def _description(self, thing: Thing, draft: Draft, places: list[Node]) -> None:
        nodes = [place["description"] for place in places if place["description"]]
        text = nodes[0].text() if nodes else ""
        skills = [skill for place in places for skill in place["a2aConfig"]["skills"].items()]
        if skills:
            text = f"{text}\nSkills:\n".lstrip() + "\n".join(f"- {_skill(skill)}" for skill in skills)
        for at, node in enumerate(nodes):
            if at:
                node.dropped("the agent has another description")
            else:
                node.to(draft, "spec.description", text)
        for skill in skills:
            for key, node in skill.fields():
                if key in ("name", "description", "tags", "examples") and node.value:
                    node.to(draft, "spec.description", text, reason="told in the description")
                else:
                    node.dropped(_CARD)
        for place in places:
            for key, node in place["a2aConfig"].fields():
                if key != "skills" or not node.value:
                    node.dropped(_CARD)

    def _rest(self, thing: Thing, draft: Draft, place: Node, spec: Node) -> None:
        for key, node in place.fields():
            if key in ("skills", "plugins"):
                _skills(node, draft)
            elif key == "sandbox":
                node.manual("no sandbox: give the agent only tools that reach what they may reach", draft)
            elif key == "executeCodeBlocks" and node.value is True:
                node.manual("code in answers is never run: give the agent a tool that runs it", draft)
            elif key == "deployment":
                pod_rows(self.ctx, node, "about the agent's pod; Kastra starts no pods")
            elif key == "env":
                env_rows(self.ctx, node, "environment of the agent's pod; Kastra starts no pods")
            elif key == "name" and place.path != spec.path:
                node.dropped("the name of the object is the agent's")
            elif key == "memory" and node.is_list:
                for one in node.items() or [node]:
                    one.manual(
                        f"a memory outside of Kastra ({one.text() if one.is_text else 'none'}): an agent remembers its "
                        "threads, and with spec.memory.type vector what is near in meaning in earlier ones",
                        draft.target("spec.memory"),
                    )
            elif key in _DROPPED:
                node.dropped(_DROPPED[key])
            elif key not in _HANDLED and key not in _PARTS and key != "temperature":
                node.dropped("not known to kagent's agents")


def _must_say_something(thing: Thing, spec: Node) -> None:
    if thing.kind == "AgentTemplate" or spec["declarative"] or spec["config"]:
        return
    if not any(spec[key] for key in ("systemMessage", "systemPrompt", "modelConfig", "tools", "description")):
        spec.problem("expected declarative, an object, for type Declarative", "write declarative: {systemMessage: ...}")


def _skill(skill: Node) -> str:
    text = skill.first("name", "id").text()
    if skill["description"]:
        text += f": {skill['description'].text()}"
    tags = [str(tag) for tag in skill["tags"].list()]
    examples = [str(example) for example in skill["examples"].list()]
    return (
        text + (f" ({', '.join(tags)})" if tags else "") + (f" For example: {' / '.join(examples)}" if examples else "")
    )


def _skills(node: Node, draft: Draft) -> None:
    told = "a skill is loaded from nowhere here: add its text to spec.instructions, and its scripts as tools"
    if not node.value:
        node.dropped("it is empty")
    for key, one in [*node.fields(), *(("", item) for item in node.items())]:
        if key in ("gitAuthSecretRef", "imagePullSecrets", "initContainer", "insecureSkipVerify"):
            one.dropped("nothing is loaded, so nothing is needed for it")
        elif one.value:
            one.manual(told, draft.target("spec.instructions"))
        else:
            one.dropped("it is empty")
