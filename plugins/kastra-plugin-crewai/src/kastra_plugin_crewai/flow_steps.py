"""What methods of a flow do, as steps of a workflow."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ManifestError
from kastra_core.migration import Draft, Node, identifier
from kastra_core.protocols.migrator import MigrationSource, SourceDocument
from kastra_plugin_crewai.build import build_agent, build_tool
from kastra_plugin_crewai.flow_expressions import (
    NoCounterpartError,
    Output,
    Scope,
    reads_of,
    translate,
    type_of,
)
from kastra_plugin_crewai.flow_model import Action, EachStep, Method
from kastra_plugin_crewai.flow_state import changes_state
from kastra_plugin_crewai.flow_texts import sources, template
from kastra_plugin_crewai.flow_types import UNSURE
from kastra_plugin_crewai.flow_values import (
    Ids,
    as_input,
    has_expression,
    input_of,
    may_change_state,
    nothing,
    output_of_step,
    schema_of,
)
from kastra_plugin_crewai.json_crews import finish_crew, read_crew_file
from kastra_plugin_crewai.json_parts import agent_part, crew_of, inline_agents, named_tool
from kastra_plugin_crewai.model import CrewReport, Field

__all__ = ["Maker"]

_CHANGED = {
    "type": "object",
    "properties": {"output": {}, "state": {"type": "object"}},
    "required": ["output", "state"],
}
"""What a function gives that may change the state."""
_NOT_RUN = "code of a file is never run"


@attrs.define(eq=False)
class Maker:
    """Makes the steps of one flow.

    Everything that a method does is one step with the method's id, before it at times one that calls a tool.
    """

    report: CrewReport
    source: MigrationSource
    document: SourceDocument
    draft: Draft
    ids: Ids
    state: str
    """CEL of the state."""
    holder: str
    """Name of the published data in which the state is; "" when nothing changes it."""
    run_is_id: bool
    state_type: Callable[[Sequence[str]], str]
    _tools: dict[tuple[str, str], Draft] = attrs.field(factory=dict)

    def steps(self, method: Method, step: str, outputs: Callable[[str], Output | None]) -> list[JsonObject]:
        """The steps of a method's action, of which the last one has the id ``step``, and their rows."""
        scope = Scope(state=self.state, outputs=outputs, run_is_id=self.run_is_id, state_type=self.state_type)
        return self._action(method.action, step, method.name, scope, self._trigger(method, outputs))

    def _trigger(self, method: Method, outputs: Callable[[str], Output | None]) -> str:
        """CEL of what a method is handed over: the output of the method that it listens to, where it is one."""
        if isinstance(method.listen, str):
            found = outputs(method.listen)
            if found is not None:
                return found.path
        return ""

    def _target(self, step: str) -> str:
        return self.draft.target(f"step {step}")

    def _action(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node
        if node["call"].present:
            node["call"].mapped(self._target(step))
        make: Callable[[Action, str, str, Scope, str], list[JsonObject]] = getattr(self, f"_{action.call}")
        return make(action, step, name, scope, trigger)

    def _made(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        return [{"id": step, **(action.made or {})}]

    def _expression(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node["expr"]
        try:
            value = f"{{{{ {translate(node.value, scope)} }}}}"
        except NoCounterpartError as error:
            return [self._by_hand(node, step, scope, error, cel=True)]
        node.mapped(f"{self._target(step)} set")
        return [{"id": step, "set": value}]

    def _by_hand(self, node: Node, step: str, scope: Scope, error: Exception, *, cel: bool = False) -> JsonObject:
        """A step in which a function that somebody has to write does what an expression did."""
        reads = reads_of([node.value] if cel else sources(node.value))
        arguments: JsonObject = {"state": f"{{{{ {self.state} }}}}"}
        seen = {name: scope.outputs(name) for name in sorted(reads.outputs)}
        handed = {name: f"{{{{ {one.path} }}}}" for name, one in seen.items() if one is not None}
        if handed:
            arguments["outputs"] = handed
        if scope.item:
            arguments["item"] = "{{ item }}"
        told = f"Gives what an expression of the flow gave: {' '.join(str(node.value).split())[:200]}"
        tool = self._tool_of(f"{self.draft.name}_{step}", {key: {} for key in arguments}, told, node)
        function = tool.spec["python"]["function"]
        node.manual(f"{error}: write the function {function}, or an expression in its place", tool)
        return {"id": step, "tool": tool.name, "arguments": arguments}

    def _template(self, node: Node, value: Any, step: str, scope: Scope, before: list[JsonObject]) -> Any:
        """A template for what a key says; of what has no counterpart the output of a step that is put before."""
        try:
            return template(value, scope)
        except NoCounterpartError as error:
            if isinstance(value, Mapping):
                return {
                    key: self._template(node[key] if node[key].present else node, item, step, scope, before)
                    for key, item in value.items()
                }
            made = self._by_hand(node, self.ids.fresh(f"{step}_{node.name}"), scope, error)
            before.append(made)
            return f"{{{{ steps.{made['id']}.output }}}}"

    # ----------------------------------------------------------------------------------------------- agents and crews

    def _agent(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node["with"]
        before: list[JsonObject] = []
        asked = self._template(node["input"], node["input"].value, step, scope, before)
        part = agent_part(node, name, passed_over=("input",))
        if self.report.problems:
            return [nothing(step)]
        agent = build_agent(self.report, part, scope=self.draft.name)
        if not before:
            node["input"].mapped(f"{self._target(step)} input")
        return [*before, {"id": step, "agent": agent.name, "input": asked}]

    def _crew(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node
        given = node["with"]["inputs"]
        before: list[JsonObject] = []
        asked = {
            key: self._template(child, child.value, step, scope, before)
            for key, child in {**dict(given.fields()), **dict(node["inputs"].fields())}.items()
        }
        if node["from_declaration"]:
            return [*before, *self._declared(node["from_declaration"], step, name, node["inputs"], asked)]
        crew = crew_of(node["with"], f"{self.draft.name}-{name}", inline_agents(node["with"]["agents"]))
        over = node["inputs"].value or {}
        for key, child in given.fields():
            if key in over:
                child.dropped("the action's own inputs have this field, too, and win")
            elif has_expression(child.value):
                child.mapped(f"{self._target(step)} input.{key}")
            else:
                crew.inputs[key] = Field(child)
        if given.present and not given.value:
            given.dropped("empty")
        if self.report.problems:
            return [nothing(step)]
        made = finish_crew(self.report, crew)
        self._inputs_rows(node["inputs"], step)
        return [*before, {"id": step, "workflow": made.name, "input": as_input(asked)}]

    def _inputs_rows(self, node: Node, step: str) -> None:
        if node.present and not node.value:
            node.dropped("empty")
        for key, child in node.fields():
            child.mapped(f"{self._target(step)} input.{key}")

    def _declared(self, node: Node, step: str, name: str, inputs: Node, asked: Any) -> list[JsonObject]:
        """A crew in a file of its own: beside the flow, else a stub that takes its inputs."""
        path = str(node.value)
        target = self._target(step)
        if posixpath.isabs(path) or posixpath.normpath(path).startswith(".."):
            node.problem(
                f"{path!r} leads out of the flow's directory", "a crew lies in the directory of the flow or below"
            )
            return [nothing(step)]
        found = self._crew_document(path)
        self._inputs_rows(inputs, step)
        if found is not None:
            made = read_crew_file(self.report, self.source, found)
            node.mapped(target, "the workflow of that crew")
            return [{"id": step, "workflow": made.name if made else "", "input": as_input(asked)}]
        properties: JsonObject = {key: {} for key in asked} if isinstance(asked, Mapping) else {}
        tool = self._tool_of(f"{posixpath.basename(path) or name}-crew", properties, f"Runs the crew {path}.", node)
        node.manual(f"there is no crew {path}: migrate it, too, and put `workflow: NAME` in place of the tool", tool)
        return [{"id": step, "tool": tool.name, "arguments": asked}]

    def _crew_document(self, path: str) -> SourceDocument | None:
        plain = posixpath.normpath(path)
        for candidate in (f"{plain}/crew.jsonc", f"{plain}/crew.json", plain):
            try:
                documents = self.source.read(candidate, self.document)
            except ManifestError:
                continue
            if documents:
                return documents[0]
        return None

    # ----------------------------------------------------------------------------------------------- tools and code

    def _tool(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node
        before: list[JsonObject] = []
        arguments = self._template(node["with"], node["with"].value or {}, step, scope, before)
        tool = build_tool(self.report, named_tool(node["ref"], str(node["ref"].value)))
        self._arguments_rows(node["with"], step)
        return [*before, {"id": step, "tool": tool.name, "arguments": arguments}]

    def _arguments_rows(self, node: Node, step: str) -> None:
        if node.present and not node.value:
            node.dropped("empty")
        for key, child in node.fields():
            child.mapped(f"{self._target(step)} arguments.{key}")

    def _code(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node
        reference = str(node["ref"].value)
        before: list[JsonObject] = []
        arguments: Any = input_of(trigger)
        if node["with"]:
            arguments = {
                key: self._template(child, child.value, step, scope, before) for key, child in node["with"].fields()
            }
        self._arguments_rows(node["with"], step)
        what = reference.rpartition(":")[2] or reference
        told = f"{_NOT_RUN}, and {reference} gets the flow itself"
        made = self._call(
            node["ref"],
            what.replace(".<locals>", ""),
            step,
            arguments,
            changes=True,
            told=told,
            origin=reference,
            what=what,
        )
        return [*before, *made]

    def _script(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node["code"]
        code = str(node.value)
        arguments: JsonObject = dict(input_of(trigger)) if re.search(r"\binput\b", code) else {}
        if scope.item and re.search(r"\bitem\b", code):
            arguments["item"] = "{{ item }}"
        handed, missing = self._outputs_of(code, scope)
        if handed:
            arguments["outputs"] = handed
        changes = changes_state(code)
        if not changes and re.search(r"\bstate\b", code):
            arguments["state"] = f"{{{{ {self.state} }}}}"
        if action.node["language"].present:
            action.node["language"].mapped(self._target(step))
        told = _NOT_RUN
        if missing:
            told += f"; it reads outputs that are handed over by hand: {', '.join(missing)}"
        return self._call(
            node,
            f"{self.draft.name}_{name}",
            step,
            arguments,
            changes=changes,
            told=told,
            origin="a script in Python",
            what=name,
        )

    def _outputs_of(self, code: str, scope: Scope) -> tuple[JsonObject, list[str]]:
        """The outputs that a script reads, as far as its text tells."""
        names = list(dict.fromkeys(re.findall(r"\boutputs\s*(?:\[\s*|\.get\(\s*)['\"](\w+)['\"]", code)))
        found = {name: scope.outputs(name) for name in names}
        handed = {name: f"{{{{ {one.path} }}}}" for name, one in found.items() if one is not None}
        missing = [name for name, one in found.items() if one is None]
        if not names and re.search(r"\boutputs\b", code):
            missing = ["those that it names"]
        return handed, missing

    def _call(
        self,
        node: Node,
        name: str,
        step: str,
        arguments: Mapping[str, Any],
        *,
        changes: bool,
        told: str,
        origin: str,
        what: str,
    ) -> list[JsonObject]:
        """Call a function that somebody has to write; one that changes the state gives {output, state}."""
        handed = dict(arguments)
        if changes:
            handed["state"] = f"{{{{ {self.state} }}}}"
        purpose = f"Does what {what} did in the flow {self.draft.name}."
        tool = self._tool_of(name, {key: schema_of(value) for key, value in handed.items()}, purpose, node, origin)
        function = tool.spec["python"]["function"]
        gets = f"it gets {', '.join(handed)}" if handed else "it gets nothing"
        gives = "returns {output, state}" if changes else "returns the output"
        node.manual(f"{told}: write the function {function}, which {gives}; {gets}", tool)
        if not changes:
            return [{"id": step, "tool": tool.name, "arguments": handed}]
        tool.spec["outputSchema"] = dict(_CHANGED)
        called = self.ids.fresh(f"{step}_call")
        return [
            {"id": called, "tool": tool.name, "arguments": handed, "output": {"type": self.holder}},
            {"id": step, "set": f"{{{{ steps.{called}.output.output }}}}"},
        ]

    def _tool_of(
        self, name: str, properties: Mapping[str, Any], description: str, node: Node, origin: str = ""
    ) -> Draft:
        """A Tool whose function somebody has to write; the same one for the same name and arguments."""
        key = (name, ",".join(sorted(properties)))
        if key in self._tools:
            return self._tools[key]
        bare = name.rpartition(".")[2]
        draft = self.report.draft("Tool", bare, scope=f"{self.draft.name} {name} {key[1]}")
        schema: JsonObject = {"type": "object", "properties": dict(properties)}
        if properties:
            schema["required"] = list(properties)
        place = f"{node.document.file}:{node.line}"
        function = self.report.stubs.add(
            identifier(bare, "tool"),
            schema=schema,
            description=description,
            origin=f"{origin}, {place}" if origin else place,
        )
        draft.manifest["spec"] = {
            "type": "python",
            "description": description,
            "inputSchema": schema,
            "python": {"function": function},
        }
        self._tools[key] = draft
        return draft

    # ----------------------------------------------------------------------------------------------- each

    def _each(self, action: Action, step: str, name: str, scope: Scope, trigger: str) -> list[JsonObject]:
        node = action.node
        before: list[JsonObject] = []
        kind = ""
        try:
            items = translate(node["in"].value, scope)
            kind = type_of(node["in"].value, scope)
            if kind not in ("", "array"):
                items = f"dyn({items})"
            node["in"].mapped(f"{self._target(step)} foreach.items")
        except NoCounterpartError as error:
            before.append(self._by_hand(node["in"], self.ids.fresh(f"{step}_items"), scope, error, cel=True))
            items = f"steps.{before[0]['id']}.output"
        # Of a list that the source writes out, or of a schema, the workflow knows what is in it.
        here = attrs.evolve(scope, item_type="" if before else UNSURE if kind == "array" or "[" in items else "")
        inner: list[JsonObject] = []
        known: dict[str, Output] = {}
        for one in action.steps:
            inner += self._each_step(one, step, here, known, inner[-1]["id"] if inner else "")
        if any(may_change_state(one.action) for one in action.steps):
            node["do"].manual(
                "what an item does to the state is not seen by the next item, only after the step", self._target(step)
            )
        return [*before, {"id": step, "foreach": {"items": f"{{{{ {items} }}}}", "steps": inner}}]

    def _each_step(
        self, one: EachStep, step: str, scope: Scope, known: dict[str, Output], last: str
    ) -> list[JsonObject]:
        inner = self.ids.fresh(f"{step}_{one.name}")
        seen = dict(known)

        def outputs(name: str) -> Output | None:
            return seen.get(name) or scope.outputs(name)

        here = attrs.evolve(scope, outputs=outputs, item=True)
        made = self._action(one.action, inner, one.name, here, "")
        known[one.name] = output_of_step(inner, one, scope.outputs(one.name))
        one.node["name"].mapped(self._target(inner))
        test = one.node["if"]
        if not test:
            return made
        target = self._target(inner)
        chosen = self.ids.fresh(f"{inner}_if")
        before: list[JsonObject] = []
        try:
            when = translate(test.value, here)
            if type_of(test.value, here) not in ("", "boolean") or when == "item":
                when = f"dyn({when})"
            test.mapped(f"{target} branch")
        except NoCounterpartError as error:
            before.append(self._by_hand(test, self.ids.fresh(f"{inner}_test"), here, error, cel=True))
            when = f"steps.{before[0]['id']}.output == true"
        made_step: JsonObject = {"id": chosen, "branch": {"cases": [{"when": when, "steps": made}]}}
        # A branch that takes no way hands its input on: the output so far.
        if not last:
            skipped = {"id": self.ids.fresh(f"{inner}_skipped"), "set": None}
            made_step["branch"]["default"] = {"steps": [skipped]}
        elif before:
            made_step["input"] = f"{{{{ steps.{last}.output }}}}"
        return [*before, made_step]
