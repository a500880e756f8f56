"""What a person sees of a run: the answer on stdout as it comes, all that happens beside it on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click
import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.cli.tables import clip

if TYPE_CHECKING:
    from kastra_core.cli.run_progress import Progress, StepWords
    from kastra_core.cli.run_routing import Routing

__all__ = [
    "STEP_EVENTS",
    "ErrorLines",
    "EventLines",
    "Screen",
    "in_one_line",
    "plural",
    "printable",
    "result_words",
    "usage_words",
]

STEP_EVENTS = frozenset({"step_started", "step_retry", "step_finished", "decision"})
"""Types of the events of a run that consists of steps."""
_WIDTH = 400
"""Columns of a line on a stderr that is no terminal."""
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that turn the direction of text."""
_CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0), *_TURNING) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text without control characters, with which a model or a tool could steer a terminal."""
    return text if text.isascii() and text.isprintable() else text.translate(_CONTROL)


def in_one_line(value: JsonValue) -> str:
    """A value on one line: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return printable(" ".join(text.split()))


def plural(count: int, what: str) -> str:
    """``1 tool call``, ``2 tool calls``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def usage_words(usage: Mapping[str, Any], duration_s: float | None = None) -> str:
    """``2 model calls, 1 tool call, 512 tokens, 3.1s, $0.0021``; what is 0 or unknown is left out."""
    words = []
    if usage.get("modelCalls"):
        words.append(plural(usage["modelCalls"], "model call"))
    if usage.get("toolCalls"):
        words.append(plural(usage["toolCalls"], "tool call"))
    tokens = usage.get("inputTokens", 0) + usage.get("outputTokens", 0)
    if tokens:
        words.append(plural(tokens, "token"))
    if duration_s is not None:
        words.append(f"{duration_s:.1f}s")
    if usage.get("cost"):  # a local model costs nothing, which need not be said
        words.append(f"${usage['cost']:.4f}")
    return ", ".join(words)


class ErrorLines:
    """Lines on stderr about what happens, dim on a terminal, cut to its width.

    Args:
        quiet: write none.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.is_tty = sys.stderr.isatty()
        self._dim = self.is_tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        if not self.is_tty:
            return _WIDTH
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def say(self, text: str, *, cut: bool = True, indent: str = "") -> None:
        """Write a line, unless quiet."""
        if not self.quiet:
            self.must_say(text, cut=cut, indent=indent)

    def must_say(self, text: str, *, cut: bool = False, indent: str = "") -> None:
        """Write a line, even when quiet."""
        shown = clip(indent + in_one_line(text), self.width) if cut else indent + printable(text)
        _write(sys.stderr, (click.style(shown, dim=True) if self._dim else shown) + "\n")


