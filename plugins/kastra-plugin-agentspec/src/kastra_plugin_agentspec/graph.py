"""A Flow as a graph: its nodes, the edges of both kinds, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kastra_core.migration import Node
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.ports import Port

__all__ = ["CAUGHT_BRANCH", "DEFAULT", "NEXT", "FlowGraph", "FlowNode", "Source"]

NEXT = "next"
"""Branch of nodes that have only one."""
DEFAULT = "default"
"""Branch of a BranchingNode for values that its mapping has not."""
CAUGHT_BRANCH = "caught_exception_branch"


@attrs.define(eq=False)
class FlowNode:
    """A node with what leads on from it."""

    component: Component
    inputs: list[Port]
    outputs: list[Port]
    exits: dict[str, FlowNode] = attrs.field(factory=dict)
    """Branch -> node that comes next."""
    edges: dict[str, Node] = attrs.field(factory=dict)
    """Branch -> the edge."""
    sources: dict[str, list[Source]] = attrs.field(factory=dict)
    """Input -> outputs that are connected to it."""

    @property
    def type(self) -> str:
        return self.component.type

    @property
    def node(self) -> Node:
        return self.component.node


@attrs.frozen(eq=False)
class Source:
    """An output that is connected to an input."""

    node: FlowNode
    port: Port
    edge: Node | None


class FlowGraph:
    """The nodes that can be reached, in an order in which each comes after what leads to it, loops aside."""

    def __init__(self, start: FlowNode, nodes: Sequence[FlowNode]) -> None:
        self.start = start
        self.left_out: list[Node] = []
        """Edges that nothing is made of."""
        self.nodes = list(nodes)
        """All nodes, as they are listed."""
        self.order = _reverse_postorder(start)
        self._at = {id(node): at for at, node in enumerate(self.order)}
        self._dominators = self._find_dominators()
        self._reach = {id(node): _reached(node) for node in self.order}

    def position(self, node: FlowNode) -> int:
        """Place in the order; -1 of a node that is never reached."""
        return self._at.get(id(node), -1)

    def always_before(self, first: FlowNode, second: FlowNode) -> bool:
        """Whether every way to ``second`` leads over ``first``."""
        return first is not second and self.position(first) in self._dominators.get(self.position(second), ())

    def may_come_before(self, first: FlowNode, second: FlowNode) -> bool:
        """Whether ``second`` can be carried out after ``first``."""
        return id(second) in self._reach.get(id(first), ())

    def in_one_loop(self, first: FlowNode, second: FlowNode) -> bool:
        """Whether each can be carried out after the other."""
        return self.may_come_before(first, second) and self.may_come_before(second, first)

    def _find_dominators(self) -> dict[int, frozenset[int]]:
        before: dict[int, list[int]] = {at: [] for at in range(len(self.order))}
        for at, node in enumerate(self.order):
            for follower in node.exits.values():
                before[self._at[id(follower)]].append(at)
        everything = frozenset(before)
        found = {at: everything if at else frozenset({0}) for at in before}
        changed = True
        while changed:
            changed = False
            for at in range(1, len(self.order)):
                common = frozenset.intersection(*(found[one] for one in before[at])) | {at}
                if common != found[at]:
                    found[at], changed = common, True
        return found


def _reverse_postorder(start: FlowNode) -> list[FlowNode]:
    out: list[FlowNode] = []
    seen = {id(start)}
    stack: list[tuple[FlowNode, list[FlowNode]]] = [(start, list(start.exits.values()))]
    while stack:
        node, left = stack[-1]
        # From the last branch to the first, so that the first comes right after its node.
        follower = left.pop() if left else None
        if follower is None:
            out.append(node)
            stack.pop()
        elif id(follower) not in seen:
            seen.add(id(follower))
            stack.append((follower, list(follower.exits.values())))
    return out[::-1]


def _reached(node: FlowNode) -> frozenset[int]:
    found: set[int] = set()
    todo = list(node.exits.values())
    while todo:
        one = todo.pop()
        if id(one) not in found:
            found.add(id(one))
            todo.extend(one.exits.values())
    return frozenset(found)
