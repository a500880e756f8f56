"""What the store on a server does when the connection, the server or the token fails."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from kastra_core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    ExpiredError,
    MissingDependencyError,
    NotFoundError,
    SchemaVersionError,
    StoreError,
    StoreUnavailableError,
)
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteResource,
    PutBlob,
    SendSignal,
    SetState,
    UpdateResource,
)
from kastra_core.testing._store_tools import key_of, make, take
from kastra_plugin_libsql._remote.store import RemoteStore, open_remote
from kastra_plugin_libsql.store import open_store

pytest.importorskip("libsql_client", reason="the optional library libsql-client is not installed")

COMMIT = "INSERT INTO commits"
SECRET = "s3cr3t-token-of-the-test"
Open: TypeAlias = Callable[..., Awaitable[RemoteStore]]


@pytest.fixture(params=["ws", "http"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def server(hrana: Any, tmp_path: Path) -> AsyncIterator[Any]:
    async with hrana.HranaServer(tmp_path / "kastra.db", token=SECRET) as server:
        yield server


@pytest.fixture
async def connect(server: Any, scheme: str) -> AsyncIterator[Open]:
    """Opens stores on the server and closes them at the end."""
    opened: list[RemoteStore] = []

    async def open_(**options: Any) -> RemoteStore:
        given = {"auth_token": SECRET, "poll_s": 0.02, "timeout_s": 10.0, **options}
        store = await open_remote(server.url(scheme), given)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        await store.aclose()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens, no task or future of the library complains that nobody asked how it ended."""
    yield
    gc.collect()
    records = [record for phase in ("setup", "call", "teardown") for record in caplog.get_records(phase)]
    complaints = [record.getMessage() for record in records if record.name == "asyncio"]
    assert [text for text in complaints if not text.startswith("Using selector")] == []


async def sent(store: RemoteStore) -> list[str]:
    page = await store.resources.list("", "")
    return [item.metadata.name for item in page.items]


# ------------------------------------------------------------------------------------------ cut connections


@pytest.mark.parametrize("cut", ["cut_before", "cut_after", "cut_in_batch"])
async def test_a_commit_whose_connection_is_cut_is_done_exactly_once(server: Any, connect: Open, cut: str) -> None:
    store = await connect()
    await store.commit([ClaimRun("r", key_of("r", kind="Run"), "w")])
    arguments = {"steps": 4} if cut == "cut_in_batch" else {}
    getattr(server.faults, cut)(match=COMMIT, **arguments)
    results = await store.commit(
        [
            CreateResource(make("a", uid="u")),
            AppendMessages("n", "t", [{"m": 1}]),
            SendSignal("r", "go", signal_id=""),
            AppendRecord("r", "p", {"x": 1}, 1),
            DeleteResource(key_of("a")),
            PutBlob(b"bytes"),
        ]
    )
    assert results[0].metadata.name == results[4].metadata.name == "a"
    assert int(results[4].metadata.resource_version) == int(results[0].metadata.resource_version) + 1
    assert results[1:4] == [1, True, None]
    assert await store.threads.last_seq("n", "t") == 1
    assert len(await store.journal.signals("r")) == 1
    assert len(await store.journal.records("r")) == 1
    assert await sent(store) == []


async def test_the_question_how_a_commit_ended_may_be_cut_too(server: Any, connect: Open) -> None:
    store = await connect()
    server.faults.cut_after(match=COMMIT, times=3)
    assert await store.commit([AppendMessages("n", "t", [{"m": 1}])]) == [1]
    assert await store.threads.last_seq("n", "t") == 1


async def test_a_batch_that_was_given_up_never_happens_late(server: Any, connect: Open) -> None:
    store = await connect()
    # The first batch is held on the server; its connection is cut while it waits, the question overtakes it.
    server.faults.hold()
    committing = asyncio.ensure_future(store.commit([AppendMessages("n", "t", [{"m": 1}])]))
    await asyncio.wait_for(server.log.wait("batch", 3), 10)
    await server.close_all()
    server.faults.release()
    assert await committing == [1]
    assert await store.threads.last_seq("n", "t") == 1


