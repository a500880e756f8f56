"""A server that is killed under load loses nothing that it acknowledged, and the store does nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kastra_core.protocols.store import AppendMessages, CreateResource, SetState
from kastra_core.testing._store_tools import make, take
from kastra_plugin_libsql.store import open_store

pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_kill_9_under_load_loses_nothing_and_repeats_nothing(hrana: Any, tmp_path: Path, scheme: str) -> None:
    with hrana.HranaProcess(tmp_path / "kastra.db", token="t") as server:
        options = {"auth_token": "t", "timeout_s": 30, "poll_s": 0.02}
        store, other = await open_store(server.url(scheme), options), await open_store(server.url(scheme), options)
        watch = other.resources.watch("", "")
        tasks, each = 8, 30
        seen = asyncio.ensure_future(take(watch, tasks * each))
        done = 0
        progress = asyncio.Event()

        async def write(task: int) -> None:
            nonlocal done
            for n in range(each):
                results = await store.commit(
                    [
                        CreateResource(make(f"t{task}-{n:02}")),
                        AppendMessages("n", f"t{task}", [{"n": n}], expected_seq=n),
                        SetState(f"s{task}", {f"k{n:02}": n}),
                    ]
                )
                assert results[1] == n + 1
                done += 1
                progress.set()

        writing = asyncio.gather(*(write(task) for task in range(tasks)))
        for kill_at in (40, 110, 180):
            while done < kill_at:
                progress.clear()
                await progress.wait()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await writing
        page = await store.resources.list("", "")
        assert len(page.items) == tasks * each
        for task in range(tasks):
            messages = await other.threads.messages("n", f"t{task}")
            assert [message.message["n"] for message in messages] == list(range(each))
            assert await other.state.get_state(f"s{task}") == {f"k{n:02}": n for n in range(each)}
        versions = [int(event.resource.metadata.resource_version) for event in await seen]
        assert versions == sorted(set(versions))
        assert {event.resource.metadata.name for event in seen.result()} == {item.metadata.name for item in page.items}
        await store.aclose()
        await other.aclose()
