"""The facets for state, threads and blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import NotFoundError
from kastra_core.protocols.store import PutBlob, SetState, StoredMessage, ThreadInfo
from kastra_plugin_libsql._database import Database
from kastra_plugin_libsql._operations import digest_of, prepare
from kastra_plugin_libsql._payloads import resolved
from kastra_plugin_libsql._transaction import Transaction
from kastra_plugin_libsql._watch import Hub
from kastra_plugin_libsql._writer import Writer

__all__ = ["Blobs", "State", "Threads", "threads_after"]

_LIVE = "(expires IS NULL OR expires > ?)"
_VALUE = f"SELECT {resolved('value')} FROM state WHERE scope = ? AND key = ? AND {_LIVE}"  # noqa: S608 - a column's name
_STATE = f"SELECT key, {resolved('value')} FROM state WHERE scope = ? AND {_LIVE} ORDER BY key"  # noqa: S608 - a column's name
# In one statement with the thread's number: another thread may have that number as soon as this one is gone.
_THREAD = "(SELECT id << 32 FROM threads WHERE namespace = ?1 AND thread = ?2)"
_MESSAGES = (
    f"SELECT id, {resolved('message')}, run, time FROM messages"  # noqa: S608 - a column's name
    f" WHERE id > {_THREAD} + ?5 AND id <= {_THREAD} + ?3 ORDER BY id DESC LIMIT ?4"
)
_INFOS = "SELECT namespace, thread, messages, last_seq, created, updated FROM threads"


class State:
    def __init__(self, database: Database, writer: Writer, hub: Hub) -> None:
        self._db, self._writer, self._hub = database, writer, hub
        self._inline_bytes = database.settings.inline_bytes

    async def get_value(self, scope: str, key: str) -> JsonValue:
        row = self._db.first(
            _VALUE,
            (scope, key, self._db.settings.clock()),
        )
        return self._db.json(row[0]) if row else None

    async def set_value(self, scope: str, key: str, value: JsonValue, *, ttl_s: float | None = None) -> None:
        await self._writer.submit([prepare(SetState(scope, {key: value}, ttl_s), self._inline_bytes)])

    async def update_values(self, scope: str, values: Mapping[str, JsonValue], *, ttl_s: float | None = None) -> None:
        await self._writer.submit([prepare(SetState(scope, values, ttl_s), self._inline_bytes)])

    async def get_state(self, scope: str) -> JsonObject:
        return self._now(scope)

    def _now(self, scope: str) -> JsonObject:
        rows = self._db.rows(
            _STATE,
            (scope, self._db.settings.clock()),
        )
        return {key: self._db.json(body) for key, body in rows}

    def watch_state(self, scope: str) -> AsyncIterator[JsonObject]:
        return self._hub.watch_state(scope, lambda: self._now(scope))


class Threads:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def last_seq(self, namespace: str, thread: str) -> int:
        row = self._db.first("SELECT last_seq FROM threads WHERE namespace = ? AND thread = ?", (namespace, thread))
        return int(row[0]) if row else 0

    async def messages(
        self, namespace: str, thread: str, *, up_to: int | None = None, last: int | None = None, after: int = 0
    ) -> Sequence[StoredMessage]:
        end = 0xFFFFFFFF if up_to is None else max(0, min(up_to, 0xFFFFFFFF))
        start = max(0, min(after, 0xFFFFFFFF))

        def message(at: int, body: bytes, run: str, time_s: float) -> StoredMessage:
            return StoredMessage(at & 0xFFFFFFFF, self._db.json(body), run, time_s)

        count = -1 if last is None else max(last, 0)
        found = await self._db.each(message, _MESSAGES, (namespace, thread, end, count, start))
        found.reverse()
        return found

    async def list(
        self, namespace: str | None = None, *, limit: int = 0, after: tuple[str, str] = ("", "")
    ) -> Sequence[ThreadInfo]:
        condition, bindings = threads_after(namespace, after)
        rows = self._db.rows(
            f"{_INFOS} WHERE {condition} ORDER BY namespace, thread LIMIT ?", (*bindings, limit if limit > 0 else -1)
        )
        return [ThreadInfo(*row) for row in rows]


def threads_after(namespace: str | None, after: tuple[str, str]) -> tuple[str, tuple[str, ...]]:
    """SQL for the threads of a namespace (None: of all) that come after a pair, as a range of an index."""
    if namespace is None:
        return f"(namespace, thread) {'>' if after > ('', '') else '>='} (?, ?)", after
    if after[0] == namespace:
        return f"namespace = ? AND thread {'>' if after[1] else '>='} ?", after
    return "namespace = ?" if after[0] < namespace else "namespace = ? AND 0", (namespace,)


class Blobs:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._db, self._writer = database, writer

    async def put(self, data: bytes) -> str:
        [digest] = await self._writer.submit([prepare(PutBlob(data))])
        return str(digest)

    async def get(self, digest: str) -> bytes:
        row = self._db.first("SELECT data FROM blobs WHERE digest = ?", (digest_of(digest),))
        if row is None:
            raise NotFoundError(f"blob {digest}")
        return bytes(row[0])

    async def has(self, digest: str) -> bool:
        return self._db.first("SELECT 1 FROM blobs WHERE digest = ?", (digest_of(digest),)) is not None

    async def delete(self, digest: str) -> bool:
        def step(tx: Transaction) -> bool:
            # The bytes go by a trigger, when nobody else holds them.
            tx.execute(
                "DELETE FROM holds WHERE holder = '' AND blob = (SELECT id FROM blobs WHERE digest = ?)",
                (digest_of(digest),),
            )
            return tx.changes() > 0

        [deleted] = await self._writer.submit([step])
        return bool(deleted)
