"""``kastra plugins``: which are installed, what they offer, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core import __version__
from kastra_core.cli.common import KubectlCommand, current, emit, output_option
from kastra_core.cli.printing import NONE, render_data
from kastra_core.cli.tables import format_table, terminal_width
from kastra_core.errors import NotFoundError, PluginError

if TYPE_CHECKING:
    from kastra_core.plugins import PluginInfo

__all__ = ["command", "plugin_data", "plugins_exit_code"]

_WORDS = {
    "kastra_resource_kinds": "kinds",
    "kastra_controllers": "controllers",
    "kastra_stores": "stores",
    "kastra_model_providers": "modelProviders",
    "kastra_migrators": "migrators",
    "kastra_operations": "operations",
    "kastra_commands": "commands",
}


def plugins_exit_code(faults: Sequence[PluginError]) -> int:
    """3 when a plugin is quarantined or clashes, else 0."""
    return PluginError.exit_code if faults else 0


def plugin_data(info: PluginInfo) -> dict[str, Any]:
    """A plugin as JSON: name, distribution, version, module, state, cause, conflicts, offers."""
    data: dict[str, Any] = {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version or (__version__ if info.distribution == "kastra-core" else ""),
        "module": info.module,
        "state": "conflict" if info.state == "loaded" and info.conflicts else info.state,
        "offers": {_WORDS[hook]: _names(hook, records) for hook, records in info.records.items() if records},
    }
    if info.error is not None:
        data["cause"] = str(info.error)
    if info.conflicts:
        data["conflicts"] = [str(conflict) for conflict in info.conflicts]
    return data


def _names(hook: str, records: Sequence[Any]) -> list[str]:
    if hook == "kastra_resource_kinds":
        return [f"{record.kind}.{record.group}" for record in records]
    if hook == "kastra_stores":
        return [f"{scheme}:" for record in records for scheme in record.schemes]
    if hook == "kastra_model_providers":
        return [f"{name} (fallback)" if record.fallback else name for record in records for name in record.providers]
    return [record.name for record in records]


@click.command(cls=KubectlCommand)
@click.argument("name", required=False)
@output_option("wide", "yaml", "json")
@click.pass_context
def command(ctx: click.Context, name: str | None, output: str) -> None:
    """List the installed plugins and how they fare; with NAME all about one.

    Exit code 3 when a plugin is quarantined or two plugins clash.
    """
    state = current()
    state.tell_faults = False
    infos = state.plugins.load()
    if name is not None:
        info = infos.get(name)
        if info is None:
            raise NotFoundError(f"plugin {name}", [f"plugin {known}" for known in infos])
        data = plugin_data(info)
        emit(render_data(data, output) if output in ("yaml", "json") else _page(data))
        if state.debug and info.debug:
            click.echo(info.debug, err=True)
        ctx.exit(plugins_exit_code([*([info.error] if info.error else []), *info.conflicts]))
    every = [plugin_data(info) for info in sorted(infos.values(), key=lambda info: info.name)]
    if output in ("yaml", "json"):
        emit(render_data({"plugins": every}, output))
    else:
        emit(_table(every, wide=output == "wide"))
        for fault in state.plugins.faults:
            click.echo(f"warning: {fault}", err=True)
        if state.debug:
            click.echo("".join(info.debug for info in infos.values()), err=True)
    ctx.exit(plugins_exit_code(state.plugins.faults))


def _table(plugins: Sequence[Mapping[str, Any]], *, wide: bool) -> str:
    rows = [["NAME", "DISTRIBUTION", "VERSION", "STATE", *(["MODULE"] if wide else []), "OFFERS"]]
    for plugin in plugins:
        offers: dict[str, list[str]] = plugin["offers"]
        if wide:
            told = "; ".join(f"{what}: {', '.join(names)}" for what, names in offers.items())
        else:
            told = ", ".join(_count(what, len(names)) for what, names in offers.items())
        row = [plugin["name"], plugin["distribution"] or NONE, plugin["version"] or NONE, plugin["state"]]
        rows.append([*row, *([plugin["module"]] if wide else []), told or NONE])
    return format_table(rows, limit=0 if wide else terminal_width())


def _count(what: str, count: int) -> str:
    words = {"modelProviders": "model providers"}.get(what, what)
    return f"{count} {words.removesuffix('s') if count == 1 else words}"


def _page(data: Mapping[str, Any]) -> str:
    lines = [f"{key.capitalize() + ':':<15}{data[key] or NONE}" for key in ("name", "distribution", "version")]
    lines += [f"{'Module:':<15}{data['module']}", f"{'State:':<15}{data['state']}"]
    if "cause" in data:
        lines.append(f"{'Cause:':<15}{data['cause']}")
    lines += [f"{'Conflict:':<15}{conflict}" for conflict in data.get("conflicts", ())]
    lines.append("Offers:" if data["offers"] else f"{'Offers:':<15}{NONE}")
    lines += [
        f"  {_count(what, 2).removeprefix('2 ') + ':':<17}{', '.join(names)}" for what, names in data["offers"].items()
    ]
    return "\n".join(lines)
