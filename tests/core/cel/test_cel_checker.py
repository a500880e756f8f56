"""What the checker accepts, which type it finds, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from kastra_core.cel import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    JSON_DIALECT,
    STRING,
    TIMESTAMP,
    UINT,
    CelSyntaxError,
    CelType,
    Environment,
    Member,
    Meter,
    list_of,
    map_of,
    object_of,
    optional_of,
)

PORT = object_of("spec.ports", {"name": Member("name", STRING), "port": Member("port", INT)})
SELF = object_of(
    "spec",
    {
        "name": Member("name", STRING),
        "replicas": Member("replicas", INT),
        "weight": Member("weight", DOUBLE),
        "ports": Member("ports", list_of(PORT)),
        "labels": Member("labels", map_of(STRING, STRING)),
        "since": Member("since", TIMESTAMP),
        "any": Member("any", DYN),
        "min__dash__size": Member("min-size", INT),
        "__namespace__": Member("namespace", STRING),
    },
)
ENVIRONMENT = Environment({"self": SELF, "oldSelf": SELF})


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("self.replicas", INT),
        ("self.weight * 2.0", DOUBLE),
        ("self.ports[0].port + 1", INT),
        ("self.ports.map(p, p.name)", list_of(STRING)),
        ("self.ports.filter(p, p.port > 1)", list_of(PORT)),
        ("self.labels.map(k, k)", list_of(STRING)),
        ("self.labels['a']", STRING),
        ("self.?name", optional_of(STRING)),
        ("self.?ports[0].name", optional_of(STRING)),
        ("self.?name.orValue('')", STRING),
        ("self.any", DYN),
        ("self.any.some.thing", DYN),
        ("self.any + 1", INT),
        ("self.any == 'x'", BOOL),
        ("[]", list_of(DYN)),
        ("{}", map_of(DYN, DYN)),
        ("[] + [1]", list_of(INT)),
        ("[[], [1]]", list_of(list_of(INT))),
        ("true ? [] : ['a']", list_of(STRING)),
        ("self.name == '' ? self.any : 1", DYN),
        ("1u + 2u", UINT),
        ("b'x'", BYTES),
        ("self.since - duration('1h')", TIMESTAMP),
        ("self.since - self.since", DURATION),
        ("self.since == null", BOOL),
        ("self.ports[0] == null", BOOL),
        ("self == oldSelf", BOOL),
        ("type(self.name) == string", BOOL),
        ("type(self.name)", CelType("type", (STRING,))),
        ("self.replicas < 1.5", BOOL),
        ("self.ports.all(i, p, i < p.port)", BOOL),
        ("self.labels.transformMap(k, v, size(v))", map_of(STRING, INT)),
        ("self.labels.transformList(k, v, k + v)", list_of(STRING)),
        ("[?self.?name]", list_of(STRING)),
        ("{?'a': self.?replicas}", map_of(STRING, INT)),
        ("self.?name.optMap(n, size(n))", optional_of(INT)),
        ("self.min__dash__size + size(self.__namespace__)", INT),
        ("[dyn(1), dyn('a')]", list_of(DYN)),
        ("'%s %d'.format(['a', self.replicas])", STRING),
        ("self.ports.sortBy(p, p.port)", list_of(PORT)),
    ],
)
def test_a_type_is_known(source: str, kind: CelType) -> None:
    assert ENVIRONMENT.compile(source).type == kind


@pytest.mark.parametrize(
    ("source", "words", "place"),
    [
        ("self.foo", "no field 'foo' in self; it has: name, replicas, weight", (1, 5)),
        ("self.naem", "did you mean 'name'?", (1, 5)),
        ("self.ports[0].prot", "no field 'prot' in self.ports[0]; did you mean 'port'?", (1, 14)),
        ("has(self.foo)", "no field 'foo' in self", (1, 4)),
        ("self.?foo", "no field 'foo' in self", (1, 5)),
        ("self.namespace", "it is written __namespace__ in CEL", (1, 5)),
        ("self.name.length", "size(self.name) is its length", (1, 10)),
        ("self.ports.name", "an item is self.ports[0]", (1, 11)),
        ("self.replicas + 'a'", "'+' does not take int and string; string(x) makes a text of a number", (1, 15)),
        ("1.0 + self.replicas", "'+' does not take double and int; convert one of them", (1, 5)),
        ("self.replicas == 'a'", "'==' does not take int and string; they are never equal", (1, 15)),
        ("self.weight == 1", "'==' does not take double and int; convert", (1, 13)),
        ("self.name == null", "has(x.y) asks whether a field is there", (1, 11)),
        ("!self.name", "'!' does not take string", (1, 1)),
        ("self.name && true", "'&&' does not take string and bool", (1, 11)),
        ("self.name ? 1 : 2", "'? :' needs a bool before the '?', not string", (1, 11)),
        ("true ? 1 : 'a'", "'? :' needs values of one type, not int and string", (1, 6)),
        ("-self.name", "'-' does not take string", (1, 1)),
        ("'a' in self.name", "text.contains(part) looks into a text", (1, 5)),
        ("self.ports['a']", "a list takes an int, a map its key", (1, 11)),
        ("self['name']", "'[]' does not take object and string", (1, 5)),
        ("self.name.startsWith(1)", "there is no string.startsWith(int); there is string.startsWith(string)", (1, 21)),
        ("startsWith(self.name, 'a')", "there is string.startsWith(string)", (1, 11)),
        ("self.name.len()", "there is no function 'len'; CEL writes size(x)", (1, 14)),
        ("self.name.startswith('a')", "CEL writes x.startsWith(y)", (1, 21)),
        ("math.abs(self.replicas)", "there is no function 'math.abs'", (1, 9)),
        ("nmae", "there is no variable 'nmae'; there are: oldSelf, self", (1, 1)),
        ("slef.name", "there is no variable 'slef'; did you mean 'self'?", (1, 1)),
        ("self.ports.all(p, q.name == '')", "there is no variable 'q'", (1, 19)),
        ("self.ports.all(p, p.name)", "the condition of a macro must be a bool, not string", (1, 15)),
        ("self.ports.filter(p, p.port)", "the condition of a macro must be a bool, not int", (1, 18)),
        ("self.all(x, true)", "self is of type object; a macro goes through a list or a map", (1, 1)),
        ("self.ports.all(p, p, true)", "both variables of 'all' are called 'p'", (1, 19)),
        ("self.ports.transformList(p + 1, q, true)", "must be a simple name", (1, 28)),
        ("[1, 'a']", "items of a list are of one type: this is string, before it is int", (1, 5)),
        ("[1, dyn(2)]", "this is dyn, before it is int", (1, 8)),
        ("{'a': 1, 2: 2}", "keys of a map are of one type", (1, 10)),
        ("{'a': 1, 'b': ''}", "values of a map are of one type", (1, 15)),
        ("'%d'.format(['a'])", "format: '%d' does not take string", (1, 14)),
        ("'%s'.format([])", "there is no value for '%s', number 1", (1, 12)),
        ("'%s'.format([1, 2])", "it has 1 clauses and 2 values", (1, 12)),
        ("'%y'.format([1])", "there is no clause '%y'", (1, 1)),
        ("'%s'.format([[optional.none()]])", "'%s' does not take optional(dyn)", (1, 28)),
        ("[?self.name]", "after '?' stands an optional value", (1, 7)),
        ("self.name.matches('(')", "'(' is no regular expression", (1, 19)),
        ("duration('1 hour')", "'1 hour' is no duration", (1, 10)),
        ("timestamp('yesterday')", "'yesterday' is no timestamp", (1, 11)),
        ("Object{a: 1}", "there is no type 'Object'", (1, 1)),
        ("self.labels.`a-b`", "names in backticks are not known", (1, 12)),
        ("self.name = 'a'", "equality is ==", (1, 11)),
        ("self.name and true", "'and' is &&", (1, 11)),
        ("(", "ends too early", (1, 2)),
        ("", "ends too early", (1, 1)),
        ("'a", "a text is not closed", (1, 1)),
        ("self.name == 'a\nb'", "a text is not closed", (1, 14)),
        ("self.name ==\n  self.foo", "no field 'foo'", (2, 7)),
        ("self.name == '\x00'", "cannot stand here", (1, 15)),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(source: str, words: str, place: tuple[int, int]) -> None:
    with pytest.raises(CelSyntaxError) as caught:
        ENVIRONMENT.compile(source)
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("name == 'x'", "did you mean 'self.name'?"),
        ("self.min-size > 1", "min-size is written min__dash__size in CEL"),
        ("self['min-size'] > 1", "a field of an object is written self.min__dash__size"),
        ("self.nam == 'x'", "did you mean 'name'? it has: name"),
        ("self.replicas > 1 & true", "'&' is &&"),
        ("{{ self.replicas > 1 }}", "an expression stands without braces"),
        ("self.ports.all(p => p.port > 1)", "a macro is written x.all(item, CONDITION)"),
        ("self.ports.exists(self.replicas > 1)", "it is written x.exists(item, CONDITION)"),
        ("self.labels.has('a')", "'key' in x for a map"),
        ("has(self.labels['a'])", "for a key of a map there is 'key' in x"),
        ("'a' in self.name", "'in' does not take string and string; text.contains(part)"),
        ("self.replicas > '1'", "int(x) and double(x) read a number from a text"),
        ("1 < self.replicas < 3", "write a < b && b < c"),
        ("self.name == 'a' || 'b'", "both sides are conditions"),
        ("!self.name", "has(x.y) asks whether a field is there"),
        ("self.name ? true : false", "has(x.y) asks whether a field is there"),
        ("type(self.name) == 'string'", "the names of types stand without quotes"),
        ("self.since > '2024-01-01'", "timestamp('2024-05-31T12:00:00Z')"),
        ("quantity('1') > quantity('2')", "x.compareTo(y) < 0"),
        ("ip('::1').family == 6", "it is a function: the value.family()"),
        ("size(self.replicas)", "there is size(string), size(bytes), size(list(A)), size(map(A, B))"),
        ("duration('1d')", "there is no unit for days"),
        ("[1].transformMapEntry(i, v, v)", "transformMapEntry needs a map of what is added, not int"),
    ],
)
def test_a_common_mistake_gets_a_hint(source: str, hint: str) -> None:
    with pytest.raises(CelSyntaxError) as caught:
        ENVIRONMENT.compile(source)
    assert hint in caught.value.message


def test_fields_become_their_names_in_json() -> None:
    program = ENVIRONMENT.compile("has(self.min__dash__size) && self.?min__dash__size.hasValue()")
    assert program.evaluate({"self": {"min-size": 1}}, Meter(100)) is True


def test_a_macro_variable_hides_a_namespace() -> None:
    values: dict[str, Any] = {"self": {"ports": []}}
    source = "[[1]].all(sets, sets.exists(x, x == 1))"
    assert ENVIRONMENT.compile(source).evaluate(values, Meter(100)) is True


def test_a_function_of_another_library_is_not_there() -> None:
    with pytest.raises(CelSyntaxError, match=r"there is no function 'cel\.bind'"):
        ENVIRONMENT.compile("cel.bind(x, self.name, x + x)")


def test_the_json_dialect_mixes_numbers_and_asks_the_library() -> None:
    environment = Environment({"a": DYN, "b": DYN}, JSON_DIALECT)
    program = environment.compile("a + b > 3 && string(timestamp(b)) != ''")
    assert program.names == {"a", "b"}
    assert program.evaluate({"a": 1.5, "b": 2}, Meter(1000)) is True
    with pytest.raises(CelSyntaxError, match="there is no variable 'c'"):
        environment.compile("a + c")
