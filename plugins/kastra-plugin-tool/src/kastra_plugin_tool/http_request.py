"""Building the request of an http tool from its spec and arguments. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import OperationError
from kastra_core.secrets import SecretRef
from kastra_plugin_tool.spec import HttpAuth, HttpSpec
from kastra_plugin_tool.templates import parameters_in, render_json, render_text, text_of

__all__ = ["HttpRequest", "Redactor", "build_request", "secrets_of"]

_SHORTEST_SECRET = 4
"""Shorter texts are not hidden: they would be found everywhere."""
_BAD_IN_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LITERAL_PATH = "/%:@!$&'()*+,;=~-._"
_LITERAL_QUERY = "/?%:@!$&'()*+,;=~-._"


class Redactor:
    """Puts ``***`` in place of secrets, in the spellings in which a server may send them back."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                spellings |= {secret, quote(secret, safe=""), quote(secret), orjson.dumps(secret).decode()[1:-1]}
        # Longest first, so that no secret is left in part because a shorter one lies within it.
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        return self._pattern.sub("***", text) if self._pattern else text

    def json(self, value: JsonValue) -> JsonValue:
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.json(item) for key, item in value.items()}
        return value


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request ready to be sent. ``url`` is percent-encoded; it and the headers may hold secrets."""

    method: str
    url: str = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)
    private_headers: frozenset[str]
    """Names, in lower case, of headers that only the first server may see."""
    body: bytes | None = attrs.field(repr=False)
    redactor: Redactor = attrs.field(repr=False)
    label: str
    """``GET https://api.example.com/cities/{city}``: what errors call it."""


def secrets_of(http: HttpSpec) -> list[SecretRef]:
    """All secrets that a spec refers to."""
    found = [value for value in (*http.headers.values(), *http.query.values()) if isinstance(value, SecretRef)]
    if http.auth is not None and http.auth.bearer is not None:
        found.append(http.auth.bearer)
    if http.auth is not None and http.auth.basic is not None:
        found.append(http.auth.basic.password)
    return found


def build_request(
    http: HttpSpec, arguments: JsonObject, *, resolve: Callable[[SecretRef], str], idempotency_key: str
) -> HttpRequest:
    """Return the request for one call.

    Args:
        arguments: checked against the input schema.
        resolve: the text of a secret; a ConfigError of it passes through.
    Raises:
        OperationError: reason InvalidArguments, when a value would leave its place in the path or in a header;
            reason BadSecret, when a secret cannot stand in a header.
    """
    secrets: list[str] = []

    def secret(ref: SecretRef) -> str:
        value = resolve(ref)
        secrets.append(value)
        return value

    try:
        headers, private = _headers(http, arguments, secret)
        if http.auth is not None:
            secrets.append(headers["Authorization"].partition(" ")[2])  # basic: not the password as it is
        pairs = _query_pairs(http, arguments, secret)
        rest = _unnamed(http, arguments)
        body, content_type = _body(http, arguments, rest)
        if http.body_mode in ("none", "template"):
            pairs.extend(_pairs(rest))
        url = _url(http.url, arguments, pairs)
    except KeyError as error:
        raise _invalid(f"{error.args[0]}: is required") from error
    names = {name.lower() for name in headers}
    if content_type and "content-type" not in names:
        headers["Content-Type"] = content_type
    if "accept" not in names:
        headers["Accept"] = "application/json" if http.response == "json" else "*/*"
    if "user-agent" not in names:
        headers["User-Agent"] = "kastra"
    if http.method not in ("GET", "HEAD") and "idempotency-key" not in names:
        headers["Idempotency-Key"] = idempotency_key
        private.add("idempotency-key")
    return HttpRequest(
        method=http.method,
        url=url,
        headers=headers,
        private_headers=frozenset(private | {"authorization", "cookie"}),
        body=body,
        redactor=Redactor(secrets),
        label=f"{http.method} {http.url}",
    )


