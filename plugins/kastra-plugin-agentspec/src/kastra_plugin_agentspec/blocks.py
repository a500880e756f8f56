"""The steps of one flow: ids, values that data edges carry, where each step leads, rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.migration import Draft, Node, cel_literal, cel_member, dns_name
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import (
    Value,
    converted,
    place_of,
    prompt,
    step_output,
    template,
    was_carried_out,
)
from kastra_plugin_agentspec.graph import NEXT, FlowGraph, FlowNode, Source
from kastra_plugin_agentspec.graph_reading import end_branches, read_graph
from kastra_plugin_agentspec.maker import EMPTY, Maker, nothing
from kastra_plugin_agentspec.ports import Port

__all__ = ["BRANCH", "END", "Block", "end_branches_of"]

BRANCH = "branch_name"
"""Field of a workflow's output that says on which branch the flow ended, where it has several."""
END = "END"
_STEP_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_UNCONNECTED = "nothing is connected to it and it has no default: say in {target} what it is"
_DECLARED = "as what the node does declares them"
_EDGE = "which step comes next; the name and the metadata of an edge go nowhere"
_DATA = "what the step is given; the name and the metadata of an edge go nowhere"
_DEAD = "no edge leads here from the start: it would never be carried out"


def end_branches_of(maker: Maker, flow: Component) -> list[str]:
    """Names of the branches on which a flow can end."""
    return end_branches(maker, flow.node) or []


@attrs.define
class _Row:
    node: Node
    step: str
    field: str
    reason: str
    outcome: str
    whole: bool


