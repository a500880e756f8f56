"""A command whose import brings a library along."""

from __future__ import annotations

import aiohttp
import click

__all__ = ["command"]


@click.command()
def command() -> None:
    """Say something."""
    click.echo(aiohttp.__version__)
