"""Events of a running workflow. They are built only while somebody listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.protocols.runner import RunContext
from kastra_plugin_workflow.steps_frame import Frame, StepFailed
from kastra_plugin_workflow.steps_plan import PlannedStep

__all__ = ["decided", "failed", "noted", "retried", "started", "succeeded", "why"]


async def started(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue, reason: str) -> None:
    """A try begins. ``reason``: a sentence that says why the step is carried out."""
    await ctx.emit(
        {
            "type": "step_started",
            "step": step.id,
            "path": frame.path_of(step),
            "body": step.body,
            "name": step.spec.name,
            "input": given,
            "why": reason,
            "attempt": frame.attempt,
        }
    )


async def succeeded(ctx: RunContext, frame: Frame, step: PlannedStep, output: JsonValue) -> None:
    event = _finished(frame, step, "Succeeded")
    event["output"] = output
    event["attempts"] = frame.attempt
    await ctx.emit(event)


async def failed(ctx: RunContext, frame: Frame, step: PlannedStep, error: StepFailed) -> None:
    event = _finished(frame, step, "Failed")
    event["error"] = error.entry
    event["attempts"] = frame.attempt
    await ctx.emit(event)


def _finished(frame: Frame, step: PlannedStep, phase: str) -> JsonObject:
    return {"type": "step_finished", "step": step.id, "path": frame.path_of(step), "phase": phase}


async def retried(ctx: RunContext, frame: Frame, step: PlannedStep, wait_s: float, error: StepFailed) -> None:
    """A try failed, and another follows. ``attempt`` is the one that failed."""
    await ctx.emit(
        {
            "type": "step_retry",
            "step": step.id,
            "path": frame.path_of(step),
            "attempt": frame.attempt,
            "wait_s": wait_s,
            "reason": error.reason,
            "message": error.message,
        }
    )


async def decided(
    ctx: RunContext,
    frame: Frame,
    step: PlannedStep,
    kind: str,
    chosen: str,
    candidates: Sequence[JsonObject] = (),
) -> None:
    """``chosen`` is a text for people, the candidates' names where there are some."""
    await ctx.emit(
        {
            "type": "decision",
            "step": step.id,
            "path": frame.path_of(step),
            "kind": kind,
            "chosen": chosen,
            "candidates": list(candidates),
        }
    )


async def noted(ctx: RunContext, frame: Frame, step: PlannedStep, message: str) -> None:
    await ctx.emit({"type": "note", "step": step.id, "path": frame.path_of(step), "message": message})


def why(frame: Frame, before: PlannedStep | None, how: str, named_start: bool) -> str:
    """Why a step is carried out.

    Args:
        before: the step of the same block that was carried out before it.
        how: how that came to name it; "" = by its end.
    """
    if before is not None:
        return how or f"it comes after {before.id}"
    holder = frame.holder
    if holder is None:
        if frame.parent is not None:
            return "the workflow failed, and spec.onFailure begins with it"
        return "spec.initialStep names it" if named_start else "the workflow begins with it"
    return _FIRST[frame.kind].format(holder=holder.id, label=frame.label, number=_number(frame.label))


def _number(label: str) -> Any:
    return int(label) + 1 if label.isdigit() else label


_FIRST = {
    "onFailure": "{holder} failed, and its onFailure begins with it",
    "default": "no case of {holder} is true, and its default begins with it",
    "branch": "case {label} of {holder} is true and begins with it",
    "parallel": "branch {label} of {holder} begins with it",
    "foreach": "item {label} of {holder} begins with it",
    "loop": "pass {number} of {holder} begins with it",
}
