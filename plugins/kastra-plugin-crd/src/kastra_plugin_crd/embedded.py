"""``x-kubernetes-embedded-resource``: an object inside an object has an apiVersion, a kind and proper metadata.

The rules are those of Kubernetes (apiextensions-apiserver, pkg/apiserver/schema/objectmeta; apimachinery, ObjectMeta).
The metadata of the whole object is the core's matter; only what is embedded is looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kastra_core.errors import Problem
from kastra_plugin_crd.pruning import below, unknown_field
from kastra_plugin_crd.schema import Structural

__all__ = ["Embedded", "embedded_problems", "prune_metadata"]

_Visit = Callable[[dict[str, Any], str], dict[str, Any]]
_Walk = Callable[[Any, str, _Visit], Any]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_KIND: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME_PART: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_MOST_ANNOTATIONS: Final = 256 * 1024
"""Bytes of all annotations together, names and values."""
_LONGEST: Final = 1000
"""Characters of the longest text that a name can be, with room; longer ones are not looked at in detail."""
_TEXTS: Final = ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion")
_MAPS: Final = ("labels", "annotations")
_TIMES: Final = ("creationTimestamp", "deletionTimestamp")
_NUMBERS: Final = ("generation", "deletionGracePeriodSeconds")
_LISTS: Final = ("ownerReferences", "finalizers", "managedFields")
_KNOWN: Final[Mapping[str, None]] = dict.fromkeys((*_TEXTS, *_MAPS, *_TIMES, *_NUMBERS, *_LISTS))


def embedded_problems(value: Any, structural: Structural, path: str = "") -> list[Problem]:
    """Return what is wrong with apiVersion, kind and metadata of the embedded resources in a value."""
    return Embedded(structural).problems(value, path)


def prune_metadata(value: Any, structural: Structural, path: str = "") -> tuple[Any, list[Problem]]:
    """Return a value without unknown fields in the metadata of embedded resources, and a problem for each dropped one.

    The argument stays as it is.
    """
    return Embedded(structural).prune_metadata(value, path)


class Embedded:
    """Both of the above by one schema, compiled: only what may hold an embedded resource is looked at."""

    def __init__(self, structural: Structural) -> None:
        self._walk = _walk(structural, {})

    def problems(self, value: Any, path: str = "") -> list[Problem]:
        out: list[Problem] = []

        def visit(resource: dict[str, Any], where: str) -> dict[str, Any]:
            out.extend(_resource_problems(resource, where))
            return resource

        if self._walk is not None:
            self._walk(value, path, visit)
        return out

    def prune_metadata(self, value: Any, path: str = "") -> tuple[Any, list[Problem]]:
        out: list[Problem] = []

        def visit(resource: dict[str, Any], where: str) -> dict[str, Any]:
            return _without_unknown(resource, where, out)

        return (value if self._walk is None else self._walk(value, path, visit)), out


def _walk(schema: Structural, seen: dict[Structural, _Walk | None]) -> _Walk | None:
    if schema in seen:
        return seen[schema]
    inner = {name: walk for name, sub in schema.properties.items() if (walk := _walk(sub, seen)) is not None}
    rest = _walk(schema.additional, seen) if isinstance(schema.additional, Structural) else None
    of_items = _walk(schema.items, seen) if schema.items is not None else None
    known, is_resource = frozenset(schema.properties), schema.embedded_resource
    made: _Walk | None = None
    if is_resource or inner or rest is not None or of_items is not None:

        def made(value: Any, path: str, visit: _Visit) -> Any:
            if value.__class__ is dict:
                out = visit(value, path) if is_resource else value
                for key, item in value.items() if inner or rest is not None else ():
                    walk = inner.get(key) if key in known else rest
                    if walk is None:
                        continue
                    new = walk(item, below(path, key), visit)
                    if new is not item and key in out:
                        out = dict(out) if out is value else out
                        out[key] = new
                return out
            if value.__class__ is list and of_items is not None:
                items = [of_items(item, f"{path}[{index}]", visit) for index, item in enumerate(value)]
                return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
            return value

    seen[schema] = made
    return made


# ------------------------------------------------------------------------------------------------------- pruning


def _without_unknown(resource: dict[str, Any], path: str, out: list[Problem]) -> dict[str, Any]:
    metadata = resource.get("metadata")
    if not isinstance(metadata, dict):
        return resource
    kept = {key: item for key, item in metadata.items() if key in _KNOWN and not (item is None and key in _TIMES)}
    if len(kept) == len(metadata):
        return resource
    where = below(path, "metadata")
    for key in metadata:
        if key not in _KNOWN:
            out.append(unknown_field(key, below(where, key), _KNOWN, near=len(out) < _MOST_HINTS))
    return {**resource, "metadata": kept}


_MOST_HINTS: Final = 50

# ------------------------------------------------------------------------------------------------------ problems


def _resource_problems(resource: dict[str, Any], path: str) -> list[Problem]:
    out = [
        Problem("required field is missing", below(path, key), reason="FieldValueRequired")
        for key in ("apiVersion", "kind")
        if key not in resource
    ]
    for key, check in (("apiVersion", _api_version), ("kind", _kind)):
        if key in resource:
            value = resource[key]
            wrong = check(value) if isinstance(value, str) else f"expected a string, found {_found(value)}"
            if wrong:
                out.append(Problem(wrong, below(path, key), reason="FieldValueInvalid"))
    if "metadata" in resource:
        out.extend(_metadata_problems(resource["metadata"], below(path, "metadata")))
    return out


def _api_version(text: str) -> str:
    if not text:
        return "expected an apiVersion such as 'apps/v1', found an empty string"
    if text.count("/") > 1:
        return f"expected a group and a version ('apps/v1'), found {_found(text)}"
    return ""


def _kind(text: str) -> str:
    if not text:
        return "expected a kind such as 'Deployment', found an empty string"
    if len(text) > 63 or not _KIND.fullmatch(text.lower()):
        return (
            f"expected a kind of at most 63 letters, digits and dashes that begins with a letter, found {_found(text)}"
        )
    return ""


def _metadata_problems(metadata: Any, path: str) -> list[Problem]:
    if metadata is None:
        return []
    unreadable = _unreadable(metadata)
    if unreadable:
        return [Problem(unreadable, path, reason="FieldValueInvalid")]
    out: list[Problem] = []

    def wrong(message: str, key: str, hint: str = "", reason: str = "FieldValueInvalid") -> None:
        out.append(Problem(message, below(path, key), hint=hint, reason=reason))

    for key in ("generateName", "name"):
        text = metadata.get(key) or ""
        if "/" in text or "%" in text or (key == "name" and text in (".", "..")):
            wrong(f"{_found(text)} is no name", key, "a name has no '/' and no '%', and is not '.' or '..'")
    namespace = metadata.get("namespace") or ""
    if namespace and (len(namespace) > 63 or not _LABEL.fullmatch(namespace)):
        wrong(f"{_found(namespace)} is no name of a namespace", "namespace")
    if (metadata.get("generation") or 0) < 0:
        wrong(f"expected at least 0, found {metadata['generation']}", "generation")
    for key, value in (metadata.get("labels") or {}).items():
        if not _is_qualified(key):
            wrong(f"{_found(key)} is no name of a label", "labels")
        if value and (len(value) > 63 or not _NAME_PART.fullmatch(value)):
            wrong(f"{_found(value)} is no value of a label", "labels", "at most 63 letters, digits, '-', '_' and '.'")
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if not _is_qualified(key.lower()):
            wrong(f"{_found(key)} is no name of an annotation", "annotations")
    size = sum(len(key.encode()) + len((value or "").encode()) for key, value in annotations.items())
    if size > _MOST_ANNOTATIONS:
        message = f"expected at most {_MOST_ANNOTATIONS} bytes in all, found {size}"
        wrong(message, "annotations", reason="FieldValueTooLong")
    for index, name in enumerate(metadata.get("finalizers") or ()):
        if not _is_qualified(name):
            wrong(f"{_found(name)} is no name of a finalizer", f"finalizers[{index}]")
    _owner_problems(metadata.get("ownerReferences") or [], wrong)
    return out


def _owner_problems(owners: list[dict[str, Any]], wrong: Callable[[str, str], None]) -> None:
    controllers = 0
    for index, owner in enumerate(owners):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                wrong("may not be empty", f"ownerReferences[{index}].{key}")
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        wrong("only one owner may be the controller", "ownerReferences")


def _is_qualified(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    if len(text) > _LONGEST or len(name) > 63 or not _NAME_PART.fullmatch(name):
        return False
    return not slash or (len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix) is not None)


def _unreadable(metadata: Any) -> str:
    """Why it cannot be read as metadata at all, "" when it can. Null stands for nothing everywhere."""
    if not isinstance(metadata, dict):
        return f"expected an object, found {_found(metadata)}"
    for key, value in metadata.items():
        if value is None or key == "managedFields":
            continue
        if key in _TEXTS and not isinstance(value, str):
            return f"{key}: expected a string, found {_found(value)}"
        if key in _NUMBERS and not (isinstance(value, int) and not isinstance(value, bool)):
            return f"{key}: expected an integer, found {_found(value)}"
        if key in _TIMES and not (isinstance(value, str) and len(value) < _LONGEST and _TIME.fullmatch(value)):
            return f"{key}: expected a time such as '2006-01-02T15:04:05Z', found {_found(value)}"
        if key in _MAPS:
            if not isinstance(value, dict):
                return f"{key}: expected an object, found {_found(value)}"
            for name, text in value.items():
                if text is not None and not isinstance(text, str):
                    return f"{key}.{name}: expected a string, found {_found(text)}"
        elif key in _LISTS:
            if not isinstance(value, list):
                return f"{key}: expected a list, found {_found(value)}"
            expected, word = (str, "a string") if key == "finalizers" else (dict, "an object")
            for index, item in enumerate(value):
                if not isinstance(item, expected):
                    return f"{key}[{index}]: expected {word}, found {_found(item)}"
    return ""


def _found(value: Any) -> str:
    from kastra_core.serde import type_word

    return type_word(value)
