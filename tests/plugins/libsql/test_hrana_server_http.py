"""The test server itself: Hrana over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest


class Http:
    """Posts JSON and returns status and body."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, str) else json.dumps(body)
        async with self.session.post(f"{self.url}{path}", data=data, headers=headers) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def pipeline(
        self, baton: str | None, *requests: dict[str, Any], version: int = 3
    ) -> tuple[str | None, list[Any]]:
        """Run a pipeline that is answered; return the baton and the results."""
        status, body = await self.post(f"/v{version}/pipeline", {"baton": baton, "requests": list(requests)})
        assert status == 200, body
        assert set(body) == {"baton", "base_url", "results"}
        return body["baton"], body["results"]


@pytest.fixture
async def http(hrana_server: Any) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(session, hrana_server.url("http"))


def execute(sql: str, *numbers: int) -> dict[str, Any]:
    args = [{"type": "integer", "value": str(number)} for number in numbers]
    return {"type": "execute", "stmt": {"sql": sql, "args": args}}


def only(results: list[Any]) -> Any:
    """The rows of a pipeline's last result, of integers."""
    assert results[-1]["type"] == "ok", results[-1]
    return [[int(value["value"]) for value in row] for row in results[-1]["response"]["result"]["rows"]]


CLOSE = {"type": "close"}


