"""WorkflowController: says in conditions whether a workflow could run now, and starts its scheduled runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import Condition, JsonObject, Resource, ResourceKey, condition_of
from kastra_core.api.references import Reference
from kastra_core.controller import AbstractController, ready_status
from kastra_core.errors import nearest
from kastra_core.protocols.controller import Result
from kastra_core.serde import typed
from kastra_plugin_workflow.rules import references
from kastra_plugin_workflow.scheduled_runs import ScheduledRuns, Turn
from kastra_plugin_workflow.spec import StepSpec, WorkflowSpec, blocks_of

__all__ = ["WorkflowController"]

_MOST_TOLD = 10
"""Missing or unready things that a message names."""


class WorkflowController(AbstractController):
    """Conditions: ``ReferencesResolved``, ``TypesFit`` (only when something is amiss), ``Scheduled`` (only with a
    schedule), ``Ready``."""

    kind = "Workflow"

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self._runs = ScheduledRuns(runtime, self.watch)

    async def aclose(self) -> None:
        self._runs.close()

    async def get_desired_state(self, resource: Resource) -> JsonObject:
        spec = typed(resource.spec, WorkflowSpec)
        resolved = await self._references(resource, spec)
        ready = Condition(type="Ready", status="True", reason="Ready")
        if resolved.status != "True":
            ready = Condition(type="Ready", status="False", reason=resolved.reason, message=resolved.message)
        amiss = await self._types(resource, spec)
        turn = await self._runs.turn(resource, spec.schedule, waits_for=ready.message)
        conditions = [ready, resolved, amiss, turn.condition]
        status = ready_status(resource, filter(None, conditions), steps=_count(spec), **turn.fields)
        kept = {condition.type for condition in conditions if condition is not None}
        mine = {"TypesFit", "Scheduled"}
        status["conditions"] = [
            condition
            for condition in status["conditions"]
            if condition["type"] in kept or condition["type"] not in mine
        ]
        return _Desired(status, turn)

    async def update_resource_state(self, resource: Resource, desired: Any, current: Any) -> None:
        """Write the status, then start what it says is to be started, and write what became of that."""
        turn = desired.turn
        status = dict(desired)
        written: Resource | None = resource
        if status != current:
            # The version is the condition: of several processes, one decides about an instant.
            written = await self.write_status(resource, status)
        if written is None:
            return
        for note in turn.notes:
            await self._runs.tell(written, note)
        if not turn.starts:
            return
        condition, fields = await self._runs.start(written, turn)
        after = ready_status(written, [condition], **fields)
        await self.write_status(written, after)

    def result_of(self, resource: Resource, desired: Any) -> Result:
        return Result(requeue_after_s=desired.turn.again_after_s)

    # ------------------------------------------------------------------------------------------ references

    async def _references(self, resource: Resource, spec: WorkflowSpec) -> Condition:
        found = await self._faults(resource, {resource.key})
        missing = [fault for fault in found if fault.missing] + list(self._unknown_operations(spec))
        if not missing and not found:
            return Condition(type="ReferencesResolved", status="True", reason="Resolved")
        told = missing or found
        shown = [fault.text for fault in told[:_MOST_TOLD]]
        if len(told) > _MOST_TOLD:
            shown.append(f"and {len(told) - _MOST_TOLD} more")
        return Condition(type="ReferencesResolved", status="False", reason=told[0].reason, message="; ".join(shown))

    async def _faults(self, resource: Resource, seen: set[ResourceKey]) -> list[_Fault]:
        """What is missing or not ready of what a workflow refers to."""
        wanted = list(references(resource))
        there = await self.runtime.store.resources.get_many([reference.key for reference in wanted])
        faults: list[_Fault] = []
        for reference in wanted:
            fault = self._fault(resource, reference, there.get(reference.key))
            if fault is None and reference.kind == self.kind and reference.group == self.group:
                fault = await self._fault_inside(reference, there[reference.key], seen)
            if fault is not None:
                faults.append(fault)
        return faults

    def _fault(self, resource: Resource, reference: Reference, found: Resource | None) -> _Fault | None:
        what = f"{reference.path}: {reference.key}"
        if found is None:
            known = self.runtime.registry.get(reference.group, reference.kind)
            how = "apply it, or name another one"
            if known is None:
                how = f"no plugin offers the kind {reference.kind}: install one that does"
            return _Fault(f"{reference.kind}NotFound", f"{what} is not found; {how}", missing=True)
        if found.metadata.deletion_timestamp:
            text = f"{what} is being deleted; apply it again when it is gone, or name another one"
            return _Fault(f"{reference.kind}NotFound", text, missing=True)
        if reference.kind == self.kind and reference.group == self.group:
            return None  # what it needs is looked at instead: two that call each other would wait for each other
        ready = condition_of(found, "Ready")
        if ready is not None and ready.get("status") == "True":
            return None
        why = "it was not reconciled yet"
        if ready is not None:
            message = ready.get("message")
            why = f"{ready.get('reason')}: {message}" if message else str(ready.get("reason"))
        return _Fault(f"{reference.kind}NotReady", f"{what} is not ready ({why})")

    async def _fault_inside(self, reference: Reference, inner: Resource, seen: set[ResourceKey]) -> _Fault | None:
        if reference.key in seen:
            return None
        seen.add(reference.key)
        faults = await self._faults(inner, seen)
        faults += self._unknown_operations(typed(inner.spec, WorkflowSpec))
        if not faults:
            return None
        return _Fault(f"{reference.kind}NotReady", f"{reference.path}: {reference.key} is not ready ({faults[0].text})")

    def _unknown_operations(self, spec: WorkflowSpec) -> Iterator[_Fault]:
        used = [(path, step.operation) for path, step in _steps(spec) if step.operation]
        plugins = getattr(self.runtime, "plugins", None)
        if not used or plugins is None:
            return
        known = sorted(record.name for _, record in plugins.records("kastra_operations"))
        for path, name in used:
            if name not in known:
                near = nearest(name, known)
                hint = f"did you mean {near!r}?" if near else f"offered: {', '.join(known) or 'none'}"
                text = f"{path}.operation: no installed plugin offers the operation {name!r}; {hint}"
                yield _Fault("OperationNotFound", text, missing=True)

    # ------------------------------------------------------------------------------------------ types


class _Desired(dict[str, Any]):
    """The wanted status, and what is to be done when it is written."""

    def __init__(self, status: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(status)
        self.turn = turn


@attrs.frozen
class _Fault:
    reason: str
    text: str
    missing: bool = False


def _steps(spec: WorkflowSpec) -> Iterator[tuple[str, StepSpec]]:
    """(path, step) of all steps, those of nested blocks and handlers too."""
    yield from _steps_of("spec.steps", spec.steps)
    yield from _steps_of("spec.onFailure", spec.on_failure)


def _steps_of(path: str, block: Sequence[StepSpec]) -> Iterator[tuple[str, StepSpec]]:
    for index, step in enumerate(block):
        here = f"{path}[{index}]"
        yield here, step
        for below, inner in blocks_of(step):
            yield from _steps_of(f"{here}.{below}", inner)


def _count(spec: WorkflowSpec) -> int:
    return sum(1 for _ in _steps(spec))
