"""``x-kubernetes-list-type``: items of a set, and keys of a map list, may be there once.

The rules are those of Kubernetes (apiextensions-apiserver, pkg/apiserver/schema/listtype). A list without a type, or
``atomic``, may hold anything; ``x-kubernetes-map-type`` only matters to whoever merges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kastra_core.errors import Problem, shortened
from kastra_plugin_crd.pruning import below
from kastra_plugin_crd.schema import Structural

__all__ = ["ListTypes", "by_keys", "list_map_keys", "list_problems"]

_Look = Callable[[Any, str, list[Problem]], None]


def list_problems(value: Any, structural: Structural, path: str = "") -> list[Problem]:
    """Return a problem for each item that is there twice, at the second one; in the value's order."""
    return ListTypes(structural).problems(value, path)


class ListTypes:
    """:func:`list_problems` by one schema, compiled: only lists with a type are looked at."""

    def __init__(self, structural: Structural) -> None:
        # Only what is inside the root counts, as in Kubernetes, where the root is an object.
        self._look = _look(structural, {})

    def problems(self, value: Any, path: str = "") -> list[Problem]:
        out: list[Problem] = []
        if self._look is not None:
            self._look(value, path, out)
        return out


def by_keys(items: list[Any], keys: tuple[str, ...]) -> dict[Any, Any]:
    """Return the items of a map list by their keys, the first of those that are alike; what is no object is left out.

    A key that an item lacks is no value, which differs from null.
    """
    out: dict[Any, Any] = {}
    for item in items:
        if isinstance(item, dict):
            out.setdefault(tuple(_comparable(item[key]) if key in item else None for key in keys), item)
    return out


def list_map_keys(structural: Structural) -> Mapping[str, tuple[str, ...]]:
    """Return the map lists of a schema: path from the root, without items ("spec.tools.args"), to key fields.

    Lists in objects with free keys (``additionalProperties``) have no such path and are left out.
    """
    out: dict[str, tuple[str, ...]] = {}
    _collect(structural, "", out)
    return out


def _collect(schema: Structural, path: str, out: dict[str, tuple[str, ...]]) -> None:
    for name, sub in schema.properties.items():
        _collect(sub, below(path, name), out)
    if schema.items is not None and schema.list_type == "map" and schema.list_keys and path:
        out[path] = schema.list_keys
        _collect(schema.items, path, out)


def _look(schema: Structural, seen: dict[Structural, _Look | None]) -> _Look | None:
    if schema in seen:
        return seen[schema]
    inner = {name: look for name, sub in schema.properties.items() if (look := _look(sub, seen)) is not None}
    rest = _look(schema.additional, seen) if isinstance(schema.additional, Structural) else None
    of_object = _of_object(inner, rest, frozenset(schema.properties)) if inner or rest is not None else None
    of_items = _look(schema.items, seen) if schema.items is not None else None
    own = schema.list_type if schema.list_type in ("set", "map") else ""
    of_list = _of_list(own, schema.list_keys, of_items) if own or of_items is not None else None
    made = of_object or of_list
    if of_object is not None and of_list is not None:
        one, other = of_object, of_list

        def made(value: Any, path: str, out: list[Problem]) -> None:
            one(value, path, out)
            other(value, path, out)

    seen[schema] = made
    return made


def _of_object(inner: Mapping[str, _Look], rest: _Look | None, known: frozenset[str]) -> _Look:
    def look(value: Any, path: str, out: list[Problem]) -> None:
        if value.__class__ is not dict:
            return
        for key, item in value.items():
            found = inner.get(key)
            if found is None and key not in known:
                found = rest
            if found is not None:
                found(item, f"{path}.{key}" if path else key, out)

    return look


def _of_list(kind: str, keys: tuple[str, ...], of_items: _Look | None) -> _Look:
    def look(value: Any, path: str, out: list[Problem]) -> None:
        if value.__class__ is not list:
            return
        if kind == "set":
            again = _repeated([_comparable(item) for item in value])
            out.extend(_twice(_shown(value[index]), f"{path}[{index}]") for index in again)
        elif kind == "map":
            _map_problems(value, keys, path, out)
        if of_items is not None:
            for index, item in enumerate(value):
                of_items(item, f"{path}[{index}]", out)

    return look


def _map_problems(value: list[Any], keys: tuple[str, ...], path: str, out: list[Problem]) -> None:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            message = f"expected an object with {' and '.join(keys)}, found {_shown(item)}"
            out.append(Problem(message, f"{path}[{index}]", reason="FieldValueInvalid"))
            return
    named = [
        tuple((key, _comparable(item[key])) for key in keys if key in item) if item is not None else ()
        for item in value
    ]
    for index in _repeated(named):
        item = value[index] or {}
        given = ", ".join(f"{key} {_shown(item[key])}" for key in keys if key in item)
        what = f"an item with {given}" if given else f"an item without {' and '.join(keys)}"
        out.append(_twice(what, f"{path}[{index}]"))


def _repeated(values: list[Any]) -> list[int]:
    """Indices of the values that were there before; each value once, however often it comes."""
    if len(values) < 2:
        return []
    times: dict[Any, int] = {}
    out = []
    for index, value in enumerate(values):
        before = times.get(value, 0)
        times[value] = before + 1
        if before == 1:
            out.append(index)
    return out


def _comparable(value: Any) -> Any:
    """Something hashable that is the same for the same JSON: 1 is neither 1.0 nor true."""
    if value.__class__ is str:
        return value
    if isinstance(value, dict | list):
        return (dict, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    return (value.__class__, value)


def _twice(what: str, path: str) -> Problem:
    return Problem(f"{what} is there twice", path, hint="take one of them out", reason="FieldValueDuplicate")


def _shown(value: Any) -> str:
    return shortened(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode(), 80)
