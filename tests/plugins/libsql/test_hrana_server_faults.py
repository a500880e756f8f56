"""The test server itself: libsql_client against it, faults, and life as a process."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import libsql
import pytest

# By name: it has no types.
libsql_client: Any = importlib.import_module("libsql_client")


@asynccontextmanager
async def connected(server: Any, scheme: str, token: str | None = None) -> AsyncIterator[Any]:
    client = libsql_client.create_client(server.url(scheme), auth_token=token)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(params=["ws", "http"])
async def client(hrana_server: Any, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """libsql_client over each scheme, with an empty table t."""
    async with connected(hrana_server, request.param) as one:
        await one.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        yield one


@pytest.fixture
async def ws(hrana_server: Any) -> AsyncIterator[Any]:
    """libsql_client over WebSocket, with an empty table t."""
    async with connected(hrana_server, "ws") as one:
        await one.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        yield one


def count(server: Any) -> int:
    """How many rows of t another connection sees."""
    [(rows,)] = server.query("SELECT count(*) FROM t")
    return int(rows)


FAILURES = (libsql_client.LibsqlError, aiohttp.ClientError)


class TestClient:
    async def test_execute_brings_all_kinds_of_values_back(self, client: Any) -> None:
        for value in (None, 2**63 - 1, 1.5, "é", b"\x00\xff"):
            result = await client.execute("INSERT INTO t (b) VALUES (?) RETURNING b", [value])
            assert result[0][0] == value
        assert result.rows_affected == 1
        assert result.last_insert_rowid == 5
        assert result.columns == ("b",)

    async def test_named_arguments_need_no_prefix(self, client: Any) -> None:
        result = await client.execute("SELECT :x, @y", {"x": 1, "@y": 2})
        assert result[0].astuple() == (1, 2)

    async def test_a_batch_is_atomic(self, client: Any) -> None:
        results = await client.batch(["INSERT INTO t (a) VALUES (1)", ("SELECT a FROM t WHERE a = ?", [1])])
        assert results[1].rows[0].astuple() == (1,)
        with pytest.raises(libsql_client.LibsqlError) as caught:
            await client.batch(["INSERT INTO t (a) VALUES (2)", "INSERT INTO t (a) VALUES (1)"])
        assert caught.value.code == "SQLITE_CONSTRAINT"
        assert (await client.execute("SELECT count(*) FROM t"))[0][0] == 1

    async def test_an_error_has_its_code(self, client: Any) -> None:
        for sql, code in (("SELEC", "SQL_PARSE_ERROR"), ("SELECT ?", "ARGS_INVALID"), ("VACUUM", "SQL_PARSE_ERROR")):
            with pytest.raises(libsql_client.LibsqlError) as caught:
                await client.execute(sql)
            assert caught.value.code == code

    async def test_transactions_commit_and_roll_back(self, ws: Any, hrana_server: Any) -> None:
        for end, rows in (("rollback", 0), ("commit", 1), ("close", 1)):
            transaction = ws.transaction()
            await transaction.execute("INSERT INTO t (b) VALUES (1)")
            assert count(hrana_server) == min(rows, 1 if end == "close" else 0)
            ended = getattr(transaction, end)()
            if ended is not None:
                await ended
            # Rolled back at the latest when the stream is closed.
            await hrana_server.log.wait("close_stream", hrana_server.log.counts["open_stream"])
            assert count(hrana_server) == rows

    async def test_many_requests_at_once_are_all_answered(self, client: Any, hrana_server: Any) -> None:
        await asyncio.gather(*(client.execute("INSERT INTO t (b) VALUES (?)", [n]) for n in range(100)))
        assert count(hrana_server) == 100

    @pytest.mark.parametrize("scheme", ["ws", "http"])
    async def test_the_token_is_asked_for(self, hrana: Any, tmp_path: Path, scheme: str) -> None:
        async with hrana.HranaServer(tmp_path / "a.db", token="secret") as server:
            async with connected(server, scheme, "secret") as client:
                assert (await client.execute("SELECT 1"))[0][0] == 1
            async with connected(server, scheme, "wrong") as client:
                with pytest.raises(libsql_client.LibsqlError):
                    await client.execute("SELECT 1")

    async def test_requests_are_recorded(self, client: Any, hrana_server: Any) -> None:
        hrana_server.log.clear()
        await client.execute("SELECT 1")
        await client.batch(["SELECT 2"])
        seen = [one for one in hrana_server.requests if one.kind in ("execute", "batch")]
        assert seen[0].sql == ("SELECT 1",)
        assert "SELECT 2" in seen[1].sql
        assert {one.transport for one in seen} <= {"ws", "http"}
        assert hrana_server.log.counts["batch"] == 1


class TestFaults:
    async def test_a_cut_before_a_request_leaves_it_undone(self, client: Any, hrana_server: Any) -> None:
        hrana_server.faults.cut_before(2)
        await client.execute("INSERT INTO t (b) VALUES (1)")
        with pytest.raises(FAILURES):
            await client.execute("INSERT INTO t (b) VALUES (2)")
        assert count(hrana_server) == 1
        await client.execute("INSERT INTO t (b) VALUES (3)")
        assert count(hrana_server) == 2

    async def test_a_cut_after_a_request_leaves_it_done_and_unanswered(self, client: Any, hrana_server: Any) -> None:
        hrana_server.faults.cut_after(match="VALUES (1)")
        await client.execute("SELECT 1")
        with pytest.raises(FAILURES):
            await client.execute("INSERT INTO t (b) VALUES (1)")
        assert count(hrana_server) == 1

    @pytest.mark.parametrize(("steps", "rows"), [(2, 0), (3, 0), (4, 2)])
    async def test_a_cut_in_a_batch_rolls_an_open_transaction_back(
        self, client: Any, hrana_server: Any, steps: int, rows: int
    ) -> None:
        # The client's batch is BEGIN, its statements, COMMIT, ROLLBACK.
        hrana_server.faults.cut_in_batch(steps)
        with pytest.raises(FAILURES):
            await client.batch(["INSERT INTO t (b) VALUES (1)", "INSERT INTO t (b) VALUES (2)"])
        assert (await client.execute("SELECT count(*) FROM t"))[0][0] == rows

    async def test_a_cut_commit_in_a_transaction_is_done_or_not_as_asked(self, ws: Any, hrana_server: Any) -> None:
        for cut, rows in ((hrana_server.faults.cut_before, 0), (hrana_server.faults.cut_after, 1)):
            cut(match="COMMIT")
            transaction = ws.transaction()
            await transaction.execute("INSERT INTO t (b) VALUES (1)")
            with pytest.raises(FAILURES):
                await transaction.commit()
            assert (await ws.execute("SELECT count(*) FROM t"))[0][0] == rows

    async def test_the_opening_of_a_stream_and_hello_can_be_cut(self, ws: Any, hrana_server: Any) -> None:
        hrana_server.faults.cut_before(kind="open_stream")
        with pytest.raises(FAILURES):
            await ws.execute("SELECT 1")
        hrana_server.faults.cut_before(kind="hello")
        with pytest.raises(FAILURES):
            await ws.execute("SELECT 1")
        assert (await ws.execute("SELECT 1"))[0][0] == 1
        assert hrana_server.log.counts["connect"] == 3

    async def test_a_fault_may_come_several_times(self, client: Any, hrana_server: Any) -> None:
        hrana_server.faults.cut_before(times=3)
        for _ in range(3):
            with pytest.raises(FAILURES):
                await client.execute("SELECT 1")
        await client.execute("SELECT 1")

    async def test_a_request_can_be_made_to_fail(self, client: Any, hrana_server: Any) -> None:
        hrana_server.faults.fail()
        with pytest.raises(libsql_client.LibsqlError) as caught:
            await client.execute("INSERT INTO t (b) VALUES (1)")
        assert caught.value.code == "FAULT"
        assert count(hrana_server) == 0

    async def test_status_503_is_answered_so_many_times(self, hrana_server: Any) -> None:
        for scheme in ("ws", "http"):
            hrana_server.faults.unavailable(2)
            for _ in range(2):
                async with connected(hrana_server, scheme) as client:
                    with pytest.raises(FAILURES):
                        await client.execute("SELECT 1")
            async with connected(hrana_server, scheme) as client:
                await client.execute("SELECT 1")
        assert hrana_server.log.counts["refused"] == 4

    async def test_tokens_can_be_refused(self, hrana_server: Any) -> None:
        hrana_server.faults.refuse_tokens()
        for scheme in ("ws", "http"):
            async with connected(hrana_server, scheme, "any") as client:
                with pytest.raises(FAILURES):
                    await client.execute("SELECT 1")
        hrana_server.faults.refuse_tokens(False)
        async with connected(hrana_server, "ws", "any") as client:
            await client.execute("SELECT 1")

    async def test_answers_can_be_delayed(self, client: Any, hrana_server: Any) -> None:
        hrana_server.faults.delay(30.0, n=1)
        running = asyncio.ensure_future(client.execute("INSERT INTO t (b) VALUES (1)"))
        async with asyncio.timeout(10):
            while count(hrana_server) == 0:
                await asyncio.sleep(0.005)
        assert not running.done()
        await hrana_server.stop()
        with pytest.raises(FAILURES):
            await running

    async def test_requests_can_be_held_and_let_go(self, client: Any, hrana_server: Any) -> None:
        hrana_server.faults.hold()
        hrana_server.log.clear()
        running = asyncio.ensure_future(client.execute("INSERT INTO t (b) VALUES (1)"))
        await hrana_server.log.wait("execute", 1)
        assert count(hrana_server) == 0
        hrana_server.faults.release()
        await running
        assert count(hrana_server) == 1

    async def test_what_is_held_when_its_socket_ends_never_runs(self, ws: Any, hrana_server: Any) -> None:
        hrana_server.faults.hold()
        hrana_server.log.clear()
        running = asyncio.ensure_future(ws.execute("INSERT INTO t (b) VALUES (1)"))
        await hrana_server.log.wait("execute", 1)
        await hrana_server.close_all()
        with pytest.raises(FAILURES):
            await running
        hrana_server.faults.clear()
        assert (await ws.execute("SELECT count(*) FROM t"))[0][0] == 0

    @pytest.mark.parametrize("code", [None, 1001])
    async def test_all_sockets_can_be_closed(self, hrana: Any, hrana_server: Any, code: int | None) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana3") as raw:
            await raw.ask("open_stream", stream_id=1)
            await raw.run(1, "BEGIN IMMEDIATE")
            closing_all = asyncio.ensure_future(hrana_server.close_all(code))
            assert await raw.closed() == code
            await closing_all
            assert hrana_server.open_streams == 0

    async def test_a_restart_cuts_sockets_and_keeps_what_was_committed(self, ws: Any, hrana_server: Any) -> None:
        await ws.execute("INSERT INTO t (b) VALUES (1)")
        transaction = ws.transaction()
        await transaction.execute("INSERT INTO t (b) VALUES (2)")
        await hrana_server.restart()
        with pytest.raises(FAILURES):
            await transaction.commit()
        assert (await ws.execute("SELECT count(*) FROM t"))[0][0] == 1

    async def test_a_stop_waits_for_no_lock(self, hrana: Any, hrana_server: Any) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana3") as raw:
            for stream in (1, 2):
                await raw.ask("open_stream", stream_id=stream)
            await raw.run(1, "BEGIN IMMEDIATE")
            await raw.post("execute", stream_id=2, stmt={"sql": "BEGIN IMMEDIATE"})
            async with asyncio.timeout(4):
                await hrana_server.stop()
        assert hrana_server.open_streams == 0


class TestProcess:
    @pytest.mark.parametrize("scheme", ["ws", "http"])
    async def test_kill_9_loses_open_transactions_only(self, hrana: Any, tmp_path: Path, scheme: str) -> None:
        with hrana.HranaProcess(tmp_path / "a.db", token="secret") as server:
            async with connected(server, scheme, "secret") as client:
                await client.execute("CREATE TABLE t (a)")
                await client.execute("INSERT INTO t VALUES (1)")
                port = server.port
                server.kill()
                with pytest.raises(FAILURES):
                    await client.execute("SELECT 1")
                server.start()
                assert server.port == port
            async with connected(server, scheme, "secret") as client:
                assert (await client.execute("SELECT a FROM t"))[0][0] == 1

    def test_the_libsql_package_works_with_it(self, hrana: Any, tmp_path: Path) -> None:
        # LibSQL's own client speaks version 3 over HTTP: pipelines with batons, describe, batches, cursors. It holds
        # the interpreter lock while it waits, so the server is another process.
        with hrana.HranaProcess(tmp_path / "a.db", token="secret") as server:
            connection = libsql.connect(server.url("http"), auth_token="secret")
            connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
            connection.execute("INSERT INTO t (b) VALUES (?)", (b"\x00\xff",))
            connection.commit()
            connection.execute("INSERT INTO t (b) VALUES (?)", ("gone",))
            connection.rollback()
            assert connection.execute("SELECT a, b, 1.5, NULL FROM t").fetchall() == [(1, b"\x00\xff", 1.5, None)]
            # A new one: after a query this client may use the stream's last baton twice, which the server refuses.
            other = libsql.connect(server.url("http"), auth_token="secret")
            with pytest.raises(ValueError, match="UNIQUE constraint failed"):
                other.execute("INSERT INTO t (a) VALUES (1)")
            other.close()
            counts = server.status()["counts"]
            assert {"batch", "cursor", "describe", "get_autocommit", "http"} <= set(counts)
            connection.close()

    async def test_faults_of_a_process_are_asked_for_over_http(self, hrana: Any, tmp_path: Path) -> None:
        with hrana.HranaProcess(tmp_path / "a.db") as server:
            async with connected(server, "ws") as client:
                await client.execute("CREATE TABLE t (a)")
                await asyncio.to_thread(server.admin, "cut_after", match="INSERT")
                with pytest.raises(FAILURES):
                    await client.execute("INSERT INTO t VALUES (1)")
                assert (await client.execute("SELECT count(*) FROM t"))[0][0] == 1
            for action in ("close_all", "expire_streams", "clear"):
                await asyncio.to_thread(server.admin, action)
            status = await asyncio.to_thread(server.status)
            assert status["counts"]["execute"] == 3
            assert [one["sql"] for one in status["requests"] if one["kind"] == "execute"][1] == [
                "INSERT INTO t VALUES (1)"
            ]
            await asyncio.to_thread(server.admin, "clear_log")
            assert (await asyncio.to_thread(server.status))["requests"] == []

    @pytest.mark.parametrize(
        ("action", "body", "status"),
        [
            ("take", "{}", 404),
            ("_add", "{}", 404),
            ("dance", "{}", 404),
            ("delay", '{"x": 1}', 400),
            ("hold", "{", 400),
        ],
    )
    async def test_an_unknown_fault_is_refused(self, hrana_server: Any, action: str, body: str, status: int) -> None:
        async with aiohttp.ClientSession() as session:
            url = f"{hrana_server.url('http')}/__admin__/{action}"
            async with session.post(url, data=body) as answer:
                assert answer.status == status

    def test_a_process_that_cannot_start_says_so(self, hrana: Any, tmp_path: Path) -> None:
        server = hrana.HranaProcess(tmp_path / "missing" / "a.db")
        with pytest.raises(RuntimeError, match="did not start"):
            server.start()


def test_the_server_names_its_backends(hrana: Any, tmp_path: Path) -> None:
    make: Callable[..., Any] = hrana.HranaServer
    with pytest.raises(ValueError, match="apsw or libsql"):
        make(tmp_path / "a.db", backend="duck")
