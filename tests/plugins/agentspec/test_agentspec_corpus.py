"""Real files, each alone and all at once, become resources; what they become can be exported and comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import FileSource
from kastra_core.migration.engine import Migration, migrate
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_agentspec.migrator import AgentSpecMigrator

CORPUS = Path(__file__).parents[3] / "../shared/corpus/migrators/open-agent-spec"
FILES = sorted(path for path in CORPUS.rglob("*") if path.suffix in (".yaml", ".json"))

pytestmark = pytest.mark.skipif(not FILES, reason="the corpus is not there")


def migration_of(paths: Sequence[Path], registry: KindRegistry) -> tuple[FileSource, Migration]:
    source = FileSource([str(path) for path in paths])
    return source, migrate(source, {"agentspec": AgentSpecMigrator()}, registry)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_becomes_resources_with_a_row_for_each_key_that_can_be_exported(
    path: Path, registry: KindRegistry, round_trip: Callable[..., Any]
) -> None:
    source, migration = migration_of([path], registry)
    if "invalid" in path.parts:
        assert migration.refused
        return
    assert not migration.refused
    assert migration.resources
    assert [key for document in source for key in uncovered_keys(document, migration)] == []  # type: ignore[arg-type]
    assert [row.key for row in migration.rows if row.reason.startswith("not known")] == []
    round_trip(migration.resources)


def test_all_files_at_once_become_resources(registry: KindRegistry, round_trip: Callable[..., Any]) -> None:
    _, migration = migration_of([CORPUS], registry)
    assert [str(problem) for problem in migration.refused if "invalid" not in problem.file] == []
    assert migration.ignored == []
    round_trip(migration.resources)
