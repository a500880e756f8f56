"""Reading a router's choice: whatever a model writes is a choice or a message about what is wrong with it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.references import Reference
from kastra_plugin_network.choice import Choice, ChoiceError, choice_schema, read_choice, read_object
from kastra_plugin_network.members import Member

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}, "required": ["q"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def member(name: str, kind: str, schema: Any = None) -> Member:
    return Member(name, Reference(kind=kind, namespace="default", name=name), "", schema)


def members() -> dict[str, Member]:
    made = [member("a", "Agent"), member("w", "Workflow", SCHEMA), member("n", "Workflow", {"type": "integer"})]
    return {each.name: each for each in [*made, member("t", "Tool")]}


@settings(max_examples=60)
@given(st.text(alphabet='{}[]":,aw0truefalsn\\ \n`', max_size=60) | JSON.map(repr))
def test_any_text_is_an_object_or_is_told_to_be_none(text: str) -> None:
    try:
        value = read_object(text)
    except ChoiceError:
        return
    assert isinstance(value, dict)
    orjson.dumps(value)


@settings(max_examples=100)
@given(
    st.fixed_dictionaries(
        {"agent": st.sampled_from(["a", "w", "n", "t", "A ", "", "zz"]) | JSON},
        optional={"input": JSON | st.sampled_from(['{"q": "x"}', "5"]), "done": JSON, "reason": JSON},
    )
)
def test_any_object_is_a_choice_or_is_told_to_be_none(given_: dict[str, Any]) -> None:
    try:
        choice = read_choice(given_, members(), "the request")
    except ChoiceError:
        return
    assert isinstance(choice, Choice)
    assert isinstance(choice.asked, str)
    assert isinstance(choice.reason, str)
    if choice.member is not None and choice.member.name == "w":
        assert isinstance(choice.input, dict)
        assert isinstance(choice.input["q"], str)


@pytest.mark.parametrize("text", ["{" * 100_000, '{"a":' * 50_000, "x" * 1_000_000, '{"agent": NaN}'])
def test_a_hostile_answer_is_refused_at_once(text: str) -> None:
    with pytest.raises(ChoiceError, match="not JSON"):
        read_object(text)


def test_the_first_whole_object_counts() -> None:
    assert read_object('I think {x} and so: {"agent": "a", "input": "{}"} {"agent": "b"}') == {
        "agent": "a",
        "input": "{}",
    }


def test_the_schema_is_one_that_strict_modes_take() -> None:
    schema = choice_schema(["a", "b"])
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == schema["required"] == ["reason", "agent", "input", "done"]
    assert schema["properties"]["agent"] == {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]}


def test_a_schema_that_is_none_is_left_to_the_member() -> None:
    assert member("w", "Workflow", {"type": "object", "required": 5}).fit('{"x": 1}') == {"x": 1}
