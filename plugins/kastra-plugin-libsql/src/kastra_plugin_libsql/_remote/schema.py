"""The tables on a server: found, or made in one batch."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

from kastra_core.errors import SchemaVersionError, StoreError
from kastra_plugin_libsql._migrations import path_between
from kastra_plugin_libsql._remote.client import Backoff, Row, Server, Statement
from kastra_plugin_libsql._remote.errors import Busy, Lost, SqlFailed
from kastra_plugin_libsql._remote.watch import Hub
from kastra_plugin_libsql._schema import SCHEMA_VERSION

__all__ = ["bring_up", "found_schema", "mark", "too_new"]

_META: Statement = ("SELECT key, value FROM meta", ())
_USER_VERSION: Statement = ("PRAGMA user_version", ())
_PLACE: Statement = (
    "SELECT coalesce((SELECT max(rv) FROM log), 0), (SELECT value FROM meta WHERE key = 'horizon'),"
    " coalesce((SELECT max(seq) FROM signals), 0)",
    (),
)
_TABLES: Statement = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'libsql_*'"
    " AND name NOT GLOB '_*' LIMIT 1",
    (),
)
_OPENING_S = 5.0
"""A server that cannot be reached is no longer waited for at opening."""


def mark(number: int) -> list[Statement]:
    """Statements that note the schema's number and who wrote it. Some servers do not keep ``user_version``."""
    writer = f"kastra-plugin-libsql {version_of('kastra-plugin-libsql')}"
    return [
        ("INSERT OR REPLACE INTO meta VALUES ('written_by', ?), ('schema', ?)", (writer, number)),
        (f"PRAGMA user_version = {number}", ()),
    ]


async def found_schema(server: Server, backoff: Backoff) -> tuple[int, str]:
    """The number of the schema and who wrote it; 0 for an empty database.

    Raises: StoreError for a database of another program; StoreUnavailableError.
    """
    try:
        meta, [[version]] = await _ask(server, [_META, _USER_VERSION], backoff)
    except SqlFailed as err:
        if "no such table" not in str(err):
            raise server.failed(err) from err
        [others] = await server.repeat([_TABLES], backoff)
        if others:
            raise StoreError(
                f"store {server.settings.shown} is a database of another program (it has a table {others[0][0]!r}); "
                "name another database"
            ) from None
        return 0, ""
    found: dict[Any, Any] = {row[0]: row[1] for row in meta}
    if "horizon" not in found:
        raise StoreError(f"store {server.settings.shown} is a database of another program; name another database")
    # A file's own number is kept up by every program that opens it; the one in `meta` only by those that go through a
    # server.
    return int(version) or int(found.get("schema") or 0), str(found.get("written_by") or "")


def too_new(url: str, version: int, writer: str) -> SchemaVersionError:
    by = f", written by {writer}" if writer else ""
    return SchemaVersionError(
        f"store {url} has schema {version}{by}; this program knows schemas up to {SCHEMA_VERSION}: "
        "install that version of kastra-plugin-libsql or a newer one, bring the store down with that version "
        f"(`kastra store migrate --to {SCHEMA_VERSION}`), or name another database"
    )


async def bring_up(server: Server, hub: Hub) -> None:
    """Make the tables where there are none, and let the hub know where the store is.

    Raises: SchemaVersionError, StoreError, StoreUnavailableError.
    """
    url = server.settings.shown
    backoff = Backoff(min(server.settings.timeout_s, _OPENING_S))
    version, writer = await found_schema(server, backoff)
    if version == 0:
        version = await _make(server, Backoff(server.settings.timeout_s))
    if version > SCHEMA_VERSION:
        raise too_new(url, version, writer)
    if version < SCHEMA_VERSION:
        raise SchemaVersionError(
            f"store {url} has schema {version}, this program needs {SCHEMA_VERSION}: "
            "end all programs that use it and run `kastra store migrate`, which writes a backup first"
        )
    [[place]] = await server.read(_PLACE)
    hub.heard(*(int(number) for number in place))


async def _make(server: Server, backoff: Backoff) -> int:
    """Make the tables, or find that another program just did."""
    steps: list[Statement] = [
        (statement, ()) for migration in path_between(0, SCHEMA_VERSION) for statement in migration.up
    ]
    marks = mark(SCHEMA_VERSION)
    while True:
        try:
            await server.once([*steps, *marks], backoff.left_s)
        except (Busy, Lost) as err:
            if not await backoff.wait():
                raise server.unavailable(err, backoff.spent_s) from err
        except SqlFailed as err:
            if err.code == "SQL_PARSE_ERROR" and len(marks) > 1 and "user_version" in str(err):
                marks.pop()  # this server does not take the number
                continue
            version, _ = await found_schema(server, backoff)
            if version == 0:
                raise server.failed(err) from err
            return version
        version, _ = await found_schema(server, backoff)
        if version:
            return version


async def _ask(server: Server, statements: list[Statement], backoff: Backoff) -> list[list[Row]]:
    """As ``repeat``, but an error of SQL is left to the caller."""
    while True:
        try:
            return await server.once(statements, backoff.left_s)
        except (Lost, Busy) as err:
            if not await backoff.wait():
                raise server.unavailable(err, backoff.spent_s) from err
