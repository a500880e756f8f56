"""Any content for a store on a file, and all that its facets tell of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import apsw
import pytest
from hypothesis import strategies as st

from kastra_core.api.meta import ObjectMeta, OwnerReference, Resource, ResourceKey
from kastra_core.errors import KastraError
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
    UpsertVectors,
    thread_holder,
)
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store

Content: TypeAlias = Sequence[tuple[Any, ...]]
"""Operations as plain data: a word and what it needs."""

INLINE_BYTES = 200
SIZES = (1, INLINE_BYTES - 8, INLINE_BYTES - 7, 3 * INLINE_BYTES)
"""Of texts that, as ``{"v": text}``, stay in their row, just so, just not, and do not."""
KINDS = ("Thing", "Other", "Run")
NOBODY = "\x01journal/4294967297"
"""A holder whose name looks like that of a row."""

_n = st.integers(0, 2)
_value = st.builds(lambda size, letter: {"v": letter * size}, st.sampled_from(SIZES), st.sampled_from("ab"))
_holder = st.sampled_from(("", "run-0", "run-1", NOBODY))

contents: st.SearchStrategy[Content] = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("create", "update")), _n, st.sampled_from(KINDS), _value),
        st.tuples(st.just("delete"), _n, st.sampled_from(KINDS)),
        st.tuples(st.just("claim"), _n),
        st.tuples(st.just("release"), _n, st.booleans()),
        st.tuples(st.just("record"), _n, _n, _value),
        st.tuples(st.just("drop"), _n),
        st.tuples(st.just("signal"), _n, st.sampled_from(("", "once")), _value),
        st.tuples(st.just("state"), _n, _n, st.none() | _value),
        st.tuples(st.just("say"), _n, st.lists(_value, max_size=3)),
        st.tuples(st.just("forget"), _n),
        st.tuples(st.just("put"), st.sampled_from("xyz"), _holder),
        st.tuples(st.just("hold"), st.sampled_from("xyz"), _holder),
        st.tuples(st.just("let_go"), _holder),
        st.tuples(st.just("vector"), _n, _n),
    ),
    max_size=25,
)


def resource(name: str, kind: str = "Thing", *, owners: Sequence[str] = (), **spec: Any) -> Resource:
    references = tuple(OwnerReference(api_version="v1", kind="Owner", name="o", uid=owner) for owner in owners)
    meta = ObjectMeta(name=name, uid=f"{kind}-{name}", labels={"n": name}, owner_references=references)
    return Resource(api_version="t/v1", kind=kind, metadata=meta, spec=spec)


def key(name: str, kind: str = "Thing") -> ResourceKey:
    return ResourceKey("t", kind, "", name)


def digest_of(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def _operation(word: str, n: Any, *more: Any) -> Operation:
    match word:
        case "create":
            return CreateResource(resource(f"n{n}", more[0], owners=[f"o{n}"] * n, **more[1]))
        case "update":
            return UpdateResource(resource(f"n{n}", more[0], **more[1]))
        case "delete":
            return DeleteResource(key(f"n{n}", more[0]))
        case "claim":
            return ClaimRun(f"run-{n}", key(f"n{n}", "Run"), "worker/gone")
        case "release":
            return ReleaseRun(f"run-{n}", 1, finished=more[0], wake_at_s=5.0)
        case "record":
            return AppendRecord(f"run-{n}", f"p{more[0]}", more[1], 1)
        case "drop":
            return DropJournal(f"run-{n}")
        case "signal":
            return SendSignal(f"run-{n}", "s", more[1], more[0])
        case "state":
            return SetState(f"scope-{n}", {f"k{more[0]}": more[1]})
        case "say":
            return AppendMessages("ns", f"t{n}", more[0])
        case "forget":
            return DeleteThread("ns", f"t{n}")
        case "put":
            return PutBlob(n.encode() * 9, more[0])
        case "hold":
            return HoldBlob(digest_of(n.encode() * 9), more[0])
        case "let_go":
            return ReleaseBlobs(n)
    raise AssertionError(word)


async def fill(store: Store, content: Content) -> None:
    for step in content:
        with suppress(KastraError):  # what is not possible now is left out
            if step[0] == "vector":
                _, n, *thread = step
                holder = thread_holder("ns", f"t{thread[0]}") if thread else ""
                await store.commit([UpsertVectors("c", [(f"v{n}", [1.0, float(n)], {})], holder)])
            else:
                await store.commit([_operation(*step)])


async def told(store: Store) -> dict[str, Any]:
    """What the facets tell, without resourceVersions, times and epochs."""
    everything = (await store.resources.list("", "")).items
    runs = [f"run-{n}" for n in range(3)]
    assert store.vectors is not None
    matches = await store.vectors.query("c", [1.0, 0.0])
    return {
        "resources": {item.key: item.evolve(resource_version="").to_manifest() for item in everything},
        "counts": await store.resources.counts(),
        "owned": [
            sorted(item.metadata.name for item in (await store.resources.list("", "", owner_uid=f"o{n}")).items)
            for n in range(3)
        ],
        "records": {run: [(r.path, r.record, r.seq) for r in await store.journal.records(run)] for run in runs},
        "claims": sorted(claim.run for claim in await store.journal.claims()),
        "signals": {
            run: [(s.name, s.payload, s.signal_id, s.seq) for s in await store.journal.signals(run)] for run in runs
        },
        "state": {f"scope-{n}": await store.state.get_state(f"scope-{n}") for n in range(3)},
        "value": await store.state.get_value("scope-0", "k0"),
        "threads": [(t.thread, t.messages, t.last_seq) for t in await store.threads.list()],
        "messages": {
            f"t{n}": [(m.seq, m.message) for m in await store.threads.messages("ns", f"t{n}")] for n in range(3)
        },
        "blobs": {letter: await store.blobs.has(digest_of(letter.encode() * 9)) for letter in "xyz"},
        "vectors": [(match.id, round(match.score, 5)) for match in matches],
    }


async def told_of(path: Path) -> dict[str, Any]:
    store = await open_store(f"file:{path}", {})
    try:
        return await told(store)
    finally:
        await store.aclose()


async def problems_of(path: Path) -> tuple[str, ...]:
    return (await open_admin(f"file:{path}", {}).check()).problems


def rows(path: Path, sql: str) -> list[Any]:
    """Rows of a file, for those who look behind the facets."""
    connection = apsw.Connection(str(path))
    try:
        found: list[Any] = connection.execute(sql).fetchall()
        return found
    finally:
        connection.close()


def names_of_files(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system that is soon full."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
