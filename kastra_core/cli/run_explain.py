"""``kastra explain run/NAME``: why each step of a run was chosen, tried again or left, and why the run ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import JsonObject, Resource
from kastra_core.cli.common import style
from kastra_core.cli.run_answer import lines_of_awaited
from kastra_core.cli.run_explain_routes import Routes, pointer
from kastra_core.cli.run_routing import is_route
from kastra_core.cli.run_screen import in_one_line, plural
from kastra_core.cli.run_steps import OpenSteps, StepRow, has_steps, path_of, reason_words, rows_of, took_words
from kastra_core.cli.run_view import end_line, head_line
from kastra_core.execution.run_status import FINISHED

if TYPE_CHECKING:
    from kastra_core.execution.replay import Trace
    from kastra_core.runtime import RuntimeManager

__all__ = ["children_of", "explain_run", "trace_data"]

_WORDED = "/answer#"
"""Journal path of the answer in a router's own words."""
DIFFERS = (
    "note: replayed over its journal this run does not end as it did; the plugin of its kind has changed since, "
    "and what is told here may not be what happened"
)


async def children_of(runtime: RuntimeManager, run: Resource) -> dict[str, Resource]:
    """Journal path -> the run that a call of this one made, in the order of their names."""
    meta = run.metadata
    found = await runtime.store.resources.list(MAIN_GROUP, run.kind, namespace=meta.namespace, owner_uid=meta.uid)
    return {str((child.spec.get("parent") or {}).get("path")): child for child in found.items}


def trace_data(run: Resource, trace: Trace, children: Mapping[str, Resource]) -> JsonObject:
    """The trace as ``-o json|yaml`` gives it. Times are unix seconds.

    Args:
        children: journal path -> the run that a call made.
    """
    out: JsonObject = {
        "run": run.metadata.name,
        "namespace": run.metadata.namespace,
        "target": run.spec.get("target"),
        "phase": run.status.get("phase"),
        "reason": run.status.get("reason"),
        "message": run.status.get("message"),
        "end": trace.end,
    }
    if trace.output is not None:
        out["output"] = trace.output
    if trace.error is not None:
        out["error"] = trace.error
    if trace.differs:
        out["differs"] = True
    out["entries"] = [
        {"timeS": round(entry.time_s, 3), "branch": entry.branch, "event": entry.event} for entry in trace.entries
    ]
    if children:
        out["children"] = [
            {
                "path": path,
                "run": child.metadata.name,
                "target": child.spec.get("target"),
                "phase": child.status.get("phase"),
            }
            for path, child in children.items()
        ]
    return out


def explain_run(runtime: RuntimeManager, run: Resource, trace: Trace, children: Mapping[str, Resource]) -> str:
    """The text for people; ``children`` as of :func:`trace_data`."""
    lines = [head_line(run)]
    if has_steps(trace):
        lines.extend(_step_lines(run, trace, children))
    else:
        lines.extend(_other_lines(trace))
    lines.append(end_line(run))
    lines.extend(f"  {line}" for line in _ending(runtime, run, trace))
    if trace.differs:
        lines.append(DIFFERS)
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ steps


