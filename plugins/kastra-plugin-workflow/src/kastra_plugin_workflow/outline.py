"""A workflow's blocks and steps with their places in the manifest, in the order of the file.

Made by a loop, not by recursion: a workflow may be nested as deeply as its manifest could be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_plugin_workflow.spec import StepSpec, WorkflowSpec

__all__ = ["Block", "Outline", "Site", "outline_of"]


@attrs.define(eq=False)
class Site:
    """A step and where it stands."""

    step: StepSpec
    path: str
    """As the manifest writes it: ``spec.steps[1].parallel[0]`` where the short form stands there."""
    block: Block
    index: int
    """In its block."""
    raw: Any
    """The manifest's object."""
    blocks: list[Block] = attrs.field(factory=list)
    """Those that it holds, in the order of the form, handlers last."""
    number: int = 0
    """In the outline."""
    bodies: tuple[str, ...] = ()
    """As ``step.bodies``."""
    body: str = ""

    def at(self, *fields: str) -> str:
        """Path of a field below the step, through short forms: ``at("branch", "cases")`` may be ``….branch``."""
        path, raw = self.path, self.raw
        for field in fields:
            if isinstance(raw, Mapping) and field in raw:
                path, raw = f"{path}.{field}", raw[field]
            elif not isinstance(raw, Mapping):
                break  # a short form: the value stands for the object
            else:
                return f"{path}.{field}"
        return path


@attrs.define(eq=False)
class Block:
    """A list of steps."""

    steps: list[Site]
    path: str
    kind: str
    """top, onFailure (of the workflow), case, default, parallel, foreach, loop or handler (of a step)."""
    owner: Site | None = None
    """The step that holds it."""
    label: str = ""
    """Name of a parallel branch or of a case, index of a case without name, ``default``."""
    private: bool = False
    """Its steps are in sight of it alone (parallel, foreach, loop, branch in mode all)."""

    @property
    def around(self) -> Block | None:
        return self.owner.block if self.owner is not None else None


@attrs.define(eq=False)
class Outline:
    """All blocks and steps."""

    spec: WorkflowSpec
    sites: list[Site]
    """In the order of the file."""
    blocks: list[Block]
    by_id: dict[str, Site]
    """The first step of each id."""

    @property
    def top(self) -> Block:
        return self.blocks[0]

    @property
    def on_failure(self) -> Block | None:
        return next((block for block in self.blocks if block.kind == "onFailure"), None)


def outline_of(raw: JsonObject, spec: WorkflowSpec) -> Outline:
    """Return the outline of a spec; ``raw`` is the JSON that it was read from."""
    outline = Outline(spec, [], [], {})
    todo: list[tuple[Block, Sequence[StepSpec], Any, int]] = []
    for field, kind, given_steps in (("onFailure", "onFailure", spec.on_failure), ("steps", "top", spec.steps)):
        if given_steps or kind == "top":
            todo.append((Block([], f"spec.{field}", kind), given_steps, raw.get(field), 0))
    while todo:
        block, steps, given, index = todo.pop()
        if index == 0:
            outline.blocks.append(block)
        if index >= len(steps):
            continue
        item = given[index] if isinstance(given, (list, tuple)) and index < len(given) else given
        single = not isinstance(given, (list, tuple))
        path = block.path if single else f"{block.path}[{index}]"
        bodies = steps[index].bodies
        body = bodies[0] if bodies else ""
        site = Site(steps[index], path, block, index, item, number=len(outline.sites), bodies=bodies, body=body)
        outline.sites.append(site)
        outline.by_id.setdefault(site.step.id, site)
        block.steps.append(site)
        todo.append((block, steps, given, index + 1))
        inner = list(_inner(site))
        site.blocks = [found for found, _, _ in inner]
        todo.extend((found, found_steps, found_raw, 0) for found, found_steps, found_raw in reversed(inner))
    return outline


def _get(raw: Any, field: str) -> Any:
    return raw.get(field) if isinstance(raw, Mapping) else None


def _inner(site: Site) -> Iterator[tuple[Block, Sequence[StepSpec], Any]]:
    step = site.step
    if step.branch is not None:
        everything = step.branch.mode == "all"
        at, given = site.at("branch", "cases"), _get(site.raw, "branch")
        cases = given if isinstance(given, (list, tuple)) else _get(given, "cases")
        for index, case in enumerate(step.branch.cases):
            if case.steps:
                block = Block([], f"{at}[{index}].steps", "case", site, case.name or str(index), everything)
                yield block, case.steps, _get(_nth(cases, index), "steps")
        default = step.branch.default
        if default is not None and default.steps:
            path = site.at("branch", "default", "steps")
            yield (
                Block([], path, "default", site, "default", everything),
                default.steps,
                _get(_get(given, "default"), "steps"),
            )
    if step.parallel is not None:
        at, given = site.at("parallel", "branches"), _get(site.raw, "parallel")
        branches = given if isinstance(given, (list, tuple)) else _get(given, "branches")
        for index, branch in enumerate(step.parallel.branches):
            raw = _nth(branches, index)
            path = f"{at}[{index}]"
            inner = _get(raw, "steps")
            if inner is not None or not isinstance(raw, Mapping) or "id" not in raw:
                path, raw = f"{path}.steps", inner
            yield Block([], path, "parallel", site, branch.name, True), branch.steps, raw
    if step.foreach is not None:
        yield (
            Block([], site.at("foreach", "steps"), "foreach", site, "", True),
            step.foreach.steps,
            _get(_get(site.raw, "foreach"), "steps"),
        )
    if step.loop is not None:
        yield (
            Block([], site.at("loop", "steps"), "loop", site, "", True),
            step.loop.steps,
            _get(_get(site.raw, "loop"), "steps"),
        )
    if step.on_failure is not None and step.on_failure.steps:
        yield (
            Block([], site.at("onFailure", "steps"), "handler", site, "onFailure"),
            step.on_failure.steps,
            _get(_get(site.raw, "onFailure"), "steps"),
        )


def _nth(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, (list, tuple)) and index < len(values) else None
