"""When a scheduled workflow starts: the instants of its cron line, and what is decided about each of them. No I/O.

An instant is decided once: it is started, skipped or missed. What is decided is kept in the workflow's status with a
condition on its version before anything is started, so that of several processes one decides; the run's name follows
from the instant, so that whoever carries the decision out, and however often, starts it once.

Local time as Debian's cron takes it: a time of day that the clock jumps over comes when the jump is over, one that
comes twice counts the first time; lines whose minute or hour begins with ``*`` go by the clock as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject, rfc3339
from kastra_core.errors import UserError
from kastra_plugin_workflow.spec import ScheduleSpec
from kastra_plugin_workflow.values import duration_text, instant_of

__all__ = [
    "MOST_MISSED",
    "ON_TIME_S",
    "Note",
    "Schedule",
    "ScheduleError",
    "ScheduleState",
    "decide",
    "run_name",
]

MOST_MISSED = 100
"""Missed instants that are made up for at most (``missedRunPolicy: All``)."""
ON_TIME_S = 60.0
"""An instant that is seen so late counts as missed."""
_FAR_BACK_S = 86400.0
"""A clock that is set back by more was wrong before; what it decided for the time to come does not hold."""
_AHEAD_S = 120.0
"""Clocks of processes that keep one schedule may differ by this much."""
_FIELDS = 5
_LONGEST_NAME = 230


class ScheduleError(UserError):
    """``spec.schedule`` gives no instants.

    Attributes:
        path: the field below ``spec.schedule``: cron or timeZone.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, path)
        self.message, self.path = message, path

    def __str__(self) -> str:
        return f"spec.schedule.{self.path}: {self.message}"


class Schedule:
    """A cron line in a time zone.

    Raises: ScheduleError.

    >>> rfc3339(Schedule("30 2 * * *", "Europe/Berlin").next_after(1_774_742_400))  # the clock jumps from 2 to 3
    '2026-03-29T01:00:00Z'
    """

    def __init__(self, cron: str, time_zone: str = "UTC") -> None:
        self.cron, self.zone = cron, _zone(time_zone)
        self._check()

    @classmethod
    def of(cls, spec: ScheduleSpec) -> Schedule:
        """Raises: ScheduleError."""
        return cls(spec.cron, spec.time_zone)

    def next_after(self, instant_s: float) -> float | None:
        """The first instant after ``instant_s``, unix seconds; None: there is none within 50 years."""
        return next(self._after(instant_s), None)

    def newest(self, since_s: float, until_s: float, most: int) -> tuple[list[float], bool]:
        """The newest ``most`` instants in (since_s, until_s], ascending, and whether there are more before them."""
        span_s = 3600.0
        while True:
            start_s = max(since_s, until_s - span_s)
            found = []
            for instant_s in self._after(start_s):
                if instant_s > until_s:
                    break
                found.append(instant_s)
            if len(found) > most or start_s <= since_s:
                return found[-most:], len(found) > most
            # From the end, in growing spans: years of minutes are not to be counted for the last hundred.
            span_s *= 4

    def _after(self, instant_s: float) -> Any:
        from cronsim import CronSim

        at_s = instant_s // 1
        for found in CronSim(self.cron, datetime.fromtimestamp(at_s, self.zone)):
            found_s = found.timestamp()
            # Begun in an hour that comes twice, the first that it gives may lie before the beginning.
            if found_s > at_s:
                at_s = found_s
                yield found_s

    def _check(self) -> None:
        from cronsim import CronSim, CronSimError

        count = len(self.cron.split())
        if count != _FIELDS:
            said = f"found {count} in {self.cron!r}" if count else "it is empty"
            raise ScheduleError(
                f"expected five fields (minute, hour, day of month, month, day of week), {said}; "
                "every day at three is '0 3 * * *'",
                "cron",
            )
        try:
            CronSim(self.cron, datetime.fromtimestamp(0, self.zone))
        except (CronSimError, ValueError) as error:
            what = str(error).removeprefix("Bad ") or "cannot be read"
            raise ScheduleError(
                f"{self.cron!r}: the field {what} is wrong; write for example '*/15 8-18 * * MON-FRI'", "cron"
            ) from error


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"there is no time zone {name!r}; write an IANA name such as Europe/Berlin or UTC "
            "(a system without a database of time zones needs `pip install tzdata`)",
            "timeZone",
        ) from error


