"""The plugin keeps to what is asked of all plugins: ``kastra plugins check libsql`` runs what is here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kastra_core.protocols.store import Store
from kastra_core.protocols.store_admin import StoreAdmin
from kastra_core.testing.plugin import PluginConformance
from kastra_core.testing.store import ManualClock, Reopen, StoreConformance
from kastra_core.testing.store_admin import StoreAdminConformance
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store

__all__ = ["TestFileAdmin", "TestFileStore", "TestLibsqlPlugin"]


class TestLibsqlPlugin(PluginConformance):
    entry_point = "libsql"


class TestFileStore(StoreConformance):
    persistent = shared = True
    durability = "full"

    @pytest.fixture
    def reopen(self, tmp_path: Path, clock: ManualClock) -> Reopen:
        options = {"clock": clock, "history_events": self.history, "durability": self.durability}
        return lambda: open_store(f"file:{tmp_path}/kastra.db", options)

    @pytest.fixture
    async def store(self, reopen: Reopen) -> AsyncIterator[Store]:
        store = await reopen()
        yield store
        await store.aclose()


class TestFileAdmin(StoreAdminConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path, clock: ManualClock) -> Reopen:
        return lambda: open_store(f"file:{tmp_path}/kastra.db", {"clock": clock})

    @pytest.fixture
    def admin(self, tmp_path: Path, clock: ManualClock) -> StoreAdmin:
        return open_admin(f"file:{tmp_path}/kastra.db", {"clock": clock})
