"""Functions of Python code that stands in a manifest: read as syntax, never run."""

from __future__ import annotations

import ast
import warnings

import attrs

from kastra_core.api.meta import JsonObject

__all__ = ["InlineFunction", "functions_of"]

_TYPES = {
    "bool": "boolean",
    "dict": "object",
    "float": "number",
    "int": "integer",
    "list": "array",
    "str": "string",
}


@attrs.frozen
class InlineFunction:
    """What a caller has to know of a function."""

    name: str
    description: str
    schema: JsonObject
    """JSON schema of its arguments."""
    line: int
    """From 1, in the code."""


def functions_of(code: str) -> list[InlineFunction]:
    """The public functions at the top of some code; none when it is no Python.

    >>> [(one.name, one.schema["required"]) for one in functions_of("def echo(text: str, n: int = 1): 'Say it.'")]
    [('echo', ['text'])]
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a text's odd escapes, which are nobody's concern here
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [
        InlineFunction(node.name, " ".join((ast.get_docstring(node) or "").split()), _schema(node), node.lineno)
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
    ]


def _schema(node: ast.FunctionDef | ast.AsyncFunctionDef) -> JsonObject:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    optional = len(plain) - len(arguments.defaults)
    required = [one.arg for one in plain[:optional]]
    required += [
        one.arg for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    ]
    properties = {one.arg: _type(one.annotation) for one in (*plain, *arguments.kwonlyargs)}
    out: JsonObject = {"type": "object", "properties": properties}
    if required:
        out["required"] = required
    return out


def _type(annotation: ast.expr | None) -> JsonObject:
    inner = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    word = inner.id.lower() if isinstance(inner, ast.Name) else ""
    return {"type": _TYPES[word]} if word in _TYPES else {}
