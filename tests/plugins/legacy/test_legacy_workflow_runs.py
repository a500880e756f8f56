"""Migrated workflows carried out on the store in memory, with an agent that gives back what it is asked."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from kastra_core.migration import MemorySource, read_text
from kastra_plugin_legacy.migrator import LegacyMigrator
from workflow_stage import Stage, ended, stage

__all__ = ["stage"]


@pytest.fixture
def run(stage: Stage) -> Any:
    """Migrate a workflow, apply it with its agents and tools, and run it. Agents answer ``<question>``."""
    stage.model.default = lambda request: f"<{request.messages[-1].text}>"

    async def go(spec: str, input: Any = None) -> dict[str, Any]:
        text = "apiVersion: mastra/v1\nkind: Workflow\nmetadata: {name: w}\nspec:\n"
        documents = read_text(text + textwrap.indent(textwrap.dedent(spec), "  "), "w.yaml")
        resources = LegacyMigrator().migrate(MemorySource(documents)).resources
        runtime = await stage.runtime()
        model = {"provider": "fake", "name": "m"}
        for agent in ("x", "y"):
            await stage.apply(runtime, "Agent", agent, {"instructions": "Echo.", "model": model})
        for resource in resources:
            if resource["kind"] == "Agent":
                await stage.apply(runtime, "Agent", resource["metadata"]["name"], {**resource["spec"], "model": model})
            if resource["kind"] == "Tool":
                await stage.apply(runtime, "Tool", resource["metadata"]["name"], resource["spec"])
        for tool in ("clock", "calc"):
            await stage.apply(runtime, "Tool", tool, {})
        (workflow,) = [one for one in resources if one["kind"] == "Workflow"]
        return await stage.run(workflow["spec"], input, runtime=runtime)

    return go


async def test_steps_follow_each_other_and_know_each_others_answers(run: Any) -> None:
    status = await run(
        """\
        initialStep: a
        steps:
          - {id: a, agent: x, input: {message: "Hi {{ workflow.input.name }}"}, next: b-2}
          - {id: b-2, agent: y, input: {data: "${steps.a.output}", n: 1}, next: c}
          - {id: c, agent: x, input: "{{ step.b-2.result }} and ${steps['a'].output}", next: END}
        """,
        {"name": "Ann"},
    )
    assert ended(status)[0] == "Succeeded", status
    assert status["output"] == '<<{"data":"<Hi Ann>","n":1}> and <Hi Ann>>'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"city": "Ulm"}, {"city": "Ulm", "more": False, "answer": '<{"city":"Ulm","more":false}>'}),
        ({"city": "Ulm", "more": True}, {"city": "Ulm", "more": True, "answer": '<{"city":"Ulm","more":true}>'}),
        ({"city": ""}, {"from": "sorry", "got": {}}),
    ],
)
async def test_a_map_of_steps_takes_the_way_that_its_condition_says(run: Any, given: Any, expected: Any) -> None:
    status = await run(
        """\
        input: {type: object, properties: {city: {type: string}, more: {type: boolean}}, required: [city]}
        steps:
          check: {type: condition, condition: "!!input.city", onTrue: ask, onFalse: sorry}
          sorry: {type: function, function: "return { error: true }", next: end}
          ask: {type: agent, agentId: x, input: {city: "{{input.city}}", more: "{{input.more || false}}"}, next: sum}
          sum: {type: output, value: {city: "{{input.city}}", more: "{{input.more || false}}", answer: "${ask}"}}
        """,
        given,
    )
    assert status["output"] == expected


async def test_independent_steps_run_at_once_and_what_waits_for_them_has_their_outputs(run: Any, stage: Stage) -> None:
    status = await run(
        """\
        inputs: [{name: city, type: string, required: true}]
        outputs:
          - {name: plan, type: object, source: steps.plan.outputs.plan}
          - {name: sky, source: steps.weather.outputs.sky.from}
        steps:
          - {name: sights, type: agent, config: {agent: x, inputs: [{name: city, source: workflow.inputs.city}]}}
          - name: weather
            type: tool
            config: {tool: clock, inputs: [{name: city, source: workflow.inputs.city}], outputs: [{name: sky}]}
          - name: detail
            type: agent
            dependsOn: sights
            config: {agent: y, inputs: [{name: s, source: steps.sights.output}]}
          - name: plan
            type: agent
            dependsOn: [detail, weather]
            config:
              systemPrompt: Plan it.
              inputs: [{name: s, source: steps.sights.output}, {name: d, source: steps.detail.output}]
              outputs: [{name: plan, type: object}]
        """,
        {"city": "Ulm"},
    )
    assert ended(status)[0] == "Succeeded", status
    assert status["output"] == {"plan": "<s: <city: Ulm>\nd: <s: <city: Ulm>>>", "sky": "clock"}
    assert stage.tools[0]["arguments"] == {"city": "Ulm"}


@pytest.mark.parametrize(("vip", "answer"), [(True, "<<one>>"), (None, "<<two>>")])
async def test_a_variable_is_what_the_step_that_ran_set(run: Any, vip: Any, answer: str) -> None:
    status = await run(
        """\
        steps:
          - {id: a, type: condition, condition: input.vip, onTrue: b, onFalse: c}
          - {id: b, agent: x, input: one, output: {said: text}, next: d}
          - {id: c, agent: x, input: two, output: {said: text}, next: d}
          - {id: d, agent: x, input: "${said}"}
        """,
        {} if vip is None else {"vip": vip},
    )
    assert status["output"] == answer


async def test_a_fork_joins_and_a_function_gets_what_its_code_takes(run: Any, stage: Stage) -> None:
    status = await run(
        """\
        steps:
          - {id: a, agent: x, input: go, next: [b, c]}
          - {id: b, agent: x, input: "b {{a}}", next: d}
          - {id: c, agent: x, input: "c", next: c2}
          - {id: c2, agent: x, next: d}
          - {id: d, type: function, function: "(input, ctx) => ctx.b + ctx.steps.c.output + ctx.c2 + input.k"}
        """,
        {"k": 5},
    )
    assert status["output"]["got"] == {"b": "<b <go>>", "c": "<c>", "c2": "<<c>>", "k": 5}


@pytest.mark.parametrize(("answer", "last"), [("the tech desk", "tech"), ("sales!", "sales"), ("?", "rest")])
async def test_a_choice_goes_by_the_answer(run: Any, stage: Stage, answer: str, last: str) -> None:
    stage.model.answers = [answer]
    status = await run(
        """\
        steps:
          - {id: route, agent: x, input: where, next: 'BRANCH["tech", "sales", "rest"]'}
          - {id: tech, agent: x, input: tech, next: end}
          - {id: sales, agent: x, input: sales, next: end}
          - {id: rest, agent: x, input: rest}
        """
    )
    assert status["output"] == f"<{last}>"


async def test_conditional_parts_of_a_prompt_are_there_or_not(run: Any) -> None:
    spec = """\
        input: {city: {type: string, required: true}, more: {type: boolean, default: false}}
        steps:
          - id: a
            agent: x
            input: |
              About {{input.city}}.
              {{#if input.more}}
              Tell more about {{input.city}}.
              {{/if}}
              End.
        """
    assert (await run(spec, {"city": "Ulm"}))["output"] == "<About Ulm.\nEnd.\n>"
    assert (await run(spec, {"city": "Ulm", "more": True}))["output"] == "<About Ulm.\nTell more about Ulm.\nEnd.\n>"


async def test_descriptive_inputs_hand_the_data_on(run: Any) -> None:
    status = await run(
        """\
        initialStep: a
        steps:
          - {id: a, agent: x, input: {type: user-input, description: Say}, output: {type: list}, next: b}
          - {id: b, agent: x, input: {type: step-input, from: a, description: It}}
        """,
        "eggs",
    )
    assert status["output"] == "<<eggs>>"


async def test_a_loop_by_next_ends_by_its_condition(run: Any, stage: Stage) -> None:
    stage.model.answers = ["no", "no", "yes"]
    status = await run(
        """\
        steps:
          - {id: ask, agent: x, input: ready?, next: ok}
          - {id: ok, type: condition, condition: "ask === 'yes'", onTrue: done, onFalse: ask}
          - {id: done, type: output, value: "${ask}"}
        """
    )
    assert status["output"] == "yes"
    assert len(stage.model.requests) == 3
