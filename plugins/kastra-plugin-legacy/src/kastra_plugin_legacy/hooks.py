"""Hook implementations of kastra-plugin-legacy."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="legacy",
        factory="kastra_plugin_legacy.migrator:LegacyMigrator",
        description="Older Kastra formats: root files, MastraPods, resources of mastra/v1 and mastra.ai/v1alpha1.",
        api_versions=("mastra/v1", "mastra.ai/v1alpha1"),
    )
