"""That a database file is sound: its structure, and that the rows of all tables agree with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

__all__ = ["check_soundness", "rows_of"]

_NONE: tuple[tuple[str, str], ...] = (
    ("a resource without its version in the log", "SELECT * FROM resources WHERE rv NOT IN (SELECT rv FROM log)"),
    (
        "an old version below the horizon",
        "SELECT rv FROM log WHERE rv <= (SELECT value FROM meta WHERE key = 'horizon')"
        " AND rv NOT IN (SELECT rv FROM resources)",
    ),
    (
        "a gap in the log above the horizon",
        "SELECT count(*), max(rv), value FROM log JOIN meta ON key = 'horizon' WHERE rv > value"
        " HAVING count(*) <> max(rv) - value",
    ),
    (
        "an owner that no resource names",
        "SELECT * FROM owners o WHERE NOT EXISTS (SELECT 1 FROM resources r, json_each(r.owners) j"
        " WHERE r.kind = o.kind AND r.namespace = o.namespace AND r.name = o.name AND j.value = o.owner)",
    ),
    (
        "an owner that is not found",
        "SELECT r.name FROM resources r, json_each(r.owners) j WHERE NOT EXISTS (SELECT 1 FROM owners o"
        " WHERE r.kind = o.kind AND r.namespace = o.namespace AND r.name = o.name AND j.value = o.owner)",
    ),
    ("a record without run", "SELECT id FROM journal WHERE run NOT IN (SELECT id FROM runs) OR run <> id >> 32"),
    ("a claim without run", "SELECT run FROM claims WHERE run NOT IN (SELECT id FROM runs)"),
    ("a signal without run", "SELECT seq FROM signals WHERE run NOT IN (SELECT id FROM runs)"),
    ("a message without thread", "SELECT id FROM messages WHERE id >> 32 NOT IN (SELECT id FROM threads)"),
    (
        "a thread that counts wrongly",
        "SELECT id, messages FROM threads t WHERE messages <>"
        " (SELECT count(*) FROM messages m WHERE m.id BETWEEN t.id << 32 AND (t.id << 32) + 4294967295)",
    ),
    ("a value without scope", "SELECT scope FROM state WHERE scope NOT IN (SELECT scope FROM scopes)"),
    ("a scope without value", "SELECT scope FROM scopes WHERE scope NOT IN (SELECT scope FROM state)"),
    ("a vector without collection", "SELECT id FROM vectors WHERE collection NOT IN (SELECT id FROM collections)"),
    ("a hold of no blob", "SELECT holder FROM holds WHERE blob NOT IN (SELECT id FROM blobs)"),
    ("a blob that nobody holds", "SELECT id FROM blobs WHERE id NOT IN (SELECT blob FROM holds)"),
)

_MOVED: tuple[tuple[str, str, str, str], ...] = (
    ("journal", "id", "record", "journal"),
    ("signals", "seq", "payload", "signal"),
    ("messages", "id", "message", "message"),
    ("state", "id", "value", "state"),
)
"""Tables whose large values are blobs: table, key, column, the holder's first word."""


def rows_of(path: Path, sql: str) -> list[Any]:
    """What a connection of its own reads."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(5000)
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def check_soundness(path: Path) -> None:
    """Fails with what is wrong."""
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]
    for what, sql in _NONE:
        assert rows_of(path, sql) == [], what
    for table, id_, column, word in _MOVED:
        moved = (
            f"SELECT char(1) || '{word}/' || {id_} AS holder, substr({column}, 2) AS digest FROM {table}"
            f" WHERE substr({column}, 1, 1) = x'00'"
        )
        holds = f"SELECT h.holder, b.digest FROM holds h JOIN blobs b ON b.id = h.blob WHERE h.holder GLOB char(1) || '{word}/*'"  # noqa: E501
        assert rows_of(path, f"{moved} EXCEPT {holds}") == [], f"a large value of {table} that nothing holds"
        assert rows_of(path, f"{holds} EXCEPT {moved}") == [], f"a hold for no large value of {table}"
