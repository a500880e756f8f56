"""Migrating texts, and looking at what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import MigrationResult, MigrationRow, Migrator
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_kagent.ark import ArkMigrator
from kastra_plugin_kagent.kagent import KagentMigrator
from kastra_plugin_kagent.kaos import KaosMigrator

MIGRATORS: Mapping[str, Callable[[], Migrator]] = {"kagent": KagentMigrator, "ark": ArkMigrator, "kaos": KaosMigrator}


@attrs.frozen
class Moved:
    """What became of some files."""

    result: MigrationResult

    def names(self, kind: str) -> list[str]:
        return [one["metadata"]["name"] for one in self.result.resources if one["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Any:
        """The resource of a kind and name; the only one of the kind."""
        found = [
            one
            for one in self.result.resources
            if one["kind"] == kind and (not name or one["metadata"]["name"] == name)
        ]
        assert len(found) == 1, f"{kind}: {self.names(kind)}"
        return found[0]

    def spec(self, kind: str, name: str = "") -> Any:
        return self.one(kind, name)["spec"]

    def rows(self, key: str) -> list[MigrationRow]:
        """Rows whose key ends so."""
        return [row for row in self.result.rows if row.key == key or row.key.endswith(f".{key}")]

    def row(self, key: str) -> MigrationRow:
        found = self.rows(key)
        assert found, f"no row for {key}: {sorted({row.key for row in self.result.rows})}"
        return found[0]

    @property
    def text(self) -> str:
        """All that is made and told."""
        return repr((self.result.resources, self.result.rows, self.result.files, self.result.config))


Migrate = Callable[..., Moved]


@pytest.fixture(scope="session")
def _registry() -> KindRegistry:
    return registry_of(PluginManager())


@pytest.fixture
def migrate(_registry: KindRegistry) -> Migrate:
    """Migrate a text or files (path -> text) with a migrator; the result applies and misses no key.

    ``beside``: files that are not given, only around.
    """

    def run(given: str | Mapping[str, str], migrator: str = "kagent", beside: Mapping[str, str] | None = None) -> Moved:
        files = {"k8s.yaml": given} if isinstance(given, str) else given
        chosen = MIGRATORS[migrator]()
        documents = [one for path, text in files.items() for one in read_text(text, path)]
        others = [one for path, text in (beside or {}).items() for one in read_text(text, path)]
        mine = [one for one in documents if chosen.detect(one) > 0]
        rest = [one for one in documents if not chosen.detect(one) > 0]
        result = chosen.migrate(MemorySource(mine, [*rest, *others]))
        assert problems_of_result(result.resources, _registry) == ()
        for document in mine:
            assert uncovered_keys(document, result) == []
        return Moved(result)

    return run
