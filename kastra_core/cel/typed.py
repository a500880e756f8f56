"""Evaluation of checked trees: values are those of CEL, and what the checker knows makes the functions direct.

What a variable holds is JSON as it was read. A member or an item of it is converted where an expression reads it, so a
large object costs nothing that no expression asks for. In this module such values are "raw".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from kastra_core.cel.dialect import Dialect
from kastra_core.cel.evaluation import Evaluator, Thunk, text_of_path
from kastra_core.cel.lifting import Lift, lift_of
from kastra_core.cel.loops import make_loop
from kastra_core.cel.macros import loop_of
from kastra_core.cel.standard import contains_item
from kastra_core.cel.syntax import Node
from kastra_core.cel.thunks import (
    among,
    as_optional,
    comparison,
    direct,
    dispatch,
    equal_texts,
    field_of,
    field_of_name,
    found_or_raise,
    int_sum,
    is_sure,
    item_at,
    optional_field,
    plain_values,
    presence,
    size_of,
)
from kastra_core.cel.types import CelType
from kastra_core.cel.values import ABSENT, SHORT, EvaluationError, Frame, Optional, Uint, equal, word_of

__all__ = ["TypedEvaluator"]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_SCALARS = frozenset({"string", "int", "bool", "uint", "double"})


class TypedEvaluator(Evaluator):
    """Evaluates a checked tree."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._bound: dict[str, bool] = {}
        """Variables of the macros around: whether they hold raw values."""
        self._lifts: dict[int, tuple[CelType, Lift | None]] = {}
        self.operators.update(
            {
                "_==_": lambda node: self._equality(node, True),
                "_!=_": lambda node: self._equality(node, False),
                "@in": self._in,
                "or": self._or,
                "orValue": self._or,
            }
        )

    def compile(self, node: Node) -> Thunk:
        thunk, raw = self._chain(node)
        lift = self._lift(node.type) if raw else None
        if lift is None:
            return thunk
        known = lift
        return lambda frame: known(frame, thunk(frame))

    def _lift(self, kind: CelType | None) -> Lift | None:
        assert kind is not None
        found = self._lifts.get(id(kind))
        if found is None:
            found = self._lifts[id(kind)] = (kind, lift_of(kind))
        return found[1]

    def key_of(self, value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is int or kind is bool or kind is Uint:
            return value
        if kind is float and value.is_integer():
            return int(value)
        raise EvaluationError(f"{word_of(value)} is no key of a map")

    # ------------------------------------------------------------------------------------------------ places

    def _chain(self, node: Node) -> tuple[Thunk, bool]:
        """What reads the value, and whether it gives raw JSON."""
        kind = node.kind
        if kind == "ident":
            return self.ident(node), self._bound.get(node.value, True)
        if kind == "select":
            return self._member(node)
        if kind == "call":
            if node.value == "_?._":
                return self._optional_member(node)
            if node.value in ("_[_]", "_[?_]"):
                return self._index(node)
        return super().compile(node), False

    def _member(self, node: Node) -> tuple[Thunk, bool]:
        target = node.target
        assert target is not None
        assert target.type is not None
        field, where = node.value, text_of_path(target)
        if target.type.name == "optional_type":
            inner, raw = self._chain(target)
            return optional_field(inner, field, target.type.params[0].members is not None, where), raw
        if target.kind == "ident":
            return field_of_name(target.value, field, where, target.type), self._bound.get(target.value, True)
        inner, raw = self._chain(target)
        return field_of(inner, field, where, target.type), raw

    def _optional_member(self, node: Node) -> tuple[Thunk, bool]:
        operand, field = node.items
        inner, raw = self._chain(operand)
        kind = operand.type
        held = kind.params[0] if kind.name == "optional_type" else kind
        return optional_field(inner, field.value, held.members is not None, text_of_path(operand)), raw

    def _index(self, node: Node) -> tuple[Thunk, bool]:
        operand, at = node.items
        (value, raw), key = self._chain(operand), self.compile(at)
        where = text_of_path(operand)
        if node.value == "_[?_]" or operand.type.name == "optional_type":
            return self._optional_index(value, key, where), raw
        if operand.type.name == "list" and at.kind == "const" and type(at.value) is int and at.value >= 0:
            return item_at(value, at.value, where), raw

        def index(frame: Frame) -> Any:
            items, number = value(frame), key(frame)
            if isinstance(items, list):
                if type(number) is int and 0 <= number < len(items):
                    return items[number]
                return found_or_raise(self._looked_up(items, number, where), where, items, number)
            if isinstance(items, Optional):  # only where the type is dyn
                return self._looked_up(items.value, number, where) if items.present else ABSENT
            return found_or_raise(self._looked_up(items, number, where), where, items, number)

        return index, raw

    def _optional_index(self, value: Thunk, key: Thunk, where: str) -> Thunk:
        def index(frame: Frame) -> Optional:
            items, at = value(frame), key(frame)
            if isinstance(items, Optional):
                if not items.present:
                    return ABSENT
                items = items.value
            if not isinstance(items, (list, tuple, Mapping)):
                return ABSENT
            return self._looked_up(items, at, where)

        return index

    def _looked_up(self, items: Any, key: Any, where: str) -> Optional:
        if isinstance(items, (list, tuple)):
            if type(key) in (float, Uint) and key == int(key):
                key = int(key)
            if type(key) is not int:
                raise EvaluationError(f"{where} is {word_of(items)}; an index is an integer, not {word_of(key)}")
            return Optional(items[key]) if 0 <= key < len(items) else ABSENT
        if isinstance(items, Mapping):
            plain = key if type(key) is float and not key.is_integer() else self.key_of(key)
            return Optional(items[plain]) if plain in items else ABSENT
        raise EvaluationError(f"{where} is {word_of(items)}; it has no items")

    def select(self, node: Node) -> Thunk:
        return self._member(node)[0]

    def has(self, node: Node) -> Thunk:
        target = node.target
        assert target is not None
        assert target.type is not None
        inner, _ = self._chain(target)
        return presence(inner, node.value, target.type, text_of_path(target))

    # ------------------------------------------------------------------------------------------------ literals

    def list(self, node: Node) -> Thunk:
        if not node.optional:
            return super().list(node)
        items = [self.compile(item) for item in node.items]
        parts = [(item, index in node.optional) for index, item in enumerate(items)]

        def build(frame: Frame) -> list[Any]:
            out = []
            for item, optional in parts:
                value = item(frame)
                if not optional:
                    out.append(value)
                elif as_optional(value).present:
                    out.append(value.value)
            return out

        return build

    def map(self, node: Node) -> Thunk:
        if not node.optional:
            return super().map(node)
        pairs = [
            (self.compile(key), self.compile(value), index in node.optional)
            for index, (key, value) in enumerate(node.items)
        ]

        def build(frame: Frame) -> dict[Any, Any]:
            out: dict[Any, Any] = {}
            for key, value, optional in pairs:
                plain, item = self.key_of(key(frame)), value(frame)
                if optional:
                    if not as_optional(item).present:
                        continue
                    item = item.value
                if plain in out:
                    raise EvaluationError(f"the map has the key {plain!r} twice")
                out[plain] = item
            return out

        return build

    # ------------------------------------------------------------------------------------------------ folds

    def fold(self, node: Node) -> Thunk:
        loop = loop_of(node)
        source, raw = self._chain(node.items[0])
        before = dict(self._bound)
        kinds = node.items[0].type
        # Keys of maps and indexes are never converted.
        first, accumulator, second = (*node.names, "")[:3]
        self._bound[accumulator] = False
        inside = dict(self._bound)
        inside[first] = raw and not second and kinds.name == "list"
        if second:
            inside[second] = raw

        def compiled(part: Node) -> Thunk:
            within = part is not node.items[1] and part is not node.items[4]
            self._bound = dict(inside) if within else {**before, accumulator: False}
            return self.compile(part)

        try:
            return make_loop(node, loop, source, text_of_path(node.items[0]), compiled, self.key_of)
        finally:
            self._bound = before

    # ------------------------------------------------------------------------------------------------ calls

    def call(self, node: Node) -> Thunk:
        special = self.operators.get(node.value)
        if special is not None:
            return special(node)
        if node.value == "size":
            whole = node.target if node.target is not None else node.items[0]
            is_raw = whole.type is not None and whole.type.name in ("list", "map")
            return size_of(self._chain(whole)[0] if is_raw else self.compile(whole))
        nodes = node.items if node.target is None else (node.target, *node.items)
        parts = [self.compile(item) for item in nodes]
        kinds = [item.type for item in nodes]
        if len(node.overloads) == 1 and is_sure(node.overloads[0], kinds):
            if node.value in _ORDERS and kinds[0].name == kinds[1].name == "int":
                return comparison(node, parts, _ORDERS[node.value])
            if node.value in ("_+_", "_-_") and kinds[0].name == "int" and kinds[1].name == "int":
                return int_sum(parts, node.value == "_+_")
            return direct(node.overloads[0].work, parts)
        return dispatch(node, parts)

    def _equality(self, node: Node, wanted: bool) -> Thunk:
        left, right = (self.compile(item) for item in node.items)
        kinds = {item.type.name for item in node.items}
        if len(kinds) == 1 and kinds <= _SCALARS:
            constant = node.items[1]
            if constant.kind == "const" and (not isinstance(constant.value, str) or len(constant.value) <= SHORT):
                value = constant.value
                if wanted:
                    return lambda frame: bool(left(frame) == value)
                return lambda frame: bool(left(frame) != value)
            if kinds == {"string"}:
                return equal_texts(left, right, wanted)
            if wanted:
                return lambda frame: bool(left(frame) == right(frame))
            return lambda frame: bool(left(frame) != right(frame))
        if wanted:
            return lambda frame: equal(frame, left(frame), right(frame))
        return lambda frame: not equal(frame, left(frame), right(frame))

    def _in(self, node: Node) -> Thunk:
        item, items = node.items
        left = self.compile(item)
        inner, raw = self._chain(items)
        where = text_of_path(items)
        if items.kind == "list" and (values := plain_values(items, item.type.name)) is not None:
            return among(left, values)
        if raw and items.type.name == "list":
            lift = self._lift(items.type.params[0])
            if lift is not None:
                inner = self.compile(items)

        def contained(frame: Frame) -> bool:
            value, within = left(frame), inner(frame)
            if isinstance(within, (list, tuple)):
                return contains_item(frame, value, within)
            if isinstance(within, Mapping):
                return value in within if value.__hash__ is not None else False
            raise EvaluationError(f"'in' looks into a list or a map; {where} is {word_of(within)}")

        return contained

    def _or(self, node: Node) -> Thunk:
        if node.target is None:
            return dispatch(node, [self.compile(item) for item in node.items])
        first, second = self.compile(node.target), self.compile(node.items[0])
        unwrapped = node.value == "orValue"

        def choose(frame: Frame) -> Any:
            value = as_optional(first(frame))
            if not value.present:
                return second(frame)
            return value.value if unwrapped else value

        return choose
