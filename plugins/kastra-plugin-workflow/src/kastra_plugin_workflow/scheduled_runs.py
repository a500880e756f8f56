"""The runs that a workflow's schedule starts: decided in its status first, then started, by whichever process stays.

A process starts scheduled runs when it runs controllers and works on runs, as ``kastra serve`` does, and any program
with an open runtime that called ``await runtime.runs.start()`` or started a run. One that lives for a command
(``kastra apply``, ``kastra run``) would leave them unfinished; it keeps the times in status and starts none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Condition, JsonObject, Resource, ResourceKey, rfc3339
from kastra_core.api.references import Reference
from kastra_core.errors import AlreadyExistsError, ConflictError, KastraError, StoreError, UserError
from kastra_core.status import message_of
from kastra_plugin_workflow.schedule import (
    Note,
    Schedule,
    ScheduleError,
    ScheduleState,
    decide,
    run_name,
)
from kastra_plugin_workflow.spec import ScheduleSpec
from kastra_plugin_workflow.values import instant_of

__all__ = ["SCHEDULED_AT", "WORKFLOW_LABEL", "ScheduledRuns", "Turn"]

WORKFLOW_LABEL = f"{MAIN_GROUP}/workflow"
"""Label of scheduled runs: the workflow's name."""
SCHEDULED_AT = f"{MAIN_GROUP}/scheduled-at"
"""Annotation of scheduled runs: their instant, RFC 3339."""

_LOOK_AGAIN_S = 30.0
"""A clock may be set, and a laptop may sleep: the time is looked at at least this often."""
_RETRY_S = 10.0
"""A run that could not be started is tried again after this long, or when something changes."""
_MOST_ACTIVE = 100
"""Names in ``status.active``, the newest."""
_LONGEST_LABEL = 63
_MOST_TOLD = 1000
_FINISHED = frozenset({"Succeeded", "Failed", "Cancelled"})


@attrs.frozen(kw_only=True)
class Turn:
    """What one look at a schedule came to."""

    condition: Condition | None = None
    """``Scheduled``; None: there is no schedule."""
    fields: Mapping[str, Any]
    """Fields of status; None removes one."""
    notes: tuple[Note, ...] = ()
    """To record once the status is written."""
    again_after_s: float | None = None
    spec: ScheduleSpec | None = None
    state: ScheduleState | None = None
    starts: tuple[float, ...] = ()
    """Instants whose runs are to be started once the status is written."""
    active: tuple[str, ...] = ()
    last_s: float | None = None
    next_s: float | None = None


