"""Small questions about values and expressions of Python."""

from __future__ import annotations

import ast
import re
from typing import Any

from kastra_plugin_crewai.py_values import Cls, Config, Unknown, name_of, source

__all__ = [
    "LONGEST",
    "MOST_ITEMS",
    "as_text",
    "bounded",
    "formatted",
    "inner_class",
    "is_crewai",
    "is_known",
    "pairs",
    "targets",
    "unknown",
]


LONGEST = 100_000
"""Characters of a text: what grows beyond is no configuration, and not followed."""
MOST_ITEMS = 2_000
"""Items of a list, likewise."""
_MOST_WORK = 10_000_000
_LARGEST = 10**15


def bounded(value: Any, expression: ast.expr) -> Any:
    """The value; unknown when it is larger than what is followed."""
    if isinstance(value, str) and len(value) > LONGEST:
        return unknown(expression)
    if isinstance(value, (list, dict)) and len(value) > MOST_ITEMS:
        return unknown(expression)
    if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
        return unknown(expression)
    return value


def is_crewai(dotted: str) -> bool:
    """Whether a dotted name is of CrewAI's packages."""
    return dotted.partition(".")[0] in ("crewai", "crewai_tools")


def inner_class(cls: Cls, name: str) -> Cls | None:
    """A class in the body of a class."""
    found = (one for one in cls.node.body if isinstance(one, ast.ClassDef) and one.name == name)
    return next((Cls(cls.module, one) for one in found), None)


def unknown(expression: ast.expr) -> Unknown:
    """What only running the expression would tell."""
    return Unknown(source(expression))


def is_known(value: Any) -> bool:
    """Whether a value is a literal, so that a test of it can be decided."""
    return value is None or isinstance(value, (str, bool, int, float, list, dict))


def as_text(value: Any, expression: ast.expr) -> str:
    """A value in a text; what is not known becomes a placeholder."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, Config) and isinstance(value.node.value, (str, int, float)):
        return str(value.node.value)
    if isinstance(value, Unknown) and value.name:
        return f"{{{value.name}}}"
    return f"{{{name_of(expression)}}}"


def formatted(text: str, arguments: list[Any], keywords: dict[str, Any], call: ast.Call) -> Any:
    """``text.format(...)``; what is not known becomes a placeholder."""
    count = iter(range(len(arguments)))
    by_name = {one.arg: one.value for one in call.keywords if one.arg}

    def fill(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        name = found[1]
        at = int(name) if name.isdecimal() and len(name) < 4 else next(count, -1) if not name else -1
        if 0 <= at < len(call.args):
            return as_text(arguments[at], call.args[at])
        if name in keywords and name in by_name:
            return as_text(keywords[name], by_name[name])
        return found[0]

    if len(text) * sum(len(item) for item in (*arguments, *keywords.values()) if isinstance(item, str)) > _MOST_WORK:
        return unknown(call)
    return re.sub(r"\{\{|\}\}|\{(\w*)(?::[^{}]*)?\}", fill, text)


def pairs(pairs: list[tuple[Any, Any]], name: str) -> list[Any]:
    """``items()``, ``keys()`` or ``values()`` of pairs."""
    if name == "keys":
        return [key for key, _ in pairs]
    return [value for _, value in pairs] if name == "values" else [[key, value] for key, value in pairs]


def targets(statement: ast.stmt) -> list[str]:
    """Names that an assignment binds."""
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []
