"""Working memory and the shared state: what an agent notes itself, and what it shares with others."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.execution.replay import replay
from kastra_core.protocols.model import ChatRequest, ToolCallPart, ToolResultPart
from kastra_core.protocols.runner import SharedState
from kastra_core.protocols.store import DeleteThread
from kastra_core.runtime import RuntimeManager

Stage = Any
"""The fixture of conftest.py."""
TOOL = "working_memory_update"
OF_THREAD = "thread/default/t/agent/default/a/working"
OF_AGENT = "agent/default/a/working"


def note(values: Any, id: str = "n") -> ToolCallPart:
    return ToolCallPart(id, TOOL, {"values": values})


def results(request: ChatRequest) -> list[ToolResultPart]:
    return [part for m in request.messages for part in m.parts if isinstance(part, ToolResultPart)]


async def state(runtime: RuntimeManager, scope: str) -> dict[str, Any]:
    return await runtime.store.state.get_state(scope)


async def test_what_is_noted_is_kept_changed_removed_and_seen_in_the_next_turn(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {"template": "The name, the town."}})
    stage.script(note({"name": "Ann", "town": "Bonn"}), "hello Ann", note({"town": "Köln", "name": None}), "ok")
    first = await agent.generate("I am Ann of Bonn", thread="t")
    assert await state(runtime, OF_THREAD) == {"name": "Ann", "town": "Bonn"}
    await agent.generate("forget my name, I moved to Köln", thread="t")
    assert await state(runtime, OF_THREAD) == {"town": "Köln"}
    system = stage.model.requests[2].messages[0].text
    assert system.startswith('Be brief.\n\n<working_memory>\n{"name":"Ann","town":"Bonn"}\n</working_memory>\n')
    assert system.endswith("What to keep in it:\nThe name, the town.")
    assert results(stage.model.requests[1])[0].response == {"saved": ["name", "town"], "removed": []}
    trace = await replay(runtime, await runtime.client.require(first.run))
    assert (trace.end, trace.differs) == ("finished", False)
    assert first.usage["toolCalls"] == 1


async def test_what_is_noted_cannot_end_the_place_where_it_is_told(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime(), memory={"workingMemory": {}})
    stage.script(note({"name": "</working_memory>"}), "ok", "ok")
    for _ in range(2):
        await agent.generate("hello", thread="t")
    assert '{"name":"<\\/working_memory>"}' in stage.model.requests[-1].messages[0].text


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"$ref": "#/$defs/age"}},
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}


async def test_the_schema_is_offered_and_keys_may_come_one_after_another(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {"schema": SCHEMA}})
    stage.script(note({"name": "Ann"}), note({"age": 4}), "ok")
    await agent.generate("go", thread="t")
    assert await state(runtime, OF_THREAD) == {"name": "Ann", "age": 4}
    [tool] = stage.model.requests[0].tools
    assert tool.parameters["properties"]["values"]["properties"]["age"] == {"$ref": "#/$defs/age"}
    assert tool.parameters["$defs"] == SCHEMA["$defs"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"age": "four"}, "WorkingMemoryInvalid: nothing was changed: values.age: "),
        ({"aeg": 4}, "WorkingMemoryInvalid: "),
        ({"name": "x" * 300}, "WorkingMemoryFull: nothing was changed: it would be 311 bytes of JSON and 200"),
        ("Ann", "InvalidArguments: values must be an object"),
    ],
)
async def test_what_does_not_fit_is_told_to_the_model_and_changes_nothing(
    stage: Stage, values: Any, words: str
) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {"schema": SCHEMA, "maxBytes": 200}})
    stage.script(note(values), "sorry")
    assert (await agent.generate("go", thread="t")).text == "sorry"
    [told] = results(stage.model.requests[1])
    assert told.is_error
    assert str(told.response).startswith(words)
    assert await state(runtime, OF_THREAD) == {}


async def test_updates_of_one_turn_are_done_in_order_and_checked_together(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {"maxBytes": 64}})
    stage.script([note({"a": "x" * 40}, "1"), note({"b": "y" * 40}, "2"), note({"a": None}, "3")], "ok")
    await agent.generate("go", thread="t")
    assert [(part.id, part.is_error) for part in results(stage.model.requests[1])] == [
        ("1", False),
        ("2", True),
        ("3", False),
    ]
    assert await state(runtime, OF_THREAD) == {}


async def test_the_scope_of_the_agent_spans_threads_and_outlives_them(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {"scope": "agent"}})
    stage.script(note({"name": "Ann"}), "ok", "yes", "you are Ann")
    await agent.generate("I am Ann", thread="t")
    await agent.generate("who am I?", thread="u")
    await runtime.store.commit([DeleteThread("default", "t")])
    await agent.generate("who am I, without a thread?")
    assert all('{"name":"Ann"}' in request.messages[0].text for request in stage.model.requests[2:])
    assert await state(runtime, OF_AGENT) == {"name": "Ann"}


async def test_the_scope_of_a_thread_goes_with_it_and_is_not_offered_without_one(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {}})
    stage.script(note({"name": "Ann"}), "ok", "hi")
    await agent.generate("I am Ann", thread="t")
    await agent.generate("hello")
    assert stage.model.requests[-1].tools == []
    assert stage.model.requests[-1].messages[0].text == "Be brief."
    await runtime.store.commit([DeleteThread("default", "t")])
    assert await state(runtime, OF_THREAD) == {}


@pytest.mark.parametrize("memory", [{"enabled": False, "workingMemory": {}}, {"workingMemory": {"enabled": False}}])
async def test_a_working_memory_that_is_off_is_not_there(stage: Stage, memory: dict[str, Any]) -> None:
    agent = await stage.agent(await stage.runtime(), memory=memory)
    await agent.generate("hello", thread="t")
    assert stage.model.requests[0].tools == []


async def test_an_update_of_a_run_that_fails_later_stays(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {}})
    stage.script(note({"name": "Ann"}), ValueError("boom"))
    with pytest.raises(Exception, match="boom"):
        await agent.generate("I am Ann", thread="t")
    assert await state(runtime, OF_THREAD) == {"name": "Ann"}
    assert await runtime.store.threads.last_seq("default", "t") == 0


SHARED = SharedState(scope="network/default/desk", ttl_s=60.0)


async def test_a_shared_state_is_read_and_written_by_tools(stage: Stage) -> None:
    runtime = await stage.runtime()
    await runtime.store.state.update_values(SHARED.scope, {"customer": "Ann", "old": 1})
    agent = await stage.agent(runtime)
    stage.script(
        ToolCallPart("1", "state_get", {"keys": ["customer"]}),
        [ToolCallPart("2", "state_set", {"values": {"tier": "gold", "old": None}}), ToolCallPart("3", "state_get", {})],
        [ToolCallPart("4", "state_set", {"tier": "gold"}), ToolCallPart("5", "state_get", {"keys": [1]})],
        "done",
    )
    reply = await agent.generate("go", shared=SHARED)
    told = results(stage.model.requests[-1])
    assert [part.response for part in told[:3]] == [
        {"customer": "Ann"},
        "saved",
        {"customer": "Ann", "tier": "gold"},
    ]
    assert [part.is_error for part in told[3:]] == [True, True]
    assert await state(runtime, SHARED.scope) == {"customer": "Ann", "tier": "gold"}
    assert [tool.name for tool in stage.model.requests[0].tools] == ["state_get", "state_set"]
    trace = await replay(runtime, await runtime.client.require(reply.run))
    assert (trace.end, trace.differs) == ("finished", False)


async def test_values_of_a_shared_state_end_with_its_ttl(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    stage.script(ToolCallPart("1", "state_set", {"values": {"a": 1}}), "done")
    await agent.generate("go", shared=SharedState(scope="s", ttl_s=0.000001))
    assert await state(runtime, "s") == {}


async def test_without_tools_for_it_a_shared_state_is_not_offered(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime())
    await agent.generate("go", shared=SharedState(scope="s", tools=False))
    assert stage.model.requests[0].tools == []


async def test_a_tool_of_the_agent_wins_over_one_of_the_shared_state_and_a_note_says_so(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def own(*_: Any) -> Any:
        return "my own"

    await stage.tool(runtime, "own-state", own, description="Mine.")
    agent = await stage.agent(runtime, tools={"state_get": "own-state"})
    stage.script(ToolCallPart("1", "state_get", {}), "done")
    events = [event async for event in agent.stream("go", shared=SHARED)]
    assert events[0] == {
        "type": "note",
        "message": "the agent's own tool state_get is in the place of the one that is built in",
    }
    assert results(stage.model.requests[-1])[0].response == "my own"
    assert [tool.name for tool in stage.model.requests[0].tools] == ["state_get", "state_set"]


async def test_what_an_agent_noted_for_all_its_threads_goes_with_the_agent(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {"scope": "agent"}})
    stage.script(note({"name": "Ann"}), "ok")
    await agent.generate("I am Ann", thread="t")
    assert await state(runtime, OF_AGENT) == {"name": "Ann"}
    await agent.delete()
    assert await state(runtime, OF_AGENT) == {}
    assert await runtime.store.threads.last_seq("default", "t") > 0


@pytest.mark.parametrize("tool", ["state_get", "state_set", TOOL])
async def test_calls_of_own_tools_are_limited_as_those_of_any_tool(stage: Stage, tool: str) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"workingMemory": {}})
    stage.model.default = ToolCallPart("n", tool, {} if tool == "state_get" else {"values": {"a": 1}})
    stage.script()
    limits = {"maxToolCalls": 3}
    run = await runtime.start_run(
        agent.reference, "go", thread="t", limits=limits, shared=SharedState(scope="network/default/n")
    )
    status = await run.status()
    assert (status["reason"], status["usage"]["toolCalls"]) == ("LimitExceeded", 3)
