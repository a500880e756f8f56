"""Every way through a network, over real HTTP: what the router says wrong, what members fail at, where a run ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core import PluginManager, Runtime, RuntimeManager
from kastra_core.config import Config, ProviderSettings, PythonToolSettings, ToolSettings
from kastra_core.errors import KastraError, RunFailedError
from kastra_core.execution.models import RetryPolicy
from scripted_openai import Call, ScriptedServer, text_of

MEMBERS = ("greeter", "technical", "billing")
ABOUT = {"greeter": "Says hello.", "technical": "Repairs things.", "billing": "Knows about invoices."}
ASK = "Why is my bill so high?"


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def agent(name: str, **spec: Any) -> dict[str, Any]:
    about = {"instructions": f"You are #{name}#.", "description": ABOUT.get(name, name), "model": "openai/m"}
    return document("Agent", name, **{**about, **spec})


def network(name: str = "desk", *, members: Sequence[Any] = MEMBERS, router: Any = None, **spec: Any) -> dict[str, Any]:
    return document(
        "Network",
        name,
        **{
            "instructions": f"You are #{name}#.",
            "agents": [{"name": member} if isinstance(member, str) else member for member in members],
            "router": {"model": "openai/m", **(router or {})},
            **spec,
        },
    )


def to(member: str | None, input: Any = ASK, *, done: bool = True, reason: str = "It fits.") -> dict[str, Any]:
    """A choice, as the router's model is to write it."""
    return {"agent": member, "input": input, "reason": reason, "done": done}


LEDGER = document(
    "Tool",
    "ledger",
    type="python",
    python={"function": "json:loads"},
    inputSchema={"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]},
)
DONE = to(None, None, reason="The question is answered.")


@attrs.define
class Ended:
    """What became of a run."""

    status: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == "decision"]

    @property
    def how(self) -> tuple[str, str]:
        return self.status["phase"], self.status["reason"]

    @property
    def output(self) -> Any:
        return self.status.get("output")


@attrs.define
class Stage:
    """A runtime on a scripted server."""

    server: ScriptedServer
    runtime: RuntimeManager

    async def run(self, reference: str = "network/desk", input: Any = ASK, **options: Any) -> Ended:
        events: list[dict[str, Any]] = []
        run = await self.runtime.start_run(reference, input, listener=events.append, **options)
        return Ended(await run.status(), events)


Opened = Callable[..., Any]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Opened]:
    """``await stage({part: answers}, *documents)``."""
    async with AsyncExitStack() as stack:

        async def opened(
            parts: Mapping[str, Sequence[Any]],
            *documents: dict[str, Any],
            vectors: Mapping[str, Sequence[float]] | None = None,
            ready: bool = True,
        ) -> Stage:
            server = await stack.enter_async_context(ScriptedServer(parts, vectors))
            config = attrs.evolve(
                Config.load(tmp_path, env={}),
                providers={"openai": ProviderSettings(api_base=server.base_url)},
                default_embeddings="openai/embed",
                tools=ToolSettings(python=PythonToolSettings(allow=("json",))),
            )
            runtime = await stack.enter_async_context(
                await Runtime.open("memory:", config=config, plugins=PluginManager())
            )
            runtime.models.retry = RetryPolicy(attempts=2, base_s=0.001)
            report = await runtime.apply(list(documents))
            if ready:
                assert not report.not_ready, [item.resource.status for item in report.not_ready]
            return Stage(server, runtime)

        yield opened


@pytest.fixture
def desk(stage: Opened) -> Opened:
    """A stage with the three members and the network ``desk`` of them; ``router`` and ``spec`` change the network."""

    async def opened(parts: Mapping[str, Sequence[Any]], *, router: Any = None, **spec: Any) -> Stage:
        made: Stage = await stage(parts, *(agent(name) for name in MEMBERS), network(router=router, **spec))
        return made

    return opened


# ---------------------------------------------------------------------------------------------------- the straight way


