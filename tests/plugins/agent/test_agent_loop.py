"""The agent loop: tools, threads, structured output, limits, streaming."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kastra_core.errors import OperationError, RateLimitError, RunFailedError
from kastra_core.protocols.model import ChatResponse, Message, TextPart, ToolCallPart, ToolResultPart

Stage = Any
"""The fixture of conftest.py."""


def call(name: str, arguments: Any = None, id: str = "") -> ToolCallPart:
    return ToolCallPart(id or f"call_{name}", name, {} if arguments is None else arguments)


async def test_an_agent_answers_with_its_instructions_as_system_message(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime())
    reply = await agent.generate("Hello?")
    assert reply.text == "hi"
    assert str(reply) == "hi"
    [request] = stage.model.requests
    assert [(m.role, m.text) for m in request.messages] == [("system", "Be brief."), ("user", "Hello?")]
    assert reply.usage["modelCalls"] == 1


async def test_a_tool_is_offered_called_and_its_result_given_back(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def weather(_: Any, arguments: dict[str, Any]) -> Any:
        return {"city": arguments["city"], "degrees": 18}

    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    await stage.tool(runtime, "weather", weather, description="Tells the weather.", inputSchema=schema)
    agent = await stage.agent(runtime, tools=["weather"])
    stage.script(call("weather", {"city": "Paris"}), "18 degrees")
    reply = await agent.generate("How is it in Paris?")
    assert reply.text == "18 degrees"
    first, second = stage.model.requests
    [tool] = first.tools
    assert (tool.name, tool.description, tool.parameters) == ("weather", "Tells the weather.", schema)
    result = second.messages[-1].parts[0]
    assert result == ToolResultPart("call_weather", {"city": "Paris", "degrees": 18})
    assert (reply.usage["modelCalls"], reply.usage["toolCalls"], reply.usage["steps"]) == (2, 1, 2)


async def test_tools_of_one_turn_are_called_at_once_and_answered_in_order(stage: Stage) -> None:
    runtime = await stage.runtime()
    both = asyncio.Event()
    entered: list[str] = []

    async def meet(_: Any, arguments: dict[str, Any]) -> Any:
        entered.append(arguments["who"])
        if len(entered) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)
        return arguments["who"]

    await stage.tool(runtime, "meet", meet)
    agent = await stage.agent(runtime, tools=["meet"])
    stage.script([call("meet", {"who": "a"}, "1"), call("meet", {"who": "b"}, "2")], "met")
    assert (await agent.generate("go")).text == "met"
    results = [m.parts[0] for m in stage.model.requests[1].messages if m.role == "tool"]
    assert results == [ToolResultPart("1", "a"), ToolResultPart("2", "b")]


@pytest.mark.parametrize(
    ("ask", "wrong"),
    [
        (call("nothing"), "there is no tool 'nothing'; tools are broken"),
        (call("broken", "{not json"), "the arguments are no JSON object"),
        (call("broken"), "Broken: it broke"),
    ],
)
async def test_a_tool_that_fails_is_an_answer_that_the_model_sees(stage: Stage, ask: Any, wrong: str) -> None:
    runtime = await stage.runtime()

    async def broken(*_: Any) -> Any:
        raise OperationError("it broke", reason="Broken")

    await stage.tool(runtime, "broken", broken)
    agent = await stage.agent(runtime, tools=["broken"])
    stage.script(ask, "sorry")
    assert (await agent.generate("go")).text == "sorry"
    result = stage.model.requests[1].messages[-1].parts[0]
    assert isinstance(result, ToolResultPart)
    assert result.is_error
    assert wrong in str(result.response)


async def test_a_thread_keeps_the_conversation(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    stage.script("one", "two", "three")
    await agent.generate("first", thread="t")
    await agent.generate("second", thread="t")
    await agent.generate("elsewhere", thread="other")
    texts = [[m.text for m in r.messages[1:]] for r in stage.model.requests]
    assert texts == [["first"], ["first", "one", "second"], ["elsewhere"]]


async def test_a_disabled_memory_neither_reads_nor_writes_the_thread(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"enabled": False})
    await agent.generate("first", thread="t")
    await agent.generate("second", thread="t")
    assert [len(r.messages) for r in stage.model.requests] == [2, 2]
    assert await runtime.store.threads.last_seq("default", "t") == 0


async def test_the_buffer_is_cut_at_the_beginning_of_a_turn(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def ping(*_: Any) -> Any:
        return "pong"

    await stage.tool(runtime, "ping", ping)
    agent = await stage.agent(runtime, tools=["ping"], memory={"maxMessages": 4})
    stage.script(call("ping"), "a1", "a2", "a3")
    for text in ("q1", "q2", "q3"):
        await agent.generate(text, thread="t")
    last = stage.model.requests[-1].messages
    # The last four are: tool result of q1, a1, q2, a2; what comes before q2 is the rest of a turn and is left out.
    assert [m.text for m in last] == ["Be brief.", "q2", "a2", "q3"]


async def test_a_failed_run_leaves_the_thread_as_it_was(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    stage.script(ValueError("boom"), "fine")
    with pytest.raises(RunFailedError):
        await agent.generate("first", thread="t")
    await agent.generate("again", thread="t")
    assert [m.text for m in stage.model.requests[-1].messages] == ["Be brief.", "again"]


SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "integer"}},
    "required": ["total"],
    "additionalProperties": False,
}


async def test_structured_output_is_json_that_fits_the_schema(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime(), output={"schema": SCHEMA})
    stage.script('{"total": 3}')
    reply = await agent.generate("count")
    assert reply.output == {"total": 3}
    assert reply.text == '{"total":3}'
    assert stage.model.requests[0].response_schema == SCHEMA


async def test_a_wrong_structured_output_is_repaired_once_with_the_error_shown(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime(), output={"schema": SCHEMA})
    stage.script('{"total": "three"}', '{"total": 3}')
    assert (await agent.generate("count")).output == {"total": 3}
    assert "total" in stage.model.requests[1].messages[-1].text


async def test_a_structured_output_that_stays_wrong_fails_the_run(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime(), output={"schema": SCHEMA})
    stage.script("no json", "still none")
    with pytest.raises(RunFailedError, match=r"spec\.output\.schema") as caught:
        await agent.generate("count")
    assert caught.value.reason == "OutputInvalid"


@pytest.mark.parametrize(
    ("limits", "model_calls", "tool_calls"),
    [
        ({"maxSteps": 3}, 3, 3),
        ({"maxModelCalls": 2}, 2, 2),
        ({"maxToolCalls": 2}, 3, 2),
        ({"maxTokens": 1}, 1, 1),
    ],
)
async def test_a_model_that_always_wants_one_more_tool_is_stopped(
    stage: Stage, limits: dict[str, int], model_calls: int, tool_calls: int
) -> None:
    runtime = await stage.runtime()
    called: list[int] = []

    async def more(*_: Any) -> Any:
        called.append(1)
        return "more"

    await stage.tool(runtime, "more", more)
    agent = await stage.agent(runtime, tools=["more"], limits=limits)
    stage.model.default = call("more")
    with pytest.raises(RunFailedError) as caught:
        await agent.generate("go")
    assert caught.value.reason == "LimitExceeded"
    assert (len(stage.model.requests), len(called)) == (model_calls, tool_calls)


async def test_without_a_limit_of_its_own_an_agent_stops_after_25_steps(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def more(*_: Any) -> Any:
        return "more"

    await stage.tool(runtime, "more", more)
    agent = await stage.agent(runtime, tools=["more"])
    stage.model.default = call("more")
    with pytest.raises(RunFailedError, match="maxSteps=25"):
        await agent.generate("go")
    assert len(stage.model.requests) == 25


async def test_streaming_yields_text_tools_and_the_end(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def ping(*_: Any) -> Any:
        return "pong"

    await stage.tool(runtime, "ping", ping)
    agent = await stage.agent(runtime, tools=["ping"])
    stage.script(call("ping"), "it is up")
    events = [event async for event in agent.stream("is it up?")]
    assert [e["type"] for e in events] == ["tool_call", "tool_result", "text", "text", "text", "completed"]
    assert "".join(e["text"] for e in events if e["type"] == "text") == "it is up"
    assert events[-1]["output"] == "it is up"


async def test_leaving_a_stream_early_cancels_the_run(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    stage.model.default = " ".join(["word"] * 200)
    events = agent.stream("talk")
    assert (await anext(events))["type"] == "text"
    await events.aclose()
    [run] = (await runtime.store.resources.list("mastra.ai", "Run")).items
    assert run.status["phase"] in ("Cancelled", "Succeeded")
    assert runtime.runs.active == []


async def test_a_retryable_failure_of_the_model_is_tried_again_and_told(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    stage.script(RateLimitError("slow down", retry_after_s=0.0), "there")
    events = [event async for event in agent.stream("go")]
    assert events[0]["type"] == "model_retry"
    assert events[0]["reason"] == "RateLimit"
    assert events[-1]["output"] == "there"


async def test_a_failure_that_stays_ends_the_run_with_its_reason(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    stage.model.default = RateLimitError("slow down", retry_after_s=0.0)
    with pytest.raises(RunFailedError, match="slow down") as caught:
        await agent.generate("go")
    assert caught.value.reason == "RateLimit"
    assert len(stage.model.requests) == 4


async def test_a_stopped_answer_of_the_content_filter_fails_the_run(stage: Stage) -> None:
    agent = await stage.agent(await stage.runtime())
    stage.script(ChatResponse(message=Message("assistant", (TextPart(""),)), finish_reason="content_filter"))
    with pytest.raises(RunFailedError, match="content filter"):
        await agent.generate("go")


@pytest.mark.parametrize(
    ("input", "texts"),
    [
        ("hello", ["hello"]),
        ({"input": "hello"}, ["hello"]),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, ["a", "b"]),
        ({"n": 1}, ['{"n":1}']),
        ([1, 2], ["[1,2]"]),
    ],
)
async def test_input_comes_in_several_forms(stage: Stage, input: Any, texts: list[str]) -> None:
    agent = await stage.agent(await stage.runtime())
    await agent.generate(input)
    assert [m.text for m in stage.model.requests[0].messages[1:]] == texts


@pytest.mark.parametrize("input", [None, {"messages": [{"role": "user"}]}])
async def test_input_that_is_none_fails_with_a_reason(stage: Stage, input: Any) -> None:
    agent = await stage.agent(await stage.runtime())
    with pytest.raises(RunFailedError) as caught:
        await agent.generate(input)
    assert caught.value.reason == "InvalidInput"


async def test_an_agent_is_called_as_a_tool_of_another(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.agent(runtime, "translator", instructions="Translate.", description="Translates.")
    boss = await stage.agent(runtime, "boss", instructions="Lead.", tools=["agents/translator"])
    stage.script(call("translator", {"input": "bonjour"}), "hello", "It means hello.")
    reply = await boss.generate("What is bonjour?")
    assert reply.text == "It means hello."
    asked = stage.model.requests[1]
    assert [m.text for m in asked.messages] == ["Translate.", "bonjour"]
    assert stage.model.requests[0].tools[0].description == "Translates."
    assert reply.usage["modelCalls"] == 3


async def test_the_configuration_overrides_the_model_and_keeps_its_parameters(stage: Stage) -> None:
    runtime = await stage.runtime(model="fake/other")
    model = {"provider": "openai", "name": "gpt-4o", "temperature": 0.5, "apiBase": "http://example.invalid"}
    agent = await stage.agent(runtime, model=model)
    await agent.generate("go")
    [request] = stage.model.requests
    assert (request.model, request.temperature, request.settings.api_base) == ("other", 0.5, None)


async def test_an_agent_without_model_uses_the_default(stage: Stage) -> None:
    runtime = await stage.runtime(default_model="fake/standard")
    agent = await stage.agent(runtime, model=None)
    await agent.generate("go")
    assert stage.model.requests[0].model == "standard"


async def test_a_forced_tool_choice_holds_for_the_first_call_only(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def ping(*_: Any) -> Any:
        return "pong"

    await stage.tool(runtime, "ping", ping)
    agent = await stage.agent(runtime, tools=["ping"], toolChoice="required")
    stage.script(call("ping"), "done")
    await agent.generate("go")
    assert [r.tool_choice for r in stage.model.requests] == ["required", "auto"]


async def test_many_agents_at_once_keep_their_threads_apart(stage: Stage) -> None:
    runtime = await stage.runtime(f"file:{stage.tmp_path / 'k.db'}")

    def echo(request: Any) -> str:
        return f"re {request.messages[-1].text}"

    stage.model.default = echo
    agent = await stage.agent(runtime)

    async def talk(who: int) -> None:
        for turn in range(3):
            reply = await agent.generate(f"{who}-{turn}", thread=f"t{who}")
            assert reply.text == f"re {who}-{turn}"

    await asyncio.gather(*(talk(who) for who in range(50)))
    for who in range(50):
        stored = await runtime.store.threads.messages("default", f"t{who}")
        assert [m.seq for m in stored] == [1, 2, 3, 4, 5, 6]
        assert all(f"{who}-" in str(m.message) for m in stored)


async def test_two_turns_of_one_thread_at_once_are_both_kept(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime)
    await asyncio.gather(*(agent.generate(f"q{i}", thread="t") for i in range(5)))
    assert await runtime.store.threads.last_seq("default", "t") == 10


async def test_slots_hold_back_runs_beyond_max_replicas(stage: Stage) -> None:
    runtime = await stage.runtime()
    now, peak = [0], [0]

    async def slow(request: Any) -> str:
        now[0] += 1
        peak[0] = max(peak[0], now[0])
        await asyncio.sleep(0)
        now[0] -= 1
        return "ok"

    stage.model.default = slow
    agent = await stage.agent(runtime, scaling={"minReplicas": 1, "maxReplicas": 3})
    await asyncio.gather(*(agent.generate("q") for _ in range(20)))
    assert peak[0] <= 3
