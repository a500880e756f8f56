"""Vectors on a server: exact by the server's arithmetic or the client's, and by LibSQL's own index."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest

from kastra_core.api.meta import ResourceKey
from kastra_core.errors import StoreError
from kastra_core.protocols.store import AppendRecord, ClaimRun, DeleteThread, ReleaseRun, UpsertVectors, thread_holder
from kastra_plugin_libsql._remote.store import RemoteStore, open_remote
from kastra_plugin_libsql.admin import open_admin

pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")

LENGTH, COUNT = 32, 1000
Rows: TypeAlias = dict[str, list[float]]
Open: TypeAlias = Callable[..., Awaitable[RemoteStore]]


def clustered(random: Random, count: int) -> Rows:
    """Vectors around 20 centres: what embeddings of texts look like."""
    centres = [[random.gauss(0, 1) for _ in range(LENGTH)] for _ in range(20)]
    return {f"v{n:04}": [x + random.gauss(0, 0.4) for x in centres[n % 20]] for n in range(count)}


def nearest(rows: Rows, wanted: list[float], k: int = 10) -> list[str]:
    def cosine(a: list[float], b: list[float]) -> float:
        return math.sumprod(a, b) / (math.hypot(*a) * math.hypot(*b)) if hasattr(math, "sumprod") else _cosine(a, b)

    return sorted(rows, key=lambda name: -cosine(rows[name], wanted))[:k]


def _cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))


async def recall(store: RemoteStore, rows: Rows, random: Random, queries: int = 20) -> float:
    hits = 0
    for _ in range(queries):
        near = rows[random.choice(sorted(rows))]
        wanted = [x + random.gauss(0, 0.3) for x in near]
        found = await store.vectors.query("c", wanted, k=10)
        assert len(found) == 10
        assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
        for match in found:
            assert match.score == pytest.approx(_cosine(rows[match.id], wanted), abs=1e-5)
        hits += len({match.id for match in found} & set(nearest(rows, wanted)))
    return hits / (10 * queries)


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    opened: list[RemoteStore] = []

    async def open_(server: Any, **options: Any) -> RemoteStore:
        store = await open_remote(server.url("ws"), options)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        await store.aclose()


@pytest.mark.parametrize(
    ("backend", "vectors"), [("apsw", True), ("apsw", False), ("libsql", True)], ids=["server", "client", "libsql"]
)
async def test_search_without_an_index_finds_exactly_the_nearest(
    hrana: Any, tmp_path: Path, connect: Open, backend: str, vectors: bool
) -> None:
    random = Random(1)
    rows = clustered(random, COUNT)
    async with hrana.HranaServer(tmp_path / "k.db", backend=backend, vectors=vectors) as server:
        store = await connect(server)
        await store.vectors.upsert("c", [(name, row, {"n": int(name[1:])}) for name, row in rows.items()])
        assert await recall(store, rows, random) == 1.0
        [match] = await store.vectors.query("c", rows["v0007"], k=1, where={"n": 7})
        assert (match.id, match.metadata) == ("v0007", {"n": 7})
        await store.aclose()


async def test_search_by_the_index_finds_nine_of_ten(hrana: Any, tmp_path: Path, connect: Open) -> None:
    random = Random(2)
    rows = clustered(random, COUNT)
    async with hrana.HranaServer(tmp_path / "k.db", backend="libsql") as server:
        store = await connect(server, vector_index=True)
        await store.vectors.upsert("c", [(name, row, {"odd": int(name[1:]) % 2}) for name, row in rows.items()])
        assert server.query("SELECT count(*) FROM vector_index_1_32")[0][0] == COUNT
        server.log.clear()
        assert await recall(store, rows, random) >= 0.9
        assert any("vector_top_k" in text for one in server.log.requests for text in one.sql)
        # A filter that leaves too few of the index's answers is decided over all.
        found = await store.vectors.query("c", rows["v0003"], k=400, where={"odd": 1})
        assert len(found) == 400
        assert {match.metadata["odd"] for match in found} == {1}
        await store.aclose()


async def test_what_somebody_holds_is_searched_exactly_beside_the_index(
    hrana: Any, tmp_path: Path, connect: Open
) -> None:
    rows = clustered(Random(4), 200)
    async with hrana.HranaServer(tmp_path / "k.db", backend="libsql") as server:
        store = await connect(server, vector_index=True)
        items: list[tuple[str, list[float], dict[str, Any]]] = [(name, row, {}) for name, row in rows.items()]
        await store.vectors.upsert("c", items[20:])
        far = [[-x for x in row] for _, row, _ in items[:20]]
        held = [(name, row, {"n": n}) for n, ((name, _, _), row) in enumerate(zip(items, far))]
        await store.commit([UpsertVectors("c", held, "holder")])
        server.log.clear()
        wanted = rows["v0020"]  # the nearest of all are others'
        expected = nearest({name: row for name, row, _ in held}, wanted, 5)
        assert [match.id for match in await store.vectors.query("c", wanted, k=5, holder="holder")] == expected
        assert not any("vector_top_k" in text for one in server.log.requests for text in one.sql)
        await store.aclose()


async def test_the_index_follows_all_writers(hrana: Any, tmp_path: Path, connect: Open) -> None:
    random = Random(3)
    rows = clustered(random, 100)
    async with hrana.HranaServer(tmp_path / "k.db", backend="libsql") as server:
        plain, indexed = await connect(server), await connect(server, vector_index=True)
        items: list[tuple[str, list[float], dict[str, Any]]] = [(name, row, {}) for name, row in rows.items()]
        await plain.vectors.upsert("c", items[:50])
        await indexed.vectors.upsert("c", items[50:60])
        await plain.vectors.upsert("c", items[60:])
        await plain.vectors.upsert("c", [("v0000", rows["v0001"], {})])
        await plain.vectors.delete("c", ["v0002"])
        found = {row[0] for row in server.query("SELECT v.name FROM vector_index_1_32 i JOIN vectors v ON v.id = i.id")}
        assert found == set(rows) - {"v0002"}
        matches = await indexed.vectors.query("c", rows["v0001"], k=2)
        assert {match.id for match in matches} == {"v0000", "v0001"}
        # The number of a collection that is gone is used again, here with another length.
        assert await plain.vectors.delete("c") == 99
        await plain.vectors.upsert("c", [("a", [1.0, 0.0], {})])
        assert [match.id for match in await indexed.vectors.query("c", [1.0, 0.1])] == ["a"]
        await indexed.vectors.upsert("c", [("b", [0.0, 1.0], {})])
        assert [match.id for match in await indexed.vectors.query("c", [0.1, 1.0])] == ["b", "a"]
        await plain.aclose()
        await indexed.aclose()


async def test_the_index_follows_commits_threads_and_schemas(hrana: Any, tmp_path: Path, connect: Open) -> None:
    held = "SELECT v.name FROM vector_index_1_2 i JOIN vectors v ON v.id = i.id ORDER BY 1"
    holder = thread_holder("ns", "t")
    async with hrana.HranaServer(tmp_path / "k.db", backend="libsql") as server:
        store = await connect(server, vector_index=True)
        write = UpsertVectors("c", [("a", [1.0, 0.0], {}), ("b", [0.0, 1.0], {})], holder)
        await store.commit([ClaimRun("r", ResourceKey("t", "Run", "", "r"), "w")])
        await store.commit([AppendRecord("r", "p", 1, 1, (write,)), UpsertVectors("c", [("c", [1.0, 1.0], {})])])
        assert server.query(held) == [("a",), ("b",), ("c",)]
        await store.commit([ReleaseRun("r", 1)])
        await store.aclose()
        for schema in (2, 3):
            await open_admin(server.url("ws"), {}).migrate(schema, backup=False)
        store = await connect(server, vector_index=True)
        assert [match.id for match in await store.vectors.query("c", [1.0, 0.1], k=1)] == ["a"]
        await store.commit([UpsertVectors("c", [("a", [1.0, 0.0], {})], holder)])
        await store.commit([DeleteThread("ns", "t")])
        assert server.query(held) == [("b",), ("c",)]
        await store.aclose()


async def test_a_commit_is_done_where_a_server_makes_no_index(
    hrana: Any, tmp_path: Path, connect: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with hrana.HranaServer(tmp_path / "k.db") as server:
        store = await connect(server, vector_index=True)
        assert await store.commit([UpsertVectors("c", [("a", [1.0, 0.0], {})])]) == [None]
        assert "take the option vector_index out" in caplog.text
        assert [match.id for match in await store.vectors.query("c", [1.0, 0.0])] == ["a"]
        await store.aclose()


async def test_a_server_without_vector_indexes_says_so(hrana: Any, tmp_path: Path, connect: Open) -> None:
    async with hrana.HranaServer(tmp_path / "k.db") as server:
        store = await connect(server, vector_index=True)
        with pytest.raises(StoreError, match="take the option vector_index out"):
            await store.vectors.upsert("c", [("a", [1.0, 0.0], {})])
        await store.aclose()


async def test_large_metadata_and_many_matches_come_in_pages(hrana: Any, tmp_path: Path, connect: Open) -> None:
    async with hrana.HranaServer(tmp_path / "k.db") as server:
        store = await connect(server)
        items: list[tuple[str, list[float], dict[str, Any]]] = [
            (f"v{n:02}", [1.0, float(n)], {"text": "x" * 400_000, "n": n}) for n in range(12)
        ]
        items.append(("huge", [1.0, 100.0], {"text": "y" * 3_000_000, "n": 100}))
        await store.vectors.upsert("c", items)
        found = await store.vectors.query("c", [1.0, 0.0], k=20)
        assert [match.metadata["n"] for match in found] == [*range(12), 100]
        assert [len(match.metadata["text"]) for match in found] == [400_000] * 12 + [3_000_000]
        assert await store.vectors.delete("c", where={"n": 100}) == 1
        assert await store.vectors.delete("c") == 12
        await store.aclose()


@pytest.mark.parametrize("vectors", [True, False], ids=["server", "client"])
async def test_a_collection_whose_number_is_used_again_meanwhile_is_not_mixed_with_the_other(
    hrana: Any, tmp_path: Path, connect: Open, monkeypatch: pytest.MonkeyPatch, vectors: bool
) -> None:
    async with hrana.HranaServer(tmp_path / "k.db", vectors=vectors) as server:
        store = await connect(server)
        await store.vectors.upsert("a", [("of a", [1.0, 0.0], {})])
        first = store.server.first

        async def then_replaced(sql: str, *bindings: Any) -> Any:
            row = await first(sql, *bindings)
            monkeypatch.undo()
            await store.vectors.delete("a")
            await store.vectors.upsert("b", [("of b", [1.0, 0.0], {})])
            assert (await first(sql, "b") or ())[:1] == (row or ())[:1], "the number was not used again"
            return row

        monkeypatch.setattr(store.server, "first", then_replaced)
        assert await store.vectors.query("a", [1.0, 0.0]) == []
        assert [match.id for match in await store.vectors.query("b", [1.0, 0.0])] == ["of b"]