def _step_lines(run: Resource, trace: Trace, children: Mapping[str, Resource]) -> Iterator[str]:
    failed: dict[str, JsonObject] = {}
    open_steps, routes = OpenSteps(), Routes(children)
    for entry in trace.entries:
        event = entry.event
        open_steps.read(entry)
        kind, path = event.get("type"), path_of(event)
        indent = "  " * path.count("/")
        if routes.takes(event):
            yield from routes.lines(event, entry.time_s)
        elif kind == "call" and routes.members:
            routes.read_call(event)
        elif kind == "call":
            if path in children:
                yield from pointer(children[path], "  " * (open_steps.around(entry).count("/") + 1))
        elif kind == "step_started":
            yield from _began(event, path, indent, failed.pop(path, None))
        elif kind == "step_retry":
            failed[path] = event
        elif kind == "decision":
            for line in _decided(event):
                yield f"{indent}  {line}"
        elif kind == "step_finished" and event.get("phase") == "Failed":
            attempts = event.get("attempts") or 1
            tries = f" after {plural(attempts, 'try').replace('trys', 'tries')}" if attempts > 1 else ""
            words = style("failed", fg="red")
            yield f"{indent}  {words}{tries}: {reason_words(event.get('error'))}"
        elif kind == "wait" and not (event.get("over") and open_steps.is_pause(entry)):
            yield f"{'  ' * open_steps.around(entry).count('/')}  {_waited(event)}"
        elif kind == "note":
            yield f"{indent}  note: {in_one_line(str(event.get('message') or ''))}"
        elif kind == "operation" and routes.members and not event.get("ok"):
            yield f"    the router failed: {reason_words(event.get('error'))}"
        elif kind == "operation" and routes.members and path.startswith(_WORDED):
            yield "the router words the answer"
    yield from routes.under_way(over=run.status.get("phase") in FINISHED)


def _depth_of(branch: str) -> int:
    """How deep what happens in a branch of the journal is shown: a group is one level."""
    return branch.count("[")


def _began(event: JsonObject, path: str, indent: str, before: JsonObject | None) -> Iterator[str]:
    attempt = event.get("attempt") or 1
    if attempt > 1:
        why = ""
        if before is not None:
            wait_s = before.get("wait_s") or 0.0
            why = f", {took_words(wait_s)} after {reason_words(before)}"
        yield f"{indent}  try {attempt}{why}"
        return
    body = f" [{event['body']}]" if event.get("body") else ""
    yield f"{indent}{style(path, bold=True)}{body}: {in_one_line(str(event.get('why') or 'it was chosen'))}"


def _decided(event: JsonObject) -> Iterator[str]:
    kind, chosen = str(event.get("kind")), in_one_line(str(event.get("chosen") or ""))
    candidates = [item for item in event.get("candidates") or () if isinstance(item, Mapping)]
    if kind == "onFailure":
        reason = next((str(item.get("when")) for item in candidates), "")
        yield "onFailure" + (f" -> {chosen}" if chosen != kind else "") + (f", because of {reason}" if reason else "")
        return
    told = [_candidate(item) for item in candidates if item.get("when")]
    if kind != "branch":
        yield f"{kind} -> {chosen}" + (f", {'; '.join(told)}" if told else "")
        return
    names = [name.strip() for name in chosen.split(",")]
    taken = [_candidate(item) for item in candidates if item.get("name") in names and item.get("when")]
    others = [
        f"{item.get('name')}: {_candidate(item)}"
        for item in candidates
        if item.get("name") not in names and item.get("when")
    ]
    if not chosen:
        yield "branch: no case is true, and there is no default"
    elif taken:
        yield f"branch {'; '.join(taken)} -> {chosen}"
    else:
        yield f"branch: no case is true -> {chosen}"
    for other in others:
        yield f"  {other}"


def _candidate(item: Mapping[str, Any]) -> str:
    value = item.get("value")
    words = "is true" if value is True else "is false" if value is False else "was not looked at"
    return f"`{in_one_line(str(item.get('when')))}` {words}"


def _waited(event: JsonObject) -> str:
    error = event.get("error")
    if event.get("for") == "sleep":
        from kastra_core.api.meta import rfc3339

        until = rfc3339(event.get("until") or 0)
        return f"slept until {until}" if event.get("over") else f"sleeps until {until}"
    signal = in_one_line(str(event.get("signal")))
    if error:
        return f"waited for the signal {signal}: {reason_words(error)}"
    return f"the signal {signal} came" if event.get("over") else f"waits for the signal {signal}"


# ------------------------------------------------------------------------------------------------ without steps


