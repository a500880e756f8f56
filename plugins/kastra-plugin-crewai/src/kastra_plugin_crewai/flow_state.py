"""The state of a flow as the input of a workflow: a JSON schema with defaults."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node

__all__ = ["changes_state", "put_state", "state_fields"]

_CHANGING = frozenset(
    {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update"}
)
"""Methods of Python's lists and dictionaries that change them."""


def state_fields(node: Node) -> set[str]:
    """Names of the fields that a flow's state declares."""
    schema = node["json_schema"]["properties"]
    return {*(key for key, _ in schema.fields()), *(key for key, _ in node["default"].fields())}


def put_state(draft: Draft, node: Node, read: Iterable[str]) -> None:
    """Put ``spec.inputSchema`` for a flow's state and write the rows.

    Args:
        read: fields that expressions read.
    """
    target = draft.target("spec.inputSchema")
    schema: JsonObject = draft.spec.get("inputSchema") or {"type": "object"}
    given = node["json_schema"]
    if given and node["type"].value in ("json_schema", "pydantic"):
        fault = _fault(given.value)
        if fault:
            given.manual(f"this is no JSON schema ({fault}); write what the input may be", target)
        else:
            schema = copy.deepcopy(dict(given.value))
            given.mapped(target)
    if node["type"].present:
        node["type"].mapped(target)
    if node["ref"]:
        reason = f"{node['ref'].value} is never imported: write its fields into the schema of the input"
        node["ref"].manual(f"{reason}, if they are not all there" if given else reason, target)
    properties = schema.get("properties")
    properties = schema["properties"] = dict(properties) if isinstance(properties, dict) else {}
    default = node["default"]
    if node.present and not node:
        node.dropped("null: as if it were not there")
    if default.present and not default.value:
        default.dropped("empty")
    for key, child in default.fields():
        one = properties.get(key)
        properties[key] = {**(one if isinstance(one, dict) else {}), "default": copy.deepcopy(child.value)}
        child.mapped(draft.target(f"spec.inputSchema.properties.{key}.default"))
    closed = schema.get("additionalProperties") is False
    for key in sorted(read):
        if key not in properties and not closed:
            properties[key] = {}
    if not properties:
        del schema["properties"]
    if schema.get("type") == "object" and not schema.get("required") and not _has_default(properties):
        schema["type"] = ["object", "null"]  # a flow may be started without any input
    if len(schema) > 1 or default.present or node["type"].present:
        draft.set("spec.inputSchema", schema)


def _has_default(properties: JsonObject) -> bool:
    return any(isinstance(one, dict) and "default" in one for one in properties.values())


def _fault(schema: Any) -> str:
    """What is wrong with a JSON schema, "" for nothing."""
    try:
        import jsonschema_rs
    except ImportError:
        return ""  # it comes with the plugin for workflows, which says what is wrong when the result is applied
    try:
        jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (ValueError, TypeError, jsonschema_rs.ValidationError) as error:
        return str(getattr(error, "message", error))[:200]
    return ""


def _refuse(uri: str) -> Any:
    raise ValueError(f"it refers to another file: {uri}")


# ------------------------------------------------------------------------------------------------ scripts


def changes_state(code: str) -> bool:
    """Whether a script may change the flow's state; it is read, never run.

    >>> changes_state("return state['a'].strip()"), changes_state("state['a'] = 1")
    (False, True)
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "state" in code
    reads: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            if not isinstance(node.ctx, ast.Load) and _is_state(node.value):
                return True
            if isinstance(node, ast.Attribute) and node.attr in _CHANGING and _is_state(node.value):
                return True
            if isinstance(node.value, ast.Name):
                reads.add(id(node.value))
    # The state as a whole, handed on or bound to another name, may be changed there.
    return any(isinstance(node, ast.Name) and node.id == "state" and id(node) not in reads for node in ast.walk(tree))


def _is_state(node: ast.expr) -> bool:
    """Whether an expression is the state or a part of it."""
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id == "state"