class ScheduledRuns:
    """Keeps the schedules of a controller's workflows.

    Args:
        runtime: a RuntimeManager.
        watch: has a workflow looked at soon.
    """

    def __init__(self, runtime: Any, watch: Callable[[Resource], None]) -> None:
        self._runtime, self._watch = runtime, watch
        self._clock: Callable[[], float] = getattr(runtime, "clock", time.time)
        self._told: set[tuple[str, float, str]] = set()
        self._subscription = runtime.bus.subscribe("run.finished", self._run_finished)

    def close(self) -> None:
        """Hear of no more runs."""
        self._subscription.unsubscribe()

    # ------------------------------------------------------------------------------------------ deciding

    async def turn(self, workflow: Resource, spec: ScheduleSpec | None, *, waits_for: str) -> Turn:
        """Decide what is due; nothing is written or started here.

        Args:
            waits_for: why the workflow cannot run now, "" when it can.
        """
        if spec is None:
            return Turn(fields=dict.fromkeys(("schedule", "lastScheduleTime", "nextScheduleTime", "active")))
        try:
            schedule = Schedule.of(spec)
        except ScheduleError as error:  # stored by another version, or the system lost the time zone
            condition = Condition(type="Scheduled", status="False", reason="InvalidSchedule", message=str(error))
            return Turn(condition=condition, fields={"nextScheduleTime": None})
        now_s = self._clock()
        meta, status = workflow.metadata, workflow.status
        created_s = instant_of(meta.creation_timestamp) or now_s
        state, notes = ScheduleState.of(spec, status, created_s=created_s, now_s=now_s)
        state, active, last_s = await self._what_became(workflow, state)
        stays = self._stays
        if stays:
            state, decided = decide(state, spec, schedule, now_s, active)
            notes += decided
        if state.pending and waits_for:
            notes += self._once(workflow, state.pending[-1], "NotReady", waits_for)
        turn = Turn(
            fields={},
            notes=tuple(notes),
            spec=spec,
            state=state,
            active=active,
            last_s=last_s,
            next_s=None if spec.suspend else schedule.next_after(max(now_s, state.until_s)),
        )
        held = bool(waits_for) or (spec.concurrency_policy == "Forbid" and bool(active))
        return attrs.evolve(
            turn,
            condition=_condition(turn, waits_for),
            fields=_fields(turn),
            starts=state.pending if stays and not held else (),
            again_after_s=_again_after_s(turn, now_s),
        )

    async def _what_became(
        self, workflow: Resource, state: ScheduleState
    ) -> tuple[ScheduleState, tuple[str, ...], float | None]:
        """The state less what was started already; names of runs that are not over; the last instant started."""
        meta, status = workflow.metadata, workflow.status
        names = [name for name in status.get("active") or () if isinstance(name, str)]
        waiting = {run_name(meta.name, instant): instant for instant in state.pending}
        keys = {name: _run_key(meta.namespace, name) for name in dict.fromkeys([*names, *waiting])}
        runs = await self._runtime.store.resources.get_many(list(keys.values())) if keys else {}
        last_s = instant_of(status.get("lastScheduleTime"))
        active = []
        for name, key in keys.items():
            run = runs.get(key)
            if run is None:
                continue
            if run.status.get("phase") not in _FINISHED:
                active.append(name)
            if name in waiting:
                last_s = max(last_s or 0.0, waiting[name])
        left = tuple(instant for name, instant in waiting.items() if runs.get(keys[name]) is None)
        return attrs.evolve(state, pending=left), tuple(active), last_s

    @property
    def _stays(self) -> bool:
        """Whether this process runs controllers and works on runs."""
        made = vars(self._runtime) if hasattr(self._runtime, "__dict__") else {}
        controllers = made.get("controllers")
        return controllers is not None and controllers.running and "runs" in made and not made["runs"].closing

    def _once(self, workflow: Resource, instant_s: float, reason: str, why: str) -> list[Note]:
        """What is the same at each try is told at the first."""
        key = (workflow.metadata.uid, instant_s, reason)
        if key in self._told:
            return []
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told.add(key)
        return [Note("Warning", reason, f"the run of {rfc3339(instant_s)} cannot be started yet: {why}")]

    # ------------------------------------------------------------------------------------------ starting

    async def start(self, workflow: Resource, turn: Turn) -> tuple[Condition, JsonObject]:
        """Start what was decided; return the condition and the fields of status that tell of it.

        Raises: StoreError, ConflictError; what was started by then is found by the next turn.
        """
        assert turn.spec is not None
        assert turn.state is not None
        active, left, last_s, why = list(turn.active), list(turn.starts), turn.last_s, ""
        for instant in turn.starts:
            if turn.spec.concurrency_policy == "Forbid" and active:
                break  # the next one, when that is over
            if turn.spec.concurrency_policy == "Replace":
                await self._cancel(workflow, active)
            name = run_name(workflow.metadata.name, instant)
            try:
                unfinished = await self._start(workflow, turn.spec, instant, name)
            except (StoreError, ConflictError):
                raise
            except KastraError as error:
                if self._runtime.runs.closing:
                    break  # the next process goes on
                why = message_of(error)
                for note in self._once(workflow, instant, "StartFailed", why):
                    await self.tell(workflow, note)
                break
            left.remove(instant)
            last_s = max(last_s or 0.0, instant)
            if unfinished:
                active.append(name)
        after = attrs.evolve(
            turn, state=attrs.evolve(turn.state, pending=tuple(left)), active=tuple(active), last_s=last_s
        )
        return _condition(after, why), _fields(after)

    async def _start(self, workflow: Resource, spec: ScheduleSpec, instant_s: float, name: str) -> bool:
        """Start a run unless it was started before; whether it is not over. Raises: KastraError."""
        meta = workflow.metadata
        at = rfc3339(instant_s)
        reference = Reference(group=workflow.group, kind=workflow.kind, namespace=meta.namespace, name=meta.name)
        try:
            await self._runtime.start_run(
                reference,
                spec.input,
                name=name,
                namespace=meta.namespace,
                labels={WORKFLOW_LABEL: meta.name} if len(meta.name) <= _LONGEST_LABEL else {},
                annotations={SCHEDULED_AT: at},
                # It was looked at just now, and asking again would reconcile it in the middle of its reconcile.
                require_ready=False,
            )
        except AlreadyExistsError:
            run = await self._runtime.client.get(_run_key(meta.namespace, name))
            if run is None:
                return False
            if run.metadata.annotations.get(SCHEDULED_AT) != at:
                text = f"run/{name} is there and was not started by the schedule: the run of {at} cannot bear its name"
                await self.tell(workflow, Note("Warning", "NameTaken", text))
            return run.status.get("phase") not in _FINISHED
        return True

    async def _cancel(self, workflow: Resource, names: list[str]) -> None:
        for name in names:
            try:
                await self._runtime.runs.cancel(_run_key(workflow.metadata.namespace, name))
            except UserError:
                continue  # it is over, or deleted
            text = f"run/{name} is cancelled for the next one (concurrencyPolicy Replace)"
            await self.tell(workflow, Note("Normal", "Replaced", text))

    async def tell(self, workflow: Resource, note: Note) -> None:
        """Record an Event."""
        if self._runtime.events is not None:
            waited = self._runtime.events.record(workflow, note.type, note.reason, note.message)
            if hasattr(waited, "__await__"):
                await waited

    def _run_finished(self, message: Mapping[str, Any]) -> None:
        """``status.active`` changes, and one that waited for its turn may start."""
        run: Resource = message["resource"]
        target = run.spec.get("target") or {}
        if SCHEDULED_AT not in run.metadata.annotations or target.get("kind") != "Workflow":
            return
        informer = self._runtime.controllers.informer(target.get("group"), "Workflow")
        key = ResourceKey(target.get("group", ""), "Workflow", target.get("namespace", ""), target.get("name", ""))
        workflow = informer.cached(key) if informer is not None else None
        if workflow is not None:
            self._watch(workflow)


