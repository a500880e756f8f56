"""BranchingNode: a step with branch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kastra_core.migration import cel_literal
from kastra_core.serde import type_word
from kastra_plugin_agentspec.blocks import Block
from kastra_plugin_agentspec.graph import DEFAULT, FlowNode

__all__ = ["put_branching"]


def put_branching(block: Block, one: FlowNode) -> None:
    block.common(one)
    mapping = one.node["mapping"]
    if not mapping.is_map:
        (mapping if mapping.present else one.node).problem(
            f"expected mapping, an object of values with their branches, found {type_word(mapping.value)}"
        )
        return
    groups: dict[str, list[str]] = {}
    for value, item in mapping.fields():
        if not item.is_text:
            item.problem(f"expected the name of a branch, found {type_word(item.value)}")
            continue
        groups.setdefault(item.text(), []).append(value)
        block.say(item, one, "branch.cases")
    whens = one.component.kept.get("cases")
    if isinstance(whens, Mapping):
        _kept_cases(block, one, groups, whens)
        return
    expression = _key(block, one)
    if expression.startswith("string(") and not {"true", "false"} & {
        value for values in groups.values() for value in values
    }:
        told = "its input is no text: values are compared with true, false or digits; make the source answer a text"
        mapping.manual(told, block.draft.target("spec.steps"))
    cases = []
    for branch, values in groups.items():
        when = (
            f"{expression} == {cel_literal(values[0])}"
            if len(values) == 1
            else f"{expression} in {cel_literal(values)}"
        )
        if branch == DEFAULT and DEFAULT not in one.exits:
            continue
        cases.append({"name": branch, "when": when, **block.way(one, branch)})
    target = one.exits.get(DEFAULT)
    if target is None:
        told = f"no branch of {one.component.name} is meant for this value"
        unmatched = {"id": block.id_for(f"{block.id_of(one)}_{DEFAULT}"), "fail": told}
        block.add(one, {"branch": {"cases": cases, "default": {"steps": [unmatched]}}})
    else:
        block.add(one, {"branch": {"cases": cases, "default": target}})


def _kept_cases(block: Block, one: FlowNode, groups: Mapping[str, list[str]], whens: Mapping[str, Any]) -> None:
    """A branch as an export wrote it: the conditions are noted, and blocks follow right after it."""
    block.common(one)
    cases = []
    after: FlowNode | None = None
    for branch in (*(name for name in whens if name in groups), DEFAULT):
        target = one.exits.get(branch)
        if target is not None and "block" in target.component.kept:
            after = next(iter(target.exits.values()), None)
        if branch != DEFAULT:
            cases.append({"name": branch, "when": whens[branch], **block.way(one, branch)})
    step = block.add(one, {"branch": {"cases": cases}})
    target = one.exits.get(DEFAULT)
    if target is not None and "block" in target.component.kept:
        step["branch"]["default"] = block.way(one, DEFAULT)
    elif target is not None:
        step["branch"]["default"] = target
    if after is not None:
        step["next"] = after


def _key(block: Block, one: FlowNode) -> str:
    """The value by which a BranchingNode decides, as a text."""
    port = one.inputs[0]
    value = block.given(one, port)
    if not value.text:
        if not port.has_default:
            block.lacks(one, port)
        default = port.default
        return cel_literal(default if isinstance(default, str) else _as_text(default))
    kind = value.schema.get("type")
    text = f"({value.guard} ? {value.text} : {cel_literal(port.default)})" if value.guard else value.text
    if kind == "string" or not value.schema or text.startswith("string("):
        return text
    return f"string({text})" if kind in ("boolean", "integer", "number") else text


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