async def test_a_batch_that_arrives_after_the_question_fails(
    server: Any, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kastra_plugin_libsql._remote.errors import Lost, SqlFailed

    store = await connect()
    once = store.server.once
    late: list[Any] = []

    async def delayed(statements: Any, timeout_s: float) -> Any:
        if not late and COMMIT in statements[0][0]:
            late.extend(statements)  # on its way somewhere, while its sender gives it up
            raise Lost("cut")
        return await once(statements, timeout_s)

    monkeypatch.setattr(store.server, "once", delayed)
    assert await store.commit([AppendMessages("n", "t", [{"m": 1}])]) == [1]
    with pytest.raises(SqlFailed, match=r"commits\.token"):
        await once(late, 10)
    assert await store.threads.last_seq("n", "t") == 1


async def test_of_a_group_whose_connection_is_cut_each_commit_has_its_own_outcome(server: Any, connect: Open) -> None:
    store = await connect()
    await store.commit([CreateResource(make("taken"))])
    for cut in (server.faults.cut_before, server.faults.cut_after):
        cut(match=COMMIT)
        names = [f"{cut.__name__}{n}" for n in range(10)]
        outcomes = await asyncio.gather(
            *(store.commit([CreateResource(make(name)), SetState("s", {name: 1})]) for name in names),
            store.commit([CreateResource(make("new")), CreateResource(make("taken"))]),
            return_exceptions=True,
        )
        assert isinstance(outcomes[-1], AlreadyExistsError)
        assert all(isinstance(outcome, list) for outcome in outcomes[:-1])
    assert len(await store.state.get_state("s")) == 20
    assert len(await sent(store)) == 21


async def test_conditions_are_told_even_when_the_first_answer_was_lost(server: Any, connect: Open) -> None:
    store = await connect()
    [made] = await store.commit([CreateResource(make("a"))])
    await store.commit([UpdateResource(made)])
    server.faults.cut_after(match=COMMIT)
    with pytest.raises(ConflictError):
        await store.commit([UpdateResource(made, made.metadata.resource_version)])
    server.faults.cut_after(match=COMMIT)
    with pytest.raises(NotFoundError):
        await store.commit([DeleteResource(key_of("missing"))])


async def test_reads_survive_cut_connections(server: Any, connect: Open) -> None:
    store = await connect()
    [made] = await store.commit([CreateResource(make("a"))])
    server.faults.cut_before(times=2)
    assert await store.resources.get(made.key) == made
    server.faults.cut_after(times=2)
    assert await sent(store) == ["a"]


async def test_idle_connections_that_the_server_closed_are_replaced(server: Any, connect: Open) -> None:
    store = await connect()
    [made] = await store.commit([CreateResource(make("a"))])
    await server.close_all()
    assert await store.resources.get(made.key) == made
    await server.close_all()
    assert len(await store.commit([CreateResource(make("b"))])) == 1
    await server.close_all(1001)
    assert len(await store.commit([CreateResource(make("c"))])) == 1


# ------------------------------------------------------------------------------------------ the server


async def test_503_is_tried_again(server: Any, connect: Open) -> None:
    server.faults.unavailable(2)
    store = await connect()
    await server.close_all()
    server.faults.unavailable(3)
    assert len(await store.commit([CreateResource(make("a"))])) == 1
    assert await sent(store) == ["a"]


async def test_a_server_that_stays_away_is_named_with_the_time(server: Any, connect: Open) -> None:
    store = await connect(timeout_s=0.5)
    await server.stop()
    with pytest.raises(StoreUnavailableError, match=r"no answer within 0\.[45] s") as caught:
        await store.resources.counts()
    assert "check that the server runs" in str(caught.value)
    with pytest.raises(StoreUnavailableError, match="not known whether the commit was carried out"):
        await store.commit([CreateResource(make("a"))])


async def test_opening_without_a_server_fails_soon(hrana: Any, tmp_path: Path, scheme: str) -> None:
    async with hrana.HranaServer(tmp_path / "gone.db") as server:
        url = server.url(scheme)
    with pytest.raises(StoreUnavailableError, match="no answer within"):
        await open_store(url, {"timeout_s": 0.3})


async def test_a_slow_server_is_waited_for(server: Any, connect: Open) -> None:
    store = await connect(timeout_s=5)
    server.faults.delay(0.3, n=3)
    assert await store.commit([AppendMessages("n", "t", [{"m": 1}])]) == [1]
    assert await store.threads.last_seq("n", "t") == 1


async def test_an_answer_that_comes_too_late_leaves_the_commit_done_once(server: Any, connect: Open) -> None:
    store = await connect(timeout_s=2)
    server.faults.delay(1.6, n=1)  # longer than one try may take
    assert await store.commit([AppendMessages("n", "t", [{"m": 1}])]) == [1]
    server.faults.clear()
    assert await store.threads.last_seq("n", "t") == 1


async def test_a_restart_is_survived_by_commits_and_watches(server: Any, connect: Open) -> None:
    store, other = await connect(), await connect()
    watch = other.resources.watch("", "")
    collecting = asyncio.ensure_future(take(watch, 60))

    async def write(prefix: str) -> None:
        for n in range(20):
            await store.commit([CreateResource(make(f"{prefix}{n:02}"))])

    writing = asyncio.gather(write("a"), write("b"), write("c"))
    await asyncio.sleep(0.05)
    await server.restart()
    await asyncio.sleep(0.05)
    await server.restart()
    await writing
    events = await collecting
    assert [event.type for event in events] == ["ADDED"] * 60
    versions = [int(event.resource.metadata.resource_version) for event in events]
    assert versions == sorted(set(versions))
    assert sorted(event.resource.metadata.name for event in events) == await sent(store)


async def test_two_clients_at_once_make_the_tables_once(server: Any, connect: Open) -> None:
    first, second, third = await asyncio.gather(connect(), connect(), connect())
    await first.commit([CreateResource(make("a"))])
    assert await sent(second) == await sent(third) == ["a"]


async def test_two_clients_at_once_share_one_order(server: Any, connect: Open) -> None:
    stores = [await connect(), await connect()]
    [made] = await stores[0].commit([CreateResource(make("counter", n=0))])

    async def count(store: RemoteStore) -> None:
        done = 0
        while done < 10:
            old = await store.resources.get(made.key)
            assert old is not None
            try:
                new = old.evolve(spec={"n": old.spec["n"] + 1})
                await store.commit([UpdateResource(new, old.metadata.resource_version)])
            except ConflictError:
                continue
            done += 1

    await asyncio.gather(*(count(store) for store in stores for _ in range(3)))
    found = await stores[1].resources.get(made.key)
    assert found is not None
    assert found.spec == {"n": 60}


async def test_a_statement_that_fails_for_another_reason_is_an_error_of_its_commit_alone(
    server: Any, connect: Open
) -> None:
    store = await connect()
    good = store.commit([CreateResource(make("good"))])
    # A blob of a claim's time: STRICT tables refuse it.
    bad = store.commit([ClaimRun("r", key_of("r", kind="Run"), "w", wake_at_s="soon")])  # type: ignore[arg-type]
    outcomes = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[1], StoreError)
    assert await sent(store) == ["good"]


