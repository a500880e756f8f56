"""The store: one per URL, six facets, and one atomic batch.

Every write is an operation (plain data below). :meth:`Store.commit` carries out a list of them atomically and
durably: all or none, conditions checked inside the transaction, the results in order. So one commit can finish a
run: its journal, its messages and its status change together. The facets' own write methods are short-hands for
a commit of one operation.

Order: resource versions are decimal numbers that grow with every resource write of the whole store; a watch
delivers events in that order, without gap or repetition, whichever process wrote.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable
from urllib.parse import quote, unquote

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.api.selectors import FieldSelector, LabelSelector

__all__ = [
    "AppendMessages",
    "AppendRecord",
    "BlobFacet",
    "Claim",
    "ClaimRun",
    "ClearState",
    "CreateResource",
    "DeleteResource",
    "DeleteThread",
    "DropJournal",
    "HoldBlob",
    "JournalFacet",
    "Lease",
    "LeaseFacet",
    "Operation",
    "PutBlob",
    "Record",
    "ReleaseBlobs",
    "ReleaseRun",
    "ResourceFacet",
    "ResourceList",
    "SendSignal",
    "SetState",
    "Signal",
    "StateFacet",
    "Store",
    "StoredMessage",
    "ThreadFacet",
    "ThreadInfo",
    "UpdateResource",
    "UpsertVectors",
    "VectorFacet",
    "VectorMatch",
    "WatchEvent",
    "thread_holder",
    "thread_of",
]


def thread_holder(namespace: str, thread: str) -> str:
    """What a thread is called as a holder of blobs and vectors, and the state scope above all of its own.

    >>> thread_holder("default", "a/b")
    'thread/default/a%2Fb'
    """
    return f"thread/{namespace}/{quote(thread, safe='')}"


def thread_of(scope: str) -> tuple[str, str] | None:
    """Namespace and name of the thread that a holder or a state scope belongs to, None when it belongs to none.

    >>> thread_of("thread/default/a%2Fb/agent/default/helper/working")
    ('default', 'a/b')
    """
    if not scope.startswith("thread/"):
        return None
    _, namespace, quoted, *_ = *scope.split("/", 3), ""
    thread = unquote(quoted)
    # Another spelling of a name is not what the thread's own is below, and does not go with it.
    return (namespace, thread) if namespace and thread and quote(thread, safe="") == quoted else None


# ------------------------------------------------------------------------------------------------- operations


@attrs.frozen
class CreateResource:
    """Result: the resource with its resourceVersion. Error: AlreadyExistsError.

    The store assigns resourceVersion and nothing else; uid, generation and timestamps are the writer's.
    """

    resource: Resource


@attrs.frozen
class UpdateResource:
    """Replace a resource whole. Result: it with its new resourceVersion.

    Errors: NotFoundError; ConflictError when ``expected`` is given and is not the stored resourceVersion, or when
    the stored uid is another one.
    """

    resource: Resource
    expected: str | None = None


@attrs.frozen
class DeleteResource:
    """Remove a resource. Result: its last state with the resourceVersion of the removal.

    Errors: NotFoundError; ConflictError when ``uid`` or ``expected`` (resourceVersion) is given and differs.
    """

    key: ResourceKey
    uid: str | None = None
    expected: str | None = None


@attrs.frozen
class ClaimRun:
    """Make ``holder`` the worker of a run from now on. Result: the new epoch (int, from 1, +1 at each claim).

    ``expected_epoch`` 0: the run must have no claim yet; n: the present claim's epoch must be n.
    Error: FencedError when it is not. ``key`` is the Run resource; ``wake_at_s`` as in :class:`Claim`.
    """

    run: str
    """uid of the Run."""
    key: ResourceKey
    holder: str
    expected_epoch: int = 0
    wake_at_s: float | None = None


@attrs.frozen
class ReleaseRun:
    """Give a claim up. Result: None. Error: FencedError when ``epoch`` is not the present one.

    ``finished``: the claim is removed, the run is over (its journal stays until :class:`DropJournal`).
    Otherwise the claim stays without holder until somebody claims the run: at ``wake_at_s`` (unix seconds), at a
    signal, or at once when ``wake_at_s`` is 0; None means at a signal only.
    """

    run: str
    epoch: int
    finished: bool = True
    wake_at_s: float | None = None


@attrs.frozen
class AppendRecord:
    """Record the outcome at a path of a run's journal.

    Result: None when it was recorded now, else the record that was there before (first one wins). ``writes`` are
    carried out when it was recorded now and not otherwise; their results are not told.
    Error: FencedError when ``epoch`` is not the epoch of the run's present claim, or there is no claim.
    """

    run: str
    path: str
    record: JsonValue
    epoch: int
    writes: tuple[Operation, ...] = ()


@attrs.frozen
class DropJournal:
    """Remove all records, signals and the claim of a run, and let go of the blobs it holds. Result: None."""

    run: str


@attrs.frozen
class SendSignal:
    """Put a signal into a run's inbox, before or while it runs. Result: True, or False for a repeated ``signal_id``."""

    run: str
    name: str
    payload: JsonValue = None
    signal_id: str = ""
    """"" = never a repetition."""


