"""``kastra store``: look at the store, check it, back it up, restore, migrate and compact it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.common import CliState, KubectlCommand, current, emit, file_of, output_option
from kastra_core.cli.printing import render_data
from kastra_core.cli.store_job import carry_out, wait_for
from kastra_core.cli.store_view import (
    as_json,
    backup_page,
    check_page,
    compact_page,
    comparison,
    problem_lines,
    restore_page,
    status_page,
    steps_table,
)
from kastra_core.cli.tables import size_text
from kastra_core.errors import KastraError, PluginLoadError, StoreError, UserError
from kastra_core.protocols.store_admin import CheckReport, MigrationReport, StoreStatus
from kastra_core.settings import shown_text

if TYPE_CHECKING:
    from kastra_core.protocols.store_admin import StoreAdmin
    from kastra_core.registrations import StoreRegistration

__all__ = ["PROBLEMS_FOUND", "command"]

PROBLEMS_FOUND = 3
"""Exit code of ``status`` and ``check`` when something is wrong with the store."""


# ------------------------------------------------------------------------------------------------ the admin


def _admin(state: CliState, url: str = "") -> StoreAdmin:
    """What looks after the store of the invocation, or of ``url``."""
    from kastra_core.runtime import store_admin

    url = url or state.url
    try:
        return store_admin(url, state.plugins, state.config.options_of_store(url))
    except (ImportError, AttributeError) as error:
        plugin, record = _served_by(state, url)
        stage = f"the import of what looks after its store {record.name!r}"
        raise PluginLoadError(plugin, stage, f"{type(error).__name__}: {error}") from error


def _served_by(state: CliState, url: str) -> tuple[str, StoreRegistration]:
    """The plugin that serves a URL, which some does, and its record."""
    scheme = url.partition(":")[0]
    records: list[tuple[str, StoreRegistration]] = state.plugins.records("kastra_stores")
    return next((plugin, record) for plugin, record in records if scheme in record.schemes)


def _confirm(question: str, *, yes: bool) -> None:
    """Go on after ``--yes`` or a "y" from the terminal. Raises: UserError."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UserError("this wants a confirmation and there is no terminal to ask on; nothing was changed, add --yes")
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("not confirmed; nothing was changed")


def _show(report: Any, page: Callable[[Any], str], output: str) -> None:
    emit(render_data(as_json(report), output) if output else page(report))


def _told(error: StoreError) -> str:
    """An error with its remedy."""
    text, remedy = str(error), error.remedy
    return f"{text}; {remedy}" if remedy and remedy not in text else text


def _in_use(workers: Sequence[str], remedy: str) -> UserError:
    from kastra_core.execution.worker import LEASE_TTL_S

    return UserError(
        f"workers use the store: {', '.join(workers)}; {remedy} "
        f"(a worker that was killed counts for up to {LEASE_TTL_S:g} s)"
    )


def _stopped(state: CliState, elsewhere: str) -> str:
    """What holds after an interrupt. A file is left as it was; a server may have got the last request."""
    if file_of(state.url) is not None:
        return "nothing was changed"
    return f"{elsewhere}; `kastra store status` tells which"


def _status_of(admin: StoreAdmin) -> StoreStatus | StoreError:
    """The status, or why there is none: such a store is to be looked at and restored too."""
    try:
        return wait_for("reading", admin.status)
    except StoreError as error:
        return error


# ------------------------------------------------------------------------------------------------ the commands


@click.group()
def command() -> None:
    """Look after the store: status, check, backup, restore, migrate, compact.

    The store is the configuration's, or that of `kastra --store URL store ...`. One that cannot be opened for work
    (damaged, of a newer schema) can still be looked at, checked and replaced by a backup.
    """


_yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_data_option = output_option("yaml", "json")


