"""What ``runtime.get_workflow()`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject, JsonValue, ResourceKey
from kastra_core.errors import UserError
from kastra_core.runtime import ResourceHandle

if TYPE_CHECKING:
    from kastra_core.execution.handle import RunHandle

__all__ = ["WorkflowHandle"]


class WorkflowHandle(ResourceHandle):
    """A workflow by name; nothing is read until it is used.

    Example:
        workflow = runtime.get_workflow("default.data-processing")
        total = await workflow.execute({"year": 2026})

        run = await workflow.start({"year": 2027})
        ...  # run.status["awaiting"] says what it waits for
        await workflow.resume(run, {"approved": True})
        total = await run.result()
    """

    async def execute(self, input: JsonValue = None, **options: Any) -> JsonValue:
        """Run it to its end, across suspensions, and return its output.

        Args:
            input: JSON that fits ``spec.inputSchema``.
            options: fields of RunOptions (name, thread, limits, priority, labels ...).
        Raises: NotFoundError, NotReadyError, RunFailedError with the reason of the step that failed, RunCancelledError.
        """
        run = await self.start(input, **options)
        return await run.result()

    async def start(
        self, input: JsonValue = None, *, listener: Callable[[JsonObject], None] | None = None, **options: Any
    ) -> RunHandle:
        """Start a run and return it; it is durable then.

        Args:
            listener: gets the run's events (``step_started``, ``step_finished`` ...) from the first on.
        Raises: NotFoundError, NotReadyError, AlreadyExistsError (``name`` is taken).
        """
        return await self.runtime.start_run(self.reference, input, listener=listener, **options)

    async def resume(self, run: RunHandle | ResourceKey | str, payload: JsonValue = None, *, signal: str = "") -> str:
        """Give a suspended run of this workflow what it waits for; it goes on wherever a worker is. Returns the signal.

        Args:
            run: as :meth:`start` returned it, or the name of a Run in the workflow's namespace (``run/x`` too).
            payload: the answer; it must fit the step's ``schema``.
            signal: which one is meant when the run waits for several (``status.awaiting``).
        Raises: NotFoundError; UserError when the run is over, waits for nothing or belongs to something else;
            ValidationError when the payload does not fit.
        """
        if isinstance(run, str):
            key = ResourceKey(MAIN_GROUP, "Run", self.reference.namespace, run.removeprefix("run/"))
        elif isinstance(run, ResourceKey):
            key = run
        else:
            key = run.key
        found = await self.runtime.client.require(key)
        target = found.spec.get("target") or {}
        mine = self.reference.key
        if ResourceKey(*(str(target.get(field, "")) for field in ("group", "kind", "namespace", "name"))) != mine:
            raise UserError(f"run/{key.name} is a run of {target.get('kind')} {target.get('name')}, not of {mine}")
        return await self.runtime.runs.resume(key, payload, signal=signal)
