"""The spec of a Run: what is run, with which input, as what it was then, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.errors import UserError, nearest
from kastra_core.execution.handle import RunOptions
from kastra_core.execution.state import RunState

__all__ = ["DEFAULT_LIMITS", "LIMIT_NAMES", "Parent", "limits_of", "remaining", "run_spec"]

DEFAULT_LIMITS: Mapping[str, Any] = {"maxSteps": 25}
"""What holds when neither the target, its kind, the configuration nor the caller says otherwise."""
LIMIT_NAMES = ("maxSteps", "maxModelCalls", "maxToolCalls", "maxTokens", "maxCost", "timeoutS")


@attrs.frozen(kw_only=True)
class Parent:
    """Who calls a child run."""

    state: RunState
    path: str
    """Journal path of the call."""
    uid: str
    """uid of the child: it follows from the path."""
    depth: int
    """1 for the child of a run that has no parent."""


def limits_of(
    target: Resource,
    kind: ResourceKind,
    configured: Mapping[str, Any],
    given: Mapping[str, Any],
    parent: Parent | None,
) -> tuple[JsonObject, bool]:
    """The limits of a run, and whether somebody set ``maxSteps``. A child has at most what its parent has left.

    Raises: UserError for a name that is no limit.
    """
    own = target.spec.get("limits") or {}
    wanted = {**configured, **own, **given}
    limits = {**DEFAULT_LIMITS, **kind.default_limits, **wanted}
    steps_of_all = wanted.get("maxSteps") is not None
    for name in limits:
        if name not in LIMIT_NAMES:
            near = nearest(name, LIMIT_NAMES)
            hint = f"did you mean {near!r}?" if near else f"limits are {', '.join(LIMIT_NAMES)}"
            raise UserError(f"unknown limit {name!r}; {hint}")
    if parent is not None:
        for name, left in remaining(parent.state).items():
            if limits.get(name) is None or left < limits[name]:
                limits[name] = left
                steps_of_all = steps_of_all or name == "maxSteps"
    return limits, steps_of_all


def remaining(run: RunState) -> JsonObject:
    """What a run may still use of its limits."""
    used = run.used()
    return {name: max(0, run.limits[name] - value) for name, value in used.items() if run.limits.get(name) is not None}


def run_spec(
    target: Resource,
    input: JsonValue,
    options: RunOptions,
    *,
    digest: str,
    limits: JsonObject,
    steps_of_all: bool,
    model: str | None,
    default_model: str | None,
) -> JsonObject:
    """The spec; ``digest`` is that of the pinned resources."""
    spec: JsonObject = {
        "target": {
            "group": target.group,
            "kind": target.kind,
            "namespace": target.metadata.namespace,
            "name": target.metadata.name,
        },
        "pinned": digest,
    }
    if input is not None:
        spec["input"] = input
    if options.thread:
        spec["thread"] = options.thread
    if options.shared is not None:
        shared = options.shared
        spec["shared"] = {"scope": shared.scope, "ttlS": shared.ttl_s, "tools": shared.tools}
    if model:
        spec["model"] = model
    elif default_model:
        spec["defaultModel"] = default_model
    spec["limits"] = limits
    if steps_of_all:
        spec["stepsOfAll"] = True
    if options.priority:
        spec["priority"] = options.priority
    return spec
