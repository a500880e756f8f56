"""Under a policy the database file stops growing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kastra_core.protocols.store import AppendMessages, PutBlob
from kastra_plugin_libsql.store import open_store

ROUNDS = 30


def size(path: Path) -> int:
    """Bytes of a database file and its write-ahead log."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


async def test_the_file_reaches_a_plateau(tmp_path: Path, clock: Any, world_of: Callable[..., Any]) -> None:
    path = tmp_path / "kastra.db"
    store = await open_store(f"file:{path}", {"clock": clock, "durability": "relaxed", "history_events": 400})
    world = world_of(store, clock)
    await world.policy(
        runs=[{"phases": ["Succeeded"], "maxCount": 40}, {"phases": ["Failed"], "ttl": "1h"}],
        events={"maxCount": 40},
        threads={"maxCount": 20},
    )
    sizes, digests = [], []
    try:
        for number in range(ROUNDS):

            async def one(n: int, number: int = number) -> None:
                name = f"r{number:03}-{n:03}"
                data = f"result {name} ".encode() * 600
                run = await world.run(name, "Failed" if n % 5 == 0 else "Succeeded", blob=data)
                if n == 59:
                    digests.append((await store.commit([PutBlob(data, run.metadata.uid)]))[0])
                await world.event(f"e{number:03}-{n:03}")
                message = {"role": "user", "text": f"{name} " * 100}
                await store.commit([AppendMessages("default", f"t{number:03}-{n % 10}", (message,))])

            await asyncio.gather(*(one(n) for n in range(60)))
            clock.advance(1200)
            await world.reconcile()
            sizes.append(size(path))
        status = await world.status()
        assert len(await world.threads()) == 20
        assert status["remaining"] == {"runs": 40 + 2 * 12, "events": 40, "threads": 20}
        there = [await store.blobs.has(digest) for digest in digests]
    finally:
        await store.aclose()
    half = ROUNDS // 2
    assert max(sizes[half:]) <= 1.1 * max(sizes[:half])
    assert there == [False] * (ROUNDS - 1) + [True]
