"""Copies of a database file that are complete, read back, and only then given their name."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any

import apsw

from kastra_core.errors import StoreError, StoreUnavailableError, UserError
from kastra_core.protocols.store_admin import BackupInfo
from kastra_plugin_libsql._errors import reason_of
from kastra_plugin_libsql._schema import connect

__all__ = [
    "ITEMS",
    "Stop",
    "backup_before_migration",
    "copy_pages",
    "facet_items",
    "free_names",
    "part_beside",
    "read_only",
    "rename_free",
    "rename_new",
    "resource_versions",
    "stamp",
    "sweep_parts",
    "sync",
    "verify",
    "write_backup",
]

_STEP_PAGES = 2000
_STALE_S = 86_400.0
"""Nobody writes a copy for as long as this: a part so old was left by a program that was killed,"""
_DEAD_S = 60.0
"""and one so old when no process has the number in its name. Another container may have such a process."""
_PART = re.compile(r"\.(\d+)-\d+\.part(-journal|-wal|-shm)?$")
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_parts = count(1)

ITEMS = {
    "resources": "SELECT count(*) FROM resources",
    "history": "SELECT (SELECT count(*) FROM log) - (SELECT count(*) FROM resources)",
    "journal": "SELECT count(*) FROM journal",
    "signals": "SELECT count(*) FROM signals",
    "leases": "SELECT count(*) FROM leases",
    "state": "SELECT count(*) FROM state",
    "threads": "SELECT count(*) FROM threads",
    "vectors": "SELECT count(*) FROM vectors",
    "blobs": "SELECT count(*) FROM blobs",
}


class Stop:
    """Lets one thread end what another does with connections. Not to be used twice."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._connections: list[apsw.Connection] = []

    def set(self) -> None:
        self._set.set()
        for connection in list(self._connections):
            with suppress(apsw.Error):
                connection.interrupt()

    def check(self) -> None:
        """Raises: StoreError when it is set."""
        if self._set.is_set():
            raise StoreError("stopped; the store is as it was")

    @contextmanager
    def uses(self, connection: apsw.Connection) -> Iterator[apsw.Connection]:
        """For the length of the block, :meth:`set` interrupts the connection; at its end it is closed."""
        self._connections.append(connection)
        try:
            self.check()
            yield connection
        finally:
            self._connections.remove(connection)
            connection.close(True)


def stamp(time_s: float) -> str:
    """A moment as it stands in names: UTC, ``20260131T235959Z``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time_s))


def free_names(path: Path) -> Iterator[Path]:
    """``path``, then with a number; only names that nobody has now. What ends in ``.backup`` still does."""
    end = ".backup" if path.suffix == ".backup" else ""
    begin = path.name.removesuffix(end)
    for number in count(1):
        found = path if number == 1 else path.with_name(f"{begin}.{number}{end}")
        if not found.exists():
            yield found


def rename_free(part: Path, target: Path) -> Path:
    """Give a finished file the first of :func:`free_names`; returns it. Others may do the same at this moment."""
    for found in free_names(target):
        with suppress(FileExistsError):
            rename_new(part, found)
            return found
    raise AssertionError("there are always more names")


def sweep_parts(directory: Path, pattern: str) -> int:
    """Remove parts that programs left which were killed; returns how many.

    Args:
        pattern: a glob for what comes before the process number.
    """
    removed = 0
    for part in directory.glob(f"{pattern}.*.part*"):
        found = _PART.search(part.name)
        with suppress(OSError):
            age_s = time.time() - part.stat().st_mtime  # the clock of files
            if found and age_s > (_STALE_S if _is_running(int(found[1])) else _DEAD_S):
                part.unlink()
                removed += found[2] is None
    return removed


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # there the question would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextmanager
def part_beside(target: Path) -> Iterator[Path]:
    """An empty file for its owner only, in ``target``'s directory; removed at the end unless it was renamed.

    Raises: StoreUnavailableError.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}-{next(_parts)}.part")
    # Those of the same purpose: only the moment in the name is another.
    sweep_parts(target.parent, _STAMP.sub("*", escape(target.name)))
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield part
    except OSError as err:
        raise StoreUnavailableError(
            f"{target} could not be written: {err.strerror or err}; "
            "make room, make the directory writable or name another place"
        ) from err
    finally:
        for left in (part, *(part.with_name(part.name + end) for end in ("-journal", "-wal", "-shm"))):
            with suppress(OSError):
                left.unlink()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # directories cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename_new(part: Path, target: Path) -> None:
    """Give a finished file its name, which nobody has. Raises: FileExistsError, OSError."""
    sync(part)
    try:
        os.link(part, target)  # unlike a rename it never replaces
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(str(target)) from None
        part.rename(target)
    sync(target.parent)


