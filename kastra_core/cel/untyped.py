"""Evaluation on JSON as it is, without types: members, calls, and calls that another library of CEL answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from kastra_core.cel.dialect import Dialect
from kastra_core.cel.evaluation import Evaluator, Thunk, text_of_path
from kastra_core.cel.json_values import BINARY, UNARY, by_library, index_of, key_of
from kastra_core.cel.overloads import checked_int
from kastra_core.cel.syntax import FaultError, Node
from kastra_core.cel.values import EvaluationError, Frame, word_of
from kastra_core.cel.words import missing

__all__ = ["JsonEvaluator"]


class JsonEvaluator(Evaluator):
    """Evaluates expressions of a dialect that is not typed."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self.operators["-_"] = self._minus

    def key_of(self, value: Any) -> Any:
        return key_of(value)

    def select(self, node: Node) -> Thunk:
        assert node.target is not None
        target, field, where = self.compile(node.target), node.value, text_of_path(node.target)
        words = self.dialect.missing

        def select(frame: Frame) -> Any:
            value = target(frame)
            if isinstance(value, Mapping):
                try:
                    return value[field]
                except KeyError:
                    pass
            raise missing(where, value, field, words)

        return select

    def has(self, node: Node) -> Thunk:
        assert node.target is not None
        target, field, where = self.compile(node.target), node.value, text_of_path(node.target)
        words = self.dialect.missing

        def has(frame: Frame) -> bool:
            value = target(frame)
            if isinstance(value, Mapping):
                return field in value
            raise missing(where, value, field, words)

        return has

    def call(self, node: Node) -> Thunk:
        name = node.value
        if name in self.operators:
            return self.operators[name](node)
        nodes = node.items if node.target is None else (node.target, *node.items)
        parts = [self.compile(item) for item in nodes]
        if name == "_[_]":
            value, key, where, words = parts[0], parts[1], text_of_path(node.items[0]), self.dialect.missing
            return lambda frame: index_of(where, value(frame), key(frame), words)
        if name == "matches" and len(parts) == 2:
            _check_pattern(nodes[1])
        if name in BINARY and len(parts) == 2:
            work, left, right = BINARY[name], parts[0], parts[1]
            return lambda frame: work(frame, left(frame), right(frame))
        if name in UNARY and len(parts) == 1:
            unary, only = UNARY[name], parts[0]
            return lambda frame: unary(only(frame))
        return _delegate(name, parts, node.target is not None)

    def _minus(self, node: Node) -> Thunk:
        inner = self.compile(node.items[0])

        def minus(frame: Frame) -> Any:
            value = inner(frame)
            if type(value) is int:
                return checked_int(-value)
            if type(value) is float:
                return -value
            if isinstance(value, timedelta):
                return -value
            raise EvaluationError(f"'-' takes a number, not {word_of(value)}")

        return minus


def _check_pattern(node: Node) -> None:
    """Refuse a pattern that is written in the expression and wrong."""
    if node.kind != "const" or not isinstance(node.value, str):
        return
    from kastra_core.cel.kubernetes.regex import compile_pattern

    try:
        compile_pattern(node.value)
    except EvaluationError as error:
        raise FaultError(str(error), node.offset) from None


def _delegate(name: str, parts: list[Thunk], member: bool) -> Thunk:
    start = 1 if member else 0
    shape = f"{'{0}.' if member else ''}{name}({', '.join(f'{{{n}}}' for n in range(start, len(parts)))})"

    def delegate(frame: Frame) -> Any:
        frame.charge(20)
        return by_library(shape, tuple(part(frame) for part in parts))

    return delegate
