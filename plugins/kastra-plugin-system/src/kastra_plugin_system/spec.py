"""What a System's manifest may say under ``spec``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.serde import FieldError, converter, register_schema, type_word

__all__ = ["LISTS", "EntrySpec", "SystemSpec"]

LISTS: Mapping[str, str] = {"agents": "Agent", "tools": "Tool", "workflows": "Workflow", "networks": "Network"}
"""Lists of a spec -> kind of what they hold."""


@attrs.frozen(kw_only=True)
class EntrySpec:
    """A resource of the kind that its list is for: ``name`` and ``spec``, or ``file``."""

    name: str = ""
    """Name of the resource."""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    """Its labels."""
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    """Its annotations."""
    spec: Mapping[str, Any] | None = None
    """Its spec, as in a manifest of its own."""
    file: str = ""
    """In place of all others: a file, directory or glob with manifests of the list's kind, below the directory of the
    file that says it."""


@attrs.frozen(kw_only=True)
class SystemSpec:
    """Spec of kind System."""

    agents: tuple[EntrySpec, ...] = ()
    """Agents."""
    tools: tuple[EntrySpec, ...] = ()
    """Tools."""
    workflows: tuple[EntrySpec, ...] = ()
    """Workflows."""
    networks: tuple[EntrySpec, ...] = ()
    """Networks."""
    resources: tuple[Mapping[str, Any], ...] = ()
    """Whole manifests of any namespaced kind."""
    include: tuple[str, ...] = ()
    """Files, directories and globs with manifests of any namespaced kind, below the directory of the file that says
    it."""


_structure_entry = converter().get_structure_hook(EntrySpec)
_KNOWN = ("annotations", "file", "labels", "name", "spec")


def _entry(value: Any, _: Any) -> EntrySpec:
    if isinstance(value, str):
        raise FieldError(
            f"expected an object, found the text {value!r}"[:200], hint="write {file: PATH} or {name, spec}"
        )
    if not isinstance(value, Mapping):
        raise FieldError(f"expected an object with name and spec, found {type_word(value)}")
    for key in ("metadata", "kind", "apiVersion"):
        if key in value:
            hint = "an entry has name, labels, annotations and spec; put whole manifests under spec.resources"
            raise FieldError(f"unknown field {key!r}", path=key, hint=hint)
    strange = [key for key in value if key not in _KNOWN]
    if strange and "spec" not in value:
        hint = f"put it under spec; an entry has {', '.join(_KNOWN)}"
        raise FieldError(f"unknown field {strange[0]!r}", path=str(strange[0]), hint=hint)
    return _structure_entry(value, EntrySpec)  # type: ignore[no-any-return]


converter().register_structure_hook(EntrySpec, _entry)
register_schema(EntrySpec, lambda own, _: own)
