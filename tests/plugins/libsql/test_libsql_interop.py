"""Other programs read and write the live file: the library ``libsql-client``, and a server that serves it.

They are processes of their own: two SQLite libraries in one process take each other's locks away.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey
from kastra_core.protocols.store import AppendRecord, ClaimRun, CreateResource, SetState
from kastra_core.testing._store_tools import make, take
from kastra_plugin_libsql.store import open_store

pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")

PROGRAM = """
import asyncio, json, sys
import libsql_client

async def main():
    async with libsql_client.create_client("file:" + sys.argv[1]) as client:
        names = [row["name"] for row in (await client.execute("SELECT name FROM resources ORDER BY name")).rows]
        rows = (await client.execute("SELECT key, value FROM state")).rows
        state = {row["key"]: json.loads(row["value"]) for row in rows}
        print(json.dumps({"names": names, "state": state}))
        for n in range(20):
            body = json.dumps({"apiVersion": "t/v1", "kind": "Guest", "metadata": {"name": f"g{n:02}", "uid": f"u{n}"}})
            await client.batch([
                ("INSERT INTO kinds (grp, kind) VALUES ('t', 'Guest') ON CONFLICT DO NOTHING",),
                ("INSERT INTO log (rv, type, kind, time, namespace, name, body) SELECT max(rv) + 1, 0,"
                 " (SELECT id FROM kinds WHERE kind = 'Guest'), 0, '', ?, ? FROM log", (f"g{n:02}", body.encode())),
                ("INSERT INTO resources (kind, namespace, name, rv, uid)"
                 " SELECT kind, namespace, name, rv, ? FROM log ORDER BY rv DESC LIMIT 1", (f"u{n}",)),
                ("INSERT INTO state (scope, key, value) VALUES ('s', ?, ?)", (f"guest{n:02}", str(n).encode())),
                ("INSERT OR REPLACE INTO scopes (scope, token) VALUES ('s', ?)", (1000 + n,)),
            ])

asyncio.run(main())
"""


def whole(path: Path) -> bool:
    connection = apsw.Connection(str(path))
    [[answer]] = connection.execute("PRAGMA integrity_check")
    connection.close()
    return bool(answer == "ok")


async def test_libsql_client_reads_and_writes_the_file_that_a_store_has_open(tmp_path: Path) -> None:
    path = tmp_path / "kastra.db"
    store = await open_store(f"file:{path}", {})
    await store.commit([CreateResource(make("own")), SetState("s", {"own": {"n": 1}})])
    watch, states = store.resources.watch("t", "Guest"), store.state.watch_state("s")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    # The store goes on writing while the other program does; that one does not wait for locks, so not too often.
    events = await take(watch, 20)
    printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    assert b'"names": ["own"]' in printed
    assert b'"state": {"own": {"n": 1}}' in printed
    assert [event.resource.metadata.name for event in events] == [f"g{n:02}" for n in range(20)]
    assert await store.state.get_value("s", "guest07") == 7
    assert (await take(states, 1))[0]["own"] == {"n": 1}
    guest = await store.resources.get(ResourceKey("t", "Guest", "", "g03"))
    assert guest is not None
    assert guest.metadata.uid == "u3"
    resource = Resource(api_version="t/v1", kind="Guest", metadata=ObjectMeta(name="after", uid="x"))
    [after] = await store.commit([CreateResource(resource)])
    assert int(after.metadata.resource_version) == int(events[-1].resource.metadata.resource_version) + 1
    assert len((await store.resources.list("t", "Guest")).items) == 21
    await store.aclose()
    assert whole(path)


async def test_a_store_on_the_file_and_one_through_a_server_see_each_other(hrana: Any, tmp_path: Path) -> None:
    path = tmp_path / "kastra.db"
    with hrana.HranaProcess(path, token="t") as server:
        remote = await open_store(server.url("ws"), {"auth_token": "t", "poll_s": 0.02})
        embedded = await open_store(f"file:{path}", {})
        here, there = embedded.resources.watch("", ""), remote.resources.watch("", "")
        collecting = asyncio.gather(take(here, 40), take(there, 40))

        async def write(store: Any, prefix: str) -> None:
            for n in range(20):
                await store.commit([CreateResource(make(f"{prefix}{n:02}"))])

        await asyncio.gather(write(remote, "r"), write(embedded, "e"))
        seen_here, seen_there = await collecting
        assert seen_here == seen_there
        # Payloads outside their rows are the same on both sides, and go with their rows.
        large = {"text": "x" * 200_000}
        key = ResourceKey("t", "Run", "", "r")
        await remote.commit([ClaimRun("r", key, "w"), AppendRecord("r", "p", large, 1), SetState("s", {"k": large})])
        assert [record.record for record in await embedded.journal.records("r")] == [large]
        assert await embedded.state.get_state("s") == {"k": large}
        await embedded.state.set_value("s", "k", {"text": "y" * 200_000})
        assert await remote.state.get_state("s") == {"k": {"text": "y" * 200_000}}
        await embedded.aclose()
        await remote.aclose()
    again = await open_store(f"file:{path}", {})
    assert len((await again.resources.list("", "")).items) == 40
    await again.aclose()
    assert whole(path)
