"""Hrana over HTTP: version 1 without streams, versions 2 and 3 with batons."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import UserDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

import attrs
import orjson
from aiohttp import web

from .errors import BadMessageError, CutError, ProtocolError, SqlError
from .faults import Received
from .messages import Json, Reader, field, parse
from .service import Service, Stream, close_sql, read_cursor, read_job, store_sql, unknown

__all__ = ["Http"]

_MOST_SQL_TEXTS = 50
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.define(eq=False)
class _Known:
    """A stream that a baton names."""

    number: int
    sequence: int
    stream: Stream
    busy: bool = True
    timer: asyncio.TimerHandle | None = None


class _EndError(Exception):
    """The stream is no more, or never was: a status with an ``Error`` structure."""

    def __init__(self, status: int, cause: SqlError) -> None:
        super().__init__(status, cause)
        self.status, self.cause = status, cause


class _AnyText(UserDict[int, str]):
    """Stands for stored texts while only the shape of a request is looked at."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: int) -> str:
        return "SELECT 1"


def _json(status: int, body: Json) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _v1_status(code: str) -> int:
    """Return the status that the LibSQL server gives a failed request of version 1."""
    if code == "ARGS_BOTH_POSITIONAL_AND_NAMED":
        return 501
    if code in ("TRANSACTION_TIMEOUT", "TRANSACTION_BUSY"):
        return 503
    return 500 if code.startswith("SQLITE_") else 400


