"""Writes of vectors as SQL."""

from __future__ import annotations

from collections.abc import Sequence

from kastra_core.errors import VectorLengthError
from kastra_core.protocols.store import UpsertVectors, thread_of
from kastra_plugin_libsql._data_steps import vector_rows
from kastra_plugin_libsql._remote.data_steps import begin_thread
from kastra_plugin_libsql._remote.script import Script
from kastra_plugin_libsql._remote.steps import RemoteStep

__all__ = ["UpsertRows", "UpsertVectorsStep"]


class UpsertRows(RemoteStep):
    """``rows``: id, vector and metadata each, as they are kept."""

    def __init__(self, collection: str, length: int, rows: Sequence[tuple[str, bytes, str]], holder: str = "") -> None:
        self.collection, self.length, self.rows, self.holder = collection, length, rows, holder
        self.thread = thread_of(holder)
        self.small_bytes = sum(len(vector) + len(metadata) for _, vector, metadata in rows)
        self.parts = max(len(rows), 1)

    def write(self, script: Script) -> None:
        if not self.rows:
            return
        known = "(SELECT length FROM collections WHERE name = ?1)"
        script.guard((("length", f"{known} <> ?2"),), self.collection, self.length, detail=known)
        script.add(
            "INSERT INTO collections (name, length) VALUES (?, ?) ON CONFLICT DO NOTHING", self.collection, self.length
        )
        if self.thread is not None:
            begin_thread(script, *self.thread)
        for name, vector, metadata in self.rows:
            script.add(
                "INSERT INTO vectors (collection, name, metadata, vector, holder)"
                " SELECT id, ?2, ?3, ?4, ?5 FROM collections WHERE name = ?1"
                " ON CONFLICT (collection, name) DO UPDATE SET metadata = excluded.metadata, vector = excluded.vector,"
                " holder = excluded.holder",
                self.collection,
                name,
                metadata,
                vector,
                self.holder,
            )

    def error(self, code: str, detail: str) -> Exception:
        return VectorLengthError(self.collection, self.length, int(detail))


class UpsertVectorsStep(UpsertRows):
    def __init__(self, op: UpsertVectors, _: int) -> None:
        length, rows = vector_rows(op)
        super().__init__(op.collection, length, rows, op.holder)
