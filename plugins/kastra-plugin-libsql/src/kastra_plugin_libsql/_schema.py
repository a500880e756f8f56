"""Tables, and how a database file is brought to them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from kastra_core.errors import SchemaVersionError, StoreError, StoreUnavailableError
from kastra_plugin_libsql._errors import store_error

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "check_schema",
    "connect",
    "drop_backup",
    "found_schema",
    "number",
    "open_database",
    "take_steps",
    "write_ahead",
]

APPLICATION_ID = 0x4B415354
"""PRAGMA application_id of our files: "KAST"."""

SCHEMA_VERSION = 3
"""The newest schema that this program knows; ``_migrations`` has the steps to it."""


def connect(path: Path, timeout_s: float) -> apsw.Connection:
    """Open a connection; nothing is read or written yet."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(int(timeout_s * 1000))
    return connection


def open_database(path: Path, timeout_s: float) -> apsw.Connection:
    """Return a read-only connection to the database, which is made or brought up to date before.

    Raises: StoreUnavailableError, SchemaVersionError, StoreError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise StoreUnavailableError(
            f"store {path}: the directory {path.parent} cannot be made ({err.strerror}); "
            "name another place or make it writable"
        ) from err
    if not _size(path):
        _check_log(path)
    if not path.exists():
        # Conversations lie in it, for their owner only; what SQLite puts beside it has the same mode.
        with suppress(OSError):  # a better message comes when it is opened
            path.touch(mode=0o600)
    connection = None
    try:
        connection = connect(path, timeout_s)
        if number(connection, "user_version") != SCHEMA_VERSION:
            _bring_up(connection, path, timeout_s)
        connection.execute("PRAGMA query_only = 1; PRAGMA cache_size = -8000")
    except BaseException as err:
        if connection is not None:
            connection.close()
        if isinstance(err, apsw.Error):
            raise store_error(path, err) from err
        raise
    return connection


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a better message comes when it is opened
        return 0


def _check_log(path: Path) -> None:
    """Raise StoreError when a write-ahead log lies beside an empty file: SQLite would delete it unread."""
    log = path.with_name(f"{path.name}-wal")
    # Who makes a file writes to it before the log: it has a size now, if the log is of one that is just being made.
    if _size(log) and not _size(path):
        raise StoreError(
            f"store {path}: the file is empty or removed, its write-ahead log {log.name} is not; "
            "put the file back beside it, or move the log away and restore the file from a backup"
        )


def check_schema(connection: apsw.Connection, path: Path) -> None:
    """Raise SchemaVersionError when another program has changed the schema since the file was opened.

    Takes a microsecond. Inside a transaction the answer holds until its end.
    """
    [[version]] = connection.execute("PRAGMA user_version")
    if version != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"store {path} was brought from schema {SCHEMA_VERSION} to {version} while it was open here; "
            "end this program and start it again, with the version of kastra-plugin-libsql that the others have"
        )


def number(connection: apsw.Connection, pragma: str) -> int:
    """A pragma whose answer is one whole number."""
    [[value]] = connection.execute(f"PRAGMA {pragma}")
    return int(value)


def found_schema(connection: apsw.Connection, path: Path) -> int:
    """The schema version found, 0 in an empty file. Raises when this program must not touch the file.

    Raises: SchemaVersionError, StoreError.
    """
    with _one_look(connection):  # another process may be making the tables just now
        version = number(connection, "user_version")
        ours = number(connection, "application_id") == APPLICATION_ID
        used = any(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall())
    if not ours and used:
        if version > SCHEMA_VERSION:
            raise SchemaVersionError(_too_new(path, version, ""))
        raise StoreError(f"store {path} is a database of another program; name another file")
    if version > SCHEMA_VERSION:
        writer = ""
        if ours:
            for (by,) in connection.execute("SELECT value FROM meta WHERE key = 'written_by'"):
                writer = f", written by {by}"
        raise SchemaVersionError(_too_new(path, version, writer))
    return version


@contextmanager
def _one_look(connection: apsw.Connection) -> Iterator[None]:
    """One snapshot for the length of the block."""
    own = not connection.in_transaction
    if own:
        connection.execute("BEGIN")
    try:
        yield
    finally:
        # After some errors, of a full disk for example, SQLite has ended it already.
        if own and connection.in_transaction:
            connection.execute("ROLLBACK")


def _too_new(path: Path, version: int, writer: str) -> str:
    return (
        f"store {path} has schema {version}{writer}; this program knows schemas up to {SCHEMA_VERSION}: "
        "install that version of kastra-plugin-libsql or a newer one, bring the store down with that version "
        f"(`kastra store migrate --to {SCHEMA_VERSION}`), or name another file"
    )


def _bring_up(connection: apsw.Connection, path: Path, timeout_s: float) -> None:
    found_schema(connection, path)
    write_ahead(connection, timeout_s)
    connection.execute("BEGIN IMMEDIATE")
    # Again, under the lock: another process may have done it meanwhile.
    version = found_schema(connection, path)
    backup: Path | None = None
    try:
        if version < SCHEMA_VERSION:
            if version:
                from kastra_plugin_libsql._admin_backup import backup_before_migration

                backup = backup_before_migration(path, version).path
            take_steps(connection, version, SCHEMA_VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if backup is not None:
            drop_backup(connection, version, backup)
        raise
    if backup is not None:
        import logging  # here, for the first time in many programs

        logging.getLogger("kastra.libsql").warning(
            "store %s was brought from schema %d to %d; backup: %s", path, version, SCHEMA_VERSION, backup
        )


def drop_backup(connection: apsw.Connection, version: int, backup: Path) -> None:
    """After steps that failed, take them back: nobody needs the copy of a file that is as it was."""
    with suppress(apsw.Error, OSError):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if number(connection, "user_version") == version:
            backup.unlink()


def take_steps(connection: apsw.Connection, before: int, after: int) -> None:
    """Bring the schema from ``before`` to ``after`` inside the open transaction. Raises: ValueError, apsw.Error."""
    from importlib.metadata import version as version_of

    from kastra_plugin_libsql._migrations import path_between

    def run(sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        rows: list[Any] = connection.execute(sql, bindings).fetchall()
        return rows

    for step in path_between(before, after):
        for statement in step.up if before < after else step.down:
            connection.execute(statement)
        if before < after and step.carry is not None:
            step.carry(run)
    writer = f"kastra-plugin-libsql {version_of('kastra-plugin-libsql')}"
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('written_by', ?)", (writer,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {after}")


def write_ahead(connection: apsw.Connection, timeout_s: float) -> None:
    """Switch the file to a write-ahead log."""
    # SQLite does not wait by itself when two processes switch a new file to WAL at once.
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
