"""Makes a function of a CEL expression's tree, which evaluates it on the data as they are.

The library's own evaluator copies all data before each evaluation, cuts texts at a NUL, refuses integers beyond 64 bits
and takes quadratic time and memory for ``map`` and ``filter`` (1.5 GB for 10,000 items). So the library parses and
checks, and answers for the scalar functions that are not here (conversions, regular expressions by RE2, dates); the
rest is done here, within a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from kastra_plugin_workflow.cel_ast import Node
from kastra_plugin_workflow.cel_values import (
    BINARY,
    TYPE_NAMES,
    UNARY,
    BudgetError,
    EvaluationError,
    Frame,
    Type,
    by_library,
    index_of,
    key_of,
    missing,
    whole_number,
    word_of,
)

__all__ = ["Thunk", "compile_node"]

Thunk = Callable[[Frame], Any]


def compile_node(node: Node) -> Thunk:
    """Return a function of a frame that gives the value of ``node``.

    Raises:
        CelSyntaxError: it holds what JSON has not.
    """
    return _COMPILERS[node.kind](node)


def text_of_path(node: Node) -> str:
    """How a message names the value of a node: its path, or "the value before" when it is computed."""
    if node.kind == "ident":
        return str(node.value) if not str(node.value).startswith("@") else "it"
    if node.kind == "select" and node.target is not None:
        return f"{text_of_path(node.target)}.{node.value}"
    if node.kind == "call" and node.value == "_[_]" and node.items[1].kind == "const":
        key = node.items[1].value
        return (
            f'{text_of_path(node.items[0])}["{key}"]'
            if isinstance(key, str)
            else f"{text_of_path(node.items[0])}[{key}]"
        )
    if node.kind == "call" and node.value == "_[_]":
        return f"{text_of_path(node.items[0])}[...]"
    return "the value"


def _const(node: Node) -> Thunk:
    value = node.value
    return lambda frame: value


def _ident(node: Node) -> Thunk:
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


def _select(node: Node) -> Thunk:
    assert node.target is not None
    target, field, where = compile_node(node.target), node.value, text_of_path(node.target)

    def select(frame: Frame) -> Any:
        value = target(frame)
        if isinstance(value, Mapping):
            try:
                return value[field]
            except KeyError:
                pass
        raise missing(where, value, field)

    return select


def _has(node: Node) -> Thunk:
    assert node.target is not None
    target, field, where = compile_node(node.target), node.value, text_of_path(node.target)

    def has(frame: Frame) -> bool:
        value = target(frame)
        if isinstance(value, Mapping):
            return field in value
        raise missing(where, value, field)

    return has


def _list(node: Node) -> Thunk:
    items = [compile_node(item) for item in node.items]
    return lambda frame: [item(frame) for item in items]


def _map(node: Node) -> Thunk:
    pairs = [(compile_node(key), compile_node(value)) for key, value in node.items]

    def build(frame: Frame) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for key, value in pairs:
            plain = key_of(key(frame))
            if plain in out:
                raise EvaluationError(f"the object has the key {plain!r} twice")
            out[plain] = value(frame)
        return out

    return build


def _and_or(node: Node, decides: bool) -> Thunk:
    left, right = (compile_node(item) for item in node.items)
    sign = "||" if decides else "&&"

    def both(frame: Frame) -> bool:
        error: EvaluationError | None = None
        for side in (left, right):
            try:
                value = side(frame)
            except BudgetError:
                raise
            except EvaluationError as found:
                error = error or found
                continue
            # One side that decides is enough, whatever is wrong with the other.
            if value is True or value is False:
                if value is decides:
                    return decides
            else:
                error = error or EvaluationError(f"{sign!r} takes booleans, not {word_of(value)}")
        if error is not None:
            raise error
        return not decides

    return both


def _ternary(node: Node) -> Thunk:
    condition, yes, no = (compile_node(item) for item in node.items)

    def choose(frame: Frame) -> Any:
        value = condition(frame)
        if value is True:
            return yes(frame)
        if value is False:
            return no(frame)
        raise EvaluationError(f"'? :' needs a boolean before the '?', not {word_of(value)}")

    return choose


def _not(node: Node) -> Thunk:
    inner = compile_node(node.items[0])

    def negate(frame: Frame) -> bool:
        value = inner(frame)
        if isinstance(value, bool):
            return not value
        raise EvaluationError(f"'!' takes a boolean, not {word_of(value)}")

    return negate


def _minus(node: Node) -> Thunk:
    inner = compile_node(node.items[0])

    def minus(frame: Frame) -> Any:
        value = inner(frame)
        if type(value) is int:
            return whole_number(-value)
        if type(value) is float:
            return -value
        if isinstance(value, timedelta):
            return -value
        raise EvaluationError(f"'-' takes a number, not {word_of(value)}")

    return minus


def _go_on(node: Node) -> Thunk:
    inner = compile_node(node.items[0])

    def go_on(frame: Frame) -> bool:
        try:
            return inner(frame) is not False
        except BudgetError:
            raise
        except EvaluationError:
            return True

    return go_on


def _call(node: Node) -> Thunk:
    name = node.value
    if name in _SPECIAL:
        return _SPECIAL[name](node)
    nodes = node.items if node.target is None else (node.target, *node.items)
    parts = [compile_node(item) for item in nodes]
    if name == "_[_]":
        value, key, where = parts[0], parts[1], text_of_path(node.items[0])
        return lambda frame: index_of(where, value(frame), key(frame))
    if name in BINARY and len(parts) == 2:
        work, left, right = BINARY[name], parts[0], parts[1]
        return lambda frame: work(frame, left(frame), right(frame))
    if name in UNARY and len(parts) == 1:
        unary, only = UNARY[name], parts[0]
        return lambda frame: unary(only(frame))
    start = 0 if node.target is None else 1
    shape = f"{'{0}.' if start else ''}{name}({', '.join(f'{{{n}}}' for n in range(start, len(parts)))})"

    def delegate(frame: Frame) -> Any:
        frame.charge(20)
        return by_library(shape, tuple(part(frame) for part in parts))

    return delegate


_SPECIAL: dict[str, Callable[[Node], Thunk]] = {
    "_&&_": lambda node: _and_or(node, False),
    "_||_": lambda node: _and_or(node, True),
    "_?_:_": _ternary,
    "!_": _not,
    "-_": _minus,
    "@not_strictly_false": _go_on,
}


def _weight(node: Node) -> int:
    """Nodes below ``node``, macros' bodies left out: they are charged for themselves."""
    children = [node.target] if node.target is not None else []
    for item in node.items[:1] if node.kind == "fold" else node.items:
        children.extend(item if isinstance(item, tuple) else (item,))
    return 1 + sum(_weight(child) for child in children)


