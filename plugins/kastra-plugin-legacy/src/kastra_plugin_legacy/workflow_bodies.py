"""Makes a step of today of each step of an older workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, Report, cel_literal, model_name, model_parameters, provider_name
from kastra_plugin_legacy.lookup import Found, Lookup, RunnableKind
from kastra_plugin_legacy.tools import function_name
from kastra_plugin_legacy.workflow_cel import checked, member, truth
from kastra_plugin_legacy.workflow_code import is_code
from kastra_plugin_legacy.workflow_expressions import condition, equals
from kastra_plugin_legacy.workflow_inputs import (
    Argument,
    arguments,
    code_arguments,
    has_named_items,
    note_leaves,
    plain_object,
    prompt,
    put_form,
    stub_schema,
)
from kastra_plugin_legacy.workflow_js import UntranslatableError
from kastra_plugin_legacy.workflow_model import Block, Case, Step
from kastra_plugin_legacy.workflow_outputs import put_output, value_node
from kastra_plugin_legacy.workflow_placeholders import placeholder_of
from kastra_plugin_legacy.workflow_read import Ids
from kastra_plugin_legacy.workflow_scope import Moment, Plan, Scope
from kastra_plugin_legacy.workflow_text import value_of
from kastra_plugin_legacy.workflow_times import put_tries

__all__ = ["Maker"]

_REFERRING: dict[str, tuple[RunnableKind, tuple[str, ...]]] = {
    "agent": ("Agent", ("agent", "agentId", "agentRef", "agent_id")),
    "tool": ("Tool", ("tool", "toolId", "toolRef", "tool_id")),
    "workflow": ("Workflow", ("workflow", "workflowId", "workflowRef")),
    "network": ("Network", ("network", "networkId", "networkRef")),
}
_INPUTS = ("input", "inputs", "arguments", "args", "parameters", "params", "with")
_PARTS = ("name", "ref", "refName", "$ref", "id", "namespace", "kind")


class Maker:
    """Fills ``made`` of each step, bodies first; the ways between them come when all are made."""

    def __init__(self, report: Report, draft: Draft, names: Lookup, plan: Plan, ids: Ids) -> None:
        self.report, self.draft, self.names, self.plan, self.ids = report, draft, names, plan, ids

    def make(self, block: Block) -> None:
        """Make the steps of a block and of the blocks in it."""
        for step in block.steps:
            self._make(step)
            for branch in step.branches:
                self.make(branch)

    def scope(self, step: Step, moment: Moment = "input", agent: str = "", own: Sequence[str] = ()) -> Scope:
        return Scope(self.plan, step, moment, agent=agent, own_input=frozenset(own))

    def _make(self, step: Step) -> None:
        out: JsonObject = {"id": step.id}
        step.made = [out]
        if not step.added:
            self._describe(step, out)
            getattr(self, f"_{step.kind}")(step, out)
            put_output(step, out, self.plan)
            put_tries(step, out)
        self._lead(step)

    @staticmethod
    def _describe(step: Step, out: JsonObject) -> None:
        name = step.node["name"]
        if name.is_text and name.value and (name.value != step.key or step.id != step.key):
            out["name"] = name.value
        description = step.field("description")
        if description.is_text and description.value:
            out["description"] = description.value
            step.note(description, "mapped", "description")

    # ------------------------------------------------------------------------------------------ references

    def _refer(self, step: Step, kind: str, out: JsonObject) -> tuple[Found | None, Node]:
        """Write the reference of a step; None where it names nothing that could be found."""
        wanted, fields = _REFERRING[kind]
        node = step.field(*fields)
        value: Any = node.value
        function = step.field("function")
        if kind == "tool" and node and function.is_text and not is_code(function.value):
            value = {**(value if isinstance(value, dict) else {"name": value}), "function": function.value}
        found = self.names.find(wanted, value) if node else None
        if found is None:
            return None, node
        if value is not node.value and not found.exists:
            # As an agent that has the tool names its functions: both share one Tool.
            word = function.text()
            what = f"function {word} of the tool {found.name}"
            found = self.names.tool_stub(function_name(found.name, word), function, what=what)
            value = node.value
        body = found.kind.lower()
        out[body] = found.reference
        if node.is_map:
            for name in _PARTS:
                step.note(node[name], "mapped", body, found.note)
        else:
            step.note(node, "mapped", body, found.note)
        if value is not node.value:
            self._of_function(step, function, found)
        return found, node

    @staticmethod
    def _of_function(step: Step, function: Node, found: Found) -> None:
        if found.exists and function.value in found.note:
            step.note(function, "mapped", "tool", found.note)
        else:
            told = f"the Tool {found.name} is called; see that it does what the function {function.value!r} did"
            step.note(function, "manual", "tool", told)

    def _given(self, step: Step, *bodies: Node) -> list[Node]:
        """Where a step's input stands: in what it calls, and beside it."""
        inner = [body.first(*_INPUTS) for body in bodies if body.is_map]
        return [node for node in (*inner, step.field(*_INPUTS)) if node]

    # ------------------------------------------------------------------------------------------ bodies

    def _agent(self, step: Step, out: JsonObject) -> None:
        found, node = self._refer(step, "agent", out)
        prefix = step.field("systemPrompt", "instructions")
        if found is None and not node:
            if not prefix and not step.field("model"):
                self._unknown(step, out)
                return
            self._own_agent(step, prefix, out)
            prefix = step.field("")
        elif found is None:
            self._missing(step, node, out)
            return
        else:
            reason = "the agent's own model answers; a step cannot change it"
            step.note(step.field("model"), "dropped", "", reason)
        scope = self.scope(step, agent=found.name if found is not None else step.id)
        extra = [one for one in (step.field("prompt"), step.field("message"), step.field("task")) if one.is_text]
        prompt(step, [prefix] if prefix.is_text else [], [*extra, *self._given(step, node)], scope, out)

    def _network(self, step: Step, out: JsonObject) -> None:
        found, node = self._refer(step, "network", out)
        if found is None:
            self._missing(step, node, out)
            return
        prompt(step, [], self._given(step, node), self.scope(step), out)

    def _own_agent(self, step: Step, instructions: Node, out: JsonObject) -> None:
        """An Agent for a step that has a prompt and a model of its own."""
        report, space = self.report, self.draft.namespace
        own = f"{self.draft.name}-{step.id}"
        name = report.names.give("Agent", own, scope=f"{self.draft.name} steps", namespace=space or "default")
        metadata: JsonObject = {"name": name, **({"namespace": space} if space else {})}
        agent = Draft({"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": metadata, "spec": {}})
        report.drafts.append(agent)
        out["agent"] = name if "." not in name else f"agents/{name}"
        step.node["agent"].defaulted(f"the step names no agent: it has one of its own, {name}", agent)
        if step.field("description"):
            agent.set("spec.description", step.field("description").text())
        if instructions.is_text:
            instructions.to(agent, "spec.instructions")
        model = step.field("model")
        if model.is_text:
            provider, word, guessed = model_name(model.value)
            reason = "the provider is guessed from the name" if guessed else ""
            model.to(agent, "spec.model", {"provider": provider, "name": word}, reason=reason)
        elif model.is_map:
            self._model(model, agent)

    @staticmethod
    def _model(model: Node, agent: Draft) -> None:
        provider, name = model["provider"], model.first("name", "model", "id")
        if not name.is_text:
            model.manual("it names no model", agent)
            return
        plain, word, guessed = model_name(name.value)
        if provider.is_text:
            provider.to(agent, "spec.model.provider", provider_name(provider.value))
            word = name.value
        else:
            agent.set("spec.model.provider", plain)
        name.to(
            agent,
            "spec.model.name",
            word,
            reason="the provider is guessed from the name" if guessed and not provider else "",
        )
        inner = model["parameters"]
        for source in (model, inner) if inner.is_map else (model,):
            for key, value in source.fields():
                if (
                    value
                    and key not in ("provider", "name", "model", "id", "parameters")
                    and not isinstance(value.value, (dict, list))
                ):
                    (parameter,) = model_parameters({key: value.value})
                    value.to(agent, ("spec", "model", "parameters", parameter))

    def _tool(self, step: Step, out: JsonObject) -> None:
        found, node = self._refer(step, "tool", out)
        if found is None:
            self._missing(step, node, out)
            return
        if found.kind != "Tool":
            prompt(step, [], self._given(step, node), self.scope(step), out)
            return
        self._arguments(step, self._given(step, node), found.schema or {}, out)

    def _arguments(self, step: Step, given: Sequence[Node], schema: Any, out: JsonObject) -> None:
        scope = self.scope(step)
        for node in given:
            if (
                node.is_map
                and node.value.keys() <= {"type", "from", "description"}
                and put_form(step, node, scope, out)
            ):
                continue
            if node.is_map or has_named_items(node):
                made = arguments(step, node, scope, "arguments", schema)
                out.setdefault("arguments", {}).update({one.name: one.value for one in made})
            else:
                value, leaves = value_of(node, scope)
                note_leaves(step, leaves, "input")
                out["input"] = value
        if "arguments" in out:
            out.pop("input", None)

    def _workflow(self, step: Step, out: JsonObject) -> None:
        found, node = self._refer(step, "workflow", out)
        if found is None:
            self._missing(step, node, out)
            return
        scope = self.scope(step)
        for given in self._given(step, node):
            if put_form(step, given, scope, out):
                continue
            if has_named_items(given):
                made = arguments(step, given, scope, "input", {})
                out["input"] = plain_object({one.name: one.value for one in made})
                continue
            value, leaves = value_of(given, scope)
            note_leaves(step, leaves, "input")
            out["input"] = plain_object(value)

    def _function(self, step: Step, out: JsonObject) -> None:
        if step.field("tool"):
            self._tool(step, out)
            return
        node = step.field("function", "functionName", "code")
        code, name = node, ""
        if node.is_map:
            code = node.first("code", "body", "source", "execute", "name")
            name = node["name"].text() if node["name"] else ""
        text = code.value if code.is_text else ""
        inline = is_code(text)
        if not inline:
            name = name or text.rpartition("/")[2].partition(".")[0] or step.key
        what = f"inline JavaScript of step {step.key!r}" if inline else f"the function {name or step.key!r}"
        found = self._stub(
            step, name or step.key, code if code else _place(step), what, text if inline else "", out, node
        )
        if node.is_map and code.name != "name":
            step.note(node["name"], "mapped", "tool", f"the name of the Tool: {found.name}")

    def _missing(self, step: Step, node: Node, out: JsonObject) -> None:
        """What a step calls is no reference."""
        what = f"step {step.key!r}, which calls what is the name of no resource"
        self._stub(step, step.key, node if node else _place(step), what, "", out, node)

    def _unknown(self, step: Step, out: JsonObject) -> None:
        what = f"step {step.key!r}, which does not say what it does"
        self._stub(step, step.key, _place(step), what, "", out, step.node["config"])

    def _stub(self, step: Step, name: str, node: Node, what: str, code: str, out: JsonObject, body: Node) -> Found:
        """Let a Tool that somebody has to write take the place of a step's body."""
        scope = self.scope(step)
        given: list[Argument] = []
        plain: Any = None
        for source in self._given(step, *([body] if body.path != step.node["config"].path else [])):
            if source.is_map or has_named_items(source):
                if not put_form(step, source, scope, out):
                    given += arguments(step, source, scope, "arguments", {}, own=True)
            else:
                plain, leaves = value_of(source, scope)
                note_leaves(step, leaves, "arguments.input")
                given.append(Argument(name="input", value=plain, schema={}))
        form = out.pop("input", None)
        if form is not None:
            given.append(Argument(name="input", value=_of_form(form), schema={}))
        if code:
            given += code_arguments(step, code, scope, [one.name for one in given])
        unique = {one.name: one for one in given}
        described = step.field("description", "name")
        found = self.names.tool_stub(
            name,
            node,
            what=what,
            description=described.value if described.is_text else "",
            schema=stub_schema(list(unique.values())),
        )
        out["tool"] = found.reference
        out["arguments"] = {one.name: one.value for one in unique.values()}
        return found

    def _parallel(self, step: Step, out: JsonObject) -> None:
        if not step.branches:
            self._unknown(step, out)
            return
        scope = self.scope(step)
        for node in self._given(step):
            if not put_form(step, node, scope, out):
                value, leaves = value_of(node, scope)
                note_leaves(step, leaves, "input")
                out["input"] = plain_object(value)

    def _output(self, step: Step, out: JsonObject) -> None:
        node = value_node(step)
        scope = self.scope(step)
        if not node:
            out["set"] = "{{ input }}"
            step.node["output"].defaulted("it gives on what the step before it gave", self.draft)
        elif put_form(step, node, scope, out):
            out["set"] = "{{ input }}"
        elif has_named_items(node):
            made = arguments(step, node, scope, "set", {})
            out["set"] = {one.name: one.value for one in made}
        else:
            out["set"], leaves = value_of(node, scope)
            note_leaves(step, leaves, "set")

    # ------------------------------------------------------------------------------------------ conditions

    def _condition(self, step: Step, out: JsonObject) -> None:
        own: list[str] = []
        scope = self.scope(step)
        node = step.ways.cases[0].condition if step.ways.form == "branches" else step.field("condition")
        node = _inner(node) if node is not None else step.field("condition")
        before = len(step.notes)
        for given in self._given(step):
            if put_form(step, given, scope, out):
                continue
            if has_named_items(given):
                value: Any = {one.name: one.value for one in arguments(step, given, scope, "input", {})}
            else:
                value, leaves = value_of(given, scope)
                note_leaves(step, leaves, "input")
            out["input"] = plain_object(value)
            own += list(value) if isinstance(value, dict) else []
        try:
            when = self._when(node, self.scope(step, own=own))
        except UntranslatableError as error:
            out.pop("input", None)
            del step.notes[before:]
            self._decision(step, node, out, str(error))
            return
        self._note_when(step, node, when, "branch" if step.ways.form == "branches" else "set")
        out["set"] = f"{{{{ {when} }}}}"

    @staticmethod
    def _note_when(step: Step, node: Node, when: str, field: str, *, tail: bool = False) -> None:
        plain = isinstance(node.value, bool) or node.value.strip() in ("true", "false")
        if when in ("true", "false") and not plain:
            told = f"it is always {when} by what is known of the values: see what it should ask"
            step.note(node, "manual", field, told, tail=tail)
        else:
            step.note(node, "mapped", field, _told(node, when), tail=tail)

    def _when(self, node: Node, scope: Scope) -> str:
        if isinstance(node.value, bool):
            return "true" if node.value else "false"
        if not node.is_text:
            raise UntranslatableError("it is no expression" if node else "it says no condition")
        return condition(node.value, scope)

    def _decision(self, step: Step, node: Node, out: JsonObject, why: str) -> None:
        """A Tool that gives true or false, in place of a condition that has no equivalent."""
        code = node.value if node.is_text else ""
        what = f"the condition of step {step.key!r}, to be a function that gives true or false ({why})"
        self._stub(step, f"{step.key}-decision", node if node else _place(step), what, code, out, node)

    # ------------------------------------------------------------------------------------------ ways

    def _lead(self, step: Step) -> None:
        """Add the branch that follows a step."""
        ways, first = step.ways, step.made[0]
        if ways.form not in ("branches", "names"):
            return
        default = {"next": _goal(ways.target)}
        if step.kind == "condition" and ways.form == "branches" and len(ways.cases) == 1:
            when = f"{member('steps', step.id)}.output == true"
            branch: JsonObject = {"cases": [{"when": when, "next": _goal(ways.cases[0].target)}], "default": default}
            step.made.append({"id": self.ids.give(f"{step.id}-next"), "branch": branch})
            return
        cases: list[JsonObject] = []
        for case in ways.cases:
            when = self._case(step, case)
            cases.append({"when": when, "next": _goal(case.target)})
        if not cases:
            first["next"] = _goal(ways.target)
            return
        step.made.append({"id": self.ids.give(f"{step.id}-next"), "branch": {"cases": cases, "default": default}})

    def _case(self, step: Step, case: Case) -> str:
        scope = self.scope(step, "exit")
        if step.ways.form == "names":
            return self._named(step, case, scope)
        if case.condition is None:
            return checked(truth(scope.output_of(step, ())).text)
        node = _inner(case.condition)
        try:
            when = self._when(node, scope)
        except UntranslatableError as error:
            made: JsonObject = {"id": self.ids.give(f"{step.id}-decision")}
            self._decision(step, node, made, str(error))
            step.made.append(made)
            return f"{member('steps', made['id'])}.output == true"
        self._note_when(step, node, when, "branch", tail=True)
        return when

    def _named(self, step: Step, case: Case, scope: Scope) -> str:
        node = step.ways.node
        word = cel_literal(case.word)
        mentions = f"{member('steps', step.id)}.output"
        contains = f"type({mentions}) == string && {mentions}.contains({word})"
        if node is None or not step.ways.computed:
            return contains
        source = placeholder_of(node.value.strip())
        try:
            if source is None:
                raise UntranslatableError("it is no single expression")
            made = equals(source, case.word, scope)
            step.note(
                node, "mapped", "branch", "the step that it names, if it is one of these; else the end", tail=True
            )
            return made
        except UntranslatableError as error:
            told = f"{error}: here the flow goes to the first step that the answer of this one names"
            step.note(node, "manual", "branch", told, tail=True)
            return contains


def _place(step: Step) -> Node:
    """Where a row about the whole step stands, which speaks for no other key."""
    return step.key_node if step.key_node is not None else step.node["id"]


def _inner(node: Node) -> Node:
    return node.first("if", "expression", "condition", "when", "value", "code") if node.is_map else node


def _told(node: Node, when: str) -> str:
    return "" if node.is_text and node.value.strip() == when else f"in CEL: {when}"


def _goal(step: Step | None) -> str:
    return step.id if step is not None else "END"


def _of_form(form: Any) -> Any:
    """A special form of ``input`` as a template, for arguments, which have none."""
    if isinstance(form, dict):
        source = form.get("from") or form.get("type")
        return "{{ workflow.input }}" if source == "user-input" else f"{{{{ data[{cel_literal(str(source))}] }}}}"
    return form
