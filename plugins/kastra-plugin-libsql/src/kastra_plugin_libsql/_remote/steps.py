"""What the steps of a commit have in common."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import Resource
from kastra_core.errors import StoreError
from kastra_plugin_libsql._payloads import split
from kastra_plugin_libsql._remote.script import Answers, Script
from kastra_plugin_libsql._remote.uploads import Data

__all__ = ["RUN", "RUN_ROWS", "Large", "Own", "RemoteStep", "divided", "keep"]

RUN = "(SELECT id FROM runs WHERE uid = ?1)"
RUN_ROWS = f"id BETWEEN {RUN} << 32 AND ({RUN} << 32) | 4294967295"
"""Rows of the journal of the run ?1."""


class Own:
    """What a commit changed that watchers of the same store should learn at once."""

    __slots__ = ("cleared", "events", "scopes", "signals")

    def __init__(self) -> None:
        self.events: list[tuple[int, int, Resource | None]] = []
        """resourceVersion, type and state of each event, in order; None: it must be read."""
        self.scopes: set[str] = set()
        self.cleared: list[str] = []
        """Scopes that were cleared with all below them."""
        self.signals = 0
        """The last signal's number, 0 for none."""

    def concerns(self, scope: str) -> bool:
        """Whether a scope of state was written or cleared."""
        return scope in self.scopes or any(f"{scope}/".startswith(f"{above}/") for above in self.cleared)


@attrs.frozen
class Large:
    """A result that did not come with the answer, since it may be too large for it."""

    table: str
    column: str
    key: str
    """SQL condition with one parameter."""
    binding: Any
    make: Callable[[bytes], Any]


class RemoteStep:
    """A prepared operation."""

    small_bytes = 0
    """About how much of it is sent besides ``data``."""
    data: Sequence[Data] = ()
    """What may be sent before."""
    parts = 1
    """Operations in it, or rows that each take a statement."""

    @property
    def size_bytes(self) -> int:
        """About how much is sent with the commit."""
        return self.small_bytes + sum(one.size_bytes for one in self.data)

    def write(self, script: Script) -> None:
        """Add its statements: guards first."""
        raise NotImplementedError

    def adapts(self, code: str) -> bool:
        """Whether what the guard ``code`` found makes it write something else, so that the commit is sent once more."""
        return False

    def error(self, code: str, detail: str) -> Exception:
        """What to raise when the guard ``code`` said no."""
        return StoreError(f"a condition failed: {code} {detail}")

    def result(self, answer: Answers, own: Own) -> Any:
        """Its result, from what it asked for in ``write``, in that order; perhaps :class:`Large`."""
        return None


def keep(script: Script, marker: bytes, payload: Data | None, holder: str, *bindings: Any) -> None:
    """Keep a payload among the blobs, held by the row whose holder's name the query ``holder`` gives, if there is one.

    After the row was written: a hold that the row had before may have taken the same bytes along.
    """
    if payload is None:
        return
    mark = len(bindings) + 1
    script.add(
        f"INSERT INTO blobs (digest, data) SELECT ?{mark}, {payload.sql(mark + 1)} WHERE EXISTS ({holder})"
        " ON CONFLICT DO NOTHING",
        *bindings,
        marker[1:],
        *payload.bindings,
    )
    script.add(
        f"INSERT INTO holds (holder, blob) SELECT h.name, b.id FROM ({holder}) h, blobs b WHERE b.digest = ?{mark}"
        " ON CONFLICT DO NOTHING",
        *bindings,
        marker[1:],
    )


def divided(body: bytes, inline_bytes: int) -> tuple[bytes, Data | None]:
    """What the column holds for a payload, and the payload when it is kept among the blobs."""
    marker, payload = split(body, inline_bytes)
    return marker, None if payload is None else Data(payload)
