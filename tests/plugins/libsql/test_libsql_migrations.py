"""From one schema to another: nothing is lost, a verified copy is beside the file, and all happens or nothing."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import orjson
import pytest
from hypothesis import given, settings

from kastra_core.errors import NotFoundError, SchemaVersionError, StoreUnavailableError, UserError
from kastra_core.protocols.store import AppendRecord, ClaimRun, DropJournal, SetState
from kastra_plugin_libsql._migrations import MIGRATIONS, path_between
from kastra_plugin_libsql._schema import APPLICATION_ID, SCHEMA_VERSION, check_schema
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store
from libsql_content import (
    Content,
    contents,
    digest_of,
    fill,
    key,
    problems_of,
    resource,
    rows,
    small_disk,
    told_of,
)

HUGE = {"answer": "é" * 200_000, "n": [1, 2.5, -1e300, 12345678901234567890, None, True], "t": '\\ " \n \x7f'}
LARGE = {"v": "y" * 100_000}
PINS = b"[pins]"
OTHER = b"somebody's"


def schema_1(path: Path, *, rows_more: int = 0) -> None:
    """A file as the first version of the program left it."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("BEGIN")
    for statement in MIGRATIONS[0].up:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('written_by', 'kastra-plugin-libsql 0.1.0')")

    def blob(data: bytes) -> str:
        connection.execute("INSERT INTO blobs (digest, data) VALUES (?, ?)", (sha256(data).digest(), data))
        return digest_of(data)

    connection.execute("INSERT INTO kinds VALUES (1, 't', 'Run'), (2, 't', 'Thing')")
    run = resource("run", "Run", pinned=blob(PINS))
    thing = resource("thing", pinned=blob(OTHER))  # not a Run: pins nothing
    for rv, kind, item in ((1, 1, run), (2, 2, thing)):
        name, uid = item.metadata.name, item.metadata.uid
        manifest = item.to_manifest()
        body, labels = orjson.dumps(manifest), orjson.dumps(manifest["metadata"]["labels"]).decode()
        connection.execute("INSERT INTO log VALUES (?, 0, ?, 1700000000, '', ?, ?)", (rv, kind, name, body))
        connection.execute("INSERT INTO resources VALUES (?, '', ?, ?, ?, ?, NULL)", (kind, name, rv, uid, labels))
    connection.execute("INSERT INTO runs VALUES (7, 'Run-run', 3)")
    connection.execute("INSERT INTO claims VALUES (7, 't', 'Run', '', 'run', 'worker/gone', NULL)")
    records = [
        {"r": 1},
        {"blob": blob(orjson.dumps(HUGE)), "at": 5},
        {"blob": digest_of(b"lost"), "at": 6},
        {"blob": 7},
        [{"blob": digest_of(PINS)}],
        {"r": LARGE},
    ]
    for n, record in enumerate(records, 1):
        connection.execute(
            "INSERT INTO journal VALUES (?, 7, ?, 1.5, ?)", ((7 << 32) + n, f"p{n}", orjson.dumps(record))
        )
    connection.execute("INSERT INTO signals VALUES (4, 7, '', 's', ?)", (orjson.dumps(LARGE),))
    connection.execute(
        "INSERT INTO leases VALUES ('worker/gone', 'worker/gone', 5.0, 0, '{}')".replace("'{}'", "x'7b7d'")
    )
    connection.execute("INSERT INTO scopes VALUES ('s', 1)")
    connection.execute("INSERT INTO state VALUES (1, 's', 'k', NULL, ?)", (orjson.dumps(LARGE),))
    connection.execute("INSERT INTO threads VALUES (1, 'ns', 't', 1, 1, 1.0, 1.0)")
    connection.execute("INSERT INTO messages VALUES (?, 1.0, '', ?)", ((1 << 32) + 1, orjson.dumps(LARGE)))
    for n in range(rows_more):
        connection.execute(
            "INSERT INTO state (scope, key, value) VALUES ('s', ?, ?)", (f"m{n}", orjson.dumps("z" * 3000))
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    connection.execute("COMMIT")
    connection.close()


def schema_of(path: Path) -> int:
    [[schema]] = rows(path, "PRAGMA user_version")
    return int(schema)


def holders(path: Path) -> dict[str, list[str]]:
    """Holders of each blob whose digest a test knows."""
    found: dict[str, list[str]] = {}
    for holder, digest in rows(path, "SELECT holder, digest FROM holds JOIN blobs b ON b.id = blob ORDER BY holder"):
        found.setdefault(f"sha256:{digest.hex()}", []).append(holder)
    return found


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.schema*"))


# ------------------------------------------------------------------------------------------ the steps


def test_the_steps_are_numbered_and_the_first_schema_stays_as_it_was() -> None:
    assert [step.number for step in MIGRATIONS] == list(range(1, SCHEMA_VERSION + 1))
    text = "\n".join(" ".join(statement.split()) for statement in MIGRATIONS[0].up)
    assert sha256(text.encode()).hexdigest() == "5a89baa75520d1f0fb33f78d98a5551bc1ca64c2a4159cf2d2beea10f79a787c"


def test_each_step_is_one_statement_so_that_a_server_can_run_it_in_a_batch() -> None:
    connection = apsw.Connection(":memory:")
    for migration in MIGRATIONS:
        for statement in migration.up:
            assert apsw.ext.query_info(connection, statement).query_remaining is None
            connection.execute(statement)
    for migration in reversed(MIGRATIONS[1:]):
        for statement in migration.down:
            assert apsw.ext.query_info(connection, statement).query_remaining is None
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("before", "after", "numbers"), [(0, 3, [1, 2, 3]), (1, 3, [2, 3]), (2, 3, [3]), (3, 1, [3, 2]), (3, 3, [])]
)
def test_the_way_between_two_schemas(before: int, after: int, numbers: list[int]) -> None:
    assert [step.number for step in path_between(before, after)] == numbers


