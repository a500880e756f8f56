"""The shared state in workflows: read in expressions and templates, written by ``operation: state.update``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject, Resource
from kastra_core.errors import OperationError
from kastra_core.execution.runs import RunHandle
from kastra_core.protocols.runner import SharedState
from kastra_plugin_workflow.plan import compile_plan
from kastra_plugin_workflow.steps import render
from workflow_checks import at, said, steps
from workflow_stage import Stage, ended, stage, step

__all__ = ["stage"]

SCOPE = "network/default/shop"
SHARED = SharedState(scope=SCOPE, ttl_s=60.0)


def put(id: str, /, **values: Any) -> JsonObject:
    """A step that writes to the shared state."""
    return step(id, operation="state.update", input={"values": values})


async def paths(stage: Stage, run: RunHandle) -> list[str]:
    return [record.path for record in await stage.store.journal.records(run.uid)]


# ---------------------------------------------------------------------------------------------- reading


class TestReading:
    async def test_templates_conditions_items_and_the_output_of_the_workflow_read_it(self, stage: Stage) -> None:
        await stage.store.state.update_values(SCOPE, {"customer": {"name": "Ada"}, "count": 4, "names": ["a", "b"]})
        spec = {
            "steps": [
                step("greet", input={"result": "Dear {{ state.customer.name }}"}),
                step(
                    "way",
                    branch={
                        "cases": [{"when": "state.count > 3 && !has(state.gone)", "next": "many"}],
                        "default": "END",
                    },
                ),
                step("many", foreach={"items": "{{ state.names }}", "steps": [step("each", set="{{ item }}!")]}),
            ],
            "output": {"greeting": "{{ steps.greet.output }}", "all": "{{ state }}"},
        }
        run = await stage.start(spec, shared=SHARED)
        state = {"customer": {"name": "Ada"}, "count": 4, "names": ["a", "b"]}
        assert await run.result() == {"greeting": "Dear Ada", "all": state}
        assert await paths(stage, run) == [
            "/greet.state#0",
            "/greet#0",
            "/way.state#0",
            "/many.state#0",
            "/output.state#0",
        ]

    async def test_it_is_an_empty_object_when_the_run_shares_none_and_nothing_is_recorded(self, stage: Stage) -> None:
        run = await stage.start([step("a", set={"all": "{{ state }}", "has": "{{ has(state.x) }}"})])
        assert await run.result() == {"all": {}, "has": False}
        assert await paths(stage, run) == []

    async def test_what_is_not_in_it_fails_the_step(self, stage: Stage) -> None:
        phase, reason, message = ended(await stage.run([step("a", set="{{ state.nothing }}")], shared=SHARED))
        assert (phase, reason) == ("Failed", "ExpressionFailed")
        assert "state" in message
        assert "nothing" in message

    async def test_a_step_sees_what_others_wrote_before_it_and_its_output_what_they_wrote_meanwhile(
        self, stage: Stage
    ) -> None:
        given = {"gate": "g", "result": "{{ state.n }}"}
        await stage.store.state.set_value(SCOPE, "n", 1)
        run = await stage.start([step("a", input=given, output="{{ result }} then {{ state.n }}")], shared=SHARED)
        await stage.entry("g").wait()
        await stage.store.state.set_value(SCOPE, "n", 2)
        stage.gate("g").set()
        assert await run.result() == "1 then 2"
        assert await paths(stage, run) == ["/a.state#0", "/a#0", "/a.state#1"]

    async def test_a_body_that_takes_no_time_reads_it_once_for_itself_and_its_output(self, stage: Stage) -> None:
        run = await stage.start([step("a", set="{{ state }}", output=["{{ result }}", "{{ state }}"])], shared=SHARED)
        assert await run.result() == [{}, {}]
        assert await paths(stage, run) == ["/a.state#0"]

    async def test_each_test_of_a_loop_and_each_step_in_it_reads_it_anew(self, stage: Stage) -> None:
        spec = {
            "steps": [
                put("begin", n=0),
                step(
                    "grow",
                    loop={
                        "while": "state.n < 3",
                        "steps": [
                            step("more", operation="state.update", input={"values": {"n": "{{ state.n + 1 }}"}}),
                        ],
                    },
                ),
            ],
            "output": "{{ state.n }}",
        }
        run = await stage.start(spec, shared=SHARED)
        assert await run.result() == 3
        found = await paths(stage, run)
        assert [path for path in found if path.startswith("/grow")] == [f"/grow.state#{n}" for n in range(4)]
        assert [path for path in found if path.startswith("/more.")] == [f"/more.state#{n}" for n in range(3)]

    async def test_a_loop_with_until_reads_it_after_each_pass(self, stage: Stage) -> None:
        more = step("more", operation="state.update", input={"values": {"n": "{{ iteration }}"}})
        run = await stage.start([step("grow", loop={"until": "state.n == 2", "steps": [more]})], shared=SHARED)
        await run.result()
        assert await stage.store.state.get_state(SCOPE) == {"n": 2}

    async def test_branches_that_run_at_once_read_it_each_for_itself(self, stage: Stage) -> None:
        branches = [
            {
                "name": name,
                "steps": [put(f"put-{name}", **{name: name}), step(f"see-{name}", set=f"{{{{ state.{name} }}}}")],
            }
            for name in "abc"
        ]
        run = await stage.start([step("fan", parallel={"branches": branches})], shared=SHARED)
        assert await run.result() == {"a": "a", "b": "b", "c": "c"}
        assert await stage.store.state.get_state(SCOPE) == {"a": "a", "b": "b", "c": "c"}

    async def test_handlers_of_failures_read_it_in_their_steps_and_their_output(self, stage: Stage) -> None:
        spec = {
            "steps": [
                step(
                    "a",
                    fail={"reason": "Broken", "message": "{{ state.why }}"},
                    onFailure={"steps": [put("note", seen="{{ error.message }}")], "output": "seen {{ state.seen }}"},
                ),
                step("b", fail={"reason": "Worse", "message": "too bad"}),
            ],
            "onFailure": [step("c", succeed=["{{ steps.a.output }}", "{{ state.seen }}"])],
        }
        await stage.store.state.set_value(SCOPE, "why", "tired")
        assert await stage.output(spec, shared=SHARED) == ["seen tired", "tired"]

    async def test_another_try_reads_it_again_for_the_body(self, stage: Stage) -> None:
        inner = [step("do", input={"key": "k", "fail": 1, "result": "{{ state.n }}"})]
        fan = step("fan", foreach={"items": "{{ state.items }}", "steps": inner}, retry={"maxAttempts": 2, "delay": 0})
        await stage.store.state.update_values(SCOPE, {"items": [1, 2], "n": 7})
        run = await stage.start([fan], shared=SHARED)
        assert await run.result() == [7, 7]
        assert [path for path in await paths(stage, run) if path.startswith("/fan.")] == [
            "/fan.state#0",
            "/fan.state#1",
        ]

    async def test_within_a_timeout_it_is_read_as_elsewhere(self, stage: Stage) -> None:
        more = step("more", operation="state.update", input={"values": {"n": "{{ iteration }}"}}, timeout="10s")
        spec = {"timeout": "1m", "steps": [step("l", loop={"until": "state.n == 1", "steps": [more]}, timeout="20s")]}
        assert (await stage.run({**spec, "output": "{{ state }}"}, shared=SHARED))["output"] == {"n": 1}

    async def test_values_that_expired_are_not_seen(self, stage: Stage) -> None:
        steps_ = [put("a", n=1), step("gate", input={"gate": "g"}), step("b", set="{{ has(state.n) }}")]
        run = await stage.start(steps_, shared=SHARED)
        await stage.entry("g").wait()
        stage.now += 61
        stage.gate("g").set()
        assert await run.result() is False

    async def test_a_store_that_cannot_be_read_fails_the_step_and_no_try_goes_on_without_its_input(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = type(stage.store.state).get_state

        async def broken(state: Any, scope: str) -> JsonObject:
            if scope != SCOPE:
                return await whole(state, scope)
            raise OperationError("no such shelf", reason="Broken")

        monkeypatch.setattr(type(stage.store.state), "get_state", broken)
        tried = step("a", input={"result": "{{ state.n }}"}, retry={"maxAttempts": 3, "delay": 0})
        phase, reason, message = ended(await stage.run([tried], shared=SHARED))
        assert (phase, reason) == ("Failed", "Broken")
        assert "the shared state cannot be read: no such shelf" in message
        assert stage.calls == []
        spec = {"steps": [step("a", set=1)], "output": "{{ state.n }}"}
        phase, reason, message = ended(await stage.run(spec, shared=SHARED))
        assert (phase, reason) == ("Failed", "Broken")
        assert message.startswith("spec.output: the shared state cannot be read")


# ---------------------------------------------------------------------------------------------- writing


class TestWriting:
    async def test_an_update_without_a_scope_goes_to_the_shared_state_with_its_ttl(self, stage: Stage) -> None:
        await stage.output([put("a", customer="Ada", n=[1])], shared=SHARED)
        assert await stage.store.state.get_state(SCOPE) == {"customer": "Ada", "n": [1]}
        stage.now += 61
        assert await stage.store.state.get_state(SCOPE) == {}

    async def test_null_removes_a_key_and_state_get_reads_some_keys(self, stage: Stage) -> None:
        found = step("found", operation="state.get", input={"keys": ["b", "c"]})
        assert await stage.output([put("a", a=1, b=2, c=3), put("z", a=None, b=None), found], shared=SHARED) == {"c": 3}
        assert await stage.output([step("all", operation="state.get")], shared=SHARED) == {"c": 3}

    async def test_a_ttl_of_the_step_holds(self, stage: Stage) -> None:
        update = step("a", operation="state.update", arguments={"values": {"n": 1}, "ttlS": 5})
        await stage.output([update], shared=SHARED)
        stage.now += 6
        assert await stage.store.state.get_state(SCOPE) == {}

    async def test_a_scope_that_is_said_is_taken_and_needs_no_shared_state(self, stage: Stage) -> None:
        update = step("a", operation="state.update", arguments={"scope": "other", "values": {"n": 1}})
        await stage.output([update])
        await stage.output([update], shared=SHARED)
        assert await stage.store.state.get_state("other") == {"n": 1}
        assert await stage.store.state.get_state(SCOPE) == {}

    @pytest.mark.parametrize("operation", ["state.update", "state.get"])
    async def test_a_run_that_shares_none_says_so(self, stage: Stage, operation: str) -> None:
        given = step("a", operation=operation, input={"values": {"n": 1}}, retry={"maxAttempts": 3, "delay": "1h"})
        phase, reason, message = ended(await stage.run([given]))
        assert (phase, reason) == ("Failed", "NoSharedState")
        assert "this run shares no state; run it as a member of a network that has spec.state" in message

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"customer": "Ada"}, "takes values: an object of keys and values"),
            ({"values": "Ada"}, "takes values: an object of keys and values"),
            ("Ada", "takes an object as its arguments, its input is string 'Ada'"),
        ],
    )
    async def test_arguments_that_are_none_are_told(self, stage: Stage, given: Any, expected: str) -> None:
        phase, reason, message = ended(
            await stage.run([step("a", operation="state.update", input=given)], shared=SHARED)
        )
        assert (phase, reason) == ("Failed", "InvalidArguments")
        assert expected in message


# ---------------------------------------------------------------------------------------------- replay and names


async def test_a_run_taken_up_again_sees_the_values_that_it_saw(stage: Stage) -> None:
    """The state changes while the run is suspended; what was read before is answered from the records."""
    await stage.store.state.set_value(SCOPE, "n", 1)
    spec = {
        "steps": [
            step("before", set="{{ state.n }}"),
            step("way", branch={"cases": [{"when": "state.n == 1", "next": "ask"}], "default": "wrong"}),
            step("wrong", fail={"reason": "Wrong", "message": "it took the other way"}),
            step("ask", suspend={"message": "Now {{ state.n }}?"}),
            step("after", set="{{ state.n }}"),
        ],
        "output": ["{{ steps.before.output }}", "{{ steps.after.output }}"],
    }
    run = await stage.start(spec, shared=SHARED)
    resource = await stage.parked(run)
    assert resource.status["awaiting"][0]["message"] == "Now 1?"
    await stage.store.state.set_value(SCOPE, "n", 2)
    runtime = stage.runtimes[-1]
    await runtime.runs.resume(run.key, "go")
    status = await runtime.runs.wait(run.key)
    assert status["output"] == [1, 2]
    assert await paths(stage, run) == ["/before.state#0", "/way.state#0", "/ask.state#0", "/ask#0", "/after.state#0"]


async def test_an_update_is_made_once_however_often_the_run_is_taken_up(stage: Stage) -> None:
    grown = {"values": {"log": "{{ (has(state.log) ? state.log : '') + 'x' }}"}}
    spec = [
        step("a", operation="state.update", input=grown),
        step("ask", suspend={"message": "?"}),
        {**step("b", operation="state.update", input=grown)},
    ]
    run = await stage.start(spec, shared=SHARED)
    await stage.parked(run)
    await stage.runtimes[-1].runs.resume(run.key, None)
    await stage.runtimes[-1].runs.wait(run.key)
    assert await stage.store.state.get_state(SCOPE) == {"log": "xx"}


async def test_children_read_and_write_the_state_of_the_run_that_called_them(stage: Stage) -> None:
    runtime = await stage.runtime()
    inner = {"steps": [put("write", from_child="{{ state.from_parent }}")]}
    await stage.apply(runtime, "Workflow", "inner", inner)
    spec = [put("a", from_parent="hello"), step("call", workflow="inner"), step("b", set="{{ state.from_child }}")]
    assert await stage.output(spec, runtime=runtime, shared=SHARED) == "hello"


async def test_runs_of_different_scopes_do_not_see_each_other(stage: Stage) -> None:
    runtime = await stage.runtime()
    spec = {
        "steps": [put("write", mine="{{ workflow.input }}"), step("read", set="{{ state }}")],
        "inputSchema": {"type": "integer"},
    }
    await stage.apply(runtime, "Workflow", "w", spec)
    runs = [
        await runtime.start_run("workflows/w", n, require_ready=False, shared=SharedState(scope=f"thread/{n}"))
        for n in range(20)
    ]
    assert await asyncio.gather(*(run.result() for run in runs)) == [{"mine": n} for n in range(20)]


async def test_a_step_and_published_data_may_be_called_state(stage: Stage) -> None:
    await stage.store.state.set_value(SCOPE, "n", 1)
    spec = {
        "steps": [
            step("state", input={"result": "{{ state.n }}"}, output={"type": "state"}),
            step("b", set=["{{ steps.state.output }}", '{{ data["state"] }}', "{{ state.n }}"]),
        ]
    }
    run = await stage.start(spec, shared=SHARED)
    assert await run.result() == [1, 1, 1]
    assert await paths(stage, run) == ["/state.state#0", "/state#0", "/b.state#0"]


async def test_a_workflow_without_it_records_what_it_recorded(stage: Stage) -> None:
    spec = [
        step("a"),
        step("fan", foreach={"items": [1, 2], "steps": [step("b", input={"x": "{{ item }}"}, output="{{ result }}")]}),
        step("l", loop={"until": "output == 1", "steps": [step("c", set=1)]}),
    ]
    run = await stage.start(spec, shared=SHARED)
    await run.result()
    assert sorted(await paths(stage, run)) == ["/a#0", "/all#0[0]/b#0", "/all#0[1]/b#0"]


def test_a_stored_foreach_whose_item_is_called_state_keeps_its_meaning() -> None:
    """Today's rules refuse the name; a workflow that was stored before goes on as it did."""
    inner = [{"id": "b", "set": "{{ state }}", "output": "{{ state.x }}"}]
    each = {"id": "a", "foreach": {"items": "{{ state }}", "as": "state", "steps": inner}}
    manifest = {
        "apiVersion": "mastra.ai/v1",
        "kind": "Workflow",
        "metadata": {"name": "w"},
        "spec": {"steps": [each, {"id": "c", "set": "{{ state }}"}]},
    }
    plan = compile_plan(Resource.from_manifest(manifest), dict.fromkeys(("foreach", "set"), render), render)
    fan, after = plan.block.steps
    [within] = fan.work.block.steps
    assert (fan.reads_state, after.reads_state) == (True, True)
    assert within.reads_state is False
    assert within.output is not None
    assert within.output.reads_state is False


