"""``kastra chat``: a conversation with an agent or a network, in a terminal or from a pipe."""

from __future__ import annotations

import sys

import click

from kastra_core.cli.common import KubectlCommand, current, namespace_option
from kastra_core.cli.completion import complete_threads
from kastra_core.cli.run import leave

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@click.argument("target", metavar="KIND/NAME")
@namespace_option
@click.option(
    "--thread",
    metavar="NAME",
    shell_complete=complete_threads,
    help="The conversation to go on with; default: a new one.",
)
@click.option("--model", metavar="PROVIDER/NAME", help="Answer with this model in place of the target's.")
@click.option("--provider", "plugins", metavar="NAME=PLUGIN", multiple=True, help="The plugin that serves a provider.")
@click.option("--limit", "limits", metavar="NAME=VALUE", multiple=True, help="A limit of each turn (repeatable).")
def command(
    target: str,
    namespace: str | None,
    thread: str | None,
    model: str | None,
    plugins: tuple[str, ...],
    limits: tuple[str, ...],
) -> None:
    """Talk with an agent or a network over a thread that is kept.

    A line is a turn; a backslash at its end, or three double quotes around, make longer ones. /help shows the
    commands. Ctrl-C stops an answer, Ctrl-D leaves. What is piped in is a turn a line, without a prompt.
    """
    from kastra_core.cli.chat_loop import LoopThread
    from kastra_core.cli.chat_session import ChatSession
    from kastra_core.cli.log import show_logs
    from kastra_core.cli.run import limits_of

    state = current()
    asked = limits_of(limits, None)
    show_logs(debug=state.debug, quiet=state.quiet)
    with LoopThread() as loop:
        runtime = loop.call(state.open_runtime())
        try:
            chat = ChatSession(state, loop, runtime, limits=asked)
            loop.call(chat.begin(target, namespace, thread=thread, model=model, plugins=plugins))
            code = chat.talk(interactive=sys.stdin.isatty())
        finally:
            loop.call(runtime.aclose())
    leave(code)
