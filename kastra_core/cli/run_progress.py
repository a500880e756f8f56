"""Progress of a run that consists of steps: what its events say, as a live list on a terminal or as plain lines.

Any kind's runner may emit these events: ``step_started``, ``step_retry``, ``step_finished`` and ``decision`` with
``step``, ``path`` and what belongs to each. A path ``fan[a]/load`` lies in the step ``fan``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.cli.run_screen import STEP_EVENTS, ErrorLines, in_one_line, plural, result_words

if TYPE_CHECKING:
    from kastra_core.cli.run_progress_live import LiveList

__all__ = ["ACTIVE", "Entry", "Progress", "StepTree", "StepWords", "elapsed"]

ACTIVE = frozenset({"running", "retrying", "waiting"})
"""States of an entry that is not over; the others are done, failed and stopped."""

_WAITS = frozenset({"sleep", "waitForEvent", "suspend"})
_MANY = frozenset({"foreach", "loop"})
"""Bodies that carry out one block often: what is over of them is only counted."""
_ITEMS = 20
"""Items of a foreach of which each step is told where lines are written."""
_NAMED = 20
"""Steps that were done before which are named."""
_TAIL = 400
"""Characters of a streamed text that are kept."""
_MEMBER = "member:"
"""Before the name of a network's member in the journal; its step bears a number."""


def elapsed(seconds: float) -> str:
    """A span as it is shown beside a step.

    >>> elapsed(0.04), elapsed(59.94), elapsed(75), elapsed(3700)
    ('0.0s', '59.9s', '1m15s', '1h01m')
    """
    if seconds < 59.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


@attrs.define(eq=False)
class Entry:
    """A step as it is shown."""

    path: str
    step: str
    body: str = ""
    name: str = ""
    lane: str = ""
    """The branch, item or pass of ``parent`` that it lies in."""
    parent: Entry | None = None
    state: str = "running"
    attempt: int = 1
    began_s: float = 0.0
    ended_s: float = 0.0
    before: bool = False
    """It was over before this process had the run."""
    error: str = ""
    told: str = ""
    """What it does right now: a line about a tool call, or the end of a text."""
    children: list[Entry] = attrs.field(factory=list)
    """Those that are shown; a foreach or a loop lets go of those that are over."""
    total: int = 0
    """Items of a foreach, 0 when that is not known."""
    working: dict[str, int] = attrs.field(factory=dict)
    """Lane -> entries in it that are not over."""
    lanes: dict[str, bool] = attrs.field(factory=dict)
    """Lane -> whether its last step failed."""
    failed_lanes: int = 0

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def counter(self) -> str:
        """``12/100, 1 failed`` of a foreach, ``pass 3`` of a loop, else ""."""
        if self.body == "loop":
            return f"pass {len(self.lanes)}" if self.lanes else ""
        if self.body != "foreach" or not (self.total or self.lanes):
            return ""
        over = len(self.lanes) - len(self.working)
        failed = f", {self.failed_lanes} failed" if self.failed_lanes else ""
        return f"{over}/{self.total or len(self.lanes)}{failed}"


