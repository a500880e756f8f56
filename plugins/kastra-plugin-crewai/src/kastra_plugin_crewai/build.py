"""Crew -> resources: each agent an Agent, each tool a Tool, the crew a Workflow (hierarchical: over a Network)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration.report import Draft
from kastra_plugin_crewai import outcomes
from kastra_plugin_crewai.agents import (
    PLAIN,
    Variant,
    agent_texts,
    build_agent,
    build_variants,
    instructions_of,
    put_number,
)
from kastra_plugin_crewai.llms import put_model
from kastra_plugin_crewai.model import AgentPart, Code, Crew, CrewReport, TaskPart
from kastra_plugin_crewai.steps import Steps, Work
from kastra_plugin_crewai.tools import build_tool

__all__ = ["build_agent", "build_crew", "build_tool"]

_MANAGER = (
    "You manage a crew. Give each task to the member that fits it best, with all that the member needs to know, and go"
    " on until the answer is what the task asks for."
)
_OUTPUTS = ("output_pydantic", "output_json", "response_model")


def build_crew(report: CrewReport, crew: Crew) -> Draft:
    """Make the resources of a crew and all rows of its fields.

    Return the Workflow: its input is the crew's inputs, its output that of the last task.
    """
    report.kept.append(crew)
    return _Builder(report, crew).build()


class _Builder:
    def __init__(self, report: CrewReport, crew: Crew) -> None:
        self.report, self.crew = report, crew
        wanted = self.scope = crew.scope or crew.name
        number = 1
        while self.scope in report.scopes:
            number += 1
            self.scope = f"{wanted}-{number}"
        report.scopes.add(self.scope)
        self.parts: list[AgentPart] = []
        self._variants: dict[int, Variant] = {}
        self.hierarchical = self._process() == "hierarchical"

    def build(self) -> Draft:
        crew = self.crew
        if not crew.tasks:
            crew.node.problem("a crew needs at least one task", "name its tasks in the order of the work")
        agents = self._agents()
        network = self._network(agents) if self.hierarchical else None
        draft = self.report.draft("Workflow", crew.name, scope=self.scope)
        if crew.node.path:
            crew.node.mapped(draft, whole=False)
        if crew.description:
            draft.spec["description"] = crew.description
        steps = Steps(draft, [self._work(task, agents, network) for task in crew.tasks])
        steps.make()
        for task in crew.tasks:
            self._task_rows(task, draft.target(steps.places[id(task)]), agents, network)
        self._inputs(draft, steps)
        self._crew_rows(draft, network)
        return draft

    # ------------------------------------------------------------------------------------------- agents

    def _process(self) -> str:
        field = self.crew.fields.get("process")
        if field is None or field.value is None:
            return "sequential"
        if field.is_code:
            field.node.manual(f"only running {str(field.value)!r} would tell the process: it is sequential here")
            return "sequential"
        if field.value not in ("sequential", "hierarchical"):
            field.node.problem(f"expected sequential or hierarchical, found {field.value!r}")
        return str(field.value)

    def _agent_of(self, task: TaskPart) -> AgentPart:
        """Who does a task. One that names nobody is done by the crew's first agent, else by one that is made for it."""
        if task.agent is None and not self.crew.agents:
            self.crew.agents.append(AgentPart(name=f"{self.crew.name}-agent", node=task.node["agent"]))
        if task.agent is None:
            task.agent = self.crew.agents[0]
            if not self.hierarchical:
                task.node["agent"].defaulted(f"no agent is named: {task.agent.name}, the first one of the crew")
        return task.agent

    def _agents(self) -> dict[tuple[int, Variant], Draft]:
        """Make all Agents of the crew. Return them by the id of the part and the variant."""
        crew, wanted = self.crew, dict[int, list[tuple[Variant, str]]]()
        parts: dict[int, AgentPart] = {id(agent): agent for agent in crew.agents}
        if not self.hierarchical:
            for task in crew.tasks:
                agent = self._agent_of(task)
                parts.setdefault(id(agent), agent)
                uses = wanted.setdefault(id(agent), [])
                variant = self._variant(task)
                if variant not in [one for one, _ in uses]:
                    uses.append((variant, task.name))
        else:
            for task in crew.tasks:
                if task.agent is not None:
                    parts.setdefault(id(task.agent), task.agent)
        for uses in wanted.values():
            uses.sort(key=lambda use: use[0] != PLAIN)
        self.parts = list(parts.values())
        delegates = [part for part in self.parts if _is_on(part, "allow_delegation")]
        if self.hierarchical or len(parts) == 1:
            delegates = []
        out: dict[tuple[int, Variant], Draft] = {}
        for part in self.parts:
            uses = wanted.get(id(part)) or [(PLAIN, "")]
            keys = [attrs.evolve(one, crew=id(crew)) if part in delegates else one for one, _ in uses]
            pairs = [(key, suffix) for key, (_, suffix) in zip(keys, uses, strict=True)]
            drafts = build_variants(self.report, part, pairs, scope=self.scope, in_crew=True)
            out.update({(id(part), one): draft for (one, _), draft in zip(uses, drafts, strict=True)})
        for part in delegates:
            self._may_ask(part, [draft for (key, _), draft in out.items() if key == id(part)])
        for part in self.parts:
            draft = next(draft for (key, _), draft in out.items() if key == id(part))
            self._agent_rows(part, draft, part in delegates)
        return out

    def _may_ask(self, part: AgentPart, drafts: list[Draft]) -> None:
        """Let an agent ask its colleagues: their forms that ask nobody, as in CrewAI, so that there are no circles."""
        for other in self.parts:
            if other is part:
                continue
            asked, *_ = build_variants(self.report, other, [(PLAIN, "colleague")], scope=self.scope, in_crew=True)
            for draft in drafts:
                draft.spec.setdefault("tools", []).append({"name": f"ask_{asked.name}", "ref": f"agents/{asked.name}"})

    def _variant(self, task: TaskPart) -> Variant:
        if id(task) not in self._variants:
            self._variants[id(task)] = self._made_variant(task)
        return self._variants[id(task)]

    def _made_variant(self, task: TaskPart) -> Variant:
        if not task.tools and task.schema is None:
            return PLAIN
        tools = tuple(dict.fromkeys(build_tool(self.report, tool).name for tool in task.tools)) or None
        shape = json.dumps(task.schema, sort_keys=True, default=str) if task.schema is not None else ""
        return Variant(tools=tools, schema=task.schema, shape=shape)

    def _agent_rows(self, part: AgentPart, draft: Draft, delegates: bool) -> None:
        field = part.fields.get("allow_delegation")
        for node in field.nodes if field is not None else ():
            if delegates:
                node.mapped(draft.target("spec.tools"), "it may ask the other agents of the crew")
            elif field is not None and field.is_code:
                node.manual("only running it would tell: name whom it may ask in its tools", draft.target("spec.tools"))
            elif field is not None and field.value is True and not self.hierarchical:
                node.dropped("the crew has no other agent")
            elif field is not None and field.value is True:
                node.dropped("the manager gives the work to the agents")
            else:
                node.dropped("an agent asks only those that its tools name")
        retries = part.fields.get("max_retry_limit")
        if retries is not None and not (_retries(part) and not self.hierarchical):
            retries.node.dropped("no step has retries of this agent")

    # ------------------------------------------------------------------------------------------- hierarchical

    def _network(self, agents: Mapping[tuple[int, Variant], Draft]) -> Draft:
        crew, manager = self.crew, self.crew.manager
        draft = self.report.draft("Network", crew.name, scope=self.scope)
        draft.spec["description"] = crew.description or f"The crew {crew.name}."
        draft.spec["agents"] = [agents[id(part), PLAIN].name for part in self.parts]
        if not self.parts:
            crew.node.problem("a hierarchical crew needs agents", "name them under agents")
        draft.set("spec.router.answer", "router")
        draft.set("spec.router.instructions", _MANAGER)
        if manager is not None:
            self._put_manager(manager, draft)
        model = crew.fields.get("manager_llm")
        if model is not None:
            put_model(self.report, model, draft, "spec.router.model")
        elif manager is None or "llm" not in manager.fields:
            crew.node["manager_llm"].defaulted("no model: the configuration's defaultModel chooses the members", draft)
        return draft

    def _put_manager(self, manager: AgentPart, draft: Draft) -> None:
        # Unlike the router's own instructions these are told to the model that words the answer, too.
        target = draft.target("spec.instructions")
        if manager.node.path:
            manager.node.mapped(draft.target("spec.router"), "; ".join(manager.notes), whole=False)
        draft.set("spec.instructions", instructions_of(manager, target))
        done = {"role", "goal", "backstory", "llm", "tools", "allow_delegation", "max_retry_limit"}
        if "llm" in manager.fields and "manager_llm" not in self.crew.fields:
            put_model(self.report, manager.fields["llm"], draft, "spec.router.model")
        elif "llm" in manager.fields:
            manager.fields["llm"].node.dropped("the crew's manager_llm is the manager's model")
        if "max_iter" in manager.fields:
            done.add("max_iter")
            put_number(manager.fields["max_iter"], draft, "spec.router.maxSteps")
        for tool in manager.tools:
            tool.node.manual("a manager has no tools of its own: give it to an agent of the crew", draft)
        for name in ("allow_delegation", "max_retry_limit"):
            if name in manager.fields:
                manager.fields[name].node.dropped("the manager gives the work to the agents")
        outcomes.rest(manager.fields, done, outcomes.AGENT, draft.target())

    # ------------------------------------------------------------------------------------------- tasks

    def _work(self, task: TaskPart, agents: Mapping[tuple[int, Variant], Draft], network: Draft | None) -> Work:
        if network is None:
            agent = self._agent_of(task)
            draft = agents[id(agent), self._variant(task)]
            return Work(task=task, body="agent", name=draft.name, texts=agent_texts(agent), retries=_retries(agent))
        texts = [text for part in self.parts for text in agent_texts(part)]
        if self.crew.manager is not None:
            texts += agent_texts(self.crew.manager)
        told = f"Give this task to {agents[id(task.agent), PLAIN].name}." if task.agent is not None else ""
        return Work(task=task, body="network", name=network.name, told=told, texts=texts)

    def _task_rows(
        self, task: TaskPart, step: str, agents: Mapping[tuple[int, Variant], Draft], network: Draft | None
    ) -> None:
        """Rows of what concerns who does the task; ``step`` is the target of its step."""
        named = task.fields.get("agent")
        if network is None:
            agent = agents[id(self._agent_of(task)), self._variant(task)]
            where = agent.target()
            retries = self._agent_of(task).fields.get("max_retry_limit")
            if retries is not None and _retries(self._agent_of(task)):
                for node in retries.nodes:
                    node.mapped(f"{step}.retry", "of each step that the agent does")
        else:
            where = network.target()
            for tool in task.tools:
                build_tool(self.report, tool)
                tool.node.manual("a network hands no tools of a task on: give it to an agent of the crew", network)
        for node in named.nodes if named is not None else ():
            if named is not None and named.is_code and task.agent is None:
                node.manual("only running it would tell the agent: check the step's agent", step)
            elif named is not None and named.value is None:
                node.dropped("null: as if it were not there")
            else:
                node.mapped(f"{step}.{'agent' if network is None else 'input'}", f"done by {where}")
        if "tools" in task.fields:
            for node in task.fields["tools"].nodes:
                node.mapped(where, "tools of this task", whole=False)
        for name in _OUTPUTS:
            field = task.fields.get(name)
            for node in field.nodes if field is not None else ():
                if field is not None and field.value is None:
                    node.dropped("null: as if it were not there")
                elif network is None and task.schema is not None:
                    node.mapped(f"{where} spec.output.schema", "the answer is JSON of this form")
                elif network is not None:
                    node.manual(
                        "a network answers with text: add a step with an agent whose output has the schema", step
                    )
                else:
                    node.manual("write the JSON schema of this class", f"{where} spec.output.schema")

    # ------------------------------------------------------------------------------------------- crew

    def _inputs(self, draft: Draft, steps: Steps) -> None:
        properties: JsonObject = {}
        required = []
        for name in dict.fromkeys([*steps.inputs, *self.crew.inputs]):
            users = list(dict.fromkeys(steps.inputs.get(name, ())))
            one: JsonObject = {"description": f"For {', '.join(users)}." if users else "Of the crew's inputs."}
            field = self.crew.inputs.get(name)
            if field is None or not self._put_default(draft, name, one):
                required += [name] if users else []
            self._put_examples(draft, name, one)
            properties[name] = one
        for name in self.crew.examples.keys() - properties.keys():
            for given in self.crew.examples[name]:
                for node in given.nodes:
                    node.dropped("no text of the crew names it")
        if properties:
            draft.spec["inputSchema"] = {"type": "object", "properties": properties}
            if required:
                draft.spec["inputSchema"]["required"] = required

    def _put_examples(self, draft: Draft, name: str, schema: JsonObject) -> None:
        target = draft.target(f"spec.inputSchema.properties.{name}.examples")
        for given in self.crew.examples.get(name, ()):
            if given.value is None or _has_code(given.value):
                given.node.dropped("what the program fills in: hand it over with each run")
                continue
            if given.value not in schema.setdefault("examples", []):
                schema["examples"].append(given.value)
            for node in given.nodes:
                node.mapped(target, "what the program is run with")

    def _put_default(self, draft: Draft, name: str, schema: JsonObject) -> bool:
        field = self.crew.inputs[name]
        target = draft.target(f"spec.inputSchema.properties.{name}")
        if field.value is None or _has_code(field.value):
            for node in field.nodes:
                node.manual("the source gives no value that could be read: hand it over with each run", target)
            return False
        schema["default"] = field.value
        for node in field.nodes:
            node.mapped(f"{target}.default")
        return True

    def _crew_rows(self, draft: Draft, network: Draft | None) -> None:
        fields = self.crew.fields
        done = {"process", "agents", "tasks", "name", "description"}
        process = fields.get("process")
        for node in process.nodes if process is not None and not process.is_code else ():
            told = "each task goes to the network" if network is not None else "the steps run in their order"
            node.mapped((network or draft).target(), told)
        for name, target in (("name", "metadata.name"), ("description", "spec.description")):
            for node in fields[name].nodes if name in fields else ():
                node.mapped(draft.target(target))
        for name in ("agents", "tasks"):
            for node in fields[name].nodes if name in fields else ():
                inside = node.value if isinstance(node.value, list) else [node.value]
                # Objects in the list have rows of their own.
                node.mapped(draft, whole=not any(isinstance(item, (Mapping, list)) for item in inside))
        if network is not None:
            done |= {"manager_llm", "manager_agent"}
            for node in fields["manager_agent"].nodes if "manager_agent" in fields else ():
                node.mapped(network.target("spec.router"), whole=False)
        else:
            done |= {"manager_llm", "manager_agent"}
            for name in ("manager_llm", "manager_agent"):
                for node in fields[name].nodes if name in fields else ():
                    node.dropped("only a hierarchical crew has a manager")
        outcomes.rest(fields, done, outcomes.CREW, draft.target())


def _is_on(part: AgentPart, name: str) -> bool:
    return name in part.fields and part.fields[name].value is True


def _retries(part: AgentPart) -> int:
    value = part.fields["max_retry_limit"].value if "max_retry_limit" in part.fields else 0
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _has_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_code(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_code(item) for item in value)
    return isinstance(value, Code)
