"""The store: its parts put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kastra_core.protocols.store import Operation, Store
from kastra_plugin_libsql._database import Database, loop_is_running
from kastra_plugin_libsql._facets import Blobs, State, Threads
from kastra_plugin_libsql._journal import Journal, Leases
from kastra_plugin_libsql._operations import prepare
from kastra_plugin_libsql._resources import Resources
from kastra_plugin_libsql._schema import open_database
from kastra_plugin_libsql._url import SERVER_SCHEMES, settings_of
from kastra_plugin_libsql._vectors import Vectors
from kastra_plugin_libsql._watch import Hub
from kastra_plugin_libsql._worker import Worker
from kastra_plugin_libsql._writer import Writer

__all__ = ["LibsqlStore", "open_file", "open_store"]


async def open_store(url: str, options: Mapping[str, Any]) -> Store:
    """Open the database that ``url`` names; a file and its directory, or the tables on a server, are made when missing.

    Args:
        url: ``file:relative/path``, ``file:/abs``, ``file:///abs`` or ``file://localhost/abs``; a query
            (``?durability=relaxed&timeout_s=5``) sets options. ``libsql://``, ``https://``, ``http://``, ``wss://`` and
            ``ws://`` name a server, whose options ``_remote.settings`` describes.
        options: ``durability`` ("full" or "relaxed"), ``timeout_s`` (wait for a lock), ``history_events`` and
            ``history_s`` (how far back a watch can go), ``inline_bytes`` (a larger payload is kept among the blobs),
            ``clock`` (a callable, unix seconds).
    Raises:
        ConfigError: the URL or an option is wrong.
        StoreUnavailableError, StoreError: the file cannot be used as it is.
        SchemaVersionError: a newer version of this plugin wrote it.
    """
    if url.partition(":")[0].lower() in SERVER_SCHEMES:
        from kastra_plugin_libsql._remote.store import open_remote

        return await open_remote(url, options)
    return await open_file(url, options)


async def open_file(url: str, options: Mapping[str, Any]) -> LibsqlStore:
    """Open the database file of a ``file:`` URL. Arguments and errors as of :func:`open_store`."""
    settings = settings_of(url, options)
    if not loop_is_running():
        return LibsqlStore(Database(settings, open_database(settings.path, settings.timeout_s)))
    # Another process may have it locked while it makes the tables, and an older schema is brought up here.
    worker = Worker("kastra-libsql-open")
    try:
        reader = await worker.call(lambda: open_database(settings.path, settings.timeout_s))
    finally:
        worker.stop(wait=False)
    return LibsqlStore(Database(settings, reader))


class LibsqlStore:
    """All facets over one file. Several stores, also of several processes, may use one file at once."""

    def __init__(self, database: Database) -> None:
        self.url = database.settings.url
        self._db = database
        self._inline_bytes = database.settings.inline_bytes
        self._hub = Hub(database)
        self._writer = Writer(database, self._hub)
        self.resources = Resources(database, self._hub)
        self.journal = Journal(database, self._hub)
        self.leases = Leases(database, self._writer)
        self.state = State(database, self._writer, self._hub)
        self.threads = Threads(database)
        self.blobs = Blobs(database, self._writer)
        self.vectors = Vectors(database, self._writer)

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        return await self._writer.submit([prepare(operation, self._inline_bytes) for operation in operations])

    async def aclose(self) -> None:
        """End watches, finish pending commits, close."""
        self._hub.close()
        self.vectors.close()
        await self._writer.aclose()
        self._db.close()
