"""Migration of a workflow: the five dialects of the older formats become one."""

from __future__ import annotations

from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, Report
from kastra_plugin_legacy.lookup import Lookup
from kastra_plugin_legacy.workflow_bodies import Maker
from kastra_plugin_legacy.workflow_ends import put_output_of_workflow, read_input, with_used
from kastra_plugin_legacy.workflow_layout import arrange
from kastra_plugin_legacy.workflow_model import Block, Step, every_step
from kastra_plugin_legacy.workflow_outputs import note_variables, read_output
from kastra_plugin_legacy.workflow_read import Ids, is_end, read_steps
from kastra_plugin_legacy.workflow_scope import Plan
from kastra_plugin_legacy.workflow_times import duration_of, policy_of

__all__ = ["migrate_workflow"]


def migrate_workflow(report: Report, node: Node, draft: Draft, names: Lookup) -> None:
    """Fill the spec of a Workflow.

    Args:
        node: the workflow's spec, or the body of an entry of a root file; each of its keys gets a row, and what is
            wrong with it is a problem.
        draft: the Workflow, with an empty spec.
        names: finds what steps refer to and makes tools of functions that somebody has to write.
    """
    if not node.is_map:
        node.mapping() if node else node.problem("a workflow needs steps")
        return
    count = len(report.problems)
    ids = Ids()
    steps = read_steps(node["steps"], ids)
    start = _start(node, steps, draft)
    if len(report.problems) > count or not steps:
        return
    block = arrange(steps, node["steps"], ids, start)
    if len(report.problems) > count:
        return
    for step in every_step(block):
        if not step.added:
            read_output(step)
    spec = draft.spec
    for field in ("name", "description"):
        if isinstance(node[field].value, (dict, list)):
            node[field].dropped("it is no text")
        elif node[field]:
            node[field].to(draft, f"spec.{field}", node[field].text())
    given = read_input(node, draft)
    plan = Plan(draft=draft, block=block, schema=given)
    maker = Maker(report, draft, names, plan, ids)
    maker.make(block)
    end: JsonObject = {}
    put_output_of_workflow(node, draft, plan, end)
    if len(report.problems) > count:
        return
    for step in plan.steps:
        if not step.added:
            note_variables(step, plan)
        _join(step)
    schema = with_used(plan)
    if schema is not None:
        spec["inputSchema"] = schema
    if block.start is not None:
        spec["initialStep"] = block.start.id
    spec["steps"] = _steps_of(block)
    spec.update(end)
    _limits(node, draft)
    node["id"].dropped("the name of the resource names it")
    _rows(block, draft, "spec.steps")


def _start(node: Node, steps: list[Step], draft: Draft) -> Step | None:
    given = node.first("initialStep", "startStep", "start", "entrypoint")
    if not given:
        return None
    if isinstance(given.value, (dict, list)):
        given.problem("expected the name of a step")
        return None
    text = given.text()
    found = next((step for step in steps if step.key == text), None) or next(
        (step for step in steps if text in step.names), None
    )
    if found is None and not is_end(text):
        given.problem(f"there is no step {text!r}", f"steps: {', '.join(step.key for step in steps[:12])}")
    elif any(step.ways.form == "falls" for step in steps):
        given.dropped("the order follows from what the steps wait for")
        return None
    elif found is not None:
        given.mapped(draft.target("spec.initialStep"))
    return found


# ------------------------------------------------------------------------------------------------ steps


def _join(step: Step) -> None:
    """A condition whose result nobody asks for is a branch, without a step for the result."""
    if len(step.made) != 2 or step.value_wanted or step.kind != "condition":
        return
    first, tail = step.made
    if "set" not in first or "output" in first:
        return
    cases = tail["branch"]["cases"]
    cases[0]["when"] = first.pop("set")[3:-3]
    step.made = [{**first, "branch": tail["branch"]}]


def _steps_of(block: Block) -> list[JsonObject]:
    """The steps of a block as a manifest has them, each leading where it led."""
    out: list[JsonObject] = []
    for at, step in enumerate(block.steps):
        if step.branches:
            step.made[0]["parallel"] = [_branch_of(branch) for branch in step.branches]
        out += step.made
        if step.ways.form != "goes":
            continue
        following = block.steps[at + 1] if at + 1 < len(block.steps) else None
        if step.ways.target is not following:
            step.made[-1]["next"] = step.ways.target.id if step.ways.target is not None else "END"
    return out


def _branch_of(branch: Block) -> JsonObject:
    inner = _steps_of(branch)
    if len(inner) == 1 and inner[0]["id"] == branch.name:
        return inner[0]
    return {"name": branch.name, "steps": inner}


def _rows(block: Block, draft: Draft, path: str) -> None:
    """Write the rows of the steps, whose places are known by now."""
    at = 0
    for step in block.steps:
        own, last = f"{path}[{at}]", f"{path}[{at + len(step.made) - 1}]"
        for note in step.notes:
            base = last if note.tail else own
            target = draft.target(f"{base}.{note.field}" if note.field else base)
            if note.outcome == "mapped":
                note.node.mapped(target, note.reason, whole=note.whole)
            elif note.outcome == "manual":
                note.node.manual(note.reason, target)
            else:
                note.node.dropped(note.reason)
        for index, branch in enumerate(step.branches):
            inner = f"{own}.parallel[{index}]"
            if len(branch.steps) == 1 and len(branch.steps[0].made) == 1 and branch.steps[0].id == branch.name:
                _rows_at(branch.steps[0], draft, inner)
            else:
                _rows(branch, draft, f"{inner}.steps")
        at += len(step.made)


def _rows_at(step: Step, draft: Draft, path: str) -> None:
    """Rows of a step that stands for its branch."""
    alone = Block([step])
    _rows(alone, _Elsewhere(draft, path), "")


class _Elsewhere(Draft):
    """Names the fields of a block's only step by the place of its branch."""

    def __init__(self, draft: Draft, path: str) -> None:
        super().__init__(draft.manifest)
        self._path = path

    def target(self, path: str = "") -> str:
        return super().target(self._path + path.removeprefix("[0]"))


# ------------------------------------------------------------------------------------------------ limits


def _limits(node: Node, draft: Draft) -> None:
    for field, path in (("timeout", "spec.timeout"), ("maxRuntime", "spec.limits.timeoutS")):
        given = node[field]
        if not given:
            continue
        value: Any = duration_of(given, 1.0)
        if value is not None and field == "maxRuntime":
            seconds = given.value
            value = seconds if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else None
            if value is None:
                given.manual("write it as spec.limits.timeoutS, a number of seconds", draft)
                continue
        if value is None:
            given.dropped("it is no time of more than 0 seconds, at most 100 years")
        else:
            given.to(draft, path, value, reason="seconds")
    policy = node.first("retryPolicy", "retry")
    if policy.is_map:
        retry, used = policy_of(policy)
        if retry is not None:
            draft.spec["retry"] = retry
        for inner, field, reason in used:
            if field:
                inner.mapped(draft.target(f"spec.retry.{field}"), reason)
            else:
                inner.dropped(reason)
