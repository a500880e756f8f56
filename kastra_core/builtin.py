"""What the core itself offers, by the same hooks as a plugin: Run, Event, the memory store, the model operations."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import OperationRegistration, StoreRegistration

__all__ = ["EVENT", "RUN"]

_AGE = PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date")

RUN = ResourceKind(
    kind="Run",
    plural="runs",
    categories=(),
    ephemeral=True,
    deletion="kastra_core.execution.children:deletion",
    description="One execution of an agent, a tool or another executable resource.",
    printer_columns=(
        PrinterColumn(name="KIND", json_path=".spec.target.kind", priority=1),
        PrinterColumn(name="TARGET", json_path=".spec.target.name"),
        PrinterColumn(name="PHASE", json_path=".status.phase"),
        PrinterColumn(name="REASON", json_path=".status.reason"),
        PrinterColumn(name="DURATION", json_path=".status.durationS", type="seconds"),
        PrinterColumn(name="MODEL CALLS", json_path=".status.usage.modelCalls", type="integer", priority=1),
        PrinterColumn(name="TOOL CALLS", json_path=".status.usage.toolCalls", type="integer", priority=1),
        PrinterColumn(name="THREAD", json_path=".spec.thread", priority=1),
        PrinterColumn(name="PARENT", json_path='.metadata.ownerReferences[?(@.kind=="Run")].name', priority=1),
        PrinterColumn(name="WORKER", json_path=".status.worker", priority=1),
        _AGE,
    ),
)

EVENT = ResourceKind(
    kind="Event",
    plural="events",
    short_names=("ev",),
    categories=(),
    ephemeral=True,
    description="Something worth knowing that happened to a resource.",
    printer_columns=(
        PrinterColumn(name="TYPE", json_path=".spec.type"),
        PrinterColumn(name="REASON", json_path=".spec.reason"),
        PrinterColumn(name="OBJECT", json_path=".spec.object"),
        PrinterColumn(name="COUNT", json_path=".spec.count", type="integer"),
        PrinterColumn(name="MESSAGE", json_path=".spec.message"),
        PrinterColumn(name="LAST", json_path=".spec.lastTimestamp", type="date"),
    ),
)


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    return (RUN, EVENT)


@hookimpl
def kastra_stores() -> Iterable[StoreRegistration]:
    return (
        StoreRegistration(name="memory", schemes=("memory",), factory="kastra_core.memory_store:open_memory_store"),
    )


@hookimpl
def kastra_operations() -> Iterable[OperationRegistration]:
    return (
        OperationRegistration(name="model.chat", handler="kastra_core.execution.operations:chat", counts_as="model"),
        OperationRegistration(
            name="model.embed", handler="kastra_core.execution.operations:embed", counts_as="embedding"
        ),
        OperationRegistration(name="state.get", handler="kastra_core.execution.operations:state_get"),
        OperationRegistration(name="state.update", handler="kastra_core.execution.operations:state_update"),
    )
