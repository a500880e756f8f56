"""A server on the loopback device that speaks the OpenAI protocol, for suites of model providers that do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import orjson

from kastra_core.testing._smallest import smallest

__all__ = ["OpenAIServer"]

_TEXT = "Hello! This is a short answer of a server that knows no more than its protocol."
_DIMENSIONS = 32
_MOST_BYTES = 16 << 20


class OpenAIServer:
    """Answers ``/chat/completions`` (streamed or not) and ``/embeddings``; an async context manager.

    The answer follows from the request alone: a tool that ``tool_choice`` names (or the first, when one is required) is
    called with arguments that fit its schema; a JSON ``response_format`` gets an object that fits; everything else a
    short text. Usage counts words.

    Attributes:
        base_url: "http://127.0.0.1:PORT/v1", once it is entered.
        requests: (path, body) of each request, in order.

    Example:
        @pytest.fixture
        async def settings(self):
            async with OpenAIServer() as server:
                yield ModelSettings(api_base=server.base_url, api_key="any")
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> OpenAIServer:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_MOST_BYTES)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._answered(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever asked is gone, or the server ends
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request of a connection; False when there is none."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return False
        lines = head.split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        raw = await reader.readexactly(int(fields.get("content-length") or 0))
        path = lines[0].split(" ")[1].removeprefix("/v1")
        try:
            body = orjson.loads(raw)
            self.requests.append((path, body))
            if path == "/embeddings":
                await _send(writer, _embeddings(body))
            elif path == "/chat/completions" and body.get("stream"):
                await _stream(writer, body)
            elif path == "/chat/completions":
                await _send(writer, _completion(body))
            else:
                await _send(writer, _error(f"there is no {path}"), 404)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            await _send(writer, _error(f"the request cannot be read: {error}"), 400)
        return True


async def _send(writer: asyncio.StreamWriter, data: Any, status: int = 200) -> None:
    body = orjson.dumps(data)
    head = f"HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _words(value: object) -> int:
    return max(1, len(str(value).split()))


def _answer(body: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """(text, tool calls) of the answer to a chat request."""
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    choice = body.get("tool_choice")
    wanted = choice["function"]["name"] if isinstance(choice, Mapping) else next(iter(tools), "")
    if wanted in tools and (isinstance(choice, Mapping) or choice == "required"):
        arguments = smallest(tools[wanted].get("parameters") or {"type": "object"})
        function = {"name": wanted, "arguments": orjson.dumps(arguments).decode()}
        return "", [{"id": f"call_{len(body['messages'])}", "type": "function", "function": function}]
    form = body.get("response_format") or {}
    if form.get("type") in ("json_schema", "json_object"):
        schema = (form.get("json_schema") or {}).get("schema") or {"type": "object"}
        return orjson.dumps(smallest(schema)).decode(), []
    return _TEXT, []


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}


def _usage(body: Mapping[str, Any], text: str, calls: Sequence[Any]) -> dict[str, int]:
    asked = sum(_words(message.get("content")) for message in body["messages"])
    answered = _words(text or calls)
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _completion(body: Mapping[str, Any]) -> dict[str, Any]:
    text, calls = _answer(body)
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else text}
    if calls:
        message["tool_calls"] = calls
    finish = "tool_calls" if calls else "stop"
    return {
        **_head(body, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": _usage(body, text, calls),
    }


async def _stream(writer: asyncio.StreamWriter, body: Mapping[str, Any]) -> None:
    """The answer as server-sent events: a text word by word, the arguments of a call in two halves."""
    text, calls = _answer(body)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if calls else ""}]
    for at, call in enumerate(calls):
        whole = call["function"]["arguments"]
        half = len(whole) // 2
        deltas.append({"tool_calls": [{"index": at, **call, "function": {**call["function"], "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in (whole[:half], whole[half:])
        ]
    words = text.split(" ") if text else []
    deltas += [{"content": word if at == 0 else f" {word}"} for at, word in enumerate(words)]
    head = _head(body, "chat.completion.chunk")
    events: list[Any] = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    finish = "tool_calls" if calls else "stop"
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({**head, "choices": [], "usage": _usage(body, text, calls)})
    writer.write(b"HTTP/1.1 200 .\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in (*events, None):
        line = b"data: " + (b"[DONE]" if event is None else orjson.dumps(event)) + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body["input"]
    texts = [given] if isinstance(given, str) else list(given)
    size = int(body.get("dimensions") or _DIMENSIONS)
    data = []
    for at, text in enumerate(texts):
        vector: Any = _vector(str(text), size)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": at, "embedding": vector})
    tokens = sum(_words(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _vector(text: str, size: int) -> list[float]:
    """Numbers of a digest of the text, of length 1: equal texts get equal vectors, others unrelated ones."""
    raw = [byte / 128.0 - 1.0 for byte in hashlib.shake_128(text.encode()).digest(size)]
    length = math.hypot(*raw) or 1.0
    return [value / length for value in raw]
