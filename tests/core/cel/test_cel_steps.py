"""What evaluations are charged: about what Kubernetes charges, and no step takes long."""

from __future__ import annotations

import time

import attrs
import pytest

from kastra_core.cel import BYTES, STRING, BudgetError, Environment, Member, Meter, list_of, object_of

SELF = object_of(
    "self",
    {
        "text": Member("text", STRING),
        "data": Member("data", attrs.evolve(BYTES, convert=str.encode)),
        "names": Member("names", list_of(STRING)),
        "items": Member("items", list_of(object_of("item", {"name": Member("name", STRING)}))),
    },
)
VALUE = {
    "text": "ab" * 50_000,
    "data": "x" * 100_000,
    "names": [f"name-{n}" for n in range(100)],
    "items": [{"name": f"name-of-some-length-{n}"} for n in range(100)],
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # As Kubernetes counts: what is looked up, calls, and a tenth of the characters that are read.
        ("self.text == self.text", 5 + 10_000),
        ("self.text.contains('z')", 3 + 10_000),
        ("self.text.startsWith('ab')", 3 + 10_000),
        ("self.text.matches('^a')", 3 + 10_001),
        ("self.names.all(n, n != '')", 2 + 100 * 5),
        ("self.names.exists(n, n == '')", 2 + 100 * 6),
        ("self.names.map(n, n).size() == 100", 4 + 100 * 13),
        ("self.items.all(a, self.items.exists_one(b, a.name == b.name))", 2 + 100 * (5 + 100 * (6 + 2))),
        ("'x' in ['a', 'b', 'c']", 1),
        ("[1, 2, 3] == [1, 2, 3]", 1 + 1),
    ],
)
def test_an_evaluation_takes_about_as_many_steps_as_in_kubernetes(source: str, expected: int) -> None:
    meter = Meter(10_000_000)
    Environment({"self": SELF}).compile(source).evaluate({"self": VALUE}, meter)
    assert expected * 0.8 <= meter.limit - meter.left <= expected * 1.25


@pytest.mark.parametrize(
    "step",
    [
        "self.data",
        "quantity('1e3900').add(quantity('1')).compareTo(quantity('1e3900'))",
        "quantity('1e3900') == quantity('1e3900').add(1)",
        "url('/' + self.text.substring(0, 2000))",
        'isURL(\'/""""""""""""""""""""\')',
        "self.text.findAll('')",
        "self.text.find('(a|b|ab)*c')",
        "'%.9999f'.format([1.5])",
        "self.names.distinct()",
        "self.items == self.items",
        "[1, 2, 3, 4, 5, 6, 7, 8]",
    ],
)
def test_a_step_takes_little_time(step: str) -> None:
    program = Environment({"self": SELF}).compile(f"lists.range(1000000).map(i, [{step}]).size() > 0")
    started = time.process_time()
    with pytest.raises(BudgetError):
        program.evaluate({"self": VALUE}, Meter(1_100_000))
    # About 0.1 to 1 us for each of 100,000 steps; making the range took the rest.
    assert time.process_time() - started < 2
