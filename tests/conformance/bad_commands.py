"""Commands that break what is asked of commands."""

from __future__ import annotations

import click

__all__ = ["no_command", "no_help", "silent", "takes_all", "throws"]


@click.command()
@click.option("--quiet", is_flag=True)
def no_help(quiet: bool) -> None:
    """Say something."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def takes_all(words: tuple[str, ...]) -> None:
    """Say something."""


@click.command()
def throws() -> None:
    """Say something."""
    raise ValueError("oops")


@click.command()
@click.argument("word")
@click.pass_context
def silent(ctx: click.Context, word: str) -> None:
    """Say nothing."""
    ctx.exit(1)


def no_command() -> None:
    """Is none of click's."""
