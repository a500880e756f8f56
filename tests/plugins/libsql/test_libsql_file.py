"""What the file store does beyond the contract: URLs, schema versions, faults, threads, other processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from kastra_core.api.lazy import load
from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey
from kastra_core.errors import (
    ConfigError,
    ExpiredError,
    NotFoundError,
    SchemaVersionError,
    StoreError,
    StoreUnavailableError,
)
from kastra_core.protocols.store import CreateResource, DeleteResource, PutBlob, SendSignal, SetState, UpdateResource
from kastra_plugin_libsql.hooks import kastra_stores
from kastra_plugin_libsql.store import open_file, open_store


def resource(name: str, **spec: Any) -> Resource:
    return Resource(api_version="t/v1", kind="Thing", metadata=ObjectMeta(name=name, uid=name), spec=spec)


def key(name: str) -> ResourceKey:
    return ResourceKey("t", "Thing", "", name)


def python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


# ------------------------------------------------------------------------------------------ URLs


def test_the_hook_offers_the_scheme_file() -> None:
    [registration] = kastra_stores()
    assert "file" in registration.schemes
    assert load(registration.factory) is open_store


@pytest.mark.parametrize(
    "form", ["file:{dir}/a/k.db", "file://{dir}/a/k.db", "file://localhost{dir}/a/k.db", "file:a/k.db", "file:a%2Fk.db"]
)
async def test_each_form_of_url_names_the_same_file(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = await open_file(form.format(dir=tmp_path), {})
    await store.commit([CreateResource(resource("a"))])
    await store.aclose()
    assert (tmp_path / "a" / "k.db").is_file()
    assert store.url == form.format(dir=tmp_path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:", "names no file"),
        ("file:dir/", "names no file"),
        ("file://server/x.db", "'server'"),
        ("file:x.db?mode=ro", "unknown option 'mode'; allowed are"),
        ("file:x.db?durabilty=full", "did you mean 'durability'"),
        ("file:x.db?durability=none", "full or relaxed"),
        ("file:x.db?timeout_s=-1", "timeout_s"),
        ("file:x.db?timeout_s=1&timeout_s=2", "twice"),
        ("file:x.db#f", "fragment"),
        ("file::memory:", "memory:"),
        ("ftp://localhost/x", "file: URLs"),
    ],
)
async def test_a_wrong_url_is_a_config_error_that_says_what_is_allowed(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="store URL") as caught:
        await open_store(url, {})
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_options_come_from_the_query_or_the_configuration(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db?durability=relaxed&timeout_s=2.5"
    store = await open_file(url, {"timeout_s": 1, "history_events": 5})
    settings = store._db.settings
    assert (settings.durability, settings.timeout_s, settings.history_events) == ("relaxed", 1.0, 5)
    await store.aclose()


# ------------------------------------------------------------------------------------------ schema


async def test_a_newer_schema_is_refused_and_its_writer_named(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    await (await open_file(f"file:{path}", {})).aclose()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 99; UPDATE meta SET value = 'acme 9.9' WHERE key = 'written_by'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaVersionError, match=r"schema 99, written by acme 9\.9.*knows schemas up to 3"):
        await open_file(f"file:{path}", {})
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await open_file(f"file:{path}", {})
    assert path.read_bytes() == before


def test_processes_that_create_the_same_file_at_once_all_work(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from kastra_core.protocols.store import SetState
from kastra_plugin_libsql.store import open_file, open_store

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    store = await open_file(sys.argv[1], {})
    await store.commit([SetState("s", {sys.argv[2]: 1})])
    await store.aclose()

asyncio.run(main())
"""
    url = f"file:{tmp_path}/deep/er/k.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=60)
        assert process.returncode == 0

    async def read() -> Any:
        store = await open_file(url, {})
        try:
            return await store.state.get_state("s")
        finally:
            await store.aclose()

    assert asyncio.run(read()) == {str(n): 1 for n in range(4)}


# ------------------------------------------------------------------------------------------ faults


async def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    path.write_text("This is no database. " * 100, encoding="utf-8")
    with pytest.raises(StoreUnavailableError, match=r"k\.db: the file is no database"):
        await open_file(f"file:{path}", {})
    assert path.read_text(encoding="utf-8").startswith("This is no database")


