"""What a run's journal says, for people: a line per step, and a table of steps."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.cli.common import style
from kastra_core.cli.run_screen import in_one_line, usage_words
from kastra_core.cli.run_target import option_n, short_name
from kastra_core.cli.tables import clip, format_table, terminal_width
from kastra_core.errors import KastraError
from kastra_core.execution.run_status import FINISHED
from kastra_core.execution.worker import Worker
from kastra_core.protocols.store import Record

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = [
    "Step",
    "describe_run",
    "end_line",
    "ended_process",
    "follow_journal",
    "follow_records",
    "head_line",
    "is_orphaned",
    "step_line",
    "steps_of",
]

_PIPE_WIDTH = 300
"""Columns of a line on a stdout that is no terminal."""
_POLL_S = 0.3
_ORPHAN_CHECK_S = 2.0


@attrs.frozen(kw_only=True)
class Step:
    """One line of a journal, read."""

    path: str
    """Without the leading slash."""
    kind: str
    """model, tool, run (a child), sleep, signal, now, start (of what is done at most once), ended (a branch that was
    ended before it was done), damaged, or step for all else."""
    ok: bool
    time_s: float
    """Unix seconds of its end."""
    ms: int | None
    """How long it took, None where that means nothing."""
    tokens: tuple[int, int] | None
    """Input and output tokens of a model call or a child run."""
    detail: str
    """Result or error, on one line, not cut."""


def steps_of(records: Sequence[Record]) -> list[Step]:
    """The steps of a journal, in order."""
    return [_step(line) for line in records]


def _step(line: Record) -> Step:
    try:
        return _read(line)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, OSError):
        # Nobody's runtime wrote that; what it is can be shown all the same.
        return Step(
            path=line.path.removeprefix("/"),
            kind="damaged",
            ok=False,
            time_s=line.time_s,
            ms=None,
            tokens=None,
            detail=in_one_line(line.record),
        )


def _read(line: Record) -> Step:
    record = line.record if isinstance(line.record, dict) else {"r": line.record}
    path = line.path.removeprefix("/")
    error = record.get("e")
    kind = _kind(path, record)
    usage: Mapping[str, Any] = record.get("u") or {}
    tokens = None
    if kind == "model" and error is None:
        used = record["r"].get("usage") or {} if isinstance(record["r"], dict) else {}
        tokens = (used.get("input_tokens", 0), used.get("output_tokens", 0))
    elif usage:
        tokens = (usage.get("inputTokens", 0), usage.get("outputTokens", 0))
    return Step(
        path=path,
        kind=kind,
        ok=error is None,
        time_s=line.time_s,
        ms=record.get("ms"),
        tokens=tokens,
        detail=f"{error.get('reason')}: {in_one_line(error.get('message'))}" if error else _detail(kind, record),
    )


def _kind(path: str, record: JsonObject) -> str:
    result = record.get("r")
    if path.endswith("!"):
        return "start"
    if "until" in record:
        return "sleep"
    if "sig" in record:
        return "signal"
    if "by" in record:
        return "ended"
    if "u" in record:
        return "run"
    if record.get("c") in ("model", "tool"):
        return str(record["c"])
    if isinstance(result, dict):
        if "message" in result and "finish_reason" in result:
            return "model"
        if set(result) == {"output"}:
            return "tool"
    name = path.rpartition("/")[2].partition("#")[0]
    if name == "now" and "ms" not in record:
        return "now"
    if "e" in record:
        # An error does not say what failed; these are the names that agents give.
        return "model" if name == "chat" else "tool" if path.startswith("all#") else "step"
    return "step"


def _detail(kind: str, record: JsonObject) -> str:
    result: Any = record.get("r")
    if isinstance(result, dict) and "message" in result and "finish_reason" in result:
        return _answer(result)
    if kind == "tool" and isinstance(result, dict) and set(result) == {"output"}:
        return in_one_line(result["output"])
    if kind == "ended":
        return f"the branch {record['by']} ended the others"
    if kind == "start":
        return "begins"
    if kind == "sleep":
        return f"until {_clock(record['until'])}"
    return in_one_line(result)


def _answer(response: Mapping[str, Any]) -> str:
    words = [str(response.get("finish_reason"))]
    for part in response["message"].get("parts") or ():
        if part.get("type") == "tool_call":
            words.append(f"-> {part.get('name')} {in_one_line(part.get('arguments'))}")
        elif part.get("content"):
            words.append(in_one_line(part["content"]))
    return " ".join(words)


def _clock(instant_s: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(instant_s))}.{int(instant_s * 1000) % 1000:03d}"


def step_line(step: Step) -> str:
    """``10:02:11.120  chat#0  ok  412ms  13+20 tokens, stop Egg soup.``, cut to the terminal."""
    word = f"{'ok' if step.ok else 'error':<5}"
    head = f"{_clock(step.time_s)}  {step.path:<28}  "
    took = f"{step.ms}ms" if step.ms is not None else ""
    tokens = f"{step.tokens[0]}+{step.tokens[1]} tokens, " if step.tokens else ""
    rest = f"  {took:>7}  {tokens}{step.detail}"
    room = (terminal_width() or _PIPE_WIDTH) - len(head) - len(word)
    return f"{head}{style(word, fg='green' if step.ok else 'red')}{clip(rest, max(room, 20))}".rstrip()


