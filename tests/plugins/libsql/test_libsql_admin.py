"""What an operator does to a store on a file: look, check, back up, compact. Restoring has a file of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import apsw
import pytest

from kastra_core.api.lazy import load
from kastra_core.errors import (
    ConfigError,
    NotFoundError,
    SchemaVersionError,
    StoreError,
    StoreUnavailableError,
    UserError,
)
from kastra_core.protocols.store import CreateResource, DeleteResource, PutBlob, SetState, UpdateResource
from kastra_core.protocols.store_admin import StoreAdmin
from kastra_core.testing.store import ManualClock
from kastra_plugin_libsql._schema import SCHEMA_VERSION
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.hooks import kastra_stores
from kastra_plugin_libsql.store import open_store
from libsql_content import fill, key, problems_of, resource, rows, small_disk, told_of

CONTENT: list[tuple[Any, ...]] = [
    *(("create", n, kind, {"v": "x" * 300}) for n in range(3) for kind in ("Thing", "Run")),
    ("update", 0, "Thing", {"v": "y"}),
    ("delete", 1, "Thing"),
    ("claim", 0),
    ("record", 0, 0, {"v": "x" * 300}),
    ("record", 0, 1, {"v": "small"}),
    ("signal", 0, "once", {"v": "y" * 300}),
    ("state", 0, 0, {"v": "z" * 300}),
    ("say", 0, [{"v": "x" * 300}, {"v": "y"}]),
    ("put", "x", ""),
    ("put", "y", "run-0"),
    ("vector", 1, 0),
]
"""Something of everything."""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {"inline_bytes": 200})
    await fill(store, CONTENT)
    await store.leases.acquire("a", "a", 60)
    await store.aclose()
    return path


def admin_of(path: Path, **options: Any) -> StoreAdmin:
    return open_admin(f"file:{path}", options)


def test_the_hook_offers_it_for_files() -> None:
    [registration] = kastra_stores()
    assert registration.admin is not None
    assert load(registration.admin) is open_admin
    with pytest.raises(ConfigError, match="unknown option"):
        open_admin("file:x.db", {"colour": 1})


# ------------------------------------------------------------------------------------------ status


@pytest.mark.parametrize("empty", [False, True])
async def test_a_store_that_is_not_there_yet_has_a_status_and_nothing_else(tmp_path: Path, empty: bool) -> None:
    path = tmp_path / "k.db"
    if empty:
        path.touch()
    before = list(tmp_path.iterdir())
    admin = admin_of(path)
    status = await admin.status()
    assert (status.exists, status.schema, status.latest_schema, status.facets) == (False, 0, SCHEMA_VERSION, ())
    for job in (admin.check, admin.compact, admin.migrate, lambda: admin.backup(tmp_path / "b")):
        with pytest.raises(NotFoundError, match=r"k\.db"):
            await job()
    assert list(tmp_path.iterdir()) == before


async def test_a_status_tells_what_is_there_and_who_uses_it(path: Path) -> None:
    store = await open_store(f"file:{path}?durability=relaxed", {})
    await store.leases.acquire("worker/b", "worker/b", 60)
    await store.leases.acquire("worker/a", "worker/a", -1)
    status = await admin_of(path, durability="relaxed").status()
    await store.aclose()
    assert status.url == f"file:{path}"
    assert status.exists
    assert status.problems == ()
    assert status.engine.startswith("SQLite 3.")
    assert (status.schema, status.latest_schema) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert status.written_by.startswith("kastra-plugin-libsql ")
    assert (status.resource_version, status.oldest_version) == ("8", "0")
    assert status.workers == ("worker/b",)
    assert status.details["durability"] == "relaxed"
    assert {facet.name: facet.items for facet in status.facets} == {
        "resources": 5,
        "history": 3,
        "journal": 2,
        "signals": 1,
        "leases": 3,
        "state": 1,
        "threads": 1,
        "vectors": 1,
        "blobs": 5,
    }
    sizes = [facet.size_bytes for facet in status.facets]
    assert all(size is not None and size > 0 for size in sizes)
    assert status.size_bytes > sum(size or 0 for size in sizes)


async def test_a_status_of_what_cannot_be_opened_says_why(tmp_path: Path, path: Path) -> None:
    rows(path, "PRAGMA user_version = 9")
    newer = await admin_of(path).status()
    assert (newer.schema, newer.resource_version) == (9, "8")
    assert f"this program knows schemas up to {SCHEMA_VERSION}" in newer.problems[0]
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    (tmp_path / "text.db").write_text("no database, " * 100, encoding="utf-8")
    (tmp_path / "directory.db").mkdir()
    for name, words in (
        ("foreign", "another program"),
        ("text", "no database"),
        ("directory", "cannot be opened"),
    ):
        status = await admin_of(tmp_path / f"{name}.db").status()
        assert (status.exists, status.schema) == (True, 0)
        assert words in status.problems[0]


async def test_a_status_of_an_old_schema_does_not_bring_it_up(path: Path) -> None:
    await admin_of(path).migrate(1, backup=False)
    assert (await admin_of(path).status()).schema == 1
    assert rows(path, "PRAGMA user_version") == [(1,)]


# ------------------------------------------------------------------------------------------ check


async def test_a_sound_store_has_no_problems_at_any_schema(path: Path) -> None:
    report = await admin_of(path).check()
    assert report.problems == ()
    assert report.duration_s > 0
    assert report.checked["resources"] == 5
    assert report.checked["journal records"] == 2
    assert report.checked["blobs"] == 5
    for schema in (2, 1):
        await admin_of(path).migrate(schema, backup=False)
        assert await problems_of(path) == ()


DAMAGE = {
    "DELETE FROM log WHERE rv = (SELECT max(rv) FROM resources)": "has no present version in the log",
    "UPDATE log SET body = x'7b' WHERE rv = 1": "version 1 in the log is no JSON",
    "UPDATE resources SET uid = 'other' WHERE name = 'n0'": "its uid or its labels are not those",
    "UPDATE resources SET labels = NULL WHERE name = 'n0'": "its uid or its labels are not those",
    "UPDATE resources SET owners = '[\"x\"]' WHERE name = 'n2'": "an owner is not in the table of owners",
    "UPDATE resources SET owners = NULL WHERE name = 'n2'": "its owners are not those of its present version",
    "DELETE FROM owners": "an owner is not in the table of owners",
    "INSERT INTO owners VALUES ('o', 1, '', 'n0')": "the table of owners names /n0",
    "INSERT INTO log VALUES (99, 1, 1, 0, '', 'n0', x'7b7d')": "the log's last version of n0 is not its present one",
    "UPDATE meta SET value = 7 WHERE key = 'horizon'": "below the horizon and is nobody's present one",
    "DELETE FROM kinds WHERE kind = 'Run'": "is of no kind",
    "DELETE FROM meta WHERE key = 'horizon'": "the store's horizon is missing",
    "UPDATE meta SET value = 0 WHERE key = 'lease_epoch'": "lease a has a higher epoch",
    "DELETE FROM runs": "the claim on Run /n0 has no run",
    "UPDATE journal SET id = id + (1 << 40) WHERE path = 'p1'": "path p1 lies in the rows of another run",
    "UPDATE signals SET run = 77": "signal 1 has no run",
    "DELETE FROM sqlite_sequence": "signal 1 has a number that was not given out",
    "DELETE FROM scopes": "scope scope-0 of state has no token",
    "DELETE FROM threads": "is in no thread",
    "UPDATE threads SET last_seq = 9": "thread ns/t0: its counts are not",
    "UPDATE threads SET messages = 9": "thread ns/t0: its counts are not",
    "DELETE FROM collections": "vector v1 is of no collection",
    "UPDATE vectors SET vector = x'00'": "not of its collection's length",
    "UPDATE journal SET record = x'7b' WHERE path = 'p1'": "is no JSON",
    "DELETE FROM blobs WHERE length(data) > 200": "no blob has its digest",
    "DROP TRIGGER holds_let_go; DELETE FROM holds WHERE holder LIKE '%state/%'": "the payload of state/1 is not held",
    "INSERT INTO holds SELECT char(1) || 'signal/99', max(id) FROM blobs": "is held by signal/99, which does not name",
    "INSERT INTO holds VALUES ('run-0', 999)": "a blob is held by run-0 but is not there",
    "INSERT INTO blobs (digest, data) VALUES (x'aa', x'bb')": "blob sha256:aa is held by nobody",
    "UPDATE blobs SET data = x'00' WHERE length(data) = 9": "has other bytes than its digest says",
    "DROP TRIGGER journal_let_go": "there is no journal_let_go in the database",
    "DROP TABLE vectors": "there is no vectors in the database",
}


@pytest.mark.parametrize("sql", DAMAGE)
async def test_rows_that_do_not_agree_are_found_and_named(path: Path, sql: str) -> None:
    rows(path, sql)
    found = "\n".join(await problems_of(path))
    assert DAMAGE[sql] in found


async def test_many_problems_of_one_kind_are_counted(path: Path) -> None:
    numbers = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 50)"
    rows(path, f"INSERT INTO holds {numbers} SELECT 'run-' || n, 1000 + n FROM c")
    found = await problems_of(path)
    assert len(found) == 11
    assert "40 more" in found[-1]


async def test_damaged_pages_are_found(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(3, size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(200))
    found = await problems_of(path)
    assert any("structure" in text or "damaged" in text for text in found)
    with path.open("r+b") as file:
        file.write(b"rubbish!" * 20)
    assert any("no database" in text for text in await problems_of(path))


# ------------------------------------------------------------------------------------------ backup


async def test_a_backup_made_while_others_write_is_of_one_moment(path: Path, tmp_path: Path) -> None:
    store = await open_store(f"file:{path}", {"durability": "relaxed"})
    stop = False

    async def write() -> int:
        n = 0
        while not stop:
            n += 1
            await store.commit(
                [CreateResource(resource(f"left{n}", pad="x" * 500)), CreateResource(resource(f"right{n}"))]
            )
            await asyncio.sleep(0)
        return n

    writing = asyncio.ensure_future(write())
    found = []
    for n in range(5):
        await asyncio.sleep(0.05)
        info = await admin_of(path).backup(tmp_path / f"{n}.backup")
        found.append(int(info.resource_version))
        names = [name for (name,) in rows(info.path, "SELECT name FROM resources")]
        assert {name.replace("left", "right") for name in names if "left" in name} <= set(names)
        assert info.items["resources"] == len(names)
        assert (info.schema, info.size_bytes) == (SCHEMA_VERSION, info.path.stat().st_size)
        assert await problems_of(info.path) == ()
    stop = True
    assert await writing > 5
    await store.aclose()
    assert found == sorted(set(found))


async def test_a_backup_is_one_file_for_its_owner_that_tells_the_same(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep"
    target.mkdir()
    info = await admin_of(path, clock=ManualClock(5.0)).backup(target / "b.backup")
    assert info.time_s == 5.0
    assert list(target.iterdir()) == [target / "b.backup"]
    assert rows(info.path, "PRAGMA journal_mode") == [("delete",)]
    if os.name == "posix":
        assert info.path.stat().st_mode & 0o777 == 0o600
    assert await told_of(info.path) == await told_of(path)


async def test_a_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="there is there already"):
        await admin_of(path).backup(tmp_path / "there")
    with pytest.raises(UserError, match="no directory"):
        await admin_of(path).backup(tmp_path / "no" / "where")
    assert (tmp_path / "there").read_text(encoding="utf-8") == "mine"


async def test_a_backup_without_room_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(StoreUnavailableError, match="the disk is full; make room or name another place"):
            await admin_of(path).backup(disk / "b.backup")
        assert list(disk.iterdir()) == []


async def test_what_is_no_store_has_no_backup(path: Path, tmp_path: Path) -> None:
    rows(path, "PRAGMA user_version = 9")
    with pytest.raises(SchemaVersionError):
        await admin_of(path).backup(tmp_path / "b")
    with path.open("r+b") as file:
        file.write(b"rubbish!" * 20)
    with pytest.raises(StoreError, match="no database"):
        await admin_of(path).backup(tmp_path / "b")
    assert not (tmp_path / "b").exists()


async def test_a_backup_that_is_cancelled_leaves_nothing(path: Path, tmp_path: Path) -> None:
    store = await open_store(f"file:{path}", {"durability": "relaxed"})
    await store.commit([PutBlob(os.urandom(60_000_000))])
    await store.aclose()
    target = tmp_path / "out"
    target.mkdir()
    job = asyncio.ensure_future(admin_of(path).backup(target / "b.backup"))
    while not list(target.iterdir()):
        assert not job.done()
        await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert list(target.iterdir()) == []


# ------------------------------------------------------------------------------------------ compact


async def test_compacting_removes_what_is_not_needed_and_gives_the_space_back(tmp_path: Path) -> None:
    path, clock = tmp_path / "k.db", ManualClock()
    store = await open_store(f"file:{path}", {"clock": clock, "durability": "relaxed"})
    [busy] = await store.commit([CreateResource(resource("busy"))])
    for n in range(300):
        [busy] = await store.commit([UpdateResource(busy.evolve(spec={"n": n, "pad": "x" * 2000}))])
    await store.commit([CreateResource(resource("gone")), DeleteResource(key("gone"))])
    await store.commit([SetState("s", {"old": "x" * 100_000}, ttl_s=10), SetState("s", {"new": 1})])
    await store.leases.acquire("worker/old", "worker/old", 10)
    await store.leases.acquire("worker/new", "worker/new", 10_000)
    rows(path, "INSERT INTO blobs (digest, data) VALUES (x'aa', zeroblob(100000))")
    clock.advance(100)
    report = await admin_of(path, clock=clock, history_events=10).compact()
    assert report.removed == {"history": 293, "state": 1, "leases": 1, "blobs": 1}
    assert report.before_bytes > report.after_bytes + 700_000
    assert report.after_bytes < 300_000
    # The store that was open all the time goes on.
    assert await store.resources.get(busy.key) == busy
    [busy] = await store.commit([UpdateResource(busy.evolve(spec={}))])
    assert busy.metadata.resource_version == "304"
    assert await store.state.get_state("s") == {"new": 1}
    assert [lease.name for lease in await store.leases.list()] == ["worker/new"]
    await store.aclose()
    assert await problems_of(path) == ()
    again = await admin_of(path, clock=clock, history_events=11).compact()
    assert again.removed == {"history": 0, "state": 0, "leases": 0, "blobs": 0}


async def test_compacting_waits_for_no_reader(path: Path) -> None:
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM log").fetchall()
    await admin_of(path, history_events=1).compact()
    assert reader.execute("SELECT count(*) FROM log").fetchall() == before
    reader.close()
    assert rows(path, "SELECT count(*) FROM log") != before


async def test_a_lock_that_stays_is_named_and_nothing_is_half_done(path: Path) -> None:
    before = await told_of(path)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match=r"others kept it locked for 0\.05 s"):
        await admin_of(path, timeout_s=0.05).compact()
    other.close()
    assert await told_of(path) == before


async def test_compacting_without_room_leaves_the_store_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        path = disk / "k.db"
        store = await open_store(f"file:{path}", {"durability": "relaxed"})
        for n in range(4):
            await store.commit([PutBlob(os.urandom(1_000_000)), SetState("s", {f"k{n}": n})])
        await store.aclose()
        before = await told_of(path)
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 1_000_000))
        with pytest.raises(StoreUnavailableError, match="full"):
            await admin_of(path).compact()
        assert await told_of(path) == before
        assert await problems_of(path) == ()
        (disk / "filler").unlink()
        assert (await admin_of(path).compact()).after_bytes < 5_000_000


async def test_an_old_schema_is_brought_up_before_it_is_compacted(path: Path) -> None:
    await admin_of(path).migrate(1, backup=False)
    with pytest.raises(SchemaVersionError, match="kastra store migrate"):
        await admin_of(path).compact()
