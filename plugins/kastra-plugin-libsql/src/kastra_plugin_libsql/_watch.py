"""Watches: one look at the database serves all of a store's watchers.

Commits of this store are handed to the watchers at once, without reading them back. Commits of others are noticed by
``PRAGMA data_version`` (two microseconds; to wake up for it costs a hundred times as much), asked while somebody waits:
every 20 ms, every 35 ms when nothing came for a while. Numbers are given under the database's write lock, so the order
of the log is the order of commits, whichever process wrote.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ExpiredError, StoreUnavailableError
from kastra_core.protocols.store import Signal, WatchEvent
from kastra_plugin_libsql._database import Database
from kastra_plugin_libsql._errors import damaged
from kastra_plugin_libsql._payloads import resolved
from kastra_plugin_libsql._transaction import EventRow, Transaction

if TYPE_CHECKING:
    import asyncio

__all__ = ["EventWatch", "Hub", "SignalWatch", "StateWatch"]

T = TypeVar("T")

_POLL_S = 0.02
_QUIET_POLL_S = 0.035
_QUIET_LOOKS = 50
"""Looks that found nothing before the longer interval is taken."""
_BUFFER = 1024
"""Events kept in memory for a watcher that is slow; the rest it reads from the log when it gets there."""
_PAGE = 256
_TYPES: tuple[Any, ...] = ("ADDED", "MODIFIED", "DELETED")

_SIGNALS = (
    f"SELECT r.uid, s.seq, s.name, {resolved('s.payload')}, s.signal_id FROM signals s JOIN runs r ON r.id = s.run"  # noqa: S608 - a column's name
    " WHERE s.seq > ? ORDER BY s.seq"
)


class _Watch(Generic[T]):
    """An endless iterator; it ends when the store or the watch is closed. For one consumer."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._found: deque[T] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._closed = False
        self._error: BaseException | None = None

    def __aiter__(self) -> _Watch[T]:
        return self

    async def __anext__(self) -> T:
        while not self._closed:
            if self._error is not None:
                raise self._error
            if not self._found:
                self._hub.look()
                self.pull()
            if self._found:
                return self._found.popleft()
            if not self._closed:
                import asyncio

                loop = asyncio.get_running_loop()
                self._waiting = loop.create_future()
                self._hub.poll(loop)
                try:
                    await self._waiting
                finally:
                    self._waiting = None
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch; a task that waits in it sees its end."""
        self.end()

    def pull(self) -> None:
        """Get what the hub did not bring."""

    @property
    def waits(self) -> bool:
        return self._waiting is not None

    def end(self) -> None:
        self._closed = True
        self._found.clear()
        self.wake()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class EventWatch(_Watch[WatchEvent]):
    """``behind`` is the resourceVersion from which this watcher must read the log by itself; None when up to date."""

    def __init__(self, hub: Hub, group: str, kind: str, namespace: str | None, since: int | None) -> None:
        super().__init__(hub)
        self._group, self._kind, self._namespace = group, kind, namespace
        self._behind = since

    def concerns(self, row: EventRow) -> bool:
        if self._namespace is not None and row[3] != self._namespace:
            return False
        if not (self._kind or self._group):
            return True
        group, kind = self._hub.database.kind_name(row[2])
        return group == self._group and self._kind in ("", kind)

    def wants(self, row: EventRow) -> bool:
        return self._behind is None and self.concerns(row)

    def offer(self, row: EventRow, event: Callable[[], WatchEvent]) -> None:
        if len(self._found) >= _BUFFER:
            self._behind = row[0] - 1
            return
        self._found.append(event())
        self.wake()

    def fall_behind(self, rv: int) -> None:
        if self._behind is None:
            self._behind = rv
        self.wake()

    def pull(self) -> None:
        while self._behind is not None and not self._found:
            rows, horizon, last = self._hub.events_after(self._behind, _PAGE)
            if not horizon <= self._behind <= last:
                raise ExpiredError(str(self._behind), str(horizon))
            # What is newer than the hub's last look it will bring by itself.
            limit = self._hub.last_rv
            self._found.extend(self._hub.event(row) for row in rows if row[0] <= limit and self.concerns(row))
            self._behind = rows[-1][0] if rows and rows[-1][0] < limit else None


class SignalWatch(_Watch[Signal]):
    def offer(self, signal: Signal) -> None:
        self._found.append(signal)
        self.wake()


class StateWatch(_Watch[JsonObject]):
    def __init__(self, hub: Hub, scope: str, read: Callable[[], JsonObject]) -> None:
        super().__init__(hub)
        self.scope, self._read = scope, read
        self._seen = hub.state_token(scope)
        self._changed = False

    def check(self) -> None:
        token = self._hub.state_token(self.scope)
        if token != self._seen:
            self._seen, self._changed = token, True
            self.wake()

    def pull(self) -> None:
        if self._changed:
            self._changed = False
            self._found.append(self._read())


class Hub:
    """Brings changes to the watchers of a store. ``last_rv``: events up to it were offered to them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.last_rv = 0
        self._last_signal = 0
        self._data_version = -1
        self._quiet_looks = 0
        self._events: weakref.WeakSet[EventWatch] = weakref.WeakSet()
        self._signals: weakref.WeakSet[SignalWatch] = weakref.WeakSet()
        self._states: weakref.WeakSet[StateWatch] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def event(self, row: EventRow) -> WatchEvent:
        if not 0 <= row[1] < len(_TYPES):
            raise damaged(self.database.settings.path, LookupError(f"event type {row[1]}"))
        return WatchEvent(_TYPES[row[1]], self.database.resource(row[0], row[4]))

    # --------------------------------------------------------------------------------------------- new watches

    def watch_events(self, group: str, kind: str, namespace: str | None, since: str | None) -> EventWatch:
        self._check_open()
        if self._events:
            self.look()  # "from now" must not repeat what others wrote since the last look
        else:
            self.last_rv = self._version()
        behind = None if since is None else int(since) if since.isdecimal() else -1
        watch = EventWatch(self, group, kind, namespace, behind)
        self._events.add(watch)
        return watch

    def watch_signals(self) -> SignalWatch:
        self._check_open()
        if self._signals:
            self.look()
        else:
            [self._last_signal] = self.database.first("SELECT coalesce(max(seq), 0) FROM sqlite_sequence") or (0,)
        watch = SignalWatch(self)
        self._signals.add(watch)
        return watch

    def watch_state(self, scope: str, read: Callable[[], JsonObject]) -> StateWatch:
        self._check_open()
        watch = StateWatch(self, scope, read)
        self._states.add(watch)
        return watch

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"store {self.database.settings.url} is closed; open it again")

    # --------------------------------------------------------------------------------------------- changes

    def committed(self, tx: Transaction) -> None:
        """A commit of this store is durable."""
        if tx.events and self._events:
            if tx.events[0][0] == self.last_rv + 1:
                self._offer(tx.events)
            else:
                self._read_events()
        if tx.signals and self._signals:
            self._read_signals()
        if tx.scopes:
            for watch in list(self._states):
                watch.check()

    def look(self) -> None:
        """Offer what was committed since the last look, by anybody."""
        if self._closed:
            return
        [version] = self.database.first("PRAGMA data_version")
        if version == self._data_version:
            self._quiet_looks += 1
            return
        if self._events:
            self._read_events()
        if self._signals:
            self._read_signals()
        for watch in list(self._states):
            watch.check()
        # Last: after a look that failed the next one must find the same.
        self._data_version, self._quiet_looks = version, 0

    def _offer(self, rows: list[EventRow]) -> None:
        watches = list(self._events)
        for row in rows:
            # One parse for all watchers, none when it concerns nobody.
            made: list[WatchEvent] = []

            def event(row: EventRow = row, made: list[WatchEvent] = made) -> WatchEvent:
                if not made:
                    made.append(self.event(row))
                return made[0]

            # First who it is for: when that cannot be told, nobody may have it already.
            for watch in [watch for watch in watches if watch.wants(row)]:
                watch.offer(row, event)
            self.last_rv = row[0]

    def _read_events(self) -> None:
        while True:
            rows, horizon, last = self.events_after(self.last_rv, _PAGE)
            if horizon > self.last_rv:  # others wrote more than the history keeps since the last look
                for watch in list(self._events):
                    watch.fall_behind(self.last_rv)
                self.last_rv = last
                return
            self._offer(rows)
            if len(rows) < _PAGE:
                return

    def _read_signals(self) -> None:
        rows = self.database.rows(
            _SIGNALS,
            (self._last_signal,),
        )
        for uid, seq, name, payload, signal_id in rows:
            for watch in list(self._signals):
                watch.offer(Signal(uid, seq, name, self.database.json(payload), signal_id))
            self._last_signal = seq

    # --------------------------------------------------------------------------------------------- reads

    def events_after(self, rv: int, limit: int) -> tuple[list[EventRow], int, int]:
        """The next events after ``rv``, the horizon and the last resourceVersion, as of one moment."""
        with self.database.snapshot() as connection:
            rows: list[Any] = connection.execute(
                "SELECT rv, type, kind, namespace, body FROM log WHERE rv > ? ORDER BY rv LIMIT ?", (rv, limit)
            ).fetchall()
            try:
                [found] = connection.execute("SELECT value, (SELECT max(rv) FROM log) FROM meta WHERE key = 'horizon'")
                horizon, last = cast("tuple[int, int | None]", found)
                return rows, horizon, max(last or 0, horizon)
            except (ValueError, TypeError) as err:  # none, or no number
                raise damaged(self.database.settings.path, err) from err

    def _version(self) -> int:
        return self.events_after(0, 0)[2]

    def state_token(self, scope: str) -> int:
        row = self.database.first("SELECT token FROM scopes WHERE scope = ?", (scope,))
        return int(row[0]) if row else 0

    # --------------------------------------------------------------------------------------------- the timer

    def poll(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from time to time while somebody waits."""
        if (self._timer is None or self._timer_loop is not loop) and not self._closed:
            self._timer_loop = loop
            interval_s = _POLL_S if self._quiet_looks < _QUIET_LOOKS else _QUIET_POLL_S
            self._timer = loop.call_later(interval_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        waiting = [watch for watch in self._all() if watch.waits]
        if not waiting:
            return
        try:
            self.database.check_place()
            self.look()
        except Exception as err:
            for watch in waiting:
                watch.fail(err)
        else:
            self.poll(loop)

    def _all(self) -> Iterator[_Watch[Any]]:
        yield from list(self._events)
        yield from list(self._signals)
        yield from list(self._states)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for watch in self._all():
            watch.end()
