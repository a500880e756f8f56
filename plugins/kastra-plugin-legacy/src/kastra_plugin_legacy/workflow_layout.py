"""Puts steps in order: waiting becomes a list with ``parallel`` where steps are independent, and so do forks."""

from __future__ import annotations

from collections.abc import Sequence

from kastra_core.migration import Node
from kastra_plugin_legacy.workflow_model import Block, Step, Ways
from kastra_plugin_legacy.workflow_read import AFTER, Ids

__all__ = ["arrange"]


def arrange(steps: Sequence[Step], where: Node, ids: Ids, start: Step | None = None) -> Block:
    """Return the block that steps make; what cannot be carried out is a problem of its node.

    Args:
        where: place of the steps in the source.
        ids: gives added steps their ids.
        start: the step to begin with; default: the first.
    """
    block = Block(start=start)
    waits = any(step.ways.form == "falls" for step in steps)
    if waits:
        _ordered(steps, block, where, ids)
    else:
        for step in steps:
            for field in AFTER:
                step.note(step.field(field), "dropped", "", "the order is that of `next`")
            block.add(step)
        if block.steps:
            _prune(block)
            if not _endless(block):
                _fork(block, where, ids)
                _prune(block)
                _endless(block)
    for step in block.steps:
        for branch in step.branches:
            if not step.added and len(branch.steps) > 1:
                inner = arrange(branch.steps, where, ids)
                branch.steps = []
                for one in inner.steps:
                    branch.add(one)
    return block


# ------------------------------------------------------------------------------------------------ waiting


def _ordered(steps: Sequence[Step], block: Block, where: Node, ids: Ids) -> None:
    circle = _circle(steps)
    if circle:
        names = ", ".join(step.key for step in circle[:8])
        circle[0].node.problem(f"the steps {names} wait for each other", "take one of them out of the circle")
        for step in steps:
            step.ways = Ways(form="goes")
            block.add(step)
        return
    for step in steps:
        for field in AFTER:
            step.note(step.field(field), "mapped", "", "the order of the steps follows from it")
    _series(list(steps), block, where, ids)


def _circle(steps: Sequence[Step]) -> list[Step]:
    """Steps that wait for each other; none when there is an order."""
    left = {step: set(step.after) for step in steps}
    while True:
        free = [step for step, waits in left.items() if not waits & left.keys()]
        if not free:
            break
        for step in free:
            del left[step]
    # What only waits for the circle is not in it.
    while True:
        outer = [step for step in left if not any(step in other.after for other in left)]
        if not outer:
            return list(left)
        for step in outer:
            del left[step]


def _series(steps: list[Step], block: Block, where: Node, ids: Ids) -> None:
    """Add steps to a block so that each comes after what it waits for."""
    left = steps
    while left:
        parts = _parts(left)
        if len(parts) > 1:
            _add_parallel(parts, block, where, ids)
            break
        inside = set(left)
        first = [step for step in left if not inside.intersection(step.after)]
        if len(first) == 1:
            block.add(first[0])
        else:
            _add_parallel([[step] for step in first], block, where, ids)
        taken = set(first)
        left = [step for step in left if step not in taken]
    for at, step in enumerate(block.steps):
        step.ways = Ways(form="goes", target=block.steps[at + 1] if at + 1 < len(block.steps) else None)


def _parts(steps: list[Step]) -> list[list[Step]]:
    """The steps in groups of which none waits for another one, in the order of the source."""
    inside = set(steps)
    near: dict[Step, list[Step]] = {step: [] for step in steps}
    for step in steps:
        for other in step.after:
            if other in inside:
                near[step].append(other)
                near[other].append(step)
    out: list[list[Step]] = []
    seen: set[Step] = set()
    for step in steps:
        if step in seen:
            continue
        group: set[Step] = set()
        todo = [step]
        while todo:
            one = todo.pop()
            if one not in group:
                group.add(one)
                todo.extend(near[one])
        seen |= group
        out.append([one for one in steps if one in group])
    return out


