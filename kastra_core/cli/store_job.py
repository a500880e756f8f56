"""Waiting for what ``kastra store`` does: how long it has taken, and what an interrupt makes of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from kastra_core.cli.common import current
from kastra_core.cli.failures import INTERRUPTED
from kastra_core.cli.tables import duration
from kastra_core.errors import NotFoundError

__all__ = ["NoStoreError", "carry_out", "wait_for"]

T = TypeVar("T")

_PROGRESS_AFTER_S = 1.0
_PATIENCE = 3
"""So many interrupts end the command at once, whatever is under way."""


class NoStoreError(NotFoundError):
    """What is to be looked after is not there; ``what`` says so."""

    def __str__(self) -> str:
        return self.what

    @property
    def remedy(self) -> str:
        return "`kastra apply` makes it"


def wait_for(doing: str, call: Callable[[], Awaitable[T]]) -> T:
    """Return ``await call()`` in an event loop; what takes long is told on a terminal.

    Raises: NoStoreError, KeyboardInterrupt.
    """

    with _Interrupts() as interrupts:
        found = _interruptible(doing, call, interrupts, "")
    if interrupts.count:
        raise KeyboardInterrupt
    return found


def carry_out(doing: str, call: Callable[[], Awaitable[T]], show: Callable[[T], None], *, stopped: str) -> None:
    """Show the report of ``await call()``.

    Ctrl-C asks it once to stop. When it was through by then its report is shown all the same, and the exit code says
    that there was an interrupt.

    Args:
        stopped: what holds when it did stop.
    Raises: KeyboardInterrupt with ``stopped`` as its text; NoStoreError.
    """
    with _Interrupts() as interrupts:
        report = _interruptible(doing, call, interrupts, stopped)
        show(report)
        if interrupts.count:
            click.echo("interrupted, when this was done already", err=True)
            raise click.exceptions.Exit(INTERRUPTED)


def _interruptible(doing: str, call: Callable[[], Awaitable[T]], interrupts: _Interrupts, stopped: str) -> T:
    """Return ``await call()``; the first Ctrl-C cancels it: KeyboardInterrupt with ``stopped`` when that ended it."""
    import asyncio

    async def body() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        interrupts.stop = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            if interrupts.count:
                raise asyncio.CancelledError
            return await call()
        finally:
            interrupts.stop = None

    try:
        return _run(doing, body, interrupts)
    except asyncio.CancelledError:
        if not interrupts.count:
            raise
        raise (KeyboardInterrupt(stopped) if stopped else KeyboardInterrupt) from None


class _Interrupts:
    """In its block the first Ctrl-C calls ``stop`` and does nothing else."""

    def __init__(self) -> None:
        self.count = 0
        self.stop: Callable[[], Any] | None = None
        self._former: Any = None

    def __enter__(self) -> _Interrupts:
        # A program that has handlers of its own, or calls this in a thread, keeps them.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._former = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    def _interrupted(self, *_: object) -> None:
        self.count += 1
        if self.count >= _PATIENCE:
            raise KeyboardInterrupt
        if self.count == 1 and self.stop is not None:
            self.stop()


def _run(doing: str, body: Callable[[], Coroutine[Any, Any, T]], interrupts: _Interrupts) -> T:
    import asyncio

    from kastra_core.cli.log import show_logs

    def word() -> str:
        return "stopping" if interrupts.count else doing

    state = current()
    show_logs(debug=state.debug, quiet=state.quiet)
    with _progress(word, quiet=state.quiet):
        try:
            return asyncio.run(body())
        except NotFoundError as error:
            raise NoStoreError(str(error)) from error


@contextmanager
def _progress(word: Callable[[], str], *, quiet: bool) -> Iterator[None]:
    """Show for how long something has been under way, on a terminal only. ``word`` gives one of ours."""
    # The guarded stream would spell out what moves the cursor.
    stream = sys.__stderr__
    if quiet or stream is None or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    done, begun = threading.Event(), time.monotonic()

    def show() -> None:
        wait_s = _PROGRESS_AFTER_S
        while not done.wait(wait_s):
            stream.write(f"\r{word()} … {duration(time.monotonic() - begun)}\x1b[K")
            stream.flush()
            wait_s = 0.5

    # A thread: the work may keep the event loop busy.
    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if time.monotonic() - begun > _PROGRESS_AFTER_S:
            stream.write("\r\x1b[K")
            stream.flush()
