"""From a URL and options to settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from kastra_core.errors import ConfigError, nearest

__all__ = ["READERS", "SERVER_SCHEMES", "Reader", "Settings", "at_least", "read_option", "settings_of"]

SERVER_SCHEMES = ("libsql", "https", "http", "wss", "ws")
"""URLs with these are of a server; ``_remote`` reads them."""

Reader: TypeAlias = Callable[[Any], Any]
"""From what was given to a value; its docstring says what is allowed. Raises: TypeError, ValueError."""


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
    if parts.scheme != "file":
        raise ConfigError(f"store URL {url!r}: this store serves file: URLs, for example file:kastra.db")
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(
            f"store URL {url!r}: a file is on this machine, {parts.netloc!r} is not; write file:relative/path or file:///absolute/path"
        )
    if parts.fragment:
        raise ConfigError(f"store URL {url!r}: has a fragment; write # in a file name as %23")
    name = unquote(parts.path)
    if not name or name.endswith("/") or "\0" in name:
        raise ConfigError(f"store URL {url!r}: names no file; write for example file:kastra.db")
    if name == ":memory:":
        raise ConfigError(f"store URL {url!r}: a store in memory has the URL memory:")
    if os.name == "nt" and name[:1] == "/" and name[2:3] == ":":
        name = name[1:]
    given: dict[str, Any] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key in given:
            raise ConfigError(f"store URL {url!r}: {key} is given twice")
        given[key] = value
    found = {key: read_option(url, key, value, READERS) for key, value in given.items()}
    clock = options.get("clock", time.time)
    found.update({key: read_option(url, key, value, READERS) for key, value in options.items() if key != "clock"})
    # abspath, not resolve: a link stays what the user named, and a missing file is no error here.
    return Settings(url=url, path=Path(os.path.abspath(name)), clock=clock, **found)  # noqa: PTH100


def read_option(url: str, key: str, value: Any, readers: Mapping[str, Reader]) -> Any:
    """The value of an option; ``url`` is for the message. Raises: ConfigError."""
    if key not in readers:
        near = nearest(key, tuple(readers))
        hint = f"did you mean {near!r}?" if near else f"allowed are {', '.join(readers)}"
        raise ConfigError(f"store URL {url!r}: unknown option {key!r}; {hint}")
    try:
        return readers[key](value)
    except (TypeError, ValueError):
        raise ConfigError(f"store URL {url!r}: {key} must be {readers[key].__doc__}, found {value!r}") from None