class Block:
    """The steps of one flow.

    Args:
        starts: what the outputs of the start node are.
        used: ids that other steps of the workflow have.
        part: the flow is the body of a step: its end is the end of the block, not of the workflow.
    """

    def __init__(
        self,
        maker: Maker,
        flow: Component,
        draft: Draft,
        graph: FlowGraph,
        starts: Mapping[str, Value],
        *,
        used: set[str] | None = None,
        part: bool = False,
    ) -> None:
        self.maker, self.flow, self.draft, self.graph = maker, flow, draft, graph
        self.starts, self.part = starts, part
        self.used = used if used is not None else set()
        self.ids: dict[int, str] = {}
        self.values: dict[tuple[int, str], Value] = {}
        """Outputs that are not found in the output of the node's own step."""
        self.done: list[dict[str, Any]] = []
        self.loose: set[str] = set()
        """Outputs of the flow that nothing is connected to."""
        self._first: dict[int, str] = {}
        self._rows: list[_Row] = []
        self._published: dict[tuple[int, str], list[tuple[str, str]]] = {}
        """(node, output) -> names under which steps publish it, and ids of those."""
        self._variables: dict[tuple[int, str], str] = {}
        self._questions: dict[int, str] = {}

    # ------------------------------------------------------------------------------------------------ all of it

    def steps(self) -> list[dict[str, Any]]:
        """Make the steps and write the rows."""
        from kastra_plugin_agentspec.nodes import put_node

        for one in self.graph.order:
            own = not ({"aux", "block"} & one.component.kept.keys())
            if one.type != "StartNode" and own and not (self.part and one.type == "EndNode"):
                self.ids[id(one)] = self.id_for(one.component.name)
        self._find_variables()
        for one in self.graph.order:
            before = len(self.done)
            put_node(self, one)
            if len(self.done) > before:
                self._first[id(one)] = self.done[before]["id"]
        for step in self.done:
            self._link(step)
        for at, step in enumerate(self.done):
            follower = self.done[at + 1]["id"] if at + 1 < len(self.done) else END
            if step.get("next") == follower:
                del step["next"]
        self._edges()
        self._write_rows()
        return self.done

    def _link(self, step: dict[str, Any]) -> None:
        """Put the id of a step in place of a node."""
        for holder in _holders(step):
            target = holder.get("next")
            if isinstance(target, FlowNode):
                holder["next"] = self._first.get(id(target), END)
        held = step.get("branch")
        default = held.get("default") if isinstance(held, dict) else None
        if isinstance(default, FlowNode):
            step["branch"]["default"] = self._first.get(id(default), END)

    def id_for(self, text: str) -> str:
        """An id that no step has yet."""
        plain = text if _STEP_ID.fullmatch(text) and len(text) <= 63 else dns_name(text, "step").replace("-", "_")
        if not plain[0].isalpha():
            plain = f"step_{plain}"
        out, number = plain, 1
        while out in self.used or out == END:
            number += 1
            out = f"{plain}_{number}"
        self.used.add(out)
        return out

    def id_of(self, one: FlowNode) -> str:
        """Id of the step that does what a node does."""
        return self.ids[id(one)]

    def part_steps(self, flow: Component, starts: Mapping[str, Value]) -> list[dict[str, Any]] | None:
        """The steps of a flow that an export made of a block; None where it is none."""
        if not flow.kept.get("part"):
            return None
        graph = read_graph(self.maker, flow, self.draft)
        if graph is None:
            return []
        self.maker.marks(flow, self.draft)
        for field in ("name", "description", "inputs", "outputs"):
            if not nothing(flow.field(field)):
                flow.field(field).dropped("a block of the workflow has none")
        return Block(self.maker, flow, self.draft, graph, starts, used=self.used, part=True).steps()

    def block_of(self, one: FlowNode, prefix: str = "", field: str = "subflow", at: int = -1) -> list[dict[str, Any]]:
        """The steps of a block that an export made a flow of.

        Args:
            one: the node that holds it.
            prefix: of the node's inputs, before the names that the flow gives them.
            field, at: where the node holds it.
        """
        held = one.node[field][at] if at >= 0 else one.node[field]
        flow = self.maker.library.component(held, "Flow")
        if flow is None or flow.missing:
            return []
        own = {port.title: port for port in one.inputs}
        names = flow.kept.get("names")
        named = names if isinstance(names, Mapping) else {}
        starts: dict[str, Value] = {}
        for port in self.maker.ports.of(flow)[0]:
            if port.title in named:
                starts[port.title] = Value(str(named[port.title]))
            elif f"{prefix}{port.title}" in own:
                starts[port.title] = attrs.evolve(self.given(one, own[f"{prefix}{port.title}"]), guard="")
        return self.part_steps(flow, starts) or []

    # ------------------------------------------------------------------------------------------------ one step

    def add(self, one: FlowNode, body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Begin the step of a node: id, name, description, body."""
        step: dict[str, Any] = {"id": self.id_of(one)}
        component = one.component
        if component.name != step["id"]:
            step["name"] = component.name
        description = component.node["description"].value
        if isinstance(description, str) and description:
            step["description"] = description
        step |= {**body, **more}
        self.done.append(step)
        return step

    def further(self, one: FlowNode, suffix: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A further step of a node."""
        step = {"id": self.id_for(f"{self.id_of(one)}_{suffix}"), **body}
        self.done.append(step)
        return step

    def leave(self, one: FlowNode, step: dict[str, Any], branch: str | None = None) -> None:
        """Have a step lead on, by the only branch of a node or the one that is named."""
        step = self.publish(one, step)
        target = one.exits.get(branch) if branch is not None else next(iter(one.exits.values()), None)
        step["next"] = target if target is not None else END

    def choose(self, one: FlowNode, step: dict[str, Any], expression: str, branches: Sequence[str]) -> None:
        """Have a node lead on by the branch that an expression names."""
        self.publish(one, step)
        cases = [
            {"name": branch, "when": f"{expression} == {cel_literal(branch)}", **self.way(one, branch)}
            for branch in branches
        ]
        self.further(one, "way", {"branch": {"cases": cases}})

    def way(self, one: FlowNode, branch: str) -> dict[str, Any]:
        """Where a branch leads: to a step, through a block, or to a failure where no edge is."""
        target = one.exits.get(branch)
        if target is not None and "block" in target.component.kept:
            return {"steps": self.block_of(target)}
        if target is not None:
            return {"next": target}
        told = f"no edge leads on from branch {branch} of {one.component.name}"
        return {"steps": [{"id": self.id_for(f"{self.id_of(one)}_{branch}"), "fail": told}]}

    # ------------------------------------------------------------------------------------------------ values

    def value_of(self, source: Source) -> Value:
        """What an output of a node is, for steps after it."""
        one, port = source.node, source.port
        if one.type == "StartNode":
            return self.starts.get(port.title) or Value(
                cel_member("workflow.input", port.title), schema=dict(port.schema)
            )
        held = self.values.get((id(one), port.title))
        if held is not None:
            return held
        return Value(step_output(self.id_of(one)), schema=dict(port.schema))

    def given(self, one: FlowNode, port: Port) -> Value:
        """What an input of a node is: of several sources the one that was carried out last."""
        key = (id(one), port.title)
        sources = one.sources.get(port.title, ())
        usable = [
            source
            for source in sources
            if source.node.type == "StartNode" or self.graph.may_come_before(source.node, one)
        ]
        usable.sort(key=lambda source: self.graph.position(source.node), reverse=True)
        if key in self._variables:
            name = self._variables[key]
            first = [Value(cel_member("data", name), f"has({cel_member('data', name)})", dict(port.schema))]
            rest = [source for source in usable if source.node.type == "StartNode"]
            return place_of([*first, *(converted(self.value_of(source), port) for source in rest)])
        found: list[Value] = []
        for source in usable:
            value = converted(self.value_of(source), port)
            if source.node.type == "StartNode" or self.graph.always_before(source.node, one):
                found.append(attrs.evolve(value, guard=""))
                break
            found.append(attrs.evolve(value, guard=was_carried_out(self.id_of(source.node))))
        return place_of(found)

    def templates(self, one: FlowNode, rename: Callable[[str], str] = str) -> dict[str, Any]:
        """Input -> template, of all inputs that something is connected to or that have a default."""
        out = {}
        for port in one.inputs:
            value = self.given(one, port)
            if value.text or port.has_default:
                out[rename(port.title)] = template(value, port.default, has_default=port.has_default)
            else:
                self.lacks(one, port)
        return out

    def text(self, one: FlowNode, text: str) -> str:
        """A text with placeholders as a template."""
        values: dict[str, Any] = {}
        for port in one.inputs:
            value = self.given(one, port)
            if value.text:
                guarded = value.guard
                values[port.title] = (
                    f"{guarded} ? {value.text} : {cel_literal(port.default if port.has_default else '')}"
                    if guarded
                    else value.text
                )
            elif port.has_default:
                values[port.title] = cel_literal(port.default)
            else:
                self.lacks(one, port)
        return prompt(text, values)

    def lacks(self, one: FlowNode, port: Port) -> None:
        """The row of an input that gets nothing."""
        node = port.node if port.node is not None else one.node
        told = _UNCONNECTED.format(target=f"step {self.ids.get(id(one), '')}")
        node.manual(f"{port.title}: {told}", self.draft.target("spec.steps"))

    # ------------------------------------------------------------------------------- several sources within a loop

    def _find_variables(self) -> None:
        """Inputs with sources that come after each other by turns: who was last is known by what was published last."""
        for one in self.graph.order:
            for port in one.inputs:
                sources = [s for s in one.sources.get(port.title, ()) if self.graph.position(s.node) > 0]
                turns = any(
                    self.graph.in_one_loop(left.node, right.node)
                    for at, left in enumerate(sources)
                    for right in sources[at + 1 :]
                    if left.node is not right.node
                )
                if turns:
                    name = self.id_for(f"{self.id_of(one) if id(one) in self.ids else 'end'}_{port.title}")
                    name = re.sub(r"\W", "_", name, flags=re.ASCII)
                    self._variables[id(one), port.title] = name
                    for source in sources:
                        held = self._published.setdefault((id(source.node), ""), [])
                        held.append((name, source.port.title))

    def publish(self, one: FlowNode, step: dict[str, Any]) -> dict[str, Any]:
        for name, title in self._published.get((id(one), ""), ()):
            port = next(port for port in one.outputs if port.title == title)
            value = self.value_of(Source(one, port, None))
            step = self.further(one, f"to_{name}", {"set": f"{{{{ {value.text} }}}}", "output": {"type": name}})
        return step

    def question_of(self, one: FlowNode) -> str:
        """The name under which the steps before a node publish what it asks."""
        if id(one) not in self._questions:
            name = self.id_for(f"{self.id_of(one)}_question")
            self._questions[id(one)] = re.sub(r"\W", "_", name, flags=re.ASCII)
        return self._questions[id(one)]

    def publishes(self, one: FlowNode) -> bool:
        """Whether further steps publish what a node gives."""
        return (id(one), "") in self._published

    # ------------------------------------------------------------------------------------------------ rows

    def say(
        self, node: Node, one: FlowNode, field: str, reason: str = "", *, outcome: str = "mapped", whole: bool = True
    ) -> None:
        """Write a row later, when the place of the step is known."""
        if node.present:
            self._rows.append(_Row(node, self.ids.get(id(one), ""), field, reason, outcome, whole))

    def common(self, one: FlowNode, *fields: str) -> None:
        """Rows for what every node has; ``fields`` are those that follow from others."""
        component = one.component
        self.maker.marks(component, self.draft)
        self.say(component.node["name"], one, "id")
        description = component.node["description"]
        if not nothing(description):
            self.say(description, one, "description")
        for field in ("inputs", "outputs", "branches", *fields):
            listed = component.field(field)
            if field == "branches" and listed.value == [NEXT]:
                listed.defaulted(EMPTY)
                continue
            if nothing(listed):
                continue
            listed.dropped(_DECLARED if field != "branches" else "follow from the edges")
            if field == "inputs":
                for port in one.inputs:
                    if port.node is not None and port.has_default and self._default_counts(one, port):
                        self.say(port.node["default"], one, "input", "where nothing else is given")

    def _default_counts(self, one: FlowNode, port: Port) -> bool:
        value = self.given(one, port)
        return bool(value.guard) or not value.text

    def _write_rows(self) -> None:
        at = {step["id"]: index for index, step in enumerate(self.done)}
        for row in self._rows:
            place = f"spec.steps[{at[row.step]}]" if row.step in at else "spec.steps"
            target = self.draft.target(f"{place}.{row.field}" if row.field else place)
            if row.outcome == "mapped":
                row.node.mapped(target, row.reason, whole=row.whole)
            elif row.outcome == "manual":
                row.node.manual(row.reason, target)
            else:
                row.node.dropped(row.reason, target)

    def _edges(self) -> None:
        """Rows for the lists of nodes and edges."""
        node, library = self.flow.node, self.maker.library
        if not node:
            return
        for field in ("start_node", "nodes"):
            items = [node[field]] if field == "start_node" else node[field].items()
            for item in items:
                found = library.component(item, "node")
                one = next((n for n in self.graph.nodes if found and n.component.place == found.place), None)
                if one is None or found is None:
                    continue
                if found.node.path != item.path:
                    self.say(item, one, "")
                if self.graph.position(one) < 0:
                    found.node.dropped(_DEAD)
        for field, reason, end in (
            ("control_flow_connections", _EDGE, "from_node"),
            ("data_flow_connections", _DATA, "destination_node"),
        ):
            if nothing(node[field]):
                continue
            for item in node[field].items():
                edge = library.component(item, "edge", "edge")
                found = library.component(edge.node[end], "node") if edge else None
                one = next((n for n in self.graph.nodes if found and n.component.place == found.place), None)
                if edge is None or one is None or any(left.path == edge.node.path for left in self.graph.left_out):
                    if edge is not None and edge.node.path != item.path:
                        item.dropped("the edge is left out")
                    continue
                if self.graph.position(one) < 0:
                    edge.node.dropped(_DEAD)
                else:
                    self.say(edge.node, one, "next" if end == "from_node" else "input", reason)
                if edge.node.path != item.path:
                    self.say(item, one, "", reason)
        self.maker.quiet(self.flow, "state", reason="a workflow keeps no state of its own")


def _holders(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a step that have a ``next``."""
    out = [step]
    if isinstance(step.get("onFailure"), dict):
        out.append(step["onFailure"])
    branch = step.get("branch")
    if isinstance(branch, dict):
        out += [case for case in branch.get("cases", ()) if isinstance(case, dict)]
    return out
