"""The ``edges`` of a Workflow of ADK 2 as a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.migration import Node
from kastra_plugin_adk.format import AGENT_FIELDS, field, snake
from kastra_plugin_adk.project import Child, Project, Unit
from kastra_plugin_adk.tools import module_path

__all__ = ["DEFAULT", "START", "Edge", "Graph", "GraphNode", "read_graph"]

START = "START"
DEFAULT = "__DEFAULT__"
"""The route that is taken when no other is."""


@attrs.define(eq=False)
class GraphNode:
    """A node: an agent or a node that is described, or a function of Python that is only named."""

    name: str
    node: Node
    """What names it first."""
    unit: Unit | None = None
    function: str = ""
    """Dotted name, or that of a function which the host registers."""
    child: Child | None = None

    @property
    def joins(self) -> bool:
        """Whether it waits for all that lead to it."""
        return self.unit is not None and self.unit.cls == "JoinNode"


@attrs.frozen(eq=False)
class Edge:
    source: str
    goal: str
    routes: tuple[str, ...]
    """None of them: it is always taken."""
    node: Node
    """What says so."""


@attrs.define
class Graph:
    nodes: dict[str, GraphNode] = attrs.field(factory=dict)
    edges: list[Edge] = attrs.field(factory=list)

    def out_of(self, name: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.source == name]

    def into(self, name: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.goal == name]

    def reachable(self, name: str, without: str = "") -> list[str]:
        """Nodes that ways from a node lead to, itself first, in the order of their distance."""
        seen = {name: None}
        todo = [name]
        while todo:
            one = todo.pop(0)
            if one == without:
                continue
            for edge in self.out_of(one):
                if edge.goal not in seen:
                    seen[edge.goal] = None
                    todo.append(edge.goal)
        return list(seen)


class _Reader:
    def __init__(self, project: Project, unit: Unit) -> None:
        self.project, self.unit = project, unit
        self.graph = Graph()
        self._known: dict[str, GraphNode] = {}
        """By name, path and reference."""

    # ------------------------------------------------------------------------------------------ edges

    def read(self) -> Graph:
        edges = field(self.unit.node, "edges")
        for item in edges.items():
            if item.is_list:
                self._chain(item)
            elif item.is_map and {"from_node", "to_node"} <= {snake(key) for key, _ in item.fields()}:
                self._explicit(item)
            else:
                item.problem(
                    "expected a chain of nodes or {from_node, to_node, route}", "write a list: [START, first, second]"
                )
        self._check(edges)
        return self.graph

    def _explicit(self, item: Node) -> None:
        start = self._nodes(field(item, "from_node"))
        goal = self._nodes(field(item, "to_node"))
        routes = field(item, "route")
        named = tuple(_route(one.value) for one in (routes.items() or [routes]) if one)
        self._join(start, goal, named, item)
        if routes:
            routes.mapped(self._target, whole=True)

    def _chain(self, chain: Node) -> None:
        before: list[GraphNode] | None = None
        after_map = False
        for item in chain.items():
            if item.is_map and not _looks_like_node(item):
                if after_map or before is None:
                    told = "a map of routes follows another one" if after_map else "a chain begins with a map of routes"
                    item.problem(told, "put the node that chooses the route before it")
                    return
                if not item.value:
                    item.problem("the map of routes is empty", "write {route: node}")
                    return
                goals: list[GraphNode] = []
                for route, value in item.fields():
                    found = self._nodes(value)
                    self._join(before, found, (_route(route),), value)
                    goals += found
                before, after_map = goals, True
                continue
            found = self._nodes(item)
            if before is not None:
                self._join(before, found, (), item)
            before, after_map = found, False
        if len(chain.value) < 2:
            chain.problem("a chain needs two nodes or more", "write [START, first]")

    def _join(self, start: list[GraphNode], goal: list[GraphNode], routes: tuple[str, ...], node: Node) -> None:
        for one in start:
            for other in goal:
                same = [edge for edge in self.graph.out_of(one.name) if edge.goal == other.name]
                if any(not edge.routes or not routes or set(edge.routes) & set(routes) for edge in same):
                    node.problem(f"the edge from {one.name} to {other.name} is there twice")
                    continue
                if one.name == START and routes:
                    node.problem("an edge from START has a route", "START chooses nothing: leave the route out")
                if other.name == START:
                    node.problem("an edge leads to START", "name the node after START")
                self.graph.edges.append(Edge(one.name, other.name, routes, node))

    # ------------------------------------------------------------------------------------------ nodes

    def _nodes(self, item: Node) -> list[GraphNode]:
        found = [self._node(one) for one in item.items()] if item.is_list else [self._node(item)]
        return [one for one in found if one is not None]

    def _node(self, item: Node) -> GraphNode | None:
        if item.is_text:
            return self._named(item)
        if not item.is_map:
            item.problem("expected a node: a name, a file, a dotted path or an object that describes one")
            return None
        name = field(item, "name")
        if name.is_text and name.value in self._known:
            if self._known[name.value].function == name.value and len(item.value) > 1:
                item.problem(
                    f"the node {name.value!r} is named by an earlier edge", "put the edge that describes it first"
                )
            name.mapped(self._target, "the node of that name")
            return self._known[name.value]
        if not field(item, "agent_class") and (field(item, "config_path") or item["code"].is_text):
            unit = self.project.reference(item, self.unit, "node")
            where = item.first("config_path", "configPath", "code")
            return self._add(unit, item, where.text())
        unit = self.project.used(self.project.add(item), self.unit, "node")
        return self._add(unit, item)

    def _named(self, item: Node) -> GraphNode | None:
        text = item.text().strip()
        if text == START:
            item.mapped(self._target)
            start = self.graph.nodes.setdefault(START, GraphNode(START, item))
            self._known[START] = start
            return start
        if text in self._known:
            item.mapped(self._target)
            return self._known[text]
        if text.endswith((".yaml", ".yml")):
            return self._add(self.project.reference(item, self.unit, "node"), item, text)
        if not text or not all(part.isidentifier() for part in text.lstrip(".").split(".")):
            item.problem(f"{text!r} is no node: expected START, a name, a file or a dotted path")
            return None
        if "." in text and self._is_agent(text, item):
            return self._add(self.project.used(self.project.by_code(item), self.unit, "node"), item, text)
        name = text.rpartition(".")[2]
        node = GraphNode(name, item, function=text)
        return self._keep(node, text)

    def _is_agent(self, text: str, item: Node) -> bool:
        """Whether a dotted name is an object of Python that describes an agent."""
        found = self.project.python.find(module_path(text, item) if text.startswith(".") else text, item.document)
        found = found or self.project.python.find(text, item.document)
        return found is not None and found.kind == "call"

    def _add(self, unit: Unit | None, item: Node, *names: str) -> GraphNode | None:
        if unit is None:
            return None
        same = self._known.get(unit.name)
        if same is not None and same.unit is unit:
            self._known.update(dict.fromkeys(names, same))
            return same
        return self._keep(GraphNode(unit.name, item, unit=unit, child=Child(item, unit)), *names)

    def _keep(self, node: GraphNode, *names: str) -> GraphNode | None:
        held = self.graph.nodes.get(node.name)
        if held is not None:
            told = f"{node.name!r} is the name of two different nodes"
            node.node.problem(told, "give each a name of its own; one that was named before is named by its name")
            return None
        self.graph.nodes[node.name] = node
        self._known.update({name: node for name in (node.name, *names) if name})
        return node

    @property
    def _target(self) -> str:
        return self.unit.main.target("spec.steps") if self.unit.main is not None else "Workflow spec.steps"

    # ------------------------------------------------------------------------------------------ checks

    def _check(self, edges: Node) -> None:
        if not edges.items():
            return
        if START not in self.graph.nodes:
            edges.problem("no edge begins at START", "write [START, first node]")
            return
        reached = self.graph.reachable(START)
        lost = [name for name in self.graph.nodes if name not in reached]
        if lost:
            self.graph.nodes[lost[0]].node.problem(f"no way leads from START to {', '.join(lost)}", "add an edge to it")
        circle = self._endless()
        if circle:
            edges.problem(
                f"{' -> '.join(circle)} goes round for ever", "give one of these edges a route, so that it can end"
            )

    def _endless(self) -> list[str]:
        """A circle of edges that are always taken; [] when there is none."""
        goals = {name: [edge.goal for edge in self.graph.out_of(name) if not edge.routes] for name in self.graph.nodes}
        left = dict(goals)
        while ends := [name for name, those in left.items() if not any(goal in left for goal in those)]:
            for name in ends:
                del left[name]
        if not left:
            return []
        way = [next(iter(left))]
        while way[-1] not in way[:-1]:
            way.append(next(goal for goal in goals[way[-1]] if goal in left))
        return way[way.index(way[-1]) :]


def read_graph(project: Project, unit: Unit) -> Graph:
    """Return the graph that ``edges`` describe; what is wrong is told to the report."""
    return _Reader(project, unit).read()


def _route(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return DEFAULT if text.lower() in ("default", DEFAULT.lower()) else text


def _looks_like_node(item: Node) -> bool:
    """Whether an object in a chain describes a node, and is no map of routes."""
    value: Mapping[str, Any] = item.value
    keys = {snake(key) for key in value}
    if keys & {"agent_class", "config_path", "func_code", "tool_code"}:
        return True
    if len(value) == 1 and isinstance(value.get("code"), str):
        return True
    names = {*AGENT_FIELDS, "max_iterations"}
    return isinstance(value.get("name"), str) and all(
        re.sub(r"_code$", "", key) in names or key in names for key in keys
    )
