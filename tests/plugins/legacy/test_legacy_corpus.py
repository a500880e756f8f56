"""Real files of the older formats, where they are at hand: each alone, and all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kastra_core.migration import FileSource
from kastra_core.migration.engine import migrate as engine_migrate
from kastra_core.testing.migrator import idle_rows, uncovered_keys
from kastra_plugin_legacy.migrator import LegacyMigrator

CORPUS = Path(__file__).parents[3] / "../shared/corpus/migrators/legacy-kastra"
FILES = sorted(CORPUS.rglob("*.yaml")) + sorted(CORPUS.rglob("*.json"))
SETTINGS = "config.json"

pytestmark = pytest.mark.skipif(not FILES, reason="the collection of files is not here")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CORPUS)))
def test_a_file_becomes_resources_or_is_refused_with_a_reason(file: Path, registry: Any) -> None:
    migrator = LegacyMigrator()
    source = FileSource([str(file)])
    found = engine_migrate(source, {"legacy": migrator}, registry)
    if file.name == SETTINGS:
        assert [one.message for one in found.refused] == ["these are settings of the older command line, not resources"]
        return
    assert found.refused == []
    assert found.resources
    for document in source.documents_of(str(file)):
        result = migrator.migrate(source.of(source.documents_of(str(file))))
        assert uncovered_keys(document, result) == []
    assert not [row for row in found.rows if "not known to this format" in row.reason]


def test_all_at_once_nothing_but_settings_is_refused(registry: Any) -> None:
    found = engine_migrate(FileSource([str(CORPUS)]), {"legacy": LegacyMigrator()}, registry)
    assert {Path(one.file).name for one in found.refused} == {SETTINGS}
    assert len(found.resources) > 40


def test_what_is_called_mapped_in_a_pod_makes_a_difference() -> None:
    file = next((one for one in FILES if one.parent.name == "simple-pod"), FILES[0])
    source = FileSource([str(file)])
    assert idle_rows(LegacyMigrator(), source.documents_of(str(file))) == []
