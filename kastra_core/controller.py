"""AbstractController: what most controllers are made of. ``kastra_core.controller_manager`` runs them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject, Resource, ResourceKey, condition_of
from kastra_core.api.registry import KindRegistry
from kastra_core.controller_manager import ControllerManager
from kastra_core.controller_pool import worth_a_look
from kastra_core.errors import ConflictError, NotFoundError, TerminalError
from kastra_core.events import EventBus
from kastra_core.protocols.controller import Reconciler, Request, Result
from kastra_core.protocols.store import Store
from kastra_core.status import (
    RECONCILE_ERROR,
    TERMINAL_REASONS,
    failed_status,
    message_of,
    phase_of,
    ready_status,
)

if TYPE_CHECKING:
    from kastra_core.config import Config
    from kastra_core.execution.models import Models
    from kastra_core.resources import ResourceClient

__all__ = [
    "RECONCILE_ERROR",
    "TERMINAL_REASONS",
    "AbstractController",
    "ControllerManager",
    "ControllerRuntime",
    "Reconciler",
    "Request",
    "Result",
    "failed_status",
    "message_of",
    "phase_of",
    "ready_status",
]

_log = logging.getLogger(__name__)


class ControllerRuntime(Protocol):
    """What a controller may expect of the runtime that it is made with."""

    @property
    def client(self) -> ResourceClient: ...
    @property
    def registry(self) -> KindRegistry: ...
    @property
    def store(self) -> Store: ...
    @property
    def config(self) -> Config:
        """``config.project`` is the directory of the project."""
        ...

    @property
    def models(self) -> Models:
        """Which model answers for a resource, and whether it could."""
        ...

    @property
    def bus(self) -> EventBus: ...
    @property
    def controllers(self) -> ControllerManager:
        """For its informers; a controller starts and stops nothing."""
        ...

    @property
    def events(self) -> Any:
        """``record(resource, type, reason, message)`` keeps an Event of a resource; None: nobody keeps them."""
        ...


class AbstractController(ABC):
    """Drives the resources of one kind towards their spec.

    A subclass sets ``kind`` (and ``group``) and answers ``get_desired_state``. For most kinds the state is the
    resource's ``status``: :func:`ready_status` builds the wanted one from conditions, and it is written when it
    differs. A controller that keeps something outside of the store overrides ``get_current_state`` and
    ``update_resource_state``, sets ``finalizer``, and tidies up in ``cleanup_resource``.

    All methods must be safe to call at any time and twice: a controller sees states, not events.

    Example:
        class GreetingController(AbstractController):
            kind, group = "Greeting", "acme.example"

            async def get_desired_state(self, resource):
                return ready_status(resource, [Condition(type="Ready", status="True", reason="Valid")])
    """

    kind: ClassVar[str]
    group: ClassVar[str] = MAIN_GROUP
    finalizer: ClassVar[str | None] = None
    """Holds a deletion back until ``cleanup_resource`` has returned ("acme.example/greeting"); None: not needed."""

    def __init__(self, runtime: ControllerRuntime) -> None:
        self.runtime = runtime
        self._enqueue: Callable[[Resource | None], None] | None = None

    # ------------------------------------------------------------------------------------------ to answer

    @abstractmethod
    async def get_desired_state(self, resource: Resource) -> Any:
        """Return the state that the resource should have, usually its new status (:func:`ready_status`).

        Raises: TerminalError when only a change of the resource can help; anything else is tried again.
        """

    async def get_current_state(self, resource: Resource) -> Any:
        """Return the state as it is, to compare with; here the status that is stored."""
        return resource.status

    async def update_resource_state(self, resource: Resource, desired: Any, current: Any) -> None:
        """Bring ``current`` to ``desired``; here ``desired`` is written as status when it differs."""
        if desired != current:
            await self.write_status(resource, desired)

    async def cleanup_resource(self, resource: Resource) -> None:  # noqa: B027 - most controllers keep nothing
        """Undo what is outside of the store. Called before the finalizer is taken off; must be safe to repeat."""

    def should_reconcile(self, old: Resource | None, new: Resource | None) -> bool:
        """Whether a change of a resource of the own kind is worth a reconcile; ``old`` None: new, ``new`` None: gone.

        Here everything but a change of status, so that writing status does not call for the next reconcile.
        """
        return worth_a_look(old, new)

    async def aclose(self) -> None:  # noqa: B027 - most controllers hold nothing
        """Give back what the controller holds (connections); called once, when the manager stops."""

    # ------------------------------------------------------------------------------------------ the loop

    def attach(self, enqueue: Callable[[Resource | None], None]) -> None:
        """Told by the manager where :meth:`watch` puts its wishes."""
        self._enqueue = enqueue

    def watch(self, resource: Resource | None = None) -> None:
        """Have ``resource`` reconciled soon, or every known resource of the kind.

        Changes of resources need no call; this is for changes elsewhere (a file, a service). Does nothing while no
        manager runs this controller.
        """
        if self._enqueue is not None:
            self._enqueue(resource)

    async def reconcile(self, request: Request) -> Result:
        """Bring one resource towards its spec.

        A failure becomes the condition Ready=False. Publishes ``<kind>.reconciled`` {resource, state} and
        ``<kind>.reconcile_failed`` {resource, error}.

        Raises:
            ConflictError: somebody wrote the resource meanwhile; call again.
            Exception: any but TerminalError, after it was written as condition; call again, later each time.
        """
        resource = await self.runtime.client.get(ResourceKey(self.group, self.kind, *request))
        if resource is None:
            return Result()
        try:
            if resource.metadata.deletion_timestamp:
                return await self._reconcile_deletion(resource)
            resource = await self._with_finalizer(resource)
            desired = await self.get_desired_state(resource)
            current = await self.get_current_state(resource)
            await self.update_resource_state(resource, desired, current)
        except Exception as error:
            if isinstance(error, ConflictError) and await self._is_stale(resource):
                raise
            self.runtime.bus.publish(f"{self.kind.lower()}.reconcile_failed", {"resource": resource, "error": error})
            return await self.handle_reconcile_failure(resource, error)
        self.runtime.bus.publish(f"{self.kind.lower()}.reconciled", {"resource": resource, "state": desired})
        return self.result_of(resource, desired)

    def result_of(self, resource: Resource, desired: Any) -> Result:
        """When to look again although nothing changed; here not at all."""
        return Result()

    async def handle_reconcile_failure(self, resource: Resource, error: Exception) -> Result:
        """Write the failure as condition; raise ``error`` again when another try may help.

        TerminalError: its own reason, phase Failed, not tried again until something changes.
        """
        message = message_of(error)
        if isinstance(error, TerminalError):
            await self.write_status(resource, failed_status(resource, error.reason, message, terminal=True))
            return Result()
        await self.write_status(resource, failed_status(resource, RECONCILE_ERROR, message, terminal=False))
        raise error

    async def write_status(self, resource: Resource, status: JsonObject) -> Resource | None:
        """Write status when it differs; return the resource as stored, None when it is gone.

        A Ready condition that turned false (or true again) is recorded as an Event of the resource.

        Raises: ConflictError.
        """
        if status == resource.status:
            return resource
        try:
            written = await self.runtime.client.update_status(resource, status)
        except NotFoundError:
            return None
        await self._record(resource, written)
        return written

    async def _is_stale(self, resource: Resource) -> bool:
        """Whether a conflict is about ``resource`` itself; one about another resource is a failure like any."""
        live = await self.runtime.client.get(resource.key)
        return live is None or live.metadata.resource_version != resource.metadata.resource_version

    async def _reconcile_deletion(self, resource: Resource) -> Result:
        held = resource.metadata.finalizers
        if self.finalizer is None or self.finalizer not in held:
            return Result()
        await self.cleanup_resource(resource)
        left = tuple(name for name in held if name != self.finalizer)
        try:
            await self.runtime.client.set_finalizers(resource, left)
        except NotFoundError:
            _log.debug("%s went while its finalizer was taken off", resource.key)
        return Result()

    async def _with_finalizer(self, resource: Resource) -> Resource:
        held = resource.metadata.finalizers
        if self.finalizer is None or self.finalizer in held:
            return resource
        return await self.runtime.client.set_finalizers(resource, (*held, self.finalizer))

    async def _record(self, old: Resource, new: Resource) -> None:
        events = self.runtime.events
        after = condition_of(new, "Ready") if events is not None else None
        if after is None:
            return
        before = condition_of(old, "Ready") or {}
        if (before.get("status"), before.get("reason")) == (after.get("status"), after.get("reason")):
            return
        good = after.get("status") == "True"
        if (good and not before) or after.get("status") == "Unknown":
            return  # ready from the start is no news, nor is what is not told yet
        waited = events.record(new, "Normal" if good else "Warning", after.get("reason", ""), after.get("message", ""))
        if hasattr(waited, "__await__"):
            await waited
