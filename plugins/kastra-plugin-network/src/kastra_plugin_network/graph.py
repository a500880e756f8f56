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
    # Without a type its controller says which one it is.
    how = router.type or str(resource.status.get("router") or "model")
    one = how == "embedding"
    model = f" {router.model}" if router.model is not None and not one else ""
    most = "one member answers" if one else f"at most {router.max_steps} member{'s' if router.max_steps > 1 else ''}"
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
    if one:
        nodes.append(Node(id=":members", label="members"))
        edges.append(Edge(source=":router", target=":members"))
    drawn: set[str] = set()
    worded = "in the router's words" if router.answer == "router" else ""
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
        falls = use.name == router.fallback
        if one:
            # Members stand side by side; none leads to another or back.
            words = (detail, _cut(use.description), "fallback" if falls else "")
            detail = " · ".join(filter(None, words))
            nodes.append(Node(id=use.name, label=use.name, kind=word, detail=detail, group=":members"))
            continue
        nodes.append(Node(id=use.name, label=use.name, kind=word, detail=detail))
        edges.append(Edge(source=":router", target=use.name, label=_cut(use.description)))
        if falls:
            edges.append(Edge(source=":router", target=use.name, label="nobody else fits", style="dashed"))
        edges.append(Edge(source=use.name, target=":router", style="dotted"))
    nodes.append(Node(id=":end", label="answer", kind="end", shape="rounded"))
    edges.append(Edge(source=":members" if one else ":router", target=":end", label=worded or ("" if one else "done")))
    return Graph(title=resource.metadata.name, nodes=tuple(nodes), edges=tuple(edges))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
