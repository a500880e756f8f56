"""Properties as the format writes them -> JSON schema."""

from __future__ import annotations

from typing import Any

from kastra_core.migration import Draft, Node

__all__ = ["inputs_schema", "object_schema", "property_schema"]

_TYPES = {
    "any": "",
    "array": "array",
    "bool": "boolean",
    "boolean": "boolean",
    "date": "string",
    "datetime": "string",
    "dict": "object",
    "file": "string",
    "float": "number",
    "int": "integer",
    "integer": "integer",
    "list": "array",
    "number": "number",
    "object": "object",
    "record": "object",
    "str": "string",
    "string": "string",
    "table": "array",
    "text": "string",
    "thread": "string",
}


def property_schema(node: Node) -> dict[str, Any]:
    """JSON schema of one property; ``required`` belongs to the object around it."""
    if not node.is_map:
        return _typed(node.text("string"))
    out = _typed((node["type"] if node["type"] else node["kind"]).text("string"))
    for key in ("description", "default", "enum", "format", "minimum", "maximum", "pattern"):
        if node[key]:
            out[key] = node[key].value
    if node["example"]:
        out["examples"] = [node["example"].value]
    if node["items"]:
        out["items"] = property_schema(node["items"])
    if node["properties"]:
        out |= object_schema(node)
    return out


def object_schema(node: Node) -> dict[str, Any]:
    """JSON schema of an object from its ``properties``: a map, or a list with names."""
    properties: dict[str, Any] = {}
    required = [one for one in node["required"].value if isinstance(one, str)] if node["required"].is_list else []
    inner = node["properties"] if node.is_map else node
    named = [(one["name"].text(), one) for one in inner.items() if one.is_map] or list(inner.fields())
    for name, one in named:
        if not name:
            one.problem("a property needs a name")
        properties[name] = property_schema(one)
        if one.is_map and one["required"].value is True:
            required.append(name)
    out: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        out["required"] = list(dict.fromkeys(required))
    if node.is_map and isinstance(node["additionalProperties"].value, bool):
        out["additionalProperties"] = node["additionalProperties"].value
    return out


def inputs_schema(node: Node, draft: Draft) -> dict[str, Any]:
    """JSON schema of a workflow's ``inputs``, in which all are required that do not say otherwise."""
    out: dict[str, Any] = {"type": "object", "properties": {}}
    required = []
    for name, one in node.fields():
        out["properties"][name] = property_schema(one)
        needed = not one.is_map or (one["required"].value is not False and not one["default"].present)
        if needed:
            required.append(name)
    if required:
        out["required"] = required
    if node:
        node.mapped(draft.target("spec.inputSchema"))
    return out


def _typed(word: str) -> dict[str, Any]:
    name = _TYPES.get(word.lower(), "string")
    out: dict[str, Any] = {"type": name} if name else {}
    if word.lower() in ("date", "datetime"):
        out["format"] = "date" if word.lower() == "date" else "date-time"
    return out
