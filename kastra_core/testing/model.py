"""The contract of a ModelProvider as tests: subclass :class:`ModelProviderConformance` in a plugin's test suite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import attrs
import orjson
import pytest

from kastra_core.errors import InvalidRequestError, KastraError, ModelError
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    Message,
    ModelCheck,
    ModelProvider,
    ModelSettings,
    TextDelta,
    ToolCallDelta,
    ToolDefinition,
)

__all__ = ["ModelProviderConformance"]

_ADD = ToolDefinition(
    name="add",
    description="Add two whole numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)
_CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
    "required": ["city", "country"],
    "additionalProperties": False,
}
_SECRET = "sk-conformance-0123456789abcdef"
_FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "error")


class ModelProviderConformance:
    """Give the fixture ``provider``, and change what differs.

    Example:
        class TestAcme(ModelProviderConformance):
            model = "acme-small"

            @pytest.fixture
            async def provider(self):
                provider = AcmeProvider("acme")
                yield provider
                await provider.aclose()

            @pytest.fixture
            def settings(self, acme_server):
                return ModelSettings(api_base=acme_server.url, api_key="k")
    """

    model: ClassVar[str] = "mock"
    embedding_model: ClassVar[str] = "mock-embed"
    prompt: ClassVar[str] = "Say hello in one short sentence."
    tool_prompt: ClassVar[str] = "What is 2 + 3? Use the tool."
    schema_prompt: ClassVar[str] = "Name the capital of France and its country as JSON."

    tools: ClassVar[bool] = True
    """Calls a tool when ``tool_choice`` says so."""
    response_schema: ClassVar[bool] = True
    embeddings: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    """The same request (temperature 0, seed 1) gets the same answer."""
    failing_model: ClassVar[str] = ""
    """A model with which every call fails, for a provider that ``failing_settings`` cannot break; "" is ``model``."""
    long_prompt: ClassVar[str] = "Count from one to two hundred in words."
    """Its answer streams in several pieces."""

    @pytest.fixture
    def settings(self) -> ModelSettings:
        return ModelSettings()

    @pytest.fixture
    def failing_settings(self) -> ModelSettings:
        """Settings with which every call fails: nothing listens at the discard port of the loopback device."""
        return ModelSettings(api_base="http://127.0.0.1:9/v1", api_key=_SECRET, connect_timeout_s=2, timeout_s=5)

    def request(self, settings: ModelSettings, text: str | None = None, **fields: Any) -> ChatRequest:
        return ChatRequest(
            model=self.model,
            messages=[Message.user(self.prompt if text is None else text)],
            settings=settings,
            **{"temperature": 0.0, "seed": 1, **fields},
        )

    # ------------------------------------------------------------------------------------------ check

    def test_provider_has_the_protocols_methods(self, provider: ModelProvider) -> None:
        assert isinstance(provider, ModelProvider)

    def test_check_of_a_usable_model_is_ok(self, provider: ModelProvider, settings: ModelSettings) -> None:
        check = provider.check(self.model, settings)
        assert isinstance(check, ModelCheck)
        assert check.ok, check

    def test_check_is_quick_after_the_first_call(self, provider: ModelProvider, settings: ModelSettings) -> None:
        provider.check(self.model, settings)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            provider.check(self.model, settings)
            times.append(time.perf_counter() - start)
        assert min(times) < 0.001

    def test_check_shows_no_secret(self, provider: ModelProvider, settings: ModelSettings) -> None:
        shown = attrs.evolve(settings, api_key=_SECRET, headers={"x-secret": _SECRET})
        assert _SECRET not in repr(provider.check(self.model, shown))

    def test_check_that_is_not_ok_says_what_to_do(self, provider: ModelProvider, settings: ModelSettings) -> None:
        for model in (self.model, "no-such-model-anywhere"):
            check = provider.check(model, settings)
            assert check.ok or (check.message and check.remedy and check.reason.isalnum())

    # ------------------------------------------------------------------------------------------ chat

    async def test_chat_answers_with_text_and_usage(self, provider: ModelProvider, settings: ModelSettings) -> None:
        response = await provider.chat(self.request(settings))
        assert isinstance(response, ChatResponse)
        assert response.message.role == "assistant"
        assert response.message.text
        assert response.finish_reason in _FINISH_REASONS
        assert response.usage.input_tokens > 0
        assert response.usage.output_tokens > 0

    async def test_response_survives_json(self, provider: ModelProvider, settings: ModelSettings) -> None:
        response = await provider.chat(self.request(settings))
        assert ChatResponse.from_json(orjson.loads(orjson.dumps(response.to_json()))) == response

    async def test_conversation_with_all_roles_is_answered(
        self, provider: ModelProvider, settings: ModelSettings
    ) -> None:
        messages = [
            Message.system("You are brief."),
            Message.user("My name is Ada."),
            Message.assistant("Hello Ada."),
            Message.user(self.prompt),
        ]
        response = await provider.chat(attrs.evolve(self.request(settings), messages=messages))
        assert response.message.text

    async def test_text_beyond_ascii_is_taken(self, provider: ModelProvider, settings: ModelSettings) -> None:
        assert (await provider.chat(self.request(settings, "你好, schön, 🙂"))).message.role == "assistant"

    async def test_same_request_gets_same_answer(self, provider: ModelProvider, settings: ModelSettings) -> None:
        if not self.deterministic:
            pytest.skip("the provider does not promise it")
        request = self.request(settings)
        assert (await provider.chat(request)).message == (await provider.chat(request)).message

    async def test_calls_at_the_same_time_are_all_answered(
        self, provider: ModelProvider, settings: ModelSettings
    ) -> None:
        requests = [self.request(settings) for _ in range(8)]
        responses = await asyncio.gather(*map(provider.chat, requests))
        assert all(response.message.text for response in responses)

    # ------------------------------------------------------------------------------------------ stream

    async def test_stream_gives_the_deltas_of_its_response(
        self, provider: ModelProvider, settings: ModelSettings
    ) -> None:
        *deltas, last = await _all(provider.stream(self.request(settings)))
        assert isinstance(last, ChatCompleted)
        assert not any(isinstance(event, ChatCompleted) for event in deltas)
        assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == last.response.message.text
        assert last.response.usage.output_tokens > 0

    async def test_stream_ends_with_what_chat_returns(self, provider: ModelProvider, settings: ModelSettings) -> None:
        if not self.deterministic:
            pytest.skip("the provider does not promise it")
        request = self.request(settings)
        *_, last = await _all(provider.stream(request))
        chatted = await provider.chat(request)
        assert isinstance(last, ChatCompleted)
        assert last.response.message == chatted.message
        assert last.response.finish_reason == chatted.finish_reason
        assert last.response.usage == chatted.usage

    async def test_stream_closed_early_leaves_the_provider_usable(
        self, provider: ModelProvider, settings: ModelSettings
    ) -> None:
        events = provider.stream(self.request(settings, self.long_prompt))
        async for _ in events:
            break
        await events.aclose()  # type: ignore[attr-defined]  # every async generator has it
        assert (await provider.chat(self.request(settings))).message.text

    # ------------------------------------------------------------------------------------------ tools, schema

    def tool_request(self, settings: ModelSettings) -> ChatRequest:
        return self.request(settings, self.tool_prompt, tools=[_ADD], tool_choice="add")

    async def test_named_tool_is_called(self, provider: ModelProvider, settings: ModelSettings) -> None:
        if not self.tools:
            pytest.skip("the provider has no tool calls")
        response = await provider.chat(self.tool_request(settings))
        call = response.message.tool_calls[0]
        assert call.name == "add"
        assert call.id
        assert isinstance(call.arguments, dict)
        assert response.finish_reason == "tool_calls"

    async def test_streamed_tool_call_is_put_together(self, provider: ModelProvider, settings: ModelSettings) -> None:
        if not self.tools:
            pytest.skip("the provider has no tool calls")
        *deltas, last = await _all(provider.stream(self.tool_request(settings)))
        assert isinstance(last, ChatCompleted)
        (call,) = last.response.message.tool_calls
        pieces = [event for event in deltas if isinstance(event, ToolCallDelta)]
        assert pieces[0].name == "add"
        assert {piece.index for piece in pieces} == {0}
        assert orjson.loads("".join(piece.arguments for piece in pieces) or "{}") == call.arguments

    async def test_tool_result_is_taken(self, provider: ModelProvider, settings: ModelSettings) -> None:
        if not self.tools:
            pytest.skip("the provider has no tool calls")
        asked = self.tool_request(settings)
        called = (await provider.chat(asked)).message
        results = [Message.tool(call.id, {"sum": 5}) for call in called.tool_calls]
        request = attrs.evolve(asked, messages=[*asked.messages, called, *results], tool_choice="none")
        response = await provider.chat(request)
        assert not response.message.tool_calls

    async def test_answer_fits_the_response_schema(self, provider: ModelProvider, settings: ModelSettings) -> None:
        if not self.response_schema:
            pytest.skip("the provider has no structured output")
        response = await provider.chat(self.request(settings, self.schema_prompt, response_schema=_CITY))
        answer = orjson.loads(response.message.text)
        assert answer.keys() == {"city", "country"}
        assert all(isinstance(value, str) for value in answer.values())

    # ------------------------------------------------------------------------------------------ embeddings

    async def test_embeddings_are_one_vector_per_text(self, provider: ModelProvider, settings: ModelSettings) -> None:
        request = EmbeddingRequest(model=self.embedding_model, texts=["a cat", "a dog", "a cat"], settings=settings)
        if not self.embeddings:
            with pytest.raises(InvalidRequestError):
                await provider.embed(request)
            return
        response = await provider.embed(request)
        first, second, third = response.vectors
        assert len(first) == len(second) == len(third) > 0
        assert list(first) == pytest.approx(list(third), abs=1e-4)
        assert list(first) != pytest.approx(list(second), abs=1e-4)
        assert all(type(value) is float for value in first)

    # ------------------------------------------------------------------------------------------ faults

    async def test_failed_call_is_a_model_error_without_secrets(
        self, provider: ModelProvider, failing_settings: ModelSettings
    ) -> None:
        request = attrs.evolve(self.request(failing_settings), model=self.failing_model or self.model)
        with pytest.raises(ModelError) as chatted:
            await provider.chat(request)
        with pytest.raises(ModelError) as streamed:
            await _all(provider.stream(request))
        for error in (chatted.value, streamed.value):
            assert _SECRET not in f"{error} {error!r} {error.__cause__!r}"
            assert error.model == request.model

    async def test_cancelled_call_ends_and_leaves_the_provider_usable(
        self, provider: ModelProvider, settings: ModelSettings
    ) -> None:
        task = asyncio.ensure_future(provider.chat(self.request(settings, self.long_prompt)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=10)
        # An answer that was there already is no fault.
        assert task.cancelled() or task.result().message.text
        assert (await provider.chat(self.request(settings))).message.text

    async def test_provider_can_be_closed_twice(self, provider: ModelProvider, settings: ModelSettings) -> None:
        await provider.chat(self.request(settings))
        await provider.aclose()
        await provider.aclose()

    async def test_call_after_close_raises_kastra_errors_only(
        self, provider: ModelProvider, settings: ModelSettings
    ) -> None:
        await provider.aclose()
        try:
            await provider.chat(self.request(settings))
        except KastraError as err:
            assert isinstance(err, ModelError)  # noqa: PT017  # an answer is fine too
        await provider.aclose()


async def _all(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in events]
