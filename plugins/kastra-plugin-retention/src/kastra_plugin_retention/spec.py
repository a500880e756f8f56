"""``spec`` of a RetentionPolicy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from kastra_core.api.selectors import LabelSelector, Requirement
from kastra_core.durations import Duration

__all__ = ["Expression", "KeepRule", "RetentionPolicySpec", "RunRule", "Selector"]

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists"}


@attrs.frozen(kw_only=True)
class Expression:
    key: str
    """Name of a label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """NotIn also takes what lacks the label."""
    values: tuple[str, ...] = ()
    """For In and NotIn, at least one."""


@attrs.frozen(kw_only=True)
class Selector:
    """Labels that a run must have; all terms must hold."""

    match_labels: Mapping[str, str] = attrs.field(factory=dict)
    """Labels and the values that they must have."""
    match_expressions: tuple[Expression, ...] = ()
    """Further terms: a label that is one of some values, or none of them, or that is there, or is not."""

    @property
    def labels(self) -> LabelSelector:
        """The same as the core selects by."""
        equal = [Requirement(key, "in", frozenset({value})) for key, value in self.match_labels.items()]
        more = [Requirement(e.key, _OPERATORS[e.operator], frozenset(e.values)) for e in self.match_expressions]
        return LabelSelector((*equal, *more))


@attrs.frozen(kw_only=True)
class KeepRule:
    """What goes: what is older than ``ttl``, and what is not among the newest ``maxCount``."""

    ttl_s: Duration | None = attrs.field(default=None, metadata={"name": "ttl"})
    """How long one is kept: an event since it happened last, a thread since it was written to.

    Seconds, or text with units (s, m, h, d, w): 90s, 10m, 12h, 7d, 1d12h; more than 0, at most 100 years.
    """
    max_count: int | None = None
    """How many of the newest are kept, in each namespace; at least 1."""


@attrs.frozen(kw_only=True)
class RunRule:
    """Which finished runs go, and when."""

    phases: tuple[Literal["Succeeded", "Failed", "Cancelled"], ...] = ("Succeeded", "Failed", "Cancelled")
    """Runs that ended so."""
    selector: Selector | None = None
    """Runs with these labels; default: all."""
    ttl_s: Duration | None = attrs.field(default=None, metadata={"name": "ttl"})
    """How long a run is kept after its end.

    Seconds, or text with units (s, m, h, d, w): 90s, 10m, 12h, 7d, 1d12h; more than 0, at most 100 years.
    """
    max_count: int | None = None
    """How many of the newest runs that this rule is about are kept, in each namespace; at least 1."""


@attrs.frozen(kw_only=True)
class RetentionPolicySpec:
    interval_s: Duration = attrs.field(default=Duration(600), metadata={"name": "interval"})
    """How often the policy is enforced, at least 1s.

    Seconds, or text with units (s, m, h, d, w): 90s, 10m, 12h, 7d, 1d12h.
    """
    namespaces: tuple[str, ...] | None = None
    """Where it holds; default: in all namespaces."""
    dry_run: bool = False
    """True: only say in status what would go."""
    runs: tuple[RunRule, ...] = ()
    """Rules for finished runs; a run goes when any of them says so."""
    events: KeepRule | None = None
    """Which events go."""
    threads: KeepRule | None = None
    """Which threads go, with their messages."""
