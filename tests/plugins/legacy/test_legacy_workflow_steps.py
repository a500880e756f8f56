"""Each dialect and each field of older workflows: exactly what it becomes, and what is said of the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Workflow = Callable[[str], tuple[Any, Any]]
HEAD = "apiVersion: mastra/v1\nkind: Workflow\nmetadata: {name: flow}\nspec:\n"


@pytest.fixture
def workflow(migrate: Any) -> Workflow:
    """The spec of the Workflow that the YAML of an older one becomes, and all of the result."""

    def run(spec: str) -> tuple[Any, Any]:
        migrated = migrate(HEAD + textwrap.indent(textwrap.dedent(spec), "  "))
        return migrated.spec("Workflow", "flow"), migrated

    return run


@pytest.fixture
def refused(problems: Any) -> Callable[[str], str]:
    def run(spec: str) -> str:
        found = problems(HEAD + textwrap.indent(textwrap.dedent(spec), "  "))
        assert all(one.line for one in found)
        return "\n".join(str(one) for one in found)

    return run


# ------------------------------------------------------------------------------------------------ dialects


def test_a_list_by_id_with_next(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        id: flow
        name: Flow
        initialStep: b
        steps:
          - {id: a, name: A, agent: x, next: END}
          - {id: b, name: B, agent: x, input: {message: "Go {{ workflow.input.city }}"}, next: c}
          - {id: c, agentId: x, input: {q: $b}, next: a}
        """)
    assert spec == {
        "name": "Flow",
        "inputSchema": {"type": "object", "properties": {"city": {}}, "required": ["city"]},
        "initialStep": "b",
        "steps": [
            {"id": "a", "name": "A", "agent": "x", "next": "END"},
            {"id": "b", "name": "B", "agent": "x", "input": "Go {{ workflow.input.city }}"},
            {"id": "c", "agent": "x", "input": {"q": "{{ steps.b.output }}"}, "next": "a"},
        ],
    }
    assert migrated.row("spec.id").outcome == "dropped"
    assert migrated.row("spec.steps[1].input.message").target == "Workflow default/flow spec.steps[1].input"


def test_a_list_by_name_that_waits_becomes_ordered_with_parallel(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        inputs: [{name: city, type: string, required: true}, {name: days, type: int, defaultValue: 3}]
        outputs: [{name: plan, type: object, description: The plan, source: steps.plan.outputs.plan}]
        maxRuntime: 300
        timeout: 600
        retryPolicy: {maxRetries: 1, retryInterval: 60}
        steps:
          - {name: sights, type: agent, config: {agent: x, inputs: [{name: city, source: workflow.inputs.city}]}}
          - name: weather
            type: tool
            config:
              tool: clock
              inputs: [{name: city, source: workflow.inputs.city}]
              outputs: [{name: sky, type: string}]
          - name: plan
            type: agent
            dependsOn: [sights, weather]
            config:
              agent: x
              systemPrompt: Plan it.
              inputs: [{name: sky, source: steps.weather.outputs.sky}, {name: days, source: workflow.inputs.days}]
              outputs: [{name: plan, type: object}]
        """)
    assert spec == {
        "inputSchema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 3}},
            "required": ["city"],
        },
        "steps": [
            {
                "id": "parallel",
                "parallel": [
                    {"id": "sights", "agent": "x", "input": "city: {{ workflow.input.city }}"},
                    {
                        "id": "weather",
                        "tool": "clock",
                        "arguments": {"city": "{{ workflow.input.city }}"},
                        "output": {"sky": "{{ result }}"},
                    },
                ],
            },
            {
                "id": "plan",
                "agent": "x",
                "input": "Plan it.\n\nsky: {{ steps.parallel.output.weather.sky }}\ndays: {{ workflow.input.days }}",
                "output": {"plan": "{{ result }}"},
            },
        ],
        "output": {"plan": "{{ steps.plan.output.plan }}"},
        "outputSchema": {
            "type": "object",
            "properties": {"plan": {"type": ["object", "string"], "description": "The plan"}},
        },
        "timeout": "10m",
        "limits": {"timeoutS": 300},
        "retry": {"maxAttempts": 2, "delay": "1m", "multiplier": 1, "jitter": 0, "except": ["Timeout"]},
    }


def test_a_map_of_steps_with_conditions(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        input: {type: object, properties: {city: {type: string}, more: {type: boolean}}, required: [city]}
        steps:
          check: {type: condition, condition: "!!input.city", onTrue: ask, onFalse: sorry}
          sorry: {type: function, function: "return { error: true }", next: end}
          ask: {type: agent, agentId: x, input: {city: "{{input.city}}", more: "{{input.more || false}}"}, next: end}
        """)
    assert spec["steps"] == [
        {
            "id": "check",
            "branch": {"cases": [{"when": 'workflow.input.city != ""', "next": "ask"}], "default": {"next": "sorry"}},
        },
        {"id": "sorry", "tool": "sorry", "arguments": {}, "next": "END"},
        {
            "id": "ask",
            "agent": "x",
            "input": {
                "city": "{{ workflow.input.city }}",
                "more": "{{ has(workflow.input.more) && workflow.input.more }}",
            },
        },
    ]
    row = migrated.row("spec.steps.sorry.function")
    assert row.outcome == "manual"
    assert "migrated_tools:sorry" in row.reason


