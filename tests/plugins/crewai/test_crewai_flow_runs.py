"""Migrated flows are carried out, on the store in memory, and do what the flow says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import JsonObject
from kastra_core.execution.runs import RunHandle
from kastra_core.migration import MemorySource, read_text
from kastra_plugin_crewai.migrator import CrewAiMigrator
from migrated_stage import MigratedStage


class Stage(MigratedStage):
    async def start(self, flow: str | Mapping[str, Any], input: Any = None) -> RunHandle:
        """Migrate a flow, apply what came of it and start its workflow."""
        text = flow if isinstance(flow, str) else json.dumps(flow)
        result = CrewAiMigrator().migrate(MemorySource(read_text(text, "flow.yaml")))
        runtime = await self.open()
        for manifest in result.resources:
            applied = await runtime.apply_resource(manifest, wait=False)
            if manifest["kind"] == "Tool":
                ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}
                await runtime.client.update_status(applied.resource, {"conditions": [ready]})
        name = result.resources[0]["metadata"]["name"]
        return await runtime.start_run(f"workflows/{name}", input, require_ready=False)

    async def output(self, flow: str | Mapping[str, Any], input: Any = None) -> Any:
        status = await (await self.start(flow, input)).status()
        assert status["phase"] == "Succeeded", status
        return status.get("output")

    async def aclose(self) -> None:
        if self.runtime is not None:
            await self.runtime.aclose()
        await self.store.aclose()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.aclose()


async def test_expressions_hand_values_on_and_the_last_method_gives_the_output(stage: Stage) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Chain
    state: {type: dict, default: {topic: tea, n: 2}}
    methods:
      last: {listen: first, do: {call: expression, expr: "outputs.first + [state.n-1]"}}
      first: {start: true, do: {call: expression, expr: "[state.topic]"}}
    """
    assert await stage.output(flow) == ["tea", 1]
    await stage.aclose()
    again = Stage(stage.path)
    assert await again.output(flow, {"topic": "rum"}) == ["rum", 1]
    await again.aclose()


@pytest.mark.parametrize(("score", "expected"), [(90, "high"), (10, "low"), (50, "none")])
async def test_a_router_leads_to_the_method_that_listens_to_its_answer(stage: Stage, score: int, expected: str) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Route
    methods:
      begin: {start: true, do: {call: expression, expr: state.score}}
      route:
        listen: begin
        router: true
        do: {call: expression, expr: "outputs.begin > 80 ? 'good' : outputs.begin < 20 ? 'bad' : 'none'"}
      praise: {listen: good, do: {call: expression, expr: "'high'"}}
      scold: {listen: bad, do: {call: expression, expr: "'low'"}}
    """
    assert await stage.output(flow, {"score": score}) == expected


async def test_methods_run_at_once_meet_where_a_method_waits_for_both(stage: Stage) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Join
    methods:
      begin: {start: true, do: {call: expression, expr: "1"}}
      left: {listen: begin, do: {call: expression, expr: "outputs.begin + 1"}}
      deeper: {listen: left, do: {call: expression, expr: "outputs.left * 10"}}
      right: {listen: begin, do: {call: expression, expr: "outputs.begin + 2"}}
      join:
        listen: {and: [deeper, right]}
        do: {call: expression, expr: "[outputs.left, outputs.deeper, outputs.right]"}
    """
    assert await stage.output(flow) == [2, 20, 3]


async def test_each_does_its_steps_for_every_item_and_leaves_out_those_whose_condition_fails(stage: Stage) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Rows
    methods:
      rows:
        start: true
        do:
          call: each
          in: state.rows
          do:
            - {name: big, if: "item.n > 1", action: {call: expression, expr: "item.n * 10"}}
            - {name: named, if: "item.n > 2", action: {call: expression, expr: "string(outputs.big) + item.name"}}
    """
    rows = [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}, {"n": 3, "name": "c"}]
    assert await stage.output(flow, {"rows": rows}) == [None, 20, "30c"]


async def test_code_that_changes_the_state_is_called_in_a_loop_until_the_router_says_done(stage: Stage) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Loop
    methods:
      step: {start: retry, do: {call: code, ref: "app:Loop.step"}}
      decide: {listen: step, router: true, do: {call: expression, expr: "state.count < 3 ? 'retry' : 'done'"}}
      finish: {listen: done, do: {call: script, code: "return state['count'] * 2"}}
    """

    def step(state: Mapping[str, Any]) -> JsonObject:
        count = state.get("count", 0) + 1
        return {"output": count, "state": {**state, "count": count}}

    stage.functions = {"step": step, "loop-finish": lambda state: state["count"] * 2}
    assert await stage.output(flow) == 6
    assert stage.called == ["step", "step", "step", "loop-finish"]


