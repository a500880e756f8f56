"""Rules of single steps and of the spec, references, order and places of problems."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kastra_core.errors import InvalidReferenceError
from kastra_plugin_workflow.rules import reference_of, references
from kastra_plugin_workflow.spec import StepSpec
from workflow_checks import at, document_of, problems_of, said, steps, workflow

RECIPES = """
steps:
  - id: check-ingredients
    agent:
      name: recipe-assistant
      namespace: cooking
    input:
      type: user-input
    output:
      type: ingredients-list
    next: find-recipes
  - id: find-recipes
    tool:
      name: recipe-finder
      namespace: cooking
    input:
      from: ingredients-list
    output:
      type: recipe-results
"""
DATA_PROCESSING = """
name: 数据处理工作流
initialStep: extract
steps:
  - id: extract
    name: 数据提取
    agent: extract-agent
    next: transform
  - id: transform
    name: 数据转换
    agent: transform-agent
    next: load
  - id: load
    name: 数据加载
    agent: load-agent
    next: END
"""
EVERYTHING = """
inputSchema: {type: object, properties: {n: {type: integer, default: 1}, rows: {type: array}}}
outputSchema: {type: object}
timeout: 1h
retry: {maxAttempts: 5, delay: 500ms, except: [Timeout]}
limits: {maxSteps: 100, maxCost: 1.5}
schedule: {cron: "*/15 8-18 * * MON-FRI", timeZone: Europe/Berlin, input: {n: 2}, startingDeadline: 1h}
output: {total: "{{ steps.sum.output }}", all: "{{ data['rows'] }}"}
steps:
  - {id: load, tool: loader, arguments: {n: "{{ workflow.input.n }}"}, output: {type: rows, schema: {type: array}}}
  - id: call
    operation: http.get
    input: {url: "x/{{ steps.load.output[0] }}"}
    retry: {maxAttempts: 2, "on": [Http*]}
  - id: fan
    parallel:
      branches:
        - {id: one, agent: a, description: look}
        - name: two
          steps:
            - {id: two-a, workflow: other, input: "{{ workflow.input }}"}
            - {id: two-b, network: team, timeout: 10m}
      onFailure: cancel
      concurrency: 2
    onFailure: {output: {one: "", two: ""}, steps: [{id: clean, set: "{{ error.reason }} {{ error.step }}"}]}
  - id: each
    foreach:
      items: "{{ workflow.input.rows }}"
      as: row
      concurrency: 4
      onError: skip
      steps:
        - {id: price, set: "{{ row.price * 1.19 }} {{ row_index }}"}
  - id: look
    branch:
      cases:
        - {when: "size(steps.each.errors) > 3", next: give-up}
        - {when: "steps.fan.output.one == 'x'", steps: [{id: fix, set: 1}]}
      default: ask
  - {id: give-up, fail: {reason: TooManyErrors, message: "{{ steps.each.errors.size() }} failed"}}
  - {id: ask, suspend: {message: "ok?", schema: {type: object, properties: {ok: {type: boolean}}}, timeout: 7d}}
  - id: again
    loop:
      while: iteration < 3 && output != null
      maxIterations: 10
      onLimit: stop
      steps:
        - {id: pause, sleep: "{{ iteration }}s"}
        - {id: until-then, sleep: {until: "2030-01-31T08:00:00Z"}}
        - {id: event, waitForEvent: {name: paid, timeout: 1h, schema: {type: object}}}
  - id: all
    branch: {mode: all, cases: [{when: "true", name: a, steps: [{id: x, set: 1}]}], default: {steps: [{id: y, set: 2}]}}
  - id: sum
    set: "{{ steps.all.output.a + data.rows.size() }}"
    output: {value: "{{ result }}", type: sum, schema: {type: integer}}
  - {id: done, succeed: {total: "{{ steps.sum.output }}"}}
onFailure:
  - id: tell
    tool: mail
    arguments: {text: "{{ error.message }} {{ error.attempts }}", rows: "{{ steps.load.output }}"}
