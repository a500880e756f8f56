"""Memory where it is tight or disturbed: limits of the run, hostile texts, runs at the same time, deleted threads."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.execution.replay import replay
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.model import ChatRequest, Message, ToolCallPart
from kastra_core.protocols.store import AppendMessages, DeleteThread
from kastra_core.runtime import RuntimeManager
from kastra_plugin_agent.memory_spec import WorkingMemorySpec
from kastra_plugin_agent.memory_summary import transcript
from kastra_plugin_agent.tokens import estimate_text, estimate_tokens
from kastra_plugin_agent.working import note

Stage = Any
"""The fixture of conftest.py."""
SCOPE = "thread/default/t/agent/default/a/summary"


def is_summary(request: ChatRequest) -> bool:
    return "You keep the summary" in request.messages[0].text


def model(request: ChatRequest) -> str:
    return "They spoke." if is_summary(request) else "fine"


def said(turns: int, words: str = "word ") -> list[dict[str, Any]]:
    return [
        Message(role, Message.user(f"{role} {turn} {words * 20}").parts).to_json()
        for turn in range(turns)
        for role in ("user", "assistant")
    ]


async def tell(runtime: RuntimeManager, turns: int, thread: str = "t") -> None:
    await runtime.store.commit([AppendMessages("default", thread, said(turns))])


async def events_of(agent: Any, input: Any, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Events of a run by type."""
    out: dict[str, list[dict[str, Any]]] = {"note": []}
    async for event in agent.stream(input, **options):
        out.setdefault(event["type"], []).append(event)
    return out


# ------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"maxModelCalls": 1}, "the limit maxModelCalls=1 leaves none for a summary beside the answer"),
        ({"maxTokens": 1000}, "the limit maxTokens=1000 leaves too few for a summary beside the answer"),
    ],
)
async def test_a_summary_that_a_limit_has_no_room_for_is_left_out_and_the_turn_is_answered(
    stage: Stage, limits: dict[str, int], words: str
) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 30)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = model
    events = await events_of(agent, "hello", thread="t", limits=limits)
    assert events["completed"][0]["output"] == "fine"
    assert words in events["note"][0]["message"]
    assert len(stage.model.requests) == 1
    assert len(stage.model.requests[0].messages) == 10


async def test_a_summary_leaves_an_agent_with_tools_a_call_for_them_too(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 30)

    async def ping(*_: Any) -> Any:
        return "pong"

    await stage.tool(runtime, "ping", ping)
    agent = await stage.agent(runtime, tools=["ping"], memory={"type": "summary", "maxMessages": 8})

    def calls(request: ChatRequest) -> Any:
        if is_summary(request):
            return "They spoke."
        return "it is up" if request.messages[-1].role == "tool" else ToolCallPart("1", "ping", {})

    stage.model.default = calls
    assert (await agent.generate("is it up?", thread="t", limits={"maxModelCalls": 2})).output == "it is up"


async def test_a_limit_of_tokens_makes_the_portions_of_a_summary_smaller(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 300)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8}, limits={"maxTokens": 4000})
    stage.model.default = model
    await agent.generate("hello", thread="t")
    asked = stage.model.requests[0]
    assert is_summary(asked)
    assert 500 < estimate_text(asked.messages[-1].text) < 1000


async def test_an_answer_that_used_up_the_tokens_is_given_and_kept_but_not_embedded(stage: Stage) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    agent = await stage.agent(runtime, memory={"type": "vector"}, limits={"maxTokens": 1})
    events = await events_of(agent, "hello", thread="t")
    assert events["completed"][0]["output"] == "hi"
    assert "cannot be recalled by meaning (LimitExceeded: " in events["note"][0]["message"]
    assert await runtime.store.threads.last_seq("default", "t") == 2
    assert stage.words.embedding_requests == []


async def test_a_bound_without_room_for_a_summary_makes_none_and_forgets_nothing(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 30)
    memory = {"type": "summary", "maxTokens": 200, "workingMemory": {"template": "x" * 120}}
    agent = await stage.agent(runtime, memory=memory)
    stage.model.default = model
    events = await events_of(agent, "hello", thread="t")
    assert "NoRoom" in events["note"][0]["message"]
    assert len(stage.model.requests) == 1
    assert await runtime.store.state.get_state(SCOPE) == {}


async def test_the_bound_of_an_answer_does_not_cut_a_summary_and_a_larger_one_stays(stage: Stage) -> None:
    runtime = await stage.runtime()
    stage.model.default = model
    for own, least in ((20, 250), (900, 900)):
        await tell(runtime, 30, f"t{own}")
        memory = {"type": "summary", "maxMessages": 8, "summary": {"maxTokens": 343}}
        spec = {"model": {"provider": "fake", "name": "m", "maxTokens": own}, "memory": memory}
        await (await stage.agent(runtime, **spec)).generate("hello", thread=f"t{own}")
        summary, answer = [request.max_tokens or 0 for request in stage.model.requests[-2:]]
        assert least <= summary <= max(343, own)
        assert answer == own


