"""The steps of a run, read from the trace of its replay: as data, as a table, and as lines in the order of time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.cli.common import style
from kastra_core.cli.run_routing import is_route
from kastra_core.cli.run_screen import in_one_line
from kastra_core.cli.tables import clip, duration, format_table, terminal_width
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.state import RunUsage

if TYPE_CHECKING:
    from kastra_core.execution.replay import Trace, TraceEntry

__all__ = [
    "OpenSteps",
    "StepRow",
    "clock_text",
    "entry_line",
    "has_steps",
    "lines_of",
    "path_of",
    "reason_words",
    "rows_of",
    "step_table",
    "took_words",
]

_CELL = 60
"""Columns of an input or output where no terminal says how wide the table may be."""
_DAY_S = 86_400
_COLOURS = {"Succeeded": "green", "Failed": "red", "Waiting": "yellow", "Running": "yellow"}
_PIPE_WIDTH = 300


@attrs.define(eq=False, kw_only=True)
class StepRow:
    """One time that a step was carried out, its tries included."""

    path: str
    """As events show it, unique in the run: ``extract``, ``fan[a]/load``."""
    step: str
    body: str
    why: str
    start_s: float
    """Unix seconds."""
    input: JsonValue = None
    phase: str = "Running"
    """Succeeded, Failed; Running and Waiting where an unfinished run is; Cancelled: something else ended it."""
    end_s: float | None = None
    attempts: int = 1
    output: JsonValue = None
    error: JsonObject | None = None
    usage: RunUsage = attrs.field(factory=RunUsage)
    """Of what it did itself and of the steps in it."""
    branch: str = ""

    @property
    def depth(self) -> int:
        """How many steps it lies in."""
        return self.path.count("/")


def has_steps(trace: Trace) -> bool:
    """Whether the runner tells of steps, or of a choice that led to none."""
    return any(entry.event.get("type") == "step_started" or is_route(entry.event) for entry in trace.entries)


def path_of(event: JsonObject) -> str:
    """The path of the step that an event is about; steps that lie in no other need no path beside their id."""
    return str(event.get("path") or event.get("step") or "")


def rows_of(trace: Trace, run: Resource) -> list[StepRow]:
    """The steps of a trace in the order of their starts; what went on at once stands branch by branch."""
    rows: list[StepRow] = []
    open_: list[StepRow] = []
    waits: list[TraceEntry] = []
    asked: dict[str, JsonValue] = {}
    for entry in trace.entries:
        event = entry.event
        kind = event.get("type")
        if is_route(event):
            asked[path_of(event)] = event.get("input")
        elif kind == "step_started":
            _started(rows, open_, entry, asked)
        elif kind in ("step_finished", "step_retry"):
            _ended(open_, entry)
        elif kind in ("operation", "call"):
            for row in open_:
                if _lies_in(entry.branch, row.branch):
                    row.usage.add(event.get("usage") or {})
        elif kind == "wait" and not event.get("over"):
            waits.append(entry)
    if run.status.get("phase") in FINISHED:
        for row in open_:
            row.phase = "Cancelled"
    else:
        _mark_waiting(open_, waits)
    return rows


def _started(rows: list[StepRow], open_: list[StepRow], entry: TraceEntry, asked: Mapping[str, JsonValue]) -> None:
    event = entry.event
    path, attempt = path_of(event), event.get("attempt") or 1
    if attempt > 1:
        for row in open_:
            if row.path == path:
                row.attempts = attempt
                return
    row = StepRow(
        path=path,
        step=str(event.get("step") or path),
        body=str(event.get("body") or ""),
        why=str(event.get("why") or ""),
        start_s=entry.time_s,
        input=event.get("input", asked.get(path)),
        attempts=attempt,
        branch=entry.branch,
    )
    rows.append(row)
    open_.append(row)


def _ended(open_: list[StepRow], entry: TraceEntry) -> None:
    event = entry.event
    at = next((at for at, row in reversed(list(enumerate(open_))) if row.path == path_of(event)), None)
    if at is None:
        return
    row = open_[at]
    # What began in it and is not over was ended with it, or with this try of it.
    for inner in [inner for inner in open_[at + 1 :] if _lies_in(inner.branch, row.branch)]:
        inner.phase, inner.end_s = "Cancelled", entry.time_s
        open_.remove(inner)
    if event["type"] == "step_retry":
        return
    row.phase, row.end_s = str(event.get("phase")), entry.time_s
    row.output, row.error = event.get("output"), event.get("error")
    row.attempts = event.get("attempts") or row.attempts
    open_.remove(row)


def _lies_in(branch: str, around: str) -> bool:
    return branch == around or not around or branch.startswith(f"{around}/")


def _mark_waiting(open_: Sequence[StepRow], waits: Sequence[TraceEntry]) -> None:
    """Say of steps under way whether all that is under way in them waits."""
    innermost: list[StepRow] = []
    for wait in waits:
        around = [row for row in open_ if _lies_in(wait.branch, row.branch)]
        if around:
            around[-1].phase = "Waiting"
            innermost.append(around[-1])
    for row in reversed(open_):
        inside = [inner for inner in open_ if inner is not row and _is_inside(inner, row, open_)]
        if inside and all(inner.phase == "Waiting" for inner in inside):
            row.phase = "Waiting"


def _is_inside(inner: StepRow, row: StepRow, open_: Sequence[StepRow]) -> bool:
    return open_.index(inner) > open_.index(row) and _lies_in(inner.branch, row.branch)


# ------------------------------------------------------------------------------------------------ words


def clock_text(instant_s: float, *, ms: bool = True) -> str:
    """``10:02:11.120``, local time."""
    whole = time.strftime("%H:%M:%S", time.localtime(instant_s))
    return f"{whole}.{int(instant_s * 1000) % 1000:03d}" if ms else whole


def took_words(seconds: float) -> str:
    """``412ms``, ``3.1s``, ``3m20s``.

    >>> took_words(0.4121), took_words(3.14), took_words(200)
    ('412ms', '3.1s', '3m20s')
    """
    if seconds < 1:
        return f"{round(max(seconds, 0) * 1000)}ms"
    return f"{seconds:.1f}s" if seconds < 120 else duration(seconds)


def reason_words(error: Mapping[str, Any] | None) -> str:
    """``Timeout: it was not done within 5 s``."""
    if not error:
        return ""
    message = in_one_line(str(error.get("message") or ""))
    return f"{error.get('reason')}: {message}" if message else str(error.get("reason"))


def step_table(rows: Sequence[StepRow], now_s: float) -> str:
    """The section ``Steps`` of ``kastra describe run/NAME``.

    Args:
        now_s: unix seconds, for what is under way.
    """
    used = any(row.usage.input_tokens + row.usage.output_tokens for row in rows)
    paid = any(row.usage.cost for row in rows)
    days = max(row.start_s for row in rows) - min(row.start_s for row in rows) >= _DAY_S
    more = [*(["TOKENS"] if used else []), *(["COST"] if paid else [])]
    header = ["STEP", "BODY", "PHASE", "ATTEMPTS", "START", "DURATION", *more, "INPUT", "OUTPUT"]
    table = [header]
    for row in rows:
        usage = row.usage
        tokens = f"{usage.input_tokens}+{usage.output_tokens}" if usage.input_tokens + usage.output_tokens else ""
        end_s = row.end_s if row.end_s is not None else now_s if row.phase in ("Running", "Waiting") else None
        day = time.strftime("%m-%d ", time.localtime(row.start_s)) if days else ""
        table.append(
            [
                "  " * row.depth + row.path,
                row.body,
                row.phase,
                str(row.attempts),
                day + clock_text(row.start_s, ms=False),
                took_words(end_s - row.start_s) if end_s is not None else "",
                *([tokens] if used else []),
                *([f"${usage.cost:.4f}" if usage.cost else ""] if paid else []),
                _cell(row.input),
                reason_words(row.error) if row.error else _cell(row.output),
            ]
        )
    limit = max(terminal_width() - 2, 0)
    if not limit:
        table = [[*line[:-2], *(clip(cell, _CELL) for cell in line[-2:])] for line in table]
    colour = header.index("PHASE")
    text = format_table(table, limit=limit, paint=lambda number, cell: _painted(cell) if number == colour else cell)
    return f"{style('Steps', bold=True)}:\n" + "".join(f"  {line}" for line in text.splitlines(keepends=True))


def _cell(value: JsonValue) -> str:
    return "" if value is None else in_one_line(value)


def _painted(phase: str) -> str:
    colour = _COLOURS.get(phase)
    return style(phase, fg=colour) if colour else phase


# ------------------------------------------------------------------------------------------------ lines


class OpenSteps:
    """The steps that are under way while entries are read one after another."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], float] = {}
        self._retried: set[tuple[str, str]] = set()
        """Those whose next try has not begun yet."""
        self._latest: dict[str, float] = {}
        """Branch -> unix seconds of what happened there last."""

    def read(self, entry: TraceEntry) -> float | None:
        """Take an entry in. Returns: unix seconds at which the step began that it is the end of, else None."""
        event = entry.event
        at = (entry.branch, path_of(event))
        kind = event.get("type")
        if kind == "step_started":
            self._retried.discard(at)
            self._open.setdefault(at, entry.time_s)
        elif kind == "step_retry":
            self._retried.add(at)
            self._end_inner(at)
        elif kind == "step_finished":
            self._end_inner(at)
            return self._open.pop(at, None)
        return None

    def _end_inner(self, at: tuple[str, str]) -> None:
        """What is under way in a step is so no more when its try is over."""
        later = list(self._open)[::-1]
        for inner in later[: later.index(at)] if at in self._open else ():
            if _lies_in(inner[0], at[0]):
                del self._open[inner]

    def is_pause(self, entry: TraceEntry) -> bool:
        """Whether it is the wait between two tries of a step, which ``step_retry`` told of."""
        if entry.event.get("type") != "wait" or entry.event.get("for") != "sleep":
            return False
        at = next((at for at in reversed(self._open) if _lies_in(entry.branch, at[0])), None)
        return at in self._retried

    def began(self, entry: TraceEntry) -> float:
        """Unix seconds at which something began: a wait, when what stands before it in its branch was over.

        All entries are to be passed in their order.
        """
        around = entry.branch
        while around and around not in self._latest:
            around = around.rpartition("/")[0]
        before_s = self._latest.get(around, entry.time_s)
        self._latest[entry.branch] = entry.time_s
        return min(before_s, entry.time_s) if entry.event.get("type") == "wait" else entry.time_s

    def around(self, entry: TraceEntry) -> str:
        """Path of the innermost step that something happens in, "" when none is under way there."""
        return next((path for branch, path in reversed(self._open) if _lies_in(entry.branch, branch)), "")