def _other_lines(trace: Trace) -> Iterator[str]:
    for entry in trace.entries:
        event = entry.event
        kind = event.get("type")
        indent = "  " * _depth_of(entry.branch)
        if kind in ("operation", "call"):
            what = event.get("operation") or event.get("reference")
            outcome = "done" if event.get("ok") else reason_words(event.get("error"))
            yield f"{indent}{str(event.get('path')).rpartition('/')[2]} [{what}]: {outcome}"
        elif kind == "wait":
            yield f"{indent}{_waited(event)}"
        elif kind == "memory":
            yield f"{indent}memory: {in_one_line(str(event.get('message') or ''))}"
        elif kind == "tool_call":
            yield f"{indent}the model calls {event.get('name')} with {in_one_line(event.get('arguments'))}"
        elif kind == "note":
            yield f"{indent}note: {in_one_line(str(event.get('message') or ''))}"


# ------------------------------------------------------------------------------------------------ the end


def _ending(runtime: RuntimeManager, run: Resource, trace: Trace) -> Iterator[str]:
    """Why the run ended as it did, or what it is at."""
    rows = rows_of(trace, run)
    phase = run.status.get("phase")
    if any(is_route(entry.event) for entry in trace.entries):
        yield from _end_of_routing(run, rows)
        yield from lines_of_awaited(runtime, run)
        return
    if phase == "Succeeded":
        last = _last_at_the_top(rows)
        if last is not None:
            ends = "ends the whole" if last.body == "succeed" else "was the last step"
            yield f"{last.path} {ends}"
    elif phase == "Failed":
        row = _culprit(rows, str(run.status.get("reason")))
        if row is not None:
            yield f"{row.path} failed and nothing handled it"
        under_way = [row.path for row in rows if row.phase == "Cancelled"]
        if under_way:
            yield f"under way then: {', '.join(under_way)}"
    elif phase == "Cancelled":
        under_way = [row.path for row in rows if row.phase == "Cancelled"]
        if under_way:
            yield f"under way then: {', '.join(under_way)}"
    if phase not in FINISHED:
        at = [row.path for row in rows if row.phase in ("Running", "Waiting")]
        if at:
            yield f"it is at {', '.join(at)}"
    yield from lines_of_awaited(runtime, run)


def _end_of_routing(run: Resource, rows: Sequence[StepRow]) -> Iterator[str]:
    """Why no further member was called."""
    status = run.status
    phase, reason = status.get("phase"), str(status.get("reason") or "")
    called = plural(len(rows), "member") if rows else "no member"
    called += " were called" if len(rows) > 1 else " was called"
    if phase == "Succeeded":
        message = in_one_line(str(status.get("message") or ""))
        yield f"{reason or phase}: the router was done; {called}"
        if message:
            yield message
    elif phase in ("Failed", "Cancelled"):
        under_way = [row.body or row.path for row in rows if row.phase == "Cancelled"]
        if under_way:
            yield f"under way then: {', '.join(under_way)}"
        rest = ", and status.output keeps the last answer" if status.get("output") is not None else ""
        yield f"{called}{rest}"
    else:
        at = [row.body or row.path for row in rows if row.phase in ("Running", "Waiting")]
        yield f"it is at {', '.join(at)}" if at else f"the router is choosing; {called}"


def _last_at_the_top(rows: Sequence[StepRow]) -> StepRow | None:
    succeeds = [row for row in rows if row.body == "succeed" and row.phase == "Succeeded"]
    top = [row for row in rows if not row.depth]
    return succeeds[-1] if succeeds else top[-1] if top else None


def _culprit(rows: Sequence[StepRow], reason: str) -> StepRow | None:
    """The innermost step that failed with the reason of the run."""
    failed = [row for row in rows if row.phase == "Failed" and (row.error or {}).get("reason") == reason]
    return max(failed, key=lambda row: (row.depth, row.start_s)) if failed else None
