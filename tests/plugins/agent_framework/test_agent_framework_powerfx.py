"""Power Fx is read whole, and what becomes of it gives what Power Fx gives."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_plugin_agent_framework import powerfx_functions
from kastra_plugin_agent_framework.cel import ANY, BLANK, Cel, member
from kastra_plugin_agent_framework.powerfx import PowerFxError, parse, parse_template
from kastra_plugin_agent_framework.translation import Translator, UntranslatableError
from kastra_plugin_workflow.expressions import compile_expression

DATA: dict[str, Any] = {
    "n": 4,
    "half": 2.5,
    "text": "Hello World",
    "empty": "",
    "blank": None,
    "yes": True,
    "rows": [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 20}],
    "list": ["x", "y"],
    "record": {"inner": {"deep": 5}, "none": None},
}


class _Scope:
    """Variables of a test; calls of functions are made at once, as a step before would."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"data": dict(DATA), "steps": {}}

    def resolve(self, path: tuple[str, ...]) -> Cel | None:
        if path[0] != "Local" or len(path) < 2:
            return None
        if path[1] not in DATA:
            return Cel("null", frozenset({BLANK}), True)
        root = Cel(f'data["{path[1]}"]', frozenset({ANY}), True)
        names = iter(range(1000))
        return member(root, path[2:], lambda: f"m{next(names)}") if path[2:] else root

    def call(self, function: str, arguments: Mapping[str, Any]) -> Cel:
        name = f"s{len(self.scope['steps'])}"
        values = {key: self._value(value) for key, value in arguments.items()}
        self.scope["steps"][name] = {"output": getattr(powerfx_functions, function)(**values)}
        return Cel(f"steps.{name}.output", atom=True)

    def stub(self, function: str, arguments: Sequence[Any]) -> Cel:
        raise UntranslatableError(function)

    def _value(self, template: Any) -> Any:
        if isinstance(template, str) and template.startswith("{{"):
            return self.evaluate(template[2:-2].strip())
        if isinstance(template, list):
            return [self._value(item) for item in template]
        return template

    def evaluate(self, expression: str) -> Any:
        return compile_expression(expression, list(self.scope)).evaluate(self.scope)


def value_of(formula: str) -> Any:
    scope = _Scope()
    return scope.evaluate(Translator(scope).value(parse(formula)[0]).text)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("2 ^ 3 ^ 2", 512),
        ("-2 + 50%", -1.5),
        ('"a" & 1 & true & Blank()', "a1true"),
        ('"say ""hi"""', 'say "hi"'),
        ('$"n is {Local.n}!"', "n is 4!"),
        ("Local.blank + 1", 1),
        ("Local.missing", None),
        ("Local.record.inner.deep + 1", 6),
        ("Local.record.none.deep", None),
        ("IsBlank(Local.record.other.deep)", True),
        ("IsBlank(Local.empty)", True),
        ("IsBlank(Local.n)", False),
        ('Local.text = "Hello World"', True),
        ("Local.n <> 4 Or Local.yes", True),
        ("Not(Local.yes) && Local.n > 3", False),
        ("!Local.blank", True),
        ('If(Local.n > 5, "big", Local.n > 3, "middle", "small")', "middle"),
        ("If(false, 1)", None),
        ('Switch(Local.n, 3, "three", 4, "four", "other")', "four"),
        ('Coalesce(Local.blank, Local.empty, "last")', "last"),
        ("Mod(-7, 3)", 2),
        ("Mod(7.5, 2)", 1.5),
        ("Int(-2.5)", -3),
        ("Abs(-3)", 3),
        ('Value("12") + 1', 13),
        ("Len(Local.text)", 11),
        ("Upper(Local.text)", "HELLO WORLD"),
        ('Upper(Local.text) = "HELLO WORLD"', True),
        ('Lower(Local.text) <> "hello"', True),
        ('IsBlank(Find("World", Local.text))', False),
        ('!IsBlank(Find("WORLD", Upper(Local.text)))', True),
        ('Find("World", Local.text)', 7),
        ('Concatenate("a", Local.n, "b")', "a4b"),
        ('Concat("a", Local.text)', "aHello World"),
        ('Concat(Local.rows, name, ", ")', "Ann, Bob"),
        ('Concat(ForAll(Local.rows, $"{name}!"), Value, "")', "Ann!Bob!"),
        ("CountRows(Local.rows)", 2),
        ("CountRows(Local.blank)", 0),
        ("First(Local.rows).name", "Ann"),
        ("Last(Local.list)", "y"),
        ("First(Local.blank).name", None),
        ("Index(Local.rows, 2).age", 20),
        ("First(Filter(Local.rows, age < 25)).name", "Bob"),
        ("LookUp(Local.rows, age > 25, name)", "Ann"),
        ('LookUp(Local.rows, name = "Zed")', None),
        ("CountIf(Local.rows, age > 5)", 2),
        ('First(Search(Local.rows, "bo", name)).age', 20),
        ("Sum(Local.rows, age)", 50),
        ("Sum(1, 2, Local.n)", 7),
        ("Average(Local.rows, age)", 25),
        ("Max(3, Local.n, 1)", 4),
        ("First(Sort(Local.rows, age)).name", "Bob"),
        ('"world" in Local.text', True),
        ('"WORLD" exactin Local.text', False),
        ("Local.n in [1, 4]", True),
        ('StartsWith(Local.text, "hello")', True),
        ("Left(Local.text, 2) & Right(Local.text, 1) & Mid(Local.text, 3, 2)", "Hedll"),
        ('Substitute(Local.text, "o", "0")', "Hell0 W0rld"),
        ('First(Split("a,b", ",")).Value', "a"),
        ("Round(2.345, 2)", 2.35),
        ('ParseJSON("{""a"": [1]}").a', [1]),
        ("Text(1.5)", "1.5"),
        ("Text(Local.yes)", "true"),
        ('UserMessage("hi " & Local.n)', "hi 4"),
        ("MessageText(Local.text)", "Hello World"),
        ('{a: 1, b: "x"}', {"a": 1, "b": "x"}),
        ('[1, "x", {c: 2}]', [1, "x", {"c": 2}]),
        ("IsEmpty([])", True),
        ("And(Local.yes, Local.n = 4)", True),
        ("Local.yes\n And \n (Local.n > 1)", True),
    ],
)
def test_a_formula_gives_what_it_gives_there(formula: str, value: Any) -> None:
    assert value_of(formula) == value


