"""Router types: embedding, auto, those of plugins, and what is taken when none is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from kastra_core.errors import InvalidRequestError, RunFailedError
from kastra_core.protocols.model import EmbeddingRequest, EmbeddingResponse, Usage
from kastra_core.protocols.runner import OperationContext
from kastra_core.registrations import OperationRegistration

Stage = Any
"""The fixture of conftest.py."""
Route = Callable[..., str]


def place(stage: Stage, request: Sequence[float], **members: Sequence[float]) -> None:
    """Say where requests, descriptions and (by their text) examples lie."""

    async def embed(asked: EmbeddingRequest) -> EmbeddingResponse:
        stage.keyless.embedding_requests.append(asked)
        vectors = [
            list(request) if asked.input_type == "query" else list(members[text.partition(":")[0]])
            for text in asked.texts
        ]
        return EmbeddingResponse(vectors=vectors, usage=Usage(input_tokens=len(asked.texts)), model=asked.model)

    stage.keyless.embed = embed


@pytest.fixture
def model_name(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test: vectors of descriptions are kept for the whole process."""
    return str(request.node.name)


async def test_the_nearest_description_gets_the_words_of_the_user(stage: Stage, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "embedding"})
    place(stage, (1, 0.1), a=(0, 1), b=(1, 0), c=(0.5, 0.5))
    events = await stage.events(network, "my words")
    [decision] = [event for event in events if event["type"] == "decision"]
    assert (decision["chosen"], decision["router"], decision["done"]) == ("b", "embedding", True)
    scores = {candidate["name"]: candidate["score"] for candidate in decision["candidates"]}
    assert max(scores, key=lambda name: scores[name]) == "b"
    assert scores["b"] == pytest.approx(0.995037)
    assert "0.995, 0.221 before c" in decision["reason"]
    assert stage.asked("b")[0].messages[-1].text == "my words"
    assert stage.routed == []


async def test_descriptions_are_embedded_once_in_a_process_and_requests_each_time(
    stage: Stage, model_name: str
) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "embedding"})
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0, 1))
    await network.generate("one")
    reply = await network.generate("two")
    made = [(request.input_type, list(request.texts)) for request in stage.keyless.embedding_requests]
    assert made == [
        ("passage", ["a: Knows a.", "b: Knows b.", "c: Knows c."]),
        ("query", ["one"]),
        ("query", ["two"]),
    ]
    assert reply.usage["modelCalls"] == 1, "embeddings are no model calls"
    words = sum(len(message.text.split()) for message in stage.asked("b")[1].messages)
    assert reply.usage["inputTokens"] == words + 1, "their tokens count"


async def test_the_best_three_of_description_and_examples_make_the_score(stage: Stage, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    await stage.agents("a", "b")
    agents = [{"name": "a", "examples": ["a1", "a2", "a3"]}, {"name": "b", "examples": ["b1"]}]
    network = await stage.network(agents=agents, router={"type": "embedding"})
    place(stage, (1, 0), a=(0, 1), a1=(0.8, 0.6), a2=(1, 0), a3=(0.6, 0.8), b=(1, 0), b1=(0.28, 0.96))
    events = await stage.events(network, "one")
    await network.generate("two")
    [decision] = [event for event in events if event["type"] == "decision"]
    assert decision["chosen"] == "a"
    scores = {candidate["name"]: candidate["score"] for candidate in decision["candidates"]}
    assert scores == {"a": pytest.approx((0.8 + 1 + 0.6) / 3), "b": pytest.approx((1 + 0.28) / 2)}
    assert "its description and examples are nearest" in decision["reason"]
    passages = [list(made.texts) for made in stage.keyless.embedding_requests if made.input_type == "passage"]
    assert passages == [["a: Knows a.", "a1", "a2", "a3", "b: Knows b.", "b1"]], "once in a process"


async def test_a_short_request_in_a_conversation_is_compared_alone_and_after_the_one_before(
    stage: Stage, model_name: str
) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "embedding"})
    where = {"my bill": (1.0, 0.0), "42": (0.6, 0.8), "my bill\n42": (1.0, 0.0)}
    place(stage, (0, 1), a=(1, 0), b=(0, 1), c=(-1, 0))
    otherwise = stage.keyless.embed

    async def embed(asked: EmbeddingRequest) -> EmbeddingResponse:
        response: EmbeddingResponse = await otherwise(asked)
        found = [where.get(text, vector) for text, vector in zip(asked.texts, response.vectors)]
        return attrs.evolve(response, vectors=found)

    stage.keyless.embed = embed
    assert (await network.generate("42")).members == ("b",), "nothing was said before"
    assert (await network.generate("my bill", thread="t")).members == ("a",)
    assert (await network.generate("42", thread="t")).members == ("a",)
    long = "Something else that has nothing to do with what was said before now."
    assert (await network.generate(long, thread="t")).members == ("b",)
    asked = [list(made.texts) for made in stage.keyless.embedding_requests if made.input_type == "query"]
    assert asked == [["42"], ["my bill"], ["42", "my bill\n42"], [long]]


