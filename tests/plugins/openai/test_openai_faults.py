"""What goes wrong between a provider and its endpoint, and which error a caller gets for it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import attrs
import pytest

from kastra_core.errors import (
    AuthenticationError,
    BadResponseError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelConnectionError,
    ModelError,
    ModelNotFoundError,
    ModelTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    Message,
    ModelSettings,
    TextDelta,
)
from kastra_plugin_openai.provider import OpenAIProvider

KEY = "sk-secret-0123456789"


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider("openai")
    yield provider
    await provider.aclose()


@pytest.fixture
def settings(mock_openai: Any) -> ModelSettings:
    return ModelSettings(api_base=mock_openai.base_url, api_key=KEY, timeout_s=10)


async def ask(provider: OpenAIProvider, settings: ModelSettings, text: str, *, stream: bool) -> ChatResponse:
    request = ChatRequest(model="m", messages=[Message.user(text)], settings=settings)
    if not stream:
        return await provider.chat(request)
    last = None
    async for event in provider.stream(request):
        last = event
    assert isinstance(last, ChatCompleted)
    return last.response


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])


@both_ways
@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("FAIL(400)", InvalidRequestError),
        ("FAIL(401)", AuthenticationError),
        ("FAIL(403)", AuthenticationError),
        ("FAIL(404)", ModelNotFoundError),
        ("FAIL(408)", ModelTimeoutError),
        ("FAIL(422)", InvalidRequestError),
        ("FAIL(429)", RateLimitError),
        ("FAIL(500)", ProviderUnavailableError),
        ("FAIL(503)", ProviderUnavailableError),
        ("FAIL(529)", ProviderUnavailableError),
        ('ERROR(400:{"error":{"message":"too long","code":"context_length_exceeded"}})', ContextLengthError),
        (
            'ERROR(400:{"error":{"message":"the request exceeds the available context size","type":"x"}})',
            ContextLengthError,
        ),
        ('ERROR(400:{"error":{"message":"no","code":"content_filter"}})', ContentFilterError),
        ('ERROR(400:{"error":{"message":"API key not valid. Please pass one."}})', AuthenticationError),
        ('ERROR(400:{"error":{"message":"no such","code":"model_not_found"}})', ModelNotFoundError),
        ('ERROR(400:{"object":"error","message":"plain","type":"BadRequestError"})', InvalidRequestError),
        ('ERROR(422:{"detail":[{"loc":["body"],"msg":"Extra inputs"}]})', InvalidRequestError),
        ('ERROR(500:"text")', ProviderUnavailableError),
        ("ERROR(307:{})", InvalidRequestError),
        ('ERROR(200:{"error":{"message":"upstream is gone","code":502}})', ProviderUnavailableError),
        ('ERROR(200:{"error":{"message":"slow down","code":429}})', RateLimitError),
        ('ERROR(200:{"error":"out of memory"})', ProviderUnavailableError),
        ("HTML()", BadResponseError),
        ("BODY(not json)", BadResponseError),
        ("BODY([])", BadResponseError),
        ('BODY({"choices":[{"message":{"tool_calls":[{"id":"1"}]}}]})', BadResponseError),
        ("EMPTY()", BadResponseError),
        ("HANGUP()", ModelConnectionError),
    ],
)
async def test_fault_is_the_matching_model_error(
    provider: OpenAIProvider, settings: ModelSettings, directive: str, expected: type[ModelError], stream: bool
) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(provider, settings, directive, stream=stream)
    error = caught.value
    assert type(error) is expected
    assert (error.provider, error.model) == ("openai", "m")
    assert KEY not in f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@both_ways
async def test_rate_limit_carries_the_wait_in_seconds(
    provider: OpenAIProvider, settings: ModelSettings, stream: bool
) -> None:
    with pytest.raises(RateLimitError) as caught:
        await ask(provider, settings, "FAIL(429, 7.5)", stream=stream)
    assert caught.value.retry_after_s == 7.5
    assert caught.value.status == 429
    assert caught.value.retryable


async def test_wait_until_a_date_is_counted_from_now(provider: OpenAIProvider, settings: ModelSettings) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with pytest.raises(ProviderUnavailableError) as caught:
        await ask(provider, settings, f"FAIL(503, {then})", stream=False)
    assert caught.value.retry_after_s == pytest.approx(90, abs=5)


@pytest.mark.parametrize("header", ["soon", "-3", "nan", "inf"])
async def test_wait_that_is_no_time_is_ignored(provider: OpenAIProvider, settings: ModelSettings, header: str) -> None:
    with pytest.raises(RateLimitError) as caught:
        await ask(provider, settings, f"FAIL(429, {header})", stream=False)
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize("status", [402, 429])
async def test_spent_quota_is_not_retryable(provider: OpenAIProvider, settings: ModelSettings, status: int) -> None:
    body = '{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}'
    with pytest.raises(RateLimitError, match="exceeded your current quota") as caught:
        await ask(provider, settings, f"ERROR({status}:{body})", stream=False)
    assert caught.value.retryable is False
    assert pickle.loads(pickle.dumps(caught.value)).retryable is False


async def test_providers_words_are_kept_and_the_key_is_not(provider: OpenAIProvider, settings: ModelSettings) -> None:
    body = f'{{"error":{{"message":"Incorrect API key provided: {KEY}.","param":"header"}}}}'
    with pytest.raises(AuthenticationError, match=r"Incorrect API key provided: \*\*\*\. \(field header\)") as caught:
        await ask(provider, settings, f"ERROR(401:{body})", stream=False)
    assert KEY not in str(caught.value)


async def test_values_of_extra_headers_are_not_shown(provider: OpenAIProvider, settings: ModelSettings) -> None:
    settings = attrs.evolve(settings, headers={"x-token": "very-secret-token"})
    with pytest.raises(BadResponseError) as caught:
        await ask(provider, settings, "BODY(you sent very-secret-token)", stream=False)
    assert "you sent ***" in str(caught.value)


async def test_cut_answer_is_a_connection_error(provider: OpenAIProvider, settings: ModelSettings) -> None:
    with pytest.raises(ModelConnectionError) as caught:
        await ask(provider, settings, "CUT()", stream=False)
    assert caught.value.retryable


@pytest.mark.parametrize("directive", ["DROP(2) TOKENS(9)", "TOKENS(9) NODONE()"])
async def test_stream_without_its_end_is_a_connection_error_after_its_deltas(
    provider: OpenAIProvider, settings: ModelSettings, directive: str
) -> None:
    request = ChatRequest(model="m", messages=[Message.user(directive)], settings=settings)
    events: list[ChatEvent] = []

    async def collect() -> None:
        async for event in provider.stream(request):
            events.append(event)  # noqa: PERF401  # what came before the fault must be kept

    with pytest.raises(ModelConnectionError):
        await collect()
    assert all(isinstance(event, TextDelta) for event in events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).startswith("word0 word1")


async def test_missing_end_mark_is_allowed_where_the_settings_say_so(
    provider: OpenAIProvider, settings: ModelSettings
) -> None:
    settings = attrs.evolve(settings, options={"requireDone": False})
    response = await ask(provider, settings, "TOKENS(3) NODONE()", stream=True)
    assert response.message.text == "word0 word1 word2"
    with pytest.raises(ModelConnectionError):
        await ask(provider, settings, "DROP(1) TOKENS(3)", stream=True)


async def test_event_that_is_not_json_is_a_bad_response(provider: OpenAIProvider, settings: ModelSettings) -> None:
    with pytest.raises(BadResponseError, match=r'begins: \{"id": oops'):
        await ask(provider, settings, "BADEVENT()", stream=True)


async def test_comments_unknown_fields_and_single_bytes_do_no_harm(
    provider: OpenAIProvider, settings: ModelSettings
) -> None:
    assert (await ask(provider, settings, "NOISE() TOKENS(20)", stream=True)).message.text.endswith(" word19")


@both_ways
async def test_silent_server_is_a_timeout(provider: OpenAIProvider, settings: ModelSettings, stream: bool) -> None:
    settings = attrs.evolve(settings, timeout_s=0.1)
    with pytest.raises(ModelTimeoutError, match=r"within 0\.1 s") as caught:
        await ask(provider, settings, "SLEEP(5000)", stream=stream)
    assert caught.value.retryable


async def test_stream_that_falls_silent_is_a_timeout(provider: OpenAIProvider, settings: ModelSettings) -> None:
    settings = attrs.evolve(settings, timeout_s=0.2)
    with pytest.raises(ModelTimeoutError):
        await ask(provider, settings, "STALL(2) TOKENS(9)", stream=True)


async def test_stream_may_take_longer_than_the_timeout_while_it_speaks(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    mock_openai.mock.chunk_latency = 0.05
    try:
        settings = attrs.evolve(settings, timeout_s=0.4)
        response = await ask(provider, settings, "TOKENS(12)", stream=True)
    finally:
        mock_openai.mock.chunk_latency = 0.0
    assert response.message.text.endswith("word11")


async def test_closed_stream_ends_the_request_at_the_server(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    request = ChatRequest(model="m", messages=[Message.user("STALL(1) TOKENS(9)")], settings=settings)
    events = provider.stream(request)
    async for _ in events:
        break
    await events.aclose()  # type: ignore[attr-defined]  # an async generator
    async with asyncio.timeout(5):
        while not mock_openai.stats()["disconnects"]:
            await asyncio.sleep(0.01)


async def test_unreachable_server_is_a_connection_error(provider: OpenAIProvider) -> None:
    settings = ModelSettings(api_base="http://127.0.0.1:9/v1", api_key=KEY)
    with pytest.raises(ModelConnectionError, match=r"127\.0\.0\.1:9") as caught:
        await ask(provider, settings, "hi", stream=False)
    assert caught.value.retryable


async def test_failed_handshake_is_not_retryable(provider: OpenAIProvider, settings: ModelSettings) -> None:
    base = str(settings.api_base).replace("http:", "https:")
    with pytest.raises(ModelConnectionError) as caught:
        await ask(provider, attrs.evolve(settings, api_base=base), "hi", stream=False)
    assert caught.value.retryable is False


@pytest.mark.parametrize("base", ["ftp://host/v1", "localhost:8000/v1", "http://", "http://[bad/v1"])
async def test_api_base_that_is_no_url_is_an_invalid_request(provider: OpenAIProvider, base: str) -> None:
    with pytest.raises(InvalidRequestError, match="apiBase"):
        await ask(provider, ModelSettings(api_base=base, api_key=KEY), "hi", stream=False)


async def test_key_with_a_line_end_inside_is_refused_unsent(
    provider: OpenAIProvider, settings: ModelSettings, mock_openai: Any
) -> None:
    with pytest.raises(AuthenticationError, match="not sent") as caught:
        await ask(provider, attrs.evolve(settings, api_key="sk-one\nsk-two"), "hi", stream=False)
    assert "sk-" not in str(caught.value)
    assert mock_openai.stats()["requests"] == 0


@pytest.mark.parametrize("fields", [{"parameters": {"x": object()}}, {"messages": [Message.user("\ud800")]}])
async def test_request_that_is_not_json_is_an_invalid_request(
    provider: OpenAIProvider, settings: ModelSettings, fields: dict[str, Any]
) -> None:
    request = ChatRequest(**{"model": "m", "messages": [Message.user("hi")], "settings": settings, **fields})
    with pytest.raises(InvalidRequestError, match="not JSON"):
        await provider.chat(request)


async def test_unknown_option_is_an_invalid_request(provider: OpenAIProvider, settings: ModelSettings) -> None:
    with pytest.raises(InvalidRequestError, match="unknown option 'pricess'; allowed are"):
        await ask(provider, attrs.evolve(settings, options={"pricess": {}}), "hi", stream=False)


async def test_call_after_close_is_not_retryable(provider: OpenAIProvider, settings: ModelSettings) -> None:
    await provider.aclose()
    with pytest.raises(ModelConnectionError) as caught:
        await ask(provider, settings, "hi", stream=False)
    assert caught.value.retryable is False


async def test_faults_of_embeddings_are_model_errors(provider: OpenAIProvider, settings: ModelSettings) -> None:
    request = EmbeddingRequest(
        model="e", texts=["a"], settings=attrs.evolve(settings, api_base="http://127.0.0.1:9/v1")
    )
    with pytest.raises(ModelConnectionError):
        await provider.embed(request)
