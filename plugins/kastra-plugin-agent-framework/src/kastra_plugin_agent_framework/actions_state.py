"""Actions that set variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kastra_core.migration import Node
from kastra_plugin_agent_framework.cel import ANY, BLANK, BOOLEAN, NUMBER, RECORD, TABLE, TEXT
from kastra_plugin_agent_framework.compiler import Compiler
from kastra_plugin_agent_framework.scope import data, variable_name

__all__ = ["KINDS", "path_of"]

_READ_ONLY = ("Env", "System")


def path_of(node: Node) -> str:
    """Path of a variable: a text, or an object with ``path``."""
    return node["path"].text() if node.is_map else node.text()


def target_of(self: Compiler, action: Node, *keys: str, word: str = "") -> str:
    """The variable that an action sets, with the row of its key; a problem where there is none."""
    node = action.first(*keys)
    path = path_of(node) if node else ""
    names = variable_name(path) if path else ()
    if not path:
        action.problem(f"{word or action['kind'].text()} needs {keys[0]}", hint=f"{keys[0]}: Local.Name")
        return "Local.Unknown"
    if not all(names) or (len(names) < 2) or (names[0] == "Workflow" and len(names) < 3):
        node.problem(f"{path!r} is no variable", hint="Local.Name, Workflow.Outputs.Name")
    if names[:2] == ("Workflow", "Inputs") or names[0] in _READ_ONLY:
        node.problem(f"{path!r} cannot be set: it is read-only", hint="Local.Name, Workflow.Outputs.Name")
    if names[0] == "Workflow" and names[1] not in ("Inputs", "Outputs"):
        node.problem(f"{path!r} is no variable: Workflow has Inputs and Outputs")
    node.mapped(self.draft, "data that the step publishes")
    return path


def _set_variable(self: Compiler, action: Node) -> None:
    path = target_of(self, action, "variable", "path")
    value = action["value"]
    template, types = self.value(value)
    name = self.name_of(action)
    self.assign(action, path, template, types, name=name)
    value.mapped(self.target(name, "set"))
    if not value.present:
        value.defaulted("no value: blank", self.target(name, "set"))


def _set_text(self: Compiler, action: Node) -> None:
    path = target_of(self, action, "variable", "path")
    value = action.first("value", "text")
    template = self.text_template(value)
    name = self.name_of(action)
    self.assign(action, path, template, frozenset({TEXT}), name=name)
    value.mapped(self.target(name, "set"))


def _set_several(self: Compiler, action: Node) -> None:
    nodes = action.first("assignments", "variables")
    base = self.base(action)
    if not nodes.items():
        action.problem("SetMultipleVariables needs assignments", hint="assignments: [{variable: Local.A, value: 1}]")
    for at, one in enumerate(nodes.items()):
        path = target_of(self, one, "variable", "path", word="SetMultipleVariables")
        template, types = self.value(one["value"])
        name = self.name_of(action) if at == 0 else self.step_id(f"{base}-{at + 1}")
        self.assign(action, path, template, types, name=name)
        one["value"].mapped(self.target(name, "set"))
        one.mapped(self.target(name), whole=False)


def _append(self: Compiler, action: Node) -> None:
    path = target_of(self, action, "path", "variable")
    value = action["value"]
    found = self.translator(value).as_table(self.variables.read(".".join(variable_name(path))))
    template, _ = self.value(value)
    name = self.name_of(action)
    self.assign(
        action,
        path,
        f"{{{{ {found.grouped} + [{_expression(self, action, template)}] }}}}",
        frozenset({TABLE}),
        name=name,
    )
    value.mapped(self.target(name, "set"))


def _expression(self: Compiler, action: Node, template: Any) -> str:
    """A template as an expression: what is no single one is made by a step before."""
    if (
        isinstance(template, str)
        and template.startswith("{{")
        and template.endswith("}}")
        and template.count("{{") == 1
    ):
        return template[2:-2].strip()
    name = self.step_id(f"{self.base(action)}-value")
    self.add(action, name, {"set": template})
    return f"steps.{name}.output"


def _reset(self: Compiler, action: Node) -> None:
    path = target_of(self, action, "variable", "path")
    self.assign(action, path, None, frozenset({BLANK}), name=self.name_of(action))


def _clear(self: Compiler, action: Node) -> None:
    scope = action["variables"].text("UserScopedVariables") if action["variables"] else ""
    every = scope.lower().startswith("all")
    names = [name for name in sorted(self.variables.declared) if every or name.startswith("Local.")]
    if every:
        names = [name for name in names if not name.startswith("Workflow.")]
    step = self.name_of(action)
    for at, name in enumerate(names):
        self.set_data(action, name, None, frozenset({BLANK}), name=step if at == 0 else "")
    if not names:
        self.add(action, step, {"set": None})
    action["variables"].dropped("all variables of the workflow that exist here are set to nothing", self.target(step))


_KINDS_OF_VALUES = {
    "string": "string",
    "text": "string",
    "number": "number",
    "int": "number",
    "integer": "number",
    "float": "number",
    "decimal": "number",
    "boolean": "boolean",
    "bool": "boolean",
    "object": "object",
    "record": "object",
    "table": "array",
    "array": "array",
    "list": "array",
}


def _parse_value(self: Compiler, action: Node) -> None:
    path = target_of(self, action, "variable", "path")
    value, wanted = action["value"], action["valueType"]
    template, types = self.value(value)
    name = self.name_of(action)
    kind = wanted["kind"].text() if wanted.is_map else wanted.text()
    kind = _KINDS_OF_VALUES.get(kind.lower(), "any") if kind else "any"
    value.mapped(self.target(name))
    if kind == "number":
        source = _expression(self, action, template)
        made = f'{{{{ [dyn({source})].map(v, v == null || v == "" ? 0 : double(v))[0] }}}}'
        self.assign(action, path, made, frozenset({NUMBER}), name=name)
    elif kind == "boolean":
        source = _expression(self, action, template)
        test = 'v == true || type(v) == string && string(v).matches("(?i)^(true|yes|1|on)$")'
        made = f"{{{{ [dyn({source})].map(v, {test})[0] }}}}"
        self.assign(action, path, made, frozenset({BOOLEAN}), name=name)
    elif kind == "string":
        self.assign(
            action, path, template if types == {TEXT} else f'{template}{{{{ "" }}}}', frozenset({TEXT}), name=name
        )
    else:
        body = {
            "tool": self.context.function("parse_json"),
            "arguments": {"text": template},
            "output": self.publish(
                ".".join(variable_name(path)),
                frozenset({{"array": TABLE, "object": RECORD}.get(kind, ANY), BLANK}),
            ),
        }
        self.add(action, name, body)
    wanted.mapped(self.target(name), "how the value is read") if kind in ("number", "boolean", "string") else (
        wanted.dropped("JSON says itself what it is", self.target(name))
    )


_OPERATIONS = {
    "add": "add",
    "addorupdate": "upsert",
    "clear": "clear",
    "insert": "add",
    "remove": "remove",
    "set": "update",
    "takefirst": "takefirst",
    "takelast": "takelast",
    "update": "update",
}


def _edit_table(self: Compiler, action: Node) -> None:
    change = action["changeType"]
    operation = change["kind"] if change.is_map else action.first("changeType", "operation")
    word = re.sub("(items?)?(operation)?$", "", operation.text("add").lower())
    path = target_of(self, action, "itemsVariable", "table", "variable", "path")
    if word not in _OPERATIONS:
        operation.problem(f"{operation.text()!r} is nothing that can be done to a table", hint=", ".join(_OPERATIONS))
        return
    value = change["value"] if change.is_map and change["value"] else action.first("value", "item")
    result = change["resultVariable"] if change.is_map else action["resultVariable"]
    target = ".".join(variable_name(path))
    table = self.translator(action).as_table(self.variables.read(target))
    step = self.name_of(action)
    given = {"index": action["index"], "key": action["key"]}
    item = self.value(value)[0] if value else None
    if result:
        place = data(target)
        last = f"{place}[size({place}) - 1]" if word == "takelast" else f"{place}[0]"
        taken = (
            f"{{{{ {place} == null || size({place}) == 0 ? dyn(null) : dyn({last}) }}}}"
            if word.startswith("take")
            else item
        )
        self.assign(action, path_of(result), taken, frozenset({ANY}))
        result.mapped(self.draft, "data that a step before publishes")
    if word == "clear":
        self.assign(action, path, [], frozenset({TABLE}), name=step)
    elif word in ("add", "insert") and not given["index"]:
        made = f"{{{{ {table.grouped} + [{_expression(self, action, item)}] }}}}"
        self.assign(action, path, made, frozenset({TABLE}), name=step)
    else:
        arguments = {"table": f"{{{{ {table.text} }}}}", "operation": _OPERATIONS[word], "item": item}
        arguments |= {key: self.value(node)[0] for key, node in given.items() if node}
        body = {"tool": self.context.function("edit_table"), "arguments": arguments}
        self.add(action, step, {**body, "output": self.publish(target, frozenset({TABLE}))})
    for node in (value, *given.values()):
        node.mapped(self.target(step))
    operation.mapped(self.target(step))
    change.mapped(self.target(step), whole=False)


KINDS: Mapping[str, Callable[[Compiler, Node], None]] = {
    "SetVariable": _set_variable,
    "SetValue": _set_variable,
    "SetTextVariable": _set_text,
    "SetMultipleVariables": _set_several,
    "AppendValue": _append,
    "ResetVariable": _reset,
    "ClearAllVariables": _clear,
    "ParseValue": _parse_value,
    "EditTable": _edit_table,
    "EditTableV2": _edit_table,
}