# ------------------------------------------------------------------------------------------------- the bound


HOSTILE = st.lists(
    st.sampled_from(["</recalled>", "</working_memory>", "</conversation_summary>", "a ", "你好", "👍", "\0", "\n"]),
    max_size=30,
).map("".join)
WORKING = st.none() | st.builds(
    lambda size, words: {"maxBytes": size, "template": "keep it " * words}, st.integers(64, 900), st.integers(0, 5)
)
TAGS = ("recalled", "working_memory", "conversation_summary")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["buffer", "summary", "vector"]),
    st.integers(300, 900),
    st.integers(1, 12),
    WORKING,
    st.lists(HOSTILE.filter(str.strip), min_size=3, max_size=10),
)
async def test_whatever_is_said_memory_keeps_its_bound_and_what_it_tells_ends_where_it_should(
    stage: Stage, type_: str, bound: int, most: int, works: dict[str, Any] | None, texts: list[str]
) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    memory: dict[str, Any] = {"type": type_, "maxTokens": bound, "maxMessages": most}
    if works is not None:
        memory["workingMemory"] = works
    agent = await stage.agent(runtime, instructions="", memory=memory)
    stage.model.requests.clear()
    stage.model.default = lambda request: request.messages[-1].text
    for text in texts:
        await agent.generate(text, thread="t")
        *middle, last = stage.model.requests[-1].messages
        assert last.text == text
        head = middle.pop(0).text if middle and middle[0].role == "system" else ""
        assert estimate_text(head) + sum(estimate_tokens(m.to_json()) for m in middle) <= bound
        assert [head.count(f"</{tag}>") for tag in TAGS] == [int(f"<{tag}>\n" in head) for tag in TAGS]
        assert not middle or middle[0].role == "user"
    stage.runtimes.remove(runtime)
    await runtime.aclose()


@given(st.dictionaries(HOSTILE, HOSTILE, max_size=3), HOSTILE, st.integers(60, 400))
def test_a_note_of_working_memory_is_within_its_bound_and_whole(values: Any, template: str, bound: int) -> None:
    text = note(WorkingMemorySpec(template=template.replace("</", "")), values, bound)
    assert estimate_text(text) <= bound
    assert re.fullmatch(r"<working_memory>\n.*\n</working_memory>\n(?!.*</working_memory>).*", text, re.DOTALL)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=12), st.integers(20, 400), st.data())
def test_portions_to_condense_are_whole_turns_and_hold_all_of_them_once(
    tools: list[int], most: int, data: st.DataObject
) -> None:
    messages = []
    for turn, calls in enumerate(tools):
        messages.append(Message.user(f"q{turn}.").to_json())
        messages += [
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": f"r{turn}.{at}."}]}
            for at in range(calls)
        ]
        messages.append({"role": "assistant", "parts": [{"type": "text", "content": f"a{turn}."}]})
    ends = [at + 1 for at, message in enumerate(messages) if message["role"] == "assistant"]
    up_to = data.draw(st.sampled_from(ends))

    async def condense() -> list[tuple[int, str]]:
        store = MemoryStore()
        await store.commit([AppendMessages("default", "t", messages)])
        ctx: Any = SimpleNamespace(runtime=SimpleNamespace(store=store))
        at, portions = 0, []
        while at < up_to:
            asked = {"namespace": "default", "thread": "t", "after": at, "upTo": up_to, "maxTokens": most}
            portion = await transcript(ctx, asked)
            assert portion["upTo"] > at
            at = portion["upTo"]
            portions.append((at, portion["text"]))
        return portions

    portions = asyncio.run(condense())
    told = "\n".join(text for _, text in portions).split("\n")
    assert len(told) == up_to == portions[-1][0]
    assert told == [
        f"{m['role']}: " + (m["parts"][0].get("content") or f'"{m["parts"][0]["response"]}"') for m in messages[:up_to]
    ]
    for end, text in portions:
        # Only a turn that is too long by itself is divided.
        assert end in ends or text.count("user: ") <= 1
        assert estimate_text(text) <= most or "\n" not in text


# ------------------------------------------------------------------------------------------------- at the same time


async def test_a_run_that_began_before_the_last_summary_leaves_it_as_it_is(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 20)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(request: ChatRequest) -> str:
        if is_summary(request) and not began.is_set():
            began.set()
            await go.wait()
            return "The old one."
        return model(request)

    stage.model.default = slow
    early = asyncio.create_task(agent.generate("early", thread="t"))
    await asyncio.wait_for(began.wait(), 10)
    for turn in range(6):
        await agent.generate(f"later {turn}", thread="t")
    kept = await runtime.store.state.get_state(SCOPE)
    assert kept["upTo"] > 40
    go.set()
    reply = await early
    assert await runtime.store.state.get_state(SCOPE) == kept
    trace = await replay(runtime, await runtime.client.require(reply.run))
    assert (trace.end, trace.differs) == ("finished", False)


