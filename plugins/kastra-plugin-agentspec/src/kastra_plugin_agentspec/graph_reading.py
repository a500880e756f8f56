"""Reading the graph of a Flow: nodes, edges of both kinds, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kastra_core.migration import Draft, Node
from kastra_core.serde import type_word
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.graph import CAUGHT_BRANCH, DEFAULT, NEXT, FlowGraph, FlowNode, Source
from kastra_plugin_agentspec.maker import Maker
from kastra_plugin_agentspec.ports import Port
from kastra_plugin_agentspec.vocabulary import NODES

__all__ = ["end_branches", "read_graph"]


def read_graph(maker: Maker, flow: Component, draft: Draft) -> FlowGraph | None:
    """The graph of a Flow; None, with problems, where it is none.

    Args:
        draft: what is made of the flow, for rows.
    """
    return _Reader(maker, flow, draft).read()


class _Reader:
    def __init__(self, maker: Maker, flow: Component, draft: Draft) -> None:
        self.maker, self.flow, self.draft = maker, flow, draft
        self.nodes: list[FlowNode] = []
        self.left_out: list[Node] = []
        self._forks: list[tuple[FlowNode, str, FlowNode, Node]] = []
        self._by_place: dict[Any, FlowNode] = {}

    def read(self) -> FlowGraph | None:
        node = self.flow.node
        before = self.maker.failures
        for field in ("start_node", "nodes", "control_flow_connections"):
            if not node[field]:
                node.problem(f"{self.flow} lacks {field}")
        for item in self._listed("nodes"):
            found = self.maker.library.component(item, "node")
            if found is not None:
                self._add(found)
        start = self._start(node["start_node"])
        for item in self._listed("control_flow_connections"):
            self._control(item)
        self._choose()
        self._contract()
        listed = node["data_flow_connections"]
        for item in self._listed("data_flow_connections"):
            self._data(item)
        if listed.value is None:
            self._by_name()
        if start is None or self.maker.failures > before:
            return None
        self._check(start)
        if self.maker.failures > before:
            return None
        graph = FlowGraph(start, self.nodes)
        graph.left_out = self.left_out
        return graph

    def _listed(self, field: str) -> list[Node]:
        self.flow.node[field].list()
        return self.flow.node[field].items()

    def _add(self, found: Component) -> FlowNode:
        if found.place not in self._by_place:
            inputs, outputs = self.maker.ports.of(found) if not found.missing else ([], [])
            self._by_place[found.place] = FlowNode(component=found, inputs=list(inputs), outputs=list(outputs))
            self.nodes.append(self._by_place[found.place])
        return self._by_place[found.place]

    def _start(self, node: Node) -> FlowNode | None:
        found = self.maker.library.component(node, "StartNode") if node else None
        if found is None:
            return None
        starts = [one for one in self.nodes if one.type == "StartNode"]
        if found.type != "StartNode":
            node.problem(f"expected a StartNode, found {found}")
            return None
        if len(starts) != 1 or starts[0].component.place != found.place:
            names = ", ".join(repr(one.component.name) for one in starts) or "none"
            self.flow.node["nodes"].problem(f"nodes must hold the start node and no other one, found {names}")
            return None
        return starts[0]

    def _end(self, edge: Component, field: str) -> FlowNode | None:
        """The node at one end of an edge."""
        node = edge.node[field]
        if not node:
            edge.node.problem(f"{edge} lacks {field}")
            return None
        found = self.maker.library.component(node, "node")
        if found is None:
            return None
        if found.missing:
            # A node that is in another file: the same id is the same node.
            same = next((one for one in self.nodes if one.component.missing and one.component.id == found.id), None)
            return same if same is not None else self._add(found)
        known = self._by_place.get(found.place)
        if known is None:
            node.problem(f"the node {found.name!r} is not among the nodes of the flow")
        return known

    def _edge(self, item: Node, kind: str) -> Component | None:
        edge = self.maker.library.component(item, kind, kind)
        if edge is None:
            return None
        if edge.missing:
            item.problem(f"the edge {edge.id!r} is not in these files: without it the order of the nodes is unknown")
            return None
        if edge.type != kind:
            edge.node.problem(f"expected a {kind}, found {edge}")
            return None
        return edge

    def _control(self, item: Node) -> None:
        edge = self._edge(item, "ControlFlowEdge")
        if edge is None:
            return
        giver, taker = self._end(edge, "from_node"), self._end(edge, "to_node")
        if giver is None or taker is None:
            return
        if giver.type == "EndNode":
            edge.node["from_node"].problem(f"no edge leads on from an EndNode ({giver.component.name!r})")
            return
        if taker.type == "StartNode":
            edge.node["to_node"].problem(f"no edge leads to the StartNode ({taker.component.name!r})")
            return
        branch = self._branch(edge, giver)
        if branch is None:
            return
        if branch in giver.exits and giver.exits[branch] is not taker:
            self._forks.append((giver, branch, taker, edge.node))
            return
        giver.exits[branch], giver.edges[branch] = taker, edge.node

    def _choose(self) -> None:
        """Of two edges from one branch, which runtimes read in different ways, keep one that leads to an end."""
        for giver, branch, taker, edge in self._forks:
            left_out = edge
            if not _ends(giver.exits[branch]) and _ends(taker):
                left_out = giver.edges[branch]
                giver.exits[branch], giver.edges[branch] = taker, edge
            told = f"a second edge from the branch {branch!r} of {giver.component.name!r}, which leads to one node"
            left_out.manual(f"{told}: left out; what is to run side by side belongs into parallel", self.draft)
            self.left_out.append(left_out)

    def _contract(self) -> None:
        """Lead past the nodes that an export added for other runtimes."""
        for one in self.nodes:
            if "aux" not in one.component.kept:
                one.exits = {branch: _past(one, target) for branch, target in one.exits.items()}

    def _branch(self, edge: Component, giver: FlowNode) -> str | None:
        named = edge.node["from_branch"]
        known = self.branches(giver)
        if named:
            if not named.is_text:
                named.problem(f"expected the name of a branch, found {type_word(named.value)}")
                return None
            if known is None or named.value in known:
                return str(named.value)
            # Files are about that name the value of a BranchingNode in place of the branch that it leads to.
            meant = giver.node["mapping"][str(named.value)]
            if giver.type == "BranchingNode" and meant.is_text:
                return meant.text()
            told = f"{giver.component} has no branch {named.value!r}; it has: {', '.join(known)}"
            named.problem(told)
            return None
        if giver.type == "BranchingNode":
            return DEFAULT
        if known is not None and NEXT not in known and len(known) == 1:
            return known[0]
        return NEXT

    def branches(self, one: FlowNode) -> list[str] | None:
        """Names of the branches of a node; None when any will do."""
        node = one.node
        if one.component.missing:
            return None
        given = node["branches"].value
        listed = [text for text in given if isinstance(text, str)] if isinstance(given, list) else []
        if one.type == "BranchingNode":
            mapping = node["mapping"].value
            values = mapping.values() if isinstance(mapping, dict) else ()
            return list(dict.fromkeys([*(str(value) for value in values), DEFAULT]))
        if one.type in ("FlowNode", "CatchExceptionNode"):
            ends = end_branches(self.maker, node["subflow"])
            if ends is None:
                return None
            return [*ends, CAUGHT_BRANCH] if one.type == "CatchExceptionNode" else ends
        return listed or None if one.type == "AgentNode" else None

    def _data(self, item: Node) -> None:
        edge = self._edge(item, "DataFlowEdge")
        if edge is None:
            return
        giver, taker = self._end(edge, "source_node"), self._end(edge, "destination_node")
        if giver is None or taker is None:
            return
        output = _named(edge.node["source_output"], giver, giver.outputs, "output")
        wanted = _named(edge.node["destination_input"], taker, taker.inputs, "input")
        if output is not None and wanted is not None:
            if not _fits(output.schema, wanted.schema):
                have, want = (port.schema.get("type") for port in (output, wanted))
                told = f"{output.title!r} of {giver.component.name!r} ({have}) does not fit {wanted.title!r} of"
                told = f"left out: {told} {taker.component.name!r} ({want})"
                edge.node.manual(told, self.draft.target("spec.steps"))
                self.left_out.append(edge.node)
                return
            taker.sources.setdefault(wanted.title, []).append(Source(giver, output, edge.node))

    def _by_name(self) -> None:
        """Without data edges outputs go to inputs of the same name."""
        for taker in self.nodes:
            for wanted in taker.inputs if taker.type != "StartNode" else ():
                for giver in self.nodes:
                    output = next((port for port in giver.outputs if port.title == wanted.title), None)
                    if output is not None and giver.type != "EndNode":
                        taker.sources.setdefault(wanted.title, []).append(Source(giver, output, None))

    def _check(self, start: FlowNode) -> None:
        if len(start.exits) != 1:
            self.flow.node["control_flow_connections"].problem("one edge must lead on from the StartNode, found none")
        ends = [one for one in self.nodes if one.type == "EndNode"]
        if not ends and not any(one.component.missing for one in self.nodes):
            self.flow.node["nodes"].problem("a flow needs an EndNode")
        reached = {id(to) for one in self.nodes for to in one.exits.values()}
        for one in ends:
            if id(one) not in reached:
                one.node.problem(f"no edge leads to the EndNode {one.component.name!r}")
        self._check_outputs(ends)

    def _check_outputs(self, ends: Iterable[FlowNode]) -> None:
        _, outputs = self.maker.ports.of(self.flow)
        for port in outputs:
            lacking = [one for one in ends if not any(own.title == port.title for own in one.outputs)]
            if lacking and not port.has_default and port.node is not None:
                end = lacking[0].component.name
                told = f"the output {port.title!r} has no default, and the EndNode {end!r} has it not"
                port.node.problem(told)


def end_branches(maker: Maker, node: Node) -> list[str] | None:
    """Names of the branches on which a flow can end, sorted; None when that is not known."""
    flow = maker.library.component(node, "Flow") if node else None
    if flow is None or flow.missing or flow.type != "Flow":
        return None
    names = set()
    for item in flow.node["nodes"].items():
        found = maker.library.component(item, "node")
        if found is not None and found.type == "EndNode":
            given = found.node["branch_name"]
            names.add(given.text() if given else NEXT)
    return sorted(names) or [NEXT]


def _past(giver: FlowNode, taker: FlowNode) -> FlowNode:
    """The first node of a resource's own, from a node on."""
    seen: set[int] = set()
    while "aux" in taker.component.kept and taker.exits and id(taker) not in seen:
        seen.add(id(taker))
        back = taker.exits.get("again")
        if back is not None and giver.component.name != taker.component.kept["aux"]:
            taker = back
        else:
            taker = taker.exits.get(DEFAULT) or next(iter(taker.exits.values()))
    return taker


