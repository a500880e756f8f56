"""A backup in the place of a store that others may have open."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings

from kastra_core.errors import (
    ConflictError,
    ExpiredError,
    FencedError,
    StoreError,
    StoreUnavailableError,
    UserError,
)
from kastra_core.protocols.store import (
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteResource,
    PutBlob,
    SendSignal,
    UpdateResource,
)
from kastra_core.protocols.store_admin import StoreAdmin
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store
from libsql_content import (
    Content,
    contents,
    fill,
    key,
    problems_of,
    resource,
    rows,
    small_disk,
    told,
    told_of,
)


def admin_of(path: Path, **options: Any) -> StoreAdmin:
    return open_admin(f"file:{path}", options)


async def make(path: Path, *names: str, content: Content = ()) -> Path:
    """A store with Things of these names."""
    store = await open_store(f"file:{path}", {"durability": "relaxed"})
    await store.commit([CreateResource(resource(name, text=f"{name} of {path.name}")) for name in names])
    await fill(store, content)
    await store.aclose()
    return path


async def backup_of(path: Path) -> Path:
    return (await admin_of(path).backup(path.with_name(f"{path.name}.backup"))).path


def names_of(path: Path) -> set[str]:
    return {name for (name,) in rows(path, "SELECT name FROM resources")}


@pytest.fixture
async def live(tmp_path: Path) -> Path:
    return await make(tmp_path / "k.db", "a", "b")


@pytest.fixture
async def backup(live: Path) -> Path:
    """Of the live store as it was; since then it got another resource."""
    made = await backup_of(live)
    await make(live, "later")
    return made


# ------------------------------------------------------------------------------------------ content


async def test_the_content_is_that_of_the_backup_and_the_former_one_is_kept(live: Path, backup: Path) -> None:
    report = await admin_of(live).restore(backup)
    assert (report.source, report.schema, report.items["resources"]) == (backup, 3, 2)
    assert names_of(live) == {"a", "b"}
    assert report.kept is not None
    assert report.kept.name.startswith("k.db.before-restore.2")
    assert names_of(report.kept) == {"a", "b", "later"}
    assert sorted(live.parent.iterdir()) == sorted([live, backup, report.kept])
    for path in (live, backup, report.kept):
        assert await problems_of(path) == ()
    # What was kept can be put back.
    await admin_of(live).restore(report.kept)
    assert names_of(live) == {"a", "b", "later"}


async def test_a_store_that_is_not_there_is_made(tmp_path: Path, backup: Path) -> None:
    report = await admin_of(tmp_path / "new" / "x.db").restore(backup)
    assert report.kept is None
    assert names_of(tmp_path / "new" / "x.db") == {"a", "b"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.db"]


@given(now=contents, then=contents)
@settings(max_examples=30, deadline=None)
def test_any_content_is_restored_over_any_other(now: Content, then: Content) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as place:
            other = await make(Path(place, "other.db"), content=then)
            made = await backup_of(other)
            path = await make(Path(place, "k.db"), content=now)
            store = await open_store(f"file:{path}", {"durability": "relaxed"})
            await told(store)  # it remembers what it saw
            last = int((await store.resources.list("", "")).resource_version)
            await admin_of(path).restore(made)
            assert await told(store) == await told_of(other)
            assert all(
                int(item.metadata.resource_version) > last for item in (await store.resources.list("", "")).items
            )
            await fill(store, now)
            await store.aclose()
            assert await problems_of(path) == ()

    asyncio.run(run())


async def test_a_backup_of_an_older_schema_is_brought_up_and_stays_as_it_is(live: Path, tmp_path: Path) -> None:
    old = await make(tmp_path / "old.db", "old")
    await admin_of(old).migrate(1, backup=False)
    bytes_before = old.read_bytes()
    await admin_of(live).restore(old)
    assert names_of(live) == {"old"}
    assert rows(live, "PRAGMA user_version") == [(3,)]
    assert old.read_bytes() == bytes_before


async def test_a_backup_with_other_pages_fits(live: Path, backup: Path) -> None:
    rows(backup, "PRAGMA page_size = 8192")
    connection = apsw.Connection(str(backup))
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("VACUUM")
    connection.close()
    assert rows(backup, "PRAGMA page_size") == [(8192,)]
    await admin_of(live).restore(backup)
    assert rows(live, "PRAGMA page_size") == [(4096,)]
    assert names_of(live) == {"a", "b"}


# ------------------------------------------------------------------------------------------ what others remember


async def test_versions_go_on_above_all_that_were_given_out(live: Path, backup: Path) -> None:
    store = await open_store(f"file:{live}", {})
    seen = await store.resources.get(key("a"))
    assert seen is not None
    [gone] = await store.commit([DeleteResource(key("later"))])  # the highest version is of what is no more
    last = int(gone.metadata.resource_version)
    await admin_of(live).restore(backup)
    found = await store.resources.get(key("a"))
    assert found is not None
    assert found.spec == seen.spec
    assert int(found.metadata.resource_version) > last
    with pytest.raises(ConflictError):
        await store.commit([UpdateResource(seen, seen.metadata.resource_version)])
    [new] = await store.commit([CreateResource(resource("new"))])
    assert int(new.metadata.resource_version) > int(found.metadata.resource_version)
    await store.aclose()


async def test_watches_expire_and_new_ones_begin_after_the_restore(live: Path, backup: Path) -> None:
    store = await open_store(f"file:{live}", {})
    listed = await store.resources.list("", "")
    waiting, slow = store.resources.watch("", ""), store.resources.watch("", "", since="1")
    pending = asyncio.ensure_future(anext(waiting))
    await asyncio.sleep(0)
    await admin_of(live).restore(backup)
    for watch in (pending, anext(slow), anext(store.resources.watch("", "", since=listed.resource_version))):
        with pytest.raises(ExpiredError):
            await asyncio.wait_for(watch, 10)
    again = await store.resources.list("", "")
    watch_again = store.resources.watch("", "", since=again.resource_version)
    await store.commit([CreateResource(resource("new"))])
    assert (await asyncio.wait_for(anext(watch_again), 10)).resource.metadata.name == "new"
    await store.aclose()


async def test_kinds_keep_their_numbers_whoever_remembers_them(tmp_path: Path) -> None:
    path, other = tmp_path / "k.db", tmp_path / "other.db"
    for place, kinds in ((path, ["A", "B", "C"]), (other, ["C", "D", "A"])):
        store = await open_store(f"file:{place}", {})
        await store.commit([CreateResource(resource(kind.lower(), kind, owners=["o"])) for kind in kinds])
        await store.aclose()
    made = await backup_of(other)
    store = await open_store(f"file:{path}", {})
    await store.commit([UpdateResource(resource("a", "A"))])
    assert (await store.resources.get(key("b", "B"))) is not None
    await admin_of(path).restore(made)
    assert {k for _, k in await store.resources.counts()} == {"A", "C", "D"}
    for kind in "ABCD":
        assert (await store.resources.get(key(kind.lower(), kind)) is None) is (kind == "B")
    await store.commit([CreateResource(resource("b", "B")), CreateResource(resource("d2", "D"))])
    assert [item.metadata.name for item in (await store.resources.list("t", "D")).items] == ["d", "d2"]
    assert len((await store.resources.list("", "", owner_uid="o")).items) == 3
    await store.aclose()
    assert await problems_of(path) == ()


async def test_who_worked_on_a_run_is_fenced_and_leases_are_of_the_present(live: Path) -> None:
    store = await open_store(f"file:{live}", {})
    run = key("run", "Run")
    await store.commit([ClaimRun("run", run, "worker/a"), AppendRecord("run", "p", 1, 1)])
    await store.leases.acquire("worker/then", "worker/then", 1000)
    made = await backup_of(live)
    await store.leases.release("worker/then", "worker/then")
    await store.commit([ClaimRun("run", run, "worker/b", 1), AppendRecord("run", "q", 2, 2), SendSignal("run", "s")])
    now = await store.leases.acquire("worker/b", "worker/b", 1000)
    await admin_of(live).restore(made, force=True)
    for epoch in (1, 2):
        with pytest.raises(FencedError):
            await store.commit([AppendRecord("run", "r", 3, epoch)])
    claim = await store.journal.claim("run")
    assert claim is not None
    assert (claim.holder, claim.epoch > 2, claim.wake_at_s) == ("", True, 0.0)
    assert await store.leases.list() == [now]
    signals = store.journal.watch_signals()
    await store.commit([ClaimRun("run", run, "worker/c", claim.epoch), SendSignal("run", "new")])
    assert (await asyncio.wait_for(anext(signals), 10)).seq == 2
    assert [record.path for record in await store.journal.records("run")] == ["p"]
    await store.aclose()
    assert await problems_of(live) == ()


OTHER = """
import asyncio, sys
from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey
from kastra_core.errors import ExpiredError
from kastra_core.protocols.store import CreateResource
from kastra_plugin_libsql.store import open_store

