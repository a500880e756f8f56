"""Defaults and nulls.

The rules are those of Kubernetes (apiextensions-apiserver, pkg/apiserver/schema/defaulting): a null that its schema
does not allow is dropped where there is no default and replaced where there is one; then defaults are filled into
what is there, defaults within defaults included. Every default that is filled in is a copy of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_plugin_crd.schema import UNSET, Structural

__all__ = ["Defaulter", "default", "has_defaults", "prune_nulls"]

_Fill = Callable[[Any], Any]
"""Value in, value with defaults out: the same one when nothing changes. None in place of one: nothing ever does."""


def default(value: Any, structural: Structural) -> Any:
    """Return a value with the defaults of its schema; the argument stays as it is.

    The schema's own default is not looked at: it is for whoever lacks the value.
    """
    fill = _filler(structural, {})
    return value if fill is None else fill(value)


def prune_nulls(value: Any, structural: Structural | None) -> Any:
    """Return a value without the nulls that its schema neither allows nor has a default for.

    Only fields of objects are dropped; in lists nulls stay, and are refused later. The argument stays as it is.
    """
    return value if structural is None else _without_nulls(value, structural)


def has_defaults(structural: Structural) -> bool:
    """Whether there is a default anywhere below a schema."""
    return any(
        sub.default is not UNSET or has_defaults(sub)
        for sub in (*structural.properties.values(), structural.additional, structural.items)
        if isinstance(sub, Structural)
    )


class Defaulter:
    """Both of the above by one schema, compiled."""

    def __init__(self, structural: Structural) -> None:
        self._structural = structural
        self._fill = _filler(structural, {})

    def default(self, value: Any) -> Any:
        """Return a value without nulls that are not allowed and with its defaults; the argument stays as it is."""
        value = _without_nulls(value, self._structural) if _has_null(value) else value
        return value if self._fill is None else self._fill(value)


# --------------------------------------------------------------------------------------------------------- nulls


def _has_null(value: Any) -> bool:
    if value.__class__ is dict:
        for item in value.values():
            if item is None or ((item.__class__ is dict or item.__class__ is list) and _has_null(item)):
                return True
    elif value.__class__ is list:
        for item in value:
            # null as an item stays
            if (item.__class__ is dict or item.__class__ is list) and _has_null(item):
                return True
    return False


def _without_nulls(value: Any, schema: Structural) -> Any:
    if isinstance(value, dict):
        out: dict[str, Any] = {}
        changed = False
        for key, item in value.items():
            inner = schema.properties.get(key) or schema.additional
            if not isinstance(inner, Structural):
                out[key] = item
            elif item is None:
                if inner.nullable or inner.default is not UNSET:
                    out[key] = item
                else:
                    changed = True
            else:
                out[key] = _without_nulls(item, inner)
                changed = changed or out[key] is not item
        return out if changed else value
    if isinstance(value, list) and schema.items is not None:
        inner = schema.items
        items = [_without_nulls(item, inner) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


# ------------------------------------------------------------------------------------------------------ defaults


def _filler(schema: Structural, seen: dict[Structural, _Fill | None]) -> _Fill | None:
    if schema in seen:
        return seen[schema]
    of_object = _object_filler(schema, seen) if schema.properties or schema.additional else None
    of_list = _list_filler(schema.items, seen) if schema.items is not None else None
    made = of_object or of_list
    if of_object is not None and of_list is not None:
        one, other = of_object, of_list

        def made(value: Any) -> Any:
            return one(value) if value.__class__ is dict else other(value)

    seen[schema] = made
    return made


def _object_filler(schema: Structural, seen: dict[Structural, _Fill | None]) -> _Fill | None:
    fillers: dict[str, _Fill] = {}
    missing: dict[str, Callable[[], Any]] = {}
    instead: dict[str, Callable[[], Any]] = {}
    for key, sub in schema.properties.items():
        fill = _filler(sub, seen)
        if fill is not None:
            fillers[key] = fill
        if sub.default is not UNSET:
            missing[key] = _maker(sub, seen)
            if not sub.nullable:
                instead[key] = missing[key]
    rest = schema.additional if isinstance(schema.additional, Structural) else None
    if rest is not None:
        fill_rest = _filler(rest, seen)
        make_rest = _maker(rest, seen) if rest.default is not UNSET and not rest.nullable else None
        if fill_rest is not None or make_rest is not None:
            return _map_filler(fillers, missing, instead, frozenset(schema.properties), fill_rest, make_rest)
    if not fillers and not missing:
        return None

    def fill_in(value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        out = None
        for key, item in value.items():
            if item is None:
                make = instead.get(key)
                if make is not None:
                    if out is None:
                        out = dict(value)
                    out[key] = make()
            elif (fill := fillers.get(key)) is not None:
                new = fill(item)
                if new is not item:
                    if out is None:
                        out = dict(value)
                    out[key] = new
        for key, make in missing.items():
            if key not in value:
                if out is None:
                    out = dict(value)
                out[key] = make()
        return value if out is None else out

    return fill_in


def _map_filler(
    fillers: dict[str, _Fill],
    missing: dict[str, Callable[[], Any]],
    instead: dict[str, Callable[[], Any]],
    known: frozenset[str],
    fill_rest: _Fill | None,
    make_rest: Callable[[], Any] | None,
) -> _Fill:
    def fill_in(value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        out = dict(value)
        changed = False
        for key, item in value.items():
            if item is None:
                make = instead.get(key) if key in known else make_rest
                if make is not None:
                    out[key] = make()
                    changed = True
                continue
            fill = fillers.get(key) if key in known else fill_rest
            if fill is not None:
                out[key] = fill(item)
                changed = changed or out[key] is not item
        for key, make in missing.items():
            if key not in value:
                out[key] = make()
                changed = True
        return out if changed else value

    return fill_in


def _list_filler(items: Structural, seen: dict[Structural, _Fill | None]) -> _Fill | None:
    fill = _filler(items, seen)
    make = _maker(items, seen) if items.default is not UNSET and not items.nullable else None
    if fill is None and make is None:
        return None

    def fill_in(value: Any) -> Any:
        if value.__class__ is not list:
            return value
        out = [
            (make() if make is not None else None) if item is None else item if fill is None else fill(item)
            for item in value
        ]
        return out if any(new is not old for new, old in zip(out, value, strict=True)) else value

    return fill_in


def _maker(schema: Structural, seen: dict[Structural, _Fill | None]) -> Callable[[], Any]:
    """A function that makes the default of a schema, with the defaults inside it, anew each time."""
    given = schema.default
    if not isinstance(given, dict | list):
        return lambda: given
    fill = _filler(schema, seen)
    full = given if fill is None else fill(given)
    return lambda: _copy(full)


def _copy(value: Any) -> Any:
    if value.__class__ is dict:
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if value.__class__ is list else value
