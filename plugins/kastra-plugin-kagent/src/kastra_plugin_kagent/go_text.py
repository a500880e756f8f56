"""Go's text templates, as far as prompts use them: fields, calls of ``include``, range, if, with, comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Rendered", "actions_of", "render"]

_ACTION = re.compile(r"\{\{(-\s)?((?:(?!\}\}).)*?)(\s-)?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?")
_CALL = re.compile(r"([A-Za-z_]\w*)\s+(?:\"((?:[^\"\\]|\\.)*)\"|`([^`]*)`)")
_MISSING: Any = object()


@attrs.frozen
class Rendered:
    """What became of a template."""

    text: str
    left: tuple[str, ...] = ()
    """Actions that stay in the text as they are: what they name is not known, or they are of another kind."""

    def reason(self, source: str) -> str:
        """What a row says of a text that was ``source``."""
        if self.left:
            return f"what could not be filled in is left in the text: {', '.join(self.left)}"
        return "the template was filled in once and for all" if self.text != source else ""


@attrs.define
class _Part:
    start: int
    end: int
    action: str | None = None
    """None: text."""
    body: list[_Part] = attrs.field(factory=list)
    other: list[_Part] = attrs.field(factory=list)
    text: str = ""


class _UnknownError(Exception):
    """Something that cannot be evaluated here."""


def actions_of(text: str) -> list[str]:
    """What stands between the braces of each action.

    >>> actions_of("{{ .a }} and {{include \\"b/c\\"}}")
    ['.a', 'include "b/c"']
    """
    return [found[2].strip() for found in _ACTION.finditer(text)]


def render(
    text: str, data: Mapping[str, Any], functions: Mapping[str, Callable[[str], str | None]] | None = None
) -> Rendered:
    """Render a template with what is known; what is not stays as it is.

    Args:
        text: the template.
        data: fields of the dot: texts, lists of texts, objects of them.
        functions: take one literal text; None means that they do not know it.

    >>> render("Hi {{ .name }}, {{ .age }}", {"name": "Ada"})
    Rendered(text='Hi Ada, {{ .age }}', left=('{{ .age }}',))
    """
    parts = _parse(text)
    left: list[str] = []
    if parts is None:
        return Rendered(text, tuple(found[0].strip() for found in _ACTION.finditer(text)))
    out = "".join(_render(part, text, data, functions or {}, left) for part in parts)
    return Rendered(out, tuple(dict.fromkeys(left)))


def _parse(text: str) -> list[_Part] | None:
    """The parts of a template; None when its blocks do not fit together."""
    top: list[_Part] = []
    stack: list[tuple[_Part | None, list[_Part]]] = [(None, top)]
    at, trim = 0, False
    for found in _ACTION.finditer(text):
        between = text[at : found.start()]
        between = between.lstrip() if trim else between
        stack[-1][1].append(_Part(at, found.start(), text=between.rstrip() if found[1] else between))
        at, trim = found.end(), bool(found[3])
        action = found[2].strip()
        word = action.partition(" ")[0]
        if word in ("range", "if", "with"):
            part = _Part(found.start(), found.end(), action)
            stack[-1][1].append(part)
            stack.append((part, part.body))
        elif word == "else":
            block = stack[-1][0]
            if block is None or action != "else":
                return None
            stack[-1] = (block, block.other)
        elif word == "end":
            block = stack.pop()[0] if len(stack) > 1 else None
            if block is None:
                return None
            block.end = found.end()
        else:
            stack[-1][1].append(_Part(found.start(), found.end(), action))
    if len(stack) > 1:
        return None
    top.append(_Part(at, len(text), text=text[at:].lstrip() if trim else text[at:]))
    return top


def _render(
    part: _Part, source: str, dot: Any, functions: Mapping[str, Callable[[str], str | None]], left: list[str]
) -> str:
    if part.action is None:
        return part.text
    word, _, rest = part.action.partition(" ")
    try:
        if part.action.startswith("/*"):
            return ""
        if word not in ("range", "if", "with"):
            return _shown(_value(part.action, dot, functions))
        value = _value(rest.strip(), dot, functions)
        if word == "range" and not isinstance(value, (list, tuple)):
            raise _UnknownError
        if not value:
            return "".join(_render(one, source, dot, functions, left) for one in part.other)
        dots: Sequence[Any] = value if word == "range" else [value if word == "with" else dot]
        return "".join(_render(one, source, item, functions, left) for item in dots for one in part.body)
    except _UnknownError:
        text = source[part.start : part.end]
        left.append(text.strip())
        return text


def _value(expression: str, dot: Any, functions: Mapping[str, Callable[[str], str | None]]) -> Any:
    field = _FIELD.fullmatch(expression)
    if field:
        value = dot
        for name in field[1].split(".") if field[1] else ():
            value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is _MISSING:
            raise _UnknownError
        return value
    call = _CALL.fullmatch(expression)
    if call and call[1] in functions:
        found = functions[call[1]](call[2] if call[2] is not None else call[3])
        if found is not None:
            return found
    if len(expression) > 1 and expression[0] == expression[-1] and expression[0] in '"`':
        return expression[1:-1]
    raise _UnknownError


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(_shown(item) for item in value)}]"
    if isinstance(value, Mapping):
        raise _UnknownError
    return str(value)
