"""What all parts of the exporter share: the resources, ids, components, references between resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject
from kastra_core.api.references import parse_reference
from kastra_core.errors import InvalidReferenceError, Problem
from kastra_plugin_agentspec.components import REF

__all__ = ["KINDS", "Book", "Exported", "reference_text"]

KINDS = ("Agent", "Tool", "Workflow", "Network")
"""Kinds that have a form in Agent Spec."""
Key = tuple[str, str, str]


@attrs.define(eq=False)
class Exported:
    """A resource that is exported."""

    manifest: JsonObject
    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        return (self.kind, self.namespace, self.name)

    @property
    def id(self) -> str:
        """Id of its component: follows from what the resource is called."""
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"

    @property
    def label(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def spec(self) -> Mapping[str, Any]:
        held = self.manifest.get("spec")
        return held if isinstance(held, Mapping) else {}

    def base(self, component_type: str) -> JsonObject:
        """What every component of a resource begins with."""
        metadata = self.manifest.get("metadata") or {}
        kept: JsonObject = {"of": self.kind, "name": self.name, "component": self.name}
        if "namespace" in metadata:
            kept["namespace"] = metadata["namespace"]
        description = self.spec.get("description")
        out: JsonObject = {"component_type": component_type, "id": self.id, "name": self.name}
        if isinstance(description, str):
            out["description"] = description
        return {**out, "metadata": {"kastra": kept}}


def reference_text(value: Any) -> str:
    """A reference as one text, for people."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        found = value.get("ref") or value.get("refName") or value.get("name")
        return str(found or "")
    return ""


def lookup(spelling: str) -> tuple[str, str] | None:
    """Kinds by a spelling of them."""
    for kind in KINDS:
        if spelling.lower() in (kind.lower(), f"{kind.lower()}s"):
            return (MAIN_GROUP, kind)
    return None


class Book:
    """One export.

    Args:
        resources: in their order.
        write: makes the component of a resource.
    """

    def __init__(self, resources: Sequence[Exported], write: Callable[[Book, Exported], JsonObject]) -> None:
        self.resources = {one.key: one for one in resources}
        self._write = write
        self.components: dict[str, JsonObject] = {}
        """Id -> component, of all that others refer to."""
        self.uses: dict[str, set[str]] = {}
        """Id -> ids that the component refers to."""
        self.answers: set[Key] = set()
        """Agents whose answers the steps of an exported workflow use."""
        self.problems: list[Problem] = []
        self._open: list[str] = []

    def component(self, one: Exported) -> JsonObject:
        """The component of a resource; written when it is asked for first."""
        if one.id not in self.components:
            self._open.append(one.id)
            self.uses[one.id] = set()
            component = self._write(self, one)
            self.components[one.id] = component
            self._open.pop()
        return self.components[one.id]

    def find(self, value: Any, kind: str, namespace: str, *, kinds: Iterable[str] = ()) -> Exported | None:
        """The resource that a reference names, when it is exported as well.

        Args:
            kind: that the reference means when it names none.
            kinds: only these will do; none: only ``kind``.
        """
        if isinstance(value, Mapping):
            value = {key: item for key, item in value.items() if key not in ("description", "examples")}
        try:
            found = parse_reference(value, kind=kind, namespace=namespace, lookup=lookup, path="spec")
        except InvalidReferenceError:
            return None
        if found.kind not in (tuple(kinds) or (kind,)):
            return None
        return self.resources.get((found.kind, found.namespace or namespace, found.name))

    def refer(self, owner: str, one: Exported) -> JsonObject | None:
        """A reference to the component of a resource; None where that would lead in a circle."""
        if one.id in self._open:
            return None
        self.component(one)
        self.uses.setdefault(owner, set()).add(one.id)
        return {REF: one.id}

    def add(self, owner: str, component: JsonObject) -> JsonObject:
        """Note a component of its own right (a node). Return a reference to it."""
        self.components[component["id"]] = component
        self.uses.setdefault(owner, set()).add(component["id"])
        return {REF: component["id"]}

    def used_by(self, top: str) -> list[str]:
        """Ids of all that a component refers to, at any depth, sorted."""
        found: set[str] = set()
        todo = [top]
        while todo:
            for one in self.uses.get(todo.pop(), ()):
                if one not in found:
                    found.add(one)
                    todo.append(one)
        return sorted(found)
