"""``kastra apply``: make the store hold what files say, and wait until it is so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from kastra_core.api.meta import Resource, is_true
from kastra_core.cli.common import (
    CliState,
    KubectlCommand,
    current,
    emit,
    filename_options,
    namespace_option,
    output_option,
    timeout_option,
    unknown_fields_option,
    wait_option,
)
from kastra_core.cli.failures import leaving
from kastra_core.cli.printing import as_data, kind_name, not_ready, render_data
from kastra_core.runtime import ApplyReport, RuntimeManager

__all__ = ["command", "summary"]


def summary(report: ApplyReport, *, dry_run: bool, waited_s: float) -> str:
    """One line: how many, what became of them, how many are not Ready; ``waited_s`` 0: it did not wait."""
    counts = {"created": 0, "configured": 0, "unchanged": 0}
    for item in report.items:
        counts[item.outcome] += 1
    what = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    text = f"{len(report.items)} applied ({what})" + (" (dry run, nothing was written)" if dry_run else "")
    waiting = len(report.not_ready)
    if waiting and not dry_run:
        text += f", {waiting} not ready"
    if not report.settled and waited_s:
        text += f"; the controllers had not settled after {waited_s:g} s"
    return text


@click.command(cls=KubectlCommand)
@filename_options(required=True)
@namespace_option
@click.option("--dry-run/--no-dry-run", default=False, help="Validate and compare, write nothing.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that another manager set.")
@click.option("--field-manager", default="kastra", metavar="NAME", help="Whose fields these are.", show_default=True)
@unknown_fields_option
@wait_option("Wait until the controllers have settled.")
@timeout_option("30s")
@output_option("yaml", "json", "name")
def command(
    filenames: tuple[str, ...],
    recursive: bool,
    namespace: str | None,
    dry_run: bool,
    force_conflicts: bool,
    field_manager: str,
    unknown_fields: str,
    wait: bool,
    timeout_s: float,
    output: str,
) -> None:
    """Create or update resources from files.

    Fields that you set before and leave out now are removed; fields that others set stay. Prints a line per resource:
    created, configured or unchanged, and what is not Ready and why. A resource that is not Ready is no failure: it
    heals by itself when what it lacks appears.
    """
    from kastra_core import manifests
    from kastra_core.cli.offline import decode_offline

    state = current()
    # All is checked before a store is opened: wrong input must not leave even an empty one behind.
    with leaving("nothing was written"):
        documents = manifests.read_sources(list(filenames), recursive=recursive)
        decoded = decode_offline(state, documents, namespace, unknown_fields)

    async def apply(runtime: RuntimeManager) -> ApplyReport:
        report = await runtime.apply_decoded(
            decoded,
            manager=field_manager,
            force=force_conflicts,
            dry_run=dry_run,
            wait=wait,
            timeout_s=timeout_s,
        )
        if wait and not dry_run:
            for fault in runtime.controllers.faults.values():
                state.warn(str(fault))
        return report

    with leaving("nothing was written"):
        report = state.run(apply, create=not dry_run)
    names = [kind_name(item.kind, item.resource.metadata.name) for item in decoded]
    if output in ("yaml", "json"):
        emit(render_data(as_data([item.resource for item in report.items], single=True), output))
    elif output == "name":
        emit("\n".join(names))
    else:
        suffix = " (dry run)" if dry_run else ""
        lines = []
        for name, item in zip(names, report.items):
            told = "" if dry_run else not_ready(item.resource)
            lines.append(f"{name} {item.outcome}{suffix}{told}")
        emit("\n".join(lines))
    _tell_notes(state, names, report)
    if not output:
        click.echo(summary(report, dry_run=dry_run, waited_s=timeout_s if wait else 0.0), err=True)


def _tell_notes(state: CliState, names: Sequence[str], report: ApplyReport) -> None:
    """A line per note; the resources that it is about are named up to three."""
    about: dict[str, list[str]] = {}
    for name, item in zip(names, report.items):
        for note in (*item.notes, *_amiss(item.resource)):
            about.setdefault(note, []).append(name)
    for note, named in about.items():
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        state.note(f"{note} ({', '.join(named[:3])}{more})")


def _amiss(resource: Resource) -> Iterator[str]:
    """What is not as wished although the resource is Ready; what holds it up stands in its own line."""
    if is_true(resource):
        for condition in resource.status.get("conditions") or ():
            if condition.get("status") == "False":
                yield f"{condition.get('type')} is False: {condition.get('message') or condition.get('reason')}"
