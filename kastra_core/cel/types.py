"""Types of CEL values, as far as an expression's environment knows them.

A declared type does two things: the checker refuses what cannot work, and a value that JSON holds in another form
(a timestamp as text) is converted when an expression reads it, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

__all__ = [
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "TYPE",
    "UINT",
    "CelType",
    "Member",
    "list_of",
    "map_of",
    "object_of",
    "opaque",
    "optional_of",
    "param",
]


@attrs.frozen
class Member:
    """A field of an object type. ``key`` is its name in JSON, which may be none that CEL can write."""

    key: str
    type: CelType


@attrs.frozen
class CelType:
    """A type. Two types are the same when name and parameters are; ``str`` writes it as CEL does: ``list(string)``."""

    name: str
    """"int", "list", "map", "optional_type", the name of an object type; "dyn" fits everything."""
    params: tuple[CelType, ...] = ()
    members: Mapping[str, Member] | None = attrs.field(default=None, eq=False, repr=False)
    """Of an object type: name in CEL -> member. None for every other type."""
    convert: Callable[[Any], Any] | None = attrs.field(default=None, eq=False, repr=False)
    """JSON value -> CEL value, where they differ; given a value that fits the type."""
    list_type: str = attrs.field(default="", eq=False)
    """Of a list: "set" or "map" when its order does not matter to ``==`` and ``+`` joins it without twins."""
    list_keys: tuple[str, ...] = attrs.field(default=(), eq=False)
    """Of a list of type "map": the JSON names of the fields that tell its items apart."""
    is_param: bool = False
    """Stands for any one type within one overload of a function."""
    most: int | None = attrs.field(default=None, eq=False)
    """The most characters, items or entries that a value can have; None: only bounded by the size of a manifest.
    What a cost is estimated from."""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.params))})" if self.params else self.name


BOOL, INT, UINT, DOUBLE, STRING, BYTES = map(CelType, ("bool", "int", "uint", "double", "string", "bytes"))
NULL, TYPE, DYN = map(CelType, ("null_type", "type", "dyn"))
TIMESTAMP, DURATION = CelType("google.protobuf.Timestamp"), CelType("google.protobuf.Duration")


def list_of(item: CelType, **options: Any) -> CelType:
    """The type of lists; ``options`` are further attributes of :class:`CelType`."""
    return CelType("list", (item,), **options)


def map_of(key: CelType, value: CelType, **options: Any) -> CelType:
    return CelType("map", (key, value), **options)


def optional_of(inner: CelType) -> CelType:
    return CelType("optional_type", (inner,))


def object_of(name: str, members: Mapping[str, Member], **options: Any) -> CelType:
    """An object with known fields; ``name`` must be its own, for example the path of its schema."""
    return CelType(name, members=members, **options)


def opaque(name: str, *params: CelType) -> CelType:
    """A type of a library, such as ``net.IP``."""
    return CelType(name, params)


def param(name: str) -> CelType:
    """A type parameter of an overload: ``param("T")``."""
    return CelType(name, is_param=True)
