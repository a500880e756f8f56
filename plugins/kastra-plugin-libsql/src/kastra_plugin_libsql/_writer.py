"""Group commit: concurrent commits share one transaction and one wait for the disk.

The statements of a group, some microseconds each, run in the event loop's thread: handing them to a thread would cost
more in switches than they take, since each statement gives up the interpreter lock. Only what may block goes to
the thread: waiting for the write lock when another program has it, COMMIT (it waits for the disk) and checkpoints.
While a group is being made durable, the next one gathers. A small COMMIT on a disk that proved quick stays in the
loop's thread too, and a commit that nobody would join is done before ``submit`` returns, without a turn of the loop.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from time import perf_counter
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import apsw

from kastra_core.errors import KastraError, StoreUnavailableError
from kastra_plugin_libsql._errors import damaged, store_error
from kastra_plugin_libsql._schema import check_schema, connect
from kastra_plugin_libsql._transaction import Compound, Step, Transaction
from kastra_plugin_libsql._worker import Worker

if TYPE_CHECKING:
    import asyncio

    from kastra_plugin_libsql._database import Database
    from kastra_plugin_libsql._watch import Hub

__all__ = ["Writer"]

_GROUP_STEPS = 4096
"""A group takes no further commit when it has this many operations."""
_SLICE_S = 0.002
"""The loop's other tasks get a turn after this long."""
_QUICK_S = 0.0004
"""A disk that makes commits durable in less than this, by and large, is waited for in the loop's own thread."""
_MAYBE_QUICK_S = 0.002
"""What the thread measures may be its wait for the interpreter lock: up to here a try in the loop tells more."""
_SLOWEST_S = 0.0025
"""A slower commit counts as this one: a hiccup of the disk does not make it a slow disk."""
_TRY_COMMITS = 32
"""Commits between two such tries."""
_PLACE_S = 0.002
"""How often to look whether the file is still in its place. Not before each group: on kernels with fine time stamps the
next write after a look must note a new time, which makes its fsync a third slower."""
_COMPANY = 16
"""After commits of two tasks met, so many lone ones must follow before one is begun without waiting for company."""
_CHECKPOINT_PAGES = 1000
"""Pages written to the write-ahead log between two checkpoints: SQLite's own default."""
_COMPACT_EVENTS = 256
"""The log may be this much longer than asked before it is cut."""
_SWEEP_S = 60.0
"""How often old events and expired values are looked for."""
_SWEPT_VALUES = 1000
"""Expired values removed at most each time; what writes state removes some too."""
_OWN_FAULTS = (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError)
"""What a statement's own values are to blame for: the transaction is as it was before, others' commits are sound."""


class _Commit:
    __slots__ = ("at", "future", "mark", "results", "savepoint", "slices", "steps")

    def __init__(self, steps: Sequence[Step], future: asyncio.Future[list[Any]]) -> None:
        self.steps, self.future = steps, future
        self.results: list[Any] = []
        self.at = 0
        self.mark = (0, 0)  # resourceVersion and number of events before it
        self.savepoint = False
        self.slices: Generator[None, None, Any] | None = None  # of a long step that has begun

    @property
    def has_begun(self) -> bool:
        return bool(self.at or self.savepoint or self.slices)

    def begin_anew(self) -> None:
        self.results, self.at, self.savepoint, self.slices = [], 0, False, None


class _Spoiled(Exception):
    """The transaction holds a part of an operation that failed, and that cannot be taken out of it."""


