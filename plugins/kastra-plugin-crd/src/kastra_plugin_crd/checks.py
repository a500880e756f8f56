"""What a schema asks of a value, in one form for all that look at values: :class:`Check`.

Structural schemas and the clauses below allOf, anyOf, oneOf and not become the same tree. What Kubernetes ignores is
gone from it: formats it does not know, or of another type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from kastra_plugin_crd.formats import FORMATS, NUMBER_RANGES, normal_name
from kastra_plugin_crd.schema import Structural

__all__ = ["INT64", "Check", "check_of", "is_multiple", "is_of_type"]

INT64: Final = (-(2**63), 2**63 - 1)
"""The least and the greatest integer of a field with ``type: integer``."""
_MAX_EXACT: Final = 2**53 - 1
_CLOSE: Final = 1e-9
"""How near to an integer a quotient of floats must be. Source: go-openapi/swag, IsFloat64AJSONInteger."""


@attrs.frozen(kw_only=True, eq=False)
class Check:
    """A schema, ready to be compared with values. Null is allowed where ``nullable`` is true or ``types`` is empty,
    and then only ``enum`` looks at it."""

    types: tuple[str, ...] = ()
    nullable: bool = False
    properties: Mapping[str, Check] = attrs.field(factory=dict)
    additional: Check | bool = True
    """What fields that ``properties`` does not name must be."""
    items: Check | None = None
    enum: tuple[Any, ...] = ()
    required: tuple[str, ...] = ()
    pattern: str = ""
    format: str = ""
    """A key of ``FORMATS``."""
    bounds: tuple[float, float] | None = None
    """Range of the number's format."""
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    """minLength, maximum, multipleOf, ..., as JSON Schema draft 4 names them."""
    all_of: tuple[Check, ...] = ()
    any_of: tuple[Check, ...] = ()
    one_of: tuple[Check, ...] = ()
    negated: Check | None = None
    list_type: str = ""
    list_keys: tuple[str, ...] = ()

    @property
    def has_clauses(self) -> bool:
        return bool(self.all_of or self.any_of or self.one_of or self.negated is not None)


_LIMITS: Final = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip


def check_of(structural: Structural) -> Check:
    """Return what a schema asks of a value."""
    additional = structural.additional
    return _check(
        structural.values,
        ("integer", "string") if structural.int_or_string else (structural.type,) if structural.type else (),
        nullable=structural.nullable,
        properties={name: check_of(sub) for name, sub in structural.properties.items()},
        additional=check_of(additional) if isinstance(additional, Structural) else additional is not False,
        items=check_of(structural.items) if structural.items is not None else None,
        list_type=structural.list_type,
        list_keys=structural.list_keys,
    )


def _clause(schema: Mapping[str, Any]) -> Check:
    """A schema below allOf, anyOf, oneOf or not, as a definition has it."""
    types: tuple[str, ...] = (schema["type"],) if schema.get("type") else ()
    additional, items = schema.get("additionalProperties"), schema.get("items")
    return _check(
        schema,
        ("integer", "string") if schema.get("x-kubernetes-int-or-string") else types,
        nullable=bool(schema.get("nullable")),
        properties={name: _clause(sub) for name, sub in schema.get("properties", {}).items()},
        additional=_clause(additional) if isinstance(additional, dict) else additional is not False,
        items=_clause(items) if isinstance(items, dict) else None,
    )


def _check(values: Mapping[str, Any], types: tuple[str, ...], **structure: Any) -> Check:
    kind = types[0] if len(types) == 1 else ""
    name = values.get("format", "")
    form = normal_name(name) if kind in ("", "string") else ""
    negated = values.get("not")
    return Check(
        types=types,
        enum=tuple(values.get("enum", ())),
        required=tuple(values.get("required", ())),
        pattern=values.get("pattern", ""),
        format=form if form in FORMATS else "",
        bounds=NUMBER_RANGES.get((kind, name)),
        limits={key: values[key] for key in _LIMITS if key in values},
        all_of=tuple(map(_clause, values.get("allOf", ()))),
        any_of=tuple(map(_clause, values.get("anyOf", ()))),
        one_of=tuple(map(_clause, values.get("oneOf", ()))),
        negated=_clause(negated) if negated is not None else None,
        **structure,
    )


def is_of_type(value: Any, kind: str) -> bool:
    """Whether a value that is not null is of a type. An integer has at most 64 bits and may be written 1.0."""
    found = value.__class__
    if kind == "string":
        return found is str
    if kind == "object":
        return found is dict
    if kind == "array":
        return found is list
    if kind == "boolean":
        return found is bool
    if kind == "number":
        return found is int or found is float
    if kind == "integer":
        if found is float:
            return bool(value.is_integer() and INT64[0] <= value <= INT64[1])
        return found is int and INT64[0] <= value <= INT64[1]
    return False


def is_multiple(value: float, factor: float) -> bool:
    """Whether a number is a multiple of another, floats as nearly as they can be.

    >>> is_multiple(0.3, 0.1), is_multiple(7, 2), is_multiple(7, 3.5)
    (True, False, True)
    """
    if not factor > 0:
        return False
    if isinstance(value, int) and (isinstance(factor, int) or factor.is_integer()):
        return value % int(factor) == 0
    quotient = float(value) * (1 / factor) if factor < 1 else float(value) / factor
    if not math.isfinite(quotient) or abs(quotient) > _MAX_EXACT:
        return False
    whole = round(quotient)
    return quotient == whole or abs(quotient - whole) / (abs(quotient) + abs(whole)) < _CLOSE
