from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from kastra_core.protocols.model import (
    ChatCompleted,
    ChatRequest,
    EmbeddingRequest,
    Message,
    ModelSettings,
    TextPart,
    ToolCallPart,
    ToolDefinition,
)
from kastra_plugin_litellm.provider import LiteLLMProvider

ADD = ToolDefinition(name="add", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})


@pytest.fixture
async def provider() -> AsyncIterator[LiteLLMProvider]:
    provider = LiteLLMProvider("openai")
    yield provider
    await provider.aclose()


@pytest.fixture
def settings(mock_openai: Any) -> ModelSettings:
    return ModelSettings(api_base=mock_openai.base_url, api_key="sk-test-key", timeout_s=20)


def request(settings: ModelSettings, text: str = "hi", **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[Message.user(text)], settings=settings, **fields)


async def test_fields_reach_the_body(provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any) -> None:
    settings = attrs.evolve(settings, headers={"x-org": "7"})
    parameters = {"logprobs": True}
    await provider.chat(request(settings, temperature=0.5, max_tokens=7, stop=["END"], seed=3, parameters=parameters))
    body = mock_openai.last()
    assert {"temperature": 0.5, "max_tokens": 7, "stop": ["END"], "seed": 3, "logprobs": True}.items() <= body.items()
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert mock_openai.last_headers()["authorization"] == "Bearer sk-test-key"
    assert mock_openai.last_headers()["x-org"] == "7"


async def test_tool_calls_and_results_keep_their_ids(
    provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    calls = Message("assistant", (TextPart("so"), ToolCallPart("c1", "add", {"a": 1})))
    results = [Message.tool("c1", "no", is_error=True)]
    await provider.chat(attrs.evolve(request(settings), messages=[Message.user("hi"), calls, *results], tools=[ADD]))
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    assert mock_openai.last()["messages"][1:] == [
        {"role": "assistant", "content": "so", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Error: no"},
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
async def test_parallel_tool_calls_come_in_order(
    provider: LiteLLMProvider, settings: ModelSettings, stream: bool
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


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
async def test_cost_is_that_of_litellms_price_list(
    provider: LiteLLMProvider, settings: ModelSettings, stream: bool
) -> None:
    asked = attrs.evolve(request(settings), model="gpt-4o")
    if stream:
        *_, last = [event async for event in provider.stream(asked)]
        assert isinstance(last, ChatCompleted)
        usage = last.response.usage
    else:
        usage = (await provider.chat(asked)).usage
    assert usage.cost is not None
    assert 0 < usage.cost < 0.01
    assert (await provider.chat(request(settings))).usage.cost is None


async def test_no_texts_need_no_call(provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any) -> None:
    assert (await provider.embed(EmbeddingRequest(model="e", texts=[], settings=settings))).vectors == []
    assert mock_openai.stats()["requests"] == 0


async def test_closing_one_provider_leaves_another_usable(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    other = LiteLLMProvider("openai")
    await other.chat(request(settings))
    await provider.chat(request(settings))
    await other.aclose()
    assert (await provider.chat(request(settings))).message.text


async def test_empty_key_means_none_and_not_that_of_the_environment(
    provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    await provider.chat(request(attrs.evolve(settings, api_key="")))
    assert "environment" not in mock_openai.last_headers().get("authorization", "")
    await provider.chat(request(attrs.evolve(settings, api_key=None)))
    assert mock_openai.last_headers()["authorization"] == "Bearer sk-of-the-environment"
