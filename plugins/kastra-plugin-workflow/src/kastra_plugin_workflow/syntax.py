"""How expressions stand in texts: plain paths, older spellings, ``{{ }}``, and places in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from kastra_core.cel.hints import TEXT_LITERAL
from kastra_core.errors import UserError, shortened

__all__ = [
    "ExpressionSyntaxError",
    "Path",
    "dollar_faults",
    "end_of_expression",
    "modern_cel",
    "offset_of",
    "original_offset",
    "path_text",
    "place_of",
    "plain_path",
    "split_text",
]

Path = tuple[str | int, ...]
"""Static members of a value from its root: ``("steps", "extract", "output", "total")``."""

_ROOT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")
_MEMBER = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_-]*)|\[\s*(?:"([^"\\\n]*)"|'([^'\\\n]*)'|(0|[1-9][0-9]{0,8}))\s*\]""")
_NO_ROOTS = frozenset({"true", "false", "null", "in"})
_OLDER = re.compile(
    rf"""(?P<skip>{TEXT_LITERAL}|//[^\n]*)
    |(?<![\w.`])(?P<root>steps?)(?P<member>\.(?P<id>[A-Za-z_]\w*(?:-\w+)*)|\[\s*(?:"[^"\\\n]*"|'[^'\\\n]*')\s*\])
     (?P<result>\.result\b(?!\s*\()|\[\s*(?:"result"|'result')\s*\])?""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_DOLLAR = re.compile(r"\$\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*([.\[}])")
_OBJECTS = frozenset({"workflow", "steps", "step", "data", "state", "error"})
"""Names that are followed by a field; ``${data}`` alone is somebody else's."""
_SCAN = re.compile(rf"""(?P<text>{TEXT_LITERAL})|(?P<quote>["'])|(?P<comment>//)|\}}\}}|[{{}}]""", re.DOTALL)


class ExpressionSyntaxError(UserError):
    """An expression cannot be read. ``line`` and ``column`` count from 1, within the text that holds it."""

    def __init__(self, message: str, line: int = 1, column: int = 1, source: str = "") -> None:
        super().__init__(message, line, column, source)
        self.message, self.line, self.column, self.source = message, line, column, source

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}" if self.line > 1 else f"column {self.column}"
        shown = f" of {shortened(self.source, 200)!r}" if self.source else ""
        return f"{self.message} ({place}{shown})"


def path_text(path: Path) -> str:
    """How a path is written.

    >>> path_text(("steps", "load-data", "output", 0, "a b"))
    'steps.load-data.output[0]["a b"]'
    """
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", part):
            out += f".{part}" if out else part
        else:
            out += f'["{part}"]'
    return out


def plain_path(source: str) -> Path | None:
    found = _ROOT.match(source)
    if found is None or found[1] in _NO_ROOTS:
        return None
    parts: list[str | int] = [found[1]]
    at, end = found.end(), len(source)
    while at < end:
        found = _MEMBER.match(source, at)
        if found is None:
            if source[at:].isspace():
                break
            return None
        name, double, single, index = found.groups()
        if name and "-" in name and len(parts) == 2 and parts[0] in ("steps", "step"):
            return None  # a step has no such field: `steps.a.output-1` subtracts
        parts.append(int(index) if index is not None else name or double or single or "")
        at = found.end()
    if parts[0] == "step":
        return _modern(parts)
    return tuple(parts)


def _modern(parts: list[str | int]) -> Path:
    """``step.ID.result`` as ``steps.ID.output``."""
    parts[0] = "steps"
    if len(parts) > 2 and parts[2] == "result":
        parts[2] = "output"
    return tuple(parts)


def modern_cel(source: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return CEL with older and hyphened names of steps rewritten, and [(offset in it, characters added so far)]."""
    if "step" not in source:
        return source, ()
    out: list[str] = []
    moved: list[tuple[int, int]] = []
    at = size = 0
    for found in _OLDER.finditer(source):
        if found["skip"] is not None:
            continue
        member = found["member"]
        if found["id"] and "-" in found["id"]:
            member = f'["{found["id"]}"]'
        result = ".output" if found["result"] and found["root"] == "step" else found["result"] or ""
        text = f"steps{member}{result}"
        if text == found[0]:
            continue
        before = source[at : found.start()]
        out += (before, text)
        size += len(before) + len(text)
        at = found.end()
        moved.append((size, size - at))
    return "".join(out) + source[at:], tuple(moved)


def original_offset(moved: tuple[tuple[int, int], ...], offset: int) -> int:
    added = 0
    for start, more in moved:
        if offset < start:
            break
        added = more
    return max(0, offset - added)


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def offset_of(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(min(line - 1, text.count("\n"))):
        start = text.find("\n", start) + 1
    return start + column - 1


def split_text(text: str) -> Iterator[tuple[str, str | None, int]]:
    """(literal text, the expression after it, its offset) of each part; at the end the expression may be None."""
    at = 0
    while True:
        start = text.find("{{", at)
        if start < 0:
            yield text[at:], None, len(text)
            return
        end = end_of_expression(text, start + 2)
        yield text[at:start], text[start + 2 : end], start + 2
        at = end + 2
        if at >= len(text):
            return


def dollar_faults(text: str, names: Collection[str]) -> Iterator[ExpressionSyntaxError]:
    """Yield where a text has ``${{ x }}``, or ``${x}`` with a name that is in sight: other systems' expressions."""
    at = 0
    try:
        for literal, source, start in split_text(text):
            for found in _DOLLAR.finditer(literal):
                name, after = found.groups()
                if name not in names and not (name == "step" and "steps" in names):
                    continue
                if after == "}" and name in _OBJECTS:
                    continue
                yield ExpressionSyntaxError(
                    f"'${{{name}...}}' is plain text here; write {{{{ {name}... }}}}, without $ and with two braces "
                    f'(to keep it as text: {{{{ "${{" }}}}{name}...)',
                    *place_of(text, at + found.start()),
                    text,
                )
            if source is None:
                return
            if literal.endswith("$"):
                yield ExpressionSyntaxError(
                    "an expression is written without $: {{ x }}, not ${{ x }} "
                    '(a dollar sign before a value: {{ "$" }}{{ x }})',
                    *place_of(text, start - 3),
                    text,
                )
            at = start + len(source) + 2
    except ExpressionSyntaxError:
        return  # told by whoever reads the expressions


def end_of_expression(text: str, start: int) -> int:
    """The offset of the ``}}`` that ends the expression that begins at ``start``."""
    depth, at, quote = 0, start, -1
    while True:
        found = _SCAN.search(text, at)
        if found is None:
            break
        mark = found[0]
        at = found.end()
        if found["text"]:
            continue
        if found["quote"]:
            quote = found.start()
            break
        if found["comment"]:
            line = text.find("\n", at)
            close = text.find("}}", at)
            if depth == 0 and close >= 0 and (line < 0 or close < line):
                return close
            if line < 0:
                break
            at = line
        elif mark == "{":
            depth += 1
        elif depth == 0:
            if mark == "}}":
                return found.start()
            raise ExpressionSyntaxError(
                "'}' closes nothing; an expression ends with '}}'", *place_of(text, at - 1), text
            )
        else:
            depth -= 1
            at = found.start() + 1
    if quote >= 0:
        raise ExpressionSyntaxError("a text in the expression is not closed", *place_of(text, quote), text)
    raise ExpressionSyntaxError("'{{' is not closed by '}}'", *place_of(text, start - 2), text)
