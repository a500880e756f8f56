"""Full disks, missing rights, locks, clocks that jump: a clear error or a retry that succeeds.

Nothing that was acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from kastra_core.errors import ExpiredError, SchemaVersionError, StoreError, StoreUnavailableError
from kastra_core.protocols.store import (
    AppendMessages,
    ClaimRun,
    CreateResource,
    PutBlob,
    SendSignal,
    SetState,
    Store,
    UpdateResource,
)
from kastra_plugin_libsql import _writer
from kastra_plugin_libsql.store import LibsqlStore, open_store
from store_load import GROUP, KIND, Script, key, named
from store_nursery import Nursery, nursery
from store_soundness import check_soundness, rows_of

SEED = 11
FULL = r"store .*k\.db: the disk (is|failed or is) full"
NOBODY = 65534


def run(code: str, *arguments: object, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)


# ---------------------------------------------------------------------------------------------- small disks


class SmallDisk:
    """A file system of its own. ``fill`` leaves so many bytes free; ``empty`` removes what fill wrote."""

    def __init__(self, place: Path) -> None:
        self.place, self._filler = place, place / "filler"

    def fill(self, left: int = 0) -> None:
        free = os.statvfs(self.place).f_bavail * os.statvfs(self.place).f_frsize - left
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while free > 0:  # in pieces: the last one may find a page less than was counted
                free -= file.write(bytes(min(free, 4096)))

    def empty(self) -> None:
        self._filler.unlink()

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.place)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command here; the tests with RLIMIT_FSIZE do the same without")
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here ({done.stderr.strip()}); the tests with RLIMIT_FSIZE do without")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def _fill_up(store: Store, script: Script) -> int:
    """Commit until it fails; return how many were acknowledged."""
    while True:
        action = script.next()
        assert not callable(action)
        try:
            await store.commit(action)
        except StoreUnavailableError as error:
            assert "full" in str(error), error  # noqa: PT017 - in a loop until it comes
            return script.count - 1


async def _again(store: Store, path: Path, count: int) -> None:
    """The store holds so many commits of the script, and goes on."""
    script = Script(f"{SEED}", plain=True)
    script.skip(count)
    assert await script.found(store, path) == script.state()
    for _ in range(20):
        action = script.next()
        assert not callable(action)
        await store.commit(action)
    assert await script.found(store, path) == script.state()


@pytest.mark.parametrize("left", [0, 20_000, 300_000])
@pytest.mark.parametrize("durability", ["full", "relaxed"])
async def test_a_full_disk_refuses_commits_and_the_same_store_goes_on_when_there_is_room(
    durability: str, left: int, disk: SmallDisk
) -> None:
    path = disk.place / "k.db"
    store = await open_store(f"file:{path}", {"durability": durability})
    watch = store.resources.watch("", "")
    script = Script(f"{SEED}", plain=True)
    for _ in range(15):
        action = script.next()
        assert not callable(action)
        await store.commit(action)
    disk.fill(left)
    count = await _fill_up(store, script)
    for _ in range(3):  # it stays an error, and reads go on
        with pytest.raises(StoreUnavailableError, match=FULL):
            await store.commit([PutBlob(os.urandom(500_000))])
        assert await store.state.get_state("missing") == {}
    disk.empty()
    await _again(store, path, count)
    seen = int((await anext(watch)).resource.metadata.resource_version)
    assert seen == 1
    await store.aclose()
    check_soundness(path)


async def test_a_disk_that_is_full_when_the_log_is_copied_loses_nothing(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _writer._CHECKPOINT_PAGES  # the name that is set here
    monkeypatch.setattr(_writer, "_CHECKPOINT_PAGES", 10)
    path = disk.place / "k.db"
    store = await open_store(f"file:{path}", {})
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN; SELECT count(*) FROM log").fetchall()  # as long as it reads, the log cannot be begun anew
    await store.commit([PutBlob(os.urandom(900_000))])
    disk.fill()
    reader.execute("COMMIT")  # now the copy of the log begins, and finds no room
    with pytest.raises(StoreUnavailableError, match=FULL):
        await store.commit([PutBlob(os.urandom(900_000))])
    with contextlib.suppress(StoreUnavailableError):
        await store.commit([SetState("s", {"small": 1})])
    reader.close()
    disk.empty()
    await store.commit([SetState("s", {"after": 1})])
    assert (await store.state.get_state("s"))["after"] == 1
    await store.aclose()
    check_soundness(path)


async def test_closing_on_a_full_disk_loses_nothing(disk: SmallDisk) -> None:
    path = disk.place / "k.db"
    store = await open_store(f"file:{path}", {})
    script = Script(f"{SEED}", plain=True)
    for _ in range(20):
        action = script.next()
        assert not callable(action)
        await store.commit(action)
    disk.fill()
    await store.aclose()
    store = await open_store(f"file:{path}", {})
    assert await script.found(store, path) == script.state()
    disk.empty()
    await _again(store, path, 20)
    await store.aclose()
    check_soundness(path)


@pytest.mark.parametrize("left", [0, 4096, 20_000, 60_000, 150_000])
async def test_a_file_cannot_be_made_on_a_full_disk_and_is_made_when_there_is_room(left: int, disk: SmallDisk) -> None:
    path = disk.place / "k.db"
    disk.fill(left)
    try:
        store = await open_store(f"file:{path}", {"timeout_s": 1})
        await store.commit([PutBlob(os.urandom(200_000))])
    except StoreUnavailableError as error:
        assert "full" in str(error)  # noqa: PT017 - one of the two may fail
        assert "k.db" in str(error)  # noqa: PT017
    else:
        await store.aclose()
        pytest.fail("there was no room")
    disk.empty()
    store = await open_store(f"file:{path}", {})
    await _again(store, path, 0)
    await store.aclose()
    check_soundness(path)


def _make_first_schema(path: Path) -> None:
    """A file as the first version of the plugin wrote it, with some values."""
    from kastra_plugin_libsql._schema import take_steps

    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("BEGIN")
    take_steps(connection, 0, 1)
    connection.execute("INSERT INTO scopes VALUES ('s', 1)")
    body = b'"' + b"x" * 100_000 + b'"'
    for n in range(10):
        connection.execute("INSERT INTO state (scope, key, value) VALUES ('s', ?, ?)", (f"k{n}", body))
    connection.execute("COMMIT")
    connection.close()


@pytest.mark.parametrize("left", [0, 100_000, 700_000, 1_300_000])
async def test_a_file_stays_as_it_is_when_there_is_no_room_to_bring_its_schema_up(left: int, disk: SmallDisk) -> None:
    path = disk.place / "k.db"
    _make_first_schema(path)
    disk.fill(left)
    with pytest.raises(StoreError, match=r"k\.db.*(full|room)"):
        await open_store(f"file:{path}", {"timeout_s": 1})
    disk.empty()
    assert rows_of(path, "PRAGMA user_version") == [(1,)]
    assert rows_of(path, "SELECT count(*), sum(length(value)) FROM state") == [(10, 1_000_020)]
    assert {file.name for file in path.parent.iterdir()} <= {"k.db", "k.db-wal", "k.db-shm"}
    store = await open_store(f"file:{path}", {})
    assert len(await store.state.get_state("s")) == 10
    await store.commit([SetState("s", {"after": 1})])
    await store.aclose()
    check_soundness(path)


_LIMITED = """
import asyncio, os, resource, signal, sys
from kastra_core.errors import StoreUnavailableError
from kastra_core.protocols.store import PutBlob, SetState
from kastra_plugin_libsql import _writer
from kastra_plugin_libsql.store import open_store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_writer._CHECKPOINT_PAGES = 10

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def one(path, size):
    store, done = None, []
    limit(size)
    try:
        store = await open_store("file:" + path, {"timeout_s": 1})
        for n in range(30):
            await store.commit([SetState("s", {f"k{n}": n}), PutBlob(os.urandom(9000))])
            done.append(f"k{n}")
    except StoreUnavailableError as err:
        assert "full" in str(err) and "k.db" in str(err), err
    else:
        raise AssertionError("there was room")
    finally:
        limit(resource.RLIM_INFINITY)
    store = store or await open_store("file:" + path, {})
    assert sorted(await store.state.get_state("s")) == sorted(done)
    await store.commit([SetState("s", {"after": 1})])
    await store.aclose()
    return len(done)