class Screen:
    """Shows the events of one run. ``event`` is a listener of the run: it never raises.

    Args:
        lines: where to tell what happens beside the answer.
        stream: show text as it comes; otherwise ``finish`` writes the whole answer.
        answer: write the answer to stdout at all.
    """

    def __init__(self, lines: ErrorLines, *, stream: bool, answer: bool = True) -> None:
        self.lines = lines
        self.broken = False
        """Nobody reads stdout any more."""
        self._answer, self._stream = answer, stream and answer
        self._is_tty = sys.stdout.isatty()
        self._at_line_start = True
        self._turn = ""
        """Text of the present turn that was shown."""
        self._again = ""
        """Text that was shown of a turn which starts over."""
        self._progress: Progress | None = None
        """The view of a run that consists of steps."""
        self._called: dict[str, StepWords] = {}
        """Run that this one called -> its steps, where this one has none."""
        self._routings: dict[str, Routing] = {}
        """Run that lets members answer ("" = this one) -> its choices. What its members say is shown as it comes."""
        self._speaker = ""
        """The run that the text of the present turn comes from."""
        self._callers: dict[str, str] = {}
        """Member -> the run that let it answer."""
        self._last_words: dict[str, bool] = {}
        """Run that lets members answer -> whether the present one is the last."""

    def event(self, event: JsonObject) -> None:
        """Show an event."""
        self._take(event, "", "")

    def _take(self, event: JsonObject, run: str, indent: str) -> None:
        """Show an event of this run (``run`` "") or of a member that answers in its place."""
        kind = event.get("type")
        if kind in STEP_EVENTS:
            self._step(event, run, indent)
        elif kind == "child":
            self._child(event, run, indent)
        elif kind == "text":
            self._text(str(event.get("text") or ""), run)
        elif kind == "tool_call":
            self._turn_ends()
            self._say(f"-> {event.get('name')} {in_one_line(event.get('arguments'))}", indent)
        elif kind == "tool_result":
            self._say(f"<- {event.get('name')} {result_words(event)}", indent)
        elif kind == "model_retry":
            self._again, self._turn = self._turn or self._again, ""
            why = event.get("message") or event.get("reason")
            self._say(f"trying again in {event.get('wait_s') or 0:.1f} s: {why}", indent)
        elif kind == "note":
            self._say(f"note: {event.get('message')}", indent)
        elif kind not in ("finished", "suspended") and not run:
            rest = {key: value for key, value in event.items() if key != "type"}
            self._say(f"{kind}: {rest.get('message') or in_one_line(rest)}")

    def take_over(self, events: Iterable[JsonObject]) -> None:
        """Show what the run did before; these events come again when it goes on."""
        from kastra_core.cli.run_routing import is_route

        steps = [event for event in events if event.get("type") in STEP_EVENTS]
        if any(map(is_route, steps)):
            routing = self._routing("")
            routing.take_over(steps)
            if routing.before:
                self._say(f"{plural(len(routing.before), 'member')} answered before: {', '.join(routing.before)}")
        elif steps:
            self._steps().take_over(steps)

    def finish(self, output: JsonValue) -> None:
        """Write the answer, or what is not on the screen of it yet, and end its line."""
        self._end_steps()
        if self._answer:
            self._write_rest(output)
        self._routings.clear()

    def _write_rest(self, output: JsonValue) -> None:
        text = "" if output is None else output if isinstance(output, str) else _pretty(output)
        if self._again or not (self._turn == text or _says(self._turn, output)):
            self._end_line()
            self._write(text)
        self._turn_ends()

    def stop(self, *, waits: bool = False) -> None:
        """End the line of an answer that will not be completed. ``waits``: the run is suspended, not over."""
        self._end_steps(waits=waits)
        for routing in self._routings.values():
            for line in routing.rest():
                self._say(line)
        if self._is_tty:
            self._end_line()
        self._turn = self._again = ""

    def _steps(self) -> Progress:
        if self._progress is None:
            from kastra_core.cli.run_progress import Progress

            self._progress = Progress(self.lines)
        return self._progress

    def _end_steps(self, *, waits: bool = False) -> None:
        if self._progress is not None:
            self._progress.close(waits=waits)

    def _routing(self, run: str) -> Routing:
        if run not in self._routings:
            from kastra_core.cli.run_routing import Routing

            self._routings[run] = Routing()
        return self._routings[run]

    def _step(self, event: JsonObject, run: str, indent: str) -> None:
        """Show an event of a step, or a decision: of a router, of a run with steps, or of a member with steps."""
        from kastra_core.cli.run_routing import is_route

        if run in self._routings or is_route(event):
            lines = self._routing(run).lines(event, heard=bool(self._turn))
            kind = event.get("type")
            if kind == "step_started" or (kind == "step_finished" and event.get("phase") != "Succeeded"):
                self._turn_ends()
            elif kind == "decision":
                self._last_words[run] = bool(event.get("done"))
            for line in lines:
                self._say(line, indent)
        elif not run:
            self._steps().event(event)
        else:
            self._step_lines(event, run, indent)

    def _step_lines(self, event: JsonObject, run: str, indent: str) -> None:
        from kastra_core.cli.run_progress import StepWords

        words = self._called.setdefault(run, StepWords())
        for line in words.of_event(event):
            self._say(line, indent)

    def _child(self, event: JsonObject, caller: str, indent: str) -> None:
        """Show what a run does that another one called. Its text is its caller's to use, unless that is a router."""
        inner, run = event.get("event"), str(event.get("run"))
        if not isinstance(inner, dict):
            return
        if caller in self._routings:
            self._callers[run] = caller
            self._take(inner, run, indent + "  ")
        elif self._progress is not None and not caller:
            self._progress.child(event)
        else:
            self._unheard(inner, run, indent + "  ")

    def _unheard(self, event: JsonObject, run: str, indent: str) -> None:
        """Show what a run does whose text is not shown."""
        kind = event.get("type")
        if kind == "child":
            inner = event.get("event")
            if isinstance(inner, dict):
                self._unheard(inner, str(event.get("run")), indent + "  ")
        elif kind == "tool_call":
            self._say(f"-> {event.get('name')} {in_one_line(event.get('arguments'))}", indent)
        elif kind == "tool_result":
            self._say(f"<- {event.get('name')} {result_words(event)}", indent)
        elif kind == "model_retry":
            why = event.get("message") or event.get("reason")
            self._say(f"trying again in {event.get('wait_s') or 0:.1f} s: {why}", indent)
        elif kind == "note":
            self._say(f"note: {event.get('message')}", indent)
        elif kind in STEP_EVENTS:
            from kastra_core.cli.run_routing import is_route

            if run in self._routings or is_route(event):
                for line in self._routing(run).lines(event):
                    self._say(line, indent)
            else:
                self._step_lines(event, run, indent)

    def _text(self, text: str, run: str) -> None:
        if not self._stream or self._progress is not None or not (self._is_tty or self._is_last(run)):
            return
        if run != self._speaker:
            self._turn_ends()
            self._speaker = run
            if run in self._routings:
                self._say("in the router's words:", "  " * self._depth(run))
        before, self._turn = self._turn, self._turn + text
        if not self._again:
            self._write(text)
        elif self._turn.startswith(self._again):
            self._write(self._turn[len(self._again) :])
            self._again = ""
        elif not self._again.startswith(self._turn):
            self._again = ""
            self._end_line()
            self.lines.say("note: the answer starts over")
            self._write(before + text)

    def _depth(self, run: str) -> int:
        """How many runs are around one."""
        depth = 0
        while run in self._callers:
            run, depth = self._callers[run], depth + 1
        return depth

    def _is_last(self, run: str) -> bool:
        """Whether what a run says is the answer. Nobody minds on a terminal; what stands in a pipe stays there."""
        while run in self._callers:
            run = self._callers[run]
            if not self._last_words.get(run):
                return False
        return True

    def _turn_ends(self) -> None:
        self._turn = self._again = ""
        self._end_line()

    def _say(self, text: str, indent: str = "") -> None:
        if self._is_tty and not self.lines.quiet:
            self._end_line()
        self.lines.say(text, indent=indent)

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")

    def _write(self, text: str) -> None:
        if not text or self.broken:
            return
        self._at_line_start = text.endswith("\n")
        self.broken = not _write(sys.stdout, printable(text) if self._is_tty else text)


class EventLines:
    """A listener that writes each event as a line of JSON to stdout."""

    def __init__(self) -> None:
        self.broken = False

    def event(self, event: JsonObject) -> None:
        if not self.broken:
            line = orjson.dumps(event, default=str).decode() + "\n"
            self.broken = not _write(sys.stdout, line)


def _write(stream: TextIO, text: str) -> bool:
    """Write and flush; False when nobody reads it any more."""
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def result_words(event: Mapping[str, Any]) -> str:
    """What a tool gave back, of an event ``tool_result``."""
    failed = "failed: " if event.get("is_error") else ""
    return failed + _result(event.get("response"))


def _result(response: JsonValue) -> str:
    if isinstance(response, list) and len(response) != 1:
        return f"{plural(len(response), 'result')} {in_one_line(response)}"
    return in_one_line(response)


def _says(text: str, output: JsonValue) -> bool:
    """Whether a text that was shown is the JSON of an output."""
    if not text or output is None or isinstance(output, str):
        return False
    try:
        return bool(orjson.loads(text) == output)
    except orjson.JSONDecodeError:
        return False


def _pretty(output: JsonValue) -> str:
    return orjson.dumps(output, option=orjson.OPT_INDENT_2).decode()
