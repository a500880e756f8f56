"""Makes a function of a CEL expression's tree, which evaluates it on the data as they are.

The evaluator of Google's library for Python copies all data before each evaluation, cuts texts at a NUL, refuses
integers beyond 64 bits and takes quadratic time and memory for ``map`` and ``filter`` (1.5 GB for 10,000 items). So the
evaluation is done here, within a budget. This module has what all dialects share; ``untyped`` and ``typed`` have the
rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.dialect import JSON_DIALECT, Dialect
from kastra_core.cel.loops import Thunk, is_constant, make_loop
from kastra_core.cel.macros import loop_of
from kastra_core.cel.syntax import Node
from kastra_core.cel.values import BudgetError, EvaluationError, Frame, Meter, Type, word_of

__all__ = ["TYPE_NAMES", "Evaluator", "Thunk", "compile_node", "text_of_path"]

TYPE_NAMES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
"""Names that stand for types where no variable has them."""


def compile_node(node: Node, dialect: Dialect = JSON_DIALECT) -> Thunk:
    """Return a function of a frame that gives the value of ``node``, which is checked if ``dialect`` is typed.

    Raises:
        CelSyntaxError: it holds what the dialect has not.
    """
    if dialect.typed:
        from kastra_core.cel.typed import TypedEvaluator

        return TypedEvaluator(dialect).compile(node)
    from kastra_core.cel.untyped import JsonEvaluator

    return JsonEvaluator(dialect).compile(node)


def text_of_path(node: Node) -> str:
    """How a message names the value of a node: its path, or "the value" when it is computed."""
    if node.kind == "ident":
        return str(node.value) if not str(node.value).startswith("@") else "it"
    if node.kind == "select" and node.target is not None:
        return f"{text_of_path(node.target)}.{node.value}"
    if node.kind == "call" and node.value == "_[_]" and node.items[1].kind == "const":
        key = node.items[1].value
        where = text_of_path(node.items[0])
        return f'{where}["{key}"]' if isinstance(key, str) else f"{where}[{key}]"
    if node.kind == "call" and node.value == "_[_]":
        return f"{text_of_path(node.items[0])}[...]"
    return "the value"


def _once(node: Node, build: Thunk) -> Thunk:
    """A literal of nothing but literals is the same value each time: nobody changes values."""
    if not is_constant(node):
        return build
    try:
        value = build(Frame({}, Meter(0)))
    except EvaluationError:  # a key twice
        return build
    return lambda frame: value


class Evaluator:
    """Compiles the nodes of one tree; a dialect's own parts are in subclasses."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._compilers: dict[str, Callable[[Node], Thunk]] = {
            "const": self.const,
            "ident": self.ident,
            "select": self.select,
            "has": self.has,
            "call": self.call,
            "list": self.list,
            "map": self.map,
            "fold": self.fold,
        }
        self.operators: dict[str, Callable[[Node], Thunk]] = {
            "_&&_": lambda node: self._and_or(node, False),
            "_||_": lambda node: self._and_or(node, True),
            "_?_:_": self._ternary,
            "!_": self._not,
            "@not_strictly_false": self._go_on,
        }

    def compile(self, node: Node) -> Thunk:
        return self._compilers[node.kind](node)

    def const(self, node: Node) -> Thunk:
        value = node.value
        return lambda frame: value

    def ident(self, node: Node) -> Thunk:
        name = node.value

        def read(frame: Frame) -> Any:
            try:
                value = frame.names[name]
            except KeyError:
                if name in TYPE_NAMES:
                    return Type(name)
                raise EvaluationError(f"{name!r} has no value here") from None
            if isinstance(value, EvaluationError):
                raise value
            return value

        return read

    def select(self, node: Node) -> Thunk:
        raise NotImplementedError

    def has(self, node: Node) -> Thunk:
        raise NotImplementedError

    def call(self, node: Node) -> Thunk:
        raise NotImplementedError

    def key_of(self, value: Any) -> Any:
        """The key of a map as a dict holds it."""
        raise NotImplementedError

    def list(self, node: Node) -> Thunk:
        items = [self.compile(item) for item in node.items]
        return _once(node, lambda frame: [item(frame) for item in items])

    def map(self, node: Node) -> Thunk:
        pairs = [(self.compile(key), self.compile(value)) for key, value in node.items]
        key_of = self.key_of

        def build(frame: Frame) -> dict[Any, Any]:
            out: dict[Any, Any] = {}
            for key, value in pairs:
                plain = key_of(key(frame))
                if plain in out:
                    raise EvaluationError(f"the object has the key {plain!r} twice")
                out[plain] = value(frame)
            return out

        return _once(node, build)

    def fold(self, node: Node) -> Thunk:
        source = self.compile(node.items[0])
        return make_loop(node, loop_of(node), source, text_of_path(node.items[0]), self.compile, self.key_of)

    # ------------------------------------------------------------------------------------------------ operators

    def _and_or(self, node: Node, decides: bool) -> Thunk:
        left, right = (self.compile(item) for item in node.items)
        sign = "||" if decides else "&&"

        def both(frame: Frame) -> bool:
            error: EvaluationError | None = None
            try:
                value = left(frame)
                if value is decides:
                    return bool(value)
                if value is not (not decides):
                    error = EvaluationError(f"{sign!r} takes booleans, not {word_of(value)}")
            except BudgetError:
                raise
            except EvaluationError as found:
                error = found
            # One side that decides is enough, whatever is wrong with the other.
            try:
                value = right(frame)
                if value is decides:
                    return bool(value)
                if value is not (not decides):
                    error = error or EvaluationError(f"{sign!r} takes booleans, not {word_of(value)}")
            except BudgetError:
                raise
            except EvaluationError as found:
                error = error or found
            if error is not None:
                raise error
            return not decides

        return both

    def _ternary(self, node: Node) -> Thunk:
        condition, yes, no = (self.compile(item) for item in node.items)

        def choose(frame: Frame) -> Any:
            value = condition(frame)
            if value is True:
                return yes(frame)
            if value is False:
                return no(frame)
            raise EvaluationError(f"'? :' needs a boolean before the '?', not {word_of(value)}")

        return choose

    def _not(self, node: Node) -> Thunk:
        inner = self.compile(node.items[0])

        def negate(frame: Frame) -> bool:
            value = inner(frame)
            if value is True or value is False:
                return not value
            raise EvaluationError(f"'!' takes a boolean, not {word_of(value)}")

        return negate

    def _go_on(self, node: Node) -> Thunk:
        inner = self.compile(node.items[0])

        def go_on(frame: Frame) -> bool:
            try:
                return inner(frame) is not False
            except BudgetError:
                raise
            except EvaluationError:
                return True

        return go_on