async def main():
    for n, size in enumerate((0, 1000, 5000, 20_000, 50_000, 100_000, 200_000)):
        os.mkdir(f"{sys.argv[1]}/{n}")
        print(size, await one(f"{sys.argv[1]}/{n}/k.db", size))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of a process")
def test_a_limit_on_the_size_of_files_is_an_error_at_opening_writing_and_checkpoints_and_then_all_goes_on(
    tmp_path: Path,
) -> None:
    done = run(_LIMITED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 7
    for path in tmp_path.glob("*/k.db"):
        check_soundness(path)


@pytest.mark.skipif(sys.platform == "win32", reason="forks processes")
@pytest.mark.parametrize("durability", ["full", "relaxed"])
@pytest.mark.parametrize("rate", [0.003, 0.02])
async def test_a_commit_that_met_a_failing_disk_left_nothing_and_can_be_tried_again(
    rate: float, durability: str, tmp_path: Path
) -> None:
    path, scripts, commits = tmp_path / "k.db", [f"retry{n}" for n in range(3)], 60
    seed = f"{SEED}-{rate}-{durability}"
    options = {"durability": durability, "history_events": 40}
    async with nursery(tmp_path / "logs") as workers:
        job = {"url": f"file:{path}", "options": options, "seed": seed, "rate": rate}
        worker = workers.begin("retry", **job, commits=commits, scripts=scripts)
        assert await worker.end() == 0, seed
    assert int(worker.said()[-1].split()[1]) > 0, "no failure was met"
    store = await open_store(f"file:{path}", options)
    for name in scripts:
        script = Script(name)
        script.skip(commits)
        assert await script.found(store, path) == script.state(), seed
    await store.aclose()
    check_soundness(path)


# ---------------------------------------------------------------------------------------------- rights

_AS_NOBODY = """
import asyncio, os, sys
from importlib.metadata import version
from kastra_core.errors import StoreError
from kastra_core.protocols.store import SetState
from kastra_plugin_libsql.store import open_store
import kastra_plugin_libsql._migrations
version("kastra-plugin-libsql")
os.setgid(65534), os.setuid(65534)

async def main():
    store = None
    try:
        store = await open_store("file:" + sys.argv[1], {"timeout_s": 1})
        print("read", (await store.state.get_state("s")).get("k"))
        await store.commit([SetState("s", {"k": 2})])
        print("wrote")
    except StoreError as err:
        print(type(err).__name__, err)
    if store is not None:
        await store.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(("file_mode", "place_mode"), [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555), (0o600, 0o777)])
def test_a_file_that_one_may_not_write_is_named_and_not_changed(
    file_mode: int, place_mode: int, killed: bool, tmp_path: Path
) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    place = tmp_path / "place"
    place.mkdir()
    path = place / "k.db"

    async def fill() -> None:
        store = await open_store(f"file:{path}", {})
        await store.commit([SetState("s", {"k": 1})])
        if killed:
            kept = {file: file.read_bytes() for file in place.iterdir() if not file.name.endswith("-shm")}
        await store.aclose()
        if killed:
            for file, content in kept.items():
                file.write_bytes(content)

    asyncio.run(fill())
    for file in place.iterdir():
        file.chmod(file_mode)
    place.chmod(place_mode)
    before = path.read_bytes()
    done = run(_AS_NOBODY, path)
    assert done.returncode == 0, done.stderr
    *read, last = done.stdout.splitlines()
    assert read in ([], ["read 1"])
    if last != "wrote":
        assert "k.db" in last
        assert "writable" in last or "permission" in last or "directory" in last
        assert path.read_bytes() == before
    assert last != "wrote" or file_mode == 0o666

    async def check() -> None:
        store = await open_store(f"file:{path}", {})
        assert await store.state.get_value("s", "k") == (2 if last == "wrote" else 1)
        await store.aclose()

    asyncio.run(check())
    check_soundness(path)


async def test_a_disk_that_becomes_read_only_refuses_commits_until_it_is_writable_again(disk: SmallDisk) -> None:
    path = disk.place / "k.db"
    store = await open_store(f"file:{path}", {"timeout_s": 1})
    await store.commit([SetState("s", {"k": 1})])
    await store.aclose()
    disk.remount("ro")
    try:
        store = await open_store(f"file:{path}", {"timeout_s": 1})
    except StoreUnavailableError as error:
        assert "writable" in str(error) or "directory" in str(error)  # noqa: PT017 - reading may work
    else:
        assert await store.state.get_value("s", "k") == 1
        with pytest.raises(StoreUnavailableError, match=r"k\.db.*(read-only|writable|directory)"):
            await store.commit([SetState("s", {"k": 2})])
        await store.aclose()
    disk.remount("rw")
    store = await open_store(f"file:{path}", {"timeout_s": 1})
    await store.commit([SetState("s", {"k": 3})])
    await store.aclose()
    check_soundness(path)


# ---------------------------------------------------------------------------------------------- locks

_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
if len(sys.argv) > 2:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
if len(sys.argv) > 2:
    connection.execute("CREATE TABLE IF NOT EXISTS foreign_table (a)")
    connection.execute("ROLLBACK")
print("locked", flush=True)
sys.stdin.readline()
connection.close()
"""


@contextlib.asynccontextmanager
async def locked(path: Path, *how: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another program has the file locked; a line on its stdin ends it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _LOCKER, path, *how, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"locked\n"
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()


async def _longest_wait_s(until: asyncio.Future[Any]) -> float:
    """How long the loop was away at most, until the future is done."""
    longest, before = 0.0, time.perf_counter()
    while not until.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


async def test_a_lock_that_ends_before_the_timeout_only_delays_commits_and_the_loop_runs_on(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {"timeout_s": 20})
    await store.commit([CreateResource(named("x", "a"))])
    async with locked(path) as other:
        writes = [store.commit([CreateResource(named("x", f"n{n}"))]) for n in range(5)]
        pending = asyncio.gather(*writes, store.leases.acquire("l", "me", 60))
        waited = asyncio.ensure_future(_longest_wait_s(pending))
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert await store.resources.get(key("x", "a")) is not None
        assert not pending.done()
        assert other.stdin is not None
        other.stdin.write(b"\n")
        await pending
        assert await waited < 0.5
    assert len((await store.resources.list(GROUP, KIND)).items) == 6
    await store.aclose()


async def test_a_lock_that_outlasts_the_timeout_is_an_error_and_then_the_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {"timeout_s": 0.3})
    async with locked(path):
        pending = asyncio.ensure_future(store.commit([CreateResource(named("x", "a"))]))
        waited = asyncio.ensure_future(_longest_wait_s(pending))
        with pytest.raises(StoreUnavailableError, match=r"k\.db: another program keeps it locked; wait"):
            await pending
        assert await waited < 0.25
    await store.commit([CreateResource(named("x", "a"))])
    await store.aclose()


async def test_a_file_that_another_program_keeps_to_itself_is_named_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit([SetState("s", {"k": 1})])
    await store.aclose()
    async with locked(path, "alone"):
        with pytest.raises(StoreUnavailableError, match=r"k\.db: another program keeps it locked"):
            await open_store(f"file:{path}", {"timeout_s": 0.2})
    store = await open_store(f"file:{path}", {})
    assert await store.state.get_value("s", "k") == 1
    await store.aclose()


async def test_opening_waits_for_a_lock_while_the_loop_runs_on(tmp_path: Path) -> None:
    """A file that is being made, or brought up, by another process."""
    path = tmp_path / "k.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE a (b); DROP TABLE a")
    connection.close()
    async with locked(path) as other:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited = asyncio.ensure_future(_longest_wait_s(opened))
        await asyncio.sleep(0)
        assert other.stdin is not None
        # By a thread: the lock ends also when the loop does not run.
        pipe = other.stdin.get_extra_info("pipe").fileno()
        threading.Timer(1.0, os.write, (pipe, b"\n")).start()
        store = await open_store(f"file:{path}", {"timeout_s": 10})
        opened.set_result(None)
        assert await waited < 0.5
    await store.aclose()


