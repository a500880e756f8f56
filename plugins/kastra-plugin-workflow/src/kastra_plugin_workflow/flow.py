"""Where the flow can go: steps that are never reached, cycles without exit, and what can have run before what.

All of it looks at possible ways only: a condition may be true or false, a step may fail where its failure is handled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import attrs

from kastra_core.errors import Problem
from kastra_plugin_workflow.outline import Block, Outline, Site
from kastra_plugin_workflow.spec import END
from kastra_plugin_workflow.step_rules import target_problem, targets_of
from kastra_plugin_workflow.type_rules import type_problems

__all__ = ["Flow", "flow_problems", "type_problems"]

_MOST_EXACT = 16_384
"""Steps of one block whose ways are all worked out (32 MB); in a bigger block a way back is taken to exist."""
_SHOWN = 8


@attrs.define
class _Ways:
    """The ways within one block. Nodes are indices of its steps; ``len(steps)`` is its end."""

    edges: list[list[int]]
    exits: list[bool]
    """A way out of the workflow starts in the step: succeed, or fail, in it or in a block of it."""
    straight: list[int]
    """Number of steps before this one from which no way leads to the step after it."""
    unknown: bool
    """A name in it is no step."""
    start: int
    reached: list[bool] | None = None
    """Nodes that a way from the start leads to. Made when it is needed."""
    after: list[int] | None = None
    """Bits: the nodes that can come after a step. Made when it is needed."""


class Flow:
    """Answers what can come before what. Made once for a workflow."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self._ends = _ends(outline)
        self._names = {id(block): {site.step.id for site in block.steps} for block in outline.blocks}
        self._unreached: set[int] = set()
        self._ways: dict[int, _Ways] = {id(block): self._ways_of(block) for block in outline.blocks}

    # --------------------------------------------------------------------------------- ways

    def _ways_of(self, block: Block) -> _Ways:
        at = {site.step.id: site.index for site in reversed(block.steps)}
        size = len(block.steps)
        edges: list[list[int]] = []
        unknown = False
        for site in block.steps:
            names, falls = _goals(site)
            found = []
            for name in names:
                goal = size if name == END else at.get(name)
                if goal is None:
                    unknown = True
                else:
                    found.append(goal)
            if falls:
                found.append(site.index + 1)
            edges.append(list(dict.fromkeys(found)))
        start = (
            at.get(self.outline.spec.initial_step, 0) if block.kind == "top" and self.outline.spec.initial_step else 0
        )
        edges.append([start] if block.kind == "loop" and size else [])
        straight, breaks = [], 0
        for index in range(size + 1):
            straight.append(breaks)
            if index < size and index + 1 not in edges[index]:
                breaks += 1
        exits = [self._ends[site.number] for site in block.steps] + [True]
        return _Ways(edges, exits, straight, unknown, start)

    def comes_after(self, block: Block, first: int, second: int) -> bool:
        """Whether the step ``second`` of a block (its length: the end) can start after ``first`` is over."""
        ways = self._ways[id(block)]
        if second > first and ways.straight[second] == ways.straight[first]:
            return True
        if ways.after is None:
            if len(ways.edges) > _MOST_EXACT:
                return True
            ways.after = _closure(ways.edges)
        return bool(ways.after[first] >> second & 1)

    def reaches(self, block: Block, index: int) -> bool:
        """Whether the block's step of that index (its length: its end) can be reached from the block's start."""
        ways = self._ways[id(block)]
        if ways.reached is None:
            ways.reached = self._reached(ways, [ways.start])
        return ways.reached[index]

    def again(self, block: Block | None, *, private: bool) -> bool:
        """Whether a block can be carried out a second time and know what it did the first time.

        Args:
            private: False: what steps did is known in the blocks around only as far as they are in sight there.
                True: it is known everywhere (published data).
        """
        while block is not None and block.owner is not None:
            if block.private and not private:
                return False
            owner = block.owner
            if self.comes_after(owner.block, owner.index, owner.index):
                return True
            block = owner.block
        return False

    def leads_through(self, block: Block, numbers: Collection[int]) -> bool:
        """Whether no way from a block's start to its end, or out of it on purpose, goes past the steps ``numbers``."""
        ways = self._ways[id(block)]
        if ways.unknown or not block.steps:
            return False
        taken = [site.number in numbers for site in block.steps] + [False]
        open_ways = [[] if taken[index] else goals for index, goals in enumerate(ways.edges)]
        reached = self._reached(attrs.evolve(ways, edges=open_ways), [ways.start])
        return not any(reached[index] and ways.exits[index] and not taken[index] for index in range(len(taken)))

    def ends(self, site: Site) -> bool:
        """Whether a way out of the workflow starts in a step."""
        return self._ends[site.number]

    # --------------------------------------------------------------------------------- problems

    def problems(self) -> Iterator[Problem]:
        """Names that are no steps, steps that are never reached, cycles without exit."""
        outline = self.outline
        start = outline.spec.initial_step
        if start and all(site.step.id != start for site in outline.top.steps):
            yield target_problem(start, "spec.initialStep", outline.top, outline)
        for site in outline.sites:
            known = {END}
            for name, path in targets_of(site):
                if name not in known and name not in self._names[id(site.block)]:
                    yield target_problem(name, path, site.block, outline)
        dead: set[int] = set()
        for block in outline.blocks:
            if block.owner is not None and (id(block.owner.block) in dead or block.owner.number in self._unreached):
                dead.add(id(block))
                continue
            ways = self._ways[id(block)]
            if ways.unknown or (block.kind == "top" and start and all(s.step.id != start for s in block.steps)):
                continue  # what is named wrongly is the cause, and told
            yield from self._unreachable(block, ways)
            yield from self._endless(block, ways)

    def _reached(self, ways: _Ways, starts: list[int]) -> list[bool]:
        seen = [False] * len(ways.edges)
        todo = [start for start in starts if start < len(seen)]
        for start in todo:
            seen[start] = True
        while todo:
            for goal in ways.edges[todo.pop()]:
                if not seen[goal]:
                    seen[goal] = True
                    todo.append(goal)
        return seen

    def _unreachable(self, block: Block, ways: _Ways) -> Iterator[Problem]:
        reached = self._reached(ways, [ways.start])
        lost = [site for site in block.steps if not reached[site.index]]
        if not lost:
            return
        self._unreached.update(site.number for site in lost)
        numbers = {site.index for site in lost}
        led_to = {goal for index in numbers for goal in ways.edges[index] if goal != index}
        heads = [site for site in lost if site.index not in led_to]
        told = [False] * len(ways.edges)
        for site in (*heads, *lost):  # those of a cycle that nothing leads to have no head
            if told[site.index]:
                continue
            below = self._reached(ways, [site.index])
            following = [
                other.step.id for other in lost if other is not site and below[other.index] and not told[other.index]
            ]
            for other in lost:
                told[other.index] = told[other.index] or below[other.index]
            hint = "name it as next of a step, or remove it"
            if following:
                hint += f"; with it go {_list(following)}"
            yield Problem(f"step {site.step.id!r} is never reached", site.path, hint=hint)

    def _endless(self, block: Block, ways: _Ways) -> Iterator[Problem]:
        size = len(block.steps)
        inside = [[goal for goal in goals if goal < size] for goals in ways.edges[:size]]
        back: list[list[int]] = [[] for _ in range(size + 1)]
        for index, goals in enumerate(ways.edges[:size]):
            for goal in goals:
                back[goal].append(index)
        out = [False] * (size + 1)
        todo = [index for index in range(size + 1) if ways.exits[index]]
        for index in todo:
            out[index] = True
        while todo:
            for before in back[todo.pop()]:
                if not out[before]:
                    out[before] = True
                    todo.append(before)
        reached = self._reached(ways, [ways.start])
        stuck = [index for index in range(size) if reached[index] and not out[index]]
        if not stuck:
            return
        for group in _cycles(inside, stuck):
            members = sorted(group)
            ids = [block.steps[index].step.id for index in members]
            site = block.steps[members[-1]]
            path = f"{site.path}.next" if site.step.next else site.path
            what = f"step {ids[0]!r} leads to itself" if len(ids) == 1 else f"the steps {_list(ids)} lead to each other"
            hint = f"let a branch among them go on with another step or with {END}"
            yield Problem(f"{what} for ever: no way leads out", path, hint=hint)


