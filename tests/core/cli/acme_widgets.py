"""A plugin for the tests of the CLI: kind Widget with references, and a command; ``acme_controller`` drives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from kastra_core import PrinterColumn, Problem, Reference, Resource, ResourceKind, hookimpl, parse_reference
from kastra_core.registrations import CommandRegistration, ControllerRegistration

GROUP = "acme.example"


@attrs.frozen(kw_only=True)
class Part:
    name: str
    """What the part is called."""
    weight_g: float = 1.5
    """Grams."""


@attrs.frozen(kw_only=True)
class WidgetSpec:
    """What a widget is made of."""

    size: int
    """Millimetres, at least 1."""
    color: Literal["red", "green"] = "red"
    parts: tuple[Part, ...] = ()
    """What it is put together from."""
    needs: str | None = None
    """Another widget, which must be Ready."""
    note: str = ""
    notes: Mapping[str, str] = attrs.field(factory=dict)


def validate(resource: Resource) -> Iterator[Problem]:
    if resource.spec["size"] < 1:
        yield Problem(f"must be at least 1, found {resource.spec['size']}", "spec.size")


def references(resource: Resource) -> Iterator[Reference]:
    if resource.spec.get("needs"):
        yield parse_reference(
            resource.spec["needs"],
            kind="Widget",
            group=GROUP,
            namespace=resource.metadata.namespace,
            path="spec.needs",
        )


def command() -> Any:
    import click

    @click.command()
    def greet() -> None:
        """Say hello."""
        click.echo("hello from a plugin")

    return greet


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="Widget",
        plural="widgets",
        group=GROUP,
        short_names=("wi",),
        description="A thing for tests.",
        spec_type="acme_widgets:WidgetSpec",
        validate="acme_widgets:validate",
        references="acme_widgets:references",
        runner="acme_controller:WidgetRunner",
        printer_columns=(
            PrinterColumn(name="SIZE", json_path=".spec.size", type="integer"),
            PrinterColumn(name="READY", json_path='.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn(name="NOTE", json_path=".spec.note", priority=1),
            PrinterColumn(name="AGE", json_path=".metadata.creationTimestamp", type="date"),
        ),
    )


@hookimpl
def kastra_controllers() -> Iterable[ControllerRegistration]:
    yield ControllerRegistration(name="widget", kind="Widget", group=GROUP, factory="acme_controller:WidgetController")


@hookimpl
def kastra_commands() -> Iterable[CommandRegistration]:
    yield CommandRegistration(name="greet", command="acme_widgets:GREET", short_help="Say hello.")


def __getattr__(name: str) -> Any:
    if name == "GREET":
        return command()
    raise AttributeError(name)
