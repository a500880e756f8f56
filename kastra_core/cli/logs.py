"""``kastra logs``: what happened in a run, step by step, from its journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import orjson

from kastra_core.api.meta import Resource
from kastra_core.api.selectors import FieldSelector
from kastra_core.cli.common import KubectlCommand, current, emit, namespace_option, output_option
from kastra_core.cli.run_target import find_run, find_target, option_n
from kastra_core.cli.run_view import end_line, ended_process, follow_journal, follow_records, head_line
from kastra_core.errors import UserError
from kastra_core.protocols.store import Record

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["command", "last_run", "run_of"]


@click.command(cls=KubectlCommand)
@click.argument("what", metavar="run/NAME | KIND/NAME")
@namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends, whichever process has it.")
@output_option("text", "json")
def command(what: str, namespace: str | None, follow: bool, output: str) -> None:
    """Show the steps of a run: time, path, outcome, duration, tokens, result.

    A run of a workflow is shown by the steps of the workflow, others by what is in their journal. Of another kind
    (agent/NAME), the last run of it. With -o json the records of the journal, one a line.
    """
    state = current()
    as_json = output == "json"

    async def read(runtime: RuntimeManager) -> str:
        run = await run_of(runtime, what, namespace)
        records = await runtime.store.journal.records(run.metadata.uid)
        if as_json:
            return _json_lines(records)
        from kastra_core.cli.run_history import History

        lines = await History(runtime, run).lines(records)
        ended = await ended_process(runtime, run)
        return "\n".join([head_line(run), *lines, end_line(run), *([f"  {ended}"] if ended else [])])

    async def watch(runtime: RuntimeManager) -> None:
        run = await run_of(runtime, what, namespace)
        if not as_json:
            emit(head_line(run))
        here = option_n(runtime, run.metadata.namespace)

        def orphaned() -> None:
            state.note(
                f"its process ended; `kastra run resume run/{run.metadata.name}{here}` goes on, and so does any "
                "`kastra run`"
            )

        if as_json:
            await follow_records(runtime, run, lambda records: emit(_json_lines(records)), orphaned)
            return
        from kastra_core.cli.run_history import History

        history = History(runtime, run)

        async def look(records: Sequence[Record], over: bool) -> None:
            emit("\n".join(await history.lines(records, over=over)))

        await follow_journal(runtime, run, look, orphaned)
        emit(end_line(await runtime.client.require(run.key)))

    if follow:
        state.run(watch)
        return
    emit(state.read(read))


def _json_lines(records: Sequence[Record]) -> str:
    return "".join(orjson.dumps(_data(line)).decode() + "\n" for line in records)


def _data(line: Record) -> dict[str, object]:
    return {"seq": line.seq, "timeS": round(line.time_s, 3), "path": line.path, "record": line.record}


async def run_of(runtime: RuntimeManager, what: str, namespace: str | None) -> Resource:
    """The run that ``run/NAME`` or ``NAME`` names; of ``KIND/NAME`` the last one. Raises: UserError, NotFoundError."""
    word, slash, _ = what.partition("/")
    if not slash or runtime.registry.resolve(word).kind == "Run":
        return await find_run(runtime, what, namespace)
    target = (await find_target(runtime, what, namespace)).key
    return await last_run(runtime, target.kind, target.namespace, target.name)


async def last_run(runtime: RuntimeManager, kind: str, namespace: str, name: str) -> Resource:
    """The latest run of a resource. Raises: UserError when it has none."""
    fields = FieldSelector.parse(f"spec.target.name={name},spec.target.kind={kind}")
    runs = (await runtime.client.list(runtime.registry.resolve("runs"), fields=fields)).items
    of = [run for run in runs if (run.spec["target"].get("namespace") or "") == namespace]
    if not of:
        raise UserError(f"{kind.lower()}/{name} has no runs yet; `kastra run {kind.lower()}/{name}` makes one")
    # Timestamps count seconds only; of two runs in one second the one that was written last is taken.
    return max(of, key=lambda run: (run.metadata.creation_timestamp, int(run.metadata.resource_version)))
