"""A schema as Kubernetes sees it: :class:`Structural`, and how large one may be."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "UNSET", "Rule", "Structural", "Unset"]

MAX_BYTES: Final = 3 * 1024 * 1024
"""The longest schema that is read, as JSON. Source: kube-apiserver takes no request above 3 MiB."""
MAX_DEPTH: Final = 100
"""The deepest nesting of schemas; real definitions nest about 20 deep."""
MAX_NODES: Final = 50_000
"""The most schemas (properties, items, clauses of allOf, ...) in one schema. One with a whole Pod in it has 2,500."""


class Unset(enum.Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET
"""There is no default (None would be one)."""


@attrs.frozen(kw_only=True)
class Rule:
    """An item of ``x-kubernetes-validations``."""

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    """"" stands for FieldValueInvalid."""
    field_path: str = ""
    optional_old_self: bool | None = None


@attrs.frozen(kw_only=True, eq=False)
class Structural:
    """A schema and, in ``properties``, ``additional`` and ``items``, the schemas below it.

    Compared by identity, so that it can be the key of a table.
    """

    type: str = ""
    """"" when none is given."""
    nullable: bool = False
    default: Any = UNSET
    """As given, never None: Kubernetes takes ``default: null`` as none."""
    title: str = ""
    description: str = ""
    properties: Mapping[str, Structural] = attrs.field(factory=dict)
    additional: Structural | bool | None = None
    """``additionalProperties``."""
    items: Structural | None = None
    preserve_unknown: bool = False
    embedded_resource: bool = False
    int_or_string: bool = False
    list_type: str = ""
    """"", atomic, set or map."""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    """"", atomic or granular."""
    rules: tuple[Rule, ...] = ()
    values: Mapping[str, Any] = attrs.field(factory=dict)
    """The JSON-Schema validations of this node's value as given (minimum, pattern, enum, allOf, ...). Keywords
    that say nothing (null, false, empty text, list or map) are left out, here and in the schemas inside."""
    reference: tuple[str, str] | None = None
    """(kind, group) of ``x-kastra-reference``: the value names a resource. Group "" is that of the definition."""
    documented: bool = False
    """Whether it has an example or externalDocs; they matter where nothing may be said at all."""
