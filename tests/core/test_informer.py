from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kastra_core.api.kind import MAIN_GROUP, ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.references import parse_reference
from kastra_core.api.selectors import LabelSelector
from kastra_core.errors import StoreUnavailableError, UnknownKindError
from kastra_core.informer import Informer, ReferenceIndex
from kastra_core.memory_store import MemoryStore
from kastra_core.testing.controller import MiniRuntime


def references(resource: Resource) -> Any:
    for index, value in enumerate(resource.spec.get("tools", ())):
        yield parse_reference(value, kind="Tool", namespace=resource.metadata.namespace, path=f"spec.tools[{index}]")


TOOL = ResourceKind(kind="Tool", plural="tools")
AGENT = ResourceKind(kind="Agent", plural="agents", references=references)


def tool(name: str) -> ResourceKey:
    return ResourceKey(MAIN_GROUP, "Tool", "default", name)


def agent(name: str) -> ResourceKey:
    return ResourceKey(MAIN_GROUP, "Agent", "default", name)


def manifest(kind: str, name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels} if labels else {"name": name}
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}


class Seen:
    """A handler that keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []
        self._news = asyncio.Event()

    def __call__(self, old: Resource | None, new: Resource | None) -> None:
        what = "added" if old is None else "deleted" if new is None else "updated"
        resource = new if new is not None else old
        assert resource is not None
        self.changes.append((what, resource.metadata.name))
        self._news.set()

    async def until(self, *expected: tuple[str, str]) -> None:
        async with asyncio.timeout(5):
            while len(self.changes) < len(expected):
                self._news.clear()
                await self._news.wait()
        assert tuple(self.changes) == expected
        self.changes.clear()


@pytest.fixture
def runtime() -> MiniRuntime:
    return MiniRuntime.of(TOOL, AGENT)


@pytest.fixture
async def start(runtime: MiniRuntime) -> AsyncIterator[Callable[..., tuple[Informer, Seen]]]:
    running: list[Informer] = []

    def start(kind: str = "Agent", **options: Any) -> tuple[Informer, Seen]:
        informer, seen = Informer(runtime.client, MAIN_GROUP, kind, **options), Seen()
        informer.add_handler(seen)
        informer.start()
        running.append(informer)
        return informer, seen

    yield start
    for informer in running:
        await informer.stop()


async def test_it_lists_what_is_there_and_follows_what_comes(runtime: MiniRuntime, start: Any) -> None:
    await runtime.apply([manifest("Agent", "a")])
    informer, seen = start()
    await informer.synced.wait()
    await seen.until(("added", "a"))
    await runtime.apply([manifest("Agent", "b"), manifest("Agent", "a", tools=["t"]), manifest("Tool", "t")])
    await seen.until(("added", "b"), ("updated", "a"))
    await runtime.client.delete(agent("a"))
    await seen.until(("deleted", "a"))
    assert informer.cached(agent("a")) is None
    assert informer.cached(agent("b")) is not None
    assert informer.relists == 0


async def test_the_lister_answers_from_the_cache(runtime: MiniRuntime, start: Any) -> None:
    await runtime.apply([manifest("Agent", "b", {"tier": "x"}), manifest("Agent", "a")])
    informer, _ = start()
    await informer.synced.wait()
    lister = informer.lister
    assert [found.metadata.name for found in lister.list()] == ["a", "b"]
    assert [found.metadata.name for found in lister.list(labels=LabelSelector.parse("tier=x"))] == ["b"]
    assert lister.list(namespace="elsewhere") == []
    assert lister.get("default", "a") is not None
    assert lister.get("default", "c") is None
    assert len(lister) == 2


async def test_a_handler_that_comes_later_is_told_of_what_is_cached(runtime: MiniRuntime, start: Any) -> None:
    await runtime.apply([manifest("Agent", "a")])
    informer, _ = start()
    await informer.synced.wait()
    late = Seen()
    remove = informer.add_handler(late)
    assert late.changes == [("added", "a")]
    remove()
    await runtime.apply([manifest("Agent", "b")])
    await asyncio.sleep(0)
    assert late.changes == [("added", "a")]


async def test_a_handler_that_raises_hurts_no_other(runtime: MiniRuntime, caplog: pytest.LogCaptureFixture) -> None:
    informer, seen = Informer(runtime.client, MAIN_GROUP, "Agent"), Seen()

    def broken(old: Resource | None, new: Resource | None) -> None:
        raise RuntimeError("broken handler")

    informer.add_handler(broken)
    informer.add_handler(seen)
    informer.start()
    await runtime.apply([manifest("Agent", "a")])
    await seen.until(("added", "a"))
    await informer.stop()
    assert "broken handler" in caplog.text


async def test_after_an_expired_history_it_tells_only_what_differs() -> None:
    runtime = MiniRuntime.of(TOOL, AGENT, store=MemoryStore(history=2))
    await runtime.apply([manifest("Agent", name) for name in ("gone", "same", "changed")])
    informer, seen = Informer(runtime.client, MAIN_GROUP, "Agent"), Seen()
    informer.add_handler(seen)
    informer.start()
    await seen.until(("added", "changed"), ("added", "gone"), ("added", "same"))
    # No await in which the informer could run: the history is gone before it looks.
    await runtime.client.delete(agent("gone"))
    await runtime.apply([manifest("Agent", "changed", x=1), manifest("Agent", "new")])
    for number in range(5):
        await runtime.apply([manifest("Tool", f"t{number}")])
    await seen.until(("deleted", "gone"), ("updated", "changed"), ("added", "new"))
    assert informer.relists >= 1
    await informer.stop()


async def test_after_errors_it_tries_again_with_growing_waits(runtime: MiniRuntime, start: Any) -> None:
    waits: list[float] = []
    failing = 4
    real = runtime.client.list

    async def flaky(*args: Any, **kwargs: Any) -> Any:
        if len(waits) < failing:
            raise StoreUnavailableError("no")
        return await real(*args, **kwargs)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    runtime.client.list = flaky  # type: ignore[method-assign]
    informer, _ = start(sleep=sleep, base_s=1.0, cap_s=4.0)
    await informer.synced.wait()
    assert informer.error is None
    assert [round(wait + 0.06) for wait in waits] == [1, 2, 4, 4]


async def test_a_kind_that_is_not_registered_cannot_be_followed(runtime: MiniRuntime) -> None:
    with pytest.raises(UnknownKindError):
        Informer(runtime.client, MAIN_GROUP, "Workflow").start()


async def test_the_index_knows_who_refers_to_a_resource_that_does_not_exist(runtime: MiniRuntime, start: Any) -> None:
    informer, seen = start()
    await runtime.apply([manifest("Agent", "a", tools=["t", "other.u", "t"]), manifest("Agent", "b", tools=["t"])])
    await seen.until(("added", "a"), ("added", "b"))
    index = informer.index
    assert index.referrers(tool("t")) == (agent("a"), agent("b"))
    assert index.targets(agent("a")) == (tool("t"), tool("u")._replace(namespace="other"))
    await runtime.apply([manifest("Agent", "a", tools=["v"])])
    await seen.until(("updated", "a"))
    assert index.referrers(tool("t")) == (agent("b"),)
    assert index.referrers(tool("v")) == (agent("a"),)
    await runtime.client.delete(agent("b"))
    await seen.until(("deleted", "b"))
    assert index.referrers(tool("t")) == ()


async def test_references_that_cannot_be_read_are_none(runtime: MiniRuntime, start: Any) -> None:
    informer, seen = start()
    await runtime.apply([manifest("Agent", "a", tools=["a/b/c/d"])])
    await seen.until(("added", "a"))
    assert informer.index.targets(agent("a")) == ()


def test_an_emptied_index_holds_nothing() -> None:
    index = ReferenceIndex()
    index.set(agent("a"), [tool("t"), tool("u")])
    index.set(agent("a"), [])
    index.set(agent("b"), [])
    assert (index._referrers, index._targets) == ({}, {})


async def test_clear_tells_that_everything_is_gone(runtime: MiniRuntime, start: Any) -> None:
    await runtime.apply([manifest("Agent", "a", tools=["t"])])
    informer, seen = start()
    await seen.until(("added", "a"))
    await informer.stop()
    informer.clear()
    await seen.until(("deleted", "a"))
    assert informer.index.referrers(tool("t")) == ()
