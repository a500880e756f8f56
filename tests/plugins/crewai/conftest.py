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
from kastra_core.protocols.migrator import MigrationResult, MigrationRow
from kastra_core.runtime import registry_of
from kastra_plugin_crewai.migrator import CrewAiMigrator


@attrs.frozen
class Moved:
    """What became of some files."""

    result: MigrationResult

    def names(self, kind: str) -> list[str]:
        return [one["metadata"]["name"] for one in self.result.resources if one["kind"] == kind]

    def spec(self, kind: str, name: str = "") -> Any:
        """The spec of the resource of a kind and name; of the only one of the kind."""
        found = [
            one["spec"]
            for one in self.result.resources
            if one["kind"] == kind and (not name or one["metadata"]["name"] == name)
        ]
        assert len(found) == 1, f"{kind}: {self.names(kind)}"
        return found[0]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps of the only Workflow."""
        return list(self.spec("Workflow")["steps"])

    def rows(self, key: str) -> list[MigrationRow]:
        """The rows of a key, in whatever file it is."""
        return [row for row in self.result.rows if row.key == key]

    def outcome(self, key: str) -> set[str]:
        return {row.outcome for row in self.rows(key)}

    def reason(self, key: str) -> str:
        return " / ".join(row.reason for row in self.rows(key))


@pytest.fixture(scope="session")
def registry() -> KindRegistry:
    return registry_of(PluginManager())


@pytest.fixture
def moved(registry: KindRegistry) -> Callable[..., Moved]:
    """``moved({file: text}, others={file: text})``: migrate files; the result would apply, and every row is whole."""

    def migrate(files: Mapping[str, str], others: Mapping[str, str] | None = None) -> Moved:
        documents = [one for file, text in files.items() for one in read_text(text, file)]
        around = [one for file, text in (others or {}).items() for one in read_text(text, file)]
        result = CrewAiMigrator().migrate(MemorySource(documents, around))
        assert problems_of_result(result.resources, registry) == ()
        for row in result.rows:
            assert row.reason or row.outcome == "mapped", row
            assert row.target or row.outcome != "mapped", row
        return Moved(result)

    return migrate
