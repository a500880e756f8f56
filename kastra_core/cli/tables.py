"""Plain tables: columns by display width, cut to the terminal, and the ages in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime

__all__ = [
    "age",
    "clip",
    "display_width",
    "duration",
    "fitting",
    "format_table",
    "size_text",
    "terminal_width",
    "widths_of",
]

_GAP = "   "
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_LEAST = 12
"""No column is cut to less than this for the terminal's sake."""
_LEAST_TEXT = 30
"""Columns below which a sentence that is cut tells nothing."""


def display_width(text: str) -> int:
    """Columns that a text takes in a terminal; East Asian wide characters take two.

    >>> display_width("ab食谱")
    6
    """
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def clip(text: str, width: int) -> str:
    """The text, or as much of it as fits into ``width`` columns with "…" at its end."""
    if display_width(text) <= width:
        return text
    out, used = [], 1
    for char in text:
        used += display_width(char)
        if used > width:
            break
        out.append(char)
    return "".join(out) + "…"


def terminal_width() -> int:
    """Columns of the terminal that stdout is, 0 when it is none: then nothing is cut."""
    if not sys.stdout.isatty():
        return 0
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 80


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Display width of each column."""
    return [max(map(display_width, column)) for column in zip(*rows)] if rows else []


def format_table(
    rows: Sequence[Sequence[str]],
    *,
    limit: int = 0,
    keep: int = 1,
    widths: Sequence[int] = (),
    paint: Callable[[int, str], str] | None = None,
) -> str:
    """Return rows as lines with aligned columns.

    Args:
        rows: of one length; line breaks in cells become spaces.
        limit: columns of the terminal; 0 = no limit. The widest columns are cut to fit.
        keep: the first so many columns are never cut: names are there to be copied.
        widths: least width of each column.
        paint: (number of the column, cell) to the coloured cell.
    """
    clean = [[" ".join(cell.split()) if "\n" in cell or "\t" in cell else cell for cell in row] for row in rows]
    sizes = widths_of(clean)
    sizes = [max(size, least) for size, least in zip(sizes, [*widths, *[0] * len(sizes)])]
    if limit:
        _shrink(sizes, limit, keep)
    out = []
    last = len(sizes) - 1
    for row in clean:
        cells = []
        for number, (cell, size) in enumerate(zip(row, sizes)):
            shown = clip(cell, size) if limit else cell
            padding = "" if number == last else " " * (size - display_width(shown))
            cells.append((paint(number, shown) if paint is not None else shown) + padding)
        out.append(_GAP.join(cells).rstrip() + "\n")
    return "".join(out)


def fitting(rows: Sequence[Sequence[str]], spare: Sequence[str], limit: int) -> list[list[str]]:
    """Return rows without the columns for which a terminal is too narrow.

    Args:
        rows: of one length, the first has the titles; the last column is a text that may be cut.
        spare: titles of the columns that go, the first one first.
        limit: columns of the terminal; 0 = no limit.
    """
    left, text = [list(row) for row in rows], rows[0][-1]
    for title in spare if limit else ():
        widths = widths_of(left)
        if left[0][-1] == text:
            widths[-1] = min(widths[-1], _LEAST_TEXT)
        if sum(widths) + len(_GAP) * (len(widths) - 1) <= limit:
            break
        number = left[0].index(title)
        left = [[*row[:number], *row[number + 1 :]] for row in left]
    return left


def _shrink(sizes: list[int], limit: int, keep: int) -> None:
    """Make the widest columns narrower until the line fits, or all are at their least."""
    over = sum(sizes) + len(_GAP) * (len(sizes) - 1) - limit
    while over > 0 and len(sizes) > keep:
        widest = max(range(keep, len(sizes)), key=sizes.__getitem__)
        next_size = max((size for n, size in enumerate(sizes) if n >= keep and n != widest), default=0)
        cut = min(over, max(sizes[widest] - max(next_size, _LEAST), 1))
        if sizes[widest] - cut < _LEAST:
            return
        sizes[widest] -= cut
        over -= cut


def age(timestamp: object, now_s: float) -> str:
    """Time since an RFC 3339 timestamp as kubectl prints it: ``5s``, ``3m20s``, ``45m``, ``5h10m``, ``4d``.

    Args:
        timestamp: text; anything that is none gives "<unknown>".
        now_s: unix seconds.
    """
    try:
        then = datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return "<unknown>"
    return duration(now_s - then)


def duration(seconds: float) -> str:
    """A span in one or two units, coarser the longer it is.

    >>> duration(59), duration(200), duration(7200), duration(86400 * 9)
    ('59s', '3m20s', '120m', '9d')
    """
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m" + (f"{whole % 60}s" if whole % 60 else "")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y" + (f"{days % 365}d" if days % 365 and days < 2920 else "")


def size_text(size_bytes: int) -> str:
    """A size in the unit that fits.

    >>> size_text(512), size_text(2048), size_text(13 * 1024**2 + 2**18), size_text(5 * 1024**4)
    ('512 B', '2.0 KiB', '13.2 MiB', '5.0 TiB')
    """
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in _UNITS:
        size /= 1024
        # What would be shown as 1024.0 is one of the next unit.
        if size < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{size:,.1f} {unit}"
