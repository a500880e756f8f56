"""What goes wrong behind litellm, and which error a caller gets for it."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
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
from kastra_core.protocols.model import ChatCompleted, ChatRequest, ChatResponse, Message, ModelSettings
from kastra_plugin_litellm.provider import LiteLLMProvider

KEY = "sk-secret-0123456789"


@pytest.fixture(params=["openai", "hosted_vllm"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[LiteLLMProvider]:
    provider = LiteLLMProvider(request.param)
    yield provider
    await provider.aclose()


@pytest.fixture
def settings(mock_openai: Any) -> ModelSettings:
    return ModelSettings(api_base=mock_openai.base_url, api_key=KEY, timeout_s=20)


async def ask(provider: LiteLLMProvider, settings: ModelSettings, text: str, *, stream: bool) -> ChatResponse:
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
        ("FAIL(422)", InvalidRequestError),
        ("FAIL(429)", RateLimitError),
        ("FAIL(500)", ProviderUnavailableError),
        ("FAIL(503)", ProviderUnavailableError),
        (
            'ERROR(400:{"error":{"message":"maximum context length is 9","code":"context_length_exceeded"}})',
            ContextLengthError,
        ),
        ("HTML()", BadResponseError),
        ("BODY(not json)", BadResponseError),
        ("EMPTY()", BadResponseError),
        ("HANGUP()", ModelConnectionError),
    ],
)
async def test_fault_is_the_matching_model_error(
    provider: LiteLLMProvider, settings: ModelSettings, directive: str, expected: type[ModelError], stream: bool
) -> None:
    with pytest.raises(ModelError) as caught:
        await ask(provider, settings, directive, stream=stream)
    assert type(caught.value) is expected
    assert caught.value.model == "m"
    assert KEY not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@both_ways
async def test_rate_limit_carries_the_wait(provider: LiteLLMProvider, settings: ModelSettings, stream: bool) -> None:
    with pytest.raises(RateLimitError) as caught:
        await ask(provider, settings, "FAIL(429, 7)", stream=stream)
    assert caught.value.retry_after_s == 7
    assert caught.value.retryable


async def test_nothing_is_tried_again(provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any) -> None:
    with pytest.raises(ProviderUnavailableError):
        await ask(provider, settings, "FAIL(500)", stream=False)
    assert mock_openai.stats()["chat"] == 1


async def test_spent_quota_is_not_retryable(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    body = '{"error":{"message":"You are out of it","type":"insufficient_quota","code":"insufficient_quota"}}'
    with pytest.raises(RateLimitError) as caught:
        await ask(provider, settings, f"ERROR(429:{body})", stream=False)
    assert caught.value.retryable is False


async def test_content_filter_is_told_by_its_code(settings: ModelSettings) -> None:
    provider = LiteLLMProvider("openai")
    body = '{"error":{"message":"no","code":"content_filter"}}'
    with pytest.raises(ContentFilterError):
        await ask(provider, settings, f"ERROR(400:{body})", stream=False)
    await provider.aclose()


async def test_providers_words_are_kept_and_the_key_is_not(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    body = f'{{"error":{{"message":"Incorrect API key provided: {KEY}.","code":"invalid_api_key"}}}}'
    with pytest.raises(AuthenticationError) as caught:
        await ask(provider, settings, f"ERROR(401:{body})", stream=False)
    assert "Incorrect API key provided" in caught.value.message
    assert KEY not in str(caught.value)


async def test_cut_answer_is_a_connection_error(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    with pytest.raises(ModelConnectionError):
        await ask(provider, settings, "CUT()", stream=False)


async def test_cut_stream_is_a_connection_error(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    with pytest.raises(ModelConnectionError):
        await ask(provider, settings, "DROP(2) TOKENS(9)", stream=True)


async def test_event_that_is_not_json_is_a_bad_response(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    with pytest.raises(BadResponseError):
        await ask(provider, settings, "BADEVENT()", stream=True)


@both_ways
async def test_silent_server_is_a_timeout(provider: LiteLLMProvider, settings: ModelSettings, stream: bool) -> None:
    await ask(provider, settings, "hi", stream=False)  # the first call loads modules
    with pytest.raises(ModelTimeoutError) as caught:
        await ask(provider, attrs.evolve(settings, timeout_s=0.5), "SLEEP(9000)", stream=stream)
    assert caught.value.retryable


async def test_stream_that_falls_silent_is_a_timeout(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    await ask(provider, settings, "hi", stream=False)
    with pytest.raises(ModelTimeoutError):
        await ask(provider, attrs.evolve(settings, timeout_s=0.5), "STALL(2) TOKENS(9)", stream=True)


async def test_unreachable_server_is_a_connection_error(provider: LiteLLMProvider) -> None:
    settings = ModelSettings(api_base="http://127.0.0.1:9/v1", api_key=KEY)
    with pytest.raises(ModelConnectionError):
        await ask(provider, settings, "hi", stream=False)


async def test_unknown_provider_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidRequestError, match="did you mean 'anthropic'"):
        await ask(LiteLLMProvider("antropic"), ModelSettings(), "hi", stream=False)


async def test_missing_key_is_an_authentication_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    provider = LiteLLMProvider("anthropic")
    with pytest.raises(AuthenticationError):
        await ask(provider, ModelSettings(api_base="http://127.0.0.1:9", timeout_s=5), "hi", stream=False)
    await provider.aclose()


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "mock_response", "fallbacks", "_skip_mcp_handler", "metadata"]
)
async def test_parameters_cannot_control_litellm(
    provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any, name: str
) -> None:
    request = ChatRequest(model="m", messages=[Message.user("hi")], settings=settings, parameters={name: "x"})
    with pytest.raises(InvalidRequestError, match=name):
        await provider.chat(request)
    assert mock_openai.stats()["requests"] == 0


async def test_unknown_option_is_an_invalid_request(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    with pytest.raises(InvalidRequestError, match="unknown option 'success_callback'"):
        await ask(provider, attrs.evolve(settings, options={"successCallback": []}), "hi", stream=False)


async def test_call_after_close_is_not_retryable(provider: LiteLLMProvider, settings: ModelSettings) -> None:
    await provider.aclose()
    with pytest.raises(ModelConnectionError) as caught:
        await ask(provider, settings, "hi", stream=False)
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"awsBedrockRuntimeEndpoint": "http://127.0.0.1:9"}, "write apiBase"),
        ({"aws_sts_endpoint": "http://127.0.0.1:9"}, "write apiBase"),
        ({"azureAuthorityHost": "http://127.0.0.1:9"}, "write apiBase"),
        ({"organization": "os.environ/OTHER_KEY"}, "read from elsewhere"),
        ({"azureAdToken": "oidc/file//etc/hostname"}, "read from elsewhere"),
    ],
)
async def test_options_can_neither_lead_credentials_elsewhere_nor_fetch_other_secrets(
    provider: LiteLLMProvider, settings: ModelSettings, mock_openai: Any, options: dict[str, str], words: str
) -> None:
    request = ChatRequest(
        model="m", messages=[Message.user("hi")], settings=attrs.evolve(settings, api_base=None, options=options)
    )
    with pytest.raises(InvalidRequestError, match=words):
        await provider.chat(request)
    assert mock_openai.stats()["requests"] == 0


@pytest.mark.parametrize("name", ["watsonx", "vertex_ai", "sagemaker"])
async def test_a_provider_that_signs_in_by_itself_is_not_used_with_an_address_of_a_manifest(
    settings: ModelSettings, mock_openai: Any, name: str
) -> None:
    foreign = attrs.evolve(settings, foreign_base=True)
    request = ChatRequest(model="m", messages=[Message.user("hi")], settings=foreign)
    provider = LiteLLMProvider(name)
    with pytest.raises(InvalidRequestError, match="an address in a manifest"):
        await provider.chat(request)
    await provider.aclose()
    assert mock_openai.stats()["requests"] == 0
