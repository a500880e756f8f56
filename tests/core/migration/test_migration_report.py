"""The toolkit: no key without a row, true places, valid names, no secret in what is made."""

from __future__ import annotations

import ast
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import ManifestError
from kastra_core.metadata import is_name
from kastra_core.migration import (
    UNKNOWN,
    Draft,
    MemorySource,
    Names,
    Node,
    Report,
    dns_name,
    env_name,
    env_reference,
    escape_braces,
    identifier,
    is_secret_key,
    looks_like_token,
    model_name,
    provider_name,
    read_text,
    rewrite,
)
from kastra_core.protocols.migrator import MigrationResult, SourceDocument
from kastra_core.testing.migrator import uncovered_keys
from kastra_plugin_workflow.expressions import compile_template

KEYS = st.text(string.ascii_letters, min_size=1, max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=15,
)


def opened(text: str) -> tuple[Report, Node, SourceDocument]:
    (document,) = read_text(text, "x.yaml")
    report = Report(MemorySource([document]))
    return report, report.read(document), document


def told(result: MigrationResult) -> list[tuple[str, str, str]]:
    return [(row.key, row.outcome, row.target) for row in result.rows]


def test_a_value_that_is_put_into_a_draft_has_its_row() -> None:
    report, root, _ = opened("name: Ann\nmodel: {name: m, size: 3}\n")
    draft = report.draft("Agent", "Ann B.")
    root["name"].to(draft, "spec.description", "I am Ann", reason="in words")
    root["model"]["name"].to(draft, "spec.model.name")
    result = report.result()
    assert list(result.resources) == [
        {
            "apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "ann-b"},
            "spec": {"description": "I am Ann", "model": {"name": "m"}},
        }
    ]  # fmt: skip
    assert told(result) == [
        ("name", "mapped", "Agent default/ann-b spec.description"),
        ("model.name", "mapped", "Agent default/ann-b spec.model.name"),
        ("model.size", "dropped", ""),
    ]
    assert (result.rows[2].line, result.rows[2].reason) == (2, UNKNOWN)
    assert result.names == {"Agent/Ann B.": "ann-b"}


@given(VALUES, st.randoms(use_true_random=False))
def test_whatever_a_migrator_looks_at_no_key_is_without_a_row(value: Any, chance: Any) -> None:
    document = SourceDocument(file="x.yaml", text="", data={"top": value})
    report = Report(MemorySource([document]))
    draft = report.draft("Agent", "a")
    todo = [report.read(document)]
    while todo:
        node = todo.pop()
        below = [child for _, child in node.fields()] or node.items()
        todo += below
        if chance.random() < 0.3 and node.path:
            chance.choice([
                lambda node: node.to(draft, ["spec", node.key], "x"),
                lambda node: node.mapped(draft, whole=False),
                lambda node: node.dropped("no use"),
                lambda node: node.manual("do it", draft),
            ])(node)  # fmt: skip
    result = report.result()
    assert uncovered_keys(document, result) == []
    assert all(row.reason or row.outcome == "mapped" for row in result.rows)


def test_keys_that_are_not_there_are_nodes_without_effect() -> None:
    report, root, _ = opened("a: {b: null}\n")
    draft = report.draft("Agent", "a")
    assert not root["x"]["y"][3]
    assert root["x"].text("default") == "default"
    assert root["x"].to(draft, "spec.x") is None
    root["a"]["b"].to(draft, "spec.b")
    assert draft.spec == {}
    assert [(row.key, row.outcome) for row in report.result().rows] == [("a.b", "mapped")]


def test_values_of_a_wrong_type_are_problems_with_their_place() -> None:
    report, root, _ = opened("a: [1]\nb: x\nc: 1\nd: 5\ne: true\n")
    assert root["a"].text() == ""
    assert root["b"].boolean() is False
    assert root["c"].mapping() == {}
    assert (root["d"].text(), root["e"].text()) == ("5", "true")
    assert root["b"].number() is None
    assert root["e"].number(3) == 3
    with pytest.raises(ManifestError) as caught:
        report.result()
    assert [str(problem) for problem in caught.value.problems] == [
        "x.yaml:1: a: expected a string, found a list",
        "x.yaml:2: b: expected a boolean, found string 'x'",
        "x.yaml:3: c: expected an object, found integer 1",
        "x.yaml:2: b: expected a number, found string 'x'",
        "x.yaml:5: e: expected a number, found boolean true",
    ]


def test_lists_in_a_draft_grow_by_their_next_index() -> None:
    draft = Draft({"kind": "Agent", "metadata": {"name": "a"}})
    draft.set(("spec", "tools", 0), "x")
    draft.set(("spec", "tools", 1, "name"), "y")
    draft.set("spec.model.name", "m")
    assert draft.spec == {"tools": ["x", {"name": "y"}], "model": {"name": "m"}}
    assert (draft.get("spec.model.name"), draft.get("spec.nope.name", 1)) == ("m", 1)


