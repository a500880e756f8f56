"""What every migrator must keep to: subclass :class:`MigratorConformance` in a plugin's test suite."""

from __future__ import annotations

import copy
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

import attrs
import orjson
import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError
from kastra_core.includes import decode_documents
from kastra_core.manifests import dump, parse
from kastra_core.migration import MemorySource, key_path
from kastra_core.protocols.migrator import MigrationResult, MigrationRow, Migrator, SourceDocument
from kastra_core.testing._leaves import another, leaves_of, with_value

__all__ = ["MigratorConformance", "idle_rows", "keys_of", "uncovered_keys"]

_OUTCOMES = ("mapped", "defaulted", "dropped", "manual")
_PART = re.compile(r"[^.\[\]]+")
_MOST_CHANGES = 80
"""Leaves that are changed one by one in :func:`idle_rows`."""


def keys_of(data: Any, path: str = "") -> Iterator[str]:
    """Paths of all leaves of a document: ``agents.chef.tools[0]``; an empty object or list is a leaf."""
    for at, _ in leaves_of(data):
        yield key_path(at)


def uncovered_keys(document: SourceDocument, result: MigrationResult) -> list[str]:
    """Leaves of a document for which no row speaks; a row speaks for its key and all below it."""
    told = {
        tuple(_PART.findall(row.key))
        for row in result.rows
        if row.file == document.file and row.document == document.index
    }
    missing = []
    for key in keys_of(document.data):
        parts = tuple(_PART.findall(key))
        if not any(parts[:count] in told for count in range(1, len(parts) + 1)):
            missing.append(key)
    return missing