def head_line(run: Resource) -> str:
    """Which run it is and when it began."""
    target = run.spec.get("target") or {}
    place = f"{target.get('namespace')}/" if target.get("namespace") else ""
    of = short_name(str(target.get("kind") or "?"), f"{place}{target.get('name') or '?'}")
    began = run.status.get("startedAt") or run.metadata.creation_timestamp
    return style(f"run/{run.metadata.name} of {of}, started {began}", bold=True)


def end_line(run: Resource) -> str:
    """How it ended, or how it stands."""
    status = run.status
    phase = str(status.get("phase") or "Pending")
    if phase == "Succeeded":
        text = f"Succeeded: {usage_words(status.get('usage') or {}, status.get('durationS'))}"
    elif phase in ("Failed", "Cancelled"):
        text = f"{phase} ({status.get('reason')}): {in_one_line(str(status.get('message') or ''))}"
    else:
        text = phase
    return style(text, bold=True)


async def is_orphaned(runtime: RuntimeManager, run: Resource) -> bool:
    """Whether an unfinished run has no live worker and no reason to wait: `kastra run resume` would take it over.

    So has one that waits for such a run, which it called.
    """
    from kastra_core.cli.run_waking import is_due, unfinished_called

    claim = await runtime.store.journal.claim(run.metadata.uid)
    if claim is None:
        return False
    if claim.holder:
        lease = await runtime.store.leases.get(claim.holder)
        return not Worker(runtime.store).alive(lease, runtime.clock())  # runtime.runs would need an event loop
    if await is_due(runtime, run, claim):
        return True
    for child in await unfinished_called(runtime, run):
        if await is_orphaned(runtime, child):
            return True
    return False


async def ended_process(runtime: RuntimeManager, run: Resource) -> str:
    """What to tell of an unfinished run whose process is not there any more, "" of others."""
    if run.status.get("phase") in FINISHED or not await is_orphaned(runtime, run):
        return ""
    here = option_n(runtime, run.metadata.namespace)
    return f"its process ended; `kastra run resume run/{run.metadata.name}{here}` goes on with it"


async def follow_records(
    runtime: RuntimeManager, run: Resource, show: Callable[[Sequence[Record]], None], orphaned: Callable[[], None]
) -> JsonObject:
    """Show the records of a run, then new ones until it ends, whichever process executes it.

    Args:
        show: called with new records; never with none.
        orphaned: called once when the process that had the run has ended.
    Returns: the final status.
    """
    seen = 0

    async def look(records: Sequence[Record], over: bool) -> None:
        nonlocal seen
        if len(records) > seen:
            show(records[seen:])
            seen = len(records)

    return await follow_journal(runtime, run, look, orphaned)


async def follow_journal(
    runtime: RuntimeManager,
    run: Resource,
    look: Callable[[Sequence[Record], bool], Awaitable[None]],
    orphaned: Callable[[], None],
) -> JsonObject:
    """Look at the journal of a run again and again until the run ends, whichever process executes it.

    Args:
        look: called with all records, and whether they are the last; also when there are no new ones.
        orphaned: called once when the process that had the run has ended.
    Returns: the final status.
    """
    import asyncio

    told = seen = False
    look_at = runtime.clock()
    end = asyncio.create_task(runtime.runs.wait(run.key))
    try:
        while True:
            over = end.done()
            await look(await runtime.store.journal.records(run.metadata.uid), over)
            if over:
                return end.result()
            if not told and runtime.clock() >= look_at:
                look_at = runtime.clock() + _ORPHAN_CHECK_S
                found = await is_orphaned(runtime, run)
                claim = await runtime.store.journal.claim(run.metadata.uid) if found else None
                # One that nobody has may be on its way to a worker that watches: that is looked at twice.
                if claim is not None and (seen or claim.holder):
                    told = True
                    orphaned()
                seen = found
            await asyncio.wait({end}, timeout=_POLL_S)
    finally:
        end.cancel()


async def describe_run(runtime: RuntimeManager, resource: Resource) -> str:
    """A note, and the sections ``Awaiting`` and ``Steps`` of ``kastra describe run/NAME``; "" for a run with none."""
    ended = await ended_process(runtime, resource) if resource.spec else ""
    note = f"Note:        {ended}\n" if ended else ""
    return note + await _sections(runtime, resource)


async def _sections(runtime: RuntimeManager, resource: Resource) -> str:
    from kastra_core.cli.run_answer import awaiting_section
    from kastra_core.cli.run_steps import rows_of, step_table
    from kastra_core.execution.replay import replay

    records = await runtime.store.journal.records(resource.metadata.uid)
    note = ""
    try:
        trace = await replay(runtime, resource)
    except KastraError as error:
        note = f"  (as records only: {in_one_line(str(error))})\n" if resource.spec else ""
    else:
        rows = rows_of(trace, resource)
        if rows:
            return awaiting_section(runtime, resource) + step_table(rows, runtime.clock())
    table = _record_table(records)
    return (awaiting_section(runtime, resource) if resource.spec else "") + table + (note if table else "")


def _record_table(records: Sequence[Record]) -> str:
    steps = steps_of(records)
    if not steps:
        return ""
    rows = [["PATH", "KIND", "OK", "MS", "TOKENS", "RESULT"]]
    rows.extend(
        [
            step.path,
            step.kind,
            "ok" if step.ok else "error",
            "" if step.ms is None else str(step.ms),
            f"{step.tokens[0]}+{step.tokens[1]}" if step.tokens else "",
            clip(step.detail, 100),
        ]
        for step in steps
    )
    text = format_table(rows, limit=max(terminal_width() - 2, 0))
    return f"{style('Steps', bold=True)}:\n" + "".join(f"  {line}" for line in text.splitlines(keepends=True))
