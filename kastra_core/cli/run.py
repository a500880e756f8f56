"""``kastra run``: an agent, a tool or another executable resource, from the command line to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey, is_true
from kastra_core.cli.common import (
    DURATION,
    CliState,
    KubectlCommand,
    current,
    emit,
    namespace_option,
    output_option,
)
from kastra_core.cli.completion import complete_threads
from kastra_core.errors import UserError

if TYPE_CHECKING:
    from kastra_core.cli.run_session import RunSession
    from kastra_core.runtime import RuntimeManager

__all__ = [
    "FORMATS",
    "SUBCOMMANDS",
    "RunCommand",
    "Shown",
    "command",
    "execute",
    "labels_of",
    "leave",
    "limits_of",
    "report",
]

SUBCOMMANDS: dict[str, str] = {
    "resume": "kastra_core.cli.run_control:resume",
    "cancel": "kastra_core.cli.run_control:cancel",
    "retry": "kastra_core.cli.run_control:retry",
    "attach": "kastra_core.cli.run_control:attach",
}
"""First words that are commands about runs that exist; a target has a slash, so none is mistaken for one."""

FORMATS = ("text", "json", "yaml", "name", "events")
_FAILED = 5

_EXAMPLES = """\b
Examples:
  kastra run agent/recipe-assistant "What can I cook with eggs?" -n cooking
  git diff | kastra run agent/reviewer
  kastra run agent/reviewer "Is this right?" - < main.py
  kastra run agent/recipe-assistant --thread dinner And with rice?
  kastra run agent/recipe-assistant --model local/auto "Something with eggs"
  kastra run agent/writer --provider openai=litellm --limit maxModelCalls=3 Hello
  kastra run tool/recipe-finder --set 'ingredients=[egg, rice]' -o json

\b
Runs that exist:
  kastra run resume [run/NAME]   go on with what was interrupted, or suspended
  kastra run cancel run/NAME     cancel runs, whichever process has them
  kastra run retry run/NAME      start the same again, as a new run
  kastra run attach run/NAME     follow a run of another process

\b
Exit codes: 0 answered or suspended, 1 wrong input or target not ready,
5 the run ended without an answer, 130 Ctrl-C (the first cancels, the second
leaves at once)."""


class RunCommand(KubectlCommand):
    """``kastra run``; some first words are commands of their own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in SUBCOMMANDS:
            found: click.Command = load(SUBCOMMANDS[args[0]])
            return found.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


class Shown:
    """How a command shows a run: the listener of its events, and what is written at its end.

    Args:
        output: one of ``FORMATS``, "" for text.
        stream: None = when that cannot put anything but the answer on stdout.
        target: what runs.
    """

    def __init__(self, state: CliState, output: str, stream: bool | None, target: Resource, refers: bool) -> None:
        from kastra_core.cli.run_screen import ErrorLines, EventLines, Screen

        self.output = output or "text"
        self.lines = ErrorLines(quiet=state.quiet)
        as_text = self.output == "text"
        self.screen = Screen(self.lines, stream=_streams(stream, target, refers), answer=as_text)
        self.events = EventLines() if self.output == "events" else None
        self.listener = None if stream is False and self.events is None else self.events or self.screen

    @property
    def broken(self) -> bool:
        return self.screen.broken or (self.events is not None and self.events.broken)


def _streams(asked: bool | None, target: Resource, refers: bool) -> bool:
    """Whether text may go to stdout as it comes.

    A model that calls tools may say something before it does, and one whose answer must fit a schema may have to
    answer again; a person who looks on does not mind, but what stands in a pipe cannot be taken back.
    """
    import sys

    if asked is not None:
        return asked
    if target.spec.get("output"):
        return False
    return sys.stdout.isatty() or not refers


def labels_of(values: Sequence[str]) -> dict[str, str]:
    """The labels that ``--label KEY=VALUE`` sets. Raises: UserError."""
    from kastra_core.metadata import label_problems

    out: dict[str, str] = {}
    for text in values:
        key, equal, value = text.partition("=")
        if not equal or label_problems({key: value}):
            raise UserError(
                f"--label {text!r}: write KEY=VALUE, for example --label app=kitchen; both are at most 63 letters, "
                "digits, '-', '_' and '.', and begin and end with a letter or digit"
            )
        out[key] = value
    return out


