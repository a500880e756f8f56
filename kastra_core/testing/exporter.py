"""What every exporter must keep to: subclass :class:`ExporterConformance` in a plugin's test suite."""

from __future__ import annotations

import copy
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NoReturn

import orjson
import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ValidationError
from kastra_core.manifests import parse
from kastra_core.migration import MemorySource, key_path, read_text
from kastra_core.protocols.migrator import Exporter, ExportResult, Migrator
from kastra_core.testing._leaves import another, leaves_of, with_value

__all__ = ["ExporterConformance"]

_OUTCOMES = ("mapped", "defaulted", "dropped", "manual")
_PART = re.compile(r"[^.\[\]]+")
_MOST_CHANGES = 40
"""Fields that are changed one by one."""


def _label(manifest: JsonObject) -> str:
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {metadata.get('namespace') or 'default'}/{metadata['name']}"


class ExporterConformance:
    """Override the fixtures ``exporter`` and ``manifests``; ``invalid`` and ``migrator`` where there are such.

    Example:
        class TestAcmeExporter(ExporterConformance):
            @pytest.fixture
            def exporter(self):
                return AcmeExporter()

            @pytest.fixture
            def manifests(self):
                return [{"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "greeter"},
                         "spec": {"instructions": "Say hello.", "model": "openai/gpt-4o-mini"}}]

            @pytest.fixture
            def migrator(self):
                return AcmeMigrator()
    """

    @pytest.fixture
    def exporter(self) -> Exporter:
        raise NotImplementedError("override the fixture 'exporter'")

    @pytest.fixture
    def manifests(self) -> Sequence[JsonObject]:
        """Resources of all kinds that have a form there, with as many fields as can be."""
        raise NotImplementedError("override the fixture 'manifests'")

    @pytest.fixture
    def invalid(self) -> Sequence[Sequence[JsonObject]]:
        """Lists of resources that have no form there."""
        return ()

    @pytest.fixture
    def migrator(self) -> Migrator | None:
        """Reads the format, where the plugin can do that too."""
        return None

    @pytest.fixture
    def result(self, exporter: Exporter, manifests: Sequence[JsonObject]) -> ExportResult:
        assert manifests, "give at least one resource"
        return exporter.export(manifests)

    def test_it_is_an_exporter(self, exporter: Exporter) -> None:
        assert isinstance(exporter, Exporter)

    def test_the_same_resources_give_the_same_files_and_are_not_changed(
        self, exporter: Exporter, manifests: Sequence[JsonObject]
    ) -> None:
        before = copy.deepcopy(list(manifests))
        first = exporter.export(manifests)
        assert exporter.export(copy.deepcopy(list(manifests))) == first
        assert list(manifests) == before, "it changed the resources"

    def test_files_stay_in_the_directory_and_hold_text(self, result: ExportResult) -> None:
        assert result.files, "the resources became no file"
        for path, text in result.files.items():
            parts = PurePosixPath(path).parts
            assert path, "a file without a name"
            assert not PurePosixPath(path).is_absolute(), f"{path!r} is absolute"
            assert ".." not in parts, f"{path!r} leads out of the directory"
            assert "\\" not in path, f"{path!r} is a path of one system only"
            assert text.strip(), f"{path} is empty"

    def test_yaml_and_json_can_be_read_again(self, exporter: Exporter, manifests: Sequence[JsonObject]) -> None:
        written = {word: exporter.export(manifests, format=word).files for word in ("yaml", "json")}
        assert len(written["yaml"]) == len(written["json"])
        for path, text in written["json"].items():
            if path.endswith(".json"):
                orjson.loads(text)
        for path, text in written["yaml"].items():
            if path.endswith((".yaml", ".yml")):
                assert read_text(text, path), path
                assert parse(text) is not None

    def test_another_format_is_refused(self, exporter: Exporter, manifests: Sequence[JsonObject]) -> None:
        with pytest.raises(ValidationError):
            exporter.export(manifests, format="no-such-format")

    def test_every_field_of_a_resource_has_a_row(self, manifests: Sequence[JsonObject], result: ExportResult) -> None:
        for manifest in manifests:
            label = _label(manifest)
            told = {tuple(_PART.findall(row.key)) for row in result.rows if row.file == label}
            keys = [key_path(path) for path, _ in leaves_of(manifest)]
            parts = {key: tuple(_PART.findall(key)) for key in keys}
            missing = [key for key in keys if not any(parts[key][:count] in told for count in range(1, 99))]
            assert missing == [], f"no row of {label!r} says what became of these"

    def test_rows_say_where_and_why(self, result: ExportResult) -> None:
        for row in result.rows:
            assert row.outcome in _OUTCOMES
            assert row.file, f"{row.key}: of which resource?"
            assert row.target or row.outcome != "mapped", f"{row.file} {row.key}: mapped, but where to?"
            assert row.reason or row.outcome == "mapped", f"{row.file} {row.key}: {row.outcome}, but why?"

    def test_what_is_called_mapped_makes_a_difference(
        self, exporter: Exporter, manifests: Sequence[JsonObject], result: ExportResult
    ) -> None:
        told = {(row.file, row.key) for row in result.rows if row.outcome == "mapped"}
        fields = [
            (at, path, value)
            for at, manifest in enumerate(manifests)
            for path, value in leaves_of(manifest)
            if (_label(manifest), key_path(path)) in told and path[0] == "spec"
            if isinstance(value, (str, int, float))
        ]
        idle = []
        for at, path, value in fields[:: len(fields) // _MOST_CHANGES + 1]:
            changed = [*manifests[:at], with_value(manifests[at], path, another(value)), *manifests[at + 1 :]]
            try:
                files = exporter.export(changed).files
            except ValidationError:
                continue
            if files == result.files:
                idle.append(f"{_label(manifests[at])} {key_path(path)}")
        assert idle == [], "another value at these fields makes the same files"

    def test_what_has_no_form_there_is_refused_with_a_reason(
        self, exporter: Exporter, invalid: Sequence[Sequence[JsonObject]]
    ) -> None:
        for manifests in invalid:
            with pytest.raises(ValidationError) as caught:
                exporter.export(manifests)
            assert caught.value.problems
            assert all(problem.message for problem in caught.value.problems)

    def test_what_it_writes_is_read_as_the_same_resources(
        self, migrator: Migrator | None, manifests: Sequence[JsonObject], result: ExportResult
    ) -> None:
        if migrator is None:
            return  # nobody reads the format
        documents = [document for path, text in result.files.items() for document in read_text(text, path)]
        unknown = [document.file for document in documents if migrator.detect(document) <= 0]
        assert unknown == [], "the migrator does not know these files for its own"
        found = {_label(resource) for resource in migrator.migrate(MemorySource(documents)).resources}
        missing = [_label(manifest) for manifest in manifests if _label(manifest) not in found]
        assert missing == [], f"these do not come back; there are {sorted(found)}"

    def test_nothing_is_run_or_fetched(
        self, exporter: Exporter, manifests: Sequence[JsonObject], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            raise AssertionError(f"an exporter must not reach out: {args} {kwargs}")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
        exporter.export(manifests)
