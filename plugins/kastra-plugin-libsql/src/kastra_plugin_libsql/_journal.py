"""The journal facet and the lease facet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from kastra_core.api.meta import JsonObject, ResourceKey
from kastra_core.protocols.store import Claim, Lease, Record, Signal
from kastra_plugin_libsql._database import Database
from kastra_plugin_libsql._payloads import encode, resolved
from kastra_plugin_libsql._transaction import Transaction
from kastra_plugin_libsql._watch import Hub
from kastra_plugin_libsql._writer import Writer

__all__ = ["Journal", "Leases"]

_CLAIMS = (
    "SELECT r.uid, c.grp, c.kind, c.namespace, c.name, c.holder, r.epoch, c.wake_at"
    " FROM claims c CROSS JOIN runs r ON r.id = c.run"
)

# In one statement with the run's number: another run may have that number as soon as this one is gone.
_RUN = "(SELECT id << 32 FROM runs WHERE uid = ?1)"
_RECORDS = (
    f"SELECT path, {resolved('record')}, id, time FROM journal WHERE id > {_RUN} AND id <= {_RUN} + 0xFFFFFFFF"  # noqa: S608 - a column's name
    " ORDER BY id"
)
_SIGNALS = (
    f"SELECT s.seq, s.name, {resolved('s.payload')}, s.signal_id FROM signals s JOIN runs r ON r.id = s.run"  # noqa: S608 - a column's name
    " WHERE r.uid = ? ORDER BY s.seq"
)


def _claim(row: Any) -> Claim:
    uid, group, kind, namespace, name, holder, epoch, wake_at_s = row
    return Claim(uid, ResourceKey(group, kind, namespace, name), holder, epoch, wake_at_s)


def _lease(database: Database, row: Any) -> Lease:
    name, holder, expires, epoch, data = row
    return Lease(name, holder, expires, epoch, database.json(data))


class Journal:
    def __init__(self, database: Database, hub: Hub) -> None:
        self._db, self._hub = database, hub

    async def records(self, run: str) -> Sequence[Record]:
        def record(path: str, body: bytes, at: int, time_s: float) -> Record:
            return Record(path, self._db.json(body), at & 0xFFFFFFFF, time_s)

        return await self._db.each(record, _RECORDS, (run,))

    async def claims(self) -> Sequence[Claim]:
        return [_claim(row) for row in self._db.rows(_CLAIMS)]

    async def claim(self, run: str) -> Claim | None:
        row = self._db.first(_CLAIMS.replace(" CROSS ", " ") + " WHERE r.uid = ?", (run,))
        return _claim(row) if row else None

    async def signals(self, run: str) -> Sequence[Signal]:
        rows = self._db.rows(
            _SIGNALS,
            (run,),
        )
        return [Signal(run, seq, name, self._db.json(payload), signal_id) for seq, name, payload, signal_id in rows]

    def watch_signals(self) -> AsyncIterator[Signal]:
        return self._hub.watch_signals()


class Leases:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._db, self._writer = database, writer

    async def acquire(self, name: str, holder: str, ttl_s: float, data: JsonObject | None = None) -> Lease | None:
        given = None if data is None else encode(data, f"lease {name}")

        def step(tx: Transaction) -> Lease | None:
            row = tx.first("SELECT holder, expires, epoch, data FROM leases WHERE name = ?", (name,))
            held = row is not None and row[1] > tx.now
            if held and row[0] != holder:
                return None
            if held:
                epoch, body = row[2], given or row[3]
                self._db.json(body)  # before the first write: what is damaged fails with nothing done
            else:
                # Counts for the whole store: a lease that was released and taken again gets a higher one.
                [epoch] = tx.first("UPDATE meta SET value = value + 1 WHERE key = 'lease_epoch' RETURNING value", ())
                body = given or b"{}"
            expires = tx.now + ttl_s
            tx.execute(
                "INSERT OR REPLACE INTO leases (name, holder, expires, epoch, data) VALUES (?, ?, ?, ?, ?)",
                (name, holder, expires, epoch, body),
            )
            return Lease(name, holder, expires, epoch, self._db.json(body))

        [lease] = await self._writer.submit([step])
        return lease  # type: ignore[no-any-return]  # results of a commit are Any

    async def release(self, name: str, holder: str) -> bool:
        def step(tx: Transaction) -> bool:
            tx.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))
            return tx.changes() > 0

        [released] = await self._writer.submit([step])
        return bool(released)

    async def get(self, name: str) -> Lease | None:
        row = self._db.first("SELECT name, holder, expires, epoch, data FROM leases WHERE name = ?", (name,))
        return _lease(self._db, row) if row else None

    async def list(self, prefix: str = "") -> Sequence[Lease]:
        rows = self._db.rows(
            "SELECT name, holder, expires, epoch, data FROM leases WHERE substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix), prefix),
        )
        return [_lease(self._db, row) for row in rows]
