"""Steps with blocks in them: the blocks become flows of their own, which an import puts back into the steps."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_plugin_agentspec.export_flows import FlowWriter
from kastra_plugin_agentspec.export_schema import RESULT
from kastra_plugin_agentspec.export_values import place_of_text, whole_expression
from kastra_plugin_agentspec.graph import CAUGHT_BRANCH
from kastra_plugin_agentspec.ports import CAUGHT

__all__ = ["write_branch", "write_caught", "write_foreach", "write_loop", "write_parallel"]

_SAME = re.compile(r"""(?P<left>.+?)\s*(?:==\s*(?P<one>"[^"\\]*"|'[^'\\]*')|in\s*\[(?P<many>[^\]]*)\])""")


class _Blocks:
    """The blocks of one step.

    Args:
        skeleton: the step's body, in which the blocks are left out.
    """

    def __init__(self, flow: FlowWriter, step: Mapping[str, Any], skeleton: JsonObject) -> None:
        self.flow, self.step, self.skeleton = flow, step, skeleton
        self.paths: list[list[str | int]] = []
        self.names: dict[str, str] = {}
        self.needs: dict[str, str] = {}
        self.flows: list[JsonObject] = []

    def take(self, path: Sequence[str | int], label: str, title: str = RESULT, items: str = "") -> None:
        """Make a flow of the block at a path of the body."""
        place: Any = self.skeleton
        for part in path[:-1]:
            place = place[part]
        held = place[path[-1]]
        single = isinstance(held, Mapping)
        steps = (
            [held] if single else [one for one in held if isinstance(one, Mapping) and isinstance(one.get("id"), str)]
        )
        place[path[-1]] = {} if single else []
        self.paths.append(list(path))
        flow = self.flow
        ident = f"{flow.ident}/{self.step['id']}/{label}"
        inputs: list[JsonObject] = [{"title": items}] if items else []
        writer = FlowWriter(flow.book, flow.one, ident, steps, inputs, flow.owner, outer=flow)
        if items:
            writer.needs[items] = items
        writer.write(steps[0]["id"] if steps else "END", None, [{"title": title}])
        rename = self._rename(writer)
        out: JsonObject = {"component_type": "Flow", "id": ident, "name": label}
        out["metadata"] = {"kastra": {"part": label, "names": rename}}
        self.flows.append({**out, **writer.fields()})

    def _rename(self, writer: FlowWriter) -> dict[str, str]:
        """Have this flow hand in what the block needs. Names of its own (item, index) are noted as they are."""
        out: dict[str, str] = {}
        for title, text in writer.needs.items():
            self.needs.setdefault(title, text)
            place = place_of_text(text)
            if place is not None and place.root not in ("step", "input"):
                out[title] = text
        return out

    def connect(self, node: JsonObject, prefix: str = "", items: Mapping[str, Any] | None = None) -> None:
        """The inputs of the node that holds the blocks."""
        titles = list(dict.fromkeys(port["title"] for one in self.flows for port in one["inputs"]))
        node["inputs"] = [{"title": f"{prefix}{title}"} for title in titles]
        for title in titles:
            if items is not None and title in items:
                self.flow.wire(node, f"{prefix}{title}", items[title])
            elif title in self.needs:
                self.flow.wire(node, f"{prefix}{title}", f"{{{{ {self.needs[title]} }}}}")
        node["metadata"] = {"kastra": {"body": self.skeleton, "blocks": self.paths}}


def _begin(flow: FlowWriter, step: Mapping[str, Any], kind: str, **fields: Any) -> JsonObject:
    node = flow.add(kind, step["id"], **fields)
    if isinstance(step.get("description"), str):
        node["description"] = step["description"]
    flow.step_nodes[step["id"]] = node
    flow.entries.setdefault(step["id"], node["id"])
    return node


def _body(step: Mapping[str, Any], name: str) -> JsonObject:
    return {name: copy.deepcopy(step[name])}