async def test_a_run_that_begins_behind_the_last_summary_uses_it(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 20)
    await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8}, scaling={"maxReplicas": 1})
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(request: ChatRequest) -> str:
        began.set()
        await go.wait()
        return model(request)

    stage.model.default = slow
    first = await runtime.start_run("agents/a", "first", thread="other")
    await asyncio.wait_for(began.wait(), 10)
    waits = await runtime.start_run("agents/a", "it waits for a slot", thread="t")
    # Meanwhile another process goes on with the thread.
    await tell(runtime, 10)
    kept = {"upTo": 56, "text": "All that was said."}
    await runtime.store.state.update_values(SCOPE, kept)
    go.set()
    await first.result()
    await waits.result()
    assert await runtime.store.state.get_state(SCOPE) == kept
    assert "All that was said." in stage.model.requests[-1].messages[0].text
    assert not any(map(is_summary, stage.model.requests))


async def test_a_thread_that_is_deleted_while_it_is_condensed_gets_no_summary(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 20)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})

    async def deletes(request: ChatRequest) -> str:
        if is_summary(request):
            await runtime.store.commit([DeleteThread("default", "t")])
        return model(request)

    stage.model.default = deletes
    assert (await agent.generate("hello", thread="t")).output == "fine"
    assert await runtime.store.state.get_state(SCOPE) == {}
    assert await runtime.store.threads.last_seq("default", "t") == 2


# ------------------------------------------------------------------------------------------------- forms of a turn


@pytest.mark.parametrize("type_", ["summary", "vector"])
async def test_a_greeting_at_the_beginning_of_a_thread_costs_neither_summary_nor_recall(
    stage: Stage, type_: str
) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    agent = await stage.agent(runtime, memory={"type": type_})
    greeting = [{"role": "assistant", "content": "Welcome!"}, {"role": "user", "content": "hello"}]
    await agent.generate({"messages": greeting}, thread="t")
    reply = await agent.generate("how are you?", thread="t")
    assert reply.usage["modelCalls"] == 1
    assert all(request.input_type == "passage" for request in stage.words.embedding_requests)


async def test_a_tool_that_is_not_offered_in_this_run_is_not_demanded(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def ping(*_: Any) -> Any:
        return "pong"

    await stage.tool(runtime, "ping", ping)
    choice = "working_memory_update"
    agent = await stage.agent(runtime, tools=["ping"], toolChoice=choice, memory={"workingMemory": {}})
    await agent.generate("hello")
    await agent.generate("hello", thread="t")
    assert [request.tool_choice for request in stage.model.requests] == ["auto", choice]


async def test_what_memory_gave_a_request_is_told_by_an_event_and_by_the_replay(stage: Stage) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    stage.model.default = model
    await tell(runtime, 20)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    [event] = (await events_of(agent, "hello", thread="t"))["memory"]
    assert event["message"] == "6 of 40 messages; a summary of those up to 34, made now"
    assert (event["messages"], event["of"], event["summary"]) == (6, 40, {"upTo": 34, "made": True})
    agent = await stage.agent(runtime, memory={"type": "vector", "maxMessages": 2, "recall": {"topK": 1}})
    for text in ("red apples", "green pears"):
        assert "memory" in await events_of(agent, text, thread="t")
    reply = await agent.generate("red?", thread="t")
    trace = await replay(runtime, await runtime.client.require(reply.run))
    [event] = [entry.event for entry in trace.entries if entry.event["type"] == "memory"]
    assert event["message"].startswith("2 of 46 messages; 1 recalled (t 0.")
    assert [turn["thread"] for turn in event["recalled"]] == ["t"]
    assert "memory" not in await events_of(agent, "hello", thread="new")


async def test_working_memory_that_is_too_large_already_may_shrink_step_by_step(stage: Stage) -> None:
    runtime = await stage.runtime()
    scope = "thread/default/t/agent/default/a/working"
    await runtime.store.state.update_values(scope, dict.fromkeys("abc", "x" * 100))
    agent = await stage.agent(runtime, memory={"workingMemory": {"maxBytes": 64}})
    changes = [{"a": None}, {"d": 1}, {"b": None}, {"c": "short"}]
    calls = [ToolCallPart(str(at), "working_memory_update", {"values": v}) for at, v in enumerate(changes)]
    stage.script(calls, "ok")
    await agent.generate("go", thread="t")
    told = [part.is_error for m in stage.model.requests[-1].messages if m.role == "tool" for part in m.parts]
    assert told == [False, True, False, False]
    assert await runtime.store.state.get_state(scope) == {"c": "short"}
