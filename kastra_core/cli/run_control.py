"""``kastra run resume|cancel|retry|attach``: runs that exist."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kastra_core.api.meta import JsonObject, JsonValue, Resource, ResourceKey
from kastra_core.cli.common import (
    DURATION,
    CliState,
    KubectlCommand,
    current,
    emit,
    namespace_option,
    output_option,
    timeout_option,
)
from kastra_core.cli.failures import leaving
from kastra_core.cli.run import FORMATS, Shown, execute, leave, limits_of, report
from kastra_core.cli.run_session import INTERRUPTED, RunSession
from kastra_core.cli.run_target import choose_plugins, find_run, option_n
from kastra_core.errors import KastraError, RunFailedError, StoreError, UserError
from kastra_core.execution.run_status import FINISHED

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["attach", "cancel", "resume", "retry"]

_FAILED = 5
_RUN = "run/NAME"
_provider_option = click.option(
    "--provider", "plugins", metavar="NAME=PLUGIN", multiple=True, help="The plugin that serves a provider."
)


@click.command(cls=KubectlCommand)
@click.argument("name", metavar=f"[{_RUN}]", required=False)
@namespace_option
@click.option("--signal", metavar="NAME", help="Send a signal to the run, which may be what it waits for.")
@click.option("--data", metavar="JSON|@FILE", help="The answer to what the run awaits, or what the signal carries.")
@_provider_option
@output_option(*FORMATS)
def resume(
    name: str | None,
    namespace: str | None,
    signal: str | None,
    data: str | None,
    plugins: tuple[str, ...],
    output: str,
) -> None:
    """Go on with runs whose process ended, to their end; with a name, print the output of that one.

    With --data a run that awaits an answer gets it, or the one that it called; --signal says which when it awaits
    several. Runs above it go on too. What had finished of a run is not done again. Ctrl-C hands the runs back.
    """
    if name is None and (signal or data is not None or output):
        raise UserError("--signal, --data and -o need the name of a run: kastra run resume run/NAME")
    answer: _Answer | None = None
    if data is not None:
        from kastra_core.cli.run_input import read_json

        answer = _Answer(signal or "", read_json(data, "--data"))
    elif signal:
        answer = _Answer(signal, None)
    state = current()

    async def go(runtime: RuntimeManager) -> int:
        choose_plugins(runtime, plugins)
        if name is None:
            return await _resume_all(state, runtime)
        run = await _started(runtime, await find_run(runtime, name, namespace))
        shown = Shown(state, output, None, run, True)
        if run.status.get("phase") in FINISHED and answer is None:
            shown.lines.say(f"run/{run.metadata.name} is over already")
            session = RunSession(runtime, None, shown.lines)
            return report(runtime, run.key, run, run.status, shown, session)
        to = run
        if (answer is None or not answer.signal) and run.status.get("phase") not in FINISHED:
            to = await _awaiting_one(runtime, run, answered=answer is not None)
        return await _resume_one(runtime, run, shown, answer or _asked(to), to)

    leave(state.run(go))


async def _awaiting_one(runtime: RuntimeManager, run: Resource, *, answered: bool) -> Resource:
    """Who gets the answer to a run: itself, or the one run that awaits something of all that it called.

    Raises: UserError when there is an answer and several await one.
    """
    from kastra_core.cli.run_answer import awaited
    from kastra_core.cli.run_awaiting import awaiting_lines
    from kastra_core.cli.run_waking import awaited_below

    found = [] if awaited(run) else await awaited_below(runtime, run)
    if len(found) == 1:
        return found[0][0]
    if not (found and answered):
        return run
    lines = [f"run/{run.metadata.name} called runs that await {len(found)} answers; give each to the one that asks:"]
    for child, item in found:
        lines += awaiting_lines(child.metadata.name, item, option_n(runtime, child.metadata.namespace))
    raise UserError("\n".join(lines))


async def _started(runtime: RuntimeManager, run: Resource) -> Resource:
    """The run, when it is over or somebody can have it. Raises: UserError (waiting for its end would never end)."""
    if run.status.get("phase") in FINISHED or await runtime.store.journal.claim(run.metadata.uid) is not None:
        return run
    run = await runtime.client.require(run.key)  # it may have ended between the two looks
    if run.status.get("phase") in FINISHED:
        return run
    name = f"run/{run.metadata.name}"
    raise UserError(
        f"{name} was never started, so no process can go on with it; `kastra run KIND/NAME` starts a run, "
        f"`kastra delete {name}{option_n(runtime, run.metadata.namespace)}` removes this one"
    )


class _Answer(NamedTuple):
    """What is sent to a run."""

    signal: str
    """Its name, "" for the one that the run awaits."""
    payload: JsonValue


def _asked(run: Resource) -> _Answer | None:
    """What a person at the terminal answers, when a run awaits a plain yes or no."""
    from kastra_core.cli.run_answer import ask

    payload = ask(run)
    return None if payload is None else _Answer("", payload)


async def _resume_all(state: CliState, runtime: RuntimeManager) -> int:
    from kastra_core.cli.run_screen import ErrorLines

    lines = ErrorLines(quiet=state.quiet)
    session = RunSession(runtime, None, lines, cancels=False)
    with session.interrupts:
        try:
            await session.begin()
            keys = list(runtime.runs.resumed)
            if not keys:
                lines.say("no interrupted runs")
                return 0
            await session.drain_resumed()
        except asyncio.CancelledError:
            if not session.interrupted:
                raise
            return INTERRUPTED
    phases = []
    for key in keys:
        run = await runtime.client.get(key)
        phases.append(str(run.status.get("phase")) if run is not None else "Deleted")
        emit(f"run/{key.name} {phases[-1]}")
    return _FAILED if "Failed" in phases else 0


async def _resume_one(
    runtime: RuntimeManager, run: Resource, shown: Shown, answer: _Answer | None, to: Resource
) -> int:
    """Go on with a run to its end; ``to``: who gets the answer, the run or one that it called."""
    from kastra_core.cli.run_view import is_orphaned

    status: JsonObject = {}
    session = RunSession(runtime, shown.listener, shown.lines, cancels=False)
    if shown.listener is shown.screen and run.status.get("phase") not in FINISHED:
        shown.screen.take_over(await _done_of(runtime, run))
    session.follow(run.key)
    with session.interrupts:
        try:
            await session.begin()
            if answer is not None:
                if to is not run:
                    shown.lines.say(
                        f"run/{run.metadata.name} waits for run/{to.metadata.name}, which gets the answer", cut=False
                    )
                await _send(runtime, to, answer, shown)
            elif runtime.runs.attach(run.key) is None:
                found = await runtime.client.require(run.key)
                if found.status.get("phase") == "Running" and not await is_orphaned(runtime, found):
                    shown.lines.say(f"run/{run.metadata.name} goes on in another process; waiting for its end")
            status = await session.wait(run.key)
            code = report(runtime, run.key, run, status, shown, session)
            await session.wait_above(run.key)
            await session.drain_resumed()
        except asyncio.CancelledError:
            if not session.interrupted:
                raise
            if status.get("phase") not in FINISHED:
                again = f"kastra run resume run/{run.metadata.name}{option_n(runtime, run.metadata.namespace)}"
                shown.lines.must_say(f"run/{run.metadata.name} is not over; `{again}` goes on")
            return INTERRUPTED
    return code


async def _done_of(runtime: RuntimeManager, run: Resource) -> list[JsonObject]:
    """The events of what a run did so far; none when its journal cannot be replayed here."""
    from kastra_core.execution.replay import replay

    try:
        return [entry.event for entry in (await replay(runtime, run)).entries]
    except StoreError:
        raise
    except KastraError:
        return []


async def _send(runtime: RuntimeManager, run: Resource, answer: _Answer, shown: Shown) -> None:
    """Send a run what it awaits. Raises: ValidationError (nothing was sent), UserError."""
    if not answer.signal:
        with leaving("nothing was sent"):
            signal = await runtime.runs.resume(run.key, answer.payload)
        shown.lines.say(f"answered {signal}")
        return
    with leaving("nothing was sent"):
        fresh = await runtime.runs.signal(run.key, answer.signal, answer.payload)
    shown.lines.say(f"signal {answer.signal} {'sent' if fresh else 'was sent before'}")
    awaited = [str(item.get("signal")) for item in run.status.get("awaiting") or ()]
    if run.status.get("phase") == "Suspended" and awaited and answer.signal not in awaited:
        shown.lines.say(f"it is kept: the run does not await {answer.signal!r} now, but {', '.join(awaited)}")


@click.command(cls=KubectlCommand)
@click.argument("names", metavar=f"{_RUN}...", nargs=-1, required=True)
@namespace_option
@timeout_option("10s", "How long to wait for the ends of the runs.")
def cancel(names: tuple[str, ...], namespace: str | None, timeout_s: float) -> None:
    """Cancel runs, whichever process executes them, and wait until they have ended."""

    async def go(runtime: RuntimeManager) -> int:
        runs = [await find_run(runtime, name, namespace) for name in names]
        over = [run for run in runs if run.status.get("phase") in FINISHED]
        keys = [run.key for run in runs if run not in over]
        for key in keys:
            await runtime.runs.cancel(key)
        late = await _wait_for(runtime, keys, timeout_s)
        if not late:
            await _end_called(runtime, [run for run in runs if run not in over], timeout_s)
        for run in over:
            click.echo(f"run/{run.metadata.name} is over already ({run.status.get('phase')})", err=True)
        for key in late:
            click.echo(
                f"error: run/{key.name} was asked to stop and has not ended within {timeout_s:g} s; "
                f"`kastra logs run/{key.name} -f{option_n(runtime, key.namespace)}` follows it",
                err=True,
            )
        return 1 if late or over else 0

    leave(current().run(go))


async def _end_called(runtime: RuntimeManager, runs: Sequence[Resource], timeout_s: float) -> None:
    """See over the runs that cancelled runs called: those that are suspended have the news, but nobody takes them."""
    from kastra_core.cli.run_waking import unfinished_called

    while runs:
        runs = [child for run in runs for child in await unfinished_called(runtime, run)]
        for child in runs:
            await runtime.runs.cancel(child.key)
        ends = [asyncio.ensure_future(runtime.runs.wait(child.key)) for child in runs]
        if ends:
            _, late = await asyncio.wait(ends, timeout=timeout_s)
            for end in late:
                end.cancel()


async def _wait_for(runtime: RuntimeManager, keys: Sequence[ResourceKey], timeout_s: float) -> list[ResourceKey]:
    """Print how each run ended; return those that did not within the time."""
    waits = {asyncio.create_task(runtime.runs.wait(key)): key for key in keys}
    if not waits:
        return []
    done, late = await asyncio.wait(waits, timeout=timeout_s)
    for task in done:
        phase = str(task.result().get("phase"))
        emit(f"run/{waits[task].name} {phase.lower()}")
    for task in late:
        task.cancel()
    return [waits[task] for task in late]


@click.command(cls=KubectlCommand)
@click.argument("name", metavar=_RUN)
@namespace_option
@click.option("--model", metavar="PROVIDER/NAME", help="Answer with this model in place of the first run's.")
@_provider_option
@click.option("--limit", "limits", metavar="NAME=VALUE", multiple=True, help="A limit of the run (repeatable).")
@click.option("--timeout", "timeout_s", type=DURATION, metavar="DURATION", help="Short for --limit timeoutS=SECONDS.")
@click.option("--stream/--no-stream", default=None, help="As of kastra run.")
@click.option("--from", "step", metavar="STEP", help="Go on from a step; what came before it is taken over as it was.")
@click.option("--as-started", is_flag=True, help="With --from: everything as the first run had it, not as it is now.")
@output_option(*FORMATS)
def retry(
    name: str,
    namespace: str | None,
    step: str | None,
    as_started: bool,
    model: str | None,
    plugins: tuple[str, ...],
    limits: tuple[str, ...],
    timeout_s: float | None,
    stream: bool | None,
    output: str,
) -> None:
    """Start a run's target again as a new run: same input, thread and model; the target as it is now.

    With --from STEP the steps before it are not carried out again. STEP is an id, or a path as `kastra describe
    run/NAME` shows it; of a step that ran several times the last time is meant.
    """
    if as_started and step is None:
        raise UserError("--as-started goes with --from STEP")
    state = current()
    asked = limits_of(limits, timeout_s)

    async def go(runtime: RuntimeManager) -> int:
        choose_plugins(runtime, plugins)
        run = await find_run(runtime, name, namespace)
        of = run.spec["target"]
        key = ResourceKey(of["group"], of["kind"], of["namespace"], of["name"])
        target = await runtime.client.get(key)
        if target is None and not as_started:
            again = f"kastra run retry run/{run.metadata.name}{option_n(runtime, run.metadata.namespace)}"
            raise UserError(
                f"{key}, the target of run/{run.metadata.name}, is not there any more; apply it again, or go on from a "
                f"step with it as it was: `{again} --from {step or 'STEP'} --as-started`"
            )
        options: dict[str, Any] = {
            "namespace": run.metadata.namespace,
            "thread": run.spec.get("thread"),
            "model": model or run.spec.get("model"),
            "priority": run.spec.get("priority", 0),
            "limits": asked,
        }
        before: Sequence[JsonObject] = ()
        if step is not None:
            from kastra_core.cli.run_retry import RETRY_OF, restart_from

            restart = await restart_from(runtime, run, target, step, as_started=as_started)
            options.update(journal=restart.journal, pins=restart.pins, annotations={RETRY_OF: run.metadata.name})
            target, before = restart.target, restart.events
        assert target is not None
        value = run.spec.get("input")
        return await execute(state, runtime, target, value, options, output=output, stream=stream, before=before)

    leave(state.run(go))


@click.command(cls=KubectlCommand)
@click.argument("name", metavar=_RUN)
@namespace_option
@output_option(*FORMATS)
def attach(name: str, namespace: str | None, output: str) -> None:
    """Follow a run that another process executes, and print its output. Ctrl-C leaves it alone."""
    state = current()

    async def go(runtime: RuntimeManager) -> int:
        from kastra_core.cli.run_history import History
        from kastra_core.cli.run_view import follow_journal, follow_records

        run = await _started(runtime, await find_run(runtime, name, namespace))
        shown = Shown(state, output, None, run, True)
        session = RunSession(runtime, None, shown.lines)
        here = option_n(runtime, run.metadata.namespace)

        def orphaned() -> None:
            raise RunFailedError(
                f"its process ended; `kastra run resume run/{run.metadata.name}{here}` goes on with it",
                reason="Interrupted",
                run=run.metadata.name,
            )

        history, events = History(runtime, run), shown.events

        async def look(records: Sequence[Any], over: bool) -> None:
            for line in await history.lines(records, over=over):
                shown.lines.say(line)

        if events is None:
            status = await follow_journal(runtime, run, look, orphaned)
        else:
            write = events.event

            def show(records: Sequence[Any]) -> None:
                for line in records:
                    write({"type": "record", "path": line.path, "record": line.record})

            status = await follow_records(runtime, run, show, orphaned)
        return report(runtime, run.key, run, status, shown, session)

    leave(state.run(go))
