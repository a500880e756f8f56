"""Declarative flows (``schema: crewai.flow/v1``) as Workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, cel_literal, escape_braces
from kastra_core.protocols.migrator import SourceDocument
from kastra_plugin_crewai.flow_conversation import put_conversation
from kastra_plugin_crewai.flow_expressions import Output, Reads, Scope, reads_of, type_of
from kastra_plugin_crewai.flow_graph import Block, Events, Unstructured, plan
from kastra_plugin_crewai.flow_layout import Blocks, Outputs
from kastra_plugin_crewai.flow_model import Action, Flow, Method, read_flow
from kastra_plugin_crewai.flow_queue import Queue
from kastra_plugin_crewai.flow_rows import flow_rows, method_rows
from kastra_plugin_crewai.flow_state import put_state, state_fields
from kastra_plugin_crewai.flow_steps import Maker
from kastra_plugin_crewai.flow_texts import sources
from kastra_plugin_crewai.flow_types import type_of_state
from kastra_plugin_crewai.flow_values import Ids, may_change_state
from kastra_plugin_crewai.model import CrewReport

__all__ = ["detect_flow", "migrate_flow"]


def detect_flow(document: SourceDocument) -> float:
    """Confidence that a document is a declarative flow."""
    data = document.data
    if not isinstance(data, Mapping):
        return 0.0
    schema = data.get("schema")
    if isinstance(schema, str) and schema.startswith("crewai.flow"):
        return 1.0
    methods = data.get("methods")
    if "schema" in data or not isinstance(methods, Mapping) or not methods:
        return 0.0
    each = [method for method in methods.values() if isinstance(method, Mapping)]
    shaped = [one for one in each if "do" in one and ({"start", "listen"} & one.keys())]
    return 0.8 if shaped and len(each) == len(methods) else 0.0


def migrate_flow(report: CrewReport, document: SourceDocument) -> None:
    """Make the resources of a flow: a Workflow, and the Agents, Tools and Workflows of crews that its methods use."""
    root = report.read(document)
    flow = read_flow(root)
    if flow is None:
        return
    draft = report.draft("Workflow", flow.name)
    flow = put_conversation(report, flow, draft)
    events = Events(flow.methods)
    if not events.starts:
        hint = "write start: true at the method that comes first"
        root["methods"].problem("no method has `start`, so nothing of the flow would run", hint)
        return
    _Migration(report, document, flow, draft, events).run()


@attrs.define(eq=False)
class _Migration:
    """One flow; makes the steps of its methods for whichever layout it gets."""

    report: CrewReport
    document: SourceDocument
    flow: Flow
    draft: Draft
    events: Events
    ids: Ids = attrs.field(factory=Ids)
    _step: dict[str, str] = attrs.field(factory=dict)
    _asked: dict[str, str] = attrs.field(factory=dict)
    """Method -> id of the step in which a person is asked."""
    _types: dict[str, str] = attrs.field(factory=dict)
    _maker: Maker = attrs.field(init=False)

    def run(self) -> None:
        names = self.events.reachable()
        methods = [self.flow.methods[name] for name in names]
        changes = any(may_change_state(method.action) for method in methods)
        for name in names:
            self._step[name] = self.ids.fresh(name)
            if self.flow.methods[name].feedback is not None:
                self._asked[name] = self.ids.fresh(f"{name}_feedback")
        holder = self._data_name("state") if changes else ""
        state = self.flow.node["state"]
        declared = state_fields(state)
        self._maker = Maker(
            self.report,
            self.report.source,
            self.document,
            self.draft,
            self.ids,
            f"data.{holder}.state" if changes else "workflow.input",
            holder,
            "id" not in declared,
            self._state_type,
        )
        put_state(self.draft, state, self._read_fields(methods))
        layout, why = self._layout()
        made = layout.manifest()
        if changes:
            first: JsonObject = {
                "id": self.ids.fresh("state"),
                "set": {"state": "{{ workflow.input == null ? {} : workflow.input }}"},
                "output": {"type": holder},
            }
            made.insert(0, first)
        self.draft.spec["steps"] = made
        if isinstance(layout, Queue):
            self.draft.spec["output"] = f"{{{{ {layout.output} }}}}"
        flow_rows(self.flow, self.draft, events=self.events, why=why, made=made)
        for name, method in self.flow.methods.items():
            method_rows(method, self.events, self.draft, self._step.get(name, ""), self._asked.get(name, ""))

    def _state_type(self, members: Sequence[str]) -> str:
        if self._maker.holder:
            return ""
        return type_of_state(self.draft.spec.get("inputSchema"), members)

    def _type(self, method: str) -> str:
        """JSON type of a method's output as far as it is known."""
        if method not in self._types:
            self._types[method] = ""  # of one that reads itself nothing is known
            action = self.flow.methods[method].action
            scope = Scope(
                state="",
                outputs=lambda name: self.output(name) if name in self._step else None,
                run_is_id=self._maker.run_is_id,
                state_type=self._state_type,
            )
            if action.call == "expression":
                self._types[method] = type_of(action.node["expr"].value, scope)
            elif action.call == "each":
                self._types[method] = "array"
        return self._types[method]

    def _data_name(self, word: str) -> str:
        """A name of published data that is no method's."""
        name = f"flow_{word}"
        while name in self.flow.methods:
            name += "_"
        return name

    def _read_fields(self, methods: list[Method]) -> set[str]:
        """Fields of the state that expressions read."""
        found: set[str] = set()
        for method in methods:
            found |= {path[0] for path in _reads(method.action).state if path and path != ("id",)}
        return found

    def _layout(self) -> tuple[Blocks | Queue, str]:
        try:
            block: Block = plan(self.events)
            blocks = Blocks(self.events, self, block)
            blocks.check()
        except (Unstructured, RecursionError) as reason:
            why = str(reason) if isinstance(reason, Unstructured) else "it is very long"
            return Queue(self.events, self, self._data_name("due")), why
        return blocks, ""

    # ----------------------------------------------------------------------------------------------- what layouts ask

    def fresh(self, name: str) -> str:
        return self.ids.fresh(name)

    def make(self, method: Method, outputs: Outputs) -> list[JsonObject]:
        step = self._step[method.name]
        made = self._maker.steps(method, step, outputs)
        if method.node["description"].value and made:
            made[-1]["description"] = str(method.node["description"].value).strip()
        if method.feedback is not None:
            made.append(self._question(method, step))
        return made

    def _question(self, method: Method, step: str) -> JsonObject:
        """The step that asks a person about the output of a method."""
        assert method.feedback is not None
        node = method.feedback.node
        message = f"{escape_braces(node['message'].text())}\n\n{{{{ steps.{step}.output }}}}"
        properties: JsonObject = {"feedback": {"type": "string", "description": "What to say about it; may be empty."}}
        schema: JsonObject = {"type": "object", "properties": properties}
        output: JsonObject = {
            "output": f"{{{{ steps.{step}.output }}}}",
            "feedback": '{{ has(result.feedback) ? result.feedback : "" }}',
            "outcome": None,
            "method_name": method.name,
        }
        labels = list(dict.fromkeys(method.feedback.emit))
        if labels:
            default = node["default_outcome"].value or labels[0]
            if default not in labels:
                labels.append(default)
            properties["outcome"] = {"enum": labels, "default": default}
            output["outcome"] = f"{{{{ has(result.outcome) ? result.outcome : {cel_literal(default)} }}}}"
        return {"id": self._asked[method.name], "suspend": {"message": message, "schema": schema}, "output": output}

    def output(self, method: str, *, published: str = "") -> Output:
        of = self.flow.methods[method]
        asked = self._asked.get(method, "")
        as_answer = bool(asked) and not (of.feedback and of.feedback.emit)
        step = asked if as_answer else self._step[method]
        kind = "feedback" if as_answer else of.action.output_kind
        known = "object" if as_answer else self._type(method)
        if published:
            return Output(
                path=f"data.{published}",
                present=f"has(data.{published})",
                kind=kind,
                inner=of.action.output_kind,
                type=known,
            )
        return Output(
            path=f"steps.{step}.output",
            present=f"has(steps.{step})",
            kind=kind,
            inner=of.action.output_kind,
            type=known,
        )

    def answer(self, method: str) -> str:
        asked = self._asked.get(method)
        if asked:
            return f"steps.{asked}.output.outcome"
        field = self.flow.methods[method].action.answer
        return f"steps.{self._step[method]}.output{f'.{field}' if field else ''}"

    def result(self, method: str) -> str:
        return self.output(method).path

    def loose(self, method: str) -> bool:
        of = self.flow.methods[method]
        return of.feedback is None and of.action.call not in ("agent", "made")

    def reads(self, method: str) -> set[str]:
        of = self.flow.methods[method]
        local = {step.name for step in of.action.steps}
        return {name for name in _reads(of.action).outputs if name in self.flow.methods and name not in local}


def _reads(action: Action) -> Reads:
    """What the expressions of an action read."""
    found = Reads()

    def add(value: Any, *, cel: bool = False) -> None:
        more = reads_of([value] if cel else sources(value))
        found.outputs |= more.outputs
        found.state |= more.state

    node = action.node
    if action.call == "expression":
        add(node["expr"].value, cel=True)
    elif action.call == "agent":
        add(node["with"]["input"].value)
    elif action.call == "crew":
        add(node["with"]["inputs"].value)
        add(node["inputs"].value)
    elif action.call in ("tool", "code"):
        add(node["with"].value)
    elif action.call == "each":
        add(node["in"].value, cel=True)
    for step in action.steps:
        if step.node["if"]:
            add(step.node["if"].value, cel=True)
        more = _reads(step.action)
        found.outputs |= more.outputs
        found.state |= more.state
    return found
