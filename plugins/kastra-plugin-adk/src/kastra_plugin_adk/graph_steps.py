"""A graph of ADK 2 as the steps of a Workflow."""

from __future__ import annotations

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, cel_literal
from kastra_plugin_adk.agents import keys_of, put_description, say_callbacks, say_unknown
from kastra_plugin_adk.composites import published_by, say_input
from kastra_plugin_adk.flows import Flow
from kastra_plugin_adk.format import COMPOSITES, NODE_FIELDS, field
from kastra_plugin_adk.graph_nodes import call_of, say_graph, say_node, step_settings
from kastra_plugin_adk.graphs import DEFAULT, START, Graph, GraphNode
from kastra_plugin_adk.placeholders import Placeholder
from kastra_plugin_adk.project import Project, Unit
from kastra_plugin_adk.sight import Sight, at
from kastra_plugin_adk.tools import ToolShelf

__all__ = ["write_graph"]


@attrs.define(eq=False)
class _Block:
    """A list of steps in the making."""

    start: str
    """Expression of the block's input."""
    stop: str = ""
    """Node at which the block is over."""
    steps: list[JsonObject] = attrs.field(factory=list)
    placed: dict[str, str] = attrs.field(factory=dict)
    """Node -> id of its first step."""
    outputs: dict[str, str] = attrs.field(factory=dict)
    """Node -> expression of its output, also of the nodes around the block."""
    inside: tuple[str, ...] = ()
    """Nodes whose ways were divided around it."""
    entry: str = START
    """Node that it begins with."""
    known: frozenset[str] = frozenset()
    """Keys of the state that may be there when it begins."""