@pytest.mark.parametrize("wake_at_s", [float("inf"), 2**70, "half a pair \ud800", object()])
async def test_a_value_that_cannot_be_sent_is_an_error_of_its_commit_alone(
    server: Any, connect: Open, wake_at_s: Any
) -> None:
    store = await connect()
    commits = [
        store.commit([CreateResource(make("first"))]),
        store.commit([CreateResource(make("lost")), ClaimRun("r", key_of("r", kind="Run"), "w", wake_at_s=wake_at_s)]),
        store.commit([CreateResource(make("last"))]),
    ]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert isinstance(outcomes[1], (OverflowError, TypeError, ValueError))
    assert [isinstance(outcome, list) for outcome in outcomes] == [True, False, True]
    assert await sent(store) == ["first", "last"]


async def test_what_fails_in_a_large_commit_leaves_no_parts_of_it(server: Any, connect: Open) -> None:
    store = await connect()
    await store.commit([CreateResource(make("a"))])
    with pytest.raises(AlreadyExistsError):
        await store.commit([PutBlob(b"x" * 3_000_000), CreateResource(make("a"))])
    await store.aclose()
    assert server.query("SELECT count(*) FROM blobs") == server.query("SELECT count(*) FROM holds") == [(0,)]


async def test_closing_finishes_a_large_commit_that_is_being_sent(server: Any, connect: Open) -> None:
    store = await connect()
    pending = asyncio.ensure_future(store.commit([PutBlob(b"x" * 3_000_000)]))
    await asyncio.wait_for(server.log.wait("batch", 3), 10)
    await store.aclose()
    [digest] = await pending
    again = await connect()
    assert len(await again.blobs.get(digest)) == 3_000_000
    assert server.query("SELECT count(*) FROM blobs") == [(1,)]


