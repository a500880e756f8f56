"""What a function of an older workflow takes, found in its text; the function itself is somebody's work."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kastra_core.migration import identifier

__all__ = ["arguments_of", "is_code"]

_PARAMETERS = (
    re.compile(r"\s*(?:async\s+)?\(\s*([^()]*)\)\s*=>"),
    re.compile(r"\s*(?:async\s+)?([A-Za-z_$][\w$]*)\s*=>"),
    re.compile(r"\s*(?:export\s+default\s+)?(?:async\s+)?function\s*[\w$]*\s*\(\s*([^()]*)\)"),
)
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_LONGEST = 100_000


def is_code(text: str) -> bool:
    """Whether a text is code, and not the name of a function or of a file.

    >>> is_code("(input) => 1"), is_code("formatResult"), is_code("./lib/format.js")
    (True, False, False)
    """
    return re.search(r"[\s(){};=]", text.strip()) is not None


def arguments_of(code: str) -> dict[str, tuple[str, ...]]:
    """Return what code takes: name of an argument -> path of it in the workflow (``input.x``, ``context.x``).

    >>> arguments_of("(data, ctx) => data.city + ctx.steps.load.output")
    {'city': ('input', 'city'), 'load': ('context', 'steps', 'load')}
    """
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", code[:_LONGEST], flags=re.DOTALL)
    given, body = _parameters(code)
    roots = {"input": "input", "inputs": "input", "context": "context", "steps": "steps"}
    out: dict[str, tuple[str, ...]] = {}
    for at, parameter in enumerate(given[:2]):
        role = ("input", "context")[at]
        if parameter.startswith("{"):
            for name in _destructured(parameter):
                out.setdefault(_free(name), (role, name))
        elif _NAME.fullmatch(parameter):
            roots[parameter] = role
    for root, role in roots.items():
        for name in _from_declarations(body, root):
            out.setdefault(_free(name), (role, name))
        for path in _paths(body, root, role):
            name = path[-1]
            out.setdefault(_free(name), path)
    for root, role in roots.items():
        bare = re.search(rf"(?<![\w$.'\"]){re.escape(root)}(?=\s*[),;}}\]])", body)
        if role == "input" and bare is not None and (root in given or root == "input"):
            out.setdefault("input", ("input",))
    return out


def _parameters(code: str) -> tuple[list[str], str]:
    for pattern in _PARAMETERS:
        found = pattern.match(code)
        if found is not None:
            parts = re.findall(r"\{[^{}]*\}|[A-Za-z_$][\w$]*(?=\s*(?:,|\Z|=))", found[1])
            return parts, code[found.end() :]
    return [], code


def _destructured(text: str) -> Iterator[str]:
    for part in text.strip("{} \n").split(","):
        found = _NAME.match(part.strip())
        if found is not None:
            yield found[0]


def _from_declarations(body: str, root: str) -> Iterator[str]:
    """``const {a, b} = root``"""
    for found in re.finditer(rf"(\{{[^{{}}]*\}})\s*=\s*{re.escape(root)}\b(?!\s*[.\[(])", body):
        yield from _destructured(found[1])


def _paths(body: str, root: str, role: str) -> Iterator[tuple[str, ...]]:
    pattern = rf"(?<![\w$.'\"]){re.escape(root)}((?:\s*\??\.\s*[A-Za-z_$][\w$]*|\[\s*(?:'[^'\n]*'|\"[^\"\n]*\")\s*\])+)"
    for found in re.finditer(pattern, body):
        parts = [a or b or c for a, b, c in re.findall(r"\.\s*([\w$]+)|'([^'\n]*)'|\"([^\"\n]*)\"", found[1])]
        path = [role]
        if role == "context" and parts and parts[0] in ("steps", "input", "inputs"):
            path.append(parts.pop(0))
        if parts:
            yield (*path, parts[0])


def _free(name: str) -> str:
    """A name that a Python function may take."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and identifier(name) != f"{identifier(name).rstrip('_')}_":
        return name
    return identifier(name, "value")