# ---------------------------------------------------------------------------------------------- commits that fail

_BAD = "\ud800"
"""A text that is no UTF-8: the database refuses it in the middle of an operation."""
HALVES: tuple[Callable[[Store], Awaitable[Any]], ...] = (
    lambda store: store.commit([SetState("s", {"bad": 1, _BAD: 2})]),
    lambda store: store.commit([AppendMessages("bad", "t", [{"n": 1}], run=_BAD)]),
    lambda store: store.commit([PutBlob(b"bad", _BAD)]),
    lambda store: store.commit([SendSignal("bad", _BAD, 1)]),
    lambda store: store.commit([ClaimRun("bad", key("x", "a"), _BAD)]),
    lambda store: store.commit([CreateResource(named("x", "bad", owner=_BAD))]),
    lambda store: store.commit([CreateResource(named(_BAD, "bad"))]),
    lambda store: store.vectors.upsert("bad", [("bad", [1.0], {}), (_BAD, [1.0], {})]),  # type: ignore[union-attr]
    lambda store: store.leases.acquire("bad", _BAD, 60.0),
    lambda store: store.commit([SetState("s", {"bad": "x" * 70_000, _BAD: 2})]),
    lambda store: store.commit([SetState("s", {"bad": 1}), SetState("s", {_BAD: 2})]),
)


