"""Files that exist only in a test, and a runtime on the store in memory whose models are scripted."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.api.meta import JsonObject
from kastra_core.config import Config
from kastra_core.includes import decode_documents
from kastra_core.manifests import dump, parse
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult, MigrationRow
from kastra_core.registrations import ModelProviderRegistration
from kastra_core.runtime import registry_of
from kastra_core.testing.fakes import Answer, FakeModelProvider
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_adk.migrator import AdkMigrator

_PLUGINS = ("agent", "network", "tool", "workflow")


def _plugins(*more: tuple[str, Any]) -> PluginManager:
    return PluginManager(discover=False, extra=[*((name, f"kastra_plugin_{name}.hooks") for name in _PLUGINS), *more])


@attrs.frozen
class Migrated:
    """What came of some files."""

    result: MigrationResult

    def spec(self, kind: str, name: str) -> JsonObject:
        """``spec`` of a resource."""
        found = [one["spec"] for one in self.result.resources if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        assert len(found) == 1, [(one["kind"], one["metadata"]["name"]) for one in self.result.resources]
        return dict(found[0])

    def names(self, kind: str) -> list[str]:
        return [one["metadata"]["name"] for one in self.result.resources if one["kind"] == kind]

    def rows(self, key: str, file: str = "") -> list[MigrationRow]:
        return [row for row in self.result.rows if row.key == key and row.file.endswith(file)]

    def outcomes(self, key: str, file: str = "") -> set[str]:
        return {row.outcome for row in self.rows(key, file)}

    def reason(self, key: str, file: str = "") -> str:
        return " / ".join(row.reason for row in self.rows(key, file))


Migrate = Callable[..., Migrated]


@pytest.fixture
def migrate() -> Migrate:
    """Migrate texts by their file; ``others`` are files around them. The result must apply and leave no key out."""

    def run(texts: Mapping[str, str], others: Mapping[str, str] | None = None) -> Migrated:
        documents = [one for file, text in texts.items() for one in read_text(text, file)]
        around = [one for file, text in (others or {}).items() for one in read_text(text, file)]
        result = AdkMigrator().migrate(MemorySource(documents, around))
        for document in documents:
            assert uncovered_keys(document, result) == []
        decode_documents(registry_of(_plugins()), parse(dump(result.resources)), unknown_fields="strict")
        return Migrated(result)

    return run


@attrs.define
class Stage:
    """Runs what was migrated. ``model`` keeps what it was asked."""

    path: Path
    model: FakeModelProvider = attrs.field(factory=FakeModelProvider)

    async def run(self, migrated: Migrated, target: str, given: Any, *answers: Answer) -> Any:
        """Apply it, run ``target`` and return the output; ``answers`` are what the models say, in turn."""
        self.model.answers = list(answers)
        module = types.ModuleType("adk_test_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [self.model.registration("gemini", "openai", name="scripted", keyless=False)]

        module.kastra_model_providers = kastra_model_providers  # type: ignore[attr-defined]
        config = Config.load(self.path, env={})
        async with await RuntimeManager.open("memory:", config=config, plugins=_plugins(("test", module))) as runtime:
            await runtime.apply(list(migrated.result.resources))
            handle = await runtime.start_run(target, given, require_ready=False)
            return await handle.result()

    @property
    def asked(self) -> list[str]:
        """The last message of each request, in turn."""
        return [request.messages[-1].text for request in self.model.requests]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
