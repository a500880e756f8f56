"""Answering a suspended run: what it awaits, and a plain yes or no asked for on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.cli.common import style
from kastra_core.cli.run_awaiting import awaiting_lines
from kastra_core.cli.run_target import option_n

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["ask", "awaited", "awaiting_section", "lines_of_awaited"]


def awaited(run: Resource) -> list[Mapping[str, Any]]:
    """The signals that a suspended run awaits: ``signal``, and what else it says (``message``, ``schema``)."""
    if run.status.get("phase") != "Suspended":
        return []
    found = run.status.get("awaiting")
    items = found if isinstance(found, list) else []
    return [item for item in items if isinstance(item, Mapping) and item.get("signal")]


def lines_of_awaited(runtime: RuntimeManager, run: Resource) -> Iterator[str]:
    """Each thing that a run awaits, with the command that answers it."""
    here = option_n(runtime, run.metadata.namespace)
    for item in awaited(run):
        yield from awaiting_lines(run.metadata.name, item, here)


def awaiting_section(runtime: RuntimeManager, run: Resource) -> str:
    """The section ``Awaiting`` of ``kastra describe run/NAME``, "" for a run that awaits nothing."""
    lines = list(lines_of_awaited(runtime, run))
    return f"{style('Awaiting', bold=True)}:\n" + "".join(f"  {line}\n" for line in lines) if lines else ""


def ask(run: Resource) -> JsonObject | None:
    """Ask a person for what a run awaits, when that is one plain yes or no; None when nothing was asked.

    Without a terminal, for several signals and for anything but yes or no nothing is.
    """
    waits = awaited(run)
    if len(waits) != 1 or sys.stdin is None or not sys.stdin.isatty():
        return None
    name = _yes_or_no(waits[0].get("schema"))
    if not name:
        return None
    for line in str(waits[0].get("message") or "").splitlines():
        click.echo(line, err=True)
    return {name: click.confirm(f"{name}?", default=False, err=True)}


def _yes_or_no(schema: Any) -> str:
    """The name of the one property that a schema wants, when it is a boolean; else ""."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return ""
    wanted = schema.get("required") or list(properties)
    if not isinstance(wanted, list) or len(wanted) != 1:
        return ""
    value = properties.get(wanted[0])
    return str(wanted[0]) if isinstance(value, Mapping) and value.get("type") == "boolean" else ""