async def test_more_than_a_message_holds_comes_in_pages(server: Any, connect: Open) -> None:
    store = await connect()
    text = "é" * 20_000
    names = [f"n{n:03}" for n in range(300)]
    for start in range(0, 300, 50):
        await store.commit([CreateResource(make(name, text=text)) for name in names[start : start + 50]])
    await store.commit([ClaimRun("r", key_of("r", kind="Run"), "w")])
    for start in range(0, 120, 20):
        await store.commit([AppendRecord("r", f"p{n:03}", text, 1) for n in range(start, start + 20)])
        await store.commit([SendSignal("r", "s", text) for n in range(20)])
        await store.commit([AppendMessages("n", "t", [{"text": text, "n": n} for n in range(start, start + 20)])])
        await store.commit([SetState("s", {f"k{n:03}": text for n in range(start, start + 20)})])
    page = await store.resources.list("", "")
    assert [(item.metadata.name, item.spec["text"]) for item in page.items] == [(name, text) for name in names]
    found = await store.resources.get_many([item.key for item in page.items])
    assert list(found.values()) == list(page.items)
    assert [(r.path, r.record) for r in await store.journal.records("r")] == [(f"p{n:03}", text) for n in range(120)]
    assert [s.payload for s in await store.journal.signals("r")] == [text] * 120
    assert [m.message["n"] for m in await store.threads.messages("n", "t", last=100)] == list(range(20, 120))
    assert await store.state.get_state("s") == {f"k{n:03}": text for n in range(120)}
    events = await take(store.resources.watch("", "", since="0"), 300)
    assert [event.resource for event in events] == list(page.items)


# ------------------------------------------------------------------------------------------ watches


async def test_a_watch_gives_up_after_the_time_and_goes_on_when_asked_again(server: Any, connect: Open) -> None:
    store = await connect(timeout_s=0.6)
    watch, signals = store.resources.watch("", ""), store.journal.watch_signals()
    await store.commit([CreateResource(make("a"))])
    await take(watch, 1)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.05)
    await server.stop()
    with pytest.raises(StoreUnavailableError, match="no answer within"):
        await asyncio.wait_for(waiting, 10)
    await server.start()
    await store.commit([CreateResource(make("b")), SendSignal("r", "go")])
    assert [event.resource.metadata.name for event in await take(watch, 1)] == ["b"]
    assert [signal.name for signal in await take(signals, 1)] == ["go"]


async def test_a_slow_reader_gets_every_event_in_order(server: Any, connect: Open) -> None:
    store, other = await connect(), await connect()
    slow, remote = store.resources.watch("", ""), other.resources.watch("", "")
    for start in range(0, 3000, 500):
        await store.commit([CreateResource(make(f"n{n:04}")) for n in range(start, start + 500)])
    expected = [f"n{n:04}" for n in range(3000)]
    for watch in (slow, remote):
        assert [event.resource.metadata.name for event in await take(watch, 3000)] == expected


async def test_a_watch_of_what_another_client_cut_away_is_expired(server: Any, connect: Open) -> None:
    store, other = await connect(), await connect(history_events=50)
    [made] = await store.commit([CreateResource(make("a"))])
    watch = store.resources.watch("", "")
    for _ in range(80):
        await other.commit([UpdateResource(made)] * 5)
    # What the store saw before comes first; of what is gone nothing, and nothing after a gap.
    seen = int(made.metadata.resource_version) - 1

    async def drain() -> None:
        nonlocal seen
        async for event in watch:
            seen += 1
            assert int(event.resource.metadata.resource_version) == seen

    with pytest.raises(ExpiredError):
        await drain()
    assert seen < int(made.metadata.resource_version) + 400


async def test_state_of_another_client_is_seen_after_a_cut(server: Any, connect: Open) -> None:
    store, other = await connect(), await connect()
    watch = store.state.watch_state("s")
    waiting = asyncio.ensure_future(take(watch, 1))
    await asyncio.sleep(0.05)
    server.faults.cut_before(times=2)
    await other.state.set_value("s", "k", 1)
    assert await waiting == [{"k": 1}]


# ------------------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize("token", [None, "wr0ng-" + SECRET])
async def test_a_refused_token_is_an_error_that_says_how_to_set_it(
    server: Any, scheme: str, token: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KASTRA_STORE_AUTH_TOKEN", raising=False)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreUnavailableError, match="token") as caught:
        await open_store(server.url(scheme), {"auth_token": token})
    message = str(caught.value)
    assert ("wants a token" if token is None else "refused the token") in message
    assert "storeOptions.authToken" in message
    assert "KASTRA_STORE_AUTH_TOKEN" in message
    assert SECRET not in message + caplog.text


async def test_a_token_that_is_refused_later_ends_the_commit_at_once(
    server: Any, connect: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = await connect()
    assert SECRET not in store.url + repr(store.server.settings)
    server.faults.refuse_tokens()
    await server.close_all()
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailableError, match="refused the token") as caught:
            await store.commit([CreateResource(make("a"))])
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    server.faults.clear()
    assert len(await store.commit([CreateResource(make("a"))])) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"libsql://h.example/?authToken={SECRET}",
        f"wss://h.example/?x=1&jwt={SECRET}",
        f"https://user:{SECRET}@h.example",
        f"ws://{SECRET}@h.example:80",
        f"ws://h.example:80?authtoken={SECRET}",
    ],
)
async def test_a_secret_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"does not belong in a URL.*KASTRA_STORE_AUTH_TOKEN") as caught:
        await open_store(url, {})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [f"ws://h.example?key={SECRET}", f"ws://h.example:{SECRET}"])
