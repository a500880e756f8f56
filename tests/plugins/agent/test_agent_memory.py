"""Threads that outgrow a request: the buffer's bounds, the running summary, and that both are replayed alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kastra_core.errors import InvalidRequestError
from kastra_core.execution.replay import replay
from kastra_core.protocols.model import ChatRequest, Message
from kastra_core.protocols.store import AppendMessages, DeleteThread
from kastra_core.runtime import RuntimeManager
from kastra_plugin_agent.tokens import estimate_text, estimate_tokens

Stage = Any
"""The fixture of conftest.py."""
SCOPE = "thread/default/t/agent/default/a/summary"


def added(request: ChatRequest, instructions: str = "Be brief.") -> int:
    """Tokens that memory added to a request: all but the instructions and the question, by the estimate."""
    head, *middle, _ = request.messages
    return estimate_text(head.text.removeprefix(instructions)) + sum(estimate_tokens(m.to_json()) for m in middle)


def is_summary(request: ChatRequest) -> bool:
    return "You keep the summary" in request.messages[0].text


def chatting(request: ChatRequest) -> str:
    """A model that answers at length, and whose summaries name the last thing they were told of."""
    if is_summary(request):
        asked = request.messages[-1].text
        return f"They spoke of {asked.count('user: ')} things, {request.max_tokens} tokens allowed."
    return f"You said {request.messages[-1].text}. " + "Well, well. " * 10


async def tell(runtime: RuntimeManager, turns: int, thread: str = "t") -> None:
    """Turns of a thread that are there already."""
    said = [
        Message(role, Message.user(f"{role} {turn} {'word ' * 20}").parts).to_json()
        for turn in range(turns)
        for role in ("user", "assistant")
    ]
    await runtime.store.commit([AppendMessages("default", thread, said)])


async def equal_on_replay(runtime: RuntimeManager, run: Any) -> None:
    trace = await replay(runtime, await runtime.client.require(run))
    assert (trace.end, trace.differs) == ("finished", False)


@pytest.mark.parametrize(
    ("turns", "memory"),
    [
        (200, {"maxTokens": 600}),
        (200, {"maxTokens": 600, "type": "summary", "summary": {"maxTokens": 150}}),
        (80, {"maxTokens": 600, "type": "vector", "workingMemory": {"maxBytes": 300}}),
    ],
    ids=lambda value: value.get("type", "buffer") if isinstance(value, dict) else str(value),
)
async def test_a_long_thread_stays_within_the_bound_at_the_model(
    stage: Stage, turns: int, memory: dict[str, Any]
) -> None:
    runtime = await stage.runtime(default_embeddings="words/bag")
    agent = await stage.agent(runtime, memory=memory)
    stage.model.default = chatting
    for turn in range(turns):
        await agent.generate(f"thing {turn}", thread="t")
    answers = [request for request in stage.model.requests if not is_summary(request)]
    assert len(answers) == turns
    assert max(map(added, answers)) <= 600
    # What there is room for is used: of what fits at most a turn (some 60 tokens) or a fourth is left free.
    assert min(map(added, answers[50:])) > 300
    assert all(request.messages[1].role == "user" for request in answers)
    assert all(request.messages[-3].text == f"thing {turn}" for turn, request in enumerate(answers[1:]))


async def test_a_turn_reads_no_more_rows_than_the_buffer_holds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 500)
    agent = await stage.agent(runtime, memory={"maxMessages": 6})
    asked: list[Any] = []
    facet = type(runtime.store.threads)
    read = facet.messages

    async def counted(self: Any, *args: Any, **options: Any) -> Any:
        rows = await read(self, *args, **options)
        asked.append(len(rows))
        return rows

    monkeypatch.setattr(facet, "messages", counted)
    await agent.generate("hello", thread="t")
    assert asked == [6]


async def test_a_last_turn_of_more_messages_than_the_buffer_is_kept_as_question_and_answer(stage: Stage) -> None:
    runtime = await stage.runtime()

    async def ping(*_: Any) -> Any:
        return "pong"

    from kastra_core.protocols.model import ToolCallPart

    await stage.tool(runtime, "ping", ping)
    agent = await stage.agent(runtime, tools=["ping"], memory={"maxMessages": 3})
    calls = [[ToolCallPart(f"{i}-{j}", "ping", {}) for j in range(2)] for i in range(3)]
    stage.script("hello", *calls, "it is up", "yes")
    for text in ("hi", "is it up?", "sure?"):
        await agent.generate(text, thread="t")
    assert [m.text for m in stage.model.requests[-1].messages] == ["Be brief.", "is it up?", "it is up", "sure?"]


async def test_a_summary_holds_what_fell_out_and_nothing_between_is_lost(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = chatting
    for turn in range(20):
        await agent.generate(f"thing {turn}", thread="t")
    summaries = [request for request in stage.model.requests if is_summary(request)]
    # Eight messages are four turns; it is made when a fifth comes, of what leaves three.
    assert len(summaries) == 16 // 2
    told = "".join(request.messages[-1].text for request in summaries)
    kept = await runtime.store.state.get_state(SCOPE)
    assert all(told.count(f"user: thing {turn}\n") == 1 for turn in range(kept["upTo"] // 2))
    last = stage.model.requests[-1]
    assert f"<conversation_summary>\n{kept['text']}" in last.messages[0].text
    assert last.messages[1].text == f"thing {kept['upTo'] // 2}"
    assert summaries[-1].messages[-1].text.startswith("<summary>\nThey spoke of ")


async def test_a_short_thread_makes_no_summary_and_reads_none(stage: Stage) -> None:
    runtime = await stage.runtime()
    agent = await stage.agent(runtime, memory={"type": "summary"})
    for _ in range(3):
        reply = await agent.generate("hi", thread="t")
    assert reply.usage["modelCalls"] == 1
    run = await runtime.client.require(reply.run)
    records = await runtime.store.journal.records(run.metadata.uid)
    assert [record.path for record in records] == ["/chat#0"]


async def test_the_summary_is_not_streamed_and_counts_as_a_model_call(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 30)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = chatting
    events = [event async for event in agent.stream("hello", thread="t")]
    assert "They spoke" not in "".join(event.get("text", "") for event in events)
    assert events[-1]["usage"]["modelCalls"] == 2
    await equal_on_replay(runtime, (await runtime.store.resources.list("mastra.ai", "Run")).items[0].key)


async def test_a_failing_summary_leaves_the_buffer_and_says_so_and_is_made_later(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 10)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    broken = True

    def model(request: ChatRequest) -> str:
        if is_summary(request) and broken:
            raise InvalidRequestError("no", provider="fake", model="m")
        return chatting(request)

    stage.model.default = model
    events = [event async for event in agent.stream("hello", thread="t")]
    [note] = [event["message"] for event in events if event["type"] == "note"]
    assert "could not be summarised (InvalidRequest: " in note
    answered = stage.model.requests[-1]
    assert len(answered.messages) == 10
    assert answered.messages[1].text.startswith("user 6 ")
    assert await runtime.store.state.get_state(SCOPE) == {}
    broken = False
    reply = await agent.generate("again", thread="t")
    assert "conversation_summary" in stage.model.requests[-1].messages[0].text
    await equal_on_replay(runtime, reply.run)


async def test_an_empty_summary_is_a_failure(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 10)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = lambda request: " " if is_summary(request) else "fine"
    events = [event async for event in agent.stream("hello", thread="t")]
    assert any("EmptySummary" in event.get("message", "") for event in events)
    assert events[-1]["output"] == "fine"


async def test_a_thread_that_was_long_before_is_condensed_in_portions_whole_turns_each(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 600)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 10, "maxTokens": 1000})
    stage.model.default = chatting
    reached = []
    for turn in range(9):
        await agent.generate(f"thing {turn}", thread="t")
        reached.append((await runtime.store.state.get_state(SCOPE))["upTo"])
    summaries = [request for request in stage.model.requests if is_summary(request)]
    assert max(estimate_text(request.messages[-1].text) for request in summaries) < 6600
    assert reached == sorted(reached)
    assert all(seq % 2 == 0 for seq in reached)
    assert reached[-1] >= 1200 - 10
    told = "".join(request.messages[-1].text for request in summaries)
    assert all(told.count(f"user: user {turn} ") == 1 for turn in range(590))
    assert max(map(added, (request for request in stage.model.requests if not is_summary(request)))) <= 1000


async def test_the_summary_model_of_the_manifest_writes_it_with_its_own_instructions(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 10)
    summary = {"model": "fake/small", "instructions": "You keep the summary, in French.", "maxTokens": 120}
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8, "summary": summary})
    stage.model.default = chatting
    await agent.generate("hello", thread="t")
    asked, answered = stage.model.requests
    assert (asked.model, answered.model) == ("small", "m")
    assert asked.messages[0].text.startswith("You keep the summary, in French.")
    assert asked.max_tokens is not None
    assert asked.max_tokens <= 120


async def test_a_model_that_is_chosen_for_the_run_writes_the_summary_too(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 10)
    memory = {"type": "summary", "maxMessages": 8, "summary": {"model": "nobody/m"}}
    agent = await stage.agent(runtime, memory=memory)
    stage.model.default = chatting
    await agent.generate("hello", thread="t", model="fake/other")
    assert [request.model for request in stage.model.requests] == ["other", "other"]


async def test_parallel_runs_of_a_thread_keep_a_summary_and_all_turns(stage: Stage) -> None:
    runtime = await stage.runtime(f"file:{stage.tmp_path / 'k.db'}")
    await tell(runtime, 10)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = chatting
    replies = await asyncio.gather(*(agent.generate(f"q{at}", thread="t") for at in range(6)))
    assert await runtime.store.threads.last_seq("default", "t") == 32
    kept = await runtime.store.state.get_state(SCOPE)
    assert kept["upTo"] == 14
    for reply in replies:
        await equal_on_replay(runtime, reply.run)


async def test_a_deleted_thread_takes_its_summary_along(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 10)
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = chatting
    await agent.generate("hello", thread="t")
    assert await runtime.store.state.get_state(SCOPE)
    await runtime.store.commit([DeleteThread("default", "t")])
    assert await runtime.store.state.get_state(SCOPE) == {}


async def test_a_summary_of_an_earlier_thread_of_the_name_hides_nothing(stage: Stage) -> None:
    runtime = await stage.runtime()
    await tell(runtime, 10)
    await runtime.store.state.update_values(SCOPE, {"upTo": 500, "text": "the old one"})
    agent = await stage.agent(runtime, memory={"type": "summary", "maxMessages": 8})
    stage.model.default = chatting
    await agent.generate("hello", thread="t")
    answered = stage.model.requests[-1]
    assert "the old one" not in answered.messages[0].text
    assert "They spoke of 7 things" in answered.messages[0].text
    assert len(answered.messages) == 8


async def test_what_was_not_valid_and_what_the_caller_said_as_system_is_not_kept(stage: Stage) -> None:
    runtime = await stage.runtime()
    schema = {"type": "object", "required": ["n"]}
    agent = await stage.agent(runtime, output={"schema": schema})
    stage.script("no", '{"n": 1}')
    messages = [{"role": "system", "content": "Count."}, {"role": "user", "content": "how many?"}]
    await agent.generate({"messages": messages}, thread="t")
    assert [m.text for m in stage.model.requests[1].messages][:4] == ["Be brief.", "Count.", "how many?", "no"]
    kept = await runtime.store.threads.messages("default", "t")
    assert [Message.from_json(row.message).text for row in kept] == ["how many?", '{"n": 1}']
