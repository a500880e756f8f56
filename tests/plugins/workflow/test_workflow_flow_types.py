"""Type mismatches that show before a run."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.api.meta import ResourceKey
from kastra_plugin_workflow.flow import type_problems
from kastra_plugin_workflow.shapes import ExcludedError, Shape
from workflow_checks import said, steps, workflow

INPUT = """
inputSchema:
  type: object
  additionalProperties: false
  properties:
    n: {type: integer}
    ok: {type: boolean}
    maybe: {type: [boolean, "null"]}
    name: {type: string}
    rows: {type: array, items: {$ref: "#/$defs/row"}}
    free: {type: object}
    any: {}
  $defs:
    row:
      type: object
      properties: {price: {type: number}, tags: {type: array, maxItems: 2}}
      additionalProperties: false
"""


def found(text: str, *, field: str = "set") -> list[str]:
    return said(INPUT + steps(f"- {{id: a, {field}: '{text}'}}"))


class TestPaths:
    @pytest.mark.parametrize(
        "text",
        [
            "{{ workflow.input.n }}",
            "{{ workflow.input.free.x.y[0] }}",
            "{{ workflow.input.any.x }}",
            "{{ workflow.input.rows[3].price }}",
            "{{ workflow.input.rows[0].tags[1] }}",
            "{{ workflow.input.rows.map(r, r.anything) }}",
            "{{ has(workflow.input.nope) }}",
        ],
    )
    def test_what_may_be_there_is_fine(self, text: str) -> None:
        assert found(text) == []

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{{ workflow.input.nn }}", "workflow.input has no field 'nn'; did you mean 'n'?"),
            ("{{ workflow.input.n.x }}", "workflow.input.n is an integer, without fields"),
            ("{{ workflow.input.n + workflow.input.name.x }}", "workflow.input.name is a text, without fields"),
            ("{{ workflow.input.rows.price }}", "workflow.input.rows is a list, without fields"),
            (
                "{{ workflow.input.rows[0].prise }}",
                "workflow.input.rows[0] has no field 'prise'; did you mean 'price'?",
            ),
            ("{{ workflow.input.rows[0].tags[2] }}", "workflow.input.rows[0].tags has at most 2 items, so no [2]"),
            ("{{ workflow.input.name[0] }}", "workflow.input.name is a text, no list"),
            ("x {{ workflow.name.x }}", "workflow.name is a text, without fields"),
        ],
    )
    def test_what_a_schema_excludes_is_told(self, text: str, words: str) -> None:
        (line,) = found(text)
        assert line == f"spec.steps[0].set: {words}"

    def test_input_in_the_same_way(self) -> None:
        spec = INPUT + steps("- {id: a, input: {type: user-input}, set: '{{ input.nn }}'}")
        assert "input has no field 'nn'" in said(spec)[0]
        spec = INPUT + steps("- {id: a, input: {x: '{{ workflow.input.n }}'}, set: '{{ input.x.y }} {{ input.z }}'}")
        assert [line.partition(": ")[2] for line in said(spec)] == [
            "input.x is an integer, without fields",
            "input has no field 'z'; it has: x",
        ]

    def test_items_of_a_foreach(self) -> None:
        spec = INPUT + steps(
            "- {id: a, foreach: {items: '{{ workflow.input.rows }}', as: row, steps: "
            "[{id: b, set: '{{ row.prise }}'}, {id: c, set: '{{ row_index.x }}'}]}}"
        )
        assert [line.partition(": ")[2] for line in said(spec)] == [
            "row has no field 'prise'; did you mean 'price'?",
            "row_index is an integer, without fields",
        ]


class TestOutputs:
    @pytest.mark.parametrize(
        ("first", "text", "words"),
        [
            ("set: {a: 1, b: [1, {c: x}]}", "steps.s.output.c", "steps.s.output has no field 'c'; it has: a, b"),
            ("set: {a: 1, b: [1, {c: x}]}", "steps.s.output.b[2]", "steps.s.output.b has 2 items, so no [2]"),
            ("set: {a: 1, b: [1, {c: x}]}", "steps.s.output.b[1].c.d", "output.b[1].c is a text, without fields"),
            ("set: 'x {{ workflow.input }}'", "steps.s.output.a", "steps.s.output is a text, without fields"),
            ("set: '{{ 1 + 1 }}'", "steps.s.output.a", "steps.s.output is an integer or a number, without fields"),
            ("set: '{{ workflow.input.rows }}'", "steps.s.output[0].x", "steps.s.output[0] has no field 'x'"),
            ("set: {r: '{{ workflow.input.rows }}'}", "steps.s.output.r[0].x", "steps.s.output.r[0] has no field 'x'"),
            ("agent: x, output: {schema: {type: string}}", "steps.s.output.a", "steps.s.output is a text, without"),
            ("agent: x, output: {schema: {type: string}, type: d}", "data.d.a", "data.d is a text, without fields"),
            ("agent: x, output: {k: '{{ result }}'}", "steps.s.output.a", "steps.s.output has no field 'a'; it has: k"),
            ("suspend: {schema: {type: boolean}}", "steps.s.output.a", "steps.s.output is a boolean, without fields"),
            ("waitForEvent: {name: e, schema: {type: array}}", "steps.s.output.a", "output is a list, without"),
            ("foreach: {items: [], steps: [{id: i, agent: x}]}", "steps.s.output.a", "output is a list, without"),
            ("parallel: [{id: i, agent: x}]", "steps.s.output.j", "steps.s.output has no field 'j'"),
            ("set: 1, onFailure: {output: 2}", "steps.s.error.x", "steps.s.error has no field 'x'"),
            ("set: 1, output: '{{ result.x }}'", "1", "result is an integer, without fields"),
        ],
    )
    def test_what_is_known_of_an_output(self, first: str, text: str, words: str) -> None:
        spec = INPUT + steps(f"- {{id: s, {first}}}\n- {{id: t, set: '{{{{ {text} }}}}'}}")
        (line,) = said(spec)
        assert words in line

    @pytest.mark.parametrize(
        "first",
        ["agent: x", "set: {a: 1}, onFailure: {output: {b: 1}}", "branch: [{when: 'true', next: t}]", "sleep: 1s"],
    )
    def test_what_is_not_known_excludes_nothing(self, first: str) -> None:
        assert said(steps(f"- {{id: s, {first}}}\n- {{id: t, set: '{{{{ steps.s.output.b.c }}}}'}}")) == []

    def test_steps_that_take_their_outputs_from_each_other(self) -> None:
        spec = steps(
            """
            - {id: a, set: "{{ has(steps.b) ? steps.b.output : 1 }}", output: "{{ steps.b.output }}"}
            - {id: b, set: "{{ steps.a.output }}"}
            - {id: c, branch: [{when: steps.b.output.x > 3, next: a}]}
            """
        )
        assert said(spec) == []


class TestConditions:
    @pytest.mark.parametrize(
        "text", ["workflow.input.ok", "workflow.input.maybe", "workflow.input.any", "workflow.input.n > 1"]
    )
    def test_what_may_be_a_boolean_is_fine(self, text: str) -> None:
        assert said(INPUT + steps(f"- {{id: a, branch: [{{when: '{text}', next: END}}]}}")) == []

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("workflow.input.n", "an integer"),
            ("workflow.input.rows", "a list"),
            ("1 + 1", "an integer or a number"),
            ("[1]", "a list"),
        ],
    )
    def test_what_cannot_be_one_is_told(self, text: str, word: str) -> None:
        (line,) = said(INPUT + steps(f"- {{id: a, branch: [{{when: '{text}', next: END}}]}}"))
        assert f"spec.steps[0].branch[0].when: a condition must be true or false, this is {word}" in line

    def test_conditions_of_loops_too(self) -> None:
        (line,) = said(steps("- {id: a, loop: {until: iteration, steps: [{id: b, set: 1}]}}"))
        assert line.startswith("spec.steps[0].loop.until: a condition must be true or false, this is an integer")

    @pytest.mark.parametrize(
        ("text", "word"), [("workflow.input.n", "an integer"), ("workflow.input.free", "an object")]
    )
    def test_items_must_be_a_list(self, text: str, word: str) -> None:
        spec = INPUT + steps(f"- {{id: a, foreach: {{items: '{{{{ {text} }}}}', steps: [{{id: b, set: 1}}]}}}}")
        assert said(spec) == [f"spec.steps[0].foreach.items: foreach goes through a list, this is {word}"]


class TestValues:
    def test_the_workflows_output(self) -> None:
        spec = """
            outputSchema: {type: object, required: [total, name], properties: {total: {type: integer}}}
            output: {total: "x {{ workflow.input }}"}
            steps: [{id: a, agent: x}]
            """
        assert said(spec) == [
            "spec.output.name: is required (spec.outputSchema)",
            "spec.output.total: expected an integer, this is a text (spec.outputSchema)",
        ]

    def test_an_early_success(self) -> None:
        spec = "outputSchema: {type: object}\n" + steps("- {id: a, succeed: [1]}")
        assert 'spec.steps[0].succeed: [1] is not of type "object" (spec.outputSchema)' in said(spec)

    def test_a_value_and_its_own_schema(self) -> None:
        spec = steps("- {id: a, set: {n: x}, output: {schema: {properties: {n: {type: integer}}}}}")
        assert said(spec) == ['spec.steps[0].set.n: "x" is not of type "integer" (output.schema)']

    def test_computed_values_below_a_choice_of_schemas_are_left_alone(self) -> None:
        schema = "{oneOf: [{type: object, required: [a]}, {type: object, properties: {b: {type: integer}}}]}"
        spec = f"outputSchema: {schema}\noutput: {{b: '{{{{ workflow.input }}}}'}}\n" + steps("- {id: a, agent: x}")
        assert said(spec) == []


TOOL = ResourceKey("mastra.ai", "Tool", "shop", "t")
IN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "default": "C"},
        "deep": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
OUT: dict[str, Any] = {"type": "object", "properties": {"temp": {"type": "number"}}, "additionalProperties": False}


def with_schemas(step: str, *more: str) -> list[str]:
    resource = workflow(steps("\n".join(f"- {{{line}}}" for line in (step, *more))))
    return [str(problem) for problem in type_problems(resource, {TOOL: (IN, OUT)})]


class TestReferencedSchemas:
    @pytest.mark.parametrize(
        "arguments",
        [
            "{city: Bonn}",
            "{city: '{{ workflow.input.c }}', days: '{{ workflow.input.n }}'}",
            "{city: 'in {{ workflow.input.c }}', deep: {x: '{{ 1 + 1 }}'}}",
            "'{{ workflow.input }}'",
        ],
    )
    def test_arguments_that_fit(self, arguments: str) -> None:
        assert with_schemas(f"id: a, tool: t, arguments: {arguments}") == []

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("{}", ["arguments.city: is required"]),
            ("{city: 5}", ['arguments.city: 5 is not of type "string"']),
            ("{city: x, day: 1}", ["arguments: unknown: 'day'"]),
            ("{city: '{{ workflow.input }}', day: 1}", ["arguments: unknown: 'day'"]),
            ("{days: '{{ workflow.input }}'}", ["arguments.city: is required"]),
            ("{city: x, days: 'n {{ workflow.input }}'}", ["arguments.days: expected an integer, this is a text"]),
            ("{city: x, days: '{{ [1] }}'}", ["arguments.days: expected an integer, this is a list"]),
            ("{city: x, deep: {y: '{{ workflow.input }}'}}", ["arguments.deep.x: is required"]),
            ("{city: x, deep: {x: '{{ workflow.name }}'}}", ["arguments.deep.x: expected a number, this is a text"]),
        ],
    )
    def test_arguments_that_cannot_fit(self, arguments: str, expected: list[str]) -> None:
        found = with_schemas(f"id: a, tool: t, arguments: {arguments}")
        assert found == [f"spec.steps[0].{line} (the input of tool t)" for line in expected]

    def test_input_of_a_tool_that_is_no_object_is_its_single_parameter(self) -> None:
        assert with_schemas("id: a, tool: t, input: Bonn") == []
        assert with_schemas("id: a, tool: t, input: {day: 1}") != []

    def test_the_output_is_known_to_later_steps(self) -> None:
        assert with_schemas("id: a, tool: t, arguments: {city: x}", "id: b, set: '{{ steps.a.output.temp }}'") == []
        assert with_schemas("id: a, tool: t, arguments: {city: x}", "id: b, set: '{{ steps.a.output.tmp }}'") == [
            "spec.steps[1].set: steps.a.output has no field 'tmp'; did you mean 'temp'?"
        ]

    def test_a_workflow_takes_what_the_caller_gives(self) -> None:
        key = ResourceKey("mastra.ai", "Workflow", "shop", "w2")
        schema = {"type": "object", "required": ["a"], "properties": {"a": {"default": 1}, "b": {"type": "string"}}}
        resource = workflow(
            "inputSchema: {type: array}\n"
            + steps("- {id: a, workflow: w2, input: {b: 1}}\n- {id: b, workflow: w2, input: {from: user-input}}")
        )
        found = [str(problem) for problem in type_problems(resource, {key: (schema, None)})]
        assert found == [
            'spec.steps[0].input.b: 1 is not of type "string" (the input of workflow w2)',
            "spec.steps[1].input: expected an object, this is a list (the input of workflow w2)",
        ]

    def test_schemas_that_are_none_say_nothing(self) -> None:
        resource = workflow(steps("- {id: a, tool: t, arguments: {x: 1}}\n- {id: b, set: '{{ steps.a.output.x }}'}"))
        broken: Any = {"type": "foo", "properties": 5, "$ref": "#/nowhere"}
        assert type_problems(resource, {TOOL: (broken, broken)}) == []
        assert type_problems(resource, {TOOL: (None, None)}) == []
        assert type_problems(resource, {}) == []


class TestShapes:
    @pytest.mark.parametrize(
        "schema",
        [
            {},
            None,
            True,
            {"$ref": "https://x/y"},
            {"$ref": "#"},
            {"$ref": "#/a/b"},
            {"type": 5},
            {"additionalProperties": False, "patternProperties": {"^x": {}}},
            {"additionalProperties": False, "allOf": [{}]},
            {"properties": [1], "items": 3, "prefixItems": {}},
        ],
    )
    def test_what_is_not_understood_excludes_nothing(self, schema: Any) -> None:
        shape = Shape(schema, schema)
        assert shape.member("x").types is None
        assert shape.member(0).types is None

    def test_references_are_followed_within_the_document(self) -> None:
        root = {
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "string"}},
            "properties": {"x": {"$ref": "#/$defs/a"}},
        }
        assert Shape(root, root).member("x").types == frozenset({"string"})
        with pytest.raises(ExcludedError, match="is a text, without fields"):
            Shape(root, root).member("x").member("y")

    def test_older_drafts_list_the_first_items(self) -> None:
        shape = Shape({"items": [{"type": "string"}], "additionalItems": False})
        assert shape.member(0).types == frozenset({"string"})
        with pytest.raises(ExcludedError, match="has 1 item, so no"):
            shape.member(1)