def limits_of(values: Sequence[str], timeout_s: float | None) -> JsonObject:
    """The limits that ``--limit NAME=VALUE`` and ``--timeout`` set. Raises: UserError."""
    from kastra_core.cli.run_input import read_value

    out: JsonObject = {}
    for text in values:
        name, equal, value = text.partition("=")
        number = read_value(value, name) if equal else None
        if not isinstance(number, (int, float)) or isinstance(number, bool) or number < 0:
            raise UserError(f"--limit {text!r}: write NAME=NUMBER, for example --limit maxModelCalls=3")
        out[name] = number
    if timeout_s is not None:
        out["timeoutS"] = timeout_s
    return out


@click.command(cls=RunCommand, epilog=_EXAMPLES)
@click.argument("target", metavar="KIND/NAME")
@click.argument("words", nargs=-1, metavar="[INPUT]...")
@namespace_option
@click.option("--input", "document", metavar="JSON|@FILE", help="The input as JSON, or a file with it (@- for stdin).")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A field of the input (repeatable).")
@click.option(
    "--thread",
    metavar="NAME",
    shell_complete=complete_threads,
    help="The conversation to go on with; made when it is not there.",
)
@click.option("--model", metavar="PROVIDER/NAME", help="Answer with this model in place of the target's.")
@click.option("--provider", "plugins", metavar="NAME=PLUGIN", multiple=True, help="The plugin that serves a provider.")
@click.option("--limit", "limits", metavar="NAME=VALUE", multiple=True, help="A limit of this run (repeatable).")
@click.option("--timeout", "timeout_s", type=DURATION, metavar="DURATION", help="Short for --limit timeoutS=SECONDS.")
@click.option("--name", metavar="NAME", help="Name of the Run; default: made from the target's.")
@click.option("-l", "--label", "labels", metavar="KEY=VALUE", multiple=True, help="A label of the Run (repeatable).")
@click.option("--priority", type=int, default=0, metavar="N", help="Higher ones start first when all slots are busy.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Show the answer as it comes. Default: on a terminal, and in a pipe when the target refers to no tools.",
)
@output_option(*FORMATS)
def command(
    target: str,
    words: tuple[str, ...],
    namespace: str | None,
    document: str | None,
    assignments: tuple[str, ...],
    plugins: tuple[str, ...],
    limits: tuple[str, ...],
    labels: tuple[str, ...],
    timeout_s: float | None,
    stream: bool | None,
    output: str,
    **options: Any,
) -> None:
    """Run an agent, a tool or another executable resource and print its answer.

    The input are words, or what is piped in (a word - stands for it), or JSON. Only the answer goes to stdout.
    """
    from kastra_core.cli.run_input import read_input

    value = read_input(words, document, assignments)
    options["limits"] = limits_of(limits, timeout_s)
    options["labels"] = labels_of(labels)
    state = current()

    async def go(runtime: RuntimeManager) -> int:
        from kastra_core.cli.run_target import choose_plugins, find_target

        choose_plugins(runtime, plugins)
        found = await find_target(runtime, target, namespace)
        if value is None and found.kind in ("Agent", "Network"):
            raise UserError(
                f"{target} needs input: write it after the target, or pipe it in; `kastra chat` asks for it"
            )
        return await execute(state, runtime, found, value, options, output=output, stream=stream)

    leave(state.run(go))


