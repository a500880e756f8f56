"""What is known of a value before there is one: a JSON schema, of which only what excludes something is used.

Keywords of a schema hold together, so whatever one of them excludes is excluded; what is not understood excludes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.cel.hints import SIZE_FIELDS, suggestion
from kastra_core.errors import shortened

__all__ = ["NOTHING", "ExcludedError", "Shape", "of_types", "word_of_types"]

_HOPS = 16
_SHOWN = 10
_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "null": "null",
}
_COMBINING = ("allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef", "patternProperties")
"""Beside these ``additionalProperties: false`` may mean less, depending on the draft."""


class ExcludedError(Exception):
    """No value of a shape has the member; (what is wrong after its name, hint)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint


@attrs.frozen(eq=False)
class Shape:
    """A schema, or a part of one. In that of a literal, schemas of members may be shapes of other documents."""

    schema: Any
    """None: nothing is known."""
    root: Any = None
    """The document that ``$ref`` in it refer to."""

    @property
    def known(self) -> Mapping[str, Any] | None:
        """The schema with ``$ref`` followed within the document; None where nothing is known."""
        schema = self.schema
        for _ in range(_HOPS):
            if not isinstance(schema, Mapping):
                return None
            pointer = schema.get("$ref")
            if not isinstance(pointer, str):
                return schema
            if not pointer.startswith("#"):
                return None
            schema = _at(self.root, pointer[1:])
        return None

    @property
    def types(self) -> frozenset[str] | None:
        """JSON types that a value can have; None where they are not known."""
        schema = self.known
        given = schema.get("type") if schema is not None else None
        if isinstance(given, str):
            return frozenset({given})
        if isinstance(given, (list, tuple)) and given and all(isinstance(name, str) for name in given):
            return frozenset(given)
        return None

    def member(self, part: str | int) -> Shape:
        """What is known of a field or an item.

        Raises:
            ExcludedError: no value has it.
        """
        schema, types = self.known, self.types
        if schema is None:
            return NOTHING
        if isinstance(part, str):
            if types is not None and "object" not in types:
                counted = part in SIZE_FIELDS and types & {"string", "array"}
                hint = "size(x) says how many there are" if counted else ""
                raise ExcludedError(f"is {word_of_types(types)}, without fields", hint)
            return self._of(_property(schema, part))
        if types is not None and "array" not in types:
            raise ExcludedError(f"is {word_of_types(types)}, no list")
        return self._of(_item(schema, part))

    def _of(self, schema: Any) -> Shape:
        return schema if isinstance(schema, Shape) else Shape(schema, self.root)


NOTHING = Shape(None)


def of_types(*names: str) -> Shape:
    """The shape of all values of some types."""
    return Shape({"type": list(names)}) if names else NOTHING


def word_of_types(types: frozenset[str]) -> str:
    """How a message names types: ``null or a text``."""
    return " or ".join(_WORDS.get(name, name) for name in sorted(types))


def _at(root: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, Mapping):
            root = root.get(part)
        elif isinstance(root, (list, tuple)) and part.isdecimal() and len(part) < 10 and int(part) < len(root):
            root = root[int(part)]
        else:
            return None
    return root if isinstance(root, Mapping) else None


def _property(schema: Mapping[str, Any], name: str) -> Any:
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    if name in known:
        return known[name]
    others = schema.get("additionalProperties")
    if any(key in schema for key in _COMBINING):
        return None
    if others is False:
        names = ", ".join(shortened(str(other), 60) for other in list(known)[:_SHOWN])
        hint = suggestion(name, [str(other) for other in known], f"it has: {names or 'none'}")
        raise ExcludedError(f"has no field {shortened(name, 80)!r}", hint)
    return others


def _item(schema: Mapping[str, Any], index: int) -> Any:
    rest, first = schema.get("items"), schema.get("prefixItems")
    if isinstance(rest, (list, tuple)):  # drafts before 2020-12
        first, rest = rest, schema.get("additionalItems")
    count = len(first) if isinstance(first, (list, tuple)) else 0
    if index < count:
        return first[index]  # type: ignore[index]  # count is 0 unless it is a list
    most = schema.get("maxItems")
    if rest is False:
        raise ExcludedError(f"has {count} item{'' if count == 1 else 's'}, so no [{index}]")
    if type(most) is int and index >= most:
        raise ExcludedError(f"has at most {most} item{'' if most == 1 else 's'}, so no [{index}]")
    return rest