# ------------------------------------------------------------------------------------------ at opening


async def test_data_of_the_first_schema_is_carried_over(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    schema_1(path)
    store = await open_store(f"file:{path}", {})
    assert [record.record for record in await store.journal.records("Run-run")] == [
        {"r": 1},
        {"r": HUGE, "at": 5},
        {"blob": digest_of(b"lost"), "at": 6},
        {"blob": 7},
        [{"blob": digest_of(PINS)}],
        {"r": LARGE},
    ]
    assert [s.payload for s in await store.journal.signals("Run-run")] == [LARGE]
    assert [m.message for m in await store.threads.messages("ns", "t")] == [LARGE]
    assert await store.state.get_state("s") == {"k": LARGE}
    found = holders(path)
    assert found[digest_of(PINS)] == ["Run-run"]
    assert found[digest_of(OTHER)] == [""]
    assert found[digest_of(orjson.dumps(HUGE))] == ["Run-run"]  # its journal named it
    assert found[digest_of(orjson.dumps(LARGE))] == [f"\x01message/{(1 << 32) + 1}", "\x01signal/4", "\x01state/1"]
    [[large]] = rows(path, "SELECT count(*) FROM journal WHERE length(record) > 65536")
    assert large == 0
    await store.commit([DropJournal("Run-run")])
    assert not await store.blobs.has(digest_of(PINS))
    assert await store.blobs.get(digest_of(OTHER)) == OTHER
    await store.aclose()
    assert await problems_of(path) == ()


async def test_the_file_as_it_was_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    schema_1(path)
    before = rows(path, "SELECT * FROM journal")
    await (await open_store(f"file:{path}", {})).aclose()
    await (await open_store(f"file:{path}", {})).aclose()
    [backup] = backups(path)
    assert backup.name.startswith("k.db.schema1.2")
    assert backup.name.endswith("Z.backup")
    assert sorted(tmp_path.iterdir()) == [path, backup]
    assert schema_of(backup) == 1
    assert rows(backup, "SELECT * FROM journal") == before
    assert rows(backup, "PRAGMA journal_mode") == [("delete",)]  # one file, nothing beside it
    if os.name == "posix":
        assert backup.stat().st_mode & 0o777 == 0o600


async def test_a_new_file_needs_no_copy(tmp_path: Path) -> None:
    await (await open_store(f"file:{tmp_path}/k.db", {})).aclose()
    assert [path.name for path in tmp_path.iterdir()] == ["k.db"]


OPEN = """
import asyncio, sys
from kastra_core.protocols.store import SetState
from kastra_plugin_libsql.store import open_store

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    store = await open_store("file:" + sys.argv[1], {})
    print("open", flush=True)
    await store.commit([SetState("by", {sys.argv[2]: 1})])
    await store.aclose()

asyncio.run(main())
"""


def opener(path: Path, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def test_of_processes_that_open_an_old_file_at_once_one_migrates_it(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    schema_1(path, rows_more=500)
    processes = [opener(path, str(n)) for n in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(backups(path)) == 1
    assert len((await told_of(path))["records"]) == 3
    assert rows(path, "SELECT count(*) FROM state WHERE scope = 'by'") == [(4,)]
    assert await problems_of(path) == ()


@pytest.mark.skipif(os.name != "posix", reason="kills by SIGKILL")
async def test_a_migration_that_is_killed_leaves_one_of_the_two_schemas_whole(tmp_path: Path) -> None:
    chance = random.Random(5)
    schema_1(tmp_path / "old.db", rows_more=3000)
    before = rows(tmp_path / "old.db", "SELECT count(*), sum(length(value)) FROM state")
    for n in range(10):
        path = tmp_path / f"{n}" / "k.db"
        path.parent.mkdir()
        path.write_bytes((tmp_path / "old.db").read_bytes())
        process = opener(path, "x")
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        schema = schema_of(path)
        assert schema in (1, SCHEMA_VERSION)
        if schema == 1:
            assert rows(path, "SELECT count(*), sum(length(value)) FROM state") == before
        for backup in path.parent.glob("*.backup"):
            assert rows(backup, "SELECT count(*), sum(length(value)) FROM state") == before
        await (await open_store(f"file:{path}", {})).aclose()  # goes on from either
        assert await problems_of(path) == ()


async def test_without_room_for_the_copy_nothing_is_migrated(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "26m") as disk:
        path = disk / "k.db"
        schema_1(path, rows_more=2500)
        size = path.stat().st_size
        (disk / "filler").write_bytes(bytes(26 * 1024 * 1024 - size - 4_000_000))
        with pytest.raises(StoreUnavailableError, match=r"backup could not be written: the disk is full; make room"):
            await open_store(f"file:{path}", {})
        assert schema_of(path) == 1
        assert sorted(p.name for p in disk.iterdir()) == ["filler", "k.db"]
        assert path.stat().st_size == size
        (disk / "filler").unlink()
        await (await open_store(f"file:{path}", {})).aclose()
        assert schema_of(path) == SCHEMA_VERSION


async def test_a_step_that_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    schema_1(path)
    rows(path, "CREATE TABLE commits (mine)")  # in the way of the third statement
    with pytest.raises(Exception, match="commits"):
        await open_store(f"file:{path}", {})
    assert schema_of(path) == 1
    assert rows(path, "SELECT name FROM sqlite_schema WHERE name LIKE 'holds%'") == []


def test_a_writer_learns_that_the_schema_is_another_one_now(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    asyncio.run(told_of(path))
    connection = apsw.Connection(str(path))
    check_schema(connection, path)
    rows(path, "PRAGMA user_version = 4")
    with pytest.raises(SchemaVersionError, match=r"from schema 3 to 4 while it was open here; end this program"):
        check_schema(connection, path)
    connection.close()


async def test_a_store_that_is_open_writes_nothing_by_the_rules_of_another_schema(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit([SetState("s", {"k": 1})])
    await open_admin(f"file:{path}", {}).migrate(1)
    with pytest.raises(SchemaVersionError, match="from schema 3 to 1"):
        await store.commit([SetState("s", {"k": 2})])
    await store.aclose()
    assert (await told_of(path))["state"]["scope-0"] == {}
    assert rows(path, "SELECT value FROM state") == [(b"1",)]


# ------------------------------------------------------------------------------------------ by hand


async def test_down_and_up_again_lose_nothing_but_who_holds(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    schema_1(path)
    before = await told_of(path)
    report = await open_admin(f"file:{path}", {}).migrate(1)
    assert (report.before, report.after, report.dry_run) == (3, 1, False)
    assert [(step.number, step.direction) for step in report.steps] == [(3, "down"), (2, "down")]
    assert "who holds which vector" in report.steps[0].loses
    assert "who holds which blob" in report.steps[1].loses
    assert report.backup is not None
    assert report.backup.schema == 3
    assert report.backup.path.name.startswith("k.db.schema3.")
    assert schema_of(path) == 1
    assert rows(path, "SELECT count(*) FROM journal WHERE substr(record, 1, 1) = x'00'") == [(0,)]
    assert rows(path, "SELECT data FROM blobs WHERE length(data) < 20 ORDER BY 1") == [(PINS,), (OTHER,)]
    assert await problems_of(path) == ()
    report = await open_admin(f"file:{path}", {}).migrate(backup=False)
    assert (report.before, report.after, report.backup) == (1, 3, None)
    assert await told_of(path) == before


@given(content=contents)
@settings(max_examples=30, deadline=None)
def test_any_content_is_the_same_after_a_way_down_and_up(content: Content) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "k.db")
            store = await open_store(f"file:{path}", {"inline_bytes": 200, "durability": "relaxed"})
            await fill(store, content)
            await store.aclose()
            before = await told_of(path)
            for schema in (2, 1, 3):
                report = await open_admin(f"file:{path}", {}).migrate(schema, backup=False)
                assert report.after == schema_of(path) == schema
                assert await problems_of(path) == ()
            assert await told_of(path) == before

    asyncio.run(run())


@pytest.mark.parametrize("schema", [1, 3])
async def test_a_dry_run_tries_the_steps_and_changes_nothing(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "k.db"
    schema_1(path)
    if schema == 3:
        await told_of(path)
    for left in backups(path):
        left.unlink()
    before = rows(path, "SELECT * FROM journal"), rows(path, "SELECT sql FROM sqlite_schema")
    report = await open_admin(f"file:{path}", {}).migrate(4 - schema, dry_run=True)
    assert (report.before, report.after, report.dry_run, len(report.steps)) == (schema, 4 - schema, True, 2)
    assert (rows(path, "SELECT * FROM journal"), rows(path, "SELECT sql FROM sqlite_schema")) == before
    assert schema_of(path) == schema
    assert backups(path) == []


async def test_there_is_nothing_to_do_at_the_newest_schema(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    await told_of(path)
    report = await open_admin(f"file:{path}", {}).migrate()
    assert (report.before, report.after, report.steps, report.backup) == (3, 3, (), None)


@pytest.mark.parametrize(
    ("schema", "words"), [(0, "no way down from schema 1"), (9, "knows schemas up to 3"), (-1, "up to 3")]
)
async def test_a_schema_without_a_way_to_it_is_refused(tmp_path: Path, schema: int, words: str) -> None:
    path = tmp_path / "k.db"
    await told_of(path)
    with pytest.raises(UserError, match=words):
        await open_admin(f"file:{path}", {}).migrate(schema)
    assert schema_of(path) == SCHEMA_VERSION


async def test_a_store_that_workers_use_is_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.leases.acquire("worker/a-1", "worker/a-1", 60)
    with pytest.raises(UserError, match=r"workers use the store .*worker/a-1"):
        await open_admin(f"file:{path}", {}).migrate(1)
    await store.leases.release("worker/a-1", "worker/a-1")
    await store.aclose()
    assert (await open_admin(f"file:{path}", {}).migrate(1)).after == 1


async def test_a_store_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await open_admin(f"file:{tmp_path}/k.db", {}).migrate()
    assert list(tmp_path.iterdir()) == []


async def test_a_payload_that_is_lost_stops_the_way_down(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {"inline_bytes": 10})
    run: Any = key("run", "Run")
    await store.commit([ClaimRun("run", run, "w"), AppendRecord("run", "p", "x" * 50, 1)])
    await store.aclose()
    rows(path, "DELETE FROM blobs")
    with pytest.raises(Exception, match="NOT NULL"):
        await open_admin(f"file:{path}", {}).migrate(1)
    assert schema_of(path) == SCHEMA_VERSION


async def test_without_room_for_the_steps_nothing_is_migrated(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "30m") as disk:
        path = disk / "k.db"
        store = await open_store(f"file:{path}", {"durability": "relaxed"})
        await store.commit([SetState("scope-0", {f"k{n}": f"{n}" * 400_000 for n in range(10)})])
        await store.aclose()
        before = await told_of(path)
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 2_000_000))
        with pytest.raises(StoreUnavailableError, match="full"):
            await open_admin(f"file:{path}", {}).migrate(1, backup=False)
        assert schema_of(path) == SCHEMA_VERSION
        assert await told_of(path) == before
        assert await problems_of(path) == ()
        (disk / "filler").unlink()
        await open_admin(f"file:{path}", {}).migrate(1, backup=False)
        assert await told_of(path) == before