class Writer:
    """The only connection of a store that writes."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._db, self._hub = database, hub
        self._connection: apsw.Connection | None = None
        self._execute: Callable[[str], Iterable[Any]]
        self._counters: tuple[int, int] | None = None
        """rv and horizon after the last commit of this store, true while PRAGMA data_version is ``_data_version``."""
        self._fences: dict[str, tuple[int, int]] = {}
        """Runs whose claims are known, true as ``_counters`` is."""
        self._data_version = -1
        self._worker = Worker("kastra-libsql-writer")
        self._queue: deque[_Commit] = deque()
        self._group: list[_Commit] = []
        self._size = 0
        self._busy = False
        self._closed = False
        self._written = 0
        self._is_long = False
        self._commit_s = 0.0
        self._in_thread = 0
        self._turn_of: object = None
        self._turn_ends = 0.0
        self._company = 0
        self._next_sweep = perf_counter() + _SWEEP_S
        self._next_look = 0.0
        self._idle: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._tx: Transaction

    async def submit(self, steps: Sequence[Step]) -> list[Any]:
        """Carry out the steps of one commit; returns when they are durable."""
        if self._closed:
            raise StoreUnavailableError(f"store {self._db.settings.url} is closed; open it again")
        if not steps:
            return []
        from asyncio import current_task, get_running_loop

        loop = get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        self._queue.append(_Commit(steps, future))
        if self._busy:
            self._move_to(loop)
        else:
            self._busy, self._loop = True, loop
            if self._is_alone(current_task(loop)):
                self._begin()
            else:
                # Not at once: the tasks that are ready now join the group.
                loop.call_soon(self._begin)
        return await future

    def _is_alone(self, task: object) -> bool:
        """Whether lately nobody would have joined a commit of ``task``. False from time to time: others get a turn."""
        if self._turn_of is None:
            self._turn_of, self._turn_ends = task, perf_counter() + _SLICE_S
            self._loop.call_soon(self._turned)
        elif self._turn_of is not task:
            self._company = _COMPANY
        elif perf_counter() > self._turn_ends:
            return False
        return not self._company

    def _turned(self) -> None:
        self._turn_of = None

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on in this loop when the one before was closed in the middle of something; nobody there waits any more."""
        if self._loop is loop or not self._loop.is_closed():
            return
        self._loop, self._turn_of = loop, None
        self._worker.do(loop, lambda: None, self._moved)  # after the job that is under way, if there is one

    def _moved(self, _: object, error: BaseException | None) -> None:
        self._data_version = -1
        self._rollback()
        self._group = []
        self._queue = deque(commit for commit in self._queue if commit.future.get_loop() is self._loop)
        self._next()

    async def aclose(self) -> None:
        """Finish what was submitted, then close."""
        self._closed = True
        if self._busy:
            from asyncio import get_running_loop, wait

            self._move_to(get_running_loop())
            if self._idle is None or self._idle.get_loop() is not self._loop:
                self._idle = self._loop.create_future()
            await wait([self._idle])  # who is cancelled here leaves the future to others that close
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._worker.call(connection.close)
        self._worker.stop()

    # --------------------------------------------------------------------------------------------- begin

    def _begin(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            if perf_counter() > self._next_look:
                self._db.check_place()
                self._next_look = perf_counter() + _PLACE_S
            self._execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            self._worker.do(self._loop, self._wait_and_begin, self._begun)
        except Exception as err:
            self._begun(None, err)
        else:
            self._begun(None, None)

    def _connect(self, timeout_s: float = 0) -> apsw.Connection:
        self._data_version, self._written = -1, 0
        with suppress(OSError):
            # Many programs that wrote little each, while one had the file open, may have left a long log.
            if os.stat(f"{self._db.settings.path}-wal").st_size > _CHECKPOINT_PAGES * 4096:  # noqa: PTH116
                self._written = -_CHECKPOINT_PAGES
        connection = connect(self._db.settings.path, timeout_s)
        full = self._db.settings.durability == "full"
        connection.execute(
            f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}; PRAGMA foreign_keys = 1; PRAGMA cache_size = -8000"
        )
        connection.wal_autocheckpoint(0)
        self._execute = connection.cursor().execute  # a cursor of its own costs each of the others 0.5 us
        return connection

    def _wait_and_begin(self) -> None:
        if self._connection is None:
            self._connection = self._connect(self._db.settings.timeout_s)
        self._connection.set_busy_timeout(int(self._db.settings.timeout_s * 1000))
        try:
            self._execute("BEGIN IMMEDIATE")
        finally:
            self._connection.set_busy_timeout(0)

    def _begun(self, _: object, error: BaseException | None) -> None:
        self._group, self._size, self._is_long = [], 0, False
        if error is None:
            assert self._connection is not None
            try:
                [[version]] = self._execute("PRAGMA data_version")
                if version != self._data_version:
                    # Somebody else wrote since the last commit.
                    check_schema(self._connection, self._db.settings.path)
                    self._data_version, self._counters = version, None
                    self._fences.clear()
                self._tx = Transaction(
                    self._connection, self._db.kinds, self._db.settings.clock(), self._counters, self._fences
                )
            except (ValueError, TypeError) as err:  # no horizon, or no number
                error = damaged(self._db.settings.path, err)
                error.__cause__ = err
            except Exception as err:
                error = err
        if error is not None:
            # No transaction: all who wait are in the same position.
            self._group = list(self._queue)
            self._queue.clear()
            self._fail(error)
        else:
            self._work()

    # --------------------------------------------------------------------------------------------- statements

    def _work(self) -> None:
        deadline = perf_counter() + _SLICE_S
        try:
            while self._queue and self._size < _GROUP_STEPS:
                commit = self._queue[0]
                if commit.future.done() and commit.slices is None:  # its task was cancelled before its turn
                    self._abandon(commit)
                    self._queue.popleft()
                elif self._advance(commit, deadline):
                    self._queue.popleft()
                if perf_counter() > deadline:
                    self._is_long = True
                    if self._queue:
                        self._loop.call_soon(self._work)
                        return
            self._finish()
        except _Spoiled:
            self._begin_anew()
        except Exception as err:
            self._fail(err)

    def _advance(self, commit: _Commit, deadline: float) -> bool:
        """Do steps of a commit until its end or the deadline; True at its end."""
        tx, steps = self._tx, commit.steps
        if not commit.has_begun:
            commit.mark = (tx.rv, len(tx.events))
            if len(steps) > 1 or type(steps[0]) is Compound:
                tx.execute("SAVEPOINT one")
                commit.savepoint = True
        try:
            while commit.at < len(steps):
                if not self._step(commit, deadline):
                    return False
                commit.at += 1
                if perf_counter() > deadline and commit.at < len(steps):
                    return False
        except Exception as err:
            if isinstance(err, apsw.Error) and not isinstance(err, _OWN_FAULTS):
                raise
            reason = store_error(self._db.settings.path, err)
            if reason is not err:
                reason.__cause__ = err
            if not commit.future.done():
                commit.future.set_exception(reason)
            # A step checks its conditions before it writes, but what the database cannot take it learns at any time.
            if not commit.savepoint and not isinstance(err, KastraError):
                raise _Spoiled from err
            self._abandon(commit)
            return True
        if commit.savepoint:
            tx.execute("RELEASE one")
        self._size += len(steps)
        self._group.append(commit)
        return True

    def _step(self, commit: _Commit, deadline: float) -> bool:
        """Do a step, or of a long one what fits before the deadline; True at its end."""
        if commit.slices is None:
            result = commit.steps[commit.at](self._tx)
            if not isinstance(result, GeneratorType):
                commit.results.append(result)
                return True
            commit.slices = result
        try:
            while True:
                next(commit.slices)
                if perf_counter() > deadline:
                    return False
        except StopIteration as end:
            commit.slices = None
            commit.results.append(end.value)
            return True

    def _begin_anew(self) -> None:
        """Leave out the commit that failed and do those before it in another transaction."""
        self._data_version = -1
        self._rollback()
        self._queue.popleft()
        for commit in reversed(self._group):
            commit.begin_anew()
            self._queue.appendleft(commit)
        self._group = []
        self._next()

    def _abandon(self, commit: _Commit) -> None:
        """Undo in the shared transaction what a commit did so far."""
        tx = self._tx
        self._fences.clear()
        if commit.savepoint:
            tx.execute("ROLLBACK TO one; RELEASE one")
        if commit.at or commit.savepoint:
            tx.rv = commit.mark[0]
            del tx.events[commit.mark[1] :]
            tx.new_kinds.clear()

    # --------------------------------------------------------------------------------------------- end

    def _finish(self) -> None:
        if not self._group:
            self._rollback()
            self._next()
            return
        self._maintain()
        if self._db.settings.durability == "full" and not self._is_quick():
            self._worker.do(self._loop, self._commit, self._committed)
            return
        try:
            self._commit()
        except Exception as err:
            self._committed(None, err)
        else:
            self._committed(None, None)

    def _is_quick(self) -> bool:
        """Whether a COMMIT now costs the loop less than two switches of threads would.

        What took long to write also has many pages to make durable.
        """
        if self._is_long:
            return False
        if self._commit_s > _QUICK_S:
            self._in_thread += 1
            if self._in_thread % _TRY_COMMITS or self._commit_s > _MAYBE_QUICK_S:
                return False
            self._commit_s = 0.0
        return True

    def _maintain(self) -> None:
        tx, settings = self._tx, self._db.settings
        chunk = _COMPACT_EVENTS + 2 * len(tx.events)
        excess = tx.rv - tx.horizon - settings.history_events
        if excess >= min(_COMPACT_EVENTS, settings.history_events):
            tx.compact(tx.horizon + min(excess, chunk))
        if perf_counter() < self._next_sweep:
            return
        tx.sweep_state(_SWEPT_VALUES)
        tx.sweep_leases()
        tx.sweep_commits()
        [old] = tx.first(
            "SELECT max(rv) FROM (SELECT rv, time FROM log WHERE rv > ? ORDER BY rv LIMIT ?) WHERE time < ?",
            (tx.horizon, chunk, tx.now - settings.history_s),
        )
        if old is not None and old > tx.horizon:
            # The newest event stays: its number is the store's version.
            tx.compact(min(old, tx.rv - 1))
        else:
            self._next_sweep = perf_counter() + _SWEEP_S

    def _commit(self) -> None:
        assert self._connection is not None
        began = perf_counter()
        self._execute("COMMIT")
        self._commit_s += (min(perf_counter() - began, _SLOWEST_S) - self._commit_s) / 10

    def _committed(self, _: object, error: BaseException | None) -> None:
        if error is not None:
            self._fail(error)
            return
        assert self._connection is not None
        group, tx = self._group, self._tx
        self._group = []
        if len(group) > 1 or self._queue:
            self._company = _COMPANY
        elif self._company:
            self._company -= 1
        for commit in group:
            if not commit.future.done():
                commit.future.set_result(commit.results)
        self._counters = tx.rv, tx.horizon
        self._db.kinds.update(tx.new_kinds)
        with suppress(Exception):  # the watchers learn of it at their next look; the commit is done
            self._hub.committed(tx)
        written = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, False)[0]
        if written - self._written > _CHECKPOINT_PAGES:
            self._written = written
            self._worker.do(self._loop, self._checkpoint, self._checkpointed)
        else:
            self._next()

    def _checkpoint(self) -> None:
        assert self._connection is not None
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _checkpointed(self, _: object, error: BaseException | None) -> None:
        # What was acknowledged is in the write-ahead log; a checkpoint that failed is tried again later.
        self._next()

    def _rollback(self) -> None:
        self._fences.clear()
        # After a full disk SQLite may have rolled back by itself.
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error:
                self._connection.close(True)
                self._connection = None

    def _fail(self, error: BaseException) -> None:
        """Nothing of the group was kept: each of its commits learns so."""
        self._data_version = -1
        self._rollback()
        group, self._group = self._group, []
        if self._queue and (self._queue[0].has_begun or not group):
            group.append(self._queue.popleft())
        reason = store_error(self._db.settings.path, error)
        if reason is not error:
            reason.__cause__ = error
        for commit in group:
            if not commit.future.done():
                commit.future.set_exception(reason)
        self._next()

    def _next(self) -> None:
        if self._queue:
            # Not at once: the tasks that were just answered join the group.
            self._loop.call_soon(self._begin)
            return
        self._busy = False
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
