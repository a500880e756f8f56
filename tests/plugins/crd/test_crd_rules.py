"""Rules of x-kubernetes-validations: when they run, what they see, and what is said of a broken one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.cel import Meter
from kastra_core.errors import Problem
from kastra_plugin_crd.rule_checks import MAX_RULES
from kastra_plugin_crd.rule_paths import FieldPathError, field_path
from kastra_plugin_crd.rules import MAX_PROBLEMS, OBJECT_LIMIT, Rules, rule_problems
from kastra_plugin_crd.schema import read_schema

PATH = "spec.versions[0].schema.openAPIV3Schema"
TEXT = {"type": "string"}
INTEGER = {"type": "integer"}


def ruled(schema: JsonObject, *rules: str | JsonObject) -> JsonObject:
    written = [{"rule": rule} if isinstance(rule, str) else rule for rule in rules]
    return schema | {"x-kubernetes-validations": written}


def objects(**properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties}


def listed(items: JsonObject, **more: Any) -> JsonObject:
    return {"type": "array", "items": items, **more}


def keyed(items: JsonObject, *keys: str) -> JsonObject:
    return listed(items, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


def problems(
    schema: JsonObject, value: Any, old: Any = None, *, path: str = "", root: bool = False, limit: int = OBJECT_LIMIT
) -> list[Problem]:
    return Rules(read_schema(schema, "")[0], root=root).problems(value, old, path, Meter(limit))


def told(found: Sequence[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.reason, problem.path, problem.message) for problem in found]


def paths(found: Sequence[Problem]) -> list[str]:
    return [problem.path for problem in found]


# ------------------------------------------------------------------------------------------------ what a rule says


def test_a_rule_that_holds_says_nothing() -> None:
    assert problems(ruled(objects(a=INTEGER), "self.a > 1"), {"a": 2}) == []


def test_a_broken_rule_is_told_at_its_value_in_its_own_words() -> None:
    schema = objects(
        spec=ruled(objects(a=INTEGER), {"rule": "self.a > 1", "message": " a must be large "}, "self.a > 2")
    )
    assert told(problems(schema, {"spec": {"a": 1}})) == [
        ("FieldValueInvalid", "spec", "a must be large"),
        ("FieldValueInvalid", "spec", "failed rule: self.a > 2"),
    ]


@pytest.mark.parametrize(
    "reason", ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]
)
def test_a_rule_chooses_its_reason_and_field(reason: str) -> None:
    rule = {"rule": "has(self.a)", "message": "no a", "reason": reason, "fieldPath": ".a"}
    schema = objects(spec=ruled(objects(a=INTEGER), rule))
    assert told(problems(schema, {"spec": {}})) == [(reason, "spec.a", "no a")]
    assert paths(problems(ruled(objects(a=INTEGER), rule), {})) == ["a"]


def test_a_message_is_computed() -> None:
    rule = {"rule": "self.a > 1", "message": "too small", "messageExpression": "'a is ' + string(self.a)"}
    assert [problem.message for problem in problems(ruled(objects(a=INTEGER), rule), {"a": 0})] == ["a is 0"]


@pytest.mark.parametrize(
    "expression", ["self.b", "self.a", "'  '", "'a\\nb'", "self.list[3]", "self.long + self.long"], ids=str
)
def test_a_message_that_cannot_be_used_gives_way_to_the_written_one(expression: str) -> None:
    rule = {"rule": "false", "message": "as written", "messageExpression": expression}
    schema = ruled(objects(a=INTEGER, b=TEXT, list=listed(TEXT), long=TEXT), rule)
    value = {"a": 1, "list": [], "long": "x" * 3000}
    assert [problem.message for problem in problems(schema, value)] == ["as written"]


def test_a_rule_that_stumbles_is_a_problem_and_the_next_one_runs() -> None:
    schema = objects(spec=ruled(objects(a=listed(INTEGER)), "self.a[5] == 1", {"rule": "false", "message": "next"}))
    first, second = problems(schema, {"spec": {"a": []}})
    assert first.path == second.path == "spec"
    assert first.message.startswith("rule 'self.a[5] == 1' could not be evaluated: ")
    assert (first.reason, second.message) == ("FieldValueInvalid", "next")


def test_a_field_that_a_rule_misses_comes_with_a_hint() -> None:
    schema = ruled(objects(**{"min-size": INTEGER, "max": INTEGER}), "self.min__dash__size < self.max")
    [problem] = problems(schema, {"max": 1})
    assert "self has no field 'min-size'" in problem.message
    assert problem.hint == "set the field, or let the definition's rule ask has(self.min__dash__size)"


def test_a_rule_of_forty_terms_works() -> None:
    fields = [f"a{number}" for number in range(40)]
    schema = ruled(
        objects(**dict.fromkeys(fields, INTEGER)),
        f"{' + '.join(f'(has(self.{name}) ? 1 : 0)' for name in fields)} == 1",
    )
    assert rule_problems(read_schema(schema, "S")[0], "S") == []
    assert problems(schema, {"a39": 1}) == []
    assert len(problems(schema, {"a39": 1, "a0": 1})) == 1


def test_a_rule_that_does_not_compile_is_a_problem_of_each_value() -> None:
    (problem,) = problems(ruled(objects(a=INTEGER), "self.a == 'x'"), {"a": 1})
    assert "does not compile" in problem.message


# ------------------------------------------------------------------------------------------------ where rules stand


def test_rules_run_at_each_item_entry_and_property() -> None:
    small = ruled(INTEGER, "self < 3")
    schema = objects(items=listed(small), entries={"type": "object", "additionalProperties": small}, one=small)
    value = {"items": [1, 3], "entries": {"a": 4, "b.c": 5, "d": 0}, "one": 6}
    assert paths(problems(schema, value)) == ["items[1]", "entries.a", "entries.b.c", "one"]


def test_null_is_for_the_rules_above() -> None:
    inner = ruled(INTEGER | {"nullable": True}, "self > 5")
    schema = ruled(objects(a=inner, b=listed(inner)), "!has(self.a)", "size(self.b) == 2")
    assert problems(schema, {"a": None, "b": [None, 6]}) == []


def test_rules_of_a_property_that_cel_cannot_name_run() -> None:
    assert paths(problems(objects(**{"a b": ruled(INTEGER, "self > 1")}), {"a b": 1})) == ["a b"]


def test_the_root_and_embedded_resources_have_type_and_name() -> None:
    rule = "self.kind == 'Disk' && self.metadata.name.startsWith('d')"
    embedded = ruled(
        {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}, rule
    )
    schema = ruled(objects(template=embedded), rule)
    good = {"apiVersion": "v1", "kind": "Disk", "metadata": {"name": "d1"}}
    assert problems(schema, good | {"template": good}, root=True) == []
    assert paths(problems(schema, good | {"template": good | {"kind": "X"}}, root=True)) == ["template"]


def test_rules_in_all_of_run_with_the_type_of_the_node() -> None:
    clause = {"properties": {"a": ruled({}, "self > 1")}} | ruled({}, "self.a < self.b")
    schema = objects(a=INTEGER, b=INTEGER) | {"allOf": [clause]}
    assert paths(problems(schema, {"a": 1, "b": 0}, path="spec")) == ["spec", "spec.a"]


def test_formats_are_values_of_cel() -> None:
    schema = ruled(
        objects(t=TEXT | {"format": "date-time"}, d=TEXT | {"format": "duration"}, n={"type": "number"}),
        "self.t.getFullYear() == 2024 && self.d > duration('59m') && self.n == 2.0",
    )
    assert problems(schema, {"t": "2024-01-01T00:00:00Z", "d": "1h", "n": 2}) == []


def test_the_value_of_a_rule_is_converted_itself() -> None:
    schema = objects(t=ruled(TEXT | {"format": "date-time"}, "self.getFullYear() == 2024", "oldSelf < self"))
    assert problems(schema, {"t": "2024-01-01T00:00:00Z"}, {"t": "2023-01-01T00:00:00Z"}) == []
    schema = objects(s=ruled(listed(INTEGER, **{"x-kubernetes-list-type": "set"}), "self == [2, 1]"))
    assert problems(schema, {"s": [1, 2]}) == []


def test_an_int_or_string_is_what_it_is() -> None:
    port = {"x-kubernetes-int-or-string": True}
    schema = ruled(objects(p=port), "type(self.p) == int ? self.p < 10 : self.p.endsWith('%')")
    assert [problems(schema, {"p": value}) for value in (9, "5%")] == [[], []]
    assert len(problems(schema, {"p": "5"})) == 1


def test_a_schema_without_rules_is_no_work() -> None:
    assert not Rules(read_schema(objects(a=listed(objects(b=TEXT))), "")[0])


# ------------------------------------------------------------------------------------------------ changes


def test_transition_rules_wait_for_a_change() -> None:
    schema = objects(a=ruled(INTEGER, {"rule": "self >= oldSelf", "message": "it grows"}))
    assert problems(schema, {"a": 1}) == []
    assert problems(schema, {"a": 1}, {}) == []
    assert problems(schema, {"a": 2}, {"a": 1}) == []
    assert told(problems(schema, {"a": 1}, {"a": 2})) == [("FieldValueInvalid", "a", "it grows")]


def test_an_optional_old_value_may_be_absent() -> None:
    rule = {"rule": "oldSelf.hasValue() || self == 0", "optionalOldSelf": True}
    schema = objects(a=ruled(INTEGER, rule))
    assert problems(schema, {"a": 0}) == problems(schema, {"a": 1}, {"a": 5}) == []
    assert paths(problems(schema, {"a": 1}, {})) == ["a"]


def test_items_of_a_map_list_correspond_by_their_keys() -> None:
    item = ruled(objects(name=TEXT, port=INTEGER, size=INTEGER), "self.size >= oldSelf.size")
    schema = keyed(item, "name", "port")
    old = [{"name": "a", "port": 1, "size": 5}, {"name": "a", "port": 2, "size": 1}]
    new = [
        {"name": "a", "port": 2, "size": 0},
        {"name": "b", "port": 1, "size": 0},
        {"name": "a", "port": 1, "size": 6},
    ]
    assert paths(problems(objects(l=schema), {"l": new}, {"l": old})) == ["l[0]"]


def test_entries_of_a_map_correspond_by_name() -> None:
    schema = {"type": "object", "additionalProperties": ruled(INTEGER, "self >= oldSelf")}
    assert paths(problems(schema, {"a": 1, "b": 1}, {"a": 2})) == ["a"]


def test_a_rule_that_an_unchanged_value_breaks_is_forgiven() -> None:
    schema = objects(a=ruled(INTEGER, "self > 9"), b=ruled(INTEGER, "self > 9"))
    assert paths(problems(schema, {"a": 1, "b": 2}, {"a": 1, "b": 1})) == ["b"]


def test_items_of_an_unchanged_list_are_forgiven_together() -> None:
    schema = objects(l=listed(ruled(INTEGER, "self > 9")), n=INTEGER)
    assert problems(schema, {"l": [1, 2], "n": 1}, {"l": [1, 2], "n": 2}) == []
    assert paths(problems(schema, {"l": [1, 2, 3]}, {"l": [1, 2]})) == ["l[0]", "l[1]", "l[2]"]


def test_a_map_list_is_unchanged_in_any_order() -> None:
    schema = objects(l=ruled(keyed(objects(name=TEXT, v=INTEGER), "name"), "false"))
    old = {"l": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}
    assert problems(schema, {"l": old["l"][::-1]}, old) == []
    assert len(problems(schema, {"l": old["l"][:1]}, old)) == 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (ruled(INTEGER, {"rule": "self > 9 || oldSelf > 9"}), 1),
        (INTEGER | {"allOf": [ruled({}, "self > 9")]}, 1),
        (ruled({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "false"), {"unknown": 1}),
        (ruled(INTEGER, "1 / (self - 1) > 0"), 1),
    ],
    ids=["transition rule", "allOf", "unknown fields", "stumbles"],
)
def test_what_is_not_forgiven(schema: JsonObject, value: Any) -> None:
    assert len(problems(objects(a=schema, n=INTEGER), {"a": value, "n": 1}, {"a": value, "n": 2})) == 1


# ------------------------------------------------------------------------------------------------ budgets

HEAVY = "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))"


def test_one_rule_that_takes_too_long_ends_the_matter() -> None:
    schema = objects(
        l=ruled(listed(INTEGER), {"rule": HEAVY, "message": "positive"}, "false"), m=ruled(INTEGER, "false")
    )
    (problem,) = problems(schema, {"l": list(range(300)), "m": 1})
    assert problem.path == "l"
    assert problem.message == (
        "rule 'positive' was stopped: it takes more than 1,000,000 steps; no further rules were run"
    )


def test_rules_share_the_budget_of_the_object() -> None:
    meter = Meter(1000)
    schema = objects(l=listed(ruled(INTEGER, "[1, 2, 3].all(x, x < self)")))
    found = Rules(read_schema(schema, "")[0], root=False).problems({"l": [9] * 500}, None, "", meter)
    assert len(found) == 1
    assert "the rules of this object take more than" in found[0].message
    assert meter.left <= 0


def test_a_message_counts_too() -> None:
    rule = {"rule": "false", "message": "m", "messageExpression": f"{HEAVY} ? 'a' : 'b'"}
    (problem,) = problems(objects(l=ruled(listed(INTEGER), rule)), {"l": list(range(300))})
    assert problem.message.startswith("rule 'messageExpression of m' was stopped")


def test_what_is_wrong_with_a_million_items_is_told_of_the_first_thousand() -> None:
    found = problems(objects(l=listed(ruled(INTEGER, "false"))), {"l": [1] * 5000})
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1].message == "1000 problems were found; no further rules were run"


# ------------------------------------------------------------------------------------------------ field paths

FIELDS = objects(
    a=objects(b=TEXT, **{"c.d": TEXT, "it's": TEXT}),
    m={"type": "object", "additionalProperties": objects(x=TEXT)},
    l=listed(TEXT),
)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        (".a", ".a"),
        (".a.b", ".a.b"),
        ("['a']['c.d']", ".a.c.d"),
        (".a['it\\'s']", ".a.it's"),
        (".m.key.x", ".m.key.x"),
        (".m['any.key']", ".m.any.key"),
        (".l", ".l"),
    ],
)
def test_a_field_path_leads_to_a_field(text: str, suffix: str) -> None:
    assert field_path(text, read_schema(FIELDS, "")[0])[0] == suffix


@pytest.mark.parametrize(
    "text", ["a", ".z", ".a.", "..a", ".a..b", ".l[0]", ".l['0']", "['a'", "[a]", ".a.b.c", ".a['\\q']", " .a", "."]
)
def test_what_is_no_field_path_is_refused(text: str) -> None:
    with pytest.raises(FieldPathError):
        field_path(text, read_schema(FIELDS, "")[0])


def test_brackets_can_be_forbidden() -> None:
    with pytest.raises(FieldPathError):
        field_path("['a']", read_schema(FIELDS, "")[0], brackets=False)


# ------------------------------------------------------------------------------------------------ definitions


def checked(schema: JsonObject, **options: Any) -> list[tuple[str, str]]:
    return [
        (problem.reason, problem.path.removeprefix(PATH).removeprefix("."))
        for problem in rule_problems(read_schema(schema, PATH)[0], PATH, **options)
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": "self.a > 1", "message": "m", "reason": "FieldValueRequired", "fieldPath": ".a"}, None),
        ({"rule": " "}, ("FieldValueRequired", "rule")),
        ({"rule": "true", "message": "  "}, ("FieldValueInvalid", "message")),
        ({"rule": "true", "message": "a\nb"}, ("FieldValueInvalid", "message")),
        ({"rule": "true\n|| false"}, ("FieldValueRequired", "message")),
        ({"rule": "true\n|| false", "message": "m"}, None),
        ({"rule": "true", "messageExpression": " "}, ("FieldValueRequired", "messageExpression")),
        ({"rule": "true", "messageExpression": "1"}, ("FieldValueInvalid", "messageExpression")),
        ({"rule": "true", "messageExpression": "self.z"}, ("FieldValueInvalid", "messageExpression")),
        ({"rule": "true", "reason": "Wrong"}, ("FieldValueNotSupported", "reason")),
        ({"rule": "true", "fieldPath": "  "}, ("FieldValueInvalid", "fieldPath")),
        ({"rule": "true", "fieldPath": ".z"}, ("FieldValueInvalid", "fieldPath")),
        ({"rule": "self.a"}, ("FieldValueInvalid", "rule")),
        ({"rule": "self.z == 1"}, ("FieldValueInvalid", "rule")),
        ({"rule": "self.a ="}, ("FieldValueInvalid", "rule")),
        ({"rule": "self.a == 'x'"}, ("FieldValueInvalid", "rule")),
        ({"rule": "true", "optionalOldSelf": True}, ("FieldValueInvalid", "optionalOldSelf")),
        ({"rule": "oldSelf.hasValue()", "optionalOldSelf": True}, None),
    ],
    ids=lambda case: None if not isinstance(case, dict) else str(case),
)
def test_a_definition_whose_rule_is_wrong_is_refused(rule: JsonObject, expected: tuple[str, str] | None) -> None:
    found = checked(objects(spec=ruled(objects(a=INTEGER), rule)))
    at = "properties.spec.x-kubernetes-validations[0]."
    assert set(found) == ({(expected[0], at + expected[1])} if expected else set())


def test_a_rule_that_does_not_compile_is_told_with_its_place() -> None:
    schema = ruled(objects(a=INTEGER), {"rule": "self.a > 1\n  && self.b == 2", "message": "m"})
    (problem,) = rule_problems(read_schema(schema, PATH)[0], PATH)
    assert "(line 2, column " in problem.message
    assert "'b'" in problem.message


def test_old_values_need_items_that_correspond() -> None:
    item = ruled(objects(name=TEXT), "self == oldSelf")
    assert checked(objects(l=keyed(item, "name") | {"maxItems": 10})) == []
    assert checked(objects(m={"type": "object", "maxProperties": 10, "additionalProperties": item})) == []
    at = "properties.l.items.x-kubernetes-validations[0].rule"
    assert checked(objects(l=listed(item, maxItems=10))) == [("FieldValueInvalid", at)]
    assert checked(objects(l=listed(objects(deep=item), maxItems=10))) == [
        ("FieldValueInvalid", at.replace("items.", "items.properties.deep."))
    ]


def test_rules_in_clauses_are_looked_at_without_compiling() -> None:
    schema = objects(a=INTEGER) | {"allOf": [ruled({}, "nonsense(", {"rule": ""})], "not": {"anyOf": [ruled({}, "")]}}
    assert sorted(checked(schema)) == [
        ("FieldValueRequired", "allOf[0].x-kubernetes-validations[1].rule"),
        ("FieldValueRequired", "not.anyOf[0].x-kubernetes-validations[0].rule"),
    ]


def test_badly_written_rules_are_told_alone() -> None:
    schema = ruled(objects(a=ruled(INTEGER, "")), "self.z")
    assert checked(schema) == [("FieldValueRequired", "properties.a.x-kubernetes-validations[0].rule")]
    assert checked(ruled(objects(), "self.z"), compiled=False) == []


def test_rules_above_what_else_is_wrong_are_not_compiled() -> None:
    schema = ruled(objects(a=ruled(objects(b=INTEGER), "self.z"), c=ruled(INTEGER, "self.z")), "self.z")
    found = checked(schema, wrong=[f"{PATH}.properties.a.properties.b.maximum"])
    assert found == [("FieldValueInvalid", "properties.c.x-kubernetes-validations[0].rule")]


def test_a_rule_that_may_take_too_long_is_refused_with_advice() -> None:
    schema = objects(l=ruled(listed(TEXT), {"rule": "self.all(x, self.all(y, x == y || x.contains(y)))"}))
    (*_, problem) = rule_problems(read_schema(schema, PATH)[0], PATH)[:1]
    assert (problem.reason, problem.path) == (
        "FieldValueForbidden",
        f"{PATH}.properties.l.x-kubernetes-validations[0].rule",
    )
    assert "more than 100 times" in problem.message
    assert "maxItems" in problem.hint
    bounded = objects(l=ruled(listed(TEXT | {"maxLength": 10}, maxItems=10), "self.all(x, self.all(y, x.contains(y)))"))
    assert checked(bounded) == []


def test_the_number_of_values_counts() -> None:
    rule = ruled(TEXT | {"maxLength": 1000}, "self.contains('x')")
    assert checked(objects(l=listed(rule, maxItems=1000))) == []
    at = "properties.l.items.properties.m.additionalProperties.x-kubernetes-validations[0].rule"
    deep = objects(l=listed(objects(m={"type": "object", "additionalProperties": rule}), maxItems=1000))
    assert ("FieldValueForbidden", at) in checked(deep)


def test_rules_that_may_take_too_long_together_are_refused() -> None:
    one = ruled(TEXT | {"maxLength": 20_000}, "self.matches('^[a-z0-9]+$')")
    properties = {f"p{number}": listed(one, maxItems=250) for number in range(20)}
    found = checked(objects(**properties))
    assert ("FieldValueForbidden", "") in found
    assert [path for _, path in found[:-1]] == [
        f"properties.p{number}.items.x-kubernetes-validations[0].rule" for number in range(4)
    ]


def test_a_rule_at_what_has_no_schema_is_refused() -> None:
    found = checked(objects(a=ruled({"x-kubernetes-preserve-unknown-fields": True}, "true")))
    assert found == [("InternalError", "properties.a.x-kubernetes-validations")]


def test_too_many_rules_are_refused_without_compiling_them() -> None:
    many = ruled(INTEGER, *["self > 1"] * (MAX_RULES + 1))
    assert checked(objects(a=many)) == [("FieldValueTooMany", "")]
    assert checked(objects(a=INTEGER) | {"allOf": [{"properties": {"a": many}}]}) == [("FieldValueTooMany", "")]
    long = " || ".join(["self > 12345"] * 6000)
    assert checked(objects(a=ruled(INTEGER, *[long] * 5))) == [("FieldValueTooLong", "")]
