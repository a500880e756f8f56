"""JSONPath as kubectl and the columns of definitions write it, with kubectl's templates.

A path: ``.spec.model.name``, ``.spec.tools[*].name``, ``.spec.tools[0]``, ``[-1]``, ``[0:2]``, ``[0,2]``, ``['a.b']``,
``.metadata.labels.app\\.example/name``, ``..name``, ``.status.conditions[?(@.type=="Ready")].status`` (also ``!=``,
``<``, ``<=``, ``>``, ``>=``, or no comparison: it is there). A template: text with paths in braces,
``{.metadata.name}{"\\n"}``, ``{range .items[*]}{.metadata.name}{end}``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from kastra_core.errors import UserError

__all__ = ["Path", "compile_path", "first", "render", "text_of"]

Step: TypeAlias = Callable[[Iterable[Any]], Iterator[Any]]
Path: TypeAlias = Callable[[Any], list[Any]]
"""Root to the values that the path leads to, in order; none when it leads nowhere."""

_NAME = re.compile(r"(?:\\.|[^\\.\[\]\s])+")
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")
_INDEX = re.compile(r"-?\d+")
_FILTER = re.compile(
    r"""\?\(\s*(?P<left>[@$]?(?:\[[^\]]*\]|[^=!<>\s\[])*?)\s*
        (?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<right>'[^']*'|"[^"]*"|[^\s]+?)\s*)?\)""",
    re.VERBOSE,
)
_LONGEST = 4096
_DEEPEST = 200
"""Levels that ``..`` goes down."""
_LITERALS = {"true": True, "false": False, "null": None}
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@lru_cache(maxsize=256)
def compile_path(text: str) -> Path:
    """Return the function that a path is.

    Raises: UserError.

    >>> compile_path(".a[*].b")({"a": [{"b": 1}, {"b": 2}]})
    [1, 2]
    """
    path = _bounded(text).strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1].strip()
    path = path.removeprefix("$").removeprefix("@")
    if path and path[0] not in ".[":
        path = "." + path
    steps = list(_steps(path, text)) if path != "." else []

    def evaluate(root: Any) -> list[Any]:
        values: list[Any] = [root]
        for step in steps:
            values = list(step(values))
        return values

    return evaluate


def _steps(path: str, text: str) -> Iterator[Step]:
    at = 0
    while at < len(path):
        if path[at] == "[":
            end = _closing(path, at)
            inside = path[at + 1 : end].strip() if end else ""
            step = _bracket(inside) if inside else None
            if step is None:
                raise _unreadable(text, path[at:])
            yield step
            at = end + 1
            continue
        dots = 2 if path.startswith("..", at) else 1
        if dots == 2:
            yield _descend
        found = _NAME.match(path, at + dots) if path[at] == "." else None
        if found is not None:
            yield _every if found[0] == "*" else _member(re.sub(r"\\(.)", r"\1", found[0]))
            at = found.end()
        elif path[at] == "." and path[at + dots : at + dots + 1] == "[":
            at += dots
        else:
            raise _unreadable(text, path[at:])


def _unreadable(text: str, rest: str) -> UserError:
    return UserError(
        f"JSONPath {text!r}: cannot read {rest!r}; known are .name, ..name, ['name'], [0], [0:2], [*] and "
        '[?(@.type=="Ready")]'
    )


def _closing(path: str, start: int) -> int:
    """Where the bracket ends that begins at ``start``, 0 when it does not."""
    depth, quote = 0, ""
    for at in range(start, len(path)):
        char = path[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if not depth:
                return at
    return 0


def _bounded(text: str) -> str:
    """The text. Raises: UserError when it is longer than any that a person writes."""
    if len(text) > _LONGEST:
        raise UserError(f"JSONPath {text[:40]!r}...: has {len(text)} characters, at most {_LONGEST} are read")
    return text


def _bracket(inside: str) -> Step | None:
    """What stands in brackets; None when it cannot be read."""
    if inside == "*":
        return _every
    if inside[0] == "?":
        found = _FILTER.fullmatch(inside)
        return _filter(found["left"], found["op"], found["right"]) if found is not None else None
    sliced = _SLICE.fullmatch(inside)
    if sliced is not None:
        begin, end, stride = (int(part) if part else None for part in sliced.groups())
        return None if stride == 0 else _slice(slice(begin, end, stride))
    steps = []
    for part in re.findall(r"'[^']*'|\"[^\"]*\"|[^,]+", inside):
        word = part.strip()
        if len(word) > 1 and word[0] in "'\"" and word[-1] == word[0]:
            steps.append(_member(word[1:-1]))
        elif _INDEX.fullmatch(word):
            steps.append(_item(int(word)))
        else:
            return None
    return steps[0] if len(steps) == 1 else _union(steps)


def _member(name: str) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, Mapping) and name in value:
                yield value[name]

    return step