class StepTree:
    """The steps of a run, made from its events. Events may come again, as after a resume: they count once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.roots: list[Entry] = []
        self.entries: dict[str, Entry] = {}
        self.steps = self.failed = self.retries = 0
        """Steps that were shown, those that failed for good, tries that failed and were followed by another."""
        self.before: list[str] = []
        """Paths of the steps that were over before."""
        self._clock = clock
        self._seen: set[tuple[Any, ...]] = set()
        self._runs: dict[str, Entry] = {}

    def event(self, event: JsonObject, prefix: str = "") -> Entry | None:
        """Take an event of ``STEP_EVENTS``; return the step it is about, None when it tells nothing new.

        Args:
            prefix: path of the step whose child run it comes from, with a slash.
        """
        kind = event.get("type")
        path = prefix + _path(event)
        key = (kind, path, event.get("attempt", event.get("attempts")), event.get("kind"), event.get("chosen"))
        if key in self._seen:
            return None
        self._seen.add(key)
        if kind == "step_started":
            return self._started(path, event)
        if kind == "decision" and event.get("kind") == "onFailure":
            parent, lane = self._parent(path)
            if parent is not None and parent.lanes.get(lane):  # its failure is made good
                parent.lanes[lane] = False
                parent.failed_lanes -= 1
        entry = self.entries.get(path)
        if entry is None and kind in ("step_finished", "step_retry"):  # listened to from its middle on
            entry = self._started(path, event)
        if entry is None:
            return None
        if kind == "step_retry":
            self.retries += 1
            self._set(entry, "retrying")
            entry.error, entry.told = _failure(event), ""
            self._stop_inner(entry)
        elif kind == "step_finished":
            self._finished(entry, event)
        elif event.get("kind") == "foreach":
            found = re.match(r"\d+", str(event.get("chosen")))
            entry.total = int(found[0]) if found else entry.total
        return entry

    def take_over(self, events: Iterable[JsonObject]) -> None:
        """Take the events of what was done before: they come again when the run goes on, and then tell nothing new.

        Those of a step that was under way are left out, as it is begun again.
        """
        kept = [event for event in events if event.get("type") in STEP_EVENTS]
        over = {_path(event) for event in kept if event.get("type") == "step_finished"}
        around = {outer for path in over for outer in _around(path)}
        for event in kept:
            if _path(event) in over or _path(event) in around:
                entry = self.event(event)
                if entry is not None and event.get("type") == "step_finished":
                    entry.before = True
                    self.before.append(entry.path)

    def of_child(self, event: JsonObject, prefix: str = "") -> Entry | None:
        """The step whose child run an event of type ``child`` comes from."""
        run = str(event.get("run"))
        known = self._runs.get(run)
        if known is not None and known.path in self.entries:
            return known
        # A journal's path tells the step by its last part; which of several at work it is, by the rest of it.
        journal = re.sub(r"#\d+", "", str(event.get("path")))
        step = journal.rpartition("/")[2]
        taken = {id(entry) for entry in self._runs.values() if entry.active}
        fit = [
            entry
            for entry in self.entries.values()
            if entry.active and entry.path.startswith(prefix) and step in (entry.step, f"{_MEMBER}{entry.name}")
        ]
        lanes = re.findall(r"\[([^\]]*)\]", journal)
        exact = [entry for entry in fit if re.findall(r"\[([^\]]*)\]", entry.path[len(prefix) :]) == lanes]
        free = [entry for entry in exact or fit if id(entry) not in taken]
        found = next(iter(free or exact or fit), None)
        if found is not None:
            self._runs[run] = found
        return found

    def end(self, *, waits: bool = False) -> None:
        """Nothing of the run is at work any more: it is over, or (``waits``) suspended."""
        for entry in list(self.entries.values()):
            if waits and entry.state == "running":
                entry.state = "waiting"
            elif not waits and entry.active and entry.path in self.entries:
                self._set(entry, "stopped")

    def _started(self, path: str, event: JsonObject) -> Entry:
        entry = self.entries.get(path)
        if entry is None:
            parent, lane = self._parent(path)
            entry = Entry(path, str(event.get("step") or path), lane=lane, parent=parent, began_s=self._clock())
            entry.body, entry.name = str(event.get("body") or ""), str(event.get("name") or "")
            entry.state = ""
            self.entries[path] = entry
            (self.roots if parent is None else parent.children).append(entry)
            self.steps += 1
        entry.attempt = max(entry.attempt, int(event.get("attempt") or 1))
        self._set(entry, "waiting" if entry.body in _WAITS else "running")
        entry.error = entry.told = ""
        return entry

    def _finished(self, entry: Entry, event: JsonObject) -> None:
        good = event.get("phase") == "Succeeded"
        entry.attempt = max(entry.attempt, int(event.get("attempts") or 1))
        entry.error, entry.told = "" if good else _failure(event.get("error") or {}), ""
        self._stop_inner(entry)
        self.failed += not good
        self._set(entry, "done" if good else "failed")

    def _set(self, entry: Entry, state: str) -> None:
        was, entry.state = entry.active, state
        if was and not entry.active:
            entry.ended_s = self._clock()
        parent, lane = entry.parent, entry.lane
        if parent is None:
            return
        if not was and entry.active:
            parent.working[lane] = parent.working.get(lane, 0) + 1
        elif was and not entry.active:
            left = parent.working.get(lane, 1) - 1
            if left:
                parent.working[lane] = left
            else:
                parent.working.pop(lane, None)
            if parent.body in _MANY:
                parent.children.remove(entry)
                self._forget(entry)
        failed = state == "failed"
        parent.failed_lanes += failed - parent.lanes.get(lane, False)
        parent.lanes[lane] = failed

    def _forget(self, entry: Entry) -> None:
        self.entries.pop(entry.path, None)
        for child in entry.children:
            self._forget(child)

    def _stop_inner(self, entry: Entry) -> None:
        """A step that is over has nothing at work in it: what was, was given up."""
        for child in list(entry.children):
            if child.active:
                self._stop_inner(child)
                self._set(child, "stopped")

    def _parent(self, path: str) -> tuple[Entry | None, str]:
        """(the step around a path, the lane in it)."""
        around = path.rpartition("/")[0]
        at = len(around)
        while around:
            head, rest = around[:at], around[at:]
            entry = self.entries.get(head) or self.entries.get(re.sub(r"@\d+$", "", head))
            if entry is not None:
                return entry, rest[1:].partition("]/")[0].removesuffix("]") if rest[:1] == "[" else rest.strip(".")
            at = max(around.rfind("[", 0, at), around.rfind(".", 0, at), around.rfind("/", 0, at))
            if at <= 0:
                break
        return None, ""


def _path(event: JsonObject) -> str:
    return str(event.get("path") or event.get("step") or "?")


def _around(path: str) -> list[str]:
    """What may be the paths of the steps around a step."""
    return [path[: match.start()] for match in re.finditer(r"[\[/.]", path)]


def _failure(error: JsonObject) -> str:
    reason, message = str(error.get("reason") or "Failed"), in_one_line(str(error.get("message") or ""))
    return f"{reason}: {message}" if message else reason


class StepWords:
    """The steps of one run as lines. Of a foreach the first items are told, then failures, and each tenth part."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tree = StepTree(clock)
        self._told: dict[str, list[str]] = {}
        """Path of a foreach -> its items that are told."""
        self._parts: dict[str, int] = {}
        """Path of a foreach -> tenth parts of it that are told."""

    def of_event(self, event: JsonObject) -> Iterator[str]:
        """Take an event and give the lines about it."""
        entry = self.tree.event(event)
        if entry is not None:
            yield from self.lines(entry, event)

    def lines(self, entry: Entry, event: JsonObject) -> Iterator[str]:
        """The lines about an event that the tree has taken and that tells of ``entry``."""
        kind = event.get("type")
        each = self._summed_up(entry)
        if each is not None and entry.state != "failed":
            if kind == "step_finished":
                yield from self._part(each)
        elif kind == "step_started":
            again = f", try {entry.attempt}" if entry.attempt > 1 else ""
            yield f"step {entry.path} started ({entry.body or 'step'}{again})"
        elif kind == "step_retry":
            wait = float(event.get("wait_s") or 0.0)
            yield f"step {entry.path} failed, trying again in {wait:.1f} s: {entry.error}"
        elif kind == "step_finished":
            took = elapsed(entry.ended_s - entry.began_s)
            tries = f" after {entry.attempt} tries" if entry.attempt > 1 else ""
            if entry.state == "failed":
                yield f"step {entry.path} failed in {took}{tries}: {entry.error}"
            else:
                yield f"step {entry.path} succeeded in {took}{tries}"

    def _summed_up(self, entry: Entry) -> Entry | None:
        """The innermost foreach around a step whose item is none of the first ones, None where there is none."""
        while entry.parent is not None:
            each, lane = entry.parent, entry.lane
            if each.body == "foreach":
                told = self._told.setdefault(each.path, [])
                if lane not in told:
                    if len(told) == _ITEMS:
                        return each
                    told.append(lane)
            entry = each
        return None

    def _part(self, each: Entry) -> Iterator[str]:
        over = len(each.lanes) - len(each.working)
        part = over * 10 // each.total if each.total else over // 1000
        if part > self._parts.get(each.path, 0):
            self._parts[each.path] = part
            yield f"step {each.path}: {each.counter}"


