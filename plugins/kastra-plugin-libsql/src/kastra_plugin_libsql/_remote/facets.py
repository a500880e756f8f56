"""The facets of a server's store for journals, leases, state, threads and blobs."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import orjson

from kastra_core.api.meta import JsonObject, JsonValue, ResourceKey
from kastra_core.errors import NotFoundError, StoreError
from kastra_core.protocols.store import Claim, Lease, PutBlob, Record, SetState, Signal, StoredMessage, ThreadInfo
from kastra_plugin_libsql._facets import threads_after
from kastra_plugin_libsql._operations import digest_of
from kastra_plugin_libsql._remote.client import Row, Server
from kastra_plugin_libsql._remote.commits import Writer
from kastra_plugin_libsql._remote.data_steps import AcquireLease, DeleteBlob, ReleaseLease
from kastra_plugin_libsql._remote.reads import PAGE_BYTES, PAGE_ROWS, payloads, read_whole, rows_by_key
from kastra_plugin_libsql._remote.script import LARGE_BYTES
from kastra_plugin_libsql._remote.statements import prepare
from kastra_plugin_libsql._remote.steps import RUN
from kastra_plugin_libsql._remote.watch import Hub

__all__ = ["Blobs", "Journal", "Leases", "State", "Threads"]

_CLAIMS = (
    "SELECT r.uid, c.grp, c.kind, c.namespace, c.name, c.holder, r.epoch, c.wake_at, c.run"
    " FROM claims c JOIN runs r ON r.id = c.run"
)
_LEASE = "SELECT name, holder, expires, epoch, data FROM leases"
_LIVE = "(expires IS NULL OR expires > ?2)"
_STATE_TRIES = 10
_SCOPE = "SELECT token FROM scopes WHERE scope = ?"
_STATE = (
    f"SELECT p.seen, s.key, iif(p.size <= {LARGE_BYTES}, s.value, NULL) FROM"
    " (SELECT id, size, count(*) OVER () AS seen, sum(size) OVER (ORDER BY key) - size AS before FROM"
    f" (SELECT id, key, length(value) AS size FROM state WHERE scope = ?1 AND {_LIVE}"
    f" ORDER BY key LIMIT {PAGE_ROWS + 1})) p"
    f" CROSS JOIN state s ON s.id = p.id WHERE p.before < {PAGE_BYTES} ORDER BY s.key LIMIT {PAGE_ROWS}"
)


def _claim(row: Row) -> Claim:
    uid, group, kind, namespace, name, holder, epoch, wake_at_s, _ = row
    return Claim(uid, ResourceKey(group, kind, namespace, name), holder, epoch, wake_at_s)


def _lease(row: Row) -> Lease:
    name, holder, expires, epoch, data = row
    return Lease(name, holder, expires, epoch, orjson.loads(data))


class Journal:
    def __init__(self, server: Server, hub: Hub) -> None:
        self._server, self._hub = server, hub

    async def records(self, run: str) -> Sequence[Record]:
        rows = await rows_by_key(
            self._server,
            "journal",
            "id",
            "record",
            "path, time",
            f"id BETWEEN {RUN} << 32 AND ({RUN} << 32) | 4294967295",
            run,
        )
        return [Record(path, orjson.loads(body), at & 0xFFFFFFFF, time_s) for at, path, time_s, body in rows]

    async def claims(self) -> Sequence[Claim]:
        found: list[Claim] = []
        last = -1
        while True:
            rows = await self._server.rows(f"{_CLAIMS} WHERE c.run > ? ORDER BY c.run LIMIT {PAGE_ROWS}", last)
            found += map(_claim, rows)
            if len(rows) < PAGE_ROWS:
                return found
            last = rows[-1][-1]

    async def claim(self, run: str) -> Claim | None:
        row = await self._server.first(f"{_CLAIMS} WHERE r.uid = ?", run)
        return _claim(row) if row else None

    async def signals(self, run: str) -> Sequence[Signal]:
        rows = await rows_by_key(self._server, "signals", "seq", "payload", "name, signal_id", f"run = {RUN}", run)
        return [Signal(run, seq, name, orjson.loads(body), signal_id) for seq, name, signal_id, body in rows]

    def watch_signals(self) -> AsyncIterator[Signal]:
        return self._hub.watch_signals()


class Leases:
    def __init__(self, server: Server, writer: Writer) -> None:
        self._server, self._writer = server, writer

    async def acquire(self, name: str, holder: str, ttl_s: float, data: JsonObject | None = None) -> Lease | None:
        [lease] = await self._writer.submit([AcquireLease(name, holder, ttl_s, data)])
        return lease  # type: ignore[no-any-return]  # results of a commit are Any

    async def release(self, name: str, holder: str) -> bool:
        [released] = await self._writer.submit([ReleaseLease(name, holder)])
        return bool(released)

    async def get(self, name: str) -> Lease | None:
        row = await self._server.first(f"{_LEASE} WHERE name = ?", name)
        return _lease(row) if row else None

    async def list(self, prefix: str = "") -> Sequence[Lease]:
        found: list[Lease] = []
        last = ""
        while True:
            rows = await self._server.rows(
                f"{_LEASE} WHERE substr(name, 1, ?) = ? AND name > ? ORDER BY name LIMIT {PAGE_ROWS}",
                len(prefix),
                prefix,
                last,
            )
            found += map(_lease, rows)
            if len(rows) < PAGE_ROWS:
                return found
            last = rows[-1][0]


class State:
    def __init__(self, server: Server, writer: Writer, hub: Hub) -> None:
        self._server, self._writer, self._hub = server, writer, hub
        self._settings = server.settings

    async def get_value(self, scope: str, key: str) -> JsonValue:
        row = await self._server.first(
            f"SELECT iif(length(value) <= {LARGE_BYTES}, value, NULL), id FROM state"
            f" WHERE scope = ?1 AND key = ?3 AND {_LIVE}",
            scope,
            self._settings.clock(),
            key,
        )
        if row is None:
            return None
        body = row[0] if row[0] is not None else await read_whole(self._server, "state", "value", "id = ?1", row[1])
        if body is None:
            return None
        [whole] = await payloads(self._server, [body])
        return orjson.loads(whole)

    async def set_value(self, scope: str, key: str, value: JsonValue, *, ttl_s: float | None = None) -> None:
        await self.update_values(scope, {key: value}, ttl_s=ttl_s)

    async def update_values(self, scope: str, values: Mapping[str, JsonValue], *, ttl_s: float | None = None) -> None:
        await self._writer.submit([prepare(SetState(scope, values, ttl_s), self._settings.inline_bytes)])

    async def get_state(self, scope: str) -> JsonObject:
        _, state = await self._now(scope)
        return state

    async def _now(self, scope: str) -> tuple[int, JsonObject]:
        """The scope's token and its values, as of one moment."""
        now = self._settings.clock()
        for _ in range(_STATE_TRIES):
            [token, rows] = await self._server.read((_SCOPE, (scope,)), (_STATE, (scope, now)))
            before = token[0][0] if token else 0
            if rows and (len(rows) < rows[0][0] or any(row[2] is None for row in rows)):
                found = await rows_by_key(
                    self._server, "state", "id", "value", "key", f"scope = ?1 AND {_LIVE}", scope, now
                )
                values = sorted((str(key), body) for _, key, body in found)
                again = await self._server.rows(_SCOPE, scope)
                if before != (again[0][0] if again else 0):
                    continue
            else:
                bodies = await payloads(self._server, [row[2] for row in rows])
                values = [(row[1], body) for row, body in zip(rows, bodies)]
            return before, {key: orjson.loads(body) for key, body in values}
        raise StoreError(f"store {self._settings.shown}: the state {scope!r} changes faster than it can be read")

    def watch_state(self, scope: str) -> AsyncIterator[JsonObject]:
        return self._hub.watch_state(scope, lambda: self._now(scope))


