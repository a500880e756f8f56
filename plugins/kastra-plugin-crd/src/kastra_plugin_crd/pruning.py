"""Unknown fields: what a schema does not name is dropped and told.

The rules are those of Kubernetes' pruning (apiextensions-apiserver, pkg/apiserver/schema/pruning), with one difference
that no verdict depends on: a value of the wrong type (an object where a string belongs) is left as it is, because it
is refused anyway and its fields are not what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kastra_core.errors import Problem, nearest
from kastra_plugin_crd.schema import Structural

__all__ = ["META_FIELDS", "Pruner", "below", "prune", "unknown_field"]

META_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata"})
"""Fields of every resource, embedded ones included, which no schema has to name."""
_MOST_HINTS: Final = 50
"""Of one value: so many dropped fields come with a hint, which takes its time."""
_MOST_COMPARED: Final = 1000
_SHOWN_FIELDS: Final = 20
_SCALARS: Final = frozenset({"string", "integer", "number", "boolean"})

_Check = Callable[[Any], bool]
"""Whether a value needs no pruning; None in place of one: no value does."""


def prune(
    value: Any, structural: Structural | None, path: str = "", *, root: bool = False
) -> tuple[Any, list[Problem]]:
    """Return a value without unknown fields, and a problem for each that was dropped, in the value's order.

    The argument stays as it is; what is unchanged is shared with it.

    Args:
        value: any JSON value.
        structural: its schema; None knows no field.
        path: where the value stands; problems begin with it.
        root: the value is a whole resource: apiVersion, kind and metadata stay.
    """
    work = _Pruning()
    return work.value(value, structural, path, root), work.problems


class Pruner:
    """Pruning by one schema, compiled so that a value with nothing to drop is quick.

    Args:
        structural: the schema.
        root: values are whole resources.
    """

    def __init__(self, structural: Structural, *, root: bool = False) -> None:
        self._structural, self._root = structural, root
        self._is_clean = _check(structural, root, {})

    def prune(self, value: Any, path: str = "") -> tuple[Any, list[Problem]]:
        """As :func:`prune`."""
        if self._is_clean is None or self._is_clean(value):
            return value, []
        return prune(value, self._structural, path, root=self._root)


def below(path: str, key: str) -> str:
    """The field path of a key of an object.

    >>> below("", "spec"), below("spec.rules[0]", "name")
    ('spec', 'spec.rules[0].name')
    """
    return f"{path}.{key}" if path else key


def unknown_field(key: str, path: str, known: Mapping[str, Any], *, near: bool = True) -> Problem:
    """The problem that a field is unknown.

    Args:
        key: the field.
        path: its path.
        known: names of the fields that there are.
        near: say what could have been meant; it takes a moment.
    """
    if not known or not near:
        return Problem(f"unknown field {_named(key)}", path, reason="FieldValueForbidden")
    meant = nearest(key, list(known)) if len(known) <= _MOST_COMPARED else None
    if meant is not None:
        hint = f"did you mean {meant!r}?"
    else:
        names = sorted(known)
        more = f" and {len(names) - _SHOWN_FIELDS} more" if len(names) > _SHOWN_FIELDS else ""
        hint = f"known fields: {', '.join(names[:_SHOWN_FIELDS])}{more}"
    return Problem(f"unknown field {_named(key)}", path, hint=hint, reason="FieldValueForbidden")


def _named(key: str) -> str:
    return repr(key if len(key) <= 100 else key[:99] + "…")


class _Pruning:
    """One pruning, with what it finds."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def value(self, value: Any, schema: Structural | None, path: str, root: bool = False) -> Any:
        if schema is not None and schema.preserve_unknown:
            return self.preserved(value, schema, path, root)
        if isinstance(value, dict):
            if schema is None:
                for key in value:
                    self.drop(key, path, {})
                return {}
            return self.object(value, schema, path, root)
        if isinstance(value, list):
            items = schema.items if schema is not None else None
            return self.list(value, lambda item, at: self.value(item, items, at), path)
        return value

    def object(self, value: dict[str, Any], schema: Structural, path: str, root: bool) -> dict[str, Any]:
        out: dict[str, Any] = {}
        changed = False
        for key, item in value.items():
            if key in META_FIELDS and (root or schema.embedded_resource):
                out[key] = item
                continue
            known, inner = _schema_of(schema, key)
            if known:
                out[key] = self.value(item, inner, below(path, key))
                changed = changed or out[key] is not item
            else:
                self.drop(key, path, schema.properties)
                changed = True
        return out if changed else value

    def preserved(self, value: Any, schema: Structural, path: str, root: bool) -> Any:
        """A value whose unknown fields stay; known ones are pruned by their own schemas."""
        if isinstance(value, dict):
            out = dict(value)
            changed = False
            for key, item in value.items():
                if key in META_FIELDS and (root or schema.embedded_resource):
                    continue
                known, inner = _schema_of(schema, key)
                if known:
                    out[key] = self.value(item, inner, below(path, key))
                    changed = changed or out[key] is not item
            return out if changed else value
        if isinstance(value, list):
            items = schema.items
            if items is None:
                return value
            return self.list(value, lambda item, at: self.preserved(item, items, at, False), path)
        return value

    def list(self, value: list[Any], each: Callable[[Any, str], Any], path: str) -> list[Any]:
        out = [each(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return out if any(new is not old for new, old in zip(out, value, strict=True)) else value

    def drop(self, key: str, path: str, known: Mapping[str, Any]) -> None:
        if not path and key in META_FIELDS:
            return  # every manifest has these; a schema of something else just does not keep them
        near = len(self.problems) < _MOST_HINTS
        self.problems.append(unknown_field(key, below(path, key), known, near=near))


def _schema_of(schema: Structural, key: str) -> tuple[bool, Structural | None]:
    """Whether a field is known, and its schema, None for one that knows no fields."""
    found = schema.properties.get(key)
    if found is not None:
        return True, found
    return schema.additional is not None, schema.additional if isinstance(schema.additional, Structural) else None


# -------------------------------------------------------------------------------------------------- is it needed


def _check(schema: Structural | None, root: bool, seen: dict[Structural, _Check | None]) -> _Check | None:
    if schema is None:
        return _has_no_fields
    if not root and schema in seen:
        return seen[schema]
    made = _preserving_check(schema, root, seen) if schema.preserve_unknown else _strict_check(schema, root, seen)
    if not root:
        seen[schema] = made
    return made


def _strict_check(schema: Structural, root: bool, seen: dict[Structural, _Check | None]) -> _Check | None:
    if schema.type in _SCALARS:
        return _has_no_fields  # what is of another type is refused later, but its fields are unknown all the same
    of_object = _object_check(schema, root, seen)
    item = _check(schema.items, False, seen)
    return _either(of_object, _list_check(item) if item is not None else None)


def _preserving_check(schema: Structural, root: bool, seen: dict[Structural, _Check | None]) -> _Check | None:
    of_object = _object_check(schema, root, seen)
    of_list = None
    if schema.items is not None:
        # Items of a list whose fields are preserved are preserved, too, whatever their own schema says.
        item = _preserving_check(schema.items, False, seen)
        of_list = _list_check(item) if item is not None else None
    return _either(of_object, of_list)


def _object_check(schema: Structural, root: bool, seen: dict[Structural, _Check | None]) -> _Check | None:
    skipped = META_FIELDS if root or schema.embedded_resource else frozenset[str]()
    deep: dict[str, _Check] = {}
    for key, sub in schema.properties.items():
        if key not in skipped and (check := _check(sub, False, seen)) is not None:
            deep[key] = check
    if schema.additional is not None:
        rest = _check(schema.additional if isinstance(schema.additional, Structural) else None, False, seen)
        if rest is not None:
            return _map_check(deep, rest, frozenset(schema.properties) | skipped)
    elif not schema.preserve_unknown:
        return _fields_check(deep, frozenset(schema.properties) | skipped)
    return _some_check(deep) if deep else None


def _fields_check(deep: Mapping[str, _Check], known: frozenset[str]) -> _Check:
    find = deep.get

    def check(value: Any) -> bool:
        if value.__class__ is not dict:
            return True
        if not value.keys() <= known:
            return False
        for key, item in value.items():
            inner = find(key) if item.__class__ is dict or item.__class__ is list else None
            if inner is not None and not inner(item):
                return False
        return True

    return check


def _some_check(deep: Mapping[str, _Check]) -> _Check:
    def check(value: Any) -> bool:
        if value.__class__ is not dict:
            return True
        return all(inner(value[key]) for key, inner in deep.items() if key in value)

    return check


def _map_check(deep: Mapping[str, _Check], rest: _Check, known: frozenset[str]) -> _Check:
    def check(value: Any) -> bool:
        if value.__class__ is not dict:
            return True
        for key, item in value.items():
            inner = deep.get(key) if key in known else rest
            if inner is not None and not inner(item):
                return False
        return True

    return check


def _list_check(item: _Check) -> _Check:
    def check(value: Any) -> bool:
        return value.__class__ is not list or all(map(item, value))

    return check


def _either(of_object: _Check | None, of_list: _Check | None) -> _Check | None:
    if of_object is None or of_list is None:
        return of_object or of_list
    one, other = of_object, of_list

    def check(value: Any) -> bool:
        return one(value) and other(value)

    return check


def _has_no_fields(value: Any) -> bool:
    if isinstance(value, dict):
        return not value
    return not isinstance(value, list) or all(map(_has_no_fields, value))
