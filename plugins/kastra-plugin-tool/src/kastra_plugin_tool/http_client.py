"""Sending a request to the public internet and nowhere else. The only importer of aiohttp.

The address is checked when the socket is made, after the name was resolved and by the address that the socket then
connects to: a name that resolves differently the second time, an odd spelling of an address and a redirect all meet
the same check.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import attrs
from yarl import URL

from kastra_core.errors import OperationError
from kastra_plugin_tool.addresses import AddressPolicy
from kastra_plugin_tool.http_request import HttpRequest

__all__ = ["MAX_REDIRECTS", "MAX_RESPONSE_BYTES", "HttpResponse", "send"]

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""Of the body, after decompression."""
MAX_REDIRECTS = 5
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}


@attrs.frozen(kw_only=True)
class HttpResponse:
    status: int
    reason: str
    content_type: str
    charset: str
    retry_after: str
    """The header as sent, "" when there was none."""
    body: bytes


class _Gate:
    """Makes the sockets of one call; refuses addresses that the operator did not open."""

    def __init__(self, policy: AddressPolicy) -> None:
        self.policy, self.host = policy, ""
        self.refusal = ""
        self.tried = False

    def enter(self, host: str) -> None:
        self.host, self.refusal, self.tried = host, "", False

    def __call__(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        refusal = self.policy.refusal(str(address[0]), self.host)
        if refusal is not None:
            self.refusal = refusal
            raise PermissionError(refusal)
        self.tried = True
        return socket.socket(family, kind, protocol)


async def send(
    request: HttpRequest,
    policy: AddressPolicy,
    *,
    resolver: aiohttp.abc.AbstractResolver | None = None,
    limit_bytes: int = MAX_RESPONSE_BYTES,
) -> HttpResponse:
    """Send one request, follow redirects, and return the answer whatever its status.

    Args:
        policy: which addresses beside public ones are open.
        resolver: of host names; default the system's.
        limit_bytes: of the answer's body.
    Raises:
        OperationError: reason NotAllowed, ConnectionFailed (retryable), TooManyRedirects or ResponseTooLarge.
    """
    gate = _Gate(policy)
    connector = aiohttp.TCPConnector(socket_factory=gate, resolver=resolver, use_dns_cache=False)
    # No proxies from the environment: behind one, the address that is checked would be the proxy's.
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # the caller keeps the time
        trust_env=False,
    ) as session:
        method, url, headers, body = request.method, request.url, request.headers, request.body
        for _ in range(MAX_REDIRECTS + 1):
            target = _read_url(url, request)
            gate.enter(target.host or "")
            try:
                async with session.request(
                    method, target, headers=headers, data=body, allow_redirects=False
                ) as response:
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or not location:
                        return await _read(response, request, limit_bytes)
                    status = response.status
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # `from None` here and below: the library's words may hold the URL, and with it a secret.
                raise _connection_error(request, gate, error) from None
            following = _follow(request, url, location)
            if status == 303 or (status in (301, 302) and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", None
                headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
            if _origin(url) != _origin(following):
                headers = {k: v for k, v in headers.items() if k.lower() not in request.private_headers}
            url = following
    raise OperationError(f"{request.label} was redirected more than {MAX_REDIRECTS} times", reason="TooManyRedirects")


def _read_url(url: str, request: HttpRequest) -> URL:
    """The URL as the library sends it: the host in its ASCII form, path and query exactly as they were encoded."""
    try:
        parts = urlsplit(url)
        base = URL(f"{parts.scheme}://{parts.netloc}")
        tail = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not base.host or base.user is not None or base.password is not None:
            raise ValueError
        return URL(f"{base.scheme}://{base.raw_authority}{tail}", encoded=True)
    except ValueError:
        raise OperationError(f"{request.label}: the URL cannot be used", reason="NotAllowed") from None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def _follow(request: HttpRequest, url: str, location: str) -> str:
    """Where a redirect leads, when it may be followed."""
    try:
        following = urljoin(url, location)
        old, new = urlsplit(url).scheme, urlsplit(following).scheme
    except ValueError:
        raise OperationError(f"{request.label} was redirected to what is no URL", reason="NotAllowed") from None
    if new not in _PORTS:
        raise OperationError(f"{request.label} was redirected to a {new or 'nameless'} address", reason="NotAllowed")
    if old == "https" and new == "http":
        raise OperationError(f"{request.label} was redirected from https to http", reason="NotAllowed")
    return following


async def _read(response: aiohttp.ClientResponse, request: HttpRequest, limit_bytes: int) -> HttpResponse:
    body = bytearray()
    if request.method != "HEAD":
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > limit_bytes:
                response.close()
                raise OperationError(
                    f"{request.label} answered with more than {limit_bytes} bytes", reason="ResponseTooLarge"
                )
    return HttpResponse(
        status=response.status,
        reason=request.redactor.text(response.reason or ""),
        content_type=response.content_type,
        charset=response.charset or "utf-8",
        retry_after=response.headers.get("Retry-After", ""),
        body=bytes(body),
    )


def _connection_error(request: HttpRequest, gate: _Gate, error: Exception) -> OperationError:
    if gate.refusal and not gate.tried:
        host = gate.host
        return OperationError(
            f"{request.label}: {host}: {gate.refusal}; addresses that are not public are refused unless the operator "
            f"allows them: kastra config set tools.http.allowPrivate {host}",
            reason="NotAllowed",
        )
    cause = getattr(error, "os_error", None) or error
    # Only texts without URL: the system's words, or the name of the error.
    words = (getattr(cause, "strerror", None) or str(cause)) if isinstance(cause, OSError) else type(error).__name__
    return OperationError(
        request.redactor.text(f"{request.label}: {gate.host} could not be reached or broke off: {words}"),
        reason="ConnectionFailed",
        retryable=True,
    )
