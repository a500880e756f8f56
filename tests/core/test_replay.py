"""Replay of a journal: it tells what a run did, for any program, from the records alone."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.api.references import Reference
from kastra_core.config import Config
from kastra_core.errors import KastraError, NotFoundError, OperationError, UserError
from kastra_core.execution.replay import ReplayError, Trace, replay
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import Record
from kastra_core.registrations import OperationRegistration
from kastra_core.runtime import registry_of

Node = dict[str, Any]
OWN = ("operation", "call", "wait")
"""Types of the events that a replay adds."""


# ------------------------------------------------------------------------------------------------ programs


class _Walk:
    """One branch of a program under way; each event says where it is and the how many-th it is there."""

    def __init__(self, ctx: RunContext, place: str) -> None:
        self.ctx, self.place, self.count = ctx, place, 0

    async def tell(self, **what: Any) -> None:
        await self.ctx.emit({"type": "mark", "place": self.place, "n": self.count, **what})
        self.count += 1

    async def run(self, nodes: Sequence[Node], value: JsonValue) -> JsonValue:
        for at, node in enumerate(nodes):
            await self.tell(begins=at, node=node["do"], value=value)
            try:
                value = await getattr(self, node["do"])(node, f"{self.place}.{at}", value)
            except OperationError as error:
                await self.tell(failed=at, reason=error.reason, message=error.message)
                if not node.get("catch"):
                    raise
                value = {"reason": error.reason}
        await self.tell(value=value)
        return value

    async def op(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        arguments = {"name": place, "fail": node.get("fail", False), "hang": node.get("hang", False)}
        return await self.ctx.perform(
            node.get("operation", "note"), arguments, name=node.get("name", ""), at_most_once=node.get("once", False)
        )

    async def child(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        name = node.get("of", "bad" if node.get("fail") else "good")
        return await self.ctx.call(Reference(kind="Job", namespace="default", name=name), value)

    async def now(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        return await self.ctx.now()

    async def uuid(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        return await self.ctx.uuid()

    async def step(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        self.ctx.step()
        return value

    async def sleep(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        await self.ctx.sleep(node["s"])
        return value

    async def signal(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        return await self.ctx.wait_signal(node["name"], timeout_s=node.get("timeout"), details={"message": "well?"})

    async def remember(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        await self.ctx.remember([{"role": "user", "parts": []}])
        return [dict(stored.message) for stored in await self.ctx.history()]

    async def fail(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        raise OperationError("as planned", reason=node["reason"])

    async def within(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        return await self.ctx.within(node["s"], lambda ctx: _Walk(ctx, f"{place}w").run(node["body"], value))

    async def gather(self, node: Node, place: str, value: JsonValue) -> JsonValue:
        def branch(name: str, nodes: Sequence[Node]) -> Any:
            return lambda ctx: _Walk(ctx, f"{place}[{name}]").run(nodes, value)

        found = await self.ctx.gather(
            {str(name): branch(str(name), nodes) for name, nodes in enumerate(node["branches"])},
            concurrency=node.get("concurrency"),
            stop_on=(lambda error: getattr(error, "reason", "") == "Boom") if node.get("stop") else None,
        )
        shown: JsonObject = {}
        for name, result in found.items():
            failed = isinstance(result, BaseException)
            shown[name] = getattr(result, "reason", repr(result)) if failed else result
        return shown


class ProgramRunner:
    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> JsonValue:
        return await _Walk(ctx, "top").run(target.spec["program"], input)


async def note(ctx: OperationContext, arguments: JsonObject) -> JsonValue:
    if arguments["hang"]:
        await asyncio.Event().wait()
    if arguments["fail"]:
        raise OperationError("it broke", reason="Broken", retryable=True, details={"at": arguments["name"]})
    return {"did": arguments["name"], "usage": {"input_tokens": 3, "output_tokens": 4, "cost": 0.5}}


def plugin() -> types.ModuleType:
    module = types.ModuleType("test_replay_plugin")

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        def references(resource: Resource) -> list[Reference]:
            names = ("good", "bad") if resource.metadata.name == "program" else ()
            return [Reference(kind="Job", namespace="default", name=name) for name in names]

        return [ResourceKind(kind="Job", plural="jobs", runner=ProgramRunner, references=references)]

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [
            OperationRegistration(name="note", handler=note),
            OperationRegistration(name="think", handler=note, counts_as="model"),
            OperationRegistration(name="use", handler=note, counts_as="tool"),
        ]

    module.kastra_resource_kinds = kastra_resource_kinds  # type: ignore[attr-defined]
    module.kastra_operations = kastra_operations  # type: ignore[attr-defined]
    return module


# ------------------------------------------------------------------------------------------------ running them


class Lab:
    """A runtime, and runs of programs with what a listener saw of them."""

    def __init__(self, project: Path) -> None:
        self.config = Config.load(project, env={})
        self.store = MemoryStore()
        self.runtime = self._runtime()
        self.seen: dict[str, list[JsonObject]] = {}
        self.runtime.bus.subscribe("run.started", self._listen)

    def _runtime(self, *plugins_: Any) -> RuntimeManager:
        plugins = PluginManager(discover=False, extra=[("jobs", plugin())] if not plugins_ else list(plugins_))
        return RuntimeManager(store=self.store, config=self.config, plugins=plugins, registry=registry_of(plugins))

    def looker(self, *plugins: Any) -> RuntimeManager:
        """Another runtime on the same store, as a process has it that only looks."""
        return self._runtime(*plugins)

    def _listen(self, message: Mapping[str, Any]) -> None:
        # A run that wakes is executed anew, and told of as it begins.
        run = message["resource"]
        handle = self.runtime.runs.attach(run.key)
        if handle is not None and not run.spec.get("parent"):
            handle.listen(self.seen.setdefault(run.metadata.name, []).append)

    async def apply(self, program: Sequence[Node], name: str = "program") -> None:
        await self.runtime.apply_resource(
            {
                "apiVersion": "mastra.ai/v1",
                "kind": "Job",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"program": list(program)},
            }
        )

    async def start(self, program: Sequence[Node], **options: Any) -> Any:
        await self.apply([], "good")
        await self.apply([{"do": "fail", "reason": "Bad"}], "bad")
        await self.apply(program)
        return await self.runtime.start_run(self.runtime.reference("jobs/program"), {"in": 1}, **options)

    async def finish(self, program: Sequence[Node], **options: Any) -> Resource:
        """Run a program to its end; signals that it waits for are sent."""
        handle = await self.start(program, **options)
        for name in _signals(program):
            with contextlib.suppress(UserError):  # it failed before it waited
                await self.runtime.runs.signal(handle.key, name, {"for": name})
        async with asyncio.timeout(5):
            await handle.status()
        return await self.runtime.client.require(handle.key)

    async def records(self, run: Resource) -> list[Record]:
        return list(await self.store.journal.records(run.metadata.uid))

    def live(self, run: Resource) -> dict[str, list[JsonObject]]:
        return by_place([event for event in self.seen.get(run.metadata.name, []) if event["type"] == "mark"])


def _signals(nodes: Sequence[Node]) -> list[str]:
    out = []
    for node in nodes:
        if node["do"] == "signal" and "timeout" not in node:
            out.append(node["name"])
        for below in (node.get("body", []), *node.get("branches", [])):
            out += _signals(below)
    return out


def by_place(events: Sequence[JsonObject]) -> dict[str, list[JsonObject]]:
    """The events of each branch in order. A branch that waited was begun again, and told the same again."""
    out: dict[str, list[JsonObject]] = {}
    for event in events:
        told = out.setdefault(event["place"], [])
        if event["n"] < len(told):
            assert told[event["n"]] == event
        else:
            assert event["n"] == len(told)
            told.append(event)
    return out


def marks(trace: Trace) -> dict[str, list[JsonObject]]:
    return by_place([entry.event for entry in trace.entries if entry.event["type"] == "mark"])


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    await made.runtime.aclose()


# ------------------------------------------------------------------------------------------------ any program

_CATCH = st.booleans()
_LEAF: st.SearchStrategy[Node] = st.one_of(
    st.fixed_dictionaries(
        {"do": st.just("op"), "fail": _CATCH, "catch": _CATCH, "once": _CATCH},
        optional={"operation": st.sampled_from(["note", "think", "use"]), "name": st.sampled_from(["a", "b"])},
    ),
    st.fixed_dictionaries({"do": st.just("child"), "fail": _CATCH, "catch": _CATCH}),
    st.sampled_from([{"do": "now"}, {"do": "uuid"}, {"do": "step"}, {"do": "remember"}]),
    st.fixed_dictionaries({"do": st.just("sleep"), "s": st.sampled_from([0.0, 0.003])}),
    st.fixed_dictionaries({"do": st.just("signal"), "name": st.sampled_from(["x", "y"])}),
    st.just({"do": "signal", "name": "never", "timeout": 0.0, "catch": True}),
    st.fixed_dictionaries({"do": st.just("fail"), "reason": st.sampled_from(["Boom", "Other"]), "catch": _CATCH}),
)


def _larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    body = st.lists(inner, max_size=3)
    hangs = body.map(lambda nodes: [*nodes, {"do": "op", "hang": True}])
    return st.one_of(
        st.fixed_dictionaries({"do": st.just("within"), "s": st.just(30.0), "body": body, "catch": _CATCH}),
        st.fixed_dictionaries({"do": st.just("within"), "s": st.just(0.02), "body": hangs, "catch": _CATCH}),
        st.fixed_dictionaries(
            {
                "do": st.just("gather"),
                "branches": st.lists(body, max_size=3),
                "concurrency": st.sampled_from([None, 1, 2]),
                "stop": _CATCH,
            }
        ),
    )


PROGRAMS = st.lists(st.recursive(_LEAF, _larger, max_leaves=8), min_size=1, max_size=5)
ENDED_EARLY: list[Node] = [
    {
        "do": "gather",
        "stop": True,
        "branches": [
            [{"do": "op"}, {"do": "op", "hang": True}],
            [{"do": "op"}, {"do": "sleep", "s": 0.003}, {"do": "fail", "reason": "Boom"}],
            [{"do": "signal", "name": "never", "timeout": 60.0}],
        ],
    },
    {"do": "op"},
]
"""A gather whose second branch ends the others."""


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=PROGRAMS, cut=st.floats(0, 1))
@example(program=ENDED_EARLY[:1], cut=0.5)
async def test_the_trace_of_a_run_is_what_a_listener_saw_for_any_program(
    program: list[Node], cut: float, tmp_path: Path
) -> None:
    lab = Lab(tmp_path)
    try:
        run = await lab.finish(program)
        records = await lab.records(run)
        trace = await replay(lab.looker(), run)
        live, told = lab.live(run), marks(trace)
        for place, events in live.items():
            # What was ended may have been given its last answer without having had its turn again.
            assert told[place][: len(events)] == events, place
            assert len(told[place]) - len(events) <= (4 if _may_be_ended(place, program) else 0), place
        assert all(place in live or _may_be_ended(place, program) for place in told)
        assert trace.end == {"Succeeded": "finished", "Failed": "failed"}[run.status["phase"]]
        assert trace.output == run.status.get("output")
        assert not trace.differs
        if trace.error is not None:
            assert (trace.error["reason"], trace.error["message"]) == (run.status["reason"], run.status["message"])
        markers = {line.path for line in records if line.path.endswith("!")}
        assert trace.used == {line.path for line in records} - markers

        under_way = attrs.evolve(run, status={**run.status, "phase": "Running"})
        some = await replay(lab.looker(), under_way, records=records[: int(cut * len(records))])
        for place, events in marks(some).items():
            assert told[place][: len(events)] == events, place
    finally:
        await lab.runtime.aclose()


def _may_be_ended(place: str, program: Sequence[Node]) -> bool:
    """Whether a place lies in a branch that something else can end."""
    text = str(program)
    return ("[" in place and "'stop': True" in text) or "w" in place


# ------------------------------------------------------------------------------------------------ single facts


async def test_a_branch_that_another_ended_is_told_as_far_as_it_went(lab: Lab) -> None:
    run = await lab.finish(ENDED_EARLY)
    trace = await replay(lab.looker(), run)
    assert trace.end == "finished"
    told = marks(trace)
    assert [event.get("node") for event in told["top.0[0]"]] == ["op", "op"]  # the second was under way
    assert told["top.0[1]"][-1]["reason"] == "Boom"
    assert [event.get("node") for event in told["top.0[2]"]] == ["signal"]
    # The one that ended the others comes first.
    places = [entry.event["place"] for entry in trace.entries if entry.event["type"] == "mark"]
    assert places.index("top.0[1]") < places.index("top.0[0]")


async def test_a_branch_whose_time_was_over_is_told_as_far_as_it_went(lab: Lab) -> None:
    body: list[Node] = [{"do": "op"}, {"do": "op", "hang": True}]
    run = await lab.finish([{"do": "within", "s": 0.02, "body": body, "catch": True}])
    trace = await replay(lab.looker(), run)
    assert [event.get("node") for event in marks(trace)["top.0w"]] == ["op", "op"]
    assert {"reason": "Timeout"} in [event.get("value") for event in marks(trace)["top"]]


async def test_a_sleep_that_was_ended_was_not_over(lab: Lab) -> None:
    body: list[Node] = [{"do": "sleep", "s": 1.5}, {"do": "now"}]
    run = await lab.finish([{"do": "within", "s": 0.02, "body": body, "catch": True}])
    trace = await replay(lab.looker(), run)
    [wait] = [entry.event for entry in trace.entries if entry.event["type"] == "wait"]
    assert (wait["for"], wait["over"]) == ("sleep", False)
    assert [event.get("node") for event in marks(trace)["top.0w"]] == ["sleep"]


async def test_other_branches_go_on_where_one_has_no_record(lab: Lab) -> None:
    branches: list[list[Node]] = [[{"do": "op"}, {"do": "op"}], [{"do": "op"}], [{"do": "op"}]]
    run = await lab.finish([{"do": "gather", "branches": branches}])
    records = [line for line in await lab.records(run) if line.path != "/all#0[0]/note#1"]
    under_way = attrs.evolve(run, status={**run.status, "phase": "Running"})
    trace = await replay(lab.looker(), under_way, records=records)
    assert trace.end == "frontier"
    told = marks(trace)
    assert len(told["top.0[0]"]) == 2
    assert told["top.0[1]"][-1]["value"]["did"] == "top.0[1].0"
    assert told["top.0[2]"][-1]["value"]["did"] == "top.0[2].0"


async def test_a_branch_that_had_no_place_yet_has_not_begun(lab: Lab) -> None:
    handle = await lab.start(
        [{"do": "gather", "concurrency": 1, "branches": [[{"do": "signal", "name": "x"}], [{"do": "op"}]]}]
    )
    await lab.runtime.runs.drain()
    run = await lab.runtime.client.require(handle.key)
    assert run.status["phase"] == "Suspended"
    trace = await replay(lab.looker(), run)
    assert trace.end == "frontier"
    assert "top.0[1]" not in marks(trace)
    wait = trace.entries[-1].event
    assert (wait["for"], wait["signal"], wait["over"], wait["details"]) == ("signal", "x", False, {"message": "well?"})
    assert trace.entries[-1].branch == "/all#0[0]"


async def test_a_branch_begins_when_a_place_is_free(lab: Lab) -> None:
    naps: list[list[Node]] = [[{"do": "sleep", "s": 0.05}, {"do": "op"}], [{"do": "sleep", "s": 0.05}], [{"do": "op"}]]
    run = await lab.finish([{"do": "gather", "concurrency": 2, "branches": naps}])
    trace = await replay(lab.looker(), run)
    begins = {e.event["place"]: e.time_s for e in trace.entries if e.event.get("begins") == 0}
    assert begins["top.0[0]"] == begins["top.0[1]"] == begins["top"]
    # The start of a run is known to the millisecond.
    assert begins["top.0[2]"] >= begins["top"] + 0.049


async def test_stop_ends_the_branch_of_the_event_only(lab: Lab) -> None:
    branches: list[list[Node]] = [[{"do": "op"}, {"do": "op"}], [{"do": "op"}]]
    run = await lab.finish([{"do": "op"}, {"do": "gather", "branches": branches}, {"do": "op"}])
    trace = await replay(
        lab.looker(), run, stop=lambda event: event.get("place") == "top.1[0]" and event.get("begins") == 1
    )
    assert trace.end == "stopped"
    assert trace.used == {"/note#0", "/all#0[0]/note#0", "/all#0[1]/note#0"}
    assert trace.output is None


async def test_stop_in_a_branch_that_was_ended_keeps_what_ended_it_out(lab: Lab) -> None:
    body: list[Node] = [{"do": "op"}, {"do": "op", "hang": True}]
    run = await lab.finish([{"do": "within", "s": 0.02, "body": body, "catch": True}])
    trace = await replay(lab.looker(), run, stop=lambda event: event.get("begins") == 1)
    assert trace.end == "stopped"
    assert trace.used == {"/within#0/note#0"}


async def test_times_are_those_of_the_records_and_usage_is_told(lab: Lab) -> None:
    run = await lab.finish([{"do": "op", "operation": "think"}, {"do": "op", "operation": "use"}, {"do": "child"}])
    records = {line.path: line for line in await lab.records(run)}
    trace = await replay(lab.looker(), run)
    first, operation, second = trace.entries[:3]
    assert 0 <= operation.time_s - first.time_s < 1
    assert first.time_s == pytest.approx(run.status["startedAtS"], abs=0.01)
    assert second.time_s == operation.time_s == records["/think#0"].time_s
    assert operation.event["usage"] == {
        "modelCalls": 1,
        "toolCalls": 0,
        "inputTokens": 3,
        "outputTokens": 4,
        "cost": 0.5,
    }
    assert (operation.event["operation"], operation.event["ok"]) == ("think", True)
    [use] = [entry.event for entry in trace.entries if entry.event.get("operation") == "use"]
    assert use["usage"]["toolCalls"] == 1
    [call] = [entry.event for entry in trace.entries if entry.event["type"] == "call"]
    assert (call["reference"], call["ok"]) == ("Job default/good", True)


async def test_a_run_that_a_limit_ended_ends_so_in_its_trace(lab: Lab) -> None:
    program: list[Node] = [{"do": "op", "operation": "think"}, {"do": "op", "operation": "think"}]
    run = await lab.finish(program, limits={"maxModelCalls": 1})
    trace = await replay(lab.looker(), run)
    assert trace.end == "failed"
    assert trace.error == {"reason": "LimitExceeded", "message": run.status["message"]}
    steps = await lab.finish([{"do": "step"}] * 3, limits={"maxSteps": 2}, name="steps")
    trace = await replay(lab.looker(), steps)
    assert trace.error == {"reason": "LimitExceeded", "message": steps.status["message"]}
    assert not trace.differs


async def test_a_cancelled_run_ends_so_in_its_trace(lab: Lab) -> None:
    handle = await lab.start([{"do": "op"}, {"do": "signal", "name": "x"}])
    await lab.runtime.runs.drain()
    await handle.cancel()
    run = await lab.runtime.client.require(handle.key)
    trace = await replay(lab.looker(), run)
    assert (trace.end, trace.error) == ("failed", {"reason": "Cancelled", "message": run.status["message"]})


async def test_what_a_runner_does_to_a_result_does_not_reach_the_records(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}])
    records = await lab.records(run)
    before = repr(records)

    class Spoiler:
        async def run(self, ctx: RunContext, target: Resource, input: Any) -> JsonValue:
            found: Any = await ctx.perform("note", {})
            found.clear()
            input.clear()
            return found

    trace = await replay(_with_runner(lab, Spoiler), run, records=records)
    assert trace.output == {}
    assert repr(records) == before


async def test_a_runner_that_swallows_its_end_is_ended_all_the_same(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}])

    class Swallower:
        async def run(self, ctx: RunContext, target: Resource, input: Any) -> JsonValue:
            try:
                await ctx.now()
            except BaseException:
                await ctx.emit({"type": "mark", "place": "top", "n": 0})
            return "done"

    under_way = attrs.evolve(run, status={**run.status, "phase": "Running"})
    trace = await replay(_with_runner(lab, Swallower), under_way)
    assert trace.end == "frontier"
    assert (await replay(_with_runner(lab, Swallower), run)).differs


async def test_a_runner_that_waits_for_something_of_its_own_does_not_hang_the_replay(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await lab.finish([{"do": "op"}])
    monkeypatch.setattr("kastra_core.execution.replay._FOREIGN_WAIT_S", 0.01)

    class Waiter:
        async def run(self, ctx: RunContext, target: Resource, input: Any) -> JsonValue:
            await asyncio.sleep(0)  # as short a wait as this is let pass
            await ctx.emit({"type": "mark", "place": "top", "n": 0})
            await asyncio.Event().wait()

    under_way = attrs.evolve(run, status={**run.status, "phase": "Running"})
    trace = await replay(_with_runner(lab, Waiter), under_way)
    assert trace.end == "frontier"
    assert len(trace.entries) == 1


async def test_a_replay_writes_nothing_and_takes_no_lease(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}, {"do": "now"}])
    looker = lab.looker()
    before = (await lab.records(run), await lab.store.resources.get(run.key))
    await replay(looker, run)
    assert "runs" not in vars(looker)
    assert (await lab.records(run), await lab.store.resources.get(run.key)) == before


async def test_pins_of_another_time_answer_how_it_would_have_gone(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}, {"do": "op"}])
    await lab.apply([{"do": "op"}, {"do": "op", "name": "new"}])
    target = await lab.runtime.client.require(lab.runtime.reference("jobs/program").key)
    _, _, pins = await lab.runtime.runs.pins.pin(target)
    trace = await replay(lab.looker(), run, pins=pins)
    assert trace.end == "frontier"
    assert trace.used == {"/note#0"}


# ------------------------------------------------------------------------------------------------ what cannot be told


def _with_runner(lab: Lab, runner: Any, **more: Any) -> RuntimeManager:
    module = types.ModuleType("test_replay_other_plugin")

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        return [ResourceKind(kind="Job", plural="jobs", runner=runner)]

    module.kastra_resource_kinds = kastra_resource_kinds  # type: ignore[attr-defined]
    return lab.looker(("other", module))


async def test_a_run_whose_plugin_is_missing_is_refused_with_the_kind(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}])
    with pytest.raises(ReplayError, match="no installed plugin offers the kind Job of group"):
        await replay(lab.looker(("none", types.ModuleType("nothing"))), run)
    with pytest.raises(ReplayError, match="cannot be run by the plugin that is installed now"):
        await replay(_with_runner(lab, None), run)
    with pytest.raises(ReplayError, match="the runner of Job cannot be loaded: ModuleNotFoundError"):
        await replay(_with_runner(lab, "no_such_module:Runner"), run)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (5, "it is int, not an object"),
        ({"e": "broken"}, "its error has no reason and message"),
        ({"e": {"reason": 1}}, "its error has no reason and message"),
    ],
)
async def test_a_damaged_record_is_named(lab: Lab, damage: Any, words: str) -> None:
    run = await lab.finish([{"do": "gather", "branches": [[{"do": "op", "catch": True}], []]}])
    records = [attrs.evolve(line, record=damage) for line in await lab.records(run)]
    with pytest.raises(ReplayError, match=f"the record /all#0.*note#0 of its journal is damaged: {words}"):
        await replay(lab.looker(), run, records=records)


async def test_records_of_waits_that_say_nothing_are_damaged(lab: Lab) -> None:
    program: list[Node] = [{"do": "sleep", "s": 0.0}, {"do": "now"}]
    run = await lab.finish(program)
    [nap, now] = await lab.records(run)
    with pytest.raises(ReplayError, match="until when it waits"):
        await replay(lab.looker(), run, records=[attrs.evolve(nap, record={"until": "soon"})])
    with pytest.raises(ReplayError, match="it is no time"):
        await replay(lab.looker(), run, records=[nap, attrs.evolve(now, record={"r": "noon"})])
    bare = attrs.evolve(run, status={})
    assert (await replay(lab.looker(), bare)).end == "finished"
    early = await lab.finish(ENDED_EARLY, name="early")
    with pytest.raises(ReplayError, match="which branch ended the others"):
        await replay(lab.looker(), early, records=[attrs.evolve(nap, path="/all#0", record={"by": None})])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "spec.target does not say what it runs"),
        ({"target": "x"}, "spec.target does not say what it runs"),
        ({"pinned": 5}, "spec.pinned does not say"),
    ],
)
async def test_a_run_whose_spec_cannot_be_read_is_refused(lab: Lab, spec: JsonObject, words: str) -> None:
    run = await lab.finish([{"do": "op"}])
    spec = {**run.spec, **spec} if spec else {}
    with pytest.raises(ReplayError, match=words):
        await replay(lab.looker(), attrs.evolve(run, spec=spec))


async def test_pins_that_are_lost_or_damaged_are_told(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}])
    with pytest.raises(NotFoundError, match="the pinned resources sha256:0 of this run not found"):
        await replay(lab.looker(), attrs.evolve(run, spec={**run.spec, "pinned": "sha256:0"}))
    with pytest.raises(ReplayError, match="is not among what it pinned"):
        await replay(lab.looker(), run, pins={})


async def test_a_runner_that_fails_is_no_traceback(lab: Lab) -> None:
    run = await lab.finish([{"do": "op"}])

    class Broken:
        async def run(self, ctx: RunContext, target: Resource, input: Any) -> JsonValue:
            raise ZeroDivisionError("oops")

    trace = await replay(_with_runner(lab, Broken), run)
    assert (trace.end, trace.error) == ("failed", {"reason": "RunnerBug", "message": "ZeroDivisionError: oops"})
    assert trace.differs
    assert issubclass(ReplayError, KastraError)
