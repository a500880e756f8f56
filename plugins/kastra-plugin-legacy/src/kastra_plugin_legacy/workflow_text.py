"""Texts of older workflows as templates: placeholders of every spelling, conditional parts, all else as it stands."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from kastra_core.migration import Node, cel_literal, escape_braces
from kastra_plugin_legacy.workflow_cel import AND, ATOM, UNARY, Code, checked
from kastra_plugin_legacy.workflow_expressions import code_of, expression, truth_in
from kastra_plugin_legacy.workflow_js import UntranslatableError
from kastra_plugin_legacy.workflow_placeholders import (
    QUOTED,
    Placeholder,
    Plain,
    is_block,
    placeholder_of,
    scan,
    standalone,
)
from kastra_plugin_legacy.workflow_scope import Scope

__all__ = ["Made", "in_braces", "plain_key", "template", "value_of"]

_PLAIN = re.compile(r"(?:steps|data|workflow\.input)(?:\.\w+|\[\d+\]|\[\"[\w-]*\"\])+", re.ASCII)
_PIECE = 4_000
"""Characters of a text in one expression."""
_DEEPEST = 20


@attrs.frozen
class Made:
    """What became of a text."""

    value: Any
    problems: tuple[str, ...] = ()
    """Placeholders that stay as text, each with the reason."""
    changed: bool = False
    """It has an expression."""
    types: frozenset[str] | None = None
    """JSON types that it can have; None: unknown."""


def in_braces(text: str) -> str:
    """An expression as it stands in a template; a path is written with dots as far as can be.

    >>> in_braces('steps["load-data"].output'), in_braces('"a-b" in steps')
    ('{{ steps.load-data.output }}', '{{ "a-b" in steps }}')
    """
    if _PLAIN.fullmatch(text) is not None:
        text = re.sub(r'\["([A-Za-z_]\w*(?:-\w+)+)"\]', r".\1", text, flags=re.ASCII)
    return f"{{{{ {text} }}}}"


def template(text: str, scope: Scope, default: str = "null") -> Made:
    """Return a text as a template; what has no equivalent stays as it is written.

    Args:
        default: CEL in place of a value that is not there, where the text is one placeholder and nothing else.
    """
    alone = placeholder_of(text)
    if alone is not None:
        return _alone(text, alone, scope, default)
    tags = list(scan(text))
    if not any(isinstance(tag, Placeholder) for tag in tags):
        return Made(escape_braces(text))
    return _Blocks(scope).made(standalone(tags))


def _alone(text: str, source: str, scope: Scope, default: str) -> Made:
    """A text that is one placeholder and nothing else."""
    try:
        code = expression(source, scope, default)
        return Made(in_braces(code.text), changed=True, types=code.types)
    except UntranslatableError as error:
        kept = in_braces(f"dyn({cel_literal(text)})") if scope.opaque else escape_braces(text)
        return Made(kept, (f"{text}: {error}",))


@attrs.define
class _Frame:
    """An open ``{{#if}}``."""

    conditions: list[Code]
    """Of the parts so far; the last one is that of the part that is open, unless ``otherwise``."""
    otherwise: bool = False


class _Blocks:
    """Makes a template of a text with conditional parts: each piece of a part becomes one expression."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.out: list[str] = []
        self.frames: list[_Frame] = []
        self.problems: list[str] = []
        self.changed = False

    def made(self, tags: list[Plain | Placeholder]) -> Made:
        try:
            for tag in tags:
                if isinstance(tag, Placeholder) and is_block(tag):
                    self._block(tag)
                elif self.frames:
                    self._inside(tag)
                elif isinstance(tag, Plain):
                    self._text(tag.text)
                else:
                    self._placeholder(tag)
            if self.frames:
                raise UntranslatableError("a block is not closed")
        except UntranslatableError as error:
            return _plainly(tags, self.scope, f"conditional parts of the text stay as they are written: {error}")
        return Made("".join(self.out), tuple(self.problems), self.changed)

    def _text(self, text: str) -> None:
        """Text that no brace before or after it can be taken with."""
        if not text:
            return
        escaped = escape_braces(text)
        if escaped[-1] in "{$":
            escaped = f'{escaped[:-1]}{{{{ "{escaped[-1]}" }}}}'
        self.out.append(escaped)

    def _expression(self, text: str) -> None:
        if text.startswith('"') and QUOTED.fullmatch(text) is not None:
            self._text(json.loads(text))
        else:
            self.out.append(in_braces(text))
        self.changed = True

    def _placeholder(self, tag: Placeholder) -> None:
        try:
            self._expression(expression(tag.inner.lstrip("&"), self.scope).text)
        except UntranslatableError as error:
            self.problems.append(f"{tag.written}: {error}")
            self._text(tag.written)

    def _block(self, tag: Placeholder) -> None:
        word, _, rest = tag.inner.partition(" ")
        if tag.inner[0] == "!":
            return
        if word in ("#if", "#unless"):
            if len(self.frames) >= _DEEPEST:
                raise UntranslatableError("blocks are nested too deeply")
            self.frames.append(_Frame([self._asked(rest, negated=word == "#unless")]))
        elif word == "else" and self.frames:
            frame = self.frames[-1]
            inner = re.fullmatch(r"(if|unless)\s+(.*)", rest.strip(), re.DOTALL)
            if frame.otherwise or (rest.strip() and inner is None):
                raise UntranslatableError(f"{tag.written} has no equivalent")
            if inner is not None:
                frame.conditions.append(self._asked(inner[2], negated=inner[1] == "unless"))
            else:
                frame.otherwise = True
        elif word in ("/if", "/unless") and self.frames:
            self.frames.pop()
        else:
            raise UntranslatableError(f"{tag.written} has no equivalent")

    def _asked(self, source: str, *, negated: bool) -> Code:
        test = truth_in(source, self.scope, empty_list=False)
        checked(test.text)
        return _not(test) if negated else test

    def _now(self) -> str:
        """The condition of what stands here."""
        parts: list[str] = []
        for frame in self.frames:
            before = frame.conditions if frame.otherwise else frame.conditions[:-1]
            parts += [_not(one).text for one in before]
            if not frame.otherwise:
                parts.append(frame.conditions[-1].at(AND))
        return " && ".join(parts)

    def _inside(self, tag: Plain | Placeholder) -> None:
        now = self._now()
        if isinstance(tag, Plain):
            for at in range(0, len(tag.text), _PIECE):
                self._piece(now, cel_literal(tag.text[at : at + _PIECE]))
            return
        try:
            code, _ = code_of(tag.inner.lstrip("&"), self.scope)
            self._piece(now, f"dyn({code.asked().text})")
        except UntranslatableError as error:
            self.problems.append(f"{tag.written}: {error}")
            self._piece(now, cel_literal(tag.written))

    def _piece(self, now: str, value: str) -> None:
        self._expression(checked(f'{now} ? {value} : ""'))


def _not(code: Code) -> Code:
    return Code(text=f"!{code.at(ATOM)}", level=UNARY, types=code.types)


def _plainly(tags: list[Plain | Placeholder], scope: Scope, why: str) -> Made:
    """The text with its placeholders, and with its blocks as they are written."""
    blocks = _Blocks(scope)
    for tag in tags:
        if isinstance(tag, Plain):
            blocks._text(tag.text)
        elif is_block(tag):
            blocks._text(tag.written)
        else:
            blocks._placeholder(tag)
    return Made("".join(blocks.out), (why, *blocks.problems), blocks.changed)


# ------------------------------------------------------------------------------------------------ values


def value_of(node: Node, scope: Scope, default: str = "null") -> tuple[Any, list[tuple[Node, Made]]]:
    """Return the template that a JSON value becomes, and what became of each of its leaves."""
    made: list[tuple[Node, Made]] = []

    def walk(one: Node) -> Any:
        if one.is_text:
            leaf = template(one.value, scope, default)
            made.append((one, leaf))
            return leaf.value
        if one.is_map and one.value:
            return {plain_key(key): walk(inner) for key, inner in one.fields()}
        if one.is_list and one.value:
            return [walk(inner) for inner in one.items()]
        made.append((one, Made(one.value)))
        return one.value

    return walk(node), made


def plain_key(key: str) -> str:
    """A key of an object in a template: keys are not rendered, and may not look as if they were."""
    return key.replace("{{", "{ {").replace("${", "$ {")
