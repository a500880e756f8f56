"""The store on a file keeps the contract with the least promise of durability, too."""

from __future__ import annotations

from kastra_plugin_libsql.conformance import TestFileStore as FileStore


class TestRelaxedDurability(FileStore):
    durability = "relaxed"
