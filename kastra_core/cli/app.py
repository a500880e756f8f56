"""The group ``kastra``: a table of commands that are imported when they are called, and those of plugins."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kastra_core import __version__
from kastra_core.api.lazy import load
from kastra_core.cli.common import CliState, about_missing_kinds
from kastra_core.cli.failures import guarded, silence_stdout
from kastra_core.errors import KastraError, PluginLoadError, nearest

__all__ = ["COMMANDS", "SECTIONS", "KastraGroup", "app", "run"]

SECTIONS: dict[str, dict[str, str]] = {
    "Resources": {
        "apply": "Create or update resources from files.",
        "get": "List resources, or show some.",
        "describe": "Show everything about resources, with conditions and events.",
        "delete": "Delete resources.",
        "scale": "Set the number of replicas of resources that have one.",
        "diff": "Show what apply would change.",
        "validate": "Check manifests without a store.",
        "explain": "Document a kind and its fields, or a model's provider.",
        "api-resources": "List the kinds of resources.",
        "schema": "Export JSON schemas of kinds for editors, and definitions of them.",
        "graph": "Draw a workflow, or another resource that has a picture.",
        "wait": "Wait for a condition of resources.",
        "export": "Write resources as manifests that can be applied.",
        "migrate": "Turn old and foreign configurations into resources.",
    },
    "Runs": {
        "run": "Run an agent, a tool or another executable resource.",
        "chat": "Talk with an agent or a network.",
        "threads": "List, show, delete and export conversations.",
        "logs": "Show what happened in a run.",
        "serve": "Keep the project alive: schedules, controllers, unfinished runs.",
    },
    "System": {
        "events": "List events.",
        "status": "Show store, resources, runs, models and plugins at a glance.",
        "plugins": "Look after the installed plugins: list, show, doctor, lock, check, new.",
        "store": "Look after the store: check, backup, restore, migrate, compact.",
        "config": "Show and change the configuration.",
        "completion": "Print the completion script for a shell.",
    },
}
"""Sections of the help, commands with their short help in them."""

COMMANDS: dict[str, str] = {
    name: f"kastra_core.cli.{name.replace('-', '_')}:command" for section in SECTIONS.values() for name in section
}
"""Command -> "module:attribute" of its click command."""

EPILOG = """\b
Exit codes:
  0    done
  1    the input is wrong: manifest, reference, selector, setting, not found
  2    the command line is wrong
  3    a plugin is missing, broken or clashes with another
  4    the store cannot be used
  5    a run ended without an answer
  70   a fault in Kastra itself (--debug shows the traceback)
  130  interrupted
`diff` has its own: 0 no difference, 1 differences, more than 1 an error.
`store status` and `store check` end with 3 when the store has a problem."""


_OF_KUBECTL: dict[str, str] = dict.fromkeys(
    ("annotate", "edit", "label", "patch", "replace", "set"), "change the manifest, then `kastra apply -f FILE`"
) | {
    "api-versions": "`kastra api-resources` lists the kinds with their versions",
    "cluster-info": "`kastra status` shows what there is",
    "create": "`kastra apply -f FILE` creates and updates",
    "version": "`kastra --version` tells it",
}
"""Commands that people know from kubectl, and what does it here."""


class KastraGroup(click.Group):
    """A group whose commands are imported when they are called.

    A name that the core has never loads a plugin; the plugins are asked for other names and for ``--help``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(self._offered(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target: Any = COMMANDS.get(cmd_name)
        if target is None:
            record = self._offered(ctx).get(cmd_name)
            if record is None:
                return None
            return self._of_plugin(ctx, record)
        command: click.Command = load(target)
        command.name = cmd_name
        return command

    def _of_plugin(self, ctx: click.Context, record: Any) -> click.Command:
        try:
            command: click.Command = load(record.command)
        except Exception as error:
            owner = next(name for name, other in self._records(ctx) if other is record)
            stage = f"the import of its command {record.name!r}"
            raise PluginLoadError(owner, stage, f"{type(error).__name__}: {error}") from error
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = nearest(args[0], self.list_commands(ctx))
            hint = f"did you mean {near!r}?" if near else "`kastra --help` lists them"
            hint = _OF_KUBECTL.get(args[0], hint)
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; what it returns is no exit code."""
        try:
            super().invoke(ctx)
        except BrokenPipeError:  # click would end with 1, but whoever read our output has seen enough
            silence_stdout()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))
        try:
            offered = self._offered(ctx)
        except KastraError as error:  # a broken configuration must not hide the help
            ctx.ensure_object(CliState).warn(str(error))
            return
        if offered:
            with formatter.section("From plugins"):
                formatter.write_dl([(name, offered[name].short_help) for name in sorted(offered)])

    def main(self, args: Sequence[str] | None = None, *unused: Any, **options: Any) -> Any:
        """As click's, with the exit codes and messages of Kastra; always ends the process."""
        sys.exit(run(sys.argv[1:] if args is None else list(args)))

    def enter(self, args: Sequence[str], state: CliState) -> Any:
        """Parse and run; raises what click and the command raise."""
        return super().main(args=list(args), prog_name="kastra", standalone_mode=False, obj=state)

    def _offered(self, ctx: click.Context) -> dict[str, Any]:
        """Commands of plugins that do not bear a name of the core's, by name."""
        return {record.name: record for _, record in self._records(ctx) if record.name not in COMMANDS}

    @staticmethod
    def _records(ctx: click.Context) -> list[tuple[str, Any]]:
        # Called before the group's own options are stored when only its help is asked for.
        state = ctx.ensure_object(CliState)
        take_options(state, ctx.find_root().params)
        return state.plugins.records("kastra_commands")


@click.group(
    cls=KastraGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
    help="Agents, tools and their runs, described in YAML and kept in a database.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option(
    "-C",
    "--project",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Project directory; default: the nearest one above that has .kastra, else this one.",
)
@click.option("--store", metavar="URL", help="Store, for example file:kastra.db; default: the configuration's.")
@click.option("--no-plugin", "block", metavar="NAME", multiple=True, help="Do not load a plugin (repeatable).")
@click.option("-q", "--quiet", is_flag=True, help="No notes and warnings on stderr.")
@click.version_option(__version__, message="kastra %(version)s")
@click.pass_context
def app(ctx: click.Context, /, **options: Any) -> None:
    take_options(ctx.ensure_object(CliState), options)


def take_options(state: CliState, options: Mapping[str, Any]) -> None:
    """Store the options of the group in ``state``; those that are not given leave it as it is."""
    for name in ("debug", "project", "store", "block", "quiet"):
        if options.get(name):
            setattr(state, name, options[name])


def run(args: Sequence[str]) -> int:
    """Run a command line; return its exit code. Faults are told on stderr."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before we began (`>&-`)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - it lasts as long as we do
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its code; that is no reason to stop.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in ("utf-8", "utf8"):
            stream.reconfigure(errors="backslashreplace")
    if any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr)):
        from kastra_core.cli.terminal import guard_terminals

        guard_terminals()
    state = CliState()
    return guarded(lambda: app.enter(args, state), state, lambda error: about_missing_kinds(error, state))
