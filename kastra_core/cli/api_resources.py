"""``kastra api-resources``, and the list of kinds that ``kastra explain`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.common import CliState, KubectlCommand, current, emit, output_option
from kastra_core.cli.printing import NONE, render_data
from kastra_core.cli.tables import fitting, format_table, terminal_width
from kastra_core.errors import StoreError

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.api.registry import KindRegistry

__all__ = ["command", "kind_data", "kinds_table", "known_kinds", "provider_title"]

_SPARE = ("DESCRIPTION", "RUNS", "NAMESPACED")
"""Columns that a narrow terminal does without, the first one first."""


@click.command(cls=KubectlCommand)
@click.option("--api-group", metavar="GROUP", help="Only kinds of this group.")
@click.option("--namespaced/--no-namespaced", default=None, help="Only kinds that live in namespaces, or that do not.")
@click.option("--no-headers", is_flag=True, help="No line with the names of the columns.")
@output_option("wide", "yaml", "json", "name")
def command(api_group: str | None, namespaced: bool | None, no_headers: bool, output: str) -> None:
    """List the kinds of resources, those that definitions in the store make included.

    `kastra explain KIND` documents one.
    """
    registry = known_kinds(current())
    kinds = [
        kind
        for kind in registry
        if (api_group is None or kind.group == api_group) and (namespaced is None or kind.namespaced == namespaced)
    ]
    if output == "name":
        emit("".join(f"{kind.qualified_plural}\n" for kind in kinds))
    elif output in ("yaml", "json"):
        emit(render_data([kind_data(registry, kind) for kind in kinds], output))
    else:
        emit(_table(registry, kinds, wide=output == "wide", headers=not no_headers))


def known_kinds(state: CliState) -> KindRegistry:
    """The known kinds; those of the plugins when the store, which may have definitions, cannot be read."""
    try:
        return state.registry()
    except StoreError as error:
        from kastra_core.runtime import registry_of

        state.warn(f"kinds that definitions in the store make are not known: {error}")
        return registry_of(state.plugins)


def provider_title(registry: KindRegistry, kind: ResourceKind) -> tuple[str, str]:
    """What a kind comes from, ("PLUGIN", name) or ("DEFINITION", kind and name of the resource)."""
    provider = registry.provider_of(kind)
    return ("DEFINITION" if " " in provider else "PLUGIN", provider)


def kind_data(registry: KindRegistry, kind: ResourceKind) -> dict[str, Any]:
    """A kind as JSON data."""
    title, provider = provider_title(registry, kind)
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "plural": kind.plural,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "namespaced": kind.namespaced,
        "executable": kind.executable,
        title.lower(): provider,
        "description": kind.description,
    }


def kinds_table(registry: KindRegistry) -> str:
    """All kinds with their texts; a narrow terminal gets fewer columns."""
    rows = [["NAME", "SHORT", "APIVERSION", "NAMESPACED", "KIND", "RUNS", "DESCRIPTION"]]
    rows.extend([*_row(kind), "yes" if kind.executable else "no", kind.description] for kind in registry)
    limit = terminal_width()
    return format_table(fitting(rows, _SPARE, limit), limit=limit, keep=2)


def _table(registry: KindRegistry, kinds: Sequence[ResourceKind], *, wide: bool, headers: bool) -> str:
    rows = [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]] if headers else []
    rows.extend(_row(kind) for kind in kinds)
    if wide:
        further = [["CATEGORIES", "FROM"]] if headers else []
        further.extend([",".join(kind.categories) or NONE, registry.provider_of(kind)] for kind in kinds)
        rows = [[*row, *more] for row, more in zip(rows, further)]
    return format_table(rows)


def _row(kind: ResourceKind) -> list[str]:
    return [
        kind.plural,
        ",".join(kind.short_names) or NONE,
        kind.api_version,
        "true" if kind.namespaced else "false",
        kind.kind,
    ]