def _ends(one: FlowNode) -> bool:
    """Whether an EndNode can be reached."""
    seen: set[int] = set()
    todo = [one]
    while todo:
        node = todo.pop()
        if node.type == "EndNode":
            return True
        if id(node) not in seen:
            seen.add(id(node))
            todo.extend(node.exits.values())
    return False


def _fits(have: Any, want: Any) -> bool:
    """Whether a value of one schema can be used where another is wanted; True where that is not plain."""
    left, right = (one.get("type") if isinstance(one, dict) else None for one in (have, want))
    if not isinstance(left, str) or not isinstance(right, str) or right == "string":
        return True
    numbers = ("boolean", "integer", "number")
    if left in numbers and right in numbers:
        return True
    if left == right == "array":
        return _fits(have.get("items", {}), want.get("items", {}))
    return left == right


def _named(node: Node, one: FlowNode, ports: Sequence[Port], word: str) -> Port | None:
    """The port that an end of a data edge names."""
    if not node.is_text:
        node.problem(f"expected the name of an {word}, found {type_word(node.value)}")
        return None
    found = next((port for port in ports if port.title == node.value), None)
    if found is not None:
        return found
    if one.component.missing or _is_open(one.component):
        made = Port(title=str(node.value), schema={})
        (one.inputs if word == "input" else one.outputs).append(made)
        return made
    names = ", ".join(repr(port.title) for port in ports) or "none"
    node.problem(f"{one.component} has no {word} {node.value!r}; it has: {names}")
    return None


def _is_open(component: Component) -> bool:
    """Whether nobody knows the ports of a node: its type is of a plug-in, or it wraps something that is missing."""
    return component.type not in NODES or (
        component.type == "CatchExceptionNode" and component.node["outputs"].value is None
    )
