"""The conformance suites pass what is right and catch what is wrong."""

# ruff: noqa: E501 - tables of cases read better in long lines
from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.api.meta import JsonObject, Resource
from kastra_core.api.references import Reference, parse_reference
from kastra_core.api.registry import KindRegistry
from kastra_core.migration import MemorySource, Report, read_text
from kastra_core.protocols.migrator import MigrationResult, MigrationSource, SourceDocument
from kastra_core.testing.kind import KindConformance, documented_fields
from kastra_core.testing.migrator import MigratorConformance, idle_rows, keys_of, uncovered_keys
from kastra_core.testing.plugin import PluginConformance, forbidden_imports


@attrs.frozen(kw_only=True)
class InnerSpec:
    """What is within."""

    depth: int = 0


@attrs.frozen(kw_only=True)
class GreetingSpec:
    text: str = "hello"
    """What is said."""
    to: str | None = None
    inner: InnerSpec | None = None


def polite(manifest: JsonObject) -> JsonObject:
    return {**manifest, "spec": {"text": "please", **manifest.get("spec", {})}}


def references(resource: Resource) -> Sequence[Reference]:
    to = resource.spec.get("to")
    return [parse_reference(to, kind="Agent", namespace=resource.metadata.namespace)] if to else []


GREETING = ResourceKind(
    kind="Greeting", plural="greetings", group="acme.example", description="Says hello.", spec_type=GreetingSpec,
    default=polite, references=references, printer_columns=(PrinterColumn(name="TEXT", json_path=".spec.text"),),
)  # fmt: skip


def greeting(**spec: Any) -> JsonObject:
    return {"apiVersion": "acme.example/v1", "kind": "Greeting", "metadata": {"name": "g"}, "spec": spec}


class TestAKind(KindConformance):
    self_explaining = frozenset({"GreetingSpec.to", "InnerSpec.depth"})

    @pytest.fixture
    def kind(self) -> ResourceKind:
        return GREETING

    @pytest.fixture
    def valid(self) -> Sequence[JsonObject]:
        return [greeting(), greeting(text="x", to="sales.bob", inner={"depth": 1})]

    @pytest.fixture
    def invalid(self) -> Sequence[tuple[JsonObject, str]]:
        return [(greeting(text=5), "spec.text")]


class LoudMigrator:
    """``shout: {name: text}`` to Greetings."""

    def detect(self, document: SourceDocument) -> float:
        return 0.9 if isinstance(document.data, dict) and "shout" in document.data else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        for document in source.documents:
            root = report.read(document)
            for name, node in root["shout"].fields():
                draft = report.draft("Greeting", name, api_version="acme.example/v1")
                node.to(draft, "spec.text", node.text())
            root["module"].dropped("not needed")
        return report.result()


DOCUMENT = read_text("shout:\n  a: x\n  b: y\nmodule: antigravity.fly\n", "a.yaml")[0]


