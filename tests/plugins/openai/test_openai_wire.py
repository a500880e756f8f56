"""Whatever JSON comes: a response, or one kind of error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.errors import ModelError
from kastra_core.protocols.model import ChatResponse
from kastra_plugin_openai._faults import error_of_body, error_of_status, retry_after_s
from kastra_plugin_openai._wire import Prices, StreamedAnswer, WireError, chat_response, embedding_response

NAMES = st.sampled_from(
    [
        *("choices", "message", "delta", "content", "tool_calls", "function", "name", "arguments", "id", "index"),
        *("finish_reason", "usage", "prompt_tokens", "completion_tokens", "cost", "model", "refusal", "type", "text"),
        *("data", "embedding", "error", "code", "param"),
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "{}", "stop"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
COMPLETION = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": JSON, "delta": JSON}, optional={"finish_reason": JSON}))},
    optional={"usage": JSON, "id": JSON, "model": JSON},
)
CALLS = st.fixed_dictionaries(
    {"tool_calls": st.lists(st.fixed_dictionaries({"function": JSON}, optional={"id": JSON}))}
)
PRICES = st.sampled_from([None, Prices(1, 2)])


@given(JSON | COMPLETION, PRICES)
def test_any_completion_is_a_response_or_a_wire_error(data: Any, prices: Prices | None) -> None:
    with suppress(WireError):
        assert isinstance(chat_response(data, prices), ChatResponse)


@given(st.lists(JSON | COMPLETION | CALLS.map(lambda delta: {"choices": [{"delta": delta}]}), max_size=4), PRICES)
def test_any_chunks_are_a_response_or_a_wire_error(chunks: list[Any], prices: Prices | None) -> None:
    answer = StreamedAnswer(prices)
    with suppress(WireError):
        for chunk in chunks:
            answer.add(chunk)
        assert isinstance(answer.response(), ChatResponse)


@given(JSON | st.fixed_dictionaries({"data": st.lists(st.fixed_dictionaries({"embedding": JSON}))}))
def test_any_embeddings_are_vectors_or_a_wire_error(data: Any) -> None:
    with suppress(WireError):
        assert len(embedding_response(data, 1).vectors) == 1


@given(JSON, st.integers(200, 599))
def test_any_error_body_is_a_model_error(error: Any, status: int) -> None:
    place: dict[str, Any] = {"url": "http://host/v1", "secrets": (), "who": {"provider": "p", "model": "m"}}
    assert isinstance(error_of_body(error, status, **place), ModelError)
    assert isinstance(error_of_status(status, orjson.dumps(error), {}, **place), ModelError)
    assert isinstance(error_of_status(status, orjson.dumps({"error": error}), {}, **place), ModelError)


@given(st.binary(max_size=20), st.text(max_size=20))
def test_any_bytes_and_wait_are_a_model_error(raw: bytes, wait: str) -> None:
    place: dict[str, Any] = {"url": "http://host/v1", "secrets": (), "who": {}}
    assert isinstance(error_of_status(503, raw, {"retry-after": wait}, **place), ModelError)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_wait_is_read_from_the_headers(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, now_s=60.0) == expected
