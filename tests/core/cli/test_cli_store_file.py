"""``kastra store`` on a database file: damage, other schemas, locks, workers, processes that are killed."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

Kastra = Callable[..., Any]

COUNT = 300


def manifests(count: int, text: str = "text " * 60) -> str:
    """Widgets w0, w1 ... as YAML."""
    return "".join(
        f"---\napiVersion: acme.example/v1\nkind: Widget\nmetadata: {{name: w{n}}}\nspec: {{size: 1, note: {text}}}\n"
        for n in range(count)
    )


@pytest.fixture
def filled(kastra: Kastra, project: Path) -> Path:
    """The database of a project with many widgets."""
    (project / "many.yaml").write_text(manifests(COUNT), encoding="utf-8")
    assert kastra("apply", "-f", "many.yaml", "--wait=false").code == 0
    return project / ".kastra" / "kastra.db"


def names(kastra: Kastra) -> set[str]:
    """The widgets that there are."""
    done = kastra("get", "widgets", "-o", "name")
    assert done.code == 0, done.err
    return {line.rpartition("/")[2] for line in done.out.splitlines()}


EVERY = {f"w{n}" for n in range(COUNT)}


def damage(path: Path, first: float = 0.5, last: float = 0.9) -> None:
    """Overwrite a part of a database file, which nobody has open; its beginning stays."""
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    data = bytearray(path.read_bytes())
    begin, end = max(8192, int(len(data) * first)), int(len(data) * last)
    data[begin:end] = b"\xa5" * (end - begin)
    path.write_bytes(data)


def inflate(path: Path, mebibytes: int) -> None:
    """Put blobs into a store, so that copying it takes a while."""
    from kastra_plugin_libsql.store import open_store

    async def put() -> None:
        store = await open_store(f"file:{path}", {})
        for n in range(mebibytes):
            await store.blobs.put(n.to_bytes(4, "big") * 2**18)
        await store.aclose()

    asyncio.run(put())


def pragma(path: Path, text: str) -> None:
    """Change a database from outside."""
    connection = sqlite3.connect(path)
    try:
        connection.execute(text)
        connection.commit()
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------- status, check, compact


def test_status_and_check_of_a_sound_store(kastra: Kastra, filled: Path) -> None:
    found = orjson.loads(kastra("store", "status", "-o", "json").out)
    assert found["exists"] is True
    assert found["engine"].startswith("SQLite ")
    assert found["schema"] == found["latestSchema"]
    assert {facet["name"]: facet["items"] for facet in found["facets"]}["resources"] >= COUNT
    assert found["problems"] == []
    assert found["sizeBytes"] >= filled.stat().st_size
    done = kastra("store", "check")
    assert done.code == 0, done.out
    assert done.out.endswith("no problem found\n")


def test_a_project_without_a_store(kastra: Kastra, project: Path) -> None:
    done = kastra("store", "status")
    assert (done.code, "It is not there yet" in done.out) == (0, True)
    for name in ("check", "backup", "migrate", "compact"):
        done = kastra("store", name)
        assert done.code == 1, name
        assert "error: " in done.err
    assert list(project.iterdir()) == []


def test_compact_gives_the_space_of_what_was_deleted_back(kastra: Kastra, filled: Path) -> None:
    (filled.parent.parent / "many.yaml").write_text(manifests(COUNT, "more " * 80), encoding="utf-8")
    url = f"file:{filled}?history_events=1"
    assert kastra("--store", url, "apply", "-f", "many.yaml", "--wait=false").code == 0
    assert kastra("--store", url, "delete", "widgets", "--all", "-o", "name").code == 0
    before = filled.stat().st_size
    done = kastra("--store", url, "store", "compact", "-o", "json")
    assert done.code == 0, done.err
    found = orjson.loads(done.out)
    assert found["afterBytes"] < found["beforeBytes"]
    assert filled.stat().st_size < before
    assert kastra("store", "check").code == 0


# ------------------------------------------------------------------------------------------------ backup, restore


@pytest.mark.parametrize(("first", "force"), [(0.5, ()), (0.0, ("--force",))], ids=["rows", "tables"])
def test_a_backup_replaces_a_damaged_store(
    kastra: Kastra, filled: Path, project: Path, first: float, force: tuple[str, ...]
) -> None:
    done = kastra("store", "backup", "one.backup")
    assert done.code == 0, done.err
    assert "300 resources" in done.out
    damage(filled, first)
    broken = kastra("get", "widgets")
    assert broken.code == 4
    assert "`kastra store restore BACKUP" in broken.err
    checked = kastra("store", "check")
    assert checked.code == 3
    assert "Problem: " in checked.out
    looked = kastra("store", "status")
    assert looked.code in (0, 3)
    assert str(filled) in looked.out
    if force:  # whether it was a store, and who works on it, cannot be read
        refused = kastra("store", "restore", "one.backup", "--yes")
        assert refused.code == 1
        assert "force" in refused.err
    done = kastra("store", "restore", "one.backup", "--yes", *force)
    assert done.code == 0, done.err
    kept = re.search(r"^Former content: +(.*)$", done.out, re.MULTILINE)
    assert kept is not None
    assert b"\xa5" * 4096 in Path(kept[1]).read_bytes()
    assert names(kastra) == EVERY
    assert kastra("store", "check").code == 0
    for shown in (broken, checked, looked, done):
        assert "Traceback" not in shown.out + shown.err


def test_a_restore_shows_both_sides(kastra: Kastra, filled: Path) -> None:
    kastra("store", "backup", "one.backup")
    assert kastra("delete", "widget/w0", "widget/w1").code == 0
    done = kastra("store", "restore", "one.backup", "--yes")
    assert done.code == 0, done.err
    shown = [line.split() for line in done.out.splitlines()]
    assert ["NOW", "BACKUP"] in shown
    assert ["Schema", "3", "3"] in shown
    [row] = [line for line in shown if line[:1] == ["resources"]]
    assert int(row[2]) - int(row[1]) == 2
    assert names(kastra) == EVERY


def test_a_backup_is_for_its_owner_only_and_stays_as_it_is(kastra: Kastra, filled: Path, project: Path) -> None:
    kastra("store", "backup", "one.backup")
    path = project / "one.backup"
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    before = path.read_bytes()
    assert kastra("--store", f"file:{path}", "store", "status").code == 0
    assert kastra("--store", f"file:{path}", "store", "check").code == 0
    assert kastra("store", "restore", "one.backup", "--yes").code == 0
    assert path.read_bytes() == before
    assert [other.name for other in project.glob("one.backup*")] == ["one.backup"]


def test_a_backup_makes_a_store_where_there_is_none(kastra: Kastra, filled: Path, tmp_path: Path) -> None:
    kastra("store", "backup", "one.backup")
    there = tmp_path / "elsewhere" / "deep" / "kastra.db"
    done = kastra("--store", f"file:{there}", "store", "restore", "one.backup")
    assert done.code == 0, done.err
    assert len(names(lambda *args: kastra("--store", f"file:{there}", *args))) == COUNT


@pytest.mark.parametrize("kind", ["cut", "damaged", "garbage", "empty"])
def test_what_is_no_whole_backup_is_refused(kastra: Kastra, filled: Path, project: Path, kind: str) -> None:
    kastra("store", "backup", "one.backup")
    path = project / "one.backup"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "damaged":
        damage(path)
    else:
        path.write_bytes(b"no backup " * 500 if kind == "garbage" else b"")
    done = kastra("store", "restore", "one.backup", "--yes")
    assert done.code in (1, 4)
    assert "one.backup" in done.err
    assert "Traceback" not in done.err
    assert names(kastra) == EVERY


def test_a_backup_under_writes_is_one_moment(kastra: Kastra, project: Path, environment: dict[str, str]) -> None:
    """Two widgets are written together again and again; a backup has both of the same round."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(project / ".kastra" / "kastra.db")],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for n in range(3):
            done = kastra("store", "backup", f"{n}.backup")
            assert done.code == 0, done.err
            store = f"file:{project / f'{n}.backup'}"
            assert kastra("--store", store, "store", "check").code == 0
            found = orjson.loads(kastra("--store", store, "get", "widgets", "-o", "json").out)
            assert len({item["spec"]["size"] for item in found["items"]}) == 1
    finally:
        writer.kill()
        writer.communicate()
    assert kastra("store", "check").code == 0