def _add_parallel(parts: list[list[Step]], block: Block, where: Node, ids: Ids) -> Step:
    step = Step(id=ids.give("parallel"), node=where, kind="parallel", added=True)
    for part in parts:
        branch = Block(owner=step, name=part[0].id)
        if len(part) == 1:
            branch.add(part[0])
            part[0].ways = Ways(form="goes")
        else:
            _series(part, branch, where, ids)
        step.branches.append(branch)
    block.add(step)
    return step


# ------------------------------------------------------------------------------------------------ next


def _prune(block: Block) -> None:
    """Leave out steps that no way leads to."""
    reached = block.reached([block.first()])
    for step in block.steps:
        if step not in reached:
            step.node.dropped("no other step leads to this one, so it was never carried out; it is left out")
    block.steps = [step for step in block.steps if step in reached]


def _endless(block: Block) -> bool:
    """Refuse steps from which no way leads to the end; whether there are such."""
    leads = {step for step in block.steps if None in step.ways.goals()}
    grown = True
    while grown:
        more = {step for step in block.steps if step not in leads and leads.intersection(step.ways.goals())}
        grown = bool(more)
        leads |= more
    stuck = [step for step in block.steps if step not in leads]
    if stuck:
        names = ", ".join(step.key for step in stuck[:8])
        last = stuck[-1]
        node = last.ways.node if last.ways.node is not None else last.node
        node.problem(f"no way leads from the steps {names} to the end", "let one of them go on with END")
    return bool(stuck)


def _fork(block: Block, where: Node, ids: Ids) -> None:
    """Make a parallel step of each step that leads to several at once, inner ones first."""
    while True:
        forks = [step for step in block.steps if step.ways.form == "all"]
        if not forks:
            return
        inner = next((step for step in forks if not _others_within(step, forks)), forks[-1])
        _split(inner, block, where, ids)


def _others_within(step: Step, forks: list[Step]) -> bool:
    reached = Block.reached(step.ways.goals())
    return any(other is not step and other in reached for other in forks)


def _split(step: Step, block: Block, where: Node, ids: Ids) -> None:
    reached = [Block.reached([target]) for target in step.ways.targets]
    shared: set[Step | None] = set()
    for at, one in enumerate(reached):
        for other in reached[at + 1 :]:
            shared |= one & other
    shared.discard(None)
    regions = [[one for one in block.steps if one in region and one not in shared] for region in reached]
    regions = [region for region in regions if region]
    entries = {
        goal for region in regions for one in region for goal in one.ways.goals() if goal is not None and goal in shared
    }
    entries |= {target for target in step.ways.targets if target in shared}
    inside = {one for region in regions for one in region}
    outside = [one for one in block.steps if one not in inside and one is not step]
    closed = not any(inside.intersection(one.ways.goals()) for one in outside)
    if step in shared or step in inside or len(entries) > 1 or not closed:
        first = step.ways.targets[0]
        step.notes = [note for note in step.notes if note.field != "next"]
        node = step.ways.node
        if node is not None:
            step.note(
                node,
                "manual",
                "next",
                "these steps meet again in more than one place, which `parallel` cannot say; only"
                f" {first.key!r} follows here: see where the others belong",
            )
        step.ways = Ways(form="goes", target=first, node=step.ways.node)
        return
    meeting = next(iter(entries), None)
    if len(regions) < 2:
        only = _entry(step, regions[0]) if regions else meeting
        step.ways = Ways(form="goes", target=only, node=step.ways.node)
        return
    both = Step(id=ids.give(f"{step.id}-next"), node=where, kind="parallel", added=True)
    for region_steps in regions:
        entry = _entry(step, region_steps)
        branch = Block(owner=both, name=entry.id)
        for member in [entry, *(one for one in region_steps if one is not entry)]:
            if meeting is not None:
                member.ways.replace(meeting, None)
            branch.add(member)
        both.branches.append(branch)
    both.ways = Ways(form="goes", target=meeting)
    block.steps = [one for one in block.steps if one not in inside]
    at = block.steps.index(step) + 1
    both.block = block
    block.steps.insert(at, both)
    step.ways = Ways(form="goes", target=both, node=step.ways.node)


def _entry(step: Step, region: list[Step]) -> Step:
    """The step of a region that the fork leads to."""
    return next(one for one in region if one in step.ways.targets)
