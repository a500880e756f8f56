"""Tasks as steps of a Workflow: prompts, what each gets of the others, what runs at once, what a person says to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration.names import identifier
from kastra_core.migration.report import Draft
from kastra_plugin_crewai import outcomes
from kastra_plugin_crewai.model import Code, Field, TaskPart
from kastra_plugin_crewai.texts import as_template, input_expression, placeholders, plain

__all__ = ["Steps", "Work"]

_ANSWER = {
    "type": "object",
    "properties": {"feedback": {"type": "string", "description": "What to change; empty: the answer is accepted."}},
    "required": ["feedback"],
}
_LONGEST = 48
"""Letters of an id of a step, of 63 that are allowed."""
_DIVIDER = "\n\n----------\n\n"


@attrs.frozen(kw_only=True)
class Work:
    """A task and who does it."""

    task: TaskPart
    body: str
    """agent or network."""
    name: str
    """Of the resource."""
    told: str = ""
    """Said at the end of the prompt."""
    texts: Sequence[str] = ()
    """Texts of who does it, in which placeholders may stand."""
    retries: int = 0
    """Further tries after a failure."""


class Steps:
    """Makes the steps of a Workflow.

    Args:
        draft: the Workflow.
        works: the tasks in their order.
    """

    def __init__(self, draft: Draft, works: Sequence[Work]) -> None:
        self.draft = draft
        self.works = works
        self.steps: list[JsonObject] = []
        self.inputs: dict[str, list[str]] = {}
        """Name of an input -> what it is for, in order."""
        self.places: dict[int, str] = {}
        """id of a task -> path of its step in the Workflow."""
        self._ids: dict[int, str] = {}
        self._taken: set[str] = set()
        self._outputs: dict[str, str] = {}
        """Name of a task that is done -> expression for its output."""

    def make(self) -> None:
        """Fill ``spec.steps`` and write the rows of all fields of the tasks."""
        for work in self.works:
            self._ids[id(work)] = self._fresh(work.task.name)
        group: list[Work] = []
        for at, work in enumerate(self.works):
            if _is_on(work.task.fields.get("async_execution")):
                if group and self._needs(work, group):
                    group = self._close(group)
                group.append(work)
                if at + 1 < len(self.works):
                    continue
            group = self._close(group)
            if not _is_on(work.task.fields.get("async_execution")):
                self._alone(work)
        self.draft.spec["steps"] = self.steps

    def _fresh(self, name: str, default: str = "task") -> str:
        plain_id = step = _short(identifier(name, default).strip("_") or default)
        number = 1
        while step in self._taken:
            number += 1
            step = f"{plain_id}_{number}"
        self._taken.add(step)
        return step

    def _needs(self, work: Work, group: Sequence[Work]) -> bool:
        return bool(set(work.task.context or ()) & {one.task.name for one in group})

    # ------------------------------------------------------------------------------------------- blocks

    def _close(self, group: list[Work]) -> list[Work]:
        """Put the tasks that run at once; the next one waits for all of them. Return a new group."""
        if len(group) == 1:
            self._alone(group[0], "the next task waits for it: a step like the others")
        elif group:
            step = self._fresh("_and_".join(self._ids[id(work)] for work in group[:2]))
            where = f"spec.steps[{len(self.steps)}].parallel.branches"
            done = dict(self._outputs)
            branches: list[JsonObject] = []
            outputs = {}
            for at, work in enumerate(group):
                name = self._ids[id(work)]
                self._outputs = dict(done)
                block = self._block(work, f"{where}[{at}].steps", at_once=True)
                branches.append({"name": name, "steps": block})
                outputs[work.task.name] = f"steps.{step}.output.{name}"
            self._outputs = {**done, **outputs}
            self.steps.append({"id": step, "parallel": {"branches": branches}})
        return []

    def _alone(self, work: Work, why: str = "") -> None:
        block = self._block(work, "spec.steps", first=len(self.steps), why=why)
        self.steps.extend(block)
        self._outputs[work.task.name] = f"steps.{self._ids[id(work)]}.output"

    def _block(
        self, work: Work, where: str, *, first: int = 0, at_once: bool = False, why: str = ""
    ) -> list[JsonObject]:
        """The steps of a task: one, or those in which a person has a say."""
        task, step = work.task, self._ids[id(work)]
        place = self.places[id(task)] = f"{where}[{first}]"
        prompt = self._prompt(work, place, at_once)
        self._rows(work, place, at_once, why)
        ask: JsonObject = {"id": step, work.body: work.name, "input": prompt}
        if work.retries:
            ask["retry"] = {"maxAttempts": work.retries + 1}
        if not _is_on(task.fields.get("human_input")):
            return [ask]
        draft, shown, asked = (self._fresh(f"{step}_{word}") for word in ("draft", "shown", "asked"))
        judged, revised, accepted = (self._fresh(f"{step}_{word}") for word in ("judged", "revised", "accepted"))
        again = (
            f"{prompt}\n\nYour answer was:\n\n{{{{ steps.{shown}.output }}}}\n\n"
            f"Change it as you are told here:\n\n{{{{ steps.{asked}.output.feedback }}}}"
        )
        question = f"What should be changed? Leave the feedback empty to accept this answer of {task.name}:"
        body: list[JsonObject] = [
            {"id": shown, "set": "{{ input }}"},
            {"id": asked, "suspend": {"message": f"{question}\n\n{{{{ steps.{shown}.output }}}}", "schema": _ANSWER}},
            {
                "id": judged,
                "branch": {
                    "cases": [
                        {
                            "when": f'steps.{asked}.output.feedback != ""',
                            "steps": [{**ask, "id": revised, "input": again}],
                        }
                    ],
                    "default": {"steps": [{"id": accepted, "set": f"{{{{ steps.{shown}.output }}}}"}]},
                },
            },
        ]
        until = f'steps.{asked}.output.feedback == ""'
        return [{**ask, "id": draft}, {"id": step, "loop": {"until": until, "steps": body}}]

    # ------------------------------------------------------------------------------------------- prompts

    def _prompt(self, work: Work, place: str, at_once: bool) -> str:
        task = work.task
        target = self.draft.target(f"{place}.input")
        description = self._text(task, "description", target)
        expected = self._text(task, "expected_output", target)
        parts = [self._filled(description, task)] if description else []
        if expected:
            parts.append(f"Expected output: {self._filled(expected, task)}")
        else:
            task.node["expected_output"].defaulted("nothing is said of the form of the answer", target)
        if _is_on(task.fields.get("markdown")):
            parts.append("Format the answer in Markdown.")
        if work.told:
            parts.append(work.told)
        handed = placeholders(*work.texts)
        if handed:
            for name in handed:
                self.inputs.setdefault(name, []).append(work.name)
            lines = [f"- {name}: {{{{ {input_expression(name)} }}}}" for name in handed]
            parts.append("\n".join(["What the names in braces in your instructions stand for:", *lines]))
        context = self._context(work, at_once)
        if context:
            parts.append("Context:\n\n" + _DIVIDER.join(f"{{{{ {output} }}}}" for output in context))
        return "\n\n".join(parts)

    def _filled(self, text: str, task: TaskPart) -> str:
        for name in placeholders(text):
            self.inputs.setdefault(name, []).append(task.name)
        return as_template(text)

    def _text(self, task: TaskPart, name: str, target: str) -> str:
        field = task.fields.get(name)
        if field is None:
            return ""
        if field.is_code:
            told = f"{identifier(task.name)}_{name}"
            self_tells = f"only running {str(field.value)!r} would tell the {name}"
            field.node.manual(f"{self_tells}: give it as the input {told}, or write it there", target)
            return f"{{{told}}}"
        if isinstance(field.value, (dict, list)):
            field.node.text()
            return ""
        text = plain(field.value) if isinstance(field.value, str) else field.node.text()
        for node in field.nodes:
            if text:
                node.mapped(target)
            else:
                node.dropped("empty")
        return text

    def _context(self, work: Work, at_once: bool) -> list[str]:
        """Expressions for what the task gets of others."""
        task = work.task
        field = task.fields.get("context")
        if task.context is None:
            names = list(self._outputs)
            # CrewAI hands a task that runs at once with others the last output only.
            names = names[-1:] if at_once else names
        else:
            names = [name for name in task.context if name in self._outputs]
            missing = [name for name in task.context if name not in self._outputs]
            if missing and field is not None:
                field.node.manual(f"left out, as no task before this one has the name: {', '.join(missing)}")
        return [self._outputs[name] for name in names]

    # ------------------------------------------------------------------------------------------- rows

    def _rows(self, work: Work, place: str, at_once: bool, why: str) -> None:
        task = work.task
        target, of = self.draft.target(place), self.draft.target
        if task.node.path:
            task.node.mapped(target, "; ".join(task.notes), whole=False)
        for node in task.fields["config"].nodes if "config" in task.fields else ():
            node.mapped(target, "its fields are there", whole=False)
        done = {"config", "description", "expected_output", "agent", "tools", "name", "max_retry_limit"}
        done |= {"output_pydantic", "output_json", "response_model"}
        self._switch(task, "async_execution", of(place), done, "runs at once with those beside it", at_once, why)
        self._switch(task, "human_input", target, done, "a person sees the answer, and may have it changed")
        self._switch(task, "markdown", of(f"{place}.input"), done, "said in the prompt")
        self._plain_rows(task, place, done)
        outcomes.rest(task.fields, done, outcomes.TASK, target)

    def _plain_rows(self, task: TaskPart, place: str, done: set[str]) -> None:
        name, context = task.fields.get("name"), task.fields.get("context")
        for node in name.nodes if name is not None else ():
            node.mapped(self.draft.target(f"{place}.id"))
        if context is None:
            return
        done.add("context")
        for node in context.nodes:
            if context.value is None:
                node.dropped("null: as if it were not there")
            elif isinstance(context.value, Code) and task.context is None:
                node.manual("only running it would tell: it gets the outputs of all tasks before it")
            else:
                node.mapped(self.draft.target(f"{place}.input"))

    def _switch(
        self,
        task: TaskPart,
        name: str,
        target: str,
        done: set[str],
        reason: str,
        works: bool = True,
        why: str = "",
    ) -> None:
        field = task.fields.get(name)
        if field is None:
            return
        done.add(name)
        for node in field.nodes:
            if field.is_code:
                node.manual(f"only running {str(field.value)!r} would tell: it is off", target)
            elif field.value is True and works:
                node.mapped(target, reason)
            elif field.value is True:
                node.dropped(why or "nothing runs beside it")
            elif not field.value:
                node.dropped("off, as it is here without a word")
            else:
                node.boolean()


def _short(name: str) -> str:
    """An id that leaves room for what is put behind it; one that is cut ends with a digest, so that ids stay apart."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9].rstrip('_')}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _is_on(field: Field | None) -> bool:
    return field is not None and field.value is True
