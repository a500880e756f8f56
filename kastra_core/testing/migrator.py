"""What every migrator must keep to: subclass :class:`MigratorConformance` in a plugin's test suite."""

from __future__ import annotations

import copy
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

import orjson
import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import ManifestError
from kastra_core.protocols.migrator import MigrationResult, Migrator, SourceDocument

__all__ = ["MigratorConformance", "keys_of", "uncovered_keys"]

_OUTCOMES = ("mapped", "defaulted", "dropped", "manual")
_PART = re.compile(r"[^.\[\]]+")


def keys_of(data: Any, path: str = "") -> Iterator[str]:
    """Paths of all leaves of a document: ``agents.chef.tools[0]``; an empty object or list is a leaf."""
    below: Iterator[tuple[str, Any]] = iter(())
    if isinstance(data, Mapping):
        below = ((f"{path}.{key}" if path else str(key), item) for key, item in data.items())
    elif isinstance(data, list):
        below = ((f"{path}[{index}]", item) for index, item in enumerate(data))
    found = False
    for at, item in below:
        found = True
        yield from keys_of(item, at)
    if not found and path:
        yield path


def uncovered_keys(document: SourceDocument, result: MigrationResult) -> list[str]:
    """Leaves of a document for which no row speaks; a row speaks for its key and all below it."""
    told = {tuple(_PART.findall(row.key)) for row in result.rows}
    missing = []
    for key in keys_of(document.data):
        parts = tuple(_PART.findall(key))
        if not any(parts[:count] in told for count in range(1, len(parts) + 1)):
            missing.append(key)
    return missing


class _Imports(MetaPathFinder):
    """Notes what is imported for the first time."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        self.names.append(fullname)
        return None


class MigratorConformance:
    """Override the fixtures ``migrator`` and ``documents``, and ``foreign``, ``broken`` where there are such.

    Example:
        class TestAcmeMigrator(MigratorConformance):
            @pytest.fixture
            def migrator(self):
                return AcmeMigrator()

            @pytest.fixture
            def documents(self):
                text = "acme: 1"
                return [SourceDocument(file="acme.yaml", text=text, data={"acme": 1}, lines={"acme": 1})]
    """

    @pytest.fixture
    def migrator(self) -> Migrator:
        raise NotImplementedError("override the fixture 'migrator'")

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        """Documents of the migrator's format; let some name modules, files and URLs, if the format can."""
        raise NotImplementedError("override the fixture 'documents'")

    @pytest.fixture
    def foreign(self) -> Sequence[SourceDocument]:
        """Documents of other formats."""
        return (
            SourceDocument(file="empty.yaml", text=""),
            SourceDocument(file="prose.txt", text="Once upon a time: there was [", data=None),
            SourceDocument(file="list.json", text="[1, 2]", data=[1, 2]),
            SourceDocument(file="number.json", text="5", data=5),
        )

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        """Documents of the migrator's format with errors in them."""
        return ()

    @pytest.fixture
    def registry(self) -> KindRegistry:
        """The kinds that the output may have; default: those of the installed plugins."""
        from kastra_core.plugins import PluginManager
        from kastra_core.runtime import registry_of

        return registry_of(PluginManager())

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
        assert documents, "give at least one document"
        least = min(migrator.detect(document) for document in documents)
        assert least > 0
        assert all(migrator.detect(document) < least for document in foreign)

    def test_the_same_document_gives_the_same_result_and_is_not_changed(
        self, migrator: Migrator, documents: Sequence[SourceDocument]
    ) -> None:
        for document in documents:
            before = copy.deepcopy(document.data)
            first = migrator.migrate(document)
            assert migrator.migrate(document) == first
            assert document.data == before

    def test_every_key_of_the_source_has_a_row(self, migrator: Migrator, documents: Sequence[SourceDocument]) -> None:
        for document in documents:
            assert uncovered_keys(document, migrator.migrate(document)) == []

    def test_rows_say_where_and_why(self, migrator: Migrator, documents: Sequence[SourceDocument]) -> None:
        for document in documents:
            for row in migrator.migrate(document).rows:
                assert row.file == document.file
                assert row.line >= 0
                assert row.outcome in _OUTCOMES
                assert row.key or row.outcome == "defaulted"
                assert row.target or row.outcome != "mapped", f"{row.key}: mapped, but where to?"
                assert row.reason or row.outcome == "mapped", f"{row.key}: {row.outcome}, but why?"

    def test_the_output_can_be_decoded_and_has_no_twins(
        self, migrator: Migrator, documents: Sequence[SourceDocument], registry: KindRegistry
    ) -> None:
        for document in documents:
            result = migrator.migrate(document)
            assert result.resources, f"{document.file} became nothing"
            keys = [decode(registry, manifest).resource.key for manifest in result.resources]
            assert len(keys) == len(set(keys))
            assert orjson.loads(orjson.dumps(list(result.resources))) == list(result.resources)

    def test_a_broken_document_gives_all_its_problems(
        self, migrator: Migrator, broken: Sequence[SourceDocument]
    ) -> None:
        for document in broken:
            with pytest.raises(ManifestError) as caught:
                migrator.migrate(document)
            assert caught.value.problems
            assert all(problem.file in ("", document.file) for problem in caught.value.problems)

    def test_nothing_that_a_document_names_is_imported_run_or_fetched(
        self, migrator: Migrator, documents: Sequence[SourceDocument], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            raise AssertionError(f"a migrator must not reach out: {args} {kwargs}")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
        watcher = _Imports()
        monkeypatch.setattr(sys, "meta_path", [watcher, *sys.meta_path])
        own = type(migrator).__module__.partition(".")[0]
        for document in documents:
            watcher.names.clear()
            migrator.detect(document)
            migrator.migrate(document)
            words = set(re.findall(r"\w+", document.text))
            roots = {name.partition(".")[0] for name in watcher.names} - {own, "kastra_core"} - sys.stdlib_module_names
            assert not roots & words, f"{document.file}: imported {sorted(roots & words)}"
