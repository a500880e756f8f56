"""Random expressions give what the evaluator of another library, an independent one, gives."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kastra_core.cel import (
    BOOL,
    DOUBLE,
    INT,
    STRING,
    Environment,
    EvaluationError,
    Meter,
    Optional,
    Uint,
    list_of,
    map_of,
)

VARIABLES = {"b": BOOL, "i": INT, "x": DOUBLE, "s": STRING, "l": list_of(INT), "m": map_of(STRING, INT)}
ENVIRONMENT = Environment(VARIABLES)

INTS = st.sampled_from(["0", "1", "-1", "2", "7", "9223372036854775807", "i", "size(s)", "size(l)"])
DOUBLES = st.sampled_from(["0.0", "1.0", "-2.5", "1e300", "x"])
TEXTS = st.sampled_from(["''", "'a'", "'ab'", "'äö'", "s", "'1'", "'-2'", "'true'"])


def _both(signs: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(inner, st.sampled_from(signs.split()), inner).map(lambda found: f"({' '.join(found)})")


def _expressions() -> dict[str, st.SearchStrategy[str]]:
    ints: st.SearchStrategy[str] = st.deferred(lambda: kinds["int"])
    doubles: st.SearchStrategy[str] = st.deferred(lambda: kinds["double"])
    texts: st.SearchStrategy[str] = st.deferred(lambda: kinds["text"])
    bools: st.SearchStrategy[str] = st.deferred(lambda: kinds["bool"])
    lists: st.SearchStrategy[str] = st.deferred(lambda: kinds["list"])
    maps: st.SearchStrategy[str] = st.deferred(lambda: kinds["map"])
    choices = {
        name: st.tuples(bools, inner, inner).map(lambda f: f"({f[0]} ? {f[1]} : {f[2]})")
        for name, inner in (("int", ints), ("double", doubles), ("text", texts), ("list", lists))
    }
    kinds: dict[str, st.SearchStrategy[str]] = {
        "int": INTS
        | _both("+ - * / %", ints)
        | choices["int"]
        | st.tuples(lists, ints).map(lambda f: f"{f[0]}[{f[1]}]")
        | texts.map(lambda text: f"int({text})")
        | doubles.map(lambda number: f"int({number})")
        | st.tuples(maps, texts).map(lambda f: f"{f[0]}[{f[1]}]")
        | texts.map(lambda text: f"size({text} + 'x')")
        | st.tuples(maps, bools).map(lambda f: f"size({f[0]}.filter(s, {f[1]}))")
        | st.tuples(maps, texts, ints).map(lambda f: f"{f[0]}[?{f[1]}].orValue({f[2]})"),
        "double": DOUBLES | _both("+ - * /", doubles) | choices["double"] | ints.map(lambda n: f"double({n})"),
        "text": TEXTS
        | _both("+", texts)
        | choices["text"]
        | ints.map(lambda number: f"string({number})")
        | bools.map(lambda value: f"string({value})"),
        "list": st.sampled_from(["l", "[1, 2]", "l.map(y, y + 1)"])
        | st.lists(ints, max_size=3).map(lambda items: f"([{', '.join(items)}] + l)")
        | choices["list"]
        | st.tuples(lists, bools).map(lambda f: f"{f[0]}.filter(i, {f[1]})")
        | st.tuples(lists, ints).map(lambda f: f"{f[0]}.map(i, {f[1]})"),
        "map": st.sampled_from(["m", "{'a': 1, '': i}"]),
        "bool": st.sampled_from(["true", "false", "b", "has(m.a)"])
        | _both("&& || == !=", bools)
        | bools.map(lambda value: f"!{value}")
        | _both("< <= > >= == !=", ints)
        | _both("== !=", doubles)
        | _both("< <= > >=", DOUBLES)  # the library orders NaN, Kubernetes does not
        | _both("< <= > >= == !=", texts)
        | _both("== !=", lists)
        | st.tuples(ints, st.sampled_from(["<", ">="]), DOUBLES).map(lambda f: f"(dyn({f[0]}) {f[1]} dyn({f[2]}))")
        | st.tuples(ints, lists).map(lambda f: f"({f[0]} in {f[1]})")
        | st.tuples(texts, maps).map(lambda f: f"({f[0]} in {f[1]})")
        | st.tuples(lists, st.sampled_from(["all", "exists", "exists_one"]), bools).map(
            lambda f: f"{f[0]}.{f[1]}(i, {f[2]})"
        )
        | st.tuples(texts, st.sampled_from(["contains", "startsWith", "endsWith", "matches"]), texts).map(
            lambda f: f"{f[0]}.{f[1]}({f[2]})"
        ),
    }
    return kinds


KINDS = _expressions()
VALUES = st.fixed_dictionaries(
    {
        "b": st.booleans(),
        "i": st.sampled_from([0, 1, -1, 5, 2**63 - 1, -(2**63)]),
        "x": st.sampled_from([0.0, -0.0, 1.5, -3.0, 1e308]),
        "s": st.sampled_from(["", "a", "äb", "2"]),
        "l": st.lists(st.integers(-2, 3), max_size=3),
        "m": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(-2, 2), max_size=2),
    }
)
FAILED = "no value"


def ours(source: str, values: dict[str, Any]) -> Any:
    try:
        return plain(ENVIRONMENT.compile(source).evaluate(values, Meter(1_000_000)))
    except EvaluationError:
        return FAILED


def theirs(source: str, values: dict[str, Any]) -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional

    global _ENVIRONMENT
    if _ENVIRONMENT is None:
        kinds = {"bool": cel.Type.BOOL, "int": cel.Type.INT, "double": cel.Type.DOUBLE, "string": cel.Type.STRING}
        variables = {name: kinds[str(kind)] for name, kind in VARIABLES.items() if str(kind) in kinds}
        variables["l"] = cel.Type.List(cel.Type.INT)
        variables["m"] = cel.Type.Map(cel.Type.STRING, cel.Type.INT)
        _ENVIRONMENT = cel.NewEnv(variables=variables, extensions=[ext_optional.ExtOptional()])
    result = _ENVIRONMENT.compile(source).eval(data=values)
    return FAILED if result.type() == cel.Type.ERROR else plain(result.plain_value())


_ENVIRONMENT: Any = None


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return ("NaN",) if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, Uint):
        return int(value)
    if isinstance(value, Optional):
        return plain(value.value) if value.present else None
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@settings(max_examples=120, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(*KINDS.values()), VALUES)
def test_an_independent_evaluator_agrees(source: str, values: dict[str, Any]) -> None:
    assume(source.count("(") < 25)  # the parser ends at a depth of 32
    expected = theirs(source, values)
    assert ours(source, values) == expected
