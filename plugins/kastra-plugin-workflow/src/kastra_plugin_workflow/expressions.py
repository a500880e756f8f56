"""Expressions and templates: compile them, evaluate them, say what they refer to.

A plain path (``steps.load-data.output["total"][0]``) is read first and walked in Python, in less than a microsecond.
All else is CEL. ``step.ID.result`` is an older spelling of ``steps.ID.output`` and is one and the same from here on; in
CEL an id with hyphens may be written as in a path (``steps.load-data.output > 3``), for nobody subtracts from a step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import attrs

from kastra_core.api.meta import JsonValue
from kastra_core.cel.hints import suggestion
from kastra_core.errors import KastraError, shortened
from kastra_plugin_workflow.syntax import (
    ExpressionSyntaxError,
    Path,
    end_of_expression,
    modern_cel,
    offset_of,
    original_offset,
    path_text,
    place_of,
    plain_path,
    split_text,
)

__all__ = [
    "Comparison",
    "CompiledTemplate",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Path",
    "compile_expression",
    "compile_parts",
    "compile_template",
    "parse_expression",
    "path_text",
    "whole_expression",
]


_LONGEST = 16_384
"""Characters of an expression."""
_MOST_TEXT = 64 * 1024 * 1024
"""Characters of a text that a template makes."""
_MOST_PARTS = 100_000
"""Expressions in one text."""


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


# ------------------------------------------------------------------------------------------------ expressions


@attrs.frozen
class Comparison:
    """Two values that are compared."""

    sign: str
    left: Path | str
    """A path, or the JSON type of a value that no path leads to."""
    right: Path | str
    texts: tuple[str, str]
    """Both as a message writes them."""


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
    comparisons: tuple[Comparison, ...]
    """``==``, ``<`` and the like between paths and values of a known type, outside of macros' variables."""
    type_name: str
    """What is known of its value before it is evaluated: bool, int, double, string, list, map ..., else dyn."""
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
        from kastra_core.cel.values import word_of

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
        from kastra_core.cel.hints import hint_for_name

        hint = hint_for_name(name) or suggestion(name, sorted(variables))
        hint += "" if not hint else " " if hint.endswith("?") else "; "
        names = ", ".join(sorted(variables)) or "nothing"
        line, column = place_of(source, offset)
        raise ExpressionSyntaxError(f"{name!r} is not known here; {hint}in sight are: {names}", line, column, source)
    return found.expression


def parse_expression(source: str) -> Expression:
    """As :func:`compile_expression`, whatever names are in sight."""
    return _compile(source).expression


@attrs.frozen(eq=False)
class _Found:
    """What is known of a source whatever names are in sight."""

    expression: Expression
    place: Callable[[str], int]
    """Root -> its offset in the source."""

    def first_unknown(self, variables: Collection[str]) -> tuple[str, int] | None:
        """(a root that is not among the variables, its offset): the first one in the source."""
        unknown = self.expression.roots.difference(variables)
        return min(((name, self.place(name)) for name in unknown), key=lambda entry: entry[1]) if unknown else None


@lru_cache(maxsize=8192)
def _compile(source: str) -> _Found:
    if len(source) > _LONGEST:
        raise ExpressionSyntaxError(
            f"it has {len(source)} characters, more than {_LONGEST}; compute a part in a step with `set`"
        )
    path = plain_path(source)
    if path is not None:
        plain = source.strip()
        expression = Expression(
            plain, frozenset({str(path[0])}), (path,), True, (), "dyn", _path_evaluator(path, plain)
        )
        return _Found(expression, lambda name: len(source) - len(source.lstrip()))
    if not source.strip():
        raise ExpressionSyntaxError("the expression is empty")
    inner = source.strip()
    if inner.startswith("{{"):
        raise ExpressionSyntaxError(
            "a condition is written without {{ and }}", *place_of(source, source.index("{{")), source
        )
    return _compile_cel(source)


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
    from kastra_core.cel.words import missing
    from kastra_plugin_workflow.dialect import words

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
            message = str(missing(path_text(path[:index]), value, part, words))
            if isinstance(part, str) and "-" in part:
                before = part.partition("-")[0]
                if isinstance(value, Mapping) and before in value:
                    message += f"; to subtract from {before!r} put spaces around the '-'"
            whole = path_text(path)
            return ExpressionError(message, "" if path_text(path[: index + 1]) == whole else whole)
        value = value[part]
    return ExpressionError("it has no value", source)


