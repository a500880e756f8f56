"""Conditional tasks: a step that a tool decides about, in place of a function of Python that is given with the task."""

from __future__ import annotations

from typing import Any

from kastra_core.migration import Draft, Node, identifier
from kastra_plugin_crewai.json_parts import CONDITIONAL, is_reference
from kastra_plugin_crewai.model import Crew, CrewReport

__all__ = ["put_conditions"]

_SCHEMA = {
    "type": "object",
    "properties": {"output": {"description": "Output of the task before it."}},
    "required": ["output"],
}


def put_conditions(report: CrewReport, crew: Crew, draft: Draft) -> None:
    """Let a tool decide about each conditional task of a crew that was built, and write the rows of its condition."""
    for task in crew.tasks:
        kind, condition = task.node["type"], task.node["condition"]
        if not (isinstance(kind.value, str) and kind.value in CONDITIONAL):
            if condition.present:
                condition.dropped("only a ConditionalTask has a condition")
            continue
        if condition and not is_reference(condition.value):
            condition.problem('expected {"python": "module.function"}', "a function that gets the output before")
        _put(report, draft, task.name, kind, condition)


def _put(report: CrewReport, draft: Draft, name: str, kind: Node, condition: Node) -> None:
    steps: list[Any] = draft.spec["steps"]
    step = identifier(name, "task").strip("_") or "task"
    at = next((index for index, one in enumerate(steps) if one.get("id") == step), -1)
    if at < 0 or not ({"agent", "network"} & steps[at].keys()):
        kind.manual("a person or other tasks take part in it: put the step into a branch with a condition", draft)
        if condition.present:
            condition.manual("write the condition of the branch in CEL (`when`)", draft)
        return
    if at == 0:
        kind.problem("the first task of a crew cannot be conditional", "there is no output before it")
        return
    place = condition if condition.present else kind
    what = str(condition["python"].value or f"the condition of {name}")
    tool = report.draft("Tool", f"{name}-condition", scope=draft.name)
    origin = f"{place.document.file}:{place.line}, {what}"
    told = f"Tells whether the task {name} is done: true or false."
    function = report.stubs.add(f"{step}_condition", schema=_SCHEMA, description=told, origin=origin)
    tool.manifest["spec"] = {
        "type": "python",
        "description": told,
        "inputSchema": dict(_SCHEMA),
        "python": {"function": function},
    }
    asked, work = f"{step}_condition", f"{step}_work"
    before = steps[at - 1]["id"]
    steps[at : at + 1] = [
        {"id": asked, "tool": tool.name, "arguments": {"output": f"{{{{ steps.{before}.output }}}}"}},
        {
            "id": step,
            "branch": {
                "cases": [{"when": f"steps.{asked}.output == true", "steps": [{**steps[at], "id": work}]}],
                "default": {"steps": [{"id": f"{step}_skipped", "set": ""}]},
            },
        },
    ]
    kind.mapped(draft.target(f"step {step}"), "done when the tool before it says so, else its output is empty")
    if condition.present:
        condition.manual(f"write the function {function}: it gets the output before as `output`", tool)