def test_calls_as_objects_and_a_condition_under_next(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        input: {city: {type: string}}
        steps:
          - id: check
            type: function
            function: {name: checkCity, code: "(input) => ({ ok: !!input.city })"}
            next: {condition: {if: "{{check.ok}}", then: ask, else: sorry}}
          - {id: sorry, agent: x, next: end}
          - id: ask
            agent: {name: x, namespace: far, input: "About {{input.city}}"}
        """)
    assert spec["steps"] == [
        {
            "id": "check",
            "tool": "check-city",
            "arguments": {"city": "{{ has(workflow.input.city) ? workflow.input.city : null }}"},
        },
        {
            "id": "check-next",
            "branch": {
                "cases": [
                    {
                        "when": 'has(steps.check.output.ok) && !(steps.check.output.ok in [null, false, 0, ""])',
                        "next": "ask",
                    }
                ],
                "default": {"next": "sorry"},
            },
        },
        {"id": "sorry", "agent": "x", "next": "END"},
        {
            "id": "ask",
            "agent": "far/x",
            "input": "About {{ has(workflow.input.city) ? workflow.input.city : null }}",
        },
    ]
    assert migrated.spec("Tool", "check-city")["inputSchema"]["properties"] == {"city": {"type": ["string", "null"]}}


def test_tool_steps_and_output_steps(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: start, type: tool, tool: default/clock, next: end}
          - {id: end, type: output}
        """)
    assert spec["steps"] == [{"id": "start", "tool": "default/clock"}, {"id": "end", "set": "{{ input }}"}]


def test_dialects_may_mix_within_one_workflow(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: a, agentId: x, transitions: {next: b}}
          - {name: b, type: agent, config: {agent: x, inputs: [{name: q, source: steps.a.output}]}, next: c}
          - {id: c, agent: {name: x}, input: "{{ step.b.result }}"}
        """)
    assert [step["id"] for step in spec["steps"]] == ["a", "b", "c"]
    assert [step.get("input") for step in spec["steps"]] == [
        None,
        "q: {{ steps.a.output }}",
        "{{ steps.b.output }}",
    ]


# ------------------------------------------------------------------------------------------------ ways


def test_next_with_several_steps_becomes_parallel_up_to_where_they_meet(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: a, agent: x, next: [b, c]}
          - {id: b, agent: x, next: d}
          - {id: c, agent: x, next: c2}
          - {id: c2, agent: x, next: d}
          - {id: d, agent: x, input: {b: $b, c: $c, c2: $c2}}
        """)
    assert spec["steps"] == [
        {"id": "a", "agent": "x"},
        {
            "id": "a-next",
            "parallel": [
                {"id": "b", "agent": "x"},
                {
                    "name": "c",
                    "steps": [
                        {"id": "c", "agent": "x", "output": {"type": "c"}},
                        {"id": "c2", "agent": "x", "output": {"type": "c2"}},
                    ],
                },
            ],
        },
        {
            "id": "d",
            "agent": "x",
            "input": {"b": "{{ steps.a-next.output.b }}", "c": "{{ data.c }}", "c2": "{{ data.c2 }}"},
        },
    ]


