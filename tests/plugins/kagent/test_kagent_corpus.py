"""Real files of kagent, ARK and KAOS: each becomes resources that apply, or is refused for a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kastra_core.migration.engine import Migration
from kastra_core.migration.engine import migrate as migrate_files
from kastra_core.migration.reading import FileSource
from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_kagent.ark import ArkMigrator
from kastra_plugin_kagent.kagent import KagentMigrator
from kastra_plugin_kagent.kaos import KaosMigrator

CORPUS = Path(__file__).parents[3] / "../shared/corpus/migrators"
FILES = sorted(path for name in ("kagent", "ark", "kaos") for path in (CORPUS / name).rglob("*.yaml"))
ALONE = ("a01-secret.yaml",)
"""Files with nothing but objects of Kubernetes: nobody reads them alone."""


def _migrate(path: Path) -> tuple[FileSource, Migration]:
    migrators: dict[str, Any] = {"ark": ArkMigrator(), "kagent": KagentMigrator(), "kaos": KaosMigrator()}
    source = FileSource([str(path)])
    return source, migrate_files(source, migrators, registry_of(PluginManager()))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CORPUS)) for path in FILES])
def test_a_file_alone_becomes_resources(path: Path) -> None:
    source, found = _migrate(path)
    if path.name in ALONE:
        assert [problem.file for problem in found.refused] == [str(path)]
        return
    assert found.refused == []
    assert found.resources
    for document in source.documents_of(str(path)):
        assert uncovered_keys(document, _Rows(found)) == []  # type: ignore[arg-type]


class _Rows:
    def __init__(self, migration: Migration) -> None:
        self.rows = migration.rows


@pytest.mark.parametrize("name", ["kagent", "ark", "kaos"])
def test_a_whole_directory_becomes_resources(name: str) -> None:
    if not (CORPUS / name).is_dir():
        pytest.skip("the collection of examples is not here")
    source, found = _migrate(CORPUS / name)
    assert found.refused == []
    assert found.ignored == []
    read = {one.file for one in found.detected}
    assert {row.file for row in found.rows} >= read
    for file in read:
        for document in source.documents_of(file):
            assert uncovered_keys(document, _Rows(found)) == []  # type: ignore[arg-type]
