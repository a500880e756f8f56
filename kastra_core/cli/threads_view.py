"""Messages of a thread as a transcript, Markdown, JSON or YAML, in pieces, so that a long thread costs no memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from kastra_core.api.meta import JsonObject, rfc3339
from kastra_core.cli.common import style
from kastra_core.cli.run_screen import in_one_line, plural, printable
from kastra_core.cli.tables import clip, terminal_width

if TYPE_CHECKING:
    from kastra_core.protocols.store import StoredMessage, ThreadInfo

__all__ = ["WRITERS", "Json", "JsonLines", "Markdown", "Transcript", "Writer", "Yaml", "beginning", "info_data"]

_SHOWN = 300
"""Columns of a tool call or its result that are shown where there is no terminal."""
_COLOURS = {"user": "cyan", "assistant": "green", "tool": "yellow"}


def info_data(info: ThreadInfo) -> JsonObject:
    """A thread as ``-o json|yaml`` gives it."""
    return {
        "namespace": info.namespace,
        "name": info.thread,
        "messages": info.messages,
        "createdAt": rfc3339(info.created_s),
        "updatedAt": rfc3339(info.updated_s),
    }


def beginning(messages: Sequence[StoredMessage]) -> str:
    """What was asked first, on one line; "" when nobody asked in text."""
    for stored in messages:
        if stored.message.get("role") == "user":
            for kind, text in _parts(stored.message):
                if kind == "text" and text.strip():
                    return in_one_line(text)
    return ""


class Writer:
    """Writes a thread in pieces: ``begin``, ``page`` for each page, ``end``. What it gives ends with a line end.

    Args:
        namespace, thread: whose messages they are.
        count: messages that will come.
        total: messages that the thread has.
    """

    def __init__(self, namespace: str, thread: str, count: int, total: int) -> None:
        self.namespace, self.thread, self.count, self.total = namespace, thread, count, total

    def begin(self) -> str:
        return ""

    def page(self, messages: Sequence[StoredMessage]) -> str:
        raise NotImplementedError

    def end(self) -> str:
        return ""


def _item(stored: StoredMessage) -> JsonObject:
    return {"seq": stored.seq, "timeS": round(stored.time_s, 3), "run": stored.run, "message": stored.message}


class JsonLines(Writer):
    """A message a line: ``{"seq", "timeS", "run", "message": {"role", "parts"}}``."""

    def page(self, messages: Sequence[StoredMessage]) -> str:
        return b"".join(orjson.dumps(_item(stored)) + b"\n" for stored in messages).decode()


class Json(Writer):
    """One object: ``{"namespace", "thread", "messages": [...]}``, its messages as those of :class:`JsonLines`."""

    _first = True

    def begin(self) -> str:
        names = orjson.dumps({"namespace": self.namespace, "thread": self.thread}, option=orjson.OPT_INDENT_2).decode()
        return names.removesuffix("\n}") + ',\n  "messages": ['

    def page(self, messages: Sequence[StoredMessage]) -> str:
        out = []
        for stored in messages:
            text = orjson.dumps(_item(stored), option=orjson.OPT_INDENT_2).decode().replace("\n", "\n    ")
            out.append(f"{'' if self._first else ','}\n    {text}")
            self._first = False
        return "".join(out)

    def end(self) -> str:
        return "]\n}\n" if self._first else "\n  ]\n}\n"


class Yaml(Writer):
    """As :class:`Json`, as YAML."""

    def begin(self) -> str:
        from kastra_core.manifests import dump

        empty = "" if self.count else " []"
        return dump([{"namespace": self.namespace, "thread": self.thread}]) + f"messages:{empty}\n"

    def page(self, messages: Sequence[StoredMessage]) -> str:
        from kastra_core.manifests import dump

        text = dump([{"messages": [_item(stored) for stored in messages]}])
        return text.partition("\n")[2]


class Markdown(Writer):
    """A heading a message. What is said keeps its own Markdown; tool calls and results are blocks of code."""

    def begin(self) -> str:
        return f"# {in_one_line(self.thread)}\n"

    def page(self, messages: Sequence[StoredMessage]) -> str:
        return "".join(self._message(stored) for stored in messages)

    def _message(self, stored: StoredMessage) -> str:
        out = [f"\n## {_role(stored.message)}, {_when(stored.time_s)}\n"]
        for kind, text in _parts(stored.message, whole=True):
            if kind == "text":
                out.append(f"\n{text.rstrip()}\n")
            else:
                fence = "`" * max(3, _longest_ticks(text) + 1)
                out.append(f"\n{_TITLES[kind]}:\n\n{fence}\n{text}\n{fence}\n")
        return "".join(out)


_TITLES = {"call": "Tool call", "result": "Tool result", "other": "Part"}


def _longest_ticks(text: str) -> int:
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest


class Transcript(Writer):
    """For people: a line that says who and when, below it what was said, indented, so that no text can pass for such
    a line. Control characters are left out, tool calls and results are cut.
    """

    _day = ""
    _room = _SHOWN

    def begin(self) -> str:
        self._room = max(terminal_width() - 5, 20) if terminal_width() else _SHOWN
        shown = plural(self.total, "message")
        if self.count < self.total:
            shown = f"the last {self.count} of {shown}"
        return style(f"thread {in_one_line(self.thread)} in namespace {self.namespace}, {shown}", bold=True) + "\n"

    def page(self, messages: Sequence[StoredMessage]) -> str:
        return "".join(self._message(stored) for stored in messages)

    def _message(self, stored: StoredMessage) -> str:
        role = _role(stored.message)
        day, clock = _when(stored.time_s).split(" ")
        when = clock if day == self._day else f"{day} {clock}"
        self._day = day
        colour = _COLOURS.get(role)
        out = [f"\n{style(role, bold=True, fg=colour) if colour else role}  {style(when, dim=True)}\n"]
        for kind, text in _parts(stored.message):
            if kind == "text":
                out.extend(f"  {line}".rstrip() + "\n" for line in printable(text).strip("\n").split("\n"))
            else:
                mark = {"call": "-> ", "result": "<- "}.get(kind, "")
                out.append(f"  {mark}{clip(in_one_line(text), self._room)}\n")
        return "".join(out)


def _role(message: JsonObject) -> str:
    return in_one_line(str(message.get("role") or "unknown"))


def _when(time_s: float) -> str:
    """``2026-03-01 10:02:11``, local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def _parts(message: JsonObject, *, whole: bool = False) -> Iterator[tuple[str, str]]:
    """(text, call, result or other; what to show of it) of each part of a message; what nobody's runtime wrote too.

    Args:
        whole: a value is not put on one line.
    """
    parts = message.get("parts")
    if not isinstance(parts, list):
        content = message.get("content", message)
        yield ("text", content) if isinstance(content, str) else ("other", _shown(content, whole))
        return
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            yield "text", str(part.get("content") or "")
        elif kind == "tool_call":
            yield "call", f"{part.get('name')} {_shown(part.get('arguments'), whole)}"
        elif kind == "tool_call_response":
            yield "result", _shown(part.get("response"), whole)
        else:
            yield "other", _shown(part, whole)


def _shown(value: Any, whole: bool) -> str:
    if not whole:
        return in_one_line(value)
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


WRITERS: Mapping[str, Callable[[str, str, int, int], Writer]] = {
    "text": Transcript,
    "markdown": Markdown,
    "json": Json,
    "jsonl": JsonLines,
    "yaml": Yaml,
}
"""Format -> what writes it, called with namespace, thread, count, total."""
