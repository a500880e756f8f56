"""MapNode, ParallelMapNode as foreach; ParallelFlowNode as parallel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from kastra_core.migration import cel_member
from kastra_core.serde import type_word
from kastra_plugin_agentspec.blocks import Block
from kastra_plugin_agentspec.components import Component
from kastra_plugin_agentspec.expressions import Value, step_output, template
from kastra_plugin_agentspec.graph import FlowNode
from kastra_plugin_agentspec.maker import nothing
from kastra_plugin_agentspec.ports import Port

__all__ = ["AT_ONCE", "REDUCERS", "put_map", "put_side_by_side"]

REDUCERS = ("append", "sum", "average", "max", "min")
AT_ONCE = 8
"""Items of a ParallelMapNode that are worked on at once."""
_MOST_ITEMS = 1_000_000


@attrs.frozen
class _Input:
    """An input of the flow that is applied to the items."""

    port: Port
    value: Value
    default: Any
    has_default: bool
    is_list: bool


def put_map(block: Block, one: FlowNode, flow: Component, name: str) -> None:
    """Add the steps of a MapNode.

    Args:
        name: of the workflow that is applied to each item; "" where the flow is a part of this one.
    """
    inner = block.maker.ports.of(flow)[0] if not flow.missing else []
    inputs = [found for port in inner if (found := _input(block, one, port)) is not None]
    lists = [given for given in inputs if given.is_list]
    if not lists:
        lists = inputs[:1]
    starts: dict[str, Value] = {}
    for given in inputs:
        if lists and given is lists[0]:
            starts[given.port.title] = Value("item", schema=dict(given.port.schema))
        elif given in lists:
            starts[given.port.title] = Value(f"{_grouped(given.value.text)}[index]", schema=dict(given.port.schema))
        else:
            starts[given.port.title] = given.value
    items = template(lists[0].value, lists[0].default or [], has_default=lists[0].has_default) if lists else []
    steps = block.part_steps(flow, starts) if not name else None
    if steps is None:
        given_input = {
            given.port.title: template(starts[given.port.title], given.default, has_default=given.has_default)
            for given in inputs
        }
        call = {"tool": name, "arguments": given_input} if flow.missing else {"workflow": name, "input": given_input}
        steps = [{"id": block.id_for(f"{block.id_of(one)}_item"), **call}]
    body: dict[str, Any] = {"items": items if items is not None else [], "steps": steps}
    if one.type == "ParallelMapNode":
        kept = one.component.kept.get("concurrency")
        body["concurrency"] = kept if isinstance(kept, int) else AT_ONCE
        kind = one.node["component_type"]
        kind.defaulted(f"how many items at once is not said: {AT_ONCE}", block.draft.target("spec.steps"))
    step = block.add(one, {"foreach": body})
    last = _reduce(block, one, flow, step)
    block.leave(one, last)


def _grouped(text: str) -> str:
    return f"({text})" if " ? " in text else text


def _input(block: Block, one: FlowNode, port: Port) -> _Input | None:
    own = next((held for held in one.inputs if held.title == f"iterated_{port.title}"), None)
    if own is None:
        return None
    value = block.given(one, own)
    if not value.text and not own.has_default:
        if not port.has_default:
            block.lacks(one, own)
        return None
    schema = value.schema if value.schema else own.schema
    return _Input(port, value, own.default, own.has_default, _is_list(schema, own, port))


def _is_list(schema: Any, own: Port, port: Port) -> bool:
    """Whether a value is a list of what the flow takes, and not such a thing itself."""
    kind = schema.get("type") or own.schema.get("type")
    if kind is None:
        return port.type != "array"
    if kind != "array":
        return False
    items = schema.get("items") or {}
    return port.type != "array" or (isinstance(items, dict) and items.get("type") == "array")


def _reduce(block: Block, one: FlowNode, flow: Component, step: dict[str, Any]) -> dict[str, Any]:
    """Where the collected outputs are; sums take further steps. Return the last step."""
    outputs = block.maker.ports.of(flow)[1] if not flow.missing else []
    node = one.node["reducers"]
    how = {port.title: "append" for port in outputs}
    if not nothing(node):
        how = {}
        for title, item in node.fields():
            if item.value not in REDUCERS:
                item.problem(f"expected one of {', '.join(REDUCERS)}, found {type_word(item.value)}")
            elif title not in {port.title for port in outputs}:
                item.problem(f"the flow has no output {title!r}")
            else:
                how[title] = item.text()
                block.say(item, one, "foreach")
    base = step_output(step["id"])
    last = step
    for port in one.outputs:
        title = port.title.removeprefix("collected_")
        picked = f"{base}.map(i, {cel_member('i', title)})"
        method = how.get(title, "append")
        if method in ("max", "min"):
            sign = ">=" if method == "max" else "<="
            picked = f"{picked}.filter(x, {picked}.all(y, x {sign} y))[0]"
        elif method in ("sum", "average"):
            last = _sum(block, one, title, base)
            picked = step_output(last["id"])
            if method == "average":
                picked = f"({picked} / double(size({base})))"
        block.values[id(one), port.title] = Value(picked, schema=dict(port.schema))
    return last


def _sum(block: Block, one: FlowNode, title: str, base: str) -> dict[str, Any]:
    add = {
        "id": block.id_for(f"{block.id_of(one)}_add_{title}"),
        "set": f"{{{{ input + {cel_member(f'{base}[iteration]', title)} }}}}",
    }
    loop = {"while": f"iteration < size({base})", "maxIterations": _MOST_ITEMS, "steps": [add]}
    return block.further(one, f"sum_{title}", {"input": 0, "loop": loop})


def put_side_by_side(block: Block, one: FlowNode, flows: Sequence[tuple[Component, str]]) -> None:
    """Add the step of a ParallelFlowNode.

    Args:
        flows: with the workflows that they became; "" where one is a part of this one.
    """
    branches = []
    names: set[str] = set()
    base = step_output(block.id_of(one))
    for flow, name in flows:
        kept = flow.kept.get("part")
        label = str(kept) if kept else name
        number = 1
        while label in names:
            number += 1
            label = f"{name}-{number}"
        names.add(label)
        inputs, outputs = block.maker.ports.of(flow) if not flow.missing else ([], [])
        own = {port.title: port for port in one.inputs}
        values = {port.title: block.given(one, own[port.title]) for port in inputs if port.title in own}
        steps = block.part_steps(flow, values) if not name else None
        if steps is None:
            given = {}
            for port in inputs:
                held = own.get(port.title, port)
                value = values.get(port.title, Value(""))
                if value.text or held.has_default:
                    given[port.title] = template(value, held.default, has_default=held.has_default)
                elif not port.has_default:
                    block.lacks(one, held)
            call = {"tool": name, "arguments": given} if flow.missing else {"workflow": name, "input": given}
            steps = [{"id": block.id_for(f"{block.id_of(one)}_{label}"), **call}]
        branches.append({"name": label, "steps": steps})
        for port in outputs:
            text = cel_member(cel_member(base, label), port.title)
            block.values[id(one), port.title] = Value(text, schema=dict(port.schema))
    step = block.add(one, {"parallel": {"branches": branches}})
    block.leave(one, step)