def flow_problems(outline: Outline) -> tuple[Flow, list[Problem]]:
    """Return the flow of a workflow, and what is wrong with it."""
    flow = Flow(outline)
    return flow, list(flow.problems())


def _list(ids: list[str]) -> str:
    shown = ", ".join(ids[:_SHOWN])
    return f"{shown} and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else shown


def _goals(site: Site) -> tuple[list[str], bool]:
    """(names of what can come after a step, whether the step after it in the list can)."""
    step = site.step
    names: list[str] = []
    own = [step.next] if step.next else []
    falls = False
    ends = site.body in ("succeed", "fail")
    if not ends:
        ways: list[str] = [""]
        if step.branch is not None and site.body == "branch":
            default = step.branch.default
            ways = [case.next for case in step.branch.cases]
            ways.append(default.next if default is not None else "")
        for way in ways:
            names += [way] if way else own
            falls = falls or (not way and not own)
    if step.on_failure is not None:
        way = step.on_failure.next
        names += [way] if way else own
        falls = falls or (not way and not own)
    return names, falls


def _ends(outline: Outline) -> list[bool]:
    """For each step: whether it, or a step in a block of it, ends the workflow or its own block on purpose."""
    succeeds = [False] * len(outline.sites)
    fails = [False] * len(outline.sites)
    for site in reversed(outline.sites):
        number, owner = site.number, site.block.owner
        succeeds[number] = succeeds[number] or site.body == "succeed"
        fails[number] = fails[number] or (site.body == "fail" and site.step.on_failure is None)
        if owner is None:
            continue
        succeeds[owner.number] = succeeds[owner.number] or succeeds[number]
        # What fails in a body goes no further than the onFailure of the step that has the body.
        if owner.step.on_failure is None or site.block.kind == "handler":
            fails[owner.number] = fails[owner.number] or fails[number]
    return [one or other for one, other in zip(succeeds, fails, strict=True)]


