"""From the URL of a server and options to settings. A token never stands in a URL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import attrs

from kastra_core.errors import ConfigError
from kastra_plugin_libsql._payloads import INLINE_BYTES
from kastra_plugin_libsql._url import SERVER_SCHEMES, Given, Reader, at_least, query_of

__all__ = ["TOKEN_VARIABLE", "RemoteSettings", "remote_settings_of"]

TOKEN_VARIABLE = "KASTRA_STORE_AUTH_TOKEN"  # noqa: S105 - its name
"""The environment variable with the token when no option gives one."""

_MAX_INLINE_BYTES = 1_000_000
_SECRETS = ("authtoken", "auth_token", "jwt", "token", "password", "apikey", "api_key")
"""Names of a query, in lower case, that people write tokens under."""

_SET_TOKEN = (
    "set storeOptions.authToken: {valueFrom: {env: NAME}} in the configuration or the environment variable "
    f"{TOKEN_VARIABLE}"
)


@attrs.frozen(kw_only=True)
class RemoteSettings:
    """Where the server is and how it is used; the options may stand in the URL's query, ``auth_token`` may not."""

    url: str
    """As given; messages have :attr:`shown`."""
    target: str
    """Without a query."""
    auth_token: str | None = attrs.field(default=None, repr=False)
    tls: bool | None = None
    """None: by the scheme; False makes ``libsql:`` a WebSocket without TLS."""
    timeout_s: float = 30.0
    """How long an operation may take, with all its tries."""
    poll_s: float = 0.25
    """How often the server is asked for changes while somebody watches."""
    history_events: int = 10_000
    """A watch can go back by about this many events,"""
    history_s: float = 3600.0
    """and by this long."""
    inline_bytes: int = INLINE_BYTES
    """A payload of more JSON is kept among the blobs, once, and only named in its row."""
    vector_index: bool = False
    """Search vectors by the server's index: quicker, and some of the nearest may be missing."""
    clock: Callable[[], float] = time.time
    """Unix seconds; decides about leases, TTLs, times of records and the age of events."""

    @property
    def token_hint(self) -> str:
        return _SET_TOKEN

    @property
    def shown(self) -> str:
        """The URL for messages, without path and query: people may have written a token there."""
        parts = urlsplit(self.target)
        return f"{parts.scheme}://{parts.netloc}"

    def scrubbed(self, text: str) -> str:
        """What a library says, without the URL's path."""
        path = urlsplit(self.target).path
        return text.replace(path, "/...") if len(path) > 1 else text


def _flag(value: Any) -> bool:
    """true or false"""
    found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if found is None:
        raise ValueError
    return found


def _inline_bytes(value: Any) -> int:
    """a whole number from 1 to 1000000"""
    number = int(value)
    if not 1 <= number <= _MAX_INLINE_BYTES:
        raise ValueError
    return number


def _seconds(least: float) -> Reader:
    return at_least(float, least, f"seconds, at least {least:g}")


_READERS: dict[str, Reader] = {
    "history_events": at_least(int, 1, "a whole number from 1"),
    "history_s": at_least(float, 0.0, "seconds, not negative"),
    "inline_bytes": _inline_bytes,
    "poll_s": _seconds(0.01),
    "timeout_s": _seconds(0.1),
    "tls": _flag,
    "vector_index": _flag,
}


def remote_settings_of(url: str, options: Mapping[str, Any]) -> RemoteSettings:
    """Read the URL of a server; options win over its query. No message repeats a secret.

    Raises: ConfigError.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(
            "store URL: its host or port (a whole number, 0-65535) cannot be read; "
            "write for example libsql://db.example.org"
        ) from None
    shown = f"{parts.scheme}://{host or ''}" + (f":{port}" if port is not None else "")
    if parts.scheme not in SERVER_SCHEMES or not host:
        raise ConfigError(f"store URL {shown!r}: names no server; write for example libsql://db.example.org")
    if "@" in parts.netloc:
        raise ConfigError(f"store URL {shown!r}: a user or password does not belong in a URL; {_SET_TOKEN}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    for key, _ in query:
        if key.lower() in _SECRETS:
            raise ConfigError(f"store URL {shown!r}: {key} does not belong in a URL, which others see; {_SET_TOKEN}")
    if parts.fragment:
        raise ConfigError(f"store URL {shown!r}: has a fragment, which means nothing here; leave it out")
    in_url: dict[str, Any] = dict(query_of(shown, parts.query))
    given = dict(options)
    token = given.pop("auth_token", None) or os.environ.get(TOKEN_VARIABLE)
    clock = given.pop("clock", time.time)
    if "durability" in {**in_url, **given}:
        raise ConfigError(
            f"store URL {shown!r}: durability is the server's own setting; take the option out, it is for file: stores"
        )
    found = Given(shown, _READERS).read(in_url)
    own = {key: value for key, value in given.items() if value is not None}
    found |= Given(shown, _READERS, in_url=False, others=("auth_token",)).read(own)
    if token is not None and (not isinstance(token, str) or not token.isprintable()):
        raise ConfigError(f"store URL {shown!r}: the token must be a text without line ends; {_SET_TOKEN}")
    tls = found.get("tls")
    secure = parts.scheme in ("https", "wss")
    if (secure and tls is False) or (parts.scheme in ("http", "ws") and tls):
        other = {"https": "http", "wss": "ws", "http": "https", "ws": "wss"}[parts.scheme]
        raise ConfigError(f"store URL {shown!r}: tls contradicts the scheme; write {other}: or take tls out")
    if parts.scheme == "libsql" and tls is False and port is None:
        raise ConfigError(f"store URL {shown!r}: without TLS a libsql: URL must name a port")
    target = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return RemoteSettings(url=url, target=target, auth_token=token or None, clock=clock, **found)
