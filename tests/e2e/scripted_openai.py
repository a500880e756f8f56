"""An OpenAI-compatible server on the loopback device whose answers a test writes down, part by part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import orjson
from aiohttp import web

__all__ = ["Call", "ScriptedServer", "text_of"]


@attrs.frozen
class Call:
    """An answer that asks for a tool."""

    tool: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)


Answer = str | int | Call | Mapping[str, Any] | Callable[[dict[str, Any]], Any]
"""A text, an HTTP status of an error, a tool call, an object that is sent as JSON, or what makes one of a request."""


def text_of(body: Mapping[str, Any]) -> str:
    """All texts of a chat request."""
    return "\n".join(str(message.get("content") or "") for message in body["messages"])


class ScriptedServer:
    """Answers of parts: a request is for the part whose ``#name#`` its system message holds.

    Args:
        parts: answers by part, used one after the other; the last one is used again and again if it is callable, else
            a request too many is an error 400 that names the part.
        vectors: an embedding by a word that the text holds; the first that fits.

    Attributes:
        requests: (part, body) of each chat request.
        hold: the part that does not answer until its client is gone; ``held`` is set when it is asked.
    """

    def __init__(
        self, parts: Mapping[str, Sequence[Answer]], vectors: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        self.parts, self.vectors = {name: list(answers) for name, answers in parts.items()}, dict(vectors or {})
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.embedded: list[str] = []
        self.hold = ""
        self.held = asyncio.Event()
        self.base_url = ""

    async def __aenter__(self) -> ScriptedServer:
        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def asked(self, part: str) -> list[dict[str, Any]]:
        """The bodies of the requests for a part."""
        return [body for name, body in self.requests if name == part]

    @property
    def order(self) -> list[str]:
        """The parts, as they were asked."""
        return [name for name, _ in self.requests]

    def _part(self, body: Mapping[str, Any]) -> str:
        system = "\n".join(str(m.get("content")) for m in body["messages"] if m["role"] == "system")
        places = {name: system.find(f"#{name}#") for name in self.parts}
        found = [name for name in places if places[name] >= 0]
        return min(found, key=places.__getitem__) if found else ""

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = orjson.loads(await request.read())
        part = self._part(body)
        self.requests.append((part, body))
        if part and part == self.hold:
            self.held.set()
            await asyncio.Event().wait()
        answer: Any = self._answer(part, body)
        if isinstance(answer, int):
            return _json({"error": {"message": f"scripted error {answer}", "type": "server_error"}}, answer)
        if answer is None:
            return _json({"error": {"message": f"no answer of {part!r} is left", "type": "invalid_request_error"}}, 400)
        message, finish = _message(answer)
        prompt = sum(len(str(entry.get("content") or "")) for entry in body["messages"]) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": 10, "total_tokens": prompt + 10}
        if body.get("stream"):
            return await _stream(request, message, finish, usage)
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return _json({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})

    def _answer(self, part: str, body: dict[str, Any]) -> Any:
        answers = self.parts.get(part)
        if not answers:
            return None
        answer = answers[0] if len(answers) == 1 and callable(answers[0]) else answers.pop(0)
        return answer(body) if callable(answer) else answer

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        texts: list[str] = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self.embedded.extend(texts)
        data = [
            {"object": "embedding", "index": at, "embedding": list(self._vector(text))} for at, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 5 * len(texts), "total_tokens": 5 * len(texts)}
        return _json({"object": "list", "model": body["model"], "data": data, "usage": usage})

    def _vector(self, text: str) -> Sequence[float]:
        return next((vector for word, vector in self.vectors.items() if word in text), (0.5, 0.5, 0.5))


def _message(answer: Any) -> tuple[dict[str, Any], str]:
    if isinstance(answer, Call):
        function = {"name": answer.tool, "arguments": orjson.dumps(dict(answer.arguments)).decode()}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    text = answer if isinstance(answer, str) else orjson.dumps(dict(answer)).decode()
    return {"role": "assistant", "content": text}, "stop"


async def _stream(
    request: web.Request, message: dict[str, Any], finish: str, usage: dict[str, int]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    words = (message["content"] or "").split(" ")
    pieces = [word if at == 0 else f" {word}" for at, word in enumerate(words)]
    deltas = [message] if "tool_calls" in message else [{"role": "assistant", "content": piece} for piece in pieces]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": usage})
    for chunk in chunks:
        data = orjson.dumps({"id": "c", "object": "chat.completion.chunk", "model": "m", **chunk})
        await response.write(b"data: " + data + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
