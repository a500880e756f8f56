"""Hook implementations of kastra-plugin-tool."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration, OperationRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="Tool",
        plural="tools",
        short_names=("to",),
        description="A Python function or an HTTP endpoint that agents, workflows and people can call.",
        spec_type="kastra_plugin_tool.spec:ToolSpec",
        validate="kastra_plugin_tool.rules:validate",
        printer_columns=(
            PrinterColumn(name="TYPE", json_path=".spec.type"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="REASON", json_path='.status.conditions[?(@.type=="Ready")].reason'),
            PrinterColumn(name="TARGET", json_path=".status.target", priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
        runner="kastra_plugin_tool.runner:ToolRunner",
        handle="kastra_plugin_tool.handle:ToolHandle",
        pinned_status=("inputSchema", "outputSchema", "description"),
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(name="tool", kind="Tool", factory="kastra_plugin_tool.controller:ToolController")


@hookimpl
def kastra_operations() -> Iterable[OperationRegistration]:
    yield OperationRegistration(name="tool.invoke", handler="kastra_plugin_tool.operation:invoke", counts_as="tool")
