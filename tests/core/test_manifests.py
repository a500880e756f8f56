"""Reading manifests: typing, places, every bad input with its line; writing them back."""

# ruff: noqa: E501 - tables of cases read better in long lines
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import ManifestError, Problem
from kastra_core.manifests import Document, Limits, composer, dump, parse


@pytest.fixture(params=["libyaml", "pure"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers behave alike."""
    if request.param == "pure":
        monkeypatch.setattr(composer, "HAS_LIBYAML", False)


both_parsers = pytest.mark.usefixtures("_parser")


def problems(text: str | bytes, file: str = "f.yaml", limits: Limits | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ManifestError) as caught:
        parse(text, file, limits or Limits())
    return caught.value.problems


def read(text: str | bytes) -> tuple[list[Document], tuple[Problem, ...]]:
    """Documents and problems; no other error may come."""
    try:
        return parse(text), ()
    except ManifestError as error:
        return [], error.problems


def one(text: str) -> Any:
    (document,) = parse(text)
    return document.data


# ------------------------------------------------------------------------------------------ typing

TYPED: list[tuple[str, Any]] = [
    ("true", True), ("True", True), ("TRUE", True), ("yes", True), ("Yes", True), ("on", True), ("ON", True),
    ("false", False), ("no", False), ("No", False), ("NO", False), ("off", False), ("Off", False),
    ("y", "y"), ("n", "n"), ("Y", "Y"), ("N", "N"), ("tRue", "tRue"), ("yEs", "yEs"),
    ("null", None), ("Null", None), ("~", None), ("", None), ("nULL", "nULL"), ("none", "none"),
    ("12", 12), ("-12", -12), ("+12", 12), ("0", 0), ("1_000", 1000), ("_1", "_1"), ("-_1", "-_1"),
    ("017", 15), ("0o17", 15), ("-017", -15), ("08", "08"), ("0x1f", 31), ("0X1F", 31), ("0b101", 5),
    ("0x", "0x"), ("0xg", "0xg"), ("12abc", "12abc"), ("1.2.3", "1.2.3"), ("1-2", "1-2"),
    ("9223372036854775807", 2**63 - 1), ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)),
    ("1e3", 1000.0), ("1E-3", 0.001), ("1.5", 1.5), (".5", 0.5), ("-.5", -0.5), ("1.", 1.0), ("6.02e23", 6.02e23),
    ("08.5", 8.5), ("+1.0", 1.0), (".", "."), ("-", None), ("+", "+"), ("e3", "e3"), ("1e", "1e"),
    ("12:30:00", "12:30:00"), ("12:30", "12:30"), ("190:20:30.15", "190:20:30.15"),
    ("2024-05-01", "2024-05-01"), ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"), ("=", "="), ("<<", "<<"),
    ('"12"', "12"), ("'true'", "true"), ('""', ""), ("'null'", "null"), ("!!str 12", "12"), ("!!str", ""),
    ('!!int "5"', 5), ("!!float 5", 5.0), ("!!bool yes", True), ("!!null ''", None), ("!!timestamp 2024-05-01", "2024-05-01"),
    ("inf", "inf"), ("nan", "nan"), ("@", None), ("你好", "你好"), ("😀", "😀"), ('"\\U0001F600"', "😀"),
]  # fmt: skip


@both_parsers
@pytest.mark.parametrize(("text", "value"), [pair for pair in TYPED if pair[0] not in ("@", "-")])
def test_a_scalar_is_read_as_kubernetes_users_expect(text: str, value: Any) -> None:
    found = one(f"kind: A\nx: {text}\n")["x"]
    assert (found, type(found)) == (value, type(value))
    assert one(f"kind: A\nx:\n- {text}\n")["x"] == [value]


@both_parsers
def test_merge_keys_bring_what_is_not_written() -> None:
    text = "kind: A\nbase: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nspec:\n  <<: [*b, *o]\n  y: 5\nmore:\n  <<: *b\n"
    data = one(text)
    assert data["spec"] == {"x": 1, "y": 5, "z": 4}
    assert data["more"] == {"x": 1, "y": 2}


@both_parsers
def test_a_quoted_merge_sign_is_a_plain_key() -> None:
    assert one('kind: A\n"<<": {a: 1}\n') == {"kind": "A", "<<": {"a": 1}}


@both_parsers
def test_anchors_and_aliases_give_equal_but_separate_values() -> None:
    data = one("kind: A\na: &a {x: [1]}\nb: *a\n")
    assert data["a"] == data["b"] == {"x": [1]}
    assert data["a"] is not data["b"]


@both_parsers
@given(st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
def test_numbers_written_as_json_are_read_as_json_reads_them(value: Any) -> None:
    found = one(f"kind: A\nx: {json.dumps(value)}\n")["x"]
    assert (found, type(found)) == (value, type(value))


@given(st.text("0123456789abcdefxob_+-.:~yn<=", max_size=8))
def test_every_plain_scalar_is_read_or_refused_with_its_line(text: str) -> None:
    _, found = read(f"kind: A\nx: {text}\n")
    assert all(problem.line for problem in found)


# ------------------------------------------------------------------------------------------ documents and places


@both_parsers
def test_documents_have_index_line_and_file() -> None:
    text = "# head\n---\n# comment\nkind: A\n---\n---\n# nothing\n---\nnull\n--- {kind: B}\n...\n---\nkind: C\n"
    found = [(d.data["kind"], d.index, d.line, d.file) for d in parse(text, "x.yaml")]
    assert found == [("A", 0, 4, "x.yaml"), ("B", 1, 10, "x.yaml"), ("C", 2, 13, "x.yaml")]


PLACED = """\
# comment
---
kind: A
metadata:
  labels: {app.kubernetes.io/name: x, app: é}
spec:
  tools:
    - name: one
    - name: "two"
      modle: gpt
  text: |
    line
  empty:
---
kind: B
"""


@both_parsers
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", (3, 1)),
        ("kind", (3, 7)),
        ("metadata", (4, 1)),
        ("metadata.labels.app.kubernetes.io/name", (5, 36)),
        ("metadata.labels.app", (5, 44)),
        ("spec.tools", (7, 3)),
        ("spec.tools[0].name", (8, 13)),
        ("spec.tools[1]", (9, 7)),
        ("spec.tools[1].name", (9, 13)),
        ("spec.tools[7].name", (7, 3)),
        ("spec.tools[1].nothing.here", (9, 7)),
        ("spec.nothing", (6, 1)),
        ("spec.empty", (13, 3)),
        ("nothing", (3, 1)),
    ],
)
def test_a_field_is_located(path: str, place: tuple[int, int]) -> None:
    first, _ = parse(PLACED)
    assert first.locate(path) == place


def test_a_key_is_located_when_wanted_and_for_unknown_fields() -> None:
    first, second = parse(PLACED, "a.yaml")
    assert first.locate("spec.tools[1].modle", key=True) == (10, 7)
    placed = first.place(Problem("unknown field 'modle'", "spec.tools[1].modle", hint="did you mean 'model'?"))
    assert str(placed) == "a.yaml:10:7: spec.tools[1].modle: unknown field 'modle'; did you mean 'model'?"
    assert second.locate("kind") == (15, 7)


def test_a_merged_field_is_located_where_it_is_written() -> None:
    (document,) = parse("kind: A\nbase: &b\n  x: 1\nspec:\n  <<: *b\n  y: 2\n")
    assert document.locate("spec.x") == (3, 6)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_count_whatever_ends_them(newline: str) -> None:
    text = PLACED.replace("\n", newline)
    first, second = parse(text.encode())
    assert first.locate("spec.tools[1].name") == (9, 13)
    assert (first.line, second.line) == (3, 15)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_byte_order_marks_say_the_encoding(encoding: str) -> None:
    text = "kind: A\nx: 日本 é 😀\n"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (document,) = parse((mark + text).encode(encoding))
    assert document.data["x"] == "日本 é 😀"
    assert document.locate("x") == (2, 4)


# ------------------------------------------------------------------------------------------ JSON and lists


def test_json_is_read_as_json() -> None:
    text = '{"kind": "A",\n\t"x": "\\ud83d\\ude00 \\/",\n\t"y": [1e2, "12"], "z": "yes"}'
    (document,) = parse(text, "a.json")
    assert document.data == {"kind": "A", "x": "😀 /", "y": [100.0, "12"], "z": "yes"}
    assert document.locate("y[1]") == (3, 13)
    assert document.line == 1


def test_json_values_may_follow_each_other() -> None:
    assert [(d.data["kind"], d.line) for d in parse('{"kind":"A"}\n{"kind":"B"}\n')] == [("A", 1), ("B", 2)]


def test_flow_yaml_with_comments_and_trailing_commas_is_read() -> None:
    assert one('{"kind": "A", # why\n "x": ["\\ud83d\\ude00",],}')["x"] == ["😀"]


def test_a_json_list_stands_for_its_items() -> None:
    found = parse('[{"kind": "A"},\n {"kind": "B",\n "x": 1}]')
    assert [(d.data["kind"], d.index, d.line) for d in found] == [("A", 0, 1), ("B", 1, 2)]
    assert found[1].locate("x") == (3, 7)


@both_parsers
def test_a_list_kind_stands_for_its_items_in_their_places() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  x: 1\n- kind: B\n  y:\n    z: 2\n---\nkind: C\n"
    found = parse(text)
    assert [(d.data["kind"], d.index, d.line) for d in found] == [("A", 0, 4), ("B", 1, 6), ("C", 2, 10)]
    assert found[1].locate("y.z") == (8, 8)
    assert found[1].locate("") == (6, 3)


def test_items_of_a_typed_list_get_its_type() -> None:
    (document,) = parse("apiVersion: mastra.ai/v1\nkind: AgentList\nitems:\n- metadata: {name: a}\n")
    assert document.data == {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "a"}}


def test_a_kind_that_ends_in_list_with_a_spec_is_itself() -> None:
    assert one("kind: AllowList\nitems: [a]\nspec: {}\n")["kind"] == "AllowList"


def test_an_item_that_is_no_mapping_has_its_place() -> None:
    (problem,) = problems('[{"kind": "A"},\n3]')
    assert (problem.line, problem.column, problem.path) == (2, 1, "[1]")


# ------------------------------------------------------------------------------------------ bad input

BAD: list[tuple[str, str, tuple[int, int], str]] = [
    ("tab in a mapping", "kind: A\nspec:\n\ta: 1\n", (3, 1), "YAML does not allow tabs for indentation; use spaces"),
    ("tab after a mapping", "kind: A\nspec:\n  x: 1\n\ty: 2\n", (4, 1), "does not allow tabs"),
    ("tab in a list", "kind: A\nspec:\n  - a\n\t- b\n", (4, 1), "does not allow tabs"),
    ("tab in a block text", "kind: A\nspec: |\n\tfoo\n", (3, 1), "does not allow tabs"),
    ("duplicate key", "kind: A\nspec:\n  a: 1\n  b: 2\n  a: 3\n", (5, 3), "'a' appears twice; remove one; the first is in line 3"),
    ("open double quote", 'kind: A\nname: "abc\nspec: 1\n', (2, 7), 'the quote " that is opened here is not closed'),
    ("open single quote", "kind: A\nname: 'abc\nspec: 1\n", (2, 7), "the quote ' that is opened here is not closed"),
    ("text after a quote", 'kind: A\nname: "abc" def\nspec: 1\n', (2, 13), "put the whole value in quotes"),
    ("half dedent", "kind: A\nspec:\n    a: 1\n  b: 2\n", (4, 3), "wrong indentation"),
    ("key under a value", "kind: A\n  name: b\nx: 1\n", (2, 3), "wrong indentation"),
    ("key under a deeper value", "kind: A\nspec:\n  a: 1\n   b: 2\n", (4, 4), "wrong indentation"),
    ("first key too deep", "  kind: A\nname: b\n", (2, 1), "wrong indentation"),
    ("list dedent", "kind: A\nspec:\n  tools:\n    - a\n   - b\n", (5, 4), "wrong indentation"),
    ("key in a list", "kind: A\nspec:\n  tools:\n    - a\n    b: 1\n", (5, 5), "expected an item that begins with '- '"),
    ("no space", "kind: A\nname:foo\nx: 1\n", (2, 5), "a space is missing after 'name:'; write 'name: foo'"),
    ("no space in the first line", "name:foo\nkind: A\n", (1, 5), "a space is missing after 'name:'"),
    ("no space in the last line", "kind: A\nspec:\n  a: 1\n  name:foo\n", (4, 7), "a space is missing after 'name:'"),
    ("no space at all", "kind:A\n", (1, 1), "put a space after each ':'"),
    ("second colon", "kind: A\ndescription: note: this\n", (2, 18), "a second ': ' in one line"),
    ("no colon", "kind: A\nspec\nx: 1\n", (2, 1), "expected 'key: value', found 'spec'"),
    ("open list", "kind: A\nx: [1, 2\n", (2, 4), "the [ that is opened here is not closed; add ]"),
    ("open list before a key", "kind: A\nx: [1, 2\ny: 3\n", (3, 2), "opened with [ in line 2"),
    ("open list with nothing", "kind: A\nx: [\n", (2, 4), "the [ that is opened here is not closed; add ]"),
    ("open mapping", "kind: A\nx: {a: 1\n", (2, 4), "the { that is opened here is not closed; add }"),
    ("template", "kind: A\nx: {{ foo }}\n", (2, 5), "{{ x }} in quotes"),
    ("at sign", "kind: A\nx: @foo\n", (2, 4), "a value cannot begin with @; put it in quotes"),
    ("back tick", "kind: A\nx: `foo`\n", (2, 4), "a value cannot begin with `"),
    ("per cent", "kind: A\n%x: 1\n", (2, 1), "a line cannot begin with %"),
    ("undefined alias", "kind: A\nx: *foo\n", (2, 4), "the alias *foo is not defined"),
    ("bold", "kind: A\nx: **bold**\n", (2, 4), "a value cannot begin with *"),
    ("anchor twice", "kind: A\nx: &a 1\ny: &a 2\n", (3, 4), "an anchor is defined twice"),
    ("unknown tag", "kind: A\nx: !foo bar\n", (2, 4), "the tag !foo is not known"),
    ("unknown tag on a list", "kind: A\nx: !foo [1]\n", (2, 4), "the tag !foo is not known"),
    ("unknown tag on a key", "kind: A\n!foo x: 1\n", (2, 1), "the tag !foo is not known"),
    ("tag without handle", "kind: A\nx: !e!foo bar\n", (2, 4), "the tag is not known"),
    ("code", "kind: A\nx: !!python/object/apply:os.system ['x']\n", (2, 4), "data never runs code"),
    ("code by its long name", "kind: A\nx: !<tag:yaml.org,2002:python/name:os.system> ''\n", (2, 4), "data never runs code"),
    ("binary", "kind: A\nx: !!binary aGVsbG8=\n", (2, 4), "base64"),
    ("set", "kind: A\nx: !!set {a, b}\n", (2, 4), "the tag !!set is not known"),
    ("wrong tag", "kind: A\nx: !!int foo\n", (2, 4), "'foo' is no value of the tag !!int"),
    ("not a number", "kind: A\nx:\n  - .nan\n", (3, 5), "x[0]: .nan has no place in a manifest"),
    ("infinity", "kind: A\nx: -.Inf\n", (2, 4), "-.Inf has no place"),
    ("big integer", "kind: A\nx: 18446744073709551616\n", (2, 4), "needs more than 64 bits"),
    ("small integer", "kind: A\nx: -9223372036854775809\n", (2, 4), "needs more than 64 bits"),
    ("very big integer", "kind: A\nx: 0x" + "f" * 9000 + "\n", (2, 4), "needs more than 64 bits"),
    ("big float", "kind: A\nx: 1e999\n", (2, 4), "the number 1e999 is too large"),
    ("number as key", "kind: A\nx:\n  8080: x\n", (3, 3), 'the key 8080 is a number; keys are text; write "8080" in quotes'),
    ("boolean as key", "kind: A\ntrue: x\n", (2, 1), "the key true is a boolean"),
    ("null as key", "kind: A\n~: x\n", (2, 1), "is null; keys are text"),
    ("list as key", "kind: A\n? [a]\n: b\n", (2, 3), "a key must be text, found a list"),
    ("merge of text", "kind: A\n<<: 3\n", (2, 5), "'<<' takes a mapping"),
    ("control character", "kind: A\nx: a\x07b\n", (2, 5), "control character U+0007 is not allowed"),
    ("surrogate", "kind: A\nx: \ud800\n", (2, 4), "lone surrogate U+D800"),
    ("list", "- a\n- b\n", (1, 1), "a manifest is a mapping, found a list"),
    ("text", "\nhello\n", (2, 1), "a manifest is a mapping, found the text 'hello'"),
    ("number", "12\n", (1, 1), "a manifest is a mapping, found the integer '12'"),
    ("empty", "", (0, 0), "the file is empty"),
    ("blank", " \n\n", (0, 0), "the file is empty"),
    ("comments", "# x\n---\n# y\n", (0, 0), "the file holds no manifest"),
    ("block text header", "kind: A\nx: |foo\n  bar\n", (2, 5), "header of a block text"),
    ("list in a line", "kind: A\nx: - a\n", (2, 4), "'- a' cannot stand here"),
    ("future YAML", "%YAML 3.0\n---\nkind: A\n", (1, 1), "this version of YAML is not known"),
    ("recursion", "kind: A\na: &a [*a]\n", (2, 4), "nested more than 100 deep"),
    ("JSON duplicate", '{"kind": "A", "a": 1,\n "a": 2}', (2, 2), "'a' appears twice; remove one; the first is in line 1"),
    ("JSON NaN", '{"kind": "A",\n "a": NaN}', (2, 7), "NaN has no place in a manifest"),
    ("JSON big integer", '{"kind": "A",\n "a": 99999999999999999999}', (2, 7), "needs more than 64 bits"),
    ("JSON big float", '{"kind": "A",\n "a": 1e999}', (2, 7), "too large"),
    ("JSON surrogate", '{"kind": "A",\n "a": "\\ud800"}', (2, 8), "a lone surrogate"),
    ("JSON depth", '{"a":\n' + "[" * 300 + "]" * 300 + "}", (2, 100), "nested more than 100 deep"),
]  # fmt: skip


@both_parsers
@pytest.mark.parametrize(("text", "place", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_told_with_place_and_remedy(text: str, place: tuple[int, int], words: str) -> None:
    (problem,) = problems(text)
    assert (problem.line, problem.column) == place
    assert problem.file == "f.yaml"
    assert words in str(problem)


@both_parsers
@pytest.mark.parametrize("text", ['kind: A\nx: "\\d+"\n', 'kind: A\nx: "\\ud800"\n', 'kind: A\nx: !!str "\\udc00"\n'])
def test_bad_escapes_are_told_in_their_line(text: str) -> None:
    (problem,) = problems(text)
    assert problem.line == 2
    assert problem.hint


def test_a_json_file_has_its_syntax_explained_as_json() -> None:
    (problem,) = problems('{"kind": "A"\n "a": 9}', "a.json")
    assert str(problem) == "a.json:2:2: expected ',' or a closing bracket; separate the items by commas"


def test_bytes_that_are_not_utf8_have_offset_and_line() -> None:
    (problem,) = problems(b"kind: A\nx: caf\xe9\n")
    assert str(problem) == "f.yaml:2:7: byte 0xE9 at offset 14 is not UTF-8; save the file as UTF-8"


def test_utf16_without_a_mark_is_recognised() -> None:
    (problem,) = problems("kind: A\n".encode("utf-16-le"))
    assert "looks like UTF-16" in str(problem)


@both_parsers
def test_every_problem_of_every_document_is_told_at_once() -> None:
    text = (
        "kind: A\nx: [1\n---\nkind: B\n\tx: 1\n---\nkind: C\nkind: D\ny: .nan\n---\nkind: E\n"
        "...\n%YAML 1.1\n---\nkind: {\n--- # last\n- 1\n"
    )
    assert [problem.line for problem in problems(text)] == [2, 5, 8, 9, 15, 17]


@both_parsers
def test_control_characters_in_several_documents_are_all_told() -> None:
    assert [problem.line for problem in problems("kind: A\x00\n---\nkind: B\n---\nkind: \x1b[31m\n")] == [1, 5]


@both_parsers
def test_an_alias_bomb_is_refused() -> None:
    bomb = "kind: A\na: &a [x,x,x,x,x,x,x,x,x]\n"
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    (problem,) = problems(bomb, limits=Limits(nodes=20_000))
    assert "more than 20000 values" in str(problem)


@both_parsers
def test_a_long_text_repeated_by_aliases_is_refused() -> None:
    text = f"kind: A\na: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 60)}]\n"
    (problem,) = problems(text)
    assert "the aliases of the document expand to more than 4.0 MiB" in str(problem)


@both_parsers
@pytest.mark.parametrize(
    ("head", "unit"), [("kind: A\na: ", "["), ("", "- "), ("", "? "), ("kind: A\na: ", "{a: "), ("", "!!seq [")]
)
def test_endless_nesting_is_refused(head: str, unit: str) -> None:
    (problem,) = problems(head + unit * 50_000)
    assert "nested more than 100 deep" in str(problem)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert parse("a: " + "[" * 99 + "]" * 99)
    assert "deep" in str(problems("a: " + "[" * 100 + "]" * 100)[0])
    assert parse("a: " + "[" * 100 + "]" * 100, limits=Limits(depth=101))


def test_a_large_document_is_refused_and_the_others_are_still_checked() -> None:
    text = "kind: A\n---\n# big\nkind: B\nx: " + "x" * 10_500_000 + "\n---\nkind: C\nkind: D\n"
    large, twice = problems(text)
    assert large.line == 4
    assert "the document has 10.0 MiB, more than the 4.0 MiB allowed; split it" in str(large)
    assert "raise Limits.document_bytes" in str(large)
    assert "appears twice" in str(twice)


def test_a_large_json_document_is_refused() -> None:
    (problem,) = problems(json.dumps({"kind": "A", "x": "y" * 5_000_000}))
    assert "the document has 4.8 MiB" in str(problem)
    (problem,) = problems(json.dumps([{"kind": "A"}, {"kind": "A", "x": "y" * 5_000_000}]))
    assert problem.path == "[1]"


def test_a_large_file_is_refused() -> None:
    (problem,) = problems("kind: A\n" * 1000, limits=Limits(file_bytes=2000))
    assert "the file has 8000 bytes, more than the 2000 bytes allowed" in str(problem)


@pytest.mark.parametrize("form", ["documents", "list", "json"])
def test_ten_thousand_manifests_are_read(form: str) -> None:
    manifests = [
        {
            "apiVersion": "mastra.ai/v1",
            "kind": "Agent",
            "metadata": {"name": f"a{n}"},
            "spec": {"instructions": "x" * 400},
        }
        for n in range(10_000)
    ]
    if form == "documents":
        text = dump(manifests)
    elif form == "list":
        text = dump([{"apiVersion": "v1", "kind": "List", "items": manifests}])
    else:
        text = json.dumps(manifests)
    assert len(text) > 4 * 1024 * 1024
    found = parse(text)
    assert [document.data for document in found] == manifests
    assert found[-1].locate("metadata.name")[0] >= found[-1].line


@given(st.text("ab: -[]{}\"'\n\t#&*!|>%@?,.~\\0", max_size=60))
def test_any_text_is_read_or_refused_with_a_manifest_error(text: str) -> None:
    documents, found = read("kind: A\nx:\n " + text)
    assert documents or found


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_with_a_manifest_error(raw: bytes) -> None:
    documents, found = read(raw)
    assert documents or found


# ------------------------------------------------------------------------------------------ writing

texts = st.text(st.characters(exclude_categories=["Cs"]))
tricky = st.sampled_from(
    ["", " ", "-", "- a", "a: b", "a:", "#a", "a #b", "yes", "n", "null", "1e3", "0o17", "12:30", "2024-05-01", "=", "<<",
     "a\nb", "a\n", "a\n\n", "\n", " a\nb", "a\n b\n", "a \nb", "\ta\n", "a\n\tb", "a\r\nb", "'", '"', "a'b\"c", "---", "...",
     "---\na", "a\n---\nb", "a\n...\n", "%a\nb", "[a", "{a", "&a", "*a", "!a", "|", ">", "@a", "`a", "\\", "a\\b", "\x85",
     "\u2028a\nb", "\ufeff", "\ufeffa\nb", "😀", "😀\n😀\n", "\x00", "\x7f", "a" * 2000, "a:b", "https://x/y", "a, b", "a]", "? a",
     "a\n\n\nb\n", "a\n  \nb", "#\na", "key: |\n  x\n", "+.inf", ".NaN", "x" * 130 + ": y"]
)  # fmt: skip
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | texts | tricky
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts | tricky, inner), max_leaves=15)
manifests = st.dictionaries(texts | tricky, values).map(lambda data: {"kind": "A", **data})


@given(st.lists(manifests, min_size=1, max_size=3))
def test_what_is_dumped_is_read_as_the_same(data: list[dict[str, Any]]) -> None:
    data = [{**one, "kind": "A"} for one in data]
    assert [document.data for document in parse(dump(data))] == data


@given(manifests)
def test_the_pure_parser_reads_what_is_dumped(data: dict[str, Any]) -> None:
    data = {**data, "kind": "A"}
    parser = composer.new_parser(dump([data]), 100, pure=True)
    assert parser.check_node()
    assert composer.Builder(100, 10_000).document(parser.get_node()) == data


@given(st.dictionaries(texts | tricky, texts | tricky | st.booleans() | st.none() | st.integers(-(2**63), 2**63)))
def test_other_yaml_readers_read_what_is_dumped(data: dict[str, Any]) -> None:
    assert yaml.load(dump([{**data, "kind": "A"}]), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == {
        **data,
        "kind": "A",
    }


def test_the_dump_is_what_people_write() -> None:
    manifest = {
        "apiVersion": "mastra.ai/v1",
        "kind": "Agent",
        "metadata": {"name": "a", "labels": {}, "annotations": {"since": "2024-05-01", "port": "8080"}},
        "spec": {
            "instructions": "你好\nSay: hi 😀\n",
            "note": "no end\nhere",
            "long": "word " * 60 + "end",
            "tools": [{"name": "x", "args": [1, 2.5, [True, None]]}, "plain text", []],
            "url": "http://127.0.0.1:80/x?y=[z]",
            "quoted": "a: b",
        },
    }
    assert dump([manifest]) == (
        "apiVersion: mastra.ai/v1\n"
        "kind: Agent\n"
        "metadata:\n"
        "  name: a\n"
        "  labels: {}\n"
        "  annotations:\n"
        '    since: "2024-05-01"\n'
        '    port: "8080"\n'
        "spec:\n"
        "  instructions: |\n"
        "    你好\n"
        "    Say: hi 😀\n"
        "  note: |-\n"
        "    no end\n"
        "    here\n"
        "  long: " + "word " * 60 + "end\n"
        "  tools:\n"
        "  - name: x\n"
        "    args:\n"
        "    - 1\n"
        "    - 2.5\n"
        "    - - true\n"
        "      - null\n"
        "  - plain text\n"
        "  - []\n"
        "  url: http://127.0.0.1:80/x?y=[z]\n"
        '  quoted: "a: b"\n'
    )


def test_documents_are_separated_and_values_shared_by_reference_are_written_out() -> None:
    shared = {"a": [1]}
    assert dump([{"x": shared, "y": shared}, {"z": 1}]) == 'x:\n  a:\n  - 1\n"y":\n  a:\n  - 1\n---\nz: 1\n'
    assert dump([]) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "spec.x: nan has no place"),
        (2**64, "spec.x: the integer"),
        (b"x", "spec.x: bytes is not JSON-compatible"),
        ({1: 2}, "spec.x: a key must be text"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_what_json_cannot_hold_is_not_dumped(value: object, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        dump([{"spec": {"x": value}}])


# ------------------------------------------------------------------------------------------ installation


def test_the_import_is_light() -> None:
    code = "import sys, kastra_core.manifests as m; m.dump([{'a': 1}]); m.parse('{}'); print(sorted({'yaml','cattrs','asyncio'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd(), env={**os.environ}
    )
    assert done.stdout.strip() == "[]"


def test_without_libyaml_everything_works() -> None:
    code = (
        "import sys; sys.modules['yaml._yaml'] = None\n"
        "from kastra_core.manifests import parse, composer\n"
        "assert not composer.HAS_LIBYAML\n"
        "print(parse('kind: A\\nx: [yes, 017, 2024-05-01]\\n')[0].data)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'kind': 'A', 'x': [True, 15, '2024-05-01']}"


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "On", "NO"])
def test_words_that_old_yaml_takes_for_booleans_are_keys_as_they_stand(word: str) -> None:
    [document], problems = read(f"kind: A\nretry: {{{word}: [Timeout]}}\nflag: {word}\n")
    assert problems == ()
    assert document.data["retry"] == {word: ["Timeout"]}
    assert isinstance(document.data["flag"], bool)
    assert document.locate(f"retry.{word}") == (2, 9)
