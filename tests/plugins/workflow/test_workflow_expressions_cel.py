"""Our evaluator against CEL's own, on generated expressions and data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kastra_plugin_workflow.expressions import ExpressionError, ExpressionSyntaxError, compile_expression

JSON_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([0.5, 2.0, -1.5])
    | st.sampled_from(["", "a", "b", "é"])
)
JSON = st.recursive(
    JSON_SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a-b", "é x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
MEMBERS = st.lists(st.sampled_from([".a", ".b", '["a-b"]', "['é x']", "[0]", "[1]"]), max_size=3).map("".join)
SCOPES = st.fixed_dictionaries({"input": JSON, "data": JSON})


def oracle(source: str, scope: dict[str, Any]) -> tuple[bool, Any]:
    """(whether it has a value, the value), of CEL's own evaluator."""
    from cel_expr_python import cel

    environment = cel.NewEnv(variables=dict.fromkeys(scope, cel.Type.DYN))
    result = environment.compile(source).eval(data=scope)
    return (False, None) if result.type() == cel.Type.ERROR else (True, result.plain_value())


def ours(source: str, scope: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, compile_expression(source, tuple(scope)).evaluate(scope)
    except ExpressionError:
        return False, None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@given(SCOPES, st.sampled_from(["input", "data"]), MEMBERS)
@settings(max_examples=400, deadline=None)
def test_a_plain_path_gives_what_cel_gives(scope: dict[str, Any], root: str, members: str) -> None:
    found, expected = ours(root + members, scope), oracle(root + members, scope)
    assert found[0] == expected[0]
    assert same(found[1], expected[1])


ATOMS = st.sampled_from(
    (
        *("input", "data", "input.a", "input.b", "data[0]", "data.a", "1", "2", "0", "-3", "0.5", "2.0"),
        *("'a'", "''", "true", "false", "null", "[]", "[1, 2]", "{'a': 1}", "{}"),
    )
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(two, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"])).map(
            lambda t: f"({t[0][0]} {t[1]} {t[0][1]})"
        ),
        two.map(lambda t: f"[{t[0]}, {t[1]}]"),
        two.map(lambda t: f"{{'a': {t[0]}, 'b': {t[1]}}}"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        inner.map(lambda t: f"(!{t})"),
        inner.map(lambda t: f"size({t})"),
        inner.map(lambda t: f"dyn({t}).a"),
        inner.map(lambda t: f"has(dyn({t}).a)"),
        st.tuples(inner, st.sampled_from(["map", "filter", "exists", "all", "exists_one"]), inner).map(
            lambda t: f"dyn({t[0]}).{t[1]}(x, {t[2]})"
        ),
        st.tuples(inner, st.sampled_from(["x == 1", "x > 0", "x.a", "x in [1, 'a']", "x"])).map(
            lambda t: f"dyn({t[0]}).filter(x, {t[1]})"
        ),
        two.map(lambda t: f"dyn({t[0]})[{t[1]}]"),
        two.map(lambda t: f"(string(dyn({t[0]})) + string(dyn({t[1]})))"),
        st.tuples(inner, st.sampled_from(["contains", "startsWith", "endsWith"]), inner).map(
            lambda t: f"dyn({t[0]}).{t[1]}(dyn({t[2]}))"
        ),
    )


EXPRESSIONS = st.recursive(ATOMS, _grow, max_leaves=6)


@given(EXPRESSIONS, SCOPES)
@settings(max_examples=600, deadline=None)
@example("(input.a || true)", {"input": {}, "data": 1})
@example("dyn([1, 'a']).exists(x, x > 0)", {"input": {}, "data": 1})
def test_our_evaluator_gives_what_cel_gives(source: str, scope: dict[str, Any]) -> None:
    try:
        compile_expression(source, tuple(scope))
    except ExpressionSyntaxError:
        with pytest.raises(RuntimeError):
            oracle(source, scope)
        return
    found = ours(source, scope)
    try:
        expected = oracle(source, scope)
    except RuntimeError:  # the library gives up
        return
    assert found[0] == expected[0], (source, scope, found, expected)
    assert same(found[1], expected[1]), (source, scope, found, expected)


@given(
    st.sampled_from(["+", "-", "*", "/", "%"]),
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9)),
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9)),
)
@settings(deadline=None)
def test_integers_are_computed_as_cel_computes_them(sign: str, a: int, b: int) -> None:
    scope = {"input": a, "data": b}
    found, expected = ours(f"input {sign} data", scope), oracle(f"input {sign} data", scope)
    assert found == expected
