"""Schemas: in the configuration itself, or as a class of Python that is read beside it."""

from __future__ import annotations

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node
from kastra_plugin_adk.project import Project

__all__ = ["schema_of"]

_WORDS = {"OBJECT", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "NULL"}


def schema_of(node: Node, project: Project, draft: Draft, path: str) -> JsonObject | None:
    """The JSON schema that a field means, with its row; None when only Python knows it, which is told."""
    if node.is_map and not node["name"].is_text:
        node.mapped(draft.target(path))
        return _plain(dict(node.mapping()))
    named = node["name"] if node.is_map else node
    dotted = named.text().strip()
    found = project.python.find(dotted, node.document) if dotted else None
    schema = found.schema() if found is not None else None
    if schema is None:
        named.manual(f"the schema is the class {dotted}: write it as a JSON schema into {path}", draft.target(path))
        return None
    project.note(found, draft.target(path))
    named.mapped(draft.target(path), f"the class stands in {found.place if found else ''}")
    return schema


def _plain(schema: JsonObject) -> JsonObject:
    """A schema of Gemini as a JSON schema: types are written small there."""
    out: JsonObject = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str) and value in _WORDS:
            out[key] = value.lower()
        elif key == "properties" and isinstance(value, dict):
            out[key] = {name: _plain(item) if isinstance(item, dict) else item for name, item in value.items()}
        elif isinstance(value, dict) and key in ("items", "additionalProperties"):
            out[key] = _plain(value)
        else:
            out[key] = value
    return out