def test_several_steps_that_meet_more_than_once_are_left_to_the_reader(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        steps:
          - {id: a, agent: x, next: [b, c]}
          - {id: b, type: condition, condition: input.q, onTrue: d, onFalse: e}
          - {id: c, type: condition, condition: input.q, onTrue: d, onFalse: e}
          - {id: d, agent: x, next: END}
          - {id: e, agent: x}
        """)
    assert [step["id"] for step in spec["steps"]] == ["a", "b", "d", "e"]
    row = migrated.row("spec.steps[0].next")
    assert row.outcome == "manual"
    assert "meet again" in row.reason
    assert migrated.row("spec.steps[2]").outcome == "dropped"


def test_a_computed_next_goes_to_the_step_that_it_names(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: pick, agent: x, next: "{{ step.pick.result.next }}"}
          - {id: high, agent: x, next: END}
          - {id: low, agent: x, next: END}
        """)
    assert spec["steps"][1] == {
        "id": "pick-next",
        "branch": {
            "cases": [
                {"when": 'has(steps.pick.output.next) && steps.pick.output.next == "high"', "next": "high"},
                {"when": 'has(steps.pick.output.next) && steps.pick.output.next == "low"', "next": "low"},
            ],
            "default": {"next": "END"},
        },
    }


def test_a_choice_among_names_goes_by_the_words_of_the_answer_and_is_manual(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        steps:
          - {id: route, agent: x, next: 'BRANCH["tech", "sales"]'}
          - {id: tech, agent: x, next: END}
          - {id: sales, agent: x}
        """)
    assert spec["steps"][1]["branch"] == {
        "cases": [
            {"when": 'type(steps.route.output) == string && steps.route.output.contains("tech")', "next": "tech"}
        ],
        "default": {"next": "sales"},
    }
    assert migrated.row("spec.steps[0].next").outcome == "manual"


def test_a_condition_that_has_no_equivalent_becomes_a_tool_that_decides(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        steps:
          - id: many
            type: condition
            condition: "(input) => input.items.some(i => i > 3)"
            transitions: {true: go, false: END}
          - {id: go, agent: x}
        """)
    assert spec["steps"][:2] == [
        {
            "id": "many",
            "tool": "many-decision",
            "arguments": {"items": "{{ has(workflow.input.items) ? workflow.input.items : null }}"},
        },
        {
            "id": "many-next",
            "branch": {"cases": [{"when": "steps.many.output == true", "next": "go"}], "default": {"next": "END"}},
        },
    ]
    assert migrated.row("spec.steps[0].condition").outcome == "manual"


def test_a_condition_whose_result_is_used_later_is_a_step_of_its_own(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: ok, type: condition, condition: "input.n > 3", transitions: {true: a, false: a}}
          - {id: a, agent: x, input: {ok: $ok}}
        """)
    assert [step["id"] for step in spec["steps"]] == ["ok", "ok-next", "a"]
    assert spec["steps"][0]["set"] == "{{ has(workflow.input.n) && workflow.input.n > 3 }}"
    assert spec["steps"][2]["input"] == {"ok": "{{ steps.ok.output }}"}


def test_a_condition_asks_its_own_input_where_it_has_one(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - id: enough
            type: condition
            input: {limit: 3, n: "${input.n}"}
            condition: input.n >= input.limit
            onTrue: a
            onFalse: end
          - {id: a, agent: x}
        """)
    assert spec["steps"][0]["input"] == {"limit": 3, "n": "{{ workflow.input.n }}"}
    assert spec["steps"][0]["branch"]["cases"][0]["when"] == "input.n >= input.limit"


