"""Scripts of commits that use all of a store, made from a seed, and what a store must hold after so many of them.

A script is the same in each process that makes it. Its names are its own, so several scripts run on one store at once;
what a store holds of a script is compared with what the script says after ``n`` commits: no more, no less.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import attrs

from kastra_core.api.meta import ObjectMeta, OwnerReference, Resource, ResourceKey
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
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
    Store,
    UpdateResource,
)
from store_soundness import rows_of

__all__ = ["GROUP", "KIND", "Action", "Script", "digest_of", "essence", "key", "named"]

GROUP, KIND = "load.test", "Thing"

Action: TypeAlias = "list[Operation] | Callable[[Store], Awaitable[Any]]"
"""One commit: operations, or a call of a facet that writes."""


def named(namespace: str, name: str, *, owner: str = "", **spec: Any) -> Resource:
    owners = (OwnerReference(api_version="v1", kind="Owner", name="o", uid=owner),) if owner else ()
    meta = ObjectMeta(
        name=name, namespace=namespace, uid=f"{namespace}/{name}", labels={"part": name[:1]}, owner_references=owners
    )
    return Resource(api_version=f"{GROUP}/v1", kind=KIND, metadata=meta, spec=spec)


def key(namespace: str, name: str) -> ResourceKey:
    return ResourceKey(GROUP, KIND, namespace, name)


def essence(value: Any) -> Any:
    """``value`` with long texts as digests."""
    if isinstance(value, str) and len(value) > 200:
        return f"{len(value)} {hashlib.sha256(value.encode()).hexdigest()[:16]}"
    if isinstance(value, dict):
        return {name: essence(item) for name, item in value.items()}
    if isinstance(value, list):
        return [essence(item) for item in value]
    return value


def digest_of(state: Any) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


@attrs.define
class _Run:
    epoch: int = 0
    holder: str | None = None
    """None: no claim."""
    records: dict[str, Any] = attrs.field(factory=dict)
    signals: list[Any] = attrs.field(factory=list)


class Script:
    """Call :meth:`next` for one commit after the other; :meth:`state` is what the store then holds of this script.

    Args:
        name: seed, and the first part of all names.
        plain: only commits, no calls of facets with a write of their own.
    """

    def __init__(self, name: str, *, plain: bool = False) -> None:
        self.name, self.count = name, 0
        self._random = Random(name)
        self._resources: dict[str, Any] = {}
        self._runs: dict[str, _Run] = {}
        self._state: dict[str, Any] = {}
        self._threads: dict[str, list[Any]] = {}
        self._holds: dict[str, set[int]] = {}
        self._leases: dict[str, Any] = {}
        self._vectors: dict[str, Any] = {}
        self._kinds: list[Callable[[], Action]] = [
            *[self._pair] * 4,
            *[self._journal] * 4,
            *[self._blob] * 3,
            *[self._thread] * 2,
            *[self._values] * 2,
            self._all_at_once,
        ]
        if not plain:
            self._kinds += [self._lease, self._vector]

    def next(self) -> Action:
        self.count += 1
        return self._random.choice(self._kinds)()

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.next()

    # --------------------------------------------------------------------------------------------- one kind each

    def _text(self) -> str:
        """Mostly short, sometimes more than the 64 KB that a store keeps in a row."""
        size = self._random.choice((10, 10, 10, 10, 500, 5000, 66_000, 150_000))
        return (f"{self.name} {self.count} " * (size // (len(self.name) + 3) + 1))[:size]

    def _blob_of(self, number: int) -> bytes:
        return f"{self.name} {number} ".encode() * (1, 100, 6000, 14_000)[number % 4]

    def _pair(self) -> list[Operation]:
        name = f"{self._random.randrange(4)}"
        both = (f"a{name}", f"b{name}")
        if both[0] not in self._resources:
            text, owner = self._text(), self._random.choice(("", f"{self.name}/owner"))
            self._resources.update({one: [self.count, essence(text), owner] for one in both})
            return [CreateResource(named(self.name, one, owner=owner, n=self.count, text=text)) for one in both]
        if self._random.random() < 0.3:
            for one in both:
                del self._resources[one]
            return [DeleteResource(key(self.name, one)) for one in both]
        self._resources.update({one: [self.count, "", ""] for one in both})
        return [UpdateResource(named(self.name, one, n=self.count, text="")) for one in both]

    def _journal(self) -> list[Operation]:
        uid = f"{self.name}/r{self._random.randrange(3)}"
        run = self._runs.setdefault(uid, _Run())
        if run.holder is None:
            run.epoch, run.holder = run.epoch + 1, f"w{self.count}"
            return [ClaimRun(uid, key(self.name, uid), run.holder)]
        doing = self._random.random()
        if doing < 0.5:
            text, path = self._text(), f"step/{self.count}"
            run.records[path] = essence(text)
            return [AppendRecord(uid, path, {"text": text}, run.epoch)]
        if doing < 0.7:
            text, name = self._text(), f"s{self.count}"
            run.signals.append(essence(text))
            return [SendSignal(uid, "go", text, name), SendSignal(uid, "go", "repeated", name)]
        if doing < 0.85:
            epoch, run.holder = run.epoch, None
            return [ReleaseRun(uid, epoch)]
        del self._runs[uid]
        self._holds.pop(uid, None)
        return [DropJournal(uid)]

    def _blob(self) -> list[Operation]:
        holder = self._random.choice((f"{self.name}/h0", f"{self.name}/h1", *self._runs))
        held_now = sorted(set().union(*self._holds.values()))
        doing, number = self._random.random(), self._random.randrange(8)
        if doing < 0.25 and holder in self._holds:
            del self._holds[holder]
            return [ReleaseBlobs(holder)]
        if doing < 0.5 and held_now:
            number = self._random.choice(held_now)
            self._holds.setdefault(holder, set()).add(number)
            digest = f"sha256:{hashlib.sha256(self._blob_of(number)).hexdigest()}"
            return [HoldBlob(digest, holder)]
        self._holds.setdefault(holder, set()).add(number)
        return [PutBlob(self._blob_of(number), holder)]

    def _thread(self) -> list[Operation]:
        thread = f"t{self._random.randrange(2)}"
        found = self._threads.get(thread)
        if found and self._random.random() < 0.2:
            del self._threads[thread]
            return [DeleteThread(self.name, thread)]
        messages = [{"n": self.count, "text": self._text()} for _ in range(self._random.randrange(1, 4))]
        last = len(found or ())
        self._threads.setdefault(thread, []).extend(essence(message) for message in messages)
        return [AppendMessages(self.name, thread, messages, run="r", expected_seq=last)]

    def _values(self) -> list[Operation]:
        values: dict[str, Any] = {}
        for name in self._random.sample(("a", "b", "c", "d"), 2):
            values[name] = self._random.choice((None, self.count, self._text()))
            if values[name] is None:
                self._state.pop(name, None)
            else:
                self._state[name] = essence(values[name])
        return [SetState(self.name, values)]

    def _all_at_once(self) -> list[Operation]:
        return [operation for part in (self._pair, self._thread, self._values, self._journal) for operation in part()]

    def _lease(self) -> Callable[[Store], Awaitable[Any]]:
        name, data = f"{self.name}/lease", {"n": self.count}
        if name in self._leases and self._random.random() < 0.3:
            del self._leases[name]
            return lambda store: store.leases.release(name, "me")
        self._leases[name] = data
        return lambda store: store.leases.acquire(name, "me", 3600.0, data)

    def _vector(self) -> Callable[[Store], Awaitable[Any]]:
        ids = [f"v{self._random.randrange(4)}" for _ in range(2)]
        if ids[0] in self._vectors and self._random.random() < 0.4:
            del self._vectors[ids[0]]
            return lambda store: store.vectors.delete(self.name, ids[:1])  # type: ignore[union-attr]
        at = self.count
        self._vectors.update({one: {"n": at} for one in ids})
        items = [(one, [1.0, float(at)], {"n": at}) for one in dict.fromkeys(ids)]
        return lambda store: store.vectors.upsert(self.name, items)  # type: ignore[union-attr]

    # --------------------------------------------------------------------------------------------- the outcome

    def state(self) -> dict[str, Any]:
        runs = self._runs.items()
        return {
            "resources": dict(self._resources),
            "records": {uid: dict(run.records) for uid, run in runs if run.records},
            "signals": {uid: list(run.signals) for uid, run in runs if run.signals},
            "claims": {uid: [run.holder, run.epoch] for uid, run in runs if run.holder is not None},
            "state": dict(self._state),
            "threads": {thread: list(found) for thread, found in self._threads.items()},
            "blobs": sorted(set().union(*self._holds.values())),
            "holders": {holder: sorted(numbers) for holder, numbers in self._holds.items()},
            "leases": dict(self._leases),
            "vectors": dict(self._vectors),
        }

    async def found(self, store: Store, path: Path) -> dict[str, Any]:
        """What ``store`` holds of this script, in the words of :meth:`state`; ``path``: its file."""
        resources = (await store.resources.list(GROUP, KIND, namespace=self.name)).items
        uids = [f"{self.name}/r{n}" for n in range(3)]
        records = {uid: await store.journal.records(uid) for uid in uids}
        signals = {uid: await store.journal.signals(uid) for uid in uids}
        claims = {uid: await store.journal.claim(uid) for uid in uids}
        threads = {info.thread: info for info in await store.threads.list(self.name)}
        messages = {thread: await store.threads.messages(self.name, thread) for thread in threads}
        for thread, info in threads.items():
            assert info.messages == info.last_seq == len(messages[thread])
            assert [message.seq for message in messages[thread]] == list(range(1, info.last_seq + 1))
        owned = {r.metadata.name for r in (await store.resources.list("", "", owner_uid=f"{self.name}/owner")).items}
        assert owned == {r.metadata.name for r in resources if r.metadata.owner_references}
        vectors = store.vectors
        assert vectors is not None
        return {
            "resources": {
                r.metadata.name: [
                    r.spec["n"],
                    essence(r.spec["text"]),
                    "".join(owner.uid for owner in r.metadata.owner_references),
                ]
                for r in resources
            },
            "records": {
                uid: {r.path: essence(r.record["text"]) for r in lines} for uid, lines in records.items() if lines
            },
            "signals": {uid: [essence(s.payload) for s in sent] for uid, sent in signals.items() if sent},
            "claims": {uid: [claim.holder, claim.epoch] for uid, claim in claims.items() if claim},
            "state": essence(await store.state.get_state(self.name)),
            "threads": {thread: [essence(m.message) for m in found] for thread, found in messages.items()},
            "blobs": [n for n in range(8) if await self._has(store, n)],
            "holders": self._holders(path),
            "leases": {lease.name: lease.data for lease in await store.leases.list(f"{self.name}/")},
            "vectors": {match.id: match.metadata for match in await vectors.query(self.name, [1.0, 0.0], k=100)},
        }

    async def _has(self, store: Store, number: int) -> bool:
        data = self._blob_of(number)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if not await store.blobs.has(digest):
            return False
        assert await store.blobs.get(digest) == data
        return True

    def _holders(self, path: Path) -> dict[str, list[int]]:
        # No facet tells who holds a blob.
        numbers = {hashlib.sha256(self._blob_of(number)).digest(): number for number in range(8)}
        found: dict[str, list[int]] = {}
        for holder, digest in rows_of(path, "SELECT h.holder, b.digest FROM holds h JOIN blobs b ON b.id = h.blob"):
            if holder.startswith(f"{self.name}/"):
                found.setdefault(holder, []).append(numbers[bytes(digest)])
        return {holder: sorted(these) for holder, these in found.items()}
