"""What older workflows do with the output of a step: publish it, name its parts, set variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Node, cel_literal
from kastra_plugin_legacy.workflow_model import Step
from kastra_plugin_legacy.workflow_placeholders import has_placeholder, placeholder_of
from kastra_plugin_legacy.workflow_schema import is_schema, type_of
from kastra_plugin_legacy.workflow_scope import Plan, Scope
from kastra_plugin_legacy.workflow_text import plain_key, value_of

__all__ = ["note_variables", "put_output", "read_output", "value_node"]

_FORM = frozenset({"type", "description"})


def _node(step: Step) -> Node:
    return step.field("output", "outputs")


def read_output(step: Step) -> None:
    """Note which names a step gives to its output, before anything is translated."""
    if step.kind == "output":
        value = value_node(step)
        step.shape = _shape_of(value.value) if value else None
        return
    node = _node(step)
    if not node:
        return
    if step.kind == "condition":
        # It gives true or false, and nothing else can be made of that.
        names = [(item["name"] if item.is_map else item) for item in node.items()]
        for inner in [one for one in names if one and not one.is_map and not one.is_list]:
            step.variables[inner.text()], step.variable_nodes[inner.text()] = "", inner
        for key, inner in node.fields():
            step.variables[key], step.variable_nodes[key] = "", inner
        return
    if node.is_list:
        for item in node.items():
            name = item["name"] if item.is_map else item
            if name and not isinstance(name.value, (dict, list)):
                step.outputs.append(plain_key(name.text()))
        step.outputs = list(dict.fromkeys(step.outputs))
        if step.outputs:
            step.shape = {
                "type": "object",
                "properties": {name: {} for name in step.outputs},
                "additionalProperties": False,
            }
    elif node.is_map:
        if _is_form(node.value):
            word = node["type"].text()
            step.publishes = word if word != "user-input" else ""
        elif not is_schema(node.value) and _is_template(node.value):
            step.outputs = [plain_key(key) for key in node.value]
            step.shape = _shape_of(node.value)
        elif not is_schema(node.value):
            for key, inner in node.fields():
                step.variables[key] = inner.value if isinstance(inner.value, str) else ""
                step.variable_nodes[key] = inner
    elif node.is_text and not has_placeholder(node.value) and node.value.strip():
        step.variables[node.value.strip()] = ""
        step.variable_nodes[node.value.strip()] = node
    elif node.is_text:
        step.shape = _shape_of(node.value)


def value_node(step: Step) -> Node:
    """What an output step gives."""
    names = (
        "value",
        "output",
        "outputs",
        "result",
        "input",
        "inputs",
        "arguments",
        "args",
        "parameters",
        "params",
        "with",
    )
    return step.field(*names)


def _shape_of(value: Any) -> Mapping[str, Any]:
    """What is known of what a template gives; nothing of a placeholder alone."""
    if isinstance(value, str):
        return {} if placeholder_of(value) is not None else {"type": "string"}
    if isinstance(value, Mapping):
        fields = {plain_key(str(key)): _shape_of(inner) for key, inner in value.items()}
        return {"type": "object", "properties": fields, "additionalProperties": False}
    if isinstance(value, list):
        return {"type": "array", "prefixItems": [_shape_of(inner) for inner in value]}
    if isinstance(value, bool):
        return {"type": "boolean"}
    return {"type": "null"} if value is None else {"type": "number"}


def _is_form(value: Mapping[str, Any]) -> bool:
    """``{type: NAME, description}``; the name of a JSON type describes a value and no data."""
    word = value.get("type")
    return isinstance(word, str) and bool(word.strip()) and value.keys() <= _FORM and not type_of(word)


def _is_template(value: Any) -> bool:
    if isinstance(value, str):
        return has_placeholder(value)
    if isinstance(value, Mapping):
        return any(_is_template(inner) for inner in value.values())
    return isinstance(value, list) and any(_is_template(inner) for inner in value)


def put_output(step: Step, out: JsonObject, plan: Plan) -> None:
    """Write ``output`` of a step, as far as it does not depend on what later steps ask for."""
    node = _node(step)
    if not node or step.kind == "output":
        return
    if step.kind == "condition":
        if not step.variables:
            step.note(node, "dropped", "", "a condition gives true or false")
    elif node.is_list:
        _put_list(step, node, out)
    elif node.is_map and _is_form(node.value):
        if step.publishes:
            step.note(node, "mapped", "output", whole=False)
            for _, inner in node.fields():
                step.note(inner, "mapped", f"output.{inner.name}")
            if node["description"]:
                out["output"] = {"type": step.publishes, "description": node["description"].text()}
        else:
            step.note(node, "dropped", "", "'user-input' is the workflow's input; no step publishes it")
    elif node.is_map and is_schema(node.value):
        reason = "the older format never checked it; `output: {schema: ...}` of the step has it checked"
        step.note(node, "dropped", "", reason)
    elif (node.is_map and _is_template(node.value)) or (node.is_text and has_placeholder(node.value)):
        value, made = value_of(node, Scope(plan, step, "output"))
        if isinstance(value, dict) and value.keys() <= {"type", "schema", "value", "description"}:
            value = {"schema": {}, "value": value}
        out["output"] = value
        for leaf, one in made:
            if one.problems:
                step.note(leaf, "manual", "output", f"{'; '.join(one.problems)}: write what is meant")
            else:
                step.note(leaf, "mapped", "output")


def _put_list(step: Step, node: Node, out: JsonObject) -> None:
    names = step.outputs
    if not names:
        return
    several = len(names) > 1
    branches = {branch.name for branch in step.branches}
    value: JsonObject = {}
    for name in names:
        key = cel_literal(name)
        if step.branches:
            value[name] = f"{{{{ result[{key}] }}}}" if name in branches else "{{ result }}"
        elif several:
            value[name] = f"{{{{ type(result) == map && {key} in result ? result[{key}] : result }}}}"
        else:
            value[name] = "{{ result }}"
    plain = value.keys() <= {"type", "schema", "value", "description"}
    out["output"] = {"schema": {}, "value": value} if plain else value
    for item in node.items():
        if item.is_map:
            reason = (
                "the part of this name, or all where there is no such part" if several else "all that the step gives"
            )
            step.note(item["name"], "mapped", f"output.{item['name'].text()}", reason)
            for field in ("type", "description", "schema"):
                step.note(
                    item[field], "dropped", "", "what a step gives is described where it is made, and was not checked"
                )
        else:
            step.note(item, "mapped", f"output.{item.text()}")


def note_variables(step: Step, plan: Plan) -> None:
    """Say of each variable what became of it, when all is translated, and publish what is asked for."""
    for name, node in step.variable_nodes.items():
        if (step, name) in plan.asked:
            how = f"later steps have it as {'data.' + step.publishes if step.publishes else f'steps.{step.id}.output'}"
            if step.variables[name] == "" and (step.kind == "condition" or not node.is_text):
                step.note(node, "dropped", "", f"{how}; what else stands here was not looked at")
            else:
                step.note(node, "mapped", "", how)
        else:
            step.note(node, "dropped", "", "no other step uses this variable; the output is there as steps.ID.output")
    out = step.made[0]
    if not step.publishes:
        return
    given = out.get("output")
    if given is None:
        out["output"] = {"type": step.publishes}
    elif isinstance(given, dict) and given.keys() <= {"type", "schema", "value", "description"}:
        out["output"] = {"type": step.publishes, **{key: one for key, one in given.items() if one != {}}}
    else:
        out["output"] = {"type": step.publishes, "value": given}
