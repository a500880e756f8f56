"""The loop of a network: choices, members, repairs, fallback, and how a run ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kastra_core.errors import InvalidRequestError, RunFailedError
from kastra_core.execution.replay import replay
from kastra_core.protocols.model import ChatResponse, Message

Stage = Any
"""The fixture of conftest.py."""
Route = Callable[..., str]


async def test_the_chosen_member_answers_and_the_router_says_when_it_is_done(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("b", "look there"), route(None, done=True))
    reply = await network.generate("go")
    assert (reply.output, reply.reason, reply.members) == ("b: look there", "Completed", ("b",))
    assert reply.usage["modelCalls"] == 3
    assert len(stage.routed) == 2


async def test_done_with_a_member_costs_one_call_of_the_router(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "x", done=True))
    reply = await network.generate("go")
    assert (reply.output, reply.usage["modelCalls"]) == ("a: x", 2)


async def test_an_empty_input_means_the_words_of_the_user(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "", done=True))
    assert (await network.generate("我的账单有问题")).output == "a: 我的账单有问题"


async def test_the_router_sees_members_request_results_and_state(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(instructions="Helps guests.", router={"instructions": "Be quick."}, state=True)
    await network.state.set_value("tier", "gold")
    stage.script(route("a", "first"), route("b", "second", done=True))
    await network.generate("the request")
    first, second = stage.routed
    system, user = (message.text for message in first.messages)
    for text in ("Helps guests.", "- a (agent): Knows a.", "- c (agent): Knows c.", "Be quick."):
        assert text in system
    assert "Request:\nthe request" in user
    assert '{"tier":"gold"}' in user
    assert second.messages[0].text == system
    assert "1. a was asked: first\n   It answered: a: first" in second.messages[1].text


async def test_a_member_sees_the_request_and_what_members_before_it_answered(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.answers["c"] = InvalidRequestError("no", provider="fake", model="c")
    stage.script(route("a", "search"), route("c", "fail"), route("b", "sum up"), route("a", "check", done=True))
    await network.generate("the request")
    assert [message.text for message in stage.asked("a")[0].messages] == ["search"]
    assert [(message.role, message.text) for message in stage.asked("b")[0].messages] == [
        ("user", "the request"),
        ("assistant", "a: a: search"),
        ("user", "sum up"),
    ]
    assert stage.asked("a")[1].messages[1].text == "a: a: search\n\nb: b: sum up"


async def test_an_output_that_is_json_is_given_on_as_json(stage: Stage, route: Route) -> None:
    await stage.open()
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await stage.agents("a", output={"schema": schema})
    network = await stage.network(agents=["a"])
    stage.model.default = lambda request: (
        '{"n": 1}' if request.model == "a" else stage.choices.pop(0)  # its answer has a schema too
    )
    stage.script(route("a", "count"), route(None, done=True))
    assert (await network.generate("go")).output == {"n": 1}
    told = [request for request in stage.model.requests if request.model == "router"][1]
    assert 'It answered: {"n":1}' in told.messages[1].text


# ------------------------------------------------------------------------------------------------ choices


@pytest.mark.parametrize(
    "wrapped",
    ["```json\n{}\n```", "Sure, here it is:\n{}\nHope that helps {{.", "  {}  "],
)
async def test_a_choice_in_a_fence_or_in_prose_is_read(stage: Stage, route: Route, wrapped: str) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(wrapped.replace("{}", route("a", "x", done=True), 1))
    assert (await network.generate("go")).output == "a: x"
    assert len(stage.routed) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("I choose b.", "it is not JSON"),
        ("[1]", "expected a JSON object, found a list"),
        ('{"input": "x", "done": true}', "agent is missing"),
        ('{"agent": "bb", "input": "", "reason": "", "done": false}', "members are a, b, c; did you mean 'b'?"),
        ('{"agent": 5, "input": "", "reason": "", "done": false}', "agent is the name of a member or null, found"),
        ('{"agent": "b", "input": "", "reason": "", "done": 1}', "done is true or false, found integer 1"),
        ('{"agent": null, "input": "", "reason": "", "done": true}', "no member has answered yet"),
    ],
)
async def test_a_wrong_choice_is_shown_to_the_model_and_mended(
    stage: Stage, route: Route, wrong: str, told: str
) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(wrong, route("b", "x", done=True))
    events = await stage.events(network)
    [decision] = [event for event in events if event["type"] == "decision"]
    assert (decision["chosen"], decision["repaired"]) == ("b", 1)
    again = stage.routed[1].messages
    assert [message.role for message in again] == ["system", "user", "assistant", "user"]
    assert again[2].text == wrong
    assert told in again[3].text


async def test_spelling_of_a_member_may_differ_in_case(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route(" B ", "x", done=True))
    assert (await network.generate("go")).members == ("b",)


async def test_after_the_last_repair_the_fallback_gets_the_words_of_the_user(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(router={"fallback": "c", "maxRepairs": 2})
    stage.script("nonsense")
    events = await stage.events(network, "my words")
    [decision] = [event for event in events if event["type"] == "decision"]
    assert (decision["chosen"], decision["input"], decision["fallback"]) == ("c", "my words", True)
    assert "it is not JSON" in decision["reason"]
    assert len(stage.routed) == 3
    assert stage.asked("c")[0].messages[-1].text == "my words"


async def test_without_a_fallback_a_choice_that_stays_wrong_ends_the_run(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"maxRepairs": 0})
    stage.script(route("nobody-knows"))
    status = await stage.status(network)
    assert (status["phase"], status["reason"]) == ("Failed", "NoCandidate")
    assert "there is no member 'nobody-knows'" in status["message"]
    assert status["message"].endswith("name a member in spec.router.fallback that gets what nobody else fits")
    assert len(stage.routed) == 1


async def test_when_nobody_fits_the_model_is_not_asked_again(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route(None, reason="nobody sells flowers"))
    with pytest.raises(RunFailedError, match="nobody sells flowers") as caught:
        await network.generate("flowers?")
    assert caught.value.reason == "NoCandidate"
    assert len(stage.routed) == 1


async def test_a_choice_of_nobody_is_told_as_one(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route(None, reason="nobody sells flowers"))
    [decision] = [event for event in await stage.events(network) if event["type"] == "decision"]
    assert (decision["chosen"], decision["done"], decision["reason"]) == ("", False, "nobody sells flowers")


async def test_when_nobody_fits_after_an_answer_the_failed_run_keeps_it(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "x"), route(None, reason="that was nothing"))
    status = await stage.status(network)
    assert (status["reason"], status["output"]) == ("NoCandidate", "a: x")
    assert len(stage.routed) == 3


# ------------------------------------------------------------------------------------------------ failures


async def test_a_failed_member_is_a_result_that_the_router_sees(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.answers["a"] = InvalidRequestError("no such thing", provider="fake", model="a")
    stage.script(route("a", "x", done=True), route("b", "y", done=True))
    reply = await network.generate("go")
    assert (reply.output, reply.members) == ("b: y", ("a", "b"))
    told = stage.routed[1].messages[1].text
    assert "1. a was asked: x\n   It failed: InvalidRequest:" in told
    assert "no such thing" in told


async def test_a_router_that_gives_up_after_a_failure_ends_in_member_failed(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.answers["a"] = InvalidRequestError("no such thing", provider="fake", model="a")
    stage.script(route("a", "x"), route(None, reason="only a could"))
    status = await stage.status(network)
    assert (status["phase"], status["reason"]) == ("Failed", "MemberFailed")
    assert "no such thing" in status["message"]
    assert "only a could" in status["message"]


async def test_a_fallback_that_fails_ends_the_run(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"fallback": "c"})
    stage.answers["c"] = InvalidRequestError("closed", provider="fake", model="c")
    stage.script(route(None))
    status = await stage.status(network)
    assert status["reason"] == "MemberFailed"
    assert len(stage.asked("c")) == 1


async def test_a_fallback_that_failed_as_a_member_is_not_tried_again(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"fallback": "c"})
    stage.answers["c"] = InvalidRequestError("closed", provider="fake", model="c")
    stage.script(route("c", "x"), route(None))
    assert (await stage.status(network))["reason"] == "MemberFailed"
    assert len(stage.asked("c")) == 1


async def test_a_router_whose_model_fails_ends_the_run_with_its_reason(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(router={"fallback": "c"})
    stage.script(InvalidRequestError("bad", provider="fake", model="router"))
    assert (await stage.status(network))["reason"] == "InvalidRequest"


async def test_a_content_filter_that_stops_the_router_is_told(stage: Stage) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(ChatResponse(message=Message.assistant(""), finish_reason="content_filter"))
    assert (await stage.status(network))["reason"] == "ContentFilter"


# ------------------------------------------------------------------------------------------------ bounds


async def test_endless_routing_stops_after_exactly_max_steps_members(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"maxSteps": 15})
    stage.script(route("a", "again"))
    with pytest.raises(RunFailedError, match=r"15 members were called \(spec.router.maxSteps\)") as caught:
        await network.generate("go")
    assert (caught.value.reason, caught.value.output) == ("MaxSteps", "a: again")
    assert (len(stage.routed), len(stage.asked("a"))) == (15, 15)


async def test_more_steps_than_an_agent_may_make_are_no_limit(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"maxSteps": 30})
    stage.script(route("a", "again"))
    assert (await stage.status(network))["reason"] == "MaxSteps"
    assert len(stage.asked("a")) == 30


async def test_done_with_the_last_member_that_is_allowed_completes(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"maxSteps": 2})
    stage.script(route("a", "x"), route("b", "y", done=True))
    assert (await stage.status(network))["reason"] == "Completed"


async def test_a_limit_of_model_calls_ends_the_run_within_one(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(limits={"maxModelCalls": 4})
    stage.script(route("a", "again"))
    status = await stage.status(network)
    assert (status["phase"], status["reason"]) == ("Failed", "LimitExceeded")
    assert status["usage"]["modelCalls"] == 4


async def test_a_limit_of_the_member_itself_is_a_failure_that_the_router_sees(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a", limits={"maxModelCalls": 0})
    await stage.agents("b")
    network = await stage.network(agents=["a", "b"])
    stage.script(route("a", "x"), route("b", "y", done=True))
    assert (await network.generate("go")).output == "b: y"
    assert "It failed: LimitExceeded" in stage.routed[1].messages[1].text


# ------------------------------------------------------------------------------------------------ the answer


async def test_the_router_words_the_answer_after_the_last_member(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"answer": "router"})
    stage.script(route("a", "x", done=True))
    stage.answers["router"] = "In short: a."
    seen = [event async for event in network.stream("go")]
    assert seen[-1]["output"] == "In short: a."
    assert "".join(event["text"] for event in seen if event["type"] == "text" and not event["member"]) == "In short: a."
    [asked] = stage.asked("router")[1:]
    assert "It answered: a: x" in asked.messages[1].text
    assert seen[-1]["usage"]["modelCalls"] == 3


async def test_a_router_that_is_done_without_a_member_may_answer_at_once(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"answer": "router"})
    stage.script(route("a", "x"), route(None, "It is a.", done=True))
    reply = await network.generate("go")
    assert (reply.output, reply.usage["modelCalls"]) == ("It is a.", 3)
    stage.script(route(None, "Hello!", done=True))
    reply = await network.generate("hi")
    assert (reply.output, reply.members) == ("Hello!", ())


# ------------------------------------------------------------------------------------------------ conversation


async def test_a_thread_keeps_what_was_said_and_answered_and_no_more(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    network = await stage.network()
    stage.script(route("a", "asked one"), route("b", "asked two", done=True))
    await network.generate("one", thread="t")
    stage.script(route("c", "asked three", done=True))
    await network.generate("two", thread="t")
    kept = await runtime.store.threads.messages("default", "t")
    texts = [(stored.message["role"], stored.message["parts"][0]["content"]) for stored in kept]
    assert texts == [
        ("user", "one"),
        ("assistant", "b: asked two"),
        ("user", "two"),
        ("assistant", "c: asked three"),
    ]
    assert "Said before:\nuser: one\nassistant: b: asked two" in stage.routed[-1].messages[1].text
    heard = [(message.role, message.text) for message in stage.asked("c")[0].messages]
    assert heard == [("user", "one"), ("assistant", "b: asked two"), ("user", "asked three")]


async def test_only_the_last_messages_of_a_thread_are_told_from_a_user_on(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(memory={"maxMessages": 3})
    stage.script(route("a", "", done=True))
    for text in ("one", "two", "three"):
        await network.generate(text, thread="t")
    heard = [message.text for message in stage.asked("a")[-1].messages]
    assert heard == ["two", "a: two", "three"]


async def test_a_network_without_memory_neither_reads_nor_writes_its_thread(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    network = await stage.network(memory={"enabled": False})
    stage.script(route("a", "", done=True))
    await network.generate("one", thread="t")
    await network.generate("two", thread="t")
    assert [message.text for message in stage.asked("a")[-1].messages] == ["two"]
    assert list(await runtime.store.threads.messages("default", "t")) == []


@pytest.mark.parametrize(
    ("given", "request_text"),
    [
        ({"input": "hello"}, "hello"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "hello"),
        ({"order": 5}, '{"order":5}'),
    ],
)
async def test_forms_of_the_input(stage: Stage, route: Route, given: Any, request_text: str) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "", done=True))
    await network.generate(given)
    assert stage.asked("a")[0].messages[-1].text == request_text


async def test_messages_of_the_input_are_the_conversation(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "", done=True))
    said = [("user", "one"), ("assistant", "1"), ("user", "two")]
    await network.generate({"messages": [{"role": role, "content": text} for role, text in said]})
    assert [(message.role, message.text) for message in stage.asked("a")[0].messages] == said


@pytest.mark.parametrize(
    "given", [None, {"messages": [{"role": "assistant", "content": "x"}]}, {"messages": [{"role": "user"}]}]
)
async def test_an_input_without_a_request_is_refused(stage: Stage, given: Any) -> None:
    await stage.open()
    network = await stage.network()
    assert (await stage.status(network, given))["reason"] == "InvalidInput"


# ------------------------------------------------------------------------------------------------ events and replay


async def test_events_tell_each_choice_and_each_call(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.answers["a"] = InvalidRequestError("no", provider="fake", model="a")
    stage.script(route("a", "x", reason="first"), route("b", "y", done=True, reason="then"))
    events = await stage.events(network)
    decisions = [event for event in events if event["type"] == "decision"]
    assert decisions == [
        {
            "type": "decision",
            "kind": "route",
            "step": step,
            "router": "model",
            "chosen": name,
            "candidates": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
            "input": asked,
            "reason": reason,
            "done": done,
        }
        for step, name, asked, reason, done in ((1, "a", "x", "first", False), (2, "b", "y", "then", True))
    ]
    steps = [event for event in events if event["type"].startswith("step_")]
    assert [(event["type"], event["step"], event.get("phase")) for event in steps] == [
        ("step_started", "1", None),
        ("step_finished", "1", "Failed"),
        ("step_started", "2", None),
        ("step_finished", "2", "Succeeded"),
    ]
    assert (steps[0]["name"], steps[0]["body"], steps[0]["why"]) == ("a", "agent a", "first")
    assert steps[1]["error"]["reason"] == "InvalidRequest"
    assert not any(event["type"] == "text" for event in events), "the router's JSON is no text for users"


async def test_a_stream_says_who_speaks_and_ends_with_the_whole(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a", "b")
    await stage.network("inner", agents=["b"])
    network = await stage.network(agents=["a"], networks=["inner"])
    choices = {"outer": [route("a", "x"), route("inner", "y", done=True)], "inner": [route("b", "z", done=True)]}
    stage.model.default = lambda request: (
        stage._answer(request)
        if request.response_schema is None
        else choices["outer" if "- inner (network)" in request.messages[0].text else "inner"].pop(0)
    )
    seen = [event async for event in network.stream("go")]
    spoken: dict[str, str] = {}
    for event in seen:
        if event["type"] == "text":
            spoken[event["member"]] = spoken.get(event["member"], "") + event["text"]
    assert spoken == {"a": "a: x", "inner/b": "b: z"}
    last = seen[-1]
    assert (last["type"], last["output"], last["reason"], last["members"]) == (
        "completed",
        "b: z",
        "Completed",
        ["a", "inner"],
    )


async def test_leaving_a_stream_early_cancels_the_run(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    network = await stage.network(router={"maxSteps": 1000})
    stage.script(route("a", "again"))
    stream = network.stream("go")
    async for event in stream:
        if event["type"] == "step_finished":
            break
    await stream.aclose()
    [run] = [
        run
        for run in (await runtime.store.resources.list("mastra.ai", "Run")).items
        if run.spec["target"]["kind"] == "Network"
    ]
    assert (run.status["phase"], run.status["reason"]) == ("Cancelled", "Cancelled")


async def test_a_failed_stream_raises_with_the_reason(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route(None))
    with pytest.raises(RunFailedError) as caught:
        [event async for event in network.stream("go")]
    assert caught.value.reason == "NoCandidate"


@pytest.mark.parametrize("kind", ["model", "auto", "embedding"])
async def test_a_replay_tells_what_the_run_told(stage: Stage, route: Route, kind: str) -> None:
    stage.embeddings = "e"
    runtime = await stage.open()
    network = await stage.network(router={"type": kind, "margin": 2.0}, state=True)
    stage.script(route("b", "x"), "wrong", route("a", "y", done=True))
    live: list[dict[str, Any]] = []
    started = await runtime.start_run(network.reference, "go", listener=live.append, thread="t")
    assert (await started.status())["phase"] == "Succeeded"
    run = await runtime.client.require(started.key)
    trace = await replay(runtime, run)
    mine = ("decision", "step_started", "step_finished", "note")
    told = [entry.event for entry in trace.entries if entry.event["type"] in mine]
    assert told == [event for event in live if event["type"] in mine]
    assert (trace.end, trace.output, trace.differs) == ("finished", run.status["output"], False)
    paths = [record.path for record in await runtime.store.journal.records(run.metadata.uid)]
    assert trace.used == set(paths)
