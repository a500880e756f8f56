"""An index of LibSQL's own over the vectors of a collection: quicker than comparing all, and approximate.

The vectors stay in ``vectors``; the index has a table of its own per collection, kept up by triggers, so it is right
whoever writes. Only LibSQL understands a database with such an index: plain SQLite, and with it the store on a file,
cannot open it.
"""

# ruff: noqa: S608 - the names put into statements are this package's own

from __future__ import annotations

from kastra_core.errors import StoreError, StoreUnavailableError
from kastra_plugin_libsql._remote.client import Server

__all__ = ["VectorIndex", "index_names"]


def index_names(collection: int, length: int) -> tuple[str, str]:
    """Names of the index's table and of the index. The length is part of it: numbers of collections are used again."""
    table = f"vector_index_{collection}_{length}"
    return table, f"{table}_near"


class VectorIndex:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._known: dict[tuple[int, int], bool] = {}
        """By number and length of the collection, whether there is an index."""

    async def make(self, collection: str) -> None:
        """Make the index of a collection that has none. Raises: StoreError when the server cannot."""
        row = await self._server.first("SELECT id, length FROM collections WHERE name = ?", collection)
        if row is None or self._known.get((row[0], row[1])):
            return
        at, length = row
        table, index = index_names(at, length)
        mine = f"NEW.collection = {at} AND length(NEW.vector) = {4 * length}"
        try:
            await self._server.read(
                (f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, vector F32_BLOB({length}))", ()),
                (f"CREATE INDEX IF NOT EXISTS {index} ON {table} (libsql_vector_idx(vector, 'metric=cosine'))", ()),
                (
                    f"CREATE TRIGGER IF NOT EXISTS {table}_insert AFTER INSERT ON vectors WHEN {mine} BEGIN"
                    f" INSERT INTO {table} (id, vector) VALUES (NEW.id, NEW.vector); END",
                    (),
                ),
                (
                    f"CREATE TRIGGER IF NOT EXISTS {table}_update AFTER UPDATE OF vector ON vectors WHEN {mine} BEGIN"
                    f" UPDATE {table} SET vector = NEW.vector WHERE id = NEW.id; END",
                    (),
                ),
                (
                    f"CREATE TRIGGER IF NOT EXISTS {table}_delete AFTER DELETE ON vectors WHEN OLD.collection = {at}"
                    f" BEGIN DELETE FROM {table} WHERE id = OLD.id; END",
                    (),
                ),
                (
                    f"INSERT INTO {table} (id, vector) SELECT id, vector FROM vectors WHERE collection = {at}"
                    f" AND id NOT IN (SELECT id FROM {table})",
                    (),
                ),
            )
        except StoreUnavailableError:
            raise
        except StoreError as err:
            raise StoreError(
                f"{err}; this server makes no vector index: take the option vector_index out, the search is exact then"
            ) from err
        self._known[at, length] = True

    async def near(self, collection: int, length: int, wanted: bytes, count: int) -> list[int] | None:
        """Numbers of vectors near ``wanted``, None where there is no index."""
        _, index = index_names(collection, length)
        if (collection, length) not in self._known:
            found = await self._server.first("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", index)
            if found is None:
                return None
            self._known[collection, length] = True
        rows = await self._server.rows(f"SELECT id FROM vector_top_k('{index}', ?, {count})", wanted)
        return [row[0] for row in rows]