@attrs.frozen
class SetState:
    """Set values of a scope; a value None removes its key. Result: None.

    A thread begins with the first value of its state (:func:`thread_of`), without messages: so who lists and deletes
    threads finds what hangs on them. ``ttl_s`` counts from now and is set on each key written; None = for ever.
    """

    scope: str
    values: Mapping[str, JsonValue]
    ttl_s: float | None = None


@attrs.frozen
class ClearState:
    """Remove a scope with all its values, and the scopes below it (``<scope>/...``). Result: None."""

    scope: str


@attrs.frozen
class AppendMessages:
    """Append messages to a thread, which is made when missing. Result: the sequence number of the last one."""

    namespace: str
    thread: str
    messages: Sequence[JsonObject]
    run: str = ""
    expected_seq: int | None = None
    """ConflictError unless the thread's last sequence number is this one (0 = empty or missing)."""


@attrs.frozen
class DeleteThread:
    """Remove a thread: its messages, the blobs and vectors that it holds (:func:`thread_holder`), the state below that
    scope. Result: whether there was a thread.
    """

    namespace: str
    thread: str


@attrs.frozen
class UpsertVectors:
    """Write vectors of a collection by id; a store that keeps none raises StoreError. Result: None.

    All vectors of a collection have one length, else StoreError with reason VectorLength. ``holder`` as for blobs: what
    a thread holds goes with it (:class:`DeleteThread`), and the thread begins with it as with state
    (:class:`SetState`); the last write of an id says who holds it.
    """

    collection: str
    items: Sequence[tuple[str, Sequence[float], JsonObject]]
    """(id, vector, metadata) each."""
    holder: str = ""


@attrs.frozen
class PutBlob:
    """Keep bytes by digest. Result: ``"sha256:<hex>"``; the same bytes are kept once.

    Bytes stay as long as somebody holds them. The holder of a run is its uid: :class:`DropJournal` lets go of what it
    holds. ``holder`` "" holds until :meth:`BlobFacet.delete`.
    """

    data: bytes
    holder: str = ""


@attrs.frozen
class HoldBlob:
    """Hold bytes that are there already, without sending them again. Result: None. Error: NotFoundError."""

    digest: str
    holder: str


@attrs.frozen
class ReleaseBlobs:
    """Let go of all blobs that ``holder`` holds; what nobody else holds goes at once. Result: how many it held."""

    holder: str


Operation: TypeAlias = (
    CreateResource
    | UpdateResource
    | DeleteResource
    | ClaimRun
    | ReleaseRun
    | AppendRecord
    | DropJournal
    | SendSignal
    | SetState
    | ClearState
    | AppendMessages
    | DeleteThread
    | UpsertVectors
    | PutBlob
    | HoldBlob
    | ReleaseBlobs
)
"""What :meth:`Store.commit` carries out."""

# ------------------------------------------------------------------------------------------------- results


@attrs.frozen
class ResourceList:
    """A page of resources, ordered by namespace and name, as of ``resource_version`` (watch from there)."""

    items: tuple[Resource, ...]
    resource_version: str
    continue_token: str = ""
    """"" on the last page; else pass it on to get the next one."""


