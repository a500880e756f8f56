"""The buffer as a pure function: its bounds, where it is cut, and what stays of a turn that is too long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.protocols.model_input import text_of
from kastra_core.protocols.store import StoredMessage
from kastra_plugin_agent.memory_buffer import Buffer, buffered
from kastra_plugin_agent.tokens import CUT_MARK, cut_text, estimate_text, estimate_tokens

Json = dict[str, Any]


def said(role: str, text: str) -> Json:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def called(id: str, text: str = "") -> Json:
    parts = [{"type": "text", "content": text}] if text else []
    return {
        "role": "assistant",
        "parts": [*parts, {"type": "tool_call", "id": id, "name": "look", "arguments": {"id": id}}],
    }


def result(id: str, response: Any) -> Json:
    return {"role": "tool", "parts": [{"type": "tool_call_response", "id": id, "response": response}]}


def stored(messages: list[Json], first: int = 1) -> list[StoredMessage]:
    return [StoredMessage(first + at, message, f"run{at}", 0.0) for at, message in enumerate(messages)]


TEXT = st.text(st.sampled_from("ab 你é👍\n"), max_size=60)


@st.composite
def turns(draw: st.DrawFn) -> list[Json]:
    """A whole turn: a question, calls with their results, an answer."""
    out = [said("user", draw(TEXT))]
    for at in range(draw(st.integers(0, 3))):
        out += [called(f"c{at}", draw(TEXT)), result(f"c{at}", draw(TEXT))]
    if draw(st.booleans()):
        out.append(said("assistant", draw(TEXT)))
    return out


@st.composite
def threads(draw: st.DrawFn) -> list[StoredMessage]:
    """The newest messages of a thread; the oldest of them may be the rest of a turn."""
    messages = [message for turn in draw(st.lists(turns(), max_size=6)) for message in turn]
    return stored(messages[draw(st.integers(0, 3)) :])


MOST = st.integers(0, 20)
TOKENS = st.none() | st.integers(0, 200)


def size(messages: tuple[Json, ...]) -> int:
    return sum(map(estimate_tokens, messages))


@given(threads(), MOST, TOKENS)
def test_it_is_never_above_its_bounds(thread: list[StoredMessage], most: int, tokens: int | None) -> None:
    buffer = buffered(thread, max_messages=most, max_tokens=tokens)
    assert len(buffer.messages) <= most
    assert tokens is None or size(buffer.messages) <= tokens


@given(threads(), MOST, TOKENS)
def test_it_begins_with_the_user_and_every_result_follows_its_call(
    thread: list[StoredMessage], most: int, tokens: int | None
) -> None:
    messages = buffered(thread, max_messages=most, max_tokens=tokens).messages
    assert not messages or messages[0]["role"] == "user"
    called_now: list[str] = []
    for message in messages:
        for part in message["parts"]:
            if part["type"] == "tool_call":
                called_now.append(part["id"])
            elif part["type"] == "tool_call_response":
                called_now.remove(part["id"])
    assert called_now == []


@given(threads(), MOST, TOKENS)
def test_the_newest_turns_are_kept_and_one_more_would_be_too_much(
    thread: list[StoredMessage], most: int, tokens: int | None
) -> None:
    buffer = buffered(thread, max_messages=most, max_tokens=tokens)
    messages = [row.message for row in thread]
    if not buffer.shortened:
        assert list(buffer.messages) == messages[buffer.start :]
    start = max((at for at in range(buffer.start) if messages[at]["role"] == "user"), default=None)
    if start is not None:
        more = tuple(messages[start:])
        assert len(more) > most or (tokens is not None and size(more) > tokens)


@given(threads(), MOST, TOKENS)
def test_buffering_what_is_buffered_changes_nothing(thread: list[StoredMessage], most: int, tokens: int | None) -> None:
    once = buffered(thread, max_messages=most, max_tokens=tokens).messages
    assert buffered(stored(list(once)), max_messages=most, max_tokens=tokens).messages == once


@given(TEXT, st.integers(-3, 40))
def test_a_cut_text_fits_and_says_that_it_was_cut(text: str, tokens: int) -> None:
    cut = cut_text(text, tokens)
    assert estimate_text(cut) <= max(0, tokens)
    assert cut in (text, "") or cut.endswith(CUT_MARK)


LONG = [said("user", "why?"), called("1", "I look."), result("1", "x" * 400), said("assistant", "because")]


def test_a_turn_that_is_too_long_loses_its_tool_calls_first() -> None:
    buffer = buffered(stored([said("user", "before"), *LONG]), max_messages=9, max_tokens=40)
    assert buffer == Buffer((said("user", "why?"), said("assistant", "because")), 1, True)


def test_a_question_and_an_answer_that_are_too_long_are_cut_with_a_mark() -> None:
    turn = [said("user", "why?"), said("assistant", "because " * 50)]
    messages = buffered(stored(turn), max_messages=9, max_tokens=40).messages
    assert [text_of(message)[:12] for message in messages] == ["why?", "because beca"]
    assert text_of(messages[1]).endswith(CUT_MARK)
    assert size(messages) == 40


def test_a_turn_of_more_messages_than_the_bound_loses_its_tool_calls() -> None:
    assert [text_of(m) for m in buffered(stored(LONG), max_messages=3).messages] == ["why?", "because"]


def test_the_rest_of_a_turn_at_the_beginning_is_left_out() -> None:
    thread = stored([said("assistant", "rest"), said("user", "q"), said("assistant", "a")], first=7)
    assert buffered(thread, max_messages=3) == Buffer((said("user", "q"), said("assistant", "a")), 1)


@pytest.mark.parametrize(("most", "tokens"), [(0, None), (1, None), (9, 0), (9, 8), (9, 9)])
def test_without_room_for_question_and_answer_nothing_is_kept(most: int, tokens: int | None) -> None:
    thread = stored([said("user", "q" * 9), said("assistant", "a" * 9)])
    assert buffered(thread, max_messages=most, max_tokens=tokens) == Buffer(start=2)
