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


def prefilter(where: Mapping[str, Any] | None) -> tuple[str, list[Any]]:
    """What of ``where`` SQL can decide; all of it is checked again after."""
    terms, values = "", []
    for name, value in (where or {}).items():
        if isinstance(value, (str, int, float)) and '"' not in name and "\\" not in name:
            terms += " AND json_extract(metadata, ?) = ?"
            values += [f'$."{name}"', value]
    return terms, values


def _slices(
    tx: Transaction, condition: str, bindings: tuple[Any, ...], names: Sequence[str] | None
) -> Iterator[list[Any]]:
    """(id, name, metadata) of the vectors that fit, some at a time: of all, or of those named."""
    sql = f"SELECT id, name, metadata FROM vectors WHERE {condition}"  # noqa: S608
    for name in names or ():
        yield tx.execute(f"{sql} AND name = ?", (*bindings, name)).fetchall()
    above, last = ">=", ""
    while names is None:
        page = f"{sql} AND name {above} ? ORDER BY name LIMIT {_SLICE_ROWS}"
        found: list[Any] = tx.execute(page, (*bindings, last)).fetchall()
        if not found:
            return
        yield found
        above, last = ">", found[-1][1]


class Vectors:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._db, self._writer = database, writer
        self._worker = Worker("kastra-libsql-vectors")
        self._connection: apsw.Connection | None = None

    async def upsert(self, collection: str, items: Sequence[tuple[str, Sequence[float], JsonObject]]) -> None:
        if items:
            await self._writer.submit([upsert_vectors(UpsertVectors(collection, items), 0)])

    async def delete(
        self, collection: str, ids: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
    ) -> int:
        terms, values = prefilter(where)

        def step(tx: Transaction) -> Generator[None, None, int]:
            row = tx.first("SELECT id FROM collections WHERE name = ?", (collection,))
            if row is None:
                return 0
            deleted = 0
            for found in _slices(tx, f"collection = ?{terms}", (row[0], *values), ids):
                for at, _, metadata in found:
                    if fits(orjson.loads(metadata), where):
                        tx.execute("DELETE FROM vectors WHERE id = ?", (at,))
                        deleted += 1
                yield
            tx.forget_collection(row[0])
            return deleted

        [deleted] = await self._writer.submit([step])
        return int(deleted)

    async def query(
        self, collection: str, vector: Sequence[float], *, k: int = 10, where: Mapping[str, Any] | None = None
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
        terms, values = prefilter(where)
        # A vector of zeros has no direction: similarity 0. By name: until the thread comes to it another collection
        # may have the number of this one.
        sql = (
            "SELECT name, coalesce(vec_distance_cosine(vector, ?), 1.0) AS distance, metadata FROM vectors"  # noqa: S608
            f" WHERE collection = (SELECT id FROM collections WHERE name = ? AND length = ?){terms}"
            " ORDER BY distance, name"
        )

        def search() -> list[VectorMatch]:
            found: list[VectorMatch] = []
            try:
                rows: Iterator[Any] = self._connect().execute(sql, (wanted, collection, length, *values))
                for name, distance, metadata in rows:
                    fields = orjson.loads(metadata)
                    if fits(fields, where):
                        found.append(VectorMatch(name, max(-1.0, min(1.0, 1.0 - distance)), fields))
                        if len(found) == k:
                            break
            except (apsw.Error, *DAMAGED) as err:
                raise store_error(self._db.settings.path, err) from err
            return found

        matches: list[VectorMatch] = await self._worker.call(search)
        return matches

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
