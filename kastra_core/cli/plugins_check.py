"""``kastra plugins check``: the conformance suites of installed plugins, each plugin's in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from kastra_core.cli.common import DURATION, KubectlCommand, current, emit, output_option
from kastra_core.cli.plugins import complete_plugins
from kastra_core.errors import MissingDependencyError, NotFoundError, PluginError, UserError
from kastra_core.plugins import BUILTIN

if TYPE_CHECKING:
    from kastra_core.plugins import PluginInfo

__all__ = ["command"]

_NEEDS = ("pytest", "pytest_asyncio")


@click.command(cls=KubectlCommand)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_plugins)
@output_option("yaml", "json")
@click.option("-v", "--verbose", is_flag=True, help="Show the output of pytest too, on stderr.")
@click.option(
    "--timeout",
    "timeout_s",
    type=DURATION,
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="How long the suites of one plugin may take.",
)
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], output: str, verbose: bool, timeout_s: float) -> None:
    """Run the conformance suites of installed plugins; without NAME of all but the core.

    A plugin names its suites in the entry-point group kastra.conformance. They are run with pytest, together with what
    every plugin must keep to; kinds and commands that no suite of the plugin is about are tested as far as that is
    possible without one. Nothing is written to the current directory. Needs kastra-core[develop].

    Exit code 3 when a test fails, or a plugin is broken.

    \b
    Examples:
      kastra plugins check acme
      kastra plugins check -o json > report.json
    """
    state = current()
    state.tell_faults = False
    infos = state.plugins.load()
    chosen = [_plugin(infos, name) for name in dict.fromkeys(names)]
    if not names:
        chosen = [info for _, info in sorted(infos.items()) if info.name != BUILTIN and info.state != "blocked"]
    _check_needs()
    import tempfile
    from pathlib import Path

    from kastra_core.cli.plugins_check_processes import reports
    from kastra_core.cli.plugins_check_report import overall_text, plugin_text
    from kastra_core.cli.printing import render_data

    found = []
    with tempfile.TemporaryDirectory(prefix="kastra-check-") as place:
        for report, told in reports(chosen, Path(place), timeout_s):
            found.append(report)
            if verbose or state.debug:
                click.echo(told, err=True, nl=False)
            if not output:
                emit(plugin_text(report))
    passed = all(report["passed"] for report in found)
    if output:
        emit(render_data({"plugins": found, "passed": passed}, output))
    elif len(found) != 1:
        emit(overall_text(found))
    ctx.exit(0 if passed else PluginError.exit_code)


def _plugin(infos: Mapping[str, PluginInfo], name: str) -> PluginInfo:
    info = infos.get(name)
    if info is None:
        raise NotFoundError(f"plugin {name}", [f"plugin {known}" for known in infos if known != BUILTIN])
    if name == BUILTIN:
        raise UserError(f"{BUILTIN} is the core itself, which has no suites to run; name a plugin, or none for all")
    return info


def _check_needs() -> None:
    """Raises: MissingDependencyError."""
    from importlib.util import find_spec

    for module in _NEEDS:
        if find_spec(module) is None:
            raise MissingDependencyError(module, "'kastra-core[develop]'")