@attrs.frozen
class WatchEvent:
    """``resource`` is the state after the event (before it, for DELETED), with the event's resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: Resource


@attrs.frozen
class Record:
    """One line of a journal; ``seq`` grows in the order of recording."""

    path: str
    record: JsonValue
    seq: int
    time_s: float


@attrs.frozen
class Claim:
    """An unfinished run and who works on it."""

    run: str
    key: ResourceKey
    holder: str
    """Name of the worker, "" when nobody."""
    epoch: int
    wake_at_s: float | None
    """With no holder: unix seconds at which it should be claimed, None = when a signal comes."""


@attrs.frozen
class Signal:
    """What somebody sent to a run."""

    run: str
    """uid of the Run."""
    seq: int
    """Grows over all runs of the store."""
    name: str
    payload: JsonValue
    signal_id: str = ""


@attrs.frozen
class Lease:
    """``holder`` has ``name`` until ``expires_at_s`` (unix seconds); ``data`` is the holder's own JSON."""

    name: str
    holder: str
    expires_at_s: float
    epoch: int
    data: JsonObject


@attrs.frozen
class StoredMessage:
    """A message of a thread."""

    seq: int
    """From 1 within the thread."""
    message: JsonObject
    """As ``Message.to_json`` gave it."""
    run: str
    """uid of the Run that wrote it, "" for none."""
    time_s: float
    """Unix seconds."""


@attrs.frozen
class ThreadInfo:
    """A thread without its messages."""

    namespace: str
    thread: str
    messages: int
    """How many there are."""
    last_seq: int
    """Number of the last one, 0 for none."""
    created_s: float
    """Unix seconds."""
    updated_s: float
    """When the last message came, or the thread was made; writes of its state do not count."""


@attrs.frozen
class VectorMatch:
    """A vector that a query found."""

    id: str
    score: float
    """Cosine similarity, -1 to 1."""
    metadata: JsonObject


# ------------------------------------------------------------------------------------------------- facets