@pytest.mark.parametrize("formula", ["", "1 +", "(1", '"open', "a b", "{a 1}", "[1", "a.", "#", "If(1,", "*", "(" * 99])
def test_what_is_no_formula_is_told_with_its_place(formula: str) -> None:
    with pytest.raises(PowerFxError) as caught:
        parse(formula)
    assert 0 <= caught.value.position <= len(formula)
    assert str(caught.value)


def test_parentheses_that_are_open_at_the_end_can_be_closed() -> None:
    tree, mended = parse("UserMessage(Text(1)", lenient=True)
    assert mended
    assert tree == parse("UserMessage(Text(1))")[0]


@given(st.text(max_size=60) | st.text("(){}[]\"'$=<>&|!+-*/^%,.:;aANDor1 \n", max_size=60))
@settings(max_examples=200, deadline=None)
def test_the_reader_takes_any_text_or_says_that_it_cannot(text: str) -> None:
    for lenient in (False, True):
        with contextlib.suppress(PowerFxError):
            parse(text, lenient=lenient)
    parts = parse_template(text).parts
    if all(isinstance(part, str) for part in parts):
        assert "".join(str(part) for part in parts) == text


# ------------------------------------------------------------------------- a small evaluator to compare with

_NUMBERS = st.integers(-20, 20) | st.sampled_from([0.5, 2.25, -1.5])


def _numbers(children: Any) -> Any:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda p: (f"({p[0][0]} + {p[1][0]})", p[0][1] + p[1][1])),
        pairs.map(lambda p: (f"({p[0][0]} - {p[1][0]})", p[0][1] - p[1][1])),
        pairs.map(lambda p: (f"({p[0][0]} * {p[1][0]})", p[0][1] * p[1][1])),
        pairs.filter(lambda p: p[1][1] != 0).map(
            lambda p: (f"Mod({p[0][0]}, {p[1][0]})", p[0][1] - p[1][1] * math.floor(p[0][1] / p[1][1]))
        ),
        pairs.filter(lambda p: p[1][1] != 0).map(lambda p: (f"({p[0][0]} / {p[1][0]})", p[0][1] / p[1][1])),
        children.map(lambda c: (f"Abs({c[0]})", abs(c[1]))),
        children.map(lambda c: (f"Int({c[0]})", math.floor(c[1]))),
    )


_BASE = _NUMBERS.map(lambda n: (str(n) if n >= 0 else f"({n})", n)) | st.sampled_from(
    [
        ("Local.n", 4),
        ("Local.half", 2.5),
        ("(Local.blank + 0)", 0),
        ("(Local.missing + 0)", 0),
        ("Local.record.inner.deep", 5),
    ]
)
NUMERIC = st.recursive(_BASE, _numbers, max_leaves=6)


@st.composite
def conditions(draw: Any, depth: int = 2) -> tuple[str, bool]:
    if depth == 0 or draw(st.booleans()):
        left, right = draw(NUMERIC), draw(NUMERIC)
        sign = draw(st.sampled_from(["<", "<=", ">", ">="]))
        truth = {
            "<": left[1] < right[1],
            "<=": left[1] <= right[1],
            ">": left[1] > right[1],
            ">=": left[1] >= right[1],
        }[sign]
        return f"{left[0]} {sign} {right[0]}", truth
    first = draw(conditions(depth=depth - 1))
    second = draw(conditions(depth=depth - 1))
    word = draw(st.sampled_from(["And", "Or", "&&", "||", "Not"]))
    if word == "Not":
        return f"Not({first[0]})", not first[1]
    both = first[1] and second[1] if word in ("And", "&&") else first[1] or second[1]
    return f"(({first[0]}) {word} ({second[0]}))", both


@given(NUMERIC)
@settings(max_examples=80, deadline=None)
def test_numbers_are_computed_as_there(pair: tuple[str, float]) -> None:
    assert math.isclose(value_of(pair[0]), pair[1], rel_tol=1e-9, abs_tol=1e-9)


@given(conditions())
@settings(max_examples=60, deadline=None)
def test_conditions_are_true_as_there(pair: tuple[str, bool]) -> None:
    scope = _Scope()
    assert scope.evaluate(Translator(scope).boolean(parse(pair[0])[0]).text) is pair[1]


@given(st.lists(st.text("ab\"{}$\n '", max_size=5) | st.integers(0, 9), max_size=5))
@settings(max_examples=60, deadline=None)
def test_texts_are_put_together_as_there(items: list[Any]) -> None:
    formula = " & ".join([str(i) if isinstance(i, int) else '"' + i.replace('"', '""') + '"' for i in items] + ['""'])
    assert value_of(formula) == "".join(str(item) for item in items)
