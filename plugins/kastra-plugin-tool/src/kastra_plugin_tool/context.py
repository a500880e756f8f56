"""What a Python tool may ask for about the call it serves."""

from __future__ import annotations

import attrs

__all__ = ["ToolContext"]


@attrs.frozen(kw_only=True)
class ToolContext:
    """The call that a tool's function serves; a parameter with this annotation receives it.

    Example:
        def charge(amount: int, context: ToolContext) -> str:
            return payments.charge(amount, idempotency_key=context.idempotency_key)
    """

    tool: str
    """Name of the Tool resource."""
    namespace: str
    """Namespace of the Tool resource."""
    run_id: str
    """uid of the Run that asked."""
    idempotency_key: str
    """The same when the call is repeated after a crash, another one for every other call."""
