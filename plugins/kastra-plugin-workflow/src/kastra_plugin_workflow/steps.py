"""Bodies of steps that hold no other steps. Each takes (ctx, frame, step, input) and gives the result of a try."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import orjson

from kastra_core.api.meta import JsonObject, JsonValue
from kastra_core.durations import Duration
from kastra_core.protocols.runner import RunContext
from kastra_core.serde import FieldError, type_word
from kastra_plugin_workflow.signals import misfits
from kastra_plugin_workflow.steps_events import noted
from kastra_plugin_workflow.steps_frame import FAILED, BodyFailed, Frame, Succeeded
from kastra_plugin_workflow.steps_plan import PlannedOutput, PlannedStep
from kastra_plugin_workflow.values import instant_of

__all__ = [
    "call_run",
    "call_tool",
    "fail",
    "perform",
    "render",
    "shaped",
    "sleep",
    "succeed",
    "suspend",
    "timed",
    "wait_for_event",
]


def perform(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> Awaitable[JsonValue]:
    if given is None:
        given = {}
    elif not isinstance(given, dict):
        message = f"operation {step.work} takes an object as its arguments, its input is {type_word(given)}"
        raise BodyFailed(message, reason="InvalidArguments")
    return ctx.perform(step.work, given, name=step.id)


async def call_tool(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    reference = step.work
    tool = ctx.pinned(reference)
    if tool is None:
        raise BodyFailed(f"{reference} was not there when the run started", reason="NotFound")
    arguments: JsonObject = {"tool": {"namespace": reference.namespace, "name": reference.name}}
    arguments["arguments" if isinstance(given, dict) else "input"] = given
    once = tool.spec.get("idempotent") is False
    result = await ctx.perform("tool.invoke", arguments, name=step.id, at_most_once=once)
    return result["output"]


def call_run(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> Awaitable[JsonValue]:
    return ctx.call(step.work, given, name=step.id)


def render(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    return step.work.render(frame.scope)


def succeed(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    raise Succeeded(step.work.render(frame.scope))


def fail(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    assert step.spec.fail is not None
    reason = step.spec.fail.reason
    raise BodyFailed(_text(step.work.render(frame.scope)) or reason, reason=reason, final=True)


async def sleep(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    work = step.work
    if work.until is None:
        seconds = _seconds(work.duration.render(frame.scope))
    else:
        instant_s = _instant(work.until.render(frame.scope))
        seconds = instant_s - await ctx.now()
    if seconds > 0:
        await ctx.sleep(seconds, name=step.id)
    return given


async def wait_for_event(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    event = step.spec.wait_for_event
    assert event is not None
    details: JsonObject = {"step": step.id}
    if event.schema is not None:
        details["schema"] = event.schema
    return await _answer(ctx, frame, step, event.name, event.timeout, details)


async def suspend(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    wanted = step.spec.suspend
    assert wanted is not None
    details: JsonObject = {"step": step.id, "message": _text(step.work.render(frame.scope))}
    if wanted.schema is not None:
        details["schema"] = wanted.schema
    return await _answer(ctx, frame, step, frame.path_of(step), wanted.timeout, details)


async def _answer(
    ctx: RunContext, frame: Frame, step: PlannedStep, signal: str, timeout_s: float | None, details: JsonObject
) -> JsonValue:
    """The payload of the first signal that fits the schema."""
    schema = details.get("schema")
    bounded = timeout_s is not None and schema is not None
    began_s = await ctx.now() if bounded else 0.0
    left_s = timeout_s
    while True:
        payload = await ctx.wait_signal(signal, timeout_s=left_s, name=step.id, details=details)
        wrong = misfits(schema, payload) if schema is not None else []
        if not wrong:
            return payload
        if ctx.streaming:
            message = f"what came as {signal!r} does not fit and is passed over: {'; '.join(wrong)}"
            await noted(ctx, frame, step, message)
        if timeout_s is not None:
            left_s = max(0.0, timeout_s - (await ctx.now() - began_s))


async def timed(ctx: RunContext, frame: Frame, step: PlannedStep, given: JsonValue) -> JsonValue:
    """Carry out a try of any body within the step's ``timeout``."""
    assert step.timeout_s is not None

    async def body(inner: RunContext) -> tuple[Frame, BaseException | None, JsonValue]:
        # What a try that is given up has done so far must not be seen: a replay would not see it.
        copy = frame.copied() if step.nested else frame
        try:
            return copy, None, await step.untimed(inner, copy, step, given)
        except FAILED as error:
            return copy, error, None

    copy, error, result = await ctx.within(step.timeout_s, body, name=f"{step.id}.within")
    if step.nested:
        frame.take(copy)
    if error is not None:
        raise error
    return result


def shaped(frame: Frame, step: PlannedStep, shape: PlannedOutput, result: JsonValue) -> JsonValue:
    """The step's output made of the body's result; published where the step says so.

    Raises: ExpressionError, BodyFailed.
    """
    output = result
    if shape.value is not None:
        frame.scope["result"] = result
        output = shape.value.render(frame.scope)
    if shape.schema is not None:
        wrong = misfits(shape.schema, output)
        if wrong:
            raise BodyFailed(f"the output does not fit output.schema: {'; '.join(wrong)}", reason="InvalidOutput")
    if shape.type:
        frame.publish(shape.type, output)
    return output


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _seconds(value: Any) -> float:
    try:
        return Duration.read(value)
    except FieldError as error:
        raise BodyFailed(f"sleep.duration: {error.message}", reason="ExpressionFailed") from error


def _instant(value: Any) -> float:
    instant_s = instant_of(value)
    if instant_s is not None:
        return instant_s
    raise BodyFailed(
        f"sleep.until: expected an instant with its offset (2030-01-31T08:00:00Z), found {type_word(value)}",
        reason="ExpressionFailed",
    )
