"""A plugin for the tests of ``kastra migrate``: a workshop's list of machines becomes Widgets, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kastra_core import hookimpl
from kastra_core.manifests import dump
from kastra_core.migration import Report
from kastra_core.protocols.migrator import (
    ExportResult,
    MigrationResult,
    MigrationRow,
    MigrationSource,
    SourceDocument,
)
from kastra_core.registrations import MigratorRegistration

API_VERSION = "acme.example/v1"
CODED = 77
"""Length of old widgets that had code of their own."""


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="workshop",
        factory="acme_workshop:WorkshopMigrator",
        description="Acme workshops (workshop.yaml)",
        exporter="acme_workshop:WorkshopExporter",
    )
    yield MigratorRegistration(
        name="old-widgets", factory="acme_workshop:OldWidgets", api_versions=("acme.example/v0", "acme/v0")
    )


class WorkshopMigrator:
    """``workshop: NAME`` with ``machines: {NAME: {size, color, key, code, note}}`` and ``include: [PATH]``."""

    def detect(self, document: SourceDocument) -> float:
        return 0.9 if isinstance(document.data, dict) and "workshop" in document.data else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        seen: set[tuple[str, int]] = set()
        todo = list(source.documents)
        while todo:
            document = todo.pop(0)
            if (document.file, document.index) in seen:
                continue
            seen.add((document.file, document.index))
            root = report.read(document)
            if root["fault"]:
                raise RuntimeError("the gears jam")
            for item in root["include"].items():
                todo += source.read(item.text(), document)
                item.mapped("Widget", "read along")
            for name, node in root["machines"].fields():
                draft = report.draft("Widget", name, api_version=API_VERSION)
                node["size"].to(draft, "spec.size")
                node["color"].to(draft, "spec.color")
                node["needs"].to(draft, "spec.needs")
                node["key"].secret(draft, "metadata.annotations.key")
                if node["key"]:
                    draft.set("metadata.annotations.key", "by reference")
                if node["code"]:
                    draft.set("spec.note", report.stubs.add(name, origin=f"{document.file}:{node['code'].line}"))
                    node["code"].manual("write the function", draft)
                if not node["size"]:
                    draft.set("spec.size", 1)
                    node["size"].defaulted("a size is needed", draft.target("spec.size"))
                node["oil"].dropped("widgets run dry")
            root["workshop"].mapped("Widget", "says what this is")
        return report.result()


class WorkshopExporter:
    def export(self, resources: Sequence[Any], *, format: str = "yaml") -> ExportResult:
        machines = {one["metadata"]["name"]: {"size": one["spec"]["size"]} for one in resources}
        rows = [
            MigrationRow(file=f"Widget {name}", line=0, key="spec.note", outcome="dropped", reason="no notes there")
            for name in machines
        ]
        return ExportResult(files={"workshop.yaml": dump([{"workshop": "w", "machines": machines}])}, rows=rows)


class OldWidgets:
    """apiVersion acme.example/v0 and acme/v0: ``spec.length`` is what ``size`` is today."""

    def detect(self, document: SourceDocument) -> float:
        data = document.data
        return 0.95 if isinstance(data, dict) and str(data.get("apiVersion", "")).endswith("/v0") else 0.0

    def migrate(self, source: MigrationSource) -> MigrationResult:
        report = Report(source)
        for document in source.documents:
            root = report.read(document)
            name = root["metadata"]["name"].text()
            draft = report.draft(
                "Widget", name, namespace=root["metadata"]["namespace"].text(), api_version=API_VERSION
            )
            root["apiVersion"].to(draft, "apiVersion", API_VERSION)
            root["kind"].mapped(draft)
            root["metadata"].mapped(draft)
            if not isinstance(root["spec"]["length"].value, int):
                root["spec"]["length"].problem("expected a number of millimetres")
            root["spec"]["length"].to(draft, "spec.size")
            if root["spec"]["length"].value == CODED:
                draft.set("spec.note", report.stubs.add(name, origin="the old widget"))
        return report.result()
