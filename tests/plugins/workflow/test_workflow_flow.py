"""Ways through a workflow: what is never reached, what never ends, what cannot be there yet, what is out of sight."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.serde import typed
from kastra_plugin_workflow.flow import Flow
from kastra_plugin_workflow.outline import outline_of
from kastra_plugin_workflow.spec import WorkflowSpec
from workflow_checks import said, steps, workflow


class TestUnreachable:
    def test_a_step_that_nothing_leads_to_and_what_goes_with_it(self) -> None:
        spec = steps("- {id: a, set: 1, next: END}\n- {id: b, set: 2}\n- {id: c, set: 3}")
        assert said(spec) == [
            "spec.steps[1]: step 'b' is never reached; name it as next of a step, or remove it; with it go c"
        ]

    def test_each_of_several_heads_is_told(self) -> None:
        spec = steps(
            "- {id: a, set: 1, next: d}\n- {id: b, set: 2, next: d}\n- {id: c, set: 3, next: d}\n- {id: d, set: 3}"
        )
        assert [line.partition(":")[0] for line in said(spec)] == ["spec.steps[1]", "spec.steps[2]"]

    def test_a_cycle_that_nothing_leads_to_is_told_once_as_unreachable(self) -> None:
        spec = steps("- {id: a, set: 1, next: END}\n- {id: b, set: 2}\n- {id: c, set: 3, next: b}")
        assert len(said(spec)) == 1
        assert "step 'b' is never reached" in said(spec)[0]

    @pytest.mark.parametrize("end", ["succeed: 1", "fail: {reason: Bad}"])
    def test_what_stands_after_an_end(self, end: str) -> None:
        assert "step 'b' is never reached" in said(steps(f"- {{id: a, {end}}}\n- {{id: b, set: 1}}"))[0]

    def test_a_handler_of_a_fail_leads_on(self) -> None:
        assert said(steps("- {id: a, fail: stop, onFailure: {output: 1}}\n- {id: b, set: 1}")) == []

    def test_a_branch_whose_ways_all_lead_elsewhere(self) -> None:
        spec = steps(
            """
            - {id: a, branch: {cases: [{when: "true", next: c}], default: END}}
            - {id: b, set: 1}
            - {id: c, set: 1}
            """
        )
        assert "step 'b' is never reached" in said(spec)[0]
        assert said(spec.replace(", default: END", "")) == []

    def test_initial_step_skips_what_stands_before_it(self) -> None:
        spec = "initialStep: b\n" + steps("- {id: a, set: 1}\n- {id: b, set: 1}")
        assert "step 'a' is never reached" in said(spec)[0]
        assert said("initialStep: b\n" + steps("- {id: a, set: 1, next: END}\n- {id: b, set: 1, next: a}")) == []

    def test_nested_blocks_are_looked_at_and_those_of_unreachable_steps_are_not(self) -> None:
        block = "[{id: x, set: 1, next: END}, {id: y, set: 1}]"
        assert (
            "spec.steps[0].loop.steps[1]: step 'y'"
            in said(steps(f"- {{id: a, loop: {{until: 'true', steps: {block}}}}}"))[0]
        )
        spec = steps(f"- {{id: z, set: 1, next: END}}\n- {{id: a, loop: {{until: 'true', steps: {block}}}}}")
        assert [line.partition(":")[0] for line in said(spec)] == ["spec.steps[1]"]

    def test_a_name_that_is_wrong_is_told_alone(self) -> None:
        spec = steps("- {id: a, set: 1, next: bb}\n- {id: x, set: 1}\n- {id: b, set: 1}")
        assert said(spec) == ["spec.steps[0].next: there is no step 'bb'; did you mean 'b'?"]

    def test_on_failure_leads_to_a_step(self) -> None:
        assert said(steps("- {id: a, agent: x, onFailure: c, next: END}\n- {id: c, set: 1}")) == []


class TestCyclesWithoutExit:
    def test_steps_that_lead_to_each_other(self) -> None:
        spec = steps("- {id: a, set: 1}\n- {id: b, set: 1}\n- {id: c, set: 1, next: b}")
        assert said(spec) == [
            "spec.steps[2].next: the steps b, c lead to each other for ever: no way leads out; "
            "let a branch among them go on with another step or with END"
        ]

    def test_a_step_that_leads_to_itself(self) -> None:
        assert "step 'a' leads to itself for ever" in said(steps("- {id: a, agent: x, next: a}"))[0]

    @pytest.mark.parametrize(
        "step",
        [
            "branch: [{when: 'steps.a.output > 0', next: END}]",
            "branch: [{when: 'steps.a.output > 0', steps: [{id: z, succeed: 1}]}]",
            "branch: [{when: 'steps.a.output > 0', steps: [{id: z, fail: stop}]}]",
            "parallel: [{name: z, steps: [{id: zz, branch: [{when: 'true', steps: [{id: z, succeed: 1}]}]}]}]",
            "agent: x, onFailure: d",
            "agent: x, onFailure: {next: END}",
        ],
    )
    def test_a_way_out_of_any_kind_counts(self, step: str) -> None:
        last = "- {id: d, set: 1}" if "onFailure: d" in step else ""
        assert said(steps(f"- {{id: a, set: 1}}\n- {{id: b, {step}}}\n- {{id: c, set: 1, next: a}}\n{last}")) == []

    def test_a_handler_that_leads_back_is_no_way_out(self) -> None:
        assert "lead to each other" in said(steps("- {id: a, agent: x, onFailure: b}\n- {id: b, set: 1, next: a}"))[0]

    def test_a_fail_that_is_handled_around_it_is_none_either(self) -> None:
        spec = steps(
            "- {id: a, loop: {until: 'true', steps: [{id: x, fail: stop}]}, onFailure: {output: 1}}\n"
            "- {id: b, set: 1, next: a}"
        )
        assert "lead to each other" in said(spec)[0]

    def test_two_cycles_are_told_each(self) -> None:
        spec = steps(
            """
            - {id: s, branch: [{when: "true", next: c}]}
            - {id: a, set: 1}
            - {id: b, set: 1, next: a}
            - {id: c, set: 1}
            - {id: d, set: 1, next: c}
            """
        )
        assert [line.partition(":")[0] for line in said(spec)] == ["spec.steps[2].next", "spec.steps[4].next"]

    def test_a_cycle_within_a_block(self) -> None:
        spec = steps("- {id: p, parallel: [{name: l, steps: [{id: a, set: 1}, {id: b, set: 1, next: a}]}]}")
        assert said(spec)[0].startswith("spec.steps[0].parallel[0].steps[1].next: the steps a, b lead to each other")


class TestStepsBefore:
    def test_a_step_that_comes_after(self) -> None:
        spec = steps("- {id: a, set: '{{ steps.b.output }}'}\n- {id: b, set: 1}")
        assert said(spec) == ["spec.steps[0].set: steps.b.output: step 'b' is never carried out before this"]

    def test_a_step_after_it_on_a_way_back_is_fine(self) -> None:
        spec = steps(
            """
            - {id: a, set: "{{ has(steps.b) ? steps.b.output : 0 }}"}
            - {id: b, set: "{{ steps.a.output + 1 }}"}
            - {id: c, branch: [{when: "steps.b.output < 3", next: a}]}
            """
        )
        assert said(spec) == []

    def test_a_step_on_another_way_can_never_have_run(self) -> None:
        spec = steps(
            """
            - {id: s, branch: {cases: [{when: "true", next: a}], default: b}}
            - {id: a, set: 1, next: end}
            - {id: b, set: "{{ steps.a.output }}"}
            - {id: end, set: "{{ has(steps.a) ? steps.a.output : steps.b.output }}"}
            """
        )
        assert said(spec) == ["spec.steps[2].set: steps.a.output: step 'a' is never carried out before this"]

    def test_its_own_output(self) -> None:
        spec = steps("- {id: a, set: 1, output: '{{ steps.a.output }}'}")
        assert "step 'a' cannot use its own output; `result` in `output` is that of its body" in said(spec)[0]

    def test_its_own_output_of_the_time_before_is_fine_in_a_loop(self) -> None:
        spec = steps(
            "- id: l\n  loop:\n    until: iteration > 3\n"
            "    steps: [{id: a, set: '{{ has(steps.a) ? steps.a.output + 1 : 0 }}'}]"
        )
        assert said(spec) == []

    def test_a_step_without_output(self) -> None:
        spec = steps(
            "- {id: b, branch: [{when: 'true', next: z}]}\n- {id: a, fail: stop}\n"
            "- {id: z, set: '{{ steps.a.output }}'}"
        )
        assert "step 'a' is a fail, it has no output" in said(spec)[0]

    def test_steps_of_a_case_are_in_sight_after_the_branch_and_of_the_pass_before_not_in_the_other_case(self) -> None:
        spec = steps(
            """
            - id: b
              branch:
                - {when: "true", steps: [{id: x, set: 1}]}
                - {when: "true", steps: [{id: y, set: "{{ steps.x.output }}"}]}
              output: "{{ has(steps.x) ? steps.x.output : 1 }}"
            - {id: c, set: "{{ has(steps.y) ? steps.y.output : 1 }}"}
            """
        )
        assert said(spec) == [
            "spec.steps[0].branch[1].steps[0].set: steps.x.output: step 'x' is never carried out before this"
        ]
        back = spec + '- {id: d, branch: [{when: "steps.c.output > 3", next: b}]}\n'
        assert said(back) == []

    def test_a_handler_sees_what_its_steps_body_did_in_sight(self) -> None:
        spec = steps(
            """
            - id: b
              branch: [{when: "true", steps: [{id: x, set: 1}, {id: y, agent: a}]}]
              onFailure:
                steps: [{id: h, set: "{{ steps.x.output }}"}]
                output: "{{ steps.h.output + steps.x.output }}"
            - {id: z, set: "{{ steps.b.error.reason }} {{ has(steps.h) }}"}
            """
        )
        assert said(spec) == []

    def test_the_workflows_handler_sees_all_steps_and_no_step_sees_the_handlers(self) -> None:
        spec = """
            steps: [{id: a, set: "{{ steps.h.output }}"}, {id: b, agent: x}]
            onFailure: [{id: h, set: "{{ steps.b.output }} {{ error.message }}"}, {id: i, set: "{{ steps.h.output }}"}]
            output: "{{ steps.h.output }} {{ steps.b.output }}"
            """
        assert said(spec) == [
            "spec.steps[0].set: steps.h.output: step 'h' runs in spec.onFailure, out of sight here",
            "spec.output: steps.h.output: step 'h' runs in spec.onFailure, out of sight here",
        ]

    def test_conditions_of_a_loop_see_its_steps(self) -> None:
        spec = steps("- {id: l, loop: {until: steps.x.output > 3, steps: [{id: x, agent: a}]}}")
        assert said(spec) == []

    def test_output_of_a_workflow_that_never_gets_there_is_left_alone(self) -> None:
        assert said("output: '{{ steps.a.output }}'\n" + steps("- {id: a, set: 1}\n- {id: b, fail: stop}")) == []


class TestSight:
    @pytest.mark.parametrize(
        "holder",
        [
            "parallel: [{name: p, steps: [{id: x, set: 1}]}]",
            "foreach: {items: [], steps: [{id: x, set: 1}]}",
            "loop: {until: 'true', steps: [{id: x, set: 1}]}",
            "branch: {mode: all, cases: [{when: 'true', steps: [{id: x, set: 1}]}]}",
        ],
    )
    def test_what_runs_in_a_private_body_is_out_of_sight_outside(self, holder: str) -> None:
        spec = steps(f"- {{id: a, {holder}}}\n- {{id: b, set: '{{{{ steps.x.output }}}}'}}")
        assert said(spec) == [
            "spec.steps[1].set: steps.x.output: step 'x' runs in a body of step 'a' and is out of sight here; "
            "use steps.a.output"
        ]

    def test_the_outermost_body_is_named(self) -> None:
        spec = steps(
            "- {id: a, foreach: {items: [], steps: [{id: m, loop: {until: 'true', steps: [{id: x, set: 1}]}}]}}\n"
            "- {id: b, set: '{{ steps.x.output }}'}"
        )
        assert "use steps.a.output" in said(spec)[0]

    def test_steps_around_are_in_sight_inside(self) -> None:
        spec = steps(
            """
            - {id: before, set: 1}
            - id: a
              foreach:
                items: [1]
                steps:
                  - id: m
                    parallel: [{name: p, steps: [{id: x, set: "{{ steps.before.output + item + index }}"}]}]
                  - {id: n, set: "{{ steps.m.output.p }}"}
            """
        )
        assert said(spec) == []

    def test_branches_of_parallel_do_not_see_each_other(self) -> None:
        spec = steps("- {id: a, parallel: [{id: x, set: 1}, {id: y, set: '{{ steps.x.output }}'}]}")
        assert "step 'x' runs in a body of step 'a' and is out of sight here" in said(spec)[0]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("steps.zz.output", "there is no step 'zz'; steps: a, b"),
            ("steps.aa.output", "there is no step 'aa'; did you mean 'a'?"),
            ("steps.a.total", "a step has output and error, not 'total'; write steps.a.output.total"),
            ("steps.a.error.reason", "step 'a' has no onFailure, so the flow never goes on with an error of it"),
            ("steps.a.errors", "only a foreach with onError: skip has errors"),
            ("workflow.inputs", "workflow has no field 'inputs'; did you mean 'input'?"),
            ("workflow.id", "workflow has no field 'id'; it has: input, name, namespace, run"),
            ("result", "'result' is not known here"),
            ("output", "'output' is not known here"),
            ("error.reason", "'error' is not known here"),
            ("item", "'item' is not known here"),
            ("iteration", "'iteration' is not known here"),
            ("data.nope", "no step publishes 'nope'; a step publishes with output: {type: NAME}"),
        ],
    )
    def test_names_that_are_not_there(self, text: str, words: str) -> None:
        spec = steps(f"- {{id: a, set: 1}}\n- {{id: b, set: '{{{{ {text} }}}}'}}")
        (line,) = said(spec)
        assert line.startswith("spec.steps[1].set: ")
        assert words in line

    def test_input_is_not_in_sight_of_input(self) -> None:
        assert "'input' is not known here" in said(steps("- {id: a, agent: x, input: '{{ input }}'}"))[0]

    def test_a_name_of_a_macro_hides_ours(self) -> None:
        assert said(steps("- {id: a, set: '{{ [{\"x\": 1}].map(steps, steps.x) }}'}")) == []

    def test_a_foreach_in_a_foreach_has_its_own_item(self) -> None:
        spec = steps(
            """
            - id: a
              foreach:
                items: [[1]]
                as: row
                steps:
                  - id: b
                    foreach: {items: "{{ row }}", steps: [{id: c, set: "{{ item + index + row_index }} {{ row }}"}]}
                  - {id: d, set: "{{ item }}"}
            """
        )
        assert [line.partition(":")[0] for line in said(spec)] == ["spec.steps[0].foreach.steps[1].set"]


class TestData:
    def test_data_that_nobody_publishes(self) -> None:
        spec = steps("- {id: a, set: 1, output: {type: prices}}\n- {id: b, agent: x, input: {from: price}}")
        assert said(spec) == ["spec.steps[1].input.from: 'price': no step publishes 'price'; did you mean 'prices'?"]

    def test_data_that_is_published_later(self) -> None:
        spec = steps("- {id: a, agent: x, input: {type: prices}}\n- {id: b, set: 1, output: {type: prices}}")
        assert said(spec) == [
            "spec.steps[0].input.type: 'prices' cannot be there yet: step 'b' publishes it, and is never carried out "
            "before this"
        ]

    def test_one_of_several_publishers_is_enough(self) -> None:
        spec = steps(
            "- {id: a, set: 1, output: {type: p}}\n- {id: c, set: '{{ data.p }}'}\n- {id: b, set: 1, output: {type: p}}"
        )
        assert said(spec) == []

    def test_from_a_body_they_are_there_after_the_step_around_it_and_after_the_step_within_it(self) -> None:
        spec = steps(
            """
            - id: a
              parallel:
                - name: one
                  steps:
                    - {id: x, set: 1, output: {type: p}}
                    - {id: y, set: "{{ data.p }}"}
                - {name: two, steps: [{id: z, set: "{{ data.p }}"}]}
              output: "{{ data.p }}"
            - {id: b, set: "{{ data['p'] }}"}
            """
        )
        assert [line.partition(":")[0] for line in said(spec)] == ["spec.steps[0].parallel[1].steps[0].set"]

    def test_in_a_loop_those_of_the_pass_before_are_there(self) -> None:
        spec = steps(
            "- id: l\n  loop:\n    until: iteration > 3\n    steps:\n"
            '      - {id: a, set: "{{ has(data.p) ? data.p : 0 }}"}\n      - {id: b, set: 1, output: {type: p}}'
        )
        assert said(spec) == []

    def test_user_input_needs_no_publisher(self) -> None:
        assert said(steps("- {id: a, agent: x, input: {from: user-input}}")) == []

    def test_a_type_that_only_describes_is_no_reference(self) -> None:
        assert said(steps("- {id: a, agent: x, input: {type: anything, description: what it takes}}")) == []


# ---------------------------------------------------------------------------------------- against a plain search


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_can_come_after_what_agrees_with_a_plain_search(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7))
    names = [f"s{n}" for n in range(size)]
    goal = st.sampled_from([*names, "END", ""])
    made: list[dict[str, Any]] = []
    edges: dict[int, set[int]] = {}
    for n in range(size):
        following, case, default, handler = (data.draw(goal) for _ in range(4))
        kind = data.draw(st.sampled_from(["set", "branch", "fail"]))
        step: dict[str, Any] = {"id": names[n]}
        own = following or (names[n + 1] if n + 1 < size else "END")
        goals: set[str] = {own} if kind == "set" else set()
        if kind == "set":
            step["set"] = 1
        elif kind == "fail":
            step["fail"] = "stop"
        else:
            step["branch"] = {
                "cases": [{"when": "true", **({"next": case} if case else {"steps": [{"id": f"x{n}", "set": 1}]})}]
            }
            goals |= {case or own}
            if default:
                step["branch"]["default"] = default
            goals |= {default or own}
        if following:
            step["next"] = following
        if handler:
            step["onFailure"] = handler
            goals |= {handler}
        made.append(step)
        edges[n] = {names.index(name) if name != "END" else size for name in goals}
    resource = workflow({"steps": made})
    outline = outline_of(resource.spec, typed(resource.spec, WorkflowSpec))
    flow = Flow(outline)
    for first in range(size):
        seen: set[int] = set()
        todo = list(edges[first])
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += edges.get(node, ())
        assert [flow.comes_after(outline.top, first, second) for second in range(size + 1)] == [
            second in seen for second in range(size + 1)
        ]
