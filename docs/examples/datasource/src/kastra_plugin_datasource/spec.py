"""``spec`` of a DataSource as Python sees it, and what a look at a source finds."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from kastra_core.durations import Duration
from kastra_core.secrets import SecretRef

__all__ = ["MAX_BYTES", "MAX_ROWS", "DataSourceSpec", "Found", "SourceError"]

MAX_ROWS = 1000
"""Of a query; what is more is not read."""
MAX_BYTES = 1024 * 1024
"""Of one value of a database, and of the answer of a server."""


@attrs.frozen(kw_only=True)
class DataSourceSpec:
    """The definition (``datasources.yaml``) has checked all of it before a controller sees it."""

    type: Literal["sqlite", "http"]
    path: str = ""
    url: str = ""
    query: str = ""
    timeout: Duration = attrs.field(factory=lambda: Duration(5))
    refresh_interval: Duration = attrs.field(factory=lambda: Duration(60))
    credentials: SecretRef | None = None


@attrs.frozen(kw_only=True)
class Found:
    """What a look at a source found."""

    message: str
    """One line for people."""
    tables: int | None = None
    """Tables of a database."""
    rows: int | None = None
    """Rows of the query, or items of the JSON list that a server answered with."""
    content: Any = None
    """The rows, or what the server answered with; JSON, kept in the cache file. None: nothing to keep."""


class SourceError(Exception):
    """A source cannot be used now; ``reason`` is the one of the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message
