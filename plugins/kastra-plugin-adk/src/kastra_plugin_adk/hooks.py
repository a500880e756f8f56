"""Hook implementations of kastra-plugin-adk."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="adk",
        factory="kastra_plugin_adk.migrator:AdkMigrator",
        description="Google ADK agent configuration (root_agent.yaml and the files that it names)",
    )