async def test_the_networks_own_embeddings_are_used(stage: Stage, model_name: str) -> None:
    stage.embeddings = "never"
    await stage.open()
    network = await stage.network(router={"type": "embedding", "embeddings": f"small/{model_name}"})
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0, 1))
    await network.generate("one")
    assert {request.model for request in stage.keyless.embedding_requests} == {model_name}


async def test_when_the_nearest_fails_the_fallback_is_tried_once(stage: Stage, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "embedding", "fallback": "c"})
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0, 1))
    stage.answers["b"] = InvalidRequestError("no", provider="fake", model="b")
    reply = await network.generate("go")
    assert (reply.output, reply.members) == ("c: go", ("b", "c"))
    stage.answers["c"] = InvalidRequestError("no", provider="fake", model="c")
    assert (await stage.status(network))["reason"] == "MemberFailed"


async def test_when_the_nearest_fails_and_there_is_no_fallback_the_run_fails(stage: Stage, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "embedding"})
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0, 1))
    stage.answers["b"] = InvalidRequestError("no such thing", provider="fake", model="b")
    with pytest.raises(RunFailedError, match=r"b failed: .*no such thing") as caught:
        await network.generate("go")
    assert caught.value.reason == "MemberFailed"


async def test_a_member_whose_schema_a_text_does_not_fit_is_passed_over(stage: Stage, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    await stage.agents("a")
    numbers = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    await stage.apply("Workflow", "sum", {"inputSchema": numbers, "steps": [{"id": "s", "set": 1}]})
    network = await stage.network(agents=["a"], workflows=["sum"], router={"type": "embedding"})
    place(stage, (1, 0), a=(0, 1), sum=(1, 0))
    assert (await network.generate("go")).members == ("a",)
    alone = await stage.network("alone", workflows=["sum"], router={"type": "embedding"})
    status = await stage.status(alone)
    assert status["reason"] == "NoCandidate"
    assert "router type model" in status["message"]


# ------------------------------------------------------------------------------------------------ auto


async def test_auto_asks_the_model_only_when_the_best_two_are_near(stage: Stage, route: Route, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    network_router = {"type": "auto", "margin": 0.05}
    network = await stage.network(router=network_router)
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0.5, 0.5))
    assert (await network.generate("far")).output == "b: far"
    assert stage.routed == []
    other = await stage.network("other", agents=["a", "b", {"name": "d", "ref": "c"}], router=network_router)
    place(stage, (1, 0), a=(0, 1), b=(1, 0), d=(1, 0.05))
    stage.script(route("d", "asked by the model", done=True, reason="better"))
    events = await stage.events(other, "near")
    [decision] = [event for event in events if event["type"] == "decision"]
    assert (decision["chosen"], decision["router"], decision["reason"]) == ("d", "model", "better")


async def test_auto_takes_the_choice_of_a_model_that_has_an_account(
    stage: Stage, route: Route, model_name: str
) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "auto", "margin": 0.5})
    stage.script(route("a", "first"), route("c", "then", done=True))
    place(stage, (1, 0), a=(0.9, 0.1), b=(1, 0), c=(0.9, 0.1))
    events = await stage.events(network)
    decisions = [event for event in events if event["type"] == "decision"]
    assert [(event["chosen"], event["router"], event["done"]) for event in decisions] == [
        ("a", "model", False),
        ("c", "model", True),
    ]
    assert decisions[0]["candidates"][1]["score"] == 1.0
    assert len(stage.keyless.embedding_requests) == 2, "after the first answer the model decides alone"


async def test_in_auto_a_model_that_has_an_account_reacts_when_the_nearest_fails(
    stage: Stage, route: Route, model_name: str
) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "auto"})
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0, 1))
    stage.answers["b"] = InvalidRequestError("no such thing", provider="fake", model="b")
    stage.script(route("a", "instead", done=True))
    assert (await network.generate("go")).output == "a: instead"
    stage.script(InvalidRequestError("no router", provider="fake", model="router"))
    status = await stage.status(network)
    assert status["reason"] == "MemberFailed"
    assert "no such thing" in status["message"]
    assert "no router" in status["message"]


