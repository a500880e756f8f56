"""Group commit: while a batch is under way, further commits gather; they go as one batch.

A batch is one transaction. When a guard of one commit says no, that commit alone gets its error and the others are sent
again without it. When no answer comes, the server is asked how the batch ended, by its token; the question also makes
sure that a batch which did not arrive yet never will happen, so each commit is carried out once or not at all.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from kastra_core.errors import StoreError, StoreUnavailableError
from kastra_plugin_libsql._remote.client import Backoff, Server
from kastra_plugin_libsql._remote.errors import Busy, Guarded, Lost, SqlFailed
from kastra_plugin_libsql._remote.reads import read_whole
from kastra_plugin_libsql._remote.script import NOW, Answers, Script, looked_up
from kastra_plugin_libsql._remote.steps import Large, Own, RemoteStep
from kastra_plugin_libsql._remote.uploads import MAX_INLINE_BYTES, Upload, expire_uploads

if TYPE_CHECKING:
    from kastra_plugin_libsql._remote.watch import Hub

__all__ = ["Writer", "carry_out", "compact"]

_GROUP_STEPS = 256
_GROUP_BYTES = 500_000
_MAX_BYTES = 10_000_000
"""What one commit may send. A LibSQL server takes WebSocket frames of 16 MiB; base64 makes 4 bytes of 3."""
_SMALL_BYTES = 10_000
"""Values of at most this size are never sent before their commit."""
_MAX_STEPS = 5000
"""Operations of one commit: the answer to each statement is some 100 bytes, and 4 MiB can be received at once."""
_COMPACT_EVENTS = 256
"""The log may be this much longer than asked before it is cut."""
_SWEEP_S = 60.0
_SWEEP_EVENTS = 2048
_KEPT_S = 86_400.0
"""Answers of commits, and leases that expired, stay for a day."""
_HORIZON = "(SELECT value FROM meta WHERE key = 'horizon')"


class _Commit:
    __slots__ = ("future", "parts", "size_bytes", "steps", "upload")

    def __init__(self, steps: Sequence[RemoteStep], future: asyncio.Future[list[Any]], upload: Upload | None) -> None:
        self.steps, self.future, self.upload = steps, future, upload
        self.size_bytes = sum(step.size_bytes for step in steps)
        self.parts = sum(step.parts for step in steps)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Writer:
    """All writes of a store."""

    def __init__(self, server: Server, hub: Hub) -> None:
        self._server, self._hub = server, hub
        self._settings = server.settings
        self._queue: deque[_Commit] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._uploading = 0
        self._uploaded = asyncio.Event()
        self._abandoning: set[asyncio.Task[None]] = set()
        self._closed = False
        self._next_sweep = monotonic() + _SWEEP_S

    async def submit(self, steps: Sequence[RemoteStep]) -> list[Any]:
        """Carry out the steps of one commit; returns when they are durable on the server."""
        if self._closed:
            raise StoreUnavailableError(f"store {self._settings.shown} is closed; open it again")
        if not steps:
            return []
        if sum(step.size_bytes for step in steps) <= MAX_INLINE_BYTES:
            return await self._enqueue(steps, None)
        upload = Upload(self._server)
        self._uploading += 1
        try:
            try:
                await self._upload(steps, upload)
                future = self._enqueue(steps, upload)
            finally:
                self._uploading -= 1
                self._uploaded.set()
            return await future
        except BaseException:
            task = asyncio.ensure_future(upload.abandon())
            self._abandoning.add(task)
            task.add_done_callback(self._abandoning.discard)
            raise

    async def _upload(self, steps: Sequence[RemoteStep], upload: Upload) -> None:
        """Send values before the commit, the largest first, until the rest is small enough."""
        left = sum(step.size_bytes for step in steps)
        for one in sorted((one for step in steps for one in step.data), key=lambda one: -len(one.data)):
            if left <= MAX_INLINE_BYTES or len(one.data) <= _SMALL_BYTES:
                break
            left -= len(one.data)
            await upload.send((one,))

    def _enqueue(self, steps: Sequence[RemoteStep], upload: Upload | None) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        commit = _Commit(steps, future, upload)
        if commit.size_bytes > _MAX_BYTES or commit.parts > _MAX_STEPS:
            raise StoreError(
                f"store {self._settings.shown}: a commit of {commit.parts} operations and {commit.size_bytes} bytes of "
                f"small values; at most {_MAX_STEPS} and {_MAX_BYTES} can be sent at once, make several of it"
            )
        self._queue.append(commit)
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send_all())
        return future

    async def aclose(self) -> None:
        """Finish what was submitted."""
        self._closed = True
        while self._uploading:
            self._uploaded.clear()
            await self._uploaded.wait()
        if self._sending is not None:
            await asyncio.wait((self._sending,))
        if self._abandoning:
            await asyncio.wait(self._abandoning)

    # --------------------------------------------------------------------------------------------- groups

    async def _send_all(self) -> None:
        group: list[_Commit] = []
        try:
            while self._queue:
                await self._hub.settled()
                group = self._take()
                await self._send(group)
        except BaseException as err:
            for commit in (*group, *self._queue):
                commit.fail(StoreError(f"store {self._settings.shown}: the commit was not finished: {err!r}"))
            self._queue.clear()
            raise
        finally:
            self._sending = None

    def _take(self) -> list[_Commit]:
        group: list[_Commit] = []
        steps = size = 0
        while self._queue:
            commit = self._queue[0]
            if not commit.future.done():  # nobody waits for one that was cancelled
                steps, size = steps + commit.parts, size + commit.size_bytes
                if group and (steps > _GROUP_STEPS or size > _GROUP_BYTES):
                    break
                group.append(commit)
            self._queue.popleft()
        return group

    async def _send(self, group: list[_Commit]) -> None:
        backoff = Backoff(self._settings.timeout_s)
        while group:
            script = self._script(group)
            if not group:
                return
            try:
                # Some time is left to ask how it ended.
                rows = await self._server.once(script.statements, min(0.6 * self._settings.timeout_s, backoff.left_s))
                answers: Answers | None = script.answers(rows)
            except Guarded as err:
                commit = group[err.commit]
                if not commit.steps[err.step].adapts(err.code):
                    group.remove(commit)
                    commit.fail(commit.steps[err.step].error(err.code, err.detail))
                continue
            except Busy as err:
                if await backoff.wait():
                    continue
                _fail(group, self._server.unavailable(err, backoff.spent_s))
                return
            except SqlFailed as err:
                if "commits.token" not in str(err):
                    await self._separate(group, err)
                    return
                answers = await self._inquire(script, group, backoff, err)
            except Lost as err:
                answers = await self._inquire(script, group, backoff, err)
            except Exception as err:
                _fail(group, err)
                return
            if answers is not None:
                await self._finish(group, answers)
                return

    def _script(self, group: list[_Commit]) -> Script:
        """One batch of all; a commit with a value that cannot be sent is taken out of the group, with its error."""
        script = Script(self._settings.clock())
        for commit in list(group):
            mark = script.mark()
            try:
                for script.step, step in enumerate(commit.steps):
                    step.write(script)
            except (TypeError, ValueError, OverflowError) as err:
                script.reset(mark)
                group.remove(commit)
                commit.fail(err)
                continue
            if commit.upload is not None:
                sql, bindings = commit.upload.let_go
                script.add(sql, *bindings)
            script.commit += 1
        self._maintain(script, sum(commit.parts for commit in group))
        return script

    async def _separate(self, group: list[_Commit], err: SqlFailed) -> None:
        """A statement failed and nobody knows of which commit: each goes alone."""
        if len(group) == 1:
            error = self._server.failed(err)
            error.__cause__ = err
            group[0].fail(error)
            return
        for commit in group:
            await self._send([commit])

    async def _inquire(self, script: Script, group: list[_Commit], backoff: Backoff, err: Exception) -> Answers | None:
        """Learn how a batch ended. None: it did not happen (or nobody waits for it any more)."""
        try:
            if not await backoff.wait():
                raise self._server.unavailable(err, backoff.spent_s)
            return looked_up(await self._server.repeat(script.inquiry, backoff))
        except StoreUnavailableError as late:
            _fail(group, StoreUnavailableError(f"{late}; it is not known whether the commit was carried out"))
        except Exception as other:
            _fail(group, other)
        group.clear()
        return None

    async def _finish(self, group: Sequence[_Commit], answers: Answers) -> None:
        own = Own()
        finished: list[tuple[_Commit, list[Any] | Exception]] = []
        for commit in group:
            results: list[Any] = []
            error: Exception | None = None
            for step in commit.steps:
                try:
                    results.append(step.result(answers, own))
                except StoreError as err:
                    error = err
            if any(isinstance(result, Large) for result in results):
                try:
                    results = [await self._large(result) for result in results]
                except StoreError as err:
                    error = err
            finished.append((commit, error or results))
        self._hub.horizon = max(self._hub.horizon, int(answers.rows()[0][0]))
        for commit, outcome in finished:
            if isinstance(outcome, Exception):
                commit.fail(outcome)
            elif not commit.future.done():
                commit.future.set_result(outcome)
        self._hub.committed(own)

    async def _large(self, result: Any) -> Any:
        if not isinstance(result, Large):
            return result
        body = await read_whole(self._server, result.table, result.column, result.key, result.binding)
        if body is None:
            raise StoreError(f"store {self._settings.shown}: what the commit found is not there any more")
        return result.make(body)

    # --------------------------------------------------------------------------------------------- history

    def _maintain(self, script: Script, events: int) -> None:
        settings = self._settings
        chunk = _COMPACT_EVENTS + 2 * events
        excess = self._hub.known_rv + events - self._hub.horizon - settings.history_events
        if excess >= min(_COMPACT_EVENTS, settings.history_events):
            compact(script, f"min({_HORIZON} + {chunk}, (SELECT max(rv) FROM log) - {settings.history_events})")
        if monotonic() >= self._next_sweep:
            self._next_sweep = monotonic() + _SWEEP_S
            script.add("DELETE FROM state WHERE expires <= ?", script.now)
            script.add(f"DELETE FROM commits WHERE time < {NOW} - {_KEPT_S}")
            script.add("DELETE FROM leases WHERE expires < ?", script.now - _KEPT_S)
            sql, bindings = expire_uploads(script.now - _KEPT_S)
            script.add(sql, *bindings)
            old = (
                "SELECT max(rv) FROM"
                f" (SELECT rv, time FROM log WHERE rv > {_HORIZON} ORDER BY rv LIMIT {_SWEEP_EVENTS})"
                f" WHERE time < {int(script.now - settings.history_s)}"
            )
            # The newest event stays: its number is the store's version.
            compact(script, f"coalesce(min(({old}), (SELECT max(rv) FROM log) - 1), 0)")
        script.read("SELECT value FROM meta WHERE key = 'horizon'")


def compact(script: Script, limit: str) -> None:
    """Move the horizon up to ``limit``: events up to it that are nobody's present version go."""
    script.add(
        f"DELETE FROM log WHERE rv > {_HORIZON} AND rv <= {limit} AND rv IS NOT (SELECT r.rv FROM resources r"
        " WHERE r.kind = log.kind AND r.namespace = log.namespace AND r.name = log.name)"
    )
    script.add(f"UPDATE meta SET value = {limit} WHERE key = 'horizon' AND {limit} > value")


async def carry_out(server: Server, script: Script) -> Answers:
    """One batch, once or not at all. Raises: Guarded, StoreUnavailableError, StoreError."""
    backoff = Backoff(server.settings.timeout_s)
    while True:
        try:
            return script.answers(await server.once(script.statements, backoff.left_s))
        except Lost as err:
            # The whole time again for the question: work for an operator may take long.
            found = looked_up(await server.repeat(script.inquiry, Backoff(server.settings.timeout_s)))
            if found is not None:
                return found
            raise server.unavailable(err, backoff.spent_s) from err
        except Busy as err:
            if not await backoff.wait():
                raise server.unavailable(err, backoff.spent_s) from err
        except SqlFailed as err:
            raise server.failed(err) from err


def _fail(group: Sequence[_Commit], error: BaseException) -> None:
    for commit in group:
        commit.fail(error)
