"""Expressions and templates: compile them, evaluate them, say what they refer to.

A plain path (``steps.load-data.output["total"][0]``) is read first and walked in Python, in less than a microsecond. All else is
CEL. ``step.ID.result`` is an older spelling of ``steps.ID.output`` and is one and the same from here on; in CEL an id with
hyphens may be written as in a path (``steps.load-data.output > 3``), for nobody subtracts from a step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs

from kastra_core.api.meta import JsonValue
from kastra_core.errors import KastraError, UserError, nearest, shortened

__all__ = [
    "CompiledTemplate",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Path",
    "compile_expression",
    "compile_template",
    "is_template",
    "path_text",
]

Path = tuple[str | int, ...]
"""Static members of a value from its root: ``("steps", "extract", "output", "total")``."""

_LONGEST = 16_384
"""Characters of an expression."""
_MOST_TEXT = 64 * 1024 * 1024
"""Characters of a text that a template makes."""
_MOST_PARTS = 100_000
"""Expressions in one text."""
_ROOT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")
_MEMBER = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_-]*)|\[\s*(?:"([^"\\\n]*)"|'([^'\\\n]*)'|(0|[1-9][0-9]{0,8}))\s*\]""")
_NO_ROOTS = frozenset({"true", "false", "null", "in"})
_TEXT = r"""[bB]?[rR]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_OLDER = re.compile(
    rf"""(?P<skip>{_TEXT}|//[^\n]*)
    |(?<![\w.`])(?P<root>steps?)(?P<member>\.(?P<id>[A-Za-z_]\w*(?:-\w+)*)|\[\s*(?:"[^"\\\n]*"|'[^'\\\n]*')\s*\])
     (?P<result>\.result\b(?!-|\s*\())?""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)


class ExpressionError(KastraError):
    """An expression has no value for these data; never tried again."""

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(message, source)
        self.message, self.source = message, source

    @property
    def reason(self) -> str:
        return "ExpressionFailed"

    def __str__(self) -> str:
        return f"{self.message}, in {shortened(self.source, 200)!r}" if self.source else self.message


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


# ------------------------------------------------------------------------------------------------ expressions


@attrs.frozen(eq=False)
class Expression:
    """An expression that was read and can be evaluated again and again, in any thread."""

    source: str
    roots: frozenset[str]
    """Names that it takes from the scope."""
    references: tuple[Path, ...]
    """Static paths into the scope, in the order of the source, each once. ``has(a.b)`` refers to ``a``: it asks."""
    is_path: bool
    """It is one plain path and nothing else: ``references[0]``."""
    _evaluate: Callable[[Mapping[str, Any]], JsonValue] = attrs.field(repr=False)

    def evaluate(self, scope: Mapping[str, Any]) -> JsonValue:
        """Return its value as JSON; parts of the scope come as they are, not copied.

        Args:
            scope: name -> JSON. Nothing in it is changed.
        Raises:
            ExpressionError: a field that is missing, a wrong type, a division by zero, too much work.
        """
        return self._evaluate(scope)

    def evaluate_condition(self, scope: Mapping[str, Any]) -> bool:
        """Return its value, which must be a boolean.

        Raises:
            ExpressionError: as :meth:`evaluate`, or the value is no boolean.
        """
        value = self._evaluate(scope)
        if value is True or value is False:
            return value
        from kastra_plugin_workflow.cel_eval import word_of

        shown = f" ({shortened(str(value), 40)})" if isinstance(value, (str, int, float)) else ""
        raise ExpressionError(f"a condition must be true or false, this is {word_of(value)}{shown}", self.source)


def compile_expression(source: str, variables: Collection[str]) -> Expression:
    """Return the expression of ``source``; the same one when it was asked for before.

    Args:
        source: a path or CEL, without braces.
        variables: names that are in sight.
    Raises:
        ExpressionSyntaxError: it cannot be read, or names what is not in sight.
    """
    found = _compile(source)
    unknown = found.first_unknown(variables)
    if unknown is not None:
        name, offset = unknown
        near = nearest(name, sorted(variables))
        hint = f"did you mean {near!r}? " if near else ""
        names = ", ".join(sorted(variables)) or "nothing"
        line, column = _place(source, offset)
        raise ExpressionSyntaxError(f"{name!r} is not known here; {hint}in sight are: {names}", line, column, source)
    return found.expression


@attrs.frozen(eq=False)
class _Found:
    """What is known of a source whatever names are in sight."""

    expression: Expression
    places: tuple[tuple[str, int], ...]
    """Its roots and their offsets."""

    def first_unknown(self, variables: Collection[str]) -> tuple[str, int] | None:
        if self.expression.roots <= (variables if isinstance(variables, (set, frozenset)) else set(variables)):
            return None
        return next((name, offset) for name, offset in self.places if name not in variables)


@lru_cache(maxsize=4096)
def _compile(source: str) -> _Found:
    if len(source) > _LONGEST:
        raise ExpressionSyntaxError(
            f"it has {len(source)} characters, more than {_LONGEST}; compute a part in a step with `set`"
        )
    path = _plain_path(source)
    if path is not None:
        plain = source.strip()
        expression = Expression(plain, frozenset({str(path[0])}), (path,), True, _path_evaluator(path, plain))
        return _Found(expression, ((str(path[0]), len(source) - len(source.lstrip())),))
    if not source.strip():
        raise ExpressionSyntaxError("the expression is empty")
    inner = source.strip()
    if inner.startswith("{{"):
        raise ExpressionSyntaxError(
            "a condition is written without {{ and }}", *_place(source, source.index("{{")), source
        )
    return _compile_cel(source)


def _plain_path(source: str) -> Path | None:
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


def _path_evaluator(path: Path, source: str) -> Callable[[Mapping[str, Any]], JsonValue]:
    root, members = path[0], path[1:]
    indexed = any(isinstance(part, int) for part in members)

    def walk(scope: Mapping[str, Any]) -> JsonValue:
        try:
            value = scope[root]  # type: ignore[index]
            for part in members:
                value = value[part]
        except (KeyError, TypeError, IndexError):
            raise _missing(scope, path, source) from None
        return value

    def walk_indexed(scope: Mapping[str, Any]) -> JsonValue:
        try:
            value = scope[root]  # type: ignore[index]
            for part in members:
                # An index goes into lists only: "abc"[0] is Python, not JSON.
                if isinstance(part, int) and not isinstance(value, (list, tuple)):
                    raise TypeError
                value = value[part]
        except (KeyError, TypeError, IndexError):
            raise _missing(scope, path, source) from None
        return value

    return walk_indexed if indexed else walk


def _missing(scope: Mapping[str, Any], path: Path, source: str) -> ExpressionError:
    from kastra_plugin_workflow.cel_eval import missing

    value: Any = scope
    for index, part in enumerate(path):
        if index == 0:
            if part not in scope:
                return ExpressionError(f"{part!r} has no value here", source)
            value = scope[part]  # type: ignore[index]
            continue
        here = isinstance(value, Mapping) and isinstance(part, str) and part in value
        here = here or (isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value))
        if not here:
            message = str(missing(path_text(path[:index]), value, part))
            if isinstance(part, str) and "-" in part and index > 1:
                before = part.partition("-")[0]
                if isinstance(value, Mapping) and before in value:
                    message += f"; to subtract from {before!r} put spaces around the '-'"
            whole = path_text(path)
            return ExpressionError(message, "" if path_text(path[: index + 1]) == whole else whole)
        value = value[part]
    return ExpressionError("it has no value", source)


def _compile_cel(source: str) -> _Found:
    from kastra_plugin_workflow.cel_ast import CelSyntaxError, check, parse
    from kastra_plugin_workflow.cel_eval import TYPE_NAMES, BudgetError, EvaluationError, Frame, compile_node, json_of

    modern, moved = _modern_cel(source)
    try:
        tree, positions = parse(modern)
        references = _References()
        references.visit(tree, frozenset())
        places = tuple(
            (name, _original(moved, positions.get(ident, 0)))
            for name, ident in references.roots.items()
            if name not in TYPE_NAMES
        )
        roots = frozenset(name for name, _ in places)
        check(modern, tuple(sorted(references.roots.keys() - TYPE_NAMES)))
        thunk = compile_node(tree)
    except CelSyntaxError as error:
        offset = _original(moved, _offset(modern, error.line, error.column))
        raise ExpressionSyntaxError(error.message, *_place(source, offset), source) from error
    except RecursionError as error:
        raise ExpressionSyntaxError("it is nested too deeply", source=source) from error
    shown = source.strip()

    def evaluate(scope: Mapping[str, Any]) -> JsonValue:
        try:
            names = {name: scope[name] for name in roots}
        except KeyError as error:
            raise ExpressionError(f"{error.args[0]!r} has no value here", shown) from None
        try:
            value = thunk(Frame(names))
            return value if value is True or value is False else json_of(value)
        except (EvaluationError, BudgetError) as error:
            raise ExpressionError(str(error), shown) from None
        except RecursionError:
            raise ExpressionError("the data are nested too deeply", shown) from None
        except MemoryError:
            raise ExpressionError("it needs too much memory", shown) from None

    paths = tuple(dict.fromkeys(references.paths))
    return _Found(Expression(shown, roots, paths, False, evaluate), places)


class _References:
    """Collects the roots of a tree (with the id of a node that names them) and its static paths."""

    def __init__(self) -> None:
        self.roots: dict[str, int] = {}
        self.paths: list[Path] = []

    def visit(self, node: Any, bound: frozenset[str]) -> None:
        chain = self._chain(node, bound)
        if chain is not None:
            if not (len(chain) == 1 and self._is_type(str(chain[0]))):
                self.paths.append(tuple(chain))
            return
        if node.kind == "has":
            self.visit(node.target, bound)
            return
        if node.kind == "ident":
            return
        if node.kind == "fold":
            inner = bound | set(node.names)
            self.visit(node.items[0], bound)
            self.visit(node.items[1], bound)
            for item in node.items[2:]:
                self.visit(item, inner)
            return
        if node.target is not None:
            self.visit(node.target, bound)
        for item in node.items:
            for child in item if isinstance(item, tuple) else (item,):
                self.visit(child, bound)

    @staticmethod
    def _is_type(name: str) -> bool:
        from kastra_plugin_workflow.cel_eval import TYPE_NAMES

        return name in TYPE_NAMES

    def _chain(self, node: Any, bound: frozenset[str]) -> list[str | int] | None:
        """The path of a node that is nothing but members of a root."""
        if node.kind == "ident":
            if node.value in bound:
                return None
            self.roots.setdefault(node.value, node.id)
            return [node.value]
        if node.kind == "select":
            before = self._chain(node.target, bound)
            return None if before is None else [*before, node.value]
        if node.kind == "call" and node.value == "_[_]" and node.items[1].kind == "const":
            key = node.items[1].value
            if isinstance(key, (str, int)) and not isinstance(key, bool):
                before = self._chain(node.items[0], bound)
                return None if before is None else [*before, key]
        return None


def _modern_cel(source: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the source with older and hyphened names of steps rewritten, and (offset in it, characters added so far)."""
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
            member = f"[{_quoted(found['id'])}]"
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


def _quoted(text: str) -> str:
    return f'"{text}"'


def _original(moved: tuple[tuple[int, int], ...], offset: int) -> int:
    added = 0
    for start, more in moved:
        if offset < start:
            break
        added = more
    return max(0, offset - added)


def _place(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _offset(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return start + column - 1


# ------------------------------------------------------------------------------------------------ templates


def is_template(text: str) -> bool:
    """True when the text holds an expression."""
    return "{{" in text


@attrs.frozen(eq=False)
class CompiledTemplate:
    """JSON whose texts may hold expressions."""

    expressions: tuple[Expression, ...]
    """In the order of the value."""
    constant: bool
    """It has no expression: it renders to itself."""
    _render: Callable[[Mapping[str, Any]], JsonValue] = attrs.field(repr=False)

    def render(self, scope: Mapping[str, Any]) -> JsonValue:
        """Return the value with its expressions evaluated; parts without any come as they are, not copied.

        Raises:
            ExpressionError
        """
        return self._render(scope)


def compile_template(value: JsonValue, variables: Collection[str]) -> CompiledTemplate:
    """Return ``value`` ready to be rendered.

    Args:
        value: JSON. A text that is one ``{{ expression }}`` and nothing else keeps the type of its value.
        variables: names that are in sight.
    Raises:
        ExpressionSyntaxError: with line and column in the text that holds the expression.
    """
    expressions: list[Expression] = []
    try:
        render = _compile_value(value, variables, expressions)
    except RecursionError:
        raise ExpressionSyntaxError("the template is nested too deeply") from None
    if render is None:
        return CompiledTemplate((), True, lambda scope: value)
    return CompiledTemplate(tuple(expressions), False, render)


_Render = Callable[[Mapping[str, Any]], JsonValue]


def _compile_value(value: JsonValue, variables: Collection[str], found: list[Expression]) -> _Render | None:
    if isinstance(value, str):
        return _compile_text(value, variables, found) if "{{" in value else None
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, str) and "{{" in key:
                raise ExpressionSyntaxError(
                    "an expression cannot be a key; make the object in one: {{ {key: value} }}", source=key
                )
        return _compile_object(value, variables, found)
    if isinstance(value, (list, tuple)):
        items = [_compile_value(item, variables, found) for item in value]
        if not any(items):
            return None
        pairs = tuple(zip(value, items, strict=True))
        return lambda scope: [item if render is None else render(scope) for item, render in pairs]
    return None


def _compile_object(value: Mapping[str, Any], variables: Collection[str], found: list[Expression]) -> _Render | None:
    entries = tuple((key, item, _compile_value(item, variables, found)) for key, item in value.items())
    if not any(render for _, _, render in entries):
        return None
    return lambda scope: {key: item if render is None else render(scope) for key, item, render in entries}


def _compile_text(text: str, variables: Collection[str], found: list[Expression]) -> _Render:
    parts: list[str | Expression] = []
    for literal, source, offset in _split(text):
        if literal:
            parts.append(literal)
        if source is None:
            continue
        try:
            parts.append(compile_expression(source, variables))
        except ExpressionSyntaxError as error:
            at = offset + _offset(source, error.line, error.column)
            raise ExpressionSyntaxError(error.message, *_place(text, at), text) from error
        if len(parts) > _MOST_PARTS:
            raise ExpressionSyntaxError(f"the text holds more than {_MOST_PARTS // 2} expressions")
    found += [part for part in parts if isinstance(part, Expression)]
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return parts[0].evaluate
    return _joined(tuple(parts))


def _joined(parts: tuple[str | Expression, ...]) -> _Render:
    def render(scope: Mapping[str, Any]) -> str:
        out: list[str] = []
        size = 0
        for part in parts:
            text = part if isinstance(part, str) else _as_text(part.evaluate(scope))
            size += len(text)
            if size > _MOST_TEXT:
                raise ExpressionError(f"the text gets longer than {_MOST_TEXT >> 20} million characters")
            out.append(text)
        return "".join(out)

    return render


def _as_text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    import orjson

    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, or very deep
        import json

        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except (RecursionError, ValueError) as error:
            raise ExpressionError(f"a value cannot be written as JSON: {error}") from None


def _split(text: str) -> Iterator[tuple[str, str | None, int]]:
    """(literal text, the expression after it, its offset) of each part; at the end the expression may be None."""
    at = 0
    while True:
        start = text.find("{{", at)
        if start < 0:
            yield text[at:], None, len(text)
            return
        end = _end_of(text, start + 2)
        yield text[at:start], text[start + 2 : end], start + 2
        at = end + 2
        if at >= len(text):
            return


_SCAN = re.compile(rf"""(?P<text>{_TEXT})|(?P<quote>["'])|(?P<comment>//)|\}}\}}|[{{}}]""", re.DOTALL)


def _end_of(text: str, start: int) -> int:
    """The offset of the ``}}`` that ends the expression that begins at ``start``."""
    depth, at, quote = 0, start, -1
    while True:
        found = _SCAN.search(text, at)
        if found is None:
            break
        token = found[0]
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
        elif token == "{":
            depth += 1
        elif depth == 0:
            if token == "}}":
                return found.start()
            raise ExpressionSyntaxError("'}' closes nothing; an expression ends with '}}'", *_place(text, at - 1), text)
        else:
            depth -= 1
            at = found.start() + 1
    if quote >= 0:
        raise ExpressionSyntaxError("a text in the expression is not closed", *_place(text, quote), text)
    raise ExpressionSyntaxError("'{{' is not closed by '}}'", *_place(text, start - 2), text)
