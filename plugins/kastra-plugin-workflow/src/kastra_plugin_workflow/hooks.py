"""Hook implementations of kastra-plugin-workflow."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="Workflow",
        plural="workflows",
        short_names=("wf",),
        description="Agents, tools and operations as steps of a declared graph, carried out durably.",
        spec_type="kastra_plugin_workflow.spec:WorkflowSpec",
        validate="kastra_plugin_workflow.rules:validate",
        references="kastra_plugin_workflow.rules:references",
        list_map_keys={"spec.steps": ("id",)},
        printer_columns=(
            PrinterColumn(name="STEPS", json_path=".status.steps", type="integer"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="REASON", json_path='.status.conditions[?(@.type=="Ready")].reason'),
            PrinterColumn(name="SCHEDULE", json_path=".spec.schedule.cron", priority=1),
            PrinterColumn(name="LAST RUN", json_path=".status.lastScheduleTime", type="date", priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
        runner="kastra_plugin_workflow.runner:WorkflowRunner",
        handle="kastra_plugin_workflow.handle:WorkflowHandle",
        check_signal="kastra_plugin_workflow.signals:check_signal",
        default_limits={"maxSteps": 10_000},
        graph="kastra_plugin_workflow.graph:graph_of",
        pinned_status=("inputSchema", "outputSchema"),
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(
        name="workflow",
        kind="Workflow",
        factory="kastra_plugin_workflow.controller:WorkflowController",
        periodic=True,
    )
