"""The page on workflows in the design: what no other test of the plugin shows, in its order."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.api.meta import Resource
from kastra_core.errors import ValidationError
from kastra_plugin_workflow import runner
from kastra_plugin_workflow.plan import compile_plan
from kastra_plugin_workflow.steps_plan import Plan
from workflow_stage import Stage, ended, stage, step

__all__ = ["stage"]

TAKES_INPUT: dict[str, Any] = {"set": "{{ input }}"}
QUICK = {"delay": 0, "jitter": 0}


def takes(id: str, **fields: Any) -> dict[str, Any]:
    """A step whose output is its input."""
    return step(id, **TAKES_INPUT, **fields)


def failing(id: str, **fields: Any) -> dict[str, Any]:
    return step(id, operation="test.do", input={"fail": 99, "was": "asked"}, **fields)


def paths_of(stage: Stage) -> list[str]:
    return [event["path"] for event in stage.of_type("step_started")]


# ------------------------------------------------------------------------------------------------ input and output


async def test_the_first_step_of_each_block_gets_the_input_of_the_block(stage: Stage) -> None:
    steps = [
        takes("top"),
        step("side", parallel=[takes("p")], input="of parallel"),
        step("ways", branch=[{"when": "true", "steps": [takes("c")]}], input="of branch"),
        step("each", foreach={"items": ["item 0", "item 1"], "steps": [takes("i")]}),
        step("again", loop={"until": "iteration == 1", "steps": [takes("l"), step("m", set="{{ input }}+")]}, input=""),
        failing("bad", onFailure={"steps": [takes("h")]}),
    ]
    output = "{{ [steps.top.output, steps.side.output.p, steps.ways.output, steps.each.output, steps.again.output] }}"
    assert await stage.output({"steps": steps, "output": output}, "of workflow") == [
        "of workflow",
        "of parallel",
        "of branch",
        ["item 0", "item 1"],
        "++",
    ]
    handler = next(event for event in stage.of_type("step_started") if event["step"] == "h")
    assert handler["input"] == {"fail": 99, "was": "asked"}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"value": "{{ result }}"}, {"value": 1}),
        ({"description": "x"}, {"description": "x"}),
        ({"type": "x", "other": 2}, {"type": "x", "other": 2}),
        ({"type": "x", "description": "what it is"}, 1),
        ({"schema": {"type": "integer"}, "value": "{{ result + 1 }}"}, 2),
    ],
)
async def test_what_of_output_is_a_form_and_what_a_template(stage: Stage, form: Any, expected: Any) -> None:
    assert await stage.output([step("a", set=1, output=form)]) == expected


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"description": "Say hello", "name": "Greeting"}, "Say hello"),
        ({"name": "Greeting"}, "Greeting"),
        ({}, "greet"),
    ],
)
async def test_an_agent_with_null_input_is_asked_the_description_else_the_name_else_the_id(
    stage: Stage, fields: dict[str, Any], asked: str
) -> None:
    runtime = await stage.runtime()
    await stage.apply(runtime, "Agent", "helper", {"instructions": "Help.", "model": "fake/x"})
    await stage.output([step("greet", agent="helper", **fields)], runtime=runtime)
    started = stage.of_type("step_started")
    assert [event["input"] for event in started] == [asked]


async def test_a_workflow_with_null_input_gets_null(stage: Stage) -> None:
    runtime = await stage.runtime()
    await stage.apply(runtime, "Workflow", "inner", {"steps": [step("x", set="{{ workflow.input == null }}")]})
    assert await stage.output([step("a", workflow="inner", description="words")], runtime=runtime) is True


@pytest.mark.parametrize("given", [None, {}, {"b": 2}])
async def test_defaults_of_the_input_schema_are_filled_in(stage: Stage, given: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "default": 5}, "b": {}}, "required": ["a"]}
    spec = {"steps": [step("x", set="{{ workflow.input }}")], "inputSchema": schema}
    assert await stage.output(spec, given) == {"a": 5, **(given or {})}


# ------------------------------------------------------------------------------------------------ expressions


async def test_a_steps_input_is_not_in_sight_in_itself(stage: Stage) -> None:
    with pytest.raises(ValidationError, match=r"spec\.steps\[0\]\.input: 'input' is not known here"):
        await stage.run([step("a", input="{{ input }}")])


async def test_names_in_the_conditions_of_a_loop(stage: Stage) -> None:
    counting = [step("x", set="{{ input + 1 }}")]
    until = {"until": "iteration == 2 && output == 13 && input == 10", "steps": counting}
    assert await stage.output([step("l", loop=until, input=10)]) == 13
    while_ = {"while": "iteration < 1 ? output == 10 : output < 12", "steps": counting}
    assert await stage.output([step("l", loop=while_, input=10)]) == 12


async def test_what_an_item_publishes_is_in_sight_of_no_other_item_and_then_of_the_steps_after(stage: Stage) -> None:
    inner = [step("seen", set="{{ 'x' in data }}"), takes("p", output={"type": "x", "value": "{{ index }}"})]
    inner.append(step("back", set="{{ [steps.seen.output, data.x] }}"))
    steps = [step("each", foreach={"items": [1, 2], "steps": inner}), step("end", set="{{ [input, data.x] }}")]
    assert await stage.output(steps) == [[[False, 0], [False, 1]], 1]


async def test_what_a_pass_publishes_is_in_sight_of_the_next_pass(stage: Stage) -> None:
    seen = step("seen", set="{{ 'x' in data ? data.x : 'none' }}")
    body = [step("keep", set="{{ iteration }}"), seen, step("p", set="{{ iteration }}", output={"type": "x"})]
    body.append(step("end", set="{{ steps.seen.output }}"))
    assert await stage.output([step("l", loop={"until": "iteration == 1", "steps": body})]) == 0


# ------------------------------------------------------------------------------------------------ failure


async def test_a_step_that_failed_publishes_nothing_of_its_body_and_its_handler_publishes_unchecked(
    stage: Stage,
) -> None:
    taken = [step("x", set=1, output={"type": "inner"}), failing("y")]
    handled = {"output": "no number"}
    steps = [
        step("l", loop={"until": "true", "steps": taken}, onFailure=handled, output={"type": "outer", "schema": {}}),
        step("end", set="{{ ['inner' in data, data.outer] }}"),
    ]
    assert await stage.output(steps) == [False, "no number"]
    steps[0]["output"] = {"type": "outer", "schema": {"type": "object"}, "value": {"shaped": "{{ result }}"}}
    assert await stage.output(steps) == [False, "no number"]


async def test_a_handled_foreach_that_skips_has_no_errors(stage: Stage) -> None:
    each = {"items": "{{ workflow.input }}", "onError": "skip", "steps": [takes("i")]}
    steps = [step("each", foreach=each, onFailure={"output": []}), step("end", set="{{ steps.each.errors }}")]
    assert await stage.output(steps, "no list") == []


async def test_the_handler_of_the_workflow_gets_its_input_and_spec_timeout_does_not_bound_it(stage: Stage) -> None:
    spec = {
        "steps": [step("a", set=1), step("b", input={"gate": "never"})],
        "timeout": "50ms",
        "onFailure": [
            step("first", set="{{ [input, has(steps.a), size(data), error.step, error.reason] }}"),
            step("wait", sleep="150ms"),
            step("end", succeed="{{ steps.first.output }}"),
        ],
    }
    assert await stage.output(spec, "given") == ["given", False, 0, "", "Timeout"]


async def test_the_handler_of_the_workflow_sees_the_steps_and_data_of_the_top_block(stage: Stage) -> None:
    spec = {
        "steps": [step("a", set=1, output={"type": "x"}), step("b", parallel=[failing("c")])],
        "onFailure": [step("end", succeed="{{ [steps.a.output, data.x, error.step, has(steps.c)] }}")],
    }
    assert await stage.output(spec) == [1, 1, "c", False]


async def test_what_succeed_gives_must_fit_the_output_schema_and_is_handled_like_any_failure(stage: Stage) -> None:
    spec: dict[str, Any] = {
        "steps": [step("a", succeed="{{ workflow.input }}")],
        "output": "never applied",
        "outputSchema": {"type": "string"},
    }
    assert await stage.output(spec, "fits") == "fits"
    assert ended(await stage.run(spec, 1))[:2] == ("Failed", "InvalidOutput")
    spec["onFailure"] = [step("h", succeed="{{ workflow.input == 1 ? error.reason : 2 }}")]
    assert await stage.output(spec, 1) == "InvalidOutput"
    phase, reason, message = ended(
        await stage.run({**spec, "onFailure": [step("h", succeed="{{ workflow.input }}")]}, 2)
    )
    assert (phase, reason) == ("Failed", "InvalidOutput")
    assert "spec.outputSchema" in message


async def test_a_message_as_long_as_a_book_is_cut_in_the_status_only(stage: Stage) -> None:
    spec: dict[str, Any] = {"steps": [step("a", fail={"message": "{{ workflow.input }}", "reason": "Long"})]}
    _, reason, message = ended(await stage.run(spec, "x" * 100_000))
    assert (reason, message[:9], message[-1]) == ("Long", "step a: x", "…")
    assert len(message) == 4096
    spec["onFailure"] = [step("h", succeed="{{ size(error.message) }}")]
    assert await stage.output(spec, "x" * 100_000) == 100_000


# ------------------------------------------------------------------------------------------------ journal and events


async def test_the_paths_of_events(stage: Stage) -> None:
    late = {"when": "iteration == 1", "next": "END"}
    steps = [
        step("load", operation="test.do", input={"fail": 1}, onFailure={"steps": [step("h", set=1)]}),
        step("fan", parallel=[{"name": "a b", "steps": [step("one", set=1)]}]),
        step("each", foreach={"items": [7], "steps": [step("two", set=1)]}),
        step("route", branch=[{"when": "true", "name": "yes", "steps": [step("three", set=1)]}]),
        step("other", branch={"cases": [{"when": "false", "next": "END"}], "default": {"steps": [step("d", set=1)]}}),
        step("l", loop={"until": "iteration == 1", "steps": [step("four", set=1), step("r", branch=[late])]}),
        step("count", set="{{ 'n' in data ? data.n + 1 : 0 }}", output={"type": "n"}),
        step("back", branch=[{"when": "data.n < 1", "next": "count"}]),
        step(
            "twice",
            parallel=[step("five", operation="test.do", input={"fail": 1})],
            retry={"maxAttempts": 2, **QUICK},
            onFailure={"steps": [step("six", set=1)]},
        ),
        step("end", fail="over"),
    ]
    await stage.run({"steps": steps, "onFailure": [step("last", set=1)]})
    assert paths_of(stage) == [
        *("load", "load.onFailure/h"),
        *("fan", "fan[a b]/one"),
        *("each", "each[0]/two"),
        *("route", "route[yes]/three"),
        *("other", "other[default]/d"),
        *("l", "l[0]/four", "l[0]/r", "l[1]/four", "l[1]/r"),
        *("count", "back", "count#1", "back#1"),
        *("twice", "twice[five]/five", "twice", "twice@2[five]/five", "twice.onFailure/six"),
        *("end", "onFailure/last"),
    ]


async def test_a_branch_named_like_a_word_of_ours_is_a_branch(stage: Stage) -> None:
    names = ("onFailure", "default")
    fan = [{"name": name, "steps": [step(f"p{index}", set=1)]} for index, name in enumerate(names)]
    route = [{"name": "default", "when": "true", "steps": [step("c", set=1)]}]
    every = {"mode": "all", "cases": [{"name": "onFailure", "when": "true", "steps": [step("e", set=1)]}]}
    await stage.output([step("fan", parallel=fan), step("route", branch=route), step("every", branch=every)])
    told = {event["path"]: event["why"] for event in stage.of_type("step_started") if "/" in event["path"]}
    assert told == {
        "fan[onFailure]/p0": "branch onFailure of fan begins with it",
        "fan[default]/p1": "branch default of fan begins with it",
        "route[default]/c": "case default of route is true and begins with it",
        "every[onFailure]/e": "case onFailure of every is true and begins with it",
    }


async def test_the_default_of_a_branch_in_mode_all_is_told_as_such(stage: Stage) -> None:
    inner = [step("d", set=1)]
    every = {"mode": "all", "cases": [{"when": "false", "steps": [step("e", set=1)]}], "default": {"steps": inner}}
    assert await stage.output([step("every", branch=every)]) == {"default": 1}
    assert stage.of_type("step_started")[-1]["why"] == "no case of every is true, and its default begins with it"


async def test_tries_are_recorded_under_the_steps_id_and_those_of_a_block_under_its_group(stage: Stage) -> None:
    steps = [
        step("fan", parallel=[{"name": "a", "steps": [step("load", input={"fail": 1}, retry=QUICK)]}]),
        step("slow", timeout="1m"),
        step("load2"),
    ]
    await stage.output(steps)
    assert stage.paths() == ["/all#0[a]/load#0", "/all#0[a]/load#1", "/slow.within#0/slow#0", "/load2#0"]


async def test_a_plan_is_made_once_however_often_the_run_wakes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(target: Resource, *rest: Any) -> Plan:
        made.append(target.metadata.name)
        return compile_plan(target, *rest)

    monkeypatch.setattr(runner, "compile_plan", counted)
    body = [step("ask", suspend={"message": "go on?"}), step("x", set=1)]
    run = await stage.start([step("l", loop={"until": "iteration == 2", "steps": body})])
    for _ in range(3):
        await stage.parked(run)
        await stage.runtimes[-1].runs.resume(run.key, True)
    assert await run.result() == 1
    assert made == ["w"]
