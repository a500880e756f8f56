"""The schema's numbered steps, as data: whoever can run SQL statements in one transaction can carry them out.

A resource's JSON is kept once, in the log: ``resources`` points at the row of its present version. So a write is one
insert and one small update, and a watch is a scan of the log. Tables whose rows may be large have an integer key (a
large row in a WITHOUT ROWID table leaves most of its page empty); ``journal.id`` and ``messages.id`` are (owner's
id << 32) + number within the owner, so the rows of one run or thread lie together and in order.
"""

# ruff: noqa: S608 - the names put into statements are this file's own

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs

from kastra_plugin_libsql._payloads import COLUMNS, INLINE_BYTES, row_holder, split

__all__ = ["MIGRATIONS", "Migration", "Run", "path_between"]

Run: TypeAlias = Callable[[str, tuple[Any, ...]], Iterable[Any]]
"""Carries out one statement with its bindings and gives its rows, inside the transaction of the steps."""


@attrs.frozen(kw_only=True)
class Migration:
    """Between schema ``number - 1`` and ``number``; the number itself is written by whoever runs the steps."""

    number: int
    title: str
    up: tuple[str, ...]
    """One statement each, without bindings."""
    down: tuple[str, ...] = ()
    """Empty: there is no way down."""
    loses: str = ""
    """What ``down`` gives up."""
    carry: Callable[[Run], None] | None = None
    """Called after ``up`` where data may be there already. It saves space; without it all is right as well."""


def path_between(before: int, after: int) -> tuple[Migration, ...]:
    """The steps from one schema to another, in the order to take them. Raises: ValueError when there is no way."""
    if not 0 <= before <= len(MIGRATIONS) or not 0 <= after <= len(MIGRATIONS):
        raise ValueError(f"this program knows schemas up to {len(MIGRATIONS)}")
    if before <= after:
        return MIGRATIONS[before:after]
    steps = tuple(reversed(MIGRATIONS[after:before]))
    for step in steps:
        if not step.down:
            raise ValueError(f"there is no way down from schema {step.number}")
    return steps