async def test_member_that_the_router_names_answers_with_one_call_of_the_router(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing", "The bill?")], "billing": ["It is high because of March."]})
    ended = await stage.run()
    assert ended.how == ("Succeeded", "Completed")
    assert ended.output == "It is high because of March."
    assert stage.server.order == ["desk", "billing"]
    assert stage.server.asked("billing")[0]["messages"][-1]["content"] == "The bill?"
    assert ended.status["usage"]["modelCalls"] == 2


async def test_router_is_told_each_member_the_network_and_the_request(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing")], "billing": ["So."]})
    await stage.run()
    [asked] = stage.server.asked("desk")
    said = text_of(asked)
    for word in (*MEMBERS, *ABOUT.values(), ASK, "#desk#"):
        assert word in said
    assert asked["response_format"]["type"] == "json_schema"


async def test_router_sees_what_a_member_answered_and_may_ask_another_one(desk: Opened) -> None:
    stage = await desk(
        {
            "desk": [to("technical", "Does the meter work?", done=False), to("billing"), DONE],
            "technical": ["The meter counts twice."],
            "billing": ["You get the half back."],
        }
    )
    ended = await stage.run()
    assert ended.output == "You get the half back."
    assert stage.server.order == ["desk", "technical", "desk", "billing"]
    assert "The meter counts twice." in text_of(stage.server.asked("desk")[1])
    assert [(d["step"], d["chosen"], d["done"]) for d in ended.decisions] == [
        (1, "technical", False),
        (2, "billing", True),
    ]


async def test_router_that_looks_at_the_answer_and_is_content_costs_two_calls(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing", done=False), DONE], "billing": ["Because of March."]})
    ended = await stage.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "Because of March.")
    assert stage.server.order == ["desk", "billing", "desk"]


async def test_decision_event_tells_candidates_input_and_reason(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing", "The bill?", reason="It is about money.")], "billing": ["So."]})
    [decision] = (await stage.run()).decisions
    assert decision["kind"] == "route"
    assert decision["router"] == "model"
    assert [candidate["name"] for candidate in decision["candidates"]] == list(MEMBERS)
    assert (decision["input"], decision["reason"]) == ("The bill?", "It is about money.")


# -------------------------------------------------------------------------------------------- what a router says wrong

WRONG = {
    "no JSON": "I would ask billing.",
    "half of it": '{"agent": "billing", "inp',
    "another shape": {"who": "billing"},
    "a list": '["billing"]',
    "an unknown member": to("accounting"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_wrong_choice_is_shown_to_the_router_and_repaired(desk: Opened, wrong: Any) -> None:
    stage = await desk({"desk": [wrong, to("billing")], "billing": ["So."]})
    ended = await stage.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "So.")
    assert stage.server.order == ["desk", "desk", "billing"]
    assert len(text_of(stage.server.asked("desk")[1])) > len(text_of(stage.server.asked("desk")[0]))
    assert ended.decisions[0]["repaired"] == 1


async def test_router_that_names_an_unknown_member_is_told_which_there_are(desk: Opened) -> None:
    stage = await desk({"desk": [to("accounting"), to("billing")], "billing": ["So."]})
    await stage.run()
    correction = stage.server.asked("desk")[1]["messages"][-1]["content"]
    for word in ("accounting", *MEMBERS):
        assert word in correction


async def test_input_that_does_not_fit_a_workflow_is_repaired(stage: Opened) -> None:
    schema = {
        "type": "object",
        "properties": {"invoice": {"type": "integer"}},
        "required": ["invoice"],
        "additionalProperties": False,
    }
    lookup = document(
        "Workflow", "lookup", inputSchema=schema, steps=[{"id": "say", "set": "invoice {{ workflow.input.invoice }}"}]
    )
    made = await stage(
        {"desk": [to("lookup", {"invoice": "seven"}), to("lookup", {"invoice": 7})]},
        agent("greeter"),
        lookup,
        network(members=["greeter"], workflows=[{"name": "lookup", "description": "Looks an invoice up."}]),
    )
    ended = await made.run()
    assert ended.output == "invoice 7"
    assert made.server.order == ["desk", "desk"]
    assert "invoice" in made.server.asked("desk")[1]["messages"][-1]["content"]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_choice_that_stays_wrong_goes_to_the_fallback_in_the_words_of_the_user(desk: Opened, wrong: Any) -> None:
    stage = await desk({"desk": [wrong, wrong], "greeter": ["How can I help?"]}, router={"fallback": "greeter"})
    ended = await stage.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "How can I help?")
    assert stage.server.order == ["desk", "desk", "greeter"]
    assert stage.server.asked("greeter")[0]["messages"][-1]["content"] == ASK
    assert (ended.decisions[0]["chosen"], ended.decisions[0]["fallback"]) == ("greeter", True)


async def test_choice_that_stays_wrong_without_a_fallback_ends_with_no_candidate(desk: Opened) -> None:
    stage = await desk({"desk": ["?", "?"]})
    ended = await stage.run()
    assert ended.how == ("Failed", "NoCandidate")
    assert "not JSON" in ended.status["message"]


@pytest.mark.parametrize("repairs", [0, 3])
async def test_router_is_corrected_as_often_as_max_repairs_says(desk: Opened, repairs: int) -> None:
    stage = await desk({"desk": ["?"] * (repairs + 1)}, router={"maxRepairs": repairs})
    assert (await stage.run()).how == ("Failed", "NoCandidate")
    assert stage.server.order == ["desk"] * (repairs + 1)


async def test_router_that_finds_nobody_gives_it_to_the_fallback(desk: Opened) -> None:
    nobody = to(None, None, done=False, reason="Nobody knows about the weather.")
    stage = await desk({"desk": [nobody, nobody], "greeter": ["No idea."]}, router={"fallback": "greeter"})
    ended = await stage.run(input="Will it rain?")
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "No idea.")


async def test_router_that_finds_nobody_and_has_no_fallback_ends_with_no_candidate(desk: Opened) -> None:
    nobody = to(None, None, done=False)
    stage = await desk({"desk": [nobody, nobody]})
    assert (await stage.run()).how == ("Failed", "NoCandidate")


# ---------------------------------------------------------------------------------------------- routing without an end


async def test_endless_routing_ends_after_exactly_15_members_at_max_steps_15(desk: Opened) -> None:
    members = iter(range(100))
    stage = await desk(
        {
            "desk": [lambda _: to(MEMBERS[next(members) % 3], done=False)],
            **{name: [lambda body, name=name: f"{name} again"] for name in MEMBERS},
        },
        router={"maxSteps": 15},
    )
    ended = await stage.run()
    assert ended.how == ("Failed", "MaxSteps")
    assert len([name for name in stage.server.order if name in MEMBERS]) == 15
    assert stage.server.order.count("desk") == 15
    assert ended.output == "billing again"
    assert "15" in ended.status["message"]
    assert ended.status["usage"]["modelCalls"] == 30


async def test_last_of_15_members_may_be_the_answer(desk: Opened) -> None:
    stage = await desk(
        {"desk": [*[to("billing", done=False)] * 14, to("billing")], "billing": [lambda _: "So."]},
        router={"maxSteps": 15},
    )
    assert (await stage.run()).how == ("Succeeded", "Completed")
    assert stage.server.order.count("billing") == 15


async def test_network_without_max_steps_ends_after_ten_members(desk: Opened) -> None:
    stage = await desk({"desk": [lambda _: to("billing", done=False)], "billing": [lambda _: "So."]})
    assert (await stage.run()).how == ("Failed", "MaxSteps")
    assert stage.server.order.count("billing") == 10


# --------------------------------------------------------------------------------------------------- members that fail


async def test_failure_of_a_members_model_is_seen_by_the_router_and_another_one_answers(desk: Opened) -> None:
    stage = await desk(
        {"desk": [to("billing"), to("greeter", "Apologise.")], "billing": [500, 500], "greeter": ["Sorry."]}
    )
    ended = await stage.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "Sorry.")
    assert stage.server.order == ["desk", "billing", "billing", "desk", "greeter"]
    assert "500" in text_of(stage.server.asked("desk")[1])
    phases = [event["phase"] for event in ended.events if event["type"] == "step_finished"]
    assert phases == ["Failed", "Succeeded"]


async def test_failure_of_a_tool_is_seen_by_the_router_and_another_member_answers(stage: Opened) -> None:
    made = await stage(
        {"desk": [to("ledger", {"s": "no JSON"}), to("greeter")], "greeter": ["The ledger is broken."]},
        agent("greeter"),
        LEDGER,
        network(members=["greeter"], tools=[{"name": "ledger", "description": "The ledger."}]),
    )
    ended = await made.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "The ledger is broken.")
    assert made.server.order == ["desk", "desk", "greeter"]
    assert "JSONDecodeError" in text_of(made.server.asked("desk")[1])


