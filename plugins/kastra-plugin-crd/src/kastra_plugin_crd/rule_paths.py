"""Paths that a definition writes to point at fields: ``.spec.name``, ``.labels['app.kubernetes.io/name']``.

Only properties and keys of maps can be named; items of lists cannot.
"""

from __future__ import annotations

import re
from typing import Final

from kastra_plugin_crd.schema import Structural

__all__ = ["FieldPathError", "field_path"]

_STEP: Final = re.compile(r"\.(?P<name>[^.\[\]]+)|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"
}  # fmt: skip


class FieldPathError(ValueError):
    """The path names no field; ``str`` says why, fit to follow the path."""


def field_path(text: str, structural: Structural, *, brackets: bool = True) -> tuple[str, Structural]:
    """Return what a path adds to the place it starts from (".name") and the schema of what it points at.

    Args:
        text: the path as written; "" is the place itself.
        structural: the schema of the place it starts from.
        brackets: whether ``['name']`` may be written.

    Raises:
        FieldPathError: it is not such a path, or leads to no field of the schema.

    >>> field_path(".name", Structural(properties={"name": Structural(type="string")}))[0]
    '.name'
    """
    position, suffix = 0, ""
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None or (found["quoted"] is not None and not brackets):
            allowed = ".name or ['name']" if brackets else ".name"
            raise FieldPathError(f"expected {allowed} at character {position + 1}, found {text[position:][:20]!r}")
        name = found["name"] if found["name"] is not None else _unescaped(found["quoted"])
        structural = _below(structural, name)
        suffix += f".{name}"
        position = found.end()
    return suffix, structural


def _unescaped(text: str) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPED:
            raise FieldPathError(f"\\{found[1]} stands for no character")
        return _ESCAPED[found[1]]

    return _ESCAPE.sub(replaced, text)


def _below(structural: Structural, name: str) -> Structural:
    if structural.properties:
        if name in structural.properties:
            return structural.properties[name]
    elif isinstance(structural.additional, Structural):
        return structural.additional
    raise FieldPathError(f"{name!r} is no field of the schema")
