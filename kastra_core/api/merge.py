"""Field-wise apply: who set which field, and what a new apply makes of the stored object.

A *tree* is the part of a manifest that users own: ``{"metadata": {"labels", "annotations", ...}, "spec": ...}``.
A *field set* mirrors a tree: objects as objects, a leaf as ``{}``. Scalars, lists and empty objects are leaves; a
list that its kind declares as a map list has one entry per item, named by the JSON of its key fields.

The rules are those of Kubernetes' server-side apply: fields that a manager set before and leaves out now are removed
unless another manager set them too; all other fields stay; a field that another manager set to another value is a
conflict, which ``force`` decides for the applier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

__all__ = ["FieldSet", "Merged", "field_set", "merge", "owned_paths"]

FieldSet: TypeAlias = dict[str, Any]
ListKeys: TypeAlias = Mapping[str, tuple[str, ...]]

_GONE: Any = object()


@attrs.frozen
class Merged:
    """Outcome of an apply. ``conflicts`` are (field path, manager) pairs; empty when it may be written."""

    tree: dict[str, Any]
    fields: FieldSet
    """What the applier owns now."""
    others: dict[str, FieldSet]
    """What the other managers own now (less after a forced conflict)."""
    conflicts: tuple[tuple[str, str], ...]


def _item_name(item: Any, keys: tuple[str, ...]) -> str | None:
    if not isinstance(item, Mapping) or not all(key in item for key in keys):
        return None
    return "[" + ",".join(f"{key}={item[key]}" for key in keys) + "]"


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
        return {key: field_set(value, list_keys, f"{path}.{key}" if path else key) for key, value in tree.items()}
    keys = list_keys.get(path) if list_keys else None
    if keys:
        named = _by_name(tree, keys)
        if named:
            return {name: field_set(item, list_keys, path) for name, item in named.items()}
    return {}


def owned_paths(fields: FieldSet, path: str = "") -> list[str]:
    """Leaf paths of a field set ("spec.model.name")."""
    if not fields:
        return [path] if path else []
    out: list[str] = []
    for key, sub in fields.items():
        out.extend(owned_paths(sub, _join(path, key)))
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
    tree = work.object(dict(live), applied, managed.get(manager, {}), list(others.items()), "")
    return Merged(
        tree=tree,
        fields=field_set(dict(applied), list_keys),
        others={name: fields for name, fields in work.kept.items() if fields},
        conflicts=tuple(work.conflicts),
    )


class _Merge:
    def __init__(self, others: Mapping[str, FieldSet], list_keys: ListKeys, force: bool) -> None:
        self.list_keys, self.force = list_keys, force
        self.conflicts: list[tuple[str, str]] = []
        self.kept: dict[str, FieldSet] = dict(others)

    def object(
        self,
        live: dict[str, Any],
        applied: Mapping[str, Any],
        before: FieldSet,
        others: list[tuple[str, FieldSet]],
        path: str,
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
            out[key] = self.value(out.get(key, _GONE), value, before.get(key, {}), below, _join(path, key))
        return out

    def value(self, live: Any, applied: Any, before: FieldSet, others: list[tuple[str, FieldSet]], path: str) -> Any:
        if isinstance(applied, dict) and isinstance(live, dict) and (applied or before):
            return self.object(live, applied, before, others, path)
        keys = self.list_keys.get(path)
        if keys and isinstance(live, list) and isinstance(applied, list):
            merged = self.map_list(live, applied, before, others, path, keys)
            if merged is not None:
                return merged
        if live is not _GONE and live != applied:
            for name, _ in others:
                if self.force:
                    self.kept[name] = _without(self.kept[name], path)
                else:
                    self.conflicts.append((path, name))
        return applied

    def map_list(
        self,
        live: list[Any],
        applied: list[Any],
        before: FieldSet,
        others: list[tuple[str, FieldSet]],
        path: str,
        keys: tuple[str, ...],
    ) -> list[Any] | None:
        old, new = _by_name(live, keys), _by_name(applied, keys)
        if old is None or new is None:
            return None
        merged = self.object(old, new, before, others, path)
        # The applier's order first, then what others added, in the order it had.
        order = [*new, *(name for name in merged if name not in new)]
        return [merged[name] for name in order]

    def remove(self, live: Any, owned: FieldSet, others: Sequence[FieldSet], path: str) -> Any:
        """``live`` without what was owned here and by nobody else; _GONE when nothing is left."""
        if not owned:
            return live if others else _GONE
        keys = self.list_keys.get(path)
        items = _by_name(live, keys) if keys else live
        if not isinstance(items, dict):
            return live if others else _GONE
        out = dict(items)
        for key, sub in owned.items():
            if key in out:
                left = self.remove(out[key], sub, [f[key] for f in others if key in f], _join(path, key))
                if left is _GONE:
                    del out[key]
                else:
                    out[key] = left
        if not out and not others:
            return _GONE
        return list(out.values()) if keys and isinstance(live, list) else out


def _join(path: str, key: str) -> str:
    if key.startswith("["):
        return path
    return f"{path}.{key}" if path else key


def _without(fields: FieldSet, path: str) -> FieldSet:
    """A field set less one leaf; list entries below the path go with it."""
    head, _, rest = path.partition(".")
    if head not in fields:
        return fields
    out = dict(fields)
    if rest:
        left = _without(out[head], rest)
        if left:
            out[head] = left
            return out
    out.pop(head)
    return out