_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID",
    "INSERT INTO meta VALUES ('horizon', 0), ('lease_epoch', 0)",
    "CREATE TABLE kinds (id INTEGER PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, UNIQUE (grp, kind)) STRICT",
    """CREATE TABLE log (
        rv INTEGER PRIMARY KEY, type INTEGER NOT NULL, kind INTEGER NOT NULL, time INTEGER NOT NULL,
        namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE resources (
        kind INTEGER NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, rv INTEGER NOT NULL,
        uid TEXT NOT NULL, labels TEXT, owners TEXT,
        PRIMARY KEY (kind, namespace, name)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE owners (
        owner TEXT NOT NULL, kind INTEGER NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY (owner, kind, namespace, name)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL) STRICT",
    """CREATE TABLE claims (
        run INTEGER PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        holder TEXT NOT NULL, wake_at REAL
    ) STRICT""",
    """CREATE TABLE journal (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, path TEXT NOT NULL, time REAL NOT NULL, record BLOB NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX journal_path ON journal (run, path)",
    """CREATE TABLE signals (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, signal_id TEXT NOT NULL, name TEXT NOT NULL,
        payload BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX signals_run ON signals (run, signal_id)",
    """CREATE TABLE leases (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires REAL NOT NULL, epoch INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE scopes (scope TEXT PRIMARY KEY, token INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE state (
        id INTEGER PRIMARY KEY, scope TEXT NOT NULL, key TEXT NOT NULL, expires REAL, value BLOB NOT NULL,
        UNIQUE (scope, key)
    ) STRICT""",
    "CREATE INDEX state_expires ON state (expires) WHERE expires IS NOT NULL",
    """CREATE TABLE threads (
        id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, thread TEXT NOT NULL, messages INTEGER NOT NULL,
        last_seq INTEGER NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
        UNIQUE (namespace, thread)
    ) STRICT""",
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY, time REAL NOT NULL, run TEXT NOT NULL, message BLOB NOT NULL
    ) STRICT""",
    "CREATE TABLE blobs (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, data BLOB NOT NULL) STRICT",
    "CREATE TABLE collections (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, length INTEGER NOT NULL) STRICT",
    """CREATE TABLE vectors (
        id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, name TEXT NOT NULL, metadata TEXT NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE (collection, name)
    ) STRICT""",
)

# Digests as resources and records name them. Made once, SQLite gives it an index of its own.
_NAMED = "WITH named (digest, id) AS MATERIALIZED (SELECT 'sha256:' || lower(hex(digest)), id FROM blobs)"

_HOLDS = (
    """CREATE TABLE holds (
        holder TEXT NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY (holder, blob)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX holds_blob ON holds (blob)",
    "CREATE TABLE commits (token BLOB PRIMARY KEY, time REAL NOT NULL, results TEXT NOT NULL) STRICT, WITHOUT ROWID",
    # What a run pinned, and the large results that its journal names, are the run's.
    f"""INSERT OR IGNORE INTO holds (holder, blob) {_NAMED}
    SELECT r.uid, n.id FROM kinds k JOIN resources r ON r.kind = k.id JOIN log l ON l.rv = r.rv
        JOIN named n ON n.digest = json_extract(CAST(l.body AS TEXT), '$.spec.pinned')
    WHERE k.kind = 'Run'""",
    f"""INSERT OR IGNORE INTO holds (holder, blob) {_NAMED}
    SELECT r.uid, n.id FROM journal j JOIN runs r ON r.id = j.run
        JOIN named n ON n.digest = json_extract(CAST(j.record AS TEXT), '$.blob')""",
    "INSERT INTO holds (holder, blob) SELECT '', id FROM blobs WHERE id NOT IN (SELECT blob FROM holds)",
    f"""{_NAMED}
    UPDATE journal SET record = CAST(
        json_set(json_remove(CAST(record AS TEXT), '$.blob'), '$.r', json(CAST(b.data AS TEXT))) AS BLOB
    )
    FROM named n JOIN blobs b ON b.id = n.id
    WHERE n.digest = json_extract(CAST(record AS TEXT), '$.blob') AND json_valid(CAST(b.data AS TEXT))""",
    """CREATE TRIGGER holds_let_go AFTER DELETE ON holds BEGIN
        DELETE FROM blobs WHERE id = OLD.blob AND NOT EXISTS (SELECT 1 FROM holds WHERE blob = OLD.blob);
    END""",
    *(
        f"""CREATE TRIGGER {table}_let_go AFTER DELETE ON {table} WHEN substr(OLD.{column}, 1, 1) = x'00' BEGIN
        DELETE FROM holds WHERE holder = char(1) || '{word}/' || OLD.{key};
    END"""
        for word, (table, key, column) in COLUMNS.items()
    ),
    """CREATE TRIGGER state_change_let_go AFTER UPDATE OF value ON state
    WHEN substr(OLD.value, 1, 1) = x'00' AND OLD.value IS NOT NEW.value BEGIN
        DELETE FROM holds WHERE holder = char(1) || 'state/' || OLD.id;
    END""",
)

_ADD_ONE = "INSERT INTO counts VALUES (NEW.kind, 1) ON CONFLICT DO UPDATE SET resources = resources + 1"
_TAKE_ONE = "UPDATE counts SET resources = resources - 1 WHERE kind = OLD.kind"

_COUNTS = (
    "CREATE TABLE counts (kind INTEGER PRIMARY KEY, resources INTEGER NOT NULL) STRICT",
    "INSERT INTO counts (kind, resources) SELECT kind, count(*) FROM resources GROUP BY kind",
    f"CREATE TRIGGER resources_count AFTER INSERT ON resources BEGIN {_ADD_ONE}; END",
    f"CREATE TRIGGER resources_discount AFTER DELETE ON resources BEGIN {_TAKE_ONE}; END",
    # Never in daily work: when a backup is put in place, kinds may get other numbers.
    f"CREATE TRIGGER resources_recount AFTER UPDATE OF kind ON resources BEGIN {_TAKE_ONE}; {_ADD_ONE}; END",
)

_NO_COUNTS = (
    "DROP TRIGGER resources_recount",
    "DROP TRIGGER resources_discount",
    "DROP TRIGGER resources_count",
    "DROP TABLE counts",
)

_NO_HOLDS = (
    "DROP TRIGGER state_change_let_go",
    *(f"DROP TRIGGER {table}_let_go" for table, _, _ in COLUMNS.values()),
    *(
        f"""UPDATE {table} SET {column} = (SELECT data FROM blobs WHERE digest = substr({column}, 2))
    WHERE substr({column}, 1, 1) = x'00'"""
        for table, _, column in COLUMNS.values()
    ),
    # Those of rows; one that an operation named has a second char(1).
    "DELETE FROM holds WHERE substr(holder, 1, 1) = char(1) AND substr(holder, 2, 1) <> char(1)",
    "DROP TABLE holds",
    "DROP TABLE commits",
)


_VECTOR_HOLDERS = (
    "ALTER TABLE vectors ADD COLUMN holder TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX vectors_holder ON vectors (holder, collection) WHERE holder <> ''",
)

_NO_VECTOR_HOLDERS = ("DROP INDEX vectors_holder", "ALTER TABLE vectors DROP COLUMN holder")


def _move_large(run: Run) -> None:
    for word, (table, key, column) in COLUMNS.items():
        large = run(f"SELECT {key} FROM {table} WHERE length({column}) > ?", (INLINE_BYTES,))
        for (at,) in list(large):
            [(body,)] = run(f"SELECT {column} FROM {table} WHERE {key} = ?", (at,))
            marker, payload = split(bytes(body), INLINE_BYTES)
            run(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (marker, at))
            run("INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT DO NOTHING", (marker[1:], payload))
            run(
                "INSERT INTO holds (holder, blob) SELECT ?, id FROM blobs WHERE digest = ?",
                (row_holder(word, at), marker[1:]),
            )


MIGRATIONS = (
    Migration(number=1, title="tables for resources, journals, leases, state, threads, vectors and blobs", up=_FIRST),
    Migration(
        number=2,
        title="blobs know who holds them, and keep what is too large for its row; resources are counted",
        up=_HOLDS + _COUNTS,
        down=_NO_COUNTS + _NO_HOLDS,
        loses="who holds which blob: all blobs that are held now stay until they are deleted one by one",
        carry=_move_large,
    ),
    Migration(
        number=3,
        title="vectors know who holds them",
        up=_VECTOR_HOLDERS,
        down=_NO_VECTOR_HOLDERS,
        loses="who holds which vector: those of a thread stay when the thread is deleted",
    ),
)
"""Number n (from 1), at index n - 1, brings a database of schema n-1 to schema n."""
