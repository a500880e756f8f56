"""One write transaction: what the operations of a group of commits share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import apsw

__all__ = ["ADDED", "DELETED", "MODIFIED", "EventRow", "Step", "Transaction"]

ADDED, MODIFIED, DELETED = 0, 1, 2

EventRow: TypeAlias = tuple[int, int, int, str, bytes]
"""rv, type, id of the kind, namespace, JSON of the resource without resourceVersion."""


class Transaction:
    """The open transaction of the writer. Counters live here until it ends; a failed commit sets them back."""

    __slots__ = ("changes", "events", "execute", "horizon", "kinds", "new_kinds", "now", "rv", "scopes", "signals")

    def __init__(self, connection: apsw.Connection, kinds: dict[tuple[str, str], int], now: float) -> None:
        self.execute = connection.execute
        self.changes = connection.changes
        self.kinds, self.now = kinds, now
        self.new_kinds: dict[tuple[str, str], int] = {}
        self.events: list[EventRow] = []
        self.scopes = self.signals = False
        # The write lock is held: nobody else hands out numbers until the end.
        [(rv, horizon)] = self.execute("SELECT (SELECT max(rv) FROM log), value FROM meta WHERE key = 'horizon'")
        self.rv: int = max(rv or 0, horizon)
        self.horizon: int = horizon

    def first(self, sql: str, bindings: tuple[Any, ...] = ()) -> Any:
        """The first row, or None."""
        return next(self.execute(sql, bindings), None)

    def kind(self, group: str, kind: str) -> int:
        """Id of a kind, given to it at its first use."""
        pair = (group, kind)
        found = self.kinds.get(pair) or self.new_kinds.get(pair)
        if found is None:
            row = self.first("SELECT id FROM kinds WHERE grp = ? AND kind = ?", pair)
            if row is None:
                row = self.first("INSERT INTO kinds (grp, kind) VALUES (?, ?) RETURNING id", pair)
            found = self.new_kinds[pair] = int(row[0])
        return int(found)

    def run(self, uid: str) -> int:
        """Id of a run, given to it at its first use."""
        row = self.first("SELECT id FROM runs WHERE uid = ?", (uid,))
        if row is None:
            row = self.first("INSERT INTO runs (uid, epoch) VALUES (?, 0) RETURNING id", (uid,))
        return int(row[0])

    def log(self, type_: int, kind: int, namespace: str, name: str, body: bytes) -> int:
        """Write an event, return its resourceVersion."""
        self.rv = rv = self.rv + 1
        self.execute(
            "INSERT INTO log (rv, type, kind, time, namespace, name, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (rv, type_, kind, int(self.now), namespace, name, body),
        )
        self.events.append((rv, type_, kind, namespace, body))
        return rv

    def forget(self, rv: int) -> None:
        """Remove a version that is no longer the present one, when the log does not need it any more."""
        if rv <= self.horizon:
            self.execute("DELETE FROM log WHERE rv = ?", (rv,))

    def compact(self, rv: int) -> None:
        """Move the horizon up to ``rv``: events up to it that are nobody's present version go."""
        self.execute(
            "DELETE FROM log WHERE rv > ? AND rv <= ? AND rv IS NOT (SELECT r.rv FROM resources r"
            " WHERE r.kind = log.kind AND r.namespace = log.namespace AND r.name = log.name)",
            (self.horizon, rv),
        )
        self.execute("UPDATE meta SET value = ? WHERE key = 'horizon'", (rv,))
        self.horizon = rv


Step: TypeAlias = Callable[[Transaction], Any]
"""A prepared operation. It checks all its conditions before its first write, so alone it needs no savepoint."""
