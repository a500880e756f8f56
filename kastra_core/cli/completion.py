"""``kastra completion``: the script that makes a shell complete commands and options; and what completes names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kastra_core.cli.common import CliState, KubectlCommand, emit
from kastra_core.errors import KastraError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kastra_core.api.registry import KindRegistry
    from kastra_core.runtime import RuntimeManager

__all__ = ["command", "complete_kinds", "complete_resources", "complete_threads"]

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

    state = _state_of(ctx)
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


def complete_kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds that begin with ``incomplete``, those that definitions make included; none when they cannot be read."""
    from click.shell_completion import CompletionItem

    state = _state_of(ctx)
    try:
        registry = state.registry()
    except (KastraError, OSError):
        return []
    return [CompletionItem(word, help=text) for word, text in _kind_words(registry, incomplete)]


def complete_resources(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``KIND``, ``KIND/NAME`` and after a kind the names: what begins with ``incomplete`` and is not there yet."""
    from click.shell_completion import CompletionItem

    given = [str(word) for word in ctx.params.get(param.name or "") or ()]
    before, slash, begun = incomplete.rpartition("/")
    if not slash and (not given or "/" in given[0]):
        return complete_kinds(ctx, param, incomplete)
    kind_word = before if slash else given[0]
    namespace = ctx.params.get("namespace")

    async def read(runtime: RuntimeManager) -> list[str]:
        kind = runtime.registry.resolve(kind_word)
        where = (namespace or runtime.config.namespace) if kind.namespaced else None
        found = await runtime.client.list(kind, namespace=where)
        return [item.metadata.name for item in found.items]

    try:
        names = _state_of(ctx).read(read)
    except (KastraError, OSError):
        return []
    prefix = f"{before}/" if slash else ""
    words = [f"{prefix}{name}" for name in names if name.startswith(begun)]
    return [CompletionItem(word) for word in words if word not in given][:_MOST]


def _kind_words(registry: KindRegistry, incomplete: str) -> list[tuple[str, str]]:
    """Plurals, where two kinds share one with the group; the word and the text of the kind."""
    wanted = incomplete.lower()
    plurals = [kind.plural for kind in registry]
    words = [
        (kind.qualified_plural if plurals.count(kind.plural) > 1 or "." in wanted else kind.plural, kind.description)
        for kind in registry
    ]
    return [(word, text) for word, text in words if word.startswith(wanted)]


def _state_of(ctx: click.Context) -> CliState:
    from kastra_core.cli.app import take_options

    state = ctx.ensure_object(CliState)
    take_options(state, ctx.find_root().params)
    return state
