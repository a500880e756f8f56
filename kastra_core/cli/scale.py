"""``kastra scale``: sets how many of a resource there shall be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.common import (
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    namespace_option,
    output_option,
    selector_options,
    timeout_option,
    wait_option,
)
from kastra_core.cli.completion import complete_resources
from kastra_core.cli.printing import as_data, kind_name, render_data
from kastra_core.cli.targets import namespace_of, refuse_whole_kinds, select, targets_of
from kastra_core.errors import UserError

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.api.meta import JsonObject, Resource
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@click.argument("what", nargs=-1, metavar="KIND/NAME... | KIND NAME...", shell_complete=complete_resources)
@namespace_option
@all_namespaces_option
@selector_options
@click.option("--all", "everything", is_flag=True, help="All resources of the kinds.")
@click.option("--replicas", type=click.IntRange(min=0), required=True, metavar="N", help="How many there shall be.")
@click.option("--current-replicas", type=int, metavar="M", help="Only when there shall be so many now.")
@click.option("--resource-version", metavar="TEXT", help="Only when nobody has changed the resource since.")
@click.option("--dry-run/--no-dry-run", default=False, help="Validate, write nothing.")
@wait_option("Wait until the controllers have settled.")
@timeout_option("30s")
@output_option("yaml", "json", "name")
def command(
    what: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
    everything: bool,
    replicas: int,
    current_replicas: int | None,
    resource_version: str | None,
    dry_run: bool,
    wait: bool,
    timeout_s: float,
    output: str,
) -> None:
    """Set the number of replicas of resources whose kind has one.

    It stands where the definition of the kind says (`subresources.scale`). A later apply of a manifest that names
    the field sets it again.
    """
    state = current()

    async def scale(runtime: RuntimeManager) -> list[tuple[ResourceKind, Resource]]:
        targets = await targets_of(runtime, what)
        refuse_whole_kinds(targets, chosen=bool(selector or field_selector or everything))
        for target in targets:
            _replicas_path(target.kind)  # before anything is written
        where = namespace_of(runtime, namespace, all_namespaces)
        found, missing = await select(
            runtime, targets, namespace=where, selector=selector, field_selector=field_selector
        )
        if missing:
            raise missing[0]
        done = []
        for kind, live in [(selection.kind, one) for selection in found for one in selection.resources]:
            _refuse_changed(kind, live, current_replicas, resource_version)
            wanted = _with_replicas(kind, live, replicas)
            runtime.client.decode(wanted.to_manifest(), namespace=live.metadata.namespace)
            done.append((kind, wanted if dry_run else await runtime.client.update(wanted)))
        if wait and not dry_run and done:
            await runtime.start_controllers()
            await runtime.controllers.settled([resource.key for _, resource in done], timeout_s)
        return done

    scaled = state.run(scale)
    if output in ("yaml", "json"):
        emit(render_data(as_data([resource for _, resource in scaled], single=len(scaled) == 1), output))
        return
    told = "" if output == "name" else " scaled (dry run)" if dry_run else " scaled"
    emit("".join(f"{kind_name(kind, resource.metadata.name)}{told}\n" for kind, resource in scaled))
    if not scaled:
        click.echo("No resources found", err=True)


def _replicas_path(kind: ResourceKind) -> list[str]:
    """The fields that lead to the number. Raises: UserError when the kind has none."""
    if kind.scale is None:
        raise UserError(
            f"{kind.kind} cannot be scaled: it has no field for a number of replicas (subresources.scale of its "
            "definition would name one)"
        )
    return kind.scale.spec_replicas_path.strip().lstrip(".").split(".")


def _replicas(kind: ResourceKind, resource: Resource) -> Any:
    value: Any = resource.to_manifest()
    for part in _replicas_path(kind):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _refuse_changed(kind: ResourceKind, live: Resource, replicas: int | None, resource_version: str | None) -> None:
    """Raises: UserError when the resource is not as whoever calls expects."""
    name = kind_name(kind, live.metadata.name)
    if replicas is not None and _replicas(kind, live) != replicas:
        there = _replicas(kind, live)
        told = "none are set" if there is None else f"there shall be {there}"
        raise UserError(f"{name} was not scaled: --current-replicas expects {replicas}, {told} now")
    now = live.metadata.resource_version
    if resource_version and resource_version != now:
        raise UserError(f"{name} was not scaled: its resourceVersion is {now} now, not {resource_version}")


def _with_replicas(kind: ResourceKind, live: Resource, replicas: int) -> Resource:
    """The resource with the number in its place; nothing else changes."""
    first, *rest = _replicas_path(kind)
    if first in ("apiVersion", "kind", "metadata", "status") or not rest:
        raise UserError(
            f"{kind.kind} cannot be scaled: {kind.scale and kind.scale.spec_replicas_path} is no field of spec"
        )
    tree: JsonObject = dict(live.spec) if first == "spec" else dict(live.extra.get(first) or {})
    at = tree
    for part in rest[:-1]:
        below = at.get(part)
        at[part] = dict(below) if isinstance(below, dict) else {}
        at = at[part]
    at[rest[-1]] = replicas
    return live.evolve(spec=tree) if first == "spec" else live.evolve(extra={**live.extra, first: tree})
