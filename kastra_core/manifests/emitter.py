"""Objects to YAML as people write it: block style, texts of several lines as ``|``, quotes only where needed.

Not PyYAML's emitter, because that escapes what lies beyond U+FFFF and folds long lines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from kastra_core.manifests.scalars import read_plain

__all__ = ["dump"]

_PLAIN = re.compile(r"[^\W\d_][^\n]*|[\d_/.($][^\n]*|\^[^\n]*")
_SIMPLE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_SEPARATOR = re.compile(r":(?:\s|\Z)|\s#")
# Text for other readers: YAML 1.1 knows dates, base 60 and y/n, which stay text here.
_ELSEWHERE = re.compile(
    r"[yYnN]|=|[-+]?[\d_]+(?::[\d_]+)+(?:\.[\d_]*)?|\d{4}-\d\d?-\d\d?.*|[-+]?0[\d_]+|[-+]?[\d_.]+[eE].*"
)
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")
_ESCAPES = {
    "\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\x85": "\\N",
    "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip
_LONGEST_KEY = 100


def dump(manifests: Iterable[Mapping[str, Any]]) -> str:
    """Return YAML that :func:`~kastra_core.manifests.parse` reads as the same manifests, one document each.

    Raises:
        TypeError, ValueError: a value is not JSON-compatible; the message has its path.

    >>> print(dump([{"kind": "Agent", "spec": {"instructions": "One.\\nTwo.\\n", "tools": ["a"]}}]), end="")
    kind: Agent
    spec:
      instructions: |
        One.
        Two.
      tools:
      - a
    """
    out: list[str] = []
    for number, manifest in enumerate(manifests):
        if number:
            out.append("---\n")
        if not isinstance(manifest, Mapping):
            raise TypeError(f"a manifest is a mapping, found {type(manifest).__name__}")
        if manifest:
            _mapping(out, manifest, 0, "", "")
        else:
            out.append("{}\n")
    return "".join(out)


def _mapping(out: list[str], data: Mapping[str, Any], indent: int, first: str, path: str) -> None:
    """Write the entries; ``first`` stands before the first one instead of the indentation."""
    space = " " * indent
    lead = first or space
    for key, value in data.items():
        if not isinstance(key, str):
            raise TypeError(f"{path or 'manifest'}: a key must be text, found {key!r}")
        where = f"{path}.{key}" if path else key
        name = _scalar(key, where)
        if len(name) > _LONGEST_KEY:
            # A reader looks only 1024 characters ahead for the colon.
            out.append(f"{lead}? {name}\n{space}:")
        else:
            out.append(f"{lead}{name}:")
        lead = space
        if value and isinstance(value, Mapping):
            out.append("\n")
            _mapping(out, value, indent + 2, "", where)
        elif value and isinstance(value, (list, tuple)):
            out.append("\n")
            _list(out, value, indent, "", where)
        else:
            out.append(" ")
            _leaf(out, value, indent + 2, where)


def _list(out: list[str], data: Iterable[Any], indent: int, first: str, path: str) -> None:
    space = " " * indent
    lead = first or space
    for number, value in enumerate(data):
        where = f"{path}[{number}]"
        if value and isinstance(value, Mapping):
            _mapping(out, value, indent + 2, f"{lead}- ", where)
        elif value and isinstance(value, (list, tuple)):
            _list(out, value, indent + 2, f"{lead}- ", where)
        else:
            out.append(f"{lead}- ")
            _leaf(out, value, indent + 2, where)
        lead = space


def _leaf(out: list[str], value: Any, indent: int, path: str) -> None:
    if isinstance(value, str) and "\n" in value and _fits_literal(value):
        body = value.rstrip("\n")
        ends = len(value) - len(body)
        chomp = "-" if not ends else "" if ends == 1 else "+"
        space = " " * indent
        lines = "".join(f"{space}{line}\n" if line else "\n" for line in body.split("\n"))
        out.append(f"|{chomp}\n{lines}" + "\n" * (ends - 1))
    else:
        out.append(_scalar(value, path) + "\n")


def _fits_literal(text: str) -> bool:
    if text[0] in " \n\t" or not text.strip():
        return False
    return text.replace("\n", " ").replace("\t", " ").isprintable() and _BREAKS.isdisjoint(text)


def _scalar(value: Any, path: str) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError(f"{path}: the integer {value} needs more than 64 bits")
        return int.__repr__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path}: {value} has no place in a manifest")
        text = float.__repr__(value)
        # 1e+20 is a number for Kubernetes, but text for YAML 1.1 without the point.
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    raise TypeError(f"{path}: {type(value).__name__} is not JSON-compatible")


def _text(text: str) -> str:
    if _SIMPLE.fullmatch(text):
        return f'"{text}"' if read_plain(text) is not None or (len(text) == 1 and text in "yYnN") else text
    if not text.isprintable() or not _BREAKS.isdisjoint(text):
        return _double(text)
    if (
        _PLAIN.fullmatch(text)
        and not _SEPARATOR.search(text)
        and text[-1] != " "
        and read_plain(text) is None
        and not _ELSEWHERE.fullmatch(text)
        and not text.startswith(("---", "..."))
    ):
        return text
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def _double(text: str) -> str:
    out = []
    for char in text:
        escaped = _ESCAPES.get(char)
        if escaped is not None:
            out.append(escaped)
        elif char.isprintable() and char != "\ufeff":
            out.append(char)
        else:
            code = ord(char)
            if 0xD800 <= code <= 0xDFFF:
                raise ValueError(f"a lone surrogate U+{code:04X} is no character")
            out.append(f"\\x{code:02X}" if code < 256 else f"\\u{code:04X}" if code < 65536 else f"\\U{code:08X}")
    return f'"{"".join(out)}"'
