"""The steps of a flow in their order, as blocks with branches and ``parallel``.

A flow without that form gets another one (``flow_queue``); both make the same steps of the methods, and differ in what
stands between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import cel_literal
from kastra_plugin_crewai.flow_expressions import Output
from kastra_plugin_crewai.flow_graph import Block, Events, Fork, Item, Run, Unstructured
from kastra_plugin_crewai.flow_model import Method

__all__ = ["Blocks", "Outputs", "Steps", "answers"]

Outputs = Callable[[str], "Output | None"]
_CASE_NAME = re.compile(r"[A-Za-z0-9_. -]{1,60}", re.ASCII)


class Steps(Protocol):
    """Makes the steps of a method."""

    def make(self, method: Method, outputs: Outputs) -> list[JsonObject]:
        """All steps of a method: its action, and the question to a person."""
        ...

    def fresh(self, name: str) -> str:
        """An id for a further step."""
        ...

    def output(self, method: str, *, published: str = "") -> Output:
        """Where the output of a method is: its step, or the data of that name."""
        ...

    def answer(self, method: str) -> str:
        """CEL of what a router answered."""
        ...

    def result(self, method: str) -> str:
        """CEL of what the flow gives when it ends with this method."""
        ...

    def loose(self, method: str) -> bool:
        """Whether the answer of a router may be another value than a text."""
        ...

    def reads(self, method: str) -> set[str]:
        """Methods whose outputs a method reads."""
        ...


def answers(steps: Steps, router: str, label: str) -> str:
    """CEL condition: a router answered with a label."""
    if not steps.loose(router):
        return f"{steps.answer(router)} == {cel_literal(label)}"
    # CrewAI compares the text that Python makes of the answer.
    known: dict[str, Any] = {"True": True, "False": False}
    values: list[Any] = [label]
    if label in known:
        values.append(known[label])
    elif label.lstrip("-").isdecimal() and len(label) < 16:
        values.append(int(label))
    return f"{steps.answer(router)} in {cel_literal(values)}"


# ------------------------------------------------------------------------------------------------ blocks


@attrs.define(eq=False)
class Blocks:
    """Blocks, branches and ``parallel``."""

    events: Events
    steps: Steps
    block: Block
    _of: dict[str, Block] = attrs.field(factory=dict)
    _published: dict[str, str] = attrs.field(factory=dict)
    _ids: dict[int, str] = attrs.field(factory=dict)

    def check(self) -> None:
        """Look whether each method sees what it reads.

        Raises:
            Unstructured: a method reads the output of one that is not in sight there.
        """
        for block, item in _walk(self.block):
            if isinstance(item, Run):
                self._of[item.method] = block
        for name in self._of:
            for read in self.steps.reads(name):
                if read not in self._of:
                    continue
                if self._sight(name, read) is None:
                    raise Unstructured(f"{name} reads the output of {read}, which runs at the same time or later")
        for block, _ in _walk(self.block):
            self._leads_out(block)

    def _leads_out(self, block: Block) -> None:
        """Refuse cycles without a way out."""
        good: set[int] = set()
        while True:
            more = [
                item
                for item in block.items
                if id(item) not in good and any(after is None or id(after) in good for after in _after(item))
            ]
            if not more:
                break
            good.update(id(item) for item in more)
        if len(good) < len(block.items):
            raise Unstructured("methods lead to each other for ever")

    def _sight(self, reader: str, read: str) -> bool | None:
        """Whether an output is read as published data; None: it cannot be seen."""
        around = _chain(self._of[reader])
        inner = _chain(self._of[read])
        common = next(block for block in inner if block in around)
        at = self._item_in(common, reader, around)
        other = self._item_in(common, read, inner)
        if at is other and isinstance(at, Fork):
            return None
        if not _comes_after(other, at):
            return None
        return common is not self._of[read]

    def _item_in(self, block: Block, method: str, chain: list[Block]) -> Item:
        """The item of ``block`` that is the method or holds it."""
        if chain[0] is block:
            return next(item for item in block.items if isinstance(item, Run) and item.method == method)
        below = chain[chain.index(block) - 1]
        assert below.fork is not None
        return below.fork

    def outputs(self, reader: str) -> Outputs:
        """Outputs as a method sees them."""

        def find(name: str) -> Output | None:
            if name not in self._of:
                return None
            data = self._sight(reader, name)
            if data is None:
                return None
            return self.steps.output(name, published=self._publish(name) if data else "")

        return find

    def _publish(self, name: str) -> str:
        return self._published.setdefault(name, name)

    def manifest(self) -> list[JsonObject]:
        """All steps."""
        made = self._block(self.block)
        by_id = {step["id"]: step for step in _all_steps(made)}
        for name, data in self._published.items():
            step = by_id[self.steps.output(name).path.split(".")[1]]
            step["output"] = {"type": data, **({"value": step["output"]} if "output" in step else {})}
        return made

    def _block(self, block: Block) -> list[JsonObject]:
        out: list[JsonObject] = []
        made: list[tuple[Item, list[JsonObject]]] = []
        for item in block.items:
            if isinstance(item, Run):
                steps = self.steps.make(self.events.methods[item.method], self.outputs(item.method))
                self._ids[id(item)] = steps[0]["id"]
            else:
                steps = [self._fork(item)]
                self._ids[id(item)] = steps[0]["id"]
            made.append((item, steps))
        for at, (item, steps) in enumerate(made):
            following = made[at + 1][0] if at + 1 < len(made) else None
            if isinstance(item, Run) and item.cases is not None:
                steps.append(self._route(item))
            elif item.next is not following:
                steps[-1]["next"] = self._goal(item.next)
            out += steps
        return out

    def _goal(self, item: Item | None) -> str:
        return self._ids[id(item)] if item is not None else "END"

    def _fork(self, fork: Fork) -> JsonObject:
        step = self.steps.fresh("_and_".join(fork.methods[:2]))
        branches = []
        for name, branch in zip(fork.methods, fork.branches, strict=True):
            branches.append({"name": name, "steps": self._block(branch)})
        return {"id": step, "parallel": {"branches": branches}}

    def _route(self, run: Run) -> JsonObject:
        cases: list[JsonObject] = []
        for label, item in (run.cases or {}).items():
            if item is not None:
                name = {"name": label} if _CASE_NAME.fullmatch(label) else {}
                when = answers(self.steps, run.method, label)
                cases.append({"when": when, **name, "next": self._goal(item)})
        step: JsonObject = {"id": self.steps.fresh(f"{run.method}_route")}
        result = self.steps.result(run.method)
        if result != self.steps.answer(run.method):
            step["input"] = f"{{{{ {result} }}}}"
        if not cases:
            return {**step, "set": f"{{{{ {result} }}}}", "next": "END"}
        return {**step, "branch": {"cases": cases, "default": "END"}}


def _walk(block: Block) -> Iterator[tuple[Block, Item]]:
    for item in block.items:
        yield block, item
        if isinstance(item, Fork):
            for branch in item.branches:
                yield from _walk(branch)


def _after(item: Item) -> list[Item | None]:
    if isinstance(item, Run) and item.cases is not None:
        return [*item.cases.values(), None]
    return [item.next]


def _chain(block: Block | None) -> list[Block]:
    out = []
    while block is not None:
        out.append(block)
        block = block.around
    return out


def _comes_after(first: Item, second: Item) -> bool:
    """Whether ``second`` can run after ``first`` is over."""
    seen: set[int] = set()
    todo = [item for item in _after(first) if item is not None]
    while todo:
        item = todo.pop()
        if item is second:
            return True
        if id(item) not in seen:
            seen.add(id(item))
            todo += [after for after in _after(item) if after is not None]
    return False


def _all_steps(steps: list[JsonObject]) -> Iterator[JsonObject]:
    for step in steps:
        yield step
        for branch in step.get("parallel", {}).get("branches", ()):
            yield from _all_steps(branch["steps"])
