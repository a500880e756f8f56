"""MemoryStore keeps the contract, and what is its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey
from kastra_core.errors import ConfigError
from kastra_core.memory_store import MemoryStore, open_memory_store
from kastra_core.protocols.store import AppendRecord, ClaimRun, CreateResource, DeleteResource, Store
from kastra_core.testing.store import ManualClock, StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    async def store(self, clock: ManualClock) -> AsyncIterator[Store]:
        assert self.history is not None
        store = MemoryStore(clock=clock, history=self.history)
        yield store
        await store.aclose()


async def test_the_factory_takes_its_options() -> None:
    clock = ManualClock(5.0)
    store = await open_memory_store("memory:", {"clock": clock, "history": 3})
    await store.commit([ClaimRun("r", ResourceKey("", "Run", "", "r"), "w"), AppendRecord("r", "p", 1, 1)])
    assert [record.time_s for record in await store.journal.records("r")] == [5.0]
    assert isinstance(store, Store)


@pytest.mark.parametrize(("url", "options"), [("memory:x", {}), ("memory:", {"histroy": 1})])
async def test_a_wrong_url_or_option_is_a_config_error(url: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        await open_memory_store(url, options)


async def test_two_stores_share_nothing() -> None:
    first, second = MemoryStore(), MemoryStore()
    await first.commit([CreateResource(Resource(api_version="v1", kind="A", metadata=ObjectMeta(name="a")))])
    assert await second.resources.counts() == {}


async def test_a_record_that_was_read_can_be_changed_without_effect() -> None:
    store = MemoryStore()
    await store.commit([ClaimRun("r", ResourceKey("", "Run", "", "r"), "w"), AppendRecord("r", "p", {"l": []}, 1)])
    (await store.journal.records("r"))[0].record["l"].append(1)
    assert (await store.journal.records("r"))[0].record == {"l": []}


def test_importing_it_does_not_import_asyncio() -> None:
    code = "import sys, kastra_core.memory_store; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reads_and_commits_need_no_event_loop() -> None:
    store = MemoryStore()
    resource = Resource(api_version="v1", kind="A", metadata=ObjectMeta(name="a"))
    with pytest.raises(StopIteration):
        store.commit([CreateResource(resource)]).send(None)
    with pytest.raises(StopIteration) as read:
        store.resources.get(resource.key).send(None)
    assert read.value.value.metadata.resource_version == "1"
    with pytest.raises(StopIteration):
        store.commit([DeleteResource(resource.key)]).send(None)
