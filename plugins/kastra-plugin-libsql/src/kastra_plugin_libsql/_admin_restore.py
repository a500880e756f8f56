"""Putting a backup in the place of a database file that others may have open.

Nobody's file is exchanged: the pages are copied into the live database in one transaction, by SQLite's backup, so other
connections see the new content at once, or the old one if this program dies. What they may remember stays true:

- a resourceVersion is never given twice: the restored resources get new ones above all of before, and the horizon is
  there too, so every watch is expired and every ``expected`` of before conflicts;
- the numbers of kinds are those of the live database;
- leases are those of the present, not of the backup; who worked on a run when the backup was made, or since, is fenced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import apsw
import attrs

from kastra_core.errors import StoreError, StoreUnavailableError, UserError
from kastra_core.protocols.store_admin import RestoreReport
from kastra_plugin_libsql._admin_backup import (
    Stop,
    copy_pages,
    facet_items,
    free_names,
    part_beside,
    rename_free,
    resource_versions,
    stamp,
    sweep_parts,
    sync,
    verify,
)
from kastra_plugin_libsql._admin_checks import find_problems
from kastra_plugin_libsql._admin_status import live_workers
from kastra_plugin_libsql._schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    connect,
    found_schema,
    number,
    take_steps,
    write_ahead,
)
from kastra_plugin_libsql._url import Settings

__all__ = ["restore_file"]

_UNKNOWN = 1_000_000_000
"""So many versions a damaged store may have given out beyond those that can be read; or one in each millisecond of
the calendar so far, whichever is more: then a second restore after a second damage is above the first one's too."""


class _UnreadableError(Exception):
    """Not even the list of tables can be read."""


def restore_file(settings: Settings, source: Path, *, force: bool, stop: Stop) -> RestoreReport:
    """Raises: UserError, StoreError, StoreUnavailableError, apsw.Error, OSError."""
    path = settings.path
    if not source.is_file():
        raise UserError(f"there is no backup {source}; name a file that `kastra store backup` wrote")
    if path.exists() and source.samefile(path):
        raise UserError(f"{source} is the store itself; name a backup of it")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep_parts(path.parent, escape(path.name))
    with part_beside(path) as part:
        _stage(settings, source, part, stop)
        if not path.exists():
            path.touch(mode=0o600)
        try:
            kept, items = _into(settings, part, force=force, stop=stop)
        except _UnreadableError:
            kept, items = _instead(settings, part, force=force, stop=stop)
    return RestoreReport(source=source, schema=SCHEMA_VERSION, items=items, kept=kept)


# ------------------------------------------------------------------------------------------------- the backup


def _stage(settings: Settings, source: Path, part: Path, stop: Stop) -> None:
    """Copy the backup, look at it and bring the copy to the present schema."""
    beside = any(source.with_name(source.name + end).exists() for end in ("-wal", "-journal"))
    # It may lie on a medium that nobody can write to; a file without others beside it needs no lock.
    name = f"{source.as_uri()}?mode={'ro' if beside else 'ro&immutable=1'}"
    try:
        connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        with stop.uses(connection):
            if number(connection, "application_id") != APPLICATION_ID:
                raise UserError(f"{source} is no backup of a store; name a file that `kastra store backup` wrote")
            schema = number(connection, "user_version")
            if not 0 < schema <= SCHEMA_VERSION:
                raise UserError(
                    f"{source} has schema {schema}; this program knows schemas up to {SCHEMA_VERSION}: "
                    "install the version of kastra-plugin-libsql that wrote it or a newer one"
                )
            copy_pages(connection, part, stop)
        verify(part, stop)
        with stop.uses(connect(part, 0)) as connection:
            found = find_problems(connection, schema, stop).problems
            if found:
                raise UserError(f"{source} is not whole: {'; '.join(found[:3])}; name another backup")
            connection.execute("BEGIN")
            take_steps(connection, schema, SCHEMA_VERSION)
            connection.execute("COMMIT")
    except (apsw.NotADBError, apsw.CorruptError) as err:
        stop.check()
        raise UserError(f"{source} is not whole: {err}; name another backup") from err
    except StoreUnavailableError:
        raise
    except StoreError as err:
        stop.check()
        raise UserError(f"{source}: {err}; name another backup") from err


# ------------------------------------------------------------------------------------------------- the live database


