"""A database file that was cut, overwritten, moved or removed: a clear error or what is left, and it gets no worse."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from kastra_core.errors import KastraError, StoreError
from kastra_core.protocols.store import CreateResource, Store, UpdateResource
from kastra_plugin_libsql.store import open_store
from store_load import GROUP, KIND, Script, digest_of, key, named
from store_soundness import check_soundness

T = TypeVar("T")
SEED = 7
COMMITS = 60


def kastra(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("kastra")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``closed.db`` (the file alone) and ``killed.db`` with its write-ahead log: the same commits."""
    place = tmp_path_factory.mktemp("full")

    async def fill() -> None:
        store = await open_store(f"file:{place}/k.db", {})
        script = Script("s", plain=True)
        for _ in range(COMMITS):
            action = script.next()
            assert not callable(action)
            await store.commit(action)
        # What a kill leaves: the log was not copied into the file.
        shutil.copy(place / "k.db", place / "killed.db")
        shutil.copy(place / "k.db-wal", place / "killed.db-wal")
        await store.aclose()
        (place / "k.db").rename(place / "closed.db")

    asyncio.run(fill())
    assert (place / "killed.db-wal").stat().st_size > 100_000
    return place


def states() -> dict[str, int]:
    script = Script("s", plain=True)
    found = {digest_of(script.state()): 0}
    for number in range(1, COMMITS + 1):
        script.next()
        found[digest_of(script.state())] = number
    return found


async def use(path: Path) -> str:
    """Read all there is and write: all of it, or an error that names the file and what to do. Returns the state."""
    store = await open_store(f"file:{path}", {})
    try:
        digest = digest_of(await Script("s", plain=True).found(store, path))
        await store.resources.counts()
        await store.commit([CreateResource(named("x", "after"))])
        await store.state.set_value("after", "k", 1)
        return digest
    finally:
        await store.aclose()


# ---------------------------------------------------------------------------------------------- cut and overwritten


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2 // 4096 * 4096]


def _odd(content: bytes) -> bytes:
    return content[: len(content) // 2 // 4096 * 4096 + 1234]


def _header(content: bytes) -> bytes:
    return Random(SEED).randbytes(100) + content[100:]


def _start(content: bytes) -> bytes:
    return Random(SEED).randbytes(40_000) + content[40_000:]


def _zeros(content: bytes) -> bytes:
    return bytes(8192) + content[8192:]


DAMAGES: tuple[Callable[[bytes], bytes], ...] = (_half, _odd, _header, _start, _zeros)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_named_with_a_remedy_and_not_changed(
    damage: Callable[[bytes], bytes], full: Path, tmp_path: Path
) -> None:
    path = tmp_path / "k.db"
    path.write_bytes(damage((full / "closed.db").read_bytes()))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"store .*k\.db: the file is (damaged|no database)") as caught:
        await use(path)
    assert "backup" in str(caught.value) or "restore" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [_half, _header])
def test_the_command_line_tells_of_a_damaged_file_without_traceback(
    damage: Callable[[bytes], bytes], full: Path, tmp_path: Path
) -> None:
    path = tmp_path / "k.db"
    path.write_bytes(damage((full / "closed.db").read_bytes()))
    before = path.read_bytes()
    done = kastra("--store", "file:k.db", "get", "agents", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "k.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", range(40))
async def test_garbage_anywhere_in_the_file_is_found_or_does_no_harm(number: int, full: Path, tmp_path: Path) -> None:
    """Whatever was overwritten: each call gives what it is asked for or a KastraError, nothing else."""
    random = Random(f"{SEED}-{number}")
    path = tmp_path / "k.db"
    content = bytearray((full / "closed.db").read_bytes())
    for _ in range(random.choice((1, 3, 20))):
        size = random.choice((1, 16, 500, 4096))
        at = random.randrange(100, len(content) - size)
        content[at : at + size] = random.choice((random.randbytes(size), bytes(size), b'"' * size))
    path.write_bytes(content)
    try:
        store = await open_store(f"file:{path}", {"timeout_s": 1})
    except KastraError:
        return
    script = Script("s", plain=True)
    calls: list[Callable[[], Any]] = [
        lambda: script.found(store, path),
        lambda: store.resources.list("", ""),
        lambda: store.resources.get(key("s", "a0")),
        lambda: anext(store.resources.watch("", "", since="0")),
        lambda: store.journal.claims(),
        lambda: store.commit([CreateResource(named("x", "after"))]),
        lambda: store.commit([UpdateResource(named("s", "a0", n=1))]),
        lambda: store.state.set_value("s", "a", 1),
    ]
    calls += [lambda uid=f"s/r{n}": store.journal.records(uid) for n in range(3)]  # type: ignore[misc]
    for call in calls:
        try:
            await asyncio.wait_for(call(), 10)
        except (KastraError, AssertionError, KeyError, TypeError):
            pass  # the script's own words for data that is not what it was
        except Exception as error:
            if "apsw" not in type(error).__module__:  # the script's own connection meets the damage, too
                error.add_note(f"round {number}")
                raise
    await store.aclose()


