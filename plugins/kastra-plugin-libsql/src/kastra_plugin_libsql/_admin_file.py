"""What an operator does to a database file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import apsw

from kastra_core.errors import NotFoundError, SchemaVersionError, StoreError, StoreUnavailableError, UserError
from kastra_core.protocols.store_admin import (
    BackupInfo,
    CheckReport,
    CompactReport,
    MigrationReport,
    MigrationStep,
    RestoreReport,
    StoreStatus,
)
from kastra_plugin_libsql._admin_backup import Stop, backup_before_migration, read_only, write_backup
from kastra_plugin_libsql._admin_checks import find_problems
from kastra_plugin_libsql._admin_compact import compact_file
from kastra_plugin_libsql._admin_restore import restore_file
from kastra_plugin_libsql._admin_status import disk_bytes, live_workers, status_of
from kastra_plugin_libsql._errors import EmptyError, store_error
from kastra_plugin_libsql._migrations import path_between
from kastra_plugin_libsql._schema import SCHEMA_VERSION, connect, drop_backup, found_schema, take_steps, write_ahead
from kastra_plugin_libsql._url import Settings

__all__ = ["FileAdmin"]

T = TypeVar("T")


class FileAdmin:
    """:class:`~kastra_core.protocols.store_admin.StoreAdmin` for ``file:`` URLs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.path

    async def status(self) -> StoreStatus:
        return await self._do(lambda stop: status_of(self._settings, stop))

    async def check(self) -> CheckReport:
        return await self._do(self._check)

    async def backup(self, target: Path) -> BackupInfo:
        def job(stop: Stop) -> BackupInfo:
            self._exists()
            with self._snapshot(stop) as connection:
                found_schema(connection, self._path)
            settings = self._settings
            return write_backup(
                self._path, target.absolute(), timeout_s=settings.timeout_s, stop=stop, clock=settings.clock
            )

        return await self._do(job)

    async def restore(self, source: Path, *, force: bool = False) -> RestoreReport:
        return await self._do(lambda stop: restore_file(self._settings, source.absolute(), force=force, stop=stop))

    async def migrate(
        self, schema: int | None = None, *, dry_run: bool = False, backup: bool = True
    ) -> MigrationReport:
        return await self._do(lambda stop: self._migrate(schema, dry_run=dry_run, backup=backup, stop=stop))

    async def compact(self) -> CompactReport:
        def job(stop: Stop) -> CompactReport:
            self._exists()
            self._refuse_other_schema(stop)
            before = disk_bytes(self._path)
            removed = compact_file(self._settings, stop)
            return CompactReport(before_bytes=before, after_bytes=disk_bytes(self._path), removed=removed)

        return await self._do(job)

    # --------------------------------------------------------------------------------------------- jobs

    def _check(self, stop: Stop) -> CheckReport:
        self._exists()
        began = time.perf_counter()
        problems: list[str] = []
        checked: dict[str, int] = {}
        try:
            with self._snapshot(stop) as connection:
                schema = found_schema(connection, self._path)
                [[checked["pages"]]] = connection.execute("PRAGMA page_count")
                problems.extend(
                    f"the file's structure: {text}"
                    for (text,) in connection.execute("PRAGMA integrity_check(20)")
                    if text != "ok"
                )
                findings = find_problems(connection, schema, stop)
        except (apsw.CorruptError, apsw.NotADBError) as err:
            problems.append(str(store_error(self._path, err)))
        else:
            checked.update(findings.checked)
            problems.extend(findings.problems)
        return CheckReport(
            url=self._settings.url,
            checked=checked,
            problems=tuple(problems),
            duration_s=time.perf_counter() - began,
        )

    def _migrate(self, schema: int | None, *, dry_run: bool, backup: bool, stop: Stop) -> MigrationReport:
        self._exists()
        after = SCHEMA_VERSION if schema is None else schema
        with stop.uses(connect(self._path, self._settings.timeout_s)) as connection:
            found_schema(connection, self._path)
            write_ahead(connection, self._settings.timeout_s)
            connection.execute("BEGIN IMMEDIATE")
            before = found_schema(connection, self._path)
            steps = self._steps(before, after)
            saved = None
            try:
                if steps:
                    if not dry_run:
                        self._refuse_workers(connection)
                    if backup and not dry_run:
                        saved = backup_before_migration(self._path, before, stop)
                    take_steps(connection, before, after)
                    self._refuse_damage(connection, after, stop)
                stop.check()
                if steps and not dry_run:
                    connection.execute("COMMIT")
            except BaseException:
                if saved is not None:
                    drop_backup(connection, before, saved.path)
                raise
            finally:
                # SQLite may have done it: after some errors, of a full disk for example, it does.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        return MigrationReport(before=before, after=after, steps=steps, dry_run=dry_run, backup=saved)

    def _steps(self, before: int, after: int) -> tuple[MigrationStep, ...]:
        if not before:
            raise EmptyError(f"store {self._path}: nothing was written to it yet")
        try:
            path = path_between(before, after)
        except ValueError as err:
            raise UserError(f"store {self._path} cannot be brought from schema {before} to {after}: {err}") from None
        if before <= after:
            return tuple(MigrationStep(number=step.number, direction="up", title=step.title) for step in path)
        return tuple(
            MigrationStep(number=step.number, direction="down", title=step.title, loses=step.loses) for step in path
        )

    def _refuse_workers(self, connection: apsw.Connection) -> None:
        workers = live_workers(connection, self._settings.clock())
        if workers:
            raise UserError(f"workers use the store {self._path}: {', '.join(workers)}; end them first")

    def _refuse_damage(self, connection: apsw.Connection, schema: int, stop: Stop) -> None:
        found = find_problems(connection, schema, stop).problems
        if found:
            raise StoreError(
                f"store {self._path}: after these steps it would not be sound, so none was taken: "
                f"{'; '.join(found[:3])}; `kastra store check` tells what is wrong with it now"
            )

    def _refuse_other_schema(self, stop: Stop) -> None:
        with self._snapshot(stop) as connection:
            schema = found_schema(connection, self._path)
        if schema != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"store {self._path} has schema {schema}; "
                f"bring it to {SCHEMA_VERSION} first with `kastra store migrate`"
            )

    # --------------------------------------------------------------------------------------------- tools

    def _exists(self) -> None:
        try:
            there = self._path.stat().st_size > 0
        except FileNotFoundError:
            there = False
        except OSError as err:
            raise StoreUnavailableError(f"store {self._path} cannot be looked at: {err.strerror}") from err
        if not there:
            raise NotFoundError(f"store {self._path}")

    @contextmanager
    def _snapshot(self, stop: Stop) -> Iterator[apsw.Connection]:
        with read_only(self._path, self._settings.timeout_s, stop) as connection:
            yield connection

    async def _do(self, job: Callable[[Stop], T]) -> T:
        """Do a job in a thread. When the caller is cancelled the job ends first.

        Either it leaves the store as it was, and the caller is cancelled; or it was done already, and has its result.
        """
        import asyncio

        stop = Stop()
        doing = asyncio.ensure_future(asyncio.to_thread(self._told, job, stop))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            stop.set()
            while not doing.done():
                try:
                    await asyncio.wait((doing,))
                except asyncio.CancelledError:
                    continue  # it is told already
            if doing.exception() is not None:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            return doing.result()

    def _told(self, job: Callable[[Stop], T], stop: Stop) -> T:
        try:
            return job(stop)
        except apsw.Error as err:
            stop.check()
            raise store_error(self._path, err) from err
        except OSError as err:
            raise StoreUnavailableError(
                f"store {self._path}: {err.strerror or err} ({err.filename}); nothing was changed"
            ) from err
