"""Hook implementations of kastra-plugin-datasource: one controller. The kind itself comes from a YAML file."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration

KASTRA_API_VERSION = 1


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(
        name="datasource",
        kind="DataSource",
        group="mastra.ai",
        factory="kastra_plugin_datasource.controller:DataSourceController",
        periodic=True,
    )
