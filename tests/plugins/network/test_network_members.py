"""Members of every kind, and the forms that their input takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from kastra_core.errors import OperationError, UserError

Stage = Any
"""The fixture of conftest.py."""
Route = Callable[..., str]

REPORT = {
    "type": "object",
    "properties": {"topic": {"type": "string"}, "pages": {"type": "integer", "default": 1}},
    "required": ["topic"],
}


async def report(stage: Stage, schema: Any = REPORT) -> None:
    spec = {
        "description": "Writes reports.",
        "steps": [{"id": "s", "set": "{{ workflow.input }}"}],
        **({"inputSchema": schema} if schema is not None else {}),
    }
    await stage.apply("Workflow", "report", spec)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ('{"topic": "tides", "pages": 3}', {"topic": "tides", "pages": 3}),
        ({"topic": "tides"}, {"topic": "tides", "pages": 1}),
        ("tides", {"topic": "tides", "pages": 1}),
        ("", {"topic": "the request", "pages": 1}),
        ("42", {"topic": "42", "pages": 1}),
    ],
)
async def test_a_workflow_gets_an_object_that_fits_its_schema(stage: Stage, given: Any, output: Any) -> None:
    await stage.open()
    await report(stage)
    network = await stage.network(workflows=["report"])
    stage.script(orjson.dumps({"reason": "", "agent": "report", "input": given, "done": True}).decode())
    assert (await network.generate("the request")).output == output
    assert f"Input schema: {orjson.dumps(REPORT).decode()}" in stage.routed[0].messages[0].text
    assert "JSON that fits it" in stage.routed[0].messages[0].text


async def test_the_model_is_told_a_few_examples_of_a_member(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a")
    examples = ["one\nline", "x" * 500, "three", "four", "five"]
    network = await stage.network(agents=[{"name": "a", "examples": examples}])
    stage.script(route("a", done=True))
    await network.generate("go")
    told = stage.routed[0].messages[0].text
    assert "- a (agent): Knows a. For example: one line | xxx" in told
    assert "| three | four\n" in told
    assert "x" * 161 not in told


@pytest.mark.parametrize(
    ("examples", "place", "told"),
    [
        ("a text", "spec.agents[0].examples", "expected a list of texts"),
        (["fine", 3], "spec.agents[0].examples[1]", "expected a string, found integer 3"),
        ([" "], "spec.agents[0].examples[0]", "found an empty one"),
        (["x" * 501], "spec.agents[0].examples[0]", "501 characters, at most 500"),
        (["x"] * 21, "spec.agents[0].examples", "21 examples, at most 20"),
    ],
)
async def test_examples_that_are_none_are_refused(stage: Stage, examples: Any, place: str, told: str) -> None:
    await stage.open()
    with pytest.raises(UserError) as caught:
        await stage.network(agents=[{"name": "a", "examples": examples}])
    assert place in str(caught.value)
    assert told in str(caught.value)


async def test_an_input_that_does_not_fit_is_mended_by_the_model(stage: Stage, route: Route) -> None:
    await stage.open()
    await report(stage)
    network = await stage.network(workflows=["report"])
    stage.script(
        route("report", '{"topic": "tides", "pages": "many"}', done=True),
        route("report", '{"topic": "tides", "pages": 2}', done=True),
    )
    assert (await network.generate("go")).output == {"topic": "tides", "pages": 2}
    assert "the input does not fit report: pages:" in stage.routed[1].messages[-1].text


async def test_a_text_for_a_schema_of_several_fields_is_mended(stage: Stage, route: Route) -> None:
    await stage.open()
    schema = {**REPORT, "required": ["topic", "pages"]}
    await report(stage, schema)
    network = await stage.network(workflows=["report"])
    stage.script(route("report", "tides", done=True), route("report", '{"topic": "t", "pages": 2}', done=True))
    assert (await network.generate("go")).output == {"topic": "t", "pages": 2}
    assert "must be a JSON object that fits" in stage.routed[1].messages[-1].text


@pytest.mark.parametrize(
    ("schema", "given", "output"),
    [
        (None, "plain words", "plain words"),
        ({"type": "string"}, "42", "42"),
        ({"type": "integer"}, "42", 42),
        ({"type": "array"}, "[1, 2]", [1, 2]),
    ],
)
async def test_a_workflow_without_an_object_schema_gets_what_fits(
    stage: Stage, route: Route, schema: Any, given: str, output: Any
) -> None:
    await stage.open()
    await report(stage, schema)
    network = await stage.network(workflows=["report"])
    stage.script(route("report", given, done=True))
    assert (await network.generate("go")).output == output


async def test_a_tool_is_invoked_with_arguments_and_counted(stage: Stage, route: Route) -> None:
    await stage.open()

    async def weather(_: Any, arguments: dict[str, Any]) -> Any:
        return {"city": arguments["city"], "degrees": 18}

    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    await stage.tool("weather", weather, description="Tells the weather.", inputSchema=schema)
    network = await stage.network(tools=["weather"])
    stage.script(route("weather", "Paris"), route(None, done=True))
    reply = await network.generate("How is it in Paris?")
    assert (reply.output, reply.members) == ({"city": "Paris", "degrees": 18}, ("weather",))
    assert reply.usage["toolCalls"] == 1
    assert 'It answered: {"city":"Paris","degrees":18}' in stage.routed[1].messages[1].text


async def test_a_tool_without_a_schema_gets_an_object_or_the_text(stage: Stage, route: Route) -> None:
    await stage.open()
    seen: list[Any] = []

    async def note(_: Any, given: Any) -> Any:
        seen.append(given)

    await stage.tool("note", note)
    network = await stage.network(tools=["note"])
    stage.script(route("note", '{"a": 1}'), route("note", "words", done=True))
    assert (await network.generate("go")).output is None
    assert seen == [{"a": 1}, "words"]


async def test_a_tool_that_fails_is_a_result_and_one_that_is_not_idempotent_is_marked(
    stage: Stage, route: Route
) -> None:
    runtime = await stage.open()

    async def pay(_: Any, given: Any) -> Any:
        raise OperationError("no money", reason="Broke")

    await stage.tool("pay", pay, idempotent=False)
    await stage.agents("a")
    network = await stage.network(tools=["pay"], agents=["a"])
    stage.script(route("pay", "{}"), route("a", "x", done=True))
    reply = await network.generate("go")
    assert reply.members == ("a", "pay")[::-1]
    assert "It failed: Broke: no money" in stage.routed[1].messages[1].text
    [run] = [
        run
        for run in (await runtime.store.resources.list("mastra.ai", "Run")).items
        if run.spec["target"]["kind"] == "Network"
    ]
    paths = [record.path for record in await runtime.store.journal.records(run.metadata.uid)]
    assert "/member:pay#0!" in paths


async def test_networks_in_networks_route_by_themselves(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a", "b")
    await stage.network("inner", agents=["b"], description="Knows the inner things.")
    network = await stage.network(agents=["a"], networks=["inner"])
    stage.script(route("inner", "from outside", done=True), route("b", "from inside", done=True))
    reply = await network.generate("go", thread="t")
    assert (reply.output, reply.members) == ("b: from inside", ("inner",))
    assert "- inner (network): Knows the inner things." in stage.routed[0].messages[0].text
    assert "Request:\nfrom outside" in stage.routed[1].messages[1].text


async def test_the_end_of_an_inner_network_is_a_failure_of_the_member(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a", "b")
    await stage.network("inner", agents=["b"])
    network = await stage.network(agents=["a"], networks=["inner"])
    stage.script(route("inner", "x"), route(None, reason="not mine"), route("a", "y", done=True))
    assert (await network.generate("go")).output == "a: y"
    assert "It failed: NoCandidate" in stage.routed[2].messages[1].text


async def test_a_member_that_waits_suspends_the_network_and_nothing_is_asked_twice(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    ask = {"steps": [{"id": "ask", "suspend": {"message": "Well?"}}]}
    await stage.apply("Workflow", "ask", ask)
    await stage.agents("a")
    network = await stage.network(agents=["a"], workflows=["ask"])
    stage.script(route("a", "x"), route("ask", "y"), route(None, done=True))
    run = await runtime.start_run(network.reference, "go")
    await runtime.runs.drain()
    runs = (await runtime.store.resources.list("mastra.ai", "Run")).items
    assert {r.status["phase"] for r in runs if r.spec["target"]["kind"] != "Agent"} == {"Suspended"}
    [waiting] = [r for r in runs if r.spec["target"]["kind"] == "Workflow"]
    await runtime.runs.resume(waiting.key, "yes")
    status = await run.status()
    assert (status["reason"], status["output"]) == ("Completed", "yes")
    assert (len(stage.routed), len(stage.asked("a"))) == (3, 1)


async def test_a_stream_over_a_member_that_waits_ends_with_the_whole(stage: Stage, route: Route) -> None:
    runtime = await stage.open()
    await stage.apply("Workflow", "ask", {"steps": [{"id": "ask", "suspend": {"message": "Well?"}}]})
    await stage.agents("a")
    network = await stage.network(agents=["a"], workflows=["ask"])
    stage.script(route("ask", "y"), route("a", "x", done=True))
    events = network.stream("go")
    assert [(await anext(events))["type"] for _ in range(2)] == ["decision", "step_started"]
    await runtime.runs.drain()
    runs = (await runtime.store.resources.list("mastra.ai", "Run")).items
    [waiting] = [run for run in runs if run.spec["target"]["kind"] == "Workflow"]
    await runtime.runs.resume(waiting.key, "yes")
    last = [event async for event in events][-1]
    assert (last["type"], last["output"], last["members"]) == ("completed", "a: x", ["ask", "a"])


async def test_members_with_names_and_descriptions_of_their_own(stage: Stage, route: Route) -> None:
    await stage.open()
    await stage.agents("a")
    await stage.agents("b", description="", instructions="You  know\nships. " + "And more. " * 100)
    members = [{"name": "first", "ref": "default.a", "description": "The first one."}, {"ref": "agents/b"}]
    network = await stage.network(agents=members)
    stage.script(route("first", "x", done=True))
    assert (await network.generate("go")).members == ("first",)
    told = stage.routed[0].messages[0].text
    assert "- first (agent): The first one.\n" in told
    assert "- b (agent): You know ships. And more." in told
    assert "…" in told


async def test_the_prompt_is_bounded_whatever_members_and_state_hold(stage: Stage, route: Route) -> None:
    await stage.open()
    network = await stage.network(router={"maxSteps": 40}, state=True)
    await network.state.set_value("big", "s" * 100_000)
    stage.answers["a"] = "x" * 100_000
    stage.script(route("a", "y" * 100_000))
    await stage.status(network, {"messages": [{"role": "user", "content": "z" * 50_000}] * 3})
    longest = max(len(request.messages[1].text) for request in stage.routed)
    assert longest < 60_000
    told = stage.routed[-1].messages[1].text
    assert "(19 earlier calls are left out)" in told
    assert "more characters)" in told
    assert "earlier messages are left out" in told
