"""Hook implementations of kastra-plugin-crd."""

from __future__ import annotations

from collections.abc import Iterable

from kastra_core.api.kind import PrinterColumn, ResourceKind
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import ControllerRegistration

KASTRA_API_VERSION = 1

GROUP = "apiextensions.k8s.io"
KIND = "CustomResourceDefinition"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
"""Kubernetes' own: a definition stays until the last of its resources is gone."""


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind=KIND,
        plural="customresourcedefinitions",
        group=GROUP,
        version="v1",
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        namespaced=False,
        description="A kind of resource, defined by its schema.",
        structure="kastra_plugin_crd.meta_schema:STRUCTURE",
        conversions={
            "mastra.ai/v1alpha1": "kastra_plugin_crd.short_form:to_v1",
            "mastra.ai/v1": "kastra_plugin_crd.short_form:to_v1",
        },
        validate="kastra_plugin_crd.definition:validate",
        validate_update="kastra_plugin_crd.definition:validate_update",
        defines="kastra_plugin_crd.definition:kinds_of",
        finalizers=(FINALIZER,),
        printer_columns=(
            PrinterColumn(name="KIND", json_path=".spec.names.kind"),
            PrinterColumn(name="SCOPE", json_path=".spec.scope"),
            PrinterColumn(name="VERSIONS", json_path=".spec.versions[*].name"),
            PrinterColumn(name="ESTABLISHED", json_path='.status.conditions[?(@.type=="Established")].status'),
            PrinterColumn(name="VALID", json_path='.status.conditions[?(@.type=="ResourcesValid")].status', priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(
        name="customresourcedefinition",
        kind=KIND,
        group=GROUP,
        factory="kastra_plugin_crd.controller:DefinitionController",
    )