def write_parallel(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """A ParallelFlowNode with a flow for each branch."""
    blocks = _Blocks(flow, step, _body(step, "parallel"))
    held = blocks.skeleton["parallel"]
    branches = held if isinstance(held, list) else held.get("branches", []) if isinstance(held, dict) else []
    base: list[str | int] = ["parallel"] if isinstance(held, list) else ["parallel", "branches"]
    outputs = []
    for at, branch in enumerate(branches):
        if not isinstance(branch, Mapping):
            continue
        named = branch.get("name") or branch.get("id") or str(at)
        title = f"{re.sub(r'[^0-9A-Za-z_-]+', '_', str(named))}_{at}"
        blocks.take(
            [*base, at, "steps"] if isinstance(branch.get("steps"), list) else [*base, at], f"branch-{at}", title
        )
        outputs.append({"title": title})
    node = _begin(flow, step, "ParallelFlowNode", subflows=blocks.flows)
    blocks.connect(node)
    node["outputs"] = outputs
    flow.links.append((node["id"], None, flow.follower(step)))


def write_caught(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """A CatchExceptionNode around a step that goes on after a failure."""
    inner = {key: copy.deepcopy(value) for key, value in step.items() if key not in ("onFailure", "next")}
    blocks = _Blocks(flow, step, {"steps": [inner]})
    blocks.take(["steps"], "try")
    node = _begin(flow, step, "CatchExceptionNode", subflow=blocks.flows[0])
    blocks.connect(node)
    node["metadata"] = {"kastra": {"wraps": step["id"]}}
    node["outputs"] = [
        {"title": RESULT, "default": None},
        {"title": CAUGHT, "anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    ]
    held = step["onFailure"]
    target = held if isinstance(held, str) else held.get("next") if isinstance(held, Mapping) else None
    after = flow.follower(step)
    if isinstance(target, str) and target:
        after = target if target in flow.steps else "END"
    flow.links.append((node["id"], None, flow.follower(step)))
    flow.links.append((node["id"], CAUGHT_BRANCH, after))


def write_foreach(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """A MapNode, of several items at once a ParallelMapNode."""
    blocks = _Blocks(flow, step, _body(step, "foreach"))
    held = blocks.skeleton["foreach"] if isinstance(blocks.skeleton["foreach"], dict) else {}
    item = held.get("as") if isinstance(held.get("as"), str) else "item"
    at_once = held.get("concurrency", 1)
    if not isinstance(held.get("steps"), list):
        held["steps"] = []
    blocks.take(["foreach", "steps"], "item", RESULT, str(item))
    kind = "ParallelMapNode" if isinstance(at_once, int) and at_once > 1 else "MapNode"
    node = _begin(flow, step, kind, subflow=blocks.flows[0], reducers={RESULT: "append"})
    blocks.connect(node, "iterated_", {str(item): held.get("items")})
    node["outputs"] = [{"title": f"collected_{RESULT}", "type": "array", "items": {}}]
    flow.links.append((node["id"], None, flow.follower(step)))


def write_loop(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """A FlowNode for the body, a tool of the host for the condition, an edge back."""
    blocks = _Blocks(flow, step, _body(step, "loop"))
    held = blocks.skeleton["loop"] if isinstance(blocks.skeleton["loop"], dict) else {}
    if not isinstance(held.get("steps"), list):
        held["steps"] = []
    blocks.take(["loop", "steps"], "pass")
    node = flow.add("FlowNode", step["id"], subflow=blocks.flows[0])
    before = "while" in held
    condition = _choice(flow, step, str(held.get("while") or held.get("until") or ""), "again")
    branching = flow.add("BranchingNode", f"{step['id']}-again", taken=flow.order)
    branching |= {"metadata": {"kastra": {"aux": step["id"]}}, "inputs": [{"title": "branch", "type": "string"}]}
    branching["mapping"] = {"again": "again"}
    flow.wires.append((condition["id"], "branch", branching["id"], "branch"))
    flow.step_nodes[step["id"]] = node
    flow.entries[step["id"]] = condition["id"] if before else node["id"]
    marks = {f"{step['id']} condition": condition["id"], f"{step['id']} again": branching["id"]}
    flow.entries |= {**marks, f"{step['id']} pass": node["id"]}
    blocks.connect(node)
    node["outputs"] = [{"title": RESULT}]
    flow.links.append((node["id"], None, f"{step['id']} condition"))
    flow.links.append((condition["id"], None, f"{step['id']} again"))
    flow.links.append((branching["id"], "again", f"{step['id']} pass"))
    flow.links.append((branching["id"], "default", flow.follower(step)))


def _choice(flow: FlowWriter, step: Mapping[str, Any], told: str, word: str) -> JsonObject:
    """A tool of the host that says how to go on."""
    node = flow.add("ToolNode", f"{step['id']}-choice", taken=flow.order)
    port = {"title": "branch", "type": "string"}
    node |= {"metadata": {"kastra": {"aux": step["id"]}}, "outputs": [dict(port)]}
    node["tool"] = {
        "component_type": "ServerTool",
        "id": f"{node['id']}/tool",
        "name": f"choice_{step['id']}",
        "description": f"Says {word!r} or another branch: {told}"[:1000],
        "metadata": {"kastra": {"aux": step["id"]}},
        "inputs": [],
        "outputs": [dict(port)],
    }
    return node


# ---------------------------------------------------------------------------------------------------------- branch


def write_branch(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """A BranchingNode; where its cases are no plain comparisons, after a tool of the host that chooses."""
    held = step["branch"]
    cases = held if isinstance(held, list) else held.get("cases", []) if isinstance(held, Mapping) else []
    default = held.get("default") if isinstance(held, Mapping) else None
    if isinstance(held, Mapping) and held.get("mode") == "all":
        _all(flow, step)
        return
    cases = [case for case in cases if isinstance(case, Mapping)]
    labels = _labels(cases)
    plain = _comparisons(flow, cases)
    if plain is None:
        chooser = _choice(
            flow, step, "; ".join(f"{n}: {c.get('when')}" for n, c in zip(labels, cases, strict=True)), "a case"
        )
        flow.entries[step["id"]] = chooser["id"]
        mapping = {label: label for label in labels}
        node = _begin(flow, step, "BranchingNode", mapping=mapping)
        node["inputs"] = [{"title": "branch", "type": "string"}]
        flow.wires.append((chooser["id"], "branch", node["id"], "branch"))
        flow.entries[f"{step['id']} branch"] = node["id"]
        flow.links.append((chooser["id"], None, f"{step['id']} branch"))
    else:
        source, values = plain
        mapping = {value: label for label, some in zip(labels, values, strict=True) for value in some}
        node = _begin(flow, step, "BranchingNode", mapping=mapping)
        node["inputs"] = [{"title": "value", "type": "string"}]
        flow.wires.append((*source, node["id"], "value"))
    node["metadata"] = {
        "kastra": {"cases": {label: case.get("when", "") for label, case in zip(labels, cases, strict=True)}}
    }
    for label, case in zip(labels, cases, strict=True):
        _way(flow, step, node, label, case, f"case-{label}")
    _way(flow, step, node, "default", {"next": default} if isinstance(default, str) else default or {}, "default")


def _labels(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    out: list[str] = []
    for at, case in enumerate(cases):
        name = case.get("name")
        label = name if isinstance(name, str) and name and name != "default" and name not in out else f"case {at}"
        while label in out:
            label += "'"
        out.append(label)
    return out


def _comparisons(
    flow: FlowWriter, cases: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, str], list[list[str]]] | None:
    """The output that all cases compare with texts, and the texts of each; None where they are other conditions."""
    left: set[str] = set()
    values: list[list[str]] = []
    for case in cases:
        found = _SAME.fullmatch(str(case.get("when", "")).strip())
        if found is None:
            return None
        left.add(found["left"].strip())
        texts = [found["one"]] if found["one"] else [part.strip() for part in (found["many"] or "").split(",")]
        if not all(len(text) > 1 and text[0] in "\"'" and text[0] == text[-1] and "\\" not in text for text in texts):
            return None
        values.append([text[1:-1] for text in texts])
    everything = [value for some in values for value in some]
    if len(left) != 1 or len(set(everything)) != len(everything):
        return None
    source = flow.source(whole_expression(f"{{{{ {left.pop()} }}}}") or "")
    return (source, values) if source is not None else None


def _way(
    flow: FlowWriter, step: Mapping[str, Any], node: JsonObject, label: str, case: Mapping[str, Any], part: str
) -> None:
    """Where a case leads: to a step, through a block, or on."""
    target = case.get("next")
    if isinstance(target, str) and target:
        flow.links.append((node["id"], label, target if target in flow.steps else "END"))
        return
    steps = case.get("steps")
    if not isinstance(steps, list) or not steps:
        flow.links.append((node["id"], label, flow.follower(step)))
        return
    blocks = _Blocks(flow, step, {"steps": copy.deepcopy(steps)})
    blocks.take(["steps"], part)
    inner = flow.add("FlowNode", f"{step['id']}-{part}".replace(" ", "-"), taken=flow.order, subflow=blocks.flows[0])
    blocks.connect(inner)
    inner["outputs"] = [{"title": RESULT}]
    inner["metadata"] = {"kastra": {"block": step["id"]}}
    mark = f"{step['id']} {part}"
    flow.entries[mark] = inner["id"]
    flow.links.append((node["id"], label, mark))
    flow.links.append((inner["id"], None, flow.follower(step)))


def _all(flow: FlowWriter, step: Mapping[str, Any]) -> None:
    """A branch of mode all: each case that is true runs, at once; only an import knows the conditions."""
    blocks = _Blocks(flow, step, _body(step, "branch"))
    held = blocks.skeleton["branch"]
    outputs = []
    places: list[list[str | int]] = [["branch", "cases", at, "steps"] for at in range(len(held.get("cases", [])))]
    places.append(["branch", "default", "steps"])
    for at, path in enumerate(places):
        place: Any = held
        for part in path[1:-1]:
            if isinstance(place, dict):
                place = place.get(part)
            else:
                place = place[part] if isinstance(place, list) and isinstance(part, int) else None
        if isinstance(place, dict) and isinstance(place.get("steps"), list) and place["steps"]:
            blocks.take(path, f"case-{at}", f"case_{at}")
            outputs.append({"title": f"case_{at}"})
    node = _begin(flow, step, "ParallelFlowNode", subflows=blocks.flows)
    blocks.connect(node)
    node["outputs"] = outputs
    flow.links.append((node["id"], None, flow.follower(step)))
