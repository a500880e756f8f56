"""The subset of CEL that the generated workflows use, read and computed in the plainest way, and templates of it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["EvaluationError", "condition", "evaluate", "render"]

Scope = Mapping[str, Any]
Node = Callable[[Scope], Any]


class EvaluationError(Exception):
    """A missing field, a wrong type, a division by zero."""


_TOKEN = re.compile(
    r"""\s*(?:(?P<int>\d+)|(?P<str>"[^"]*")|(?P<word>[A-Za-z_]\w*)|(?P<op>==|!=|<=|>=|&&|\|\||[-+*/%!<>()\[\].,?:]))"""
)
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|\[\"[^\"]*\"\]|\[\d+\])*")
_PATH_PART = re.compile(r"\.?([A-Za-z_][\w-]*)|\[\"([^\"]*)\"\]|\[(\d+)\]")
_CONSTANTS = {"true": True, "false": False, "null": None}


def evaluate(source: str, scope: Scope) -> Any:
    """Return what an expression gives. Raises: EvaluationError."""
    return _parsed(source.strip())(scope)


def condition(source: str, scope: Scope) -> bool:
    """Return what a condition gives. Raises: EvaluationError, also when it is no boolean."""
    value = evaluate(source, scope)
    if not isinstance(value, bool):
        raise EvaluationError(f"{source} is no boolean")
    return value


_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def render(template: Any, scope: Scope) -> Any:
    """Return a template with its expressions computed. Raises: EvaluationError."""
    if isinstance(template, list):
        return [render(item, scope) for item in template]
    if isinstance(template, dict):
        return {key: render(item, scope) for key, item in template.items()}
    if not isinstance(template, str):
        return template
    whole = _HOLE.fullmatch(template)
    if whole and "{{" not in whole[1]:
        return evaluate(whole[1], scope)
    return _HOLE.sub(lambda hole: _as_text(evaluate(hole[1], scope)), template)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---------------------------------------------------------------------------------------------- values


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "int", str: "str", list: "list", dict: "map", type(None): "null"}[type(value)]


def _member(value: Any, name: str) -> Any:
    if isinstance(value, dict) and name in value:
        return value[name]
    raise EvaluationError(f"no field {name}")


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, dict) and isinstance(key, str) and key in value:
        return value[key]
    if isinstance(value, list) and _kind(key) == "int" and 0 <= key < len(value):
        return value[key]
    raise EvaluationError(f"no item {key}")


