"""What an operator does to a store on a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.errors import ExpiredError, NotFoundError, SchemaVersionError, StoreError, UserError
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    PutBlob,
    ReleaseRun,
    SendSignal,
    SetState,
    UpdateResource,
)
from kastra_core.protocols.store_admin import StoreAdmin
from kastra_core.testing._store_tools import key_of, make, take
from kastra_plugin_libsql.admin import open_admin
from kastra_plugin_libsql.store import open_store

pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")

SECRET = "s3cr3t-token-of-the-test"
LARGE = "x" * 3_000_000


@pytest.fixture(params=["ws", "http"])
async def server(request: pytest.FixtureRequest, hrana: Any, tmp_path: Path) -> AsyncIterator[Any]:
    async with hrana.HranaServer(tmp_path / "kastra.db", token=SECRET) as server:
        server.scheme = request.param
        yield server


@pytest.fixture
def admin(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreAdmin:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return open_admin(server.url(server.scheme), {"auth_token": SECRET, "timeout_s": 10})


async def opened(server: Any, **options: Any) -> Any:
    return await open_store(server.url(server.scheme), {"auth_token": SECRET, "timeout_s": 10, **options})


async def fill(store: Any, name: str = "a") -> None:
    await store.commit(
        [
            CreateResource(make(name, owners=("u",), labels={"x": "1"})),
            ClaimRun(f"run-{name}", key_of("run", kind="Run"), "w"),
            AppendRecord(f"run-{name}", "p", {"large": LARGE}, 1),
            SendSignal(f"run-{name}", "go", {"n": 1}),
            SetState(f"s-{name}", {"k": [1], "large": LARGE}),
            AppendMessages("default", name, [{"n": 1}, {"n": 2}]),
            PutBlob(b"\0" + LARGE.encode()),
        ]
    )
    await store.vectors.upsert(name, [("v", [1.0, 0.0], {"m": 1})])
    await store.leases.acquire(f"l-{name}", "w", 60, {"d": 1})


async def compare(store: Any, name: str = "a") -> None:
    found = await store.resources.get(key_of(name))
    assert found is not None
    assert [r.metadata.name for r in (await store.resources.list("", "", owner_uid="u")).items] == [name]
    assert sum((await store.resources.counts()).values()) == len((await store.resources.list("", "")).items)
    assert [r.record for r in await store.journal.records(f"run-{name}")] == [{"large": LARGE}]
    assert [s.payload for s in await store.journal.signals(f"run-{name}")] == [{"n": 1}]
    assert await store.state.get_state(f"s-{name}") == {"k": [1], "large": LARGE}
    assert [m.message["n"] for m in await store.threads.messages("default", name)] == [1, 2]
    assert [m.id for m in await store.vectors.query(name, [1.0, 0.0])] == ["v"]


async def test_the_status_tells_what_is_there(server: Any, admin: StoreAdmin) -> None:
    status = await admin.status()
    assert (status.exists, status.schema, status.problems) == (False, 0, ())
    store = await opened(server)
    await fill(store)
    await store.leases.acquire("worker/w1", "w1", 60)
    status = await admin.status()
    await store.aclose()
    assert (status.exists, status.schema, status.latest_schema, status.problems) == (True, 3, 3, ())
    assert status.written_by.startswith("kastra-plugin-libsql ")
    assert status.workers == ("worker/w1",)
    assert status.size_bytes > 3_000_000
    assert {facet.name: facet.items for facet in status.facets}["journal"] == 1
    assert SECRET not in repr(status)
    await server.stop()
    gone = open_admin(server.url(server.scheme), {"auth_token": SECRET, "timeout_s": 0.3})
    assert "no answer within" in (await gone.status()).problems[0]


async def test_what_is_not_there_is_not_found(admin: StoreAdmin, tmp_path: Path) -> None:
    for action in (admin.check(), admin.backup(tmp_path / "b"), admin.migrate(), admin.compact()):
        with pytest.raises(NotFoundError):
            await action


async def test_a_sound_store_has_no_problems_and_a_broken_one_has(server: Any, admin: StoreAdmin) -> None:
    store = await opened(server)
    await fill(store)
    await store.aclose()
    report = await admin.check()
    assert report.problems == ()
    assert report.checked["blobs"] >= 3
    server.query("UPDATE blobs SET data = x'00' WHERE id = (SELECT min(id) FROM blobs)")
    server.query("DELETE FROM log")
    problems = "\n".join((await admin.check()).problems)
    assert "has other bytes than its digest says" in problems
    assert "has no present version in the log" in problems


async def test_a_backup_is_a_file_that_the_file_store_opens(server: Any, admin: StoreAdmin, tmp_path: Path) -> None:
    store = await opened(server)
    await fill(store)
    version = (await store.resources.list("", "")).resource_version
    await store.aclose()
    info = await admin.backup(tmp_path / "copy.db")
    assert info.resource_version == version
    assert info.items["threads"] == info.items["vectors"] == 1
    with pytest.raises(UserError, match="is there already"):
        await admin.backup(tmp_path / "copy.db")
    file = open_admin(f"file:{tmp_path}/copy.db", {})
    assert (await file.check()).problems == ()
    copy = await open_store(f"file:{tmp_path}/copy.db", {})
    await compare(copy)
    await copy.commit([SendSignal("r", "next")])
    await copy.aclose()


async def test_a_backup_under_load_is_of_one_moment(server: Any, admin: StoreAdmin, tmp_path: Path) -> None:
    import asyncio

    store = await opened(server)
    done = asyncio.Event()

    async def write() -> int:
        n = 0
        while not done.is_set():
            await store.commit([CreateResource(make(f"n{n:04}", text="x" * 20_000)), SetState("s", {f"k{n:04}": n})])
            n += 1
        return n

    writing = asyncio.ensure_future(write())
    for n in range(3):
        await asyncio.sleep(0.1)
        info = await admin.backup(tmp_path / f"copy{n}.db")
        assert info.items["resources"] == info.items["state"] > 0
        assert (await open_admin(f"file:{tmp_path}/copy{n}.db", {}).check()).problems == ()
    done.set()
    assert await writing > info.items["resources"]
    await store.aclose()


async def test_a_restore_brings_the_backup_and_keeps_what_was_there(
    server: Any, admin: StoreAdmin, tmp_path: Path
) -> None:
    store = await opened(server)
    await fill(store)
    await store.aclose()
    await admin.backup(tmp_path / "copy.db")
    store = await opened(server, poll_s=0.02)
    watch = store.resources.watch("", "")
    [later] = await store.commit([CreateResource(make("later", kind="NewKind"))])
    assert (await take(watch, 1))[0].resource == later
    report = await admin.restore(tmp_path / "copy.db")
    assert report.items["resources"] == 1
    assert report.kept is not None
    assert report.kept.parent == Path.cwd()
    assert await store.resources.get(later.key) is None
    await compare(store)
    with pytest.raises(ExpiredError):
        await take(watch, 1)
    [next_] = await store.commit([CreateResource(make("next"))])
    assert int(next_.metadata.resource_version) > int(later.metadata.resource_version)
    await store.aclose()
    assert (await admin.check()).problems == ()
    assert server.query("SELECT count(*) FROM sqlite_master WHERE name GLOB 'restore_*'") == [(0,)]
    kept = await open_store(f"file:{report.kept}", {})
    assert await kept.resources.get(later.key) == later
    await kept.aclose()


async def test_a_restore_is_refused_while_workers_use_the_store_or_when_somebody_writes(
    server: Any, admin: StoreAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kastra_plugin_libsql._remote import copies

    store = await opened(server)
    [old] = await store.commit([CreateResource(make("a"))])
    await admin.backup(tmp_path / "copy.db")
    await store.leases.acquire("worker/w1", "w1", 60)
    with pytest.raises(UserError, match="workers use the store"):
        await admin.restore(tmp_path / "copy.db")
    await store.leases.release("worker/w1", "w1")
    send = copies.send_tables

    async def send_and_write(*arguments: Any) -> Any:
        found = await send(*arguments)
        await store.commit([UpdateResource(old.evolve(spec={"n": 1}))])
        return found

    monkeypatch.setattr(copies, "send_tables", send_and_write)
    with pytest.raises(UserError, match="left as it was"):
        await admin.restore(tmp_path / "copy.db")
    found = await store.resources.get(old.key)
    assert found is not None
    assert found.spec == {"n": 1}
    await store.aclose()
    with pytest.raises(UserError, match="no backup"):
        await admin.restore(tmp_path / "missing.db")


async def test_a_restore_into_an_empty_database_makes_it(server: Any, admin: StoreAdmin, tmp_path: Path) -> None:
    file = await open_store(f"file:{tmp_path}/file.db", {})
    await fill(file)
    await file.aclose()
    await open_admin(f"file:{tmp_path}/file.db", {}).backup(tmp_path / "copy.db")
    await admin.restore(tmp_path / "copy.db")
    store = await opened(server)
    await compare(store)
    await store.aclose()


async def test_a_schema_goes_down_and_up_with_a_backup(server: Any, admin: StoreAdmin) -> None:
    store = await opened(server)
    await fill(store)
    await store.commit([ReleaseRun("run-a", 1)])
    await store.leases.release("l-a", "w")
    await store.aclose()
    tried = await admin.migrate(1, dry_run=True)
    assert (tried.before, tried.after, tried.dry_run, tried.backup) == (3, 1, True, None)
    assert (await admin.status()).schema == 3
    down = await admin.migrate(1)
    assert [step.direction for step in down.steps] == ["down", "down"]
    assert down.backup is not None
    assert down.backup.path.parent == Path.cwd()
    assert "127.0.0.1" in down.backup.path.name
    assert (await admin.status()).problems == ("schema 1 is too old; run `kastra store migrate`",)
    with pytest.raises(SchemaVersionError, match="kastra store migrate"):
        await opened(server)
    up = await admin.migrate()
    assert (up.before, up.after) == (1, 3)
    assert (await admin.check()).problems == ()
    store = await opened(server)
    await compare(store)
    await store.leases.acquire("worker/w1", "w1", 60)
    await store.aclose()
    with pytest.raises(UserError, match="workers use the store"):
        await admin.migrate(1)
    with pytest.raises(UserError, match="cannot be brought"):
        await admin.migrate(7)


async def test_compacting_removes_what_is_not_needed(server: Any) -> None:
    store = await opened(server)
    [made] = await store.commit([CreateResource(make("a"))])
    for _ in range(20):
        await store.commit([UpdateResource(made)] * 10)
    await store.state.set_value("s", "k", 1, ttl_s=0.0)
    await store.leases.acquire("l", "w", 0.0)
    admin = open_admin(server.url(server.scheme), {"auth_token": SECRET, "history_events": 10})
    report = await admin.compact()
    assert report.removed["history"] == 191
    assert (report.removed["state"], report.removed["leases"]) == (1, 1)
    assert (await admin.check()).problems == ()
    await store.commit([UpdateResource(made)])
    await store.aclose()


async def test_no_error_of_an_operator_names_the_token(server: Any, tmp_path: Path) -> None:
    server.faults.refuse_tokens()
    admin = open_admin(server.url(server.scheme), {"auth_token": SECRET})
    assert "refused the token" in (await admin.status()).problems[0]
    with pytest.raises(StoreError, match="refused the token") as caught:
        await admin.backup(tmp_path / "b")
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {admin!r}"
