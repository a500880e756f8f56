"""The picture of a workflow: steps as nodes, the ways between them as edges, blocks that repeat or fork as frames.

A step's id is its node's id. What has no step (start, end, the lane of a branch) has an id with a colon in front.
Blocks of a branch that takes the first case, and of failure handlers, lie beside the other steps: their edges tell
which way leads there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from kastra_core.api.graph import Edge, Graph, Node
from kastra_core.api.meta import Resource
from kastra_core.durations import Duration
from kastra_core.serde import typed
from kastra_plugin_workflow.spec import END, UNSET, BranchSpec, CaseSpec, StepSpec, WorkflowSpec
from kastra_plugin_workflow.values import duration_text

__all__ = ["graph_of"]

_LONGEST = 60
"""Characters of a condition, a message or another text of the manifest."""
_WAITS = ("sleep", "waitForEvent", "suspend")
_REFERS = ("agent", "tool", "workflow", "network")
_ON_FAILURE = "on failure"

Exit = Callable[[str], str]
"""Where a block's end leads: (label of the edge that goes there) -> id of a node, "" when no edge is needed."""


def graph_of(resource: Resource) -> Graph:
    """Return the picture of a Workflow.

    Of a spec that has faults it is as good as it can be: what is named and not there is drawn as missing.
    Raises: what structuring the spec raises, when it is none of a Workflow at all.
    """
    spec = typed(resource.spec, WorkflowSpec)
    drawing = _Drawing()
    drawing.workflow(spec)
    title = resource.metadata.name
    if spec.name and spec.name != title:
        title = f"{title}: {spec.name}"
    return Graph(title=_cut(title), nodes=tuple(drawing.nodes.values()), edges=tuple(dict.fromkeys(drawing.edges)))


