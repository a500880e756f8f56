"""Tables, and how a database file is brought to them."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import apsw

from kastra_core.errors import SchemaVersionError, StoreError, StoreUnavailableError
from kastra_plugin_libsql._errors import store_error

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "connect", "open_database"]

_APPLICATION_ID = 0x4B415354  # "KAST"

# A resource's JSON is kept once, in the log: `resources` points at the row of its present version. So a write
# is one insert and one small update, and a watch is a scan of the log. Tables whose rows may be large have an
# integer key (a large row in a WITHOUT ROWID table leaves most of its page empty); `journal.id` and `messages.id`
# are (owner's id << 32) + number within the owner, so the rows of one run or thread lie together and in order.
_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('horizon', 0), ('lease_epoch', 0);
CREATE TABLE kinds (id INTEGER PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, UNIQUE (grp, kind)) STRICT;
CREATE TABLE log (
    rv INTEGER PRIMARY KEY, type INTEGER NOT NULL, kind INTEGER NOT NULL, time INTEGER NOT NULL,
    namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE resources (
    kind INTEGER NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, rv INTEGER NOT NULL,
    uid TEXT NOT NULL, labels TEXT, owners TEXT,
    PRIMARY KEY (kind, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE owners (
    owner TEXT NOT NULL, kind INTEGER NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (owner, kind, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL) STRICT;
CREATE TABLE claims (
    run INTEGER PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    holder TEXT NOT NULL, wake_at REAL
) STRICT;
CREATE TABLE journal (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, path TEXT NOT NULL, time REAL NOT NULL, record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_path ON journal (run, path);
CREATE TABLE signals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, signal_id TEXT NOT NULL, name TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX signals_run ON signals (run, signal_id);
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires REAL NOT NULL, epoch INTEGER NOT NULL, data BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE scopes (scope TEXT PRIMARY KEY, token INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, key TEXT NOT NULL, expires REAL, value BLOB NOT NULL,
    UNIQUE (scope, key)
) STRICT;
CREATE INDEX state_expires ON state (expires) WHERE expires IS NOT NULL;
CREATE TABLE threads (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, thread TEXT NOT NULL, messages INTEGER NOT NULL,
    last_seq INTEGER NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
    UNIQUE (namespace, thread)
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, run TEXT NOT NULL, message BLOB NOT NULL
) STRICT;
CREATE TABLE blobs (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;
CREATE TABLE collections (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, length INTEGER NOT NULL) STRICT;
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, name TEXT NOT NULL, metadata TEXT NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (collection, name)
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Number n (from 1) brings a database of schema n-1 to schema n."""

SCHEMA_VERSION = len(MIGRATIONS)


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
    if not path.exists():
        # Conversations lie in it, for their owner only; what SQLite puts beside it has the same mode.
        with suppress(OSError):  # a better message comes when it is opened
            path.touch(mode=0o600)
    connection = None
    try:
        connection = connect(path, timeout_s)
        if _number(connection, "user_version") != SCHEMA_VERSION:
            _migrate(connection, path, timeout_s)
        connection.execute("PRAGMA query_only = 1; PRAGMA cache_size = -8000")
    except BaseException as err:
        if connection is not None:
            connection.close()
        if isinstance(err, apsw.Error):
            raise store_error(path, err) from err
        raise
    return connection


def _number(connection: apsw.Connection, pragma: str) -> int:
    [[value]] = connection.execute(f"PRAGMA {pragma}")
    return int(value)


def _check(connection: apsw.Connection, path: Path) -> int:
    """The schema version found. Raises when this program must not touch the file."""
    version = _number(connection, "user_version")
    if version > SCHEMA_VERSION:
        writer = ""
        if _number(connection, "application_id") == _APPLICATION_ID:
            for (by,) in connection.execute("SELECT value FROM meta WHERE key = 'written_by'"):
                writer = f", written by {by}"
        raise SchemaVersionError(
            f"store {path} has schema {version}{writer}; this program knows schemas up to {SCHEMA_VERSION}: "
            "install that version of kastra-plugin-libsql or a newer one, or name another file"
        )
    foreign = _number(connection, "application_id") != _APPLICATION_ID
    if foreign and any(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1")):
        raise StoreError(f"store {path} is a database of another program; name another file")
    return version


def _migrate(connection: apsw.Connection, path: Path, timeout_s: float) -> None:
    from importlib.metadata import version as version_of

    _check(connection, path)
    _write_ahead(connection, timeout_s)
    connection.execute("BEGIN IMMEDIATE")
    # Again, under the lock: another process may have done it meanwhile.
    version = _check(connection, path)
    if version < SCHEMA_VERSION:
        for migration in MIGRATIONS[version:]:
            connection.execute(migration)
        writer = f"kastra-plugin-libsql {version_of('kastra-plugin-libsql')}"
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('written_by', ?)", (writer,))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _write_ahead(connection: apsw.Connection, timeout_s: float) -> None:
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