def idle_rows(
    migrator: Migrator, documents: Sequence[SourceDocument], others: Sequence[SourceDocument] = ()
) -> list[MigrationRow]:
    """Rows that say mapped although another value at their key makes no difference.

    Each key with such a row whose value is a text, a number or a boolean is given another value, one after the other.
    A refusal of that value is a difference.
    """
    first = migrator.migrate(MemorySource(documents, others))
    idle = []
    for at, document in enumerate(documents):
        leaves = {key_path(path): (path, value) for path, value in leaves_of(document.data)}
        told = {
            row.key: row
            for row in first.rows
            if row.outcome == "mapped" and (row.file, row.document) == (document.file, document.index)
        }
        keys = [key for key in told if key in leaves and isinstance(leaves[key][1], (str, int, float))]
        for key in keys[:: max(1, len(keys) // _MOST_CHANGES)]:
            path, value = leaves[key]
            changed = attrs.evolve(document, data=with_value(document.data, path, another(value)))
            try:
                second = migrator.migrate(MemorySource([*documents[:at], changed, *documents[at + 1 :]], others))
            except ManifestError:
                continue
            if _made(second) == _made(first):
                idle.append(told[key])
    return idle


def _made(result: MigrationResult) -> tuple[Any, ...]:
    return (list(result.resources), dict(result.files), result.config, dict(result.names))


class _Imports(MetaPathFinder):
    """Notes what is imported for the first time."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        self.names.append(fullname)
        return None


class MigratorConformance:
    """Override the fixtures ``migrator`` and ``documents``; ``others``, ``foreign``, ``broken`` where there are such.

    Example:
        class TestAcmeMigrator(MigratorConformance):
            @pytest.fixture
            def migrator(self):
                return AcmeMigrator()

            @pytest.fixture
            def documents(self):
                return read_text("acme: 1", "acme.yaml")
    """

    @pytest.fixture
    def migrator(self) -> Migrator:
        raise NotImplementedError("override the fixture 'migrator'")

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        """Documents of the migrator's format; let some name modules, files and URLs, if the format can."""
        raise NotImplementedError("override the fixture 'documents'")

    @pytest.fixture
    def others(self) -> Sequence[SourceDocument]:
        """Files around them that are not migrated themselves (Python, included files)."""
        return ()

    @pytest.fixture
    def foreign(self) -> Sequence[SourceDocument]:
        """Documents of other formats."""
        return (
            SourceDocument(file="empty.yaml", text=""),
            SourceDocument(file="prose.txt", text="Once upon a time: there was [", data=None),
            SourceDocument(file="code.py", text="print(1)\n", data=None),
            SourceDocument(file="list.json", text="[1, 2]", data=[1, 2]),
            SourceDocument(file="number.json", text="5", data=5),
            SourceDocument(file="compose.yaml", text="services: {}", data={"services": {"web": {"image": "nginx"}}}),
        )

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        """Documents of the migrator's format with errors in them, each wrong by itself."""
        return ()

    @pytest.fixture
    def registry(self) -> KindRegistry:
        """The kinds that the output may have; default: those of the installed plugins."""
        from kastra_core.plugins import PluginManager
        from kastra_core.runtime import registry_of

        return registry_of(PluginManager())

    @pytest.fixture
    def source(self, documents: Sequence[SourceDocument], others: Sequence[SourceDocument]) -> MemorySource:
        assert documents, "give at least one document"
        return MemorySource(documents, others)

    def test_it_is_a_migrator(self, migrator: Migrator) -> None:
        assert isinstance(migrator, Migrator)

    def test_confidence_lies_between_0_and_1_and_is_the_same_twice(
        self, migrator: Migrator, documents: Sequence[SourceDocument], foreign: Sequence[SourceDocument]
    ) -> None:
        for document in (*documents, *foreign):
            confidence = migrator.detect(document)
            assert 0 <= confidence <= 1
            assert migrator.detect(document) == confidence

    def test_its_own_documents_are_told_from_others(
        self, migrator: Migrator, documents: Sequence[SourceDocument], foreign: Sequence[SourceDocument]
    ) -> None:
        least = min(migrator.detect(document) for document in documents)
        assert least > 0
        assert all(migrator.detect(document) < least for document in foreign)

    def test_the_same_documents_give_the_same_result_and_are_not_changed(
        self, migrator: Migrator, source: MemorySource
    ) -> None:
        before = copy.deepcopy([document.data for document in source.documents])
        first = migrator.migrate(source)
        assert migrator.migrate(source) == first
        assert [document.data for document in source.documents] == before

    def test_every_key_of_the_source_has_a_row(self, migrator: Migrator, source: MemorySource) -> None:
        result = migrator.migrate(source)
        for document in source.documents:
            assert uncovered_keys(document, result) == []

    def test_rows_say_where_and_why(self, migrator: Migrator, source: MemorySource) -> None:
        files = {document.file for document in source.documents}
        for row in migrator.migrate(source).rows:
            assert row.file
            assert row.line >= (1 if row.file in files and row.outcome == "mapped" else 0)
            assert row.outcome in _OUTCOMES
            assert row.key or row.outcome in ("defaulted", "manual")
            assert row.target or row.outcome != "mapped", f"{row.key}: mapped, but where to?"
            assert row.reason or row.outcome == "mapped", f"{row.key}: {row.outcome}, but why?"

    def test_what_is_called_mapped_makes_a_difference(
        self, migrator: Migrator, documents: Sequence[SourceDocument], others: Sequence[SourceDocument]
    ) -> None:
        assert [f"{row.file}:{row.line} {row.key}" for row in idle_rows(migrator, documents, others)] == []

    def test_the_output_could_be_applied_and_has_no_twins(
        self, migrator: Migrator, source: MemorySource, registry: KindRegistry
    ) -> None:
        result = migrator.migrate(source)
        assert result.resources, "the documents became nothing"
        assert orjson.loads(orjson.dumps(list(result.resources))) == list(result.resources)
        decode_documents(registry, parse(dump(result.resources)), unknown_fields="strict")

    def test_offered_files_are_python_that_compiles_or_text(self, migrator: Migrator, source: MemorySource) -> None:
        for path, text in migrator.migrate(source).files.items():
            assert not path.startswith(("/", "..")), path
            if path.endswith(".py"):
                compile(text, path, "exec")

    def test_a_broken_document_gives_its_problems_with_their_file(
        self, migrator: Migrator, broken: Sequence[SourceDocument], others: Sequence[SourceDocument]
    ) -> None:
        for document in broken:
            assert migrator.detect(document) > 0, f"{document.file} is not recognised, so nobody says what is wrong"
            with pytest.raises(ManifestError) as caught:
                migrator.migrate(MemorySource([document], others))
            assert caught.value.problems
            assert all(problem.file for problem in caught.value.problems)

    def test_nothing_that_a_document_names_is_imported_run_or_fetched(
        self, migrator: Migrator, source: MemorySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            raise AssertionError(f"a migrator must not reach out: {args} {kwargs}")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
        watcher = _Imports()
        monkeypatch.setattr(sys, "meta_path", [watcher, *sys.meta_path])
        own = type(migrator).__module__.partition(".")[0]
        for document in source.documents:
            migrator.detect(document)
        migrator.migrate(source)
        words = set(re.findall(r"\w+", " ".join(document.text for document in source.documents)))
        roots = {name.partition(".")[0] for name in watcher.names} - {own, "kastra_core"} - sys.stdlib_module_names
        assert not roots & words, f"imported {sorted(roots & words)}"
