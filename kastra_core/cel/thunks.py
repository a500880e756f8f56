"""Small functions of a frame that checked trees are made of: members, items, comparisons, calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kastra_core.cel.functions import Overload
from kastra_core.cel.lifting import fits
from kastra_core.cel.loops import Thunk
from kastra_core.cel.syntax import Node, function_text
from kastra_core.cel.types import CelType
from kastra_core.cel.values import (
    ABSENT,
    INT_MAX,
    INT_MIN,
    EvaluationError,
    Frame,
    Optional,
    charge_comparison,
    word_of,
)
from kastra_core.cel.words import missing

__all__ = [
    "among",
    "as_optional",
    "comparison",
    "direct",
    "dispatch",
    "equal_texts",
    "field_of",
    "field_of_name",
    "found_or_raise",
    "int_sum",
    "is_sure",
    "item_at",
    "optional_field",
    "optional_member",
    "plain_values",
    "presence",
    "size_of",
]

_LONG = 1024
"""Characters from which on looking a text up is charged."""


def as_optional(value: Any) -> Optional:
    if isinstance(value, Optional):
        return value
    raise EvaluationError(f"an optional value is needed, such as a.?b, not {word_of(value)}")


def found_or_raise(found: Optional, where: str, items: Any, key: Any) -> Any:
    if found.present:
        return found.value
    raise missing(where, items, key if isinstance(key, (str, int)) else str(key))


def field_of(target: Thunk, field: str, where: str, kind: CelType) -> Thunk:
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
            return optional_member(value, field, False, where)
        raise missing(where, value, field)

    return entry


def field_of_name(name: str, field: str, where: str, kind: CelType) -> Thunk:
    def target(frame: Frame) -> Any:
        try:
            value = frame.names[name]
        except KeyError:
            raise EvaluationError(f"{name!r} has no value here") from None
        if isinstance(value, EvaluationError):
            raise value
        return value

    general = field_of(target, field, where, kind)
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


def optional_member(value: Any, field: str, is_object: bool, where: str) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return ABSENT
        value = value.value
    if isinstance(value, (list, tuple)):
        raise missing(where, value, field)
    # What has no fields at all, such as null, lacks this one, too: as in cel-go.
    if not isinstance(value, Mapping) or field not in value:
        return ABSENT
    found = value[field]
    return ABSENT if found is None and is_object else Optional(found)


def optional_field(target: Thunk, field: str, is_object: bool, where: str) -> Thunk:
    return lambda frame: optional_member(target(frame), field, is_object, where)


def presence(target: Thunk, field: str, kind: CelType, where: str) -> Thunk:
    if kind.members is not None:

        def member(frame: Frame) -> bool:
            value = target(frame)
            if type(value) is not dict:
                raise missing(where, value, field)
            return value.get(field) is not None

        return member
    held = kind.params[0] if kind.name == "optional_type" else kind

    def has(frame: Frame) -> bool:
        return optional_member(target(frame), field, held.members is not None, where).present

    return has


def item_at(target: Thunk, number: int, where: str) -> Thunk:
    def item(frame: Frame) -> Any:
        items = target(frame)
        try:
            return items[number]
        except (IndexError, TypeError, KeyError):
            raise missing(where, items, number) from None

    return item


def size_of(target: Thunk) -> Thunk:
    def size(frame: Frame) -> int:
        value = target(frame)
        if isinstance(value, (str, list, dict, bytes, tuple)):
            return len(value)
        raise EvaluationError(f"'size' takes a text, a list or a map, not {word_of(value)}")

    return size


def plain_values(node: Node, name: str) -> frozenset[Any] | None:
    """The items of a list, when all are literals of the type ``name``, string or int; which can be looked up."""
    kind = {"string": str, "int": int}.get(name)
    if (
        kind is None
        or node.optional
        or not all(item.kind == "const" and type(item.value) is kind for item in node.items)
    ):
        return None
    return frozenset(item.value for item in node.items)


def among(target: Thunk, values: frozenset[Any]) -> Thunk:
    def among(frame: Frame) -> bool:
        value = target(frame)
        if value.__class__ is str and len(value) > _LONG:
            frame.charge(len(value) >> 8)
        return value in values

    return among


def equal_texts(left: Thunk, right: Thunk, wanted: bool) -> Thunk:
    def same(frame: Frame) -> bool:
        a, b = left(frame), right(frame)
        if a.__class__ is str and b.__class__ is str:
            charge_comparison(frame, a, b)
        return (a == b) is wanted

    return same


def comparison(node: Node, parts: list[Thunk], work: Callable[[Any, Any], bool]) -> Thunk:
    left, right = parts
    last = node.items[1]
    if last.kind == "const":
        value = last.value
        return lambda frame: work(left(frame), value)
    return lambda frame: work(left(frame), right(frame))


def int_sum(parts: list[Thunk], plus: bool) -> Thunk:
    left, right = parts

    def add(frame: Frame) -> int:
        a, b = left(frame), right(frame)
        out: int = a + b if plus else a - b
        if INT_MIN <= out <= INT_MAX:
            return out
        raise EvaluationError("integer overflow: the result has more than 64 bits")

    return add


def is_sure(overload: Overload, kinds: list[CelType]) -> bool:
    """Whether the types that are known say that the overload takes the values."""
    return all(
        wanted.is_param or wanted.name == "dyn" or given.name == wanted.name
        for wanted, given in zip(overload.parameters, kinds, strict=True)
    )


def direct(work: Callable[..., Any], parts: list[Thunk]) -> Thunk:
    if len(parts) == 1:
        only = parts[0]
        return lambda frame: work(frame, only(frame))
    if len(parts) == 2:
        first, second = parts
        return lambda frame: work(frame, first(frame), second(frame))
    return lambda frame: work(frame, *(part(frame) for part in parts))


def dispatch(node: Node, parts: list[Thunk]) -> Thunk:
    """Chooses among overloads by the values."""
    name, overloads = function_text(node.value), node.overloads

    def call(frame: Frame) -> Any:
        values = [part(frame) for part in parts]
        for overload in overloads:
            if all(map(fits, values, overload.parameters)):
                return overload.work(frame, *values)
        raise EvaluationError(f"{name} does not take {' and '.join(map(word_of, values))}")

    return call
