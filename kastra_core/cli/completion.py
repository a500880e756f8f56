"""``kastra completion``: the script that makes a shell complete commands and options; and what completes names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kastra_core.cli.common import CliState, KubectlCommand, emit
from kastra_core.errors import KastraError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kastra_core.runtime import RuntimeManager

__all__ = ["command", "complete_threads"]

_MOST = 100
"""Names that are offered."""


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


def complete_threads(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The threads of the namespace that begin with ``incomplete``; none when the store cannot be read."""
    from click.shell_completion import CompletionItem

    from kastra_core.cli.app import take_options

    state = ctx.ensure_object(CliState)
    take_options(state, ctx.find_root().params)
    given = ctx.params.get(param.name or "") or ()
    taken = {given} if isinstance(given, str) else set(given)

    async def read(runtime: RuntimeManager) -> list[str]:
        where = ctx.params.get("namespace") or runtime.config.namespace
        threads = runtime.store.threads
        # Names come in order: those that begin so follow what is called just so.
        names = [incomplete] if incomplete and await threads.last_seq(where, incomplete) else []
        page = await threads.list(where, limit=_MOST, after=(where, incomplete))
        return [*names, *(info.thread for info in page if info.thread.startswith(incomplete))]

    try:
        names = state.read(read)
    except (KastraError, OSError):
        return []
    return [CompletionItem(name) for name in names if name not in taken]
