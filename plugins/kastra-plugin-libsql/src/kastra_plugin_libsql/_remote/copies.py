"""A server's database as a file that the store on a file can open, and back."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs

from kastra_core.errors import StoreError, StoreUnavailableError, UserError
from kastra_core.protocols.store_admin import BackupInfo
from kastra_plugin_libsql._admin_backup import Stop, part_beside, rename_free, rename_new, verify
from kastra_plugin_libsql._errors import reason_of
from kastra_plugin_libsql._remote.client import Row, Server, Statement
from kastra_plugin_libsql._remote.reads import PAGE_BYTES, Source, read_whole
from kastra_plugin_libsql._remote.script import LARGE_BYTES
from kastra_plugin_libsql._schema import APPLICATION_ID, connect, take_steps

__all__ = ["LEFT_OUT", "Table", "send_tables", "tables_of", "write_copy"]

LEFT_OUT = ("commits", "counts")
"""Only answers for clients of now; and what triggers count anew while the resources are put in."""
_ROWS = 500
_SEND_BYTES = 500_000
_PART_BYTES = 4_000_000
_HTTP_BYTES = 100_000_000
"""Over HTTP a backup is one answer, which lies in memory some times."""


@attrs.frozen
class Table:
    name: str
    columns: tuple[str, ...]
    large: tuple[bool, ...]
    """Which columns may hold large values."""
    key: tuple[str, ...]

    @property
    def size(self) -> str:
        """SQL for the bytes of a row."""
        return " + ".join(f"coalesce(length(CAST({column} AS BLOB)), 0)" for column in self.columns) + " + 64"

    @property
    def at(self) -> tuple[int, ...]:
        """Where in a row the key is."""
        return tuple(self.columns.index(column) for column in self.key)


def tables_of(connection: apsw.Connection) -> list[Table]:
    """What a database file of ours keeps, but for :data:`LEFT_OUT`."""
    found = []
    names: list[Any] = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name"
    ).fetchall()
    for (name,) in names:
        if name in LEFT_OUT:
            continue
        info: list[Any] = connection.execute(f"PRAGMA table_info({name})").fetchall()
        found.append(
            Table(
                name,
                tuple(row[1] for row in info),
                tuple(row[2] == "BLOB" or row[1] == "metadata" for row in info),
                tuple(row[1] for row in sorted((row for row in info if row[5]), key=lambda row: row[5])),
            )
        )
    return found


# ------------------------------------------------------------------------------------------------- from the server


async def write_copy(server: Server, schema: int, target: Path, *, numbered: bool = False) -> BackupInfo:
    """Write all that the server keeps, as of one moment, into a file; read it back, and only then give it its name.

    Args:
        numbered: when ``target`` exists, take another name instead of raising.
    Raises: UserError when ``target`` exists or the store is too large for HTTP; StoreUnavailableError, StoreError.
    """
    _refuse_target(target, numbered=numbered)
    with part_beside(target) as part:
        try:
            counts = await _fill(server, schema, part)
        except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as err:
            raise StoreUnavailableError(
                f"{target} could not be written{reason_of(err)}; make room or name another place"
            ) from err
        _, found, items, version = await asyncio.to_thread(verify, part, Stop())
        if wrong := sorted(table for table, count in counts.items() if found.get(table) != count):
            raise StoreError(f"{target} does not agree with the store in {', '.join(wrong)}; it was not kept")
        size = part.stat().st_size
        try:
            if numbered:
                target = await asyncio.to_thread(rename_free, part, target)
            else:
                await asyncio.to_thread(rename_new, part, target)
        except FileExistsError:
            raise UserError(f"{target} is there already; name another file") from None
    return BackupInfo(
        path=target,
        size_bytes=size,
        schema=schema,
        resource_version=str(version),
        time_s=server.settings.clock(),
        items=items,
    )


def _refuse_target(target: Path, *, numbered: bool) -> None:
    if target.exists() and not numbered:
        raise UserError(f"{target} is there already; name another file")
    if not target.parent.is_dir():
        raise UserError(f"there is no directory {target.parent}; make it, or name another place")


async def _fill(server: Server, schema: int, part: Path) -> dict[str, int]:
    """Returns the rows by table that the server says it has."""
    connection = connect(part, 0)
    try:
        connection.execute("PRAGMA journal_mode = OFF").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        take_steps(connection, 0, schema)
        tables = tables_of(connection)
        counts: dict[str, int] = {}
        async with _source(server, tables) as source:
            for table in tables:
                [[counts[table.name]]] = await source.rows(f"SELECT count(*) FROM {table.name}")
                connection.execute(f"DELETE FROM {table.name}")
                marks = ", ".join("?" * len(table.columns))
                async for page in _pages(source, table):
                    connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", page)
            [[signal]] = await source.rows(
                "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signals'), 0)"
            )
        connection.execute("DELETE FROM meta WHERE key = 'schema'")
        counts["meta"] -= connection.changes()
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'signals'")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('signals', ?)", (signal,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {schema}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        connection.close(True)
    return counts


@asynccontextmanager
async def _source(server: Server, tables: list[Table]) -> AsyncIterator[Source]:
    """The server's state of one moment."""
    if server.settings.target.startswith("http"):
        yield await _loaded(server, tables)
    else:
        async with server.snapshot() as snapshot:
            yield snapshot


