"""The contract of a Store as tests: subclass :class:`StoreConformance` in a plugin's test suite."""

from __future__ import annotations

from kastra_core.testing._store_data import DataCases
from kastra_core.testing._store_effects import EffectCases
from kastra_core.testing._store_model import ModelCases
from kastra_core.testing._store_resources import ResourceCases
from kastra_core.testing._store_runs import RunCases
from kastra_core.testing._store_threads import ThreadCases
from kastra_core.testing._store_tools import ManualClock, Reopen
from kastra_core.testing._store_watch import WatchCases

__all__ = ["ManualClock", "Reopen", "StoreConformance"]


class StoreConformance(ResourceCases, WatchCases, RunCases, DataCases, EffectCases, ThreadCases, ModelCases):
    """Give the fixture ``store``: a store without data that takes the time from the fixture ``clock``.

    Needs pytest-asyncio (``asyncio_mode = "auto"``) and hypothesis.

    Class attributes:
        history: the number of latest events that ``store`` is opened to keep, 100 unless changed; after five times as
            many writes older ones must be gone. None: the store keeps all history.
        persistent: the data outlives the store; needs the fixture ``reopen``.
        shared: two stores may be open on the same data at once; needs the fixture ``reopen``.

    Example:
        class TestAcmeStore(StoreConformance):
            persistent = shared = True

            @pytest.fixture
            async def store(self, tmp_path, clock):
                store = await open_store(f"acme:{tmp_path}/db", {"clock": clock, "history_events": self.history})
                yield store
                await store.aclose()

            @pytest.fixture
            def reopen(self, tmp_path, clock):
                return lambda: open_store(f"acme:{tmp_path}/db", {"clock": clock, "history_events": self.history})
    """
