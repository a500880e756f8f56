"""Nodes of a graph that are functions or tools: what is called, with what, and how a step repeats it."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, cel_literal
from kastra_plugin_adk.agents import say_callbacks, say_unknown
from kastra_plugin_adk.format import NODE_FIELDS, field
from kastra_plugin_adk.graphs import GraphNode
from kastra_plugin_adk.project import Project, Unit
from kastra_plugin_adk.python_files import Found
from kastra_plugin_adk.schemas import schema_of
from kastra_plugin_adk.sight import at
from kastra_plugin_adk.tools import ToolShelf

__all__ = ["Call", "call_of", "fill_node", "say_graph", "say_node", "step_settings"]

_INPUT = "node_input"
"""Parameter of a function that gets the output of the node before."""
_ANY_INPUT: JsonObject = {
    "type": "object",
    "properties": {_INPUT: {"description": "What the node before gave."}},
}
_RETRY = {
    "max_attempts": "maxAttempts",
    "initial_delay": "delay",
    "max_delay": "maxDelay",
    "backoff_factor": "multiplier",
    "jitter": "jitter",
}


@attrs.frozen(eq=False)
class Call:
    """What a node calls."""

    node: Node
    """What names it, for rows."""
    dotted: str
    name: str
    found: Found | None
    is_tool: bool = False
    unit: Unit | None = None

    def tool(self, shelf: ToolShelf) -> Draft:
        """The Tool of it."""
        if self.is_tool or "." not in self.dotted or (self.found is not None and self.found.kind != "function"):
            description = self._description() or f"Does what the node {self.name} did."
            schema = None if self.is_tool else _ANY_INPUT
            key = f"{self.dotted} {self.unit.node.document.file if self.unit and self.is_tool else ''}"
            return shelf.for_node(key, self.dotted.rpartition(".")[2], description, schema, self.node)
        draft, _ = shelf.for_function(self.dotted, self.node)
        return draft

    def _description(self) -> str:
        told = field(self.unit.node, "description") if self.unit is not None else None
        if told is not None and told.is_text and told.value:
            return str(told.value)
        return self.found.description if self.found is not None else ""

    def arguments(self, given: str, state: Iterable[str], outside: Iterable[str]) -> JsonObject | str:
        """Template of the arguments: the input of the node, and by name what the state has."""
        if self.is_tool:
            return f"{{{{ {given} }}}}"
        if self.found is None or self.found.kind != "function":
            return {_INPUT: f"{{{{ {given} }}}}"}
        known, fields = set(state), set(outside)
        out: JsonObject = {}
        for name, optional in self.found.parameters:
            if name == _INPUT:
                out[name] = f"{{{{ {given} }}}}"
            elif name in fields:
                out[name] = f"{{{{ {at('workflow.input', name)} }}}}"
            elif name in known and not optional:
                out[name] = f"{{{{ {at('data', name)} }}}}"
            elif name in known:
                out[name] = f"{{{{ {cel_literal(name)} in data ? {at('data', name)} : null }}}}"
        return out

    def say(self, tool: Draft, flow: Draft, step_id: str, *, routes: bool) -> None:
        """Rows for what names the function."""
        function = str(tool.get("spec.python.function", ""))
        module = function.partition(":")[0]
        told = (
            f"allow the module: kastra config set tools.python.allow {module}"
            if not self._is_stub(tool)
            else f"write {function}"
        )
        if not self.is_tool:
            told += "; where it returned an Event let it return its output as plain JSON"
            if routes:
                told += ', {"route": ...} for the route'
            keys = self.found.state if self.found is not None else []
            if keys:
                told += f", with {', '.join(keys)} as fields in place of state"
        self.node.manual(told, tool.target("spec.python.function"))
        self.node.mapped(flow.target(f"spec.steps {step_id}"))

    def _is_stub(self, tool: Draft) -> bool:
        return tool.get("spec.description") is not None


def call_of(node: GraphNode, project: Project) -> Call:
    """What a node that is no agent calls."""
    unit = node.unit
    if unit is None:
        found = project.python.find(node.function, node.node.document) if "." in node.function else None
        return Call(node.node, node.function, node.name, found)
    for key, is_tool in (("func_code", False), ("func", False), ("tool_code", True), ("tool", True)):
        value = field(unit.node, key)
        named = value["name"] if value.is_map else value
        if named.is_text and named.value.strip():
            dotted = named.value.strip()
            found = project.python.find(dotted, named.document) if "." in dotted else None
            return Call(named, dotted, unit.name, found, is_tool, unit)
    return Call(unit.node, unit.name, unit.name, None, unit.cls == "ToolNode", unit)


def say_node(node: GraphNode, draft: Draft, step_id: str) -> None:
    """Rows for a node that is a FunctionNode, ToolNode or JoinNode, and for what names it."""
    unit = node.unit
    target = draft.target(f"spec.steps {step_id}")
    if unit is None:
        return
    if node.node.path != unit.node.path or node.node.document is not unit.node.document:
        where = node.node if node.node.is_text else node.node.first("config_path", "configPath", "code")
        where.mapped(target)
    _say_fields(unit, target)


def _say_fields(unit: Unit, target: str) -> None:
    described = unit.node
    field(described, "agent_class").mapped(target, f"a {unit.cls} is a step")
    field(described, "name").mapped(target, "id of the step")
    for key, told in (
        ("rerun_on_resume", "a run goes on where it stopped and repeats nothing that was done"),
        ("wait_for_output", "a step is over when it has an output"),
        ("parameter_binding", "arguments of a step are said one by one"),
        ("state_schema", "the data of a Workflow have no schema; output.schema of a step checks one of them"),
    ):
        if field(described, key).present:
            field(described, key).dropped(told, target)
    for key in ("auth_config", "require_confirmation"):
        value = field(described, key)
        if value:
            value.manual("ask in a `suspend` step before this one", target)
    for key in ("input_schema", "output_schema", "input_schema_code", "output_schema_code"):
        value = field(described, key)
        if value:
            value.manual("say it at the Tool: inputSchema, outputSchema", target)
    description = field(described, "description")
    if description.present:
        if unit.cls == "JoinNode":
            description.dropped("the step has no place for it", target)
        else:
            description.mapped(target, "description of its Tool, where that is a stub")
    args = field(described, "args")
    if args:
        args.manual("the tool was made with this: let the function do the same", target)
    for key in ("parallel_worker", "max_parallel_workers"):
        value = field(described, key)
        if value.present and not value.value:
            value.dropped("as without it", target)
    say_callbacks(described, target)
    own = ("func", "tool", "args", "parallel_worker", "max_parallel_workers", "auth_config", "require_confirmation")
    say_unknown(described, (*NODE_FIELDS, *own, "parameter_binding"))


def step_settings(unit: Unit, flow: Draft, step_id: str) -> JsonObject:
    """``retry`` and ``timeout`` of a step, with rows."""
    out: JsonObject = {}
    timeout = field(unit.node, "timeout")
    seconds = timeout.number() if timeout else None
    if seconds is not None:
        out["timeout"] = seconds
        timeout.mapped(flow.target(f"spec.steps {step_id}.timeout"), "seconds")
    retry = field(unit.node, "retry_config")
    if retry:
        settings: JsonObject = {}
        for key, value in retry.fields():
            plain = _RETRY.get(key)
            number = value.number() if plain and value else None
            if plain and number is not None:
                settings[plain] = min(number, 1.0) if plain == "jitter" else number
                value.mapped(flow.target(f"spec.steps {step_id}.retry.{plain}"))
            else:
                value.manual(
                    "retry.on takes reasons, not exceptions of Python", flow.target(f"spec.steps {step_id}.retry")
                )
        if "maxAttempts" not in settings:
            settings["maxAttempts"] = 5
            retry.defaulted("5 tries, as ADK does", flow.target(f"spec.steps {step_id}.retry.maxAttempts"))
        out["retry"] = settings
    return out


def fill_node(unit: Unit, project: Project, shelf: ToolShelf) -> None:
    """A FunctionNode or a ToolNode that no graph uses: its Tool."""
    call = call_of(GraphNode(unit.name, unit.node, unit=unit), project)
    draft = call.tool(shelf)
    unit.main = draft
    call.say(draft, draft, "", routes=False)
    for key in ("retry_config", "timeout"):
        if field(unit.node, key):
            field(unit.node, key).manual("say it at the step of a Workflow that calls the tool", draft)
    _say_fields(unit, draft.target())


def say_graph(project: Project, node: Node, draft: Draft) -> None:
    """Rows for the fields of a graph beside its edges; its schemas are put into the Workflow."""
    for key in ("input_schema", "output_schema"):
        for name in (key, f"{key}_code"):
            value = field(node, name)
            if value:
                path = f"spec.{'input' if key.startswith('input') else 'output'}Schema"
                schema = schema_of(value, project, draft, path)
                if schema is not None:
                    draft.set(path, schema)
    concurrency = field(node, "max_concurrency")
    if concurrency.present:
        if concurrency.value is not None and not isinstance(concurrency.value, int):
            concurrency.problem(f"expected an integer, found {concurrency.value!r}")
        concurrency.mapped(draft.target("spec.steps"), "bounds each of its parallel steps by itself")
    for key, told in (
        ("rerun_on_resume", "a run goes on where it stopped and repeats nothing that was done"),
        ("wait_for_output", "a step is over when it has an output"),
        ("state_schema", "the data of a Workflow have no schema; output.schema of a step checks one of them"),
        ("state_schema_code", "the data of a Workflow have no schema; output.schema of a step checks one of them"),
    ):
        if field(node, key).present:
            field(node, key).dropped(told, draft.target())
    if field(node, "timeout"):
        field(node, "timeout").to(draft, "spec.timeout")
    if field(node, "retry_config"):
        field(node, "retry_config").manual("say it at the steps, or as spec.retry of the Workflow", draft)
