"""What belongs to a thread in a database of ours: found by indexes, kept by backups, gone with the thread."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from kastra_core.errors import AlreadyExistsError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    ClearState,
    CreateResource,
    DeleteThread,
    Operation,
    PutBlob,
    SetState,
    Store,
    UpsertVectors,
    thread_holder,
)
from kastra_core.testing.store import ManualClock
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_file, open_store
from libsql_content import key, problems_of, resource, rows

HOLDER = thread_holder("ns", "t")
LARGE = "x" * 300_000
THREAD: list[Operation] = [
    AppendMessages("ns", "t", [{"n": LARGE}, {"n": 1}]),
    SetState(f"{HOLDER}/agent/ns/a/summary", {"text": LARGE, "n": 1}, ttl_s=60),
    PutBlob(LARGE.encode(), HOLDER),
    UpsertVectors("memory", [("run/user", [1.0, 0.0], {"n": 1}), ("run/assistant", [0.0, 1.0], {"n": 2})], HOLDER),
]
TABLES = ("threads", "messages", "state", "scopes", "vectors", "collections", "blobs", "holds")


def counts(path: Path) -> dict[str, int]:
    return {table: rows(path, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


async def held(store: Store) -> list[str]:
    assert store.vectors is not None
    return [match.id for match in await store.vectors.query("memory", [1.0, 0.1])]


# ------------------------------------------------------------------------------------------ nothing is left


async def test_of_a_deleted_thread_no_row_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit(THREAD)
    assert all(counts(path).values())
    assert counts(path)["blobs"] == 3  # of the large message, the large value and the put
    assert await store.commit([DeleteThread("ns", "t")]) == [True]
    assert counts(path) == dict.fromkeys(TABLES, 0)
    await store.aclose()
    assert await problems_of(path) == ()


async def test_of_writes_that_failed_with_their_record_no_row_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit([ClaimRun("run", key("run", "Run"), "w"), CreateResource(resource("a"))])
    writes = (*THREAD, CreateResource(resource("a")))
    with pytest.raises(AlreadyExistsError):
        await store.commit([AppendRecord("run", "p", {"n": LARGE}, 1, writes)])
    assert counts(path) == dict.fromkeys(TABLES, 0)
    await store.commit([AppendRecord("run", "p", {"n": 1}, 1, tuple(THREAD))])
    await store.aclose()
    assert counts(path)["messages"] == 2
    assert await problems_of(path) == ()


# ------------------------------------------------------------------------------------------ indexes


async def _use(store: Store) -> None:
    await store.commit([ClaimRun("run", key("run", "Run"), "w"), *THREAD])
    await store.commit([AppendRecord("run", "p", 1, 1, tuple(THREAD))])
    await store.commit([AppendRecord("run", "p", 1, 1, tuple(THREAD))])
    await store.threads.messages("ns", "t", last=5)
    await store.threads.messages("ns", "t", up_to=9, last=5, after=1)
    await store.threads.list(limit=3)
    await store.threads.list("ns", limit=3, after=("ns", "a"))
    await store.threads.list(limit=3, after=("ns", "a"))
    await store.state.get_state(HOLDER)
    await store.commit([ClearState("network/ns/n")])
    await store.commit([DeleteThread("ns", "t")])


def scans(path: Path, statements: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Steps of the plans of statements that read a whole table of ours or sort what they found, but for small ones."""
    connection = apsw.Connection(str(path))
    try:
        found = []
        for sql, bindings in statements:
            if not sql.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
                continue
            for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings):
                words = detail.split()
                if (words[0] == "SCAN" and words[1] in (*TABLES, "journal", "log")) or "ORDER BY" in detail:
                    found.append((detail, sql))
        return found
    finally:
        connection.close()


async def test_nothing_of_it_reads_a_whole_table_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_file(f"file:{path}", {})
    await store.commit([SetState("s", {"k": 1})])
    seen: list[tuple[str, Any]] = []

    def trace(_: Any, sql: str, bindings: Any) -> bool:
        seen.append((sql, bindings))
        return True

    assert store._writer._connection is not None
    store._writer._connection.exec_trace = store._db._reader.exec_trace = trace
    await _use(store)
    await store.aclose()
    assert any("DELETE FROM vectors" in sql for sql, _ in seen)
    assert any("FROM messages" in sql for sql, _ in seen)
    assert scans(path, seen) == []


def _plans(path: Path, statements: list[tuple[str, Any]]) -> list[str]:
    """How the vectors are found by each statement that looks for some of a holder, apart from known rows."""
    connection = apsw.Connection(str(path))
    for name in ("vec_distance_cosine", "vector_distance_cos"):  # for the plan only
        connection.create_scalar_function(name, lambda *_: 0.0, 2)
    try:
        return [
            detail
            for sql, bindings in statements
            if "AND holder = ?" in sql and sql.lstrip().startswith("SELECT")
            for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)
            if " vectors" in detail and "INTEGER PRIMARY KEY (rowid=?)" not in detail
        ]
    finally:
        connection.close()


