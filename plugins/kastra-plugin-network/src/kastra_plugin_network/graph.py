"""The picture of a network: the router, the members that it calls, and the way out."""

from __future__ import annotations

from kastra_core.api.graph import Edge, Graph, Node
from kastra_core.api.meta import Resource
from kastra_core.errors import InvalidReferenceError
from kastra_core.serde import typed
from kastra_plugin_network.rules import member_uses, reference_of
from kastra_plugin_network.spec import NetworkSpec

__all__ = ["graph_of"]

_LONGEST = 60
"""Characters of a description."""


def graph_of(resource: Resource) -> Graph:
    """Return the picture of a Network. The members' nodes are named as they are, others have a colon in front.

    Raises: what structuring the spec raises, when it is none of a Network at all.
    """
    spec = typed(resource.spec, NetworkSpec)
    router = spec.router
    how = router.type or "model"
    model = f" {router.model}" if router.model is not None and how != "embedding" else ""
    most = f"at most {router.max_steps} member{'s' if router.max_steps > 1 else ''}"
    nodes = [
        Node(id=":start", label="request", kind="start", shape="rounded"),
        Node(
            id=":router",
            label="router",
            kind=f"{how}{model}",
            shape="diamond",
            detail=most,
        ),
    ]
    edges = [Edge(source=":start", target=":router")]
    drawn: set[str] = set()
    for path, kind, use in member_uses(spec):
        if use.name in drawn:
            continue
        drawn.add(use.name)
        try:
            reference = reference_of(resource, use, kind, path)
        except InvalidReferenceError:
            word, detail = kind.lower(), "no reference"
        else:
            word = reference.kind.lower()
            same = (reference.namespace, reference.name) == (resource.metadata.namespace, use.name)
            detail = "" if same else f"{reference.namespace}/{reference.name}"
        nodes.append(Node(id=use.name, label=use.name, kind=word, detail=detail))
        falls = use.name == router.fallback
        edges.append(Edge(source=":router", target=use.name, label=_cut(use.description)))
        if falls:
            edges.append(Edge(source=":router", target=use.name, label="nobody else fits", style="dashed"))
        edges.append(Edge(source=use.name, target=":router", style="dotted"))
    nodes.append(Node(id=":end", label="answer", kind="end", shape="rounded"))
    worded = "in the router's words" if router.answer == "router" else "done"
    edges.append(Edge(source=":router", target=":end", label=worded))
    return Graph(title=resource.metadata.name, nodes=tuple(nodes), edges=tuple(edges))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
