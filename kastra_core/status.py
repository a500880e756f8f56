"""Building the ``status`` that a controller writes: conditions first, ``phase`` derived from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kastra_core.api.meta import Condition, JsonObject, Resource, rfc3339, set_condition
from kastra_core.errors import KastraError

__all__ = ["RECONCILE_ERROR", "TERMINAL_REASONS", "failed_status", "message_of", "phase_of", "ready_status"]

RECONCILE_ERROR = "ReconcileError"
"""Reason of Ready=False after an error that will be tried again."""

TERMINAL_REASONS = frozenset({"Terminal", "Failed", "Invalid", "InvalidSpec", "Unsupported"})
"""Reasons of Ready=False that time cannot mend: the phase is Failed. With any other reason it is Pending."""

_LONGEST_MESSAGE = 2000


def phase_of(
    resource: Resource,
    conditions: Iterable[Mapping[str, Any]],
    *,
    terminal_reasons: Collection[str] = TERMINAL_REASONS,
) -> str:
    """Return Terminating (it is being deleted), Ready, Failed or Pending."""
    if resource.metadata.deletion_timestamp:
        return "Terminating"
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    if ready is None:
        return "Pending"
    if ready.get("status") == "True":
        return "Ready"
    failed = ready.get("status") == "False" and ready.get("reason") in terminal_reasons
    return "Failed" if failed else "Pending"


def ready_status(
    resource: Resource,
    conditions: Iterable[Condition] = (),
    *,
    terminal_reasons: Collection[str] = TERMINAL_REASONS,
    **fields: Any,
) -> JsonObject:
    """Return the new status of a resource, equal to the old one when nothing changed.

    Args:
        resource: as it was read; fields and conditions of its status that are not given stay.
        conditions: facts as of now; ``observedGeneration`` is set here, ``lastTransitionTime`` moves only when a
            condition's status does.
        terminal_reasons: reasons of Ready=False that make the phase Failed.
        fields: other fields of status by their manifest names; None removes one. ``phase`` is derived from the
            conditions unless it is given.

    >>> from kastra_core.api.meta import ObjectMeta
    >>> agent = Resource(api_version="mastra.ai/v1", kind="Agent", metadata=ObjectMeta(name="a", generation=3))
    >>> status = ready_status(agent, [Condition(type="Ready", status="True", reason="Valid")], tools=2)
    >>> status["phase"], status["observedGeneration"], status["tools"]
    ('Ready', 3, 2)
    """
    generation = resource.metadata.generation
    old = resource.status.get("conditions")
    merged: list[JsonObject] = [dict(c) for c in old if isinstance(c, Mapping)] if isinstance(old, list) else []
    now = rfc3339()
    for condition in conditions:
        merged = set_condition(merged, condition, observed_generation=generation, now=now)
    status = dict(resource.status)
    status["observedGeneration"] = generation
    status["phase"] = phase_of(resource, merged, terminal_reasons=terminal_reasons)
    status["conditions"] = merged
    for name, value in fields.items():
        if value is None:
            status.pop(name, None)
        else:
            status[name] = value
    return status


def failed_status(resource: Resource, reason: str, message: str, *, terminal: bool) -> JsonObject:
    """Return the status of a resource that could not be reconciled: Ready=False; ``terminal``: phase Failed."""
    condition = Condition(type="Ready", status="False", reason=reason, message=message)
    return ready_status(resource, [condition], terminal_reasons=(reason,) if terminal else ())


def message_of(error: BaseException) -> str:
    """Return what a person should read of an error: its text with the remedy, at most 2000 characters."""
    text = str(error).strip()
    if isinstance(error, KastraError):
        remedy = error.remedy
        if remedy and remedy not in text:
            text = f"{text}; {remedy}" if text else remedy
        text = text or error.reason
    else:
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