def _same(left: Any, right: Any) -> bool:
    if _kind(left) != _kind(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    return bool(left == right)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise EvaluationError("no boolean")


def _compute(operator: str, left: Any, right: Any) -> Any:
    if operator == "==":
        return _same(left, right)
    if operator == "!=":
        return not _same(left, right)
    if operator == "in":
        if isinstance(right, list):
            return any(_same(left, item) for item in right)
        if isinstance(right, dict):
            return isinstance(left, str) and left in right
        raise EvaluationError("in needs a list or a map")
    kind = _kind(left)
    if kind != _kind(right) or kind not in ("int", "str", *(["list"] if operator == "+" else [])):
        raise EvaluationError(f"no {operator} of {kind} and {_kind(right)}")
    if operator in ("<", "<=", ">", ">="):
        return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]
    if operator == "+":
        return left + right
    if kind != "int":
        raise EvaluationError(f"no {operator} of {kind}")
    if operator in ("/", "%"):
        if right == 0:
            raise EvaluationError("division by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if operator == "/" else left - quotient * right
    return left - right if operator == "-" else left * right


def _either(left: Node, right: Node, decisive: bool) -> Node:
    """``||`` (decisive: true) and ``&&`` (false): an error counts only when the other side does not decide."""

    def run(scope: Scope) -> bool:
        error: EvaluationError | None = None
        for side in (left, right):
            try:
                if _bool(side(scope)) is decisive:
                    return decisive
            except EvaluationError as found:
                error = error or found
        if error is not None:
            raise error
        return not decisive

    return run


# ---------------------------------------------------------------------------------------------- reading


@functools.lru_cache(maxsize=4096)
def _parsed(source: str) -> Node:
    if _PATH.fullmatch(source) and source not in _CONSTANTS:
        return _path(source)
    return _Parser(source).whole()


def _path(source: str) -> Node:
    parts = [name or (quoted if not digits else int(digits)) for name, quoted, digits in _PATH_PART.findall(source)]

    def run(scope: Scope) -> Any:
        value: Any = scope
        for part in parts:
            value = _item(value, part)
        return value

    return run


class _Parser:
    def __init__(self, source: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at, end = 0, len(source.rstrip())
        while at < end:
            match = _TOKEN.match(source, at)
            assert match is not None, f"outside the subset: {source!r} at {at}"
            self.tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            at = match.end()
        self.at = 0

    def whole(self) -> Node:
        node = self.ternary()
        assert self.at == len(self.tokens), f"outside the subset: {self.tokens[self.at :]}"
        return node

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, text: str = "") -> tuple[str, str]:
        token = self.tokens[self.at]
        assert not text or token[1] == text, f"expected {text}, found {token[1]}"
        self.at += 1
        return token

    def ternary(self) -> Node:
        test = self.either("||", True, lambda: self.either("&&", False, self.relation))
        if self.peek() != "?":
            return test
        self.take("?")
        yes = self.ternary()
        self.take(":")
        no = self.ternary()
        return lambda scope: (yes if _bool(test(scope)) else no)(scope)

    def either(self, operator: str, decisive: bool, below: Callable[[], Node]) -> Node:
        node = below()
        while self.peek() == operator:
            self.take()
            node = _either(node, below(), decisive)
        return node

    def binary(self, operators: tuple[str, ...], below: Callable[[], Node]) -> Node:
        node = below()
        while self.peek() in operators:
            operator = self.take()[1]
            node = self.computed(operator, node, below())
        return node

    def computed(self, operator: str, left: Node, right: Node) -> Node:
        return lambda scope: _compute(operator, left(scope), right(scope))

    def relation(self) -> Node:
        return self.binary(("==", "!=", "<", "<=", ">", ">=", "in"), self.sum)

    def sum(self) -> Node:
        return self.binary(("+", "-"), self.product)

    def product(self) -> Node:
        return self.binary(("*", "/", "%"), self.unary)

    def unary(self) -> Node:
        if self.peek() == "!":
            self.take()
            inner = self.unary()
            return lambda scope: not _bool(inner(scope))
        return self.postfix()

    def postfix(self) -> Node:
        node = self.primary()
        while self.peek() in (".", "["):
            if self.take()[1] == ".":
                node = self.member(node, self.take()[1])
            else:
                key = self.ternary()
                self.take("]")
                node = self.item(node, key)
        return node

    def member(self, node: Node, name: str) -> Node:
        return lambda scope: _member(node(scope), name)

    def item(self, node: Node, key: Node) -> Node:
        return lambda scope: _item(node(scope), key(scope))

    def primary(self) -> Node:
        kind, text = self.take()
        if kind == "int":
            return lambda _: int(text)
        if kind == "str":
            return lambda _: text[1:-1]
        if text == "(":
            node = self.ternary()
            self.take(")")
            return node
        if text == "[":
            return self.items()
        if text in _CONSTANTS:
            return lambda _: _CONSTANTS[text]
        if text in ("size", "has") and self.peek() == "(":
            self.take("(")
            return self.size() if text == "size" else self.has()
        assert kind == "word", f"outside the subset: {text}"
        return lambda scope: _member(scope, text)

    def items(self) -> Node:
        nodes: list[Node] = []
        while self.peek() != "]":
            nodes.append(self.ternary())
            if self.peek() == ",":
                self.take()
        self.take("]")
        return lambda scope: [node(scope) for node in nodes]

    def size(self) -> Node:
        node = self.ternary()
        self.take(")")

        def run(scope: Scope) -> int:
            value = node(scope)
            if _kind(value) not in ("str", "list", "map"):
                raise EvaluationError("no size")
            return len(value)

        return run

    def has(self) -> Node:
        path: list[Node | str] = [self.primary()]
        while self.peek() in (".", "["):
            if self.take()[1] == ".":
                path.append(self.take()[1])
            else:
                path.append(self.ternary())
                self.take("]")
        self.take(")")
        first, *between, last = path
        assert callable(first)
        assert isinstance(last, str), "has() tests a field"

        def run(scope: Scope) -> bool:
            value = first(scope)
            for part in between:
                value = _member(value, part) if isinstance(part, str) else _item(value, part(scope))
            if not isinstance(value, dict):
                raise EvaluationError("has() of what has no fields")
            return last in value

        return run
