"""A client that sends what it is told and nothing else: for tests of the protocol itself."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from .messages import Json, Value, encode_value

__all__ = ["RawSocket", "statement"]


def statement(sql: str, *args: Value, want_rows: bool = True, named: Mapping[str, Value] | None = None) -> Json:
    """Return a ``Stmt`` with positional and named arguments."""
    return {
        "sql": sql,
        "args": [encode_value(value) for value in args],
        "named_args": [{"name": name, "value": encode_value(value)} for name, value in (named or {}).items()],
        "want_rows": want_rows,
    }


class RawSocket:
    """A WebSocket: ``async with RawSocket(server.url("ws"), "hrana3") as socket``.

    Args:
        protocols: what to offer; none offers nothing.
        hello: whether to begin with a ``hello`` and wait for its answer.
        token: the token of that ``hello``.
    """

    ws: ClientWebSocketResponse

    def __init__(self, url: str, *protocols: str, hello: bool = True, token: str | None = None) -> None:
        self._url, self._protocols, self._hello, self._token = url, protocols, hello, token
        self._numbers = itertools.count(1)
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession()
        try:
            self.ws = await self._session.ws_connect(self._url, protocols=self._protocols, max_msg_size=0)
            if self._hello:
                await self.send({"type": "hello", "jwt": self._token})
                assert await self.receive() == {"type": "hello_ok"}
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.ws.close()
        if self._session is not None:
            await self._session.close()

    async def send(self, message: Json | str) -> None:
        await self.ws.send_str(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def receive(self) -> Json:
        """Return the next message. Raises: ConnectionError when the socket closes instead."""
        message = await self.ws.receive(timeout=30)
        if message.type is not WSMsgType.TEXT:
            raise ConnectionError(f"{message.type.name} {message.data!r} {message.extra!r}")
        found: Json = orjson.loads(message.data)
        return found

    async def closed(self) -> int | None:
        """Return the code with which the server closes; None for a cut. Messages before it are skipped."""
        while True:
            message = await self.ws.receive(timeout=30)
            if message.type is WSMsgType.CLOSE:
                code: int = message.data
                return code
            if message.type in (WSMsgType.CLOSED, WSMsgType.ERROR):
                # What aiohttp says where no close frame came.
                return None if self.ws.close_code in (None, 1006) else self.ws.close_code

    async def post(self, kind: str, **fields: Any) -> int:
        """Send a request without waiting; return its number."""
        number = next(self._numbers)
        await self.send({"type": "request", "request_id": number, "request": {"type": kind, **fields}})
        return number

    async def ask(self, kind: str, **fields: Any) -> Json:
        """Return the response to a request, or its ``Error`` as ``{"error": ...}``."""
        number = await self.post(kind, **fields)
        return await self.answer(number, kind)

    async def answer(self, number: int, kind: str) -> Json:
        """Return the next message, which must answer that request."""
        message = await self.receive()
        assert message["request_id"] == number, message
        if message["type"] == "response_error":
            return {"error": message["error"]}
        assert message["type"] == "response_ok"
        assert message["response"].pop("type") == kind
        response: Json = message["response"]
        return response

    async def run(self, stream: int, sql: str, *args: Value, named: Mapping[str, Value] | None = None) -> Json:
        """Return the ``StmtResult`` of an ``execute``, or ``{"error": ...}``."""
        response = await self.ask("execute", stream_id=stream, stmt=statement(sql, *args, named=named))
        result: Json = response.get("result", response)
        return result

    async def rows(self, stream: int, sql: str, *args: Value) -> Sequence[Sequence[Any]]:
        """Return the plain values of a statement's rows."""
        result = await self.run(stream, sql, *args)
        return [[value.get("value", value.get("base64")) for value in row] for row in result["rows"]]