async def _search(store: Store) -> None:
    """What nobody holds, and what another holds, is much; what is searched is two."""
    many = [(f"v{n:03}", [1.0, float(n)], {"a": "b"}) for n in range(300)]
    await store.commit([*THREAD, UpsertVectors("memory", many[:150], "other"), UpsertVectors("memory", many[150:])])
    assert store.vectors is not None
    assert len(await store.vectors.query("memory", [1.0, 0.1], k=3, where={"n": 1}, holder=HOLDER)) == 1
    assert len(await store.vectors.query("memory", [1.0, 0.1], k=3, holder=HOLDER)) == 2
    assert await store.vectors.delete("memory", where={"a": "b"}, holder=HOLDER) == 0
    assert await store.vectors.delete("memory", holder=HOLDER) == 2


_BY_HOLDER = "USING INDEX vectors_holder (holder=? AND collection=?"


async def test_a_search_among_what_a_thread_holds_reads_no_other_vector_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_file(f"file:{path}", {})
    await store.vectors.upsert("memory", [("first", [1.0, 1.0], {})])
    await store.vectors.query("memory", [1.0, 1.0])
    seen: list[tuple[str, Any]] = []

    def trace(_: Any, sql: str, bindings: Any) -> bool:
        seen.append((sql, bindings))
        return True

    assert store._writer._connection is not None
    assert store.vectors._connection is not None
    store._writer._connection.exec_trace = store.vectors._connection.exec_trace = trace
    await _search(store)
    await store.aclose()
    plans = _plans(path, seen)
    assert len(plans) >= 4
    assert [detail for detail in plans if _BY_HOLDER not in detail] == []


@pytest.mark.parametrize("vectors", [True, False], ids=["server", "client"])
async def test_a_search_among_what_a_thread_holds_reads_no_other_vector_of_a_server(
    hrana: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: bool
) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    from kastra_plugin_libsql._remote.client import Server

    seen: list[tuple[str, Any]] = []
    once = Server.once

    async def noted(self: Server, statements: Any, *arguments: Any) -> Any:
        seen.extend(statements)
        return await once(self, statements, *arguments)

    async with hrana.HranaServer(tmp_path / "k.db", vectors=vectors) as server:
        store = await open_store(server.url("ws"), {})
        monkeypatch.setattr(Server, "once", noted)
        await _search(store)
        await store.aclose()
    plans = _plans(tmp_path / "k.db", seen)
    assert len(plans) >= 4
    assert [detail for detail in plans if _BY_HOLDER not in detail] == []


async def test_nothing_of_it_reads_a_whole_table_of_a_server(
    hrana: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    from kastra_plugin_libsql._remote.client import Server

    seen: list[tuple[str, Any]] = []
    once = Server.once

    async def noted(self: Server, statements: Any, *arguments: Any) -> Any:
        seen.extend(statements)
        return await once(self, statements, *arguments)

    async with hrana.HranaServer(tmp_path / "k.db") as server:
        store = await open_store(server.url("ws"), {})
        monkeypatch.setattr(Server, "once", noted)
        await _use(store)
        await store.aclose()
    assert any("DELETE FROM vectors" in sql for sql, _ in seen)
    found = [(detail, sql) for detail, sql in scans(tmp_path / "k.db", seen) if detail != "SCAN collections"]
    # Of how many there are before the page ends; what it reads is limited by the query within.
    assert [sql for detail, sql in found if "TEMP B-TREE" not in detail or "LIMIT" not in sql] == []


# ------------------------------------------------------------------------------------------ time


async def test_a_ttl_counts_from_the_write_of_another_process(tmp_path: Path) -> None:
    code = """
import asyncio, sys, time
from kastra_core.protocols.store import SetState
from kastra_plugin_libsql.store import open_store

async def main():
    store = await open_store(sys.argv[1], {})
    await store.commit([SetState("network/ns/n", {"short": 1}, ttl_s=100), SetState("network/ns/n", {"ever": 1})])
    await store.aclose()

asyncio.run(main())
"""
    url = f"file:{tmp_path}/k.db"
    before = time.time()
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False, timeout=50)
    after = time.time()
    assert done.returncode == 0, done.stderr
    for now_s, keys in ((before + 99.9, {"short", "ever"}), (after + 100.1, {"ever"})):
        store = await open_store(url, {"clock": ManualClock(now_s)})
        assert set(await store.state.get_state("network/ns/n")) == keys
        assert await store.state.get_value("network/ns/n", "short") == (1 if "short" in keys else None)
        await store.aclose()


# ------------------------------------------------------------------------------------------ schemas and copies