class _Drawing:
    """Collects nodes and edges."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self._twins: dict[str, int] = {}
        """Id -> number of the last node that wanted it too."""

    def workflow(self, spec: WorkflowSpec) -> None:
        schedule = spec.schedule
        clock = f"cron {schedule.cron} {schedule.time_zone}" if schedule is not None else ""
        start = self._node(":start", "start", kind="start", shape="rounded", detail=clock)
        first = self._block(spec.steps, "", self._over, self._failed if spec.on_failure else None, spec.initial_step)
        self._edge(start, first or self._over(""))
        if spec.on_failure:
            frame = self._failed("")
            self._block(spec.on_failure, frame, self._quiet_end(frame), None)
        # The ends are drawn last, wherever the first way to them was found.
        for end in (":onFailure", ":end"):
            if end in self.nodes:
                inner = [node for node in self.nodes.values() if self._lies_in(node, end)]
                for node in (self.nodes[end], *inner):
                    self.nodes[node.id] = self.nodes.pop(node.id)

    # ------------------------------------------------------------------------------------- where ways lead

    def _over(self, label: str) -> str:
        """The end of the workflow."""
        if ":end" not in self.nodes:
            self._node(":end", "end", kind="end", shape="rounded")
        return ":end"

    def _failed(self, label: str) -> str:
        """The handler of the whole workflow."""
        if ":onFailure" not in self.nodes:
            self._node(":onFailure", _ON_FAILURE, kind="handler", detail="of any step that has no handler of its own")
        return ":onFailure"

    def _quiet_end(self, frame: str) -> Exit:
        """The end of a block in a frame: a node of its own only where a labelled edge needs somewhere to go."""

        def leave(label: str) -> str:
            if not label:
                return ""
            end = f":end {frame}"
            if end not in self.nodes:
                self._node(end, "end of block", kind="end", shape="rounded", group=frame)
            return end

        return leave

    # ------------------------------------------------------------------------------------- blocks and steps

    def _block(self, steps: Sequence[StepSpec], group: str, exit: Exit, failed: Exit | None, initial: str = "") -> str:
        """Draw a block; return the node that it begins with, "" for an empty one."""
        ids: dict[str, str] = {}
        places = [self._place(step, group) for step in steps]
        for step, place in zip(steps, places):
            ids.setdefault(step.id, place)

        def goto(name: str) -> Exit:
            if name == END:
                return exit
            return lambda _: ids.get(name) or self._missing(name, group)

        for index, (step, place) in enumerate(zip(steps, places)):
            if step.next:
                after = goto(step.next)
            elif index + 1 < len(steps):
                after = _to(places[index + 1])
            else:
                after = exit
            self._step(step, place, group, after, goto, failed)
        if not places:
            return ""
        return goto(initial)("") if initial else places[0]

    def _place(self, step: StepSpec, group: str) -> str:
        body = step.body
        shape = "hexagon" if body in _WAITS else "box"
        if step.branch is not None and step.branch.mode == "first":
            shape = "diamond"
        elif body in ("succeed", "fail"):
            shape = "rounded"
        detail = " · ".join(text for text in (_cut(step.name), _detail(step, body)) if text)
        return self._node(step.id, step.id, kind=body or "step", shape=shape, detail=detail, group=group)

    def _step(
        self,
        step: StepSpec,
        place: str,
        group: str,
        after: Exit,
        goto: Callable[[str], Exit],
        failed: Exit | None,
    ) -> None:
        handler = step.on_failure
        inner_failed = failed
        if handler is not None:
            then = goto(handler.next) if handler.next else after
            inner_failed = then
            if handler.steps:
                first = self._block(handler.steps, group, then, failed)
                inner_failed = _to(first) if first else then
            target = inner_failed(_ON_FAILURE)
        if step.succeed is not UNSET and step.body == "succeed":
            self._edge(place, self._over(""))
        elif step.body == "fail":
            if handler is None and failed is not None:
                self._edge(place, failed(_ON_FAILURE), style="dashed")
        elif step.branch is not None and step.branch.mode == "first":
            self._first(step.branch, place, group, after, goto, inner_failed)
        else:
            for lane, steps in _lanes(step):
                self._lane(lane, steps, place)
            self._edge(place, after(""))
        if handler is not None:
            label = "" if step.body == "fail" else _ON_FAILURE
            if handler.output is not UNSET:
                output = f"output {_plain(handler.output) or 'null'}"
                label = f"{label}: {output}" if label else output
            self._edge(place, target, label, "dashed")

    def _first(
        self,
        branch: BranchSpec,
        place: str,
        group: str,
        after: Exit,
        goto: Callable[[str], Exit],
        failed: Exit | None,
    ) -> None:
        """The ways of a branch that takes the first case that is true."""
        for case in branch.cases:
            self._way(place, _case_label(case), case.next, case.steps, group, after, goto, failed)
        default = branch.default
        if default is not None and (default.next or default.steps):
            self._way(place, "default", default.next, default.steps, group, after, goto, failed)
        else:
            self._edge(place, after("else"), "else")

    def _way(
        self,
        place: str,
        label: str,
        next: str,
        steps: Sequence[StepSpec],
        group: str,
        after: Exit,
        goto: Callable[[str], Exit],
        failed: Exit | None,
    ) -> None:
        then = goto(next) if next else after
        # A block in a case ends where the step goes on; in a frame that may be nowhere, which needs no edge.
        first = self._block(steps, group, then, failed) if steps else ""
        self._edge(place, first or then(label), label)

    def _lane(self, name: str, steps: Sequence[StepSpec], frame: str) -> None:
        """A block in a frame; one of several blocks is a frame of its own, unless it is a single step of its name."""
        if name and not (len(steps) == 1 and steps[0].id == name):
            frame = self._node(f":{frame}[{name}]", _cut(name), kind="branch", group=frame)
        self._block(steps, frame, self._quiet_end(frame), None)

    # ------------------------------------------------------------------------------------- nodes and edges

    def _node(self, id: str, label: str, **rest: str) -> str:
        """Add a node; return its id, which is another one when there is such a node already."""
        unique = id
        while unique in self.nodes:
            count = self._twins[id] = self._twins.get(id, 1) + 1
            unique = f"{id} ({count})"
        self.nodes[unique] = Node(id=unique, label=_cut(label), **rest)
        return unique

    def _missing(self, name: str, group: str) -> str:
        missing = f":missing {name}"
        if missing not in self.nodes:
            self._node(missing, name, kind="missing", group=group)
        return missing

    def _edge(self, source: str, target: str, label: str = "", style: str = "solid") -> None:
        if target:
            self.edges.append(Edge(source=source, target=target, label=_cut(label), style=style))

    def _lies_in(self, node: Node, frame: str) -> bool:
        seen: set[str] = set()
        group = node.group
        while group and group != frame and group not in seen:
            seen.add(group)
            group = self.nodes[group].group
        return group == frame


def _to(place: str) -> Exit:
    return lambda _: place


def _lanes(step: StepSpec) -> Iterator[tuple[str, Sequence[StepSpec]]]:
    """(name, block) of what lies in a step's frame; the name is "" where there is only one block."""
    if step.branch is not None:
        for index, case in enumerate(step.branch.cases):
            if case.steps:
                yield f"{case.name or index}: {_case_label(case, named=False)}", case.steps
        if step.branch.default is not None and step.branch.default.steps:
            yield "default", step.branch.default.steps
    if step.parallel is not None:
        for branch in step.parallel.branches:
            yield branch.name, branch.steps
    if step.foreach is not None:
        yield "", step.foreach.steps
    if step.loop is not None:
        yield "", step.loop.steps


