"""In which order the methods of a flow run: its events as blocks of steps, branches and things done at once.

A flow has no order of its own: a method runs when the events that it listens to have happened. The planner follows them
from the start methods. What has a form as a block (one method after the other, the ways of a router, ways back to an
earlier method, methods side by side that meet again) becomes one; for all else :class:`Unstructured` is raised.

Source: crewAI ``flow/runtime`` (``_execute_listeners``, ``_find_triggered_methods``): the end of a method is an event
of its name, a router's answer one more; ``and`` waits for all, ``or`` of several events happens once until a router's
answer makes it ready again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import attrs

from kastra_plugin_crewai.flow_model import Condition, Method, events_of

__all__ = ["Block", "Events", "Fork", "Item", "Run", "Unstructured", "plan"]


class Unstructured(Exception):
    """The flow has no form as blocks; with the reason."""


@attrs.define(eq=False)
class Run:
    """A method is carried out."""

    method: str
    next: Item | None = None
    """None: the block is over."""
    cases: dict[str, Item | None] | None = None
    """Of a router: label -> what follows; other labels end the block."""


@attrs.define(eq=False)
class Fork:
    """Blocks at once."""

    branches: list[Block]
    next: Item | None = None

    @property
    def methods(self) -> list[str]:
        """First method of each branch."""
        return [branch.items[0].method for branch in self.branches if isinstance(branch.items[0], Run)]


Item: TypeAlias = "Run | Fork"


@attrs.define(eq=False)
class Block:
    """Items in the order in which they are written down."""

    items: list[Item] = attrs.field(factory=list)
    around: Block | None = None
    fork: Fork | None = None
    """Of ``around``: the one that it is a branch of."""


_Pending: TypeAlias = "frozenset[tuple[str, str]]"


@attrs.frozen
class _Now:
    """What is remembered between events."""

    pending: _Pending = frozenset()
    """(method, event that its ``and`` has got so far)."""
    fired: frozenset[str] = frozenset()
    """Methods whose ``or`` of several events has happened."""


class Events:
    """Who listens to what."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods = methods
        starts = [name for name, method in methods.items() if method.start]
        plain = [name for name in starts if methods[name].start_when is None]
        self.starts = plain or starts
        """Methods that the flow begins with."""
        listened = {event for method in methods.values() for event in events_of(self.condition(method))}
        self._labels = [event for event in _ordered(methods, self) if event in listened and event not in methods]

    def condition(self, method: Method) -> Condition | None:
        """What a method waits for; of a start method what a router has to answer."""
        return method.start_when if method.start else method.listen

    def labels(self, name: str) -> list[str]:
        """Answers of a router that somebody waits for."""
        method = self.methods[name]
        if not method.router:
            return []
        told = method.emit
        if told is None:
            return self._labels
        heard = {event for other in self.methods.values() for event in events_of(self.condition(other))}
        return [label for label in dict.fromkeys(told) if label in heard]

    def listeners(self, event: str, *, by: str = "") -> list[str]:
        """Methods whose condition names an event, in the order of the flow.

        Args:
            by: the router whose answer it is; "": it is the end of a method. A start method that waits for an answer
                waits for that of a router which is none.
        """
        starts = bool(by) and not self.methods[by].start
        return [
            name
            for name, method in self.methods.items()
            if (starts or not method.start) and event in set(events_of(self.condition(method)))
        ]

    def limited(self, name: str) -> bool:
        """Whether the first of several events starts a method, and no other one until a router's answer does."""
        method = self.methods[name]
        if method.start or not is_once(method, method.listen):
            return False
        named = set(events_of(method.listen))
        # An answer starts it anew, but not one of a router with which the flow begins.
        early = [other for other in self.starts if named & set(self.labels(other))]
        return len(named & self.methods.keys()) + len(early) > 1

    def following(self, name: str) -> list[str]:
        """Methods that may run because of the end of this one."""
        found = dict.fromkeys(self.listeners(name))
        for label in self.labels(name):
            found.update(dict.fromkeys(self.listeners(label, by=name)))
        return list(found)

    def reach(self, names: Iterable[str]) -> set[str]:
        """These methods and all that follow, whatever else they wait for."""
        seen: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.following(name)
        return seen

    def reachable(self) -> list[str]:
        """Methods that can run at all, in the order of the flow: each ``and`` can be fulfilled."""
        seen = dict.fromkeys(self.starts)
        while True:
            happened = set(seen)
            labels = {label for name in seen for label in self.labels(name)}
            inner = {label for name in seen if not self.methods[name].start for label in self.labels(name)}
            more = [
                name
                for name, method in self.methods.items()
                if name not in seen and self._can(method, inner if method.start else happened | labels)
            ]
            if not more:
                return [name for name in self.methods if name in seen]
            seen.update(dict.fromkeys(more))

    def _can(self, method: Method, events: set[str]) -> bool:
        condition = self.condition(method)
        return condition is not None and satisfied(condition, events)


