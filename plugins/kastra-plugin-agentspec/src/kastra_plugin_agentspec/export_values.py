"""What the templates of a workflow refer to: which of it a data edge can carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["Place", "expressions_in", "place_of_text", "texts_in", "whole_expression"]

_EXPRESSION = re.compile(r"\{\{((?:[^{}\"']|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\{(?!\{)|\}(?!\}))*)\}\}")
_STEP = r"(?:\.([A-Za-z][\w-]*)|\[[\"']([^\"'\]]+)[\"']\])"
_FIELD = r"(?:\.([A-Za-z_]\w*)|\[[\"']([^\"'\]]+)[\"']\])"
_OUTPUT = re.compile(rf"steps{_STEP}\.output{_FIELD}?")
_RESULT = re.compile(rf"step{_STEP}\.result{_FIELD}?")
_INPUT = re.compile(rf"workflow\.input{_FIELD}?")
_NAME = re.compile(r"([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*")


@attrs.frozen
class Place:
    """Where a plain path leads."""

    root: str
    """"input" of the workflow, "step", or another name ("item")."""
    step: str = ""
    field: str = ""


def place_of_text(text: str) -> Place | None:
    """What a plain path names; None for all other expressions.

    >>> place_of_text("steps.load.output.x"), place_of_text("workflow.input"), place_of_text("size(x)")
    (Place(root='step', step='load', field='x'), Place(root='input', step='', field=''), None)
    """
    text = text.strip()
    for pattern in (_OUTPUT, _RESULT):
        if found := pattern.fullmatch(text):
            return Place("step", found[1] or found[2], found[3] or found[4] or "")
    if found := _INPUT.fullmatch(text):
        return Place("input", "", found[1] or found[2] or "")
    found = _NAME.fullmatch(text)
    known = found is not None and found[1] not in (
        "workflow",
        "steps",
        "step",
        "data",
        "state",
        "true",
        "false",
        "null",
    )
    return Place(found[1]) if found is not None and known else None


def whole_expression(value: Any) -> str | None:
    """The expression that a text is and nothing else."""
    found = _EXPRESSION.fullmatch(value) if isinstance(value, str) else None
    return found[1].strip() if found else None


def expressions_in(text: str) -> list[re.Match[str]]:
    """The expressions of a template's text, in order; group 1 is what is between the braces."""
    return list(_EXPRESSION.finditer(text))


def texts_in(value: Any) -> list[str]:
    """All texts of a template."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts_in(item)]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else []
