"""One write transaction: what the operations of a group of commits share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import apsw

__all__ = ["ADDED", "DELETED", "MODIFIED", "Compound", "EventRow", "Step", "Transaction"]

ADDED, MODIFIED, DELETED = 0, 1, 2

_DELETE_ROWS = 256
_LEASES_KEPT_S = 86_400.0
_COMMITS_KEPT_S = 3600.0
"""Much longer than anybody tries to learn how a commit ended."""

EventRow: TypeAlias = tuple[int, int, int, str, bytes]
"""rv, type, id of the kind, namespace, JSON of the resource without resourceVersion."""


class Transaction:
    """The open transaction of the writer. Counters live here until it ends; a failed commit sets them back."""

    __slots__ = (
        "changes",
        "events",
        "execute",
        "fences",
        "horizon",
        "inserted",
        "kinds",
        "new_kinds",
        "now",
        "rv",
        "scopes",
        "signals",
    )

    def __init__(
        self,
        connection: apsw.Connection,
        kinds: dict[tuple[str, str], int],
        now: float,
        counters: tuple[int, int] | None = None,
        fences: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        """What is known when the last commit was of this connection.

        Args:
            counters: ``rv`` and ``horizon`` as it left them.
            fences: uid of a run -> (epoch of its present claim, id); kept true by what changes a claim.
        """
        self.execute = connection.execute
        self.changes = connection.changes
        self.inserted = connection.last_insert_rowid
        self.kinds, self.now = kinds, now
        self.fences = {} if fences is None else fences
        self.new_kinds: dict[tuple[str, str], int] = {}
        self.events: list[EventRow] = []
        self.scopes = self.signals = False
        if counters is None:
            # The write lock is held: nobody else hands out numbers until the end.
            [(rv, horizon)] = self.execute("SELECT (SELECT max(rv) FROM log), value FROM meta WHERE key = 'horizon'")
            counters = max(rv or 0, horizon), horizon
        self.rv: int = counters[0]
        self.horizon: int = counters[1]

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

    def keep(self, digest: bytes, data: bytes, holder: str) -> None:
        """Keep bytes once, and let ``holder`` hold them."""
        self.execute("INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, data))
        self.hold(digest, holder)

    def hold(self, digest: bytes, holder: str) -> None:
        """Let ``holder`` hold bytes that are there."""
        self.execute(
            "INSERT INTO holds (holder, blob) SELECT ?, id FROM blobs WHERE digest = ? ON CONFLICT DO NOTHING",
            (holder, digest),
        )

    def let_go(self, holder: str) -> int:
        """Release all that ``holder`` holds; what nobody holds any more goes by a trigger. Returns how many it held."""
        self.execute("DELETE FROM holds WHERE holder = ?", (holder,))
        return int(self.changes())

    def delete_all(self, table: str, owner: int) -> Generator[None, None, None]:
        """Delete the rows that belong to one run or thread, a few hundred at a time."""
        first = owner << 32
        [last] = self.first(f"SELECT max(id) FROM {table} WHERE id BETWEEN ? AND ?", (first, first | 0xFFFFFFFF))  # noqa: S608 - a table's name
        for at in range(first, (last or 0) + 1, _DELETE_ROWS):
            self.execute(f"DELETE FROM {table} WHERE id BETWEEN ? AND ?", (at, min(at + _DELETE_ROWS - 1, last)))  # noqa: S608
            yield

    def delete_where(self, table: str, key: str, condition: str, *bindings: Any) -> Generator[None, None, None]:
        """Delete the rows that meet a condition, a few hundred at a time; ``key`` is what tells rows apart."""
        sql = f"DELETE FROM {table} WHERE {key} IN (SELECT {key.strip('()')} FROM {table} WHERE {condition}"  # noqa: S608
        while True:
            self.execute(f"{sql} LIMIT {_DELETE_ROWS})", bindings)
            if self.changes() < _DELETE_ROWS:
                return
            yield

    def forget_collection(self, collection: int) -> None:
        """Remove a collection that has no vector left, so that its name may get vectors of another length."""
        if not self.first("SELECT 1 FROM vectors WHERE collection = ? LIMIT 1", (collection,)):
            self.execute("DELETE FROM collections WHERE id = ?", (collection,))

    def sweep_state(self, limit: int) -> None:
        """Remove values of state that have expired, ``limit`` of them at most."""
        # Asked first: that takes 0.7 us, the removal 5 us also when there is nothing.
        if self.first("SELECT 1 FROM state WHERE expires <= ?", (self.now,)):
            self.execute(
                "DELETE FROM state WHERE id IN (SELECT id FROM state WHERE expires <= ? LIMIT ?)", (self.now, limit)
            )

    def sweep_leases(self) -> None:
        """Remove leases that expired more than a day ago: nobody asks any more who had them."""
        self.execute("DELETE FROM leases WHERE expires < ?", (self.now - _LEASES_KEPT_S,))

    def sweep_commits(self) -> None:
        """Remove the answers of commits that nobody asks for any more."""
        self.execute("DELETE FROM commits WHERE time < ?", (self.now - _COMMITS_KEPT_S,))

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
"""A prepared operation. It checks all its conditions before its first write, so alone it needs no savepoint.

A long one is a generator that yields every few hundred rows, so that the loop gets its turns, and returns the result.
"""


class Compound:
    """A step of several operations: what the first ones wrote must go when a later one fails, so it needs a savepoint
    when it is alone too.
    """

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    def __call__(self, tx: Transaction) -> Any:
        return self._step(tx)