def test_parallel_steps_keep_their_steps(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: both, type: parallel, steps: [{id: one, agent: x}, {id: two, agentId: x}], next: sum}
          - {id: sum, agent: x, input: {one: "{{both.result[0]}}", two: $two, all: $both}}
        """)
    assert spec["steps"] == [
        {"id": "both", "parallel": [{"id": "one", "agent": "x"}, {"id": "two", "agent": "x"}]},
        {
            "id": "sum",
            "agent": "x",
            "input": {
                "one": "{{ steps.both.output.one }}",
                "two": "{{ steps.both.output.two }}",
                "all": "{{ steps.both.output }}",
            },
        },
    ]


def test_a_step_that_none_leads_to_is_left_out_and_told(workflow: Workflow) -> None:
    spec, migrated = workflow("steps: [{id: a, agent: x, next: c}, {id: b, agent: x, next: c}, {id: c, agent: x}]\n")
    assert [step["id"] for step in spec["steps"]] == ["a", "c"]
    assert migrated.row("spec.steps[1]").outcome == "dropped"


# ------------------------------------------------------------------------------------------------ data


def test_variables_that_several_steps_set_are_published(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        steps:
          - {id: a, type: condition, condition: input.vip, onTrue: b, onFalse: c}
          - {id: b, agent: x, output: {answer: text}, next: d}
          - {id: c, agent: x, output: {answer: text, unused: text}, next: d}
          - {id: d, agent: x, input: {message: "Say ${answer}", score: $score}, output: {score: points}, next: e}
          - {id: e, agent: x, input: $score}
        """)
    b, c, d, e = spec["steps"][1:]
    assert b["output"] == c["output"] == {"type": "answer"}
    assert d["input"].startswith("Say {{ data.answer }}")
    part = "type(steps.d.output) == map && has(steps.d.output.points) ? steps.d.output.points : steps.d.output"
    assert e["input"] == f"{{{{ ({part}) }}}}"
    assert migrated.row("spec.steps[2].output.unused").outcome == "dropped"
    assert migrated.row("spec.steps[2].output.answer").outcome == "mapped"


def test_descriptions_of_data_are_the_special_forms_of_today(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: a, agent: x, input: {type: user-input, description: Hi}, output: {type: list}, next: b}
          - {id: b, agent: x, input: {type: user-input}, output: {type: stock-list}, next: c}
          - {id: c, agent: x, input: {type: step-input, from: b}, next: d}
          - {id: d, agent: x, input: {type: step-input, from: c}}
        """)
    assert [step.get("input") for step in spec["steps"]] == [
        {"type": "user-input", "description": "Hi"},
        {"type": "user-input"},
        {"type": "step-input", "from": "stock-list"},
        "{{ steps.c.output }}",
    ]
    assert [step.get("output") for step in spec["steps"]] == [None, {"type": "stock-list"}, None, None]


def test_a_prompt_with_data_beside_it_becomes_one_text(workflow: Workflow) -> None:
    spec, _ = workflow('steps: [{id: a, agent: x, input: {message: "Hi {{name}}", list: [1, "${k}"], on: true}}]\n')
    assert spec["steps"][0]["input"] == (
        "Hi {{ workflow.input.name }}\n\nlist: \n  - 1\n  - {{ workflow.input.k }}\non: true"
    )


def test_a_step_with_a_prompt_and_no_agent_gets_an_agent_of_its_own(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        steps:
          - name: write
            type: agent
            config:
              systemPrompt: You write.
              model: {provider: openai, name: gpt-x, temperature: 0.2}
              inputs: [{name: q, source: workflow.inputs.q}]
        """)
    assert spec["steps"] == [{"id": "write", "agent": "flow-write", "input": "q: {{ workflow.input.q }}"}]
    assert migrated.spec("Agent", "flow-write") == {
        "instructions": "You write.",
        "model": {"provider": "openai", "name": "gpt-x", "parameters": {"temperature": 0.2}},
    }