def run_name(workflow: str, instant_s: float) -> str:
    """Name of the run of an instant.

    >>> run_name("nightly", 1767571200)
    'nightly-20260105-0000'
    """
    at = datetime.fromtimestamp(instant_s, UTC)
    stamp = at.strftime("%Y%m%d-%H%M%S" if at.second else "%Y%m%d-%H%M")
    if len(workflow) > _LONGEST_NAME:
        digest = hashlib.sha256(workflow.encode()).hexdigest()[:8]
        workflow = f"{workflow[: _LONGEST_NAME - 9].rstrip('-.')}-{digest}"
    return f"{workflow}-{stamp}"


# ------------------------------------------------------------------------------------------------ deciding


@attrs.frozen
class Note:
    """Something to record as an Event of the workflow."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@attrs.frozen(kw_only=True)
class ScheduleState:
    """What is decided; ``status.schedule`` of the workflow."""

    cron: str
    time_zone: str
    suspended: bool
    until_s: float
    """Every instant up to this one is decided."""
    set_back: bool = False
    """The clock was set back, nothing is decided until it is at ``until_s`` again, and that was told."""
    pending: tuple[float, ...] = ()
    """Those that are to be started, and of which nobody has told yet that they were, ascending."""

    @classmethod
    def of(
        cls, spec: ScheduleSpec, status: Mapping[str, Any], *, created_s: float, now_s: float
    ) -> tuple[ScheduleState, list[Note]]:
        """The state as stored, brought to what the spec says now; what is new counts from now on.

        Args:
            status: of the workflow; without ``observedGeneration`` nobody ever looked at it, and the schedule holds
                since ``created_s``.
        """
        kept = status.get("schedule")
        since_s = now_s if status.get("observedGeneration") else min(created_s, now_s)
        fresh = cls(cron=spec.cron, time_zone=spec.time_zone, suspended=spec.suspend, until_s=since_s // 1)
        until_s = instant_of(kept.get("decidedUntil")) if isinstance(kept, Mapping) else None
        if not isinstance(kept, Mapping) or until_s is None:
            return fresh, []
        was_suspended = bool(kept.get("suspended"))
        pending = tuple(filter(None, map(instant_of, kept.get("pending") or ())))
        other = (kept.get("cron"), kept.get("timeZone")) != (spec.cron, spec.time_zone)
        if other or (was_suspended and not spec.suspend):
            # Another line's instants, or those of the time of suspension, are not made up for.
            return attrs.evolve(fresh, until_s=now_s // 1), []
        notes = []
        if spec.suspend and pending:
            notes = [Note("Normal", "Suspended", f"{_several(pending)} will not be started: the schedule is suspended")]
            pending = ()
        if until_s > now_s + _FAR_BACK_S:
            notes.append(
                Note(
                    "Warning",
                    "ClockSetBack",
                    f"the clock was at {rfc3339(until_s)} and is at {rfc3339(now_s)}; the schedule goes by it now",
                )
            )
            until_s, pending = now_s // 1, tuple(instant for instant in pending if instant <= now_s)
        set_back = until_s > now_s + _AHEAD_S
        if set_back and not spec.suspend and not kept.get("setBack"):
            was, now = rfc3339(until_s), rfc3339(now_s)
            text = f"the clock was at {was} and is at {now}; no further run is started until {was} is over again"
            notes.append(Note("Warning", "ClockSetBack", text))
        return attrs.evolve(fresh, until_s=until_s, set_back=set_back, pending=pending), notes

    def to_status(self) -> JsonObject:
        out: JsonObject = {"cron": self.cron, "timeZone": self.time_zone, "decidedUntil": rfc3339(self.until_s)}
        if self.suspended:
            out["suspended"] = True
        if self.set_back:
            out["setBack"] = True
        if self.pending:
            out["pending"] = [rfc3339(instant) for instant in self.pending]
        return out


def decide(
    state: ScheduleState, spec: ScheduleSpec, schedule: Schedule, now_s: float, active: Sequence[str]
) -> tuple[ScheduleState, list[Note]]:
    """Decide the instants that have come; return the new state and what to tell.

    Args:
        active: names of scheduled runs that are not over.
    """
    notes: list[Note] = []
    pending, dropped = _in_time(state.pending, spec, now_s, notes)
    if state.suspended:
        return attrs.evolve(state, pending=()), notes
    due, more = schedule.newest(state.until_s, now_s, MOST_MISSED)
    if not due:
        return attrs.evolve(state, pending=pending) if dropped else state, notes
    # "Missed" is what came while nobody was there to look; the policy says what to make up for.
    late = [instant for instant in due if instant != due[-1] or now_s - instant > ON_TIME_S]
    wanted = due
    if spec.missed_run_policy != "All":
        wanted = [] if spec.missed_run_policy == "Skip" and due[-1] in late else due[-1:]
    _tell_missed(late, wanted, more, spec, notes)
    in_time, _ = _in_time(wanted, spec, now_s, notes)
    chosen = _by_concurrency(in_time, pending, late, spec, active, notes)
    if pending and spec.missed_run_policy != "All":
        notes.append(
            Note("Warning", "MissedSchedule", f"{_several(pending)} could not be started until {rfc3339(due[-1])} came")
        )
        pending = ()
    pending = tuple(sorted({*pending, *chosen}))
    if len(pending) > MOST_MISSED:
        gone, pending = pending[:-MOST_MISSED], pending[-MOST_MISSED:]
        notes.append(Note("Warning", "MissedSchedule", f"{_several(gone)}: more than {MOST_MISSED} wait to be started"))
    return attrs.evolve(state, until_s=due[-1], pending=pending), notes


def _in_time(
    instants: Sequence[float], spec: ScheduleSpec, now_s: float, notes: list[Note]
) -> tuple[tuple[float, ...], bool]:
    """Those that may still be started, and whether some may not."""
    limit_s = spec.starting_deadline
    if limit_s is None:
        return tuple(instants), False
    kept = tuple(instant for instant in instants if now_s - instant <= limit_s)
    gone = [instant for instant in instants if instant not in kept]
    if gone:
        notes.append(
            Note(
                "Warning", "MissedSchedule", f"{_several(gone)} missed the startingDeadline of {duration_text(limit_s)}"
            )
        )
    return kept, bool(gone)


def _tell_missed(
    late: Sequence[float], chosen: Sequence[float], more: bool, spec: ScheduleSpec, notes: list[Note]
) -> None:
    lost = [instant for instant in late if instant not in chosen]
    if not lost and not more:
        return
    count = f"{len(lost)} or more" if more and lost else f"more than {MOST_MISSED}" if more else str(len(lost))
    span = f" ({_several(lost)})" if lost else ""
    made_up = [instant for instant in chosen if instant in late]
    kept = f"{_several(made_up)} will be started" if made_up else "none is made up for"
    what = "instant" if count == "1" else "instants"
    notes.append(
        Note(
            "Warning",
            "MissedSchedule",
            f"{count} {what}{span} passed while no process kept the schedule; {kept} "
            f"(missedRunPolicy {spec.missed_run_policy})"
            + (f"; {_several(chosen[-1:])} is on time" if chosen and chosen[-1] not in late else ""),
        )
    )


def _by_concurrency(
    chosen: Sequence[float],
    pending: Sequence[float],
    late: Sequence[float],
    spec: ScheduleSpec,
    active: Sequence[str],
    notes: list[Note],
) -> tuple[float, ...]:
    if not chosen or spec.concurrency_policy == "Allow":
        return tuple(chosen)
    if spec.concurrency_policy == "Replace":
        if len(chosen) > 1:
            notes.append(
                Note("Normal", "Replaced", f"{_several(chosen[:-1])} gave way to the next (concurrencyPolicy Replace)")
            )
        return (chosen[-1],)
    if spec.missed_run_policy == "All" and late:
        return tuple(chosen)  # one after the other
    if active or (pending and spec.missed_run_policy == "All"):
        why = f"run/{active[0]} is not over" if active else f"{_several(pending)} comes first"
        notes.append(
            Note("Normal", "SkippedSchedule", f"{_several(chosen)} is skipped: {why} (concurrencyPolicy Forbid)")
        )
        return ()
    return tuple(chosen)


def _several(instants: Sequence[float]) -> str:
    """``the run of T``, ``the runs of T1 to T2``."""
    if len(instants) == 1:
        return f"the run of {rfc3339(instants[0])}"
    return f"the {len(instants)} runs of {rfc3339(instants[0])} to {rfc3339(instants[-1])}"
