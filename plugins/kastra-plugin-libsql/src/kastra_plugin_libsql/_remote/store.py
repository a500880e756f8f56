"""The store on a server: its parts put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from kastra_core.errors import MissingDependencyError
from kastra_core.protocols.store import Operation
from kastra_plugin_libsql._remote.settings import RemoteSettings, remote_settings_of

__all__ = ["RemoteStore", "open_remote", "require_client"]


def require_client() -> None:
    """Raises: MissingDependencyError when the library that speaks to servers is not installed."""
    try:
        import_module("libsql_client")
    except ImportError as err:
        raise MissingDependencyError("libsql_client", "'kastra-plugin-libsql[remote]'") from err


async def open_remote(url: str, options: Mapping[str, Any]) -> RemoteStore:
    """Open the database of a server; its tables are made when there are none.

    Args:
        url: ``libsql://`` (a WebSocket with TLS), ``wss://``, ``ws://``, ``https://`` or ``http://``.
        options: the fields of :class:`~kastra_plugin_libsql._remote.settings.RemoteSettings`.
    Raises:
        ConfigError, MissingDependencyError, SchemaVersionError, StoreUnavailableError, StoreError.
    """
    settings = remote_settings_of(url, options)
    require_client()
    from kastra_plugin_libsql._remote.schema import bring_up

    store = RemoteStore(settings)
    try:
        await bring_up(store.server, store.hub)
    except BaseException:
        await store.aclose()
        raise
    return store


class RemoteStore:
    """All facets over one server. Several stores, also of several processes, may use one database at once."""

    def __init__(self, settings: RemoteSettings) -> None:
        from kastra_plugin_libsql._remote.client import Server
        from kastra_plugin_libsql._remote.commits import Writer
        from kastra_plugin_libsql._remote.facets import Blobs, Journal, Leases, State, Threads
        from kastra_plugin_libsql._remote.resources import Resources
        from kastra_plugin_libsql._remote.statements import prepare
        from kastra_plugin_libsql._remote.vectors import Vectors
        from kastra_plugin_libsql._remote.watch import Hub

        self.url = settings.url
        self.server = Server(settings)
        self.hub = Hub(self.server)
        self._prepare, self._inline_bytes = prepare, settings.inline_bytes
        self._writer = Writer(self.server, self.hub)
        self.resources = Resources(self.server, self.hub)
        self.journal = Journal(self.server, self.hub)
        self.leases = Leases(self.server, self._writer)
        self.state = State(self.server, self._writer, self.hub)
        self.threads = Threads(self.server)
        self.blobs = Blobs(self.server, self._writer)
        self.vectors = Vectors(self.server, self._writer)

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        results = await self._writer.submit([self._prepare(operation, self._inline_bytes) for operation in operations])
        await self.vectors.index(operations)
        return results

    async def aclose(self) -> None:
        """Finish pending commits, end watches, close."""
        await self._writer.aclose()
        await self.hub.aclose()
        await self.server.aclose()
