"""Hook implementations of kastra-plugin-kagent."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import MigratorRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="kagent",
        factory="kastra_plugin_kagent.kagent:KagentMigrator",
        description="kagent manifests (kagent.dev v1alpha1 to v1alpha3): agents, model configurations, MCP servers.",
    )
    yield MigratorRegistration(
        name="ark",
        factory="kastra_plugin_kagent.ark:ArkMigrator",
        description="ARK manifests (ark.mckinsey.com): agents, teams, queries, tools, models, MCP servers.",
    )
    yield MigratorRegistration(
        name="kaos",
        factory="kastra_plugin_kagent.kaos:KaosMigrator",
        description="KAOS manifests (kaos.tools): agents, model APIs, MCP servers.",
    )