async def test_a_small_model_chooses_among_the_near_ones_only(stage: Stage, model_name: str) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network(router={"type": "auto", "model": "small/auto", "margin": 0.05})
    stage.script('{"agent": "c"}')
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0.99, 0.1))
    events = await stage.events(network, "my words")
    [decision] = [event for event in events if event["type"] == "decision"]
    assert (decision["chosen"], decision["router"], decision["input"]) == ("c", "model", "my words")
    assert "b 1.000, c 0.995" in decision["reason"]
    [request] = stage.routed
    assert request.response_schema["properties"]["agent"]["enum"] == ["b", "c"]
    assert "Knows a." not in request.messages[0].text


@pytest.mark.parametrize("answer", ["nonsense", '{"agent": "a"}', InvalidRequestError("no", provider="s", model="m")])
async def test_when_a_small_model_cannot_choose_the_nearest_is_taken(
    stage: Stage, model_name: str, answer: Any
) -> None:
    stage.embeddings = "e" + model_name
    await stage.open()
    network = await stage.network(router={"type": "auto", "model": "small/auto", "margin": 0.05})
    stage.script(answer)
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0.99, 0.1))
    assert (await network.generate("go")).members == ("b",)


# ------------------------------------------------------------------------------------------------ no type


async def test_without_a_type_the_networks_own_model_routes(stage: Stage, route: Route) -> None:
    stage.embeddings = "e"
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "x", done=True))
    assert (await network.generate("go")).output == "a: x"
    assert stage.keyless.embedding_requests == []


async def test_without_a_type_a_keyless_override_routes_by_embeddings_and_the_run_says_so(
    stage: Stage, model_name: str
) -> None:
    stage.embeddings = model_name
    await stage.open()
    network = await stage.network()
    place(stage, (1, 0), a=(0, 1), b=(1, 0), c=(0, 1))
    status = await stage.status(network, model="small/auto")
    assert (status["phase"], status["reason"]) == ("Succeeded", "Completed")
    assert "the nearest description decides (router type embedding) in place of fake/router" in status["message"]
    assert "small/auto needs no account" in status["message"]
    assert "routes" not in status["message"]
    assert len(stage.keyless.embedding_requests) == 2


async def test_without_a_type_a_keyless_default_routes_by_embeddings_and_the_condition_says_so(
    stage: Stage, model_name: str
) -> None:
    stage.embeddings = model_name
    await stage.open()
    await stage.agents("a", "b")
    place(stage, (1, 0), a=(0, 1), b=(1, 0))
    resource = await stage.apply("Network", "net", {"agents": ["a", "b"]})
    assert resource.status["router"] == "embedding"
    [ready] = [c for c in resource.status["conditions"] if c["type"] == "RouterReady"]
    assert "routes" not in ready["message"]
    assert "router type embedding" in ready["message"]
    assert (await stage.runtime.get_network("net").generate("go")).members == ("b",)


async def test_without_a_type_an_override_with_an_account_routes_as_a_model(stage: Stage, route: Route) -> None:
    stage.embeddings = "e"
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "x", done=True))
    status = await stage.status(network, model="fake/other")
    assert status["phase"] == "Succeeded"
    assert [request.model for request in stage.routed] == ["other"]


