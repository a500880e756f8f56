"""Texts of older workflows as templates: placeholders of every spelling, conditional parts, all else as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import attrs

from kastra_core.migration import Node, escape_braces
from kastra_plugin_legacy.workflow_cel import Code, Path, cel_text, checked, path_of, test_of, to_cel, truth
from kastra_plugin_legacy.workflow_js import Arrow, Member, Name, Tree, UntranslatableError, parse_js
from kastra_plugin_legacy.workflow_scope import Scope

__all__ = ["Made", "condition", "equals", "expression", "has_placeholder", "in_braces", "placeholder_of", "plain_key", "template", "value_of"]

_VARIABLE = re.compile(r"\$(?:\{\{)?([A-Za-z_][\w]*(?:\.[\w-]+|\[(?:\d+|'[^'\n]*'|\"[^\"\n]*\")\])*)", re.ASCII)
"""``$name`` and ``$name.field``: all of a text, for inside of one a dollar sign is a dollar sign."""
_PATH = re.compile(r"[A-Za-z_$][\w$]*(?:\??\.[A-Za-z_][\w$-]*|\[\s*(?:\d+|'[^'\\\n]*'|\"[^\"\\\n]*\")\s*\])*")
_PART = re.compile(r"\??\.([A-Za-z_][\w$-]*)|\[\s*(?:(\d+)|'([^'\\\n]*)'|\"([^\"\\\n]*)\")\s*\]")
_OPEN = re.compile(r"\{\{\{|\$?\{\{|\$\{")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_KEPT_FILTERS = frozenset({"json", "tojson", "to_json", "safe", "raw", "string", "stringify"})
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


@attrs.frozen
class _Literal:
    text: str


@attrs.frozen
class _Tag:
    """A placeholder: what is between the braces, and how all of it is written."""

    inner: str
    written: str
    handlebars: bool


def has_placeholder(text: str) -> bool:
    """Whether a text has a placeholder of any spelling."""
    return _OPEN.search(text) is not None or _VARIABLE.fullmatch(text) is not None


# ------------------------------------------------------------------------------------------------ expressions


def expression(source: str, scope: Scope, default: str = "null") -> Code:
    """Return the CEL of one expression, with ``default`` where it has no value.

    Raises:
        UntranslatableError
    """
    code, tree = _code(source, scope)
    if code.absent:
        raise UntranslatableError("it is never there")
    made = code.value(default)
    if scope.opaque and made.types is not None:
        made = Code(text=f"dyn({made.text})")
    checked(made.text)
    if not code.guards:
        scope.need(path_of(tree))
    return made


def condition(source: str, scope: Scope) -> str:
    """Return the CEL that is true where a condition counts as true.

    Raises:
        UntranslatableError
    """
    text = source.strip()
    tags = list(_scan(text))
    if len(tags) == 1 and isinstance(tags[0], _Tag):
        text = tags[0].inner
    elif any(isinstance(tag, _Tag) for tag in tags):
        text = _joined(tags)
    elif _VARIABLE.search(text):
        text = re.sub(r"(?<![\w$'\"])\$(?=[A-Za-z_])", "", text)
    return checked(_test(text, scope).text)


def _joined(tags: list[_Literal | _Tag]) -> str:
    """One expression of placeholders within an expression: ``${a} > 3``, ``'{{a}}' === 'x'``."""
    out = ""
    for at, tag in enumerate(tags):
        if isinstance(tag, _Literal):
            out += tag.text
            continue
        quote = next((mark for mark in "'\"" if _QUOTED.sub("", out).count(mark) % 2), "")
        if not quote and "`" not in out:
            out += f"({tag.inner})"
            continue
        after = tags[at + 1] if at + 1 < len(tags) else None
        if not out.endswith(quote) or not isinstance(after, _Literal) or not after.text.startswith(quote) or not quote:
            raise UntranslatableError("a text in it has a placeholder")
        out = f"{out[:-1]}String({tag.inner})"
        tags[at + 1] = _Literal(after.text[1:])
    return out


def _code(source: str, scope: Scope) -> tuple[Code, Tree]:
    text, filters = _filters(source)
    tree, inner = _tree(text, scope)
    if inner is not scope:
        raise UntranslatableError("a function is no value")
    code = to_cel(tree, scope.resolve)
    for name in filters:
        code = _filtered(code, name, scope)
    return code, tree


def _test(source: str, scope: Scope, *, empty_list: bool = True) -> Code:
    text, filters = _filters(source)
    if filters:
        return truth(_code(source, scope)[0], empty_list=empty_list)
    tree, scope = _tree(text, scope)
    return test_of(tree, scope.resolve, empty_list=empty_list)


def _tree(text: str, scope: Scope) -> tuple[Tree, Scope]:
    """The tree of an expression, of a function its body, and what names in it mean."""
    path = _as_path(text, scope)
    if path is not None:
        tree: Tree = Name(str(path[0]))
        for part in path[1:]:
            tree = Member(tree, part)
        return tree, scope
    tree = parse_js(text, scope.plan.long_names)
    if isinstance(tree, Arrow):
        inner = Scope(scope.plan, scope.step, scope.moment, tree.parameters, scope.own_input, scope.agent)
        return tree.body, inner
    return tree, scope


def _as_path(source: str, scope: Scope) -> Path | None:
    """A path whose names have hyphens; None for anything else, and for one in which a hyphen subtracts."""
    text = source.strip()
    root, _, rest = text.partition(".")
    if root in ("step", "steps"):
        for name in scope.plan.known:
            # A step may have any name: `steps.load data.output`.
            if rest == name or rest.startswith(f"{name}."):
                below = rest[len(name) :]
                if re.fullmatch(r"(\.[\w$-]+)*", below):
                    return (root, name, *below.split(".")[1:])
    if "-" not in text or _PATH.fullmatch(text) is None:
        return None
    found = re.match(r"[\w$]+", text)
    assert found is not None
    parts: list[str | int] = [found[0]]
    for part in _PART.finditer(text, found.end()):
        name, index, single, double = part.groups()
        parts.append(int(index) if index is not None else next(one for one in (name, single, double) if one is not None))
    known = scope.plan.long_names
    if parts[0] not in ("step", "steps") and any(
        isinstance(part, str) and re.search(r"-(\d|\Z|-)", part) and part not in known for part in parts
    ):
        return None
    return tuple(parts)


def equals(source: str, word: str, scope: Scope) -> str:
    """Return the CEL that is true where an expression gives a text.

    Raises:
        UntranslatableError
    """
    code, _ = _code(source, scope)
    text = f"dyn({code.text})" if code.types is not None else code.at(3)
    return checked(" && ".join([*code.tests, f"{text} == {cel_text(word)}"]))


def _filters(source: str) -> tuple[str, list[str]]:
    """An expression and the filters after it: ``x | json``."""
    bare = _QUOTED.sub(lambda found: "_" * len(found[0]), source).replace("||", "__")
    parts, at = [], 0
    for found in re.finditer(r"\|", bare):
        parts.append(source[at : found.start()])
        at = found.end()
    parts.append(source[at:])
    return parts[0], [part.strip() for part in parts[1:]]


def _filtered(code: Code, text: str, scope: Scope) -> Code:
    found = re.fullmatch(r"(\w+)\s*(?:[:(]\s*(.*?)\s*\)?)?", text, re.DOTALL)
    name = found[1] if found is not None else text
    if name in _KEPT_FILTERS:
        return code
    if found is not None and name == "default" and found[2]:
        other, _ = _code(found[2], scope)
        if code.absent:
            return other
        if not code.tests:
            return code
        mixed = code.types is not None and other.types is not None and code.types != other.types
        first = f"dyn({code.text})" if mixed else code.at(6)
        return Code(text=f"{' && '.join(code.tests)} ? {first} : {other.asked().at(6)}", level=7)
    raise UntranslatableError(f"there is no filter {name!r}")


# ------------------------------------------------------------------------------------------------ texts


def in_braces(text: str) -> str:
    """An expression as it stands in a template; a path is written with dots as far as can be.

    >>> in_braces('steps["load-data"].output'), in_braces('"a-b" in steps')
    ('{{ steps.load-data.output }}', '{{ "a-b" in steps }}')
    """
    if _PLAIN.fullmatch(text) is not None:
        text = re.sub(r'\["([A-Za-z_]\w*(?:-\w+)+)"\]', r".\1", text, flags=re.ASCII)
    return f"{{{{ {text} }}}}"


def _scan(text: str) -> Iterator[_Literal | _Tag]:
    """Placeholders and the texts between them."""
    at = start = 0
    while True:
        found = _OPEN.search(text, at)
        if found is None:
            break
        opening = found[0]
        closing = {"{{{": "}}}", "{{": "}}", "${{": "}}", "${": "}"}[opening]
        end = _end_of(text, found.end(), closing)
        inner = text[found.end() : end].strip() if end >= 0 else ""
        if end < 0 or not inner or (opening != "${" and "{{" in inner):
            at = found.start() + 1
            continue
        if start < found.start():
            yield _Literal(text[start : found.start()])
        stop = end + len(closing)
        yield _Tag(inner.strip("~").strip() or inner, text[found.start() : stop], opening in ("{{", "{{{"))
        at = start = stop
    if start < len(text):
        yield _Literal(text[start:])


def _end_of(text: str, at: int, closing: str) -> int:
    depth = 0
    while at < len(text):
        if text.startswith(closing, at) and depth == 0:
            return at
        char = text[at]
        if char in "\"'":
            quoted = _QUOTED.match(text, at)
            if quoted is not None and "\n" not in quoted[0] and "}" in quoted[0]:
                at = quoted.end()
                continue
        elif char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        at += 1
    return -1


def template(text: str, scope: Scope, default: str = "null") -> Made:
    """Return a text as a template; what has no equivalent stays as it is written.

    Args:
        default: CEL in place of a value that is not there, where the text is one placeholder and nothing else.
    """
    alone = placeholder_of(text)
    if alone is not None:
        return _alone(text, alone, scope, default)
    tags = list(_scan(text))
    if not any(isinstance(tag, _Tag) for tag in tags):
        return Made(escape_braces(text))
    return _Blocks(scope).made(_standalone(tags))


def _alone(text: str, source: str, scope: Scope, default: str) -> Made:
    """A text that is one placeholder and nothing else."""
    try:
        code = expression(source, scope, default)
        return Made(in_braces(code.text), changed=True, types=code.types)
    except UntranslatableError as error:
        kept = in_braces(f"dyn({cel_text(text)})") if scope.opaque else escape_braces(text)
        return Made(kept, (f"{text}: {error}",))


def placeholder_of(text: str) -> str | None:
    """The expression of a text that is one placeholder and nothing else; None for any other text."""
    whole = _VARIABLE.fullmatch(text)
    if whole is not None:
        return whole[1]
    tags = list(_scan(text))
    tag = tags[0] if len(tags) == 1 else None
    return tag.inner if isinstance(tag, _Tag) and not _is_block(tag) else None


def _is_block(tag: _Tag) -> bool:
    return tag.handlebars and (tag.inner[0] in "#/^>!&" or re.fullmatch(r"else(\s.*)?", tag.inner, re.DOTALL) is not None)


def _standalone(tags: list[_Literal | _Tag]) -> list[_Literal | _Tag]:
    """A line with nothing but a block's tag vanishes, as Handlebars has it."""
    out = list(tags)
    for at, tag in enumerate(tags):
        if not isinstance(tag, _Tag) or not _is_block(tag) or tag.inner[0] == "&":
            continue
        before = tags[at - 1] if at else None
        after = tags[at + 1] if at + 1 < len(tags) else None
        left = re.search(r"(^|\n)[ \t]*\Z", before.text) if isinstance(before, _Literal) else None
        opens = before is None or (left is not None and (left[1] == "\n" or at == 1))
        right = re.match(r"[ \t]*(\r?\n|\Z)", after.text) if isinstance(after, _Literal) else None
        closes = after is None or (right is not None and (right[1] != "" or at + 2 == len(tags)))
        if not opens or not closes:
            continue
        if left is not None:
            now = out[at - 1]
            assert isinstance(now, _Literal)
            out[at - 1] = _Literal(re.sub(r"[ \t]*\Z", "", now.text))
        if right is not None:
            now = out[at + 1]
            assert isinstance(now, _Literal)
            out[at + 1] = _Literal(re.sub(r"\A[ \t]*(\r?\n|\Z)", "", now.text))
    return out


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

    def made(self, tags: list[_Literal | _Tag]) -> Made:
        try:
            for tag in tags:
                if isinstance(tag, _Tag) and _is_block(tag):
                    self._block(tag)
                elif self.frames:
                    self._inside(tag)
                elif isinstance(tag, _Literal):
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
        if text.startswith('"') and _QUOTED.fullmatch(text) is not None:
            self._text(json.loads(text))
        else:
            self.out.append(in_braces(text))
        self.changed = True

    def _placeholder(self, tag: _Tag) -> None:
        try:
            self._expression(expression(tag.inner.lstrip("&"), self.scope).text)
        except UntranslatableError as error:
            self.problems.append(f"{tag.written}: {error}")
            self._text(tag.written)

    def _block(self, tag: _Tag) -> None:
        word, _, rest = tag.inner.partition(" ")
        if tag.inner[0] == "!":
            return
        if word in ("#if", "#unless"):
            if len(self.frames) >= _DEEPEST:
                raise UntranslatableError("blocks are nested too deeply")
            self.frames.append(_Frame([self._test(rest, negated=word == "#unless")]))
        elif word == "else" and self.frames:
            frame = self.frames[-1]
            inner = re.fullmatch(r"(if|unless)\s+(.*)", rest.strip(), re.DOTALL)
            if frame.otherwise or (rest.strip() and inner is None):
                raise UntranslatableError(f"{tag.written} has no equivalent")
            if inner is not None:
                frame.conditions.append(self._test(inner[2], negated=inner[1] == "unless"))
            else:
                frame.otherwise = True
        elif word in ("/if", "/unless") and self.frames:
            self.frames.pop()
        else:
            raise UntranslatableError(f"{tag.written} has no equivalent")

    def _test(self, source: str, *, negated: bool) -> Code:
        test = _test(source, self.scope, empty_list=False)
        checked(test.text)
        return _not(test) if negated else test

    def _now(self) -> str:
        """The condition of what stands here."""
        parts: list[str] = []
        for frame in self.frames:
            before = frame.conditions if frame.otherwise else frame.conditions[:-1]
            parts += [_not(one).text for one in before]
            if not frame.otherwise:
                parts.append(frame.conditions[-1].at(5))
        return " && ".join(parts)

    def _inside(self, tag: _Literal | _Tag) -> None:
        now = self._now()
        if isinstance(tag, _Literal):
            for at in range(0, len(tag.text), _PIECE):
                self._piece(now, cel_text(tag.text[at : at + _PIECE]))
            return
        try:
            code, _ = _code(tag.inner.lstrip("&"), self.scope)
            self._piece(now, f"dyn({code.asked().text})")
        except UntranslatableError as error:
            self.problems.append(f"{tag.written}: {error}")
            self._piece(now, cel_text(tag.written))

    def _piece(self, now: str, value: str) -> None:
        self._expression(checked(f'{now} ? {value} : ""'))


def _not(code: Code) -> Code:
    return Code(text=f"!{code.at(0)}", level=1, types=code.types)


def _plainly(tags: list[_Literal | _Tag], scope: Scope, why: str) -> Made:
    """The text with its placeholders, and with its blocks as they are written."""
    blocks = _Blocks(scope)
    for tag in tags:
        if isinstance(tag, _Literal):
            blocks._text(tag.text)
        elif _is_block(tag):
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
