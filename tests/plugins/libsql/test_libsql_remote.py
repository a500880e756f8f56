"""The store on a server keeps the contract, over WebSocket and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.protocols.store import Store
from kastra_core.testing.store import ManualClock, Reopen, StoreConformance
from kastra_plugin_libsql.store import open_store

pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")


class RemoteConformance(StoreConformance):
    persistent = shared = True
    scheme = "ws"
    backend = "apsw"

    @pytest.fixture
    async def server(self, hrana: Any, tmp_path: Path) -> AsyncIterator[Any]:
        async with hrana.HranaServer(tmp_path / "kastra.db", token="t0ken", backend=self.backend) as server:
            yield server

    @pytest.fixture
    def reopen(self, server: Any, clock: ManualClock) -> Reopen:
        options = {"clock": clock, "history_events": self.history, "auth_token": "t0ken", "poll_s": 0.02}
        return lambda: open_store(server.url(self.scheme), options)

    @pytest.fixture
    async def store(self, reopen: Reopen) -> AsyncIterator[Store]:
        store = await reopen()
        yield store
        await store.aclose()


class TestWebSocket(RemoteConformance):
    pass


class TestHttp(RemoteConformance):
    scheme = "http"


class TestLibsqlEngine(RemoteConformance):
    """The same over real LibSQL, which is another SQLite than that of the file's store."""

    backend = "libsql"
