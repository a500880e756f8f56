"""Hook implementations of kastra-plugin-agent-framework."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="agent-framework",
        factory="kastra_plugin_agent_framework.migrator:AgentFrameworkMigrator",
        description="Microsoft Agent Framework: declarative agents (kind: Prompt) and workflows",
    )
