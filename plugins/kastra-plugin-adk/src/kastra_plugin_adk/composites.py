"""Agents that run others in a fixed order: what is in them, and the rows of their fields."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node
from kastra_plugin_adk.agents import say_callbacks, say_unknown
from kastra_plugin_adk.format import COMPOSITES, NODE_FIELDS, field
from kastra_plugin_adk.project import Unit

__all__ = [
    "INPUT",
    "bound_of",
    "leaves_of",
    "may_escalate",
    "published_by",
    "say_composite",
    "say_inlined",
    "say_input",
]

INPUT = "request"
"""Field of a workflow's input that holds what the user asks, where there are others."""


def leaves_of(unit: Unit) -> list[Unit]:
    """Agents in a composite, at any depth, each once."""
    out: list[Unit] = []
    inner = [unit]
    for one in inner:
        for child in one.children:
            seen = inner if child.unit.cls in COMPOSITES else out
            if child.unit not in seen:
                seen.append(child.unit)
    return out


def published_by(unit: Unit) -> list[str]:
    """Keys of the data that the agents in a composite publish."""
    return [one.output_key for one in leaves_of(unit) if one.output_key]


def may_escalate(unit: Unit) -> bool:
    """Whether Python that nobody reads here may end a loop."""
    if unit.cls == "LlmAgent":
        node = unit.node
        return bool(field(node, "tools").items()) or any("callback" in key for key, _ in node.fields())
    return unit.cls not in COMPOSITES or any(may_escalate(one) for one in leaves_of(unit))


def bound_of(node: Node) -> int | None:
    """``max_iterations``; None where there is none."""
    if not node:
        return None
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        node.problem(f"expected an integer, found {node.value!r}")
        return None
    return max(0, min(node.value, 1_000_000))


def say_inlined(unit: Unit, draft: Draft, *, named: bool = False) -> None:
    """Rows for an agent whose children became steps of a Workflow."""
    node = unit.node
    where = draft.target("spec.steps")
    field(node, "agent_class").mapped(where, f"{unit.cls} as steps")
    if named:
        field(node, "name").mapped(where, "id of the step")
        if field(node, "description"):
            field(node, "description").mapped(where)
    else:
        field(node, "name").dropped("its agents became steps of what is around it", where)
        if field(node, "description").present:
            field(node, "description").dropped("its agents became steps of what is around it", where)
    say_callbacks(node, draft)
    say_composite(unit)


def say_composite(unit: Unit) -> None:
    """Rows for fields that these agents do not have."""
    own = ("max_iterations",) if unit.cls == "LoopAgent" else ()
    say_unknown(unit.node, (*NODE_FIELDS, *own))
    for key in ("rerun_on_resume", "wait_for_output", "state_schema", "input_schema", "output_schema"):
        value = field(unit.node, key)
        if value.present:
            value.dropped("the steps of a Workflow do without it")
    for key in ("retry_config", "timeout"):
        value = field(unit.node, key)
        if value.present:
            value.manual("say it at a step of the Workflow: retry, timeout")


def say_input(draft: Draft, outside: Iterable[tuple[str, bool]]) -> bool:
    """Give a Workflow an input with fields when its agents need some. Return whether they do.

    Args:
        outside: (key, optional) of placeholders that nobody in it fills.
    """
    wanted = list(outside)
    if not any(not optional for _, optional in wanted):
        return False
    properties: JsonObject = {INPUT: {"type": "string", "description": "What the user asks."}}
    for key, _ in wanted:
        what = f"the file {key.removeprefix('artifact.')}" if key.startswith("artifact.") else f"{{{key}}}"
        properties[key] = {"description": f"Stands for {what} of the instructions."}
    required = [INPUT, *(key for key, optional in wanted if not optional)]
    draft.spec["inputSchema"] = {"type": "object", "properties": properties, "required": required}
    return True
