"""An LlmAgent as an Agent, and with its sub-agents as a Network."""

from __future__ import annotations

from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.errors import nearest
from kastra_core.migration import UNKNOWN, Draft, Node
from kastra_plugin_adk.examples import examples_of, examples_text
from kastra_plugin_adk.format import AGENT_FIELDS, CALLBACKS, field, snake
from kastra_plugin_adk.models import Models
from kastra_plugin_adk.placeholders import Placeholder, placeholders
from kastra_plugin_adk.project import Project, Unit, builtin_name
from kastra_plugin_adk.schemas import schema_of
from kastra_plugin_adk.tools import ToolShelf

__all__ = ["EXIT", "AgentMaker", "keys_of", "put_description", "say_callbacks", "say_unknown"]

EXIT = "exit_loop"
"""Tool of ADK that ends a LoopAgent, and the field of an answer that says so here."""
_EXIT_NOTE = (
    'There is no function exit_loop here. In place of calling it answer {"exit_loop": true, "answer": ""}; '
    'else answer {"exit_loop": false, "answer": ...} with what you have to say.'
)
_AROUND = {
    "before_agent": "as a step before the agent's in a Workflow",
    "after_agent": "as a step after the agent's in a Workflow",
    "before_model": "in the agent's instructions, or in a plugin that serves the model",
    "after_model": "in a step of a Workflow that checks the answer, or in a plugin that serves the model",
    "on_model_error": "as `retry` or `onFailure` of the agent's step in a Workflow",
    "before_tool": "in the functions of the tools",
    "after_tool": "in the functions of the tools",
    "on_tool_error": "in the functions of the tools",
}


def put_description(node: Node, draft: Draft) -> None:
    """``description`` as that of a resource."""
    text = field(node, "description")
    if text:
        text.to(draft, "spec.description", text.text())
    else:
        text.to(draft, "spec.description")


def reference_to(unit: Unit) -> str:
    """What others call for a unit: its Network where it has one."""
    draft = unit.team or unit.main
    return f"{draft.kind.lower()}s/{draft.name}" if draft is not None else ""


def instruction_of(unit: Unit) -> str:
    """The instruction of an LlmAgent as it stands there."""
    node = field(unit.node, "instruction")
    return node.value if node.is_text else ""


def keys_of(unit: Unit) -> list[Placeholder]:
    """What an LlmAgent's instructions want of the state."""
    if unit.cls != "LlmAgent":
        return []
    above = field(unit.node, "global_instruction")
    return placeholders((above.value if above.is_text else "") + "\n" + instruction_of(unit))


def say_callbacks(node: Node, target: Draft | str) -> None:
    """Rows for the functions that ADK calls around agents, models and tools."""
    for key, item in node.fields():
        plain = snake(key)
        kind = plain.removesuffix("s").removesuffix("_callback")
        if kind not in _AROUND or not plain.endswith(("_callback", "_callbacks")):
            continue
        if not item:
            item.dropped("null: as if it were not there")
            continue
        told = f"Kastra calls no function there: do it {_AROUND[kind]}"
        for one in item.items() or [item]:
            one.manual(told, target)


def say_unknown(node: Node, known: tuple[str, ...], reason: str = "") -> None:
    """Rows for keys that nobody knows, with what may have been meant."""
    names = {*known, *(f"{name}_code" for name in known), *CALLBACKS}
    for key, item in node.fields():
        plain = snake(key)
        if plain in names or f"{plain}s" in names:
            continue
        near = nearest(plain, sorted(names))
        item.dropped(reason or (f"no field of ADK; did it mean {near}?" if near else UNKNOWN))


