"""The plugin keeps to what is asked of all plugins: ``kastra plugins check openai`` runs what is here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kastra_core.protocols.model import ModelSettings
from kastra_core.testing.model import ModelProviderConformance
from kastra_core.testing.openai_server import OpenAIServer
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_openai.provider import OpenAIProvider

__all__ = ["TestOpenAIPlugin", "TestOpenAIProvider"]


class TestOpenAIPlugin(PluginConformance):
    entry_point = "openai"


class TestOpenAIProvider(ModelProviderConformance):
    @pytest.fixture(params=["openai", "openai-compatible", "ollama"])
    async def provider(self, request: pytest.FixtureRequest) -> AsyncIterator[OpenAIProvider]:
        provider = OpenAIProvider(request.param)
        yield provider
        await provider.aclose()

    @pytest.fixture
    async def settings(self) -> AsyncIterator[ModelSettings]:
        async with OpenAIServer() as server:
            yield ModelSettings(api_base=server.base_url, api_key="sk-test-key", timeout_s=10)
