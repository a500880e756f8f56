"""What a network says of itself: conditions, status, its picture; and the manifests of the project's mission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kastra_core.api.meta import Resource
from kastra_core.cli.graph_text import draw_text
from kastra_core.errors import NotReadyError, UserError, ValidationError
from kastra_core.protocols.controller import Request
from kastra_core.protocols.model import ModelCheck
from kastra_core.registrations import OperationRegistration
from kastra_core.testing.fakes import FakeModelProvider
from kastra_plugin_network.controller import NetworkController
from kastra_plugin_network.graph import graph_of
from mission_networks import RESEARCH, SUPPORT

Stage = Any
"""The fixture of conftest.py."""
Route = Callable[..., str]


def conditions(resource: Resource) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in resource.status["conditions"]}


def message(resource: Resource, kind: str) -> str:
    return next(str(c.get("message", "")) for c in resource.status["conditions"] if c["type"] == kind)


async def test_the_research_network_runs_as_it_is_written(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    await stage.agents("search-agent", "analysis-agent", "summary-agent")
    await runtime.apply_string(RESEARCH)
    network = runtime.get_network("default.research-network")
    stage.script(route("search-agent", "找"), route("analysis-agent", "析"), route("summary-agent", "总结", done=True))
    status = await stage.status(network, "潮汐")
    assert (status["reason"], status["output"]) == ("Completed", "summary-agent: 总结")
    await network.state.set_value("k", 1)
    assert await network.state.get_value("k") == 1
    assert "search-agent (agent)" in stage.routed[0].messages[0].text


async def test_the_support_network_runs_as_it_is_written(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    await stage.agents("greeter", "technical", "billing")
    await runtime.apply_string(SUPPORT)
    stage.script(route("billing", "账单", done=True))
    network = runtime.get_network("default.customer-support")
    reply = await network.generate("我的账单有问题，能帮我解决吗？")
    assert (reply.output, reply.members) == ("billing: 账单", ("billing",))


async def test_a_network_that_can_answer_is_ready(stage: Stage) -> None:
    await stage.open()
    await stage.agents("a", "b")
    resource = await stage.apply("Network", "net", {"agents": ["a", "b"], "router": {"model": "fake/r"}, "state": True})
    assert conditions(resource) == {
        "Ready": ("True", "Ready"),
        "MembersResolved": ("True", "Resolved"),
        "RouterReady": ("True", "Ready"),
        "StateReady": ("True", "Ready"),
    }
    status = {name: resource.status[name] for name in ("phase", "members", "router", "model", "state")}
    assert status == {"phase": "Ready", "members": 2, "router": "model", "model": "fake/r", "state": "kept"}
    assert resource.status["routerModel"] == "fake/r"


@pytest.mark.parametrize(
    ("router", "named", "told"),
    [
        ({"type": "mine"}, None, ""),
        ({"type": "embedding"}, "small/e", ""),
        ({"type": "auto"}, "small/e", "small/auto decides between members that are about as near"),
        ({"type": "embedding", "answer": "router"}, "small/auto", "the default small/auto words the answer"),
        ({"type": "model"}, "small/auto", "the default small/auto routes"),
        ({"type": "auto", "model": "fake/r"}, "fake/r", ""),
    ],
)
async def test_a_model_is_named_only_where_the_router_may_ask_it(
    stage: Stage, router: dict[str, Any], named: str | None, told: str
) -> None:
    async def choose(_: Any, __: Any) -> Any:
        return None

    stage.operations.append(OperationRegistration(name="router.mine", handler=choose))
    stage.embeddings = "e"
    await stage.open()
    await stage.apply("Workflow", "w", {"steps": [{"id": "s", "set": 1}]})
    resource = await stage.apply("Network", "net", {"workflows": ["w"], "router": router})
    assert resource.status.get("routerModel") == named
    # What the weak-model note of `kastra run` goes by: nobody answers with the model that makes embeddings.
    assert resource.status.get("model") == (None if named == "small/e" else named)
    said = message(resource, "RouterReady")
    assert told in said if told else not said


@pytest.mark.parametrize(
    ("members", "answers"),
    [(("fake/x", "small/auto"), "small/auto"), (("fake/x", "fake/x"), None)],
)
async def test_a_network_routed_by_embeddings_tells_the_model_without_account_of_its_members(
    stage: Stage, members: tuple[str, str], answers: str | None
) -> None:
    stage.embeddings = "e"
    await stage.open()
    for name, model in zip("ab", members):
        await stage.apply("Agent", name, {"model": model})
    resource = await stage.apply("Network", "net", {"agents": ["a", "b"], "router": {"type": "embedding"}})
    assert (resource.status.get("model"), resource.status["routerModel"]) == (answers, "small/e")


async def test_a_member_that_was_not_reconciled_yet_is_unknown_and_no_warning(stage: Stage) -> None:
    runtime = await stage.open()
    agent = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "a"}, "spec": {"model": "fake/a"}}
    network = {
        "apiVersion": "mastra.ai/v1",
        "kind": "Network",
        "metadata": {"name": "net"},
        "spec": {"agents": ["a"], "router": {"model": "fake/r"}},
    }
    await runtime.apply_resource(agent, wait=False)
    applied = await runtime.apply_resource(network, wait=False)
    controller = NetworkController(runtime)
    key = applied.resource.key
    await controller.reconcile(Request(key.namespace, key.name))
    resource = await runtime.client.require(key)
    assert conditions(resource)["MembersResolved"] == conditions(resource)["Ready"] == ("Unknown", "Pending")
    assert "spec.agents[0]: Agent default/a is not ready (it was not reconciled yet)" in message(resource, "Ready")
    await runtime.controllers.reconcile_closure(key)
    assert conditions(await runtime.client.require(key))["Ready"] == ("True", "Ready")
    # Recorded at once: a Warning before the Normal event would be here too.
    events = await runtime.client.list(runtime.registry.resolve("events"))
    assert [event.spec["type"] for event in events.items if event.spec["object"] == "network/net"] == ["Normal"]


async def test_a_handle_of_another_kind_is_refused(stage: Stage) -> None:
    runtime = await stage.open()
    with pytest.raises(
        UserError, match=r"expected kind Network, found Agent default/billing; get_agent\(\) gives that one"
    ):
        runtime.get_network("agents/billing")
    with pytest.raises(UserError, match="expected kind Agent, found Network default/x"):
        runtime.get_agent({"kind": "Network", "name": "x"})
    assert runtime.get_network("networks/x").reference.name == "x"


async def test_a_missing_member_is_named_and_refuses_a_run(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(agents=["a"], tools=["other.t"])
    resource = await network.resource()
    assert conditions(resource)["Ready"] == ("False", "MemberNotFound")
    assert "spec.agents[0]: Agent default/a is not found" in message(resource, "Ready")
    assert "spec.tools[0]: Tool other/t" in message(resource, "Ready")
    with pytest.raises(NotReadyError, match=r"spec\.agents"):
        await network.generate("go")


async def test_a_member_that_comes_makes_the_network_ready(stage: Stage) -> None:
    runtime = await stage.open()
    network = await stage.network(agents=["a"])
    await stage.agents("a")
    await runtime.controllers.reconcile_closure(network.reference.key)
    assert conditions(await network.resource())["Ready"] == ("True", "Ready")


async def test_a_kind_that_cannot_be_called_is_told(stage: Stage) -> None:
    await stage.open()
    await stage.apply("Rock", "x", {})
    members = [{"name": "x", "kind": "Rock"}, {"name": "y", "kind": "Spaceship"}]
    resource = await stage.apply("Network", "net", {"agents": members})
    assert conditions(resource)["MembersResolved"] == ("False", "MemberNotFound")
    told = message(resource, "MembersResolved")
    assert "spec.agents[0]: Rock default/x cannot be called" in told
    assert "no plugin offers the kind Spaceship" in told


async def test_a_member_that_is_not_ready_is_told_with_its_reason(stage: Stage) -> None:
    await stage.open()
    await stage.apply("Agent", "a", {"model": "fake/a", "tools": ["nothing"]})
    network = await stage.network(agents=["a"])
    resource = await network.resource()
    assert conditions(resource)["Ready"] == ("False", "MemberNotReady")
    assert "ToolNotFound" in message(resource, "Ready")


async def test_only_models_that_are_missing_leave_a_run_that_brings_one(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a")
    await stage.apply("Agent", "b", {"model": "nowhere/m"})
    network = await stage.network(agents=["a", "b"])
    resource = await network.resource()
    assert conditions(resource)["Ready"][1] == "ModelUnknownProvider"
    assert "spec.agents[1]: Agent default/b is not ready" in message(resource, "Ready")
    stage.script(route("b", "x", done=True))
    status = await stage.status(network, model="fake/over")
    assert (status["phase"], status["output"]) == ("Succeeded", "over: x")


async def test_a_missing_member_is_told_before_a_missing_model(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(agents=["a"], router={"model": "nowhere/m"})
    resource = await network.resource()
    assert conditions(resource)["RouterReady"][1].startswith("Model")
    assert conditions(resource)["Ready"] == ("False", "MemberNotFound")


async def test_a_router_whose_model_cannot_answer_is_told_with_the_remedy(stage: Stage) -> None:
    check = ModelCheck(ok=False, reason="MissingKey", message="no key", remedy="set KEY")
    stage.model = FakeModelProvider(check=check)
    await stage.open()
    await stage.apply("Workflow", "w", {"steps": [{"id": "s", "set": 1}]})
    network = await stage.network(workflows=["w"])
    resource = await network.resource()
    assert conditions(resource)["Ready"] == ("False", "ModelMissingKey")
    assert message(resource, "RouterReady") == "fake/router: no key; set KEY"


async def test_auto_is_ready_without_its_model_and_says_what_is_lost(stage: Stage) -> None:
    stage.embeddings = "e"
    await stage.open()
    network = await stage.network(router={"type": "auto", "model": "nowhere/m"})
    resource = await network.resource()
    assert conditions(resource)["RouterReady"] == ("True", "Ready")
    assert "no model decides between members that are about as near (nowhere/m" in message(resource, "RouterReady")


async def test_memory_of_a_member_that_is_not_used_is_told(stage: Stage) -> None:
    await stage.open()
    await stage.agents("a")
    await stage.apply("Agent", "b", {"model": "fake/b", "memory": {"type": "vector"}})
    network = await stage.network(agents=["a", "b"])
    resource = await network.resource()
    assert conditions(resource)["MemberMemory"] == ("False", "NotUsedInNetwork")
    assert "b (vector)" in message(resource, "MemberMemory")
    await stage.apply("Network", "net", {"agents": ["a"], "router": {"model": "fake/router"}})
    assert "MemberMemory" not in conditions(await network.resource())


async def test_the_state_of_a_network_is_told(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(state={"ttl": 3600})
    resource = await network.resource()
    assert message(resource, "StateReady").endswith("a value lives for 1h after it was written")
    network = await stage.network("other", state={"persistence": False})
    assert (await network.resource()).status["state"] == "run"
    await stage.apply("Network", "other", {"agents": ["a"], "router": {"model": "fake/router"}})
    assert "StateReady" not in conditions(await network.resource())


async def test_networks_in_a_circle_are_refused(stage: Stage) -> None:
    await stage.open()
    await stage.network("one", networks=["two"])
    with pytest.raises(ValidationError, match="one"):
        await stage.network("two", networks=["one"])


async def test_hints_say_where_things_belong(stage: Stage) -> None:
    await stage.open()
    with pytest.raises(ValidationError) as caught:
        await stage.apply("Network", "net", {"agents": ["a", "x.a"], "members": [], "router": {"fallback": "aa"}})
    assert "list members under agents, workflows, tools and networks" in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        await stage.apply("Network", "net", {"agents": ["a", "x.a"], "router": {"fallback": "aa"}})
    assert "did you mean 'a'?" in str(caught.value)
    assert "spec.agents[0] has it too; give one a name of its own" in str(caught.value)


async def test_the_picture_shows_router_members_and_fallback(stage: Stage) -> None:
    await stage.open()
    members = [{"name": "x", "ref": "other.a", "description": "Knows  things."}, "b"]
    network = await stage.network(agents=members, workflows=["w"], router={"fallback": "b", "maxSteps": 3})
    graph = graph_of(await network.resource())
    nodes = {node.id: (node.kind, node.detail) for node in graph.nodes}
    assert nodes[":router"] == ("model fake/router", "at most 3 members")
    assert nodes["x"] == ("agent", "other/a")
    assert nodes["b"] == ("agent", "")
    assert nodes["w"] == ("workflow", "")
    edges = {(edge.source, edge.target, edge.label, edge.style) for edge in graph.edges}
    assert (":router", "x", "Knows things.", "solid") in edges
    assert (":router", "b", "nobody else fits", "dashed") in edges
    assert (":router", ":end", "done", "solid") in edges


async def test_where_one_member_answers_the_picture_leads_on_and_shows_all_alike(stage: Stage) -> None:
    stage.embeddings = "e"
    await stage.open()
    await stage.network(router={"type": "embedding", "fallback": "b"})
    graph = graph_of(await stage.runtime.get_network("net").resource())
    details = {node.id: node.detail for node in graph.nodes if node.group == ":members"}
    assert details == {"a": "", "b": "fallback", "c": ""}
    assert [(edge.source, edge.target) for edge in graph.edges] == [
        (":start", ":router"),
        (":router", ":members"),
        (":members", ":end"),
    ]
    assert "at most" not in draw_text(graph)
    # Without a type the controller has told which one it is.
    resource = await stage.apply("Network", "other", {"agents": ["a"]})
    assert any(node.id == ":members" for node in graph_of(resource).nodes)