@pytest.mark.parametrize("number", range(len(HALVES)))
async def test_what_fails_in_its_middle_leaves_nothing_while_its_group_is_kept(number: int, tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    before, bad, after = await asyncio.gather(
        store.commit([CreateResource(named("x", "before"))]),
        HALVES[number](store),
        store.commit([CreateResource(named("x", "after"))]),
        return_exceptions=True,
    )
    assert isinstance(before, list)
    assert isinstance(after, list)
    assert isinstance(bad, UnicodeEncodeError | StoreError | TypeError)
    assert await store.state.get_state("s") == {}
    assert await store.threads.list() == []
    assert await store.journal.claims() == []
    assert await store.leases.list() == []
    assert store.vectors is not None
    assert await store.vectors.query("bad", [1.0]) == []
    assert {r.metadata.name for r in (await store.resources.list("", "")).items} == {"before", "after"}
    await store.aclose()
    check_soundness(path)
    for table in ("blobs", "holds", "runs", "threads", "collections"):
        assert rows_of(path, f"SELECT count(*) FROM {table}") == [(0,)], table


# ---------------------------------------------------------------------------------------------- clocks


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


async def _clocked(tmp_path: Path) -> tuple[LibsqlStore, Clock]:
    clock = Clock()
    store = await open_store(f"file:{tmp_path}/k.db", {"clock": clock, "history_s": 600})
    assert isinstance(store, LibsqlStore)
    return store, clock


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
async def test_a_clock_that_jumps_changes_no_order_and_loses_nothing(jump_s: float, tmp_path: Path) -> None:
    store, clock = await _clocked(tmp_path)
    watch = store.resources.watch("", "")
    versions = []
    script, random = Script("clock", plain=True), Random(SEED)
    for n in range(60):
        if n % 20 == 10:
            clock.now_s += jump_s
        clock.now_s += random.random()
        store._writer._next_sweep = 0.0  # look for what is old each time
        [made] = await store.commit([CreateResource(named("x", f"n{n}"))])
        versions.append(int(made.metadata.resource_version))
        action = script.next()
        assert not callable(action)
        await store.commit(action)
    assert versions == sorted(versions)
    seen = [await anext(watch) for _ in range(60)]
    assert [int(event.resource.metadata.resource_version) for event in seen] == sorted(
        int(event.resource.metadata.resource_version) for event in seen
    )
    assert len((await store.resources.list(GROUP, KIND, namespace="x")).items) == 60
    assert await script.found(store, tmp_path / "k.db") == script.state()
    await store.aclose()
    check_soundness(tmp_path / "k.db")


async def test_a_clock_set_back_keeps_a_lease_with_its_holder_who_can_renew_it(tmp_path: Path) -> None:
    store, clock = await _clocked(tmp_path)
    lease = await store.leases.acquire("l", "a", 10)
    assert lease is not None
    clock.now_s -= 3600
    assert await store.leases.acquire("l", "b", 10) is None
    renewed = await store.leases.acquire("l", "a", 10)
    assert renewed is not None
    assert (renewed.epoch, renewed.expires_at_s) == (lease.epoch, clock.now_s + 10)
    clock.now_s += 11
    taken = await store.leases.acquire("l", "b", 10)
    assert taken is not None
    assert taken.epoch > lease.epoch
    await store.aclose()


async def test_a_clock_set_forward_ends_leases_and_values_once_and_setting_it_back_wakes_neither(
    tmp_path: Path,
) -> None:
    store, clock = await _clocked(tmp_path)
    first = await store.leases.acquire("l", "a", 10)
    assert first is not None
    await store.state.update_values("s", {"short": 1}, ttl_s=10)
    await store.state.update_values("s", {"long": 1}, ttl_s=7200)
    clock.now_s += 3600
    second = await store.leases.acquire("l", "b", 10)
    assert second is not None
    assert second.epoch > first.epoch
    assert await store.state.get_state("s") == {"long": 1}
    await store.state.set_value("s", "other", 1)  # a write removes what has expired
    clock.now_s -= 3600
    assert await store.state.get_state("s") == {"long": 1, "other": 1}
    assert await store.leases.acquire("l", "a", 10) is None  # b has it, by any clock
    await store.aclose()


async def test_a_clock_set_forward_makes_history_old_and_keeps_what_is_present(tmp_path: Path) -> None:
    store, clock = await _clocked(tmp_path)
    [made] = await store.commit([CreateResource(named("x", "a"))])
    [changed] = await store.commit([UpdateResource(made)])
    clock.now_s += 3600
    store._writer._next_sweep = 0.0
    await store.commit([CreateResource(named("x", "b"))])
    with pytest.raises(ExpiredError):
        await anext(store.resources.watch("", "", since=made.metadata.resource_version))
    assert await store.resources.get(made.key) == changed
    clock.now_s -= 7200
    [again] = await store.commit([UpdateResource(changed, changed.metadata.resource_version)])
    assert await store.resources.get(made.key) == again
    await store.aclose()
    check_soundness(tmp_path / "k.db")


# ---------------------------------------------------------------------------------------------- two programs


async def test_a_program_whose_schema_is_left_behind_writes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await open_store(f"file:{path}", {})
    await store.commit([SetState("s", {"k": 1})])
    [[schema]] = rows_of(path, "PRAGMA user_version")
    rows_of(path, f"PRAGMA user_version = {schema + 1}")
    with pytest.raises(SchemaVersionError, match=rf"k\.db .*{schema + 1}"):
        await store.commit([SetState("s", {"k": 2})])
    assert await store.state.get_value("s", "k") == 1
    await store.aclose()
    with pytest.raises(SchemaVersionError, match="install"):
        await open_store(f"file:{path}", {})


async def test_processes_that_make_one_file_at_once_never_take_it_for_another_programs(tmp_path: Path) -> None:
    async with nursery(tmp_path / "logs") as workers:
        await _make_at_once(workers, tmp_path)


async def _make_at_once(workers: Nursery, tmp_path: Path) -> None:
    for number in range(25):
        url = f"file:{tmp_path}/{number}/k.db"
        started = [workers.begin("open_and_write", url=url, name=f"w{n}") for n in range(4)]
        assert [await worker.end() for worker in started] == [0] * 4
