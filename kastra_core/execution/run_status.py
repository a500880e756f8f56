"""The status of a Run in each of its phases: Pending, Running, Suspended, Succeeded, Failed, Cancelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.api.meta import Condition, JsonObject, JsonValue, Resource, rfc3339

__all__ = ["FINISHED", "final_status", "pending_status", "running_status", "suspended_status"]

FINISHED = frozenset({"Succeeded", "Failed", "Cancelled"})
"""Phases in which nothing happens any more."""


def running_status(now_s: float, worker: str, before: Mapping[str, Any] | None = None) -> JsonObject:
    """Status of a run that begins, or that a worker goes on with after the status ``before``."""
    before = before or {}
    status: JsonObject = {
        "phase": "Running",
        "startedAt": before.get("startedAt") or rfc3339(now_s),
        "startedAtS": before.get("startedAtS") or math.floor(now_s * 1000) / 1000,
        "worker": worker,
        "conditions": [_complete("False", "Running", now_s)],
    }
    if "usage" in before:
        status["usage"] = before["usage"]
    return status


def pending_status(before: Mapping[str, Any], now_s: float) -> JsonObject:
    """Status of a run that waits for a slot."""
    return {
        "phase": "Pending",
        "worker": before.get("worker", ""),
        "conditions": [_complete("False", "Queued", now_s, "it waits for a slot of its target or of the process")],
    }


def suspended_status(
    run: Resource,
    now_s: float,
    wake_at_s: float | None,
    waits_for: Sequence[str],
    awaiting: Sequence[JsonObject],
    usage: JsonObject,
) -> JsonObject:
    """Status of a run that waits.

    Args:
        wake_at_s: unix seconds, None = for a signal only.
        waits_for: names of the signals that wake it; children that end send one too.
        awaiting: what to show of those that somebody is to send: {"signal", "message", "schema" ...}.
        usage: what it has used so far.
    """
    status = dict(run.status)
    until = f"until {rfc3339(wake_at_s)}" if wake_at_s is not None else "until a signal comes"
    status.update(phase="Suspended", waitsFor=list(waits_for), usage=usage)
    if awaiting:
        status["awaiting"] = list(awaiting)
    else:
        status.pop("awaiting", None)
    status["conditions"] = [_complete("False", "Suspended", now_s, until)]
    if wake_at_s is not None:
        status["wakeAtS"] = wake_at_s
    else:
        status.pop("wakeAtS", None)
    return status


def final_status(
    run: Resource,
    now_s: float,
    phase: str,
    *,
    output: JsonValue = None,
    reason: str = "",
    message: str = "",
    usage: JsonObject | None = None,
) -> JsonObject:
    """Status of a run that is over."""
    done = "True" if phase == "Succeeded" else "False"
    status: JsonObject = {
        "phase": phase,
        "startedAt": run.status.get("startedAt") or rfc3339(now_s),
        "finishedAt": rfc3339(now_s),
        "durationS": round(max(0.0, now_s - (run.status.get("startedAtS") or now_s)), 3),
        "reason": reason,
        "conditions": [_complete(done, reason or phase, now_s, message, run.metadata.generation)],
    }
    for name in ("startedAtS", "worker"):
        if name in run.status:
            status[name] = run.status[name]
    if message:
        status["message"] = message
    if output is not None:
        status["output"] = output
    if usage is not None:
        status["usage"] = usage
    return status


def _complete(status: str, reason: str, now_s: float, message: str = "", generation: int = 0) -> JsonObject:
    return Condition(
        type="Complete",
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=rfc3339(now_s),
    ).to_manifest()
