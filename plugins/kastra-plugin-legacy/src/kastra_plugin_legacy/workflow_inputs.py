"""What steps of older workflows are given: prompts of agents, arguments of tools and functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Node, cel_literal
from kastra_plugin_legacy.workflow_code import arguments_of
from kastra_plugin_legacy.workflow_expressions import expression
from kastra_plugin_legacy.workflow_js import UntranslatableError
from kastra_plugin_legacy.workflow_model import Step
from kastra_plugin_legacy.workflow_placeholders import has_placeholder
from kastra_plugin_legacy.workflow_schema import type_of
from kastra_plugin_legacy.workflow_scope import Scope
from kastra_plugin_legacy.workflow_text import Made, in_braces, plain_key, template, value_of

__all__ = [
    "Argument",
    "arguments",
    "code_arguments",
    "has_named_items",
    "plain_object",
    "prompt",
    "put_form",
    "stub_schema",
]

_PROMPTS = ("prompt", "message")
"""Fields of an agent's input that were sent alone."""
_FORM = frozenset({"type", "from", "description"})
_USER = frozenset({"user-input", "user", "input", "workflow.input", "workflow-input"})
_NEUTRAL = {"string": '""', "array": "[]", "object": "{}", "boolean": "false"}


@attrs.frozen(kw_only=True)
class Argument:
    """One argument of a tool or a function."""

    name: str
    value: Any
    """A template."""
    schema: JsonObject
    """What is known of it."""


def note_leaves(
    step: Step, made: Sequence[tuple[Node, Made]], field: str, reason: str = "", *, alone: bool = False
) -> None:
    """Write a row for each leaf of an input."""
    for node, leaf in made:
        if leaf.problems:
            told = "; ".join(leaf.problems)
            step.note(node, "manual", field, f"{told}. It stays as text: write what is meant")
        else:
            step.note(node, "mapped", field, reason)


# ------------------------------------------------------------------------------------------------ special forms


def put_form(step: Step, node: Node, scope: Scope, out: JsonObject) -> bool:
    """Write an input that describes where it comes from (``{type: user-input}``); False when it is no such one."""
    value = node.value
    if not isinstance(value, Mapping) or not value or not value.keys() <= _FORM:
        return False
    kind, source = value.get("type"), value.get("from")
    texts = [one for one in value.values() if one is not None]
    if not all(isinstance(one, str) and not has_placeholder(one) for one in texts):
        return False
    if not (isinstance(kind, str) and kind) and not (isinstance(source, str) and source):
        return False
    form = {key: one for key, one in value.items() if one}
    if isinstance(source, str) and source:
        return _put_from(step, node, scope, out, form, source.strip())
    if kind in _USER:
        out["input"] = {**form, "type": "user-input"}
        _note_form(step, node, changed=() if kind == "user-input" else ("type",))
        return True
    publisher = scope.plan.published.get(str(kind))
    if publisher is not None and not scope.precedes(publisher):
        step.note(
            node, "manual", "input", f"no step before this one gives {kind!r}; it gets the output of the step before"
        )
        return True
    if publisher is not None:
        out["input"] = form
        _note_form(step, node)
    else:
        step.note(node, "dropped", "input", "it only describes; the step gets the output of the step before")
    return True


def _put_from(step: Step, node: Node, scope: Scope, out: JsonObject, form: JsonObject, source: str) -> bool:
    plan = scope.plan
    target = plan.known.get(source)
    publisher = plan.published.get(source)
    if source in _USER and target is None and publisher is None:
        out["input"] = {**form, "from": "user-input"}
        _note_form(step, node, changed=() if source == "user-input" else ("from",))
        return True
    if publisher is not None and (target is None or target is publisher) and scope.precedes(publisher):
        out["input"] = form
        _note_form(step, node)
        return True
    if target is not None and scope.precedes(target):
        if target.publishes and target.publishes != "user-input":
            out["input"] = {**form, "from": target.publishes}
            step.note(node["from"], "mapped", "input.from", f"the data that step {source!r} gives")
            _note_form(step, node, without=("from",))
            return True
        code = scope.output_of(target, ()).value()
        out["input"] = in_braces(code.text)
        step.note(node["from"], "mapped", "input")
        for name in ("type", "description"):
            step.note(node[name], "dropped", "", "it only describes")
        return True
    step.note(
        node, "manual", "input", f"nothing before this step gives {source!r}; it gets the output of the step before"
    )
    return True


def _note_form(step: Step, node: Node, changed: Sequence[str] = (), without: Sequence[str] = ()) -> None:
    for name, inner in node.fields():
        if name in without:
            continue
        if inner.value in (None, ""):
            step.note(inner, "dropped", "", "empty")
        elif name in changed:
            step.note(inner, "mapped", f"input.{name}", "the workflow's input is called user-input")
        else:
            step.note(inner, "mapped", f"input.{name}")