def _item(index: int) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, list) and -len(value) <= index < len(value):
                yield value[index]

    return step


def _slice(part: slice) -> Step:
    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, list):
                yield from value[part]

    return step


def _union(steps: Iterable[Step]) -> Step:
    every = tuple(steps)

    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            for one in every:
                yield from one([value])

    return step


def _every(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Mapping):
            yield from value.values()
        elif isinstance(value, list):
            yield from value


def _descend(values: Iterable[Any]) -> Iterator[Any]:
    """Values and all that is in them."""
    stack = [(value, 0) for value in reversed(list(values))]
    while stack:
        value, depth = stack.pop()
        yield value
        if depth < _DEEPEST:
            stack.extend((below, depth + 1) for below in reversed(list(_every([value]))))


def _filter(left: str, comparison: str | None, right: str | None) -> Step:
    inner = compile_path(left or ".")
    other: Callable[[Any], Any] | None = None
    wanted: Any = None
    if right is not None and right.startswith("@"):
        other = compile_path(right)
    elif right is not None:
        wanted = _literal(right)

    def matches(item: Any) -> bool:
        found = inner(item)
        if comparison is None:
            return bool(found)
        if not found:
            return False
        against = wanted
        if other is not None:
            against = next(iter(other(item)), None)
        if comparison in ("==", "!="):
            return bool((found[0] == against) == (comparison == "=="))
        return _COMPARE[comparison](found[0], against) if _ordered(found[0], against) else False

    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, list):
                yield from (item for item in value if matches(item))

    return step


def _ordered(left: Any, right: Any) -> bool:
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (left, right))
    return numbers or (isinstance(left, str) and isinstance(right, str))


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    if text in _LITERALS:
        return _LITERALS[text]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise UserError(f"JSONPath: {text!r} is no value; put texts in quotes") from None


def first(path: str, root: Any) -> Any:
    """The first value that a path leads to, None when there is none."""
    found = compile_path(path)(root)
    return found[0] if found else None


def text_of(value: Any) -> str:
    """A value as ``-o jsonpath=`` prints it: texts as they are, the rest as JSON."""
    if isinstance(value, str):
        return value
    import orjson

    return orjson.dumps(value).decode()


# ------------------------------------------------------------------------------------------------ templates


def render(template: str, root: Any) -> str:
    r"""Return a template with its braces filled in; a template without braces is a path.

    Several values of one path are separated by spaces.

    Raises: UserError.

    >>> render('{range .items[*]}{.name}{"\n"}{end}', {"items": [{"name": "a"}, {"name": "b"}]})
    'a\nb\n'
    """
    if "{" not in _bounded(template):
        template = "{" + template + "}"
    parts = _split(template)
    out, rest = _block(parts, root, template)
    if rest:
        raise UserError(f"JSONPath {template!r}: {{end}} without {{range}}")
    return out


def _split(template: str) -> list[tuple[bool, str]]:
    """(in braces, text) each."""
    parts: list[tuple[bool, str]] = []
    at = 0
    while at < len(template):
        start = template.find("{", at)
        if start < 0:
            parts.append((False, template[at:]))
            break
        if start > at:
            parts.append((False, template[at:start]))
        found = re.compile(r"""\{((?:[^{}"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*)\}""").match(template, start)
        if found is None:
            raise UserError(f"JSONPath {template!r}: a brace is not closed")
        parts.append((True, found[1].strip()))
        at = found.end()
    return parts


def _block(parts: list[tuple[bool, str]], root: Any, template: str) -> tuple[str, list[tuple[bool, str]]]:
    """Fill in up to the matching ``end``; return the text, and the parts from that ``end`` on."""
    out: list[str] = []
    while parts:
        (braces, text), rest = parts[0], parts[1:]
        if not braces:
            out.append(text)
        elif text == "end":
            return "".join(out), parts
        elif text.startswith("range"):
            after = rest
            items = compile_path(text.removeprefix("range").strip())(root)
            # With no item the block is read once for its end, and what it gives is dropped.
            for number, item in enumerate(items or [None]):
                piece, after = _block(rest, item, template)
                if not after:
                    raise UserError(f"JSONPath {template!r}: {{range}} without {{end}}")
                if items or number:
                    out.append(piece)
            rest = after[1:]
        elif text[:1] in ("'", '"'):
            out.append(_unquoted(text))
        else:
            out.append(" ".join(text_of(value) for value in compile_path(text)(root)))
        parts = rest
    return "".join(out), []


def _unquoted(text: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), text[1:-1])
