"""Reads that never ask for more than a message may hold.

Rows come in pages by their size; a value too large for any page comes in parts.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from asyncio import gather
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Protocol

import orjson

from kastra_core.errors import StoreError
from kastra_plugin_libsql._remote.client import Row, Server
from kastra_plugin_libsql._remote.script import LARGE_BYTES

__all__ = ["PAGE_BYTES", "PAGE_ROWS", "Source", "bodies", "pages_by_key", "payloads", "read_whole", "rows_by_key"]

PAGE_BYTES = 1_000_000
"""A page ends with the row that reaches this."""
PAGE_ROWS = 2048
_PART_BYTES = 2_000_000
_AT_ONCE = 4


class Source(Protocol):
    """A server, or one state of it."""

    async def rows(self, sql: str, *bindings: Any) -> list[Row]: ...


async def read_whole(server: Source, table: str, column: str, condition: str, *bindings: Any) -> bytes | None:
    """A BLOB of any size; None when there is no such row. The row must never change, as those of log and blobs do."""
    mark = len(bindings) + 1
    parts: list[bytes] = []
    size = 0
    while True:
        rows = await server.rows(
            f"SELECT substr({column}, ?{mark}, {_PART_BYTES}), length({column}) FROM {table} WHERE {condition}",
            *bindings,
            size + 1,
        )
        if not rows:
            return None
        part, length = rows[0][0] or b"", rows[0][1]  # substr of an empty BLOB is NULL
        parts.append(bytes(part))
        size += len(part)
        if size >= length or not part:
            return b"".join(parts)


async def pages_by_key(
    server: Source,
    table: str,
    key: str,
    value: str,
    columns: str,
    condition: str,
    *bindings: Any,
    newest: int | None = None,
) -> AsyncIterator[list[Row]]:
    """Rows of a table that meet a condition, ordered by their integer key, in pages.

    Args:
        value: the column that may be large; it comes last in each row, as it is kept.
        columns: the others, SQL; the key comes before them.
        condition: SQL with the parameters ``bindings`` from ?1.
        newest: only the last ones, so many, in falling order.
    """
    mark = len(bindings) + 1
    order, beyond = ("DESC", "<") if newest is not None else ("ASC", ">")
    left = newest
    last: int | None = None
    while left is None or left > 0:
        limit = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
        after = "" if last is None else f" AND {key} {beyond} ?{mark}"
        inner = (
            f"SELECT {key} AS at, length({value}) AS size FROM {table} WHERE {condition}{after}"
            f" ORDER BY {key} {order} LIMIT {limit}"
        )
        rows = await server.rows(
            f"SELECT p.seen, {key}, {columns}, iif(length({value}) <= {LARGE_BYTES}, {value}, NULL) FROM"
            f" (SELECT at, count(*) OVER () AS seen, sum(size) OVER (ORDER BY at {order}) - size AS before"
            f" FROM ({inner})) p"
            f" CROSS JOIN {table} ON {key} = p.at WHERE p.before < {PAGE_BYTES} ORDER BY p.at {order}",
            *bindings,
            *(() if last is None else (last,)),
        )
        page: list[Row] = []
        for _, *row in rows:
            if row[-1] is None:
                row[-1] = await read_whole(server, table, value, f"{key} = ?1", row[0])
            if row[-1] is not None:  # else it went meanwhile
                page.append(tuple(row))
        yield page
        if not rows or (len(rows) == rows[0][0] and len(rows) < PAGE_ROWS):
            return
        last = rows[-1][1]
        if left is not None:
            left -= len(rows)


async def rows_by_key(
    server: Server,
    table: str,
    key: str,
    value: str,
    columns: str,
    condition: str,
    *bindings: Any,
    newest: int | None = None,
) -> list[Row]:
    """All rows, as :func:`pages_by_key`, with payloads that were moved out of their row put in."""
    pages = pages_by_key(server, table, key, value, columns, condition, *bindings, newest=newest)
    found = [row async for page in pages for row in page]
    values = await payloads(server, [row[-1] for row in found])
    return [(*row[:-1], body) for row, body in zip(found, values)]


async def payloads(server: Server, columns: Sequence[bytes]) -> list[bytes]:
    """What the columns hold or name. Raises: StoreError for one that is lost."""
    wanted = list({bytes(column[1:]) for column in columns if column[0] == 0})
    found: dict[bytes, bytes | None] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        read = (read_whole(server, "blobs", "data", "digest = ?1", digest) for digest in some)
        found.update(zip(some, await gather(*read)))
    return [_payload(server, column, found) for column in columns]


def _payload(server: Server, column: bytes, found: dict[bytes, bytes | None]) -> bytes:
    if column[0] != 0:
        return column
    body = found[column[1:]]
    if body is None:
        raise StoreError(
            f"store {server.settings.shown}: a payload (sha256:{column[1:].hex()}) is not there; "
            "was it removed just now? read again, or look with `kastra store check`"
        )
    return body


async def bodies(server: Server, versions: Iterable[int]) -> dict[int, bytes]:
    """JSON of resources by resourceVersion; those that are gone are left out."""
    left = list(versions)
    found: dict[int, bytes] = {}
    while left:
        part = left[:PAGE_ROWS]
        rows = await server.rows(
            f"SELECT l.rv, iif(p.size <= {LARGE_BYTES}, l.body, NULL) FROM"
            " (SELECT at, rv, size, sum(size) OVER (ORDER BY at) - size AS before FROM"
            " (SELECT w.key AS at, b.rv, length(b.body) AS size FROM json_each(?1) w"
            " CROSS JOIN log b ON b.rv = w.value)) p"
            f" CROSS JOIN log l ON l.rv = p.rv WHERE p.before < {PAGE_BYTES} ORDER BY p.at",
            orjson.dumps(part).decode(),
        )
        for rv, body in rows:
            whole = body if body is not None else await read_whole(server, "log", "body", "rv = ?1", rv)
            if whole is not None:
                found[rv] = whole
        if not rows:
            left = left[PAGE_ROWS:]
            continue
        # What lies before the last row that came is either here or gone.
        left = left[part.index(rows[-1][0]) + 1 :]
    return found
