"""``x-kastra-reference``: which fields of an object name other resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.api.references import Reference, parse_reference
from kastra_core.errors import InvalidReferenceError, Problem, shortened
from kastra_plugin_crd.pruning import below
from kastra_plugin_crd.schema import Structural

__all__ = ["References", "references_of"]

_Found = tuple[str, Any, tuple[str, str]]
"""Field path, value, (kind, group)."""
_Find = Callable[[Any, str], Iterator[_Found]]


def references_of(structural: Structural) -> Callable[[Resource], list[Reference]]:
    """Return a function that lists what a resource refers to, in the order of its fields.

    A value is a text in one of the forms of :func:`kastra_core.api.references.parse_reference`, or an object with
    name and, if need be, namespace. A schema that names no group means the resource's own. An empty value refers to
    nothing; one that cannot be read is left out (:meth:`References.problems` tells it).

    Args:
        structural: the schema of the whole object.
    """
    return References(structural).of


class References:
    """The references in objects of one schema."""

    def __init__(self, structural: Structural) -> None:
        self._find = _find(structural, {})

    def of(self, resource: Resource) -> list[Reference]:
        """Return what a resource refers to."""
        out: list[Reference] = []
        if self._find is not None:
            tree = {"spec": resource.spec, **resource.extra}
            for path, value, target in self._find(tree, ""):
                try:
                    out += _parsed(value, path, target, resource.api_version, resource.metadata.namespace)
                except InvalidReferenceError:
                    continue
        return out

    def problems(self, manifest: JsonObject) -> list[Problem]:
        """Return which references of a manifest cannot be read."""
        out: list[Problem] = []
        if self._find is not None:
            for path, value, target in self._find(manifest, ""):
                try:
                    _parsed(value, path, target, "", "")
                except InvalidReferenceError as error:
                    hint = "a reference is a name, namespace/name, or an object with name and namespace"
                    message = f"it refers to no {target[0]}: {shortened(error.why, 200)}"
                    out.append(Problem(message, path, hint=hint, reason="FieldValueInvalid"))
        return out


def _parsed(value: Any, path: str, target: tuple[str, str], api_version: str, namespace: str) -> list[Reference]:
    if isinstance(value, dict):
        # The other fields of the object are its own: what they are called means nothing here.
        value = {key: value[key] for key in ("name", "namespace") if value.get(key) is not None}
    if not value or not isinstance(value, str | dict):  # of another type: the schema's matter
        return []
    kind, group = target
    group = group or api_version.rpartition("/")[0]
    return [parse_reference(value, kind=kind, group=group, namespace=namespace, path=path)]


def _find(schema: Structural, seen: dict[Structural, _Find | None]) -> _Find | None:
    if schema in seen:
        return seen[schema]
    inner = {name: find for name, sub in schema.properties.items() if (find := _find(sub, seen)) is not None}
    rest = _find(schema.additional, seen) if isinstance(schema.additional, Structural) else None
    of_items = _find(schema.items, seen) if schema.items is not None else None
    target, known = schema.reference, frozenset(schema.properties)
    made: _Find | None = None
    if target is not None or inner or rest is not None or of_items is not None:

        def made(value: Any, path: str) -> Iterator[_Found]:
            if target is not None:
                yield path, value, target
            if isinstance(value, dict):
                for key, item in value.items():
                    find = inner.get(key) if key in known else rest
                    if find is not None:
                        yield from find(item, below(path, key))
            elif isinstance(value, list) and of_items is not None:
                for index, item in enumerate(value):
                    yield from of_items(item, f"{path}[{index}]")

    seen[schema] = made
    return made
