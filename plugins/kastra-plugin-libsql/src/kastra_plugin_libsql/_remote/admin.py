"""What an operator does to a store on a server."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from glob import escape
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import urlsplit

from kastra_core.errors import SchemaVersionError, StoreError, StoreUnavailableError, UserError
from kastra_core.protocols.store_admin import (
    BackupInfo,
    CheckReport,
    CompactReport,
    FacetStatus,
    MigrationReport,
    MigrationStep,
    RestoreReport,
    StoreStatus,
)
from kastra_plugin_libsql._admin_backup import ITEMS, Stop, facet_items, stamp, sweep_parts
from kastra_plugin_libsql._admin_checks import Findings, questions
from kastra_plugin_libsql._admin_restore import restore_file
from kastra_plugin_libsql._admin_status import WORKERS
from kastra_plugin_libsql._errors import EmptyError
from kastra_plugin_libsql._migrations import Migration, path_between
from kastra_plugin_libsql._remote.settings import RemoteSettings
from kastra_plugin_libsql._remote.store import require_client
from kastra_plugin_libsql._schema import SCHEMA_VERSION, connect
from kastra_plugin_libsql._url import Settings

__all__ = ["RemoteAdmin"]

_PAGE = 2000
_STAGE = "restore_"
_PLACES = (
    "max(coalesce((SELECT max(rv) FROM log), 0), (SELECT value FROM meta WHERE key = 'horizon'))",
    "(SELECT value FROM meta WHERE key = 'horizon')",
    "(SELECT value FROM meta WHERE key = 'lease_epoch')",
    "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signals'), 0)",
    "coalesce((SELECT sum(epoch) FROM runs), 0)",
)
"""Numbers that go on with nearly all that is written."""
_PLACE = f"SELECT {', '.join(_PLACES)}"


class RemoteAdmin:
    """:class:`~kastra_core.protocols.store_admin.StoreAdmin` for URLs of servers."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[Any]:
        require_client()
        from kastra_plugin_libsql._remote.client import Server

        server = Server(self._settings)
        try:
            yield server
        finally:
            await server.aclose()

    async def _schema(self, server: Any) -> tuple[int, str]:
        from kastra_plugin_libsql._remote.client import Backoff
        from kastra_plugin_libsql._remote.schema import found_schema

        return await found_schema(server, Backoff(self._settings.timeout_s))

    async def _known_schema(self, server: Any) -> int:
        """Raises: EmptyError, SchemaVersionError, StoreError."""
        from kastra_plugin_libsql._remote.schema import too_new

        schema, writer = await self._schema(server)
        if not schema:
            raise EmptyError(f"store {self._settings.shown}: nothing was written to it yet")
        if schema > SCHEMA_VERSION:
            raise too_new(self._settings.shown, schema, writer)
        return schema

    # --------------------------------------------------------------------------------------------- looking

    async def status(self) -> StoreStatus:
        told: dict[str, Any] = {
            "url": self._settings.url,
            "exists": False,
            "engine": "",
            "schema": 0,
            "latest_schema": SCHEMA_VERSION,
            "details": {"server": urlsplit(self._settings.target).netloc},
        }
        try:
            async with self._server() as server:
                await self._look(server, told)
        except StoreError as err:
            told["problems"] = (str(err),)
        return StoreStatus(**told)

    async def _look(self, server: Any, told: dict[str, Any]) -> None:
        [[version]] = await server.rows("SELECT sqlite_version()")
        told["engine"] = f"LibSQL server, SQLite {version}"
        told["schema"], told["written_by"] = await self._schema(server)
        told["exists"] = told["schema"] > 0
        if not told["exists"]:
            return
        if told["schema"] > SCHEMA_VERSION:
            from kastra_plugin_libsql._remote.schema import too_new

            told["problems"] = (str(too_new(self._settings.shown, told["schema"], told["written_by"])),)
        elif told["schema"] < SCHEMA_VERSION:
            told["problems"] = (f"schema {told['schema']} is too old; run `kastra store migrate`",)
        told["size_bytes"], told["free_bytes"] = await self._sizes(server)
        [[rv, horizon, *_]] = await server.rows(_PLACE)
        told["resource_version"], told["oldest_version"] = str(rv), str(horizon)
        told["workers"] = await self._workers(server)
        counts = await server.read(*((sql, ()) for sql in ITEMS.values()))
        told["facets"] = tuple(FacetStatus(name=name, items=rows[0][0]) for name, rows in zip(ITEMS, counts))

    async def _sizes(self, server: Any) -> tuple[int, int]:
        """Bytes of the database, and of it what is free; 0 where the server does not tell."""
        try:
            pages = await server.read(
                ("PRAGMA page_count", ()), ("PRAGMA freelist_count", ()), ("PRAGMA page_size", ())
            )
        except StoreError:
            return 0, 0
        [[[count]], [[free]], [[size]]] = pages
        return count * size, free * size

    async def _workers(self, server: Any) -> tuple[str, ...]:
        rows = await server.rows(
            "SELECT name FROM leases WHERE substr(name, 1, ?) = ? AND expires > ? ORDER BY name",
            len(WORKERS),
            WORKERS,
            self._settings.clock(),
        )
        return tuple(name for (name,) in rows)

    async def check(self) -> CheckReport:
        began = perf_counter()
        async with self._server() as server:
            schema = await self._known_schema(server)
            structure = await server.rows("PRAGMA quick_check(20)")
            findings = await self._ask(server, schema)
        problems = [f"the database's structure: {text}" for (text,) in structure if text != "ok"]
        return CheckReport(
            url=self._settings.url,
            checked=findings.checked,
            problems=(*problems, *findings.problems),
            duration_s=perf_counter() - began,
        )

    async def _ask(self, server: Any, schema: int) -> Findings:
        asked = questions(schema)
        answer: Any = None
        while True:
            try:
                sql, bindings = asked.send(answer)
            except StopIteration as end:
                found: Findings = end.value
                return found
            try:
                answer = await self._answer(server, sql, bindings)
            except StoreUnavailableError:
                raise
            except StoreError as err:
                answer = err

    async def _answer(self, server: Any, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        """The rows of a statement, however many; bytes of blobs in parts."""
        from kastra_plugin_libsql._remote.reads import pages_by_key

        if sql.startswith("SELECT digest, data FROM blobs"):
            pages = pages_by_key(server, "blobs", "id", "data", "digest", "id BETWEEN ?1 AND ?2", *bindings)
            return [(digest, data) async for page in pages for _, digest, data in page]
        found: list[Any] = []
        while True:
            rows = await server.rows(f"SELECT * FROM ({sql}) LIMIT {_PAGE} OFFSET {len(found)}", *bindings)
            found += rows
            if len(rows) < _PAGE:
                return found

    # --------------------------------------------------------------------------------------------- copies

    async def backup(self, target: Path) -> BackupInfo:
        async with self._server() as server:
            from kastra_plugin_libsql._remote.copies import write_copy

            return await write_copy(server, await self._known_schema(server), target.absolute())  # noqa: ASYNC240 - does not wait

    def _beside(self, what: str) -> Path:
        """A name in the current directory, after the host and the time."""
        return Path.cwd() / f"{self._host}.{what}.{stamp(self._settings.clock())}.backup"

    @property
    def _host(self) -> str:
        return urlsplit(self._settings.target).hostname or "server"

    async def restore(self, source: Path, *, force: bool = False) -> RestoreReport:
        """The content so far is kept as a file in the current directory. The new one is made ready in tables of its own
        on the server, and takes the old one's place in one transaction, if nobody wrote meanwhile."""
        async with self._server() as server:
            from kastra_plugin_libsql._remote.copies import write_copy
            from kastra_plugin_libsql._remote.schema import bring_up
            from kastra_plugin_libsql._remote.watch import Hub

            await bring_up(server, Hub(server))
            if not force and (workers := await self._workers(server)):
                raise UserError(
                    f"workers use the store {self._settings.shown}: {', '.join(workers)}; end them, or add --force: "
                    "then what they do is lost"
                )
            [place] = await server.rows(_PLACE)
            kept = (await write_copy(server, SCHEMA_VERSION, self._beside("before-restore"), numbered=True)).path
            try:
                with tempfile.TemporaryDirectory() as directory:
                    merged = Path(directory) / "merged.db"
                    await asyncio.to_thread(_merge, self._settings, kept, source, merged)
                    items = await self._replace(server, merged, place)
            except UserError:  # of a backup that is not whole, or of one who wrote meanwhile: nothing was replaced
                with suppress(OSError):
                    kept.unlink()
                raise
        return RestoreReport(source=source, schema=SCHEMA_VERSION, items=items, kept=kept)

    async def _replace(self, server: Any, merged: Path, place: Sequence[Any]) -> dict[str, int]:
        from kastra_plugin_libsql._remote.commits import carry_out
        from kastra_plugin_libsql._remote.copies import send_tables
        from kastra_plugin_libsql._remote.errors import Guarded
        from kastra_plugin_libsql._remote.script import Script

        connection = connect(merged, 0)
        try:
            tables = await send_tables(server, connection, _STAGE)
            counts = facet_items(connection)
        finally:
            connection.close(True)
        script = Script(self._settings.clock())
        changed = " OR ".join(f"({sql}) <> ?{mark}" for mark, sql in enumerate(_PLACES, 1))
        script.guard((("changed", changed),), *place)
        # Holds before blobs: a trigger removes the blobs of a hold.
        for table in sorted(tables, key=lambda table: table.name == "blobs"):
            script.add(f"DELETE FROM {table.name}")
        script.add("DELETE FROM counts")  # triggers count anew
        for table in tables:
            columns = ", ".join(table.columns)
            script.add(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {_STAGE}{table.name} ORDER BY at")
        script.add("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", SCHEMA_VERSION)
        for table in tables:
            script.add(f"DROP TABLE {_STAGE}{table.name}")
        try:
            await carry_out(server, script)
        except Guarded:
            raise UserError(
                f"store {self._settings.shown}: somebody wrote to it meanwhile, so it was left as it was; "
                "end all programs that use it and try again"
            ) from None
        return counts

    # --------------------------------------------------------------------------------------------- changes

    async def migrate(
        self, schema: int | None = None, *, dry_run: bool = False, backup: bool = True
    ) -> MigrationReport:
        """The backup is a file in the current directory, named after the host and the time."""
        after = SCHEMA_VERSION if schema is None else schema
        async with self._server() as server:
            from kastra_plugin_libsql._remote.copies import write_copy

            before = await self._known_schema(server)
            try:
                path = path_between(before, after)
            except ValueError as err:
                raise UserError(
                    f"store {self._settings.shown} cannot be brought from schema {before} to {after}: {err}"
                ) from None
            saved = None
            if path:
                if not dry_run and (workers := await self._workers(server)):
                    raise UserError(
                        f"workers use the store {self._settings.shown}: {', '.join(workers)}; end them first"
                    )
                if backup and not dry_run:
                    saved = await write_copy(server, before, self._beside(f"schema{before}"), numbered=True)
                await self._take(server, path, before, after, dry_run=dry_run)
        up = before <= after
        steps = tuple(
            MigrationStep(
                number=step.number,
                direction="up" if up else "down",
                title=step.title,
                loses="" if up else step.loses,
            )
            for step in path
        )
        return MigrationReport(before=before, after=after, steps=steps, dry_run=dry_run, backup=saved)

    async def _take(self, server: Any, path: Sequence[Migration], before: int, after: int, *, dry_run: bool) -> None:
        from kastra_plugin_libsql._remote.errors import Busy, Guarded, Lost, SqlFailed
        from kastra_plugin_libsql._remote.schema import mark

        found = await self._marks(server)
        statements: list[Any] = [
            # The first statement writes, so it takes the lock at once.
            ("UPDATE meta SET value = value WHERE key = 'horizon'", ()),
            *((statement, ()) for step in path for statement in (step.up if before < after else step.down)),
            *(mark(after) if found else mark(after)[:1]),
        ]
        if dry_run:
            statements.append(("SELECT json_extract('{}', 'kastra:0:0:tried:')", ()))
        begun = monotonic()
        try:
            await server.once(statements, self._settings.timeout_s)
        except Guarded:
            return
        except SqlFailed as err:
            raise server.failed(err) from err
        except (Busy, Lost) as err:
            if not dry_run and (await self._schema(server))[0] == after:
                return
            raise server.unavailable(err, monotonic() - begun) from err

    async def _marks(self, server: Any) -> bool:
        """Whether the server keeps ``user_version``."""
        [[number]] = await server.rows("PRAGMA user_version")
        return bool(number)

    async def compact(self) -> CompactReport:
        """The sizes are of what is in use: a server gives nothing back to its disk by request, it uses it first."""
        settings = self._settings
        async with self._server() as server:
            from kastra_plugin_libsql._remote.commits import carry_out, compact
            from kastra_plugin_libsql._remote.script import NOW, Script
            from kastra_plugin_libsql._remote.uploads import expire_uploads

            schema = await self._known_schema(server)
            if schema != SCHEMA_VERSION:
                raise SchemaVersionError(
                    f"store {settings.shown} has schema {schema}; "
                    f"bring it to {SCHEMA_VERSION} first with `kastra store migrate`"
                )
            total, free = await self._sizes(server)
            before = total - free
            removed = dict.fromkeys(("history", "state", "leases", "blobs"), 0)
            [[versions]] = await server.rows("SELECT count(*) FROM log")
            horizon = -1
            while True:
                [[rv, now, *_]] = await server.rows(_PLACE)
                if now == horizon:
                    break
                horizon = now
                script = Script(settings.clock())
                old = f"SELECT max(rv) FROM log WHERE rv > {horizon} AND time < {int(script.now - settings.history_s)}"
                target = f"min(max(coalesce(({old}), 0), {rv - settings.history_events}), {rv - 1}, {horizon + _PAGE})"
                compact(script, target)
                await carry_out(server, script)
            [[left]] = await server.rows("SELECT count(*) FROM log")
            removed["history"] = max(0, versions - left)
            script = Script(settings.clock())
            sql, bindings = expire_uploads(script.now - 86_400.0)
            script.add(sql, *bindings)
            for table, condition in (("state", "expires <= ?1"), ("leases", "expires <= ?1")):
                script.add(f"DELETE FROM {table} WHERE {condition}", script.now)
                script.ask("changes()")
            script.add("DELETE FROM blobs WHERE id NOT IN (SELECT blob FROM holds)")
            script.ask("changes()")
            script.add("DELETE FROM scopes WHERE scope NOT IN (SELECT scope FROM state)")
            script.add(f"DELETE FROM commits WHERE time < {NOW} - 86400")
            answers = await carry_out(server, script)
            for facet in ("state", "leases", "blobs"):
                removed[facet] = int(answers.value())
            total, free = await self._sizes(server)
            if left := sweep_parts(Path.cwd(), escape(self._host)):
                removed["unfinished copies"] = left
        return CompactReport(before_bytes=before, after_bytes=total - free, removed=removed)


def _merge(settings: RemoteSettings, kept: Path, source: Path, merged: Path) -> None:
    """Make a file with the backup's content that goes on where the server's is."""
    import shutil

    shutil.copyfile(kept, merged)
    file = Settings(url=settings.url, path=merged, clock=settings.clock)
    restore_file(file, source.absolute(), force=True, stop=Stop())
