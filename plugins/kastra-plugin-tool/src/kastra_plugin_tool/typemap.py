"""Python types to JSON Schema."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import (
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import (
    Set as AbstractSet,
)
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import attrs

from kastra_core.api.meta import JsonObject

__all__ = ["SchemaMaker", "UnsupportedTypeError", "is_json_scalar", "typed_dict_fields"]

_PLAIN: dict[Any, JsonObject] = {
    Any: {},
    object: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
    Path: {"type": "string"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array", "uniqueItems": True},
    frozenset: {"type": "array", "uniqueItems": True},
    dict: {"type": "object"},
}
_LISTS = (list, Sequence, MutableSequence, Iterable, Collection)
_SETS = (set, frozenset, AbstractSet, MutableSet)
_MAPS = (dict, Mapping, MutableMapping)


class UnsupportedTypeError(TypeError):
    """A Python type has no JSON Schema."""


class SchemaMaker:
    """Makes schemas of types; classes that contain themselves are kept in ``definitions`` for ``$defs``."""

    def __init__(self) -> None:
        self.definitions: dict[str, JsonObject] = {}
        self._open: list[type] = []
        self._recursive: set[type] = set()

    def schema(self, kind: Any) -> JsonObject:
        """Return the JSON Schema of a type.

        Raises:
            UnsupportedTypeError: a value of this type cannot come from JSON.
        """
        try:
            if kind in _PLAIN:
                return dict(_PLAIN[kind])
        except TypeError:
            pass  # an unhashable annotation is none of the plain ones
        origin, args = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._annotated(args[0], args[1:])
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.schema(arg) for arg in args]}
        if origin is Literal:
            return _enum(list(args))
        if origin in _LISTS or kind in _LISTS:
            return {"type": "array", "items": self.schema(args[0])} if args else {"type": "array"}
        if origin in _SETS or kind in _SETS:
            out: JsonObject = {"type": "array", "uniqueItems": True}
            return {**out, "items": self.schema(args[0])} if args else out
        if origin is tuple:
            return self._tuple(args)
        if origin in _MAPS or kind in _MAPS:
            return self._mapping(args)
        if isinstance(kind, typing.NewType):
            return self.schema(kind.__supertype__)
        if isinstance(kind, type):
            return self._class(kind)
        raise UnsupportedTypeError(f"{_name(kind)} has no JSON Schema")

    def _annotated(self, kind: Any, notes: tuple[Any, ...]) -> JsonObject:
        out = self.schema(kind)
        for note in notes:
            if isinstance(note, str):
                out["description"] = note
            elif isinstance(note, Mapping):
                out.update(note)
        return out

    def _tuple(self, args: tuple[Any, ...]) -> JsonObject:
        if len(args) == 2 and args[1] is Ellipsis:
            return {"type": "array", "items": self.schema(args[0])}
        items = [] if args == ((),) else [self.schema(arg) for arg in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _mapping(self, args: tuple[Any, ...]) -> JsonObject:
        if not args:
            return {"type": "object"}
        if args[0] not in (str, Any):
            raise UnsupportedTypeError(f"an object's keys are strings, not {_name(args[0])}")
        return {"type": "object", "additionalProperties": self.schema(args[1])}

    def _class(self, kind: type) -> JsonObject:
        if issubclass(kind, Enum):
            return _enum([member.value for member in kind])
        fields = _fields(kind)
        if fields is None:
            raise UnsupportedTypeError(f"{_name(kind)} has no JSON Schema")
        if kind in self._open:
            self._recursive.add(kind)
            return {"$ref": f"#/$defs/{kind.__name__}"}
        if kind.__name__ in self.definitions and kind in self._recursive:
            return {"$ref": f"#/$defs/{kind.__name__}"}
        self._open.append(kind)
        try:
            properties: JsonObject = {}
            for name, (annotation, default) in fields.items():
                properties[name] = self.schema(annotation)
                if default is not _REQUIRED and is_json_scalar(default):
                    properties[name]["default"] = default
        finally:
            self._open.pop()
        out: JsonObject = {"type": "object", "properties": properties}
        required = [name for name, (_, default) in fields.items() if default is _REQUIRED]
        if required:
            out["required"] = required
        out["additionalProperties"] = False
        if kind in self._recursive:
            self.definitions[kind.__name__] = out
            return {"$ref": f"#/$defs/{kind.__name__}"}
        return out


class _Mark:
    """Defaults that are no value."""


_REQUIRED, _FACTORY = _Mark(), _Mark()


def is_json_scalar(value: object) -> bool:
    """True for what may stand as ``default`` in a schema: null, booleans, numbers and texts."""
    return value is None or type(value) in (bool, int, float, str)


def _fields(kind: type) -> dict[str, tuple[Any, Any]] | None:
    """Name -> (annotation, default) of what the constructor takes; None when the class is no record."""
    if typing.is_typeddict(kind):
        known = typed_dict_fields(kind)
        return {name: (hint, _REQUIRED if needed else _FACTORY) for name, (hint, needed) in known.items()}
    if attrs.has(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        out: dict[str, tuple[Any, Any]] = {}
        for field in attrs.fields(kind):
            if field.init:
                given = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
                default = _FACTORY if given else _REQUIRED if field.default is attrs.NOTHING else field.default
                out[field.name] = (hints.get(field.name, Any), default)
        return out
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        out = {}
        for item in dataclasses.fields(kind):
            if item.init:
                made = item.default_factory is not dataclasses.MISSING
                missing = item.default is dataclasses.MISSING
                default = _FACTORY if made else _REQUIRED if missing else item.default
                out[item.name] = (hints[item.name], default)
        return out
    return None


def typed_dict_fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Name -> (annotation, required) of a TypedDict."""
    out: dict[str, tuple[Any, bool]] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        # The marks are read here: __required_keys__ overlooks them where annotations are texts.
        marks = {typing.Required: True, typing.NotRequired: False}
        needed = marks.get(get_origin(hint), name in kind.__required_keys__)
        bare = get_args(hint)[0] if get_origin(hint) in marks else hint
        out[name] = (bare, needed)
    return out


def _enum(values: list[Any]) -> JsonObject:
    if not all(is_json_scalar(value) for value in values):
        raise UnsupportedTypeError("an enumeration's values must be texts, numbers, booleans or None")
    out: JsonObject = {"enum": values}
    kinds = {type(value) for value in values}
    if len(kinds) == 1:
        out = {**_PLAIN[kinds.pop()], **out}
    return out


def _name(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)
