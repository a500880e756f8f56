"""The placeholders of instructions: ``{key}``, ``{key?}``, ``{artifact.name}``."""

from __future__ import annotations

import re

import attrs

from kastra_plugin_adk.format import is_identifier

__all__ = ["Placeholder", "placeholders"]

_FORM = re.compile(r"(?<![${\\]){+[^{}]*}+")


@attrs.frozen
class Placeholder:
    """A place in an instruction where ADK puts a value of the session's state, or an artifact's text."""

    key: str
    """Of the state; ``artifact.NAME`` for an artifact."""
    optional: bool
    """Nothing is put there when the state has no such key; otherwise that is an error."""


def placeholders(text: str) -> list[Placeholder]:
    """Return the placeholders of a text, each key once. All other braces are text to ADK.

    >>> [one.key for one in placeholders("{topic} {{draft}} {user:name?} {a b} {} ${x}")]
    ['topic', 'draft', 'user:name']
    """
    found: dict[str, bool] = {}
    for match in _FORM.finditer(text):
        name = match[0].lstrip("{").rstrip("}").strip()
        optional = name.endswith("?")
        name = name.removesuffix("?")
        if is_identifier(name) or (name.startswith("artifact.") and name != "artifact."):
            found[name] = found.get(name, True) and optional
    return [Placeholder(key, optional) for key, optional in found.items()]
