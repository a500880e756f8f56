"""Hook implementations of kastra-plugin-crewai."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="crewai",
        factory="kastra_plugin_crewai.migrator:CrewAiMigrator",
        description="CrewAI: agents.yaml, tasks.yaml, crew.py (read, never imported), crew.jsonc, declarative flows.",
    )
