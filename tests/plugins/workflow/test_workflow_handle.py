"""A workflow from Python: ``runtime.get_workflow``."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.errors import NotFoundError, NotReadyError, RunFailedError, UserError, ValidationError
from kastra_core.runtime import RuntimeManager
from kastra_plugin_workflow.handle import WorkflowHandle
from workflow_control import World, world

__all__ = ["world"]

ASK = {
    "id": "ask",
    "suspend": {
        "message": "Is it good?",
        "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
    },
}


@pytest.fixture
async def runtime(world: World) -> RuntimeManager:
    return await world.process()


async def suspended(run: Any) -> None:
    async for _ in run.events():
        pass


async def test_a_workflow_is_named_as_in_the_manifests_and_executed(world: World, runtime: RuntimeManager) -> None:
    await world.workflow("data-processing", {"id": "add", "set": "{{ workflow.input.a + workflow.input.b }}"})
    workflow = runtime.get_workflow("default.data-processing")
    assert isinstance(workflow, WorkflowHandle)
    assert await workflow.execute({"a": 1, "b": 2}) == 3


async def test_execute_raises_the_reason_of_the_step_that_failed(world: World, runtime: RuntimeManager) -> None:
    await world.workflow("w", {"id": "end", "fail": {"reason": "NoBudget", "message": "all is spent"}})
    with pytest.raises(RunFailedError, match="all is spent") as caught:
        await runtime.get_workflow("w").execute()
    assert caught.value.reason == "NoBudget"


async def test_execute_of_what_is_missing_or_not_ready_says_so(world: World, runtime: RuntimeManager) -> None:
    with pytest.raises(NotFoundError, match="Workflow default/w"):
        await runtime.get_workflow("w").execute()
    await world.workflow("w", {"id": "a", "agent": "nobody"})
    with pytest.raises(NotReadyError, match="AgentNotFound"):
        await runtime.get_workflow("w").execute()


async def test_start_returns_a_run_that_is_durable_and_can_be_named(world: World, runtime: RuntimeManager) -> None:
    await world.workflow("w", {"id": "a", "set": "{{ workflow.input }}"})
    events: list[str] = []
    run = await runtime.get_workflow("w").start(7, name="mine", listener=lambda event: events.append(event["type"]))
    assert run.name == "mine"
    assert (await world.get("mine", "Run")).spec["input"] == 7
    assert await run.result() == 7
    assert "step_started" in events


@pytest.mark.parametrize("spelling", ["handle", "name", "run/name", "key"])
async def test_resume_gives_a_suspended_run_its_answer(world: World, runtime: RuntimeManager, spelling: str) -> None:
    await world.workflow("w", ASK)
    workflow = runtime.get_workflow("w")
    run = await workflow.start(name="asked")
    await suspended(run)
    named = {"handle": run, "name": "asked", "run/name": "run/asked", "key": run.key}[spelling]
    with pytest.raises(ValidationError, match="ok"):
        await workflow.resume(named, {"ok": "perhaps"})
    assert await workflow.resume(named, {"ok": True}) == "ask"
    assert await run.result() == {"ok": True}
    with pytest.raises(UserError, match="is over already"):
        await workflow.resume(named, {"ok": True})


async def test_resume_refuses_a_run_of_something_else(world: World, runtime: RuntimeManager) -> None:
    await world.workflow("w", ASK)
    await world.workflow("v", ASK)
    run = await runtime.get_workflow("v").start(name="others")
    await suspended(run)
    with pytest.raises(UserError, match="run/others is a run of Workflow v, not of Workflow default/w"):
        await runtime.get_workflow("w").resume(run, {"ok": True})
    with pytest.raises(NotFoundError, match="nowhere"):
        await runtime.get_workflow("w").resume("nowhere", {"ok": True})
    await run.cancel()
