"""Payloads too large for their row: kept among the blobs, once each, and held by the row that names them.

The row's column then holds a marker, ``b"\\x00"`` and the 32 bytes of the payload's SHA-256. JSON text never begins
with that byte. The hold goes with the row (triggers of the schema), and the blob with its last hold.
"""

from __future__ import annotations

import orjson

from kastra_core.api.meta import JsonValue
from kastra_core.errors import StoreError

__all__ = ["COLUMNS", "INLINE_BYTES", "MAX_VALUE_BYTES", "encode", "holder_name", "resolved", "row_holder", "split"]

INLINE_BYTES = 65536
"""Payloads of at most this many bytes of JSON stay in their row, if the option says nothing else."""

MAX_VALUE_BYTES = 900_000_000
"""Largest single value; SQLite's own limit is 1,000,000,000 for a row."""

COLUMNS: dict[str, tuple[str, str, str]] = {
    "journal": ("journal", "id", "record"),
    "signal": ("signals", "seq", "payload"),
    "message": ("messages", "id", "message"),
    "state": ("state", "id", "value"),
}
"""What can be moved out of its row: the word in the holder's name to table, key and column."""


def encode(value: JsonValue, what: object) -> bytes:
    """JSON text of ``value``. Raises: TypeError (not JSON), StoreError (too large)."""
    try:
        body = orjson.dumps(value)
    except TypeError as err:
        raise TypeError(f"{what}: cannot be kept as JSON: {err}") from err
    if len(body) > MAX_VALUE_BYTES:
        raise StoreError(f"{what}: {len(body)} bytes of JSON; at most {MAX_VALUE_BYTES} can be kept")
    return body


def split(body: bytes, inline_bytes: int) -> tuple[bytes, bytes | None]:
    """Return what the column holds for a payload, and the payload when it must be kept among the blobs."""
    if len(body) <= inline_bytes:
        return body, None
    import hashlib  # reading commands start faster without it

    return b"\0" + hashlib.sha256(body).digest(), body


def resolved(column: str) -> str:
    """SQL that gives the payload that a column holds or names; NULL when the named one is lost."""
    # Compared whole: taking the first byte out with substr costs four times as much.
    named = f"SELECT data FROM blobs WHERE digest = substr({column}, 2)"  # noqa: S608 - a column's name
    return f"CASE WHEN {column} >= x'01' THEN {column} ELSE ({named}) END"


def row_holder(word: str, key: int) -> str:
    """The name under which a row holds its payload; ``word`` is one of :data:`COLUMNS`."""
    return f"\x01{word}/{key}"


def holder_name(holder: str) -> str:
    """A holder that an operation names, as it is kept: none is ever the same as a row's."""
    return f"\x01{holder}" if holder.startswith("\x01") else holder