async def test_failing_workflow_is_seen_with_its_message(stage: Opened) -> None:
    refuse = document(
        "Workflow", "refuse", steps=[{"id": "no", "fail": {"reason": "Closed", "message": "We are closed."}}]
    )
    made = await stage(
        {"desk": [to("refuse"), to("greeter")], "greeter": ["Come back tomorrow."]},
        agent("greeter"),
        refuse,
        network(members=["greeter"], workflows=[{"name": "refuse", "description": "Refuses."}]),
    )
    assert (await made.run()).output == "Come back tomorrow."
    assert "We are closed." in text_of(made.server.asked("desk")[1])


VECTORS = {"bill": (1.0, 0.0, 0.0), "invoices": (0.9, 0.1, 0.0), "hello": (0.0, 1.0, 0.0), "Repairs": (0.0, 0.0, 1.0)}


async def embedding(stage: Opened, parts: Mapping[str, Sequence[Any]], **router: Any) -> Stage:
    made: Stage = await stage(
        parts,
        *(agent(name) for name in MEMBERS),
        network(router={"type": "embedding", **router}),
        vectors=VECTORS,
    )
    return made


async def test_router_embedding_asks_the_member_whose_description_is_nearest_and_no_model(stage: Opened) -> None:
    made = await embedding(stage, {"billing": ["Because of March."]})
    ended = await made.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "Because of March.")
    assert made.server.order == ["billing"]
    [decision] = ended.decisions
    scores = {candidate["name"]: candidate["score"] for candidate in decision["candidates"]}
    assert max(scores, key=scores.__getitem__) == "billing"
    assert made.server.asked("billing")[0]["messages"][-1]["content"] == ASK