def _run_key(namespace: str, name: str) -> ResourceKey:
    return ResourceKey(MAIN_GROUP, "Run", namespace, name)


def _condition(turn: Turn, why: str) -> Condition:
    """``why``: what holds up the runs that are to be started."""
    assert turn.spec is not None
    assert turn.state is not None
    spec, pending = turn.spec, turn.state.pending
    if spec.suspend:
        return Condition(
            type="Scheduled",
            status="False",
            reason="Suspended",
            message="spec.schedule.suspend is true: nothing is started",
        )
    if pending and why:
        text = f"the run of {rfc3339(pending[-1])} is not started yet: {why}"
        return Condition(type="Scheduled", status="False", reason="Waiting", message=text)
    if turn.next_s is None:
        text = f"{spec.cron!r} gives no instant within 50 years"
        return Condition(type="Scheduled", status="False", reason="NeverDue", message=text)
    text = f"{spec.cron} ({spec.time_zone}), kept by `kastra serve`"
    return Condition(type="Scheduled", status="True", reason="Scheduled", message=text)


def _fields(turn: Turn) -> JsonObject:
    assert turn.state is not None
    return {
        "schedule": turn.state.to_status(),
        "lastScheduleTime": rfc3339(turn.last_s) if turn.last_s is not None else None,
        "nextScheduleTime": rfc3339(turn.next_s) if turn.next_s is not None else None,
        "active": list(turn.active[-_MOST_ACTIVE:]) or None,
    }


def _again_after_s(turn: Turn, now_s: float) -> float | None:
    assert turn.state is not None
    waits = [_LOOK_AGAIN_S]
    if turn.next_s is not None:
        # A timer may be some milliseconds early.
        waits.append(max(0.001, turn.next_s - now_s))
    elif not turn.active and not turn.state.pending:
        return None
    if turn.state.pending:
        waits.append(_RETRY_S)
    return min(waits)
