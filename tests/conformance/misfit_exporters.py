"""Exporters that break one promise each, in their suites.

Not collected by itself: ``test_misfits`` runs it. ``breaks`` says which tests must find what is wrong; with ``exactly``
no other test may fail.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import attrs
import pytest

from good_parts import GreetingExporter
from kastra_core.api.meta import JsonObject
from kastra_core.protocols.migrator import ExportResult, MigrationRow
from test_good_parts import TestExporter as GoodExporter

_COUNTER = itertools.count()


class _Exporter(GoodExporter, GreetingExporter):
    """The suite and what it tests in one."""

    breaks: ClassVar[frozenset[str]] = frozenset()
    exactly: ClassVar[bool] = True

    @pytest.fixture
    def exporter(self) -> Any:
        return self

    def changed(self, result: ExportResult) -> ExportResult:
        return result

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        return self.changed(super().export(resources, format=format))


class TestPathThatLeadsOut(_Exporter):
    breaks = frozenset({"test_files_stay_in_the_directory_and_hold_text"})

    def changed(self, result: ExportResult) -> ExportResult:
        return attrs.evolve(result, files={f"../{path}": text for path, text in result.files.items()})


class TestAbsolutePath(_Exporter):
    breaks = frozenset({"test_files_stay_in_the_directory_and_hold_text"})

    def changed(self, result: ExportResult) -> ExportResult:
        return attrs.evolve(result, files={f"/{path}": text for path, text in result.files.items()})


class TestFileThatIsNoYaml(_Exporter):
    breaks = frozenset({"test_yaml_and_json_can_be_read_again"})
    exactly = False

    def changed(self, result: ExportResult) -> ExportResult:
        return attrs.evolve(result, files={path: f"[{text}" for path, text in result.files.items()})


class TestDifferentEachTime(_Exporter):
    breaks = frozenset({"test_the_same_resources_give_the_same_files_and_are_not_changed"})

    def changed(self, result: ExportResult) -> ExportResult:
        marks = {path: f"# {next(_COUNTER)}\n{text}" for path, text in result.files.items() if path.endswith(".yaml")}
        return attrs.evolve(result, files={**result.files, **marks})


class TestResourcesThatItChanges(_Exporter):
    breaks = frozenset({"test_the_same_resources_give_the_same_files_and_are_not_changed"})

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        result = super().export(resources, format=format)
        for resource in resources:
            resource["spec"].pop("note", None)
        return result


class TestAnyFormat(_Exporter):
    breaks = frozenset({"test_another_format_is_refused"})

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        return super().export(resources, format="json" if format == "json" else "yaml")


class _Rows(_Exporter):
    def row(self, row: MigrationRow) -> Iterable[MigrationRow]:
        return [row]

    def changed(self, result: ExportResult) -> ExportResult:
        return attrs.evolve(result, rows=[new for row in result.rows for new in self.row(row)])


class TestFieldWithoutRow(_Rows):
    breaks = frozenset({"test_every_field_of_a_resource_has_a_row"})

    def row(self, row: MigrationRow) -> Iterable[MigrationRow]:
        return [] if row.key == "spec.note" else [row]


class TestRowWithoutReason(_Rows):
    breaks = frozenset({"test_rows_say_where_and_why"})

    def row(self, row: MigrationRow) -> Iterable[MigrationRow]:
        return [attrs.evolve(row, reason="")]


class TestRowThatSaysMappedOfWhatIsDropped(_Rows):
    breaks = frozenset({"test_what_is_called_mapped_makes_a_difference"})

    def row(self, row: MigrationRow) -> Iterable[MigrationRow]:
        return [attrs.evolve(row, outcome="mapped", target="greetings")]


class TestAnyKind(_Exporter):
    breaks = frozenset({"test_what_has_no_form_there_is_refused_with_a_reason"})

    def export(self, resources: Sequence[JsonObject], *, format: str = "yaml") -> ExportResult:
        return super().export([{**resource, "kind": "Greeting"} for resource in resources], format=format)


class TestFilesThatNobodyReads(_Exporter):
    breaks = frozenset({"test_what_it_writes_is_read_as_the_same_resources"})

    def changed(self, result: ExportResult) -> ExportResult:
        return attrs.evolve(
            result, files={path: text.replace("greetings", "hellos") for path, text in result.files.items()}
        )


class TestResourceThatIsLost(_Exporter):
    breaks = frozenset({"test_what_it_writes_is_read_as_the_same_resources"})

    def changed(self, result: ExportResult) -> ExportResult:
        return attrs.evolve(
            result, files={path: text.replace("b:", "c:").replace('"b"', '"c"') for path, text in result.files.items()}
        )


class TestExporterThatFetches(_Exporter):
    breaks = frozenset({"test_nothing_is_run_or_fetched"})

    def changed(self, result: ExportResult) -> ExportResult:
        socket.getaddrinfo("127.0.0.1", 9)
        return result