def _headers(
    http: HttpSpec, arguments: JsonObject, secret: Callable[[SecretRef], str]
) -> tuple[dict[str, str], set[str]]:
    headers: dict[str, str] = {}
    private: set[str] = set()
    for name, value in http.headers.items():
        if isinstance(value, SecretRef):
            headers[name] = _secret_text(name, secret(value))
            private.add(name.lower())
            continue
        named = parameters_in(value)
        if named and value == f"{{{named[0]}}}" and named[0] not in arguments:
            continue
        text = render_text(value, arguments)
        if _BAD_IN_HEADER.search(text):
            raise _invalid(
                f"{', '.join(named)}: a value for the header {name} may hold no line break or control character"
            )
        headers[name] = text
    if http.auth is not None:
        headers["Authorization"] = _authorization(http.auth, secret)
    return headers, private


def _authorization(auth: HttpAuth, secret: Callable[[SecretRef], str]) -> str:
    if auth.bearer is not None:
        return f"Bearer {_secret_text('Authorization', secret(auth.bearer))}"
    assert auth.basic is not None  # the spec's rules: exactly one of the two
    pair = f"{auth.basic.username}:{secret(auth.basic.password)}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def _secret_text(header: str, value: str) -> str:
    text = value.strip()
    if _BAD_IN_HEADER.search(text):
        raise OperationError(
            f"the secret for the header {header} holds a line break or control character", reason="BadSecret"
        )
    return text


def _query_pairs(http: HttpSpec, arguments: JsonObject, secret: Callable[[SecretRef], str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in http.query.items():
        if isinstance(value, SecretRef):
            pairs.append((name, secret(value)))
            continue
        named = parameters_in(value)
        if named and value == f"{{{named[0]}}}":
            if named[0] in arguments:
                pairs.extend(_pairs({name: arguments[named[0]]}))
        else:
            pairs.append((name, render_text(value, arguments) if isinstance(value, str) else text_of(value)))
    return pairs


def _pairs(values: JsonObject) -> list[tuple[str, str]]:
    """Query or form pairs: a list repeats its name, null is left out."""
    out: list[tuple[str, str]] = []
    for name, value in values.items():
        items: list[Any] = value if isinstance(value, list) else [value]
        out.extend((name, text_of(item)) for item in items if item is not None)
    return out


def _unnamed(http: HttpSpec, arguments: JsonObject) -> JsonObject:
    """Arguments that no template names."""
    named = {*parameters_in(http.url)}
    for value in (*http.headers.values(), *http.query.values()):
        named.update(parameters_in(value) if isinstance(value, str) else ())
    if http.body_mode == "template":
        named.update(parameters_in(http.body))
    return {name: value for name, value in arguments.items() if name not in named}


def _body(http: HttpSpec, arguments: JsonObject, rest: JsonObject) -> tuple[bytes | None, str]:
    if http.body_mode == "json":
        return orjson.dumps(rest), "application/json"
    if http.body_mode == "form":
        return urlencode(_pairs(rest)).encode(), "application/x-www-form-urlencoded"
    if http.body_mode == "template":
        return orjson.dumps(render_json(http.body, arguments)), "application/json"
    return None, ""


def _url(template: str, arguments: JsonObject, pairs: Sequence[tuple[str, str]]) -> str:
    parts = urlsplit(template)
    segments = []
    for segment in parts.path.split("/"):
        text = render_text(
            segment,
            arguments,
            encode=lambda value: quote(value, safe=""),
            literal=lambda value: quote(value, safe=_LITERAL_PATH),
        )
        named = parameters_in(segment)
        if named and unquote(text) in ("", ".", ".."):
            # A server would take these for another path than the one that the manifest allows.
            raise _invalid(f"{', '.join(named)}: {unquote(text)!r} cannot be a part of the path")
        segments.append(text)
    query = render_text(
        parts.query,
        arguments,
        encode=lambda value: quote(value, safe=""),
        literal=lambda value: quote(value, safe=_LITERAL_QUERY),
    )
    added = urlencode(pairs, quote_via=quote)
    query = "&".join(part for part in (query, added) if part)
    return f"{parts.scheme}://{parts.netloc}{'/'.join(segments) or '/'}" + (f"?{query}" if query else "")


def _invalid(message: str) -> OperationError:
    return OperationError(f"the arguments do not fit: {message}", reason="InvalidArguments")