class Http:
    """The HTTP side of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._key = secrets.token_bytes(32)
        self._streams: dict[int, _Known] = {}
        self._expired: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.post("/v1/execute", self._guarded(partial(self._version_1, kind="execute"))),
            web.post("/v1/batch", self._guarded(partial(self._version_1, kind="batch"))),
            web.post("/v2/pipeline", self._guarded(partial(self._pipeline, version=2))),
            web.post("/v3/pipeline", self._guarded(partial(self._pipeline, version=3))),
            web.post("/v3/cursor", self._guarded(self._cursor)),
            *(web.get(f"/v{version}", self._index, allow_head=False) for version in (1, 2, 3)),
        ]

    async def _index(self, _: web.Request) -> web.Response:
        if self._service.faults.take_unavailable():
            return web.Response(status=503, text="Service unavailable")
        return web.Response(text="This server speaks Hrana over HTTP")

    def _guarded(self, handler: _Handler) -> _Handler:
        """Return the handler with what all requests share: faults, the token, errors, a cut."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self._service.log.count("http")
            if self._service.faults.take_unavailable():
                self._service.log.count("refused")
                return web.Response(status=503, text="Service unavailable")
            try:
                self._authenticate(request)
            except SqlError as err:
                # Not an `Error` structure: that is how the LibSQL server answers here.
                return _json(401, {"error": err.message})
            try:
                return await handler(request)
            except ProtocolError as err:
                return web.Response(status=400, text=str(err))
            except _EndError as err:
                return _json(err.status, err.cause.structure())
            except CutError:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)

        return handle

    def _authenticate(self, request: web.Request) -> None:
        header = request.headers.get("Authorization")
        token = None
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" and self._service.token is not None:
                raise SqlError("Authentication failed: Unsupported scheme", "AUTH_HTTP_HEADER_UNSUPPORTED_SCHEME")
        missing = SqlError("Authentication failed: Expected authorization header", "AUTH_HTTP_HEADER_MISSING")
        self._service.authenticate(token, missing=missing)

    async def _version_1(self, request: web.Request, *, kind: str) -> web.Response:
        body = parse(await request.read())
        try:
            job = read_job(self._service.reader(1, {}), kind, body)
            assert job is not None
            stream = Stream(self._service)
            try:
                await stream.open()
                response = await self._service.perform(stream, job, Received(kind, "http", 1, job.sql))
            finally:
                await stream.close()
        except SqlError as err:
            return _json(_v1_status(err.code), err.structure())
        return _json(200, response)

    async def _pipeline(self, request: web.Request, *, version: int) -> web.Response:
        body = parse(await request.read())
        requests = field(body, "requests", "array")
        self._check_shapes(requests, version)
        async with self._acquire(body) as known:
            reader = self._service.reader(version, known.stream.sqls)
            results = []
            closed = False
            for message in requests:
                if closed and message["type"] not in ("close", "store_sql", "close_sql"):
                    raise ProtocolError("Stream for this baton was closed")
                try:
                    response = await self._request(reader, known.stream, message)
                except SqlError as err:
                    results.append({"type": "error", "error": err.structure()})
                else:
                    closed = closed or message["type"] == "close"
                    results.append({"type": "ok", "response": {"type": message["type"], **response}})
            baton = None if closed else self._baton(known)
            answer = _json(200, {"baton": baton, "base_url": None, "results": results})
            if closed:
                await self._forget(known)
        return answer

    def _check_shapes(self, requests: list[Any], version: int) -> None:
        """Raise BadMessageError before anything runs, as a server does that decodes the body first."""
        reader = self._service.reader(version, {})
        reader.stored = _AnyText()
        for message in requests:
            if not isinstance(message, dict):
                raise BadMessageError(f"a request must be an object, got {message!r}")
            kind = field(message, "type", "string")
            try:
                if kind in ("store_sql", "close_sql"):
                    (store_sql if kind == "store_sql" else _closes)(reader, {}, message, most=1)
                elif kind != "close" and read_job(reader, kind, message) is None:
                    raise unknown(kind)
            except BadMessageError:
                raise
            except (ProtocolError, SqlError):
                # Told when its turn comes.
                continue

    async def _request(self, reader: Reader, stream: Stream, message: Json) -> Json:
        kind: str = message["type"]
        job = read_job(reader, kind, message)
        if job is not None:
            return await self._service.perform(stream, job, Received(kind, "http", reader.version, job.sql))
        self._service.log.add(Received(kind, "http", reader.version))
        if kind == "close":
            await stream.close()
        elif kind == "store_sql":
            store_sql(reader, stream.sqls, message, most=_MOST_SQL_TEXTS)
        else:
            close_sql(reader, stream.sqls, message)
        return {}

    async def _cursor(self, request: web.Request) -> web.StreamResponse:
        body = parse(await request.read())
        batch = field(body, "batch", "object")
        async with self._acquire(body) as known:
            reader = self._service.reader(3, known.stream.sqls)
            try:
                job = read_cursor(reader, known.stream, "cursor", {"batch": batch})
                await self._service.perform(known.stream, job, Received("cursor", "http", 3, job.sql))
            except SqlError as err:
                raise _EndError(400, err) from err
            answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await answer.prepare(request)
            lines = [{"baton": self._baton(known), "base_url": None}]
            done = False
            with suppress(ConnectionError):
                while True:
                    await answer.write(b"".join(orjson.dumps(line) + b"\n" for line in lines))
                    if done:
                        break
                    fetched = await known.stream.call(known.stream.take_entries(64))
                    lines, done = fetched["entries"], fetched["done"]
                await answer.write_eof()
            await known.stream.call(known.stream.end_entries)
        return answer

    # Batons

    def _baton(self, known: _Known) -> str:
        payload = known.number.to_bytes(8, "big") + known.sequence.to_bytes(8, "big")
        return base64.b64encode(payload + hmac.digest(self._key, payload, hashlib.sha256)).decode()

    @asynccontextmanager
    async def _acquire(self, body: Json) -> AsyncIterator[_Known]:
        """Give the stream of the body's baton, or a new one, to one request.

        It is closed if the request fails. Raises: ProtocolError, _EndError.
        """
        baton = field(body, "baton", "string", nullable=True)
        known = await self._new() if baton is None else self._find(baton)
        known.busy = True
        known.sequence = (known.sequence + 1) % 2**64
        if known.timer is not None:
            known.timer.cancel()
        try:
            yield known
        except BaseException:
            await self._forget(known)
            raise
        if known.number in self._streams:
            known.busy = False
            loop = asyncio.get_running_loop()
            known.timer = loop.call_later(self._service.idle_s, self.expire, known.number)

    async def _new(self) -> _Known:
        known = _Known(secrets.randbits(64), secrets.randbits(64), Stream(self._service))
        try:
            await known.stream.open()
        except SqlError as err:
            await known.stream.close()
            raise _EndError(500, err) from err
        self._streams[known.number] = known
        return known

    def _find(self, baton: str) -> _Known:
        try:
            data = base64.b64decode(baton, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        payload, seal = data[:16], data[16:]
        if not hmac.compare_digest(seal, hmac.digest(self._key, payload, hashlib.sha256)):
            raise ProtocolError("Received an invalid baton")
        number, sequence = int.from_bytes(payload[:8], "big"), int.from_bytes(payload[8:], "big")
        if number in self._expired:
            raise _EndError(400, SqlError("The stream has expired due to inactivity", "STREAM_EXPIRED"))
        known = self._streams.get(number)
        if known is None:
            raise ProtocolError("Received an invalid baton")
        if known.busy or known.sequence != sequence:
            raise ProtocolError("Received a baton that has already been used")
        return known

    async def _forget(self, known: _Known) -> None:
        if known.timer is not None:
            known.timer.cancel()
        self._streams.pop(known.number, None)
        await known.stream.close()

    def expire(self, number: int | None = None) -> None:
        """End a stream, or all that no request uses, as if it had been idle for too long."""
        for known in list(self._streams.values()):
            if not known.busy and number in (None, known.number):
                self._expired.add(known.number)
                task = asyncio.ensure_future(self._forget(known))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Return when the streams that expired are closed."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Forget all streams."""
        for known in list(self._streams.values()):
            await self._forget(known)
        await self.settle()


def _closes(reader: Reader, stored: dict[int, str], message: Json, *, most: int) -> None:
    close_sql(reader, stored, message)