def _into(settings: Settings, part: Path, *, force: bool, stop: Stop) -> tuple[Path | None, dict[str, int]]:
    path, timeout_s = settings.path, settings.timeout_s
    with stop.uses(connect(path, timeout_s)) as target, stop.uses(connect(part, timeout_s)) as stage:
        stage.execute("PRAGMA synchronous = OFF")  # nobody needs it after a power cut
        try:
            _refuse_foreign(target, path)
            write_ahead(target, timeout_s)
        except (apsw.NotADBError, apsw.CorruptError) as err:
            raise _UnreadableError from err
        target.execute("PRAGMA synchronous = FULL")
        _same_page_size(stage, number(target, "page_size"))
        kept: Path | None = None
        with target.backup("main", stage, "main") as backup:
            try:
                backup.step(0)  # takes the write lock: from here on the live content stays as it is
                with _looking(path, stop) as live:
                    if live is not None and not force:
                        _refuse_users(live, settings)
                    kept = None if live is None else _keep(settings, live, stop)
                    remembered = _remembered(live, settings.clock())
                items = _adjust(stage, remembered)
                stop.check()
                backup.step(-1)
            except BaseException:
                if kept is not None and not backup.done:  # the store is as it was: a copy of it helps nobody
                    with suppress(OSError):
                        kept.unlink()
                raise
        with suppress(apsw.Error):  # only tidying up: it is in the write-ahead log
            target.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    return kept, items


def _refuse_foreign(connection: apsw.Connection, path: Path) -> None:
    ours = number(connection, "application_id") == APPLICATION_ID
    if not ours:
        found_schema(connection, path)


@contextmanager
def _looking(path: Path, stop: Stop) -> Iterator[apsw.Connection | None]:
    """The live content, None when nothing was written yet."""
    with stop.uses(connect(path, 0)) as connection:
        connection.execute("PRAGMA query_only = 1")
        yield connection if number(connection, "application_id") == APPLICATION_ID else None


def _refuse_users(live: apsw.Connection, settings: Settings) -> None:
    try:
        workers = live_workers(live, settings.clock())
    except (apsw.CorruptError, apsw.SQLError):
        return  # so damaged that nobody works with it
    if workers:
        raise UserError(
            f"workers use the store {settings.path}: {', '.join(workers)}; end them, or add --force: "
            "then what they do is lost"
        )


def _keep(settings: Settings, live: apsw.Connection, stop: Stop) -> Path:
    """Copy the live content beside it, damaged or not."""
    path = settings.path
    target = path.with_name(f"{path.name}.before-restore.{stamp(settings.clock())}")
    with part_beside(target) as part:
        copy_pages(live, part, stop)
        return rename_free(part, target)


def _same_page_size(stage: apsw.Connection, page_size: int) -> None:
    if number(stage, "page_size") != page_size:
        stage.execute(f"PRAGMA page_size = {page_size}")
        stage.execute("VACUUM")


# ------------------------------------------------------------------------------------------------- what others remember


@attrs.define
class _Remembered:
    """What of the live database others may know, and the copy must respect. Of a damaged one: what can be read."""

    version: int = 0
    """The last that was given out, or a higher one."""
    kinds: list[Any] = attrs.field(factory=list)
    leases: list[Any] = attrs.field(factory=list)
    lease_epoch: int = 0
    epochs: list[Any] = attrs.field(factory=list)
    claimed: list[Any] = attrs.field(factory=list)
    """Those of unfinished runs."""
    signal: int = 0


def _remembered(live: apsw.Connection | None, now_s: float) -> _Remembered:
    if live is None:
        return _Remembered()
    found = _Remembered()
    versions = [
        _rows(live, "SELECT max(rv) FROM log"),
        _rows(live, "SELECT value FROM meta WHERE key = 'horizon'"),
    ]
    found.version = max([0, *(rows[0][0] or 0 for rows in versions if rows)])
    if not all(versions):
        found.version = _above_unknown(found.version, now_s)
    found.kinds = _rows(live, "SELECT grp, kind, id FROM kinds")
    found.leases = _rows(live, "SELECT name, holder, expires, epoch, data FROM leases")
    found.epochs = _rows(live, "SELECT uid, epoch FROM runs")
    found.claimed = _rows(live, "SELECT r.uid, r.epoch FROM claims c JOIN runs r ON r.id = c.run")
    for (epoch,) in _rows(live, "SELECT value FROM meta WHERE key = 'lease_epoch'"):
        found.lease_epoch = epoch
    for (seq,) in _rows(live, "SELECT seq FROM sqlite_sequence WHERE name = 'signals'"):
        found.signal = seq
    return found


def _above_unknown(version: int, now_s: float) -> int:
    return max(version + _UNKNOWN, round(now_s * 1000))


