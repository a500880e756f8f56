"""The picture of a System: its resources, and what refers to what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kastra_core.api.graph import Edge, Graph, Node
from kastra_core.api.meta import Resource
from kastra_core.api.references import parse_reference
from kastra_core.errors import InvalidReferenceError
from kastra_plugin_system.rules import embedded
from kastra_plugin_system.spec import LISTS

__all__ = ["graph_of"]

_FIELDS = {**LISTS, **{kind.lower(): kind for kind in LISTS.values()}}
"""Fields of a spec that name other resources -> their kind."""
_ORDER = ("Network", "Workflow", "Agent", "Tool")
"""Who calls is drawn before who is called."""


def graph_of(resource: Resource) -> Graph:
    """Return the picture of a System: a node for each resource in it, and for what they refer to outside of it.

    References are found by the fields that bear a kind's name (``agent``, ``tools`` ...), in any spec.
    """
    namespace = resource.metadata.namespace
    nodes: dict[str, Node] = {}
    specs: list[tuple[str, Any]] = []
    for one in sorted(embedded(resource), key=lambda one: _rank(one.manifest.get("kind"))):
        meta = one.manifest.get("metadata")
        kind, name = str(one.manifest.get("kind")), str(meta.get("name")) if isinstance(meta, Mapping) else ""
        place = _id(kind, namespace, name)
        nodes[place] = Node(id=place, label=name, kind=kind.lower())
        specs.append((place, one.manifest.get("spec")))
    edges: dict[tuple[str, str], Edge] = {}
    for source, spec in specs:
        for kind, space, name in _named(spec, namespace):
            target = _id(kind, space, name)
            if target == source:
                continue
            if target not in nodes:
                label = name if space == namespace else f"{space}/{name}"
                nodes[target] = Node(id=target, label=label, kind=kind.lower(), detail="not of this system")
            edges[(source, target)] = Edge(source=source, target=target)
    if not nodes:
        nodes[":empty"] = Node(id=":empty", label="no resources", shape="rounded")
    return Graph(title=resource.metadata.name, nodes=tuple(nodes.values()), edges=tuple(edges.values()))


def _rank(kind: object) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _id(kind: str, namespace: str, name: str) -> str:
    return f"{kind} {namespace}/{name}"


def _named(value: Any, namespace: str) -> Iterator[tuple[str, str, str]]:
    """(kind, namespace, name) of what a spec refers to."""
    if isinstance(value, list):
        for item in value:
            yield from _named(item, namespace)
        return
    if not isinstance(value, Mapping):
        return
    for field, item in value.items():
        kind = _FIELDS.get(field)
        if kind is not None:
            one = isinstance(item, str) or (isinstance(item, Mapping) and field not in LISTS)
            for entry in [item] if one else item.values() if isinstance(item, Mapping) else item or ():
                yield from _parsed(entry, kind, namespace)
        else:
            yield from _named(item, namespace)


def _parsed(value: Any, kind: str, namespace: str) -> Iterator[tuple[str, str, str]]:
    def lookup(spelling: str) -> tuple[str, str] | None:
        found = _FIELDS.get(spelling.lower())
        return ("mastra.ai", found) if found else None

    try:
        found = parse_reference(value, kind=kind, namespace=namespace, lookup=lookup)
    except InvalidReferenceError:
        return
    yield found.kind, found.namespace, found.name
