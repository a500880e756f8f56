"""Watches: one poller serves all of a store's watchers, and asks only while somebody waits.

One request brings the store's version, the events after the last look and the tokens of watched scopes, as of one
moment. Own commits are handed to the watchers at once when nothing lies between.

"From now" is what this store knew at the moment of the call: the version of its last commit, look or list. So nothing
is lost, whoever writes; what others wrote since this store last heard of the server may be among a new watch's first
events.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

import orjson

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.errors import ExpiredError, StoreError, StoreUnavailableError
from kastra_core.protocols.store import Signal, WatchEvent
from kastra_plugin_libsql._database import resource_of
from kastra_plugin_libsql._remote.client import Row, Server, Statement
from kastra_plugin_libsql._remote.reads import PAGE_BYTES, payloads, read_whole
from kastra_plugin_libsql._remote.script import LARGE_BYTES
from kastra_plugin_libsql._remote.steps import Own

__all__ = ["EventWatch", "Hub", "SignalWatch", "StateWatch"]

T = TypeVar("T")

_BUFFER = 1024
"""Events kept in memory for a watcher that is slow; the rest it reads from the log when it gets there."""
_PAGE = 256
_TYPES: tuple[Any, ...] = ("ADDED", "MODIFIED", "DELETED")
_STATUS = (
    "SELECT coalesce((SELECT max(rv) FROM log), 0), (SELECT value FROM meta WHERE key = 'horizon'),"
    " coalesce((SELECT max(seq) FROM signals), 0),"
    " (SELECT json_group_object(scope, token) FROM scopes WHERE scope IN (SELECT value FROM json_each(?)))"
)
_EVENTS = (
    f"SELECT l.rv, l.type, iif(p.size <= {LARGE_BYTES}, l.body, NULL) FROM"
    " (SELECT rv, size, sum(size) OVER (ORDER BY rv) - size AS before FROM"
    f" (SELECT rv, length(body) AS size FROM log WHERE rv > ? ORDER BY rv LIMIT {_PAGE})) p"
    f" CROSS JOIN log l ON l.rv = p.rv WHERE p.before < {PAGE_BYTES} ORDER BY p.rv"
)
_SIGNALS = (
    f"SELECT r.uid, s.seq, s.name, s.signal_id, iif(p.size <= {LARGE_BYTES}, s.payload, NULL) FROM"
    " (SELECT seq, size, sum(size) OVER (ORDER BY seq) - size AS before FROM"
    f" (SELECT seq, length(payload) AS size FROM signals WHERE seq > ? ORDER BY seq LIMIT {_PAGE})) p"
    " CROSS JOIN signals s ON s.seq = p.seq CROSS JOIN runs r ON r.id = s.run"
    f" WHERE p.before < {PAGE_BYTES} ORDER BY p.seq"
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
            if not self._found:
                await self.pull()
            if self._found:
                return self._found.popleft()
            if self._closed:
                break
            self._waiting = asyncio.get_running_loop().create_future()
            self._hub.poll()
            try:
                await self._waiting
            finally:
                self._waiting = None
            if self._error is not None:
                error, self._error = self._error, None
                raise error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch; a task that waits in it sees its end."""
        self.end()

    async def pull(self) -> None:
        """Get what the hub does not bring."""

    @property
    def waits(self) -> bool:
        return self._waiting is not None

    def end(self) -> None:
        self._closed = True
        self._found.clear()
        self._hub.forget(self)
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Let a reader that waits have an error; when it comes again the watch goes on where it was."""
        if self.waits:
            self._error = error
            self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class EventWatch(_Watch[WatchEvent]):
    """Events after ``at`` are still to come; ``behind``: this watcher must read them from the log by itself."""

    def __init__(self, hub: Hub, group: str, kind: str, namespace: str | None, at: int, behind: bool) -> None:
        super().__init__(hub)
        self._group, self._kind, self._namespace = group, kind, namespace
        self.at, self.behind = at, behind

    def concerns(self, resource: Resource) -> bool:
        if self._namespace is not None and resource.metadata.namespace != self._namespace:
            return False
        if not (self._kind or self._group):
            return True
        key = resource.key
        return key.group == self._group and self._kind in ("", key.kind)

    def offer(self, rv: int, event: WatchEvent) -> None:
        if self.behind or rv <= self.at:
            return
        if self.concerns(event.resource):
            if len(self._found) >= _BUFFER:
                self.behind = True
                return
            self._found.append(event)
            self.wake()
        self.at = rv

    async def pull(self) -> None:
        while self.behind and not self._found and not self._closed:
            status, events, end = await self._hub.events_after(self.at)
            version, horizon = int(status[0]), int(status[1])
            if not horizon <= self.at <= max(version, horizon):
                raise ExpiredError(str(self.at), str(horizon))
            self._found.extend(event for _, event in events if self.concerns(event.resource))
            self.at = end
            # From here on the hub brings what comes; what lies between the two, nobody would.
            self.behind = end < self._hub.last_rv


class SignalWatch(_Watch[Signal]):
    def __init__(self, hub: Hub, at: int) -> None:
        super().__init__(hub)
        self._at = at

    def offer(self, signal: Signal) -> None:
        if signal.seq > self._at:
            self._at = signal.seq
            self._found.append(signal)
            self.wake()


class StateWatch(_Watch[JsonObject]):
    def __init__(self, hub: Hub, scope: str, read: Callable[[], Awaitable[tuple[int, JsonObject]]]) -> None:
        super().__init__(hub)
        self.scope, self._read = scope, read
        self.seen: int | None = None
        """Token of the state that the reader knows, None until the first look."""
        self.changed = False

    def check(self, token: int) -> None:
        if token != self.seen:
            self.changed = True
            self.wake()

    async def pull(self) -> None:
        if self.seen is None:
            await self._hub.settled()
        if self.changed:
            self.changed = False
            try:
                token, state = await self._read()
            except BaseException:
                self.changed = True
                raise
            if token != self.seen:
                self.seen = token
                self._found.append(state)


class Hub:
    """Brings changes to the watchers of a store. ``last_rv``: events up to it were offered to them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.known_rv = self.known_seq = self.horizon = 0
        """The newest that this store knows of."""
        self.last_rv = self._last_seq = 0
        self._events: weakref.WeakSet[EventWatch] = weakref.WeakSet()
        self._signals: weakref.WeakSet[SignalWatch] = weakref.WeakSet()
        self._states: weakref.WeakSet[StateWatch] = weakref.WeakSet()
        self._poller: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._looked = 0.0
        self._settling: asyncio.Task[None] | None = None
        self._closed = False

    # --------------------------------------------------------------------------------------------- new watches

    def watch_events(self, group: str, kind: str, namespace: str | None, since: str | None) -> EventWatch:
        self._check_open()
        if not self._events:
            self.last_rv = self.known_rv
        if since is None:
            watch = EventWatch(self, group, kind, namespace, self.known_rv, behind=False)
        else:
            watch = EventWatch(self, group, kind, namespace, int(since) if since.isdecimal() else -1, behind=True)
        self._events.add(watch)
        return watch

    def watch_signals(self) -> SignalWatch:
        self._check_open()
        if not self._signals:
            self._last_seq = self.known_seq
        watch = SignalWatch(self, self.known_seq)
        self._signals.add(watch)
        return watch

    def watch_state(self, scope: str, read: Callable[[], Awaitable[tuple[int, JsonObject]]]) -> StateWatch:
        self._check_open()
        watch = StateWatch(self, scope, read)
        self._states.add(watch)
        # The request is on its way before anything that this program writes from now on.
        if self._settling is None or self._settling.done():
            self._settling = asyncio.ensure_future(self._settle())
        return watch

    def forget(self, watch: _Watch[Any]) -> None:
        for watches in (self._events, self._signals, self._states):
            watches.discard(watch)  # type: ignore[arg-type]  # it is in the one of its type

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"store {self.server.settings.shown} is closed; open it again")

    async def settled(self) -> None:
        """Return when each watch of state knows where it begins."""
        while self._settling is not None and not self._settling.done():
            await asyncio.wait((self._settling,))

    async def _settle(self) -> None:
        while new := [watch for watch in self._states if watch.seen is None]:
            before = self.server.requests
            try:
                [[status]] = await self.server.read(self._status(watch.scope for watch in new))
            except StoreError as err:
                for watch in new:
                    watch.seen = 0  # whatever is there then, it shows
                    watch.fail(err)
                return
            # After a lost connection, others may have written since the call.
            late = self.server.requests > before + 1
            tokens = orjson.loads(status[3])
            for watch in new:
                token = tokens.get(watch.scope, 0)
                watch.seen = 0 if late else token
                watch.check(token)

    # --------------------------------------------------------------------------------------------- changes

    def heard(self, rv: int, horizon: int, seq: int = 0) -> None:
        """The server said where it is."""
        self.known_rv = max(self.known_rv, rv, horizon)
        self.horizon = max(self.horizon, horizon)
        self.known_seq = max(self.known_seq, seq)

    def committed(self, own: Own) -> None:
        """A commit of this store is durable."""
        if own.events:
            self.heard(own.events[-1][0], 0)
        self.heard(0, 0, own.signals)
        between = False
        if own.events and self._events:
            if own.events[0][0] == self.last_rv + 1 and own.events[-1][0] == self.last_rv + len(own.events):
                for rv, type_, resource in own.events:
                    if resource is None:
                        between = True
                        break
                    self._offer(rv, WatchEvent(_TYPES[type_], resource))
            else:
                between = True
        for watch in list(self._states):
            if own.concerns(watch.scope):
                watch.changed = True
                watch.wake()
        if between or (own.signals and self._signals):
            self._kick.set()

    def _offer(self, rv: int, event: WatchEvent) -> None:
        for watch in list(self._events):
            watch.offer(rv, event)
        self.last_rv = rv

    async def look(self) -> None:
        """Offer what was committed since the last look, by anybody. Raises: StoreError."""
        states = {watch.scope for watch in self._states}
        if not self._events:
            [[status]] = await self.server.read(self._status(states))
        else:
            status = await self._read_events(states)
        self.heard(*(int(number) for number in status[:3]))
        tokens = orjson.loads(status[3])
        for watch in list(self._states):
            if watch.scope in states and watch.seen is not None:
                watch.check(tokens.get(watch.scope, 0))
        if self._signals and status[2] > self._last_seq:
            await self._read_signals()

    async def _read_events(self, states: set[str]) -> Row:
        while True:
            asked = self.last_rv
            status, events, end = await self.events_after(asked, states)
            if status[1] > asked and asked == self.last_rv:
                # Others wrote more than the history keeps since the last look.
                for watch in list(self._events):
                    watch.behind = True
                    watch.wake()
                self.last_rv = max(status[0], status[1])
                return status
            for rv, event in events:
                if rv > self.last_rv:
                    self._offer(rv, event)
            self.last_rv = max(self.last_rv, end)
            if end >= status[0]:
                return status

    async def _read_signals(self) -> None:
        while True:
            rows = await self.server.rows(_SIGNALS, self._last_seq)
            found = []
            for uid, seq, name, signal_id, payload in rows:
                body = payload
                if body is None:
                    body = await read_whole(self.server, "signals", "payload", "seq = ?1", seq)
                if body is not None:
                    found.append((uid, seq, name, signal_id, body))
            whole = await payloads(self.server, [row[4] for row in found])
            for (uid, seq, name, signal_id, _), body in zip(found, whole):
                for watch in list(self._signals):
                    watch.offer(Signal(uid, seq, name, orjson.loads(body), signal_id))
            if not rows:
                return
            self._last_seq = max(self._last_seq, rows[-1][1])

    # --------------------------------------------------------------------------------------------- reads

    @staticmethod
    def _status(scopes: Any = ()) -> Statement:
        return _STATUS, (orjson.dumps(list(scopes)).decode(),)

    async def events_after(self, rv: int, scopes: Any = ()) -> tuple[Row, list[tuple[int, WatchEvent]], int]:
        """Status, the next events after ``rv``, and the version up to which these are all."""
        [status], rows = await self.server.read(self._status(scopes), (_EVENTS, (rv,)))
        self.heard(*(int(number) for number in status[:3]))
        events = []
        for at, type_, body in rows:
            whole = body if body is not None else await read_whole(self.server, "log", "body", "rv = ?1", at)
            if whole is None:
                raise ExpiredError(str(rv), str(self.horizon))
            events.append((at, WatchEvent(_TYPES[type_], resource_of(at, whole))))
        end = rows[-1][0] if rows else max(status[0], status[1], rv)
        return status, events, end

    # --------------------------------------------------------------------------------------------- the poller

    def poll(self) -> None:
        """Look from time to time while somebody waits; now, when the last look is longer ago than that."""
        if self._poller is None and not self._closed:
            self._poller = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            while any(watch.waits for watch in self._all()):
                rest_s = self._looked + self.server.settings.poll_s - monotonic()
                if rest_s > 0:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._kick.wait(), rest_s)
                self._kick.clear()
                self._looked = monotonic()
                try:
                    await self.look()
                except StoreError as err:
                    for watch in self._all():
                        watch.fail(err)
                    return
        finally:
            self._poller = None

    def _all(self) -> Iterator[_Watch[Any]]:
        yield from list(self._events)
        yield from list(self._signals)
        yield from list(self._states)

    async def aclose(self) -> None:
        self._closed = True
        tasks = [task for task in (self._poller, self._settling) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        for watch in self._all():
            watch.end()
        if tasks:
            await asyncio.wait(tasks)