"""


class TestValidWorkflows:
    @pytest.mark.parametrize("spec", [RECIPES, DATA_PROCESSING], ids=["recipes", "data-processing"])
    def test_the_first_examples_have_no_problem(self, spec: str) -> None:
        assert said(spec) == []

    def test_a_workflow_with_every_form_has_no_problem(self) -> None:
        # The end is not reached: `done` is the last step, and ends the workflow.
        assert said(EVERYTHING) == []


class TestReferences:
    def test_they_come_in_order_with_their_places_nested_ones_included(self) -> None:
        found = [(reference.path, str(reference)) for reference in references(workflow(EVERYTHING))]
        assert found == [
            ("spec.steps[0].tool", "Tool shop/loader"),
            ("spec.steps[2].parallel.branches[0].agent", "Agent shop/a"),
            ("spec.steps[2].parallel.branches[1].steps[0].workflow", "Workflow shop/other"),
            ("spec.steps[2].parallel.branches[1].steps[1].network", "Network shop/team"),
            ("spec.onFailure[0].tool", "Tool shop/mail"),
        ]

    def test_the_namespace_may_be_named(self) -> None:
        assert [str(reference) for reference in references(workflow(RECIPES))] == [
            "Agent cooking/recipe-assistant",
            "Tool cooking/recipe-finder",
        ]

    def test_a_step_without_one_has_none(self) -> None:
        assert reference_of(StepSpec(id="a", set=1), "shop", "spec.steps[0]") is None

    def test_the_kind_must_be_that_of_the_body(self) -> None:
        with pytest.raises(InvalidReferenceError, match="it names a Tool, and the body 'agent' takes a Agent"):
            reference_of(StepSpec(id="a", agent="tools/x"), "shop", "p")
        found = reference_of(StepSpec(id="a", agent="agents/x"), "shop", "p")
        assert found is not None
        assert found.path == "p.agent"

    @pytest.mark.parametrize("value", ["a/b/c/d", ".x", {}, {"name": 1}, 5, ["x"]])
    def test_what_is_none_is_a_problem_and_left_out(self, value: Any) -> None:
        spec = {"steps": [{"id": "a", "agent": value}, {"id": "b", "agent": "x"}]}
        assert "is not a reference" in said(spec)[0]
        assert problems_of(spec)[0].path == "spec.steps[0].agent"
        assert [reference.name for reference in references(workflow(spec))] == ["x"]


class TestIds:
    @pytest.mark.parametrize("name", ["1a", "a b", "a.b", "", "-a", "é", "a" * 64])
    def test_what_is_no_id(self, name: str) -> None:
        (problem,) = problems_of({"steps": [{"id": name, "set": 1}]})
        assert problem.path == "spec.steps[0].id"
        assert "is no id: a letter, then letters, digits, '_' and '-', at most 63" in problem.message

    def test_end_is_reserved(self) -> None:
        assert "'END' is no id" in at(steps("- {id: END, set: 1}"), "spec.steps[0].id")

    def test_an_id_is_unique_over_all_blocks(self) -> None:
        text = at(
            """
            steps:
              - {id: a, loop: {until: "true", steps: [{id: b, set: 1}]}}
              - {id: b, set: 1}
            """,
            "spec.steps[1].id",
        )
        assert text.startswith("two steps have the id 'b'; spec.steps[0].loop.steps[0] has it too")

    def test_ids_of_branches_in_the_short_form_are_told_once(self) -> None:
        assert len(said(steps("- {id: p, parallel: [{id: a, set: 1}, {id: a, set: 2}]}"))) == 1


class TestBodies:
    def test_none(self) -> None:
        assert at(steps("- {id: a, name: x}"), "spec.steps[0]").startswith(
            "the step does nothing; give it one of agent,"
        )

    def test_an_empty_one_is_named(self) -> None:
        assert at(steps("- {id: a, operation: ''}"), "spec.steps[0]") == "the step does nothing; 'operation' is empty"

    def test_several_are_named(self) -> None:
        text = at(steps("- {id: a, tool: t, set: 1, agent: x}"), "spec.steps[0].tool")
        assert text == "the step has 3 bodies: agent, tool, set; make a step of each"

    def test_set_and_succeed_may_be_null(self) -> None:
        assert said(steps("- {id: a, set: null}\n- {id: b, succeed: null}")) == []


class TestTargets:
    def test_the_nearest_step_is_suggested(self) -> None:
        spec = steps("- {id: extract, set: 1, next: transfrm}\n- {id: transform, set: 1}")
        assert said(spec) == ["spec.steps[0].next: there is no step 'transfrm'; did you mean 'transform'?"]

    def test_else_the_steps_are_listed(self) -> None:
        assert "steps of this block: a, END" in at(steps("- {id: a, set: 1, next: zzz}"), "spec.steps[0].next")

    def test_a_step_of_another_block_is_told_so(self) -> None:
        spec = steps(
            """
            - {id: a, loop: {until: "true", steps: [{id: inner, set: 1, next: b}]}}
            - {id: b, set: 1, next: inner}
            """
        )
        assert said(spec) == [
            "spec.steps[0].loop.steps[0].next: step 'b' is in another block (spec.steps); "
            "a step goes on with steps of its own block only",
            "spec.steps[1].next: step 'inner' is in another block (in step 'a', spec.steps[0].loop.steps); "
            "a step goes on with steps of its own block only",
        ]

    def test_initial_step_cases_default_and_on_failure_are_looked_at(self) -> None:
        spec = """
            initialStep: aa
            steps:
              - id: a
                branch: {cases: [{when: "true", next: c1}], default: c2}
                onFailure: c3
              - {id: b, branch: {cases: [{when: "true", next: a}], default: {next: c4}}, onFailure: {next: c5}}
            """
        assert [problem.path for problem in problems_of(spec)] == [
            "spec.initialStep",
            "spec.steps[0].branch.cases[0].next",
            "spec.steps[0].branch.default",
            "spec.steps[0].onFailure",
            "spec.steps[1].branch.default.next",
            "spec.steps[1].onFailure.next",
        ]

    @pytest.mark.parametrize("body", ["succeed: 1", "fail: stop"])
    def test_nothing_comes_after_the_end(self, body: str) -> None:
        spec = steps(f"- {{id: a, {body}, next: END}}")
        assert at(spec, "spec.steps[0].next").startswith("nothing comes after")

    def test_after_a_fail_with_a_handler_something_does(self) -> None:
        assert said(steps("- {id: a, fail: stop, onFailure: {output: 1}, next: END}")) == []


CASES: list[tuple[str, str, str]] = [
    ("branch: {cases: []}", "branch.cases", "a branch needs at least one case"),
    ("branch: [{next: END}]", "branch[0].when", "a case needs a condition"),
    ("branch: [{when: 'true'}]", "branch[0]", "a case needs next or steps"),
    ("branch: [{when: 'true', next: END, steps: [{id: b, set: 1}]}]", "branch[0]", "a case has next and steps"),
    ("branch: {cases: [{when: 'true', next: END}], default: {}}", "branch.default", "the default needs next or steps"),
    ("branch: {mode: all, cases: [{when: 'true', next: END}]}", "branch.cases[0].next", "in mode all a case has steps"),
    (
        "branch: {mode: all, cases: [{when: 'true', name: x, steps: [{id: b, set: 1}]}, "
        "{when: 'true', name: x, steps: [{id: c, set: 1}]}]}",
        "branch.cases[1].name",
        "two cases have the name 'x'; a.branch.cases[0] has it too",
    ),
    (
        "branch: {mode: all, cases: [{when: 'true', name: default, steps: [{id: b, set: 1}]}], "
        "default: {steps: [{id: c, set: 1}]}}",
        "branch.cases[0].name",
        "the default has it too",
    ),
    (
        "branch: {mode: all, cases: [{when: 'true', name: 'a/b', steps: [{id: b, set: 1}]}]}",
        "branch.cases[0].name",
        "is no name",
    ),
    ("parallel: []", "parallel", "parallel needs at least one branch"),
    ("parallel: [{name: x, steps: []}]", "parallel[0].steps", "a branch needs steps"),
    (
        "parallel: [{name: x, steps: [{id: b, set: 1}]}, {name: x, steps: [{id: c, set: 1}]}]",
        "parallel[1].name",
        "two branches have the name 'x'; a.parallel[0] has it too",
    ),
    ("parallel: [{name: 'x[', steps: [{id: b, set: 1}]}]", "parallel[0].name", "is no name"),
    ("parallel: {branches: [{id: b, set: 1}], concurrency: 0}", "parallel.concurrency", "must be at least 1, found 0"),
    ("foreach: {items: [], steps: []}", "foreach.steps", "foreach needs steps"),
    ("foreach: {items: 3, steps: [{id: b, set: 1}]}", "foreach.items", "expected a list, found integer 3"),
    ("foreach: {items: null, steps: [{id: b, set: 1}]}", "foreach.items", "expected a list, found null"),
    (
        "foreach: {items: workflow.input, steps: [{id: b, set: 1}]}",
        "foreach.items",
        "write items: '{{ ... }}' to compute it",
    ),
    (
        "foreach: {items: 'a {{ workflow.input }}', steps: [{id: b, set: 1}]}",
        "foreach.items",
        "goes through a list, this is a text",
    ),
    ("foreach: {items: [], concurrency: 0, steps: [{id: b, set: 1}]}", "foreach.concurrency", "must be at least 1"),
    ("foreach: {items: [], as: a b, steps: [{id: b, set: 1}]}", "foreach.as", "'a b' is no name"),
    ("foreach: {items: [], as: steps, steps: [{id: b, set: 1}]}", "foreach.as", "'steps' means something else"),
    ("foreach: {items: [], as: 'true', steps: [{id: b, set: 1}]}", "foreach.as", "'true' means something else"),
    ("loop: {steps: [{id: b, set: 1}]}", "loop", "a loop needs while or until"),
    (
        "loop: {while: 'true', until: 'true', steps: [{id: b, set: 1}]}",
        "loop.until",
        "a loop has while or until, not both",
    ),
    ("loop: {while: 'true', steps: []}", "loop.steps", "a loop needs steps"),
    (
        "loop: {until: 'true', maxIterations: 0, steps: [{id: b, set: 1}]}",
        "loop.maxIterations",
        "expected 1 to 1000000, found 0",
    ),
    ("loop: {until: 'true', maxIterations: 1000001, steps: [{id: b, set: 1}]}", "loop.maxIterations", "found 1000001"),
    ("sleep: {}", "sleep", "a sleep needs duration or until"),
    ("sleep: {duration: 1s, until: '2030-01-01T00:00:00Z'}", "sleep", "a sleep has duration and until"),
    ("sleep: five minutes", "sleep", "expected seconds (3600) or a duration"),
    ("sleep: {duration: -1}", "sleep.duration", "expected seconds"),
    ("sleep: {until: tomorrow}", "sleep.until", "expected an instant with its offset"),
    ("sleep: {until: '2030-01-01T00:00:00'}", "sleep.until", "expected an instant with its offset"),
    ("sleep: 1s, timeout: 1s", "timeout", "a timeout means nothing for sleep: it lasts as long as it says; remove it"),
    ("set: 1, retry: {}", "retry", "a retry means nothing for set: with the same data it gives the same; remove it"),
    ("fail: x, retry: {}", "retry", "a retry means nothing for fail: it fails on purpose, and would again; remove it"),
    (
        "branch: [{when: 'true', next: END}], retry: {}",
        "retry",
        "a retry means nothing for branch: without steps of its own it does not fail; remove it",
    ),
    ("agent: x, timeout: 0", "timeout", "must be more than 0"),
    ("waitForEvent: ''", "waitForEvent", "an event has a name"),
    ("waitForEvent: {name: x, timeout: 0}", "waitForEvent.timeout", "must be more than 0"),
    ("waitForEvent: {name: x, schema: {type: foo}}", "waitForEvent.schema.type", "it is no valid JSON schema"),
    ("suspend: {timeout: 0}", "suspend.timeout", "must be more than 0"),
    ("suspend: {schema: {$ref: 'http://x/y'}}", "suspend.schema", "may refer to itself only"),
    (
        "fail: {reason: out of stock}",
        "fail.reason",
        "a reason is one CamelCase word, found 'out of stock'; for example OutOfStock",
    ),
    ("fail: {reason: failed}", "fail.reason", "for example Failed"),
    ("agent: x, arguments: {a: 1}", "arguments", "only tools and operations take arguments, not agent; write input"),
    ("tool: x, input: 1, arguments: {a: 1}", "arguments", "has input and arguments, which say the same"),
    ("operation: x.y, arguments: [1]", "arguments", "expected an object, found a list"),
    ("set: 1, output: {type: user-input}", "output.type", "no step publishes it"),
    ("set: 1, output: {type: ' '}", "output.type", "expected a name"),
    ("set: 1, output: {type: x, schema: {type: foo}}", "output.schema.type", "it is no valid JSON schema"),
    ("set: 1, output: {type: x, schema: 5}", "output.schema", "it is no valid JSON schema: a schema is an object"),
    ("succeed: 1, output: 2", "output", "succeed has no result that `output` could take"),
    ("agent: x, retry: {maxAttempts: 0}", "retry.maxAttempts", "must be at least 1, found 0; 1 tries once"),
    ("agent: x, retry: {multiplier: 0.5}", "retry.multiplier", "must be at least 1, found 0.5"),
    ("agent: x, retry: {jitter: 1.5}", "retry.jitter", "expected 0 to 1, found 1.5"),
    ('agent: x, retry: {"on": [InvalidInput]}', "retry.on[0]", "InvalidInput is never tried again"),
    ("agent: x, retry: {except: ['']}", "retry.except[0]", "'' is no reason"),
    ("set: '{{ workflow.input. }}'", "set", "the expression ends too early (column 20 of '{{ workflow.input. }}')"),
    (
        "set: {b: [1, 'x {{ foo }}']}",
        "set.b[1]",
        "'foo' is not known here; in sight are: data, input, state, steps, workflow",
    ),
    ("set: {'{{ x }}': 1}", "set", "an expression cannot be a key"),
    ("branch: [{when: '{{ true }}', next: END}]", "branch[0].when", "a condition is written without {{ and }}"),
]


@pytest.mark.parametrize(
    ("body", "path", "words"), CASES, ids=[f"{path}-{index}" for index, (_, path, _) in enumerate(CASES)]
)
def test_a_rule_of_a_step(body: str, path: str, words: str) -> None:
    text = at(steps(f"- {{id: a, {body}}}"), f"spec.steps[0].{path}")
    assert words.replace("a.branch", "spec.steps[0].branch").replace("a.parallel", "spec.steps[0].parallel") in text


SPECS: list[tuple[str, str, str]] = [
    ("steps: []", "spec.steps", "a workflow needs at least one step"),
    ("timeout: 0", "spec.timeout", "must be more than 0"),
    ("inputSchema: {type: foo}", "spec.inputSchema.type", "it is no valid JSON schema"),
    ("outputSchema: {properties: 1}", "spec.outputSchema.properties", "it is no valid JSON schema"),
    ("limits: {maxSteps: -1}", "spec.limits.maxSteps", "expected 0 or more, found -1"),
    ("limits: {maxCost: -0.5}", "spec.limits.maxCost", "expected 0 or more"),
    ("limits: {timeoutS: -1}", "spec.limits.timeoutS", "expected 0 or more"),
    ("scaling: {minReplicas: -1}", "spec.scaling.minReplicas", "expected 0 or more"),
    ("scaling: {maxReplicas: 0}", "spec.scaling.maxReplicas", "expected at least 1, found 0"),
    ("retry: {jitter: -1}", "spec.retry.jitter", "expected 0 to 1"),
    ("schedule: {cron: '* * * *'}", "spec.schedule.cron", "expected five fields"),
    ("schedule: {cron: '0 0 0 * * *'}", "spec.schedule.cron", "expected five fields"),
    ("schedule: {cron: '61 * * * *'}", "spec.schedule.cron", "minute"),
    (
        "schedule: {cron: '0 3 * * *', timeZone: Europe/Berln}",
        "spec.schedule.timeZone",
        "did you mean 'Europe/Berlin'?",
    ),
    ("schedule: {cron: '0 3 * * *', timeZone: Tokyo}", "spec.schedule.timeZone", "did you mean 'Asia/Tokyo'?"),
    ("schedule: {cron: '0 3 * * *', startingDeadline: 0}", "spec.schedule.startingDeadline", "must be more than 0"),
    (
        "inputSchema: {type: object, required: [n]}\nschedule: {cron: '0 3 * * *', input: {m: 1}}",
        "spec.schedule.input.n",
        "is required (spec.inputSchema)",
    ),
    ("output: '{{ steps.b.output }}'", "spec.output", "steps.b.output: there is no step 'b'"),
    ("output: '{{ input }}'", "spec.output", "'input' is not known here"),
    ("onFailure: [{id: h, set: '{{ eror }}'}]", "spec.onFailure[0].set", "did you mean 'error'?"),
]


@pytest.mark.parametrize(("fields", "path", "words"), SPECS, ids=[path for _, path, _ in SPECS])
def test_a_rule_of_the_spec(fields: str, path: str, words: str) -> None:
    spec = fields if fields.startswith("steps") else f"{fields}\nsteps:\n- {{id: a, agent: x}}\n"
    assert words in at(spec, path)


class TestPlaces:
    def test_all_problems_come_at_once_in_the_order_of_the_file(self) -> None:
        spec = """
            steps:
              - id: a
                output: "{{ nope }}"
                set: "{{ nope2 }}"
                retry: {}
              - {id: 1b, tool: t, next: zz}
            timeout: 0
            inputSchema: {type: foo}
            """
        assert [problem.path for problem in problems_of(spec)] == [
            "spec.steps[0].output",
            "spec.steps[0].set",
            "spec.steps[0].retry",
            "spec.steps[1].id",
            "spec.steps[1].next",
            "spec.timeout",
            "spec.inputSchema.type",
        ]

    def test_each_has_its_line_in_the_file(self) -> None:
        document = document_of(
            """
            steps:
              - id: a
                parallel:
                  - id: b
                    set:
                      "x.y[0]": "{{ nope }}"
              - id: c
                branch:
                  - when: steps.a.output.b >
                    next: END
            """
        )
        found = [document.place(problem) for problem in problems_of(document.data["spec"])]
        assert [(problem.line, problem.message.split(";")[0][:30]) for problem in found] == [
            (11, "'nope' is not known here"),
            (14, "the expression ends too early "),
        ]

    def test_no_problem_comes_twice(self) -> None:
        found = said(steps("- {id: a, set: '{{ steps.x.output }}{{ steps.x.output }}'}"))
        assert len(found) == 1

    def test_all_faults_of_one_text_are_told(self) -> None:
        found = said(steps("- {id: a, set: '{{ foo }} {{ workflow.inptu }} {{ bar }}'}"))
        assert len(found) == 3


class TestSize:
    def test_ten_thousand_steps_take_seconds_at_most(self) -> None:
        many = [
            {"id": f"s{n}", "set": {"a": f"{{{{ steps.s{n - n % 500}.output.a + {n} }}}}" if n % 500 else 1}}
            for n in range(10_000)
        ]
        began = time.process_time()
        assert said({"steps": many}) == []
        assert time.process_time() - began < 20  # it takes 2

    def test_ten_thousand_steps_with_ways_back_and_forth(self) -> None:
        many: list[dict[str, Any]] = []
        for n in range(10_000):
            if n % 3 == 1:
                goal = f"s{min(9_999, n + 5)}" if n % 2 else f"s{max(0, n - 50)}"
                many.append({"id": f"s{n}", "branch": [{"when": f"steps.s{n - 1}.output > {n}", "next": goal}]})
            else:
                many.append({"id": f"s{n}", "set": f"{{{{ steps.s{n // 2 // 3 * 3}.output }}}}" if n else 1})
        began = time.process_time()
        assert said({"steps": many}) == []
        assert time.process_time() - began < 20

    def test_steps_a_hundred_deep(self) -> None:
        inner: list[dict[str, Any]] = [{"id": "x", "set": "{{ nope }}"}]
        for n in range(100):
            inner = [{"id": f"l{n}", "loop": {"until": "iteration > 3", "steps": inner}}]
        found = problems_of({"steps": inner})
        assert "'nope' is not known here" in found[0].message

    def test_a_step_that_is_too_deep_to_be_read_is_a_problem_not_a_crash(self) -> None:
        inner: list[dict[str, Any]] = [{"id": "x", "set": 1}]
        for n in range(400):
            inner = [{"id": f"l{n}", "loop": {"until": "true", "steps": inner}}]
        assert len(problems_of({"steps": inner})) == 1

    def test_a_chain_of_outputs_in_the_wrong_order(self) -> None:
        many = [{"id": f"s{n}", "set": {"a": f"{{{{ steps.s{n + 1}.output.a }}}}"}} for n in range(3_000)]
        assert len(said({"steps": [*many, {"id": "s3000", "set": {"a": 1}}]})) == 3_000
