"""Files of docker-agent itself: each becomes resources that apply, or is refused as docker-agent refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import FileSource
from kastra_core.migration.engine import Migration, migrate
from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_docker_agent.migrator import DockerAgentMigrator

CORPUS = Path(__file__).parents[3].parent / "shared/corpus/migrators/docker-cagent"
FILES = sorted(CORPUS.rglob("*.yaml"))
REFUSED = {
    "missing_memory_path_v2.yaml": "needs a path",
    "mcp_definitions_invalid_fields.yaml": "'shared' goes with type 'todo' only",
    "mcp_definitions_multiple_sources.yaml": "only one of command, remote and ref",
    "mcp_definitions_invalid_def.yaml": "needs command, remote or ref",
}

pytestmark = pytest.mark.skipif(not FILES, reason="the collection of foreign files is not there")


@pytest.fixture(scope="module")
def registry() -> KindRegistry:
    return registry_of(PluginManager())


def _migrated(paths: list[str], registry: KindRegistry) -> tuple[FileSource, Migration]:
    source = FileSource(paths)
    return source, migrate(source, {"docker-agent": DockerAgentMigrator()}, registry)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_each_file_alone_is_migrated_whole_or_refused_as_it_should_be(path: Path, registry: KindRegistry) -> None:
    source, made = _migrated([str(path)], registry)
    if path.name in REFUSED:
        assert any(REFUSED[path.name] in problem.message for problem in made.refused)
        assert all(problem.line > 0 for problem in made.refused)
        return
    assert made.refused == []
    assert any(manifest["kind"] == "Agent" for manifest in made.resources)
    result = DockerAgentMigrator().migrate(source.of(list(source)))
    for document in source:
        assert uncovered_keys(document, result) == []
    assert [row.key for row in made.rows if "not known to" in row.reason] == []


def test_all_files_together_become_resources_without_twins(registry: KindRegistry) -> None:
    _, made = _migrated([str(CORPUS)], registry)
    assert {Path(problem.file).name for problem in made.refused} == {path.name for path in FILES} & REFUSED.keys()
    assert made.ignored == []
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in made.resources]
    assert len(names) == len(set(names))
    functions = [manifest["spec"].get("python", {}).get("function") for manifest in made.resources]
    written = [function for function in functions if function]
    assert len(written) == len(set(written))
