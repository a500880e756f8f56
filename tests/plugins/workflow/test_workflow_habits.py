"""What people bring along from other systems and languages: told, with what to write here."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.cel.hints import suggestion
from kastra_core.errors import UserError
from kastra_plugin_workflow.expressions import ExpressionError, compile_expression
from workflow_checks import at, said, steps

NAMES = {"workflow", "steps", "data", "input"}
SET = "- {id: a, set: {x: 1, s: text, y: [1], n: null, ok: true}}\n"


def when(condition: str) -> str:
    """What is said of a condition after a step ``a`` whose output is known."""
    spec = steps(SET + f"- id: b\n  branch:\n  - when: |-\n      {condition}\n    next: END\n")
    return at(spec, "spec.steps[1].branch[0].when")


class TestFieldsOfSteps:
    @pytest.mark.parametrize(
        ("path", "meant"),
        [
            ("steps.a.result", "steps.a.output"),
            ("steps.a.result.x", "steps.a.output.x"),
            ("steps.a.outputs.x", "steps.a.output.x"),
            ("steps.a.x", "steps.a.output.x"),
        ],
    )
    def test_a_wrong_one_shows_the_right_path(self, path: str, meant: str) -> None:
        text = at(steps(f"{SET}- {{id: b, set: '{{{{ {path} }}}}'}}"), "spec.steps[1].set")
        assert text.endswith(f"; write {meant}")


class TestDollars:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("${{ workflow.input }}", "without $: {{ x }}, not ${{ x }}"),
            ("for ${{ workflow.input }} more", "(column 5 of "),
            ("a {{ workflow.name }}${{ workflow.input }}", "(column 22 of "),
            ("${workflow.input.x}", "write {{ workflow... }}, without $"),
            ("${step.a.result}", "write {{ step... }}, without $"),
            ("x {{ workflow.name }} ${ input['x'] }", "(column 23 of "),
            ("${input}", "write {{ input... }}, without $"),
        ],
    )
    def test_an_expression_of_another_system_is_told(self, text: str, words: str) -> None:
        assert words in at(steps(f'- {{id: a, set: {{v: ["{text}"]}}}}'), "spec.steps[0].set.v[0]")

    def test_in_keys_too(self) -> None:
        assert "without $" in at(steps("- {id: a, set: {'${input.x}': 1}}"), "spec.steps[0].set")

    def test_only_names_in_sight_count(self) -> None:
        assert said(steps("- {id: a, set: 'echo ${item} ${index}'}")) == []
        loop = "- {id: a, foreach: {items: [1], steps: [{id: b, set: 'echo ${item}'}]}}"
        assert "write {{ item... }}" in at(steps(loop), "spec.steps[0].foreach.steps[0].set")

    @pytest.mark.parametrize(
        "text",
        [
            "costs 5$ or $5, {x} and ${} and $(ls)",
            "echo ${HOME} ${data} ${workflow} ${steps_done} $input",
            "US$ {{ workflow.name }}",
            '{{ "$" }}{{ workflow.name }}',
            '{{ "${input}" }} and {{ "${" }}input.x} and {{ "$" }}',
        ],
    )
    def test_plain_text_is_left_alone(self, text: str) -> None:
        assert said({"steps": [{"id": "a", "set": text}]}) == []

    def test_in_a_condition(self) -> None:
        assert "in CEL: names stand without $" in when("${steps.a.output.x} == 1")


class TestComparisons:
    @pytest.mark.parametrize(
        ("condition", "words"),
        [
            ('steps.a.output.x == "1"', 'steps.a.output.x is a number and "1" is a text; write 1 without quotes'),
            ('"1.5" != steps.a.output.x', "the comparison by '!=' is always true"),
            ("steps.a.output.s == 1", "string(1) makes a text of a number"),
            ("steps.a.output.s > 1", "the comparison by '>' fails"),
            ('steps.a.output.ok == "true"', "is a boolean and"),
            ("steps.a.output.ok && steps.a.output.s == steps.a.output.x", "'==' is always false"),
            ("size(steps.a.output.y) == steps.a.output.s", "size(...) is a number"),
        ],
    )
    def test_of_types_that_are_never_equal_is_told(self, condition: str, words: str) -> None:
        assert words in when(condition)

    @pytest.mark.parametrize(
        "condition",
        [
            "steps.a.output.x == 1.5 || steps.a.output.x > 1",
            "steps.a.output.x == null",
            "steps.a.output.n == 1",
            'steps.a.output.s == "1" && steps.a.output.s < "b"',
            'steps.a.output.y.exists(s, s == "1")',
            'workflow.input.x == "1" && string(steps.a.output.x) == "1"',
        ],
    )
    def test_of_what_may_be_equal_is_fine(self, condition: str) -> None:
        assert when(condition) == ""


class TestExpressions:
    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("input.x == None", "'None' is not known here; CEL writes null; in sight"),
            ("True", "CEL writes true"),
            ("False", "CEL writes false"),
            ("not input.a or input.b", "in CEL: 'not' is !, 'or' is ||"),
            ("'not in' not in input.y", "in CEL: 'x not in y' is !(x in y)"),
            ("1 if input.c else 2", "'a if c else b' is c ? a : b"),
            ("input.x is not null", "in CEL: 'is not' is !="),
            ("len(input.x)", "there is no function 'len'; CEL writes size(x)"),
            ("input.x.length()", "CEL writes size(x)"),
            ("input.x | upper", "there are no filters"),
            ("input.x === 1", "in CEL: '===' is =="),
            ("input.x !== 1", "in CEL: '!==' is !="),
            ("input.x ?? 1", "has(x.y) ? x.y : OTHER"),
            ("input.x.join(', ')", "there is no function 'join'; for texts there are"),
            ("input.x.split(',')", "there is no function 'split'; for texts there are"),
            ("upper(input.x)", "all else is a tool's work"),
            ("input.x.toString()", "CEL writes string(x)"),
        ],
    )
    def test_other_languages_words_are_translated(self, source: str, words: str) -> None:
        with pytest.raises(UserError) as caught:
            compile_expression(source, NAMES)
        assert words in str(caught.value)

    def test_texts_in_an_expression_give_no_hints(self) -> None:
        with pytest.raises(UserError) as caught:
            compile_expression("'a and b or not c' 5", NAMES)
        assert "in CEL" not in str(caught.value)

    @pytest.mark.parametrize(
        ("source", "value"),
        [("1 + 1.5", 2.5), ("2 * 1.5 == 3", True), ("[1].map(x, x + 1.5)", [2.5]), ("false ? 1.5 : 1", 1)],
    )
    def test_integers_and_doubles_mix_in_literals_too(self, source: str, value: Any) -> None:
        assert compile_expression(source, NAMES).evaluate({}) == value

    @pytest.mark.parametrize("source", ["1 + 1.5 + nothing()", "1 + 'a'", "1 % 1.5", "[1 + 1.5, 1 + 'a']"])
    def test_what_else_is_wrong_beside_mixed_numbers_is_told(self, source: str) -> None:
        with pytest.raises(UserError):
            compile_expression(source, NAMES)

    @pytest.mark.parametrize("value", ["abc", [1, 2]])
    def test_length_of_a_text_or_a_list(self, value: Any) -> None:
        expression = compile_expression("input.x.length", NAMES)
        with pytest.raises(ExpressionError, match=r"size\(input\.x\)"):
            expression.evaluate({"input": {"x": value}})

    def test_length_of_what_is_known_to_be_a_list(self) -> None:
        assert "size(x) says how many" in when("steps.a.output.y.length > 3")


class TestNames:
    @pytest.mark.parametrize("name", ["end", "End"])
    def test_end_in_other_letters(self, name: str) -> None:
        text = at(steps(f"- {{id: a, set: 1, next: {name}}}"), "spec.steps[0].next")
        assert text == f"there is no step {name!r}; did you mean 'END'?"

    def test_what_differs_in_case_alone_is_nearest(self) -> None:
        assert suggestion("LOAD", ["loaf", "load"]) == "did you mean 'load'?"
        assert suggestion("x", ["load"], "steps: load") == "steps: load"


class TestSchemas:
    def test_fields_in_place_of_keywords(self) -> None:
        spec = "inputSchema: {customer: string, n: int, at: {x: y}}\n" + steps("- {id: a, set: 1}")
        assert at(spec, "spec.inputSchema") == (
            "it has no keyword of JSON Schema, so that everything would fit it; "
            "write {type: object, properties: {customer: {type: string}, n: {type: integer}, at: {...}}}"
        )

    @pytest.mark.parametrize(
        "schema", ["{}", "{title: x}", "{$ref: '#/$defs/a', $defs: {a: {}}}", "{x-form: wide}", "{required: [a]}"]
    )
    def test_a_keyword_is_enough(self, schema: str) -> None:
        assert at(f"inputSchema: {schema}\n" + steps("- {id: a, set: 1}"), "spec.inputSchema") == ""

    @pytest.mark.parametrize(
        ("name", "near"), [("objekt", "object"), ("str", "string"), ("float", "number"), ("dict", "object")]
    )
    def test_a_type_that_is_none(self, name: str, near: str) -> None:
        spec = f"inputSchema: {{type: object, properties: {{a: {{type: {name}}}}}}}\n" + steps("- {id: a, set: 1}")
        text = at(spec, "spec.inputSchema.properties.a.type")
        assert f"{name!r} is no type; did you mean {near!r}? types are object, array, string" in text


def test_each_fault_of_a_schedule_is_told() -> None:
    spec = "schedule: {cron: every day, timeZone: CEST}\n" + steps("- {id: a, set: 1}")
    assert "expected five fields" in at(spec, "spec.schedule.cron")
    zone = at(spec, "spec.schedule.timeZone")
    assert "there is no time zone 'CEST'" in zone
    assert "did you mean" not in zone


class TestSelfCalls:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("- {id: a, set: 1}\n- {id: b, workflow: w}", "[1]"),
            ("- {id: a, workflow: {name: w, namespace: shop}}", "[0]"),
            ("- {id: a, parallel: [{id: b, set: 1}, {id: c, workflow: w}]}", "[0].parallel[1]"),
            ("- {id: a, loop: {until: 'true', steps: [{id: b, workflow: w}]}}", "[0].loop.steps[0]"),
            (
                "- {id: a, branch: {cases: [{when: 'true', steps: [{id: b, workflow: w}]}], "
                "default: {steps: [{id: c, workflow: w}]}}}",
                "[0].branch.cases[0].steps[0]",
            ),
            ("- {id: a, branch: [{when: 'true', next: c}]}\n- {id: b, set: 1}\n- {id: c, workflow: w}", "[2]"),
        ],
    )
    def test_on_every_way_is_told(self, text: str, path: str) -> None:
        assert "calls itself on every way through it" in at(steps(text), f"spec.steps{path}.workflow")

    @pytest.mark.parametrize(
        "text",
        [
            "- {id: a, workflow: {name: w, namespace: other}}",
            "- {id: a, branch: [{when: 'true', next: END}]}\n- {id: b, workflow: w}",
            "- {id: a, branch: [{when: 'true', steps: [{id: b, workflow: w}]}]}",
            "- {id: a, branch: [{when: 'true', steps: [{id: s, succeed: 1}]}]}\n- {id: b, workflow: w}",
            "- {id: a, foreach: {items: '{{ workflow.input }}', steps: [{id: b, workflow: w}]}}",
            "- {id: a, loop: {while: 'true', steps: [{id: b, workflow: w}]}}",
            "- {id: a, workflow: w, onFailure: {output: 1}}",
        ],
    )
    def test_with_a_way_around_it_is_fine(self, text: str) -> None:
        assert said(steps(text)) == []