@command.command(cls=KubectlCommand)
@_data_option
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show schema, size, content and users of the store.

    Exit code 3 when it cannot be used as it is; a store that is not there yet is no problem.
    """
    state = current()
    found = _status_of(_admin(state))
    if isinstance(found, StoreStatus):
        _show(found, status_page, output)
        ctx.exit(PROBLEMS_FOUND if found.problems else 0)
    url, problems = shown_text("store", state.url), [_told(found)]
    if output:
        emit(render_data({"url": url, "problems": problems}, output))
    else:
        emit(f"Store: {url}\n\n{problem_lines(problems)}")
    ctx.exit(PROBLEMS_FOUND)


@command.command(cls=KubectlCommand)
@_data_option
@click.pass_context
def check(ctx: click.Context, output: str) -> None:
    """Check the structure of the store and what it holds.

    Others may go on using it. Exit code 3 when a problem is found.
    """
    state = current()
    admin = _admin(state)
    begun, page = time.monotonic(), check_page
    try:
        report = wait_for("checking", admin.check)
    except StoreError as error:
        took_s = time.monotonic() - begun
        url = shown_text("store", state.url)
        report = CheckReport(url=url, checked={}, problems=(_told(error),), duration_s=took_s)
        page = partial(check_page, looked=False)
    _show(report, page, output)
    ctx.exit(PROBLEMS_FOUND if report.problems else 0)


@command.command(cls=KubectlCommand)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@_data_option
def backup(target: Path | None, output: str) -> None:
    """Write a consistent, verified copy of the store.

    Others may go on using the store; the copy is read back. Without TARGET, or when it is a directory, the name is that
    of the store with the time (UTC). A file that exists is never overwritten. Whoever can read the backup can read all
    that is in the store.
    """
    state = current()
    admin = _admin(state)
    path = target or Path()
    if path.is_dir():
        path = path / _backup_name(state)
    path = path.absolute()
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists and is not overwritten; name another file")
    carry_out(
        "backing up",
        lambda: admin.backup(path),
        lambda report: _show(report, backup_page, output),
        stopped="no backup was made",
    )


def _backup_name(state: CliState) -> str:
    return f"{_name_of(state.url)}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.backup"


def _fresh_backup_path(state: CliState) -> Path:
    """Beside a store on a file, else in the current directory; a name that is not taken."""
    file = file_of(state.url)
    folder = (file.parent if file is not None else Path()).absolute()
    name, path, number = _backup_name(state), folder / _backup_name(state), 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / name.replace(".backup", f"-{number}.backup")
    return path


def _name_of(url: str) -> str:
    """A file name's beginning for a store: that of its file or its host."""
    file = file_of(url)
    if file is not None:
        name = file.stem
    else:
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        name = parts.hostname or Path(parts.path).stem
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "store"


@command.command(cls=KubectlCommand)
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Even when workers use the store or it cannot be read.")
@_yes_option
@_data_option
def restore(source: Path, force: bool, yes: bool, output: str) -> None:
    """Put a backup in the place of what the store holds.

    What it holds now is kept, the output says where. Asks before it does so; without a terminal --yes is wanted. The
    backup is verified first.
    """
    state = current()
    admin = _admin(state)
    source = source.absolute()
    now = _status_of(admin)
    if isinstance(now, StoreError) or now.exists or now.problems:
        workers = () if isinstance(now, StoreError) else now.workers
        if workers and not force:
            raise _in_use(workers, "end them, or add --force")
        _tell_plan(_what_is_replaced(state, now, source), output)
        _confirm("Put the backup in the place of what the store holds now, and keep that beside it?", yes=yes)
    carry_out(
        "restoring",
        lambda: admin.restore(source, force=force),
        lambda report: _show(report, restore_page, output),
        stopped=_stopped(state, "the store has its former content or that of the backup"),
    )


def _tell_plan(text: str, output: str) -> None:
    """On stdout for people; programs get nothing but data there."""
    if output:
        click.echo(text, err=True)
    else:
        emit(text + "\n")


def _what_is_replaced(state: CliState, now: StoreStatus | StoreError, source: Path) -> str:
    found = _status_of_backup(state, source)
    size = source.stat().st_size
    written = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(source.stat().st_mtime))
    lines = [
        f"Store:  {now.url if isinstance(now, StoreStatus) else shown_text('store', state.url)}",
        f"Backup: {source} ({size_text(size)}, written {written})",
    ]
    present = now if isinstance(now, StoreStatus) else None
    text = "\n".join(lines) + "\n"
    if found is not None:
        text += "\n" + comparison(present, found)
    problems = [_told(now)] if isinstance(now, StoreError) else list(now.problems)
    # Without the remedy: it is for a store, and there is another backup to take.
    problems += [
        f"the backup: {problem.partition(';')[0]}" for problem in (found.problems if found is not None else ())
    ]
    return text + ("\n" + problem_lines(problems) if problems else "")


def _status_of_backup(state: CliState, source: Path) -> StoreStatus | None:
    """What a backup says of itself where it is a file that the store's plugin also serves as a store, else None."""
    from urllib.parse import quote

    _, record = _served_by(state, state.url)
    if "file" not in record.schemes:
        return None
    try:
        return wait_for("reading", _admin(state, f"file:{quote(source.as_posix())}").status)
    except KastraError:  # the restore says what is wrong with it
        return None