async def test_failure_of_a_member_behind_the_router_embedding_tries_the_fallback_once(stage: Opened) -> None:
    made = await embedding(stage, {"billing": [500, 500], "greeter": ["Sorry."]}, fallback="greeter")
    ended = await made.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "Sorry.")
    assert made.server.order == ["billing", "billing", "greeter"]


async def test_failure_of_the_fallback_too_fails_the_run(stage: Opened) -> None:
    made = await embedding(stage, {"billing": [400], "greeter": [400]}, fallback="greeter")
    ended = await made.run()
    assert ended.how == ("Failed", "MemberFailed")
    assert made.server.order == ["billing", "greeter"]


async def test_failure_of_a_member_without_a_fallback_fails_the_run_with_its_message(stage: Opened) -> None:
    made = await embedding(stage, {"billing": [400]})
    ended = await made.run()
    assert ended.how == ("Failed", "MemberFailed")
    assert "scripted error 400" in ended.status["message"]


@pytest.mark.parametrize(("margin", "order"), [(2.0, ["desk", "technical"]), (0.0, ["billing"])])
async def test_router_auto_asks_the_model_only_where_the_margin_is_small(
    stage: Opened, margin: float, order: list[str]
) -> None:
    made = await embedding(
        stage,
        {"desk": [to("technical")], "technical": ["A."], "billing": ["B."]},
        type="auto",
        margin=margin,
    )
    assert (await made.run()).how == ("Succeeded", "Completed")
    assert made.server.order == order


# ------------------------------------------------------------------------------------------------ networks in networks


def nested() -> list[dict[str, Any]]:
    return [
        *(agent(name) for name in MEMBERS),
        network("office", members=["billing", "technical"], description="Bills and repairs."),
        network("desk", members=["greeter"], networks=["office"]),
    ]


async def test_network_is_a_member_of_a_network(stage: Opened) -> None:
    made = await stage(
        {"desk": [to("office")], "office": [to("billing", "The bill?")], "billing": ["Because of March."]}, *nested()
    )
    ended = await made.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "Because of March.")
    assert made.server.order == ["desk", "office", "billing"]
    assert ended.status["usage"]["modelCalls"] == 3
    assert "Bills and repairs." in text_of(made.server.asked("desk")[0])


async def test_inner_network_that_ends_without_an_answer_is_a_failed_member(stage: Opened) -> None:
    made = await stage({"desk": [to("office"), to("greeter")], "office": ["?", "?"], "greeter": ["Sorry."]}, *nested())
    assert (await made.run()).output == "Sorry."
    assert "NoCandidate" in text_of(made.server.asked("desk")[1])


