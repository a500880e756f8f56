"""Expressions of flows mean the same as those of workflows that are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kastra_core.cel import DYN, JSON_DIALECT, BudgetError, CelSyntaxError, Environment, EvaluationError, Meter
from kastra_core.migration import cel_literal
from kastra_plugin_crewai.flow_expressions import (
    InvalidExpressionError,
    NoCounterpartError,
    Output,
    Scope,
    reads_of,
    translate,
    type_of,
)
from kastra_plugin_crewai.flow_texts import sources, template, text_of
from kastra_plugin_crewai.flow_types import is_doubtful, type_of_state

_SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "t": {"type": "string"}, "o": {"type": "object"}, "any": {}},
}


def _output(name: str) -> Output | None:
    if name == "gone":
        return None
    if name == "asked":
        return Output(path="steps.asked_feedback.output", present="has(steps.asked)", kind="feedback", inner="crew")
    kind = "crew" if name.startswith("crew") else ""
    return Output(path=f"steps.{name}.output", present=f"has(steps.{name})", kind=kind)


SCOPE = Scope(state="workflow.input", outputs=_output)
IN_EACH = Scope(state="workflow.input", outputs=_output, item=True)
TYPED = Scope(state="workflow.input", outputs=_output, state_type=lambda members: type_of_state(_SCHEMA, members))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("state", "workflow.input"),
        ("state.topic", "workflow.input.topic"),
        ("${ state.topic }", "workflow.input.topic"),
        ("state['a b'].c[0]", "workflow.input['a b'].c[0]"),
        ("state.id", "workflow.run"),
        ("state.ids", "workflow.input.ids"),
        ("state.a-state.b", "workflow.input.a - workflow.input.b"),
        ("-state.a", "-workflow.input.a"),
        ("outputs.first", "steps.first.output"),
        ("outputs['first'].x", "steps.first.output.x"),
        ("outputs.crew.raw", "steps.crew.output"),
        ("outputs.crew.json_dict.a", "steps.crew.output.a"),
        ("outputs.crew.pydantic.a.raw", "steps.crew.output.a.raw"),
        ("outputs.first.raw", "steps.first.output.raw"),
        ("outputs.crew.raw.contains('x')", "steps.crew.output.contains('x')"),
        ("has(outputs.first)", "has(steps.first)"),
        ("has(outputs.first.x)", "has(steps.first.output.x)"),
        ("'first' in outputs", "has(steps.first)"),
        ("'first' in outputs.list", "'first' in steps.list.output"),
        ("outputs.asked.feedback", "steps.asked_feedback.output.feedback"),
        ("outputs.asked.output.raw", "steps.asked_feedback.output.output"),
        ("state.rows.map(state, state.x)", "workflow.input.rows.map(state, state.x)"),
        ("state.rows.filter(r, r.n > state.n)", "workflow.input.rows.filter(r, r.n > workflow.input.n)"),
        ("{'state': state.x}", "{'state': workflow.input.x}"),
        ("[1, // one\n state.x]", "[1, workflow.input.x]"),
        ("'state.x'", "'state.x'"),
        ("type(state.x) == string", "type(workflow.input.x) == string"),
    ],
)
def test_names_of_a_flow_become_those_of_a_workflow(source: str, expected: str) -> None:
    assert translate(source, SCOPE) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("state.t.x", "dyn(workflow.input).t.x"),
        ("state.n > 3", "workflow.input.n > 3"),
        ("state.n == 'x'", "dyn(workflow.input).n == 'x'"),
        ("'x' == state.n", "'x' == dyn(workflow.input).n"),
        ("state.t == 'x' && true", "workflow.input.t == 'x' && true"),
        ("state.n == state.t", "dyn(workflow.input).n == dyn(workflow.input).t"),
        ("state.o.x == 1", "workflow.input.o.x == 1"),
        ("state.any.x == 1", "workflow.input.any.x == 1"),
        ("state.n + 1", "workflow.input.n + 1"),
    ],
)
def test_what_only_fails_later_is_not_refused_before(source: str, expected: str) -> None:
    assert translate(source, TYPED) == expected


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("", "empty"),
        ("${}", "empty"),
        ("state.", "invalid CEL"),
        ("score > 1", "'score'"),
        ("item.x", "'item'"),
        ("'open", "invalid CEL"),
    ],
)
def test_what_crewai_refuses_is_invalid(source: str, word: str) -> None:
    with pytest.raises(InvalidExpressionError, match=word):
        translate(source, SCOPE)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("outputs.gone", "gone"),
        ("outputs", "name the method"),
        ("size(outputs)", "name the method"),
        ("outputs[state.x]", "name the method"),
        ("!'a' in outputs", "name the method"),
        ("outputs.crew.tasks_output[0]", "tasks_output"),
        ("outputs.asked.timestamp", "timestamp"),
        ("shout(state.x)", "shout"),
        ("state.rows.map(steps, steps.x)", "rename"),
    ],
)
def test_what_a_workflow_does_not_have_has_no_counterpart(source: str, word: str) -> None:
    with pytest.raises(NoCounterpartError, match=word):
        translate(source, SCOPE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain $5 {a}", "plain $5 {a}"),
        ("${state.x}", "{{ workflow.input.x }}"),
        ("  ${state.x}\n", "{{ workflow.input.x }}"),
        ("On ${state.x}: ${outputs.a}", "On {{ workflow.input.x }}: {{ steps.a.output }}"),
        ("${{'a': {'b': state.x}}}", "{{ {'a': {'b': workflow.input.x}} }}"),
        ("${'}'}!", "{{ '}' }}!"),
        ("$${state.x}.", '{{ "$" }}{{ workflow.input.x }}.'),
        ("{{x}} ${state.x}", '{{ "{{" }}x}} {{ workflow.input.x }}'),
        (["${state.x}", 1, None], ["{{ workflow.input.x }}", 1, None]),
        ({"a": {"b": "${state.x}"}}, {"a": {"b": "{{ workflow.input.x }}"}}),
        ({"{{k}}": "${state.x}", "l": [1, "y"]}, '{{ {"{{k}}": (workflow.input.x), "l": [1, "y"]} }}'),
    ],
)
def test_texts_become_templates(value: Any, expected: Any) -> None:
    assert template(value, SCOPE) == expected


@pytest.mark.parametrize("text", ["${state.x", "${ }", "a ${'b}"])
def test_texts_that_are_not_closed_or_empty_are_invalid(text: str) -> None:
    with pytest.raises(InvalidExpressionError):
        text_of(text, SCOPE)


def test_what_expressions_read_is_found() -> None:
    reads = reads_of(["state.a.b + outputs.x", "size(outputs)", "broken(", "state.rows.all(state, state.q)"])
    assert reads.outputs == {"x"}
    assert reads.state == {("a", "b"), ("rows",)}
    assert list(sources({"a": ["x ${state.a} ${'}'}", 1], "b": "${open"})) == ["state.a", "'}'"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("state.n", "number"),
        ("state.any", ""),
        ("[1]", "array"),
        ("state.n > 1", "boolean"),
        ("state.id", ""),
        ("'a'", "string"),
    ],
)
def test_types_are_told_as_far_as_they_are_known(source: str, expected: str) -> None:
    assert type_of(source, TYPED) == expected


def test_nothing_is_doubtful_of_which_nothing_is_known() -> None:
    assert not is_doubtful("", [], 0, 0, below=True)


# ------------------------------------------------------------------------------------------------ any expression

_DATA = {
    "state": {"n": 3, "t": "tea", "rows": [{"n": 1, "t": "a"}, {"n": 5, "t": "b"}], "o": {"x": 7}, "a-b": 2},
    "outputs": {"first": 4, "text": "said", "list": [1, 2], "crew": {"raw": "facts"}},
}
_MEANT = {
    "workflow": {"input": _DATA["state"], "run": "r"},
    "steps": {
        "first": {"output": 4},
        "text": {"output": "said"},
        "list": {"output": [1, 2]},
        "crew": {"output": "facts"},
    },
    "data": {},
    "item": None,
}


def _terms() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(
        [
            *("state.n", "state.t", "state.rows", "state['a-b']", "state.o.x", "state.rows[0].n", "state"),
            *("outputs.first", "outputs['text']", "outputs.list", "outputs.crew.raw", "outputs.list[1]"),
            *(
                "1",
                "2.5",
                "'tea'",
                '"it\'s"',
                "true",
                "null",
                "[]",
                "has(outputs.first)",
                "has(state.z)",
                "'list' in outputs",
            ),
        ]
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        sign = st.sampled_from(["+", "-", "*", "==", "<", "&&", "||", " in ", "-"])
        return st.one_of(
            st.tuples(inner, sign, inner).map("".join),
            inner.map("({})".format),
            inner.map("-{}".format),
            inner.map("!{}".format),
            inner.map("size({})".format),
            inner.map("string({})".format),
            st.tuples(inner, inner).map(lambda two: f"{{'k': {two[0]}, 'l': [{two[1]}]}}"),
            st.tuples(inner, inner, inner).map(lambda three: f"{three[0]}?{three[1]}:{three[2]}"),
            inner.map(lambda one: f"state.rows.map(state, state.n + {one})"),
            inner.map(lambda one: f"state.rows.filter(r, r.n // note\n < {one})"),
            inner.map(lambda one: f"outputs.list.exists(outputs, outputs == {one})"),
        )

    return st.recursive(leaves, grown, max_leaves=6)


def _value(source: str, values: Mapping[str, Any]) -> Any:
    try:
        program = Environment(dict.fromkeys(values, DYN), JSON_DIALECT).compile(source)
        return program.evaluate(values, Meter(100_000))
    except (EvaluationError, CelSyntaxError, BudgetError):
        return EvaluationError


@given(_terms())
@example("state.n-outputs.first-1")
@example("state.rows.map(state, state.n-state.n)")
@example("'a' in outputs.list?'x':'y'")
def test_a_translated_expression_has_the_value_of_the_flows(source: str) -> None:
    try:
        translated = translate(source, IN_EACH)
    except (NoCounterpartError, InvalidExpressionError):
        return
    assert "\n" not in translated
    assert "//" not in translated
    original = source.replace("outputs.crew.raw", "outputs.crew['raw']")
    try:
        Environment(dict.fromkeys(_DATA, DYN), JSON_DIALECT).compile(original)
    except CelSyntaxError:
        return  # a flow with it is refused before it runs: it has no value to compare with
    expected = _value(original, _DATA)
    assert _value(translated, _MEANT) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
        max_leaves=8,
    )
)
def test_a_value_as_cel_is_that_value(value: Any) -> None:
    assert _value(cel_literal(value), {"x": 1}) == value


@given(st.text(alphabet="${}ab'\"\\ .st//\n"))
def test_any_text_becomes_a_template_or_is_refused(text: str) -> None:
    try:
        assert isinstance(text_of(text, SCOPE), str)
    except (InvalidExpressionError, NoCounterpartError):
        return
