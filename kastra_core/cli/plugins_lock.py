"""``kastra plugins lock``: record the installed plugins and what they offer, and compare them with the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kastra_core.cli.common import KubectlCommand, current, output_option, style
from kastra_core.cli.plugins import render, tell
from kastra_core.cli.plugins_compare import Difference, absent_plugins, compare
from kastra_core.cli.plugins_lockfile import LOCK_FILE, LockFileError, lock_data, read_lock, there_is, write_lock
from kastra_core.cli.plugins_records import blockers
from kastra_core.errors import PluginConflictError, PluginError, UserError

if TYPE_CHECKING:
    from kastra_core.cli.common import CliState

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@click.option("--check", is_flag=True, help="Compare with the file and write nothing.")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Lock file; default: {LOCK_FILE} in the project directory.",
)
@click.option("--force", is_flag=True, help="Leave out what is quarantined, and replace a file that cannot be read.")
@output_option("yaml", "json")
@click.pass_context
def command(ctx: click.Context, check: bool, file: Path | None, force: bool, output: str) -> None:
    """Record the installed plugins in a file, or compare them with it.

    The file tells of each plugin its distribution and version and what it offers: kinds with their versions and
    fields, controllers, stores, model providers, migrators, operations, commands. It belongs into version control: the
    same plugins give the same file everywhere, and one that says so already is left alone. Plugins that are blocked
    are not in it. While a plugin is quarantined nothing is written, for what it offers is not known.

    With --check the exit code is 3 when something was lost: a plugin, or what an upgrade no longer offers (a kind or a
    version of it, a field, a type of a field, a short name, a store scheme, a model provider, a migrator, an
    operation, a command), or a field that manifests must have now. Other versions and what is new are told and are no
    errors. What a plugin's own rules make of the value of a field is not in the file.
    """
    state = current()
    state.tell_faults = False
    if file is not None and str(file) in ("-", "."):
        raise click.UsageError("--file names a file", ctx)
    # Before a plugin is imported, which may change the current directory.
    try:
        path = file.absolute() if file is not None else state.config.project / LOCK_FILE
    except FileNotFoundError as error:
        raise UserError("the current directory does not exist any more; change to another one") from error
    if check:
        if force:
            raise click.UsageError("--check writes nothing, so there is nothing to --force", ctx)
        ctx.exit(_check(state, path, output))
    _write(state, path, output, force=force)


def _absent(state: CliState) -> Mapping[str, tuple[str, str]]:
    return absent_plugins(state.plugins.load(), blockers(state.config, state.block))


def _check(state: CliState, path: Path, output: str) -> int:
    if not there_is(path):
        raise UserError(f"there is no lock file {path}; `kastra plugins lock` writes it")
    locked = read_lock(path)
    now, failed = lock_data(state.plugins)
    found = compare(locked, now, _absent(state))
    if output:
        lost = any(difference.level == "lost" for difference in found)
        data = {"file": str(path), "lost": lost, "differences": [difference.to_json() for difference in found]}
        tell(render(data, output))
    else:
        count = len(locked["plugins"])
        tell(_page(found) or f"{path}: {_plugins(count)}, all as the file says\n")
    for fault in state.plugins.faults:
        state.warn(str(fault))
    for title, why in failed.items():
        state.warn(f"the fields of {title} cannot be told: {why}")
    return PluginError.exit_code if any(difference.level == "lost" for difference in found) else 0


def _write(state: CliState, path: Path, output: str, *, force: bool) -> None:
    infos = state.plugins.load()
    data, failed = lock_data(state.plugins)
    broken = [f"{info.error}" for info in infos.values() if info.error is not None]
    broken += [f"the fields of {title} cannot be told: {why}" for title, why in failed.items()]
    if broken and not force:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        doctor = "`kastra plugins doctor --imports`" if failed else "`kastra plugins doctor`"
        raise PluginError(f"{broken[0]}{more}; nothing was written: mend it ({doctor}), or add --force")
    found: Sequence[Difference] = []
    if there_is(path):
        try:
            found = compare(read_lock(path), data, _absent(state))
        except LockFileError:
            if not force:
                raise
    written = write_lock(path, data)
    for text in broken:
        state.warn(f"left out: {text}")
    for conflict in (conflict for conflict in state.plugins.faults if isinstance(conflict, PluginConflictError)):
        state.warn(str(conflict))
    for name, info in infos.items():
        if info.state == "blocked":
            state.note(f"left out: plugin {name!r} {_absent(state)[name][0]}")
    if output:
        told = {"file": str(path), "written": written, "differences": [difference.to_json() for difference in found]}
        tell(render(told, output))
    else:
        tell(f"{_page(found)}{path}: {'written' if written else 'unchanged'}, {_plugins(len(data['plugins']))}\n")


def _plugins(count: int) -> str:
    return "1 plugin" if count == 1 else f"{count} plugins"


_COLOURS = {"lost": "red", "changed": "yellow", "new": "green"}


def _page(differences: Sequence[Difference]) -> str:
    out = []
    for difference in differences:
        remedy = f"; {difference.remedy}" if difference.remedy else ""
        out.append(f"{style(f'{difference.level:<9}', fg=_COLOURS[difference.level])}{difference.message}{remedy}\n")
    return "".join(out)