# ------------------------------------------------------------------------------------------------ agents


def has_named_items(node: Node) -> bool:
    """Whether it is a list of inputs with names and sources."""
    return node.is_list and bool(node.value) and all(item.is_map and item["name"] for item in node.items())


def prompt(step: Step, prefix: Sequence[Node], parts: Sequence[Node], scope: Scope, out: JsonObject) -> None:
    """Write the input of an agent or a network.

    Args:
        prefix: texts that come first (a system prompt of the step's own).
        parts: what the step is given.
    """
    parts = [part for part in parts if part]
    if not parts and not prefix:
        return
    if not prefix and len(parts) == 1:
        (only,) = parts
        if put_form(step, only, scope, out):
            return
        if not only.is_text and not has_named_items(only) and _as_value(step, only, scope, out):
            return
    pieces: list[str] = []
    for node in prefix:
        if node.is_text:
            made = template(node.value, scope)
            pieces.append(str(made.value).rstrip())
            note_leaves(step, [(node, made)], "input", "it begins what the agent is asked, after its own instructions")
    if len(parts) == 1 and not pieces and parts[0].is_text:
        made = template(parts[0].value, scope)
        out["input"] = made.value
        note_leaves(step, [(parts[0], made)], "input")
        return
    pieces += [_as_text(step, part, scope) for part in parts]
    out["input"] = "\n\n".join(filter(None, pieces))


def _as_value(step: Step, node: Node, scope: Scope, out: JsonObject) -> bool:
    """Write an object, list or number as it is, where it was not a prompt with other things beside it."""
    if node.is_map:
        main = next((name for name in _PROMPTS if isinstance(node[name].value, str)), "")
        if main:
            if len(node.value) > 1:
                return False
            made = template(node[main].value, scope)
            out["input"] = made.value
            note_leaves(step, [(node[main], made)], "input")
            return True
        if node.value.keys() <= _FORM:
            return False
    value, leaves = value_of(node, scope)
    out["input"] = value
    note_leaves(step, leaves, "input")
    return True


def _as_text(step: Step, node: Node, scope: Scope) -> str:
    """An input as lines: the prompt, then ``name: value`` for each of the others."""
    if node.is_text:
        made = template(node.value, scope)
        note_leaves(step, [(node, made)], "input")
        return str(made.value)
    lines: list[str] = []
    if has_named_items(node):
        found = arguments(step, node, scope, "input", {}, inside=True)
        return "\n".join(f"{plain_key(argument.name)}: {_inline(argument.value)}" for argument in found)
    main = next((name for name in _PROMPTS if node.is_map and isinstance(node[name].value, str)), "")
    if main:
        made = template(node[main].value, scope)
        lines += [str(made.value).rstrip("\n"), ""]
        note_leaves(step, [(node[main], made)], "input")
    rest = [(key, inner) for key, inner in node.fields() if key != main] if node.is_map else [("", node)]
    for key, inner in rest:
        value, leaves = value_of(inner, scope)
        reason = "it follows the prompt; the older format sent the prompt alone" if main else ""
        note_leaves(step, leaves, "input", reason)
        lines.append(f"{plain_key(key)}: {_inline(value)}" if key else _inline(value))
    return "\n".join(lines).rstrip("\n") if not main or rest else lines[0]


