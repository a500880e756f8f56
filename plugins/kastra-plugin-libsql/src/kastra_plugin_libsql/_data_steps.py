"""Operations on state, threads and vectors as steps of a transaction."""

# ruff: noqa: S608 - the names put into statements are this file's own

from __future__ import annotations

from array import array
from collections.abc import Generator
from random import getrandbits
from typing import Any

from kastra_core.errors import ConflictError, VectorLengthError
from kastra_core.protocols.store import (
    AppendMessages,
    ClearState,
    DeleteThread,
    SetState,
    UpsertVectors,
    thread_holder,
    thread_of,
)
from kastra_plugin_libsql._payloads import encode, row_holder, split
from kastra_plugin_libsql._transaction import Step, Transaction

__all__ = [
    "append_messages",
    "clear_state",
    "delete_thread",
    "scopes_below",
    "set_state",
    "upsert_vectors",
    "vector_rows",
]

_SWEPT_VALUES = 256
"""A write of state removes so many expired values, and more than it writes: the loop must not wait for a great many."""
_SLICE_ROWS = 128
"""Rows written or removed before the loop's other tasks may get a turn."""


def scopes_below(scope: str) -> tuple[str, str]:
    """The names of the scopes below one are at least the first and less than the second, in the order of their bytes.

    As a range an index finds them, and a name with the wildcards of LIKE means nothing else than itself.
    """
    return f"{scope}/", f"{scope}0"  # "0" comes right after "/"


def set_state(op: SetState, inline_bytes: int) -> Step:
    scope = op.scope
    bodies = {
        key: None if value is None else split(encode(value, f"{key} of {scope}"), inline_bytes)
        for key, value in op.values.items()
    }

    thread = thread_of(scope) if any(body is not None for body in bodies.values()) else None

    def step(tx: Transaction) -> None:
        if thread is not None:
            _begin_thread(tx, *thread)
        expires = None if op.ttl_s is None else tx.now + op.ttl_s
        # Of all scopes: an index finds them, while those of one scope are found by reading all its keys.
        tx.sweep_state(_SWEPT_VALUES + 2 * len(bodies))
        for key, value in bodies.items():
            if value is None:
                tx.execute("DELETE FROM state WHERE scope = ? AND key = ?", (scope, key))
                continue
            body, payload = value
            tx.execute(
                "INSERT INTO state (scope, key, expires, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (scope, key) DO UPDATE SET expires = excluded.expires, value = excluded.value",
                (scope, key, expires, body),
            )
            if payload is not None:
                [row] = tx.first("SELECT id FROM state WHERE scope = ? AND key = ?", (scope, key))
                tx.keep(body[1:], payload, row_holder("state", row))
        # Random, so that a scope which was emptied, forgotten and used again does not look unchanged to a watch.
        tx.execute("INSERT OR REPLACE INTO scopes (scope, token) VALUES (?, ?)", (scope, getrandbits(62)))
        if not tx.first("SELECT 1 FROM state WHERE scope = ? LIMIT 1", (scope,)):
            tx.execute("DELETE FROM scopes WHERE scope = ?", (scope,))
        tx.scopes = True

    return step


def _begin_thread(tx: Transaction, namespace: str, thread: str) -> None:
    """Make a thread without messages, unless it is there."""
    if tx.first("SELECT 1 FROM threads WHERE namespace = ? AND thread = ?", (namespace, thread)) is None:
        tx.execute(
            "INSERT INTO threads (namespace, thread, messages, last_seq, created, updated) VALUES (?, ?, 0, 0, ?, ?)",
            (namespace, thread, tx.now, tx.now),
        )


