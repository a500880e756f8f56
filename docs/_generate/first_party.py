"""The plugins of this repository, whatever else is installed; what they offer, and the commands with theirs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache

import attrs
import click

from _generate.python_api import ROOT
from kastra_core import PluginManager
from kastra_core.api.registry import KindRegistry

__all__ = ["WIDTH", "CommandPage", "commands", "plugins", "registry"]

WIDTH = 100
"""Columns of the help texts, whatever the terminal has."""


@cache
def plugins() -> PluginManager:
    """The first-party plugins, loaded. Raises: RuntimeError: one of them is broken."""
    modules: dict[str, str] = {}
    for project in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        data = tomllib.loads(project.read_text(encoding="utf-8"))
        modules.update(data["project"].get("entry-points", {}).get("kastra", {}))
    manager = PluginManager(discover=False, extra=sorted(modules.items()))
    if manager.faults:
        raise RuntimeError("; ".join(map(str, manager.faults)))
    return manager


@cache
def registry() -> KindRegistry:
    """The kinds of the core and of these plugins."""
    from kastra_core.runtime import registry_of

    return registry_of(plugins())


@attrs.frozen
class CommandPage:
    """A command, and its context as the command line makes it."""

    path: str
    """"kastra plugins new"."""
    command: click.Command
    context: click.Context

    @property
    def depth(self) -> int:
        return self.path.count(" ")


def commands() -> Iterator[CommandPage]:
    """Every command that help shows, groups before what is in them."""
    from kastra_core.cli.app import app
    from kastra_core.cli.common import CliState

    class State(CliState):
        """An invocation that sees no configuration and no other plugins."""

        @property
        def plugins(self) -> PluginManager:
            return plugins()

    yield from _below(app, "kastra", None, State())


def _below(
    command: click.Command, name: str, parent: click.Context | None, state: object = None
) -> Iterator[CommandPage]:
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        obj=state,
        **command.context_settings,
    )
    yield CommandPage(context.command_path, command, context)
    if not isinstance(command, click.Group):
        return
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        assert found is not None
        if not found.hidden:
            yield from _below(found, inner, context)
