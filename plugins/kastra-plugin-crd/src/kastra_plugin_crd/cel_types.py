"""The types that rules see: a structural schema as CEL types.

:func:`type_of` gives the type of a value that a schema describes, or None where rules may not look at all: at what is
kept without a schema. A JSON value is converted to what CEL makes of it (a date-time to a timestamp) when a rule
reads it. Each type knows how big a value can get at most; the cost of a rule is estimated from it.

Source of all sizes and of what is hidden: Kubernetes' apiserver, ``pkg/cel/common/schemas.go`` and
``pkg/cel/limits.go``.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from kastra_core.cel import EvaluationError
from kastra_core.cel.times import parse_duration, parse_timestamp
from kastra_core.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    CelType,
    Member,
    list_of,
    map_of,
    object_of,
)
from kastra_plugin_crd.schema import UNSET, Structural

__all__ = ["MAX_MANIFEST_BYTES", "Declarations", "Declared", "escape", "type_of"]

MAX_MANIFEST_BYTES: Final = 3 * 1024 * 1024
"""The longest manifest that an estimate reckons with. Source: the longest request to a kube-apiserver."""
_MAX_NAME: Final = 253
"""Characters of metadata.name, at most."""
_MAX_TEXT: Final = MAX_MANIFEST_BYTES - 2  # without its quotation marks
_BYTES_PER_CHARACTER: Final = 4

_TEXT: Final = Structural(type="string")


@attrs.frozen
class Declared:
    """The type of a schema's values, and the fewest bytes that one takes as JSON."""

    type: CelType
    least_bytes: int


def type_of(structural: Structural, name: str, *, root: bool = False) -> CelType | None:
    """Return the type of the values of a schema; None if rules cannot look at them.

    Args:
        name: of the type, when it is an object; types of what is inside are named below it.
        root: the schema is of a whole resource: apiVersion, kind, metadata.name and metadata.generateName are there.
    """
    declared = Declarations().of(structural, name, root=root)
    return declared.type if declared is not None else None


def escape(name: str) -> str | None:
    """Return how CEL writes the name of a property; None if it cannot.

    Source: Kubernetes' apiserver, ``pkg/cel/escaping.go``.

    >>> escape("app.kubernetes.io/part-of"), escape("namespace"), escape("1st")
    ('app__dot__kubernetes__dot__io__slash__part__dash__of', '__namespace__', None)
    """
    if name in _RESERVED:
        return f"__{name}__"
    if not _PROPERTY_NAME.fullmatch(name):
        return None
    return _ESCAPED_PART.sub(lambda found: _ESCAPES[found[0]], name)


_RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        *("namespace", "null", "package", "return", "true", "var", "void", "while"),
    }
)
_PROPERTY_NAME: Final = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*")
_ESCAPED_PART: Final = re.compile(r"__|[-./]")
_ESCAPES: Final = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


