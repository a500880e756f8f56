"""What Kastra asks of a plugin, as tests; ``kastra plugins check datasource`` runs them, too.

It needs ``kastra-core[develop]``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kastra_core import AbstractController, ResourceKind
from kastra_core.api.meta import JsonObject
from kastra_core.testing.controller import ControllerConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_datasource.controller import DataSourceController

__all__ = ["KIND", "TestDataSourceController", "TestDataSourcePlugin"]

KIND = ResourceKind(kind="DataSource", plural="datasources", version="v1")
"""As much of the kind as its controller needs; ``shop/datasources.yaml`` defines it with its schema."""


class TestDataSourcePlugin(PluginConformance):
    entry_point = "datasource"


class TestDataSourceController(ControllerConformance):
    @pytest.fixture
    def kinds(self) -> Sequence[ResourceKind]:
        return [KIND]

    @pytest.fixture
    def make_controller(self) -> Callable[[Any], AbstractController]:
        return DataSourceController

    @pytest.fixture
    def manifest(self, tmp_path: Path) -> JsonObject:
        # The runtime's project is this directory.
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
            connection.execute("CREATE TABLE orders (customer TEXT, cents INTEGER)")
        return {
            "apiVersion": "mastra.ai/v1",
            "kind": "DataSource",
            "metadata": {"name": "orders"},
            "spec": {"type": "sqlite", "path": "shop.db", "query": "SELECT * FROM orders"},
        }
