"""Workflows as Flow: a node for each step, edges for what comes next and for what plain paths carry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem
from kastra_plugin_agentspec.components import REF
from kastra_plugin_agentspec.export_book import Book, Exported
from kastra_plugin_agentspec.export_schema import RESULT, is_title, properties_of
from kastra_plugin_agentspec.export_values import Place, place_of_text, texts_in, whole_expression
from kastra_plugin_agentspec.ports import CAUGHT

__all__ = ["FlowWriter", "write_workflow"]

END = "END"
BODIES = (
    *("agent", "tool", "workflow", "network", "operation", "set", "branch", "parallel", "foreach", "loop", "sleep"),
    *("waitForEvent", "suspend", "succeed", "fail"),
)


def write_workflow(book: Book, one: Exported) -> JsonObject:
    """The component of a Workflow."""
    spec = one.spec
    steps = [step for step in spec.get("steps") or () if isinstance(step, Mapping) and isinstance(step.get("id"), str)]
    writer = FlowWriter(book, one, one.id, steps, properties_of(spec.get("inputSchema")), one.id)
    first = spec.get("initialStep") or (steps[0]["id"] if steps else END)
    writer.write(first, spec.get("output"), properties_of(spec.get("outputSchema")) or [{"title": RESULT}])
    if not writer.ends:
        told = "no way through the steps comes to an end, and a flow of Agent Spec must have one"
        book.problems.append(Problem(told, "spec.steps", resource=one.label))
    out = one.base("Flow")
    return {**out, **writer.fields()}


class FlowWriter:
    """One flow: of a workflow, or of a block within one.

    Args:
        ident: id of the flow; those of its nodes begin with it.
        inputs: of the flow; more are added when templates name them.
        owner: id of the resource's component, which refers to all nodes.
        outer: the flow around a block.
    """

    def __init__(
        self,
        book: Book,
        one: Exported,
        ident: str,
        steps: Sequence[Mapping[str, Any]],
        inputs: list[JsonObject],
        owner: str,
        outer: FlowWriter | None = None,
    ) -> None:
        self.book, self.one, self.ident, self.owner, self.outer = book, one, ident, owner, outer
        self.steps = {step["id"]: step for step in steps}
        self.order = list(self.steps)
        self.inputs = inputs
        self.needs: dict[str, str] = {}
        """Input of a block -> expression of the flow around it."""
        self.nodes: dict[str, JsonObject] = {}
        self.step_nodes: dict[str, JsonObject] = {}
        """Step -> the node whose outputs are the step's."""
        self.entries: dict[str, str] = {}
        """Step -> id of the node that an edge to it leads to."""
        self.ends: list[JsonObject] = []
        self.links: list[tuple[str, str | None, str]] = []
        """(node, branch, step or END)."""
        self.wires: list[tuple[str, str, str, str]] = []
        """(source node, output, node, input)."""
        self._later: list[tuple[JsonObject, str, Any]] = []
        """(node, input, template) that is to be connected when all nodes are there."""
        self.outputs: list[JsonObject] = []
        self.start = self.add("StartNode", "start", taken=self.order)

    # ------------------------------------------------------------------------------------------------ building

    def add(self, kind: str, name: str, *, taken: Sequence[str] = (), **fields: Any) -> JsonObject:
        """Begin a node."""
        ident = f"{self.ident}/{name}"
        number = 1
        while ident in self.nodes or (taken and name in taken and number == 1):
            number += 1
            ident = f"{self.ident}/{name}-{number}"
        shown = ident.removeprefix(f"{self.ident}/")
        node: JsonObject = {"component_type": kind, "id": ident, "name": shown, "metadata": {}, **fields}
        node.setdefault("inputs", [])
        node.setdefault("outputs", [])
        self.nodes[ident] = node
        return node

    def follower(self, step: Mapping[str, Any]) -> str:
        """The step that comes after one, END where the block is over."""
        if isinstance(step.get("next"), str) and step["next"]:
            return str(step["next"]) if step["next"] in self.steps else END
        at = self.order.index(step["id"])
        return self.order[at + 1] if at + 1 < len(self.order) else END

    def wire(self, node: JsonObject, title: str, template: Any) -> None:
        """Connect an input with what a template names, when all nodes are there."""
        self._later.append((node, title, template))

    def write(self, first: str, result: Any, outputs: list[JsonObject]) -> None:
        """Write all nodes that can be reached, and the edges."""
        from kastra_plugin_agentspec.export_nodes import write_step

        self.outputs = outputs
        self.links.append((self.start["id"], None, first))
        todo, done = [first], set()
        while todo:
            name = todo.pop(0)
            if name == END or name in done or name not in self.steps:
                continue
            done.add(name)
            before = len(self.links)
            write_step(self, self.steps[name])
            todo += [target for _, _, target in self.links[before:]]
        if any(target == END or target not in self.entries for _, _, target in self.links):
            self._close(result)
        for node, title, template in self._later:
            self._connect(node, title, template)
        self._settle_ends()

    def _close(self, result: Any) -> None:
        """The end of the block."""
        end = self.add("EndNode", "end", taken=self.order, branch_name="next")
        end["metadata"] = {"kastra": {"aux": "end"}}
        self.ends.append(end)
        self.entries[END] = end["id"]
        titles = [port["title"] for port in self.outputs]
        if isinstance(result, Mapping):
            for title in titles:
                if title in result:
                    self.wire(end, title, result[title])
        elif result is not None:
            self.wire(end, titles[0], result)
        elif len(titles) == 1:
            last = [node for node, _, target in self.links if target == END or target not in self.entries]
            for source in last:
                outputs = self.nodes[source]["outputs"]
                if len(outputs) == 1 and self.nodes[source]["component_type"] != "StartNode":
                    self.wires.append((source, outputs[0]["title"], end["id"], titles[0]))

    def _settle_ends(self) -> None:
        """Outputs of the flow, the same at each end. One that gets something of another type has none."""
        self.start["inputs"] = [dict(port) for port in self.inputs]
        self.start["outputs"] = [dict(port) for port in self.inputs]
        loose = set()
        for source, output, node, title in self.wires:
            if any(node == end["id"] for end in self.ends):
                have = next(port for port in self.nodes[source]["outputs"] if port["title"] == output)
                want = next((port for port in self.outputs if port["title"] == title), {})
                if not _castable(have, want):
                    loose.add(title)
        self.outputs = [{"title": port["title"]} if port["title"] in loose else port for port in self.outputs]
        for end in self.ends:
            end["inputs"] = [dict(port) for port in self.outputs]
            end["outputs"] = [dict(port) for port in self.outputs]

    # ------------------------------------------------------------------------------------------------ values

    def _connect(self, node: JsonObject, title: str, template: Any) -> None:
        """A data edge for a template that is a plain path, a default for one that is plain data."""
        text = whole_expression(template)
        if text is not None:
            source = self.source(text)
            if source is not None:
                self.wires.append((*source, node["id"], title))
                return
        elif node["component_type"] != "EndNode" and _is_data(template):
            for port in node["inputs"]:
                if port["title"] == title:
                    port["default"] = template

    def source(self, text: str) -> tuple[str, str] | None:
        """(node, output) of what a plain path names; None where no edge can carry it."""
        place = place_of_text(text)
        if place is None:
            return None
        if place.root == "step" and place.step in self.step_nodes:
            return _output(self.step_nodes[place.step], place)
        if self.outer is not None:
            return self._need(place, text)
        return self._input(place) if place.root == "input" else None

    def _input(self, place: Place) -> tuple[str, str] | None:
        title = place.field or ("" if self.inputs else "input")
        if not is_title(title):
            return None
        if all(port["title"] != title for port in self.inputs):
            self.inputs.append({"title": title})
            self.start["outputs"] = [dict(port) for port in self.inputs]
        return self.start["id"], title

    def _need(self, place: Place, text: str) -> tuple[str, str]:
        """Have the flow around a block hand something in."""
        for title, held in self.needs.items():
            if held == text:
                return self.start["id"], title
        plain = re.sub(r"\W+", "_", place.field or place.step or place.root).strip("_") or "value"
        title, number = plain, 1
        while any(port["title"] == title for port in self.inputs):
            number += 1
            title = f"{plain}_{number}"
        self.needs[title] = text
        self.inputs.append({"title": title})
        return self.start["id"], title

    # ------------------------------------------------------------------------------------------------ edges, fields

    def fields(self) -> JsonObject:
        """The fields of the flow; its nodes are noted in the book."""
        nodes = [self.book.add(self.owner, node) for node in self.nodes.values()]
        control = [
            self._control(at, node, branch, self.entries.get(target, self.entries.get(END, "")))
            for at, (node, branch, target) in enumerate(self.links)
        ]
        data = [self._data(at, *wire) for at, wire in enumerate(dict.fromkeys(self.wires))]
        return {
            "inputs": [dict(port) for port in self.inputs],
            "outputs": [dict(port) for port in self.outputs],
            "start_node": {REF: self.start["id"]},
            "nodes": nodes,
            "control_flow_connections": control,
            "data_flow_connections": data,
        }

    def _control(self, at: int, node: str, branch: str | None, target: str) -> JsonObject:
        return {
            "component_type": "ControlFlowEdge",
            "id": f"{self.ident}/control/{at}",
            "name": f"{self.nodes[node]['name']} -> {self.nodes[target]['name']}",
            "from_node": {REF: node},
            "from_branch": branch,
            "to_node": {REF: target},
        }

    def _data(self, at: int, source: str, output: str, node: str, title: str) -> JsonObject:
        return {
            "component_type": "DataFlowEdge",
            "id": f"{self.ident}/data/{at}",
            "name": f"{self.nodes[source]['name']}.{output} -> {self.nodes[node]['name']}.{title}",
            "source_node": {REF: source},
            "source_output": output,
            "destination_node": {REF: node},
            "destination_input": title,
        }


def _output(node: JsonObject, place: Place) -> tuple[str, str] | None:
    """The output of a node that is the output of its step, or a field of it."""
    titles = [port["title"] for port in node["outputs"] if port["title"] != CAUGHT]
    fields = node["component_type"] not in ("ToolNode", "ApiNode", "InputMessageNode") or len(titles) > 1
    if place.field:
        return (node["id"], place.field) if fields and place.field in titles else None
    return (node["id"], titles[0]) if len(titles) == 1 and not (fields and titles[0] != RESULT) else None


def _castable(have: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether an edge may lead from one to the other, surely."""
    left, right = ({key: one[key] for key in one if key != "title"} for one in (have, want))
    kind = right.get("type")
    return kind is None or kind == "string" or left == right


def _is_data(value: Any) -> bool:
    """Whether a template has no expressions."""
    return not any("{{" in text for text in texts_in(value))
