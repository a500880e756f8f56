"""The part of JSONPath that columns and ``-o jsonpath=`` use, with kubectl's templates.

A path: ``.spec.model.name``, ``.spec.tools[*].name``, ``.spec.tools[0]``, ``['a.b']``, ``[-1]``,
``.status.conditions[?(@.type=="Ready")].status``. A template: text with paths in braces,
``{.metadata.name}{"\\n"}``, ``{range .items[*]}{.metadata.name}{end}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from kastra_core.errors import UserError

__all__ = ["Path", "compile_path", "first", "render", "text_of"]

Step: TypeAlias = Callable[[Iterable[Any]], Iterator[Any]]
Path: TypeAlias = Callable[[Any], list[Any]]
"""Root to the values that the path leads to, in order; none when it leads nowhere."""

_TOKEN = re.compile(
    r"""\.(?P<name>[^.\[\]\s]+)
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*(?P<star>\*)\s*\]
      | \[\s*(?P<quote>['"])(?P<key>.*?)(?P=quote)\s*\]
      | \[\?\(\s*@(?P<left>[^=!<>\s]*)\s*(?:(?P<op>==|!=)\s*(?P<right>'[^']*'|"[^"]*"|[^\s)]+)\s*)?\)\]""",
    re.VERBOSE,
)
_LONGEST = 4096
_LITERALS = {"true": True, "false": False, "null": None}


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
    steps: list[Step] = []
    at = 0 if path != "." else 1
    while at < len(path):
        found = _TOKEN.match(path, at)
        if found is None:
            raise UserError(
                f"JSONPath {text!r}: cannot read {path[at:]!r}; known are .name, ['name'], [0], [*] and "
                '[?(@.type=="Ready")]'
            )
        steps.append(_step(found))
        at = found.end()

    def evaluate(root: Any) -> list[Any]:
        values: list[Any] = [root]
        for step in steps:
            values = list(step(values))
        return values

    return evaluate


def _bounded(text: str) -> str:
    """The text. Raises: UserError when it is longer than any that a person writes."""
    if len(text) > _LONGEST:
        raise UserError(f"JSONPath {text[:40]!r}...: has {len(text)} characters, at most {_LONGEST} are read")
    return text


def _step(found: re.Match[str]) -> Step:
    if found["name"] is not None:
        return _every if found["name"] == "*" else _member(found["name"].replace("\\", ""))
    if found["key"] is not None:
        return _member(found["key"])
    if found["index"] is not None:
        return _item(int(found["index"]))
    if found["star"]:
        return _every
    return _filter(found["left"], found["op"], found["right"])


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


def _every(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Mapping):
            yield from value.values()
        elif isinstance(value, list):
            yield from value


def _filter(left: str, operator: str | None, right: str | None) -> Step:
    inner = compile_path(left or ".")
    wanted = _literal(right) if right is not None else None

    def matches(item: Any) -> bool:
        found = inner(item)
        if operator is None:
            return bool(found)
        return (bool(found) and found[0] == wanted) == (operator == "==")

    def step(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            if isinstance(value, list):
                yield from (item for item in value if matches(item))

    return step


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
