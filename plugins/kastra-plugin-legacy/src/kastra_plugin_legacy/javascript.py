"""What the arguments of inline JavaScript are called, as far as its text says so. Nothing is run."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["arguments_schema", "is_code"]

_BEFORE = re.compile(r"(?:export\s++default\s++)?(?:async\s++)?(?:function\b\s*+(?:\w++\s*+)?)?")
_LIST = re.compile(r"\(?\s*+(?P<list>\{[^{}]{0,1000}+\}|[^(){}=]{0,1000}+(?:=[^(){}=]{0,200}+)?)\s*+\)?\s*+(?:=>|\{)")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_ENTRY = re.compile(
    r"\s*(?P<name>[A-Za-z_$][\w$]*)\s*(?::\s*[A-Za-z_$][\w$]*)?\s*(?:=\s*(?P<default>.+))?\s*", re.DOTALL
)
_CONTEXT = ("context", "ctx", "options", "opts", "runtime", "env")
_LONGEST = 20_000
"""Characters of code that are looked at."""
_VALUES = {"true": True, "false": False}


def is_code(text: str) -> bool:
    """Whether a text is JavaScript rather than the path of a file or the name of a function.

    >>> is_code("./tools/weather.js"), is_code("(x) => x.a")
    (False, True)
    """
    plain = text.strip()
    return "\n" in plain or "=>" in plain or re.search(r"\bfunction\b|\breturn\b|;\s*$", plain) is not None


def arguments_schema(code: str) -> dict[str, Any] | None:
    """Return a JSON schema with the names of the arguments that code takes; None when its text does not say.

    >>> arguments_schema("function f(params) { const { a, b = 2 } = params; }")
    {'type': 'object', 'properties': {'a': {}, 'b': {'default': 2}}}
    """
    code = _without_comments(code[:_LONGEST])
    before = _BEFORE.match(code)
    head = _LIST.match(code, before.end() if before else 0)
    if head is None:
        return None
    body = code[head.end() :]
    first, *others = _split(head["list"].strip())
    if first.startswith("{"):
        return _schema(_split(first.strip("{} \n")))
    word = first.partition("=")[0].strip()
    if not _WORD.fullmatch(word):
        return None
    entries: list[str] = []
    for found in re.finditer(rf"(?:const|let|var)\s*\{{([^{{}}]*)\}}\s*=\s*{re.escape(word)}\b(?!\.)", body):
        entries += _split(found[1])
    entries += [
        found[1] for found in re.finditer(rf"(?<![\w$.]){re.escape(word)}\??\.([A-Za-z_$][\w$]*)\b(?!\s*\()", body)
    ]
    if entries:
        return _schema(entries)
    if word in ("params", "input", "args", "arguments", "data", "props", "_") or not re.search(
        rf"\b{re.escape(word)}\b", body
    ):
        return None
    plain = [one for one in (first, *others) if one.partition("=")[0].strip() not in _CONTEXT]
    return _schema(plain)


def _without_comments(code: str) -> str:
    """The code from its first character that is no blank and no comment."""
    while True:
        code = code.lstrip()
        end = "*/" if code.startswith("/*") else "\n" if code.startswith("//") else ""
        if not end:
            return code
        code = code.partition(end)[2]


def _split(text: str) -> list[str]:
    """Parts between commas that stand in no brackets and no quotes."""
    out, depth, quote, part = [], 0, "", ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            out.append(part.strip())
            part = ""
            continue
        part += char
    return [*out, part.strip()]


def _schema(entries: list[str]) -> dict[str, Any] | None:
    properties: dict[str, Any] = {}
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        if found is None or found["name"] in properties:
            continue
        given = (found["default"] or "").strip()
        schema: dict[str, Any] = {}
        if re.fullmatch(r"-?\d+", given):
            schema = {"default": int(given)}
        elif re.fullmatch(r"-?\d+\.\d+", given):
            schema = {"default": float(given)}
        elif given in _VALUES:
            schema = {"default": _VALUES[given]}
        elif re.fullmatch(r"'[^'\\]*'|\"[^\"\\]*\"", given):
            schema = {"default": given[1:-1]}
        properties[found["name"]] = schema
    return {"type": "object", "properties": properties} if properties else None
