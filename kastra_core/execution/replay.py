"""What happened in a run, told by its journal alone: its runner is replayed, and nothing is carried out.

A runner is deterministic between its records, so a replay emits the events that the run emitted, without a byte of
them in the journal. It needs no lease and no worker, and it writes nothing; any process may do it at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.errors import KastraError
from kastra_core.execution.pins import PinBoard, Pins
from kastra_core.execution.replay_context import (
    FrontierError,
    Replay,
    ReplayContext,
    ReplayError,
    StopError,
    TraceEntry,
)
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.state import REFUSAL_PATH, copy_of
from kastra_core.protocols.runner import Outcome
from kastra_core.protocols.store import Record

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["ReplayError", "Trace", "TraceEntry", "replay"]

T = TypeVar("T")

_FOREIGN_WAIT_S = 10.0
"""How long a runner may wait for what is not of its context: longer than any that keeps to the rules needs."""


@attrs.frozen(kw_only=True)
class Trace:
    """What a replay saw. Branches that went on at once come one after another, in the order of their mapping."""

    entries: tuple[TraceEntry, ...]
    end: Literal["finished", "failed", "frontier", "stopped"]
    """``frontier``: it came to something that has no record; ``stopped``: to an event that it was to stop at."""
    output: JsonValue = None
    error: JsonObject | None = None
    """``reason`` and ``message``, when it failed."""
    used: frozenset[str] = frozenset()
    """Journal paths of the records that answered."""
    differs: bool = False
    """The run is over and the replay does not end as it did: the runner is not the one that it was."""


async def replay(
    runtime: RuntimeManager,
    run: Resource,
    *,
    records: Sequence[Record] | None = None,
    stop: Callable[[JsonObject], bool] | None = None,
    pins: Pins | None = None,
) -> Trace:
    """Replay a run over its journal.

    Args:
        runtime: nothing is started in it.
        run: the Run.
        records: in place of those that the store has.
        stop: an event for which it is true is the last of its branch; other branches go on.
        pins: in place of what the run pinned: how would it have gone with these?
    Raises: ReplayError; NotFoundError when what it pinned is lost; StoreError.
    """
    if records is None:
        records = await runtime.store.journal.records(run.metadata.uid)
    key = _target_of(run)
    if pins is None:
        pins = await _pins_of(runtime, run)
        as_it_was = stop is None
    else:
        as_it_was = False
    target = pins.get(key)
    if target is None:
        raise ReplayError(f"{run.key}: {key}, its target, is not among what it pinned")
    runner = _runner_of(runtime, run, key)
    state = Replay(runtime, run, pins, records, stop)
    top = ReplayContext(state, "", _began_s(run, records), _limit_of(run, runtime.clock()))
    trace = await _carry_out(state, top, runner, target)
    refusal = state.find(REFUSAL_PATH)
    if as_it_was and trace.end == "finished" and refusal is not None:
        trace = attrs.evolve(trace, end="failed", output=None, error=refusal[0].get("e"))
    return _as_it_ended(trace, run) if as_it_was else trace


def _target_of(run: Resource) -> ResourceKey:
    target = run.spec.get("target")
    try:
        return ResourceKey(target["group"], target["kind"], target["namespace"], target["name"])  # type: ignore[index]
    except (TypeError, KeyError) as error:
        raise ReplayError(f"{run.key}: spec.target does not say what it runs") from error


async def _pins_of(runtime: RuntimeManager, run: Resource) -> Pins:
    digest = run.spec.get("pinned")
    if not isinstance(digest, str):
        raise ReplayError(f"{run.key}: spec.pinned does not say what it pinned")
    # One of its own where there are no runs yet: a process that only looks needs no RunManager.
    board = runtime.runs.pins if "runs" in vars(runtime) else PinBoard(runtime.store, runtime.registry)
    try:
        return await board.load(digest)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReplayError(f"{run.key}: what it pinned ({digest}) cannot be read: {error}") from error


def _runner_of(runtime: RuntimeManager, run: Resource, key: ResourceKey) -> Any:
    kind = runtime.registry.get(key.group, key.kind)
    if kind is None:
        raise ReplayError(
            f"{run.key}: no installed plugin offers the kind {key.kind} of group {key.group}; "
            "install the one that had it, `kastra plugins` shows what is installed"
        )
    if kind.runner is None:
        raise ReplayError(f"{run.key}: a resource of kind {key.kind} cannot be run by the plugin that is installed now")
    try:
        return load(kind.runner)()
    except KastraError:
        raise
    except Exception as error:
        raise ReplayError(
            f"{run.key}: the runner of {key.kind} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _limit_of(run: Resource, now_s: float) -> float:
    """Unix seconds: what a sleep waited for had come when it is not later."""
    phase = run.status.get("phase")
    if phase not in FINISHED:
        return now_s
    if phase != "Cancelled" and run.status.get("reason") != "LimitExceeded":
        return math.inf  # it went on to its own end
    return _ended_s(run)


def _began_s(run: Resource, records: Sequence[Record]) -> float:
    known = run.status.get("startedAtS")
    if isinstance(known, (int, float)):
        return float(known)
    first_s = math.inf
    if records:
        ms = records[0].record.get("ms") if isinstance(records[0].record, dict) else None
        first_s = records[0].time_s - (ms if isinstance(ms, (int, float)) else 0) / 1000
    # A timestamp leaves the fraction of its second out, and nothing began before it.
    whole_s = _instant(run.status.get("startedAt") or run.metadata.creation_timestamp, first_s)
    if whole_s == math.inf:
        return 0.0
    return min(max(whole_s, first_s), whole_s + 0.999) if records else whole_s


def _ended_s(run: Resource) -> float:
    began_s, took_s = run.status.get("startedAtS"), run.status.get("durationS")
    if isinstance(began_s, (int, float)) and isinstance(took_s, (int, float)):
        return began_s + took_s
    return _instant(run.status.get("finishedAt"), math.inf) + 0.999


def _instant(timestamp: object, default: float) -> float:
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(str(timestamp)).timestamp()
    return default


async def _carry_out(state: Replay, top: ReplayContext, runner: Any, target: Resource) -> Trace:
    output: JsonValue = None
    error: JsonObject | None = None
    end: Literal["finished", "failed", "frontier", "stopped"] = "finished"
    try:
        output = await _bounded(runner.run(top, target, copy_of(state.run.spec.get("input"))))
        if isinstance(output, Outcome):
            output = output.output
        top.go_on()
    except StopError:
        end = "stopped"
    except FrontierError:
        end = "frontier"
    except KastraError as failure:
        end, error = "failed", {"reason": failure.reason, "message": str(failure)}
    except Exception as failure:
        end, error = "failed", {"reason": "RunnerBug", "message": f"{type(failure).__name__}: {failure}"}
    if state.fault is not None:
        raise state.fault
    if end == "finished":
        try:
            output = copy_of(output)
        except TypeError as failure:
            end, error = "failed", {"reason": "RunnerBug", "message": f"{type(failure).__name__}: {failure}"}
    return Trace(
        entries=tuple(state.entries),
        end=end,
        output=output if end == "finished" else None,
        error=error,
        used=frozenset(state.used),
    )


async def _bounded(work: Awaitable[T]) -> T:
    """Await what needs no waiting; a runner that waits for something of its own all the same does not hold us up."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return await work  # driven by hand: it is begun again in an event loop if it does wait
    limit = asyncio.timeout(_FOREIGN_WAIT_S)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise FrontierError from None
        raise


def _as_it_ended(trace: Trace, run: Resource) -> Trace:
    """The trace with the end that the run had, which limits and cancellation do not leave in the journal."""
    status = run.status
    phase = status.get("phase")
    if phase not in FINISHED:
        return trace
    if phase == "Succeeded":
        return attrs.evolve(trace, differs=trace.end != "finished" or trace.output != status.get("output"))
    error = {"reason": str(status.get("reason") or phase), "message": str(status.get("message") or "")}
    if trace.end == "frontier":
        return attrs.evolve(trace, end="failed", error=error)
    same = trace.end == "failed" and trace.error is not None and trace.error["reason"] == error["reason"]
    # What was cancelled, or ended by a limit, may have been through all its records.
    return attrs.evolve(trace, differs=not same and phase != "Cancelled" and error["reason"] != "LimitExceeded")
