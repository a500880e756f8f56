"""A text of manifests: bytes to characters, offsets to lines, nodes for places."""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from typing import Any

from kastra_core.errors import Problem
from kastra_core.manifests.json_values import without_pairs

__all__ = ["Source", "decode"]

_MARKS = (  # UTF-32 before UTF-16: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(raw: str | bytes, file: str) -> str | Problem:
    """Return the characters of ``raw``: UTF-8, or what its byte order mark says."""
    if isinstance(raw, str):
        return raw.removeprefix("\ufeff")
    mark, encoding = next((found for found in _MARKS if raw.startswith(found[0])), (b"", "utf-8"))
    raw = raw[len(mark) :]
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as err:
        before = raw[: err.start].decode(encoding, "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = f"byte 0x{raw[err.start]:02X} at offset {err.start + len(mark)} is not {encoding.upper()}"
        return Problem(what, hint="save the file as UTF-8", file=file, line=line, column=column)


class Source:
    """A text and its name; finds the nodes of its documents again when a place is asked for."""

    __slots__ = ("_last", "_line_starts", "depth", "file", "text")

    def __init__(self, text: str, file: str, depth: int) -> None:
        self.text, self.file, self.depth = text, file, depth
        self._line_starts: list[int] | None = None
        self._last: tuple[int, Any] = (-1, None)

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column, both from 1, of an offset in the text."""
        if self._line_starts is None:
            self._line_starts = [0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", self.text))]
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def problem(self, found: Any, base: int = 0) -> Problem:
        """A finding in the text from ``base`` on, with its place; one that points at another line names that."""
        message, hint = found.message, found.hint
        if found.first >= 0:
            line = self.place(base + found.first)[0]
            message, hint = (message, f"{hint}{line}") if hint.endswith("line ") else (f"{message}{line}", hint)
        line, column = self.place(base + found.offset)
        return Problem(message, found.path, hint=hint, file=self.file, line=line, column=column)

    def root(self, start: int, end: int) -> Any:
        """Return the root node of the document that text[start:end] is, or None; the last one is remembered."""
        if self._last[0] != start:
            from kastra_core.manifests.composer import compose_one

            self._last = (start, compose_one(without_pairs(self.text[start:end]), self.depth))
        return self._last[1]
