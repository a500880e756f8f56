"""A process is killed in the middle of a pass: nothing is left by half, and the next pass finishes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store

RUNS, YOUNG = 2000, 10
ENFORCE = """\
import asyncio, sys
from kastra_core.controller import Request
from kastra_core.runtime import RuntimeManager
from kastra_plugin_retention.controller import RetentionController
from kastra_plugin_retention.enforcement import Pass

batch = Pass._batch

async def told(self, *args):
    count = await batch(self, *args)
    print(self._outcome.removed["runs"], flush=True)
    return count

async def main():
    Pass._batch = told
    runtime = await RuntimeManager.open(sys.argv[1], controllers=False)
    controller = RetentionController(runtime)
    await controller.reconcile(Request("", "default"))
    await controller.finished()
    print("finished", flush=True)

asyncio.run(main())
"""


async def test_what_a_killed_pass_left_is_done_by_the_next_one(
    tmp_path: Path, clock: Any, world_of: Callable[..., Any]
) -> None:
    clock.now_s = time.time()  # the other process goes by the real one
    url = f"file:{tmp_path}/kastra.db"
    store = await open_store(url, {"clock": clock})
    try:
        world = world_of(store, clock)
        made = await asyncio.gather(
            *(world.run(f"r{number:04}", age_s=864_000, blob=b"%04d" % number * 1000) for number in range(RUNS)),
            *(world.run(f"y{number}") for number in range(YOUNG)),
        )
        await world.policy(runs=[{"ttl": "7d"}])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ENFORCE, url, stdout=subprocess.PIPE, cwd=tmp_path
        )
        assert process.stdout is not None
        async with asyncio.timeout(40):
            while int(await process.stdout.readline()) < RUNS // 4:
                pass
            process.kill()
            rest, _ = await process.communicate()
        assert b"finished" not in rest
        clock.now_s = time.time()  # its lease counts from when it was taken

        left = set(await world.names())
        assert YOUNG < len(left) <= RUNS + YOUNG - RUNS // 4
        # Each run went as a whole, or stayed as a whole.
        for run in made[::17]:
            there = run.metadata.name in left
            assert bool(await store.journal.records(run.metadata.uid)) == there
            assert bool(await store.journal.signals(run.metadata.uid)) == there

        await world.reconcile()
        assert set(await world.names()) == left  # it still has the lease
        clock.advance(31)
        await world.reconcile()
        assert await world.names() == [f"y{number}" for number in range(YOUNG)]
        status = await world.status()
        assert status["lastRun"]["removed"] == {"runs": len(left) - YOUNG}
        assert (status["lastRun"]["failed"], status["remaining"]) == (0, {"runs": YOUNG})
    finally:
        await store.aclose()
    admin = open_admin(url, {})
    assert (await admin.check()).problems == ()
    items = {facet.name: facet.items for facet in (await admin.status()).facets}
    assert (items["journal"], items["signals"], items["blobs"]) == (YOUNG, YOUNG, 0)
