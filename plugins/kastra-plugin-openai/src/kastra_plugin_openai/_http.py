"""The only module that imports aiohttp: one session, requests out, answers and events in."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, TypeVar

import aiohttp
import attrs
import orjson
from multidict import CIMultiDict
from yarl import URL

from kastra_core.errors import (
    AuthenticationError,
    BadResponseError,
    InvalidRequestError,
    ModelConnectionError,
    ModelError,
    ModelTimeoutError,
)
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelSettings,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
)
from kastra_plugin_openai._faults import error_of_body, error_of_status, excerpt, scrubbed
from kastra_plugin_openai._settings import Options, api_base_of, key_of, options_of
from kastra_plugin_openai._sse import EventParser
from kastra_plugin_openai._wire import (
    StreamedAnswer,
    WireError,
    chat_body,
    chat_response,
    embedding_body,
    embedding_response,
)
from kastra_plugin_openai.endpoints import Endpoint

__all__ = ["LONGEST_STREAM_S", "MAX_ANSWER_BYTES", "MAX_STREAM_BYTES", "Client"]

_USER_AGENT = "kastra-plugin-openai"
_MOST_ROUTES = 64
# aiohttp warns when bytes beyond this size are sent in one piece (its TOO_LARGE_BYTES_BODY).
_LARGEST_PIECE = 2**20
MAX_ANSWER_BYTES = 64 * 2**20
"""Of a chat answer that comes as a whole, after decompression."""
MAX_STREAM_BYTES = 256 * 2**20
"""Of a stream, whose events are mostly wrapping, and of embeddings."""
LONGEST_STREAM_S = 3600.0
"""A stream ends by then, even when something comes all the time; a longer ``timeoutS`` moves it."""
# After [DONE] the end of the body is on its way; with it the connection can serve the next request.
_END_WAIT_S = 0.02
# aiohttp names the TLS settings even where none are used.
_SSL = re.compile(r" ssl:(<[^>]*>|\w+)")
_TEXT_OF_KEY = re.compile(r"[\x21-\x7e]+")

T = TypeVar("T")


@attrs.frozen
class _Route:
    """Everything about a request that depends on the settings alone; made once and kept."""

    chat_url: URL
    embeddings_url: URL
    headers: CIMultiDict[str]
    timeout: aiohttp.ClientTimeout
    stream_timeout: aiohttp.ClientTimeout
    proxy: str | None
    options: Options
    secrets: tuple[str, ...]


class Client:
    """Speaks to one endpoint; made in, and used by, one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._routes: dict[Any, _Route] = {}
        self._session = aiohttp.ClientSession(
            # No limit: how many calls are under way is the caller's business.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )

    async def aclose(self) -> None:
        await self._session.close()

    # -------------------------------------------------------------------------------------------- requests

    async def chat(self, request: ChatRequest) -> ChatResponse:
        route = self._route(request.settings, request.model)
        data = await self._ask(route, route.chat_url, self._body(request, route, stream=False), request)
        return self._read(lambda: chat_response(data, route.options.prices_of(request.model)), request.model)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        if not request.texts:
            return EmbeddingResponse(vectors=[], model=request.model)
        route = self._route(request.settings, request.model)
        try:
            body = embedding_body(request, self._endpoint)
        except TypeError as err:
            raise InvalidRequestError(f"the request is not JSON: {err}", **self._who(request.model)) from err
        data = await self._ask(route, route.embeddings_url, body, request)
        prices = route.options.prices_of(request.model)
        return self._read(lambda: embedding_response(data, len(request.texts), prices), request.model)

    async def _ask(self, route: _Route, url: URL, body: bytes, request: ChatRequest | EmbeddingRequest) -> Any:
        """Return the JSON of the answer."""
        try:
            async with self._session.post(
                url,
                data=body if len(body) < _LARGEST_PIECE else BytesIO(body),
                headers=_with_key(route.headers, request),
                timeout=route.timeout,
                allow_redirects=False,
                proxy=route.proxy,
            ) as answer:
                raw = await self._whole(answer, url, request)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError) as err:
            raise self._connection_error(err, route, url, request) from err
        return self._json(raw, answer.status, answer.headers, route, url, request.model)

    async def _whole(self, answer: aiohttp.ClientResponse, url: URL, request: ChatRequest | EmbeddingRequest) -> bytes:
        """Return the body of an answer that is not streamed."""
        limit = MAX_ANSWER_BYTES if isinstance(request, ChatRequest) else MAX_STREAM_BYTES
        pieces, size, timeout_s = [], 0, request.settings.timeout_s
        try:
            # The session's own limits are those of a stream when one was asked for.
            async with asyncio.timeout(timeout_s):
                async for piece in answer.content.iter_any():
                    pieces.append(piece)
                    size += len(piece)
                    if size > limit:
                        raise self._too_large(url, limit, request)
        except TimeoutError as err:
            raise ModelTimeoutError(
                f"no whole answer from {_shown(url)} within {timeout_s:g} s", **self._who(request.model)
            ) from err
        return b"".join(pieces)

    def _too_large(self, url: URL, limit: int, request: ChatRequest | EmbeddingRequest) -> ModelError:
        error = BadResponseError(
            f"{_shown(url)} answered with more than {limit // 2**20} MiB", **self._who(request.model)
        )
        error.retryable = False
        return error

    def _json(self, raw: bytes, status: int, headers: Mapping[str, str], route: _Route, url: URL, model: str) -> Any:
        if not 200 <= status < 300:
            raise error_of_status(status, raw, headers, url=_shown(url), secrets=route.secrets, who=self._who(model))
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as err:
            found = excerpt(raw, route.secrets) or "nothing"
            raise BadResponseError(
                f"the answer of {_shown(url)} is not JSON ({err}); it begins: {found}",
                status=status,
                **self._who(model),
            ) from err
        if type(data) is dict and data.get("error"):
            raise error_of_body(data["error"], status, url=_shown(url), secrets=route.secrets, who=self._who(model))
        return data

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        route = self._route(request.settings, request.model)
        url, body = route.chat_url, self._body(request, route, stream=True)
        answer_so_far = StreamedAnswer(route.options.prices_of(request.model))
        try:
            async with self._session.post(
                url,
                data=body if len(body) < _LARGEST_PIECE else BytesIO(body),
                headers=_with_key(route.headers, request),
                timeout=route.stream_timeout,
                allow_redirects=False,
                proxy=route.proxy,
            ) as answer:
                if answer.status != 200 or answer.content_type == "application/json":
                    # Refused; or a server that does not stream and sends the whole answer.
                    raw = await self._whole(answer, url, request)
                    data = self._json(raw, answer.status, answer.headers, route, url, request.model)
                    prices = route.options.prices_of(request.model)
                    whole = self._read(lambda: chat_response(data, prices), request.model)
                    for event in _events_of(whole):
                        yield event
                    return
                if answer.content_type in ("text/html", "application/xml"):
                    raise BadResponseError(
                        f"{_shown(url)} sent {answer.content_type} instead of a stream; is the api base right?",
                        status=answer.status,
                        **self._who(request.model),
                    )
                parser, done, size = EventParser(), False, 0
                async for raw in answer.content.iter_any():
                    size += len(raw)
                    if size > MAX_STREAM_BYTES:
                        raise self._too_large(url, MAX_STREAM_BYTES, request)
                    for data in parser.feed(raw):
                        if data == b"[DONE]":
                            done = True
                            break
                        for event in self._chunk(data, answer_so_far, route, request):
                            yield event
                    if done:
                        with suppress(TimeoutError):
                            if not answer.content.at_eof():
                                async with asyncio.timeout(_END_WAIT_S):
                                    await answer.content.readany()
                        break
                if not done:
                    for data in parser.close():
                        done = done or data == b"[DONE]"
                if not done and not (answer_so_far.finished and not route.options.require_done):
                    raise ModelConnectionError(
                        "the stream ended before its end mark [DONE]: the connection broke, or the server gave up",
                        **self._who(request.model),
                    )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError) as err:
            raise self._connection_error(err, route, url, request, stream=True) from err
        yield ChatCompleted(self._read(answer_so_far.response, request.model))

    def _chunk(self, data: bytes, answer: StreamedAnswer, route: _Route, request: ChatRequest) -> list[ChatEvent]:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as err:
            found = excerpt(data, route.secrets)
            raise BadResponseError(
                f"an event of the stream is not JSON ({err}); it begins: {found}", **self._who(request.model)
            ) from err
        if type(chunk) is dict and chunk.get("error"):
            raise error_of_body(
                chunk["error"], 200, url=_shown(route.chat_url), secrets=route.secrets, who=self._who(request.model)
            )
        return self._read(lambda: answer.add(chunk), request.model)

    # -------------------------------------------------------------------------------------------- helpers

    def _who(self, model: str) -> dict[str, Any]:
        return {"provider": self._endpoint.name, "model": model}

    def _read(self, reader: Callable[[], T], model: str) -> T:
        try:
            return reader()
        except WireError as err:
            raise BadResponseError(str(err), **self._who(model)) from err

    def _body(self, request: ChatRequest, route: _Route, *, stream: bool) -> bytes:
        try:
            return chat_body(request, self._endpoint, stream=stream, max_tokens_field=route.options.max_tokens_field)
        except TypeError as err:
            raise InvalidRequestError(f"the request is not JSON: {err}", **self._who(request.model)) from err

    def _route(self, settings: ModelSettings, model: str) -> _Route:
        base, base_from = api_base_of(self._endpoint, settings)
        key, _ = key_of(self._endpoint, settings)
        if key is None and self._endpoint.needs_key and base_from == "default":
            # Another process may have found a key when it looked whether the model is available.
            raise AuthenticationError(
                f"{self._endpoint.title} needs an API key and none is set; set {self._endpoint.key_env[0]}",
                **self._who(model),
            )
        known: tuple[Any, ...] = (base, key, settings.timeout_s, settings.connect_timeout_s, *settings.headers.items())
        if settings.options:
            known = (*known, str(settings.options))
        route = self._routes.get(known)
        if route is None:
            route = self._make_route(base, key, settings, model)
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            self._routes[known] = route
        return route

    def _make_route(self, base: str | None, key: str | None, settings: ModelSettings, model: str) -> _Route:
        name = self._endpoint.name
        if base is None:
            raise InvalidRequestError(
                f"the provider {name!r} has no api base; set providers.{name}.apiBase", **self._who(model)
            )
        try:
            options = options_of(settings.options)
        except ValueError as err:
            raise InvalidRequestError(f"providers.{name}.options: {err}", **self._who(model)) from err
        try:
            root = URL(base)
            chat_url, embeddings_url = (_joined(root, path) for path in ("chat/completions", "embeddings"))
            if root.scheme not in ("http", "https") or not root.host:
                raise ValueError("expected http://HOST/... or https://HOST/...")
        except ValueError as err:
            raise InvalidRequestError(
                f"providers.{name}.apiBase is no URL of a server: {err}", **self._who(model)
            ) from err
        headers = CIMultiDict({"Content-Type": "application/json", "User-Agent": _USER_AGENT})
        if key:
            if not _TEXT_OF_KEY.fullmatch(key):
                raise AuthenticationError(
                    "the key holds blanks, line ends or characters outside ASCII; it is not sent", **self._who(model)
                )
            headers["Authorization"] = f"Bearer {key}"
        headers.update(settings.headers)
        return _Route(
            chat_url=chat_url,
            embeddings_url=embeddings_url,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s, connect=settings.connect_timeout_s),
            stream_timeout=aiohttp.ClientTimeout(
                total=max(LONGEST_STREAM_S, settings.timeout_s),
                connect=settings.connect_timeout_s,
                sock_read=settings.timeout_s,
            ),
            proxy=_proxy_of(root),
            options=options,
            secrets=_secrets(key, settings, root),
        )

    def _connection_error(
        self,
        err: Exception,
        route: _Route,
        url: URL,
        request: ChatRequest | EmbeddingRequest,
        *,
        stream: bool = False,
    ) -> ModelError:
        """Return what a fault between us and the server is for the caller."""
        who, place = self._who(request.model), _shown(url)
        text = scrubbed(_SSL.sub("", str(err)) or type(err).__name__, route.secrets)
        if isinstance(err, aiohttp.ConnectionTimeoutError):
            return ModelTimeoutError(f"no connection to {place} within {request.settings.connect_timeout_s:g} s", **who)
        if isinstance(err, TimeoutError):
            timeout_s = request.settings.timeout_s
            if stream and not isinstance(err, aiohttp.ServerTimeoutError):
                return ModelTimeoutError(
                    f"{place} did not end its answer within {route.stream_timeout.total:g} s", **who
                )
            return ModelTimeoutError(f"no answer from {place} within {timeout_s:g} s", **who)
        if isinstance(err, aiohttp.ClientResponseError):
            # The parser's words repeat what it could not read, line by line; the first says what it is.
            words = excerpt(err.message.partition("\n")[0].encode(), route.secrets)
            return BadResponseError(f"{place} does not speak HTTP as it should: {words}", **who)
        if isinstance(err, aiohttp.InvalidURL) or (isinstance(err, ValueError) and not isinstance(err, ssl.SSLError)):
            return InvalidRequestError(f"the request cannot be sent to {place}: {text}", **who)
        if isinstance(err, RuntimeError):
            closed = ModelConnectionError(f"the connection to {place} is closed: {text}", **who)
            closed.retryable = False
            return closed
        if isinstance(err, aiohttp.ClientPayloadError) and "not completed" in text:
            return ModelConnectionError(f"the connection to {place} broke in the middle of the answer", **who)
        broken = ModelConnectionError(f"no answer from {place}: {text}", **who)
        if isinstance(err, aiohttp.ClientSSLError):
            broken.retryable = False
        return broken