async def main():
    store = await open_store("file:" + sys.argv[1], {})
    names = [item.metadata.name for item in (await store.resources.list("", "")).items]
    made = Resource(api_version="t/v1", kind="Mine", metadata=ObjectMeta(name="m", uid="m1"))
    await store.commit([CreateResource(made)])
    watch = store.resources.watch("", "")
    print("watching", *names, flush=True)
    try:
        print(await anext(watch), flush=True)
    except ExpiredError:
        print("expired", flush=True)
    listed = await store.resources.list("", "")
    print(*(item.metadata.name for item in listed.items), flush=True)
    watch = store.resources.watch("", "", since=listed.resource_version)
    made = Resource(api_version="t/v1", kind="Mine", metadata=ObjectMeta(name="m", uid="m2"))
    await store.commit([CreateResource(made)])
    print((await anext(watch)).resource.metadata.uid, flush=True)
    await store.aclose()

asyncio.run(main())
"""


async def test_another_process_sees_the_new_content_and_its_watch_expires(live: Path, backup: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", OTHER, str(live)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "watching a b later\n"
    await admin_of(live).restore(backup)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines() == ["expired", "a b", "m2"]
    assert process.returncode == 0
    assert await problems_of(live) == ()


# ------------------------------------------------------------------------------------------ refused


async def test_a_store_that_workers_use_is_restored_only_by_force(live: Path, backup: Path) -> None:
    store = await open_store(f"file:{live}", {})
    await store.leases.acquire("worker/a-1", "worker/a-1", 60)
    with pytest.raises(UserError, match=r"workers use the store .*worker/a-1.*force"):
        await admin_of(live).restore(backup)
    assert names_of(live) == {"a", "b", "later"}
    assert sorted(path.name for path in live.parent.iterdir() if "-" not in path.name) == ["k.db", "k.db.backup"]
    await admin_of(live).restore(backup, force=True)
    assert names_of(live) == {"a", "b"}
    await store.aclose()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("missing", "there is no backup"),
        ("itself", "is the store itself"),
        ("text", "not whole"),
        ("foreign", "no backup of a store"),
        ("newer", "schema 9; this program knows schemas up to 3"),
        ("cut", "not whole"),
        ("rows", "has no present version in the log"),
    ],
)
async def test_a_backup_that_is_not_whole_or_not_ours_is_refused(
    live: Path, backup: Path, tmp_path: Path, wrong: str, words: str
) -> None:
    source = backup
    if wrong == "missing":
        source = tmp_path / "nowhere"
    elif wrong == "itself":
        source = tmp_path / "link"
        source.symlink_to(live)
    elif wrong == "text":
        source.write_text("no database " * 100, encoding="utf-8")
    elif wrong == "foreign":
        source = tmp_path / "foreign"
        foreign = sqlite3.connect(source)
        foreign.execute("CREATE TABLE t (x)")
        foreign.close()
    elif wrong == "newer":
        rows(source, "PRAGMA user_version = 9")
    elif wrong == "cut":
        source.write_bytes(source.read_bytes()[: 9 * 4096])
    else:
        rows(source, "DELETE FROM log")
    before = live.read_bytes()
    with pytest.raises(UserError, match=words):
        await admin_of(live).restore(source, force=True)
    assert live.read_bytes() == before
    assert not list(tmp_path.glob("*.part*"))
    assert not list(tmp_path.glob("*before-restore*"))


async def test_a_database_of_another_program_is_not_replaced(tmp_path: Path, backup: Path) -> None:
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    with pytest.raises(Exception, match="another program"):
        await admin_of(tmp_path / "foreign.db").restore(backup, force=True)
    (tmp_path / "notes.txt").write_text("mine " * 1000, encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as a database"):
        await admin_of(tmp_path / "notes.txt").restore(backup)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine " * 1000


# ------------------------------------------------------------------------------------------ damaged stores


async def test_a_store_with_damaged_tables_is_mended_while_it_is_open(live: Path, backup: Path) -> None:
    store = await open_store(f"file:{live}", {})
    assert await store.resources.get(key("a")) is not None
    for (page,) in rows(live, "SELECT rootpage FROM sqlite_schema WHERE name IN ('log', 'runs', 'leases')"):
        with live.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 300)
    assert (await admin_of(live).check()).problems
    report = await admin_of(live).restore(backup)
    assert report.kept is not None
    assert names_of(live) == {"a", "b"}
    assert await problems_of(live) == ()
    assert (await store.resources.list("t", "Thing")).items
    # Versions that could not be read any more are not given out again.
    assert int((await store.resources.list("", "")).resource_version) > 1_000_000_000
    await store.aclose()


async def test_a_store_whose_list_of_tables_is_damaged_is_replaced_by_force(live: Path, backup: Path) -> None:
    schema_pages = rows(live, "SELECT pageno FROM dbstat WHERE name = 'sqlite_schema' AND pageno > 1")
    assert schema_pages
    with live.open("r+b") as file:
        for (page,) in schema_pages:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(StoreError, match="damaged"):
        await open_store(f"file:{live}", {})
    with pytest.raises(UserError, match="add --force"):
        await admin_of(live).restore(backup)
    await admin_of(live).restore(backup, force=True)
    assert names_of(live) == {"a", "b"}


@pytest.mark.parametrize("page", [0, 60])
async def test_a_file_that_is_no_database_any_more_is_replaced_by_force(live: Path, backup: Path, page: int) -> None:
    with live.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * (4096 - page))
    rubbish = live.read_bytes()
    with pytest.raises(UserError):
        await admin_of(live).restore(backup)
    report = await admin_of(live).restore(backup, force=True)
    assert report.kept is not None
    assert report.kept.read_bytes() == rubbish
    assert names_of(live) == {"a", "b"}
    assert await problems_of(live) == ()


# ------------------------------------------------------------------------------------------ full disks, kills


@pytest.mark.parametrize("room", [1_000_000, 6_000_000, 10_000_000])
async def test_without_room_the_store_stays_as_it_was(tmp_path: Path, room: int) -> None:
    with small_disk(tmp_path / "disk", "40m") as disk:
        path = await make(disk / "k.db", "a")
        store = await open_store(f"file:{path}", {"durability": "relaxed"})
        await store.commit([PutBlob(os.urandom(4_500_000))])
        await store.aclose()
        made = await admin_of(path).backup(tmp_path / "made.backup")
        await make(path, "later")
        before = await told_of(path)
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - room))
        with pytest.raises(StoreUnavailableError, match=r"full|room"):
            await admin_of(path).restore(made.path)
        assert await told_of(path) == before
        assert await problems_of(path) == ()
        assert not list(disk.glob("*.part*"))
        (disk / "filler").unlink()
        await admin_of(path).restore(made.path)
        assert names_of(path) == {"a"}


RESTORE = """
import asyncio, sys
from pathlib import Path
from kastra_plugin_libsql.admin import open_admin
admin = open_admin("file:" + sys.argv[1], {})
print("ready", flush=True)
asyncio.run(admin.restore(Path(sys.argv[2])))
print("done", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by SIGKILL")
async def test_a_restore_that_is_killed_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    chance = random.Random(3)
    path = await make(tmp_path / "k.db", "a", *(f"n{n}" for n in range(3000)))
    made = await backup_of(path)
    await make(path, "later")
    whole = shutil.copytree(tmp_path, tmp_path.with_name("whole"))
    for _ in range(12):
        for left in tmp_path.iterdir():
            left.unlink()
        shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", RESTORE, str(path), str(made)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        names = names_of(path)
        assert len(names - {"later"}) == 3001
        assert await problems_of(path) == ()
        store = await open_store(f"file:{path}", {})
        await store.commit([CreateResource(resource("new"))])
        await store.aclose()
    shutil.rmtree(whole)
