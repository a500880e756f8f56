"""Hook implementations of kastra-plugin-retention."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="RetentionPolicy",
        plural="retentionpolicies",
        short_names=("retention", "rp"),
        namespaced=False,
        description="How long finished runs, events and threads are kept, and how many of them.",
        spec_type="kastra_plugin_retention.spec:RetentionPolicySpec",
        validate="kastra_plugin_retention.rules:validate",
        printer_columns=(
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="ENFORCED", json_path='.status.conditions[?(@.type=="Enforced")].status'),
            PrinterColumn(name="RUNS", json_path=".status.remaining.runs", type="integer", description="What remains."),
            PrinterColumn(name="EVENTS", json_path=".status.remaining.events", type="integer"),
            PrinterColumn(name="THREADS", json_path=".status.remaining.threads", type="integer"),
            PrinterColumn(
                name="REMOVED", json_path=".status.removed.total", type="integer", description="By all passes so far."
            ),
            PrinterColumn(name="LAST RUN", json_path=".status.lastRunTime", type="date"),
            PrinterColumn(name="DRY RUN", json_path=".spec.dryRun", type="boolean", priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(
        name="retention",
        kind="RetentionPolicy",
        factory="kastra_plugin_retention.controller:RetentionController",
        periodic=True,
    )