def append_messages(op: AppendMessages, inline_bytes: int) -> Step:
    what = f"thread {op.namespace}/{op.thread}"
    bodies = [split(encode(message, f"message of {what}"), inline_bytes) for message in op.messages]

    def step(tx: Transaction) -> int:
        row = tx.first("SELECT id, last_seq FROM threads WHERE namespace = ? AND thread = ?", (op.namespace, op.thread))
        last = row[1] if row else 0
        if op.expected_seq is not None and op.expected_seq != last:
            raise ConflictError(what, f"it ends at message {last}, not {op.expected_seq}")
        if row is None:
            row = tx.first(
                "INSERT INTO threads (namespace, thread, messages, last_seq, created, updated)"
                " VALUES (?, ?, 0, 0, ?, ?) RETURNING id",
                (op.namespace, op.thread, tx.now, tx.now),
            )
        first = row[0] << 32
        for body, payload in bodies:
            last += 1
            tx.execute(
                "INSERT INTO messages (id, time, run, message) VALUES (?, ?, ?, ?)",
                (first + last, tx.now, op.run, body),
            )
            if payload is not None:
                tx.keep(body[1:], payload, row_holder("message", first + last))
        tx.execute(
            "UPDATE threads SET messages = messages + ?, last_seq = ?, updated = ? WHERE id = ?",
            (len(bodies), last, tx.now, row[0]),
        )
        return int(last)

    return step


def clear_state(op: ClearState, _: int) -> Step:
    return lambda tx: _clear(tx, op.scope)


def _clear(tx: Transaction, scope: str) -> Generator[None, None, None]:
    """Remove a scope and those below it, some rows at a time."""
    for table, key in (("state", "id"), ("scopes", "scope")):
        for condition, bindings in (("scope = ?", (scope,)), ("scope >= ? AND scope < ?", scopes_below(scope))):
            yield from tx.delete_where(table, key, condition, *bindings)
    tx.scopes = True


def delete_thread(op: DeleteThread, _: int) -> Step:
    holder = thread_holder(op.namespace, op.thread)

    def step(tx: Transaction) -> Generator[None, None, bool]:
        yield from tx.delete_where("holds", "(holder, blob)", "holder = ?", holder)
        yield from _clear(tx, holder)
        yield from _delete_vectors(tx, holder)
        row = tx.first("DELETE FROM threads WHERE namespace = ? AND thread = ? RETURNING id", (op.namespace, op.thread))
        if row is None:
            return False
        yield from tx.delete_all("messages", row[0])
        return True

    return step


def _delete_vectors(tx: Transaction, holder: str) -> Generator[None, None, None]:
    """Remove the vectors that ``holder`` holds, and the collections of which nothing is left."""
    collections: set[int] = set()
    while True:
        found: list[tuple[Any, ...]] = tx.execute(
            "DELETE FROM vectors WHERE id IN"
            f" (SELECT id FROM vectors WHERE holder = ? AND holder <> '' LIMIT {_SLICE_ROWS}) RETURNING collection",
            (holder,),
        ).fetchall()
        collections.update(int(collection) for (collection,) in found)
        if len(found) < _SLICE_ROWS:
            break
        yield
    for collection in collections:
        tx.forget_collection(collection)


def vector_rows(op: UpsertVectors) -> tuple[int, list[tuple[str, bytes, str]]]:
    """Length of the vectors, and (id, vector, metadata) as they are kept. Raises: VectorLengthError, TypeError."""
    length = len(op.items[0][1]) if op.items else 0
    rows = []
    for name, vector, metadata in op.items:
        if len(vector) != length:
            raise VectorLengthError(op.collection, len(vector), length)
        rows.append((name, array("f", vector).tobytes(), encode(metadata, f"metadata of {name}").decode()))
    return length, rows


def upsert_vectors(op: UpsertVectors, _: int) -> Step:
    collection, holder = op.collection, op.holder
    thread = thread_of(holder)
    length, rows = vector_rows(op)

    def step(tx: Transaction) -> Generator[None, None, None]:
        if not rows:
            return
        row = tx.first("SELECT id, length FROM collections WHERE name = ?", (collection,))
        if row is None:
            row = tx.first(
                "INSERT INTO collections (name, length) VALUES (?, ?) RETURNING id, length", (collection, length)
            )
        if row[1] != length:
            raise VectorLengthError(collection, length, row[1])
        if thread is not None:
            _begin_thread(tx, *thread)
        for count, (name, vector, metadata) in enumerate(rows, 1):
            if count % _SLICE_ROWS == 0:
                yield
            tx.execute(
                "INSERT INTO vectors (collection, name, metadata, vector, holder) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (collection, name) DO UPDATE SET metadata = excluded.metadata,"
                " vector = excluded.vector, holder = excluded.holder",
                (row[0], name, metadata, vector, holder),
            )

    return step