async def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError, match=r"directory .* cannot be made"):
        await open_file(f"file:{tmp_path}/file/k.db", {})
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        await open_file(f"file:{tmp_path}/dir.db", {})


def test_a_read_only_directory_is_named(tmp_path: Path) -> None:
    code = """
import asyncio, os, sys
from importlib.metadata import version
from kastra_core.errors import StoreUnavailableError
from kastra_plugin_libsql.store import open_file, open_store
version("kastra-plugin-libsql")
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
try:
    asyncio.run(open_store("file:" + sys.argv[1] + "/k.db", {}))
except StoreUnavailableError as err:
    print(err)
"""
    place = tmp_path / "ro"
    place.mkdir()
    place.chmod(0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.owner() == place.owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    done = python(code, place)
    assert "ro/k.db" in done.stdout, done.stderr
    assert "directory" in done.stdout
    assert "writable" in done.stdout


async def test_a_lock_of_another_program_is_waited_for_without_blocking_the_loop(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    store = await open_file(url, {})
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("BEGIN IMMEDIATE")
    pending = asyncio.ensure_future(store.commit([CreateResource(resource("a"))]))
    turns = 0
    while turns < 30:
        await asyncio.sleep(0.005)
        turns += 1
        assert not pending.done()
        assert await store.resources.get(key("a")) is None
    other.execute("COMMIT")
    await asyncio.wait_for(pending, 10)
    other.close()
    await store.aclose()


async def test_a_lock_that_stays_is_an_error_and_the_store_recovers(tmp_path: Path) -> None:
    store = await open_file(f"file:{tmp_path}/k.db", {"timeout_s": 0.05})
    other = apsw.Connection(str(tmp_path / "k.db"))
    other.execute("BEGIN IMMEDIATE")
    commits = [store.commit([CreateResource(resource(name))]) for name in "ab"]
    results = await asyncio.gather(*commits, return_exceptions=True)
    assert all(isinstance(result, StoreUnavailableError) for result in results)
    assert "another program keeps it locked" in str(results[0])
    other.execute("COMMIT")
    other.close()
    await store.commit([CreateResource(resource("a"))])
    await store.aclose()


def test_a_full_disk_is_an_error_that_loses_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    code = """
import asyncio, os, resource, signal, sys
from kastra_core.errors import StoreUnavailableError
from kastra_core.protocols.store import PutBlob, SetState
from kastra_plugin_libsql.store import open_file, open_store

async def main():
    store = await open_file("file:" + sys.argv[1], {})
    await store.commit([SetState("s", {"before": 1})])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    try:
        await store.commit([SetState("s", {"lost": 1}), PutBlob(os.urandom(5_000_000))])
    except StoreUnavailableError as err:
        print(err)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.commit([SetState("s", {"after": 1})])
    print(await store.state.get_state("s"))
    await store.aclose()

asyncio.run(main())
"""
    done = python(code, tmp_path / "k.db")
    error, state = done.stdout.splitlines()
    assert "k.db: the disk" in error
    assert "full" in error
    assert state == "{'after': 1, 'before': 1}"


async def test_a_commit_that_one_request_cannot_encode_does_not_fail_its_group(tmp_path: Path) -> None:
    store = await open_file(f"file:{tmp_path}/k.db", {})
    good = [store.commit([CreateResource(resource(f"n{n}"))]) for n in range(3)]
    bad = store.commit([DeleteResource(key("\ud800"))])  # a text that is no UTF-8 fails only in the database
    *found, failure = await asyncio.gather(*good, bad, return_exceptions=True)
    assert all(isinstance(result, list) for result in found)
    assert isinstance(failure, UnicodeEncodeError)
    await store.aclose()


# ------------------------------------------------------------------------------------------ threads and loops


def test_reading_needs_neither_a_loop_nor_asyncio(tmp_path: Path) -> None:
    async def fill() -> None:
        store = await open_file(f"file:{tmp_path}/k.db", {})
        await store.commit([CreateResource(resource(f"n{n:03}")) for n in range(600)])
        await store.aclose()

    asyncio.run(fill())
    code = """
import sys
from kastra_plugin_libsql.store import open_file, open_store
from kastra_core.api.meta import ResourceKey

def drive(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("suspended")

store = drive(open_store("file:" + sys.argv[1], {}))
assert drive(store.resources.get(ResourceKey("t", "Thing", "", "n007"))).metadata.name == "n007"
assert len(drive(store.resources.list("t", "Thing")).items) == 600
assert drive(store.resources.counts()) == {("t", "Thing"): 600}
assert drive(store.journal.claims()) == []
assert drive(store.threads.list()) == []
drive(store.aclose())
print("asyncio" in sys.modules)
"""
    done = python(code, tmp_path / "k.db")
    assert done.stdout == "False\n", done.stderr


def test_a_store_may_be_opened_in_one_loop_after_another_and_leaves_no_thread(tmp_path: Path) -> None:
    async def use(n: int) -> int:
        store = await open_file(f"file:{tmp_path}/k.db", {})
        watch = store.resources.watch("", "")
        await store.commit([CreateResource(resource(f"n{n}"))])
        await anext(watch)
        await store.vectors.upsert("c", [(f"v{n}", [1.0, float(n)], {})])
        assert len(await store.vectors.query("c", [1.0, 0.0])) == n + 1
        await store.aclose()
        return n

    before = threading.active_count()
    assert [asyncio.run(use(n)) for n in range(3)] == [0, 1, 2]
    assert threading.active_count() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.db"]


async def test_the_loop_runs_on_while_a_large_list_is_read(tmp_path: Path) -> None:
    store = await open_file(f"file:{tmp_path}/k.db", {"durability": "relaxed"})
    await store.commit([CreateResource(resource(f"n{n:05}")) for n in range(3000)])
    reading = asyncio.ensure_future(store.resources.list("t", "Thing"))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5
    assert len(reading.result().items) == 3000
    await store.aclose()


async def test_old_versions_leave_the_file_and_present_ones_stay(tmp_path: Path) -> None:
    now = [1_700_000_000.0]
    store = await open_file(
        f"file:{tmp_path}/k.db", {"history_events": 50, "durability": "relaxed", "clock": lambda: now[0]}
    )
    [quiet] = await store.commit([CreateResource(resource("quiet"))])
    [busy] = await store.commit([CreateResource(resource("busy"))])
    for n in range(400):
        [busy] = await store.commit([UpdateResource(busy.evolve(spec={"n": n}))])
    [[rows]] = store._db.rows("SELECT count(*) FROM log")
    assert rows <= 102
    assert await store.resources.get(quiet.key) == quiet
    await store.commit([UpdateResource(quiet)])
    [[left]] = store._db.rows("SELECT count(*) FROM log WHERE rv <= (SELECT value FROM meta WHERE key = 'horizon')")
    assert left == 0
    await store.aclose()


async def test_events_older_than_the_history_in_seconds_go(tmp_path: Path) -> None:
    now = [1_700_000_000.0]
    store = await open_file(f"file:{tmp_path}/k.db", {"history_s": 100, "clock": lambda: now[0]})
    [first] = await store.commit([CreateResource(resource("a"))])
    await store.commit([CreateResource(resource("b"))])
    now[0] += 200
    store._writer._next_sweep = time.perf_counter()
    await store.commit([CreateResource(resource("c"))])
    with pytest.raises(ExpiredError):
        await anext(store.resources.watch("", "", since=first.metadata.resource_version))
    assert len((await store.resources.list("t", "Thing")).items) == 3
    await store.aclose()


async def test_a_slow_watcher_keeps_little_in_memory_and_loses_nothing(tmp_path: Path) -> None:
    store = await open_file(f"file:{tmp_path}/k.db", {"durability": "relaxed"})
    watch = store.resources.watch("t", "Thing")
    for n in range(0, 4000, 400):
        await store.commit([CreateResource(resource(f"n{n + at:04}")) for at in range(400)])
    assert len(watch._found) <= 1024  # type: ignore[attr-defined]
    names = [(await anext(watch)).resource.metadata.name for _ in range(3000)]
    await store.commit([CreateResource(resource("last"))])
    names += [(await anext(watch)).resource.metadata.name for _ in range(1001)]
    assert names == [*(f"n{n:04}" for n in range(4000)), "last"]
    await store.aclose()


# ------------------------------------------------------------------------------------------ processes

_WRITER = """
import asyncio, sys
from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.errors import ConflictError
from kastra_core.protocols.store import CreateResource, SendSignal, SetState, UpdateResource
from kastra_plugin_libsql.store import open_file, open_store

def resource(name, **spec):
    return Resource(api_version="t/v1", kind="Thing", metadata=ObjectMeta(name=name, uid=name), spec=spec)
"""


async def test_writes_of_another_process_reach_watchers_in_order(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    store = await open_file(url, {})
    watch, signals, state = store.resources.watch("", ""), store.journal.watch_signals(), store.state.watch_state("s")
    code = (
        _WRITER
        + """
async def main():
    store = await open_file(sys.argv[1], {})
    for n in range(40):
        await store.commit([CreateResource(resource(f"theirs{n}"))])
    await store.commit([SendSignal("r", "go", 7), SetState("s", {"k": 7})])
    await store.aclose()

asyncio.run(main())
"""
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, url)
    for n in range(40):
        await store.commit([CreateResource(resource(f"ours{n}"))])
    events = [await asyncio.wait_for(anext(watch), 30) for _ in range(80)]
    versions = [int(event.resource.metadata.resource_version) for event in events]
    assert versions == list(range(versions[0], versions[0] + 80))
    for whose in ("ours", "theirs"):
        names = [name for e in events if (name := e.resource.metadata.name).startswith(whose)]
        assert names == [f"{whose}{n}" for n in range(40)]
    assert (await asyncio.wait_for(anext(signals), 30)).payload == 7
    assert await asyncio.wait_for(anext(state), 30) == {"k": 7}
    assert await process.wait() == 0
    await store.aclose()


async def test_no_increment_is_lost_among_processes(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    store = await open_file(url, {})
    await store.commit([CreateResource(resource("counter", n=0))])
    code = (
        _WRITER
        + """
async def main():
    store = await open_file(sys.argv[1], {})
    done = 0
    while done < 25:
        old = await store.resources.get(resource("counter").key)
        try:
            new = old.evolve(spec={"n": old.spec["n"] + 1})
            await store.commit([UpdateResource(new, old.metadata.resource_version)])
        except ConflictError:
            continue
        done += 1
    await store.aclose()

asyncio.run(main())
"""
    )
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, url) for _ in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    found = await store.resources.get(key("counter"))
    assert found is not None
    assert found.spec == {"n": 75}
    await store.aclose()


@pytest.mark.parametrize("round_", range(5))
def test_what_was_acknowledged_survives_kill_9(round_: int, tmp_path: Path) -> None:
    url = f"file:{tmp_path}/k.db"
    code = (
        _WRITER
        + """
async def task(store, n):
    at = 0
    while True:
        # Two resources that are there together or not at all.
        await store.commit([CreateResource(resource(f"a{n}-{at}")), CreateResource(resource(f"b{n}-{at}"))])
        print(f"{n}-{at}", flush=True)
        at += 1

async def main():
    store = await open_file(sys.argv[1], {"history_events": 50})
    await asyncio.gather(*(task(store, n) for n in range(8)))

asyncio.run(main())
"""
    )
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(20 + 37 * round_)]
    process.kill()
    acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    process.wait()

    async def check() -> None:
        store = await open_file(url, {})
        assert store._db.rows("PRAGMA integrity_check") == [("ok",)]
        names = {r.metadata.name for r in (await store.resources.list("t", "Thing")).items}
        assert {f"{part}{ack}" for ack in acknowledged for part in "ab"} <= names
        assert {name[1:] for name in names if name[0] == "a"} == {name[1:] for name in names if name[0] == "b"}
        await store.commit([CreateResource(resource("after"))])
        await store.aclose()

    asyncio.run(check())


async def test_the_file_is_plain_sqlite_that_other_tools_read(tmp_path: Path) -> None:
    store = await open_file(f"file:{tmp_path}/k.db", {})
    await store.commit([CreateResource(resource("a", n=1)), SetState("s", {"k": 1}), SendSignal("r", "go")])
    await store.commit([PutBlob(b"x")])
    # In a process of its own: two SQLite libraries in one process take each other's locks away when they close a file.
    code = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print([connection.execute(sql).fetchall() for sql in ("SELECT name FROM resources", "PRAGMA journal_mode")])
connection.close()
"""
    done = python(code, tmp_path / "k.db")
    assert done.stdout == "[[('a',)], [('wal',)]]\n", done.stderr
    with pytest.raises(NotFoundError):
        await store.commit([DeleteResource(key("missing"))])
    await store.aclose()