class _Writer:
    def __init__(self, project: Project, shelf: ToolShelf, unit: Unit, graph: Graph) -> None:
        assert unit.main is not None
        self.project, self.shelf, self.unit, self.graph = project, shelf, unit, graph
        self.draft: Draft = unit.main
        self.flow = Flow(project, self.draft)
        self.keys = {name: self._keys(node) for name, node in graph.nodes.items()}
        """Node -> keys that it writes into the state."""
        self.state = frozenset().union(*self.keys.values())
        self.outside: dict[str, bool] = {}
        concurrency = field(unit.node, "max_concurrency").value
        self.most = concurrency if isinstance(concurrency, int) and concurrency > 0 else 0

    def _keys(self, node: GraphNode) -> frozenset[str]:
        unit = node.unit
        if unit is not None and unit.cls in COMPOSITES:
            return frozenset(published_by(unit))
        if unit is not None and unit.cls == "LlmAgent":
            return frozenset({unit.output_key} - {""})
        found = call_of(node, self.project).found
        return frozenset(found.state if found is not None else ())

    # ------------------------------------------------------------------------------------------ the whole

    def write(self) -> None:
        for node in self.graph.nodes.values():
            for wanted in self._wanted(node):
                if wanted.key not in self.state:
                    self.outside[wanted.key] = self.outside.get(wanted.key, True) and wanted.optional
        fields = self._input()
        for key in self.outside:
            self.unit.node["edges"].defaulted(
                f"no node is seen to set {key}: it is a field of the input",
                self.draft.target(f"spec.inputSchema.{key}"),
            )
        block = _Block("workflow.input.request" if fields else "workflow.input")
        starts = self._groups(START)[0]
        if len(starts) > 1:
            self._parallel(START, starts, block)
        elif starts:
            self._go(starts[0], block)
        self._trim(block.steps)
        if not block.steps:
            block.steps.append({"id": "nothing", "set": None})
            told = "there is no node in it, so it does nothing"
            field(self.unit.node, "edges").defaulted(told, self.draft.target("spec.steps"))
        self.draft.spec["steps"] = block.steps

    def _input(self) -> bool:
        """Say what the input has for placeholders that no node fills. Return whether the request is a field of it."""
        schema = self.draft.spec.get("inputSchema")
        if schema is None:
            fields = say_input(self.draft, self.outside.items())
            self.outside = self.outside if fields else {}
            return fields
        held = schema.get("properties") if isinstance(schema, dict) else None
        known = {key: True for key in self.outside if isinstance(held, dict) and key in held}
        lost = [key for key, optional in self.outside.items() if key not in known and not optional]
        self.outside = known
        if lost:
            told = f"no node is seen to set {', '.join(lost)}: say it in what the agents are asked"
            field(self.unit.node, "edges").manual(told, self.draft.target("spec.inputSchema"))
        return False

    def _wanted(self, node: GraphNode) -> list[Placeholder]:
        if node.unit is None:
            return []
        units = [node.unit]
        for unit in units:
            if unit.cls in COMPOSITES:
                units.extend(child.unit for child in unit.children if child.unit not in units)
        return [one for unit in units for one in keys_of(unit)]

    @staticmethod
    def _trim(steps: list[JsonObject]) -> None:
        """Leave out each ``next`` that only names the following step."""
        for index, step in enumerate(steps):
            following = steps[index + 1]["id"] if index + 1 < len(steps) else "END"
            if step.get("next") == following:
                del step["next"]

    # ------------------------------------------------------------------------------------------ ways

    def _groups(self, name: str) -> tuple[list[str], dict[str, list[str]]]:
        """(nodes that always come after one, route -> nodes)."""
        always: list[str] = []
        routes: dict[str, list[str]] = {}
        for edge in self.graph.out_of(name):
            for route in edge.routes:
                routes.setdefault(route, []).append(edge.goal)
            if not edge.routes:
                always.append(edge.goal)
        if list(routes) == [DEFAULT]:
            always += routes.pop(DEFAULT)
        return always, routes

    def _go(self, name: str, block: _Block) -> str:
        """The id of the step that a node begins with in this block; END where the block is over there."""
        if name == block.stop or self.flow.is_full(field(self.unit.node, "edges")):
            return "END"
        if name not in block.placed:
            here = name
            while True:
                last = self._place(here, block)
                always, routes = self._groups(here)
                if routes or len(always) > 1:
                    last["next"] = self._divide(here, block)
                    break
                here = always[0] if always else block.stop
                if not always or here == block.stop or here in block.placed:
                    last["next"] = block.placed[here] if always and here in block.placed else "END"
                    break
        return block.placed[name]

    def _divide(self, name: str, block: _Block) -> str:
        """The step that comes after a node which several ways lead from."""
        always, routes = self._groups(name)
        if not always:
            return self._branch(name, block)
        return self._parallel(name, always, block, routed=bool(routes))

    def _branch(self, name: str, block: _Block) -> str:
        """A step that goes on by the route that a node chose."""
        step_id = self.flow.id(f"{name}_route")
        branch: JsonObject = {"cases": []}
        block.steps.append({"id": step_id, "branch": branch})
        value = self._route_of(name, block)
        for route, names in self._groups(name)[1].items():
            following = self._go(names[0], block) if len(names) == 1 else self._parallel(name, names, block)
            if route == DEFAULT:
                branch["default"] = following
            else:
                branch["cases"].append({"when": f"{value} == {cel_literal(route)}", "next": following})
        branch.setdefault("default", "END")
        return step_id

    def _route_of(self, name: str, block: _Block) -> str:
        """Expression of the route that a node chose: what it answers, or the field route of that."""
        value = block.outputs.get(name, block.start)
        unit = self.graph.nodes[name].unit
        if unit is not None and unit.cls == "LlmAgent":
            told = (
                f"the answer of {name} is the route; ADK takes no route from an answer, but from what a callback says"
            )
            field(self.unit.node, "edges").defaulted(told, self.draft.target("spec.steps"))
            if not any(field(unit.node, key).present for key in ("output_schema", "output_schema_code")):
                return value
        return f'string(type({value}) == map && "route" in {value} ? {value}.route : {value})'

    def _parallel(self, name: str, goals: list[str], block: _Block, *, routed: bool = False) -> str:
        """A step that goes all ways at once, up to the node where they meet and wait for each other."""
        if name in block.inside:
            return self._cannot(name, block)
        join = self._meeting(goals) if not routed else ""
        step_id = self.flow.id(join or f"{name if name != START else 'start'}_all")
        step: JsonObject = {"id": step_id}
        branches: list[JsonObject] = []
        block.steps.append(step)
        for goal in [*goals, ""] if routed else goals:
            inner = _Block(
                block.outputs.get(name, block.start),
                stop=join,
                outputs=dict(block.outputs),
                inside=(*block.inside, name),
                entry=goal or name,
                known=self._known_at(name, block) | self.keys[name],
            )
            if not goal:
                self._branch(name, inner)
            elif goal == join:
                inner.steps.append({"id": self.flow.id(f"{join}_start"), "set": f"{{{{ {inner.start} }}}}"})
            else:
                self._go(goal, inner)
            self._trim(inner.steps)
            title = self._last_before(join, goal) if join and goal != join else goal or f"{name}_route"
            if any(branch["name"] == title for branch in branches):
                title = goal
            branches.append({"name": "__START__" if join and goal == join else title, "steps": inner.steps})
        step["parallel"] = {"branches": branches}
        if self.most:
            step["parallel"]["concurrency"] = self.most
        if join:
            block.placed[join] = step_id
            block.outputs[join] = f"steps.{step_id}.output"
            say_node(self.graph.nodes[join], self.draft, step_id)
            always, routes = self._groups(join)
            if routes or len(always) > 1:
                step["next"] = self._divide(join, block)
            else:
                step["next"] = self._go(always[0], block) if always else "END"
        else:
            step["next"] = "END"
        return step_id

    def _meeting(self, goals: list[str]) -> str:
        """The JoinNode nearest to all of these nodes; "" when there is none."""
        ways = [self.graph.reachable(goal) for goal in goals]
        common = [name for name in ways[0] if all(name in way for way in ways)]
        return next((name for name in common if self.graph.nodes[name].joins), "")

    def _last_before(self, join: str, goal: str) -> str:
        """The node that leads to a join on the way that begins at ``goal``, by which a join names what it got."""
        way = self.graph.reachable(goal, without=join)
        before = [edge.source for edge in self.graph.into(join) if edge.source in way]
        return before[0] if len(before) == 1 else goal

    def _cannot(self, name: str, block: _Block) -> str:
        step_id = self.flow.id(f"{name}_again")
        message = f"the way goes back to {name}, which divides it, from inside one of its branches"
        block.steps.append({"id": step_id, "fail": {"reason": "NotMigrated", "message": message}})
        told = f"{message}: a step cannot lead out of a branch; put what is repeated into a Workflow of its own"
        field(self.unit.node, "edges").manual(told, self.draft.target(f"spec.steps {step_id}"))
        return step_id

    # ------------------------------------------------------------------------------------------ state

    def _next(self, name: str, block: _Block) -> list[tuple[str, frozenset[str]]]:
        """(node that comes after one in the same block, keys that are written on the way)."""
        always, routes = self._groups(name)
        groups = [always] if always else list(routes.values())
        out: list[tuple[str, frozenset[str]]] = []
        for goals in groups:
            if len(goals) == 1 and not (always and routes):
                out.append((goals[0], self.keys[name]))
                continue
            join = "" if always and routes else self._meeting(goals)
            if join:
                within = {one for goal in goals for one in self.graph.reachable(goal, without=join)} - {join}
                out.append((join, self.keys[name].union(*(self.keys[one] for one in within))))
        return [(goal, keys) for goal, keys in out if goal != block.stop]

    def _known_at(self, name: str, block: _Block) -> frozenset[str]:
        """Keys that may be in the state when a node of a block begins."""
        ways: dict[str, list[tuple[str, frozenset[str]]]] = {}
        todo = [block.entry]
        while todo:
            one = todo.pop()
            if one not in ways:
                ways[one] = self._next(one, block)
                todo += [goal for goal, _ in ways[one]]
        leads = {name}
        while more := {one for one, goals in ways.items() if one not in leads and any(g in leads for g, _ in goals)}:
            leads |= more
        written = [keys for goals in ways.values() for goal, keys in goals if goal in leads]
        return block.known.union(*written)

    # ------------------------------------------------------------------------------------------ nodes

    def _place(self, name: str, block: _Block) -> JsonObject:
        """Add the steps of a node. Return the last of them."""
        node = self.graph.nodes[name]
        given = self._given(node, block)
        first = len(block.steps)
        if not given:
            step_id = self.flow.id(f"{name}_input")
            block.steps.append({"id": step_id, "set": "{{ input }}"})
            given = f"steps.{step_id}.output"
        sight = Sight(request=given, maybe=set(self._known_at(name, block)), outside=set(self.outside))
        if node.unit is not None and node.unit.cls in COMPOSITES and node.child is not None:
            outcome = self.flow.child(node.child, block.steps, sight)
            output = outcome.value if outcome is not None else given
            if outcome is None:
                block.steps.append({"id": self.flow.id(name), "set": f"{{{{ {given} }}}}"})
        elif node.joins:
            output = self._alone(node, given, block)
        elif node.unit is not None and node.unit.cls not in ("FunctionNode", "ToolNode") and node.child is not None:
            output = self._agent(node, given, block, sight)
        else:
            output = self._function(node, given, block)
        block.placed[name] = block.steps[first]["id"]
        block.outputs[name] = output
        return block.steps[-1]

    def _given(self, node: GraphNode, block: _Block) -> str:
        """Expression of what a node gets; "" where that depends on the way that led to it."""
        sources = list(dict.fromkeys(edge.source for edge in self.graph.into(node.name)))
        if len(sources) > 1:
            return ""
        return block.outputs.get(sources[0], block.start) if sources else block.start

    def _agent(self, node: GraphNode, given: str, block: _Block, sight: Sight) -> str:
        assert node.child is not None
        assert node.unit is not None
        unit = node.unit
        self.flow.say_reference(node.child)
        step: list[JsonObject] = []
        outcome = self.flow.leaf(node.child, step, sight, alone=True)
        if field(unit.node, "parallel_worker").value is True and unit.cls == "LlmAgent":
            outer = self.flow.id(f"{node.name}_each")
            step[0]["input"] = str(step[0].get("input", "")).replace(f"{{{{ {given} }}}}", "{{ item }}")
            block.steps.append(self._each(outer, given, step, unit))
            return f"steps.{outer}.output"
        step[0] |= step_settings(unit, self.draft, step[0]["id"])
        block.steps.extend(step)
        return outcome.value

    def _each(self, step_id: str, given: str, steps: list[JsonObject], unit: Unit) -> JsonObject:
        most = field(unit.node, "max_parallel_workers").value
        most = most if isinstance(most, int) and most > 0 else 10
        place = self.draft.target(f"spec.steps {step_id}.foreach")
        field(unit.node, "parallel_worker").mapped(place, f"once for each item of a list, {most} at a time")
        if field(unit.node, "max_parallel_workers"):
            field(unit.node, "max_parallel_workers").mapped(f"{place}.concurrency")
        return {"id": step_id, "foreach": {"items": f"{{{{ {given} }}}}", "concurrency": most, "steps": steps}}

    def _function(self, node: GraphNode, given: str, block: _Block) -> str:
        """Add the step that calls a function or a tool, and steps that publish what it puts into the state."""
        call = call_of(node, self.project)
        draft = call.tool(self.shelf)
        self.project.note(call.found, draft.target())
        step_id = self.flow.id(node.name)
        worker = node.unit is not None and field(node.unit.node, "parallel_worker").value is True
        arguments: JsonObject | str = call.arguments(
            "item" if worker else given, self._known_at(node.name, block), self.outside
        )
        step: JsonObject = {"id": step_id, "tool": draft.name, "arguments": arguments}
        if node.unit is not None:
            step |= step_settings(node.unit, self.draft, step_id)
        say_node(node, self.draft, step_id)
        call.say(draft, self.draft, step_id, routes=any(edge.routes for edge in self.graph.out_of(node.name)))
        if worker and node.unit is not None:
            outer = self.flow.id(f"{node.name}_each")
            block.steps.append(self._each(outer, given, [step], node.unit))
            return f"steps.{outer}.output"
        block.steps.append(step)
        output = f"steps.{step_id}.output"
        for key in call.found.state if call.found is not None else ():
            value = f"{{{{ {at(output, key)} }}}}"
            block.steps.append({"id": self.flow.id(f"{step_id}_{key}"), "set": value, "output": {"type": key}})
        if block.steps[-1] is not step:
            block.steps.append({"id": self.flow.id(f"{step_id}_end"), "set": f"{{{{ {output} }}}}"})
        return output

    def _alone(self, node: GraphNode, given: str, block: _Block) -> str:
        """A JoinNode at which no ways meet: it gives what it got by the name of where that is from."""
        sources = [edge.source for edge in self.graph.into(node.name)]
        step_id = self.flow.id(node.name)
        name = "__START__" if sources[:1] == [START] else sources[0] if sources else node.name
        block.steps.append({"id": step_id, "set": {name: f"{{{{ {given} }}}}"}})
        say_node(node, self.draft, step_id)
        return f"steps.{step_id}.output"


def write_graph(project: Project, shelf: ToolShelf, unit: Unit, graph: Graph) -> None:
    """Fill the Workflow of a Workflow of ADK."""
    draft = unit.main
    assert draft is not None
    node = unit.node
    field(node, "agent_class").mapped(draft, "a Workflow is a Workflow")
    field(node, "name").mapped(draft.target("metadata.name"))
    put_description(node, draft)
    say_callbacks(node, draft)
    say_unknown(node, (*NODE_FIELDS, "edges", "max_concurrency"))
    say_graph(project, node, draft)
    _Writer(project, shelf, unit, graph).write()
