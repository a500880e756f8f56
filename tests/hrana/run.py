"""Runs statements, batches and cursors on a connection and builds the structures that answer them. Blocks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from .database import Connection, Execution
from .errors import SqlError
from .messages import Batch, Json, Statement, encode_value

__all__ = ["batch_result", "cursor_entries", "run_sequence", "statement_result"]


def _columns(execution: Execution, version: int) -> list[Json]:
    if version < 2:
        return [{"name": name} for name, _ in execution.columns]
    return [{"name": name, "decltype": kind} for name, kind in execution.columns]


def _row(values: Sequence[Any]) -> list[Json]:
    return [encode_value(value) for value in values]


def statement_result(connection: Connection, statement: Statement, version: int) -> Json:
    """Run a statement to its end and return the ``StmtResult``. Raises: SqlError."""
    begun = time.perf_counter()
    execution = connection.execute(statement)
    # Read to the end in any case: a statement does all of its work only then.
    rows = [_row(values) if statement.want_rows else [] for values in execution.rows()]
    result: Json = {
        "cols": _columns(execution, version),
        "rows": rows if statement.want_rows else [],
        "affected_row_count": execution.affected,
        "last_insert_rowid": None if execution.rowid is None else str(execution.rowid),
    }
    if version >= 3:
        result["rows_read"] = len(rows)
        result["rows_written"] = execution.affected
        result["query_duration_ms"] = (time.perf_counter() - begun) * 1000.0
    return result


def batch_result(connection: Connection, batch: Batch, version: int, *, only: int | None = None) -> Json:
    """Run a batch, or its first ``only`` steps, and return the ``BatchResult``."""
    results: list[Json | None] = []
    errors: list[Json | None] = []
    done: list[bool | None] = []
    for step in batch.steps[:only]:
        result = error = None
        outcome: bool | None = None
        if step.condition is None or step.condition(done, lambda: not connection.in_transaction):
            try:
                result = statement_result(connection, step.statement, version)
                outcome = True
            except SqlError as err:
                error = err.structure()
                outcome = False
        results.append(result)
        errors.append(error)
        done.append(outcome)
    return {"step_results": results, "step_errors": errors}


def cursor_entries(connection: Connection, batch: Batch, version: int) -> Iterator[Json]:
    """Yield the ``CursorEntry`` structures of a batch. A step runs when the entries before it were taken."""
    done: list[bool | None] = []
    for index, step in enumerate(batch.steps):
        if step.condition is not None and not step.condition(done, lambda: not connection.in_transaction):
            done.append(None)
            continue
        try:
            execution = connection.execute(step.statement)
            yield {"type": "step_begin", "step": index, "cols": _columns(execution, version)}
            for values in execution.rows():
                if step.statement.want_rows:
                    yield {"type": "row", "row": _row(values)}
        except SqlError as err:
            done.append(False)
            yield {"type": "step_error", "step": index, "error": err.structure()}
        else:
            done.append(True)
            rowid = None if execution.rowid is None else str(execution.rowid)
            yield {"type": "step_end", "affected_row_count": execution.affected, "last_insert_rowid": rowid}


def run_sequence(connection: Connection, statements: Sequence[str]) -> None:
    """Run statements one after the other, up to the first that fails. Raises: SqlError."""
    for sql in statements:
        for _ in connection.execute(Statement(sql)).rows():
            pass
