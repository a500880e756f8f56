"""What the engine reads of the spec of any executable kind: ``spec.limits`` and ``spec.scaling``."""

from __future__ import annotations

import attrs

__all__ = ["LimitsSpec", "ScalingSpec"]


@attrs.frozen(kw_only=True)
class LimitsSpec:
    """Bounds of one run; reaching one ends the run with reason LimitExceeded. 0 allows none."""

    max_steps: int | None = None
    """Turns of an agent's loop, steps of a workflow, members that a network calls; those of child runs included. When
    nobody sets it an agent has 25 and a workflow 10,000, those of child runs not included."""
    max_model_calls: int | None = None
    """Calls of models, those of child runs included, retries within one not counted."""
    max_tool_calls: int | None = None
    """Calls of tools, those of child runs included."""
    max_tokens: int | None = None
    """Input and output tokens of all model calls together."""
    max_cost: float | None = None
    """USD; counts what the provider or the configured prices tell."""
    timeout_s: float | None = None
    """Seconds from the start of the run, time in which no process worked on it included."""


@attrs.frozen(kw_only=True)
class ScalingSpec:
    """Runs of this resource at once in one process; further ones wait."""

    min_replicas: int = 0
    """Slots that status shows even when nothing runs."""
    max_replicas: int | None = None
    """Runs at once; none: only the runtime's own limit holds."""
