"""Hook implementations of kastra-plugin-system."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="System",
        plural="systems",
        short_names=("sys",),
        description="The agents, tools, workflows and networks of one application, as one resource.",
        spec_type="kastra_plugin_system.spec:SystemSpec",
        validate="kastra_plugin_system.rules:validate",
        references="kastra_plugin_system.rules:references",
        resolve="kastra_plugin_system.files:resolve",
        embedded="kastra_plugin_system.rules:embedded",
        graph="kastra_plugin_system.graph:graph_of",
        handle="kastra_plugin_system.handle:SystemHandle",
        list_map_keys={
            "spec.agents": ("name",),
            "spec.tools": ("name",),
            "spec.workflows": ("name",),
            "spec.networks": ("name",),
        },
        printer_columns=(
            PrinterColumn(name="RESOURCES", json_path=".status.summary"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="REASON", json_path='.status.conditions[?(@.type=="Ready")].reason'),
            PrinterColumn(
                name="APPLIED", json_path='.status.conditions[?(@.type=="ResourcesApplied")].status', priority=1
            ),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(
        name="system", kind="System", factory="kastra_plugin_system.controller:SystemController"
    )