def test_a_function_is_given_what_its_code_takes(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {id: load, agent: x, next: sum}
          - id: sum
            type: function
            function: |
              async ({ city }, context) => {
                // input.comment is no argument
                const { a, b } = input;
                return context.steps.load.output + context.load + city + JSON.stringify(input);
              }
        """)
    asked = "{{{{ has(workflow.input.{0}) ? workflow.input.{0} : null }}}}"
    assert spec["steps"][1]["arguments"] == {
        "city": asked.format("city"),
        "a": asked.format("a"),
        "b": asked.format("b"),
        "load": "{{ steps.load.output }}",
        "input": "{{ workflow.input }}",
    }


def test_functions_of_a_tool_with_several_are_called_by_their_own_tools(migrate: Any) -> None:
    migrated = migrate("""\
apiVersion: mastra/v1
kind: Tool
metadata: {name: tasks}
spec:
  description: Tasks.
  functions: [{name: create, parameters: [{name: title, type: string, required: true}]}, {name: drop}]
---
apiVersion: mastra/v1
kind: Workflow
metadata: {name: flow}
spec:
  steps:
    - name: make
      type: function
      config: {tool: tasks, function: create, inputs: [{name: title, value: "A ${input.b}"}]}
""")
    (step,) = migrated.spec("Workflow")["steps"]
    assert f"Tool/{step['tool']}" in migrated.names()
    assert step["arguments"] == {"title": "A {{ workflow.input.b }}"}
    assert migrated.row("spec.steps[0].config.function", document=1).outcome == "mapped"


def test_an_optional_argument_of_a_known_tool_is_empty_and_not_null(migrate: Any) -> None:
    migrated = migrate("""\
apiVersion: mastra/v1
kind: Tool
metadata: {name: t}
spec: {description: T., inputSchema: {type: object, properties: {s: {type: string}, l: {type: array}}}, execute: ./t.js}
---
apiVersion: mastra/v1
kind: Workflow
metadata: {name: flow}
spec:
  input: {s: string, l: array}
  steps: [{id: a, tool: t, input: {s: $s, l: $l}}]
""")
    assert migrated.spec("Workflow")["steps"][0]["arguments"] == {
        "s": '{{ has(workflow.input.s) ? workflow.input.s : "" }}',
        "l": "{{ has(workflow.input.l) ? workflow.input.l : [] }}",
    }


def test_ids_that_are_none_are_mended_and_found_by_their_old_names(workflow: Workflow) -> None:
    spec, _ = workflow("""\
        steps:
          - {name: load data, agent: x}
          - {name: 收集, agent: x, dependsOn: load data, input: "{{ steps.load data.output }}"}
          - {name: END, agent: x, dependsOn: [收集]}
        """)
    assert [(step["id"], step["name"]) for step in spec["steps"]] == [
        ("load-data", "load data"),
        ("step", "收集"),
        ("END-2", "END"),
    ]
    assert spec["steps"][1]["input"] == "{{ steps.load-data.output }}"


def test_an_environment_variable_stays_as_text_and_is_manual(workflow: Workflow) -> None:
    spec, migrated = workflow('steps: [{id: a, agent: x, input: {url: "${env.URL}/x"}}]\n')
    assert spec["steps"][0]["input"] == {"url": '{{ "${" }}env.URL}/x'}
    assert migrated.row("spec.steps[0].input.url").outcome == "manual"


# ------------------------------------------------------------------------------------------------ tries


def test_times_are_those_of_today(workflow: Workflow) -> None:
    spec, migrated = workflow("""\
        steps:
          - {id: a, agent: x, timeout: 1500, retries: 2, retryDelayMs: 250}
          - {id: b, agent: x, timeout: 60000, retries: 0}
          - {id: c, agent: x, retryPolicy: {maxRetries: 3, retryInterval: 2}}
          - {id: d, type: output, timeout: 5}
        """)
    a, b, c, d = spec["steps"]
    assert (a["timeout"], a["retry"]) == (
        1.5,
        {"maxAttempts": 3, "delay": 0.25, "multiplier": 1, "jitter": 0, "except": ["Timeout"]},
    )
    assert (b["timeout"], b["retry"]) == ("1m", {"maxAttempts": 1})
    assert (c["retry"]["maxAttempts"], c["retry"]["delay"]) == (4, "2s")
    assert "timeout" not in d
    assert migrated.row("spec.steps[3].timeout").outcome == "dropped"


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("name: x\n", "a workflow needs steps"),
        ("steps: []\n", "at least one step"),
        ("steps: [{id: a, agent: x, next: bb}, {id: b, agent: x}]\n", "there is no step 'bb'; did you mean 'b'?"),
        ("initialStep: q\nsteps: [{id: a, agent: x}]\n", "there is no step 'q'"),
        ("steps: [{name: a, agent: x, dependsOn: [b]}]\n", "there is no step 'b'"),
        ("steps: [{name: a, agent: x, dependsOn: b}, {name: b, agent: x, dependsOn: a}]\n", "wait for each other"),
        (
            "steps: [{id: a, agent: x, next: b}, {id: b, agent: x, next: a}]\n",
            "no way leads from the steps a, b to the end",
        ),
        ("steps: [hello]\n", "expected an object, found string"),
        ("steps: [{id: a, agent: x, next: {then: {deep: b}}}]\n", "expected the name of a step"),
    ],
)
def test_what_could_not_run_before_is_refused_with_its_place(
    refused: Callable[[str], str], spec: str, words: str
) -> None:
    assert words in refused(spec)
