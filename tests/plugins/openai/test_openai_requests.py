"""What is sent, and what is read from answers that differ from OpenAI's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from kastra_core.errors import UnknownProviderError
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatRequest,
    EmbeddingRequest,
    Message,
    ModelSettings,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
)
from kastra_plugin_openai._wire import StreamedAnswer, chat_response
from kastra_plugin_openai.endpoints import ENDPOINTS
from kastra_plugin_openai.provider import OpenAIProvider

ADD = ToolDefinition(name="add", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider("openai")
    yield provider
    await provider.aclose()


@pytest.fixture
def settings(mock_openai: Any) -> ModelSettings:
    return ModelSettings(api_base=mock_openai.base_url, api_key="sk-test-key")


def request(settings: ModelSettings, text: str = "hi", **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[Message.user(text)], settings=settings, **fields)


async def test_bare_request_has_model_and_messages_only(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    await provider.chat(request(settings))
    assert mock_openai.last() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def test_every_field_reaches_the_body(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    await provider.chat(
        request(
            settings,
            temperature=0.5,
            top_p=0.9,
            max_tokens=7,
            stop=["END"],
            seed=3,
            tools=[ADD],
            tool_choice="required",
            parameters={"logprobs": True, "model": "other", "stream": True},
            idempotency_key="run-1/chat#0",
        )
    )
    assert mock_openai.last() == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 7,
        "stop": ["END"],
        "seed": 3,
        "tools": [{"type": "function", "function": {"name": "add", "parameters": ADD.parameters}}],
        "tool_choice": "required",
        "logprobs": True,
    }
    headers = mock_openai.last_headers()
    assert headers["authorization"] == "Bearer sk-test-key"
    assert headers["idempotency-key"] == "run-1/chat#0"


async def test_fields_that_a_provider_names_otherwise_are_renamed(settings: ModelSettings, mock_openai: Any) -> None:
    provider = OpenAIProvider("mistral")
    async for _ in provider.stream(request(settings, max_tokens=7, seed=3)):
        pass
    await provider.aclose()
    body = mock_openai.last()
    assert (body["max_tokens"], body["random_seed"]) == (7, 3)
    assert "stream_options" not in body


async def test_tool_calls_and_results_keep_their_ids(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    calls = Message("assistant", (TextPart("so"), ToolCallPart("c1", "add", {"a": 1}), ToolCallPart("c2", "add", "{")))
    results = [Message.tool("c1", {"sum": 1}), Message.tool("c2", "no JSON", is_error=True)]
    asked = attrs.evolve(request(settings), messages=[Message.user("hi"), calls, *results], tools=[ADD])
    await provider.chat(asked)
    assert mock_openai.last()["messages"][1:] == [
        {
            "role": "assistant",
            "content": "so",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "{"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"sum":1}'},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: no JSON"},
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
async def test_parallel_tool_calls_come_in_order(
    provider: OpenAIProvider, settings: ModelSettings, stream: bool
) -> None:
    asked = request(settings, 'PCALL(add:{"a":1}) PCALL(add:{"a":2})', tools=[ADD])
    if stream:
        *_, last = [event async for event in provider.stream(asked)]
        assert isinstance(last, ChatCompleted)
        response = last.response
    else:
        response = await provider.chat(asked)
    assert [call.arguments for call in response.message.tool_calls] == [{"a": 1}, {"a": 2}]
    assert len({call.id for call in response.message.tool_calls}) == 2


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
    ],
)
async def test_strict_mode_is_asked_for_where_the_schema_allows_it(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any, schema: dict[str, Any], strict: bool
) -> None:
    await provider.chat(request(settings, "JSON({})", response_schema=schema))
    sent = mock_openai.last()["response_format"]["json_schema"]
    assert sent["schema"] == schema
    assert sent.get("strict", False) is strict


async def test_key_is_read_from_the_environment_at_each_call(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = attrs.evolve(settings, api_key=None)
    for key in ("sk-first", "sk-second"):
        monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")
        await provider.chat(request(settings))
        assert mock_openai.last_headers()["authorization"] == f"Bearer {key}"
    # An empty key in the settings means: none.
    await provider.chat(request(attrs.evolve(settings, api_key="")))
    assert "authorization" not in mock_openai.last_headers()
    monkeypatch.delenv("OPENAI_API_KEY")
    await provider.chat(request(settings))
    assert "authorization" not in mock_openai.last_headers()


async def test_base_is_read_from_the_environment(
    provider: OpenAIProvider, mock_openai: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", mock_openai.base_url + "/")
    assert (await provider.chat(request(ModelSettings(api_key="k")))).message.text


async def test_settings_headers_are_sent_and_win(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    await provider.chat(request(attrs.evolve(settings, headers={"authorization": "Basic x", "x-org": "7"})))
    headers = mock_openai.last_headers()
    assert (headers["authorization"], headers["x-org"]) == ("Basic x", "7")


async def test_proxy_of_the_environment_is_used(
    provider: OpenAIProvider, mock_openai: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", mock_openai.base_url.removesuffix("/v1"))
    response = await provider.chat(request(ModelSettings(api_base="http://model.invalid/v1", api_key="k")))
    assert response.message.text
    assert mock_openai.last_headers()["host"] == "model.invalid"


async def test_prices_give_the_cost(provider: OpenAIProvider, settings: ModelSettings) -> None:
    prices = {"m": {"inputPerMillion": 2, "outputPerMillion": 8}}
    for options in ({"prices": prices}, {"prices": prices["m"]}):
        usage = (await provider.chat(request(attrs.evolve(settings, options=options)))).usage
        assert usage.cost == pytest.approx((usage.input_tokens * 2 + usage.output_tokens * 8) / 1e6)
    usage = (await provider.chat(request(attrs.evolve(settings, options={"prices": {"x": prices["m"]}})))).usage
    assert usage.cost is None


async def test_connection_is_used_again(provider: OpenAIProvider, settings: ModelSettings) -> None:
    opened = 0
    reader_of = asyncio.get_running_loop().create_connection

    async def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal opened
        opened += 1
        return await reader_of(*args, **kwargs)

    asyncio.get_running_loop().create_connection = counting  # type: ignore[method-assign]  # counts, and passes on
    for _ in range(3):
        await provider.chat(request(settings))
        async for _event in provider.stream(request(settings)):
            pass
    assert opened <= 1


async def test_large_request_is_sent_without_a_warning(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    await provider.chat(request(settings, "x" * 2_000_000))
    assert mock_openai.stats()["bytes_in"] > 2_000_000


async def test_embeddings_are_the_same_as_floats_and_as_base64(settings: ModelSettings, mock_openai: Any) -> None:
    found = []
    for name in ("openai", "vllm"):
        provider = OpenAIProvider(name)
        asked = EmbeddingRequest(model="e", texts=["a cat", "a dog"], dimensions=16, settings=settings)
        found.append((await provider.embed(asked)).vectors)
        await provider.aclose()
    assert mock_openai.last().get("encoding_format") is None
    for one, other in zip(*found):
        assert list(one) == pytest.approx(list(other), abs=1e-6)


async def test_no_texts_need_no_call(provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any) -> None:
    assert (await provider.embed(EmbeddingRequest(model="e", texts=[], settings=settings))).vectors == []
    assert mock_openai.stats()["requests"] == 0


# ------------------------------------------------------------------------------------------------- odd answers


def completion(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"id": "r1", "choices": [{"message": message, "finish_reason": finish}], **more}


def test_arguments_that_are_no_object_stay_text() -> None:
    calls = [
        {"id": "1", "function": {"name": "f", "arguments": text}}
        for text in ('{"a": 1}', "", "[1]", "{broken", {"b": 2})
    ]
    response = chat_response(completion({"tool_calls": calls}))
    assert [call.arguments for call in response.message.tool_calls] == [{"a": 1}, {}, "[1]", "{broken", {"b": 2}]
    assert response.finish_reason == "tool_calls"


def test_calls_without_id_get_distinct_ones() -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}] * 2
    assert [call.id for call in chat_response(completion({"tool_calls": calls})).message.tool_calls] == ["r1-0", "r1-1"]


def test_refusal_is_text_with_the_reason_content_filter() -> None:
    response = chat_response(completion({"content": None, "refusal": "I will not."}))
    assert (response.message.text, response.finish_reason) == ("I will not.", "content_filter")


def test_typed_content_parts_give_their_text() -> None:
    content = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat_response(completion({"content": content})).message.text == "ab"


def test_reported_cost_is_taken() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.25}
    assert chat_response(completion({"content": "x"}, usage=usage)).usage.cost == 0.25
    assert chat_response(completion({"content": "x"}, usage={**usage, "cost": {"total": 1}})).usage.cost is None


@pytest.mark.parametrize("numbered", [0, None])
def test_streamed_calls_under_one_number_are_told_apart_by_id(numbered: int | None) -> None:
    answer = StreamedAnswer()
    deltas = []
    for identifier, name, arguments in (("c1", "f", '{"a"'), ("", "", ":1}"), ("c2", "g", "{}")):
        call = {"index": numbered, "id": identifier, "function": {"name": name, "arguments": arguments}}
        deltas += answer.add({"id": "r", "choices": [{"delta": {"tool_calls": [call]}}]})
    assert [event.index for event in deltas if isinstance(event, ToolCallDelta)] == [0, 0, 1]
    assert answer.response().message.parts == (ToolCallPart("c1", "f", {"a": 1}), ToolCallPart("c2", "g", {}))


def test_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(UnknownProviderError, match="did you mean 'ollama'"):
        OpenAIProvider("olama")


def test_table_is_consistent() -> None:
    for name, endpoint in ENDPOINTS.items():
        assert endpoint.name == name
        assert endpoint.api_base is None or not endpoint.api_base.endswith("/")
        assert endpoint.key_env or not endpoint.needs_key
