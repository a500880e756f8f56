"""Field-wise apply: who set which field, and what a new apply makes of the stored object.

A *tree* is the part of a manifest that users own: ``{"metadata": {"labels", "annotations", ...}, "spec": ...}``.
A *field set* mirrors a tree: objects as objects, a leaf as ``{}``. Scalars, lists and empty objects are leaves; a
list that its kind declares as a map list has one entry per item, named by its key fields (``[name=finder]``).

The rules are those of Kubernetes' server-side apply: fields that a manager set before and leaves out now are removed
unless another manager set them too; all other fields stay; a field that another manager set to another value is a
conflict, which ``force`` decides for the applier. An empty object asks for no field: it is merged like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

__all__ = ["FieldSet", "Merged", "field_set", "merge", "owned_paths", "same_json"]

FieldSet: TypeAlias = dict[str, Any]
ListKeys: TypeAlias = Mapping[str, tuple[str, ...]]
_Place: TypeAlias = tuple[str, ...]
"""Keys of a field set from its root to a field, names of list items included."""

_GONE: Any = object()
_PLAIN = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_][A-Za-z0-9_./-]*")
"""Texts that cannot be mistaken for other JSON, or for more than one key field."""


@attrs.frozen
class Merged:
    """Outcome of an apply. ``conflicts`` are (field path, manager) pairs; empty when it may be written."""

    tree: dict[str, Any]
    fields: FieldSet
    """What the applier owns now."""
    others: dict[str, FieldSet]
    """What the other managers own now (less after a forced conflict)."""
    conflicts: tuple[tuple[str, str], ...]
    changed: bool = True
    """False: ``tree`` is the live tree as it was (owners may differ)."""


def same_json(left: Any, right: Any) -> bool:
    """Whether two values are the same JSON: unlike ``==``, true is not 1 and 1.0 is not 1.

    >>> same_json({"a": 1, "b": []}, {"b": [], "a": 1}), same_json([1], [True])
    (True, False)
    """
    if left is right:
        return True
    if left != right:
        return False
    if left.__class__ is str:
        return True
    return orjson.dumps(left, option=orjson.OPT_SORT_KEYS) == orjson.dumps(right, option=orjson.OPT_SORT_KEYS)


def _item_name(item: Any, keys: tuple[str, ...]) -> str | None:
    if not isinstance(item, Mapping):
        return None
    parts = []
    for key in keys:
        if key not in item:
            return None
        value = item[key]
        plain = value.__class__ is str and _PLAIN.fullmatch(value)
        parts.append(f"{key}={value if plain else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()}")
    return f"[{','.join(parts)}]"


def _by_name(items: Any, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Items by name, or None when the list does not fit its declaration (then it is merged as a whole)."""
    if not isinstance(items, list):
        return None
    named: dict[str, Any] = {}
    for item in items:
        name = _item_name(item, keys)
        if name is None or name in named:
            return None
        named[name] = item
    return named


def field_set(tree: Any, list_keys: ListKeys | None = None, path: str = "") -> FieldSet:
    """Return the field set of a tree.

    >>> field_set({"spec": {"a": 1, "b": {"c": []}}})
    {'spec': {'a': {}, 'b': {'c': {}}}}
    """
    if isinstance(tree, dict):
        if not list_keys:
            return {key: field_set(value) if value.__class__ is dict else {} for key, value in tree.items()}
        return {
            key: field_set(value, list_keys, f"{path}.{key}" if path else key)
            if value.__class__ is dict or value.__class__ is list
            else {}
            for key, value in tree.items()
        }
    keys = list_keys.get(path) if list_keys else None
    if keys:
        named = _by_name(tree, keys)
        if named:
            return {name: field_set(item, list_keys, path) for name, item in named.items()}
    return {}


def owned_paths(fields: FieldSet, path: str = "") -> list[str]:
    """Leaf paths of a field set ("spec.model.name", "spec.tools[name=finder].description")."""
    if not fields:
        return [path] if path else []
    out: list[str] = []
    for key, sub in fields.items():
        out.extend(owned_paths(sub, _shown((path, key) if path else (key,))))
    return out


def merge(
    live: Mapping[str, Any],
    applied: Mapping[str, Any],
    *,
    manager: str,
    managed: Mapping[str, FieldSet],
    list_keys: ListKeys | None = None,
    force: bool = False,
) -> Merged:
    """Return what applying ``applied`` makes of ``live``.

    Args:
        live, applied: trees; neither is changed.
        manager: who applies.
        managed: what each manager owns until now, ``manager`` included.
        list_keys: map lists of the kind, path -> key fields.
        force: take over fields that others set to another value.
    """
    others = {name: fields for name, fields in managed.items() if name != manager}
    work = _Merge(others, list_keys or {}, force)
    tree = work.object(dict(live), applied, managed.get(manager, {}), list(others.items()), "", ())
    return Merged(
        tree=tree,
        fields=field_set(dict(applied), list_keys),
        others={name: fields for name, fields in work.kept.items() if fields},
        conflicts=tuple(work.conflicts),
        changed=work.changed,
    )


