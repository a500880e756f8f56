"""Threads of a store, read page by page, and what is under way on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import TYPE_CHECKING

from kastra_core.errors import NotFoundError, nearest
from kastra_core.execution.run_status import FINISHED

if TYPE_CHECKING:
    from kastra_core.api.meta import Resource
    from kastra_core.protocols.store import Store, StoredMessage, ThreadInfo

__all__ = ["PAGE", "UnknownThreadError", "end_of_thread", "infos", "pages", "runs_under_way", "unknown_thread"]

PAGE = 500
"""Threads, or messages, that are read at once."""
_LOOKED_THROUGH = 2000
"""Threads that are looked through for a hint, at most."""


class UnknownThreadError(NotFoundError):
    """No message was ever kept in a thread of this name.

    Args:
        thread: its name.
        namespace: where it was looked for.
        known: names of threads there.
        elsewhere: namespaces that have one of this name.
    """

    def __init__(self, thread: str, namespace: str, known: Sequence[str] = (), elsewhere: Sequence[str] = ()) -> None:
        super().__init__(f"thread {thread}", known)
        self.args = (thread, namespace, tuple(known), tuple(elsewhere))
        self.thread, self.namespace, self.elsewhere = thread, namespace, tuple(elsewhere)

    def __str__(self) -> str:
        told = f"thread {self.thread!r} not found in namespace {self.namespace}"
        if self.elsewhere:
            return f"{told}; there is one in namespace {', '.join(self.elsewhere)}: add -n {self.elsewhere[0]}"
        near = nearest(self.thread, self.known)
        if near:
            return f"{told}; did you mean {near!r}?"
        return f"{told}; " + (
            "`kastra threads list` shows those that are there" if self.known else "there are none yet"
        )


async def infos(store: Store, namespace: str | None, *, after: tuple[str, str] = ("", "")) -> AsyncIterator[ThreadInfo]:
    """Threads by (namespace, name), those of one namespace or (None) of all."""
    while True:
        page = await store.threads.list(namespace, limit=PAGE, after=after)
        for info in page:
            yield info
        if len(page) < PAGE:
            return
        after = (page[-1].namespace, page[-1].thread)


async def unknown_thread(store: Store, namespace: str, thread: str) -> UnknownThreadError:
    """The error for a thread that is not there: what is called alike, and where else there is one."""
    known: list[str] = []
    elsewhere: list[str] = []
    looked = 0
    async for info in infos(store, None):
        looked += 1
        if info.namespace == namespace:
            known.append(info.thread)
        elif info.thread == thread:
            elsewhere.append(info.namespace)
        if looked == _LOOKED_THROUGH:
            break
    return UnknownThreadError(thread, namespace, known, elsewhere)


async def end_of_thread(store: Store, namespace: str, thread: str) -> int:
    """The number of the last message, which is how many there are. Raises: UnknownThreadError."""
    last = await last_of_thread(store, namespace, thread)
    if last is None:
        raise await unknown_thread(store, namespace, thread)
    return last


async def last_of_thread(store: Store, namespace: str, thread: str) -> int | None:
    """The number of the last message, 0 for a thread that has only state so far, None when there is no such thread."""
    last = await store.threads.last_seq(namespace, thread)
    if last:
        return last
    async for info in infos(store, namespace):
        if info.thread == thread:
            return info.last_seq
    return None


async def pages(
    store: Store, namespace: str, thread: str, *, up_to: int, after: int = 0
) -> AsyncIterator[Sequence[StoredMessage]]:
    """The messages with ``after < seq <= up_to`` in order, a page at a time, so that memory holds one page."""
    while after < up_to:
        end = min(after + PAGE, up_to)
        page = await store.threads.messages(namespace, thread, after=after, up_to=end)
        if page:
            yield page
        after = end


async def runs_under_way(store: Store, threads: Collection[tuple[str, str]]) -> list[Resource]:
    """The unfinished runs of threads given as (namespace, name), by name: each appends to its thread at its end."""
    keys = [claim.key for claim in await store.journal.claims()]
    found = await store.resources.get_many(keys) if keys else {}
    return sorted(
        (
            run
            for run in found.values()
            if run.status.get("phase") not in FINISHED
            and (run.metadata.namespace, str(run.spec.get("thread"))) in threads
        ),
        key=lambda run: (run.metadata.namespace, run.metadata.name),
    )
