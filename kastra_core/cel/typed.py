"""Evaluation of checked trees: values are those of CEL, and what the checker knows makes the functions direct.

What a variable holds is JSON as it was read. A member or an item of it is converted where an expression reads it, so a
large object costs nothing that no expression asks for. In this module such values are "raw".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kastra_core.cel.dialect import Dialect
from kastra_core.cel.evaluation import Evaluator, Thunk, text_of_path
from kastra_core.cel.functions import Overload
from kastra_core.cel.loops import make_loop
from kastra_core.cel.macros import loop_of
from kastra_core.cel.standard import contains_item
from kastra_core.cel.syntax import Node, function_text
from kastra_core.cel.types import CelType
from kastra_core.cel.values import (
    ABSENT,
    INT_MAX,
    INT_MIN,
    EvaluationError,
    Frame,
    KeyedList,
    Optional,
    SetList,
    Type,
    Uint,
    equal,
    word_of,
)
from kastra_core.cel.words import missing

__all__ = ["Lift", "TypedEvaluator", "fits", "lift_of"]

Lift = Callable[[Frame, Any], Any]
"""JSON as it was read -> the value of CEL."""

_LONG = 1024
"""Characters from which on a comparison of texts is charged."""
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_SCALARS = frozenset({"string", "int", "bool", "uint", "double"})


# ------------------------------------------------------------------------------------------------ raw values


def lift_of(kind: CelType) -> Lift | None:
    """Return what makes a value of CEL from JSON of type ``kind``; None: JSON is the value."""
    if kind.convert is not None:
        return _converting(kind.convert)
    if kind.name == "list":
        inner = lift_of(kind.params[0])
        return _lifting_list(kind, inner) if inner is not None or kind.list_type in ("set", "map") else None
    if kind.name == "map":
        inner = lift_of(kind.params[1])
        return _lifting_map(inner) if inner is not None else None
    if kind.name == "optional_type":
        inner = lift_of(kind.params[0])
        return _lifting_optional(inner) if inner is not None else None
    if kind.members is not None:
        inners = {member.key: lift for member in kind.members.values() if (lift := lift_of(member.type)) is not None}
        return _lifting_object(inners) if inners else None
    return None


def _converting(convert: Callable[[Any], Any]) -> Lift:
    return lambda frame, value: None if value is None else convert(value)


def _lifting_list(kind: CelType, inner: Lift | None) -> Lift:
    def lift(frame: Frame, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        frame.charge(len(value))
        items = value if inner is None else [inner(frame, item) for item in value]
        if kind.list_type == "set":
            return SetList(items)
        return KeyedList(items, kind.list_keys) if kind.list_type == "map" else items

    return lift


def _lifting_map(inner: Lift) -> Lift:
    def lift(frame: Frame, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        frame.charge(len(value))
        return {key: inner(frame, item) for key, item in value.items()}

    return lift


def _lifting_object(inners: dict[str, Lift]) -> Lift:
    def lift(frame: Frame, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        frame.charge(len(value))
        return {key: item if (inner := inners.get(key)) is None else inner(frame, item) for key, item in value.items()}

    return lift


def _lifting_optional(inner: Lift) -> Lift:
    return lambda frame, value: Optional(inner(frame, value.value)) if value.present else value


# ------------------------------------------------------------------------------------------------ types of values

_CLASSES: dict[str, tuple[type, ...]] = {
    "null_type": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "uint": (Uint,),
    "double": (float,),
    "string": (str,),
    "bytes": (bytes,),
    "list": (list, tuple),
    "map": (dict,),
    "type": (Type,),
    "google.protobuf.Timestamp": (datetime,),
    "google.protobuf.Duration": (timedelta,),
    "optional_type": (Optional,),
}


def fits(value: Any, kind: CelType) -> bool:
    """Whether a value is of a type; what lists and maps hold is not looked at."""
    if kind.is_param or kind.name == "dyn":
        return True
    classes = _CLASSES.get(kind.name)
    if classes is None:
        own = getattr(type(value), "cel_type", None)
        return (own is not None and own.name == kind.name) or (kind.members is not None and isinstance(value, dict))
    if kind.name == "int":
        return type(value) is int
    return isinstance(value, classes)


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
            return _optional_field(inner, field, target.type.params[0].members is not None, where), raw
        if target.kind == "ident":
            return _field_of_name(target.value, field, where, target.type), self._bound.get(target.value, True)
        inner, raw = self._chain(target)
        return _field(inner, field, where, target.type), raw

    def _optional_member(self, node: Node) -> tuple[Thunk, bool]:
        operand, field = node.items
        inner, raw = self._chain(operand)
        kind = operand.type
        held = kind.params[0] if kind.name == "optional_type" else kind
        return _optional_field(inner, field.value, held.members is not None, text_of_path(operand)), raw

    def _index(self, node: Node) -> tuple[Thunk, bool]:
        operand, at = node.items
        (value, raw), key = self._chain(operand), self.compile(at)
        where = text_of_path(operand)
        if node.value == "_[?_]" or operand.type.name == "optional_type":
            return self._optional_index(value, key, where), raw
        if operand.type.name == "list" and at.kind == "const" and type(at.value) is int and at.value >= 0:
            return _item(value, at.value, where), raw

        def index(frame: Frame) -> Any:
            items, number = value(frame), key(frame)
            if isinstance(items, list):
                if type(number) is int and 0 <= number < len(items):
                    return items[number]
                return _found_or_raise(self._looked_up(items, number, where), where, items, number)
            if isinstance(items, Optional):  # only where the type is dyn
                return self._looked_up(items.value, number, where) if items.present else ABSENT
            return _found_or_raise(self._looked_up(items, number, where), where, items, number)

        return index, raw

    def _optional_index(self, value: Thunk, key: Thunk, where: str) -> Thunk:
        def index(frame: Frame) -> Optional:
            items, at = value(frame), key(frame)
            if isinstance(items, Optional):
                if not items.present:
                    return ABSENT
                items = items.value
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
        return _presence(inner, node.value, target.type, text_of_path(target))

    # ------------------------------------------------------------------------------------------------ literals

    def list(self, node: Node) -> Thunk:
        items = [self.compile(item) for item in node.items]
        if not node.optional:
            return lambda frame: [item(frame) for item in items]
        parts = [(item, index in node.optional) for index, item in enumerate(items)]

        def build(frame: Frame) -> list[Any]:
            out = []
            for item, optional in parts:
                value = item(frame)
                if not optional:
                    out.append(value)
                elif _optional(value).present:
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
                    if not _optional(item).present:
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
            inner, _ = self._chain(node.target if node.target is not None else node.items[0])
            return _sized(inner)
        nodes = node.items if node.target is None else (node.target, *node.items)
        parts = [self.compile(item) for item in nodes]
        kinds = [item.type for item in nodes]
        if len(node.overloads) == 1 and _is_sure(node.overloads[0], kinds):
            if node.value in _ORDERS and kinds[0] == kinds[1] and kinds[0].name in ("int", "double"):
                return _order(node, parts, _ORDERS[node.value])
            if node.value in ("_+_", "_-_") and kinds[0].name == "int" and kinds[1].name == "int":
                return _sum(parts, node.value == "_+_")
            return _direct(node.overloads[0].work, parts)
        return _dispatch(node, parts)

    def _equality(self, node: Node, wanted: bool) -> Thunk:
        left, right = (self.compile(item) for item in node.items)
        kinds = {item.type.name for item in node.items}
        if len(kinds) == 1 and kinds <= _SCALARS:
            constant = node.items[1]
            if constant.kind == "const" and (not isinstance(constant.value, str) or len(constant.value) < _LONG):
                value = constant.value
                if wanted:
                    return lambda frame: bool(left(frame) == value)
                return lambda frame: bool(left(frame) != value)
            if kinds == {"string"}:
                return _equal_texts(left, right, wanted)
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
        if items.kind == "list" and item.type.name == "string" and not items.optional and _all_texts(items.items):
            return _among(left, frozenset(part.value for part in items.items))
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
            return _dispatch(node, [self.compile(item) for item in node.items])
        first, second = self.compile(node.target), self.compile(node.items[0])
        unwrapped = node.value == "orValue"

        def choose(frame: Frame) -> Any:
            value = _optional(first(frame))
            if not value.present:
                return second(frame)
            return value.value if unwrapped else value

        return choose


# ------------------------------------------------------------------------------------------------ functions of parts


def _optional(value: Any) -> Optional:
    if isinstance(value, Optional):
        return value
    raise EvaluationError(f"an optional value is needed, such as a.?b, not {word_of(value)}")


def _found_or_raise(found: Optional, where: str, items: Any, key: Any) -> Any:
    if found.present:
        return found.value
    raise missing(where, items, key if isinstance(key, (str, int)) else str(key))


def _field(target: Thunk, field: str, where: str, kind: CelType) -> Thunk:
    if kind.members is not None:

        def member(frame: Frame) -> Any:
            value = target(frame)
            try:
                found = value[field]
                if found is not None:  # a field that is null is absent
                    return found
            except (KeyError, TypeError):
                pass
            raise missing(where, value, field)

        return member

    def entry(frame: Frame) -> Any:
        value = target(frame)
        if isinstance(value, dict):
            try:
                return value[field]
            except KeyError:
                pass
        elif isinstance(value, Optional):
            return _field_of(value, field, False, where)
        raise missing(where, value, field)

    return entry


def _field_of_name(name: str, field: str, where: str, kind: CelType) -> Thunk:
    def target(frame: Frame) -> Any:
        try:
            value = frame.names[name]
        except KeyError:
            raise EvaluationError(f"{name!r} has no value here") from None
        if isinstance(value, EvaluationError):
            raise value
        return value

    general = _field(target, field, where, kind)
    if kind.members is None:
        return general

    def member(frame: Frame) -> Any:
        try:
            found = frame.names[name][field]
            if found is not None:
                return found
        except (KeyError, TypeError):
            pass
        return general(frame)  # which says what is wrong

    return member


def _field_of(value: Any, field: str, is_object: bool, where: str) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return ABSENT
        value = value.value
    if not isinstance(value, Mapping):
        raise missing(where, value, field)
    if field not in value:
        return ABSENT
    found = value[field]
    return ABSENT if found is None and is_object else Optional(found)


def _optional_field(target: Thunk, field: str, is_object: bool, where: str) -> Thunk:
    return lambda frame: _field_of(target(frame), field, is_object, where)


def _presence(target: Thunk, field: str, kind: CelType, where: str) -> Thunk:
    if kind.members is not None:

        def member(frame: Frame) -> bool:
            value = target(frame)
            if type(value) is not dict:
                raise missing(where, value, field)
            return value.get(field) is not None

        return member
    held = kind.params[0] if kind.name == "optional_type" else kind

    def has(frame: Frame) -> bool:
        return _field_of(target(frame), field, held.members is not None, where).present

    return has


def _item(target: Thunk, number: int, where: str) -> Thunk:
    def item(frame: Frame) -> Any:
        items = target(frame)
        try:
            return items[number]
        except (IndexError, TypeError, KeyError):
            raise missing(where, items, number) from None

    return item


def _sized(target: Thunk) -> Thunk:
    def size(frame: Frame) -> int:
        value = target(frame)
        if isinstance(value, (str, list, dict, bytes, tuple)):
            return len(value)
        raise EvaluationError(f"'size' takes a text, a list or a map, not {word_of(value)}")

    return size


def _all_texts(items: tuple[Any, ...]) -> bool:
    return all(item.kind == "const" and type(item.value) is str for item in items)


def _among(target: Thunk, texts: frozenset[str]) -> Thunk:
    def among(frame: Frame) -> bool:
        value = target(frame)
        if value.__class__ is str and len(value) > _LONG:
            frame.charge(len(value) >> 8)
        return value in texts

    return among


def _equal_texts(left: Thunk, right: Thunk, wanted: bool) -> Thunk:
    def same(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        if a.__class__ is str and len(a) > _LONG:
            frame.charge(len(a) >> 8)
        return (a == b) is wanted

    return same


def _order(node: Node, parts: list[Thunk], work: Callable[[Any, Any], bool]) -> Thunk:
    left, right = parts
    last = node.items[1]
    if last.kind == "const":
        value = last.value
        return lambda frame: work(left(frame), value)
    return lambda frame: work(left(frame), right(frame))


def _sum(parts: list[Thunk], plus: bool) -> Thunk:
    left, right = parts

    def add(frame: Frame) -> int:
        a, b = left(frame), right(frame)
        out: int = a + b if plus else a - b
        if INT_MIN <= out <= INT_MAX:
            return out
        raise EvaluationError("integer overflow: the result has more than 64 bits")

    return add


def _is_sure(overload: Overload, kinds: list[CelType]) -> bool:
    """Whether the types that are known say that the overload takes the values."""
    return overload.accepts is None and all(
        wanted.is_param or wanted.name == "dyn" or given.name == wanted.name
        for wanted, given in zip(overload.parameters, kinds, strict=True)
    )


def _direct(work: Callable[..., Any], parts: list[Thunk]) -> Thunk:
    if len(parts) == 1:
        only = parts[0]
        return lambda frame: work(frame, only(frame))
    if len(parts) == 2:
        first, second = parts
        return lambda frame: work(frame, first(frame), second(frame))
    return lambda frame: work(frame, *(part(frame) for part in parts))


def _dispatch(node: Node, parts: list[Thunk]) -> Thunk:
    """Chooses among overloads by the values."""
    name, overloads = function_text(node.value), node.overloads

    def call(frame: Frame) -> Any:
        values = [part(frame) for part in parts]
        for overload in overloads:
            accepts = overload.accepts
            if accepts(*values) if accepts is not None else all(map(fits, values, overload.parameters)):
                return overload.work(frame, *values)
        raise EvaluationError(f"{name} does not take {' and '.join(map(word_of, values))}")

    return call
