"""Macros as loops: ``all``, ``exists``, ``exists_one``, ``map``, ``filter``, and those with two variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kastra_core.cel.macros import Loop
from kastra_core.cel.syntax import Node
from kastra_core.cel.values import BudgetError, EvaluationError, Frame, word_of

__all__ = ["Thunk", "is_constant", "make_loop", "weight_of"]

Thunk = Callable[[Frame], Any]
_Run = Callable[[Frame, Iterable[Any]], Any]
_NOTHING = object()


_FREE = frozenset({"_&&_", "_||_", "_?_:_"})
_LIST, _MAP = 10, 30


def is_constant(node: Node) -> bool:
    """Whether it is a literal, or a list or map of nothing but literals."""
    if node.kind == "list":
        return not node.optional and all(map(is_constant, node.items))
    if node.kind == "map":
        return not node.optional and all(is_constant(key) and is_constant(value) for key, value in node.items)
    return node.kind == "const"


def weight_of(node: Node) -> int:
    """Steps that an evaluation takes at most, but for macros' bodies and for what functions charge themselves.

    Source:
        cel-go, ``interpreter/runtimecost.go``: what is looked up takes a step, and so does a call.
    """
    if node.kind in ("const", "list", "map") and is_constant(node):
        return 0
    below = weight_of(node.target) if node.target is not None else 0
    if node.kind in ("ident", "select"):
        return 1 + below
    if node.kind == "has":
        return below
    if node.kind == "fold":
        return weight_of(node.items[0])
    if node.kind == "list":
        return max(_LIST, len(node.items)) + sum(map(weight_of, node.items))
    if node.kind == "map":
        return max(_MAP, len(node.items)) + sum(weight_of(key) + weight_of(value) for key, value in node.items)
    weights = list(map(weight_of, node.items))
    if node.value == "_?_:_":
        return weights[0] + max(weights[1:])
    return below + sum(weights) + (0 if node.value in _FREE else 1)


def make_loop(
    node: Node,
    loop: Loop | None,
    source: Thunk,
    where: str,
    compiled: Callable[[Node], Thunk],
    key_of: Callable[[Any], Any],
) -> Thunk:
    """Return what evaluates a fold.

    Args:
        loop: what the fold does, None: it is none of the well-known macros.
        source: gives the list or map that is gone through.
        where: how a message writes it.
        compiled: compiles a node of the body.
        key_of: key of a map as a dict holds it.
    """
    if loop is not None and loop.kind == "bind":
        return _binding(node.names[1], compiled(node.items[1]), compiled(loop.body))
    first, accumulator, second = (*node.names, "")[:3]
    test = compiled(loop.test) if loop is not None and loop.kind != "one" and loop.test is not None else None
    run: _Run
    if loop is None:
        start, going, step, result = (compiled(item) for item in node.items[1:])
        run = _reducing(first, accumulator, start, going, step, result, 2 + weight_of(node.items[3]))
    elif loop.kind in ("all", "exists"):
        exists = loop.kind == "exists"
        run = _deciding(first, compiled(loop.body), exists, (4 if exists else 3) + weight_of(loop.body))
    elif loop.kind == "one":
        run = _counting(first, compiled(loop.body), 1 + weight_of(loop.body))
    elif loop.kind == "list":
        tested, added = _weights(loop, _LIST + 1)
        run = _appending(first, compiled(loop.body), test, tested, added)
    else:
        tested, added = _weights(loop, 1)
        key = compiled(loop.key) if loop.key is not None else None
        run = _inserting(first, compiled(loop.body), test, key, key_of, tested, added)
    variables = [name for name in (first, second, "" if loop is not None else accumulator) if name]

    def fold(frame: Frame) -> Any:
        items = source(frame)
        if not isinstance(items, (list, tuple, Mapping)):
            raise EvaluationError(f"{where} is {word_of(items)}; a macro goes through a list or the keys of an object")
        names = frame.names
        before = [names.get(name, _NOTHING) for name in variables]
        try:
            return run(frame, _pairs(names, second, items) if second else items)
        finally:
            for name, value in zip(variables, before, strict=True):
                if value is _NOTHING:
                    names.pop(name, None)
                else:
                    names[name] = value

    return fold


def _pairs(names: dict[str, Any], second: str, items: Any) -> Iterator[Any]:
    for key, value in items.items() if isinstance(items, Mapping) else enumerate(items):
        names[second] = value
        yield key


def _binding(name: str, value: Thunk, body: Thunk) -> Thunk:
    def bind(frame: Frame) -> Any:
        names = frame.names
        before = names.get(name, _NOTHING)
        frame.charge(1)
        try:
            bound = value(frame)
        except BudgetError:
            raise
        except EvaluationError as error:
            bound = error  # raised where it is read, if it is
        names[name] = bound
        try:
            return body(frame)
        finally:
            if before is _NOTHING:
                names.pop(name, None)
            else:
                names[name] = before

    return bind


def _weights(loop: Loop, adding: int) -> tuple[int, int]:
    """Steps for an item that is looked at, and for one that is added."""
    tested = 1 + (weight_of(loop.test) if loop.test is not None else 0)
    return tested, adding + weight_of(loop.body) + (weight_of(loop.key) if loop.key is not None else 0)


def _no_boolean(value: Any) -> EvaluationError:
    return EvaluationError(f"the condition of a macro must be a boolean, not {word_of(value)}")


def _deciding(name: str, test: Thunk, decides: bool, weight: int) -> _Run:
    """``all`` (which False decides) and ``exists``: an error counts only when no item decides."""

    def decide(frame: Frame, items: Iterable[Any]) -> bool:
        names, charge = frame.names, frame.charge
        error: EvaluationError | None = None
        for item in items:
            charge(weight)
            names[name] = item
            try:
                value = test(frame)
            except BudgetError:
                raise
            except EvaluationError as found:
                error = error or found
                continue
            if value is decides:
                return bool(value)
            if value is not (not decides):
                error = error or _no_boolean(value)
        if error is not None:
            raise error
        return not decides

    return decide


def _counting(name: str, test: Thunk, weight: int) -> _Run:
    def count(frame: Frame, items: Iterable[Any]) -> bool:
        names, charge = frame.names, frame.charge
        found = 0
        for item in items:
            charge(weight)
            names[name] = item
            value = test(frame)
            if value is True:
                found += 1
            elif value is not False:
                raise _no_boolean(value)
        return found == 1

    return count


def _appending(name: str, item_of: Thunk, test: Thunk | None, tested: int, added: int) -> _Run:
    at_once = tested if test is not None else tested + added

    def append(frame: Frame, items: Iterable[Any]) -> list[Any]:
        names, charge, out = frame.names, frame.charge, []
        for item in items:
            charge(at_once)
            names[name] = item
            if test is not None:
                taken = test(frame)
                if taken is False:
                    continue
                if taken is not True:
                    raise _no_boolean(taken)
                charge(added)
            out.append(item_of(frame))
        return out

    return append


def _inserting(
    name: str,
    value_of: Thunk,
    test: Thunk | None,
    key: Thunk | None,
    key_of: Callable[[Any], Any],
    tested: int,
    added: int,
) -> _Run:
    def insert(frame: Frame, items: Iterable[Any]) -> dict[Any, Any]:
        names, out = frame.names, dict[Any, Any]()
        for item in items:
            frame.charge(tested)
            names[name] = item
            if test is not None:
                taken = test(frame)
                if taken is False:
                    continue
                if taken is not True:
                    raise _no_boolean(taken)
            frame.charge(added)
            found = value_of(frame)
            for at, value in ((key_of(key(frame)), found),) if key is not None else _entries(frame, found):
                if at in out:
                    raise EvaluationError(f"the object has the key {at!r} twice")
                out[at] = value
        return out

    return insert


def _entries(frame: Frame, value: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(value, Mapping):
        raise EvaluationError(f"an entry is an object with one key, not {word_of(value)}")
    frame.charge(len(value))
    return value.items()


def _reducing(
    name: str, accumulator: str, first: Thunk, condition: Thunk, step: Thunk, result: Thunk, weight: int
) -> _Run:
    def reduce(frame: Frame, items: Iterable[Any]) -> Any:
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
