"""Writes of state, threads, blobs and leases as SQL."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import hashlib
from random import getrandbits

import orjson

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ConflictError, NotFoundError
from kastra_core.protocols.store import (
    AppendMessages,
    ClearState,
    DeleteThread,
    HoldBlob,
    Lease,
    PutBlob,
    ReleaseBlobs,
    SetState,
    thread_holder,
    thread_of,
)
from kastra_plugin_libsql._data_steps import scopes_below
from kastra_plugin_libsql._operations import digest_of
from kastra_plugin_libsql._payloads import encode, holder_name
from kastra_plugin_libsql._remote.script import Answers, Script
from kastra_plugin_libsql._remote.steps import Own, RemoteStep, divided, keep
from kastra_plugin_libsql._remote.uploads import Data

__all__ = [
    "AcquireLease",
    "AppendMessagesStep",
    "ClearStateStep",
    "DeleteBlob",
    "DeleteThreadStep",
    "HoldBlobStep",
    "PutBlobStep",
    "ReleaseBlobsStep",
    "ReleaseLease",
    "SetStateStep",
    "begin_thread",
]


def begin_thread(script: Script, namespace: str, thread: str) -> None:
    """Make a thread without messages, unless it is there."""
    script.add(
        "INSERT INTO threads (namespace, thread, messages, last_seq, created, updated)"
        " VALUES (?1, ?2, 0, 0, ?3, ?3) ON CONFLICT DO NOTHING",
        namespace,
        thread,
        script.now,
    )


class SetStateStep(RemoteStep):
    def __init__(self, op: SetState, inline_bytes: int) -> None:
        self.op = op
        self.values = {
            key: None if value is None else divided(encode(value, f"{key} of {op.scope}"), inline_bytes)
            for key, value in op.values.items()
        }
        found = [value for value in self.values.values() if value is not None]
        self.small_bytes = sum(len(marker) for marker, _ in found)
        self.data = [payload for _, payload in found if payload is not None]
        self.thread = thread_of(op.scope) if found else None

    def write(self, script: Script) -> None:
        scope, now = self.op.scope, script.now
        if self.thread is not None:
            begin_thread(script, *self.thread)
        expires = None if self.op.ttl_s is None else now + self.op.ttl_s
        script.add("DELETE FROM state WHERE scope = ? AND expires <= ?", scope, now)
        for key, value in self.values.items():
            if value is None:
                script.add("DELETE FROM state WHERE scope = ? AND key = ?", scope, key)
                continue
            body, payload = value
            script.add(
                "INSERT INTO state (scope, key, expires, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (scope, key) DO UPDATE SET expires = excluded.expires, value = excluded.value",
                scope,
                key,
                expires,
                body,
            )
            row = "SELECT char(1) || 'state/' || id AS name FROM state WHERE scope = ?1 AND key = ?2"
            keep(script, body, payload, row, scope, key)
        # Random, so that a scope which was emptied, forgotten and used again does not look unchanged to a watch.
        script.add("INSERT OR REPLACE INTO scopes (scope, token) VALUES (?, ?)", scope, getrandbits(62))
        script.add("DELETE FROM scopes WHERE scope = ?1 AND NOT EXISTS (SELECT 1 FROM state WHERE scope = ?1)", scope)

    def result(self, answer: Answers, own: Own) -> None:
        own.scopes.add(self.op.scope)


class ClearStateStep(RemoteStep):
    def __init__(self, op: ClearState, _: int) -> None:
        self.scope = op.scope

    def write(self, script: Script) -> None:
        _clear(script, self.scope)

    def result(self, answer: Answers, own: Own) -> None:
        own.cleared.append(self.scope)


def _clear(script: Script, scope: str) -> None:
    for table in ("state", "scopes"):
        script.add(f"DELETE FROM {table} WHERE scope = ?", scope)
        script.add(f"DELETE FROM {table} WHERE scope >= ? AND scope < ?", *scopes_below(scope))


class AppendMessagesStep(RemoteStep):
    def __init__(self, op: AppendMessages, inline_bytes: int) -> None:
        self.op = op
        self.what = f"thread {op.namespace}/{op.thread}"
        self.bodies = [divided(encode(message, f"message of {self.what}"), inline_bytes) for message in op.messages]
        self.small_bytes = sum(len(marker) for marker, _ in self.bodies)
        self.data = [payload for _, payload in self.bodies if payload is not None]

    def write(self, script: Script) -> None:
        op = self.op
        at = "namespace = ?1 AND thread = ?2"
        if op.expected_seq is not None:
            last = f"coalesce((SELECT last_seq FROM threads WHERE {at}), 0)"
            script.guard((("end", f"{last} <> ?3"),), op.namespace, op.thread, op.expected_seq, detail=last)
        begin_thread(script, op.namespace, op.thread)
        for number, (body, payload) in enumerate(self.bodies, 1):
            script.add(
                "INSERT INTO messages (id, time, run, message)"
                f" SELECT (id << 32) + last_seq + ?3, ?4, ?5, ?6 FROM threads WHERE {at}",
                op.namespace,
                op.thread,
                number,
                script.now,
                op.run,
                body,
            )
            keep(
                script,
                body,
                payload,
                f"SELECT char(1) || 'message/' || ((id << 32) + last_seq + ?3) AS name FROM threads WHERE {at}",
                op.namespace,
                op.thread,
                number,
            )
        script.add(
            f"UPDATE threads SET messages = messages + ?3, last_seq = last_seq + ?3, updated = ?4 WHERE {at}",
            op.namespace,
            op.thread,
            len(self.bodies),
            script.now,
        )
        script.ask(f"(SELECT last_seq FROM threads WHERE {at})", op.namespace, op.thread)

    def error(self, code: str, detail: str) -> Exception:
        return ConflictError(self.what, f"it ends at message {detail}, not {self.op.expected_seq}")

    def result(self, answer: Answers, own: Own) -> int:
        return int(answer.value())


class DeleteThreadStep(RemoteStep):
    def __init__(self, op: DeleteThread, _: int) -> None:
        self.op = op
        self.holder = thread_holder(op.namespace, op.thread)

    def write(self, script: Script) -> None:
        place = (self.op.namespace, self.op.thread)
        thread = "(SELECT id FROM threads WHERE namespace = ?1 AND thread = ?2)"
        script.add("DELETE FROM holds WHERE holder = ?", self.holder)
        _clear(script, self.holder)
        script.add("DELETE FROM vectors WHERE holder = ? AND holder <> ''", self.holder)
        script.add("DELETE FROM collections WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE collection = collections.id)")
        script.add(
            f"DELETE FROM messages WHERE id BETWEEN {thread} << 32 AND ({thread} << 32) | 4294967295",
            *place,
        )
        script.add("DELETE FROM threads WHERE namespace = ? AND thread = ?", *place)
        script.ask("changes()")

    def result(self, answer: Answers, own: Own) -> bool:
        own.cleared.append(self.holder)
        return bool(answer.value())


class PutBlobStep(RemoteStep):
    def __init__(self, op: PutBlob, _: int) -> None:
        self.blob = Data(bytes(op.data))
        self.digest = hashlib.sha256(self.blob.data)
        self.holder = holder_name(op.holder)
        self.data = (self.blob,)

    def write(self, script: Script) -> None:
        digest = self.digest.digest()
        script.add(
            f"INSERT INTO blobs (digest, data) VALUES (?1, {self.blob.sql(2)}) ON CONFLICT DO NOTHING",
            digest,
            *self.blob.bindings,
        )
        _hold(script, digest, self.holder)

    def result(self, answer: Answers, own: Own) -> str:
        return f"sha256:{self.digest.hexdigest()}"


def _hold(script: Script, digest: bytes, holder: str) -> None:
    script.add(
        "INSERT INTO holds (holder, blob) SELECT ?, id FROM blobs WHERE digest = ? ON CONFLICT DO NOTHING",
        holder,
        digest,
    )


class HoldBlobStep(RemoteStep):
    def __init__(self, op: HoldBlob, _: int) -> None:
        self.op = op

    def write(self, script: Script) -> None:
        digest = digest_of(self.op.digest)
        script.guard((("missing", "NOT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)"),), digest)
        if digest is not None:
            _hold(script, digest, holder_name(self.op.holder))

    def error(self, code: str, detail: str) -> Exception:
        return NotFoundError(f"blob {self.op.digest}")


class ReleaseBlobsStep(RemoteStep):
    def __init__(self, op: ReleaseBlobs, _: int) -> None:
        self.holder = holder_name(op.holder)

    def write(self, script: Script) -> None:
        script.add("DELETE FROM holds WHERE holder = ?", self.holder)
        script.ask("changes()")

    def result(self, answer: Answers, own: Own) -> int:
        return int(answer.value())


class DeleteBlob(RemoteStep):
    """Take a put without holder back. Result: whether there was one."""

    def __init__(self, digest: str) -> None:
        self.digest = digest_of(digest)

    def write(self, script: Script) -> None:
        script.add(
            "DELETE FROM holds WHERE holder = '' AND blob = (SELECT id FROM blobs WHERE digest = ?)", self.digest
        )
        script.ask("changes()")

    def result(self, answer: Answers, own: Own) -> bool:
        return bool(answer.value())


class AcquireLease(RemoteStep):
    """Take or renew a lease. Result: it, or None."""

    def __init__(self, name: str, holder: str, ttl_s: float, data: JsonObject | None) -> None:
        self.name, self.holder, self.ttl_s = name, holder, ttl_s
        self.own_data = None if data is None else encode(data, f"lease {name}")
        self.small_bytes = len(self.own_data or b"")
        self.expires_s = 0.0

    def write(self, script: Script) -> None:
        self.expires_s = script.now + self.ttl_s
        # Counts for the whole store: a lease that was released and taken again gets a higher one.
        script.add(
            "UPDATE meta SET value = value + 1 WHERE key = 'lease_epoch'"
            " AND NOT EXISTS (SELECT 1 FROM leases WHERE name = ? AND expires > ?)",
            self.name,
            script.now,
        )
        script.add(
            "INSERT INTO leases (name, holder, expires, epoch, data)"
            " VALUES (?1, ?2, ?3, (SELECT value FROM meta WHERE key = 'lease_epoch'), coalesce(?4, x'7b7d'))"
            " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires,"
            " epoch = iif(leases.expires > ?5, leases.epoch, excluded.epoch),"
            " data = iif(leases.expires > ?5, coalesce(?4, leases.data), excluded.data)"
            " WHERE leases.expires <= ?5 OR leases.holder = excluded.holder",
            self.name,
            self.holder,
            self.expires_s,
            self.own_data,
            script.now,
        )
        script.ask(
            "CASE WHEN changes() THEN"
            " json((SELECT json_array(epoch, CAST(data AS TEXT)) FROM leases WHERE name = ?1)) END",
            self.name,
        )

    def result(self, answer: Answers, own: Own) -> Lease | None:
        found = answer.value()
        if found is None:
            return None
        epoch, data = found
        return Lease(self.name, self.holder, self.expires_s, epoch, orjson.loads(data))


class ReleaseLease(RemoteStep):
    """Give a lease up. Result: whether the holder had it."""

    def __init__(self, name: str, holder: str) -> None:
        self.name, self.holder = name, holder

    def write(self, script: Script) -> None:
        script.add("DELETE FROM leases WHERE name = ? AND holder = ?", self.name, self.holder)
        script.ask("changes()")

    def result(self, answer: Answers, own: Own) -> bool:
        return bool(answer.value())
