"""Texts of CrewAI as texts of Kastra: ``{topic}`` becomes a field of the workflow's input."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from kastra_core.migration import cel_member
from kastra_core.migration.templates import rewrite
from kastra_plugin_crewai.model import Code

__all__ = ["as_template", "input_expression", "placeholders", "plain"]

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_\-]*)\s*\}\}|\{([A-Za-z_][A-Za-z0-9_\-]*)\}")
"""What CrewAI fills in (a name in one pair of braces), and the pair of two that people write for it."""


def placeholders(*texts: Any) -> list[str]:
    """Names of the placeholders in texts, each once, in order.

    >>> placeholders("{topic} in {{ year }}, {topic}", '{"a": 1}')
    ['topic', 'year']
    """
    found = (match[1] or match[2] for text in texts if isinstance(text, str) for match in _PLACEHOLDER.finditer(text))
    return list(dict.fromkeys(found))


def input_expression(name: str) -> str:
    """CEL for a field of the workflow's input.

    >>> input_expression("topic"), input_expression("in"), input_expression("a-b")
    ('workflow.input.topic', 'workflow.input["in"]', 'workflow.input["a-b"]')
    """
    return cel_member("workflow.input", name)


def as_template(text: str, known: Iterable[str] | None = None) -> str:
    """Return a text as a template of a workflow.

    Args:
        known: placeholders that are filled in; None: all.

    >>> as_template("On {topic} as {'a': 1}")
    "On {{ workflow.input.topic }} as {'a': 1}"
    """
    names = None if known is None else frozenset(known)

    def translate(found: re.Match[str]) -> str | None:
        name = found[1] or found[2]
        return input_expression(name) if names is None or name in names else None

    return rewrite(text, _PLACEHOLDER, translate)


def plain(value: Any) -> str:
    """A text without the blanks around it; "" for what is no text or only code tells.

    >>> plain("a text that YAML folded\\n")
    'a text that YAML folded'
    """
    return value.strip() if isinstance(value, str) and not isinstance(value, Code) else ""
