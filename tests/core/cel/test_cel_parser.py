"""Which tree an expression is, which value a literal, and what is said of the rest."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kastra_core.cel import (
    DYN,
    JSON_DIALECT,
    KUBERNETES,
    STRING,
    CelSyntaxError,
    Environment,
    Meter,
    Node,
    Uint,
    map_of,
)
from kastra_core.cel.cost import estimate
from kastra_core.cel.parser import parse


def shape(node: Node) -> Any:
    """A tree as nested tuples, operators without their underscores."""
    if node.kind == "const":
        return node.value
    if node.kind == "ident":
        return node.value
    parts = [shape(part) for part in node.items if isinstance(part, Node)]
    if node.kind in ("select", "has"):
        assert node.target is not None
        return (node.kind, shape(node.target), node.value)
    if node.kind == "map":
        return {shape(key): shape(value) for key, value in node.items}
    if node.kind == "list":
        return parts
    target = [] if node.target is None else [shape(node.target)]
    return (str(node.value).strip("_"), *target, *parts)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a + b * c - d", ("-", ("+", "a", ("*", "b", "c")), "d")),
        ("a - b - c", ("-", ("-", "a", "b"), "c")),
        ("a * (b + c) % d", ("%", ("*", "a", ("+", "b", "c")), "d")),
        ("a + b < c == d", ("==", ("<", ("+", "a", "b"), "c"), "d")),
        ("a in b in c", ("@in", ("@in", "a", "b"), "c")),
        ("a || b && c || d", ("||", ("||", "a", ("&&", "b", "c")), "d")),
        ("a ? b : c ? d : e", ("?_:", "a", "b", ("?_:", "c", "d", "e"))),
        ("(a ? b : c) ? d : e", ("?_:", ("?_:", "a", "b", "c"), "d", "e")),
        ("a || b ? c && d : e == f", ("?_:", ("||", "a", "b"), ("&&", "c", "d"), ("==", "e", "f"))),
        ("!a.b", ("!", ("select", "a", "b"))),
        ("!!a", "a"),
        ("!!!a", ("!", "a")),
        ("-a", ("-", "a")),
        ("-1", -1),
        ("- 1", -1),
        ("--1", 1),
        ("1 - -1", ("-", 1, -1)),
        ("a -1", ("-", "a", 1)),
        ("!-1", ("!", -1)),
        ("a.b.c(d).e", ("select", ("c", ("select", "a", "b"), "d"), "e")),
        ("a[0].b[c]", ("[_]", ("select", ("[_]", "a", 0), "b"), "c")),
        ("a.if", ("select", "a", "if")),
        (".a.b", ("select", "a", "b")),
        ("has(a.b.c)", ("has", ("select", "a", "b"), "c")),
        ("f()", ("f",)),
        ("a.?b[?c]", ("[?_]", ("?.", "a", "b"), "c")),
        ("[1, 2,]", [1, 2]),
        ("{'a': 1, 'b': 2,}", {"a": 1, "b": 2}),
        ("a // and so on\n + b", ("+", "a", "b")),
        ("a?[b]:c", ("?_:", "a", ["b"], "c")),
    ],
)
def test_the_tree_of_an_expression(source: str, expected: Any) -> None:
    assert shape(parse(source, KUBERNETES)) == expected


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("0x1F", 31),
        ("-0x1f", -31),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", Uint(2**64 - 1)),
        ("0x10U", Uint(16)),
        ("1.5e3", 1500.0),
        ("1E-2", 0.01),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("'a\"b'", 'a"b'),
        (r"'\'\n\x41\101\u00e9\U0001F600\`\?'", "'\nAA\u00e9\U0001f600`?"),
        (r"r'\d\n'", "\\d\\n"),
        (r'R"""a"b\"""', 'a"b\\'),
        ("'''a\n'b''c'''", "a\n'b''c"),
        ("'''a\r\nb\rc'''", "a\nb\nc"),
        ("''", ""),
        ('""""""', ""),
        (r"b'\xff\377é\n'", b"\xff\xff\xc3\xa9\n"),
        (r"br'\x'", b"\\x"),
    ],
)
def test_the_value_of_a_literal(source: str, value: Any) -> None:
    found = parse(source, KUBERNETES).value
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("source", "words", "place"),
    [
        ("a +", "the expression ends too early", (1, 4)),
        ("a.", "the expression ends too early", (1, 3)),
        ("(a", "the expression ends too early", (1, 3)),
        ("a b", "'b' does not fit here", (1, 3)),
        ("a)", "')' does not fit here", (1, 2)),
        ("[1, 2", "the expression ends too early", (1, 6)),
        ("f(1,)", "')' does not fit here", (1, 5)),
        ("[1,,]", "',' does not fit here", (1, 4)),
        ("{1}", "'}' does not fit here", (1, 3)),
        ("a\n  ; b", "';' does not fit here", (2, 3)),
        ("a.in", "'in' does not fit here", (1, 3)),
        ("a.1", "'.1' does not fit here", (1, 2)),
        ("!-a", "'-' does not fit here", (1, 2)),
        ("é", "'é' does not fit here", (1, 1)),
        ("a == 'b", "a text is not closed", (1, 6)),
        ("'a\\d'", r"there is no escape \d in a text; write \\d, or r'...'", (1, 3)),
        ("'\\ud800'", "is no character", (1, 2)),
        ("b'\\u0041'", "there is no escape \\u in bytes", (1, 3)),
        ("1 + 9223372036854775808", "has more than 64 bits", (1, 5)),
        ("1e999", "too big for a double", (1, 1)),
        ("if(a)", "'if' is a word that CEL reserves", (1, 1)),
        ("namespace == 'a'", "'namespace' is a word that CEL reserves", (1, 1)),
        ("has(a)", "has() asks for a field", (1, 5)),
        ("a.all(b.c, true)", "argument 1 of 'all' must be a simple name", (1, 8)),
        ("a.b{}", "there is no type 'a.b'", (1, 1)),
        ("a <> b", "'>' does not fit here; in CEL: '<>' is !=", (1, 4)),
        ("a ?? b", "'?' does not fit here; in CEL: a field that may be missing", (1, 4)),
        ("a && not b", "'b' does not fit here; in CEL: 'not' is !", (1, 10)),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(source: str, words: str, place: tuple[int, int]) -> None:
    with pytest.raises(CelSyntaxError) as caught:
        parse(source, KUBERNETES)
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize("source", ["a.?b", "a[?b]", "[?a]", "{?'a': b}"])
def test_json_has_no_optional_values(source: str) -> None:
    with pytest.raises(CelSyntaxError, match=r"'\?' does not fit here"):
        parse(source, JSON_DIALECT)
    parse(source, KUBERNETES)


LONG = {
    "sum": " + ".join(f"(has(self.a{n}) ? 1 : 0)" for n in range(95)) + " == 95",
    "choices": "".join(f"has(self.a{n}) ? {n} == {n} : " for n in range(95)) + "false",
    "members": "[self].all(x, !has(x" + ".a" * 80 + ") || true)",
    "brackets": "(" * 95 + "size(self) > 0" + ")" * 95,
    "lists": "size(" + "[" * 90 + "]" * 90 + ") == 1",
    "alternatives": " || ".join(f"self.a == {n}" for n in range(1000)) + " || true",
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_expression_works(name: str) -> None:
    kind = map_of(STRING, DYN)
    program = Environment({"self": kind}).compile(LONG[name])
    assert estimate(program.tree, root=kind).most > 0
    assert program.evaluate({"self": {f"a{n}": 1 for n in range(95)}}, Meter(100_000)) is True


@pytest.mark.parametrize(
    "source",
    ["1" + " + 1" * 200, "(" * 200 + "1" + ")" * 200, "a" + ".b" * 200, "a ? b : " * 200 + "c", "[" * 99_999],
    ids=["sum", "brackets", "members", "choices", "open"],
)
def test_what_is_too_deep_is_refused(source: str) -> None:
    with pytest.raises(CelSyntaxError, match="nested too deeply, or has more than 100 operators in a row"):
        parse(source, KUBERNETES)


@pytest.mark.parametrize(
    "source",
    ["'" + "\\n" * 49_000 + "'", "!" * 99_000 + "a", "a." * 49_000, "'" * 99_999, "{" * 50_000, "//\n" * 33_000],
    ids=["escapes", "negations", "members", "quotes", "maps", "comments"],
)
def test_whatever_is_written_is_read_in_no_time(source: str) -> None:
    started = time.process_time()
    with suppress(CelSyntaxError):
        parse(source, KUBERNETES)
    assert time.process_time() - started < 2


PARTS = (
    "a b f( x.all(i, has( .map(y, .b .c( [ ] ( ) { } , : ? ?b + - * / % < <= == != ! && || in true null 1 -1 2u 1.5 .5 "
    "'s' r'\\' b\"\\x41\" '''t''' // \n . a.b{ if 0x1F --"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS.split(" ")), min_size=1, max_size=12).map(" ".join))
@example("a ? b : c")
def test_the_parser_of_another_library_takes_the_same_expressions(source: str) -> None:
    from cel_expr_python import cel

    try:
        cel.NewEnv().compile(source, disable_check=True)
        accepted = True
    except RuntimeError:
        accepted = False
    # That library reads r'\' otherwise, and makes values of types.
    if "r'\\'" in source or "{" in source or "?b" in source:
        return
    try:
        parse(source.replace("2u", "2"), JSON_DIALECT)
        accepted_here = True
    except CelSyntaxError:
        accepted_here = False
    assert accepted_here is accepted
