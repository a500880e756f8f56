"""Bytes too large for the request of a commit go before it, in parts.

A part is a blob like others, held in the name of the upload. The commit puts the parts together, in SQL, and lets go of
them in the same transaction; parts of a commit that failed are let go at once, or after a day by whoever sweeps.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from secrets import token_hex
from typing import Any

from kastra_core.errors import StoreError
from kastra_plugin_libsql._remote.client import Server, Statement

__all__ = ["MAX_INLINE_BYTES", "Data", "Upload", "expire_uploads"]

MAX_INLINE_BYTES = 500_000
"""What goes with the commit itself; also the size of a part. aiohttp wants bodies of requests below 1 MiB."""
_PREFIX = "\x01\x01upload/"
"""Of holders. A holder that an operation names never begins like this, if it is not "\\x01upload/..." itself."""
_PLACES = 12
"""Digits of the time in the holder's name: names are in the order of time."""


class Data:
    """Bytes that a statement writes: as its last binding, or put together from parts that were sent before."""

    __slots__ = ("data", "parts")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.parts: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What of it is sent with the commit."""
        return 0 if self.parts else len(self.data)

    def sql(self, mark: int) -> str:
        """The value in SQL; ``mark`` is the number of its binding, if it needs one."""
        if not self.parts:
            return f"?{mark}"
        parts = " || ".join(f"(SELECT data FROM blobs WHERE digest = x'{part.hex()}')" for part in self.parts)
        return f"CAST({parts} AS BLOB)"

    @property
    def bindings(self) -> tuple[Any, ...]:
        return () if self.parts else (self.data,)


class Upload:
    """The parts of one commit."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._holder = f"{_PREFIX}{int(server.settings.clock()):0{_PLACES}}/{token_hex(8)}"

    async def send(self, data: Iterable[Data]) -> None:
        """Raises: StoreUnavailableError, StoreError."""
        for one in data:
            parts = []
            for start in range(0, len(one.data), MAX_INLINE_BYTES):
                part = one.data[start : start + MAX_INLINE_BYTES]
                digest = hashlib.sha256(part).digest()
                parts.append(digest)
                # Safe to repeat: the same bytes, the same hold.
                await self._server.read(
                    ("INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, part)),
                    (
                        "INSERT INTO holds (holder, blob) SELECT ?, id FROM blobs WHERE digest = ?"
                        " ON CONFLICT DO NOTHING",
                        (self._holder, digest),
                    ),
                )
            one.parts = tuple(parts)

    @property
    def let_go(self) -> Statement:
        """The last statement of the commit."""
        return "DELETE FROM holds WHERE holder = ?", (self._holder,)

    async def abandon(self) -> None:
        """The commit failed."""
        with suppress(StoreError):
            await self._server.read(self.let_go)


def expire_uploads(before_s: float) -> Statement:
    """Lets go of parts that were sent before a time and never used."""
    return (
        "DELETE FROM holds WHERE holder >= ? AND holder < ?",
        (_PREFIX, f"{_PREFIX}{int(before_s):0{_PLACES}}"),
    )