class Progress:
    """Shows the steps of one run on stderr: a live list on a terminal, else a line for each that happens.

    Args:
        lines: where lines go.
    """

    def __init__(self, lines: ErrorLines, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.words = StepWords(clock)
        self.tree = self.words.tree
        self._lines, self._clock, self._began_s = lines, clock, clock()
        self._live: LiveList | None = None

    def event(self, event: JsonObject) -> None:
        """Show an event of ``STEP_EVENTS``."""
        self._step(event, "")

    def take_over(self, events: Iterable[JsonObject]) -> None:
        """Show what was done before, in one line or as the beginning of the list."""
        self.tree.take_over(events)
        before = self.tree.before
        if before and not self._lines.quiet and not self._draws():
            over = set(before)
            outermost = [path for path in before if over.isdisjoint(_around(path))]
            more = ", ..." if len(outermost) > _NAMED else ""
            self._lines.say(f"{plural(len(before), 'step')} done before: {', '.join(outermost[:_NAMED])}{more}")

    def child(self, event: JsonObject, prefix: str = "") -> None:
        """Show an event of type ``child``: what a child run of a step does."""
        entry = self.tree.of_child(event, prefix)
        inner = event.get("event")
        if entry is None or not isinstance(inner, dict):
            return
        kind = inner.get("type")
        if kind == "child":
            self.child(inner, f"{entry.path}/")
        elif kind in STEP_EVENTS:
            self._step(inner, f"{entry.path}/")
        else:
            self._tell(entry, str(kind), inner)

    def close(self, *, waits: bool = False) -> None:
        """Leave the list as it is at last, with a summary. ``waits``: the run is suspended, not over."""
        live, self._live = self._live, None
        if live is not None:
            self.tree.end(waits=waits)
            live.close(self.summary)

    @property
    def summary(self) -> str:
        """``5 steps, 1 failed, 2 retries, 3.1s``."""
        tree = self.tree
        words = [plural(tree.steps, "step") + (f" ({len(tree.before)} done before)" if tree.before else "")]
        if tree.failed:
            words.append(f"{tree.failed} failed")
        if tree.retries:
            words.append(f"{tree.retries} retr{'y' if tree.retries == 1 else 'ies'}")
        return ", ".join([*words, elapsed(self._clock() - self._began_s)])

    def _step(self, event: JsonObject, prefix: str) -> None:
        entry = self.tree.event(event, prefix)
        if entry is None or self._lines.quiet:
            return
        if self._draws():
            return
        for line in self.words.lines(entry, event):
            self._lines.say(line)

    def _tell(self, entry: Entry, kind: str, event: JsonObject) -> None:
        """Show what an agent or a tool that a step runs does."""
        if kind == "text":
            entry.told = f"{entry.told if not entry.told.startswith(_MARKS) else ''}{event.get('text') or ''}"[-_TAIL:]
        elif kind == "tool_call":
            entry.told = f"-> {event.get('name')} {in_one_line(event.get('arguments'))}"[:_TAIL]
        elif kind == "tool_result":
            entry.told = f"<- {event.get('name')} {result_words(event)}"[:_TAIL]
        elif kind in ("model_retry", "note"):
            words = in_one_line(str(event.get("message") or event.get("reason") or ""))
            if kind == "model_retry":
                words = f"trying again in {float(event.get('wait_s') or 0):.1f} s: {words}"
            entry.told = f"-- {words}"
            if not self._draws():
                self._lines.say(f"step {entry.path}: {words}")
            return
        else:
            return
        self._draws()

    def _draws(self) -> bool:
        """Whether there is a live list, which is drawn soon."""
        if self._live is None:
            from kastra_core.cli.run_progress_live import LiveList

            if self._lines.quiet or not LiveList.works_here():
                return False
            self._live = LiveList(self.tree, self._clock)
        self._live.touch()
        return True


_MARKS = ("-> ", "<- ", "-- ")
