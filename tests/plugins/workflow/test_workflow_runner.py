"""The runner: steps that follow each other, their input, output and data, and the bodies without blocks."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.errors import RunFailedError
from kastra_plugin_workflow.runner import WorkflowRunner
from workflow_stage import Stage, ended, stage, step

__all__ = ["stage"]


async def test_each_step_gets_the_output_of_the_one_before_and_the_first_the_workflows_input(stage: Stage) -> None:
    steps = [step("a"), step("b", set={"b": "{{ input }}"}), step("c", set=["{{ input.b.x }}", "{{ steps.a.output }}"])]
    assert await stage.output(steps, {"x": 1}) == [1, {"x": 1}]
    assert stage.calls == [("/a#0", {"x": 1})]


async def test_next_initial_step_and_end_say_what_follows(stage: Stage) -> None:
    steps = [
        step("a", set="{{ input + 'a' }}", next="END"),
        step("b", set="{{ input + 'b' }}", next="d"),
        step("d", set="{{ input + 'd' }}", next="a"),
    ]
    assert await stage.output({"steps": steps, "initialStep": "b"}, "") == "bda"


async def test_the_output_is_that_of_the_last_step_or_what_spec_output_says(stage: Stage) -> None:
    steps = [step("a", set=1), step("b", set=2)]
    assert await stage.output(steps) == 2
    output = {
        "a": "{{ steps.a.output }}",
        "text": "{{ steps.a.output }}/{{ workflow.name }}",
        "n": "{{ workflow.input }}",
    }
    assert await stage.output({"steps": steps, "output": output}) == {"a": 1, "text": "1/w", "n": None}


async def test_workflow_is_the_run_in_expressions(stage: Stage) -> None:
    run = await stage.start([step("a", set="{{ workflow }}")], 5)
    assert await run.result() == {"input": 5, "name": "w", "namespace": "default", "run": run.uid}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "user-input"}, "asked"),
        ({"from": "user-input", "description": "what was asked"}, "asked"),
        ({"from": "list"}, [1, 2]),
        ({"type": "list"}, [1, 2]),
        ({"type": "anything"}, "before"),
        ({"type": "user-input", "from": "list"}, [1, 2]),
        ({"type": "list", "more": True}, {"type": "list", "more": True}),
        ({"description": "x"}, {"description": "x"}),
        ({}, {}),
        (None, None),
        ("{{ steps.before.output }}!", "before!"),
    ],
)
async def test_the_forms_of_input(stage: Stage, given: Any, expected: Any) -> None:
    steps = [
        step("publish", set=[1, 2], output={"type": "list"}),
        step("before", set="before"),
        step("a", set="{{ input }}", input=given),
    ]
    assert await stage.output({"steps": steps, "output": {"got": "{{ steps.a.output }}"}}, "asked") == {"got": expected}


async def test_arguments_are_a_template_whatever_their_keys(stage: Stage) -> None:
    steps = [step("a", arguments={"type": "user-input", "n": "{{ workflow.input }}"})]
    assert await stage.output(steps, 3) == {"type": "user-input", "n": 3}


async def test_output_reshapes_the_result_and_publishes_it(stage: Stage) -> None:
    steps = [
        step(
            "a",
            set={"n": 4},
            output={"type": "number", "value": "{{ result.n + input }}", "schema": {"type": "integer"}},
        ),
        step("b", set=0, output="{{ data['number'] }} of {{ result }}"),
        step("c", set={"type": "x"}, output={"description": "a template, as it has neither type nor schema"}),
        step("d", set=[], output={"type": "last", "value": ["{{ steps.b.output }}", "{{ data.number }}"]}),
    ]
    assert await stage.output({"steps": steps, "output": "{{ data.last }}"}, 1) == ["5 of 0", 5]


async def test_an_output_that_does_not_fit_its_schema_fails_the_step(stage: Stage) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    steps = [step("a", output={"schema": schema}, retry={"maxAttempts": 5})]
    phase, reason, message = ended(await stage.run(steps, {"n": "x"}))
    assert (phase, reason) == ("Failed", "InvalidOutput")
    assert message.startswith("step a: the output does not fit output.schema: ")
    assert [event["attempt"] for event in stage.of_type("step_started")] == [1]


async def test_the_last_publication_wins(stage: Stage) -> None:
    steps = [step(name, set=name, output={"type": "data"}) for name in "abc"]
    assert await stage.output({"steps": steps, "output": "{{ data.data }}"}) == "c"


async def test_data_that_nobody_published_so_far_fail_the_step_that_wants_them(stage: Stage) -> None:
    steps = [
        step("a", branch=[{"when": "true", "next": "c"}]),
        step("b", set=1, output={"type": "list"}),
        step("c", input={"from": "list"}),
    ]
    _, reason, message = ended(await stage.run(steps))
    assert reason == "ExpressionFailed"
    assert message == "step c: no step has published 'list' so far; published: nothing"


async def test_the_older_spelling_of_steps(stage: Stage) -> None:
    steps = [step("load-data", set={"total": 3}), step("b", set="{{ step.load-data.result.total }}")]
    assert await stage.output(steps) == 3


async def test_input_and_output_schemas_of_the_workflow(stage: Stage) -> None:
    spec = {
        "steps": [step("a", set="{{ workflow.input }}")],
        "inputSchema": {
            "type": "object",
            "properties": {"n": {"type": "integer", "default": 7}, "m": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
        "outputSchema": {"properties": {"m": {"const": 1}}},
    }
    assert await stage.output(spec) == {"n": 7}
    assert await stage.output(spec, {"m": 1}) == {"m": 1, "n": 7}
    assert await stage.output(spec, {"n": 2}) == {"n": 2}
    phase, reason, message = ended(await stage.run(spec, {"n": "x"}))
    assert (phase, reason) == ("Failed", "InvalidInput")
    assert message.startswith("the input does not fit spec.inputSchema: ")
    phase, reason, message = ended(await stage.run(spec, {"m": 2}))
    assert (phase, reason) == ("Failed", "InvalidOutput")
    assert message.startswith("the output does not fit spec.outputSchema: ")


async def test_the_input_of_an_operation_is_its_arguments(stage: Stage) -> None:
    assert await stage.output([step("a")]) == {}
    phase, reason, message = ended(await stage.run([step("a")], "text"))
    assert (phase, reason) == ("Failed", "InvalidArguments")
    assert message == "step a: operation test.do takes an object as its arguments, its input is string 'text'"
    _, reason, _ = ended(await stage.run([step("a", operation="test.nothing")], {}))
    assert reason == "UnknownOperation"


async def test_a_tool_gets_an_object_as_arguments_and_all_else_as_its_input(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.apply(runtime, "Tool", "finder", {"idempotent": False})
    steps = [step("a", tool="finder"), step("b", tool={"name": "finder"}, input="{{ steps.a.output.got.x }}")]
    assert await stage.output(steps, {"x": "y"}, runtime=runtime) == {"from": "finder", "got": "y"}
    tool = {"namespace": "default", "name": "finder"}
    assert stage.tools == [
        {"path": "/a#0", "tool": tool, "arguments": {"x": "y"}},
        {"path": "/b#0", "tool": tool, "input": "y"},
    ]
    records = await runtime.store.journal.records((await _only_run(runtime)).metadata.uid)
    assert {record.path for record in records} == {"/a#0!", "/a#0", "/b#0!", "/b#0"}, "it is not repeated"


async def _only_run(runtime: Any) -> Any:
    kind = runtime.registry.get("mastra.ai", "Run")
    [run] = (await runtime.client.list(kind, namespace="default")).items
    return run


async def test_a_tool_that_is_not_there_fails_the_step(stage: Stage) -> None:
    status = await stage.run([step("a", tool="nothing")])
    assert ended(status) == ("Failed", "NotFound", "step a: Tool default/nothing was not there when the run started")


async def test_agents_and_workflows_are_child_runs(stage: Stage) -> None:
    runtime = await stage.runtime()
    stage.model.answers = ["soup", "stew", "bread"]
    await stage.apply(runtime, "Agent", "cook", {"instructions": "Cook.", "model": "fake/m"})
    await stage.apply(runtime, "Workflow", "sub", {"steps": [step("x", set={"sub": "{{ workflow.input }}"})]})
    steps = [
        step("a", agent="cook", input="What?"),
        step("b", agent="cook", input=None, description="Cook something."),
        step("c", agent="cook", input=None),
        step("d", workflow="sub"),
        step("e", workflow={"name": "sub"}, input=None),
    ]
    output = {name: f"{{{{ steps.{name}.output }}}}" for name in "abcde"}
    assert await stage.output({"steps": steps, "output": output}, runtime=runtime) == {
        "a": "soup",
        "b": "stew",
        "c": "bread",
        "d": {"sub": "bread"},
        "e": {"sub": None},
    }
    assert [request.messages[-1].text for request in stage.model.requests] == ["What?", "Cook something.", "c"]


async def test_a_child_run_that_fails_fails_the_step(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.apply(runtime, "Workflow", "sub", {"steps": [step("x", fail={"message": "no", "reason": "Refused"})]})
    status = await stage.run([step("a", workflow="sub")], runtime=runtime)
    assert ended(status) == ("Failed", "Refused", "step a: Workflow default/sub: step x: no")


async def test_succeed_ends_the_workflow_with_its_value(stage: Stage) -> None:
    spec = {
        "steps": [step("a", set=1), step("b", succeed={"n": "{{ input + 1 }}"})],
        "output": {"never": 0},
        "outputSchema": {"type": "object"},
    }
    assert await stage.output(spec) == {"n": 2}
    assert stage.of_type("step_finished")[-1]["output"] == {"n": 2}
    assert await stage.output([step("b", succeed=None)]) is None
    status = await stage.run({**spec, "steps": [step("b", succeed="{{ workflow.input }}")]}, 5)
    assert ended(status)[1] == "InvalidOutput"


async def test_fail_fails_with_its_reason_and_is_never_tried_again(stage: Stage) -> None:
    steps = [step("a", fail={"reason": "TooMuch", "message": "{{ workflow.input }} is too much"})]
    assert ended(await stage.run(steps, 5)) == ("Failed", "TooMuch", "step a: 5 is too much")
    assert ended(await stage.run([step("a", fail="no")])) == ("Failed", "Failed", "step a: no")
    assert [event["attempts"] for event in stage.of_type("step_finished")] == [1]


@pytest.mark.parametrize("template", ["{{ steps.a.output[2] }}", "{{ 1 / 0 }}", "{{ workflow.name + workflow.input }}"])
async def test_an_expression_without_a_value_fails_its_step_and_is_not_tried_again(stage: Stage, template: str) -> None:
    steps = [step("a", set="{{ [1] }}"), step("b", input=template, retry={"delay": 0})]
    phase, reason, message = ended(await stage.run({"steps": steps, "retry": {"maxAttempts": 4}}))
    assert (phase, reason) == ("Failed", "ExpressionFailed")
    assert message.startswith("step b: ")
    assert [event["attempt"] for event in stage.of_type("step_started")] == [1, 1]


async def test_an_output_template_of_the_workflow_without_a_value_fails_the_run(stage: Stage) -> None:
    spec = {"steps": [step("a")], "output": "{{ steps.a.output.x }}"}
    phase, reason, message = ended(await stage.run(spec, {}))
    assert (phase, reason) == ("Failed", "ExpressionFailed")
    assert message.startswith("spec.output: ")


async def test_max_steps_ends_a_loop_by_hand_and_no_handler_runs(stage: Stage) -> None:
    spec = {
        "steps": [
            step("a", foreach={"items": [], "steps": [step("x")]}, onFailure="b"),
            step("b", branch=[{"when": "true", "next": "a"}]),
        ],
        "onFailure": [step("h")],
        "limits": {"maxSteps": 25},
    }
    phase, reason, message = ended(await stage.run(spec, listen=False))
    assert (phase, reason) == ("Failed", "LimitExceeded")
    assert "maxSteps=25" in message
    assert stage.calls == []


async def test_a_workflow_may_take_ten_thousand_steps_unless_it_says_otherwise(stage: Stage) -> None:
    steps = [step("a", set="{{ input + 1 }}"), step("b", branch=[{"when": "input < 6000", "next": "a"}])]
    assert ended(await stage.run(steps, 0, listen=False))[1] == "LimitExceeded"
    assert await stage.output({"steps": steps, "limits": {"maxSteps": 12_000}}, 0, listen=False) == 6000


async def test_a_stored_spec_that_cannot_be_run_any_more_fails_the_run(stage: Stage) -> None:
    for steps in ([step("a", set="{{ nothing }}")], [step("a", set=1, next="z")], [{"id": "a"}], [{"id": 5}]):
        target = Resource(
            api_version="mastra.ai/v1", kind="Workflow", metadata=ObjectMeta(name="w"), spec={"steps": steps}
        )
        with pytest.raises(RunFailedError) as caught:
            await WorkflowRunner().run(None, target, None)  # type: ignore[arg-type]
        assert caught.value.reason == "InvalidSpec"
        assert "spec.steps[0]" in str(caught.value)


async def test_blocks_that_are_nested_too_deeply_fail_the_run(stage: Stage) -> None:
    deepest = 400
    inner = step("x", set=1)
    for level in range(deepest):
        inner = step(f"l{level}", loop={"until": "true", "steps": [inner]})
    target = Resource(
        api_version="mastra.ai/v1", kind="Workflow", metadata=ObjectMeta(name="w"), spec={"steps": [inner]}
    )
    with pytest.raises(RunFailedError) as caught:
        await WorkflowRunner().run(None, target, None)  # type: ignore[arg-type]
    assert caught.value.reason == "InvalidSpec"
