"""What a database file is, without opening it for work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from kastra_core.errors import SchemaVersionError, StoreError
from kastra_core.protocols.store_admin import FacetStatus, StoreStatus
from kastra_plugin_libsql._admin_backup import Stop, facet_items, read_only, resource_versions
from kastra_plugin_libsql._errors import store_error
from kastra_plugin_libsql._schema import SCHEMA_VERSION, found_schema, number
from kastra_plugin_libsql._url import Settings

__all__ = ["FACET_TABLES", "WORKERS", "disk_bytes", "live_workers", "status_of"]

WORKERS = "worker/"
"""The leases of workers have names that begin so."""

FACET_TABLES = {
    "resources": ("resources", "owners", "kinds"),
    "history": (),
    "journal": ("journal", "runs", "claims"),
    "signals": ("signals",),
    "leases": ("leases",),
    "state": ("state", "scopes"),
    "threads": ("threads", "messages"),
    "vectors": ("vectors", "collections"),
    "blobs": ("blobs", "holds"),
}
"""Which tables keep what; ``log`` serves resources and history."""


def disk_bytes(path: Path) -> int:
    """The file and what SQLite keeps beside it."""
    total = 0
    for end in ("", "-wal", "-shm", "-journal"):
        try:
            total += path.with_name(path.name + end).stat().st_size
        except OSError:
            continue
    return total


def live_workers(connection: apsw.Connection, now_s: float) -> tuple[str, ...]:
    """Workers whose lease has not expired."""
    rows = connection.execute(
        "SELECT name FROM leases WHERE substr(name, 1, ?) = ? AND expires > ? ORDER BY name",
        (len(WORKERS), WORKERS, now_s),
    )
    return tuple(name for (name,) in rows)


def status_of(settings: Settings, stop: Stop) -> StoreStatus:
    """Never raises for a store that is missing, damaged or of another schema: it says so."""
    path = settings.path
    told: dict[str, Any] = {
        "url": settings.url,
        "exists": True,
        "engine": f"SQLite {apsw.sqlite_lib_version()}",
        "schema": 0,
        "latest_schema": SCHEMA_VERSION,
        "details": {"path": str(path), "durability": settings.durability},
    }
    try:
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            return StoreStatus(**{**told, "exists": False})
        told["size_bytes"] = disk_bytes(path)
        with read_only(path, settings.timeout_s, stop) as connection:
            _look(connection, settings, told)
    except apsw.Error as err:
        stop.check()
        told["problems"] = (str(store_error(path, err)),)
    except (StoreError, OSError) as err:
        stop.check()
        told["problems"] = (str(err),)
    return StoreStatus(**told)


def _look(connection: apsw.Connection, settings: Settings, told: dict[str, Any]) -> None:
    """Fill ``told`` as far as it goes."""
    size = number(connection, "page_size")
    told["free_bytes"] = number(connection, "freelist_count") * size
    [[mode]] = connection.execute("PRAGMA journal_mode")
    told["details"] |= {"journalMode": mode, "pageSize": size}
    try:
        told["schema"] = found_schema(connection, settings.path)
    except SchemaVersionError as err:
        # What can be told of a newer schema is told.
        told["problems"] = (str(err),)
        told["schema"] = number(connection, "user_version")
    if not told["schema"]:
        told["exists"] = False
        return
    for (writer,) in connection.execute("SELECT value FROM meta WHERE key = 'written_by'"):
        told["written_by"] = str(writer)
    version, horizon = resource_versions(connection)
    told["resource_version"], told["oldest_version"] = str(version), str(horizon)
    told["workers"] = live_workers(connection, settings.clock())
    sizes = _sizes(connection)
    told["facets"] = tuple(
        FacetStatus(name=name, items=items, size_bytes=None if sizes is None else sizes[name])
        for name, items in facet_items(connection).items()
    )


def _sizes(connection: apsw.Connection) -> dict[str, int] | None:
    """Bytes of the file by facet; None where SQLite was built without the table that tells it."""
    try:
        rows: list[Any] = connection.execute(
            "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name"
            " WHERE d.aggregate = TRUE GROUP BY 1"
        ).fetchall()
    except apsw.SQLError:
        return None
    by_table: dict[str, int] = dict(rows)
    sizes = {facet: sum(by_table.get(table, 0) for table in tables) for facet, tables in FACET_TABLES.items()}
    [[present, all_]] = connection.execute(
        "SELECT coalesce((SELECT sum(length(l.body)) FROM resources r JOIN log l ON l.rv = r.rv), 0),"
        " coalesce(sum(length(body)), 0) FROM log"
    )
    log = by_table.get("log", 0)
    share = round(log * present / all_) if all_ else 0
    sizes["resources"] += share
    sizes["history"] = log - share
    return sizes
