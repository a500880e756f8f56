"""The steps of an older workflow as blocks, with the ways between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Node
from kastra_core.protocols.migrator import Outcome

__all__ = ["Block", "Case", "Kind", "Note", "Step", "Ways", "every_step"]

Kind = Literal["agent", "tool", "function", "workflow", "network", "condition", "parallel", "output", "unknown"]


@attrs.frozen(kw_only=True)
class Note:
    """A row to write as soon as the place of the step in the result is known."""

    node: Node
    outcome: Outcome
    field: str = ""
    """Of the step, "" for the step itself."""
    reason: str = ""
    whole: bool = True
    tail: bool = False
    """The field is one of the step that follows (a branch)."""


@attrs.define(eq=False, kw_only=True)
class Case:
    """A way that is taken when a condition holds."""

    condition: Node | None
    """None: there is no condition but a word to look for in the step's answer, or a name that it gives."""
    target: Step | None
    """None: the end."""
    word: str = ""
    node: Node | None = None
    """Where the target stands."""


@attrs.define(eq=False, kw_only=True)
class Ways:
    """Where a step leads.

    falls: it says nothing, which means the following one; only until the steps are in order. goes: to ``target``.
    branches: to the first case that holds, else to ``target``. names: to the step that ``node`` names (``computed``),
    or that the answer mentions. all: to each of ``targets``, at once.
    """

    form: Literal["falls", "goes", "branches", "names", "all"] = "falls"
    target: Step | None = None
    cases: list[Case] = attrs.field(factory=list)
    targets: list[Step] = attrs.field(factory=list)
    node: Node | None = None
    """Where it stands."""
    computed: bool = False
    """An expression gives the name."""

    def goals(self) -> Iterator[Step | None]:
        """Where it can lead, None for the end."""
        if self.form in ("goes", "branches", "names"):
            for case in self.cases:
                yield case.target
            yield self.target
        elif self.form == "all":
            yield from self.targets

    def replace(self, step: Step, by: Step | None) -> None:
        """Lead to ``by`` wherever it led to ``step``."""
        for case in self.cases:
            if case.target is step:
                case.target = by
        if self.target is step:
            self.target = by


@attrs.define(eq=False, kw_only=True)
class Step:
    """A step of the source, or one that was added to hold others."""

    id: str
    """In the result."""
    node: Node
    """Where it stands; of an added step that of the workflow's steps."""
    kind: Kind = "unknown"
    key: str = ""
    """Its id in the source."""
    key_node: Node | None = None
    """Where that id stands as a value; None where it is a key or was made up."""
    names: tuple[str, ...] = ()
    """Other words by which the source may name it."""
    added: bool = False
    after: list[Step] = attrs.field(factory=list)
    """Steps that it waits for."""
    ways: Ways = attrs.field(factory=Ways)
    branches: list[Block] = attrs.field(factory=list)
    """Of a parallel step."""
    block: Block | None = None
    notes: list[Note] = attrs.field(factory=list)
    made: list[JsonObject] = attrs.field(factory=list)
    """What it became: itself, and a branch where it has one."""
    publishes: str = ""
    """Name under which its output is published."""
    shared: str = ""
    """The variable that it sets and other steps set, too."""
    variables: dict[str, str] = attrs.field(factory=dict)
    """Name -> the part of the output that it is, "" for all of it."""
    variable_nodes: dict[str, Node] = attrs.field(factory=dict)
    """Where they stand."""
    outputs: list[str] = attrs.field(factory=list)
    """Names of the outputs that it lists; its output is an object of them."""
    shape: Mapping[str, Any] | None = None
    """What the source says of its output, as a JSON schema; None: nothing."""
    value_wanted: bool = False
    """Of a condition: something asks for its result."""

    def field(self, *names: str) -> Node:
        """The first of these fields that is there, in the step or its ``config``; else one that is not."""
        found = self.node.first(*names)
        if found or self.added:
            return found
        inner = self.node["config"].first(*names)
        return inner if inner else found

    def note(
        self, node: Node, outcome: Outcome, field: str = "", reason: str = "", *, whole: bool = True, tail: bool = False
    ) -> None:
        """Keep a row for later."""
        if node.present:
            self.notes.append(Note(node=node, outcome=outcome, field=field, reason=reason, whole=whole, tail=tail))


@attrs.define(eq=False)
class Block:
    """A list of steps that begins with the first, or with ``start``."""

    steps: list[Step] = attrs.field(factory=list)
    name: str = ""
    """Of a branch of a parallel step."""
    owner: Step | None = None
    start: Step | None = None

    def add(self, step: Step) -> None:
        step.block = self
        self.steps.append(step)

    def first(self) -> Step:
        return self.start or self.steps[0]

    @staticmethod
    def reached(starts: Iterable[Step | None], without: Collection[Step] = ()) -> set[Step | None]:
        """What can be reached from some steps, themselves included, not going through ``without``. None is the end."""
        seen: set[Step | None] = set()
        todo = list(starts)
        while todo:
            step = todo.pop()
            if step in seen or step in without:
                continue
            seen.add(step)
            if step is not None:
                todo.extend(step.ways.goals())
        return seen

    def may_precede(self, first: Step, second: Step) -> bool:
        """Whether ``second`` can begin after ``first`` is over."""
        return second in self.reached(first.ways.goals())

    def always_before(self, first: Step, second: Step | None) -> bool:
        """Whether no way leads to ``second`` (None: the end) but through ``first``."""
        return first is not second and second not in self.reached([self.first()], without=(first,))

    def one_always_before(self, firsts: Collection[Step], second: Step | None) -> bool:
        """Whether no way leads to ``second`` but through one of ``firsts``."""
        return second not in firsts and second not in self.reached([self.first()], without=firsts)

    def chain(self) -> Iterator[tuple[Block, Step | None]]:
        """This block and those around it with the step that each lies in, from here to the top."""
        block: Block | None = self
        inner: Step | None = None
        while block is not None:
            yield block, inner
            inner = block.owner
            block = inner.block if inner is not None else None


def every_step(block: Block) -> Iterator[Step]:
    """All steps of a block and the blocks in it, in the order of the result."""
    for step in block.steps:
        yield step
        for branch in step.branches:
            yield from every_step(branch)
