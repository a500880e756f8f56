"""What an export keeps beside the fields of the format, so that an import gives back what was exported.

``difference(wanted, said)`` notes how ``wanted`` (a manifest) differs from ``said`` (what an import makes of the
exported fields alone). ``restore(note, said)`` turns the one into the other. Where the exported file was edited since,
``said`` is another one at that place, and the edit wins.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["difference", "restore"]

_ABSENT: Any = object()


def difference(wanted: Any, said: Any) -> Any:
    """Note what makes ``wanted`` of ``said``; None when they are the same.

    A note is one of: {"is", "was"}: another value, without "is" it was removed. {"add"}: it was not there.
    {"in": {key: note}}: an object. {"items": {id: note}, "order", "from"}: a list of objects with ids.
    {"at": {index: note}, "size"}: another list of as many objects.

    >>> difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    {'in': {'b': {'is': 2, 'was': 3}, 'c': {'was': 4}}}
    """
    if _same(wanted, said):
        return None
    if isinstance(wanted, Mapping) and isinstance(said, Mapping):
        return {"in": _of_fields(wanted, said)}
    if _have_ids(wanted) and _have_ids(said):
        given, own = {item["id"]: item for item in wanted}, {item["id"]: item for item in said}
        return {"items": _of_fields(given, own), "order": list(given), "from": list(own)}
    if _are_objects(wanted) and _are_objects(said) and len(wanted) == len(said):
        found = {str(at): difference(*pair) for at, pair in enumerate(zip(wanted, said, strict=True))}
        return {"at": {at: note for at, note in found.items() if note is not None}, "size": len(wanted)}
    return {"is": copy.deepcopy(wanted), "was": copy.deepcopy(said)}


def _of_fields(wanted: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in wanted.items():
        note = {"add": copy.deepcopy(value)} if key not in said else difference(value, said[key])
        if note is not None:
            out[key] = note
    out |= {key: {"was": copy.deepcopy(value)} for key, value in said.items() if key not in wanted}
    return out


def restore(note: Any, said: Any) -> Any:
    """Undo: what was exported; an edit of the exported fields since then wins.

    >>> note = difference({"a": 1, "b": 2}, {"a": 1, "b": 3})
    >>> restore(note, {"a": 1, "b": 3}), restore(note, {"a": 1, "b": 9})
    ({'a': 1, 'b': 2}, {'a': 1, 'b': 9})
    """
    found = _restored(note, said)
    return said if found is _ABSENT else found


def _restored(note: Any, said: Any) -> Any:
    if not isinstance(note, Mapping):
        return said
    if "add" in note:
        return copy.deepcopy(note["add"]) if said is _ABSENT else said
    if "was" in note:
        if said is _ABSENT or not _same(said, note["was"]):
            return said
        return copy.deepcopy(note["is"]) if "is" in note else _ABSENT
    fields = note.get("in")
    if isinstance(fields, Mapping) and isinstance(said, Mapping):
        return _fields(fields, said)
    items, places = note.get("items"), note.get("at")
    if isinstance(items, Mapping) and _have_ids(said):
        return _items(items, said, note)
    if isinstance(places, Mapping) and isinstance(said, list) and len(said) == note.get("size"):
        return [_restored(places.get(str(at)), item) for at, item in enumerate(said)]
    return said


def _fields(notes: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    out = {}
    for key in (*said, *(key for key in notes if key not in said)):
        value = said.get(key, _ABSENT)
        value = _restored(notes[key], value) if key in notes else value
        if value is not _ABSENT:
            out[key] = value
    return out


def _items(notes: Mapping[str, Any], said: Sequence[Mapping[str, Any]], note: Mapping[str, Any]) -> list[Any]:
    own = {item["id"]: item for item in said}
    found = _fields(notes, own)
    given = note.get("order")
    order = [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
    if list(own) == note.get("from"):
        return [found[one] for one in order if one in found]
    # Edited: what the file says now, and what the note adds after what it stood behind.
    out = [one for one in own if one in found]
    for at, one in enumerate(order):
        if one in found and one not in own:
            before = next((other for other in reversed(order[:at]) if other in out), None)
            out.insert(out.index(before) + 1 if before is not None else 0, one)
    return [found[one] for one in out]


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _have_ids(value: Any) -> bool:
    """Whether a list is one of objects that an id tells apart."""
    if not isinstance(value, list) or not value:
        return False
    ids = [item.get("id") for item in value if isinstance(item, Mapping)]
    return len(ids) == len(value) and all(isinstance(one, str) for one in ids) and len(set(ids)) == len(ids)


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON: true is not 1, 1 is not 1.0."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(_same(*pair) for pair in zip(left, right, strict=True))
    return type(left) is type(right) and bool(left == right)
