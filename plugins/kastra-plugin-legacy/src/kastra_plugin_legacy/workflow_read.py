"""Reads the steps of an older workflow, whichever of the dialects each is written in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import get_args

from kastra_core.errors import nearest
from kastra_core.migration import Node
from kastra_plugin_legacy.workflow_model import Block, Case, Kind, Step, Ways

__all__ = ["AFTER", "Ids", "is_end", "read_steps"]

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_LONGEST_ID = 63
_CHOSEN = re.compile(r"[A-Za-z_]+\s*\[(.*)\]", re.DOTALL)
"""``BRANCH["a", "b"]``"""
_COMPUTED = re.compile(r"\{\{|\$\{|^\$[A-Za-z_]")
AFTER = ("dependsOn", "after", "dependencies", "needs", "depends_on")
"""Fields that name what a step waits for."""
_BODIES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("agent", ("agent", "agentId", "agentRef", "agent_id")),
    ("tool", ("tool", "toolId", "toolRef", "tool_id")),
    ("workflow", ("workflow", "workflowId", "workflowRef")),
    ("network", ("network", "networkId", "networkRef")),
    ("function", ("function", "functionName", "code")),
    ("parallel", ("steps", "branches", "parallel")),
    ("condition", ("condition", "onTrue", "onFalse")),
)
_TYPES: dict[str, Kind] = {
    **{kind: kind for kind in get_args(Kind)},
    "branch": "condition",
    "code": "function",
    "conditional": "condition",
    "decision": "condition",
    "end": "output",
    "if": "condition",
    "llm": "agent",
    "return": "output",
    "script": "function",
    "subworkflow": "workflow",
}
_SAME = "the other fields of the step say the same"


class Ids:
    """Gives each step an id that no other step of the workflow has."""

    def __init__(self) -> None:
        self._taken = {"END"}

    def give(self, text: str) -> str:
        """Return ``text`` if it is a free id, else one that resembles it.

        >>> ids = Ids()
        >>> ids.give("load data"), ids.give("load data"), ids.give("END"), ids.give("1st")
        ('load-data', 'load-data-2', 'END-2', 'step-1st')
        """
        plain = text if _ID.fullmatch(text) else _plain(text)
        name, number = plain, 1
        while name in self._taken:
            number += 1
            suffix = f"-{number}"
            name = f"{plain[: _LONGEST_ID - len(suffix)]}{suffix}"
        self._taken.add(name)
        return name


def _plain(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-_")
    if not words:
        return "step"
    return (words if words[0].isalpha() else f"step-{words}")[:_LONGEST_ID].rstrip("-")


def read_steps(steps: Node, ids: Ids) -> list[Step]:
    """Return the steps of a list or a map with the ways between them; what is wrong is a problem of its node."""
    found: list[Step] = []
    if steps.is_map:
        entries = [(key, node) for key, node in steps.fields()]
    else:
        entries = [("", node) for node in steps.items()]
    if not entries:
        if steps.is_map or steps.is_list:
            steps.problem("a workflow needs at least one step")
        else:
            steps.list() if steps else steps.problem("a workflow needs steps, a list or a map")
        return []
    for key, node in entries:
        if not node.is_map:
            node.mapping() if node else node.problem("a step is missing")
            continue
        found.append(_step(key, node, ids, len(found) + 1))
    known = _known(found)
    for step in found:
        _Reader(step, found, known).ways()
        _waits(step, known)
    _settle(found)
    return found


def _step(key: str, node: Node, ids: Ids, number: int) -> Step:
    named = node.first("id", "name") if not key else node["id"]
    words = [
        node[name].text() for name in ("id", "name") if node[name] and not isinstance(node[name].value, (dict, list))
    ]
    own = key or (named.text() if named else "") or f"step-{number}"
    step = Step(id=ids.give(own), node=node, key=own, names=tuple(word for word in words if word != own))
    if not key and named:
        step.key_node = named
        step.note(named, "mapped", "id", "" if step.id == own else f"{own!r} is no id here, or another step has it")
    elif key and named:
        step.note(
            named, "dropped", "", "the key of the step names it" if named.text() == key else f"it is {step.id!r} here"
        )
    if node["name"] and step.key_node is not node["name"] and node["name"].key != (named.key if named else ""):
        step.note(node["name"], "mapped", "name")
    _kind(step)
    if step.kind == "parallel":
        _read_branches(step, ids)
    return step


def _kind(step: Step) -> None:
    inferred = step.kind = _inferred(step)
    given = step.field("type")
    word = given.text().lower() if given and given.is_text else ""
    said = _TYPES.get(word)
    if said in ("output", "condition") or (said == "function" and inferred in ("unknown", "condition")):
        step.kind = said
    if not given:
        return
    if step.kind != inferred:
        step.note(given, "mapped", "", f"it decides what the step does: {step.kind}")
    elif said is None:
        known = ", ".join(get_args(Kind)[:-1])
        step.note(given, "dropped", "", f"{word!r} is no type of a step ({known}); the other fields say what it does")
    elif inferred == "unknown":
        step.note(given, "manual", "", f"the step names no {said}: a Tool that somebody has to write stands for it")
    else:
        step.note(given, "dropped", "", _SAME)


def _inferred(step: Step) -> Kind:
    for kind, fields in _BODIES:
        if any(_is_body(step.field(name)) for name in fields):
            return kind
    return "agent" if step.field("systemPrompt", "instructions", "model") else "unknown"


def _is_body(node: Node) -> bool:
    return bool(node) and node.value not in ("", [], {})


def _read_branches(step: Step, ids: Ids) -> None:
    given = next(
        (one for one in (step.field("steps"), step.field("branches"), step.field("parallel")) if _is_body(one)), None
    )
    if given is None:
        return
    names: set[str] = set()
    entries = list(given.fields()) if given.is_map else [("", node) for node in given.items()]
    if not entries:
        given.list()
    for key, node in entries:
        inner = node["steps"] if node.is_map and not _is_body(node["type"]) and not _is_body(node["agent"]) else node
        several = inner.is_list or (inner is not node and inner.is_map)
        block = Block(owner=step)
        if several:
            found = read_steps(inner, ids)
            if not found:
                continue
            for one in found:
                block.add(one)
            own = node["name"] if node.is_map and node["name"] else node["id"]
            block.name = own.text() if own else key or found[0].id
            if own:
                step.note(own, "mapped", "", "name of the branch")
        elif not node.is_map:
            node.mapping() if node else node.problem("a step is missing")
            continue
        else:
            one = _step(key, node, ids, len(step.branches) + 1)
            one.ways = Ways(form="goes")
            for field in ("next", "transitions", "onTrue", "onFalse"):
                one.note(
                    one.field(field),
                    "dropped",
                    "",
                    "a step of a parallel step leads nowhere; what comes next says that one",
                )
            block.add(one)
            block.name = one.id
        plain = re.sub(r"[/\[\]#@!\x00-\x1f\x7f]", "-", block.name)[:50] or "branch"
        block.name, number = plain, 1
        while block.name in names:
            number += 1
            block.name = f"{plain}-{number}"
        names.add(block.name)
        step.branches.append(block)


def _known(steps: Iterable[Step]) -> dict[str, Step]:
    out: dict[str, Step] = {}
    steps = list(steps)
    for step in steps:
        out.setdefault(step.key, step)
    for step in steps:
        for word in step.names:
            out.setdefault(word, step)
    return out


def is_end(text: str) -> bool:
    """Whether a name stands for the end, where no step bears it."""
    return text.strip().lower() in ("end", "__end__", "")


def _waits(step: Step, known: dict[str, Step]) -> None:
    for field in AFTER:
        node = step.field(field)
        if not node:
            continue
        for one in node.items() if node.is_list else [node]:
            name = one.first("step", "id", "name") if one.is_map else one
            if not name or isinstance(name.value, (dict, list)):
                one.problem("expected the name of a step")
                continue
            target = known.get(name.text())
            if target is None:
                one.problem(f"there is no step {name.text()!r}", _hint(name.text(), known))
            elif target is step:
                one.problem("the step waits for itself")
            elif target not in step.after:
                step.after.append(target)


def _hint(text: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(text, names)
    return f"did you mean {near!r}?" if near else f"steps: {', '.join(names[:12])}"


class _Reader:
    """Reads where one step leads."""

    def __init__(self, step: Step, steps: Sequence[Step], known: dict[str, Step]) -> None:
        self.step, self.steps, self.known = step, steps, known

    def ways(self) -> None:
        step = self.step
        following, moves = step.field("next"), step.field("transitions")
        yes = self._first(step.field("onTrue", "then"), moves["true"], moves["True"])
        no = self._first(step.field("onFalse", "else"), moves["false"], moves["False"])
        plain = self._first(following, moves["next"], moves if not moves.is_map else moves["next"])
        if yes or no:
            ends = self._plain_target(plain)
            condition = step.field("condition") if step.kind == "condition" else None
            case = Case(condition=condition, target=self._target(yes) if yes else ends, node=yes or None)
            target = self._target(no) if no else ends
            step.ways = Ways(form="branches", target=target, cases=[case], node=moves if moves else yes or no)
            for node in (yes, no):
                step.note(node, "mapped", "branch", tail=True)
            if plain and yes and no:
                step.note(plain, "dropped", "", "both ways of the condition are given")
            elif plain:
                step.note(plain, "mapped", "branch", "the other way of the condition", tail=True)
            return
        if plain:
            step.ways = self._next(plain)

    @staticmethod
    def _first(*nodes: Node) -> Node:
        return next((node for node in nodes if node), nodes[-1])

    def _plain_target(self, node: Node) -> Step | None:
        return self._target(node) if node and not node.is_map and not node.is_list else None

    def _target(self, node: Node) -> Step | None:
        """The step that a node names; None for the end, and for what is a problem."""
        if node.is_map:
            inner = node.first("step", "id", "name", "next", "goto")
            if inner and not inner.is_map:
                return self._target(inner)
        if node.is_map or node.is_list:
            node.problem("expected the name of a step")
            return None
        text = node.text()
        found = self.known.get(text) or self.known.get(text.strip())
        if found is None and not is_end(text):
            node.problem(f"there is no step {text!r}", _hint(text, [*self.known, "END"]))
        return found

    def _next(self, node: Node) -> Ways:
        step = self.step
        if node.is_list:
            return self._several(node)
        if node.is_map:
            return self._conditional(node)
        text = node.text()
        chosen = _CHOSEN.fullmatch(text.strip())
        if chosen is not None and text not in self.known:
            return self._chosen(node, chosen[1])
        if _COMPUTED.search(text) and text not in self.known:
            return Ways(form="names", cases=[], node=node, computed=True)
        target = self._target(node)
        step.note(node, "mapped", "next")
        return Ways(form="goes", target=target, node=node)

    def _chosen(self, node: Node, inner: str) -> Ways:
        words = [word.strip().strip("'\"") for word in inner.split(",")]
        cases = []
        for word in filter(None, words):
            found = self.known.get(word)
            if found is None and not is_end(word):
                node.problem(f"there is no step {word!r}", _hint(word, [*self.known, "END"]))
                return Ways(form="goes", node=node)
            cases.append(Case(condition=None, target=found, word=word))
        if not cases:
            node.problem("expected names of steps in the brackets")
            return Ways(form="goes", node=node)
        self.step.note(
            node,
            "manual",
            "branch",
            "it says where the flow may go on but not when: here it goes to the first of these steps that the answer"
            " names, else to the last one; see that the agent is told to answer so",
            tail=True,
        )
        return Ways(form="names", cases=cases[:-1], target=cases[-1].target, node=node)

    def _several(self, node: Node) -> Ways:
        if any(item.is_map for item in node.items()):
            cases: list[Case] = []
            default: Step | None = None
            for item in node.items():
                condition = item.first("condition", "when", "if")
                goal = item.first("next", "then", "step", "target", "goto", "id")
                if condition and goal:
                    cases.append(Case(condition=condition, target=self._target(goal), node=goal))
                    self.step.note(goal, "mapped", "branch", tail=True)
                elif goal or not item.is_map:
                    default = self._target(goal if item.is_map else item)
                    self.step.note(goal if item.is_map else item, "mapped", "branch", tail=True)
                else:
                    item.problem("expected a condition and the step that it leads to")
            if not cases:
                return Ways(form="goes", target=default, node=node)
            return Ways(form="branches", cases=cases, target=default, node=node)
        targets: list[Step] = []
        for item in node.items():
            found = self._target(item)
            self.step.note(item, "mapped", "next")
            if found is not None and found not in targets:
                targets.append(found)
        if len(targets) < 2:
            return Ways(form="goes", target=targets[0] if targets else None, node=node)
        return Ways(form="all", targets=targets, node=node)

    def _conditional(self, node: Node) -> Ways:
        inner = node["condition"] if node["condition"].is_map else node
        condition = inner.first("if", "condition", "when", "expression")
        yes, no = inner.first("then", "true", "onTrue"), inner.first("else", "false", "onFalse", "default")
        if not yes and not no:
            goal = node.first("step", "id", "name", "next", "goto", "default")
            if not goal:
                node.problem("expected the name of a step, or condition with if, then and else")
                return Ways(form="goes", node=node)
            self.step.note(goal, "mapped", "next")
            return Ways(form="goes", target=self._target(goal), node=node)
        for goal in (yes, no):
            self.step.note(goal, "mapped", "branch", tail=True)
        if not condition and self.step.kind == "condition":
            condition = self.step.field("condition")
        case = Case(condition=condition or None, target=self._target(yes) if yes else None, node=yes or None)
        return Ways(form="branches", cases=[case], target=self._target(no) if no else None, node=node)


def _settle(steps: list[Step]) -> None:
    """Give each step that says nothing its way: the following step, or the end where others say where they lead."""
    waiting = any(step.after for step in steps)
    named = {goal for step in steps for goal in step.ways.goals() if goal is not None}
    says = any(step.ways.form != "falls" for step in steps)
    for step in steps:
        if step.ways.form == "names" and not step.ways.cases:
            apart = [one for one in steps[1:] if one is not step and one not in named]
            candidates = apart or [one for one in steps if one is not step]
            if not candidates:
                node = step.ways.node
                if node is not None:
                    step.note(node, "dropped", "", "there is no other step that it could name")
                step.ways = Ways(form="goes", node=node)
            step.ways.cases = [Case(condition=None, target=one, word=one.key) for one in candidates]
    if waiting and not any(step.ways.form != "falls" and list(step.ways.goals()) != [None] for step in steps):
        return
    named = {goal for step in steps for goal in step.ways.goals() if goal is not None}
    for at, step in enumerate(steps):
        if step.ways.form == "falls":
            following = steps[at + 1] if at + 1 < len(steps) else None
            ends = says and following in named
            step.ways = Ways(form="goes", target=None if ends else following)
