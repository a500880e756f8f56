"""What a controller's reconcile gets and gives."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import attrs

__all__ = ["Reconciler", "Request", "Result"]


class Request(NamedTuple):
    """The resource to look at; not what happened to it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@attrs.frozen
class Result:
    """When to look again without a change: ``requeue_after_s`` seconds, None = not."""

    requeue_after_s: float | None = None


@runtime_checkable
class Reconciler(Protocol):
    """Brings the world towards one resource's spec; safe to call at any time and twice."""

    async def reconcile(self, request: Request) -> Result:
        """Raises: TerminalError = do not try again until a change; anything else is tried again with backoff."""
        ...
