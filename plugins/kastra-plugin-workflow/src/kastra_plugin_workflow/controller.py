"""WorkflowController: says in conditions whether a workflow could run now, and starts its scheduled runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from kastra_core.api.meta import Condition, JsonObject, Resource, ResourceKey, condition_of
from kastra_core.api.references import Reference
from kastra_core.cel.hints import suggestion
from kastra_core.controller import AbstractController, ready_status
from kastra_core.protocols.controller import Result
from kastra_core.serde import typed
from kastra_plugin_workflow.outline import Outline, outline_of
from kastra_plugin_workflow.rules import references
from kastra_plugin_workflow.scheduled_runs import ScheduledRuns, Turn
from kastra_plugin_workflow.spec import WorkflowSpec
from kastra_plugin_workflow.type_rules import type_problems

__all__ = ["WorkflowController"]

_Named: TypeAlias = tuple[Reference, Resource | None]
"""A reference and what it names; None: it is not there."""

_log = logging.getLogger("kastra.workflows")

_MOST_TOLD = 10
"""Missing or unready things, or misfits, that a message names."""
_MODEL = "Model"
"""Reasons that begin so say that only a model is missing: a run that brings a model may start all the same."""
_PENDING = "Pending"
"""Reason while nothing is wrong but something was not reconciled yet; ``Ready`` is Unknown then."""
_DEEPEST = 16
"""Runs nest no deeper; workflows that call workflows are looked into so far."""


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
        outline = outline_of(resource.spec, spec)
        named = await self._named(resource)
        resolved = await self._references(resource, outline, named)
        ready = Condition(type="Ready", status="True", reason="Ready")
        if resolved.status != "True":
            ready = attrs.evolve(resolved, type="Ready")
        amiss = self._types(resource, named)
        turn = await self._runs.turn(resource, spec.schedule, waits_for=ready.message)
        conditions = [ready, resolved, amiss, turn.condition]
        status = ready_status(resource, filter(None, conditions), steps=len(outline.sites), **turn.fields)
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

    async def _named(self, resource: Resource) -> list[_Named]:
        """What a workflow refers to, in the order of the file, as it is now."""
        wanted = list(references(resource))
        there = await self.runtime.store.resources.get_many([reference.key for reference in wanted])
        return [(reference, there.get(reference.key)) for reference in wanted]

    async def _references(self, resource: Resource, outline: Outline, named: Sequence[_Named]) -> Condition:
        faults = await self._faults(named, outline, {resource.key})
        if not faults:
            return Condition(type="ReferencesResolved", status="True", reason="Resolved")
        told = [fault for fault in faults if fault.missing] or _known(faults)
        text, worst = _joined([fault.text for fault in told]), _worst(told)
        status = "Unknown" if worst.pending else "False"
        return Condition(type="ReferencesResolved", status=status, reason=worst.reason, message=text)

    async def _faults(
        self, named: Sequence[_Named], outline: Outline, seen: set[ResourceKey], depth: int = 0
    ) -> list[_Fault]:
        """What is missing or not ready of what a workflow refers to.

        Args:
            seen: workflows that are looked into already; they may call each other.
        """
        faults: list[_Fault] = []
        for reference, found in named:
            fault = self._fault(reference, found)
            if fault is None and found is not None and self._is_workflow(reference):
                fault = await self._fault_inside(reference, found, seen, depth + 1)
            if fault is not None:
                faults.append(fault)
        return [*faults, *self._unknown_operations(outline)]

    def _is_workflow(self, reference: Reference) -> bool:
        return reference.kind == self.kind and reference.group == self.group

    def _fault(self, reference: Reference, found: Resource | None) -> _Fault | None:
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
        if self._is_workflow(reference):
            return None  # what it needs is looked at instead: two that call each other would wait for each other
        ready = condition_of(found, "Ready")
        if ready is not None and ready.get("status") == "True":
            return None
        why = "it was not reconciled yet"
        if ready is not None:
            message = ready.get("message")
            why = f"{ready.get('reason')}: {message}" if message else str(ready.get("reason"))
        if ready is None or ready.get("status") == "Unknown":
            # Its controller says more a moment later, and this workflow is looked at again then.
            return _Fault(_PENDING, f"{what} is not ready ({why})", pending=True)
        reason = str(ready.get("reason"))
        if not reason.startswith(_MODEL):
            reason = f"{reference.kind}NotReady"
        return _Fault(reason, f"{what} is not ready ({why})")

    async def _fault_inside(
        self, reference: Reference, inner: Resource, seen: set[ResourceKey], depth: int
    ) -> _Fault | None:
        if reference.key in seen or depth > _DEEPEST:
            return None
        seen.add(reference.key)
        outline = outline_of(inner.spec, typed(inner.spec, WorkflowSpec))
        faults = await self._faults(await self._named(inner), outline, seen, depth)
        if not faults:
            return None
        first = _worst(_known(faults))
        reason = first.reason if first.pending or first.reason.startswith(_MODEL) else f"{reference.kind}NotReady"
        return _Fault(reason, f"{reference.path}: {reference.key} is not ready ({first.text})", pending=first.pending)

    def _unknown_operations(self, outline: Outline) -> Iterator[_Fault]:
        used = [(site.at("operation"), site.step.operation) for site in outline.sites if site.step.operation]
        plugins = getattr(self.runtime, "plugins", None)
        if not used or plugins is None:
            return
        known = sorted(record.name for _, record in plugins.records("kastra_operations"))
        for path, name in used:
            if name not in known:
                hint = suggestion(name, known, f"offered: {', '.join(known) or 'none'}")
                text = f"{path}: no installed plugin offers the operation {name!r}; {hint}"
                yield _Fault("OperationNotFound", text, missing=True)

    # ------------------------------------------------------------------------------------------ types

    def _types(self, resource: Resource, named: Sequence[_Named]) -> Condition | None:
        """``TypesFit`` when schemas say that something cannot fit: a warning, for schemas can be wrong."""
        schemas = {reference.key: _schemas(found) for reference, found in named if found is not None}
        try:
            problems = type_problems(resource, schemas)
        except Exception:
            # Schemas come from anywhere (a server's, a function's); a mere warning must not hold the workflow up.
            _log.exception("%s: its types could not be compared", resource.key)
            return None
        if not problems:
            return None
        message = _joined([str(problem) for problem in problems])
        return Condition(type="TypesFit", status="False", reason="TypeMismatch", message=message)


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
    pending: bool = False
    """Nobody knows yet whether it is one."""


def _known(faults: Sequence[_Fault]) -> Sequence[_Fault]:
    """Those that are known to be ones, if there are any."""
    return [fault for fault in faults if not fault.pending] or faults


def _worst(faults: Sequence[_Fault]) -> _Fault:
    """The first that a model given to the run would not mend, else the first."""
    return next((fault for fault in faults if not fault.reason.startswith(_MODEL)), faults[0])


def _joined(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - _MOST_TOLD} more"] if len(texts) > _MOST_TOLD else []
    return "; ".join([*texts[:_MOST_TOLD], *more])


def _schemas(found: Resource) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """(input, output) schema of what a step refers to; None where nothing is known."""
    spec, status = found.spec, found.status
    if found.kind == "Agent":
        output = spec.get("output")
        return None, _object(output.get("schema")) if isinstance(output, Mapping) else {"type": "string"}
    given, gives = ((status.get(field) or spec.get(field)) for field in ("inputSchema", "outputSchema"))
    return _object(given), _object(gives)


def _object(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