# ---------------------------------------------------------------------------------------------- rules


class TestRules:
    def test_its_members_are_not_known_before_a_run(self) -> None:
        spec = """
        - {id: a, tool: t, input: "{{ state.anything[0].deep }}"}
        - {id: b, branch: [{when: 'state.count > 3 || "x" in state || has(state.y)', next: a}]}
        """
        assert said(steps(spec)) == []

    def test_it_is_an_object(self) -> None:
        spec = steps("- {id: a, foreach: {items: '{{ state }}', steps: [{id: b, set: '{{ state[0] }}'}]}}")
        assert "foreach goes through a list, this is an object" in at(spec, "spec.steps[0].foreach.items")
        assert "state is an object, no list" in at(spec, "spec.steps[0].foreach.steps[0].set")

    def test_no_item_may_take_its_name(self) -> None:
        spec = steps("- {id: a, foreach: {items: [1], as: state, steps: [{id: b, set: '{{ state }}'}]}}")
        assert "'state' means something else in expressions" in at(spec, "spec.steps[0].foreach.as")

    def test_a_dollar_before_it_is_told_where_a_field_follows(self) -> None:
        assert "is plain text here" in at(steps("- {id: a, set: 'x ${state.name}'}"), "spec.steps[0].set")
        assert said(steps("- {id: a, set: 'x ${state}'}")) == []
