"""What a Workflow's conditions say, and that they heal by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import Condition, JsonObject, ResourceKey, condition_of
from kastra_core.controller import failed_status, ready_status
from kastra_core.errors import NotReadyError
from kastra_core.plugins import PluginManager
from kastra_core.protocols.controller import Request
from kastra_core.testing.controller import MiniRuntime
from kastra_plugin_workflow.controller import WorkflowController
from workflow_control import GROUP, World

AGENT = {"instructions": "Be brief.", "model": "fake/m"}


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    made = World(tmp_path, in_memory=True)
    await made.process()
    yield made
    await made.aclose()


async def reason_of(world: World, name: str = "w") -> tuple[str, str, str]:
    condition = await world.condition("ReferencesResolved", name)
    assert condition is not None
    ready = await world.condition("Ready", name)
    assert ready is not None
    assert (ready["status"], ready.get("message")) == (condition["status"], condition.get("message"))
    return condition["status"], condition["reason"], condition.get("message", "")


async def test_a_workflow_without_references_is_ready_and_counts_its_steps(world: World) -> None:
    inner = [{"id": "b", "set": 1}, {"id": "c", "set": 2}]
    await world.workflow(
        "w",
        {"id": "a", "foreach": {"items": [1], "steps": inner}},
        onFailure=[{"id": "d", "set": 3}],
    )
    status = await world.status()
    assert (status["phase"], status["steps"], status["observedGeneration"]) == ("Ready", 4, 1)
    assert {condition["type"] for condition in status["conditions"]} == {"Ready", "ReferencesResolved"}


@pytest.mark.parametrize(
    ("step", "reason", "said"),
    [
        (
            {"agent": "writer"},
            "AgentNotFound",
            "spec.steps[0].agent: Agent default/writer is not found; apply it, or name another one",
        ),
        ({"tool": {"name": "fetch", "namespace": "net"}}, "ToolNotFound", "spec.steps[0].tool: Tool net/fetch is not"),
        ({"workflow": "other"}, "WorkflowNotFound", "spec.steps[0].workflow: Workflow default/other is not found"),
        (
            {"network": "mesh"},
            "NetworkNotFound",
            "spec.steps[0].network: Network default/mesh is not found; no plugin offers the kind Network: install one",
        ),
        (
            {"operation": "test.du"},
            "OperationNotFound",
            "spec.steps[0].operation: no installed plugin offers the operation 'test.du'; did you mean 'test.do'?",
        ),
        ({"operation": "zzz"}, "OperationNotFound", "no installed plugin offers the operation 'zzz'; offered: "),
    ],
)
async def test_what_is_missing_is_told_with_its_place_and_what_to_do(
    world: World, step: JsonObject, reason: str, said: str
) -> None:
    await world.workflow("w", {"id": "a", **step})
    status, found, message = await reason_of(world)
    assert (status, found) == ("False", reason)
    assert said in message
    assert (await world.status())["phase"] == "Pending"
    with pytest.raises(NotReadyError, match=reason):
        await world.processes[0].start_run("workflow/w")


async def test_what_is_missing_in_nested_blocks_and_handlers_is_told_with_its_place(world: World) -> None:
    await world.workflow(
        "w",
        {"id": "a", "parallel": [{"id": "b", "tool": "t1"}, {"name": "x", "steps": [{"id": "c", "agent": "t2"}]}]},
        {"id": "d", "operation": "test.do", "onFailure": {"steps": [{"id": "e", "workflow": "t3"}]}},
        onFailure=[{"id": "f", "operation": "nope"}],
    )
    _, reason, message = await reason_of(world)
    assert reason == "ToolNotFound"
    for place in (
        "spec.steps[0].parallel[0].tool: Tool default/t1",
        "spec.steps[0].parallel[1].steps[0].agent: Agent default/t2",
        "spec.steps[1].onFailure.steps[0].workflow: Workflow default/t3",
        "spec.onFailure[0].operation: no installed plugin",
    ):
        assert place in message


async def test_of_many_missing_ones_ten_are_named(world: World) -> None:
    await world.workflow("w", *({"id": f"s{n}", "tool": f"t{n}"} for n in range(25)))
    _, _, message = await reason_of(world)
    assert message.count("is not found") == 10
    assert message.endswith("; and 15 more")


async def test_a_workflow_heals_when_what_it_refers_to_appears_and_falls_ill_when_it_goes(world: World) -> None:
    await world.workflow("w", {"id": "a", "agent": "writer"})
    assert (await reason_of(world))[1] == "AgentNotFound"
    await world.apply("Agent", "writer", AGENT)
    await world.until(lambda workflow: workflow.status["phase"] == "Ready")
    assert (await reason_of(world))[:2] == ("True", "Resolved")
    await world.processes[0].client.delete(ResourceKey(GROUP, "Agent", "default", "writer"))
    await world.until(lambda workflow: workflow.status["phase"] == "Pending")
    assert (await reason_of(world))[1] == "AgentNotFound"


async def test_what_is_not_ready_is_told_with_its_own_reason(world: World) -> None:
    await world.apply("Agent", "writer", {**AGENT, "model": "nobody/x"})
    await world.workflow("w", {"id": "a", "agent": "writer"})
    status, reason, message = await reason_of(world)
    assert status == "False"
    assert reason.startswith("Model"), "so that a run which brings a model may start"
    assert message.startswith("spec.steps[0].agent: Agent default/writer is not ready (Model")
    await world.apply("Agent", "writer", AGENT)
    await world.until(lambda workflow: workflow.status["phase"] == "Ready")


async def test_what_a_called_workflow_lacks_makes_the_caller_not_ready_until_it_is_there(world: World) -> None:
    await world.workflow("w", {"id": "a", "workflow": "inner"})
    await world.workflow("inner", {"id": "b", "agent": "writer"})
    await world.until(lambda workflow: "inner is not ready" in str(workflow.status))
    _, reason, message = await reason_of(world)
    assert reason == "WorkflowNotReady"
    assert "Workflow default/inner is not ready (spec.steps[0].agent: Agent default/writer is not found" in message
    await world.apply("Agent", "writer", AGENT)
    await world.until(lambda workflow: workflow.status["phase"] == "Ready")


async def test_workflows_that_call_each_other_do_not_wait_for_each_other(world: World) -> None:
    again = {"id": "more", "branch": [{"when": "false", "steps": [{"id": "self", "workflow": "w"}]}]}
    await world.workflow("w", {"id": "a", "workflow": "v"}, again)
    await world.workflow("v", {"id": "b", "workflow": "w"}, {"id": "c", "agent": "writer"})
    assert (await reason_of(world, "v"))[1] == "AgentNotFound"
    await world.apply("Agent", "writer", AGENT)
    for name in ("w", "v"):
        await world.until(lambda workflow: workflow.status["phase"] == "Ready", name)


async def test_looking_again_writes_nothing(world: World) -> None:
    await world.workflow("w", {"id": "a", "agent": "writer"}, schedule={"cron": "0 * * * *"})
    before = await world.get()
    for _ in range(3):
        await world.look()
    assert await world.get() == before


async def test_a_chain_of_workflows_deeper_than_runs_nest_is_looked_at_in_time(world: World) -> None:
    for number in range(60):
        await world.workflow(f"w{number}", {"id": "a", "workflow": f"w{number + 1}"})
    await world.workflow("w60", {"id": "a", "set": 1})
    await world.until(lambda workflow: workflow.status["phase"] == "Ready", "w59")
    await world.until(lambda workflow: workflow.status["phase"] == "Ready", "w0")


NUMBER = {"type": "object", "properties": {"total": {"type": "number"}}, "additionalProperties": False}


async def test_what_cannot_fit_by_the_schemas_is_a_warning_that_goes_when_it_is_mended(world: World) -> None:
    await world.workflow("inner", {"id": "x", "set": {"total": 1}}, outputSchema=NUMBER)
    steps = [{"id": "a", "workflow": "inner"}, {"id": "b", "set": "{{ steps.a.output.totl }}"}]
    await world.workflow("w", *steps)
    condition = await world.condition("TypesFit")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "TypeMismatch")
    assert "spec.steps[1].set" in condition["message"]
    assert "totl" in condition["message"]
    assert (await world.status())["phase"] == "Ready"
    await world.workflow("w", steps[0], {"id": "b", "set": "{{ steps.a.output.total }}"})
    assert await world.condition("TypesFit") is None


async def test_a_schema_that_changes_elsewhere_is_noticed(world: World) -> None:
    await world.apply("Agent", "writer", AGENT)
    await world.workflow("w", {"id": "a", "agent": "writer"}, {"id": "b", "set": "{{ steps.a.output.total }}"})
    assert await world.condition("TypesFit") is not None  # it answers with a text
    await world.apply("Agent", "writer", {**AGENT, "output": {"schema": NUMBER}})
    await world.until(lambda workflow: "TypesFit" not in str(workflow.status))


async def test_what_was_not_reconciled_yet_is_awaited_without_a_warning_also_inside_of_a_called_workflow() -> None:
    kinds = [
        kind
        for _, kind in PluginManager().records("kastra_resource_kinds")
        if kind.kind in ("Workflow", "Agent", "Tool")
    ]
    runtime = MiniRuntime.of(*kinds)

    def manifest(kind: str, name: str, spec: JsonObject) -> JsonObject:
        return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    outer, _, agent, _ = await runtime.apply(
        [
            manifest("Workflow", "w", {"steps": [{"id": "a", "workflow": "inner"}]}),
            manifest("Workflow", "inner", {"steps": [{"id": "a", "agent": "writer"}, {"id": "b", "agent": "other"}]}),
            manifest("Agent", "writer", AGENT),
            manifest("Agent", "other", AGENT),
        ]
    )
    controller = WorkflowController(runtime)

    async def looked() -> tuple[str, str]:
        await controller.reconcile(Request("default", "w"))
        ready = condition_of(await runtime.client.require(outer.key), "Ready")
        assert ready is not None
        return ready["status"], ready["reason"]

    assert await looked() == ("Unknown", "Pending")
    pending = Condition(type="Ready", status="Unknown", reason="Pending", message="its tool was not reconciled yet")
    agent = await runtime.client.update_status(agent, ready_status(agent, [pending]))
    assert await looked() == ("Unknown", "Pending")
    await runtime.client.update_status(agent, failed_status(agent, "ToolNotFound", "no tool", terminal=False))
    assert await looked() == ("False", "WorkflowNotReady"), "what is known to be wrong says more"
    await controller.aclose()
