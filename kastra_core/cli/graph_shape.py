"""A graph made fit to be drawn: what frames hold, where edges lead among siblings, which ones lead back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kastra_core.api.graph import Edge, Graph, Node

__all__ = ["Shape", "back_edges"]


class Shape:
    """A graph whose edges and frames name nodes that are there, each once, and whose frames hold each other in a tree.

    A plugin may offer any graph; what it names and does not have is added as a box of kind "missing".

    Attributes:
        nodes: by id, in the graph's order.
        edges: without those between a frame and what lies in it: the frame itself says that.
        children: ids of the nodes in a frame, "" for those at the top.
        back: indexes of the edges that lead back, to a node that leads to them.
    """

    def __init__(self, graph: Graph) -> None:
        self.title = graph.title
        nodes: dict[str, Node] = {}
        for node in graph.nodes:
            nodes.setdefault(node.id, node)
        for edge in graph.edges:
            for key in (edge.source, edge.target):
                nodes.setdefault(key, Node(id=key, label=key, kind="missing"))
        self.nodes = {key: attrs.evolve(node, group=_group(nodes, node)) for key, node in nodes.items()}
        self.children: dict[str, list[str]] = {"": []}
        for key, node in self.nodes.items():
            self.children.setdefault(node.group, []).append(key)
        self._above: dict[str, tuple[str, ...]] = {}
        self.edges = tuple(edge for edge in graph.edges if not self._within(edge))
        self.out: dict[str, list[int]] = {key: [] for key in self.nodes}
        """Indexes of the edges that leave a node."""
        for index, edge in enumerate(self.edges):
            self.out[edge.source].append(index)
        self.back = self._back()

    def is_frame(self, key: str) -> bool:
        """Whether other nodes lie in it."""
        return key in self.children

    def above(self, key: str) -> tuple[str, ...]:
        """The frames around a node, the outermost first; the node itself is last."""
        found = self._above.get(key)
        if found is None:
            path, at = [key], self.nodes[key].group
            while at:
                path.append(at)
                at = self.nodes[at].group
            found = self._above[key] = tuple(reversed(path))
        return found

    def siblings(self, edge: Edge) -> tuple[str, str, str]:
        """(frame, source, target): the innermost frame that both ends lie in, and what they lie in there."""
        one, other = self.above(edge.source), self.above(edge.target)
        depth = 0
        while depth < min(len(one), len(other)) - 1 and one[depth] == other[depth]:
            depth += 1
        return (one[depth - 1] if depth else "", one[depth], other[depth])

    def _within(self, edge: Edge) -> bool:
        return edge.source != edge.target and (
            edge.source in self.above(edge.target) or edge.target in self.above(edge.source)
        )

    def _back(self) -> frozenset[int]:
        levels: dict[str, list[tuple[str, str, int]]] = {}
        for index, edge in enumerate(self.edges):
            frame, source, target = self.siblings(edge)
            levels.setdefault(frame, []).append((source, target, index))
        found: set[int] = set()
        for frame, edges in levels.items():
            found |= back_edges(self.children[frame], edges)
        return frozenset(found)


def _group(nodes: Mapping[str, Node], node: Node) -> str:
    """The frame of a node; "" when it is not there or lies in the node itself."""
    at = node.group
    seen: set[str] = set()
    while at in nodes and at not in seen:
        if at == node.id:
            return ""
        seen.add(at)
        at = nodes[at].group
    return node.group if node.group in nodes else ""


def back_edges(nodes: Sequence[str], edges: Iterable[tuple[str, str, int]]) -> set[int]:
    """Return the numbers of the edges that close a circle, seen from where the graph begins; the rest has none.

    Args:
        nodes: in the order in which they are looked at; those that no edge leads to come first.
        edges: (source, target, number).
    """
    out: dict[str, list[tuple[str, int]]] = {node: [] for node in nodes}
    entered = set()
    for source, target, number in edges:
        out[source].append((target, number))
        if source != target:
            entered.add(target)
    found: set[int] = set()
    state = dict.fromkeys(nodes, 0)  # 1 = on the way that is being looked at, 2 = done
    for root in (*[node for node in nodes if node not in entered], *nodes):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(out[root]))]
        while stack:
            node, rest = stack[-1]
            for target, number in rest:
                if state[target] == 1:
                    found.add(number)
                elif not state[target]:
                    state[target] = 1
                    stack.append((target, iter(out[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return found