def _with_key(headers: CIMultiDict[str], request: ChatRequest | EmbeddingRequest) -> CIMultiDict[str]:
    key = getattr(request, "idempotency_key", "")
    if not key:
        return headers
    headers = headers.copy()
    headers["Idempotency-Key"] = key
    return headers


def _joined(root: URL, path: str) -> URL:
    """Return root/path; a query of the root (Azure's api-version) stays."""
    return root.joinpath(*path.split("/")).with_query(root.query) if root.query else root.joinpath(*path.split("/"))


def _shown(url: URL) -> str:
    """Return the URL without what may be secret: user, password and query."""
    return str(url.with_user(None).with_query(None))


def _secrets(key: str | None, settings: ModelSettings, root: URL) -> tuple[str, ...]:
    """Return what no message may hold, longest first. Very short values would only garble the text."""
    found = {key, root.password, *settings.headers.values(), *root.query.values()}
    return tuple(sorted({text for text in found if text and len(text) >= 6}, key=len, reverse=True))


def _proxy_of(root: URL) -> str | None:
    """Return the proxy that the environment (HTTPS_PROXY, NO_PROXY ...) names for the host, or None.

    aiohttp's own ``trust_env`` asks a thread at every request.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    return None if proxy_bypass(root.host or "") else getproxies().get(root.scheme)


def _events_of(response: ChatResponse) -> list[ChatEvent]:
    """Return a whole answer as the events of a stream."""
    events: list[ChatEvent] = []
    calls = 0
    for part in response.message.parts:
        if isinstance(part, TextPart):
            events.append(TextDelta(part.content))
        elif isinstance(part, ToolCallPart):
            text = part.arguments if isinstance(part.arguments, str) else orjson.dumps(part.arguments).decode()
            events.append(ToolCallDelta(calls, part.id, part.name, text))
            calls += 1
    return [*events, ChatCompleted(response)]
