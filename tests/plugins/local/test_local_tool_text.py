from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_plugin_local.tools import FoundCall, ToolTextScanner

NAMES = ("get_weather", "add")
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
FOUND = [FoundCall("get_weather", {"city": "Paris"})]


def scan(text: str, *, pieces: int = 0) -> tuple[str, ToolTextScanner]:
    """Return what is shown and the scanner; ``pieces``: length of the pieces that it is fed, 0 for all at once."""
    scanner = ToolTextScanner(NAMES)
    step = pieces or max(1, len(text))
    shown = "".join(scanner.feed(text[start : start + step]) for start in range(0, len(text), step))
    return shown + scanner.finish(), scanner


scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
calls = st.builds(FoundCall, st.sampled_from(NAMES), st.dictionaries(st.text(max_size=10), values, max_size=4))
wrappings = st.sampled_from(
    [
        "{}",
        "  \n{}\n",
        "<tool_call>{}</tool_call>",
        "<tool_call>\n{}\n</tool_call>",
        "<tool_call>\n{}",
        "<function_call>{}</function_call>",
        "```json\n{}\n```",
        "```\n{}\n```",
        "```json\n<tool_call>{}</tool_call>\n```",
        "```json\n{}",
        "[{}]",
        '{{"tool_calls": [{}]}}',
    ]
)


def written(call: FoundCall, form: str, indent: int | None) -> str:
    shapes: dict[str, Any] = {
        "plain": {"name": call.name, "arguments": call.arguments},
        "parameters": {"name": call.name, "parameters": call.arguments},
        "openai": {"id": "1", "type": "function", "function": {"name": call.name, "arguments": call.arguments}},
        "text": {"name": call.name, "arguments": json.dumps(call.arguments)},
    }
    return json.dumps(shapes[form], ensure_ascii=False, indent=indent)


@given(
    calls,
    wrappings,
    st.sampled_from(["plain", "parameters", "openai", "text"]),
    st.sampled_from([None, 2]),
    st.integers(0, 7),
)
def test_call_in_any_wrapping_is_found_and_not_shown(
    call: FoundCall, wrapping: str, form: str, indent: int | None, pieces: int
) -> None:
    text = wrapping.replace("{{", "{").replace("}}", "}").replace("{}", written(call, form, indent))
    shown, scanner = scan(text, pieces=pieces)
    assert scanner.calls == [call]
    assert not scanner.broken
    assert shown == ""


@given(st.text(st.sampled_from('ab <>`{}[]"\\:,\njson/tool_call'), max_size=60), st.integers(1, 5))
def test_any_text_is_read_the_same_in_pieces_as_at_once(text: str, pieces: int) -> None:
    at_once, first = scan(text)
    in_pieces, second = scan(text, pieces=pieces)
    assert (in_pieces, second.calls, second.broken) == (at_once, first.calls, first.broken)
    if not first.calls and not first.broken:
        assert at_once == text


@given(st.text(max_size=80), st.integers(1, 5))
def test_text_without_a_call_is_shown_unchanged(text: str, pieces: int) -> None:
    shown, scanner = scan(text, pieces=pieces)
    if not scanner.calls and not scanner.broken:
        assert shown == text


@pytest.mark.parametrize(
    "text",
    [
        "Use `x = {1: 2}` and {braces} [1, 2] <b>bold</b>.",
        '```python\ncall({"name": "get_weather", "arguments": {}})\n```\nDone.',
        'A recipe: {"title": "Soup", "name": "add"} and more',
        '{"name": "Ada", "age": 36}',
        '```json\n{"name": "Ada", "arguments_of": 1}\n```',
        '{"step": {"name": "get_weather", "arguments": {"city": "x"}}}',
        "<tool_call> is a tag.",
        "[]",
        "{ }",
        '{"name": "get_weather", "arguments": {"city": "Par',
        '{"name": 5, "arguments": {}}',
        "\n\n  leading blanks",
        "ends with ``",
        "",
    ],
)
@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_what_is_no_call_is_text(text: str, pieces: int) -> None:
    shown, scanner = scan(text, pieces=pieces)
    assert (shown, scanner.calls, scanner.broken) == (text, [], False)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        (f"Let me look.\n{CALL}", "Let me look.\n"),
        (f"Let me look: <tool_call>{CALL}</tool_call> It is sunny.", "Let me look: "),
        (f'{CALL}\n{{"temp_c": 18}}', ""),
        (f"```json\n{CALL}\n```\nThe tool will answer.", ""),
    ],
)
def test_text_before_a_call_is_shown_and_what_follows_is_dropped(text: str, before: str) -> None:
    shown, scanner = scan(text, pieces=2)
    assert shown == before
    assert scanner.calls == FOUND


@pytest.mark.parametrize(
    "text", ["{" + CALL + "}", "{" + CALL, "{ " + CALL + " }", f"<tool_call>\n{{{CALL}}}\n</tool_call>"]
)
def test_doubled_braces_are_read_as_single_ones(text: str) -> None:
    shown, scanner = scan(text, pieces=3)
    assert (shown, scanner.calls, scanner.broken) == ("", FOUND, False)


def test_several_calls_are_found_in_order() -> None:
    second = '{"name": "add", "arguments": {"a": 1}}'
    for text in (
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{second}</tool_call>",
        f"<tool_call>{CALL}\n{second}</tool_call>",
        f"{CALL}\n{second}",
        f"[{CALL}, {second}]",
    ):
        _, scanner = scan(text, pieces=4)
        assert scanner.calls == [*FOUND, FoundCall("add", {"a": 1})]


def test_text_streams_up_to_what_may_be_a_call() -> None:
    scanner = ToolTextScanner(NAMES)
    assert scanner.feed("The sum ") == "The sum "
    assert scanner.feed("is <b") == "is <b"
    assert scanner.feed(" or {") == " or "
    assert scanner.feed('"a": 1') == ""
    assert scanner.feed("} so") == '{"a": 1} so'


def test_begun_call_with_unreadable_json_is_broken_and_hidden() -> None:
    for text in (
        '<tool_call>{"name": "add", "arguments": {"a": 1}',
        "<tool_call>{name: add}</tool_call>",
        "<tool_call>",
    ):
        shown, scanner = scan(text, pieces=5)
        assert (shown, scanner.calls, scanner.broken) == ("", [], True)


def test_unknown_tool_is_a_call_when_it_has_arguments() -> None:
    _, scanner = scan('{"name": "joke", "arguments": {"text": "ha"}}')
    assert scanner.calls == [FoundCall("joke", {"text": "ha"})]


def test_line_breaks_in_strings_are_allowed() -> None:
    _, scanner = scan('{"name": "add", "arguments": {"a": "x\ny"}}')
    assert scanner.calls == [FoundCall("add", {"a": "x\ny"})]


def test_call_without_arguments_has_none() -> None:
    assert scan('{"name": "add"}')[1].calls == [FoundCall("add", {})]
    assert scan('{"name": "add", "arguments": null}')[1].calls == [FoundCall("add", {})]


def test_arguments_that_are_no_object_stay_text() -> None:
    assert scan('{"name": "add", "arguments": "now"}')[1].calls == [FoundCall("add", "now")]
    assert scan('{"name": "add", "arguments": [1]}')[1].calls == [FoundCall("add", "[1]")]