async def test_a_network_without_any_model_is_not_ready_and_takes_one_with_the_run(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a")
    resource = await stage.apply("Network", "net", {"agents": ["a"]})
    ready = {c["type"]: c for c in resource.status["conditions"]}["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ModelMissing")
    stage.script(route("a", "x", done=True))
    status = await stage.status(stage.runtime.get_network("net"), model="fake/router")
    assert status["phase"] == "Succeeded"


# ------------------------------------------------------------------------------------------------ plugins


def router_of(choose: Callable[[dict[str, Any]], Any]) -> tuple[OperationRegistration, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    async def handler(_: OperationContext, arguments: dict[str, Any]) -> Any:
        seen.append(arguments)
        return choose(arguments)

    return OperationRegistration(name="router.mine", handler=handler), seen


async def test_a_router_of_a_plugin_gets_all_that_it_may_need(stage: Stage) -> None:
    def choose(given: dict[str, Any]) -> Any:
        name = "a" if not given["results"] else "b"
        return {"agent": name, "input": "x", "reason": "mine", "done": name == "b", "scores": {"a": 0.5, "z": 1}}

    operation, seen = router_of(choose)
    stage.operations.append(operation)
    await stage.open()
    await stage.agents("a", "b", "c")
    network = await stage.network(
        instructions="Helps.",
        agents=[{"name": "a", "examples": ["Ask me."]}, "b", "c"],
        router={"type": "mine", "options": {"k": 1}, "model": None},
        state=True,
    )
    events = await stage.events(network, "go", thread="t")
    decisions = [event for event in events if event["type"] == "decision"]
    assert [(event["chosen"], event["router"]) for event in decisions] == [("a", "mine"), ("b", "mine")]
    assert decisions[0]["candidates"][0] == {"name": "a", "score": 0.5}
    assert seen[1] == {
        "network": {"namespace": "default", "name": "net"},
        "instructions": "Helps.",
        "request": "go",
        "conversation": [],
        "candidates": [
            {
                "name": name,
                "kind": "Agent",
                "description": f"Knows {name}.",
                "inputSchema": None,
                "examples": ["Ask me."] if name == "a" else [],
            }
            for name in "abc"
        ],
        "results": [{"agent": "a", "input": "x", "output": "a: x"}],
        "state": {},
        "options": {"k": 1},
        "step": 2,
    }


@pytest.mark.parametrize(
    ("result", "reason", "told"),
    [
        ("a", "NoCandidate", "router mine: its result is string 'a', expected an object"),
        ({"agent": "z"}, "NoCandidate", "there is no member 'z'"),
        ({"agent": None, "reason": "no one"}, "NoCandidate", "no one"),
    ],
)
async def test_what_a_router_of_a_plugin_does_wrong_is_told(stage: Stage, result: Any, reason: str, told: str) -> None:
    stage.operations.append(router_of(lambda _: result)[0])
    await stage.open()
    network = await stage.network(router={"type": "mine"})
    status = await stage.status(network)
    assert status["reason"] == reason
    assert told in status["message"]


@pytest.mark.parametrize(
    "result", [{"agent": "z"}, {"agent": None, "reason": "no one"}, {"agent": "b", "input": "x", "done": True}]
)
async def test_the_fallback_keeps_the_scores_of_a_router_of_a_plugin(stage: Stage, result: dict[str, Any]) -> None:
    async def choose(_: OperationContext, __: dict[str, Any]) -> Any:
        return {**result, "scores": {"a": 0.1, "b": 0.2}}

    stage.operations.append(OperationRegistration(name="router.mine", handler=choose))
    stage.answers["b"] = InvalidRequestError("broken", provider="fake", model="b")
    await stage.open()
    network = await stage.network(router={"type": "mine", "fallback": "a"})
    events = await stage.events(network)
    last = [event for event in events if event["type"] == "decision"][-1]
    if result["agent"] == "b":
        # It saw the failure and chose b again: that is what the fallback stands in for.
        assert len([event for event in events if event["type"] == "decision"]) == 2
    assert (last["chosen"], last["fallback"]) == ("a", True)
    assert last["candidates"] == [{"name": "a", "score": 0.1}, {"name": "b", "score": 0.2}, {"name": "c"}]


async def test_a_router_of_a_plugin_that_repeats_what_failed_is_stopped(stage: Stage) -> None:
    stage.operations.append(router_of(lambda _: {"agent": "a", "input": "x", "done": True})[0])
    await stage.open()
    network = await stage.network(router={"type": "mine"})
    stage.answers["a"] = InvalidRequestError("no", provider="fake", model="a")
    assert (await stage.status(network))["reason"] == "MemberFailed"
    assert len(stage.asked("a")) == 1


async def test_a_type_that_no_plugin_offers_makes_the_network_not_ready(stage: Stage) -> None:
    stage.operations.append(attrs.evolve(router_of(lambda _: None)[0], name="router.semantic"))
    await stage.open()
    await stage.agents("a")
    resource = await stage.apply("Network", "net", {"agents": ["a"], "router": {"type": "semantik"}})
    ready = {c["type"]: c for c in resource.status["conditions"]}["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "RouterTypeNotFound")
    assert "did you mean 'semantic'?" in ready["message"]


async def test_embeddings_that_are_missing_make_the_network_not_ready(stage: Stage) -> None:
    await stage.open()
    await stage.agents("a")
    resource = await stage.apply("Network", "net", {"agents": ["a"], "router": {"type": "embedding"}})
    ready = {c["type"]: c for c in resource.status["conditions"]}["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "EmbeddingsMissing")
    assert "pip install kastra-plugin-local" in ready["message"]
