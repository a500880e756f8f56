"""``kastra config``: show and change the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from kastra_core.cli.common import KubectlCommand, current, emit, output_option
from kastra_core.cli.printing import NONE, render_data
from kastra_core.cli.tables import format_table
from kastra_core.errors import UserError

__all__ = ["command"]


@click.group()
def command() -> None:
    """Show and change the configuration.

    What is built in is overridden by the user's file, that by the project's file, and that by the environment
    (KASTRA_STORE, KASTRA_NAMESPACE, KASTRA_MODEL, KASTRA_PLUGINS_BLOCK, KASTRA_MAX_CONCURRENCY).
    """


def _file(user: bool) -> Path:
    from kastra_core.config import find_project, project_file, user_file

    # Not from the loaded configuration: a file that is wrong must be mended with these very commands.
    return user_file() if user else project_file((current().project or find_project()).absolute())


_user_option = click.option("--user", is_flag=True, help="The user's file instead of the project's.")


@command.command(cls=KubectlCommand)
@click.option("--origin", is_flag=True, help="Show where each value comes from.")
@output_option("yaml", "json", default="yaml")
def view(origin: bool, output: str) -> None:
    """Show the configuration in force; secrets as ***."""
    config = current().config
    data = config.to_manifest()
    if not origin:
        emit(render_data(data, output))
        return
    rows = [["KEY", "VALUE", "ORIGIN"]]
    rows.extend([key, _shown(value), config.origin(key)] for key, value in _leaves(data))
    emit(format_table(rows))


@command.command(cls=KubectlCommand)
@click.argument("key")
@click.option("--user", is_flag=True, help="What the user's file says.")
@click.option("--project-file", is_flag=True, help="What the project's file says.")
def get(key: str, user: bool, project_file: bool) -> None:
    """Print the value of a key such as providers.openai.apiBase; exit code 1 when it has none."""
    from kastra_core.config import get_value

    if user or project_file:
        value = get_value(_file(user), key)
    else:
        value = current().config.to_manifest()
        for part in _parts(key):
            value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        raise UserError(f"{key} is not set; `kastra config view` shows what is")
    emit(render_data(value, "yaml") if isinstance(value, Mapping) else _shown(value))


@command.command("set", cls=KubectlCommand)
@click.argument("key")
@click.argument("value")
@_user_option
def set_(key: str, value: str, user: bool) -> None:
    """Set a key of the project's file (or the user's) to a value.

    The value is read as YAML; the rest of the file stays, with its comments.
    """
    from kastra_core.config import set_value

    file = _file(user)
    new = set_value(file, key, value)
    current().note(f"{key} is {_shown(_hidden(key, new))} in {file}")


@command.command(cls=KubectlCommand)
@click.argument("key")
@_user_option
def unset(key: str, user: bool) -> None:
    """Remove a key from the project's file (or the user's)."""
    from kastra_core.config import unset_value

    file = _file(user)
    if not unset_value(file, key):
        raise UserError(f"{key} is not set in {file}; `kastra config view --origin` shows what is set where")


@command.command(cls=KubectlCommand)
@_user_option
def path(user: bool) -> None:
    """Print the path of the project's file (or the user's); it need not exist."""
    emit(str(_file(user)))


def _parts(key: str) -> list[str]:
    """The parts of a dotted key; a part in double quotes may hold dots."""
    import re

    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^."]+)', key)]


def _leaves(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = f'"{key}"' if "." in key else key
        full = f"{path}.{name}" if path else name
        if isinstance(value, Mapping) and value and set(value) != {"valueFrom"}:
            yield from _leaves(value, full)
        else:
            yield full, value


def _shown(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_shown(item) for item in value)
    if isinstance(value, Mapping):
        import orjson

        return orjson.dumps(value).decode()
    return str(value)


def _hidden(key: str, value: Any) -> Any:
    from kastra_core.settings import shown_text

    if not isinstance(value, str) or ".valueFrom." in key:  # the name of a variable or a file is no secret
        return value
    return shown_text(key, value)
