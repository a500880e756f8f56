"""Hook implementations of kastra-plugin-agentspec."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="agentspec",
        factory="kastra_plugin_agentspec.migrator:AgentSpecMigrator",
        exporter="kastra_plugin_agentspec.exporter:AgentSpecExporter",
        description="Open Agent Spec 25.4.1 to 26.2.0, YAML and JSON",
    )
