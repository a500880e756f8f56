"""``kastra migrate``: old and foreign configurations become resources, and nothing is lost in silence."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.common import CliState, KubectlCommand, current, emit, made_by, namespace_option
from kastra_core.cli.printing import render_data
from kastra_core.cli.tables import format_table, terminal_width
from kastra_core.errors import ManifestError, PluginLoadError, UserError, ValidationError, nearest

if TYPE_CHECKING:
    from kastra_core.migration.engine import Migration
    from kastra_core.protocols.migrator import MigrationRow, Migrator

__all__ = ["LOST", "command", "load_migrators"]

LOST = 2
"""Exit code with ``--strict`` when something was dropped or is to be done by hand."""
REFUSED = 1
_DEFAULT = "migrated"
_TITLES = {"manual": "To do by hand:", "dropped": "Dropped:", "defaulted": "Chosen:"}
_MOST_ROWS = 40
"""Lines of an outcome that the table shows; the report file has all rows."""
_MOST_KEYS = 3
"""Keys that a line names."""


def load_migrators(state: CliState, chosen: str = "auto") -> dict[str, Migrator]:
    """Return the installed migrators by name; only ``chosen`` unless that is "auto".

    With "auto" one that cannot be imported is told of and left out.

    Raises:
        UserError: there is no migrator ``chosen``.
        PluginLoadError: it cannot be imported.
    """
    records: list[tuple[str, Any]] = state.plugins.records("kastra_migrators")
    names = sorted(record.name for _, record in records)
    if chosen != "auto" and chosen not in names:
        near = nearest(chosen, names)
        hint = f"did you mean {near!r}?" if near else f"installed: {', '.join(names) or 'none'}"
        raise UserError(f"there is no migrator {chosen!r}; {hint}")
    out: dict[str, Migrator] = {}
    for plugin, record in sorted(records, key=lambda pair: str(pair[1].name)):
        if chosen not in ("auto", record.name):
            continue
        try:
            out[record.name] = made_by(plugin, f"its migrator {record.name!r}", record.factory)
        except PluginLoadError as error:
            if chosen != "auto":
                raise
            state.warn(f"{error}; it is left out")
    return out


@click.command(cls=KubectlCommand)
@click.argument("paths", nargs=-1, metavar="FILE|DIR...", type=click.Path())
@click.option("--from", "chosen", default="auto", metavar="NAME|auto", show_default=True, help="The format.")
@click.option(
    "-o",
    "--output-dir",
    "directory",
    default=_DEFAULT,
    metavar="DIR",
    show_default=True,
    help="Where to write; - prints the manifests.",
)
@click.option("--dry-run/--no-dry-run", default=False, help="Report, write nothing.")
@click.option(
    "--report",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    help="Form of the report.",
)
@click.option("--strict", is_flag=True, help="Exit code 2 when anything was dropped or is to be done by hand.")
@click.option("--keep-going", is_flag=True, help="Write the rest when files are refused; the exit code stays 1.")
@click.option("--force", is_flag=True, help="Replace files that are there and say something else.")
@click.option("--list", "listing", is_flag=True, help="List the formats that are installed.")
@namespace_option
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    chosen: str,
    directory: str,
    dry_run: bool,
    report: str,
    strict: bool,
    keep_going: bool,
    force: bool,
    listing: bool,
    namespace: str | None,
) -> None:
    """Turn old and foreign configurations into resources.

    Reads YAML, JSON and Python below the paths, tells the format of each file, and writes one file per resource, stubs
    of the functions that somebody has to write, settings, and a report (MIGRATION.md) that says of every key of the
    source what became of it. The result is checked as `kastra apply` would. Nothing that a file names is imported,
    run or fetched.

    \b
    Exit codes: 1 a file was refused (nothing is written without --keep-going),
    2 something was dropped or is to be done by hand (with --strict).

    \b
    Examples:
      kastra migrate crew/                       # into ./migrated
      kastra migrate agent.yaml --dry-run        # what would become of it
      kastra migrate old/ --from legacy -o new/ --report json --strict
    """
    state = current()
    if listing:
        emit(_listing(state))
        return
    if not paths:
        raise click.UsageError("name a file or a directory, or ask for --list")
    directory = directory or "."
    try:
        migration = _migrate(state, paths, chosen, namespace)
    except ManifestError as error:
        if report == "json":
            emit(_shown(_nothing(error), report, (), directory, dry_run=dry_run, blocked=True, to_stdout=False))
        raise
    from kastra_core.migration.writing import beside, plan, write

    to_stdout = directory == "-"
    blocked = bool(migration.refused) and not keep_going
    written: list[str] = []
    if not (dry_run or blocked or to_stdout):
        files = plan(migration)
        if not force:
            files = beside(files, directory)
        try:
            write(files, directory, force=force)
        except ValidationError:
            # What became of the keys is worth knowing all the same.
            emit(_shown(migration, report, (), directory, dry_run=dry_run, blocked=True, to_stdout=False))
            raise
        written = list(files)
    if to_stdout and not blocked:
        from kastra_core.manifests import dump

        emit(dump(migration.resources))
    shown = _shown(migration, report, written, directory, dry_run=dry_run, blocked=blocked, to_stdout=to_stdout)
    click.echo(shown, nl=False, err=to_stdout)
    if migration.refused:
        ctx.exit(REFUSED)
    if strict and migration.lost:
        ctx.exit(LOST)


def _migrate(state: CliState, paths: Sequence[str], chosen: str, namespace: str | None) -> Migration:
    from kastra_core.migration import FileSource
    from kastra_core.migration.engine import migrate
    from kastra_core.runtime import registry_of

    migrators = load_migrators(state, chosen)
    if not migrators:
        raise UserError("no migrator is installed; pip install kastra-plugin-legacy, kastra-plugin-crewai ...")
    source = FileSource(list(paths))
    if not source.files:
        raise UserError(f"{', '.join(paths)}: no YAML, JSON or Python file is there")
    space = namespace or state.config.namespace
    return migrate(source, migrators, registry_of(state.plugins), chosen=chosen, namespace=space)


def _nothing(error: ManifestError) -> Migration:
    """What came of files that could not even be found."""
    from kastra_core.migration.engine import Migration

    return Migration(
        resources=(), rows=(), names={}, files={}, config={}, detected=(), refused=error.problems, ignored=()
    )


def _listing(state: CliState) -> str:
    rows = [["NAME", "READS", "WRITES", "PLUGIN"]]
    for plugin, record in sorted(state.plugins.records("kastra_migrators"), key=lambda pair: str(pair[1].name)):
        rows.append([record.name, record.description, "yes" if record.exporter else "no", plugin])
    if len(rows) == 1:
        return "No migrators are installed\n"
    return format_table(rows, limit=terminal_width(), keep=1)


# ------------------------------------------------------------------------------------------------ the report


def _shown(
    migration: Migration,
    report: str,
    written: Sequence[str],
    directory: str,
    *,
    dry_run: bool,
    blocked: bool,
    to_stdout: bool,
) -> str:
    from kastra_core.migration.writing import markdown, report_json

    if report == "json":
        return render_data(report_json(migration, written), "json")
    if report == "markdown":
        return markdown(migration)
    done = _done(migration, written, directory, dry_run=dry_run, blocked=blocked, to_stdout=to_stdout)
    return _table(migration) + done


def _table(migration: Migration) -> str:
    from kastra_core.migration.secret_texts import one_line

    parts = []
    per_file: dict[str, Counter[str]] = {}
    for row in migration.rows:
        per_file.setdefault(row.file, Counter())[row.outcome] += 1
    formats = {one.file: one.migrator for one in migration.detected}
    refused = {problem.file for problem in migration.refused}
    lines = [["FILE", "FORMAT", "MAPPED", "CHOSEN", "DROPPED", "BY HAND"]]
    for file in dict.fromkeys([*formats, *per_file]):
        counts = per_file.get(file, Counter())
        if file in refused and not counts:
            lines.append([one_line(file), formats.get(file, ""), "refused", "", "", ""])
            continue
        told = [str(counts[outcome]) for outcome in ("mapped", "defaulted", "dropped", "manual")]
        lines.append([one_line(file), formats.get(file, "(read along)"), *told])
    if len(lines) > 1:
        parts.append(format_table(lines, limit=terminal_width(), keep=1))
    if migration.refused:
        parts.append("Refused:\n" + "".join(f"  {one_line(str(problem))}\n" for problem in migration.refused))
    parts.extend(_rows(outcome, [row for row in migration.rows if row.outcome == outcome]) for outcome in _TITLES)
    if migration.names:
        pairs = [[f"  {one_line(was)}", is_] for was, is_ in migration.names.items()]
        parts.append("Names that changed:\n" + format_table(pairs, limit=terminal_width()))
    if migration.ignored:
        some = migration.ignored[:_MOST_ROWS]
        more = f"  ... and {len(migration.ignored) - len(some)} more\n" if len(migration.ignored) > len(some) else ""
        parts.append("Files of no known format:\n" + "".join(f"  {one_line(file)}\n" for file in some) + more)
    parts += [f"note: {one_line(note)}\n" for note in migration.notes]
    return "\n".join(part for part in parts if part)


def _rows(outcome: str, rows: Sequence[MigrationRow]) -> str:
    """The rows of an outcome by file; those that say the same are one line."""
    from kastra_core.migration.secret_texts import one_line

    if not rows:
        return ""
    groups: dict[tuple[str, str], list[MigrationRow]] = {}
    for row in sorted(rows, key=lambda row: (row.file, row.line)):
        groups.setdefault((row.file, row.reason), []).append(row)
    lines, file = [], ""
    for (place, reason), same in list(groups.items())[:_MOST_ROWS]:
        if place != file:
            file = place
            lines.append(f"  {one_line(file)}\n")
        numbers = ", ".join(dict.fromkeys(str(row.line) for row in same[:_MOST_KEYS] if row.line))
        keys = ", ".join(one_line(row.key) for row in same[:_MOST_KEYS] if row.key)
        more = f" and {len(same) - _MOST_KEYS} more" if len(same) > _MOST_KEYS else ""
        lines.append(f"    {numbers + ': ' if numbers else ''}{keys + more + ': ' if keys else ''}{one_line(reason)}\n")
    if len(groups) > _MOST_ROWS:
        lines.append(f"  ... and {len(groups) - _MOST_ROWS} more (--report markdown has all)\n")
    return f"{_TITLES[outcome]}\n{''.join(lines)}"


def _done(
    migration: Migration,
    written: Sequence[str],
    directory: str,
    *,
    dry_run: bool,
    blocked: bool,
    to_stdout: bool,
) -> str:
    from kastra_core.migration.writing import CONFIG, modules, variables

    count = len(migration.resources)
    kinds = Counter(str(manifest["kind"]) for manifest in migration.resources)
    what = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    told = f"{count} {'resource' if count == 1 else 'resources'}" + (f" ({what})" if what else "")
    refused = len({problem.file for problem in migration.refused})
    if refused:
        told += f", {refused} {'file' if refused == 1 else 'files'} refused"
    lines = [f"\n{told}"]
    if blocked:
        lines.append(f"Nothing was written{'; --keep-going writes the rest' if refused else ''}.")
    elif dry_run:
        lines.append("Nothing was written (dry run).")
    elif written:
        told = next((path for path in written if path.startswith("MIGRATION")), "MIGRATION.md")
        lines.append(f"Written to {directory}: {len(written)} files; {told} says what became of each key.")
        if names := variables(migration.resources, migration.config):
            lines.append(f"Set: {', '.join(names)}")
        if any(path.endswith(".py") for path in written):
            stubs = ", ".join(path for path in written if path.endswith(".py"))
            lines.append(f"Write the functions in {stubs}; until then a call of one fails and says so.")
        if CONFIG in written:
            lines.append(f"Settings are in {directory}/{CONFIG}; they hold in that directory.")
        allowed = migration.config.get("tools", {}).get("python", {}).get("allow", [])
        if own := [module for module in modules(migration.resources) if module not in allowed]:
            every = ", ".join([*allowed, *own])
            lines.append(f"Allow the modules of your code: kastra config set tools.python.allow '[{every}]'")
        lines.append(f"Next: cd {shlex.quote(directory)} && kastra apply -f .")
    return "\n".join(lines) + "\n"
