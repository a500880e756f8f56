"""``kastra diff``: what apply would change."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

from kastra_core.api.meta import Resource
from kastra_core.cli.common import (
    KubectlCommand,
    about_missing_kinds,
    current,
    emit,
    filename_options,
    namespace_option,
    style,
    unknown_fields_option,
)
from kastra_core.cli.failures import explain_failure
from kastra_core.cli.printing import kind_name
from kastra_core.errors import KastraError

if TYPE_CHECKING:
    from kastra_core.resources import Applied
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]

DIFFERENCES = 1
TROUBLE = 2
"""Least exit code of an error: 1 says that there are differences."""


@click.command(cls=KubectlCommand)
@filename_options(required=True)
@namespace_option
@click.option("--force-conflicts", is_flag=True, help="As if fields of other managers were taken over.")
@unknown_fields_option
@click.pass_context
def command(
    ctx: click.Context,
    filenames: tuple[str, ...],
    recursive: bool,
    namespace: str | None,
    force_conflicts: bool,
    unknown_fields: str,
) -> None:
    """Show what apply would change, as a unified diff of YAML.

    Exit code: 0 no difference, 1 differences, more than 1 an error.
    """
    state = current()

    async def plan(runtime: RuntimeManager) -> list[tuple[str, Applied]]:
        decoded = runtime.decode(documents, namespace=namespace, unknown_fields=unknown_fields)
        report = await runtime.apply_decoded(decoded, force=force_conflicts, dry_run=True, wait=False)
        # Not the registry's kinds: some may be defined by these very documents.
        return [(kind_name(one.kind, one.resource.metadata.name), item) for one, item in zip(decoded, report.items)]

    try:
        from kastra_core import manifests

        documents = manifests.read_sources(list(filenames), recursive=recursive)
        items = state.read(plan)
    except KastraError as error:
        code = explain_failure(error, debug=state.debug)
        for line in about_missing_kinds(error, state):
            click.echo(line, err=True)
        ctx.exit(max(code, TROUBLE))
    text = "".join(_diff(name, item) for name, item in items if item.outcome != "unchanged")
    emit(text)
    if text:
        ctx.exit(DIFFERENCES)


def _diff(name: str, item: Applied) -> str:
    before = _lines(item.before) if item.before is not None else []
    where = item.resource.metadata.namespace
    label = f"{where}/{name}" if where else name
    lines = difflib.unified_diff(before, _lines(item.resource), f"stored/{label}", f"applied/{label}")
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return "".join(style(line, fg=colours[line[0]]) if line[0] in colours else line for line in lines)


def _lines(resource: Resource) -> list[str]:
    """The part of a resource that a user writes, as lines of YAML."""
    from kastra_core.cli.export import clean_manifest
    from kastra_core.manifests import dump

    return dump([clean_manifest(resource)]).splitlines(keepends=True)
