"""``kastra completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click

from kastra_core.cli.common import KubectlCommand, emit

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash: eval "$(kastra completion bash)" in ~/.bashrc
    zsh:  eval "$(kastra completion zsh)" in ~/.zshrc
    fish: kastra completion fish > ~/.config/fish/completions/kastra.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    emit(found(ctx.find_root().command, {}, "kastra", "_KASTRA_COMPLETE").source())
