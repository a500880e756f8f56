"""``kastra plugins``: which are installed, what they offer, and what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.api.lazy import load
from kastra_core.cli.common import KubectlCommand, current, emit, output_option
from kastra_core.cli.failures import silence_stdout
from kastra_core.cli.printing import NONE, render_data
from kastra_core.cli.tables import format_table, terminal_width
from kastra_core.errors import PluginError, nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["command", "complete_plugins", "plugins_exit_code", "render", "tell"]

_COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("kastra_core.cli.plugins:list_", "List the installed plugins and how they fare."),
    "show": ("kastra_core.cli.plugins_show:command", "Show all about a plugin."),
    "doctor": (
        "kastra_core.cli.plugins_doctor:command",
        "Examine the installed plugins and the project's use of them.",
    ),
    "lock": ("kastra_core.cli.plugins_lock:command", "Record the installed plugins, or compare them with the record."),
    "check": ("kastra_core.cli.plugins_check:command", "Run the conformance suites of an installed plugin."),
    "new": ("kastra_core.cli.plugins_new:command", "Make a plugin from the template."),
}
"""Command -> "module:attribute" of its click command, and its line in the help."""


def plugins_exit_code(faults: Sequence[PluginError]) -> int:
    """3 when a plugin is quarantined or clashes, else 0."""
    return PluginError.exit_code if faults else 0


def render(data: Any, output: str) -> str:
    """Data as ``yaml`` or ``json``."""
    from kastra_core.cli.plugins_records import plain

    return render_data(plain(data), output)


def tell(text: str) -> None:
    """Write to stdout. Who reads it may stop early: what is wrong decides the exit code all the same."""
    try:
        emit(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()


class _Group(click.Group):
    """A group whose commands are imported when they are called, or when their own help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = load(_COMMANDS[cmd_name][0])
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in _COMMANDS and not word.startswith("-"):
            from kastra_core.plugins import BUILTIN, entry_points

            program = ctx.command_path
            if word == BUILTIN or any(point.name == word for point in entry_points()):
                hint = f"it is a plugin's name: {program} show {word}"
            else:
                near = nearest(word, list(_COMMANDS))
                hint = f"did you mean {near!r}?" if near else f"commands are {', '.join(_COMMANDS)}"
            raise click.UsageError(f"there is no command {word!r} of {program}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in _COMMANDS.items()])


def complete_plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of installed plugins that begin with ``incomplete``; no plugin is imported."""
    from click.shell_completion import CompletionItem

    from kastra_core.plugins import BUILTIN, entry_points

    names = [BUILTIN, *(point.name for point in entry_points())]
    given = ctx.params.get(param.name or "") or ()
    taken = {given} if isinstance(given, str) else set(given)
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete) and name not in taken]


_FORMATS = ("wide", "yaml", "json", "name")


@click.group(cls=_Group, invoke_without_command=True)
@output_option(*_FORMATS)
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """Look after the installed plugins: list, show, doctor, lock, check, new.

    Without a command it is list.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, output=output)
    elif output:
        raise click.UsageError(
            f"write -o {output} after the command: {ctx.command_path} {ctx.invoked_subcommand} -o {output}", ctx
        )


@click.command("list", cls=KubectlCommand)
@output_option(*_FORMATS)
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """List the installed plugins, where they come from, and how they fare.

    FROM: wheel; editable, directory, archive or vcs, as it was installed; PYTHONPATH; path, for another entry of
    sys.path. With -o wide also which.

    Exit code 3 when a plugin is quarantined or two plugins clash.
    """
    from kastra_core.cli.plugins_records import plugin_data

    state = current()
    state.tell_faults = False
    infos = state.plugins.load()
    every = [plugin_data(info) for info in sorted(infos.values(), key=lambda info: info.name)]
    if output in ("yaml", "json"):
        tell(render({"plugins": every}, output))
    elif output == "name":
        tell("".join(f"{plugin['name']}\n" for plugin in every))
    else:
        tell(_table(every, wide=output == "wide"))
        for fault in state.plugins.faults:
            click.echo(f"warning: {fault}", err=True)
        if state.debug:
            click.echo("".join(info.debug for info in infos.values()), err=True)
    ctx.exit(plugins_exit_code(state.plugins.faults))


def _table(plugins: Sequence[Mapping[str, Any]], *, wide: bool) -> str:
    from kastra_core.cli.plugins_records import count_text

    rows = [["NAME", "DISTRIBUTION", "VERSION", "STATE", "FROM", *(["MODULE"] if wide else []), "OFFERS"]]
    for plugin in plugins:
        offers: dict[str, list[str]] = plugin["offers"]
        if wide:
            told = "; ".join(f"{what}: {', '.join(names)}" for what, names in offers.items())
        else:
            told = ", ".join(count_text(what, len(names)) for what, names in offers.items())
        place: dict[str, Any] = plugin.get("installed") or {"how": NONE}
        origin = place["how"] + (f" {place.get('url') or place['path']}" if wide and "path" in place else "")
        row = [plugin["name"], plugin["distribution"] or NONE, plugin["version"] or NONE, plugin["state"], origin]
        rows.append([*row, *([plugin["module"]] if wide else []), told or NONE])
    return format_table(rows, limit=0 if wide else terminal_width())
