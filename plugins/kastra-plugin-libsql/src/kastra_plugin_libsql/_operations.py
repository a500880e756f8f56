"""Operations as steps of a transaction.

``prepare`` does what needs no database (JSON, digests) in the caller's task, so a value that cannot be kept fails
there; the step that it returns runs a few statements of some microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import orjson

from kastra_core.api.meta import JsonValue, Resource
from kastra_core.errors import (
    AlreadyExistsError,
    ConflictError,
    FencedError,
    NotFoundError,
    StoreError,
)
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    ClearState,
    CreateResource,
    DeleteResource,
    DeleteThread,
    DropJournal,
    HoldBlob,
    Operation,
    PutBlob,
    ReleaseBlobs,
    ReleaseRun,
    SendSignal,
    SetState,
    UpdateResource,
    UpsertVectors,
)
from kastra_plugin_libsql._data_steps import append_messages, clear_state, delete_thread, set_state, upsert_vectors
from kastra_plugin_libsql._database import resource_of
from kastra_plugin_libsql._payloads import (
    INLINE_BYTES,
    MAX_VALUE_BYTES,
    encode,
    holder_name,
    resolved,
    row_holder,
    split,
)
from kastra_plugin_libsql._transaction import ADDED, DELETED, MODIFIED, Compound, Step, Transaction

__all__ = ["check_writes", "digest_of", "prepare"]


def prepare(operation: Operation, inline_bytes: int = INLINE_BYTES) -> Step:
    """A payload of more than ``inline_bytes`` of JSON will be kept outside its row. Raises: TypeError, StoreError."""
    try:
        make = _PREPARE[type(operation)]
    except KeyError:
        raise TypeError(f"{type(operation).__name__} is no operation of a store") from None
    return make(operation, inline_bytes)


# ------------------------------------------------------------------------------------------------- resources


def _columns(resource: Resource) -> tuple[bytes, str | None, str | None]:
    """JSON of the resource, of its labels, and the uids of its owners."""
    manifest = resource.to_manifest()
    manifest["metadata"].pop("resourceVersion", None)
    meta = resource.metadata
    labels = orjson.dumps(manifest["metadata"]["labels"]).decode() if meta.labels else None
    owners = None
    if meta.owner_references:
        owners = orjson.dumps(sorted({owner.uid for owner in meta.owner_references})).decode()
    return encode(manifest, resource.key), labels, owners


def _own(tx: Transaction, owners: str | None, *key: Any) -> None:
    for owner in orjson.loads(owners) if owners else ():
        tx.execute("INSERT INTO owners (owner, kind, namespace, name) VALUES (?, ?, ?, ?)", (owner, *key))


def _disown(tx: Transaction, owners: str | None, *key: Any) -> None:
    for owner in orjson.loads(owners) if owners else ():
        tx.execute("DELETE FROM owners WHERE owner = ? AND kind = ? AND namespace = ? AND name = ?", (owner, *key))


def _create(op: CreateResource, _: int) -> Step:
    resource = op.resource
    group, kind, namespace, name = key = resource.key
    body, labels, owners = _columns(resource)

    def step(tx: Transaction) -> Resource:
        kind_id = tx.kind(group, kind)
        tx.execute(
            "INSERT INTO resources (kind, namespace, name, rv, uid, labels, owners) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (kind_id, namespace, name, tx.rv + 1, resource.metadata.uid, labels, owners),
        )
        if not tx.changes():
            raise AlreadyExistsError(str(key))
        rv = tx.log(ADDED, kind_id, namespace, name, body)
        if owners:
            _own(tx, owners, kind_id, namespace, name)
        return resource.evolve(resource_version=str(rv))

    return step


def _check(key: Any, row: Any, uid: str | None, expected: str | None) -> None:
    if row is None:
        raise NotFoundError(str(key))
    if uid is not None and uid != row[1]:
        raise ConflictError(str(key), "it was deleted and made anew meanwhile (its uid differs)")
    if expected is not None and expected != str(row[0]):
        raise ConflictError(str(key))


def _update(op: UpdateResource, _: int) -> Step:
    resource, expected = op.resource, op.expected
    group, kind, namespace, name = key = resource.key
    body, labels, owners = _columns(resource)

    def step(tx: Transaction) -> Resource:
        kind_id = tx.kind(group, kind)
        row = tx.first(
            "SELECT rv, uid, owners FROM resources WHERE kind = ? AND namespace = ? AND name = ?",
            (kind_id, namespace, name),
        )
        _check(key, row, resource.metadata.uid, expected)
        rv = tx.log(MODIFIED, kind_id, namespace, name, body)
        tx.execute(
            "UPDATE resources SET rv = ?, labels = ?, owners = ? WHERE kind = ? AND namespace = ? AND name = ?",
            (rv, labels, owners, kind_id, namespace, name),
        )
        if owners != row[2]:
            _disown(tx, row[2], kind_id, namespace, name)
            _own(tx, owners, kind_id, namespace, name)
        tx.forget(row[0])
        return resource.evolve(resource_version=str(rv))

    return step


def _delete(op: DeleteResource, _: int) -> Step:
    group, kind, namespace, name = key = op.key

    def step(tx: Transaction) -> Resource:
        kind_id = tx.kind(group, kind)
        row = tx.first(
            "SELECT r.rv, r.uid, r.owners, l.body FROM resources r JOIN log l ON l.rv = r.rv"
            " WHERE r.kind = ? AND r.namespace = ? AND r.name = ?",
            (kind_id, namespace, name),
        )
        _check(key, row, op.uid, op.expected)
        rv = tx.log(DELETED, kind_id, namespace, name, row[3])
        tx.execute("DELETE FROM resources WHERE kind = ? AND namespace = ? AND name = ?", (kind_id, namespace, name))
        _disown(tx, row[2], kind_id, namespace, name)
        tx.forget(row[0])
        return resource_of(rv, row[3])

    return step


# ------------------------------------------------------------------------------------------------- journal


_FENCES = 4096
"""Runs that are remembered."""


def _claim(op: ClaimRun, _: int) -> Step:
    def step(tx: Transaction) -> int:
        tx.fences.pop(op.run, None)
        row = tx.first(
            "SELECT r.id, r.epoch, c.run FROM runs r LEFT JOIN claims c ON c.run = r.id WHERE r.uid = ?", (op.run,)
        )
        run, epoch, claimed = row or (None, 0, None)
        if (epoch if claimed is not None else 0) != op.expected_epoch:
            raise FencedError(op.run)
        # Epochs go on after a finished claim: a worker of then must stay fenced.
        if run is None:
            [run] = tx.first("INSERT INTO runs (uid, epoch) VALUES (?, 1) RETURNING id", (op.run,))
        else:
            tx.execute("UPDATE runs SET epoch = ? WHERE id = ?", (epoch + 1, run))
        tx.execute(
            "INSERT OR REPLACE INTO claims (run, grp, kind, namespace, name, holder, wake_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (run, *op.key, op.holder, op.wake_at_s),
        )
        return int(epoch + 1)

    return step


def _fence(tx: Transaction, run: str, epoch: int) -> int:
    """Id of a run whose present claim has this epoch. Each record of a run asks, so the answer is remembered."""
    known = tx.fences.get(run)
    if known is not None and known[0] == epoch:
        return known[1]
    row = tx.first(
        "SELECT r.id FROM runs r JOIN claims c ON c.run = r.id WHERE r.uid = ? AND r.epoch = ?", (run, epoch)
    )
    if row is None:
        raise FencedError(run)
    if len(tx.fences) >= _FENCES:
        tx.fences.clear()
    tx.fences[run] = epoch, int(row[0])
    return int(row[0])


def _release(op: ReleaseRun, _: int) -> Step:
    def step(tx: Transaction) -> None:
        run = _fence(tx, op.run, op.epoch)
        del tx.fences[op.run]
        if op.finished:
            tx.execute("DELETE FROM claims WHERE run = ?", (run,))
        else:
            tx.execute("UPDATE claims SET holder = '', wake_at = ? WHERE run = ?", (op.wake_at_s, run))

    return step


_RECORD_AT = f"SELECT {resolved('record')} FROM journal WHERE run = ? AND path = ?"  # noqa: S608 - a column's name


def _append_record(op: AppendRecord, inline_bytes: int) -> Step:
    body, payload = split(encode(op.record, f"record {op.path} of run {op.run}"), inline_bytes)

    def step(tx: Transaction) -> JsonValue:
        run = _fence(tx, op.run, op.epoch)
        first = run << 32
        tx.execute(
            "INSERT INTO journal (id, run, path, time, record) VALUES"
            " (coalesce((SELECT max(id) FROM journal WHERE id BETWEEN ?1 AND ?2), ?1) + 1, ?3, ?4, ?5, ?6)"
            " ON CONFLICT DO NOTHING",
            (first, first | 0xFFFFFFFF, run, op.path, tx.now, body),
        )
        if tx.changes():
            if payload is not None:
                tx.keep(body[1:], payload, row_holder("journal", tx.inserted()))
            return None
        row = tx.first(_RECORD_AT, (run, op.path))
        return orjson.loads(row[0])

    return _with_writes(op, step, inline_bytes) if op.writes else step


def _with_writes(op: AppendRecord, record: Step, inline_bytes: int) -> Step:
    check_writes(op)
    writes = [prepare(write, inline_bytes) for write in op.writes]

    def step(tx: Transaction) -> Generator[None, None, JsonValue]:
        run = _fence(tx, op.run, op.epoch)
        known = tx.first("SELECT 1 FROM journal WHERE run = ? AND path = ?", (run, op.path))
        result: JsonValue = record(tx)
        if known is None:
            for write in writes:
                done = write(tx)
                if isinstance(done, Generator):
                    yield from done
                else:
                    yield
        return result

    return Compound(step)


def check_writes(op: AppendRecord) -> None:
    """Raises: ValueError for what the writes of a record cannot be."""
    if any(isinstance(write, AppendRecord) and write.writes for write in op.writes):
        raise ValueError(f"record {op.path} of run {op.run}: a record among its writes cannot have writes of its own")


def _drop_journal(op: DropJournal, _: int) -> Step:
    holder = holder_name(op.run)

    def step(tx: Transaction) -> Generator[None, None, None]:
        tx.fences.pop(op.run, None)
        tx.let_go(holder)
        row = tx.first("SELECT id FROM runs WHERE uid = ?", (op.run,))
        if row is None:
            return
        yield from tx.delete_all("journal", row[0])
        tx.execute("DELETE FROM signals WHERE run = ?", row)
        tx.execute("DELETE FROM claims WHERE run = ?", row)
        tx.execute("DELETE FROM runs WHERE id = ?", row)

    return step


def _send_signal(op: SendSignal, inline_bytes: int) -> Step:
    body, payload = split(encode(op.payload, f"signal {op.name} to run {op.run}"), inline_bytes)

    def step(tx: Transaction) -> bool:
        if op.signal_id and tx.first(
            "SELECT 1 FROM signals s JOIN runs r ON r.id = s.run WHERE r.uid = ? AND s.signal_id = ?",
            (op.run, op.signal_id),
        ):
            return False
        tx.execute(
            "INSERT INTO signals (run, signal_id, name, payload) VALUES (?, ?, ?, ?)",
            (tx.run(op.run), op.signal_id, op.name, body),
        )
        if payload is not None:
            tx.keep(body[1:], payload, row_holder("signal", tx.inserted()))
        tx.signals = True
        return True

    return step


# ------------------------------------------------------------------------------------------------- blobs


def _put_blob(op: PutBlob, _: int) -> Step:
    data = bytes(op.data)
    if len(data) > MAX_VALUE_BYTES:
        raise StoreError(f"a blob of {len(data)} bytes; at most {MAX_VALUE_BYTES} can be kept")
    import hashlib  # reading commands start faster without it

    digest = hashlib.sha256(data)
    holder = holder_name(op.holder)

    def step(tx: Transaction) -> str:
        tx.keep(digest.digest(), data, holder)
        return f"sha256:{digest.hexdigest()}"

    return step


def digest_of(text: str) -> bytes | None:
    """The bytes of ``"sha256:<hex>"``, None for what is no digest."""
    kind, _, digits = text.partition(":")
    try:
        return bytes.fromhex(digits) if kind == "sha256" else None
    except ValueError:
        return None


def _hold_blob(op: HoldBlob, _: int) -> Step:
    digest, holder = digest_of(op.digest), holder_name(op.holder)

    def step(tx: Transaction) -> None:
        if digest is None or not tx.first("SELECT 1 FROM blobs WHERE digest = ?", (digest,)):
            raise NotFoundError(f"blob {op.digest}")
        tx.hold(digest, holder)

    return step


def _release_blobs(op: ReleaseBlobs, _: int) -> Step:
    holder = holder_name(op.holder)
    return lambda tx: tx.let_go(holder)


_PREPARE: dict[type, Callable[[Any, int], Step]] = {
    CreateResource: _create,
    UpdateResource: _update,
    DeleteResource: _delete,
    ClaimRun: _claim,
    ReleaseRun: _release,
    AppendRecord: _append_record,
    DropJournal: _drop_journal,
    SendSignal: _send_signal,
    SetState: set_state,
    ClearState: clear_state,
    AppendMessages: append_messages,
    DeleteThread: delete_thread,
    UpsertVectors: upsert_vectors,
    PutBlob: _put_blob,
    HoldBlob: _hold_blob,
    ReleaseBlobs: _release_blobs,
}
