"""Admission of runs: a global limit, slots per target, priorities, fair between namespaces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import TypeAlias

import attrs

__all__ = ["Scheduler", "SlotUse", "Ticket"]


@attrs.frozen
class SlotUse:
    """How busy a target is. ``current`` is the number of slots it has now: minimum <= current <= maximum."""

    active: int
    queued: int
    minimum: int
    maximum: int | None

    @property
    def current(self) -> int:
        wanted = max(self.minimum, self.active + self.queued)
        return wanted if self.maximum is None else min(wanted, self.maximum)


@attrs.define(eq=False)
class Ticket:
    """One run's wish to be executed. ``start`` is called once, when it may."""

    namespace: str
    target: Hashable
    start: Callable[[], None]
    priority: int = 0
    maximum: int | None = None
    """Slots of the target; None = only the global limit holds."""
    minimum: int = 0
    counted: bool = True
    """False for a child run: it works within its parent's global slot."""
    state: str = "new"
    arrival: int = 0
    """Order of arrival, set by ``submit``."""


@attrs.define(eq=False)
class _Target:
    active: int = 0
    queued: int = 0
    minimum: int = 0
    maximum: int | None = None


_Queue: TypeAlias = tuple[int, str, Hashable, bool]
"""-priority, namespace, target, counted: of tickets that are alike in these, only the first one can be next."""


def _queue_of(ticket: Ticket) -> _Queue:
    return (-ticket.priority, ticket.namespace, ticket.target, ticket.counted)


class Scheduler:
    """Starts tickets as soon as the limits allow; no task or timer of its own.

    Among those that may start: the highest priority first, then the namespace with the fewest active runs, then the
    order of arrival. A target without a free slot does not hold up others, and runs that wait for a global slot do
    not hold up child runs: their parents would wait for ever.

    Args:
        limit: runs at once in this process, >= 1.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, got {limit}")
        self.limit = limit
        self._active = 0
        self._by_namespace: dict[str, int] = {}
        self._targets: dict[Hashable, _Target] = {}
        self._queues: dict[_Queue, deque[Ticket]] = {}
        self._arrivals = 0

    @property
    def active(self) -> int:
        return self._active

    @property
    def queued(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def slots(self, target: Hashable) -> SlotUse:
        use = self._targets.get(target)
        return SlotUse(use.active, use.queued, use.minimum, use.maximum) if use else SlotUse(0, 0, 0, None)

    def submit(self, ticket: Ticket) -> bool:
        """Start the ticket now (True) or queue it (False)."""
        target = self._targets.get(ticket.target)
        if target is None:
            target = self._targets[ticket.target] = _Target()
        target.minimum, target.maximum = ticket.minimum, ticket.maximum
        self._arrivals += 1
        ticket.arrival = self._arrivals
        if not self._queues and self._fits(ticket, target):
            self._begin(ticket, target)
            return True
        ticket.state = "queued"
        target.queued += 1
        self._queues.setdefault(_queue_of(ticket), deque()).append(ticket)
        self._pump()
        # _pump() may have started it: mypy cannot see that the attribute changed.
        return str(ticket.state) == "active"

    def cancel(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue; nothing happens when it is active or over."""
        if ticket.state != "queued":
            return
        ticket.state = "over"
        self._targets[ticket.target].queued -= 1
        key = _queue_of(ticket)
        self._queues[key].remove(ticket)
        if not self._queues[key]:
            del self._queues[key]
        self._forget(ticket.target)

    def done(self, ticket: Ticket) -> None:
        """Give the slot back and start what waits for it."""
        if ticket.state != "active":
            return
        ticket.state = "over"
        self._targets[ticket.target].active -= 1
        if ticket.counted:
            self._active -= 1
            left = self._by_namespace[ticket.namespace] - 1
            if left:
                self._by_namespace[ticket.namespace] = left
            else:
                del self._by_namespace[ticket.namespace]
        self._forget(ticket.target)
        if self._queues:
            self._pump()

    def _forget(self, key: Hashable) -> None:
        use = self._targets.get(key)
        if use is not None and use.active == 0 and use.queued == 0:
            del self._targets[key]

    def _fits(self, ticket: Ticket, target: _Target) -> bool:
        if ticket.counted and self._active >= self.limit:
            return False
        return target.maximum is None or target.active < max(1, target.maximum)

    def _begin(self, ticket: Ticket, target: _Target) -> None:
        ticket.state = "active"
        target.active += 1
        if ticket.counted:
            self._active += 1
            self._by_namespace[ticket.namespace] = self._by_namespace.get(ticket.namespace, 0) + 1
        ticket.start()

    def _pump(self) -> None:
        while (key := self._next()) is not None:
            queue = self._queues[key]
            ticket = queue.popleft()
            if not queue:
                del self._queues[key]
            target = self._targets[ticket.target]
            target.queued -= 1
            self._begin(ticket, target)

    def _next(self) -> _Queue | None:
        """The queue whose first ticket is to start now."""
        best: tuple[int, int, int] | None = None
        found: _Queue | None = None
        for key, queue in self._queues.items():
            ticket = queue[0]
            if self._fits(ticket, self._targets[ticket.target]):
                rank = (key[0], self._by_namespace.get(key[1], 0), ticket.arrival)
                if best is None or rank < best:
                    best, found = rank, key
        return found
