"""A command as a plugin may have it."""

from __future__ import annotations

import click

from kastra_core.errors import UserError

__all__ = ["command"]


@click.command()
@click.argument("name")
@click.option("--loud", is_flag=True, help="In capital letters.")
def command(name: str, loud: bool) -> None:
    """Say hello."""
    if not name:
        raise UserError("NAME is empty")
    text = f"Hello {name}"
    click.echo(text.upper() if loud else text)