@contextmanager
def read_only(path: Path, timeout_s: float, stop: Stop) -> Iterator[apsw.Connection]:
    """A connection that only reads, in one snapshot."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(int(timeout_s * 1000))
    with stop.uses(connection):
        connection.execute("PRAGMA query_only = 1")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        yield connection


def copy_pages(source: apsw.Connection, part: Path, stop: Stop) -> None:
    """Copy the database as ``source``'s snapshot has it, into one file without others beside it."""
    connection = connect(part, 0)
    with stop.uses(connection):
        # Nobody needs a half-written copy, so it needs no journal.
        connection.execute("PRAGMA journal_mode = OFF").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        with connection.backup("main", source, "main") as backup:
            while not backup.done:
                stop.check()
                backup.step(_STEP_PAGES)
        with suppress(apsw.CorruptError):  # the copy of a damaged file is damaged
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()


def row_counts(connection: apsw.Connection) -> dict[str, int]:
    """Rows by table."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    counts = {}
    for table in tables:
        [[counts[table]]] = connection.execute(f'SELECT count(*) FROM "{table}"')  # noqa: S608 - a table's name
    return counts


def facet_items(connection: apsw.Connection) -> dict[str, int]:
    """Rows by facet."""
    items = {}
    for facet, sql in ITEMS.items():
        [[items[facet]]] = connection.execute(sql)
    return items


def resource_versions(connection: apsw.Connection) -> tuple[int, int]:
    """The last resourceVersion that was given out, and the horizon."""
    [[last, horizon]] = connection.execute("SELECT (SELECT max(rv) FROM log), value FROM meta WHERE key = 'horizon'")
    return max(last or 0, horizon), horizon


def verify(path: Path, stop: Stop) -> tuple[int, dict[str, int], dict[str, int], int]:
    """Read a copy back. Returns its schema, its rows by table, by facet and its resourceVersion.

    Raises: StoreError when it is not whole.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        with stop.uses(connection):
            problems = [text for (text,) in connection.execute("PRAGMA integrity_check(5)")]
            if problems != ["ok"]:
                raise StoreError(f"{path} is not whole: {'; '.join(problems)}")
            [[schema]] = connection.execute("PRAGMA user_version")
            return schema, row_counts(connection), facet_items(connection), resource_versions(connection)[0]
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as err:
        stop.check()
        raise StoreUnavailableError(
            f"{path} could not be read back{reason_of(err)}; check disk space and quota"
        ) from err
    except apsw.Error as err:
        stop.check()
        raise StoreError(f"{path} is not whole: {err}") from err


def write_backup(
    source: Path,
    target: Path,
    *,
    timeout_s: float,
    stop: Stop,
    clock: Callable[[], float] = time.time,
    numbered: bool = False,
) -> BackupInfo:
    """Copy the database at ``source`` while others use it.

    Args:
        numbered: when ``target`` exists, take another name (see :func:`free_names`) instead of raising.
    Raises: UserError when ``target`` exists, StoreUnavailableError, StoreError.
    """
    sweep_parts(source.parent, escape(source.name))
    if target.exists() and not numbered:
        raise UserError(f"{target} is there already; name another file")
    if not target.parent.is_dir():
        raise UserError(f"there is no directory {target.parent}; make it, or name another place")
    with part_beside(target) as part:
        try:
            with read_only(source, timeout_s, stop) as connection:
                copy_pages(connection, part, stop)
                expected: Any = row_counts(connection)
        except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as err:
            why = (
                "the disk is full" if isinstance(err, apsw.FullError) else f"the disk failed or is full{reason_of(err)}"
            )
            raise StoreUnavailableError(
                f"{target} could not be written: {why}; make room or name another place"
            ) from err
        schema, found, items, version = verify(part, stop)
        if found != expected:
            wrong = sorted(table for table in expected.keys() | found.keys() if expected.get(table) != found.get(table))
            raise StoreError(f"{target} does not agree with the store in {', '.join(wrong)}; it was not kept")
        try:
            if numbered:
                target = rename_free(part, target)
            else:
                rename_new(part, target)
        except FileExistsError:
            raise UserError(f"{target} is there already; name another file") from None
    return BackupInfo(
        path=target,
        size_bytes=target.stat().st_size,
        schema=schema,
        resource_version=str(version),
        time_s=clock(),
        items=items,
    )


def backup_before_migration(path: Path, schema: int, stop: Stop | None = None) -> BackupInfo:
    """Write ``<name>.schema<N>.<UTC timestamp>.backup`` beside the file, whose write lock the caller holds."""
    now_s = time.time()  # of the calendar, in a name for people
    target = path.with_name(f"{path.name}.schema{schema}.{stamp(now_s)}.backup")
    return write_backup(path, target, timeout_s=0, stop=stop or Stop(), numbered=True)
