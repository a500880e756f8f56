"""The state that members share: where it lives, for how long, and the store that reads and writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kastra_core.errors import NotFoundError, UserError
from kastra_core.protocols.model import ToolCallPart
from kastra_core.protocols.runner import OperationContext
from kastra_core.protocols.store import SetState
from kastra_plugin_network.state import NetworkStateStore, state_scope

Stage = Any
"""The fixture of conftest.py."""
Route = Callable[..., str]


async def shared_of_members(stage: Stage) -> list[Any]:
    """``spec.shared`` of the Runs of agents, oldest first."""
    runs = (await stage.runtime.store.resources.list("mastra.ai", "Run")).items
    children = [run for run in runs if run.spec["target"]["kind"] == "Agent"]
    children.sort(key=lambda run: int(run.metadata.resource_version))
    return [run.spec.get("shared") for run in children]


@pytest.mark.parametrize(
    ("state", "thread", "scope"),
    [
        ({"persistence": True}, None, "network/default/net"),
        (True, None, "network/default/net"),
        ({"persistence": True}, "a/b", "thread/default/a%2Fb/network/default/net"),
    ],
)
async def test_members_share_the_scope_of_the_network_or_of_the_thread(
    stage: Stage, route: Route, state: Any, thread: str | None, scope: str
) -> None:
    await stage.open()
    network = await stage.network(state=state)
    stage.script(route("a", "x", done=True))
    await network.generate("go", thread=thread)
    assert await shared_of_members(stage) == [{"scope": scope, "ttlS": None, "tools": True}]


async def test_a_state_that_is_not_kept_belongs_to_the_run(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(state={"persistence": False, "ttl": 3600, "tools": False})
    stage.script(route("a", "x", done=True))
    run = await stage.runtime.start_run(network.reference, "go", thread="t")
    await run.status()
    assert await shared_of_members(stage) == [{"scope": f"run/{run.uid}", "ttlS": 3600.0, "tools": False}]
    with pytest.raises(UserError, match="persistence: false"):
        await network.state.get_value("x")


async def test_without_a_state_members_share_nothing(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network()
    stage.script(route("a", "x", done=True))
    await network.generate("go", thread="t")
    assert await shared_of_members(stage) == [None]


@pytest.mark.parametrize("outer_state", [None, True, {"persistence": False}])
async def test_an_inner_network_keeps_the_threads_of_the_outer_one_apart(
    stage: Stage, route: Route, outer_state: Any
) -> None:
    await stage.open()
    await stage.agents("b")
    await stage.network("inner", agents=["b"], state=True)
    network = await stage.network(networks=["inner"], state=outer_state)
    for thread in ("t1", "t2", None):
        stage.script(route("inner", "x", done=True), route("b", "y", done=True))
        await network.generate("go", thread=thread)
    scopes = {shared["scope"] for shared in await shared_of_members(stage)}
    assert scopes == {
        "thread/default/t1/network/default/inner",
        "thread/default/t2/network/default/inner",
        "network/default/inner",
    }


async def test_an_inner_network_without_a_state_hands_on_that_of_the_outer_one(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("b")
    await stage.network("inner", agents=["b"])
    network = await stage.network(networks=["inner"], state={"ttl": "1m"})
    stage.script(route("inner", "x", done=True), route("b", "y", done=True))
    await network.generate("go")
    assert await shared_of_members(stage) == [{"scope": "network/default/net", "ttlS": 60.0, "tools": True}]


async def test_what_a_member_writes_the_router_sees_in_its_next_choice(stage: Stage, route: Route) -> None:
    await stage.open()

    async def remember(ctx: OperationContext, given: Any) -> Any:
        ctx.write(SetState(state_scope("default", "net"), {"seen": "yes"}))

    await stage.tool("remember", remember)
    await stage.agents("a")
    network = await stage.network(agents=["a"], tools=["remember"], state=True)
    stage.script(route("remember", "{}"), route("a", "x", done=True))
    await network.generate("go")
    first, second = (request.messages[1].text for request in stage.routed)
    assert "Shared state" not in first
    assert 'Shared state:\n{"seen":"yes"}' in second


# ------------------------------------------------------------------------------------------------ the store


async def test_the_store_has_the_five_methods(stage: Stage) -> None:
    runtime = await stage.open()
    await stage.network(state=True)
    states = NetworkStateStore(runtime)
    await states.set_value("net", "topic", "tides")
    await states.update_values("networks/net", {"count": 2, "list": [1, {"a": None}]})
    assert await states.get_value("default.net", "topic") == "tides"
    assert await states.get_value("net", "nothing") is None
    assert await states.get_network_state("net") == {"topic": "tides", "count": 2, "list": [1, {"a": None}]}
    await states.set_value("net", "topic", None)
    assert sorted(await states.get_network_state("net")) == ["count", "list"]
    assert await states.get_network_state("net", thread="t") == {}
    await states.set_value("net", "topic", "moon", thread="t")
    assert await states.of("net").get_value("topic", thread="t") == "moon"


async def test_a_handle_knows_the_state_of_its_network(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(state=True)
    await network.state.update_values({"a": 1, "b": 2})
    await network.state.set_value("a", 3)
    assert await network.state.get_network_state() == {"a": 3, "b": 2}


async def test_a_value_lives_as_long_as_the_network_says(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await stage.open()
    network = await stage.network(state={"ttl": 3600})
    now = runtime.store.clock()
    monkeypatch.setattr(runtime.store, "clock", lambda: now)
    await network.state.set_value("old", 1)
    now += 1800
    await network.state.set_value("new", 2)
    now += 1799
    assert await network.state.get_network_state() == {"old": 1, "new": 2}
    now += 1
    assert await network.state.get_network_state() == {"new": 2}
    assert await network.state.get_value("old") is None


async def test_what_is_no_json_or_no_key_or_no_network_is_refused(stage: Stage) -> None:
    runtime = await stage.open()
    network = await stage.network(state=True)
    with pytest.raises(UserError, match="JSON only"):
        await network.state.set_value("x", object())
    with pytest.raises(UserError, match="a text that is not empty"):
        await network.state.set_value("", 1)
    with pytest.raises(NotFoundError):
        await NetworkStateStore(runtime).set_value("nett", "x", 1)


async def test_deleting_a_network_clears_its_state_and_no_others(stage: Stage) -> None:
    runtime = await stage.open()
    network = await stage.network(state=True)
    other = await stage.network("net2", state=True)
    await network.state.set_value("x", 1)
    await other.state.set_value("x", 2)
    await network.delete()
    assert await runtime.store.state.get_state(state_scope("default", "net")) == {}
    assert await other.state.get_value("x") == 2


# ------------------------------------------------------------------------------------------------ watching


async def test_a_handler_gets_the_state_after_each_change_until_it_unsubscribes(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(state=True)
    seen: asyncio.Queue[Any] = asyncio.Queue()
    subscription = network.state.watch_state(seen.put_nowait)
    await network.state.set_value("x", 1)
    assert await asyncio.wait_for(seen.get(), 5) == {"x": 1}
    await network.state.set_value("y", 2)
    assert await asyncio.wait_for(seen.get(), 5) == {"x": 1, "y": 2}
    subscription.unsubscribe()
    await subscription.aclose()
    assert subscription.closed
    await network.state.set_value("z", 3)
    assert seen.empty()


async def test_a_handler_may_be_a_coroutine_function_and_may_fail(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.open()
    network = await stage.network(state=True)
    seen: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(state: Any) -> None:
        await seen.put(state)
        if len(state) == 1:
            raise ValueError("not this one")
        subscription.unsubscribe()

    subscription = network.state.watch_state(handler)
    await network.state.set_value("x", 1)
    assert await asyncio.wait_for(seen.get(), 5) == {"x": 1}
    await network.state.set_value("y", 2)
    assert await asyncio.wait_for(seen.get(), 5) == {"x": 1, "y": 2}
    await subscription.aclose()
    assert "a handler of a network's state failed" in caplog.text


async def test_a_watch_can_be_iterated_over_and_ended_from_elsewhere(stage: Stage) -> None:
    await stage.open()
    network = await stage.network(state=True)
    seen = []
    async with network.state.watch_state(thread="t") as states:
        await network.state.set_value("other", 0)
        await network.state.set_value("x", 1, thread="t")
        async for state in states:
            seen.append(state)
            if len(seen) == 1:
                await network.state.set_value("x", 2, thread="t")
            else:
                asyncio.get_running_loop().call_soon(states.unsubscribe)
    assert seen == [{"x": 1}, {"x": 2}]
    assert states.closed


async def test_a_network_that_an_agent_of_a_threads_network_calls_keeps_the_threads_apart(
    stage: Stage, route: Route
) -> None:
    await stage.open()
    await stage.agents("b")
    await stage.network("inner", agents=["b"], state=True)
    await stage.agents("mid", tools=["networks/inner"])
    network = await stage.network(agents=["mid"])
    call = ToolCallPart("1", "inner", {"input": "q"})
    stage.answers["mid"] = lambda request: call if len(request.messages) < 2 else "done"
    for thread in ("t1", None):
        stage.script(route("mid", "x", done=True), route("b", "y", done=True))
        await network.generate("go", thread=thread)
    scopes = {shared["scope"] for shared in await shared_of_members(stage) if shared}
    assert scopes == {"thread/default/t1/network/default/inner", "network/default/inner"}