WRITER = """
import asyncio, itertools, sys
import attrs
from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.protocols.store import CreateResource, UpdateResource
from kastra_plugin_libsql.store import open_store


async def main():
    store = await open_store("file:" + sys.argv[1], {})
    both = await store.commit([
        CreateResource(Resource(api_version="acme.example/v1", kind="Widget", spec={"size": 1},
                                metadata=ObjectMeta(name=name, namespace="default")))
        for name in ("a", "b")
    ])
    print("ready", flush=True)
    for round in itertools.count(2):
        both = await store.commit([UpdateResource(attrs.evolve(one, spec={"size": round})) for one in both])

asyncio.run(main())
"""


def test_a_restore_under_workers_wants_force(
    kastra: Kastra, filled: Path, project: Path, environment: dict[str, str]
) -> None:
    kastra("store", "backup", "one.backup")
    subprocess.run([sys.executable, "-c", WORKER, str(filled)], env=environment, check=True)
    assert "w-1" in kastra("store", "status").out
    for args in (("restore", "one.backup", "--yes"), ("migrate", "--to", "1", "--yes")):
        done = kastra("store", *args)
        assert done.code == 1, done.out
        assert "w-1; end them" in done.err
        assert "(a worker that was killed counts for up to 15 s)" in done.err
    assert kastra("store", "restore", "one.backup", "--yes", "--force").code == 0


