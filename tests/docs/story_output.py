"""Compares what a command shows with what the page says that it shows.

What a page cannot know is equal whatever it is:

- ``...`` as a line stands for any lines, within a line for any text;
- ages and durations (``2s``, ``3m20s``, ``120 ms``), times (``2030-01-01T12:00:00Z``, ``20300101T120000Z``), uids;
- the end of names that Kastra makes (``greeter-0a1b2c3d``, ``chat-20300101-0a1b2c``);
- the directories of absolute paths, ports of the loopback device, process ids;
- how wide the columns of a table are, blanks at the end of a line, blank lines at both ends.

A page shows either all that a command writes to stdout, or that together with all of stderr, in any order that keeps
the order of the lines of each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

__all__ = ["holds", "is_shown", "plain"]

ANY = "..."

_EQUAL: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\x1b\[[0-9;]*m", ""),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
        (r"\bchat-\d{8}-[0-9a-f]{6}\b", "chat-CHANCE"),
        (r"-[0-9a-f]{8,12}\b(?!-)", "-CHANCE"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?(?!\w)", "TIME"),
        (r"\b\d{8}T\d{6}Z?\b", "TIME"),
        (r"(?<![\w:])\d\d:\d\d:\d\d(?![\w:])", "TIME"),
        (r"(?<![\w.-])\d+(\.\d+)? ?(ms|s|min|m|h|d)(\d+(ms|s|m|h|d))*\b", "AGE"),
        (r"\b(127\.0\.0\.1|localhost):\d{2,5}\b", r"\1:PORT"),
        (r"\b(pid|process) \d+\b", r"\1 PID"),
        # A path keeps its last part.
        (r"(?<![\w./:~-])(file:)?//?(?:[^\s/:'\"`)]+/)+([^\s/:'\"`)]+)", r"DIRECTORY/\2"),
        (r"(?<=\S)\s{2,}", "  "),
        (r"\s+$", ""),
    )
)


@cache
def plain(line: str) -> str:
    """The line with what cannot be known replaced by words for it."""
    for pattern, word in _EQUAL:
        line = pattern.sub(word, line)
    return line


@cache
def _pattern(shown: str) -> re.Pattern[str]:
    """What fits a line of a page, when both are plain."""
    return re.compile("".join(".*" if part == ANY else re.escape(part) for part in re.split(r"(\.\.\.)", plain(shown))))


def is_shown(shown: Sequence[str], out: str, err: str) -> bool:
    """Whether the lines of the page are what a command wrote to stdout and stderr."""
    wanted, first, second = (_lines(text) for text in ("\n".join(shown), out, err))
    return _merged(wanted, first, []) or _merged(wanted, first, second)


def holds(shown: Sequence[str], out: str, err: str) -> bool:
    """Whether the lines of the page are somewhere in what a command wrote."""
    return is_shown([ANY, *shown, ANY], out, err)


def _lines(text: str) -> list[str]:
    """The lines that say something: blank ones may be the page's own, or the command's."""
    return [line for line in text.splitlines() if line.strip()]


def _merged(shown: list[str], out: list[str], err: list[str]) -> bool:
    """Whether ``shown`` is all lines of ``out`` and ``err``, those of each in their order."""
    states = {(0, 0)}
    """How many lines of each may have been used up."""
    for line in shown:
        if line.strip() == ANY:
            lowest: dict[int, int] = {}
            for o, e in states:
                lowest[o] = min(e, lowest.get(o, e))
            states, least = set(), len(err) + 1
            for o in range(len(out) + 1):
                least = min(least, lowest.get(o, least))
                states |= {(o, e) for e in range(least, len(err) + 1)}
            continue
        fit = _pattern(line).fullmatch
        states = {(o + 1, e) for o, e in states if o < len(out) and fit(plain(out[o]))} | {
            (o, e + 1) for o, e in states if e < len(err) and fit(plain(err[e]))
        }
        if not states:
            return False
    return (len(out), len(err)) in states
