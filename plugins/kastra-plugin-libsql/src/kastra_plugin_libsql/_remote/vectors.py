"""The vector facet of a server's store: exact search by the server where it can, else by the client."""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import mul
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject
from kastra_core.errors import StoreError, StoreUnavailableError, VectorLengthError
from kastra_core.protocols.store import AppendRecord, Operation, UpsertVectors, VectorMatch
from kastra_plugin_libsql._data_steps import vector_rows
from kastra_plugin_libsql._remote.client import Server
from kastra_plugin_libsql._remote.commits import Writer
from kastra_plugin_libsql._remote.errors import Busy, Lost, SqlFailed
from kastra_plugin_libsql._remote.reads import PAGE_BYTES, PAGE_ROWS, pages_by_key, read_whole
from kastra_plugin_libsql._remote.script import LARGE_BYTES, Answers, Script
from kastra_plugin_libsql._remote.steps import Own, RemoteStep
from kastra_plugin_libsql._remote.vector_index import VectorIndex
from kastra_plugin_libsql._remote.vector_steps import UpsertRows
from kastra_plugin_libsql._vectors import fits, prefilter

__all__ = ["Vectors"]

_CHUNK_BYTES = 2_000_000
_CHUNK_ROWS = 256
_AT_LEAST = 64
"""Neighbours asked of an index, when ``k`` is small."""
_OVERSAMPLING = 4
_FLOAT_BYTES = 4
_IN_COLLECTION = "collection = (SELECT id FROM collections WHERE name = ? AND length = ?)"
"""By its name in each statement: a collection's number may be another's by the next one."""


class _Remove(RemoteStep):
    """Result: how many of the rows, given as id and metadata, were there and are gone."""

    def __init__(self, collection: str, rows: Sequence[tuple[int, str]], holder: str | None) -> None:
        self.collection, self.holder = collection, holder
        self.rows = orjson.dumps(list(rows)).decode()
        self.small_bytes = len(self.rows)

    def write(self, script: Script) -> None:
        script.add(
            "DELETE FROM vectors WHERE (id, metadata) IN"
            " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?1))"
            " AND holder = coalesce(?2, holder)",
            self.rows,
            self.holder,
        )
        script.ask("changes()")
        script.add(
            "DELETE FROM collections WHERE name = ?"
            " AND NOT EXISTS (SELECT 1 FROM vectors WHERE collection = collections.id)",
            self.collection,
        )

    def result(self, answer: Answers, own: Own) -> int:
        return int(answer.value())


