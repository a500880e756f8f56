"""The vector facet: exact search over float32 blobs, by sqlite-vec in a thread."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import apsw
import orjson

from kastra_core.api.meta import JsonObject
from kastra_core.errors import MissingDependencyError, VectorLengthError
from kastra_core.protocols.store import UpsertVectors, VectorMatch
from kastra_plugin_libsql._data_steps import upsert_vectors
from kastra_plugin_libsql._database import Database
from kastra_plugin_libsql._errors import DAMAGED, store_error
from kastra_plugin_libsql._schema import connect
from kastra_plugin_libsql._transaction import Transaction
from kastra_plugin_libsql._worker import Worker
from kastra_plugin_libsql._writer import Writer

__all__ = ["Vectors", "fits", "prefilter"]

_SLICE_ROWS = 128
"""Rows looked at before the loop's other tasks may get a turn."""


def fits(metadata: JsonObject, where: Mapping[str, Any] | None) -> bool:
    return not where or all(name in metadata and metadata[name] == value for name, value in where.items())


def prefilter(where: Mapping[str, Any] | None, holder: str | None) -> tuple[str, list[Any]]:
    """The holder, and what of ``where`` SQL can decide; all of ``where`` is checked again after."""
    terms = ""
    values: list[Any] = []
    if holder is not None:
        terms = f" AND holder = ? AND holder {'<>' if holder else '='} ''"  # as the index has it
        values = [holder]
    for name, value in (where or {}).items():
        if isinstance(value, str):
            # One text has one form in our JSON, and to look for it is quicker than to read the JSON.
            terms += " AND instr(metadata, ?)"
            values.append(orjson.dumps({name: value}).decode()[1:-1])
        elif isinstance(value, (int, float)) and '"' not in name and "\\" not in name:
            terms += " AND json_extract(metadata, ?) = ?"
            values += [f'$."{name}"', value]
    return terms, values


def _slices(
    tx: Transaction, condition: str, bindings: tuple[Any, ...], names: Sequence[str] | None, key: str
) -> Iterator[list[Any]]:
    """(key, id, metadata) of the vectors that fit, some at a time: of all, or of those named."""
    sql = f"SELECT {key}, id, metadata FROM vectors WHERE {condition}"  # noqa: S608
    for name in names or ():
        yield tx.execute(f"{sql} AND name = ?", (*bindings, name)).fetchall()
    beyond: tuple[Any, ...] = ()
    while names is None:
        page = f"{sql}{f' AND {key} > ?' if beyond else ''} ORDER BY {key} LIMIT {_SLICE_ROWS}"
        found: list[Any] = tx.execute(page, (*bindings, *beyond)).fetchall()
        if not found:
            return
        yield found
        beyond = (found[-1][0],)


class Vectors:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._db, self._writer = database, writer
        self._worker = Worker("kastra-libsql-vectors")
        self._connection: apsw.Connection | None = None

    async def upsert(self, collection: str, items: Sequence[tuple[str, Sequence[float], JsonObject]]) -> None:
        if items:
            await self._writer.submit([upsert_vectors(UpsertVectors(collection, items), 0)])

    async def delete(
        self,
        collection: str,
        ids: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        *,
        holder: str | None = None,
    ) -> int:
        terms, values = prefilter(where, holder)
        key = "id" if holder else "name"  # the order in which the index has them

        def step(tx: Transaction) -> Generator[None, None, int]:
            row = tx.first("SELECT id FROM collections WHERE name = ?", (collection,))
            if row is None:
                return 0
            deleted = 0
            for found in _slices(tx, f"collection = ?{terms}", (row[0], *values), ids, key):
                for _, at, metadata in found:
                    if fits(orjson.loads(metadata), where):
                        tx.execute("DELETE FROM vectors WHERE id = ?", (at,))
                        deleted += 1
                yield
            tx.forget_collection(row[0])
            return deleted

        [deleted] = await self._writer.submit([step])
        return int(deleted)

    async def query(
        self,
        collection: str,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        holder: str | None = None,
    ) -> Sequence[VectorMatch]:
        row = self._db.first("SELECT length FROM collections WHERE name = ?", (collection,))
        if row is None:
            return []
        length = row[0]
        if len(vector) != length:
            raise VectorLengthError(collection, len(vector), length)
        if k <= 0:
            return []
        wanted = array("f", vector).tobytes()
        terms, values = prefilter(where, holder)
        # A vector of zeros has no direction: similarity 0. By name: until the thread comes to it another collection
        # may have the number of this one. Without the metadata: to sort all of them costs as much as the distances.
        sql = (
            "SELECT id, name, coalesce(vec_distance_cosine(vector, ?), 1.0) AS distance FROM vectors"  # noqa: S608
            f" WHERE collection = (SELECT id FROM collections WHERE name = ? AND length = ?){terms}"
            " ORDER BY distance, name LIMIT ?"
        )

        def matches(count: int) -> tuple[list[VectorMatch], int]:
            """Of the ``count`` nearest (-1: of all) those that fit, at most ``k``; and how many were looked at."""
            connection = self._connect()
            found: list[VectorMatch] = []
            seen = 0
            # A row that is read from keeps the state: the metadata is of the same moment.
            for at, name, distance in connection.execute(sql, (wanted, collection, length, *values, count)):
                seen += 1
                [[metadata]] = connection.execute("SELECT metadata FROM vectors WHERE id = ?", (at,))
                fields = orjson.loads(metadata)
                if fits(fields, where):
                    found.append(VectorMatch(name, max(-1.0, min(1.0, 1.0 - distance)), fields))
                    if len(found) == k:
                        break
            return found, seen

        def search() -> list[VectorMatch]:
            try:
                found, seen = matches(k)
                # SQL may let some through that do not fit.
                return found if len(found) == k or seen < k else matches(-1)[0]
            except (apsw.Error, *DAMAGED) as err:
                raise store_error(self._db.settings.path, err) from err

        nearest: list[VectorMatch] = await self._worker.call(search)
        return nearest

    def _connect(self) -> apsw.Connection:
        if self._connection is None:
            try:
                sqlite_vec = import_module("sqlite_vec")
            except ImportError as err:
                raise MissingDependencyError("sqlite_vec", "sqlite-vec") from err
            connection = connect(self._db.settings.path, self._db.settings.timeout_s)
            connection.enable_load_extension(True)
            connection.load_extension(sqlite_vec.loadable_path())
            connection.enable_load_extension(False)
            connection.execute("PRAGMA query_only = 1")
            self._connection = connection
        return self._connection

    def close(self) -> None:
        self._worker.stop()
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None