def _rows(live: apsw.Connection, sql: str) -> list[Any]:
    try:
        rows: list[Any] = live.execute(sql).fetchall()
    except (apsw.CorruptError, apsw.SQLError):
        return []
    return rows


def _adjust(stage: apsw.Connection, live: _Remembered) -> dict[str, int]:
    """Make the copy's numbers go on from those of the live database; returns its rows by facet."""
    stage.execute("BEGIN")
    _new_versions(stage, max(live.version, resource_versions(stage)[0]) + 1)
    _same_kinds(stage, live.kinds)
    stage.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'lease_epoch'", (live.lease_epoch,))
    stage.execute("DELETE FROM leases")
    stage.executemany("INSERT INTO leases (name, holder, expires, epoch, data) VALUES (?, ?, ?, ?, ?)", live.leases)
    stage.execute("UPDATE claims SET holder = '', wake_at = 0 WHERE holder <> ''")
    stage.executemany("UPDATE runs SET epoch = max(epoch, ?2) WHERE uid = ?1", live.epochs)
    # A child begun since gets the same uid when its parent comes to it again.
    stage.executemany("INSERT INTO runs (uid, epoch) VALUES (?, ?) ON CONFLICT DO NOTHING", live.claimed)
    stage.execute("UPDATE runs SET epoch = epoch + 1")
    stage.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'signals'", (live.signal,))
    if not stage.changes():
        stage.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('signals', ?)", (live.signal,))
    stage.execute("DELETE FROM commits")
    items = facet_items(stage)
    stage.execute("COMMIT")
    return items


def _new_versions(stage: apsw.Connection, above: int) -> None:
    stage.execute("DELETE FROM log WHERE rv NOT IN (SELECT rv FROM resources)")
    stage.execute("CREATE TEMP TABLE versions (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
    stage.execute("INSERT INTO temp.versions SELECT rv, ? + row_number() OVER (ORDER BY rv) FROM resources", (above,))
    for table in ("log", "resources"):
        stage.execute(f"UPDATE {table} SET rv = (SELECT new FROM temp.versions WHERE old = rv)")  # noqa: S608
    stage.execute(
        "UPDATE meta SET value = max(?, coalesce((SELECT max(new) FROM temp.versions), 0)) WHERE key = 'horizon'",
        (above,),
    )


def _same_kinds(stage: apsw.Connection, live_kinds: list[Any]) -> None:
    live = {(group, kind): at for group, kind, at in live_kinds}
    rows: list[Any] = stage.execute("SELECT grp, kind, id FROM kinds").fetchall()
    own = {(group, kind): at for group, kind, at in rows}
    numbers, taken = dict(live), set(live.values())
    free = max([0, *taken, *own.values()]) + 1
    for pair, at in own.items():
        if pair in numbers:
            continue
        numbers[pair] = free if at in taken else at
        free += at in taken
    if numbers == own:
        return
    moved = [(numbers[pair], old) for pair, old in own.items() if numbers[pair] != old]
    for table in ("log", "resources", "owners"):
        # Negative first: the old and the new numbers overlap.
        stage.executemany(f"UPDATE {table} SET kind = -? WHERE kind = ?", moved)  # noqa: S608
        stage.execute(f"UPDATE {table} SET kind = -kind WHERE kind < 0")  # noqa: S608
    stage.execute("DELETE FROM kinds")
    stage.executemany(
        "INSERT INTO kinds (id, grp, kind) VALUES (?, ?, ?)",
        [(at, group, kind) for (group, kind), at in numbers.items()],
    )


# ------------------------------------------------------------------------------------------------- no database any more


def _instead(settings: Settings, part: Path, *, force: bool, stop: Stop) -> tuple[Path, dict[str, int]]:
    """Exchange a file that SQLite does not know as a database: nobody can be working with it."""
    path = settings.path
    if not force:
        raise UserError(
            f"{path} cannot be read as a database; if it was the store and is damaged, add --force: "
            "what is there now is kept under another name"
        )
    with stop.uses(connect(part, 0)) as stage:
        last = _above_unknown(resource_versions(stage)[0], settings.clock())
        items = _adjust(stage, _Remembered(version=last))
    verify(part, stop)
    sync(part)
    kept = next(free_names(path.with_name(f"{path.name}.before-restore.{stamp(settings.clock())}")))
    for end in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(kept.with_name(kept.name + end))
    os.link(path, kept)
    part.rename(path)  # at every moment there is a file of this name
    sync(path.parent)
    return kept, items
