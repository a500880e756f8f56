"""Pieces of CEL: values as literals, fields of values, words that are no names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["CEL_RESERVED", "cel_literal", "cel_member"]

CEL_RESERVED = frozenset(
    {
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        *("namespace", "null", "package", "return", "true", "var", "void", "while"),
    }
)
"""Words that no identifier of CEL may be: those of its grammar, and those that it keeps for later."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def cel_literal(value: Any) -> str:
    """Return CEL that gives a JSON value. Integers beyond 64 bits become doubles.

    >>> cel_literal({"a": [1, None, 'say "x"']})
    '{"a": [1, null, "say \\\\"x\\\\""]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{cel_literal(str(key))}: {cel_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(cel_literal(item) for item in value) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return f"{float(value)!r}"
    # JSON's surrogate pairs are no escapes of CEL, so characters stand as they are.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def cel_member(base: str, *names: str) -> str:
    """Return CEL for a field of a value, and a field of that, and so on.

    >>> cel_member("workflow.input", "topic"), cel_member("item", "user-id", "in")
    ('workflow.input.topic', 'item["user-id"]["in"]')
    """
    for name in names:
        plain = _NAME.fullmatch(name) is not None and name not in CEL_RESERVED
        base = f"{base}.{name}" if plain else f"{base}[{cel_literal(name)}]"
    return base
