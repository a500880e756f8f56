from __future__ import annotations

import pytest

from kastra_core.errors import InvalidRequestError, RateLimitError
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatRequest,
    Message,
    ModelSettings,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
)
from kastra_core.testing.fakes import FakeModelProvider
from kastra_core.testing.model import ModelProviderConformance


class TestFakeModelProvider(ModelProviderConformance):
    @pytest.fixture
    def provider(self) -> FakeModelProvider:
        return FakeModelProvider(default=_answer)


def _answer(request: ChatRequest) -> str | ToolCallPart:
    if request.tool_choice == "add":
        return ToolCallPart("call-1", "add", {"a": 2, "b": 3})
    if request.response_schema is not None:
        return '{"city": "Paris", "country": "France"}'
    if request.settings.api_key and request.settings.api_base:
        raise RateLimitError("no", provider="fake", model=request.model)
    return "Hello from the fake."


def _request(text: str = "Hi") -> ChatRequest:
    return ChatRequest(model="m", messages=[Message.user(text)], settings=ModelSettings())


async def test_answers_come_in_order_and_requests_are_kept() -> None:
    provider = FakeModelProvider(["one", ToolCallPart("c1", "add", {"a": 1}), RateLimitError("slow down")])
    assert (await provider.chat(_request("first"))).message.text == "one"
    response = await provider.chat(_request())
    assert response.finish_reason == "tool_calls"
    assert response.message.tool_calls == (ToolCallPart("c1", "add", {"a": 1}),)
    with pytest.raises(RateLimitError):
        await provider.chat(_request())
    with pytest.raises(InvalidRequestError, match="3 answers"):
        await provider.chat(_request())
    assert [request.messages[0].text for request in provider.requests] == ["first", "Hi", "Hi", "Hi"]


async def test_async_function_answers_from_the_request() -> None:
    async def echo(request: ChatRequest) -> str:
        return request.messages[-1].text.upper()

    provider = FakeModelProvider(default=echo)
    assert (await provider.chat(_request("hi"))).message.text == "HI"


async def test_stream_gives_words_and_halves_of_arguments() -> None:
    provider = FakeModelProvider(["two words", ToolCallPart("c1", "add", {"a": 1})])
    texts = [event async for event in provider.stream(_request())]
    assert texts[:-1] == [TextDelta("two "), TextDelta("words")]
    first, second, last = [event async for event in provider.stream(_request())]
    assert isinstance(first, ToolCallDelta)
    assert isinstance(second, ToolCallDelta)
    assert first.arguments + second.arguments == '{"a":1}'
    assert isinstance(last, ChatCompleted)


def test_registration_serves_the_names_with_this_object() -> None:
    provider = FakeModelProvider()
    registration = provider.registration("a", "b")
    assert registration.providers == ("a", "b")
    assert registration.factory("a") is provider  # type: ignore[operator]  # a Lazy that is given as function
