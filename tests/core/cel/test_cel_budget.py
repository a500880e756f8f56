"""Hostile expressions and data end in bounded time, with an error that says so."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from kastra_core.cel import (
    DYN,
    INT,
    STRING,
    BudgetError,
    CelSyntaxError,
    Environment,
    EvaluationError,
    Meter,
    list_of,
    map_of,
)

ENVIRONMENT = Environment({"big": STRING, "ints": list_of(INT), "m": map_of(STRING, STRING), "d": DYN})
BIG: dict[str, Any] = {
    "big": "a" * 1_000_000,
    "ints": list(range(20_000)),
    "m": {f"k{i}": "v" * 100 for i in range(10_000)},
    "d": ["b" * 1_000_000, "b" * 999_999 + "c"],
}


@pytest.mark.parametrize(
    "source",
    [
        "ints.all(x, ints.all(y, x + y >= 0))",
        "ints.map(x, ints).size() == ints.map(x, ints.map(y, y)).size()",
        "ints.all(x, ints + ints != [])",
        "ints.all(x, big + big != big)",
        "ints.all(x, d[0] == d[1] || true)",
        "ints.all(x, big.contains('b') || true)",
        "ints.all(x, big.matches('(a|b|ab)*c') || true)",
        "ints.all(x, big < big + 'b')",
        "ints.all(x, m == m)",
        "ints.all(x, ints == ints)",
        "ints.all(x, -1 in ints || true)",
        "ints.all(x, string(bytes(big)) != '')",
        "ints.all(x, m.map(k, m[k]).size() > 0)",
        "ints.all(x, {'a': ints.filter(y, y > x)} != {})",
        "ints.all(x, ints.all(y, ints[99999999] == x || true))",
        "ints.all(x, m.none == '' || true) && ints.all(x, m.none == '' || true) && ints.all(x, ints.all(y, true))",
    ],
)
def test_a_budget_ends_what_takes_long(source: str) -> None:
    program = ENVIRONMENT.compile(source)
    started = time.process_time()
    with pytest.raises(BudgetError, match="too many steps; smaller lists"):
        program.evaluate(BIG, Meter(500_000, "smaller lists"))
    assert time.process_time() - started < 1.5


def test_texts_do_not_grow_without_bounds() -> None:
    source = "ints.map(x, big).map(x, x + x)" + ".map(x, x + x)" * 6
    with pytest.raises(BudgetError, match=r"million characters|too many steps"):
        ENVIRONMENT.compile(source).evaluate({**BIG, "ints": [1]}, Meter(10_000_000))


def test_a_meter_is_shared_and_says_what_is_left() -> None:
    program, meter = ENVIRONMENT.compile("ints.all(x, x >= 0)"), Meter(1000)
    program.evaluate({"ints": [1, 2, 3]}, meter)
    spent = 1000 - meter.left
    program.evaluate({"ints": [1, 2, 3]}, meter)
    assert meter.left == 1000 - 2 * spent
    meter.left = spent - 1
    with pytest.raises(BudgetError):
        program.evaluate({"ints": [1, 2, 3]}, meter)


HOSTILE = {
    "parentheses": "(" * 50_000 + "1" + ")" * 49_999,
    "open parentheses": "(" * 100_000,
    "brackets": "[" * 100_000,
    "braces": "{" * 50_000,
    "fields": "d" + ".a" * 40_000,
    "indexes": "d" + "[0]" * 30_000,
    "sums": "1" + "+1" * 40_000,
    "conditions": "true?1:" * 14_000 + "1",
    "calls": "size(" * 20_000,
    "macros": "ints.all(x, " * 8_000,
    "quotes": "'" * 100_000,
    "longer than may be": "1 " * 100_000,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_expression_that_is_too_much_is_refused_soon(source: str) -> None:
    started = time.process_time()
    with pytest.raises(CelSyntaxError):
        ENVIRONMENT.compile(source)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "source",
    ["||".join(["ints[0] == 1"] * 2_000), "!" * 50_000 + "true", f"size([{','.join(['1'] * 5_000)}]) > 0"],
    ids=["alternatives", "negations", "items"],
)
def test_an_expression_that_is_long_but_flat_works(source: str) -> None:
    assert ENVIRONMENT.compile(source).evaluate({"ints": [1]}, Meter(100_000)) is True


def test_data_that_are_nested_deeply_are_an_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EvaluationError, match="nested too deeply"):
        ENVIRONMENT.compile("d[0] == d[1]").evaluate({"d": [deep, [deep]]}, Meter(10_000_000))
    while deep:  # so that its end is no recursion either
        deep = deep.pop()


def test_the_package_loads_nothing_until_something_is_compiled() -> None:
    code = (
        "import sys, kastra_core.cel; "
        "from kastra_core.cel import Environment, STRING, Meter, KUBERNETES; "
        "Environment({'a': STRING}); "
        "print([name for name in ('cel_expr_python', 're2', 'kastra_core.cel.checker') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_all_public_names_are_there() -> None:
    import kastra_core.cel as package

    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert package.__all__ == sorted(
        package.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
