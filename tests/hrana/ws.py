"""Hrana over WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import attrs
import orjson
from aiohttp import WSMsgType, web

from .errors import POLICY, CutError, ProtocolError, SqlError
from .faults import Received
from .messages import Json, Reader, field, parse
from .service import Job, Service, Stream, close_sql, read_cursor, read_job, store_sql, unknown

__all__ = ["PROTOCOLS", "Socket", "negotiate"]

PROTOCOLS = {"hrana3": 3, "hrana2": 2, "hrana1": 1}
"""Best first. The server speaks the JSON encoding only."""

_MOST_SQL_TEXTS = 150
_QUEUED = 128


def negotiate(offered: str | None) -> tuple[int, tuple[str, ...]]:
    """Return the version for a client's ``Sec-WebSocket-Protocol`` and what to answer there.

    Raises:
        ValueError: nothing of what is offered can be spoken.
    """
    if offered is None:
        # Clients of the first version need not ask for it.
        return 1, ()
    wanted = {name.strip().lower() for name in offered.split(",")}
    for name, version in PROTOCOLS.items():
        if name in wanted:
            return version, (name,)
    raise ValueError(f"Only these WebSocket subprotocols are supported: {' '.join(PROTOCOLS)}")


@attrs.define(eq=False)
class _Open:
    """A stream of this socket: its requests run one after the other."""

    stream: Stream
    queue: asyncio.Queue[Callable[[], Awaitable[None]] | None] = attrs.field(factory=lambda: asyncio.Queue(_QUEUED))
    worker: asyncio.Task[None] | None = None
    cursor: int | None = None

    async def work(self) -> None:
        while (job := await self.queue.get()) is not None:
            await job()

    async def end(self) -> None:
        """Finish what runs, drop what waits, close."""
        self.stream.ended.set()
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)
        if self.worker is not None:
            await self.worker
        await self.stream.close()


class Socket:
    """One WebSocket and its streams."""

    def __init__(self, service: Service, ws: web.WebSocketResponse, request: web.Request, version: int, peer: int):
        self._service, self._ws, self._request = service, ws, request
        self._version, self._peer = version, peer
        self._sqls: dict[int, str] = {}
        self._reader: Reader = service.reader(version, self._sqls)
        self._streams: dict[int, _Open] = {}
        self._cursors: dict[int, int] = {}
        self._closing: set[_Open] = set()
        self._known = False

    def cut(self) -> None:
        """Close the TCP connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Close politely."""
        # A reason has room for 123 bytes.
        await self._ws.close(code=code, message=reason.encode()[:123])

    async def serve(self) -> None:
        """Answer messages until the socket closes."""
        try:
            while True:
                message = await self._ws.receive()
                if message.type is WSMsgType.TEXT:
                    if not await self._message(parse(message.data)):
                        break
                elif message.type is WSMsgType.BINARY:
                    raise ProtocolError(
                        "Received a binary WebSocket message, which is not supported in this encoding", 1003
                    )
                elif message.type not in (WSMsgType.PING, WSMsgType.PONG):
                    break
        except ProtocolError as err:
            await self.close(err.close_code, str(err))
        except CutError:
            self.cut()
        finally:
            await asyncio.gather(*(one.end() for one in [*self._streams.values(), *self._closing]))

    async def _send(self, message: Json) -> None:
        if not self._ws.closed:
            try:
                await self._ws.send_str(orjson.dumps(message).decode())
            except ConnectionError:
                # The receiving side sees the same and ends the streams.
                self.cut()

    async def _message(self, message: Json) -> bool:
        kind = field(message, "type", "string")
        if kind == "hello":
            return await self._hello(field(message, "jwt", "string", nullable=True))
        if kind != "request":
            raise unknown(kind)
        request_id, request = field(message, "request_id", "int32"), field(message, "request", "object")
        if not self._known:
            raise ProtocolError("Received a request before hello message", POLICY)
        kind = field(request, "type", "string")
        try:
            await self._request_(request_id, kind, request)
        except SqlError as err:
            await self._failed(request_id, err)
        return True

    async def _hello(self, token: str | None) -> bool:
        self._service.log.add(Received("hello", "ws", self._version, peer=self._peer))
        if self._known:
            self._reader.needs(2, "Repeated hello message")
        rule = self._service.faults.take("hello", ())
        if rule is not None:
            raise CutError
        missing = SqlError("Authentication failed: The JWT is missing", "AUTH_JWT_MISSING")
        try:
            self._service.authenticate(token, missing=missing)
        except SqlError as err:
            await self._send({"type": "hello_error", "error": err.structure()})
            await self.close(1000, "Authentication failed")
            return False
        self._known = True
        await self._send({"type": "hello_ok"})
        return True

    async def _answer(self, request_id: int, kind: str, response: Json) -> None:
        await self._send({"type": "response_ok", "request_id": request_id, "response": {"type": kind, **response}})

    async def _failed(self, request_id: int, err: SqlError) -> None:
        await self._send({"type": "response_error", "request_id": request_id, "error": err.structure()})

    def _received(self, kind: str, sql: tuple[str, ...] = ()) -> Received:
        return Received(kind, "ws", self._version, sql, self._peer)

    async def _request_(self, request_id: int, kind: str, request: Json) -> None:
        if kind == "open_stream":
            await self._open_stream(request_id, field(request, "stream_id", "int32"))
        elif kind == "close_stream":
            await self._close_stream(request_id, field(request, "stream_id", "int32"))
        elif kind in ("store_sql", "close_sql"):
            self._service.log.add(self._received(kind))
            if kind == "store_sql":
                store_sql(self._reader, self._sqls, request, most=_MOST_SQL_TEXTS)
            else:
                close_sql(self._reader, self._sqls, request)
            await self._answer(request_id, kind, {})
        elif kind in ("open_cursor", "fetch_cursor", "close_cursor"):
            self._reader.needs(3, f"The `{kind}` request")
            await self._cursor(request_id, kind, request)
        elif kind in ("execute", "batch", "sequence", "describe", "get_autocommit"):
            one = self._stream(field(request, "stream_id", "int32"))
            job = read_job(self._reader, kind, request)
            assert job is not None
            await self._queue(one, request_id, job)
        else:
            raise unknown(kind)

    def _stream(self, stream_id: int) -> _Open:
        one = self._streams.get(stream_id)
        if one is None:
            raise ProtocolError(f"Stream {stream_id} not found")
        if one.cursor is not None:
            raise ProtocolError(f"Stream {stream_id} has an open cursor")
        return one

    async def _queue(self, one: _Open, request_id: int, job: Job, *, even_closed: bool = False) -> None:
        async def work() -> None:
            try:
                response = await self._service.perform(one.stream, job, self._received(job.kind, job.sql))
            except SqlError as err:
                if even_closed and err.code == "STREAM_NOT_OPEN":
                    await self._answer(request_id, job.kind, {})
                else:
                    await self._failed(request_id, err)
            except CutError:
                self.cut()
            except Exception:
                # A mistake of this server: nobody shall wait for an answer, and the socket's task tells of it.
                self.cut()
                raise
            else:
                await self._answer(request_id, job.kind, response)

        # A full queue stops the reading, so that TCP holds the client back.
        await one.queue.put(work)

    async def _open_stream(self, request_id: int, stream_id: int) -> None:
        if stream_id in self._streams:
            raise ProtocolError(f"Stream {stream_id} already exists")
        one = self._streams[stream_id] = _Open(Stream(self._service))
        one.worker = asyncio.create_task(one.work())

        async def work() -> None:
            self._service.log.add(self._received("open_stream"))
            rule = self._service.faults.take("open_stream", ())
            try:
                if rule is not None and rule.action == "fail":
                    raise SqlError("This stream does not open because the test asked for it", "FAULT")
                if rule is None or rule.action != "cut_before":
                    await one.stream.open()
            except SqlError as err:
                await self._failed(request_id, err)
            else:
                if rule is None:
                    await self._answer(request_id, "open_stream", {})
                else:
                    self.cut()

        await one.queue.put(work)

    async def _close_stream(self, request_id: int, stream_id: int) -> None:
        one = self._streams.pop(stream_id, None)
        if one is None:
            raise ProtocolError(f"Stream {stream_id} not found")
        if one.cursor is not None:
            del self._cursors[one.cursor]

        async def work() -> None:
            self._service.log.add(self._received("close_stream"))
            await one.stream.close()
            self._closing.discard(one)
            await self._answer(request_id, "close_stream", {})

        # Until it is closed, the end of the socket ends it too.
        self._closing.add(one)
        await one.queue.put(work)
        await one.queue.put(None)

    async def _cursor(self, request_id: int, kind: str, request: Json) -> None:
        cursor_id = field(request, "cursor_id", "int32")
        if kind == "open_cursor":
            stream_id = field(request, "stream_id", "int32")
            if (one := self._streams.get(stream_id)) is not None and one.cursor is not None:
                raise ProtocolError(f"Stream {stream_id} already has an open cursor")
            one = self._stream(stream_id)
            if cursor_id in self._cursors:
                raise ProtocolError(f"Cursor {cursor_id} already exists")
            # Used even if it fails to open, until the client closes it.
            self._cursors[cursor_id], one.cursor = stream_id, cursor_id
            await self._queue(one, request_id, read_cursor(self._reader, one.stream, kind, request))
            return
        if cursor_id not in self._cursors:
            raise ProtocolError(f"Cursor {cursor_id} not found")
        one = self._streams[self._cursors[cursor_id]]
        if kind == "fetch_cursor":
            most = field(request, "max_count", "uint32")
            await self._queue(one, request_id, Job(kind, (), one.stream.take_entries(most)))
        else:
            del self._cursors[cursor_id]
            one.cursor = None
            await self._queue(one, request_id, Job(kind, (), one.stream.end_entries), even_closed=True)
