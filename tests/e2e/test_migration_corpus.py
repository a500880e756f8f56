"""Real files of other systems, each alone and all of a system: resources that apply, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import FileSource
from kastra_core.migration.engine import Migration, migrate, problems_of_result
from kastra_core.protocols.migrator import MigrationResult, Migrator
from kastra_core.testing.migrator import uncovered_keys

CORPUS = Path(__file__).parents[2] / "../shared/corpus/migrators"
SYSTEMS = (
    "ark",
    "crewai",
    "docker-cagent",
    "google-adk",
    "kagent",
    "kaos",
    "legacy-kastra",
    "ms-agent-framework",
    "open-agent-spec",
)
NOT_CONFIGURATION = ("gamedesign.yaml", "config.json", "cli-usage/inputs", "a01-secret.yaml")
"""Inputs of runs, settings of a command line, a Secret that means something only beside the model that names it."""
BROKEN = ("invalid", "missing_", "Bad", "multiple_sources")
"""What the systems' own tests call wrong, by the names of the files."""

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not there")


def files_of(system: str) -> list[Path]:
    return sorted(path for path in (CORPUS / system).rglob("*") if path.is_file() and path.name != "SOURCES.txt")


def silent(source: FileSource, migration: Migration) -> list[str]:
    """Keys without a row, of all files that were not refused."""
    refused = {problem.file for problem in migration.refused}
    result = MigrationResult(resources=migration.resources, rows=migration.rows)
    known = {one.file for one in migration.detected}
    return [
        f"{document.file}: {key}"
        for document in source
        if document.file in known - refused
        for key in uncovered_keys(document, result)
    ]


def may_be_refused(path: Path) -> bool:
    return any(word in str(path) for word in (*NOT_CONFIGURATION, *BROKEN))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_file_alone_becomes_resources_or_is_refused_with_why(
    system: str, migrators: Mapping[str, Migrator], registry: KindRegistry
) -> None:
    told: list[str] = []
    for path in files_of(system):
        source = FileSource([str(path)])
        migration = migrate(source, migrators, registry)
        told += silent(source, migration)
        told += [f"{path.name}: {problem}" for problem in problems_of_result(migration.resources, registry)]
        told += [f"{path.name}: {one.reason}" for one in migration.rows if not one.reason and one.outcome != "mapped"]
        if may_be_refused(path):
            assert all(problem.message and problem.file for problem in migration.refused), path
        else:
            told += [f"refused {problem}" for problem in migration.refused]
            if not migration.resources and not _needs_others(migration):
                told.append(f"{path.name} became nothing")
    assert told == []


def _needs_others(migration: Migration) -> bool:
    """A part that means nothing alone (a model's secret, a configuration of a server) says so in its rows."""
    return bool(migration.rows) and all(row.outcome != "mapped" for row in migration.rows)


@pytest.mark.parametrize("system", SYSTEMS)
def test_all_files_of_a_system_at_once(system: str, migrators: Mapping[str, Migrator], registry: KindRegistry) -> None:
    source = FileSource([str(CORPUS / system)])
    migration = migrate(source, migrators, registry)
    assert silent(source, migration) == []
    assert problems_of_result(migration.resources, registry) == ()
    wrong = [
        str(one)
        for one in migration.refused
        if not may_be_refused(Path(one.file)) and "another one there" not in str(one)
    ]
    assert wrong == []
    assert [file for file in migration.ignored if not may_be_refused(Path(file))] == []


def test_the_broken_ones_of_docker_agent_are_refused(migrators: Mapping[str, Migrator], registry: KindRegistry) -> None:
    for path in files_of("docker-cagent"):
        if any(word in path.name for word in BROKEN):
            migration: Any = migrate(FileSource([str(path)]), migrators, registry)
            assert migration.refused, path