def circle() -> list[dict[str, Any]]:
    return [
        network("office", members=[], networks=["desk"], description="Asks the desk."),
        network("desk", members=["greeter"], networks=["office"]),
        agent("greeter"),
    ]


async def test_two_networks_in_each_other_are_refused_and_nothing_is_applied(stage: Opened) -> None:
    made = await stage({})
    with pytest.raises(KastraError, match=r"office.*desk|desk.*office"):
        await made.runtime.apply(circle())
    kinds = [made.runtime.registry.resolve(kind) for kind in ("Network", "Agent")]
    assert [len((await made.runtime.client.list(kind)).items) for kind in kinds] == [0, 0]


async def test_network_that_would_close_a_circle_with_a_stored_one_is_refused(stage: Opened) -> None:
    first, second, greeter = circle()
    made = await stage({}, first, greeter, ready=False)
    with pytest.raises(KastraError, match=r"office.*desk|desk.*office"):
        await made.runtime.apply([second])


async def test_network_that_names_itself_is_refused(stage: Opened) -> None:
    made = await stage({}, agent("greeter"))
    with pytest.raises(KastraError, match="desk"):
        await made.runtime.apply([network(members=["greeter"], networks=["desk"])])


def test_kastra_apply_refuses_two_networks_in_each_other_with_their_names(kitchen: Any) -> None:
    documents = b"\n---\n".join(orjson.dumps(entry) for entry in circle())  # JSON is YAML
    (kitchen.path / "circle.yaml").write_bytes(documents)
    done = kitchen("apply", "-f", "circle.yaml")
    assert (done.code, done.out) == (1, "")
    assert "network" in done.err.lower()
    assert "desk" in done.err
    assert "office" in done.err
    assert kitchen("get", "networks", "-n", "default", "-o", "name").out == ""


# ------------------------------------------------------------------------------------------------------------- streams


