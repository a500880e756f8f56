"""Expressions of older workflows in CEL: what they become, and that they mean the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.migration import Draft
from kastra_plugin_legacy.workflow_expressions import condition, expression
from kastra_plugin_legacy.workflow_js import (
    UNDEFINED,
    Arrow,
    Binary,
    Call,
    Choice,
    Item,
    Items,
    Literal,
    Member,
    Name,
    Pairs,
    Tree,
    Unary,
    UntranslatableError,
    parse_js,
)
from kastra_plugin_legacy.workflow_model import Block
from kastra_plugin_legacy.workflow_scope import Plan, Scope
from kastra_plugin_legacy.workflow_text import template
from kastra_plugin_workflow.expressions import ExpressionError, compile_expression, compile_template

NAMES = {"workflow", "steps", "data", "state"}


def scope(schema: Mapping[str, Any] | None = None) -> Scope:
    """After the last step of a workflow without steps."""
    draft = Draft({"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": "w"}})
    return Scope(Plan(draft=draft, block=Block(), schema=dict(schema) if schema is not None else None), None, "end")


def typed(**types: str) -> Scope:
    return scope({"type": "object", "properties": {name: {"type": kind} for name, kind in types.items()}})


# ------------------------------------------------------------------------------------------------ what they become


@pytest.mark.parametrize(
    ("source", "cel"),
    [
        ("!!input.city", 'has(workflow.input.city) && !(workflow.input.city in [null, false, 0, ""])'),
        ("input.city === 'Bonn'", 'has(workflow.input.city) && workflow.input.city == "Bonn"'),
        ("input.city !== 'Bonn'", '!(has(workflow.input.city) && workflow.input.city == "Bonn")'),
        ("input.n >= 3", "has(workflow.input.n) && workflow.input.n >= 3"),
        ("input.n == '3'", 'has(workflow.input.n) && workflow.input.n in ["3", 3]'),
        ("input.a === undefined", "!has(workflow.input.a)"),
        ("input.a == null", "!has(workflow.input.a) || workflow.input.a == null"),
        ("typeof input.a === 'string'", "has(workflow.input.a) && type(workflow.input.a) == string"),
        ("Array.isArray(input.a)", "has(workflow.input.a) && type(workflow.input.a) == list"),
        ("input['first-name'] === 'x'", '"first-name" in workflow.input && workflow.input["first-name"] == "x"'),
        ("(input, context) => input.n > 1", "has(workflow.input.n) && workflow.input.n > 1"),
        ("function (i) { return i.n > 1; }", "has(workflow.input.n) && workflow.input.n > 1"),
        ("return input.n > 1;", "has(workflow.input.n) && workflow.input.n > 1"),
        ("{{input.n}} > 1", "has(workflow.input.n) && workflow.input.n > 1"),
        ("$n > 1", "has(workflow.input.n) && workflow.input.n > 1"),
        ("'{{input.n}}' === 'x'", None),
        ("input.a === 1 || false", "has(workflow.input.a) && workflow.input.a == 1"),
        ("true", "true"),
        ("0", "false"),
    ],
)
def test_a_condition_asks_for_what_may_be_missing(source: str, cel: str | None) -> None:
    found = condition(source, scope())
    compile_expression(found, NAMES)
    assert cel in (found, None)


@pytest.mark.parametrize(
    ("source", "cel"),
    [
        ("input.text", 'has(workflow.input.text) && workflow.input.text != ""'),
        ("input.flag", "has(workflow.input.flag) && workflow.input.flag"),
        ("input.n", "has(workflow.input.n) && workflow.input.n != 0"),
        ("input.list", "has(workflow.input.list)"),
        ("input.list.includes(input.text)", None),
        ("input.text.includes('a')", 'has(workflow.input.text) && workflow.input.text.contains("a")'),
        ("input.text.length > 2", "has(workflow.input.text) && size(workflow.input.text) > 2"),
        ("input.flag === 'true'", "false"),
        ("input.text.city === 'x'", None),
    ],
)
def test_a_condition_uses_what_the_schema_says(source: str, cel: str | None) -> None:
    place = typed(text="string", flag="boolean", n="number", list="array")
    try:
        found: str | None = condition(source, place)
    except UntranslatableError:
        found = None
    if cel is not None:
        assert found == cel
    if found is not None:
        compile_expression(found, NAMES)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ workflow.input.topic }}", "{{ workflow.input.topic }}"),
        ("On ${input.topic}.", "On {{ workflow.input.topic }}."),
        ("On {{topic}}, ${day}", "On {{ workflow.input.topic }}, {{ workflow.input.day }}"),
        ("$topic", "{{ workflow.input.topic }}"),
        ("costs $5 or $topic", "costs $5 or $topic"),
        ("{{{ topic }}}", "{{ workflow.input.topic }}"),
        ("${{ topic }}", "{{ workflow.input.topic }}"),
        ("{{ topic | json }}", "{{ workflow.input.topic }}"),
        ("{{ topic | default('x') }}", '{{ has(workflow.input.topic) ? workflow.input.topic : "x" }}'),
        (
            "{{input.on || false}}",
            '{{ has(workflow.input.on) && !(workflow.input.on in [null, false, 0, ""]) ? workflow.input.on : false }}',
        ),
        ("{{ input.a ?? 'x' }}", '{{ has(workflow.input.a) && workflow.input.a != null ? workflow.input.a : "x" }}'),
        ("{ {{topic}} }", "{ {{ workflow.input.topic }} }"),
        ("{{{{topic}}}}", None),
        ("a {x} {{", 'a {x} {{ "{{" }}'),
    ],
)
def test_placeholders_of_every_spelling_become_expressions(text: str, made: str | None) -> None:
    found = template(text, scope())
    if made is not None:
        assert found.value == made
    compile_template(found.value, NAMES)


@pytest.mark.parametrize(
    "text", ["{{ env.HOME }}", "${process.env.X}", "{{ Math.random() }}", "{{ a => b }}", "${agent.name}"]
)
def test_what_has_no_equivalent_stays_as_text_and_is_told(text: str) -> None:
    found = template(f"a {text} b", scope())
    assert len(found.problems) == 1
    assert compile_template(found.value, NAMES).render({}) == f"a {text} b"


def test_blocks_of_handlebars_become_conditional_pieces_without_their_lines() -> None:
    text = (
        "Hi {{name}}.\n{{#if vip}}\nWelcome back, {{name}}!\n{{else if old}}\nAgain.\n{{else}}\nNew.\n{{/if}}\n"
        "Bye {{#unless x}}now{{/unless}}"
    )
    made = template(text, scope())
    render = compile_template(made.value, NAMES).render
    assert made.problems == ()

    def said(**given: Any) -> Any:
        return render({"workflow": {"input": {"name": "Ann", **given}}, "steps": {}})

    assert said(vip=True, x=1) == "Hi Ann.\nWelcome back, Ann!\nBye "
    assert said(vip=[], old="y") == "Hi Ann.\nAgain.\nBye now"
    assert said(x=0) == "Hi Ann.\nNew.\nBye now"


def test_a_block_that_is_no_condition_stays_as_it_is_written() -> None:
    text = "{{#each items}}- {{name}}{{/each}}"
    made = template(text, scope())
    assert "each" in made.problems[0]
    rendered = compile_template(made.value, NAMES).render({"workflow": {"input": {"name": "n"}}})
    assert rendered == "{{#each items}}- n{{/each}}"


@pytest.mark.parametrize(
    "source",
    [
        "const a = 1; a",
        "await f()",
        "x.map(y => y)",
        "new Date()",
        "a = 1",
        "/x/.test(a)",
        "`${a}`",
        "a +",
        "((((",
        "x" * 9000,
    ],
)
def test_what_is_no_plain_expression_is_refused_with_a_reason(source: str) -> None:
    with pytest.raises(UntranslatableError) as caught:
        condition(source, scope())
    assert str(caught.value)


# ------------------------------------------------------------------------------------------------ the same meaning


class Thrown(Exception):
    """JavaScript throws."""


class Different(Exception):
    """What the translator says it does not keep, or what has no JSON value."""


def evaluate(tree: Tree, scope: Mapping[str, Any]) -> Any:
    """The value in JavaScript; written without a look at the translator."""
    if isinstance(tree, Literal):
        return tree.value
    if isinstance(tree, Name):
        return scope.get(tree.name, UNDEFINED)
    if isinstance(tree, Member):
        target = evaluate(tree.target, scope)
        if target is None or target is UNDEFINED:
            if tree.optional:
                return UNDEFINED
            raise Thrown
        if tree.name == "length":
            if isinstance(target, (str, list)):
                return len(target)
            raise Different
        if isinstance(target, dict) and isinstance(tree.name, str):
            return target.get(tree.name, UNDEFINED)
        raise Different
    if isinstance(tree, Unary):
        value = evaluate(tree.operand, scope)
        if tree.sign == "!":
            return not truthy(value)
        raise Different
    if isinstance(tree, Choice):
        return evaluate(tree.yes if truthy(evaluate(tree.condition, scope)) else tree.no, scope)
    if isinstance(tree, Items):
        return [none(evaluate(item, scope)) for item in tree.items]
    if isinstance(tree, Call):
        assert isinstance(tree.target, Member)
        target = evaluate(tree.target.target, scope)
        if target is None or target is UNDEFINED:
            raise Thrown
        argument = evaluate(tree.arguments[0], scope)
        if isinstance(target, list):
            return any(strictly(item, argument) for item in target)
        if isinstance(target, str) and isinstance(argument, str):
            return argument in target
        raise Different
    assert isinstance(tree, Binary)
    assert not isinstance(tree, (Arrow, Item, Pairs))
    return binary(tree, scope)


def binary(tree: Binary, scope: Mapping[str, Any]) -> Any:
    left = evaluate(tree.left, scope)
    if tree.sign == "&&":
        return evaluate(tree.right, scope) if truthy(left) else left
    if tree.sign == "||":
        return left if truthy(left) else evaluate(tree.right, scope)
    if tree.sign == "??":
        return left if left is not None and left is not UNDEFINED else evaluate(tree.right, scope)
    right = evaluate(tree.right, scope)
    if tree.sign in ("===", "!=="):
        return strictly(left, right) is (tree.sign == "===")
    if tree.sign in ("==", "!="):
        return loosely(left, right) is (tree.sign == "==")
    if UNDEFINED in (left, right) and tree.sign in ("<", ">", "<=", ">="):
        return False
    if is_number(left) and is_number(right):
        return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}.get(
            tree.sign, UNDEFINED
        )
    raise Different


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def truthy(value: Any) -> bool:
    return not (
        value is None or value is UNDEFINED or value is False or value == "" or (is_number(value) and value == 0)
    )


def strictly(left: Any, right: Any) -> bool:
    nothing = [value is None or value is UNDEFINED for value in (left, right)]
    if all(nothing) and left is not right:
        raise Different  # null and undefined are one for CEL
    if isinstance(left, (dict, list)) and isinstance(right, (dict, list)):
        raise Different  # by identity
    if any(nothing) or isinstance(left, bool) is not isinstance(right, bool):
        return left is right
    return (
        type(left) is type(right) and left == right
        if isinstance(left, str) or isinstance(right, str)
        else left == right
    )


def loosely(left: Any, right: Any) -> bool:
    if isinstance(left, (dict, list)) or isinstance(right, (dict, list)):
        raise Different
    nothing = [value is None or value is UNDEFINED for value in (left, right)]
    if any(nothing):
        return all(nothing)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return number(left) == number(right)


def number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value) if value.strip() else 0.0
        except ValueError:
            return math.nan
    return float(value)


def none(value: Any) -> Any:
    return None if value is UNDEFINED else value


FIELDS = ("a", "b", "c", "first-name")
texts = st.sampled_from(["", "x", "xy", "0", "1", "5", "no"])
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from([0, 1, 2, 5, 0.5]), texts)
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from(["k", "m"]), scalars, max_size=2)
)
inputs = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)


def quoted(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    )


paths = st.sampled_from(
    [
        "input.a",
        "workflow.input.b",
        "a",
        "b",
        "input['first-name']",
        "input.c.k",
        "input?.a",
        "input.c?.k",
        "input.b.length",
    ]
)
leaves = st.one_of(paths, scalars.map(quoted), st.just("undefined"))


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    signs = st.sampled_from(["&&", "||", "??", "===", "!==", "==", "!=", "<", ">="])
    return st.one_of(
        st.tuples(pair, signs).map(lambda found: f"({found[0][0]} {found[1]} {found[0][1]})"),
        inner.map(lambda text: f"!{text}" if text[0] not in "-0123456789" else f"!({text})"),
        st.tuples(inner, inner, inner).map(lambda found: f"({found[0]} ? {found[1]} : {found[2]})"),
        st.tuples(paths, inner).map(lambda found: f"{found[0]}.includes({found[1]})"),
        pair.map(lambda found: f"[{found[0]}, {found[1]}].includes({found[0]})"),
    )


expressions = st.recursive(leaves, grown, max_leaves=6)


def js(source: str, given: Mapping[str, Any]) -> Any:
    names = {"input": dict(given), "workflow": {"input": dict(given)}, **given}
    return evaluate(parse_js(source), names)


@settings(max_examples=150, deadline=None)
@given(expressions, st.lists(inputs, min_size=1, max_size=4))
def test_a_condition_is_true_for_what_javascript_takes_as_true(source: str, given: list[dict[str, Any]]) -> None:
    try:
        cel = condition(source, scope())
    except UntranslatableError:
        return
    compiled = compile_expression(cel, NAMES)
    wrong: list[Any] = []
    for one in given:
        try:
            expected = truthy(js(source, one))
        except (Thrown, Different):
            continue
        try:
            found = compiled.evaluate_condition({"workflow": {"input": one}})
        except ExpressionError as error:
            if not reads_too_far(source, one):
                wrong.append((cel, one, str(error)))
            continue
        assert found is expected, (cel, one)
    assert wrong == []


@settings(max_examples=120, deadline=None)
@given(expressions, st.lists(inputs, min_size=1, max_size=4))
def test_a_value_is_that_of_javascript(source: str, given: list[dict[str, Any]]) -> None:
    try:
        cel = expression(source, scope()).text
    except UntranslatableError:
        return
    compiled = compile_expression(cel, NAMES)
    for one in given:
        try:
            expected = none(js(source, one))
        except (Thrown, Different):
            continue
        try:
            found = compiled.evaluate({"workflow": {"input": one}})
        except ExpressionError:
            # A field that is missing is told; conditions ask before.
            assert expected is None or reads_too_far(source, one), (cel, one)
            continue
        assert (found, isinstance(found, bool)) == (expected, isinstance(expected, bool)), (cel, one)


def reads_too_far(source: str, given: Mapping[str, Any]) -> bool:
    """Whether any part of an expression, taken alone, throws, is not kept, or has no value."""
    todo: list[Any] = [parse_js(source)]
    names = {"input": dict(given), "workflow": {"input": dict(given)}, **given}
    while todo:
        tree = todo.pop()
        try:
            if evaluate(tree, names) is UNDEFINED:
                return True
        except (Thrown, Different):
            return True
        fields = ("target", "operand", "left", "right", "condition", "yes", "no")
        todo += [getattr(tree, field) for field in fields if hasattr(tree, field)]
        todo += [*getattr(tree, "items", ()), *getattr(tree, "arguments", ())]
    return False


@settings(max_examples=120, deadline=None)
@given(st.text(alphabet="ab.[]'\"(){}$!&|=<>?:,+-*/ 01`\\\n#ifelse", max_size=40))
def test_no_text_breaks_the_translator_and_what_comes_out_compiles(text: str) -> None:
    with suppress(UntranslatableError):
        compile_expression(condition(text, scope()), NAMES)
    made = template(text, scope())
    compile_template(made.value, NAMES)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{",
                "}",
                "$",
                "${",
                "#if a",
                "/if",
                "else",
                "a",
                " ",
                "\n",
                "{{a}}",
                "{{#if a}}",
                "{{/if}}",
                "'",
            ]
        ),
        max_size=12,
    )
)
def test_texts_full_of_braces_become_templates_that_compile(parts: list[str]) -> None:
    compile_template(template("".join(parts), scope()).value, NAMES)


@given(
    st.text(alphabet="ab{}$ \n\"'", max_size=30).filter(
        lambda text: "{{" not in text and "${" not in text and text[:1] != "$"
    )
)
def test_a_text_without_placeholders_renders_as_it_is(text: str) -> None:
    assert compile_template(template(text, scope()).value, NAMES).render({}) == text