class _Merge:
    """One merge. ``path`` is that of the schema (no list items), by which map lists are declared."""

    def __init__(self, others: Mapping[str, FieldSet], list_keys: ListKeys, force: bool) -> None:
        self.list_keys, self.force, self.changed = list_keys, force, False
        self.conflicts: list[tuple[str, str]] = []
        self.kept: dict[str, FieldSet] = dict(others)

    def object(
        self,
        live: dict[str, Any],
        applied: Mapping[str, Any],
        before: FieldSet,
        others: list[tuple[str, FieldSet]],
        path: str,
        place: _Place,
    ) -> dict[str, Any]:
        out = dict(live)
        for key, owned in before.items():
            if key not in applied and key in out:
                left = self.remove(out[key], owned, [f[key] for _, f in others if key in f], _join(path, key))
                if left is _GONE:
                    del out[key]
                else:
                    out[key] = left
        for key, value in applied.items():
            below = [(name, fields[key]) for name, fields in others if key in fields]
            at = f"{path}.{key}" if path else key
            out[key] = self.value(out.get(key, _GONE), value, before.get(key, {}), below, at, (*place, key))
        return out

    def value(
        self,
        live: Any,
        applied: Any,
        before: FieldSet,
        others: list[tuple[str, FieldSet]],
        path: str,
        place: _Place,
    ) -> Any:
        if isinstance(applied, dict) and isinstance(live, dict):
            return self.object(live, applied, before, others, path, place)
        keys = self.list_keys.get(path)
        if keys and isinstance(live, list) and isinstance(applied, list):
            merged = self.map_list(live, applied, before, others, path, place, keys)
            if merged is not None:
                return merged
        if live is _GONE:
            self.changed = True
        elif not same_json(live, applied):
            self.changed = True
            for name, _ in others:
                if self.force:
                    self.kept[name] = _without(self.kept[name], place)
                else:
                    self.conflicts.append((_shown(place), name))
        return applied

    def map_list(
        self,
        live: list[Any],
        applied: list[Any],
        before: FieldSet,
        others: list[tuple[str, FieldSet]],
        path: str,
        place: _Place,
        keys: tuple[str, ...],
    ) -> list[Any] | None:
        old, new = _by_name(live, keys), _by_name(applied, keys)
        if old is None or new is None:
            return None
        merged: dict[str, Any] = {}
        for name, item in old.items():
            if name in new:
                continue
            rest = [fields[name] for _, fields in others if name in fields]
            left = self.remove_item(item, before[name], rest, path) if name in before else item
            if left is not _GONE:
                merged[name] = left
        for name, item in new.items():
            below = [(other, fields[name]) for other, fields in others if name in fields]
            merged[name] = self.value(old.get(name, _GONE), item, before.get(name, {}), below, path, (*place, name))
        before_order = list(old)
        order = _in_order([name for name in before_order if name in merged], list(new))
        if order != before_order:
            self.changed = True
        return [merged[name] for name in order]

    def remove(self, live: Any, owned: FieldSet, others: Sequence[FieldSet], path: str) -> Any:
        """``live`` without what was owned here and by nobody else; _GONE when nothing is left."""
        if not owned:
            return live if others else self.gone()
        keys = self.list_keys.get(path)
        items = _by_name(live, keys) if keys else None
        entries = live if items is None else items
        if not isinstance(entries, dict):
            return live if others else self.gone()
        out = dict(entries)
        remove = self.remove if items is None else self.remove_item
        for key, sub in owned.items():
            if key in out:
                at = path if items is not None else _join(path, key)
                left = remove(out[key], sub, [f[key] for f in others if key in f], at)
                if left is _GONE:
                    del out[key]
                else:
                    out[key] = left
        if not out and not others:
            return self.gone()
        return out if items is None else list(out.values())

    def remove_item(self, live: Any, owned: FieldSet, others: Sequence[FieldSet], path: str) -> Any:
        """As :meth:`remove` for an item of a map list: without another owner it goes whole, as what is left of it
        would lack the fields that name it."""
        return self.remove(live, owned, others, path) if others else self.gone()

    def gone(self) -> Any:
        self.changed = True
        return _GONE


def _in_order(old: list[str], new: list[str]) -> list[str]:
    """Names of a merged list: as they stood where the applier does not want another order, so that managers who
    apply in turn do not move each other's items; a new item comes before the one that follows it in ``new``."""
    wanted, present = set(new), set(old)
    if [name for name in old if name in wanted] != [name for name in new if name in present]:
        return [*new, *(name for name in old if name not in wanted)]
    out: list[str] = []
    rest = iter(new)
    for name in old:
        if name in wanted:
            for following in rest:
                out.append(following)
                if following == name:
                    break
        else:
            out.append(name)
    return [*out, *rest]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(place: _Place) -> str:
    """A place for people: ``spec.tools[name=finder].description``."""
    return "".join(key if key.startswith("[") or not at else f".{key}" for at, key in enumerate(place))


def _without(fields: FieldSet, place: _Place) -> FieldSet:
    """A field set less one field and all below it."""
    key, *rest = place
    if key not in fields:
        return fields
    out = dict(fields)
    if rest:
        left = _without(out[key], tuple(rest))
        if left or not out[key]:
            out[key] = left
            return out
    del out[key]
    return out
