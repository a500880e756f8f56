"""The test server itself: Hrana over WebSocket, message by message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

FIRST_STEP = {"type": "ok", "step": 0}


@pytest.fixture
async def socket(hrana: Any, hrana_server: Any) -> AsyncIterator[Any]:
    """A socket of version 3 with stream 1 open and an empty table t."""
    async with hrana.RawSocket(hrana_server.url("ws"), "hrana3") as raw:
        await raw.ask("open_stream", stream_id=1)
        await raw.run(1, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE)")
        yield raw


class TestHandshake:
    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (["hrana1"], "hrana1"),
            (["hrana1", "hrana2"], "hrana2"),
            (["hrana3-protobuf", "hrana3", "hrana2"], "hrana3"),
            ([], None),
        ],
    )
    async def test_the_highest_common_version_is_chosen(
        self, hrana: Any, hrana_server: Any, offered: list[str], chosen: str | None
    ) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), *offered) as raw:
            assert raw.ws.protocol == chosen
        assert hrana_server.requests[0].version == (1 if chosen is None else int(chosen[-1]))

    async def test_a_client_that_offers_only_unknown_versions_is_refused(self, hrana: Any, hrana_server: Any) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with hrana.RawSocket(hrana_server.url("ws"), "hrana3-protobuf", "mqtt"):
                pass
        assert caught.value.status == 400

    async def test_the_right_token_is_accepted_and_another_ends_the_socket(self, hrana: Any, tmp_path: Path) -> None:
        async with hrana.HranaServer(tmp_path / "a.db", token="secret") as server:
            async with hrana.RawSocket(server.url("ws"), "hrana2", token="secret"):
                pass
            for token, code in (("wrong", "AUTH_JWT_INVALID"), (None, "AUTH_JWT_MISSING")):
                async with hrana.RawSocket(server.url("ws"), "hrana2", hello=False) as raw:
                    await raw.send({"type": "hello", "jwt": token})
                    # Sent before the answer, and ignored.
                    await raw.post("open_stream", stream_id=1)
                    answer = await raw.receive()
                    assert answer["type"] == "hello_error"
                    assert answer["error"]["code"] == code
                    assert answer["error"]["message"]
                    assert await raw.closed() == 1000
            assert server.log.counts["open_stream"] == 0

    async def test_hello_may_be_repeated_from_version_2_on(self, hrana: Any, hrana_server: Any) -> None:
        for version in ("hrana2", "hrana3"):
            async with hrana.RawSocket(hrana_server.url("ws"), version) as raw:
                await raw.send({"type": "hello", "jwt": "new"})
                assert await raw.receive() == {"type": "hello_ok"}
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana1") as raw:
            await raw.send({"type": "hello", "jwt": "new"})
            assert await raw.closed() == 1008

    async def test_requests_may_follow_hello_without_waiting(self, hrana: Any, hrana_server: Any) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana2", hello=False) as raw:
            await raw.send({"type": "hello", "jwt": None})
            numbers = [await raw.post("open_stream", stream_id=5)]
            numbers += [await raw.post("execute", stream_id=5, stmt=hrana.statement("SELECT ?", n)) for n in range(20)]
            assert await raw.receive() == {"type": "hello_ok"}
            await raw.answer(numbers[0], "open_stream")
            for index, number in enumerate(numbers[1:]):
                answer = await raw.answer(number, "execute")
                assert answer["result"]["rows"] == [[{"type": "integer", "value": str(index)}]]


class TestViolations:
    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ("{", 1007),
            ("[]", 1007),
            ("{}", 1007),
            ('{"type": "bye"}', 1007),
            ('{"type": "hello"}', 1007),
            ('{"type": "hello", "jwt": 1}', 1007),
            ('{"type": "request", "request": {"type": "open_stream", "stream_id": 2}}', 1007),
            ('{"type": "request", "request_id": 2147483648, "request": {"type": "open_stream", "stream_id": 2}}', 1007),
            ('{"type": "request", "request_id": 1, "request": {"type": "open_stream", "stream_id": "2"}}', 1007),
            ('{"type": "request", "request_id": 1, "request": {"type": "open_stream", "stream_id": true}}', 1007),
            ('{"type": "request", "request_id": 1, "request": {"type": "open_stream"}}', 1007),
            ('{"type": "request", "request_id": 1, "request": {"type": "dance"}}', 1007),
            ('{"type": "request", "request_id": 1, "request": 7}', 1007),
        ],
    )
    async def test_a_message_of_the_wrong_shape_closes_the_socket(self, socket: Any, message: str, code: int) -> None:
        await socket.send(message)
        assert await socket.closed() == code

    async def test_a_binary_frame_closes_the_socket(self, socket: Any) -> None:
        await socket.ws.send_bytes(b'{"type": "hello", "jwt": null}')
        assert await socket.closed() == 1003

    async def test_a_request_before_hello_closes_the_socket(self, hrana: Any, hrana_server: Any) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana3", hello=False) as raw:
            await raw.post("open_stream", stream_id=1)
            assert await raw.closed() == 1008

    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            ("open_stream", {"stream_id": 1}),
            ("close_stream", {"stream_id": 2}),
            ("execute", {"stream_id": 2, "stmt": {"sql": "SELECT 1"}}),
            ("execute", {"stream_id": 1, "stmt": {}}),
            ("execute", {"stream_id": 1, "stmt": {"sql": "SELECT 1", "sql_id": 1}}),
            ("execute", {"stream_id": 1, "stmt": {"sql_id": 1}}),
            ("sequence", {"stream_id": 1}),
            ("describe", {"stream_id": 1, "sql_id": 9}),
            ("close_cursor", {"cursor_id": 3}),
            ("fetch_cursor", {"cursor_id": 3, "max_count": 1}),
            ("batch", {"stream_id": 1, "batch": {"steps": [{"stmt": {"sql": "SELECT 1"}, "condition": FIRST_STEP}]}}),
        ],
    )
    async def test_a_request_that_names_what_is_not_there_closes_the_socket(
        self, socket: Any, kind: str, fields: dict[str, Any]
    ) -> None:
        await socket.post(kind, **fields)
        assert await socket.closed() == 1008

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"type": "number", "value": 1},
            {"type": "integer", "value": 1},
            {"type": "integer", "value": "1.0"},
            {"type": "integer", "value": "+1"},
            {"type": "integer", "value": "9223372036854775808"},
            {"type": "float", "value": "1"},
            {"type": "float", "value": True},
            {"type": "text", "value": None},
            {"type": "blob", "base64": "a b="},
            {"type": "blob", "value": "AA"},
            None,
            7,
        ],
    )
    async def test_a_value_of_the_wrong_type_closes_the_socket(self, socket: Any, value: Any) -> None:
        await socket.post("execute", stream_id=1, stmt={"sql": "SELECT ?", "args": [value]})
        assert await socket.closed() == 1007

    @pytest.mark.parametrize(
        ("version", "kind", "fields"),
        [
            ("hrana1", "sequence", {"stream_id": 1, "sql": "SELECT 1"}),
            ("hrana1", "describe", {"stream_id": 1, "sql": "SELECT 1"}),
            ("hrana1", "store_sql", {"sql_id": 1, "sql": "SELECT 1"}),
            ("hrana2", "get_autocommit", {"stream_id": 1}),
            ("hrana2", "open_cursor", {"stream_id": 1, "cursor_id": 1, "batch": {"steps": []}}),
            (
                "hrana2",
                "batch",
                {
                    "stream_id": 1,
                    "batch": {"steps": [{"stmt": {"sql": "SELECT 1"}, "condition": {"type": "is_autocommit"}}]},
                },
            ),
        ],
    )
    async def test_what_a_later_version_brought_closes_the_socket(
        self, hrana: Any, hrana_server: Any, version: str, kind: str, fields: dict[str, Any]
    ) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), version) as raw:
            await raw.ask("open_stream", stream_id=1)
            await raw.post(kind, **fields)
            assert await raw.closed() == 1008

    async def test_version_1_needs_want_rows_and_ignores_sql_id(self, hrana: Any, hrana_server: Any) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana1") as raw:
            await raw.ask("open_stream", stream_id=1)
            stmt = {"sql": "SELECT 1", "sql_id": 4, "want_rows": True, "novelty": []}
            assert "result" in await raw.ask("execute", stream_id=1, stmt=stmt)
            await raw.post("execute", stream_id=1, stmt={"sql": "SELECT 1"})
            assert await raw.closed() == 1007

    async def test_the_end_of_a_socket_rolls_back_and_closes_its_streams(self, hrana: Any, hrana_server: Any) -> None:
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana3") as raw:
            await raw.ask("open_stream", stream_id=1)
            await raw.run(1, "CREATE TABLE t (a)")
            await raw.run(1, "BEGIN IMMEDIATE")
            await raw.run(1, "INSERT INTO t VALUES (1)")
            await raw.send("nonsense")
            await raw.closed()
        async with hrana.RawSocket(hrana_server.url("ws"), "hrana3") as raw:
            await raw.ask("open_stream", stream_id=1)
            assert await raw.rows(1, "SELECT count(*) FROM t") == [["0"]]
            assert "error" not in await raw.run(1, "BEGIN IMMEDIATE")
            assert hrana_server.open_streams == 1


class TestStatements:
    @pytest.mark.parametrize(
        "value", [None, 0, -(2**63), 2**63 - 1, 1.5, -0.0, 1e300, "", "é☃\0x", b"", b"\x00\xff\x10"]
    )
    async def test_values_come_back_as_they_went(self, hrana: Any, socket: Any, value: Any) -> None:
        sent = hrana.statement("SELECT ?", value)
        answer = await socket.ask("execute", stream_id=1, stmt=sent)
        assert answer["result"]["rows"] == [sent["args"]]
        assert "=" not in str(answer["result"]["rows"])

    async def test_blobs_are_read_with_and_without_padding(self, socket: Any) -> None:
        for text in ("AP8=", "AP8"):
            stmt = {"sql": "SELECT hex(?)", "args": [{"type": "blob", "base64": text}]}
            answer = await socket.ask("execute", stream_id=1, stmt=stmt)
            assert answer["result"]["rows"] == [[{"type": "text", "value": "00FF"}]]

    async def test_a_whole_number_sent_as_a_float_stays_a_float(self, socket: Any) -> None:
        stmt = {"sql": "SELECT typeof(?)", "args": [{"type": "float", "value": 1}]}
        answer = await socket.ask("execute", stream_id=1, stmt=stmt)
        assert answer["result"]["rows"] == [[{"type": "text", "value": "real"}]]

    async def test_results_tell_what_their_version_defines(self, hrana: Any, hrana_server: Any, socket: Any) -> None:
        keys = {"cols", "rows", "affected_row_count", "last_insert_rowid"}
        stats = {"rows_read", "rows_written", "query_duration_ms"}
        wanted = {
            "hrana1": (keys, [{"name": "a"}, {"name": "c"}]),
            "hrana2": (keys, [{"name": "a", "decltype": "INTEGER"}, {"name": "c", "decltype": None}]),
            "hrana3": (keys | stats, [{"name": "a", "decltype": "INTEGER"}, {"name": "c", "decltype": None}]),
        }
        for version, (expected, columns) in wanted.items():
            async with hrana.RawSocket(hrana_server.url("ws"), version) as raw:
                await raw.ask("open_stream", stream_id=1)
                result = await raw.run(1, "SELECT a, a + 1 AS c FROM t")
                assert set(result) == expected
                assert result["cols"] == columns
                assert result["rows"] == []

    async def test_changes_are_counted_and_rowids_told_for_inserts_only(self, socket: Any) -> None:
        result = await socket.run(1, "INSERT INTO t (b) VALUES ('x'), ('y') RETURNING a")
        assert (result["affected_row_count"], result["last_insert_rowid"]) == (2, "2")
        assert len(result["rows"]) == 2
        result = await socket.run(1, "WITH n AS (SELECT 1) UPDATE t SET b = b || 'z'")
        assert (result["affected_row_count"], result["last_insert_rowid"]) == (2, None)
        result = await socket.run(1, "SELECT * FROM t")
        assert (result["affected_row_count"], result["last_insert_rowid"]) == (0, None)

    async def test_rows_that_are_not_wanted_are_not_sent_and_the_work_is_done(self, hrana: Any, socket: Any) -> None:
        stmt = hrana.statement("INSERT INTO t (b) VALUES ('x'), ('y') RETURNING a", want_rows=False)
        answer = await socket.ask("execute", stream_id=1, stmt=stmt)
        assert answer["result"]["rows"] == []
        assert [col["name"] for col in answer["result"]["cols"]] == ["a"]
        assert await socket.rows(1, "SELECT count(*) FROM t") == [["2"]]

    async def test_named_arguments_go_with_and_without_their_prefix(self, hrana: Any, socket: Any) -> None:
        stmt = hrana.statement("SELECT :a, @b, $c, :a")
        stmt["named_args"] = [{"name": name, "value": {"type": "text", "value": name}} for name in (":a", "b", "$c")]
        answer = await socket.ask("execute", stream_id=1, stmt=stmt)
        assert [value["value"] for value in answer["result"]["rows"][0]] == [":a", "b", "$c", ":a"]

    async def test_numbered_parameters_take_positional_arguments(self, socket: Any) -> None:
        assert await socket.rows(1, "SELECT ?2, ?1, ?", "a", "b", "c") == [["b", "a", "c"]]

    @pytest.mark.parametrize(
        ("sql", "args", "named", "code"),
        [
            ("SELECT ?", [], {}, "ARGS_INVALID"),
            ("SELECT ?", [1, 2], {}, "ARGS_INVALID"),
            ("SELECT :a", [], {"b": 1}, "ARGS_INVALID"),
            ("SELECT :a", [], {"a": 1, "b": 1}, "ARGS_INVALID"),
            ("SELECT :a", [1], {}, "ARGS_INVALID"),
            ("SELECT ?, :a", [1], {"a": 1}, "ARGS_BOTH_POSITIONAL_AND_NAMED"),
            ("", [], {}, "SQL_NO_STATEMENT"),
            (" -- nothing\n;", [], {}, "SQL_NO_STATEMENT"),
            ("SELECT 1; SELECT 2", [], {}, "SQL_MANY_STATEMENTS"),
            ("SELEC 1", [], {}, "SQL_PARSE_ERROR"),
            ("SELECT (1", [], {}, "SQL_PARSE_ERROR"),
            ("VACUUM", [], {}, "SQL_PARSE_ERROR"),
            ("ATTACH 'x.db' AS x", [], {}, "SQL_PARSE_ERROR"),
            ("CREATE TEMP TABLE x (a)", [], {}, "SQL_PARSE_ERROR"),
            ("PRAGMA journal_mode = DELETE", [], {}, "SQL_PARSE_ERROR"),
            ("PRAGMA wal_checkpoint", [], {}, "SQL_PARSE_ERROR"),
            ("SELECT * FROM missing", [], {}, "SQLITE_UNKNOWN"),
            ("INSERT INTO t (b) VALUES ('x'), ('x')", [], {}, "SQLITE_CONSTRAINT"),
            ("INSERT INTO t (a) VALUES ('x')", [], {}, "SQLITE_MISMATCH"),
            ("SELECT CAST(x'ff' AS TEXT)", [], {}, "SQLITE_UNKNOWN"),
            ("SELECT 9e999", [], {}, "VALUE_NOT_JSON"),
        ],
    )
    async def test_a_statement_that_fails_is_answered_and_the_stream_goes_on(
        self, socket: Any, sql: str, args: list[Any], named: dict[str, Any], code: str
    ) -> None:
        answer = await socket.run(1, sql, *args, named=named)
        assert answer["error"]["code"] == code
        assert answer["error"]["message"]
        assert await socket.rows(1, "SELECT 1") == [["1"]]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 1;",
            "SELECT 1; -- and no more",
            "PRAGMA user_version",
            "PRAGMA user_version = 7",
            "PRAGMA journal_mode",
            "PRAGMA foreign_keys(1)",
            "EXPLAIN QUERY PLAN SELECT ?",
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT ';'; END;",
            "CREATE VIRTUAL TABLE f USING fts5(b)",
            "SELECT ';', \"b\", [b], `b`, '?', 'it''s :no', a->>'$.x' FROM t /* ? ; */",
        ],
    )
    async def test_what_the_libsql_server_accepts_is_accepted(self, socket: Any, sql: str) -> None:
        assert "error" not in await socket.run(1, sql)

    async def test_without_limits_positional_and_named_arguments_mix(self, hrana: Any, tmp_path: Path) -> None:
        async with (
            hrana.HranaServer(tmp_path / "a.db", limits=False) as server,
            hrana.RawSocket(server.url("ws"), "hrana3") as raw,
        ):
            await raw.ask("open_stream", stream_id=1)
            result = await raw.run(1, "SELECT ?, :a, ?", 1, 2, 3, named={"a": "named"})
            assert [value["value"] for value in result["rows"][0]] == ["1", "named", "3"]
            assert "error" not in await raw.run(1, "PRAGMA wal_checkpoint")


class TestStreams:
    async def test_streams_are_connections_of_their_own(self, socket: Any) -> None:
        await socket.ask("open_stream", stream_id=-5)
        await socket.run(1, "BEGIN")
        await socket.run(1, "INSERT INTO t (b) VALUES ('x')")
        assert await socket.rows(-5, "SELECT * FROM t") == []
        assert await socket.ask("get_autocommit", stream_id=1) == {"is_autocommit": False}
        assert await socket.ask("get_autocommit", stream_id=-5) == {"is_autocommit": True}
        assert await socket.ask("close_stream", stream_id=1) == {}
        await socket.ask("open_stream", stream_id=1)
        assert await socket.rows(1, "SELECT * FROM t") == []

    async def test_a_stream_that_waits_for_a_lock_holds_up_no_other(self, socket: Any) -> None:
        for stream in (2, 3):
            await socket.ask("open_stream", stream_id=stream)
        await socket.run(1, "BEGIN IMMEDIATE")
        waiting = await socket.post("execute", stream_id=2, stmt={"sql": "INSERT INTO t (b) VALUES ('2')"})
        assert await socket.rows(3, "SELECT 1") == [["1"]]
        committing = await socket.post("execute", stream_id=1, stmt={"sql": "COMMIT"})
        assert {(await socket.receive())["request_id"] for _ in range(2)} == {waiting, committing}
        assert await socket.rows(1, "SELECT b FROM t") == [["2"]]

    async def test_a_stream_that_failed_to_open_answers_errors_until_closed(
        self, hrana_server: Any, socket: Any
    ) -> None:
        hrana_server.faults.fail(kind="open_stream")
        assert (await socket.ask("open_stream", stream_id=2))["error"]["code"] == "FAULT"
        assert (await socket.run(2, "SELECT 1"))["error"]["code"] == "STREAM_NOT_OPEN"
        batch: dict[str, Any] = {"steps": []}
        answer = await socket.ask("open_cursor", stream_id=2, cursor_id=1, batch=batch)
        assert answer["error"]["code"] == "STREAM_NOT_OPEN"
        assert "error" in await socket.ask("fetch_cursor", cursor_id=1, max_count=9)
        assert await socket.ask("close_cursor", cursor_id=1) == {}
        assert await socket.ask("close_stream", stream_id=2) == {}
        assert await socket.ask("open_stream", stream_id=2) == {}

    async def test_a_transaction_that_takes_too_long_is_rolled_back(self, hrana: Any, tmp_path: Path) -> None:
        async with (
            hrana.HranaServer(tmp_path / "a.db", transaction_s=0.05) as server,
            hrana.RawSocket(server.url("ws"), "hrana3") as raw,
        ):
            for stream in (1, 2):
                await raw.ask("open_stream", stream_id=stream)
            await raw.run(1, "CREATE TABLE t (a)")
            await raw.run(1, "BEGIN IMMEDIATE")
            await raw.run(1, "INSERT INTO t VALUES (1)")
            # Waits for the lock that the first stream loses.
            assert (await raw.run(2, "INSERT INTO t VALUES (2)"))["affected_row_count"] == 1
            assert (await raw.run(1, "COMMIT"))["error"]["code"] == "TRANSACTION_TIMEOUT"
            assert await raw.rows(1, "SELECT a FROM t") == [["2"]]
