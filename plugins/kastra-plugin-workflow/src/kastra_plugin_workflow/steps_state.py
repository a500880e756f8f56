"""The state that a run shares: read for expressions, and the operations on it without a scope of their own."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import OperationError
from kastra_core.protocols.runner import RunContext
from kastra_core.serde import type_word
from kastra_plugin_workflow.steps_frame import BodyFailed, Frame
from kastra_plugin_workflow.steps_plan import PlannedStep

__all__ = ["STATE_OPERATIONS", "perform_on_state", "read_state"]

STATE_OPERATIONS = frozenset({"state.get", "state.update"})
"""Operations whose scope is that of the run unless they say another."""


async def read_state(ctx: RunContext, scope: dict[str, Any], place: str) -> None:
    """Put the shared state as it is now into a scope of expressions, as ``state``; empty when the run shares none.

    The read is recorded as ``PLACE.state``, which no step's name can be.

    Raises:
        BodyFailed: it cannot be read; not tried again, as what was to be computed from it is not there either.
    """
    shared = ctx.shared
    if shared is None:
        scope["state"] = {}
        return
    try:
        scope["state"] = await ctx.perform("state.get", {"scope": shared.scope}, name=f"{place}.state")
    except OperationError as error:
        raise BodyFailed(f"the shared state cannot be read: {error}", reason=error.reason, final=True) from error


def perform_on_state(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> Awaitable[JsonValue]:
    """Carry out an operation on a state: on the shared one, with its ttl, unless ``scope`` says another."""
    if given is not None and not isinstance(given, dict):
        message = f"operation {step.work} takes an object as its arguments, its input is {type_word(given)}"
        raise BodyFailed(message, reason="InvalidArguments")
    arguments: JsonObject = dict(given or {})
    writes = step.work == "state.update"
    if writes and not isinstance(arguments.get("values"), dict):
        found = type_word(arguments["values"]) if "values" in arguments else "none"
        message = f"operation {step.work} takes values: an object of keys and values, found {found}"
        raise BodyFailed(f"{message} (null removes a key)", reason="InvalidArguments")
    if arguments.get("scope") is None:
        shared = ctx.shared
        if shared is None:
            message = f"operation {step.work}: this run shares no state; run the workflow as a member of a network"
            raise BodyFailed(f"{message} that has spec.state, or say scope", reason="NoSharedState")
        arguments["scope"] = shared.scope
        if writes and shared.ttl_s is not None:
            arguments.setdefault("ttlS", shared.ttl_s)
    return ctx.perform(step.work, arguments, name=step.id)