@pytest.mark.parametrize("number", range(12))
async def test_a_damaged_log_ends_before_the_damage_and_what_was_before_it_is_there(
    number: int, full: Path, tmp_path: Path
) -> None:
    """SQLite cannot tell a damaged log from one whose end did not reach the disk: it is read up to there."""
    random = Random(f"{SEED}-wal-{number}")
    path, log = tmp_path / "k.db", tmp_path / "k.db-wal"
    shutil.copy(full / "killed.db", path)
    content = bytearray((full / "killed.db-wal").read_bytes())
    at = random.randrange(len(content))
    if number % 3 == 0:
        del content[at:]
    elif number % 3 == 1:
        content[at : at + 64] = random.randbytes(len(content[at : at + 64]))
    else:
        content[at:] = random.randbytes(len(content) - at)
    log.write_bytes(content)
    known = states()
    kept = known.get(await use(path))
    assert kept is not None, f"cut at {at} of {len(content)}: the state after no number of commits"
    check_soundness(path)


async def test_the_log_of_a_killed_process_is_read_without_its_index(full: Path, tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    for name in ("killed.db", "killed.db-wal"):
        shutil.copy(full / name, tmp_path / name.replace("killed", "k"))
    assert states()[await use(path)] == COMMITS
    (tmp_path / "k.db-shm").write_bytes(Random(SEED).randbytes(32768))
    store = await open_store(f"file:{path}", {})
    assert await store.state.get_value("after", "k") == 1
    await store.aclose()
    check_soundness(path)


async def test_an_emptied_file_beside_a_log_is_not_taken_for_a_new_one(full: Path, tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    path.touch()
    shutil.copy(full / "killed.db-wal", tmp_path / "k.db-wal")
    before = (tmp_path / "k.db-wal").read_bytes()
    with pytest.raises(StoreError, match=r"k\.db.*(empty|damaged)"):
        await open_store(f"file:{path}", {})
    assert path.read_bytes() == b""
    assert (tmp_path / "k.db-wal").read_bytes() == before


# ---------------------------------------------------------------------------------------------- moved while open


def _replace(path: Path) -> None:
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.rename(path)


def _move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def _remove(path: Path) -> None:
    path.unlink()


def _remove_log(path: Path) -> None:
    path.with_name("k.db-wal").unlink()


def _remove_index(path: Path) -> None:
    path.with_name("k.db-shm").unlink()


def _remove_log_and_index(path: Path) -> None:
    _remove_log(path)
    _remove_index(path)


def _remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


MOVES = (_replace, _move, _remove, _remove_log, _remove_log_and_index, _remove_directory)


async def _opened(path: Path) -> Store:
    store = await open_store(f"file:{path}", {})
    await store.commit([CreateResource(named("x", "before"))])
    return store


def _later(store: Any) -> None:
    """Time enough passes that the store looks where its file is: it does every 2 ms."""
    store._writer._next_look = 0.0


@pytest.mark.parametrize("move", MOVES)
async def test_nothing_is_acknowledged_that_the_next_one_to_open_the_file_would_not_find(
    move: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "place" / "k.db"
    store = await _opened(path)
    move(path)
    _later(store)
    with pytest.raises(StoreError, match=r"k\.db.*(moved|replaced|removed).*(open|start).* again"):
        await store.commit([CreateResource(named("x", "after"))])
    await store.aclose()
    if path.exists() and move is not _replace:  # closing brings into the file what was only in the log
        store = await open_store(f"file:{path}", {})
        assert [r.metadata.name for r in (await store.resources.list(GROUP, KIND)).items] == ["before"]
        await store.aclose()
        check_soundness(path)


async def _next(watch: AsyncIterator[T]) -> T:
    return await anext(watch)


async def test_a_watch_of_a_file_that_was_replaced_ends_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await _opened(path)
    watch = store.resources.watch(GROUP, KIND)
    waiting = asyncio.ensure_future(_next(watch))
    await asyncio.sleep(0)
    _replace(path)
    with pytest.raises(StoreError, match="replaced"):
        await asyncio.wait_for(waiting, 10)
    await store.aclose()


async def test_after_a_file_was_replaced_the_store_that_is_opened_next_works(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    store = await _opened(path)
    copy = tmp_path / "copy.db"
    await store.aclose()
    shutil.copy(path, copy)
    store = await _opened_again(path)
    copy.rename(path)
    _later(store)
    with pytest.raises(StoreError):
        await store.commit([CreateResource(named("x", "after"))])
    await store.aclose()
    store = await _opened_again(path)
    assert [r.metadata.name for r in (await store.resources.list(GROUP, KIND)).items] == ["before"]
    await store.commit([CreateResource(named("x", "after"))])
    await store.aclose()
    check_soundness(path)


async def _opened_again(path: Path) -> Store:
    store = await open_store(f"file:{path}", {})
    await store.state.set_value("s", "k", 1)
    return store


async def test_a_removed_index_does_not_part_those_who_have_it_open_from_those_who_come(tmp_path: Path) -> None:
    """The index of the log tells the processes of each other; without it they overwrite each other's commits."""
    path = tmp_path / "k.db"
    store = await _opened(path)
    _remove_index(path)
    other = await open_store(f"file:{path}", {})
    results = await asyncio.gather(
        store.commit([CreateResource(named("x", "mine"))]),
        other.commit([CreateResource(named("x", "theirs"))]),
        return_exceptions=True,
    )
    kept = {name for name, result in zip(("mine", "theirs"), results) if not isinstance(result, BaseException)}
    assert all(isinstance(result, list | StoreError) for result in results)
    await store.aclose()
    await other.aclose()
    last = await open_store(f"file:{path}", {})
    assert {r.metadata.name for r in (await last.resources.list(GROUP, KIND)).items} == {"before", *kept}
    await last.aclose()
    check_soundness(path)
