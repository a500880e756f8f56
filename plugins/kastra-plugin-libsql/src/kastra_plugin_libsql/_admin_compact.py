"""Removing what is not needed any more from a database file, while others use it."""

from __future__ import annotations

from glob import escape

import apsw

from kastra_core.errors import StoreUnavailableError
from kastra_plugin_libsql._admin_backup import Stop, sweep_parts
from kastra_plugin_libsql._admin_status import live_workers
from kastra_plugin_libsql._schema import check_schema, connect
from kastra_plugin_libsql._transaction import Transaction
from kastra_plugin_libsql._url import Settings

__all__ = ["compact_file"]

_CHUNK = 2000
"""Versions looked at in one transaction: others wait for some milliseconds at most."""

_READERS_MS = 2000

_NOT_NEEDED = {
    "state": "DELETE FROM state WHERE expires <= ?1",
    "leases": "DELETE FROM leases WHERE expires <= ?1",
    "blobs": "DELETE FROM blobs WHERE ?1 IS NOT NULL AND id NOT IN (SELECT blob FROM holds)",
}
"""By facet."""


def compact_file(settings: Settings, stop: Stop) -> dict[str, int]:
    """Returns how many rows of each facet were removed, and how many copies that were never finished."""
    left = sweep_parts(settings.path.parent, escape(settings.path.name))
    with stop.uses(connect(settings.path, settings.timeout_s)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        try:
            removed = _remove(connection, settings, stop)
            connection.execute("VACUUM")
        except apsw.BusyError as err:
            users = live_workers(connection, settings.clock())
            who = f"workers that use it: {', '.join(users)}" if users else "no worker has a lease, so another program"
            raise StoreUnavailableError(
                f"store {settings.path}: others kept it locked for {settings.timeout_s:g} s ({who}); "
                "what was removed so far is removed; try again when they have less to do, or end them"
            ) from err
        # Whoever reads an old state now keeps the write-ahead log in use; then it shrinks when the last one closes.
        connection.set_busy_timeout(_READERS_MS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return {**removed, "unfinished copies": left} if left else removed


def _remove(connection: apsw.Connection, settings: Settings, stop: Stop) -> dict[str, int]:
    removed = {"history": 0}
    more = True
    while more:
        stop.check()
        connection.execute("BEGIN IMMEDIATE")
        try:
            check_schema(connection, settings.path)
            tx = Transaction(connection, {}, settings.clock())
            before = connection.total_changes()
            more = _cut_history(tx, settings)
            removed["history"] += max(0, connection.total_changes() - before - 1) if more else 0
            if not more:
                for facet, sql in _NOT_NEEDED.items():
                    tx.execute(sql, (tx.now,))
                    removed[facet] = tx.changes()
                tx.execute("DELETE FROM scopes WHERE scope NOT IN (SELECT scope FROM state)")
                tx.sweep_commits()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return removed


def _cut_history(tx: Transaction, settings: Settings) -> bool:
    """Move the horizon a bit towards where it should be; False when it is there."""
    [old] = tx.first("SELECT max(rv) FROM log WHERE rv > ? AND time < ?", (tx.horizon, tx.now - settings.history_s))
    target = min(max(old or 0, tx.rv - settings.history_events), tx.rv - 1)
    if target <= tx.horizon:
        return False
    tx.compact(min(target, tx.horizon + _CHUNK))
    return True
