"""``kastra get``: resources as a table, YAML, JSON, names or JSONPath."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.api.meta import Resource
from kastra_core.cli.common import (
    CliState,
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    file_of,
    namespace_option,
    output_option,
    selector_options,
)
from kastra_core.cli.completion import complete_resources
from kastra_core.cli.jsonpath import compile_path
from kastra_core.cli.printing import as_data, kind_name, render_data, table
from kastra_core.cli.targets import Selection, Target, as_orphan, namespace_of, select, targets_of
from kastra_core.errors import NotFoundError

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@click.argument("what", nargs=-1, metavar="KINDS [NAME]... | KIND/NAME...", shell_complete=complete_resources)
@namespace_option
@all_namespaces_option
@selector_options
@output_option("wide", "yaml", "json", "name", jsonpath=True)
@click.option("--children", is_flag=True, help="Of runs, also those that other runs called.")
@click.option("-w", "--watch", is_flag=True, help="Go on and print changes, also those of other processes.")
@click.option("--watch-only", is_flag=True, help="As --watch, without the list at the beginning.")
@click.option("--show-labels", is_flag=True, help="Add a column with the labels.")
@click.option("--no-headers", is_flag=True, help="No line with the names of the columns.")
@click.option("--sort-by", metavar="JSONPATH", help="For example .metadata.creationTimestamp or .spec.model.name.")
@click.option("--show-managed-fields", is_flag=True, help="Keep metadata.managedFields in YAML and JSON.")
@click.option("--ignore-not-found", is_flag=True, help="A name that is not there is no error.")
def command(
    what: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
    output: str,
    children: bool,
    watch: bool,
    watch_only: bool,
    show_labels: bool,
    no_headers: bool,
    sort_by: str | None,
    show_managed_fields: bool,
    ignore_not_found: bool,
) -> None:
    """List resources, or show some.

    KINDS is a kind in any spelling (agents, agent, Agent, agents.mastra.ai, agents.v1.mastra.ai), several with commas,
    a category of kinds, or "all".

    A table of runs leaves out those that other runs called, unless --children, a name or a selector asks for them.
    """
    state = current()
    own_only = not (children or selector or field_selector) and output in ("", "wide")

    async def read(
        runtime: RuntimeManager,
    ) -> tuple[str | None, list[Target], list[Selection], list[NotFoundError], bool]:
        where = namespace_of(runtime, namespace, all_namespaces)
        targets = await targets_of(runtime, what)
        found, missing = await select(
            runtime, targets, namespace=where, selector=selector, field_selector=field_selector
        )
        elsewhere = False
        if where is not None and not (missing or selector or field_selector or any(s.resources for s in found)):
            for target in targets:
                elsewhere = elsewhere or bool((await runtime.client.list(target.kind, limit=1)).items)
        return where, targets, found, missing, elsewhere

    if watch or watch_only:
        from kastra_core.cli.watching import watch_resources

        state.run(
            lambda runtime: watch_resources(
                runtime,
                what,
                namespace=namespace_of(runtime, namespace, all_namespaces),
                selector=selector,
                field_selector=field_selector,
                output=output,
                show_labels=show_labels,
                headers=not no_headers,
                managed_fields=show_managed_fields,
                list_first=not watch_only,
                accept=(lambda resource: not is_child(resource)) if own_only else None,
            )
        )
        return
    where, targets, found, missing, elsewhere = state.read(read)
    if ignore_not_found:
        missing = []
    if sort_by:
        found = [_sorted(selection, sort_by) for selection in found]
    hidden = 0
    if own_only and any(target.name is None for target in targets):
        listed, found = found, [_without_children(selection) for selection in found]
        hidden = sum(len(selection.resources) for selection in listed) - sum(len(s.resources) for s in found)
    shown = [selection for selection in found if selection.resources]
    if output in ("", "wide"):
        several = len(found) > 1
        tables = [
            table(
                selection.kind,
                _in_table(selection),
                time.time(),
                wide=output == "wide",
                namespace=all_namespaces,
                labels=show_labels,
                headers=not no_headers,
                qualified=several,
            )
            for selection in shown
        ]
        emit("\n".join(tables))
    elif output == "name":
        emit("".join(f"{kind_name(s.kind, r.metadata.name)}\n" for s in shown for r in s.resources))
    else:
        single = len(targets) == 1 and targets[0].name is not None
        resources = [resource for selection in shown for resource in selection.resources]
        if resources or not single:
            data = as_data(resources, single=single, managed_fields=show_managed_fields)
            emit(render_data(data, output))
    for selection in shown:
        if selection.missing is not None:
            state.warn(f"{selection.missing}; its resources are kept as they are stored; {selection.missing.remedy}")
    if hidden and not state.quiet and (not shown or sys.stderr.isatty()):
        runs = "1 child run is" if hidden == 1 else f"{hidden} child runs are"
        click.echo(f"{runs} not shown; --children shows {'it' if hidden == 1 else 'them'}", err=True)
    if missing:
        _refuse(missing)
    if not shown and not hidden and output in ("", "wide", "name") and not ignore_not_found:
        if targets and not any(target.kind.namespaced for target in targets):
            where = None
        click.echo("No resources found" + _where(state, where, elsewhere), err=True)


def _in_table(selection: Selection) -> Iterable[Resource]:
    missing = selection.missing
    return selection.resources if missing is None else [as_orphan(one, missing) for one in selection.resources]


def is_child(resource: Resource) -> bool:
    """Whether it is a run that another run called."""
    return resource.kind == "Run" and "parent" in resource.spec


def _without_children(selection: Selection) -> Selection:
    if selection.kind.kind != "Run":
        return selection
    return selection._replace(resources=tuple(run for run in selection.resources if not is_child(run)))


def _where(state: CliState, namespace: str | None, elsewhere: bool) -> str:
    """Where nothing was found, and where to look instead."""
    here = "" if namespace is None else f" in namespace {namespace}"
    file = file_of(state.url)
    if file is not None and not file.exists():
        return f"{here}; there is no store {state.url} yet (`kastra apply` makes it, -C DIR names another project)"
    return here + ("; there are some in others (-A shows them)" if elsewhere else "")


def _refuse(missing: Sequence[NotFoundError]) -> None:
    for error in missing[:-1]:
        click.echo(f"error: {error}", err=True)
    raise missing[-1]


def _sorted(selection: Selection, path: str) -> Selection:
    evaluate = compile_path(path)

    def key(resource: Resource) -> tuple[int, Any, str]:
        found = evaluate(resource.to_manifest())
        value = found[0] if found else None
        if value is None:
            return (0, 0, "")
        if isinstance(value, (bool, int, float)):
            return (1, value, "")
        return (2, 0, str(value))

    return Selection(selection.kind, tuple(sorted(selection.resources, key=key)), selection.missing)