# ------------------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("${env.OPENAI_API_KEY}", "OPENAI_API_KEY"), ("$TOKEN", "TOKEN"), ("${TOKEN}", "TOKEN"), ("${env:A_B}", "A_B"),
        ("{{ env.X1 }}", "X1"), ("process.env.KEY", "KEY"), ('os.environ["KEY"]', "KEY"), ("env('K')", "K"),
        ("${{ secrets.K }}", "K"), ("sk-123", ""), ("Bearer ${X}", ""), ("", ""),
    ],
)  # fmt: skip
def test_references_to_the_environment_are_known_in_many_spellings(text: str, name: str) -> None:
    assert env_reference(text) == name


def test_a_secret_becomes_a_reference_and_is_nowhere_in_the_result() -> None:
    report, root, _ = opened("key: hunter2-hunter2\nother: ${env.MY_KEY}\ntext: say hunter2-hunter2 twice\n")
    draft = report.draft("Agent", "my agent")
    assert root["key"].secret(draft, "spec.model.apiKey") == "MY_AGENT_KEY"
    assert root["other"].secret(draft, "spec.other", "X") == "MY_KEY"
    root["text"].to(draft, "spec.instructions", reason="was: hunter2-hunter2")
    report.files["note.txt"] = "hunter2-hunter2"
    report.config["x"] = ["hunter2-hunter2"]
    result = report.result()
    assert "hunter2" not in str(result)
    assert result.resources[0]["spec"] == {
        "model": {"apiKey": {"valueFrom": {"env": "MY_AGENT_KEY"}}},
        "other": {"valueFrom": {"env": "MY_KEY"}},
        "instructions": "say REMOVED twice",
    }
    assert [row.outcome for row in result.rows if row.key == "key"] == ["manual"]
    assert any(row.outcome == "manual" and row.target.endswith("spec.instructions") for row in result.rows)


def test_a_dummy_key_hides_no_name_that_is_the_same_word() -> None:
    report, root, _ = opened("key: ollama\nmodel: ollama/llama3\n")
    draft = report.draft("Agent", "ollama")
    root["key"].secret(draft, "spec.model.apiKey")
    root["model"].to(draft, "spec.model.name")
    (made,) = report.result().resources
    assert (made["metadata"]["name"], made["spec"]["model"]["name"]) == ("ollama", "ollama/llama3")


@pytest.mark.parametrize(
    "token",
    [
        "sk-abcdefghijklmnopqrstuvwx", "sk-ant-api03-abcdefghijklmnop", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAIOSFODNN7EXAMPLE", "xoxb-1234567890-abcdef", "https://ann:hunter2@example.com/x", "tvly-abcdefghijklmnop",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "Bearer abcdefghijklmnopqrstuvwxyz",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl",
    ],
)  # fmt: skip
def test_what_looks_like_a_token_is_taken_out_of_every_text(token: str) -> None:
    assert looks_like_token(token)
    document = SourceDocument(file="x.yaml", text="", data={"text": f"use {token} now"})
    report = Report(MemorySource([document]))
    report.read(document)["text"].to(report.draft("Agent", "a"), "spec.instructions")
    result = report.result()
    assert token not in str(result)
    assert "REMOVED" in result.resources[0]["spec"]["instructions"]


@pytest.mark.parametrize(
    "text", ["task-oriented-questions-first", "Bearer ${TOKEN}", "https://example.com/a@b", "risk-free"]
)
def test_ordinary_texts_are_no_tokens(text: str) -> None:
    assert not looks_like_token(text)


def test_keys_that_hold_secrets_are_known_by_name() -> None:
    yes = ["api_key", "apiKey", "OPENAI_API_KEY", "token", "authToken", "password", "Authorization", "client_secret"]
    no = ["max_tokens", "maxTokens", "monkey", "keyword", "tokens", "num_tokens", "secretary"]
    assert [key for key in yes if not is_secret_key(key)] == []
    assert [key for key in no if is_secret_key(key)] == []


# ------------------------------------------------------------------------------------------ names


@given(st.text(max_size=80))
def test_any_text_gives_a_valid_name_and_the_same_twice(text: str) -> None:
    name = dns_name(text, "Agent")
    assert is_name(name)
    assert len(name) <= 63
    assert "." not in name
    assert dns_name(text, "Agent") == name
    assert dns_name(name, "Agent") == name
    assert ast.parse(identifier(text))
    assert identifier(text).isidentifier()
    assert env_name(text)[:1].isalpha()


