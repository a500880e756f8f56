"""Real configurations, where a copy of them is at hand: each by itself, and all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kastra_core.migration import FileSource
from kastra_core.migration.engine import Migration, migrate
from kastra_core.plugins import PluginManager
from kastra_core.runtime import registry_of
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_adk.migrator import AdkMigrator

_CORPUS = Path(__file__).parents[3] / "../shared/corpus/migrators/google-adk"
_FILES = sorted(str(file.relative_to(_CORPUS)) for file in _CORPUS.rglob("*.yaml")) if _CORPUS.is_dir() else []

pytestmark = pytest.mark.skipif(not _FILES, reason="the collection of real files is not here")


def _migrate(monkeypatch: pytest.MonkeyPatch, path: str) -> Migration:
    monkeypatch.chdir(_CORPUS)
    source = FileSource([path])
    done = migrate(source, {"adk": AdkMigrator()}, registry_of(PluginManager()))
    for file in source.files:
        for document in source.documents_of(file):
            if document.data is not None and file not in done.ignored:
                assert uncovered_keys(document, done) == []  # type: ignore[arg-type]
    return done


@pytest.mark.parametrize("file", _FILES)
def test_a_file_by_itself_becomes_resources_that_apply(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    done = _migrate(monkeypatch, file)
    assert done.refused == []
    assert done.resources


def test_all_files_at_once_become_resources_that_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    done = _migrate(monkeypatch, ".")
    assert done.refused == []
    assert not done.ignored
    assert "not known to this format" not in " ".join(row.reason for row in done.rows)
