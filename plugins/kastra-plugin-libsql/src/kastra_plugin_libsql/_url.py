"""From a URL and options to settings."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from kastra_core.errors import ConfigError, nearest

__all__ = ["READERS", "SERVER_SCHEMES", "Given", "Reader", "Settings", "at_least", "query_of", "settings_of"]

SERVER_SCHEMES = ("libsql", "https", "http", "wss", "ws")
"""URLs with these are of a server; ``_remote`` reads them."""

Reader: TypeAlias = Callable[[Any], Any]
"""From what was given to a value; its docstring says what is allowed. Raises: TypeError, ValueError."""

_PLAIN = re.compile(r"[A-Za-z_]{1,30}|-?[0-9.]{1,12}")
"""What a message may repeat of a URL or an option: a word or a number. Anything else may be a token."""


@attrs.frozen(kw_only=True)
class Settings:
    """Where the database is and how it is used; all but path, url and clock may stand in the URL's query."""

    url: str
    path: Path
    durability: str = "full"
    """"full": a commit is on the disk before it is acknowledged. "relaxed": a power cut may lose the last commits."""
    timeout_s: float = 30.0
    """How long to wait for a lock that another program holds."""
    history_events: int = 10_000
    """A watch can go back by about this many events,"""
    history_s: float = 3600.0
    """and by this long."""
    inline_bytes: int = 65_536
    """A payload of more JSON is kept among the blobs, once, and only named in its row."""
    clock: Callable[[], float] = time.time
    """Unix seconds; decides about leases, TTLs, times of records and the age of events."""


def at_least(kind: Callable[[Any], Any], least: float, what: str) -> Reader:
    """A reader of numbers from ``least`` on; ``what`` says so."""

    def read(value: Any) -> Any:
        number = kind(value)
        if not number >= least:
            raise ValueError
        return number

    read.__doc__ = what
    return read


def _durability(value: Any) -> str:
    """full or relaxed"""
    if value not in ("full", "relaxed"):
        raise ValueError
    return str(value)


READERS: dict[str, Reader] = {
    "durability": _durability,
    "history_events": at_least(int, 1, "a whole number from 1"),
    "history_s": at_least(float, 0.0, "seconds, not negative"),
    "inline_bytes": at_least(int, 1, "a whole number from 1"),
    "timeout_s": at_least(float, 0.0, "seconds, not negative"),
}


def settings_of(url: str, options: Mapping[str, Any]) -> Settings:
    """Read ``file:rel``, ``file:/abs``, ``file:///abs`` or ``file://localhost/abs``; options win over the query.

    Raises: ConfigError.
    """
    parts = urlsplit(url)
    # Without what may hold a token.
    shown = url.partition("?")[0].partition("#")[0]
    if parts.scheme != "file":
        raise ConfigError(f"store URL {shown!r}: this store serves file: URLs, for example file:kastra.db")
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(
            f"store URL {shown!r}: a file is on this machine, {parts.netloc!r} is not; write file:relative/path or file:///absolute/path"
        )
    if parts.fragment:
        raise ConfigError(f"store URL {shown!r}: has a fragment; write # in a file name as %23")
    name = unquote(parts.path)
    if not name or name.endswith("/") or "\0" in name:
        raise ConfigError(f"store URL {shown!r}: names no file; write for example file:kastra.db")
    if name == ":memory:":
        raise ConfigError(f"store URL {shown!r}: a store in memory has the URL memory:")
    if os.name == "nt" and name[:1] == "/" and name[2:3] == ":":
        name = name[1:]
    found = Given(shown, READERS).read(query_of(shown, parts.query))
    clock = options.get("clock", time.time)
    own = {key: value for key, value in options.items() if key != "clock"}
    found |= Given(shown, READERS, in_url=False).read(own)
    # abspath, not resolve: a link stays what the user named, and a missing file is no error here.
    return Settings(url=url, path=Path(os.path.abspath(name)), clock=clock, **found)  # noqa: PTH100


def query_of(shown: str, query: str) -> dict[str, str]:
    """The options in a URL's query. Raises: ConfigError when one is given twice."""
    given: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in given:
            raise ConfigError(f"store URL {shown!r}: {_plain(key, 'an option')} is given twice")
        given[key] = value
    return given


@attrs.frozen
class Given:
    """Options as they were given, and where: in a URL they have Python's names, in ``storeOptions`` camelCase."""

    shown: str
    """The URL for messages."""
    readers: Mapping[str, Reader]
    in_url: bool = attrs.field(default=True, kw_only=True)
    others: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """Options that somebody else reads, for messages."""

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values. Raises: ConfigError."""
        return {key: self._value(key, value) for key, value in given.items()}

    def _value(self, key: str, value: Any) -> Any:
        if key not in self.readers:
            raise ConfigError(self._unknown(self._name(key)))
        try:
            return self.readers[key](value)
        except (TypeError, ValueError):
            found = repr(value) if _PLAIN.fullmatch(str(value)) else ""
            raise ConfigError(
                f"{self._head}: {self._name(key)}{self._place} must be {self.readers[key].__doc__}"
                + (f", found {found}" if found else "")
            ) from None

    def _unknown(self, name: str) -> str:
        known = tuple(self._name(key) for key in (*self.others, *self.readers))
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"allowed are {', '.join(known)}"
        return f"{self._head}: unknown option{_plain(name, '', before=' ')}{self._place}; {hint}"

    @property
    def _head(self) -> str:
        return f"store URL {self.shown!r}" if self.in_url else f"store {self.shown}"

    @property
    def _place(self) -> str:
        return "" if self.in_url else " (storeOptions)"

    def _name(self, key: str) -> str:
        return key if self.in_url else re.sub("_([a-z])", lambda found: found[1].upper(), key)


def _plain(text: str, otherwise: str, *, before: str = "") -> str:
    """``text`` in quotes where it is a plain word or number, which no token is."""
    return f"{before}{text!r}" if _PLAIN.fullmatch(text) else otherwise
