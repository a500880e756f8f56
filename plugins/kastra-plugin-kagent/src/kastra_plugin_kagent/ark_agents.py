"""ARK's Agent."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import attrs

from kastra_core.migration import Draft, Node
from kastra_plugin_kagent.ark_models import ArkModels
from kastra_plugin_kagent.ark_tools import TERMINATE, ArkTools
from kastra_plugin_kagent.ark_values import Parameter, parameters_of
from kastra_plugin_kagent.context import Context, text_to
from kastra_plugin_kagent.go_text import Rendered, actions_of, render
from kastra_plugin_kagent.things import Thing
from kastra_plugin_kagent.tools import add_reference, add_tool, function_of

if TYPE_CHECKING:
    from kastra_plugin_kagent.ark_teams import ArkTeams

__all__ = ["ArkAgents", "fill_in", "names_parameter"]

_BUILT_IN = {
    "noop": (
        "Does nothing, and answers with what it is given.",
        {"type": "object", "properties": {"message": {"type": "string", "description": "Text to answer with."}}},
    ),
}
_END_SCHEMA = {
    "type": "object",
    "properties": {
        TERMINATE: {"type": "boolean", "description": "true ends the conversation"},
        "answer": {"type": "string", "description": "what is said"},
    },
    "required": [TERMINATE, "answer"],
}
"""Answers of an agent that may end the conversation of its team."""
_TYPES = ("agent", "built-in", "builtin", "custom", "http", "mcp", "team")
_KEYS = ("description", "executionEngine", "model", "modelRef", "outputSchema", "parameters", "prompt", "tools")


@attrs.define(eq=False)
class ArkAgents:
    """Migrates agents."""

    ctx: Context
    models: ArkModels
    tools: ArkTools
    drafts: dict[int, Draft] = attrs.field(factory=dict)
    in_teams: set[int] = attrs.field(factory=set)
    """Ids of agents' objects that a team asks to say when they end the conversation."""
    in_networks: set[int] = attrs.field(factory=set)
    """Ids of agents' objects with such a tool whose team has a router."""

    def begin(self) -> None:
        for thing in self.ctx.things.own("Agent"):
            self.drafts[id(thing)] = self.ctx.draft("Agent", thing)

    def find(self, name: str, near: Thing) -> tuple[Thing, Draft] | None:
        thing = self.ctx.things.find(("Agent",), name, near.namespace, near)
        return (thing, self.drafts[id(thing)]) if thing is not None else None

    def terminates(self, thing: Thing) -> bool:
        """Whether an agent has the tool that ends the conversation of its team."""
        return any(item["name"].value == TERMINATE for item in thing.node["spec"]["tools"].items())

    def ends_teams(self, draft: Draft) -> bool:
        """Whether an agent's answer also says if the conversation of its team is over."""
        return any(self.drafts[one] is draft for one in self.in_teams)

    def migrate(self, thing: Thing, teams: ArkTeams) -> None:
        draft, spec = self.drafts[id(thing)], thing.node["spec"]
        if not spec.is_map:
            thing.node.problem("expected spec, an object")
            return
        self.ctx.envelope(thing, draft)
        text_to(spec["description"], draft, "spec.description")
        self._prompt(thing, draft, spec)
        ref = spec["modelRef"] if spec["modelRef"].present else spec["model"]
        named = ref["name"] if ref.is_map else ref
        where = ref["namespace"].text() or thing.namespace
        self.models.put(draft, "spec.model", ref, named, thing, where)
        schema = spec["outputSchema"]
        if schema.is_map and schema.value:
            schema.to(draft, "spec.output.schema")
        elif schema:
            schema.mapping()
            schema.dropped("it is empty")
        for item in spec["tools"].list() and spec["tools"].items():
            self._tool(thing, draft, item, teams)
        if spec["tools"].present and not spec["tools"].value:
            spec["tools"].dropped("the agent has no tools")
        self._engine(spec["executionEngine"], draft)
        for key, node in spec.fields():
            if key not in _KEYS or (key == "model" and ref.name != "model"):
                node.dropped("not known to ARK's agents")

    def _prompt(self, thing: Thing, draft: Draft, spec: Node) -> None:
        prompt, target = spec["prompt"], draft.target("spec.instructions")
        parameters = parameters_of(self.ctx, thing, spec["parameters"])
        if prompt.value == "":
            prompt.dropped("it is empty")
        filled = fill_in(parameters, prompt, target) if parameters else Rendered(prompt.text())
        if filled.left:
            draft.set("spec.instructions", filled.text)
            prompt.manual(filled.reason(prompt.text()), target)
        elif prompt.value != "":
            prompt.to(draft, "spec.instructions", filled.text, reason=filled.reason(prompt.text()))

    def _engine(self, node: Node, draft: Draft) -> None:
        name = node["name"].text()
        if not node.present:
            return
        if name == "a2a":
            told = "ARK has this agent answer behind an A2A server: call it there by a Tool of type http instead"
        else:
            told = f"the engine {name} carried the agent out; Kastra does it itself: see that nothing of it is missed"
        for _, one in node.fields():
            one.manual(told, draft)
        if not node.value:
            node.dropped("it is empty")

    # ------------------------------------------------------------------------------------------------ tools

    def _tool(self, thing: Thing, draft: Draft, item: Node, teams: ArkTeams) -> None:
        word, named = item["type"].text(), item["name"]
        name = named.text()
        if word not in _TYPES:
            item["type"].problem(f"expected one of built-in, custom, found string {word!r}")
            return
        if not name:
            item.problem("expected name, the tool", "write name: NAME")
            return
        item["type"].dropped("what the name means follows from the objects that there are")
        if word in ("built-in", "builtin"):
            self._built_in(thing, draft, named, name)
        elif word in ("agent", "team"):
            self._caller(thing, draft, named, word, name, name, teams)
        else:
            self._custom(thing, draft, named, name, teams)
        for function in item["functions"].items():
            function.manual(
                f"answers of the tool go to the model whole: let a function of your own filter them ({name})", draft
            )
        for key, node in item.fields():
            if key == "functions" and not node.value:
                node.dropped("it is empty")
            elif key not in ("functions", "name", "type"):
                node.dropped("not known to ARK's agents")

    def _built_in(self, thing: Thing, draft: Draft, named: Node, name: str) -> None:
        if name == TERMINATE:
            if id(thing) in self.in_teams:
                where = draft.target("spec.output.schema")
                draft.set("spec.output.schema", copy.deepcopy(_END_SCHEMA))
                named.mapped(
                    where, "no tool: the answer is {terminate, answer}; its team's workflow ends when terminate is true"
                )
                if id(thing) in self.in_networks:
                    named.manual(
                        "a team with a router gets {terminate, answer} from it too: give that team an agent of its "
                        "own without spec.output",
                        where,
                    )
            elif id(thing) in self.in_networks:
                named.dropped("an agent ends by answering; the router of its team sees when all is said")
            else:
                named.dropped("an agent ends by answering; no team here waits for it to end a conversation")
            return
        if name not in _BUILT_IN:
            named.problem(
                f"expected one of noop, {TERMINATE}, found string {name!r}", "ARK has no other built-in tools"
            )
            return
        description, schema = _BUILT_IN[name]
        made = self.tools.maker.named(
            thing, name, named, what="built-in tool of ARK", description=str(description), schema=schema
        )
        add_tool(self.ctx, draft, made, name=name)
        named.manual(f"a tool that ARK has built in: write {function_of(made)}", made)

    def _custom(self, thing: Thing, draft: Draft, named: Node, name: str, teams: ArkTeams) -> None:
        found = self.ctx.things.find(("Tool",), name, thing.namespace, thing)
        if found is not None:
            caller = self.tools.called(found)
            if caller is not None:
                self._caller(thing, draft, named, caller[0], caller[1], name, teams)
                return
            made = self.tools.drafts[id(found)]
            add_tool(self.ctx, draft, made, name=name)
            named.mapped(draft.target("spec.tools"))
            return
        for server in self.ctx.things.own("MCPServer"):
            tool = name.removeprefix(f"{server.name}-")
            if tool != name and tool and server.namespace in ("", thing.namespace):
                held = self.tools.maker.server(server.name, "MCP server", server, server)
                made = self.tools.maker.of_server(held, tool, named)
                add_tool(self.ctx, draft, made, name=name)
                told = f"write {function_of(made)}: it stands for the tool {tool} of the MCP server {server.name}"
                named.manual(told, made)
                return
        made = self.tools.maker.named(thing, name, named, what="tool of ARK")
        add_tool(self.ctx, draft, made, name=name)
        told = f"there is no Tool {name} here: migrate its file together with this one, or write {function_of(made)}"
        named.manual(told, made)

    def _caller(
        self, thing: Thing, draft: Draft, named: Node, word: str, target: str, name: str, teams: ArkTeams
    ) -> None:
        found = self.find(target, thing) if word == "agent" else teams.find(target, thing)
        if found is not None:
            kind = f"{found[1].kind.lower()}s"
            add_tool(self.ctx, draft, found[1], kind=kind, name=name)
            named.mapped(draft.target("spec.tools"))
            return
        add_reference(draft, f"{'agents' if word == 'agent' else 'workflows'}/{target}", target, name)
        named.manual(
            f"there is no {word} {target} here: migrate its file too; until then the agent is not ready",
            draft.target("spec.tools"),
        )


def names_parameter(text: str, name: str) -> bool:
    """Whether a template names a parameter."""
    return any(re.search(rf"\.{re.escape(name)}(?![\w])", action) for action in actions_of(text))


def fill_in(parameters: list[Parameter], prompt: Node, target: str) -> Rendered:
    """Fill a prompt's parameters in, and write their rows."""
    text = prompt.text()
    known = {one.name: one.value.text for one in parameters if one.value.text is not None}
    for one in parameters:
        if one.value.text is None:
            one.value.manual(target, f"the text has {{{{.{one.name}}}}}: write in what it stands for. {one.value.told}")
            one.node["name"].manual("it stays in the text until somebody writes in what it stands for", target)
        elif names_parameter(text, one.name):
            one.node["name"].mapped(target, "filled in")
            for node in one.value.nodes:
                node.mapped(target, "filled in")
        else:
            one.node["name"].dropped("the text does not name it")
            one.value.dropped("the text does not name it")
    return render(text, known)
