"""The reading side of a database file, and what its parts share."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import apsw
import orjson

from kastra_core.api.meta import Resource
from kastra_core.errors import StoreUnavailableError
from kastra_plugin_libsql._errors import DAMAGED, damaged, store_error
from kastra_plugin_libsql._schema import connect
from kastra_plugin_libsql._url import Settings

__all__ = ["Database", "loop_is_running", "resource_of"]


def loop_is_running() -> bool:
    """Whether this code may suspend. Does not import asyncio: without it there is no loop."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


T = TypeVar("T")

_SLICE_S = 0.002
"""The loop's other tasks get a turn after this long."""
_RECENT = 1024
"""Resources that were read last and are kept although nobody holds them: what is written is soon read."""


def resource_of(rv: int, body: bytes) -> Resource:
    """The resource that a row of the log keeps."""
    manifest = orjson.loads(body)
    manifest["metadata"]["resourceVersion"] = str(rv)
    return Resource.from_manifest(manifest)


class Database:
    """Reads on a connection of their own, in the caller's thread: a point read takes 10 us, a switch of threads 50.

    Every statement is finished before a method returns, so the next one sees all that was committed.
    """

    def __init__(self, settings: Settings, reader: apsw.Connection) -> None:
        self.settings = settings
        self.kinds: dict[tuple[str, str], int] = {}
        """(group, kind) to id; ids never change."""
        self._names: dict[int, tuple[str, str]] = {}
        self._reader = reader
        self._spare: list[apsw.Connection] = []
        self._closed = False
        self._files = settings.path, f"{settings.path}-wal"
        self._place = self._found_place()
        self._known: WeakValueDictionary[int, Resource] = WeakValueDictionary()
        self._recent: deque[Resource] = deque(maxlen=_RECENT)

    def _found_place(self) -> tuple[tuple[int, int] | None, ...]:
        found: list[tuple[int, int] | None] = []
        for file in self._files:
            try:
                status = os.stat(file)  # noqa: PTH116 - half the time of a Path's
            except OSError:
                found.append(None)
            else:
                found.append((status.st_dev, status.st_ino))
        return tuple(found)

    def check_place(self) -> None:
        """Raise StoreUnavailableError when the file or its write-ahead log is not the one that was opened.

        What is written to a file that was moved, replaced or removed nobody would find. Takes 4 us, and the next fsync
        may be slower.
        """
        place = self._found_place()
        if place == self._place:
            return
        if self._place[1] is None and place[0] == self._place[0]:
            self._place = place  # the log was made by the first write
            return
        which = self._files[0] if place[0] != self._place[0] else self._files[1]
        raise StoreUnavailableError(
            f"store {self.settings.path}: {which} was moved, replaced or removed while it was open here; "
            "nothing was written, end this program or open the store again"
        )

    def resource(self, rv: int, body: bytes) -> Resource:
        """The resource that a row of the log keeps.

        A resourceVersion is one state of one resource for ever, and resources are never changed in place, so one that
        somebody holds (an informer's cache) is given again instead of being read anew.
        """
        found = self._known.get(rv)
        if found is None:
            try:
                found = self._known[rv] = resource_of(rv, body)
            except (ValueError, LookupError, TypeError, AttributeError) as err:  # no JSON, or no resource
                raise damaged(self.settings.path, err) from err
            self._recent.append(found)
        return found

    def json(self, body: bytes | str | None) -> Any:
        """The value that a column keeps. Raises: StoreError when it is damaged."""
        try:
            return orjson.loads(body)  # type: ignore[arg-type] # None, a payload that is lost, is an error like others
        except orjson.JSONDecodeError as err:
            raise damaged(self.settings.path, err) from err

    def rows(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._reader.execute(sql, bindings).fetchall()
        except (apsw.Error, *DAMAGED) as err:
            raise store_error(self.settings.path, err) from err

    async def each(self, make: Callable[..., T], sql: str, bindings: tuple[Any, ...] = ()) -> list[T]:
        """What ``make`` makes of each row. The loop's other tasks get their turns when there are many."""
        made: list[T] = []
        try:
            deadline = perf_counter() + _SLICE_S
            for row in self._reader.execute(sql, bindings):
                made.append(make(*row))
                if perf_counter() > deadline and loop_is_running():
                    break
            else:
                return made
        except (apsw.Error, *DAMAGED) as err:
            raise store_error(self.settings.path, err) from err
        from asyncio import sleep

        # Once more: the shared connection must not stay in one statement while other tasks run.
        made.clear()
        with self.snapshot(own=True) as connection:
            for row in connection.execute(sql, bindings):
                made.append(make(*row))
                if perf_counter() > deadline:
                    await sleep(0)
                    deadline = perf_counter() + _SLICE_S
        return made

    def first(self, sql: str, bindings: tuple[Any, ...] = ()) -> Any:
        """The first row, or None."""
        try:
            return next(self._reader.execute(sql, bindings), None)
        except (apsw.Error, *DAMAGED) as err:
            raise store_error(self.settings.path, err) from err

    @contextmanager
    def snapshot(self, *, own: bool = False) -> Iterator[apsw.Connection]:
        """A connection that sees one state for the length of the block.

        ``own``: one that nobody else uses meanwhile, so that the block may suspend.
        """
        connection = self._take() if own else self._reader
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except (apsw.Error, *DAMAGED) as err:
            raise store_error(self.settings.path, err) from err
        finally:
            if own and not self._closed:
                self._spare.append(connection)
            elif own:
                connection.close(True)

    def _take(self) -> apsw.Connection:
        if self._spare:
            return self._spare.pop()
        connection = connect(self.settings.path, self.settings.timeout_s)
        connection.execute("PRAGMA query_only = 1")
        return connection

    def kind_id(self, group: str, kind: str) -> int:
        """Id of a kind; 0 when there never was a resource of it."""
        found = self.kinds.get((group, kind))
        if found is None:
            self._load_kinds()
            found = self.kinds.get((group, kind), 0)
        return found

    def kind_name(self, kind_id: int) -> tuple[str, str]:
        if kind_id not in self._names:
            self._load_kinds()
        try:
            return self._names[kind_id]
        except KeyError as err:
            raise damaged(self.settings.path, err) from err

    def _load_kinds(self) -> None:
        self.kinds.update(
            {(group, kind): kind_id for kind_id, group, kind in self.rows("SELECT id, grp, kind FROM kinds")}
        )
        self._names = {kind_id: pair for pair, kind_id in self.kinds.items()}

    def close(self) -> None:
        self._closed = True
        for connection in (*self._spare, self._reader):
            connection.close(True)
        self._spare.clear()