def _closure(edges: list[list[int]]) -> list[int]:
    """For each node the set of nodes, as bits, that can be reached from it by one edge or more."""
    size = len(edges)
    order = _components(edges)
    component = [0] * size
    for number, members in enumerate(order):
        for node in members:
            component[node] = number
    after = [0] * size
    # Components come with those first that others lead to.
    sets: list[int] = []
    for number, members in enumerate(order):
        bits = 0
        cyclic = len(members) > 1
        for node in members:
            for goal in edges[node]:
                bits |= 1 << goal
                if component[goal] != number:
                    bits |= sets[component[goal]]
                else:
                    cyclic = True
        if cyclic:
            for node in members:
                bits |= 1 << node
        sets.append(bits)
        for node in members:
            after[node] = bits
    return after


def _components(edges: list[list[int]]) -> list[list[int]]:
    """Strongly connected components, each before those that lead to it (Tarjan, without recursion)."""
    size = len(edges)
    number = [0] * size
    low = [0] * size
    on_stack = [False] * size
    stack: list[int] = []
    out: list[list[int]] = []
    count = 0
    for root in range(size):
        if number[root]:
            continue
        work = [(root, 0)]
        while work:
            node, position = work.pop()
            if position == 0:
                count += 1
                number[node] = low[node] = count
                stack.append(node)
                on_stack[node] = True
            goals = edges[node]
            while position < len(goals):
                goal = goals[position]
                position += 1
                if not number[goal]:
                    work.append((node, position))
                    work.append((goal, 0))
                    break
                if on_stack[goal]:
                    low[node] = min(low[node], number[goal])
            else:
                if low[node] == number[node]:
                    members = []
                    while True:
                        member = stack.pop()
                        on_stack[member] = False
                        members.append(member)
                        if member == node:
                            break
                    out.append(members)
                if work:
                    before = work[-1][0]
                    low[before] = min(low[before], low[node])
    return out


def _cycles(edges: list[list[int]], nodes: list[int]) -> list[list[int]]:
    """The cycles among some nodes: components of more than one, and nodes that lead to themselves, in order."""
    wanted = set(nodes)
    inside = [
        [goal for goal in goals if goal in wanted] if index in wanted else [] for index, goals in enumerate(edges)
    ]
    found = [
        members
        for members in _components(inside)
        if len(members) > 1 or (members[0] in wanted and members[0] in inside[members[0]])
    ]
    return sorted(found, key=min)
