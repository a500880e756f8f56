"""One parser for every way in which a manifest names another resource.

Order of precedence, the same everywhere:

1. an object: ``ref`` wins over ``refName``, and both over ``name`` (+ ``namespace``, ``kind``). With ``ref`` or
   ``refName`` the ``name`` beside it is only an alias. A plain ``name`` in an object is literal, dots included.
2. a text with ``/``: ``kind/namespace/name``; ``left/right`` is ``kind/name`` when ``left`` is a spelling of an
   installed kind (plural, singular or short name), else ``namespace/name``.
3. a text with ``.``: ``namespace.name``, split at the first dot (a namespace has none).
4. any other text: a name in the referring resource's namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import ResourceKey
from kastra_core.errors import InvalidReferenceError

__all__ = ["Reference", "parse_reference"]

KindLookup = Callable[[str], tuple[str, str] | None]
"""A spelling ("agents") to (group, kind), None when no kind has it."""


@attrs.frozen(kw_only=True)
class Reference:
    """A resource that is named by another one."""

    kind: str
    namespace: str
    name: str
    group: str = MAIN_GROUP
    alias: str = attrs.field(default="", eq=False)
    """What the referring manifest calls it; its name when it says nothing else."""
    path: str = attrs.field(default="", eq=False)
    """Field path in the referring manifest ("spec.tools[0]")."""

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.group, self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return str(self.key)


def parse_reference(
    value: object,
    *,
    kind: str,
    namespace: str,
    group: str = MAIN_GROUP,
    lookup: KindLookup | None = None,
    path: str = "",
) -> Reference:
    """Return what ``value`` refers to.

    Args:
        value: text or object in one of the forms above.
        kind, group: the kind that is meant when the value names none.
        namespace: that of the referring resource.
        lookup: spellings of installed kinds; without it only ``kind`` and its plain plural are known.
        path: kept in the result for messages.
    Raises:
        InvalidReferenceError: none of the forms.

    >>> str(parse_reference("cooking.recipe-finder", kind="Tool", namespace="default"))
    'Tool cooking/recipe-finder'
    >>> str(parse_reference("agents/greeter", kind="Agent", namespace="default"))
    'Agent default/greeter'
    >>> str(parse_reference({"name": "finder", "refName": "cooking.recipe-finder"}, kind="Tool", namespace="x"))
    'Tool cooking/recipe-finder'
    """
    if isinstance(value, str):
        return _from_text(value, kind, group, namespace, lookup, "", path)
    if isinstance(value, Mapping):
        return _from_object(value, kind, group, namespace, lookup, path)
    raise InvalidReferenceError(value, f"it is {type(value).__name__}")


def _from_object(
    value: Mapping[str, Any], kind: str, group: str, namespace: str, lookup: KindLookup | None, path: str
) -> Reference:
    for field in ("ref", "refName", "name", "namespace", "kind", "alias"):
        if field in value and not isinstance(value[field], str):
            raise InvalidReferenceError(dict(value), f"{field} is not a string")
    alias = value.get("alias") or value.get("name") or ""
    where = value.get("namespace") or namespace
    if value.get("kind"):
        group, kind = _kind_of(value["kind"], kind, group, lookup) or (group, value["kind"])
    for field in ("ref", "refName"):
        if value.get(field):
            return _from_text(value[field], kind, group, where, lookup, alias, path)
    if not value.get("name"):
        raise InvalidReferenceError(dict(value), "it has neither name nor ref nor refName")
    return Reference(kind=kind, group=group, namespace=where, name=value["name"], alias=alias, path=path)


def _from_text(
    text: str, kind: str, group: str, namespace: str, lookup: KindLookup | None, alias: str, path: str
) -> Reference:
    parts = text.strip().split("/")
    if not all(parts):
        raise InvalidReferenceError(text, "a part of it is empty")
    if len(parts) == 3:
        found = _kind_of(parts[0], kind, group, lookup)
        if found is None:
            raise InvalidReferenceError(text, f"{parts[0]!r} is no kind")
        (group, kind), namespace, name = found, parts[1], parts[2]
    elif len(parts) == 2:
        found = _kind_of(parts[0], kind, group, lookup)
        if found is not None:
            (group, kind), name = found, parts[1]
        else:
            namespace, name = parts
    elif len(parts) == 1:
        before, dot, after = parts[0].partition(".")
        if dot and not (before and after):
            raise InvalidReferenceError(text, "a part of it is empty")
        namespace, name = (before, after) if dot else (namespace, parts[0])
    else:
        raise InvalidReferenceError(text, "it has more than two slashes")
    return Reference(kind=kind, group=group, namespace=namespace, name=name, alias=alias or name, path=path)


def _kind_of(spelling: str, kind: str, group: str, lookup: KindLookup | None) -> tuple[str, str] | None:
    if spelling.lower() in (kind.lower(), kind.lower() + "s"):
        return (group, kind)
    return lookup(spelling) if lookup else None