class TestAMigrator(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> LoudMigrator:
        return LoudMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return [DOCUMENT]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        return read_text("shout: {a: [1]}", "broken.yaml")

    @pytest.fixture
    def registry(self) -> KindRegistry:
        found = KindRegistry()
        found.register(GREETING)
        return found


# ------------------------------------------------------------------------------------------ what is caught


@pytest.mark.parametrize(
    ("test", "change"),
    [
        ("names_are_spelt_as_names_of_kinds_are", {"plural": "Greetings"}),
        ("names_are_spelt_as_names_of_kinds_are", {"plural": "greeting"}),
        ("names_are_spelt_as_names_of_kinds_are", {"description": ""}),
        ("names_are_spelt_as_names_of_kinds_are", {"group": "acme"}),
        ("names_are_spelt_as_names_of_kinds_are", {"version": "1"}),
        ("printer_columns_have_paths_and_types_that_can_be_shown", {"printer_columns": (PrinterColumn(name="X", json_path="spec.x"),)}),
        ("printer_columns_have_paths_and_types_that_can_be_shown", {"printer_columns": (PrinterColumn(name="X", json_path=".spec", type="text"),)}),
        ("lazy_fields_lead_to_what_they_name", {"validate": 5}),
        ("lazy_fields_lead_to_what_they_name", {"spec_type": dict}),
    ],
)  # fmt: skip
def test_a_kind_with_a_fault_is_caught(test: str, change: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        getattr(TestAKind(), f"test_{test}")(attrs.evolve(GREETING, **change))


def test_a_kind_whose_lazy_name_leads_nowhere_is_caught() -> None:
    with pytest.raises(ImportError):
        TestAKind().test_lazy_fields_lead_to_what_they_name(attrs.evolve(GREETING, runner="not_there:Runner"))


def test_defaults_that_pile_up_are_caught() -> None:
    def piling(manifest: JsonObject) -> JsonObject:
        return {**manifest, "spec": {"text": manifest["spec"].get("text", "") + "!"}}

    with pytest.raises(AssertionError):
        TestAKind().test_defaults_filled_in_once_are_all(attrs.evolve(GREETING, default=piling), [greeting()])


def test_fields_without_texts_are_found_in_nested_classes() -> None:
    assert dict(documented_fields(GreetingSpec)) == {
        "GreetingSpec.text": True, "GreetingSpec.to": False, "GreetingSpec.inner": True, "InnerSpec.depth": False,
    }  # fmt: skip


def test_keys_without_a_row_are_found() -> None:
    document = attrs.evolve(DOCUMENT, data={**DOCUMENT.data, "list": [{"x": 1}], "empty": {}})
    assert list(keys_of(document.data)) == ["shout.a", "shout.b", "module", "list[0].x", "empty"]
    result = LoudMigrator().migrate(MemorySource([DOCUMENT]))
    assert uncovered_keys(document, result) == ["list[0].x", "empty"]


class IdleMigrator(LoudMigrator):
    """Says mapped of what it throws away."""

    def migrate(self, source: MigrationSource) -> MigrationResult:
        result = super().migrate(source)
        return attrs.evolve(
            result, rows=[attrs.evolve(row, outcome="mapped", target="Greeting default/a") for row in result.rows]
        )


def test_a_row_that_says_mapped_of_what_makes_no_difference_is_caught() -> None:
    assert idle_rows(LoudMigrator(), [DOCUMENT]) == []
    assert [row.key for row in idle_rows(IdleMigrator(), [DOCUMENT])] == ["module"]


class ImportingMigrator(LoudMigrator):
    def migrate(self, source: MigrationSource) -> MigrationResult:
        __import__("kastra_conformance_probe")
        return super().migrate(source)


class FetchingMigrator(LoudMigrator):
    def migrate(self, source: MigrationSource) -> MigrationResult:
        import socket

        with socket.socket() as connection:
            connection.connect(("127.0.0.1", 9))
        return super().migrate(source)


def test_a_migrator_that_imports_what_a_document_names_is_caught(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "kastra_conformance_probe.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    document = attrs.evolve(DOCUMENT, text="module: kastra_conformance_probe.x")
    suite = TestAMigrator()
    check = suite.test_nothing_that_a_document_names_is_imported_run_or_fetched
    try:
        with pytest.raises(AssertionError, match="kastra_conformance_probe"):
            check(ImportingMigrator(), MemorySource([document]), monkeypatch)
    finally:
        sys.modules.pop("kastra_conformance_probe", None)


def test_a_migrator_that_reaches_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check = TestAMigrator().test_nothing_that_a_document_names_is_imported_run_or_fetched
    with pytest.raises(AssertionError, match="must not reach out"):
        check(FetchingMigrator(), MemorySource([DOCUMENT]), monkeypatch)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import kastra_core", []), ("from kastra_core.plugins import PluginManager", []), ("from . import _x", []),
        ("from kastra_core.testing._store import x", ["line 1: kastra_core.testing._store.x"]),
        ("from kastra_core.serde import _make", ["line 1: kastra_core.serde._make"]),
        ("import kastra_core._x", ["line 1: kastra_core._x"]),
        ("def f():\n    import other_plugin.x", ["line 2: other_plugin.x"]),
    ],
)  # fmt: skip
def test_forbidden_imports_are_found_wherever_they_stand(source: str, found: list[str]) -> None:
    assert list(forbidden_imports(source, others=frozenset({"other_plugin"}))) == found


def test_a_plugin_that_is_not_installed_is_caught() -> None:
    class Missing(PluginConformance):
        entry_point = "no-such-plugin"

    with pytest.raises(AssertionError, match="installed are"):
        Missing().test_it_is_installed_with_an_entry_point()
