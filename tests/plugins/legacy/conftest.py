"""Texts through the migrator, and whether what comes out could be applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError, Problem
from kastra_core.migration import MemorySource, read_text
from kastra_core.migration.engine import problems_of_result
from kastra_core.plugins import PluginManager
from kastra_core.protocols.migrator import MigrationResult, MigrationRow
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_legacy.migrator import LegacyMigrator


@attrs.frozen(kw_only=True)
class Migrated:
    """A result, easy to look at."""

    result: MigrationResult

    def one(self, kind: str, name: str = "", namespace: str = "") -> JsonObject:
        """The only resource of a kind (and name, and namespace)."""
        found = [
            one
            for one in self.result.resources
            if one["kind"] == kind
            and name in ("", one["metadata"]["name"])
            and namespace in ("", one["metadata"].get("namespace", ""))
        ]
        assert len(found) == 1, self.names()
        return found[0]

    def spec(self, kind: str, name: str = "") -> JsonObject:
        return self.one(kind, name)["spec"]  # type: ignore[no-any-return]

    def names(self) -> list[str]:
        """``Kind/name`` of every resource, in order."""
        return [f"{one['kind']}/{one['metadata']['name']}" for one in self.result.resources]

    def row(self, key: str, file: str = "", document: int = 0) -> MigrationRow:
        """The first row of a key."""
        found = [
            one for one in self.result.rows if one.key == key and file in ("", one.file) and one.document == document
        ]
        assert found, sorted({one.key for one in self.result.rows})
        return found[0]


Migrate = Callable[..., Migrated]


@pytest.fixture(scope="session")
def registry() -> KindRegistry:
    """The kinds of the installed plugins."""
    return registry_of(PluginManager())


@pytest.fixture
def migrate(registry: KindRegistry) -> Migrate:
    """Migrate ``text`` (as pod.yaml) among ``others`` (path -> text); every key has a row, and the result applies."""

    def run(
        text: str, others: Mapping[str, str] | None = None, *, file: str = "pod.yaml", applies: bool = True
    ) -> Migrated:
        documents = read_text(text, file)
        around = [one for path, other in (others or {}).items() for one in read_text(other, path)]
        result = LegacyMigrator().migrate(MemorySource(documents, around))
        for document in documents:
            assert uncovered_keys(document, result) == []
        if applies:
            assert problems_of_result(result.resources, registry) == ()
        return Migrated(result=result)

    return run


@pytest.fixture
def problems() -> Callable[..., Sequence[Problem]]:
    """Why a text is refused."""

    def run(text: str, others: Mapping[str, str] | None = None, *, file: str = "pod.yaml") -> Sequence[Problem]:
        documents = read_text(text, file)
        around = [one for path, other in (others or {}).items() for one in read_text(other, path)]
        with pytest.raises(ManifestError) as caught:
            LegacyMigrator().migrate(MemorySource(documents, around))
        assert all(one.file for one in caught.value.problems)
        return caught.value.problems

    return run


@pytest.fixture
def agent(migrate: Migrate) -> Callable[[str], tuple[JsonObject, Migrated]]:
    """The spec of the Agent that fields (YAML, one indent) of an older one become, and all of the result."""

    def run(fields: str) -> tuple[JsonObject, Any]:
        head = "apiVersion: mastra/v1\nkind: Agent\nmetadata: {name: helper}\nspec:\n"
        migrated = migrate(head + "".join(f"  {line}\n" for line in fields.strip("\n").splitlines()))
        return migrated.spec("Agent", "helper"), migrated

    return run
