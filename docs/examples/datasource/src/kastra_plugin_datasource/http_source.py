"""Looking at an HTTP source: one GET. The only importer of aiohttp."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from kastra_plugin_datasource.spec import MAX_BYTES, Found, SourceError

__all__ = ["HttpSource"]


class HttpSource:
    """The connections to one source; they are kept open between two looks."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def look(self, url: str, secret: str, timeout_s: float) -> Found:
        """Send a GET and read the answer. Redirects are not followed: the secret is for this server alone.

        Args:
            secret: sent as ``Authorization: Bearer ...``; "": nothing is sent.
        Raises:
            SourceError: Timeout, ConnectionFailed, Unauthorized, HttpStatus or AnswerTooLarge.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Accept": "application/json, */*;q=0.5"}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.get(url, headers=headers, timeout=limit, allow_redirects=False) as response:
                _check(response.status, response.reason or "")
                body = await _body(response)
                return _found(response.status, response.content_type, body)
        except TimeoutError:
            raise SourceError("Timeout", f"no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError("ConnectionFailed", f"{type(error).__name__}: {error}") from None

    async def aclose(self) -> None:
        """Close the connections; safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _check(status: int, words: str) -> None:
    if status in (401, 403):
        raise SourceError("Unauthorized", f"the server answered {status} {words}: look at spec.credentials")
    if not 200 <= status < 300:
        raise SourceError("HttpStatus", f"the server answered {status} {words}")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            response.close()
            raise SourceError("AnswerTooLarge", f"the answer has more than {MAX_BYTES} bytes")
    return bytes(body)


def _found(status: int, content_type: str, body: bytes) -> Found:
    words = f"{status}, {content_type}, {len(body)} bytes"
    if content_type != "application/json":
        return Found(message=words, content={"contentType": content_type, "text": body.decode("utf-8", "replace")})
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourceError("NotJson", f"the server says it is JSON, but it is not: {error}") from error
    return Found(message=words, rows=len(content) if isinstance(content, list) else None, content=content)