@given(st.lists(st.tuples(st.text(max_size=6), st.sampled_from(["", "a", "b"])), max_size=12, unique=True))
def test_two_source_names_never_share_a_resource_name(sources: list[tuple[str, str]]) -> None:
    names = Names()
    given_names = [names.give("Agent", source, scope=scope) for source, scope in sources]
    assert len(set(given_names)) == len(sources)
    assert [names.give("Agent", source, scope=scope) for source, scope in sources] == given_names


def test_a_name_that_is_taken_gets_its_scope_in_front() -> None:
    names = Names()
    assert names.give("Agent", "writer", scope="one") == "writer"
    assert names.give("Agent", "writer", scope="two") == "two-writer"
    assert names.give("Agent", "Writer", scope="two") == "writer-2"
    assert names.give("Tool", "writer") == "writer"
    assert names.give("Agent", "客服") == dns_name("客服", "Agent")
    assert names.changed["Agent/writer (two)"] == "two-writer"


# ------------------------------------------------------------------------------------------ templates, models, stubs


@given(st.text(st.sampled_from("${} abx.i"), max_size=14))
def test_an_escaped_text_renders_as_it_was(text: str) -> None:
    assert _rendered(escape_braces(text)) == text


def test_placeholders_become_expressions_and_the_rest_stays() -> None:
    found = rewrite("a {x} ${y} {{z}} {w}", r"\{(\w)\}", lambda m: f"'<' + '{m[1]}'" if m[1] != "w" else None)
    assert _rendered(found) == "a <x $<y {<z} {w}"


def _rendered(template: str) -> Any:
    return compile_template(template, ()).render({})


def test_models_are_told_from_their_names() -> None:
    assert model_name("google/gemini-2.0-flash") == ("gemini", "gemini-2.0-flash", False)
    assert model_name("gpt-4o-mini") == ("openai", "gpt-4o-mini", True)
    assert provider_name("Azure OpenAI") == "azure"


def test_stubs_are_python_whose_functions_say_that_they_are_not_written() -> None:
    report, _, _ = opened("a: 1")
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["city"],
    }
    assert report.stubs.add("Get Weather", schema=schema, description='Tells "it"\\.', origin="x.yaml:3") == (
        "migrated_tools:get_weather"
    )
    assert report.stubs.add("Get Weather", schema=schema) == "migrated_tools:get_weather"
    assert report.stubs.add("Get Weather") == "migrated_tools:get_weather_2"
    assert report.stubs.add("class", schema={"properties": {"not a name": {}}}) == "migrated_tools:class_"
    result = report.result()
    assert result.config == {"tools": {"python": {"allow": ["migrated_tools"]}}}
    space: dict[str, Any] = {}
    exec(compile(result.files["migrated_tools.py"], "migrated_tools.py", "exec"), space)
    with pytest.raises(NotImplementedError, match=r"get_weather is not written yet \(made from x.yaml:3\)"):
        space["get_weather"](city="Ulm")
    with pytest.raises(NotImplementedError):
        space["class_"](anything=1)


def test_a_secret_by_the_name_of_its_field_is_taken_out_wherever_it_stands() -> None:
    data = {"headers": {"X-Api-Key": "opaque-77"}, "env": [{"name": "DB_PASSWORD", "value": "hunter22"}],
            "args": ["--token", "abc12345"], "about": "use opaque-77", "kind": {"token": "string"}}  # fmt: skip
    report = Report(MemorySource([SourceDocument(file="x.yaml", text="", data=data)]))
    draft = report.draft("Tool", "t")
    report.read(report.source.documents[0]).to(draft, "spec")
    spec = report.result().resources[0]["spec"]
    assert spec == {
        "headers": {"X-Api-Key": "REMOVED"}, "env": [{"name": "DB_PASSWORD", "value": "REMOVED"}],
        "args": ["--token", "REMOVED"], "about": "use REMOVED", "kind": {"token": "string"},
    }  # fmt: skip


def test_no_part_of_a_token_is_in_a_name_a_key_or_a_problem() -> None:
    token = "ghp_Zq9Xw8Lk7Jh6Gf5Ds4Aa3Po2Iu1YtReWqMn"
    report = Report(MemorySource([SourceDocument(file="x.yaml", text="", data={token: f"tool {token}"})]))
    root = report.read(report.source.documents[0])
    draft = report.draft("Tool", root[token].text())
    draft.set("spec", {token: 1, "alias": f"tool_{token}"})
    report.stubs.add(f"call {token}", origin=token)
    assert "zq9" not in str(report.result()).lower().replace("-", "").replace("_", "")
    root[token].problem(f"expected no {token}")
    with pytest.raises(ManifestError) as caught:
        report.result()
    assert "Zq9" not in str(caught.value)
