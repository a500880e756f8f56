"""``kastra store migrate``, second part: objects of old apiVersions become new ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.cli.common import CliState, made_by
from kastra_core.cli.tables import format_table, terminal_width
from kastra_core.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kastra_core.migration.stored import StoredPlan
    from kastra_core.protocols.migrator import Migrator
    from kastra_core.protocols.store import Operation
    from kastra_core.runtime import RuntimeManager

__all__ = ["ObjectsReport", "functions_of", "migrate_objects", "objects_page", "offer_files"]


@attrs.frozen(kw_only=True)
class ObjectsReport:
    """What became of the objects of old versions."""

    found: int
    rewritten: tuple[str, ...] = ()
    """"Agent default/greeter (mastra/v1 -> mastra.ai/v1)"."""
    created: tuple[str, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    """What was dropped, chosen, or is to be done by hand."""
    refused: tuple[str, ...] = ()
    files: Mapping[str, str] = attrs.field(factory=dict)
    """Stubs of functions that somebody has to write: path -> text."""
    dry_run: bool = False


def migrate_objects(state: CliState, *, dry_run: bool) -> ObjectsReport:
    """Rewrite the objects of old apiVersions, all or none; with ``dry_run`` only tell what would be done.

    Raises:
        ValidationError: some cannot be rewritten; nothing was changed.
        ConflictError: one was written meanwhile; nothing was changed.
    """
    migrators = _migrators(state)
    if not migrators:
        return ObjectsReport(found=0, dry_run=dry_run)

    async def work(runtime: RuntimeManager) -> ObjectsReport:
        from kastra_core.migration.stored import plan_stored

        plan = await plan_stored(runtime.store, migrators, runtime.registry)
        if plan.refused and not dry_run:
            raise ValidationError(plan.refused)
        if plan.rewrites and not dry_run:
            operations: Sequence[Operation] = plan.operations()
            if plan.migration is not None:
                # Before the commit: afterwards nothing would tell that they are missing.
                _write_absent(state, plan.migration.files)
            await runtime.store.commit(operations)
        return _report(plan, dry_run)

    return state.run(work)


def _migrators(state: CliState) -> dict[str, tuple[Migrator, tuple[str, ...]]]:
    out: dict[str, tuple[Migrator, tuple[str, ...]]] = {}
    for plugin, record in state.plugins.records("kastra_migrators"):
        if record.api_versions:
            made = made_by(plugin, f"its migrator {record.name!r}", record.factory)
            out[record.name] = (made, record.api_versions)
    return out


def _report(plan: StoredPlan, dry_run: bool) -> ObjectsReport:
    rows = plan.migration.rows if plan.migration is not None else ()
    return ObjectsReport(
        found=plan.found,
        rewritten=tuple(
            f"{one.new.key} ({one.old.api_version} -> {one.new.api_version})"
            for one in plan.rewrites
            if one.old is not None
        ),
        created=tuple(str(one.new.key) for one in plan.rewrites if one.old is None),
        rows=tuple(
            {"object": row.file, "key": row.key, "outcome": row.outcome, "reason": row.reason, "target": row.target}
            for row in rows
            if row.outcome != "mapped"
        ),
        refused=tuple(str(problem) for problem in plan.refused),
        files=dict(plan.migration.files) if plan.migration is not None else {},
        dry_run=dry_run,
    )


def _write_absent(state: CliState, files: Mapping[str, str]) -> None:
    from kastra_core.migration.writing import write

    project = state.config.project or Path()
    write({path: text for path, text in files.items() if not (project / path).exists()}, str(project))


def offer_files(state: CliState, report: ObjectsReport) -> None:
    """Write stubs into the project where nothing is in their place, and tell of them."""
    _write_absent(state, report.files)
    for path, text in report.files.items():
        target = (state.config.project or Path()) / path
        module = target.stem
        if target.read_bytes() != text.encode():
            state.note(f"{target} is there and stays as it is; its functions: {', '.join(functions_of(text))}")
            continue
        every = [*state.config.tools.python.allow, module]
        shown = f"'[{', '.join(every)}]'" if every[1:] else module  # the command replaces the list
        state.note(f"write the functions in {target}, then: kastra config set tools.python.allow {shown}")


def functions_of(text: str) -> list[str]:
    """Names of the functions of a module of stubs."""
    return [line[4:].partition("(")[0] for line in text.splitlines() if line.startswith("def ")]


def objects_page(report: ObjectsReport) -> str:
    """For people; "" when there was no such object."""
    if not report.found:
        return ""
    rows = [["OBJECT", "WHAT"]]
    rows += [[text, "would be rewritten" if report.dry_run else "rewritten"] for text in report.rewritten]
    rows += [[text, "would be made" if report.dry_run else "made"] for text in report.created]
    out = format_table(rows, limit=terminal_width()) if len(rows) > 1 else ""
    for row in report.rows:
        key = f" {row['key']}" if row["key"] else ""
        out += f"{row['object']}{key}: {row['outcome']}: {row['reason']}\n"
    if report.refused:
        out += "Refused:\n" + "".join(f"  {text}\n" for text in report.refused)
    return out