def _compile_cel(source: str) -> _Found:
    from kastra_core.cel.evaluation import TYPE_NAMES, compile_node
    from kastra_core.cel.json_types import check
    from kastra_core.cel.json_values import json_of
    from kastra_core.cel.parser import parse
    from kastra_core.cel.syntax import CelSyntaxError, FaultError
    from kastra_core.cel.values import EvaluationError, Frame, Meter
    from kastra_plugin_workflow.dialect import ADVICE, BUDGET, WORKFLOW

    modern, moved = modern_cel(source)
    try:
        tree = parse(modern, WORKFLOW)
        references = _References()
        references.visit(tree, frozenset())
        named = {name: offset for name, offset in references.roots.items() if name not in TYPE_NAMES}
        roots = frozenset(named)
        type_name = check(modern, tuple(sorted(named)), WORKFLOW)
        thunk = compile_node(tree, WORKFLOW)
    except CelSyntaxError as error:
        offset = original_offset(moved, offset_of(modern, error.line, error.column))
        raise ExpressionSyntaxError(error.message, *place_of(source, offset), source) from error
    except FaultError as fault:
        place_found = place_of(source, original_offset(moved, fault.offset))
        raise ExpressionSyntaxError(fault.message, *place_found, source) from fault
    except RecursionError as error:
        raise ExpressionSyntaxError("it is nested too deeply", source=source) from error
    shown = source.strip()

    def evaluate(scope: Mapping[str, Any]) -> JsonValue:
        try:
            names = {name: scope[name] for name in roots}
        except KeyError as error:
            raise ExpressionError(f"{error.args[0]!r} has no value here", shown) from None
        try:
            value = thunk(Frame(names, Meter(BUDGET, ADVICE)))
            return value if value is True or value is False else json_of(value)
        except EvaluationError as error:
            raise ExpressionError(str(error), shown) from None
        except RecursionError:
            raise ExpressionError("the data are nested too deeply", shown) from None
        except MemoryError:
            raise ExpressionError("it needs too much memory", shown) from None

    def place(name: str) -> int:
        return original_offset(moved, named[name])

    paths = tuple(dict.fromkeys(references.paths))
    return _Found(Expression(shown, roots, paths, False, tuple(references.comparisons), type_name, evaluate), place)


_COMPARING = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_JSON_TYPES = {str: "string", int: "number", float: "number", bool: "boolean"}
_RETURNS = {"size": "number", "int": "number", "double": "number", "string": "string"}


class _References:
    """Collects the roots of a tree (with the offset of a node that names them) and its static paths."""

    def __init__(self) -> None:
        self.roots: dict[str, int] = {}
        self.paths: list[Path] = []
        self.comparisons: list[Comparison] = []

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
        if node.kind == "call" and node.value in _COMPARING:
            sides = [self._side(item, bound) for item in node.items]
            if all(sides):
                (left, left_text), (right, right_text) = sides  # type: ignore[misc]  # neither is None
                self.comparisons.append(Comparison(node.value[1:-1], left, right, (left_text, right_text)))
        if node.target is not None:
            self.visit(node.target, bound)
        for item in node.items:
            for child in item if isinstance(item, tuple) else (item,):
                self.visit(child, bound)

    def _side(self, node: Any, bound: frozenset[str]) -> tuple[Path | str, str] | None:
        """(a path or a type, how it is written) of one side of a comparison; None where nothing can be known."""
        if node.kind == "const":
            found = _JSON_TYPES.get(type(node.value))
            return (found, json.dumps(node.value, ensure_ascii=False)) if found else None
        if node.kind == "call" and node.value in _RETURNS:
            return _RETURNS[node.value], f"{node.value}(...)"
        chain = self._chain(node, bound)
        return None if chain is None or len(chain) == 1 else (tuple(chain), path_text(tuple(chain)))

    @staticmethod
    def _is_type(name: str) -> bool:
        from kastra_core.cel.evaluation import TYPE_NAMES

        return name in TYPE_NAMES

    def _chain(self, node: Any, bound: frozenset[str]) -> list[str | int] | None:
        """The path of a node that is nothing but members of a root."""
        if node.kind == "ident":
            if node.value in bound:
                return None
            self.roots.setdefault(node.value, node.offset)
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


# ------------------------------------------------------------------------------------------------ templates


def whole_expression(text: str) -> Expression | None:
    """The expression of a text that is one expression and nothing else, whatever names are in sight; else None."""
    if not text.startswith("{{") or not text.endswith("}}"):
        return None
    try:
        if end_of_expression(text, 2) + 2 != len(text):
            return None
        return parse_expression(text[2:-2])
    except ExpressionSyntaxError:
        return None


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


def compile_parts(value: JsonValue, variables: Collection[str]) -> Iterator[Expression | ExpressionSyntaxError]:
    """Yield each expression of a text, or what is wrong with it, to the first one that is not closed."""
    try:
        if not isinstance(value, str):
            yield from compile_template(value, variables).expressions
            return
        for part in _parts_of(value, variables):
            if not isinstance(part, str):
                yield part
    except ExpressionSyntaxError as error:
        yield error


def _parts_of(text: str, variables: Collection[str]) -> Iterator[str | Expression | ExpressionSyntaxError]:
    for count, (literal, source, offset) in enumerate(split_text(text)):
        if count > _MOST_PARTS:
            raise ExpressionSyntaxError(f"the text holds more than {_MOST_PARTS} expressions")
        if literal:
            yield literal
        if source is None:
            continue
        try:
            yield compile_expression(source, variables)
        except ExpressionSyntaxError as error:
            at = offset + offset_of(source, error.line, error.column)
            yield ExpressionSyntaxError(error.message, *place_of(text, at), text)


def _compile_text(text: str, variables: Collection[str], found: list[Expression]) -> _Render:
    parts: list[str | Expression] = []
    for part in _parts_of(text, variables):
        if isinstance(part, ExpressionSyntaxError):
            raise part
        parts.append(part)
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
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except (RecursionError, ValueError) as error:
            raise ExpressionError(f"a value cannot be written as JSON: {error}") from None
