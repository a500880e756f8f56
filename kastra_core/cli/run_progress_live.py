"""A list of steps that is drawn again in place, at the bottom of a terminal's stderr."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click

from kastra_core.cli.run_progress import Entry, StepTree, elapsed
from kastra_core.cli.run_screen import in_one_line
from kastra_core.cli.tables import clip, display_width

__all__ = ["LiveList"]

_PERIOD_S = 0.1
"""Between two drawings, at least."""
_SHOWN = 6
"""Items of a foreach that are at work are shown, at most so many."""
_LONGEST_END = 40
"""Lines that stay when the run is over."""
_UNICODE = {"done": "✓", "failed": "✗", "retrying": "↻", "waiting": "◷", "stopped": "-", "spin": "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"}
_ASCII = {"done": "+", "failed": "x", "retrying": "~", "waiting": "=", "stopped": "-", "spin": "|/-\\"}
_COLOURS = {"done": "green", "failed": "red", "retrying": "yellow", "waiting": "yellow", "running": "cyan"}


class LiveList:
    """Draws a tree of steps; what others write meanwhile to stdout or stderr goes above it.

    After each drawing the cursor stands at the beginning of the line below the list, and nothing of the terminal is
    changed: a process that ends without :meth:`close` leaves it clean.
    """

    def __init__(self, tree: StepTree, clock: Callable[[], float]) -> None:
        self._tree, self._clock = tree, clock
        self._out: TextIO = sys.__stderr__ or sys.stderr
        self._marks = _marks(self._out.encoding)
        self._coloured = not os.environ.get("NO_COLOR")
        self._drawn: list[str] = []
        """Lines that stand there, without colours."""
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._streams: dict[str, Any] = {}

    @staticmethod
    def works_here() -> bool:
        """Whether stderr is a terminal on which lines can be written again."""
        if not sys.stderr.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
            return sys.platform == "win32" and sys.stderr.isatty() and bool(os.environ.get("WT_SESSION"))
        return True

    def touch(self) -> None:
        """Draw soon."""
        if not self._streams:
            self._divert()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0 if not self._drawn else _PERIOD_S, self._tick)

    def close(self, summary: str) -> None:
        """Draw the list for the last time, with a line below it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._show([*self._lines(_LONGEST_END, last=True), ("", summary, "", "")])
        self._drawn = []
        for name, stream in self._streams.items():
            if getattr(sys, name) is stream:
                stream.finish()
                setattr(sys, name, stream.stream)
        self._streams = {}

    def above(self, write: Callable[[], Any]) -> None:
        """Take the list away, let something be written in its place, and draw it again below."""
        self._erase()
        write()
        if self._timer is None:
            with contextlib.suppress(RuntimeError):  # no event loop any more: the list is not drawn again
                self.touch()

    # ------------------------------------------------------------------------------------------- drawing

    def _tick(self) -> None:
        self._timer = None
        self._turn += 1
        height = max(shutil.get_terminal_size().lines - 2, 3)
        self._show(self._lines(height))
        if any(entry.active for entry in self._tree.roots):
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._tick)

    def _show(self, lines: list[tuple[str, str, str, str]]) -> None:
        """Write lines of (indentation and mark, text, state, dim end) over those that stand there."""
        width = self._width()
        plain, painted = [], []
        for mark, text, state, rest in lines:
            room = max(width - 1 - display_width(mark), 4)
            text = clip(text, room)
            rest = clip(rest, max(room - display_width(text) - 2, 0)) if rest else ""
            gap = "  " if rest else ""
            plain.append(f"{mark}{text}{gap}{rest}")
            painted.append(f"{self._paint(mark, fg=_COLOURS.get(state))}{text}{gap}{self._paint(rest, dim=True)}")
        if plain == self._drawn:
            return
        body = "".join(f"{line}\x1b[K\n" for line in painted)
        self._write(f"{self._home()}{body}\x1b[J")
        self._drawn = plain

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"{self._home()}\x1b[J")
            self._drawn = []

    def _home(self) -> str:
        """What moves the cursor to the list's first line. A terminal that became narrower has wrapped the lines."""
        if not self._drawn:
            return ""
        width = self._width()
        return f"\x1b[{sum(max(-(-display_width(line) // width), 1) for line in self._drawn)}F"

    def _width(self) -> int:
        return max(shutil.get_terminal_size().columns, 20)

    def _paint(self, text: str, **options: Any) -> str:
        return click.style(text, **options) if text and self._coloured and any(options.values()) else text

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            try:
                self._out.write(text)
            except UnicodeEncodeError:
                encoding = self._out.encoding or "ascii"
                self._out.write(text.encode(encoding, "replace").decode(encoding))
            self._out.flush()

    def _divert(self) -> None:
        """Let what others write to a terminal go above the list."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._streams[name] = _Above(stream, self)
                setattr(sys, name, self._streams[name])

    # ------------------------------------------------------------------------------------------- lines

    def _lines(self, most: int, *, last: bool = False) -> list[tuple[str, str, str, str]]:
        """At most so many lines; the newest steps are the last ones."""
        roots = self._tree.roots
        shown: list[list[tuple[str, str, str, str]]] = []
        count, hidden = 0, len(roots)
        for entry in reversed(roots):
            block = list(self._entry(entry, 0, last))
            if shown and count + len(block) + (hidden > 1) > most:
                break
            shown.append(block)
            count += len(block)
            hidden -= 1
        lines = [line for block in reversed(shown) for line in block]
        over = len(lines) + bool(hidden) - most
        if over > 0:  # one step alone has more than fits: its head and what is newest in it
            cut = lines[1 : over + 2]
            lines = [lines[0], ("  ", f"... {len(cut)} more", "", ""), *lines[over + 2 :]]
        if hidden:
            lines.insert(0, ("", f"... {hidden} earlier step{'' if hidden == 1 else 's'}", "", ""))
        return lines

    def _entry(self, entry: Entry, depth: int, last: bool) -> Iterator[tuple[str, str, str, str]]:
        yield self._line(entry, depth)
        children = entry.children
        if entry.state == "done" and (not last or entry.body == "workflow"):
            return
        for number, child in enumerate(children):
            if number == _SHOWN and entry.body == "foreach":
                yield ("  " * (depth + 1), f"... {len(children) - number} more at work", "", "")
                return
            yield from self._entry(child, depth + 1, last)
        if entry.told and entry.active:
            yield ("  " * (depth + 1), "", "", self._told(entry.told, depth))

    def _line(self, entry: Entry, depth: int) -> tuple[str, str, str, str]:
        if entry.state == "running":
            spin = self._marks["spin"]
            mark = spin[self._turn % len(spin)]
        else:
            mark = self._marks.get(entry.state, "-")
        name = entry.path.rpartition("/")[2]
        if entry.lane not in ("", entry.step):
            name = f"[{entry.lane}] {name}"
        # The body of a network's step names the member, as its name does.
        is_named = not entry.name or entry.name == entry.step or entry.body.endswith(f" {entry.name}")
        words = [] if is_named else [in_one_line(entry.name)]
        words.extend(filter(None, (entry.body, entry.counter)))
        if entry.attempt > 1:
            words.append(f"try {entry.attempt}" if entry.active else f"{entry.attempt} tries")
        if entry.before:
            words.append("done before")
        else:
            words.append(elapsed((self._clock() if entry.active else entry.ended_s) - entry.began_s))
        if entry.state == "waiting":
            words.append("waits")
        if entry.state == "stopped":
            words.append("given up")
        words.extend(filter(None, [entry.error]))
        return ("  " * depth + mark + " ", in_one_line(name), entry.state, " ".join(words))

    def _told(self, text: str, depth: int) -> str:
        """What a step does now, on one line; of a text the end, which is what is new."""
        line = in_one_line(text)
        room = max(self._width() - 2 * depth - 6, 10)
        if text.startswith(("-> ", "<- ", "-- ")) or display_width(line) <= room:
            return line
        while display_width(line) > room - 1:
            line = line[max(len(line) // 8, 1) :] if display_width(line) > 2 * room else line[1:]
        return f"…{line}"


def _marks(encoding: str | None) -> dict[str, str]:
    try:
        "".join(_UNICODE.values()).encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return _ASCII
    return _UNICODE


class _Above:
    """A text stream to a terminal whose lines go above the list; all else is the stream's own."""

    def __init__(self, stream: Any, live: LiveList) -> None:
        self.stream, self._live = stream, live
        self._held = ""

    def write(self, text: str) -> int:
        """Write whole lines; the rest is held back until its line ends."""
        lines, end, self._held = (self._held + text).rpartition("\n")
        if end:
            self._live.above(lambda: self._pass(lines + end))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Write what is held back."""
        held, self._held = self._held, ""
        if held:
            self._pass(held)

    def _pass(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