async def test_a_crew_and_an_agent_get_their_inputs_and_answer(stage: Stage) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Desk
    methods:
      research:
        start: true
        do:
          call: crew
          with:
            agents: {scout: {role: "{topic} scout", goal: find, backstory: curious}}
            tasks: [{name: find, description: "List facts on {topic}", expected_output: ten, agent: scout}]
          inputs: {topic: "${state.topic}"}
      write:
        listen: research
        do:
          call: agent
          with: {role: Writer, goal: write, backstory: old hand, input: "Facts: ${outputs.research.raw}!"}
    """
    stage.model.answers = ["facts of tea", "a note"]
    assert await stage.output(flow, {"topic": "tea"}) == "a note"
    asked = [request.messages[-1].text for request in stage.model.requests]
    assert "List facts on tea" in asked[0]
    assert asked[1] == "Facts: facts of tea!"


@pytest.mark.parametrize(("answer", "expected"), [({"outcome": "yes_"}, "a draft is out"), ({}, "gone")])
async def test_the_answer_of_a_person_routes_and_its_default_is_taken(
    stage: Stage, answer: JsonObject, expected: str
) -> None:
    flow = """
    schema: crewai.flow/v1
    name: Review
    methods:
      draft:
        start: true
        do: {call: expression, expr: "'a draft'"}
        human_feedback: {message: "Good?", emit: [yes_, no_], default_outcome: no_}
      publish: {listen: yes_, do: {call: expression, expr: "outputs.draft + ' is out'"}}
      discard: {listen: no_, do: {call: expression, expr: "'gone'"}}
    """
    run = await stage.start(flow)
    async for _ in run.events():
        pass
    assert stage.runtime is not None
    parked = await stage.runtime.client.require(run.key)
    assert parked.status["awaiting"][0]["message"] == "Good?\n\na draft"
    await stage.runtime.runs.resume(run.key, answer)
    assert await run.result() == expected


# ------------------------------------------------------------------------------------------------ any flow


@st.composite
def flows(draw: st.DrawFn) -> tuple[JsonObject, dict[str, list[str]]]:
    """Flows of code that have one start, and what their methods answer, time after time."""
    count = draw(st.integers(2, 6))
    names = [f"m{index}" for index in range(count)]
    labels = ["l1", "l2"]
    methods: JsonObject = {}
    for index, name in enumerate(names):
        before = names[:index]
        method: JsonObject = {"do": {"call": "code", "ref": f"app:{name}"}}
        if index == 0:
            method["start"] = True
        else:
            event = st.sampled_from([*before, *labels])
            both = st.lists(st.sampled_from(before), min_size=2, max_size=2, unique=True).map(lambda two: {"and": two})
            either = st.sampled_from(before).map(lambda one: {"or": [one, "l1"]})
            method["listen"] = draw(
                st.one_of(event, event, both, either) if len(before) > 1 else st.one_of(event, either)
            )
        if draw(st.integers(0, 3)) == 0:
            method["router"] = True
        methods[name] = method
    answer = st.lists(st.sampled_from([*labels, "else"]), max_size=2)
    answers = {name: draw(answer) for name in names}
    return {"schema": "crewai.flow/v1", "name": "Any", "methods": methods}, answers


class Reference:
    """The methods that a flow runs, worked out event by event."""

    def __init__(self, flow: JsonObject, answers: Mapping[str, list[str]]) -> None:
        self.methods: JsonObject = flow["methods"]
        self.answers = {name: list(each) for name, each in answers.items()}
        self.ran: list[str] = []
        self.got: dict[str, set[str]] = {}
        self.fired: set[str] = set()

    def run(self) -> Counter[str]:
        answer = self._carry_out("m0")
        self._spread("m0")
        if self.methods["m0"].get("router"):
            self._spread(answer)
        return Counter(self.ran)

    def _carry_out(self, name: str) -> str:
        if len(self.ran) > 40:
            raise RecursionError
        if name in self.ran:
            self.fired.clear()
        self.ran.append(name)
        return self.answers[name].pop(0) if self.answers[name] else "stop"

    def _started(self, event: str, *, routers: bool) -> list[str]:
        out = []
        for name, method in self.methods.items():
            listen = method.get("listen")
            if listen is None or bool(method.get("router")) != routers:
                continue
            if isinstance(listen, str):
                out += [name] if listen == event else []
            elif "or" in listen:
                if event in listen["or"] and (routers or name not in self.fired):
                    self.fired.add(name)
                    out.append(name)
            elif event in listen["and"]:
                self.got.setdefault(name, set()).add(event)
                if self.got[name] == set(listen["and"]):
                    del self.got[name]
                    out.append(name)
        return out

    def _spread(self, event: str) -> None:
        answers = []
        current = event
        while routers := self._started(current, routers=True):
            for name in routers:
                current = self._carry_out(name)
                self._spread(name)
                answers.append(current)
        ready = set(self.fired)
        for at, one in enumerate([event, *answers]):
            if at:
                again = {name for name in ready if one in self.methods[name]["listen"].get("or", ())}
                self.fired -= again
                ready -= again
            for name in self._started(one, routers=False):
                self._carry_out(name)
                self._spread(name)


def _is_racy(flow: JsonObject) -> bool:
    """Whether the order of what happens at once decides what runs: an ``or``, and an event with several listeners."""
    conditions = [method.get("listen") for method in flow["methods"].values()]
    either = [one["or"] for one in conditions if isinstance(one, dict) and "or" in one]
    heard = Counter(
        event
        for one in conditions
        for event in ([one] if isinstance(one, str) else next(iter(one.values())) if one else ())
    )
    return bool(either) and max(heard.values()) > 1


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(flows())
async def test_a_migrated_flow_runs_the_methods_that_its_events_start(
    tmp_path: Path, drawn: tuple[JsonObject, dict[str, list[str]]]
) -> None:
    flow, answers = drawn
    if _is_racy(flow):
        return
    try:
        expected = Reference(flow, answers).run()
    except RecursionError:
        return
    left = {name: list(each) for name, each in answers.items()}
    stage = Stage(tmp_path)

    def does(name: str) -> Callable[..., JsonObject]:
        return lambda **_: {"output": left[name].pop(0) if left[name] else "stop", "state": {}}

    stage.functions = {name: does(name) for name in flow["methods"]}
    await stage.output(flow, {})
    assert Counter(stage.called) == expected
    await stage.aclose()
