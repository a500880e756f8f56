"""One server, through ``libsql-client``: requests with a time limit, new connections for broken ones, tries repeated.

The library's futures are never cancelled, only left alone: one that was cancelled makes it lose the others when the
connection breaks. Whatever went wrong on a connection, the client object is replaced by a new one.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from math import isfinite
from random import random
from time import monotonic
from types import NoneType
from typing import Any, TypeAlias

from aiohttp import ClientResponseError
from libsql_client import Client, LibsqlError, create_client  # type: ignore[import-untyped]  # it has no py.typed

from kastra_core.errors import ConfigError, StoreError, StoreUnavailableError
from kastra_plugin_libsql._remote.errors import Busy, Guarded, Lost, SqlFailed, classify
from kastra_plugin_libsql._remote.settings import RemoteSettings

__all__ = ["Backoff", "Row", "Server", "Snapshot", "Statement", "check_value"]

Statement: TypeAlias = tuple[str, tuple[Any, ...]]
"""SQL and its bindings."""
Row: TypeAlias = tuple[Any, ...]

_IDLE_S = 30.0
"""A connection that was silent for this long may have been dropped on the way: a new one takes its place."""
_CLOSE_S = 2.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 2.0
_LAST_TRY_S = 0.25


def check_value(value: Any) -> None:
    """Refuse what a server cannot be sent. Raises: TypeError, ValueError, OverflowError."""
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # half a surrogate pair would end the connection
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise OverflowError(f"{value} has more than 64 bits")
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{value} cannot be kept; only finite numbers can")
    elif not isinstance(value, (bytes, NoneType)):
        raise TypeError(f"{type(value).__name__} cannot be kept")


class Backoff:
    """Waits between tries, doubling, until ``timeout_s`` are over. The last try begins a little before that."""

    def __init__(self, timeout_s: float) -> None:
        self._begun = monotonic()
        self._end = self._begun + timeout_s
        self._wait_s = _FIRST_WAIT_S
        self._last_s = min(_LAST_TRY_S, timeout_s / 10)

    @property
    def spent_s(self) -> float:
        return monotonic() - self._begun

    @property
    def left_s(self) -> float:
        return self._end - monotonic()

    async def wait(self) -> bool:
        """Wait before the next try; False when there is no time for one."""
        wait_s = self._wait_s * (0.5 + random())  # noqa: S311 - spreads clients, guards nothing
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        most_s = self.left_s - self._last_s
        if most_s <= 0:
            return False
        await asyncio.sleep(min(wait_s, most_s))
        return True


class Server:
    """What a store's parts ask; used by one event loop."""

    def __init__(self, settings: RemoteSettings) -> None:
        self.settings = settings
        self.requests = 0
        """Requests sent so far, those of repeated tries included."""
        self._client: Client | None = None
        self._used = 0.0
        self._running: set[asyncio.Future[Any]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    # --------------------------------------------------------------------------------------------- requests

    async def read(self, *statements: Statement) -> list[list[Row]]:
        """The rows of each statement, all as of one moment; tried again until ``timeout_s`` are over.

        Raises: StoreUnavailableError, StoreError.
        """
        return await self.repeat(statements, Backoff(self.settings.timeout_s))

    async def rows(self, sql: str, *bindings: Any) -> list[Row]:
        """The rows of one statement."""
        [rows] = await self.read((sql, bindings))
        return rows

    async def first(self, sql: str, *bindings: Any) -> Row | None:
        rows = await self.rows(sql, *bindings)
        return rows[0] if rows else None

    async def repeat(self, statements: Sequence[Statement], backoff: Backoff) -> list[list[Row]]:
        """Carry out what may safely be done twice, until there is an answer."""
        for _, bindings in statements:
            for value in bindings:
                check_value(value)
        while True:
            try:
                return await self.once(statements, backoff.left_s)
            except (Lost, Busy) as err:
                if not await backoff.wait():
                    raise self.unavailable(err, backoff.spent_s) from err
            except SqlFailed as err:
                raise self.failed(err) from err
            except Guarded as err:  # no guard of ours: a read has none
                raise self.failed(SqlFailed(str(err.__cause__), "UNKNOWN")) from err

    async def once(self, statements: Sequence[Statement], timeout_s: float) -> list[list[Row]]:
        """One request for all statements, in one transaction when they are several.

        Raises:
            Lost: no answer; whether it was done is not known.
            Busy, Guarded, SqlFailed: nothing was done.
            StoreUnavailableError, StoreError: it makes no sense to try again.
        """
        if self._closed:
            raise StoreUnavailableError(f"store {self.settings.shown} is closed; open it again")
        client = self._open()
        self.requests += 1
        asking = asyncio.ensure_future(_ask(client, statements))
        self.watch(asking)
        await asyncio.wait((asking,), timeout=max(timeout_s, 0.001))
        if not asking.done():
            self._drop(client)
            raise Lost("it did not answer")
        error = None if asking.cancelled() else asking.exception()
        if asking.cancelled():
            raise Lost("the connection was closed")
        if error is None:
            self._used = monotonic()
            return asking.result()
        answer = classify(self.settings, error)
        if not isinstance(answer, (Busy, Guarded, SqlFailed)):
            self._drop(client)
        # What aiohttp knows of a request has the token among its headers.
        raise answer from None if isinstance(error, ClientResponseError) else error

    def unavailable(self, err: Exception, waited_s: float) -> StoreUnavailableError:
        """The error for a server that gave no answer for so long."""
        return StoreUnavailableError(
            f"store {self.settings.shown}: no answer within {waited_s:.1f} s ({err}); check that the server runs and "
            "can be reached"
        )

    def failed(self, err: SqlFailed) -> StoreError:
        return StoreError(f"store {self.settings.shown}: the server says {err} ({err.code})")

    # --------------------------------------------------------------------------------------------- connections

    def _open(self) -> Client:
        client = self._client
        if client is not None and monotonic() - self._used > _IDLE_S and not self._running:
            self._drop(client)
            client = None
        if client is None:
            settings = self.settings
            try:
                client = create_client(settings.target, auth_token=settings.auth_token, tls=settings.tls)
            except LibsqlError as err:
                raise ConfigError(f"store URL {settings.shown!r}: {settings.scrubbed(err.explanation)}") from None
            self._client, self._used = client, monotonic()
        return client

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One state of the database for the length of the block; only over a WebSocket. Nothing is tried again."""
        client = self._open()
        transaction = client.transaction()
        try:
            yield Snapshot(self, transaction)
        finally:
            transaction.close()

    def watch(self, asking: asyncio.Future[Any]) -> None:
        """Keep a request until it ends, whoever waits for it."""
        self._running.add(asking)
        asking.add_done_callback(self._answered)

    def _answered(self, asking: asyncio.Future[Any]) -> None:
        self._running.discard(asking)
        if not asking.cancelled():
            asking.exception()  # seen, also when nobody waits for it any more

    def _drop(self, client: Client) -> None:
        """Do not use a client again; whoever waits for it learns that it is lost."""
        if self._client is client:
            self._client = None
            task = asyncio.ensure_future(_close(client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._client is not None:
            self._drop(self._client)
        while self._closing or self._running:
            _, late = await asyncio.wait((*self._closing, *self._running), timeout=2 * _CLOSE_S)
            for task in late:
                task.cancel()


class Snapshot:
    """Reads in one transaction of the library."""

    def __init__(self, server: Server, transaction: Any) -> None:
        self._server, self._transaction = server, transaction

    async def rows(self, sql: str, *bindings: Any) -> list[Row]:
        """Raises: StoreUnavailableError, StoreError."""
        server = self._server
        server.requests += 1
        begun = monotonic()
        asking = asyncio.ensure_future(self._transaction.execute(sql, bindings))
        server.watch(asking)
        await asyncio.wait((asking,), timeout=server.settings.timeout_s)
        if not asking.done():
            raise server.unavailable(Lost("it did not answer"), monotonic() - begun)
        error = asking.exception()
        if error is None:
            return [row.astuple() for row in asking.result()]
        answer = classify(server.settings, error)
        if isinstance(answer, (Busy, Lost)):
            raise StoreUnavailableError(
                f"store {server.settings.shown}: the server ended the transaction ({answer}); "
                "try again when it has less to do"
            ) from error
        raise (server.failed(answer) if isinstance(answer, SqlFailed) else answer) from error


async def _ask(client: Client, statements: Sequence[Statement]) -> list[list[Row]]:
    if len(statements) == 1:
        [(sql, bindings)] = statements
        return [[row.astuple() for row in await client.execute(sql, bindings)]]
    # aiohttp would rather be given large bodies in another way, which the library does not know.
    warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)
    results = await client.batch(list(statements))
    return [[row.astuple() for row in result] for result in results]


async def _close(client: Client) -> None:
    with suppress(Exception):
        try:
            # The library waits long for a peer that says nothing.
            await asyncio.wait_for(client.close(), _CLOSE_S)
        except TimeoutError:
            await client.close()
