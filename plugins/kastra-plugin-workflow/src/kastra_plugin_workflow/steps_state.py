"""The state that a run shares with others, as expressions see it."""

from __future__ import annotations

from typing import Any

from kastra_core.errors import OperationError
from kastra_core.protocols.runner import RunContext
from kastra_plugin_workflow.steps_frame import BodyFailed

__all__ = ["read_state"]


async def read_state(ctx: RunContext, scope: dict[str, Any], place: str) -> None:
    """Put the shared state as it is now into a scope of expressions, as ``state``; empty when the run shares none.

    The read is recorded as ``PLACE.state``: a name that no step can have.

    Raises:
        BodyFailed: it cannot be read; not tried again, as what was to be computed from it is not there either.
    """
    if ctx.shared is None:
        scope["state"] = {}
        return
    try:
        scope["state"] = await ctx.perform("state.get", {}, name=f"{place}.state")
    except OperationError as error:
        raise BodyFailed(f"the shared state cannot be read: {error}", reason=error.reason, final=True) from error
