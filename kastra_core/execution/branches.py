"""Branches of a run that go on at once: their deadlines, their waits, and how one of them ends the others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from kastra_core.errors import LimitExceededError, RunCancelledError, StoreError
from kastra_core.execution.state import RunState
from kastra_core.protocols.runner import RunContext

if TYPE_CHECKING:
    from kastra_core.execution.context import Context

__all__ = ["Deadline", "ExpiredError", "Group", "Suspend", "cancelling"]

T = TypeVar("T")


class Suspend(BaseException):
    """Ends the task of a run that waits; not an Exception, so that a runner's handlers let it pass.

    ``wake_at_s``: unix seconds, None = when a signal or a child's end wakes it.
    """

    def __init__(self, wake_at_s: float | None) -> None:
        super().__init__(wake_at_s)
        self.wake_at_s = wake_at_s


class Deadline:
    """Until when a branch may begin something, and those around it.

    Args:
        until_s: unix seconds.
        above: that of the branch around it.
        limit: what cancels the branch; once it did nothing may begin, whatever the clock says.
    """

    __slots__ = ("above", "limit", "until_s")

    def __init__(self, until_s: float, above: Deadline | None, limit: asyncio.Timeout | None = None) -> None:
        self.until_s, self.above, self.limit = until_s, above, limit

    def check(self, now_s: float) -> None:
        """Raises: ExpiredError for the outermost that is over."""
        over: Deadline | None = None
        deadline: Deadline | None = self
        while deadline is not None:
            if deadline.until_s <= now_s or (deadline.limit is not None and deadline.limit.expired()):
                over = deadline
            deadline = deadline.above
        if over is not None:
            raise ExpiredError(over)


class ExpiredError(BaseException):
    """Ends a branch whose time is over; not an Exception, for the same reason as Suspend."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self.deadline = deadline


class Group(Generic[T]):
    """The branches of one ``gather``.

    Args:
        state: of the run.
        path: of the group in the journal.
        branches: by name.
        context: makes the context of a scope with a deadline.
        above: the deadline that holds for all of it.
        stop_on: an error for which it is true ends the other branches.
    """

    def __init__(
        self,
        state: RunState,
        path: str,
        branches: Mapping[str, Callable[[RunContext], Awaitable[T]]],
        context: Callable[[str, Deadline], Context],
        above: Deadline | None,
        stop_on: Callable[[BaseException], bool] | None,
    ) -> None:
        self._state, self._path, self._branches, self._context = state, path, branches, context
        self._stop_on = stop_on
        self._bound = Deadline(math.inf, above)
        """Over once one branch ended the others: one whose cancellation was swallowed begins nothing more."""
        self._out: dict[str, T | BaseException] = {}
        self._fatal: BaseException | None = None
        self._stopped_by: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._working = 0
        """Tasks that do not wait for something."""
        self._parked: set[asyncio.Future[bool]] = set()
        self._waits: list[Suspend] = []

    async def run(self, concurrency: int | None) -> dict[str, T | BaseException]:
        """The results by name.

        Raises: what ends the whole run; Suspend when all that is left waits.
        """
        names = iter(self._branches)
        if len(self._branches) == 1:
            self._working = 1
            await self._work(names)
        else:
            self._working = min(concurrency or len(self._branches), len(self._branches))
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._work(names)) for _ in range(self._working)]
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError:
                for task in self._tasks:
                    task.cancel()
                await _ended(self._tasks)
                raise
        if self._fatal is not None:
            raise self._fatal
        if self._stopped_by is not None:
            return await self._stopped()
        if self._waits:
            instants = [wait.wake_at_s for wait in self._waits if wait.wake_at_s is not None]
            raise Suspend(min(instants) if instants else None)
        return {name: self._out[name] for name in self._branches}

    async def _stopped(self) -> dict[str, T | BaseException]:
        name = self._stopped_by
        assert name is not None
        own, group = f"{self._path}[{name}]", f"{self._path}["
        if len(self._branches) > 1:
            inside = f"{own}/"
            await self._state.recall()
            self._state.end_branches(
                self._path,
                {"by": name},
                below=lambda path: path.startswith(group) and path != own and not path.startswith(inside),
            )
        return {name: self._out[name]}

    async def _work(self, names: Iterator[str]) -> None:
        """Carry out branches one after another; a branch that waits keeps its place."""
        for name in names:
            if self._fatal is not None or self._stopped_by is not None or not await self._one(name):
                break
        self._working -= 1
        if self._working == 0 and not self._woken:
            self._stall()

    async def _one(self, name: str) -> bool:
        """Carry out a branch; False when this task is to do no more."""
        state, scope, branch = self._state, f"{self._path}[{name}]", self._branches[name]
        while True:
            news = state.news
            try:
                self._out[name] = await branch(self._context(scope, self._bound))
            except (LimitExceededError, RunCancelledError, StoreError) as error:
                return self._end_all(error)
            except ExpiredError as error:
                return False if error.deadline is self._bound else self._end_all(error)
            except (asyncio.CancelledError, SystemExit) as error:
                if isinstance(error, asyncio.CancelledError) and cancelling():
                    raise
                return self._end_all(error)
            except Suspend as wait:
                if await self._park(scope, wait, news):
                    continue
                self._waits.append(wait)
                return False
            except Exception as error:
                self._out[name] = error
                if self._stop_on is not None and self._stopped_by is None and self._stop_on(error):
                    self._stopped_by = name
                    self._end_others()
                    return False
            return True

    def _end_all(self, error: BaseException) -> Literal[False]:
        """Let an error end the whole group."""
        if self._fatal is None:
            self._fatal = error
            self._end_others()
        return False

    def _end_others(self) -> None:
        self._bound.until_s = -math.inf
        me = asyncio.current_task()
        for task in self._tasks:
            if task is not me:
                task.cancel()

    async def _park(self, scope: str, wait: Suspend, news: int) -> bool:
        """Wait while others work. True: look again; False: nobody works any more, so the whole waits."""
        state = self._state
        if state.missed(scope, news):
            return True
        if self._working == 1 and not self._woken:
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = None
        if wait.wake_at_s is not None:
            timer = loop.call_later(max(0.0, wait.wake_at_s - state.manager.clock()), _look_again, waiter)
        state.parked[scope] = waiter
        self._parked.add(waiter)
        self._working -= 1
        try:
            return await waiter
        finally:
            self._working += 1
            self._parked.discard(waiter)
            del state.parked[scope]
            if timer is not None:
                timer.cancel()

    @property
    def _woken(self) -> bool:
        """A branch that waited is to look again and has not had its turn yet."""
        return any(waiter.done() for waiter in self._parked)

    def _stall(self) -> None:
        """All tasks that are left wait."""
        for waiter in self._parked:
            if not waiter.done():
                waiter.set_result(False)


def _look_again(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(True)


def cancelling() -> bool:
    """Whether the task is really being cancelled; a library may let an inner CancelledError escape."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for tasks that were cancelled, however often the waiting itself is cancelled."""
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            continue
