"""Real crews: each file as a user would give it, and all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import FileSource
from kastra_core.migration.engine import Migration, migrate
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_crewai.migrator import CrewAiMigrator

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "migrators" / "crewai"
FILES = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*.yaml"))
REFUSED = {"gamedesign.yaml": "texts that a program hands to its crew"}

pytestmark = pytest.mark.skipif(not FILES, reason="the collection of real files is not here")


def run(paths: list[str], registry: KindRegistry) -> tuple[FileSource, Migration]:
    source = FileSource(paths)
    return source, migrate(source, {"crewai": CrewAiMigrator()}, registry)


def assert_all_told(source: FileSource, migration: Migration) -> None:
    refused = {problem.file for problem in migration.refused}
    for file in source.files:
        if file not in refused and file not in migration.ignored:
            for document in source.documents_of(file):
                assert uncovered_keys(document, migration) == []  # type: ignore[arg-type]  # it has rows as a result has
    for row in migration.rows:
        assert row.reason or row.outcome == "mapped", row
        assert row.target or row.outcome != "mapped", row
        assert "not known to this format" not in row.reason, row


@pytest.mark.parametrize("name", FILES)
def test_every_file_alone_becomes_resources_or_is_refused_with_a_reason(name: str, registry: KindRegistry) -> None:
    source, migration = run([str(CORPUS / name)], registry)
    told = REFUSED.get(Path(name).name)
    if told:
        assert told in migration.refused[0].message
        return
    assert migration.refused == []
    assert migration.resources
    assert_all_told(source, migration)


def test_all_files_at_once_become_resources(registry: KindRegistry) -> None:
    source, migration = run([str(CORPUS)], registry)
    assert migration.refused == []
    assert migration.ignored == []
    assert_all_told(source, migration)
    workflows = [one for one in migration.resources if one["kind"] == "Workflow"]
    assert len(workflows) >= len([name for name in FILES if name.endswith("tasks.yaml")])