async def test_stream_has_the_text_of_the_member_and_none_of_the_router(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing", "The bill?")], "billing": ["It is high because of March."]})
    events = [event async for event in stage.runtime.get_network("desk").stream(ASK)]
    texts = [event for event in events if event["type"] == "text"]
    assert "".join(event["text"] for event in texts) == "It is high because of March."
    assert {event["member"] for event in texts} == {"billing"}
    assert len(texts) > 1
    types = [event["type"] for event in events]
    assert types.index("decision") < types.index("text")
    assert events[-1]["type"] == "completed"
    assert events[-1]["output"] == "It is high because of March."


async def test_stream_that_is_left_cancels_the_run(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing")], "billing": []})
    stage.server.hold = "billing"
    stream = stage.runtime.get_network("desk").stream(ASK)
    async for event in stream:
        if event["type"] == "step_started":
            break
    await stage.server.held.wait()
    await stream.aclose()
    runs = (await stage.runtime.client.list(stage.runtime.registry.resolve("Run"))).items
    assert {run.status["phase"] for run in runs} == {"Cancelled"}
    assert len(runs) == 2


async def test_cancelled_network_ends_cancelled_with_its_member(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing")], "billing": []})
    stage.server.hold = "billing"
    run = await stage.runtime.start_run("network/desk", ASK)
    await stage.server.held.wait()
    await run.cancel()
    status = await run.status()
    assert (status["phase"], status["reason"]) == ("Cancelled", "Cancelled")


async def test_reply_tells_members_reason_and_usage(desk: Opened) -> None:
    stage = await desk(
        {"desk": [to("technical", done=False), to("billing")], "technical": ["Twice."], "billing": ["Half back."]}
    )
    reply = await stage.runtime.get_network("default.desk").generate(ASK)
    assert (reply.output, reply.reason, tuple(reply.members)) == ("Half back.", "Completed", ("technical", "billing"))
    assert reply.usage["modelCalls"] == 4


async def test_generate_raises_the_reason_of_the_end(desk: Opened) -> None:
    stage = await desk({"desk": ["?", "?"]})
    with pytest.raises(RunFailedError) as caught:
        await stage.runtime.get_network("desk").generate(ASK)
    assert caught.value.reason == "NoCandidate"


async def test_answer_router_lets_the_router_word_the_answer(desk: Opened) -> None:
    stage = await desk(
        {
            "desk": [to("technical", done=False), to("billing"), "In short: half of it comes back."],
            "technical": ["The meter counts twice."],
            "billing": ["You get the half back."],
        },
        router={"answer": "router"},
    )
    ended = await stage.run()
    assert (ended.how, ended.output) == (("Succeeded", "Completed"), "In short: half of it comes back.")
    said = text_of(stage.server.asked("desk")[2])
    assert "The meter counts twice." in said
    assert "You get the half back." in said


# ---------------------------------------------------------------------------------------------- conversation and state


async def test_second_turn_of_a_thread_shows_the_first_to_router_and_member(desk: Opened) -> None:
    stage = await desk({"desk": [to("greeter"), to("billing")], "greeter": ["Hello Ada."], "billing": ["So."]})
    await stage.run(input="I am Ada.", thread="t")
    ended = await stage.run(input="And my bill?", thread="t")
    assert ended.how == ("Succeeded", "Completed")
    for part in ("desk", "billing"):
        said = text_of(stage.server.asked(part)[-1])
        assert "I am Ada." in said
        assert "Hello Ada." in said
    messages = await stage.runtime.store.threads.messages("default", "t")
    assert [message.message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]


async def test_members_share_state_and_the_router_sees_it(desk: Opened) -> None:
    stage = await desk(
        {
            "desk": [to("technical", done=False), to("billing")],
            "technical": [Call("state_set", {"values": {"meter": "counts twice"}}), "Noted."],
            "billing": [Call("state_get", {"keys": ["meter"]}), "Half back."],
        },
        state={"persistence": True, "ttl": 3600},
    )
    ended = await stage.run()
    assert ended.output == "Half back."
    assert "counts twice" in text_of(stage.server.asked("desk")[1])
    assert "counts twice" in text_of(stage.server.asked("billing")[1])
    assert await stage.runtime.get_network("desk").state.get_value("meter") == "counts twice"


# -------------------------------------------------------------------------------------------------------------- limits

ENDLESS: dict[str, list[Any]] = {
    "desk": [lambda _: to("clerk", done=False)],
    "clerk": [lambda body: "So." if body["messages"][-1]["role"] == "tool" else Call("ledger", {"s": "1"})],
}


@pytest.fixture
def endless(stage: Opened) -> Opened:
    """A stage whose router goes on and on with a member that asks its model, calls a tool, and asks it again."""

    async def opened(**spec: Any) -> Stage:
        made: Stage = await stage(
            ENDLESS,
            LEDGER,
            agent("clerk", tools=["ledger"]),
            network(members=["clerk"], router={"maxSteps": 50}, **spec),
        )
        return made

    return opened


@pytest.mark.parametrize(
    ("limits", "calls"),
    [
        ({"maxModelCalls": 4}, 4),
        ({"maxToolCalls": 1}, 5),
        ({"maxSteps": 4}, 4),
        ({"maxModelCalls": 0}, 0),
    ],
    ids=str,
)
async def test_limit_of_the_run_ends_an_endless_network(endless: Opened, limits: dict[str, int], calls: int) -> None:
    stage = await endless()
    ended = await stage.run(limits=limits)
    assert ended.how == ("Failed", "LimitExceeded")
    # With the router's these are three model calls a pass.
    assert len(stage.server.requests) == calls


async def test_limit_of_tokens_ends_within_one_call(endless: Opened) -> None:
    stage = await endless()
    ended = await stage.run(limits={"maxTokens": 1})
    assert ended.how == ("Failed", "LimitExceeded")
    assert len(stage.server.requests) == 1


async def test_limits_in_the_manifest_hold_too(endless: Opened) -> None:
    stage = await endless(limits={"maxModelCalls": 5})
    ended = await stage.run()
    assert ended.how == ("Failed", "LimitExceeded")
    assert len(stage.server.requests) == 5


async def test_time_limit_ends_a_network_whose_member_does_not_answer(desk: Opened) -> None:
    stage = await desk({"desk": [to("billing")], "billing": []})
    stage.server.hold = "billing"
    ended = await stage.run(limits={"timeoutS": 0.3})
    assert ended.how == ("Failed", "LimitExceeded")
