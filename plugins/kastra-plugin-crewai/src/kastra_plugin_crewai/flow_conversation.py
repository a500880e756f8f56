"""Flows that talk: the methods that ``conversational`` adds. An agent chooses the route, another one answers.

Source: crewAI ``experimental/conversational_mixin.py`` (``_builtin_methods``, ``_effective_routes``).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node
from kastra_plugin_crewai.flow_model import Action, Flow, Method, events_of
from kastra_plugin_crewai.llms import put_model
from kastra_plugin_crewai.model import CrewReport, Field

__all__ = ["put_conversation"]

_BUILTIN = ("converse", "end")
_HISTORY = "answer_from_history"
_TOLD = {
    "converse": "Anything else: plain talk, questions about what was said before.",
    "end": "The person takes leave.",
    _HISTORY: "What was said before answers it.",
}
_INPUT = "{{ workflow.input.messages }}\n\n{{ workflow.input.current_user_message }}"
_PROPERTIES = {
    "current_user_message": {"type": "string", "description": "What the person says now."},
    "messages": {"type": "array", "description": "What was said before.", "default": []},
}


def put_conversation(report: CrewReport, flow: Flow, draft: Draft) -> Flow:
    """Return the flow with the methods that ``conversational`` adds; as it is when it does not talk.

    A method of the flow wins over an added one of the same name.
    """
    node = flow.node["conversational"]
    if not node:
        if node.present:
            node.dropped("null: as if it were not there")
        return flow
    if node["enabled"].value is False:
        node.dropped("it is turned off")
        return flow
    return _Conversation(report, flow, draft, node).flow_with_methods()


@attrs.define(eq=False)
class _Conversation:
    report: CrewReport
    flow: Flow
    draft: Draft
    node: Node

    def flow_with_methods(self) -> Flow:
        node = self.node
        if node["enabled"].present:
            node["enabled"].mapped(self.draft)
        node.mapped(self.draft, "an agent chooses what answers", whole=not node.value)
        routes = self._routes()
        methods = dict(self.flow.methods)
        for name, method in self._added(routes).items():
            methods.setdefault(name, method)
        schema: JsonObject = {"type": "object", "properties": dict(_PROPERTIES), "required": ["current_user_message"]}
        self.draft.spec["inputSchema"] = schema
        if not self.flow.node["state"]:
            self.flow.node["state"].defaulted(
                "CrewAI keeps what was said; a workflow does not: hand it over as messages with each run",
                self.draft.target("spec.inputSchema.properties.messages"),
            )
        self._rest()
        return attrs.evolve(self.flow, methods=methods)

    def _routes(self) -> dict[str, str]:
        """Routes and what each is for; the flow's own ones first."""
        node, router = self.node, self.node["router"]
        builtin = [str(item.value) for item in node["builtin_routes"].items()] or list(_BUILTIN)
        own = [str(item.value) for key in (router["routes"], node["default_intents"]) for item in key.items()]
        listened = {
            event: method
            for method in self.flow.methods.values()
            if not method.router
            for event in events_of(method.listen)
            if event not in self.flow.methods
        }
        if not own:
            own = [event for event in listened if event not in (*builtin, _HISTORY)]
        if node["answer_from_history_llm"]:
            own.append(_HISTORY)
        said = router["route_descriptions"].value
        told: Mapping[str, object] = said if isinstance(said, Mapping) else {}
        out = {}
        for route in dict.fromkeys([*own, *builtin]):
            method = listened.get(route)
            of_method = str(method.node["description"].value or "") if method is not None else ""
            out[route] = str(told.get(route) or _TOLD.get(route) or of_method.strip().partition("\n")[0])
        return out

    def _added(self, routes: Mapping[str, str]) -> dict[str, Method]:
        out: dict[str, Method] = {}
        choice = len(routes) > len([route for route in routes if route in _BUILTIN])
        if choice and "route_conversation" not in self.flow.methods:
            step = {"agent": self._router(routes).name, "input": _INPUT}
            out["route_conversation"] = self._method(
                "route_conversation", step, answer="intent", start=True, router=True, emit=tuple(routes)
            )
        if "converse" in routes and "converse_turn" not in self.flow.methods:
            step = {"agent": self._talker("converse", "system_prompt", "llm").name, "input": _INPUT}
            out["converse_turn"] = self._method(
                "converse_turn", step, start=not choice, listen="converse" if choice else None
            )
        if "end" in routes and choice:
            out["end_conversation"] = self._method("end_conversation", {"set": "Conversation ended."}, listen="end")
        if _HISTORY in routes and "answer_from_history_turn" not in self.flow.methods:
            agent = self._talker("from-history", "answer_from_history_prompt", "answer_from_history_llm")
            step = {"agent": agent.name, "input": _INPUT}
            out["answer_from_history_turn"] = self._method("answer_from_history_turn", step, listen=_HISTORY)
        return out

    def _method(
        self,
        name: str,
        step: JsonObject,
        *,
        answer: str = "",
        start: bool = False,
        router: bool = False,
        emit: tuple[str, ...] | None = None,
        listen: str | None = None,
    ) -> Method:
        action = Action(call="made", node=self.node["methods"][name], made=step, answer=answer)
        return Method(name=name, node=action.node, action=action, start=start, router=router, emit=emit, listen=listen)

    def _router(self, routes: Mapping[str, str]) -> Draft:
        node, router = self.node, self.node["router"]
        agent = self.report.draft("Agent", f"{self.flow.name}-router", scope=self.flow.name)
        lines = [f"- {route}: {told}" if told else f"- {route}" for route, told in routes.items()]
        prompt = str(router["prompt"].value or "").strip()
        rule = "Choose the one route that fits what the person says now."
        agent.spec["instructions"] = "\n\n".join(filter(None, [prompt, rule, "\n".join(["Routes:", *lines])]))
        agent.spec["description"] = f"Chooses the route of {self.flow.name}."
        intent = {"type": "string", "enum": list(routes)}
        agent.set("spec.output.schema", {"type": "object", "properties": {"intent": intent}, "required": ["intent"]})
        target = agent.target("spec.instructions")
        for place in (router["prompt"], router["routes"], router["route_descriptions"], node["default_intents"]):
            if place:
                place.mapped(target)
        for item in node["builtin_routes"].items():
            item.mapped(target)
        model = next((one for one in (router["llm"], node["intent_llm"], node["llm"]) if one), None)
        if model is not None:
            put_model(self.report, Field(model), agent)
        return agent

    def _talker(self, name: str, prompt: str, llm: str) -> Draft:
        agent = self.report.draft("Agent", f"{self.flow.name}-{name}", scope=self.flow.name)
        place = self.node[prompt]
        agent.spec["instructions"] = (
            str(place.value or "").strip() or "You talk with a person. Answer what is said last."
        )
        agent.spec["description"] = f"Answers in {self.flow.name}."
        if place:
            place.mapped(agent.target("spec.instructions"))
        if self.node[llm]:
            put_model(self.report, Field(self.node[llm]), agent)
        return agent

    def _rest(self) -> None:
        node = self.node
        told = {
            "default_intent": "the router names one of the routes, and no other",
            "fallback_intent": "the router names one of the routes, and no other",
            "intent_field": "the field is called intent",
            "response_format": "CrewAI passes it over in a declaration, too",
        }
        for key, child in node["router"].fields():
            if key in told:
                child.dropped(told[key])
            elif not child:
                child.dropped("null: as if it were not there")
        more = {
            "visible_agent_outputs": "the outputs of all steps are kept: `kastra explain`",
            "defer_trace_finalization": "Kastra tells what happens by its own means: `kastra logs`, `kastra explain`",
            "internal_routes": "a route that only the flow itself takes",
        }
        for key, child in node.fields():
            if key in more:
                child.dropped(more[key])
            elif not child and key != "enabled":
                child.dropped("null: as if it were not there")
