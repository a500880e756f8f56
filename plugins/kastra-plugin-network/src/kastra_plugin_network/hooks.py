"""Hook implementations of kastra-plugin-network."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration, OperationRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="Network",
        plural="networks",
        short_names=("net",),
        description="Agents, workflows, tools and networks that a router calls in turn until a request is answered.",
        spec_type="kastra_plugin_network.spec:NetworkSpec",
        validate="kastra_plugin_network.rules:validate",
        references="kastra_plugin_network.rules:references",
        list_map_keys={f"spec.{name}": ("name",) for name in ("agents", "workflows", "tools", "networks")},
        printer_columns=(
            PrinterColumn(name="MEMBERS", json_path=".status.members", type="integer"),
            PrinterColumn(name="ROUTER", json_path=".status.router"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="REASON", json_path='.status.conditions[?(@.type=="Ready")].reason'),
            PrinterColumn(name="MODEL", json_path=".status.routerModel", priority=1),
            PrinterColumn(name="STATE", json_path=".status.state", priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
        runner="kastra_plugin_network.runner:NetworkRunner",
        handle="kastra_plugin_network.handle:NetworkHandle",
        # spec.router.maxSteps bounds the loop.
        default_limits={"maxSteps": None},
        graph="kastra_plugin_network.graph:graph_of",
        deletion="kastra_plugin_network.state:deletion",
        acyclic=True,
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(
        name="network", kind="Network", factory="kastra_plugin_network.controller:NetworkController"
    )


@hookimpl
def kastra_operations() -> Iterable[OperationRegistration]:
    yield OperationRegistration(
        name="router.embedding", handler="kastra_plugin_network.operations:embedding", counts_as="embedding"
    )
    yield OperationRegistration(name="network.plan", handler="kastra_plugin_network.operations:plan")