class Vectors:
    """``vector_index``: searches go through the server's index, where it can make one; see :class:`VectorIndex`."""

    def __init__(self, server: Server, writer: Writer) -> None:
        self._server, self._writer = server, writer
        self._measures: bool | None = None
        """Whether the server has ``vector_distance_cos``; None until it was asked."""
        self._index = VectorIndex(server) if server.settings.vector_index else None

    async def upsert(self, collection: str, items: Sequence[tuple[str, Sequence[float], JsonObject]]) -> None:
        """More than 2 MB go in several commits, one after the other."""
        if not items:
            return
        length, rows = vector_rows(UpsertVectors(collection, items))
        chunk: list[tuple[str, bytes, str]] = []
        size = 0
        for row in rows:
            size += len(row[1]) + len(row[2])
            if chunk and (size > _CHUNK_BYTES or len(chunk) == _CHUNK_ROWS):
                await self._writer.submit([UpsertRows(collection, length, chunk)])
                chunk, size = [], len(row[1]) + len(row[2])
            chunk.append(row)
        await self._writer.submit([UpsertRows(collection, length, chunk)])
        if self._index is not None:
            await self._index.make(collection)

    async def index(self, operations: Iterable[Operation]) -> None:
        """Make the indexes of the collections that were just written. Without one a search is exact, and slower."""
        if self._index is None:
            return
        for collection in sorted(set(_collections(operations))):
            try:
                await self._index.make(collection)
            except StoreError as err:  # what was written is durable: no error of the commit
                logging.getLogger("kastra.libsql").warning("%s", err)

    async def delete(
        self,
        collection: str,
        ids: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        *,
        holder: str | None = None,
    ) -> int:
        terms, values = prefilter(where, holder)
        condition = f"collection = (SELECT id FROM collections WHERE name = ?){terms}"
        if ids is not None:
            condition += " AND name IN (SELECT value FROM json_each(?))"
            values = [*values, orjson.dumps(list(ids)).decode()]
        deleted = 0
        pages = pages_by_key(
            self._server, "vectors", "id", "CAST(metadata AS BLOB)", "name", condition, collection, *values
        )
        found = [
            (at, metadata.decode())
            async for page in pages
            for at, _, metadata in page
            if fits(orjson.loads(metadata), where)
        ]
        for start in range(0, len(found), _CHUNK_ROWS):
            [count] = await self._writer.submit([_Remove(collection, found[start : start + _CHUNK_ROWS], holder)])
            deleted += count
        return deleted

    async def query(
        self,
        collection: str,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        holder: str | None = None,
    ) -> Sequence[VectorMatch]:
        row = await self._server.first("SELECT id, length FROM collections WHERE name = ?", collection)
        if row is None:
            return []
        at, length = row
        if len(vector) != length:
            raise VectorLengthError(collection, len(vector), length)
        if k <= 0:
            return []
        wanted = array("f", vector).tobytes()
        if self._measures is None:
            self._measures = await self._probe()
        # What somebody holds is quickly compared, and may be far from the nearest of all.
        if self._measures and self._index is not None and not holder:
            near = await self._index.near(at, length, wanted, max(_OVERSAMPLING * k, _AT_LEAST))
            if near is not None:
                found = await self._measured(collection, wanted, k, where, holder, near)
                if len(found) == k:
                    return found
        if self._measures:
            return await self._measured(collection, wanted, k, where, holder, None)
        return await self._compared(collection, vector, k, where, holder)

    async def _probe(self) -> bool:
        one = array("f", [1.0]).tobytes()
        try:
            await self._server.once([("SELECT vector_distance_cos(?, ?)", (one, one))], self._server.settings.timeout_s)
        except SqlFailed:
            return False
        except (Lost, Busy):
            return await self._probe_again(one)
        return True

    async def _probe_again(self, one: bytes) -> bool:
        try:
            await self._server.read(("SELECT vector_distance_cos(?, ?)", (one, one)))
        except StoreUnavailableError:
            raise
        except StoreError:
            return False
        return True

    async def _measured(
        self,
        collection: str,
        wanted: bytes,
        k: int,
        where: Mapping[str, Any] | None,
        holder: str | None,
        among: list[int] | None,
    ) -> list[VectorMatch]:
        """The nearest by the server's exact distance, of all or of ``among``."""
        terms, values = prefilter(where, holder)
        bindings: list[Any] = [wanted, collection, len(wanted) // _FLOAT_BYTES, *values]
        if among is not None:
            terms += " AND id IN (SELECT value FROM json_each(?))"
            bindings.append(orjson.dumps(among).decode())
        found: list[VectorMatch] = []
        offset = 0
        while True:
            # A vector of zeros has no direction: similarity 0.
            rows = await self._server.rows(
                "SELECT p.seen, v.id, p.distance, v.name,"
                f" iif(p.size <= {LARGE_BYTES}, CAST(v.metadata AS BLOB), NULL) FROM"
                " (SELECT at, id, distance, size, count(*) OVER () AS seen,"
                " sum(size) OVER (ORDER BY at) - size AS before FROM"
                " (SELECT row_number() OVER () AS at, id, distance, size FROM"
                " (SELECT id, coalesce(vector_distance_cos(vector, ?), 1.0) AS distance,"
                " length(CAST(metadata AS BLOB)) AS size"
                f" FROM vectors WHERE {_IN_COLLECTION}{terms}"
                f" ORDER BY distance, name LIMIT {min(k, PAGE_ROWS)} OFFSET {offset}))) p"
                f" CROSS JOIN vectors v ON v.id = p.id WHERE p.before < {PAGE_BYTES} ORDER BY p.at",
                *bindings,
            )
            for _, at, distance, name, metadata in rows:
                match = await self._match(at, name, distance, metadata, where)
                if match is not None:
                    found.append(match)
                    if len(found) == k:
                        return found
            if not rows or (len(rows) == rows[0][0] and len(rows) < min(k, PAGE_ROWS)):
                return found
            offset += len(rows)

    async def _match(
        self, at: int, name: str, distance: float, metadata: bytes | None, where: Mapping[str, Any] | None
    ) -> VectorMatch | None:
        if metadata is None:
            metadata = await read_whole(self._server, "vectors", "CAST(metadata AS BLOB)", "id = ?1", at)
            if metadata is None:
                return None
        fields = orjson.loads(metadata)
        return VectorMatch(name, max(-1.0, min(1.0, 1.0 - distance)), fields) if fits(fields, where) else None

    async def _compared(
        self,
        collection: str,
        vector: Sequence[float],
        k: int,
        where: Mapping[str, Any] | None,
        holder: str | None,
    ) -> list[VectorMatch]:
        """The nearest, by this program's own arithmetic: the server has none."""
        terms, values = prefilter(where, holder)
        wanted = array("f", vector)
        norm = math.sqrt(sumprod(wanted, wanted))
        near: list[tuple[float, str, int]] = []
        within = (collection, len(wanted))
        pages = pages_by_key(
            self._server, "vectors", "id", "vector", "name", f"{_IN_COLLECTION}{terms}", *within, *values
        )
        async for page in pages:
            for at, name, body in page:
                other = array("f", body)
                size = norm * math.sqrt(sumprod(other, other))
                near.append((1.0 - sumprod(wanted, other) / size if size else 1.0, name, at))
        near.sort()
        found: list[VectorMatch] = []
        for start in range(0, len(near), max(k, _AT_LEAST)):
            part = near[start : start + max(k, _AT_LEAST)]
            numbers = orjson.dumps([at for _, _, at in part]).decode()
            pages = pages_by_key(
                self._server,
                "vectors",
                "id",
                "CAST(metadata AS BLOB)",
                "name",
                f"{_IN_COLLECTION} AND id IN (SELECT value FROM json_each(?))",
                *within,
                numbers,
            )
            metadata = {(at, name): body async for page in pages for at, name, body in page}
            for distance, name, at in part:
                if (at, name) in metadata:
                    match = await self._match(at, name, distance, metadata[at, name], where)
                    if match is not None:
                        found.append(match)
                    if len(found) == k:
                        return found
        return found


def sumprod(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(map(mul, a, b))


def _collections(operations: Iterable[Operation]) -> Iterator[str]:
    for operation in operations:
        if isinstance(operation, UpsertVectors):
            yield operation.collection
        elif isinstance(operation, AppendRecord):
            yield from _collections(operation.writes)
