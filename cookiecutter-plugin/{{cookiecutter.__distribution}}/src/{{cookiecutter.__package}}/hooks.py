"""What this plugin offers. Nearly every ``kastra`` command imports it, so it names the work and imports none of it."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core import (
{% if cookiecutter.command %}
    CommandRegistration,
{% endif %}
{% if cookiecutter.typed_kind or cookiecutter.crd_kind %}
    ControllerRegistration,
{% endif %}
{% if cookiecutter.migrator %}
    MigratorRegistration,
{% endif %}
{% if cookiecutter.model_provider %}
    ModelProviderRegistration,
{% endif %}
{% if cookiecutter.typed_kind %}
    OperationRegistration,
    PrinterColumn,
    ResourceKind,
{% endif %}
{% if cookiecutter.store %}
    StoreRegistration,
{% endif %}
    hookimpl,
)

KASTRA_API_VERSION = 1
"""Of the hooks that this plugin was made for. A core that has another one quarantines it and says so."""
{% if cookiecutter.typed_kind or cookiecutter.crd_kind %}

GROUP = "{{ cookiecutter.group }}"
{% endif %}
{% if cookiecutter.typed_kind %}
SAY = "{{ cookiecutter.plugin_name }}.say"
"""The operation that says words."""
{% endif %}
{% if cookiecutter.typed_kind %}


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="{{ cookiecutter.kind }}",
        plural="{{ cookiecutter.__plural }}",
        group=GROUP,
        description="Words that are kept in a file, and said when it is run.",
        spec_type="{{ cookiecutter.__package }}.spec:{{ cookiecutter.kind }}Spec",
        validate="{{ cookiecutter.__package }}.spec:validate",
        runner="{{ cookiecutter.__package }}.runner:{{ cookiecutter.kind }}Runner",
        printer_columns=(
            PrinterColumn(name="TIMES", json_path=".spec.times", type="integer"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="BYTES", json_path=".status.bytes", type="integer"),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
    )
{% endif %}
{% if cookiecutter.typed_kind or cookiecutter.crd_kind %}


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
{% if cookiecutter.typed_kind %}
    yield ControllerRegistration(
        name=f"{{ cookiecutter.__plural }}.{GROUP}",
        kind="{{ cookiecutter.kind }}",
        group=GROUP,
        factory="{{ cookiecutter.__package }}.controller:{{ cookiecutter.kind }}Controller",
    )
{% endif %}
{% if cookiecutter.crd_kind %}
    yield ControllerRegistration(
        name=f"{{ cookiecutter.__crd_plural }}.{GROUP}",
        kind="{{ cookiecutter.__crd_kind }}",
        group=GROUP,
        factory="{{ cookiecutter.__package }}.copier:{{ cookiecutter.__crd_kind }}Controller",
        periodic=True,  # it looks again after a while
    )
{% endif %}
{% endif %}
{% if cookiecutter.typed_kind %}


@hookimpl
def kastra_operations() -> Iterable[OperationRegistration]:
    yield OperationRegistration(name=SAY, handler="{{ cookiecutter.__package }}.runner:say")
{% endif %}
{% if cookiecutter.store %}


@hookimpl
def kastra_stores() -> Iterable[StoreRegistration]:
    yield StoreRegistration(
        name="{{ cookiecutter.plugin_name }}",
        schemes=("{{ cookiecutter.plugin_name }}",),
        factory="{{ cookiecutter.__package }}.store:open_store",
    )
{% endif %}
{% if cookiecutter.model_provider %}


@hookimpl
def kastra_model_providers() -> Iterable[ModelProviderRegistration]:
    yield ModelProviderRegistration(
        name="{{ cookiecutter.plugin_name }}",
        providers=("{{ cookiecutter.plugin_name }}",),
        factory="{{ cookiecutter.__package }}.model:{{ cookiecutter.__prefix }}Provider",
        description="Models of {{ cookiecutter.plugin_name }}",
        preload=("aiohttp",),
    )
{% endif %}
{% if cookiecutter.migrator %}


@hookimpl
def kastra_migrators() -> Iterable[MigratorRegistration]:
    yield MigratorRegistration(
        name="{{ cookiecutter.plugin_name }}",
        factory="{{ cookiecutter.__package }}.migrator:{{ cookiecutter.__prefix }}Migrator",
        description="Bots of {{ cookiecutter.plugin_name }} ({{ cookiecutter.plugin_name }}.yaml)",
    )
{% endif %}
{% if cookiecutter.command %}


@hookimpl
def kastra_commands() -> Iterable[CommandRegistration]:
    yield CommandRegistration(
        name="{{ cookiecutter.plugin_name }}",
        command="{{ cookiecutter.__package }}.command:command",
        short_help="List the resources that were made last.",
    )
{% endif %}