async def test_what_may_be_a_secret_is_not_repeated_either(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await open_store(url, {})
    assert SECRET not in str(caught.value)


async def test_the_token_may_come_from_the_environment(
    server: Any, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KASTRA_STORE_AUTH_TOKEN", SECRET)
    store = await open_store(server.url(scheme), {})
    assert await store.resources.counts() == {}
    await store.aclose()


async def test_an_answer_that_is_no_answer_does_not_show_the_token() -> None:
    from aiohttp import web

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for scheme in ("http", "ws"):
        url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(StoreError) as caught:
            await open_store(url, {"auth_token": SECRET, "timeout_s": 0.3})
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in repr(error)
            error = error.__cause__ or error.__context__
    await runner.cleanup()


# ------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("ws://h?timeout=1", {}, "did you mean 'timeout_s'"),
        ("ws://h?timeout_s=0", {}, "at least 0.1"),
        ("ws://h?poll_s=1&poll_s=2", {}, "given twice"),
        ("ws://h#f", {}, "fragment"),
        ("ws:///x", {}, "names no server"),
        ("ws://h:99999", {}, "0-65535"),
        ("https://h?tls=0", {}, "contradicts the scheme; write http:"),
        ("http://h", {"tls": True}, "contradicts the scheme; write https:"),
        ("libsql://h?tls=0", {}, "must name a port"),
        ("libsql://h", {"durability": "full"}, "is the server's own setting"),
        ("libsql://h", {"auth_token": "a\nb"}, "without line ends"),
        ("libsql://h", {"vector_index": "maybe"}, "true or false"),
        (
            "libsql://h",
            {"inline_bytes": 10_000_000},
            "inlineBytes (storeOptions) must be a whole number from 1 to 1000000",
        ),
    ],
)
async def test_a_wrong_setting_is_a_config_error(url: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=r"^store (URL|libsql://h:)") as caught:
        await open_store(url, options)
    assert words in str(caught.value)


async def test_the_scheme_libsql_without_tls_is_a_websocket(server: Any) -> None:
    url = server.url("libsql")
    store = await open_store(url, {"auth_token": SECRET})
    assert store.url == url
    await store.commit([CreateResource(make("a"))])
    assert server.log.counts["connect"] == 1
    await store.aclose()


def test_without_the_library_the_command_to_install_it_is_named() -> None:
    code = """
import asyncio, sys
sys.modules["libsql_client"] = None
from kastra_core.errors import MissingDependencyError
from kastra_plugin_libsql.store import open_store
try:
    asyncio.run(open_store("libsql://h.example", {}))
except MissingDependencyError as err:
    print(err)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'kastra-plugin-libsql[remote]'" in done.stdout
    assert issubclass(MissingDependencyError, Exception)


def test_a_file_store_imports_nothing_of_it() -> None:
    code = """
import asyncio, sys, tempfile
from kastra_plugin_libsql.store import open_store
async def main():
    store = await open_store(f"file:{tempfile.mkdtemp()}/k.db", {})
    await store.aclose()
asyncio.run(main())
print([name for name in sys.modules if "_remote" in name or name.split(".")[0] in ("aiohttp", "libsql_client")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------ schema


async def test_a_newer_schema_is_refused_with_its_writer(server: Any, connect: Open) -> None:
    await connect()
    server.query("PRAGMA user_version = 99")
    server.query("UPDATE meta SET value = 'kastra-plugin-libsql 9.0' WHERE key = 'written_by'")
    with pytest.raises(SchemaVersionError, match=r"schema 99, written by kastra-plugin-libsql 9\.0"):
        await connect()


async def test_an_older_schema_is_refused_with_the_command_that_migrates(server: Any, connect: Open) -> None:
    await connect()
    server.query("PRAGMA user_version = 1")
    with pytest.raises(SchemaVersionError, match="kastra store migrate"):
        await connect()


async def test_where_the_server_keeps_no_number_the_one_in_the_tables_counts(server: Any, connect: Open) -> None:
    await connect()
    server.query("PRAGMA user_version = 0")
    store = await connect()
    await store.commit([CreateResource(make("a"))])


async def test_a_database_of_another_program_is_refused(server: Any, connect: Open) -> None:
    server.query("CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(StoreError, match="another program"):
        await connect()