async def test_vectors_of_a_former_schema_have_no_holder_until_they_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit(THREAD)
    await store.aclose()
    report = await open_admin(f"file:{path}", {}).migrate(2, backup=False)
    assert [(step.number, step.direction) for step in report.steps] == [(3, "down")]
    assert "stay when the thread is deleted" in report.steps[0].loses
    assert rows(path, "SELECT count(*) FROM pragma_table_info('vectors') WHERE name = 'holder'") == [(0,)]
    assert await problems_of(path) == ()
    store = await open_store(f"file:{path}", {})  # brings it up again, with a copy of the former beside it
    assert [file.name.split(".2")[0] for file in tmp_path.glob("*.backup")] == ["k.db.schema2"]
    assert await held(store) == ["run/user", "run/assistant"]
    await store.commit([UpsertVectors("memory", [("run/user", [1.0, 0.0], {"n": 1})], HOLDER)])
    await store.commit([DeleteThread("ns", "t")])
    assert await held(store) == ["run/assistant"]
    await store.aclose()
    assert await problems_of(path) == ()


@pytest.fixture
async def places(hrana: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, str]]:
    """URLs of a file and of a server."""
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    monkeypatch.chdir(tmp_path)  # where a copy of a server's database comes to lie
    async with hrana.HranaServer(tmp_path / "server.db") as server:
        yield f"file:{tmp_path}/file.db", server.url("ws")


@pytest.mark.parametrize(("source", "target"), [(0, 0), (0, 1), (1, 0)])
async def test_who_holds_a_vector_is_in_the_backup(
    places: tuple[str, str], tmp_path: Path, source: int, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what a server held before a restore is kept in the working directory
    store = await open_store(places[source], {})
    await store.commit([*THREAD, UpsertVectors("memory", [("other", [1.0, 1.0], {})])])
    await store.aclose()
    await open_admin(places[source], {}).backup(tmp_path / "copy.db")
    store = await open_store(places[source], {})
    await store.commit([DeleteThread("ns", "t")])
    await store.aclose()
    await open_admin(places[target], {}).restore(tmp_path / "copy.db")
    store = await open_store(places[target], {})
    assert await held(store) == ["run/user", "other", "run/assistant"]
    await store.commit([DeleteThread("ns", "t")])
    assert await held(store) == ["other"]
    await store.aclose()
    assert (await open_admin(places[target], {}).check()).problems == ()


async def test_a_check_finds_a_collection_of_which_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit(THREAD)
    await store.aclose()
    rows(path, "DELETE FROM vectors")
    assert await problems_of(path) == ("collection memory has no vectors, and keeps others of another length out",)


# ------------------------------------------------------------------------------------------ servers


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
async def test_writes_of_a_record_happen_once_when_the_answer_is_lost(hrana: Any, tmp_path: Path, cut: str) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    async with hrana.HranaServer(tmp_path / "k.db") as server:
        store = await open_store(server.url("ws"), {"timeout_s": 10.0})
        await store.commit([ClaimRun("run", key("run", "Run"), "w")])
        for n in range(2):
            getattr(server.faults, cut)(match="INSERT INTO commits")
            append = AppendRecord("run", "p", n, 1, (AppendMessages("ns", "t", [{"n": n}]), *THREAD[1:]))
            assert await store.commit([append]) == [[None, 0][n]]
        assert [message.message for message in await store.threads.messages("ns", "t")] == [{"n": 0}]
        await store.aclose()


async def test_a_record_that_goes_and_comes_while_it_is_sent_is_written_as_it_is_found(
    hrana: Any, tmp_path: Path
) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    from kastra_plugin_libsql._remote.client import Server
    from kastra_plugin_libsql._remote.store import RemoteStore

    async with hrana.HranaServer(tmp_path / "k.db") as server:
        store = await open_store(server.url("ws"), {})
        assert isinstance(store, RemoteStore)
        run = ClaimRun("run", key("run", "Run"), "w")
        await store.commit([run, AppendRecord("run", "p", "first", 1)])
        once, tries = store.server.once, 0

        async def other_program(statements: Any, patience_s: float) -> Any:
            nonlocal tries
            tries += 1
            if tries == 2:  # the first try found the record; now it goes
                rows(tmp_path / "k.db", "DELETE FROM journal")
            return await once(statements, patience_s)

        server_of_store: Any = store.server
        assert isinstance(store.server, Server)
        server_of_store.once = other_program
        writes = (SetState("s", {"n": 1}), PutBlob(LARGE.encode() * 3, "run"))
        assert await store.commit([AppendRecord("run", "p", "second", 1, writes), SetState("s", {"m": 1})]) == [
            None,
            None,
        ]
        assert tries == 3
        assert await store.state.get_state("s") == {"n": 1, "m": 1}
        assert [record.record for record in await store.journal.records("run")] == ["second"]
        await store.aclose()
        assert (await open_admin(server.url("ws"), {}).check()).problems == ()