@command.command(cls=KubectlCommand)
@click.option("--to", "schema", type=click.IntRange(min=1), metavar="N", help="Schema; default: the newest.")
@click.option("--dry-run/--no-dry-run", default=False, help="Try the steps and take them back.")
@click.option("--backup/--no-backup", "with_backup", default=True, help="Back the store up first; the default.")
@_yes_option
@_data_option
def migrate(schema: int | None, dry_run: bool, with_backup: bool, yes: bool, output: str) -> None:
    """Bring schema and objects up to date, or down.

    All steps are taken or none, and none while workers use the store. A file of an older schema is brought up when it
    is opened, a store on a server by this command alone; it also brings a store down for an older program. Asks when a
    step gives something up; without a terminal --yes is wanted then.

    Objects whose apiVersion is an old one (mastra/v1, mastra.ai/v1alpha1) are rewritten in one commit by the plugins
    that know it, once the schema is the newest, and keep their uid; --to leaves them as they are.
    """
    state = current()
    admin = _admin(state)
    plan = wait_for("trying", lambda: admin.migrate(schema, dry_run=True, backup=False))
    if not plan.steps and schema is None:
        _migrate_objects(state, admin, plan, dry_run=dry_run, with_backup=with_backup, output=output)
        return
    if dry_run or not plan.steps:
        done = "nothing was changed (dry run)" if plan.steps else f"the store has schema {plan.before} already"
        if output:
            emit(render_data(as_json(plan), output))
        else:
            emit((f"{steps_table(plan)}\n" if plan.steps else "") + f"{done}\n")
        if plan.steps and schema is None:
            state.note("objects of old versions are looked at when the schema is the newest")
        return
    now = _status_of(admin)
    if isinstance(now, StoreStatus) and now.workers:
        raise _in_use(now.workers, "end them first")
    _tell_plan(steps_table(plan), output)
    if any(step.loses for step in plan.steps):
        kept = "the backup that is made first keeps it" if with_backup else "no backup is made"
        _confirm(f"Give up what is listed under LOSES ({kept})?", yes=yes)
    carry_out(
        "migrating",
        lambda: admin.migrate(plan.after, backup=with_backup),
        lambda report: _show_migration(state, report, output),
        stopped=_stopped(state, "all steps were taken or none"),
    )
    if schema is None:
        _migrate_objects(state, admin, None, dry_run=False, with_backup=with_backup, output=output)


def _migrate_objects(
    state: CliState,
    admin: StoreAdmin,
    plan: MigrationReport | None,
    *,
    dry_run: bool,
    with_backup: bool,
    output: str,
) -> None:
    """Rewrite objects of old versions.

    Args:
        plan: what is said of the schema, which is the newest already; None: a report of it was shown.
    """
    from kastra_core.cli.store_objects import ObjectsReport, migrate_objects, objects_page, offer_files

    try:
        report = migrate_objects(state, dry_run=True)
    except StoreError as error:  # the schema is looked after, even where nothing else works
        state.note(f"objects of old versions were not looked for: {_told(error)}")
        report = ObjectsReport(found=0, dry_run=dry_run)
    kept: Path | None = None
    if report.found and not dry_run and not report.refused and with_backup:
        kept = _fresh_backup_path(state)
        wait_for("backing up", lambda: admin.backup(kept))
    if report.found and not dry_run:
        report = migrate_objects(state, dry_run=False)
        offer_files(state, report)
    if output:
        if plan is not None or report.found:
            data = as_json(plan) if plan is not None else {}
            emit(render_data({**data, "objects": as_json(report), "backup": str(kept) if kept else None}, output))
        return
    page = objects_page(report)
    if plan is not None and not report.found:
        page += f"the store has schema {plan.before} already\n"
    if report.found:
        page += "nothing was changed (dry run)\n" if dry_run else f"Backup: {kept}\n" if kept else ""
    emit(page)


def _show_migration(state: CliState, report: MigrationReport, output: str) -> None:
    if output:
        emit(render_data(as_json(report), output))
    else:
        kept = f"Backup: {report.backup.path}\n" if report.backup is not None else ""
        emit(f"Schema: {report.after} (was {report.before})\n{kept}")
    if any(step.direction == "down" for step in report.steps):
        now = (
            "this program brings the store up again when it opens it"
            if file_of(state.url) is not None
            else "this program does not open the store until `kastra store migrate` brings it up again"
        )
        state.note(f"{now}; use the older one from now on")


@command.command(cls=KubectlCommand)
@_data_option
def compact(output: str) -> None:
    """Remove what nobody needs and free its space.

    That is: expired values and leases, history that no watch can reach, blobs that nobody holds.
    """
    admin = _admin(current())
    carry_out(
        "compacting",
        admin.compact,
        lambda report: _show(report, compact_page, output),
        stopped="nothing was removed that anybody needs; the next one does the rest",
    )
