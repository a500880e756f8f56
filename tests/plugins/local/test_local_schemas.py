from __future__ import annotations

from typing import Any

import orjson
import pytest

from kastra_core.protocols.model import Message, TextPart, ToolCallPart, ToolDefinition
from kastra_plugin_local.grammar import bounded, calls_schema, grammar_of, problem_with, with_refs_under
from kastra_plugin_local.prompts import chat_messages

TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"$ref": "#/$defs/label"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"label": {"type": "string", "minLength": 1}},
}


def test_strings_and_arrays_get_bounds_wherever_they_are() -> None:
    schema = bounded(
        {
            "type": "object",
            "properties": {
                "a": {"type": "string"},
                "b": {"type": ["array", "null"], "items": {"type": "string", "maxLength": 5}},
                "c": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "maxLength": {"type": "integer"},
            },
        }
    )
    assert schema["properties"]["a"]["maxLength"] == 1000
    assert schema["properties"]["b"]["maxItems"] == 32
    assert schema["properties"]["b"]["items"]["maxLength"] == 5
    assert schema["properties"]["c"]["anyOf"][0]["maxLength"] == 1000
    assert schema["properties"]["maxLength"] == {"type": "integer"}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "enum": ["a"]},
        {"type": "string", "const": "a"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "object"},
        {"type": "object", "properties": {"a": True}, "additionalProperties": {"type": "integer"}},
        {"const": {"type": "string"}},
    ],
)
def test_what_is_bounded_otherwise_stays_as_it_is(schema: dict[str, Any]) -> None:
    assert bounded(schema) == schema


def test_bounds_do_not_go_below_the_schemas_own_minimum() -> None:
    assert bounded({"type": "string", "minLength": 2000})["maxLength"] == 2000
    assert bounded({"type": "array", "minItems": 40})["maxItems"] == 40


def test_given_schema_is_not_changed() -> None:
    before = orjson.dumps(TREE)
    bounded(TREE)
    with_refs_under(TREE, "#/$defs/t0")
    assert orjson.dumps(TREE) == before


def test_references_are_moved_with_the_schema() -> None:
    schema = calls_schema([ToolDefinition(name="grow", parameters=TREE)], {"type": "string"})
    call = {"name": "grow", "arguments": {"name": "a", "children": [{"name": "b"}]}}
    assert problem_with(call, schema) is None
    call["arguments"]["children"][0]["name"] = ""  # type: ignore[index]
    assert problem_with(call, schema) is not None
    assert problem_with({"answer": "x"}, schema) is None
    assert problem_with({"name": "other", "arguments": {}}, schema) is not None


def test_property_that_is_called_ref_is_no_reference() -> None:
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}}}
    assert with_refs_under(schema, "#/$defs/t0") == schema


def test_grammar_asks_for_json_without_spaces() -> None:
    head, _, schema = grammar_of({"type": "string"}).partition("start: %json ")
    assert head == "%llguidance {}\n"
    assert orjson.loads(schema)["x-guidance"]["key_separator"] == ":"


def test_problem_names_the_place() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert problem_with({"a": "x"}, schema) == 'a: "x" is not of type "integer"'
    assert problem_with({"a": 1}, schema) is None


@pytest.mark.parametrize("schema", [{"type": 5}, {"$ref": "#/nowhere"}, {"$ref": "https://example.org/schema.json"}])
def test_wrong_schema_is_a_value_error_and_fetches_nothing(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        problem_with(None, schema)


# ------------------------------------------------------------------------------------------ messages


def test_system_texts_are_joined_with_the_instruction() -> None:
    messages = [Message.system("a"), Message.user("u"), Message.system("b")]
    assert chat_messages(messages, "c") == [
        {"role": "system", "content": "a\n\nb\n\nc"},
        {"role": "user", "content": "u"},
    ]


def test_tool_results_are_told_in_plain_words_after_the_question() -> None:
    call = Message("assistant", (ToolCallPart("1", "get_weather", {"city": "北京"}),))
    messages = [Message.user("Weather?"), call, Message.tool("1", {"sky": "sunny"})]
    assert chat_messages(messages) == [
        {"role": "user", "content": 'Weather?\n\nResult of get_weather({"city":"北京"}): {"sky":"sunny"}'}
    ]


def test_failed_tool_and_text_beside_a_call_are_told() -> None:
    called = Message("assistant", (TextPart("I look."), ToolCallPart("1", "a", {}), ToolCallPart("2", "b", "odd")))
    messages = [Message.user("Q"), called, Message.tool("1", "no net", is_error=True), Message.tool("2", "fine")]
    assert chat_messages(messages) == [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "I look."},
        {"role": "user", "content": "a({}) failed: no net\nResult of b(odd): fine"},
    ]


def test_roles_take_turns() -> None:
    messages = [Message.user("a"), Message.user("b"), Message.assistant("c"), Message.assistant("d")]
    assert [message["role"] for message in chat_messages(messages)] == ["user", "assistant"]


def test_lone_surrogates_are_replaced() -> None:
    assert chat_messages([Message.user("a\ud800b")])[0]["content"] == "a?b"
