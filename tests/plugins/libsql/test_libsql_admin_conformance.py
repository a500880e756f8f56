"""Maintenance of a database on a server keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.protocols.store_admin import StoreAdmin
from kastra_core.testing.store import ManualClock, Reopen
from kastra_core.testing.store_admin import StoreAdminConformance
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store


class ServerAdmin(StoreAdminConformance):
    scheme = "ws"

    @pytest.fixture
    async def server(self, hrana: Any, tmp_path: Path) -> AsyncIterator[Any]:
        async with hrana.HranaServer(tmp_path / "server.db") as server:
            yield server

    @pytest.fixture
    def reopen(self, server: Any, clock: ManualClock) -> Reopen:
        return lambda: open_store(server.url(self.scheme), {"clock": clock})

    @pytest.fixture
    def admin(self, server: Any, clock: ManualClock) -> StoreAdmin:
        return open_admin(server.url(self.scheme), {"clock": clock})


class TestWebSocketAdmin(ServerAdmin):
    pass


class TestHttpAdmin(ServerAdmin):
    scheme = "http"