def _ordered(methods: Mapping[str, Method], events: Events) -> Iterator[str]:
    seen: set[str] = set()
    for method in methods.values():
        for event in events_of(events.condition(method)):
            if event not in seen:
                seen.add(event)
                yield event


def satisfied(condition: Condition, events: set[str]) -> bool:
    """Whether a condition holds once these events have happened."""
    if isinstance(condition, str):
        return condition in events
    test = all if condition[0] == "and" else any
    return test(satisfied(item, events) for item in condition[1])


def is_once(method: Method, condition: Condition | None) -> bool:
    """Whether a method is started by the first of several events only."""
    return not method.router and isinstance(condition, tuple) and condition[0] == "or" and len(condition[1]) > 1


def plan(events: Events) -> Block:
    """Return the flow as a block.

    Raises:
        Unstructured
    """
    return _Planner(events).whole()


class _Planner:
    def __init__(self, events: Events) -> None:
        self.events = events
        self.placed: dict[str, tuple[Block, Run, _Now]] = {}

    def whole(self) -> Block:
        block = Block()
        self._go(self.events.starts, _Now(), block, frozenset(), [])
        return block

    def _go(
        self, triggered: list[str], now: _Now, block: Block, stop: frozenset[str], escapes: list[str]
    ) -> Item | None:
        """Place what was triggered in a block. Return its first item."""
        if not triggered:
            return None
        if len(triggered) > 1:
            if any(self.events.methods[name].router for name in triggered):
                raise Unstructured("a router runs beside other methods")
            return self._fork(triggered, now, block, stop, escapes)
        name = triggered[0]
        if name in self.placed:
            where, run, then = self.placed[name]
            if where is not block:
                raise Unstructured(f"{name} is reached from inside and from outside of what runs at once")
            if then != now:
                raise Unstructured(f"what {name} waits for depends on the way there")
            return run
        run = Run(name)
        block.items.append(run)
        self.placed[name] = (block, run, now)
        method = self.events.methods[name]
        told, after = self._arrive(name, now, stop, escapes)
        if not method.router:
            run.next = self._go(told, after, block, stop, escapes)
            return run
        if told:
            raise Unstructured(f"methods listen to the router {name} itself, beside its answers")
        run.cases = {}
        for label in self.events.labels(name):
            triggered_by, then = self._arrive(label, after, stop, escapes, by=name)
            run.cases[label] = self._go(triggered_by, then, block, stop, escapes)
        return run

    def _arrive(
        self, event: str, now: _Now, stop: frozenset[str], escapes: list[str], *, by: str = ""
    ) -> tuple[list[str], _Now]:
        """Methods that an event starts, and what is remembered then."""
        pending, fired = set(now.pending), set(now.fired)
        out: list[str] = []
        for name in self.events.listeners(event, by=by):
            if name in stop:
                if event not in escapes:
                    escapes.append(event)
                continue
            if self._starts(name, event, pending, fired, label=bool(by) and not self.events.methods[by].start):
                out.append(name)
        return out, _Now(frozenset(pending), frozenset(fired))

    def _starts(self, name: str, event: str, pending: set[tuple[str, str]], fired: set[str], *, label: bool) -> bool:
        condition = self.events.condition(self.events.methods[name])
        assert condition is not None
        once = self.events.limited(name)
        if once and label:
            fired.discard(name)
        if once and name in fired:
            return False
        seen = {other for listener, other in pending if listener == name} | {event}
        if not satisfied(condition, seen):
            pending.add((name, event))
            return False
        pending.difference_update([entry for entry in pending if entry[0] == name])
        if once:
            fired.add(name)
        return True

    def _fork(self, names: list[str], now: _Now, block: Block, stop: frozenset[str], escapes: list[str]) -> Item | None:
        reach = [self.events.reach([name]) for name in names]
        shared = {method for at, one in enumerate(reach) for other in reach[at + 1 :] for method in one & other} - stop
        if shared & set(names) or any((one - stop) & self.placed.keys() for one in reach):
            raise Unstructured("a way leads back from inside of what runs at once")
        fork = Fork([])
        block.items.append(fork)
        inner = stop | shared
        out: list[str] = []
        for name in names:
            branch = Block(around=block, fork=fork)
            fork.branches.append(branch)
            mine: list[str] = []
            self._go([name], now, branch, inner, mine)
            if mine and any(isinstance(item, Run) and item.cases is not None for item in branch.items):
                raise Unstructured("whether methods that run at once meet again depends on a router")
            out += [event for event in mine if event not in out]
        told: list[str] = []
        pending, fired = set(now.pending), set(now.fired)
        for event in out:
            for name in self.events.listeners(event):
                if name in stop:
                    if event not in escapes:
                        escapes.append(event)
                elif name in shared and self._starts(name, event, pending, fired, label=False):
                    told.append(name)
        if len(told) != len(set(told)):
            raise Unstructured("a method runs more than once after what runs at once")
        fork.next = self._go(told, _Now(frozenset(pending), frozenset(fired)), block, stop, escapes)
        return fork
