"""``kastra run retry --from STEP``: what a new run takes over from the journal of the old one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, Resource, ResourceKey
from kastra_core.cli.run_steps import has_steps, path_of, rows_of
from kastra_core.errors import UserError, nearest

if TYPE_CHECKING:
    from kastra_core.execution.pins import Pins
    from kastra_core.execution.replay import Trace
    from kastra_core.runtime import RuntimeManager

__all__ = ["RETRY_OF", "Restart", "restart_from"]

RETRY_OF = "mastra.ai/retry-of"
"""Annotation of a run: name of the run that it repeats."""
_SHOWN = 20


@attrs.frozen(kw_only=True)
class Restart:
    """What a run begins with that goes on from a step of another one."""

    step: str
    """Path of the step, as events show it."""
    journal: Mapping[str, Any]
    """Records by path: the answers to all that came before the step."""
    target: Resource
    """What the new run runs."""
    events: tuple[JsonObject, ...]
    """What happened before the step."""
    pins: Pins | None
    """What the old run pinned; None: the target as it is now."""


async def restart_from(
    runtime: RuntimeManager, run: Resource, target: Resource | None, step: str, *, as_started: bool
) -> Restart:
    """Find what a new run takes over of an old one to go on from a step.

    Args:
        target: as it is stored now; needed unless ``as_started``.
        step: id of a step, or its path as events show it; of several times the last one is meant.
        as_started: with the workflow, agents and tools as the old run had them.
    Raises:
        UserError: the step is unknown, or what stands before it has changed; ReplayError, NotFoundError.
    """
    from kastra_core.execution.pins import PinBoard
    from kastra_core.execution.replay import replay

    records = await runtime.store.journal.records(run.metadata.uid)
    before = await replay(runtime, run, records=records)
    path, number = _last_start(run, before, step)
    board = PinBoard(runtime.store, runtime.registry)
    pins = await board.load(run.spec["pinned"])
    if not as_started and target is not None:
        _, _, pins = await board.pin(target)
    trace = await replay(runtime, run, records=records, pins=pins, stop=_at(path, number))
    if trace.end != "stopped":
        raise UserError(_not_reached(run, trace, step))
    # The runner had its hands on no record; still they are what was stored, as text.
    journal = {line.path: orjson.loads(orjson.dumps(line.record)) for line in records if line.path in trace.used}
    events = tuple(entry.event for entry in trace.entries)
    if as_started or target is None:
        return Restart(step=path, journal=journal, target=pins[_target_of(run)], events=events, pins=pins)
    return Restart(step=path, journal=journal, target=target, events=events, pins=None)


def _last_start(run: Resource, trace: Trace, step: str) -> tuple[str, int]:
    """(path, how many-th start of that path) of the last time a step was begun."""
    starts: list[tuple[float, int, str, str, int]] = []
    counts: dict[str, int] = {}
    for at, entry in enumerate(trace.entries):
        if not _begins(entry.event):
            continue
        path = path_of(entry.event)
        counts[path] = counts.get(path, 0) + 1
        starts.append((entry.time_s, at, path, str(entry.event.get("step")), counts[path]))
    found = [start for start in starts if step in (start[2], start[3])]
    if found:
        _, _, path, _, number = max(found)
        return path, number
    if not has_steps(trace):
        raise UserError(f"run/{run.metadata.name} has no steps; retry it without --from")
    known = list(dict.fromkeys(name for start in starts for name in (start[3], start[2])))
    near = nearest(step, known)
    ran = list(dict.fromkeys(start[2] for start in starts))
    shown = ", ".join(ran[:_SHOWN]) + (", ..." if len(ran) > _SHOWN else "")
    hint = f"did you mean {near!r}? " if near else ""
    raise UserError(f"step {step!r} did not run in run/{run.metadata.name}; {hint}steps that ran: {shown}")


def _begins(event: JsonObject) -> bool:
    return event.get("type") == "step_started" and (event.get("attempt") or 1) == 1


def _at(path: str, number: int) -> Callable[[JsonObject], bool]:
    seen = 0

    def stop(event: JsonObject) -> bool:
        nonlocal seen
        if _begins(event) and path_of(event) == path:
            seen += 1
            return seen == number
        return False

    return stop


def _not_reached(run: Resource, trace: Trace, step: str) -> str:
    """Why the workflow as it is now does not come to a step over the old records."""
    under_way = attrs.evolve(run, status={**run.status, "phase": "Running"})
    stuck = [row for row in rows_of(trace, under_way) if row.phase in ("Running", "Waiting")]
    innermost = _innermost([row.path for row in stuck])
    hint = f"`kastra run retry run/{run.metadata.name} --from {step} --as-started` takes it as it was"
    if innermost:
        why = f"step {innermost} comes before it now and has no result in the journal"
    elif trace.error is not None:
        why = f"over what the journal has it fails now: {trace.error['reason']}: {trace.error['message']}"
    else:
        why = "over what the journal has it does not come to that step any more"
    return f"{run.spec['target']['kind']} {run.spec['target']['name']} has changed before step {step}: {why}; {hint}"


def _innermost(paths: Sequence[str]) -> str:
    """The first of some open steps that no other one lies in."""
    for path in paths:
        if not any(other != path and other.startswith(path) and other[len(path)] in "[@./" for other in paths):
            return path
    return ""


def _target_of(run: Resource) -> ResourceKey:
    """What a Run runs."""
    of = run.spec["target"]
    return ResourceKey(of["group"], of["kind"], of["namespace"], of["name"])
