"""What an expression may cost, estimated from the sizes that its types allow."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.cel import BOOL, DYN, INT, STRING, CelType, Environment, Member, Meter, list_of, map_of, object_of
from kastra_core.cel.cost import UNBOUNDED, estimate

MANIFEST = 3 * 1024 * 1024
NAME = attrs.evolve(STRING, most=100)
NAMES = list_of(NAME, most=50)
SELF = object_of(
    "self",
    {
        "name": Member("name", NAME),
        "text": Member("text", STRING),
        "count": Member("count", INT),
        "names": Member("names", NAMES),
        "numbers": Member("numbers", list_of(INT, most=20)),
        "labels": Member("labels", map_of(STRING, NAME, most=10)),
        "port": Member("port", attrs.evolve(DYN, most=40)),
        "items": Member("items", list_of(object_of("item", {"name": Member("name", NAME)}), most=30)),
    },
)


def cost(source: str, root: CelType = SELF) -> tuple[int, int]:
    found = estimate(Environment({"self": root}).compile(source).tree, root=root)
    return found.least, found.most


@pytest.mark.parametrize(
    ("source", "most"),
    [
        ("true", 0),
        ("self == self", 2),
        ("has(self.name)", 1),
        ("self.count > 1", 2 + 1),
        ("self.count == 1", 2 + 0),  # a number that is read has size 0
        ("self.name == 'abc'", 2 + 1),
        ("self.name == self.text", 4 + 10),
        ("self.name.startsWith('a-text-of-21-letters!')", 2 + 3),
        ("self.name.contains('abc')", 2 + 10 * 1),
        ("self.text.contains('abc')", 2 + 314573),
        ("self.name.matches('^[a-z]+$')", 2 + 11 * 2),
        ("matches(self.name, '^[a-z]+$')", 2 + 1),  # which Kubernetes takes for cheap
        ("'a' in self.names", 2 + 50),
        ("'a' in self.labels", 2 + 1),
        ("self.name + 'abc' == 'x'", 2 + 11 + 1),
        ("self.names[0] == 'x'", 2 + 1 + 1),
        ("self.labels['a'] == self.name", 2 + 1 + 2 + 10),
        ("[1, 2].size() == 2", 10 + 1 + 1),
        ("{'a': 1}.size() == 2", 30 + 1 + 1),
        ("self.count > 1 || self.count < 1 && true", 6),
        ("self.count > 1 ? self.name == 'a' : self.text == self.text", 3 + 4 + 314573),
        ("self.count > 1 ? 1 < 2 : false", 3 + 1),
        ("dyn(self.name) == 'x'", 2 + 1 + 1),
        ("type(self.port) == string", 2 + 1 + 1),
    ],
)
def test_the_most_that_an_expression_costs(source: str, most: int) -> None:
    assert cost(source)[1] == most


@pytest.mark.parametrize(
    ("source", "most"),
    [
        # a turn: to look whether to go on 2, &&, the result so far 1, the condition; before it self.x 2, after it 1
        ("self.numbers.all(x, true)", 2 + 20 * 3 + 1),
        ("self.numbers.all(x, x > 0)", 2 + 20 * (3 + 2) + 1),
        ("self.numbers.exists(x, x > 0)", 2 + 20 * (4 + 2) + 1),
        ("self.names.all(x, x == 'abc')", 2 + 50 * (3 + 1 + 1) + 1),
        ("self.names.all(x, x == self.name)", 2 + 50 * (3 + 1 + 2 + 10) + 1),
        ("self.names.all(x, self.names.all(y, x != y))", 2 + 50 * (3 + 2 + 50 * (3 + 2 + 10) + 1) + 1),
        ("self.items.all(x, x.name == self.name)", 2 + 30 * (3 + 2 + 2 + 10) + 1),
        ("self.labels.all(k, self.labels[k] == self.name)", 2 + 10 * (3 + 2 + 1 + 1 + 2 + 10) + 1),
        ("self.numbers.map(x, x + 1).size() == 3", 2 + 10 + 20 * (1 + 1 + 10 + 1 + 1) + 1 + 1 + 1),
        ("self.numbers.map(x, x).map(x, x).size() == 3", 2 + 10 + 20 * 13 + 1 + 10 + 20 * 13 + 1 + 1 + 1),
        ("[1, 2, 3].all(x, x > 0)", 10 + 3 * 5 + 1),
        # a bound name: the empty list that the macro goes through 10, five calls, v twice
        ("optional.of('a').optMap(v, v == 'value').hasValue()", 10 + 5 + 1 + 1 + 1),
    ],
)
def test_a_macro_costs_its_body_for_the_most_items(source: str, most: int) -> None:
    assert cost(source)[1] == most


def test_nothing_bounds_what_a_call_makes_of_an_unknown() -> None:
    assert cost("string(self.count) + 'x' == 'y'")[1] >= UNBOUNDED // 10 - 10**6


def test_a_type_without_a_bound_is_as_large_as_a_manifest() -> None:
    assert cost("self.all(x, true)", list_of(BOOL))[1] == 1 + MANIFEST * 3 + 1


def test_the_least_is_what_a_short_circuit_leaves() -> None:
    assert cost("self.count > 1 || self.text == self.text")[0] == 3
    assert cost("self.numbers.all(x, x > 0)")[0] == 3


def test_the_size_of_the_result_is_known() -> None:
    tree = Environment({"self": SELF}).compile("self.name + self.name").tree
    found = estimate(tree, root=SELF).result
    assert found is not None
    assert (found.least, found.most) == (0, 200)


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(st.text(alphabet="ab", max_size=100), max_size=50),
    name=st.text(alphabet="ab", max_size=100),
    source=st.sampled_from(
        [
            "self.names.all(x, x.startsWith(self.name) || x == self.name)",
            "self.names.exists(x, self.names.exists(y, x + y == self.name))",
            "self.names.filter(x, x.contains('ab')).map(x, x.size()).all(x, x < 3)",
            "self.names.all(x, x.matches('^a*b?$')) && self.name in self.names",
        ]
    ),
)
def test_an_evaluation_stays_near_its_estimate(names: list[str], name: str, source: str) -> None:
    program = Environment({"self": SELF}).compile(source)
    meter = Meter(10**9)
    program.evaluate({"self": {"names": names, "name": name}}, meter)
    assert 10**9 - meter.left <= 2 * estimate(program.tree, root=SELF).most
