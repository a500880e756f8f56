"""Connections to one database file: plain SQLite by apsw, or real LibSQL by the ``libsql`` package.

Everything here blocks, and is called in threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from . import vectors
from .errors import SqlError
from .messages import Statement, Value
from .sql import parameters, shape_of

__all__ = ["Connection", "Database", "Execution"]

_BUSY_S = 5.0
"""How long a statement waits for another stream's lock."""


class Execution(Protocol):
    """One running statement: its columns are known at once, the rest when its rows are all read."""

    columns: Sequence[tuple[str, str | None]]
    """Name and declared type."""
    affected: int
    rowid: int | None

    def rows(self) -> Iterator[Sequence[Value]]:
        """Yield the rows once. Raises: SqlError."""
        ...


class Connection(Protocol):
    def execute(self, statement: Statement) -> Execution:
        """Begin to run a statement. Raises: SqlError."""
        ...

    def describe(self, sql: str) -> dict[str, Any]:
        """Return the ``DescribeResult`` of a statement that is not run. Raises: SqlError."""
        ...

    @property
    def in_transaction(self) -> bool: ...

    def rollback(self) -> None:
        """End the transaction, if there is one."""
        ...

    def close(self) -> None: ...

    def interrupt(self) -> None:
        """Make the statement that runs in another thread fail."""
        ...


@attrs.frozen
class Database:
    """Where streams get their connections from."""

    path: Path
    backend: str = "apsw"
    vectors: bool = True
    limits: bool = True

    def prepare(self) -> None:
        """Create the file and switch it to WAL."""
        if self.backend == "apsw":
            import apsw

            connection = apsw.Connection(str(self.path))
        else:
            import libsql

            connection = libsql.connect(str(self.path), isolation_level=None, timeout=0.0)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.close()

    def open(self) -> Connection:
        """Return a connection of its own. Raises: SqlError."""
        if self.backend == "apsw":
            return ApswConnection(self)
        return LibsqlConnection(self)


def _invalid(problem: str) -> SqlError:
    return SqlError(f"Arguments do not match SQL parameters: {problem}", "ARGS_INVALID")


def bind(statement: Statement, *, limits: bool) -> tuple[Value, ...]:
    """Return a value for each parameter of a statement.

    Positional arguments count all parameters, as the specification says. The LibSQL server gives them to nameless and
    numbered parameters only, so with ``limits`` another parameter without its named argument is an error.
    """
    names = parameters(statement.sql)
    count = len(statement.args) + len(statement.named_args) if limits else len(statement.args)
    if count > len(names):
        raise _invalid(f"too many parameters, expected {len(names)} found {count}")
    named = dict(statement.named_args)
    known = {spelling for name in names if name and name[0] != "?" for spelling in (name, name[1:])}
    if unknown := sorted(named.keys() - known):
        raise _invalid(f"parameter with name {unknown[0]!r} was not found")
    values: list[Value] = []
    for index, name in enumerate(names):
        if name and name[0] != "?" and (name in named or name[1:] in named):
            values.append(named[name] if name in named else named[name[1:]])
        elif index < len(statement.args) and not (limits and name and name[0] != "?"):
            values.append(statement.args[index])
        elif shape_of(statement.sql).verb == "EXPLAIN":
            values.append(None)
        else:
            raise _invalid(f"value for parameter {name or index + 1} not found")
    return tuple(values)


class ApswExecution:
    def __init__(self, connection: Any, statement: Statement, *, limits: bool) -> None:
        self.columns: Sequence[tuple[str, str | None]] = ()
        self.affected = 0
        self.rowid: int | None = None
        self._connection, self._statement = connection, statement
        self._cursor = connection.cursor()
        # apsw forgets the columns when there are no rows; before the first step it knows them.
        self._cursor.exec_trace = self._before
        values = bind(statement, limits=limits)
        try:
            self._cursor.execute(statement.sql, values)
        except Exception as err:
            raise _apsw_error(err) from err

    def _before(self, cursor: Any, _sql: str, _values: Any) -> bool:
        self.columns = cursor.get_description()
        return True

    def rows(self) -> Iterator[Sequence[Value]]:
        try:
            yield from self._cursor
        except Exception as err:
            raise _apsw_error(err) from err
        shape = shape_of(self._statement.sql)
        self.affected = self._connection.changes() if shape.writes_rows else 0
        self.rowid = self._connection.last_insert_rowid() if shape.inserts else None


def _apsw_error(err: Exception) -> SqlError:
    import apsw

    if isinstance(err, apsw.BindingsError):
        return _invalid(str(err))
    if isinstance(err, UnicodeDecodeError):
        return SqlError(f"Text is not UTF-8: {err}", "SQLITE_UNKNOWN")
    result = getattr(err, "result", None)
    if not isinstance(result, int):
        return SqlError(f"SQLite error: {err}", "SQLITE_UNKNOWN")
    if result == apsw.SQLITE_ERROR:
        offset = getattr(err, "error_offset", -1)
        if offset >= 0:
            return SqlError(f"SQL input error: {err} (at offset {offset})", "SQL_INPUT_ERROR")
        # The code that the LibSQL server gives to SQLITE_ERROR.
        return SqlError(f"SQLite error: {err}", "SQLITE_UNKNOWN")
    name = apsw.mapping_result_codes.get(result & 0xFF, "SQLITE_UNKNOWN")
    return SqlError(f"SQLite error: {err}", str(name))


