"""Faults on demand, and what a server received."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable

import attrs

__all__ = ["STATEMENTS", "Faults", "Log", "Received", "Rule"]

STATEMENTS = ("execute", "batch", "sequence", "open_cursor", "cursor")
"""The requests that run SQL: what a fault means when no kind is given."""


@attrs.frozen
class Received:
    """One request: of a WebSocket, of an HTTP pipeline, or an HTTP request of version 1."""

    kind: str
    """The ``type`` of the request; also hello, and cursor for an HTTP cursor."""
    transport: str
    """``ws`` or ``http``."""
    version: int
    sql: tuple[str, ...] = ()
    """The text of each statement, stored texts resolved."""
    peer: int = 0
    """Number of the WebSocket, counted from 1; 0 for HTTP."""


class Log:
    """The last requests, in the order in which they began to run."""

    def __init__(self, most: int = 10_000) -> None:
        self.requests: deque[Received] = deque(maxlen=most)
        self.counts: Counter[str] = Counter()
        """By kind; also ``connect`` (WebSockets accepted), ``http`` (HTTP requests) and ``refused`` (by a fault)."""
        self._changed = asyncio.Event()

    def add(self, received: Received) -> None:
        self.requests.append(received)
        self.count(received.kind)

    def count(self, kind: str) -> None:
        self.counts[kind] += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, kind: str, count: int) -> None:
        """Return when so many of a kind were counted since the start or ``clear``."""
        while self.counts[kind] < count:
            await self._changed.wait()

    def clear(self) -> None:
        self.requests.clear()
        self.counts.clear()


@attrs.define
class Rule:
    action: str
    kinds: frozenset[str]
    match: str
    skip: int
    times: int
    steps: int = 0

    def fits(self, kind: str, sql: Iterable[str]) -> bool:
        return kind in self.kinds and (not self.match or any(self.match in text for text in sql))


@attrs.define
class Faults:
    """What shall go wrong. Each method may be called at any time, by Python or as ``POST /__admin__/<method>``.

    ``n`` counts from 1, over the matching requests that come after the call. ``kind`` is a type of request, by default
    any that runs SQL; ``match`` is text that one of its statements must contain. Requests that end or store something
    (close_stream, close, store_sql, close_sql) meet no fault; a hello can only be cut.
    """

    _rules: list[Rule] = attrs.field(factory=list)
    _unavailable: int = 0
    _delay_s: float = 0.0
    _delays: int | None = None
    _held: asyncio.Event | None = None
    refusing_tokens: bool = False

    def _add(self, action: str, n: int, times: int, kind: str | None, match: str, steps: int = 0) -> None:
        kinds = frozenset(STATEMENTS if kind is None else (kind,))
        self._rules.append(Rule(action, kinds, match, n - 1, times, steps))

    def cut_before(self, n: int = 1, *, times: int = 1, kind: str | None = None, match: str = "") -> None:
        """Cut the connection at the n-th request, which is not executed; and at ``times`` - 1 more."""
        self._add("cut_before", n, times, kind, match)

    def cut_after(self, n: int = 1, *, times: int = 1, kind: str | None = None, match: str = "") -> None:
        """Execute the n-th request, then cut the connection without an answer."""
        self._add("cut_after", n, times, kind, match)

    def cut_in_batch(self, steps: int, n: int = 1, *, times: int = 1, match: str = "") -> None:
        """Execute ``steps`` steps of the n-th batch, then cut the connection; its transaction is rolled back."""
        self._add("cut_in_batch", n, times, "batch", match, steps)

    def fail(self, n: int = 1, *, times: int = 1, kind: str | None = None, match: str = "") -> None:
        """Answer the n-th request with an error, code FAULT, without executing it."""
        self._add("fail", n, times, kind, match)

    def unavailable(self, n: int = 1) -> None:
        """Answer the next n HTTP requests, WebSocket handshakes too, with status 503."""
        self._unavailable = n

    def delay(self, seconds: float, n: int | None = None) -> None:
        """Give each answer, or the next n, later by ``seconds``, after its request was executed."""
        self._delay_s, self._delays = seconds, n

    def hold(self) -> None:
        """Begin no further request that runs SQL until ``release``."""
        self._held = self._held or asyncio.Event()

    def release(self) -> None:
        """Let what ``hold`` stopped go on."""
        if self._held is not None:
            self._held.set()
            self._held = None

    def refuse_tokens(self, refuse: bool = True) -> None:
        """Refuse each token from now on: 401, or ``hello_error``."""
        self.refusing_tokens = refuse

    def clear(self) -> None:
        """No faults any more."""
        self.release()
        self._rules.clear()
        self._unavailable = 0
        self._delay_s, self._delays = 0.0, None
        self.refusing_tokens = False

    def take(self, kind: str, sql: Iterable[str]) -> Rule | None:
        """Return the rule that this request meets."""
        texts = tuple(sql)
        found = None
        for rule in [rule for rule in self._rules if rule.fits(kind, texts)]:
            if rule.skip > 0:
                rule.skip -= 1
            elif found is None:
                found = rule
                rule.times -= 1
                if rule.times <= 0:
                    self._rules.remove(rule)
        return found

    def take_unavailable(self) -> bool:
        """Return whether this HTTP request is answered with 503."""
        if self._unavailable <= 0:
            return False
        self._unavailable -= 1
        return True

    def take_delay(self) -> float:
        """Return how many seconds this answer waits."""
        if self._delays is None:
            return self._delay_s
        if self._delays <= 0:
            return 0.0
        self._delays -= 1
        return self._delay_s

    def held(self, kind: str) -> asyncio.Event | None:
        """Return what a request of this kind waits for."""
        return self._held if kind in STATEMENTS else None
