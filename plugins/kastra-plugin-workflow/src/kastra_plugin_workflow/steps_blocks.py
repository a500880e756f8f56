"""The interpreter: carries out a block step by step, tries again what failed, and the bodies that hold blocks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.errors import RunFailedError
from kastra_core.protocols.runner import RunContext
from kastra_core.serde import type_word
from kastra_plugin_workflow import steps_events as events
from kastra_plugin_workflow.expressions import Expression
from kastra_plugin_workflow.steps import shaped
from kastra_plugin_workflow.steps_frame import FAILED, BodyFailed, Frame, StepFailed, Succeeded
from kastra_plugin_workflow.steps_plan import Block, PlannedCase, PlannedRetry, PlannedStep
from kastra_plugin_workflow.steps_state import read_state

__all__ = ["branch", "foreach", "loop", "parallel", "retry_wait_s", "run_block"]

_BREATHE_AFTER = 0x3FF
"""A loop of steps that never wait must not keep other runs from the event loop for long: so many, in binary ones."""

_Part: TypeAlias = tuple[JsonValue, dict[str, JsonValue]]
"""(output, what was published) of a block whose steps are out of sight."""
_PartOf: TypeAlias = Callable[[RunContext], Awaitable[_Part]]


async def run_block(ctx: RunContext, block: Block, frame: Frame, value: JsonValue) -> JsonValue:
    """Carry out a block and return its output.

    Args:
        frame: a fresh one, or that of the pass before.
        value: the block's input.
    Raises:
        StepFailed: a step failed for good. Succeeded. What ends the run.
    """
    steps, index, seen, progress = block.steps, block.start, frame.steps, frame.progress
    counts: dict[str, int] | None = None
    if block.revisits:
        counts = frame.counts = {}
    before: PlannedStep | None = None
    how = ""
    while index >= 0:
        step = steps[index]
        ctx.step()
        progress.steps += 1
        if not progress.steps & _BREATHE_AFTER:
            await asyncio.sleep(0)
        if counts is not None:
            counts[step.id] = counts.get(step.id, -1) + 1
        listening = ctx.streaming
        reason = events.why(frame, before, how, block.named_start) if listening else ""
        given, began = value, False
        try:
            if step.reads_state:
                await read_state(ctx, frame.scope, step.id)
            if step.input is not None:
                given = step.input(frame, value)
            if step.uses_input:
                frame.scope["input"] = given
            if listening:
                began = True
                await events.started(ctx, frame, step, given, reason)
            result = step.run(ctx, frame, step, given)
            if step.waits:
                result = await result
            if step.output is not None:
                if step.output.reads_state:
                    await read_state(ctx, frame.scope, step.id)
                result = shaped(frame, step, step.output, result)
        except FAILED as error:
            if listening and not began:
                await events.started(ctx, frame, step, None, reason)
            again, result, failure = await _try_again(ctx, frame, step, given, error)
            if not again:
                value, index = await _handle(ctx, frame, step, given, failure)
                before, how = step, f"{step.id} failed, and its onFailure goes on with it"
                continue
        except Succeeded as end:
            if listening and step.body == "succeed":
                await events.succeeded(ctx, frame, step, end.output)
            raise
        if listening:
            await events.succeeded(ctx, frame, step, result)
        frame.attempt = 1
        entry: JsonObject = {"output": result}
        if step.body == "foreach" and step.work.skip:
            entry["errors"], frame.errors = frame.errors, []
        seen[step.id] = entry
        value, before, how = result, step, ""
        index = step.next
        if frame.jump is not None:
            index, frame.jump = frame.jump, None
            if listening:
                how = f"{step.id} chose it"
        elif listening and step.spec.next:
            how = f"{step.id} names it as next"
    return value


# --------------------------------------------------------------------------------------------- failure


async def _try_again(
    ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue, error: Exception
) -> tuple[bool, JsonValue, StepFailed]:
    """(whether a further try gave a result, the result, how the last try failed that did)."""
    retry = step.retry
    while True:
        failure = _failure(frame, step, error)
        if (
            retry is None
            or failure.final
            or frame.attempt >= retry.spec.max_attempts
            or not retry.takes(failure.reason)
        ):
            return False, None, failure
        wait_s = retry_wait_s(retry, frame.progress.run_id, frame.path_of(step), frame.attempt)
        if ctx.streaming:
            await events.retried(ctx, frame, step, wait_s, failure)
        if wait_s > 0:
            await ctx.sleep(wait_s, name=f"{step.id}.retry")
        frame.attempt += 1
        try:
            if ctx.streaming:
                reason = (
                    f"try {frame.attempt} of {retry.spec.max_attempts}, as the one before failed ({failure.reason})"
                )
                await events.started(ctx, frame, step, given, reason)
            if step.reads_state:
                await read_state(ctx, frame.scope, step.id)
            result = step.run(ctx, frame, step, given)
            if step.waits:
                result = await result
            if step.output is not None:
                if step.output.reads_state:
                    await read_state(ctx, frame.scope, step.id)
                result = shaped(frame, step, step.output, result)
        except FAILED as failed:
            error = failed
        else:
            return True, result, failure


def _failure(frame: Frame, step: PlannedStep, error: Exception) -> StepFailed:
    if isinstance(error, StepFailed):
        return error
    message, final = str(error), False
    reason = getattr(error, "reason", "Failed")
    if isinstance(error, BodyFailed):
        final = error.final
    failure = StepFailed(
        message, reason=reason, step=step.id, path=frame.path_of(step), attempts=frame.attempt, final=final
    )
    failure.__cause__ = error
    return failure


def retry_wait_s(retry: PlannedRetry, run_id: str, path: str, failed: int) -> float:
    """Seconds to wait after the try number ``failed`` (from 1): the same for the same run, path and try."""
    spec = retry.spec
    try:
        wait_s = min(float(spec.delay) * spec.multiplier ** (failed - 1), float(spec.max_delay))
    except OverflowError:
        wait_s = float(spec.max_delay)
    if not spec.jitter or not wait_s:
        return wait_s
    digest = hashlib.sha256(f"{run_id}\n{path}\n{failed}".encode()).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    return wait_s * (1 - spec.jitter * chance)


async def _handle(
    ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue, failure: StepFailed
) -> tuple[JsonValue, int]:
    """Do what the step's onFailure says; (output of the step, index of the step to go on with).

    Raises: the failure, when it says nothing; StepFailed of the handler.
    """
    if ctx.streaming:
        await events.failed(ctx, frame, step, failure)
    frame.attempt, frame.jump, frame.errors = 1, None, []
    handler = step.on_failure
    if handler is None:
        raise failure
    entry = failure.entry
    if ctx.streaming:
        wanted = step.spec.on_failure
        chosen = wanted.next if wanted is not None and wanted.next else "onFailure"
        when = {"name": chosen, "when": failure.reason, "value": True}
        await events.decided(ctx, frame, step, "onFailure", chosen, [when])
    inner = frame.shared(step, "onFailure", {"error": entry}, "onFailure")
    output: JsonValue = None
    if handler.block is not None:
        output = await run_block(ctx, handler.block, inner, given)
    if handler.output is not None:
        inner.scope["input"] = given
        try:
            if handler.reads_state:
                await read_state(ctx, inner.scope, step.id)
            output = handler.output.render(inner.scope)
        except FAILED as error:
            failed = _failure(frame, step, error)
            failed.attempts = failure.attempts
            raise failed from error
    if step.output is not None and step.output.type:
        frame.publish(step.output.type, output)
    frame.steps[step.id] = {"output": output, "error": entry}
    if step.body == "foreach" and step.work.skip:
        frame.steps[step.id]["errors"] = []
    return output, handler.next


# --------------------------------------------------------------------------------------------- branch


async def branch(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    work = step.work
    taken: list[PlannedCase] = []
    values: list[bool] = []
    for case in work.cases:
        value = case.when is None or case.when.evaluate_condition(frame.scope)
        values.append(value)
        if value:
            taken.append(case)
            if work.first:
                break
    if not taken and work.default is not None:
        taken.append(work.default)
    if ctx.streaming:
        candidates: list[JsonObject] = [
            {
                "name": case.name,
                "when": case.when.source if case.when is not None else "",
                "value": values[index] if index < len(values) else None,
            }
            for index, case in enumerate(work.cases)
        ]
        await events.decided(ctx, frame, step, "branch", ", ".join(case.name for case in taken), candidates)
    if not taken:
        return given
    if work.first:
        return await _take(ctx, frame, step, taken[0], given)
    kind = "default" if taken[0] is work.default else ""
    blocks = [(case.name, case.block) for case in taken if case.block is not None]
    if not blocks:
        frame.jump = taken[0].next
        return given
    output = await _side_by_side(ctx, frame, step, blocks, given, cancel=False, concurrency=None, kind=kind)
    frame.jump = taken[0].next if kind else None
    return output


async def _take(ctx: RunContext, frame: Frame, step: PlannedStep, case: PlannedCase, given: JsonValue) -> JsonValue:
    output = given
    if case.block is not None:
        kind = "default" if case is step.work.default else ""
        output = await run_block(ctx, case.block, frame.shared(step, case.name, {}, kind), given)
    frame.jump = case.next
    return output


# --------------------------------------------------------------------------------------------- parallel and foreach


async def parallel(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    work = step.work
    if ctx.streaming:
        names: list[JsonObject] = [{"name": name, "when": "", "value": True} for name, _ in work.branches]
        await events.decided(ctx, frame, step, "parallel", ", ".join(name for name, _ in work.branches), names)
    return await _side_by_side(ctx, frame, step, work.branches, given, cancel=work.cancel, concurrency=work.concurrency)


def _ends_all(error: BaseException) -> bool:
    return isinstance(error, (Succeeded, RunFailedError))


def _any_failure(error: BaseException) -> bool:
    return isinstance(error, (Succeeded, RunFailedError, *FAILED))


async def _side_by_side(
    ctx: RunContext,
    frame: Frame,
    step: PlannedStep,
    blocks: Sequence[tuple[str, Block]],
    given: JsonValue,
    *,
    cancel: bool,
    concurrency: int | None,
    kind: str = "",
) -> JsonObject:
    """Carry out blocks at once; their outputs by name."""

    def part(name: str, block: Block) -> _PartOf:
        async def run(inner: RunContext) -> _Part:
            local = frame.local(step, name, block, {}, kind)
            output = await run_block(inner, block, local, given)
            return output, local.published or {}

        return run

    parts = {name: part(name, block) for name, block in blocks}
    found = await ctx.gather(parts, concurrency=concurrency, stop_on=_any_failure if cancel else _ends_all)
    outputs: JsonObject = {}
    failed: Exception | None = None
    for name, value in found.items():
        if not isinstance(value, BaseException):
            outputs[name] = value[0]
        elif isinstance(value, FAILED):
            failed = failed or value
        else:
            raise value
    if failed is not None:
        raise failed
    _publish(frame, found)
    return outputs


def _publish(frame: Frame, found: Mapping[str, _Part | BaseException]) -> None:
    for value in found.values():
        if not isinstance(value, BaseException):
            frame.publish_all(value[1])


async def foreach(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    work = step.work
    items = work.items.render(frame.scope)
    if not isinstance(items, list):
        raise BodyFailed(f"foreach.items must give a list, it gives {type_word(items)}", reason="ExpressionFailed")
    if ctx.streaming:
        await events.decided(ctx, frame, step, "foreach", f"{len(items)} item{'' if len(items) == 1 else 's'}")

    def part(index: int, item: JsonValue) -> _PartOf:
        async def run(inner: RunContext) -> _Part:
            local = frame.local(step, str(index), work.block, {work.item: item, work.index: index})
            output = await run_block(inner, work.block, local, item)
            return output, local.published or {}

        return run

    parts = {str(index): part(index, item) for index, item in enumerate(items)}
    stop_on = _ends_all if work.skip else _any_failure
    found = await ctx.gather(parts, concurrency=work.concurrency, stop_on=stop_on)
    outputs: list[JsonValue] = []
    errors: list[JsonObject] = []
    failed: Exception | None = None
    for name, value in found.items():
        if not isinstance(value, BaseException):
            outputs.append(value[0])
        elif isinstance(value, FAILED):
            failed = failed or value
            reason, message = getattr(value, "reason", "Failed"), getattr(value, "message", str(value))
            errors.append({"index": int(name), "reason": reason, "message": message})
        else:
            raise value
    if failed is not None and not work.skip:
        raise failed
    _publish(frame, found)
    frame.errors = errors
    return outputs


# --------------------------------------------------------------------------------------------- loop


async def loop(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    work = step.work
    inner = frame.local(step, "0", work.block, {"iteration": 0})
    scope = {**inner.scope, "input": given, "output": given}
    output, done = given, 0
    while True:
        if work.while_ is not None:
            if work.reads_state:
                await read_state(ctx, scope, step.id)
            scope["iteration"], scope["output"] = done, output
            goes_on = work.while_.evaluate_condition(scope)
            if ctx.streaming:
                await _decided_loop(ctx, frame, step, "while", work.while_, goes_on, goes_on, done)
            if not goes_on:
                break
        if done >= work.most:
            if not work.fails:
                break
            message = f"the loop is not over after {done} passes (maxIterations)"
            raise BodyFailed(message, reason="LoopLimit")
        inner.label = str(done)
        inner.scope["iteration"] = done
        output = await run_block(ctx, work.block, inner, output)
        if work.until is not None:
            if work.reads_state:
                await read_state(ctx, scope, step.id)
            scope["iteration"], scope["output"] = done, output
            over = work.until.evaluate_condition(scope)
            if ctx.streaming:
                await _decided_loop(ctx, frame, step, "until", work.until, over, not over, done + 1)
            if over:
                break
        done += 1
    frame.publish_all(inner.published or {})
    return output


async def _decided_loop(
    ctx: RunContext,
    frame: Frame,
    step: PlannedStep,
    name: str,
    condition: Expression,
    value: bool,
    goes_on: bool,
    following: int,
) -> None:
    chosen = f"pass {following + 1}" if goes_on else "end"
    candidate = {"name": name, "when": condition.source, "value": value}
    await events.decided(ctx, frame, step, "loop", chosen, [candidate])
