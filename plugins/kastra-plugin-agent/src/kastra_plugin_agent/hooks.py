"""Hook implementations of kastra-plugin-agent."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration, OperationRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="Agent",
        plural="agents",
        short_names=("ag",),
        description="A model with instructions and tools that answers, in conversations that are kept.",
        spec_type="kastra_plugin_agent.spec:AgentSpec",
        validate="kastra_plugin_agent.rules:validate",
        references="kastra_plugin_agent.rules:references",
        list_map_keys={"spec.tools": ("name",)},
        printer_columns=(
            PrinterColumn(name="MODEL", json_path=".status.model"),
            PrinterColumn(name="TOOLS", json_path=".status.tools", type="integer"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="REASON", json_path='.status.conditions[?(@.type=="Ready")].reason'),
            PrinterColumn(name="MEMORY", json_path=".status.memory", priority=1),
            PrinterColumn(name="REPLICAS", json_path=".status.replicas", type="integer", priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
        runner="kastra_plugin_agent.runner:AgentRunner",
        handle="kastra_plugin_agent.handle:AgentHandle",
        deletion="kastra_plugin_agent.working:deletion",
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(name="agent", kind="Agent", factory="kastra_plugin_agent.controller:AgentController")


@hookimpl
def kastra_operations() -> Iterable[OperationRegistration]:
    recall = "kastra_plugin_agent.memory_recall"
    yield OperationRegistration(name="memory.recall", handler=f"{recall}:recall", counts_as="embedding")
    yield OperationRegistration(name="memory.embed", handler=f"{recall}:embed", counts_as="embedding")
    summary = "kastra_plugin_agent.memory_summary"
    yield OperationRegistration(name="memory.summary", handler=f"{summary}:present")
    yield OperationRegistration(name="memory.summarised", handler=f"{summary}:keep")
    yield OperationRegistration(name="memory.transcript", handler=f"{summary}:transcript")
    # What a model calls counts as a call of a tool, whoever carries it out.
    core = "kastra_core.execution.operations"
    yield OperationRegistration(name="memory.update", handler="kastra_plugin_agent.working:update", counts_as="tool")
    yield OperationRegistration(name="agent.state_get", handler=f"{core}:state_get", counts_as="tool")
    yield OperationRegistration(name="agent.state_set", handler=f"{core}:state_update", counts_as="tool")