class Threads:
    def __init__(self, server: Server) -> None:
        self._server = server

    async def last_seq(self, namespace: str, thread: str) -> int:
        row = await self._server.first(
            "SELECT last_seq FROM threads WHERE namespace = ? AND thread = ?", namespace, thread
        )
        return int(row[0]) if row else 0

    async def messages(
        self, namespace: str, thread: str, *, up_to: int | None = None, last: int | None = None, after: int = 0
    ) -> Sequence[StoredMessage]:
        end = 0xFFFFFFFF if up_to is None else max(0, min(up_to, 0xFFFFFFFF))
        start = max(0, min(after, 0xFFFFFFFF))
        first = "(SELECT id FROM threads WHERE namespace = ?1 AND thread = ?2) << 32"
        rows = await rows_by_key(
            self._server,
            "messages",
            "id",
            "message",
            "run, time",
            f"id > ({first}) + ?4 AND id <= ({first}) + ?3",
            namespace,
            thread,
            end,
            start,
            newest=None if last is None else max(last, 0),
        )
        if last is not None:
            rows.reverse()
        return [StoredMessage(at & 0xFFFFFFFF, orjson.loads(body), run, time_s) for at, run, time_s, body in rows]

    async def list(
        self, namespace: str | None = None, *, limit: int = 0, after: tuple[str, str] = ("", "")
    ) -> Sequence[ThreadInfo]:
        found: list[ThreadInfo] = []
        while True:
            condition, bindings = threads_after(namespace, after)
            count = min(limit - len(found), PAGE_ROWS) if limit > 0 else PAGE_ROWS
            rows = await self._server.rows(
                "SELECT namespace, thread, messages, last_seq, created, updated FROM threads"
                f" WHERE {condition} ORDER BY namespace, thread LIMIT {count}",
                *bindings,
            )
            found += (ThreadInfo(*row) for row in rows)
            if len(rows) < count or len(found) == limit:
                return found
            after = (rows[-1][0], rows[-1][1])


class Blobs:
    def __init__(self, server: Server, writer: Writer) -> None:
        self._server, self._writer = server, writer

    async def put(self, data: bytes) -> str:
        [digest] = await self._writer.submit([prepare(PutBlob(data), self._server.settings.inline_bytes)])
        return str(digest)

    async def get(self, digest: str) -> bytes:
        found = digest_of(digest)
        data = None if found is None else await read_whole(self._server, "blobs", "data", "digest = ?1", found)
        if data is None:
            raise NotFoundError(f"blob {digest}")
        return data

    async def has(self, digest: str) -> bool:
        return await self._server.first("SELECT 1 FROM blobs WHERE digest = ?", digest_of(digest)) is not None

    async def delete(self, digest: str) -> bool:
        [deleted] = await self._writer.submit([DeleteBlob(digest)])
        return bool(deleted)
