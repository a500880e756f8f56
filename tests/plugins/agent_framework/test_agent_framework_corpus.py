"""Files of Microsoft Agent Framework itself: each becomes resources that apply, or is refused as it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import FileSource
from kastra_core.migration.engine import Migration, migrate
from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_agent_framework.migrator import AgentFrameworkMigrator

CORPUS = Path(__file__).parents[3].parent / "shared/corpus/migrators/ms-agent-framework"
FILES = sorted(CORPUS.rglob("*.yaml"))
REFUSED = {"BadId.yaml": "a trigger needs an id"}

pytestmark = pytest.mark.skipif(not FILES, reason="the collection of foreign files is not there")


@pytest.fixture(scope="module")
def registry() -> KindRegistry:
    return registry_of(PluginManager())


def _migrated(path: Path, registry: KindRegistry) -> tuple[FileSource, Migration]:
    source = FileSource([str(path)])
    return source, migrate(source, {"agent-framework": AgentFrameworkMigrator()}, registry)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_each_file_alone_is_migrated_whole_or_refused_as_it_should_be(path: Path, registry: KindRegistry) -> None:
    source, made = _migrated(path, registry)
    if path.name in REFUSED:
        assert any(REFUSED[path.name] in problem.message for problem in made.refused)
        return
    assert list(made.refused) == []
    assert made.resources
    assert [row.key for row in made.rows if "not known to this format" in row.reason] == []
    result = AgentFrameworkMigrator().migrate(source.of(list(source)))
    for document in source:
        assert uncovered_keys(document, result) == []


def test_all_files_together_become_resources_without_twins(registry: KindRegistry) -> None:
    _, made = _migrated(CORPUS, registry)
    assert {Path(problem.file).name for problem in made.refused} == set(REFUSED)
    assert not any(name.endswith(".yaml") for name in made.ignored)
    names = [(one["kind"], one["metadata"]["name"]) for one in made.resources]
    assert len(names) == len(set(names))