class AgentMaker:
    """Fills the resources of LlmAgents."""

    def __init__(self, project: Project, shelf: ToolShelf) -> None:
        self._project, self._shelf = project, shelf
        self._models = Models(project)
        self._turns_told = False

    def fill(self, unit: Unit) -> None:
        draft, node = unit.main, unit.node
        assert draft is not None
        field(node, "agent_class").mapped(draft, "an LlmAgent is an Agent")
        field(node, "name").mapped(draft.target("metadata.name"))
        put_description(node, draft)
        self._models.fill(unit, draft)
        tools = self._tools(unit, draft)
        self._instructions(unit, draft)
        if tools:
            draft.spec["tools"] = tools
            self._tell_turns(node, draft)
        self._output(unit, draft)
        self._contents(unit, draft)
        self._rest(unit, draft)
        say_callbacks(node, draft)
        say_unknown(node, AGENT_FIELDS)
        if unit.team is not None:
            self._team(unit, unit.team, draft)

    def _tell_turns(self, node: Node, draft: Draft) -> None:
        """One row for all agents that may need many turns: the formats have no field for their number."""
        if not self._turns_told:
            told = "ADK stops a run after 500 calls of models; here an agent stops after 25 turns"
            field(node, "tools").defaulted(f"{told} unless spec.limits.maxSteps says more", draft.target("spec.limits"))
        self._turns_told = True

    # ------------------------------------------------------------------------------------------ instructions

    def _instructions(self, unit: Unit, draft: Draft) -> None:
        node = unit.node
        texts: list[str] = []
        for one in [unit, *self._project.ancestors(unit)][::-1]:
            above = field(one.node, "global_instruction")
            if one.cls != "LlmAgent" or not above:
                continue
            if any(how != "tool" for how, _ in one.uses):
                above.dropped("ADK takes that of the root agent only")
            elif above.is_text and above.value.strip():
                texts.append(above.value)
                above.mapped(draft.target("spec.instructions"), "stands before the instructions of each agent below")
        static = field(node, "static_instruction")
        if static:
            text, whole = _content_text(static.value)
            if text:
                texts.append(text)
                told = "" if whole else "only its texts; files and other parts have no place in instructions"
                static.mapped(draft.target("spec.instructions"), told)
            if not whole:
                static.manual("it has parts that are no text: put what they say into the instructions", draft)
        own = field(node, "instruction")
        if own.is_text:
            wanted = keys_of(unit)
            if own.value.strip():
                texts.append(own.value)
            own.mapped(draft.target("spec.instructions"), self._placeholder_note(unit, wanted))
            lost = [one.key for one in wanted if not one.optional]
            if lost and not unit.notes:
                names = ", ".join(f"{{{key}}}" for key in lost)
                told = f"instructions have no placeholders: say the value of {names} in what the agent is asked"
                own.manual(told, draft.target("spec.instructions"))
        elif own:
            own.text()
        elif not field(node, "instruction_code"):
            own.defaulted("no instruction is there, so the Agent has none", draft.target("spec.instructions"))
        for key in ("instruction_code", "global_instruction_code", "static_instruction_code"):
            if field(node, key):
                field(node, key).manual("Python makes the text: write it into the instructions", draft)
        for tool in field(node, "tools").items():
            made = examples_of(tool, self._project.python)
            if made is not None or builtin_name(tool) == "ExampleTool":
                texts += examples_text(tool, draft, made)
                self._project.note(made, draft.target("spec.instructions"))
        if unit.exits:
            texts.append(_EXIT_NOTE)
        if texts:
            draft.spec["instructions"] = (
                texts[0] if len(texts) == 1 else "\n\n".join(text.strip("\n") for text in texts)
            )

    @staticmethod
    def _placeholder_note(unit: Unit, wanted: list[Placeholder]) -> str:
        if not wanted:
            return ""
        names = ", ".join(f"{{{one.key}}}" for one in wanted)
        if unit.notes:
            return f"{names} stays as text: {'; '.join(unit.notes)}"
        return f"{names} stays as text"

    # ------------------------------------------------------------------------------------------ tools

    def _tools(self, unit: Unit, draft: Draft) -> list[Any]:
        node = field(unit.node, "tools")
        if node and not node.is_list:
            node.list()
        out: list[JsonObject] = []
        for item in node.items():
            own = builtin_name(item)
            if own == EXIT:
                named = item if item.is_text else item["name"]
                where = draft.target("spec.output.schema")
                if not unit.exits:
                    named.manual("a loop does not see this through a team: let a single agent end it", draft)
                    continue
                told = "no tool: the answer is {exit_loop, answer}, and the loop ends when exit_loop is true"
                named.mapped(where, told)
                if not unit.in_loop:
                    named.manual(
                        "no LoopAgent among these files runs this agent: a Workflow that repeats it ends with "
                        "`until: steps.ID.output.exit_loop`",
                        where,
                    )
                continue
            if own == "ExampleTool" or examples_of(item, self._project.python) is not None:
                continue  # its examples are a part of the instructions
            for entry in self._shelf.entries(item, unit, draft, reference_to):
                if entry not in out:
                    out.append(_unlike(entry, out))
        return out

    # ------------------------------------------------------------------------------------------ the rest

    def _output(self, unit: Unit, draft: Draft) -> None:
        schema: JsonObject | None = None
        for key in ("output_schema", "output_schema_code"):
            node = field(unit.node, key)
            if node:
                schema = schema_of(node, self._project, draft, "spec.output.schema")
        if unit.exits:
            answer = schema or {"type": "string", "description": "what is said; empty when exit_loop is true"}
            flag = {"type": "boolean", "description": "true in place of a call of exit_loop: the loop ends"}
            required = [EXIT, "answer"] if schema is None else [EXIT]
            schema = {"type": "object", "properties": {EXIT: flag, "answer": answer}, "required": required}
        if schema is not None:
            draft.set("spec.output.schema", schema)
        for key in ("input_schema", "input_schema_code"):
            node = field(unit.node, key)
            if node:
                node.dropped("an Agent takes any text; who calls it with fields checks them", draft.target())
        key_node = field(unit.node, "output_key")
        if key_node:
            key_node.text()
        for flow in unit.published:
            key_node.mapped(flow, "what it says is published as data of this name")
        if key_node and not unit.published:
            key_node.dropped("agents share no state here; who calls the agent gets what it says", draft.target())

    def _contents(self, unit: Unit, draft: Draft) -> None:
        node = field(unit.node, "include_contents")
        if not node:
            return
        if node.text().lower() not in ("default", "none"):
            node.problem(f"expected one of default, none, found string {node.text()!r}")
        elif node.text().lower() == "none":
            node.to(draft, "spec.memory.enabled", False, reason="it knows nothing of earlier turns")
        else:
            node.mapped(draft, "as an Agent does")

    def _rest(self, unit: Unit, draft: Draft) -> None:
        node = unit.node
        for key, told in (
            ("disallow_transfer_to_parent", "a member hands nothing on: after its answer the router decides"),
            ("disallow_transfer_to_peers", "a member hands nothing on: after its answer the router decides"),
            ("planner", "models plan by themselves; what they may spend on it is a parameter of the model"),
            ("planner_code", "models plan by themselves; what they may spend on it is a parameter of the model"),
            ("rerun_on_resume", "a run goes on where it stopped and repeats nothing that was done"),
            ("wait_for_output", "a step is over when it has an output"),
        ):
            value = field(node, key)
            if value.present:
                if key.startswith("disallow"):
                    value.boolean()
                value.dropped(told, draft.target())
        for key in ("code_executor", "code_executor_code"):
            value = field(node, key)
            if value.present:
                value.manual("Kastra runs no code that a model writes: give the agent a tool that does", draft)
        mode = field(node, "mode")
        if mode.present:
            mode.dropped("an Agent answers once per run; with a thread it is a chat", draft.target())
        for key in ("state_schema", "state_schema_code"):
            value = field(node, key)
            if value.present:
                value.dropped("the data of a Workflow have no schema; output.schema of a step checks one of them")
        for key in ("retry_config", "timeout", "parallel_worker"):
            value = field(node, key)
            if value.present and not any(how == "node" for how, _ in unit.uses):
                value.manual("say it at the step of a Workflow that calls the agent", draft)

    # ------------------------------------------------------------------------------------------ teams

    def _team(self, unit: Unit, team: Draft, draft: Draft) -> None:
        """The agent routes; it is a member too, for what its tools and it itself can answer."""
        node = unit.node
        put_description(node, team)
        names = {draft.name}
        team.spec["agents"] = [draft.name]
        for child in unit.children:
            resource = child.unit.team or child.unit.main
            if resource is None:
                continue
            group = f"{resource.kind.lower()}s"
            member: Any = resource.name
            if resource.name in names:
                member = {"name": f"{resource.name}-{resource.kind.lower()}", "ref": f"{group}/{resource.name}"}
            names.add(member if isinstance(member, str) else member["name"])
            team.spec.setdefault(group, []).append(member)
            where = child.node if child.node.is_text else child.node.first("config_path", "configPath", "code")
            where.mapped(team.target(f"spec.{group}"), f"a member of the team that {draft.name} routes")
            if child.unit.code:
                told = f"the agent is made in Python: write {resource.get('spec.python.function')}"
                where.manual(told, resource)
            if child.node["name"].present and child.node.is_map:
                child.node["name"].dropped("the file says its name", team.target())
        router = team.spec.setdefault("router", {})
        self._models.fill(unit, team, "spec.router.model")
        if draft.spec.get("instructions"):
            router["instructions"] = draft.spec["instructions"]
            field(node, "instruction").mapped(team.target("spec.router.instructions"), "the agent routes")
        router["fallback"] = draft.name
        field(node, "sub_agents").defaulted(
            f"{draft.name} itself is a member too, and gets what no other fits: in ADK it answers that itself",
            team.target("spec.router.fallback"),
        )
        field(node, "name").mapped(team.target("metadata.name"))


def _unlike(entry: JsonObject, others: list[JsonObject]) -> JsonObject:
    """The entry under a name that no other tool of the agent has."""
    taken = {other["name"] for other in others}
    plain, number = entry["name"], 1
    while entry["name"] in taken:
        number += 1
        entry = {**entry, "name": f"{plain}_{number}", "ref": entry.get("ref", plain)}
    return entry


def _content_text(value: Any) -> tuple[str, bool]:
    """(the texts of a content of Gemini, whether that is all of it)."""
    if isinstance(value, str):
        return value, True
    if isinstance(value, list):
        parts = [_content_text(item) for item in value]
        return "\n".join(text for text, _ in parts if text), all(whole for _, whole in parts)
    if isinstance(value, dict):
        if isinstance(value.get("parts"), list):
            return _content_text(value["parts"])
        if isinstance(value.get("text"), str):
            return value["text"], set(value) <= {"text", "role"}
    return "", False
