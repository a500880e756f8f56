"""The facets for state, threads and blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import NotFoundError
from kastra_core.protocols.store import PutBlob, SetState, StoredMessage, ThreadInfo
from kastra_plugin_libsql._database import Database
from kastra_plugin_libsql._operations import prepare
from kastra_plugin_libsql._transaction import Transaction
from kastra_plugin_libsql._watch import Hub
from kastra_plugin_libsql._writer import Writer

__all__ = ["Blobs", "State", "Threads"]


class State:
    def __init__(self, database: Database, writer: Writer, hub: Hub) -> None:
        self._db, self._writer, self._hub = database, writer, hub

    async def get_value(self, scope: str, key: str) -> JsonValue:
        row = self._db.first(
            "SELECT value FROM state WHERE scope = ? AND key = ? AND (expires IS NULL OR expires > ?)",
            (scope, key, self._db.settings.clock()),
        )
        return orjson.loads(row[0]) if row else None

    async def set_value(self, scope: str, key: str, value: JsonValue, *, ttl_s: float | None = None) -> None:
        await self._writer.submit([prepare(SetState(scope, {key: value}, ttl_s))])

    async def update_values(self, scope: str, values: Mapping[str, JsonValue], *, ttl_s: float | None = None) -> None:
        await self._writer.submit([prepare(SetState(scope, values, ttl_s))])

    async def get_state(self, scope: str) -> JsonObject:
        return self._now(scope)

    def _now(self, scope: str) -> JsonObject:
        rows = self._db.rows(
            "SELECT key, value FROM state WHERE scope = ? AND (expires IS NULL OR expires > ?) ORDER BY key",
            (scope, self._db.settings.clock()),
        )
        return {key: orjson.loads(body) for key, body in rows}

    def watch_state(self, scope: str) -> AsyncIterator[JsonObject]:
        return self._hub.watch_state(scope, lambda: self._now(scope))


class Threads:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def last_seq(self, namespace: str, thread: str) -> int:
        row = self._db.first("SELECT last_seq FROM threads WHERE namespace = ? AND thread = ?", (namespace, thread))
        return int(row[0]) if row else 0

    async def messages(
        self, namespace: str, thread: str, *, up_to: int | None = None, last: int | None = None
    ) -> Sequence[StoredMessage]:
        row = self._db.first("SELECT id FROM threads WHERE namespace = ? AND thread = ?", (namespace, thread))
        if row is None:
            return []
        first = row[0] << 32
        end = 0xFFFFFFFF if up_to is None else max(0, min(up_to, 0xFFFFFFFF))
        rows = self._db.rows(
            "SELECT id, message, run, time FROM messages WHERE id > ? AND id <= ? ORDER BY id DESC LIMIT ?",
            (first, first + end, -1 if last is None else max(last, 0)),
        )
        return [StoredMessage(at - first, orjson.loads(body), run, time_s) for at, body, run, time_s in reversed(rows)]

    async def list(self, namespace: str | None = None) -> Sequence[ThreadInfo]:
        rows = self._db.rows(
            "SELECT namespace, thread, messages, last_seq, created, updated FROM threads"
            " WHERE ?1 IS NULL OR namespace = ?1 ORDER BY namespace, thread",
            (namespace,),
        )
        return [ThreadInfo(*row) for row in rows]


def _digest(text: str) -> bytes | None:
    kind, _, digits = text.partition(":")
    try:
        return bytes.fromhex(digits) if kind == "sha256" else None
    except ValueError:
        return None


class Blobs:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._db, self._writer = database, writer

    async def put(self, data: bytes) -> str:
        [digest] = await self._writer.submit([prepare(PutBlob(data))])
        return str(digest)

    async def get(self, digest: str) -> bytes:
        row = self._db.first("SELECT data FROM blobs WHERE digest = ?", (_digest(digest),))
        if row is None:
            raise NotFoundError(f"blob {digest}")
        return bytes(row[0])

    async def has(self, digest: str) -> bool:
        return self._db.first("SELECT 1 FROM blobs WHERE digest = ?", (_digest(digest),)) is not None

    async def delete(self, digest: str) -> bool:
        def step(tx: Transaction) -> bool:
            tx.execute("DELETE FROM blobs WHERE digest = ?", (_digest(digest),))
            return tx.changes() > 0

        [deleted] = await self._writer.submit([step])
        return bool(deleted)