def _case_label(case: CaseSpec, *, named: bool = True) -> str:
    when = _cut(case.when) or "case"
    return f"{case.name}: {when}" if named and case.name else when


def _detail(step: StepSpec, body: str) -> str:
    """What a step refers to, or the few words that say what it does."""
    if body in _REFERS:
        return _cut(_reference(getattr(step, body)))
    if body == "operation":
        return step.operation
    if body in ("succeed", "fail"):
        return step.fail.reason if step.fail is not None else ""
    return _wait(step) or _several(step)


def _several(step: StepSpec) -> str:
    """The words of a step whose blocks run more than once, or at once."""
    words: list[str] = []
    if step.branch is not None and step.branch.mode == "all":
        words.append("all cases that are true")
    elif step.parallel is not None:
        count = len(step.parallel.branches)
        words.append("1 branch" if count == 1 else f"{count} branches")
        if step.parallel.concurrency:
            words.append(f"{step.parallel.concurrency} at once")
        if step.parallel.on_failure == "cancel":
            words.append("the first failure ends all")
    elif step.foreach is not None:
        words.append(f"{step.foreach.as_} of {_cut(_plain(step.foreach.items))}")
        if step.foreach.concurrency > 1:
            words.append(f"{step.foreach.concurrency} at once")
        if step.foreach.on_error == "skip":
            words.append("failed ones are skipped")
    elif step.loop is not None:
        loop = step.loop
        words.extend(f"{word} {_cut(when)}" for word, when in (("while", loop.while_), ("until", loop.until)) if when)
        words.append(f"at most {loop.max_iterations} times")
    return ", ".join(words)


def _wait(step: StepSpec) -> str:
    words: list[str] = []
    timeout: Duration | None = None
    if step.sleep is not None:
        if step.sleep.duration is not UNSET:
            words.append(_cut(_plain(step.sleep.duration)))
        if step.sleep.until is not UNSET:
            words.append(_cut(f"until {_plain(step.sleep.until)}"))
    elif step.wait_for_event is not None:
        words.append(step.wait_for_event.name)
        timeout = step.wait_for_event.timeout
    elif step.suspend is not None:
        words.extend(filter(None, [_cut(_plain(step.suspend.message))]))
        timeout = step.suspend.timeout
    if timeout is not None:
        words.append(f"at most {duration_text(timeout)}")
    return ", ".join(words)


def _reference(value: Any) -> str:
    """A reference as a person would write it; the one of an object with a namespace with that in front."""
    if isinstance(value, Mapping):
        name = value.get("ref") or value.get("refName") or value.get("name") or ""
        where = "" if value.get("ref") or value.get("refName") else value.get("namespace") or ""
        return f"{where}/{name}" if where else str(name)
    return str(value)


def _plain(value: Any) -> str:
    """A template on one line; braces around a single expression are left out."""
    if not isinstance(value, str):
        return "" if value is None else orjson.dumps(value, default=str).decode()
    text = value.strip()
    inner = text[2:-2]
    return inner.strip() if text.startswith("{{") and text.endswith("}}") and "{{" not in inner else text


def _cut(text: str) -> str:
    """A text on one line, cut to size."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"
