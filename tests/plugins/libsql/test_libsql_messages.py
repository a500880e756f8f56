"""What people are told and what is left for them: words of errors, copies of jobs that were ended, names."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from kastra_core.errors import ConfigError, NotFoundError, SchemaVersionError, StoreError, StoreUnavailableError
from kastra_core.protocols.store_admin import StoreAdmin
from kastra_plugin_libsql import _admin_file, _admin_restore
from kastra_plugin_libsql._admin_backup import Stop, free_names, part_beside, rename_free
from kastra_plugin_libsql._admin_checks import find_problems
from kastra_plugin_libsql._admin_file import FileAdmin
from kastra_plugin_libsql._errors import store_error
from kastra_plugin_libsql._schema import SCHEMA_VERSION
from kastra_plugin_libsql._url import settings_of
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store
from libsql_content import fill, names_of_files, problems_of, rows, small_disk

TOKEN = "s3cr3t-token.of-the-test"
THINGS: list[tuple[Any, ...]] = [("create", n, "Thing", {"v": "x" * 300}) for n in range(40)]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    path = place / "k.db"
    store = await open_store(f"file:{path}", {})
    await fill(store, THINGS)
    await store.aclose()
    return path


def admin_of(path: Path) -> StoreAdmin:
    return open_admin(f"file:{path}", {})


# ------------------------------------------------------------------------------------------ a library that is missing


@pytest.mark.parametrize("verb", ["status", "check", "backup", "restore", "migrate", "compact"])
def test_each_verb_without_the_library_of_servers_says_how_to_install_it(verb: str, tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
sys.modules["libsql_client"] = None
from kastra_core.errors import MissingDependencyError
from kastra_plugin_libsql.admin import open_admin
arguments = [Path(sys.argv[2])] if sys.argv[1] in ("backup", "restore") else []
try:
    asyncio.run(getattr(open_admin("ws://127.0.0.1:9", {}), sys.argv[1])(*arguments))
except MissingDependencyError as err:
    print(err)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, verb, str(tmp_path / "b")], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'kastra-plugin-libsql[remote]'" in done.stdout


# ------------------------------------------------------------------------------------------ options and URLs


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        (
            "ws://h:1",
            {"auth_tokn": "x"},
            "store ws://h:1: unknown option 'authTokn' (storeOptions); did you mean 'authToken'?",
        ),
        ("ws://h", {"colour": 1}, "allowed are authToken, historyEvents, historyS"),
        (
            "ws://h",
            {"timeout_s": "soon"},
            "store ws://h: timeoutS (storeOptions) must be seconds, at least 0.1, found 'soon'",
        ),
        ("ws://h?colour=1", {}, "store URL 'ws://h': unknown option 'colour'; allowed are history_events, history_s"),
        (
            "file:x.db",
            {"durabilty": "full"},
            "store file:x.db: unknown option 'durabilty' (storeOptions); did you mean",
        ),
        ("file:x.db?timeout_s=-1", {}, "store URL 'file:x.db': timeout_s must be seconds, not negative, found '-1'"),
    ],
)
async def test_a_wrong_option_is_told_as_it_was_written_and_where(
    url: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await open_store(url, options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"ws://h?{TOKEN}",
        f"ws://h?timeout_s={TOKEN}",
        f"ws://h?{TOKEN}=1&{TOKEN}=2",
        f"ws://h/{TOKEN}?colour=1",
        f"ws://h/{TOKEN}#f",
        f"file:x.db?auth_token={TOKEN}",
        f"file:x.db?{TOKEN}",
        f"file:x.db?timeout_s={TOKEN}",
        f"file:x.db#{TOKEN}",
        f"file://elsewhere/x.db?{TOKEN}",
    ],
)
async def test_no_message_repeats_what_may_be_a_token(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await open_store(url, {})
    assert TOKEN not in str(caught.value)


async def test_a_value_of_an_option_that_may_be_a_token_is_not_repeated() -> None:
    for url in ("ws://h", "file:x.db"):
        with pytest.raises(ConfigError, match="timeoutS") as caught:
            await open_store(url, {"timeout_s": TOKEN})
        assert TOKEN not in str(caught.value)


# ------------------------------------------------------------------------------------------ servers


async def test_a_token_in_the_path_is_in_no_message_about_a_server_that_is_away(hrana: Any, tmp_path: Path) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    async with hrana.HranaServer(tmp_path / "gone.db") as server:
        urls = [server.url(scheme) for scheme in ("ws", "http")]
    for url in urls:
        with pytest.raises(StoreUnavailableError, match="no answer within") as caught:
            await open_store(f"{url}/{TOKEN}", {"timeout_s": 0.3})
        assert TOKEN not in str(caught.value)


async def test_the_time_that_a_message_names_is_the_time_that_was_waited(hrana: Any, tmp_path: Path) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    async with hrana.HranaServer(tmp_path / "gone.db") as server:
        url = server.url("ws")
    begun = time.monotonic()
    with pytest.raises(StoreUnavailableError) as caught:
        await open_store(url, {"timeout_s": 2})
    took_s = time.monotonic() - begun
    said_s = float(str(caught.value).partition("within ")[2].partition(" s ")[0])
    assert 1.7 <= said_s <= took_s + 0.1
    assert took_s < 10


async def test_a_server_without_tables_is_told_as_one_that_nothing_was_written_to(hrana: Any, tmp_path: Path) -> None:
    pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")
    async with hrana.HranaServer(tmp_path / "new.db") as server:
        with pytest.raises(NotFoundError, match=r"nothing was written to it yet$"):
            await open_admin(server.url("ws"), {}).check()


# ------------------------------------------------------------------------------------------ a full disk


async def test_steps_that_meet_a_full_disk_say_so_and_leave_the_store_as_it_was(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        path = disk / "k.db"
        store = await open_store(f"file:{path}", {"durability": "relaxed"})
        # More than is kept in memory goes into rows again.
        large = [("record", 0, n, {"v": f"{n}" + "x" * 100_000}) for n in range(30)]
        await fill(store, [("create", 0, "Run", {}), ("claim", 0), *large])
        await store.aclose()
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for options in ({"backup": False}, {}):
            with pytest.raises(StoreUnavailableError, match=r"the disk is full|the disk failed") as caught:
                await admin_of(path).migrate(1, **options)
            assert "not an error" not in str(caught.value)
            assert "nothing of this commit" not in str(caught.value)
        before = names_of_files(disk)
        with pytest.raises(StoreUnavailableError, match=r"the disk is full|the disk failed"):
            await admin_of(path).migrate(1, dry_run=True, backup=False)
        assert names_of_files(disk) == before == {"k.db", "k.db-wal", "k.db-shm", "ballast"}
        (disk / "ballast").unlink()
        assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert await problems_of(path) == ()


def test_a_failing_disk_is_no_finding_about_the_rows(path: Path) -> None:
    class Failing:
        def execute(self, sql: str, bindings: object = ()) -> Any:
            raise apsw.IOError("disk I/O error")

    connection: Any = Failing()
    with pytest.raises(apsw.IOError):
        find_problems(connection, SCHEMA_VERSION, Stop())


def test_the_words_for_a_full_disk_fit_reading_and_writing(path: Path) -> None:
    for kind in (apsw.FullError, apsw.IOError):
        words = str(store_error(path, kind("not an error")))
        assert "commit" not in words
        assert "not an error" not in words
    assert "(disk I/O error)" in str(store_error(path, apsw.IOError("disk I/O error")))


# ------------------------------------------------------------------------------------------ damage and schemas


async def test_a_file_that_was_cut_is_told_with_the_command_that_mends_it(path: Path, tmp_path: Path) -> None:
    backup = await admin_of(path).backup(tmp_path / "b.backup")
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)

    async def use() -> None:
        store = await open_store(f"file:{path}", {})
        try:
            await fill(store, [("create", 99, "Thing", {})])
        finally:
            await store.aclose()

    with pytest.raises(StoreError, match="kastra store restore BACKUP --force"):
        await use()
    report = await admin_of(path).restore(backup.path, force=True)
    assert report.items["resources"] == len(THINGS)


async def test_a_newer_schema_is_told_with_the_command_that_brings_it_down(path: Path) -> None:
    rows(path, "PRAGMA user_version = 9")
    with pytest.raises(SchemaVersionError, match=rf"kastra store migrate --to {SCHEMA_VERSION}`"):
        await open_store(f"file:{path}", {})


def test_a_question_that_has_no_answer_is_told_in_plain_words(path: Path) -> None:
    rows(path, "DROP TABLE leases")
    connection = apsw.Connection(str(path))
    found = find_problems(connection, SCHEMA_VERSION, Stop()).problems
    connection.close()
    assert any(text.startswith("not checked (") and "whether lease … has a higher epoch" in text for text in found)


async def test_bringing_a_store_up_at_opening_is_told_once_with_the_backup(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await admin_of(path).migrate(1, backup=False)
    for _ in range(2):
        await (await open_store(f"file:{path}", {})).aclose()
    [record] = [record for record in caplog.records if record.name == "kastra.libsql"]
    [backup] = path.parent.glob("*.backup")
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"store {path} was brought from schema 1 to {SCHEMA_VERSION}; backup: {backup}"


# ------------------------------------------------------------------------------------------ jobs that are ended


async def cancelled_while(job: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Cancel a job at the moment when it calls a function."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    real = getattr(module, name)
    stops: list[Stop] = []
    real_set = Stop.set

    def call(*arguments: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(told.set)
        deadline = time.monotonic() + 30
        while not stops and time.monotonic() < deadline:
            time.sleep(0.001)
        return real(*arguments, **options)

    def stopped(self: Stop) -> None:
        stops.append(self)
        real_set(self)

    monkeypatch.setattr(module, name, call)
    monkeypatch.setattr(Stop, "set", stopped)
    task = asyncio.ensure_future(job)
    await told.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()


async def test_a_migration_that_is_cancelled_leaves_neither_steps_nor_a_backup(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names_of_files(path.parent)
    await cancelled_while(admin_of(path).migrate(1), monkeypatch, _admin_file, "take_steps")
    assert names_of_files(path.parent) - {"k.db-wal", "k.db-shm"} == before - {"k.db-wal", "k.db-shm"}
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert await problems_of(path) == ()


async def test_a_restore_that_is_cancelled_leaves_no_copy_of_what_it_did_not_replace(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = await admin_of(path).backup(tmp_path / "b.backup")
    store = await open_store(f"file:{path}", {})
    await fill(store, [("create", 99, "Thing", {})])
    await store.aclose()
    await cancelled_while(admin_of(path).restore(backup.path), monkeypatch, _admin_restore, "_remembered")
    assert names_of_files(path.parent) - {"k.db-wal", "k.db-shm"} == {"k.db"}
    assert rows(path, "SELECT count(*) FROM resources") == [(len(THINGS) + 1,)]


async def test_a_job_that_is_done_when_it_is_cancelled_has_its_result(path: Path) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    admin = FileAdmin(settings_of(f"file:{path}", {}))

    def job(stop: Stop) -> str:
        loop.call_soon_threadsafe(begun.set)
        while not stop._set.wait(30):
            pass
        return "done"

    task = asyncio.ensure_future(admin._do(job))
    await begun.wait()
    task.cancel()
    assert await task == "done"
    assert task.cancelling() == 0


# ------------------------------------------------------------------------------------------ names and leftovers


def test_a_second_backup_of_the_same_second_has_a_number_and_ends_as_the_first(tmp_path: Path) -> None:
    target = tmp_path / "k.db.schema1.20260101T000000Z.backup"
    made = []
    for _ in range(3):
        with part_beside(target) as part, part_beside(target) as other:
            assert part != other
            made.append(rename_free(part, target).name)
    assert made == [f"k.db.schema1.20260101T000000Z{number}.backup" for number in ("", ".2", ".3")]
    assert next(free_names(tmp_path / "k.db.before-restore.X")).name == "k.db.before-restore.X"


@pytest.fixture
def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


async def test_parts_that_killed_programs_left_are_removed_and_those_of_living_ones_stay(
    path: Path, tmp_path: Path, dead_process: int
) -> None:
    def parts(process: int, age_s: float) -> list[Path]:
        found = []
        for name in ("k.db", "k.db.schema1.20260101T000000Z.backup", "k.db.before-restore.20260101T000000Z"):
            part = path.with_name(f"{name}.{process}-7.part")
            part.write_bytes(b"x")
            os.utime(part, (time.time() - age_s,) * 2)
            found.append(part)
        return found

    stay = [*parts(os.getpid(), 3600), *parts(dead_process + 0, 0)]
    report = await admin_of(path).compact()
    assert "unfinished copies" not in report.removed
    assert all(part.exists() for part in stay)
    parts(dead_process, 120)
    other = path.with_name(f"other.db.{dead_process}-7.part")
    other.write_bytes(b"x")
    os.utime(other, (0, 0))
    report = await admin_of(path).compact()
    assert report.removed["unfinished copies"] == 3
    old = parts(os.getpid(), 100_000)
    await admin_of(path).backup(tmp_path / "b")
    assert not any(part.exists() for part in old)
    assert other.exists()
    dead = parts(dead_process, 120)
    await admin_of(path).restore(tmp_path / "b")
    assert not any(part.exists() for part in dead)
