"""Calling an HTTP endpoint as a tool: request, retries, answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import OperationError
from kastra_core.secrets import resolve_secret
from kastra_plugin_tool.http_client import HttpResponse, send
from kastra_plugin_tool.http_request import HttpRequest, build_request
from kastra_plugin_tool.policy import ToolPolicy
from kastra_plugin_tool.spec import HttpSpec, RetrySpec

__all__ = ["call_http", "retry_after_s"]

_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN_CHARACTERS = 1000


async def call_http(
    http: HttpSpec,
    arguments: JsonObject,
    policy: ToolPolicy,
    tries: RetrySpec,
    *,
    idempotency_key: str,
    deadline_s: float,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    resolver: Any = None,
) -> JsonValue:
    """Send the request and return the answer's JSON or text, with secrets hidden.

    Args:
        tries: how often and how fast; a wait that the server asks for (Retry-After) is kept.
        deadline_s: on the running loop's clock; no wait goes past it.
        sleep, resolver: for tests.
    Raises:
        OperationError: reason InvalidArguments, NotAllowed, HttpError (the status was not 2xx), BadResponse,
            ResponseTooLarge, TooManyRedirects, ConnectionFailed.
    """
    resolve = partial(resolve_secret, base=policy.project)
    request = build_request(http, arguments, resolve=resolve, idempotency_key=idempotency_key)
    clock = asyncio.get_running_loop().time
    for attempt in range(1, tries.attempts + 1):
        wait_s: float | None = None
        try:
            response = await send(request, policy.addresses, resolver=resolver)
            if 200 <= response.status < 300:
                return _output(http, request, response)
            failure = _http_error(request, response, repeatable=tries.attempts > 1)
            if response.status in (429, 503):
                wait_s = retry_after_s(response.retry_after)
            again = response.status in _RETRY_STATUS
        except OperationError as error:
            failure, again = error, error.retryable
        if not again or attempt == tries.attempts:
            break
        if wait_s is None:
            # Half of the wait is chance, so that many that failed together do not come back together.
            ceiling = min(tries.delay_s * 2 ** min(attempt - 1, 30), tries.max_delay_s)
            wait_s = ceiling * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret
        if clock() + wait_s >= deadline_s:
            break
        await sleep(wait_s)
    raise failure


def retry_after_s(header: str, *, now_s: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a Retry-After header asks for (a number, or an HTTP date), None when it says nothing.

    Source: RFC 9110, section 10.2.3.

    >>> retry_after_s("120")
    120.0
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s())
    except (ValueError, TypeError, IndexError):
        return None


def _text(response: HttpResponse) -> str:
    try:
        return response.body.decode(response.charset, errors="replace")
    except LookupError:
        return response.body.decode("utf-8", errors="replace")


def _output(http: HttpSpec, request: HttpRequest, response: HttpResponse) -> JsonValue:
    if http.response == "text":
        return request.redactor.text(_text(response))
    if not response.body.strip():
        return None
    try:
        # JSON is UTF-8 (RFC 8259); another charset must be said and is decoded first.
        utf8 = response.charset.lower().replace("-", "") in ("utf8", "usascii")
        value = orjson.loads(response.body if utf8 else _text(response))
    except orjson.JSONDecodeError as error:
        shown = request.redactor.text(_text(response))[:200]
        kind = response.content_type or "no content type"
        raise OperationError(
            f"{request.label} answered {response.status} ({kind}), which is not JSON: {error}; it begins {shown!r}; "
            "write http.response: text if this is meant",
            reason="BadResponse",
        ) from None
    return request.redactor.json(value)


def _http_error(request: HttpRequest, response: HttpResponse, *, repeatable: bool) -> OperationError:
    shown = request.redactor.text(_text(response)).strip()
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    message = f"{request.label} answered {response.status} {response.reason}".rstrip()
    return OperationError(
        f"{message}: {shown}" if shown else message,
        reason="HttpError",
        retryable=repeatable and response.status in _RETRY_STATUS,
        details={"status": response.status, "body": shown},
    )
