"""Rewriting the placeholders of foreign texts as ``{{ expression }}``."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["escape_braces", "rewrite"]

# "{{" begins an expression, and "${" is refused in templates as another system's spelling.
_SPECIAL = re.compile(r"[{$]{2,}")


def escape_braces(text: str) -> str:
    """Return a template that renders as ``text``, whatever braces it has.

    >>> escape_braces("{{name}}")
    '{{ "{{" }}name}}'
    """
    return _SPECIAL.sub(lambda found: f'{{{{ "{found[0]}" }}}}', text)


def rewrite(text: str, pattern: str | re.Pattern[str], translate: Callable[[re.Match[str]], str | None]) -> str:
    """Return a template: what ``pattern`` finds and ``translate`` answers becomes an expression, all else stays text.

    Args:
        translate: gives a CEL expression without braces; None: the placeholder stays as text.

    >>> rewrite("On {topic}, {x}", r"\\{(\\w+)\\}", lambda m: "workflow.input.topic" if m[1] == "topic" else None)
    'On {{ workflow.input.topic }}, {x}'
    """
    out: list[str] = []
    at = 0
    for found in re.finditer(pattern, text):
        expression = translate(found)
        if expression is None:
            continue
        before = escape_braces(text[at : found.start()])
        if before.endswith(("$", "{")):
            before = f'{before[:-1]}{{{{ "{before[-1]}" }}}}'
        out += [before, f"{{{{ {expression} }}}}"]
        at = found.end()
    return "".join([*out, escape_braces(text[at:])])