async def execute(
    state: CliState,
    runtime: RuntimeManager,
    target: Resource,
    value: JsonValue,
    options: Mapping[str, Any],
    *,
    output: str,
    stream: bool | None,
    before: Sequence[JsonObject] = (),
) -> int:
    """Start a run, show it, and return the exit code.

    Args:
        options: fields of RunOptions.
        before: events of what it takes over of another run.
    """
    from kastra_core.cli.run_target import preload_model, require_model, tell_notes

    preload_model(runtime, target, options.get("model"))
    from kastra_core.cli.run_session import RunSession

    kind = runtime.registry.of_key(target.key)
    refers = kind.references is not None and any(True for _ in kind.references_of(target))
    shown = Shown(state, output, stream, target, refers)
    session = RunSession(runtime, shown.listener, shown.lines)
    if options.get("model"):
        require_model(runtime, options["model"], target)
    with session.interrupts:
        try:
            await session.begin()
            if shown.listener is shown.screen:
                shown.screen.take_over(before)
            handle = await runtime.start_run(runtime.reference(_spelled(target)), value, **options)
            session.follow(handle.key)
            if not is_true(target):
                target = await runtime.client.get(target.key) or target
            tell_notes(state, runtime, target, options.get("model"))
            if shown.events is not None:
                shown.events.event({"type": "started", "run": handle.name, "namespace": handle.key.namespace})
            status = await session.wait(handle.key)
            code = report(runtime, handle.key, handle.resource, status, shown, session)
            await session.drain_resumed()
        except asyncio.CancelledError:
            if not session.interrupted:
                raise
            return 130
        finally:
            shown.screen.stop()
    if shown.broken:
        raise BrokenPipeError
    return code


def _spelled(target: Resource) -> Mapping[str, str]:
    return {"kind": target.kind, "name": target.metadata.name, "namespace": target.metadata.namespace}


def leave(code: int) -> None:
    """End the command with an exit code."""
    if code:
        raise click.exceptions.Exit(code)


def report(
    runtime: RuntimeManager,
    key: ResourceKey,
    run: Resource,
    status: Mapping[str, Any],
    shown: Shown,
    session: RunSession,
) -> int:
    """Write what came of a run; return the exit code."""
    from kastra_core.cli.run_screen import usage_words
    from kastra_core.cli.run_session import INTERRUPTED, failure_of

    phase, lines = status.get("phase"), shown.lines
    if phase == "Succeeded":
        shown.screen.finish(status.get("output"))
    else:
        shown.screen.stop(waits=phase == "Suspended")
    _write_object(runtime, key, run, status, shown)
    usage = usage_words(status.get("usage") or {}, status.get("durationS"))
    if lines.is_tty and usage:
        lines.say(f"run {key.name}: {usage}", cut=False)
    if phase == "Succeeded":
        return 0
    if phase == "Suspended":
        for line in _suspended_lines(runtime, key, status):
            lines.must_say(line)
        return 0
    if phase == "Cancelled":
        lines.must_say(f"run/{key.name} was cancelled")
        return INTERRUPTED if session.interrupted else _FAILED
    lines.must_say(failure_of(runtime, key, status))
    return _FAILED


def _suspended_lines(runtime: RuntimeManager, key: ResourceKey, status: Mapping[str, Any]) -> list[str]:
    """What a suspended run waits for, and how to let it go on."""
    from kastra_core.cli.run_awaiting import awaiting_lines
    from kastra_core.cli.run_target import option_n

    here, awaiting = option_n(runtime, key.namespace), status.get("awaiting") or ()
    if not awaiting:
        return [
            f"run/{key.name} is suspended until a signal comes: "
            f"`kastra run resume run/{key.name}{here} --signal NAME --data JSON` goes on"
        ]
    lines = [f"run/{key.name} is suspended"]
    for item in awaiting:
        lines.extend(awaiting_lines(key.name, item, here))
    if status.get("wakeAtS") is not None:
        from kastra_core.api.meta import rfc3339

        lines.append(f"without an answer it goes on at {rfc3339(status['wakeAtS'])}, where `kastra serve` runs")
    return lines


def _write_object(
    runtime: RuntimeManager, key: ResourceKey, run: Resource, status: Mapping[str, Any], shown: Shown
) -> None:
    if shown.output == "text":
        return
    out: JsonObject = {"run": key.name, "namespace": key.namespace, "phase": status.get("phase")}
    for name in ("output", "usage", "reason", "message", "durationS", "awaiting"):
        if status.get(name) not in (None, ""):
            out[name] = status[name]
    if run.spec.get("thread"):
        out["thread"] = run.spec["thread"]
    if shown.events is not None:
        shown.events.event({"type": "completed", **out})
    elif shown.output == "name":
        from kastra_core.cli.printing import kind_name

        emit(kind_name(runtime.registry.of_key(key), key.name))
    else:
        from kastra_core.cli.printing import render_data

        emit(render_data(out, shown.output))
