"""A store in memory with all facets: for tests, dry runs and throw-away runtimes.

It keeps the whole contract of :mod:`kastra_core.protocols.store` but durability. What is written is copied through
JSON, so what cannot be stored fails here as it does in a database, and a later change of the caller's data does not
reach the store.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    ExpiredError,
    FencedError,
    NotFoundError,
    StoreUnavailableError,
    UserError,
    VectorLengthError,
)
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    Claim,
    ClaimRun,
    ClearState,
    CreateResource,
    DeleteResource,
    DeleteThread,
    DropJournal,
    HoldBlob,
    Lease,
    Operation,
    PutBlob,
    Record,
    ReleaseBlobs,
    ReleaseRun,
    ResourceList,
    SendSignal,
    SetState,
    Signal,
    StoredMessage,
    ThreadInfo,
    UpdateResource,
    UpsertVectors,
    VectorMatch,
    WatchEvent,
    thread_holder,
    thread_of,
)

if TYPE_CHECKING:
    import asyncio

    from kastra_core.api.selectors import FieldSelector, LabelSelector
    from kastra_core.protocols.store import (
        BlobFacet,
        JournalFacet,
        LeaseFacet,
        ResourceFacet,
        StateFacet,
        ThreadFacet,
        VectorFacet,
    )

__all__ = ["MemoryStore", "open_memory_store"]

T = TypeVar("T")
_OPTIONS = ("clock", "history")


async def open_memory_store(url: str, options: Mapping[str, Any]) -> MemoryStore:
    """Return a new, empty store. Options: ``clock`` (unix seconds), ``history`` (events kept for watches).

    Raises: ConfigError.
    """
    if url not in ("memory:", "memory://"):
        raise ConfigError(f"store URL {url!r}: a store in memory has no path; write memory:")
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise ConfigError(f"store URL {url!r}: unknown option {unknown[0]!r}; allowed are {', '.join(_OPTIONS)}")
    return MemoryStore(url, **options)


def _encode(value: JsonValue, what: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as err:
        raise TypeError(f"{what}: cannot be kept as JSON: {err}") from err


class _Bell:
    """Wakes everybody who waits."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        import asyncio

        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class _Watch(Generic[T]):
    """An endless iterator over what ``pull`` finds new; it ends when the store or the watch is closed."""

    def __init__(self, store: MemoryStore, bell: _Bell, pull: Callable[[], Iterable[T]]) -> None:
        self._store, self._bell, self._pull = store, bell, pull
        self._found: deque[T] = deque()
        self._closed = False

    def __aiter__(self) -> _Watch[T]:
        return self

    async def __anext__(self) -> T:
        while not (self._closed or self._store.closed):
            if not self._found:
                self._found.extend(self._pull())
            if self._found:
                return self._found.popleft()
            await self._bell.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch; a task that waits in it sees its end."""
        self._closed = True
        self._bell.ring()


class MemoryStore:
    """All facets in dictionaries of this process.

    Args:
        url: shown to people.
        clock: unix seconds; decides about leases, TTLs and times of records.
        history: at least this many of the latest events can be watched again.
    """

    def __init__(self, url: str = "memory:", *, clock: Callable[[], float] = time.time, history: int = 10_000) -> None:
        self.url, self.clock, self.closed = url, clock, False
        self._history = max(history, 1)
        self._horizon = 0  # resourceVersion before the first event in _log
        self._log: list[WatchEvent] = []
        self._pending: list[WatchEvent] = []
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Resource]] = {}
        self._records: dict[str, dict[str, tuple[bytes, int, float]]] = {}
        self._claims: dict[str, Claim] = {}
        self._epochs: dict[str, int] = {}
        self._signals: dict[str, list[Signal]] = {}
        self._signal_ids: dict[str, set[str]] = {}
        self._sent: deque[Signal] = deque(maxlen=self._history)
        self._signal_seq = 0
        self._states: dict[str, dict[str, tuple[bytes, float | None]]] = {}
        self._state_versions: dict[str, int] = {}
        self._state_version = 0
        self._threads: dict[tuple[str, str], tuple[ThreadInfo, list[tuple[bytes, str, float]]]] = {}
        self._blob_data: dict[str, bytes] = {}
        self._holders: dict[str, dict[str, bool]] = {}
        """Who holds a blob, by digest,"""
        self._held: dict[str, dict[str, bool]] = {}
        """and what a holder holds."""
        self._lease_epoch = 0
        self._undo: list[Callable[[], object]] = []
        self._bell, self._signal_bell, self._state_bell = _Bell(), _Bell(), _Bell()
        """One for who watches resources, signals, state: a commit wakes nobody else."""
        # Declared as their protocols, so that a store that is built upon this one may put its own in their place.
        self.resources: ResourceFacet = _Resources(self)
        self.journal: JournalFacet = _Journal(self)
        self.leases: LeaseFacet = _Leases(self)
        self.state: StateFacet = _State(self)
        self.threads: ThreadFacet = _Threads(self)
        self.blobs: BlobFacet = _Blobs(self)
        self._vectors = _Vectors(self)
        self.vectors: VectorFacet | None = self._vectors

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        if self.closed:
            raise StoreUnavailableError(f"store {self.url} is closed; open it again")
        self._undo.clear()
        self._pending.clear()
        signal_seq = self._signal_seq
        try:
            results = [self._apply(operation) for operation in operations]
        except BaseException:
            for step in reversed(self._undo):
                step()
            self._signal_seq = signal_seq
            raise
        self._log.extend(self._pending)
        if len(self._log) > 2 * self._history:
            drop = len(self._log) - self._history
            del self._log[:drop]
            self._horizon += drop
        if self._pending:
            self._bell.ring()
        if self._signal_seq != signal_seq:
            self._signal_bell.ring()
        self._state_bell.ring()
        return results

    async def aclose(self) -> None:
        self.closed = True
        for bell in (self._bell, self._signal_bell, self._state_bell):
            bell.ring()

    # ------------------------------------------------------------------------------------------------- helpers

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        if key in table:
            self._undo.append(lambda old=table[key]: table.__setitem__(key, old))  # type: ignore[misc]
        else:
            self._undo.append(lambda: table.pop(key, None))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Any) -> Any:
        old = table.pop(key, None)
        if old is not None:
            self._undo.append(lambda: table.__setitem__(key, old))
        return old

    def _next_version(self) -> str:
        return str(self._horizon + len(self._log) + len(self._pending) + 1)

    def _version(self) -> int:
        return self._horizon + len(self._log)

    def _find(self, key: ResourceKey) -> Resource | None:
        return self._objects.get((key.group, key.kind), {}).get((key.namespace, key.name))

    def _copy(self, resource: Resource) -> Resource:
        """The resource as a database would give it back, with the next resourceVersion."""
        manifest = orjson.loads(_encode(resource.to_manifest(), resource.key))
        manifest["metadata"]["resourceVersion"] = self._next_version()
        return Resource.from_manifest(manifest)

    def _event(self, type_: Literal["ADDED", "MODIFIED", "DELETED"], resource: Resource) -> Resource:
        self._pending.append(WatchEvent(type_, resource))
        return resource

    # ------------------------------------------------------------------------------------------------- operations

    def _apply(self, operation: Operation) -> Any:
        match operation:
            case CreateResource(resource):
                return self._create(resource)
            case UpdateResource(resource, expected):
                return self._update(resource, expected)
            case DeleteResource(key, uid, expected):
                return self._delete(key, uid, expected)
            case ClaimRun():
                return self._claim(operation)
            case ReleaseRun():
                return self._release(operation)
            case AppendRecord():
                return self._append_record(operation)
            case DropJournal(run):
                for table in (self._records, self._claims, self._epochs, self._signals, self._signal_ids):
                    self._drop(cast("dict[Any, Any]", table), run)
                self._release_blobs(run)
                return None
            case SendSignal():
                return self._send_signal(operation)
            case SetState():
                return self._set_state(operation)
            case ClearState(scope):
                return self._clear_state(scope)
            case AppendMessages():
                return self._append_messages(operation)
            case DeleteThread(namespace, thread):
                return self._delete_thread(namespace, thread)
            case UpsertVectors():
                return self._vectors._upsert(operation)
            case PutBlob(data, holder):
                digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
                if digest not in self._blob_data:
                    self._put(self._blob_data, digest, bytes(data))
                self._hold(digest, holder)
                return digest
            case HoldBlob(digest, holder):
                if digest not in self._blob_data:
                    raise NotFoundError(f"blob {digest}")
                self._hold(digest, holder)
                return None
            case ReleaseBlobs(holder):
                return self._release_blobs(holder)
        raise TypeError(f"{type(operation).__name__} is no operation of a store")

    def _hold(self, digest: str, holder: str) -> None:
        self._put(self._holders.setdefault(digest, {}), holder, True)
        self._put(self._held.setdefault(holder, {}), digest, True)

    def _let_go(self, digest: str, holder: str) -> bool:
        holders = self._holders.get(digest, {})
        if self._drop(holders, holder) is None:
            return False
        self._drop(self._held[holder], digest)
        if not holders:
            self._drop(self._blob_data, digest)
        return True

    def _release_blobs(self, holder: str) -> int:
        return sum(self._let_go(digest, holder) for digest in list(self._held.get(holder, ())))

    def _create(self, resource: Resource) -> Resource:
        key = resource.key
        if self._find(key) is not None:
            raise AlreadyExistsError(str(key))
        new = self._copy(resource)
        self._put(self._objects.setdefault((key.group, key.kind), {}), (key.namespace, key.name), new)
        return self._event("ADDED", new)

    def _update(self, resource: Resource, expected: str | None) -> Resource:
        key = resource.key
        self._stored(key, resource.metadata.uid, expected)
        new = self._copy(resource)
        self._put(self._objects[key.group, key.kind], (key.namespace, key.name), new)
        return self._event("MODIFIED", new)

    def _delete(self, key: ResourceKey, uid: str | None, expected: str | None) -> Resource:
        old = self._stored(key, uid, expected)
        self._drop(self._objects[key.group, key.kind], (key.namespace, key.name))
        return self._event("DELETED", old.evolve(resource_version=self._next_version()))

    def _stored(self, key: ResourceKey, uid: str | None, expected: str | None) -> Resource:
        old = self._find(key)
        if old is None:
            raise NotFoundError(str(key))
        if uid is not None and uid != old.metadata.uid:
            raise ConflictError(str(key), "it was deleted and made anew meanwhile (its uid differs)")
        if expected is not None and expected != old.metadata.resource_version:
            raise ConflictError(str(key))
        return old

    def _claim(self, op: ClaimRun) -> int:
        present = self._claims.get(op.run)
        if (present.epoch if present else 0) != op.expected_epoch:
            raise FencedError(op.run)
        # Epochs go on after a finished claim: a worker of then must stay fenced.
        epoch = self._epochs.get(op.run, 0) + 1
        self._put(self._epochs, op.run, epoch)
        self._put(self._claims, op.run, Claim(op.run, op.key, op.holder, epoch, op.wake_at_s))
        return epoch

    def _fence(self, run: str, epoch: int) -> Claim:
        claim = self._claims.get(run)
        if claim is None or claim.epoch != epoch:
            raise FencedError(run)
        return claim

    def _release(self, op: ReleaseRun) -> None:
        claim = self._fence(op.run, op.epoch)
        if op.finished:
            self._drop(self._claims, op.run)
        else:
            self._put(self._claims, op.run, attrs.evolve(claim, holder="", wake_at_s=op.wake_at_s))

    def _append_record(self, op: AppendRecord) -> JsonValue:
        if any(isinstance(write, AppendRecord) and write.writes for write in op.writes):
            raise ValueError(
                f"record {op.path} of run {op.run}: a record among its writes cannot have writes of its own"
            )
        self._fence(op.run, op.epoch)
        body = _encode(op.record, f"record {op.path} of run {op.run}")
        if op.run not in self._records:
            self._put(self._records, op.run, {})
        records = self._records[op.run]
        if op.path in records:
            return orjson.loads(records[op.path][0])
        self._put(records, op.path, (body, len(records) + 1, self.clock()))
        for write in op.writes:
            self._apply(write)
        return None

    def _send_signal(self, op: SendSignal) -> bool:
        ids = self._signal_ids.setdefault(op.run, set())
        if op.signal_id in ids:
            return False
        payload = orjson.loads(_encode(op.payload, f"signal {op.name} to run {op.run}"))
        self._signal_seq += 1
        signal = Signal(op.run, self._signal_seq, op.name, payload, op.signal_id)
        if op.signal_id:
            ids.add(op.signal_id)
            self._undo.append(lambda: ids.discard(op.signal_id))
        present = self._signals.setdefault(op.run, [])
        present.append(signal)
        self._undo.append(present.pop)
        self._sent.append(signal)
        self._undo.append(self._sent.pop)
        return True

    def _set_state(self, op: SetState) -> None:
        expires = None if op.ttl_s is None else self.clock() + op.ttl_s
        values = self._states.setdefault(op.scope, {})
        for key, value in op.values.items():
            if value is None:
                self._drop(values, key)
            else:
                self._put(values, key, (_encode(value, f"{key} of {op.scope}"), expires))
        if any(value is not None for value in op.values.values()):
            self._begin_thread(op.scope)
        self._state_version += 1  # never one of before: a scope that was cleared and filled again has changed
        self._put(self._state_versions, op.scope, self._state_version)

    def _clear_state(self, scope: str) -> None:
        below = f"{scope}/"
        for name in [name for name in self._states if name == scope or name.startswith(below)]:
            self._drop(self._states, name)
            self._drop(self._state_versions, name)

    def _begin_thread(self, scope: str) -> None:
        """Make the thread that a state scope or a holder belongs to, unless it is there."""
        key, now = thread_of(scope), self.clock()
        if key is not None and key not in self._threads:
            self._put(self._threads, key, (ThreadInfo(*key, 0, 0, now, now), []))

    def _append_messages(self, op: AppendMessages) -> int:
        key, now = (op.namespace, op.thread), self.clock()
        info, stored = self._threads.get(key) or (ThreadInfo(*key, 0, 0, now, now), [])
        if op.expected_seq is not None and op.expected_seq != info.last_seq:
            raise ConflictError(
                f"thread {op.namespace}/{op.thread}", f"it ends at message {info.last_seq}, not {op.expected_seq}"
            )
        new = [(_encode(m, f"message of thread {op.thread}"), op.run, now) for m in op.messages]
        before, last = info.last_seq, info.last_seq + len(new)
        info = attrs.evolve(info, messages=last, last_seq=last, updated_s=now)
        # Not copied: an append costs the same whatever the length of the thread.
        stored.extend(new)
        self._undo.append(lambda: stored.__delitem__(slice(before, None)))
        self._put(self._threads, key, (info, stored))
        return last

    def _delete_thread(self, namespace: str, thread: str) -> bool:
        holder = thread_holder(namespace, thread)
        self._release_blobs(holder)
        self._clear_state(holder)
        self._vectors._let_go(holder)
        return self._drop(self._threads, (namespace, thread)) is not None


# ----------------------------------------------------------------------------------------------------- facets


@attrs.frozen
class _Resources:
    _store: MemoryStore

    async def get(self, key: ResourceKey) -> Resource | None:
        return self._store._find(key)

    async def get_many(self, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Resource]:
        return {key: found for key in keys if (found := self._store._find(key)) is not None}

    async def list(
        self,
        group: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: LabelSelector | None = None,
        fields: FieldSelector | None = None,
        owner_uid: str | None = None,
        limit: int = 0,
        continue_token: str = "",
    ) -> ResourceList:
        store = self._store
        version, after = store._version(), None
        if continue_token:
            try:
                first_version, *after = orjson.loads(urlsafe_b64decode(continue_token))
            except ValueError:
                raise UserError(f"continue token {continue_token!r} cannot be read; list again without it") from None
            if first_version < store._horizon:
                raise ExpiredError(str(first_version), str(store._horizon))
            version = first_version
        found = []
        for (of_group, of_kind), objects in store._objects.items():
            if kind in ("", of_kind) and (group == of_group or not (kind or group)):
                for (of_namespace, name), resource in objects.items():
                    place = [of_namespace, name, of_group, of_kind]
                    if namespace in (None, of_namespace) and (after is None or place > after):
                        found.append((place, resource))
        found.sort(key=lambda item: item[0])
        items: list[Resource] = []
        last: list[str] = []
        for place, resource in found:
            if labels and not labels.matches(resource.metadata.labels):
                continue
            if owner_uid is not None and all(o.uid != owner_uid for o in resource.metadata.owner_references):
                continue
            if fields and not fields.matches(resource):
                continue
            if limit and len(items) == limit:
                token = urlsafe_b64encode(orjson.dumps([version, *last])).decode()
                return ResourceList(tuple(items), str(version), token)
            items.append(resource)
            last = place
        return ResourceList(tuple(items), str(version))

    def watch(
        self, group: str, kind: str, *, namespace: str | None = None, since: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        store = self._store
        position = store._version() if since is None else int(since) if since.isdecimal() else -1

        def pull() -> list[WatchEvent]:
            nonlocal position
            if not store._horizon <= position <= store._version():
                raise ExpiredError(since or str(position), str(store._horizon))
            events = store._log[position - store._horizon :]
            position = store._version()
            return [event for event in events if _concerns(event.resource, group, kind, namespace)]

        return _Watch(store, store._bell, pull)

    async def counts(self) -> dict[tuple[str, str], int]:
        return {kind: len(objects) for kind, objects in self._store._objects.items() if objects}


def _concerns(resource: Resource, group: str, kind: str, namespace: str | None) -> bool:
    if kind and resource.kind != kind:
        return False
    if (kind or group) and resource.group != group:
        return False
    return namespace is None or resource.metadata.namespace == namespace


@attrs.frozen
class _Journal:
    _store: MemoryStore

    async def records(self, run: str) -> Sequence[Record]:
        records = self._store._records.get(run, {})
        return [Record(path, orjson.loads(body), seq, at) for path, (body, seq, at) in records.items()]

    async def claims(self) -> Sequence[Claim]:
        return list(self._store._claims.values())

    async def claim(self, run: str) -> Claim | None:
        return self._store._claims.get(run)

    async def signals(self, run: str) -> Sequence[Signal]:
        return tuple(self._store._signals.get(run, ()))

    def watch_signals(self) -> AsyncIterator[Signal]:
        store = self._store
        position = store._signal_seq

        def pull() -> list[Signal]:
            nonlocal position
            found: list[Signal] = []
            for signal in reversed(store._sent):
                if signal.seq <= position:
                    break
                found.append(signal)
            position = store._signal_seq
            return found[::-1]

        return _Watch(store, store._signal_bell, pull)


class _Leases:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._held: dict[str, Lease] = {}

    async def acquire(self, name: str, holder: str, ttl_s: float, data: JsonObject | None = None) -> Lease | None:
        now, old = self._store.clock(), self._held.get(name)
        renewed = old is not None and old.holder == holder and old.expires_at_s > now
        if old is not None and not renewed and old.expires_at_s > now:
            return None
        if data is None:
            data = old.data if old is not None and renewed else {}
        if old is not None and renewed:
            epoch = old.epoch
        else:
            epoch = self._store._lease_epoch = self._store._lease_epoch + 1
        lease = Lease(name, holder, now + ttl_s, epoch, orjson.loads(_encode(data, f"lease {name}")))
        self._held[name] = lease
        return lease

    async def release(self, name: str, holder: str) -> bool:
        lease = self._held.get(name)
        if lease is None or lease.holder != holder:
            return False
        del self._held[name]
        return True

    async def get(self, name: str) -> Lease | None:
        return self._held.get(name)

    async def list(self, prefix: str = "") -> Sequence[Lease]:
        return [lease for name, lease in sorted(self._held.items()) if name.startswith(prefix)]


@attrs.frozen
class _State:
    _store: MemoryStore

    async def get_value(self, scope: str, key: str) -> JsonValue:
        body, expires = self._store._states.get(scope, {}).get(key, (b"null", None))
        return orjson.loads(body) if expires is None or expires > self._store.clock() else None

    async def set_value(self, scope: str, key: str, value: JsonValue, *, ttl_s: float | None = None) -> None:
        await self._store.commit([SetState(scope, {key: value}, ttl_s)])

    async def update_values(self, scope: str, values: Mapping[str, JsonValue], *, ttl_s: float | None = None) -> None:
        await self._store.commit([SetState(scope, values, ttl_s)])

    async def get_state(self, scope: str) -> JsonObject:
        return self._now(scope)

    def _now(self, scope: str) -> JsonObject:
        now = self._store.clock()
        return {
            key: orjson.loads(body)
            for key, (body, expires) in self._store._states.get(scope, {}).items()
            if expires is None or expires > now
        }

    def watch_state(self, scope: str) -> AsyncIterator[JsonObject]:
        versions = self._store._state_versions
        seen = versions.get(scope)

        def pull() -> list[JsonObject]:
            nonlocal seen
            if versions.get(scope) == seen:
                return []
            seen = versions.get(scope)
            return [self._now(scope)]

        return _Watch(self._store, self._store._state_bell, pull)


@attrs.frozen
class _Threads:
    _store: MemoryStore

    async def last_seq(self, namespace: str, thread: str) -> int:
        found = self._store._threads.get((namespace, thread))
        return found[0].last_seq if found else 0

    async def messages(
        self, namespace: str, thread: str, *, up_to: int | None = None, last: int | None = None, after: int = 0
    ) -> Sequence[StoredMessage]:
        _, stored = self._store._threads.get((namespace, thread), (None, []))
        end = len(stored) if up_to is None else max(0, min(up_to, len(stored)))
        start = max(0, after, 0 if last is None else end - max(last, 0))
        return [
            StoredMessage(start + at, orjson.loads(body), run, time_s)
            for at, (body, run, time_s) in enumerate(stored[start:end], 1)
        ]

    async def list(
        self, namespace: str | None = None, *, limit: int = 0, after: tuple[str, str] = ("", "")
    ) -> Sequence[ThreadInfo]:
        threads = self._store._threads
        names = [name for name in threads if namespace in (None, name[0]) and (name > after or after == ("", ""))]
        first = heapq.nsmallest(limit, names) if limit > 0 else sorted(names)
        return [threads[name][0] for name in first]


@attrs.frozen
class _Blobs:
    _store: MemoryStore

    async def put(self, data: bytes) -> str:
        [digest] = await self._store.commit([PutBlob(data)])
        return str(digest)

    async def get(self, digest: str) -> bytes:
        try:
            return self._store._blob_data[digest]
        except KeyError:
            raise NotFoundError(f"blob {digest}") from None

    async def has(self, digest: str) -> bool:
        return digest in self._store._blob_data

    async def delete(self, digest: str) -> bool:
        return self._store._let_go(digest, "")


class _Vectors:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._collections: dict[str, dict[str, tuple[tuple[float, ...], JsonObject, str]]] = {}
        """Vector of length 1 (or all zeros), metadata and holder by id,"""
        self._held: dict[str, dict[tuple[str, str], bool]] = {}
        """and what a holder holds: (collection, id)."""

    async def upsert(self, collection: str, items: Sequence[tuple[str, Sequence[float], JsonObject]]) -> None:
        await self._store.commit([UpsertVectors(collection, items)])

    def _upsert(self, op: UpsertVectors) -> None:
        present = self._collections.setdefault(op.collection, {})
        length = next((len(vector) for vector, _, _ in present.values()), None)
        if op.items:
            self._store._begin_thread(op.holder)
        for name, vector, metadata in op.items:
            length = len(vector) if length is None else length
            _check_length(op.collection, len(vector), length)
            self._leave(op.collection, name)
            copied = orjson.loads(_encode(metadata, f"metadata of {name}"))
            self._store._put(present, name, (_unit(vector), copied, op.holder))
            if op.holder:
                self._store._put(self._held.setdefault(op.holder, {}), (op.collection, name), True)

    def _leave(self, collection: str, name: str) -> None:
        """The holder of a vector holds it no longer."""
        old = self._collections[collection].get(name)
        if old is not None and old[2]:
            self._store._drop(self._held[old[2]], (collection, name))
            if not self._held[old[2]]:
                self._store._drop(self._held, old[2])

    def _remove(self, collection: str, name: str) -> None:
        self._leave(collection, name)
        self._store._drop(self._collections[collection], name)

    def _let_go(self, holder: str) -> None:
        for collection, name in list(self._held.get(holder, ())):
            self._remove(collection, name)

    async def delete(
        self,
        collection: str,
        ids: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        *,
        holder: str | None = None,
    ) -> int:
        chosen = [name for name, *_ in self._chosen(collection, where, holder, ids)]
        for name in chosen:
            self._remove(collection, name)
        return len(chosen)

    async def query(
        self,
        collection: str,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        holder: str | None = None,
    ) -> Sequence[VectorMatch]:
        wanted = _unit(vector)
        for unit, _, _ in self._collections.get(collection, {}).values():
            _check_length(collection, len(wanted), len(unit))
            break  # all have one length
        # |a - b|^2 = 2 - 2ab. Of what Python brings along, dist of tuples is the quickest: 2.3 us for 384 numbers,
        # where sum(map(mul, ...)) takes 7.8 and sumprod (of Python 3.12) 4. Zeros have no direction: similarity 0.
        dist, directed = math.dist, any(wanted)
        scored = (
            (dist(unit, wanted) ** 2 / 2 - 1 if directed and any(unit) else 0.0, name, metadata)
            for name, unit, metadata in self._chosen(collection, where, holder)
        )
        nearest = heapq.nsmallest(k, scored)  # names differ, so metadata is never compared
        return [VectorMatch(name, max(-1.0, 0.0 - score), dict(metadata)) for score, name, metadata in nearest]

    def _chosen(
        self,
        collection: str,
        where: Mapping[str, Any] | None,
        holder: str | None,
        ids: Sequence[str] | None = None,
    ) -> Iterator[tuple[str, tuple[float, ...], JsonObject]]:
        """Id, vector and metadata of those that fit."""
        present = self._collections.get(collection, {})
        names: Iterable[str] = present
        if ids is not None:
            names = set(ids) & present.keys()
        elif holder:
            names = (name for of, name in self._held.get(holder, ()) if of == collection)
        fields = dict(where or {}).items()
        for name in names:
            unit, metadata, held_by = present[name]
            if fields <= metadata.items() and (holder is None or holder == held_by):
                yield name, unit, metadata


def _check_length(collection: str, found: int, expected: int) -> None:
    if found != expected:
        raise VectorLengthError(collection, found, expected)


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    length = math.hypot(*vector)
    return tuple(value / length for value in vector) if length else (0.0,) * len(vector)