def _fold(node: Node) -> Thunk:
    name, accumulator = node.names
    source, where = compile_node(node.items[0]), text_of_path(node.items[0])
    weight = 2 + _weight(node.items[3])
    run = _appending(node) or _reducing(node)

    def fold(frame: Frame) -> Any:
        items = source(frame)
        if not isinstance(items, (list, tuple, Mapping)):
            raise EvaluationError(f"{where} is {word_of(items)}; a macro goes through a list or the keys of an object")
        names = frame.names
        before = [(key, names[key]) for key in (name, accumulator) if key in names]
        try:
            return run(frame, items, weight)
        finally:
            names.pop(name, None)
            names.pop(accumulator, None)
            names.update(before)

    return fold


def _reducing(node: Node) -> Callable[[Frame, Any, int], Any]:
    name, accumulator = node.names
    first, condition, step, result = (compile_node(item) for item in node.items[1:])

    def reduce(frame: Frame, items: Any, weight: int) -> Any:
        names = frame.names
        names[accumulator] = first(frame)
        for item in items:
            frame.charge(weight)
            names[name] = item
            if not condition(frame):
                break
            try:
                names[accumulator] = step(frame)
            except BudgetError:
                raise
            except EvaluationError as error:
                names[accumulator] = error
        return result(frame)

    return reduce


def _appending(node: Node) -> Callable[[Frame, Any, int], Any] | None:
    """``map`` and ``filter``: the accumulator is a list that grows by one item a step. None when it is neither."""
    name, accumulator = node.names
    first, condition, step, result = node.items[1:]
    if first.kind != "list" or first.items or condition.kind != "const" or not _is_ident(result, accumulator):
        return None
    test: Thunk | None = None
    if step.kind == "call" and step.value == "_?_:_" and _is_ident(step.items[2], accumulator):
        test, step = compile_node(step.items[0]), step.items[1]
    if not (step.kind == "call" and step.value == "_+_" and _is_ident(step.items[0], accumulator)):
        return None
    if step.items[1].kind != "list" or len(step.items[1].items) != 1:
        return None
    item_of = compile_node(step.items[1].items[0])

    def append(frame: Frame, items: Any, weight: int) -> list[Any]:
        names, out = frame.names, []
        for item in items:
            frame.charge(weight)
            names[name] = item
            if test is not None:
                taken = test(frame)
                if taken is False:
                    continue
                if taken is not True:
                    raise EvaluationError(f"the condition of a macro must be a boolean, not {word_of(taken)}")
            out.append(item_of(frame))
        return out

    return append


def _is_ident(node: Node, name: str) -> bool:
    return node.kind == "ident" and node.value == name


_COMPILERS: dict[str, Callable[[Node], Thunk]] = {
    "const": _const,
    "ident": _ident,
    "select": _select,
    "has": _has,
    "call": _call,
    "list": _list,
    "map": _map,
    "fold": _fold,
}