WORKER = """
import asyncio, sys
from kastra_plugin_libsql.store import open_store


async def main():
    store = await open_store("file:" + sys.argv[1], {})
    assert await store.leases.acquire("worker/w-1", "w-1", 600)
    await store.aclose()

asyncio.run(main())
"""


# ------------------------------------------------------------------------------------------------ what cannot be opened


def test_a_file_that_is_no_database_is_described(kastra: Kastra, filled: Path) -> None:
    kastra("store", "backup", "one.backup")
    for side in ("-wal", "-shm"):
        filled.with_name(filled.name + side).unlink(missing_ok=True)
    filled.write_bytes(b"this is no database, though long enough to look like one" * 50)
    for name in ("status", "check"):
        done = kastra("store", name)
        assert done.code == 3, done.out + done.err
        assert "no database" in done.out
        assert "Traceback" not in done.out + done.err
    assert "`kastra store restore BACKUP --force`" in kastra("get", "widgets").err
    refused = kastra("store", "restore", "one.backup", "--yes")  # it may be a file of somebody else's
    assert refused.code == 1
    assert "force" in refused.err
    done = kastra("store", "restore", "one.backup", "--yes", "--force")
    assert done.code == 0, done.err
    kept = re.search(r"^Former content: +(.*)$", done.out, re.MULTILINE)
    assert kept is not None
    assert Path(kept[1]).read_bytes().startswith(b"this is no database")
    assert names(kastra) == EVERY


def test_a_newer_schema_is_described_and_left_as_it_is(kastra: Kastra, filled: Path) -> None:
    pragma(filled, "PRAGMA user_version = 99")
    for name in ("status", "check"):
        done = kastra("store", name)
        assert done.code == 3, done.out + done.err
        assert "99" in done.out
        assert "Problem: " in done.out
    for args in (("store", "migrate"), ("store", "compact"), ("get", "widgets")):
        done = kastra(*args)
        assert done.code in (1, 4), args
        assert "99" in done.err
        assert "Traceback" not in done.err
    pragma(filled, "PRAGMA user_version = 3")
    assert names(kastra) == EVERY


