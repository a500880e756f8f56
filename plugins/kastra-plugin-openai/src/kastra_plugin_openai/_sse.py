"""Server-sent events: bytes as they come from the network to whole events."""

from __future__ import annotations

__all__ = ["EventParser"]

_BOM = b"\xef\xbb\xbf"


class EventParser:
    """Collects the ``data`` of events, however the bytes were split on their way.

    Lines end with LF, CRLF or CR; several data lines of one event are joined with LF; comments and other fields are
    dropped. Source: WHATWG HTML, section "Server-sent events".

    >>> parser = EventParser()
    >>> parser.feed(b"data: a\\r"), parser.feed(b"\\ndata: b\\r\\n\\r\\nda"), parser.feed(b"ta:c\\n"), parser.close()
    ([], [b'a\\nb'], [], [b'c'])
    """

    __slots__ = ("_data", "_first", "_held", "_partial")

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._held = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that ``chunk`` completes."""
        if not chunk:
            return []
        if self._held:
            # A CR at the end of the last chunk: an LF now belongs to it.
            self._held = False
            chunk = b"\n" + (chunk[1:] if chunk[0] == 10 else chunk)
        if b"\r" in chunk:
            if chunk[-1] == 13:
                self._held = True
                chunk = chunk[:-1]
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            self._partial.append(chunk)
            return []
        if self._partial:
            self._partial.append(chunk)
            chunk = b"".join(self._partial)
            self._partial.clear()
        lines = chunk.split(b"\n")
        if rest := lines.pop():
            self._partial.append(rest)
        return self._events(lines)

    def close(self) -> list[bytes]:
        """Return the data of an event that the end of the stream cut short of its blank line, if there is one."""
        rest = b"".join(self._partial)
        self._partial.clear()
        return self._events([rest, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                data.append(b"")
        return events
