"""The store on a file keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kastra_core.protocols.store import Store
from kastra_core.testing.store import ManualClock, Reopen, StoreConformance
from kastra_plugin_libsql.store import open_store


class FileConformance(StoreConformance):
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


class TestFullDurability(FileConformance):
    pass


class TestRelaxedDurability(FileConformance):
    durability = "relaxed"
