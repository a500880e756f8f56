"""Streams, and one request on a stream: what WebSocket and HTTP share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import attrs

from .database import Connection, Database
from .errors import BadMessageError, CutError, ProtocolError, SqlError
from .faults import Faults, Log, Received
from .messages import Json, Reader, field
from .run import batch_result, cursor_entries, run_sequence, statement_result

__all__ = ["Job", "Service", "Stream", "close_sql", "read_cursor", "read_job", "store_sql", "unknown"]

T = TypeVar("T")


@attrs.frozen
class Job:
    """One request, read and checked, that a stream can run in a thread."""

    kind: str
    sql: tuple[str, ...]
    run: Callable[[Connection], Json]
    """Returns the response without its type. Raises: SqlError."""
    begin: Callable[[Connection, int], Json] | None = None
    """For a batch: runs only so many steps."""


@attrs.define
class Service:
    """What all connections of one server share."""

    database: Database
    token: str | None
    faults: Faults
    log: Log
    idle_s: float
    transaction_s: float
    pool: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(256, "hrana"))
    streams: set[Stream] = attrs.field(factory=set)

    def reader(self, version: int, stored: dict[int, str]) -> Reader:
        limits = self.database.limits
        # LibSQL's own additions to SQL are no syntax for the plain SQLite that checks it.
        return Reader(version, stored, limits=limits, syntax=limits and self.database.backend == "apsw")

    def authenticate(self, given: str | None, *, missing: SqlError) -> None:
        """Raise SqlError unless the token is right."""
        if self.faults.refusing_tokens:
            raise SqlError("Authentication failed: The JWT is invalid", "AUTH_JWT_INVALID")
        if self.token is None:
            return
        if given is None:
            raise missing
        if given != self.token:
            raise SqlError("Authentication failed: The JWT is invalid", "AUTH_JWT_INVALID")

    async def perform(self, stream: Stream, job: Job, received: Received) -> Json:
        """Run one request and return its response, or meet its fault. Raises: SqlError, CutError."""
        self.log.add(received)
        rule = self.faults.take(job.kind, job.sql)
        action = None if rule is None else rule.action
        if (held := self.faults.held(job.kind)) is not None:
            await stream.until(held)
        if stream.ended.is_set():
            # Its connection went away while it waited.
            raise CutError
        if action == "cut_before":
            raise CutError
        if action == "fail":
            raise SqlError("This request fails because the test asked for it", "FAULT")
        if rule is not None and action == "cut_in_batch" and job.begin is not None:
            begin, steps = job.begin, rule.steps
            await stream.call(lambda on: begin(on, steps))
            raise CutError
        response: Json | SqlError
        try:
            response = await stream.call(job.run)
        except SqlError as err:
            response = err
        if action == "cut_after":
            raise CutError
        if delay_s := self.faults.take_delay():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stream.ended.wait(), delay_s)
        if isinstance(response, SqlError):
            raise response
        return response

    async def close(self) -> None:
        """Close every stream, without waiting for locks."""
        for stream in list(self.streams):
            stream.interrupt()
        await asyncio.gather(*(stream.close() for stream in list(self.streams)))
        await asyncio.get_running_loop().run_in_executor(None, self.pool.shutdown)


class Stream:
    """A connection of its own, used by one request at a time."""

    def __init__(self, service: Service) -> None:
        self.ended = asyncio.Event()
        self.sqls: dict[int, str] = {}
        self._service = service
        self._connection: Connection | None = None
        self._entries: Iterator[Json] | None = None
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None
        self._timed_out = False
        service.streams.add(self)

    async def _thread(self, work: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._service.pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The thread goes on, and the connection is its until it is done.
            await asyncio.wait([future])
            raise

    async def open(self) -> None:
        """Open the connection. Raises: SqlError."""
        async with self._lock:
            self._connection = await self._thread(self._service.database.open)

    async def call(self, work: Callable[[Connection], T]) -> T:
        """Run work on the connection in a thread. Raises: SqlError."""
        async with self._lock:
            connection = self._connection
            if connection is None:
                raise SqlError("The stream is not open", "STREAM_NOT_OPEN")
            if self._timed_out:
                self._timed_out = False
                raise SqlError("Transaction timed out", "TRANSACTION_TIMEOUT")
            before = self._timer is not None

            def both() -> tuple[T | SqlError, bool]:
                try:
                    result: T | SqlError = work(connection)
                except SqlError as err:
                    result = err
                return result, connection.in_transaction

            result, inside = await self._thread(both)
            if inside and not before:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._service.transaction_s, self._expire)
            elif before and not inside:
                self._stop_timer()
        if isinstance(result, SqlError):
            raise result
        return result

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._ending = asyncio.ensure_future(self._end_transaction(self._timer))

    async def _end_transaction(self, timer: asyncio.TimerHandle | None) -> None:
        async with self._lock:
            if self._timer is timer and self._connection is not None:
                self._timer = None
                self._entries = None
                await self._thread(self._connection.rollback)
                self._timed_out = True

    def begin_entries(self, entries: Callable[[Connection], Iterator[Json]]) -> Callable[[Connection], Json]:
        """Return work that begins a cursor."""

        def work(connection: Connection) -> Json:
            self._entries = entries(connection)
            return {}

        return work

    def take_entries(self, most: int) -> Callable[[Connection], Json]:
        """Return work that fetches from the cursor: a ``FetchCursorResp`` without its type."""

        def work(_: Connection) -> Json:
            if self._entries is None:
                raise SqlError("The cursor has failed to open", "CURSOR_NOT_OPEN")
            found = list(islice(self._entries, most))
            return {"entries": found, "done": len(found) < most}

        return work

    def end_entries(self, _: Connection) -> Json:
        """Run the rest of the cursor's batch, as a server does whose client stops to read."""
        if self._entries is not None:
            for _entry in self._entries:
                pass
            self._entries = None
        return {}

    async def until(self, event: asyncio.Event) -> None:
        """Wait for an event or for the end of this stream."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def interrupt(self) -> None:
        self.ended.set()
        if self._connection is not None:
            self._connection.interrupt()

    async def close(self) -> None:
        """Roll back what is open and close the connection."""
        self.ended.set()
        async with self._lock:
            self._stop_timer()
            self._entries = None
            connection, self._connection = self._connection, None
            if connection is not None:
                await self._thread(connection.close)
        self._service.streams.discard(self)


def read_job(reader: Reader, kind: str, message: Json) -> Job | None:
    """Return the request of a type that WebSocket and HTTP streams have in common, None for another type.

    Raises: ProtocolError; SqlError where its SQL is refused before anything runs.
    """
    version = reader.version
    if kind == "execute":
        statement = reader.statement(field(message, "stmt", "object"))
        return Job(kind, (statement.sql,), lambda on: {"result": statement_result(on, statement, version)})
    if kind == "batch":
        batch = reader.batch(field(message, "batch", "object"))
        return Job(
            kind,
            batch.sql,
            lambda on: {"result": batch_result(on, batch, version)},
            lambda on, steps: batch_result(on, batch, version, only=steps),
        )
    if kind == "sequence":
        reader.needs(2, "The `sequence` request")
        statements = reader.sequence(message)

        def run(on: Connection) -> Json:
            run_sequence(on, statements)
            return {}

        return Job(kind, statements, run)
    if kind == "describe":
        reader.needs(2, "The `describe` request")
        text = reader.described(message)
        return Job(kind, (text,), lambda on: {"result": on.describe(text)})
    if kind == "get_autocommit":
        reader.needs(3, "The `get_autocommit` request")
        return Job(kind, (), lambda on: {"is_autocommit": not on.in_transaction})
    return None


def read_cursor(reader: Reader, stream: Stream, kind: str, message: Json) -> Job:
    """Return the request that begins a cursor. Raises: as ``read_job``."""
    batch = reader.batch(field(message, "batch", "object"))
    version = reader.version
    return Job(kind, batch.sql, stream.begin_entries(lambda on: cursor_entries(on, batch, version)))


def unknown(kind: Any) -> BadMessageError:
    return BadMessageError(f"unknown type of request {kind!r}")


def store_sql(reader: Reader, stored: dict[int, str], message: Json, *, most: int) -> None:
    """Keep an SQL text. Raises: ProtocolError if its number is in use; SqlError if there are too many."""
    reader.needs(2, "The `store_sql` request")
    number, sql = field(message, "sql_id", "int32"), field(message, "sql", "string")
    if number in stored:
        raise ProtocolError(f"SQL text {number} already exists")
    if reader.limits and len(stored) >= most:
        raise SqlError(f"The server already stores {len(stored)} SQL texts, it cannot store more", "SQL_STORE_TOO_MANY")
    stored[number] = sql


def close_sql(reader: Reader, stored: dict[int, str], message: Json) -> None:
    """Forget an SQL text; one that is not there is no error."""
    reader.needs(2, "The `close_sql` request")
    stored.pop(field(message, "sql_id", "int32"), None)
