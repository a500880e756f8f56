"""From JSON as it was read to values of CEL, and which values are of a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kastra_core.cel.types import CelType
from kastra_core.cel.values import Frame, KeyedList, Optional, SetList, Type, Uint

__all__ = ["Lift", "fits", "lift_of"]

Lift = Callable[[Frame, Any], Any]
"""JSON as it was read -> the value of CEL."""
_LONG = 128
"""Characters from which on a conversion is charged: of bytes; all other texts that are converted are short."""


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
    def lift(frame: Frame, value: Any) -> Any:
        if value is None:
            return None
        if value.__class__ is str and len(value) > _LONG:
            frame.charge(len(value) >> 5)
        return convert(value)

    return lift


def _lifting_list(kind: CelType, inner: Lift | None) -> Lift:
    work = 1 if inner is None or kind.params[0].name in ("int", "double") else 2

    def lift(frame: Frame, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        frame.charge(work * len(value))
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