def test_a_locked_store_is_told_and_not_waited_for_without_end(kastra: Kastra, shell: Kastra, filled: Path) -> None:
    # A database in rollback mode with an exclusive lock cannot even be read. Such locks hold between processes.
    pragma(filled, "PRAGMA journal_mode = DELETE")
    other = sqlite3.connect(filled, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for name in ("status", "check"):
            done = shell("--store", f"file:{filled}?timeout_s=0.2", "store", name)
            assert done.code == 3, done.out + done.err
            assert "locked" in done.out
            assert "Traceback" not in done.out + done.err
    finally:
        other.close()
    assert kastra("store", "check").code == 0


# ------------------------------------------------------------------------------------------------ migrate


def test_a_store_goes_down_and_up_again_with_all_that_it_holds(kastra: Kastra, filled: Path) -> None:
    planned = kastra("store", "migrate", "--to", "1", "--dry-run")
    assert planned.code == 0
    assert "down from 3" in planned.out
    assert kastra("store", "migrate", "--to", "1").code == 1  # it gives something up, and nobody can be asked
    done = kastra("store", "migrate", "--to", "1", "--yes")
    assert done.code == 0, done.err
    backup = re.search(r"^Backup: (.*)$", done.out, re.MULTILINE)
    assert backup is not None
    assert Path(backup[1]).is_file()
    looked = kastra("store", "status")
    assert looked.code == 0, looked.out
    assert "1 (this program's newest is 3" in looked.out
    assert kastra("store", "check").code == 0
    done = kastra("store", "migrate", "-o", "json")
    assert done.code == 0, done.err
    assert orjson.loads(done.out)["after"] == 3
    assert names(kastra) == EVERY
    assert kastra("store", "check").code == 0


def test_opening_brings_an_older_store_up(kastra: Kastra, filled: Path) -> None:
    assert kastra("store", "migrate", "--to", "1", "--yes", "--no-backup").code == 0
    assert names(kastra) == EVERY
    assert orjson.loads(kastra("store", "status", "-o", "json").out)["schema"] == 3


# ------------------------------------------------------------------------------------------------ kill


def killed(
    forks: Any, command: list[str], project: Path, environment: dict[str, str], marks: Callable[[], bool]
) -> Iterator[bool]:
    """Run a command again and again, killed at ever later moments after ``marks`` holds, until it ends by itself.

    Gives False after each kill, and True at its end.
    """
    delay_s = 0.0
    while True:
        process = forks.begin(command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not marks() and process.poll() is None:
            time.sleep(0.002)
        try:
            _, err = process.communicate(timeout=delay_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            delay_s = delay_s * 1.5 + 0.002
            yield False
            continue
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, err.decode()
            yield True
            return


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_killed_backup_leaves_no_file_of_its_name(
    kastra: Kastra, filled: Path, project: Path, environment: dict[str, str], forks: Any
) -> None:
    inflate(filled, 40)
    before = {path.name for path in project.iterdir()}

    def begun() -> bool:
        return any(path.name not in before for path in project.iterdir())

    for ended in killed(forks, ["store", "backup", "one.backup"], project, environment, begun):
        if not ended and (project / "one.backup").exists():  # it was killed after its work
            break
        assert (project / "one.backup").exists() is ended
        for path in project.iterdir():
            if path.is_file() and path.name not in {*before, "one.backup"}:
                path.unlink()
    assert kastra("--store", f"file:{project / 'one.backup'}", "store", "check").code == 0
    assert kastra("store", "check").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_killed_restore_leaves_the_old_content_or_the_new(
    kastra: Kastra, filled: Path, project: Path, environment: dict[str, str], forks: Any
) -> None:
    kastra("store", "backup", "one.backup")
    assert kastra("delete", "widgets", "--all", "-o", "name").code == 0
    (project / "few.yaml").write_text(manifests(5), encoding="utf-8")
    assert kastra("apply", "-f", "few.yaml", "--wait=false").code == 0
    few = names(kastra)
    before = {path.name for path in filled.parent.iterdir()}

    def begun() -> bool:
        return any(path.name not in before for path in filled.parent.iterdir())

    kills = 0
    for ended in killed(forks, ["store", "restore", "one.backup", "--yes"], project, environment, begun):
        kills += not ended
        assert kastra("store", "check").code == 0
        found = names(kastra)
        assert found in ([EVERY] if ended else [few, EVERY])
        before = {path.name for path in filled.parent.iterdir()}
        if found == EVERY:
            break
    assert names(kastra) in (few, EVERY)
    assert kills or names(kastra) == EVERY


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
@pytest.mark.parametrize("command", [("migrate", "--to", "1", "--yes", "--no-backup"), ("compact",)])
def test_a_killed_migration_or_compaction_loses_nothing(
    kastra: Kastra, filled: Path, project: Path, environment: dict[str, str], command: tuple[str, ...], forks: Any
) -> None:
    wal = filled.with_name(filled.name + "-wal")

    def begun() -> bool:
        return wal.exists()

    for _ in killed(forks, ["store", *command], project, environment, begun):
        done = kastra("store", "check")
        assert done.code == 0, done.out
        assert names(kastra) == EVERY


@pytest.mark.skipif(sys.platform == "win32", reason="processes are interrupted by a signal")
def test_an_interrupted_backup_tidies_up(filled: Path, project: Path, environment: dict[str, str], forks: Any) -> None:
    inflate(filled, 100)
    before = {path.name for path in project.iterdir()}
    process = forks.begin(
        ["store", "backup", "one.backup"], cwd=project, env=environment, stderr=subprocess.PIPE, encoding="utf-8"
    )
    while process.poll() is None and before == {path.name for path in project.iterdir()}:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "interrupted: no backup was made")
    assert {path.name for path in project.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="processes are interrupted by a signal")
def test_an_interrupted_restore_says_whether_it_was_made(
    kastra: Kastra, filled: Path, project: Path, environment: dict[str, str], forks: Any
) -> None:
    """It is interrupted at ever later moments, until it ends by itself."""
    kastra("store", "backup", "one.backup")
    assert kastra("delete", "widgets", "--all", "-o", "name").code == 0
    (project / "few.yaml").write_text(manifests(5), encoding="utf-8")
    assert kastra("apply", "-f", "few.yaml", "--wait=false").code == 0
    few, delay_s, code = names(kastra), 0.0, 130
    while code == 130:
        before = {path.name for path in filled.parent.iterdir()}
        process = forks.begin(
            ["store", "restore", "one.backup", "--yes"],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        while before == {path.name for path in filled.parent.iterdir()} and process.poll() is None:
            time.sleep(0.002)
        try:
            out, err = process.communicate(timeout=delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        code = process.returncode
        assert code in (0, 130, -signal.SIGINT), err  # the last: Python was ending already
        made = "Former content:" in out
        if not made:  # the first text is of an interrupt before it began
            assert err.strip() in ("interrupted", "interrupted: nothing was changed"), (out, err)
        assert names(kastra) == (EVERY if made else few)
        if made:
            break
        delay_s = delay_s * 1.5 + 0.002
    assert kastra("store", "check").code == 0