class _Loaded:
    """All of a small database, from one batch."""

    def __init__(self, answers: dict[str, list[Row]]) -> None:
        self._answers = answers

    async def rows(self, sql: str, *bindings: Any) -> list[Row]:
        return self._answers[sql]


async def _loaded(server: Server, tables: list[Table]) -> Source:
    sizes = " + ".join(f"(SELECT coalesce(sum({table.size}), 0) FROM {table.name})" for table in tables)
    [[size]] = await server.rows(f"SELECT {sizes}")
    if size > _HTTP_BYTES:
        raise UserError(
            f"store {server.settings.shown}: {size / 1e6:.0f} MB are too much for one answer over HTTP; name the same "
            "database with libsql:, wss: or ws:, or use the server's own means (a snapshot, `turso db export`)"
        )
    statements = [
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signals'), 0)",
        *(f"SELECT count(*) FROM {table.name}" for table in tables),
        *(_all(table) for table in tables),
    ]
    answers = await server.read(*((sql, ()) for sql in statements))
    return _Loaded(dict(zip(statements, answers)))


def _all(table: Table) -> str:
    return f"SELECT {', '.join(table.columns)} FROM {table.name}"


async def _pages(source: Source, table: Table) -> AsyncIterator[list[Row]]:
    """All rows of a table, by its key."""
    if isinstance(source, _Loaded):
        yield await source.rows(_all(table))
        return
    key, columns = ", ".join(table.key), ", ".join(table.columns)
    same = " AND ".join(f"t.{column} = p.{column}" for column in table.key)
    values = ", ".join(
        f"iif(length(CAST(t.{column} AS BLOB)) <= {LARGE_BYTES}, t.{column}, NULL), length(CAST(t.{column} AS BLOB))"
        if large
        else f"t.{column}, NULL"
        for column, large in zip(table.columns, table.large)
    )
    last: tuple[Any, ...] = ()
    while True:
        after = f" WHERE ({key}) > ({', '.join('?' * len(last))})" if last else ""
        inner = f"SELECT {columns}, {table.size} AS size FROM {table.name}{after} ORDER BY {key} LIMIT {_ROWS}"
        rows = await source.rows(
            f"SELECT {values} FROM (SELECT {key}, sum(size) OVER (ORDER BY {key}) - size AS before FROM"
            f" (SELECT {key}, size FROM ({inner}))) p CROSS JOIN {table.name} t ON {same}"
            f" WHERE p.before < {PAGE_BYTES} ORDER BY {', '.join(f'p.{column}' for column in table.key)}",
            *last,
        )
        page = [tuple([await _value(source, table, row, index) for index in range(len(table.columns))]) for row in rows]
        if page:
            yield page
        if not rows:
            return
        last = tuple(page[-1][index] for index in table.at)


async def _value(source: Source, table: Table, row: Row, index: int) -> Any:
    value, size = row[2 * index], row[2 * index + 1]
    if value is not None or size is None:
        return value
    place = " AND ".join(f"{column} = ?{number}" for number, column in enumerate(table.key, 1))
    column = table.columns[index]
    data = await read_whole(source, table.name, f"CAST({column} AS BLOB)", place, *(row[2 * at] for at in table.at))
    return data.decode() if data is not None and column == "metadata" else data


# ------------------------------------------------------------------------------------------------- to the server


async def send_tables(server: Server, connection: apsw.Connection, prefix: str) -> list[Table]:
    """Fill tables ``<prefix><name>`` with all rows of a file, request by request. Nobody else looks at them."""
    tables = tables_of(connection)
    for table in tables:
        name = prefix + table.name
        columns = ", ".join(table.columns)
        await server.read(
            (f"DROP TABLE IF EXISTS {name}", ()),
            (f"CREATE TABLE {name} (at INTEGER PRIMARY KEY, {columns})", ()),
        )
        for statements in _sendings(connection, table, name):
            await server.read(*statements)
    return tables


def _sendings(connection: apsw.Connection, table: Table, name: str) -> Iterator[list[Statement]]:
    """Statements in groups for one request each; each may be carried out twice."""
    marks = ", ".join("?" * (len(table.columns) + 1))
    group: list[Statement] = []
    size = 0
    for at, row in enumerate(connection.execute(_all(table)), 1):
        values = list(row)
        late: list[tuple[str, bytes, bool]] = []
        for index, value in enumerate(values):
            if isinstance(value, (bytes, str)) and len(value) > _SEND_BYTES:
                data = value.encode() if isinstance(value, str) else value
                late.append((table.columns[index], data, isinstance(value, str)))
                values[index] = "" if isinstance(value, str) else b""
        group.append((f"INSERT OR REPLACE INTO {name} VALUES ({marks})", (at, *values)))
        size += sum(len(value) for value in values if isinstance(value, (bytes, str))) + 100
        for column, data, text in late:
            yield group
            group, size = [], 0
            for start in range(0, len(data), _PART_BYTES):
                part = data[start : start + _PART_BYTES]
                joined = f"CAST(CAST({column} AS BLOB) || ? AS {'TEXT' if text else 'BLOB'})"
                yield [
                    (
                        f"UPDATE {name} SET {column} = {joined} WHERE at = ? AND length(CAST({column} AS BLOB)) = ?",
                        (part, at, start),
                    )
                ]
        if size > _SEND_BYTES or len(group) >= _ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group
