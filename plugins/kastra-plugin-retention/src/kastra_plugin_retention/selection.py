"""Which of the things that pass by go, with no more memory than what is kept by number."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from kastra_core.api.meta import Resource, condition_of
from kastra_core.api.selectors import LabelSelector
from kastra_plugin_retention.spec import KeepRule, RunRule

__all__ = ["Rule", "Seen", "ended_s", "judged", "last_seen_s", "rule_of_runs", "unix_s"]

T = TypeVar("T")


class Seen(NamedTuple, Generic[T]):
    """A thing and its place in time; of two the smaller one is older."""

    when_s: float
    """Unix seconds."""
    order: int
    """Decides between things of one moment; no two have the same."""
    namespace: str
    what: T


class Rule(Generic[T]):
    """One rule at work during one look at everything.

    Args:
        ttl_s: what is this old goes.
        max_count: what is not among so many newest ones of its namespace goes.
        covers: whether the rule is about a thing.
    """

    def __init__(self, ttl_s: float | None, max_count: int | None, covers: Callable[[Resource], bool] | None = None):
        self.ttl_s, self.max_count, self._covers = ttl_s, max_count, covers
        self._newest: dict[str, list[Seen[T]]] = {}

    @classmethod
    def of(cls, rule: KeepRule) -> Rule[T]:
        return cls(rule.ttl_s, rule.max_count)

    def covers(self, resource: Resource) -> bool:
        return self._covers is None or self._covers(resource)

    def expired(self, seen: Seen[T], now_s: float) -> bool:
        return self.ttl_s is not None and now_s - seen.when_s >= self.ttl_s

    def crowded_out(self, seen: Seen[T]) -> Seen[T] | None:
        """Take one into account; return the one that is too many now, which may be another."""
        if self.max_count is None:
            return None
        newest = self._newest.setdefault(seen.namespace, [])
        if len(newest) < self.max_count:
            heapq.heappush(newest, seen)
            return None
        return heapq.heappushpop(newest, seen)

    def forget(self) -> None:
        """Begin anew."""
        self._newest.clear()


def judged(rules: Iterable[Rule[T]], seen: Seen[T], now_s: float) -> Iterator[Seen[T]]:
    """What is known to go now that ``seen`` passed by; ``rules`` are those that cover it.

    No rule knows of the others: what goes by one of them counts for the next one, and one thing may come twice.
    """
    for rule in rules:
        out = seen if rule.expired(seen, now_s) else rule.crowded_out(seen)
        if out is not None:
            yield out


def rule_of_runs(rule: RunRule) -> Rule[Any]:
    """A rule for finished runs."""
    labels = rule.selector.labels if rule.selector is not None else LabelSelector()
    phases = frozenset(rule.phases)
    return Rule(
        rule.ttl_s,
        rule.max_count,
        lambda run: run.status.get("phase") in phases and labels.matches(run.metadata.labels),
    )


def ended_s(run: Resource) -> float | None:
    """When a finished run ended, unix seconds; None when that cannot be told."""
    complete = condition_of(run, "Complete") or {}
    for text in (run.status.get("finishedAt"), complete.get("lastTransitionTime"), run.metadata.creation_timestamp):
        found = unix_s(text)
        if found is not None:
            return found
    return None


def last_seen_s(event: Resource) -> float | None:
    """When an event happened last, unix seconds; None when that cannot be told."""
    for text in (event.spec.get("lastTimestamp"), event.metadata.creation_timestamp):
        found = unix_s(text)
        if found is not None:
            return found
    return None


def unix_s(text: object) -> float | None:
    """Unix seconds of an RFC 3339 text, None for anything else."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo is not None else None