class Declarations:
    """The types of the schemas of one tree; each is made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Structural, bool], Declared | None] = {}

    def of(self, structural: Structural, name: str, *, root: bool = False) -> Declared | None:
        """As :func:`type_of`; the name counts when the schema is seen for the first time."""
        key = (structural, root)
        if key not in self._known:
            self._known[key] = self._declare(structural, name, root)
        return self._known[key]

    def _declare(self, structural: Structural, name: str, root: bool) -> Declared | None:
        if structural.int_or_string:
            # Of no type that is known before the value is; its JSON may be one digit.
            return Declared(attrs.evolve(DYN, most=_most_characters(structural, _MAX_TEXT)), 1)
        match structural.type:
            case "array":
                return self._declare_list(structural, name)
            case "object":
                return self._declare_object(structural, name, root)
            case "string":
                return _declare_string(structural)
            case "boolean":
                return _BOOLEAN
            case "number":
                return _NUMBER
            case "integer":
                return _INTEGER
        return None  # kept as it is, without a schema

    def _declare_list(self, structural: Structural, name: str) -> Declared | None:
        items = structural.items
        if items is None or (item := self.of(items, f"{name}.@idx", root=items.embedded_resource)) is None:
            return None
        most = _limit(structural, "maxItems")
        if most is None:
            most = (MAX_MANIFEST_BYTES - 2) // (item.least_bytes + 1)
        keys = structural.list_keys if structural.list_type == "map" else ()
        return Declared(list_of(item.type, most=most, list_type=structural.list_type, list_keys=keys), 2)

    def _declare_object(self, structural: Structural, name: str, root: bool) -> Declared | None:
        if isinstance(structural.additional, Structural):
            return self._declare_map(structural, structural.additional, name)
        properties = {**structural.properties, **_root_properties(structural)} if root else structural.properties
        required = frozenset(structural.values.get("required", ()))
        members: dict[str, Member] = {}
        least = 2
        for key, schema in properties.items():
            escaped = escape(key)
            inner = self.of(schema, f"{name}.{escaped or key}", root=schema.embedded_resource)
            if inner is None:
                continue
            if escaped is not None:
                members[escaped] = Member(key, inner.type)
                if key in _RESERVED:  # Kubernetes takes it as it is, too, where the parser does
                    members.setdefault(key, members[escaped])
            if key in required and schema.default is UNSET:
                least += len(key.encode()) + inner.least_bytes + 4
        return Declared(object_of(name, members), least)

    def _declare_map(self, structural: Structural, values: Structural, name: str) -> Declared | None:
        value = self.of(values, f"{name}.@elem", root=values.embedded_resource)
        if value is None:
            return None
        most = _limit(structural, "maxProperties")
        if most is None:
            # Two characters of a key, its quotation marks, a colon and a comma.
            most = (MAX_MANIFEST_BYTES - 2) // (value.least_bytes + 6)
        return Declared(map_of(STRING, value.type, most=most), 2)


def _root_properties(structural: Structural) -> dict[str, Structural]:
    """What a resource has though its schema may not say so; nothing if the schema says all of it."""
    properties = structural.properties
    metadata = properties.get("metadata")
    inner = metadata.properties if metadata is not None else {}
    said = (properties.get("apiVersion"), properties.get("kind"), inner.get("name"), inner.get("generateName"))
    if all(each is not None and each.type == "string" for each in said) and metadata and metadata.type == "object":
        return {}
    # A generated name is a character longer than what it is generated from.
    names = {
        "name": _capped(inner.get("name"), _MAX_NAME),
        "generateName": _capped(inner.get("generateName"), _MAX_NAME - 1),
    }
    return {"apiVersion": _TEXT, "kind": _TEXT, "metadata": Structural(type="object", properties=names)}


def _capped(structural: Structural | None, most: int) -> Structural:
    given = _limit(structural, "maxLength") if structural is not None else None
    return Structural(type="string", values={"maxLength": most if given is None else min(given, most)})


def _limit(structural: Structural, keyword: str) -> int | None:
    limit = structural.values.get(keyword)
    return None if limit is None else max(int(limit), 0)


def _most_characters(structural: Structural, otherwise: int) -> int:
    most = _limit(structural, "maxLength")
    return otherwise if most is None else most * _BYTES_PER_CHARACTER


def _declare_string(structural: Structural) -> Declared:
    match structural.values.get("format"):
        case "byte":
            most = _limit(structural, "maxLength")
            return Declared(attrs.evolve(_BYTES, most=_MAX_TEXT if most is None else most), 2)
        case "duration":
            return Declared(_DURATION, 3)
        case "date":
            return Declared(_DATE, 12)
        case "date-time":
            return Declared(_DATE_TIME, 21)
    texts = [each for each in structural.values.get("enum", ()) if isinstance(each, str)]
    longest = max((len(each.encode()) for each in texts), default=0)
    most = _most_characters(structural, longest if structural.values.get("enum") else _MAX_TEXT)
    return _ANY_TEXT if most == _MAX_TEXT else Declared(attrs.evolve(STRING, most=most), 2)


def _to_int(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_double(value: Any) -> Any:
    if type(value) is not int:
        return value
    try:
        return float(value)
    except OverflowError as err:
        raise EvaluationError("the number is too large for a double") from err


def _to_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        # Both alphabets: the format "byte" takes the usual one, Kubernetes' rules read the one for URLs.
        plain = value.replace("-", "+").replace("_", "/").replace("\n", "").replace("\r", "")
        return base64.b64decode(plain, validate=True)
    except binascii.Error as err:
        raise EvaluationError(f"{value[:100]!r} is not base64") from err


_DATE_FORM: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ZONE: Final = re.compile(r"(?:Z|[+-]\d{2}:\d{2})$", re.ASCII)


def _to_date(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not _DATE_FORM.fullmatch(value):
        raise EvaluationError(f"{value[:100]!r} is no date; one is '2025-01-31'")
    return parse_timestamp(f"{value}T00:00:00Z")


def _to_timestamp(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value:
        return datetime(1970, 1, 1, tzinfo=UTC)
    return parse_timestamp(value if _ZONE.search(value) else f"{value}Z")


_WORDS: Final = (
    (("ns",), "nano", 1),
    (("us", "µs"), "micro", 10**3),
    (("ms",), "milli", 10**6),
    (("s",), "sec", 10**9),
    (("m",), "min", 60 * 10**9),
    (("h", "hr"), "hour", 3600 * 10**9),
    (("d",), "day", 24 * 3600 * 10**9),
    (("w", "wk"), "week", 7 * 24 * 3600 * 10**9),
)
"""Spellings, the beginning of the long form, nanoseconds."""
_WORD_PART: Final = re.compile(r"(\d+)\s*([A-Za-zµ]+)", re.ASCII)


def _to_duration(value: Any) -> Any:
    """``1h30m`` as Go writes it, or in words: ``2 days``, ``1 hour 30 minutes``."""
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except EvaluationError:
        nanoseconds = _duration_in_words(value[:200])
        if nanoseconds is None or nanoseconds >= 2**63:
            raise
        return timedelta(microseconds=nanoseconds // 1000)


def _duration_in_words(value: str) -> int | None:
    total: int | None = None
    for number, unit in _WORD_PART.findall(value):
        word = unit.lower()
        for short, long, scale in _WORDS:
            if word in short or word.startswith(long):
                total = (total or 0) + int(number) * scale
    return total


_BOOLEAN: Final = Declared(BOOL, 4)
_NUMBER: Final = Declared(attrs.evolve(DOUBLE, convert=_to_double), 1)
_INTEGER: Final = Declared(attrs.evolve(INT, convert=_to_int), 1)
_ANY_TEXT: Final = Declared(attrs.evolve(STRING, most=_MAX_TEXT), 2)
_BYTES: Final = attrs.evolve(BYTES, convert=_to_bytes)
_DURATION: Final = attrs.evolve(DURATION, convert=_to_duration, most=32)
_DATE: Final = attrs.evolve(TIMESTAMP, convert=_to_date, most=12)
_DATE_TIME: Final = attrs.evolve(TIMESTAMP, convert=_to_timestamp, most=32)