class TestVersion1:
    async def test_execute_answers_with_the_result(self, http: Http) -> None:
        stmt = {"sql": "SELECT 1 AS n", "want_rows": True}
        expected = {
            "cols": [{"name": "n"}],
            "rows": [[{"type": "integer", "value": "1"}]],
            "affected_row_count": 0,
            "last_insert_rowid": None,
        }
        assert await http.post("/v1/execute", {"stmt": stmt}) == (200, {"result": expected})

    async def test_each_request_has_a_connection_of_its_own(self, http: Http, hrana_server: Any) -> None:
        for sql in ("CREATE TABLE t (a)", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE"):
            status, _ = await http.post("/v1/execute", {"stmt": {"sql": sql, "want_rows": False}})
            assert status == 200
        assert hrana_server.open_streams == 0

    async def test_batch_answers_with_results_and_errors(self, http: Http) -> None:
        steps = [
            {"stmt": {"sql": "SELECT 1", "want_rows": True}},
            {"stmt": {"sql": "SELECT * FROM missing", "want_rows": True}},
            {"stmt": {"sql": "SELECT 2", "want_rows": True}, "condition": {"type": "ok", "step": 1}},
        ]
        status, body = await http.post("/v1/batch", {"batch": {"steps": steps}})
        assert status == 200
        assert [result is not None for result in body["result"]["step_results"]] == [True, False, False]
        assert [error is not None for error in body["result"]["step_errors"]] == [False, True, False]

    @pytest.mark.parametrize(
        ("sql", "args", "status", "code"),
        [
            ("SELEC 1", [], 400, "SQL_PARSE_ERROR"),
            ("SELECT ?", [], 400, "ARGS_INVALID"),
            ("SELECT * FROM missing", [], 500, "SQLITE_UNKNOWN"),
        ],
    )
    async def test_a_failed_statement_is_an_error_status_with_an_error_structure(
        self, http: Http, sql: str, args: list[Any], status: int, code: str
    ) -> None:
        stmt = {"sql": sql, "args": args, "want_rows": True}
        found, body = await http.post("/v1/execute", {"stmt": stmt})
        assert (found, body["code"]) == (status, code)

    @pytest.mark.parametrize(
        "body", ["{", "[]", {}, {"stmt": 1}, {"stmt": {"sql": "SELECT 1"}}, {"stmt": {"sql_id": 1, "want_rows": True}}]
    )
    async def test_a_body_of_the_wrong_shape_is_status_400(self, http: Http, body: Any) -> None:
        status, text = await http.post("/v1/execute", body)
        assert status == 400
        assert isinstance(text, str)


class TestPipeline:
    @pytest.mark.parametrize("version", [2, 3])
    async def test_a_server_says_which_versions_it_speaks(self, http: Http, version: int) -> None:
        async with http.session.get(f"{http.url}/v{version}") as answer:
            assert answer.status == 200
        async with http.session.get(f"{http.url}/v{version}-protobuf") as answer:
            assert answer.status == 404

    async def test_a_stream_lives_from_baton_to_baton(self, http: Http) -> None:
        first, results = await http.pipeline(None, execute("CREATE TABLE t (a)"), execute("BEGIN"))
        assert [result["type"] for result in results] == ["ok", "ok"]
        second, _ = await http.pipeline(first, execute("INSERT INTO t VALUES (?)", 7))
        assert first != second
        other, results = await http.pipeline(None, execute("SELECT * FROM t"))
        assert only(results) == []
        third, results = await http.pipeline(second, execute("COMMIT"), execute("SELECT * FROM t"), CLOSE)
        assert third is None
        assert results[-1] == {"type": "ok", "response": {"type": "close"}}
        assert only(results[:-1]) == [[7]]
        _, results = await http.pipeline(other, execute("SELECT * FROM t"))
        assert only(results) == [[7]]

    async def test_all_requests_of_a_pipeline_run_even_after_an_error(self, http: Http) -> None:
        _, results = await http.pipeline(None, execute("SELECT * FROM missing"), execute("SELEC"), execute("SELECT 3"))
        assert [result["type"] for result in results] == ["error", "error", "ok"]
        assert results[0]["error"]["code"] == "SQLITE_UNKNOWN"
        assert only(results) == [[3]]

    async def test_every_request_of_the_pipeline_is_served(self, http: Http) -> None:
        batch = {"steps": [{"stmt": {"sql": "SELECT 1"}, "condition": {"type": "is_autocommit"}}]}
        baton, results = await http.pipeline(
            None,
            {"type": "store_sql", "sql_id": 1, "sql": "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)"},
            {"type": "sequence", "sql_id": 1},
            {"type": "close_sql", "sql_id": 1},
            {"type": "describe", "sql": "SELECT a FROM t"},
            {"type": "batch", "batch": batch},
            {"type": "get_autocommit"},
            execute("SELECT a FROM t"),
        )
        assert [result["type"] for result in results] == ["ok"] * 7
        responses = [result["response"] for result in results]
        assert [response.pop("type") for response in responses] == [
            "store_sql", "sequence", "close_sql", "describe", "batch", "get_autocommit", "execute",
        ]  # fmt: skip
        assert responses[3]["result"]["cols"] == [{"name": "a", "decltype": "INTEGER"}]
        assert responses[4]["result"]["step_errors"] == [None]
        assert responses[5] == {"is_autocommit": True}
        assert baton is not None

    async def test_stored_texts_belong_to_their_stream(self, http: Http) -> None:
        baton, _ = await http.pipeline(None, {"type": "store_sql", "sql_id": 1, "sql": "SELECT 4"})
        _, results = await http.pipeline(baton, {"type": "execute", "stmt": {"sql_id": 1}})
        assert only(results) == [[4]]
        body = {"baton": None, "requests": [{"type": "execute", "stmt": {"sql_id": 1}}]}
        assert (await http.post("/v3/pipeline", body))[0] == 400

    async def test_version_2_tells_no_statistics(self, http: Http) -> None:
        for version, there in ((2, False), (3, True)):
            _, results = await http.pipeline(None, execute("SELECT 1"), version=version)
            assert ("rows_read" in results[0]["response"]["result"]) is there

    async def test_a_used_baton_is_refused_and_the_stream_lives(self, http: Http) -> None:
        first, _ = await http.pipeline(None, execute("SELECT 1"))
        second, _ = await http.pipeline(first, execute("SELECT 1"))
        status, text = await http.post("/v3/pipeline", {"baton": first, "requests": []})
        assert (status, text) == (400, "Received a baton that has already been used")
        await http.pipeline(second, execute("SELECT 1"))

    @pytest.mark.parametrize("baton", ["", "x", "AAAA" * 16])
    async def test_a_baton_that_the_server_did_not_give_is_refused(self, http: Http, baton: str) -> None:
        status, text = await http.post("/v3/pipeline", {"baton": baton, "requests": []})
        assert (status, text) == (400, "Received an invalid baton")

    async def test_a_closed_stream_has_no_baton_and_runs_nothing_more(self, http: Http) -> None:
        body = {"baton": None, "requests": [CLOSE, execute("CREATE TABLE t (a)")]}
        assert await http.post("/v3/pipeline", body) == (400, "Stream for this baton was closed")
        _, results = await http.pipeline(None, execute("SELECT count(*) FROM sqlite_schema"))
        assert only(results) == [[0]]

    async def test_an_idle_stream_expires_and_its_transaction_is_rolled_back(
        self, http: Http, hrana_server: Any
    ) -> None:
        baton, _ = await http.pipeline(None, execute("CREATE TABLE t (a)"), execute("BEGIN IMMEDIATE"))
        await hrana_server.expire_streams()
        assert hrana_server.open_streams == 0
        status, body = await http.post("/v3/pipeline", {"baton": baton, "requests": []})
        assert (status, body["code"]) == (400, "STREAM_EXPIRED")
        _, results = await http.pipeline(None, execute("BEGIN IMMEDIATE"))
        assert results[0]["type"] == "ok"

    async def test_streams_expire_after_a_time_without_requests(self, hrana: Any, tmp_path: Path) -> None:
        async with (
            hrana.HranaServer(tmp_path / "a.db", idle_s=0.02) as server,
            aiohttp.ClientSession() as session,
        ):
            http = Http(session, server.url("http"))
            baton, _ = await http.pipeline(None, execute("SELECT 1"))
            async with asyncio.timeout(10):
                while server.open_streams:
                    await asyncio.sleep(0.005)
            status, body = await http.post("/v3/pipeline", {"baton": baton, "requests": []})
            assert (status, body["code"]) == (400, "STREAM_EXPIRED")

    async def test_a_restart_forgets_streams(self, http: Http, hrana_server: Any) -> None:
        baton, _ = await http.pipeline(None, execute("CREATE TABLE t (a)"), execute("BEGIN IMMEDIATE"))
        port = hrana_server.port
        await hrana_server.restart()
        assert hrana_server.port == port
        status, text = await http.post("/v3/pipeline", {"baton": baton, "requests": []})
        assert (status, text) == (400, "Received an invalid baton")
        _, results = await http.pipeline(None, execute("BEGIN IMMEDIATE"))
        assert results[0]["type"] == "ok"

    @pytest.mark.parametrize(
        "body",
        [
            "{",
            {"requests": []},
            {"baton": None},
            {"baton": 1, "requests": []},
            {"baton": None, "requests": [1]},
            {"baton": None, "requests": [execute("CREATE TABLE t (a)"), {"type": "open_stream", "stream_id": 1}]},
            {"baton": None, "requests": [execute("CREATE TABLE t (a)"), {"type": "execute"}]},
        ],
    )
    async def test_a_body_of_the_wrong_shape_runs_nothing(self, http: Http, hrana_server: Any, body: Any) -> None:
        status, text = await http.post("/v3/pipeline", body)
        assert status == 400
        assert isinstance(text, str)
        assert hrana_server.open_streams == 0
        assert hrana_server.log.counts["execute"] == 0

    async def test_what_version_3_brought_is_refused_in_version_2(self, http: Http) -> None:
        body = {"baton": None, "requests": [{"type": "get_autocommit"}]}
        assert (await http.post("/v2/pipeline", body))[0] == 400


class TestCursor:
    async def lines(self, http: Http, body: Any) -> list[Any]:
        status, text = await http.post("/v3/cursor", body)
        assert status == 200
        assert text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    async def test_a_cursor_is_a_line_with_the_baton_and_a_line_for_each_entry(self, http: Http) -> None:
        steps = [{"stmt": {"sql": "CREATE TABLE t (a)"}}, {"stmt": {"sql": "SELECT 1 UNION SELECT 2"}}]
        first, *entries = await self.lines(http, {"baton": None, "batch": {"steps": steps}})
        assert set(first) == {"baton", "base_url"}
        assert [entry["type"] for entry in entries] == [
            "step_begin", "step_end", "step_begin", "row", "row", "step_end",
        ]  # fmt: skip
        baton, results = await http.pipeline(first["baton"], execute("SELECT count(*) FROM t"))
        assert only(results) == [[0]]
        steps = [{"stmt": {"sql": "SELECT * FROM missing"}}]
        first, entry = await self.lines(http, {"baton": baton, "batch": {"steps": steps}})
        assert (entry["type"], entry["step"]) == ("step_error", 0)

    async def test_many_rows_come_whole(self, http: Http) -> None:
        sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"
        _, *entries = await self.lines(http, {"baton": None, "batch": {"steps": [{"stmt": {"sql": sql}}]}})
        numbers = [int(entry["row"][0]["value"]) for entry in entries[1:-1]]
        assert numbers == list(range(1, 5001))

    async def test_a_batch_that_does_not_parse_ends_the_stream(self, http: Http, hrana_server: Any) -> None:
        body = {"baton": None, "batch": {"steps": [{"stmt": {"sql": "SELEC"}}]}}
        status, error = await http.post("/v3/cursor", body)
        assert (status, error["code"]) == (400, "SQL_PARSE_ERROR")
        assert hrana_server.open_streams == 0


class TestTokens:
    @pytest.mark.parametrize("path", ["/v1/execute", "/v1/batch", "/v2/pipeline", "/v3/pipeline", "/v3/cursor"])
    async def test_each_endpoint_wants_the_token(self, hrana: Any, tmp_path: Path, path: str) -> None:
        async with (
            hrana.HranaServer(tmp_path / "a.db", token="secret") as server,
            aiohttp.ClientSession() as session,
        ):
            http = Http(session, server.url("http"))
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2VjcmV0"}):
                status, body = await http.post(path, "{", **headers)
                assert status == 401
                assert body["error"].startswith("Authentication failed")
            # Past the check, and then no JSON.
            assert (await http.post(path, "{", Authorization="Bearer secret"))[0] == 400
