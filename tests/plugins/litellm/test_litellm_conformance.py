from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kastra_core.protocols.model import ModelSettings
from kastra_core.testing.model import ModelProviderConformance
from kastra_plugin_litellm.provider import LiteLLMProvider


class TestLiteLLMProvider(ModelProviderConformance):
    long_prompt = "TOKENS(200) SLEEP(20)"

    @pytest.fixture(params=["openai", "hosted_vllm"])
    async def provider(self, request: pytest.FixtureRequest) -> AsyncIterator[LiteLLMProvider]:
        provider = LiteLLMProvider(request.param)
        yield provider
        await provider.aclose()

    @pytest.fixture
    def settings(self, mock_openai: Any) -> ModelSettings:
        return ModelSettings(api_base=mock_openai.base_url, api_key="sk-test-key", timeout_s=20)
