"""WorkflowRunner: carries out a pinned workflow over a RunContext."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.errors import OperationError, RunFailedError, shortened
from kastra_core.protocols.runner import RunContext
from kastra_plugin_workflow import steps, steps_blocks
from kastra_plugin_workflow.expressions import ExpressionError
from kastra_plugin_workflow.plan import compile_plan
from kastra_plugin_workflow.signals import misfits
from kastra_plugin_workflow.steps_blocks import run_block
from kastra_plugin_workflow.steps_frame import FAILED, BodyFailed, Frame, Progress, StepFailed, Succeeded
from kastra_plugin_workflow.steps_plan import Body, Plan
from kastra_plugin_workflow.steps_state import read_state
from kastra_plugin_workflow.values import duration_text, with_defaults

__all__ = ["WorkflowRunner"]

_PLANS = 256
_LONGEST_MESSAGE = 4096
"""Characters: a message becomes part of the run's status, and what failed may have put anything into it."""
_BODIES: Mapping[str, Body] = {
    "agent": steps.call_run,
    "workflow": steps.call_run,
    "network": steps.call_run,
    "tool": steps.call_tool,
    "operation": steps.perform,
    "set": steps.render,
    "branch": steps_blocks.branch,
    "parallel": steps_blocks.parallel,
    "foreach": steps_blocks.foreach,
    "loop": steps_blocks.loop,
    "sleep": steps.sleep,
    "waitForEvent": steps.wait_for_event,
    "suspend": steps.suspend,
    "succeed": steps.succeed,
    "fail": steps.fail,
}


class WorkflowRunner:
    """Runs workflows. Input: any JSON that fits ``spec.inputSchema``; output: as ``spec.output`` says.

    Events: ``step_started``, ``step_finished``, ``step_retry``, ``decision``, ``note``.
    """

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        """Return the workflow's output.

        Raises:
            RunFailedError: a step failed (its reason), the input or the output does not fit (InvalidInput,
                InvalidOutput), the whole took too long (Timeout), the spec cannot be read (InvalidSpec).
        """
        plan = self._plan(target)
        spec = plan.spec
        given = input
        if spec.input_schema is not None:
            given = with_defaults(spec.input_schema, input)
            wrong = misfits(spec.input_schema, given)
            if wrong:
                raise RunFailedError(
                    f"the input does not fit spec.inputSchema: {'; '.join(wrong)}", reason="InvalidInput"
                )
        meta = target.metadata
        workflow: JsonObject = {"input": given, "name": meta.name, "namespace": meta.namespace, "run": ctx.run_id}
        progress = Progress(ctx.run_id)
        if spec.timeout is None:
            frame, failure, output = await _graph(ctx, plan, progress, workflow)
        else:
            try:
                frame, failure, output = await ctx.within(
                    float(spec.timeout), lambda inner: _graph(inner, plan, progress, workflow), name="workflow"
                )
            except OperationError as error:
                # What was done so far is not told: a run that is taken up again would not know it.
                message = f"the workflow was not over after spec.timeout ({duration_text(spec.timeout)})"
                frame, output = Frame.top(progress, workflow), None
                failure = StepFailed(message, reason=error.reason)
        if failure is None:
            return output
        left: StepFailed | None = failure
        if plan.on_failure is not None:
            left, output = await _handled(ctx, plan, frame, failure)
        if left is None:
            return output
        raise RunFailedError(shortened(str(left), _LONGEST_MESSAGE), reason=left.reason) from left

    def _plan(self, target: Resource) -> Plan:
        plan = self._plans.get(id(target))
        if plan is not None and plan.target is target:
            return plan
        plan = compile_plan(target, _BODIES, steps.timed)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[id(target)] = plan
        return plan


async def _graph(
    ctx: RunContext, plan: Plan, progress: Progress, workflow: Mapping[str, JsonValue]
) -> tuple[Frame, StepFailed | None, JsonValue]:
    """Carry out the steps; (what is in sight of the handler, how the workflow failed, its output)."""
    frame = Frame.top(progress, workflow)
    try:
        try:
            output = await run_block(ctx, plan.block, frame, workflow["input"])
            if plan.output is not None:
                if plan.reads_state:
                    await read_state(ctx, frame.scope, "output")
                output = plan.output.render(frame.scope)
        except Succeeded as end:
            output = end.output
        return frame, _unfit(plan, output), output
    except StepFailed as failure:
        return frame, failure, None
    except (ExpressionError, BodyFailed) as error:
        return frame, StepFailed(f"spec.output: {error}", reason=error.reason), None
    except RecursionError as error:
        message = f"{plan.target.key}: its blocks are nested too deeply to be carried out"
        raise RunFailedError(message, reason="InvalidSpec") from error


def _unfit(plan: Plan, output: JsonValue) -> StepFailed | None:
    schema = plan.spec.output_schema
    wrong = misfits(schema, output) if schema is not None else []
    if not wrong:
        return None
    return StepFailed(f"the output does not fit spec.outputSchema: {'; '.join(wrong)}", reason="InvalidOutput")


async def _handled(
    ctx: RunContext, plan: Plan, frame: Frame, failure: StepFailed
) -> tuple[StepFailed | None, JsonValue]:
    """Carry out ``spec.onFailure``; (how the workflow failed, its output when it did not)."""
    assert plan.on_failure is not None
    handler = frame.shared(None, "onFailure", {"error": failure.entry})
    try:
        await run_block(ctx, plan.on_failure, handler, frame.scope["workflow"]["input"])
    except Succeeded as end:
        return _unfit(plan, end.output), end.output
    except FAILED as error:
        failure.message += f"; spec.onFailure failed too: {error}"
    return failure, None
