"""The test server itself: batches, cursors, stored texts, and both of its databases."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
async def socket(hrana: Any, hrana_server: Any) -> AsyncIterator[Any]:
    """A socket of version 3 with stream 1 open and an empty table t."""
    async with hrana.RawSocket(hrana_server.url("ws"), "hrana3") as raw:
        await raw.ask("open_stream", stream_id=1)
        await raw.run(1, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE)")
        yield raw


def step(sql: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"stmt": {"sql": sql}, "condition": condition}


def ok(index: int) -> dict[str, Any]:
    return {"type": "ok", "step": index}


def failed(index: int) -> dict[str, Any]:
    return {"type": "error", "step": index}


def negated(condition: dict[str, Any]) -> dict[str, Any]:
    return {"type": "not", "cond": condition}


AUTOCOMMIT = {"type": "is_autocommit"}


class TestBatches:
    async def ran(self, socket: Any, *conditions: dict[str, Any] | None) -> list[bool]:
        """Which steps ran after one that succeeds (0), one that fails (1) and one that is skipped (2)."""
        steps = [step("SELECT 1"), step("SELECT * FROM missing"), step("SELECT 1", ok(1))]
        steps += [step("SELECT 1", condition) for condition in conditions]
        answer = await socket.ask("batch", stream_id=1, batch={"steps": steps})
        results, errors = answer["result"]["step_results"], answer["result"]["step_errors"]
        assert [result is not None for result in results[:3]] == [True, False, False]
        assert [error is not None for error in errors] == [False, True, False] + [False] * len(conditions)
        return [result is not None for result in results[3:]]

    async def test_conditions_decide_which_steps_run(self, socket: Any) -> None:
        conditions = [None, ok(0), ok(1), ok(2), failed(0), failed(1), failed(2)]
        assert await self.ran(socket, *conditions) == [True, True, False, False, False, True, False]

    async def test_conditions_combine(self, socket: Any) -> None:
        def both(kind: str, *conditions: dict[str, Any]) -> dict[str, Any]:
            return {"type": kind, "conds": list(conditions)}

        conditions = [
            negated(ok(0)),
            negated(ok(2)),
            both("and", ok(0), failed(1)),
            both("and", ok(0), ok(1)),
            both("or", ok(1), failed(1)),
            both("or", ok(1), ok(2)),
            both("and"),
            both("or"),
        ]
        assert await self.ran(socket, *conditions) == [False, True, True, False, True, False, True, False]

    async def test_a_failed_step_lets_the_transaction_be_rolled_back(self, socket: Any) -> None:
        steps = [
            step("BEGIN"),
            step("INSERT INTO t (b) VALUES ('x')", ok(0)),
            step("INSERT INTO t (b) VALUES ('x')", ok(1)),
            step("COMMIT", ok(2)),
            step("ROLLBACK", {"type": "and", "conds": [negated(ok(3)), negated(AUTOCOMMIT)]}),
        ]
        answer = await socket.ask("batch", stream_id=1, batch={"steps": steps})
        assert [error and error["code"] for error in answer["result"]["step_errors"]] == [
            None, None, "SQLITE_CONSTRAINT", None, None,
        ]  # fmt: skip
        assert await socket.rows(1, "SELECT * FROM t") == []
        assert await socket.ask("get_autocommit", stream_id=1) == {"is_autocommit": True}

    async def test_a_text_that_does_not_parse_fails_the_batch_before_it_begins(self, socket: Any) -> None:
        steps = [step("INSERT INTO t (b) VALUES ('x')"), step("INSER INTO t")]
        answer = await socket.ask("batch", stream_id=1, batch={"steps": steps})
        assert answer["error"]["code"] == "SQL_PARSE_ERROR"
        assert await socket.rows(1, "SELECT * FROM t") == []

    async def test_a_batch_may_be_empty(self, socket: Any) -> None:
        answer = await socket.ask("batch", stream_id=1, batch={"steps": []})
        assert answer == {"result": {"step_results": [], "step_errors": []}}


class TestTexts:
    async def test_a_sequence_runs_up_to_its_first_error(self, socket: Any) -> None:
        text = "INSERT INTO t (b) VALUES (';'); -- one\n\nINSERT INTO t (b) VALUES ('2');"
        assert await socket.ask("sequence", stream_id=1, sql=text) == {}
        text = "INSERT INTO t (b) VALUES ('3'); INSERT INTO t (b) VALUES ('3'); INSERT INTO t (b) VALUES ('4')"
        answer = await socket.ask("sequence", stream_id=1, sql=text)
        assert answer["error"]["code"] == "SQLITE_CONSTRAINT"
        assert await socket.rows(1, "SELECT b FROM t") == [[";"], ["2"], ["3"]]
        assert await socket.ask("sequence", stream_id=1, sql="") == {}

    async def test_stored_texts_serve_every_request_of_the_socket(self, socket: Any) -> None:
        await socket.ask("open_stream", stream_id=2)
        assert await socket.ask("store_sql", sql_id=-7, sql="SELECT 5") == {}
        for stream in (1, 2):
            answer = await socket.ask("execute", stream_id=stream, stmt={"sql_id": -7})
            assert answer["result"]["rows"] == [[{"type": "integer", "value": "5"}]]
        assert await socket.ask("sequence", stream_id=1, sql_id=-7, sql=None) == {}
        assert (await socket.ask("describe", stream_id=1, sql_id=-7))["result"]["is_readonly"]
        batch = {"steps": [{"stmt": {"sql_id": -7}}]}
        assert (await socket.ask("batch", stream_id=1, batch=batch))["result"]["step_errors"] == [None]

    async def test_a_closed_number_may_be_used_again_and_closing_none_is_no_error(self, socket: Any) -> None:
        assert await socket.ask("close_sql", sql_id=1) == {}
        for _ in range(2):
            assert await socket.ask("store_sql", sql_id=1, sql="SELECT 1") == {}
            assert await socket.ask("close_sql", sql_id=1) == {}

    async def test_a_number_in_use_closes_the_socket(self, socket: Any) -> None:
        await socket.ask("store_sql", sql_id=1, sql="SELECT 1")
        await socket.post("store_sql", sql_id=1, sql="SELECT 1")
        assert await socket.closed() == 1008

    async def test_there_is_an_end_to_stored_texts(self, socket: Any) -> None:
        for number in range(150):
            await socket.ask("store_sql", sql_id=number, sql="SELECT 1")
        assert (await socket.ask("store_sql", sql_id=150, sql=""))["error"]["code"] == "SQL_STORE_TOO_MANY"

    @pytest.mark.parametrize(
        ("sql", "params", "cols", "explain", "readonly"),
        [
            ("SELECT a, b AS c, 1 FROM t WHERE a = ? AND b = :b", [None, ":b"], "a:INTEGER c:TEXT 1:None", False, True),
            ("SELECT ?3, @x, $y", [None, None, "?3", "@x", "$y"], "?3:None @x:None $y:None", False, True),
            ("INSERT INTO t (b) VALUES (?1) RETURNING a", ["?1"], "a:INTEGER", False, False),
            ("DELETE FROM t", [], "", False, False),
            ("EXPLAIN QUERY PLAN SELECT 1", [], "id:None parent:None notused:None detail:None", True, True),
        ],
    )
    async def test_describe_tells_what_a_statement_takes_and_gives(
        self, socket: Any, sql: str, params: list[str | None], cols: str, explain: bool, readonly: bool
    ) -> None:
        assert (await socket.ask("describe", stream_id=1, sql=sql))["result"] == {
            "params": [{"name": name} for name in params],
            "cols": [
                {"name": name, "decltype": None if kind == "None" else kind}
                for name, kind in (column.split(":") for column in cols.split())
            ],
            "is_explain": explain,
            "is_readonly": readonly,
        }

    async def test_describe_runs_nothing_and_answers_errors(self, socket: Any) -> None:
        await socket.ask("describe", stream_id=1, sql="INSERT INTO t (b) VALUES ('x')")
        assert await socket.rows(1, "SELECT * FROM t") == []
        assert "error" in await socket.ask("describe", stream_id=1, sql="SELECT * FROM missing")


class TestCursors:
    STEPS = (
        step("INSERT INTO t (b) VALUES ('x'), ('y')"),
        step("SELECT b FROM t"),
        step("SELECT * FROM missing"),
        step("SELECT 1", failed(1)),
        step("SELECT abs(iif(a = 1, 1, -9223372036854775807 - 1)) AS n FROM t"),
    )

    async def test_a_cursor_tells_a_batch_entry_by_entry(self, socket: Any) -> None:
        assert await socket.ask("open_cursor", stream_id=1, cursor_id=4, batch={"steps": list(self.STEPS)}) == {}
        entries: list[Any] = []
        done = False
        while not done:
            answer = await socket.ask("fetch_cursor", cursor_id=4, max_count=2)
            assert len(answer["entries"]) <= 2
            entries += answer["entries"]
            done = answer["done"]
        kinds = [(entry["type"], entry.get("step")) for entry in entries]
        assert kinds == [
            ("step_begin", 0), ("step_end", None),
            ("step_begin", 1), ("row", None), ("row", None), ("step_end", None),
            ("step_error", 2),
            ("step_begin", 4), ("row", None), ("step_error", 4),
        ]  # fmt: skip
        assert entries[1] == {"type": "step_end", "affected_row_count": 2, "last_insert_rowid": "2"}
        assert entries[2]["cols"] == [{"name": "b", "decltype": "TEXT"}]
        assert entries[3]["row"] == [{"type": "text", "value": "x"}]
        again = await socket.ask("fetch_cursor", cursor_id=4, max_count=2)
        assert again == {"entries": [], "done": True}
        assert await socket.ask("close_cursor", cursor_id=4) == {}

    async def test_a_closed_cursor_frees_its_number_and_its_stream(self, socket: Any) -> None:
        for _ in range(2):
            await socket.ask("open_cursor", stream_id=1, cursor_id=4, batch={"steps": self.STEPS[:1]})
            assert await socket.ask("close_cursor", cursor_id=4) == {}
            # What nobody fetched was run all the same.
            assert await socket.rows(1, "SELECT count(*) FROM t") == [["2"]]

    async def test_the_end_of_a_stream_closes_its_cursor(self, socket: Any) -> None:
        await socket.ask("open_cursor", stream_id=1, cursor_id=4, batch={"steps": list(self.STEPS)})
        await socket.ask("fetch_cursor", cursor_id=4, max_count=1)
        assert await socket.ask("close_stream", stream_id=1) == {}
        await socket.post("fetch_cursor", cursor_id=4, max_count=1)
        assert await socket.closed() == 1008

    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            ("execute", {"stream_id": 1, "stmt": {"sql": "SELECT 1"}}),
            ("open_cursor", {"stream_id": 1, "cursor_id": 5, "batch": {"steps": []}}),
            ("open_cursor", {"stream_id": 2, "cursor_id": 4, "batch": {"steps": []}}),
            ("fetch_cursor", {"cursor_id": 4, "max_count": -1}),
        ],
    )
    async def test_what_an_open_cursor_forbids_closes_the_socket(
        self, socket: Any, kind: str, fields: dict[str, Any]
    ) -> None:
        await socket.ask("open_stream", stream_id=2)
        await socket.ask("open_cursor", stream_id=1, cursor_id=4, batch={"steps": []})
        await socket.post(kind, **fields)
        assert await socket.closed() in (1007, 1008)

    async def test_a_cursor_that_fails_to_open_keeps_its_number_until_closed(self, socket: Any) -> None:
        batch = {"steps": [step("SELEC 1")]}
        assert "error" in await socket.ask("open_cursor", stream_id=1, cursor_id=4, batch=batch)
        answer = await socket.ask("fetch_cursor", cursor_id=4, max_count=1)
        assert answer["error"]["code"] == "CURSOR_NOT_OPEN"
        assert await socket.ask("close_cursor", cursor_id=4) == {}
        assert await socket.rows(1, "SELECT 1") == [["1"]]


class TestDatabases:
    @pytest.fixture(params=["apsw", "libsql"])
    async def stream(self, hrana: Any, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
        """Stream 1 on a server with either database."""
        async with (
            hrana.HranaServer(tmp_path / "a.db", backend=request.param) as server,
            hrana.RawSocket(server.url("ws"), "hrana3") as raw,
        ):
            await raw.ask("open_stream", stream_id=1)
            await raw.run(1, "CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB UNIQUE)")
            yield raw

    async def test_both_run_statements_alike(self, stream: Any) -> None:
        result = await stream.run(1, "INSERT INTO t (b) VALUES (?) RETURNING b", b"\x00\x01")
        assert result["rows"] == [[{"type": "blob", "base64": "AAE"}]]
        assert (result["affected_row_count"], result["last_insert_rowid"]) == (1, "1")
        assert [col["name"] for col in result["cols"]] == ["b"]
        answer = await stream.run(1, "INSERT INTO t (b) VALUES (:b)", named={"b": b"\x00\x01"})
        assert answer["error"]["code"] == "SQLITE_CONSTRAINT"
        result = await stream.run(1, "SELECT a AS n FROM t WHERE 0")
        assert (result["cols"][0]["name"], result["rows"]) == ("n", [])

    async def test_both_tell_the_state_of_a_transaction(self, stream: Any) -> None:
        await stream.run(1, "BEGIN")
        assert await stream.ask("get_autocommit", stream_id=1) == {"is_autocommit": False}
        await stream.run(1, "INSERT INTO t (b) VALUES (1)")
        await stream.run(1, "ROLLBACK")
        assert await stream.ask("get_autocommit", stream_id=1) == {"is_autocommit": True}
        assert await stream.rows(1, "SELECT * FROM t") == []

    async def test_both_describe(self, stream: Any) -> None:
        result = (await stream.ask("describe", stream_id=1, sql="SELECT a, b FROM t WHERE a > :n"))["result"]
        assert result["params"] == [{"name": ":n"}]
        assert [col["name"] for col in result["cols"]] == ["a", "b"]
        assert (result["is_explain"], result["is_readonly"]) == (False, True)
        result = (await stream.ask("describe", stream_id=1, sql="DELETE FROM t"))["result"]
        assert result["is_readonly"] is False

    async def test_a_lock_of_one_stream_holds_up_no_other_in_both(self, stream: Any) -> None:
        for number in (2, 3):
            await stream.ask("open_stream", stream_id=number)
        await stream.run(1, "BEGIN IMMEDIATE")
        waiting = await stream.post("execute", stream_id=2, stmt={"sql": "INSERT INTO t (b) VALUES (2)"})
        assert await stream.rows(3, "SELECT 1") == [["1"]]
        committing = await stream.post("execute", stream_id=1, stmt={"sql": "COMMIT"})
        assert {(await stream.receive())["request_id"] for _ in range(2)} == {waiting, committing}

    async def test_both_compute_vector_distances(self, stream: Any) -> None:
        await stream.run(1, "INSERT INTO t (b) VALUES (vector32('[1, 0]')), (vector32('[3, 4]'))")
        query = struct.pack("<2f", 0.0, 2.0)
        rows = await stream.rows(1, "SELECT vector_extract(b), vector_distance_cos(b, ?) AS d FROM t ORDER BY d", query)
        assert [row[0] for row in rows] == ["[3,4]", "[1,0]"]
        assert [row[1] for row in rows] == pytest.approx([0.2, 1.0], abs=1e-6)

    async def test_both_refuse_what_is_no_vector(self, stream: Any) -> None:
        for sql in (
            "SELECT vector32('1, 2')",
            "SELECT vector32('[1, x]')",
            "SELECT vector32(NULL)",
            "SELECT vector_distance_cos(vector32('[1]'), vector32('[1, 2]'))",
        ):
            assert (await stream.run(1, sql))["error"]["message"].startswith("SQLite error: vector")
        assert await stream.rows(1, "SELECT vector_distance_cos('[0, 0]', '[0, 1]')") == [[None]]

    async def test_libsql_has_its_vector_index(self, hrana: Any, tmp_path: Path) -> None:
        async with (
            hrana.HranaServer(tmp_path / "v.db", backend="libsql") as server,
            hrana.RawSocket(server.url("ws"), "hrana3") as raw,
        ):
            await raw.ask("open_stream", stream_id=1)
            await raw.run(1, "CREATE TABLE v (id INTEGER PRIMARY KEY, e F32_BLOB(2))")
            await raw.run(1, "CREATE INDEX v_e ON v (libsql_vector_idx(e))")
            await raw.run(1, "INSERT INTO v (e) VALUES (vector32('[1, 0]')), (vector32('[0, 1]'))")
            assert await raw.rows(1, "SELECT id FROM vector_top_k('v_e', vector32('[0, 2]'), 1)") == [["2"]]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8))
def test_vectors_keep_their_float32_values(hrana: Any, numbers: list[float]) -> None:
    import apsw

    connection = apsw.Connection(":memory:")
    hrana.register_vectors(connection)
    [[blob]] = connection.execute("SELECT vector32(?)", (json.dumps(numbers),))
    assert struct.unpack(f"<{len(numbers)}f", blob) == tuple(numbers)
    connection.close()


@given(st.lists(st.sampled_from(["?", "?2", "?5", ":a", "@a", "$b", "':x'", "/* ? */ 1", '"?"', "x'00'"]), max_size=8))
def test_parameters_are_numbered_as_sqlite_does(hrana: Any, parts: list[str]) -> None:
    import apsw

    sql = "SELECT " + ", ".join(["1", *parts]) + " FROM (SELECT 1 AS '?')"
    seen: list[Any] = []
    connection = apsw.Connection(":memory:")
    cursor = connection.cursor()

    def before(cursor: Any, *_: Any) -> bool:
        seen.append(cursor.bindings_names)
        return False

    cursor.exec_trace = before
    names = hrana.parameters(sql)
    with pytest.raises(apsw.ExecTraceAbort):
        cursor.execute(sql, (None,) * len(names))
    assert tuple(name and name[1:] for name in names) == seen[0]
    connection.close()
