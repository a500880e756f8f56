"""Steps in one block, with labels to jump to, and what can be said of the ways through them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

__all__ = ["END", "Layout", "Step"]

END = "END"
_DATA = re.compile(r'data\[("(?:[^"\\]|\\.)*")\]')


@attrs.define
class Step:
    """A step in the making."""

    id: str
    body: dict[str, Any]
    """Its manifest without ``next`` and ``branch``."""
    site: str
    """Key path of the action that it is made of."""
    next: str = ""
    """A label; "": it goes on with the following step."""
    cases: list[tuple[str, str, str]] = attrs.field(factory=list)
    """Of a branch: name, condition, label."""
    default: str = ""
    """Of a branch: label."""
    pure: bool = False
    """All it does is to publish."""
    first: bool = False
    """It gives a first value, before all actions."""

    @property
    def writes(self) -> str:
        output = self.body.get("output")
        return str(output["type"]) if isinstance(output, Mapping) and "type" in output else ""

    @property
    def reads(self) -> frozenset[str]:
        return frozenset(reads_of([self.body, [when for _, when, _ in self.cases]]))


def reads_of(value: Any) -> Iterable[str]:
    """Names of published data that the expressions in a value use."""
    if isinstance(value, str):
        for found in _DATA.finditer(value):
            yield json.loads(found[1])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from reads_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from reads_of(item)


class Layout:
    """A list of steps that grows at its end."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._places: dict[str, int | str] = {END: -1}
        """Label -> index of a step, or another label."""
        self._pending: list[str] = []
        """Labels of the step that comes next."""

    def add(self, step: Step) -> Step:
        for label in self._pending:
            self._places[label] = len(self.steps)
        self._pending = []
        self.steps.append(step)
        return step

    def mark(self, label: str) -> None:
        """Let a label be the step that comes next."""
        if label not in self._places and label not in self._pending:
            self._pending.append(label)

    def take_back(self, count: int) -> list[Step]:
        """Remove all steps but the first ``count``; labels of the rest wait for the step that comes next."""
        gone = self.steps[count:]
        del self.steps[count:]
        for label, place in list(self._places.items()):
            if isinstance(place, int) and place >= count:
                del self._places[label]
                self._pending.append(label)
        return gone

    def jump(self, label: str, step: Step) -> None:
        """Go to a label from here; ``step`` is only taken where there is nothing that could go there."""
        if not self.steps:
            step.next = label
            self.add(step)
            return
        for waiting in self._pending:
            if waiting != label:
                self._places[waiting] = label
        self._pending = [label] if label in self._pending else []
        last = self.steps[-1]
        if not last.next and not last.cases:
            last.next = label

    def index(self, label: str) -> int:
        """Index of the step that a label is; the number of steps for the end."""
        seen: set[str] = set()
        place: int | str = label
        while isinstance(place, str):
            if place in seen:  # jumps that lead to each other, with nothing between them
                return len(self.steps)
            seen.add(place)
            place = self._places.get(place, -1)
        return len(self.steps) if place < 0 else place

    def knows(self, label: str) -> bool:
        return label in self._places or label in self._pending

    # ------------------------------------------------------------------------------------------- ways

    def goals(self, index: int) -> list[int]:
        """Indices of the steps that can come after one."""
        step = self.steps[index]
        if step.cases:
            return [*(self.index(label) for _, _, label in step.cases), self.index(step.default)]
        return [self.index(step.next) if step.next else index + 1]

    def reached(self) -> set[int]:
        """Indices of the steps that a way leads to."""
        seen: set[int] = set()
        todo = [0] if self.steps else []
        while todo:
            at = todo.pop()
            if at not in seen and at < len(self.steps):
                seen.add(at)
                todo.extend(self.goals(at))
        return seen

    def without_exit(self) -> set[int]:
        """Indices of the steps from which no way leads to the end."""
        size = len(self.steps)
        out = {size}
        grown = True
        while grown:
            more = {at for at in range(size) if at not in out and any(goal in out for goal in self.goals(at))}
            grown = bool(more)
            out |= more
        return self.reached() - out

    def unset(self, at_end: Iterable[str]) -> set[str]:
        """Names that are used where a way leads to that has not published them."""
        size = len(self.steps)
        every = {step.writes for step in self.steps} | {name for step in self.steps for name in step.reads}
        every |= set(at_end)
        have: dict[int, set[str]] = {at: set(every) for at in range(size + 1)}
        have[0] = set()
        changed = True
        while changed:
            changed = False
            for at in sorted(self.reached()):
                after = have[at] | {self.steps[at].writes}
                for goal in self.goals(at):
                    if not have[goal] <= after:
                        have[goal] &= after
                        changed = True
        found = {name for at in self.reached() for name in self.steps[at].reads - have[at]}
        return found | (set(at_end) - have[size])

    def put_first(self, steps: list[Step]) -> None:
        """Put steps before all others, one after the other."""
        count = len(steps)
        self._places = {
            label: place + count if isinstance(place, int) and place >= 0 else place
            for label, place in self._places.items()
        }
        self.steps[:0] = steps

    def written_before(self) -> list[set[str]]:
        """For each step the names that actions may have published before it."""
        have: list[set[str]] = [set() for _ in range(len(self.steps) + 1)]
        changed = True
        while changed:
            changed = False
            for at in range(len(self.steps)):
                step = self.steps[at]
                after = have[at] | ({step.writes} if step.writes and not step.first else set())
                for goal in self.goals(at):
                    if not after <= have[goal]:
                        have[goal] |= after
                        changed = True
        return have

    def used_after(self, at_end: Iterable[str]) -> list[set[str]]:
        """For each step the names whose value something uses later; what only serves to publish such names is none."""
        size = len(self.steps)
        used: list[set[str]] = [set() for _ in range(size)] + [set(at_end)]
        before: list[set[str]] = [set() for _ in range(size)] + [set(at_end)]
        changed = True
        while changed:
            changed = False
            for at in reversed(range(size)):
                step = self.steps[at]
                after = set().union(*(before[goal] for goal in self.goals(at)))
                own = set(step.reads) if not step.pure or step.writes in after else set()
                now = (after - {step.writes}) | own
                if after != used[at] or now != before[at]:
                    used[at], before[at] = after, now
                    changed = True
        return used[:size]

    # ------------------------------------------------------------------------------------------- manifest

    def manifest(self) -> list[dict[str, Any]]:
        """The steps that can be reached, as a Workflow has them."""
        reached = sorted(self.reached())
        place = {at: number for number, at in enumerate(reached)}
        out = []
        for at in reached:
            step = self.steps[at]
            body = dict(step.body)
            if step.cases:
                cases = [{"name": name, "when": when, "next": self._name(label)} for name, when, label in step.cases]
                body["branch"] = {
                    "cases": [{key: value for key, value in case.items() if value} for case in cases],
                    "default": self._name(step.default),
                }
            else:
                goal = self.goals(at)[0]
                if place.get(goal, len(reached)) != place[at] + 1:
                    body["next"] = END if goal >= len(self.steps) else self.steps[goal].id
            out.append({"id": step.id, **body})
        return out

    def _name(self, label: str) -> str:
        at = self.index(label)
        return END if at >= len(self.steps) else self.steps[at].id