def _inline(value: Any) -> str:
    """A value in a text; objects and lists as lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "".join(f"\n  {plain_key(str(key))}: {_inline(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "".join(f"\n  - {_inline(inner)}" for inner in value)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


# ------------------------------------------------------------------------------------------------ arguments


def arguments(
    step: Step,
    node: Node,
    scope: Scope,
    field: str,
    schema: Mapping[str, Any],
    *,
    own: bool = False,
    inside: bool = False,
) -> list[Argument]:
    """Return the arguments of a map or of a list of named inputs, and note their rows.

    Args:
        field: of the step, where they go.
        schema: of the tool, as far as it is known.
        own: the tool is a stub made for this step, which takes null and gets types and descriptions from here.
        inside: the field is a text, in which they stand.
    """
    out: list[Argument] = []
    if node.is_map:
        for key, inner in node.fields():
            value, leaves = value_of(inner, scope, _default(schema, key, own))
            note_leaves(step, leaves, f"{field}.{key}")
            out.append(Argument(name=plain_key(key), value=value, schema=_known(value, scope)))
        return out
    seen: set[str] = set()
    for item in node.items():
        if item["name"].text() in seen:
            step.note(item, "dropped", "", "another one has the same name")
            continue
        seen.add(item["name"].text())
        place = field if inside else f"{field}.{item['name'].text()}"
        out.append(_named(step, item, scope, place, schema, own))
    return out


def _named(step: Step, item: Node, scope: Scope, field: str, schema: Mapping[str, Any], own: bool) -> Argument:
    name = plain_key(item["name"].text())
    source = item.first("source", "from", "value")
    default = _default(schema, name, own)
    known: JsonObject = {}
    if source and (source.name == "value" or not source.is_text):
        value, leaves = value_of(source, scope, default)
        note_leaves(step, leaves, field)
    else:
        text = source.value if source else f"workflow.inputs.{name}"
        made = _from_source(text, scope, default)
        value = made.value
        if source:
            note_leaves(step, [(source, made)], field)
        known = _known(value, scope)
    step.note(item["name"], "mapped", field, "" if source else "the workflow's input of this name")
    word = type_of(item["type"].value)
    from_input = isinstance(value, str) and "steps" not in value and "data" not in value
    if own and word and known.get("type") in (word, [word, "null"]):
        step.note(item["type"], "dropped", "", "the workflow's input says the same")
    elif own and word and from_input:
        nullable = isinstance(value, str) and " : null }}" in value
        known = {"type": [word, "null"] if nullable else word}
        step.note(item["type"], "mapped", "", "in the inputSchema of the Tool")
    else:
        step.note(
            item["type"], "dropped", "", "what a step is given is described where it is made, and was not checked"
        )
    if item["description"].is_text and own:
        known = {**known, "description": item["description"].value}
        step.note(item["description"], "mapped", "", "in the inputSchema of the Tool")
    else:
        step.note(item["description"], "dropped", "", "inputs of a step are not described")
    for extra in ("required", "default", "defaultValue"):
        step.note(item[extra], "dropped", "", "the step gives the value each time")
    return Argument(name=name, value=value, schema=known)


def _from_source(text: str, scope: Scope, default: str) -> Made:
    """``steps.load.outputs.data`` or ``workflow.inputs.x``; with placeholders a template."""
    if has_placeholder(text):
        return template(text, scope, default)
    try:
        return Made(in_braces(expression(text, scope, default).text), changed=True)
    except UntranslatableError as error:
        return Made(None, (f"{text}: {error}",))


def _default(schema: Mapping[str, Any], name: str, own: bool) -> str:
    """CEL for an argument that has no value: null where the tool takes it, else what is empty."""
    properties = schema.get("properties")
    inner = properties.get(name) if isinstance(properties, Mapping) else None
    given = inner.get("type") if isinstance(inner, Mapping) else None
    words = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if own or not words or "null" in words:
        return "null"
    return _NEUTRAL.get(str(words[0]), "null")


def _known(value: Any, scope: Scope) -> JsonObject:
    """The schema of an argument that is a field of the workflow's input."""
    if isinstance(value, str):
        for name, inner in scope.plan.properties.items():
            if not isinstance(inner, Mapping) or not isinstance(inner.get("type"), (str, list)):
                continue
            if value == f"{{{{ workflow.input.{name} }}}}":
                return {key: one for key, one in inner.items() if key in ("type", "description")}
            if f" ? workflow.input.{name} : " in value and value.startswith(f"{{{{ has(workflow.input.{name})"):
                words = inner["type"] if isinstance(inner["type"], list) else [inner["type"]]
                return {"type": [*dict.fromkeys([*words, "null"])]}
    return {}


def code_arguments(step: Step, code: str, scope: Scope, taken: Sequence[str] = ()) -> Iterator[Argument]:
    """Yield what code takes of the workflow, beside what it is given by name already."""
    for name, path in arguments_of(code).items():
        if name in taken or path[-1] in taken:
            continue
        try:
            made = resolved(path, scope)
        except UntranslatableError:
            continue
        yield Argument(name=name, value=made, schema=_known(made, scope))


def resolved(path: tuple[str, ...], scope: Scope) -> str:
    """A path of code as a template that is null where it has no value."""
    from kastra_plugin_legacy.workflow_cel import checked

    code = scope.resolve(path)
    if code.absent:
        raise UntranslatableError("it is never there")
    return in_braces(checked(code.asked().text))


def stub_schema(given: Sequence[Argument]) -> JsonObject:
    """The schema of a function that takes these arguments, all of them each time."""
    out: JsonObject = {"type": "object", "properties": {one.name: one.schema for one in given}}
    if given:
        out["required"] = [one.name for one in given]
    return out


def plain_object(value: Any) -> Any:
    """An object that is taken for what it says, and not for a special form of ``input``."""
    if isinstance(value, Mapping) and value and value.keys() <= _FORM:
        pairs = ", ".join(f"{_cel(key)}: {_cel_of(inner)}" for key, inner in value.items())
        return f"{{{{ {{{pairs}}} }}}}"
    return value


def _cel(text: str) -> str:

    return cel_literal(text)


def _cel_of(value: Any) -> str:
    from kastra_plugin_legacy.workflow_cel import literal

    if isinstance(value, str) and value.startswith("{{ ") and value.endswith(" }}") and value.count("{{") == 1:
        return f"dyn({value[3:-3]})"
    return f"dyn({literal(value).text})"
