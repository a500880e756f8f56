"""Hook implementations of kastra-plugin-docker-agent."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="docker-agent",
        factory="kastra_plugin_docker_agent.migrator:DockerAgentMigrator",
        description="docker-agent (cagent) teams: YAML with agents, models and toolsets, of all versions.",
    )
