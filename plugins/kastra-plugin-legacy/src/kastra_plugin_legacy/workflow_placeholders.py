"""Placeholders in the texts of older workflows, in every spelling: ``{{x}}``, ``${x}``, ``$x``, ``{{#if x}}``."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

__all__ = [
    "QUOTED",
    "VARIABLE",
    "Placeholder",
    "Plain",
    "has_placeholder",
    "is_block",
    "placeholder_of",
    "scan",
    "standalone",
]

VARIABLE = re.compile(r"\$(?:\{\{)?([A-Za-z_][\w]*(?:\.[\w-]+|\[(?:\d+|'[^'\n]*'|\"[^\"\n]*\")\])*)", re.ASCII)
"""``$name`` and ``$name.field``: all of a text, for inside of one a dollar sign is a dollar sign."""
_OPEN = re.compile(r"\{\{\{|\$?\{\{|\$\{")
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


@attrs.frozen
class Plain:
    """Text between placeholders."""

    text: str


@attrs.frozen
class Placeholder:
    """A placeholder: what is between the braces, and how all of it is written."""

    inner: str
    written: str
    handlebars: bool


def has_placeholder(text: str) -> bool:
    """Whether a text has a placeholder of any spelling."""
    return _OPEN.search(text) is not None or VARIABLE.fullmatch(text) is not None


def placeholder_of(text: str) -> str | None:
    """The expression of a text that is one placeholder and nothing else; None for any other text."""
    whole = VARIABLE.fullmatch(text)
    if whole is not None:
        return whole[1]
    tags = list(scan(text))
    tag = tags[0] if len(tags) == 1 else None
    return tag.inner if isinstance(tag, Placeholder) and not is_block(tag) else None


def is_block(tag: Placeholder) -> bool:
    """Whether it opens, parts or closes a block of Handlebars, or is a comment."""
    return tag.handlebars and (
        tag.inner[0] in "#/^>!&" or re.fullmatch(r"else(\s.*)?", tag.inner, re.DOTALL) is not None
    )


def scan(text: str) -> Iterator[Plain | Placeholder]:
    """Placeholders and the texts between them."""
    at = start = 0
    while True:
        found = _OPEN.search(text, at)
        if found is None:
            break
        opening = found[0]
        closing = {"{{{": "}}}", "{{": "}}", "${{": "}}", "${": "}"}[opening]
        end = _end_of(text, found.end(), closing) if text.find(closing, found.end()) >= 0 else -1
        inner = text[found.end() : end].strip() if end >= 0 else ""
        if end < 0 or not inner or (opening != "${" and "{{" in inner):
            at = found.start() + 1
            continue
        if start < found.start():
            yield Plain(text[start : found.start()])
        stop = end + len(closing)
        yield Placeholder(inner.strip("~").strip() or inner, text[found.start() : stop], opening in ("{{", "{{{"))
        at = start = stop
    if start < len(text):
        yield Plain(text[start:])


def _end_of(text: str, at: int, closing: str) -> int:
    depth = 0
    while at < len(text):
        if text.startswith(closing, at) and depth == 0:
            return at
        char = text[at]
        if char in "\"'":
            quoted = QUOTED.match(text, at)
            if quoted is not None and "\n" not in quoted[0] and "}" in quoted[0]:
                at = quoted.end()
                continue
        elif text.startswith(("{{", "${"), at):
            return -1  # another one begins: this one is text
        elif char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        at += 1
    return -1


def standalone(tags: list[Plain | Placeholder]) -> list[Plain | Placeholder]:
    """A line with nothing but a block's tag vanishes, as Handlebars has it."""
    out = list(tags)
    for at, tag in enumerate(tags):
        if not isinstance(tag, Placeholder) or not is_block(tag) or tag.inner[0] == "&":
            continue
        before = tags[at - 1] if at else None
        after = tags[at + 1] if at + 1 < len(tags) else None
        left = re.search(r"(^|\n)[ \t]*\Z", before.text) if isinstance(before, Plain) else None
        opens = before is None or (left is not None and (left[1] == "\n" or at == 1))
        right = re.match(r"[ \t]*(\r?\n|\Z)", after.text) if isinstance(after, Plain) else None
        closes = after is None or (right is not None and (right[1] != "" or at + 2 == len(tags)))
        if not opens or not closes:
            continue
        if left is not None:
            now = out[at - 1]
            assert isinstance(now, Plain)
            out[at - 1] = Plain(re.sub(r"[ \t]*\Z", "", now.text))
        if right is not None:
            now = out[at + 1]
            assert isinstance(now, Plain)
            out[at + 1] = Plain(re.sub(r"\A[ \t]*(\r?\n|\Z)", "", now.text))
    return out
