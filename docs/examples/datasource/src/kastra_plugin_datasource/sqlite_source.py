"""Looking at a SQLite file: it is opened to read only, and a query may do nothing but SELECT."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kastra_plugin_datasource.spec import MAX_BYTES, MAX_ROWS, Found, SourceError

__all__ = ["look"]

_TABLES = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_STEPS = 1000
"""Instructions of SQLite between two looks at the clock."""


def look(path: Path, name: str, query: str, timeout_s: float) -> Found:
    """Count the tables and make the query. Blocks: call it in a thread.

    Args:
        name: what messages call the file.
    Raises:
        SourceError: FileNotFound, NotADatabase, Locked, Timeout or QueryFailed.
    """
    if not path.is_file():
        raise SourceError("FileNotFound", f"there is no file {name}")
    deadline = time.monotonic() + timeout_s
    try:
        # mode=ro: a file that is not there is not made, and nothing is ever written.
        uri = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            connection.set_authorizer(_authorize)
            (tables,) = connection.execute(_TABLES).fetchone()
            rows = _rows(connection, query) if query else None
    except sqlite3.Error as error:
        raise _told(error, name, timeout_s) from error
    words = f"{tables} table{'' if tables == 1 else 's'}"
    if rows is None:
        return Found(message=words, tables=tables)
    more = " (no more are read)" if len(rows) == MAX_ROWS else ""
    return Found(
        message=f"{words}, the query gives {len(rows)} rows{more}", tables=tables, rows=len(rows), content=rows
    )


def _authorize(action: int, *_: Any) -> int:
    """Called for all that a statement would do: ATTACH, PRAGMA and writing are refused."""
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _rows(connection: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, map(_as_json, row))) for row in cursor.fetchmany(MAX_ROWS)]


def _as_json(value: Any) -> Any:
    return f"{len(value)} bytes" if isinstance(value, bytes) else value


def _told(error: sqlite3.Error, name: str, timeout_s: float) -> SourceError:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_INTERRUPT:
        return SourceError("Timeout", f"{name} took longer than {timeout_s:g} s")
    if code == sqlite3.SQLITE_NOTADB:
        return SourceError("NotADatabase", f"{name} is no SQLite database")
    if code == sqlite3.SQLITE_BUSY:
        return SourceError("Locked", f"{name} is locked by another program for longer than {timeout_s:g} s")
    return SourceError("QueryFailed", f"{name}: {error}")
