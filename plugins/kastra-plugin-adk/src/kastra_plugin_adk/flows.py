"""SequentialAgent, ParallelAgent and LoopAgent as steps of a Workflow."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, cel_literal
from kastra_plugin_adk.agents import EXIT, keys_of, put_description, say_callbacks
from kastra_plugin_adk.composites import (
    INPUT,
    bound_of,
    leaves_of,
    may_escalate,
    published_by,
    say_composite,
    say_inlined,
    say_input,
)
from kastra_plugin_adk.format import COMPOSITES, field
from kastra_plugin_adk.project import Child, Project, Unit
from kastra_plugin_adk.sight import Said, Sight, at, prompt

__all__ = ["Flow", "Outcome", "write_flow"]

_MOST_STEPS = 2000


@attrs.frozen
class Outcome:
    """What came of a child: expressions that hold after it, in its block."""

    value: str
    """What it said."""
    exits: tuple[str, ...] = ()
    """Conditions: any that is true ends the loop around it."""


class Flow:
    """Writes the steps of one Workflow."""

    def __init__(self, project: Project, draft: Draft) -> None:
        self.project, self.draft = project, draft
        self._ids: set[str] = set()
        self._reserved: dict[int, str] = {}

    def id(self, name: str) -> str:
        """An id of its own for a step."""
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "step"
        plain = plain if plain[0].isalpha() else f"s{plain}"
        out, number = plain, 1
        while out in self._ids:
            number += 1
            out = f"{plain}_{number}"
        self._ids.add(out)
        return out

    def is_full(self, node: Node) -> bool:
        """Whether there are more steps than anybody would read, which is told: what is used twice is copied."""
        if len(self._ids) <= _MOST_STEPS:
            return False
        told = f"its Workflow would have more than {_MOST_STEPS} steps, as what is used in several places is copied"
        node.problem(told, "give the parts that are used often a root of their own, and let fewer places name them")
        return True

    # ------------------------------------------------------------------------------------------ children

    def child(
        self,
        child: Child,
        steps: list[JsonObject],
        sight: Sight,
        *,
        first: bool = False,
        looped: bool = False,
        flags: bool = False,
    ) -> Outcome | None:
        """Add the steps of a child. None when there is nothing to do.

        Args:
            first: the step that is added first gets the block's input by itself.
            looped: the block is the body of a loop, which looks for what ends it.
            flags: what ends a loop is published too, for it is to be seen outside the block.
        """
        unit = child.unit
        if self.is_full(child.node):
            return None
        self.say_reference(child)
        if unit.cls == "SequentialAgent":
            say_inlined(unit, self.draft)
            return self.sequence(unit, steps, sight, first=first, looped=looped, flags=flags)
        if unit.cls == "ParallelAgent":
            say_inlined(unit, self.draft, named=True)
            return self.parallel(unit, steps, sight, flags=flags or looped)
        if unit.cls == "LoopAgent":
            say_inlined(unit, self.draft, named=True)
            return self.loop(unit, steps, sight, flags=flags or looped)
        return self.leaf(child, steps, sight, first=first, flags=flags)

    def sequence(
        self,
        unit: Unit,
        steps: list[JsonObject],
        sight: Sight,
        *,
        first: bool = False,
        looped: bool = False,
        flags: bool = False,
    ) -> Outcome | None:
        """Add the steps of all children, one after the other."""
        exits: list[str] = []
        last: Outcome | None = None
        for child in unit.children:
            outcome = self.child(child, steps, sight, first=first and not steps, looped=looped, flags=flags)
            if outcome is not None:
                last = outcome
                exits += outcome.exits
        return Outcome(last.value, tuple(exits)) if last is not None else None

    def leaf(
        self,
        child: Child,
        steps: list[JsonObject],
        sight: Sight,
        *,
        first: bool = False,
        flags: bool = False,
        alone: bool | None = None,
    ) -> Outcome:
        """Add the step that calls an agent, or what stands for one."""
        unit = child.unit
        step_id = self._reserved.pop(id(child), "") or self.id(unit.name)
        contents = field(unit.node, "include_contents") if unit.cls == "LlmAgent" else None
        if alone is None:
            alone = contents is not None and contents.text().lower() == "none"
        wanted = keys_of(unit)
        text, plain = prompt(sight, wanted, alone=alone)
        resource = unit.team or unit.main
        assert resource is not None
        step: JsonObject = {"id": step_id, resource.kind.lower(): resource.name}
        if resource.kind == "Tool":
            step["arguments"] = {"request": text}
        elif not (plain and first):
            step["input"] = text
        steps.append(step)
        if contents is not None and contents and not plain:
            contents.mapped(self.draft, f"says what the step {step_id} is asked with")
        if wanted:
            filled = [one.key for one in wanted if sight.value_of(one)]
            told = f"is asked with {', '.join(filled)}" if filled else "has no values for them"
            unit.notes[f"the step {step_id} of Workflow {self.draft.name} {told}"] = None
        return self._said(unit, step_id, step, steps, sight, flags)

    def _said(
        self, unit: Unit, step_id: str, step: JsonObject, steps: list[JsonObject], sight: Sight, flags: bool
    ) -> Outcome:
        """Publish what a step says, and note that it was said."""
        key, value, over = unit.output_key, f"steps.{step_id}.output", ""
        if key:
            unit.published[self.draft.target(f"spec.steps {step_id}")] = None
        if unit.exits:
            over = f"{value}.{EXIT}"
            spoken: JsonObject = {
                "id": self.id(f"{step_id}_said"),
                "set": f"{{{{ {over} ? {self._before(key, sight)} : {value}.answer }}}}",
            }
            if key:
                spoken["output"] = {"type": key}
            steps.append(spoken)
            value = f"steps.{spoken['id']}.output"
        elif unit.main is not None and unit.main.kind == "Tool" and unit.in_loop:
            over = f'type({value}) == map && "{EXIT}" in {value} && {value}.{EXIT} == true'
        elif key:
            step["output"] = {"type": key}
        if over and flags:
            flag = self.id(f"{step_id}_exits")
            steps.insert(steps.index(step) + 1, {"id": flag, "set": f"{{{{ {over} }}}}", "output": {"type": flag}})
            over = f"{cel_literal(flag)} in data && {at('data', flag)}"
        sight.later = [one for one in sight.later if f"steps.{step_id}" not in re.findall(r"steps\.\w+", one.value)]
        sight.said = [*(one for one in sight.said if not key or one.key != key), Said(unit.name, value, key)]
        if key:
            sight.sure.add(key)
        return Outcome(value, (over,) if over else ())

    @staticmethod
    def _before(key: str, sight: Sight) -> str:
        """What stays when an agent ends the loop in place of saying something."""
        if key and key in sight.sure:
            return at("data", key)
        if key:
            return f'({cel_literal(key)} in data ? {at("data", key)} : "")'
        return sight.said[-1].value if sight.said else sight.given or sight.request

    # ------------------------------------------------------------------------------------------ blocks

    def parallel(self, unit: Unit, steps: list[JsonObject], sight: Sight, *, flags: bool = False) -> Outcome | None:
        """Add a step that runs all children at once; none knows of the others."""
        step_id = self.id(unit.name)
        branches: list[JsonObject] = []
        said: list[Said] = []
        exits: list[str] = []
        maybe, sure = set(sight.maybe), set(sight.sure)
        for child in unit.children:
            block: list[JsonObject] = []
            inner = sight.copy()
            outcome = self.child(child, block, inner, flags=flags)
            if outcome is None:
                continue
            taken = {branch["name"] for branch in branches}
            name = child.unit.name if child.unit.name not in taken else block[0]["id"]
            if outcome.value != f"steps.{block[-1]['id']}.output":
                block.append({"id": self.id(f"{child.unit.name}_end"), "set": f"{{{{ {outcome.value} }}}}"})
            branches.append({"name": name, "steps": block})
            said.append(Said(child.unit.name, at(f"steps.{step_id}.output", name), child.unit.output_key))
            exits += outcome.exits
            maybe |= inner.maybe
            sure |= inner.sure
        if not branches:
            return None
        step: JsonObject = {"id": step_id}
        _describe(step, unit)
        step["parallel"] = {"branches": branches}
        steps.append(step)
        sight.said, sight.maybe, sight.sure = [*sight.said, *said], maybe, sure
        return Outcome(f"steps.{step_id}.output", tuple(exits))

    def loop(self, unit: Unit, steps: list[JsonObject], sight: Sight, *, flags: bool = False) -> Outcome | None:
        """Add a step that runs the children again and again."""
        step_id = self.id(unit.name)
        inner = sight.copy()
        inner.later = [*inner.later, *self._reserve(unit)]
        inner.maybe |= set(published_by(unit))
        body: list[JsonObject] = []
        until: list[str] = []
        exits: list[str] = []
        sure: set[str] | None = None
        for index, child in enumerate(unit.children):
            outcome = self.child(child, body, inner, looped=True, flags=flags)
            if outcome is None:
                continue
            until += [_guarded(one) if until else one for one in outcome.exits]
            exits += outcome.exits
            if outcome.exits and index < len(unit.children) - 1:
                sure = sure or set(inner.sure)
                case = {"when": _any(outcome.exits), "next": "END"}
                body.append({"id": self.id(f"{child.unit.name}_exit"), "branch": {"cases": [case]}})
        bound = field(unit.node, "max_iterations")
        count = bound_of(bound)
        if not body or count == 0:
            if bound and body:
                bound.mapped(self.draft, "a loop without a pass does nothing")
            elif bound:
                bound.dropped("a loop without agents does nothing", self.draft.target())
            return None
        step: JsonObject = {"id": step_id}
        _describe(step, unit)
        loop: JsonObject = {"until": _any(until) if until else "false"}
        place = self.draft.target(f"spec.steps {step_id}.loop")
        if count is not None:
            loop |= {"maxIterations": count, "onLimit": "stop"}
            bound.mapped(f"{place}.maxIterations", "at the bound it ends as if its condition had")
        else:
            bound.defaulted("no bound is there: after 100 passes it fails with LoopLimit", f"{place}.maxIterations")
        self._say_until(unit, until, f"{place}.until")
        step["loop"] = {**loop, "steps": body}
        steps.append(step)
        sight.sure |= inner.sure if sure is None else sure
        sight.maybe |= inner.maybe | inner.sure
        sight.said = [*sight.said, Said(unit.name, f"steps.{step_id}.output")]
        return Outcome(f"steps.{step_id}.output", tuple(exits))

    def _reserve(self, unit: Unit) -> list[Said]:
        """Give ids to the agents that a pass calls one after the other, for what they say is seen in the next one."""
        out: list[Said] = []
        for child in unit.children if not self.is_full(unit.node) else ():
            one = child.unit
            if one.cls == "SequentialAgent":
                out += self._reserve(one)
            elif one.cls not in COMPOSITES:
                step_id = self._reserved[id(child)] = self.id(one.name)
                value = f"steps.{step_id}.output"
                if one.exits:
                    value = f"{value}.answer"
                seen = f'has(steps.{step_id}) ? {value} : ""'
                out.append(Said(one.name, seen, one.output_key))
        return out

    # ------------------------------------------------------------------------------------------ rows

    def say_reference(self, child: Child) -> None:
        """Row for the reference that led to a child."""
        node = child.node
        where = node if node.is_text else node.first("config_path", "configPath", "code")
        draft = child.unit.team or child.unit.main
        if child.unit.code and draft is not None:
            told = f"the agent is made in Python: write {draft.get('spec.python.function')}"
            where.manual(told, draft)
        where.mapped(self.draft.target("spec.steps"), "" if draft is None else f"{draft.kind} {draft.name}")
        if where is not node and where.present and node["name"].present:
            node["name"].dropped("the file says its name", self.draft.target())

    def _say_until(self, unit: Unit, until: Sequence[str], place: str) -> None:
        subs = field(unit.node, "sub_agents")
        if until:
            told = "the pass and the loop end where an agent's answer says exit_loop; in ADK a call of it did that"
            subs.defaulted(told, place)
        elif any(may_escalate(child.unit) for child in unit.children):
            told = "nothing here is seen to end it before its bound; where a function escalates, write the condition"
            subs.manual(told, place)
        else:
            subs.defaulted("no agent in it can call exit_loop: it goes on to its bound", place)


def write_flow(project: Project, unit: Unit) -> None:
    """Fill the Workflow of an agent that runs its sub-agents in a fixed order."""
    draft = unit.main
    assert draft is not None
    node = unit.node
    field(node, "agent_class").mapped(draft, f"a {unit.cls} is a Workflow")
    field(node, "name").mapped(draft.target("metadata.name"))
    put_description(node, draft)
    say_callbacks(node, draft)
    say_composite(unit)
    published = set(published_by(unit))
    outside: dict[str, bool] = {}
    for one in leaves_of(unit):
        for wanted in keys_of(one):
            if wanted.key not in published:
                outside[wanted.key] = outside.get(wanted.key, True) and wanted.optional
    fields = say_input(draft, outside.items())
    for key in outside if fields else ():
        node["sub_agents"].defaulted(
            f"no agent in it sets {key}: it is a field of the input", draft.target(f"spec.inputSchema.{key}")
        )
    sight = Sight(
        request=f"workflow.input.{INPUT}" if fields else "workflow.input", outside=set(outside) if fields else set()
    )
    flow = Flow(project, draft)
    steps: list[JsonObject] = []
    if unit.cls == "SequentialAgent":
        flow.sequence(unit, steps, sight, first=not fields)
    else:
        (flow.parallel if unit.cls == "ParallelAgent" else flow.loop)(unit, steps, sight)
    if not steps:
        field(node, "sub_agents").defaulted("there is no agent in it, so it does nothing", draft.target("spec.steps"))
        steps.append({"id": "nothing", "set": None})
    draft.spec["steps"] = steps


def _describe(step: JsonObject, unit: Unit) -> None:
    text = field(unit.node, "description")
    if text.is_text and text.value and unit.main is None:
        step["description"] = text.value


def _any(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else " || ".join(f"({one})" for one in conditions)


def _guarded(condition: str) -> str:
    """A condition of a step that a pass may have ended before."""
    found = re.search(r"steps\.\w+", condition)
    return f"has({found[0]}) && ({condition})" if found else condition
