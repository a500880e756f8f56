"""What an older workflow takes and gives: its input, its output and their schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node
from kastra_plugin_legacy.workflow_cel import checked
from kastra_plugin_legacy.workflow_expressions import expression
from kastra_plugin_legacy.workflow_js import UntranslatableError
from kastra_plugin_legacy.workflow_placeholders import has_placeholder
from kastra_plugin_legacy.workflow_schema import clean_schema, is_schema, schema_of_fields, schema_of_list, type_of
from kastra_plugin_legacy.workflow_scope import Plan, Scope
from kastra_plugin_legacy.workflow_text import Made, in_braces, plain_key, template, value_of

__all__ = ["put_output_of_workflow", "read_input", "with_used"]


def _left_out(left: list[str]) -> str:
    return f"left out, for it is no JSON Schema: {', '.join(left[:8])}" if left else ""


def read_input(node: Node, draft: Draft) -> dict[str, Any] | None:
    """Return the JSON schema that a workflow says its input has, None where it says nothing, and write its row."""
    given = node.first("inputSchema", "input", "inputs")
    if not given:
        return None
    left: list[str] = []
    if given.is_list:
        schema = schema_of_list(given, left)
    elif given.is_map and is_schema(given.value):
        schema = clean_schema(given.value, left)
        schema.setdefault("type", "object")
    elif given.is_map:
        schema = schema_of_fields(given, left)
    else:
        given.manual("it is neither a schema nor a list of fields: write spec.inputSchema", draft)
        return None
    _schema_rows(given, draft, "spec.inputSchema", left)
    return schema


def _schema_rows(given: Node, draft: Draft, path: str, left: list[str]) -> None:
    reason = _left_out(left)
    if left:
        given.manual(reason, draft.target(path))
    else:
        given.mapped(draft.target(path), "as a JSON schema" if given.is_list else "")


def with_used(plan: Plan) -> dict[str, Any] | None:
    """The schema of the input with the fields that expressions use and that the source does not describe."""
    if plan.schema is None and not plan.used:
        return None
    schema: dict[str, Any] = dict(plan.schema) if plan.schema is not None else {"type": "object"}
    types = schema.get("type")
    if types != "object" and not (isinstance(types, list) and "object" in types) and types is not None:
        return schema
    properties: dict[str, Any] = dict(plan.properties)
    required = list(schema.get("required", ()))
    for name, needed in plan.used.items():
        properties.setdefault(name, {})
        if needed and name not in required:
            required.append(name)
    if properties or "properties" in schema:
        schema["properties"] = properties
    if required:
        schema["required"] = required
    return schema


def put_output_of_workflow(node: Node, draft: Draft, plan: Plan, end: JsonObject) -> None:
    """Write ``output`` and ``outputSchema``."""
    schema, given = node["outputSchema"], node.first("output", "outputs")
    if schema:
        _put_schema(schema, draft, end)
    if not given:
        return
    if given.is_list:
        _put_list(given, draft, plan, end)
    elif given.is_map and not _has_placeholders(given.value):
        if schema:
            given.dropped("outputSchema says what the output is")
        else:
            _put_schema(given, draft, end)
    else:
        value: Any
        if given.is_text and not has_placeholder(given.value):
            made = _from_source(given.value, Scope(plan, None, "end"))
            value, leaves = made.value, [(given, made)]
        else:
            value, leaves = value_of(given, Scope(plan, None, "end"))
        if value is not None:
            end["output"] = value
        for leaf, one in leaves:
            _row(leaf, one, draft, "spec.output")
        if (
            "outputSchema" in end
            and value is not None
            and not _could_fit(value, leaves, end["outputSchema"], len(given.path))
        ):
            del end["outputSchema"]
            schema.dropped("the output that the workflow writes has other types")


def _could_fit(value: Any, leaves: list[tuple[Node, Made]], schema: Mapping[str, Any], depth: int) -> bool:
    """Whether an output could have the types that its schema names at the top and for its fields."""
    top = _types_of(value, [one for leaf, one in leaves if len(leaf.path) == depth])
    if top is not None and not fits(top, schema.get("type")):
        return False
    if not isinstance(value, Mapping):
        return True
    properties = schema.get("properties", {})
    if any(name not in value for name in schema.get("required", ())):
        return False
    for name, inner in value.items():
        if name not in properties:
            if schema.get("additionalProperties") is False:
                return False
            continue
        types = _types_of(inner, [one for leaf, one in leaves if plain_key(str((*leaf.path, "")[depth])) == name])
        if types is not None and not fits(types, properties[name].get("type")):
            return False
    return True


def _has_placeholders(value: Any) -> bool:
    if isinstance(value, str):
        return has_placeholder(value)
    if isinstance(value, Mapping):
        return any(_has_placeholders(inner) for inner in value.values())
    return isinstance(value, list) and any(_has_placeholders(inner) for inner in value)


def _put_schema(given: Node, draft: Draft, end: JsonObject) -> None:
    left: list[str] = []
    if given.is_list:
        schema = schema_of_list(given, left)
    elif given.is_map and is_schema(given.value):
        schema = clean_schema(given.value, left)
    elif given.is_map:
        schema = schema_of_fields(given, left)
    else:
        given.manual("it is no schema: write spec.outputSchema", draft)
        return
    end["outputSchema"] = schema
    _schema_rows(given, draft, "spec.outputSchema", left)


def _row(node: Node, made: Made, draft: Draft, path: str) -> None:
    if made.problems:
        node.manual(f"{'; '.join(made.problems)}: write what is meant", draft.target(path))
    else:
        node.mapped(draft.target(path))


def _from_source(text: str, scope: Scope) -> Made:
    """The path of an output; with placeholders a template."""
    if has_placeholder(text):
        return template(text, scope)
    try:
        code = expression(text, scope)
        return Made(in_braces(code.text), changed=True, types=code.types)
    except UntranslatableError as error:
        return Made(None, (f"{text}: {error}",))


def _put_list(given: Node, draft: Draft, plan: Plan, end: JsonObject) -> None:
    """``outputs: [{name, type, source}]``"""
    scope = Scope(plan, None, "end")
    output: JsonObject = {}
    fields: JsonObject = {}
    for item in given.items():
        if not item.is_map or not item["name"] or isinstance(item["name"].value, (dict, list)):
            item.problem("expected an output with a name")
            continue
        name = plain_key(item["name"].text())
        if name in fields:
            item.dropped("another one has the same name")
            continue
        source = item.first("source", "from", "value")
        if source and not source.is_text:
            output[name], leaves = value_of(source, scope)
            types = _types_of(source.value)
            for leaf, one in leaves:
                _row(leaf, one, draft, f"spec.output.{name}")
        else:
            made = _from_source(source.value, scope) if source else _by_name(name, plan, scope)
            types = _types_of(made.value, [made])
            if made.value is not None:
                output[name] = made.value
            place = source if source else item["name"]
            if made.problems:
                place.manual(
                    f"{'; '.join(made.problems)}: write spec.output.{name}", draft.target(f"spec.output.{name}")
                )
            elif source:
                source.mapped(draft.target(f"spec.output.{name}"))
        item["name"].mapped(draft.target(f"spec.output.{name}"), "" if source else "the step's output of this name")
        left: list[str] = []
        about = {
            key: one for key, one in item.value.items() if key not in ("name", "source", "from", "value", "required")
        }
        inner = clean_schema(about, left)
        word = type_of(item["type"].value) if item["type"].is_text else ""
        if word and word != "string" and _is_answer(source, plan):
            inner["type"] = [word, "string"]
            item["type"].mapped(
                draft.target(f"spec.outputSchema.properties.{name}.type"), "or a text, which is what an agent gives"
            )
        apart = types is not None and not fits(types, inner.get("type"))
        if apart:
            del inner["type"]
            item["type"].dropped("what stands there has another type")
        fields[name] = inner
        for key, part in item.fields():
            if apart and key == "type":
                continue
            if key in ("name", "source", "from", "value") or (key == "type" and inner.get("type") == [word, "string"]):
                continue
            if key in left or key == "required":
                part.dropped("it is no part of a JSON schema here")
            else:
                part.mapped(draft.target(f"spec.outputSchema.properties.{name}.{key}"))
    end["output"] = output
    end["outputSchema"] = {"type": "object", "properties": fields}


def _types_of(value: Any, made: Sequence[Made] = ()) -> frozenset[str] | None:
    """JSON types that a template can give; None: unknown."""
    if isinstance(value, str):
        if made and made[0].changed and value.startswith("{{") and value.endswith("}}"):
            return made[0].types
        return frozenset({"string"})
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, (int, float)):
        return frozenset({"number"})
    if value is None:
        return frozenset({"null"})
    return frozenset({"object" if isinstance(value, Mapping) else "array"})


def fits(types: frozenset[str], wanted: Any) -> bool:
    """Whether a value of these types can have one that a schema names."""
    words = {wanted} if isinstance(wanted, str) else set(wanted) if isinstance(wanted, list) else None
    if words is None or types & words:
        return True
    numbers = {"integer", "number"}
    return bool(types & numbers and words & numbers)


def _by_name(name: str, plan: Plan, scope: Scope) -> Made:
    """The output that is named as an output of a step, or as a step."""
    for step in reversed(plan.steps):
        if name in step.outputs:
            try:
                code = scope.output_of(step, ("outputs", name)).value()
                return Made(in_braces(checked(code.text)), changed=True)
            except UntranslatableError:
                continue
    if name in plan.setters or name in plan.known:
        return _from_source(name, scope)
    return Made(None, (f"no step gives {name!r}",))


def _is_answer(source: Node, plan: Plan) -> bool:
    """Whether a path leads to all that an agent answers."""
    parts = source.value.split(".") if source.is_text else []
    step = plan.known.get(parts[1]) if len(parts) > 1 and parts[0] in ("step", "steps") else None
    return step is not None and step.kind == "agent" and len(parts) <= 4