class ResourceFacet(Protocol):
    """Resources of all kinds. A store knows no kind: it keeps what it is given."""

    async def get(self, key: ResourceKey) -> Resource | None:
        """The resource, None when it is not there."""
        ...

    async def get_many(self, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Resource]:
        """Those of ``keys`` that exist."""
        ...

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
        """Resources of one kind; ``kind`` "" means of every kind, ``namespace`` None of every namespace.

        Raises: ExpiredError when ``continue_token`` is too old to go on.
        """
        ...

    def watch(
        self, group: str, kind: str, *, namespace: str | None = None, since: str | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Events after ``since`` (a resourceVersion; None = from now), for ever, in order; ``kind`` "" = all.

        "From now" is the moment of the call, not of the first ``anext``.
        Raises (from the iterator): ExpiredError.
        """
        ...

    async def counts(self) -> dict[tuple[str, str], int]:
        """Resources by (group, kind)."""
        ...


class JournalFacet(Protocol):
    """What runs did, who works on them, and what was sent to them. A run is named by the uid of its Run."""

    async def records(self, run: str) -> Sequence[Record]:
        """All records of a run in order of recording."""
        ...

    async def claims(self) -> Sequence[Claim]:
        """All unfinished runs: cost grows with them, not with history."""
        ...

    async def claim(self, run: str) -> Claim | None:
        """The claim of an unfinished run, None when there is none."""
        ...

    async def signals(self, run: str) -> Sequence[Signal]:
        """All signals a run got, in order."""
        ...

    def watch_signals(self) -> AsyncIterator[Signal]:
        """Signals sent from now on (the moment of the call) by any process."""
        ...


class LeaseFacet(Protocol):
    """Who has what for a while."""

    async def acquire(self, name: str, holder: str, ttl_s: float, data: JsonObject | None = None) -> Lease | None:
        """Take or renew; None while another holder's lease has not expired."""
        ...

    async def release(self, name: str, holder: str) -> bool:
        """Give it up; whether ``holder`` had it."""
        ...

    async def get(self, name: str) -> Lease | None:
        """The lease, expired or not."""
        ...

    async def list(self, prefix: str = "") -> Sequence[Lease]:
        """Leases whose name begins so, expired ones too."""
        ...


class StateFacet(Protocol):
    """Key-value scopes with TTL. A scope's name is a path: ``network/<namespace>/<name>``, ``run/<uid>`` and, below
    :func:`thread_holder`, all that belongs to a thread.
    """

    async def get_value(self, scope: str, key: str) -> JsonValue:
        """The value, None when missing or expired."""
        ...

    async def set_value(self, scope: str, key: str, value: JsonValue, *, ttl_s: float | None = None) -> None:
        """As :class:`SetState` for one key."""
        ...

    async def update_values(self, scope: str, values: Mapping[str, JsonValue], *, ttl_s: float | None = None) -> None:
        """As :class:`SetState`."""
        ...

    async def get_state(self, scope: str) -> JsonObject:
        """All values that have not expired."""
        ...

    def watch_state(self, scope: str) -> AsyncIterator[JsonObject]:
        """The whole state after each change from now on; changes in quick succession may be seen as one."""
        ...


class ThreadFacet(Protocol):
    """Conversations. Messages are written by :class:`AppendMessages`."""

    async def last_seq(self, namespace: str, thread: str) -> int:
        """0 for a thread that is empty or missing."""
        ...

    async def messages(
        self, namespace: str, thread: str, *, up_to: int | None = None, last: int | None = None, after: int = 0
    ) -> Sequence[StoredMessage]:
        """Messages with ``after < seq <= up_to``, the ``last`` ones of them, in order; reads no others."""
        ...

    async def list(
        self, namespace: str | None = None, *, limit: int = 0, after: tuple[str, str] = ("", "")
    ) -> Sequence[ThreadInfo]:
        """Threads by (namespace, thread), those ``after`` a pair, at most ``limit`` (0 = all)."""
        ...


class VectorFacet(Protocol):
    """Embeddings with metadata; optional."""

    async def upsert(self, collection: str, items: Sequence[tuple[str, Sequence[float], JsonObject]]) -> None:
        """As :class:`UpsertVectors` without a holder."""
        ...

    async def delete(
        self,
        collection: str,
        ids: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        *,
        holder: str | None = None,
    ) -> int:
        """Remove those that meet all that is given; how many they were. ``where`` and ``holder`` as for a query."""
        ...

    async def query(
        self,
        collection: str,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        holder: str | None = None,
    ) -> Sequence[VectorMatch]:
        """The ``k`` nearest by cosine, best first.

        Args:
            where: metadata fields that must be equal. All of the collection is searched for them.
            holder: only what it holds ("": what nobody holds). Costs what that is, whatever else there is.
        """
        ...


class BlobFacet(Protocol):
    """Large payloads by digest, for whoever holds them. Write them by :class:`PutBlob` to name a holder."""

    async def put(self, data: bytes) -> str:
        """Keep until :meth:`delete`; return the digest."""
        ...

    async def get(self, digest: str) -> bytes:
        """The bytes. Raises: NotFoundError."""
        ...

    async def has(self, digest: str) -> bool:
        """Whether the bytes are there."""
        ...

    async def delete(self, digest: str) -> bool:
        """Take a :meth:`put` back: the bytes go unless others hold them. False when there was no such put."""
        ...


@runtime_checkable
class Store(Protocol):
    """A database with its facets. Made by a StoreRegistration's factory, used by one event loop."""

    url: str
    """As given, without secrets."""

    @property
    def resources(self) -> ResourceFacet: ...
    @property
    def journal(self) -> JournalFacet: ...
    @property
    def leases(self) -> LeaseFacet: ...
    @property
    def state(self) -> StateFacet: ...
    @property
    def threads(self) -> ThreadFacet: ...
    @property
    def blobs(self) -> BlobFacet: ...
    @property
    def vectors(self) -> VectorFacet | None: ...

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        """Carry out all operations atomically; when this returns they are durable.

        Results in order; the first operation that fails raises its error and nothing is done.
        Commits of concurrent tasks may share one transaction, but none sees another's failure.
        """
        ...

    async def aclose(self) -> None:
        """End watches, finish pending commits, close. Safe to call twice."""
        ...
