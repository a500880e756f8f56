"""EventBus: news within one process, by topic. Publishing never waits; nobody's handler can hurt another's.

What must not be lost belongs into the store; the bus is for those who want to know now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import asyncio

__all__ = ["EventBus", "Handler", "Listener", "Subscription", "WhenFull"]

Handler: TypeAlias = Callable[..., Awaitable[None] | None]
"""``handler(message)``, or ``handler(topic, message)`` with ``with_topic=True``; plain or async."""
WhenFull: TypeAlias = Literal["drop_oldest", "drop_newest"]

# Matches are remembered per topic; topics that carry ids must not make that grow for ever.
_MATCH_CACHE = 1024


def _matcher(pattern: str) -> Callable[[str], bool]:
    if not any(char in pattern for char in "*?["):
        return pattern.__eq__
    if pattern == "*":
        return lambda topic: True
    import re
    from fnmatch import translate

    found = re.compile(translate(pattern)).match
    return lambda topic: found(topic) is not None


def _log_fault(pattern: str, topic: str) -> None:
    import logging

    logging.getLogger(__name__).exception("a subscriber of %r failed on a message of %r", pattern, topic)


class Subscription:
    """One subscriber. Made by :meth:`EventBus.subscribe`; also an async context manager that ends it.

    A plain handler runs inside ``publish``. An async handler gets one message after the other from a queue.
    """

    def __init__(
        self, bus: EventBus, pattern: str, *, capacity: int, when_full: WhenFull, with_topic: bool = False
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be >= 1, got {capacity}")
        if when_full not in ("drop_oldest", "drop_newest"):
            raise ValueError(f"when_full must be drop_oldest or drop_newest, got {when_full!r}")
        self.pattern, self.capacity, self.when_full = pattern, capacity, when_full
        self.dropped = 0
        """Messages that were discarded because the queue was full (or the event loop gone)."""
        self.faults = 0
        """Messages on which the handler raised."""
        self.active = True
        self._bus, self._with_topic = bus, with_topic
        self.matches = _matcher(pattern)

    def unsubscribe(self) -> None:
        """Get nothing from now on; what is queued is discarded, a handler under way ends its message."""
        self.active = False
        self._bus._remove(self)

    async def aclose(self) -> None:
        """Get nothing new; return when what is queued was handled."""
        self.unsubscribe()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _offer(self, topic: str, message: Any) -> None:
        raise NotImplementedError


class _PlainSubscription(Subscription):
    def __init__(self, bus: EventBus, pattern: str, handler: Handler, **options: Any) -> None:
        super().__init__(bus, pattern, **options)
        self._handler = handler

    def _offer(self, topic: str, message: Any) -> None:
        try:
            found = self._handler(topic, message) if self._with_topic else self._handler(message)
            if found is not None and hasattr(found, "__await__"):
                if hasattr(found, "close"):
                    found.close()
                raise TypeError(f"{self._handler!r} returned an awaitable; subscribe an `async def` to have it awaited")
        except Exception:
            self.faults += 1
            _log_fault(self.pattern, topic)


class _QueuedSubscription(Subscription):
    """Bounded queue that belongs to one event loop; other threads hand over to it."""

    def __init__(self, bus: EventBus, pattern: str, **options: Any) -> None:
        super().__init__(bus, pattern, **options)
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._queue: deque[tuple[str, Any]] = deque()

    def _offer(self, topic: str, message: Any) -> None:
        if get_ident() == self._thread:
            self._put(topic, message)
            return
        try:
            self._loop.call_soon_threadsafe(self._put, topic, message)
        except RuntimeError:  # the loop is closed
            self.dropped += 1

    def _put(self, topic: str, message: Any) -> None:
        if not self.active:
            return
        queue = self._queue
        if len(queue) >= self.capacity:
            self.dropped += 1
            if self.when_full == "drop_newest":
                return
            queue.popleft()
        queue.append((topic, message))
        self._wake()

    def _wake(self) -> None:
        raise NotImplementedError


class _AsyncSubscription(_QueuedSubscription):
    """Hands messages to an async handler. The task lives only while there is something to hand over."""

    def __init__(self, bus: EventBus, pattern: str, handler: Handler, **options: Any) -> None:
        super().__init__(bus, pattern, **options)
        self._handler = handler
        self._task: asyncio.Task[None] | None = None

    def _wake(self) -> None:
        if self._task is None and not self._loop.is_closed():
            self._task = self._loop.create_task(self._drain(), name=f"kastra bus {self.pattern}")

    async def _drain(self) -> None:
        try:
            while self._queue:
                topic, message = self._queue.popleft()
                try:
                    await (self._handler(topic, message) if self._with_topic else self._handler(message))  # type: ignore[misc]
                except Exception:
                    self.faults += 1
                    _log_fault(self.pattern, topic)
        finally:
            self._task = None

    def unsubscribe(self) -> None:
        super().unsubscribe()
        self._queue.clear()

    async def aclose(self) -> None:
        import asyncio

        super(_QueuedSubscription, self).unsubscribe()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait((task,))


class _Mailbox(_QueuedSubscription):
    """What the bus knows of a Listener. It does not know the Listener, so one that is forgotten can be collected."""

    def __init__(self, bus: EventBus, pattern: str, **options: Any) -> None:
        super().__init__(bus, pattern, **options)
        self._waiters: deque[asyncio.Future[None]] = deque()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def unsubscribe(self) -> None:
        super().unsubscribe()
        self._queue.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _next(self) -> Any:
        while not self._queue:
            if not self.active:
                raise StopAsyncIteration
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the message that woke this one goes to the next
                raise
        topic, message = self._queue.popleft()
        return (topic, message) if self._with_topic else message


class Listener(AsyncIterator[Any]):
    """The messages of a pattern, from the moment of :meth:`EventBus.listen` on, as an async iterator.

    Ends after :meth:`aclose`, when the bus is closed, and when it is forgotten.
    """

    def __init__(self, mailbox: _Mailbox) -> None:
        self._mailbox = mailbox

    @property
    def dropped(self) -> int:
        """Messages that were discarded because the queue was full."""
        return self._mailbox.dropped

    @property
    def pending(self) -> int:
        """Messages that wait to be read."""
        return len(self._mailbox._queue)

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Any:
        return await self._mailbox._next()

    async def aclose(self) -> None:
        self._mailbox.unsubscribe()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        mailbox = getattr(self, "_mailbox", None)
        if mailbox is not None and mailbox.active:
            mailbox.active = False
            mailbox._bus._remove(mailbox)


class EventBus:
    """Publish and subscribe within a process.

    Topics are words with dots: ``agent.reconciled``. A pattern is a topic or a glob of it, as in file names: ``*``
    stands for any text, dots included (``agent.*``, ``*.failed``, ``*``), ``?`` for one character.
    """

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._matches: dict[str, tuple[Subscription, ...]] = {}

    def publish(self, topic: str, message: Any) -> None:
        """Tell all that listen to ``topic``. Never waits and never raises; may be called from any thread."""
        if not self._subscriptions:
            return
        found = self._matches.get(topic)
        if found is None:
            found = tuple(s for s in tuple(self._subscriptions) if s.matches(topic))
            if len(self._matches) >= _MATCH_CACHE:
                self._matches = {}
            self._matches[topic] = found
        for subscription in found:
            if subscription.active:
                subscription._offer(topic, message)

    def wants(self, topic: str) -> bool:
        """Whether anybody listens to ``topic``: for messages that cost something to make."""
        return any(s.matches(topic) for s in tuple(self._subscriptions))

    def subscribe(
        self,
        pattern: str,
        handler: Handler,
        *,
        capacity: int = 1000,
        when_full: WhenFull = "drop_oldest",
        with_topic: bool = False,
    ) -> Subscription:
        """Call ``handler`` with each message whose topic matches.

        A plain handler is called at once, inside ``publish``. An async one is called message by message in its own
        task, which needs a running event loop. A raise is logged and counted in ``faults``.

        Args:
            capacity: messages that may wait for an async handler, >= 1.
            when_full: which message is discarded (and counted in ``dropped``) when that many wait.
            with_topic: call ``handler(topic, message)``.
        """
        import inspect

        call = getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is async is async too
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
        make = _AsyncSubscription if is_async else _PlainSubscription
        subscription = make(self, pattern, handler, capacity=capacity, when_full=when_full, with_topic=with_topic)
        self._add(subscription)
        return subscription

    def listen(
        self, pattern: str, *, capacity: int = 1000, when_full: WhenFull = "drop_oldest", with_topic: bool = False
    ) -> Listener:
        """Iterate over the messages that are published from now on; ``with_topic``: (topic, message) pairs.

        Example:
            async for message in bus.listen("run.*"):
                ...
        """
        mailbox = _Mailbox(self, pattern, capacity=capacity, when_full=when_full, with_topic=with_topic)
        self._add(mailbox)
        return Listener(mailbox)

    async def aclose(self) -> None:
        """End all subscriptions; messages that wait for async handlers are handled first."""
        for subscription in tuple(self._subscriptions):
            await subscription.aclose()

    def _add(self, subscription: Subscription) -> None:
        self._subscriptions.append(subscription)
        self._matches = {}

    def _remove(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        self._matches = {}
