"""Admission of runs: limits, slots per target, fairness, priorities, child runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kastra_core.execution.scheduler import Scheduler, SlotUse, Ticket


class Starts:
    """Makes tickets and keeps the order in which they start."""

    def __init__(self, limit: int) -> None:
        self.scheduler = Scheduler(limit)
        self.order: list[str] = []

    def ticket(self, name: str, namespace: str = "n", target: str = "t", **options: Any) -> Ticket:
        return Ticket(namespace=namespace, target=target, start=lambda: self.order.append(name), **options)

    def submit(self, name: str, namespace: str = "n", target: str = "t", **options: Any) -> Ticket:
        ticket = self.ticket(name, namespace, target, **options)
        started = self.scheduler.submit(ticket)
        assert started is (ticket.state == "active") is (name in self.order)
        return ticket


def test_a_limit_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="limit must be >= 1, got 0"):
        Scheduler(0)


def test_runs_start_up_to_the_limit_and_then_as_others_end() -> None:
    starts = Starts(2)
    tickets = [starts.submit(name) for name in "abcd"]
    assert starts.order == ["a", "b"]
    assert (starts.scheduler.active, starts.scheduler.queued) == (2, 2)
    starts.scheduler.done(tickets[0])
    assert starts.order == ["a", "b", "c"]
    starts.scheduler.done(tickets[0])  # once more changes nothing
    starts.scheduler.done(tickets[3])  # nor does the end of one that waits
    assert (starts.scheduler.active, starts.scheduler.queued) == (2, 1)


def test_a_target_has_no_more_runs_than_slots_and_holds_nobody_else_up() -> None:
    starts = Starts(10)
    first = starts.submit("a1", target="a", maximum=1)
    starts.submit("a2", target="a", maximum=1)
    starts.submit("b1", target="b")
    assert starts.order == ["a1", "b1"]
    starts.scheduler.done(first)
    assert starts.order == ["a1", "b1", "a2"]


def test_more_slots_of_a_target_start_those_that_wait_for_one() -> None:
    starts = Starts(10)
    for name in "abc":
        starts.submit(name, maximum=1)
    starts.submit("d", maximum=3)
    assert starts.order == ["a", "b", "c"]


def test_higher_priority_goes_first() -> None:
    starts = Starts(1)
    first = starts.submit("a")
    starts.submit("low", priority=-1)
    starts.submit("normal")
    high = starts.submit("high", priority=5)
    starts.scheduler.done(first)
    starts.scheduler.done(high)
    assert starts.order == ["a", "high", "normal"]


def test_the_namespace_with_the_fewest_runs_goes_first() -> None:
    starts = Starts(2)
    busy = [starts.submit(f"many{number}", "many") for number in range(5)]
    starts.submit("few0", "few")
    starts.submit("few1", "few")
    starts.scheduler.done(busy[0])
    assert starts.order[2:] == ["few0"]
    starts.scheduler.done(busy[1])
    assert starts.order[2:] == ["few0", "many2"]


def test_between_equals_the_first_to_arrive_goes_first() -> None:
    starts = Starts(2)
    x, y = starts.submit("x0", "x"), starts.submit("y0", "y")
    starts.submit("x1", "x")
    starts.submit("y1", "y")
    starts.submit("y2", "y")
    starts.submit("x2", "x")
    starts.scheduler.done(x)  # x has none, y one: x1
    assert starts.order[-1] == "x1"
    starts.scheduler.done(y)  # y has none: y1
    assert starts.order[-1] == "y1"
    starts.scheduler.limit = 3
    starts.submit("z", "x", target="other")  # both namespaces have one: y2 arrived before x2
    assert starts.order[-1] == "y2"


def test_a_child_run_starts_within_its_parents_slot() -> None:
    starts = Starts(1)
    starts.submit("parent")
    starts.submit("waiting")
    child = starts.submit("child", counted=False)
    starts.submit("grandchild", target="u", counted=False)
    assert starts.order == ["parent", "child", "grandchild"]
    assert starts.scheduler.active == 1
    starts.scheduler.done(child)
    assert starts.order == ["parent", "child", "grandchild"]


def test_a_child_run_is_not_held_up_by_runs_that_wait_for_a_global_slot() -> None:
    starts = Starts(1)
    starts.submit("parent", target="p")
    starts.submit("waiting", target="c", maximum=2)
    starts.submit("child1", target="c", maximum=2, counted=False)
    starts.submit("child2", target="c", maximum=2, counted=False)
    third = starts.submit("child3", target="c", maximum=2, counted=False)
    assert starts.order == ["parent", "child1", "child2"]
    assert third.state == "queued"


def test_a_cancelled_ticket_never_starts() -> None:
    starts = Starts(1)
    first, second = starts.submit("a"), starts.submit("b")
    starts.submit("c")
    starts.scheduler.cancel(second)
    starts.scheduler.cancel(second)
    starts.scheduler.cancel(first)  # it is active: only done() ends it
    assert starts.scheduler.active == 1
    starts.scheduler.done(first)
    assert starts.order == ["a", "c"]


def test_a_run_may_end_while_it_starts() -> None:
    scheduler, order = Scheduler(1), list[str]()

    def failing(name: str) -> Ticket:
        def start() -> None:
            order.append(name)
            scheduler.done(ticket)

        ticket = Ticket(namespace="n", target=name, start=start)
        return ticket

    blocker = Ticket(namespace="n", target="t", start=lambda: None)
    scheduler.submit(blocker)
    for name in "abc":
        scheduler.submit(failing(name))
    scheduler.done(blocker)
    assert order == ["a", "b", "c"]
    assert (scheduler.active, scheduler.queued) == (0, 0)


def test_slots_tell_how_busy_a_target_is() -> None:
    starts = Starts(10)
    tickets = [starts.submit(name, minimum=1, maximum=2) for name in "abc"]
    use = starts.scheduler.slots("t")
    assert (use, use.current) == (SlotUse(2, 1, 1, 2), 2)
    starts.scheduler.done(tickets[0])
    starts.scheduler.done(tickets[1])
    assert starts.scheduler.slots("t") == SlotUse(1, 0, 1, 2)
    starts.scheduler.done(tickets[2])
    assert starts.scheduler.slots("t") == SlotUse(0, 0, 0, None)


@pytest.mark.parametrize(
    ("use", "current"),
    [(SlotUse(0, 0, 2, 5), 2), (SlotUse(1, 2, 0, 5), 3), (SlotUse(4, 9, 0, 5), 5), (SlotUse(4, 9, 0, None), 13)],
)
def test_current_slots_lie_between_minimum_and_maximum(use: SlotUse, current: int) -> None:
    assert use.current == current


# ------------------------------------------------------------------------------------------ any sequence

MAXIMA = {"free": None, "one": 1, "two": 2}


class AnySequence(RuleBasedStateMachine):
    """Whatever is submitted, cancelled and done: limits hold, no ticket is lost, no slot stands idle."""

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.scheduler = Scheduler(limit)
        self.tickets: list[Ticket] = []
        self.started: list[Ticket] = []

    @rule(
        namespace=st.sampled_from("xyz"),
        of=st.sampled_from(list(MAXIMA)),
        priority=st.integers(-1, 1),
        counted=st.booleans(),
    )
    def submit(self, namespace: str, of: str, priority: int, counted: bool) -> None:
        ticket = Ticket(
            namespace=namespace,
            target=of,
            start=lambda: self.started.append(ticket),
            priority=priority,
            maximum=MAXIMA[of],
            counted=counted,
        )
        self.tickets.append(ticket)
        assert self.scheduler.submit(ticket) is (ticket in self.started)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        active = self.in_state("active")
        if not active:
            return
        waiting = {id(t): self.rank(t) for t in self.in_state("queued")}
        ended: Ticket = data.draw(st.sampled_from(active))
        count = len(self.started)
        busy = {t.namespace: 0 for t in self.tickets}
        for ticket in active:
            busy[ticket.namespace] += ticket.counted and ticket is not ended
        self.scheduler.done(ended)
        if len(self.started) > count:
            first = self.started[count]
            for other in self.in_state("queued"):
                if (other.target, other.counted) == (first.target, first.counted):
                    mine, theirs = waiting[id(first)], waiting[id(other)]
                    assert (mine[0], busy[first.namespace], mine[1]) < (theirs[0], busy[other.namespace], theirs[1])

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket: Ticket = data.draw(st.sampled_from(self.tickets))
        was = ticket.state
        self.scheduler.cancel(ticket)
        assert ticket.state == ("over" if was == "queued" else was)

    def in_state(self, state: str) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state == state]

    def rank(self, ticket: Ticket) -> tuple[int, int]:
        return (-ticket.priority, self.tickets.index(ticket))

    @invariant()
    def limits_hold_and_nothing_is_idle(self) -> None:
        active, queued = self.in_state("active"), self.in_state("queued")
        counted = sum(ticket.counted for ticket in active)
        assert (self.scheduler.active, self.scheduler.queued) == (counted, len(queued))
        assert counted <= self.scheduler.limit
        for target, maximum in MAXIMA.items():
            here = sum(ticket.target == target for ticket in active)
            assert self.scheduler.slots(target).active == here
            assert maximum is None or here <= maximum
            for ticket in queued:
                if ticket.target == target:
                    full = maximum is not None and here == maximum
                    assert full or (ticket.counted and counted == self.scheduler.limit), "a ticket waits for nothing"

    @invariant()
    def each_ticket_starts_at_most_once(self) -> None:
        assert len(self.started) == len({id(ticket) for ticket in self.started})

    def teardown(self) -> None:
        while active := self.in_state("active") if hasattr(self, "tickets") else []:
            self.scheduler.done(active[0])
        assert not hasattr(self, "tickets") or not self.in_state("queued"), "a ticket was lost"


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
