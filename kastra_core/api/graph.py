"""The picture of a resource as data: nodes, edges, groups. ``kastra graph`` draws it."""

from __future__ import annotations

import attrs

__all__ = ["Edge", "Graph", "Node"]


@attrs.frozen(kw_only=True)
class Node:
    """A box. ``id`` is unique in its graph."""

    id: str
    label: str
    kind: str = ""
    """What it is, in one word that is shown small: agent, tool, branch, start, end ..."""
    shape: str = "box"
    """box, rounded (start and end), diamond (a decision) or hexagon (a wait)."""
    detail: str = ""
    """A second line: what it refers to."""
    group: str = ""
    """Id of the node that it lies in: a step's block; "" = at the top."""


@attrs.frozen(kw_only=True)
class Edge:
    """An arrow from node to node."""

    source: str
    target: str
    label: str = ""
    style: str = "solid"
    """solid, dashed (on failure) or dotted (a reference)."""


@attrs.frozen(kw_only=True)
class Graph:
    """Nodes and edges in the order in which they should be drawn; a node that others name as ``group`` is a frame."""

    title: str = ""
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