def entry_line(entry: TraceEntry, open_steps: OpenSteps) -> str:
    """A line of ``kastra logs`` about a step, "" for what is not shown there."""
    event = entry.event
    if open_steps.is_pause(entry):
        return ""
    started_s = open_steps.read(entry)
    word, colour, detail = _told(event)
    if not word:
        return ""
    where = open_steps.around(entry) if event["type"] == "wait" else ""
    head = f"{clock_text(entry.time_s)}  {where or _where(event):<28}  "
    took = took_words(entry.time_s - started_s) if started_s is not None else ""
    room = (terminal_width() or _PIPE_WIDTH) - len(head) - 8
    shown = clip(f"  {took:>7}  {detail}", max(room, 20))
    return f"{head}{style(f'{word:<8}', fg=colour) if colour else f'{word:<8}'}{shown}".rstrip()


def _where(event: JsonObject) -> str:
    return path_of(event).removeprefix("/")


def _told(event: JsonObject) -> tuple[str, str, str]:
    """(word, its colour, what else)."""
    kind = event.get("type")
    if kind == "step_started":
        attempt = event.get("attempt") or 1
        again = f"try {attempt}, " if attempt > 1 else ""
        return "started", "", f"{again}{event.get('body') or ''} {_cell(event.get('input'))}"
    if kind == "step_finished":
        if event.get("phase") == "Failed":
            return "failed", "red", reason_words(event.get("error"))
        return "ok", "green", _cell(event.get("output"))
    if kind == "step_retry":
        wait_s = event.get("wait_s") or 0.0
        return "retry", "yellow", f"in {took_words(wait_s)}: {reason_words(event)}"
    if is_route(event):
        chosen = str(event.get("chosen") or ("done" if event.get("done") else "nobody"))
        reason = in_one_line(str(event.get("reason") or ""))
        return "decided", "", in_one_line(f"{event.get('kind')} -> {chosen}") + (f": {reason}" if reason else "")
    if kind == "decision":
        chosen = in_one_line(str(event.get("chosen") or "none"))
        return "decided", "", f"{event.get('kind')} -> {chosen}"
    if kind == "wait":
        return "waits", "yellow", _wait_words(event)
    if kind == "note":
        return "note", "", in_one_line(str(event.get("message") or ""))
    return "", "", ""


def _wait_words(event: JsonObject) -> str:
    if event.get("for") == "sleep":
        return f"until {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event.get('until') or 0))}"
    message = (event.get("details") or {}).get("message")
    return f"for the signal {event.get('signal')}" + (f": {in_one_line(message)}" if message else "")


def lines_of(entries: Sequence[TraceEntry], open_steps: OpenSteps) -> Iterator[str]:
    """Lines of entries in the order of time.

    Args:
        open_steps: kept from call to call.
    """
    placed = [attrs.evolve(entry, time_s=open_steps.began(entry)) for entry in entries]
    for entry in sorted(placed, key=lambda entry: entry.time_s):
        line = entry_line(entry, open_steps)
        if line:
            yield line
