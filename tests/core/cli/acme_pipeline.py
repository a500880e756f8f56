"""A plugin for the tests of run history: kind Pipeline, whose runner tells of its steps as a workflow's does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kastra_core import Problem, Resource, ResourceKind, hookimpl
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.registrations import OperationRegistration

GROUP = "acme.example"
Step = Mapping[str, Any]


class PipelineRunner:
    """Carries out ``spec.steps``; each has an id and one of work, think, value, ask, sleep, call, both, choose,
    again."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        return await _block(ctx, target.spec["steps"], "", input)


async def _block(
    ctx: RunContext, steps: Sequence[Step], prefix: str, value: Any, first: str = "it is the first"
) -> Any:
    why = first
    for step in steps:
        value = await _step(ctx, step, prefix + step["id"], value, why)
        why = f"it comes after {step['id']}"
    return value


async def _step(ctx: RunContext, step: Step, path: str, given: Any, why: str) -> Any:
    attempts = step.get("tries", 1)
    for attempt in range(1, attempts + 1):
        body = next(name for name in step if name not in ("id", "tries", "within", "rescue"))
        started = {"step": step["id"], "path": path, "body": body, "name": "", "input": given, "why": why}
        await ctx.emit({"type": "step_started", **started, "attempt": attempt})
        finished = {"type": "step_finished", "step": step["id"], "path": path, "attempts": attempt}
        try:
            if "within" in step:
                output = await ctx.within(
                    step["within"], lambda inner: _body(inner, step, path, given), name=f"{step['id']}-within"
                )
            else:
                output = await _body(ctx, step, path, given)
        except OperationError as error:
            if attempt < attempts:
                failed = {"step": step["id"], "path": path, "attempt": attempt, "wait_s": 0.01}
                await ctx.emit({"type": "step_retry", **failed, "reason": error.reason, "message": error.message})
                await ctx.sleep(0.01, name=f"{step['id']}-wait")
                continue
            told = {"reason": error.reason, "message": error.message}
            await ctx.emit({**finished, "phase": "Failed", "error": told})
            if "rescue" not in step:
                raise
            await _decide(ctx, step, path, "onFailure", "onFailure", [("onFailure", error.reason, True)])
            return await _block(ctx, step["rescue"], f"{path}.onFailure/", given, f"{step['id']} failed")
        await ctx.emit({**finished, "phase": "Succeeded", "output": output})
        return output
    raise AssertionError("a step has at least one try")


async def _decide(
    ctx: RunContext, step: Step, path: str, kind: str, chosen: str, candidates: Iterable[tuple[str, str, Any]]
) -> None:
    found = [{"name": name, "when": when, "value": value} for name, when, value in candidates]
    what = {"step": step["id"], "path": path, "kind": kind, "chosen": chosen, "candidates": found}
    await ctx.emit({"type": "decision", **what})


async def _body(ctx: RunContext, step: Step, path: str, given: Any) -> Any:
    if "work" in step or "think" in step:
        operation = "acme.work" if "work" in step else "acme.think"
        return await ctx.perform(operation, {"name": step.get("work") or step["think"]}, name=step["id"])
    if "value" in step:
        return step["value"]
    if "ask" in step:
        return await ctx.wait_signal(path, details={"step": step["id"], **step["ask"]})
    if "sleep" in step:
        await ctx.sleep(step["sleep"], name=step["id"])
        return given
    if "call" in step:
        called = Reference(group=GROUP, kind="Pipeline", namespace="default", name=step["call"])
        return await ctx.call(called, given, name=step["id"])
    if "choose" in step:
        taken = next(name for name, case in step["choose"].items() if case["when"] == given)
        cases = [(name, f"input == {case['when']!r}", name == taken) for name, case in step["choose"].items()]
        await _decide(ctx, step, path, "branch", taken, cases)
        return await _block(ctx, step["choose"][taken]["steps"], f"{path}[{taken}]/", given)
    if "again" in step:
        for number in range(step["again"]["times"]):
            given = await _block(ctx, step["again"]["steps"], f"{path}[{number}]/", given)
        return given
    return await _both(ctx, step, path, given)


async def _both(ctx: RunContext, step: Step, path: str, given: Any) -> Any:
    def branch(name: str, steps: Sequence[Step]) -> Any:
        return lambda inner: _block(inner, steps, f"{path}[{name}]/", given)

    found = await ctx.gather(
        {name: branch(name, steps) for name, steps in step["both"].items()}, stop_on=lambda error: True
    )
    for result in found.values():
        if isinstance(result, BaseException):
            raise result
    return found


async def work(ctx: OperationContext, arguments: Mapping[str, Any]) -> Any:
    """Note in a file that it was done; fail while there is a file that says so."""
    name = arguments["name"]
    with Path("work.txt").open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")
    if Path(f"fail-{name}").exists():
        raise OperationError(f"{name} broke", reason="Broken")
    if Path(f"hang-{name}").exists():
        import asyncio

        await asyncio.Event().wait()
    return {"did": name, "usage": {"input_tokens": 7, "output_tokens": 5, "cost": 0.25}}


def check_signal(run: Resource, name: str, payload: Any) -> Iterable[Problem]:
    if not isinstance(payload, dict) or not isinstance(payload.get("approved"), bool):
        yield Problem(f"expected a boolean, found {payload!r}", "approved")


@hookimpl
def kastra_resource_kinds() -> Iterable[ResourceKind]:
    yield ResourceKind(
        kind="Pipeline",
        plural="pipelines",
        group=GROUP,
        runner="acme_pipeline:PipelineRunner",
        check_signal="acme_pipeline:check_signal",
    )
    yield ResourceKind(kind="Plain", plural="plains", group=GROUP, runner="acme_pipeline:PlainRunner")


class PlainRunner:
    """Tells of no steps."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.sleep(0.0)
        return await ctx.perform("acme.think", {"name": "plain"}, name="think")


@hookimpl
def kastra_operations() -> Iterable[OperationRegistration]:
    yield OperationRegistration(name="acme.work", handler="acme_pipeline:work")
    yield OperationRegistration(name="acme.think", handler="acme_pipeline:work", counts_as="model")
