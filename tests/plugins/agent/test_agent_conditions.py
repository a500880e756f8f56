"""What an Agent's conditions say, and that they heal by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kastra_core.api.meta import Resource, ResourceKey, condition_of
from kastra_core.errors import NotReadyError, ValidationError
from kastra_core.protocols.model import ModelCheck
from kastra_core.runtime import RuntimeManager

Stage = Any
"""The fixture of conftest.py."""

MISSION = """
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: recipe-assistant
  namespace: cooking
  labels:
    app: kitchen-helper
    tier: frontend
spec:
  instructions: "你是一个厨师助手，帮助用户根据食材推荐菜谱。"
  model:
    provider: openai
    name: gpt-4-turbo
  tools:
    - name: recipe-finder
      refName: cooking.recipe-finder
  memory:
    enabled: true
    type: vector
  scaling:
    minReplicas: 1
    maxReplicas: 5
status:
  phase: Running
  conditions:
    - type: Ready
      status: "True"
"""


async def get(runtime: RuntimeManager, name: str = "a", namespace: str = "default") -> Resource:
    return await runtime.client.require(ResourceKey("mastra.ai", "Agent", namespace, name))


async def until(runtime: RuntimeManager, fits: Callable[[Resource], bool]) -> Resource:
    """The agent once it fits; each change is looked at as it comes."""
    kind = runtime.registry.resolve("agents")
    events = runtime.client.watch(kind)
    found = await get(runtime)
    while not fits(found):
        found = (await anext(events)).resource
    return found


def ready(resource: Resource) -> tuple[str, str, str]:
    condition = condition_of(resource, "Ready") or {}
    return condition.get("status", ""), condition.get("reason", ""), condition.get("message", "")


async def test_the_missions_agent_is_taken_verbatim_and_its_status_is_ignored(stage: Stage) -> None:
    runtime = await stage.runtime(model="fake/m")
    report = await runtime.apply_string(MISSION)
    [item] = report.items
    assert item.outcome == "created"
    assert "status is ignored: controllers write it" in item.notes
    agent = await get(runtime, "recipe-assistant", "cooking")
    assert agent.status["phase"] == "Pending"
    assert ready(agent)[:2] == ("False", "ToolNotFound")
    assert "Tool cooking/recipe-finder is not found" in ready(agent)[2]
    memory = condition_of(agent, "MemoryReady")
    assert memory is not None
    assert memory["reason"] == "NoEmbeddings"
    assert agent.status["replicas"] == 1
    assert agent.status["model"] == "fake/m"


async def test_a_missing_tool_is_a_condition_that_heals_when_it_appears_and_comes_back_when_it_goes(
    stage: Stage,
) -> None:
    runtime = await stage.runtime()

    async def ping(*_: Any) -> Any:
        return "pong"

    agent = await stage.agent(runtime, tools=["ping"])
    found = await get(runtime)
    assert ready(found)[:2] == ("False", "ToolNotFound")
    assert "spec.tools[0]" in ready(found)[2]
    with pytest.raises(NotReadyError, match="ToolNotFound"):
        await agent.generate("go")
    await stage.tool(runtime, "ping", ping)
    await until(runtime, lambda r: ready(r)[0] == "True")
    assert (await agent.generate("go")).text == "hi"
    await runtime.client.delete(ResourceKey("mastra.ai", "Tool", "default", "ping"))
    await until(runtime, lambda r: ready(r)[1] == "ToolNotFound")


async def test_a_tool_that_is_not_ready_names_its_own_reason(stage: Stage) -> None:
    runtime = await stage.runtime()
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "Tool", "metadata": {"name": "t"}, "spec": {}}
    tool = (await runtime.apply_resource(manifest, wait=False)).resource
    condition = {"type": "Ready", "status": "False", "reason": "ModuleNotFound", "message": "no module x"}
    await runtime.client.update_status(tool, {"conditions": [condition]})
    await stage.agent(runtime, tools=["t"])
    status, reason, message = ready(await get(runtime))
    assert (status, reason) == ("False", "ToolNotReady")
    assert "ModuleNotFound: no module x" in message


async def test_a_missing_key_is_a_condition_with_a_remedy_that_heals(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kastra_plugin_agent.controller.RECHECK_S", 0.01)
    monkeypatch.setattr("kastra_core.execution.models.CHECK_KEPT_S", 0.0)
    stage.model._check = ModelCheck(ok=False, reason="MissingKey", message="no key", remedy="set FAKE_API_KEY")
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    status, reason, message = ready(await get(runtime))
    assert (status, reason, message) == ("False", "ModelMissingKey", "fake/m: no key; set FAKE_API_KEY")
    with pytest.raises(NotReadyError, match="set FAKE_API_KEY"):
        await agent.generate("go")
    stage.model._check = ModelCheck(ok=True)
    await until(runtime, lambda r: ready(r)[0] == "True")


async def test_an_unknown_provider_is_a_condition_with_the_nearest_name(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime, model="fakee/m")
    status, reason, message = ready(await get(runtime))
    assert (status, reason) == ("False", "ModelUnknownProvider")
    assert "did you mean 'fake'?" in message


async def test_an_agent_that_lacks_only_its_model_runs_with_another_one(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, model="nobody/m")
    with pytest.raises(NotReadyError):
        await agent.generate("go")
    assert (await agent.generate("go", model="fake/m")).text == "hi"


async def test_without_any_model_the_condition_says_how_to_get_one(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime, model=None)
    status, reason, message = ready(await get(runtime))
    assert (status, reason) == ("False", "ModelMissing")
    assert "defaultModel" in message


async def test_each_condition_and_the_status_name_the_generation_they_saw(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime)
    await stage.agent(runtime, instructions="Be long.")
    agent = await get(runtime)
    assert agent.metadata.generation == 2
    assert agent.status["observedGeneration"] == 2
    assert {c["observedGeneration"] for c in agent.status["conditions"]} == {2}


async def test_applying_the_same_agent_again_writes_nothing(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime)
    before = (await get(runtime)).metadata.resource_version
    await stage.agent(runtime)
    assert (await get(runtime)).metadata.resource_version == before


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"instructions": 5}, "spec.instructions", "expected a string, found integer 5"),
        ({"instrctions": "x"}, "spec.instrctions", "did you mean 'instructions'?"),
        ({"model": "gpt-4o"}, "spec.model", "expected PROVIDER/NAME"),
        ({"model": {"provider": "openai"}}, "spec.model.name", "required field is missing"),
        ({"model": {"provider": "openai", "name": "x", "apiKey": "sk-123"}}, "spec.model.apiKey", "valueFrom"),
        ({"tools": "finder"}, "spec.tools", "expected a list or an object"),
        ({"tools": [{"refname": "x"}]}, "spec.tools[0].refname", "unknown field"),
        ({"tools": [5]}, "spec.tools[0]", "expected a reference or an object"),
        ({"tools": ["a", {"name": "a", "ref": "b.c"}]}, "spec.tools[1]", "two tools named 'a'"),
        ({"tools": ["a/b/c/d"]}, "spec.tools[0]", "is not a reference"),
        ({"memory": {"type": "magic"}}, "spec.memory.type", "expected one of buffer, summary, vector"),
        ({"memory": {"maxMessages": 0}}, "spec.memory.maxMessages", "expected 1 or more"),
        ({"memory": {"maxTokens": 20}}, "spec.memory.maxTokens", "expected 100 or more"),
        ({"memory": {"type": "vector", "maxTokens": 150}}, "spec.memory.maxTokens", "expected 300 or more"),
        (
            {"memory": {"type": "summary"}, "limits": {"maxModelCalls": 1}},
            "spec.limits.maxModelCalls",
            "the one call is the answer's",
        ),
        ({"memory": {"recall": {"topK": 3}}}, "spec.memory.recall", "set memory.type to vector"),
        ({"memory": {"type": "vector", "summary": {}}}, "spec.memory.summary", "set memory.type to summary"),
        ({"memory": {"type": "vector", "recall": {"topK": 0}}}, "spec.memory.recall.topK", "expected 1 to 50, found 0"),
        ({"memory": {"type": "vector", "recall": {"minScore": 2}}}, "spec.memory.recall.minScore", "-1 to 1"),
        ({"memory": {"type": "vector", "recall": {"scope": "all"}}}, "spec.memory.recall.scope", "thread, agent"),
        (
            {"memory": {"type": "vector", "recall": {"embeddings": "e5"}}},
            "spec.memory.recall.embeddings",
            "expected PROVIDER/NAME, found 'e5'",
        ),
        ({"memory": {"type": "summary", "summary": {"model": "m"}}}, "spec.memory.summary.model", "PROVIDER/NAME"),
        ({"memory": {"type": "summary", "summary": {"maxTokens": 9}}}, "spec.memory.summary.maxTokens", "50 or more"),
        ({"memory": {"workingMemory": {"maxBytes": 9}}}, "spec.memory.workingMemory.maxBytes", "64 to 65536"),
        (
            {"memory": {"workingMemory": {"schema": {"type": "string"}}}},
            "spec.memory.workingMemory.schema.type",
            "expected a schema of type object",
        ),
        (
            {"memory": {"workingMemory": {"schema": {"properties": 5}}}},
            "spec.memory.workingMemory.schema",
            "no valid JSON schema",
        ),
        (
            {"memory": {"maxTokens": 100, "workingMemory": {"template": "x" * 100}}},
            "spec.memory.workingMemory.template",
            "memory may add 100",
        ),
        (
            {"tools": ["working_memory_update"], "memory": {"workingMemory": {}}},
            "spec.tools[0]",
            "rename this one",
        ),
        ({"scaling": {"minReplicas": 3, "maxReplicas": 2}}, "spec.scaling.maxReplicas", "at least 3"),
        ({"limits": {"maxSteps": -1}}, "spec.limits.maxSteps", "expected 0 or more"),
        ({"limits": {"maxStep": 1}}, "spec.limits.maxStep", "did you mean 'maxSteps'?"),
        ({"toolChoice": "nothing"}, "spec.toolChoice", "expected one of auto, required, none"),
        ({"output": {"schema": {"type": "nonsense"}}}, "spec.output.schema", "no valid JSON schema"),
    ],
)
async def test_a_wrong_spec_is_refused_at_its_field(stage: Stage, spec: Any, path: str, words: str) -> None:
    runtime = await stage.runtime()
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": spec}
    with pytest.raises(ValidationError) as caught:
        await runtime.apply([manifest])
    problems = {problem.path: str(problem) for problem in caught.value.problems}
    assert path in problems, problems
    assert words in problems[path]
    assert await runtime.client.get(ResourceKey("mastra.ai", "Agent", "default", "a")) is None


@pytest.mark.parametrize(
    ("tools", "keys", "names"),
    [
        (["finder"], ["Tool ns/finder"], ["finder"]),
        (["cooking.finder"], ["Tool cooking/finder"], ["finder"]),
        (["cooking/finder"], ["Tool cooking/finder"], ["finder"]),
        (["tools/finder"], ["Tool ns/finder"], ["finder"]),
        ([{"name": "f", "refName": "cooking.finder"}], ["Tool cooking/finder"], ["f"]),
        ([{"ref": "cooking.finder"}], ["Tool cooking/finder"], ["finder"]),
        ([{"name": "finder", "namespace": "cooking"}], ["Tool cooking/finder"], ["finder"]),
        ({"f": "cooking.finder"}, ["Tool cooking/finder"], ["f"]),
        ({"f": {"ref": "cooking.finder"}}, ["Tool cooking/finder"], ["f"]),
        (["agents/greeter"], ["Agent ns/greeter"], ["greeter"]),
    ],
)
def test_tools_are_named_in_every_form(tools: Any, keys: list[str], names: list[str]) -> None:
    from kastra_core.api.meta import ObjectMeta
    from kastra_core.serde import typed
    from kastra_plugin_agent.rules import references, validate
    from kastra_plugin_agent.spec import AgentSpec

    agent = Resource(
        api_version="mastra.ai/v1",
        kind="Agent",
        metadata=ObjectMeta(name="a", namespace="ns"),
        spec={"tools": tools},
    )
    assert [str(reference.key) for reference in references(agent)] == keys
    assert [use.name for use in typed(agent.spec, AgentSpec).tools.items] == names
    assert list(validate(agent)) == []


def memory_ready(resource: Resource) -> tuple[str, str, str]:
    condition = condition_of(resource, "MemoryReady") or {}
    return condition.get("status", ""), condition.get("reason", ""), condition.get("message", "")


async def test_a_buffer_has_no_condition_of_memory(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime)
    assert condition_of(await get(runtime), "MemoryReady") is None


async def test_vector_memory_names_what_makes_its_vectors(stage: Stage) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    await stage.agent(runtime, memory={"type": "vector"})
    assert memory_ready(await get(runtime)) == ("True", "Vector", "words/bag makes the vectors")
    await stage.agent(runtime, memory={"type": "buffer"})
    assert memory_ready(await get(runtime))[:2] == ("True", "Buffer")


async def test_vector_memory_without_embeddings_says_how_to_get_them_and_does_not_hold_the_agent_up(
    stage: Stage,
) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime, memory={"type": "vector"})
    status, reason, message = memory_ready(await get(runtime))
    assert (status, reason) == ("False", "NoEmbeddings")
    assert "set defaultEmbeddings in the configuration" in message
    assert "the last messages of the thread are used" in message
    assert ready(await get(runtime))[0] == "True"


async def test_embeddings_that_are_amiss_are_told_and_heal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kastra_plugin_agent.controller.RECHECK_S", 0.01)
    monkeypatch.setattr("kastra_core.execution.models.CHECK_KEPT_S", 0.0)
    stage.words._check = ModelCheck(ok=False, reason="MissingKey", message="no key", remedy="set WORDS_KEY")
    runtime = await stage.runtime()
    await stage.agent(runtime, memory={"type": "vector", "recall": {"embeddings": "words/bag"}})
    status, reason, message = memory_ready(await get(runtime))
    assert (status, reason) == ("False", "EmbeddingsMissingKey")
    assert message.startswith("words/bag: no key; set WORDS_KEY. ")
    stage.words._check = ModelCheck(ok=True)
    await until(runtime, lambda r: memory_ready(r)[0] == "True")


async def test_a_store_without_vectors_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    monkeypatch.setattr(runtime.store, "vectors", None)
    agent = await stage.agent(runtime, memory={"type": "vector"})
    assert memory_ready(await get(runtime))[:2] == ("False", "NoVectorStore")
    events = [event async for event in agent.stream("hello", thread="t")]
    assert "NoVectorStore" in events[-2]["message"]
    assert await runtime.store.threads.last_seq("default", "t") == 2


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({}, ("True", "Summary", "fake/m writes the summaries")),
        ({"model": "fake/small"}, ("True", "Summary", "fake/small writes the summaries")),
        (
            {"model": "fakee/small"},
            ("False", "SummaryModelUnknownProvider", "spec.memory.summary.model: fakee/small: "),
        ),
    ],
)
async def test_summary_memory_says_whether_its_model_is_there(
    stage: Stage, summary: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime, memory={"type": "summary", "summary": summary})
    status, reason, message = memory_ready(await get(runtime))
    assert (status, reason) == expected[:2]
    assert message.startswith(expected[2])
    assert ready(await get(runtime))[0] == "True"


async def test_a_tool_that_was_not_reconciled_yet_is_awaited_without_a_warning(stage: Stage) -> None:
    runtime = await stage.runtime()
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "Tool", "metadata": {"name": "t"}, "spec": {}}
    tool = (await runtime.apply_resource(manifest, wait=False)).resource
    agent = await stage.agent(runtime, tools=["t"])
    assert ready(await get(runtime))[:2] == ("Unknown", "Pending")
    assert "spec.tools[0]: Tool default/t is not ready (it was not reconciled yet)" in ready(await get(runtime))[2]
    assert not (await runtime.client.list(runtime.registry.resolve("events"))).items
    bad = await stage.agent(runtime, name="b", tools=["t"], model="nobody/m")
    assert ready(await bad.resource())[1] == "ModelUnknownProvider", "what is known to be wrong says more"
    await runtime.client.update_status(tool, {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]})
    await until(runtime, lambda r: ready(r)[0] == "True")
    assert agent.reference.name == "a"
