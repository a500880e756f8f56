"""A model that always asks for one more tool is stopped by every kind of limit, wherever the limit stands.

The same agent is run alone, as the step of a workflow, by several steps at once, and as the member of a network; the
limit is that of what is run.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.config import Config, PythonToolSettings, ToolSettings
from kastra_core.protocols.model import ChatRequest, ChatResponse, Message, TextPart, ToolCallPart, Usage
from kastra_core.registrations import ModelProviderRegistration
from kastra_core.testing.fakes import FakeModelProvider

TOOLS = "limits_test_tools"

RESOURCES = """
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: more}
spec: {type: python, python: {function: "limits_test_tools:more"}}
---
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: eager}
spec: {model: fake/m, tools: [more], limits: {maxSteps: 100000}}
---
apiVersion: mastra.ai/v1
kind: Workflow
metadata: {name: flow}
spec:
  initialStep: work
  steps:
    - {id: work, agent: eager, next: again}
    - {id: again, agent: eager, next: END}
---
apiVersion: mastra.ai/v1
kind: Workflow
metadata: {name: wide}
spec:
  steps:
    - id: fan
      foreach: {items: "{{ [1, 2, 3, 4, 5] }}", concurrency: 5, steps: [{id: work, agent: eager}]}
---
apiVersion: mastra.ai/v1
kind: Network
metadata: {name: net}
spec:
  instructions: Routes.
  agents: [eager]
  router: {model: fake/router, maxSteps: 100000}
"""

KINDS = ("agents/eager", "workflows/flow", "workflows/wide", "networks/net")


class World:
    """What the model was asked and how often the tool was called."""

    def __init__(self) -> None:
        self.model = FakeModelProvider(default=self.answer)
        self.tools = 0
        self.slow = False

    async def answer(self, request: ChatRequest) -> ChatResponse:
        if self.slow:
            await asyncio.sleep(0.01)
        usage = Usage(input_tokens=10, output_tokens=5, cost=0.25)
        if request.model == "router":
            choice = '{"agent": "eager", "input": "go on", "reason": "there is nobody else", "done": false}'
            return ChatResponse(message=Message("assistant", (TextPart(choice),)), usage=usage)
        call = ToolCallPart(f"call_{len(self.model.requests)}", "more", {})
        return ChatResponse(message=Message("assistant", (call,)), usage=usage)

    def more(self) -> str:
        self.tools += 1
        return "there is more"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    module = types.ModuleType(TOOLS)

    def more() -> str:
        """One more."""
        return made.more()

    more.__module__ = TOOLS
    module.more = more  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, TOOLS, module)
    return made


@pytest.fixture
async def runtime(world: World, tmp_path: Path) -> AsyncIterator[RuntimeManager]:
    plugin = types.ModuleType("limits_test_plugin")

    @hookimpl
    def kastra_model_providers() -> list[ModelProviderRegistration]:
        return [world.model.registration("fake")]

    plugin.kastra_model_providers = kastra_model_providers  # type: ignore[attr-defined]
    config = attrs.evolve(Config.load(tmp_path, env={}), tools=ToolSettings(python=PythonToolSettings(allow=(TOOLS,))))
    plugins = PluginManager(extra=[("fake", plugin)])
    async with await RuntimeManager.open("memory:", config=config, plugins=plugins) as opened:
        report = await opened.apply_string(RESOURCES)
        assert not report.not_ready, [item.resource.status for item in report.not_ready]
        yield opened


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize(
    ("limit", "allowed", "used", "most"),
    [
        # ``used`` is what the run says that it used, ``most`` by how many calls at once may each go over.
        ("maxModelCalls", 7, "modelCalls", 0),
        ("maxToolCalls", 7, "toolCalls", 0),
        ("maxSteps", 9, "steps", 0),
        ("maxTokens", 90, "tokens", 15),
        ("maxCost", 2.0, "cost", 0.25),
    ],
)
async def test_a_limit_stops_it_within_one_unit(
    runtime: RuntimeManager, world: World, target: str, limit: str, allowed: float, used: str, most: float
) -> None:
    run = await runtime.start_run(target, "go", limits={limit: allowed})
    status = await asyncio.wait_for(run.status(), 30)
    assert (status["phase"], status["reason"]) == ("Failed", "LimitExceeded"), status
    assert f"the limit {limit}={allowed:g} is reached" in status["message"]
    usage = status["usage"]
    usage["tokens"] = usage["inputTokens"] + usage["outputTokens"]
    at_once = 5 if target == "workflows/wide" else 1
    assert allowed <= usage[used] <= allowed + most * at_once, usage
    if not most and limit != "maxSteps":
        assert usage[used] == allowed
    # What the run says is what happened.
    assert (usage["modelCalls"], usage["toolCalls"]) == (len(world.model.requests), world.tools)


@pytest.mark.parametrize("target", KINDS)
async def test_wall_time_stops_it_and_all_that_it_called(runtime: RuntimeManager, world: World, target: str) -> None:
    world.slow = True
    run = await runtime.start_run(target, "go", limits={"timeoutS": 0.3})
    status = await asyncio.wait_for(run.status(), 30)
    assert (status["phase"], status["reason"]) == ("Failed", "LimitExceeded"), status
    assert "the limit timeoutS=0.3 is reached" in status["message"]
    await asyncio.wait_for(runtime.runs.drain(), 10)
    asked = len(world.model.requests)
    await asyncio.sleep(0.05)
    assert len(world.model.requests) == asked, "what it had called goes on"


@pytest.mark.parametrize("target", KINDS)
async def test_a_limit_of_the_resource_holds_as_one_of_the_caller(
    runtime: RuntimeManager, world: World, target: str
) -> None:
    resource = await runtime.client.require(runtime.reference(target).key)
    manifest = resource.to_manifest()
    manifest["spec"]["limits"] = {"maxToolCalls": 3}
    await runtime.apply(
        [
            {key: manifest[key] for key in ("apiVersion", "kind", "spec")}
            | {"metadata": {"name": resource.metadata.name}}
        ]
    )
    run = await runtime.start_run(target, "go")
    status = await asyncio.wait_for(run.status(), 30)
    assert (status["reason"], world.tools) == ("LimitExceeded", 3)
