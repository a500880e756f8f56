"""``kastra plugins show``: all there is to know about one plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli.common import KubectlCommand, current, output_option
from kastra_core.cli.plugins import complete_plugins, plugins_exit_code, render, tell
from kastra_core.cli.plugins_installed import Installed
from kastra_core.cli.plugins_records import WORDS, count_text, load_remedy, metadata_of, plugin_data, record_data
from kastra_core.cli.plugins_requirements import normal_name, text_of
from kastra_core.cli.printing import NONE
from kastra_core.cli.tables import format_table, terminal_width
from kastra_core.errors import UserError, nearest
from kastra_core.hookspecs import API_VERSION
from kastra_core.plugins import BUILTIN, CONFORMANCE_GROUP, entry_points

if TYPE_CHECKING:
    from kastra_core.cli.plugins_installed import Distribution
    from kastra_core.plugins import PluginInfo

__all__ = ["command"]

_COLUMN = 15


@click.command(cls=KubectlCommand)
@click.argument("name", shell_complete=complete_plugins)
@output_option("yaml", "json")
@click.pass_context
def command(ctx: click.Context, name: str, output: str) -> None:
    """Show all about a plugin: what it is, where it comes from, what it requires and offers, what is wrong with it.

    NAME is a plugin's, or that of a distribution with one plugin.

    Exit code 3 when it is quarantined or clashes with another.
    """
    state = current()
    state.tell_faults = False
    infos = state.plugins.load()
    info = infos.get(name) or _of_distribution(name, infos)
    if info is None:
        near = nearest(name, list(infos))
        hint = f"did you mean {near!r}?" if near else "`kastra plugins` lists what is installed"
        raise UserError(f"plugin {name} not found; {hint}")
    data = _data(info, Installed())
    tell(render(data, output) if output else _page(data))
    if state.debug and info.debug:
        click.echo(info.debug, err=True)
    ctx.exit(plugins_exit_code([*([info.error] if info.error else []), *info.conflicts]))


def _of_distribution(name: str, infos: Mapping[str, PluginInfo]) -> PluginInfo | None:
    """The one plugin of a distribution, None when it has several or none."""
    wanted = normal_name(name)
    found = [info for info in infos.values() if info.distribution and normal_name(info.distribution) == wanted]
    return found[0] if len(found) == 1 else None


def _data(info: PluginInfo, installed: Installed) -> dict[str, Any]:
    metadata = metadata_of(info)
    found = installed.of(metadata) if metadata else None
    data = plugin_data(info)
    suites = next((p.module for p in entry_points(group=CONFORMANCE_GROUP) if p.name == info.name), "")
    hooks = {"stated": info.api_version, "core": API_VERSION}
    return {
        **data,
        **(_distribution_data(found, installed) if found is not None else {}),
        **({"remedy": load_remedy(info, installed)} if info.error is not None else {}),
        "hooks": {"stated": API_VERSION, "core": API_VERSION} if info.name == BUILTIN else hooks,
        "conformance": suites,
        "records": {WORDS[hook]: [record_data(hook, r) for r in records] for hook, records in info.records.items()},
    }


def _distribution_data(found: Distribution, installed: Installed) -> dict[str, Any]:
    return {
        "installed": found.place.to_json(),
        "summary": found.field("Summary"),
        "home": found.home,
        "licence": found.licence,
        "requiresPython": found.field("Requires-Python"),
        "requires": [
            {
                "requirement": text_of(need.requirement) if need.requirement is not None else need.line,
                "state": need.state,
                "installed": need.installed,
                **({"by": need.by} if need.by else {}),
            }
            for need in installed.needs(found)
        ],
    }


# ------------------------------------------------------------------------------------------------ the page


def _page(data: Mapping[str, Any]) -> str:
    hooks, place = data["hooks"], data.get("installed")
    stated = "states none" if hooks["stated"] is None else f"version {hooks['stated']}"
    if hooks["stated"] is None and data["state"] in ("blocked", "quarantined"):
        stated = "not known"  # it was not imported, or not to its end
    origin = f"{place['how']} {place.get('url') or place['path']}" if place else ""
    lines = [
        ("Name", data["name"]),
        ("Distribution", f"{data['distribution']} {data['version']}".strip()),
        ("Summary", data.get("summary")),
        ("Home", data.get("home")),
        ("Licence", data.get("licence")),
        ("From", origin),
        ("Module", data["module"]),
        ("Hooks", f"{stated} (kastra-core has version {hooks['core']})"),
        ("Conformance", data["conformance"]),
        ("State", data["state"]),
    ]
    told = [f"{name + ':':<{_COLUMN}}{value or NONE}\n" for name, value in lines]
    told += [
        f"{title + ':':<{_COLUMN}}{data[title.lower()]}\n" for title in ("Cause", "Remedy") if title.lower() in data
    ]
    for conflict in data.get("conflicts", ()):
        told.append(f"{'Conflict:':<{_COLUMN}}{conflict['message']}; {conflict['remedy']}\n")
    return "\n".join(["".join(told), *_sections(data)])


def _sections(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("requires"):
        rows = [["REQUIRES", "INSTALLED", "STATE"]]
        for need in data["requires"]:
            of = f" of {need['by']}" if "by" in need else ""
            rows.append([need["requirement"] + of, need["installed"] or NONE, need["state"]])
        yield format_table(rows, limit=terminal_width())
    for word, records in data["records"].items():
        if records:
            title = count_text(word, 2).removeprefix("2 ").capitalize()
            yield f"{title}:\n" + "".join(f"  {line}\n" for line in _table(records).splitlines())
    if not any(data["records"].values()):
        yield f"{'Offers:':<{_COLUMN}}{NONE}\n"


_TITLES = {
    "shortNames": "SHORT NAMES",
    "apiVersions": "API VERSIONS",
    "countsAs": "COUNTS AS",
    "definesKinds": "DEFINES KINDS",
}


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    """Records of one hook; what none of them has is no column, nor what another one tells as well."""
    names = [name for name in records[0] if name not in ("group", "singular")]
    names = [name for name in names if any(record[name] not in ("", [], False) for record in records)]
    # A text that may be long comes last, where it is cut first.
    names.sort(key=lambda name: name == "description")
    rows = [[_TITLES.get(name, name.upper()) for name in names]]
    rows += [[_cell(record[name]) for name in names] for record in records]
    width = terminal_width()
    return format_table(rows, limit=width - 2 if width else 0)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or NONE