class ApswConnection:
    def __init__(self, database: Database) -> None:
        import apsw

        self._limits = database.limits
        try:
            self._db = apsw.Connection(str(database.path))
        except apsw.Error as err:
            raise _apsw_error(err) from err
        self._db.set_busy_timeout(int(_BUSY_S * 1000))
        # What is committed survives kill -9, and tests need not wait for the disk.
        self._db.execute("PRAGMA synchronous = NORMAL")
        if database.vectors:
            vectors.register(self._db)

    def execute(self, statement: Statement) -> Execution:
        return ApswExecution(self._db, statement, limits=self._limits)

    def describe(self, sql: str) -> dict[str, Any]:
        import apsw

        found: dict[str, Any] = {}

        def before(cursor: Any, _sql: str, _values: Any) -> bool:
            found.update(
                params=[{"name": name} for name in parameters(sql)],
                cols=[{"name": name, "decltype": kind} for name, kind in cursor.get_description()],
                is_explain=cursor.is_explain > 0,
                is_readonly=cursor.is_readonly,
            )
            return False

        cursor = self._db.cursor()
        cursor.exec_trace = before
        try:
            cursor.execute(sql, (None,) * len(parameters(sql)))
        except apsw.ExecTraceAbort:
            pass
        except Exception as err:
            raise _apsw_error(err) from err
        return found

    @property
    def in_transaction(self) -> bool:
        return bool(self._db.in_transaction)

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close(True)

    def interrupt(self) -> None:
        self._db.interrupt()


_LIBSQL_CODES = {
    "locked": "SQLITE_BUSY",
    "constraint": "SQLITE_CONSTRAINT",
    "readonly": "SQLITE_READONLY",
    "disk is full": "SQLITE_FULL",
    "malformed": "SQLITE_CORRUPT",
    "datatype mismatch": "SQLITE_MISMATCH",
}


class LibsqlExecution:
    def __init__(self, connection: Any, columns: Sequence[str], rows: Any, statement: Statement) -> None:
        self.columns: Sequence[tuple[str, str | None]] = [(name, None) for name in columns]
        self._rows = rows
        shape = shape_of(statement.sql)
        # The package's own count is 0 after RETURNING.
        changes, rowid = connection.execute("SELECT changes(), last_insert_rowid()").fetchone()
        self.affected: int = changes if shape.writes_rows else 0
        self.rowid: int | None = rowid if shape.inserts else None

    def rows(self) -> Iterator[Sequence[Value]]:
        yield from self._rows


class LibsqlConnection:
    """The ``libsql`` package: no declared types, errors without codes, and it keeps the interpreter lock."""

    def __init__(self, database: Database) -> None:
        import libsql

        self._limits = database.limits
        self._stop = False
        self._db = libsql.connect(str(database.path), isolation_level=None, timeout=0.0)
        self._db.execute("PRAGMA synchronous = NORMAL")

    def _run(self, sql: str, values: tuple[Value, ...]) -> tuple[Sequence[str], Sequence[Any]]:
        # SQLite's own wait would hold the interpreter lock, and with it the stream that has the file's lock.
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                cursor = self._db.cursor()
                cursor.execute(sql, values)
                columns = [one[0] for one in cursor.description or ()]
                return columns, cursor.fetchall() if columns else []
            except (ValueError, OverflowError) as err:
                text = str(err)
                if "locked" in text and time.monotonic() < deadline and not self._stop:
                    time.sleep(0.005)
                    continue
                code = next((code for part, code in _LIBSQL_CODES.items() if part in text), "SQLITE_UNKNOWN")
                raise SqlError(f"SQLite error: {text}", code) from err

    def execute(self, statement: Statement) -> Execution:
        columns, rows = self._run(statement.sql, bind(statement, limits=self._limits))
        return LibsqlExecution(self._db, columns, rows, statement)

    def describe(self, sql: str) -> dict[str, Any]:
        names = parameters(sql)
        nothing = (None,) * len(names)
        shape = shape_of(sql)
        _, program = self._run(sql if shape.verb == "EXPLAIN" else f"EXPLAIN {sql}", nothing)
        # Transaction's second operand is not 0 for one that writes.
        writes = any(row[1] == "OpenWrite" or (row[1] == "Transaction" and row[3]) for row in program)
        columns: Sequence[str] = ()
        if shape.verb in ("SELECT", "VALUES"):
            # Of other statements the package tells no columns before it runs them.
            columns, _ = self._run(f"SELECT * FROM ({sql.rstrip().rstrip(';')}) LIMIT 0", nothing)
        return {
            "params": [{"name": name} for name in names],
            "cols": [{"name": name, "decltype": None} for name in columns],
            "is_explain": shape.verb == "EXPLAIN",
            "is_readonly": not writes,
        }

    @property
    def in_transaction(self) -> bool:
        return bool(self._db.in_transaction)

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        self.rollback()
        self._db.close()

    def interrupt(self) -> None:
        self._stop = True
